"""Small NORB's binary files, made up in small."""

import struct

import numpy as np

MAGIC = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54, "float32": 0x1E3D4C51}
STEM = "smallnorb-5x46789x9x18x6x2x96x96"


def write(path, array):
    """A matrix as NORB writes it: at least three sizes, those that are not there being 1."""
    sizes = [*array.shape, 1, 1, 1][: max(3, array.ndim)]
    header = struct.pack(f"<{2 + len(sizes)}i", MAGIC[array.dtype.name], array.ndim, *sizes)
    path.write_bytes(header + array.astype(array.dtype.newbyteorder("<")).tobytes())


def part(folder, name, instances, seed):
    """Two elevations, three azimuths and two lightings of two instances of every category, in a mixed order."""
    grid = [(c, i, e, a, li) for c in range(5) for i in instances for e in (0, 8) for a in (0, 2, 34) for li in (0, 5)]
    rows = np.random.default_rng(seed).permutation(np.array(grid, np.int32))
    pictures = np.random.default_rng(seed).integers(0, 256, (len(rows), 2, 96, 96), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{STEM}-{name}-dat.mat", pictures)
    write(folder / f"{STEM}-{name}-cat.mat", rows[:, 0].copy())
    write(folder / f"{STEM}-{name}-info.mat", rows[:, 1:].copy())
    return rows, pictures
