"""One table from its rows to its verdict: trained and measured, or said why not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from recombine import files
from recombine.methods import METHODS
from recombine.papers.showing import markdown
from recombine.papers.table import Cell, Row, Table
from recombine.papers.workspace import Workspace
from recombine.training.engine import Diverged


def run(table: Table, workspace: Workspace, seeds: int = 1) -> dict:
    """Train what a table needs, measure, and write `table.json` and `table.md` into a folder of its name.

    Args:
        table: Which.
        workspace: Data, folder and budget.
        seeds: Trainings of every row. Of several the mean is shown, and an interval that holds all of theirs.

    Returns:
        Plain values: `name`, `title`, `images` seen by every training, `seeds`, `claim` (`words`, `holds`, `why`), `metrics`, `rows` (`paper`, `quoted`, `ours`, `why_not`,
        `here`), `differs` (what -> the paper's and ours), `notes`.

    Raises:
        ValueError: The data that it needs was not given.
    """
    if missing := workspace.given.missing(table):
        raise ValueError(f"{table.name} cannot be run: {missing}")
    workspace = replace(workspace, table=table) if workspace.table is not table else workspace
    rows = [told(row, workspace, seeds) for row in table.rows]
    measured = {row["name"]: row["ours"] for row in rows if row["ours"]}
    verdict = table.claim.judge(measured)
    result = {
        "name": table.name,
        "title": table.title,
        "images": workspace.seen,
        "seeds": seeds,
        "claim": {"words": table.claim.words, "holds": verdict.holds, "why": verdict.why},
        "metrics": [{"name": m.name, "heading": m.heading, "unit": m.unit, "better": m.better} for m in table.metrics],
        "rows": rows,
        "differs": differences(table, workspace, measured, seeds),
        "notes": list(table.differs),
    }
    folder = workspace.made(table.name)
    files.write_text(folder / "table.json", json.dumps(result, indent=2, ensure_ascii=False))
    files.write_text(folder / "table.md", markdown(table, result))
    return result


def told(row: Row, workspace: Workspace, seeds: int) -> dict[str, Any]:
    """A row as plain values: the paper's numbers, ours or why there are none."""
    ours, why_not = None, row.why_not
    absent = [name for name in row.needs if name not in METHODS]
    if absent:
        why_not = f"the method {absent[0]} is not there"
    elif row.measure is not None:
        try:
            ours = over_seeds([row.measure(workspace, seed) for seed in range(seeds)])
        except (ValueError, NotImplementedError, Diverged) as error:
            why_not = str(error)
    return {"name": row.name, "paper": dict(row.paper), "quoted": row.quoted, "ours": ours, "why_not": why_not, "here": row.here}


def over_seeds(found: Sequence[Mapping[str, Cell]]) -> dict[str, dict[str, float]]:
    """Mean of several trainings' cells, with the widest interval that they make; n is that of one."""
    cells = {}
    for metric in found[0]:
        same = [one[metric] for one in found if metric in one]
        value = sum(cell["value"] for cell in same) / len(same)
        cells[metric] = {"value": value, "low": min(cell["low"] for cell in same), "high": max(cell["high"] for cell in same), "n": same[0]["n"]}
    return cells


def differences(table: Table, workspace: Workspace, measured: Mapping[str, Mapping[str, Cell]], seeds: int) -> dict[str, dict[str, str]]:
    """What is not the same as in the paper: data, n, size, images seen and extractor."""
    counts = sorted({int(cell["n"]) for cells in measured.values() for cell in cells.values()})
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}" if counts else "nothing was measured"
    packs = {"photos": lambda: workspace.photos, "avatars": lambda: workspace.faces, "sheets": lambda: workspace.figures}
    trainings = f"{workspace.seen:,} by each training" + (f", {seeds} trainings a row" if seeds > 1 else ", one training a row")
    told = {
        "data": (table.data, table.stand_in),
        "n": (table.n, n),
        "size": (table.size, table.ours.get("size") or " x ".join(map(str, packs[table.kind]().schema.image_size))),
        "images seen": (table.seen, table.ours.get("images seen", trainings)),
        "extractor": table.extractor,
    }
    return {what: {"paper": paper, "ours": ours} for what, (paper, ours) in told.items() if paper or ours}
