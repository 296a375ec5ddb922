"""Samplers: which images make up a batch.

Each is a pure function of (seed, position), where position is the number of images seen so far over all processes.
Any part of a batch can be drawn by itself: `draw(0, 8)` is `draw(0, 4)` followed by `draw(4, 4)`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute
from recombine.messages import shown

KEPT = 2                                    # epochs of which what was drawn is kept, as a batch may lie in two


@dataclass(frozen=True)
class Draw:
    """Rows of a pack for one batch; `mirror` is None or true where an image is to be flipped left to right."""

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


@runtime_checkable
class LeavesOut(Protocol):
    """A sampler that cannot use every image."""

    left_out: int                           # images of the split that it never draws


class Epochs:
    """An endless sequence of shuffled epochs: every one of `count` things once an epoch, order from (seed, epoch)."""

    def __init__(self, count: int, seed: int, name: str):
        self.count, self.seed, self.name = count, seed, name
        self._kept: dict[str, dict[int, np.ndarray]] = defaultdict(dict)

    def order(self, position: int, size: int) -> np.ndarray:
        """[size] int64: the things at some positions."""
        return self._read("order", lambda rng: short(rng.permutation(self.count)), position, size).astype(np.int64)

    def flips(self, position: int, size: int, name: str = "mirror") -> np.ndarray:
        """[size] bool: a fair coin for each position."""
        return self._read(name, lambda rng: rng.random(self.count) < 0.5, position, size)

    def uniform(self, position: int, size: int, name: str) -> np.ndarray:
        """[size] in [0, 1): a number for each position."""
        return self._read(name, lambda rng: rng.random(self.count), position, size)

    def _read(self, name: str, make: Callable, position: int, size: int) -> np.ndarray:
        places = np.arange(position, position + size)
        epochs = places // self.count
        parts = [self.epoch(name, make, e)[places[epochs == e] % self.count] for e in range(epochs[0], epochs[-1] + 1)]
        return np.concatenate(parts)

    def epoch(self, name: str, make: Callable, epoch: int) -> np.ndarray:
        """What `make` draws for one epoch, from (seed, name, epoch); kept until two others were drawn."""
        kept, epoch = self._kept[name], int(epoch)
        if epoch not in kept:
            if len(kept) == KEPT:
                del kept[next(iter(kept))]
            kept[epoch] = make(np.random.default_rng(mix_seed(self.seed, self.name, name, epoch)))
        return kept[epoch]


class Iid:
    """Every image of a split once an epoch, in an order drawn anew for each epoch.

    With `mirror` every image is flipped with probability 1/2. Raises ValueError where the split is empty.
    """

    def __init__(self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False, name: str = "iid"):
        self.rows = some(pack.rows(split), pack, split)
        self.mirror = mirror
        self.epochs = Epochs(len(self.rows), seed, name)

    def draw(self, position: int, batch_size: int) -> Draw:
        rows = self.rows[self.epochs.order(position, batch_size)]
        return Draw(rows, self.epochs.flips(position, batch_size) if self.mirror else None)


class Balanced:
    """Every second image as `Iid` draws it; the others show a value drawn evenly from those of an attribute drawn evenly.

    So rare values are seen about as often as common ones. A continuous attribute's values are five equal parts of its
    range; groups are left to the first half, and without any other attribute all images are.
    """

    PARTS = 5                               # of a continuous attribute's range

    def __init__(self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False):
        self.iid = Iid(pack, split, seed, mirror, "balanced")
        self.strata = [rows for a in pack.schema.attributes if (rows := self._strata(pack, a))]
        self.draws = Epochs(len(self.iid.rows), seed, "balanced draws")

    def _strata(self, pack: Pack, attribute: Attribute) -> list[np.ndarray]:
        """The rows of every value that some row shows."""
        if attribute.kind == "group":
            return []
        labels = np.asarray(pack.labels[attribute.name])[self.iid.rows]
        known = attribute.known(labels)
        if attribute.kind == "continuous":
            low, high = (attribute.low or 0.0, attribute.high or 0.0)
            labels = np.clip((labels - low) / max(high - low, 1e-12) * self.PARTS, 0, self.PARTS - 1)
            labels = np.where(known, labels, 0).astype(np.int64)
        return [self.iid.rows[known & (labels == value)] for value in np.unique(labels[known])]

    def draw(self, position: int, batch_size: int) -> Draw:
        places = np.arange(position, position + batch_size)
        if not self.strata:
            return self.iid.draw(position, batch_size)
        first, last = position // 2, (position + batch_size + 1) // 2
        rows = self.iid.rows[self.iid.epochs.order(first, last - first)][places // 2 - first]
        numbers = [self.draws.uniform(first, last - first, name)[places // 2 - first] for name in ("attribute", "value", "row")]
        for place in np.flatnonzero(places % 2):
            attribute, value, row = (column[place] for column in numbers)
            strata = self.strata[int(attribute * len(self.strata))]
            stratum = strata[int(value * len(strata))]
            rows[place] = stratum[int(row * len(stratum))]
        return Draw(rows, self.iid.epochs.flips(position, batch_size) if self.iid.mirror else None)


class TwoBatches:
    """Two independent i.i.d. batches; every image once an epoch in each."""

    def __init__(self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False):
        self.first = Iid(pack, split, seed, mirror, "first")
        self.second = Iid(pack, split, seed, mirror, "second")

    def draw(self, position: int, batch_size: int) -> Draw:
        first, second = self.first.draw(position, batch_size), self.second.draw(position, batch_size)
        return Draw(first.rows, first.mirror, second.rows, second.mirror)


class Pairs:
    """Two different images with the same value of an attribute, or the same combination of several.

    Every image that has a partner comes first once an epoch; its partner is drawn anew from the others of its group,
    and both are mirrored independently. Images without label and groups of one image are left out.

    `by` names the attributes whose values a pair shares; unless given, the first of kind `group`.

    Attributes:
        left_out: How many images of the split cannot form a pair.

    Raises:
        ValueError: There is no such attribute, or no two images share a value.
    """

    def __init__(
        self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False, by: Sequence[str] | None = None
    ):
        rows = some(pack.rows(split), pack, split)
        names = [by] if isinstance(by, str) else list(by or [first_group(pack)])
        self.groups = Groups(rows, combined(pack, names, rows), 2)
        self.left_out = len(rows) - len(self.groups.rows)
        if not len(self.groups.rows):
            raise ValueError(f"no two images of split {split!r} share {shown(names)}, so there are no pairs")
        self.mirror = mirror
        self.epochs = Epochs(len(self.groups.rows), seed, "pairs")

    def draw(self, position: int, batch_size: int) -> Draw:
        first = self.epochs.order(position, batch_size)
        group = self.groups.member[first]
        start, size = self.groups.starts[group], self.groups.sizes[group]
        step = 1 + (self.epochs.uniform(position, batch_size, "partner") * (size - 1)).astype(np.int64)
        second = start + (first - start + step) % size
        coins = ("mirror", "partner mirror")
        flips = [self.epochs.flips(position, batch_size, name) if self.mirror else None for name in coins]
        return Draw(self.groups.rows[first], flips[0], self.groups.rows[second], flips[1])

    def __repr__(self) -> str:
        out = f"; {self.left_out} images have no partner and are left out" if self.left_out else ""
        return f"Pairs({len(self.groups.rows)} images in {len(self.groups.sizes)} groups{out})"


class Macro:
    """Batches in which every identity stands with several images, so that each image has others like it.

    A batch is a run of identities, each with `clips` x `images` images side by side; identities come in shuffled
    epochs. With a `clip` attribute each identity brings as many different clips as it has, up to `clips`, and each clip
    as many different images as it has, up to `images`; what is lacking is filled up by repeating.

    `identity` and `clip` name attributes: unless given, the identities are the first of kind `group`, and there are no
    clips. `images` are at least 2, of each clip, or without clips of each identity.

    Attributes:
        left_out: How many images of the split belong to no identity or clip with two images.

    Raises:
        ValueError: There is no such attribute, or no identity has two images.
    """

    def __init__(
        self, pack: Pack, split: str = "train", seed: int = 0, mirror: bool = False, identity: str | None = None,
        clip: str | None = None, clips: int = 1, images: int = 4,
    ):  # fmt: skip
        rows, identity = some(pack.rows(split), pack, split), identity or first_group(pack)
        if images < 2 or clips < 1:
            raise ValueError(f"a macro-batch needs 2 or more images of 1 or more clips, not {images} of {clips}")
        self.clips, self.images, self.mirror = clips if clip else 1, images, mirror
        self.groups = Groups(rows, combined(pack, [identity, clip] if clip else [identity], rows), 2)
        self.left_out = len(rows) - len(self.groups.rows)
        if not len(self.groups.rows):
            raise ValueError(f"no {identity} of split {split!r} has two images, so there are no macro-batches")
        owners = pack.labels[identity][self.groups.rows[self.groups.starts]]
        self.identities = Groups(np.arange(len(owners)), owners, 1, "clips")
        self.epochs = Epochs(len(self.identities.sizes), seed, "macro")
        self.coins = Epochs(len(self.identities.sizes) * self.clips * images, seed, "macro mirror")

    def draw(self, position: int, batch_size: int) -> Draw:
        """The next images, identity by identity; a batch may begin or end within one."""
        slots, inside = np.divmod(np.arange(position, position + batch_size), self.clips * self.images)
        clips, images = np.divmod(inside, self.images)
        identities = self.epochs.order(slots[0], slots[-1] - slots[0] + 1)[slots - slots[0]]
        epochs, rows = slots // self.epochs.count, np.empty(batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            clip = self.identities.nth(self.epochs, epoch, identities[now], clips[now])
            rows[now] = self.groups.nth(self.epochs, epoch, clip, images[now])
        return Draw(rows, self.coins.flips(position, batch_size) if self.mirror else None)

    def __repr__(self) -> str:
        out = f"; {self.left_out} images are left out" if self.left_out else ""
        return f"Macro({len(self.groups.rows)} images of {len(self.identities.sizes)} identities{out})"


class InTurn:
    """Several data sets in turn, each batch from one, with its own labels.

    `shares` are the batches that each sampler gets in a round; one unless given.
    """

    def __init__(self, samplers: Sequence[Sampler], shares: Sequence[int] | None = None):
        shares = list(shares or [1] * len(samplers))
        if len(shares) != len(samplers) or not samplers or min(shares) < 1:
            raise ValueError(f"{len(samplers)} data sets need as many shares of 1 or more, not {shares}")
        self.samplers = list(samplers)
        turns = [((i + 0.5) / share, source) for source, share in enumerate(shares) for i in range(share)]
        self.round = np.array([source for _, source in sorted(turns)])

    def draw(self, position: int, batch_size: int) -> Draw:
        """The next batch of the data set whose turn it is; `source` is its number. All batches must have one size."""
        rounds, place = divmod(position // batch_size, len(self.round))
        source = int(self.round[place])
        before = rounds * int((self.round == source).sum()) + int((self.round[:place] == source).sum())
        draw = self.samplers[source].draw(before * batch_size + position % batch_size, batch_size)
        return replace(draw, source=source)


SAMPLERS = {"iid": Iid, "balanced": Balanced, "two_batches": TwoBatches, "pairs": Pairs, "macro": Macro}


class Groups:
    """Things (`rows`) sorted by group, without those of no group (`MISSING`) and of groups smaller than `least`.

    `member` is the number of each thing's group; `starts` and `sizes` are where in `rows` each group lies.
    """

    def __init__(self, rows: np.ndarray, values: np.ndarray, least: int, name: str = "pictures"):  # of the seeds
        self.name = name
        rows, values = rows[values != MISSING], values[values != MISSING]
        _, member, sizes = np.unique(values, return_inverse=True, return_counts=True)
        kept = sizes[member] >= least
        order = np.argsort(member[kept], kind="stable")
        self.rows = rows[kept][order]
        self.sizes = sizes[sizes >= least]
        self.starts = np.cumsum(self.sizes) - self.sizes
        self.member = short(np.repeat(np.arange(len(self.sizes)), self.sizes))

    def nth(self, epochs: Epochs, epoch: int, groups: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """The things with some numbers in some groups, in an order of each group that is drawn anew for each epoch."""
        order = epochs.epoch(self.name, lambda rng: short(np.lexsort((rng.random(len(self.rows)), self.member))), epoch)
        return self.rows[order[self.starts[groups] + numbers % self.sizes[groups]]]


def first_group(pack: Pack) -> str:
    """The first attribute of kind `group`; raises ValueError where there is none."""
    names = [a.name for a in pack.schema.attributes if a.kind == "group"]
    if not names:
        text = f"{pack.path} has no attribute of kind 'group' to draw images of one identity by"
        raise ValueError(f"{text}; state its kind, or name one of {shown(pack.schema.names)}")
    return names[0]


def combined(pack: Pack, names: Sequence[str], rows: np.ndarray) -> np.ndarray:
    """One number for each combination of several attributes' values; `MISSING` where one of them is."""
    codes = np.zeros(len(rows), dtype=np.int64)
    known = np.ones(len(rows), dtype=bool)
    for name in names:
        if pack.schema[name].kind == "continuous":
            raise ValueError(f"{name} is a number; images are grouped by binary, categorical or group attributes")
        column = pack.labels[name][rows]
        known &= column != MISSING
        codes = np.unique(codes * (column.max() + 2) + column + 1, return_inverse=True)[1]
    return np.where(known, codes, MISSING)


def short(places: np.ndarray) -> np.ndarray:
    """Places among as many things, in 4 bytes each where that suffices."""
    return places.astype(np.int32) if len(places) <= np.iinfo(np.int32).max else places


def some(rows: np.ndarray, pack: Pack, split: str) -> np.ndarray:
    """The rows, or ValueError where a split has none."""
    if not len(rows):
        raise ValueError(f"there are no images in split {split!r} of {pack}")
    return rows
