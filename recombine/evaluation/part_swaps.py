"""Swaps of parts that carry several attributes: do all of them follow the source, and is all else preserved?

Of a part that carries one attribute these are the swaps of `recombine.evaluation.transfer.swaps`. A part such as
rodi's `appearance` carries many attributes at once: what should follow, what may, and what must not is stated per part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.judgement import AgainstTruth, PartScores, PartSwaps
from recombine.messages import shown
from recombine.method import Method
from recombine.metrics.intervals import share

# Many (row, source's row, factors that move) -> their true images [channels, height, width] in [-1, 1], or None.
Truths = Callable[[Sequence[tuple]], Sequence[np.ndarray | None]]


@dataclass(frozen=True)
class Carried:
    """What comes with a part when it is given to another image."""

    judged: tuple[str, ...]                 # attributes that must follow the source, read by the classifier
    moved: tuple[str, ...] = ()             # factors that move with the part in the true image; need not be preserved
    free: tuple[str, ...] = ()              # attributes that may rightly change, and are not judged at all


def part_swaps(
    model: Method, pack: Pack, rows: transfer.Rows, classifier: Classifier, carries: Mapping[str, Carried],
    truth: Truths | None = None, seed: int = 0, chunk: int = 128, truths: int | None = None,
    originals: transfer.Originals | None = None,
) -> PartSwaps:  # fmt: skip
    """Give every image each part of another one that differs in what the part carries, and classify the results.

    `truth` draws what swaps should have become, None where that is not known; `truths` swaps of every part are compared
    with it, all when None. `seed` is that of the sources, drawn row by row from `rows`, and of the compared swaps.
    Other arguments are those of `transfer.label_edits`.

    Returns:
        Of all swaps, and of those of each part: `success`, over every judged attribute in which source and image
        differ: the classifier sees the source's label; `preserved`, over every attribute that it reads and that is not
        judged, moved or free: it sees what it saw in the original image; both also for the image encoded and decoded
        without a swap; `psnr` against the true image; and per part the success of each attribute. What cannot be
        measured is None.

    Raises:
        ValueError: The method has no such part, or the classifier does not read a judged attribute.
    """
    rows = np.asarray(rows)
    originals = originals or transfer.seen_originals(model, pack, rows, classifier, chunk)
    _check(list(originals.codes), pack, classifier, carries)
    edits, compared = [], []
    for part, carried in carries.items():
        own = draw_pairs(pack, rows, part, carried.judged, seed)
        chosen = np.random.default_rng(mix_seed(seed, "truths", part)).permutation(len(own))[:truths]
        edits += own
        compared += [own[place] for place in sorted(chosen)]
    verdicts = transfer.judged(model, pack, rows, classifier, edits, chunk, originals)
    true: dict[str, AgainstTruth] = {}
    if truth is not None:
        drawn = truth([(int(rows[e.place]), int(rows[e.source]), carries[e.attribute].moved) for e in compared])
        known = [(edit, image) for edit, image in zip(compared, drawn, strict=True) if image is not None]
        if known:
            rendered, images = zip(*known, strict=True)
            true = transfer.against_truth(model, pack, rows, rendered, images, chunk, originals.codes)
    everything = replace(_scores(verdicts, pack, rows, carries), psnr=true.get("all"))
    parts = {}
    for part in verdicts.edited():
        own = verdicts.of(part)
        attributes = {}
        for name in carries[part].judged:
            differs, hits = _followed(own, pack, rows, {part: Carried((name,))})
            if differs.any():
                attributes[name] = share(hits[differs])
        parts[part] = replace(_scores(own, pack, rows, carries), psnr=true.get(part), attributes=attributes)
    return PartSwaps(everything, parts)


def _check(parts: list[str], pack: Pack, classifier: Classifier, carries: Mapping[str, Carried]) -> None:
    for part, carried in carries.items():
        if part not in parts:
            raise ValueError(f"no part {part!r} to swap; the method's parts are {shown(parts)}")
        for name in carried.judged:
            if name not in classifier.names or name not in pack.schema.names:
                unread = "is not read by the classifier or has no labels here"
                reads = f"it reads {shown(classifier.names)}"
                raise ValueError(f"{name!r}, to be judged in swaps of {part!r}, {unread}; {reads}")


def draw_pairs(pack: Pack, rows: np.ndarray, part: str, judged: Sequence[str], seed: int) -> list[transfer.Edit]:
    """One swap an image, with a source drawn from all images that differ in a judged attribute."""
    if not judged:
        return []
    labels = _labels(pack, rows, judged)                                    # [images, judged]
    edits = []
    for place, row in enumerate(rows.tolist()):
        sources = np.flatnonzero(_differ(labels[place], labels).any(1))
        if len(sources):
            source = int(sources[mix_seed(seed, "giver", part, row) % len(sources)])
            edits.append(transfer.Edit(place, part, MISSING, source))       # the target is the part, not one label
    return edits


def _scores(verdicts: transfer.Verdicts, pack: Pack, rows: np.ndarray, carries: Mapping[str, Carried]) -> PartScores:
    found, images = {}, verdicts.images()
    may_change = [(c.judged, c.moved, c.free) for c in (carries[edit.attribute] for edit in verdicts.edits)]
    stays = [[not any(name in names for names in changing) for name in verdicts.names] for changing in may_change]
    for ending, side in (("", "after"), ("_unedited", "reconstructed")):
        differs, hits = _followed(verdicts, pack, rows, carries, side)
        same = getattr(verdicts, side) == verdicts.before
        for name, mask, right in (("success", differs, hits), ("preserved", np.array(stays, dtype=bool), same)):
            if mask.any():
                found[name + ending] = share(right[mask], images[np.nonzero(mask)[0]])
    return PartScores(**found)


def _followed(
    verdicts: transfer.Verdicts, pack: Pack, rows: np.ndarray, carries: Mapping[str, Carried], side: str = "after"
) -> tuple[np.ndarray, np.ndarray]:
    """Which judged attributes source and image differ in, and where the source's is seen; bool `[edits, names]`."""
    labels = _labels(pack, rows, [name if name in pack.schema.names else None for name in verdicts.names])
    own, given = labels[verdicts.images()], labels[[edit.source for edit in verdicts.edits]]
    judged = [[name in carries[edit.attribute].judged for name in verdicts.names] for edit in verdicts.edits]
    return np.array(judged, bool).reshape(own.shape) & _differ(own, given), getattr(verdicts, side) == given


def _labels(pack: Pack, rows: np.ndarray, names: Sequence[str | None]) -> np.ndarray:
    """Labels `[rows, names]`; missing where the pack has no such attribute."""
    return np.stack([np.asarray(pack.labels[name])[rows] if name else np.full(len(rows), MISSING) for name in names], 1)


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one != other) & (one != MISSING) & (other != MISSING)
