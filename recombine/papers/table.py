"""What a table of a paper is: its columns, its rows and how each is measured here, and its claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from recombine.evaluation.measures import Measure
from recombine.messages import shown
from recombine.metrics.intervals import Estimate
from recombine.papers.workspace import DATA, DataFolders, Kind, Workspace

Cells = Mapping[str, Estimate]              # column -> number
Measured = Mapping[str, Cells]              # row -> its numbers; rows that were not run are absent
Place = tuple[str, str]                     # a row and a column


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds: true, false, or None for not shown; and why."""

    holds: bool | None
    why: str


Check = Callable[[Measured], Verdict]


@dataclass(frozen=True)
class Claim:
    """What the paper concludes from a table."""

    words: str
    judge: Check


def higher(above: Place, below: Place, by: float = 0.0) -> Check:
    """Whether one cell lies above another, by a gap at least."""

    def check(rows: Measured) -> Verdict:
        if absent := find_missing(rows, above, below):
            return Verdict(None, absent)
        a, b = (rows[row][column] for row, column in (above, below))
        gap = f" by {by:g}" if by else ""
        unclear = f"their intervals allow gaps on both sides of {by:g}" if by else "their intervals overlap"
        outcomes = f"above{gap}", f"not above{gap}", unclear
        return _decide(_against(rows, above, below), a.low > b.high + by, a.high < b.low + by, outcomes)

    return check


def lower(below: Place, above: Place) -> Check:
    """Whether one cell lies below another."""

    def check(rows: Measured) -> Verdict:
        if absent := find_missing(rows, below, above):
            return Verdict(None, absent)
        a, b = (rows[row][column] for row, column in (below, above))
        outcomes = "below", "not below", "their intervals overlap"
        return _decide(_against(rows, below, above), a.high < b.low, a.low > b.high, outcomes)

    return check


def at_most(place: Place, limit: float) -> Check:
    """Whether a cell lies below a limit."""

    def check(rows: Measured) -> Verdict:
        if absent := find_missing(rows, place):
            return Verdict(None, absent)
        row, column = place
        found = rows[row][column]
        outcomes = f"below {limit:g}", f"above {limit:g}", f"the interval holds {limit:g}"
        return _decide(f"{column} of {row} {found.value:.3g}", found.high < limit, found.low > limit, outcomes)

    return check


def every(*checks: Check) -> Check:
    """All of some checks: false where one is, else not shown where one is."""

    def check(rows: Measured) -> Verdict:
        verdicts = [one(rows) for one in checks]
        for outcome in (False, None):
            missed = [verdict.why for verdict in verdicts if verdict.holds is outcome]
            if missed:
                return Verdict(outcome, "; ".join(missed))
        return Verdict(True, "; ".join(verdict.why for verdict in verdicts))

    return check


def find_missing(rows: Measured, *places: Place) -> str:
    """Which of some cells is missing, in words; empty where all are there."""
    for row, column in places:
        if row not in rows:
            return f"{row} was not run"
        if column not in rows[row]:
            return f"{column} of {row} was not measured"
    return ""


def _decide(words: str, holds: bool, fails: bool, outcomes: tuple[str, str, str]) -> Verdict:
    """A verdict whose sentence ends in one of three outcomes: it holds, it does not, it is not shown."""
    holding, ending = (True, outcomes[0]) if holds else (False, outcomes[1]) if fails else (None, outcomes[2])
    return Verdict(holding, f"{words}: {ending}")


def _against(rows: Measured, place: Place, other: Place) -> str:
    """Two cells and their values; what tells them apart names them: the row, the column, or both."""
    by_row = place[1] == other[1]
    names = [column if place[0] == other[0] else row if by_row else f"{row} {column}" for row, column in (place, other)]
    values = [rows[row][column].value for row, column in (place, other)]
    return f"{names[0]} {values[0]:.3g} against {names[1]} {values[1]:.3g}"


MeasureRow = Callable[[Workspace, int, int], Cells]  # of a workspace, with images seen and seed


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    better: Literal["lower", "higher", ""] = "lower"
    unit: str = ""                          # "%": numbers are shares, shown times 100
    digits: int = 3                         # after the point, as shown
    title: str = ""                         # heading; the name when empty
    signed: bool = False                    # a difference, which may lie below 0

    @staticmethod
    def of(measure: Measure, name: str = "") -> Column:
        """The column of a measure of the catalogue; its key is the name when none is given."""
        return Column(name or measure.key, measure.better, measure.unit, title=measure.title)

    @property
    def bounded(self) -> bool:
        """Whether its numbers lie in [0, 1]."""
        return self.unit == "%" and not self.signed

    def format(self, value: float | None) -> str:
        """A number as it is printed, without its unit."""
        if value is None:
            return "n/a"
        return f"{100 * value:.1f}" if self.unit == "%" else f"{value:.{self.digits}f}"

    @property
    def heading(self) -> str:
        """Title, unit and direction."""
        arrow = {"lower": " ↓", "higher": " ↑", "": ""}[self.better]
        return f"{self.title or self.name}{f', {self.unit}' if self.unit else ''}{arrow}"


@dataclass(frozen=True)
class Row:
    """One row of the paper, or one of ours that stands beside them."""

    name: str                               # as the paper calls it
    paper: Mapping[str, float | None]       # column -> number; None = missing in every copy we have
    measure: MeasureRow | None = None
    why_not: str = ""                       # why ours is not measured, where `measure` is None
    quoted: str = ""                        # where the paper took its numbers; "" = measured by its authors
    here: str = ""                          # what ours is, where it is not the same thing


@dataclass(frozen=True)
class Setup:
    """What the paper measured on, and what stands in for it here."""

    data: str                               # the paper's
    n: str                                  # how many images the paper's numbers rest on
    size: str                               # pixels of the paper's images
    seen: str                               # images seen in the paper's trainings
    kind: Kind                              # what stands in here
    stand_in: str                           # in words
    attributes: tuple[str, ...] = ()        # that the images must be labelled with
    extractor: tuple[str, str] = ("", "")   # the network behind the numbers: the paper's, ours


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper."""

    name: str                               # paper.table
    title: str
    setup: Setup
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claim: Claim
    differs: tuple[str, ...] = ()           # what else is not the same
    ours: Mapping[str, str] = field(default_factory=dict)  # `size`, `images seen`, if not the pack's and the budget's
    images: int = 4_000                     # images seen by every training when the caller gives no number
    minutes: float = 1.0                    # for these, on one core, with packs and classifiers at hand

    def missing(self, folders: DataFolders) -> str:
        """The data that the table needs and that was not given, in words; empty where nothing is missing."""
        kind, attributes = self.setup.kind, self.setup.attributes
        if kind == "avatars":
            return ""
        if getattr(folders, kind) is None:
            return f"it needs {DATA[kind]}" + (f" with {shown(attributes)}" if attributes else "")
        names = [a.name for a in folders.attributes]
        absent = [name for name in attributes if name not in names]
        return f"{folders.photos} has no labels of {shown(absent)}" if kind == "photos" and absent else ""
