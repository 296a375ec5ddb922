"""A table as people read it: the paper's numbers beside ours, what differs, and the claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recombine.papers.table import Metric, Table

if TYPE_CHECKING:
    from rich.console import RenderableType

SIGNS = {True: "✓ holds", False: "✗ does not hold", None: "? not shown"}


def ours_shown(metric: Metric, cell: dict | None) -> str:
    """A number of ours with its interval."""
    return f"{metric.shown(cell['value'])} ({metric.shown(cell['low'])} to {metric.shown(cell['high'])})" if cell else "-"


def paper_shown(metric: Metric, row: dict) -> str:
    """A number of the paper, with a dagger where it is quoted."""
    if metric.name not in row["paper"]:
        return ""
    return metric.shown(row["paper"][metric.name]) + ("†" if row["quoted"] and row["paper"][metric.name] is not None else "")


def n_shown(row: dict) -> str:
    """How many images, pairs or triplets stand behind a row."""
    counts = sorted({int(cell["n"]) for cell in row["ours"].values()}) if row["ours"] else []
    return " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))) if counts else ""


def columns(table: Table, result: dict) -> list[Metric]:
    """The metrics of which there is a number of ours or of the paper."""
    used = {name for row in result["rows"] for name in (*row["paper"], *(row["ours"] or ()))}
    return [metric for metric in table.metrics if metric.name in used]


def remarks(table: Table, result: dict) -> Iterator[str]:
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


def markdown(table: Table, result: dict) -> str:
    """The table as Markdown."""
    metrics = columns(table, result)
    heads = ["", *(f"{m.heading}, {side}" for m in metrics for side in ("paper", "ours")), "n"]
    lines = [f"# {table.name}: {table.title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in result["rows"]:
        cells = [text for m in metrics for text in (paper_shown(m, row), ours_shown(m, (row["ours"] or {}).get(m.name)))]
        line = " | ".join([row["name"], *cells, n_shown(row)])
        lines.append(f"| {line} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in remarks(table, result)), ""])


def printable(table: Table, result: dict) -> RenderableType:
    """The table for a terminal: in every cell the paper's number above ours and its interval."""
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    metrics = columns(table, result)
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("")
    for metric in metrics:
        grid.add_column(metric.heading, min_width=6)
    for row in result["rows"]:
        left = [row["name"] + ", paper", *([f"  ours, n = {n_shown(row)}", "  95 %"] if row["ours"] else ["  not run"])]
        cells = []
        for m in metrics:
            found = (row["ours"] or {}).get(m.name)
            ours = [m.shown(found["value"]), f"{m.shown(found['low'])} to {m.shown(found['high'])}"] if found else ["-"]
            cells.append(Text("\n".join([paper_shown(m, row), *ours])))
        grid.add_row(Text("\n".join(left)), *cells)
    heading = Text(f"{table.name}: {table.title}", style="bold")
    return Group(heading, grid, *(Text(line) for line in remarks(table, result)))
