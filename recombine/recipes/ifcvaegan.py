"""IFcVAE-GAN (Creswell et al.): small trainings on avatars and photographs, and the paper's own settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.data.synthetic.avatars import FACTORS, NUMBERS
from recombine.methods.ifcvaegan import PRESETS
from recombine.training.recipe import Recipe, Synthetic, TrainConfig

VARIANTS = {  # rows of Tables 1 and 3 -> preset
    "ours": "small",
    "without_aux": "small-without-aux",
    "without_kl": "small-without-kl",
    "without_gan": "small-without-gan",
    "class_loss_on_reconstruction": "small-class-loss-on-reconstruction",
    "alpha_20_times": "small-alpha-20-times",
    "uniform_guess": "small-uniform-guess",
}


def ifcvaegan_avatars(images: int = 24_000, seed: int = 0, **variant: Any) -> Recipe:
    """Four attributes of the avatars, 64 px: `recombine train ifcvaegan.avatars`. 2 min on two cores.

    Ours: 90.8 % of swaps succeed (89.8-91.8, n = 3,168), others preserved 69.1 %, reconstruction 19.5 dB
    (results/five-on-avatars.json). `variant` changes fields of the method's Config; without the key idea,
    `--set aux_weight=0`: 37.2 %.
    """
    config, train = replace(PRESETS["avatars"], **variant), on_avatars(images, evaluate_every=12_000, seed=seed)
    attributes = ("expression", "lighting", "glasses", "hair_color")  # what methods are compared on
    return Recipe("ifcvaegan", config, train, data=Synthetic(8_000), attributes=attributes)


def avatars_demo() -> Recipe:
    """Every factor of the avatars as an attribute, 64 px: `recombine demo`. 5 min on two cores.

    Ours: 99.7 % of label edits succeed (99.5-99.8, n = 7,008), 27.8 dB against the true image, the unedited one 23.4 dB
    (n = 8,760; results/demo.json).
    """
    train = on_avatars(60_000, evaluate_every=30_000)
    return Recipe("ifcvaegan", PRESETS["avatars-all"], train, data=Synthetic(), attributes=(*FACTORS, *NUMBERS))


def lfw_smiling(variant: str = "ours", images: int = 200_000) -> Recipe:
    """Labeled Faces in the Wild, Smiling, 32 px: `recombine train lfw.smiling --data LFW40`. 25 min on two cores.

    Ours: of edits to smiling 98.8 % succeed (98.0-99.3), to not smiling 100 % (99.6-100), MSE .0134 (n = 1,037;
    results/ifcvaegan-lfw40-smiling.json). Other rows of Tables 1 and 3 are presets: `--preset small-without-aux`,
    87.4 % smiling (85.2-89.3), and the others of VARIANTS.
    """
    train = TrainConfig(images=images, batch_size=32, ema_images=5_000, decay=0.3, evaluate_every=20_000)
    return Recipe("ifcvaegan", PRESETS[VARIANTS[variant]], train, size=32, attributes=("Smiling",))


def celeba_table1() -> Recipe:
    """Table 1: `recombine train celeba.table1 --data CELEBA`.

    Paper: MSE .028, 81 % not smiling, 100 % smiling (n = 16). Its other rows: `--preset table1-without-aux`,
    `--preset table1-class-loss-on-reconstruction`.
    """
    return on_celeba("table1")


def celeba_table3() -> Recipe:
    """Tables 2 and 3: `recombine train celeba.table3 --data CELEBA`. Paper: MSE .011, 98 % and 100 % (n = 46).

    Its other rows: `--preset table3-without-kl`, and so on.
    """
    return on_celeba("table3")


def on_celeba(preset: str) -> Recipe:
    """The published settings on CelebA's aligned images."""
    train = TrainConfig(images=2_000_000, batch_size=64, mirror=False)  # 10 epochs of 202,599 images
    return Recipe("ifcvaegan", PRESETS[preset], train, attributes=("Smiling",))


def on_avatars(images: int, **course: Any) -> TrainConfig:
    """Training on avatars."""
    course = {"mirror": False, "ema_images": 2_000, "decay": 0.4, "log_every": 1_600, **course}
    return TrainConfig(images=images, batch_size=16, **course)
