"""Fader Networks: an autoencoder whose code hides the labels from a discriminator and whose decoder is given them.

Lample, Zeghidour, Usunier, Bordes, Denoyer and Ranzato, "Fader Networks: Manipulating Images by Sliding Attributes",
NeurIPS 2017. https://arxiv.org/abs/1706.00409
Sizes and settings are those of the released code (facebookresearch/FaderNetworks). Ours: see LOG.md.

Differs from the paper: it edits images whose labels are given; here a separate classifier predicts them from any image,
and no gradient passes between it and the other networks. For the decoder a missing label is the classifier's
prediction; it adds nothing to any loss. The discriminator keeps its dropout in the encoder's step, and both steps use
the code of the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import squared_error
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import LabelCodes
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import BatchNorm2d, image_head, num_halvings, with_planes


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the released code's, for images of 256 px."""

    width: int = 32                         # channels of the first convolution; they double with every halving ...
    max_width: int = 512                    # ... up to so many
    hidden: int = 512                       # width of the discriminator's hidden layer
    dropout: float = 0.3                    # in the discriminator
    classifier_width: int = 32              # channels of the first convolution of the separate classifier
    hide_weight: float = 1e-4               # lambda_E at the end of its ramp; 0 = the labels are not hidden
    hide_ramp: int = 16_000_000             # images over which lambda_E grows from 0; 500,000 batches of 32
    gradient_clip: float = 5.0              # largest norm of a player's gradient
    learning_rate: float = 2e-4             # of every player, Adam


PRESETS = {
    "paper": Config(),
    # Differs from the paper: tens of thousands of images in place of tens of millions, so lambda_E is reached early and
    # is larger, steps are longer, and there is no dropout. A code of few channels leaves less to hide.
    "small": Config(
        width=48, max_width=64, dropout=0.0, classifier_width=16, hide_weight=0.1, hide_ramp=4_000, learning_rate=1e-3,
    ),
}
TINY = Config(width=4, max_width=8, hidden=8, classifier_width=4)  # for tests


def halving(inputs: int, outputs: int, norm: bool = True) -> list[nn.Module]:
    """Convolution to half the height and width, BN, LeakyReLU."""
    middle = [BatchNorm2d(outputs)] if norm else []
    return [nn.Conv2d(inputs, outputs, 4, 2, 1), *middle, nn.LeakyReLU(0.2, inplace=True)]


def doubling(inputs: int, outputs: int, last: bool) -> nn.Sequential:
    """Transposed convolution to twice the height and width, BN, ReLU; the last one ends in tanh."""
    ending = [nn.Tanh()] if last else [BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), *ending)


class Decoder(nn.Module):
    """Code and labels -> image; the labels are concatenated to the channels of every layer's input."""

    def __init__(self, sizes: list[int], num_labels: int):
        super().__init__()
        steps = list(pairwise(sizes[::-1]))
        layers = [doubling(a + num_labels, b, place == len(steps) - 1) for place, (a, b) in enumerate(steps)]
        self.layers = nn.ModuleList(layers)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """`[batch, code channels, h, w]` and `[batch, labels]` -> `[batch, channels, height, width]` in [-1, 1]."""
        for layer in self.layers:
            z = layer(with_planes(z, labels))
        return z


def latent_discriminator(config: Config, shape: tuple[int, int, int], outputs: int) -> nn.Sequential:
    """Code `[batch, channels, h, w]` -> logits of the labels `[batch, outputs]`; halved until one side is 1 pixel."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    while min(height, width) > 1:
        grown = min(2 * channels, config.max_width)
        layers += [*halving(channels, grown), nn.Dropout(config.dropout)]
        channels, height, width = grown, height // 2, width // 2
    hidden = [nn.Linear(channels * height * width, config.hidden), nn.LeakyReLU(0.2, inplace=True)]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(config.hidden, outputs))


class Fader(nn.Module):
    """The method; parts of its codes are the attributes and `rest`, a map."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("hide_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        check_kinds("fader", schema)
        halvings = num_halvings(schema.image_size)
        sizes = [schema.channels, *(min(config.width << level, config.max_width) for level in range(halvings))]
        layers = [layer for place, (a, b) in enumerate(pairwise(sizes)) for layer in halving(a, b, norm=place > 0)]
        self.encoder = nn.Sequential(*layers)
        self.decoder = Decoder(sizes, sum(attribute.num_values for attribute in schema.attributes))
        shape = (sizes[-1], schema.height >> halvings, schema.width >> halvings)
        self.discriminator = latent_discriminator(config, shape, self.labels.num_units)
        self.classifier = image_head(schema.image_size, schema.channels, config.classifier_width, self.labels.num_units)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the classifier's probabilities `[batch, 1 or values]`, and `rest`, a map."""
        return Codes({**self.labels.soft(self.classifier(images)), "rest": self.encoder(images)})

    def decode(self, codes: Codes) -> Tensor:
        return self._decoded(codes["rest"], codes)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def players(self) -> dict[str, list[str]]:
        return {"discriminator": ["discriminator"], "autoencoder": ["encoder", "decoder"], "classifier": ["classifier"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam with betas 0.5 and 0.999; the norm of the gradient is clipped before every step."""
        adam = torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

        def clip(*_: object) -> None:
            nn.utils.clip_grad_norm_(parameters, self.config.gradient_clip)

        adam.register_step_pre_hook(clip)
        return adam

    def hide_weight(self, progress: Progress) -> float:
        """lambda_E, which grows linearly with the images seen until the end of its ramp."""
        return self.config.hide_weight * min(1.0, progress.images_seen / max(self.config.hide_ramp, 1))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        z, logits = self.encoder(batch.images), self.classifier(batch.images)
        dis_loss = self.labels.loss(self.discriminator(z.detach()), batch.labels, batch.known)
        yield Turn("discriminator", {"dis": (1.0, dis_loss)})                                             # Eq. 2, L_dis

        x_rec = self._decoded(z, self.labels.given(batch, self.labels.soft(logits)))
        hide_loss = self.labels.loss(self.discriminator(z), self.labels.wrong(batch), batch.known)
        yield Turn("autoencoder", {
            "rec": (1.0, squared_error(x_rec, batch.images).mean()),                                      # Eq. 1, L_AE
            "hide": (self.hide_weight(progress), hide_loss),                                              # Eq. 3, -log P(1 - y | E(x))
        })  # fmt: skip

        yield Turn("classifier", {"class": (1.0, self.labels.loss(logits, batch.labels, batch.known))})  # ours

    def _decoded(self, z: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        return self.decoder(z, torch.cat(list(self.labels.probabilities(parts).values()), 1))
