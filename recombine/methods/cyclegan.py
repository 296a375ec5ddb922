"""CycleGAN: two generators that translate images between two domains, trained without pairs by cycle consistency.

Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
2017. https://arxiv.org/abs/1703.10593
Reported: Tables 2 and 3, Cityscapes, FCN score of labels -> photographs 0.52 per pixel, photographs -> labels 0.58. As
a baseline of faces, StarGAN's Table 3 gives it 5.99 % of expressions classified wrongly, one model for each pair of
expressions.

Each domain has a generator that translates into it and a critic that separates its images from the translated ones. An
image translated there and back must be reconstructed, and a generator must leave images of its own domain unchanged.

There is no code to learn: `rest` is the image itself, so leakage is total by construction. The attribute's part is the
probability that the image is in domain 1, and decoding interpolates between the outputs of the two generators.

Differs from the paper: the domain of an image is predicted by a small classifier, a player of its own that is trained
on real images and shares no weights; the critics cannot predict it, since each is trained on one domain's images.
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
from recombine.data.schema import Schema
from recombine.losses import absolute_error, binary_cross_entropy, squared_error
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.critics import masked_mean, patch_critic
from recombine.methods.shared.label_codes import LabelCodes
from recombine.methods.shared.schemas import named_roles, only_binary, partner
from recombine.networks import InstanceNorm2d, Skip, image_head


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's."""

    width: int = 64                         # channels of a generator's first convolution; they double with each of two halvings
    blocks: int = 0                         # residual blocks of a generator; 0 = 9 for images from 256 px on, 6 below (appendix)
    critic_width: int = 64                  # channels of a critic's first layer
    critic_halvings: int = 3                # of a critic; 3 = it scores patches of 70 x 70 pixels, 2 = 34, 1 = 16
    reader_width: int = 16                  # channels of the first layer of the domain classifier
    cycle_weight: float = 10.0              # lambda
    identity_weight: float = 5.0            # half of lambda (section 5.2); 0 = none
    history: int = 50                       # translated images that each critic keeps to be shown again
    learning_rate: float = 2e-4             # of every player, Adam


PRESETS = {
    "paper": Config(),
    "small": Config(width=16, blocks=2, critic_width=16, critic_halvings=2, reader_width=8, learning_rate=1e-3),
}
TINY = Config(width=4, blocks=1, critic_width=4, critic_halvings=2, reader_width=4, history=6)  # for tests


class Domains:
    """Unpaired images of domain 0 and of domain 1, side by side; each once an epoch. Both must have images."""

    def __init__(self, pack: Pack, name: str, seed: int, mirror: bool):
        rows, self.mirror = pack.rows("train"), mirror
        labels = pack.labels[name][rows]
        self.rows = [rows[labels == value] for value in (0, 1)]
        for value, found in zip(pack.schema[name].values, self.rows, strict=True):
            if not len(found):
                raise ValueError(f"no training image shows {name}={value}; cyclegan needs images of both domains")
        self.epochs = [Epochs(len(found), seed, f"domain {value}") for value, found in enumerate(self.rows)]
        self.left_out = len(rows) - sum(map(len, self.rows))  # images without a label

    def draw(self, position: int, batch_size: int) -> Draw:
        a, b = (rows[epochs.order(position, batch_size)] for rows, epochs in zip(self.rows, self.epochs, strict=True))
        flips = [epochs.flips(position, batch_size) if self.mirror else None for epochs in self.epochs]
        return Draw(a, flips[0], b, flips[1])


def residual_block(channels: int) -> Skip:
    """Conv k3, IN, ReLU, conv k3, IN, added to the input; padded by reflection."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect") for _ in range(2))
    return Skip(first, InstanceNorm2d(channels), nn.ReLU(), second, InstanceNorm2d(channels))


def generator(channels: int, width: int, blocks: int) -> nn.Sequential:
    """Image -> image `[batch, channels, height, width]` in [-1, 1]."""
    sizes = [width, 2 * width, 4 * width]
    layers = [nn.Conv2d(channels, width, 7, padding=3, padding_mode="reflect"), InstanceNorm2d(width), nn.ReLU()]
    for before, after in pairwise(sizes):
        layers += [nn.Conv2d(before, after, 3, 2, 1), InstanceNorm2d(after), nn.ReLU()]
    layers += [residual_block(sizes[-1]) for _ in range(blocks)]
    for before, after in pairwise(sizes[::-1]):
        layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), InstanceNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 7, padding=3, padding_mode="reflect"), nn.Tanh())


class Critic(nn.Module):
    """A domain's critic, and its history of translated images: buffers, so that they are saved with the training."""

    history: Tensor                         # [size, channels, height, width]
    kept: Tensor                            # how many of them are filled

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        self.patches = patch_critic(schema, schema.channels, config.critic_width, config.critic_halvings)
        self.register_buffer("history", torch.zeros(config.history, schema.channels, *schema.image_size))
        self.register_buffer("kept", torch.zeros((), dtype=torch.long))

    def forward(self, images: Tensor) -> Tensor:
        """Images -> a score for each patch `[batch, 1, h, w]`: 1 for real, 0 for translated."""
        return self.patches(images)


class CycleGAN(nn.Module):
    """The method; parts of its codes are the attribute `[batch, 1]` and `rest`, the image itself."""

    sampler = "two_batches"
    kinds = ("binary",)
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        self.name = only_binary(schema, "cyclegan").name
        blocks = config.blocks or (9 if min(schema.image_size) >= 256 else 6)
        self.to_0, self.to_1 = (generator(schema.channels, config.width, blocks) for _ in range(2))
        self.critic_0, self.critic_1 = (Critic(schema, config) for _ in range(2))
        self.reader = image_head(schema.image_size, schema.channels, config.reader_width, 1)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def make_sampler(self, pack: Pack, seed: int, mirror: bool) -> Domains:
        return Domains(pack, self.name, seed, mirror)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the probability `[batch, 1]` of domain 1, and the image as `rest`."""
        return Codes({self.name: self.reader(images).sigmoid(), "rest": images})

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]` in [-1, 1]: between the translations to domains 0 and 1."""
        share, images = codes[self.name][:, :, None, None], codes["rest"]
        return ((1 - share) * self.to_0(images) + share * self.to_1(images)).clamp(-1, 1)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def players(self) -> dict[str, list[str]]:
        return {"generator": ["to_0", "to_1"], "critic": ["critic_0", "critic_1"], "reader": ["reader"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam for all players (section 4), with the released betas."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step. First images are of domain 0, partners of domain 1; those that are not have no weight."""
        c, sides = self.config, (batch, partner("cyclegan", batch))
        a, b = (side.images for side in sides)
        in_0, in_1 = (side.known[self.name] & (side.labels[self.name] == value) for value, side in enumerate(sides))
        fake_1, fake_0 = self.to_1(a), self.to_0(b)

        losses = {
            "adv_1": (1.0, masked_mean(squares(self.critic_1(fake_1), 1), in_0)),                         # Eq. 1, L_GAN(G), least squares (section 4)
            "adv_0": (1.0, masked_mean(squares(self.critic_0(fake_0), 1), in_1)),                         # Eq. 1, L_GAN(F), least squares
            "cycle_0": (c.cycle_weight, masked_mean(absolute_error(self.to_0(fake_1), a), in_0)),         # Eq. 2, L_cyc, F(G(a))
            "cycle_1": (c.cycle_weight, masked_mean(absolute_error(self.to_1(fake_0), b), in_1)),         # Eq. 2, L_cyc, G(F(b))
        }
        if c.identity_weight:
            losses["identity_0"] = (c.identity_weight, masked_mean(absolute_error(self.to_0(a), a), in_0))  # Sec. 5.2, L_identity, F(a)
            losses["identity_1"] = (c.identity_weight, masked_mean(absolute_error(self.to_1(b), b), in_1))  # Sec. 5.2, L_identity, G(b)
        yield Turn("generator", losses)

        losses, correct = {}, []
        domains = ((0, self.critic_0, a, in_0, fake_0, in_1), (1, self.critic_1, b, in_1, fake_1, in_0))
        for value, critic, real, is_real, fake, is_fake in domains:
            shown = from_history(critic, fake.detach(), is_fake, batch.uniform(f"history {value}", 2))
            real_scores, fake_scores = critic(real), critic(shown)
            loss = masked_mean(squares(real_scores, 1), is_real) + masked_mean(squares(fake_scores, 0), is_fake)
            losses[f"gan_{value}"] = (0.5, loss)                                                          # Eq. 1, least squares, halved (appendix)
            correct += [real_scores > 0.5, fake_scores < 0.5]
        yield Turn("critic", losses, {"critic_accuracy": torch.stack(correct).float().mean()})

        logits, known = self.reader(torch.cat([a, b])), torch.cat([side.known[self.name] for side in sides])
        target = torch.cat([side.labels[self.name] for side in sides]).clamp(min=0)[:, None].to(logits)
        yield Turn("reader", {"class": (1.0, masked_mean(binary_cross_entropy(logits, target), known))})  # ours


def squares(scores: Tensor, target: float) -> Tensor:
    """Mean squared distance of the scores of patches from a number: `[batch, 1, h, w]` -> `[batch]`."""
    return squared_error(scores, torch.full_like(scores, target))


@torch.no_grad()
def from_history(critic: Critic, fakes: Tensor, valid: Tensor, uniform: Tensor) -> Tensor:
    """What a critic is shown: a new image, or half of the time an older one, whose place the new one takes (section 4).

    Until the history is full, every image is shown and kept. Nothing is kept outside training. Processes that share a
    batch exchange all of its images, so that their histories stay the same.

    Of the `fakes` `[batch, channels, height, width]`, those not `valid`, bool `[batch]`, are shown and not kept;
    `uniform` numbers in [0, 1), `[batch, 2]`, decide whether an older image is shown, and which.
    """
    size = len(critic.history)
    if not critic.training or not size:
        return fakes
    own = dist.get_rank() * len(fakes) if dist.is_initialized() else 0
    shown, count = [], len(fakes)
    for image, keep, (coin, place) in zip(*map(gathered, (fakes, valid, uniform)), strict=True):
        filling = keep & (critic.kept < size)
        slot = torch.where(filling, critic.kept, (place * size).long())[None]
        older, exchanging = critic.history.index_select(0, slot), keep & ~filling & (coin < 0.5)
        shown.append(torch.where(exchanging, older[0], image))
        critic.history.index_copy_(0, slot, torch.where(filling | exchanging, image, older))
        critic.kept.add_(filling)
    return torch.stack(shown[own : own + count])


def gathered(part: Tensor) -> Tensor:
    """The parts of all processes, one after the other."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return part
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)
