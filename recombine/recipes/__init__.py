"""Recipes: functions that return a method, its data and its training; docstrings give command, time and result."""

from dataclasses import replace

from recombine.methods import presets
from recombine.recipes.advattr import advattr_avatars, advattr_bu3dfe, advattr_lfw, advattr_multipie, advattr_rafd
from recombine.recipes.ifcvaegan import avatars_demo, celeba_table1, celeba_table3, ifcvaegan_avatars, lfw_smiling
from recombine.recipes.mad import mad_avatars, mad_celeba, mad_lfw, mad_vggface2
from recombine.recipes.matdr import matdr_avatars, matdr_celeba, matdr_lfw
from recombine.recipes.rodi import rodi_avatars, rodi_deepfashion, rodi_fig7, rodi_market, rodi_sprites
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.settings import config_class

RECIPES = {
    recipe.__name__.replace("_", ".", 1): recipe
    for recipe in (
        avatars_demo, celeba_table1, celeba_table3, lfw_smiling,
        advattr_avatars, advattr_lfw, advattr_rafd, advattr_bu3dfe, advattr_multipie,
        mad_avatars, mad_lfw, mad_celeba, mad_vggface2,
        ifcvaegan_avatars,
        rodi_avatars, rodi_sprites, rodi_fig7, rodi_market, rodi_deepfashion,
        matdr_avatars, matdr_lfw, matdr_celeba,
    )
}  # fmt: skip


def default_recipe(method: str = "ifcvaegan", synthetic: bool = False) -> tuple[Recipe, str]:
    """What is trained where no settings are named, and where they come from: the default of every command.

    Args:
        method: Short name.
        synthetic: Whether the data are built-in avatars: then it is the method's recipe for them, or its small preset
            with the training of `ifcvaegan.avatars`. Otherwise it is the settings found on photographs of 32 to 64
            pixels, or the small preset.

    Raises:
        ValueError: There is no such method.
    """
    config_class(method)
    known = presets(method)
    if synthetic and f"{method}.avatars" in RECIPES:
        return RECIPES[f"{method}.avatars"](), f"recipe {method}.avatars"
    on_photos = TrainConfig(images=200_000, batch_size=32, ema_images=5_000, decay=0.3)
    train = ifcvaegan_avatars().train if synthetic else on_photos
    if not synthetic and "photos" in known:
        config = known["photos"]
        if method == "mad":  # its rounds belong to the attributes of `mad.lfw`
            config = replace(config, rounds=())
        return Recipe(method, config, train), "settings found on photographs"
    if "small" in known:
        return Recipe(method, known["small"], train), "preset small"
    return Recipe(method, config_class(method)(), train), "defaults"


__all__ = ["RECIPES", "default_recipe"]
