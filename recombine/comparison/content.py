"""Numbers and words of a comparison's report, gathered from its folder, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recombine.comparison.ranking import ranking
from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import COMPARED, MEASURES
from recombine.locks import LEASE, holder_of

FORMULA = (
    "95 %. Over several seeds: value ± √(s² + p²), where s = t(0.975; S - 1) · (standard deviation between seeds) / √S, "
    "and p is the root mean square of the distance from each seed's value to the end of its own interval. All seeds "
    "are judged on the same images, so p is not divided by their number. One seed keeps the judgement's own interval, "
    "which does not tell how much a training depends on its seed."
)
RANKS = (
    "From the best rank that a method may have to the worst: those whose intervals overlap are not told apart, so 1-3 "
    "means that no method is surely better and three cannot be told apart from the first to the third place."
)
PARETO = "No other method is at least as good in both success and preservation, and better in one of them."


class Judged(NamedTuple):
    """A cell of the comparison that is finished."""

    judgement: Judgement
    run: Mapping                            # where it lies, its seconds and parameters


def gathered(out: Path) -> dict:
    """All numbers and words of the report, as `report.json` has them."""
    plan = json.loads((out / "plan.json").read_text())
    return {
        "title": out.resolve().name,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "plan": plan,
        "metrics": {
            m.key: {"title": m.title, "unit": m.unit, "better": m.better, "says": m.definition} for m in COMPARED
        },
        "intervals": FORMULA,
        "ranks": RANKS,
        "data": {name: gathered_data(out, plan, name) for name in plan["data"]},
    }


def gathered_data(out: Path, plan: Mapping, name: str) -> dict:
    """The ranking of one data set, which methods are absent and why, and what each cost."""
    judged: dict[str, dict[int, Judged]] = {}
    absent: dict[str, dict[str, str]] = {}
    for method, settings in plan["settings"][name].items():
        judged[method] = {}
        if "cannot" in settings:
            absent[method] = {"all": f"cannot work with this data: {settings['cannot']}"}
            continue
        for seed in plan["seeds"]:
            folder = cell_folder(out, name, method, seed)
            if (folder / "judgement.json").exists():
                judged[method][seed] = read_cell(folder)
            elif plan["budget"] is not None or folder.exists():
                absent.setdefault(method, {})[str(seed)] = state(folder)
    judgements = {method: {seed: cell.judgement for seed, cell in cells.items()} for method, cells in judged.items()}
    ranked = ranking(judgements, plan["data"][name]["attributes"])
    done = [method for method, cells in judged.items() if cells]
    done.sort(key=lambda method: (ranked[method]["place"] is None, ranked[method]["place"] or 0, method))
    return {
        **plan["data"][name],
        "methods": {method: ranked[method] | cost(judged[method]) for method in done},
        "absent": absent,
        "on_training_data": sorted(m for m in done if any(j.on_training_data for j in judgements[m].values())),
    }


def cell_folder(out: Path, data: str, method: str, seed: int | str) -> Path:
    """Where a cell of the comparison lies."""
    return out / "runs" / data / method.replace(":", "-") / str(seed)


def read_cell(folder: Path) -> Judged:
    """The judgement of a cell, and what stands there of its run."""
    plain = json.loads((folder / "judgement.json").read_text())
    return Judged(Judgement.from_json(plain), plain["run"])


def state(folder: Path) -> str:
    """Why a cell has no judgement."""
    if (folder / "failure.json").exists():
        failure = json.loads((folder / "failure.json").read_text())
        return f"{failure['kind']}: {failure['reason']}"
    holder = holder_of(folder / LEASE) if folder.exists() else ""
    return f"not finished; {holder} works on it" if holder else "not finished; the same command goes on with it"


def cost(cells: Mapping[int, Judged]) -> dict:
    """Seconds of training and judging (mean, lowest and highest), parameters, seeds, and what was left out."""
    runs = [cell.run for cell in cells.values()]
    seconds = {}
    for stage in ("training", "judging"):
        values = [run["seconds"][stage] for run in runs if run["seconds"][stage] is not None]
        if values:
            ends = {"value": float(np.mean(values)), "low": min(values), "high": max(values)}
            seconds[stage] = ends | {"seeds": len(values)}
    return {
        "seconds": seconds,
        "parameters": runs[0]["parameters"],
        "pictures_seen": runs[0].get("pictures_seen"),
        "seeds": sorted(cells),
        "left_out": {name: why for cell in cells.values() for name, why in cell.judgement.left_out.items()},
    }


def table(content: Mapping) -> str:
    """Every number in a line of its own, as CSV."""
    buffer = io.StringIO()
    lines = csv.writer(buffer, lineterminator="\n")
    lines.writerow("data method metric unit better value low high rank_best rank_worst seeds n front".split())
    for data, found in content["data"].items():
        for method, row in found["methods"].items():
            for measure in COMPARED:
                if own := row["metrics"].get(measure.key):
                    numbers = [own["value"], own["low"], own["high"], *own["rank"], own["seeds"], own["n"]]
                    about = [data, method, measure.key, measure.unit, measure.better]
                    lines.writerow([*about, *numbers, int(row["front"])])
    return buffer.getvalue()


def remarks(data: Mapping) -> list[str]:
    """What is absent, not measured or not compared, and why, in sentences."""
    found = []
    if trained := data["on_training_data"]:
        about = "judged on images that they were trained on, which tells nothing about new ones"
        found.append(f"{about}: {', '.join(trained)}")
    for method, seeds in data["absent"].items():
        alike: dict[str, list[str]] = {}
        for seed, reason in seeds.items():
            alike.setdefault(reason, []).append(seed)
        for reason, which in alike.items():
            found.append(f"{method}{'' if which == ['all'] else ', seed ' + ', '.join(which)}: {reason}")
    if data["without"]:
        found.append(f"without {', '.join(data['without'])}, which this data set does not have")
    for method, names in data.get("not_shared", {}).items():
        found.append(f"{method} also learnt {', '.join(names)}, which not all runs did and which are not compared")
    reasons: dict[tuple[str, str], list[str]] = {}
    for method, row in data["methods"].items():
        for name, reason in row["missing"].items():
            reasons.setdefault((reason, MEASURES[name].title), []).append(method)
    for (reason, title), methods in reasons.items():
        found.append(f"not measured: {title} of {', '.join(methods)}: {reason}")
    return found


def rank(found: Mapping) -> str:
    """A range of ranks as people read it."""
    best, worst = found["rank"]
    return f"{best}" if best == worst else f"{best}-{worst}"
