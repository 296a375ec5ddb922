"""The evaluation protocol: its duration, what it takes of a training, a planted leak, and mutual information that is known.

    python proofs/judge.py [runs/avatars] [--before COMMIT] [--only time]

The run is one on the built-in avatars; `make demo` leaves runs/avatars. The planted leak is an attribute hidden in how two
numbers of a code go together (exclusive or), so that no single direction shows it, at growing weights beside noise. The
mutual information is that of Gaussians, for which it is known. The same judgement is made by an earlier commit, in turns,
and its numbers are compared. `--only time` leaves what else the results hold as it is. About 8 minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from record import ROOT, record
from refactor import numbers
from torch import nn

from recombine.codes import Codes
from recombine.comparison.worker import speed_of
from recombine.data.packed import write_pack
from recombine.data.schema import Attribute, Schema
from recombine.evaluation.classifier import THOROUGH, Classifier
from recombine.methods.shared.prototypes import IMAGES, fit_prototypes, prototypes_of
from recombine.metrics.intervals import Estimate, mean
from recombine.metrics.leakage import leakage
from recombine.metrics.mutual_information import mutual_information
from recombine.recipes import default_recipe
from recombine.training.monitor import EditMonitor, affordable
from recombine.training.runs import build

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
NUMBERS = 16                                # of the code, all noise but for what is planted in two of them
LEARNT, JUDGED, SEEDS = 3_000, 800, 4       # images, as in a judgement, of each of so many draws
CORRELATIONS = (0.0, 0.3, 0.5, 0.7, 0.9)
PAIRS = 20_000                              # to learn from, and as many to measure on
HIDDEN = Attribute("hidden", "binary", ("0", "1"))
BEFORE = "7aced91"                          # the last commit before judgements were made faster
EVALUATED = (("ifcvaegan", 15), ("ifcvaegan", 40), ("advattr", 15), ("matdr", 15))  # trainings: method, binary attributes
PACKED = 600                                # random images that these see
TIMED = """
import json, os, sys, recombine
from recombine.evaluation.judge import judge
from recombine.training.runs import pack_of
found = judge(recombine.load(sys.argv[1]), pack_of(sys.argv[1]))
print(json.dumps({"seconds": dict(found.seconds), "judgement": found.to_json(), "images": found.images, "attributes": len(found.roles) - 1,
                  "left_out": dict(found.left_out)}))
"""


def planted(count: int, weight: float, seed: int) -> tuple[Codes, dict[str, np.ndarray]]:
    """Codes of noise N(0, 1) and labels, half of them 1: two numbers are shifted by the weight, both one way where it is 0."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(count) % 2
    noise = rng.normal(size=(count, NUMBERS))
    first = rng.choice([-1, 1], count)
    noise[:, 0] += weight * first
    noise[:, 1] += weight * first * (1 - 2 * labels)
    return Codes(part=torch.tensor(noise, dtype=torch.float32)), {"hidden": labels}


def possible(weight: float) -> float:
    """How far above guessing the best reader could be: both signs are seen rightly, or both wrongly."""
    right = 0.5 * (1 + math.erf(weight / math.sqrt(2)))
    return right**2 + (1 - right) ** 2 - 0.5


def found(weight: float, probe: str) -> Estimate:
    """Accuracy above guessing of a probe, over all draws."""
    above = []
    for seed in range(SEEDS):
        sides = planted(LEARNT, weight, seed), planted(JUDGED, weight, seed + SEEDS)
        above.append(leakage(*sides[0], *sides[1], [HIDDEN], probe, seed)["part"]["hidden"].above())  # type: ignore[arg-type]
    return mean(np.concatenate(above))


def gaussians(correlation: float, learnt: int, judged: int, seed: int = 0) -> dict:
    """The estimate for two numbers of a known correlation, beside the truth, nats."""
    a, noise = torch.randn(2, learnt + judged, 1, generator=torch.Generator().manual_seed(seed))
    b = correlation * a + math.sqrt(1 - correlation**2) * noise
    estimate = mutual_information(a[:learnt], b[:learnt], a[learnt:], b[learnt:], seed=seed)
    return {"correlation": correlation, "truth": -0.5 * math.log(1 - correlation**2), **estimate.to_json()}


def worst(estimates: list[dict]) -> float:
    return max(abs(each["value"] - each["truth"]) for each in estimates)


def judged_by(tree: Path, run: Path, threads: int) -> dict:
    """A judgement by the package in a tree, in a process of its own, and the load before it."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads)}
    load = os.getloadavg()[0]
    done = subprocess.run([sys.executable, "-c", TIMED, str(run.resolve())], cwd=tree, env=environment, check=True, capture_output=True, text=True)
    return {**json.loads(done.stdout), "load_before": round(load, 1)}


def in_turns(run: Path, before: str, threads: int, turns: int = 2) -> tuple[dict, dict]:
    """The newest judgement of a run, and the seconds of an earlier commit's and this one's, the smaller of two each."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), before], cwd=ROOT, check=True)
        try:
            pairs = [(judged_by(tree, run, threads), judged_by(ROOT, run, threads)) for _ in range(turns)]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    old, new = (min(side, key=lambda found: sum(found["seconds"].values())) for side in zip(*pairs, strict=True))
    one, other = (dict(numbers({**found["judgement"], "seconds": None})) for found in (old, new))
    differ = {path: [one.get(path), value] for path, value in other.items() if not close(one.get(path), value)}
    return new, {
        "judge_seconds": round(sum(new["seconds"].values()), 1),
        "judge_seconds_before": round(sum(old["seconds"].values()), 1),
        "seconds_of": {"before": old["seconds"], "now": new["seconds"]},
        "load_before": {"before": old["load_before"], "now": new["load_before"]},
        "before": before,
        "numbers_compared": len(other),
        "numbers_that_differ": differ,
    }


def close(one: float | None, other: float) -> bool:
    return one is not None and math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9)


def evaluation_percent(method: str, count: int, folder: Path) -> dict:
    """What a training's evaluations take of it, by the method's settings for photographs: monitor, class means, probes."""
    rng, recipe = np.random.default_rng(0), default_recipe(method)[0]
    schema = Schema(tuple(Attribute(f"a{i}", "binary", ("0", "1")) for i in range(count)), recipe.size, recipe.size)
    images = rng.integers(0, 256, (PACKED, 3, recipe.size, recipe.size), dtype=np.uint8)
    labels = {name: rng.integers(0, 2, PACKED) for name in schema.names}
    splits = np.repeat(["train", "val"], [PACKED - 200, 200])
    pack = write_pack(folder, images, schema, [f"{i}.png" for i in range(PACKED)], labels, splits)
    train, speed = recipe.train, speed_of(recipe, pack)
    model = build(recipe.method, asdict(recipe.config), schema)
    assert isinstance(model, nn.Module)
    model.eval()
    monitor = EditMonitor(pack, Classifier(schema, THOROUGH), made=affordable(train))
    started = time.perf_counter()
    with torch.no_grad():
        monitor(model, folder / "grid.png")
        measured = time.perf_counter() - started
        if (prototypes := prototypes_of(model)) is not None:
            fit_prototypes(model, prototypes, pack, probes=False)
    fitted = time.perf_counter() - started - measured
    fitted *= IMAGES / (PACKED - 200)        # as many images as are encoded of a larger data set
    whole, evaluations = train.images / speed, train.images // train.evaluate_every + 1
    return {
        "percent": round(100 * evaluations * (measured + fitted) / whole, 2), "images": len(monitor.rows),
        "seconds": round(measured, 2), "prototypes_seconds": round(fitted, 2), "images_per_second": round(speed, 1),
    }  # fmt: skip


def probed() -> dict:
    """The planted leak and the known information, as the probes and the estimate find them."""
    leaks = [{"weight": w, "possible": possible(w), **{probe: found(w, probe) for probe in ("linear", "two_layer")}} for w in WEIGHTS]
    for leak in leaks:
        print({name: value.value if isinstance(value, Estimate) else value for name, value in leak.items()}, flush=True)
    values = [leak["two_layer"].value for leak in leaks]
    hidden = [leak["weight"] for leak in leaks if leak["linear"].low <= 0 < leak["two_layer"].low]
    many = [gaussians(rho, PAIRS, PAIRS) for rho in CORRELATIONS]
    few = [gaussians(rho, LEARNT, JUDGED) for rho in CORRELATIONS]
    print("mutual information, largest error", worst(many), "with few", worst(few), flush=True)
    return {
        "planted_leak": leaks,
        "planted_leak_falls_at_most": max((a - b for a, b in pairwise(values)), default=0.0),
        "planted_leak_found_where_linear_fails": hidden,
        "mi_error_nats": worst(many),
        "mi": many,
        "mi_error_nats_of_a_judgement": worst(few),
        "mi_of_a_judgement": few,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/avatars"))
    parser.add_argument("--before", default=BEFORE, help="commit that judges, too")
    parser.add_argument("--only", choices=["time"], help="leave what the probes found as it was")
    parser.add_argument("--turns", type=int, default=2, help="judgements of each commit")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    newest, timed = in_turns(options.run, options.before, options.threads, options.turns)
    print(timed, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        taken = {f"{name}, {n} attributes": evaluation_percent(name, n, Path(folder) / f"{name}{n}") for name, n in EVALUATED}
    print(taken, flush=True)
    if options.only:
        kept = json.loads((ROOT / "results" / "judge.json").read_text())["values"]
        probes = {name: value for name, value in kept.items() if name.startswith(("planted", "mi"))}
    else:
        probes = probed()
    record(
        "judge",
        "A judgement takes a minute; a leak that no single direction shows is found by the two-layer probe; information is right.",
        {**timed, "evaluation_percent": max(each["percent"] for each in taken.values()), "evaluations": taken, **probes},
        {
            "judged_pictures": newest["images"],
            "attributes": newest["attributes"],
            "planted": {"learnt": LEARNT, "judged": JUDGED, "draws": SEEDS},
            "mi_pairs": PAIRS,
        },
        left_out=newest["left_out"],
        settings=f"ifcvaegan of the demo; {options.threads} threads; probes above guessing, 95 % intervals",
    )
