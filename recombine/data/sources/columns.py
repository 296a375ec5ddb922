"""From a column of text to an attribute and its numbers.

A column is factorised, its kind is inferred or taken as stated, and its texts become numbers. Whatever does not belong
is reported with place, column, value and the nearest known value.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, get_args

import numpy as np

from recombine.data.schema import MISSING, NO, YES, Attribute, Kind
from recombine.data.sources.cells import Cells, Note, number, printable
from recombine.messages import nearest, shown

MISSING_CELLS = ("", "nan", "n/a", "#n/a", "<na>", "null")          # in any case; and NA, in capitals
NOT_A_LABEL = ("none", "-", "--", "?", "unknown")                   # missing among numbers or yes/no, a value among words
IDENTITIES = ("identity", "identities", "id", "ids", "uid")
PERSONS = ("identity", "identities", "person", "subject", "individual", "celebrity", "patient", "actor", "speaker")
GROUPS = (*IDENTITIES, *PERSONS, "clip", "video", "sequence", "session", "track", "specimen")
MEASURES = ("yaw", "pitch", "roll", "age", "angle", "degrees", "azimuth", "elevation", "gaze", "intensity", "score", "x", "y", "z")
MOST_LEVELS = 10    # whole numbers with more values than this are numbers, with fewer they are categories
MOST_WORDS = 200    # words with more values than this are groups

NewValues = Literal["error", "add", "missing"]
Stated = Kind | Sequence[str] | Attribute   # a kind, the only values allowed, or an attribute of an existing schema


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

    @property
    def label(self) -> str:
        """The name, safe to show."""
        return printable(self.name)

    def drop(self, codes: Sequence[int]) -> Column:
        """The column with these texts missing."""
        return self.merge([None if code in set(codes) else text for code, text in enumerate(self.texts)])

    def merge(self, texts: Sequence[str | None]) -> Column:
        """The column with every text rewritten; None is missing, and texts that became equal are one."""
        positions: dict[str, int] = {}
        table = [MISSING if text is None else positions.setdefault(text, len(positions)) for text in texts]
        codes = np.array([*table, MISSING])[self.codes]
        return Column(self.name, list(positions), codes, np.bincount(codes[codes != MISSING], minlength=len(positions)))


def factorise(name: str, cells: Sequence[str]) -> Column:
    """The distinct texts of a column, trimmed; MISSING_CELLS says what counts as missing."""
    positions: dict[str, int] = defaultdict(count().__next__)
    codes = np.fromiter(map(positions.__getitem__, cells), np.int64, len(cells))
    raw = Column(name, list(positions), codes, np.bincount(codes, minlength=len(positions)))
    return raw.merge([_trimmed(text) for text in raw.texts])


def _trimmed(text: str) -> str | None:
    text = unicodedata.normalize("NFC", text.strip())
    return None if text.lower() in MISSING_CELLS or text == "NA" else text


def type_column(
    column: Column,
    cells: Cells,
    notes: list[Note],
    *,
    stated: Stated | None = None,
    new_values: NewValues = "error",
    asked: bool = False,
) -> tuple[Attribute, np.ndarray] | None:
    """An attribute and its numbers, or None, with a note, where the column cannot be one.

    Args:
        column: The column.
        cells: The table it comes from, for the places of its cells.
        notes: What was found is appended here.
        stated: Its kind, its only values, or an attribute of an existing schema.
        new_values: What to do with values that do not belong.
        asked: Whether somebody asked for this very column; it is then an error if it cannot serve.
    """
    kind, strays = infer(column) if stated is None else _as_stated(column, stated)
    if column.name == "rest":
        notes.append(Note("error", "a column is called rest", "rename it: that part holds what no attribute describes"))
    if kind is None:
        notes.append(_unusable(column, asked))
        return None
    column, strays = _soften(column, kind, strays, notes)
    adding = new_values == "add" and kind != "continuous"
    if strays and not adding:
        notes.append(_stray_note(column, kind, strays, cells, stated, new_values))
        column = column.drop(strays)
    if len(column.texts) < 2 and not isinstance(stated, Attribute):
        notes.append(_constant(column, asked))
        return None
    if stated is None:
        notes += _explain(column, kind)
    kind = "categorical" if strays and adding and kind == "binary" else kind
    return _numbered(column, kind, None if isinstance(stated, str) else stated)


def _soften(column: Column, kind: Kind, strays: list[int], notes: list[Note]) -> tuple[Column, list[int]]:
    """Among numbers and yes/no, words such as `none` and `?` are missing cells."""
    soft = [code for code in strays if column.texts[code].lower() in NOT_A_LABEL]
    if not soft or kind not in ("binary", "continuous"):
        return column, strays
    words = shown([repr(column.texts[code]) for code in soft])
    notes.append(Note("info", f"{column.label}: {words} read as missing, {int(column.counts[soft].sum())} cells"))
    rest = [column.texts[code] for code in strays if code not in soft]
    column = column.drop(soft)
    return column, [column.texts.index(text) for text in rest]


def infer(column: Column) -> tuple[Kind | None, list[int]]:
    """The kind a column most likely has, and the positions of the texts that then do not belong.

    Returns:
        Kind and strays; the kind is None where nearly every row has a value of its own.
    """
    answers = [yes_or_no(text) for text in column.texts]
    odd = [code for code, answer in enumerate(answers) if answer is None]
    if named(column.name, GROUPS) and (odd or named(column.name, IDENTITIES)):
        return _group_kind(column), []
    if column.texts and not odd:
        return _answer_kind(column)
    if True in answers and False in answers and not _three_way(column) and _slips(column, odd):
        return "binary", odd
    odd = [code for code, text in enumerate(column.texts) if not number(text)]
    if len(odd) < len(column.texts) and _slips(column, odd):
        kind = _number_kind(column.drop(odd))
        return kind, odd if kind == "continuous" else _hard(column, odd)
    return _word_kind(column)


def named(name: str, words: Sequence[str]) -> bool:
    """Whether a name contains one of these words, as in `person_id`, `personId` or `Person ID`."""
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return any(word in words for word in re.split(r"[^a-z]+", split.lower()))


def yes_or_no(text: str) -> bool | None:
    """What a text says, by the words of the schema and by 0, 1 and -1 in any spelling; None if neither."""
    if number(text):
        return {1.0: True, 0.0: False, -1.0: False}.get(float(text))
    return True if text.lower() in YES else False if text.lower() in NO else None


def _hard(column: Column, codes: Sequence[int]) -> list[int]:
    return [code for code in codes if column.texts[code].lower() not in NOT_A_LABEL]


def _slips(column: Column, odd: Sequence[int]) -> bool:
    """Whether the texts that do not fit are so few that they are slips; words for `not known` may be many."""
    hard = _hard(column, odd)
    return not hard or _rare(column, hard)


def _rare(column: Column, codes: Sequence[int]) -> bool:
    """Whether texts are few: in one row, or one in a thousand if there are numbers among them, else one in a hundred."""
    rows = int(column.counts[list(codes)].sum())
    share = 0.001 if any(number(column.texts[code]) for code in codes) else 0.01
    return rows <= max(1, column.known * share) and column.known - rows >= 4 * rows


def _three_way(column: Column) -> bool:
    """Whether a column holds -1, 0 and 1, in which 0 may well mean `not known`."""
    return {-1.0, 0.0, 1.0} <= {float(text) for text in column.texts if number(text)}


def _answer_kind(column: Column) -> tuple[Kind, list[int]]:
    if not _three_way(column):
        return "binary", []
    rare = [c for c, text in enumerate(column.texts) if number(text) and float(text) != 1 and _rare(column, [c])]
    return ("binary", rare[:1]) if rare else ("categorical", [])


def _group_kind(column: Column) -> Kind | None:
    repeated = len(column.texts) < column.known
    return "group" if repeated or len(column.texts) == 1 or named(column.name, PERSONS) else None


def _number_kind(column: Column) -> Kind | None:
    values = sorted(float(text) for text in column.texts)
    whole = all(value.is_integer() for value in values)
    if named(column.name, MEASURES) or not whole:
        return "continuous"
    counting = len(values) == column.known and values == list(np.arange(len(values)) + values[0])
    if counting and values[0] in (0, 1) and (len(values) > MOST_LEVELS or named(column.name, ("unnamed", "index", "row"))):
        return None
    return "categorical" if len(values) <= MOST_LEVELS and column.known >= 3 * len(values) else "continuous"


def _word_kind(column: Column) -> tuple[Kind | None, list[int]]:
    distinct, known = len(column.texts), column.known
    few = distinct <= 20 and (distinct < known or distinct <= 5)
    if few or (distinct <= MOST_WORDS and known >= 5 * distinct):
        return "categorical", typos(column)
    return ("group" if 2 * known >= 3 * distinct else None), []


def typos(column: Column) -> list[int]:
    """Positions of texts that are rare and a slip of the pen away from a frequent one."""
    rare = [code for code in range(len(column.texts)) if column.counts[code] <= max(1, 0.001 * column.known)]
    return [code for code in rare if _correction(column, code) is not None]


def _correction(column: Column, code: int) -> str | None:
    """The most frequent text that a rare one may stand for."""
    frequent = [c for c in range(len(column.texts)) if column.counts[c] >= 8 * column.counts[code]]
    alike = [c for c in frequent if slip(column.texts[code], column.texts[c])]
    return column.texts[max(alike, key=lambda c: column.counts[c])] if alike else None


def slip(text: str, other: str) -> bool:
    """Whether two words differ by case, separators, or one letter missing, added, changed or swapped with the next.

    Differing digits are no slip: `type1` and `type2` are two values.
    """
    a, b = (re.sub(r"[\W_]+", "", word).casefold() for word in (text, other))
    if re.sub(r"\D", "", a) != re.sub(r"\D", "", b):
        return False
    if a == b or min(len(a), len(b)) < 4:
        return a == b
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _as_stated(column: Column, stated: Stated) -> tuple[Any, list[int]]:
    """The kind that was stated, and the positions of texts that contradict it."""
    kind = stated.kind if isinstance(stated, Attribute) else stated if isinstance(stated, str) else "categorical"
    if kind not in get_args(Kind):
        raise ValueError(f"{column.name}: unknown kind {stated!r}; expected {shown(get_args(Kind))}, or a list of values")
    values = _stated_values(stated)
    texts = list(enumerate(column.texts))
    if kind == "group":
        return kind, []
    if kind == "binary":
        zeros = [c for c, text in texts if _three_way(column) and number(text) and float(text) == 0]
        return kind, zeros + [c for c, text in texts if yes_or_no(text) is None]
    if kind == "continuous":
        return kind, [c for c, text in texts if not number(text)]
    return kind, [c for c, text in texts if tidy(text) not in values] if values else typos(column)


def _stated_values(stated: Stated | None) -> tuple[str, ...]:
    if stated is None or isinstance(stated, str):
        return ()
    return stated.values if isinstance(stated, Attribute) else tuple(map(str, stated))


def _stray_note(
    column: Column, kind: Kind, strays: list[int], cells: Cells, stated: Stated | None, new_values: NewValues
) -> Note:
    total = int(column.counts[strays].sum())
    if new_values == "missing":
        values = shown([repr(column.texts[code]) for code in strays])
        return Note("warning", f"{column.label}: {total} cells with {values} were read as missing")
    rows = np.flatnonzero(np.isin(column.codes, strays))[:10]
    places = [f"{cells.place(row)}, column {column.label}" for row in rows]
    complaints = [_complaint(column, int(column.codes[row]), kind, strays, stated) for row in rows]
    text = "; ".join(f"{place}: {complaint}" for place, complaint in zip(places, complaints, strict=True))
    more = f" (and {total - len(rows)} more)" if total > len(rows) else ""
    add = "" if kind == "continuous" else "to 'add' (a value of its own) or "
    state = "" if stated else ", or state the column's kind"
    return Note("error", text + more, f"correct the cell, or set new_values {add}to 'missing' (not labelled){state}")


def _complaint(column: Column, code: int, kind: Kind, strays: Sequence[int], stated: Stated | None) -> str:
    value = repr(column.texts[code])
    if kind == "continuous":
        return f"{value} is not a number"
    known = sorted((text for c, text in enumerate(column.texts) if c not in strays), key=natural)
    if kind == "binary":
        return f"unknown value {value}, expected yes or no (here {shown(known)})"
    known = list(_stated_values(stated)) or known
    close = _correction(column, code) if not _stated_values(stated) else None
    hint = f"; did you mean {close!r}?" if close else nearest(column.texts[code], known)
    return f"unknown value {value}, expected {shown(known)}{hint}"


def _unusable(column: Column, asked: bool) -> Note:
    text = f"column {column.label} was left out: nearly every row has a value of its own"
    return Note("error" if asked else "info", text, "state its kind to use it, for instance group")


def _constant(column: Column, asked: bool) -> Note:
    held = f"has the one value {column.texts[0]!r}" if column.texts else "is empty in every row"
    if asked:
        text = f"attribute {column.label} {held}, so nothing can be learnt from it"
        return Note("error", text, "do not ask for it, or add images with another value")
    return Note("warning", f"column {column.label} {held} and was left out", "add images with another value to use it")


def _explain(column: Column, kind: Kind) -> list[Note]:
    """Notes on readings that somebody might want otherwise."""
    if kind != "categorical" or not all(map(number, column.texts)):
        return []
    if _three_way(column):
        text = f"{column.label} holds -1, 0 and 1 and was read as three values"
        fix = "if 0 stands for not known, state its kind as binary and set new_values to 'missing'"
        return [Note("warning", text, fix)]
    low, *_, high = sorted(column.texts, key=natural)
    text = f"{column.label}: whole numbers from {low} to {high} were read as categories"
    return [Note("info", text, "state its kind as continuous if they measure something")]


def _numbered(column: Column, kind: Kind, stated: Sequence[str] | Attribute | None) -> tuple[Attribute, np.ndarray]:
    """Numbers for the texts of a column in which every text belongs."""
    given = stated if isinstance(stated, Attribute) else None
    if kind == "continuous":
        numbers = np.array([*map(float, column.texts), np.nan], dtype=np.float32)[column.codes]
        return given or Attribute(column.name, kind, mirror=mirror_rule(column.name, kind)), numbers
    if kind == "binary":
        answers = np.array([*map(yes_or_no, column.texts), MISSING], dtype=np.int64)[column.codes]
        return given or Attribute(column.name, kind, ("0", "1")), answers
    column = column.merge([tidy(text) if kind == "categorical" else text for text in column.texts])
    values = _stated_values(stated)
    values = (*values, *sorted(set(column.texts) - set(values), key=natural))
    position = {value: i for i, value in enumerate(values)}
    numbers = np.array([*(position[text] for text in column.texts), MISSING], dtype=np.int64)[column.codes]
    if given:
        return replace(given, kind=kind, values=values), numbers
    return Attribute(column.name, kind, values, mirror=mirror_rule(column.name, kind, values)), numbers


def tidy(text: str) -> str:
    """Whole numbers without their `.0`, so that `1` and `1.0` are one value."""
    return str(int(float(text))) if number(text) and float(text).is_integer() and abs(float(text)) < 2**53 else text


def natural(text: str) -> list[tuple[int, float, str]]:
    """Sort key that puts 2 before 10."""
    if number(text):
        return [(0, float(text), "")]
    return [(1, float(part), "") if part.isdecimal() else (2, 0.0, part) for part in re.split(r"(\d+)", text)]


def mirror_rule(
    name: str, kind: Kind, values: Sequence[str] = ()
) -> Literal["keep", "negate"] | tuple[tuple[str, str], ...]:
    """What becomes of a label when the image is mirrored, judged by the words left and right and by common names."""
    if kind == "continuous":
        sideways = named(name, ("yaw", "roll")) or (named(name, ("gaze",)) and named(name, ("x", "horizontal")))
        return "negate" if sideways else "keep"
    if kind != "categorical":
        return "keep"
    sides = [(value, other_side(value)) for value in values]
    pairs = {(min(pair), max(pair)) for pair in sides if pair[0] != pair[1] and pair[1] in values}
    return tuple(sorted(pairs)) or "keep"


def other_side(value: str) -> str:
    """`look left` for `look right`, and the other way round; anything else as it is."""
    sides = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
    sides |= {b: a for a, b in sides.items()}
    return sides.get(value) or re.sub("left|right|Left|Right|LEFT|RIGHT", lambda match: sides[match[0]], value)
