"""Many files become pixels: processes that decode, a journal that survives interruption, and the search for duplicates.

`packing.pack` puts these together. Workers never die of a bad image; where one is killed all the same, the image it
was reading is tried once more alone and named.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from recombine.data.decoding import BadImage, decode_noted, read_bytes
from recombine.data.duplicates import look
from recombine.data.schema import Schema
from recombine.files import digest, write_text

CHUNK = 32                                  # images that a worker takes at a time
FEW = 500                                  # images for which no processes are started: that takes seconds
Decoder = Callable[[bytes, Schema, bool], tuple[np.ndarray, list[str]]]


@dataclass(frozen=True)
class Entry:
    """What packing knows of one file."""

    file: str
    source_size: int = 0                    # bytes
    source_time: int = 0                    # last change, nanoseconds
    source_hash: str = ""                   # of the file
    pixel_hash: str = ""                    # of the pixels in the pack
    pixel_look: str = ""                    # 64 bits that are nearly equal for images that look nearly equal
    notes: tuple[str, ...] = ()             # odd but bearable
    kind: str = ""                          # why it cannot be used, in a word ...
    reason: str = ""                        # ... and in a sentence

    def fresh(self, root: Path, verify: bool = False) -> bool:
        """Whether the file is still as it was read; `verify` compares its bytes too."""
        try:
            size, time = stamp(root / self.file)
            same = (size, time) == (self.source_size, self.source_time)
            return same and (not verify or digest(read_bytes(root / self.file)) == self.source_hash)
        except (OSError, BadImage):
            return False


@dataclass(frozen=True)
class Job:
    """What every worker is told."""

    root: Path
    schema: Schema
    allow_truncated: bool = False
    decoder: Decoder = decode_noted
    marks: Path | None = None               # where a worker notes which image it is reading

    def run(self, rows: Sequence[int], files: Sequence[str]) -> tuple[Sequence[int], list[Entry], list[np.ndarray]]:
        """Decode some files: their rows, an entry each, and the pixels of those that can be used."""
        entries, pixels = [], []
        for row, file in zip(rows, files, strict=True):
            self._mark(row)
            entry, picture = self.one(file)
            entries.append(entry)
            if picture is not None:
                pixels.append(picture)
        return rows, entries, pixels

    def one(self, file: str) -> tuple[Entry, np.ndarray | None]:
        """Decode one file."""
        entry = Entry(file)
        try:
            size, time = stamp(self.root / file)
            entry = replace(entry, source_size=size, source_time=time)
            data = read_bytes(self.root / file)
            pixels, notes = self.decoder(data, self.schema, self.allow_truncated)
        except BadImage as error:
            return replace(entry, kind=error.kind, reason=error.reason), None
        except OSError as error:
            return replace(entry, kind="unreadable", reason=f"cannot be read: {error.strerror}"), None
        except UnicodeEncodeError:
            return replace(entry, kind="unreadable", reason="its name is not valid UTF-8; rename it"), None
        hashes = {"source_hash": digest(data), "pixel_hash": digest(pixels), "pixel_look": look(pixels)}
        return replace(entry, **hashes, notes=tuple(notes)), pixels

    def _mark(self, row: int) -> None:
        if self.marks:
            (self.marks / str(os.getpid())).write_text(str(row))


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; raises UnicodeEncodeError for a name that no index can hold."""
    str(path).encode()
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


Result = tuple[Sequence[int], list[Entry], list[np.ndarray]]


def decode_all(job: Job, rows: Sequence[int], files: Sequence[str], workers: int) -> Iterator[Result]:
    """Decode files `files[row]` for all `rows`, in any order, in processes where there are many.

    Raises:
        RuntimeError: Workers die again and again and no image is to blame.
    """
    if workers <= 1 or len(rows) <= FEW:
        yield from (job.run(part, [files[r] for r in part]) for part in chunks(rows, CHUNK))
        return
    marks = Path(tempfile.mkdtemp(prefix="recombine-pack-"))
    try:
        yield from _decode_in_processes(replace(job, marks=marks), marks, rows, files, workers)
    finally:
        shutil.rmtree(marks, ignore_errors=True)


def _decode_in_processes(
    job: Job, marks: Path, rows: Sequence[int], files: Sequence[str], workers: int
) -> Iterator[Result]:
    left = dict.fromkeys(rows)
    for attempt in range(8):
        try:
            for result in in_pool(job, list(left), files, max(2, workers >> attempt)):
                for row in result[0]:
                    del left[row]
                yield result
            return
        except BrokenProcessPool:
            for row in suspects(marks, left):
                yield alone(job, row, files[row])
                del left[row]
    raise RuntimeError(
        f"the processes that decode images keep dying, {len(left)} images are left; this is mostly a lack of memory: "
        "use fewer workers, or 1 to see the error itself"
    )


def in_pool(job: Job, rows: Sequence[int], files: Sequence[str] | Mapping[int, str], workers: int) -> Iterator[Result]:
    """Decode in a pool of processes; raises BrokenProcessPool where one dies."""
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, idle_worker_timeout=20):
        tasks = (delayed(job.run)(part, [files[r] for r in part]) for part in chunks(rows, CHUNK))
        pool = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="3 * n_jobs")  # type: ignore[arg-type]
        yield from pool(tasks)  # type: ignore[misc]


def suspects(marks: Path, left: Iterable[int]) -> list[int]:
    """Rows that workers were reading when one of them died."""
    noted = [path.read_text() for path in marks.iterdir()]
    for path in marks.iterdir():
        path.unlink()
    return sorted({int(text) for text in noted if text} & set(left))


def alone(job: Job, row: int, file: str) -> Result:
    """One image in a process of its own; if that dies too, the image is the culprit."""
    try:
        return next(iter(in_pool(job, [row], {row: file}, 2)))
    except BrokenProcessPool:
        reason = "the process that read it died twice, for lack of memory or by a fault in a decoder; make it smaller"
        return [row], [Entry(file, kind="deadly", reason=reason)], []


def chunks(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive parts of a sequence."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@dataclass
class Journal:
    """Entries written one a line, so that an interrupted packing can go on.

    The first line says what was being packed; a journal of anything else is thrown away.
    """

    path: Path
    title: dict
    entries: dict[int, Entry] = field(default_factory=dict)

    def read(self) -> None:
        """Take over the rows of an interrupted packing of the same; a torn last line is ignored."""
        try:
            lines = self.path.read_text("utf-8").split("\n")[:-1]
            if lines and json.loads(lines[0]) == self.title:
                for line in lines[1:]:
                    row, entry = json.loads(line)
                    self.entries[row] = Entry(**{**entry, "notes": tuple(entry["notes"])})
        except (FileNotFoundError, ValueError):
            return

    def start(self) -> None:
        """Open the journal for adding, with the rows that are kept."""
        lines = [self.title, *([row, asdict(entry)] for row, entry in self.entries.items())]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self.file = open(self.path, "a", encoding="utf-8")

    def add(self, rows: Iterable[int], entries: Iterable[Entry]) -> None:
        """Note rows that are done; they last from the next `sync` on."""
        for row, entry in zip(rows, entries, strict=True):
            self.entries[row] = entry
            self.file.write(json.dumps([row, asdict(entry)]) + "\n")

    def sync(self) -> None:
        """Have the disk keep what was noted."""
        self.file.flush()
        os.fsync(self.file.fileno())
