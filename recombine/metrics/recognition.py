"""Parts of the codes as descriptors of images: identity, expression and pose.

Verification, retrieval, one-vs-rest AUC and pose error, as Browatzki and Wallraven report them for the parts of mad and
Esser et al. for re-identification. All of them take any part, so that the same numbers show what a part should carry
and what it should not. Distances are squared Euclidean ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Num
from torch import nn

from recombine.data.schema import MISSING
from recombine.metrics.intervals import Estimate, bootstrap_counts, mean, percentiles, share
from recombine.metrics.probes import fit, standardised, vectors

CodeArray = Num[np.ndarray, " images *each"]
Labels = Int[np.ndarray, " images"]


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, by position, and whether both show the same one."""

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    same: Bool[np.ndarray, " pairs"]

    def __len__(self) -> int:
        return len(self.same)


def verification_pairs(groups: Labels, n: int, seed: int = 0) -> Pairs:
    """Draw pairs for verification: half of the same group, half of different ones, no pair of images twice.

    Pairs of the same group are drawn from all groups in turn, so that large groups do not outweigh the others. Images
    whose group is `MISSING` take no part.

    Raises:
        ValueError: n is odd, or there are not that many pairs.

    Example:
        >>> pairs = verification_pairs(np.array([0, 0, 1, 1]), n=4)
        >>> sorted(zip(pairs.first[pairs.same].tolist(), pairs.second[pairs.same].tolist()))
        [(0, 1), (2, 3)]
    """
    groups = np.asarray(groups)
    known = np.flatnonzero(groups != MISSING)
    sizes = np.unique(groups[known], return_counts=True)[1].astype(int)
    together = int((sizes * (sizes - 1) // 2).sum())
    apart = len(known) * (len(known) - 1) // 2 - together
    if n < 2 or n % 2 or min(together, apart) < n // 2:
        need = f"{n} pairs need an even number, with {n // 2} of one group and {n // 2} of two"
        raise ValueError(f"{need}; there are {together} and {apart}")
    rng = np.random.default_rng(seed)
    alike = np.array(_same_pairs(groups, known, n // 2, rng))
    unlike = np.array(_other_pairs(groups, known, n // 2, apart, rng))
    first, second = np.concatenate([alike, unlike]).T
    return Pairs(first, second, np.repeat([True, False], n // 2))


def verification(codes: CodeArray, pairs: Pairs, folds: int = 10, seed: int = 0) -> dict:
    """Accuracy of telling pairs of one group by a threshold on the distance of their codes, chosen on the other folds.

    Thresholds are sought over all observed distances (Browatzki and Wallraven's code ends at 2, with which parts of
    larger norm seem to carry nothing). Maps are flattened; folds hold equally many pairs of both kinds.

    Returns:
        `accuracy`, a share of the pairs; `thresholds`, one per fold.

    Raises:
        ValueError: There are fewer pairs of a kind than folds.

    Example:
        >>> groups = np.repeat(np.arange(10), 2)
        >>> verification(np.eye(10)[groups], verification_pairs(groups, n=20))["accuracy"]["value"]
        1.0
    """
    codes = vectors(codes)
    kinds = [np.flatnonzero(pairs.same == kind) for kind in (True, False)]
    if min(map(len, kinds)) < folds or folds < 2:
        came = f"{len(kinds[0])} and {len(kinds[1])} pairs"
        raise ValueError(f"{folds} folds need as many pairs of both kinds and 2 folds, not {came}")
    distances = ((codes[pairs.first] - codes[pairs.second]) ** 2).sum(1)
    rng, fold = np.random.default_rng(seed), np.empty(len(pairs), np.int64)
    for kind in kinds:
        fold[rng.permutation(kind)] = np.arange(len(kind)) % folds
    thresholds = [_threshold(distances[fold != i], pairs.same[fold != i]) for i in range(folds)]
    right = (distances < np.array(thresholds)[fold]) == pairs.same
    return {"accuracy": share(right).to_json(), "thresholds": thresholds}


def retrieval(codes: CodeArray, groups: Labels, chunk: int = 200) -> dict:
    """Search for every image's group among all other images, by the distance of their codes; maps are flattened.

    Images whose group is `MISSING` take no part. Distances are taken of `chunk` images at a time.

    Returns:
        `map`, the mean of the average precision, and `top1`, the share of images whose nearest other image is of the
        same group; both over the images that have another of their group. Images at equal distance share a place, so
        constant codes score what chance does. The image itself is never found.

    Raises:
        ValueError: No group has two images.

    Example:
        >>> found = retrieval(np.array([[0.0], [1.0], [3.0], [9.0]]), np.array([0, 1, 0, 1]))
        >>> [round(found[name]["value"], 4) for name in ("map", "top1")]  # ranks 2, 3, 2 and 2
        [0.4583, 0.0]
    """
    groups = np.asarray(groups)
    codes, groups = vectors(codes)[groups != MISSING], groups[groups != MISSING]
    precisions, tops = [], []
    everything = torch.from_numpy(codes)
    for start in range(0, len(codes), chunk):  # equal codes are exactly 0 apart
        block = torch.cdist(everything[start : start + chunk], everything, compute_mode="donot_use_mm_for_euclid_dist")
        distances, places = block.square().numpy(), np.arange(start, start + len(block))
        distances[places - start, places] = np.inf                              # the image itself comes last ...
        alike = groups[places, None] == groups
        alike[places - start, places] = False                                   # ... and is never of the group
        found = _searched(distances, alike)
        precisions += [float(own[which].mean()) for own, which in zip(*found, strict=True) if which.any()]
        nearest = distances == distances.min(1, keepdims=True)
        tops += [row[near].mean() for row, near in zip(alike, nearest, strict=True) if row.any()]
    if not precisions:
        raise ValueError("retrieval needs a group with two images; here every image is alone in its group")
    return {"map": mean(precisions).to_json(), "top1": share(np.array(tops)).to_json()}


def average_precision(distances: Num[np.ndarray, " images"], alike: Bool[np.ndarray, " images"]) -> float:
    """Average precision of a search, nearest first; images at equal distance share a place.

    `sklearn.metrics.average_precision_score` of the negative distances differs in the last digit.

    Example:
        >>> average_precision(np.array([1.0, 2.0, 3.0]), np.array([True, False, False]))
        1.0
    """
    (precisions,), (found,) = _searched(np.asarray(distances)[None], np.asarray(alike)[None])
    return float(precisions[found].mean())


def _searched(distances: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of every search `[searches, images]`, nearest first: the precision up to every image, and which are alike.

    Images at equal distance are found together.
    """
    order = np.argsort(distances, 1, kind="stable")
    distances, alike = (np.take_along_axis(side, order, 1) for side in (distances, alike))
    places = np.arange(distances.shape[1])
    last = np.append(distances[:, 1:] != distances[:, :-1], np.ones((len(distances), 1), bool), 1)
    ends = np.where(last, places, places[-1])
    ends = np.minimum.accumulate(ends[:, ::-1], 1)[:, ::-1]                     # of the images as near as each
    return np.take_along_axis(alike.cumsum(1), ends, 1) / (ends + 1), alike


def one_vs_rest_auc(
    scores: Num[np.ndarray, "images values"], labels: Labels, values: Sequence[str], samples: int = 1000, seed: int = 0
) -> dict[str, dict]:
    """Area under the ROC curve of every value against all others, and the mean of these, with bootstrap intervals.

    Labels are positions in `values`, the names; images whose label is `MISSING` take no part.

    Returns:
        Value (and `mean`) -> area, n and interval. A value that no or every image has is left out.

    Raises:
        ValueError: Nothing is left, or scores are not finite.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        >>> one_vs_rest_auc(scores, np.array([0, 0, 1, 1]), ("off", "on"))["mean"]["value"]  # 3 of 4 pairs in order
        0.75
    """
    labels = np.asarray(labels)
    scores, labels = np.asarray(scores, dtype=np.float64)[labels != MISSING], labels[labels != MISSING]
    present = [v for v in range(len(values)) if 0 < (labels == v).sum() < len(labels)]
    if not present or not np.isfinite(scores).all():
        raise ValueError("AUC needs finite scores of images that have a value and of others that have not")
    # All samples at once, as weights: `sklearn.metrics.roc_auc_score` gives one at a time, with other last digits.
    resampled, whole = bootstrap_counts(len(labels), samples, seed), np.ones((1, len(labels)))
    found = {values[v]: [_auc(scores[:, v], labels == v, weights) for weights in (whole, resampled)] for v in present}
    found["mean"] = [_mean_of_known(np.stack([sides[i] for sides in found.values()])) for i in (0, 1)]
    return {
        name: Estimate(float(value[0]), *percentiles(areas), len(labels)).to_json()
        for name, (value, areas) in found.items()
    }


def expression_probe(
    codes_train: Num[np.ndarray, " _ *each"],
    labels_train: Int[np.ndarray, " _"],
    codes_test: Num[np.ndarray, " _ *each"],
    num_values: int,
    epochs: int = 5,
    seed: int = 0,
) -> Float[np.ndarray, "_ values"]:
    """Log-probabilities of the probe by which mad's Table 3 reads expressions; `one_vs_rest_auc` measures them.

    Features -> 200 -> 200 -> values with ReLU and dropout 0.2, cross-entropy weighted by inverse frequency, Adam. Maps
    are flattened; codes whose label is `MISSING` take no part. Differs from the paper: every feature is brought to mean
    0 and deviation 1 first, so that parts of any scale can be read.

    Raises:
        ValueError: No training code has a label.

    Example:
        >>> labels = np.arange(400) % 2
        >>> bool((expression_probe(labels[:, None], labels, labels[:, None], num_values=2).argmax(1) == labels).all())
        True
    """
    known = np.asarray(labels_train) != MISSING
    if not known.any():
        raise ValueError("the probe needs training codes with labels; there is none")
    y = torch.from_numpy(np.asarray(labels_train)[known].astype(np.int64))
    sides = standardised(vectors(codes_train)[known], vectors(codes_test))
    train, test = (torch.from_numpy(side.astype(np.float32)) for side in sides)
    counts = torch.bincount(y, minlength=num_values)
    weights = torch.where(counts > 0, len(y) / (num_values * counts.clamp_min(1)), 0.0).float()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        probe = nn.Sequential(
            nn.Linear(train.shape[1], 200), nn.ReLU(), nn.Dropout(0.2), nn.Linear(200, 200), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(200, num_values),
        )
        fit(
            probe, torch.optim.Adam(probe.parameters(), 1e-3), lambda: torch.randperm(len(train)).split(64),
            lambda rows: F.cross_entropy(probe(train[rows]), y[rows], weights), epochs,
        )
    with torch.no_grad():
        return probe.eval()(test).log_softmax(1).numpy()


def pose_error(pred: Mapping[str, np.ndarray], target: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Mean absolute error in degrees of every angle, with interval; NaN takes no part, 359 and 1 degrees are 2 apart.

    Example:
        >>> pose_error({"yaw": np.array([359.0, 10.0])}, {"yaw": np.array([1.0, np.nan])})["yaw"]["value"]
        2.0
    """
    report = {}
    for name, degrees in target.items():
        known = ~np.isnan(degrees)
        apart = (np.asarray(pred[name])[known] - np.asarray(degrees)[known] + 180) % 360 - 180
        report[name] = mean(np.abs(apart)).to_json()
    return report


def _same_pairs(groups: np.ndarray, known: np.ndarray, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """One pair of every group in turn, until there are enough."""
    waiting = []
    for group in rng.permutation(np.unique(groups[known])):
        members = known[groups[known] == group]
        one, other = np.triu_indices(len(members), 1)
        order = rng.permutation(len(one))[:count]
        waiting.append(list(zip(members[one[order]].tolist(), members[other[order]].tolist(), strict=True)))
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        waiting = [left for left in waiting if left]
        pairs += [left.pop() for left in waiting]
    return pairs[:count]


def _other_pairs(
    groups: np.ndarray, known: np.ndarray, count: int, available: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    if available < 4 * count:               # few enough to list them all
        one, other = (known[side] for side in np.triu_indices(len(known), 1))
        order = rng.permutation(np.flatnonzero(groups[one] != groups[other]))[:count]
        return list(zip(one[order].tolist(), other[order].tolist(), strict=True))
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < count:
        one, other = sorted(rng.choice(known, 2).tolist())
        if groups[one] != groups[other]:
            pairs[one, other] = None
    return list(pairs)


def _threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """Between two observed distances, or beyond them all, where most pairs are told apart; the middle one of equals."""
    places = np.unique(distances)
    between = np.concatenate([[places[0]], (places[1:] + places[:-1]) / 2, [np.nextafter(places[-1], np.inf)]])
    alike, unlike = np.sort(distances[same]), np.sort(distances[~same])
    right = np.searchsorted(alike, between, "left") + len(unlike) - np.searchsorted(unlike, between, "left")
    best = np.flatnonzero(right == right.max())
    return float(between[best[len(best) // 2]])


def _mean_of_known(areas: np.ndarray) -> np.ndarray:
    """Mean `[samples]` over those of the `[values, samples]` areas that a sample has; NaN where it has none."""
    known = (~np.isnan(areas)).sum(0)
    return np.where(known > 0, np.nansum(areas, 0) / np.maximum(known, 1), np.nan)


def _auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Areas `[samples]` with every image counted `weights` `[samples, images]` times; ties count half."""
    places, which = np.unique(scores, return_inverse=True)
    areas = []
    for part in np.array_split(weights, max(1, weights.size // 2_000_000)):
        ups, downs = np.zeros((2, len(part), len(places)))
        for side, chosen in ((ups, positive), (downs, ~positive)):
            order = np.argsort(which[chosen], kind="stable")
            starts = np.searchsorted(which[chosen][order], np.arange(len(places)))
            total = np.concatenate([np.zeros((len(part), 1)), np.cumsum(part[:, chosen][:, order], 1)], 1)
            side[:] = np.diff(np.concatenate([total[:, starts], total[:, -1:]], 1), axis=1)
        beaten = np.cumsum(downs, 1) - downs / 2
        with np.errstate(invalid="ignore"):
            areas.append((ups * beaten).sum(1) / (ups.sum(1) * downs.sum(1)))
    return np.concatenate(areas)
