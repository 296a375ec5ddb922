"""Players: one question a turn, fused optimisers that step as the method's own, and buffers that come back."""

import copy
import warnings

import pytest
import torch
from games import Asking
from lightning_fabric import Fabric
from torch import nn

from recombine.method import Phase, Turn
from recombine.training.players import Gradients, Players, StandIns, fused


@pytest.fixture
def fabric():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield Fabric(accelerator="cpu", devices=1)


def turn(**losses):
    return Turn("critic", {name: (2.0, torch.tensor(value)) for name, value in losses.items()}, {"right": torch.tensor(0.75)})


def test_means_over_micro_batches_and_the_norm(fabric):
    measured, bad = Gradients([turn(adv=1.0, gp=4.0), turn(adv=3.0, gp=8.0)], torch.tensor(0.5)).measured(fabric)
    assert measured == {"critic/adv": 2.0, "critic/gp": 6.0, "gradient_norm/critic": 0.5, "right": 0.75} and bad == ""


@pytest.mark.parametrize(
    ("losses", "norm", "sentence"),
    [({"adv": 1.0, "gp": float("inf")}, 1.0, "critic/gp is inf"), ({"adv": float("nan")}, 1.0, "critic/adv is nan"),
     ({"adv": 1.0}, float("nan"), "gradient_norm/critic is nan")],
)  # fmt: skip
def test_the_first_value_that_is_not_finite_is_named(fabric, losses, norm, sentence):
    assert Gradients([turn(**losses), turn(**{name: 1.0 for name in losses})], torch.tensor(norm)).measured(fabric)[1] == sentence


def test_a_measure_may_be_anything(fabric):
    odd = Turn("critic", {"adv": (1.0, torch.tensor(1.0))}, {"right": torch.tensor(float("nan"))})
    assert Gradients([odd], torch.tensor(1.0)).measured(fabric)[1] == ""


@pytest.mark.parametrize(
    "make",
    [lambda w: torch.optim.Adam(w, 1e-2, betas=(0.5, 0.999)), lambda w: torch.optim.AdamW(w, 1e-2), lambda w: torch.optim.SGD(w, 1e-2, momentum=0.9)],
)
def test_a_fused_optimiser_steps_as_the_plain_one(make):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).to(memory_format=torch.channels_last)
    quick = copy.deepcopy(plain)
    optimizers = [make(plain.parameters()), fused(make(quick.parameters()))]
    assert all(group["fused"] for group in optimizers[1].param_groups)
    for _ in range(5):
        images = torch.randn(4, 3, 8, 8)
        for network, optimizer in zip((plain, quick), optimizers, strict=True):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    for first, second in zip(plain.parameters(), quick.parameters(), strict=True):
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-6)
    assert all("exp_avg" not in state or state["exp_avg"].stride() == weight.stride() for weight, state in optimizers[1].state.items())


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.network, self.other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

    def players(self):
        return {"all": ["network", "other"]}

    def optimizer(self, player, parameters):
        return torch.optim.SGD(parameters, 0.1)


def test_buffers_come_back_where_a_step_can_change_them(fabric):
    method = Normed()
    players = Players(fabric, method)
    players.enter(Phase("first", frozen=("other",)))
    before = {name: buffer.clone() for name, buffer in method.named_buffers()}
    players.keep_buffers()
    method.network(torch.randn(4, 3))
    assert players.networks["network"].num_batches_tracked == 1
    players.take_back_buffers()
    assert all(torch.equal(buffer, before[name]) for name, buffer in method.named_buffers())
    assert len(players.live) == 3  # of the network that is not frozen


def test_stand_ins_step_copies_as_the_players_would(fabric):
    method = Normed()
    players = Players(fabric, method)
    stand_ins, before = StandIns(players), [weight.clone() for weight in method.parameters()]
    method.network(torch.randn(4, 3)).square().sum().backward()
    stand_ins.step("all")
    assert all(torch.equal(weight, old) for weight, old in zip(method.parameters(), before, strict=True))
    players.optimizers["all"].step()
    moved = [not torch.equal(weight, old) for weight, old in zip(players.parameters["all"], before, strict=True)]
    assert moved == [True, True, False, False]  # the other network has no gradient
    assert all(torch.equal(copy, weight) for copy, weight in zip(stand_ins.copies["all"], players.parameters["all"], strict=True))


def test_what_waits_for_a_device_is_seen():
    with Asking() as asking:
        bool(torch.ones(1).isfinite().all())
        torch.ones(3)[torch.ones(3, dtype=torch.bool)]
        torch.ones(3)[torch.tensor([0, 2])].sum()
    assert asking.asked == ["aten._local_scalar_dense.default", "aten.index.Tensor"]
