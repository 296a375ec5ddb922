"""MATDR (Zhang et al.): Tables 1 and 2, the Frechet distance of images that exchange the attributes in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recombine.codes import Codes
from recombine.data.packed import Pack
from recombine.data.schema import MISSING
from recombine.evaluation.classifier import Classifier
from recombine.inference import decode_chunks, encode_rows, evaluation_mode
from recombine.method import Method
from recombine.metrics.intervals import Estimate, share
from recombine.metrics.realism import extract, frechet_distance, judge_extractor
from recombine.papers.table import Claim, Metric, Row, Table, every, lower
from recombine.papers.workspace import Workspace, baseline, brief
from recombine.recipes.matdr import matdr_lfw
from recombine.training.recipe import Recipe

ATTRIBUTES = ("Bangs", "Smiling", "Eyeglasses")
WEIGHTS = {0.0: 55.15, 0.01: 52.39, 0.1: 45.23, 1.0: 60.98, 10.0: 70.72}
FID = Metric("fid", "lower", digits=3, title="Frechet distance")
SUCCESS = Metric("success", "higher", "%", title="exchanges that are seen")
KEPT = Metric("rebuilt", "lower", digits=3, title="of mere reconstructions")


def halves(pack: Pack, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The val rows in two halves, to be paired one to one."""
    rows = np.random.default_rng(seed).permutation(pack.rows("val"))
    middle = len(rows) // 2
    return rows[:middle], rows[middle : 2 * middle]


def exchanged(model: Method, pack: Pack, rows: tuple[np.ndarray, np.ndarray], by_label: bool) -> Tensor:
    """Both halves' images `[2 pairs, ...]`, each with the other's units, or label values, of the attributes in which the two differ."""
    first, second = (encode_rows(model, pack, half) for half in rows)
    made = []
    for own, given, (mine, theirs) in ((first, second, rows), (second, first, rows[::-1])):
        parts = {}
        for name in model.schema.names:
            differ, wanted = differing(pack, name, mine, theirs)
            unit = of_label(model, name, wanted).to(own[name]) if by_label else given[name]
            parts[name] = torch.where(differ.view(-1, *[1] * (unit.ndim - 1)), unit, own[name])
        made += list(decode_chunks(model, own.replace(parts)))
    return torch.cat(made)


def differing(pack: Pack, name: str, mine: np.ndarray, theirs: np.ndarray) -> tuple[Tensor, Tensor]:
    """Where two known labels differ, bool `[pairs]`, and the other one's label `[pairs]`."""
    labels = [torch.from_numpy(np.asarray(pack.labels[name])[half]) for half in (mine, theirs)]
    return (labels[0] != labels[1]) & (labels[0] != MISSING) & (labels[1] != MISSING), labels[1]


def obeyed(classifier: Classifier, pack: Pack, rows: tuple[np.ndarray, np.ndarray], made: Tensor, names: Sequence[str]) -> Estimate:
    """The share of exchanged attributes in which the judge sees the other one's label."""
    seen, (first, second) = classifier.verdicts(made), rows
    hits, pictures = [], []
    for name in names:
        sides = [differing(pack, name, first, second), differing(pack, name, second, first)]
        differ, wanted = (torch.cat(part).numpy() for part in zip(*sides, strict=True))
        hits.append((seen[name] == wanted)[differ])
        pictures.append(np.flatnonzero(differ))
    return share(np.concatenate(hits), np.concatenate(pictures))


def of_label(model: Method, name: str, labels: Tensor) -> Tensor:
    """The label codes of many labels; the first value stands where there is none."""
    codes = torch.cat([model.label_code(name, value) for value in model.schema[name].values])
    return codes[labels.clamp(min=0)]


def measure_realism(model: Method, pack: Pack, classifier: Classifier, by_label: bool = False) -> dict[str, dict]:
    """Frechet distance between the real val images and those that exchanged attributes, and of mere reconstructions, at equal n.

    Beside it `success`, since a method that changes nothing has the best distance of all.
    """
    looker, rows = judge_extractor(classifier), halves(pack)
    with evaluation_mode(model):
        made = exchanged(model, pack, rows, by_label)
        codes: Codes = encode_rows(model, pack, np.concatenate(rows))
        rebuilt = torch.cat(list(decode_chunks(model, codes)))
    seen = [extract(looker, images.split(256)) for images in (pack.batch(np.concatenate(rows)).images, made, rebuilt)]
    found = {name: frechet_distance(seen[0], side, looker.name) for name, side in (("fid", seen[1]), ("rebuilt", seen[2]))}
    success = obeyed(classifier, pack, rows, made, model.schema.names)
    return {**{name: {**distance, "n": distance["n_made"]} for name, distance in found.items()}, "success": success.to_json()}


def realism(recipe: Recipe, workspace: Workspace, images: int, seed: int, by_label: bool = False, **changes: Any) -> dict[str, dict]:
    """Train a method on the three attributes and measure."""
    run: Path = workspace.train(brief(recipe, images, seed, **changes), workspace.photos)
    return workspace.once(run, "realism", lambda model: measure_realism(model, workspace.photos, workspace.judge(workspace.photos), by_label))


def ours(weight: float, workspace: Workspace, seed: int) -> dict[str, dict]:
    """Our row with a weight of the verification loss."""
    recipe = matdr_lfw(weight)
    recipe = Recipe(recipe.method, recipe.config, recipe.train, recipe.size, attributes=ATTRIBUTES)
    return realism(recipe, workspace, workspace.seen // 2, seed)


def other(method: str, by_label: bool) -> Callable[[Workspace, int], dict[str, dict]]:
    """A baseline's row."""
    return lambda workspace, seed: realism(baseline(method, ATTRIBUTES, workspace.photos.schema.height), workspace, workspace.seen, seed, by_label)


DATA = {
    "data": "CelebA, bangs, smiling, eyeglasses", "n": "2,000 images, fewer than the 2,048 features of the extractor", "size": "128", "seen": "3.2 million pairs",
    "kind": "photos", "attributes": ATTRIBUTES, "stand_in": "photographs with Bangs, Smiling and Eyeglasses; all val ones, paired",
    "extractor": ("Inception (external weights), of 2,048 features", "the data set's judge, of 144 or 192 features: only numbers of one column compare"),
    "metrics": (FID, KEPT, SUCCESS), "images": 2_500,
}
DIFFERS = ("against the real val images; the paper does not say against which", "narrow networks and steps 20 times as large (recombine/methods/matdr.py)")

TABLE1 = Table(
    name="matdr.table1",
    title="Realism of exchanged attributes",
    rows=(
        Row("StarGAN", {"fid": 78.90}, other("stargan", True), needs=("stargan",)),
        Row("DNA_GAN", {"fid": 76.08}, other("dnagan", False), needs=("dnagan",)),
        Row("ours", {"fid": 45.23}, partial(ours, 0.1)),
    ),
    claim=Claim(
        "ours looks more real than StarGAN and DNA-GAN",
        lambda rows: every(*(lower(rows, ("ours", "fid"), (name, "fid")) for name in ("StarGAN", "DNA_GAN"))),
    ),
    differs=DIFFERS,
    minutes=1.5,
    **DATA,
)

TABLE2 = Table(
    name="matdr.table2",
    title="Realism by the weight of the verification loss",
    rows=tuple(Row(f"{weight:g}", {"fid": paper}, partial(ours, weight)) for weight, paper in WEIGHTS.items()),
    claim=Claim(
        "0.1 is the best weight, above and below it images are less real",
        lambda rows: every(*(lower(rows, ("0.1", "fid"), (f"{weight:g}", "fid")) for weight in WEIGHTS if weight != 0.1)),
    ),
    differs=DIFFERS,
    minutes=3.5,
    **DATA,
)

TABLES = (TABLE1, TABLE2)
