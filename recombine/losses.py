"""Losses as functions: tensors in, one value per sample out, never reduced over the batch and never weighted.

Natural logarithms everywhere; classifiers give logits. Every loss is at least 0 and is something to descend.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def binary_cross_entropy(logits: Tensor, target: Tensor | float) -> Tensor:
    """Binary cross-entropy in nats, averaged over everything but the batch: `[batch, ...]` -> `[batch]`.

    Args:
        logits: The prediction before its sigmoid.
        target: What should be predicted, in [0, 1]; a number stands for a tensor full of it.
    """
    if not isinstance(target, Tensor):
        target = torch.full_like(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).mean(1)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error, averaged over everything but the batch: `[batch, ...]` -> `[batch]`."""
    return (prediction - target).square().flatten(1).mean(1)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Absolute error, averaged over everything but the batch: `[batch, ...]` -> `[batch]`."""
    return (prediction - target).abs().flatten(1).mean(1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy in nats of logits `[batch, values]` with positions `[batch]`: `[batch]`."""
    return F.cross_entropy(logits, target, reduction="none")


def cross_entropy_to_uniform(logits: Tensor) -> Tensor:
    """Cross-entropy of a softmax `[batch, values]` against the uniform distribution, less its minimum log(values): `[batch]`."""
    return -F.log_softmax(logits, 1).mean(1) - math.log(logits.shape[1])


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence in nats of a diagonal Gaussian `[batch, dim]` from N(0, I): `[batch]`."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Squared distance from 1 of the critic's slope between real and fake images: `[batch]`.

    Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, Eq. 3. https://arxiv.org/abs/1704.00028

    Args:
        critic: Images `[batch, channels, height, width]` -> scores `[batch, ...]`; those of patches are added up.
        real: Images; fake ones of the same shape meet them one by one.
        fake: Images without gradient.
        mix: Where between fake (1) and real (0) the slope is taken, in [0, 1], `[batch]`.
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1)).to(real)
    between = (real + share * (fake - real)).detach().requires_grad_(True)
    with torch.enable_grad():
        scores = critic(between)
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square()
