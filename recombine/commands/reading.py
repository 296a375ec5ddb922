"""How a folder of labelled images is read and prepared: options that `data` and `train` share."""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from recombine.commands.options import pairs

if TYPE_CHECKING:
    from recombine.data.decoding import Picture
    from recombine.data.packed import Pack
    from recombine.data.schema import Schema
    from recombine.data.sources.folder import Source

MOST_LOOKED_AT = 100    # images, to see what they are like
KINDS = ("binary", "categorical", "continuous", "group")


@Parameter(name="*", group="How images are read")
@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a folder of labelled images is read and prepared."""

    table: Path | None = None
    """Label table, where it cannot be told from the folder."""
    image_column: str | None = None
    """The table's column of paths, where it cannot be told from the table."""
    pattern: str | None = None
    """Labels that stand in names: '{identity}/{clip}/*.jpg', or rafd, multipie, bu3dfe, market1501, vggface2, voxceleb."""
    eye: Literal["left", "right", "both"] = "left"
    """Which images of small NORB's stereo pairs."""
    kind: list[str] | None = None
    """ATTRIBUTE=KIND, where it was guessed wrong: binary, categorical, continuous or group; may be given several times."""
    unlabelled: Literal["error", "keep", "drop"] = "error"
    """What to do with images that the table does not name."""
    absent: Literal["error", "drop"] = "error"
    """What to do with rows whose image is not there."""
    new_values: Literal["error", "add", "missing"] = "error"
    """What to do with values that look like a slip of the pen."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do with files that cannot be read as images."""
    size: str | None = None
    """Pixels: one number for a square, or HEIGHTxWIDTH; 64, or the recipe's, when not given."""
    channels: Literal[1, 3] | None = None
    """1 grey, 3 colour; what the images have when not given."""
    bits: Literal[8, 16] | None = None
    """Colour depth; what the images have when not given."""
    fit: Literal["crop", "letterbox", "stretch"] = "crop"
    """How an image of another shape is made to fit."""

    def source(self, path: Path, strict: bool = True) -> Source:
        """The images and labels that were found."""
        from recombine.data.sources.folder import read_source

        kinds = pairs(self.kind, "--kind")
        for name, kind in kinds.items():
            if kind not in KINDS:
                raise ValueError(f"--kind {name}={kind}: a kind is one of {', '.join(KINDS)}")
        return read_source(
            path,
            table=self.table,
            pattern=self.pattern,
            eye=self.eye,
            kinds=kinds,  # type: ignore[arg-type]
            image_column=self.image_column,
            unlabelled=self.unlabelled,
            absent=self.absent,
            new_values=self.new_values,
            strict=strict,
        )

    def schema(self, source: Source, size: int = 64) -> Schema:
        """How the source's images are to be prepared; `size` where none was given."""
        from recombine.data.schema import Schema

        height, width = pixels(self.size or str(size))
        seen = look(source)
        channels = self.channels or (1 if seen["pictures"] and seen["grey"] == seen["pictures"] else 3)
        bits = self.bits or (16 if seen["16 bits"] else 8)
        return Schema(source.table.attributes, height, width, channels, bits, self.fit)

    def pack(self, path: Path, folder: Path, size: int = 64) -> Pack:
        """The pack of a folder of images; made, completed or brought up to date where it is not."""
        from recombine.data import packing

        source = self.source(path)
        return packing.pack(source, folder, self.schema(source, size), on_bad=self.on_bad, progress=sys.stderr.isatty())


def look(source: Source) -> dict:
    """What some of the images are like: how many are grey or have 16 bits, and their sizes in pixels."""
    from recombine.data.decoding import BadImage, read

    if source.stored is not None:
        grey, deep = (source.stored.channels == 1), (source.stored.bits == 16)
        count, size = len(source.stored), "x".join(map(str, source.stored.size))
        return {"pictures": count, "grey": count * grey, "16 bits": count * deep, "sizes": {size: count}}
    files, sizes, grey, deep = source.table.files, Counter(), 0, 0
    for file in files[:: max(1, len(files) // MOST_LOOKED_AT)]:
        try:
            picture = read(source.root / file)
        except BadImage:
            continue
        width, height = picture.size
        sizes[f"{height}x{width}"] += 1
        grey += num_channels(picture) < 3
        deep += picture.deep
    return {"pictures": sizes.total(), "grey": grey, "16 bits": deep, "sizes": dict(sizes.most_common(5))}


def num_channels(picture: Picture) -> int:
    """Channels of a decoded image, opacity included."""
    from PIL.Image import Image

    return len(picture.pixels.getbands()) if isinstance(picture.pixels, Image) else picture.pixels.shape[2]


def pixels(text: str) -> tuple[int, int]:
    """`64` or `64x48` as height and width.

    Raises:
        ValueError: It is neither, or a side is 0.
    """
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text.strip().lower())
    if match is None:
        raise ValueError(f"--size takes pixels, such as 64, or HEIGHTxWIDTH, such as 64x48, not {text!r}")
    return int(match[1]), int(match[2] or match[1])
