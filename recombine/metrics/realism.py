"""How like real images generated ones are, as a set: Frechet distance and kernel distance (KID) between their features.

Both depend on the feature extractor and on the number of images, so the extractor's name, the number of features and
both numbers of images stand beside every result; numbers with different ones cannot be compared. Where no network with
well-known weights is at hand, the data set's own classifier gives the features: fit to compare methods on that data
set, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from recombine.metrics.intervals import jackknife, percentiles

GROUPS = 20                                 # that the images are put into to find how sure a Frechet distance is
FEWEST = 2 * GROUPS                         # images on both sides; a Frechet distance of many features needs more


@dataclass(frozen=True)
class Extractor:
    """A named feature extractor."""

    name: str                               # stands in every result
    function: Callable[[Tensor], Tensor]    # images [batch, channels, height, width] in [-1, 1] -> [batch, features]


def extract(
    extractor: Extractor, images: Iterable[Float[Tensor, "_ channels height width"]]
) -> Float[np.ndarray, "images features"]:
    """Features, float64, of images that come a batch at a time.

    Raises:
        ValueError: The extractor gives something else than one vector per image, or there is no image.

    Example:
        >>> means = Extractor("mean colour", lambda images: images.mean((2, 3)))
        >>> extract(means, [torch.ones(2, 3, 4, 4), torch.zeros(1, 3, 4, 4)])[:, 0]
        array([1., 1., 0.])
    """
    parts = []
    with torch.no_grad():
        for batch in images:
            found = extractor.function(batch)
            if found.ndim != 2 or len(found) != len(batch):
                need = f"the extractor {extractor.name!r} must give features [batch, features]"
                raise ValueError(f"{need}; for {len(batch)} images it gave a tensor of shape {tuple(found.shape)}")
            parts.append(found.cpu().double().numpy())
    if not parts:
        raise ValueError("there is no image to take features of")
    return np.concatenate(parts)


def frechet_distance(
    real: Num[np.ndarray, "_ features"], made: Num[np.ndarray, "_ features"], extractor: str, seed: int = 0
) -> dict:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), from means m and covariances C of both sets' features.

    It is biased: too large for few images, even between two halves of one set. The interval is that of a jackknife over
    20 random groups of images and does not cover this bias. `torchmetrics` agrees to about seven digits, but takes
    images rather than features, and every jackknife group would have to pass its network again.

    Returns:
        `value`, `low`, `high`, `n` (the smaller of `n_real` and `n_made`), `features`, `extractor`, its name.

    Raises:
        ValueError: One set has fewer than twice as many images as there are features (and at least 40): its covariance
            would be mostly chance. Use `kernel_distance`, which is not biased.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 2))
        >>> round(frechet_distance(features, features + [3, 4], "shift by 5")["value"], 6)
        25.0
    """
    real, made = _checked(real, made)
    needed = max(2 * real.shape[1], FEWEST)
    if min(len(real), len(made)) < needed:
        raise ValueError(
            f"a Frechet distance of {real.shape[1]} features needs {needed} images on both sides, not {len(real)} and "
            f"{len(made)}; take more, or kernel_distance"
        )
    groups = [np.random.default_rng(seed).permutation(np.arange(len(side)) % GROUPS) for side in (real, made)]
    value = _frechet(real, made)
    low, high = jackknife(value, [_frechet(real[groups[0] != g], made[groups[1] != g]) for g in range(GROUPS)])
    return {**_about(real, made, extractor), "value": value, "low": max(0.0, low), "high": high}


def kernel_distance(
    real: Num[np.ndarray, "_ features"],
    made: Num[np.ndarray, "_ features"],
    extractor: str,
    subsets: int = 100,
    size: int | None = None,
    seed: int = 0,
) -> dict:
    """KID: the unbiased squared maximum mean discrepancy with the kernel (x y / features + 1)^3, averaged over subsets.

    M. Binkowski et al., "Demystifying MMD GANs", ICLR 2018. About 0 for sets of one kind, and then as often below it.
    `torchmetrics` takes images rather than features; its estimate of one subset differs in the last digit. A subset has
    `size` images of each side; half of the smaller side, at most 1,000, when None.

    Returns:
        `value`, `n` (the smaller of `n_real` and `n_made`), `features`, `extractor`, `subset_size`; `low` and `high`
        hold the middle 95 % of single subsets, so they are those of that many images, wider than for all of them.

    Raises:
        ValueError: A subset would hold fewer than two images, or more than there are.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(100, 2))
        >>> [round(kernel_distance(features, features + shift, "shifted")["value"]) for shift in (0, 3)]
        [0, 1321]
    """
    real, made = _checked(real, made)
    fewest = min(len(real), len(made))
    size = min(1000, fewest // 2) if size is None else size
    if not 2 <= size <= fewest:
        raise ValueError(f"subsets must hold 2 images or more and at most the {fewest} that there are, not {size}")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        values.append(_discrepancy(*(side[rng.choice(len(side), size, replace=False)] for side in (real, made))))
    low, high = percentiles(values)
    found = {"subset_size": size, "value": float(np.mean(values)), "low": low, "high": high}
    return {**_about(real, made, extractor), **found}


def _checked(real: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1]:
        shapes = f"{real.shape} and {made.shape}"
        raise ValueError(f"features must be [images, features] with as many features on both sides, not {shapes}")
    if not (np.isfinite(real).all() and np.isfinite(made).all()):
        raise ValueError("some features are not finite; look for a broken image or extractor")
    return real, made


def _about(real: np.ndarray, made: np.ndarray, extractor: str) -> dict:
    count = min(len(real), len(made))
    return {"extractor": extractor, "features": real.shape[1], "n": count, "n_real": len(real), "n_made": len(made)}


def _frechet(real: np.ndarray, made: np.ndarray) -> float:
    mean_a, mean_b = real.mean(0), made.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (real, made))
    # tr (C1 C2)^(1/2) from the symmetric C1^(1/2) C2 C1^(1/2): the same eigenvalues without complex numbers.
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0)).sum()
    return max(0.0, float(np.square(mean_a - mean_b).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross))


def _discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    own = 0.0
    for side in (x, y):
        kernel = _kernel(side, side)
        own += (kernel.sum() - np.trace(kernel)) / (len(side) * (len(side) - 1))
    return float(own - 2 * _kernel(x, y).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3
