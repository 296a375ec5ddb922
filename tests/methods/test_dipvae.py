"""DIP-VAE against numbers worked by hand, and its routes."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, constant, losses, optimizers, routes, schema, train_step
from torch import nn

from recombine.data.schema import Schema
from recombine.methods.dipvae import DIPVAE, PRESETS, Config, covariance_of_means, covariance_of_samples

SMALL = Config(width=4, hidden=16, num_latents=6)
# Two images, means (1, 2) and (3, -2): their centre is (2, 0), they lie (-1, 2) and (1, -2) from it, so C = ((1, -2), (-2, 4)).
MEANS = torch.tensor([[1.0, 2.0], [3.0, -2.0]])
# Variances (1, 0.5) and (3, 1.5), on average (2, 1): type II is ((3, -2), (-2, 5)).
VARIANCES = torch.tensor([[1.0, 0.5], [3.0, 1.5]])


class Posteriors(nn.Module):
    """An encoder that gives these means and variances."""

    def __init__(self, mean, variance):
        super().__init__()
        self.mean, self.log_variance = nn.Parameter(mean.clone()), nn.Parameter(variance.log())

    def forward(self, images):
        return self.mean * 1, self.log_variance * 1


def stub(kind):
    method = DIPVAE(replace(SMALL, num_latents=2, type=kind, lambda_od=2.0, lambda_d=3.0), schema())
    method.encoder = Posteriors(MEANS, VARIANCES)
    return method


def test_covariances_worked_by_hand():
    assert torch.equal(covariance_of_means(MEANS), torch.tensor([[1.0, -2.0], [-2.0, 4.0]]))
    assert torch.allclose(covariance_of_samples(MEANS, VARIANCES.log()), torch.tensor([[3.0, -2.0], [-2.0, 5.0]]))
    assert torch.equal(covariance_of_means(MEANS[:1]), torch.zeros(2, 2))


@pytest.mark.parametrize(("kind", "diagonal"), [("I", 0 + 9), ("II", 4 + 16)])
def test_regularisers_worked_by_hand(kind, diagonal):
    # Off the diagonal twice (-2)^2 either way; on it (1 - 1)^2 + (4 - 1)^2, or (3 - 1)^2 + (5 - 1)^2.
    method = stub(kind)
    terms = losses(method, batch(method.schema, count=2))
    assert terms["autoencoder/off_diagonal"][0] == 2.0 and terms["autoencoder/off_diagonal"][1].item() == pytest.approx(8)
    assert terms["autoencoder/diagonal"][0] == 3.0 and terms["autoencoder/diagonal"][1].item() == pytest.approx(diagonal, rel=1e-5)


def test_kl_worked_by_hand():
    # Half of 1 + 1 - 1 - 0, 4 + .5 - 1 - ln .5, 9 + 3 - 1 - ln 3 and 4 + 1.5 - 1 - ln 1.5, over two images.
    expected = (1 + 3.5 + math.log(2) + 11 - math.log(3) + 4.5 - math.log(1.5)) / 4
    weight, value = losses(stub("I"), batch(schema(), count=2))["autoencoder/kl"]
    assert weight == 1.0 and value.item() == pytest.approx(expected, rel=1e-5)


def test_reconstruction_is_nats_of_the_whole_image():
    method = DIPVAE(SMALL, schema())
    constant(method.decoder[-1])
    weight, value = losses(method, batch(method.schema))["autoencoder/rec"]
    assert weight == 1.0 and value.item() == pytest.approx(768 * math.log(2), rel=1e-5)


def test_only_type_ii_regularises_the_variance():
    # Type I does not depend on it. Type II's pull on the first variance: d/ds 3 (C_11 - 1)^2 with C_11 = 3 and half of it this image's: 6 * 2 / 2.
    for kind, slope in (("I", None), ("II", 6.0)):
        method = stub(kind)
        weight, value = losses(method, batch(method.schema, count=2))["autoencoder/diagonal"]
        (found,) = torch.autograd.grad(weight * value, method.encoder.log_variance, allow_unused=True)
        assert found is None if slope is None else found[0, 0].item() == pytest.approx(slope)  # at variance 1, d/d log s = d/ds


@pytest.mark.parametrize("kind", ["I", "II"])
def test_every_loss_reaches_its_networks_and_no_other(kind):
    method = DIPVAE(replace(SMALL, type=kind), schema())
    assert routes(method, batch(method.schema)) == {
        "autoencoder/rec": {"encoder", "decoder"},
        "autoencoder/kl": {"encoder"},
        "autoencoder/off_diagonal": {"encoder"},
        "autoencoder/diagonal": {"encoder"},
    }


def test_the_regularisers_decorrelate_the_units(signs):
    # Plain Adam on the same images, with and without: how large the covariances are beside the variances.
    images = signs.batch(signs.rows("train")[:64])

    def trained(**weights):
        torch.manual_seed(0)
        method = DIPVAE(replace(SMALL, learning_rate=3e-3, **weights), signs.select("lamp").schema)
        steppers = optimizers(method)
        for seed in range(60):
            (turn,) = train_step(method, steppers, replace(images, seed=seed, whole=64))
        return turn.losses["off_diagonal"][1].item(), turn.losses["diagonal"][1].item()

    (with_od, with_d), (without_od, without_d) = trained(), trained(lambda_od=0.0, lambda_d=0.0)
    assert with_d < 0.25 * without_d and with_od < without_od


def test_images_without_attributes():
    method = DIPVAE(SMALL, Schema(height=16, width=16)).eval()
    codes = method.encode(torch.zeros(2, 3, 16, 16))
    assert list(codes) == ["rest"] and method.decode(codes).shape == (2, 3, 16, 16) and method.predict(codes) == {}


def test_there_are_two_types():
    with pytest.raises(ValueError, match="type 'I' or 'II', not 'III'"):
        DIPVAE(replace(SMALL, type="III"), schema())


@pytest.mark.parametrize(
    ("name", "off_diagonal", "diagonal", "reaches_variance"),
    [("paper", 10.0, 100.0, False), ("paper-ii", 10.0, 10.0, True), ("small", 1.0, 10.0, False), ("small-ii", 1.0, 1.0, True)],
)
def test_presets_set_the_type_and_its_weights(name, off_diagonal, diagonal, reaches_variance):
    method = DIPVAE(replace(PRESETS[name], width=4, hidden=16), schema(SMILING, HAIR, size=32))
    terms = losses(method, batch(method.schema))
    assert {loss.split("/")[1]: weight for loss, (weight, _) in terms.items()} == {"rec": 1.0, "kl": 1.0, "off_diagonal": off_diagonal, "diagonal": diagonal}
    (slope,) = torch.autograd.grad(terms["autoencoder/diagonal"][1], method.encoder.log_variance.bias, allow_unused=True)
    assert (slope is not None) == reaches_variance
