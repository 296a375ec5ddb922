"""The report of a comparison: one page, a Markdown file, a table of numbers and everything as JSON, from its folder alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recombine import files
from recombine.comparison import samples
from recombine.comparison.charts import dots, scatter
from recombine.comparison.content import (
    FORMULA,
    PARETO,
    RANKS,
    cell_folder,
    gathered,
    markdown,
    rank,
    read_judgement,
    remarks,
    seconds,
    summary,
    table,
)
from recombine.data.images import to_float
from recombine.evaluation.measures import COMPARED
from recombine.reports.curves import Panel, log_panels, panel, read_log
from recombine.reports.figures import Embedded, embed
from recombine.reports.html import render
from recombine.reports.tables import leak_matrix

Arrays = Mapping[str, np.ndarray]           # of a method's shown.npz


class Strips(NamedTuple):
    """Rows of images, each as one PNG."""

    name: str
    same: dict[str, Embedded]               # that all methods share
    methods: dict[str, Embedded | None]     # None where a method has no part for it

    @classmethod
    def of(cls, name: str, shown: Mapping[str, Arrays], keys: Mapping[str, str], key: str) -> Strips:
        """Of the keys that all methods share, taken from the first, and of a key of each."""

        def row(title: str, pixels: np.ndarray) -> Embedded:
            return embed(to_float(pixels)[None], f"{name}, {title}")

        first = next(iter(shown.values()), {})
        same = {title: row(title, first[shared]) for title, shared in keys.items() if shared in first}
        return cls(name, same, {title: row(title, arrays[key]) if key in arrays else None for title, arrays in shown.items()})


def report(out: str | Path) -> Path:
    """Write `report.html`, `report.md`, `table.csv` and `report.json` of a comparison, finished or not.

    Raises:
        ValueError: There is no comparison in this folder.
    """
    out = Path(out)
    if not (out / "plan.json").exists():
        raise ValueError(f"{out} holds no comparison: there is no plan.json in it")
    content = gathered(out)
    files.write_text(out / "report.json", json.dumps(content, indent=1, allow_nan=False))
    files.write_text(out / "table.csv", table(content))
    files.write_text(out / "report.md", markdown(content))
    files.write_text(out / "report.html", page(content, out))
    return out / "report.html"


def page(content: Mapping, out: Path) -> str:
    """The whole page."""
    absent = [text for data in content["data"].values() for seeds in data["absent"].values() for text in seeds.values()]
    return render(
        "comparison.html",
        content=content,
        title=content["title"],
        summary=summary(content),
        waiting=sum("not finished" in text for text in absent),
        shown={name: shown_data(content, name, out) for name in content["data"]},
        compared=COMPARED,
        words={"Intervals": FORMULA, "Ranks": RANKS, "Pareto-optimal": PARETO},
        rank=rank,
        seconds=seconds,
    )


def shown_data(content: Mapping, name: str, out: Path) -> dict:
    """What the page draws of one data set, of the first seed of every method."""
    data = content["data"][name]
    methods, attributes = data["methods"], data["attributes"]
    firsts = {method: cell_folder(out, name, method, row["seeds"][0]) for method, row in methods.items()}
    shown = {method: samples.read(folder / "shown.npz") for method, folder in firsts.items()}
    judgements = {method: read_judgement(folder) for method, folder in firsts.items()}
    leaks = {method: leak_matrix(judgement, "two_layer", attributes) for method, judgement in judgements.items()}
    progress, losses = training(content, name, out)
    return {
        "metrics": [m for m in COMPARED if any(m.key in row["metrics"] for row in methods.values())],
        "scatter": scatter(methods),
        "strips": [several for several in strips(shown, attributes) if several.methods],
        "leaks": {method: matrix for method, matrix in leaks.items() if matrix},
        "maps": {method: maps(arrays, judgements[method].roles, attributes) for method, arrays in shown.items()},
        "progress": progress,
        "losses": losses,
        "remarks": remarks(data),
    }


def strips(shown: Mapping[str, Arrays], attributes: Sequence[str]) -> Iterator[Strips]:
    """For every attribute the targets, the sources and the truth, and below them every method; then the reconstructions."""
    for name in attributes:
        having = {method: arrays for method, arrays in shown.items() if f"taker/{name}" in arrays}
        keys = {"target": f"taker/{name}", "source": f"giver/{name}", "truth": f"truth/{name}"}
        yield Strips.of(name, having, keys, f"swap/{name}")
    having = {method: arrays for method, arrays in shown.items() if "rebuilt" in arrays}
    yield Strips.of("reconstructions", having, {"original": "pictures"}, "rebuilt")


def maps(arrays: Arrays, roles: Mapping[str, Sequence[str]], attributes: Sequence[str]) -> list[tuple[str, str, list]]:
    """Part, attribute and dots: every map of a part, coloured by what it is meant to carry, or else by every attribute."""
    parts = [key.removeprefix("map/") for key in arrays if key.startswith("map/")]
    return [
        (part, name, dots(arrays[f"map/{part}"], arrays[f"label/{name}"]))
        for part in parts
        for name in [name for name in roles.get(part, ()) if name in attributes] or attributes
    ]


def training(content: Mapping, name: str, out: Path) -> tuple[list[Panel], dict[str, list[Panel]]]:
    """How edit success rose, every seed of every method; and the losses of every method's first seed."""
    success: dict[str, list] = {}
    losses = {}
    for method, row in content["data"][name]["methods"].items():
        per = content["plan"]["settings"][name][method].get("pictures_a_sample", 1)
        logs = [read_log(run_folder(out, name, method, seed) / "log.jsonl") for seed in row["seeds"]]
        lines = [
            [(per * entry["images"], 100 * entry["edit_success/all"]) for entry in log if "edit_success/all" in entry]
            for log in logs
        ]
        success |= {method: several} if (several := [line for line in lines if len(line) > 1]) else {}
        losses |= {method: panels} if (panels := log_panels(logs[0], per)) else {}
    end = max((line[-1][0] for several in success.values() for line in several), default=0)
    progress = [
        panel(method, {"": lines}, [line for other in success if other != method for line in success[other]], (0, 100), end)
        for method, lines in success.items()
    ]
    return progress, losses


def run_folder(out: Path, data: str, method: str, seed: int) -> Path:
    """Where a cell's run lies: in its folder, or where it was trained before."""
    folder = cell_folder(out, data, method, seed)
    return Path(json.loads((folder / "judgement.json").read_text())["run"].get("path", folder))
