"""Images encoded, edited and decoded: how near to the truth, how often the edit shows, how real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recombine import inference
from recombine.data.batch import mix_seed
from recombine.data.synthetic.truth import factors_behind, render_all
from recombine.edit import swap
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier, accuracies, feature_extractor
from recombine.evaluation.context import CannotMeasure, EvaluationContext
from recombine.evaluation.judgement import (
    ClassifierReport,
    Edits,
    PartSwaps,
    Realism,
    Reconstruction,
    TrueEdits,
    Truth,
    structured,
)
from recombine.evaluation.part_swaps import Carried, part_swaps
from recombine.metrics.intervals import Estimate, mean
from recombine.metrics.realism import FEWEST, Extractor, extract, frechet_distance, kernel_distance
from recombine.metrics.reconstruction import mse, psnr, ssim

LPIPS = (
    "it needs a network with published weights, which the package does not bring (torchmetrics' wants torchvision and "
    "a download); where you have one, give perceptual=, a function of two batches of images in [-1, 1]"
)


def reconstruction(context: EvaluationContext) -> Reconstruction:
    """MSE on [0, 1], PSNR in dB, SSIM and, where a network is given, LPIPS of images encoded and decoded."""
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "psnr": psnr, "ssim": ssim}
    if min(context.pack.schema.image_size) < 11:
        del measures["ssim"]
        context.leave_out("ssim", "its window of 11 pixels is larger than the images")
    if context.perceptual is None:
        context.leave_out("lpips", LPIPS)
    else:
        measures["lpips"] = context.perceptual
    values: dict[str, list] = {name: [] for name in measures}
    with inference.evaluation_mode(context.model):
        for images, made in zip(images_of(context, context.rows), context.reconstructions(), strict=True):
            for name, measure in measures.items():
                values[name].append(measure(made, images.to(made)).reshape(-1).cpu())
    return Reconstruction(**{name: mean(torch.cat(parts).numpy()) for name, parts in values.items()})


def sensitivity(context: EvaluationContext) -> dict[str, Estimate]:
    """How much the decoder uses each label, on at most 100 images."""
    return transfer.sensitivity(
        context.model, context.pack, context.rows[:100], attributes=context.attributes(), seed=context.seed,
        chunk=context.chunk, codes=context.codes[:100],
    )  # fmt: skip


def classifier(context: EvaluationContext) -> ClassifierReport:
    """The classifier's own accuracy on the judged images."""
    found = accuracies(context.classifier, context.pack, context.rows)
    return structured(ClassifierReport, {**context.classifier.info, "attributes": found})


def edits(context: EvaluationContext) -> Edits:
    """Success and what is preserved of label edits."""
    return _transfers(context, transfer.label_edits)


def swaps(context: EvaluationContext) -> Edits:
    """Success and what is preserved of swaps of attributes that have a part of their own."""
    return _transfers(context, transfer.swaps)


def _transfers(context: EvaluationContext, kind: Callable[..., transfer.Verdicts]) -> Edits:
    names = [name for name in context.attributes() if name in context.classifier.names]
    if not names:
        raise CannotMeasure("no attribute of the method is read by the classifier")
    verdicts = kind(
        context.model, context.pack, context.rows, context.classifier, attributes=names, seed=context.seed,
        chunk=context.chunk, originals=context.originals,
    )  # fmt: skip
    if not len(verdicts):
        raise CannotMeasure("no judged image has a label that could be changed")
    verdicts = replace(verdicts, goes_with=context.goes_with)
    each = transfer.by_attribute(verdicts, context.pack.schema)
    return Edits(transfer.scores(verdicts), each, transfer.preserved_of(verdicts))


def truth(context: EvaluationContext) -> Truth:
    """Label edits and swaps against what they should have become."""
    if context.render is None:
        raise CannotMeasure("the true result of an edit is known only where the images are drawn, not photographed")
    found, schema = {}, context.pack.schema
    for name, edits in _true_edits(context).items():
        values = [transfer.value_of(schema[edit.attribute], edit.wanted) for edit in edits]
        jobs = [(int(context.rows[e.place]), e.attribute, value) for e, value in zip(edits, values, strict=True)]
        truths = render_all(context.render, jobs, context.workers)
        known = [(edit, truth) for edit, truth in zip(edits, truths, strict=True) if truth is not None]
        if known:
            found[name] = _against_truth(context, *map(list, zip(*known, strict=True)))
    if not found:
        raise CannotMeasure("no edit of these attributes has an image that it should have become")
    return Truth(**found)


def _against_truth(context: EvaluationContext, edits: list[transfer.Edit], truths: list[np.ndarray]) -> TrueEdits:
    model, rows = context.model, context.rows
    near = transfer.against_truth(model, context.pack, rows, edits, truths, context.chunk, context.codes)
    try:
        names = context.classifier.names
    except CannotMeasure:
        names = ()
    readable = [i for i, edit in enumerate(edits) if edit.attribute in names]
    if not readable:
        return TrueEdits(near)
    verdicts = transfer.unedited(context.originals, tuple(edits[i] for i in readable), context.goes_with)
    perfect = transfer.seen_in_truth(verdicts, context.classifier, [truths[i] for i in readable], context.chunk)
    return TrueEdits(near, transfer.scores(perfect))


def _true_edits(context: EvaluationContext) -> dict[str, list[transfer.Edit]]:
    """About `truths` label edits and as many swaps, equally many of each attribute."""
    names = context.attributes()
    per_attribute = max(1, context.truths // len(names))
    kinds: dict[str, list[transfer.Edit]] = {"edits": [], "swaps": []}
    for name in names:
        pairs = transfer.swap_pairs(context.pack, context.rows, name, context.seed)
        rng = np.random.default_rng(mix_seed(context.seed, "truth", name))
        chosen = [pairs[i] for i in sorted(rng.permutation(len(pairs))[:per_attribute])]
        kinds["swaps"] += chosen
        kinds["edits"] += [transfer.Edit(edit.place, name, edit.wanted) for edit in chosen]
    return {kind: edits for kind, edits in kinds.items() if edits}


def parts(context: EvaluationContext) -> PartSwaps:
    """Swaps of whole parts: does all that they carry follow, is the rest preserved, and how near is the true image?"""
    carries = {part: _carried(context, names) for part, names in context.roles.items() if names}
    carries = {part: carried for part, carried in carries.items() if carried.judged}
    if not carries:
        raise CannotMeasure("no part is meant to carry an attribute that the classifier reads")
    draw = None if context.swapped is None else partial(render_all, context.swapped, workers=context.workers)
    found = part_swaps(
        context.model, context.pack, context.rows, context.classifier, carries, draw, context.seed, context.chunk,
        truths=max(1, context.truths // len(carries)), originals=context.originals,
    )  # fmt: skip
    if not found.parts:
        raise CannotMeasure("no judged image differs from another in what a part carries")
    return found


def _carried(context: EvaluationContext, names: Sequence[str]) -> Carried:
    """What comes with a part that carries these attributes; one with a part of its own besides is not judged here."""
    judged = tuple(n for n in names if n in context.classifier.names and (len(names) == 1 or n not in context.codes))
    along = [other for name in names for other in context.goes_with.get(name, ()) if other not in names]
    moved = factors_behind(context.pack, names) if context.swapped is not None else ()
    return Carried(judged, moved, tuple(dict.fromkeys([*names, *along])))


def realism(context: EvaluationContext) -> Realism:
    """Frechet and kernel distance of reconstructions and of swaps from the judged images, as many on both sides.

    `real` is that of as many training images: what is left between two sets of real ones. In `swaps` every image has
    one part, drawn, from another image, drawn.
    """
    extractor = extractor_of(context)
    if len(context.rows) < FEWEST:
        needs = f"distances between sets of images need {FEWEST} images"
        raise CannotMeasure(f"{needs}, and {len(context.rows)} are judged")
    sets: dict = {}
    with inference.evaluation_mode(context.model):
        real = features_of(context, context.rows)
        made = {name: extract(extractor, images) for name, images in _made_sets(context).items()}
        others = np.setdiff1d(context.pack.rows("train"), context.rows)
        if len(others) >= len(context.rows):
            chosen = np.random.default_rng(mix_seed(context.seed, "real")).permutation(others)[: len(context.rows)]
            made["real"] = features_of(context, np.sort(chosen))
        for name, features in made.items():
            sets[name] = {"kid": kernel_distance(real, features, extractor.name, seed=context.seed)}
            try:
                sets[name]["frechet"] = frechet_distance(real, features, extractor.name, seed=context.seed)
            except ValueError as reason:
                context.leave_out("frechet", reason)
    return structured(Realism, {"extractor": extractor.name, **sets})


def extractor_of(context: EvaluationContext) -> Extractor:
    """The feature extractor that was given, or the classifier's own features."""
    if context.extractor is not None:
        return context.extractor
    if not isinstance(context.classifier, Classifier):
        raise CannotMeasure("the classifier that was given has no features to look at; give an extractor, too")
    return feature_extractor(context.classifier)


def features_of(context: EvaluationContext, rows: np.ndarray) -> np.ndarray:
    """Features `[rows, features]` of images of the pack, each taken once."""
    missing = np.array([row for row in dict.fromkeys(rows.tolist()) if row not in context.features], dtype=np.int64)
    if len(missing):
        found = extract(extractor_of(context), images_of(context, missing))
        context.features.update(zip(missing.tolist(), found, strict=True))
    return np.stack([context.features[row] for row in rows.tolist()])


def _made_sets(context: EvaluationContext) -> dict[str, Iterator[Tensor]]:
    sets = {"reconstructions": context.reconstructions()}
    swappable = [part for part, names in context.roles.items() if names] or list(context.codes)
    if len(context.codes) > 1:
        sets["swaps"] = _any_swaps(context, swappable)
    else:
        context.leave_out("realism of swaps", "the codes have a single part, so a swap is the other image")
    return sets


def _any_swaps(context: EvaluationContext, names: Sequence[str]) -> Iterator[Tensor]:
    """Every judged image once, with one part of another one."""
    rng, count = np.random.default_rng(mix_seed(context.seed, "any swap")), len(context.rows)
    sources = (np.arange(count) + rng.integers(1, count, count)) % count
    part = rng.integers(0, len(names), count)
    for place, name in enumerate(names):
        targets = torch.from_numpy(np.flatnonzero(part == place))
        swapped, _ = swap(context.codes[targets], context.codes[torch.from_numpy(sources)[targets]], name)
        yield from inference.decode_chunks(context.model, swapped, context.chunk)


def images_of(context: EvaluationContext, rows: np.ndarray) -> Iterator[Tensor]:
    """Images of some rows, a chunk at a time."""
    for start in range(0, len(rows), context.chunk):
        yield context.pack.batch(rows[start : start + context.chunk]).images
