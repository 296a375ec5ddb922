"""Recipes: functions that return a method, its data and its training; their docstrings say command, time and result."""

from recombine.recipes.avatars import avatars_demo
from recombine.recipes.celeba import celeba_table1, celeba_table3
from recombine.recipes.folder import from_folder
from recombine.recipes.lfw import lfw_smiling
from recombine.recipes.recipe import Drawn, Recipe

RECIPES = {
    "avatars.demo": avatars_demo,
    "celeba.table1": celeba_table1,
    "celeba.table3": celeba_table3,
    "lfw.smiling": lfw_smiling,
}

__all__ = ["RECIPES", "Drawn", "Recipe", "from_folder"]
