"""Many two-layer probes of the same codes, trained at once: each by itself, but with all their steps taken together.

Small networks spend most of their time between the computations, so twenty that read the same codes train about as fast
side by side as two after each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 128                                # units of every probe
EPOCHS = 60                                 # at most ...
PATIENCE = 6                                # ... and so many without getting better


@dataclass(frozen=True)
class Task:
    """What one probe is asked."""

    wanted: Tensor                          # [codes] positions of values, int64; or numbers of mean 0 and deviation 1, float32
    learnt: Tensor                          # [codes] bool, which codes it learns from ...
    aside: Tensor                           # [codes] bool, ... and which decide when it stops
    outputs: int                            # values; 1 for numbers


class Probes(nn.Module):
    """`[batch, features]` -> `[probes, batch, outputs]`: one hidden layer each, with dropout before both layers.

    They begin by guessing, whatever the code, so that one that stops at once reads nothing.
    """

    def __init__(self, features: int, tasks: Sequence[Task], dropout: float):
        super().__init__()
        count, outputs = len(tasks), max(task.outputs for task in tasks)
        spread = features**-0.5
        self.dropout = dropout
        self.weight_in = nn.Parameter(torch.empty(count, HIDDEN, features).uniform_(-spread, spread))
        self.bias_in = nn.Parameter(torch.empty(count, HIDDEN).uniform_(-spread, spread))
        self.weight_out = nn.Parameter(torch.zeros(count, HIDDEN, outputs))
        self.bias_out = nn.Parameter(torch.zeros(count, 1, outputs))

    def forward(self, codes: Tensor) -> Tensor:
        """Logits of values, or numbers, of every probe."""
        codes = F.dropout(codes, self.dropout, self.training)
        hidden = F.linear(codes, self.weight_in.flatten(0, 1), self.bias_in.flatten()).relu()
        hidden = F.dropout(hidden, self.dropout, self.training).unflatten(1, (-1, HIDDEN)).transpose(0, 1)
        return torch.baddbmm(self.bias_out, hidden, self.weight_out)

    def weights(self) -> list[Tensor]:
        """The parameters' own tensors, each `[probes, ...]`."""
        return [weight.detach() for weight in self.parameters()]


def train_probes(codes: Tensor, tasks: Sequence[Task], dropout: float, seed: int) -> Probes:
    """Train a probe for every task until its loss on the codes kept aside stops falling; the best epoch's weights come back.

    Args:
        codes: `[codes, features]`.
        tasks: All of values, or all of numbers.
        dropout: Of inputs and hidden units.
        seed: Of the first weights, the order and the dropout.
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = Probes(codes.shape[1], tasks, dropout)
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01, fused=True)
        kept = [weight.clone() for weight in network.weights()]
        best, waited = torch.full((len(tasks),), torch.inf), torch.zeros(len(tasks), dtype=torch.int64)
        going, asked = torch.arange(len(tasks)), _Asked(tasks)
        looked = asked.aside.any(0).nonzero()[:, 0]
        size = min(128, max(8, int(asked.learnt.sum(1).max()) // 8))
        for _ in range(EPOCHS):
            network.train()
            for rows in asked.learnt.any(0).nonzero()[:, 0][torch.randperm(int(asked.learnt.any(0).sum()))].split(size):
                optimizer.zero_grad(set_to_none=True)
                asked.losses(network(codes[rows]), rows, asked.learnt, going).sum().backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                found = asked.losses(network(codes[looked]), looked, asked.aside, going)
            better = found < best[going]
            waited[going] = torch.where(better, 0, waited[going] + 1)
            best[going[better]] = found[better]
            for store, weight in zip(kept, network.weights(), strict=True):
                store[going[better]] = weight[better]
            on = waited[going] < PATIENCE
            if not on.any():
                break
            _keep(network, optimizer, on)
            going = going[on]
    finished = Probes(codes.shape[1], tasks, dropout)
    for weight, store in zip(finished.parameters(), kept, strict=True):
        weight.data = store
    return finished.eval()


class _Asked:
    """All tasks side by side, `[tasks, codes]`."""

    def __init__(self, tasks: Sequence[Task]):
        self.wanted, self.learnt, self.aside = (torch.stack([getattr(t, side) for t in tasks]) for side in ("wanted", "learnt", "aside"))
        places = torch.arange(max(task.outputs for task in tasks))
        self.none = torch.stack([places >= task.outputs for task in tasks])[:, None]  # [tasks, 1, outputs] that a task has not
        self.numbers = tasks[0].wanted.is_floating_point()

    def losses(self, read: Tensor, rows: Tensor, side: Tensor, going: Tensor) -> Tensor:
        """Mean squared error or cross-entropy `[going]` of some probes on some rows, over those rows that belong to a side."""
        wanted, counted = self.wanted[going][:, rows], side[going][:, rows].float()
        if self.numbers:
            each = (read[..., 0] - wanted).square()
        else:
            logits = read.masked_fill(self.none[going], -1e9)
            each = F.cross_entropy(logits.flatten(0, 1), wanted.clamp_min(0).flatten(), reduction="none").view_as(wanted)
        return (each * counted).sum(1) / counted.sum(1).clamp_min(1)


def _keep(network: Probes, optimizer: torch.optim.Optimizer, which: Tensor) -> None:
    """Go on with some of the probes; the others are done."""
    if which.all():
        return
    for weight in network.parameters():
        weight.data = weight.data[which]
        for name in ("exp_avg", "exp_avg_sq"):
            optimizer.state[weight][name] = optimizer.state[weight][name][which]
