"""Batches that can train some attributes: of images that have their labels, or with several images of every group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recombine.data.joined import Joined
from recombine.data.packed import Pack
from recombine.data.samplers import Epochs, Iid, InTurn, Macro, Sampler


def by_data_set(pack: Pack, names: Sequence[str], make: Callable[[Pack], Sampler]) -> Sampler:
    """Batches of one data set each, in turn of those that label any of some attributes; `make` gives the sampler of one."""
    parts = [pack.only(source) for source in range(len(pack.packs))] if isinstance(pack, Joined) else [pack]
    able = [part for part in parts if any(labelled(part, name).any() for name in names)]
    return InTurn([make(part) for part in able or [pack]])


class Labelled(Iid):
    """The training images that have a label of one of some attributes, in shuffled epochs.

    One of several joined data sets is not asked for the attributes that it does not label.

    Raises:
        ValueError: An attribute has fewer than two different labels.
    """

    def __init__(self, pack: Pack, names: Sequence[str], seed: int, mirror: bool):
        names = [name for name in names if labelled(pack, name).any() or not isinstance(pack, Joined)]
        super().__init__(pack, "train", seed, mirror, name=title(names))
        for name in names:
            check_labels(pack, name)
        self.rows = self.rows[np.stack([labelled(pack, name) for name in names]).any(0)]
        self.epochs = Epochs(len(self.rows), seed, title(names))


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


def title(names: Sequence[str]) -> str:
    """The name of some attributes together, for the log."""
    return "+".join(names)
