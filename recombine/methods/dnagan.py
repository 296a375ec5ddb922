"""DNA-GAN: a unit of the code for each attribute, zero where the attribute is absent, which is swapped between images.

Xiao, Hong and Ma, "DNA-GAN: Learning Disentangled Representations from Multi-Attribute Images", 2017.
https://arxiv.org/abs/1711.05415

Attributes take turns. Of a pair, A has the attribute of the turn and B lacks it. B's unit is annihilated, that is, set
to zero, and both images must be reconstructed from what is left. Then the units are swapped, and a Wasserstein critic,
conditioned on the labels, scores A without the unit and B with it.

Differs from the paper: categorical attributes, too. Each of their values is a binary attribute with a unit of its own,
and the attribute's part is all of them. A pair differs in value: A has A's and lacks B's, and the reverse; units of
values that an image lacks are annihilated, and the whole part is swapped. For a binary attribute, which has one unit,
this is the paper.

Differs from the paper: pairs are those of two random batches that differ, and the others are only reconstructed; the
critic scores fakes with their target labels, where the released code took the source's whole vector; the rest has
channels of its own, so that it does not shrink with every attribute.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import absolute_error
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import hard, units
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import check_kinds, labels_of_both, named_roles, partner
from recombine.networks import BatchNorm2d, check_divisible, exchanged, num_halvings, with_planes


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the released code's, for two attributes and images of 64 px."""

    width: int = 128                        # channels of the first convolution; they double with every halving
    halvings: int = 3                       # from the image to the codes
    unit_channels: int = 128                # of each binary attribute, and of each value of a categorical one
    rest_channels: int = 256                # of the attribute-free part
    critic_width: int = 128                 # channels of the critic's first layer; they double up to 4 times as many
    clip: float = 0.01                      # largest absolute value of a critic's weight
    critic_steps: int = 100                 # of the critic before a step of the generator ...
    critic_every: int = 500                 # ... once in so many steps of the generator; else 1
    adv_weight: float = 1.0                 # of the adversarial loss beside the reconstruction
    learning_rate: float = 5e-5             # of both players, RMSprop
    smoothing: float = 0.8                  # RMSprop's alpha


# Differs from the paper: 32 px and thousands of images. So networks are narrow and steps 20 times as long; the critic's
# weights may be larger, since so few of them would give scores near 0; it has fewer steps alone, since it converges
# quickly.
PRESETS = {
    "paper": Config(),
    "small": Config(
        width=16, unit_channels=4, rest_channels=48, critic_width=12, clip=0.05, critic_steps=20, learning_rate=1e-3
    ),
}
TINY = Config(width=4, unit_channels=2, rest_channels=4, critic_width=4, critic_steps=1)  # for tests


class Critic(nn.Module):
    """Image and label bits -> one score for every attribute."""

    def __init__(self, image_size: tuple[int, int], channels: int, width: int, bits: int, attributes: int):
        super().__init__()
        halvings = num_halvings(image_size)
        sizes = [channels + bits, *(width * min(2**level, 4) for level in range(halvings))]
        layers = [layer for level, pair in enumerate(pairwise(sizes)) for layer in halving(*pair, norm=level > 0)]
        features = sizes[-1] * (image_size[0] >> halvings) * (image_size[1] >> halvings)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, attributes))

    def forward(self, images: Tensor, bits: Tensor) -> Tensor:
        """`[batch, channels, h, w]` and `[batch, bits]`, planes concatenated to the image -> `[batch, attributes]`."""
        return self.layers(with_planes(images, bits))


def halving(inputs: int, outputs: int, norm: bool = True) -> list[nn.Module]:
    """Convolution to half the height and width, batch norm, leaky ReLU."""
    middle = [BatchNorm2d(outputs)] if norm else []
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not norm), *middle, nn.LeakyReLU(0.2)]


def doubling(inputs: int, outputs: int) -> list[nn.Module]:
    """Transposed convolution to twice the height and width, batch norm, ReLU."""
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), BatchNorm2d(outputs), nn.ReLU()]


class DNAGAN(nn.Module):
    """The method; parts of its codes are the attributes `[batch, units x unit channels, h, w]` and `rest`."""

    sampler = "two_batches"
    kinds = ("binary", "categorical")
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        check_kinds("dnagan", schema)
        step = 1 << config.halvings
        check_divisible(schema.image_size, step)
        self.bits = [units(a) for a in schema.attributes]
        sizes = {a.name: units(a) * config.unit_channels for a in schema.attributes}
        self.sizes = {**sizes, "rest": config.rest_channels}
        widths = [config.width << level for level in range(config.halvings)]
        down, up = [schema.channels, *widths[:-1], sum(self.sizes.values())], [sum(self.sizes.values()), *widths[:0:-1]]
        layers = [layer for level, pair in enumerate(pairwise(down)) for layer in halving(*pair, norm=level > 0)]
        self.encoder = nn.Sequential(*layers)
        last = nn.ConvTranspose2d(up[-1], schema.channels, 4, 2, 1)
        self.decoder = nn.Sequential(*(layer for pair in pairwise(up) for layer in doubling(*pair)), last, nn.Tanh())
        self.critic = Critic(schema.image_size, schema.channels, config.critic_width, sum(self.bits), len(self.bits))
        height, width = (side // step for side in schema.image_size)
        self.codebook = Prototypes(schema, {name: (size, height, width) for name, size in sizes.items()})

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: every attribute's units side by side and `rest`, `[batch, channels, h, w]` each.

        As published, nothing is annihilated, since no labels are given.
        """
        return Codes(dict(zip(self.sizes, self.encoder(images).split(list(self.sizes.values()), 1), strict=True)))

    def decode(self, codes: Codes) -> Tensor:
        return self.decoder(torch.cat([codes[name] for name in self.sizes], 1))

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.codebook.predict(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        """The mean units `[1, units x unit channels, h, w]` of training images that show `value`; 0 for units it lacks.

        Differs from the paper: its edits take the unit of a source image; this is the mean of all such images.
        """
        mean, attribute = self.codebook.label_code(name, value), self.schema[name]
        bits = hard(attribute, torch.tensor([attribute.index(value)], device=mean.device))
        return mean * bits.repeat_interleave(self.config.unit_channels, 1)[:, :, None, None]

    def players(self) -> dict[str, list[str]]:
        return {"critic": ["critic"], "generator": ["encoder", "decoder"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=self.config.learning_rate, alpha=self.config.smoothing)

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step. First images and partners are concatenated, so a roll by half gives the other image.

        Differs from the paper: one attribute per step, where the released code adds up all; each of the critic's many
        steps has images of its own, since these are ordinary steps on which the generator does not move.
        """
        c, step = self.config, progress.images_seen // (batch.whole or batch.size)
        place = step % len(self.bits)
        x = torch.cat([batch.images, partner("dnagan", batch).images])
        y, known = labels_of_both(batch, self.schema.names)
        columns = zip(self.schema.attributes, y.T, known.T, strict=True)
        bits = torch.cat([hard(a, labels).bool() & k[:, None] for a, labels, k in columns], 1)            # units that images have
        first = sum(self.bits[:place])
        own = torch.zeros_like(bits[0])
        own[first : first + self.bits[place]] = True
        y, known = y[:, place], known[:, place]
        pair = known & known.roll(batch.size, 0) & (y != y.roll(batch.size, 0))

        present = bits | ~(known[:, None] & own)
        e = torch.where(self._channels(present, True), self.encoder(x), 0)                                # Sec. 3, annihilation
        swap = pair[:, None] & own
        x_swapped = self.decoder(exchanged(e, self._channels(swap, False)))
        bits_swapped = exchanged(bits, swap)

        # A and B are the two halves of the batch, so twice its mean is the sum of both expectations.
        real, fake = self.critic(x, bits)[:, place], self.critic(x_swapped.detach(), bits_swapped)[:, place]
        yield Turn("critic", {"adv": (1.0, 2 * ((fake - real) * pair).mean())})                           # Sec. 3, L_D
        clip(self.critic, c.clip)

        if generator_moves(step, c.critic_steps, c.critic_every):
            fake = self.critic(x_swapped, bits_swapped)[:, place]
            losses = {
                "rec": (1.0, absolute_error(self.decoder(e), x).mean()),                                  # Sec. 3, L_rec = |A - A1| + |B - B1|, on [0, 1]
                "adv": (c.adv_weight, -2 * (fake * pair).mean()),                                         # Sec. 3, L_G = -E D(A2) - E D(B2)
            }
            yield Turn("generator", losses)

    def _channels(self, units: Tensor, rest: bool) -> Tensor:
        """A mask of units `[2 batch, bits]` and rest as one of the codes' channels, `[2 batch, channels, 1, 1]`."""
        channels = units.repeat_interleave(self.config.unit_channels, 1)
        return F.pad(channels, (0, self.config.rest_channels), value=rest)[:, :, None, None]


def generator_moves(step: int, critic_steps: int, critic_every: int) -> bool:
    """Whether the generator moves on a step: `critic_every` times in a row, after `critic_steps` steps of the critic.

    Example:
        >>> [generator_moves(step, critic_steps=3, critic_every=2) for step in range(8)]
        [False, False, True, True, False, False, True, True]
    """
    return step % (critic_every + critic_steps - 1) >= critic_steps - 1


@torch.no_grad()
def clip(network: nn.Module, most: float) -> None:
    """Clamp every weight to [-most, most]."""
    for weight in network.parameters():
        weight.clamp_(-most, most)
