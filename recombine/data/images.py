"""Pictures: read, ranges, save, grids.

In memory pictures are float [batch, channels, height, width] in [-1, 1]; here is the only place where ranges change.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DTYPES = {8: np.uint8, 16: np.uint16}


def to_float(pixels: np.ndarray) -> Tensor:
    """Unsigned 8- or 16-bit pixels of any shape as float32 in [-1, 1]; 0 becomes -1, the largest value +1."""
    half = np.iinfo(pixels.dtype).max / 2
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(torch.float32).div_(half).sub_(1)


def to_pixels(images: Tensor, bits: int = 8) -> np.ndarray:
    """Pictures in [-1, 1] as unsigned pixels of 8 or 16 bits; what lies outside is cut off.

    Raises:
        ValueError: A value is NaN or infinite, or `bits` is neither 8 nor 16.
    """
    if bits not in DTYPES:
        raise ValueError(f"a picture has 8 or 16 bits, not {bits}")
    images = images.detach().to("cpu", torch.float32)
    if not torch.isfinite(images).all():
        raise ValueError("a picture holds NaN or infinity: the network diverged, load an older checkpoint")
    half = (2**bits - 1) / 2
    return images.clamp(-1, 1).add(1).mul(half).round().numpy().astype(DTYPES[bits])
