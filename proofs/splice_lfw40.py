"""Swaps of attributes on Labeled Faces in the Wild by a trained run of splice, or of any method.

    recombine train PACK --method splice --attributes Smiling,Eyeglasses,Gray_Hair,Mouth_Slightly_Open --minutes 45 --out RUN
    python proofs/splice_lfw40.py RUN --column minutes_45
    python proofs/splice_lfw40.py RUN --sheet sheet.png         # to look at; stays out of the repository

RUN was trained on a pack of the photographs. Every val photograph takes each attribute from another one whose label differs;
the pack's quick classifier judges the result. Beside each number stands how often the same classifier sees the value in true
photographs that have it, which is the most that can be asked. A column of `results/splice-lfw40.json` is replaced, others stay.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from record import ROOT, record

import recombine
from recombine import inference
from recombine.data.image_files import grid, save_images
from recombine.data.packed import Pack
from recombine.edit import set_label, swap
from recombine.evaluation.judge import judge
from recombine.evaluation.judgement import Judgement, plain
from recombine.method import Method
from recombine.training.checkpoint import trained_images
from recombine.training.runs import pack_of

NAME = "splice-lfw40"
SECTIONS = ("reconstruction", "judge", "edits", "swaps", "realism", "recognition")


def directions(judgement: Judgement) -> dict[str, dict]:
    """Attribute=value -> success of swaps and label edits to it, and the classifier's hit rate on true photographs."""
    found = {}
    for name, scores in judgement.swaps.attributes.items():
        for value, swaps in scores.values.items():
            true = judgement.classifier.attributes[name].recall[value]
            found[f"{name}={value}"] = {
                "swaps": swaps, "labels": judgement.edits.attributes[name].values[value], "true": true,
                "swaps_over_true": swaps.value / true.value,
            }
    return found


def measure(model: Method, pack: Pack, classifier: str) -> dict:
    """The numbers of a column, the claim's first."""
    judgement = judge(model, pack, sections=SECTIONS, images=None, classifier=classifier, progress=print)
    ways = directions(judgement)
    identity = judgement.recognition["identity"].identity_preserved
    return {
        "success_over_true": float(np.mean([way["swaps_over_true"] for way in ways.values()])),
        "worst_direction": min(way["swaps_over_true"] for way in ways.values()),
        "preserved": judgement.swaps.all.preserved,
        "preserved_unedited": judgement.swaps.all.preserved_unedited,
        "identity_kept": identity.preserved.value / identity.original.value,
        "identity": identity,
        "reconstruction_db": judgement.reconstruction.psnr,
        "frechet_over_real": judgement.realism.swaps.frechet.value / judgement.realism.real.frechet.value,
        "frechet": {"swaps": judgement.realism.swaps.frechet, "real": judgement.realism.real.frechet},
        "directions": ways,
    }  # fmt: skip


def sheet(model: Method, pack: Pack, path: Path, count: int = 12) -> None:
    """Photographs, reconstructions, then every attribute set to each of its values, then every one swapped."""
    rows = np.random.default_rng(1).permutation(pack.rows("val"))[: 2 * count]
    images = pack.batch(rows).images
    with inference.evaluation_mode(model):
        codes = model.encode(images)
        own, lent = codes[:count], codes[count:]
        shown = [images[:count], model.decode(own), images[count:]]
        for attribute in model.schema.attributes:
            for value in attribute.values:
                shown.append(model.decode(set_label(model, own, **{attribute.name: value})))
        for attribute in model.schema.attributes:
            shown.append(model.decode(swap(own, lent, attribute.name)[0]))
    save_images(grid(torch.cat(shown), columns=count), path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--column", help="of the results: minutes_45, hours_6, gpu, ...; only printed when not given")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--classifier", default="quick")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    model, pack = recombine.load(options.run), pack_of(options.run)
    if options.sheet:
        sheet(model, pack, options.sheet)
    found = plain(measure(model, pack.whole(), options.classifier))
    if options.column:
        config = json.loads((options.run / "config.json").read_text())
        found["settings"] = {part: config[part] for part in ("method", "config", "train")}
        found["images_seen"] = trained_images(options.run)
        path = ROOT / "results" / f"{NAME}.json"
        before = json.loads(path.read_text())["values"] if path.exists() else {}
        record(NAME, "Attributes go from one photograph to another, and the person stays.", {**before, options.column: found}, {"val_photographs": len(pack.rows("val"))})
    else:
        print(json.dumps(found, indent=1))
