"""Small NORB by its own format: toys seen from 9 elevations and 18 azimuths in 6 lightings, as stereo pairs.

LeCun, Huang and Bottou, "Learning methods for generic object recognition with invariance to pose and lighting", CVPR
2004, https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/. A part (training or testing) is three binary matrices:

    smallnorb-...-training-dat.mat      bytes [pairs, 2, 96, 96]: the left and the right eye
    smallnorb-...-training-cat.mat      int32 [pairs]: the category, 0 to 4
    smallnorb-...-training-info.mat     int32 [pairs, 4]: instance (0 to 9), elevation (8), azimuth (34), lighting (5)

A matrix is its type as a magic number, the number of its dimensions, at least three sizes, all int32, then its cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recombine.data.sources.cells import BadTable, Cells, Note
from recombine.data.sources.labels import make_table
from recombine.data.sources.paths import Listing
from recombine.data.sources.source import Source, SourceOptions
from recombine.messages import printable

if TYPE_CHECKING:
    from recombine.data.schema import Kind, Schema

TYPES = {0x1E3D4C51: "<f4", 0x1E3D4C53: "<f8", 0x1E3D4C54: "<i4", 0x1E3D4C55: "|u1", 0x1E3D4C56: "<i2"}
EXPECTED = {"dat": ("|u1", (None, 2, None, None)), "cat": ("<i4", (None,)), "info": ("<i4", (None, 4))}
PARTS = {"training": "train", "testing": "test"}
NAME = re.compile(r"(?:.*/)?smallnorb-.*?(training|testing)-(dat|cat|info)\.mat(\.gz)?", re.IGNORECASE)
CATEGORIES = ("animal", "human", "plane", "truck", "car")
EYES = {"left": (0,), "right": (1,), "both": (0, 1)}
KINDS: dict[str, Kind] = {"category": "categorical", "instance": "group"}
KINDS |= {"azimuth": "categorical", "lighting": "categorical"}
CHUNK = 256     # pairs read at a time
CAUTION = Note(
    "warning",
    "azimuth and lighting: what they become in a mirrored image is not known; train without mirroring to learn them",
)


@dataclass(frozen=True)
class Stereo:
    """The images of some parts, left where they lie until they are packed."""

    parts: tuple[np.ndarray, ...]           # each uint8 [pairs, 2, height, width]
    eyes: tuple[int, ...]                   # 0 left, 1 right
    channels: int = 1
    bits: int = 8

    @property
    def size(self) -> tuple[int, int]:
        return self.parts[0].shape[2:]

    def __len__(self) -> int:
        return sum(map(len, self.parts)) * len(self.eyes)

    def chunks(self, schema: Schema) -> Iterator[np.ndarray]:
        """All images as the schema wants them, `[n, channels, height, width]` at a time, in the order of the table."""
        from PIL import Image

        from recombine.data.decoding import RawImage, fitted

        for part in self.parts:
            for start in range(0, len(part), CHUNK):
                pixels = part[start : start + CHUNK, self.eyes].reshape(-1, *self.size)
                yield np.stack([fitted(RawImage(Image.fromarray(each)), schema, "NORB") for each in pixels])


def read_norb(listing: Listing, options: SourceOptions) -> Source | None:
    """Images of small NORB's parts with their labels; None where there are none, or another table was asked for.

    The columns are `category`, `instance` (a group: `car 4`), `elevation` and `azimuth` in degrees, `lighting` (0 to
    5), and with the option `eye="both"`, which gives two rows for each pair, `eye`. Two parts are train and test.

    Raises:
        BadTable: A part lacks a file or is there twice, a file is no such matrix, is cut off, or contradicts another.
    """
    found = _find_parts(listing.files) if options.table is None else {}
    if not found:
        return None
    if options.eye not in EYES:
        raise ValueError(f"eye is one of {', '.join(EYES)}, not {options.eye!r}")
    parts = {part: _read_part(listing.root, part, files) for part, files in found.items()}
    eyes = ("left", "right") if options.eye == "both" else (options.eye,)
    rows = [row for part, (_, labels) in parts.items() for row in _rows(part, labels, eyes)]
    names = [name for name in rows[0] if name != "eye" or options.eye == "both"]
    columns = {name: [row[name] for row in rows] for name in names}
    cells = Cells(columns, ["small NORB, row"] * len(rows), list(range(1, len(rows) + 1)))
    splits = np.repeat([PARTS[part] for part in parts], [len(images) * len(eyes) for images, _ in parts.values()])
    stated, both = replace(options, kinds={**KINDS, **options.kinds}), len(parts) == len(PARTS)
    table, notes = make_table(cells, columns["file_name"], stated, "file_name", splits if both else None)
    eye = f"{options.eye} eye{'s' * (options.eye == 'both')}"
    notes = [Note("info", f"small NORB: {len(rows)} images of the {eye}, {' and '.join(parts)}"), CAUTION, *notes]
    stored = Stereo(tuple(images for images, _ in parts.values()), EYES[options.eye])
    return Source(listing.root, table, notes, stored)


def _find_parts(files: Sequence[str]) -> dict[str, dict[str, str]]:
    """The files of each part: `{"training": {"dat": ..., "cat": ..., "info": ...}}`; empty where there are none."""
    found: dict[str, dict[str, str]] = {}
    for file in files:
        match = NAME.fullmatch(file)
        if match is None or (match[3] and file[:-3] in files):
            continue
        if match[3]:
            raise BadTable(f"{printable(file)} is compressed; expected {printable(file[:-3])}: unpack it with gunzip")
        part, kind = found.setdefault(match[1].lower(), {}), match[2].lower()
        if kind in part:
            raise BadTable(f"{printable(part[kind])} and {printable(file)} are the same part; remove one")
        part[kind] = file
    for part, own in found.items():
        lacking = [kind for kind in EXPECTED if kind not in own]
        if lacking:
            text = f"small NORB's {part} part lacks its file ...-{part}-{lacking[0]}.mat"
            raise BadTable(f"{text}; expected three, and there are {', '.join(own.values())}")
    return {part: found[part] for part in PARTS if part in found}


def _read_part(root: Path, part: str, files: dict[str, str]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """The pairs of images of a part, and of each its category, instance, elevation, azimuth and lighting."""
    images, categories, info = (_read_matrix(root / files[kind], *EXPECTED[kind]) for kind in EXPECTED)
    if not len(images) == len(categories) == len(info):
        counts = f"{len(images)} pairs, {len(categories)} categories and {len(info)} lines of info"
        raise BadTable(f"small NORB's {part} files have {counts}; fetch them again")
    _check_range(files["cat"], categories[:, None], (len(CATEGORIES),))
    _check_range(files["info"], info, (10, 9, 35, 6))
    return images, list(map(tuple, np.column_stack([categories, info]).tolist()))


def _rows(part: str, labels: list[tuple[int, ...]], eyes: Sequence[str]) -> Iterator[dict[str, str]]:
    for number, (category, instance, elevation, azimuth, lighting) in enumerate(labels):
        for eye in eyes:
            yield {
                "file_name": f"{part}/{number:05d}-{eye}",
                "category": CATEGORIES[category],
                "instance": f"{CATEGORIES[category]} {instance}",
                "elevation": str(30 + 5 * elevation),
                "azimuth": str(10 * azimuth),
                "lighting": str(lighting),
                "eye": eye,
            }


def _read_matrix(path: Path, dtype: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """One binary matrix of this type and shape (None is any size), left on the disk; raises BadTable for any other."""
    name, size, kind = printable(path.name), path.stat().st_size, np.dtype(dtype)
    with open(path, "rb") as file:
        head = np.frombuffer(file.read(32), dtype="<i4", count=min(size, 32) // 4)
    expected = next(f"0x{magic:08X}" for magic, known in TYPES.items() if known == dtype)
    if not len(head) or int(head[0]) not in TYPES:
        came = f"0x{int(head[0]) & 0xFFFFFFFF:08X}" if len(head) else f"{size} bytes"
        mark = f"{expected}, NORB's mark of a matrix of {kind}"
        raise BadTable(f"{name} begins with {came}; expected {mark}; fetch it again")
    if (held := TYPES[int(head[0])]) != dtype:
        text = f"{name} holds {np.dtype(held)}; expected {kind} ({expected})"
        raise BadTable(f"{text}; is it another file, renamed?")
    dimensions = int(head[1]) if len(head) > 1 else 0
    sizes = tuple(head[2 : 2 + dimensions].tolist())
    came = " x ".join(map(str, sizes)) or "no size"
    fits = dimensions == len(shape) == len(sizes)
    if not fits or any(s != w for s, w in zip(sizes, shape, strict=True) if w is not None):
        needed = " x ".join("any" if w is None else str(w) for w in shape)
        raise BadTable(f"{name} is a matrix of {came}; expected {needed}; is it another file, renamed?")
    start = 8 + 4 * max(3, dimensions)
    whole = start + int(np.prod(sizes)) * kind.itemsize
    if size != whole or min(sizes) < 1:
        raise BadTable(f"{name} has {size} bytes; expected {whole} for {came} of {kind}; fetch it again")
    return np.memmap(path, dtype, "r", start, sizes)


def _check_range(name: str, values: np.ndarray, ends: tuple[int, ...]) -> None:
    for column, end in enumerate(ends):
        wrong = np.flatnonzero((values[:, column] < 0) | (values[:, column] >= end))
        if len(wrong):
            place = f"{printable(name)} row {wrong[0]}, column {column}"
            raise BadTable(f"{place} holds {values[wrong[0], column]}; expected 0 to {end - 1}; fetch it again")
