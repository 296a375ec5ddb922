"""The papers' tables and figures: their rows, ours beside them, what differs, and whether the claim holds.

`TABLES` has all 17 tables and figures of the five papers that hold numbers. `recombine tables` prints them.
"""

from __future__ import annotations

from recombine.messages import nearest, shown
from recombine.papers import advattr, ifcvaegan, mad, matdr, rodi
from recombine.papers.running import run_table
from recombine.papers.table import Table
from recombine.papers.workspace import DataFolders, Workspace

TABLES = {table.name: table for paper in (advattr, mad, ifcvaegan, rodi, matdr) for table in paper.TABLES}


def find_table(name: str) -> Table:
    """The table of a name.

    Raises:
        ValueError: There is none; the message gives the nearest.
    """
    if name not in TABLES:
        names = list(TABLES)
        raise ValueError(f"there is no table {name!r}; there are {shown(names, 20)}{nearest(name, names)}")
    return TABLES[name]


__all__ = ["TABLES", "DataFolders", "Table", "Workspace", "find_table", "run_table"]
