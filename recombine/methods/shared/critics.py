"""Critics of an adversarial autoencoder, which return logits, and the two halves of their cross-entropy."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from recombine.losses import binary_cross_entropy
from recombine.networks import BatchNorm2d, num_halvings, widths


def real_loss(logits: Tensor) -> Tensor:
    """-log D, a scalar: the cost of being judged fake."""
    return binary_cross_entropy(logits, 1.0).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """-log(1 - D), a scalar: the cost of being judged real."""
    return binary_cross_entropy(logits, 0.0).mean()


def code_critic(num_latents: int, width: int, dropout: float) -> nn.Sequential:
    """Critic of codes: `[batch, latents]` -> logit `[batch, 1]`; two hidden layers with dropout, without normalisation."""
    layers: list[nn.Module] = []
    for inputs in (num_latents, width):
        layers += [nn.Linear(inputs, width), nn.Dropout(dropout), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def image_critic(image_size: tuple[int, int], channels: int, width: int) -> nn.Sequential:
    """Critic of images, DCGAN's: images -> logit `[batch, 1]`; halves the image to 4 to 7 pixels and averages the scores of 4 x 4 windows."""
    sizes = [channels, *widths(width, num_halvings(image_size))]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        norm = [BatchNorm2d(outputs)] if layers else []
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), *norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
