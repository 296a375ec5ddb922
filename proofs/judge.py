"""The evaluation protocol: its duration, a planted leak, and mutual information that is known.

    python proofs/judge.py [runs/avatars]

The run is one on the built-in avatars; `make demo` leaves runs/avatars. The planted leak is an attribute hidden in how two
numbers of a code go together (exclusive or), so that no single direction shows it, at growing weights beside noise. The
mutual information is that of Gaussians, for which it is known. About 5 minutes.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from record import record

import recombine
from recombine.codes import Codes
from recombine.data.schema import Attribute
from recombine.evaluation.judge import judge
from recombine.metrics.intervals import Estimate, mean
from recombine.metrics.leakage import leakage
from recombine.metrics.mutual_information import mutual_information
from recombine.training.runs import pack_of

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
NUMBERS = 16                                # of the code, all noise but for what is planted in two of them
LEARNT, JUDGED, SEEDS = 3_000, 800, 4       # images, as in a judgement, of each of so many draws
CORRELATIONS = (0.0, 0.3, 0.5, 0.7, 0.9)
PAIRS = 20_000                              # to learn from, and as many to measure on
HIDDEN = Attribute("hidden", "binary", ("0", "1"))


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/avatars"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    leaks = [{"weight": w, "possible": possible(w), **{probe: found(w, probe) for probe in ("linear", "two_layer")}} for w in WEIGHTS]
    for leak in leaks:
        print({name: value.value if isinstance(value, Estimate) else value for name, value in leak.items()}, flush=True)
    values = [leak["two_layer"].value for leak in leaks]
    hidden = [leak["weight"] for leak in leaks if leak["linear"].low <= 0 < leak["two_layer"].low]
    many = [gaussians(rho, PAIRS, PAIRS) for rho in CORRELATIONS]
    few = [gaussians(rho, LEARNT, JUDGED) for rho in CORRELATIONS]
    print("mutual information, largest error", worst(many), "with few", worst(few), flush=True)

    model, pack = recombine.load(options.run), pack_of(options.run)
    load, processor = os.getloadavg()[0], time.process_time()
    judgement = judge(model, pack, progress=print)
    processor, seconds = time.process_time() - processor, dict(judgement.seconds)
    record(
        "judge",
        "A judgement takes minutes; a leak that no single direction shows is found by the two-layer probe; information is right.",
        {
            "seconds": round(sum(seconds.values()), 1),
            "seconds_of": seconds,
            "processor_seconds": round(processor, 1),
            "load_before": round(load, 1),
            "planted_leak": leaks,
            "planted_leak_falls_at_most": max((a - b for a, b in pairwise(values)), default=0.0),
            "planted_leak_found_where_linear_fails": hidden,
            "mi_error_nats": worst(many),
            "mi": many,
            "mi_error_nats_of_a_judgement": worst(few),
            "mi_of_a_judgement": few,
        },
        {
            "judged_pictures": judgement.images,
            "attributes": len(judgement.roles) - 1,
            "planted": {"learnt": LEARNT, "judged": JUDGED, "draws": SEEDS},
            "mi_pairs": PAIRS,
        },
        left_out=dict(judgement.left_out),
        settings=f"{type(model).__name__}, {pack.schema.height} px; {options.threads} threads; probes above guessing, 95 % intervals",
    )
