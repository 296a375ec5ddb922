"""DIP-VAE: a variational autoencoder in which the covariance of the codes over all images is matched to the prior's.

Kumar, Sattigeri and Balakrishnan, "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations",
ICLR 2018. https://arxiv.org/abs/1711.00848

Type I moves the covariance of the means to the identity, type II that of the samples, which adds the mean variance. It
is trained without labels; attributes are assigned units of the trained code as in `recombine.methods.betavae`. Creswell
et al., 2017, Fig. 7, compare a linear classifier for each attribute on its code, which is what `predict` is.

Differs from the paper: networks as in `recombine.methods.betavae`; the covariance is that of one process's micro-batch,
so it changes with the number of processes and micro-batches. Batches should be several times as large as the code is
long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.images import from_unit, to_unit
from recombine.data.schema import Schema
from recombine.losses import binary_cross_entropy, kl_to_standard_normal
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.gaussians import Encoder
from recombine.methods.shared.prototypes import LatentUnits
from recombine.methods.shared.schemas import named_roles
from recombine.networks import image_decoder, image_trunk


@dataclass(frozen=True)
class Config:
    """Settings of the method; the paper tries many `lambda_od`, with `lambda_d` 10 times as large (I) or equal (II)."""

    width: int = 32                         # channels of the first and the last hidden image
    decoder_start: int = 4                  # pixels, shorter side of the decoder's first image
    hidden: int = 256                       # width of the layer on either side of the code
    num_latents: int = 32                   # length of the code
    units: int = 1                          # of the code that are assigned to every attribute
    type: Literal["I", "II"] = "I"          # the covariance of the means or of the samples
    lambda_od: float = 10.0                 # of the squares off the covariance's diagonal
    lambda_d: float = 100.0                 # of the diagonal's squared distance from 1
    learning_rate: float = 1e-4             # Adam


# Differs from the paper: 32 px and tens of thousands of images, which need longer steps, in batches of 16. The
# covariance of 16 images has rank 15 at most and is noisy, so the code must be shorter than that and its regularisers
# have smaller weights.
SMALL = Config(width=24, decoder_start=8, num_latents=12, lambda_od=1.0, lambda_d=10.0, learning_rate=1e-3)
PRESETS = {
    "paper": Config(),
    "paper-ii": Config(type="II", lambda_d=10.0),
    "small": SMALL,
    "small-ii": replace(SMALL, type="II", lambda_d=1.0),
}
TINY = Config(width=4, hidden=16, num_latents=6)  # for tests


class DIPVAE(nn.Module):
    """The method; parts of its codes are the attributes' units `[batch, units]` and `rest`."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        if config.type not in ("I", "II"):
            raise ValueError(f"dipvae is of type 'I' or 'II', not {config.type!r}")
        network, latents, hidden = (schema.image_size, schema.channels, config.width), config.num_latents, config.hidden
        self.encoder = Encoder(*image_trunk(*network), hidden, latents)
        self.decoder = image_decoder(*network, latents, start=config.decoder_start, hidden=hidden)
        self.codebook = LatentUnits(schema, latents, config.units)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: the mean of the posterior, every attribute's units and `rest`."""
        return self.codebook.split(self.encoder(to_unit(images))[0])

    def decode(self, codes: Codes) -> Tensor:
        return from_unit(self.decoder(self.codebook.join(codes)).sigmoid())

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.codebook.predict(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.codebook.label_code(name, value)

    def players(self) -> dict[str, list[str]]:
        return {"autoencoder": ["encoder", "decoder"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.config.learning_rate)

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        c, x = self.config, to_unit(batch.images)
        mean, log_variance = self.encoder(x)
        z = mean + (log_variance / 2).exp() * batch.noise("z", c.num_latents)
        covariance = covariance_of_means(mean) if c.type == "I" else covariance_of_samples(mean, log_variance)
        losses = {
            "rec": (1.0, x[0].numel() * binary_cross_entropy(self.decoder(z), x).mean()),                 # Eqs. 6 and 7, ELBO, -E log p(x | z)
            "kl": (1.0, kl_to_standard_normal(mean, log_variance).mean()),                                # Eqs. 6 and 7, ELBO, KL(q(z | x) || p(z))
            "off_diagonal": (c.lambda_od, (covariance - covariance.diagonal().diag()).square().sum()),    # Eq. 6 (I), Eq. 7 (II), lambda_od C_ij^2
            "diagonal": (c.lambda_d, (covariance.diagonal() - 1).square().sum()),                         # Eq. 6 (I), Eq. 7 (II), lambda_d (C_ii - 1)^2
        }
        yield Turn("autoencoder", losses)


def covariance_of_means(mean: Tensor) -> Tensor:
    """Cov[mu(x)] over a batch: `[batch, latents]` -> `[latents, latents]`."""
    centred = mean - mean.mean(0)
    return centred.T @ centred / len(mean)


def covariance_of_samples(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Cov[z] = E[Sigma(x)] + Cov[mu(x)] over a batch, Eq. 5: `[batch, latents]` twice -> `[latents, latents]`."""
    return log_variance.exp().mean(0).diag() + covariance_of_means(mean)
