"""MAD (Browatzki and Wallraven): small trainings on avatars and photographs, and the paper's own settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.methods.mad import PRESETS
from recombine.training.recipe import Recipe, Synthetic, TrainConfig

POSE = ("yaw", "pitch", "roll")             # degrees, for example from OpenFace


def mad_avatars(images: int = 32_000, seed: int = 0, **variant: Any) -> Recipe:
    """Avatars, 64 px: `recombine train mad.avatars`. 5 min on two cores.

    Ours, after 24,000 images: 58.6 % of swaps succeed (56.8-60.3, n = 3,168), others preserved 50.1 %, reconstruction
    16.6 dB (results/five-on-avatars.json). `variant` changes fields of the method's Config; without the cycle:
    `--set cycle_weight=0 --set augmentation_weight=0`, 48.0 %.
    """
    course = {"mirror": False, "ema_images": 2_000, "decay": 0.4, "evaluate_every": 16_000}
    train = TrainConfig(images=images, batch_size=16, seed=seed, **course)
    attributes = ("expression", "lighting", "glasses", "hair_color")
    return Recipe("mad", replace(PRESETS["small"], **variant), train, data=Synthetic(8_000), attributes=attributes)


def mad_lfw(images: int = 120_000, seed: int = 0, **variant: Any) -> Recipe:
    """Photographs, 32 px: `recombine train mad.lfw --data LFW40`. 7 min on two cores.

    Ours: verification by identity 77.9 % (75.2-80.4, n = 1,000 pairs), AUC of happiness .94, yaw off by 5.1 degrees
    (4.8-5.5, n = 1,037; results/mad-lfw40.json). Before the joint phase, `--images 36000 --set shares=2,1,0`: 69.0 %
    (66.1-71.8).
    """
    train = TrainConfig(images=images, batch_size=32, seed=seed, ema_images=5_000, decay=0.4, evaluate_every=20_000)
    config, attributes = replace(PRESETS["photos"], **variant), ("identity", "expression", *POSE)
    return Recipe("mad", config, train, size=32, attributes=attributes)


def mad_celeba() -> Recipe:
    """The paper's CelebA model: `recombine train mad.celeba --data CELEBA --data AFFECTNET --data VOXCELEB`.

    Columns: identity of CelebA and VoxCeleb, clip of VoxCeleb; expression, valence and arousal of AffectNet; yaw, pitch
    and roll of all. Paper, 128 px: RMSE 22.87 of 255, FID 17.79; verification on LFW 80.3 %, after the joint phase
    85.4 %.
    """
    return paper("celeba")


def mad_vggface2() -> Recipe:
    """With VGGFace2: `recombine train mad.vggface2 --data VGGFACE2 --data AFFECTNET --data VOXCELEB`.

    As `mad.celeba`, with VGGFace2 in place of CelebA. Paper, 128 px: RMSE 21.21 of 255, FID 18.01; verification on LFW
    95.8 % after the joint phase.
    """
    return paper("vggface2")


def paper(preset: str) -> Recipe:
    """The paper's networks at 128 px: batches of 128, 235, 11 and 11 thousand iterations."""
    iterations = round(1000 * sum(PRESETS[preset].shares))
    train = TrainConfig(images=128 * iterations, batch_size=128, evaluate_every=1_000_000)
    attributes = ("identity", "clip", "expression", "valence", "arousal", *POSE)
    return Recipe("mad", PRESETS[preset], train, size=128, attributes=attributes)
