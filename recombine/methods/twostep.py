"""Two-step disentanglement: first a code S that predicts the labels, then a code Z of everything else.

Hadad, Wolf and Shahar, "A Two-Step Disentanglement Method", CVPR 2018. https://arxiv.org/abs/1709.00199
Widths, weights and the number of adversary steps are those of the released code for digits
(naamahadad/A-Two-Step-Disentanglement-Method). Ours: see LOG.md.

Two phases: the encoder of S and a classifier are trained on the labels; then both are frozen, and the encoder of Z and
the decoder reconstruct images from (S, Z), while an adversary predicts the labels from Z and the encoder of Z maximises
its loss.

Differs from the paper: any number of attributes. S is split into a part for each, the only input of this attribute's
classifier; the adversary predicts all of them, and their losses are added up. A label is set by the mean part of the
training images that show it. Encoders and decoder are those of `recombine.networks`, the decoder ends in tanh, and
hidden layers of classifiers and adversary have layer norm in place of batch norm, whose statistics would differ between
processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import squared_error
from recombine.method import Phase, Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import LabelCodes, units
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import image_decoder, image_head


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the released code's, but for wider convolutions."""

    width: int = 64                         # channels of both encoders' first convolution and of the decoder's last
    decoder_start: int = 4                  # pixels, shorter side of the decoder's first image; 16 suits aligned drawings
    label_width: int = 10                   # length of each attribute's part of S
    num_latents: int = 16                   # length of Z, which is `rest`
    hidden: int = 64                        # width of the three hidden layers of classifiers and adversary
    rec_weight: float = 0.5
    adv_weight: float = 0.1                 # lambda; 0.01 in the other released variant, 0 = no adversarial term
    main_every: int = 16                    # adversary steps in one of the encoder of Z and the decoder
    shares: tuple[float, float] = (1.0, 9.0)  # of the two phases in the training
    learning_rate: float = 1e-4             # Adam, beta_1 = 0.9 for S and 0.5 for Z and the decoder
    adversary_rate: float = 1e-2            # plain gradient descent


PRESETS = {
    "paper": Config(),
    # Differs from the paper: about a thousand steps, half of them for S. So they are longer, and the adversary takes
    # one for each of the main networks'.
    "small": Config(
        width=24, decoder_start=16, num_latents=32, main_every=1, shares=(1.0, 1.0), learning_rate=1e-3,
        adversary_rate=0.1,
    ),
}  # fmt: skip
TINY = Config(width=4, label_width=3, num_latents=6, hidden=8, main_every=2)  # for tests


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Three hidden layers; `[batch, inputs]` -> logits `[batch, outputs]`."""
    layers: list[nn.Module] = []
    for width in (inputs, hidden, hidden):
        layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))


class Classifiers(nn.Module):
    """One perceptron for each attribute, whose only input is that attribute's part of S."""

    def __init__(self, outputs: list[int], inputs: int, hidden: int):
        super().__init__()
        self.heads = nn.ModuleList(perceptron(inputs, hidden, count) for count in outputs)

    def forward(self, s: Tensor) -> Tensor:
        """`[batch, label width * attributes]` -> logits `[batch, label units]`."""
        return torch.cat([head(part) for head, part in zip(self.heads, s.chunk(len(self.heads), 1), strict=True)], 1)


class TwoStep(nn.Module):
    """The method; parts of its codes are the attributes, which make up S, and `rest`, which is Z."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("adv_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        check_kinds("twostep", schema)
        network = schema.image_size, schema.channels, config.width
        length = config.label_width * len(schema.attributes)
        self.encoder_s, self.encoder_z = (  # codes without negative numbers, as released
            nn.Sequential(*image_head(*network, outputs), nn.ReLU()) for outputs in (length, config.num_latents)
        )
        self.classifier = Classifiers([units(a) for a in schema.attributes], config.label_width, config.hidden)
        self.decoder = image_decoder(*network, length + config.num_latents, start=config.decoder_start)
        self.adversary = perceptron(config.num_latents, config.hidden, self.labels.num_units)
        self.codebook = Prototypes(schema, dict.fromkeys(schema.names, (config.label_width,)))

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: each attribute's part of S `[batch, label width]`, and Z as `rest`."""
        parts = self.encoder_s(images).chunk(len(self.schema.attributes), 1)
        return Codes({**dict(zip(self.schema.names, parts, strict=True)), "rest": self.encoder_z(images)})

    def decode(self, codes: Codes) -> Tensor:
        return self._decoded(self.labels.joined(codes), codes["rest"])

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(self.labels.soft(self.classifier(self.labels.joined(codes))))

    def label_code(self, name: str, value: object) -> Tensor:
        return self.codebook.label_code(name, value)

    def phases(self) -> list[Phase]:
        first, second = self.config.shares
        return [Phase("labels", first), Phase("rest", second, frozen=("encoder_s", "classifier"))]

    def players(self) -> dict[str, list[str]]:
        return {"labels": ["encoder_s", "classifier"], "adversary": ["adversary"], "main": ["encoder_z", "decoder"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if player == "adversary":
            return torch.optim.SGD(parameters, lr=self.config.adversary_rate)
        beta = 0.9 if player == "labels" else 0.5
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(beta, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step: of S in the first phase; then of the adversary, and every so often of the main networks.

        Differs from the paper: the main steps are spread evenly, where the released code takes every fourth batch of
        every fourth epoch.
        """
        s = self.encoder_s(batch.images)
        if progress.phase == "labels":
            class_loss = self.labels.loss(self.classifier(s), batch.labels, batch.known)
            yield Turn("labels", {"class": (1.0, class_loss)})                                            # Sec. 3, step 1, of S and its classifier
            return

        c, z = self.config, self.encoder_z(batch.images)
        adv_loss = self.labels.loss(self.adversary(z.detach()), batch.labels, batch.known)
        yield Turn("adversary", {"adv": (1.0, adv_loss)})                                                 # Sec. 3, step 2, L_adv, of the adversary
        if progress.images_seen // (batch.whole or batch.size) % c.main_every == 0:
            x_rec = self._decoded(s.detach(), z)
            adv_loss = self.labels.loss(self.adversary(z), batch.labels, batch.known)
            yield Turn("main", {
                "rec": (c.rec_weight, squared_error(x_rec, batch.images).mean()),                         # Sec. 3, step 2, L_rec, of Z and the decoder
                "adv": (-c.adv_weight, adv_loss),                                                         # Sec. 3, step 2, -lambda L_adv
            })  # fmt: skip

    def _decoded(self, s: Tensor, z: Tensor) -> Tensor:
        return self.decoder(torch.cat([s, z], 1)).tanh()
