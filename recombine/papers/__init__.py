"""The papers' tables and figures: their rows, ours beside them, what differs, and whether the claim holds.

`TABLES` has all 17 tables and figures of the five papers that hold numbers. `recombine tables` prints them.
"""

from __future__ import annotations

from recombine.messages import nearest, shown
from recombine.papers import advattr, ifcvaegan, mad, matdr, rodi
from recombine.papers.running import run
from recombine.papers.table import Claim, Metric, Row, Table, Verdict
from recombine.papers.workspace import Given, Workspace

TABLES = {table.name: table for paper in (advattr, mad, ifcvaegan, rodi, matdr) for table in paper.TABLES}


def find(name: str) -> Table:
    """The table of a name.

    Raises:
        ValueError: There is none; the message names the nearest.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; there are {shown(list(TABLES), 20)}{nearest(name, list(TABLES))}")
    return TABLES[name]


__all__ = ["TABLES", "Claim", "Given", "Metric", "Row", "Table", "Verdict", "Workspace", "find", "run"]
