"""The drawings of a comparison's page: success against damage, and maps of codes, as paths that the template draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recombine.data.schema import MISSING
from recombine.reports.curves import Axis, Mark

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
    labels = beside([(a, b) for a, b in zip(right[:, 1].tolist(), down[:, 1].tolist(), strict=True)], list(both))
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

    Args:
        places: `[images, 2]` in [0, 1].
        labels: Of the same images; those that are missing have no dot. Numbers fall into eight steps of equal size.
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
