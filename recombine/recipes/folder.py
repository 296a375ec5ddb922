"""Training on a user's own folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.recipes.lfw import SMALL
from recombine.recipes.recipe import Recipe
from recombine.training import TrainConfig


def from_folder(attributes: tuple[str, ...] = (), size: int = 64, **train: Any) -> Recipe:
    """IFcVAE-GAN with the weights found on photographs: `recombine train DATA --attributes Smiling,Eyeglasses`."""
    course = {"images": 200_000, "batch_size": 32, "ema_images": 5_000, "decay": 0.3, **train}
    return Recipe("ifcvaegan", replace(SMALL, kl_weight=1e-4), TrainConfig(**course), size=size, attributes=attributes)
