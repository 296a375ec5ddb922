"""A folder of labelled images is read by the first layout that fits.

Here stand also the layouts that no data set owns: tables with a column of paths (a Hugging Face imagefolder's metadata,
or any CSV, TSV, JSON-lines or Parquet file), and a folder for each class, perhaps below a folder for each split.
"""

from __future__ import annotations

import posixpath
from dataclasses import asdict, replace
from pathlib import Path

from recombine.data.sources.celeba import read_celeba
from recombine.data.sources.cells import SPREADSHEETS, TABLE_SUFFIXES, BadTable, Cells, join_cells, read_cells
from recombine.data.sources.labels import SPLITS, LabelTable, find_group
from recombine.data.sources.matching import Rows, listed, match
from recombine.data.sources.norb import read_norb
from recombine.data.sources.paths import SUFFIXES, Listing, walk
from recombine.data.sources.patterns import read_pattern
from recombine.data.sources.source import Source, SourceOptions
from recombine.messages import option, printable, shown

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
MOST_CLASSES = 200      # more folders than this are groups, such as one for each person
LARGEST = 10            # groups that are described by name


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
    if strict and source.errors:            # where no attribute is left the warnings tell why
        reasons = source.errors if source.table.attributes else [note for note in source.notes if note.level != "info"]
        raise BadTable("\n".join(map(str, reasons)))
    return source


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
    for choice in (Path(table).expanduser(), path / table):
        if choice.is_file():
            return path, choice
    raise FileNotFoundError(f"there is no table {table}, neither here nor in {path}")


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
    for folder, cells in parts.items() if len(parts) > 1 else ():
        if "file_name" not in cells.columns:
            raise BadTable(f"{by_folder[folder]} has no column file_name; it has {shown(list(cells.columns))}")
        cells.columns["file_name"] = [posixpath.join(folder, text) for text in cells.columns["file_name"]]
    splits = [SPLITS.get(folder.lower(), "") for folder, cells in parts.items() for _ in range(len(cells))]
    column = "file_name" if all("file_name" in cells.columns for cells in parts.values()) else None
    folders = tuple(parts) if len(parts) == 1 else ()
    cells = join_cells(list(parts.values()))
    return match(Rows(cells, column, folders, splits=splits if all(splits) else None), listing, options)


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


def read_class_folders(listing: Listing, options: SourceOptions) -> Source:
    """Images labelled by the folders that they lie in; images outside are left to be unlabelled."""
    if not listing.images:
        raise BadTable(f"{printable(str(listing.root))} holds no images and no table; is it the right folder?")
    paths = [name.split("/") for name in listing.images]
    while len({parts[0] for parts in paths}) == 1 and any(len(parts) > 2 for parts in paths):
        if paths[0][0].lower() in SPLITS:
            break
        paths = [parts[1:] for parts in paths]  # all lie in one folder, neither class nor split, that holds classes
    by_split = _by_split(paths)
    splits = [SPLITS[parts[0].lower()] if by_split else "" for parts in paths]
    classes = [parts[by_split] if len(parts) > 1 + by_split else "" for parts in paths]
    rows = [row for row in zip(listing.images, splits, classes, strict=True) if row[1] or row[2]]
    files, splits, classes = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    name = "identity" if len(set(classes)) > MOST_CLASSES else "class"
    columns = {"file_name": files, **({name: classes} if any(classes) else {})}
    cells = Cells(columns, files, [0] * len(files))
    return match(Rows(cells, "file_name", splits=splits if by_split else None), listing, options)


def _by_split(paths: list[list[str]]) -> bool:
    """Whether the first folders are splits; a class may be called train, but not if it holds classes itself."""
    folders = {parts[0] for parts in paths if len(parts) > 1}
    splits = {parts[0] for parts in paths if len(parts) > 2 and parts[0].lower() in SPLITS}
    others = sorted(name for name in folders if name.lower() not in SPLITS)
    if splits and others:
        text = f"the folders {listed(sorted(splits))} are splits, and beside them lie {listed(others)}"
        raise BadTable(f"{text}; move those into a split, or keep a folder for each class alone")
    return not others and all(len(parts) > 1 for parts in paths)


# Each gives a source, or None where the folder is laid out otherwise.
LAYOUTS = (read_pattern, read_norb, read_metadata, read_celeba, read_table, read_class_folders)


def describe(source: Source | LabelTable) -> dict:
    """What a source holds, as plain values: images, attributes with counts, splits, groups and notes."""
    table, notes = (source.table, source.notes) if isinstance(source, Source) else (source, ())
    group, splits = find_group(table), table.splits
    return {
        "root": str(source.root) if isinstance(source, Source) else None,
        "pictures": len(table),
        "attributes": [_describe_attribute(table, attribute.name) for attribute in table.attributes],
        "splits": None if splits is None else {s: int((splits == s).sum()) for s in ("train", "val", "test")},
        "group": group.name if group else None,
        "groups": group.num_values if group else None,
        "notes": [asdict(note) for note in notes],
    }


def _describe_attribute(table: LabelTable, name: str) -> dict:
    attribute, known = table[name], table.known(name)
    labelled = {"known": int(known.sum()), "missing": int((~known).sum())}
    entry = {"name": name, "kind": attribute.kind, **labelled, "mirror": attribute.mirror}
    if attribute.kind == "continuous":
        numbers = table.columns[name][known].astype(float)
        spread = {"mean": float(numbers.mean()), "std": float(numbers.std())} if len(numbers) else {}
        return {**entry, "low": attribute.low, "high": attribute.high, **spread}
    counts = table.counts(name)
    if attribute.kind != "group":
        return {**entry, "values": counts}
    largest = dict(sorted(counts.items(), key=lambda item: -item[1])[:LARGEST])
    return {**entry, "groups": len(counts), "single": sum(n == 1 for n in counts.values()), "largest": largest}
