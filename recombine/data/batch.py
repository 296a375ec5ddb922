"""Batches as a method's `turns` receives them, and the seeds that all randomness is derived from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:                           # the processes that decode images derive seeds and do without torch
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images with their labels, as a method's `turns` receives them.

    `labels` and `known` hold one tensor `[batch]` per attribute; where `known` is false the label means nothing.
    """

    images: Tensor                          # [batch, channels, height, width] in [-1, 1]
    labels: Mapping[str, Tensor]            # name -> [batch]; int64, continuous float32
    known: Mapping[str, Tensor]             # name -> [batch] bool
    rows: Tensor                            # [batch] int64, rows of the pack, for reports
    partner: Batch | None = None            # the second view or the second batch, where a sampler draws two
    source: int = 0                         # which data set or sampler, where several take turns
    seed: int = 0                           # of this step; noise() derives everything from it
    offset: int = 0                         # position of the first sample in the step's whole batch ...
    whole: int = 0                          # ... and the size of that whole batch, over all processes and micro-batches
    labelled: frozenset[str] = frozenset()  # attributes that some image read with this one is known to have

    @property
    def size(self) -> int:
        return len(self.images)

    def noise(self, name: str, *shape: int) -> Tensor:
        """Standard normal numbers `[batch, *shape]` that depend on the step and the sample alone.

        The whole batch's numbers are drawn and the own part is taken, so one process and many,
        one batch and its micro-batches all see the same noise.
        """
        return self._draw("randn", name, shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), `[batch, *shape]`, by the same rule as `noise`."""
        return self._draw("rand", name, shape)

    def _draw(self, draw: str, name: str, shape: tuple[int, ...]) -> Tensor:
        import torch

        generator, device = torch.Generator().manual_seed(mix_seed(self.seed, name)), self.images.device
        numbers = getattr(torch, draw)(max(self.whole, self.offset + self.size), *shape, generator=generator)
        numbers = numbers[self.offset : self.offset + self.size]
        if device.type == "cuda":           # which would wait for memory that is not pinned
            numbers = numbers.pin_memory()
        return numbers.to(device, self.images.dtype, non_blocking=True)

    def split(self, count: int) -> Iterator[Batch]:
        """`count` consecutive micro-batches of equal size; raises ValueError where that does not divide."""
        if self.size % count:
            raise ValueError(f"a batch of {self.size} cannot be split into {count} equal micro-batches")
        step = self.size // count
        for start in range(0, self.size, step):
            yield self.slice(start, start + step)

    def slice(self, start: int, stop: int) -> Batch:
        """Samples `start` up to `stop`, with the noise they have in the whole batch."""
        part = slice(start, stop)
        labels, known = ({name: c[part] for name, c in each.items()} for each in (self.labels, self.known))
        partner = self.partner.slice(start, stop) if self.partner else None
        place = {"offset": self.offset + start, "whole": self.whole or self.size}
        images, rows = self.images[part], self.rows[part]
        return replace(self, images=images, labels=labels, known=known, rows=rows, partner=partner, **place)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """The same batch on another device, its images in another floating-point type."""
        images = self.images.to(device, dtype or self.images.dtype, non_blocking=True)
        moved = (self.labels, self.known)
        labels, known = ({n: column.to(device, non_blocking=True) for n, column in each.items()} for each in moved)
        partner = self.partner.to(device, dtype) if self.partner else None
        return replace(self, images=images, labels=labels, known=known, partner=partner)


@dataclass(frozen=True)
class StoredBatch:
    """Images as a pack stores them, with their labels: what goes to a device, in few transfers."""

    pixels: Tensor                          # [batch, channels, height, width] uint8 or uint16
    mirror: Tensor | None                   # [batch] bool: still to be flipped left to right; None = none
    rows: Tensor                            # [batch] int64
    classes: Tensor                         # [attributes, batch] int64: labels of all that are not continuous, mirrored
    numbers: Tensor                         # [attributes, batch] float32: labels of the continuous ones, mirrored
    known: Tensor                           # [attributes, batch] bool, of `names`
    names: tuple[str, ...]                  # of all attributes
    continuous: tuple[str, ...]             # of those that are
    labelled: frozenset[str]                # of those that some image has

    def map(self, change: Callable[[Tensor], Tensor]) -> StoredBatch:
        """The same batch with every tensor changed."""
        tensors = {name: getattr(self, name) for name in ("pixels", "mirror", "rows", "classes", "numbers", "known")}
        return replace(self, **{name: change(tensor) for name, tensor in tensors.items() if tensor is not None})

    def batch(self) -> Batch:
        """The batch, on the device where this one is."""
        from recombine.data.images import to_float

        images = to_float(self.pixels)
        if self.mirror is not None:
            images = images.where(~self.mirror[:, None, None, None], images.flip(3))
        classes, numbers = iter(self.classes), iter(self.numbers)
        labels = {name: next(numbers if name in self.continuous else classes) for name in self.names}
        known = dict(zip(self.names, self.known, strict=True))
        return Batch(images, labels, known, self.rows, labelled=self.labelled)


def mix_seed(*parts: object) -> int:
    """One 63-bit seed from any number of values; equal values give equal seeds on every machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
