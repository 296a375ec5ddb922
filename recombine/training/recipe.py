"""What is trained and for how long: recipes, training settings, and schedules as pure functions of images seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from recombine.method import Phase, Progress

SAVES = 40                                  # times as long as a checkpoint takes lie between two: 2.5 % of the time


@dataclass(frozen=True)
class TrainConfig:
    """How a method is trained; what the paper says about optimisers stands in the method."""

    images: int = 200_000                   # to be seen in all, where no time is given
    minutes: float = 0.0                    # that the training may take; 0 = as long as `images` take
    passes: float = 0.0                     # through the training images at most, where minutes are given; 0 = any number
    batch_size: int = 64                    # over all processes and micro-batches
    accumulate: int = 1                     # micro-batches a step is split into, to fit the memory
    seed: int = 0
    precision: str = "auto"                 # "32-true", "bf16-mixed", or what the device is faster with, measured at the start
    compiled: bool = False                  # compile every network; takes minutes at the start
    mirror: bool | None = None              # show half of the images mirrored, labels too; None = where the data allow
    decay: float = 0.0                      # last share of the training in which the learning rate falls to 0
    ema_images: int = 0                     # half-life of the averaged weights, in images; 0 = no average
    keep: Literal["last", "best"] = "last"  # the model is that of the end, or of the best evaluation
    plateau_images: int = 0                 # in which edits do not get better before the training ends early; 0 = never
    log_every: int = 2_000                  # images between two lines of the log
    evaluate_every: int = 20_000            # images between two evaluations and image grids
    evaluations: int = 0                    # in all, evenly spread, where minutes are given; 0 = by `evaluate_every`
    save_seconds: float = 60.0              # between two checkpoints at least
    patience: int = 3                       # steps with NaN or infinity in a row before going back to a checkpoint
    rollbacks: int = 2                      # times the training goes back before it gives up

    def __post_init__(self):
        for name in ("images", "batch_size", "accumulate", "log_every", "evaluate_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("minutes", "passes", "plateau_images", "evaluations"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name):g}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} must be a multiple of accumulate {self.accumulate}")
        if "16" in self.precision and "bf16" not in self.precision:
            cure = "use 'bf16-mixed' or '32-true'"
            raise ValueError(f"precision {self.precision!r} loses small gradients of adversarial losses; {cure}")


# Settings with which neither a time nor an evaluation decides on what is trained:
WHOLE: dict[str, Any] = {"minutes": 0.0, "passes": 0.0, "keep": "last", "plateau_images": 0}


@dataclass(frozen=True)
class Synthetic:
    """A drawn data set, drawn when it is first needed."""

    count: int = 6_000                      # images
    seed: int = 0
    name: str = "avatars"                   # or letters: a name in `recombine.data.synthetic.DRAWN`


@dataclass(frozen=True)
class Recipe:
    """A method, its settings, its data and its training."""

    method: str                             # short name
    config: Any                             # the method's Config
    train: TrainConfig
    size: int = 64                          # pixels, height and width
    data: Synthetic | None = None           # None: a folder that the user names
    attributes: tuple[str, ...] = ()        # which of the data's attributes; () = all the method can use


def progress_at(images_seen: int, images: int, phases: Sequence[Phase]) -> tuple[Phase, Progress]:
    """The phase that `images_seen` of `images` fall in, and how far it is."""
    total, start = sum(phase.share for phase in phases), 0.0
    for phase in phases:
        end = start + phase.share / total * images
        if images_seen < end or phase is phases[-1]:
            return phase, Progress(images_seen, images, phase.name, (images_seen - start) / (end - start))
        start = end
    raise AssertionError("a method needs at least one phase")


def images_in(minutes: float, pace: float, evaluation: float, train: TrainConfig) -> int:
    """Images that can be trained on in a time, whole batches, one at least.

    Args:
        minutes: What is left for training, evaluations between and after, and checkpoints.
        pace: Seconds of training per image.
        evaluation: Seconds that one takes.
        train: Says how often there is one, or how many there are.
    """
    seconds = 60 * minutes * (1 - 1 / SAVES)
    if train.evaluations:
        batches = (seconds - train.evaluations * evaluation) / pace / train.batch_size
    else:
        batches = (seconds - evaluation) / (pace + evaluation / train.evaluate_every) / train.batch_size
    return train.batch_size * max(1, int(batches))


def shortened(images_seen: int, images: int, decay: float) -> int:
    """Images of a training that goes into its final decay now, which is the last `decay` of all it has seen then.

    It is the length that it has where that is not shorter.
    """
    return min(images, math.ceil(images_seen / (1 - decay))) if decay < 1 else images


def learning_rate_factor(images_seen: int, config: TrainConfig, rollbacks: int) -> float:
    """1, falling linearly to 0 over the last `decay` of the training; halved by every rollback."""
    left = 1 - images_seen / config.images
    fall = min(1.0, left / config.decay) if config.decay else 1.0
    return fall * 0.5**rollbacks


def crossed(every: int, before: int, now: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every
