"""How a folder of labelled pictures is read and prepared: options that `data` and `train` share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from recombine.commands.options import pairs

if TYPE_CHECKING:
    from recombine.data.folder import Source
    from recombine.data.schema import Schema

KINDS = ("binary", "categorical", "continuous", "group")


@Parameter(name="*", group="How pictures are read")
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a folder of labelled pictures is read and prepared."""

    table: Path | None = None
    """Label table, where it cannot be told from the folder."""
    image_column: str | None = None
    """The table's column of paths, where it cannot be told from the table."""
    kind: list[str] | None = None
    """ATTRIBUTE=KIND, where it was guessed wrong: binary, categorical, continuous or group; may be given several times."""
    unlabelled: Literal["error", "keep", "drop"] = "error"
    """What to do with pictures that the table does not name."""
    absent: Literal["error", "drop"] = "error"
    """What to do with rows whose picture is not there."""
    new_values: Literal["error", "add", "missing"] = "error"
    """What to do with values that look like a slip of the pen."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with files that cannot be read as pictures."""
    size: str | None = None
    """Pixels: one number for a square, or HEIGHTxWIDTH; 64, or the recipe's, when not given."""
    channels: Literal[1, 3] = 3
    """1 grey, 3 colour."""
    bits: Literal[8, 16] = 8
    """Colour depth: 16 keeps what 16-bit files hold."""
    fit: Literal["crop", "letterbox", "stretch"] = "crop"
    """How a picture of another shape is made to fit."""

    def source(self, path: Path, strict: bool = True) -> Source:
        """The pictures and labels that were found."""
        from recombine.data.folder import read_source

        kinds = pairs(self.kind, "--kind")
        for name, kind in kinds.items():
            if kind not in KINDS:
                raise ValueError(f"--kind {name}={kind}: a kind is one of {', '.join(KINDS)}")
        return read_source(
            path,
            table=self.table,
            kinds=kinds,  # type: ignore[arg-type]
            image_column=self.image_column,
            unlabelled=self.unlabelled,
            absent=self.absent,
            new_values=self.new_values,
            strict=strict,
        )

    def schema(self, source: Source, size: int = 64) -> Schema:
        """How the source's pictures are to be prepared; `size` where none was given."""
        from recombine.data.schema import Schema

        height, width = pixels(self.size or str(size))
        return Schema(source.table.attributes, height, width, self.channels, self.bits, self.fit)


def pixels(text: str) -> tuple[int, int]:
    """`64` or `64x48` as height and width.

    Raises:
        ValueError: It is neither, or a side is 0.
    """
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text.strip().lower())
    if match is None:
        raise ValueError(f"--size takes pixels, such as 64, or HEIGHTxWIDTH, such as 64x48, not {text!r}")
    return int(match[1]), int(match[2] or match[1])
