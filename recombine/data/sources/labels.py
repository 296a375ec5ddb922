"""The label table: what every image is known to show, as typed columns, and how it is divided into splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from recombine.data.batch import mix_seed
from recombine.data.compact import Lazy
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.data.sources.cells import Cells, Note
from recombine.data.sources.columns import PERSONS, Column, factorise, named, natural, tidy, type_column, yes_or_no
from recombine.data.sources.source import FEW, SourceOptions
from recombine.messages import nearest, printable, shown

if TYPE_CHECKING:
    from recombine.data.packed import Pack

SPLITS = {"train": "train", "training": "train"}
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev"), "val")
SPLITS |= dict.fromkeys(("test", "testing", "eval", "evaluation"), "test")
NUMBERED_SPLITS = {"0": "train", "1": "val", "2": "test"}           # CelebA's
SPLIT_COLUMNS = ("split", "partition", "subset", "set")


@dataclass(frozen=True)
class LabelTable:
    """Labels of all images, one row for each file."""

    attributes: tuple[Attribute, ...]
    files: Sequence[str]                    # relative to the root, as in the folder, posix
    columns: Mapping[str, np.ndarray]       # int64 with MISSING; continuous: float32 with NaN
    splits: np.ndarray | None = None        # "train", "val" or "test" of each row; None: not stated

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, name: str) -> Attribute:
        return Schema(self.attributes)[name]

    def select(self, *names: str) -> LabelTable:
        attributes = tuple(self[name] for name in names)
        return replace(self, attributes=attributes, columns={name: self.columns[name] for name in names})

    def take(self, rows: np.ndarray) -> LabelTable:
        """Only these rows, given by position or by a mask."""
        rows = np.arange(len(self))[rows]
        columns = {name: column[rows] for name, column in self.columns.items()}
        splits = None if self.splits is None else self.splits[rows]
        return replace(self, files=[self.files[row] for row in rows], columns=columns, splits=splits)

    def known(self, name: str) -> np.ndarray:
        """Mask `[rows]` of the images for which an attribute is labelled."""
        return self[name].known(self.columns[name])

    def counts(self, name: str) -> dict[str, int]:
        """Number of images for each value of an attribute; empty for a continuous one."""
        attribute = self[name]
        if attribute.kind == "continuous":
            return {}
        totals = np.bincount(self.columns[name][self.known(name)], minlength=attribute.num_values)
        return dict(zip(attribute.values, totals.tolist(), strict=True))


def make_table(
    cells: Cells, files: list[str], options: SourceOptions, skip: str = "", splits: np.ndarray | None = None
) -> tuple[LabelTable, list[Note]]:
    """Type the columns of a table with a row for each file, and note what was found; problems have the level `error`.

    `skip` is a column that is no label, such as the paths; `splits` are those of the rows, where they are known.

    Raises:
        ValueError: The options name a column or a kind that does not exist.
    """
    notes, kinds, asked = [], options.kinds, options.attributes
    split_column = None if splits is not None else find_split_column(cells, asked or ())
    if split_column:
        splits, notes = read_splits(cells, split_column)
    names = [name for name in cells.columns if name not in (skip, split_column)]
    for name in (*kinds, *(asked or ())):
        if name not in names:
            raise ValueError(f"there is no label column {name!r}; there are {shown(names)}{nearest(name, names)}")
    chosen = {name: factorise(name, cells.columns[name]) for name in (names if asked is None else asked)}
    attributes, columns = [], {}
    for name, column in chosen.items():
        named_so = asked is not None or name in kinds
        attribute, numbers, more = type_column(column, cells, kinds.get(name), options.new_values, named_so)
        notes += more
        if attribute is not None:
            attributes.append(_with_range(attribute, numbers, splits))
            columns[name] = numbers
    table = LabelTable(tuple(attributes), list(files), columns, splits)
    checks = (check_mirrors(table), check_counts(table, options.few), check_lone(table), check_leaks(table))
    return table, [*notes, *_spellings(table, chosen), *chain(*checks)]


def _with_range(attribute: Attribute, values: np.ndarray, splits: np.ndarray | None) -> Attribute:
    """Smallest and largest value among the training images, or among all where those have none."""
    if attribute.kind != "continuous" or attribute.low is not None or not attribute.known(values).any():
        return attribute
    train = values if splits is None else values[splits == "train"]
    train = train if attribute.known(train).any() else values
    return replace(attribute, low=float(f"{np.nanmin(train):.7g}"), high=float(f"{np.nanmax(train):.7g}"))


def _spellings(table: LabelTable, columns: Mapping[str, Column]) -> list[Note]:
    """A note on how yes and no are written, unless by 0 and 1 everywhere."""
    binary = [columns[attribute.name].texts for attribute in table.attributes if attribute.kind == "binary"]
    used = Counter(", ".join(sorted((t for t in texts if yes_or_no(t) is not None), key=natural)) for texts in binary)
    used.pop("0, 1", None)
    return [Note("info", f"{texts} read as no or yes in {n} column{'s' * (n > 1)}") for texts, n in used.items()]


def check_mirrors(table: LabelTable) -> list[Note]:
    """Notes on attributes whose label for a mirrored image is not known."""
    notes = []
    for attribute in table.attributes:
        name = printable(attribute.name)
        paired = {value for pair in attribute.mirror for value in pair} if isinstance(attribute.mirror, tuple) else ()
        sided = [v for v in attribute.values if attribute.kind == "categorical" and named(v, ("left", "right"))]
        if lone := [value for value in sided if value not in paired]:
            text = f"{name}: {shown(lone)} has no value for the other side"
            notes.append(Note("warning", text, "train without mirroring"))
        if attribute.mirror == "negate" and attribute.low is not None and attribute.low >= 0 < (attribute.high or 0):
            span = f"{attribute.low:g} to {attribute.high:g}"
            text = f"{name} runs from {span}, and a mirrored image would have its negative"
            notes.append(Note("warning", text, "shift it so that 0 is straight ahead, or train without mirroring"))
        if attribute.kind == "binary" and named(attribute.name, ("left", "right")):
            notes.append(Note("warning", f"{name} changes sides in a mirrored image", "train without mirroring"))
    return notes


def check_counts(table: LabelTable, few: int = FEW, images: str = "images") -> list[Note]:
    """Notes on values with few images, numbers known for few, and spellings that may be one value."""
    rare, notes = [], []
    for attribute in table.attributes:
        if attribute.kind in ("binary", "categorical"):
            counts = table.counts(attribute.name)
            rare += [f"{printable(f'{attribute.name}={value}')} ({n})" for value, n in counts.items() if n < few]
        if attribute.kind == "continuous" and (known := int(table.known(attribute.name).sum())) < few:
            rare.append(f"{printable(attribute.name)} ({known})")
        if attribute.kind == "categorical":
            spelled: dict[str, list[str]] = {}
            for value in attribute.values:
                spelled.setdefault(re.sub(r"[\s_-]+", " ", value.casefold()), []).append(value)
            text = f"{printable(attribute.name)} has values that differ in spelling alone"
            twins = [repr(values)[1:-1] for values in spelled.values() if len(values) > 1]
            notes += [Note("warning", f"{text}: {twin}", "write them alike if they are one value") for twin in twins]
    if rare:
        fix = "label more of these, join values, or leave the attributes out: such edits are learnt badly"
        notes.append(Note("warning", f"fewer than {few} {images} show {shown(rare)}", fix))
    return notes


def check_lone(table: LabelTable) -> list[Note]:
    """A note for every group attribute on images that are alone in their group and split, and so have no partner."""
    notes = []
    for attribute in [a for a in table.attributes if a.kind == "group"]:
        values, sizes = _by_split(table, attribute)
        if lone := [printable(attribute.values[value]) for value in values[sizes == 1]]:
            where = "" if table.splits is None else " of their split"
            text = f"{len(lone)} of {sizes.sum()} images{where} are the only one of their {printable(attribute.name)}"
            fix = "they cannot form a pair and are left out where a method draws pairs"
            notes.append(Note("info", f"{text}: {shown(lone, 10)}", fix))
    return notes


def _by_split(table: LabelTable, group: Attribute) -> tuple[np.ndarray, np.ndarray]:
    """The value of each part into which the splits divide the groups, and the part's images."""
    known = table.known(group.name)
    splits = np.zeros(len(table)) if table.splits is None else np.unique(table.splits, return_inverse=True)[1]
    pairs = np.stack([table.columns[group.name][known], splits[known].astype(np.int64)])
    (values, _), sizes = np.unique(pairs, axis=1, return_counts=True)
    return values, sizes


def training_table(pack: Pack, names: Sequence[str]) -> LabelTable:
    """The labels of a pack's training images; raises KeyError, with the nearest, for an attribute that is not there."""
    rows, attributes = pack.rows("train"), tuple(pack.schema[name] for name in names)
    return LabelTable(attributes, pack.files[rows], Lazy(names, lambda name: pack.labels[name][rows]))


def scarce(pack: Pack, names: Sequence[str] = (), few: int = FEW) -> list[str]:
    """What there is too little of in the training split, as sentences with counts, for a warning before a training.

    `names` are the attributes to be learnt, all but groups unless given; values with fewer images than `few` are named.
    """
    table = training_table(pack, names or [a.name for a in pack.schema.attributes if a.kind != "group"])
    return [str(note) for note in [*check_counts(table, few, "training images"), *check_lone(table)]]


def find_split_column(cells: Cells, attributes: Sequence[str] = ()) -> str | None:
    """The column that states splits: one called split, or partition, subset, set with nothing else in it."""
    named_so = {name.lower(): name for name in cells.columns if name not in attributes}
    if "split" in named_so:
        return named_so["split"]
    for word in SPLIT_COLUMNS:
        texts = factorise(word, cells.columns[named_so[word]]).texts if word in named_so else []
        if len(texts) > 1 and all(tidy(text.lower()) in (*SPLITS, *NUMBERED_SPLITS) for text in texts):
            return named_so[word]
    return None


def read_splits(cells: Cells, name: str) -> tuple[np.ndarray, list[Note]]:
    """Split of each row, and notes; a cell that names none is an error with its place."""
    column, notes = factorise(name, cells.columns[name]), []
    words = {**SPLITS, **NUMBERED_SPLITS}
    splits = np.array([words.get(tidy(text.lower()), "") for text in column.texts] + [""])[column.codes]
    wrong = np.flatnonzero(splits == "")
    if len(wrong):
        value = cells.columns[name][wrong[0]].strip()
        place = f"{cells.place(wrong[0])}, column {printable(name)}"
        text = f"{place}: unknown split {value!r}{nearest(value, tuple(SPLITS))}"
        fix = "expected train, val or test (or 0, 1, 2) in every row"
        notes.append(Note("error", f"{text} ({len(wrong)} such rows)", fix))
    if any(text in NUMBERED_SPLITS for text in map(tidy, column.texts)):
        notes.append(Note("info", f"{printable(name)}: 0, 1, 2 read as train, val, test"))
    return np.where(splits == "", "train", splits).astype("<U5"), notes


def find_group(table: LabelTable, group: str | None = None) -> Attribute | None:
    """The attribute whose images belong together: that stated, one named like a person, or any group."""
    if group is not None:
        if table[group].kind == "continuous":
            raise ValueError(f"{group} is continuous and cannot keep images together; expected a group attribute")
        return table[group]
    groups = [a for a in table.attributes if a.kind == "group"]
    persons = [a for a in groups if named(a.name, PERSONS)]
    return next(iter(persons + groups), None)


def check_leaks(table: LabelTable) -> list[Note]:
    """A warning where images of one group stand in more than one split."""
    group = find_group(table)
    if group is None or table.splits is None:
        return []
    members, sides = np.unique(_by_split(table, group)[0], return_counts=True)
    torn = [printable(group.values[m]) for m in members[sides > 1]]
    if not torn:
        return []
    text = f"{len(torn)} of {len(members)} values of {printable(group.name)} stand in more than one split"
    fix = "numbers on held-out images would be too good; remove the split column to have splits made by group"
    return [Note("warning", f"{text}: {shown(torn, 10)}", fix)]


def split_by_group(
    table: LabelTable, seed: int, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), *, group: str | None = None
) -> np.ndarray:
    """Train, validation and test for each row, so that no identity stands on two sides.

    The result `[rows]` depends on seed, files and groups alone, not on the order of rows. Values of the attribute
    `group` stay together; unless given, it is one named like a person, or the first group. Rows without the label, and
    all rows where there is no group, are divided one by one.

    Raises:
        ValueError: The fractions do not add up to 1, or there are fewer groups than splits.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions of train, val and test must be positive and add up to 1, not {fractions}")
    attribute = find_group(table, group)
    keys = [f"file {name}" for name in table.files]
    if attribute is not None:
        column = table.columns[attribute.name]
        keys = [keys[row] if m == MISSING else f"group {attribute.values[m]}" for row, m in enumerate(column)]
    names, member, sizes = np.unique(np.array(keys, dtype=object), return_inverse=True, return_counts=True)
    parts = sum(fraction > 0 for fraction in fractions)
    if attribute is not None and len(names) < parts:
        text = f"{attribute.name} has {len(names)} values, too few for {parts} splits"
        raise ValueError(f"{text}; add a split column, or give fractions with zeros such as (1, 0, 0)")
    order = sorted(range(len(names)), key=lambda i: mix_seed(seed, names[i]))
    return np.array(["train", "val", "test"])[_divide(sizes, order, np.array(fractions))[member]]


def _divide(sizes: np.ndarray, order: Sequence[int], fractions: np.ndarray) -> np.ndarray:
    """The split of each group: every group goes where most is missing, those too large for a small split first."""
    missing = fractions * sizes.sum()
    large = missing[fractions > 0].min() / 2
    result = np.zeros(len(sizes), dtype=np.int64)
    for i in sorted(order, key=lambda i: -sizes[i] if sizes[i] > max(1, large) else 0):
        result[i] = int(np.argmax(missing))
        missing[result[i]] -= sizes[i]
    for empty in [s for s in range(3) if fractions[s] > 0 and not (result == s).any()]:
        fullest = int(np.bincount(result, minlength=3).argmax())
        if (result == fullest).sum() > 1:
            result[min(np.flatnonzero(result == fullest), key=lambda i: sizes[i])] = empty
    return result
