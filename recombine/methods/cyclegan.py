"""CycleGAN: two networks that repaint images of one domain as the other, there and back again, without pairs.

Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017.
https://arxiv.org/abs/1703.10593
Reported: Tables 2 and 3, Cityscapes, FCN score of labels -> photographs 0.52 per pixel, photographs -> labels 0.58. As a
baseline of faces, StarGAN's Table 3 gives it 5.99 % of expressions classified wrongly, one model for each pair of expressions.

A generator leads to each domain, and a critic tells that domain's images from what its generator paints. An image that goes
over and comes back must be itself, and a generator leaves images of its own domain alone.

There is no code to learn here: `rest` is the image itself, so that it tells everything, and leakage is total by construction.
The attribute's part is the probability that the image is in domain 1, and decoding fades between what the two generators make
of it.

Differs from the paper: an image's domain is read by a small classifier with a player of its own, which sees real images and
their labels and touches nothing else; the critics cannot say it, since each has seen but one domain's images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.packed import Pack
from recombine.data.samplers import Draw, Epochs
from recombine.data.schema import Attribute, Schema
from recombine.losses import absolute_error, binary_cross_entropy, squared_error
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import label_code, probabilities
from recombine.methods.shared.roles import named_roles
from recombine.networks import image_trunk


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's."""

    width: int = 64                         # channels of a generator's first convolution; they double with each of two halvings
    blocks: int = 0                         # residual blocks of a generator; 0 = 9 for images from 256 px on, 6 below (appendix)
    critic_width: int = 64                  # channels of a critic's first layer
    critic_halvings: int = 3                # of a critic; 3 = it judges patches of 70 x 70 pixels, 2 = 34, 1 = 16
    reader_width: int = 16                  # channels of the first layer of what reads an image's domain
    cycle_weight: float = 10.0              # lambda
    identity_weight: float = 5.0            # half of lambda (section 5.2); 0 = none
    history: int = 50                       # painted images that each critic is shown again
    learning_rate: float = 2e-4             # of every player, Adam


PRESETS = {
    "paper": Config(),
    "small": Config(width=16, blocks=2, critic_width=16, critic_halvings=2, reader_width=8, learning_rate=1e-3),
}


class Domains:
    """Images of domain 0, and beside them images of domain 1 that have nothing to do with them; each once an epoch.

    Attributes:
        left_out: How many training images have no label.

    Raises:
        ValueError: A domain has no image.
    """

    def __init__(self, pack: Pack, name: str, seed: int, mirror: bool):
        rows, self.mirror = pack.rows("train"), mirror
        labels = pack.labels[name][rows]
        self.rows = [rows[labels == value] for value in (0, 1)]
        for value, found in zip(pack.schema[name].values, self.rows, strict=True):
            if not len(found):
                raise ValueError(f"no training image shows {name}={value}; cyclegan needs images of both domains")
        self.epochs = [Epochs(len(found), seed, f"domain {value}") for value, found in enumerate(self.rows)]
        self.left_out = len(rows) - sum(map(len, self.rows))

    def draw(self, position: int, batch_size: int) -> Draw:
        """The next images of either domain."""
        a, b = (rows[epochs.order(position, batch_size)] for rows, epochs in zip(self.rows, self.epochs, strict=True))
        flips = [epochs.flips(position, batch_size) if self.mirror else None for epochs in self.epochs]
        return Draw(a, flips[0], b, flips[1])


class ResidualBlock(nn.Module):
    """Conv k3, IN, ReLU, conv k3, IN, added to the input; padded by reflection."""

    def __init__(self, channels: int):
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect") for _ in range(2))
        self.layers = nn.Sequential(first, nn.InstanceNorm2d(channels), nn.ReLU(), second, nn.InstanceNorm2d(channels))

    def forward(self, hidden: Tensor) -> Tensor:
        """`[batch, channels, h, w]`, and the same back."""
        return hidden + self.layers(hidden)


def generator(channels: int, width: int, blocks: int) -> nn.Sequential:
    """Image -> image `[batch, channels, height, width]` in [-1, 1]."""
    sizes = [width, 2 * width, 4 * width]
    layers = [nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect"), nn.InstanceNorm2d(width), nn.ReLU()]
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.InstanceNorm2d(after), nn.ReLU()]
    layers += [ResidualBlock(sizes[-1]) for _ in range(blocks)]
    for before, after in pairwise(sizes[::-1]):
        layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), nn.InstanceNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect"), nn.Tanh())


def patch_critic(schema: Schema, channels: int, width: int, halvings: int, affine: bool = False) -> nn.Sequential:
    """PatchGAN: image `[batch, channels, height, width]` -> a score for each patch `[batch, 1, h, w]`.

    Args:
        schema: Of the images, for their size.
        channels: Of what is judged.
        width: Channels of the first layer; they double with every layer, up to 8 times.
        halvings: 3 for patches of 70 x 70 pixels.
        affine: Learn a scale and shift in every instance normalisation, in place of a convolution's bias.

    Raises:
        ValueError: The images are too small for so many halvings.
    """
    if (least := min(schema.image_size)) >> halvings < 3:
        most = (least // 3).bit_length() - 1
        raise ValueError(f"images of {schema.height}x{schema.width} are too small for patches of {halvings} halvings; set critic_halvings to at most {most}")
    sizes = [width * min(2**level, 8) for level in range(halvings + 1)]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for level, (before, after) in enumerate(pairwise(sizes), start=1):
        stride = 2 if level < halvings else 1
        layers += [nn.Conv2d(before, after, 4, stride, 1, bias=not affine), nn.InstanceNorm2d(after, affine=affine), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(sizes[-1], 1, 4, 1, 1))


class Critic(nn.Module):
    """A domain's critic, and the painted images that it remembers: buffers, so that they are saved with the training."""

    history: Tensor
    kept: Tensor

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        self.patches = patch_critic(schema, schema.channels, config.critic_width, config.critic_halvings)
        self.register_buffer("history", torch.zeros(config.history, schema.channels, *schema.image_size))
        self.register_buffer("kept", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> Tensor:
        """Images -> a score for each patch `[batch, 1, h, w]`: 1 for real, 0 for painted."""
        return self.patches(images)


class CycleGAN(nn.Module):
    """The method; parts of its codes are the attribute `[batch, 1]` and `rest`, the image itself.

    Raises:
        ValueError: The schema is not exactly one binary attribute, or its images are too small for the critics.
    """

    sampler = "two_batches"
    kinds = ("binary",)
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.name = config, schema, only_binary(schema, "cyclegan").name
        blocks = config.blocks or (9 if min(schema.image_size) >= 256 else 6)
        self.to_0, self.to_1 = (generator(schema.channels, config.width, blocks) for _ in range(2))
        self.critic_0, self.critic_1 = (Critic(schema, config) for _ in range(2))
        self.reader = reader(schema, config.reader_width)

    def roles(self) -> dict[str, Role]:
        """What every part is meant to carry."""
        return named_roles(self.schema)

    def make_sampler(self, pack: Pack, seed: int, mirror: bool) -> Domains:
        """As many images of either domain in every batch."""
        return Domains(pack, self.name, seed, mirror)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the probability `[batch, 1]` of domain 1, and the image as `rest`."""
        return Codes({self.name: self.reader(images).sigmoid(), "rest": images})

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]` in [-1, 1]: from what leads to domain 0 (0) to what leads to domain 1 (1)."""
        share, images = codes[self.name][:, :, None, None], codes["rest"]
        return ((1 - share) * self.to_0(images) + share * self.to_1(images)).clamp(-1, 1)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        """Probabilities `[batch, 2]` of the domains."""
        return probabilities(self.schema, codes)

    def label_code(self, name: str, value: object) -> Tensor:
        """The label itself: `[1, 1]`, 0 or 1."""
        return label_code(self.schema, name, value)

    def players(self) -> dict[str, list[str]]:
        """Both generators, both critics, and what reads an image's domain."""
        return {"generator": ["to_0", "to_1"], "critic": ["critic_0", "critic_1"], "reader": ["reader"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam with betas 0.5 and 0.999 for all."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step. First images stand for domain 0 and partners for domain 1; those that are not of it count for nothing."""
        assert batch.partner is not None
        c, a, b = self.config, batch.images, batch.partner.images
        in_0, in_1 = (side.known[self.name] & (side.labels[self.name] == value) for value, side in enumerate((batch, batch.partner)))
        painted_1, painted_0 = self.to_1(a), self.to_0(b)

        losses = {
            "adv_1": (1.0, mean(squares(self.critic_1(painted_1), 1), in_0)),                             # Eq. 1, L_GAN(G), least squares
            "adv_0": (1.0, mean(squares(self.critic_0(painted_0), 1), in_1)),                             # Eq. 1, L_GAN(F)
            "cycle_0": (c.cycle_weight, mean(absolute_error(self.to_0(painted_1), a), in_0)),             # Eq. 2, F(G(a))
            "cycle_1": (c.cycle_weight, mean(absolute_error(self.to_1(painted_0), b), in_1)),             # Eq. 2, G(F(b))
        }
        if c.identity_weight:
            losses["identity_0"] = (c.identity_weight, mean(absolute_error(self.to_0(a), a), in_0))       # section 5.2, L_identity
            losses["identity_1"] = (c.identity_weight, mean(absolute_error(self.to_1(b), b), in_1))
        yield Turn("generator", losses)

        losses, right = {}, []
        sides = ((0, self.critic_0, a, in_0, painted_0, in_1), (1, self.critic_1, b, in_1, painted_1, in_0))
        for value, critic, real, is_real, painted, is_painted in sides:
            shown = remembered(critic, painted.detach(), is_painted, batch.uniform(f"history {value}", 2))
            scores, fakes = critic(real), critic(shown)
            loss = mean(squares(scores, 1), is_real) + mean(squares(fakes, 0), is_painted)
            losses[f"gan_{value}"] = (0.5, loss)                                                          # Eq. 1, halved as in the appendix
            right += [scores > 0.5, fakes < 0.5]
        yield Turn("critic", losses, {"critic_accuracy": torch.stack(right).float().mean()})

        sides = (batch, batch.partner)
        logits, known = self.reader(torch.cat([a, b])), torch.cat([side.known[self.name] for side in sides])
        labels = torch.cat([side.labels[self.name] for side in sides]).clamp(min=0)[:, None].to(logits)
        yield Turn("reader", {"class": (1.0, mean(binary_cross_entropy(logits, labels), known))})


def only_binary(schema: Schema, method: str) -> Attribute:
    """The one binary attribute of a schema that has no other; raises ValueError saying what there is."""
    if len(schema.attributes) != 1 or schema.attributes[0].kind != "binary":
        found = ", ".join(f"{a.name} ({a.kind})" for a in schema.attributes) or "none"
        raise ValueError(
            f"{method} takes exactly one binary attribute and got {found}; it is one model for each ordered pair of domains: "
            "name one with --attributes, and train again for every other"
        )
    return schema.attributes[0]


def reader(schema: Schema, width: int) -> nn.Sequential:
    """Image -> logit `[batch, 1]` of the attribute's second value."""
    trunk, features = image_trunk(schema.image_size, schema.channels, width)
    return nn.Sequential(*trunk, nn.Linear(features, 1))


def squares(scores: Tensor, target: float) -> Tensor:
    """How far the scores of patches are from a number: `[batch, 1, h, w]` -> `[batch]`."""
    return squared_error(scores, torch.full_like(scores, target))


def mean(losses: Tensor, counts: Tensor) -> Tensor:
    """The mean over a batch in which some images count as 0: `[batch]` twice -> a scalar."""
    return torch.where(counts, losses, 0).mean()


@torch.no_grad()
def remembered(critic: Critic, painted: Tensor, counts: Tensor, chance: Tensor) -> Tensor:
    """What a critic is shown: a new image, or half of the time an older one, whose place the new one takes.

    Until the history is full, every image is shown and kept. Nothing is kept outside training. Processes that share a batch
    see all of its images, so that their histories stay the same.

    Args:
        critic: With `history` `[size, channels, height, width]` and `kept`, how many of them are filled.
        painted: `[batch, channels, height, width]` without gradient.
        counts: Which of them are of use, bool `[batch]`; the others are shown as they are.
        chance: Numbers in [0, 1), `[batch, 2]`: whether an older one is shown, and which.
    """
    size = len(critic.history)
    if not critic.training or not size:
        return painted
    own = dist.get_rank() * len(painted) if dist.is_initialized() else 0
    shown, count = [], len(painted)
    for picture, used, (coin, place) in zip(*map(gathered, (painted, counts, chance)), strict=True):
        shown.append(picture)
        if used and critic.kept < size:
            critic.history[critic.kept] = picture
            critic.kept.add_(1)
        elif used and coin < 0.5:
            shown[-1] = critic.history[int(place * size)].clone()
            critic.history[int(place * size)] = picture
    return torch.stack(shown[own : own + count])


def gathered(part: Tensor) -> Tensor:
    """The parts of all processes, one after the other."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)
