"""StarGAN: one generator that translates an image to any combination of labels.

Choi, Choi, Kim, Ha, Kim and Choo, "StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image
Translation", CVPR 2018. https://arxiv.org/abs/1711.09020
Reported: Table 3, RaFD, 2.12 % of synthesised expressions are classified wrongly (real ones: 0.45 %), with 53.2 million
parameters. Ours: see LOG.md.

The generator takes an image with the target labels tiled beside its channels. A critic scores realism and classifies
labels; translated back to its own labels, the image must be reconstructed.

There is no code to learn: `rest` is the image itself, and an attribute's part is the critic's prediction from that
image. So leakage is total by construction; what can be judged are the edits.

Differs from the paper: binary and categorical attributes may stand side by side, binary cross-entropies as for its
CelebA and softmax cross-entropies as for its RaFD, added up. A missing label is replaced by the critic's prediction and
adds nothing to the class losses. There is no mask vector (Eq. 7): several data sets with different labels are one with
missing ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import absolute_error, gradient_penalty
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import LabelCodes
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import Conv2d, InstanceNorm2d, Skip, num_halvings, with_planes


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's, for images of 128 px."""

    width: int = 64                         # channels of the generator's first convolution; they double with every halving
    halvings: int = 2                       # of what the generator's first convolution leaves
    blocks: int = 6                         # residual blocks of the generator
    outer_kernel: int = 7                   # pixels, of the generator's first and last convolution
    outer_stride: int = 1                   # of these two; 2 saves the work at full size
    running_statistics: bool = False        # normalise by running averages outside training; the released code collects them and never does
    critic_width: int = 64                  # channels of the critic's first layer; they double with every halving
    adv_weight: float = 1.0                 # of the critic's scores
    class_weight: float = 1.0               # lambda_cls
    rec_weight: float = 10.0                # lambda_rec
    gp_weight: float = 10.0                 # lambda_gp
    stay_weight: float = 0.0                # of the L1 distance of a translated image from its original; 0 as published
    critic_steps: int = 5                   # of the critic for each of the generator
    learning_rate: float = 1e-4             # of both players, Adam


# Differs from the paper: 32 px and some ten thousand images in place of 3 million. So steps are 20 times as long,
# players alternate, networks are narrow and do nothing at full size; the class loss weighs 40 times as much beside the
# critic's other terms, which otherwise keep it from learning labels; and a translated image is held to its original,
# beside the cycle.
PRESETS = {
    "paper": Config(),
    "small": Config(
        width=24, halvings=1, blocks=2, outer_kernel=4, outer_stride=2, critic_width=16, adv_weight=0.4,
        class_weight=4.0, gp_weight=1.0, rec_weight=20.0, stay_weight=20.0, critic_steps=1, learning_rate=2e-3,
    ),
}  # fmt: skip
TINY = Config(width=4, blocks=1, critic_width=4, critic_steps=1)  # for tests


def residual_block(channels: int, running: bool) -> Skip:
    """Conv k3, IN, ReLU, conv k3, IN, added to the input."""
    first, second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
    return Skip(first, norm(channels, running), nn.ReLU(inplace=True), second, norm(channels, running))


def norm(channels: int, running: bool) -> InstanceNorm2d:
    """Instance normalisation with a learned scale and shift."""
    return InstanceNorm2d(channels, affine=True, track_running_stats=running)


class Generator(nn.Module):
    """Image and labels -> image. Zero padding: with reflection the first IN would erase the constant label planes."""

    def __init__(self, channels: int, num_labels: int, config: Config):
        super().__init__()
        sizes = [config.width << level for level in range(config.halvings + 1)]
        kernel, stride, running = config.outer_kernel, config.outer_stride, config.running_statistics
        outer, last = (kernel, stride, (kernel - stride + 1) // 2), nn.ConvTranspose2d if stride > 1 else nn.Conv2d
        first = nn.Conv2d(channels + num_labels, sizes[0], *outer, bias=False)
        layers: list[nn.Module] = [first, norm(sizes[0], running), nn.ReLU(inplace=True)]
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), norm(after, running), nn.ReLU(inplace=True)]
        layers += [residual_block(sizes[-1], running) for _ in range(config.blocks)]
        for before, after in pairwise(sizes[::-1]):
            doubling = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
            layers += [doubling, norm(after, running), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, last(sizes[0], channels, *outer, bias=False), nn.Tanh())

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """`[batch, channels, h, w]` and `[batch, label units]` -> `[batch, channels, h, w]` in [-1, 1]."""
        return self.layers(with_planes(images, labels))


class Critic(nn.Module):
    """Halvings down to 2 or 3 pixels without normalisation, then a head for realism and one for labels."""

    def __init__(self, image_size: tuple[int, int], channels: int, num_labels: int, width: int):
        super().__init__()
        halvings = num_halvings(image_size, 2)
        sizes = [channels, *(width << level for level in range(halvings))]
        slope = nn.LeakyReLU(0.01, inplace=True)
        layers = [layer for a, b in pairwise(sizes) for layer in (Conv2d(a, b, 4, 2, 1), slope)]
        self.trunk = nn.Sequential(*layers)
        self.real = nn.Conv2d(sizes[-1], 1, 3, padding=1, bias=False)
        last = (image_size[0] >> halvings, image_size[1] >> halvings)
        self.label = nn.Conv2d(sizes[-1], num_labels, last, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> scores of every patch `[batch, 1, h, w]` and logits of the labels `[batch, label units]`."""
        features = self.trunk(images)
        return self.real(features), self.label(features).flatten(1)


class StarGAN(nn.Module):
    """The method; parts of its codes are the attributes `[batch, 1 or values]` and `rest`, the image itself."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("class_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        check_kinds("stargan", schema)
        num_labels = self.labels.num_units
        self.generator = Generator(schema.channels, num_labels, config)
        self.critic = Critic(schema.image_size, schema.channels, num_labels, config.critic_width)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the critic's probabilities `[batch, 1 or values]`, and the image as `rest`."""
        return Codes({**self.labels.soft(self.critic(images)[1]), "rest": images})

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]` in [-1, 1]: `rest`, translated to the labels."""
        return self.generator(codes["rest"], self.labels.joined(codes))

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def players(self) -> dict[str, list[str]]:
        return {"critic": ["critic"], "generator": ["generator"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam with betas 0.5 and 0.999 for both (section 5)."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """A step of the critic and, every `critic_steps`, one of the generator; target labels are permuted ones."""
        c, x = self.config, batch.images
        order = batch.uniform("order").argsort()
        labels = {name: column[order] for name, column in batch.labels.items()}
        known = {name: column[order] for name, column in batch.known.items()}

        real, logits = self.critic(x)
        y = self.labels.joined(self.labels.given(batch, self.labels.soft(logits)))                                    # c, the image's own
        moves = (progress.images_seen // (batch.whole or batch.size) + 1) % c.critic_steps == 0
        reused = moves and not c.running_statistics  # a second pass is the same, but for the statistics
        with torch.set_grad_enabled(reused):
            x_fake = self.generator(x, y[order])
        fake = x_fake.detach()
        slope = gradient_penalty(lambda images: self.critic(images)[0], x, fake, batch.uniform("between"))
        yield Turn("critic", {
            "adv": (c.adv_weight, self.critic(fake)[0].mean() - real.mean()),                             # Eq. 5 and 8, -L_adv
            "gp": (c.gp_weight, slope.mean()),                                                            # Eq. 8, gradient penalty, lambda_gp
            "class": (c.class_weight, self.labels.loss(logits, batch.labels, batch.known)),             # Eq. 2, L_cls^r
        })  # fmt: skip

        if not moves:
            return
        x_fake = x_fake if reused else self.generator(x, y[order])
        fake, logits = self.critic(x_fake)
        losses = {
            "adv": (c.adv_weight, -fake.mean()),                                                          # Eq. 6 and 8, L_adv
            "class": (c.class_weight, self.labels.loss(logits, labels, known)),                         # Eq. 3, L_cls^f
            "rec": (c.rec_weight, absolute_error(self.generator(x_fake, y), x).mean()),                   # Eq. 4, L_rec
        }  # fmt: skip
        if c.stay_weight:
            # Differs from the paper where set: changes that no label calls for are penalised directly, not only by the
            # cycle.
            losses["stay"] = (c.stay_weight, absolute_error(x_fake, x).mean())                            # ours
        yield Turn("generator", losses)
