"""A table for readers, as Markdown and for a terminal: the paper's numbers beside ours, what differs, and the claim."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from recombine.papers.table import Column, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

SIGNS = {True: "✓ holds", False: "✗ does not hold", None: "? not shown"}


def format_interval(column: Column, cell: dict) -> str:
    """The interval of a number of ours."""
    return f"{column.format(cell['low'])} to {column.format(cell['high'])}"


def format_paper(column: Column, row: dict) -> str:
    """A number of the paper, with a dagger where it is quoted."""
    if column.name not in row["paper"]:
        return ""
    number = row["paper"][column.name]
    return column.format(number) + ("†" if row["quoted"] and number is not None else "")


def format_n(counts: Iterable[int]) -> str:
    """How many images, pairs or triplets some numbers rest on; empty where there is no number."""
    found = sorted(set(counts))
    return " to ".join(f"{count:,}" for count in dict.fromkeys((found[0], found[-1]))) if found else ""


def used_columns(table: Table, result: dict[str, Any]) -> list[Column]:
    """The columns that hold a number of ours or of the paper."""
    used = {name for row in result["rows"] for name in (*row["paper"], *(row["ours"] or ()))}
    return [column for column in table.columns if column.name in used]


def remarks(result: dict[str, Any]) -> Iterator[str]:
    """Lines below the table: quoted numbers, what our rows are, those that were not run, what differs, the claim."""
    rows = result["rows"]
    for source in dict.fromkeys(row["quoted"] for row in rows if row["quoted"]):
        names = ", ".join(row["name"] for row in rows if row["quoted"] == source)
        yield f"† quoted by the paper, not measured by its authors: {names}, from {source}"
    for row in rows:
        if row["ours"] and row["here"]:
            yield f"ours of {row['name']}: {row['here']}"
        if not row["ours"]:
            yield f"not run: {row['name']}: {row['why_not']}"
    for what, sides in result["differs"].items():
        yield f"{what}: the paper: {sides['paper'] or 'not stated'}; ours: {sides['ours'] or 'not stated'}"
    for note in result["notes"]:
        yield f"also: {note}"
    yield "intervals are 95 %, over what was measured; another training may differ by more"
    yield f"claim: {result['claim']['words']}"
    yield f"{SIGNS[result['claim']['holds']]}: {result['claim']['why']}"


def markdown(table: Table, result: dict[str, Any]) -> str:
    """The table as Markdown."""
    columns = used_columns(table, result)
    heads = ["", *(f"{c.heading}, {side}" for c in columns for side in ("paper", "ours")), "n"]
    lines = [f"# {table.name}: {table.title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in result["rows"]:
        ours, cells = row["ours"] or {}, [row["name"]]
        for c in columns:
            found = ours.get(c.name)
            shown = f"{c.format(found['value'])} ({format_interval(c, found)})" if found else "-"
            cells += [format_paper(c, row), shown]
        cells.append(format_n(cell["n"] for cell in ours.values()))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in remarks(result)), ""])


def printable(table: Table, result: dict[str, Any]) -> RenderableType:
    """The table for a terminal: in every cell the paper's number above ours and its interval."""
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    columns = used_columns(table, result)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("")
    for column in columns:
        grid.add_column(column.heading, min_width=6)
    for row in result["rows"]:
        ours, cells = row["ours"] or {}, []
        n = format_n(cell["n"] for cell in ours.values())
        for c in columns:
            found = ours.get(c.name)
            numbers = [c.format(found["value"]), format_interval(c, found)] if found else ["-"]
            cells.append(Text("\n".join([format_paper(c, row), *numbers])))
        lines = [f"{row['name']}, paper", *([f"  ours, n = {n}", "  95 %"] if ours else ["  not run"])]
        grid.add_row(Text("\n".join(lines)), *cells)
    heading = Text(f"{table.name}: {table.title}", style="bold")
    return Group(heading, grid, *(Text(line) for line in remarks(result)))
