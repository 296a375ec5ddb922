"""MATDR: groups of channels, one for each attribute, that are exchanged between two images and exchanged back.

Zhang, Huang, Li, Zhao and Zhang, "Multi-Attribute Transfer via Disentangled Representation", AAAI 2019.
https://doi.org/10.1609/aaai.v33i01.33019195
Reported: Table 1, CelebA Bangs, Smiling and Eyeglasses, 128 px, FID 45.23 on 2000 images; Table 2, FID against the
weight of the verification: 55.15 without it, 45.23 at 0.1, 70.72 at 10. Ours: see LOG.md.

Two labelled images are encoded, some attributes' units are exchanged, and both are decoded; the same again must return
the originals. A critic judges realism and labels. For each attribute, a verification head classifies from |a - a'|
whether two units come from the same image, so that a unit preserves its own image's smile and not just any.

Differs from the paper: it names two halvings, six residual blocks, 16 channels a unit and 160 for the rest; where the
blocks and normalisations are, the weight of the gradient penalty and the head's input are ours. The class losses are
means over label bits, where Eqs. 2 and 3 are sums. An attribute whose label is missing is never exchanged, and its bits
are left out of the class losses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import absolute_error, binary_cross_entropy, gradient_penalty
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import hard, units
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import check_kinds, labels_of_both, named_roles, partner
from recombine.networks import BatchNorm2d, Conv2d, Skip, check_divisible, exchanged, num_halvings


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's, for images of 128 px."""

    width: int = 64                         # channels of the first convolution; they double with every halving
    halvings: int = 2                       # of what the first convolution leaves, on the way to the codes
    residual_blocks: int = 3                # in the encoder, and as many in the decoder
    outer_kernel: int = 7                   # pixels, of the first and the last convolution
    outer_stride: int = 1                   # of these two; 2 spares the work at full size
    unit_channels: int = 16                 # of each attribute's part
    rest_channels: int = 160                # of the attribute-free part
    critic_width: int = 64                  # channels of the critic's first layer; they double with every halving
    pooled_verification: bool = False       # the head sees |a - a'| averaged over places
    adv_weight: float = 1.0                 # of the hinge losses
    class_weight: float = 0.1               # of the label bits, real and exchanged
    rec_weight: float = 10.0                # of the cycle
    ver_weight: float = 0.1                 # of the verification; 0 = no head (Table 2, first column)
    gp_weight: float = 10.0                 # of the gradient penalty; 0 = none
    early_rec_weight: float = 0.0           # of the first decoding where nothing is exchanged; 0 as published
    stay_weight: float = 0.0                # of how far images with exchanged units go from what they were; 0 as published
    any_subset: bool = False                # strategy 1 exchanges a random part of N with its labels, in place of all of N
    learning_rate: float = 1e-4             # of both players, Adam
    critic_learning_rate: float = 0.0       # of the critic where it has its own; 0 = the same, as published


# Differs from the paper: 64 and 32 px and tens of thousands of images in place of 3 million. The learning rate is 20
# times as high; networks are narrow, with one or two blocks each, and do nothing at full size; the class loss weighs
# 200 times as much beside the critic's other terms, which else keep it from learning labels for thousands of images,
# while the decoder learns to ignore units; the first decoding is compared with its image, wholly where nothing is
# exchanged, weakly elsewhere; on avatars labels are exchanged one by one, since pairs differ in nearly all of them.
SMALL = Config(
    width=32, halvings=1, residual_blocks=1, outer_kernel=4, outer_stride=2, unit_channels=4, rest_channels=24,
    critic_width=12, adv_weight=0.4, class_weight=4.0, gp_weight=1.0, early_rec_weight=30.0, stay_weight=3.0,
    any_subset=True, learning_rate=2e-3, critic_learning_rate=1e-3,
)  # fmt: skip
PRESETS = {
    "paper": Config(),
    "paper-without-verification": Config(ver_weight=0.0),
    "small": SMALL,
    "photos": replace(
        SMALL, width=48, residual_blocks=2, unit_channels=8, rest_channels=48, critic_width=16, any_subset=False
    ),
}
TINY = Config(width=4, residual_blocks=1, unit_channels=2, rest_channels=4, critic_width=4)  # for tests


def residual_block(channels: int) -> Skip:
    """Conv k3, BN, ReLU, conv k3, BN, added to the input."""
    return Skip(*convolution(channels, channels, 3), *convolution(channels, channels, 3)[:2])


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution, BN, ReLU; a stride of 2 halves the image."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - stride + 1) // 2, bias=False)
    return [layer, BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def doubling(inputs: int, outputs: int) -> list[nn.Module]:
    """Transposed convolution to twice the height and width, BN, ReLU."""
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def encoder(config: Config, channels: int, code_channels: int) -> nn.Sequential:
    """Image `[batch, channels, height, width]` -> codes `[batch, code channels, h, w]`."""
    sizes = [config.width << level for level in range(config.halvings + 1)]
    layers = convolution(channels, sizes[0], config.outer_kernel, config.outer_stride)
    for before, after in pairwise(sizes):
        layers += convolution(before, after, 4, 2)
    layers += [residual_block(sizes[-1]) for _ in range(config.residual_blocks)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], code_channels, 3, padding=1))


def decoder(config: Config, channels: int, code_channels: int) -> nn.Sequential:
    """Codes `[batch, code channels, h, w]` -> image `[batch, channels, height, width]` in [-1, 1]."""
    sizes = [config.width << level for level in range(config.halvings, -1, -1)]
    layers = convolution(code_channels, sizes[0], 3)
    layers += [residual_block(sizes[0]) for _ in range(config.residual_blocks)]
    for before, after in pairwise(sizes):
        layers += doubling(before, after)
    kernel, stride = config.outer_kernel, config.outer_stride
    last = nn.ConvTranspose2d if stride > 1 else nn.Conv2d
    return nn.Sequential(*layers, last(sizes[-1], channels, kernel, stride, (kernel - stride + 1) // 2), nn.Tanh())


class Critic(nn.Module):
    """StarGAN's critic: halvings down to 2 or 3 pixels, then one head for realism and one for the label bits.

    Spectral norm wherever realism is judged; no batch norm, with which a gradient penalty of each sample is undefined.
    """

    def __init__(self, image_size: tuple[int, int], channels: int, width: int, units: int):
        super().__init__()
        halvings = num_halvings(image_size, 2)
        sizes = [channels, *(width << level for level in range(halvings))]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [spectral_norm(Conv2d(before, after, 4, 2, 1)), nn.LeakyReLU(0.01, inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.real = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1, bias=False))
        self.bits = nn.Conv2d(sizes[-1], units, (image_size[0] >> halvings, image_size[1] >> halvings), bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> realism of every patch `[batch, 1, h, w]` and logits of the label bits `[batch, bits]`."""
        features = self.trunk(images)
        return self.real(features), self.bits(features).flatten(1)


class Verification(nn.Module):
    """For every attribute: do two units come from the same image?"""

    def __init__(self, count: int, shape: tuple[int, int, int], pooled: bool):
        super().__init__()
        self.count, self.shape, self.pooled = count, shape, pooled
        inputs = shape[0] if pooled else shape[0] * shape[1] * shape[2]
        self.heads = nn.ModuleList(nn.Linear(inputs, 1) for _ in range(count))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two codes `[batch, channels, h, w]`, units first -> logits of the same image `[batch, attributes]`."""
        apart = (first - second).abs()[:, : self.count * self.shape[0]].unflatten(1, (self.count, self.shape[0]))
        apart = apart.mean((3, 4)) if self.pooled else apart.flatten(2)
        return torch.cat([head(apart[:, place]) for place, head in enumerate(self.heads)], 1)


class MATDR(nn.Module):
    """The method; parts of its codes are the attributes `[batch, unit channels, h, w]` and `rest`."""

    sampler = "two_batches"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("class_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        check_kinds("matdr", schema)
        step = config.outer_stride << config.halvings
        check_divisible(schema.image_size, step)
        count, unit = len(schema.attributes), (config.unit_channels, schema.height // step, schema.width // step)
        code_channels = count * config.unit_channels + config.rest_channels
        self.encoder = encoder(config, schema.channels, code_channels)
        self.decoder = decoder(config, schema.channels, code_channels)
        bits = sum(map(units, schema.attributes))
        self.critic = Critic(schema.image_size, schema.channels, config.critic_width, bits)
        if config.ver_weight:
            self.verification = Verification(count, unit, config.pooled_verification)
        self.codebook = Prototypes(schema, dict.fromkeys(schema.names, unit), {name: (name,) for name in schema.names})

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: units `[batch, unit channels, h, w]` of the attributes, and `rest`."""
        sizes = [self.config.unit_channels] * len(self.schema.attributes) + [self.config.rest_channels]
        return Codes(dict(zip((*self.schema.names, "rest"), self.encoder(images).split(sizes, 1), strict=True)))

    def decode(self, codes: Codes) -> Tensor:
        return self.decoder(torch.cat([codes[name] for name in (*self.schema.names, "rest")], 1))

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.codebook.predict(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        """The mean unit `[1, unit channels, h, w]` of training images that show `value`.

        Differs from the paper: it has no label input and takes another image's unit; this stands for any such image.
        """
        return self.codebook.label_code(name, value)

    def players(self) -> dict[str, list[str]]:
        """The verification head plays on the generator's side, where it has a weight."""
        generator = ["encoder", "decoder", *(["verification"] if self.config.ver_weight else [])]
        return {"critic": ["critic"], "generator": generator}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        rate = (self.config.critic_learning_rate if player == "critic" else 0.0) or self.config.learning_rate
        return torch.optim.Adam(parameters, lr=rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step. First images and partners form one batch; its roll by half exchanges the two sides."""
        c, count = self.config, batch.size
        x = torch.cat([batch.images, partner("matdr", batch).images])
        y, known = labels_of_both(batch, self.schema.names)
        mask = self._mask(batch, y, known)
        y_swapped, known_swapped = exchanged(y, mask), exchanged(known, mask)
        e = self.encoder(x)
        x_swapped = self.decoder(self._exchanged_units(e, mask))

        (real, real_bits), (fake, _) = self.critic(x), self.critic(x_swapped.detach())
        critic_losses = {
            "adv": (c.adv_weight, hinge(real).mean() + hinge(-fake).mean()),                              # Eq. 1, L_adv, hinge form
            "class": (c.class_weight, self._class_loss(real_bits, y, known)),                             # Eq. 2, L_cls^D
        }
        if c.gp_weight:
            between = batch.uniform("between", 2).T.flatten()
            slope = gradient_penalty(lambda images: self.critic(images)[0], x, x_swapped.detach(), between)
            critic_losses["gp"] = (c.gp_weight, slope.mean())                                             # Eq. 1, gradient penalty
        yield Turn("critic", critic_losses, {"critic_accuracy": torch.cat([real > 0, fake < 0]).float().mean()})

        fake, fake_bits = self.critic(x_swapped)
        e_back = self._exchanged_units(self.encoder(x_swapped), mask)
        x_back = self.decoder(e_back)
        losses = {
            "adv": (c.adv_weight, -fake.mean()),                                                          # Eq. 1, L_adv
            "class": (c.class_weight, self._class_loss(fake_bits, y_swapped, known_swapped)),             # Eq. 3, L_cls^G
            "rec": (c.rec_weight, 2 * absolute_error(x_back, x).mean()),                                  # Eq. 4, L_rec, mean over pixels
        }
        if c.ver_weight:
            same, other = self.verification(e, e_back), self.verification(e, e_back.roll(count, 0))
            ver = 2 * (binary_cross_entropy(same, 1.0) + binary_cross_entropy(other, 0.0)).mean()         # Eq. 5, V of four pairs
            losses["ver"] = (c.ver_weight, ver)                                                           # Eq. 6, L_ver
        # Differs from the paper where set: the first decoding is compared with its image, not only the cycle.
        apart, touched = absolute_error(x_swapped, x), mask.any(1)
        if c.early_rec_weight:
            losses["early_rec"] = (c.early_rec_weight, 2 * (apart * ~touched).mean())                     # ours
        if c.stay_weight:
            losses["stay"] = (c.stay_weight, 2 * (apart * touched).mean())                                # ours
        yield Turn("generator", losses)

    def _mask(self, batch: Batch, y: Tensor, known: Tensor) -> Tensor:
        """Mask of the units to exchange, the same on both sides: `[2 batch, attributes]`.

        Differs from the paper where set: with `any_subset`, labels are exchanged one by one, so that each unit soon
        carries its own label; new combinations of labels are harmless where attributes are independent.
        """
        both = known[: batch.size] & known[batch.size :]
        equal, coins = y[: batch.size] == y[batch.size :], batch.uniform("subset", len(self.schema.attributes)) < 0.5
        exchange_labels = batch.uniform("strategy", 1) < 0.5
        exchange_labels = exchange_labels & coins if self.config.any_subset else exchange_labels
        return swap_mask(both & equal, both & ~equal, coins, exchange_labels).repeat(2, 1)

    def _exchanged_units(self, e: Tensor, mask: Tensor) -> Tensor:
        mask = F.pad(mask.repeat_interleave(self.config.unit_channels, 1), (0, self.config.rest_channels))
        return exchanged(e, mask[:, :, None, None])

    def _class_loss(self, logits: Tensor, y: Tensor, known: Tensor) -> Tensor:
        """Cross-entropy, averaged over label bits and images; the bits of a missing label add nothing."""
        bits = torch.cat([hard(a, y[:, place]) for place, a in enumerate(self.schema.attributes)], 1).to(logits)
        columns = zip(self.schema.attributes, known.split(1, 1), strict=True)
        known = torch.cat([column.expand(-1, units(a)) for a, column in columns], 1)
        loss = F.binary_cross_entropy_with_logits(logits, bits, reduction="none")
        return torch.where(known, loss, 0).mean()


def swap_mask(equal: Tensor, different: Tensor, coins: Tensor, exchange_labels: Tensor) -> Tensor:
    """Mask of the units of a pair to exchange: A and N where labels are exchanged, else A, a random subset of P.

    Either way the new images' combinations of labels are those of the pair. P are `equal` and N `different` labels,
    bool `[pairs, attributes]`; missing labels are in neither. Fair `coins` pick A. `exchange_labels` is strategy 1 in
    place of 2, bool `[pairs, 1]`, or one for each attribute.
    """
    return equal & coins | different & exchange_labels


def hinge(scores: Tensor) -> Tensor:
    """How far each score stays below 1."""
    return (1 - scores).relu()
