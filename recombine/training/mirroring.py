"""Whether a training may show images mirrored, decided from the images themselves.

A small network f looks at an image x and at its mirror image x', and says with which probability x is the original:

    P(x is the original) = 1 / (1 + exp(-s(x))),    s(x) = f(x) - f(x').                                            (1)

Both are seen by the same f, and s(x') = -s(x), so that half of the answers are right where images and mirror images do
not differ. On images that it was not trained on, whole groups held out, two numbers are measured:

    accuracy = share of s(x) > 0, ties counting half,                                                               (2)
    handedness = 1 - mean of log2(1 + exp(-s(x) / T)) bits.                                                         (3)

(3) is a lower bound of the Jensen-Shannon divergence between the images and their mirror images, from 0, no difference,
to 1, every image told for sure; T, which takes back what the network is too sure of, is fitted on the other held-out
images. It decides, and the accuracy is told beside it. Accuracy counts slight leanings like certainties: 63 % of 3,000
faces of lfw40 are told from their mirror images (hair is parted on one side, light comes from somewhere), hardly one of
them surely, which makes .06 bits, and 78 % of 2,000 drawn capitals are, since A, H, I, M, O and others are symmetric
but most of the others known surely, which makes .40 bits (`results/mirror.json`).

Images are mirrored where even the upper end of (3)'s interval lies below a fifth of a bit: as if one image in five
were wrong when mirrored, and the others as likely as before. In doubt they are not, as with few images: a training
without mirror images lacks variety, which more images or steps can give, but one with impossible images learns these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recombine.data.batch import mix_seed
from recombine.data.images import to_float
from recombine.data.packed import SPLITS, Pack
from recombine.data.schema import MISSING
from recombine.metrics.intervals import Estimate, bootstrap, share

MOST = 0.2                                  # bits of handedness with which images are still mirrored
FEWEST = 100                                # images from which anything can be told
IMAGES = 3_000                              # of the training images that are looked at, at most
FOLDS = 3                                   # parts of them, each judged by a network that saw the others
SEEN = 16_000                               # images that each network is trained on, repeats counted
BATCH = 64
SIZE = 32                                   # pixels, height and width at which images are looked at
SHIFT = 2                                   # pixels by which they are moved: where an image is cut off is no handedness
TIE = 0.01                                  # a score that rounding could have given to a symmetric image
TEMPERATURES = np.geomspace(0.5, 1000, 80)  # T in equation (3)


@dataclass(frozen=True)
class Handedness:
    """How surely images are told from their mirror images; without estimates where there are too few images."""

    images: int                             # that could be looked at
    accuracy: Estimate | None = None        # share of right answers, equation (2)
    bits: Estimate | None = None            # equation (3)

    @property
    def mirror(self) -> bool:
        """Whether images may be shown mirrored."""
        return self.bits is not None and self.bits.high < MOST

    def __str__(self) -> str:
        if self.accuracy is None or self.bits is None:
            return f"{self.images} training images are too few to tell, {FEWEST} are needed"
        told = "{:.0%} ({:.0%}-{:.0%})".format(*_ends(self.accuracy))
        bits = "{:.2f} ({:.2f}-{:.2f})".format(*(max(0.0, end) for end in _ends(self.bits)))
        found = f"a small network tells {told} of {self.images:,} held-out images from their mirror images"
        return f"{found}, {bits} bits each, of which the upper end must lie below {MOST:g} to mirror"


FOUND: dict[str, Handedness] = {}           # by the pack's fingerprint


def handedness(pack: Pack) -> Handedness:
    """How surely a pack's training images are told from their mirror images: the same for the same images and groups.

    Takes about 10 s on one core, whatever the number of images; what was found is kept as long as the process lives.
    """
    pack = pack.whole()
    if pack.fingerprint not in FOUND:
        FOUND[pack.fingerprint] = measured(pack)
    return FOUND[pack.fingerprint]


def measured(pack: Pack) -> Handedness:
    """What `handedness` gives, measured."""
    rng = np.random.default_rng(mix_seed("handedness"))
    rows = np.sort(rng.permutation(pack.rows("train"))[:IMAGES])
    if len(rows) < FEWEST:
        return Handedness(len(rows))
    groups = whole_groups(pack, rows)
    folds = divided(groups, rng)
    images = looked_at(pack, rows)
    scores = np.empty(len(rows))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for fold in range(FOLDS):
            network = trained(images[folds != fold], mix_seed("handedness", fold))
            scores[folds == fold] = scored(network, images[folds == fold])
    return judged(scores, folds, groups)


def looked_at(pack: Pack, rows: np.ndarray) -> Tensor:
    """What the network sees: brightness alone `[rows, 1, SIZE, SIZE]`, every image with mean 0 and deviation 1.

    Without colours, and with each image in its own contrast, far fewer images suffice.
    """
    parts = []
    for some in np.array_split(rows, -(-len(rows) // 256)):
        grey = to_float(pack.images[some]).mean(1, keepdim=True)
        parts.append(F.interpolate(grey, (SIZE, SIZE), mode="bilinear", antialias=True))
    images = torch.cat(parts)
    deviation = images.std((2, 3), keepdim=True).clamp_min(0.01)
    return (images - images.mean((2, 3), keepdim=True)) / deviation


def whole_groups(pack: Pack, rows: np.ndarray) -> np.ndarray:
    """The group of each row, `[rows]` int64, of which none is taken apart; every row its own where there is no group.

    It is the coarsest group attribute whose values the pack's splits keep together, and that has enough of them.
    """
    found, splits = np.arange(len(rows)), np.asarray(pack.splits[np.arange(len(pack))])
    for attribute in pack.schema.attributes:
        if attribute.kind != "group":
            continue
        column = np.asarray(pack.labels[attribute.name][np.arange(len(pack))])
        known = column != MISSING
        sides = [column[known & (splits == split)] for split in SPLITS]
        torn = sum(len(np.unique(side)) for side in sides) > len(np.unique(column[known]))
        own = np.where(column[rows] == MISSING, -1 - np.arange(len(rows)), column[rows])
        members = np.unique(own, return_inverse=True)[1]
        if not torn and 2 * FOLDS <= members.max() + 1 < found.max() + 1:
            found = members
    return found


def divided(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The fold of each row, `[rows]` int64: groups stay whole, and folds are about as large."""
    sizes = np.bincount(groups)
    fold, filled = np.zeros(len(sizes), np.int64), np.zeros(FOLDS)
    order = rng.permutation(len(sizes))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[groups]


def trained(images: Tensor, seed: int) -> nn.Module:
    """The network f of equation (1), fitted to images `[images, 1, SIZE, SIZE]`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = small_network()
    steps, side = SEEN // BATCH, SIZE - 2 * SHIFT
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    order = np.concatenate([rng.permutation(len(images)) for _ in range(-(-steps * BATCH // len(images)))])
    for step in range(steps):
        y, x = rng.integers(0, 2 * SHIFT + 1, 2).tolist()
        rows = torch.from_numpy(order[step * BATCH : (step + 1) * BATCH])
        negative = torch.from_numpy(rng.choice(np.array([-1, 1], np.float32), (BATCH, 1, 1, 1)))  # dark on light too
        loss = F.softplus(-score(network, images[rows][..., y : y + side, x : x + side] * negative)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def small_network(width: int = 16) -> nn.Module:
    """Three convolutions, each halving the size, and a weighted sum: `[batch, 1, side, side]` -> `[batch, 1]`."""
    layers: list[nn.Module] = []
    for before, after in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    side = -(-(SIZE - 2 * SHIFT) // 8)
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * side**2, 1))
    return network.to(torch.float32, memory_format=torch.channels_last)  # type: ignore[call-overload]


def score(network: nn.Module, images: Tensor) -> Tensor:
    """The score of equation (1) `[batch]`: above 0 where images `[batch, 1, side, side]` are taken for the original."""
    one, other = network(torch.cat([images, images.flip(-1)]))[:, 0].chunk(2)
    return one - other


@torch.no_grad()
def scored(network: nn.Module, images: Tensor) -> np.ndarray:
    """The scores `[images]` of images `[images, 1, SIZE, SIZE]`, each looked at in its middle."""
    middle = images[..., SHIFT : SIZE - SHIFT, SHIFT : SIZE - SHIFT]
    return torch.cat([score(network, part) for part in middle.split(256)]).numpy()


def judged(scores: np.ndarray, folds: np.ndarray, groups: np.ndarray) -> Handedness:
    """The measures of scores `[images]`; images of one group count as one where they are alike."""
    bits = np.empty(len(scores))
    for fold in range(FOLDS):
        own = folds == fold
        losses = [lost_bits(scores[~own] / t).mean() for t in TEMPERATURES]
        bits[own] = 1 - lost_bits(scores[own] / TEMPERATURES[int(np.argmin(losses))])
    sums, counts = np.bincount(groups, bits), np.bincount(groups)
    low, high = bootstrap(lambda rows: sums[rows].sum() / counts[rows].sum(), len(sums))
    hits = np.where(np.abs(scores) < TIE, 0.5, scores > 0)
    estimate = Estimate(float(bits.mean()), low, high, len(bits), len(sums))
    return Handedness(len(scores), share(hits, groups), estimate)


def lost_bits(scores: np.ndarray) -> np.ndarray:
    """What is not known of each answer, in bits: 1 for a score of 0, 0 for a large one."""
    return np.logaddexp(0, -scores) / np.log(2)


def _ends(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high
