"""How like real images made ones are, as a set: Frechet distance and kernel distance (KID) between their features.

Both depend on who looks at the images and on how many there are, so the extractor's name, the number of features and
both numbers of images stand beside every result; numbers with different ones cannot be compared. Where no network with
well-known weights is at hand, the data set's own judge looks: fit to compare methods on that data set, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recombine.evaluation.classifier import Classifier
from recombine.metrics.intervals import CONFIDENCE

GROUPS = 20                                 # that the images are put into to find how sure a Frechet distance is
FEWEST = 2 * GROUPS                         # images on both sides of either distance; a Frechet distance of many features needs more


@dataclass(frozen=True)
class Extractor:
    """Who looks at the images."""

    name: str                               # stands in every result
    function: Callable[[Tensor], Tensor]    # images [batch, channels, height, width] in [-1, 1] -> [batch, features]


def judge_extractor(classifier: Classifier) -> Extractor:
    """The last features of a data set's judge, averaged over the image: 144 of a quick one, 192 of a thorough one.

    Where the judge looks at images and their mirror images, the features are the mean of both.
    """
    convolutions = classifier.trunk[:-3]                                    # without pooling to 4 x 4, flattening, dropout

    def look(images: Tensor) -> Tensor:
        images = images.clamp(-1, 1).float().to(next(classifier.parameters()).device)
        sides = [images, images.flip(-1)] if classifier.settings.mirrored else [images]
        return torch.stack([convolutions(classifier.sized(side)).mean((2, 3)) for side in sides]).mean(0)

    return Extractor(f"judge, width {classifier.settings.width}, reads {', '.join(classifier.names)}", look)


def extract(extractor: Extractor, pictures: Iterable[Tensor]) -> np.ndarray:
    """Features `[pictures, features]`, float64, of images that come a batch at a time.

    Raises:
        ValueError: The extractor gives something else than one vector per image, or there is no image.
    """
    parts = []
    with torch.no_grad():
        for batch in pictures:
            found = extractor.function(batch)
            if found.ndim != 2 or len(found) != len(batch):
                raise ValueError(
                    f"the extractor {extractor.name!r} must give features [batch, features]; for {len(batch)} images it "
                    f"gave a tensor of shape {tuple(found.shape)}"
                )
            parts.append(found.cpu().double().numpy())
    if not parts:
        raise ValueError("there is no image to look at")
    return np.concatenate(parts)


def frechet_distance(real: np.ndarray, made: np.ndarray, extractor: str, seed: int = 0) -> dict:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), from means m and covariances C of both sets' features.

    It is biased: too large for few images, even between two halves of one set. The interval is that of a jackknife over
    20 random groups of images and knows nothing of this bias.

    Args:
        real: Features `[pictures, features]` of the real images.
        made: Features of the made ones.
        extractor: Name of who looked.
        seed: Of the groups.

    Returns:
        `value`, `low`, `high`, `n` (the smaller of `n_real` and `n_made`), `features`, `extractor`.

    Raises:
        ValueError: One set has fewer than twice as many images as there are features (and at least 40): its covariance
            would be mostly chance. Use `kernel_distance`, which is not biased.
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
    without = [_frechet(real[groups[0] != g], made[groups[1] != g]) for g in range(GROUPS)]
    low, high = jackknife(value, without)
    return {**_about(real, made, extractor), "value": value, "low": max(0.0, low), "high": high}


def kernel_distance(
    real: np.ndarray, made: np.ndarray, extractor: str, subsets: int = 100, size: int | None = None, seed: int = 0
) -> dict:
    """KID: the unbiased squared maximum mean discrepancy with the kernel (x y / features + 1)^3, averaged over subsets.

    M. Binkowski et al., "Demystifying MMD GANs", ICLR 2018. About 0 for sets of one kind, and then as often below it.

    Args:
        real: Features `[pictures, features]` of the real images.
        made: Features of the made ones.
        extractor: Name of who looked.
        subsets: How many are drawn.
        size: Images of each side in a subset; half of the smaller side, at most 1,000, when None.
        seed: Of the draw.

    Returns:
        `value`, `n` (the smaller of `n_real` and `n_made`), `features`, `extractor`, `subset_size`; `low` and `high` hold the middle 95 % of
        single subsets, so they are those of that many images, wider than for all of them.

    Raises:
        ValueError: A subset would hold fewer than two images, or more than there are.
    """
    real, made = _checked(real, made)
    fewest = min(len(real), len(made))
    size = min(1000, fewest // 2) if size is None else size
    if not 2 <= size <= fewest:
        raise ValueError(f"subsets must hold 2 images or more and at most the {fewest} that there are, not {size}")
    chance = np.random.default_rng(seed)
    values = [
        _discrepancy(*(side[chance.choice(len(side), size, replace=False)] for side in (real, made))) for _ in range(subsets)
    ]
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {
        **_about(real, made, extractor), "subset_size": size,
        "value": float(np.mean(values)), "low": float(low), "high": float(high),
    }


def jackknife(value: float, without: list[float]) -> tuple[float, float]:
    """The 95 % interval of a statistic from what it is without each of several groups of equal size.

    Example:
        >>> jackknife(2.0, [2.0, 2.0, 2.0])
        (2.0, 2.0)
    """
    from scipy.stats import t

    count = len(without)
    error = np.sqrt((count - 1) / count * np.square(np.array(without) - np.mean(without)).sum())
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    return value - half, value + half


def _checked(real: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, made = np.asarray(real, np.float64), np.asarray(made, np.float64)
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1]:
        raise ValueError(f"features must be [images, features] with as many features on both sides, not {real.shape} and {made.shape}")
    if not (np.isfinite(real).all() and np.isfinite(made).all()):
        raise ValueError("some features are not finite; look for a broken image or extractor")
    return real, made


def _about(real: np.ndarray, made: np.ndarray, extractor: str) -> dict:
    count = min(len(real), len(made))
    return {"extractor": extractor, "features": real.shape[1], "n": count, "n_real": len(real), "n_made": len(made)}


def _frechet(real: np.ndarray, made: np.ndarray) -> float:
    (mean_a, cov_a), (mean_b, cov_b) = ((side.mean(0), np.atleast_2d(np.cov(side, rowvar=False))) for side in (real, made))
    # tr (C1 C2)^(1/2) from the symmetric C1^(1/2) C2 C1^(1/2), which has the same eigenvalues and needs no complex numbers.
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
