"""What a table of a paper is: its rows, how each is measured here, and what it claims.

A claim is judged on what was measured here alone, by intervals: it holds where they are apart in the paper's order and gap, it
does not where they are apart the other way round, and where they overlap it is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from recombine.tables.bench import Bench

Cell = Mapping[str, float]                  # value, low, high and n, as a Share or Mean gives them
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
    measure: Callable[[Bench, int], Mapping[str, Cell]] | None = None  # bench and seed -> metric -> cell
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
    n: str                                  # how many pictures the paper's numbers rest on
    size: str                               # pixels of the paper's pictures
    seen: str                               # pictures seen in the paper's trainings
    kind: Kind                              # what stands in here
    stand_in: str                           # in words
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    claim: Claim
    attributes: tuple[str, ...] = ()        # that the pictures must be labelled with
    extractor: tuple[str, str] = ("", "")   # who looks at the pictures: the paper's, ours
    differs: tuple[str, ...] = ()           # what else is not the same
    images: int = 4_000                     # pictures seen by every training when nothing is asked for
    minutes: float = 1.0                    # for these, on one core, with packs and judges at hand


def higher(rows: Measured, above: Place, below: Place, by: float = 0.0) -> Verdict:
    """Whether one cell lies above another, by a gap at least."""
    for row, metric in (above, below):
        if row not in rows or metric not in rows[row]:
            return Verdict(None, f"{row} was not run" if row not in rows else f"{metric} of {row} was not measured")
    a, b = (rows[row][metric] for row, metric in (above, below))
    names = f"{naming(above, below)} {number(a)} against {naming(below, above)} {number(b)}"
    gap = f", at least {number({'value': by})} apart" if by else ""
    if a["low"] > b["high"] + by:
        return Verdict(True, f"{names}: above{gap}")
    if a["high"] < b["low"] + by:
        return Verdict(False, f"{names}: not above{gap}")
    return Verdict(None, f"{names}: intervals overlap" if not by else f"{names}: the gap's interval holds {number({'value': by})}")


def lower(rows: Measured, below: Place, above: Place) -> Verdict:
    """Whether one cell lies below another."""
    found = higher(rows, above, below)
    return Verdict(found.holds, found.why)


def at_most(rows: Measured, place: Place, limit: float) -> Verdict:
    """Whether a cell lies below a limit."""
    row, metric = place
    if row not in rows or metric not in rows[row]:
        return Verdict(None, f"{row} was not run" if row not in rows else f"{metric} of {row} was not measured")
    cell, name = rows[row][metric], f"{metric} of {row}"
    if cell["high"] < limit:
        return Verdict(True, f"{name} {number(cell)}: below {limit:g}")
    if cell["low"] > limit:
        return Verdict(False, f"{name} {number(cell)}: above {limit:g}")
    return Verdict(None, f"{name} {number(cell)}: the interval holds {limit:g}")


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


def number(cell: Cell) -> str:
    """A value for a sentence."""
    return f"{cell['value']:.3g}"
