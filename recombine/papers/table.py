"""What a table of a paper is: its rows, how each is measured here, and what it claims.

A claim is judged on what was measured here alone, by intervals: it holds where they are apart in the paper's order and gap, it
does not where they are apart the other way round, and where they overlap it is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from recombine.papers.workspace import Workspace

Cell = Mapping[str, float]                  # value, low, high and n, as an Estimate has them
Measured = Mapping[str, Mapping[str, Cell]]  # row -> metric -> cell; rows that were not run are not there
Place = tuple[str, str]                     # a row and a metric
Kind = Literal["avatars", "photos", "sheets"]


@dataclass(frozen=True)
class Metric:
    """One column."""

    name: str
    better: Literal["lower", "higher", ""] = "lower"
    unit: str = ""                          # "%": numbers are shares, shown times 100
    digits: int = 3                         # after the point, as shown
    title: str = ""                         # heading; the name when empty

    def shown(self, value: float | None) -> str:
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
    paper: Mapping[str, float | None] = field(default_factory=dict)  # metric -> number; None = missing in every copy we have
    measure: Callable[[Workspace, int], Mapping[str, Cell]] | None = None  # workspace and seed -> metric -> cell
    why_not: str = ""                       # why ours is not measured, where `measure` is None
    quoted: str = ""                        # where the paper took its numbers; "" = measured by its authors
    here: str = ""                          # what ours is, where it is not the same thing
    needs: tuple[str, ...] = ()             # methods that must be there


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds: true, false, or None for not shown; and why."""

    holds: bool | None
    why: str


@dataclass(frozen=True)
class Claim:
    """What the paper says with a table."""

    words: str
    judge: Callable[[Measured], Verdict]


@dataclass(frozen=True)
class Table:
    """A table or figure of a paper."""

    name: str                               # paper.table
    title: str
    data: str                               # the paper's
    n: str                                  # how many images the paper's numbers rest on
    size: str                               # pixels of the paper's images
    seen: str                               # images seen in the paper's trainings
    kind: Kind                              # what stands in here
    stand_in: str                           # in words
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    claim: Claim
    attributes: tuple[str, ...] = ()        # that the images must be labelled with
    extractor: tuple[str, str] = ("", "")   # who looks at the images: the paper's, ours
    differs: tuple[str, ...] = ()           # what else is not the same
    ours: Mapping[str, str] = field(default_factory=dict)  # `size` and `images seen` here, where they are not those of the pack and the budget
    images: int = 4_000                     # images seen by every training when nothing is asked for
    minutes: float = 1.0                    # for these, on one core, with packs and judges at hand


def higher(rows: Measured, above: Place, below: Place, by: float = 0.0) -> Verdict:
    """Whether one cell lies above another, by a gap at least."""
    if absent := missing(rows, above, below):
        return Verdict(None, absent)
    a, b = cell(rows, above), cell(rows, below)
    gap = f" by {by:g}" if by else ""
    words = f"{naming(above, below)} {number(a)} against {naming(below, above)} {number(b)}"
    if a["low"] > b["high"] + by:
        return Verdict(True, f"{words}: above{gap}")
    if a["high"] < b["low"] + by:
        return Verdict(False, f"{words}: not above{gap}")
    return Verdict(None, f"{words}: {f'their intervals allow gaps on both sides of {by:g}' if by else 'their intervals overlap'}")


def lower(rows: Measured, below: Place, above: Place) -> Verdict:
    """Whether one cell lies below another."""
    if absent := missing(rows, below, above):
        return Verdict(None, absent)
    a, b = cell(rows, below), cell(rows, above)
    words = f"{naming(below, above)} {number(a)} against {naming(above, below)} {number(b)}"
    if a["high"] < b["low"]:
        return Verdict(True, f"{words}: below")
    return Verdict(False, f"{words}: not below") if a["low"] > b["high"] else Verdict(None, f"{words}: their intervals overlap")


def at_most(rows: Measured, place: Place, limit: float) -> Verdict:
    """Whether a cell lies below a limit."""
    if absent := missing(rows, place):
        return Verdict(None, absent)
    found, words = cell(rows, place), f"{place[1]} of {place[0]} {number(cell(rows, place))}"
    if found["high"] < limit:
        return Verdict(True, f"{words}: below {limit:g}")
    return Verdict(False, f"{words}: above {limit:g}") if found["low"] > limit else Verdict(None, f"{words}: the interval holds {limit:g}")


def missing(rows: Measured, *places: Place) -> str:
    """Which of some cells is not there, in words; empty where all are."""
    for row, metric in places:
        if row not in rows:
            return f"{row} was not run"
        if metric not in rows[row]:
            return f"{metric} of {row} was not measured"
    return ""


def cell(rows: Measured, place: Place) -> Cell:
    """The cell at a place."""
    return rows[place[0]][place[1]]


def every(*verdicts: Verdict) -> Verdict:
    """All of them: false where one is, else not shown where one is."""
    for outcome in (False, None):
        missed = [verdict.why for verdict in verdicts if verdict.holds is outcome]
        if missed:
            return Verdict(outcome, "; ".join(missed))
    return Verdict(True, "; ".join(verdict.why for verdict in verdicts))


def naming(place: Place, other: Place) -> str:
    """What tells two cells apart: the row, the metric, or both."""
    (row, metric), (other_row, other_metric) = place, other
    if row == other_row:
        return metric
    return row if metric == other_metric else f"{row} {metric}"


def number(found: Cell) -> str:
    """A value for a sentence."""
    return f"{found['value']:.3g}"
