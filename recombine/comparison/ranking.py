"""From judgements to standings: means over seeds with intervals, ranks with ties, and who is on the front.

    interval of a mean over S >= 2 seeds:  value +- sqrt(seeds^2 + images^2)
        seeds     t(0.975, S - 1) * (deviation between seeds) / sqrt(S)
        images  root mean square of the distance from each seed's value to the end of its own interval

The second term is not divided by the number of seeds: all are judged on the same images, and more seeds do not make
these more typical. One seed keeps the judgement's own interval, which says nothing about the luck of a training.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from recombine.metrics.intervals import CONFIDENCE
from recombine.reports.words import look


@dataclass(frozen=True)
class Metric:
    """A number of the judgement, and which way is better."""

    name: str                               # in tables and files
    title: str                              # on the page
    path: tuple[str, ...]                   # in the judgement
    better: str                             # "higher" or "lower"
    unit: str                               # "%", "dB", "nats" or "" for a plain number
    says: str                               # in a sentence
    headline: bool = False                  # stands in the first table
    share: bool = False                     # lies in [0, 1]


METRICS = (
    Metric("success", "swaps that succeed", ("parts", "all", "success"), "higher", "%",
           "after a swap of a part, the classifier sees the giver's value of what the part carries", True, True),
    Metric("kept", "others kept", ("parts", "all", "kept"), "higher", "%",
           "after a swap, the classifier sees every other attribute as before", True, True),
    Metric("psnr_db", "swap against truth", ("parts", "all", "psnr", "edited"), "higher", "dB",
           "PSNR of a swap against the image that it should have become, where that can be drawn", True),
    Metric("leakage", "leakage", ("leakage", "off_part", "two_layer"), "lower", "%",
           "how much better than guessing a fresh probe reads an attribute from parts that should not carry it", True),
    Metric("information", "information between parts", ("information",), "lower", "nats",
           "mutual information between the parts, as a classifier of pairs estimates it"),
    Metric("reconstruction_db", "reconstruction", ("reconstruction", "psnr"), "higher", "dB",
           "PSNR of images encoded and decoded", True),
    Metric("ssim", "SSIM", ("reconstruction", "ssim"), "higher", "", "structural similarity of images encoded and decoded"),
    Metric("edit_success", "edits that succeed", ("edits", "all", "success"), "higher", "%",
           "after a label is set, the classifier sees it", False, True),
    Metric("edit_kept", "others kept by edits", ("edits", "all", "kept"), "higher", "%",
           "after a label is set, the classifier sees every other attribute as before", False, True),
    Metric("edit_psnr_db", "edit against truth", ("truth", "edits", "psnr", "all", "edited"), "higher", "dB",
           "PSNR of an edit against the image that it should have become"),
    Metric("frechet", "Fréchet distance", ("realism", "swaps", "frechet"), "lower", "",
           "distance between swapped and real images in the features of the judge"),
    Metric("kid", "kernel distance", ("realism", "swaps", "kid"), "lower", "", "the same by kernels, unbiased for few images"),
    Metric("mig", "MIG", ("disentanglement", "mig"), "higher", "", "mutual information gap of single numbers of the codes", False, True),
    Metric("sap", "SAP", ("disentanglement", "sap"), "higher", "", "gap in how well one number reads an attribute", False, True),
    Metric("dci", "DCI", ("disentanglement", "dci"), "higher", "", "disentanglement by the importances of forests", False, True),
)  # fmt: skip
MATRIX = ("leakage", "matrix", "two_layer")
INNER = ("all", "disentanglement", "value")  # where a metric's own report has its headline number


def measured(judgement: Mapping, metric: Metric, attributes: Collection[str] | None = None) -> dict | None:
    """Value, low, high and n of a metric in a judgement; None where it was not measured.

    Where the method was judged on more than `attributes`, what the judgement says of these alone is averaged; its interval
    is as wide as theirs are on average, since all are about the same images.
    """
    if attributes is not None and metric.name in ONE_BY_ONE and covered(judgement, metric) - set(attributes):
        entries = [entry for path in ONE_BY_ONE[metric.name](judgement, attributes) if (entry := interval(look(judgement, *path)))]
        return pooled(entries) if entries else None
    return interval(look(judgement, *metric.path))


def covered(judgement: Mapping, metric: Metric) -> set[str]:
    """The attributes that a metric is about in a judgement."""
    if metric.name == "leakage":
        return {name for row in (look(judgement, *MATRIX) or {}).values() for name in row}
    if metric.path[0] == "disentanglement":
        return set(look(judgement, *metric.path, "factors") or ())
    return {name for names in judgement.get("carries", {}).values() for name in names}


def interval(found: object) -> dict | None:
    """Value, low, high and n of what the judgement says of one metric; None where it says nothing."""
    while isinstance(found, Mapping) and not isinstance(found.get("value"), (int, float)):
        found = next((found[name] for name in INNER if name in found), None)
    if not isinstance(found, Mapping):
        return None
    value = float(found["value"])
    return {"value": value, "low": float(found.get("low", value)), "high": float(found.get("high", value)), "n": found.get("n")}


def pooled(entries: Sequence[Mapping]) -> dict:
    """The mean of several measurements on the same images; its interval is their root mean square."""
    value = float(np.mean([entry["value"] for entry in entries]))
    below, above = (float(np.sqrt(np.mean([(entry["value"] - entry[end]) ** 2 for entry in entries]))) for end in ("low", "high"))
    counts = [entry["n"] for entry in entries if entry.get("n") is not None]
    return {"value": value, "low": value - below, "high": value + above, "n": min(counts) if counts else None}


def swapped(judgement: Mapping, attributes: Collection[str]) -> list[tuple[str, str]]:
    """Each part with each of the attributes that it carries and a swap of it was judged on."""
    carries = judgement.get("carries", {})
    return [(part, name) for part in look(judgement, "parts", "parts") or {} for name in carries.get(part, ()) if name in attributes]


def of_parts(*ending: str) -> Callable[[Mapping, Collection[str]], list[tuple[str, ...]]]:
    """Where the judgement speaks of each part that carries one of the attributes."""
    return lambda judgement, attributes: [("parts", "parts", part, *ending) for part in dict.fromkeys(part for part, _ in swapped(judgement, attributes))]


def of_attributes(*path: str | None) -> Callable[[Mapping, Collection[str]], list[tuple[str, ...]]]:
    """Where the judgement speaks of each attribute, whose name stands for None in the path."""
    return lambda judgement, attributes: [tuple(name if step is None else step for step in path) for name in attributes]


def leaks(judgement: Mapping, attributes: Collection[str]) -> list[tuple[str, ...]]:
    """Where the judgement says how well an attribute is read from a part that should not carry it."""
    matrix, carries = look(judgement, *MATRIX) or {}, judgement.get("carries", {})
    return [(*MATRIX, part, name, "above") for part in matrix for name in attributes if name not in carries.get(part, ())]


ONE_BY_ONE: dict[str, Callable[[Mapping, Collection[str]], list[tuple[str, ...]]]] = {
    "success": lambda judgement, attributes: [("parts", "parts", part, "attributes", name) for part, name in swapped(judgement, attributes)],
    "kept": of_parts("kept"),
    "psnr_db": of_parts("psnr", "edited"),
    "leakage": leaks,
    "edit_success": of_attributes("edits", "attributes", None, "success"),
    "edit_kept": of_attributes("edits", "attributes", None, "kept"),
    "edit_psnr_db": of_attributes("truth", "edits", "psnr", None, "edited"),
    "mig": of_attributes("disentanglement", "mig", "factors", None),
    "sap": of_attributes("disentanglement", "sap", "factors", None),
}


def reason(judgement: Mapping, metric: Metric) -> str:
    """Why a metric was not measured, in the judgement's own words."""
    left_out = judgement.get("left_out", {})
    for end in range(len(metric.path), 0, -1):
        for name in (".".join(metric.path[:end]), "/".join(metric.path[:end]), metric.path[end - 1]):
            if name in left_out:
                return str(left_out[name])
    return "not measured"


def over_seeds(found: Sequence[Mapping], share: bool = False) -> dict:
    """The mean of a metric over seeds, with the interval of the formula above.

    Args:
        found: What `measured` found for each seed, at least one.
        share: The value lies in [0, 1], and so does its interval.

    Returns:
        `value`, `low`, `high`, `n` (judged images or verdicts of one seed), `seeds` and `values`, one a seed.
    """
    values, own = np.array([entry["value"] for entry in found]), pooled(found)
    between = 0.0
    if len(values) > 1:
        between = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    low, high = (own["value"] + sign * float(np.hypot(between, own[end] - own["value"])) for sign, end in ((-1, "low"), (1, "high")))
    if share:
        low, high = max(0.0, low), min(1.0, high)
    return {**own, "low": low, "high": high, "seeds": len(values), "values": values.tolist()}


def ranks(found: Mapping[str, Mapping], better: str) -> dict[str, tuple[int, int]]:
    """The best and the worst rank that each method may have: those whose intervals overlap are not told apart.

    Args:
        found: Method -> `value`, `low`, `high`.
        better: "higher" or "lower".

    Returns:
        Method -> (best, worst), from 1.

    Example:
        >>> ranks({"a": {"low": 3, "high": 4}, "b": {"low": 1, "high": 2}, "c": {"low": 0, "high": 1.5}}, "higher")
        {'a': (1, 1), 'b': (2, 3), 'c': (2, 3)}
    """

    def surely_better(one: Mapping, other: Mapping) -> bool:
        return one["low"] > other["high"] if better == "higher" else one["high"] < other["low"]

    return {
        name: (
            1 + sum(surely_better(other, own) for other in found.values()),
            len(found) - sum(surely_better(own, other) for other in found.values()),
        )
        for name, own in found.items()
    }


def front(points: Mapping[str, tuple[float, float]]) -> set[str]:
    """Those whom nobody beats in both success and what is kept.

    Args:
        points: Method -> (success, kept), higher is better in both.

    Example:
        >>> sorted(front({"careful": (0.2, 0.99), "bold": (0.9, 0.7), "worse": (0.1, 0.98), "both": (0.5, 0.9)}))
        ['bold', 'both', 'careful']
    """

    def beaten(own: tuple[float, float], other: tuple[float, float]) -> bool:
        return other != own and other[0] >= own[0] and other[1] >= own[1]

    return {name for name, own in points.items() if not any(beaten(own, other) for other in points.values())}


def standings(judgements: Mapping[str, Mapping[int, Mapping]], attributes: Collection[str] | None = None) -> dict[str, dict]:
    """Every method of one data set on every metric.

    Args:
        judgements: Method -> seed -> judgement, or `{}` for a method without one.
        attributes: What is compared; all that each method was judged on when None.

    Returns:
        Method -> `metrics` (name -> what `over_seeds` gives, and `rank`, best and worst), `missing` (name -> reason),
        `front`, whether nobody beats it in both success and what is kept, and `place`, its mean rank over the headline.
    """
    table: dict[str, dict] = {name: {"metrics": {}, "missing": {}, "front": False} for name in judgements}
    for metric in METRICS:
        rows = {}
        for name, seeds in judgements.items():
            found = [entry for judgement in seeds.values() if (entry := measured(judgement, metric, attributes))]
            if found:
                rows[name] = over_seeds(found, metric.share)
            elif seeds:
                table[name]["missing"][metric.name] = reason(next(iter(seeds.values())), metric)
        for name, rank in ranks(rows, metric.better).items():
            table[name]["metrics"][metric.name] = rows[name] | {"rank": list(rank)}
    both = {name: row["metrics"] for name, row in table.items() if {"success", "kept"} <= row["metrics"].keys()}
    for name in front({name: (found["success"]["value"], found["kept"]["value"]) for name, found in both.items()}):
        table[name]["front"] = True
    for row in table.values():
        middles = [np.mean(row["metrics"][m.name]["rank"]) for m in METRICS if m.headline and m.name in row["metrics"]]
        row["place"] = float(np.mean(middles)) if middles else None
    return table
