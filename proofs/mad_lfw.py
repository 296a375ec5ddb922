"""MAD on Labeled Faces in the Wild: identity, expression and pose read from every part,
before and after the joint phase.

    python proofs/mad_lfw.py FOLDER --threads 2

FOLDER holds the photographs and `metadata.csv`. Verification is on pairs of val identities (10 folds), the expression probe
learns from codes of training photographs and is judged on val, and yaw, pitch and roll are read from the parts themselves, in
degrees. Runs and packs go to `runs/mad-lfw`; an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from record import record

import recombine
from recombine.data.image_files import grid, save_images
from recombine.data.packing import pack
from recombine.data.schema import Schema
from recombine.data.sources.folder import read_source
from recombine.evaluation.judgement import plain
from recombine.method import Method
from recombine.papers.mad import ANGLES, TABLE2, TABLE3, TESTED, joint_phase_start, measure_parts
from recombine.recipes import RECIPES
from recombine.training.monitor import EditMonitor
from recombine.training.runs import start

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/mad-lfw"))
    parser.add_argument("--images", type=int, help="seen in all; the recipe's own when not given")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    recipe = RECIPES["mad.lfw"]()
    images = options.images or recipe.train.images
    recipe = replace(recipe, train=replace(recipe.train, images=images))
    before = joint_phase_start(recipe)
    options.out.mkdir(parents=True, exist_ok=True)
    whole = pack(read_source(options.folder), options.out / "pack", Schema(height=recipe.size, width=recipe.size))
    data, run = whole.select(*recipe.attributes), options.out / "run"
    looks = EditMonitor(data, None)

    def monitor(model: Method, path: Path) -> dict[str, float]:
        """Every number where the joint phase begins, kept in the run's folder."""
        if int(path.stem) and not (run / "before.json").exists():
            (run / "before.json").write_text(json.dumps(plain(measure_parts(model, data)), indent=2))
        return looks(model, path)

    start(replace(recipe, train=replace(recipe.train, evaluate_every=before)), data, run, monitor=monitor, quiet=True)
    model = recombine.load(run)
    found = {"before_joint": json.loads((run / "before.json").read_text()), "joint": measure_parts(model, data)}
    with torch.no_grad():
        faces = model.encode(data.batch(data.rows("val")[:8]).images)
        turned = [data.batch(data.rows("val")[:8]).images] + [model.decode(recombine.set_label(model, faces, yaw=angle)) for angle in (-30, 0, 30)]
        save_images(grid(torch.cat(turned), columns=faces.batch_size), run / "grids" / "turned.png")
    record(
        "mad-lfw40",
        "The identity part tells people apart and the others hardly do; expression and pose stand in theirs; training jointly helps.",
        found,
        {
            "val_photographs": len(data.rows("val")), "verification_pairs": 1_000, "images_seen": images, "before_joint_images_seen": before,
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        paper={
            "verification": {row.name: TABLE2.numbers(row) for row in TABLE2.rows},
            "auc": {row.name: TABLE3.numbers(row) for row in TABLE3.rows if not row.quoted},
            "pose_degrees": dict(zip(ANGLES, TESTED, strict=True)),
        },
        settings=f"{recipe.size} px; recombine/recipes.py says the rest",
    )
