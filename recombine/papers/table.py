"""What a table of a paper is: its columns, its rows and how each is measured here, and its claim.

A claim is judged on what was measured here alone. It holds where the intervals are apart in the paper's order and by
its gap, does not hold where they are apart the other way round, and is not shown where they overlap or one is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recombine.data.packed import Pack
from recombine.evaluation.measures import Measure
from recombine.messages import shown
from recombine.method import Method
from recombine.metrics.intervals import Estimate
from recombine.papers.workspace import DATA, DataFolders, Kind, Workspace, estimates, shorten
from recombine.training.recipe import Recipe

Cells = Mapping[str, Estimate]              # column -> number
Measured = Mapping[str, Cells]              # row -> its numbers; rows that were not run are absent
MeasureRow = Callable[[Workspace, int, int], Cells]  # of a workspace, with images seen and seed
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
    gap = f" by {by:g}" if by else ""
    unclear = f"their intervals allow gaps on both sides of {by:g}" if by else "their intervals overlap"
    outcomes = f"above{gap}", f"not above{gap}", unclear
    return _compared(above, below, lambda a, b: a.low > b.high + by, lambda a, b: a.high < b.low + by, outcomes)


def lower(below: Place, above: Place) -> Check:
    """Whether one cell lies below another."""
    outcomes = "below", "not below", "their intervals overlap"
    return _compared(below, above, lambda a, b: a.high < b.low, lambda a, b: a.low > b.high, outcomes)


def at_most(place: Place, limit: float) -> Check:
    """Whether a cell lies below a limit."""
    outcomes = f"below {limit:g}", f"above {limit:g}", f"the interval holds {limit:g}"
    names = {place: f"{place[1]} of {place[0]}"}
    return _check(names, lambda cell: cell.high < limit, lambda cell: cell.low > limit, outcomes)


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


Condition = Callable[..., bool]             # of the cells of a check
Outcomes = tuple[str, str, str]             # the last words of a verdict: it holds, it does not, it is not shown


def _compared(place: Place, other: Place, holds: Condition, fails: Condition, outcomes: Outcomes) -> Check:
    """A check of two cells; what tells them apart names them: the row, the column, or both."""
    by_row, by_column = place[1] == other[1], place[0] == other[0]
    names = [column if by_column else row if by_row else f"{row} {column}" for row, column in (place, other)]
    return _check({place: names[0], other: names[1]}, holds, fails, outcomes)


def _check(names: Mapping[Place, str], holds: Condition, fails: Condition, outcomes: Outcomes) -> Check:
    def check(rows: Measured) -> Verdict:
        for row, column in names:
            if row not in rows:
                return Verdict(None, f"{row} was not run")
            if column not in rows[row]:
                return Verdict(None, f"{column} of {row} was not measured")
        cells = [rows[row][column] for row, column in names]
        words = " against ".join(f"{name} {cell.value:.3g}" for name, cell in zip(names.values(), cells, strict=True))
        holding, ending = (True, 0) if holds(*cells) else (False, 1) if fails(*cells) else (None, 2)
        return Verdict(holding, f"{words}: {outcomes[ending]}")

    return check


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


Numbers = Mapping[str, float | None] | tuple[float | None, ...]


@dataclass(frozen=True)
class Row:
    """One row of the paper, or one of ours that stands beside them."""

    name: str                               # as the paper calls it
    paper: Numbers = ()                     # of its first columns, or by column; None = missing in every copy we have
    measure: MeasureRow | None = None
    why_not: str = ""                       # why ours is not measured, where `measure` is None
    quoted: str = ""                        # where the paper took its numbers; "" = measured by its authors
    here: str = ""                          # what ours is, where it is not the same thing


@dataclass(frozen=True)
class Setup:
    """What the paper measured on, and what stands in for it here."""

    data: str                               # the paper's
    kind: Kind                              # what stands in here
    stand_in: str                           # in words
    n: str = "not stated"                   # how many images the paper's numbers rest on
    size: str = "not stated"                # pixels of the paper's images
    seen: str = "not stated"                # images seen in the paper's trainings
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

    def numbers(self, row: Row) -> dict[str, float | None]:
        """The paper's numbers in a row, column -> number."""
        if isinstance(row.paper, Mapping):
            return dict(row.paper)
        return dict(zip((column.name for column in self.columns), row.paper, strict=False))

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


def trained(
    recipe: Recipe,
    name: str,
    measure: Callable[[Method, Pack, Workspace], Any],
    read: Callable[[Any], Mapping[str, Any]] = dict,
    kind: Kind = "photos",
    pairs: bool = False,
    **changes: Any,
) -> MeasureRow:
    """How a row is measured by training a recipe and measuring its model.

    Args:
        recipe: What is trained.
        name: Of the measurement; rows of the same training and name share it.
        measure: Of the model, the data and the workspace.
        read: From the measurement as plain values, column -> number.
        kind: Of the data.
        pairs: A sample has two images.
        changes: Of the method's settings.
    """

    def measure_row(workspace: Workspace, images: int, seed: int) -> Cells:
        pack = workspace.pack(kind)
        run = workspace.train(shorten(recipe, images // (1 + pairs), seed, **changes), pack)
        return estimates(read(workspace.measure(run, name, lambda model: measure(model, pack, workspace))))

    return measure_row
