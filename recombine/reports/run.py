"""A run's report: `report.html`, one page with images, numbers and curves, and `report.json` with the same numbers.

The page holds everything it shows, needs no network and no script, and follows the reader's light or dark setting.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recombine import files
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.evaluation.judge import judged_rows
from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import MEASURES, Measure, shown
from recombine.inference import device_of, evaluation_mode
from recombine.method import Method
from recombine.metrics.intervals import Estimate
from recombine.reports import tables
from recombine.reports.curves import log_panels
from recombine.reports.figures import label_figures, render, swap_figures
from recombine.training.log import read_log

HEADLINE = (
    "edit_success", "edit_kept", "success", "kept", "edit_psnr_db", "reconstruction_db", "ssim", "leakage", "frechet",
)  # fmt: skip
PROBES = {"linear": "linear probe", "two_layer": "two-layer probe"}


def report(
    folder: str | Path,
    judgement: Judgement,
    *,
    model: Method | None = None,
    pack: Pack | None = None,
    title: str | None = None,
    rows: int = 5,
) -> Path:
    """Write the report of a run and return the path of `report.html`.

    The folder's `log.jsonl` and `config.json` are read where they are. `model` and `pack` make the grids of images of
    the judged split, with `rows` rows and columns. The title is the folder's name when None.
    """
    folder = Path(folder)
    settings = folder / "config.json"
    config = json.loads(settings.read_text("utf-8")) if settings.exists() else {}
    title = title or folder.resolve().name
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    labels = swaps = {}
    if model is not None and pack is not None:
        labels, swaps = image_grids(model, pack, judgement, rows)
    leaks = {name: tables.leak_matrix(judgement, probe) for probe, name in PROBES.items()}
    recognition = judgement.recognition or {}
    page = render(
        "run.html",
        title=title,
        written=now,
        config=config,
        judgement=judgement,
        headline=headline(judgement),
        labels=labels,
        swaps=swaps,
        by_attribute=tables.attribute_table(judgement),
        preserved=tables.preserved_matrix(judgement),
        codes=tables.codes_table(judgement),
        by_part=tables.part_table(judgement),
        leaks={name: matrix for name, matrix in leaks.items() if matrix},
        realism=tables.realism_table(judgement),
        recognition={group: tables.recognition_tables(group, found) for group, found in recognition.items()},
        curves=log_panels(read_log(folder / "log.jsonl")),
        measured=[measure for measure in MEASURES.values() if measure.read(judgement)],
    )
    content = {"title": title, "written": now, "judgement": judgement.to_json(), "config": config}
    files.write_text(folder / "report.json", json.dumps(content, indent=1, allow_nan=False))
    files.write_text(folder / "report.html", page)
    return folder / "report.html"


def headline(judgement: Judgement) -> list[tuple[Measure, Estimate, str]]:
    """The headline numbers, each with what it is to be compared with."""
    truth = judgement.truth and judgement.truth.edits and judgement.truth.edits.truth_as_seen
    beside = {
        "edit_success": ("true images", "%", truth and truth.success),
        "edit_kept": ("true images", "%", truth and truth.preserved),
        "edit_psnr_db": ("unedited", "dB", MEASURES["edit_original_db"].read(judgement)),
        "frechet": ("other real images", "", MEASURES["frechet_real"].read(judgement)),
    }
    entries = []
    for key in HEADLINE:
        text, unit, other = beside.get(key, ("", "", None))
        if found := MEASURES[key].read(judgement):
            entries.append((MEASURES[key], found, f"{text}: {shown(other.value, unit)}" if other else ""))
    return entries


def image_grids(model: Method, pack: Pack, judgement: Judgement, count: int) -> tuple[dict, dict]:
    """Figures of label edits and of swaps, of images of the judged split."""
    seed = mix_seed(judgement.seed, "shown")
    rows = np.random.default_rng(seed).permutation(judged_rows(pack, judgement.split, 2 * count, seed))
    with evaluation_mode(model):
        images = pack.batch(rows[:count]).images.to(device_of(model))
        lending = pack.batch(rows[count:] if len(rows) > count else rows).images.to(device_of(model))
        targets, sources = model.encode(images), model.encode(lending)
        return label_figures(model, targets, images), swap_figures(model, targets, images, sources, lending)
