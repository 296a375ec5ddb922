"""The players of a method's game: their networks, wrapped by Fabric, optimisers, turns, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from recombine.method import Method, Phase, Turn
from recombine.precision import full_precision
from recombine.training.checkpoint import flatten_optimizer, unflatten_optimizer
from recombine.training.lowered import trained_networks


@dataclass(frozen=True)
class Gradients:
    """One player's turn of every micro-batch, whose gradients stand in that player's parameters."""

    turns: list[Turn]
    norm: Tensor                            # of all these gradients together, a scalar

    @property
    def player(self) -> str:
        return self.turns[0].player

    def measured(self, fabric: Fabric) -> tuple[dict[str, float], str]:
        """Means over micro-batches and processes, by name, and the first loss or norm that is NaN or infinite, or "".

        This is the only question that a turn asks the device.
        """
        losses, measures = self.turns[0].losses, self.turns[0].measures
        columns = {f"{self.player}/{name}": [turn.losses[name][1] for turn in self.turns] for name in losses}
        columns[f"gradient_norm/{self.player}"] = [self.norm] * len(self.turns)
        asked = len(columns)
        columns |= {name: [turn.measures[name] for turn in self.turns] for name in measures}
        means = torch.stack([value.detach().to(self.norm) for each in columns.values() for value in each])
        means = means.reshape(len(columns), -1).mean(1)
        values = fabric.all_reduce(means, reduce_op="mean").tolist()  # type: ignore[union-attr]
        found = dict(zip(columns, values, strict=True))
        bad = [f"{name} is {value}" for name, value in list(found.items())[:asked] if not math.isfinite(value)]
        return found, bad[0] if bad else ""


class Players:
    """The networks of a method, which are replaced by ones that Fabric wraps, and one optimiser for each player."""

    def __init__(self, fabric: Fabric, method: Method, compiled: bool = False):
        assert isinstance(method, nn.Module)
        self.fabric, self.method = fabric, method
        self.networks = trained_networks(method)
        for name, network in self.networks.items():
            laid_out = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if compiled:
                laid_out.compile()
            setattr(method, name, fabric.setup_module(laid_out))
        self.parameters = {
            player: [weight for name in names for weight in self.networks[name].parameters()]
            for player, names in method.players().items()
        }
        made = {player: method.optimizer(player, weights) for player, weights in self.parameters.items()}
        self.optimizers = {player: fused(optimizer) for player, optimizer in made.items()}
        self.rates = {player: [group["lr"] for group in o.param_groups] for player, o in self.optimizers.items()}
        self.phase: Phase | None = None     # that the networks' modes belong to; None = they have to be set

    def enter(self, phase: Phase) -> None:
        """Freeze what the phase freezes: eval mode, and no gradient of its own."""
        if self.phase == phase:
            return
        self.phase = phase
        for child, network in self.networks.items():
            frozen = child in phase.frozen
            getattr(self.method, child).train(not frozen)
            network.requires_grad_(not frozen)
        moving = [network for child, network in self.networks.items() if child not in phase.frozen]
        self.live = [buffer for network in moving for buffer in network.buffers()]
        self.kept = [buffer.clone() for buffer in self.live]

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """All networks in eval mode and full precision; the next step sets the phase's modes again."""
        for name in self.networks:
            getattr(self.method, name).eval()
        with full_precision():
            yield
        self.phase = None

    def set_learning_rates(self, factor: float) -> None:
        for player, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[player], strict=True):
                group["lr"] = rate * factor

    @torch.no_grad()
    def keep_buffers(self) -> None:
        """Remember the buffers that a step changes, from which it can be taken back."""
        if self.live:
            torch._foreach_copy_(self.kept, self.live)

    @torch.no_grad()
    def take_back_buffers(self) -> None:
        """Set the buffers to what `keep_buffers` remembered."""
        if self.live:
            torch._foreach_copy_(self.live, self.kept)

    def backward(self, games: Sequence[Iterator[Turn]]) -> Gradients | None:
        """The next turn of every micro-batch, with its player's gradients alone; None when the step is over."""
        turns: list[Turn] = []
        weights: list[nn.Parameter] = []
        for place, game in enumerate(games):
            with ExitStack() as stack:
                if self.fabric.world_size > 1 and place < len(games) - 1:   # gradients are joined with the last
                    for name in self.networks:
                        stack.enter_context(self.fabric.no_backward_sync(getattr(self.method, name)))
                turn = next(game, None)
                if turn is None:
                    continue
                weights = [w for w in self.parameters[turn.player] if w.requires_grad]
                if place == 0:
                    self.optimizers[turn.player].zero_grad()
                self.fabric.backward(turn.total() / len(games), inputs=weights, retain_graph=turn.keep_graph)
            turns.append(turn)
        if not turns:
            return None
        return Gradients(turns, torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None]))

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by `network.key`."""
        return flat_states({name: network.state_dict() for name, network in self.networks.items()})

    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave; other tensors are passed over."""
        for name, network in self.networks.items():
            load_child(network, name, tensors)
        self.phase = None

    def optimizer_states(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict]]:
        """The optimisers' tensors by file stem, and the rest of their states by player."""
        flat = {player: flatten_optimizer(optimizer.state_dict()) for player, optimizer in self.optimizers.items()}
        tensors = {f"optimizer-{player}": own for player, (own, _) in flat.items()}
        return tensors, {player: rest for player, (_, rest) in flat.items()}

    def load_optimizers(self, tensors: Mapping[str, Mapping[str, Tensor]], states: Mapping[str, dict]) -> None:
        for player, optimizer in self.optimizers.items():
            saved = unflatten_optimizer(tensors.get(f"optimizer-{player}", {}), states[player])
            for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True):
                group |= {name: own[name] for name in ("fused", "foreach") if name in own}
            optimizer.load_state_dict(saved)
            for parameter, state in optimizer.state.items():    # in the parameter's memory layout, else steps are slow
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[name] = torch.empty_like(parameter).copy_(value)


class StandIns:
    """Optimisers that step copies of all weights: as much work as the players' own, and without effect."""

    def __init__(self, players: Players):
        self.own = players.parameters
        self.copies = {player: [nn.Parameter(w.detach().clone()) for w in own] for player, own in self.own.items()}
        made = {player: players.method.optimizer(player, copies) for player, copies in self.copies.items()}
        self.optimizers = {player: fused(optimizer) for player, optimizer in made.items()}

    def step(self, player: str) -> None:
        """Step a player's copies by the gradients that stand in its weights."""
        for copy, weight in zip(self.copies[player], self.own[player], strict=True):
            copy.grad = weight.grad
        self.optimizers[player].step()


class Average:
    """The exponential moving average of the parameters and buffers of several networks, by `network.key`.

    Args:
        networks: By name.
        half_life: In images; 0 = no average.
    """

    def __init__(self, networks: Mapping[str, nn.Module], half_life: int):
        self.half_life = half_life
        self.live = flat_states({name: network.state_dict(keep_vars=True) for name, network in networks.items()})
        self.tensors = {key: value.detach().clone() for key, value in self.live.items()} if half_life else {}
        pairs = [(average, self.live[key].detach()) for key, average in self.tensors.items()]
        self.floats = [list(side) for side in zip(*(p for p in pairs if p[0].is_floating_point()), strict=True)]
        self.others = [list(side) for side in zip(*(p for p in pairs if not p[0].is_floating_point()), strict=True)]

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int) -> None:
        """Move towards the current weights; early on the half-life is a tenth of the images seen."""
        if not self.tensors:
            return
        half_life = min(self.half_life, max(images_seen, 1) / 10)
        step = 1 - 0.5 ** (batch_size / half_life)
        torch._foreach_lerp_(self.floats[0], self.floats[1], step)
        if self.others:
            torch._foreach_copy_(self.others[0], self.others[1])

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for key, value in self.tensors.items():
            value.copy_(tensors[key])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange the networks' weights for the averaged ones, and back."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for key, value in self.tensors.items():
            own = self.live[key].detach().clone()
            self.live[key].copy_(value)
            value.copy_(own)


def fused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser, new, made to step all its weights in one pass where it can."""
    if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW | torch.optim.SGD):
        for group in optimizer.param_groups:
            group |= {"fused": True, "foreach": False}
    return optimizer


def flat_states(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several networks by `network.key`."""
    return {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}


def load_child(network: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Give a child network those tensors whose names begin with its own."""
    start = f"{name}."
    network.load_state_dict({key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)})
