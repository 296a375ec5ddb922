"""What to expect of so many images: splice as `recombine train FOLDER` sets it, on parts of Labeled Faces in the Wild.

    python proofs/splice_quality.py PACK --threads 2

PACK holds the photographs. Of its training images 500, 2,000 and 10,000 are drawn; each part is trained on with the settings that
find themselves, with and without the augmentation of what the critic sees, and swaps of all val photographs are judged by the whole
pack's quick classifier. Runs and packs go to `runs/splice-quality`; an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from record import record
from splice_lfw40 import measure

import recombine
from recombine.data.packed import Pack, write_pack
from recombine.evaluation.judgement import plain
from recombine.planning import choose, facts_of
from recombine.training.runs import start

COUNTS = (500, 2_000, 10_000)
ATTRIBUTES = ("Smiling", "Eyeglasses", "Gray_Hair", "Mouth_Slightly_Open")
KEYS = ("success_over_true", "worst_direction", "preserved", "identity_kept", "reconstruction_db", "frechet_over_real")


def part_of(pack: Pack, count: int, folder: Path) -> Pack:
    """A pack of `count` training images of another one, drawn with a seed, and all of its val images."""
    if (folder / "manifest.json").exists():
        return Pack(folder)
    learnt = np.random.default_rng(0).permutation(pack.rows("train"))[:count]
    rows = np.sort(np.concatenate([learnt, pack.rows("val")]))
    labels = {name: np.asarray(column)[rows] for name, column in pack.labels.items()}
    files, splits = [pack.files[row] for row in rows], np.asarray(pack.splits)[rows]
    return write_pack(folder, pack.images[rows], pack.schema, files, labels, splits)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--images", type=int, default=40_000, help="seen by every run")
    parser.add_argument("--out", type=Path, default=Path("runs/splice-quality"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    whole, found = Pack(options.pack), {}
    for count in COUNTS:
        pack = part_of(whole, count, options.out / f"pack-{count}")
        recipe, _ = choose(facts_of(pack, "cpu", options.threads, ATTRIBUTES), images=options.images)
        train = replace(recipe.train, keep="last", plateau_images=0, mirror=True, evaluate_every=options.images)
        for augment in (True, False):
            run = options.out / f"{count}{'' if augment else '-without-augmentation'}"
            start(replace(recipe, config=replace(recipe.config, augment=augment), train=train), pack, run, quiet=True)
            if not (run / "measured.json").exists():
                (run / "measured.json").write_text(json.dumps(plain(measure(recombine.load(run), whole, "quick")), indent=2))
            measured = json.loads((run / "measured.json").read_text())
            found[run.name] = {key: measured[key] for key in (*KEYS, "directions")}
            print(run.name, {key: measured[key] for key in KEYS[:2]}, flush=True)
    record(
        "splice-quality",
        "More images make better edits, and augmentation makes fewer suffice.",
        found,
        {"val_photographs": len(whole.rows("val")), "images_seen": options.images},
    )
