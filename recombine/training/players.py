"""The players of a method's game: their networks, wrapped by Fabric, optimisers, turns, and averaged weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from recombine.method import Method, Phase, Turn
from recombine.training.checkpoint import flatten_optimizer, unflatten_optimizer


@dataclass(frozen=True)
class Gradients:
    """One player's turn of every micro-batch, whose gradients stand in that player's parameters."""

    turns: list[Turn]
    norm: Tensor                            # of all these gradients together, a scalar

    @property
    def player(self) -> str:
        return self.turns[0].player


class Players:
    """The networks of a method, which are replaced by ones that Fabric wraps, and one optimiser for each player."""

    def __init__(self, fabric: Fabric, method: Method):
        assert isinstance(method, nn.Module)
        self.fabric, self.method = fabric, method
        children = dict(method.named_children())
        self.networks = {name: child for name, child in children.items() if any(True for _ in child.parameters())}
        for name, network in self.networks.items():
            laid_out = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            setattr(method, name, fabric.setup_module(laid_out))
        self.parameters = {
            player: [weight for name in names for weight in self.networks[name].parameters()]
            for player, names in method.players().items()
        }
        self.optimizers = {player: method.optimizer(player, weights) for player, weights in self.parameters.items()}
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

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """All networks in eval mode; the next step sets the phase's modes again."""
        for name in self.networks:
            getattr(self.method, name).eval()
        yield
        self.phase = None

    def set_learning_rates(self, factor: float) -> None:
        for player, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[player], strict=True):
                group["lr"] = rate * factor

    def buffers(self) -> list[tuple[Tensor, Tensor]]:
        """Every buffer of the networks with a copy of it, from which it can be set back."""
        return [(buffer, buffer.clone()) for network in self.networks.values() for buffer in network.buffers()]

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

    def not_finite(self, gradients: Gradients) -> str:
        """The first term that is NaN or infinite; empty where there is none on any process."""
        terms = {f"{turn.player}/{name}": value for turn in gradients.turns for name, (_, value) in turn.losses.items()}
        terms[f"gradient_norm/{gradients.player}"] = gradients.norm
        bad = next((f"{name} is {value.item()}" for name, value in terms.items() if not torch.isfinite(value)), "")
        anywhere = self.fabric.all_reduce(torch.tensor(float(bool(bad)), device=self.fabric.device), reduce_op="sum")
        return bad or ("a loss on another process is not finite" if anywhere else "")

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
            optimizer.load_state_dict(unflatten_optimizer(tensors.get(f"optimizer-{player}", {}), states[player]))
            for parameter, state in optimizer.state.items():    # in the parameter's memory layout, else steps are slow
                for name, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[name] = torch.empty_like(parameter).copy_(value)


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

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int) -> None:
        """Move towards the current weights; early on the half-life is a tenth of the images seen."""
        if not self.tensors:
            return
        half_life = min(self.half_life, max(images_seen, 1) / 10)
        step = 1 - 0.5 ** (batch_size / half_life)
        floats = [key for key, value in self.live.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.tensors[key] for key in floats], [self.live[key].detach() for key in floats], step)
        for key, value in self.live.items():
            if not value.is_floating_point():
                self.tensors[key].copy_(value)

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


def flat_states(states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several networks by `network.key`."""
    return {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}


def load_child(network: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Give a child network those tensors whose names begin with its own."""
    start = f"{name}."
    network.load_state_dict({key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)})
