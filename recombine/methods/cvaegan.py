"""CVAE-GAN: a conditional VAE whose decoder matches features of a critic and of a classifier instead of fooling them.

Bao, Chen, Wen, Li and Hua, "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training", ICCV 2017.
https://arxiv.org/abs/1703.10155. Ours: see LOG.md.
The cVAE-GAN of IFcVAE-GAN's tables is another model: `ifcvaegan` with the preset `table1-without-aux` or
`table3-without-aux`.

Critic and classifier are trained by cross-entropy. Encoder and decoder match a reconstruction's features in both to its
image's (pairwise matching), and the mean features of samples to those of real images, overall and per class (mean
matching).

Differs from the paper: any number of attributes, whose classes are matched one attribute after another. The networks
are those of `recombine.networks` in place of GoogLeNets. Mean features are those of the batch, not moving averages. A
missing label is the classifier's prediction. Squared distances and the KL divergence are sums over pixels, features and
latents, as written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import binary_cross_entropy, kl_to_standard_normal
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import LabelCodes
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import image_decoder, image_trunk, with_planes


@dataclass(frozen=True)
class Config:
    """Settings of the method; the weights are from memory of the paper (section 3.4), the sizes and rate are ours."""

    width: int = 64                         # channels of the first convolution of encoder, critic and classifier
    decoder_width: int = 64                 # channels of the decoder's last hidden layer
    decoder_start: int = 4                  # pixels, shorter side of the decoder's first image; 16 suits aligned drawings
    num_latents: int = 256                  # length of `rest`
    kl_weight: float = 3.0                  # lambda_1
    pair_weight: float = 1.0                # lambda_2, of the pixels and of both pairwise matchings
    critic_mean_weight: float = 1e-3        # lambda_3
    class_mean_weight: float = 1e-3         # lambda_4
    learning_rate: float = 2e-4             # of every player, Adam with beta_1 = 0.5


PRESETS = {
    "paper": Config(),
    # Differs from the paper: minutes in place of days: narrower networks, longer steps.
    "small": Config(width=24, decoder_width=48, decoder_start=16, num_latents=32, learning_rate=1e-3),
}
TINY = Config(width=4, decoder_width=4, num_latents=6)  # for tests


class Encoder(nn.Module):
    """Image and labels -> mean and log variance of `rest`; the labels are concatenated to the image's channels."""

    def __init__(self, image_size: tuple[int, int], inputs: int, width: int, num_latents: int):
        super().__init__()
        self.trunk, features = image_trunk(image_size, inputs, width)
        self.last = nn.Linear(features, 2 * num_latents)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, channels, height, width]` and `[batch, labels]` -> `[batch, latents]` twice."""
        mean, log_variance = self.last(self.trunk(with_planes(images, labels))).chunk(2, 1)
        return mean, log_variance.clamp(-30, 10)


class Head(nn.Module):
    """Image -> features and logits; the critic and the classifier."""

    def __init__(self, image_size: tuple[int, int], channels: int, width: int, outputs: int):
        super().__init__()
        self.trunk, features = image_trunk(image_size, channels, width)
        self.last = nn.Linear(features, outputs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, channels, height, width]` -> the last layer's input `[batch, features]`, and its output."""
        features = self.trunk(images)
        return features, self.last(features)


class CVAEGAN(nn.Module):
    """The method; parts of its codes are the attributes and `rest`."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("class_mean_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        check_kinds("cvaegan", schema)
        size, channels, num_labels = schema.image_size, schema.channels, self.labels.num_units
        self.encoder = Encoder(size, channels + num_labels, config.width, config.num_latents)
        inputs = num_labels + config.num_latents
        self.decoder = image_decoder(size, channels, config.decoder_width, inputs, start=config.decoder_start)
        self.critic = Head(size, channels, config.width, 1)
        self.classifier = Head(size, channels, config.width, num_labels)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the classifier's probabilities `[batch, 1 or values]`, and the mean of `rest`."""
        predicted = self.labels.soft(self.classifier(images)[1])
        return Codes({**predicted, "rest": self.encoder(images, self.labels.joined(predicted))[0]})

    def decode(self, codes: Codes) -> Tensor:
        return self._decoded(self.labels.joined(codes), codes["rest"])

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def players(self) -> dict[str, list[str]]:
        return {"classifier": ["classifier"], "critic": ["critic"], "autoencoder": ["encoder", "decoder"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step (Algorithm 1)."""
        c, x = self.config, batch.images
        logits = self.classifier(x)[1]
        yield Turn("classifier", {"class": (1.0, self.labels.loss(logits, batch.labels, batch.known))})   # Sec. 3.2, L_C

        y = self.labels.joined(self.labels.given(batch, self.labels.soft(logits)))
        mean, log_variance = self.encoder(x, y)
        x_rec = self._decoded(y, mean + (log_variance / 2).exp() * batch.noise("z", c.num_latents))
        x_prior = self._decoded(y, batch.noise("prior", c.num_latents))

        real, *fakes = (self.critic(images)[1] for images in (x, x_rec.detach(), x_prior.detach()))
        gan = [binary_cross_entropy(real, 1.0), *(binary_cross_entropy(fake, 0.0) for fake in fakes)]
        accuracy = torch.cat([real > 0, *(fake < 0 for fake in fakes)]).float().mean()
        yield Turn("critic", {"gan": (1.0, torch.stack(gan).sum(0).mean())}, {"critic_accuracy": accuracy})      # Sec. 3.1, L_D

        d, d_rec, d_prior = (self.critic(images)[0] for images in (x, x_rec, x_prior))
        k, k_rec, k_prior = (self.classifier(images)[0] for images in (x, x_rec, x_prior))
        yield Turn("autoencoder", {
            "kl": (c.kl_weight, kl_to_standard_normal(mean, log_variance).mean()),                        # Sec. 3.3, L_KL
            "rec": (c.pair_weight, half_distance(x, x_rec).mean()),                                       # Sec. 3.3, L_G, pixels
            "critic_pair": (c.pair_weight, half_distance(d, d_rec).mean()),                               # Sec. 3.3, L_G, f_D
            "class_pair": (c.pair_weight, half_distance(k, k_rec).mean()),                                # Sec. 3.3, L_G, f_C
            "critic_mean": (c.critic_mean_weight, half_distance(d.mean(0, True), d_prior.mean(0, True)).mean()),  # Sec. 3.1, L_GD
            "class_mean": (c.class_mean_weight, self._class_means(k, k_prior, batch)),                    # Sec. 3.2, L_GC
        })  # fmt: skip

    def _class_means(self, real: Tensor, fake: Tensor, batch: Batch) -> Tensor:
        """Half the squared distance of mean features `[batch, features]`, added up over classes that have images."""
        total = real.new_zeros(())
        for attribute in self.schema.attributes:
            labels = torch.where(batch.known[attribute.name], batch.labels[attribute.name], -1)
            member = (labels[:, None] == torch.arange(attribute.num_values, device=labels.device)).to(real)
            share = member / member.sum(0).clamp(min=1)
            total = total + half_distance(share.T @ real, share.T @ fake).sum()
        return total

    def _decoded(self, labels: Tensor, z: Tensor) -> Tensor:
        return self.decoder(torch.cat([labels, z], 1)).tanh()


def half_distance(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared Euclidean distance, `[batch, ...]` -> `[batch]`."""
    return (a - b).square().flatten(1).sum(1) / 2
