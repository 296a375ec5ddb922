"""Networks that several methods share, built from the size of the images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class SumOfProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes, through which gradients flow."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        return SumOfProcesses.apply(slopes[0].contiguous())


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of the whole batch, also when processes share it.

    `torch.nn.SyncBatchNorm` does this on GPUs only; with one process this is `torch.nn.BatchNorm2d`. The statistics of
    bfloat16 are float32.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise `[batch, channels, height, width]`."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(images)
        exact = images.to(torch.promote_types(images.dtype, torch.float32))
        moments = torch.stack([exact.mean((0, 2, 3)), exact.square().mean((0, 2, 3))])
        moments = SumOfProcesses.apply(moments) / dist.get_world_size()
        mean, variance = moments[0], moments[1] - moments[0].square()
        count = dist.get_world_size() * images.numel() // images.shape[1]
        momentum = 0.1 if self.momentum is None else self.momentum
        with torch.no_grad():
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean, momentum)  # type: ignore[union-attr]
            self.running_var.lerp_(variance * count / (count - 1), momentum)  # type: ignore[union-attr]
        shape = (1, -1, 1, 1)
        normal = (exact - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        return (normal * self.weight.view(shape) + self.bias.view(shape)).to(images.dtype)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation that leaves a tensor's memory layout as it is.

    `torch.nn.InstanceNorm2d` copies every tensor in channels_last to the other layout, and the next layer copies it
    back. Batch normalisation of one image is the same and does not; the statistics of bfloat16 are float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise `[batch, channels, height, width]`."""
        if self.track_running_stats or not of_cpu_channels_last(input):
            return super().forward(input)
        settings = (None, None, self.weight, self.bias, True, 0.0, self.eps)
        return torch.cat([F.batch_norm(image, *settings) for image in input.split(1)])


class Conv2d(nn.Conv2d):
    """A convolution, on CPUs taken as a matrix product where weights are many and places are few.

    There oneDNN spends most of its time on the order of the weights: a critic's last halving, 512 to 1,024 channels of
    16 images, took 4 times as long. The numbers are the same but for rounding.
    """

    WEIGHTS = 4096                          # for each place of a batch's outputs, from which on the product is faster

    def forward(self, input: Tensor) -> Tensor:
        """`[batch, inputs, h, w]` -> `[batch, outputs, h / stride, w / stride]`, or what kernel and padding leave."""
        if not self._is_product(input):
            return super().forward(input)
        if torch.is_autocast_enabled("cpu"):
            input = input.to(torch.get_autocast_dtype("cpu"))
        found = Patches.apply(input.permute(0, 2, 3, 1), self.kernel_size, self.stride, self.padding)
        rows = F.linear(found.flatten(3), self.weight.permute(0, 2, 3, 1).flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)

    def _is_product(self, images: Tensor) -> bool:
        if self.padding_mode != "zeros" or self.groups > 1 or max(self.dilation) > 1 or isinstance(self.padding, str):
            return False
        sides = zip(images.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        places = len(images) * math.prod((side + 2 * pad - kernel) // step + 1 for side, kernel, step, pad in sides)
        # Counted, not asked for: a weight under spectral norm takes a step of its power iteration whenever it is read.
        weights = self.in_channels * self.out_channels * math.prod(self.kernel_size)
        return of_cpu_channels_last(images) and weights >= self.WEIGHTS * places


class Patches(torch.autograd.Function):
    """What every place of a convolution sees: `[batch, h, w, channels]` -> `[batch, h', w', kernel, kernel, channels]`.

    Its gradient adds up patches where they overlap, in float32, and can be differentiated again.
    """

    @staticmethod
    def forward(ctx, images: Tensor, kernel: tuple, stride: tuple, padding: tuple) -> Tensor:
        ctx.settings, ctx.shape = (kernel, stride, padding), images.shape
        return patches(images, kernel, stride, padding)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return Overlaps.apply(grads[0], ctx.shape, *ctx.settings), None, None, None


class Overlaps(torch.autograd.Function):
    """The transpose of `Patches`: patches added up where they overlap."""

    @staticmethod
    def forward(ctx, found: Tensor, shape: tuple, kernel: tuple, stride: tuple, padding: tuple) -> Tensor:
        ctx.settings = (kernel, stride, padding)
        (batch, height, width, channels), (high, wide), (down, right) = shape, kernel, stride
        rows, columns = found.shape[1], found.shape[2]
        border = height + 2 * padding[0], width + 2 * padding[1]
        total = found.new_zeros(batch, *border, channels, dtype=torch.promote_types(found.dtype, torch.float32))
        for y in range(high):
            for x in range(wide):
                total[:, y : y + down * rows : down, x : x + right * columns : right] += found[:, :, :, y, x]
        inner = total[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
        return inner.to(found.dtype, memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return Patches.apply(grads[0], *ctx.settings), None, None, None, None


def patches(images: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """`[batch, h, w, channels]` -> `[batch, h', w', kernel height, kernel width, channels]`, zeros beyond the border."""
    images = F.pad(images, (0, 0, padding[1], padding[1], padding[0], padding[0]))
    found = images.unfold(1, kernel[0], stride[0]).unfold(2, kernel[1], stride[1])
    return found.permute(0, 1, 2, 4, 5, 3).contiguous()


def of_cpu_channels_last(images: Tensor) -> bool:
    """Whether a tensor lies in a CPU's memory with the channels of a place side by side."""
    return images.device.type == "cpu" and images.is_contiguous(memory_format=torch.channels_last)


def check_divisible(image_size: tuple[int, int], step: int) -> None:
    """Raise ValueError where a side is no multiple of `step` pixels; the message names the nearest sizes that are."""
    if any(side % step for side in image_size):
        near = [max(step, round(side / step) * step) for side in image_size]
        raise ValueError(
            f"images of {image_size[0]}x{image_size[1]} cannot be divided by {step}; use {near[0]}x{near[1]}"
        )


def num_halvings(image_size: tuple[int, int], smallest: int = 4) -> int:
    """How often an image can be halved until its shorter side is at most `smallest` * 2 - 1 pixels.

    Raises:
        ValueError: A side cannot be halved that often; the message names the nearest sizes that can.
    """
    halvings = max(1, (min(image_size) // smallest).bit_length() - 1)
    check_divisible(image_size, 2**halvings)
    return halvings


def widths(first: int, count: int) -> list[int]:
    """Channel widths that double from `first` and stop growing at 8 times it."""
    return [first * min(2**level, 8) for level in range(count)]


class Skip(nn.Module):
    """`x + layers(x)`, of any shape that the layers preserve."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResidualBlock(nn.Module):
    """Pre-activation residual block: ReLU, conv k3, ReLU, conv k3, plus a resized and projected input."""

    def __init__(self, inputs: int, outputs: int, scale: float = 1.0, norm: bool = False):
        super().__init__()
        self.scale = scale                  # 0.5 halves height and width, 2 doubles them
        self.norm_1 = BatchNorm2d(inputs) if norm else nn.Identity()
        self.norm_2 = BatchNorm2d(outputs) if norm else nn.Identity()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.project = nn.Conv2d(inputs, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """`[batch, inputs, h, w]` -> `[batch, outputs, h * scale, w * scale]`."""
        hidden = F.relu(self.norm_1(images))
        if self.scale > 1:
            hidden, images = (F.interpolate(x, scale_factor=self.scale, mode="nearest") for x in (hidden, images))
        hidden = self.conv_2(F.relu(self.norm_2(self.conv_1(hidden))))
        if self.scale < 1:
            hidden, images = (F.avg_pool2d(x, 2) for x in (hidden, images))
        return hidden + self.project(images)


def image_trunk(
    image_size: tuple[int, int], channels: int, width: int, residual: bool = False
) -> tuple[nn.Sequential, int]:
    """Image -> flat features; no normalisation, halving until 4 to 7 pixels are left.

    `image_size` is height and width in pixels, `width` the channels of the first layer, which double with every
    halving, up to 8 times; `residual` puts residual blocks in place of single convolutions.

    Returns:
        The network, `[batch, channels, height, width]` -> `[batch, features]`, and the number of features.
    """
    halvings = num_halvings(image_size)
    sizes = [channels, *widths(width, halvings)]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += (
            [ResidualBlock(inputs, outputs, 0.5)] if residual else [nn.Conv2d(inputs, outputs, 5, 2, 2), nn.ReLU()]
        )
    if residual:
        layers.append(nn.ReLU())
    features = sizes[-1] * (image_size[0] >> halvings) * (image_size[1] >> halvings)
    return nn.Sequential(*layers, nn.Flatten()), features


def image_head(
    image_size: tuple[int, int], channels: int, width: int, outputs: int, residual: bool = False
) -> nn.Sequential:
    """`image_trunk` and a linear layer: image -> `[batch, outputs]`."""
    trunk, features = image_trunk(image_size, channels, width, residual)
    return nn.Sequential(*trunk, nn.Linear(features, outputs))


def with_planes(images: Tensor, labels: Tensor) -> Tensor:
    """Images or maps `[batch, channels, h, w]` with labels `[batch, labels]` as further, constant channels."""
    return torch.cat([images, labels.to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:])], 1)


def exchanged(both: Tensor, mask: Tensor) -> Tensor:
    """Two sides one after the other, `[2 pairs, ...]`, each with the other's entries where `mask` is true."""
    return torch.where(mask, both.roll(len(both) // 2, 0), both)


def image_decoder(
    image_size: tuple[int, int], channels: int, width: int, inputs: int, residual: bool = False, start: int = 4,
    hidden: int = 0,
) -> nn.Sequential:  # fmt: skip
    """Vector `[batch, inputs]` -> logits of an image `[batch, channels, height, width]`; mirror image of `image_trunk`.

    Args:
        image_size: Height and width in pixels.
        channels: Of the image.
        width: Channels of the last hidden image; those before it have twice as many each, up to 8 times.
        inputs: Length of the vector.
        residual: Residual blocks in place of single convolutions.
        start: Shorter side in pixels of the first hidden image, a power of two; a larger one suits aligned images.
        hidden: Width of a layer between the vector and the first image; 0 = none.
    """
    doublings = num_halvings(image_size, start)
    sizes = widths(width, doublings)[::-1]
    first = (sizes[0], image_size[0] >> doublings, image_size[1] >> doublings)
    layers: list[nn.Module] = [nn.Linear(inputs, hidden), nn.ReLU()] if hidden else []
    layers += [nn.Linear(hidden or inputs, math.prod(first)), nn.ReLU(), nn.Unflatten(1, first)]
    for before, after in pairwise(sizes):
        if residual:
            layers.append(ResidualBlock(before, after, 2, norm=True))
        else:
            layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), BatchNorm2d(after), nn.ReLU()]
    if residual:
        layers += [ResidualBlock(width, width, 2, norm=True), BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.Conv2d(width, channels, 3, padding=1))
    else:
        layers.append(nn.ConvTranspose2d(width, channels, 3, 2, 1, 1))
    return nn.Sequential(*layers)
