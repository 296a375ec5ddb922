"""Latent units of an unsupervised code, assigned to attributes after the training by normalised mutual information.

A method that learns without labels has no part for an attribute. To edit and judge it, every attribute gets the units
that have the most mutual information with it, over the attribute's entropy, as the mutual information gap matches units
to factors (Chen, Li, Grosse and Duvenaud, "Isolating Sources of Disentanglement in Variational Autoencoders", 2018,
section 4.1. https://arxiv.org/abs/1802.04942), between labels and means put into 20 bins (Locatello et al.,
"Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations", 2019.
https://arxiv.org/abs/1811.12359).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from recombine.codes import Codes
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.methods.shared.prototypes import Prototypes
from recombine.methods.shared.schemas import check_kinds

BINS = 20                                   # of equal width, of a unit's values


class LatentUnits(nn.Module):
    """Assigns latent dimensions to attributes by normalised mutual information, and holds the prototypes of the parts they make.

    Buffers alone, set by `fit` and saved with the model; before, the units are assigned in order.

    Args:
        schema: Binary and categorical attributes, or none.
        num_latents: Length of the vector.
        units: Units of every attribute; the others are `rest`.

    Raises:
        ValueError: An attribute is neither binary nor categorical, or there are too few units for all attributes and the rest.
    """

    def __init__(self, schema: Schema, num_latents: int, units: int):
        super().__init__()
        check_kinds("an unsupervised code", schema, least=0)
        self.units, left = units, num_latents - units * len(schema.attributes)
        if units < 1 or left < 1:
            raise ValueError(
                f"{num_latents} latent units are too few for {len(schema.attributes)} attributes with {units} each and a rest; change units or num_latents"
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
        """The mean part `[1, units]` of training images that show `value`; errors as of `Prototypes.label_code`."""
        return self.means.label_code(name, value)

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        """Probabilities `[batch, values]` of every attribute, by linear probes of the whole code."""
        return self.means.predict(codes)


def information(code: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mutual information of every unit `[batch, units]` and labels `[batch]` over the labels' entropy: `[units]`, 0 to 1.

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
