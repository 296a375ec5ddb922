"""The monitor of a training: whether edits work, and what is likely wrong where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recombine.codes import Codes
from recombine.data.image_files import grid, save_images
from recombine.data.packed import Pack
from recombine.data.schema import MISSING
from recombine.edit import swap
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.transfer import edit_shares, seen_in_rows, sensitivity
from recombine.inference import device_of
from recombine.messages import shown
from recombine.method import Method
from recombine.metrics.intervals import pooled
from recombine.training.recipe import TrainConfig

NOISE = 0.05                                # of a score at least: also where edits are many, trainings go up and down


class EditMonitor:
    """Measures edits on images of `val`, or `train` where there are none, and shows the same few every time.

    Without an independent classifier, the success of edits is not measured. Measured are at most `images`, and as many
    fewer, down to those `shown`, as keep an evaluation within about `made` decoded images: three of every image and
    attribute that is edited, which are all of the pack's unless `attributes` are the model's.
    """

    def __init__(
        self, pack: Pack, classifier: Classifier | None, images: int = 128, shown: int = 8, made: int = 2_000,
        attributes: Sequence[str] = (),
    ):  # fmt: skip
        rows = pack.rows("val")
        rows = rows if len(rows) else pack.rows("train")
        self.pack, self.classifier = pack, classifier
        count = min(images, max(shown, made // (2 + 3 * len(attributes or pack.schema.names))))
        self.rows = np.random.default_rng(0).permutation(rows)[:count]
        self.shown = self.rows[:shown]
        self.before: np.ndarray | None = None  # what the classifier sees in these images, from the first evaluation on

    def __call__(self, model: Method, path: Path) -> dict[str, float]:
        """Measures by their keys in `evaluation.measures`, those of edits by attribute; the grid goes to `path`."""
        images = self.pack.batch(self.rows).images.to(device_of(model))
        codes = model.encode(images)
        reconstructed = model.decode(codes)
        measures = {"mse": ((reconstructed - images) / 2).square().mean().item()}
        own = [a.name for a in model.schema.attributes if a.kind in ("binary", "categorical") and a.name in codes]
        if moved := sensitivity(model, self.pack, self.rows, attributes=own, codes=codes):
            measures["sensitivity"] = pooled(list(moved.values())).value
        if self.classifier is not None:
            if self.before is None:
                self.before = seen_in_rows(self.classifier, self.pack, self.rows)
            measures |= edit_shares(model, self.pack, self.rows, self.classifier, before=self.before, codes=codes)
        path.parent.mkdir(parents=True, exist_ok=True)
        first = slice(len(self.shown))
        save_images(self.examples(model, images[first], codes[first], reconstructed[first]), path)
        return measures

    def examples(self, model: Method, images: Tensor, codes: Codes, reconstructed: Tensor) -> Tensor:
        """Images, reconstructions, then for every attribute its swap with the next image that differs.

        A method without attributes shows every part's swap with the next image.
        """
        rows = [images, reconstructed]
        labelled = [name for name in codes if name in self.pack.schema.names]
        for name in labelled or codes:
            labels = self.pack.labels[name][self.shown] if labelled else np.arange(len(images))
            sources = torch.tensor([next_that_differs(labels, i) for i in range(len(labels))], device=codes.device)
            rows.append(model.decode(swap(codes, codes[sources], name)[0]))
        return grid(torch.cat(rows).cpu(), columns=len(images))


def affordable(train: TrainConfig) -> int:
    """Images that an evaluation may decode: a tenth of those that are seen between two of them.

    A decoded and classified image costs at most half of one that is trained on, which passes encoder and decoder
    forwards and backwards, so evaluations take at most 5 % of the training's time.
    """
    return min(train.evaluate_every, train.images) // 10


class Score(NamedTuple):
    """How good the edits of an evaluation are."""

    images: int                             # seen
    value: float                            # 1 at best
    noise: float = NOISE                    # by which it may be off

    def reaches(self, other: Score) -> bool:
        """Whether it is as good as another but for noise."""
        return self.value >= other.value - max(self.noise, other.noise)


def score(measures: Mapping[str, float], images: int) -> Score | None:
    """The score of an evaluation after some images; None where edits were not judged.

    It is the share of edits that succeed times the share of other attributes that they preserve, which is 1 where there
    are none, less the root-mean-square error of reconstructions: an error of .1 of the range of pixels counts as much
    as .1 of either share. So neither an editor that changes nothing is good, nor one that loses the image. Its noise is
    half of the 95 % interval of success, and `NOISE` at least.
    """
    success = measures.get("edit_success/all")
    if success is None:
        return None
    value = success * measures.get("edit_kept/all", 1.0) - measures.get("mse", 0.0) ** 0.5
    return Score(images, value, max(NOISE, measures.get("edit_noise", 0.0)))


def last_rise(scores: Sequence[Score]) -> Score:
    """The latest score that was better beyond noise than the one that was so before it; the first one is."""
    rise = scores[0]
    for found in scores:
        rise = rise if rise.reaches(found) else found
    return rise


def next_that_differs(labels: np.ndarray, start: int) -> int:
    """The first position after `start`, going round, with another known label; `start` itself where there is none."""
    after = [(start + step) % len(labels) for step in range(1, len(labels))]
    return next((i for i in after if MISSING != labels[i] != labels[start]), start)


def diagnose(measures: Mapping[str, float], fraction: float, hints: Sequence[str] = ()) -> dict[str, str]:
    """Likely causes, name -> sentence, of what the measures show after a fraction of the training's last phase.

    "The attribute does not change" is the field's most common failure, and falling losses hide it.
    """
    found = {}
    success, moved = measures.get("edit_success/all"), measures.get("sensitivity")
    if moved is not None and moved < 0.002 and fraction >= 0.1:
        found["decoder ignores the labels"] = (
            f"changing a label moves pixels by {moved:.4f} of their range; the decoder reads everything from the rest "
            f"of the code: raise the weight of what keeps labels out of it{f': {shown(tuple(hints))}' if hints else ''}"
        )
    elif success is not None and success < 0.3 and fraction >= 0.5:
        found["edits fail"] = (
            f"{success:.0%} of edits show the wanted value; look at the newest image in grids/: train longer, check "
            "that the labels belong to the images, or raise the weight of what makes the decoder use them"
        )
    if measures.get("critic_accuracy", 0.5) > 0.98 and fraction >= 0.1:
        found["critic wins"] = (
            f"the critic is right on {measures['critic_accuracy']:.0%} of images, and its gradient carries nothing: "
            "lower its learning rate or the weight of the adversarial loss"
        )
    return found
