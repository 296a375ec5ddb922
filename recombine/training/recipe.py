"""What a recipe is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recombine.training.engine import TrainConfig


@dataclass(frozen=True)
class Drawn:
    """Built-in avatars, drawn when they are first needed."""

    count: int = 6_000                      # images
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """A method, its settings, its data and its training."""

    method: str                             # short name
    config: Any                             # the method's Config
    train: TrainConfig
    size: int = 64                          # pixels, height and width
    data: Drawn | None = None               # None: a folder that the user names
    attributes: tuple[str, ...] = ()        # which of the data's attributes; () = all the method can use
