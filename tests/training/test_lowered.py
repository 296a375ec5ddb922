"""Precision: what runs in bfloat16 and what must not, which of the two is taken, and that a run keeps it."""

import json
import warnings
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy_game import ToyGame

from recombine.losses import gradient_penalty
from recombine.precision import full_precision, is_full
from recombine.training import checkpoint
from recombine.training.engine import TrainConfig, Training, fit, launch
from recombine.training.lowered import FULL, LOWERED, Lowered, quickest
from recombine.training.settings import check_settings

SHORT = TrainConfig(images=64, batch_size=16, log_every=16)


@pytest.fixture(autouse=True)
def _fabric_says_nothing():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield


class Telling(nn.Module):
    """A layer that notes the type of what it computed."""

    def __init__(self):
        super().__init__()
        self.layer, self.types = nn.Linear(4, 1), []

    def forward(self, values):
        made = self.layer(values)
        self.types.append(made.dtype)
        return made


def test_networks_compute_in_bfloat16_and_give_float32():
    network = Telling()
    wrapped = launch(replace(SHORT, precision=LOWERED)).setup_module(network)
    assert wrapped(torch.ones(2, 4)).dtype == torch.float32
    with full_precision():
        assert is_full() and wrapped(torch.ones(2, 4)).dtype == torch.float32
    assert network.types == [torch.bfloat16, torch.float32] and not is_full()
    assert all(weight.dtype == torch.float32 for weight in network.parameters())


def test_tuples_of_a_network_are_float32_too():
    found = Lowered().convert_output((torch.ones(2, dtype=torch.bfloat16), [torch.ones(1, dtype=torch.int64)]))
    assert [found[0].dtype, found[1][0].dtype] == [torch.float32, torch.int64]


def test_gradient_penalty_is_that_of_float32():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1))
    wrapped = launch(replace(SHORT, precision=LOWERED)).setup_module(plain)
    real, fake, mix = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2), torch.rand(5)
    penalties = [gradient_penalty(critic, real, fake, mix) for critic in (plain, wrapped)]
    slopes = [torch.autograd.grad(penalty.mean(), plain[1].weight)[0] for penalty in penalties]
    assert torch.equal(*penalties) and torch.equal(*slopes)


@pytest.mark.parametrize("make", [lambda: nn.Conv2d(16, 16, 3, 2, 1), lambda: nn.ConvTranspose2d(16, 16, 5, 2, 2, 1)])
def test_kernels_that_meet_nothing_but_padding_have_no_gradient_of_chance(make):
    torch.manual_seed(0)
    plain, image, slopes = make().to(memory_format=torch.channels_last), torch.randn(2, 16, 1, 1), []
    wrapped = launch(replace(SHORT, precision=LOWERED)).setup_module(plain)
    for context in (full_precision, full_precision, nullcontext):
        left_behind = [torch.full((1 << size,), float("nan"), dtype=torch.bfloat16) for size in range(6, 16)]
        del left_behind  # what memory that nobody sets holds next
        with context():
            slopes.append(torch.autograd.grad(wrapped(image).square().sum(), plain.weight)[0])
    assert torch.equal(*slopes[:2]) and torch.allclose(*slopes[1:], rtol=0.02, atol=0.02)


def timed(full, lowered, asked=None):
    """A rehearsal in which an image takes so many seconds in each precision."""

    def rehearse(precision, images):
        if asked is not None:
            asked.append((precision, images))
        return images * {FULL: full, LOWERED: lowered}[precision]

    return rehearse


@pytest.mark.parametrize(
    ("full", "lowered", "taken"),
    [(0.02, 0.01, LOWERED), (0.02, 0.019, FULL), (0.01, 0.012, FULL), (0.011, 0.00999, LOWERED), (0.01, 1.0, FULL)],
)
def test_the_quicker_precision_is_taken_where_it_is_worth_it(full, lowered, taken):
    assert quickest(timed(full, lowered), 16)[0] == taken


def test_measuring_takes_seconds_however_slow_a_step_is():
    asked = []
    _, seconds = quickest(timed(0.1, 0.06, asked), 64)
    assert sum(images * {FULL: 0.1, LOWERED: 0.06}[precision] for precision, images in asked) < 3
    assert seconds == {FULL: pytest.approx(0.1 * asked[-1][1]), LOWERED: pytest.approx(0.06 * asked[-1][1])}
    asked.clear()
    quickest(timed(1e-4, 1e-4, asked), 64)
    assert asked[-1] == (LOWERED, 64)  # never more than the batch
    asked.clear()
    quickest(timed(0.1, 100.0, asked), 64)
    assert [images for _, images in asked] == [2, 2, 2, 2]  # emulated bfloat16 is not measured any longer


def toy(signs, **options):
    torch.manual_seed(0)
    return ToyGame(signs.schema, **options)


def test_measuring_leaves_no_trace(signs, tmp_path, monkeypatch):
    def measured(rehearse, batch_size):
        assert rehearse(FULL, 4) > 0 and rehearse(LOWERED, batch_size) > 0
        return FULL, {FULL: 0.01, LOWERED: 0.02}

    monkeypatch.setattr("recombine.training.engine.quickest", measured)
    fit(toy(signs, norm=True), signs, SHORT, tmp_path / "auto", quiet=True)
    fit(toy(signs, norm=True), signs, replace(SHORT, precision=FULL), tmp_path / "stated", quiet=True)
    auto, stated = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("auto", "stated"))
    assert auto.keys() == stated.keys() and all(torch.equal(auto[name], stated[name]) for name in auto)
    lines = [json.loads(line) for line in (tmp_path / "auto" / "log.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines if line.get("event") == "precision"] == ["32-true; a part of a step took: 32-true 10 ms, bf16-mixed 20 ms"]


def test_a_resumed_run_keeps_what_was_measured(signs, tmp_path, monkeypatch):
    monkeypatch.setattr("recombine.training.engine.quickest", lambda *_: (LOWERED, {FULL: 0.02, LOWERED: 0.01}))
    fit(toy(signs), signs, replace(SHORT, images=32), tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path).state["precision"] == LOWERED
    monkeypatch.setattr("recombine.training.engine.quickest", lambda *_: pytest.fail("measured again"))
    training = Training(launch(SHORT), toy(signs), signs, SHORT, tmp_path, {}, quiet=True)
    training.resume()
    training.settle_precision()
    assert training.fabric.strategy.precision.lowered and training.state.images_seen == 32
    training.reader.close()


def test_auto_is_whatever_a_run_was_begun_with(tmp_path):
    begun = {"method": "toy", "config": {}, "data": {}, "train": {"precision": FULL, "images": 5}}
    (tmp_path / "config.json").write_text(json.dumps({**begun, "method": "ifcvaegan"}))
    now = {**begun, "method": "ifcvaegan", "train": {"precision": "auto", "images": 5}}
    check_settings(tmp_path / "config.json", now, allow=False)


def test_evaluation_is_in_full_precision(signs, tmp_path):
    seen = []

    def monitor(method, path):
        seen.append(is_full())
        return {}

    fit(toy(signs), signs, replace(SHORT, precision=LOWERED), tmp_path, monitor=monitor, quiet=True)
    assert seen == [True, True]
