"""The papers' tables and figures: their rows, ours beside them, what differs, and whether the claim holds.

`TABLES` has all 17 tables and figures of the five papers that hold numbers. `recombine tables` prints them.
"""

from __future__ import annotations

from recombine.data.schema import nearest, shown
from recombine.tables import advattr, ifcvaegan, mad, matdr, rodi
from recombine.tables.bench import Bench, Given
from recombine.tables.running import run
from recombine.tables.table import Claim, Metric, Row, Table, Verdict

TABLES = {table.name: table for paper in (advattr, mad, ifcvaegan, rodi, matdr) for table in paper.TABLES}


def find(name: str) -> Table:
    """The table of a name.

    Raises:
        ValueError: There is none; the message names the nearest.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; there are {shown(list(TABLES), 20)}{nearest(name, list(TABLES))}")
    return TABLES[name]


__all__ = ["TABLES", "Bench", "Claim", "Given", "Metric", "Row", "Table", "Verdict", "find", "run"]
