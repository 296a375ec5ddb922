"""Processes that decode many files.

They never die of a bad image; where one is killed all the same, the image it was reading is found and named.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recombine.data.decoding import BadImage, decode_noted, read_bytes
from recombine.data.schema import Schema
from recombine.files import digest

CHUNK = 32                                  # images that a worker takes at a time
AHEAD = 3                                   # chunks that are handed out for each process
FEW = 500                                   # images for which no processes are started: that takes seconds
MOST_DEADLY = 20                            # images that may kill a process before it is not held to be their fault
Decoder = Callable[[bytes, Schema, bool], tuple[np.ndarray, list[str]]]


@dataclass(frozen=True)
class Entry:
    """The record of one file: its state when it was read, hashes, notes, and why it cannot be used."""

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
        except (OSError, ValueError):       # BadImage, or a name that is not UTF-8
            return False


Result = list[tuple[int, Entry, np.ndarray | None]]


@dataclass(frozen=True)
class Job:
    """A decode job, the same for all files; it is sent to every process."""

    root: Path
    schema: Schema
    allow_truncated: bool = False
    decoder: Decoder = decode_noted

    def run(self, rows: Sequence[int], files: Sequence[str]) -> Result:
        """Decode some files: the row of each, its entry, and its pixels where it can be used."""
        return [(row, *self.one(file)) for row, file in zip(rows, files, strict=True)]

    def one(self, file: str) -> tuple[Entry, np.ndarray | None]:
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
        hashes = {"source_hash": digest(data), "pixel_hash": digest(pixels), "pixel_look": perceptual_hash(pixels)}
        return replace(entry, **hashes, notes=tuple(notes)), pixels


def perceptual_hash(pixels: np.ndarray) -> str:
    """The difference hash of an image: whether each of 8 x 8 fields is darker than its right neighbour, 16 digits."""
    grey = pixels.mean(axis=0, dtype=np.float32)
    rows = np.linspace(0, grey.shape[0], 8, endpoint=False).astype(int)
    columns = np.linspace(0, grey.shape[1], 9, endpoint=False).astype(int)
    fields = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    heights, widths = np.diff(np.append(rows, grey.shape[0])), np.diff(np.append(columns, grey.shape[1]))
    fields /= np.maximum(heights, 1)[:, None] * np.maximum(widths, 1)
    return np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes().hex()


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; raises UnicodeEncodeError for a name that no index can hold."""
    str(path).encode()
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def decode_all(job: Job, rows: Sequence[int], files: Sequence[str], workers: int) -> Iterator[Result]:
    """Decode files `files[row]` for all `rows`, in any order, in processes where there are many.

    Where a process was killed, the images that it may have been reading are decoded one at a time, so that the one that
    kills is found, and the others go on in half as many processes.

    Raises:
        RuntimeError: More than `MOST_DEADLY` images kill the process that reads them.
    """
    if workers <= 1 or len(rows) <= FEW:
        yield from (job.run(part, [files[r] for r in part]) for part in chunks(rows))
        return
    left, deadly = dict.fromkeys(rows), 0
    while left:
        try:
            for result in in_pool(job, list(left), files, workers):
                for row, *_ in result:
                    del left[row]
                yield result
        except BrokenProcessPool:
            for row in list(left)[: AHEAD * workers * CHUNK]:
                try:
                    yield from in_pool(job, [row], files, 2)
                except BrokenProcessPool:   # where it dies alone, too, the image is the culprit
                    reason = "the process that read it died twice, for lack of memory or by a fault in a decoder"
                    yield [(row, Entry(files[row], kind="deadly", reason=f"{reason}; make it smaller"), None)]
                    deadly += 1
                del left[row]
                if deadly > MOST_DEADLY:
                    raise RuntimeError(
                        f"the processes that decode images keep dying, {len(left)} images are left; this is mostly a "
                        "lack of memory: use fewer workers, or 1 to see the error itself"
                    ) from None
            workers = max(2, workers // 2)


def in_pool(job: Job, rows: Sequence[int], files: Sequence[str], workers: int) -> Iterator[Result]:
    """Decode in a pool of processes; raises BrokenProcessPool where one dies."""
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, idle_worker_timeout=20):
        tasks = (delayed(job.run)(part, [files[r] for r in part]) for part in chunks(rows))
        options: dict[str, Any] = {"return_as": "generator_unordered", "pre_dispatch": f"{AHEAD} * n_jobs"}
        yield from Parallel(batch_size=1, **options)(tasks)  # type: ignore[misc]


def chunks(rows: Sequence[int]) -> list[Sequence[int]]:
    """What one worker takes at a time."""
    return [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
