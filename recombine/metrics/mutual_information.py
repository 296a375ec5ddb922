"""Mutual information of two parts in nats, by a separately trained pair classifier.

A network T learns to tell codes of one image from codes of two (Esser et al., eq. 12). At its optimum it is the log
ratio of both densities, whose mean over pairs of one image is the mutual information. It is trained apart from the
method, and measured on other images.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from recombine.metrics.intervals import Estimate, mean
from recombine.metrics.probes import features, fit

WIDTH = 64                                  # units of every hidden layer of T
MEET = 32                                   # numbers in which its two towers meet
VAL_SHARE = 0.2                             # of the training codes, that choose the epoch and calibrate
SHIFTS = 8                                  # codes of other images that every validation code is paired with
FEWEST = 50                                 # training codes


def mutual_information(
    a_train: Shaped[Tensor, " _ *a"],
    b_train: Shaped[Tensor, " _ *b"],
    a_test: Shaped[Tensor, " _ *a"],
    b_test: Shaped[Tensor, " _ *b"],
    epochs: int = 10,
    seed: int = 0,
) -> Estimate:
    """Estimate the mutual information of two parts `[batch, ...]`, reduced as in `recombine.metrics.probes`.

    T is trained on parts of the same images, and measured on parts of other images.

    Returns:
        Nats; slightly below 0 is possible where there is none. Few codes of many features make it too low. The interval
        is over the measured images, with T as it is.

    Raises:
        ValueError: Parts are not of equally many images, or there are fewer than 50 to train on.

    Differs from the paper: T's scale and offset are fitted once more on validation codes, since they wander in training
    and the mean of T wanders with them; and T is the inner product of two towers plus a network on both codes together.

    Example:
        >>> code = torch.randint(0, 2, (400, 1), generator=torch.Generator().manual_seed(0))
        >>> 0.6 < mutual_information(code[:200], code[:200], code[200:], code[200:]).value < 0.75  # ln 2 = 0.693
        True
    """
    if len(a_train) != len(b_train) or len(a_test) != len(b_test):
        came = f"{len(a_train)} and {len(b_train)}, {len(a_test)} and {len(b_test)}"
        raise ValueError(f"both parts must be of the same images, not {came}")
    if len(a_train) < FEWEST or not len(a_test):
        raise ValueError(
            f"mutual information needs {FEWEST} codes to learn from and some to measure on, not {len(a_train)} and "
            f"{len(a_test)}"
        )
    a, a_test = map(torch.from_numpy, features(a_train, a_test))
    b, b_test = map(torch.from_numpy, features(b_train, b_test))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        val, train = torch.randperm(len(a)).split([round(VAL_SHARE * len(a)), len(a) - round(VAL_SHARE * len(a))])
        network = _trained(a[train], b[train], a[val], b[val], epochs)
    with torch.no_grad():
        scale, offset = _calibrated(network(a[val], b[val]), _apart(network, a[val], b[val]))
        return mean(scale * network(a_test, b_test).double().numpy() + offset)


class PairClassifier(nn.Module):
    """T: `[batch, a]` and `[batch, b]` -> `[batch]`, above 0 where both seem to be of one image."""

    def __init__(self, width_a: int, width_b: int):
        super().__init__()
        self.tower_a, self.tower_b = _layers(width_a, MEET), _layers(width_b, MEET)
        self.together = _layers(width_a + width_b, 1)

    def forward(self, a: Float[Tensor, "batch a"], b: Float[Tensor, "batch b"]) -> Float[Tensor, " batch"]:
        """The logit of every pair."""
        return (self.tower_a(a) * self.tower_b(b)).sum(1) + self.together(torch.cat([a, b], 1))[:, 0]


def pair_loss(joint: Float[Tensor, " joint"], apart: Float[Tensor, " apart"]) -> Float[Tensor, ""]:
    """What T minimises, from its logits for pairs of one image and of two.

    Example:
        >>> pair_loss(torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0]))
        tensor(1.0455)
    """
    return (F.softplus(-joint).mean() + F.softplus(apart).mean()) / 2  # Eq. 12, negated and halved


def _trained(a: Tensor, b: Tensor, a_val: Tensor, b_val: Tensor, epochs: int) -> PairClassifier:
    network = PairClassifier(a.shape[1], b.shape[1])
    size = max(32, min(256, len(a) // 32))
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01)
    steps = epochs * -(-len(a) // size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1, pct_start=0.2)

    def batches() -> tuple[Tensor, ...]:
        order = torch.randperm(len(a))
        return torch.stack([order, order.roll(1)]).split(size, 1)           # a random partner, never the image itself

    def loss(rows: Tensor) -> Tensor:
        return pair_loss(network(a[rows[0]], b[rows[0]]), network(a[rows[0]], b[rows[1]]))

    def val_loss() -> Tensor:
        return pair_loss(network(a_val, b_val), _apart(network, a_val, b_val))

    fit(network, optimizer, batches, loss, epochs, schedule, val_loss)
    return network


def _apart(network: PairClassifier, a: Tensor, b: Tensor) -> Tensor:
    """Logits of every code with those of several other images."""
    return torch.cat([network(a, b.roll(shift, 0)) for shift in range(1, 1 + SHIFTS)])


def _calibrated(joint: Tensor, apart: Tensor) -> tuple[float, float]:
    """Scale, at least 0, and offset that make the loss of some logits smallest."""
    from sklearn.linear_model import LogisticRegression

    logits = torch.cat([joint, apart]).double().numpy()[:, None]
    target = np.repeat([1, 0], [len(joint), len(apart)])
    weights = np.where(target, 1.0, len(joint) / len(apart))
    fitted = LogisticRegression(C=100).fit(logits, target, weights)
    scale = float(fitted.coef_[0, 0])
    return (scale, float(fitted.intercept_[0])) if scale > 0 else (0.0, 0.0)


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs)
    )
