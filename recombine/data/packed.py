"""The packed cache: every image decoded once, memory-mapped, with its labels; the only thing that training reads.

A pack is a folder:

    images.npy      every image, unsigned 8 or 16 bits, [images, channels, height, width]
    index.parquet   one row an image: file, split, labels, hashes, size and time of the source
    schema.json     attributes and how the images were prepared
    problems.json   what was left out and why, duplicates, warnings
    manifest.json   SHA-256 of the others; written last, so a folder without it is not a pack
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from recombine import manifest
from recombine.data.batch import Batch, StoredBatch
from recombine.data.compact import Compact, IndexFile, Lazy, Texts, narrowed, pieces
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.files import digest, new_file, publish, write_text
from recombine.messages import shown

FORMAT = 1
SPLITS = ("train", "val", "test")
NAMES = np.array(SPLITS)                    # what the numbers of splits stand for
IMAGES, INDEX, SCHEMA, PROBLEMS = "images.npy", "index.parquet", "schema.json", "problems.json"
CHUNK = 256                                 # images written at a time
Column = Sequence | np.ndarray              # one value for each image


class BadPack(ValueError):
    """A folder that is no complete, undamaged pack; the message states what is wrong and what to do."""


def damaged(folder: Path, name: str, expected: str, found: str) -> BadPack:
    """The error for a file that is not what its manifest promises."""
    return BadPack(f"{folder / name} is damaged: expected {expected}, got {found}; pack again")


class Pack:
    """A finished pack, memory-mapped.

    Attributes:
        path: The folder.
        schema: Attributes and image format.
        labels: name -> [images]; int64 with -1 for missing, continuous float32 with NaN for missing. What is taken
            from a column is an array; the column itself is `Compact` where that saves memory.
        splits: [images] of "train", "val" or "test".
        index: The other columns of `index.parquet`, each read when asked for: hashes, size and time of every source.

    Raises:
        BadPack: The folder is unfinished, damaged, or was written by a newer version.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = check(self.path)
        self.schema = Schema.from_json(json.loads((self.path / SCHEMA).read_text("utf-8")))
        self.table = IndexFile(self.path / INDEX)
        self.splits: np.ndarray | Compact = Compact(split_numbers(self.table), NAMES)
        self.labels = {a.name: narrowed(self.table.array(f"label.{a.name}")) for a in self.schema.attributes}
        stamps = (name for name in self.table.names if name.startswith(("source_", "pixel_")))
        self.index: Mapping[str, np.ndarray] = Lazy(stamps, self.table.array)
        self.images = open_images(self.path / IMAGES, len(self), self.schema)

    @cached_property
    def files(self) -> Texts:
        """One name an image, relative to the folder that was packed; a sequence like a list of them."""
        return self.table.texts("file")

    def __len__(self) -> int:
        return len(self.splits)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(self.rows(name))}" for name in SPLITS if len(self.rows(name)))
        return f"Pack({str(self.path)!r}, {len(self)} images ({counts}), {shown(self.schema.names)})"

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "images"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.images = open_images(self.path / IMAGES, len(self), self.schema)

    def rows(self, split: str | None = None) -> np.ndarray:
        """Row numbers, int64, of one split or of all images."""
        if split is None:
            return np.arange(len(self))
        if split not in SPLITS:
            raise ValueError(f"a split is one of {shown(SPLITS)}, not {split!r}")
        return np.flatnonzero(self.splits == split)

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when any image, label or split changes."""
        digest = hashlib.blake2b(json.dumps(self.schema.to_json(), sort_keys=True).encode(), digest_size=8)
        for column in (self.pixel_hashes(), self.splits):
            for number, piece in enumerate(pieces(column)):
                digest.update(("\n" * (number > 0) + "\n".join(piece)).encode())
        for name in self.schema.names:
            for piece in pieces(self.labels[name]):
                digest.update(np.ascontiguousarray(piece).data)
        return digest.hexdigest()

    def pixel_hashes(self) -> Texts:
        """A hash of each image's pixels."""
        return self.table.texts("pixel_hash")

    def batch(self, rows: Sequence[int] | np.ndarray, *, mirror: np.ndarray | None = None) -> Batch:
        """Images and labels of some rows.

        Args:
            rows: Row numbers, repeats allowed.
            mirror: [rows] bool; where true the image is flipped left to right, its labels follow `Attribute.mirror`.

        Returns:
            A batch; labels that are missing are 0 there, and `known` is false.
        """
        return self.stored(rows, mirror=mirror).batch()

    def stored(
        self, rows: Sequence[int] | np.ndarray, *, mirror: np.ndarray | None = None, flip: bool = True
    ) -> StoredBatch:
        """What `batch` is made of; arguments as there. Without `flip`, turning pixels round is left to the device."""
        rows = np.asarray(rows, dtype=np.int64)
        pixels = self.images[rows]
        if flip and mirror is not None:
            pixels[mirror] = pixels[mirror, ..., ::-1]
        labels, known = {}, []
        for attribute in self.schema.attributes:
            column = np.array(self.labels[attribute.name][rows])
            there = attribute.known(column)
            column[~there] = 0
            if mirror is not None and attribute.mirror != "keep":
                column[mirror] = mirrored(attribute, column[mirror])
            labels[attribute.name] = column
            known.append(there)
        continuous = tuple(a.name for a in self.schema.attributes if a.kind == "continuous")

        def stacked(columns: list[np.ndarray], dtype: type) -> torch.Tensor:
            return torch.from_numpy(np.array(columns, dtype).reshape(len(columns), len(rows)))

        return StoredBatch(
            pixels=torch.from_numpy(pixels),
            mirror=None if flip or mirror is None else torch.from_numpy(mirror),
            rows=torch.from_numpy(rows),
            classes=stacked([column for name, column in labels.items() if name not in continuous], np.int64),
            numbers=stacked([labels[name] for name in continuous], np.float32),
            known=stacked(known, np.bool_), names=self.schema.names, continuous=continuous,
            labelled=frozenset(name for name, there in zip(self.schema.names, known, strict=True) if there.any()),
        )  # fmt: skip

    def select(self, *attributes: str) -> Pack:
        """The same images with only these attributes."""
        chosen = copy.copy(self)
        chosen.__dict__.pop("fingerprint", None)
        chosen.schema = self.schema.select(*attributes)
        chosen.labels = {name: self.labels[name] for name in attributes}
        return chosen

    def whole(self) -> Pack:
        """The same images with every attribute, after `select`."""
        return Pack(self.path)

    def problems(self) -> dict[str, list]:
        """What packing left out and noticed; empty for generated data."""
        path = self.path / PROBLEMS
        return json.loads(path.read_text("utf-8")) if path.exists() else {}

    def verify(self) -> None:
        """Read every byte and compare it with the manifest; raises BadPack that names a file that was changed."""
        for name, entry in self.manifest["files"].items():
            manifest.check(self.path, name, entry, damaged)


def write_pack(
    folder: str | Path, images: np.ndarray | Iterable[np.ndarray], schema: Schema, files: Sequence[str],
    labels: Mapping[str, Column], splits: Column,
) -> Pack:  # fmt: skip
    """Write a pack from images in memory, or replace one.

    `images` are [images, channels, height, width] of the schema's shape and dtype, or chunks of that. For every image
    there is a name, a split ("train", "val" or "test") and of each attribute a label, -1 (continuous: NaN) for missing.

    Raises:
        ValueError: Images, labels or splits do not fit the schema or each other.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chunks = np.array_split(images, max(1, len(images) // CHUNK)) if isinstance(images, np.ndarray) else images
    columns = index_columns(schema, files, labels, splits)
    with new_file(folder / IMAGES) as target:
        write_header(target, len(files), schema)
        hashes = []
        for chunk in chunks:
            if chunk.shape[1:] != schema.shape or chunk.dtype != schema.dtype:
                expected = f"images [n, {', '.join(map(str, schema.shape))}] of {schema.dtype}"
                raise ValueError(f"the schema expects {expected}; these are {list(chunk.shape)} of {chunk.dtype}")
            target.write(np.ascontiguousarray(chunk).data)
            hashes += map(digest, chunk)
    if len(hashes) != len(files):
        raise ValueError(f"{len(files)} files were named but {len(hashes)} images came")
    return finish(folder, schema, {**columns, "pixel_hash": hashes})


def finish(folder: Path, schema: Schema, columns: Mapping[str, Column], problems: Mapping | None = None) -> Pack:
    """Make a pack of a new file `images.npy` and the columns of the index: everything synced, the manifest last."""
    with new_file(folder / INDEX) as file:
        pq.write_table(pa.table(dict(columns)), file)
    for name, content in ((SCHEMA, schema.to_json()), (PROBLEMS, problems or {})):
        with new_file(folder / name) as file:
            file.write(json.dumps(content, indent=1).encode())
    names = (IMAGES, INDEX, SCHEMA, PROBLEMS)
    (folder / manifest.NAME).unlink(missing_ok=True)
    for name in names:
        publish(folder / name)
    entries = {name: manifest.entry(folder / name, size="bytes") for name in names}
    content = {"format": FORMAT, "pictures": len(columns["file"]), "files": entries}
    write_text(folder / manifest.NAME, json.dumps(content, indent=1))
    return Pack(folder)


def index_columns(schema: Schema, files: Sequence, labels: Mapping[str, Column], splits: Column) -> dict[str, Column]:
    """The columns of the index that come from the label table, checked against the schema."""
    columns: dict[str, Column] = {"file": list(files), "split": [str(split) for split in splits]}
    unknown = sorted(set(columns["split"]) - set(SPLITS))
    if unknown:
        raise ValueError(f"a split is one of {shown(SPLITS)}; the table has {shown(unknown)}")
    for attribute in schema.attributes:
        if attribute.name not in labels:
            raise ValueError(f"the schema has {attribute.name!r} but there are labels only for {shown(list(labels))}")
        columns[f"label.{attribute.name}"] = checked_labels(attribute, labels[attribute.name])
    for name, column in columns.items():
        if len(column) != len(files):
            raise ValueError(f"{name} has {len(column)} entries for {len(files)} images")
    return columns


def checked_labels(attribute: Attribute, labels: Column) -> np.ndarray:
    """One attribute's labels as they are stored; raises ValueError for a value that the schema does not have."""
    if attribute.kind == "continuous":
        return np.asarray(labels, dtype=np.float32)
    column = np.asarray(labels).astype(np.int64)
    most = max(attribute.num_values, 2 if attribute.kind == "binary" else 0)
    wrong = np.flatnonzero((column < MISSING) | (column >= most))
    if len(wrong):
        expected = f"{attribute.name} has {most} values, stored as 0 to {most - 1}, or {MISSING} for missing"
        raise ValueError(f"{expected}; row {wrong[0]} holds {column[wrong[0]]}")
    return column


def mirrored(attribute: Attribute, labels: np.ndarray) -> np.ndarray:
    """Labels of mirrored images: numbers negated, yes and no or the named pairs of values exchanged."""
    if attribute.mirror == "keep":
        return labels
    if attribute.kind == "continuous":
        return -labels
    if attribute.mirror == "negate":
        if attribute.kind != "binary":
            own = f"{attribute.name} is {attribute.kind}"
            raise ValueError(f"{own}: its mirror is 'keep' or pairs of values, not 'negate'")
        return 1 - labels
    swapped = np.arange(attribute.num_values)
    for a, b in attribute.mirror:
        i, j = attribute.index(a), attribute.index(b)
        swapped[i], swapped[j] = j, i
    return swapped[labels]


def split_numbers(table: IndexFile) -> np.ndarray:
    """The split of each row as its place in `SPLITS`, [rows] uint8."""
    places = pc.index_in(table.column("split"), value_set=pa.array(SPLITS))  # type: ignore[attr-defined]
    return places.to_numpy().astype(np.uint8)


def write_header(target: BinaryIO, count: int, schema: Schema) -> None:
    """The .npy header of `count` images; the pixels follow it."""
    form = {"descr": schema.dtype.newbyteorder("<").str, "fortran_order": False, "shape": (count, *schema.shape)}
    np.lib.format.write_array_header_1_0(target, form)


def open_images(path: Path, count: int, schema: Schema) -> np.ndarray:
    """The images as a read-only array that lives on disk; raises BadPack where its header contradicts the schema."""
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    expected = (count, *schema.shape)
    if images.shape != expected or images.dtype != schema.dtype:
        found = f"{path} holds {images.shape} of {images.dtype}"
        raise BadPack(f"{found} where the index and schema expect {expected} of {schema.dtype}; pack again")
    return np.asarray(images)


def is_pack(folder: str | Path) -> bool:
    """Whether a folder holds a finished pack."""
    return (Path(folder) / manifest.NAME).is_file()


def check(folder: Path) -> dict:
    """The manifest of a pack whose files have the right sizes and whose index and schema are intact."""
    if not is_pack(folder):
        text = f"{folder} has no {manifest.NAME}, so it is no pack or one that was never finished"
        raise BadPack(f"{text}; run the packing again, it continues where it stopped")
    written = json.loads((folder / manifest.NAME).read_text("utf-8"))
    if written["format"] > FORMAT:
        newer = f"{folder} has format {written['format']}"
        raise BadPack(f"{newer}, this version reads up to {FORMAT}; upgrade or pack again")
    for name, entry in written["files"].items():
        manifest.check(folder, name, entry, damaged, content=name in (INDEX, SCHEMA))
    return written
