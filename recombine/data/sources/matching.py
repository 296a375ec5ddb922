"""Rows of a label table are matched with the image files of a folder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recombine.data.sources.cells import BadTable, Cells, Note, number
from recombine.data.sources.labels import LabelTable, make_table
from recombine.data.sources.paths import SUFFIXES, Found, Listing, Resolver, find_base, sample
from recombine.data.sources.source import Source, SourceOptions, Stated
from recombine.messages import nearest, option, printable, shown

PATH_COLUMNS = ("file_name", "filename", "file", "path", "image", "image_path", "image_id", "img", "picture", "photo")
LISTED = 10             # names shown of many
LINKS = "set links to 'anywhere' to follow them"

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rows:
    """A label table, and what is known of it by its layout."""

    cells: Cells
    column: str | None = None                   # of the paths, where the layout fixes it
    folders: tuple[str, ...] = ()               # that paths may start from
    prefer: str = ""                            # part of the name of the folder to take where several fit
    splits: Sequence[str] | None = None         # of each row, where folders are splits
    kinds: Mapping[str, Stated] = field(default_factory=dict)       # of columns, where the layout fixes them
    mirrors: Mapping[str, Pairs] = field(default_factory=dict)      # values that change places in a mirrored image
    complete: bool = False                      # whether images without a row have been dealt with


def match(rows: Rows, listing: Listing, options: SourceOptions) -> Source:
    """The images that the rows describe, with typed labels, and notes on rows without image and images without row."""
    cells = rows.cells
    column, base = _path_column(rows, listing, options)
    found = list(map(Resolver(listing, base).find, cells.columns[column]))
    first, repeat_notes = _first_rows([each.file for each in found], cells, column)
    splits = None if rows.splits is None else np.array([rows.splits[row] for row in first.values()], dtype="<U5")
    stated = replace(options, kinds={**rows.kinds, **options.kinds})
    table, label_notes = make_table(cells.take(list(first.values())), list(first), stated, column, splits)
    table, mirror_notes = _with_mirrors(table, rows.mirrors)
    skipped = [
        Note("warning", f"skipped {len(names)} x {why}: {listed(names)}", LINKS if "out of" in why else "")
        for why, names in listing.skipped.items()
    ]
    path_notes = _path_notes(found, cells, column, options)
    notes = [*skipped, *cells.notes, *path_notes, *repeat_notes, *label_notes, *mirror_notes]
    if not rows.complete:
        table, lone_notes = _with_unlabelled(table, listing, base, options)
        notes += lone_notes
    if not table.attributes and options.unlabelled != "keep":
        fix = "add a table with a column file_name and a column for each label, or a folder for each class"
        text = f"{printable(str(listing.given))} has no labels: {len(table)} images, no attribute"
        notes.append(Note("error", text, fix))
    return Source(listing.root, table, notes)


def listed(names: Sequence[str]) -> str:
    """Some of many file names, safe to show."""
    return shown([printable(name) for name in names], LISTED)


def _path_column(rows: Rows, listing: Listing, options: SourceOptions) -> tuple[str, str]:
    """The column whose cells are files, and the folder that they start from."""
    columns, name = rows.cells.columns, options.image_column or rows.column
    headed = [name for name in columns if name in listing.known and name.lower().endswith(SUFFIXES)]
    if headed:
        text = f"the first line holds {printable(headed[0])!r}, a file"
        raise BadTable(f"{text}; expected names of columns: add such a line")
    name = "file_name" if name is None and "file_name" in columns else name
    if name is not None and name not in columns:
        raise BadTable(f"the table has no column {name!r}; it has {shown(list(columns))}{nearest(name, list(columns))}")
    if name is not None:
        return name, find_base(listing, columns[name], rows.folders, rows.prefer)[0]
    bases = {name: _base_and_share(cells, listing, rows) for name, cells in columns.items()}
    best = max(share for _, share in bases.values())
    fitting = [name for name, (_, share) in bases.items() if share == best >= 0.5]
    usual = [name for word in PATH_COLUMNS for name in columns if name.lower().replace(" ", "_") == word]
    chosen = [name for name in usual if name in fitting] or fitting or usual
    if not chosen:
        text = f"no column holds paths of files below {listing.root}; there are {shown(list(columns))}"
        files = f"files such as {listed(listing.images[:3])}"
        raise BadTable(f"{text}, and {files}; say which one with {option('image_column')}")
    if len(chosen) > 1 and chosen[0] not in usual:
        raise BadTable(f"the columns {shown(chosen)} all hold files; say which one with {option('image_column')}")
    return chosen[0], bases[chosen[0]][0]


def _base_and_share(cells: Sequence[str], listing: Listing, rows: Rows) -> tuple[str, float]:
    """The folder that a column's cells start from if they are paths, and the share of those that are."""
    texts = sample(cells)
    if len(set(texts)) * 2 < len(texts) or all(number(text.strip()) and "." in text for text in texts):
        return "", 0.0
    return find_base(listing, texts, rows.folders, rows.prefer)


def _path_notes(found: Sequence[Found], cells: Cells, column: str, options: SourceOptions) -> list[Note]:
    """What was needed to find the files of the rows."""
    rules: dict[str, list[int]] = defaultdict(list)
    for row, answer in enumerate(found):
        rules[answer.rule].append(row)
    rules.pop("as written", None)
    paths = {rule: [(cells.columns[column][row], cells.place(row)) for row in rows] for rule, rows in rules.items()}
    return [_path_note(rule, paths[rule], found[rows[0]], len(cells), options) for rule, rows in rules.items()]


def _path_note(rule: str, paths: list[tuple[str, str]], first: Found, total: int, options: SourceOptions) -> Note:
    places = shown([f"{printable(text)!r} ({place})" for text, place in paths[:LISTED]])
    places += f", ... ({len(paths)} in all)" if len(paths) > LISTED else ""
    if rule == "outside":
        return Note("error", f"{len(paths)} paths lead out of the folder: {places}", "write them relative to it")
    if rule == "ambiguous":
        text = f"{len(paths)} paths can mean several files: {places}, the first {listed(first.choices)}"
        return Note("error", text, "write them exactly")
    if first.file is not None:
        return Note("info", f"{len(paths)} paths were found by {rule}, such as {printable(paths[0][0])!r}")
    what = "have no image" if rule == "absent" else f"name {rule}, which was not followed"
    text = f"{len(paths)} of {total} rows {what}: {places}"
    if options.absent == "drop":
        return Note("warning", text, "they were dropped")
    return Note("error", text, f"add the files, correct the paths, or give {option('absent', 'drop')}")


def _first_rows(files: list[str | None], cells: Cells, column: str) -> tuple[dict[str, int], list[Note]]:
    """The row of each file, the first of several, and notes: equal rows are counted, contradicting ones are errors."""
    first: dict[str, int] = {}
    equal, conflicts, notes = [], [], []
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
        notes.append(Note("info", f"{len(equal)} rows repeat an earlier one and were dropped: {listed(equal)}"))
    if conflicts:
        text = f"{len(conflicts)} rows contradict an earlier row of the same image: {shown(conflicts, LISTED)}"
        notes.append(Note("error", text, "keep one row for each image"))
    return first, notes


def _with_mirrors(table: LabelTable, mirrors: Mapping[str, Pairs]) -> tuple[LabelTable, list[Note]]:
    """The table with the values that a layout pairs; a warning where one lacks its counterpart."""
    attributes, notes = [], []
    for attribute in table.attributes:
        pairs = mirrors.get(attribute.name, ()) if attribute.kind == "categorical" else ()
        present = tuple(pair for pair in pairs if set(pair) <= set(attribute.values))
        values, paired = ({value for pair in some for value in pair} for some in (pairs, present))
        if lone := sorted(values & set(attribute.values) - paired):
            text = f"{attribute.name}: {shown(lone)} has no value for the other side"
            notes.append(Note("warning", text, "train without mirroring"))
        attributes.append(replace(attribute, mirror=present or attribute.mirror))
    return replace(table, attributes=tuple(attributes)), notes


def _with_unlabelled(
    table: LabelTable, listing: Listing, base: str, options: SourceOptions
) -> tuple[LabelTable, list[Note]]:
    """The table with the images below its folder that no row describes, if these are kept: in train, labels missing."""
    labelled, notes = set(table.files), []
    below = f"{base}/" if base and all(name.startswith(f"{base}/") for name in labelled) else ""
    lone = [name for name in listing.images if name.startswith(below) and name not in labelled]
    elsewhere = sum(not name.startswith(below) for name in listing.images)
    if elsewhere:
        text = f"{elsewhere} images lie outside {printable(base)}, where the table's are, and were not used"
        notes.append(Note("info", text))
    if lone and table.attributes:
        keep, drop = option("unlabelled", "keep"), option("unlabelled", "drop")
        fix = {
            "error": f"add rows, or give {keep} (all their labels missing) or {drop}",
            "keep": "they were kept with all labels missing",
            "drop": "they were dropped",
        }[options.unlabelled]
        text = f"{len(lone)} of {len(listing.images)} images have no label: {listed(lone)}"
        notes.append(Note("error" if options.unlabelled == "error" else "warning", text, fix))
    if not lone or (options.unlabelled != "keep" and table.attributes):
        return table, notes
    columns = {a.name: np.concatenate([table.columns[a.name], a.missing(len(lone))]) for a in table.attributes}
    splits = None if table.splits is None else np.concatenate([table.splits, np.full(len(lone), "train", "<U5")])
    return LabelTable(table.attributes, [*table.files, *lone], columns, splits), notes
