"""splice on the built-in avatars or letters for some minutes: swaps against the true image, beside the best of the others.

    python proofs/splice_drawn.py avatars --minutes 10
    python proofs/splice_drawn.py letters --minutes 5

The recipe is `splice.avatars` or `splice.letters`, as long as is said; all val images are judged. Those of the other methods stand
in `results/five-on-avatars.json`, measured by the same functions. Runs and packs go to `runs/splice-drawn`; an interrupted call goes
on. `--sheet` writes the page of edits that stands in the docs.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from five_on_avatars import measure
from record import ROOT, record
from splice_lfw40 import sheet

import recombine
from recombine.data.packed import Pack
from recombine.data.synthetic import find_drawn
from recombine.evaluation.classifier import judge_classifier
from recombine.evaluation.judge import judge
from recombine.evaluation.judgement import plain
from recombine.method import Method
from recombine.recipes import RECIPES
from recombine.training.runs import start

LOWER = ("leakage",)                        # is better


def of_avatars(model: Method, pack: Pack) -> dict:
    """The numbers of `five_on_avatars`, and the best of the others on each."""
    found = measure(model, pack, judge_classifier(pack, progress=print), "splice")
    others = json.loads((ROOT / "results" / "five-on-avatars.json").read_text())["values"]
    best = {}
    for key in ("psnr_db", "success", "kept", "leakage"):
        name = (min if key in LOWER else max)(others, key=lambda name: others[name][key]["value"])
        best[key] = {"method": name, **others[name][key]}
    return {**found, "best_other": best}


def of_letters(model: Method, pack: Pack) -> dict:
    """Success and what is preserved of swaps, and how near they are to the true image."""
    sections = ("reconstruction", "judge", "swaps", "edits", "truth", "leakage")
    judgement = judge(model, pack, sections=sections, images=None, truths=1_000, progress=print)
    return {
        "success": judgement.swaps.all.success, "preserved": judgement.swaps.all.preserved,
        "success_of_labels": judgement.edits.all.success, "reconstruction_db": judgement.reconstruction.psnr,
        "attributes": judgement.swaps.attributes, "truth": judgement.truth, "leakage": judgement.leakage.off_part,
        "classifier": judgement.classifier,
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["avatars", "letters"])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/splice-drawn"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = RECIPES[f"splice.{options.data}"]()
    pack = find_drawn(options.data).build(options.out / f"{options.data}-pack", recipe.data.count, recipe.size)
    run = options.out / options.data
    start(replace(recipe, train=replace(recipe.train, minutes=options.minutes)), pack, run)
    model = recombine.load(run)
    if options.sheet:
        sheet(model, pack, options.sheet)
    found = plain((of_avatars if options.data == "avatars" else of_letters)(model, pack))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    record(
        f"splice-{options.data}",
        "A swap is what the drawn truth is, and nothing else changes." if options.data == "letters" else "Swaps of four attributes, better than any other method's.",
        found,
        {"val_images": len(pack.rows("val")), "training_images": len(pack.rows("train")), "images_seen": log[-1]["images"]},
        minutes=options.minutes, threads=options.threads,
    )  # fmt: skip
