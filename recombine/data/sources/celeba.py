"""CelebA's own files: attributes, identities and splits in three lists, images in one folder.

Liu, Luo, Wang and Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015. The lists are read as the authors
hand them out (`Anno/`, `Eval/`, `Img/` or all in one place), and as the CSV files by which they are often passed on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recombine.data.sources.cells import BadTable, Note, read_cells, read_list
from recombine.data.sources.matching import Rows, match
from recombine.data.sources.paths import Listing
from recombine.data.sources.source import Source, SourceOptions
from recombine.messages import printable

IMAGES = "img_align_celeba"
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
PARTITIONS = ("list_eval_partition.txt", "list_eval_partition.csv")
COMPANIONS = {"identity_CelebA.txt": "identity", **dict.fromkeys(PARTITIONS, "split")}  # file -> the column it brings


def read_celeba(listing: Listing, options: SourceOptions) -> Source | None:
    """Images with the attributes, identities and splits of CelebA's lists; None where there is no list of attributes.

    Raises:
        BadTable: A list is malformed; names the line.
    """
    files = listing.files
    if options.table is not None:
        table = Path(options.table).resolve()
        files = [table.relative_to(listing.root).as_posix()] if table.is_relative_to(listing.root) else []
    found = [name for name in files if posixpath.basename(name) in ATTRIBUTES]
    if not found:
        return None
    cells = read_cells(listing.root / min(found, key=lambda name: (name.count("/"), name)))     # nearest to the top
    first, *others = cells.columns
    columns = {"file_name": cells.columns[first], **{name: cells.columns[name] for name in others}}
    notes = cells.notes
    for name in listing.files:
        column = COMPANIONS.get(posixpath.basename(name))
        if column and column not in columns:
            columns[column], more = _companion(listing.root / name, column, columns["file_name"])
            notes += more
    return match(Rows(replace(cells, columns=columns, notes=notes), "file_name", prefer=IMAGES), listing, options)


def _companion(path: Path, column: str, files: Sequence[str]) -> tuple[list[str], tuple[Note, ...]]:
    """One more column, matched by file name and empty where the list lacks an image; and notes."""
    if path.suffix == ".csv":
        other = read_cells(path)
        if len(other.columns) != 2:
            raise BadTable(f"{path.name} has {len(other.columns)} columns; expected a file name and its {column}")
    else:
        other = read_list(path.read_text(encoding="utf-8-sig"), path.name, header=("file_name", column))
    known = dict(zip(*other.columns.values(), strict=True))
    unknown = [name for name in files if name not in known]
    notes = other.notes
    if unknown:
        text = f"{path.name} does not list {len(unknown)} of {len(files)} images, such as {printable(unknown[0])}"
        notes += (Note("warning", text, "fetch it again unless you shortened it yourself"),)
    return [known.get(name, "") for name in files], notes
