"""advattr: a code for every attribute and one for the rest, from which an adversarial loss removes other attributes.

Oldfield, Panagakis and Nicolaou, "Adversarial Learning of Disentangled and Generalizable Representations of Visual
Attributes", 2019-2021. https://arxiv.org/abs/1904.04772
Reported: best accuracy and FID of synthesised expressions on nearly all of MultiPIE, BU-3DFE and RaFD (Table IV), and
codes that do not cluster by other attributes (Table III); the digits are missing in all our copies. Ours: see LOG.md.

Every attribute has a classifier of images, features and one linear layer, trained on real images alone. An attribute's
code has the shape of those features, so that the linear layer also classifies codes: its own layer must classify it
correctly, every other layer must be left at a uniform guess, and the rest must leave all layers so. The codes of each
attribute are permuted within the batch; images decoded from them must look real and show the permuted labels. The same
method on vectors, without images, is `recombine.methods.shared.advattr_on_vectors`.

Differs from the paper: labels may be missing for some images, which are left out of the losses that need them; a single
attribute is allowed, and its code meets no other layer. Where set (the small presets), codes of attributes have few
cells, resized to the size of the rest, and batch normalisation replaces instance normalisation. Terms have the paper's
names and the form of its released code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.losses import absolute_error, cross_entropy, cross_entropy_to_uniform, gradient_penalty
from recombine.method import Progress, Role, Turn, schema_image_size
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import check_kinds, named_roles
from recombine.networks import BatchNorm2d, Conv2d, InstanceNorm2d, Skip, check_divisible, num_halvings

Norm = Literal["instance", "batch", "none"]


@dataclass(frozen=True)
class Config:
    """Settings of the method; the defaults are the paper's networks for 128 pixels and the released weights."""

    width: int = 32                         # channels of an encoder's first convolution; they double with every halving
    halvings: int = 2                       # of the image on its way to a code, and doublings on the way back
    code_width: int = 128                   # channels of every code, and of the features that a linear layer reads
    attribute_halvings: int = 0             # more halvings of the attributes' encoders, down to 2 pixels; their maps are then resized to that of `rest`
    blocks: int = 6                         # residual blocks of the decoder
    kernel: int = 7                         # pixels, side of the encoders' first and the decoder's last kernel; odd
    norm: Norm = "instance"                 # of encoders and decoder
    critic_width: int = 64                  # channels of the critic's first convolution; they double with every halving
    classifier_width: int = 64              # channels of a classifier's first convolution; they double up to code_width
    rec_weight: float = 10.0                # L_rec
    gp_weight: float = 10.0                 # of the gradient penalty beside the critic's scores
    cls_weight: float = 1.0                 # L_cls
    dis_weight: float = 1.0                 # L_dis; 0 = codes may tell every attribute (the paper's ablation)
    gen_weight: float = 1.0                 # L_gen
    adv_weight: float = 1.0                 # L_adv; 0 = no critic
    learning_rate: float = 1e-4             # of every player


# Differs from the paper: narrow networks with one residual block and kernels of 3, for minutes on a CPU, and a higher
# learning rate. Codes of attributes are coarse, so that the rest carries shapes. Batch normalisation, since instance
# normalisation removes the mean and contrast of a map, and with them colour and light: after 55 steps on avatars L_rec
# was .36 in place of .21.
SMALL = Config(
    width=8, attribute_halvings=3, code_width=12, blocks=1, kernel=3, norm="batch", critic_width=8, classifier_width=16,
    learning_rate=2e-3,
)  # fmt: skip
PHOTOS = replace(SMALL, width=16, attribute_halvings=2, code_width=16, blocks=2, critic_width=24)
PRESETS = {"paper": Config(), "paper-without-dis": Config(dis_weight=0.0), "small": SMALL, "photos": PHOTOS}
TINY = Config(width=4, code_width=8, blocks=1, kernel=3, critic_width=4, classifier_width=4)  # for tests


class Encoders(nn.Module):
    """One network for every attribute and one for the rest: image -> code, at least 0."""

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        most = (min(schema.image_size) >> config.halvings).bit_length() - 2
        more = [max(0, min(config.attribute_halvings, most))] * len(schema.attributes) + [0]
        self.networks = nn.ModuleList(encoder(schema.channels, config, extra) for extra in more)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images in [-1, 1] -> codes `[batch, code channels, h, w]` of one size, the rest last."""
        codes = [network(images) for network in self.networks]
        size = codes[-1].shape[2:]
        return [c if c.shape[2:] == size else F.interpolate(c, size, mode="bilinear") for c in codes]


class Classifiers(nn.Module):
    """For every attribute, features of an image and one linear layer, which also classifies codes (Table II)."""

    def __init__(self, attributes: Sequence[Attribute], schema: Schema, config: Config):
        super().__init__()
        size = config.code_width * (schema.height >> config.halvings) * (schema.width >> config.halvings)
        self.features = nn.ModuleList(features(schema.channels, config) for _ in attributes)
        self.heads = nn.ModuleList(nn.Linear(size, attribute.num_values) for attribute in attributes)

    def forward(self, images: Tensor | None, codes: Sequence[Tensor] = ()) -> list[Tensor]:
        """Logits of every attribute, in order: of images `[batch, classes]`, or, where these are None, of every code.

        Codes are `[batch, code channels, h, w]` each; every attribute's layer gives `[codes, batch, classes]`.
        """
        if images is not None:
            return [head(network(images).flatten(1)) for network, head in zip(self.features, self.heads, strict=True)]
        stacked = torch.stack([code.flatten(1) for code in codes])
        return [head(stacked) for head in self.heads]


class AdvAttr(nn.Module):
    """The method; parts of its codes are maps `[batch, code channels, h, w]` named after the attributes, and `rest`."""

    sampler = "iid"
    kinds = ("binary", "categorical")
    image_size = schema_image_size
    hints = ("gen_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        check_kinds("advattr", schema)
        check_divisible(schema.image_size, 2**config.halvings)
        count, channels = len(schema.attributes) + 1, schema.channels
        self.encoders = Encoders(schema, config)
        self.decoder = decoder(count * config.code_width, channels, config)
        if config.adv_weight:
            self.critic = critic(channels, config.critic_width, num_halvings(schema.image_size, smallest=2))
        self.classifiers = Classifiers(schema.attributes, schema, config)
        shape = (config.code_width, schema.height >> config.halvings, schema.width >> config.halvings)
        self.codebook = Prototypes(schema, dict.fromkeys(schema.names, shape))
        self.apply(initialise)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: every attribute's and the `rest`, `[batch, code channels, h, w]`, at least 0."""
        return Codes(dict(zip((*self.schema.names, "rest"), self.encoders(images), strict=True)))

    def decode(self, codes: Codes) -> Tensor:
        return self.decoder(torch.cat([codes[name] for name in (*self.schema.names, "rest")], 1))

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        logits = self.classifiers(None, [codes[name] for name in self.schema.names])
        return {name: logits[place][place].softmax(1) for place, name in enumerate(self.schema.names)}

    def label_code(self, name: str, value: object) -> Tensor:
        return self.codebook.label_code(name, value)

    def players(self) -> dict[str, list[str]]:
        players = {"classifiers": ["classifiers"], "generator": ["encoders", "decoder"]}
        return {"critic": ["critic"], **players} if self.config.adv_weight else players

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.999))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """Every player once, one after the other; the released code takes all three steps from one graph."""
        c, x = self.config, batch.images
        z = self.encoders(x)
        permuted, known, labels = self._permuted(batch, z)
        x_rec, x_new = self.decoder(torch.cat([torch.cat(z, 1), torch.cat(permuted, 1)])).chunk(2)

        if c.adv_weight:
            fake = x_new.detach()
            on_fake, on_real = self.critic(torch.cat([fake, x])).chunk(2)
            scores = on_fake.mean() - on_real.mean()                                              # Eqs. 7 and 9, L_D, scores
            slope = gradient_penalty(self.critic, x, fake, batch.uniform("mix")).mean()           # Eq. 9, L_D, gradient penalty
            yield Turn("critic", {"scores": (1.0, scores), "gp": (c.gp_weight, slope)})           # Eqs. 7 and 9, L_D

        predicted = self.classifiers(x)
        class_loss = self._label_loss(predicted, batch.labels, batch.known)
        yield Turn("classifiers", {"class": (1.0, class_loss)}, self._accuracy(predicted, batch))  # Sec. III, L_C

        logits = self.classifiers(None, z)
        own = [layer[place] for place, layer in enumerate(logits)]
        losses = {
            "rec": (c.rec_weight, absolute_error(x_rec, x).mean()),                              # Eq. 2, L_rec
            "cls": (c.cls_weight, self._label_loss(own, batch.labels, batch.known)),          # Eq. 3, L_cls
            "gen": (c.gen_weight, self._label_loss(self.classifiers(x_new), labels, known)),     # Eq. 6, L_gen
        }
        if c.dis_weight:
            losses["dis"] = (c.dis_weight, uniformity(logits))                                    # Eq. 4, L_dis
        if c.adv_weight:
            losses["adv"] = (c.adv_weight, -self.critic(x_new).mean())                            # Eq. 7, L_adv
        yield Turn("generator", losses)

    def _permuted(self, batch: Batch, z: list[Tensor]) -> tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Codes of every attribute in an order of its own, the rest in place; labels likewise (Eqs. 5 and 6)."""
        orders = {name: batch.uniform(f"order of {name}").argsort() for name in self.schema.names}
        codes = [code[order] for code, order in zip(z[:-1], orders.values(), strict=True)]
        known, labels = ({name: of[name][o] for name, o in orders.items()} for of in (batch.known, batch.labels))
        return [*codes, z[-1]], known, labels

    def _label_loss(
        self, logits: Sequence[Tensor], labels: Mapping[str, Tensor], known: Mapping[str, Tensor]
    ) -> Tensor:
        each = zip(self.schema.names, logits, strict=True)
        return torch.stack([torch.where(known[a], cross_entropy(part, labels[a]), 0).mean() for a, part in each]).mean()

    def _accuracy(self, logits: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        each = zip(self.schema.names, logits, strict=True)
        hits = [(part.argmax(1) == batch.labels[name]) & batch.known[name] for name, part in each]
        counts = torch.stack([batch.known[name] for name in self.schema.names]).sum().clamp(min=1)
        return {"classifier_accuracy": torch.stack(hits).sum() / counts}


def uniformity(logits: Sequence[Tensor]) -> Tensor:
    """L_dis (Eq. 4): cross-entropy to a uniform guess of the linear layers of other attributes, less its minimum.

    Args:
        logits: For every attribute, its layer's logits of every code `[codes, batch, classes]`: of the attributes in
            the same order, then of the rest, if there is one.

    Returns:
        A scalar of at least 0: the mean over a code's foreign layers, then over codes. All layers are foreign to the
        rest; with a single attribute none is foreign to its code, which adds 0.
    """
    codes, size = logits[0].shape[:2]
    excess = torch.stack([cross_entropy_to_uniform(each.flatten(0, 1)).reshape(codes, size).mean(1) for each in logits])
    foreign = 1 - torch.eye(len(logits), codes).to(excess)
    return (excess * foreign / foreign.sum(0).clamp(min=1)).sum() / codes                        # Eq. 4, L_dis


def encoder(channels: int, config: Config, more: int = 0) -> nn.Sequential:
    """A convolution at full size, then halvings with kernels of 3 and TensorFlow's padding; normalised, never below 0.

    Differs from the paper where set: with `more` halvings widths stop growing where the paper's end.
    """
    grown = [config.width << min(level, config.halvings) for level in range(config.halvings + more)]
    widths = [*grown, config.code_width]
    layers: list[nn.Module] = [same(channels, widths[0], config.kernel), normal(config.norm, widths[0]), nn.ReLU()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(inputs, outputs, 3, 2)]
        layers += [normal(config.norm, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def decoder(codes: int, channels: int, config: Config) -> nn.Sequential:
    """Table I with the released widths: residual blocks on all codes at once, then doublings that halve the channels.

    Differs from the paper: halves are rounded up to multiples of 8, for speed.
    """
    widths = [codes, *(-(-codes // (8 << level)) * 8 for level in range(1, config.halvings + 1))]
    layers: list[nn.Module] = [residual_block(codes, config.norm) for _ in range(config.blocks)]
    for inputs, outputs in pairwise(widths):
        layers += [Doubling(inputs, outputs, 3), normal(config.norm, outputs), nn.ReLU()]
    return nn.Sequential(*layers, same(widths[-1], channels, config.kernel), nn.Tanh())


def critic(channels: int, width: int, halvings: int) -> nn.Sequential:
    """Halvings down to 2 or 3 pixels without normalisation, then a score for each of them."""
    widths = [channels, *(width << level for level in range(halvings))]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.01, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))


def features(channels: int, config: Config) -> nn.Sequential:
    """Table II: a classifier before its linear layer; ReLU, as released, where the table prints leaky ones."""
    widths = [channels, *(config.classifier_width << level for level in range(config.halvings - 1)), config.code_width]
    return nn.Sequential(*(layer for i, o in pairwise(widths) for layer in (nn.Conv2d(i, o, 4, 2, 1), nn.ReLU())))


def residual_block(channels: int, norm: Norm) -> Skip:
    """Two convolutions of the same width beside the input; nothing follows the sum."""
    first, second = (nn.Sequential(same(channels, channels, 3), normal(norm, channels)) for _ in range(2))
    return Skip(first, nn.ReLU(), second)


class Doubling(nn.Conv2d):
    """Nearest resize to 4 times the size, reflected border, convolution k3 with stride 2, as one small step.

    A kernel's three rows meet at most two different rows of the original: 2k takes its first from k - 1 and the others
    from k, and 2k + 1 takes all from k; columns likewise. Added up first, they are the kernel of a transposed
    convolution.
    """

    def forward(self, images: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`[batch, inputs, h, w]` -> `[batch, outputs, 2 h, 2 w]`."""
        share = self.weight.new_tensor([[0, 1, 1], [1, 1, 1], [1, 0, 0]])
        kernel = torch.einsum("pi,qj,ocij->copq", share, share, self.weight)
        return F.conv_transpose2d(F.pad(images, (1, 0, 1, 0), "replicate"), kernel, self.bias, 2, 2, 1)


def same(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps height and width, its border reflected."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")


def normal(kind: Norm, channels: int) -> nn.Module:
    """A normalisation with a learnable scale and shift; instance normalisation as released, eps 1e-6."""
    if kind == "instance":
        return InstanceNorm2d(channels, eps=1e-6, affine=True)
    return BatchNorm2d(channels) if kind == "batch" else nn.Identity()


def initialise(layer: nn.Module) -> None:
    """Glorot-uniform kernels and zero biases, as released."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
