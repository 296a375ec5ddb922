"""A run's log as curves, each embedded as an SVG."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from recombine.reports.words import escape

PALETTE = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#06b6d4", "#d946ef", "#84cc16")
INK = "#868e98"  # axes and letters of curves: readable on white and on black


def read_log(path: Path) -> list[dict]:
    """The measurements of a `log.jsonl`, flat: name -> number; events and a line that a crash cut off are passed over."""
    lines = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "images" in entry and "event" not in entry:
            lines.append(dict(_flat(entry)))
    return lines


def curves(log: Sequence[Mapping[str, float]]) -> list[str]:
    """One figure for each group of names before a slash (a player's losses, edit success), and one for the speed."""
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for entry in log:
        for name, value in entry.items():
            if name not in ("images", "learning_rate") and np.isfinite(value):
                group, _, term = name.rpartition("/")
                groups.setdefault(group or name, {}).setdefault(term, []).append((entry["images"], value))
    drawn = [curve(name, lines) for name, lines in groups.items() if max(map(len, lines.values())) > 1]
    return [f'<div class="curves">{"".join(drawn)}</div>'] if drawn else []


def curve(name: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """An embedded SVG with one line for each name."""
    figure = Figure(figsize=(4.4, 2.7), layout="constrained")
    axes = figure.add_subplot()
    for i, (term, points) in enumerate(list(lines.items())[:16]):
        images, values = thinned(points)
        style = "-" if i < len(PALETTE) else "--"
        axes.plot(images, values, style, color=PALETTE[i % len(PALETTE)], linewidth=1.6, label=term)
    values = np.array([value for points in lines.values() for _, value in points])
    if values.min() > 0 and values.max() > 50 * np.median(values):
        axes.set_yscale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8.5, which="both")
    axes.xaxis.set_major_formatter(lambda images, _: f"{images / 1000:g}k" if images >= 1000 else f"{images:g}")
    axes.grid(color=INK, alpha=0.2, linewidth=0.6)
    if len(lines) > 1:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK, ncols=2 if len(lines) > 4 else 1)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = name.replace("_", " ")
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{escape(caption)} over images seen">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def thinned(points: Sequence[tuple[float, float]], most: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` points, each the mean of its neighbours."""
    parts = np.array_split(np.array(points, dtype=float), min(most, len(points)))
    means = np.array([part.mean(0) for part in parts])
    return means[:, 0], means[:, 1]


def _flat(entry: Mapping, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from _flat(value, "" if name == "losses" else f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + name, value
