"""From judgements to a ranking: means over seeds with intervals, ranks with ties, and the Pareto front."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from recombine.evaluation.judgement import Judgement
from recombine.evaluation.measures import COMPARED
from recombine.metrics.intervals import Estimate, SeedEstimate, over_seeds


def ranks(found: Mapping[str, Estimate], better: str) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each method may have: those whose intervals overlap are not told apart.

    Args:
        found: Method -> estimate.
        better: "higher" or "lower".

    Returns:
        Method -> (best, worst), from 1.

    Example:
        >>> ranks({"a": Estimate(3.5, 3, 4, 9), "b": Estimate(1.5, 1, 2, 9), "c": Estimate(1, 0, 1.5, 9)}, "higher")
        {'a': (1, 1), 'b': (2, 3), 'c': (2, 3)}
    """

    def surely_better(one: Estimate, other: Estimate) -> bool:
        return one.low > other.high if better == "higher" else one.high < other.low

    return {
        name: (
            1 + sum(surely_better(other, own) for other in found.values()),
            len(found) - sum(surely_better(own, other) for other in found.values()),
        )
        for name, own in found.items()
    }


def pareto_front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """The Pareto-optimal methods: no other is at least as good in both success and preservation, and better in one.

    Args:
        points: Method -> (success, preserved), higher is better in both.

    Example:
        >>> sorted(pareto_front({"careful": (0.2, 0.99), "bold": (0.9, 0.7), "worse": (0.1, 0.98), "both": (0.5, 0.9)}))
        ['bold', 'both', 'careful']
    """

    def dominated(own: tuple[float, float], other: tuple[float, float]) -> bool:
        return other != own and other[0] >= own[0] and other[1] >= own[1]

    return {name for name, own in points.items() if not any(dominated(own, other) for other in points.values())}


def ranking(judgements: Mapping[str, Mapping[int, Judgement]], attributes: Collection[str] | None = None) -> dict[str, dict]:
    """Every method of one data set on every measure.

    Args:
        judgements: Method -> seed -> judgement; no seed for a method without one.
        attributes: What is compared; all that each method was judged on when None.

    Returns:
        As in `report.json`: method -> `metrics` (measure -> `value`, `low`, `high`, `n`, `seeds`, `values` and `rank`, best and worst),
        `missing` (measure -> reason), `front`, whether it is Pareto-optimal in success and preservation of swaps, and `place`,
        its mean rank over the headline measures.
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
            own = rows[name]
            table[name]["metrics"][measure.key] = own.to_json() | {"seeds": own.seeds, "values": list(own.values), "rank": list(rank)}
    both = {name: row["metrics"] for name, row in table.items() if {"success", "kept"} <= row["metrics"].keys()}
    for name in pareto_front({name: (found["success"]["value"], found["kept"]["value"]) for name, found in both.items()}):
        table[name]["front"] = True
    for row in table.values():
        middles = [np.mean(row["metrics"][m.key]["rank"]) for m in COMPARED if m.headline and m.key in row["metrics"]]
        row["place"] = float(np.mean(middles)) if middles else None
    return table
