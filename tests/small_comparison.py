"""A comparison of two tiny methods; as a program, one shard of it. Arguments: folder, pack, shard."""

import sys
from pathlib import Path

import torch

from recombine.comparison.compare import Budget, Judging, compare
from recombine.data.packed import Pack
from recombine.evaluation.classifier import Settings
from recombine.methods import ifcvaegan, matdr

TINY = {
    ifcvaegan: ifcvaegan.Config(width=4, num_latents=6, aux_width=16),
    matdr: matdr.Config(width=4, residual_blocks=1, unit_channels=2, rest_channels=4, critic_width=4),
}
METHODS = ("ifcvaegan:tiny", "matdr:tiny")
JUDGING = Judging(images=24, sections=("reconstruction", "edits", "parts"))
REFEREE = Settings(width=4, height=16, images=320, evaluations=1)
OPTIONS = {"attributes": ("colour", "lamp"), "seeds": 2, "budget": Budget(images=192), "judging": JUDGING, "referee": REFEREE}


def run(out, pack, methods=METHODS, **options):
    """Compare; returns the path of the page."""
    for module, config in TINY.items():
        module.PRESETS.setdefault("tiny", config)
    return compare(out, {"signs": pack}, methods, **{**OPTIONS, **options})


if __name__ == "__main__":
    torch.set_num_threads(1)
    first, last = sys.argv[3].split("/")
    run(Path(sys.argv[1]), Pack(sys.argv[2]), shard=(int(first), int(last)))
