"""MATDR (Zhang et al.): Tables 1 and 2, the realism of images that exchange the attributes in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recombine.data.packed import Pack
from recombine.data.schema import MISSING
from recombine.evaluation.classifier import Classifier, feature_extractor
from recombine.evaluation.measures import MEASURES
from recombine.inference import decode_chunks, encode_rows, evaluation_mode
from recombine.method import Method
from recombine.metrics.intervals import Estimate, share
from recombine.metrics.realism import extract, frechet_distance
from recombine.papers.table import Claim, Column, Row, Setup, Table, every, lower, trained
from recombine.papers.workspace import Workspace, baseline
from recombine.recipes import matdr_lfw
from recombine.training.recipe import Recipe

ATTRIBUTES = ("Bangs", "Smiling", "Eyeglasses")
WEIGHTS = {0.0: 55.15, 0.01: 52.39, 0.1: 45.23, 1.0: 60.98, 10.0: 70.72}
COLUMNS = (
    Column("fid", "lower", title="Fréchet distance of exchanges"),
    Column.of(MEASURES["frechet_reconstructed"], "rebuilt"),
    Column("success", "higher", "%", title="exchanges that are seen"),
)


def exchange(model: Method, pack: Pack, rows: tuple[np.ndarray, np.ndarray], by_label: bool) -> Tensor:
    """Both halves' images `[2 pairs, ...]` with the values of the other half, paired one to one, where these differ.

    `by_label` sets the other image's labels, where a method has no parts to exchange.
    """
    first, second = (encode_rows(model, pack, half) for half in rows)
    edited = []
    for target, source, (own, others) in ((first, second, rows), (second, first, rows[::-1])):
        parts = {}
        for name in model.schema.names:
            differ, labels = compare_labels(pack, name, own, others)
            part = source[name]
            if by_label:  # a missing label has the first value's code, which is not used
                of_values = torch.cat([model.label_code(name, value) for value in model.schema[name].values])
                part = of_values[labels.clamp(min=0)].to(target[name])
            parts[name] = torch.where(differ.view(-1, *[1] * (part.ndim - 1)), part, target[name])
        edited += list(decode_chunks(model, target.replace(parts)))
    return torch.cat(edited)


def compare_labels(pack: Pack, name: str, own: np.ndarray, others: np.ndarray) -> tuple[Tensor, Tensor]:
    """Where two known labels differ, bool `[pairs]`, and the other image's label `[pairs]`."""
    labels = [torch.from_numpy(np.asarray(pack.labels[name])[half]) for half in (own, others)]
    return (labels[0] != labels[1]) & (labels[0] != MISSING) & (labels[1] != MISSING), labels[1]


def exchange_success(
    classifier: Classifier, pack: Pack, rows: tuple[np.ndarray, np.ndarray], edited: Tensor, names: Sequence[str]
) -> Estimate:
    """The share of exchanged attributes in which the classifier sees the other image's label."""
    seen, (first, second) = classifier.verdicts(edited), rows
    hits, images = [], []
    for name in names:
        sides = [compare_labels(pack, name, first, second), compare_labels(pack, name, second, first)]
        differ, target = (torch.cat(part).numpy() for part in zip(*sides, strict=True))
        hits.append((seen[name] == target)[differ])
        images.append(np.flatnonzero(differ))
    return share(np.concatenate(hits), np.concatenate(images))


def measure_realism(model: Method, pack: Pack, workspace: Workspace, by_label: bool = False) -> dict[str, Any]:
    """Frechet distance of exchanged images to the real val images, and of reconstructions, at equal n.

    Beside it `success`, since a method that changes nothing has the best distance of all.
    """
    classifier, order = workspace.classifier(pack), np.random.default_rng(0).permutation(pack.rows("val"))
    extractor = feature_extractor(classifier)
    rows = order[: len(order) // 2], order[len(order) // 2 : len(order) // 2 * 2]
    with evaluation_mode(model):
        edited = exchange(model, pack, rows, by_label)
        codes = encode_rows(model, pack, np.concatenate(rows))
        reconstructed = torch.cat(list(decode_chunks(model, codes)))
    originals = pack.batch(np.concatenate(rows)).images
    real, *made = (extract(extractor, images.split(256)) for images in (originals, edited, reconstructed))
    success = exchange_success(classifier, pack, rows, edited, model.schema.names)
    distances = [frechet_distance(real, features, extractor.name) for features in made]
    fid, rebuilt = ({**distance, "n": distance["n_made"]} for distance in distances)
    return {"fid": fid, "rebuilt": rebuilt, "success": success}


def _row(name: str, fid: float, recipe: Recipe, by_label: bool = False, pairs: bool = False) -> Row:
    return Row(name, (fid,), trained(recipe, "realism", partial(measure_realism, by_label=by_label), pairs=pairs))


def _ours(name: str, fid: float, weight: float) -> Row:
    return _row(name, fid, replace(matdr_lfw(weight), attributes=ATTRIBUTES), pairs=True)


SETUP = Setup(
    "CelebA, bangs, smiling, eyeglasses", "photos",
    "photographs with Bangs, Smiling and Eyeglasses; all val ones, paired",
    n="2,000 images, fewer than the 2,048 features of the extractor", size="128", seen="3.2 million pairs",
    attributes=ATTRIBUTES,
    extractor=(
        "Inception (external weights), of 2,048 features",
        "the data set's judge, of 144 or 192 features: only numbers of one column compare",
    ),
)
DIFFERS = (
    "against the real val images; the paper does not say against which",
    "narrow networks and steps 20 times as large (recombine/methods/matdr.py)",
)

TABLE1 = Table(
    name="matdr.table1", title="Realism of exchanged attributes",
    setup=SETUP, columns=COLUMNS,
    rows=(
        _row("StarGAN", 78.90, baseline("stargan", ATTRIBUTES), by_label=True),
        _row("DNA_GAN", 76.08, baseline("dnagan", ATTRIBUTES)),
        _ours("ours", 45.23, 0.1),
    ),
    claim=Claim(
        "ours looks more real than StarGAN and DNA-GAN",
        every(*(lower(("ours", "fid"), (name, "fid")) for name in ("StarGAN", "DNA_GAN"))),
    ),
    differs=DIFFERS, images=2_500, minutes=1.5,
)

TABLE2 = Table(
    name="matdr.table2", title="Realism by the weight of the verification loss",
    setup=SETUP, columns=COLUMNS,
    rows=tuple(_ours(f"{weight:g}", fid, weight) for weight, fid in WEIGHTS.items()),
    claim=Claim(
        "0.1 is the best weight, above and below it images are less real",
        every(*(lower(("0.1", "fid"), (f"{weight:g}", "fid")) for weight in WEIGHTS if weight != 0.1)),
    ),
    differs=DIFFERS, images=2_500, minutes=3.5,
)

TABLES = (TABLE1, TABLE2)
