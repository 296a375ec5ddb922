"""splice on the built-in avatars, without each of its ingredients, and with each that their preset goes without.

    python proofs/splice_ablations.py --threads 1
    python proofs/splice_ablations.py --only whole without-not --threads 1

Every variant sees the same images of the same 8,000 avatars at 64 px, and its swaps of expression, lighting, glasses and hair colour
are measured on the val persons by the functions of `five_on_avatars.py`. Runs and packs go to `runs/splice-ablations`; an interrupted
call goes on, and what was measured is not measured again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from five_on_avatars import measure
from record import record

import recombine
from recombine.data.synthetic import avatars
from recombine.evaluation.classifier import judge_classifier
from recombine.evaluation.judgement import plain
from recombine.recipes import RECIPES
from recombine.training.runs import start

VARIANTS: dict[str, dict] = {  # what is changed
    "whole": {},
    "without-training-apart": {"apart_share": 0.0},                 # critic and autoencoder play from the first image
    "without-value-branches": {"value_weight": 0.0},                # Eq. 5
    "judging-kept-codes-too": {"lent_only": False},                 # Eqs. 5 and 9 over all images
    "without-not": {"not_weight": 0.0},                             # Eq. 10
    "without-balance": {"balanced": False},
    "without-class": {"class_weight": 0.0},                         # Eq. 6
    "without-code": {"code_weight": 0.0},                           # Eq. 3
    "without-slope": {"r1_weight": 0.0},                            # Eq. 11
    "without-augmentation": {"augment": False},
    "with-vectors": {"code_length": 8},                             # in place of probabilities
    "with-vector-rest": {"rest_length": 64},                        # in place of a map
    "with-cycle": {"cycle_weight": 60.0},                           # Eq. 2
    "with-stay": {"stay_weight": 3.0},                              # Eq. 13
    "with-even": {"even_weight": 0.2},                              # Eq. 7
    "with-fixed-even": {"even_weight": 0.2, "even_rate": 0.0},      # its weight not set by P'
}
KEYS = ("psnr_db", "success", "kept", "leakage", "reconstruction_db")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/splice-ablations"))
    parser.add_argument("--images", type=int, default=16_000, help="seen by every variant")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = RECIPES["splice.avatars"]()
    train = replace(recipe.train, images=options.images, evaluate_every=options.images)
    pack = avatars.build(options.out / "pack", recipe.data.count, recipe.size)
    classifier = judge_classifier(pack, progress=print)
    for name in options.only:
        run = options.out / name
        start(replace(recipe, config=replace(recipe.config, **VARIANTS[name]), train=train), pack, run, quiet=True)
        if not (run / "measured.json").exists():
            found = plain(measure(recombine.load(run), pack, classifier, "splice"))
            (run / "measured.json").write_text(json.dumps(found, indent=2))
            print(name, {key: round(found[key]["value"], 3) for key in KEYS}, flush=True)
    done = [name for name in VARIANTS if (options.out / name / "measured.json").exists()]
    record(
        "splice-ablations",
        "What every ingredient of splice is worth on swaps, what they preserve, and leakage, and what those that its preset goes without would bring.",
        {name: json.loads((options.out / name / "measured.json").read_text()) for name in done},
        {"val_images": len(pack.rows("val")), "training_images": len(pack.rows("train")), "images_seen": options.images},
        changes={name: VARIANTS[name] for name in done},
    )
