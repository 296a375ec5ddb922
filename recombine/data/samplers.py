"""Samplers: which pictures make up a batch.

Each is a pure function of (seed, position), where position is the number of images seen so far over all processes.
Any part of a batch can be drawn by itself: `draw(0, 8)` is `draw(0, 4)` followed by `draw(4, 4)`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recombine.data.packed import Pack
from recombine.data.schema import mix_seed


@dataclass(frozen=True)
class Draw:
    """Rows of a pack for one batch; `mirror` is None or true where a picture is to be flipped left to right."""

    rows: np.ndarray                        # [batch] int64
    mirror: np.ndarray | None = None        # [batch] bool
    partner: np.ndarray | None = None       # [batch] int64: the second view or the second batch
    partner_mirror: np.ndarray | None = None
    source: int = 0                         # which data set, where several take turns


class Sampler(Protocol):
    """What the engine asks of a sampler."""

    def draw(self, position: int, batch_size: int) -> Draw:
        """The samples from `position` up to `position + batch_size`."""
        ...


class Epochs:
    """An endless sequence of shuffled epochs: every one of `count` things once an epoch, order from (seed, epoch)."""

    def __init__(self, count: int, seed: int, name: str):
        self.count, self.seed, self.name = count, seed, name
        self._kept: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def order(self, position: int, size: int) -> np.ndarray:
        """[size] int64: the things at some positions."""
        return self._read("order", lambda random: random.permutation(self.count), position, size)

    def flips(self, position: int, size: int, name: str = "mirror") -> np.ndarray:
        """[size] bool: a fair coin for each position."""
        return self._read(name, lambda random: random.random(self.count) < 0.5, position, size)

    def uniform(self, position: int, size: int, name: str) -> np.ndarray:
        """[size] in [0, 1): a number for each position."""
        return self._read(name, lambda random: random.random(self.count), position, size)

    def _read(self, name: str, make: Callable, position: int, size: int) -> np.ndarray:
        places = np.arange(position, position + size)
        epochs = places // self.count
        parts = [self._epoch(name, make, e)[places[epochs == e] % self.count] for e in range(epochs[0], epochs[-1] + 1)]
        return np.concatenate(parts)

    def _epoch(self, name: str, make: Callable, epoch: int) -> np.ndarray:
        key = (name, int(epoch))
        if key not in self._kept:
            self._kept[key] = make(np.random.default_rng(mix_seed(self.seed, self.name, *key)))
            while len(self._kept) > 8:
                self._kept.popitem(last=False)
        return self._kept[key]


class Iid:
    """Every picture of a split once an epoch, in an order drawn anew for each epoch.

    Args:
        pack: The data.
        split: "train", "val" or "test".
        seed: Of the order and the mirroring.
        mirror: Flip every picture with probability 1/2.

    Raises:
        ValueError: The split is empty.
    """

    def __init__(self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False, name: str = "iid"):
        self.rows = some(pack.rows(split), pack, split)
        self.mirror = mirror
        self.epochs = Epochs(len(self.rows), seed, name)

    def draw(self, position: int, batch_size: int) -> Draw:
        """The next pictures; a batch may reach into the next epoch."""
        rows = self.rows[self.epochs.order(position, batch_size)]
        return Draw(rows, self.epochs.flips(position, batch_size) if self.mirror else None)


class TwoBatches:
    """Two independent i.i.d. batches; every picture once an epoch in each. Arguments as for `Iid`."""

    def __init__(self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False):
        self.first = Iid(pack, split, seed, mirror, "first")
        self.second = Iid(pack, split, seed, mirror, "second")

    def draw(self, position: int, batch_size: int) -> Draw:
        """The next pictures and their partners."""
        first, second = self.first.draw(position, batch_size), self.second.draw(position, batch_size)
        return Draw(first.rows, first.mirror, second.rows, second.mirror)


def some(rows: np.ndarray, pack: Pack, split: str) -> np.ndarray:
    """The rows, or ValueError where a split has none."""
    if not len(rows):
        raise ValueError(f"{pack.path} has no pictures in split {split!r}; it has {pack}")
    return rows
