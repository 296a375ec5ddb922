"""Pieces of methods that translate between two domains, the two values of one binary attribute.

The critic is the PatchGAN of Isola, Zhu, Zhou and Efros, "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017, section 3.2.2 and appendix. https://arxiv.org/abs/1611.07004
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from recombine.data.schema import Attribute, Schema
from recombine.networks import image_trunk


def only_binary(schema: Schema, method: str) -> Attribute:
    """The one binary attribute of a schema that has no other; raises ValueError naming what there is."""
    if len(schema.attributes) != 1 or schema.attributes[0].kind != "binary":
        found = ", ".join(f"{a.name} ({a.kind})" for a in schema.attributes) or "none"
        raise ValueError(
            f"{method} takes exactly one binary attribute and got {found}; it is one model for each ordered pair of "
            "domains: name one with --attributes, and train again for every other"
        )
    return schema.attributes[0]


def domain_classifier(schema: Schema, width: int) -> nn.Sequential:
    """Image `[batch, channels, height, width]` -> logit `[batch, 1]` of the attribute's second value."""
    trunk, features = image_trunk(schema.image_size, schema.channels, width)
    return nn.Sequential(*trunk, nn.Linear(features, 1))


def patch_critic(schema: Schema, channels: int, width: int, halvings: int, affine: bool = False) -> nn.Sequential:
    """PatchGAN: image `[batch, channels, height, width]` -> a score for each patch `[batch, 1, h, w]`.

    Args:
        schema: Of the images, for their size.
        channels: Of the input.
        width: Channels of the first layer; they double with every layer, up to 8 times.
        halvings: 3 for patches of 70 x 70 pixels.
        affine: Learn a scale and shift in every instance normalisation, in place of a convolution's bias.

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
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=not affine), nn.InstanceNorm2d(after, affine=affine)]
        layers += [nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, 1, 1))


def masked_mean(losses: Tensor, valid: Tensor) -> Tensor:
    """The mean of losses `[batch]`, a scalar; those that are not `valid` (bool `[batch]`) are taken as 0."""
    return torch.where(valid, losses, 0).mean()
