"""Tiny data, stubs, and the terms, steps and routes of a training, for the tests of methods and of the engine."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.method import Method, Progress, Turn

SMILING = Attribute("Smiling", "binary", ("0", "1"))
HAIR = Attribute("hair", "categorical", ("black", "brown", "blond"))


def schema(*attributes: Attribute, size: int = 16, channels: int = 3) -> Schema:
    """A schema of small images."""
    return Schema(attributes=attributes or (SMILING,), height=size, width=size, channels=channels)


def batch(shape: Schema, count: int = 8, seed: int = 0, partner: bool = False) -> Batch:
    """Random images with random labels, all known; with a second batch beside it where asked."""
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.uniform(-1, 1, (count, shape.channels, shape.height, shape.width))).float()
    labels = {a.name: torch.from_numpy(column(rng, a, count)) for a in shape.attributes}
    known = {a.name: torch.ones(count, dtype=torch.bool) for a in shape.attributes}
    other = batch(shape, count, seed + 1) if partner else None
    return Batch(images, labels, known, torch.arange(count), partner=other, seed=seed, whole=count, labelled=frozenset(shape.names))


def bright(shape: Schema, count: int = 32, seed: int = 0, noise: float = 0.1) -> Batch:
    """Noisy images whose mean is 0.6 where `Smiling` is 1 and -0.6 where it is 0: the attribute is worth 1.2."""
    data = batch(shape, count, seed)
    return replace(data, images=data.labels["Smiling"].float()[:, None, None, None] * 1.2 - 0.6 + noise * data.images)


def column(rng: np.random.Generator, attribute: Attribute, count: int) -> np.ndarray:
    """Labels of an attribute, every value equally often; groups have two images each."""
    if attribute.kind == "continuous":
        return rng.uniform(attribute.low, attribute.high, count).astype(np.float32)
    values = np.arange(count) // 2 if attribute.kind == "group" else np.arange(count)
    return rng.permutation(values % attribute.num_values)


class Stub(nn.Module):
    """A function in place of a network; keeps the inputs of every call."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self.function, self.seen = function, []

    def forward(self, *inputs: Tensor) -> Tensor:
        self.seen.append(tuple(value.detach().clone() for value in inputs))
        return self.function(*inputs)


class Asking(TorchDispatchMode):
    """Notes what makes a processor wait for a device: numbers and shapes that depend on what a tensor holds."""

    ALWAYS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")

    def __init__(self):
        super().__init__()
        self.asked: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).split(".")[1]
        by_mask = name in ("index", "index_put", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in self.ALWAYS or by_mask:
            self.asked.append(str(function))
        return function(*args, **(kwargs or {}))


def constant(layer: nn.Module, value: float = 0.0) -> None:
    """Set the weights of a layer such that it gives the same number for every input."""
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, value)


def optimizers(method: Method) -> dict[str, torch.optim.Optimizer]:
    """One optimiser per player, as the engine makes them."""
    return {player: method.optimizer(player, parameters(method, *names)) for player, names in method.players().items()}


def parameters(method: Method, *networks: str) -> list[nn.Parameter]:
    """The parameters of some child networks."""
    return [weight for name in networks for weight in getattr(method, name).parameters()]


def count(network: nn.Module) -> int:
    """Number of parameters of a network."""
    return sum(weight.numel() for weight in network.parameters())


def losses(method: Method, data: Batch, progress: Progress | None = None) -> dict[str, tuple[float, Tensor]]:
    """`player/loss` -> (weight, value) of one training step in which no player moves."""
    turns = method.turns(data, progress or Progress())
    return {f"{turn.player}/{name}": pair for turn in turns for name, pair in turn.losses.items()}


def train_step(method: Method, steppers: Mapping[str, torch.optim.Optimizer], data: Batch, progress: Progress | None = None) -> list[Turn]:
    """One training step as the engine takes it; the turns that were taken."""
    taken = []
    for turn in method.turns(data, progress or Progress()):
        steppers[turn.player].zero_grad()
        turn.total().backward(inputs=parameters(method, *method.players()[turn.player]), retain_graph=turn.keep_graph)
        steppers[turn.player].step()
        taken.append(turn)
    return taken


def routes(method: Method, data: Batch, progress: Progress | None = None, others: bool = False) -> dict[str, set[str]]:
    """`player/loss` -> networks which the gradient of the loss reaches: the player's own that the phase trains, or with `others` any."""
    progress = progress or Progress()
    frozen = {name for phase in getattr(method, "phases", list)() if phase.name == progress.phase for name in phase.frozen}
    players, reached = method.players(), {}
    for turn in method.turns(data, progress):
        networks = [n for own in players.values() for n in own] if others else [n for n in players[turn.player] if n not in frozen]
        for name, (_, value) in turn.losses.items():
            slopes = {n: torch.autograd.grad(value, parameters(method, n), retain_graph=True, allow_unused=True) for n in networks if parameters(method, n)}
            reached[f"{turn.player}/{name}"] = {n for n, each in slopes.items() if any(s is not None and s.abs().sum() > 0 for s in each)}
    return reached
