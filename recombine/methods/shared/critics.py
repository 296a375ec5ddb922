"""Critics of codes, images and patches, the two halves of a critic's cross-entropy, and the mean over valid images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from recombine.data.schema import Schema
from recombine.losses import binary_cross_entropy
from recombine.networks import BatchNorm2d, InstanceNorm2d, num_halvings, widths


def real_loss(logits: Tensor) -> Tensor:
    """-log D, a scalar: the cost of being judged fake."""
    return binary_cross_entropy(logits, 1.0).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """-log(1 - D), a scalar: the cost of being judged real."""
    return binary_cross_entropy(logits, 0.0).mean()


def code_critic(num_latents: int, width: int, dropout: float) -> nn.Sequential:
    """Critic of codes: `[batch, latents]` -> logit `[batch, 1]`; two hidden layers with dropout, no normalisation."""
    layers: list[nn.Module] = []
    for inputs in (num_latents, width):
        layers += [nn.Linear(inputs, width), nn.Dropout(dropout), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 1))


def image_critic(image_size: tuple[int, int], channels: int, width: int) -> nn.Sequential:
    """DCGAN's critic: images -> logit `[batch, 1]`, the mean score of 4 x 4 windows at 4 to 7 pixels."""
    sizes = [channels, *widths(width, num_halvings(image_size))]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        norm = [BatchNorm2d(outputs)] if layers else []
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), *norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def patch_critic(schema: Schema, channels: int, width: int, halvings: int, affine: bool = False) -> nn.Sequential:
    """PatchGAN: image `[batch, channels, height, width]` -> a score for each patch `[batch, 1, h, w]`.

    Isola, Zhu, Zhou and Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section
    3.2.2 and appendix. https://arxiv.org/abs/1611.07004

    Channels double from `width` with every layer, up to 8 times; 3 `halvings` give patches of 70 x 70 pixels; `affine`
    learns a scale and shift in every instance normalisation, in place of a convolution's bias.

    Raises:
        ValueError: The images are too small for so many halvings.
    """
    if (least := min(schema.image_size)) >> halvings < 3:
        most = (least // 3).bit_length() - 1
        raise ValueError(
            f"images of {schema.height}x{schema.width} are too small for patches of {halvings} halvings; "
            f"set critic_halvings to at most {most}"
        )
    sizes = [width * min(2**level, 8) for level in range(halvings + 1)]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for level, (before, after) in enumerate(pairwise(sizes), start=1):
        stride = 2 if level < halvings else 1
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=not affine), InstanceNorm2d(after, affine=affine)]
        layers += [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, 1, 1))


def masked_mean(losses: Tensor, valid: Tensor) -> Tensor:
    """The mean of losses `[batch]`, a scalar; those that are not `valid` (bool `[batch]`) are taken as 0."""
    return torch.where(valid, losses, 0).mean()
