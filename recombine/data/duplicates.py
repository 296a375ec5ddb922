"""Images that are the same, and images of different splits that are nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recombine.data.workers import Entry


BUCKET = 64                                 # images of one part of a hash that are compared with each other
NEAR_BITS = 3                               # of the 64 that may differ between near-duplicates ...
NEAR_LEVELS = 8                             # ... and how far, on average, their pixels, of 255


def perceptual_hash(pixels: np.ndarray) -> str:
    """The difference hash of an image: whether each of 8 x 8 fields is darker than its right neighbour, 16 digits."""
    grey = pixels.mean(axis=0, dtype=np.float32)
    rows = np.linspace(0, grey.shape[0], 8, endpoint=False).astype(int)
    columns = np.linspace(0, grey.shape[1], 9, endpoint=False).astype(int)
    fields = np.add.reduceat(np.add.reduceat(grey, rows, axis=0), columns, axis=1)
    heights, widths = np.diff(np.append(rows, grey.shape[0])), np.diff(np.append(columns, grey.shape[1]))
    fields /= np.maximum(heights, 1)[:, None] * np.maximum(widths, 1)
    return np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes().hex()


def duplicates(entries: Sequence[Entry], images: np.ndarray, splits: Sequence[str] | np.ndarray) -> list[dict]:
    """Images that are the same, and images in different splits that are nearly the same.

    Args:
        entries: One for each image.
        images: [images, channels, height, width].
        splits: The split of each image.

    Returns:
        `{"kind": "same" or "nearly the same", "files": [...], "splits": [...]}` for each group or pair.
    """
    groups = defaultdict(list)
    for row, entry in enumerate(entries):
        groups[entry.pixel_hash].append(row)
    same = [rows for rows in groups.values() if len(rows) > 1]
    near = near_pairs([rows[0] for rows in groups.values()], entries, images, splits)
    return [
        {"kind": kind, "files": [entries[r].file for r in rows], "splits": [str(splits[r]) for r in rows]}
        for kind, found in (("same", same), ("nearly the same", near))
        for rows in found
    ]


def near_pairs(
    rows: Sequence[int], entries: Sequence[Entry], images: np.ndarray, splits: Sequence[str] | np.ndarray
) -> list[tuple[int, int]]:
    """Pairs of rows of different splits whose perceptual hashes differ in few bits and whose pixels differ little.

    Hashes within `NEAR_BITS` share at least one of four 16-bit parts, so only those are compared.
    """
    found = set()
    bits = {row: int(entries[row].pixel_look, 16) for row in rows}
    for shift in range(0, 64, 16):
        buckets = defaultdict(list)
        for row in rows:
            buckets[bits[row] >> shift & 0xFFFF].append(row)
        for bucket in buckets.values():
            for a, b in near_in(sorted(bucket, key=lambda row: bits[row])):
                if splits[a] != splits[b] and (bits[a] ^ bits[b]).bit_count() <= NEAR_BITS:
                    found.add((min(a, b), max(a, b)))
    return sorted(pair for pair in found if level_difference(images[pair[0]], images[pair[1]]) <= NEAR_LEVELS)


def near_in(bucket: Sequence[int]) -> Iterator[tuple[int, int]]:
    """All pairs of a small bucket; of a large one, those close to each other in its order."""
    if len(bucket) <= BUCKET:
        yield from combinations(bucket, 2)
    else:
        yield from ((a, b) for i, a in enumerate(bucket) for b in bucket[i + 1 : i + 9])


def level_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference of two images, of 255."""
    return float(np.abs(a.astype(np.float32) - b.astype(np.float32)).mean()) * 255 / np.iinfo(a.dtype).max
