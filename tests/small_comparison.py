"""A comparison of two tiny methods; as a program, one shard of it. Arguments: folder, pack, shard."""

import sys
from pathlib import Path
from types import SimpleNamespace

import torch

from recombine.comparison import worker
from recombine.comparison.compare import Budget, Judging, compare
from recombine.data.packed import Pack
from recombine.evaluation.classifier import Settings
from recombine.methods import ifcvaegan, matdr
from recombine.training import engine

METHODS = ("ifcvaegan:tiny", "matdr:tiny")
JUDGING = Judging(images=24, sections=("reconstruction", "edits", "parts"))
CLASSIFIER = Settings(width=4, height=16, images=320, evaluations=1)
OPTIONS = {"attributes": ("colour", "lamp"), "seeds": 2, "budget": Budget(images=192), "judging": JUDGING, "classifier": CLASSIFIER}


def run(out, pack, methods=METHODS, **options):
    """Compare; returns the path of the page."""
    for module in (ifcvaegan, matdr):
        module.PRESETS.setdefault("tiny", module.TINY)
    return compare(out, {"signs": pack}, methods, **{**OPTIONS, **options})


if __name__ == "__main__":
    torch.set_num_threads(1)
    engine.quickest = lambda rehearse, batch_size: ("32-true", {})  # as `same_precision` does for the tests, and `mirrored`
    worker.handedness = lambda pack: SimpleNamespace(mirror=True)
    first, last = sys.argv[3].split("/")
    run(Path(sys.argv[1]), Pack(sys.argv[2]), shard=(int(first), int(last)))
