"""A column of text becomes an attribute and its numbers.

Whatever does not belong is reported with place, column, value and the nearest known value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from recombine.data.schema import MISSING, Attribute, Kind
from recombine.data.sources.cells import Cells, Note, number
from recombine.data.sources.kinds import (
    NOT_A_LABEL,
    Column,
    Facts,
    as_stated,
    correction,
    infer,
    named,
    natural,
    stated_values,
    tidy,
    yes_or_no,
)
from recombine.data.sources.options import NewValues, Stated
from recombine.messages import nearest, option, shown

SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
SIDES |= {right: left for left, right in SIDES.items()}


@dataclass(frozen=True)
class Typed:
    """What a column became."""

    attribute: Attribute | None         # None where it can be no attribute; a note has the reason
    numbers: np.ndarray                 # [rows] int64 with MISSING; continuous: float32 with NaN
    notes: list[Note]


def type_column(
    column: Column, cells: Cells, *, stated: Stated | None = None, new_values: NewValues = "error", asked: bool = False
) -> Typed:
    """A column as an attribute with its numbers.

    Args:
        column: The column.
        cells: The table it comes from, for the places of its cells.
        stated: Its kind, its only values, or an attribute of an existing schema.
        new_values: What to do with values that do not belong.
        asked: Whether this very column was asked for; it is then an error if it cannot serve.
    """
    kind, strays = infer(column) if stated is None else as_stated(column, stated)
    notes = []
    if column.name == "rest":
        notes.append(Note("error", "a column is called rest", "rename it: that part holds what no attribute describes"))
    if kind is None:
        return Typed(None, column.codes, [*notes, _unusable(column, asked)])
    soft = [code for code in strays if kind in ("binary", "continuous") and column.texts[code].lower() in NOT_A_LABEL]
    hard = [code for code in strays if code not in soft]
    adding = new_values == "add" and kind != "continuous"
    if soft:
        words = shown([repr(column.texts[code]) for code in soft])
        notes.append(Note("info", f"{column.label}: {words} read as missing, {column.cells_with(soft)} cells"))
    if hard and not adding:
        texts = [column.texts[code] for code in hard]
        notes.append(_stray_note(column.drop(soft), kind, texts, cells, stated, new_values))
    column = column.drop(soft if adding else strays)
    if len(column.texts) < 2 and not isinstance(stated, Attribute):
        return Typed(None, column.codes, [*notes, _constant(column, asked)])
    if stated is None:
        notes += _explain(column, kind)
    kind = "categorical" if hard and adding and kind == "binary" else kind
    return Typed(*_numbered(column, kind, None if isinstance(stated, str) else stated), notes)


# What is reported


def _stray_note(
    column: Column, kind: Kind, strays: list[str], cells: Cells, stated: Stated | None, new_values: NewValues
) -> Note:
    """What becomes of texts that do not belong, or what to do about them."""
    codes = [column.texts.index(text) for text in strays]
    total = column.cells_with(codes)
    if new_values == "missing":
        values = shown(list(map(repr, strays)))
        return Note("warning", f"{column.label}: {total} cells with {values} were read as missing")
    rows = np.flatnonzero(np.isin(column.codes, codes))[:10]
    allowed = () if kind == "binary" else stated_values(stated)
    expected = allowed or sorted((text for text in column.texts if text not in strays), key=natural)
    places = [f"{cells.place(row)}, column {column.label}" for row in rows]
    reasons = [_complaint(column, int(column.codes[row]), kind, expected, not allowed) for row in rows]
    text = "; ".join(map(": ".join, zip(places, reasons, strict=True)))
    more = f" (and {total - len(rows)} more)" if total > len(rows) else ""
    add = "" if kind == "continuous" else f"{option('new_values', 'add')} (a value of its own) or "
    fix = f"correct the cell, or give {add}{option('new_values', 'missing')} (not labelled)"
    return Note("error", text + more, fix if stated else f"{fix}, or state the column's kind")


def _complaint(column: Column, code: int, kind: Kind, expected: Sequence[str], correct: bool) -> str:
    """Why a text does not belong; with `correct`, which frequent text may be meant."""
    text, listed = column.texts[code], list(expected)
    if kind == "continuous":
        return f"{text!r} is not a number"
    if kind == "binary":
        return f"unknown value {text!r}, expected yes or no (here {shown(listed)})"
    close = correction(column, code) if correct else None
    hint = f"; did you mean {close!r}?" if close else nearest(text, listed)
    return f"unknown value {text!r}, expected {shown(listed)}{hint}"


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
    """Notes on readings that may not be what was meant."""
    if kind != "categorical" or not all(map(number, column.texts)):
        return []
    if Facts(column).three_way:
        text = f"{column.label} holds -1, 0 and 1 and was read as three values"
        fix = f"if 0 stands for not known, state its kind as binary and give {option('new_values', 'missing')}"
        return [Note("warning", text, fix)]
    low, *_, high = sorted(column.texts, key=natural)
    text = f"{column.label}: whole numbers from {low} to {high} were read as categories"
    return [Note("info", text, "state its kind as continuous if they measure something")]


# Numbers for texts


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
    values = stated_values(stated)
    values = (*values, *sorted(set(column.texts) - set(values), key=lambda text: (natural(text), text)))
    position = {value: i for i, value in enumerate(values)}
    numbers = np.array([*(position[text] for text in column.texts), MISSING], dtype=np.int64)[column.codes]
    if given:
        return replace(given, kind=kind, values=values), numbers
    return Attribute(column.name, kind, values, mirror=mirror_rule(column.name, kind, values)), numbers


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
    return SIDES.get(value) or re.sub("left|right|Left|Right|LEFT|RIGHT", lambda match: SIDES[match[0]], value)
