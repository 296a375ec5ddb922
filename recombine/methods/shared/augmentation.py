"""Augmentation of what a critic sees, real and made images alike, as far as it memorises the real ones.

Karras, Aittala, Hellsten, Laine, Lehtinen and Aila, "Training Generative Adversarial Networks with Limited Data", NeurIPS
2020. https://arxiv.org/abs/2006.06676

Each of two kinds of change is made with a probability of its own draw, so that at probabilities below 1 the made images
must still look like unchanged ones (section 2.2). The probability follows the share of real images that the critic is
sure of (section 3).

Differs from the paper: two kinds, each drawn at once, in place of 18 steps: one affine map (shift, zoom, turn), and one
change of colour (brightness, contrast, saturation); mirroring is left to the data.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NUMBERS = 9                                 # uniform numbers that the changes of an image take
SHIFT = 1 / 8                               # of the image's side, at most, to either side
ZOOM = 0.2                                  # binary logarithm of the largest zoom, in and out
TURN = 0.15                                 # radians at most, to either side
BRIGHTNESS = 0.2                            # added, at most, of the range's half
CONTRAST, SATURATION = 0.5, 1.0             # binary logarithms of the largest factors, up and down
SURE = 0.6                                  # mean sign of the critic on real images that is aimed at
IMAGES = 200_000                            # in which the probability moves from 0 to 1, or back


def augmented(images: Tensor, uniform: Tensor, probability: float) -> Tensor:
    """Images `[batch, channels, height, width]` changed by uniform numbers `[batch, NUMBERS]`; differentiable.

    With probability 0 they come back as they are.
    """
    if not probability:
        return images
    moved, coloured = (uniform[:, i, None] < probability for i in (0, 1))
    spread = 2 * uniform[:, 2:] - 1
    return recoloured(transformed(images, spread[:, :4] * moved), spread[:, 4:] * coloured)


def transformed(images: Tensor, amount: Tensor) -> Tensor:
    """Images shifted, zoomed and turned by amounts `[batch, 4]` from -1 to 1, of which 0 leaves all as it is."""
    zoom, turn = torch.exp2(ZOOM * amount[:, 2]), TURN * amount[:, 3]
    ratio = images.shape[2] / images.shape[3]
    cosine, sine, shift = zoom * turn.cos(), zoom * turn.sin(), 2 * SHIFT * amount[:, :2]
    rows = torch.stack([cosine, -sine * ratio, shift[:, 0], sine / ratio, cosine, shift[:, 1]], 1)
    field = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, field.to(images), mode="bilinear", padding_mode="reflection", align_corners=False)


def recoloured(images: Tensor, amount: Tensor) -> Tensor:
    """Images with other brightness, contrast and saturation by amounts `[batch, 3]` from -1 to 1; 0 leaves them."""
    brightness, contrast, saturation = amount[:, :, None, None, None].unbind(1)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * torch.exp2(SATURATION * saturation)
    return images * torch.exp2(CONTRAST * contrast) + BRIGHTNESS * brightness


def next_probability(probability: float, sign: float, images: int) -> float:
    """The probability after so many images, of which the critic gave real ones the mean `sign`, -1 to 1 (section 3.1)."""
    step = images / IMAGES
    return min(1.0, max(0.0, probability + (step if sign > SURE else -step)))
