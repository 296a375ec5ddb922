"""Labeled Faces in the Wild with CelebA's attributes as a public model predicted them."""

from recombine.methods.ifcvaegan import Config
from recombine.recipes.recipe import Recipe
from recombine.training import TrainConfig


def lfw_smiling() -> Recipe:
    """IFcVAE-GAN, Smiling, 32 px: `recombine train lfw.smiling --data LFW40`."""
    return Recipe("ifcvaegan", Config(width=32), TrainConfig(images=400_000, ema_images=10_000), size=32, attributes=("Smiling",))
