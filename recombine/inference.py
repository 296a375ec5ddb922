"""A method at work on many images: evaluation mode, and codes and images a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from recombine.codes import Codes
from recombine.data.packed import Pack
from recombine.method import Method


@contextmanager
def evaluation_mode(model: Method) -> Iterator[None]:
    """Evaluation mode and no gradients inside; every network's own mode comes back after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def channels_last(model: Method, on: bool = True) -> Iterator[None]:
    """Weights of convolutions laid out so that decoding takes less time inside; the usual layout is back after.

    Inside, `on=False` has the usual layout for a while: that of encoding, on which the last digits of codes depend.
    """
    formats = (torch.channels_last, torch.contiguous_format) if on else (torch.contiguous_format, torch.channels_last)
    model.to(memory_format=formats[0])  # type: ignore[attr-defined]
    try:
        yield
    finally:
        model.to(memory_format=formats[1])  # type: ignore[attr-defined]


def encode_rows(model: Method, pack: Pack, rows: np.ndarray, chunk: int = 128) -> Codes:
    """Codes of any number of rows, encoded a chunk at a time."""
    device = device_of(model)
    return Codes.concatenate(
        [model.encode(pack.batch(rows[i : i + chunk]).images.to(device)).detach() for i in range(0, len(rows), chunk)]
    )


def decode_chunks(model: Method, codes: Codes, chunk: int = 128) -> Iterator[Tensor]:
    """Images of any number of codes, a chunk at a time."""
    for start in range(0, codes.batch_size, chunk):
        yield model.decode(codes[start : start + chunk])


def device_of(model: Method) -> torch.device:
    """Where a method's networks are."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))
