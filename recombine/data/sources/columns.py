"""A column of text becomes an attribute and its numbers.

Its kind is found by a table of rules, of which the first that holds decides. Texts that do not belong are reported with
place, column, value and the nearest known value.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any, get_args

import numpy as np

from recombine.data.schema import MISSING, NO, YES, Attribute, Kind, Mirror
from recombine.data.sources.cells import Cells, Note, number
from recombine.data.sources.source import NewValues, Stated
from recombine.messages import nearest, option, printable, shown

MISSING_CELLS = ("", "nan", "n/a", "#n/a", "<na>", "null")          # in any case; and NA, in capitals
NOT_A_LABEL = ("none", "-", "--", "?", "unknown")                   # missing, but a value among words
IDENTITIES = ("identity", "identities", "id", "ids", "uid")
PERSONS = ("identity", "identities", "person", "subject", "individual", "celebrity", "patient", "actor", "speaker")
GROUPS = (*IDENTITIES, *PERSONS, "clip", "video", "sequence", "session", "track", "specimen")
MEASURES = tuple("yaw pitch roll age angle degrees azimuth elevation gaze intensity score x y z".split())
MOST_LEVELS = 10    # whole numbers with more values than this are numbers, with fewer they are categories
OFTEN = 8           # times as many images as a slip of the pen has the word that was meant
MOST_WORDS = 200    # words with more values than this are groups
SIDES = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
SIDES |= {right: left for left, right in SIDES.items()}


@dataclass(frozen=True)
class Column:
    """A column's distinct texts and which of them each row has."""

    name: str
    texts: list[str]
    codes: np.ndarray       # [rows] int64, positions in texts; MISSING where the cell is
    counts: np.ndarray      # [texts] rows of each

    @property
    def known(self) -> int:
        return int(self.counts.sum())

    @property
    def label(self) -> str:
        return printable(self.name)

    @cached_property
    def frequent(self) -> dict[str, list[int]]:
        """Positions of the texts that a slip of the pen may have meant, by each of their `shortened` forms."""
        found: dict[str, list[int]] = defaultdict(list)
        for code in np.flatnonzero(self.counts >= OFTEN).tolist():
            for form in shortened(self.texts[code]):
                found[form].append(code)
        return found

    def cells_with(self, codes: Sequence[int]) -> int:
        return int(self.counts[list(codes)].sum())

    def drop(self, codes: Sequence[int]) -> Column:
        """The column with these texts missing."""
        dropped = set(codes)
        return self.merge([None if code in dropped else text for code, text in enumerate(self.texts)])

    def merge(self, texts: Sequence[str | None]) -> Column:
        """The column with every text rewritten; None is missing, and texts that became equal are one."""
        positions: dict[str, int] = {}
        table = [MISSING if text is None else positions.setdefault(text, len(positions)) for text in texts]
        codes = np.array([*table, MISSING])[self.codes]
        return Column(self.name, list(positions), codes, np.bincount(codes[codes != MISSING], minlength=len(positions)))


def factorise(name: str, cells: Sequence[str]) -> Column:
    """The distinct texts of a column, trimmed; MISSING_CELLS lists what counts as missing."""
    positions: dict[str, int] = defaultdict(count().__next__)
    codes = np.fromiter(map(positions.__getitem__, cells), np.int64, len(cells))
    raw = Column(name, list(positions), codes, np.bincount(codes, minlength=len(positions)))
    trimmed = [unicodedata.normalize("NFC", text.strip()) for text in raw.texts]
    return raw.merge([None if text.lower() in MISSING_CELLS or text == "NA" else text for text in trimmed])


class Facts:
    """What the rules look at in a column: properties, and positions of texts."""

    def __init__(self, column: Column):
        self.column, texts, known = column, column.texts, column.known
        answers = list(map(yes_or_no, texts))
        self.neither = [code for code, answer in enumerate(answers) if answer is None]          # yes nor no
        self.words = [code for code, text in enumerate(texts) if not number(text)]              # no numbers
        words = set(self.words)
        self.numbers = numbers = sorted(float(text) for code, text in enumerate(texts) if code not in words)
        distinct, cells = len(texts), known - column.cells_with(self.words)                     # cells with a number
        levels, first = len(numbers), numbers[0] if numbers else -1

        self.grouping = self.named(GROUPS) and bool(self.neither or self.named(IDENTITIES))
        self.repeated = distinct < known or distinct == 1 or self.named(PERSONS)
        self.answers = bool(texts) and not self.neither
        self.three_way = {-1.0, 0.0, 1.0} <= set(numbers)           # 0 may well mean `not known`
        self.two_way = {True, False} <= set(answers) and not self.three_way and self.slips(self.neither)
        self.numeric = bool(numbers) and self.slips(self.words)     # words are slips, if there are any
        self.measured = self.named(MEASURES) or not all(value.is_integer() for value in numbers)
        in_order = cells == levels and numbers == [first + place for place in range(levels)]
        long = levels > MOST_LEVELS or self.named(("unnamed", "index", "row"))
        self.counting = in_order and first in (0, 1) and long
        self.few_levels = levels <= MOST_LEVELS and cells >= 3 * levels
        few = distinct <= 20 and (distinct < known or distinct <= 5)
        self.few_words = few or (distinct <= MOST_WORDS and known >= 5 * distinct)
        self.shared_words = 2 * known >= 3 * distinct

    @property
    def rare_no(self) -> list[int]:
        """Of -1 and 0, beside 1, the one that is a slip."""
        rare = (code for code, text in enumerate(self.column.texts) if number(text) and float(text) != 1)
        return [code for code in rare if self.rare([code])][:1]

    def named(self, words: Sequence[str]) -> bool:
        return named(self.column.name, words)

    def hard(self, codes: Sequence[int]) -> list[int]:
        """Those that do not stand for `not known`."""
        return [code for code in codes if self.column.texts[code].lower() not in NOT_A_LABEL]

    def slips(self, codes: Sequence[int]) -> bool:
        """Whether texts are so few that they are slips of the pen; words for `not known` may be many."""
        hard = self.hard(codes)
        return not hard or self.rare(hard)

    def rare(self, codes: Sequence[int]) -> bool:
        """Whether texts are in one row, or one in a thousand if numbers are among them, else one in a hundred."""
        rows, known = self.column.cells_with(codes), self.column.known
        share = 0.001 if any(number(self.column.texts[code]) for code in codes) else 0.01
        return rows <= max(1, known * share) and known - rows >= 4 * rows


@dataclass(frozen=True)
class Rule:
    """A kind, when a column has it, and which of its texts then do not belong."""

    kind: Kind | None                                   # None: no attribute, nearly every row has a value of its own
    when: Callable[[Facts], bool]
    strays: Callable[[Facts], list[int]] = lambda facts: []


RULES = (
    Rule("group", lambda f: f.grouping and f.repeated),                                 # identity: anna, ben, anna
    Rule(None, lambda f: f.grouping),                                                   # uid: u1, u2, u3
    Rule("binary", lambda f: f.answers and not f.three_way),                            # 0, 1; yes, no
    Rule("binary", lambda f: f.answers and bool(f.rare_no), lambda f: f.rare_no),       # -1, 1 and a single 0
    Rule("categorical", lambda f: f.answers),                                           # -1, 0, 1
    Rule("binary", lambda f: f.two_way, lambda f: f.neither),                           # yes, no, ?; 0, 1, a single 2
    Rule("continuous", lambda f: f.numeric and f.measured, lambda f: f.words),          # 0.25, 0.5; age: 20, 31
    Rule(None, lambda f: f.numeric and f.counting),                                     # 1, 2, 3, ...: the row's number
    Rule("categorical", lambda f: f.numeric and f.few_levels, lambda f: f.hard(f.words)),       # level: 0, 1, 2
    Rule("continuous", lambda f: f.numeric, lambda f: f.words),                         # years: 20, 31, 45, ...
    Rule("categorical", lambda f: f.few_words, lambda f: typos(f.column)),              # hair: blond, red
    Rule("group", lambda f: f.shared_words),                                            # code: n1, n1, n2, ...
    Rule(None, lambda f: True),                                                         # caption: a text for each
)


def infer(column: Column) -> tuple[Kind | None, list[int]]:
    """The kind that a column most likely has, and the positions of the texts that then do not belong."""
    facts = Facts(column)
    rule = next(rule for rule in RULES if rule.when(facts))
    return rule.kind, rule.strays(facts)


def as_stated(column: Column, stated: Stated) -> tuple[Kind, list[int]]:
    """The kind that was stated, and the positions of the texts that contradict it."""
    kind: Any = stated.kind if isinstance(stated, Attribute) else stated if isinstance(stated, str) else "categorical"
    if kind not in get_args(Kind):
        expected = f"{shown(get_args(Kind))}, or a list of values"
        raise ValueError(f"{column.name}: unknown kind {stated!r}; expected {expected}")
    facts, values, texts = Facts(column), set(stated_values(stated)), list(enumerate(column.texts))
    if kind == "group":
        return kind, []
    if kind == "continuous":
        return kind, facts.words
    if kind == "binary":
        zeros = [code for code, text in texts if facts.three_way and number(text) and float(text) == 0]
        return kind, zeros + facts.neither
    return kind, [code for code, text in texts if tidy(text) not in values] if values else typos(column)


def stated_values(stated: Stated | None) -> tuple[str, ...]:
    """The values that are allowed by what was stated; none where only a kind was."""
    if stated is None or isinstance(stated, str):
        return ()
    return stated.values if isinstance(stated, Attribute) else tuple(map(str, stated))


def named(name: str, words: Sequence[str]) -> bool:
    """Whether a name contains one of these words, as in `person_id`, `personId` or `Person ID`."""
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return any(word in words for word in re.split(r"[^a-z]+", split.lower()))


def yes_or_no(text: str) -> bool | None:
    """The answer of a text, by the words of the schema and by 0, 1 and -1 in any spelling; None if it is neither."""
    if number(text):
        return {1.0: True, 0.0: False, -1.0: False}.get(float(text))
    return True if text.lower() in YES else False if text.lower() in NO else None


def tidy(text: str) -> str:
    """Whole numbers without their `.0`, so that `1` and `1.0` are one value."""
    return str(int(float(text))) if number(text) and float(text).is_integer() and abs(float(text)) < 2**53 else text


def natural(text: str) -> list[tuple[int, float, str]]:
    """Sort key that puts 2 before 10."""
    if number(text):
        return [(0, float(text), "")]
    return [(1, float(part), "") if part.isdecimal() else (2, 0.0, part) for part in re.split(r"(\d+)", text)]


def typos(column: Column) -> list[int]:
    """Positions of texts that are rare and a slip of the pen away from a frequent one."""
    rare = [code for code in range(len(column.texts)) if column.counts[code] <= max(1, 0.001 * column.known)]
    return [code for code in rare if correction(column, code) is not None]


def correction(column: Column, code: int) -> str | None:
    """The most frequent text that a rare one may stand for."""
    near = {c for form in shortened(column.texts[code]) for c in column.frequent.get(form, ())}
    frequent = sorted(c for c in near if column.counts[c] >= OFTEN * column.counts[code])
    alike = [c for c in frequent if slip(column.texts[code], column.texts[c])]
    return column.texts[max(alike, key=lambda c: column.counts[c])] if alike else None


def letters(text: str) -> str:
    """A word without case and separators."""
    return re.sub(r"[\W_]+", "", text).casefold()


def shortened(text: str) -> set[str]:
    """A word and what is left of it without one letter; words that are a `slip` apart have one of these in common."""
    word = letters(text)
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}


def slip(text: str, other: str) -> bool:
    """Whether two words differ by case, separators, or one letter missing, added, changed or swapped with the next.

    Differing digits are no slip: `type1` and `type2` are two values.
    """
    a, b = letters(text), letters(other)
    if re.sub(r"\D", "", a) != re.sub(r"\D", "", b):
        return False
    if a == b or min(len(a), len(b)) < 4:
        return a == b
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[start:], b[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def type_column(
    column: Column, cells: Cells, stated: Stated | None, new_values: NewValues, asked: bool
) -> tuple[Attribute | None, np.ndarray, list[Note]]:
    """A column of `cells` as an attribute, its numbers [rows] (int64, or float32 where continuous), and notes.

    The attribute is None where the column can be none, with the reason among the notes: an error where this very column
    was `asked` for.
    """
    kind, strays = infer(column) if stated is None else as_stated(column, stated)
    notes = []
    if column.name == "rest":
        notes.append(Note("error", "a column is called rest", "rename it: that part holds what no attribute describes"))
    if kind is None:
        text = f"column {column.label} was left out: nearly every row has a value of its own"
        notes.append(Note("error" if asked else "info", text, "state its kind to use it, for instance group"))
        return None, column.codes, notes
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
        held = f"has the one value {column.texts[0]!r}" if column.texts else "is empty in every row"
        text, fix = f"column {column.label} {held} and was left out", "add images with another value to use it"
        if asked:
            text = f"attribute {column.label} {held}, so nothing can be learnt from it"
            fix = "do not ask for it, or add images with another value"
        return None, column.codes, [*notes, Note("error" if asked else "warning", text, fix)]
    if stated is None:
        notes += _explain(column, kind)
    kind = "categorical" if hard and adding and kind == "binary" else kind
    return *_numbered(column, kind, None if isinstance(stated, str) else stated), notes


def _stray_note(
    column: Column, kind: Kind, strays: list[str], cells: Cells, stated: Stated | None, new_values: NewValues
) -> Note:
    """What becomes of texts that do not belong, or what to do about them."""
    stray, places = set(strays), {text: code for code, text in enumerate(column.texts)}
    codes = [places[text] for text in strays]
    total = column.cells_with(codes)
    if new_values == "missing":
        values = shown(list(map(repr, strays)))
        return Note("warning", f"{column.label}: {total} cells with {values} were read as missing")
    rows = np.flatnonzero(np.isin(column.codes, codes))[:10]
    allowed = () if kind == "binary" else stated_values(stated)
    expected = allowed or sorted((text for text in column.texts if text not in stray), key=natural)
    origins = [f"{cells.place(row)}, column {column.label}" for row in rows]
    reasons = [_complaint(column, int(column.codes[row]), kind, expected, not allowed) for row in rows]
    text = "; ".join(map(": ".join, zip(origins, reasons, strict=True)))
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


def _explain(column: Column, kind: Kind) -> list[Note]:
    if kind != "categorical" or not all(map(number, column.texts)):
        return []
    if Facts(column).three_way:
        text = f"{column.label} holds -1, 0 and 1 and was read as three values"
        fix = f"if 0 stands for not known, state its kind as binary and give {option('new_values', 'missing')}"
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
    values = stated_values(stated)
    values = (*values, *sorted(set(column.texts) - set(values), key=lambda text: (natural(text), text)))
    position = {value: i for i, value in enumerate(values)}
    numbers = np.array([*(position[text] for text in column.texts), MISSING], dtype=np.int64)[column.codes]
    if given:
        return replace(given, kind=kind, values=values), numbers
    return Attribute(column.name, kind, values, mirror=mirror_rule(column.name, kind, values)), numbers


def mirror_rule(name: str, kind: Kind, values: Sequence[str] = ()) -> Mirror:
    """What becomes of a label when the image is mirrored, judged by the words left and right and by common names."""
    if kind == "continuous":
        sideways = named(name, ("yaw", "roll")) or (named(name, ("gaze",)) and named(name, ("x", "horizontal")))
        return "negate" if sideways else "keep"
    if kind != "categorical":
        return "keep"
    words = "left|right|Left|Right|LEFT|RIGHT"
    sides = [(value, SIDES.get(value) or re.sub(words, lambda match: SIDES[match[0]], value)) for value in values]
    pairs = {(min(pair), max(pair)) for pair in sides if pair[0] != pair[1] and pair[1] in values}
    return tuple(sorted(pairs)) or "keep"
