"""A folder for each class, perhaps below a folder for each split."""

from __future__ import annotations

from recombine.data.sources.cells import BadTable, Cells, printable
from recombine.data.sources.labels import SPLITS
from recombine.data.sources.matching import Rows, listed, match
from recombine.data.sources.options import SourceOptions
from recombine.data.sources.paths import Listing
from recombine.data.sources.source import Source

MOST_CLASSES = 200      # more folders than this are groups, such as one for each person


def read_class_folders(listing: Listing, options: SourceOptions) -> Source:
    """Images labelled by the folders that they lie in; images outside are left to be unlabelled."""
    if not listing.images:
        raise BadTable(f"{printable(str(listing.root))} holds no images and no table; is it the right folder?")
    paths = [name.split("/") for name in listing.images]
    while _wrapped(paths):
        paths = [parts[1:] for parts in paths]
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


def _wrapped(paths: list[list[str]]) -> bool:
    """Whether all images lie in one folder that is neither a class nor a split but holds classes."""
    first = {parts[0] for parts in paths}
    return len(first) == 1 and first.pop().lower() not in SPLITS and any(len(parts) > 2 for parts in paths)
