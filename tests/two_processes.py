"""Trains tiny methods, most in double precision; under `torchrun` they must end as they do alone. Arguments: pack, folder for the runs."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from toy_game import ToyGame

from recombine.data.packed import Pack
from recombine.methods.ifcvaegan import Config, IFcVAEGAN
from recombine.training import engine
from recombine.training.engine import TrainConfig, fit

EARLY = {"keep": "best", "plateau_images": 24, "evaluate_every": 8, "decay": 0.25}


def train(which: str, pack: Pack, run: Path, accumulate: int = 1, precision: str = "64-true", steps: int = 20, monitor=None, **course) -> None:
    """Some steps of `toy`, `toy-norm` or `ifcvaegan`."""
    torch.set_default_dtype(torch.float64 if precision == "64-true" else torch.float32)
    try:
        torch.manual_seed(0)
        ifcvaegan = Config(width=4, num_latents=6, aux_width=16, learning_rate=1e-3)
        method = IFcVAEGAN(ifcvaegan, pack.schema) if which == "ifcvaegan" else ToyGame(pack.schema, norm=which == "toy-norm")
        config = TrainConfig(images=steps * 8, batch_size=8, accumulate=accumulate, precision=precision, ema_images=50, log_every=40, **course)
        fit(method, pack, config, run, quiet=True, monitor=monitor)
    finally:
        torch.set_default_dtype(torch.float32)


def level(method: object, path: Path) -> dict[str, float]:
    """A monitor of edits that are as good at every evaluation."""
    return {"edit_success/all": 0.5}


if __name__ == "__main__":
    pack, folder = Pack(sys.argv[1]).select("lamp"), Path(sys.argv[2])
    torch.set_num_threads(1)
    engine.handedness = lambda pack: SimpleNamespace(mirror=not dist.get_rank())  # the first process decides
    train("toy-norm", pack, folder / "toy-norm")
    train("ifcvaegan", pack, folder / "ifcvaegan")
    train("toy", pack, folder / "toy-microbatches", accumulate=2)
    train("ifcvaegan", pack, folder / "ifcvaegan-bf16", precision="bf16-mixed", steps=1)
    taken, quickest = [], engine.quickest
    engine.quickest = lambda *arguments: taken.append(found := quickest(*arguments)) or found
    if dist.get_rank():                     # whose clock stands still: for it, all precisions are as quick
        engine.time = SimpleNamespace(process_time=lambda: 0.0, perf_counter=lambda: 0.0, monotonic=time.monotonic)
    train("toy-norm", pack, folder / "toy-norm-auto", precision="auto")
    everywhere = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, taken)
    assert everywhere[0] == everywhere[1] and min(everywhere[1][0][1].values()) > 0, everywhere
    lengths, images_in = [], engine.images_in
    engine.images_in = lambda *arguments: lengths.append(found := images_in(*arguments)) or found
    train("toy-norm", pack, folder / "toy-norm-minutes", minutes=0.02)
    train("toy", pack, folder / "toy-level", monitor=level, **EARLY)
    dist.all_gather_object(everywhere, lengths)
    assert everywhere[0] == everywhere[1] and everywhere[1][0] > 8, everywhere
