"""Training on a user's own folder."""

from __future__ import annotations

from recombine.methods.ifcvaegan import Config
from recombine.recipes.recipe import Recipe
from recombine.training import TrainConfig


def from_folder(attributes: tuple[str, ...] = (), size: int = 64, **train: object) -> Recipe:
    """IFcVAE-GAN at a size that two cores can train: `recombine train DATA --attributes Smiling,Eyeglasses`."""
    return Recipe("ifcvaegan", Config(width=32), TrainConfig(**{"images": 400_000, "ema_images": 10_000, **train}), size=size, attributes=attributes)  # type: ignore[arg-type]
