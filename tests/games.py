"""Tiny data and a look into the turns of a game, for the tests of methods and of the engine."""

import numpy as np
import torch
from torch import nn

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.method import Method, Progress

SMILING = Attribute("Smiling", "binary", ("0", "1"))
HAIR = Attribute("hair", "categorical", ("black", "brown", "blond"))


def schema(*attributes: Attribute, size: int = 16, channels: int = 3) -> Schema:
    """A schema of small images."""
    return Schema(attributes=attributes or (SMILING,), height=size, width=size, channels=channels)


def batch(shape: Schema, count: int = 8, seed: int = 0, partner: bool = False) -> Batch:
    """Random images with random labels, all known; with a second batch beside it where asked."""
    numbers = np.random.default_rng(seed)
    images = torch.from_numpy(numbers.uniform(-1, 1, (count, shape.channels, shape.height, shape.width))).float()
    labels = {a.name: torch.from_numpy(column(numbers, a, count)) for a in shape.attributes}
    known = {a.name: torch.ones(count, dtype=torch.bool) for a in shape.attributes}
    other = batch(shape, count, seed + 1) if partner else None
    return Batch(images, labels, known, torch.arange(count), partner=other, seed=seed, whole=count)


def column(numbers: np.random.Generator, attribute: Attribute, count: int) -> np.ndarray:
    """Labels of an attribute, every value equally often; groups have two images each."""
    if attribute.kind == "continuous":
        return numbers.uniform(attribute.low, attribute.high, count).astype(np.float32)
    values = np.arange(count) // 2 if attribute.kind == "group" else np.arange(count)
    return numbers.permutation(values % attribute.num_values)


def optimizers(method: Method) -> dict[str, torch.optim.Optimizer]:
    """One optimiser per player, as the engine makes them."""
    return {player: method.optimizer(player, parameters(method, *names)) for player, names in method.players().items()}


def parameters(method: Method, *networks: str) -> list[nn.Parameter]:
    """The parameters of some child networks."""
    return [weight for name in networks for weight in getattr(method, name).parameters()]


def routes(method: Method, data: Batch) -> dict[str, set[str]]:
    """`player/loss` -> networks of that player which the loss, as the engine would descend it, reaches."""
    reached: dict[str, set[str]] = {}
    for turn in method.turns(data, Progress()):
        for name, (_, value) in turn.losses.items():
            networks = method.players()[turn.player]
            weights = parameters(method, *networks)
            gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
            owners = [network for network in networks for _ in getattr(method, network).parameters()]
            reached[f"{turn.player}/{name}"] = {o for o, g in zip(owners, gradients, strict=True) if g is not None and g.abs().sum() > 0}
    return reached
