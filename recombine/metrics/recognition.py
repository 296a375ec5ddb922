"""Who is it, what do they feel, where do they look: parts of the codes as descriptors of images.

Verification, retrieval, one-vs-rest AUC and pose error, as Browatzki and Wallraven report them for the parts of mad and
Esser et al. for re-identification. All of them take any part, so that the same numbers show what a part should tell and
what it should not. Distances are squared Euclidean ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from recombine.data.schema import MISSING
from recombine.metrics.intervals import CONFIDENCE, Estimate, mean, share


@dataclass(frozen=True)
class Pairs:
    """Pairs of images, by position, and whether both show the same one."""

    first: np.ndarray                       # [pairs] int64
    second: np.ndarray                      # [pairs] int64
    same: np.ndarray                        # [pairs] bool

    def __len__(self) -> int:
        return len(self.same)


def verification_pairs(groups: np.ndarray, n: int, seed: int = 0) -> Pairs:
    """Draw pairs for verification: half of the same group, half of different ones, no pair of images twice.

    Pairs of the same group are drawn from all groups in turn, so that large groups do not outweigh the others.

    Args:
        groups: Whom every image shows, `[pictures]`; `MISSING` takes no part.
        n: Pairs, an even number.
        seed: Of the draw.

    Raises:
        ValueError: n is odd, or there are not that many pairs.
    """
    groups = np.asarray(groups)
    known = np.flatnonzero(groups != MISSING)
    sizes = np.unique(groups[known], return_counts=True)[1].astype(int)
    together = int((sizes * (sizes - 1) // 2).sum())
    apart = len(known) * (len(known) - 1) // 2 - together
    if n < 2 or n % 2 or min(together, apart) < n // 2:
        raise ValueError(f"{n} pairs need an even number, with {n // 2} of one group and {n // 2} of two; there are {together} and {apart}")
    chance = np.random.default_rng(seed)
    alike = np.array(_same_pairs(groups, known, n // 2, chance))
    unlike = np.array(_other_pairs(groups, known, n // 2, apart, chance))
    first, second = np.concatenate([alike, unlike]).T
    return Pairs(first, second, np.repeat([True, False], n // 2))


def verification(codes: np.ndarray, pairs: Pairs, folds: int = 10, seed: int = 0) -> dict:
    """Do two images show the same one? Accuracy by a threshold on their distance that is chosen on the other folds.

    Thresholds are sought over all observed distances (Browatzki and Wallraven's code ends at 2, which would make parts of
    larger norm look as if they knew nothing).

    Args:
        codes: One vector per image `[pictures, features]`; maps are flattened.
        pairs: Which images to compare; `verification_pairs` draws them.
        folds: The threshold of each is chosen on all others.
        seed: Of the folds, which hold equally many pairs of both kinds.

    Returns:
        `accuracy`, a share of the pairs; `thresholds`, one per fold.

    Raises:
        ValueError: There are fewer pairs of a kind than folds.
    """
    codes = _vectors(codes)
    kinds = [np.flatnonzero(pairs.same == kind) for kind in (True, False)]
    if min(map(len, kinds)) < folds or folds < 2:
        raise ValueError(f"{folds} folds need as many pairs of both kinds and 2 folds, not {len(kinds[0])} and {len(kinds[1])} pairs")
    distances = ((codes[pairs.first] - codes[pairs.second]) ** 2).sum(1)
    chance, fold = np.random.default_rng(seed), np.empty(len(pairs), np.int64)
    for kind in kinds:
        fold[chance.permutation(kind)] = np.arange(len(kind)) % folds
    thresholds = [_threshold(distances[fold != i], pairs.same[fold != i]) for i in range(folds)]
    right = (distances < np.array(thresholds)[fold]) == pairs.same
    return {"accuracy": share(right).to_json(), "thresholds": thresholds}


def retrieval(codes: np.ndarray, groups: np.ndarray, chunk: int = 200) -> dict:
    """Look for every image's group among all other images, by the distance of their codes.

    Args:
        codes: One vector per image `[pictures, features]`; maps are flattened.
        groups: Whom each shows, `[pictures]`; `MISSING` takes no part.
        chunk: Images that are looked for at a time.

    Returns:
        `map`, the mean of the average precision, and `top1`, the share of images whose nearest other image is of the
        same group; both over the images that have another of their group. Images at equal distance share a place, so
        constant codes score what chance does. The image itself is never found.

    Raises:
        ValueError: No group has two images.
    """
    groups = np.asarray(groups)
    codes, groups = _vectors(codes)[groups != MISSING], groups[groups != MISSING]
    precisions, tops = [], []
    for place, distances in _distances(codes, chunk):
        alike = np.delete(groups == groups[place], place)
        if alike.any():
            distances = np.delete(distances, place)
            everything, wanted = np.sort(distances), np.sort(distances[alike])
            found = np.searchsorted(wanted, wanted, "right") / np.searchsorted(everything, wanted, "right")
            precisions.append(found.mean())
            tops.append(alike[distances == everything[0]].mean())
    if not precisions:
        raise ValueError("retrieval needs a group with two images; here every image is alone in its group")
    return {"map": mean(precisions).to_json(), "top1": share(np.array(tops)).to_json()}


def one_vs_rest_auc(
    scores: np.ndarray, labels: np.ndarray, values: Sequence[str], samples: int = 1000, seed: int = 0
) -> dict[str, dict]:
    """Area under the ROC curve of every value against all others, and the mean of these.

    Args:
        scores: `[pictures, values]`, higher = likelier.
        labels: `[pictures]` positions in `values`; `MISSING` takes no part.
        values: Their names.
        samples: Bootstrap samples of the intervals, of images.
        seed: Of these.

    Returns:
        Value (and `mean`) -> area, n and interval. A value that no or every image has is left out.

    Raises:
        ValueError: Nothing is left, or scores are not finite.
    """
    labels = np.asarray(labels)
    scores, labels = np.asarray(scores, dtype=np.float64)[labels != MISSING], labels[labels != MISSING]
    present = [v for v in range(len(values)) if 0 < (labels == v).sum() < len(labels)]
    if not present or not np.isfinite(scores).all():
        raise ValueError("AUC needs finite scores of images that have a value and of others that have not")
    drawn = np.random.default_rng(seed).multinomial(len(labels), np.full(len(labels), 1 / len(labels)), samples)
    whole = np.ones((1, len(labels)))
    found = {values[v]: [_auc(scores[:, v], labels == v, weights) for weights in (whole, drawn)] for v in present}
    found["mean"] = [_mean_of_known(np.stack([sides[i] for sides in found.values()])) for i in (0, 1)]
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    return {
        name: Estimate(float(value[0]), *np.nanquantile(boot, ends).tolist(), len(labels)).to_json()
        for name, (value, boot) in found.items()
    }


def expression_probe(
    codes_train: np.ndarray, labels_train: np.ndarray, codes_test: np.ndarray, num_values: int, epochs: int = 5, seed: int = 0
) -> np.ndarray:
    """Log-probabilities of the probe by which mad's Table 3 reads expressions; `one_vs_rest_auc` measures them.

    Features -> 200 -> 200 -> values with ReLU and dropout 0.2, cross-entropy weighted by inverse frequency, Adam.
    Differs from the paper: every feature is brought to mean 0 and deviation 1 first, so that parts of any scale can be read.

    Args:
        codes_train: `[pictures, features]`; maps are flattened.
        labels_train: `[pictures]` from 0; `MISSING` takes no part.
        codes_test: `[others, features]`.
        num_values: How many values there are.
        epochs: Over the training codes; more where these are few.
        seed: Of the weights, the order and the dropout.

    Returns:
        `[others, num_values]`.

    Raises:
        ValueError: No training code has a label.
    """
    known = np.asarray(labels_train) != MISSING
    if not known.any():
        raise ValueError("the probe needs training codes with labels; there is none")
    x, y = _vectors(codes_train)[known], torch.from_numpy(np.asarray(labels_train)[known].astype(np.int64))
    middle, spread = x.mean(0), x.std(0)
    spread[spread == 0] = 1
    train, test = (torch.from_numpy(((side - middle) / spread).astype(np.float32)) for side in (x, _vectors(codes_test)))
    counts = torch.bincount(y, minlength=num_values)
    weights = torch.where(counts > 0, len(y) / (num_values * counts.clamp_min(1)), 0.0).float()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        probe = nn.Sequential(
            nn.Linear(train.shape[1], 200), nn.ReLU(), nn.Dropout(0.2), nn.Linear(200, 200), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(200, num_values),
        )
        optimizer = torch.optim.Adam(probe.parameters(), 1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(train)).split(64):
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(probe(train[rows]), y[rows], weights).backward()
                optimizer.step()
    with torch.no_grad():
        return probe.eval()(test).log_softmax(1).numpy()


def pose_error(seen: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Mean absolute error in degrees of every angle, with interval.

    Args:
        seen: Angle -> degrees `[pictures]`.
        truth: The same angles; NaN takes no part. 359 and 1 degrees are 2 apart.
    """
    report = {}
    for name, degrees in truth.items():
        known = ~np.isnan(degrees)
        apart = (np.asarray(seen[name])[known] - np.asarray(degrees)[known] + 180) % 360 - 180
        report[name] = mean(np.abs(apart)).to_json()
    return report


def _same_pairs(groups: np.ndarray, known: np.ndarray, count: int, chance: np.random.Generator) -> list[tuple[int, int]]:
    """One pair of every group in turn, until there are enough."""
    waiting = []
    for group in chance.permutation(np.unique(groups[known])):
        members = known[groups[known] == group]
        one, other = np.triu_indices(len(members), 1)
        order = chance.permutation(len(one))[:count]
        waiting.append(list(zip(members[one[order]].tolist(), members[other[order]].tolist(), strict=True)))
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count:
        waiting = [left for left in waiting if left]
        pairs += [left.pop() for left in waiting]
    return pairs[:count]


def _other_pairs(
    groups: np.ndarray, known: np.ndarray, count: int, there_are: int, chance: np.random.Generator
) -> list[tuple[int, int]]:
    if there_are < 4 * count:               # few enough to list them all
        one, other = (known[side] for side in np.triu_indices(len(known), 1))
        order = chance.permutation(np.flatnonzero(groups[one] != groups[other]))[:count]
        return list(zip(one[order].tolist(), other[order].tolist(), strict=True))
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < count:
        one, other = sorted(chance.choice(known, 2).tolist())
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
    """Areas `[samples]` with every image counted `weights` `[samples, pictures]` times; ties count half."""
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


def _distances(codes: np.ndarray, chunk: int) -> Iterator[tuple[int, np.ndarray]]:
    """Position and squared distances to all codes, one after the other; equal codes are exactly 0 apart."""
    everything = torch.from_numpy(codes)
    for start in range(0, len(codes), chunk):
        block = torch.cdist(everything[start : start + chunk], everything, compute_mode="donot_use_mm_for_euclid_dist")
        yield from enumerate(block.square().numpy(), start)


def _vectors(codes: np.ndarray) -> np.ndarray:
    codes = np.asarray(codes, dtype=np.float64)
    return codes.reshape(len(codes), -1)
