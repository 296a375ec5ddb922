"""VGG19's features as a measure of how alike two images look."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from recombine.losses import absolute_error
from recombine.messages import shown

VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 2))   # channels and convolutions of each block, as far as used here
MEANS = {"bgr": (103.939, 116.779, 123.68), "rgb": (0.485, 0.456, 0.406)}
DEVIATIONS = {"bgr": (1.0, 1.0, 1.0), "rgb": (0.229, 0.224, 0.225)}
SCALES = {"bgr": 255.0, "rgb": 1.0}


class VGGFeatures(nn.Module):
    """VGG19 up to the second convolution of its fifth block, with frozen weights.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.

    Args:
        path: A safetensors file with keys features.0.weight, features.0.bias ... features.30.bias, as in torchvision and timm.
        order: What the weights were trained on: "bgr" in 0-255 less the mean of ImageNet, or "rgb" in [0, 1] normalised.

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
                f"there is no file {path!r}; vgg_weights must name a safetensors file of VGG19 with keys features.0.weight to features.30.bias"
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
        """The prepared image, and the features of each block's second convolution; images `[batch, 3, h, w]` in [-1, 1]."""
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
