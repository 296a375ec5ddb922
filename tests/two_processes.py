"""Trains tiny methods in double precision; under `torchrun` they must end as they do alone. Arguments: pack, folder for the runs."""

import sys
from pathlib import Path

import torch
from toy_game import ToyGame

from recombine.data.packed import Pack
from recombine.methods.ifcvaegan import Config, IFcVAEGAN
from recombine.training.engine import TrainConfig, fit


def train(which: str, pack: Pack, run: Path, accumulate: int = 1) -> None:
    """Twenty steps of `toy`, `toy-norm` or `ifcvaegan`."""
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        ifcvaegan = Config(width=4, num_latents=6, aux_width=16, learning_rate=1e-3)
        method = IFcVAEGAN(ifcvaegan, pack.schema) if which == "ifcvaegan" else ToyGame(pack.schema, norm=which == "toy-norm")
        config = TrainConfig(images=20 * 8, batch_size=8, accumulate=accumulate, precision="64-true", ema_images=50, log_every=40)
        fit(method, pack, config, run, quiet=True)
    finally:
        torch.set_default_dtype(torch.float32)


if __name__ == "__main__":
    pack, folder = Pack(sys.argv[1]).select("lamp"), Path(sys.argv[2])
    torch.set_num_threads(1)
    train("toy-norm", pack, folder / "toy-norm")
    train("ifcvaegan", pack, folder / "ifcvaegan")
    train("toy", pack, folder / "toy-microbatches", accumulate=2)
