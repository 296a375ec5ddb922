"""The reduced form of advattr on vectors: a supervised reduction to one short code for every attribute.

Oldfield, Panagakis and Nicolaou, "Adversarial Learning of Disentangled and Generalizable Representations of Visual
Attributes", 2019-2021, the ablation of Table III. https://arxiv.org/abs/1904.04772 Encoders and classifiers are shallow
and fully connected, nothing is decoded, and the objective is `L_cls + L_dis`, or `L_cls` alone with `dis_weight=0`.
Sizes and code were never published; the sizes here are our choice.

Differs from the paper: no code for the rest, which without a decoder would meet L_dis alone and could be constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from recombine.data.batch import mix_seed
from recombine.data.schema import MISSING
from recombine.losses import cross_entropy
from recombine.methods.advattr import uniformity


@dataclass
class AdvAttrVectors:
    """Vectors -> one code for every attribute, from which a linear layer cannot predict the others.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(40, 6))
        >>> labels = {"sign": vectors[:, 0] > 0, "size": np.abs(vectors[:, 1]).round().astype(int)}
        >>> AdvAttrVectors(code=4, steps=5).fit(vectors, labels).transform(vectors)["sign"].shape
        (40, 4)
    """

    code: int = 32                          # length of every code
    hidden: int = 128                       # width of the hidden layer of every encoder and classifier
    dis_weight: float = 1.0                 # of L_dis; 0 = without it
    steps: int = 1_000                      # batches seen in the training
    batch_size: int = 64                    # vectors in a batch, sampled with replacement
    learning_rate: float = 1e-3             # of Adam, betas 0.5 and 0.999, for encoders and classifiers
    seed: int = 0                           # of weights and batches; the same seed gives the same codes

    def fit(self, vectors: np.ndarray, labels: Mapping[str, Sequence | np.ndarray]) -> Self:
        """Train encoders and classifiers, each once a step.

        Args:
            vectors: `[samples, dim]`; standardised inside.
            labels: Attribute -> `[samples]`, positions of values from 0, and -1 where one is missing.

        Raises:
            ValueError: There is no attribute, or labels and vectors differ in number.
        """
        x = torch.as_tensor(np.asarray(vectors, dtype=np.float32))
        targets = [torch.as_tensor(np.asarray(column).astype(np.int64)) for column in labels.values()]
        if not targets:
            raise ValueError(
                "advattr needs the labels of at least one attribute, for example labels={'expression': positions}"
            )
        for name, target in zip(labels, targets, strict=True):
            if target.shape != x.shape[:1]:
                raise ValueError(
                    f"{name} has labels of shape {tuple(target.shape)} for {len(x)} vectors; give one position for each"
                )
        self.names = tuple(labels)
        self.mean, self.scale = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)
        x = (x - self.mean) / self.scale
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix_seed(self.seed, "weights"))
            self._build(x.shape[1], [int(target.max()) + 1 for target in targets])
        self._train(x, targets, np.random.default_rng(mix_seed(self.seed, "batches")))
        return self

    @torch.no_grad()
    def transform(self, vectors: np.ndarray) -> dict[str, np.ndarray]:
        """Codes `[samples, code]`, float32 and at least 0, of every attribute, from vectors `[samples, dim]`."""
        x = (torch.as_tensor(np.asarray(vectors, dtype=np.float32)) - self.mean) / self.scale
        return {name: network(x).numpy() for name, network in zip(self.names, self.encoders, strict=True)}

    def _build(self, dim: int, classes: Sequence[int]) -> None:
        def network() -> nn.Sequential:
            return nn.Sequential(nn.Linear(dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, self.code), nn.ReLU())

        self.encoders = nn.ModuleList(network() for _ in classes)
        self.features = nn.ModuleList(network() for _ in classes)
        self.heads = nn.ModuleList(nn.Linear(self.code, count) for count in classes)

    def _train(self, x: Tensor, targets: Sequence[Tensor], rng: np.random.Generator) -> None:
        classifiers, encoders = [*self.features.parameters(), *self.heads.parameters()], [*self.encoders.parameters()]
        players = [
            (weights, loss, torch.optim.Adam(weights, self.learning_rate, (0.5, 0.999)))
            for weights, loss in ((classifiers, self.classifier_loss), (encoders, self.encoder_loss))
        ]
        for _ in range(self.steps):
            rows = torch.from_numpy(rng.integers(0, len(x), self.batch_size))
            for weights, loss, optimizer in players:
                slopes = torch.autograd.grad(loss(x[rows], [target[rows] for target in targets]), weights)
                for weight, slope in zip(weights, slopes, strict=True):
                    weight.grad = slope
                optimizer.step()

    def classifier_loss(self, x: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """L_C of standardised vectors `[batch, dim]`: a scalar, for classifiers alone."""
        pairs = zip(self.heads, self.features, strict=True)
        return label_loss([head(network(x)) for head, network in pairs], targets)                 # L_C

    def encoder_loss(self, x: Tensor, targets: Sequence[Tensor]) -> Tensor:
        """L_cls and L_dis of standardised vectors `[batch, dim]`: a scalar, for encoders alone."""
        codes = torch.stack([network(x) for network in self.encoders])
        logits = [head(codes) for head in self.heads]
        loss = label_loss([own[m] for m, own in enumerate(logits)], targets)                      # Eq. 3, L_cls
        return loss + self.dis_weight * uniformity(logits) if self.dis_weight else loss           # Eq. 4, L_dis


def label_loss(logits: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Cross-entropy averaged over attributes; a label `MISSING` adds nothing."""
    each = zip(logits, targets, strict=True)
    return torch.stack([torch.where(y != MISSING, cross_entropy(a, y.clamp(min=0)), 0).mean() for a, y in each]).mean()
