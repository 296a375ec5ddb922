"""splice: a code for each attribute modulates how a map of the rest is decoded; a critic with an output for each value.

Our own method, made of the ideas of the other five; no paper. Results, ablations and images: docs/splice.md.

An image x becomes a map, or a vector, r = E(x) (`rest`) and, for each attribute a, a code z_a = S_a(x). The decoder G passes r through
residual blocks whose convolutions are modulated by all codes (Karras et al., 2020). Codes of each attribute are dealt to
other images of the batch, independently (Oldfield et al., 2019) and so that rare values are given as often as common
ones, z'_a = z_a of a dealt image; x' = G(r, z') is the edited image. With y_a the labels and y'_a the dealt ones:

    (1)  L_rec   = |G(r, z) - x|                                own codes rebuild the image
    (2)  L_cycle = |G(E(x'), z) - x|                            swapped back, they rebuild it (Zhang et al., 2019)
    (3)  L_code  = sum_a |S_a(x') - z'_a| / n                   dealt codes are read again (Browatzki et al., 2019)
    (4)  L_adv   = f(-D(x'))                                    edited images look real, f = softplus
    (5)  L_value = sum_a f(-D_a,y'(x')) / sqrt(n)               and each like images of its dealt value
    (6)  L_class = sum_a CE(C_a(z_a), y_a) / n                  a code tells its label, by a linear layer C_a
    (7)  L_even  = sum_a CE(P_a(r), uniform) / n                the rest tells no label (Oldfield et al.; Creswell et al.)
    (8)  L_size  = |z|^2                                        codes stay small
    (13) L_stay  = |x' - G(r, z)|                               what need not change stays, G(r, z) fixed

The critic D has an output for realism and one for each value of each attribute (Choi et al., 2020; Li et al., 2021). The
branch of a value takes as real the images that have it, and as fake the edited images that were dealt it from another
image (9) as well as real images of other values (10), so that neither blur nor a pattern that pleases a classifier passes
as the value. Images that kept their code say nothing about edits; they take no part in (5) and in this half of (9):

    (9)  L_D   = f(-D(x)) + f(D(x')) + sum_a [f(-D_a,y(x)) + f(D_a,y'(x'))] / sqrt(n)
    (10) L_not = sum_a mean_{v != y_a} f(D_a,v(x)) / sqrt(n)
    (11) L_R1  = |grad_x [D(x) + sum_a D_a,y(x)]|^2 / 2         (Mescheder et al., 2018), in every `r1_every`-th step

At first the two sides are trained apart: the critic on real images, (10) and that part of (9), the others as an
autoencoder, (1), (6) and (8). Otherwise the critic learns to tell blur from sharpness before it has seen a smile, and no
edit ever begins. What it sees is augmented as far as it memorises (`shared.augmentation`). P, whose prediction
(7) makes uniform, is trained on r to predict the labels; a second one of its kind, P', from which E gets no gradient,
measures what r tells, and sets the weight of (7) (as Esser et al., 2019, set theirs):

    (12) L_P = sum_a CE(P_a(r), y_a) / n, r fixed; the same for P'

With `even_codes` (7) and (12) are means over r and every code z_a, which is read by probes of its own for the labels of
all other attributes (Oldfield et al., Eq. 4). Where attributes go together, as smiles and open mouths do, a code that
tells its own label cannot be silent about the others.

A code is a vector, which tells one smile from another, or, with `code_length=0`, the probabilities of the attribute's values:
then nothing else can be read in it, and a swap is a label edit.

Attributes may be binary, categorical, groups (a person) or numbers, and labels may be missing: an unknown label adds
nothing to (5), (6), (9), (10), (12). A number's code is the number itself, -1 and 1 at the ends of its range; in critic
and probes it lies between the nearest two of `KNOTS` values. A group has no branches: what edited images show of it is
held by (3) alone. Label edits take the mean code of training images that show the value, or one drawn from a normal
distribution with their mean and covariance, so that another smile can be had.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.losses import absolute_error, cross_entropy, cross_entropy_to_uniform, squared_error
from recombine.method import Phase, Progress, Role, Turn, schema_image_size
from recombine.methods.shared.augmentation import NUMBERS, augmented, next_probability
from recombine.methods.shared.label_codes import hard
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import attribute_of, named_roles
from recombine.networks import check_divisible, num_halvings
from recombine.precision import full_precision

KNOTS = 5                                   # values of a number that have a branch of the critic, evenly spread
SHARPNESS = 16.0                            # of the softmax over a group's values: their cosines times this
SLOPE = 0.2                                 # below 0 of the leaky rectified units of decoder, critic and probes
LEAST = 1e-6                                # probability of a value, where its logarithm is taken


@dataclass(frozen=True)
class Config:
    """Settings of the method, found on photographs of 64 pixels."""

    width: int = 48                         # channels of `rest` and of the decoder's blocks
    halvings: int = 2                       # of the image on its way to `rest`
    rest_length: int = 0                    # of `rest` as a vector, for attributes that are the whole picture; 0 = a map
    encoder_blocks: int = 2                 # residual blocks of the encoder of `rest`
    blocks: int = 4                         # modulated residual blocks of the decoder
    code_length: int = 8                    # of a binary or categorical attribute's code; 0 = the probabilities of its values
    group_length: int = 32                  # of a group's
    condition_length: int = 128             # of the vector, made from all codes, that modulates the decoder
    critic_width: int = 48                  # channels of the critic at a quarter of the size
    balanced: bool = True                   # half of each batch has a value of some attribute drawn evenly; dealt values are even
    apart_share: float = 0.1                # images of the first phase, for each of the game; 0 = none
    apart_rate: float = 2.5                 # factor on the learning rates in the first phase
    rec_weight: float = 10.0                # Eq. 1
    cycle_weight: float = 10.0              # Eq. 2
    code_weight: float = 1.0                # Eq. 3
    adv_weight: float = 2.0                 # Eq. 4
    value_weight: float = 3.0               # Eq. 5
    class_weight: float = 2.0               # Eq. 6
    even_weight: float = 0.2                # Eq. 7, at the start
    even_rate: float = 1e-3                 # change of that weight in a step, for all that P' reads beyond the target; 0 = none
    even_codes: bool = False                # each code, too, tells no label but its own; where attributes are independent
    even_most: float = 1.0                  # that weight at most
    even_target: float = 0.05               # share of the labels' information that P' may read in the rest
    size_weight: float = 0.02               # Eq. 8
    stay_weight: float = 0.0                # Eq. 13
    lent_only: bool = True                  # the branches judge lent codes alone; false = also those that images kept
    not_weight: float = 1.0                 # Eq. 10; 0 = real images of other values are no negatives
    r1_weight: float = 0.1                  # Eq. 11
    r1_every: int = 16                      # steps
    augment: bool = True                    # augment what the critic sees, as far as it memorises
    learning_rate: float = 4e-4             # of every player

    def __post_init__(self):
        parts = ("width", "halvings", "group_length", "condition_length", "critic_width", "r1_every")
        for name, least in {**dict.fromkeys(parts, 1), "rest_length": 0, "code_length": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")


# Drawn images of minutes of training, whose labels say all there is to an attribute. The gradient of the critic in the decoder
# is four times that of 30 |x - x'|, and undoes what the autoencoder had learnt. Evenness took nothing from fresh probes there,
# and the cycle nothing that reconstruction did not.
DRAWN = Config(code_length=0, apart_share=0.25, rec_weight=60.0, cycle_weight=0.0, class_weight=4.0, even_weight=0.0)
# Attributes that are the whole picture, as a letter is: from a map the decoder would copy it, and never learn to draw another.
SHAPES = replace(DRAWN, rest_length=16, apart_rate=2.0)
PRESETS = {"photos": Config(), "small": Config(width=32, critic_width=32, blocks=3), "drawn": DRAWN, "shapes": SHAPES}
TINY = Config(width=8, encoder_blocks=1, blocks=1, code_length=4, group_length=4, condition_length=8, critic_width=8)  # for tests


class Residual(nn.Module):
    """`x + conv(relu(conv(relu(x))))`, without normalisation; at first the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """`[batch, channels, h, w]` -> the same shape."""
        return maps + self.conv_2(F.relu(self.conv_1(F.relu(maps))))


class Modulated(nn.Module):
    """A convolution that a vector scales at its input, with outputs of unit variance, and shifts at its output.

    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, Eqs. 1 and 3, where weights are scaled
    in place of maps. https://arxiv.org/abs/1912.04958
    """

    def __init__(self, channels: int, condition_length: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.scale = nn.Linear(condition_length, channels)
        self.shift = nn.Linear(condition_length, channels)
        nn.init.ones_(self.scale.bias)
        nn.init.zeros_(self.shift.bias)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """Maps `[batch, channels, h, w]` and vectors `[batch, condition length]` -> maps of the same shape."""
        scale, shift = self.scale(condition), self.shift(condition)
        variance = scale.square() @ self.conv.weight.square().sum((2, 3)).T
        norm = torch.rsqrt(variance + 1e-8)
        out = self.conv(maps * scale[:, :, None, None])
        return torch.addcmul(shift[:, :, None, None], out, norm[:, :, None, None].to(out.dtype))


class ModulatedResidual(nn.Module):
    """A residual block of two modulated convolutions, its branch scaled channel by channel, at first by a half."""

    def __init__(self, channels: int, condition_length: int):
        super().__init__()
        self.conv_1 = Modulated(channels, condition_length)
        self.conv_2 = Modulated(channels, condition_length)
        self.gain = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """Maps `[batch, channels, h, w]` and vectors `[batch, condition length]` -> maps of the same shape."""
        hidden = self.conv_2(F.leaky_relu(self.conv_1(F.leaky_relu(maps, SLOPE), condition), SLOPE), condition)
        return maps + self.gain.to(hidden.dtype) * hidden


def encoder(schema: Schema, config: Config) -> nn.Sequential:
    """E: image -> `rest` `[batch, width, h, w]`, or as a vector `[batch, length]`."""
    if config.rest_length:
        return vector_encoder(schema, config, config.rest_length)
    widths = [max(8, config.width >> level) for level in range(config.halvings - 1, -1, -1)]
    layers: list[nn.Module] = [nn.Conv2d(schema.channels, widths[0], 4, 2, 1)]
    for inputs, outputs in pairwise(widths):
        layers += [nn.ReLU(), nn.Conv2d(inputs, outputs, 4, 2, 1)]
    return nn.Sequential(*layers, *(Residual(widths[-1]) for _ in range(config.encoder_blocks)))


def vector_encoder(schema: Schema, config: Config, length: int) -> nn.Sequential:
    """Image -> `[batch, length]`."""
    halvings = num_halvings(schema.image_size)
    widths = [schema.channels, *(min(config.width * 2**level // 2, 2 * config.width) for level in range(halvings))]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
    places = (schema.height >> halvings) * (schema.width >> halvings)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * places, length))


class Reader(nn.Module):
    """S: image -> the codes of all attributes side by side."""

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        self.sizes = list(lengths(schema, config).values())
        self.layers = vector_encoder(schema, config, sum(self.sizes))
        self.probabilities = [says_label_alone(a, config) for a in schema.attributes]

    def forward(self, images: Tensor) -> Tensor:
        """Images -> codes `[batch, numbers]`."""
        codes = self.layers(images)
        if not any(self.probabilities):
            return codes
        parts = zip(codes.split(self.sizes, 1), self.probabilities, strict=True)
        return torch.cat([part.softmax(1) if made else part for part, made in parts], 1)


def lengths(schema: Schema, config: Config) -> dict[str, int]:
    """Of every attribute's code."""
    by_kind = {"continuous": 1, "group": config.group_length}
    return {a.name: by_kind.get(a.kind, config.code_length or a.num_values) for a in schema.attributes}


def says_label_alone(attribute: Attribute, config: Config) -> bool:
    """Whether an attribute's code is the probabilities of its values."""
    return not config.code_length and attribute.kind in ("binary", "categorical")


class Heads(nn.Module):
    """C: a linear layer for every attribute, from its code to its label.

    Of a group it gives cosines; a number is its code, and where codes are probabilities they are the answer.
    """

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        self.attributes, self.sizes = schema.attributes, lengths(schema, config)
        self.layers = nn.ModuleDict({
            str(place): nn.Linear(self.sizes[a.name], a.num_values, bias=a.kind != "group")
            for place, a in enumerate(schema.attributes) if a.kind != "continuous" and not says_label_alone(a, config)
        })  # fmt: skip

    def forward(self, codes: Tensor) -> list[Tensor]:
        """Codes of all attributes `[batch, numbers]` -> every attribute's logits `[batch, values]`, a number `[batch, 1]`."""
        found = []
        for place, (attribute, code) in enumerate(
            zip(self.attributes, codes.split(list(self.sizes.values()), 1), strict=True)
        ):
            if attribute.kind == "continuous":
                found.append(code)
            elif attribute.kind == "group":
                weight = F.normalize(self.layers[str(place)].weight, dim=1)  # type: ignore[arg-type]
                found.append(SHARPNESS * F.linear(F.normalize(code, dim=1), weight))
            elif str(place) in self.layers:
                found.append(self.layers[str(place)](code))
            else:
                found.append(code.float().clamp(min=LEAST).log())
        return found


class Decoder(nn.Module):
    """G: `rest` and codes -> image; all blocks work at a part of its size, doublings are sub-pixel.

    They begin with the map `rest`, or with one that a linear layer makes of all codes, where `rest` is a vector.
    """

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        inputs, length = sum(lengths(schema, config).values()) + config.rest_length, config.condition_length
        self.condition = nn.Sequential(nn.Linear(inputs, length), nn.LeakyReLU(SLOPE), nn.Linear(length, length), nn.LeakyReLU(SLOPE))
        if config.rest_length:
            shape = (config.width, schema.height >> config.halvings, schema.width >> config.halvings)
            self.start = nn.Sequential(nn.Linear(length, math.prod(shape)), nn.Unflatten(1, shape))
        self.blocks = nn.ModuleList(ModulatedResidual(config.width, length) for _ in range(config.blocks))
        widths = [max(8, config.width >> level) for level in range(config.halvings)]
        layers: list[nn.Module] = []
        for before, after in pairwise([*widths, schema.channels]):
            layers += [nn.LeakyReLU(SLOPE), sub_pixel(before, after), nn.PixelShuffle(2)]
        self.doublings = nn.Sequential(*layers)

    def forward(self, rest: Tensor, codes: Tensor) -> Tensor:
        """`[batch, width, h, w]`, or `[batch, length]`, and codes of all attributes `[batch, numbers]` -> images, in and about [-1, 1].

        A hyperbolic tangent at the end would have no gradient for a first phase that overshot, and no way back.
        """
        vector = rest.ndim == 2
        condition = self.condition(torch.cat([codes, rest], 1) if vector else codes)
        maps = self.start(condition) if vector else rest
        for block in self.blocks:
            maps = block(maps, condition)
        return self.doublings(maps)


def sub_pixel(inputs: int, outputs: int) -> nn.Conv2d:
    """The convolution before a pixel shuffle, which at first gives the four pixels of a place the same value.

    Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017. https://arxiv.org/abs/1707.02937
    """
    layer = nn.Conv2d(inputs, 4 * outputs, 3, padding=1)
    with torch.no_grad():
        for values in layer.parameters():
            values.copy_(values[::4].repeat_interleave(4, 0))
    return layer


class Critic(nn.Module):
    """D: whether an image is real, and for each value of each attribute whether it is a real image of that value."""

    def __init__(self, schema: Schema, config: Config):
        super().__init__()
        halvings, width = num_halvings(schema.image_size), config.critic_width
        widths = [schema.channels, *(min(width * 2**level // 2, 3 * width) for level in range(halvings))]
        layers: list[nn.Module] = []
        for place, (inputs, outputs) in enumerate(pairwise(widths), 1):
            if place == halvings:
                layers += [nn.Conv2d(inputs, inputs, 3, padding=1), nn.LeakyReLU(SLOPE)]
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        places = (schema.height >> halvings) * (schema.width >> halvings)
        outputs = 1 + sum(num_branches(a) for a in schema.attributes)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * places, outputs))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> realism `[batch]` and the branches of all values `[batch, values of all attributes]`, logits."""
        logits = self.layers(images)
        return logits[:, 0], logits[:, 1:]


def probe(schema: Schema, config: Config) -> nn.Sequential:
    """P: `rest` -> logits of the values of all attributes, `[batch, values of all attributes]`."""
    values = sum(map(num_branches, schema.attributes))
    if config.rest_length:
        return nn.Sequential(
            nn.Linear(config.rest_length, config.condition_length), nn.LeakyReLU(SLOPE),
            nn.Linear(config.condition_length, values),
        )  # fmt: skip
    size = (schema.height >> config.halvings, schema.width >> config.halvings)
    halvings = num_halvings(size)
    width = config.width // 2
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([config.width, *[width] * halvings]):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
    places = (size[0] >> halvings) * (size[1] >> halvings)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * places, values))


class CodeProbe(nn.Module):
    """P of the codes: from each one the values of all attributes."""

    def __init__(self, lengths: Sequence[int], outputs: int, width: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(length, width), nn.LeakyReLU(SLOPE), nn.Linear(width, outputs)) for length in lengths
        )

    def forward(self, *codes: Tensor) -> list[Tensor]:
        """Codes `[batch, length]` -> of each the logits `[batch, values of all attributes]`."""
        return [layers(code) for layers, code in zip(self.layers, codes, strict=True)]


class Splice(nn.Module):
    """The method; parts of its codes are a vector for each attribute, and `rest`, `[batch, width, h, w]` or `[batch, length]`."""

    kinds = ("binary", "categorical", "group", "continuous")
    image_size = schema_image_size
    sampler = "balanced"
    hints = ("value_weight", "not_weight")

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        if not config.balanced:
            self.sampler = "iid"
        if not schema.attributes:
            raise ValueError("splice needs at least one attribute")
        check_divisible(schema.image_size, 2**config.halvings)
        self.encoder = encoder(schema, config)
        self.reader = Reader(schema, config)
        self.heads = Heads(schema, config)
        self.decoder = Decoder(schema, config)
        self.critic = Critic(schema, config)
        self.valued = [a for a in schema.attributes if num_branches(a)]
        self.probed = bool(self.valued and config.even_weight)
        if self.probed:
            self.probe = probe(schema, config)
            self.probe_measured = probe(schema, config)
        self.lengths = lengths(schema, config)
        if self.probed and config.even_codes:
            sizes = [self.lengths[a.name] for a in self.valued]
            outputs = sum(map(num_branches, self.valued))
            self.code_probe, self.code_probe_measured = (CodeProbe(sizes, outputs, config.width) for _ in range(2))
        self.codebook = Prototypes(schema, {name: (length,) for name, length in self.lengths.items()}, spread=True)
        self.controllers = {"even": config.even_weight, "augment": 0.0, "images": 0.0}

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema)

    def phases(self) -> list[Phase]:
        """Critic and autoencoder apart, then the game."""
        c, probes = self.config, tuple(self.players().get("probes", ()))
        apart = [Phase("apart", c.apart_share, probes, c.apart_rate)] if c.apart_share else []
        return [*apart, Phase("game")]

    def encode(self, images: Tensor) -> Codes:
        """Codes of images in [-1, 1]: every attribute's vector `[batch, length]`, and `rest`."""
        return Codes({**self.parts(self.reader(images)), "rest": self.encoder(images)})

    def decode(self, codes: Codes) -> Tensor:
        return self.decoder(codes["rest"], torch.cat([codes[name] for name in self.schema.names], 1)).clamp(-1, 1)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        logits = self.heads(torch.cat([codes[name] for name in self.schema.names], 1))
        each = zip(self.schema.attributes, logits, strict=True)
        return {a.name: part.softmax(1) for a, part in each if a.kind in ("binary", "categorical")}

    def label_code(self, name: str, value: object) -> Tensor:
        attribute = attribute_of(self.schema, name)
        if attribute.kind == "continuous":
            return hard(attribute, torch.tensor([attribute.number(value)]))
        return self.codebook.label_code(name, value)

    def drawn_code(self, name: str, value: object, normal: Tensor) -> Tensor:
        if attribute_of(self.schema, name).kind == "continuous":
            return self.label_code(name, value).expand(len(normal), -1)
        return self.codebook.drawn_code(name, value, normal)

    def players(self) -> dict[str, list[str]]:
        names = ("probe", "probe_measured", "code_probe", "code_probe_measured")
        there = [name for name in names if hasattr(self, name)]
        probes = {"probes": there} if there else {}
        heads = ["heads"] if any(True for _ in self.heads.parameters()) else []
        return {"critic": ["critic"], **probes, "generator": ["encoder", "reader", *heads, "decoder"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, betas=(0.5, 0.99))

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """Critic, probes, and encoders with the decoder; without probes and edits in the first phase."""
        c, x = self.config, batch.images
        own, r, z = self.values(batch.labels), self.encoder(x), self.reader(x)
        if progress.phase == "apart":
            yield from self.apart(batch, own, r, z)
            return

        z_dealt, labels, lent = self.deal(batch, z, own)
        dealt = self.values(labels)
        x_rec, x_new = self.decoder(torch.cat([r, r]), torch.cat([z, z_dealt])).chunk(2)

        x_seen = self.seen(x, batch, "real")
        score, branches = self.critic(torch.cat([x_seen, self.seen(x_new.detach(), batch, "made")]))
        (real, fake), (on_real, on_fake) = score.chunk(2), branches.chunk(2)
        losses = {
            "adv": (1.0, F.softplus(-real).mean() + F.softplus(fake).mean()),                             # Eq. 9, realism
            "value": (1.0, self.judged(on_real, own, batch.known, True) + self.judged(on_fake, dealt, lent, False)),  # Eq. 9
        }
        if c.not_weight:
            losses["not"] = (c.not_weight, self.not_others(on_real, own, batch.known))                    # Eq. 10
        if c.r1_weight and progress.images_seen // max(batch.whole, batch.size) % c.r1_every == 0:
            losses["r1"] = (c.r1_weight * c.r1_every, self.slope(x_seen, own, batch.known))                    # Eq. 11
        sign, p = real.detach().sign().mean(), self.controllers["augment"]
        accuracy = torch.cat([real > 0, fake < 0]).float().mean()
        yield Turn("critic", losses, {"critic_accuracy": accuracy, "sign": sign, "augmented": sign.new_tensor(p)})

        if self.probed:
            yield self.probes_turn(r.detach(), z.detach(), own, batch.known)

        score, branches = self.critic(self.seen(x_new, batch, "edited"))
        z_again = self.reader(x_new)
        losses = {
            "rec": (c.rec_weight, absolute_error(x_rec, x).mean()),                                       # Eq. 1
            "code": (c.code_weight, self.code_loss(z_again, z_dealt.detach())),                           # Eq. 3
            "adv": (c.adv_weight, F.softplus(-score).mean()),                                             # Eq. 4
            "value": (c.value_weight, self.judged(branches, dealt, lent, True)),                         # Eq. 5
            "class": (c.class_weight, self.class_loss(self.heads(z), batch)),                             # Eq. 6
            "size": (c.size_weight, z.square().mean()),                                                   # Eq. 8
        }
        if c.cycle_weight:
            x_back = self.decoder(self.encoder(x_new), z)
            losses["cycle"] = (c.cycle_weight, absolute_error(x_back, x).mean())                          # Eq. 2
        if c.stay_weight:
            losses["stay"] = (c.stay_weight, absolute_error(x_new, x_rec.detach()).mean())                # Eq. 13
        if self.probed:
            losses["even"] = (self.controllers["even"], self.unevenness(self.read(r, z)))                 # Eq. 7
        yield Turn("generator", losses)

    def apart(self, batch: Batch, own: Mapping[str, Tensor], r: Tensor, z: Tensor) -> Iterator[Turn]:
        """The first phase: the critic learns values from real images, the others to rebuild images."""
        c, x = self.config, batch.images
        if self.valued:
            _, branches = self.critic(x)
            yield Turn("critic", {
                "value": (1.0, self.judged(branches, own, batch.known, True)),                            # Eq. 9, real images
                "not": (1.0, self.not_others(branches, own, batch.known)),                                # Eq. 10
            })  # fmt: skip
        yield Turn("generator", {
            "rec": (c.rec_weight, absolute_error(self.decoder(r, z), x).mean()),                          # Eq. 1
            "class": (c.class_weight, self.class_loss(self.heads(z), batch)),                             # Eq. 6
            "size": (c.size_weight, z.square().mean()),                                                   # Eq. 8
        })  # fmt: skip

    def control(self, measured: dict[str, float], progress: Progress) -> None:
        if self.config.even_weight and "told" in measured:
            excess = measured["told"] - self.config.even_target
            moved = self.controllers["even"] + self.config.even_rate * excess
            self.controllers["even"] = min(max(0.0, moved), self.config.even_most)
        if self.config.augment and "sign" in measured:
            since = progress.images_seen - int(self.controllers["images"])
            self.controllers["augment"] = next_probability(self.controllers["augment"], measured["sign"], since)
        self.controllers["images"] = float(progress.images_seen)

    def seen(self, images: Tensor, batch: Batch, name: str) -> Tensor:
        """Images as the critic sees them."""
        return augmented(images, batch.uniform(f"augmented {name}", NUMBERS), self.controllers["augment"])

    def probes_turn(self, r: Tensor, z: Tensor, own: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Turn:
        """Eq. 12 for P and P', and the share of the labels' information in the batch that P' tells."""
        p, _ = self.prediction(self.read(r, z), own, known)
        measured, told = self.prediction(self.read(r, z, "_measured"), own, known)
        losses = {"p": (1.0, p), "p'": (1.0, measured)}                                                   # Eq. 12
        return Turn("probes", losses, {"told": told, "even weight": told.new_tensor(self.controllers["even"])})

    def read(self, r: Tensor, z: Tensor, which: str = "") -> list[dict[str, Tensor]]:
        """What P, or P' where `which` says so, reads in the rest, then in each code, of every attribute that is not its own.

        Attribute -> logits `[batch, values]`.
        """
        logits, owners = [getattr(self, f"probe{which}")(r)], [""]
        if self.config.even_codes:
            parts = self.parts(z)
            owners += [a.name for a in self.valued]
            logits += getattr(self, f"code_probe{which}")(*(parts[name] for name in owners[1:]))
        sizes = [num_branches(a) for a in self.valued]
        split = [zip(self.valued, each.split(sizes, 1), strict=True) for each in logits]
        return [{a.name: part for a, part in of if a.name != owner} for of, owner in zip(split, owners, strict=True)]

    def parts(self, codes: Tensor) -> dict[str, Tensor]:
        """Codes side by side `[batch, numbers]` by attribute."""
        return dict(zip(self.lengths, codes.split(list(self.lengths.values()), 1), strict=True))

    def values(self, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Labels as weights of an attribute's values `[batch, values]`."""
        return {a.name: weights_of_values(a, labels[a.name]) for a in self.valued}

    def deal(
        self, batch: Batch, z: Tensor, own: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Codes of every attribute, half of them from other images; their labels, and which are another image's and known.

        The dealt value is drawn evenly from those of the batch, and then one of its images.
        """
        codes, labels, lent = [], {}, {}
        own_place = torch.arange(batch.size, device=z.device)
        for attribute, code in zip(self.schema.attributes, self.parts(z).values(), strict=True):
            name = attribute.name
            rare = torch.ones(batch.size, device=z.device)
            if self.config.balanced and name in own:
                weights = own[name] * batch.known[name][:, None]
                share = weights / weights.sum(0).clamp(min=1e-6)
                rare = share.sum(1) + 1e-9
            source = drawn(rare, batch.uniform(f"source of {name}"))
            place = torch.where(batch.uniform(f"deal {name}") < 0.5, source, own_place)
            codes.append(code[place])
            labels[name] = batch.labels[name][place]
            lent[name] = batch.known[name][place]
            if self.config.lent_only:
                lent[name] = lent[name] & (place != own_place)
        return torch.cat(codes, 1), labels, lent

    def judged(
        self, branches: Tensor, values: Mapping[str, Tensor], known: Mapping[str, Tensor], real: bool
    ) -> Tensor:
        """The cost of the branches of these values being judged real (or fake), a scalar; unknown ones add nothing."""
        cost = F.softplus(-branches if real else branches)
        return self.over_values(cost, values, known)

    def not_others(self, branches: Tensor, values: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Tensor:
        """The cost of the branches of all other values judging an image fake, their mean; a scalar."""
        others = {name: (1 - w) / max(1, w.shape[1] - 1) for name, w in values.items()}
        return self.over_values(F.softplus(branches), others, known)

    def over_values(self, cost: Tensor, weights: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Tensor:
        """Costs `[batch, values of all attributes]`, weighted, over the root of the number of attributes.

        Each attribute's is the mean over images whose label is known.
        """
        columns = cost.split([num_branches(a) for a in self.valued], 1)
        each = [
            torch.where(known[a.name], (weights[a.name] * part).sum(1), 0).sum() / known[a.name].sum().clamp(min=1)
            for a, part in zip(self.valued, columns, strict=True)
        ]
        return torch.stack(each).sum() / math.sqrt(len(each)) if each else cost.sum()

    def slope(self, x: Tensor, own: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> Tensor:
        """Eq. 11: half the squared gradient of the critic's outputs that belong to an image, batch mean."""
        x = x.detach().requires_grad_(True)
        with torch.enable_grad(), full_precision():
            score, branches = self.critic(x)
            columns = branches.split([num_branches(a) for a in self.valued], 1)
            each = zip(self.valued, columns, strict=True)
            total = score.sum() + sum((own[a.name] * part * known[a.name][:, None]).sum() for a, part in each)
            (gradient,) = torch.autograd.grad(total, x, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean() / 2

    def code_loss(self, again: Tensor, dealt: Tensor) -> Tensor:
        """Eq. 3: the mean over attributes of the mean distance of their codes' numbers."""
        pairs = zip(self.parts(again).values(), self.parts(dealt).values(), strict=True)
        return torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()

    def class_loss(self, logits: Sequence[Tensor], batch: Batch) -> Tensor:
        """Eq. 6: cross-entropy of labels, squared error of numbers, the mean over attributes."""
        losses = []
        for attribute, part in zip(self.schema.attributes, logits, strict=True):
            target = batch.labels[attribute.name]
            if attribute.kind == "continuous":
                loss = squared_error(part, hard(attribute, target).to(part))
            else:
                loss = cross_entropy(part, target)
            losses.append(torch.where(batch.known[attribute.name], loss, 0).mean())
        return torch.stack(losses).mean()

    def prediction(
        self, readings: Sequence[Mapping[str, Tensor]], own: Mapping[str, Tensor], known: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy of probes, the mean over readings and images with a known label, and the information it leaves.

        The latter is the share of the labels' entropy in the batch, below 0 for probes that know less than that.
        """
        losses, entropies = [], []
        for name, logits in (pair for reading in readings for pair in reading.items()):
            each = -(own[name] * logits.log_softmax(1)).sum(1)
            losses.append(torch.where(known[name], each, 0).sum() / known[name].sum().clamp(min=1))
            entropies.append(entropy_of(own[name], known[name]))
        loss = torch.stack(losses).mean()
        return loss, 1 - loss.detach() / torch.stack(entropies).mean().clamp(min=1e-3)

    def unevenness(self, readings: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """(7), less its minimum: 0 where a probe's guesses are uniform; the mean over a part's readings, then over parts."""
        each = [[cross_entropy_to_uniform(logits).mean() for logits in reading.values()] for reading in readings]
        return torch.stack([torch.stack(of).mean() for of in each if of]).mean()


def num_branches(attribute: Attribute) -> int:
    """Values of an attribute that the critic and the probes tell apart."""
    return {"continuous": KNOTS, "group": 0}.get(attribute.kind, attribute.num_values)


def weights_of_values(attribute: Attribute, labels: Tensor) -> Tensor:
    """One-hot labels `[batch, values]`; a number's weights of its two nearest knots, by its distance from each."""
    if attribute.kind != "continuous":
        return (labels[:, None] == torch.arange(attribute.num_values, device=labels.device)).float()
    place = (hard(attribute, labels.nan_to_num()) + 1) / 2 * (KNOTS - 1)
    knots = torch.arange(KNOTS, device=labels.device)
    return (1 - (place.clamp(0, KNOTS - 1) - knots).abs()).clamp(min=0)


def drawn(weights: Tensor, uniform: Tensor) -> Tensor:
    """Places drawn with probabilities in proportion to weights `[places]`, one for each uniform number `[batch]`."""
    cumulative = weights.double().cumsum(0)
    return torch.searchsorted(cumulative, uniform.double() * cumulative[-1], right=True).clamp(max=len(weights) - 1)


def entropy_of(weights: Tensor, known: Tensor) -> Tensor:
    """Entropy in nats of the mean of the known rows of `weights` `[batch, values]`."""
    share = (weights * known[:, None]).sum(0) / known.sum().clamp(min=1)
    return -torch.xlogy(share, share).sum()
