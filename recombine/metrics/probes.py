"""Networks that are trained to read codes: one by one, or many two-layer probes of the same codes at once.

Small networks spend most of their time between the computations, so twenty that read the same codes train about as fast
side by side as two after each other. Such probes share every step and stop one by one, which `fit` cannot do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Num, Shaped
from torch import Tensor, nn

from recombine.codes import pooled

MOST = 1024                                 # features of a map that is probed as it is; larger maps are pooled first
SIDE = 4                                    # side that larger maps are pooled to, at most


def features(train: Shaped[Tensor, " _ *_"], *others: Shaped[Tensor, " _ *_"]) -> list[np.ndarray]:
    """Parts `[batch, ...]` as standardised float32 `[batch, features]`, by the mean and deviation of the first.

    Maps `[batch, channels, height, width]` of more than 1,024 features are average-pooled to at most 4 x 4.

    Example:
        >>> import torch
        >>> features(torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0]]))[1]
        array([[2.]], dtype=float32)
    """
    sides = standardised(*(reduced(part).double().numpy() for part in (train, *others)))
    return [side.astype(np.float32) for side in sides]


def reduced(part: Shaped[Tensor, " batch *each"]) -> Float[Tensor, "batch features"]:
    """A part as it is probed, on the CPU: maps of more than 1,024 features averaged to at most 4 x 4.

    Example:
        >>> import torch
        >>> [tuple(reduced(torch.zeros(2, channels, 16, 16)).shape) for channels in (4, 8)]
        [(2, 1024), (2, 128)]
    """
    part = part.detach().cpu().float()
    return pooled(part, SIDE) if part.ndim == 4 and part[0].numel() > MOST else part.flatten(1)


def standardised(train: Num[np.ndarray, "_ features"], *others: Num[np.ndarray, "_ features"]) -> list[np.ndarray]:
    """Features less the mean of the first ones and over their deviation; a constant feature is not divided.

    Example:
        >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))[0]
        array([[-1., 0.], [ 1., 0.]])
    """
    middle, spread = train.mean(0), train.std(0)
    spread[spread == 0] = 1
    return [(side - middle) / spread for side in (train, *others)]


def vectors(codes: Num[np.ndarray, " images *each"]) -> Float[np.ndarray, "images features"]:
    """Codes as float64 vectors, maps flattened.

    Example:
        >>> vectors(np.zeros((2, 3, 4, 4))).shape
        (2, 48)
    """
    codes = np.asarray(codes, dtype=np.float64)
    return codes.reshape(len(codes), -1)


HIDDEN = 128                                # units of every two-layer probe
EPOCHS = 60                                 # at most ...
PATIENCE = 6                                # ... and so many without getting better


def fit(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[], Iterable[Tensor]],
    loss: Callable[[Tensor], Tensor],
    epochs: int,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    val_loss: Callable[[], Tensor] | None = None,
) -> None:
    """Train a network in place; where there is a validation loss, it ends with the weights of the best epoch.

    `batches` gives those of one epoch, for instance rows of the training codes, and `loss` the scalar of one of them.
    The learning rate's `schedule` moves on after every batch.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> optimizer = torch.optim.SGD(network.parameters(), 0.1)
        >>> fit(network, optimizer, lambda: [torch.ones(1, 1)], lambda x: (network(x) - 3).square().mean(), epochs=50)
        >>> round(network(torch.ones(1, 1)).item(), 4)
        3.0
    """
    best, weights = float("inf"), None
    for _ in range(epochs):
        for batch in batches():
            optimizer.zero_grad(set_to_none=True)
            loss(batch).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
        if val_loss is not None:
            with torch.no_grad():
                found = float(val_loss())
            if found < best:
                best, weights = found, {name: weight.clone() for name, weight in network.state_dict().items()}
    if weights is not None:
        network.load_state_dict(weights)


@dataclass(frozen=True)
class Task:
    """What one two-layer probe is trained to read."""

    target: Num[Tensor, " codes"]           # positions of values, int64; or numbers of mean 0 and deviation 1, float32
    train: Bool[Tensor, " codes"]           # which codes it is trained on ...
    val: Bool[Tensor, " codes"]             # ... and which decide when it stops
    outputs: int                            # values; 1 for numbers


class Probes(nn.Module):
    """`[batch, features]` -> `[probes, batch, outputs]`: one hidden layer each, with dropout before both layers.

    At first they guess, whatever the code, so that one that stops at once reads nothing.
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

    def forward(self, codes: Float[Tensor, "batch features"]) -> Float[Tensor, "probes batch outputs"]:
        """Logits of values, or numbers, of every probe."""
        codes = F.dropout(codes, self.dropout, self.training)
        hidden = F.linear(codes, self.weight_in.flatten(0, 1), self.bias_in.flatten()).relu()
        hidden = F.dropout(hidden, self.dropout, self.training).unflatten(1, (-1, HIDDEN)).transpose(0, 1)
        return torch.baddbmm(self.bias_out, hidden, self.weight_out)


def train_probes(codes: Float[Tensor, "codes features"], tasks: Sequence[Task], dropout: float, seed: int) -> Probes:
    """Train a probe for every task until its validation loss stops falling; each has its best epoch's weights.

    A task chooses its codes for training and validation; tasks are all of values, or all of numbers.

    Example:
        >>> values = torch.arange(60) % 2
        >>> task = Task(values, train=torch.arange(60) < 40, val=torch.arange(60) >= 40, outputs=2)
        >>> probes = train_probes(values[:, None].float(), [task], dropout=0.0, seed=0)
        >>> bool((probes(values[:, None].float())[0].argmax(1) == values).all())
        True
    """
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        network = Probes(codes.shape[1], tasks, dropout)
        optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01, fused=True)
        weights = [weight.detach().clone() for weight in network.parameters()]
        best, waited = torch.full((len(tasks),), torch.inf), torch.zeros(len(tasks), dtype=torch.int64)
        active, batched = torch.arange(len(tasks)), _Batched(tasks)
        train_rows, val_rows = (side.any(0).nonzero()[:, 0] for side in (batched.train, batched.val))
        size = min(128, max(8, int(batched.train.sum(1).max()) // 8))
        for _ in range(EPOCHS):
            network.train()
            for rows in train_rows[torch.randperm(len(train_rows))].split(size):
                optimizer.zero_grad(set_to_none=True)
                batched.losses(network(codes[rows]), rows, batched.train, active).sum().backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                found = batched.losses(network(codes[val_rows]), val_rows, batched.val, active)
            better = found < best[active]
            waited[active] = torch.where(better, 0, waited[active] + 1)
            best[active[better]] = found[better]
            for store, weight in zip(weights, network.parameters(), strict=True):
                store[active[better]] = weight.detach()[better]
            on = waited[active] < PATIENCE
            if not on.any():
                break
            if not on.all():  # some are done: the others go on, with their running means
                for weight in network.parameters():
                    weight.data = weight.data[on]
                    for name in ("exp_avg", "exp_avg_sq"):
                        optimizer.state[weight][name] = optimizer.state[weight][name][on]
                active = active[on]
    finished = Probes(codes.shape[1], tasks, dropout)
    for weight, store in zip(finished.parameters(), weights, strict=True):
        weight.data = store
    return finished.eval()


class _Batched:
    def __init__(self, tasks: Sequence[Task]):  # each [tasks, codes]
        self.target = torch.stack([task.target for task in tasks])
        self.train = torch.stack([task.train for task in tasks])
        self.val = torch.stack([task.val for task in tasks])
        places = torch.arange(max(task.outputs for task in tasks))
        self.absent = torch.stack([places >= task.outputs for task in tasks])[:, None]  # [tasks, 1, outputs]
        self.numbers = tasks[0].target.is_floating_point()

    def losses(self, outputs: Tensor, rows: Tensor, side: Tensor, active: Tensor) -> Tensor:
        """Mean squared error or cross-entropy `[active]` on those of some rows that belong to a side."""
        target, counted = self.target[active][:, rows], side[active][:, rows].float()
        if self.numbers:
            each = (outputs[..., 0] - target).square()
        else:
            logits = outputs.masked_fill(self.absent[active], -1e9).flatten(0, 1)
            each = F.cross_entropy(logits, target.clamp_min(0).flatten(), reduction="none").view_as(target)
        return (each * counted).sum(1) / counted.sum(1).clamp_min(1)
