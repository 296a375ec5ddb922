"""How a folder of labelled images is to be read, and what was found in it before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recombine.data.schema import Attribute, Kind
from recombine.data.sources.cells import Note

if TYPE_CHECKING:
    from recombine.data.sources.labels import LabelTable
    from recombine.data.sources.norb import Stereo

Eye = Literal["left", "right", "both"]
Links = Literal["inside", "anywhere"]
NewValues = Literal["error", "add", "missing"]
Stated = Kind | Sequence[str] | Attribute   # a kind, the only values allowed, or an attribute of an existing schema
FEW = 20                                    # images per value below which a warning is due


@dataclass(frozen=True)
class SourceOptions:
    """Which label table a folder is read by, what its columns are, and what to do with what does not fit."""

    table: Path | str | None = None                 # relative to here or the folder, where it cannot be told from that
    pattern: str | None = None                      # of names that hold labels, or a name in patterns.PATTERNS
    kinds: Mapping[str, Stated] = field(default_factory=dict)       # by column, where a guess would be wrong
    attributes: Sequence[str] | None = None         # columns to use, an error where one cannot serve; all that can
    image_column: str | None = None                 # of paths, where it cannot be told from the table
    eye: Eye = "left"                               # of small NORB's stereo pairs
    unlabelled: Literal["error", "keep", "drop"] = "error"          # images without a row; kept ones stand in train
    absent: Literal["error", "drop"] = "error"      # rows without an image
    new_values: NewValues = "error"                 # values that do not belong: add them, or read them as missing
    links: Links = "inside"                         # follow links that stay inside the folder, or anywhere
    few: int = FEW                                  # values with fewer images are warned about


@dataclass(frozen=True)
class Source:
    """Images and their labels, and what was noticed while they were matched."""

    root: Path
    table: LabelTable
    notes: Sequence[Note] = ()
    stored: Stereo | None = None            # where images are no files; then the table's files are names alone

    @property
    def errors(self) -> list[Note]:
        return [note for note in self.notes if note.level == "error"]
