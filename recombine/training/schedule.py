"""What a training does when: pure functions of images seen."""

from __future__ import annotations

from collections.abc import Sequence

from recombine.method import Phase, Progress
from recombine.training.recipe import TrainConfig


def progress_at(images_seen: int, images: int, phases: Sequence[Phase]) -> tuple[Phase, Progress]:
    """The phase that `images_seen` of `images` fall in, and how far it is."""
    total, start = sum(phase.share for phase in phases), 0.0
    for phase in phases:
        end = start + phase.share / total * images
        if images_seen < end or phase is phases[-1]:
            return phase, Progress(images_seen, images, phase.name, (images_seen - start) / (end - start))
        start = end
    raise AssertionError("a method needs at least one phase")


def learning_rate_factor(images_seen: int, config: TrainConfig, rollbacks: int) -> float:
    """1, falling linearly to 0 over the last `decay` of the training; halved by every rollback."""
    left = 1 - images_seen / config.images
    fall = min(1.0, left / config.decay) if config.decay else 1.0
    return fall * 0.5**rollbacks


def crossed(every: int, before: int, now: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every
