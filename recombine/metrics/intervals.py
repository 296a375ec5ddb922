"""How sure a number is: shares and means with n and a 95 % confidence interval.

Shares have the Wilson score interval (E. B. Wilson, "Probable inference, the law of succession, and statistical
inference", JASA 22, 1927), which stays inside [0, 1] and does not collapse at 0 or 1. Means have a percentile
bootstrap. Several verdicts on one image are not independent: they then count as fewer, by their own design effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
KEPT = 2_000_000                            # rows of bootstrap samples that are kept, or drawn at a time


@dataclass(frozen=True)
class Estimate:
    """A measured number with its 95 % confidence interval."""

    value: float                            # in the unit of what was measured; a share lies in [0, 1]
    low: float                              # of the interval
    high: float
    n: int                                  # measurements or verdicts behind it
    images: int | None = None               # that verdicts come from; 0 = one each, None = no verdicts

    def to_json(self) -> dict:
        """Plain values; `pictures` stands for `images`, as in every file written so far."""
        plain = {"value": self.value, "n": self.n, "low": self.low, "high": self.high}
        return plain if self.images is None else {**plain, "pictures": self.images}

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g}, n = {self.n})"


def wilson(hits: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Wilson score interval of a share: `hits` of n > 0 verdicts; fractions where n is an effective number.

    Example:
        >>> tuple(round(end, 4) for end in wilson(8, 10))
        (0.4902, 0.9433)
    """
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"a share needs n > 0 and hits from 0 to n, not {hits} of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def share(hits: Sequence[bool] | np.ndarray, images: Sequence[int] | np.ndarray | None = None) -> Estimate:
    """The share of true verdicts, with its interval; `images` are those of the verdicts, where one has several.

    Raises:
        ValueError: There is no verdict.

    Example:
        >>> print(share([True] * 8 + [False] * 2))
        0.8 (0.4902 to 0.9433, n = 10)
    """
    hits = np.asarray(hits, dtype=float)
    if not len(hits):
        raise ValueError("a share of no verdicts is not a number; leave the measurement out")
    value, groups, effective = float(hits.mean()), len(hits), float(len(hits))
    if images is not None:
        groups, effective = _effective(hits, np.asarray(images))
    low, high = wilson(value * effective, effective)
    return Estimate(value, low, high, len(hits), groups if groups < len(hits) else 0)


def mean(values: Sequence[float] | np.ndarray, samples: int = 1000, seed: int = 0) -> Estimate:
    """The mean of some measurements, with the interval of `samples` bootstrap means.

    Raises:
        ValueError: There is no measurement, or one is not finite.

    Example:
        >>> print(mean([2.0, 2.0, 2.0]))
        2 (2 to 2, n = 3)
    """
    values = np.asarray(values, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        infinite = np.sum(~np.isfinite(values))
        raise ValueError(f"a mean needs finite measurements, got {len(values)}, {infinite} not finite")
    means = [values[rows].mean(1) for rows in _resampled(len(values), samples, seed)]
    return Estimate(float(values.mean()), *percentiles(np.concatenate(means)), len(values))


def bootstrap(
    statistic: Callable[[np.ndarray], float], count: int, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic of `count` measurements.

    The statistic is that of the measurements in some rows `[count]`, each of which may come several times.
    `scipy.stats.bootstrap` draws the same samples, but its quantiles differ from these in the last digit.

    Example:
        >>> values = np.array([1.0, 1.0, 1.0])
        >>> bootstrap(lambda rows: values[rows].mean(), 3)
        (1.0, 1.0)
    """
    return percentiles([statistic(rows) for block in _resampled(count, samples, seed) for rows in block])


def bootstrap_counts(count: int, samples: int, seed: int) -> np.ndarray:
    """How often each measurement comes in every bootstrap sample, `[samples, count]`: for statistics of weights.

    Example:
        >>> bootstrap_counts(4, 3, seed=0).sum(1)
        array([4, 4, 4])
    """
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), samples)


def _resampled(count: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of every bootstrap sample, `[some samples, count]` at a time; a judgement draws the same ones many times."""
    if count * samples <= KEPT:
        yield _kept_rows(count, samples, seed)
        return
    rng, most = np.random.default_rng(seed), max(1, KEPT // count)
    for start in range(0, samples, most):
        yield rng.integers(0, count, (min(most, samples - start), count))


@lru_cache(maxsize=4)
def _kept_rows(count: int, samples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, (samples, count))


def percentiles(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The ends between which the middle 95 % of some values lie; NaN does not count.

    Example:
        >>> [round(end, 4) for end in percentiles([0.0, 1.0, float("nan")])]
        [0.025, 0.975]
    """
    low, high = np.nanquantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def jackknife(value: float, without: Sequence[float]) -> tuple[float, float]:
    """The interval of a statistic from what it is without each of several groups of equal size.

    Example:
        >>> jackknife(2.0, [2.0, 2.0, 2.0])
        (2.0, 2.0)
    """
    from scipy.stats import t

    count = len(without)
    error = np.sqrt((count - 1) / count * np.square(np.array(without) - np.mean(without)).sum())
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    return value - half, value + half


@dataclass(frozen=True)
class SeedEstimate(Estimate):
    """A mean over trainings that differ in their seed alone."""

    seeds: int = 1
    values: tuple[float, ...] = ()          # one per seed


def pooled(found: Sequence[Estimate]) -> Estimate:
    """The mean of several estimates on the same images; its interval is the root mean square of theirs, n the smallest.

    Example:
        >>> pooled([Estimate(0.2, 0.1, 0.3, 50), Estimate(0.4, 0.3, 0.5, 40)]).n
        40
    """
    value = float(np.mean([one.value for one in found]))
    below = float(np.sqrt(np.mean([(one.value - one.low) ** 2 for one in found])))
    above = float(np.sqrt(np.mean([(one.value - one.high) ** 2 for one in found])))
    return Estimate(value, value - below, value + above, min(one.n for one in found))


def over_seeds(found: Sequence[Estimate], bounded: bool = False) -> SeedEstimate:
    """The mean over S seeds, value +- sqrt(s^2 + p^2) with a 95 % interval where S >= 2.

        s  t(0.975, S - 1) * (deviation between seeds) / sqrt(S)
        p  root mean square of the distance from each seed's value to the end of its own interval

    The second term is not divided by the number of seeds: all are judged on the same images, and more seeds do not make
    these more typical. One seed keeps its own interval, which does not cover the luck of a training. A `bounded` value
    lies in [0, 1], and so does its interval.

    Example:
        >>> found = over_seeds([Estimate(1.0, 1.0, 1.0, 9), Estimate(3.0, 3.0, 3.0, 9)])
        >>> found.value, round(found.high, 3)  # t(0.975, 1) = 12.706
        (2.0, 14.706)
    """
    from scipy import stats

    values, own = np.array([one.value for one in found]), pooled(found)
    between = 0.0
    if len(values) > 1:
        between = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    low = own.value - float(np.hypot(between, own.low - own.value))
    high = own.value + float(np.hypot(between, own.high - own.value))
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return SeedEstimate(own.value, low, high, own.n, None, len(values), tuple(values.tolist()))


def _effective(hits: np.ndarray, images: np.ndarray) -> tuple[int, float]:
    """Number of images, and how many independent verdicts all of them are worth."""
    _, which = np.unique(images, return_inverse=True)
    groups, value = int(which.max()) + 1, hits.mean()
    plain = value * (1 - value) / len(hits)
    excess = np.bincount(which, weights=hits - value)
    clustered = (excess**2).sum() / len(hits) ** 2 * groups / max(groups - 1, 1)
    if groups == len(hits) or plain == 0 or clustered == 0:
        return groups, float(groups)
    return groups, float(np.clip(len(hits) * plain / clustered, min(groups, 1), len(hits)))
