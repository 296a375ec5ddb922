"""A run's log as curves: paths that the templates draw as SVG, in the colours of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 240, 110                    # of a panel, in the units of its drawing
POINTS = 120                                # of a curve, at most
TERMS = 16                                  # curves of a panel, at most

Curve = Sequence[tuple[float, float]]       # (images seen, value)
Mark = tuple[float, str]                    # where along an axis, and what stands there


@dataclass(frozen=True)
class Axis:
    """Where values stand along a side of a drawing, from 0 for `low` to `length` for `high`; others at the end."""

    low: float
    high: float
    length: float
    logarithmic: bool = False

    def place(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """Distances from the end of `low`."""
        low, high, inside = self.low, self.high, np.clip(values, self.low, self.high)
        if self.logarithmic:
            low, high, inside = np.log10(low), np.log10(high), np.log10(inside)
        return self.length * (inside - low) / max(high - low, 1e-12)

    def marks(self, count: int) -> list[tuple[float, float]]:
        """About `count` round values within, each after its place, to a tenth."""
        if self.logarithmic:
            powers = np.arange(np.ceil(np.log10(self.low)), np.floor(np.log10(self.high)) + 1)
            values = 10.0 ** powers[:: 1 + len(powers) // count]
        else:
            rough = max(self.high - self.low, 1e-12) / count
            size = 10.0 ** np.floor(np.log10(rough))
            step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
            values = step * np.arange(np.ceil(self.low / step - 1e-9), np.floor(self.high / step + 1e-9) + 1) + 0.0
        return list(zip(self.place(values).round(1).tolist(), values.tolist(), strict=True))


@dataclass(frozen=True)
class Panel:
    """Curves in one frame."""

    title: str
    lines: Mapping[str, str]                # term -> path
    others: Sequence[str]                   # paths behind them, in grey
    x_marks: Sequence[Mark]
    y_marks: Sequence[Mark]
    width: int = WIDTH
    height: int = HEIGHT


def log_panels(log: Sequence[Mapping[str, float]], per: int = 1) -> list[Panel]:
    """A panel for each group of names before a slash (a player's losses, edit success), a curve for each name.

    `per` is the number of images that one sample of the log's count shows.
    """
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for entry in log:
        for name, value in entry.items():
            if name not in ("images", "learning_rate") and np.isfinite(value):
                group, _, term = name.rpartition("/")
                groups.setdefault(group or name, {}).setdefault(term, []).append((per * entry["images"], value))
    several = {name: {term: [line] for term, line in lines.items() if len(line) > 1} for name, lines in groups.items()}
    return [panel(name.replace("_", " "), lines) for name, lines in several.items() if lines]


def panel(
    title: str,
    curves: Mapping[str, Sequence[Curve]],
    others: Sequence[Curve] = (),
    limits: tuple[float, float] | None = None,
    end: float | None = None,
) -> Panel:
    """Curves in one frame: of each of the first 16 terms in one colour, and `others` in grey behind them.

    The values' axis has `limits`, or goes as far as the values, from 0 where they come near it; it is logarithmic where
    one term towers above the others. The images' axis goes to `end`, or to the last point.
    """
    curves = dict(list(curves.items())[:TERMS])
    points = np.array([point for several in curves.values() for curve in several for point in curve], dtype=float)
    logarithmic = False
    if limits is None:
        values = points[:, 1]
        low, high = float(values.min()), float(values.max())
        logarithmic = low > 0 and high > 50 * np.median(values)
        if low == high:
            low, high = min(0.0, 2 * low), max(0.0, 2 * high) or 1.0
        limits = (0.0 if not logarithmic and 0 < low < 0.5 * high else low, high)
    x, y = Axis(0, end or points[:, 0].max(), WIDTH), Axis(*limits, HEIGHT, logarithmic)
    return Panel(
        title,
        {term: "".join(path(curve, x, y) for curve in several) for term, several in curves.items()},
        [path(curve, x, y) for curve in others],
        [(right, f"{images / 1000:g}k" if images >= 1000 else f"{images:g}") for right, images in x.marks(4)],
        [(round(HEIGHT - up, 1), f"{value:.4g}") for up, value in y.marks(3)],
    )


def path(curve: Curve, x: Axis, y: Axis) -> str:
    """The path of a curve that is drawn within two axes; values grow upwards."""
    parts = np.array_split(np.array(curve, dtype=float), min(POINTS, len(curve)))  # each the mean of its neighbours
    images, values = np.array([part.mean(0) for part in parts]).T
    spots = zip(x.place(images), y.length - y.place(values), strict=True)
    return "M" + " ".join(f"{right:.1f} {down:.1f}" for right, down in spots)
