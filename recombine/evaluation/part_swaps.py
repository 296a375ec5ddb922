"""Swaps of parts that carry several attributes: do all of them follow the source, and does everything else stay?

Of a part that carries one attribute these are the swaps of `recombine.evaluation.transfer.swaps`. A part such as rodi's
`appearance` carries many attributes at once: what should follow, what may, and what must not is stated per part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.judgement import AgainstTruth, PartScores, PartSwaps
from recombine.messages import shown
from recombine.method import Method
from recombine.metrics.intervals import Estimate, share

# Many (row, source's row, factors that move) -> their true images [channels, height, width] in [-1, 1], or None.
Truths = Callable[[Sequence[tuple]], Sequence[np.ndarray | None]]


@dataclass(frozen=True)
class Carried:
    """What comes with a part when it is given to another image."""

    judged: tuple[str, ...]                 # attributes that must follow the source, read by the classifier
    moved: tuple[str, ...] = ()             # factors that move with the part in the true image; not asked to be preserved
    free: tuple[str, ...] = ()              # attributes that may rightly change, and are not judged at all


def part_swaps(
    model: Method,
    pack: Pack,
    rows: Sequence[int] | np.ndarray,
    classifier: Classifier,
    carries: Mapping[str, Carried],
    truth: Truths | None = None,
    seed: int = 0,
    chunk: int = 128,
    truths: int | None = None,
    originals: transfer.Originals | None = None,
) -> PartSwaps:
    """Give every image each part of another one that differs in what the part carries, and let the classifier look.

    Args:
        model: The method to judge.
        pack: The data set, with the labels of everything that is judged.
        rows: Its rows; the classifier must never have seen them.
        classifier: The judge.
        carries: Part -> what it carries.
        truth: Draws what swaps should have become; None where that is not known. `recombine.data.synthetic.truth.render_all` draws many.
        seed: Of the sources, drawn row by row from `rows`, and of the swaps that are compared with the truth.
        chunk: Images encoded, decoded and looked at together.
        truths: Swaps of every part that are compared with the truth; all when None.
        originals: Of these rows, where they are there already.

    Returns:
        Of all swaps, and of those of each part: `success`, over every judged attribute in which source and image differ:
        the classifier sees the source's label; `preserved`, over every attribute that it reads and that is not judged, moved
        or free: it sees what it saw in the original image; both also for the image encoded and decoded without a swap;
        `psnr` against the true image; and per part the success of each attribute. What cannot be measured is None.

    Raises:
        ValueError: The method has no such part, or the classifier does not read a judged attribute.
    """
    rows = np.asarray(rows)
    originals = originals or transfer.seen_originals(model, pack, rows, classifier, chunk)
    _check(list(originals.codes), pack, classifier, carries)
    edits = [edit for part, carried in carries.items() for edit in draw_pairs(pack, rows, part, carried.judged, seed)]
    verdicts = transfer.judged(model, pack, rows, classifier, edits, chunk, originals)
    true = _against(model, pack, rows, _some(edits, truths, seed), carries, truth, chunk, originals.codes)
    everything = PartScores(**_scores(verdicts, pack, rows, carries), psnr=true.get("all"))
    parts = {}
    for part in verdicts.edited():
        own = verdicts.of(part)
        attributes = _attributes(own, pack, rows, carries[part].judged)
        parts[part] = PartScores(**_scores(own, pack, rows, carries), psnr=true.get(part), attributes=attributes)
    return PartSwaps(everything, parts)


def _check(parts: Sequence[str], pack: Pack, classifier: Classifier, carries: Mapping[str, Carried]) -> None:
    for part, carried in carries.items():
        if part not in parts:
            raise ValueError(f"no part {part!r} to swap; the method's parts are {shown(parts)}")
        for name in carried.judged:
            if name not in classifier.names or name not in pack.schema.names:
                raise ValueError(
                    f"{name!r}, to be judged in swaps of {part!r}, is not read by the classifier or has no labels here; "
                    f"it reads {shown(classifier.names)}"
                )


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
            edits.append(transfer.Edit(place, part, MISSING, source))       # the part, not one label, is what is wanted
    return edits


def _some(edits: Sequence[transfer.Edit], most: int | None, seed: int) -> list[transfer.Edit]:
    """At most so many swaps of every part, drawn, in their order."""
    found = []
    for part in dict.fromkeys(edit.attribute for edit in edits):
        own = [edit for edit in edits if edit.attribute == part]
        chosen = np.random.default_rng(mix_seed(seed, "truths", part)).permutation(len(own))[:most]
        found += [own[place] for place in sorted(chosen)]
    return found


def _against(
    model: Method, pack: Pack, rows: np.ndarray, edits: Sequence[transfer.Edit], carries: Mapping[str, Carried],
    truth: Truths | None, chunk: int, codes: Codes,
) -> dict[str, AgainstTruth]:
    if truth is None:
        return {}
    drawn = truth([(int(rows[e.place]), int(rows[e.source]), carries[e.attribute].moved) for e in edits])
    known = [(edit, image) for edit, image in zip(edits, drawn, strict=True) if image is not None]
    if not known:
        return {}
    edits, images = zip(*known, strict=True)
    return transfer.against_truth(model, pack, rows, edits, images, chunk, codes)


def _scores(verdicts: transfer.Verdicts, pack: Pack, rows: np.ndarray, carries: Mapping[str, Carried]) -> dict[str, Estimate]:
    found, images = {}, verdicts.images()
    left = np.array([[_stays(name, carries[e.attribute]) for name in verdicts.names] for e in verdicts.edits], dtype=bool)
    for ending, side in (("", "after"), ("_unedited", "reconstructed")):
        asked, hits = _followed(verdicts, pack, rows, carries, side)
        for name, mask, right in (("success", asked, hits), ("preserved", left, getattr(verdicts, side) == verdicts.before)):
            if mask.any():
                found[name + ending] = share(right[mask], images[np.nonzero(mask)[0]])
    return found


def _attributes(verdicts: transfer.Verdicts, pack: Pack, rows: np.ndarray, judged: Sequence[str]) -> dict[str, Estimate]:
    """The success of every judged attribute by itself."""
    report = {}
    for name in judged:
        asked, hits = _followed(verdicts, pack, rows, {e.attribute: Carried((name,)) for e in verdicts.edits})
        if asked.any():
            report[name] = share(hits[asked])
    return report


def _followed(
    verdicts: transfer.Verdicts, pack: Pack, rows: np.ndarray, carries: Mapping[str, Carried], side: str = "after"
) -> tuple[np.ndarray, np.ndarray]:
    """Which attributes source and image differ in and are judged, and where the source's is seen; bool `[edits, names]`."""
    labels = _labels(pack, rows, [name if name in pack.schema.names else None for name in verdicts.names])
    own, given = labels[verdicts.images()], labels[[edit.source for edit in verdicts.edits]]
    judged = np.array([[name in carries[e.attribute].judged for name in verdicts.names] for e in verdicts.edits], dtype=bool)
    return judged.reshape(own.shape) & _differ(own, given), getattr(verdicts, side) == given


def _stays(name: str, carried: Carried) -> bool:
    return name not in (*carried.judged, *carried.moved, *carried.free)


def _labels(pack: Pack, rows: np.ndarray, names: Sequence[str | None]) -> np.ndarray:
    """Labels `[rows, names]`; missing where the pack has no such attribute."""
    return np.stack([np.asarray(pack.labels[name])[rows] if name else np.full(len(rows), MISSING) for name in names], 1)


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one != other) & (one != MISSING) & (other != MISSING)
