"""What all sections of a judgement share: the judged images, their codes, training codes, roles and the classifier."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recombine import inference
from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import Attribute
from recombine.data.synthetic.truth import Render, Truth
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.judgement import Protocol
from recombine.evaluation.roles import checked, resolved
from recombine.messages import shown
from recombine.method import Method
from recombine.metrics.leakage import Matrix
from recombine.metrics.probes import reduced
from recombine.metrics.realism import Extractor


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
    seed: int = 0
    chunk: int = 128
    goes_with: Mapping[str, Collection[str]] = field(default_factory=dict)
    given_roles: Mapping[str, Sequence[str]] | None = None  # in place of what the method says
    extractor: Extractor | None = None
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None
    render: Render | None = None
    swapped: Truth | None = None
    truths: int = 300
    workers: int | None = None
    progress: Callable[[str], None] = lambda line: None
    matrices: dict[str, Matrix] = field(default_factory=dict)   # kind of probe -> what it read
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
        """Note why something is not measured."""
        self.left_out[name] = str(reason)

    @cached_property
    def classifier(self) -> Classifier:
        """The independent classifier; raises CannotMeasure where there is none."""
        try:
            return self.find_classifier()
        except ValueError as reason:
            raise CannotMeasure(f"no independent classifier: {reason}") from reason

    @property
    def has_classifier(self) -> bool:
        """Whether there is one."""
        try:
            return bool(self.classifier.names)
        except CannotMeasure:
            return False

    @cached_property
    def originals(self) -> transfer.Originals:
        """The judged images' codes, and what the classifier sees in them and in their reconstructions."""
        return transfer.seen_originals(self.model, self.pack, self.rows, self.classifier, self.chunk, self.codes)

    @cached_property
    def codes(self) -> Codes:
        """Codes of the judged images."""
        with inference.evaluation_mode(self.model):
            return inference.encode_rows(self.model, self.pack, self.rows, self.chunk)

    @cached_property
    def probed(self) -> Codes:
        """Codes of the judged images as probes read them, `[images, features]` of every part."""
        return self.codes.map(reduced)

    @cached_property
    def learnt(self) -> Learnt:
        """Codes of training images without the judged ones, as many as the protocol says; raises CannotMeasure where there are none."""
        rows = np.setdiff1d(self.pack.rows("train"), self.rows)
        if not len(rows):
            raise CannotMeasure("fresh probes learn from training images that are not judged, and there are none")
        rows = np.sort(np.random.default_rng(mix_seed(self.seed, "learnt")).permutation(rows)[: self.protocol.learnt])
        with inference.evaluation_mode(self.model):
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
        names = self.protocol.attributes
        return self.roles if names is None else {part: [name for name in own if name in names] for part, own in self.roles.items()}

    @cached_property
    def probed_attributes(self) -> list[Attribute]:
        """The protocol's attributes; else those that some part is meant to carry, all that the method was built for, or all."""
        carried = {name for names in self.roles.values() for name in names}
        learnt = [name for name in self.model.schema.names if name in self.pack.schema.names]
        labelled = [a for a in self.pack.schema.attributes if a.kind != "group"]
        for names in (carried, learnt, self.pack.schema.names) if self.protocol.attributes is None else (self.protocol.attributes,):
            if found := [a for a in labelled if a.name in names]:
                return found
        raise CannotMeasure("the data set has no attribute that could be looked for")

    def labels(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Labels of every attribute for some rows."""
        return {name: np.asarray(self.pack.labels[name])[rows] for name in self.pack.schema.names}

    def attributes(self) -> list[str]:
        """Attributes that have a part of their own and are in the data; the others are noted as left out."""
        wanted = [a.name for a in self.model.schema.attributes if a.kind != "group"]
        names = [name for name in wanted if name in self.codes and name in self.pack.schema.names]
        for name in set(wanted) - set(names):
            self.leave_out(name, "the method has no part of its own for it, or the data set no label")
        if not names:
            raise CannotMeasure(f"the method's parts are {shown(list(self.codes))}; none is an attribute of the data set")
        return names


def beside(codes: Codes, parts: Sequence[str]) -> Tensor:
    """Some parts `[batch, ...]` side by side, `[batch, numbers]`."""
    return torch.cat([codes[part].flatten(1) for part in parts], 1)
