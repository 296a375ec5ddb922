"""What all sections of a judgement share: the judged images, their codes, training codes, roles and the classifier.

Roles are what every part of the codes is meant to carry, so that everything else found in it is a leak. A method states
them by `roles`; which attributes all images of one group (a person, a clip) have in common is found in the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from recombine import inference
from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute
from recombine.data.synthetic.truth import Render, Truth
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.judgement import Protocol
from recombine.messages import shown
from recombine.method import Method, Role
from recombine.metrics.leakage import Matrix
from recombine.metrics.probes import reduced
from recombine.metrics.realism import Extractor

KEPT = 2**26                                # numbers of all reconstructions that are kept: 256 MiB
SHARED = 0.99                               # of the other images of a group that must show an image's value


class CannotMeasure(ValueError):
    """A section of the judgement that this method or data set does not allow; the message is the reason."""


class Learnt(NamedTuple):
    """Training images that fresh probes learn from."""

    rows: np.ndarray
    codes: Codes                            # every part as a probe reads it, [images, features]


@dataclass
class EvaluationContext:
    """One judgement in the making: every judged image is encoded once, and so is every image that probes learn from."""

    model: Method
    pack: Pack
    rows: np.ndarray                        # of the judged images
    find_classifier: Callable[[], Classifier]
    protocol: Protocol
    progress: Callable[[str], None]
    seed: int
    chunk: int
    goes_with: Mapping[str, Collection[str]]
    given_roles: Mapping[str, Sequence[str]] | None  # in place of the method's
    extractor: Extractor | None
    perceptual: Callable[[Tensor, Tensor], Tensor] | None
    render: Render | None                   # the true result of a label edit, where it is known
    swapped: Truth | None                   # ... and of a swap
    truths: int
    workers: int | None
    matrices: dict[str, Matrix] = field(default_factory=dict)   # kind of probe -> what it read
    features: dict[int, np.ndarray] = field(default_factory=dict)  # row -> what the extractor sees in the image
    sections: dict[str, Any] = field(default_factory=dict)  # field of `Judgement` -> what was measured
    left_out: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def measure(self, name: str, section: str, function: Callable[[EvaluationContext], object]) -> None:
        """Measure one section, note how long it took, or why it cannot be measured."""
        self.progress(f"judging: {name}")
        started = time.perf_counter()
        try:
            self.sections[section] = function(self)
        except (CannotMeasure, NotImplementedError) as reason:
            self.leave_out(name, reason)
        self.seconds[name] = round(time.perf_counter() - started, 2)

    def leave_out(self, name: str, reason: object) -> None:
        self.left_out[name] = str(reason)

    @cached_property
    def classifier(self) -> Classifier:
        """The independent classifier; raises CannotMeasure where there is none."""
        try:
            return self.find_classifier()
        except ValueError as reason:
            raise CannotMeasure(f"no independent classifier: {reason}") from reason

    @cached_property
    def originals(self) -> transfer.Originals:
        """The judged images' codes, and what the classifier sees in them and in their reconstructions."""
        return transfer.seen_originals(
            self.model, self.pack, self.rows, self.classifier, self.chunk, self.codes, self.reconstructions()
        )

    @cached_property
    def codes(self) -> Codes:
        with inference.evaluation_mode(self.model), inference.channels_last(self.model, on=False):
            return inference.encode_rows(self.model, self.pack, self.rows, self.chunk)

    def reconstructions(self) -> Iterator[Tensor]:
        """The judged images encoded and decoded, a chunk at a time."""
        yield from self._kept or inference.decode_chunks(self.model, self.codes, self.chunk)

    @cached_property
    def _kept(self) -> list[Tensor]:
        """The reconstructions, decoded once; none where they would take too much memory."""
        if len(self.rows) * self.pack.schema.channels * np.prod(self.pack.schema.image_size) > KEPT:
            return []
        with inference.evaluation_mode(self.model):
            return list(inference.decode_chunks(self.model, self.codes, self.chunk))

    @cached_property
    def probed(self) -> Codes:
        """Codes of the judged images as probes read them, `[images, features]` of every part."""
        return self.codes.map(reduced)

    @cached_property
    def learnt(self) -> Learnt:
        """Codes of training images, without the judged ones; raises CannotMeasure where there are none."""
        rows = np.setdiff1d(self.pack.rows("train"), self.rows)
        if not len(rows):
            raise CannotMeasure("fresh probes learn from training images that are not judged, and there are none")
        rows = np.sort(np.random.default_rng(mix_seed(self.seed, "learnt")).permutation(rows)[: self.protocol.learnt])
        with inference.evaluation_mode(self.model), inference.channels_last(self.model, on=False):
            chunks = [rows[i : i + self.chunk] for i in range(0, len(rows), self.chunk)]
            parts = [inference.encode_rows(self.model, self.pack, chunk, self.chunk).map(reduced) for chunk in chunks]
        return Learnt(rows, Codes.concatenate(parts))

    @cached_property
    def roles(self) -> dict[str, list[str]]:
        """Part -> attributes that it is meant to carry; none where that cannot be told."""
        if self.given_roles is not None:
            return checked(self.given_roles, self.pack, list(self.codes))
        try:
            return resolved(self.model.roles(), self.pack, list(self.codes))
        except ValueError as reason:
            self.leave_out("carries", reason)
            return {part: [] for part in self.codes}

    @cached_property
    def probed_roles(self) -> dict[str, list[str]]:
        """The roles as far as the protocol's attributes go: what probes should find in a part."""
        names = self.pack.schema.names if self.protocol.attributes is None else self.protocol.attributes
        return {part: [name for name in own if name in names] for part, own in self.roles.items()}

    @cached_property
    def probed_attributes(self) -> list[Attribute]:
        """The protocol's attributes; else those that parts are meant to carry, all that the method learnt, or all."""
        given, carried = self.protocol.attributes, {name for names in self.roles.values() for name in names}
        for names in (carried, self.model.schema.names, self.pack.schema.names) if given is None else (given,):
            if found := [a for a in self.pack.schema.attributes if a.kind != "group" and a.name in names]:
                return found
        raise CannotMeasure("the data set has no attribute that could be looked for")

    def labels(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: np.asarray(self.pack.labels[name])[rows] for name in self.pack.schema.names}

    def attributes(self) -> list[str]:
        """Attributes that have a part of their own and are in the data; the others are noted as left out."""
        learnt = [a.name for a in self.model.schema.attributes if a.kind != "group"]
        names = [name for name in learnt if name in self.codes and name in self.pack.schema.names]
        for name in set(learnt) - set(names):
            self.leave_out(name, "the method has no part of its own for it, or the data set no label")
        if not names:
            parts = shown(list(self.codes))
            raise CannotMeasure(f"the method's parts are {parts}; none is an attribute of the data set")
        return names


def resolved(roles: Mapping[str, Role], pack: Pack, parts: Sequence[str]) -> dict[str, list[str]]:
    """Part -> names of the attributes of the whole data set that it is meant to carry; none for a part such as `rest`.

    Raises:
        ValueError: A part is meant to carry all that no other part does, and the group that divides them is not in the
            data.
    """
    found: dict[str, list[str]] = {}
    divided = any(role.all_else for role in roles.values())
    for part in parts:
        role = roles.get(part, Role())
        missing = [name for name in role.shared_by if name not in pack.schema.names]
        if divided and missing:
            carries = f"what {part} carries is what images of one group share"
            raise ValueError(f"{carries}, and the data set has no {shown(missing)}; say it with roles")
        shared = shared_by(pack, role.shared_by) if role.shared_by and not missing else []
        found[part] = [name for name in pack.schema.names if name in role.attributes or name in shared]
    taken = {name for names in found.values() for name in names}
    left = [name for name in pack.schema.names if name not in taken]
    return {part: left if roles.get(part, Role()).all_else else names for part, names in found.items()}


def checked(roles: Mapping[str, Sequence[str]], pack: Pack, parts: Sequence[str]) -> dict[str, list[str]]:
    """Given roles, with nothing for parts that are not named; raises ValueError for names that do not exist."""
    for part, names in roles.items():
        if part not in parts:
            raise ValueError(f"roles names the part {part!r}; the method's parts are {shown(list(parts))}")
        for name in names:
            if name not in pack.schema.names:
                has = shown(pack.schema.names)
                raise ValueError(f"roles says that {part!r} carries {name!r}; the data set has {has}")
    return {part: list(roles.get(part, ())) for part in parts}


def shared_by(pack: Pack, groups: Sequence[str]) -> list[str]:
    """Attributes whose value (nearly) all images of one group share, in the schema's order.

    Looked at are the training images, or all where there are none. An image that shows a value must have it in common
    with 99 % of the others of its group; the values count alike, so one that is rare everywhere is not taken for
    shared. `groups` are attributes that make a group together.
    """
    rows = pack.rows("train") if len(pack.rows("train")) else pack.rows()
    columns = [np.asarray(pack.labels[name])[rows] for name in groups]
    known = np.all([column != MISSING for column in columns], 0)
    if not known.any():
        return [name for name in pack.schema.names if name in groups]
    which = np.unique(np.stack(columns, 1)[known], axis=0, return_inverse=True)[1].reshape(-1)
    agreements = {a.name: _agreement(which, pack.labels[a.name][rows[known]], a) for a in pack.schema.attributes}
    return [name for name, agreement in agreements.items() if name in groups or agreement >= SHARED]


def _agreement(groups: np.ndarray, labels: np.ndarray, attribute: Attribute) -> float:
    """How often another image of the group shows the same value, the mean of all values; 0 where all are alone."""
    known = attribute.known(labels)
    if not known.any():
        return 0.0
    groups, values = groups[known], np.unique(labels[known], return_inverse=True)[1]
    others = np.bincount(groups)[groups] - 1
    _, cell, counts = np.unique(np.stack([groups, values], 1), axis=0, return_inverse=True, return_counts=True)
    alike = (counts[cell.reshape(-1)] - 1)[others > 0] / others[others > 0]
    weights = np.bincount(values[others > 0])
    if not len(alike):
        return 0.0
    return float(np.mean((np.bincount(values[others > 0], alike) / np.maximum(weights, 1))[weights > 0]))
