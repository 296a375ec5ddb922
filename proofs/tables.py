"""Every table and figure of the five papers at a small budget: which run here from end to end, and whose claims hold.

    python proofs/tables.py PHOTOS SHEETS --threads 2

PHOTOS is a folder of photographs with identity, expression, pose and CelebA's attributes, or a pack of one with its judge inside;
SHEETS a folder of Liberated Pixel Cup sheets; faces are synthetic. Trainings, shared where tables need the same one, go to
`runs/tables`. The result is written after every table; a stopped call goes on, and finished tables are not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from record import record

from recombine.papers import TABLES, DataFolders, Table, Workspace, run_table


def finished(table: Table, out: Path, images: int | None, seeds: int) -> dict | None:
    """What an earlier call found at the same budget."""
    path = out / table.name / "table.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else None
    return found if found and (found.get("images"), found.get("seeds")) == (images or table.images, seeds) else None


def summed_up(table: Table, result: dict) -> dict:
    """Whether a table ran, whether its claim holds, and why."""
    ran = [row["name"] for row in result["rows"] if row["ours"]]
    return {
        "runs_here": bool(ran),
        "claim_holds": result["claim"]["holds"],
        "why": result["claim"]["why"],
        "claim": result["claim"]["words"],
        "stand_in": table.setup.stand_in,
        "not_run": {row["name"]: row["why_not"] for row in result["rows"] if not row["ours"]},
    }


def write(found: dict[str, dict]) -> None:
    """Record what there is so far."""
    values = {name: summed_up(TABLES[name], result) for name, result in found.items()}
    held = [value["claim_holds"] for value in values.values()]
    record(
        "tables",
        "Every table and figure of the five papers runs here from end to end, on data that stands in for the paper's.",
        {
            "run_here": sum(value["runs_here"] for value in values.values()),
            "of": len(TABLES),
            "claims": {"hold": held.count(True), "do_not": held.count(False), "not_shown": held.count(None)},
            **values,
        },
        {name: {"judged": result["differs"]["n"]["ours"], "images_seen": result["images"], "trainings_a_row": result["seeds"]} for name, result in found.items()},
        settings="32 px photographs and faces, 64 px sprites, small networks; recombine/papers says the rest, `recombine tables NAME` prints a table",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/tables"))
    parser.add_argument("--images", type=int, help="seen by every training; each table's own number when not given")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--judge", choices=["quick", "auto"], default="quick")
    parser.add_argument("--only", nargs="*", default=list(TABLES), choices=list(TABLES), metavar="TABLE")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    workspace = Workspace(options.out, DataFolders.sort([options.photos, options.sheets]), options.judge)
    for name in options.only:
        if finished(TABLES[name], options.out, options.images, options.seeds) is None:
            run_table(TABLES[name], workspace, options.images, options.seeds)
            write({name: found for name, table in TABLES.items() if (found := finished(table, options.out, options.images, options.seeds))})
    write({name: found for name, table in TABLES.items() if (found := finished(table, options.out, options.images, options.seeds))})
