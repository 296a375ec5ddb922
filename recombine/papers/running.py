"""One table from its rows to its verdict: trained and measured, or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from recombine import files
from recombine.metrics.intervals import over_seeds
from recombine.papers.table import Cells, Column, Measured, MeasureRow, Table
from recombine.papers.workspace import Workspace
from recombine.training.engine import Diverged

if TYPE_CHECKING:
    from rich.console import RenderableType


def run_table(table: Table, workspace: Workspace, images: int | None = None, seeds: int = 1) -> dict[str, Any]:
    """Train what a table needs, measure, and write `table.json` and `table.md` into a folder of its name.

    Every training sees as many images, a pair as two, or the table's own number when None. `seeds` is the number of
    trainings of every row; see `over_seeds` for the mean and interval of several.

    Returns:
        Plain values: `name`, `title`, `images`, `seeds`, `claim` (`words`, `holds`, `why`), `metrics`, `rows` (`paper`,
        `quoted`, `ours`, `why_not`, `here`), `differs` (what -> the paper's and ours), `notes`.

    Raises:
        ValueError: The data that it needs was not given.
    """
    if missing := table.missing(workspace.folders):
        raise ValueError(f"{table.name} cannot be run: {missing}")
    images = images or table.images
    measured: dict[str, Cells] = {}
    rows = []
    for row in table.rows:
        why_not, ours = row.why_not, None
        try:
            if row.measure is not None:
                measured[row.name] = ours = measure_row(table, row.measure, workspace, images, seeds)
        except (ValueError, NotImplementedError, Diverged) as error:
            why_not = str(error)
        plain = {name: found.to_json() for name, found in ours.items()} if ours else None
        paper = {"name": row.name, "paper": table.numbers(row), "quoted": row.quoted}
        rows.append({**paper, "ours": plain, "why_not": why_not, "here": row.here})
    verdict = table.claim.judge(measured)
    result = {
        "name": table.name,
        "title": table.title,
        "images": images,
        "seeds": seeds,
        "claim": {"words": table.claim.words, "holds": verdict.holds, "why": verdict.why},
        "metrics": [{"name": c.name, "heading": c.heading, "unit": c.unit, "better": c.better} for c in table.columns],
        "rows": rows,
        "differs": list_differences(table, workspace, measured, images, seeds),
        "notes": list(table.differs),
    }
    folder = workspace.folder(table.name)
    files.write_text(folder / "table.json", json.dumps(result, indent=2, ensure_ascii=False))
    files.write_text(folder / "table.md", markdown(table, result))
    return result


def measure_row(table: Table, measure: MeasureRow, workspace: Workspace, images: int, seeds: int) -> Cells:
    """A row's numbers over several trainings; shares stay in [0, 1]."""
    found = [measure(workspace, images, seed) for seed in range(seeds)]
    bounded = {column.name for column in table.columns if column.bounded}
    return {
        name: over_seeds([one[name] for one in found if name in one], name in bounded or first.images is not None)
        for name, first in found[0].items()
    }


def list_differences(
    table: Table, workspace: Workspace, measured: Measured, images: int, seeds: int
) -> dict[str, dict[str, str]]:
    """What is not the same as in the paper: data, n, size, images seen and extractor."""
    n = format_n(found.n for cells in measured.values() for found in cells.values()) or "nothing was measured"
    trainings = f"{images:,} by each training, {f'{seeds} trainings' if seeds > 1 else 'one training'} a row"
    setup = table.setup
    size = table.ours.get("size") or " x ".join(map(str, workspace.pack(setup.kind).schema.image_size))
    sides = {
        "data": (setup.data, setup.stand_in),
        "n": (setup.n, n),
        "size": (setup.size, size),
        "images seen": (setup.seen, table.ours.get("images seen", trainings)),
        "extractor": setup.extractor,
    }
    return {what: {"paper": paper, "ours": ours} for what, (paper, ours) in sides.items() if paper or ours}


SIGNS = {True: "✓ holds", False: "✗ does not hold", None: "? not shown"}


def format_cell(column: Column, row: dict) -> list[str]:
    """The paper's number, with a dagger where it is quoted, and ours with its interval, where it is measured."""
    paper, ours = row["paper"], (row["ours"] or {}).get(column.name)
    number = column.format(paper[column.name]) if column.name in paper else ""
    dagger = "†" if row["quoted"] and paper.get(column.name) is not None else ""
    value, low, high = (column.format(ours[end]) if ours else "" for end in ("value", "low", "high"))
    return [number + dagger, *([value, f"{low} to {high}"] if ours else [])]


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
        cells = [row["name"]]
        for paper, *ours in (format_cell(column, row) for column in columns):
            cells += [paper, f"{ours[0]} ({ours[1]})" if ours else "-"]
        cells.append(format_n(cell["n"] for cell in (row["ours"] or {}).values()))
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
        n = format_n(cell["n"] for cell in (row["ours"] or {}).values())
        texts = [[f"{row['name']}, paper", *([f"  ours, n = {n}", "  95 %"] if n else ["  not run"])]]
        for paper, *ours in (format_cell(column, row) for column in columns):
            texts.append([paper, *(ours or ["-"])])
        grid.add_row(*(Text("\n".join(lines)) for lines in texts))
    heading = Text(f"{table.name}: {table.title}", style="bold")
    return Group(heading, grid, *(Text(line) for line in remarks(result)))
