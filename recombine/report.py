"""A run's report: `report.html`, one page with pictures, numbers and curves, and `report.json` with the same numbers.

The page holds everything it shows, asks no network, needs no script, and follows the reader's light or dark setting.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from recombine import files
from recombine.codes import Codes
from recombine.data.images import to_pixels
from recombine.data.packed import Pack
from recombine.data.schema import Attribute, mix_seed
from recombine.edit import set_label, swap
from recombine.judge import judged_rows
from recombine.method import Method
from recombine.metrics.transfer import device_of, judging

PALETTE = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#06b6d4", "#d946ef", "#84cc16")
INK = "#868e98"  # axes and letters of curves: readable on white and on black
MOST_ATTRIBUTES = 16  # with pictures of their own on the page


def report(
    folder: str | Path,
    judgement: Mapping,
    *,
    model: Method | None = None,
    pack: Pack | None = None,
    title: str | None = None,
    pictures: int = 5,
) -> Path:
    """Write the report of a run.

    Args:
        folder: The run's folder; its `log.jsonl` and `config.json` are read where they are.
        judgement: What `recombine.judge.judge` found.
        model: Draws the picture grids, together with `pack`; without them the page has none.
        pack: Where the pictures come from; those shown are of the judged split.
        title: The page's; the folder's name when None.
        pictures: Rows and columns of the grids.

    Returns:
        The path of `report.html`.
    """
    folder = Path(folder)
    config, log = read_config(folder), read_log(folder / "log.jsonl")
    title = title or folder.resolve().name
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    shown = grids(model, pack, judgement, pictures) if model is not None and pack is not None else []
    page = render_page(title, now, judgement, shown, curves(log), config)
    content = {"title": title, "written": now, "judgement": judgement, "config": config}
    files.write_text(folder / "report.json", json.dumps(content, indent=1, allow_nan=False))
    files.write_text(folder / "report.html", page)
    return folder / "report.html"


def render_page(
    title: str, written: str, judgement: Mapping, grids: Sequence[str], curves: Sequence[str], config: Mapping
) -> str:
    """The whole page from its finished parts."""
    method = config.get("method")
    about = f"{escape(method)}, " if method else ""
    share = f"{judgement['pictures']:,} of {judgement['of']:,}" if judgement["pictures"] < judgement["of"] else f"{judgement['of']:,}"
    sections = [
        warning(judgement),
        tiles(judgement),
        section("Edits", grids, "Every column is one edit of the pictures on the left; none was seen in training."
                if not judgement["on_training_data"] else "Every column is one edit of the pictures on the left."),
        section("Attribute by attribute", [attribute_table(judgement)]),
        section("What else an edit changes", [kept_table(judgement)], "Share of pictures in which the attribute above "
                "is seen as before, after an edit of the attribute on the left."),
        section("Training", curves, "Against images seen."),
        section("How this was measured", [explanation(judgement)]),
        section("Settings", [settings(config)]),
    ]
    head = f"<header><h1>{escape(title)}</h1><p>{about}judged on {share} pictures of the split "
    head += f"<b>{escape(judgement['split'])}</b>, {escape(written)}</p></header>"
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{meta}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body><main>{head}\n{chr(10).join(part for part in sections if part)}\n</main></body></html>\n"
    )


def escape(text: object) -> str:
    """Text that stays text inside the page."""
    return html.escape(str(text))


def section(name: str, parts: Sequence[str], lead: str = "") -> str:
    """A heading with its parts; nothing where there is none."""
    parts = [part for part in parts if part]
    lead = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(name)}</h2>{lead}{''.join(parts)}</section>" if parts else ""


def warning(judgement: Mapping) -> str:
    """A notice where the numbers say nothing about new pictures."""
    if not judgement["on_training_data"]:
        return ""
    return '<p class="warning">These pictures were used in training. The numbers below say nothing about new ones.</p>'


def tiles(judgement: Mapping) -> str:
    """The headline numbers, each with its interval."""
    entries = [
        ("Edits that succeed", percent, ("edits", "all", "success"), "the wanted label is seen" + of_truth(judgement, "success")),
        ("Others kept", percent, ("edits", "all", "kept"), "other attributes are seen as before" + of_truth(judgement, "kept")),
        ("Swaps that succeed", percent, ("swaps", "all", "success"), "the other picture's label is seen"),
        ("Edit against truth", decibel, ("truth", "edits", "psnr", "all", "edited"), beside_truth(judgement)),
        ("Reconstruction", decibel, ("reconstruction", "psnr"), "PSNR, mean over pictures"),
        ("SSIM", number, ("reconstruction", "ssim"), "structural similarity, 1 = equal"),
    ]
    cells = []
    for name, unit, path, note in entries:
        found = look(judgement, *path)
        if found:
            cells.append(
                f'<div class="tile"><span>{escape(name)}</span><strong>{unit(found["value"])}</strong>'
                f"<small>{span(found, unit)}</small><small>n = {found['n']:,}</small><small>{escape(note)}</small></div>"
            )
    return f'<div class="tiles">{"".join(cells)}</div>'


def of_truth(judgement: Mapping, measure: str) -> str:
    """What the true pictures themselves score, the most that any method could."""
    found = look(judgement, "truth", "edits", "truth_as_seen", measure)
    return f"; true pictures score {percent(found['value'])}" if found else ""


def beside_truth(judgement: Mapping) -> str:
    """What stands below the PSNR against the truth."""
    original = look(judgement, "truth", "edits", "psnr", "all", "original")
    return f"PSNR; the unedited picture has {decibel(original['value'])}" if original else ""


def attribute_table(judgement: Mapping) -> str:
    """One row an attribute: success, what is kept, swaps, PSNR, sensitivity and how good the classifier is."""
    columns = {
        "edit succeeds": ("edits", "attributes", None, "success"),
        "others kept": ("edits", "attributes", None, "kept"),
        "swap succeeds": ("swaps", "attributes", None, "success"),
        "others kept by swap": ("swaps", "attributes", None, "kept"),
        "classifier right": ("judge", "attributes", None, "accuracy"),
        "PSNR to truth": ("truth", "edits", "psnr", None, "edited"),
        "unedited to truth": ("truth", "edits", "psnr", None, "original"),
        "pixels moved": ("sensitivity", None),
    }
    places = [("edits", "attributes"), ("swaps", "attributes"), ("truth", "edits", "psnr"), ("sensitivity",)]
    names = list(dict.fromkeys(n for place in places for n in look(judgement, *place) or {} if n != "all"))
    used = {c: path for c, path in columns.items() if any(look(judgement, *(p or n for p in path)) for n in names)}
    rows = ["".join(measured(look(judgement, *(p or name for p in path)), column) for column, path in used.items()) for name in names]
    head = "".join(f"<th>{escape(column)}</th>" for column in used)
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{row}</tr>' for name, row in zip(names, rows, strict=True))
    return f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>' if used else ""


def measured(found: Mapping | None, column: str) -> str:
    """A cell of the attribute table: the value, a bar where it is a share, its interval."""
    if not found:
        return '<td class="none">·</td>'
    unit = decibel if "truth" in column else percent
    bar = f' style="--share:{found["value"]:.3f}"' if unit is percent and column != "pixels moved" else ""
    return f'<td{bar} title="n = {found["n"]:,}"><b>{unit(found["value"])}</b><small>{span(found, unit)}</small></td>'


def kept_table(judgement: Mapping) -> str:
    """Edited attribute by other attribute; darker where more is damaged."""
    kept = look(judgement, "edits", "kept_of") or {}
    others = list(dict.fromkeys([*kept, *(other for row in kept.values() for other in row)]))
    if len(others) < 2:
        return ""
    head = "".join(f'<th class="turned"><span>{escape(other)}</span></th>' for other in others)
    body = ""
    for name, row in kept.items():
        cells = "".join(
            f'<td class="heat" style="--damage:{1 - row[o]["value"]:.3f}" title="{escape(name)} edited, {escape(o)} kept, n = {row[o]["n"]:,}">'
            f"{row[o]['value']:.0%}</td>" if o in row else '<td class="none"></td>'
            for o in others
        )
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    return f'<div class="wide"><table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def explanation(judgement: Mapping) -> str:
    """What the words mean, what could not be measured, and how long it took."""
    words = {
        "Edit succeeds": "an independent classifier, trained on the training split and never shown to the method, sees the "
        "wanted value in the edited picture. Every attribute of every picture is set to another value.",
        "Others kept": "over all other attributes, the classifier sees the same value as in the original picture.",
        "Swap": "the attribute's part is taken from another picture with another label; that label is the wanted one.",
        "PSNR": "in dB, of pictures on [0, 1], of every picture by itself and then averaged; 100 dB for equal ones.",
        "Pixels moved": "mean difference of all pixels, in % of the full range, between two values of the label; 0 means "
        "that the label is ignored.",
        "Intervals": "95 %, Wilson for shares, bootstrap for means; several verdicts on one picture count as fewer.",
    }
    rows = "".join(f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in words.items())
    for name, reason in judgement.get("left_out", {}).items():
        rows += f"<dt>Left out: {escape(name)}</dt><dd>{escape(reason)}</dd>"
    before = look(judgement, "edits", "all", "kept_unedited")
    if before:
        rows += f"<dt>Without any edit</dt><dd>taking a picture apart and putting it together keeps {percent(before['value'])}</dd>"
    seconds = ", ".join(f"{escape(name)} {value:.0f} s" for name, value in judgement.get("seconds", {}).items())
    return f"<dl>{rows}</dl>" + (f"<p><small>Time: {seconds}</small></p>" if seconds else "")


def settings(config: Mapping) -> str:
    """The run's settings, folded."""
    text = json.dumps(config, indent=2, ensure_ascii=False)
    return f"<details><summary>config.json</summary><pre>{escape(text)}</pre></details>" if config else ""


def grids(model: Method, pack: Pack, judgement: Mapping, count: int) -> list[str]:
    """Figures of label edits and swaps, of pictures drawn from the judged split."""
    seed = mix_seed(judgement["seed"], "shown")
    rows = np.random.default_rng(seed).permutation(judged_rows(pack, judgement["split"], 2 * count, seed))
    takers, givers = rows[:count], rows[count:] if len(rows) > count else rows
    with judging(model):
        images = pack.batch(takers).images.to(device_of(model))
        codes = model.encode(images)
        given = pack.batch(givers).images.to(device_of(model))
        parts = swap_figures(model, codes, images, model.encode(given), given)
        return [label_figures(model, codes, images), f'<h3>Swaps</h3><p class="lead">The part of the picture above goes '
                f'into the picture on the left.</p><div class="figures">{"".join(parts)}</div>']


def label_figures(model: Method, codes: Codes, images: Tensor) -> str:
    """A table of pictures: the original, its reconstruction, and one column a value."""
    groups = [("", [("original", images), ("rebuilt", model.decode(codes))])]
    editable = [a for a in model.schema.attributes if a.kind != "group" and a.name in codes]
    for attribute in editable[:MOST_ATTRIBUTES]:
        labels: list[tuple[str, dict[str, Any]]] = [(text, {attribute.name: v}) for text, v in shown_values(attribute)]
        edited = [(text, model.decode(set_label(model, codes, **label))) for text, label in labels]
        groups.append((attribute.name, edited))
    top = "".join(f'<th colspan="{len(columns)}">{escape(name)}</th>' for name, columns in groups)
    names = "".join(f"<th>{escape(text)}</th>" for _, columns in groups for text, _ in columns)
    cells = "".join(
        f'<td>{picture(strip(images), f"{name} {text}".strip(), images.shape[-1])}</td>' for name, columns in groups for text, images in columns
    )
    return f'<div class="wide"><table class="pictures"><thead><tr>{top}</tr><tr>{names}</tr></thead><tbody><tr>{cells}</tr></tbody></table></div>'


def swap_figures(model: Method, codes: Codes, images: Tensor, given: Codes, giving: Tensor) -> Iterator[str]:
    """For every part one figure: takers on the left, givers above, every swap between them."""
    labelled = [name for name in codes if name in model.schema.names]
    parts = labelled if labelled else list(codes)
    for name in parts[:MOST_ATTRIBUTES]:
        rows = [torch.cat([taker[None], model.decode(swap(given, codes[i], name)[1])]) for i, taker in enumerate(images)]
        corner = torch.full_like(giving[:1], torch.nan)
        canvas = torch.stack([torch.cat([corner, giving]), *rows])  # [1 + takers, 1 + givers, channels, height, width]
        yield f"<figure>{picture(canvas, f'swaps of {name}', images.shape[-1], apart=4)}<figcaption>{escape(name)}</figcaption></figure>"


def shown_values(attribute: Attribute) -> list[tuple[str, object]]:
    """The values that get a column, each with its heading."""
    if attribute.kind == "continuous":
        low, high = attribute.low or 0.0, attribute.high or 0.0
        return [(f"{value:.3g}", value) for value in (low, (low + high) / 2, high)]
    if attribute.values == ("0", "1"):
        return [("no", 0), ("yes", 1)]
    return [(value, value) for value in attribute.values]


def strip(images: Tensor) -> Tensor:
    """Pictures below each other, as a canvas `[pictures, 1, channels, height, width]`."""
    return images[:, None]


def picture(canvas: Tensor, text: str, width: int, gap: int = 2, apart: int = 0) -> str:
    """An embedded PNG of pictures `[down, across, channels, height, width]` with clear gaps; NaN stays clear.

    The first row and column stand `apart` pixels more from the others.
    """
    down, across, channels, height, wide = canvas.shape
    canvas = (canvas if channels == 3 else canvas[:, :, :1].expand(-1, -1, 3, -1, -1)).cpu()
    pixels = np.zeros((down * (height + gap) - gap + apart, across * (wide + gap) - gap + apart, 4), np.uint8)
    for i, j in product(range(down), range(across)):
        if not canvas[i, j].isnan().any():
            top, left = i * (height + gap) + apart * (i > 0), j * (wide + gap) + apart * (j > 0)
            place = pixels[top : top + height, left : left + wide]
            place[..., :3], place[..., 3] = to_pixels(canvas[i, j]).transpose(1, 2, 0), 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    size = round(pixels.shape[1] * max(1, round(64 / width)))
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" width="{size}" alt="{escape(text)}">'


def read_config(folder: Path) -> dict:
    """The run's `config.json`; empty where there is none."""
    path = folder / "config.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


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


def look(values: Mapping, *path: str) -> Mapping | None:
    """What stands at a path of names; None where it was not measured."""
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return None
        values = values[name]
    return values


def span(found: Mapping, unit: Callable[[float], str]) -> str:
    """An interval as it is shown, the unit once."""
    low, high = unit(found["low"]), unit(found["high"])
    return f"{low.split()[0]} to {high}"


def percent(value: float) -> str:
    """A share as it is shown."""
    return f"{100 * value:.1f} %"


def decibel(value: float) -> str:
    """A PSNR as it is shown."""
    return f"{value:.1f} dB"


def number(value: float) -> str:
    """A plain number as it is shown."""
    return f"{value:.3f}"


def _flat(entry: Mapping, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from _flat(value, "" if name == "losses" else f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + name, value


STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1b1f24; --soft: #5f6873; --line: #e3e5e8;
  --accent: 59 130 246; --alarm: 220 60 50 }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1c1f25; --ink: #e8eaed; --soft: #9aa4b0;
  --line: #2e333b; --accent: 96 165 250; --alarm: 248 113 113 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .3rem } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem }
header p, .lead { color: var(--soft); margin: .2rem 0 1rem }
small { color: var(--soft); font-size: .78rem }
.warning { border-left: 4px solid rgb(var(--alarm)); background: rgb(var(--alarm) / .12); padding: .7rem 1rem; font-weight: 600 }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: .7rem }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem .9rem; display: flex; flex-direction: column }
.tile span { color: var(--soft); font-size: .85rem } .tile strong { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto; padding-bottom: .4rem }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums }
th { font-weight: 600; text-align: left; vertical-align: bottom; padding: .3rem .6rem }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--paper); z-index: 1; white-space: nowrap }
thead th { color: var(--soft); font-size: .8rem } tbody tr { border-top: 1px solid var(--line) }
tbody th { vertical-align: middle } td { padding: .35rem .6rem; white-space: nowrap;
  background: linear-gradient(rgb(var(--accent) / .55), rgb(var(--accent) / .55)) .6rem 100% / calc((100% - 1.2rem) * var(--share, 0)) 3px no-repeat }
td small { display: block } td.none { color: var(--soft) }
.matrix td { text-align: center; padding: .3rem .45rem; background: rgb(var(--alarm) / calc(var(--damage, 0) * .8)); font-size: .78rem }
.matrix .turned { vertical-align: bottom; padding: .3rem } .turned span { writing-mode: vertical-rl; transform: rotate(180deg) }
.pictures th { text-align: center; padding: .1rem .3rem; white-space: nowrap; position: static } .pictures td { padding: 0 1px; background: none }
.pictures thead tr:first-child th { color: var(--ink) } .pictures tbody tr { border: 0 } .pictures td img { margin: auto }
img { display: block; max-width: 100%; height: auto } .pictures img { max-width: none }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem } figure { margin: 0; max-width: 100% }
figcaption { color: var(--soft); font-size: .85rem; text-align: center; padding-top: .2rem } .curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 1rem }
.curves img { width: 100% }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .3rem 1rem; font-size: .9rem } dt { font-weight: 600 } dd { margin: 0 }
details, pre { max-width: 100%; overflow-x: auto; font-size: .8rem } summary { cursor: pointer }
@media (max-width: 600px) { dl { grid-template-columns: 1fr } dd { margin-bottom: .5rem } .tiles { grid-template-columns: 1fr 1fr } .tile strong { font-size: 1.35rem } }
"""
