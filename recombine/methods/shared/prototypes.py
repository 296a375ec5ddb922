"""Prototypes: the class-mean codes of the training images, and linear probes that predict labels from codes.

They give label edits to methods without a label input (Oldfield et al., "Adversarial Learning of Disentangled and
Generalizable Representations of Visual Attributes", 2021: class means) and predictions to methods without a classifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recombine.codes import Codes, pooled
from recombine.data.batch import mix_seed
from recombine.data.schema import Attribute, Schema
from recombine.messages import nearest, shown

if TYPE_CHECKING:
    from recombine.data.packed import Pack
    from recombine.method import Method
    from recombine.methods.shared.latent_units import LatentUnits

IMAGES = 2_000                              # of the training set that means and probes are fitted on, and ...
PER_VALUE = 40                              # ... at least this many of every value, so that rare ones have a mean
POOLED = 4                                  # pixels, largest side of a map as a probe takes it
RIDGE = 1e-2                                # weight of the probe's squared weights beside its mean cross-entropy


class Prototypes(nn.Module):
    """Class means and linear probes of attributes: buffers alone, set by `fit` and saved with the model.

    Args:
        schema: The attributes; groups and continuous ones have no classes and are left out.
        parts: Part name -> its shape without the batch. An attribute that has a part of its own gets class means.
        reads: Attribute -> input parts of its probe; by default the attribute's own part.
    """

    def __init__(
        self, schema: Schema, parts: Mapping[str, Sequence[int]], reads: Mapping[str, Sequence[str]] | None = None
    ):
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
            for kind, size in (
                ("weight", (self.classes[name].num_values, width)),
                ("bias", (self.classes[name].num_values,)),
            ):
                self.register_buffer(f"{kind}_{self.places[name]}", torch.zeros(size))
        for name in self.classes:
            self.register_buffer(f"count_{self.places[name]}", torch.zeros(self.classes[name].num_values))

    def label_code(self, name: str, value: object) -> Tensor:
        """The mean part `[1, ...]` of the training images that show `value`.

        Raises:
            ValueError: There is no such attribute or value, it has no classes, or no training image shows it.
        """
        attribute = self._attribute(name)
        place = attribute.index(value)
        if not self.of("count", name)[place]:
            raise ValueError(
                f"no training image shows {name}={attribute.values[place]}, so there is no mean code of it; swap it from an image instead"
            )
        return self.of("mean", name)[place : place + 1]

    def predict(self, codes: Codes) -> dict[str, Tensor]:
        """Probabilities `[batch, values]` of every attribute, by its linear probe."""
        return {name: self._logits(name, codes).softmax(1) for name in self.reads}

    def of(self, kind: str, name: str) -> Tensor:
        """A buffer of an attribute: `mean`, `count`, `weight` or `bias`."""
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

    def _logits(self, name: str, codes: Codes) -> Tensor:
        return F.linear(self._features(name, codes), self.of("weight", name), self.of("bias", name))

    def _attribute(self, name: str) -> Attribute:
        if name not in self.classes:
            raise ValueError(
                f"no attribute {name!r} that has class means; there are {shown(list(self.classes))}{nearest(name, list(self.classes))}"
            )
        return self.classes[name]


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
    device = next(p.device for p in method.parameters())
    codes = Codes.concatenate(
        [method.encode(pack.batch(rows[i : i + chunk]).images.to(device)).to("cpu") for i in range(0, len(rows), chunk)]
    )
    prototypes.fit(codes, {name: np.asarray(pack.labels[name])[rows] for name in prototypes.classes}, probes)
