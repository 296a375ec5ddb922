"""Labeled Faces in the Wild with CelebA's attributes as a public model predicted them."""

from __future__ import annotations

from dataclasses import replace

from recombine.methods.ifcvaegan import Config
from recombine.training.engine import TrainConfig
from recombine.training.recipe import Recipe

# Differs from the paper: 32 px and half its width; all terms as batch means, weighted so that the label is used after tens
# of thousands of images instead of millions; the label head trains the convolutions; an average of the weights is kept.
SMALL = Config(
    width=32,
    scaling="means",
    kl_weight=2e-4,
    class_weight=0.2,
    gan_weight=0.003,
    aux_weight=0.2,
    detach_label_head=False,
    learning_rate=5e-4,
)
VARIANTS = {  # Tables 1 and 3, as changes of SMALL
    "ours": SMALL,
    "without_aux": replace(SMALL, aux_weight=0.0),
    "without_kl": replace(SMALL, kl_weight=0.0),
    "without_gan": replace(SMALL, gan_weight=0.0),
    "class_loss_on_reconstruction": replace(SMALL, class_rec_weight=0.2),
    "alpha_20_times": replace(SMALL, kl_weight=4e-3),
    "uniform_guess": replace(SMALL, aux_form="uniform"),
}


def lfw_smiling(variant: str = "ours", images: int = 200_000) -> Recipe:
    """IFcVAE-GAN, Smiling, 32 px: `recombine train lfw.smiling --data LFW40`. 25 min on two cores; LOG.md has the numbers."""
    train = TrainConfig(images=images, batch_size=32, ema_images=5_000, decay=0.3, evaluate_every=20_000)
    return Recipe("ifcvaegan", VARIANTS[variant], train, size=32, attributes=("Smiling",))
