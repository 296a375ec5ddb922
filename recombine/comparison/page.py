"""The report of a comparison, from its folder alone: a page, a Markdown file, a table of numbers, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recombine import files
from recombine.comparison import samples
from recombine.comparison.charts import dots, scatter
from recombine.comparison.content import PARETO, cell_folder, gathered, rank, read_cell, remarks, table
from recombine.data.images import to_float
from recombine.evaluation.measures import COMPARED
from recombine.reports.curves import Curve, Panel, log_panels, panel
from recombine.reports.figures import Embedded, embed
from recombine.reports.html import render
from recombine.reports.tables import leak_matrix
from recombine.training.log import read_log

SUCCESS = "edit_success/all"                # in a log


class Strips(NamedTuple):
    """Rows of images, each as one PNG."""

    name: str
    same: dict[str, Embedded | None]        # that all methods share
    methods: dict[str, Embedded | None]     # None where a method has no part for it


def report(out: str | Path) -> Path:
    """Write `report.html`, `report.md`, `table.csv` and `report.json` of a comparison, finished or not.

    Raises:
        ValueError: There is no comparison in this folder.
    """
    out = Path(out)
    if not (out / "plan.json").exists():
        raise ValueError(f"{out} holds no comparison: there is no plan.json in it")
    content = gathered(out)
    absent = [text for data in content["data"].values() for why in data["absent"].values() for text in why.values()]
    values = {
        "title": content["title"],
        "content": content,
        "waiting": sum("not finished" in text for text in absent),
        "shown": {name: shown_data(content, name, out) for name in content["data"]},
        "compared": COMPARED,
        "words": {"Intervals": content["intervals"], "Ranks": content["ranks"], "Pareto-optimal": PARETO},
        "rank": rank,
    }
    files.write_text(out / "report.json", json.dumps(content, indent=1, allow_nan=False))
    files.write_text(out / "table.csv", table(content))
    files.write_text(out / "report.md", render("comparison.md", **values))
    files.write_text(out / "report.html", render("comparison.html", **values))
    return out / "report.html"


def shown_data(content: Mapping, name: str, out: Path) -> dict:
    """What the page shows of one data set; images, maps and matrices are those of the first seed of every method."""
    data = content["data"][name]
    methods, attributes = data["methods"], data["attributes"]
    firsts = {method: cell_folder(out, name, method, row["seeds"][0]) for method, row in methods.items()}
    shown = {method: samples.read(folder / "shown.npz") for method, folder in firsts.items()}
    judgements = {method: read_cell(folder).judgement for method, folder in firsts.items()}
    leaks = {method: leak_matrix(judgement, "two_layer", attributes) for method, judgement in judgements.items()}
    progress, losses = training(content, name, out)
    return {
        "measures": [m for m in COMPARED if any(m.key in row["metrics"] for row in methods.values())],
        "scatter": scatter(methods),
        "strips": list(strips(shown, attributes)),
        "leaks": {method: matrix for method, matrix in leaks.items() if matrix},
        "maps": {method: maps(arrays, judgements[method].roles, attributes) for method, arrays in shown.items()},
        "progress": progress,
        "losses": losses,
        "remarks": remarks(data),
    }


def strips(shown: Mapping[str, samples.Arrays], attributes: Sequence[str]) -> Iterator[Strips]:
    """For every attribute the targets, the sources and the truth, below them every method; then the reconstructions."""
    swaps = [
        (name, {"target": f"taker/{name}", "source": f"giver/{name}", "truth": f"truth/{name}"}, f"swap/{name}")
        for name in attributes
    ]
    for name, same, own in [*swaps, ("reconstructions", {"original": "pictures"}, "rebuilt")]:
        having = {method: arrays for method, arrays in shown.items() if next(iter(same.values())) in arrays}
        for first in list(having.values())[:1]:
            yield Strips(
                name,
                {title: strip(first.get(key), f"{name}, {title}") for title, key in same.items() if key in first},
                {method: strip(arrays.get(own), f"{name}, {method}") for method, arrays in having.items()},
            )


def strip(pixels: np.ndarray | None, text: str) -> Embedded | None:
    """Images side by side as one PNG."""
    return None if pixels is None else embed(to_float(pixels)[None], text)


def maps(
    arrays: samples.Arrays, roles: Mapping[str, Sequence[str]], attributes: Sequence[str]
) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Part, attribute and dots: maps of a part, coloured by what it is meant to carry, or else by every attribute."""
    parts = [key.removeprefix("map/") for key in arrays if key.startswith("map/")]
    return [
        (part, name, dots(arrays[f"map/{part}"], arrays[f"label/{name}"]))
        for part in parts
        for name in [name for name in roles.get(part, ()) if name in attributes] or attributes
    ]


def training(content: Mapping, name: str, out: Path) -> tuple[list[Panel], dict[str, list[Panel]]]:
    """How edit success rose, every seed of every method; and the losses of every method's first seed."""
    success: dict[str, list[Curve]] = {}
    losses = {}
    for method, row in content["data"][name]["methods"].items():
        per = content["plan"]["settings"][name][method].get("pictures_a_sample", 1)
        cells = [cell_folder(out, name, method, seed) for seed in row["seeds"]]
        runs = [Path(read_cell(folder).run.get("path", folder)) for folder in cells]  # elsewhere if trained before
        logs = [read_log(run / "log.jsonl") for run in runs]
        for log in logs:
            line = [(per * entry["images"], 100 * entry[SUCCESS]) for entry in log if SUCCESS in entry]
            if len(line) > 1:
                success.setdefault(method, []).append(line)
        if panels := log_panels(logs[0], per):
            losses[method] = panels
    end = max((line[-1][0] for lines in success.values() for line in lines), default=0)
    others = {method: [line for other in success if other != method for line in success[other]] for method in success}
    return [panel(method, {"": lines}, others[method], (0, 100), end) for method, lines in success.items()], losses
