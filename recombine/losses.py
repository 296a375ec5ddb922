"""Losses as functions: tensors in, one value per sample out, never reduced over the batch and never weighted.

Natural logarithms everywhere; classifiers give logits. Every loss is at least 0 and is something to descend.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from recombine.precision import full_precision


def binary_cross_entropy(
    logits: Float[Tensor, " batch *each"], target: Float[Tensor, " batch *each"] | float
) -> Float[Tensor, " batch"]:
    """Binary cross-entropy in nats, averaged over everything but the batch: `[batch, ...]` -> `[batch]`.

    Args:
        logits: The prediction before its sigmoid.
        target: What should be predicted, in [0, 1]; a number stands for a tensor full of it.

    Example:
        >>> binary_cross_entropy(torch.tensor([[0.0, 0.0], [100.0, 0.0]]), 1.0)  # ln 2 where the logit is 0
        tensor([0.6931, 0.3466])
    """
    if not isinstance(target, Tensor):
        target = torch.full_like(logits, target)
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).mean(1)


def squared_error(
    prediction: Float[Tensor, " batch *each"], target: Float[Tensor, " batch *each"]
) -> Float[Tensor, " batch"]:
    """Squared error, averaged over everything but the batch: `[batch, ...]` -> `[batch]`.

    Example:
        >>> squared_error(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2))
        tensor([5.])
    """
    return (prediction - target).square().flatten(1).mean(1)


def absolute_error(
    prediction: Float[Tensor, " batch *each"], target: Float[Tensor, " batch *each"]
) -> Float[Tensor, " batch"]:
    """Absolute error, averaged over everything but the batch: `[batch, ...]` -> `[batch]`.

    Example:
        >>> absolute_error(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2))
        tensor([2.])
    """
    return (prediction - target).abs().flatten(1).mean(1)


def cross_entropy(logits: Float[Tensor, "batch values"], target: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Softmax cross-entropy in nats of logits `[batch, values]` with positions `[batch]`: `[batch]`.

    Example:
        >>> cross_entropy(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
        tensor([0.1269, 0.6931])
    """
    return F.cross_entropy(logits, target, reduction="none")


def cross_entropy_to_uniform(logits: Float[Tensor, "batch values"]) -> Float[Tensor, " batch"]:
    """Cross-entropy of a softmax `[batch, values]` to a uniform distribution, less its minimum log(values): `[batch]`.

    Example:
        >>> cross_entropy_to_uniform(torch.tensor([[3.0, 3.0], [4.0, 0.0]]))
        tensor([0.0000, 1.3250])
    """
    return -F.log_softmax(logits, 1).mean(1) - math.log(logits.shape[1])


def kl_to_standard_normal(
    mean: Float[Tensor, "batch dim"], log_variance: Float[Tensor, "batch dim"]
) -> Float[Tensor, " batch"]:
    """KL divergence in nats of a diagonal Gaussian `[batch, dim]` from N(0, I): `[batch]`.

    Example:
        >>> kl_to_standard_normal(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.zeros(2, 2))  # half the squared mean
        tensor([0., 1.])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "batch channels height width"],
    fake: Float[Tensor, "batch channels height width"],
    mix: Float[Tensor, " batch"],
) -> Float[Tensor, " batch"]:
    """Squared distance from 1 of the critic's slope between real and fake images: `[batch]`; always in full precision.

    Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, Eq. 3. https://arxiv.org/abs/1704.00028

    Args:
        critic: Images `[batch, channels, height, width]` -> scores `[batch, ...]`; those of patches are added up.
        real: Images; fake ones of the same shape meet them one by one.
        fake: Images without gradient.
        mix: Where between fake (1) and real (0) the slope is taken, in [0, 1], `[batch]`.

    Example:
        >>> real, fake = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
        >>> gradient_penalty(lambda images: 3 * images, real, fake, torch.tensor([0.5])).detach()  # (3 - 1)^2
        tensor([4.])
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1)).to(real)
    between = (real + share * (fake - real)).detach().requires_grad_(True)
    with torch.enable_grad(), full_precision():
        scores = critic(between)
        (slope,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square()
