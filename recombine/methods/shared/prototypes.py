"""Prototypes: the class-mean codes of the training images, and linear probes that predict labels from codes.

They give label edits to methods without a label input (Oldfield et al., "Adversarial Learning of Disentangled and
Generalizable Representations of Visual Attributes", 2021: class means) and predictions to methods without a classifier.

A method that learns without labels has no part for an attribute. To edit and judge it, every attribute gets the units
that have the most mutual information with it, over the attribute's entropy, as the mutual information gap matches units
to factors (Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational Autoencoders", 2018,
section 4.1. https://arxiv.org/abs/1802.04942), between labels and means put into 20 bins (Locatello et al.,
"Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations", 2019.
https://arxiv.org/abs/1811.12359).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes, pooled
from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.inference import encode_rows
from recombine.messages import nearest, shown
from recombine.method import Method
from recombine.methods.shared.schemas import check_kinds

IMAGES = 2_000                              # of the training set that means and probes are fitted on, and ...
PER_VALUE = 40                              # ... at least this many of every value, so that rare ones have a mean
POOLED = 4                                  # pixels, largest side of a map as a probe takes it
RIDGE = 1e-2                                # weight of the probe's squared weights beside its mean cross-entropy
BINS = 20                                   # of equal width, of a unit's values, where attributes are assigned units


class Prototypes(nn.Module):
    """Class means and linear probes of attributes: buffers alone, set by `fit` and saved with the model.

    Args:
        schema: The attributes; groups and continuous ones have no classes and are left out.
        parts: Part name -> its shape without the batch. An attribute that has a part of its own gets class means.
        reads: Attribute -> input parts of its probe; by default the attribute's own part.
        spread: Whether codes of every value, which must be vectors, also get a normal distribution to draw from.
    """

    def __init__(
        self, schema: Schema, parts: Mapping[str, Sequence[int]], reads: Mapping[str, Sequence[str]] | None = None,
        spread: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.classes = {a.name: a for a in schema.attributes if a.kind in ("binary", "categorical")}
        self.reads = {name: tuple((reads or {}).get(name, (name,))) for name in self.classes}
        self.reads = {name: read for name, read in self.reads.items() if set(read) <= set(parts)}
        shapes = {name: tuple(parts[name]) for name in self.classes if name in parts}
        self.places = {name: place for place, name in enumerate(self.classes)}  # buffers cannot have every attribute's name
        for name, shape in shapes.items():
            self.register_buffer(f"mean_{self.places[name]}", torch.zeros(self.classes[name].num_values, *shape))
        for name, read in self.reads.items():
            width = sum(pooled(torch.zeros(1, *parts[part]), POOLED).shape[1] for part in read)
            for kind, size in (("weight", (width,)), ("bias", ())):
                self.register_buffer(f"{kind}_{self.places[name]}", torch.zeros(self.classes[name].num_values, *size))
        for name, shape in shapes.items() if spread else ():
            self.register_buffer(f"root_{self.places[name]}", torch.zeros(self.classes[name].num_values, *shape, *shape))
        for name in self.classes:
            self.register_buffer(f"count_{self.places[name]}", torch.zeros(self.classes[name].num_values))

    def label_code(self, name: str, value: object) -> Tensor:
        """The mean part `[1, ...]` of the training images that show `value`.

        Raises:
            ValueError: There is no such attribute or value, it has no classes, or no training image shows it.
        """
        place = self._place(name, value)
        return self.of("mean", name)[place : place + 1]

    def drawn_code(self, name: str, value: object, normal: Tensor) -> Tensor:
        """Parts `[batch, length]` of images that show `value`, by standard normal numbers of that shape.

        They have the mean and covariance of the training images' codes; errors as of `label_code`.
        """
        place = self._place(name, value)
        return self.of("mean", name)[place] + normal @ self.of("root", name)[place].T

    def _place(self, name: str, value: object) -> int:
        """The position of a value that some training image shows."""
        if name not in self.classes:
            there = f"{shown(list(self.classes))}{nearest(name, list(self.classes))}"
            raise ValueError(f"no attribute {name!r} that has class means; there are {there}")
        attribute = self.classes[name]
        place = attribute.index(value)
        if not self.of("count", name)[place]:
            raise ValueError(
                f"no training image shows {name}={attribute.values[place]}, so there is no mean code of it; "
                "swap it from an image instead"
            )
        return place

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        """Probabilities `[batch, values]` of every attribute, by its linear probe."""
        probes = {name: (self.of("weight", name), self.of("bias", name)) for name in self.reads}
        return {name: F.linear(self._features(name, codes), *probe).softmax(1) for name, probe in probes.items()}

    def of(self, kind: str, name: str) -> Tensor:
        """A buffer of an attribute: `mean`, `root`, `count`, `weight` or `bias`."""
        return getattr(self, f"{kind}_{self.places[name]}")

    @torch.no_grad()
    def fit(self, codes: Codes, labels: Mapping[str, np.ndarray], probes: bool = True) -> None:
        """Take class means, and fit the probes.

        Args:
            codes: Of training images.
            labels: Attribute -> positions of their values `[batch]`, `MISSING` where unknown.
            probes: Whether to fit the probes, which takes some seconds.
        """
        for name, attribute in self.classes.items():
            known = torch.from_numpy(np.flatnonzero(attribute.known(np.asarray(labels[name]))))
            target = torch.from_numpy(np.asarray(labels[name])).long()[known]
            counts = torch.bincount(target, minlength=attribute.num_values).float()
            self.of("count", name).copy_(counts)
            if name in codes and hasattr(self, f"mean_{self.places[name]}"):
                part = codes[name][known.to(codes.device)].flatten(1).double().cpu()
                sums = torch.zeros(attribute.num_values, part.shape[1], dtype=torch.float64).index_add_(0, target, part)
                mean = self.of("mean", name)
                mean.copy_((sums / counts.clamp(min=1)[:, None]).reshape(mean.shape))
                if hasattr(self, f"root_{self.places[name]}"):
                    self.of("root", name).copy_(torch.stack([root(part[target == v]) for v in range(len(counts))]))
            if probes and name in self.reads and len(known):
                self._fit_probe(name, self._features(name, codes).cpu()[known], target)

    def _fit_probe(self, name: str, inputs: Tensor, target: Tensor) -> None:
        """Multinomial logistic regression on standardised features, in full batches."""
        mean, scale = inputs.mean(0), inputs.std(0, correction=0).clamp(min=1e-6)
        inputs = (inputs - mean) / scale
        weight = torch.zeros_like(self.of("weight", name), device="cpu", requires_grad=True)
        bias = torch.zeros_like(self.of("bias", name), device="cpu", requires_grad=True)
        optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            with torch.enable_grad():
                value = F.cross_entropy(inputs @ weight.T + bias, target) + RIDGE * weight.square().sum()
                value.backward()
            return value

        optimizer.step(loss)  # type: ignore[arg-type]
        plain = weight.detach() / scale
        self.of("weight", name).copy_(plain)
        self.of("bias", name).copy_(bias.detach() - plain @ mean)

    def _features(self, name: str, codes: Codes) -> Tensor:
        return torch.cat([pooled(codes[part], POOLED) for part in self.reads[name]], 1)


def root(codes: Tensor) -> Tensor:
    """A square root of the covariance of codes `[batch, length]`: `[length, length]`, 0 where there are fewer than two."""
    if len(codes) < 2:
        return codes.new_zeros(codes.shape[1], codes.shape[1])
    values, vectors = torch.linalg.eigh(codes.T.cov(correction=0).reshape(codes.shape[1], -1))
    return vectors * values.clamp(min=0).sqrt()


class LatentUnits(nn.Module):
    """Latent units assigned to attributes by normalised mutual information, and prototypes of the parts they make.

    Buffers alone, set by `fit` and saved with the model; before, the units are assigned in order.

    Args:
        schema: Binary and categorical attributes, or none.
        num_latents: Length of the vector.
        units: Units of every attribute; the others are `rest`.

    Raises:
        ValueError: An attribute is neither binary nor categorical, or units are too few for attributes and the rest.
    """

    def __init__(self, schema: Schema, num_latents: int, units: int):
        super().__init__()
        check_kinds("an unsupervised code", schema, least=0)
        self.units, left = units, num_latents - units * len(schema.attributes)
        if units < 1 or left < 1:
            raise ValueError(
                f"{num_latents} latent units are too few for {len(schema.attributes)} attributes with {units} each and "
                "a rest; change units or num_latents"
            )
        self.sizes = {**dict.fromkeys(schema.names, units), "rest": left}
        # As in Creswell et al., 2017, Fig. 7: a linear classifier for each attribute reads the whole code.
        reads = dict.fromkeys(schema.names, tuple(self.sizes))
        self.means = Prototypes(schema, {name: (size,) for name, size in self.sizes.items()}, reads)
        self.register_buffer("order", torch.arange(num_latents))  # indices of the units, part by part

    @property
    def classes(self) -> dict[str, Attribute]:
        """The attributes whose labels `fit` needs."""
        return self.means.classes

    def split(self, code: Tensor) -> Codes:
        """Vectors `[batch, latents]` as every attribute's part `[batch, units]` and `rest`."""
        parts = code[:, self.order.to(code.device)].split(list(self.sizes.values()), 1)  # type: ignore[operator]
        return Codes(dict(zip(self.sizes, parts, strict=True)))

    def join(self, codes: Codes) -> Tensor:
        """Inverse of `split`: the vectors `[batch, latents]`."""
        parts = torch.cat([codes[name] for name in self.sizes], 1)
        return parts[:, self.order.argsort().to(parts.device)]  # type: ignore[operator]

    @torch.no_grad()
    def fit(self, codes: Codes, labels: Mapping[str, np.ndarray], probes: bool = True) -> None:
        """Assign units to attributes, then fit the prototypes; arguments as for `Prototypes.fit`."""
        code = self.join(codes)
        scores = [information(code.cpu().numpy(), np.asarray(labels[name])) for name in self.classes]
        self.order.copy_(torch.tensor(assigned(np.array(scores).reshape(-1, code.shape[1]), self.units)))  # type: ignore[operator]
        self.means.fit(self.split(code), labels, probes)

    def label_code(self, name: str, value: object) -> Tensor:
        return self.means.label_code(name, value)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        return self.means.predict(codes)


def information(code: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mutual information of units `[batch, units]` and labels `[batch]` over the labels' entropy: `[units]`, 0 to 1.

    Missing labels are left out; labels of a single value give 0.
    """
    from sklearn.metrics import mutual_info_score

    code, labels = code[labels != MISSING], labels[labels != MISSING]
    if len(np.unique(labels)) < 2:
        return np.zeros(code.shape[1])
    columns = [np.digitize(unit, np.histogram_bin_edges(unit, BINS)[1:-1]) for unit in code.T]
    return np.array([mutual_info_score(labels, column) for column in columns]) / mutual_info_score(labels, labels)


def assigned(scores: np.ndarray, count: int) -> list[int]:
    """Units in the order of the attributes they are assigned to, greedily: the highest score of all first.

    Args:
        scores: `[attributes, units]`.
        count: Units of every attribute.

    Returns:
        Indices of the first attribute's units, the second's, ..., and of those that are not assigned.

    Example:
        >>> assigned(np.array([[0.9, 0.8, 0.1], [0.95, 0.2, 0.3]]), 1)
        [1, 0, 2]
    """
    units: list[list[int]] = [[] for _ in scores]
    taken: set[int] = set()
    for place in np.argsort(-scores, axis=None, kind="stable").tolist():
        attribute, unit = divmod(place, scores.shape[1])
        if len(units[attribute]) < count and unit not in taken:
            units[attribute].append(unit)
            taken.add(unit)
    return [unit for own in units for unit in own] + [unit for unit in range(scores.shape[1]) if unit not in taken]


def prototypes_of(method: Method) -> Prototypes | LatentUnits | None:
    """The class means and probes of a method: its child module `codebook`; None where it has none.

    A runtime-checkable protocol cannot answer this: from Python 3.12 on it does not see the children of a module.
    """
    return getattr(method, "codebook", None)


@torch.no_grad()
def fit_prototypes(
    method: Method, prototypes: Prototypes | LatentUnits, pack: Pack, probes: bool = True, chunk: int = 128
) -> None:
    """Fit the class means and probes of a method in eval mode on its training images, the same ones every time."""
    rows = np.asarray(pack.rows("train"))
    rng = np.random.default_rng(mix_seed(0, "codebook"))
    rows = rows[rng.permutation(len(rows))]
    chosen = [rows[:IMAGES]]
    for name, attribute in prototypes.classes.items():
        labels = np.asarray(pack.labels[name])[rows]
        chosen += [rows[labels == value][:PER_VALUE] for value in range(attribute.num_values)]
    rows = np.unique(np.concatenate(chosen))
    codes = encode_rows(method, pack, rows, chunk).to("cpu")
    prototypes.fit(codes, {name: np.asarray(pack.labels[name])[rows] for name in prototypes.classes}, probes)
