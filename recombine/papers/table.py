"""What a table of a paper is: its columns, its rows and how each is measured here, and its claim."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from recombine.evaluation.measures import Measure
from recombine.messages import shown
from recombine.papers.claims import Cells, Claim
from recombine.papers.workspace import DATA, DataFolders, Kind, Workspace

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
