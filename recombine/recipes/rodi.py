"""RoDi: small trainings on drawn data, and the published settings; every row of Table 1 and mark of Fig. 7 is a variant."""

from dataclasses import replace
from typing import Any

from recombine.methods.rodi import HUMAN, PRESETS, VARIANTS, Config
from recombine.recipes.recipe import Drawn, Recipe
from recombine.training import TrainConfig

# Differs from the paper: narrower networks that take 2 x 2 pixels as one, and 2,500 steps in place of 100,000. So the
# learning rate is higher, T and T' learn faster and see all pairs of a batch, and lambda and gamma move in larger steps.
SMALL = Config(
    widths=(16, 48, 96, 128),
    decoder_widths=(128, 96, 48, 16),
    patch=2,
    blocks=2,
    decoder_blocks=2,
    mi_width=64,
    mi_blocks=2,
    mi_rate=2.0,
    marginal="all",
    learning_rate=1e-3,
    betas=(0.9, 0.99),
    penalty=1.0,
    gamma_rate=0.05,
    averaging="zero",
    warmup_images=0,
)
QUICK = TrainConfig(images=40_000, batch_size=16, mirror=False, decay=1.0, ema_images=1_000, log_every=1_600, evaluate_every=20_000)
PUBLISHED = TrainConfig(images=1_600_000, batch_size=16, mirror=True, decay=1.0)  # 100,000 steps


def rodi_avatars(**variant: Any) -> Recipe:
    """RoDi on avatars, pairs from one clip: `recombine train rodi.avatars`. 40,000 pictures, 6 min on two cores; `**VARIANTS[name]` makes a row of Table 1."""
    return Recipe("rodi", replace(SMALL, pair_by=("clip",), **variant), QUICK, data=Drawn(count=8_000), attributes=("clip",))


def rodi_sprites(**variant: Any) -> Recipe:
    """RoDi on sprites, pairs of one character: `recombine train rodi.sprites --data PACK`, packed by `recombine.data.sprites.build`. Paper, Fig. 7: MSE .0026, adversarial .0057, variational .0069."""
    return Recipe("rodi", replace(SMALL, pair_by=("character",), **variant), QUICK, attributes=("character",))


def rodi_fig7(name: str = "") -> Recipe:
    """RoDi, Fig. 7, as published: `recombine train rodi.fig7 --data PACK` of sprites. Differs from the paper: generated characters in place of its 672."""
    return Recipe("rodi", replace(preset("sprites", name), pair_by=("character",)), PUBLISHED, attributes=("character",))


def rodi_market(vgg_weights: str = "vgg19.safetensors", name: str = "") -> Recipe:
    """RoDi, Tables 1 and 2, Market-1501: `recombine train rodi.market --data MARKET --set vgg_weights=VGG19`. Needs a group `person`. Paper: I_T' .1201 nats, adversarial .8727."""
    return Recipe("rodi", replace(preset("human", name), pair_by=("person",), vgg_weights=vgg_weights), PUBLISHED, size=256, attributes=("person",))


def rodi_deepfashion(vgg_weights: str = "vgg19.safetensors", name: str = "") -> Recipe:
    """RoDi, Table 2, DeepFashion: `recombine train rodi.deepfashion --data DEEPFASHION --set vgg_weights=VGG19`. Needs a group `person`.

    Differs from the paper's code: the appearance encoder is trained, as the paper's text says; the released configuration
    loads a frozen network that recognises persons.
    """
    return Recipe("rodi", replace(preset("human", name), pair_by=("person",), vgg_weights=vgg_weights), PUBLISHED, size=256, attributes=("person",))


def preset(family: str, name: str) -> Config:
    """A preset, or its variant."""
    return PRESETS[f"{family}-{name}" if name else family]
