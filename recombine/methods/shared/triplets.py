"""Triplets for `mad`: which samples of a batch belong together in a part of the code, and which do not.

Browatzki and Wallraven, "Robust Discrimination and Generation of Faces using Compact, Disentangled Embeddings", ICCV
Workshops 2019, section 3.4, corrected by the released code: Eq. 12 leaves out the negative, Eq. 13 adds 0.25 where
categories agree, and for style the text calls another clip of the same person the positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_RANK = 10                             # of an expression's negative among all others, nearest first
CATEGORY = 0.25                             # distance between two expressions of different categories, Eq. 13


@dataclass(frozen=True)
class Triplets:
    """For every sample of a batch, positions of its positives and negatives; `valid` is false where it lacks one."""

    positive: Tensor                        # [batch, triplets] int64
    negative: Tensor                        # [batch, triplets] int64
    valid: Tensor                           # [batch] bool


def triplet_loss(part: Tensor, triplets: Triplets, margin: float, clamped: bool = True) -> Tensor:
    """Mean over the valid triplets, a scalar; 0 where there are none. Distances are not squared, as released.

    Args:
        part: Codes `[batch, width]`.
        triplets: Of the same batch.
        margin: By which a negative must be farther away than a positive.
        clamped: Hold what exceeds the double margin there, as released.
    """
    positive = torch.linalg.vector_norm(part[:, None] - part[triplets.positive], dim=2)
    negative = torch.linalg.vector_norm(part[:, None] - part[triplets.negative], dim=2)
    loss = (positive - negative + margin).clamp(0, 2 * margin if clamped else None)                       # Eq. 12
    return torch.where(triplets.valid, loss.mean(1), 0).sum() / triplets.valid.sum().clamp(min=1)


def group_triplets(part: Tensor, groups: Tensor, known: Tensor, rows: Tensor, chance: Tensor, hardest: int = 5) -> Triplets:
    """Positive: any other image of the group. Negative: one of the nearest of other groups.

    Args:
        part: Codes `[batch, width]`, by which a negative is near.
        groups: Label `[batch]`, for example the identity.
        known: Whether a sample has the label, `[batch]` bool.
        rows: Which image each sample is, `[batch]`; the same image is never its own positive.
        chance: Uniform numbers `[batch, triplets, 2]`.
        hardest: A negative is one of so many of the nearest; 5 as released, 0 = any, as in the paper.
    """
    same, usable = pairs(groups), known[:, None] & known[None]
    positives = same & usable & ~pairs(rows)
    return chosen(positives, nearest(part, ~same & usable, hardest), chance)


def clip_triplets(
    part: Tensor, clips: Tensor, owners: Tensor, known: Tensor, rows: Tensor, chance: Tensor, hardest: int = 5
) -> Triplets:
    """Positive: another image of the clip. Negative: one of the nearest of the same person's other clips.

    Arguments as for `group_triplets`; `owners` is the identity `[batch]`, and both labels must be `known`.
    """
    usable = known[:, None] & known[None] & pairs(owners)
    positives = pairs(clips) & usable & ~pairs(rows)
    return chosen(positives, nearest(part, ~pairs(clips) & usable, hardest), chance)


def label_distance(labels: Tensor, numbers: Sequence[Tensor] = (), numbers_known: Sequence[Tensor] = ()) -> Tensor:
    """How far apart labels are, `[batch, batch]`: 0.25 where categories differ, plus the distance of continuous labels.

    Args:
        labels: Category `[batch]`.
        numbers: Continuous labels `[batch]` each, for example valence and arousal from -1 to 1.
        numbers_known: Whether a sample has them, `[batch]` bool each; where one of a pair lacks a number, it adds nothing.
    """
    distance = CATEGORY * (~pairs(labels)).to(numbers[0] if numbers else torch.get_default_dtype())
    if numbers:
        known = torch.stack(list(numbers_known), 1)
        differences = torch.stack(list(numbers), 1)[:, None] - torch.stack(list(numbers), 1)[None]
        differences = torch.where(known[:, None] & known[None], differences, 0)
        distance = distance + torch.linalg.vector_norm(differences, dim=2)                                # Eq. 13
    return distance


def label_triplets(distance: Tensor, known: Tensor, rows: Tensor, chance: Tensor) -> Triplets:
    """Positive: the sample that is nearest by label. Negative: any of those that are not among the nearest ten.

    Differs from the paper: with categories alone many samples are equally near, so the positive is drawn from all of these
    and a negative must be farther away than it; in batches under 40, a quarter of them stands for the nearest ten.

    Args:
        distance: Between labels, `[batch, batch]`.
        known: Whether a sample has the label, `[batch]` bool.
        rows: Which image each sample is, `[batch]`; the same image is never its own positive.
        chance: Uniform numbers `[batch, triplets, 2]`.
    """
    usable = known[:, None] & known[None] & ~pairs(rows)
    distance = distance.masked_fill(~usable, torch.inf)
    least = distance.min(1, keepdim=True).values
    positives = usable & (distance <= least + 1e-6)
    far = ranks(distance) >= min(FIRST_RANK, len(rows) // 4) - 1
    return chosen(positives, usable & far & (distance > least + 1e-6), chance)


def pairs(values: Tensor) -> Tensor:
    """Which samples share a value, `[batch]` -> `[batch, batch]`."""
    return values[:, None] == values[None]


def ranks(distance: Tensor) -> Tensor:
    """Of every column within its row, 0 for the smallest."""
    return torch.argsort(distance, dim=1, stable=True).argsort(1)


def nearest(part: Tensor, candidates: Tensor, count: int) -> Tensor:
    """So many of the candidates that are nearest in the code, or with 0 all, `[batch, batch]` bool."""
    part = part.detach()
    distance = torch.cdist(part, part).masked_fill(~candidates, torch.inf)
    return candidates & (ranks(distance) < count) if count else candidates


def chosen(positives: Tensor, negatives: Tensor, chance: Tensor) -> Triplets:
    """Positives and negatives of every row, drawn by uniform numbers `[batch, triplets, 2]`."""
    valid = positives.any(1) & negatives.any(1)
    return Triplets(drawn(positives, chance[:, :, 0]), drawn(negatives, chance[:, :, 1]), valid)


def drawn(candidates: Tensor, chance: Tensor) -> Tensor:
    """Positions of candidates of every row, 0 where there is none: `[batch, batch]`, `[batch, triplets]` -> `[batch, triplets]`."""
    wanted = (chance * candidates.sum(1, keepdim=True)).long() + 1
    found = candidates[:, None] & (candidates.cumsum(1)[:, None] == wanted[:, :, None])
    return found.long().argmax(2)
