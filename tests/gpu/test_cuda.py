"""What must hold on a GPU, and can be seen only there: skipped without one. `proofs/gpu.py` runs these tests."""

import os
import sys
import warnings
from dataclasses import asdict, replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from recombine.data.samplers import Iid, Pairs
from recombine.losses import gradient_penalty
from recombine.methods import METHODS
from recombine.training import checkpoint
from recombine.training.engine import Interrupted, TrainConfig, Training, fit, launch, tensor_float_32
from recombine.training.lowered import LOWERED
from recombine.training.players import fused
from recombine.training.reader import Reader
from recombine.training.runs import build

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without which matrix products are not deterministic
COLUMNS = {"binary": "lamp", "categorical": "colour", "group": "maker", "continuous": "shade"}  # of the drawn signs
SHORT = TrainConfig(images=10 * 16, batch_size=16, ema_images=64, log_every=32, evaluate_every=80, precision="32-true")

every_method = pytest.mark.parametrize("name", METHODS)
both_precisions = pytest.mark.parametrize("precision", ["32-true", LOWERED])


@pytest.fixture(autouse=True)
def _fabric_says_nothing():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric")
        yield


@pytest.fixture
def deterministic():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
        torch.use_deterministic_algorithms(False)


def make(name, signs):
    """A tiny method and its part of the drawn signs."""
    torch.manual_seed(0)
    kind, config = METHODS[name]
    pack = signs.select(*(COLUMNS[kind] for kind in kind.kinds))
    return build(name, asdict(sys.modules[config.__module__].TINY), pack.schema), pack


def critic():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16 * 64, 1)).cuda()


def stop_at(images):
    """A monitor that stops the training at its evaluation after so many images."""

    def monitor(method, path):
        if int(path.stem) == images:
            os.kill(os.getpid(), 2)
        return {"looked": 1.0}

    return monitor


@pytest.mark.usefixtures("deterministic")
@both_precisions
@pytest.mark.parametrize("name", ["ifcvaegan", "advattr", "matdr", "rodi", "stargan"])
def test_stopping_and_going_on_leaves_the_same_bits(signs, tmp_path, name, precision):
    config = replace(SHORT, precision=precision)
    fit(*make(name, signs), config, tmp_path / "whole", quiet=True)
    with pytest.raises(Interrupted):
        fit(*make(name, signs), config, tmp_path / "parts", monitor=stop_at(80), quiet=True)
    fit(*make(name, signs), config, tmp_path / "parts", quiet=True)
    whole, parts = (checkpoint.newest_resume(tmp_path / run).tensors for run in ("whole", "parts"))
    different = [f"{stem}/{key}" for stem, own in whole.items() for key in own if not torch.equal(own[key], parts[stem][key])]
    assert different == []


@every_method
def test_every_method_trains_in_bfloat16(signs, tmp_path, name):
    fit(*make(name, signs), replace(SHORT, images=32, precision=LOWERED), tmp_path, quiet=True)
    weights = checkpoint.newest_resume(tmp_path).tensors["weights"]
    assert all(value.isfinite().all() and value.dtype != torch.bfloat16 for value in weights.values())


@every_method
def test_a_turn_asks_the_device_nothing_but_whether_it_is_finite(signs, tmp_path, name):
    method, pack = make(name, signs)
    config = replace(SHORT, precision=LOWERED)
    training = Training(launch(config), method, pack, config, tmp_path, {}, True)
    try:
        training.step()                     # which may load what asks
        batch, progress = training.begin()
        torch.cuda.synchronize()
        game, turns = method.turns(batch, progress), 0
        while True:
            torch.cuda.set_sync_debug_mode("error")
            try:
                gradients = training.players.backward([game])
            finally:
                torch.cuda.set_sync_debug_mode("default")
            if gradients is None:
                break
            gradients.measured(training.fabric)
            training.players.optimizers[gradients.player].step()
            turns += 1
        assert turns
    finally:
        training.reader.close()
        training.journal.close()


@pytest.mark.parametrize("kind", [Iid, Pairs])
def test_the_second_stream_brings_the_same_batches(signs, kind):
    fabric, sampler = Fabric(accelerator="cuda", devices=1), kind(signs, "train", 3, mirror=True)
    reader, ballast = Reader(fabric, signs, 32, torch.float32), torch.randn(4096, 4096, device="cuda")
    reader.follow(sampler, 0)
    try:
        for position in range(0, 32 * 40, 32):
            ballast = (ballast @ ballast).clamp(-1, 1)  # keeps the first stream busy while the next batch arrives
            batch, draw = reader.batch(position), sampler.draw(position, 32)
            expected = signs.batch(draw.rows, mirror=draw.mirror)
            assert torch.allclose(batch.images.cpu(), expected.images, atol=1e-6)
            assert all(torch.equal(batch.labels[name].cpu(), expected.labels[name]) for name in signs.schema.names)
            assert torch.equal(batch.noise("z", 4).cpu(), replace(expected, seed=batch.seed, whole=32).noise("z", 4))
            if draw.partner is not None:
                partner = signs.batch(draw.partner, mirror=draw.partner_mirror).images
                assert torch.allclose(batch.partner.images.cpu(), partner, atol=1e-6)
    finally:
        reader.close()


def test_gradient_penalty_is_that_of_float32_whatever_the_precision():
    plain = critic()
    wrapped = launch(replace(SHORT, precision=LOWERED)).setup_module(critic())
    real, fake, mix = torch.randn(8, 3, 16, 16).cuda(), torch.randn(8, 3, 16, 16).cuda(), torch.rand(8).cuda()
    found = [gradient_penalty(network, real, fake, mix) for network in (plain, wrapped)]
    slopes = [torch.autograd.grad(penalty.mean(), next(net.parameters()))[0] for penalty, net in zip(found, (plain, wrapped), strict=True)]
    assert torch.allclose(*found, rtol=1e-5) and torch.allclose(*slopes, rtol=1e-4, atol=1e-6)


def test_gradient_penalty_in_tf32_is_near_the_exact_one():
    network = critic()
    real, fake, mix = torch.randn(8, 3, 16, 16).cuda(), torch.randn(8, 3, 16, 16).cuda(), torch.rand(8).cuda()
    with tensor_float_32(torch.device("cuda")):
        penalty = gradient_penalty(network, real, fake, mix)
        slope = torch.autograd.grad(penalty.mean(), next(network.parameters()))[0]
    exact = gradient_penalty(network.double(), real.double(), fake.double(), mix.double())
    right = torch.autograd.grad(exact.mean(), next(network.parameters()))[0]
    assert torch.allclose(penalty.double(), exact, rtol=1e-2)
    assert (slope - right).norm() < 1e-2 * right.norm()


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_fused_optimisers_step_as_others_do(kind):
    weights = [nn.Parameter(critic()[0].weight.detach().clone()) for _ in range(2)]
    steppers = [kind([weights[0]], lr=1e-3), fused(kind([weights[1]], lr=1e-3))]
    assert steppers[1].param_groups[0]["fused"]
    for step in range(5):
        slope = torch.randn(weights[0].shape, generator=torch.Generator().manual_seed(step)).cuda()
        for weight, stepper in zip(weights, steppers, strict=True):
            weight.grad = slope.clone()
            stepper.step()
    assert torch.allclose(*weights, rtol=1e-5, atol=1e-7)
