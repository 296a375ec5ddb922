"""Trained in bfloat16 and in float32 from the same seeds, a method ends as good: about 40 minutes on one core.

    python proofs/precision.py --threads 1

Every recipe is trained on the same avatars with the same seeds in both precisions, and judged on the val persons: edits
and swaps that succeed, what they preserve, and the reconstruction's error. What a seed changes is large beside what a
judgement can tell, so differences are taken seed by seed. Runs and packs go to `--out`; an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from record import record

import recombine
from recombine.data.packed import Pack
from recombine.data.synthetic import avatars
from recombine.evaluation.judge import judge
from recombine.evaluation.judgement import plain
from recombine.metrics.intervals import Estimate, over_seeds
from recombine.recipes import RECIPES
from recombine.training.log import read_log
from recombine.training.lowered import FULL, LOWERED
from recombine.training.runs import start

RUNS = {"ifcvaegan.avatars": (3, 24_000), "advattr.avatars": (2, 8_000)}  # recipe -> seeds, images; the second has a gradient penalty
READ = {  # what is read from a judgement
    "edit_success": lambda found: found.edits.all.success,
    "swap_success": lambda found: found.swaps.all.success,
    "swap_preserved": lambda found: found.swaps.all.preserved,
    "mse": lambda found: found.reconstruction.mse,
}


def trained(name: str, precision: str, seed: int, pack: Pack, run: Path) -> dict[str, Estimate]:
    """What a judgement says of a recipe that was trained in a precision."""
    if not (run / "read.json").exists():
        recipe = RECIPES[name]()
        train = replace(recipe.train, precision=precision, seed=seed, images=RUNS[name][1], evaluate_every=RUNS[name][1])
        start(replace(recipe, train=train), pack, run, quiet=True)
        found = judge(recombine.load(run), pack, sections=("reconstruction", "edits", "swaps"))
        (run / "read.json").write_text(json.dumps({key: vars(read(found)) for key, read in READ.items()}))
    return {key: Estimate(**values) for key, values in json.loads((run / "read.json").read_text()).items()}


def speed(run: Path) -> float:
    """Images a second, the median line of the log."""
    rates = sorted(line["images_per_second"] for line in read_log(run / "log.jsonl") if "images_per_second" in line)
    return rates[len(rates) // 2]


def compared(name: str, pack: Pack, out: Path) -> dict:
    """Both precisions of a recipe side by side: each measure's mean over seeds, and the mean difference."""
    seeds = RUNS[name][0]
    runs = {(p, seed): out / f"{name}-{p}-{seed}" for seed in range(seeds) for p in (FULL, LOWERED)}
    found = {key: trained(name, *key, pack, run) for key, run in runs.items()}
    values: dict = {"images_per_second": {p: [round(speed(runs[p, seed]), 1) for seed in range(seeds)] for p in (FULL, LOWERED)}}
    for key in READ:
        sides = {p: over_seeds([found[p, seed][key] for seed in range(seeds)]) for p in (FULL, LOWERED)}
        gaps = [found[LOWERED, seed][key].value - found[FULL, seed][key].value for seed in range(seeds)]
        apart = over_seeds([Estimate(gap, gap, gap, sides[FULL].n) for gap in gaps])
        overlap = sides[FULL].low <= sides[LOWERED].high and sides[LOWERED].low <= sides[FULL].high
        values[key] = {**sides, "difference": apart, "within_intervals": overlap}
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pack = avatars.build(options.out / "pack", 8_000, 64)
    measured = {name: plain(compared(name, pack, options.out)) for name in options.only}
    record(
        "precision",
        "From the same seeds a method that is trained in bfloat16 ends as good as in float32.",
        measured,
        {"val_images": len(pack.rows("val")), "seeds_and_images": {name: RUNS[name] for name in options.only}},
        settings="64 px avatars; recombine/recipes.py says the rest; speeds are of a machine that did other work beside",
    )
