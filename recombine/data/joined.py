"""Several packs as one: what one data set does not label is missing there, and its people are not another's.

For methods that visit data sets in turn: `only` restricts a sampler to one of them.

    both = join([Pack("packs/rafd"), Pack("packs/voxceleb")])
    sampler = InTurn([Iid(both.only(0)), Iid(both.only(1))])
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np

from recombine.data.compact import Lazy, Texts, below, narrowed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute, Mirror
from recombine.messages import nearest, shown

FORMAT = ("height", "width", "channels", "bits", "low", "high")     # of images, the same in all packs


def join(packs: Sequence[Pack], shared: Sequence[str] = ()) -> Joined:
    """Several packs as one.

    Rows, files and group values keep their order, pack by pack. Files and groups get their pack's number, from 1, in
    front: `anna` of the second pack is `2/anna`. Values of categorical attributes with the same name are the same.

    Args:
        packs: With images of one format.
        shared: Group attributes whose equal values mean the same in every pack, such as persons who appear in two.

    Raises:
        ValueError: Image formats, or kinds or mirror rules of one attribute, differ; or `shared` names no group.
    """
    return Joined(packs, shared)


class Joined(Pack):
    """Several packs as one; everything that a pack can do, and `only`.

    Attributes:
        path: Of the first pack; `paths` has all.
        packs: Those it is made of.
        sources: [images] int64, the position in `packs` of each row's pack.
        shared: Group attributes that mean the same in all packs.
    """

    def __init__(self, packs: Sequence[Pack], shared: Sequence[str] = ()):
        self.packs, self.shared = list(packs), tuple(shared)
        if not packs or any(isinstance(pack, Joined) for pack in packs):
            raise ValueError("join takes one or more packs, and none that was joined before; name the packs themselves")
        self.paths = [pack.path for pack in packs]
        self.path = self.paths[0]
        _check_format(packs)
        self.schema = replace(packs[0].schema, attributes=_joint_attributes(packs, shared))
        self.sources = np.repeat(np.arange(len(packs)), [len(pack) for pack in packs])
        self.splits = below(pack.splits for pack in packs)
        self.labels = {
            a.name: below(narrowed(recoded(a, n, p, shared)) for n, p in enumerate(packs, 1))
            for a in self.schema.attributes
        }
        names = [name for name in packs[0].index if all(name in pack.index for pack in packs)]
        self.index = Lazy(names, self._stamps)
        self.images = Images(packs)  # type: ignore[assignment]
        self.source: int | None = None

    def _stamps(self, name: str) -> np.ndarray:
        return np.concatenate([pack.index[name] for pack in self.packs])

    @cached_property
    def files(self) -> Texts:
        """One name an image, below its pack's number."""
        return Texts.below([pack.files.after(f"{number}/") for number, pack in enumerate(self.packs, 1)])

    def pixel_hashes(self) -> Texts:
        return Texts.below([pack.pixel_hashes() for pack in self.packs])

    def __repr__(self) -> str:
        which = "" if self.source is None else f"only {self.source} of "
        paths = shown([repr(str(path)) for path in self.paths])
        return f"Joined({which}{paths}, {len(self)} images, {shown(self.schema.names)})"

    def __getstate__(self) -> dict:
        return self.__dict__

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def rows(self, split: str | None = None) -> np.ndarray:
        """Row numbers, int64, of one split or of all images; after `only`, of one data set."""
        rows = super().rows(split)
        return rows if self.source is None else rows[self.sources[rows] == self.source]

    def only(self, source: int) -> Joined:
        """The same pack, whose `rows` are those of the data set at a position, so that samplers draw from it alone."""
        if source not in range(len(self.packs)):
            raise ValueError(f"there are data sets 0 to {len(self.packs) - 1}, not {source}")
        part = copy.copy(self)
        part.source = source
        return part

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when any image, label or split changes, or another pack owns it."""
        whole = Pack.fingerprint.func(self)  # type: ignore[attr-defined]
        return hashlib.blake2b(whole.encode() + self.sources.tobytes(), digest_size=8).hexdigest()

    def whole(self) -> Joined:
        return join([pack.whole() for pack in self.packs], self.shared)

    def problems(self) -> dict[str, list]:
        found: dict[str, list] = {}
        for pack in self.packs:
            for name, entries in pack.problems().items():
                found.setdefault(name, []).extend(entries)
        return found

    def verify(self) -> None:
        for pack in self.packs:
            pack.verify()


class Images:
    """The images of several packs, read where they lie."""

    def __init__(self, packs: Sequence[Pack]):
        self.packs = packs
        self.ends = np.cumsum([len(pack) for pack in packs])
        self.shape = (int(self.ends[-1]), *packs[0].images.shape[1:])
        self.dtype = packs[0].images.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows) -> np.ndarray:
        rows = np.arange(len(self))[rows]
        flat = np.atleast_1d(rows)
        pixels = np.empty((len(flat), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.ends, flat, "right")
        for number, pack in enumerate(self.packs):
            here = owner == number
            pixels[here] = pack.images[flat[here] - (self.ends[number] - len(pack))]
        return pixels[0] if np.ndim(rows) == 0 else pixels


def _check_format(packs: Sequence[Pack]) -> None:
    first = packs[0]
    for pack in packs[1:]:
        for name in FORMAT:
            here, there = getattr(first.schema, name), getattr(pack.schema, name)
            if here != there:
                found = f"{name} is {here} in {first.path} and {there} in {pack.path}; pack one of them again"
                raise ValueError(f"images that are joined have one format; {found} with the other's")


def _joint_attributes(packs: Sequence[Pack], shared: Sequence[str]) -> tuple[Attribute, ...]:
    """Every attribute of any pack, with the values of all."""
    owners: dict[str, list[tuple[int, Pack]]] = {}
    for number, pack in enumerate(packs, 1):
        for attribute in pack.schema.attributes:
            owners.setdefault(attribute.name, []).append((number, pack))
    groups = [name for name, own in owners.items() if own[0][1].schema[name].kind == "group"]
    for name in shared:
        if name not in groups:
            close = nearest(name, groups)
            raise ValueError(f"shared names groups of the packs, which are {shown(groups)}, not {name!r}{close}")
    return tuple(joint(name, own, name in shared) for name, own in owners.items())


def joint(name: str, owners: Sequence[tuple[int, Pack]], shared: bool) -> Attribute:
    """One attribute of several packs as one."""
    first = owners[0][1].schema[name]
    for _, pack in owners:
        if (kind := pack.schema[name].kind) != first.kind:
            where = f"{first.kind} in {owners[0][1].path} and {kind} in {pack.path}"
            raise ValueError(f"{name} is {where}; state one kind for both, or rename one")
    parts = [(number, pack.schema[name]) for number, pack in owners]
    values = tuple(dict.fromkeys(_own_name(a, v, number, shared) for number, a in parts for v in a.values))
    lows = [a.low for _, a in parts if a.low is not None]
    highs = [a.high for _, a in parts if a.high is not None]
    mirror = joint_mirror(name, [(a, lambda v, a=a, n=n: _own_name(a, v, n, shared)) for n, a in parts])
    return replace(first, values=values, low=min(lows, default=None), high=max(highs, default=None), mirror=mirror)


def joint_mirror(name: str, parts: Sequence[tuple[Attribute, Callable[[str], str]]]) -> Mirror:
    """What becomes of a label in a mirrored image, where all packs agree; pairs of values are gathered."""
    rules = {a.mirror for a, _ in parts if isinstance(a.mirror, str)}
    listed = [() if isinstance(a.mirror, str) else a.mirror for a, _ in parts]
    named = zip(listed, (called for _, called in parts), strict=True)
    own = [{(min(pair), max(pair)) for pair in ((called(x), called(y)) for x, y in each)} for each, called in named]
    pairs = sorted({pair for here in own for pair in here})
    moved = [value for pair in pairs for value in pair]
    values = [{called(value) for value in a.values} for a, called in parts]
    several = zip(own, values, strict=True)
    lacking = [pair for here, known in several for pair in pairs if pair not in here and known.issuperset(pair)]
    if lacking or len(moved) > len(set(moved)) or ("negate" in rules and (pairs or len(rules) > 1)):
        stated = shown([repr(a.mirror) for a, _ in parts])
        text = f"{name} becomes another value in a mirrored image by different rules: {stated}"
        raise ValueError(f"{text}; pack one of them again with the other's")
    return tuple(pairs) or ("negate" if "negate" in rules else "keep")


def _own_name(attribute: Attribute, value: str, number: int, shared: bool) -> str:
    """What a value of one pack is called in all: groups carry the pack's number unless they are shared."""
    return f"{number}/{value}" if attribute.kind == "group" and not shared else value


def recoded(attribute: Attribute, number: int, pack: Pack, shared: Sequence[str]) -> np.ndarray:
    """One pack's labels in the numbers of the joint attribute; all missing where it does not have it."""
    if attribute.name not in pack.schema.names:
        return attribute.missing(len(pack))
    column, own = pack.labels[attribute.name], pack.schema[attribute.name]
    if attribute.kind in ("continuous", "binary"):
        return np.asarray(column)
    place = {value: index for index, value in enumerate(attribute.values)}
    table = [place[_own_name(own, value, number, attribute.name in shared)] for value in own.values]
    return np.array([*table, MISSING], dtype=np.int64)[column]


def places(pack: Pack) -> dict:
    """Where a pack lies, as plain values for a run's `config.json`."""
    if isinstance(pack, Joined):
        return {"pack": [str(path.resolve()) for path in pack.paths], "shared": list(pack.shared)}
    return {"pack": str(pack.path.resolve())}


def open_places(found: Mapping) -> Pack:
    """The pack that `places` described."""
    if isinstance(found["pack"], list):
        return join([Pack(Path(path)) for path in found["pack"]], found["shared"])
    return Pack(found["pack"])
