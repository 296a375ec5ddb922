"""Five methods on the built-in avatars under one budget, each beside itself without its key idea.

    python proofs/five_on_avatars.py --threads 2

Every method sees the same number of images of the same 8,000 avatars at 64 px (a pair counts as two). Those with labels
learn expression, lighting, glasses and hair colour; the one with pairs learns from two images of one clip. Swaps, leakage
and reconstruction are measured on the val persons, which no method was trained on. Runs and packs go to `runs/five`; an interrupted call
goes on, what was measured is not measured again, and `--only` trains and measures some of them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from record import record

import recombine
from recombine.data.packed import Pack
from recombine.data.synthetic import avatars
from recombine.data.synthetic.truth import render_all, true_swaps
from recombine.evaluation.classifier import Classifier, judge_classifier
from recombine.evaluation.judgement import plain
from recombine.evaluation.part_swaps import Carried, part_swaps
from recombine.inference import encode_rows, evaluation_mode
from recombine.method import Method
from recombine.methods.rodi import VARIANTS
from recombine.metrics.intervals import mean
from recombine.metrics.leakage import leakage, matrix_json, off_part
from recombine.metrics.reconstruction import psnr
from recombine.recipes import RECIPES
from recombine.training.recipe import Recipe
from recombine.training.runs import start

LEARNT = ("expression", "lighting", "glasses", "hair_color")
LOOKS = avatars.IDENTITY + avatars.CLIP
MOMENT = tuple(name for name in (*avatars.FACTORS, *avatars.NUMBERS) if name not in LOOKS)
SEEN = {"appearance": (*(n for n in LOOKS if n in avatars.FACTORS), "lighting"), "pose": (*(n for n in MOMENT if n in avatars.FACTORS), "expression")}
RUNS = {  # method or ablation -> recipe and what it changes
    "advattr": ("advattr.avatars", {}),
    "advattr-without-dis": ("advattr.avatars", {"dis_weight": 0.0}),
    "mad": ("mad.avatars", {}),
    "mad-without-cycle": ("mad.avatars", {"cycle_weight": 0.0, "augmentation_weight": 0.0}),
    "ifcvaegan": ("ifcvaegan.avatars", {}),
    "ifcvaegan-without-aux": ("ifcvaegan.avatars", {"aux_weight": 0.0}),
    "rodi": ("rodi.avatars", {}),
    "rodi-adversarial-only": ("rodi.avatars", VARIANTS["adversarial"]),
    "rodi-variational-only": ("rodi.avatars", VARIANTS["variational"]),
    "matdr": ("matdr.avatars", {}),
    "matdr-without-verification": ("matdr.avatars", {"ver_weight": 0.0}),
}


def recipe_of(name: str, pictures: int) -> Recipe:
    """The recipe of a run with its changes; a pair counts as two images."""
    base, changes = RUNS[name]
    recipe = RECIPES[base]()
    pairs = 2 if name.startswith(("rodi", "matdr")) else 1
    train = replace(recipe.train, images=pictures // pairs, evaluate_every=pictures // pairs // 2)
    return replace(recipe, config=replace(recipe.config, **changes), train=train)


def carried(method: str) -> dict[str, Carried]:
    """What every part is meant to carry."""
    if method == "rodi":
        return {
            "appearance": Carried(judged=SEEN["appearance"], moved=LOOKS),
            "pose": Carried(judged=SEEN["pose"], moved=MOMENT),
        }
    return {name: Carried(judged=(name,), moved=avatars.AVATARS.factors_behind([name]), free=avatars.AVATARS.goes_with.get(name, ())) for name in LEARNT}


def measure(model: Method, pack: Pack, classifier: Classifier, method: str) -> dict:
    """Swaps against the truth, leakage of every part, and reconstruction, on the val persons."""
    rows, parts = np.asarray(pack.rows("val")), carried(method)
    swaps = part_swaps(model, pack, rows, classifier, parts, truth=partial(render_all, true_swaps(pack), workers=1))
    assert swaps.all.psnr is not None
    own = {**{name: part.judged for name, part in parts.items()}, **({} if method == "rodi" else {"rest": ()})}
    names = SEEN["appearance"] + SEEN["pose"] if method == "rodi" else LEARNT
    learnt = np.sort(np.random.default_rng(0).permutation(pack.rows("train"))[:3_000])
    with evaluation_mode(model):
        codes = [encode_rows(model, pack, chosen) for chosen in (learnt, rows)]
        again = torch.cat([model.decode(codes[1][i : i + 128]) for i in range(0, len(rows), 128)])
    labels = [{name: np.asarray(pack.labels[name])[chosen] for name in names} for chosen in (learnt, rows)]
    leaks = leakage(codes[0], labels[0], codes[1], labels[1], [pack.schema[name] for name in names], probe="two_layer")
    return {
        "psnr_db": swaps.all.psnr.edited,
        "success": swaps.all.success,
        "kept": swaps.all.preserved,
        "leakage": off_part(leaks, own),
        "reconstruction_db": mean(psnr(again, pack.batch(rows).images).numpy()),
        "psnr_unedited_db": swaps.all.psnr.original,
        "parts": swaps.parts,
        "leakage_of": matrix_json(leaks),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/five"))
    parser.add_argument("--pictures", type=int, default=24_000, help="seen by every run")
    parser.add_argument("--only", nargs="*", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--train-only", action="store_true", help="measure later, with the same command without this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pack = avatars.build(options.out / "pack", 8_000, 64)
    classifier = judge_classifier(pack, progress=print)
    for name in options.only:
        run = options.out / name
        start(recipe_of(name, options.pictures), pack, run, quiet=True)
        if options.train_only or (run / "measured.json").exists():
            continue
        found = plain(measure(recombine.load(run), pack, classifier, RUNS[name][0].split(".")[0]))
        (run / "measured.json").write_text(json.dumps(found, indent=2))
        print(name, {key: found[key]["value"] for key in ("psnr_db", "success", "kept", "leakage", "reconstruction_db")}, flush=True)
    if options.train_only:
        raise SystemExit
    measured = {name: json.loads((options.out / name / "measured.json").read_text()) for name in RUNS if (options.out / name / "measured.json").exists()}
    sizes = {name: sum(p.numel() for p in recombine.load(options.out / name).parameters()) for name in measured}
    record(
        "five-on-avatars",
        "Under one budget, every method's key idea beats its own ablation on swap success or leakage.",
        measured,
        {"val_pictures": len(pack.rows("val")), "training_pictures": len(pack.rows("train")), "pictures_seen": options.pictures, "parameters": sizes},
        settings="64 px; labels expression, lighting, glasses, hair_color; rodi: pairs of one clip; recombine/recipes says the rest",
    )
