"""Tables with a column of paths: a Hugging Face imagefolder's metadata, or any CSV, TSV, JSON-lines or Parquet file."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from pathlib import Path

from recombine.data.sources.cells import SPREADSHEETS, TABLE_SUFFIXES, BadTable, Cells, join_cells, read_cells
from recombine.data.sources.labels import SPLITS
from recombine.data.sources.matching import Rows, listed, match
from recombine.data.sources.options import SourceOptions
from recombine.data.sources.paths import Listing
from recombine.data.sources.source import Source
from recombine.messages import option, shown

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_metadata(listing: Listing, options: SourceOptions) -> Source | None:
    """An imagefolder's metadata, at the top or in folders; folders called train, val and test are splits."""
    if options.table is not None:
        return None
    by_folder: dict[str, str] = {}
    for name in METADATA:
        for file in listing.files:
            if posixpath.basename(file) == name and file.count("/") <= 1:
                by_folder.setdefault(posixpath.dirname(file), file)
    if not by_folder:
        return None
    if "" in by_folder:
        by_folder = {"": by_folder[""]}
    parts = {folder: read_cells(listing.root / file, file) for folder, file in by_folder.items()}
    if len(parts) > 1:
        parts = {folder: _below(folder, by_folder[folder], cells) for folder, cells in parts.items()}
    splits = [SPLITS.get(folder.lower(), "") for folder, cells in parts.items() for _ in range(len(cells))]
    column = "file_name" if all("file_name" in cells.columns for cells in parts.values()) else None
    folders = tuple(parts) if len(parts) == 1 else ()
    cells = join_cells(list(parts.values()))
    return match(Rows(cells, column, folders, splits=splits if all(splits) else None), listing, options)


def _below(folder: str, file: str, cells: Cells) -> Cells:
    """The metadata of one of several folders, with paths that start at the top."""
    if "file_name" not in cells.columns:
        raise BadTable(f"{file} has no column file_name; it has {shown(list(cells.columns))}")
    paths = [posixpath.join(folder, text) for text in cells.columns["file_name"]]
    return replace(cells, columns={**cells.columns, "file_name": paths})


def read_table(listing: Listing, options: SourceOptions) -> Source | None:
    """The table that was asked for, whose paths may start from its own folder, or the one table at the top."""
    if options.table is not None:
        table = Path(options.table).resolve()
        own = table.parent.relative_to(listing.root).as_posix() if table.is_relative_to(listing.root) else "."
        return match(Rows(read_cells(options.table), folders=(own,) if own != "." else ()), listing, options)
    top = [name for name in listing.files if "/" not in name]
    tables = [name for name in top if name.lower().endswith(TABLE_SUFFIXES)]
    if len(tables) > 1:
        found = f"{listing.root} holds {len(tables)} tables: {listed(tables)}"
        raise BadTable(f"{found}; say which one with {option('table')}")
    chosen = tables or [name for name in top if name.lower().endswith(SPREADSHEETS)]    # which read_cells refuses
    return match(Rows(read_cells(listing.root / chosen[0])), listing, options) if chosen else None
