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
from recombine.data.folder import read_source
from recombine.data.packed import Pack
from recombine.data.packing import pack
from recombine.data.schema import Schema
from recombine.metrics.classifier import Classifier, accuracies, judge_classifier
from recombine.metrics.intervals import share
from recombine.metrics.transfer import label_rates, sensitivity
from recombine.monitor import EditMonitor
from recombine.recipes.lfw import VARIANTS, lfw_smiling
from recombine.runs import start


def measure(run: Path, data: Pack, classifier: Classifier) -> dict:
    """The paper's columns on all val photographs; percentages with n and a 95 % interval."""
    model, rows = recombine.load(run), data.rows("val")
    images = data.batch(rows).images
    codes = [model.encode(chunk) for chunk in images.split(128)]
    errors = torch.cat([((model.decode(c) - x) / 2).square().flatten(1).mean(1) for c, x in zip(codes, images.split(128), strict=True)])
    guesses = torch.cat([model.predict(c)["Smiling"].argmax(1) for c in codes]).numpy()
    labels = data.labels["Smiling"][rows]
    rates = label_rates(model, data, rows, "Smiling", classifier)
    smiling = label_rates(model, data, rows[labels == 1], "Smiling", classifier)
    return {
        "mse": round(errors.mean().item(), 4),
        "not_smiling": rates["0"],
        "smiling": rates["1"],
        "label_accuracy": share(guesses == labels).to_json(),
        "not_smiling_of_smiling": smiling["0"],
        "sensitivity": sensitivity(model, data, rows)["Smiling"],
    }


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
    # The runs' own curves are drawn on training pictures, so that nobody is tempted to choose by the val photographs.
    monitor.rows = np.random.default_rng(1).permutation(data.rows("train"))[:128]
    monitor.shown = monitor.rows[:8]
    for variant in options.variants:
        images = options.images if variant == "ours" else options.ablation_images
        start(lfw_smiling(variant, images), data, options.out / variant, monitor=monitor)

    values = {variant: measure(options.out / variant, data, classifier) for variant in options.variants}
    seen = {variant: options.images if variant == "ours" else options.ablation_images for variant in values}
    ours = values.pop("ours")
    record(
        "ifcvaegan-lfw40-smiling",
        "With the auxiliary network a face can be made to smile or not; without it the label is ignored.",
        {**ours, "classifier_accuracy": accuracies(classifier, whole, data.rows("val"))["Smiling"], **values},
        {"val_photographs": len(data.rows("val")), "images_seen": seen},
        paper={"mse": 0.011, "not_smiling": 0.98, "smiling": 1.0, "label_accuracy": 0.92, "without_aux": {"not_smiling": 0.28, "smiling": 0.91}, "n": 46},
        settings=f"{recipe.size} px, width 32, {recipe.train.batch_size} a batch; see recombine/recipes/lfw.py",
    )
