"""beta-VAE against numbers worked by hand, and its routes."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, constant, losses, optimizers, routes, schema, train_step

from recombine.data.schema import Schema
from recombine.methods.betavae import PRESETS, BetaVAE, Config
from recombine.training.engine import TrainConfig, fit

SMALL = Config(width=4, hidden=16, num_latents=6)


def posterior(method, mean, log_variance):
    """The method with an encoder that gives this for every image."""
    constant(method.encoder.mean, mean)
    constant(method.encoder.log_variance, log_variance)
    return method


def test_kl_of_a_posterior_that_is_worked_by_hand():
    # Mean 0.5 and variance 4 in 6 units: 6 * (0.25 + 4 - 1 - ln 4) / 2 = 5.591117 an image.
    method = posterior(BetaVAE(SMALL, schema()), 0.5, math.log(4.0))
    weight, value = losses(method, batch(method.schema))["autoencoder/kl"]
    assert weight == 20.0 and value.item() == pytest.approx(5.591117, abs=1e-5)
    assert losses(posterior(method, 0.0, 0.0), batch(method.schema))["autoencoder/kl"][1].item() == 0


def test_reconstruction_is_nats_of_the_whole_image():
    # Logits of 0 give 0.5 for every number: ln 2 each, whatever the image, and 16 * 16 * 3 of them; a grey one of 16 * 32 has 512.
    for shape, numbers in ((schema(), 768), (Schema((SMILING,), 16, 32, 1), 512)):
        method = BetaVAE(SMALL, shape)
        constant(method.decoder[-1])
        weight, value = losses(method, batch(shape))["autoencoder/rec"]
        assert weight == 1.0 and value.item() == pytest.approx(numbers * math.log(2), rel=1e-5)


def test_the_code_is_sampled_in_training_and_not_afterwards():
    # z = 0.5 + 2 * noise.
    method = posterior(BetaVAE(SMALL, schema()), 0.5, math.log(4.0))
    seen = []
    method.decoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    data = batch(method.schema)
    losses(method, data)
    assert torch.allclose(seen[0], 0.5 + 2 * data.noise("z", 6))
    assert torch.equal(method.encode(data.images)["rest"], torch.full((8, 5), 0.5))


def test_every_loss_reaches_its_networks_and_no_other():
    method = BetaVAE(SMALL, schema())
    assert routes(method, batch(method.schema)) == {"autoencoder/rec": {"encoder", "decoder"}, "autoencoder/kl": {"encoder"}}


def test_labels_change_nothing_in_training():
    method = BetaVAE(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema)
    other = replace(data, labels={name: labels.roll(1) for name, labels in data.labels.items()})
    first, second = losses(method, data), losses(method, other)
    assert all(first[name][1] == second[name][1] for name in first)


def test_a_larger_beta_trades_reconstruction_for_less_information(signs):
    # Plain Adam on the same images: a heavy KL ends with less of it and a larger reconstruction loss.
    images = signs.batch(signs.rows("train")[:32])

    def trained(beta):
        torch.manual_seed(0)
        method = BetaVAE(replace(SMALL, beta=beta, learning_rate=3e-3), signs.select("lamp").schema)
        steppers = optimizers(method)
        for seed in range(60):
            (turn,) = train_step(method, steppers, replace(images, seed=seed, whole=32))
        return {name: value.item() for name, (_, value) in turn.losses.items()}

    light, heavy = trained(1.0), trained(50.0)
    assert heavy["kl"] < 0.5 * light["kl"] and heavy["rec"] > light["rec"]


def test_images_without_attributes():
    method = BetaVAE(SMALL, Schema(height=16, width=16)).eval()
    codes = method.encode(torch.zeros(2, 3, 16, 16))
    assert list(codes) == ["rest"] and codes["rest"].shape == (2, 6) and method.predict(codes) == {}
    with pytest.raises(ValueError, match="no attribute 'hat'"):
        method.label_code("hat", 1)


def test_trains_without_attributes(signs, tmp_path):
    pack = signs.select()
    fit(BetaVAE(SMALL, pack.schema), pack, TrainConfig(images=32, batch_size=16), tmp_path, quiet=True)
    assert (tmp_path / "model" / "weights.safetensors").exists()


@pytest.mark.parametrize(("name", "beta", "units"), [("paper", 20.0, 1), ("small", 1.5, 2)])
def test_presets_set_beta_and_the_units_of_an_attribute(name, beta, units):
    method = BetaVAE(replace(PRESETS[name], width=4, hidden=16), schema(SMILING, HAIR, size=32))
    data = batch(method.schema)
    assert {loss: weight for loss, (weight, _) in losses(method, data).items()} == {"autoencoder/rec": 1.0, "autoencoder/kl": beta}
    assert [part.shape[1] for part in method.encode(data.images).values()] == [units, units, 32 - 2 * units]
