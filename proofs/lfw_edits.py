"""Swaps of three attributes on Labeled Faces in the Wild by a method whose parts are maps: advattr or matdr.

    python proofs/lfw_edits.py advattr FOLDER --threads 2
    python proofs/lfw_edits.py matdr FOLDER --threads 2 --weights 0 0.01 0.1 1 10

FOLDER holds the photographs and `metadata.csv`. Every val photograph takes Smiling, Eyeglasses and Gray_Hair from another
one whose label differs; an independent classifier, trained on the training split, judges the result. Realism is the Frechet
distance and KID between edited and real val photographs, at equal n, by that classifier's features. For matdr, `--weights` are
those of the verification loss (Table 2). Runs and packs go to `runs/lfw-edits`; an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from record import record

import recombine
from recombine import inference
from recombine.data.packed import Pack
from recombine.data.packing import pack
from recombine.data.schema import Schema
from recombine.data.sources.folder import read_source
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier, accuracies, feature_extractor, judge_classifier
from recombine.evaluation.judgement import plain
from recombine.method import Method
from recombine.metrics.intervals import mean
from recombine.metrics.realism import extract, frechet_distance, kernel_distance
from recombine.metrics.reconstruction import psnr
from recombine.recipes import RECIPES
from recombine.training.runs import start

GOES_WITH = {  # what rightly changes with an attribute on photographs, and is no damage
    "Smiling": ("expression", "Mouth_Slightly_Open", "High_Cheekbones"),
    "Gray_Hair": ("Black_Hair", "Brown_Hair", "Blond_Hair"),
}


def measure(model: Method, data: Pack, classifier: Classifier) -> dict:
    """Success and preservation of every swap, and realism of the swapped photographs."""
    rows, names = np.asarray(data.rows("val")), list(model.schema.names)
    verdicts = replace(transfer.swaps(model, data, rows, classifier, attributes=names), goes_with=GOES_WITH)
    images = data.batch(rows).images
    with inference.evaluation_mode(model):
        codes = inference.encode_rows(model, data, rows)
        edited = torch.cat(list(transfer.edited_images(model, data, codes, verdicts.edits)))
        again = torch.cat(list(inference.decode_chunks(model, codes)))
    chosen = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(len(edited))[: len(images)]))
    extractor, found = feature_extractor(classifier), transfer.scores(verdicts)
    real, made, reconstructed = (extract(extractor, side.split(256)) for side in (images, edited[chosen], again))
    return {
        "success": found.success,
        "kept": found.preserved,
        "kept_unedited": found.preserved_unedited,
        "frechet": frechet_distance(real, made, extractor.name),
        "kid": kernel_distance(real, made, extractor.name),
        "frechet_rebuilt": frechet_distance(real, reconstructed, extractor.name),
        "reconstruction_db": mean(psnr(again, images).numpy()),
        "attributes": transfer.by_attribute(verdicts, data.schema),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["advattr", "matdr"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/lfw-edits"))
    parser.add_argument("--weights", nargs="*", type=float, help="of matdr's verification loss; the first 0.1 is the method's own")
    parser.add_argument("--pictures", type=int, default=40_000, help="seen by every run; a pair counts as two")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = RECIPES[f"{options.method}.lfw"]()
    options.out.mkdir(parents=True, exist_ok=True)
    whole = pack(read_source(options.folder), options.out / "pack", Schema(height=recipe.size, width=recipe.size))
    classifier = judge_classifier(whole, progress=print)
    weights = options.weights or [0.1] if options.method == "matdr" else [None]
    pairs = 2 if options.method == "matdr" else 1
    measured: dict[str, dict] = {}
    for weight in weights:
        changes = {} if weight is None else {"ver_weight": weight}
        train = replace(recipe.train, images=options.pictures // pairs, evaluate_every=options.pictures // pairs)
        run = options.out / (options.method if weight is None else f"{options.method}-{weight:g}")
        start(replace(recipe, config=replace(recipe.config, **changes), train=train), whole, run, quiet=True)
        measured[f"{weight:g}" if weight is not None else "own"] = found = plain(measure(recombine.load(run), whole, classifier))
        (run / "measured.json").write_text(json.dumps(found, indent=2))
        print(run.name, {key: found[key]["value"] for key in ("success", "kept", "kept_unedited", "frechet", "kid")}, flush=True)
    own = measured.get("own") or measured["0.1"]
    names = list(recipe.attributes)
    seen = accuracies(classifier, whole, whole.rows("val"))
    record(
        f"{options.method}-lfw40",
        "Smiling, glasses and grey hair go from one photograph to another, and the rest stays.",
        {**own, **({"by_verification_weight": measured} if len(measured) > 1 else {}), "classifier": {name: seen[name] for name in names}},
        {"val_photographs": len(whole.rows("val")), "pictures_seen": options.pictures},
        paper={"frechet_by_verification_weight": {"0": 55.15, "0.01": 52.39, "0.1": 45.23, "1": 60.98, "10": 70.72}} if options.method == "matdr" else {},
        goes_with=GOES_WITH,
        settings=f"{recipe.size} px; recombine/recipes.py says the rest",
    )
