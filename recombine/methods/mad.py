"""MAD: an adversarial autoencoder without labels, and two small maps between its compact code and disentangled parts.

Browatzki and Wallraven, "Robust Discrimination and Generation of Faces using Compact, Disentangled Embeddings", ICCV
Workshops 2019. Reported, 128 px: RMSE 22.87 of 255 on CelebA (Table 1); verification on LFW by the identity part 80.3
%, 85.4 % after joint training, 55.8 to 67.5 % by other parts (Table 2); mean AUC of expressions by their part .81,
joint .86 (Table 3); pose within 2.1 to 3.6 degrees. Ours: see LOG.md.

Three phases: the autoencoder; the maps, through the frozen autoencoder; all together. A batch trains the maps on one
attribute: a loss on its labels shapes its part, then the part is permuted within the batch, decoded and encoded again,
and must be recovered (cycle), with its label (augmentation).

Differs from the paper: any attributes. A group is trained as the paper's identity, or as its style where it is the clip
of another group; a binary or categorical attribute as its expression; all continuous ones together as its pose, except
those that belong to the expression. Without a style there is a part `rest` without labels. Images are in [-1, 1], the
range of the decoder's tanh, in place of [0, 1] less their mean. Critics return logits. As released, and not as written:
each map has one hidden layer, not two; distances of triplets are not squared; the cycle leaves continuous attributes
out (Eq. 8: all of f).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.packed import Pack
from recombine.data.samplers import InTurn, Sampler
from recombine.data.schema import Attribute, Schema
from recombine.losses import absolute_error, squared_error
from recombine.messages import shown
from recombine.method import Phase, Progress, Role, Turn, schema_image_size
from recombine.methods.shared.critics import code_critic, fake_loss, image_critic, real_loss
from recombine.methods.shared.label_codes import hard
from recombine.methods.shared.pretrained import ResNet, load_resnet18, resnet_decoder
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import attribute_of, named_roles
from recombine.methods.shared.triplets import (
    Labelled,
    by_data_set,
    group_triplets,
    grouped,
    label_distance,
    label_triplets,
    triplet_loss,
)

REST = "rest"


@dataclass(frozen=True)
class Config:
    """Settings of the paper's method; the defaults are its networks with the weights of the released code."""

    num_latents: int = 99                   # length of the autoencoder's code z
    part_width: int = 32                    # length of a unit part of f; continuous attributes take one number each
    rest_width: int | None = None           # of `rest`; None = 32, or 0 where an attribute is a clip, as in the paper
    identity: str = ""                      # group that clips belong to; "" = the one called "identity"
    clip: str = ""                          # group trained as the paper's style; "" = the one called "clip"
    expression: str = ""                    # attribute that the numbers of `affect` belong to; "" = the one called "expression"
    affect: tuple[str, ...] = ("valence", "arousal")  # continuous attributes that measure distances of expressions
    degrees: tuple[str, ...] = ("yaw", "pitch", "roll")  # continuous attributes that are angles; trained in radians
    encoder_width: int = 64                 # channels of the first convolution
    encoder_blocks: int = 2                 # in each of the four stages; 2 = ResNet-18
    encoder_max_pool: bool = True           # after the first convolution, as in ResNet-18
    imagenet: str = ""                      # safetensors file with torchvision's ResNet-18, initial weights of the encoder
    decoder_width: int = 64                 # channels of the last hidden layer
    critic_z_width: int = 1000
    critic_x_width: int = 32                # channels of the first convolution
    map_width: int = 1000                   # hidden width of both maps
    dropout: float = 0.2                    # in the code's critic
    rec_weight: float = 255.0               # of the mean absolute error on [0, 1], as released; 0.9 of an L1 in the paper
    enc_weight: float = 1.0
    adversarial_weight: float = 0.75        # of reconstructions before the image's critic ...
    generative_weight: float = 0.25         # ... and of samples; 0 = none are drawn, as the released command line has it
    critic_z_every: int = 2                 # iterations between two steps of the critic of codes
    critic_x_every: int = 4                 # ... and of the critic of images
    maps_weight: float = 5.0                # of all the maps' losses
    rec_map_weight: float = 4.0             # lambda_rec
    group_weight: float = 1.0               # of a group's triplets ...
    label_weight: float = 2.0               # ... of a binary or categorical attribute's ...
    number_weight: float = 1.0              # ... and of the continuous attributes' error
    cycle_weight: float = 1.0               # 0 = without the cycle loss
    augmentation_weight: float = 1.0        # 0 = without augmentation
    margin: float = 0.2                     # delta
    clamped: bool = True                    # hold a triplet's loss at the double margin, as released, not in the paper
    triplets: int = 1                       # drawn for every sample
    hardest: int = 5                        # a group's negative is one of so many of the nearest; 5 as released, 0 = any, as in the paper
    number_error: Literal["squared", "absolute"] = "squared"  # squared as released, absolute in the paper
    train_all: bool = False                 # train all attributes that a batch labels, not only the one it permutes
    pictures: int = 6                       # of one identity or clip in a batch: 20 identities in about 128 images ...
    clips: int = 4                          # ... or 5 identities with so many clips
    rounds: tuple[int, ...] = ()            # batches in a round for the continuous attributes, if any, and for each other; () = as released
    shares: tuple[float, ...] = (235.0, 11.0, 11.0)  # of the three phases, thousands of iterations in the paper; 0 = left out
    learning_rate: float = 5e-5             # of encoder, decoder and the critic of codes
    critic_x_rate: float = 0.5              # the other critic's rate, as a share of it, as released
    beta_1: float = 0.0                     # Adam's, of the same networks
    maps_rate: float = 1e-4                 # of the maps, with Adam's beta_1 = 0.9


# Differs from the paper: minutes in place of days on a GPU. One block a stage and narrower layers, smaller critics,
# larger steps with momentum, no samples; labels weigh more, and a batch trains every attribute that it labels. On
# expressions of photographs, alone and in one run each, encoder and map learnt nothing at a rate of 1e-3 with the
# released loss, and did at 3e-4 with 16 unclamped triplets a sample; the two changes were not separated.
SMALL = Config(
    encoder_width=20, encoder_blocks=1, decoder_width=20, critic_z_width=256, critic_x_width=12,
    generative_weight=0.0, label_weight=16.0, clamped=False, triplets=16, train_all=True, pictures=4,
    shares=(10.0, 4.0, 18.0), learning_rate=3e-4, beta_1=0.5, maps_rate=3e-4,
)  # fmt: skip
PHOTOS = replace(
    SMALL, encoder_width=24, encoder_max_pool=False, decoder_width=16, critic_x_width=16, group_weight=8.0,
    number_weight=20.0, hardest=0, pictures=2, rounds=(1, 4, 1), shares=(2.0, 1.0, 7.0),
)  # fmt: skip
PRESETS = {
    "celeba": Config(),
    "celeba-without-cycle": Config(cycle_weight=0.0, augmentation_weight=0.0),
    "celeba-before-joint": Config(shares=(235.0, 11.0, 0.0)),
    "vggface2": Config(),
    "small": SMALL,
    "photos": PHOTOS,
}
TINY = Config(  # for tests
    num_latents=8, part_width=4, rest_width=4, encoder_width=4, encoder_blocks=1, decoder_width=4, critic_z_width=8,
    critic_x_width=4, map_width=16, pictures=2, shares=(1, 1, 1),
)  # fmt: skip


class ForwardMap(nn.Module):
    """Phi: z -> f, all parts side by side; those of more than one number have length 1."""

    def __init__(self, num_latents: int, hidden: int, parts: Sequence[int]):
        super().__init__()
        self.parts = list(parts)
        self.layers = nn.Sequential(nn.Linear(num_latents, hidden), nn.LeakyReLU(0.01), nn.Linear(hidden, sum(parts)))

    def forward(self, z: Tensor) -> Tensor:
        """`[batch, latents]` -> `[batch, features]`."""
        return unit_parts(self.layers(z), self.parts)


class MAD(nn.Module):
    """The method; parts of its codes are the attributes and `rest`."""

    sampler = "macro"
    kinds = ("group", "binary", "categorical", "continuous")
    image_size = schema_image_size
    hints = ("cycle_weight",)

    def __init__(self, config: Config, schema: Schema):
        super().__init__()
        self.config, self.schema = config, schema
        self.identity, self.clip = identity_and_clip(config, schema)
        self.expression, self.affect = expression_and_affect(config, schema)
        self.parts = part_widths(config, schema, self.clip, self.affect)
        self.numbers = tuple(name for name in self.parts if name != REST and schema[name].kind == "continuous")
        others = [(name,) for name in self.parts if name not in (*self.numbers, REST)]
        self.trained = [*([self.numbers] if self.numbers else []), *others]  # sets of attributes, one of which a batch trains
        if config.rounds and len(config.rounds) != len(self.trained):
            sets = shown(["+".join(names) for names in self.trained])
            given, count = len(config.rounds), len(self.trained)
            raise ValueError(f"rounds has {given} numbers for the {count} that are trained: {sets}")

        size, channels, latents = schema.image_size, schema.channels, config.num_latents
        # Differs from the paper: no further stage for images of 256 px, which are averaged over a larger last layer.
        self.encoder = ResNet(channels, config.encoder_width, config.encoder_blocks, latents, config.encoder_max_pool)
        self.decoder = resnet_decoder(size, channels, config.decoder_width, latents)
        self.critic_z = code_critic(latents, config.critic_z_width, config.dropout)  # as released, without batch norm
        self.critic_x = image_critic(size, channels, config.critic_x_width)
        features = sum(self.parts.values())
        self.forward_map = ForwardMap(latents, config.map_width, list(self.parts.values()))
        self.backward_map = nn.Sequential(
            nn.Linear(features, config.map_width), nn.LeakyReLU(0.01), nn.Linear(config.map_width, latents)
        )
        self.codebook = Prototypes(schema, {name: (width,) for name, width in self.parts.items()})
        if config.imagenet and Path(config.imagenet).exists():  # a trained model is opened without the file
            load_resnet18(self.encoder, config.imagenet)

    def roles(self) -> dict[str, Role]:
        return named_roles(self.schema, self.parts)

    def encode(self, images: Tensor) -> Codes:
        """Codes f of images in [-1, 1]: unit vectors `[batch, 32]`, and one number `[batch, 1]` of a continuous one.

        Angles are in radians, other continuous attributes from -1 to 1 over the range seen in training.
        """
        features = self.forward_map(self.encoder(images))
        return Codes(dict(zip(self.parts, features.split(list(self.parts.values()), 1), strict=True)))

    def decode(self, codes: Codes) -> Tensor:
        """Images `[batch, channels, height, width]` in [-1, 1]; mixtures of unit parts are given length 1 again."""
        features = unit_parts(torch.cat([codes[name] for name in self.parts], 1), list(self.parts.values()))
        return self.decoder(self.backward_map(features))

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Images `[count, channels, height, width]` in [-1, 1] from standard normal z, a function of the seed."""
        z = torch.randn(count, self.config.num_latents, generator=torch.Generator().manual_seed(seed))
        return self.decoder(z.to(next(self.decoder.parameters())))

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.codebook.predict(codes)

    def label_code(self, name: str, value: object) -> Tensor:
        """The part for an image that shows `value`: the class mean `[1, 32]`, or the number itself `[1, 1]`."""
        attribute = attribute_of(self.schema, name)
        if name in self.affect:
            raise ValueError(
                f"{name} has no part of its own: it measures distances of {self.expression}; set {self.expression}"
            )
        if attribute.kind == "group":
            raise ValueError(
                f"{name} is a group, whose values are not edited by name; swap the part {name!r} from another image"
            )
        if attribute.kind == "continuous":
            return self._scaled(attribute, torch.tensor([[attribute.number(value)]]))
        return self.codebook.label_code(name, value)

    def phases(self) -> list[Phase]:
        """Autoencoder, maps, joint; a phase with a share of 0 is left out."""
        frozen = {"autoencoder": (), "maps": ("encoder", "decoder", "critic_z", "critic_x"), "joint": ()}
        shares = zip(frozen, self.config.shares, strict=True)
        return [Phase(name, share, frozen[name]) for name, share in shares if share]

    def players(self) -> dict[str, list[str]]:
        """Autoencoder and maps are one player, since the joint phase trains them by one sum of losses."""
        embedding = ["encoder", "decoder", "forward_map", "backward_map"]
        return {"embedding": embedding, "critic_z": ["critic_z"], "critic_x": ["critic_x"]}

    def optimizer(self, player: str, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Adam for all players (section 4); the maps have a rate and beta_1 of their own."""
        c = self.config
        maps = {id(weight) for network in (self.forward_map, self.backward_map) for weight in network.parameters()}
        rate = c.learning_rate * (c.critic_x_rate if player == "critic_x" else 1.0)
        groups = [{"params": [w for w in parameters if id(w) not in maps], "lr": rate, "betas": (c.beta_1, 0.999)}]
        if player == "embedding":
            own = [w for w in parameters if id(w) in maps]
            groups.append({"params": own, "lr": c.maps_rate, "betas": (0.9, 0.999)})
        return torch.optim.Adam(groups)

    def make_sampler(self, pack: Pack, seed: int, mirror: bool) -> Sampler:
        """One sampler for each of `trained`, in turn; continuous attributes have a quarter of the batches, as released.

        Where several data sets were joined, each batch is of one of them, which take turns as well.
        """
        if self.config.imagenet and not Path(self.config.imagenet).exists():
            raise ValueError(
                f"there is no file {self.config.imagenet} with ImageNet weights; "
                "leave out `imagenet` to start from random weights"
            )
        make = partial(self._sampler, seed=seed, mirror=mirror)
        samplers = [by_data_set(pack, names, partial(make, names=names)) for names in self.trained]
        others = len(samplers) - bool(self.numbers)
        released = [others or 1, *[3] * others] if self.numbers else None
        return InTurn(samplers, self.config.rounds or released)

    def turns(self, batch: Batch, progress: Progress) -> Iterator[Turn]:
        """One training step; section 3.2 in the first phase, 3.3 to 3.5 in the second, both in the third.

        Differs from the paper: the encoder descends `enc` together with the other losses of its phase and not in a step
        of its own. In the joint phase the decoder follows the maps' losses, too, which the released code takes away
        from it.
        """
        z = self.encoder(batch.images)
        losses: dict[str, tuple[float, Tensor]] = {}
        if progress.phase != "autoencoder":
            losses |= self._map_losses(z, batch)
        if progress.phase == "maps":
            yield Turn("embedding", losses)
            return

        c, iteration = self.config, progress.images_seen // (batch.whole or batch.size)
        x, z_prior = batch.images, batch.noise("prior", c.num_latents)
        x_rec = self.decoder(z if progress.phase == "autoencoder" else self.backward_map(self.forward_map(z)))
        x_prior = self.decoder(z_prior) if c.generative_weight else None

        if iteration % c.critic_z_every == 0:
            enc = real_loss(self.critic_z(z_prior)) + fake_loss(self.critic_z(z.detach()))                # Eq. 2, L_enc
            yield Turn("critic_z", {"enc": (1.0, enc)})                                                   # Eq. 2, L_enc

        if iteration % c.critic_x_every == 0:
            real = real_loss(self.critic_x(x))
            own = {"adv": (c.adversarial_weight, real + fake_loss(self.critic_x(x_rec.detach())))}        # Eq. 3, L_adv
            if x_prior is not None:
                own["gen"] = (c.generative_weight, real + fake_loss(self.critic_x(x_prior.detach())))     # Eq. 4, L_gen
            yield Turn("critic_x", own)

        losses |= {
            "rec": (c.rec_weight, absolute_error(x_rec, x).mean() / 2),                                   # Eq. 1, L_rec
            "enc": (c.enc_weight, real_loss(self.critic_z(z))),                                           # Eq. 2, L_enc
            "adv": (c.adversarial_weight, real_loss(self.critic_x(x_rec))),                               # Eq. 3, L_adv
        }
        if x_prior is not None:
            losses["gen"] = (c.generative_weight, real_loss(self.critic_x(x_prior)))                      # Eq. 4, L_gen
        yield Turn("embedding", losses)

    def _map_losses(self, z: Tensor, batch: Batch) -> dict[str, tuple[float, Tensor]]:
        """L_Phi of codes z; one attribute, or the continuous ones together, is permuted within the batch."""
        c, names = self.config, self._names(batch)
        f = self.forward_map(z)
        losses = {"rec_map": (c.rec_map_weight, absolute_error(self.backward_map(f), z).mean())}          # Eq. 6, L_rec^Phi
        for shaped in self.trained if c.train_all else [names]:
            loss = self._label_loss(shaped, f, batch, "label")
            losses[f"label_{'+'.join(shaped)}"] = (self._weight(shaped), loss)                            # Eq. 7, L_f_k

        order = batch.uniform("order").argsort()
        own, others = self._parted(f), self._parted(f[order])
        swapped = torch.cat([(others if part in names else own)[part] for part in self.parts], 1).detach()  # f*, detached: else f could lower the cycle's error by collapsing
        if c.cycle_weight or c.augmentation_weight:
            again = self.forward_map(self.encoder(self.decoder(self.backward_map(swapped))))              # Eq. 9, I(f*)
            moved = absolute_error(self._cycled(again), self._cycled(swapped))
            losses["cyc"] = (c.cycle_weight, moved.mean())                                                # Eq. 8, L_cyc
            augmented = self._label_loss(names, again, shuffled(batch, order), "augmented")
            losses[f"aug_{'+'.join(names)}"] = (c.augmentation_weight * self._weight(names), augmented)   # Eq. 10, L_aug
        return {name: (c.maps_weight * weight, value) for name, (weight, value) in losses.items()}        # Eq. 14, L_Phi

    def _label_loss(self, names: tuple[str, ...], f: Tensor, batch: Batch, purpose: str) -> Tensor:
        """F_k of Eq. 7, a scalar: triplet loss, or error of continuous attributes; 0 without labels."""
        columns = self._parted(f)
        if names == self.numbers:
            form = squared_error if self.config.number_error == "squared" else absolute_error
            errors = []
            for name in names:
                part, known = columns[name], batch.known[name]
                truth = self._scaled(self.schema[name], batch.labels[name][:, None].to(part))
                errors.append(torch.where(known, form(part, truth), 0).sum() / known.sum().clamp(min=1))  # Eq. 11, F_p
            return torch.stack(errors).mean()
        (name,) = names
        part, labels, known, rows = columns[name], batch.labels[name], batch.known[name], batch.rows.to(f.device)
        draws = batch.uniform(f"{purpose} {name}", self.config.triplets, 2)
        if self.schema[name].kind == "group":
            owners = batch.labels[self.identity] if name == self.clip else None
            known = known & batch.known[self.identity] if name == self.clip else known
            triplets = group_triplets(part, labels, known, rows, draws, self.config.hardest, owners)
        else:
            affect = self.affect if name == self.expression else ()
            distance = label_distance(labels, [batch.labels[a] for a in affect], [batch.known[a] for a in affect])
            triplets = label_triplets(distance, known, rows, draws)
        return triplet_loss(part, triplets, self.config.margin, self.config.clamped)                      # Eq. 12

    def _weight(self, names: tuple[str, ...]) -> float:
        kinds = {"continuous": self.config.number_weight, "group": self.config.group_weight}
        return kinds.get(self.schema[names[0]].kind, self.config.label_weight)

    def _names(self, batch: Batch) -> tuple[str, ...]:
        """Attributes that a batch trains: those it was drawn for, or else the next ones that it labels."""
        first = batch.source % len(self.trained)
        order = self.trained[first:] + self.trained[:first]
        return next((names for names in order if not batch.labelled.isdisjoint(names)), order[0])

    def _parted(self, f: Tensor) -> dict[str, Tensor]:
        """The numbers of f, part by part."""
        return dict(zip(self.parts, f.split(list(self.parts.values()), 1), strict=True))

    def _cycled(self, f: Tensor) -> Tensor:
        """The numbers of f in the cycle: all but continuous attributes, as released, where there are others."""
        parts = self._parted(f)
        return torch.cat([part for name, part in parts.items() if name not in self.numbers] or list(parts.values()), 1)

    def _scaled(self, attribute: Attribute, values: Tensor) -> Tensor:
        """Values of a continuous attribute in the unit of its part: radians, or -1 to 1 over its range."""
        return torch.deg2rad(values) if attribute.name in self.config.degrees else hard(attribute, values[:, 0])

    def _sampler(self, pack: Pack, names: tuple[str, ...], seed: int, mirror: bool) -> Sampler:
        if self.schema[names[0]].kind != "group":
            return Labelled(pack, names, seed, mirror)
        group, clip = (self.identity, self.clip) if names[0] == self.clip else (names[0], None)
        return grouped(pack, group, clip, seed, mirror, self.config.clips, self.config.pictures)


def identity_and_clip(config: Config, schema: Schema) -> tuple[str, str]:
    """Names of the identity and of its clips; empty where there is none."""
    groups = [a.name for a in schema.attributes if a.kind == "group"]
    for setting, name in (("identity", config.identity), ("clip", config.clip)):
        if name and name not in groups:
            raise ValueError(
                f"{setting} must name an attribute of kind 'group', not {name!r}; there are {shown(groups)}"
            )
    identity = config.identity or ("identity" if "identity" in groups else "")
    clip = config.clip or ("clip" if "clip" in groups and identity else "")
    if clip and (not identity or clip == identity):
        raise ValueError(
            f"{clip!r} cannot be a clip without another attribute of kind 'group' that it belongs to; "
            "name that as `identity`"
        )
    return identity, clip


def expression_and_affect(config: Config, schema: Schema) -> tuple[str, tuple[str, ...]]:
    """Names of the expression and of the continuous attributes that belong to it; empty where there is none."""
    expression = config.expression or ("expression" if "expression" in schema.names else "")
    if not expression:
        return "", ()
    if attribute_of(schema, expression).kind not in ("binary", "categorical"):
        raise ValueError(
            f"expression must name a binary or categorical attribute; {expression!r} is {schema[expression].kind}"
        )
    numbers = [a.name for a in schema.attributes if a.kind == "continuous"]
    return expression, tuple(name for name in config.affect if name in numbers)


def part_widths(config: Config, schema: Schema, clip: str, affect: Sequence[str]) -> dict[str, int]:
    """Length of every part of f."""
    names = [a.name for a in schema.attributes if a.name not in affect]
    if not names:
        raise ValueError("mad needs at least one attribute")
    if REST in names:
        raise ValueError(
            f"an attribute cannot be called {REST!r}, the name of the part without labels; rename the column"
        )
    rest = (0 if clip else 32) if config.rest_width is None else config.rest_width
    if config.part_width < 2 or rest == 1:
        raise ValueError(f"unit parts need 2 or more numbers, not part_width={config.part_width} and rest_width={rest}")
    parts = {name: 1 if schema[name].kind == "continuous" else config.part_width for name in names}
    return {**parts, REST: rest} if rest else parts


def shuffled(batch: Batch, order: Tensor) -> Batch:
    """The batch with labels and rows in another order, its images in place."""
    labels, known = ({name: of[name][order] for name in of} for of in (batch.labels, batch.known))
    return replace(batch, labels=labels, known=known, rows=batch.rows[order.to(batch.rows.device)])


def unit_parts(features: Tensor, parts: Sequence[int]) -> Tensor:
    """The code f with every part of more than one number normalised to length 1, `[batch, features]`."""
    split = features.split(list(parts), 1)
    return torch.cat([F.normalize(part, dim=1) if part.shape[1] > 1 else part for part in split], 1)
