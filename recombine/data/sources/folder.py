"""A folder of images and a label table become one source: which image shows what, and what is wrong with it."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from recombine.data.schema import MISSING
from recombine.data.sources.celeba import PICTURES, find_celeba, read_celeba
from recombine.data.sources.cells import (
    SPREADSHEETS,
    TABLE_SUFFIXES,
    BadTable,
    Cells,
    Note,
    join_cells,
    number,
    printable,
    read_cells,
)
from recombine.data.sources.labels import FEW, SPLITS, LabelTable, NewValues, Stated, find_group, make_table
from recombine.data.sources.norb import KINDS as NORB_KINDS
from recombine.data.sources.norb import Eye, Stereo, find_norb, read_norb
from recombine.data.sources.paths import SUFFIXES, Found, Links, Listing, Resolver, find_base, sample, walk
from recombine.data.sources.patterns import Naming, read_names, with_mirrors
from recombine.messages import nearest, shown

PATH_COLUMNS = ("file_name", "filename", "file", "path", "image", "image_path", "image_id", "img", "picture", "photo")
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
MOST_CLASSES = 200      # more folders than this are groups, such as one for each person
LISTED = 10             # names shown of many


@dataclass
class Source:
    """Images and their labels, before anything is decoded."""

    root: Path
    table: LabelTable
    notes: list[Note]
    stored: Stereo | None = None            # where images are no files; then the table's files are names alone


@dataclass
class _Found:
    """A table and how its paths are to be read."""

    cells: Cells
    column: str | None = None           # of the paths, where the format says so
    folders: tuple[str, ...] = ()       # that paths may start from
    splits: list[str] | None = None     # of each row, where folders say so
    prefer: str = ""                    # of several folders with such images
    naming: Naming = field(default_factory=lambda: Naming(()))  # of names that hold the labels


def read_source(
    path: Path | str,
    *,
    table: Path | str | None = None,
    pattern: str | None = None,
    kinds: Mapping[str, Stated] | None = None,
    attributes: Sequence[str] | None = None,
    image_column: str | None = None,
    eye: Eye = "left",
    unlabelled: Literal["error", "keep", "drop"] = "error",
    absent: Literal["error", "drop"] = "error",
    new_values: NewValues = "error",
    links: Links = "inside",
    few: int = FEW,
    strict: bool = True,
) -> Source:
    """Find the label table of a folder, read it, and match it with the images.

    Understood are a Hugging Face imagefolder (`metadata.csv`, `.jsonl` or `.parquet`), CelebA's own files, any CSV, TSV,
    JSON-lines or Parquet table with a column of paths, small NORB's binary files, and a folder for each class, all of
    them also below `train/`, `val/` and `test/`.

    Args:
        path: The folder of images, or a table that lies in it.
        table: The table, where it cannot be told from the folder; relative to here or to the folder.
        pattern: Where labels stand in file and folder names: how, such as `{identity}/{clip}/*.jpg`, or a name in
            `recombine.data.sources.patterns.PATTERNS`. Images that do not match are dropped with a warning, or kept with
            `unlabelled="keep"`.
        kinds: By column: `binary`, `categorical`, `continuous`, `group`, the values it may have, or an `Attribute`.
        attributes: Columns to use; all that can serve unless given. One asked for that cannot serve is an error.
        image_column: The column of paths.
        eye: Which images of small NORB's stereo pairs: `left`, `right` or `both`.
        unlabelled: Images without a row: `error`, `keep` them with all labels missing (in train, where there are splits),
            or `drop` them.
        absent: Rows without an image: `error`, or `drop` them.
        new_values: Values that do not belong: `error`, `add` them, or read them as `missing`.
        links: Follow links that stay `inside` the folder, or `anywhere`.
        few: Values with fewer images than this are warned about.
        strict: Raise at the end if there are errors; otherwise they are left among the notes and the rows concerned
            are dropped, the cells missing.

    Raises:
        ValueError: The source cannot be used as it is; all that is wrong, each with place, value and what to do.
        FileNotFoundError: There is no such file or folder.
    """
    root, table = _places(path, table)
    if pattern is not None and table is not None:
        raise ValueError(f"a pattern takes labels from names, and the table {table} has them too; give one of the two")
    listing = walk(root, links)
    if pattern is None and table is None and (norb := find_norb(listing.files)):
        cells, parts, stored = read_norb(listing.root, norb, eye)
        options = {"kinds": {**NORB_KINDS, **(kinds or {})}, "attributes": attributes, "new_values": new_values, "few": few}
        splits = None if parts is None else np.array(parts)
        notes = list(cells.notes)
        labels = make_table(cells, cells.columns["file_name"], notes, skip=["file_name"], splits=splits, **options)
        return _checked(Source(listing.root, labels, notes, stored), strict)
    found = _by_pattern(listing, pattern, unlabelled) if pattern is not None else _find_table(listing, table) or _folders(listing)
    notes = [*_skipped(listing), *found.cells.notes]
    column, base = _path_column(found, listing, image_column)
    files = _resolve(found.cells.columns[column], found.cells, Resolver(listing, base, root), absent, notes)
    rows = _unique(files, found.cells, column, notes)
    splits = None if found.splits is None else np.array([found.splits[row] for row in rows.values()], dtype="<U5")
    labels = make_table(
        found.cells.take(list(rows.values())),
        list(rows),
        notes,
        kinds={**_usable_kinds(found), **(kinds or {})},
        attributes=attributes,
        new_values=new_values,
        skip=[column],
        splits=splits,
        few=few,
    )
    mirrors = with_mirrors(labels.attributes, found.naming, notes)
    labels = replace(labels, attributes=tuple(replace(a, mirror=mirrors.get(a.name, a.mirror)) for a in labels.attributes))
    if pattern is None or unlabelled == "keep":
        labels = _with_unlabelled(labels, listing, base, unlabelled, notes)
    if not labels.attributes and unlabelled != "keep":
        fix = "add a table with a column file_name and a column for each label, or a folder for each class"
        notes.append(Note("error", f"{printable(str(root))} has no labels: {len(labels)} images, no attribute", fix))
    return _checked(Source(listing.root, labels, notes), strict)


def _checked(source: Source, strict: bool) -> Source:
    """The source, or BadTable with all that is wrong with it."""
    errors = [note for note in source.notes if note.level == "error"]
    if strict and errors:
        reasons = errors if source.table.attributes else [note for note in source.notes if note.level != "info"]
        raise BadTable("\n".join(map(str, reasons)))
    return source


def _places(path: Path | str, table: Path | str | None) -> tuple[Path, Path | None]:
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


def _skipped(listing: Listing) -> list[Note]:
    notes = []
    for reason, names in listing.skipped.items():
        fix = "set links to 'anywhere' to follow them" if "out of" in reason else ""
        notes.append(Note("warning", f"skipped {len(names)} x {reason}: {_names(names)}", fix))
    return notes


def _names(names: Sequence[str]) -> str:
    return shown([printable(name) for name in names], LISTED)


def _find_table(listing: Listing, table: Path | None) -> _Found | None:
    """The table that was asked for, or that a folder's layout makes obvious; None where folders are the labels."""
    root = listing.root
    if table is not None:
        inside = table.resolve().is_relative_to(root)
        folder = table.resolve().parent.relative_to(root).as_posix() if inside else ""
        if inside and find_celeba([table.resolve().relative_to(root).as_posix()]):
            return _celeba(listing, table.resolve().relative_to(root).as_posix())
        return _Found(read_cells(table), folders=(folder,) if folder != "." else ())
    metadata = _metadata(listing)
    if metadata:
        return metadata
    celeba = find_celeba(listing.files)
    if celeba:
        return _celeba(listing, celeba)
    top = [name for name in listing.files if "/" not in name and name.lower().endswith(TABLE_SUFFIXES)]
    if len(top) > 1:
        raise BadTable(f"{root} holds {len(top)} tables: {_names(top)}; say which one with the option table")
    if top:
        return _Found(read_cells(root / top[0]))
    sheets = [name for name in listing.files if "/" not in name and name.lower().endswith(SPREADSHEETS)]
    return _Found(read_cells(root / sheets[0])) if sheets else None


def _celeba(listing: Listing, attributes: str) -> _Found:
    return _Found(read_celeba(listing.root, listing.files, attributes), "file_name", prefer=PICTURES)


def _metadata(listing: Listing) -> _Found | None:
    """An imagefolder's metadata, at the top or in folders; folders called train, val and test are splits."""
    by_folder: dict[str, str] = {}
    for name in METADATA:
        for file in listing.files:
            if posixpath.basename(file) == name and file.count("/") <= 1:
                by_folder.setdefault(posixpath.dirname(file), file)
    if "" in by_folder:
        by_folder = {"": by_folder[""]}
    if not by_folder:
        return None
    parts, splits = [], []
    for folder, file in by_folder.items():
        cells = read_cells(listing.root / file, file)
        if "file_name" not in cells.columns and len(by_folder) > 1:
            raise BadTable(f"{file} has no column file_name; it has {shown(list(cells.columns))}")
        if len(by_folder) > 1:
            cells.columns["file_name"] = [posixpath.join(folder, text) for text in cells.columns["file_name"]]
        parts.append(cells)
        splits += [SPLITS.get(folder.lower(), "")] * len(cells)
    column = "file_name" if all("file_name" in cells.columns for cells in parts) else None
    folders = tuple(by_folder) if len(by_folder) == 1 else ()
    return _Found(join_cells(parts), column, folders, splits if all(splits) else None)


def _by_pattern(listing: Listing, pattern: str, unlabelled: str) -> _Found:
    names = read_names(listing.pictures, pattern, "" if unlabelled == "keep" else "they were dropped")
    return _Found(names.cells, "file_name", naming=names.naming)


def _usable_kinds(found: _Found) -> dict[str, Stated]:
    """What is known of columns that have more than one value; others can be no attribute, whatever their kind."""
    columns = found.cells.columns
    known = {name: kind for kind, names in found.naming.kinds.items() for name in names}
    return {name: kind for name, kind in known.items() if len({*columns.get(name, ())} - {""}) > 1}


def _folders(listing: Listing) -> _Found:
    """A folder for each class, perhaps below a folder for each split; images outside are left to be unlabelled."""
    if not listing.pictures:
        raise BadTable(f"{printable(str(listing.root))} holds no images and no table; is it the right folder?")
    paths = [name.split("/") for name in listing.pictures]
    while _wrapped(paths):
        paths = [parts[1:] for parts in paths]
    by_split = _by_split(paths)
    splits = [SPLITS[parts[0].lower()] if by_split else "" for parts in paths]
    classes = [parts[by_split] if len(parts) > 1 + by_split else "" for parts in paths]
    rows = [row for row in zip(listing.pictures, splits, classes, strict=True) if row[1] or row[2]]
    files, splits, classes = map(list, zip(*rows, strict=True)) if rows else ([], [], [])
    name = "identity" if len(set(classes)) > MOST_CLASSES else "class"
    columns = {"file_name": files, **({name: classes} if any(classes) else {})}
    return _Found(Cells(columns, files, [0] * len(files)), "file_name", splits=splits if by_split else None)


def _by_split(paths: list[list[str]]) -> bool:
    """Whether the first folders are splits; a class may be called train, but not if it holds classes itself."""
    folders = {parts[0] for parts in paths if len(parts) > 1}
    splits = {parts[0] for parts in paths if len(parts) > 2 and parts[0].lower() in SPLITS}
    others = sorted(name for name in folders if name.lower() not in SPLITS)
    if splits and others:
        text = f"the folders {_names(sorted(splits))} are splits, and beside them lie {_names(others)}"
        raise BadTable(f"{text}; move those into a split, or keep a folder for each class alone")
    return not others and all(len(parts) > 1 for parts in paths)


def _wrapped(paths: list[list[str]]) -> bool:
    """Whether all images lie in one folder that is neither a class nor a split but holds classes."""
    first = {parts[0] for parts in paths}
    return len(first) == 1 and first.pop().lower() not in SPLITS and any(len(parts) > 2 for parts in paths)


def _path_column(found: _Found, listing: Listing, stated: str | None) -> tuple[str, str]:
    """The column whose cells are files, and the folder that they start from."""
    columns, name = found.cells.columns, stated or found.column
    headed = [name for name in columns if name in listing.known and name.lower().endswith(SUFFIXES)]
    if headed:
        raise BadTable(f"the first line holds {printable(headed[0])!r}, a file; expected names of columns: add such a line")
    if name is None and "file_name" in columns:
        name = "file_name"
    if name is not None:
        if name not in columns:
            raise BadTable(f"the table has no column {name!r}; it has {shown(list(columns))}{nearest(name, list(columns))}")
        return name, find_base(listing, columns[name], found.folders, found.prefer)[0]
    scores = {name: _file_share(cells, listing, found) for name, cells in columns.items()}
    best = max(share for share, _ in scores.values())
    winners = [name for name, (share, _) in scores.items() if share == best]
    usual = [name for word in PATH_COLUMNS for name in columns if name.lower().replace(" ", "_") == word]
    if best < 0.5 and not usual:
        raise BadTable(
            f"no column holds paths of files below {listing.root}; there are {shown(list(columns))}, "
            f"and files such as {_names(listing.pictures[:3])}; say which one with the option image_column"
        )
    winners = winners if best >= 0.5 else usual
    winners = [name for name in usual if name in winners] or winners
    if len(winners) > 1 and winners[0] not in usual:
        raise BadTable(f"the columns {shown(winners)} all hold files; say which one with the option image_column")
    return winners[0], scores[winners[0]][1]


def _file_share(cells: Sequence[str], listing: Listing, found: _Found) -> tuple[float, str]:
    texts = sample(cells)
    if len(set(texts)) * 2 < len(texts) or all(number(text.strip()) and "." in text for text in texts):
        return 0.0, ""
    base, share = find_base(listing, texts, found.folders, found.prefer)
    return share, base


def _resolve(texts: Sequence[str], cells: Cells, resolver: Resolver, absent: str, notes: list[Note]) -> list[str | None]:
    """The file of each row, None where there is none, with notes on what was needed to find it."""
    found = [resolver.find(text) for text in texts]
    rules: dict[str, list[int]] = defaultdict(list)
    for row, answer in enumerate(found):
        rules[answer.rule].append(row)
    for rule, rows in rules.items():
        if rule != "as written":
            notes.append(_path_note(rule, rows, texts, cells, found, absent))
    return [answer.file for answer in found]


def _path_note(
    rule: str, rows: list[int], texts: Sequence[str], cells: Cells, found: list[Found], absent: str
) -> Note:
    places = shown([f"{printable(texts[row])!r} ({cells.place(row)})" for row in rows[:LISTED]])
    places += f", ... ({len(rows)} in all)" if len(rows) > LISTED else ""
    if rule == "outside":
        return Note("error", f"{len(rows)} paths lead out of the folder: {places}", "write them relative to it")
    if rule == "ambiguous":
        choices = _names(found[rows[0]].choices)
        return Note("error", f"{len(rows)} paths can mean several files: {places}, the first {choices}", "write them exactly")
    if found[rows[0]].file is None:
        level = "error" if absent == "error" else "warning"
        fix = "add the files, correct the paths, or set absent to 'drop'" if level == "error" else "they were dropped"
        what = "have no image" if rule == "absent" else f"name {rule}, which was not followed"
        return Note(level, f"{len(rows)} of {len(texts)} rows {what}: {places}", fix)
    return Note("info", f"{len(rows)} paths were found by {rule}, such as {printable(texts[rows[0]])!r}")


def _unique(files: list[str | None], cells: Cells, column: str, notes: list[Note]) -> dict[str, int]:
    """The row of each file, the first of several; equal rows are counted, conflicting ones are errors."""
    first: dict[str, int] = {}
    equal, conflicts = [], []
    for row, file in enumerate(files):
        if file is None or first.setdefault(file, row) == row:
            continue
        other = first[file]
        differing = [c for c, t in cells.columns.items() if c != column and t[row].strip() != t[other].strip()]
        if differing:
            values = [repr(cells.columns[differing[0]][r].strip()) for r in (other, row)]
            places = f"{cells.place(other)} and {cells.place(row)}"
            conflicts.append(f"{printable(file)} ({places}: {printable(differing[0])} is {values[0]} and {values[1]})")
        else:
            equal.append(file)
    if equal:
        notes.append(Note("info", f"{len(equal)} rows repeat an earlier one and were dropped: {_names(equal)}"))
    if conflicts:
        text = f"{len(conflicts)} rows contradict an earlier row of the same image: {shown(conflicts, LISTED)}"
        notes.append(Note("error", text, "keep one row for each image"))
    return first


def _with_unlabelled(labels: LabelTable, listing: Listing, base: str, unlabelled: str, notes: list[Note]) -> LabelTable:
    """Deal with images that no row speaks of, below the folder that the table's paths start from."""
    labelled = set(labels.files)
    below = f"{base}/" if base and all(name.startswith(f"{base}/") for name in labelled) else ""
    lone = [name for name in listing.pictures if name.startswith(below) and name not in labelled]
    elsewhere = sum(not name.startswith(below) for name in listing.pictures)
    if elsewhere:
        text = f"{elsewhere} images lie outside {printable(base)}, where the table's are, and were not used"
        notes.append(Note("info", text))
    if lone and labels.attributes:
        fix = {
            "error": "add rows, or set unlabelled to 'keep' (all their labels missing) or to 'drop'",
            "keep": "they were kept with all labels missing",
            "drop": "they were dropped",
        }[unlabelled]
        level = "error" if unlabelled == "error" else "warning"
        notes.append(Note(level, f"{len(lone)} of {len(listing.pictures)} images have no label: {_names(lone)}", fix))
    return _append(labels, lone) if lone and (unlabelled == "keep" or not labels.attributes) else labels


def _append(labels: LabelTable, lone: Sequence[str]) -> LabelTable:
    columns = {}
    for attribute in labels.attributes:
        column = labels.columns[attribute.name]
        empty = np.nan if attribute.kind == "continuous" else MISSING
        columns[attribute.name] = np.concatenate([column, np.full(len(lone), empty, column.dtype)])
    splits = None if labels.splits is None else np.concatenate([labels.splits, np.full(len(lone), "train", "<U5")])
    return LabelTable(labels.attributes, [*labels.files, *lone], columns, splits)


def describe(source: Source | LabelTable) -> dict:
    """What a source holds, as plain values: images, attributes with counts, splits, groups and notes."""
    table = source.table if isinstance(source, Source) else source
    notes = source.notes if isinstance(source, Source) else []
    group = find_group(table)
    return {
        "root": str(source.root) if isinstance(source, Source) else None,
        "pictures": len(table),
        "attributes": [_describe_attribute(table, attribute.name) for attribute in table.attributes],
        "splits": None if table.splits is None else {s: int((table.splits == s).sum()) for s in ("train", "val", "test")},
        "group": group.name if group else None,
        "groups": group.num_values if group else None,
        "notes": [asdict(note) for note in notes],
    }


def _describe_attribute(table: LabelTable, name: str) -> dict:
    attribute, known = table[name], table.known(name)
    entry = {"name": name, "kind": attribute.kind, "known": int(known.sum()), "missing": int((~known).sum())}
    entry["mirror"] = attribute.mirror
    if attribute.kind == "continuous":
        numbers = table.columns[name][known].astype(float)
        spread = {"mean": float(numbers.mean()), "std": float(numbers.std())} if len(numbers) else {}
        return {**entry, "low": attribute.low, "high": attribute.high, **spread}
    counts = table.counts(name)
    if attribute.kind != "group":
        return {**entry, "values": counts}
    largest = dict(sorted(counts.items(), key=lambda item: -item[1])[:LISTED])
    return {**entry, "groups": len(counts), "single": sum(n == 1 for n in counts.values()), "largest": largest}
