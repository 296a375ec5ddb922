"""Disentanglement where the true factors are known: MIG, SAP and DCI, of single numbers of the codes.

- MIG (Chen et al., "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018, Eq. 6): how far the most informative
  number of a factor is ahead of the second, in mutual information over the factor's entropy.
- SAP (Kumar et al., "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", ICLR 2018):
  the same gap in how well a linear reader of that one number reads the factor: accuracy, or R^2 where continuous.
- DCI (Eastwood and Williams, "A Framework for the Quantitative Evaluation of Disentangled Representations", ICLR 2018):
  disentanglement (each number matters to one factor), completeness (each factor rests on one number) and
  informativeness, from the importances of random forests.

All lie in [0, 1], and MIG, SAP and completeness ask for one number per factor: a part of many numbers that shares an
attribute out among them scores low though nothing leaks. For parts, `recombine.metrics.leakage` is the measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Num, Shaped

from recombine.metrics.intervals import Estimate, jackknife, mean, share
from recombine.metrics.probes import standardised
from recombine.processes import spread

FEW_FITS, FEW_TREES = 300, 300              # that are done sooner than a process starts
GROUPS = 10                                 # of images, left out in turn: how sure a number is
FEWEST = 2 * GROUPS                         # images
Numbers = Num[np.ndarray, "images numbers"]
Factors = Mapping[str, Shaped[np.ndarray, " images"]]
BINS = 20                                   # of equal width, that numbers are put into to count how often they meet


def mig(codes: Numbers, factors: Factors, bins: int = BINS, seed: int = 0) -> dict:
    """Mutual information gap, with the interval of a jackknife over groups of images.

    Codes are all parts side by side, maps flattened. Factors are `[images]` each: integers or booleans are values,
    floating-point numbers are continuous. Numbers and continuous factors are put into `bins` of equal width.

    Returns:
        `all`, the mean over factors, and `factors`; each `value`, `n`, `low`, `high`.

    Raises:
        ValueError: Fewer than 20 images, a factor with one value, or another number of images.

    Example:
        >>> lamp = np.arange(40) % 2
        >>> round(mig(np.stack([lamp, np.zeros(40)], 1), {"lamp": lamp})["all"]["value"], 6)
        1.0
    """
    codes, factors = _checked(codes, factors)
    columns = [_binned(column, bins) for column in codes.T]
    targets = [
        _binned(factor, bins) if _continuous(factor) else np.unique(factor, return_inverse=True)[1]
        for factor in factors.values()
    ]

    def gaps(rows: np.ndarray) -> list[float]:
        return [_gap(np.array([information(c[rows], f[rows]) for c in columns])) / _entropy(f[rows]) for f in targets]

    return _jackknifed(gaps, factors, seed)


def sap(codes: Numbers, factors: Factors, seed: int = 0, workers: int | None = 1) -> dict:
    """Separated attribute predictability: the gap in reading each factor linearly from the best number and the second.

    Values are read by logistic regression of the one number, on the images that it was fitted to: two or three
    parameters do not learn images by heart. Arguments, result and errors as for `mig`; many readers are fitted in
    `workers` processes, one per core when None.

    Example:
        >>> lamp = np.arange(40) % 2
        >>> sap(np.stack([lamp, np.zeros(40)], 1), {"lamp": lamp})["all"]["value"]  # 1, less the half that a guess gets
        0.5
    """
    codes, factors = _checked(codes, factors)
    (scaled,) = standardised(codes)
    named = {name: factor for name, factor in factors.items() if not _continuous(factor)}
    jobs = [(scaled, factor) for factor in named.values()]
    hits = dict(zip(named, spread(_hits, jobs, workers, few=max(1, FEW_FITS // codes.shape[1])), strict=True))

    def gaps(rows: np.ndarray) -> list[float]:
        return [
            _gap(hits[name][:, rows].mean(1) if name in hits else _correlations(scaled[rows], factor[rows]))
            for name, factor in factors.items()
        ]

    return _jackknifed(gaps, factors, seed)


def _hits(scaled: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Where a reader of each number alone is right, bool `[numbers, images]`."""
    from sklearn.linear_model import LogisticRegression

    readers = (LogisticRegression(C=100).fit(number[:, None], factor) for number in scaled.T)
    pairs = zip(readers, scaled.T, strict=True)
    return np.stack([reader.predict(number[:, None]) == factor for reader, number in pairs])


def dci(codes: Numbers, factors: Factors, trees: int = 30, seed: int = 0, workers: int | None = 1) -> dict:
    """Disentanglement, completeness and informativeness.

    Ten forests per factor, each of `trees`, are grown without one group of images and read the factor of that group.
    Importances are the mean over forests; their scatter gives the intervals. Codes and factors are as for `mig`. Many
    forests are grown in `workers` processes, one per core when None.

    Returns:
        `disentanglement` and `completeness`, each `value`, `n`, `low`, `high`; `informativeness`, factor -> the
        accuracy on images that the forest was not grown on, with interval, or where continuous `value` R^2;
        `importance`, factor -> share of every number.

    Raises:
        ValueError: As for `mig`, or there is one factor only, which has nothing to be told apart from.

    Example:
        >>> factors = {"lamp": np.arange(80) % 2, "colour": np.arange(80) // 2 % 2}
        >>> dci(np.stack(list(factors.values()), 1), factors, trees=2)["disentanglement"]["value"]
        1.0
    """
    codes, factors = _checked(codes, factors)
    if len(factors) < 2:
        raise ValueError("DCI needs two factors or more; with one there is nothing to tell it apart from")
    group = _groups(len(codes), seed)
    importance = np.empty((GROUPS, codes.shape[1], len(factors)))
    informativeness = {}
    jobs = [(codes, factor, group, trees, seed) for factor in factors.values()]
    grown = spread(_forests, jobs, workers, few=max(1, FEW_TREES // (GROUPS * trees)))
    for place, ((name, factor), (pred, own)) in enumerate(zip(factors.items(), grown, strict=True)):
        importance[:, :, place] = own
        if _continuous(factor):
            errors = mean((pred - factor) ** 2 / factor.var())
            informativeness[name] = _estimate(1 - errors.value, errors.n, 1 - errors.high, 1 - errors.low)
        else:
            informativeness[name] = share(pred == factor).to_json()
    whole = importance.mean(0)
    report: dict = {"informativeness": informativeness}
    for name, measure in (("disentanglement", disentanglement), ("completeness", completeness)):
        ends = jackknife(measure(whole), [measure(part) for part in importance])
        report[name] = _estimate(measure(whole), len(codes), *ends)
    report["importance"] = {name: whole[:, place].tolist() for place, name in enumerate(factors)}
    return report


def _forests(
    codes: np.ndarray, factor: np.ndarray, group: np.ndarray, trees: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """What forests grown without each group read of it, `[images]`, and their importances `[groups, numbers]`."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    pred, importance = np.empty(len(codes), factor.dtype), np.empty((GROUPS, codes.shape[1]))
    for g in range(GROUPS):
        kind = RandomForestRegressor if _continuous(factor) else RandomForestClassifier
        forest = kind(trees, max_features=None, min_samples_leaf=5, random_state=seed)  # type: ignore[arg-type]
        forest.fit(codes[group != g], factor[group != g])
        pred[group == g] = forest.predict(codes[group == g])
        importance[g] = forest.feature_importances_
    return pred, importance


def disentanglement(importance: Num[np.ndarray, "numbers factors"]) -> float:
    """1 - entropy over factors of every number's importance, weighted by how much the number matters at all.

    Example:
        >>> disentanglement(np.array([[0.5, 0.0], [0.5, 1.0]])) < disentanglement(np.eye(2))
        True
    """
    total = importance.sum(1)
    if not total.any():
        return 0.0
    return float((total / total.sum() * _concentration(importance)).sum())


def completeness(importance: Num[np.ndarray, "numbers factors"]) -> float:
    """1 - entropy over numbers of every factor's importance, the mean of all factors.

    Example:
        >>> completeness(np.array([[0.5, 0.0], [0.5, 1.0]]))
        0.5
    """
    return float(_concentration(importance.T).mean())


def _concentration(rows: np.ndarray) -> np.ndarray:
    """1 - H / ln K of every row; 0 for a row of zeros, 1 where there is one column only."""
    total = rows.sum(1, keepdims=True)
    if rows.shape[1] == 1:
        return (total[:, 0] > 0).astype(float)
    shares = np.where(total > 0, rows / np.where(total > 0, total, 1), 1 / rows.shape[1])
    return (1 + (shares * np.log(np.where(shares > 0, shares, 1))).sum(1) / np.log(rows.shape[1])).clip(0, 1)


def _jackknifed(gaps: Callable[[np.ndarray], list[float]], factors: Mapping[str, np.ndarray], seed: int) -> dict:
    """Every factor's gap and their mean, with the interval from leaving out one group of images after the other."""
    count = len(next(iter(factors.values())))
    group = _groups(count, seed)
    values = np.array(gaps(np.ones(count, dtype=bool)))
    without = np.array([gaps(group != g) for g in range(GROUPS)])             # [groups, factors]

    def estimate(value: float, others: np.ndarray) -> dict:
        return _estimate(value, count, *jackknife(value, others.tolist()))

    found = {name: estimate(values[i], without[:, i]) for i, name in enumerate(factors)}
    return {"all": estimate(values.mean(), without.mean(1)), "factors": found}


def _checked(codes: np.ndarray, factors: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    codes = np.asarray(codes, dtype=np.float64)
    arrays = {name: np.asarray(factor) for name, factor in factors.items()}
    if codes.ndim != 2 or len(codes) < FEWEST or not arrays:
        need = f"codes must be [images, numbers] of {FEWEST} images or more, with a factor or more"
        raise ValueError(f"{need}, not {codes.shape} with {len(arrays)}")
    for name, factor in arrays.items():
        if len(factor) != len(codes) or (factor == factor[0]).all():
            raise ValueError(f"the factor {name!r} must have {len(codes)} entries of two values or more")
    return codes, arrays


def _groups(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.arange(count) % GROUPS)


def _estimate(value: float, n: int, low: float, high: float) -> dict:
    return Estimate(float(value), float(max(0, low)) if value >= 0 else float(low), float(min(1, high)), n).to_json()


def _gap(scores: np.ndarray) -> float:
    """From the best to the second; with one number only, its score."""
    best = np.sort(scores)[::-1]
    return float(best[0] - (best[1] if len(best) > 1 else 0))


def _continuous(factor: np.ndarray) -> bool:
    return factor.dtype.kind == "f"


def _binned(numbers: np.ndarray, bins: int) -> np.ndarray:
    return np.digitize(numbers, np.histogram_bin_edges(numbers, bins)[1:-1])


def _entropy(places: np.ndarray) -> float:
    shares = np.bincount(places) / len(places)
    return -float((shares * np.log(np.where(shares > 0, shares, 1))).sum())


def information(one: Num[np.ndarray, " images"], other: Num[np.ndarray, " images"]) -> float:
    """Mutual information in nats of two columns of small integers, as they meet in the data.

    `sklearn.metrics.mutual_info_score` differs in the last digits and builds a table of all pairs for every call.

    Example:
        >>> round(information(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1])), 4)  # ln 2
        0.6931
    """
    return _entropy(one) + _entropy(other) - _entropy(one * (other.max() + 1) + other)


def _correlations(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Squared correlation of every number with a continuous factor; 0 for a constant number."""
    codes, factor = codes - codes.mean(0), factor - factor.mean()
    power = (codes**2).sum(0) * (factor**2).sum()
    return np.where(power > 0, (codes * factor[:, None]).sum(0) ** 2 / np.where(power > 0, power, 1), 0)
