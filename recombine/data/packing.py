"""Pack a folder of images: every one is read once; what is interrupted goes on, what changed is read again."""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import numpy as np

from recombine.data import packed
from recombine.data.decoding import decode_noted
from recombine.data.packed import BadPack, Column, Pack, finish, index_columns, open_images, write_header, write_pack
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.data.sources.labels import LabelTable, split_by_group
from recombine.data.workers import Decoder, Entry, Job, decode_all
from recombine.files import check_writable, digest, new_file, open_log, open_reserved, save_errors, sync, write_text
from recombine.locks import lock
from recombine.messages import nearest, option, printable, shown
from recombine.progress import Bar

if TYPE_CHECKING:
    from recombine.data.sources.norb import Stereo
    from recombine.data.sources.source import Source

JOURNAL, PART = "journal.jsonl", "images.part"  # of a packing that is not finished
EVERY = 2.0                                 # seconds between two notes of progress that survive a power cut
STAMPS = ("source_size", "source_time", "source_hash", "pixel_hash", "pixel_look")  # columns of the index from here
EXCLUDED = ("file", "kind", "reason", "source_size", "source_time")  # what is reported of an image that is left out
BUCKET = 64                                 # images of one part of a hash that are compared with each other
NEAR_BITS = 3                               # of the 64 that may differ between near-duplicates ...
NEAR_LEVELS = 8                             # ... and how far, on average, their pixels, of 255


class BadImages(ValueError):
    """Images that cannot be used; found after all were read.

    Attributes:
        problems: For each a mapping with "file", "kind" (a word to count by), "reason" and more.
    """

    def __init__(self, problems: list[dict], total: int, report: Path):
        self.problems = problems
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(p["kind"] for p in problems).most_common())
        lines = [f"  {printable(p['file'])}: {p['reason']}" for p in problems[:10]]
        more = [f"  ... and {len(problems) - 10} more"] if len(problems) > 10 else []
        super().__init__(
            f"{len(problems)} of {total} images cannot be used ({kinds}); repair or remove them, or leave them out "
            f"with {option('on_bad', 'skip')}; what was read is kept, all are listed in {report}\n"
            + "\n".join(lines + more)
        )


def pack(
    source: Source, folder: str | Path, schema: Schema, *, workers: int | None = None,
    on_bad: Literal["error", "skip"] = "error", allow_truncated: bool = False, verify: bool = False,
    seed: int = 0, progress: bool = True, decoder: Decoder = decode_noted,
) -> Pack:  # fmt: skip
    """Decode, orient and resize every image of a source once.

    An interrupted packing goes on where it stopped when it is called again; on a finished pack only files that changed
    are read again, and labels are taken over.

    Args:
        source: Images and label table.
        folder: Of the pack; made if needed.
        schema: Image format; without attributes it gets the table's, with attributes the labels are recoded to them.
        workers: Processes; all cores unless given, 1 for none besides this one.
        on_bad: Whether images that cannot be used are an error, after all were read, or left out.
        allow_truncated: Keep the top part of JPEG files that are cut off.
        verify: Compare the bytes of files, not only size and time, with what was packed before.
        seed: Of the splits, where the table has none.
        progress: Show a bar.
        decoder: What reads a file: `(bytes, schema, allow_truncated) -> (pixels, notes)`, for formats of your own.

    Returns:
        The pack; `problems()` lists what was left out, read again, odd or there twice.

    Raises:
        BadImages: With `on_bad="error"`, or where no image can be used.
        ValueError: The labels do not fit the schema.
        OSError: The folder cannot be written, or its disk is full.
    """
    folder, table = Path(folder), source.table
    schema = schema if schema.attributes else replace(schema, attributes=tuple(table.attributes))
    labels = {attribute.name: recoded(attribute, table) for attribute in schema.attributes}
    splits = table.splits if table.splits is not None else split_by_group(table, seed)
    columns = index_columns(schema, table.files, labels, splits)
    check_writable(folder)
    with lock(folder):
        if source.stored is not None:
            return pack_stored(source.stored, folder, schema, table.files, columns, progress)
        packing = Packing(folder, Job(Path(source.root), schema, allow_truncated, decoder), table.files, verify)
        if packing.is_done(columns, on_bad):
            return Pack(folder)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        packing.gather(workers or cores, progress)
        return packing.assemble(columns, on_bad)


def pack_stored(
    stored: Stereo, folder: Path, schema: Schema, files: Sequence[str], columns: Mapping[str, Column], progress: bool
) -> Pack:
    """Pack images that are no files of their own; takes seconds, so an interrupted call starts again."""
    from rich.progress import track

    labels = {a.name: columns[f"label.{a.name}"] for a in schema.attributes}
    old = finished(folder)
    if old is not None and old.schema == schema and old.files == files and same_columns(old, columns, slice(None)):
        return old
    chunks = track(stored.chunks(schema), "packing", disable=not progress, transient=True)
    return write_pack(folder, chunks, schema, files, labels, columns["split"])


def finished(folder: Path) -> Pack | None:
    """The pack that is there; None where there is none that could be opened."""
    try:
        return Pack(folder)
    except BadPack:
        return None


def same_columns(old: Pack, columns: Mapping[str, Column], rows: Sequence[int] | slice) -> bool:
    """Whether a pack's splits and labels are these rows of new columns."""
    stored = {"split": old.splits, **{f"label.{name}": column for name, column in old.labels.items()}}
    new = {name: np.asarray(columns[name])[rows] for name in stored}
    return all(np.array_equal(c, new[name], equal_nan=c.dtype.kind == "f") for name, c in stored.items())


class Packing:
    """One packing: pixels of all images gather in `images.part`, what is known of their files in `journal.jsonl`.

    The journal has an entry a line below a title, which is what is being packed; one of anything else is thrown away.
    A call goes through `is_done`, `gather` and `assemble`; after an interruption the next call does the same and finds
    what was gathered. An image comes from the first of these that has it as its file is today: the interrupted packing
    (`keep_fresh`), the finished pack (`take_over`), the file itself (`decode`).
    """

    def __init__(self, folder: Path, job: Job, files: Sequence[str], verify: bool):
        self.folder, self.job, self.files, self.verify = folder, job, files, verify
        preparation = [replace(job.schema, attributes=()).to_json(), job.allow_truncated, job.decoder.__qualname__]
        names = digest("\n".join(map(ascii, files)).encode())
        title = {"format": packed.FORMAT, "preparation": preparation, "files": names}
        self.title, self.entries = json.loads(json.dumps(title)), dict[int, Entry]()
        self.bytes_each = math.prod(job.schema.shape) * job.schema.dtype.itemsize
        old = finished(folder)
        stored = old.problems().get("preparation") if old is not None and set(STAMPS) <= old.index.keys() else None
        self.old = old if stored == self.title["preparation"] else None
        self.changed = stale(self.old, job.root, verify) if self.old else []

    def is_done(self, columns: Mapping[str, Column], on_bad: str) -> bool:
        """Whether the finished pack is what would come out."""
        if self.old is None or self.old.schema != self.job.schema or self.changed:
            return False
        root, excluded = self.job.root, {e["file"]: as_entry(e) for e in self.old.problems()["excluded"]}
        repaired = any(not entry.fresh(root) and (root / file).exists() for file, entry in excluded.items())
        if repaired or (excluded and on_bad == "error"):
            return False
        rows = [row for row, file in enumerate(self.files) if file not in excluded]
        return [self.files[row] for row in rows] == self.old.files and same_columns(self.old, columns, rows)

    def gather(self, workers: int, progress: bool) -> None:
        if (self.folder / PART).exists():
            self._read_journal()
        with save_errors(self.folder / PART, len(self.files) * self.bytes_each), self._open_part() as part:
            self.keep_fresh(part)
            lines = [self.title, *([row, asdict(entry)] for row, entry in self.entries.items())]
            write_text(self.folder / JOURNAL, "".join(json.dumps(line) + "\n" for line in lines))
            bar = Bar("packing", len(self.files), shown=progress, stays=True)
            with open_log(self.folder / JOURNAL) as self.log, bar:
                try:
                    self.take_over(part)
                    bar.reach(len(self.entries))
                    self.decode(part, workers, bar)
                finally:
                    self._sync(part)

    def _read_journal(self) -> None:
        """Take over the rows of an interrupted packing of the same title; a torn last line is ignored."""
        try:
            lines = (self.folder / JOURNAL).read_text("utf-8").split("\n")[:-1]
            if lines and json.loads(lines[0]) == self.title:
                for line in lines[1:]:
                    row, entry = json.loads(line)
                    self.entries[row] = Entry(**{**entry, "notes": tuple(entry["notes"])})
        except (FileNotFoundError, ValueError):
            return

    def _add(self, row: int, entry: Entry) -> None:
        """Note a row that is done; it lasts from the next `sync` on."""
        self.entries[row] = entry
        self.log.write(json.dumps([row, asdict(entry)]) + "\n")

    def _open_part(self) -> BinaryIO:
        return open_reserved(self.folder / PART, len(self.files) * self.bytes_each)

    def _sync(self, part: BinaryIO) -> None:
        sync(part)
        sync(self.log)

    def _read(self, part: BinaryIO, row: int) -> bytes:
        part.seek(row * self.bytes_each)
        return part.read(self.bytes_each)

    def _write(self, part: BinaryIO, row: int, pixels: np.ndarray) -> None:
        if (pixels.shape, pixels.dtype) != (self.job.schema.shape, self.job.schema.dtype):
            expected = f"{self.job.schema.shape} of {self.job.schema.dtype}"
            came = f"{pixels.shape} of {pixels.dtype} for {printable(self.files[row])}"
            raise ValueError(f"the decoder must give {expected}, it gave {came}")
        part.seek(row * self.bytes_each)
        part.write(np.ascontiguousarray(pixels).data)

    def keep_fresh(self, part: BinaryIO) -> None:
        """Keep of an interrupted packing the rows whose file is unchanged and whose pixels arrived on the disk."""
        for row, entry in list(self.entries.items()):
            usable = not entry.kind and entry.fresh(self.job.root, self.verify)
            if not usable or digest(self._read(part, row)) != entry.pixel_hash:
                del self.entries[row]

    def take_over(self, part: BinaryIO) -> None:
        """Copy from the finished pack what has not changed since."""
        if self.old is None:
            return
        changed = set(self.changed)
        usable = {e.file: (e, image) for image, e in enumerate(packed_entries(self.old)) if e.file not in changed}
        for row, file in enumerate(self.files):
            if file in usable and row not in self.entries:
                entry, image = usable[file]
                self._write(part, row, self.old.images[image])
                self._add(row, entry)

    def decode(self, part: BinaryIO, workers: int, bar: Bar) -> None:
        """Decode the rows that are still lacking, and store them."""
        rows = [row for row in range(len(self.files)) if row not in self.entries]
        synced = time.monotonic()
        for done in decode_all(self.job, rows, self.files, workers):
            for row, entry, pixels in done:
                if pixels is not None:
                    self._write(part, row, pixels)
                self._add(row, entry)
            if time.monotonic() - synced > EVERY:
                self._sync(part)
                synced = time.monotonic()
            bar.reach(len(self.entries))

    def assemble(self, columns: Mapping[str, Column], on_bad: str) -> Pack:
        """Make the pack of the images that can be used, and the report on the others."""
        entries = [self.entries[row] for row in range(len(self.files))]
        good = [row for row, entry in enumerate(entries) if not entry.kind]
        excluded = [{name: getattr(e, name) for name in EXCLUDED} for e in entries if e.kind]
        if excluded and (on_bad == "error" or not good):
            write_text(self.folder / packed.PROBLEMS, json.dumps({"excluded": excluded}, indent=1))
            raise BadImages(excluded, len(entries), self.folder / packed.PROBLEMS)
        used = [entries[row] for row in good]
        chosen = {name: np.asarray(column)[good] for name, column in columns.items()}
        problems = {
            "preparation": self.title["preparation"],
            "excluded": excluded,
            "changed": self.changed,
            "notes": [{"file": entry.file, "notes": entry.notes} for entry in used if entry.notes],
            "duplicates": duplicates(used, self._images(good), chosen["split"]),
        }
        stamps = {name: [getattr(entry, name) for entry in used] for name in STAMPS}
        pack = finish(self.folder, self.job.schema, chosen | stamps, problems)
        for name in (JOURNAL, PART):
            (self.folder / name).unlink()
        return pack

    def _images(self, good: Sequence[int]) -> np.ndarray:
        """The usable images, in order, as a new file `images.npy` that is not published yet."""
        path = self.folder / packed.IMAGES
        with save_errors(path, len(good) * self.bytes_each), self._open_part() as part, new_file(path) as file:
            write_header(file, len(good), self.job.schema)
            for row in good:
                file.write(self._read(part, row))
        return open_images(Path(file.name), len(good), self.job.schema)


def stale(pack: Pack, root: str | Path, verify: bool = False) -> list[str]:
    """Files that were changed or removed after packing, by size and time, or with `verify` by every byte."""
    return [entry.file for entry in packed_entries(pack) if not entry.fresh(Path(root), verify)]


def left_out(folder: Path, root: Path) -> list[dict]:
    """What an earlier packing into this folder reported of images that cannot be used and are as they were."""
    try:
        found = json.loads((folder / packed.PROBLEMS).read_text("utf-8")).get("excluded", [])
    except (FileNotFoundError, ValueError):
        return []
    return [problem for problem in found if as_entry(problem).fresh(root)]


def as_entry(problem: Mapping) -> Entry:
    """The state of a file when it was found that it cannot be used."""
    return Entry(problem["file"], problem["source_size"], problem["source_time"])


def packed_entries(pack: Pack) -> list[Entry]:
    """What a pack stores of the files that it was made of; raises ValueError where it was made of none."""
    if not set(STAMPS) <= pack.index.keys():
        raise ValueError(f"{pack.path} was not packed from files, so none can have changed")
    notes = {note["file"]: tuple(note["notes"]) for note in pack.problems().get("notes", ())}
    columns = [pack.index[name].tolist() for name in STAMPS]
    return [Entry(file, *stamps, notes=notes.get(file, ())) for file, *stamps in zip(pack.files, *columns, strict=True)]


def recoded(attribute: Attribute, table: LabelTable) -> np.ndarray:
    """A table's column in the numbers of an attribute that may list its values in another order."""
    names = [a.name for a in table.attributes]
    if attribute.name not in names:
        raise ValueError(f"the table has no {attribute.name!r}; it has {shown(names)}{nearest(attribute.name, names)}")
    column, own = table.columns[attribute.name], table[attribute.name]
    if attribute.kind != own.kind:
        raise ValueError(f"{attribute.name} is {own.kind} in the table and {attribute.kind} in the schema")
    if attribute.kind == "continuous" or attribute.values == own.values:
        return column
    places = {value: place for place, value in enumerate(attribute.values)}
    number = [places[value] if value in places else attribute.index(value) for value in own.values]
    return np.array([*number, MISSING])[column]


def duplicates(entries: Sequence[Entry], images: np.ndarray, splits: Sequence[str] | np.ndarray) -> list[dict]:
    """Images that are the same, and images in different splits that are nearly the same, as the report has them.

    An entry, a split and `images` [images, channels, height, width] are given for each image.
    """
    groups = defaultdict(list)
    for row, entry in enumerate(entries):
        groups[entry.pixel_hash].append(row)
    same = [rows for rows in groups.values() if len(rows) > 1]
    found, bits = set(), {rows[0]: int(entries[rows[0]].pixel_look, 16) for rows in groups.values()}
    for shift in range(0, 64, 16):          # hashes within `NEAR_BITS` share at least one of four 16-bit parts
        buckets = defaultdict(list)
        for row in sorted(bits, key=lambda row: bits[row]):
            buckets[bits[row] >> shift & 0xFFFF].append(row)
        for bucket in buckets.values():
            reach = len(bucket) if len(bucket) <= BUCKET else 8     # of a large bucket, those close in its order
            for a, b in ((a, b) for i, a in enumerate(bucket) for b in bucket[i + 1 : i + 1 + reach]):
                if splits[a] != splits[b] and (bits[a] ^ bits[b]).bit_count() <= NEAR_BITS:
                    found.add((min(a, b), max(a, b)))
    most = NEAR_LEVELS * np.iinfo(images.dtype).max / 255
    near = sorted((a, b) for a, b in found if np.abs(images[a].astype(np.float32) - images[b]).mean() <= most)
    return [
        {"kind": kind, "files": [entries[r].file for r in rows], "splits": [str(splits[r]) for r in rows]}
        for kind, found in (("same", same), ("nearly the same", near))
        for rows in found
    ]
