"""The report of a comparison: one page, a Markdown file, a table of numbers and everything as JSON, from its folder alone.

The page holds everything it shows, asks no network, needs no script, and follows the reader's light or dark setting.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from recombine import comparison_pictures, files, standings
from recombine.claims import holder_of
from recombine.report import INK, PALETTE, STYLE, curves, escape, look, picture, read_log, section, thinned
from recombine.standings import METRICS, Metric

FORMULA = (
    "95 %. Over several seeds: value ∓ √(s² + p²), where s = t(0.975; S − 1) · (standard deviation between seeds) / √S, and p is the root mean "
    "square of the distance from each seed's value to the end of its own interval. All seeds are judged on the same pictures, so p is not "
    "divided by their number. One seed keeps the judgement's own interval, which says nothing about the luck of a training."
)
RANKS = (
    "From the best rank that a method may have to the worst: those whose intervals overlap are not told apart, so 1–3 means that nobody is "
    "surely better and three cannot be told apart from the first to the third place."
)
MAP = 100           # side of a map, in the units of its drawing


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


def gathered(out: Path) -> dict:
    """Everything that the report says in numbers and words."""
    plan = json.loads((out / "plan.json").read_text())
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    metrics = {m.name: {"title": m.title, "unit": m.unit, "better": m.better, "says": m.says} for m in METRICS}
    data = {name: gathered_data(out, plan, name) for name in plan["data"]}
    return {"title": out.resolve().name, "written": written, "plan": plan, "metrics": metrics, "intervals": FORMULA, "ranks": RANKS, "data": data}


def gathered_data(out: Path, plan: Mapping, name: str) -> dict:
    """The standings of one data set, who is missing and why, and what each method cost."""
    judgements: dict[str, dict[int, dict]] = {}
    missing: dict[str, dict[str, str]] = {}
    for method, settings in plan["settings"][name].items():
        judgements[method] = {}
        if "cannot" in settings:
            missing[method] = {"all": f"cannot work with this data: {settings['cannot']}"}
            continue
        for seed in plan["seeds"]:
            folder = cell_folder(out, name, method, seed)
            if (folder / "judgement.json").exists():
                judgements[method][seed] = json.loads((folder / "judgement.json").read_text())
            elif plan["budget"] is not None or folder.exists():
                missing.setdefault(method, {})[str(seed)] = state(folder)
    table = standings.standings(judgements, plan["data"][name]["attributes"])
    done = {method: seeds for method, seeds in judgements.items() if seeds}
    order = sorted(done, key=lambda method: (table[method]["place"] is None, table[method]["place"] or 0, method))
    return {
        **plan["data"][name],
        "methods": {method: table[method] | cost(done[method]) | left_out(done[method]) for method in order},
        "absent": missing,
        "on_training_data": sorted(method for method, seeds in done.items() if any(j.get("on_training_data") for j in seeds.values())),
    }


def cell_folder(out: Path, data: str, method: str, seed: int | str) -> Path:
    """Where a cell of the comparison lies."""
    return out / "runs" / data / method.replace(":", "-") / str(seed)


def state(folder: Path) -> str:
    """Why a cell has no judgement."""
    if (folder / "failure.json").exists():
        failure = json.loads((folder / "failure.json").read_text())
        return f"{failure['kind']}: {failure['reason']}"
    holder = holder_of(folder / "claim") if folder.exists() else ""
    return f"not finished; {holder} works on it" if holder else "not finished; the same command goes on with it"


def cost(seeds: Mapping[int, Mapping]) -> dict:
    """Seconds of training and judging (means over seeds, with the lowest and highest), parameters and seeds."""
    found = [judgement["run"] for judgement in seeds.values()]
    seconds = {}
    for stage in ("training", "judging"):
        values = [run["seconds"][stage] for run in found if run["seconds"][stage] is not None]
        if values:
            seconds[stage] = {"value": float(np.mean(values)), "low": min(values), "high": max(values), "seeds": len(values)}
    first = found[0]
    return {"seconds": seconds, "parameters": first["parameters"], "pictures_seen": first.get("pictures_seen"), "seeds": sorted(seeds)}


def left_out(seeds: Mapping[int, Mapping]) -> dict:
    """What the judgements left out, and their reasons."""
    return {"left_out": {name: reason for judgement in seeds.values() for name, reason in judgement.get("left_out", {}).items()}}


def table(content: Mapping) -> str:
    """Every number in a line of its own, as CSV."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow(["data", "method", "metric", "unit", "better", "value", "low", "high", "rank_best", "rank_worst", "seeds", "n", "front"])
    for data, method, row in rows(content):
        for metric in METRICS:
            if found := row["metrics"].get(metric.name):
                numbers = [found["value"], found["low"], found["high"], *found["rank"], found["seeds"], found["n"]]
                lines.writerow([data, method, metric.name, metric.unit, metric.better, *numbers, int(row["front"])])
    return buffer.getvalue()


def rows(content: Mapping) -> Iterator[tuple[str, str, Mapping]]:
    """Data, method and what is known of it."""
    for data, found in content["data"].items():
        for method, row in found["methods"].items():
            yield data, method, row


def markdown(content: Mapping) -> str:
    """The report without pictures."""
    lines = [f"# {content['title']}", "", summary(content), ""]
    for name, data in content["data"].items():
        used = [m for m in METRICS if any(m.name in row["metrics"] for row in data["methods"].values())]
        lines += [f"## {name}", "", f"Compared on {', '.join(data['attributes'])}. Value (95 % interval) [rank]; * on the front of success against damage.", ""]
        lines += ["| method | seeds | " + " | ".join(f"{m.title}, {m.unit or 'number'}, {m.better} is better" for m in used) + " |", "|---|---|" + "---|" * len(used)]
        for method, row in data["methods"].items():
            cells = [text_of(row["metrics"].get(m.name), m) for m in used]
            lines.append(f"| {method}{' *' if row['front'] else ''} | {len(row['seeds'])} | " + " | ".join(cells) + " |")
        lines += ["", "| method | training, s | judging, s | parameters |", "|---|---|---|---|"]
        lines += [f"| {method} | {seconds(row, 'training')} | {seconds(row, 'judging')} | {row['parameters']:,} |" for method, row in data["methods"].items()]
        lines += ["", *(f"- {text}" for text in remarks(data)), ""]
    lines += ["## How it was made", "", *(f"    {command}" for command in content["plan"]["commands"]), "", f"Intervals: {FORMULA}", "", f"Ranks: {RANKS}", ""]
    return "\n".join(lines)


def text_of(found: Mapping | None, metric: Metric) -> str:
    """A number of the Markdown table."""
    if found is None:
        return "not measured"
    return f"{plain(found['value'], metric)} ({plain(found['low'], metric)} to {plain(found['high'], metric)}) [{rank(found)}]"


def summary(content: Mapping) -> str:
    """What was compared, in a sentence."""
    plan = content["plan"]
    budget = plan["budget"]
    if budget is None:
        spent = "runs trained before"
    elif budget["images"] is not None:
        spent = f"{budget['images']:,} pictures seen by each, a pair counting as two"
    else:
        spent = f"{budget['seconds']:g} seconds of training for each, as pictures at the speed measured before"
    count = len(plan["seeds"])
    return f"{len(plan['methods'])} methods, {count} seed{'s' * (count != 1)}, {spent}; {content['written']}"


def remarks(data: Mapping) -> list[str]:
    """Who is absent and why, what was not measured and why, what is not compared, in sentences."""
    said = []
    if data["on_training_data"]:
        said.append(f"judged on pictures that they were trained on, which says nothing about new ones: {', '.join(data['on_training_data'])}")
    for method, seeds in data["absent"].items():
        alike: dict[str, list[str]] = {}
        for seed, reason in seeds.items():
            alike.setdefault(reason, []).append(seed)
        for reason, which in alike.items():
            said.append(f"{method}{'' if which == ['all'] else ', seed ' + ', '.join(which)}: {reason}")
    if data["without"]:
        said.append(f"without {', '.join(data['without'])}, which this data set does not have")
    for method, names in data.get("not_shared", {}).items():
        said.append(f"{method} also learnt {', '.join(names)}, which not all runs did and which are not compared")
    reasons: dict[tuple[str, str], list[str]] = {}
    for method, row in data["methods"].items():
        for name, reason in row["missing"].items():
            reasons.setdefault((reason, next(m.title for m in METRICS if m.name == name)), []).append(method)
    said += [f"not measured: {title} of {', '.join(methods)}: {reason}" for (reason, title), methods in reasons.items()]
    return said


def page(content: Mapping, out: Path) -> str:
    """The whole page."""
    parts = [banner(content)]
    for name, data in content["data"].items():
        parts += data_sections(content, name, data, out, many=len(content["data"]) > 1)
    parts.append(section("How this was measured", [explanation(), commands(content)]))
    head = f"<header><h1>{escape(content['title'])}</h1><p>{escape(summary(content))}</p></header>"
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{meta}<title>{escape(content["title"])}</title><style>{STYLE}{MORE}</style></head>\n'
        f"<body><main>{head}\n{chr(10).join(part for part in parts if part)}\n</main></body></html>\n"
    )


def banner(content: Mapping) -> str:
    """What a reader must know before any number."""
    texts = []
    waiting = sum("not finished" in text for data in content["data"].values() for seeds in data["absent"].values() for text in seeds.values())
    if waiting:
        texts.append(f"{waiting} run{'s are' if waiting > 1 else ' is'} not finished; the numbers below will change.")
    if any(data["on_training_data"] for data in content["data"].values()):
        texts.append("Some runs are judged on pictures that they were trained on; these numbers say nothing about new ones.")
    return "".join(f'<p class="warning">{escape(text)}</p>' for text in texts)


def data_sections(content: Mapping, name: str, data: Mapping, out: Path, many: bool) -> Iterator[str]:
    """Everything about one data set."""
    of = f" on {name}" if many else ""
    methods, attributes = data["methods"], data["attributes"]
    firsts = {method: cell_folder(out, name, method, row["seeds"][0]) for method, row in methods.items()}
    shown = {method: comparison_pictures.read(folder / "shown.npz") for method, folder in firsts.items()}
    judgements = {method: json.loads((folder / "judgement.json").read_text()) for method, folder in firsts.items()}
    lead = f"Compared on {', '.join(attributes)}; {data['pictures']['train']:,} pictures to train on. Sorted by the mean of the ranks."
    yield section(f"Standings{of}", [standings_table(methods, [m for m in METRICS if m.headline])], lead)
    yield section(f"Success against damage{of}", [scatter(methods)], "Up and to the left is better. Whoever is on the line is beaten by nobody in both.")
    yield section(f"Swaps of the same pictures{of}", list(swap_tables(shown, attributes)), "Every method gives the upper picture the attribute of the one below it. First seed.")
    yield section(f"What leaks{of}", [heat_maps(judgements, attributes)], "How much more often than by guessing a fresh probe reads the attribute from the part. "
                  "Framed: the part should carry it. Everything red leaks. First seed.")
    yield section(f"The parts as maps{of}", [map_tables(shown, judgements, data)], "t-SNE of every part, coloured by what it carries; a part that carries nothing by "
                  "every attribute: no colour should stand apart there. First seed.")
    yield section(f"Training{of}", [progress_curves(name, methods, out, content), *losses(firsts)], "Against pictures seen.")
    yield section(f"All measures{of}", [standings_table(methods, [m for m in METRICS if not m.headline]), costs(methods)])
    yield section(f"Absent, or not measured{of}", [listed(remarks(data))])


def standings_table(methods: Mapping[str, Mapping], metrics: Sequence[Metric]) -> str:
    """One row a method: value, interval and rank of each metric; those that may be first are marked."""
    used = [m for m in metrics if any(m.name in row["metrics"] for row in methods.values())]
    if not used:
        return ""
    head = "".join(f'<th title="{escape(m.says)}">{escape(m.title)}<small>{m.unit or "&nbsp;"} {"↑" if m.better == "higher" else "↓"}</small></th>' for m in used)
    body = ""
    for method, row in methods.items():
        star = '<span class="front" title="on the front of success against damage">front</span>' if row["front"] else ""
        cells = "".join(standing(row["metrics"].get(m.name), row["missing"].get(m.name, "not measured"), m) for m in used)
        body += f'<tr><th scope="row">{escape(method)}{star}<small>{len(row["seeds"])} seed{"s" * (len(row["seeds"]) != 1)}</small></th>{cells}</tr>'
    return f'<div class="wide"><table class="standings"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def standing(found: Mapping | None, reason: str, metric: Metric) -> str:
    """A cell of the standings."""
    if found is None:
        return f'<td class="none" title="{escape(reason)}">·</td>'
    best = ' class="best"' if found["rank"][0] == 1 else ""
    bar = f' style="--share:{min(max(found["value"], 0), 1):.3f}"' if metric.share else ""
    count = f", n = {found['n']:,}" if found["n"] else ""
    return (
        f'<td{best}{bar} title="{found["seeds"]} seeds{count}: {", ".join(plain(v, metric) for v in found["values"])}"><b>{plain(found["value"], metric)}</b>'
        f'<span class="rank">{rank(found)}</span><small>{plain(found["low"], metric)} to {plain(found["high"], metric)}</small></td>'
    )


def rank(found: Mapping) -> str:
    """A range of ranks as people read it."""
    best, worst = found["rank"]
    return f"{best}" if best == worst else f"{best}–{worst}"


def plain(value: float, metric: Metric) -> str:
    """A number without its unit."""
    if metric.unit == "%":
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if metric.unit == "dB" else f"{value:.3f}"


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
        for dx, dy, side in ((8, 0, "left"), (-8, 0, "right"), (8, 9, "left"), (8, -9, "left"), (-8, 9, "right"), (-8, -9, "right"), (8, 18, "left"), (8, -18, "left")):
            low = x + dx - (width if side == "right" else 0)
            box = (low, y + dy - 5, low + width, y + dy + 5)
            covered = sum(box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken)
            tried.append((covered + 9 * (box[0] < left or box[2] > right), len(tried), (dx, dy, side), box))
        _, _, best, box = min(tried)
        taken.append(box)
        found.append(best)
    return found


def swap_tables(shown: Mapping[str, Mapping[str, np.ndarray]], attributes: Sequence[str]) -> Iterator[str]:
    """For every attribute a table of pictures: takers, givers, the truth, and one row a method; and the reconstructions."""
    for name in attributes:
        having = [method for method, arrays in shown.items() if f"taker/{name}" in arrays]
        if having:
            first = shown[having[0]]
            top = {"picture": first[f"taker/{name}"], f"its {name} from": first[f"giver/{name}"]}
            top |= {"truth": first[f"truth/{name}"]} if f"truth/{name}" in first else {}
            yield strips(name, top, {method: shown[method].get(f"swap/{name}") for method in having})
    having = [method for method, arrays in shown.items() if "rebuilt" in arrays]
    if having:
        yield strips("taken apart and put together", {"picture": shown[having[0]]["pictures"]}, {method: shown[method]["rebuilt"] for method in having})


def strips(name: str, top: Mapping[str, np.ndarray], below: Mapping[str, np.ndarray | None]) -> str:
    """Rows of pictures, each with a name on its left."""
    body = ""
    for place, (label, pixels) in enumerate({**top, **below}.items()):
        first = ' class="first"' if place == len(top) else ""
        cell = '<td class="none">no part carries it</td>'
        if pixels is not None:
            images = torch.from_numpy(np.ascontiguousarray(pixels)).float() / 127.5 - 1
            cell = f"<td>{picture(images[None], f'{name}, {label}', images.shape[-1])}</td>"
        body += f'<tr{first}><th scope="row">{escape(label)}</th>{cell}</tr>'
    return f'<figure class="strips"><figcaption>{escape(name)}</figcaption><div class="wide"><table><tbody>{body}</tbody></table></div></figure>'


def heat_maps(judgements: Mapping[str, Mapping], attributes: Sequence[str]) -> str:
    """Part by attribute for every method."""
    figures = ""
    for method, judgement in judgements.items():
        matrix, carries = look(judgement, "leakage", "matrix", "two_layer"), judgement.get("carries", {})
        if not matrix:
            continue
        head = "".join(f'<th class="turned"><span>{escape(name)}</span></th>' for name in attributes)
        body = "".join(
            f'<tr><th scope="row">{escape(part)}</th>{"".join(heat(row.get(name), name in carries.get(part, ())) for name in attributes)}</tr>'
            for part, row in matrix.items()
        )
        figures += (
            f'<figure><table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table><figcaption>{escape(method)}</figcaption></figure>'
        )
    return f'<div class="figures heats">{figures}</div>' if figures else ""


def heat(found: Mapping | None, own: bool) -> str:
    """A cell of a heat map."""
    value = look(found or {}, "above") or look(found or {}, "r2")
    if not value:
        return '<td class="none"></td>'
    kind = "own" if own else "heat"
    title = f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f}), n = {value['n']:,}"
    return f'<td class="{kind}" style="--damage:{min(max(value["value"], 0), 1):.3f}" title="{title}">{100 * value["value"]:.0f}</td>'


def map_tables(shown: Mapping[str, Mapping[str, np.ndarray]], judgements: Mapping[str, Mapping], data: Mapping) -> str:
    """A row of maps for every method."""
    figures = ""
    for method, arrays in shown.items():
        carries = judgements[method].get("carries", {})
        panels = ""
        for key, places in arrays.items():
            kind, _, part = key.partition("/")
            if kind != "map":
                continue
            own = [name for name in carries.get(part, ()) if name in data["attributes"]]
            for name in own or data["attributes"]:
                panels += f"<figure>{dots(places, arrays[f'label/{name}'], f'{part} coloured by {name}')}<figcaption>{escape(part)}<br>by {escape(name)}</figcaption></figure>"
        if panels:
            figures += f'<h3>{escape(method)}</h3><div class="maps">{panels}</div>'
    return figures


def dots(places: np.ndarray, labels: np.ndarray, text: str) -> str:
    """A map as a drawing: one path of dots for every value, eight for a number."""
    known = comparison_pictures.known(labels)
    if labels.dtype.kind == "f":
        order = np.argsort(np.argsort(labels[known])) * 8 // max(1, known.sum())
        groups = np.full(len(labels), -1)
        groups[known] = order
        colours = [f"hsl({220 - 25 * step} 75% 55%)" for step in range(8)]
    else:
        groups, colours = np.where(known, labels, -1), PALETTE
    paths = ""
    for group in np.unique(groups[groups >= 0]).tolist():
        spots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in 3 + places[groups == group] * (10 * MAP - 6))
        paths += f'<path d="{spots}" stroke="{colours[group % len(colours)]}"/>'
    return f'<svg viewBox="-20 -20 {10 * MAP + 40} {10 * MAP + 40}" role="img" aria-label="{escape(text)}"><g class="dots">{paths}</g></svg>'


def progress_curves(name: str, methods: Mapping[str, Mapping], out: Path, content: Mapping) -> str:
    """Edit success against pictures seen: a panel for every method, all its seeds, the others behind it in grey."""
    lines: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for method, row in methods.items():
        per = content["plan"]["settings"][name][method].get("pictures_a_sample", 1)
        for seed in row["seeds"]:
            points = [(per * e["images"], 100 * e["edit_success/all"]) for e in read_log(cell_folder(out, name, method, seed) / "log.jsonl") if "edit_success/all" in e]
            if len(points) > 1:
                lines.setdefault(method, []).append(thinned(points))
    if not lines:
        return ""
    across = min(4, len(lines))
    down = -(-len(lines) // across)
    figure = Figure(figsize=(2.5 * across + 0.4, 1.75 * down + 0.3), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, method in zip(panels, lines, strict=False):
        for other, several in lines.items():
            for images, values in several:
                front = other == method
                axes.plot(images, values, color=PALETTE[0] if front else INK, alpha=0.95 if front else 0.22, linewidth=1.5 if front else 0.8, zorder=2 + front)
        axes.set_title(method, fontsize=9, color=INK)
        axes.set_ylim(0, 100)
        framed(axes)
    for axes in panels[len(lines) :]:
        axes.set_visible(False)
    return drawing(figure, "edit success of every method while it trains", "edits that succeed, %, of 128 pictures; every seed, the other methods in grey")


def losses(firsts: Mapping[str, Path]) -> Iterator[str]:
    """The losses of every method, folded."""
    for method, folder in firsts.items():
        drawn = curves([{name: value for name, value in entry.items() if name != "images_per_second"} for entry in read_log(folder / "log.jsonl")])
        if drawn:
            yield f"<details><summary>{escape(method)}</summary>{''.join(drawn)}</details>"


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
    return f'<figure class="drawing"><img src="data:image/svg+xml;base64,{data}" alt="{escape(text)}">{below}</figure>'


def costs(methods: Mapping[str, Mapping]) -> str:
    """Seconds and parameters of every method."""
    body = "".join(
        f'<tr><th scope="row">{escape(method)}</th><td>{seconds(row, "training")}</td><td>{seconds(row, "judging")}</td><td>{row["parameters"]:,}</td></tr>'
        for method, row in methods.items()
    )
    head = "<th>training, seconds</th><th>judging, seconds</th><th>parameters</th>"
    return f'<h3>Cost</h3><div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def seconds(row: Mapping, stage: str) -> str:
    """Seconds over seeds as people read them."""
    found = row["seconds"].get(stage)
    if found is None:
        return "not known"
    return f"{found['value']:.0f}" if found["seeds"] == 1 else f"{found['value']:.0f} ({found['low']:.0f} to {found['high']:.0f})"


def listed(texts: Sequence[str]) -> str:
    """Sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>" if texts else "<p>Nobody and nothing.</p>"


def explanation() -> str:
    """What the words mean."""
    words = {m.title: f"{m.says}; {m.better} is better." for m in METRICS}
    words |= {"Intervals": FORMULA, "Ranks": RANKS, "Front": "nobody succeeds as often and keeps as much, and more of one of them."}
    return f"<dl>{''.join(f'<dt>{escape(word)}</dt><dd>{escape(text)}</dd>' for word, text in words.items())}</dl>"


def commands(content: Mapping) -> str:
    """How the comparison was started, and its plan, folded."""
    lines = "".join(f"<pre>{escape(command)}</pre>" for command in content["plan"]["commands"])
    plan = escape(json.dumps(content["plan"], indent=1, ensure_ascii=False))
    return f"{lines}<details><summary>plan.json</summary><pre>{plan}</pre></details>"


MORE = """
.standings th small, .standings td small { display: block; font-weight: 400 } .standings td { background-position: .6rem calc(100% - 1px) }
.standings .best b { color: rgb(var(--accent)) } .standings .best b::after { content: " ●"; font-size: .6rem; vertical-align: middle }
.rank { float: right; margin-left: .7rem; color: var(--soft); font-size: .75rem; border: 1px solid var(--line); border-radius: .7rem; padding: 0 .4rem }
.front { margin-left: .5rem; font-size: .7rem; font-weight: 600; color: rgb(var(--accent)); border: 1px solid rgb(var(--accent) / .6); border-radius: .7rem; padding: 0 .4rem }
.drawing img { width: 100%; max-width: 860px } .drawing { margin: .5rem 0 1rem }
section { min-width: 0 } .strips { display: inline-block; vertical-align: top; margin: 0 1.6rem 1.4rem 0; max-width: 100% } .strips figcaption { text-align: left; font-weight: 600; color: var(--ink) }
.strips th { font-weight: 400; font-size: .8rem; padding: 0 .6rem 0 0 } .strips td { padding: 1px 0; background: none } .strips tbody tr { border: 0 } .strips .first > * { padding-top: .5rem }
.strips img { max-width: none; image-rendering: pixelated } .strips .none { font-size: .78rem }
.heats { gap: 1.4rem 2.2rem } .matrix td.own { background: none; box-shadow: inset 0 0 0 1.5px rgb(var(--accent) / .8) } .matrix .none { background: none }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: .6rem } .maps svg { width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: .4rem; display: block }
.maps figcaption { font-size: .75rem; line-height: 1.25 } .dots { fill: none; stroke-width: 26; stroke-linecap: round; opacity: .8 }
"""
