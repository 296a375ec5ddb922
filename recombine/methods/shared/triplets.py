"""Batches and triplets of `mad`: images that can train some attributes, and for each of them positives and negatives.

Browatzki and Wallraven, "Robust Discrimination and Generation of Faces using Compact, Disentangled Embeddings", ICCV
Workshops 2019, section 3.4. Differs from the paper, as the released code does: Eq. 12 omits the negative, Eq. 13 adds
0.25 where categories agree, and for style the text takes another clip of the same person as the positive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recombine.data.joined import Joined
from recombine.data.packed import Pack
from recombine.data.samplers import Epochs, Iid, InTurn, Macro, Sampler

FIRST_RANK = 10                             # lowest rank of an expression's negative among all other samples, nearest first
CATEGORY = 0.25                             # distance between two expressions of different categories, Eq. 13


@dataclass(frozen=True)
class Triplets:
    """Positions of positives and negatives in a batch; a sample that lacks either is not valid."""

    positive: Tensor                        # [batch, triplets] int64
    negative: Tensor                        # [batch, triplets] int64
    valid: Tensor                           # [batch] bool


def triplet_loss(part: Tensor, triplets: Triplets, margin: float, clamped: bool = True) -> Tensor:
    """Triplet margin loss of codes `[batch, width]`, the mean over valid triplets: a scalar, 0 where there are none.

    Differs from the paper: Euclidean distances, not squared ones, as released, which also clamps the loss of a triplet
    at twice the margin.
    """
    positive = torch.linalg.vector_norm(part[:, None] - part[triplets.positive], dim=2)
    negative = torch.linalg.vector_norm(part[:, None] - part[triplets.negative], dim=2)
    loss = (positive - negative + margin).clamp(0, 2 * margin if clamped else None)                       # Eq. 12
    return torch.where(triplets.valid, loss.mean(1), 0).sum() / triplets.valid.sum().clamp(min=1)


def group_triplets(
    part: Tensor, groups: Tensor, known: Tensor, rows: Tensor, draws: Tensor, hardest: int = 5,
    within: Tensor | None = None,
) -> Triplets:  # fmt: skip
    """Positive: any other image of the group, or clip. Negative: one of the nearest of other groups.

    Args:
        part: Codes `[batch, width]`, in which distances are taken.
        groups: Label `[batch]`, for example the identity.
        known: Samples whose label is known, `[batch]` bool.
        rows: Row of each sample's image in the pack, `[batch]`; an image is never its own positive.
        draws: Uniform numbers in [0, 1), `[batch, triplets, 2]`, that pick positives and negatives.
        hardest: A negative is one of this many nearest candidates; 5 as released, 0 = any, as in the paper.
        within: Label `[batch]` that a negative shares, the person of a clip.
    """
    usable = known[:, None] & known[None]
    usable = usable if within is None else usable & same(within)
    positives = same(groups) & usable & ~same(rows)
    return chosen(positives, nearest(part, ~same(groups) & usable, hardest), draws)


def label_distance(labels: Tensor, numbers: Sequence[Tensor] = (), numbers_known: Sequence[Tensor] = ()) -> Tensor:
    """Distance of labels (Eq. 13), `[batch, batch]`: 0.25 where categories differ, plus that of continuous labels.

    Args:
        labels: Category `[batch]`.
        numbers: Continuous labels `[batch]` each, for example valence and arousal from -1 to 1.
        numbers_known: Samples whose number is known, `[batch]` bool each; where one of two is unknown, it adds nothing.
    """
    distance = CATEGORY * (~same(labels)).to(numbers[0] if numbers else torch.get_default_dtype())
    if numbers:
        known = torch.stack(list(numbers_known), 1)
        differences = torch.stack(list(numbers), 1)[:, None] - torch.stack(list(numbers), 1)[None]
        differences = torch.where(known[:, None] & known[None], differences, 0)
        distance = distance + torch.linalg.vector_norm(differences, dim=2)                                # Eq. 13
    return distance


def label_triplets(distance: Tensor, known: Tensor, rows: Tensor, draws: Tensor) -> Triplets:
    """Positive: the sample nearest by label. Negative: any sample that is not among the nearest ten.

    Differs from the paper: with categories alone many samples are equally near; the positive is any of them,
    and a negative must be farther away. In batches of fewer than 40 samples, a quarter of the batch takes the place of
    the nearest ten.

    `distance` is that of labels, `[batch, batch]`; the others are those of `group_triplets`.
    """
    usable = known[:, None] & known[None] & ~same(rows)
    distance = distance.masked_fill(~usable, torch.inf)
    least = distance.min(1, keepdim=True).values
    positives = usable & (distance <= least + 1e-6)
    far = ranks(distance) >= min(FIRST_RANK, len(rows) // 4) - 1
    return chosen(positives, usable & far & (distance > least + 1e-6), draws)


def same(values: Tensor) -> Tensor:
    """Pairs of samples with equal values, `[batch]` -> `[batch, batch]` bool."""
    return values[:, None] == values[None]


def ranks(distance: Tensor) -> Tensor:
    """Rank of every entry within its row, 0 for the smallest."""
    return torch.argsort(distance, dim=1, stable=True).argsort(1)


def nearest(part: Tensor, candidates: Tensor, count: int) -> Tensor:
    """The `count` candidates that are nearest in the code, or all with 0, `[batch, batch]` bool."""
    part = part.detach()
    distance = torch.cdist(part, part).masked_fill(~candidates, torch.inf)
    return candidates & (ranks(distance) < count) if count else candidates


def chosen(positives: Tensor, negatives: Tensor, draws: Tensor) -> Triplets:
    """Positives and negatives of every row, picked by uniform numbers `[batch, triplets, 2]`."""
    valid = positives.any(1) & negatives.any(1)
    return Triplets(picked(positives, draws[:, :, 0]), picked(negatives, draws[:, :, 1]), valid)


def picked(candidates: Tensor, draws: Tensor) -> Tensor:
    """A candidate of every row `[batch, batch]` for every number `[batch, triplets]`: its position, 0 where none is."""
    order = (draws * candidates.sum(1, keepdim=True)).long() + 1
    found = candidates[:, None] & (candidates.cumsum(1)[:, None] == order[:, :, None])
    return found.long().argmax(2)


def by_data_set(pack: Pack, names: Sequence[str], make: Callable[[Pack], Sampler]) -> Sampler:
    """Batches of one data set each, in turn of those that label any of some attributes; `make` gives a sampler."""
    parts = [pack.only(source) for source in range(len(pack.packs))] if isinstance(pack, Joined) else [pack]
    able = [part for part in parts if any(labelled(part, name).any() for name in names)]
    return InTurn([make(part) for part in able or [pack]])


class Labelled(Iid):
    """The training images that have a label of one of some attributes, in shuffled epochs.

    One of several joined data sets need not label all of them; those that it labels must have two different labels.
    """

    def __init__(self, pack: Pack, names: Sequence[str], seed: int, mirror: bool):
        names = [name for name in names if labelled(pack, name).any() or not isinstance(pack, Joined)]
        super().__init__(pack, "train", seed, mirror, name="+".join(names))
        for name in names:
            check_labels(pack, name)
        self.rows = self.rows[np.stack([labelled(pack, name) for name in names]).any(0)]
        self.epochs = Epochs(len(self.rows), seed, "+".join(names))


def grouped(pack: Pack, group: str, clip: str | None, seed: int, mirror: bool, clips: int, images: int) -> Macro:
    """Several images of every value of a group, or of several clips of it.

    Raises:
        ValueError: The group has no two values, or none of them two clips, so that there would be no negatives.
    """
    check_labels(pack, group)
    if clip is not None:
        rows = pack.rows("train")[labelled(pack, group) & labelled(pack, clip)]
        both = np.unique(np.stack([pack.labels[group][rows], pack.labels[clip][rows]]), axis=1)
        if both.shape[1] == len(np.unique(both[0])):
            raise ValueError(
                f"no {group} of split 'train' has two values of column {clip!r}; leave {clip!r} out of --attributes"
            )
    return Macro(pack, "train", seed, mirror, group, clip, clips, images)


def labelled(pack: Pack, name: str) -> np.ndarray:
    """Which training images have a label, `[rows]` bool."""
    return pack.schema[name].known(pack.labels[name][pack.rows("train")])


def check_labels(pack: Pack, name: str) -> None:
    """Raise ValueError where the training images do not have two different labels."""
    if len(np.unique(pack.labels[name][pack.rows("train")][labelled(pack, name)])) < 2:
        raise ValueError(
            f"column {name!r} has fewer than two different labels in split 'train'; leave it out of --attributes"
        )
