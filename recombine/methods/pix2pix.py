"""pix2pix: a U-Net that translates an image to another one of the same person, trained on pairs.

Isola, Zhu, Zhou and Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.
https://arxiv.org/abs/1611.07004
Reported: Table 1, Cityscapes labels -> photographs, FCN score 0.66 per pixel with L1 and the conditional critic, 0.42
with L1 alone. Ours: see LOG.md.

Two images of one group that differ in a binary attribute are an example for either direction. Each direction has its
own generator and its own critic, which scores the target or the translated image, concatenated to the source image.

There is no code to learn: `rest` is the image itself, so leakage is total by construction. The attribute's part is the
probability that the image shows the second value.

Differs from the paper: that probability comes from a small classifier, a player of its own. A generator is never
trained on images that already show its value, so decoding moves from the image towards its translation by as much as
the attribute's part differs from the classifier's prediction, and an unchanged code gives the image back. Dropout acts
in training only, so that a code always gives the same image. Every image is normalised by itself, as the paper's
batches of one are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.packed import Pack
from recombine.data.samplers import Draw, Pairs
from recombine.data.schema import Schema
from recombine.losses import absolute_error, binary_cross_entropy
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.critics import masked_mean, patch_critic
from recombine.methods.shared.label_codes import LabelCodes
from recombine.methods.shared.schemas import named_roles, only_binary, partner
from recombine.networks import InstanceNorm2d, image_head, num_halvings, widths


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's."""

    pair_by: str = ""                       # attribute that both images of a pair share; "" = the data's first group
    width: int = 64                         # channels of a generator's first layer; they double with every halving, up to 8 times
    dropped: int = 3                        # how many of a generator's first doublings have dropout, its noise
    critic_width: int = 64                  # channels of a critic's first layer
    critic_halvings: int = 3                # of a critic; 3 = it scores patches of 70 x 70 pixels, 2 = 34, 1 = 16
    reader_width: int = 16                  # channels of the first layer of the classifier
    adv_weight: float = 1.0                 # of the adversarial loss; 0 = L1 alone
    rec_weight: float = 100.0               # lambda, of L1
    learning_rate: float = 2e-4             # of every player, Adam


PRESETS = {
    "paper": Config(),
    "small": Config(width=16, critic_width=16, critic_halvings=2, reader_width=8, learning_rate=1e-3),
}
TINY = Config(width=4, critic_width=4, critic_halvings=2, reader_width=4)  # for tests


class Aligned(Pairs):
    """Pairs whose two images are mirrored together."""

    def draw(self, position: int, batch_size: int) -> Draw:
        draw = super().draw(position, batch_size)
        return replace(draw, partner_mirror=draw.mirror)


class UNet(nn.Module):
    """Image -> image: halved to one pixel and doubled again, with a skip connection at every size."""

    def __init__(self, image_size: tuple[int, int], channels: int, width: int, dropped: int):
        super().__init__()
        halvings = num_halvings(image_size, 1)
        sizes = widths(width, halvings)
        self.down = nn.ModuleList([nn.Conv2d(channels, width, 4, 2, 1, bias=False)])
        for level, (before, after) in enumerate(pairwise(sizes), start=2):
            norm = [InstanceNorm2d(after, affine=True)] if level < halvings else []
            self.down.append(nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(before, after, 4, 2, 1, bias=False), *norm))
        self.up = nn.ModuleList()
        for level, after in enumerate(sizes[-2::-1]):
            before = sizes[-1 - level] * (2 if level else 1)
            layers = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), InstanceNorm2d(after, affine=True)
            self.up.append(nn.Sequential(nn.ReLU(), *layers))
        last = nn.ConvTranspose2d(2 * width if halvings > 1 else width, channels, 4, 2, 1)
        self.up.append(nn.Sequential(nn.ReLU(), last, nn.Tanh()))
        height, wide = (side >> halvings for side in image_size)
        self.dropped = [(c, height << level, wide << level) for level, c in enumerate(sizes[-2::-1], start=1)][:dropped]

    def forward(self, images: Tensor, noise: Tensor | None = None) -> Tensor:
        """`[batch, channels, h, w]`, and the same back in [-1, 1]; dropout's `noise` `[batch, num_drops]` in [0, 1)."""
        skips = []
        for down in self.down:
            images = down(images)
            skips.append(images)
        drops = [] if noise is None else noise.split([c * h * w for c, h, w in self.dropped], 1)
        hidden = skips.pop()
        for level, up in enumerate(self.up):
            hidden = up(torch.cat([hidden, skips.pop()], 1) if level else hidden)
            if level < len(drops):
                hidden = 2 * hidden * (drops[level].reshape(hidden.shape) < 0.5)
        return hidden


class Pix2Pix(nn.Module):
    """The method; parts of its codes are the attribute `[batch, 1]` and `rest`, the image itself.

    The schema has one binary attribute, beside any of kind `group` and the one that pairs share.
    """

    sampler = "pairs"
    kinds = ("binary", "group")
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        others = [a.name for a in schema.attributes if a.kind != "group" and a.name != config.pair_by]
        self.own = schema.select(*others)
        self.labels = LabelCodes(self.own)
        groups = tuple(a.name for a in schema.attributes if a.kind == "group")
        self.pair_by = (config.pair_by,) if config.pair_by else groups[:1]
        self.name, channels, size = only_binary(self.own, "pix2pix").name, schema.channels, schema.image_size
        self.to_0, self.to_1 = (UNet(size, channels, config.width, config.dropped) for _ in range(2))
        critic = schema, 2 * channels, config.critic_width, config.critic_halvings
        self.critic_0, self.critic_1 = (patch_critic(*critic, affine=True) for _ in range(2))
        self.reader = image_head(size, channels, config.reader_width, 1)
        self.num_drops = sum(c * h * w for c, h, w in self.to_0.dropped)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.own)

    def make_sampler(self, pack: Pack, seed: int, mirror: bool) -> Aligned:
        """Pairs of one group; those that show the same value have no weight."""
        return Aligned(pack, "train", seed, mirror, by=self.pair_by or None)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the probability `[batch, 1]` of the second value, and the image as `rest`."""
        return Codes({self.name: self.reader(images).sigmoid(), "rest": images})

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, h, w]` in [-1, 1]: `rest`, translated as far as the attribute's part was moved."""
        images = codes["rest"]
        moved = (codes[self.name] - self.reader(images).sigmoid())[:, :, None, None]
        change = moved.relu() * (self.to_1(images) - images) + (-moved).relu() * (self.to_0(images) - images)
        return (images + change).clamp(-1, 1)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def players(self) -> dict[str, list[str]]:
        return {"critic": ["critic_0", "critic_1"], "generator": ["to_0", "to_1"], "reader": ["reader"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam with betas 0.5 and 0.999 for all players (section 3.3)."""
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        c, name, sides = self.config, self.name, (batch, partner("pix2pix", batch))
        labels, known = ([getattr(side, kind)[name] for side in sides] for kind in ("labels", "known"))
        valid = known[0] & known[1] & (labels[0] != labels[1])
        turned, (first, second) = (labels[0] == 1)[:, None, None, None], (side.images for side in sides)
        a, b = torch.where(turned, second, first), torch.where(turned, first, second)
        noise = batch.uniform("dropout", 2, self.num_drops)
        fake_1, fake_0 = self.to_1(a, noise[:, 1]), self.to_0(b, noise[:, 0])

        directions = ((0, self.critic_0, b, a, fake_0), (1, self.critic_1, a, b, fake_1))
        losses, correct = {}, []
        for value, critic, x, y, fake in directions:
            real_scores, fake_scores = critic(torch.cat([x, y], 1)), critic(torch.cat([x, fake.detach()], 1))
            loss = masked_mean(binary_cross_entropy(real_scores, 1.0) + binary_cross_entropy(fake_scores, 0.0), valid)
            losses[f"gan_{value}"] = (0.5, loss)                                                          # Eq. 1, -L_cGAN, halved (section 3.3)
            correct += [real_scores > 0, fake_scores < 0]
        yield Turn("critic", losses, {"critic_accuracy": torch.stack(correct).float().mean()})

        losses = {}
        for value, critic, x, y, fake in directions:
            if c.adv_weight:
                fooled = binary_cross_entropy(critic(torch.cat([x, fake], 1)), 1.0)
                losses[f"adv_{value}"] = (c.adv_weight, masked_mean(fooled, valid))                       # Eq. 1, L_cGAN, as -log D (section 3.3)
            losses[f"rec_{value}"] = (c.rec_weight, masked_mean(absolute_error(fake, y), valid))          # Eq. 3, L_L1
        yield Turn("generator", losses)

        logits = self.reader(torch.cat([side.images for side in sides]))
        target = torch.cat(labels).clamp(min=0)[:, None].to(logits)
        yield Turn("reader", {"class": (1.0, masked_mean(binary_cross_entropy(logits, target), torch.cat(known)))})  # ours
