"""The ranges of images: [-1, 1] in memory, unsigned pixels in packs and files, [0, 1] where a paper works so.

In memory images are float [batch, channels, height, width] in [-1, 1]; here is the only place where ranges change.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_float(pixels: np.ndarray | Tensor) -> Tensor:
    """Unsigned 8- or 16-bit pixels of any shape as float32 in [-1, 1]; 0 becomes -1, the largest value +1."""
    if not isinstance(pixels, Tensor):
        pixels = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    return pixels.to(torch.float32).div_(torch.iinfo(pixels.dtype).max / 2).sub_(1)


def to_pixels(images: Tensor, bits: int = 8) -> np.ndarray:
    """Images in [-1, 1] as unsigned pixels of 8 or 16 bits; what lies outside is cut off.

    Raises:
        ValueError: A value is NaN or infinite, or `bits` is neither 8 nor 16.
    """
    if bits not in (8, 16):
        raise ValueError(f"an image has 8 or 16 bits, not {bits}")
    images = images.detach().to("cpu", torch.float32)
    if not torch.isfinite(images).all():
        raise ValueError("an image holds NaN or infinity: the network diverged, load an older checkpoint")
    half = (2**bits - 1) / 2
    return images.clamp(-1, 1).add(1).mul(half).round().numpy().astype(f"u{bits // 8}")


def to_unit(images: Tensor) -> Tensor:
    """Images of any shape from [-1, 1] to [0, 1]."""
    return (images + 1) / 2


def from_unit(images: Tensor) -> Tensor:
    """Images of any shape from [0, 1] to [-1, 1]."""
    return images * 2 - 1
