"""Does an edited image show the target label, and is everything else as it was?

Both are answered by an independent classifier (`recombine.evaluation.classifier`), never by the method:

- success: the share of edits in which the classifier sees the target value;
- preserved: over all other attributes of all edits, the share in which the classifier sees the same value in the edited
  image as in the original one, so that missing labels and its own mistakes do not count as damage.

Beside both stands the same share for the image that was encoded and decoded without an edit: `success_unedited` is what
an editor that does nothing would score, and `preserved_unedited` what reconstruction alone costs.

In all functions, `rows` are rows of the pack that the classifier never saw, and `chunk` is how many images are encoded,
decoded and classified together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.edit import set_label, swap
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.judgement import AgainstTruth, EditScores
from recombine.inference import decode_chunks, encode_rows, evaluation_mode
from recombine.method import Method
from recombine.metrics.intervals import Estimate, share
from recombine.metrics.intervals import mean as mean_of
from recombine.metrics.reconstruction import psnr

Rows = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Edit:
    """One edit that is to be made: a label set, or a part taken from another image."""

    place: int                              # of the image in the judged rows
    attribute: str
    wanted: int | float                     # position of the value in the pack's schema; a number where continuous
    source: int = -1                        # place of the image that lends the part; -1 = a label edit


@dataclass(frozen=True)
class Verdicts:
    """What the classifier saw in every edit; one row an edit, one column an attribute that it reads."""

    names: tuple[str, ...]                  # of the columns
    edits: tuple[Edit, ...]
    before: np.ndarray                      # [edits, names] in the original image
    reconstructed: np.ndarray               # [edits, names] in that image encoded and decoded without an edit
    after: np.ndarray                       # [edits, names] in the edited image
    goes_with: Mapping[str, Collection[str]] = field(default_factory=dict)  # edited -> others that rightly change too

    def __len__(self) -> int:
        return len(self.edits)

    def of(self, attribute: str) -> Verdicts:
        which = [i for i, edit in enumerate(self.edits) if edit.attribute == attribute]
        sides = {side: getattr(self, side)[which] for side in ("before", "reconstructed", "after")}
        return replace(self, edits=tuple(self.edits[i] for i in which), **sides)

    def edited(self) -> list[str]:
        return list(dict.fromkeys(edit.attribute for edit in self.edits))

    def images(self) -> np.ndarray:
        """The place `[edits]` of the image that each edit started from."""
        return np.array([edit.place for edit in self.edits], dtype=np.int64)

    def shows(self, side: str = "after") -> np.ndarray:
        """Whether the classifier sees the wanted value: bool `[edits]`."""
        columns = np.array([self.names.index(edit.attribute) for edit in self.edits], dtype=np.int64)
        return getattr(self, side)[np.arange(len(self)), columns] == [edit.wanted for edit in self.edits]

    def preserves(self, side: str = "after") -> tuple[np.ndarray, np.ndarray]:
        """Whether each other attribute is seen as in the original, bool, and which edit it belongs to; both flat."""
        others = np.array([[other in self.others(edit.attribute) for other in self.names] for edit in self.edits])
        return (getattr(self, side) == self.before)[others], np.nonzero(others)[0]

    def others(self, edited: str) -> list[str]:
        """Attributes that an edit of this one should leave as they are."""
        return [name for name in self.names if name != edited and name not in self.goes_with.get(edited, ())]


@dataclass(frozen=True)
class Originals:
    """What all edits of the same images begin with; made once by `seen_originals` where several kinds are judged."""

    codes: Codes                            # of the images
    names: tuple[str, ...]                  # of the columns
    before: np.ndarray                      # [images, names] what the classifier sees in them
    reconstructed: np.ndarray               # [images, names] and in them encoded and decoded
    swapped: dict[tuple, np.ndarray] = field(default_factory=dict)  # (part, targets and sources) -> [swaps, names]


def seen_originals(
    model: Method, pack: Pack, rows: Rows, classifier: Classifier, chunk: int = 128, codes: Codes | None = None,
    reconstructions: Iterator[Tensor] | None = None,
) -> Originals:  # fmt: skip
    """Encode and decode some rows, unless codes and reconstructions are given, and classify them before and after."""
    rows = np.asarray(rows)
    with evaluation_mode(model):
        codes = encode_rows(model, pack, rows, chunk) if codes is None else codes
        before = seen_in_rows(classifier, pack, rows, chunk)
        again = decode_chunks(model, codes, chunk) if reconstructions is None else reconstructions
        return Originals(codes, classifier.names, before, _seen(classifier, again))


def unedited(originals: Originals, edits: Sequence[Edit], goes_with: Mapping[str, Collection[str]]) -> Verdicts:
    """Verdicts of edits that are not made: after them the classifier sees what it saw before."""
    places = [edit.place for edit in edits]
    before = originals.before[places]
    return Verdicts(originals.names, tuple(edits), before, originals.reconstructed[places], before, goes_with)


def seen_in_truth(
    verdicts: Verdicts, classifier: Classifier, truths: Sequence[np.ndarray], chunk: int = 128
) -> Verdicts:
    """The same edits with the true images in place of the method's: the most that any method could score.

    `truths` are every edit's true image `[channels, height, width]` in [-1, 1].
    """
    images = (torch.from_numpy(np.stack(truths[i : i + chunk])) for i in range(0, len(truths), chunk))
    return replace(verdicts, after=_seen(classifier, images))


def label_edits(
    model: Method, pack: Pack, rows: Rows, classifier: Classifier, *, attributes: Sequence[str] | None = None,
    per_image: int | None = 1, seed: int = 0, chunk: int = 128, originals: Originals | None = None,
) -> Verdicts:  # fmt: skip
    """Set every attribute of every image to another value, and classify the results.

    Without `attributes`, all that the method and the classifier both have are edited, each to `per_image` other values,
    drawn by `seed` and the row, or to every one when None. `originals` are those of the rows, where there already.
    """
    edits = []
    for name in _edited(model, classifier, attributes):
        can = settable(model, pack.schema[name])
        for place, row in enumerate(map(int, rows)):
            own = int(pack.labels[name][row])
            rng = np.random.default_rng(mix_seed(seed, "value", name, row))
            others = rng.permutation([value for value in can if value != own]) if own != MISSING else np.empty(0)
            edits += [Edit(place, name, value) for value in others.tolist()[:per_image]]
    edits.sort(key=lambda e: (e.attribute, e.wanted, e.place))
    return judged(model, pack, rows, classifier, edits, chunk, originals)


def swaps(
    model: Method, pack: Pack, rows: Rows, classifier: Classifier, *, attributes: Sequence[str] | None = None,
    seed: int = 0, chunk: int = 128, originals: Originals | None = None,
) -> Verdicts:  # fmt: skip
    """Give every image each attribute's part of another one that has another label, and classify the results.

    The target value is the source's true label. Arguments as for `label_edits`; images without a label, or that no
    other one differs from, take no part.
    """
    edits = [edit for name in _edited(model, classifier, attributes) for edit in swap_pairs(pack, rows, name, seed)]
    return judged(model, pack, rows, classifier, edits, chunk, originals)


def swap_pairs(pack: Pack, rows: Rows, name: str, seed: int = 0) -> list[Edit]:
    """One swap an image, with a source drawn from all images of another value of the attribute `name`."""
    labels = np.asarray(pack.labels[name])[np.asarray(rows)]
    known = pack.schema[name].known(labels)
    edits = []
    for place in np.flatnonzero(known).tolist():
        sources = np.flatnonzero(known & (labels != labels[place]))
        if len(sources):
            source = int(sources[mix_seed(seed, "giver", name, int(rows[place])) % len(sources)])
            edits.append(Edit(place, name, labels[source].item(), source))
    return edits


def judged(
    model: Method, pack: Pack, rows: Rows, classifier: Classifier, edits: Sequence[Edit], chunk: int = 128,
    originals: Originals | None = None,
) -> Verdicts:  # fmt: skip
    """Make the edits and collect what the classifier sees before and after; `originals` are those of the same rows."""
    names = classifier.names
    if not edits:
        none = np.empty((0, len(names)), np.int64)
        return Verdicts(names, (), none, none, none)
    found = originals or seen_originals(model, pack, rows, classifier, chunk)
    verdicts = unedited(found, edits, {})
    with evaluation_mode(model):
        if any(edit.source < 0 for edit in edits):
            return replace(verdicts, after=_seen(classifier, edited_images(model, pack, found.codes, edits, chunk)))
        after = np.empty_like(verdicts.before)
        for part in dict.fromkeys(edit.attribute for edit in edits):
            which = [i for i, edit in enumerate(edits) if edit.attribute == part]
            swaps = tuple((edits[i].place, edits[i].source) for i in which)
            if (part, swaps) not in found.swapped:
                images = edited_images(model, pack, found.codes, [edits[i] for i in which], chunk)
                found.swapped[part, swaps] = _seen(classifier, images)
            after[which] = found.swapped[part, swaps]
        return replace(verdicts, after=after)


def scores(verdicts: Verdicts) -> EditScores:
    """`success` and `preserved`, over all edits; None where there is no verdict."""
    if not len(verdicts):
        return EditScores()
    images, found = verdicts.images(), {}
    for ending, side in (("", "after"), ("_unedited", "reconstructed")):
        found[f"success{ending}"] = share(verdicts.shows(side), images)
        same, which = verdicts.preserves(side)
        if len(same):
            found[f"preserved{ending}"] = share(same, images[which])
    return EditScores(**found)


def by_attribute(verdicts: Verdicts, schema: Schema) -> dict[str, EditScores]:
    """`scores` of every edited attribute, with the success of every target value."""
    report = {}
    for name in verdicts.edited():
        part = verdicts.of(name)
        target, hits, images = np.array([edit.wanted for edit in part.edits]), part.shows(), part.images()
        found = {v: share(hits[target == v], images[target == v]) for v in np.unique(target)}
        report[name] = replace(scores(part), values={schema[name].values[v]: success for v, success in found.items()})
    return report


def preserved_of(verdicts: Verdicts) -> dict[str, dict[str, Estimate]]:
    """Which attribute suffers from which edit: edited attribute -> other attribute -> share seen as in the original."""
    report: dict[str, dict[str, Estimate]] = {}
    for name in verdicts.edited():
        part = verdicts.of(name)
        same, images = part.after == part.before, part.images()
        report[name] = {other: share(same[:, part.names.index(other)], images) for other in part.others(name)}
    return report


def edit_shares(
    model: Method, pack: Pack, rows: Rows, classifier: Classifier, *, before: np.ndarray | None = None,
    codes: Codes | None = None, **options,
) -> dict[str, float]:  # fmt: skip
    """What a training logs of label edits: `edit_success/NAME` of each attribute, and over all `edit_success/all`.

    `edit_noise` is half of the latter's 95 % interval. With `before`, what the classifier sees in the originals
    (`seen_in_rows`), also `edit_kept/all`, where it reads more than what is edited. Options are those of `label_edits`;
    `codes` are those of the rows, where there already.
    """
    unseen = np.full((len(rows), len(classifier.names)), MISSING)
    with evaluation_mode(model):
        codes = encode_rows(model, pack, np.asarray(rows)) if codes is None else codes
    originals = Originals(codes, classifier.names, unseen if before is None else before, unseen)
    verdicts = label_edits(model, pack, rows, classifier, originals=originals, **options)
    if not len(verdicts):
        return {}
    found = {f"edit_success/{name}": float(verdicts.of(name).shows().mean()) for name in verdicts.edited()}
    success = share(verdicts.shows(), verdicts.images())
    found = {"edit_success/all": success.value, **found, "edit_noise": (success.high - success.low) / 2}
    same, _ = verdicts.preserves()
    return found | ({"edit_kept/all": float(same.mean())} if before is not None and len(same) else {})


def seen_in_rows(classifier: Classifier, pack: Pack, rows: Rows, chunk: int = 128) -> np.ndarray:
    """What the classifier sees in some images of a pack: `[rows, classifier.names]`."""
    rows = np.asarray(rows)
    return _seen(classifier, (pack.batch(rows[i : i + chunk]).images for i in range(0, len(rows), chunk)))


def label_rates(
    model: Method, pack: Pack, rows: Rows, name: str, classifier: Classifier, chunk: int = 128
) -> dict[str, Estimate]:
    """Set every image to each value, its own too: value -> share in which the classifier sees that value.

    These are the percentages of Creswell et al., Tables 1 to 3, when all rows have one value: those of a method that
    ignores the label add up to 100.
    """
    values = pack.schema[name].values
    edits = [Edit(place, name, value) for value in range(len(values)) for place in range(len(rows))]
    verdicts = judged(model, pack, rows, classifier, edits, chunk)
    hits = verdicts.shows().reshape(len(values), len(rows))
    return {value: share(hit) for value, hit in zip(values, hits, strict=True)}


def sensitivity(
    model: Method, pack: Pack, rows: Rows, *, attributes: Sequence[str] | None = None, seed: int = 0, chunk: int = 128,
    codes: Codes | None = None,
) -> dict[str, Estimate]:  # fmt: skip
    """How much the decoder uses a label: mean |D(value) - D(another)| over all pixels on [0, 1], per attribute.

    0 means that the label is ignored, which reconstruction alone never shows. Two values are drawn for every image
    (both there are for a binary attribute, both ends for a continuous one). `codes` are those of the rows, where they
    are there already.
    """
    rows, report = np.asarray(rows), {}
    with evaluation_mode(model):
        codes = encode_rows(model, pack, rows, chunk) if codes is None else codes
        labelled = [a.name for a in model.schema.attributes if a.kind != "group"]
        for name in labelled if attributes is None else attributes:
            attribute, can = pack.schema[name], settable(model, pack.schema[name])
            if attribute.kind == "continuous":
                assert attribute.low is not None and attribute.high is not None
                ends = [(attribute.low, attribute.high)] * len(rows)
            elif len(can) < 2:
                continue
            else:
                rngs = (np.random.default_rng(mix_seed(seed, "two", int(row))) for row in rows)
                ends = [sorted(rng.permutation(can)[:2].tolist()) for rng in rngs]
            sides = [[Edit(place, name, end[side]) for place, end in enumerate(ends)] for side in (0, 1)]
            pairs = zip(*(edited_images(model, pack, codes, side, chunk) for side in sides), strict=True)
            moved = [((a - b).abs() / 2).flatten(1).mean(1).cpu() for a, b in pairs]
            report[name] = mean_of(torch.cat(moved).numpy())
    return report


def against_truth(
    model: Method, pack: Pack, rows: Rows, edits: Sequence[Edit], truths: Sequence[np.ndarray], chunk: int = 128,
    codes: Codes | None = None,
) -> dict[str, AgainstTruth]:  # fmt: skip
    """PSNR in dB of edited images against the images that they should have become, per attribute and over `all`.

    `truths` are every edit's true image `[channels, height, width]` in [-1, 1]; `codes` are those of the rows, where
    they are there already.
    """
    rows, found = np.asarray(rows), []
    with evaluation_mode(model):
        codes = encode_rows(model, pack, rows, chunk) if codes is None else codes
        edited = edited_images(model, pack, codes, edits, chunk)
        for start, images in zip(range(0, len(edits), chunk), edited, strict=True):
            places = [edit.place for edit in edits[start : start + chunk]]
            truth = torch.from_numpy(np.stack(truths[start : start + chunk])).to(images)
            originals = pack.batch(rows[places]).images.to(images)
            plain = next(decode_chunks(model, codes[torch.tensor(places)], chunk))
            found.append(torch.stack([psnr(side, truth) for side in (images, originals, plain)], 1).cpu())
    values, report = torch.cat(found).numpy(), {}
    for name in ("all", *dict.fromkeys(edit.attribute for edit in edits)):
        which = [i for i, edit in enumerate(edits) if name in ("all", edit.attribute)]
        report[name] = AgainstTruth(*(mean_of(column) for column in values[which].T))
    return report


def edited_images(model: Method, pack: Pack, codes: Codes, edits: Sequence[Edit], chunk: int = 128) -> Iterator[Tensor]:
    """The images that edits lead to, a chunk at a time, in their order; equal neighbours are edited together."""
    for start in range(0, len(edits), chunk):
        parts = []
        for (name, target), same in groupby(edits[start : start + chunk], _kind):
            run = list(same)
            own = codes[torch.tensor([edit.place for edit in run])]
            if target is None:
                parts.append(swap(own, codes[torch.tensor([edit.source for edit in run])], name)[0])
            else:
                label: dict[str, Any] = {name: value_of(pack.schema[name], target)}
                parts.append(set_label(model, own, **label))
        yield model.decode(Codes.concatenate(parts))


def _kind(edit: Edit) -> tuple[str, int | float | None]:
    """What the neighbours that are edited together have in common: the part of a swap, the value of a label edit."""
    return edit.attribute, edit.wanted if edit.source < 0 else None


def value_of(attribute: Attribute, target: int | float) -> object:
    """The value as `set_label` takes it: a name, or a number where continuous."""
    return float(target) if attribute.kind == "continuous" else attribute.values[int(target)]


def _seen(classifier: Classifier, images: Iterator[Tensor]) -> np.ndarray:
    """The classifier's verdicts `[images, names]`."""
    parts = [classifier.verdicts(chunk) for chunk in images]
    return np.stack([np.concatenate([part[name] for part in parts]) for name in classifier.names], 1)


def _edited(model: Method, classifier: Classifier, attributes: Sequence[str] | None) -> list[str]:
    known = [name for name in model.schema.names if name in classifier.names]
    for name in attributes or ():
        if name not in known:
            raise ValueError(f"{name!r} cannot be judged; the method and the classifier share {known}")
    return list(attributes or known)


def settable(model: Method, attribute: Attribute) -> list[int]:
    """Positions of the values that the method can set: all but class means of values that no training image shows."""
    found = []
    for place, value in enumerate(attribute.values):
        with suppress(ValueError):
            model.label_code(attribute.name, value)
            found.append(place)
    return found
