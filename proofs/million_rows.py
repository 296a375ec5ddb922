"""`python proofs/million_rows.py FOLDER [ROWS]` makes a pack of many rows and tiny images: a million in 20 s.

It has CelebA's numbers of labels, 40 binary attributes and 10,177 persons, so that what grows with rows can be measured
on a small disk. `make` is for other measurements to import.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Attribute, Schema

ATTRIBUTES, PERSONS = 40, 10_177    # CelebA's
CHUNK = 10_000                      # images made at a time


def make(folder: Path, rows: int = 1_000_000, size: int = 8, seed: int = 0) -> Pack:
    """A pack of `rows` random images of `size` pixels, or the one that an earlier call left in this folder.

    Binary attributes show in the brightness of an image's fields, so that there is something to learn; persons have
    about 20 images each as far as there are rows for it; 80 % are in train, 10 % in val, 10 % in test.
    """
    if (folder / "manifest.json").exists() and len(found := Pack(folder)) == rows:
        return found
    rng, persons = np.random.default_rng(seed), max(2, min(PERSONS, rows // 20))
    names = [f"attribute_{i:02d}" for i in range(ATTRIBUTES)]
    labels = {name: rng.integers(0, 2, rows, dtype=np.int8) for name in names}
    labels["identity"] = rng.integers(0, persons, rows, dtype=np.int32)
    identity = Attribute("identity", "group", tuple(f"person {i}" for i in range(persons)))
    schema = Schema((*(Attribute(name, "binary", ("0", "1")) for name in names), identity), height=size, width=size)
    splits = np.resize(["train"] * 8 + ["val", "test"], rows)
    files = [f"{i:07d}.jpg" for i in range(rows)]
    return write_pack(folder, images(rng, np.stack([labels[name] for name in names], 1), size), schema, files, labels, splits)


def images(rng: np.random.Generator, shown: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Chunks of noise [chunk, 3, size, size], uint8, in which every attribute makes some fields brighter."""
    field = np.arange(3 * size * size) % shown.shape[1]
    for start in range(0, len(shown), CHUNK):
        bright = shown[start : start + CHUNK, field].astype(np.uint8) * 128
        noise = rng.integers(0, 128, bright.shape, dtype=np.uint8)
        yield (bright + noise).reshape(-1, 3, size, size)


if __name__ == "__main__":
    start = time.perf_counter()
    pack = make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
    print(f"{pack!r}, fingerprint {pack.fingerprint}, {time.perf_counter() - start:.0f} s")
