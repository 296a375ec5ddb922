"""RoDi: pose and appearance disentangled from pairs of images of one thing, by a bound on their mutual information.

Esser, Haux and Ommer, "Unsupervised Robust Disentangling of Latent Characteristics for Image Synthesis", ICCV 2019.
https://github.com/CompVis/robust-disentangling
Reported: Fig. 7, Sprites, mean squared error of transfers on [-1, 1]: 0.0026, with the adversary alone 0.0057, with the
bottleneck alone 0.0069. Table 1: estimated information between the codes 0.1201 nats, with the adversary alone 0.8727.

The appearance comes from one image, the pose from another of the same thing, and the second is reconstructed. A
classifier T estimates the mutual information of the codes, and the pose encoder minimises the estimate; but the encoder
also learns to fool T. A second classifier T', trained alike and used in no loss of the encoder, measures by how much T
is fooled, and that gap sets the weight gamma of a bottleneck on the pose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.packed import Pack
from recombine.data.samplers import Pairs, Sampler
from recombine.data.schema import Schema
from recombine.losses import absolute_error, squared_error
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.gaussians import DiagonalGaussian, FullGaussian
from recombine.methods.shared.pretrained import VGGFeatures, check_vgg, cropped
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import no_labels, pair_attributes, pair_roles, partner, same_thing
from recombine.networks import check_divisible


@dataclass(frozen=True)
class Config:
    """Settings of the paper's method; the defaults are the authors' PyTorch code's for Sprites, 64 x 64 pixels.

    Images of other sizes fit where both sides can be halved as often as `widths` asks for.
    """

    pair_by: tuple[str, ...] = ()           # attributes whose values a pair shares; () = the schema's first group
    codes: Literal["spatial", "vector"] = "spatial"        # maps and a diagonal Gaussian, or vectors and a full covariance
    widths: tuple[int, ...] = (16, 32, 128, 256, 256)      # encoders' channels; each after the first halves the image
    blocks: int = 5                         # encoders' residual blocks at the smallest size
    decoder_widths: tuple[int, ...] = (256, 128, 64, 32, 16)  # decoder's channels; each after the first doubles the image
    decoder_blocks: int = 4                 # decoder's residual blocks at the smallest size; vectors: for each code
    patch: int = 1                          # pixels, side of the squares that the outer convolutions take as channels; 1 as published
    pose_size: int = 16                     # channels of the pose's map, or its length
    appearance_size: int = 16               # channels of the appearance's map, or its length
    mi_width: int = 512                     # channels within T and T'
    mi_blocks: int = 4                      # residual blocks of each of their towers
    mi_size: int = 16                       # channels of their towers' outputs
    marginal: Literal["reversed", "all"] = "reversed"      # independent pairs: the batch and its reverse, or all pairs of different things
    reconstruction: Literal["l2", "l1", "vgg"] = "l2"      # summed over pixels, or features of VGG19
    vgg_weights: str = ""                   # safetensors file of VGG19 with keys features.0.weight, features.0.bias ...
    vgg_input: Literal["bgr", "rgb"] = "bgr"               # BGR in 0-255 less the mean, or RGB normalised as in torchvision
    adversary: bool = True                  # the pose encoder minimises I_T; False = Table 1a
    target: float = 0.1                     # epsilon, nats
    penalty: float = 0.1                    # mu
    multiplier: float = 0.0                 # lambda at the start
    gamma: float = 1.0                      # weight of the bottleneck at the start
    gamma_rule: Literal["gap", "target", "fixed"] = "gap"  # updated by I_T' - I_T, by I_T' - epsilon (Table 1a), or fixed
    gamma_rate: float = 0.01                # l_gamma
    gamma_bias: float = 0.01                # b_gamma; 0 = Table 1c
    averaging: Literal["corrected", "zero"] = "corrected"  # of the estimates for gamma: bias-corrected, or from 0
    smoothing: float = 0.99                 # factor of that average in each step
    clipped: bool = False                   # averages at least 0, their gap in [0, 10], gamma in [0, 1000]
    warmup_images: int = 16_000             # before T enters the loss, and lambda and gamma are updated
    visualisers: bool = False               # train decoders of one code each, which show what it carries
    initial: Literal["torch", "kept"] = "torch"            # weights: PyTorch's, or such that layers preserve the variance of signals
    learning_rate: float = 2e-4             # Adam's
    betas: tuple[float, float] = (0.5, 0.9)                # Adam's
    mi_rate: float = 1.0                    # learning rate of T and T', as a multiple of the others'


HUMAN = Config(
    codes="vector", widths=(32, 64, 128, 128, 256, 256, 256), blocks=4,
    decoder_widths=(256, 256, 256, 128, 128, 64, 32), pose_size=256, appearance_size=256, mi_size=512,
    reconstruction="vgg", target=0.125, gamma=7.5, averaging="zero", clipped=True, warmup_images=0,
)  # fmt: skip

# Differs from the paper: narrower networks on squares of 2 x 2 pixels, for trainings of minutes: 2,500 steps in place
# of 100,000. So the learning rate and the initial weights are larger, T and T' learn faster and from all pairs of a
# batch, and lambda is updated in larger steps. Gamma starts at 1 and is updated as published: from .1 it stayed too
# small, and in steps of .05 it rose to 4.8 within 750 steps, on noise, and left the pose 4 nats.
SMALL = Config(
    widths=(16, 48, 96, 128), blocks=2, decoder_widths=(128, 96, 48, 16), decoder_blocks=2, patch=2, mi_width=64,
    mi_blocks=2, marginal="all", penalty=0.3, averaging="zero", warmup_images=3_200, initial="kept", learning_rate=5e-4,
    betas=(0.9, 0.99), mi_rate=4.0,
)  # fmt: skip

VARIANTS = {                                # rows of Table 1, marks of Fig. 7: what differs from the adaptive combination
    "variational": {"adversary": False, "gamma_rule": "target"},
    "adversarial": {"gamma_rule": "fixed", "gamma": 0.0},
    "equal": {"gamma_bias": 0.0},
    "fixed": {"gamma_rule": "fixed", "gamma": 1.0},
    # Differs from the paper: its beta is not known.
    "bvae": {"adversary": False, "gamma_rule": "fixed", "gamma": 4.0},
}

FAMILIES = {"sprites": Config(), "human": HUMAN, "small": SMALL}
PRESETS = {
    f"{family}-{name}" if name else family: replace(config, **fields)
    for family, config in FAMILIES.items()
    for name, fields in {"": {}, **VARIANTS}.items()
} | {"photos": SMALL}
TINY = Config(  # for tests
    widths=(4, 6, 8), blocks=1, decoder_widths=(8, 6, 4), decoder_blocks=1, pose_size=3, appearance_size=3,
    mi_width=8, mi_blocks=1, mi_size=4,
)  # fmt: skip


class Residual(nn.Module):
    """`x + layer(ReLU(x))`.

    Differs from the paper's PyTorch code, in which the ReLU's result is overwritten, so that its blocks are linear.
    """

    def __init__(self, width: int, kernel: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(width, width, kernel, padding=kernel // 2) if kernel else nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.relu(x))


class Up(nn.Module):
    """Convolution and pixel shuffle: twice the height and width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, inputs, h, w]` -> `[batch, outputs, 2h, 2w]`."""
        return F.pixel_shuffle(self.conv(x), 2)


def encoder(config: Config, channels: int, outputs: int) -> nn.Sequential:
    """Images `[batch, channels, height, width]` -> `[batch, outputs]`, or maps `[batch, outputs, h, w]`."""
    spatial, widths = config.codes == "spatial", tuple(config.widths)
    layers: list[nn.Module] = [nn.PixelUnshuffle(config.patch)] if config.patch > 1 else []
    layers += [nn.Conv2d(channels * config.patch**2, widths[0], 3, padding=1)]
    if spatial:
        for before, after in pairwise(widths):
            layers += [Residual(before), nn.Conv2d(before, after, 4, 2, 1)]
    else:
        layers.append(Residual(widths[0]))
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), Residual(after)]
    layers += [*(Residual(widths[-1]) for _ in range(config.blocks)), nn.ReLU()]
    if spatial:
        return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, 3, padding=1))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], outputs))


class Decoder(nn.Module):
    """Codes, of which there may be one or two, -> image; its last layer is linear."""

    def __init__(self, config: Config, channels: int, codes: tuple[int, ...], smallest: tuple[int, int]):
        super().__init__()
        widths = tuple(config.decoder_widths)
        first, alone = widths[0], len(codes) == 1
        self.towers = nn.ModuleList()       # vectors: each becomes a map of its own
        blocks, inputs = config.decoder_blocks, sum(codes)
        if config.codes == "vector":
            own = [Residual(first) for _ in codes for _ in range(0 if alone else blocks)]
            for place, length in enumerate(codes):
                map_ = [nn.Linear(length, first * math.prod(smallest)), nn.Unflatten(1, (first, *smallest))]
                self.towers.append(nn.Sequential(*map_, *own[place * blocks : (place + 1) * blocks]))
            blocks, inputs = int(alone), first * len(codes)
        layers: list[nn.Module] = [nn.Conv2d(inputs, first, 3, padding=1), *(Residual(first) for _ in range(blocks))]
        for before, after in pairwise(widths):
            layers += [Residual(before), Up(before, after)]
        layers += [Residual(widths[-1]), nn.Conv2d(widths[-1], channels * config.patch**2, 3, padding=1)]
        self.layers = nn.Sequential(*layers, *([nn.PixelShuffle(config.patch)] if config.patch > 1 else []))

    def forward(self, *codes: Tensor) -> Tensor:
        """`[batch, channels, height, width]`, not held in [-1, 1]."""
        maps = [tower(code) for tower, code in zip(self.towers, codes, strict=True)] if self.towers else codes
        return self.layers(torch.cat(list(maps), 1))


def preserve_variance(network: nn.Module) -> None:
    """Initialise weights such that layers preserve the variance of their input; residual branches have half of it."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    for block in network.modules():
        if isinstance(block, Residual):
            block.conv.weight.data.mul_(0.5)


class Estimator(nn.Module):
    """T: two codes -> logit of one pair; its mean over joint pairs estimates their mutual information in nats."""

    def __init__(self, config: Config):
        super().__init__()
        self.pose = tower(config, config.pose_size)
        self.appearance = tower(config, config.appearance_size)

    def forward(self, pose: Tensor, appearance: Tensor) -> Tensor:
        """Logits `[batch, batch]` of every pose with every appearance; the joint pairs stand on the diagonal."""
        return self.pose(pose).flatten(1) @ self.appearance(appearance).flatten(1).T


def tower(config: Config, inputs: int) -> nn.Sequential:
    """One side of T: a code -> features, whose inner product with the other side's is the logit."""
    width, outputs = config.mi_width, config.mi_size
    if config.codes == "spatial":
        middle = [Residual(width) for _ in range(config.mi_blocks)]
        first, last = nn.Conv2d(inputs, width, 3, padding=1), nn.Conv2d(width, outputs, 3, padding=1)
        return nn.Sequential(first, *middle, nn.ReLU(), last)
    middle = [Residual(width, 0) for _ in range(config.mi_blocks)]
    return nn.Sequential(nn.Linear(inputs, width), *middle, nn.ReLU(), nn.Linear(width, outputs))


class RoDi(nn.Module):
    """The method; parts of its codes are `pose` and `appearance`. Attributes that pairs do not share are probed."""

    sampler = "pairs"
    kinds = ("group",)
    image_size = schema_image_size

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        self.pair_by = pair_attributes("rodi", config.pair_by, schema)
        num_widths, num_decoder_widths = len(config.widths), len(config.decoder_widths)
        if num_decoder_widths != num_widths:
            raise ValueError(f"decoder_widths must be as many as widths, {num_widths}, not {num_decoder_widths}")
        step = config.patch * 2 ** (num_widths - 1)
        check_divisible(schema.image_size, step)
        height, width = schema.height // step, schema.width // step
        if config.reconstruction == "vgg":
            check_vgg(config.vgg_weights, schema.channels)
        spatial, pose, appearance = config.codes == "spatial", config.pose_size, config.appearance_size
        parameters = 2 * pose if spatial else pose + pose * (pose + 1) // 2
        self.pose_encoder = encoder(config, schema.channels, parameters)
        self.appearance_encoder = encoder(config, schema.channels, appearance)
        self.decoder = Decoder(config, schema.channels, (pose, appearance), (height, width))
        self.mi = Estimator(config)
        self.mi_measured = Estimator(config)
        if config.visualisers:
            self.pose_visualiser = Decoder(config, schema.channels, (pose,), (height, width))
            self.appearance_visualiser = Decoder(config, schema.channels, (appearance,), (height, width))
        if config.initial == "kept":
            for network in (self.pose_encoder, self.appearance_encoder, self.decoder):
                preserve_variance(network)
        self.pose_shape = (pose, height, width) if spatial else (pose,)
        shapes = {"pose": self.pose_shape, "appearance": (appearance, *self.pose_shape[1:])}
        self.codebook = Prototypes(schema, shapes, {name: ("pose", "appearance") for name in schema.names})
        averages = {"average I_T": 0.0, "average I_T'": 0.0, "averaged": 0.0}
        self.controllers = {"lambda": config.multiplier, "gamma": config.gamma, **averages}
        self.features: list[VGGFeatures] = []  # read when first needed; in a list, so that it is not saved with the model

    def roles(self) -> dict[str, Role]:
        return pair_roles(self.pair_by)

    def make_sampler(self, pack: Pack, seed: int, mirror: bool) -> Sampler:
        return Pairs(pack, "train", seed, mirror, by=self.pair_by)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: mean of `pose`, and `appearance`; `[batch, channels, h, w]` or `[batch, length]`.

        Differs from the paper's code: the mean, not a sample, so that the same image always gives the same codes.
        """
        return Codes(pose=self._distribution(images).mean, appearance=self.appearance_encoder(images))

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]`; the output of the linear last layer is clamped to [-1, 1]."""
        return self.decoder(codes["pose"], codes["appearance"]).clamp(-1, 1)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.codebook.predict(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        raise no_labels("rodi")

    def players(self) -> dict[str, list[str]]:
        """Autoencoder, T and T'; and the visualisers, which change no other network."""
        autoencoder = ["pose_encoder", "appearance_encoder", "decoder"]
        seeing = {"visualisers": ["pose_visualiser", "appearance_visualiser"]} if self.config.visualisers else {}
        return {"autoencoder": autoencoder, "mi": ["mi"], "mi_measured": ["mi_measured"], **seeing}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam; one for three networks is the paper's one for each, since all are stepped together."""
        rate = self.config.learning_rate * (self.config.mi_rate if player.startswith("mi") else 1.0)
        return torch.optim.Adam(parameters, lr=rate, betas=(self.config.betas[0], self.config.betas[1]))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """Encoders and decoder, then T, then T': T is stepped after the gradient has passed through it."""
        weight, gamma = self.controllers["lambda"], self.controllers["gamma"]
        x_1, x_2 = batch.images, partner("rodi", batch).images
        distribution = self._distribution(x_2)
        pose = distribution.sample(batch.noise("pose", *self.pose_shape))
        appearance = self.appearance_encoder(x_1)
        x_rec = self.decoder(pose, appearance)
        logits = self.mi(pose, appearance.detach())
        mi = logits.diagonal().mean()                                                                     # Eqs. 10 and 11, I_T

        losses = {
            "rec": (1.0, self._reconstruction(x_2, x_rec, batch)),                                        # Eqs. 4 and 20, L_rec
            "kl": (gamma, distribution.kl().mean()),                                                      # Eqs. 9 and 21, L_VB
        }
        if self.config.adversary and progress.images_seen >= self.config.warmup_images:
            losses["mi"] = (1.0, constraint(mi, self.config.target, weight, self.config.penalty))         # Eq. 22, L_MI
        controllers = {"lambda": mi.new_tensor(weight), "gamma": mi.new_tensor(gamma)}
        yield Turn("autoencoder", losses, {"I_T": mi, **controllers}, keep_graph="mi" in losses)

        # T has not moved since the encoders' turn, so its logits are those of that turn.
        pose, appearance, marginal = pose.detach(), appearance.detach(), self._marginal(batch)
        yield Turn("mi", {"t": (1.0, estimation(logits, marginal))})                                      # Eq. 12, L_T

        logits = self.mi_measured(pose, appearance)
        yield Turn("mi_measured", {"t": (1.0, estimation(logits, marginal))}, {"I_T'": logits.diagonal().mean()})  # Eq. 12, L_T'

        if self.config.visualisers:
            yield Turn("visualisers", {
                "pose": (1.0, squared_error(self.pose_visualiser(pose), x_2).mean()),                     # ours
                "appearance": (1.0, squared_error(self.appearance_visualiser(appearance), x_1).mean()),   # ours
            })  # fmt: skip

    def control(self, measured: dict[str, float], progress: Progress) -> None:
        c, state = self.config, self.controllers
        state["averaged"] += 1
        for name in ("I_T", "I_T'"):
            state[f"average {name}"] += (1 - c.smoothing) * (measured[name] - state[f"average {name}"])
        if progress.images_seen < c.warmup_images:
            return
        state["lambda"] = max(0.0, state["lambda"] + c.penalty * (measured["I_T"] - c.target))            # Eq. 23
        if c.gamma_rule != "fixed":
            state["gamma"] = next_gamma(state["gamma"], self._gap(), c.gamma_rate, 1000.0 if c.clipped else math.inf)

    def _gap(self) -> float:
        c, state = self.config, self.controllers
        share = 1 - c.smoothing ** state["averaged"] if c.averaging == "corrected" else 1.0
        fooled, measured = (state[f"average {name}"] / share for name in ("I_T", "I_T'"))
        if c.clipped:
            fooled, measured = max(0.0, fooled), max(0.0, measured)
        if c.gamma_rule == "target":
            return measured - c.target
        gap = measured - fooled
        return (min(max(0.0, gap), 10.0) if c.clipped else gap) - c.gamma_bias

    def _distribution(self, images: Tensor) -> DiagonalGaussian | FullGaussian:
        parameters, spatial = self.pose_encoder(images), self.config.codes == "spatial"
        return DiagonalGaussian.of(parameters) if spatial else FullGaussian.of(parameters, self.config.pose_size)

    def _marginal(self, batch: Batch) -> Tensor:
        """Mask of the pairs of a pose and an appearance that count as independent, `[batch, batch]`.

        Differs from the paper: pairs of images of the same thing are left out, with which the estimate is too low.
        """
        same = same_thing(batch, self.pair_by)
        joint = torch.eye(batch.size, dtype=torch.bool, device=same.device)
        independent = ~(same | joint)
        return independent & joint.flip(1) if self.config.marginal == "reversed" else independent

    def _reconstruction(self, images: Tensor, reconstructed: Tensor, batch: Batch) -> Tensor:
        """L_rec of a batch, a scalar in the scale of the authors' code."""
        numbers = images[0].numel()
        if self.config.reconstruction != "vgg":
            form = squared_error if self.config.reconstruction == "l2" else absolute_error
            return numbers * form(reconstructed, images).mean()
        if not self.features:
            self.features.append(VGGFeatures(self.config.vgg_weights, self.config.vgg_input))
        pairs = cropped(torch.cat([images, reconstructed], 1), batch.uniform("crop", 2))
        return 1e-3 * 0.5 * numbers * self.features[0].to(images).distance(*pairs.split(3, 1)).mean()


def constraint(mi: Tensor, target: float, multiplier: float, penalty: float) -> Tensor:
    """Augmented Lagrangian of I_T <= epsilon (Eq. 22); constant, without gradient, where I_T is far below."""
    excess = mi - target
    violated = multiplier * excess + penalty / 2 * excess.square()
    return torch.where(excess >= -multiplier / penalty, violated, -(multiplier**2) / (2 * penalty))


def estimation(logits: Tensor, marginal: Tensor) -> Tensor:
    """Loss of T and T' (Eq. 12): half the cross-entropies of classifying joint against marginal pairs.

    Joint pairs are the diagonal of `logits` `[batch, batch]`, independent ones those of the mask `marginal`.
    """
    apart = (F.softplus(logits) * marginal).sum() / marginal.sum().clamp(min=1)
    return 0.5 * (F.softplus(-logits.diagonal()).mean() + apart)


def next_gamma(gamma: float, excess: float, rate: float, most: float = math.inf) -> float:
    """The weight of the bottleneck after a step (Eq. 18)."""
    return min(max(0.0, gamma + rate * excess), most)
