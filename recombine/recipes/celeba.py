"""The published settings on CelebA's aligned images; give the folder as DATA."""

from recombine.methods.ifcvaegan import PRESETS
from recombine.training.engine import TrainConfig
from recombine.training.recipe import Recipe

TRAIN = TrainConfig(images=2_000_000, batch_size=64, mirror=False)  # 10 epochs of 202,599 images


def celeba_table1() -> Recipe:
    """IFcVAE-GAN, Table 1: `recombine train celeba.table1 --data CELEBA`. Paper: MSE .028, 81 % not smiling, 100 % smiling (n = 16)."""
    return Recipe("ifcvaegan", PRESETS["table1"], TRAIN, attributes=("Smiling",))


def celeba_table3() -> Recipe:
    """IFcVAE-GAN, Tables 2 and 3: `recombine train celeba.table3 --data CELEBA`. Paper: MSE .011, 98 % and 100 % (n = 46)."""
    return Recipe("ifcvaegan", PRESETS["table3"], TRAIN, attributes=("Smiling",))
