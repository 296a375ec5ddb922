"""IcGAN: a conditional GAN, then two encoders that invert it, so that an image's labels can be replaced.

Perarnau, van de Weijer, Raducanu and Alvarez, "Invertible Conditional GANs for image editing", NeurIPS workshop 2016.
https://arxiv.org/abs/1611.06355
Quoted in IFcVAE-GAN's Table 1 for CelebA Smiling: MSE .028, 9.9 % of edits not smiling, 91.9 % smiling. Ours: see
LOG.md.

Two phases: generator against critic, which is also trained on real images with wrong labels; then, with both frozen,
E_z is trained to recover z from generated images, and E_y the labels of real ones. Nothing is trained to reconstruct.

Differs from the paper: the networks are those of `recombine.networks`, with 5 x 5 convolutions and no normalisation but
in the generator. E_y ends in probabilities, and labels are 0 and 1, so that its prediction is a label code. Generator
and critic get a missing label as equal probabilities of all values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import binary_cross_entropy, squared_error
from recombine.method import Phase, Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import LabelCodes, hard
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import image_decoder, image_head, with_planes


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's for faces of 64 px."""

    width: int = 64                         # channels of the critic's and of the encoders' first convolution
    decoder_width: int = 64                 # channels of the generator's last hidden layer
    num_latents: int = 100                  # length of z
    shares: tuple[float, float] = (1.0, 1.0)  # of the GAN and of the encoders in the training
    learning_rate: float = 2e-4             # of generator and critic, Adam with beta_1 = 0.5
    encoder_rate: float = 1e-4              # of both encoders, Adam ...
    encoder_beta: float = 0.1               # ... with this beta_1


PRESETS = {
    "paper": Config(),
    # Differs from the paper: minutes in place of hours: narrower networks, a short z, longer steps.
    "small": Config(
        width=24, decoder_width=32, num_latents=16, shares=(3.0, 1.0), learning_rate=1e-3, encoder_rate=1e-3
    ),
}
TINY = Config(width=4, decoder_width=4, num_latents=6)  # for tests


class Critic(nn.Module):
    """Image and labels -> realness; labels are concatenated to the first hidden layer's channels, as in the paper."""

    def __init__(self, image_size: tuple[int, int], channels: int, width: int, num_labels: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, width, 5, 2, 2), nn.ReLU())
        self.rest = image_head((image_size[0] // 2, image_size[1] // 2), width + num_labels, 2 * width, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """`[batch, channels, height, width]` and `[batch, labels]` -> logits `[batch, 1]`."""
        return self.rest(with_planes(self.first(images), labels))


class IcGAN(nn.Module):
    """The method; parts of its codes are the attributes and `rest`, which is z."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        check_kinds("icgan", schema)
        size, channels, num_labels = schema.image_size, schema.channels, self.labels.num_units
        self.generator = image_decoder(size, channels, config.decoder_width, num_labels + config.num_latents)
        self.critic = Critic(size, channels, config.width, num_labels)
        self.encoder_z = image_head(size, channels, config.width, config.num_latents)
        self.encoder_y = image_head(size, channels, config.width, num_labels)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: probabilities `[batch, 1 or values]`, and z `[batch, latents]` as `rest`."""
        return Codes({**self.labels.soft(self.encoder_y(images)), "rest": self.encoder_z(images)})

    def decode(self, codes: Codes) -> Tensor:
        return self._generated(codes["rest"], codes)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def phases(self) -> list[Phase]:
        first, second = self.config.shares
        return [Phase("gan", first), Phase("encoders", second, frozen=("generator", "critic"))]

    def players(self) -> dict[str, list[str]]:
        return {name: [name] for name in ("critic", "generator", "encoder_z", "encoder_y")}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if player.startswith("encoder"):
            return torch.optim.Adam(parameters, lr=self.config.encoder_rate, betas=(self.config.encoder_beta, 0.999))
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        z = batch.noise("z", self.config.num_latents)
        uniform = self.labels.soft(z.new_zeros(batch.size, self.labels.num_units))
        labels = self.labels.given(batch, uniform)
        x_fake = self._generated(z, labels)
        if progress.phase == "gan":
            yield from self._gan(batch, x_fake, labels)
        else:
            yield from self._encoders(batch, x_fake, z, labels)

    def _gan(self, batch: Batch, x_fake: Tensor, labels: Mapping[str, Tensor]) -> Iterator[Turn]:
        y, (y_wrong, known) = self.labels.joined(labels), self._one_wrong(batch, labels)
        real, mismatched = self.critic(batch.images, y), self.critic(batch.images, y_wrong)
        fake = self.critic(x_fake.detach(), y)
        yield Turn("critic", {
            "real": (0.5, binary_cross_entropy(real, 1.0).mean()),                                        # Sec. 3, -log D(x, y)
            "wrong": (0.25, torch.where(known, binary_cross_entropy(mismatched, 0.0), 0).mean()),         # released code, -log(1 - D(x, y'))
            "made": (0.25, binary_cross_entropy(fake, 0.0).mean()),                                       # Sec. 3, -log(1 - D(G(z, y), y))
        }, {"critic_accuracy": torch.cat([real > 0, fake < 0]).float().mean()})  # fmt: skip
        yield Turn("generator", {"gen": (1.0, binary_cross_entropy(self.critic(x_fake, y), 1.0).mean())})  # Sec. 3, -log D(G(z, y), y)

    def _encoders(self, batch: Batch, x_fake: Tensor, z: Tensor, labels: Mapping[str, Tensor]) -> Iterator[Turn]:
        yield Turn("encoder_z", {"z": (1.0, squared_error(self.encoder_z(x_fake.detach()), z).mean())})   # Sec. 4.1, L_ez, mean over z
        predicted = self.labels.soft(self.encoder_y(batch.images))
        errors = {name: squared_error(predicted[name], labels[name]) for name in self.schema.names}
        total = torch.stack([torch.where(batch.known[name], error, 0).mean() for name, error in errors.items()]).sum()
        yield Turn("encoder_y", {"y": (1.0, total)})                                                      # Sec. 4.1, L_ey, mean over each label's units

    def _generated(self, z: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        return self.generator(torch.cat([self.labels.joined(parts), z], 1)).tanh()

    def _one_wrong(self, batch: Batch, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Labels with one wrong value `[batch, label units]`, and which images have one: those with a known label.

        Differs from the paper: exactly one attribute, random for every image, is wrong, so the critic must use all.
        """
        known = torch.stack([batch.known[name] for name in self.schema.names], 1)
        chosen = torch.where(known, batch.uniform("which", known.shape[1]), -1).argmax(1)
        wrong = self.labels.wrong(batch)
        mixed = {
            a.name: torch.where((chosen == place)[:, None], hard(a, wrong[a.name]).to(labels[a.name]), labels[a.name])
            for place, a in enumerate(self.schema.attributes)
        }
        return self.labels.joined(mixed), known.any(1)
