"""How a folder of labelled images is read and prepared: options that `data` and `train` share."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

from recombine.commands.options import pairs

if TYPE_CHECKING:
    from recombine.data.decoding import Look
    from recombine.data.packed import Pack
    from recombine.data.schema import Schema
    from recombine.data.sources.source import Source
    from recombine.data.workers import Decoder
    from recombine.training.recipe import Recipe

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
    """Pixels: one number for a square, or HEIGHTxWIDTH; 64, the recipe's, or what train chooses, when not given."""
    channels: Literal[1, 3] | None = None
    """1 grey, 3 colour; what the images have when not given."""
    bits: Literal[8, 16] | None = None
    """Colour depth; what the images have when not given."""
    fit: Literal["crop", "letterbox", "stretch"] = "crop"
    """How an image of another shape is made to fit."""

    def source(self, path: Path, strict: bool = True) -> Source:
        """The images and labels that were found."""
        from recombine.data.sources.folder import read_source
        from recombine.data.sources.source import SourceOptions

        kinds = pairs(self.kind, "--kind")
        for name, kind in kinds.items():
            if kind not in KINDS:
                raise ValueError(f"--kind {name}={kind}: a kind is one of {', '.join(KINDS)}")
        same = ("table", "pattern", "image_column", "eye", "unlabelled", "absent", "new_values")
        options = SourceOptions(kinds=kinds, **{name: getattr(self, name) for name in same})
        return read_source(path, options, strict=strict)

    def schema(self, source: Source, looks: Looks, size: int = 64) -> Schema:
        """How images that look like this are to be prepared; `size` where none was given."""
        from recombine.data.schema import Schema

        height, width = pixels(self.size or str(size))
        channels, bits = self.channels or looks.channels, self.bits or looks.bits
        return Schema(source.table.attributes, height, width, channels, bits, self.fit)

    def pack(self, path: Path, folder: Path, size: int | Callable[[Looks], int] = 64) -> Pack:
        """The pack of a folder of images; made, completed or brought up to date where it is not.

        `size`, or what gives it from how the images look, is for where none was given.
        """
        source = self.source(path)
        looks = look(source)
        return self.pack_source(source, looks, folder, size if isinstance(size, int) else size(looks))

    def pack_source(
        self, source: Source, looks: Looks, folder: Path, size: int = 64, decoder: Decoder | None = None
    ) -> Pack:
        """`pack`, of a source that was read and looked at already; `decoder` as for `packing.pack`."""
        from recombine.data import packing
        from recombine.data.decoding import decode_noted

        def packed(looks: Looks) -> Pack:
            read = decoder or decode_noted
            return packing.pack(source, folder, schema(looks), on_bad=self.on_bad, progress=shown, decoder=read)

        schema, shown = partial(self.schema, source, size=size), sys.stderr.isatty()
        looks = looks.without(packing.left_out(folder, source.root))
        pack = packed(looks)
        sound = looks.without(pack.problems().get("excluded", ()))      # the others must not decide on the format
        return pack if schema(sound) == schema(looks) else packed(sound)


@dataclass(frozen=True)
class Looks:
    """What a sample of a source's images is like, and the channels and bits that all of them fit into."""

    seen: Sequence[tuple[str, Look]] = ()   # file, and what its header tells

    def without(self, excluded: Iterable[Mapping]) -> Looks:
        """The looks of the others, once packing has found that some images cannot be decoded."""
        from recombine.data.decoding import UNSTATED

        bad = {entry["file"] for entry in excluded if entry["kind"] != UNSTATED}
        return Looks([(file, look) for file, look in self.seen if file not in bad])

    @property
    def images(self) -> int:
        return len(self.seen)

    @property
    def grey(self) -> int:
        """How many have no colour."""
        return sum(look.grey for _, look in self.seen)

    @property
    def deep(self) -> int:
        """How many have 16 bits."""
        return sum(look.deep for _, look in self.seen)

    @property
    def sizes(self) -> dict[str, int]:
        """HEIGHTxWIDTH in pixels -> images, the most frequent ones."""
        return dict(Counter(f"{look.height}x{look.width}" for _, look in self.seen).most_common(5))

    @property
    def sides(self) -> list[int]:
        """The shorter side of each image, pixels."""
        return [min(look.height, look.width) for _, look in self.seen]

    @property
    def channels(self) -> Literal[1, 3]:
        return 1 if self.images and self.grey == self.images else 3

    @property
    def bits(self) -> Literal[8, 16]:
        return 16 if self.deep else 8


def look(source: Source) -> Looks:
    """Read the headers of some of the images to see what they are like; nothing is decoded."""
    from recombine.data import decoding

    if (stored := source.stored) is not None:
        height, width = stored.size
        return Looks([("", decoding.Look(width, height, stored.channels == 1, stored.bits == 16))] * len(stored))
    files, seen = source.table.files, []
    for file in files[:: max(1, len(files) // MOST_LOOKED_AT)]:
        with suppress(decoding.BadImage):
            seen.append((file, decoding.look(source.root / file)))
    return Looks(seen)


def pixels(text: str) -> tuple[int, int]:
    """`64` or `64x48` as height and width; raises ValueError for other text, or a side of 0."""
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text.strip().lower())
    if match is None:
        raise ValueError(f"--size takes pixels, such as 64, or HEIGHTxWIDTH, such as 64x48, not {text!r}")
    return int(match[1]), int(match[2] or match[1])


def is_drawn(text: str | Path) -> bool:
    """Whether this is the name of a drawn data set, and of nothing that is in this folder."""
    from recombine.data.synthetic import DRAWN

    return str(text) in DRAWN and not Path(text).exists()


def draw(name: str, folder: Path, reading: Reading, count: int = 6_000) -> Pack:
    """A drawn data set in a folder, drawn where it is not; raises ValueError where another shape than a square is asked."""
    from recombine.data.synthetic import find_drawn

    height, width = pixels(reading.size or "64")
    if height != width:
        raise ValueError(f"{name} are square; --size takes one number for them, not {reading.size}")
    return find_drawn(name).build(folder, count, height, progress=sys.stderr.isatty())


def find_pack(
    recipe: Recipe, folders: list[Path], run: Path, reading: Reading, sized: Callable[[Looks], int] | None = None
) -> Pack:
    """The recipe's images, generated or packed into the run's folder where necessary; several folders as one.

    Images that are packed get the recipe's size, or that which `sized` gives them, unless one was given.
    """
    from recombine.data.joined import join
    from recombine.data.packed import Pack, is_pack
    from recombine.data.synthetic import find_drawn, sprites

    unpacked = [folder for folder in folders if not is_pack(folder)]
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and (unpacked or not folders):
        cure = "run `recombine data FOLDER --pack PACK`, then train on PACK"
        raise ValueError(f"several processes cannot pack at once; {cure}")
    if not folders:
        assert recipe.data is not None
        wanted, shown = recipe.data, sys.stderr.isatty()
        return find_drawn(wanted.name).build(run / "data", wanted.count, recipe.size, wanted.seed, progress=shown)
    into = [run / "data" / str(number) if len(folders) > 1 else run / "data" for number, _ in enumerate(folders, 1)]
    packs = []
    for folder, target in zip(folders, into, strict=True):
        if folder not in unpacked:
            packs.append(Pack(folder))
        elif not sprites.is_sheets(folder):
            packs.append(reading.pack(folder, target, sized or recipe.size))
        elif is_pack(target):
            packs.append(Pack(target))
        else:
            packs.append(sprites.build(target, folder, progress=sys.stderr.isatty()))
    return packs[0] if len(packs) == 1 else join(packs)
