"""Small trainings on the built-in avatars: minutes on two cores."""

from recombine.methods.ifcvaegan import Config
from recombine.recipes.recipe import Drawn, Recipe
from recombine.training import TrainConfig


def avatars_demo() -> Recipe:
    """IFcVAE-GAN on avatars with every drawn factor as an attribute: `recombine demo`."""
    config = Config(width=32, scaling="means", kl_weight=1e-4, class_weight=0.1, gan_weight=0.0, aux_weight=0.01, detach_label_head=False, learning_rate=1e-3)
    return Recipe("ifcvaegan", config, TrainConfig(images=60_000, batch_size=32, ema_images=2_000, decay=0.3), data=Drawn())
