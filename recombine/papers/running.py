"""One table from its rows to its verdict: trained and measured, or the reason why not."""

from __future__ import annotations

import json
from typing import Any

from recombine import files
from recombine.metrics.intervals import over_seeds
from recombine.papers.claims import Cells, Measured
from recombine.papers.rendering import format_n, markdown
from recombine.papers.table import MeasureRow, Table
from recombine.papers.workspace import Workspace
from recombine.training.engine import Diverged


def run_table(table: Table, workspace: Workspace, images: int | None = None, seeds: int = 1) -> dict[str, Any]:
    """Train what a table needs, measure, and write `table.json` and `table.md` into a folder of its name.

    Args:
        table: Which.
        workspace: Data and folder.
        images: Seen by every training, a pair as two; the table's own number when None.
        seeds: Trainings of every row; see `over_seeds` for the mean and interval of several.

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
        paper = {"name": row.name, "paper": dict(row.paper), "quoted": row.quoted}
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
    cells = {}
    for name, first in found[0].items():
        share = name in bounded or first.images is not None
        cells[name] = over_seeds([one[name] for one in found if name in one], bounded=share)
    return cells


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
