"""ResNet-18 as an encoder, its inverse as a decoder, and ImageNet weights to start from."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recombine.messages import shown
from recombine.networks import BatchNorm2d, num_halvings, widths


class BasicBlock(nn.Module):
    """ResNet-18's block: two convolutions beside the input or its projection."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm2d(outputs))

    def forward(self, images: Tensor) -> Tensor:
        """`[batch, inputs, h, w]` -> `[batch, outputs, h / stride, w / stride]`."""
        hidden = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(images)))))
        return F.relu(hidden + (self.downsample(images) if self.downsample else images))


class ResNet(nn.Module):
    """ResNet-18, or one of fewer blocks and channels; weights have torchvision's names.

    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. https://arxiv.org/abs/1512.03385

    Args:
        channels: Of the images.
        width: Channels of the first convolution; 64 in ResNet-18.
        blocks: In each of the four stages; 2 in ResNet-18.
        outputs: Of the last layer.
        max_pool: Halve the image once more after the first convolution, as ResNet-18 does.
    """

    def __init__(self, channels: int, width: int, blocks: int, outputs: int, max_pool: bool = True):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(BasicBlock(before, after, stride), *[BasicBlock(after, after, 1) for _ in range(blocks - 1)])
            for (before, after), stride in zip(pairwise([width, *widths(width, 4)]), (1, 2, 2, 2), strict=True)
        )
        self.max_pool = max_pool
        self.fc = nn.Linear(8 * width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Images `[batch, channels, height, width]` -> `[batch, outputs]`."""
        hidden = F.relu(self.bn1(self.conv1(images)))
        hidden = F.max_pool2d(hidden, 3, 2, 1) if self.max_pool else hidden
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = layer(hidden)
        return self.fc(hidden.mean((2, 3)))


class UpBlock(nn.Module):
    """Inverse of a residual block: doubles height and width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), BatchNorm2d(outputs))

    def forward(self, images: Tensor) -> Tensor:
        """`[batch, inputs, h, w]` -> `[batch, outputs, 2 h, 2 w]`."""
        return F.relu(self.main(images) + self.shortcut(images))


def resnet_decoder(image_size: tuple[int, int], channels: int, width: int, inputs: int) -> nn.Sequential:
    """Inverted ResNet: vectors `[batch, inputs]` -> images in [-1, 1], four blocks at 128 px.

    Args:
        image_size: Height and width in pixels.
        channels: Of the images.
        width: Channels of the last hidden layer; those before it have twice as many each, up to 8 times.
        inputs: Length of the vectors.
    """
    halvings = num_halvings(image_size)
    height, breadth = (side >> halvings for side in image_size)
    sizes = [max(8 * width >> level, width) for level in range(halvings)]
    return nn.Sequential(
        nn.Linear(inputs, sizes[0]), nn.Unflatten(1, (sizes[0], 1, 1)),
        nn.ConvTranspose2d(sizes[0], sizes[0], (height, breadth), bias=False), BatchNorm2d(sizes[0]), nn.ReLU(),
        *[UpBlock(before, after) for before, after in pairwise(sizes)],
        nn.ConvTranspose2d(sizes[-1], channels, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


def load_resnet18(network: nn.Module, path: str) -> None:
    """Give a network that has torchvision's names its ResNet-18 weights, all but the last layer's.

    Raises:
        ValueError: The file is no safetensors file, or names or shapes differ.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is no safetensors file ({error}); convert torchvision's resnet18 state dict with safetensors.torch.save_file"
        ) from None
    weights = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.startswith("fc.")}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    names = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    wrong = [f"{name} {found.get(name, 'missing')}, not {expected.get(name, 'expected')}" for name in names]
    if wrong:
        raise ValueError(
            f"{path} does not fit the encoder: {shown(wrong, 4)}; it must be torchvision's resnet18, with encoder_width=64, encoder_blocks=2 and colour images"
        )
    network.load_state_dict(weights, strict=False)
