"""A folder of labelled images is read by the first layout that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recombine.data.sources.celeba import read_celeba
from recombine.data.sources.cells import BadTable
from recombine.data.sources.classes import read_class_folders
from recombine.data.sources.norb import read_norb
from recombine.data.sources.options import SourceOptions
from recombine.data.sources.paths import SUFFIXES, walk
from recombine.data.sources.patterns import read_pattern
from recombine.data.sources.source import Source
from recombine.data.sources.tables import read_metadata, read_table

# Each gives a source, or None where the folder is laid out otherwise.
LAYOUTS = (read_pattern, read_norb, read_metadata, read_celeba, read_table, read_class_folders)


def read_source(path: Path | str, options: SourceOptions | None = None, *, strict: bool = True) -> Source:
    """Find the label table of a folder, read it, and match it with the images.

    Understood are a Hugging Face imagefolder (`metadata.csv`, `.jsonl` or `.parquet`), CelebA's own files, any CSV,
    TSV, JSON-lines or Parquet table with a column of paths, small NORB's binary files, and a folder for each class, all
    of them also below `train/`, `val/` and `test/`; and labels in names, described by a pattern.

    Args:
        path: The folder of images, or a table that lies in it.
        options: What cannot be seen, or would be guessed wrong, and what to do with what does not fit.
        strict: Raise at the end if there are errors; otherwise they are left among the notes and the rows concerned
            are dropped, the cells missing.

    Raises:
        ValueError: The source cannot be used as it is; all that is wrong, each with place, value and what to do.
        FileNotFoundError: There is no such file or folder.
    """
    options = options or SourceOptions()
    root, table = _located(path, options.table)
    if options.pattern is not None and table is not None:
        raise ValueError(f"a pattern takes labels from names, and the table {table} has them too; give one of the two")
    options, listing = replace(options, table=table), walk(root, options.links)
    source = next(source for read in LAYOUTS if (source := read(listing, options)) is not None)
    return source.checked() if strict else source


def _located(path: Path | str, table: Path | str | None) -> tuple[Path, Path | None]:
    """The folder of images and the table that was asked for, both existing."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; expected a folder of images, or a table that lies in one")
    if path.is_file() and path.name.lower().endswith(SUFFIXES):
        raise BadTable(f"{path} is one image; expected a folder of images, or a table that lies in one")
    if path.is_file():
        return path.parent, path if table is None else Path(table)
    if table is None:
        return path, None
    choices = [Path(table).expanduser(), path / table]
    for choice in choices:
        if choice.is_file():
            return path, choice
    raise FileNotFoundError(f"there is no table {table}, neither here nor in {path}")
