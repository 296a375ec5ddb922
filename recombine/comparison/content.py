"""What the report of a comparison says in numbers and words, gathered from its folder; as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from recombine.comparison.ranking import ranking
from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import COMPARED, MEASURES, Measure, shown
from recombine.locks import LEASE, holder_of

FORMULA = (
    "95 %. Over several seeds: value ± √(s² + p²), where s = t(0.975; S - 1) · (standard deviation between seeds) / √S, and p is the root mean "
    "square of the distance from each seed's value to the end of its own interval. All seeds are judged on the same images, so p is not "
    "divided by their number. One seed keeps the judgement's own interval, which says nothing about the luck of a training."
)
RANKS = (
    "From the best rank that a method may have to the worst: those whose intervals overlap are not told apart, so 1-3 means that no method "
    "is surely better and three cannot be told apart from the first to the third place."
)
PARETO = "no other method is at least as good in both success and preservation, and better in one of them."


def gathered(out: Path) -> dict:
    """Everything that the report says in numbers and words."""
    plan = json.loads((out / "plan.json").read_text())
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    metrics = {m.key: {"title": m.title, "unit": m.unit, "better": m.better, "says": m.definition} for m in COMPARED}
    data = {name: gathered_data(out, plan, name) for name in plan["data"]}
    return {"title": out.resolve().name, "written": written, "plan": plan, "metrics": metrics, "intervals": FORMULA, "ranks": RANKS, "data": data}


def gathered_data(out: Path, plan: Mapping, name: str) -> dict:
    """The ranking of one data set, who is missing and why, and what each method cost."""
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
    typed = {method: {seed: Judgement.from_json(found) for seed, found in seeds.items()} for method, seeds in judgements.items()}
    table = ranking(typed, plan["data"][name]["attributes"])
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


def read_judgement(folder: Path) -> Judgement:
    """The judgement of a cell."""
    return Judgement.from_json(json.loads((folder / "judgement.json").read_text()))


def state(folder: Path) -> str:
    """Why a cell has no judgement."""
    if (folder / "failure.json").exists():
        failure = json.loads((folder / "failure.json").read_text())
        return f"{failure['kind']}: {failure['reason']}"
    holder = holder_of(folder / LEASE) if folder.exists() else ""
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
        for measure in COMPARED:
            if found := row["metrics"].get(measure.key):
                numbers = [found["value"], found["low"], found["high"], *found["rank"], found["seeds"], found["n"]]
                lines.writerow([data, method, measure.key, measure.unit, measure.better, *numbers, int(row["front"])])
    return buffer.getvalue()


def rows(content: Mapping) -> Iterator[tuple[str, str, Mapping]]:
    """Data, method and what is known of it."""
    for data, found in content["data"].items():
        for method, row in found["methods"].items():
            yield data, method, row


def markdown(content: Mapping) -> str:
    """The report without images."""
    lines = [f"# {content['title']}", "", summary(content), ""]
    for name, data in content["data"].items():
        used = [m for m in COMPARED if any(m.key in row["metrics"] for row in data["methods"].values())]
        lines += [f"## {name}", "", f"Compared on {', '.join(data['attributes'])}. Value (95 % interval) [rank]; * Pareto-optimal in success and preservation.", ""]
        lines += ["| method | seeds | " + " | ".join(f"{m.title}, {m.unit or 'number'}, {m.better} is better" for m in used) + " |", "|---|---|" + "---|" * len(used)]
        for method, row in data["methods"].items():
            cells = [text_of(row["metrics"].get(m.key), m) for m in used]
            lines.append(f"| {method}{' *' if row['front'] else ''} | {len(row['seeds'])} | " + " | ".join(cells) + " |")
        lines += ["", "| method | training, s | judging, s | parameters |", "|---|---|---|---|"]
        lines += [f"| {method} | {seconds(row, 'training')} | {seconds(row, 'judging')} | {row['parameters']:,} |" for method, row in data["methods"].items()]
        lines += ["", *(f"- {text}" for text in remarks(data)), ""]
    lines += ["## How it was made", "", *(f"    {command}" for command in content["plan"]["commands"]), "", f"Intervals: {FORMULA}", "", f"Ranks: {RANKS}", ""]
    return "\n".join(lines)


def text_of(found: Mapping | None, measure: Measure) -> str:
    """A number of the Markdown table."""
    if found is None:
        return "not measured"
    value, low, high = (shown(found[name], measure.unit, with_unit=False) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high}) [{rank(found)}]"


def summary(content: Mapping) -> str:
    """What was compared, in a sentence."""
    plan = content["plan"]
    budget = plan["budget"]
    if budget is None:
        spent = "runs trained before"
    elif budget["images"] is not None:
        spent = f"{budget['images']:,} images seen by each, a pair counting as two"
    else:
        spent = f"{budget['seconds']:g} seconds of training for each, as images at the speed measured before"
    count = len(plan["seeds"])
    return f"{len(plan['methods'])} methods, {count} seed{'s' * (count != 1)}, {spent}; {content['written']}"


def remarks(data: Mapping) -> list[str]:
    """Who is absent and why, what was not measured and why, what is not compared, in sentences."""
    said = []
    if data["on_training_data"]:
        said.append(f"judged on images that they were trained on, which says nothing about new ones: {', '.join(data['on_training_data'])}")
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
            reasons.setdefault((reason, MEASURES[name].title), []).append(method)
    said += [f"not measured: {title} of {', '.join(methods)}: {reason}" for (reason, title), methods in reasons.items()]
    return said


def rank(found: Mapping) -> str:
    """A range of ranks as people read it."""
    best, worst = found["rank"]
    return f"{best}" if best == worst else f"{best}-{worst}"


def seconds(row: Mapping, stage: str) -> str:
    """Seconds over seeds as people read them."""
    found = row["seconds"].get(stage)
    if found is None:
        return "not known"
    return f"{found['value']:.0f}" if found["seeds"] == 1 else f"{found['value']:.0f} ({found['low']:.0f} to {found['high']:.0f})"
