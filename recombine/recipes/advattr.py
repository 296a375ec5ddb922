"""advattr (Oldfield et al.): small trainings on avatars and photographs, and the paper's own settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.methods.advattr import PRESETS
from recombine.training.recipe import Recipe, Synthetic, TrainConfig

EPOCHS, DECAY = 75, 1 / 3                   # the paper's: constant for 50, then 25 of a falling learning rate


def advattr_avatars(images: int = 24_000, seed: int = 0, **variant: Any) -> Recipe:
    """Avatars, 64 px: `recombine train advattr.avatars`. 5 min on two cores.

    Ours: 77.1 % of swaps succeed (75.6-78.5, n = 3,168), others preserved 83.8 %, reconstruction 21.5 dB
    (results/five-on-avatars.json). `variant` changes fields of the method's Config; without the key idea,
    `--set dis_weight=0`: 71.1 %.
    """
    course = {"mirror": False, "ema_images": 2_000, "decay": 0.4, "evaluate_every": 12_000}
    train = TrainConfig(images=images, batch_size=16, seed=seed, **course)
    attributes = ("expression", "lighting", "glasses", "hair_color")
    return Recipe("advattr", replace(PRESETS["small"], **variant), train, data=Synthetic(), attributes=attributes)


def advattr_lfw(images: int = 60_000, seed: int = 0, **variant: Any) -> Recipe:
    """Photographs, 32 px: `recombine train advattr.lfw --data LFW40`. 8 min on two cores.

    Ours, after 40,000 images: 53.4 % of swaps succeed (51.6-55.1, n = 3,111), others preserved 95.3 %
    (results/advattr-lfw40.json).
    """
    train = TrainConfig(images=images, batch_size=16, seed=seed, ema_images=4_000, decay=0.4, evaluate_every=20_000)
    attributes = ("Smiling", "Eyeglasses", "Gray_Hair")
    return Recipe("advattr", replace(PRESETS["photos"], **variant), train, size=32, attributes=attributes)


def advattr_rafd() -> Recipe:
    """RaFD as in the paper: `recombine train advattr.rafd --data RAFD --pattern rafd`.

    59 subjects x 8 expressions x 3 gazes; half of the images seen are mirrored, left and right gaze exchanged, in place
    of storing every image twice. The paper's accuracies are missing in every copy we have.
    """
    return paper(59 * 24 * 2, "expression", "gaze", mirror=True)


def advattr_bu3dfe() -> Recipe:
    """BU-3DFE: `recombine train advattr.bu3dfe --data BU3DFE --pattern bu3dfe --kind identity=categorical`.

    As in the paper: 90 subjects x 6 expressions x 4 intensities. The paper's accuracies are missing in every copy we
    have.
    """
    return paper(90 * 24, "expression", "identity")


def advattr_multipie() -> Recipe:
    """MultiPIE: `recombine train advattr.multipie --data MULTIPIE --pattern multipie --kind identity=categorical`.

    As in the paper: 147 people x 4 expressions; 20 lights, which the paper does not count. The paper's accuracies are
    missing in every copy we have.
    """
    return paper(147 * 4 * 20, "identity", "expression", "illumination")


def paper(count: int, *attributes: str, mirror: bool = False) -> Recipe:
    """The paper's networks at 128 px, batches of 16 and 75 epochs of so many images."""
    train = TrainConfig(images=EPOCHS * count, batch_size=16, mirror=mirror, decay=DECAY, evaluate_every=10 * count)
    return Recipe("advattr", PRESETS["paper"], train, size=128, attributes=attributes)
