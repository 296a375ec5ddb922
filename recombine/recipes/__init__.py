"""Recipes: functions that return a method, its data and its training; their docstrings say command, time and result."""

from recombine.recipes.advattr import advattr_avatars, advattr_bu3dfe, advattr_lfw, advattr_multipie, advattr_rafd
from recombine.recipes.avatars import avatars_demo, ifcvaegan_avatars
from recombine.recipes.celeba import celeba_table1, celeba_table3
from recombine.recipes.folder import from_folder
from recombine.recipes.lfw import lfw_smiling
from recombine.recipes.mad import mad_avatars, mad_celeba, mad_lfw, mad_vggface2
from recombine.recipes.matdr import matdr_avatars, matdr_celeba, matdr_lfw
from recombine.recipes.rodi import rodi_avatars, rodi_deepfashion, rodi_fig7, rodi_market, rodi_sprites
from recombine.training.recipe import Drawn, Recipe

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

__all__ = ["RECIPES", "Drawn", "Recipe", "from_folder"]
