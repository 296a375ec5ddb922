"""CelebA's own files: attributes, identities and splits in three lists, images in one folder.

Liu, Luo, Wang and Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015. The lists are read as the authors
hand them out (`Anno/`, `Eval/`, `Img/` or all in one place), and as the CSV files by which they are often passed on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from recombine.data.sources.cells import BadTable, Cells, Note, printable, read_cells, read_list

PICTURES = "img_align_celeba"
ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
COMPANIONS = {  # file name -> the column it brings
    "identity_CelebA.txt": "identity",
    "list_eval_partition.txt": "split",
    "list_eval_partition.csv": "split",
}


def find_celeba(files: Sequence[str]) -> str | None:
    """The attribute list among a folder's files, if there is one: that nearest to the top."""
    found = [name for name in files if posixpath.basename(name) in ATTRIBUTES]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def read_celeba(root: Path, files: Sequence[str], attributes: str) -> Cells:
    """Attributes, identities and splits as one table with the path column `file_name`.

    Args:
        root: The folder.
        files: What lies below it, relative.
        attributes: The attribute list, relative.

    Raises:
        BadTable: A list is malformed; says which line.
    """
    cells = read_cells(root / attributes)
    first = next(iter(cells.columns))
    cells.columns = {"file_name": cells.columns.pop(first), **cells.columns}
    for name in sorted(files):
        column = COMPANIONS.get(posixpath.basename(name))
        if column and column not in cells.columns:
            cells.columns[column] = _companion(root / name, column, cells)
    return cells


def _companion(path: Path, column: str, cells: Cells) -> list[str]:
    """One more column, matched by file name; empty where the list does not know an image."""
    if path.suffix == ".csv":
        other = read_cells(path)
        if len(other.columns) != 2:
            raise BadTable(f"{path.name} has {len(other.columns)} columns; expected a file name and its {column}")
    else:
        text = path.read_text(encoding="utf-8-sig")
        other = read_list(text, path.name, header=("file_name", column))
    names, values = other.columns.values()
    known = dict(zip(names, values, strict=True))
    unknown = [name for name in cells.columns["file_name"] if name not in known]
    cells.notes += other.notes
    if unknown:
        text = f"{path.name} does not list {len(unknown)} of {len(cells)} images, such as {printable(unknown[0])}"
        cells.notes.append(Note("warning", text, "fetch it again unless you shortened it yourself"))
    return [known.get(name, "") for name in cells.columns["file_name"]]
