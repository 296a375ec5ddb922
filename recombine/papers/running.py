"""One table from its rows to its verdict: trained and measured, or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from recombine import files
from recombine.papers.claims import Cells, Measured
from recombine.papers.rendering import format_n, markdown
from recombine.papers.table import Row, Table
from recombine.papers.workspace import Workspace
from recombine.training.engine import Diverged


def run_table(table: Table, workspace: Workspace, images: int | None = None, seeds: int = 1) -> dict[str, Any]:
    """Train what a table needs, measure, and write `table.json` and `table.md` into a folder of its name.

    Args:
        table: Which.
        workspace: Data and folder.
        images: Seen by every training, a pair as two; the table's own number when None.
        seeds: Trainings of every row. Of several the mean is shown, and an interval that holds all of theirs.

    Returns:
        Plain values: `name`, `title`, `images`, `seeds`, `claim` (`words`, `holds`, `why`), `metrics`, `rows` (`paper`,
        `quoted`, `ours`, `why_not`, `here`), `differs` (what -> the paper's and ours), `notes`.

    Raises:
        ValueError: The data that it needs was not given.
    """
    if missing := table.missing(workspace.folders):
        raise ValueError(f"{table.name} cannot be run: {missing}")
    images = images or table.images
    rows = [measure_row(row, workspace, images, seeds) for row in table.rows]
    measured: Measured = {row["name"]: row["ours"] for row in rows if row["ours"]}
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


def measure_row(row: Row, workspace: Workspace, images: int, seeds: int) -> dict[str, Any]:
    """A row as plain values: the paper's numbers, and ours or why there are none."""
    ours, why_not = None, row.why_not
    if row.measure is not None:
        try:
            ours = over_seeds([row.measure(workspace, images, seed) for seed in range(seeds)])
        except (ValueError, NotImplementedError, Diverged) as error:
            why_not = str(error)
    paper = {"name": row.name, "paper": dict(row.paper), "quoted": row.quoted}
    return {**paper, "ours": ours, "why_not": why_not, "here": row.here}


def over_seeds(found: Sequence[Cells]) -> dict[str, dict[str, float]]:
    """Mean of several trainings' cells, with the widest interval that they make; n is that of one."""
    cells = {}
    for column in found[0]:
        same = [one[column] for one in found if column in one]
        value = sum(cell["value"] for cell in same) / len(same)
        low, high = min(cell["low"] for cell in same), max(cell["high"] for cell in same)
        cells[column] = {"value": value, "low": low, "high": high, "n": same[0]["n"]}
    return cells


def list_differences(
    table: Table, workspace: Workspace, measured: Measured, images: int, seeds: int
) -> dict[str, dict[str, str]]:
    """What is not the same as in the paper: data, n, size, images seen and extractor."""
    n = format_n(cell for cells in measured.values() for cell in cells.values()) or "nothing was measured"
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
