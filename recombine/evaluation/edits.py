"""Pictures taken apart, changed and put together again: how near, how obedient, how real."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from recombine import inference
from recombine.data.batch import mix_seed
from recombine.data.synthetic.truth import drawn, factors_behind
from recombine.edit import swap
from recombine.evaluation import transfer
from recombine.evaluation.classifier import Classifier, accuracies
from recombine.evaluation.context import CannotMeasure, Desk
from recombine.evaluation.part_swaps import Carried, part_swaps
from recombine.metrics.intervals import mean
from recombine.metrics.realism import FEWEST, Extractor, extract, frechet_distance, judge_extractor, kernel_distance
from recombine.metrics.reconstruction import mse, psnr, ssim

LPIPS = (
    "it needs a network with published weights, which the package does not bring (torchmetrics' wants torchvision and a "
    "download); where you have one, give perceptual=, a function of two batches of pictures in [-1, 1]"
)


def reconstruction(desk: Desk) -> dict:
    """MSE on [0, 1], PSNR in dB, SSIM and, where a network is given, LPIPS of pictures encoded and decoded."""
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "psnr": psnr, "ssim": ssim}
    if min(desk.pack.schema.image_size) < 11:
        del measures["ssim"]
        desk.leave_out("ssim", "its window of 11 pixels is larger than the pictures")
    if desk.perceptual is None:
        desk.leave_out("lpips", LPIPS)
    else:
        measures["lpips"] = desk.perceptual
    values: dict[str, list] = {name: [] for name in measures}
    with inference.judging(desk.model):
        again = inference.decoded(desk.model, desk.codes, desk.chunk)
        for images, made in zip(pictures(desk, desk.rows), again, strict=True):
            for name, measure in measures.items():
                values[name].append(measure(made, images.to(made)).reshape(-1).cpu())
    return {name: mean(torch.cat(parts).numpy()).to_json() for name, parts in values.items()}


def sensitivity(desk: Desk) -> dict:
    """How much the decoder listens to each label, on at most 100 pictures."""
    names = desk.attributes()
    return transfer.sensitivity(
        desk.model, desk.pack, desk.rows[:100], attributes=names, seed=desk.seed, chunk=desk.chunk, codes=desk.codes[:100]
    )


def classifier(desk: Desk) -> dict:
    """The classifier's own accuracy on the judged pictures."""
    return {**desk.classifier.info, "attributes": accuracies(desk.classifier, desk.pack, desk.rows)}


def edits(desk: Desk) -> dict:
    """Success and what is kept of label edits."""
    return _transfers(desk, transfer.label_edits)


def swaps(desk: Desk) -> dict:
    """Success and what is kept of swaps of attributes."""
    return _transfers(desk, transfer.swaps)


def _transfers(desk: Desk, kind: Callable[..., transfer.Verdicts]) -> dict:
    names = [name for name in desk.attributes() if name in desk.classifier.names]
    if not names:
        raise CannotMeasure("no attribute of the method is read by the classifier")
    verdicts = kind(
        desk.model, desk.pack, desk.rows, desk.classifier, attributes=names, seed=desk.seed, chunk=desk.chunk, originals=desk.originals
    )
    verdicts = replace(verdicts, goes_with=desk.goes_with)
    if not len(verdicts):
        raise CannotMeasure("no judged picture has a label that could be changed")
    return {
        "all": transfer.summary(verdicts),
        "attributes": transfer.by_attribute(verdicts, desk.pack.schema),
        "kept_of": transfer.kept_of(verdicts),
    }


def truth(desk: Desk) -> dict:
    """Label edits and swaps against what they should have become."""
    if desk.render is None:
        raise CannotMeasure("the true result of an edit is known only where the pictures are drawn, not photographed")
    report = {}
    for name, edits in _true_edits(desk).items():
        jobs = [(int(desk.rows[e.place]), e.attribute, transfer.value_of(desk.pack.schema[e.attribute], e.wanted)) for e in edits]
        truths = drawn(desk.render, jobs, desk.workers)
        known = [(edit, truth) for edit, truth in zip(edits, truths, strict=True) if truth is not None]
        if known:
            report[name] = _beside_truth(desk, *map(list, zip(*known, strict=True)))
    if not report:
        raise CannotMeasure("no edit of these attributes has a picture that it should have become")
    return report


def _beside_truth(desk: Desk, edits: list[transfer.Edit], truths: list[np.ndarray]) -> dict:
    report: dict = {"psnr": transfer.against_truth(desk.model, desk.pack, desk.rows, edits, truths, desk.chunk, desk.codes)}
    readable = [i for i, edit in enumerate(edits) if desk.has_classifier and edit.attribute in desk.classifier.names]
    if readable:
        chosen = tuple(edits[i] for i in readable)
        verdicts = transfer.unedited(desk.originals, chosen, desk.goes_with)
        perfect = transfer.seen_in_truth(verdicts, desk.classifier, [truths[i] for i in readable], desk.chunk)
        report["truth_as_seen"] = transfer.summary(perfect)
    return report


def _true_edits(desk: Desk) -> dict[str, list[transfer.Edit]]:
    """About `truths` label edits and as many swaps, equally many of each attribute."""
    names = desk.attributes()
    per_attribute = max(1, desk.truths // max(1, len(names)))
    kinds: dict[str, list[transfer.Edit]] = {"edits": [], "swaps": []}
    for name in names:
        pairs = transfer.swap_pairs(desk.pack, desk.rows, name, desk.seed)
        chance = np.random.default_rng(mix_seed(desk.seed, "truth", name))
        chosen = [pairs[i] for i in sorted(chance.permutation(len(pairs))[:per_attribute])]
        kinds["swaps"] += chosen
        kinds["edits"] += [transfer.Edit(edit.place, name, edit.wanted) for edit in chosen]
    return {kind: edits for kind, edits in kinds.items() if edits}


def parts(desk: Desk) -> dict:
    """Swaps of whole parts: does all that they carry follow, is the rest kept, and how near is the true picture?"""
    carries = {part: _carried(desk, names) for part, names in desk.carries.items() if names}
    carries = {part: carried for part, carried in carries.items() if carried.judged}
    if not carries:
        raise CannotMeasure("no part is meant to carry an attribute that the classifier reads")
    draw = None if desk.swapped is None else partial(drawn, desk.swapped, workers=desk.workers)
    found = part_swaps(
        desk.model, desk.pack, desk.rows, desk.classifier, carries, draw, desk.seed, desk.chunk,
        truths=max(1, desk.truths // len(carries)), originals=desk.originals,
    )
    if not found["parts"]:
        raise CannotMeasure("no judged picture differs from another in what a part carries")
    return found


def _carried(desk: Desk, names: Sequence[str]) -> Carried:
    """What comes with a part that carries these attributes; one with a part of its own besides is not judged here."""
    judged = tuple(n for n in names if n in desk.classifier.names and (len(names) == 1 or n not in desk.codes))
    along = [other for name in names for other in desk.goes_with.get(name, ()) if other not in names]
    moved = factors_behind(names) if desk.swapped is not None else ()
    return Carried(judged, moved, tuple(dict.fromkeys([*names, *along])))


def realism(desk: Desk) -> dict:
    """Frechet and kernel distance of reconstructions and of swaps from the judged pictures, as many on both sides.

    `real` is that of as many training pictures: what is left between two sets of real ones. In `swaps` every picture has
    one part, drawn, from another picture, drawn.
    """
    extractor = looker(desk)
    if len(desk.rows) < FEWEST:
        raise CannotMeasure(f"distances between sets of pictures need {FEWEST} pictures, and {len(desk.rows)} are judged")
    report: dict = {"extractor": extractor.name}
    with inference.judging(desk.model):
        real = extract(extractor, pictures(desk, desk.rows))
        for name, made in _made_sets(desk).items():
            found = extract(extractor, made)
            report[name] = {"kid": kernel_distance(real, found, extractor.name, seed=desk.seed)}
            try:
                report[name]["frechet"] = frechet_distance(real, found, extractor.name, seed=desk.seed)
            except ValueError as reason:
                desk.leave_out("frechet", reason)
    return report


def looker(desk: Desk) -> Extractor:
    """Who looks at pictures: the extractor that was given, or the classifier's own features."""
    if desk.extractor is not None:
        return desk.extractor
    if not isinstance(desk.classifier, Classifier):
        raise CannotMeasure("the classifier that was given has no features to look at; give an extractor, too")
    return judge_extractor(desk.classifier)


def _made_sets(desk: Desk) -> dict[str, Iterator[Tensor]]:
    sets = {"reconstructions": inference.decoded(desk.model, desk.codes, desk.chunk)}
    swappable = [part for part, names in desk.carries.items() if names] or list(desk.codes)
    if len(desk.codes) > 1:
        sets["swaps"] = _any_swaps(desk, swappable)
    else:
        desk.leave_out("realism of swaps", "the codes have a single part, so a swap is the other picture")
    others = np.setdiff1d(desk.pack.rows("train"), desk.rows)
    if len(others) >= len(desk.rows):
        chosen = np.random.default_rng(mix_seed(desk.seed, "real")).permutation(others)[: len(desk.rows)]
        sets["real"] = pictures(desk, np.sort(chosen))
    return sets


def _any_swaps(desk: Desk, names: Sequence[str]) -> Iterator[Tensor]:
    """Every judged picture once, with one part of another one."""
    chance = np.random.default_rng(mix_seed(desk.seed, "any swap"))
    count = len(desk.rows)
    givers = (np.arange(count) + chance.integers(1, count, count)) % count
    part = chance.integers(0, len(names), count)
    for place, name in enumerate(names):
        takers = torch.from_numpy(np.flatnonzero(part == place))
        swapped, _ = swap(desk.codes[takers], desk.codes[torch.from_numpy(givers)[takers]], name)
        yield from inference.decoded(desk.model, swapped, desk.chunk)


def pictures(desk: Desk, rows: np.ndarray) -> Iterator[Tensor]:
    """Pictures of some rows, a chunk at a time."""
    for start in range(0, len(rows), desk.chunk):
        yield desk.pack.batch(rows[start : start + desk.chunk]).images
