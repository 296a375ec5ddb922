"""Networks with published weights: VGG19's features as a measure of likeness, ResNet-18 as encoder, and its inverse."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from recombine.losses import absolute_error
from recombine.messages import shown
from recombine.networks import BatchNorm2d, num_halvings, widths

VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 2))   # channels and convolutions of each block, as far as used here
MEANS = {"bgr": (103.939, 116.779, 123.68), "rgb": (0.485, 0.456, 0.406)}
DEVIATIONS = {"bgr": (1.0, 1.0, 1.0), "rgb": (0.229, 0.224, 0.225)}
SCALES = {"bgr": 255.0, "rgb": 1.0}


class VGGFeatures(nn.Module):
    """VGG19 up to the second convolution of its fifth block, with frozen weights.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.

    Args:
        path: A safetensors file with keys features.0.weight, features.0.bias ... features.30.bias, as in torchvision.
        order: What the weights were trained on: "bgr" in 0-255 less ImageNet's mean, or "rgb" in [0, 1] normalised.

    Raises:
        ValueError: There is no such file, or it is not VGG19.
    """

    def __init__(self, path: str, order: Literal["bgr", "rgb"] = "bgr"):
        super().__init__()
        layers: list[nn.Module] = []
        before, self.order, self.taps = 3, order, []
        for width, count in VGG19:
            self.taps.append(len(layers) + 3)  # convolution, ReLU, convolution, ReLU
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                before = width
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers[:-1])
        if not Path(path).is_file():
            raise ValueError(
                f"there is no file {path!r}; vgg_weights must name a safetensors file of VGG19 with keys "
                "features.0.weight to features.30.bias"
            )
        found = load_file(path)
        expected = {f"features.{name}": value.shape for name, value in self.features.state_dict().items()}
        wrong = [name for name, shape in expected.items() if name not in found or found[name].shape != shape]
        if wrong:
            raise ValueError(
                f"{path} is not VGG19: {shown(wrong)} is missing or has another shape; it holds {shown(list(found))}"
            )
        self.load_state_dict({name: found[name] for name in expected})
        self.requires_grad_(False)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Mean absolute difference of the inputs and of five layers' features, added up: `[batch]`."""
        pairs = zip(self(first), self(second), strict=True)
        return torch.stack([absolute_error(a, b) for a, b in pairs]).sum(0)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The prepared image `[batch, 3, h, w]` in [-1, 1], and the features of each block's second convolution."""
        mean, deviation = (images.new_tensor(table[self.order]).view(1, 3, 1, 1) for table in (MEANS, DEVIATIONS))
        x = (images.flip(1) if self.order == "bgr" else images) / 2 + 0.5
        x = (x * SCALES[self.order] - mean) / deviation
        found = [x]
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                found.append(x)
        return found


def cropped(images: Tensor, places: Tensor, most: int = 224) -> Tensor:
    """Squares of at most `most` pixels from images `[batch, channels, h, w]`; `places` [batch, 2] in [0, 1)."""
    sizes = [min(most, side) for side in images.shape[2:]]
    room = torch.tensor([side - size + 1 for side, size in zip(images.shape[2:], sizes, strict=True)])
    starts = (places.cpu() * room).long().tolist()
    corners = zip(images, starts, strict=True)
    return torch.stack([x[:, top : top + sizes[0], left : left + sizes[1]] for x, (top, left) in corners])


def check_vgg(path: str, channels: int) -> None:
    """Raise ValueError where VGG19's weights are not named, or images have other than 3 channels."""
    if not path:
        raise ValueError(
            "reconstruction 'vgg' needs vgg_weights: a safetensors file of VGG19 with keys features.0.weight to "
            "features.30.bias; or use reconstruction 'l2'"
        )
    if channels != 3:
        raise ValueError(f"reconstruction 'vgg' takes images of 3 channels, not {channels}; use reconstruction 'l2'")


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

    `width` is the first convolution's channels (64 in ResNet-18), `blocks` those of each of the four stages (2), and
    `max_pool` halves the image once more after the first convolution, as in ResNet-18.
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

    `width` is the last hidden layer's channels; those before it have twice as many each, up to 8 times.
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
            f"{path} is no safetensors file ({error}); convert torchvision's resnet18 state dict with "
            "safetensors.torch.save_file"
        ) from None
    weights = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.startswith("fc.")}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    names = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    wrong = [f"{name} {found.get(name, 'missing')}, not {expected.get(name, 'expected')}" for name in names]
    if wrong:
        raise ValueError(
            f"{path} does not fit the encoder: {shown(wrong, 4)}; it must be torchvision's resnet18, with "
            "encoder_width=64, encoder_blocks=2 and colour images"
        )
    network.load_state_dict(weights, strict=False)
