"""Rodi on sprites: Fig. 7's transfers and Table 1's mutual information, ours beside its ablations.

    python proofs/rodi_sprites.py SHEETS --threads 2

SHEETS is a folder of Liberated Pixel Cup sheets (see recombine/data/sprites.py). Whole characters are held out. A triplet is
x1 and x2 of one held-out character in two poses, and x3, another held-out character in the pose of x2; the transfer
D(pose(x3), appearance(x1)) is compared with x2, pixels in [-1, 1]. Triplets are drawn with seed 1. Runs go to
`runs/rodi-sprites`; an interrupted call goes on, and `--only` trains and measures some of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from record import record
from torch import Tensor

import recombine
from recombine.data import sprites
from recombine.data.images import to_float
from recombine.data.packed import Pack
from recombine.method import Method
from recombine.methods.rodi import VARIANTS
from recombine.metrics.intervals import mean
from recombine.metrics.mutual_information import mutual_information
from recombine.metrics.transfer import encoded
from recombine.recipes.rodi import rodi_sprites
from recombine.runs import start

ROWS = {"variational": "a", "adversarial": "b", "equal": "c", "fixed": "d", "ours": "e"}  # of Table 1
PAPER = {"ours": 0.0026, "adversarial": 0.0057, "variational": 0.0069, "bvae": 0.0472}
TABLE_1 = {  # the paper's I_T, I_T' and reconstruction (its unit is not stated)
    "a": (0.1255, 0.1239, 3.9350), "b": (0.1254, 0.8727, 2.9818), "c": (0.0919, 0.1247, 3.9615), "d": (0.1258, 0.4096, 3.2504), "e": (0.1225, 0.1201, 3.5279),
}


def triplets(pack: Pack, sheets: sprites.Sheets, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """x1, x2 and x3 of some triplets at a time, each `[n, 3, 64, 64]` in [-1, 1]."""
    numbers, poses = np.random.default_rng(1), sprites.poses()
    characters = sorted({tuple(sprites.truth(pack, row)[layer] for layer in sprites.LAYERS) for row in pack.rows("val")})
    for begin in range(0, count, 200):
        sides: tuple[list, list, list] = ([], [], [])
        for _ in range(min(200, count - begin)):
            own, other = (dict(zip(sprites.LAYERS, characters[i], strict=True)) for i in numbers.choice(len(characters), 2, replace=False))
            first, second = (poses[i] for i in numbers.choice(len(poses), 2, replace=False))
            for side, factors in zip(sides, ({**own, **first}, {**own, **second}, {**other, **second}), strict=True):
                side.append(sprites.render(sheets, factors))
        x1, x2, x3 = (to_float(np.stack(side)) for side in sides)
        yield x1, x2, x3


@torch.no_grad()
def transfers(model: Method, pack: Pack, sheets: sprites.Sheets, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors `[count]` of transfers against the true frame, and of reconstructions of x2."""
    errors, rebuilt = [], []
    for x1, x2, x3 in triplets(pack, sheets, count):
        own, pose = model.encode(x1), model.encode(x3)
        errors.append((model.decode(recombine.swap(own, pose, "pose")[0]) - x2).square().flatten(1).mean(1))
        rebuilt.append((model.decode(model.encode(x2)) - x2).square().flatten(1).mean(1))
    return torch.cat(errors).numpy(), torch.cat(rebuilt).numpy()


def estimates(run: Path) -> dict[str, float]:
    """I_T and I_T' in nats as the training measured them, over its last tenth."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    found = [line for line in lines if "I_T" in line]
    last = [line for line in found if line["images"] > 0.9 * found[-1]["images"]]
    return {key: round(float(np.mean([line[name] for line in last])), 4) for key, name in (("mi_trained", "I_T"), ("mi_measured", "I_T'"))}


def fresh_estimate(model: Method, pack: Pack) -> dict:
    """I(pose, appearance) in nats by a classifier of pairs that is trained afterwards: pose of x2, appearance of x1."""
    codes = []
    for split in ("train", "val"):
        rows = np.asarray(pack.rows(split))
        character = np.asarray(pack.labels["character"])[rows]
        order = np.lexsort((rows, character))
        first, second = order[:-1], order[1:]
        same = character[first] == character[second]
        one, two = encoded(model, pack, rows[first[same]]), encoded(model, pack, rows[second[same]])
        codes.append((two["pose"], one["appearance"]))
    return mutual_information(*codes[0], *codes[1]).to_json()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheets", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/rodi-sprites"))
    parser.add_argument("--pairs", type=int, default=10_000, help="seen by every run")
    parser.add_argument("--triplets", type=int, default=8_000)
    parser.add_argument("--only", nargs="*", default=["ours", *VARIANTS], choices=["ours", *VARIANTS])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    sheets, folder = sprites.open_sheets(options.sheets), options.out / "pack"
    pack = Pack(folder) if folder.exists() else sprites.build(folder, sheets, 8_000)
    for name in options.only:
        run, recipe = options.out / name, rodi_sprites(**VARIANTS.get(name, {}))
        start(replace(recipe, train=replace(recipe.train, images=options.pairs)), pack, run, quiet=True)
        model = recombine.load(run)
        errors, rebuilt = transfers(model, pack, sheets, options.triplets)
        found = {"mse": mean(errors).to_json(), **estimates(run), "mi_fresh": fresh_estimate(model, pack), "reconstruction": mean(rebuilt).to_json()}
        (run / "measured.json").write_text(json.dumps(found, indent=2))
        print(name, found, flush=True)
    measured = {name: json.loads((options.out / name / "measured.json").read_text()) for name in ("ours", *VARIANTS) if (options.out / name / "measured.json").exists()}
    model = recombine.load(options.out / "ours")
    record(
        "rodi-sprites",
        "The adaptive combination transfers poses best: the adversary alone is fooled, the bottleneck alone loses detail.",
        {
            **{name: found for name, found in measured.items() if name in PAPER},
            "table1": {row: measured[name] for name, row in ROWS.items() if name in measured},
        },
        {
            "triplets": options.triplets, "held_out_characters": len(np.unique(np.asarray(pack.labels["character"])[pack.rows("val")])),
            "pairs_seen": options.pairs, "parameters": sum(p.numel() for p in model.parameters()),
        },
        paper={"mse": PAPER, "table1": TABLE_1},
        settings="64 px; recombine/recipes/rodi.py says the rest",
    )
