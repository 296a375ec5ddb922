"""RoDi (Esser et al.): small trainings on synthetic data, and the published settings.

Every row of Table 1 and mark of Fig. 7 is a preset, `--preset small-adversarial` or `--preset human-equal`; in Python
`rodi_sprites(**VARIANTS["adversarial"])`, with `VARIANTS` from `recombine.methods.rodi`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.methods.rodi import PRESETS
from recombine.training.recipe import Recipe, Synthetic, TrainConfig

PUBLISHED = TrainConfig(images=1_600_000, batch_size=16, mirror=True, decay=1.0)  # 100,000 steps


def rodi_avatars(images: int = 40_000, seed: int = 0, **variant: Any) -> Recipe:
    """RoDi on avatars, 64 px, pairs from one clip: `recombine train rodi.avatars`. 6 min on two cores.

    Ours, after 12,000 pairs: 64.3 % of swaps succeed (63.3-65.4, n = 7,836), others preserved 65.6 %, reconstruction
    21.1 dB (results/five-on-avatars.json). `variant` changes fields of the method's Config.
    """
    config = replace(PRESETS["small"], pair_by=("clip",), **variant)
    return Recipe("rodi", config, quick(images, seed), data=Synthetic(), attributes=("clip",))


def rodi_sprites(images: int = 40_000, seed: int = 0, **variant: Any) -> Recipe:
    """RoDi on sprites, 64 px, pairs of one character: `recombine train rodi.sprites --data SHEETS`. 6 min on two cores.

    SHEETS is a folder of Liberated Pixel Cup sheets. Ours: MSE of transfers 0.0551 (.0548-.0554, n = 8,000),
    adversarial 0.0687, variational 0.0583 (results/rodi-sprites.json). Paper, Fig. 7, with 40 times as many steps:
    0.0026, 0.0057, 0.0069.
    """
    config = replace(PRESETS["small"], pair_by=("character",), **variant)
    return Recipe("rodi", config, quick(images, seed), attributes=("character",))


def rodi_fig7(**variant: Any) -> Recipe:
    """RoDi, Fig. 7, as published: `recombine train rodi.fig7 --data SHEETS`.

    Paper: MSE 0.0026, adversarial 0.0057, variational 0.0069.
    Differs from the paper: other characters than its 672.
    """
    config = replace(PRESETS["sprites"], pair_by=("character",), **variant)
    return Recipe("rodi", config, replace(PUBLISHED, mirror=False), attributes=("character",))


def rodi_market(**variant: Any) -> Recipe:
    """RoDi, Tables 1 and 2, Market-1501: `recombine train rodi.market --data MARKET --set vgg_weights=FILE`.

    MARKET has a group `person`. Paper: I_T' 0.1201 nats, adversarial 0.8727 (Table 1); transfers recognised with mAP
    25.4 %, adversarial 6.6 % (Table 2).
    """
    return human(variant)


def rodi_deepfashion(**variant: Any) -> Recipe:
    """RoDi, Table 2, DeepFashion: `recombine train rodi.deepfashion --data DEEPFASHION --set vgg_weights=FILE`.

    DEEPFASHION has a group `person`. Paper: mAP 52.9 %, adversarial 37.4 %. Differs from the paper's code: the
    appearance encoder is trained, as its text says; the released configuration loads a frozen network that recognises
    persons.
    """
    return human(variant)


def human(variant: dict[str, Any]) -> Recipe:
    """The settings of images of persons, 256 px."""
    config = replace(PRESETS["human"], **{"pair_by": ("person",), "vgg_weights": "vgg19.safetensors", **variant})
    return Recipe("rodi", config, PUBLISHED, size=256, attributes=("person",))


def quick(images: int, seed: int) -> TrainConfig:
    """Training on synthetic data."""
    course = {"mirror": False, "decay": 0.4, "ema_images": 1_000, "log_every": 1_600, "evaluate_every": 20_000}
    return TrainConfig(images=images, batch_size=16, seed=seed, **course)
