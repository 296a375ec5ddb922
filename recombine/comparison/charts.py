"""The drawings of a comparison's page: success against damage, maps of codes, curves of a training.

All but the first are drawn as plain SVG, which is small, and takes the page's colours in light and in dark.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from recombine.comparison.samples import known
from recombine.reports.curves import INK, PALETTE, thinned
from recombine.reports.words import escape

MAP = 100           # side of a map, in the units of its drawing
WIDE, HIGH = 240, 110  # of a panel of curves, in the units of its drawing
POINTS = 120        # of a curve, at most
CORNERS = tuple((side * 7, y, "left" if side > 0 else "right") for y in (8, -8, 18, -18, 28, -28) for side in (1, -1))  # of a name, beside its point

Line = Sequence[tuple[float, float]]        # (images seen, value)


def scatter(methods: Mapping[str, Mapping]) -> str:
    """Success of swaps against what they damage, with intervals and the front."""
    both = {method: row for method, row in methods.items() if {"success", "kept"} <= row["metrics"].keys()}
    if not both:
        return ""
    figure = Figure(figsize=(9.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    placed: list[tuple[float, float, str, bool]] = []
    for method, row in both.items():
        success, kept = row["metrics"]["success"], row["metrics"]["kept"]
        x, y = 100 * (1 - kept["value"]), 100 * success["value"]
        colour = PALETTE[0] if row["front"] else INK
        reach = [[[x - 100 * (1 - kept["high"])], [100 * (1 - kept["low"]) - x]], [[y - 100 * success["low"]], [100 * success["high"] - y]]]
        axes.errorbar([x], [y], xerr=np.maximum(reach[0], 0), yerr=np.maximum(reach[1], 0), fmt="o", color=colour, markersize=6, elinewidth=1, alpha=0.9,
                      markerfacecolor=colour if row["front"] else "none")  # fmt: skip
        placed.append((x, y, method, row["front"]))
    line = sorted((x, y) for x, y, _, ahead in placed if ahead)
    axes.plot([x for x, _ in line], [y for _, y in line], color=PALETTE[0], linewidth=1.4, alpha=0.6, zorder=0)
    axes.set_xlabel("damage: other attributes not kept, %", color=INK)
    axes.set_ylabel("swaps that succeed, %", color=INK)
    framed(axes)
    figure.draw_without_rendering()
    for (x, y, method, ahead), (dx, dy, side) in zip(placed, offsets(axes, placed), strict=True):
        axes.annotate(method, (x, y), (dx, dy), textcoords="offset points", ha=side, va="center", fontsize=9, color=PALETTE[0] if ahead else INK)
    return drawing(figure, "success of swaps against damage", "")


def offsets(axes, placed: Sequence[tuple[float, float, str, bool]]) -> list[tuple[float, float, str]]:
    """Where each name stands beside its point, in points, so that few cover each other."""
    scale = 72 / axes.figure.dpi
    spots = [tuple(axes.transData.transform((x, y)) * scale) for x, y, _, _ in placed]
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    frame = axes.get_window_extent()
    left, right = frame.x0 * scale, frame.x1 * scale
    found = []
    for (x, y), (_, _, method, _) in zip(spots, placed, strict=True):
        width = 5.4 * len(method)
        tried = []
        for dx, dy, side in CORNERS:
            low = x + dx - (width if side == "right" else 0)
            box = (low, y + dy - 5, low + width, y + dy + 5)
            covered = sum(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken)
            tried.append((covered + 9 * (box[0] < left or box[2] > right), len(tried), (dx, dy, side), box))
        _, _, best, box = min(tried)
        taken.append(box)
        found.append(best)
    return found


def dots(places: np.ndarray, labels: np.ndarray, text: str) -> str:
    """A map as a drawing: one path of dots for every value, eight for a number."""
    there = known(labels)
    if labels.dtype.kind == "f":
        order = np.argsort(np.argsort(labels[there])) * 8 // max(1, there.sum())
        groups = np.full(len(labels), -1)
        groups[there] = order
        colours = [f"hsl({220 - 25 * step} 75% 55%)" for step in range(8)]
    else:
        groups, colours = np.where(there, labels, -1), PALETTE
    paths = ""
    for group in np.unique(groups[groups >= 0]).tolist():
        spots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in 3 + places[groups == group] * (10 * MAP - 6))
        paths += f'<path d="{spots}" stroke="{colours[group % len(colours)]}"/>'
    return f'<svg viewBox="-20 -20 {10 * MAP + 40} {10 * MAP + 40}" role="img" aria-label="{escape(text)}"><g class="dots">{paths}</g></svg>'


def legend(names: Mapping[str, Sequence[str]]) -> str:
    """Which colour stands for which value of each attribute on the maps."""
    lines = ""
    for name, values in names.items():
        dots = " ".join(f'<span><i style="background:{PALETTE[place % len(PALETTE)]}"></i>{escape(value)}</span>' for place, value in enumerate(values))
        lines += f"<dt>{escape(name)}</dt><dd>{dots}</dd>" if values else ""
    return f'<dl class="legend">{lines}</dl>' if lines else ""


def progress(lines: Mapping[str, Sequence[Line]], top: float = 100.0) -> str:
    """A panel for every method with the curves of all its seeds, those of the others behind it in grey."""
    if not lines:
        return ""
    end = max(images for several in lines.values() for line in several for images, _ in line)
    paths = {method: "".join(polyline(line, end, 0, top) for line in several) for method, several in lines.items()}
    panels = ""
    for method in lines:
        others = "".join(path for other, path in paths.items() if other != method)
        drawn = f'<g class="others">{others}</g><g stroke="{PALETTE[0]}">{paths[method]}</g>'
        panels += panel(drawn, method, (f"{top:g}", "0"), end, f"{method} while it trains")
    return f'<div class="panels">{panels}</div>'


def losses(log: Sequence[Mapping[str, float]], per: int = 1) -> str:
    """A panel for each group of names before a slash (a player's losses, edit success), one curve for each name.

    Args:
        log: What `recombine.reports.curves.read_log` gives.
        per: Images that one sample of the log's count shows.
    """
    panels = ""
    for name, lines in grouped(log, per).items():
        values = np.array([value for line in lines.values() for _, value in line])
        low, high = float(min(values.min(), 0 if values.min() < 0.5 * values.max() else values.min())), float(values.max())
        end = max(line[-1][0] for line in lines.values())
        colours = [PALETTE[place % len(PALETTE)] for place in range(len(lines))]
        drawn = "".join(f'<g stroke="{colour}">{polyline(line, end, low, high)}</g>' for colour, line in zip(colours, lines.values(), strict=True))
        terms = " ".join(f'<span style="color:{colour}">{escape(term)}</span>' for colour, term in zip(colours, lines, strict=True)) if len(lines) > 1 else ""
        panels += panel(drawn, name.replace("_", " "), (f"{high:.3g}", f"{low:.3g}"), end, f"{name} while it trains", terms)
    return f'<div class="panels">{panels}</div>' if panels else ""


def grouped(log: Sequence[Mapping[str, float]], per: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Group -> term -> its curve, of all that was measured more than once."""
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for entry in log:
        for name, value in entry.items():
            if name not in ("images", "learning_rate", "images_per_second") and np.isfinite(value):
                group, _, term = name.rpartition("/")
                groups.setdefault(group or name, {}).setdefault(term or name, []).append((per * entry["images"], value))
    found = {group: {term: line for term, line in lines.items() if len(line) > 1} for group, lines in groups.items()}
    return {group: lines for group, lines in found.items() if lines}


def polyline(line: Line, end: float, low: float, high: float) -> str:
    """A curve within a panel."""
    images, values = thinned(line, POINTS)
    x, y = WIDE * images / max(end, 1), HIGH * (1 - (values - low) / max(high - low, 1e-12))
    return f'<path d="M{" ".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, np.clip(y, 0, HIGH), strict=True))}"/>'


def panel(drawn: str, title: str, ends: tuple[str, str], end: float, text: str, below: str = "") -> str:
    """Curves in a frame, with the ends of both axes."""
    images = f"{end / 1000:g}k" if end >= 1000 else f"{end:g}"
    letters = f'<text x="-4" y="9" text-anchor="end">{ends[0]}</text><text x="-4" y="{HIGH}" text-anchor="end">{ends[1]}</text>'
    letters += f'<text x="{WIDE}" y="{HIGH + 13}" text-anchor="end">{images}</text>'
    frame = f'<path class="frame" d="M0 0V{HIGH}H{WIDE}"/>'
    below = f"<small>{below}</small>" if below else ""
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="-44 -3 {WIDE + 50} {HIGH + 20}" role="img" aria-label="{escape(text)}">'
        f'{frame}<g class="lines">{drawn}</g>{letters}</svg>{below}</figure>'
    )


def framed(axes) -> None:
    """Axes that can be read on white and on black."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8.5, which="both")
    axes.grid(color=INK, alpha=0.2, linewidth=0.6)


def drawing(figure: Figure, text: str, caption: str) -> str:
    """An embedded SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    width = round(96 * figure.get_size_inches()[0])
    return f'<figure class="drawing"><img src="data:image/svg+xml;base64,{data}" width="{width}" alt="{escape(text)}">{below}</figure>'
