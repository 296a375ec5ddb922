"""MATDR on built-in avatars, on photographs of 32 px, and in the paper's setting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.methods.matdr import PRESETS
from recombine.training.recipe import Recipe, Synthetic, TrainConfig


def matdr_avatars(**variant: Any) -> Recipe:
    """MATDR on avatars, four attributes, 64 px: `recombine train matdr.avatars`. 8 min on two cores.

    Ours, after 12,000 pairs: 38.6 % of swaps succeed (37.0-40.3, n = 3,168), others preserved 96.4 %, reconstruction
    26.3 dB (results/five-on-avatars.json). `variant` changes fields of the method's Config; without the key idea,
    `--set ver_weight=0`: 40.9 %.
    """
    course = {"mirror": False, "ema_images": 1_000, "decay": 0.4, "log_every": 1_000, "evaluate_every": 5_000}
    train = TrainConfig(images=15_000, batch_size=4, **course)
    attributes = ("expression", "lighting", "glasses", "hair_color")
    return Recipe("matdr", replace(PRESETS["small"], **variant), train, data=Synthetic(), attributes=attributes)


def matdr_lfw(ver_weight: float = 0.1) -> Recipe:
    """MATDR on photographs, 32 px: `recombine train matdr.lfw --data LFW40`. 6 min on two cores.

    Ours, after 6,000 pairs: 32.1 % of swaps succeed (30.5-33.8, n = 3,111), others preserved 96.9 %, Frechet distance
    .177 (.154-.199, n = 1,037; results/matdr-lfw40.json).
    """
    train = TrainConfig(images=15_000, batch_size=4, ema_images=2_000, decay=0.4, evaluate_every=5_000)
    attributes = ("Smiling", "Eyeglasses", "Gray_Hair")
    return Recipe("matdr", replace(PRESETS["photos"], ver_weight=ver_weight), train, size=32, attributes=attributes)


def matdr_celeba(ver_weight: float = 0.1) -> Recipe:
    """MATDR, Tables 1 and 2, 128 px: `recombine train matdr.celeba --data CELEBA`.

    Paper: FID 45.23 (n = 2000); 36 h on a P100.
    """
    train = TrainConfig(images=3_200_000, batch_size=16)  # 200,000 steps of 16 pairs
    config, attributes = replace(PRESETS["paper"], ver_weight=ver_weight), ("Bangs", "Smiling", "Eyeglasses")
    return Recipe("matdr", config, train, size=128, attributes=attributes)
