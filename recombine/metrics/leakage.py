"""Leakage: what a fresh probe can read of every attribute from every part of the codes.

A part that should not carry an attribute leaks it where a probe, trained on codes of the training split, reads it from
codes of other images better than guessing does. A probe that is trained too little looks like perfect disentanglement,
so both kinds are trained to convergence, and their regularisation is chosen on validation codes, a fifth of the
training codes:

- "linear": multinomial logistic regression; ridge regression for a continuous attribute;
- "two_layer": one hidden layer of 128 rectified units (`recombine.metrics.probes`), stopped where it no longer gets
  better on the validation codes;
- "both": in every cell the one of the two that was better on the validation codes.

A method's own adversary, at chance when training ends, shows nothing: a fresh one may still find everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.schema import Attribute
from recombine.messages import shown
from recombine.metrics.intervals import Estimate, bootstrap, bootstrap_counts, mean, percentiles, share
from recombine.metrics.probes import Probes, Task, features, train_probes
from recombine.processes import spread

Probe = Literal["linear", "two_layer", "both"]
Labels = Mapping[str, np.ndarray]

FEW = 30                                    # probes that are trained sooner than a process starts
FEWEST = 20                                 # labelled codes that a probe needs to train on, and as many to be judged on
VAL_SHARE = 0.2                             # of the training codes, that choose between probes
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)   # C of the logistic regression: 1 / its L2 penalty
RIDGES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)  # L2 penalties of the ridge regression
DROPOUTS = (0.0, 0.5)                       # of the two-layer probe's inputs and hidden units: the first alone ...
WIDE = 32                                   # ... for fewer features than these


@dataclass(frozen=True)
class Reading:
    """What one probe reads of one attribute from one part, image by image, beside what guessing gives."""

    attribute: Attribute
    probe: str                              # which kind
    val_score: float                        # its accuracy, or R^2, on the validation codes
    target: Num[np.ndarray, " images"]      # labels of the judged codes; the missing are `MISSING` or NaN
    pred: Num[np.ndarray, " images"]
    guess: float                            # the training codes' most frequent value, or their mean
    probabilities: Float[np.ndarray, "images values"] | None = None  # of a linear probe of values
    prior: Float[np.ndarray, " values"] | None = None  # shares of the values in the training codes

    @property
    def known(self) -> np.ndarray:
        """Which judged images have a label, bool `[images]`."""
        return self.attribute.known(self.target)

    def above(self) -> np.ndarray:
        """Per labelled image: 1 where only the probe is right, -1 where only the guess is, else 0."""
        target, pred = self.target[self.known], self.pred[self.known]
        return (pred == target).astype(float) - (target == self.guess)

    def to_json(self) -> dict:
        """Plain values, each with n and interval.

        Returns:
            `probe`; for a binary or categorical attribute `accuracy`, `majority` (the share that always guessing the
            training codes' most frequent value gets right on the same images) and `above`, their difference; for a
            continuous one `r2`, the share of the variance that is explained, below 0 where the mean explains more.
        """
        target, pred = self.target[self.known], self.pred[self.known]
        if self.attribute.kind == "continuous":
            ends = bootstrap(lambda rows: r2(target[rows], pred[rows]), len(target))
            return {"probe": self.probe, "r2": Estimate(r2(target, pred), *ends, len(target)).to_json()}
        return {
            "probe": self.probe,
            "accuracy": share(pred == target).to_json(),
            "majority": float(np.mean(target == self.guess)),
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
    workers: int | None = 1,
) -> Matrix:
    """Probe every part for every attribute, trained on codes of the training split and judged on those of other images.

    Labels are attribute -> `[images]`, with `MISSING`, or NaN where continuous, for those that are not there. Maps of
    more than 1,024 features are average-pooled to 4 x 4 first (finer places are not probed), and every feature is
    brought to mean 0 and deviation 1 over the training codes. Many probes are trained in `workers` processes, one per
    core when None.

    Returns:
        Part -> attribute -> reading; `matrix_json` makes plain values of it. Left out are groups, since a probe can
        only name values that it was trained on, and attributes with fewer than 20 labelled codes on either side.

    Raises:
        ValueError: There is no such probe, or labels and codes are not equally many.

    Example:
        >>> lamp = np.arange(100) % 2
        >>> codes = Codes(part=torch.tensor(lamp)[:, None].float())
        >>> found = leakage(codes, {"lamp": lamp}, codes, {"lamp": lamp}, [Attribute("lamp", "binary", ("0", "1"))])
        >>> found["part"]["lamp"].to_json()["accuracy"]["value"]
        1.0
    """
    if probe not in ("linear", "two_layer", "both"):
        raise ValueError(f"no probe {probe!r}; there are linear, two_layer and both")
    for codes, labels in ((codes_train, labels_train), (codes_test, labels_test)):
        for a in attributes:
            if len(labels[a.name]) != codes.batch_size:
                raise ValueError(f"{len(labels[a.name])} labels of {a.name!r} for codes of {codes.batch_size} images")
    read = partial(_readings_of, labels_train=labels_train, labels_test=labels_test, attributes=attributes, probe=probe)
    jobs = [(*features(codes_train[part], codes_test[part]), mix_seed(seed, part)) for part in codes_train]
    rows = spread(read, jobs, workers, few=max(1, FEW // max(1, len(attributes))))
    return dict(zip(codes_train, rows, strict=True))


def _readings_of(
    train: np.ndarray, test: np.ndarray, seed: int, labels_train: Labels, labels_test: Labels,
    attributes: Sequence[Attribute], probe: Probe,
) -> dict[str, Reading]:  # fmt: skip
    """The readings of one part, of features `[images, features]`."""
    order = np.random.default_rng(seed).permutation(len(train))
    cells = []
    for a in attributes:
        target, test_target = np.asarray(labels_train[a.name]), np.asarray(labels_test[a.name])
        known = order[a.known(target)[order]]
        if a.kind != "group" and min(len(known), a.known(test_target).sum()) >= FEWEST:
            val_rows, train_rows = np.split(known, [round(VAL_SHARE * len(known))])
            cells.append(_Cell(a, train, target, train_rows, val_rows, test, test_target))
    tries = [[_linear(cell) for cell in cells]] if probe != "two_layer" else []
    if probe != "linear" and cells:
        tries.append(_two_layers(cells, seed))
    return {reading.attribute.name: reading for reading in _best(tries)}


def matrix_json(matrix: Matrix) -> dict[str, dict[str, dict]]:
    """Part -> attribute -> plain values of `Reading.to_json`.

    Example:
        >>> lamp, labels = Attribute("lamp", "binary", ("0", "1")), np.array([0, 1])
        >>> reading = Reading(lamp, "linear", 1.0, labels, labels, 0.0)
        >>> matrix_json({"part": {"lamp": reading}})["part"]["lamp"]["majority"]
        0.5
    """
    return {part: {name: reading.to_json() for name, reading in row.items()} for part, row in matrix.items()}


def off_part(matrix: Matrix, own: Mapping[str, Collection[str]], samples: int = 1000, seed: int = 0) -> Estimate:
    """The headline: mean accuracy above guessing, over every part and attribute that the part should not carry.

    `own` is part -> attributes that it should carry, none where it is not named. The interval is that of a bootstrap of
    images, each with all its cells, since one image's readings are not independent; the probes stay as they are.

    Returns:
        0 = nothing leaks, to 1. Continuous attributes are left out: R^2 and accuracy have no mean that means anything.
        `n` is the number of judged images that have any of the labels.

    Raises:
        ValueError: `own` names a part that is not there, or no cell is left.

    Example:
        >>> lamp, labels = Attribute("lamp", "binary", ("0", "1")), np.array([0, 1])
        >>> perfect, guessed = (Reading(lamp, "linear", 1.0, labels, pred, 0.0) for pred in (labels, np.zeros(2)))
        >>> matrix = {"lamp": {"lamp": perfect}, "rest": {"lamp": perfect}, "pose": {"lamp": guessed}}
        >>> off_part(matrix, {"lamp": ["lamp"]}).value
        0.25
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
    weights = bootstrap_counts(len(known), samples, seed)
    counts = weights @ known                                                     # [samples, cells]
    means = np.where(counts > 0, weights @ above / np.maximum(counts, 1), np.nan)
    value = float((above.sum(0) / known.sum(0)).mean())
    return Estimate(value, *percentiles(np.nanmean(means, 1)), int(known.any(1).sum()))


def r2(target: Num[np.ndarray, " images"], pred: Num[np.ndarray, " images"]) -> float:
    """The share of the variance of `target` that `pred` explains; 0 where there is none.

    `sklearn.metrics.r2_score` is 1 for a constant that is met, and its last digits differ in float32.

    Example:
        >>> r2(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]))
        0.5
    """
    total = float(((target - target.mean()) ** 2).sum())
    return 1 - float(((target - pred) ** 2).sum()) / total if total else 0.0


@dataclass(frozen=True)
class _Cell:
    attribute: Attribute
    codes: np.ndarray                       # [images, features] of all training codes
    target: np.ndarray                      # [images] their labels
    train: np.ndarray                       # rows of the training codes to train on ...
    val: np.ndarray                         # ... and to choose by; all of them have a label
    test_codes: np.ndarray                  # [others, features]
    test_target: np.ndarray                 # [others]

    @property
    def continuous(self) -> bool:
        return self.attribute.kind == "continuous"

    @property
    def rows(self) -> np.ndarray:           # of all training codes with a label
        return np.concatenate([self.train, self.val])

    @property
    def constant(self) -> bool:             # nothing to train on
        return len(np.unique(self.target[self.train])) == 1

    @property
    def values(self) -> int:
        return max(self.attribute.num_values, int(self.target[self.rows].max()) + 1)

    @property
    def scale(self) -> tuple[float, float]:  # mean and deviation of a continuous attribute
        labels = self.target[self.rows]
        return float(labels.mean()), float(labels.std())

    def task(self) -> Task:
        places = torch.arange(len(self.target))
        train, val = (torch.isin(places, torch.from_numpy(rows)) for rows in (self.train, self.val))
        if not self.continuous:
            return Task(torch.from_numpy(self.target).long(), train, val, self.values)
        middle, spread = self.scale
        return Task(torch.from_numpy(np.nan_to_num((self.target - middle) / spread)).float(), train, val, 1)

    def predictions(self, outputs: Tensor) -> np.ndarray:
        if not self.continuous:
            return outputs[:, : self.values].argmax(1).numpy()
        middle, spread = self.scale
        return outputs[:, 0].numpy() * spread + middle

    def score(self, pred: np.ndarray, target: np.ndarray) -> float:
        return r2(target, pred) if self.continuous else float(np.mean(pred == target))

    def reading(
        self, probe: str, val_score: float, pred: np.ndarray, probabilities: np.ndarray | None = None
    ) -> Reading:
        labels = self.target[self.rows]
        guess = labels.mean() if self.continuous else np.bincount(labels.astype(int)).argmax()
        prior = None if self.continuous else np.bincount(labels, minlength=self.attribute.num_values) / len(labels)
        return Reading(self.attribute, probe, val_score, self.test_target, pred, float(guess), probabilities, prior)


def _best(tries: Sequence[Sequence[Reading]]) -> list[Reading]:
    return [max(readings, key=lambda reading: reading.val_score) for readings in zip(*tries, strict=True)]


def _linear(cell: _Cell) -> Reading:
    """The penalty that is best on the validation codes, then fitted to all training codes."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if cell.constant:
        return _constant(cell, "linear")
    penalties = RIDGES if cell.continuous else PENALTIES
    probes = [Ridge(alpha=p) if cell.continuous else LogisticRegression(C=p, max_iter=500) for p in penalties]
    codes, target = cell.codes[cell.train], cell.target[cell.train]
    best = probes[int(np.argmin([_val_loss(cell, probe.fit(codes, target)) for probe in probes]))]
    val_score = cell.score(np.asarray(best.predict(cell.codes[cell.val])), cell.target[cell.val])
    best.fit(cell.codes[cell.rows], cell.target[cell.rows])
    probabilities = None if cell.continuous else _probabilities(cell, best, cell.test_codes)
    return cell.reading("linear", val_score, np.asarray(best.predict(cell.test_codes)), probabilities)


def _val_loss(cell: _Cell, probe) -> float:
    """Squared error or cross-entropy: a penalty that leaves a probe right by a hair would win by accuracy."""
    codes, target = cell.codes[cell.val], cell.target[cell.val]
    if cell.continuous:
        return float(((probe.predict(codes) - target) ** 2).mean())
    return float(-np.log(_probabilities(cell, probe, codes)[np.arange(len(target)), target].clip(1e-12)).mean())


def _probabilities(cell: _Cell, probe, codes: np.ndarray) -> np.ndarray:
    """Of every value, `[images, values]`; 0 for values that no training code has."""
    found = np.zeros((len(codes), cell.values))
    found[:, probe.classes_] = probe.predict_proba(codes)
    return found


def _two_layers(cells: Sequence[_Cell], seed: int) -> list[Reading]:
    """For every cell of one part the dropout and the epoch that are best on the validation codes."""
    found: dict[int, Reading] = {}
    for continuous in (False, True):
        places = [i for i, cell in enumerate(cells) if cell.continuous == continuous and not cell.constant]
        if places:
            chosen = [cells[i] for i in places]
            codes, tasks = torch.from_numpy(cells[0].codes), [cell.task() for cell in chosen]
            dropouts = DROPOUTS if codes.shape[1] >= WIDE else DROPOUTS[:1]
            tries = [_readings(chosen, train_probes(codes, tasks, dropout, seed)) for dropout in dropouts]
            found.update(zip(places, _best(tries), strict=True))
    return [found[i] if i in found else _constant(cell, "two_layer") for i, cell in enumerate(cells)]


def _readings(cells: Sequence[_Cell], probes: Probes) -> list[Reading]:
    with torch.no_grad():
        on_train, on_test = (probes(torch.from_numpy(codes)) for codes in (cells[0].codes, cells[0].test_codes))
    readings = []
    for cell, train_outputs, test_outputs in zip(cells, on_train, on_test, strict=True):
        val_score = cell.score(cell.predictions(train_outputs)[cell.val], cell.target[cell.val])
        readings.append(cell.reading("two_layer", val_score, cell.predictions(test_outputs)))
    return readings


def _constant(cell: _Cell, probe: str) -> Reading:
    value, target = cell.target[cell.train[0]], cell.target[cell.val]
    return cell.reading(probe, cell.score(np.full(len(target), value), target), np.full(len(cell.test_codes), value))
