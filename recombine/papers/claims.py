"""What a paper claims with a table, judged on what was measured here alone.

A claim holds where the intervals are apart in the paper's order and by its gap; it does not hold where they are apart
the other way round; it is not shown where they overlap, or where a number is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recombine.metrics.intervals import Estimate

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
