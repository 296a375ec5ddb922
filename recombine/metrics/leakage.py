"""Leakage: what a fresh probe can read of every attribute from every part of the codes.

A part that should not carry an attribute leaks it where a probe, trained on codes of the training split, reads it from
codes of other images better than guessing does. A probe that is trained too little looks like perfect disentanglement,
so both kinds are trained to convergence, and how strongly they are held back is chosen on training codes kept aside:

- "linear": multinomial logistic regression; ridge regression for a continuous attribute;
- "two_layer": one hidden layer of 128 rectified units (`recombine.metrics.two_layer`), stopped where it no longer gets better on the codes kept aside;
- "both": in every cell the one of the two that was better on the codes kept aside.

A method's own adversary, at chance when training ends, shows nothing: a fresh one may still find everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.schema import Attribute
from recombine.messages import shown
from recombine.metrics.intervals import CONFIDENCE, Estimate, mean, share
from recombine.metrics.two_layer import Probes, Task, train_probes

Probe = Literal["linear", "two_layer", "both"]
Labels = Mapping[str, np.ndarray]

MOST = 1024                                 # features of a map that are probed as they are; larger maps are pooled first
POOLED = 4                                  # side that larger maps are pooled to, at most
FEWEST = 20                                 # labelled codes that a probe needs to learn from, and as many to be judged on
ASIDE = 0.2                                 # share of the training codes that choose between probes
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)   # C of the logistic regression: 1 / its L2 penalty
RIDGES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)  # L2 penalties of the ridge regression
DROPOUTS = (0.0, 0.5)                       # of the two-layer probe's inputs and hidden units: the first alone ...
WIDE = 32                                   # ... for fewer features than these


@dataclass(frozen=True)
class Reading:
    """What one probe reads of one attribute from one part, image by image, beside what guessing would say."""

    attribute: Attribute
    probe: str                              # which kind
    aside: float                            # its accuracy, or R^2, on the training codes kept aside
    truth: np.ndarray                       # [images] of the judged codes; the missing are `MISSING` or NaN
    seen: np.ndarray                        # [images]
    guess: float                            # the training codes' most frequent value, or their mean
    likely: np.ndarray | None = None        # [images, values] probabilities, of a linear probe of values
    prior: np.ndarray | None = None         # [values] their shares of the training codes
    @property
    def known(self) -> np.ndarray:
        """Which judged images have a label, bool `[pictures]`."""
        return self.attribute.known(self.truth)

    def above(self) -> np.ndarray:
        """Per labelled image: 1 where only the probe is right, -1 where only the guess is, else 0."""
        truth, seen = self.truth[self.known], self.seen[self.known]
        return (seen == truth).astype(float) - (truth == self.guess)

    def to_json(self) -> dict:
        """Plain values, each with n and interval.

        Returns:
            `probe`; for a binary or categorical attribute `accuracy`, `majority` (the share that always guessing the
            training codes' most frequent value gets right on the same images) and `above`, their difference; for a
            continuous one `r2`, the share of the variance that is explained, below 0 where the mean explains more.
        """
        truth, seen = self.truth[self.known], self.seen[self.known]
        if self.attribute.kind == "continuous":
            return {"probe": self.probe, "r2": _explained(truth, seen).to_json()}
        return {
            "probe": self.probe,
            "accuracy": share(seen == truth).to_json(),
            "majority": float(np.mean(truth == self.guess)),
            "above": mean(self.above()).to_json(),
        }


Matrix = dict[str, dict[str, Reading]]      # part -> attribute -> reading


def leakage(
    codes_train: Codes,
    labels_train: Labels,
    codes_test: Codes,
    labels_test: Labels,
    attributes: Sequence[Attribute],
    probe: Probe = "linear",
    seed: int = 0,
) -> Matrix:
    """Probe every part for every attribute.

    Args:
        codes_train: Codes that the probes learn from: those of the training split.
        labels_train: Attribute -> labels `[pictures]` of these; missing ones are `MISSING`, or NaN where continuous.
        codes_test: Codes that they are judged on, of other images.
        labels_test: Attribute -> labels of these.
        attributes: What is looked for. Groups are left out: a probe can only name values that it has seen.
        probe: Its kind, "linear", "two_layer" or "both".
        seed: Of the codes kept aside and of the two-layer probe.

    Returns:
        Part -> attribute -> reading; `matrix_json` makes plain values of it. An attribute with fewer than 20 labelled
        training codes, or fewer than 20 to judge on, is left out.

    Raises:
        ValueError: There is no such probe, or labels and codes are not equally many.

    Maps of more than 1,024 features are average-pooled to 4 x 4 first (a finer place than that is not looked for), and
    every feature is brought to mean 0 and deviation 1 over the training codes.
    """
    if probe not in ("linear", "two_layer", "both"):
        raise ValueError(f"no probe {probe!r}; there are linear, two_layer and both")
    for codes, labels in ((codes_train, labels_train), (codes_test, labels_test)):
        for a in attributes:
            if len(labels[a.name]) != codes.batch_size:
                raise ValueError(f"{len(labels[a.name])} labels of {a.name!r} for codes of {codes.batch_size} images")
    kinds = {"linear": [_linears], "two_layer": [_two_layers], "both": [_linears, _two_layers]}[probe]
    matrix: Matrix = {}
    for part in codes_train:
        train, test = features(codes_train[part], codes_test[part])
        order = np.random.default_rng(mix_seed(seed, part)).permutation(len(train))
        jobs = []
        for a in attributes:
            wanted, truth = np.asarray(labels_train[a.name]), np.asarray(labels_test[a.name])
            known = order[a.known(wanted)[order]]
            if a.kind != "group" and min(len(known), a.known(truth).sum()) >= FEWEST:
                aside, learnt = np.split(known, [round(ASIDE * len(known))])
                jobs.append(_Job(a, train, wanted, test, truth, learnt, aside))
        tries = [kind(jobs, mix_seed(seed, part)) for kind in kinds] if jobs else []
        best = (max(readings, key=lambda reading: reading.aside) for readings in zip(*tries, strict=True))
        matrix[part] = {job.attribute.name: reading for job, reading in zip(jobs, best, strict=False)}
    return matrix


def matrix_json(matrix: Matrix) -> dict[str, dict[str, dict]]:
    """Part -> attribute -> plain values of `Reading.to_json`."""
    return {part: {name: reading.to_json() for name, reading in row.items()} for part, row in matrix.items()}


def off_part(matrix: Matrix, own: Mapping[str, Collection[str]], samples: int = 1000, seed: int = 0) -> Estimate:
    """The headline: mean accuracy above guessing, over every part and attribute that the part should not carry.

    Args:
        matrix: What `leakage` found; all cells on the same judged images.
        own: Part -> attributes that it should carry; a part that is not named should carry none.
        samples: Bootstrap samples of the interval. Images are drawn, each with all its cells, since one image's
            readings are not independent. The probes stay as they are.
        seed: Of these samples.

    Returns:
        0 = nothing leaks, to 1. Continuous attributes are left out: R^2 and accuracy have no mean that means anything.
        `n` is the number of judged images that have any of the labels.

    Raises:
        ValueError: `own` names a part that is not there, or no cell is left.
    """
    strange = [part for part in own if part not in matrix]
    if strange:
        raise ValueError(f"no part {strange[0]!r} was probed; the parts are {shown(list(matrix))}")
    cells = [
        reading for part, row in matrix.items() for name, reading in row.items()
        if name not in own.get(part, ()) and reading.attribute.kind != "continuous"
    ]
    if not cells:
        raise ValueError("every attribute belongs to every part that was probed for it; there is nowhere to leak to")
    known = np.stack([cell.known for cell in cells], 1).astype(float)          # [images, cells]
    above = np.zeros_like(known)
    for column, cell in enumerate(cells):
        above[cell.known, column] = cell.above()
    drawn = np.random.default_rng(seed).multinomial(len(known), np.full(len(known), 1 / len(known)), samples)
    counts = drawn @ known                                                     # [samples, cells]
    means = np.where(counts > 0, drawn @ above / np.maximum(counts, 1), np.nan)
    low, high = np.quantile(np.nanmean(means, 1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    value = float((above.sum(0) / known.sum(0)).mean())
    return Estimate(value, float(low), float(high), int(known.any(1).sum()))


def features(train: Tensor, *others: Tensor) -> list[np.ndarray]:
    """Parts `[batch, ...]` as standardised float32 `[batch, features]`, by the mean and deviation of the first.

    Maps `[batch, channels, height, width]` of more than 1,024 features are average-pooled to at most 4 x 4.
    """
    flat = [reduced(part).double().numpy() for part in (train, *others)]
    middle, spread = flat[0].mean(0), flat[0].std(0)
    spread[spread == 0] = 1
    return [((part - middle) / spread).astype(np.float32) for part in flat]


def reduced(part: Tensor) -> Tensor:
    """A part as it is probed, `[batch, features]` on the CPU: maps of more than 1,024 features averaged to at most 4 x 4."""
    part = part.detach().cpu().float()
    if part.ndim == 4 and part[0].numel() > MOST:
        part = F.adaptive_avg_pool2d(part, (min(POOLED, part.shape[-2]), min(POOLED, part.shape[-1])))
    return part.flatten(1)


@dataclass(frozen=True)
class _Job:
    """Everything that a probe of one cell needs."""

    attribute: Attribute
    train: np.ndarray                       # [images, features] of all training codes
    wanted: np.ndarray                      # [images] their labels
    test: np.ndarray                        # [others, features]
    truth: np.ndarray                       # [others]
    learnt: np.ndarray                      # places of the training codes that are learnt from ...
    aside: np.ndarray                       # ... and of those kept aside; all of them have a label

    @property
    def numbers(self) -> bool:
        return self.attribute.kind == "continuous"

    @property
    def labels(self) -> np.ndarray:
        """All labels that there are."""
        return self.wanted[np.concatenate([self.learnt, self.aside])]

    @property
    def constant(self) -> bool:
        """Whether there is nothing to learn."""
        return len(np.unique(self.wanted[self.learnt])) == 1

    @property
    def values(self) -> int:
        return max(self.attribute.num_values, int(self.labels.max()) + 1)

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and deviation of numbers."""
        return float(self.labels.mean()), float(self.labels.std())

    def task(self) -> Task:
        """The same for a two-layer probe."""
        everyone = torch.arange(len(self.wanted))
        learnt, aside = (torch.isin(everyone, torch.from_numpy(side)) for side in (self.learnt, self.aside))
        if not self.numbers:
            return Task(torch.from_numpy(self.wanted).long(), learnt, aside, self.values)
        middle, spread = self.scale
        return Task(torch.from_numpy(np.nan_to_num((self.wanted - middle) / spread)).float(), learnt, aside, 1)

    def seen(self, read: Tensor) -> np.ndarray:
        """What a two-layer probe's outputs `[batch, outputs]` mean."""
        middle, spread = self.scale
        return read[:, 0].numpy() * spread + middle if self.numbers else read[:, : self.values].argmax(1).numpy()

    def score(self, seen: np.ndarray, truth: np.ndarray) -> float:
        return _r2(truth, seen) if self.numbers else float(np.mean(seen == truth))

    def reading(self, probe: str, aside: float, seen: np.ndarray) -> Reading:
        guess = self.labels.mean() if self.numbers else np.bincount(self.labels.astype(int)).argmax()
        prior = None if self.numbers else np.bincount(self.labels, minlength=self.attribute.num_values) / len(self.labels)
        return Reading(self.attribute, probe, aside, self.truth, seen, float(guess), prior=prior)


def _linears(jobs: Sequence[_Job], seed: int) -> list[Reading]:
    return [_constant(job, "linear") if job.constant else _linear(job) for job in jobs]


def _linear(job: _Job) -> Reading:
    """The penalty that is best on the codes kept aside, then fitted to all training codes."""
    from sklearn.linear_model import LogisticRegression, Ridge

    penalties = RIDGES if job.numbers else PENALTIES
    probes = [Ridge(alpha=p) if job.numbers else LogisticRegression(C=p, max_iter=500) for p in penalties]
    x, y, x_aside, y_aside = (column[side] for side in (job.learnt, job.aside) for column in (job.train, job.wanted))
    costs = [_cost(job, probe.fit(x, y), x_aside, y_aside) for probe in probes]
    best = int(np.argmin(costs))
    aside = job.score(np.asarray(probes[best].predict(x_aside)), y_aside)
    everything = np.concatenate([job.learnt, job.aside])
    probe = probes[best].fit(job.train[everything], job.wanted[everything])
    likely = None if job.numbers else _likely(job, probe, job.test)
    return replace(job.reading("linear", aside, probe.predict(job.test)), likely=likely)


def _cost(job: _Job, probe, codes: np.ndarray, wanted: np.ndarray) -> float:
    """Squared error or cross-entropy: a penalty that leaves a probe right by a hair would win by accuracy."""
    if job.numbers:
        return float(((probe.predict(codes) - wanted) ** 2).mean())
    return float(-np.log(_likely(job, probe, codes)[np.arange(len(wanted)), wanted].clip(1e-12)).mean())


def _likely(job: _Job, probe, codes: np.ndarray) -> np.ndarray:
    """Probabilities `[pictures, values]`, 0 for values that no training code has."""
    found = np.zeros((len(codes), job.values))
    found[:, probe.classes_] = probe.predict_proba(codes)
    return found


def _two_layers(jobs: Sequence[_Job], seed: int) -> list[Reading]:
    """For every cell of one part the dropout and the epoch that are best on the codes kept aside."""
    found: dict[int, Reading] = {}
    for numbers in (False, True):
        places = [i for i, job in enumerate(jobs) if job.numbers == numbers and not job.constant]
        if places:
            chosen = [jobs[i] for i in places]
            codes, tasks = torch.from_numpy(jobs[0].train), [job.task() for job in chosen]
            shares = DROPOUTS if codes.shape[1] >= WIDE else DROPOUTS[:1]
            tries = [_read(chosen, train_probes(codes, tasks, share, seed)) for share in shares]
            best = (max(readings, key=lambda reading: reading.aside) for readings in zip(*tries, strict=True))
            found.update(zip(places, best, strict=True))
    return [found[i] if i in found else _constant(job, "two_layer") for i, job in enumerate(jobs)]


def _read(jobs: Sequence[_Job], probes: Probes) -> list[Reading]:
    """What trained probes read of their cells."""
    with torch.no_grad():
        aside, test = (probes(torch.from_numpy(codes)) for codes in (jobs[0].train, jobs[0].test))
    readings = []
    for job, kept_aside, judged in zip(jobs, aside, test, strict=True):
        seen = job.seen(kept_aside)[job.aside]
        readings.append(job.reading("two_layer", job.score(seen, job.wanted[job.aside]), job.seen(judged)))
    return readings


def _constant(job: _Job, probe: str) -> Reading:
    value, y = job.wanted[job.learnt[0]], job.wanted[job.aside]
    return job.reading(probe, job.score(np.full(len(y), value), y), np.full(len(job.test), value))


def _r2(truth: np.ndarray, seen: np.ndarray) -> float:
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - seen) ** 2).sum()) / total if total else 0.0


def _explained(truth: np.ndarray, seen: np.ndarray, samples: int = 1000) -> Estimate:
    """R^2 with its bootstrap interval over images."""
    chance = np.random.default_rng(0)
    draws = (chance.integers(0, len(truth), len(truth)) for _ in range(samples))
    low, high = np.quantile([_r2(truth[d], seen[d]) for d in draws], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(_r2(truth, seen), float(low), float(high), len(truth))
