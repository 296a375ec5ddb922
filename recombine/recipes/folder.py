"""Training on a user's own folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from recombine.messages import nearest, shown
from recombine.methods import METHODS, advattr, mad, matdr, presets, rodi
from recombine.recipes.lfw import SMALL
from recombine.training.engine import TrainConfig
from recombine.training.recipe import Recipe

PHOTOS = {  # settings found on photographs of 32 to 64 pixels
    "advattr": advattr.PRESETS["photos"],
    "mad": replace(mad.PRESETS["photos"], rounds=()),
    "ifcvaegan": replace(SMALL, kl_weight=1e-4),
    "rodi": rodi.PRESETS["small"],
    "matdr": matdr.PRESETS["photos"],
}


def from_folder(method: str = "ifcvaegan", attributes: tuple[str, ...] = (), size: int = 64, **train: Any) -> Recipe:
    """A method with the settings found on photographs: `recombine train DATA --method matdr --attributes Smiling,Eyeglasses`.

    A baseline has its small preset.

    Raises:
        ValueError: There is no such method.
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; there are {shown(list(METHODS), 30)}{nearest(method, list(METHODS))}")
    course = {"images": 200_000, "batch_size": 32, "ema_images": 5_000, "decay": 0.3, **train}
    return Recipe(method, PHOTOS.get(method) or presets(method)["small"], TrainConfig(**course), size=size, attributes=attributes)
