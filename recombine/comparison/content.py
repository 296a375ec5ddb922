"""Numbers and words of a comparison's report, gathered from its folder, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import COMPARED, MEASURES
from recombine.locks import LEASE, holder_of
from recombine.metrics.intervals import Estimate, SeedEstimate, over_seeds


def ranks(found: Mapping[str, Estimate], better: str) -> dict[str, tuple[int, int]]:
    """The best and the worst rank, from 1, that each method may have: those whose intervals overlap are not told apart.

    Example:
        >>> ranks({"a": Estimate(3.5, 3, 4, 9), "b": Estimate(1.5, 1, 2, 9), "c": Estimate(1, 0, 1.5, 9)}, "higher")
        {'a': (1, 1), 'b': (2, 3), 'c': (2, 3)}
    """

    def beaten(own: Estimate, other: Estimate) -> bool:
        return other.low > own.high if better == "higher" else other.high < own.low

    rest = found.values()
    return {
        name: (1 + sum(beaten(own, other) for other in rest), len(rest) - sum(beaten(other, own) for other in rest))
        for name, own in found.items()
    }


def pareto_front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The Pareto-optimal methods: no other is at least as good in both success and preservation, and better in one.

    Example:
        >>> sorted(pareto_front({"careful": (0.2, 0.99), "bold": (0.9, 0.7), "worse": (0.1, 0.98), "both": (0.5, 0.9)}))
        ['bold', 'both', 'careful']
    """
    return {
        name for name, own in points.items()
        if not any(other != own and other[0] >= own[0] and other[1] >= own[1] for other in points.values())
    }


def ranking(
    judgements: Mapping[str, Mapping[int, Judgement]], attributes: Collection[str] | None = None
) -> dict[str, dict]:
    """Every method of one data set on every measure, about some attributes, or all that it was judged on when None.

    Returns:
        As in `report.json`: method -> `metrics` (measure -> `value`, `low`, `high`, `n`, `seeds`, `values` and `rank`,
        best and worst), `missing` (measure -> reason), `front`, whether it is Pareto-optimal in success and
        preservation of swaps, and `place`, its mean rank over the headline measures.
    """
    table: dict[str, dict] = {name: {"metrics": {}, "missing": {}, "front": False} for name in judgements}
    for measure in COMPARED:
        rows: dict[str, SeedEstimate] = {}
        for name, seeds in judgements.items():
            found = [estimate for judgement in seeds.values() if (estimate := measure.of(judgement, attributes))]
            if found:
                rows[name] = over_seeds(found, measure.bounded)
            elif seeds:
                table[name]["missing"][measure.key] = measure.reason(next(iter(seeds.values())))
        for name, rank in ranks(rows, measure.better).items():
            seeds = {"seeds": rows[name].seeds, "values": list(rows[name].values), "rank": list(rank)}
            table[name]["metrics"][measure.key] = rows[name].to_json() | seeds
    both = {name: row["metrics"] for name, row in table.items() if {"success", "kept"} <= row["metrics"].keys()}
    points = {name: (found["success"]["value"], found["kept"]["value"]) for name, found in both.items()}
    for name in pareto_front(points):
        table[name]["front"] = True
    for row in table.values():
        middles = [np.mean(row["metrics"][m.key]["rank"]) for m in COMPARED if m.headline and m.key in row["metrics"]]
        row["place"] = float(np.mean(middles)) if middles else None
    return table


FORMULA = (
    "95 %. Over several seeds: value ± √(s² + p²), where s = t(0.975; S - 1) · (standard deviation between seeds) / "
    "√S, and p is the root mean square of the distance from each seed's value to the end of its own interval. All "
    "seeds are judged on the same images, so p is not divided by their number. One seed keeps the judgement's own interval, "
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
        if values := [run["seconds"][stage] for run in runs if run["seconds"][stage] is not None]:
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
