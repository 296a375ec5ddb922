"""IFcVAE-GAN on Labeled Faces in the Wild, Smiling, and its ablations, judged on the val photographs by an independent classifier.

    python proofs/lfw_smiling.py FOLDER --images 200000 --ablation-images 200000

FOLDER holds the photographs and `metadata.csv`. Runs and packs go to `runs/lfw-smiling`; an interrupted call goes on.
Nothing is chosen on the val photographs: settings were found on a part of the training split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from record import record

import recombine
from recombine.data.packing import pack
from recombine.data.schema import Schema
from recombine.data.sources.folder import read_source
from recombine.evaluation.classifier import accuracies, judge_classifier
from recombine.papers.ifcvaegan import measure_smiles
from recombine.recipes import VARIANTS, lfw_smiling
from recombine.training.monitor import EditMonitor
from recombine.training.runs import start

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/lfw-smiling"))
    parser.add_argument("--images", type=int, default=200_000, help="seen by the method")
    parser.add_argument("--ablation-images", type=int, default=200_000, help="seen by every ablation")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = lfw_smiling()
    options.out.mkdir(parents=True, exist_ok=True)
    whole = pack(read_source(options.folder), options.out / "pack", Schema(height=recipe.size, width=recipe.size))
    data, classifier = whole.select("Smiling"), judge_classifier(whole, progress=print)
    monitor = EditMonitor(data, classifier)
    # The runs' own curves are measured on training images, so that nothing is chosen by the val photographs.
    monitor.rows = np.random.default_rng(1).permutation(data.rows("train"))[:128]
    monitor.shown = monitor.rows[:8]
    for variant in options.variants:
        images = options.images if variant == "ours" else options.ablation_images
        start(lfw_smiling(variant, images), data, options.out / variant, monitor=monitor)

    values = {variant: measure_smiles(recombine.load(options.out / variant), data, classifier) for variant in options.variants}
    seen = {variant: options.images if variant == "ours" else options.ablation_images for variant in values}
    ours = values.pop("ours")
    record(
        "ifcvaegan-lfw40-smiling",
        "With the auxiliary network a face can be made to smile or not; without it the label is ignored.",
        {**ours, "classifier_accuracy": accuracies(classifier, whole, data.rows("val"))["Smiling"], **values},
        {"val_photographs": len(data.rows("val")), "images_seen": seen},
        paper={"mse": 0.011, "not_smiling": 0.98, "smiling": 1.0, "label_accuracy": 0.92, "without_aux": {"not_smiling": 0.28, "smiling": 0.91}, "n": 46},
        settings=f"{recipe.size} px, width 32, {recipe.train.batch_size} a batch; see recombine/recipes.py",
    )
