"""Parts of the codes as a probe reads them: vectors, large maps pooled, every feature of mean 0 and deviation 1."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num, Shaped
from torch import Tensor

from recombine.codes import pooled

MOST = 1024                                 # features of a map that are probed as they are; larger maps are pooled first
SIDE = 4                                    # side that larger maps are pooled to, at most


def features(train: Shaped[Tensor, " _ *_"], *others: Shaped[Tensor, " _ *_"]) -> list[np.ndarray]:
    """Parts `[batch, ...]` as standardised float32 `[batch, features]`, by the mean and deviation of the first.

    Maps `[batch, channels, height, width]` of more than 1,024 features are average-pooled to at most 4 x 4.

    Example:
        >>> import torch
        >>> features(torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0]]))[1]
        array([[2.]], dtype=float32)
    """
    return [part.astype(np.float32) for part in standardised(*(reduced(part).double().numpy() for part in (train, *others)))]


def reduced(part: Shaped[Tensor, " batch *each"]) -> Float[Tensor, "batch features"]:
    """A part as it is probed, on the CPU: maps of more than 1,024 features averaged to at most 4 x 4.

    Example:
        >>> import torch
        >>> [tuple(reduced(torch.zeros(2, channels, 16, 16)).shape) for channels in (4, 8)]
        [(2, 1024), (2, 128)]
    """
    part = part.detach().cpu().float()
    return pooled(part, SIDE) if part.ndim == 4 and part[0].numel() > MOST else part.flatten(1)


def standardised(train: Num[np.ndarray, "_ features"], *others: Num[np.ndarray, "_ features"]) -> list[np.ndarray]:
    """Features less the mean of the first ones and over their deviation; a constant feature is not divided.

    Example:
        >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))[0]
        array([[-1., 0.], [ 1., 0.]])
    """
    middle, spread = train.mean(0), train.std(0)
    spread[spread == 0] = 1
    return [(side - middle) / spread for side in (train, *others)]


def vectors(codes: Num[np.ndarray, " images *each"]) -> Float[np.ndarray, "images features"]:
    """Codes as float64 vectors, maps flattened.

    Example:
        >>> vectors(np.zeros((2, 3, 4, 4))).shape
        (2, 48)
    """
    codes = np.asarray(codes, dtype=np.float64)
    return codes.reshape(len(codes), -1)
