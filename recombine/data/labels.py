"""The label table: what every picture is known to show, typed and numbered.

Text becomes attributes in three steps: a column is factorised, its kind is inferred or taken as stated, and its texts
become numbers. Whatever does not fit is reported with place, column, value and the nearest known value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from recombine.data.schema import MISSING, NO, YES, Attribute, Kind, mix_seed, nearest, shown
from recombine.data.tables import Cells, Note, number, printable

MISSING_CELLS = ("", "nan", "n/a", "#n/a", "<na>", "null")          # in any case; and NA, in capitals
NOT_A_LABEL = ("none", "-", "--", "?", "unknown")                   # missing among numbers or yes/no, a value among words
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
NUMBERED_SPLITS = {"0": "train", "1": "val", "2": "test"}           # CelebA's
SPLIT_COLUMNS = ("split", "partition", "subset", "set")
PERSONS = ("identity", "identities", "person", "subject", "individual", "celebrity", "patient", "actor", "speaker")
GROUPS = (*PERSONS, "clip", "video", "sequence", "session", "scene", "track", "specimen", "id", "ids", "uid", "group")
MEASURES = ("yaw", "pitch", "roll", "age", "angle", "degrees", "azimuth", "elevation", "gaze", "intensity", "score", "x", "y", "z")
FEW = 20            # pictures per value below which a warning is due
MOST_LEVELS = 10    # integers with more values than this are numbers, with fewer they are categories
MOST_WORDS = 200    # words with more values than this are groups

NewValues = Literal["error", "add", "missing"]
Stated = Kind | Sequence[str] | Attribute   # a kind, the only values allowed, or an attribute of an existing schema


@dataclass(frozen=True)
class LabelTable:
    """Labels of all pictures, one row for each file."""

    attributes: tuple[Attribute, ...]
    files: list[str]                        # relative to the root, as in the folder, posix
    columns: dict[str, np.ndarray]          # int64 with MISSING; continuous: float32 with NaN
    splits: np.ndarray | None = None        # "train", "val" or "test" of each row; None: the table does not say

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, name: str) -> Attribute:
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        names = [a.name for a in self.attributes]
        raise KeyError(f"no attribute {name!r}; there are {shown(names)}{nearest(name, names)}")

    def select(self, *names: str) -> LabelTable:
        """The same pictures with only these attributes, in this order."""
        return replace(
            self, attributes=tuple(self[name] for name in names), columns={name: self.columns[name] for name in names}
        )

    def take(self, rows: np.ndarray) -> LabelTable:
        """Only these rows, given by position or by a mask."""
        rows = np.arange(len(self))[rows]
        columns = {name: column[rows] for name, column in self.columns.items()}
        splits = None if self.splits is None else self.splits[rows]
        return replace(self, files=[self.files[row] for row in rows], columns=columns, splits=splits)

    def known(self, name: str) -> np.ndarray:
        """Mask `[rows]` of the pictures for which an attribute is labelled."""
        return _known(self.columns[name])

    def counts(self, name: str) -> dict[str, int]:
        """Number of pictures for each value of an attribute; empty for a continuous one."""
        attribute = self[name]
        if attribute.kind == "continuous":
            return {}
        totals = np.bincount(self.columns[name][self.known(name)], minlength=attribute.num_values)
        return dict(zip(attribute.values, totals.tolist(), strict=True))


def _known(column: np.ndarray) -> np.ndarray:
    return ~np.isnan(column) if column.dtype.kind == "f" else column != MISSING


@dataclass
class Column:
    """A column's distinct texts and which of them each row has."""

    name: str
    texts: list[str]
    codes: np.ndarray       # [rows] int64, positions in texts; MISSING where the cell is
    counts: np.ndarray      # [texts] rows of each

    @property
    def known(self) -> int:
        """Number of cells that are not missing."""
        return int(self.counts.sum())

    def drop(self, codes: Sequence[int]) -> Column:
        """The column with these texts missing."""
        kept = [code for code in range(len(self.texts)) if code not in set(codes)]
        position = np.full(len(self.texts) + 1, MISSING)
        position[kept] = np.arange(len(kept))
        return Column(self.name, [self.texts[c] for c in kept], position[self.codes], self.counts[kept])

    def merge(self, texts: Sequence[str]) -> Column:
        """The column with every text rewritten; None is missing and texts that became equal are one."""
        positions: dict[str, int] = {}
        table = [MISSING if t is None else positions.setdefault(t, len(positions)) for t in texts]
        codes = np.array([*table, MISSING])[self.codes]
        return Column(self.name, list(positions), codes, np.bincount(codes[codes != MISSING], minlength=len(positions)))


def factorise(name: str, cells: Sequence[str]) -> Column:
    """The distinct texts of a column, trimmed; see MISSING_CELLS for what counts as missing."""
    positions: dict[str, int] = {}
    codes = np.fromiter((positions.setdefault(cell, len(positions)) for cell in cells), np.int64, len(cells))
    raw = Column(name, list(positions), codes, np.bincount(codes, minlength=len(positions)))
    return raw.merge([_trimmed(text) for text in raw.texts])


def _trimmed(text: str) -> str | None:
    text = unicodedata.normalize("NFC", text.strip())
    return None if text.lower() in MISSING_CELLS or text == "NA" else text


def make_table(
    cells: Cells,
    files: list[str],
    notes: list[Note],
    *,
    kinds: Mapping[str, Stated] | None = None,
    attributes: Sequence[str] | None = None,
    new_values: NewValues = "error",
    skip: Sequence[str] = (),
    splits: np.ndarray | None = None,
    few: int = FEW,
) -> LabelTable:
    """Type the columns of a table.

    Args:
        cells: The table, a row for each file.
        files: Paths of the pictures, relative to the root.
        notes: What was found is appended here; problems have the level `error`.
        kinds: By column: its kind, the only values it may have, or an attribute of an existing schema.
        attributes: Columns to use; all that can serve as attributes unless given.
        new_values: What to do with a value that does not belong: `error`, `add` it, or treat it as `missing`.
        skip: Columns that are no labels, such as the paths.
        splits: Split of each row, where it is known from elsewhere.
        few: Values with fewer pictures are warned about.

    Raises:
        ValueError: `kinds` or `attributes` name a column or a kind that does not exist.
    """
    kinds = dict(kinds or {})
    split_column = None if splits is not None else find_split_column(cells, attributes or ())
    if split_column:
        splits = read_splits(cells, split_column, notes)
    names = [name for name in cells.columns if name not in skip and name != split_column]
    _check_names([*kinds, *(attributes or ())], names)
    found, columns = [], {}
    for name in names if attributes is None else attributes:
        asked = attributes is not None or name in kinds
        column = factorise(name, cells.columns[name])
        typed = _type_column(column, cells, notes, kinds.get(name), new_values, asked)
        if typed is not None:
            attribute, values = typed
            seen = values if splits is None or not (splits == "train").any() else values[splits == "train"]
            found.append(_with_range(attribute, seen, values))
            columns[name] = values
    table = LabelTable(tuple(found), list(files), columns, splits)
    notes += [*check_mirrors(table), *check_counts(table, few), *check_leaks(table)]
    return table


def _check_names(wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise ValueError(f"the table has no column {name!r}; it has {shown(list(names))}{nearest(name, names)}")


def _type_column(
    column: Column, cells: Cells, notes: list[Note], stated: Stated | None, new_values: NewValues, asked: bool
) -> tuple[Attribute, np.ndarray] | None:
    """An attribute and its numbers, or None, with a note, where the column cannot be one."""
    kind, strays = infer(column) if stated is None else _as_stated(column, stated)
    if column.name == "rest":
        notes.append(Note("error", "an attribute is called rest", "rename it: that part holds what no attribute describes"))
    if kind is None:
        notes.append(_unusable(column, asked))
        return None
    column, strays = _soften(column, kind, strays, notes)
    added = new_values == "add" and kind != "continuous"
    if strays and not added:
        notes.append(_stray_note(column, kind, strays, cells, stated, new_values))
        column = column.drop(strays)
    if strays and added and kind == "binary":
        kind = "categorical"
    if len(column.texts) < 2 and not isinstance(stated, Attribute):
        notes.append(_constant(column, asked))
        return None
    return _numbered(column, kind, stated if not isinstance(stated, str) else None)


def _soften(column: Column, kind: Kind, strays: list[int], notes: list[Note]) -> tuple[Column, list[int]]:
    """Among numbers and yes/no, words such as `none` and `?` are missing cells."""
    soft = [code for code in strays if column.texts[code].lower() in NOT_A_LABEL]
    if not soft or kind not in ("binary", "continuous"):
        return column, strays
    names = ", ".join(printable(column.texts[code]) for code in soft)
    count = int(column.counts[soft].sum())
    notes.append(Note("info", f"{printable(column.name)}: {names} read as missing in {count} cells"))
    rest = [column.texts[code] for code in strays if code not in soft]
    column = column.drop(soft)
    return column, [column.texts.index(text) for text in rest]


def infer(column: Column) -> tuple[Kind | None, list[int]]:
    """The kind a column most likely has, and the positions of the texts that then do not belong.

    Returns:
        Kind and strays; the kind is None where nearly every row has a value of its own.
    """
    if named(column.name, GROUPS):
        return _group_kind(column), []
    answers = [yes_or_no(text) for text in column.texts]
    odd = [c for c, answer in enumerate(answers) if answer is None]
    hard = [c for c in odd if column.texts[c].lower() not in NOT_A_LABEL]
    if True in answers and False in answers and not _three_way(column) and (not hard or _rare(column, hard)):
        return "binary", odd
    if column.texts and not odd:
        return ("categorical" if _three_way(column) else "binary"), _three_way_stray(column)
    odd = [c for c, text in enumerate(column.texts) if not number(text)]
    hard = [c for c in odd if column.texts[c].lower() not in NOT_A_LABEL]
    if len(odd) < len(column.texts) and (not hard or _rare(column, hard, words=True)):
        kind = _number_kind(column.drop(odd))
        return kind, odd if kind == "continuous" else hard
    return _word_kind(column)


def named(name: str, words: Sequence[str]) -> bool:
    """Whether a column's name contains one of these words, as in `person_id`, `personId` or `Person ID`."""
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return any(word in words for word in re.split(r"[^a-z]+", split.lower()))


def yes_or_no(text: str) -> bool | None:
    """What a text says, by the words of the schema and by 0, 1 and -1 in any spelling; None if neither."""
    if number(text):
        return {1.0: True, 0.0: False, -1.0: False}.get(float(text))
    return True if text.lower() in YES else False if text.lower() in NO else None


def _three_way(column: Column) -> bool:
    """Whether a column holds -1, 0 and 1, in which 0 may well mean `not known`."""
    return {-1.0, 0.0, 1.0} <= {float(text) for text in column.texts if number(text)}


def _three_way_stray(column: Column) -> list[int]:
    rare = [c for c, t in enumerate(column.texts) if _three_way(column) and float(t) != 1 and _rare(column, [c])]
    return rare[:1]


def _rare(column: Column, codes: Sequence[int], words: bool = False) -> bool:
    """Whether these texts are so few that they look like slips: one row, or one in a thousand (words: a hundred)."""
    count = int(column.counts[list(codes)].sum())
    words = words or not any(number(column.texts[code]) for code in codes)
    return count <= max(1, column.known * (0.01 if words else 0.001)) and column.known - count >= 4 * count


def _group_kind(column: Column) -> Kind | None:
    person = named(column.name, PERSONS)
    return "group" if person or len(column.texts) < column.known or len(column.texts) == 1 else None


def _number_kind(column: Column) -> Kind | None:
    values = [float(text) for text in column.texts]
    whole = all(value.is_integer() for value in values)
    repeated = column.known >= 3 * len(values)
    if whole and sorted(values) in ([*range(len(values))], [*range(1, len(values) + 1)]) and len(values) == column.known:
        return None if len(values) > MOST_LEVELS or named(column.name, ("column", "index", "row")) else "continuous"
    few = len(values) <= MOST_LEVELS and repeated
    return "categorical" if whole and few and not named(column.name, MEASURES) else "continuous"


def _word_kind(column: Column) -> tuple[Kind | None, list[int]]:
    distinct, known = len(column.texts), column.known
    if distinct <= 20 and (distinct < known or distinct <= 5) or distinct <= MOST_WORDS and known >= 5 * distinct:
        return "categorical", typos(column)
    return ("group" if 2 * known >= 3 * distinct else None), []


def typos(column: Column) -> list[int]:
    """Positions of texts that are rare and a slip of the pen away from a frequent one."""
    rare = [c for c in range(len(column.texts)) if column.counts[c] <= max(1, 0.001 * column.known)]
    return [c for c in rare if _correction(column, c) is not None]


def _correction(column: Column, code: int) -> str | None:
    text, count = column.texts[code], column.counts[code]
    frequent = [c for c in range(len(column.texts)) if column.counts[c] >= 4 * count]
    for c in sorted(frequent, key=lambda c: -column.counts[c]):
        if slip(text, column.texts[c]):
            return column.texts[c]
    return None


def slip(text: str, other: str) -> bool:
    """Whether two words differ by case, separators, or one letter missing, added, changed or swapped with the next.

    Differing digits are no slip: `type1` and `type2` are two values.
    """
    a, b = (re.sub(r"[\W_]+", "", word).casefold() for word in (text, other))
    if a == b:
        return True
    if min(len(a), len(b)) < 4 or re.sub(r"\D", "", a) != re.sub(r"\D", "", b):
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _as_stated(column: Column, stated: Stated) -> tuple[Kind, list[int]]:
    """The kind that was stated, and the positions of texts that contradict it."""
    everything = range(len(column.texts))
    if isinstance(stated, Attribute):
        kind, values = stated.kind, stated.values
    elif isinstance(stated, str):
        kind, values = stated, ()
        if kind not in get_args(Kind):
            raise ValueError(f"{column.name}: unknown kind {stated!r}; expected one of {shown(get_args(Kind))}")
    else:
        kind, values = "categorical", tuple(map(str, stated))
    if kind == "binary":
        zero = [c for c in everything if _three_way(column) and number(column.texts[c]) and float(column.texts[c]) == 0]
        return kind, zero + [c for c in everything if yes_or_no(column.texts[c]) is None]
    if kind == "continuous":
        return kind, [c for c in everything if not number(column.texts[c])]
    if values:
        return kind, [c for c in everything if _tidy(column.texts[c]) not in values]
    return kind, typos(column) if kind == "categorical" else []


def _stray_note(
    column: Column, kind: Kind, strays: list[int], cells: Cells, stated: Stated | None, new_values: NewValues
) -> Note:
    name, count = printable(column.name), int(column.counts[strays].sum())
    if new_values == "missing":
        values = shown([repr(column.texts[code]) for code in strays])
        return Note("warning", f"{name}: {count} cells with {values} were read as missing")
    rows = np.flatnonzero(np.isin(column.codes, strays))[:10]
    described = [f"{cells.place(row)}, column {name}: {_complaint(column, column.codes[row], kind, stated)}" for row in rows]
    more = f" (and {count - len(rows)} more)" if count > len(rows) else ""
    cure = "new_values='missing' ignores such cells"
    if kind != "continuous":
        cure = f"new_values='add' makes it a value of its own, {cure}"
    others = "" if stated else f", kinds={{{column.name!r}: 'categorical'}} states the kind"
    return Note("error", "; ".join(described) + more, f"correct the cell, or: {cure}{others}")


def _complaint(column: Column, code: int, kind: Kind, stated: Stated | None) -> str:
    value = repr(column.texts[code])
    if kind == "binary":
        return f"unknown value {value}, expected yes or no ({shown(_spellings(column))})"
    if kind == "continuous":
        return f"{value} is not a number"
    values = stated.values if isinstance(stated, Attribute) else None if isinstance(stated, str) else stated
    known = [t for c, t in enumerate(column.texts) if c != code] if values is None else list(map(str, values))
    close = _correction(column, code) if values is None else None
    hint = f"; did you mean {close!r}?" if close else nearest(column.texts[code], known)
    return f"unknown value {value}, expected {shown(known)}{hint}"


def _spellings(column: Column) -> list[str]:
    return sorted(text for text in column.texts if yes_or_no(text) is not None)


def _unusable(column: Column, asked: bool) -> Note:
    text = f"column {printable(column.name)} was left out: nearly every row has a value of its own"
    return Note("error" if asked else "info", text, f"kinds={{{column.name!r}: 'group'}} keeps it")


def _constant(column: Column, asked: bool) -> Note:
    name = printable(column.name)
    held = f"has the one value {column.texts[0]!r}" if column.texts else "is empty in every row"
    if asked:
        return Note("error", f"attribute {name} {held}, so nothing can be learnt from it", "do not ask for it, or label more")
    return Note("warning", f"column {name} {held} and was left out", "add pictures with another value to use it")


def _numbered(column: Column, kind: Kind, stated: Sequence[str] | Attribute | None) -> tuple[Attribute, np.ndarray]:
    """Numbers for the texts of a column in which every text belongs."""
    if kind == "continuous":
        numbers = np.array([*map(float, column.texts), np.nan], dtype=np.float32)[column.codes]
        given = stated if isinstance(stated, Attribute) else None
        return given or Attribute(column.name, kind, mirror=_mirror(column.name, kind, ())), numbers
    if kind == "binary":
        answers = np.array([*(int(bool(yes_or_no(t))) for t in column.texts), MISSING])[column.codes]
        return Attribute(column.name, kind, ("0", "1")), answers.astype(np.int64)
    column = column.merge([_tidy(text) if kind == "categorical" else text for text in column.texts])
    values = stated.values if isinstance(stated, Attribute) else tuple(map(str, stated or ()))
    values = (*values, *sorted(set(column.texts) - set(values), key=_natural))
    position = {value: i for i, value in enumerate(values)}
    numbers = np.array([*(position[text] for text in column.texts), MISSING], dtype=np.int64)[column.codes]
    if isinstance(stated, Attribute):
        return replace(stated, kind=kind, values=values), numbers
    return Attribute(column.name, kind, values, mirror=_mirror(column.name, kind, values)), numbers


def _tidy(text: str) -> str:
    """Whole numbers without their `.0`, so that `1` and `1.0` are one value."""
    return str(int(float(text))) if number(text) and float(text).is_integer() and abs(float(text)) < 2**53 else text


def _natural(text: str) -> list:
    """Sort key that puts 2 before 10."""
    if number(text):
        return [(0, float(text), "")]
    return [(1, float(part), "") if part.isdecimal() else (2, 0.0, part) for part in re.split(r"(\d+)", text)]


def _with_range(attribute: Attribute, seen: np.ndarray, values: np.ndarray) -> Attribute:
    if attribute.kind != "continuous" or attribute.low is not None:
        return attribute
    seen = seen if _known(seen).any() else values
    return replace(attribute, low=float(np.nanmin(seen)), high=float(np.nanmax(seen)))


def _mirror(name: str, kind: Kind, values: Sequence[str]) -> Literal["keep", "negate"] | tuple[tuple[str, str], ...]:
    """What becomes of a label when the picture is mirrored."""
    if kind == "continuous":
        sideways = named(name, ("yaw", "roll")) or (named(name, ("gaze",)) and named(name, ("x", "horizontal")))
        return "negate" if sideways else "keep"
    if kind != "categorical":
        return "keep"
    pairs = {tuple(sorted((v, _other_side(v)))) for v in values if _other_side(v) != v and _other_side(v) in values}
    return tuple(sorted(pairs)) or "keep"


def _other_side(value: str) -> str:
    """`look left` for `look right`, and the other way round; anything else as it is."""
    sides = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
    sides |= {b: a for a, b in sides.items()}
    return sides.get(value) or re.sub("left|right|Left|Right|LEFT|RIGHT", lambda m: sides[m[0]], value)


def check_mirrors(table: LabelTable) -> list[Note]:
    """Notes on attributes whose label for a mirrored picture cannot be told."""
    notes = []
    for attribute in table.attributes:
        name = printable(attribute.name)
        lone = [v for v in attribute.values if attribute.kind == "categorical" and named(v, ("left", "right"))]
        lone = [v for v in lone if attribute.mirror == "keep" or v not in {x for pair in attribute.mirror for x in pair}]
        if lone:
            notes.append(Note("warning", f"{name}: {shown(lone)} has no value for the other side", "train without mirroring"))
        if attribute.mirror == "negate" and attribute.low is not None and attribute.low >= 0 < (attribute.high or 0):
            text = f"{name} runs from {attribute.low:g} to {attribute.high:g}, and a mirrored picture would have its negative"
            notes.append(Note("warning", text, "shift it so that 0 is straight ahead, or train without mirroring"))
        if attribute.kind == "binary" and named(attribute.name, ("left", "right")):
            notes.append(Note("warning", f"{name} changes sides in a mirrored picture", "train without mirroring"))
    return notes


def check_counts(table: LabelTable, few: int = FEW) -> list[Note]:
    """Notes on values with few pictures and on spellings that may be one value."""
    rare, notes = [], []
    for attribute in table.attributes:
        if attribute.kind in ("binary", "categorical"):
            counts = table.counts(attribute.name)
            rare += [f"{printable(f'{attribute.name}={value}')} ({n})" for value, n in counts.items() if n < few]
        if attribute.kind == "categorical":
            notes += _twins(attribute)
    if rare:
        fix = "label more of these, join values, or leave the attributes out: such edits are learnt badly"
        notes.append(Note("warning", f"fewer than {few} pictures show {shown(rare)}", fix))
    return notes


def _twins(attribute: Attribute) -> list[Note]:
    spelled: dict[str, list[str]] = {}
    for value in attribute.values:
        spelled.setdefault(re.sub(r"[\s_-]+", " ", value.casefold()), []).append(value)
    twins = [repr(values)[1:-1] for values in spelled.values() if len(values) > 1]
    fix = "write them alike if they are one value"
    return [Note("warning", f"{printable(attribute.name)} has values that differ in spelling alone: {t}", fix) for t in twins]


def find_split_column(cells: Cells, attributes: Sequence[str] = ()) -> str | None:
    """The column that states splits: one called split, or partition, subset, set with nothing else in it."""
    named_so = {name.lower(): name for name in cells.columns if name not in attributes}
    if "split" in named_so:
        return named_so["split"]
    for word in SPLIT_COLUMNS:
        texts = factorise(word, cells.columns[named_so[word]]).texts if word in named_so else []
        if len(texts) > 1 and all(_tidy(text.lower()) in (*SPLITS, *NUMBERED_SPLITS) for text in texts):
            return named_so[word]
    return None


def read_splits(cells: Cells, name: str, notes: list[Note]) -> np.ndarray:
    """Split of each row; a cell that names none is an error with its place."""
    column = factorise(name, cells.columns[name])
    words = {**SPLITS, **NUMBERED_SPLITS}
    splits = np.array([words.get(_tidy(text.lower()), "") for text in column.texts] + [""])[column.codes]
    wrong = np.flatnonzero(splits == "")
    if len(wrong):
        row = wrong[0]
        value = cells.columns[name][row].strip()
        text = f"{cells.place(row)}, column {printable(name)}: unknown split {value!r}{nearest(value, tuple(SPLITS))}"
        notes.append(Note("error", f"{text} ({len(wrong)} such rows)", "expected train, val or test (or 0, 1, 2) in every row"))
    if any(text in NUMBERED_SPLITS for text in map(_tidy, column.texts)):
        notes.append(Note("info", f"{printable(name)}: 0, 1, 2 read as train, val, test"))
    return np.where(splits == "", "train", splits).astype("<U5")


def find_group(table: LabelTable, group: str | None = None) -> Attribute | None:
    """The attribute that says which pictures show the same one: that stated, one named like a person, or any group."""
    if group is not None:
        if table[group].kind == "continuous":
            raise ValueError(f"{group} is continuous and cannot keep pictures together; expected a group attribute")
        return table[group]
    groups = [a for a in table.attributes if a.kind == "group"]
    persons = [a for a in groups if named(a.name, PERSONS)]
    return next(iter(persons + groups), None)


def check_leaks(table: LabelTable) -> list[Note]:
    """A warning where somebody's pictures stand in more than one split."""
    group = find_group(table)
    if group is None or table.splits is None:
        return []
    known = table.known(group.name)
    pairs = np.unique(np.stack([table.columns[group.name][known], _split_number(table.splits[known])]), axis=1)
    members, sides = np.unique(pairs[0], return_counts=True)
    torn = [printable(group.values[m]) for m in members[sides > 1]]
    if not torn:
        return []
    text = f"{len(torn)} of {len(members)} values of {printable(group.name)} stand in more than one split: {shown(torn, 10)}"
    fix = "numbers on held-out pictures would be too good; remove the split column to have splits made by group"
    return [Note("warning", text, fix)]


def _split_number(splits: np.ndarray) -> np.ndarray:
    return np.unique(splits, return_inverse=True)[1]


def split_by_group(
    table: LabelTable,
    seed: int,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    *,
    group: str | None = None,
) -> np.ndarray:
    """Train, validation and test for each row, so that no identity stands on two sides.

    The result depends on seed, files and groups alone, not on the order of rows.

    Args:
        table: The pictures.
        seed: Another seed gives another division.
        fractions: Wanted shares of the pictures in train, val and test.
        group: The attribute whose values stay together; unless given, one named like a person, or the first group.
            Rows without the label, and all rows where there is no group, are divided one by one.

    Returns:
        Array `[rows]` of `train`, `val` and `test`.

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
    wanted = sum(fraction > 0 for fraction in fractions)
    if attribute is not None and len(names) < wanted:
        raise ValueError(
            f"{attribute.name} has {len(names)} values, too few for {wanted} splits; "
            "add a split column, or give fractions with zeros such as (1, 0, 0)"
        )
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
