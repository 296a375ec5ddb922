"""Columns of many rows in few bytes: what is read from them is what an array or a list of them would give.

A million rows with 40 labels are 320 MB as int64, and their file names 100 MB as Python strings; here they are 40 MB,
and names are read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.lib.mixins import NDArrayOperatorsMixin

PIECE = 65_536                              # rows that are unfolded at a time


class Compact(NDArrayOperatorsMixin):
    """A column [rows] that stands for an array of int64, or of some of few values, and holds it in few bytes.

    Rows that are taken from it are arrays, and so is what numpy makes of it; to torch, give `np.asarray` of it.

    Args:
        codes: [rows] integers of any width: the numbers themselves, or their places in `values`.
        values: What the codes stand for, if not for themselves.
    """

    ndim = 1

    def __init__(self, codes: np.ndarray, values: np.ndarray | None = None):
        self.codes, self.values = codes, values
        self.shape, self.dtype = codes.shape, np.dtype(np.int64) if values is None else values.dtype

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Any:
        codes = self.codes[rows]
        return codes.astype(np.int64) if self.values is None else self.values[codes]

    def __iter__(self) -> Iterator:
        return (value for piece in pieces(self) for value in piece)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a compact column becomes an array by a copy alone; leave out copy=False")
        return self[:].astype(dtype or self.dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*(np.asarray(i) if isinstance(i, Compact) else i for i in inputs), **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("codes", "values"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        return f"Compact({np.array2string(self[:], threshold=20)}, {self.codes.dtype} for {self.dtype})"


def narrowed(column: np.ndarray) -> np.ndarray | Compact:
    """A column of int64 with as few bytes as its numbers need; any other as it is."""
    if column.dtype != np.int64:
        return column
    low, high = column.min(initial=0), column.max(initial=0)
    fits = (kind for kind in (np.int8, np.int16, np.int32) if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return Compact(column.astype(next(fits, np.int64)))


def below(columns: Iterable[Compact | np.ndarray]) -> np.ndarray | Compact:
    """Columns of one meaning below each other."""
    parts = list(columns)
    compact = [part for part in parts if isinstance(part, Compact)]
    if len(compact) < len(parts) or len({id(part.values) for part in compact}) > 1:
        return np.concatenate(list(map(np.asarray, parts)))
    return Compact(np.concatenate([part.codes for part in compact]), compact[0].values)


class Texts(Sequence[str]):
    """Texts in one block of memory instead of an object each; equal to a list of the same texts."""

    def __init__(self, column: pa.ChunkedArray):
        self.column = column

    @staticmethod
    def below(parts: Sequence[Texts]) -> Texts:
        """Several below each other."""
        return Texts(pa.chunked_array([chunk for part in parts for chunk in part.column.chunks], pa.string()))

    def after(self, prefix: str) -> Texts:
        """The same texts, each with another in front."""
        return Texts(pc.binary_join_element_wise(prefix, self.column, ""))  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, rows: Any) -> Any:
        """A text for a number, a list for a slice, and texts for an array of row numbers."""
        if isinstance(rows, slice):
            return self.column[rows].to_pylist()
        return Texts(self.column.take(pa.array(rows))) if isinstance(rows, np.ndarray) else self.column[rows].as_py()

    def __iter__(self) -> Iterator[str]:
        return (text for piece in pieces(self) for text in piece)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({self[:3]}, {len(self)} in all)"


def pieces(column: Any) -> Iterator[Any]:
    """The rows of a column in order, some at a time."""
    return (column[start : start + PIECE] for start in range(0, len(column), PIECE))


class Lazy(Mapping[str, Any]):
    """Columns by name, each read when it is asked for and not kept."""

    def __init__(self, names: Iterable[str], read: Callable[[str], Any]):
        self.names, self.read = tuple(names), read

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        return self.read(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class IndexFile:
    """A Parquet file that stays open, of which columns are read one at a time."""

    def __init__(self, path: Path):
        self.path, self.file = path, pq.ParquetFile(path)
        self.names: list[str] = self.file.schema_arrow.names

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def __reduce__(self) -> tuple:
        return IndexFile, (self.path,)

    def column(self, name: str) -> pa.ChunkedArray:
        return self.file.read(columns=[name], use_threads=False)[name]

    def texts(self, name: str) -> Texts:
        return Texts(self.column(name))

    def array(self, name: str) -> np.ndarray:
        return self.column(name).to_numpy()
