"""The report of a comparison, from its folder alone: a page, a Markdown file, a table of numbers, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recombine import files
from recombine.comparison import samples
from recombine.comparison.content import PARETO, cell_folder, gathered, rank, read_cell, remarks, table
from recombine.data.images import to_float
from recombine.data.schema import MISSING
from recombine.evaluation.measures import COMPARED
from recombine.reports.curves import Axis, Curve, Mark, Panel, log_panels, panel
from recombine.reports.figures import Embedded, embed, render
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


WIDTH, HEIGHT = 640, 330                    # of the scatter plot, in the units of its drawing
LETTER = 6.2                                # width of one of its letters, about
CORNERS = tuple((8 * side, y, side) for y in (-9, 9, -19, 19, -29, 29) for side in (1, -1))  # of a name
MAP = 1000                                  # side of a map, in the units of its drawing
COLOURS = 8                                 # of the style sheet


class Point(NamedTuple):
    """A method in the scatter plot."""

    name: str
    x: float
    y: float
    bars: str                               # path of both intervals
    ahead: bool                             # Pareto-optimal
    label: tuple[float, float, str]         # x and y of the name, and its text-anchor


class Scatter(NamedTuple):
    """Success of swaps against what they damage."""

    points: Sequence[Point]
    front: str                              # path through the Pareto-optimal ones
    x_marks: Sequence[Mark]
    y_marks: Sequence[Mark]
    width: int = WIDTH
    height: int = HEIGHT


def scatter(methods: Mapping[str, Mapping]) -> Scatter | None:
    """Every method with its intervals; None where no method has both numbers."""
    both = {name: row["metrics"] for name, row in methods.items() if {"success", "kept"} <= row["metrics"].keys()}
    if not both:
        return None
    ends = ("low", "value", "high")
    success = np.array([[100 * found["success"][end] for end in ends] for found in both.values()])
    damage = np.array([[100 - 100 * found["kept"][end] for end in ends[::-1]] for found in both.values()])
    x, y = fitted(damage, WIDTH), fitted(success, HEIGHT)
    right, down = x.place(damage).round(1), (HEIGHT - y.place(success)).round(1)
    labels = beside(list(zip(right[:, 1].tolist(), down[:, 1].tolist(), strict=True)), list(both))
    points = [
        Point(name, a[1], b[1], f"M{a[0]} {b[1]}H{a[2]}M{a[1]} {b[0]}V{b[2]}", methods[name]["front"], label)
        for name, a, b, label in zip(both, right.tolist(), down.tolist(), labels, strict=True)
    ]
    front = " ".join(f"{point.x} {point.y}" for point in sorted(points, key=lambda point: point.x) if point.ahead)
    return Scatter(
        points,
        f"M{front}",
        [(right, f"{share:g}") for right, share in x.marks(7)],
        [(round(HEIGHT - up, 1), f"{share:g}") for up, share in y.marks(6)],
    )


def fitted(shares: np.ndarray, length: float) -> Axis:
    """An axis around shares in %, with some room."""
    room = 0.06 * max(np.ptp(shares), 5)
    return Axis(float(shares.min() - room), float(shares.max() + room), length)


def beside(spots: Sequence[tuple[float, float]], names: Sequence[str]) -> list[tuple[float, float, str]]:
    """Where each name stands beside its point, so that few cover each other: x, y and text-anchor."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    found = []
    for (x, y), name in zip(spots, names, strict=True):
        tried = []
        for dx, dy, side in CORNERS:
            left = x + dx - (LETTER * len(name) if side < 0 else 0)
            box = (left, y + dy - 6, left + LETTER * len(name), y + dy + 6)
            covered = sum(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)
            outside = box[0] < 0 or box[2] > WIDTH or box[1] < 0 or box[3] > HEIGHT
            label = (round(x + dx, 1), round(y + dy + 4, 1), "start" if side > 0 else "end")
            tried.append((covered + 9 * outside, len(tried), box, label))
        _, _, box, label = min(tried)
        taken.append(box)
        found.append(label)
    return found


def dots(places: np.ndarray, labels: np.ndarray) -> list[tuple[str, str]]:
    """A map of codes: for every value of an attribute the class of its colour and the path of its dots.

    Places are `[images, 2]` in [0, 1]. Missing labels have no dot; numbers fall into eight steps of equal size.
    """
    colour, groups = "c", labels
    if labels.dtype.kind == "f":
        known = ~np.isnan(labels)
        colour, groups = "s", np.full(len(labels), MISSING)
        groups[known] = np.argsort(np.argsort(labels[known])) * COLOURS // max(1, known.sum())
    spots = 3 + places * (MAP - 6)
    return [
        (f"{colour}{group % COLOURS}", "".join(f"M{x:.0f} {y:.0f}h0" for x, y in spots[groups == group]))
        for group in np.unique(groups[groups != MISSING]).tolist()
    ]
