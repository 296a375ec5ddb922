"""IFcVAE-GAN: a conditional VAE-GAN whose code cannot tell the attribute, so that its own unit must carry it.

Creswell, Mohamied, Sengupta and Bharath, "Adversarial Information Factorization", 2017.
https://arxiv.org/abs/1711.05175
Reported: Table 3, CelebA Smiling, MSE .011, 98 % of edits not smiling, 100 % smiling, label head 92 %; these
percentages very probably rest on 46 images. Ours: see LOG.md.

Differs from the paper: any number of binary, categorical and continuous attributes in one model. A binary attribute is
the paper's single sigmoid unit, a categorical one a softmax over its values, a continuous one a number with -1 and 1 at
the ends of its range and a squared error in place of cross-entropy; the auxiliary network predicts all of them from the
rest, and the attributes' losses are added up. With one binary attribute this is the paper's model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.losses import binary_cross_entropy, cross_entropy_to_uniform, kl_to_standard_normal, squared_error
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.label_codes import LabelCodes
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import image_decoder, image_head, image_trunk


@dataclass(frozen=True)
class Config:
    """Settings of the paper's method; the defaults are Table 1's DCGAN-sized model with the released code's scaling."""

    width: int = 64                         # channels of the first convolution; 64 in the released code
    decoder_width: int = 0                  # channels of the decoder's last hidden layer; 0 = width, as released
    decoder_start: int = 4                  # pixels, shorter side of the decoder's first image; 4 as released, 16 suits aligned drawings
    decoder_hidden: int = 0                 # width of a layer before that image; 0 = none, as released
    num_latents: int = 100                  # length of `rest`
    aux_width: int = 1000                   # hidden width of the auxiliary network
    residual: bool = False                  # residual blocks (Tables 2 and 3) in place of single convolutions
    kl_weight: float = 0.2                  # alpha
    class_weight: float = 0.1               # rho
    number_weight: float = 1.0              # of a continuous attribute's squared error beside a cross-entropy
    gan_weight: float = 0.1                 # delta; 0 = no critic (Table 3, "without GAN")
    aux_weight: float = 1.0                 # gamma; 0 = naive cVAE-GAN (Tables 1-3, "without aux")
    class_rec_weight: float = 0.0           # beta, label loss on the reconstruction (Table 1, row 3)
    aux_form: Literal["negative", "uniform"] = "negative"  # the encoder maximises the auxiliary loss, or moves it to a uniform guess
    scaling: Literal["released", "means"] = "released"     # relative weights as the released code ran, or all as batch means
    rec_labels: Literal["guessed", "true", "true_to_guessed"] = "guessed"  # from which x is reconstructed in training; guessed as published
    detach_label_head: bool = True          # the label head does not train the convolutions, as released
    optimizer: Literal["rmsprop", "adam"] = "rmsprop"      # RMSprop as published, or Adam with betas 0.9 and 0.99
    learning_rate: float = 2e-4             # of every player
    smoothing: float = 0.99                 # RMSprop's alpha for encoder, decoder and auxiliary network
    critic_smoothing: float = 0.9           # RMSprop's alpha for the critic; the paper calls 0.5 "momentum"


# Differs from the paper: half its width, for 32 px; all terms as batch means, weighted so that the label is used after
# tens of thousands of images instead of millions; the label head trains the convolutions.
SMALL = Config(
    width=32, scaling="means", kl_weight=2e-4, class_weight=0.2, gan_weight=0.003, aux_weight=0.2,
    detach_label_head=False, learning_rate=5e-4,
)  # fmt: skip

# Differs from the paper: every synthetic factor is an attribute, the rest is small; images are reconstructed
# from the true labels, drawings without noise need no critic, and Adam takes larger steps than RMSprop.
ALL_FACTORS = replace(
    SMALL, width=24, decoder_width=48, num_latents=16, aux_width=128, kl_weight=1e-5, number_weight=3.0, gan_weight=0.0,
    aux_weight=0.001, rec_labels="true_to_guessed", optimizer="adam", learning_rate=3e-3,
)  # fmt: skip

PRESETS = {
    "table1": Config(),
    "table1-without-aux": Config(aux_weight=0.0),
    "table1-class-loss-on-reconstruction": Config(class_rec_weight=1.0),
    "table3": Config(residual=True, gan_weight=0.005, kl_weight=0.005),
    "table3-alpha-0.1": Config(residual=True, gan_weight=0.005, kl_weight=0.1),
    "table3-without-aux": Config(residual=True, gan_weight=0.005, kl_weight=0.005, aux_weight=0.0),
    "table3-without-kl": Config(residual=True, gan_weight=0.005, kl_weight=0.0),
    "table3-without-gan": Config(residual=True, gan_weight=0.0, kl_weight=0.005),
    "small": SMALL,
    "small-without-aux": replace(SMALL, aux_weight=0.0),
    "small-without-kl": replace(SMALL, kl_weight=0.0),
    "small-without-gan": replace(SMALL, gan_weight=0.0),
    "small-class-loss-on-reconstruction": replace(SMALL, class_rec_weight=0.2),
    "small-alpha-20-times": replace(SMALL, kl_weight=4e-3),
    "small-uniform-guess": replace(SMALL, aux_form="uniform"),
    "photos": replace(SMALL, kl_weight=1e-4),
    "avatars-all": ALL_FACTORS,
    # Four of the factors as attributes: the rest is large, so the auxiliary network is wide and is trained to a uniform
    # guess, without which labels were still ignored after 24,000 images. At the learning rate of "avatars-all" the
    # encoder died without that network.
    "avatars": replace(
        ALL_FACTORS, learning_rate=1e-3, num_latents=32, aux_width=500, aux_weight=0.3, aux_form="uniform",
        kl_weight=5e-5,
    ),
}  # fmt: skip
TINY = Config(width=4, num_latents=6, aux_width=16)  # for tests


class Encoder(nn.Module):
    """Image -> mean and log variance of `rest`, and the logits of every attribute's values side by side."""

    def __init__(self, trunk: nn.Module, features: int, num_latents: int, num_labels: int, detach_label_head: bool):
        super().__init__()
        self.trunk = trunk
        self.mean = nn.Linear(features, num_latents)
        self.log_variance = nn.Linear(features, num_latents)
        self.label = nn.Linear(features, num_labels)
        self.detach_label_head = detach_label_head

    def forward(self, images: Tensor, attached: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """`[batch, channels, h, w]` in [0, 1] -> `[batch, latents]` twice and `[batch, label units]`.

        `attached` lets the label's gradient through to the image whatever the setting.
        """
        features = self.trunk(images)
        detached = self.detach_label_head and not attached
        # Differs from the paper: the log variance is held in [-30, 10], beyond which its exponential overflows.
        log_variance = self.log_variance(features).clamp(-30, 10)
        return self.mean(features), log_variance, self.label(features.detach() if detached else features)


class IFcVAEGAN(nn.Module):
    """The method; parts of its codes are the attributes and `rest`."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("aux_weight", "kl_weight")

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema, self.labels = config, schema, LabelCodes(schema)
        check_kinds("ifcvaegan", schema, ("binary", "categorical", "continuous"))
        size, channels, num_labels = schema.image_size, schema.channels, self.labels.num_units
        trunk, features = image_trunk(size, channels, config.width, config.residual)
        self.encoder = Encoder(trunk, features, config.num_latents, num_labels, config.detach_label_head)
        self.decoder = image_decoder(
            size, channels, config.decoder_width or config.width, num_labels + config.num_latents, config.residual,
            config.decoder_start, config.decoder_hidden,
        )
        if config.gan_weight:
            self.critic = image_head(size, channels, config.width, 1, config.residual)
        hidden = config.aux_width
        self.aux = nn.Sequential(
            nn.Linear(config.num_latents, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, num_labels),
        )  # fmt: skip

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: probabilities or number of each attribute `[batch, 1 or values]`, mean of `rest`.

        Differs from the paper: the mean, not a sample, so that the same image always gives the same codes.
        """
        mean, _, logits = self.encoder((images + 1) / 2)
        return Codes({**self.labels.soft(logits), "rest": mean})

    def decode(self, codes: Codes) -> Tensor:
        return self._decoder_logits(codes, codes["rest"]).sigmoid() * 2 - 1

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.labels.probabilities(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.labels.code(name, value)

    def players(self) -> dict[str, list[str]]:
        players = {"autoencoder": ["encoder", "decoder"], "aux": ["aux"]}
        return {**players, "critic": ["critic"]} if self.config.gan_weight else players

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """RMSprop for all players (section 4), or Adam."""
        if self.config.optimizer == "adam":
            return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.9, 0.99))
        smoothing = self.config.critic_smoothing if player == "critic" else self.config.smoothing
        return torch.optim.RMSprop(parameters, lr=self.config.learning_rate, alpha=smoothing)

    def weights(self, batch_size: int) -> dict[str, float]:
        """Weights of the encoder's and decoder's terms, all terms being batch means.

        The released code adds batch sums (reconstruction over height^2, KL over the code's length, GAN) to batch means
        (class, aux); divided by the batch size this is what it descends.
        """
        c = self.config
        released = c.scaling == "released"
        rec, kl, label = (self.schema.channels, 1 / c.num_latents, 1 / batch_size) if released else (1.0, 1.0, 1.0)
        scaled = {"class": c.class_weight, "aux": c.aux_weight, "class_rec": c.class_rec_weight}
        weights = {name: label * weight for name, weight in scaled.items()}
        return {"rec": rec, "kl": kl * c.kl_weight, "gen": c.gan_weight, **weights}

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step (Algorithm 1 with positive losses; every network descends its own)."""
        w = self.weights(batch.whole or batch.size)
        x = (batch.images + 1) / 2
        mean, log_variance, logits = self.encoder(x)
        deviation = (log_variance / 2).exp()
        z = mean + deviation * batch.noise("z", self.config.num_latents)
        guessed, fakes = self.labels.soft(logits), None
        true = self.labels.given(batch, guessed)
        x_rec = self._decoder_logits(self._rec_labels(batch, progress, guessed, true), z)

        # Differs from the paper: the non-saturating generator loss, as released, in place of -L_gan.
        losses = {
            "rec": (w["rec"], binary_cross_entropy(x_rec, x).mean()),                                     # Eq. 1, L_rec
            "kl": (w["kl"], kl_to_standard_normal(mean, log_variance).mean()),                            # Eq. 1, L_KL
            "class": (w["class"], self._label_loss(logits, batch)),                                       # Eq. 4, L_class
        }
        if w["gen"]:
            x_prior = self._decoder_logits(true, batch.noise("prior", self.config.num_latents))
            fakes = self.critic(torch.cat([x_rec, x_prior]).sigmoid())
            losses["gen"] = (w["gen"], binary_cross_entropy(fakes, 1.0).mean())                           # Eq. 2, L_gan
        if w["aux"]:
            z_again = mean + deviation * batch.noise("z_again", self.config.num_latents)
            guess = self.aux(z_again)
            if self.config.aux_form == "negative":
                losses["aux"] = (-w["aux"], self._label_loss(guess, batch))                               # Eqs. 5 and 6, -L_aux
            else:
                losses["aux_uniform"] = (w["aux"], self._uniform_loss(guess))                             # ours, in place of Eqs. 5 and 6
        if w["class_rec"]:
            # Differs from the paper: never detached, since through a detached head this loss would not reach the decoder.
            again = self.encoder(x_rec.sigmoid(), attached=True)[2]
            losses["class_rec"] = (w["class_rec"], self._label_loss(again, batch))                        # Table 1, row 3
        yield Turn("autoencoder", losses, keep_graph=fakes is not None)

        yield Turn("aux", {"aux": (1.0, self._label_loss(self.aux(z.detach()), batch))})                  # Eqs. 5 and 6, L_aux

        if w["gen"]:
            assert fakes is not None  # the critic has not moved since it judged them
            real = self.critic(x)
            gan = torch.cat([binary_cross_entropy(real, 1.0), binary_cross_entropy(fakes, 0.0)]).mean()
            right = torch.cat([real > 0, fakes < 0]).float().mean()
            yield Turn("critic", {"gan": (1.0, gan)}, {"critic_accuracy": right})                         # Eq. 2, L_gan

    def _decoder_logits(self, labels: Mapping[str, Tensor], rest: Tensor) -> Tensor:
        return self.decoder(torch.cat([self.labels.joined(labels), rest], 1))

    def _rec_labels(
        self, batch: Batch, progress: Progress, guessed: dict[str, Tensor], true: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """Labels from which the images are reconstructed.

        Differs from the paper where set: with true labels, the decoder learns their meaning before the encoder can
        predict them; "true_to_guessed" changes over to predictions, at random for each image, in the second half.
        """
        if self.config.rec_labels != "true_to_guessed":
            return guessed if self.config.rec_labels == "guessed" else true
        late = batch.uniform("guessed", 1) < 2 * progress.fraction - 1
        return {name: torch.where(late, guessed[name], true[name]) for name in guessed}

    def _label_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.labels.loss(logits, batch.labels, batch.known, self.config.number_weight)

    def _uniform_loss(self, logits: Tensor) -> Tensor:
        forms = {
            "binary": lambda part: cross_entropy_to_uniform(torch.cat([torch.zeros_like(part), part], 1)),
            "categorical": cross_entropy_to_uniform,
            "continuous": lambda part: squared_error(part, torch.zeros_like(part)),
        }
        return torch.stack([forms[a.kind](part).mean() for a, part in self.labels.columns(logits)]).sum()
