"""The report of a comparison: one page, a Markdown file, a table of numbers and everything as JSON, from its folder alone.

The page holds everything it shows, asks no network, needs no script, and follows the reader's light or dark setting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from recombine import files
from recombine.comparison import charts
from recombine.comparison import samples as pictures
from recombine.comparison.content import (
    FORMULA,
    RANKS,
    cell_folder,
    gathered,
    markdown,
    plain,
    rank,
    remarks,
    seconds,
    summary,
    table,
)
from recombine.comparison.ranking import METRICS, Metric
from recombine.reports.curves import read_log
from recombine.reports.figures import picture
from recombine.reports.style import STYLE
from recombine.reports.tables import leak_cell
from recombine.reports.words import escape, look, section


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
        texts.append("Some runs are judged on images that they were trained on; these numbers say nothing about new ones.")
    return "".join(f'<p class="warning">{escape(text)}</p>' for text in texts)


def data_sections(content: Mapping, name: str, data: Mapping, out: Path, many: bool) -> Iterator[str]:
    """Everything about one data set."""
    of = f" on {name}" if many else ""
    methods, attributes = data["methods"], data["attributes"]
    firsts = {method: cell_folder(out, name, method, row["seeds"][0]) for method, row in methods.items()}
    shown = {method: pictures.read(folder / "shown.npz") for method, folder in firsts.items()}
    judgements = {method: json.loads((folder / "judgement.json").read_text()) for method, folder in firsts.items()}
    lead = f"Compared on {', '.join(attributes)}; {data['pictures']['train']:,} images to train on. Sorted by the mean of the ranks."
    more = [m for m in METRICS if not m.headline]
    yield section(f"Standings{of}", [standings_table(methods, [m for m in METRICS if m.headline])], lead)
    yield section(f"Success against damage{of}", [charts.scatter(methods)], "Up and to the left is better. Whoever is on the line is beaten by nobody in both.")
    yield section(f"Swaps of the same images{of}", [f'<div class="figures pairs">{tables}</div>' if (tables := "".join(swap_tables(shown, attributes))) else ""], "Every method gives the image the attribute of the giver below it. First seed.")
    yield section(f"What leaks{of}", [heat_maps(judgements, attributes)], "How much more often than by guessing a fresh probe reads the attribute from the part. "
                  "Framed: the part should carry it. Everything red leaks. First seed.")
    yield section(f"The parts as maps{of}", [charts.legend(data.get("values", {})), map_tables(shown, judgements, data)], "t-SNE of every part, coloured by what it carries; a part that carries nothing by "
                  "every attribute: no colour should stand apart there. First seed.")
    yield section(f"Training{of}", list(training(content, name, methods, out)), "Edits that succeed, in % of 128 images, against images seen; every seed, "
                  "the other methods in grey. Below, folded: the losses of the first seed.")
    yield section(f"All measures{of}", [*(standings_table(methods, more[place : place + 5]) for place in range(0, len(more), 5)), costs(methods)])
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
        f'<td{best}{bar} title="{found["seeds"]} seeds{count}: {", ".join(plain(v, metric) for v in found["values"])}"><span class="top"><b>{plain(found["value"], metric)}</b>'
        f'<span class="rank">{rank(found)}</span></span><small>{plain(found["low"], metric)} to {plain(found["high"], metric)}</small></td>'
    )


def swap_tables(shown: Mapping[str, Mapping[str, np.ndarray]], attributes: Sequence[str]) -> Iterator[str]:
    """For every attribute a table of images: takers, givers, the truth, and one row a method; and the reconstructions."""
    for name in attributes:
        having = [method for method, arrays in shown.items() if f"taker/{name}" in arrays]
        if having:
            first = shown[having[0]]
            top = {"picture": first[f"taker/{name}"], "giver": first[f"giver/{name}"]}
            top |= {"truth": first[f"truth/{name}"]} if f"truth/{name}" in first else {}
            yield strips(name, top, {method: shown[method].get(f"swap/{name}") for method in having})
    having = [method for method, arrays in shown.items() if "rebuilt" in arrays]
    if having:
        yield strips("taken apart and put together", {"picture": shown[having[0]]["pictures"]}, {method: shown[method]["rebuilt"] for method in having})


def strips(name: str, top: Mapping[str, np.ndarray], below: Mapping[str, np.ndarray | None]) -> str:
    """Rows of images, each with a name on its left."""
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
            f'<tr><th scope="row">{escape(part)}</th>{"".join(leak_cell(row.get(name), name in carries.get(part, ())) for name in attributes)}</tr>'
            for part, row in matrix.items()
        )
        figures += (
            f'<figure><table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table><figcaption>{escape(method)}</figcaption></figure>'
        )
    return f'<div class="figures heats">{figures}</div>' if figures else ""


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
                panels += f"<figure>{charts.dots(places, arrays[f'label/{name}'], f'{part} coloured by {name}')}<figcaption>{escape(part)}<br>by {escape(name)}</figcaption></figure>"
        if panels:
            figures += f'<h3>{escape(method)}</h3><div class="maps">{panels}</div>'
    return figures


def training(content: Mapping, name: str, methods: Mapping[str, Mapping], out: Path) -> Iterator[str]:
    """How edit success rose, and the losses of every method, folded."""
    lines: dict[str, list] = {}
    folded = ""
    for method, row in methods.items():
        per = content["plan"]["settings"][name][method].get("pictures_a_sample", 1)
        for seed in row["seeds"]:
            log = read_log(run_folder(out, name, method, seed) / "log.jsonl")
            line = [(per * entry["images"], 100 * entry["edit_success/all"]) for entry in log if "edit_success/all" in entry]
            if len(line) > 1:
                lines.setdefault(method, []).append(line)
            if seed == row["seeds"][0] and (drawn := charts.losses(log, per)):
                folded += f"<details><summary>{escape(method)}</summary>{drawn}</details>"
    yield charts.progress(lines)
    yield folded


def run_folder(out: Path, data: str, method: str, seed: int) -> Path:
    """Where a cell's run lies: in its folder, or where it was trained before."""
    folder = cell_folder(out, data, method, seed)
    return Path(json.loads((folder / "judgement.json").read_text())["run"].get("path", folder))


def costs(methods: Mapping[str, Mapping]) -> str:
    """Seconds and parameters of every method."""
    body = "".join(
        f'<tr><th scope="row">{escape(method)}</th><td>{seconds(row, "training")}</td><td>{seconds(row, "judging")}</td><td>{row["parameters"]:,}</td></tr>'
        for method, row in methods.items()
    )
    head = "<th>training, seconds</th><th>judging, seconds</th><th>parameters</th>"
    return f'<h3>Cost</h3><div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


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
    lines = "".join(f'<pre class="command">{escape(command)}</pre>' for command in content["plan"]["commands"])
    plan = escape(json.dumps(content["plan"], indent=1, ensure_ascii=False))
    return f"{lines}<details><summary>plan.json</summary><pre>{plan}</pre></details>"


MORE = """
.standings th small, .standings td small { display: block; font-weight: 400 } .standings thead th { min-width: 5rem } .standings td { background-position: .6rem calc(100% - 1px) }
.standings .best b { color: rgb(var(--accent)) } .standings .best b::after { content: " ●"; font-size: .6rem; vertical-align: middle }
.top { display: flex; justify-content: space-between; align-items: center; gap: .6rem } .rank { color: var(--soft); font-size: .75rem; border: 1px solid var(--line); border-radius: .7rem; padding: 0 .4rem }
.front { margin-left: .5rem; font-size: .7rem; font-weight: 600; color: rgb(var(--accent)); border: 1px solid rgb(var(--accent) / .6); border-radius: .7rem; padding: 0 .4rem }
.drawing { margin: .5rem 0 1rem } .drawing figcaption { text-align: left }
section { min-width: 0 } .pairs { gap: 1.4rem .8rem } .strips figcaption { text-align: left; font-weight: 600; color: var(--ink) }
.strips th { font-weight: 400; font-size: .8rem; line-height: 1.15; padding: 0 .4rem 0 0; width: 5.6rem; min-width: 5.6rem; white-space: normal; overflow-wrap: anywhere } .strips td { padding: 1px 0; background: none } .strips tbody tr { border: 0 } .strips .first > * { padding-top: .5rem }
.strips img { max-width: none; image-rendering: pixelated } .strips .none { font-size: .78rem }
.heats { gap: 1.4rem 2.2rem } .matrix .none { background: none }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); gap: .8rem 1rem } .panels svg { width: 100%; display: block } .panels small { display: block; line-height: 1.3 }
.lines { fill: none; stroke-width: 1.6; stroke-linejoin: round } .others { stroke: var(--soft); stroke-width: .8; opacity: .35 } .frame { fill: none; stroke: var(--line) } .panels text { font-size: 10px; fill: var(--soft) }
details .panels { padding: .5rem 0 1rem }
.legend { font-size: .8rem; margin: 0 0 .5rem } .legend span { margin-right: .8rem; white-space: nowrap } .legend i { display: inline-block; width: .6rem; height: .6rem; border-radius: 50%; margin-right: .25rem }
.command { white-space: pre-wrap } .standings { margin-bottom: 1rem }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: .6rem } .maps svg { width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: .4rem; display: block }
.maps figcaption { font-size: .75rem; line-height: 1.25 } .dots { fill: none; stroke-width: 26; stroke-linecap: round; opacity: .8 }
"""
