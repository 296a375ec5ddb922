"""The Hopkins statistic: do codes form clusters, or are they spread as by chance? (Oldfield et al., Table III).

H = sum u / (sum u + sum w) over m samples, where u is the distance from a uniform random point to its nearest code and
w that from a sampled code to its nearest other code (B. Hopkins and J. G. Skellam, "A new method for determining the
type of distribution of plant individuals", Annals of Botany 18, 1954). About 0.5 for points spread as by chance,
towards 1 for clusters; above 0.75 is read as clustered. Uniform points are drawn in the box around the codes. With many
dimensions most of it is empty, and H is high for any data that is not uniform, so compare only equal dimensions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num

from recombine.metrics.intervals import Estimate, percentiles


def hopkins(
    points: Num[np.ndarray, " points *features"],
    samples: int | None = None,
    repeats: int = 100,
    dimensions: int | None = None,
    seed: int = 0,
) -> Estimate:
    """The mean Hopkins statistic of `repeats` draws of m = `samples` points, a tenth of all when None.

    With `dimensions`, points (maps are flattened) are projected on as many principal components first.

    Returns:
        From 0 to 1; the interval holds the middle 95 % of single draws.

    Raises:
        ValueError: There are fewer than three points, all of them are the same one, or m is more than there are.

    Example:
        >>> clusters = np.repeat([[0.0, 0.0], [9.0, 9.0]], 50, axis=0) + np.random.default_rng(0).random((100, 2))
        >>> hopkins(clusters).value > 0.9
        True
    """
    from sklearn.decomposition import PCA
    from sklearn.neighbors import NearestNeighbors

    points = np.asarray(points, dtype=np.float64).reshape(len(points), -1)
    samples = max(1, len(points) // 10) if samples is None else samples
    if len(points) < 3 or not 1 <= samples <= len(points):
        came = f"{samples} of {len(points)}"
        raise ValueError(f"the Hopkins statistic needs 3 points or more and 1 to as many samples, not {came}")
    if (points == points[0]).all():
        raise ValueError("all points are the same one; the Hopkins statistic needs some that differ")
    if dimensions is not None and dimensions < min(points.shape):
        points = PCA(dimensions, svd_solver="full").fit_transform(points)
    neighbours = NearestNeighbors().fit(points)
    to_other = neighbours.kneighbors(points, 2)[0][:, 1]                       # the nearest of all is the point itself
    rng = np.random.default_rng(seed)
    spread = rng.uniform(points.min(0), points.max(0), (repeats * samples, points.shape[1]))
    u = neighbours.kneighbors(spread, 1)[0].reshape(repeats, samples).sum(1)
    w = np.array([to_other[rng.choice(len(points), samples, replace=False)].sum() for _ in range(repeats)])
    values = u / (u + w)
    return Estimate(float(values.mean()), *percentiles(values), len(points))
