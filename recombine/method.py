"""What a method is: networks, and the game they are trained by.

How to write one: subclass `torch.nn.Module` and nothing of ours. Make every network that is trained a direct child
module (the engine wraps each on its own; call it only through its `forward`). `encode` and `decode` are all that edits
and judges use; `turns` is the paper's training step, a generator that yields one `Turn` per player in the paper's
order. Between two yields the engine steps that player alone, so what comes after a yield must be computed after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.packed import Pack
from recombine.data.samplers import Sampler
from recombine.data.schema import Schema


@dataclass(frozen=True)
class Turn:
    """One player's losses at one moment of the game.

    `losses` maps the paper's name of a term to (weight, value); the player's networks descend the weighted sum.
    `measures` are logged, and handed to the method's `control`, and have no gradient. With `keep_graph` a later turn of
    the same step descends losses of the same graph; no weight on their way may have been stepped in between.
    """

    player: str
    losses: Mapping[str, tuple[float, Tensor]]
    measures: Mapping[str, Tensor] = field(default_factory=dict)
    keep_graph: bool = False

    def total(self) -> Tensor:
        """The weighted sum of the losses, a scalar."""
        return torch.stack([weight * value for weight, value in self.losses.values()]).sum()


@dataclass(frozen=True)
class Phase:
    """A stretch of the training. A method without phases has one, called `train`."""

    name: str
    share: float = 1.0                      # of all images seen, relative to the other phases
    frozen: tuple[str, ...] = ()            # networks (child names) kept in eval mode and without gradient of their own
    rate: float = 1.0                       # factor on the learning rates of all players


@dataclass(frozen=True)
class Progress:
    """How far the training is: a pure function of images seen."""

    images_seen: int = 0                    # before this batch, over all processes
    images: int = 1                         # to be seen in the whole training
    phase: str = "train"                    # name of the current phase
    phase_fraction: float = 0.0             # of the current phase, 0 up to 1

    @property
    def fraction(self) -> float:
        """Of the whole training, from 0 to 1."""
        return self.images_seen / self.images


@dataclass(frozen=True)
class Role:
    """What a part of the codes is meant to carry; all that is found in it beyond that is a leak.

    The three add up; a part that is meant to carry nothing, such as `rest`, has none of them.
    """

    attributes: tuple[str, ...] = ()        # these themselves
    shared_by: tuple[str, ...] = ()         # every attribute that images with equal values of all of these have in common
    all_else: bool = False                  # every attribute that no other part carries


class Unsupported(NotImplementedError):
    """Something that a method cannot do; the message names the reason, and methods that can."""


@runtime_checkable
class Method(Protocol):
    """What the engine, the edits, the judge and the command line need of a method; also a `torch.nn.Module`.

    Optional are the members of `Phased`, `Controlled`, `OwnSampler`, `Drawing`, `Paired` and `Hinting` below, and a child module
    `codebook` of class means and probes (`recombine.methods.shared.prototypes`), which the engine fits on the training
    images before every evaluation and at the end. What is written here holds for every method; its own docstrings add
    what is particular to it.
    """

    schema: Schema                          # attributes and image format the networks were built for
    kinds: tuple[str, ...]                  # of the attributes that it learns where none are named
    sampler: str                            # "iid", "balanced", "two_batches", "pairs" or "macro": what a batch must look like

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels; `schema_image_size` gives them."""
        ...

    def roles(self) -> dict[str, Role]:
        """What every part of the codes is meant to carry."""
        ...

    def encode(self, images: Tensor) -> Codes:
        """Codes of images `[batch, channels, height, width]` in [-1, 1]; the same image always gives the same codes."""
        ...

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]` in [-1, 1]."""
        ...

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        """Probabilities `[batch, values]` of each labelled attribute from the codes; binary ones have two columns."""
        ...

    def label_code(self, name: str, value: object) -> Tensor:
        """The part `name` of an image that shows `value`: `[1, ...]`.

        Raises:
            ValueError: There is no such attribute or value.
            Unsupported: The method has no parts for labels.
        """
        ...

    def players(self) -> dict[str, list[str]]:
        """Player -> names of the networks (child modules) it owns."""
        ...

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """The paper's optimiser for a player."""
        ...

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step, in the paper's order."""
        ...

    # As `torch.nn.Module`:
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...
    def eval(self) -> Self: ...


@runtime_checkable
class Phased(Protocol):
    """A method that is trained in several phases, one after the other."""

    def phases(self) -> list[Phase]:
        """At least one."""
        ...


@runtime_checkable
class Controlled(Protocol):
    """A method with numbers that change during the training and are saved with it."""

    controllers: dict[str, float]

    def control(self, measured: dict[str, float], progress: Progress) -> None:
        """Change the controllers after a step, given every loss and measure averaged over the whole batch."""
        ...


@runtime_checkable
class OwnSampler(Protocol):
    """A method whose sampler needs more than its name in `Method.sampler`."""

    def make_sampler(self, pack: Pack, seed: int, mirror: bool) -> Sampler:
        """The order of the training images."""
        ...


@runtime_checkable
class Drawing(Protocol):
    """A method with a prior over the codes of each value, from which others than the mean can be drawn."""

    def drawn_code(self, name: str, value: object, normal: Tensor) -> Tensor:
        """Parts `name` `[batch, length]` of images that show `value`, by standard normal numbers of that shape.

        A continuous attribute's is that of the value, whatever the numbers. Raises ValueError as `label_code`.
        """
        ...


@runtime_checkable
class Paired(Protocol):
    """A method that learns from pairs of images."""

    pair_by: tuple[str, ...]                # attributes whose values both images of a pair share


@runtime_checkable
class Hinting(Protocol):
    """A method that has settings to raise where its decoder ignores the labels."""

    hints: tuple[str, ...]                  # fields of its Config, the most effective first


schema_image_size = property(lambda method: method.schema.image_size, doc="Height and width in pixels: the schema's.")
