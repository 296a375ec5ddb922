"""What a method is: networks, and the game they are trained by.

How to write one: subclass `torch.nn.Module` and nothing of ours. Make every network that is trained a direct child
module (the engine wraps each on its own; call it only through its `forward`). `encode` and `decode` are all that edits and judges use; `turns` is the
paper's training step, a generator that yields one `Turn` per player in the paper's order. Between two yields the engine
steps that player alone, so what comes after a yield must be computed after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema


@dataclass(frozen=True)
class Turn:
    """One player's losses at one moment of the game.

    `losses` maps the paper's name of a term to (weight, value); the player's networks descend the weighted sum.
    `measures` are logged, and handed to the method's `control`, and have no gradient.
    """

    player: str
    losses: Mapping[str, tuple[float, Tensor]]
    measures: Mapping[str, Tensor] = field(default_factory=dict)

    def total(self) -> Tensor:
        """The weighted sum of the losses, a scalar."""
        return torch.stack([weight * value for weight, value in self.losses.values()]).sum()


@dataclass(frozen=True)
class Phase:
    """A stretch of the training. A method without phases has one, called `train`."""

    name: str
    share: float = 1.0                      # of all images seen, relative to the other phases
    frozen: tuple[str, ...] = ()            # networks (child names) kept in eval mode and without gradient of their own


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


class Unsupported(NotImplementedError):
    """Something that a method truly cannot do; the message says why, and which methods can."""


@runtime_checkable
class Method(Protocol):
    """What the engine, the edits, the judge and the command line ask of a method; also a `torch.nn.Module`.

    Optional, looked up by the engine: `phases() -> list[Phase]`; `controllers: dict[str, float]`, saved with the run;
    `control(measured, progress)`, called once a step with every loss and measure averaged over the whole batch;
    `make_sampler(pack, seed, mirror) -> Sampler`, where the sampler takes arguments; `codebook: Prototypes`, class means
    and probes that are taken from the training images before every evaluation and at the end.
    """

    schema: Schema                          # attributes and image format the networks were built for
    kinds: tuple[str, ...]                  # of the attributes that it learns where none are named
    sampler: str                            # "iid", "two_batches", "pairs" or "macro": what a batch must look like

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def encode(self, images: Tensor) -> Codes:
        """Codes of images `[batch, channels, height, width]` in [-1, 1]; the same image always gives the same codes."""
        ...

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]` in [-1, 1]."""
        ...

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        """Probabilities `[batch, values]` of each labelled attribute, read from the codes; binary ones have two columns."""
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

    def modules(self) -> Iterator[nn.Module]:
        """As `torch.nn.Module`."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As `torch.nn.Module`."""
        ...

    def eval(self) -> Self:
        """As `torch.nn.Module`."""
        ...
