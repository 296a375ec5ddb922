"""beta-VAE: a variational autoencoder whose KL divergence has a weight above 1, so that units become independent.

Higgins et al., "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework", ICLR 2017.
https://openreview.net/forum?id=Sy2fzU9gl

It is trained without labels. Attributes of the schema, if there are any, are assigned units of the trained code
(`recombine.methods.shared.prototypes`), so that edits and judgements apply as to supervised methods.

Differs from the paper: the convolutions are those of `recombine.networks`, 5 x 5 with widths that double and batch norm
in the decoder, in place of 4 x 4 with 32, 32, 64 and 64 channels and none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
    """Settings of the method; the defaults are the paper's for faces of 64 px with a Bernoulli decoder."""

    width: int = 32                         # channels of the first and the last hidden image
    decoder_start: int = 4                  # pixels, shorter side of the decoder's first image
    hidden: int = 256                       # width of the layer on either side of the code
    num_latents: int = 32                   # length of the code
    units: int = 1                          # of the code that are assigned to every attribute
    beta: float = 20.0                      # of the KL divergence beside the reconstruction, both in nats an image
    learning_rate: float = 1e-4             # Adam


# Differs from the paper: 32 px and tens of thousands of images, which need longer steps and a smaller beta.
PRESETS = {"paper": Config(), "small": Config(width=24, decoder_start=8, units=2, beta=1.5, learning_rate=1e-3)}
TINY = Config(width=4, hidden=16, num_latents=6)  # for tests


class BetaVAE(nn.Module):
    """The method; parts of its codes are the attributes' units `[batch, units]` and `rest`."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
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
        x = to_unit(batch.images)
        mean, log_variance = self.encoder(x)
        z = mean + (log_variance / 2).exp() * batch.noise("z", self.config.num_latents)
        losses = {
            "rec": (1.0, x[0].numel() * binary_cross_entropy(self.decoder(z), x).mean()),                 # Eq. 4, -E log p(x | z), Bernoulli
            "kl": (self.config.beta, kl_to_standard_normal(mean, log_variance).mean()),                   # Eq. 4, beta KL(q(z | x) || p(z))
        }
        yield Turn("autoencoder", losses)
