"""Fader Networks against numbers worked by hand, its routes, and its ablation."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, bright, constant, losses, optimizers, parameters, routes, schema, train_step
from torch import nn

from recombine.data.schema import Schema
from recombine.edit import set_label
from recombine.method import Progress
from recombine.methods.fader import PRESETS, Config, Fader

SMALL = Config(width=4, max_width=8, hidden=8, dropout=0.0, classifier_width=4)


def test_parameter_counts_are_those_of_the_released_networks():
    # 256 px, one binary attribute. Encoder, convolutions 6,982,624 and norms 2,944; decoder, 7,012,960 and 1,984; the
    # discriminator has one output where the released one has two, which would be 513 more.
    with torch.device("meta"):
        method = Fader(PRESETS["paper"], Schema(attributes=(SMILING,), height=256, width=256))
        codes = method.encode(torch.zeros(2, 3, 256, 256))
    counts = {name: sum(weight.numel() for weight in network.parameters()) for name, network in method.named_children()}
    del counts["classifier"]
    assert counts == {"encoder": 6_985_568, "decoder": 7_014_944, "discriminator": 8_654_849}
    assert codes["rest"].shape == (2, 512, 4, 4)


def test_labels_stand_at_the_input_of_every_decoder_layer():
    method = Fader(SMALL, schema(SMILING, HAIR, size=32))
    method.decode(method.encode(batch(method.schema).images)).square().sum().backward()
    assert len(method.decoder.layers) == 3
    for layer in method.decoder.layers:
        assert (layer[0].weight.grad[-5:].flatten(1).abs().sum(1) > 0).all()  # 2 + 3 planes


def test_the_discriminator_predicts_the_label_and_the_encoder_wants_another():
    # It predicts 0.9 for Smiling and all images smile: -ln 0.9 for itself, -ln 0.1 for the encoder.
    method = Fader(SMALL, schema())
    constant(method.discriminator[-1], math.log(9))
    data = batch(method.schema)
    data = replace(data, labels={"Smiling": torch.ones_like(data.labels["Smiling"])})
    terms = losses(method, data)
    assert terms["discriminator/dis"][1].item() == pytest.approx(0.105361, abs=1e-6)
    assert terms["autoencoder/hide"][1].item() == pytest.approx(2.302585, abs=1e-6)


def test_a_categorical_attribute_wants_any_wrong_class():
    # Logits (0, ln 2, ln 5): probabilities 1/8, 1/4, 5/8. All images are black: ln 4 or ln 1.6 for the encoder, never ln 8.
    method = Fader(SMALL, schema(HAIR))
    constant(method.discriminator[-1])
    method.discriminator[-1].bias.data = torch.tensor([0, math.log(2), math.log(5)])
    data = batch(method.schema, count=16)
    data = replace(data, labels={"hair": torch.zeros_like(data.labels["hair"])})
    terms = losses(method, data)
    assert terms["discriminator/dis"][1].item() == pytest.approx(math.log(8), abs=1e-6)
    browns = (terms["autoencoder/hide"][1].item() - math.log(1.6)) / (math.log(4) - math.log(1.6)) * 16
    assert browns == pytest.approx(round(browns), abs=1e-4) and 0 < round(browns) < 16


def test_reconstruction_is_the_mean_squared_error():
    # A grey image, 0 everywhere, for images of 0.5: 0.25.
    method = Fader(SMALL, schema())
    nn.init.zeros_(method.decoder.layers[-1][0].weight)
    data = batch(method.schema)
    weight, value = losses(method, replace(data, images=torch.full_like(data.images, 0.5)))["autoencoder/rec"]
    assert weight == 1.0 and value.item() == pytest.approx(0.25)


def test_the_weight_grows_with_the_images_seen():
    method = Fader(SMALL, schema())
    assert losses(method, batch(method.schema), Progress(4_000_000, 32_000_000))["autoencoder/hide"][0] == pytest.approx(2.5e-5)
    assert Fader(replace(SMALL, hide_ramp=0), schema()).hide_weight(Progress(1, 100)) == 1e-4


def test_every_loss_reaches_its_networks_and_no_other():
    method = Fader(SMALL, schema(SMILING, HAIR))
    assert routes(method, batch(method.schema)) == {
        "discriminator/dis": {"discriminator"},
        "autoencoder/rec": {"encoder", "decoder"},
        "autoencoder/hide": {"encoder"},
        "classifier/class": {"classifier"},
    }


@pytest.mark.parametrize("player", ["discriminator", "autoencoder", "classifier"])
def test_no_gradient_passes_between_the_classifier_and_the_others(player):
    method = Fader(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema)
    data = replace(data, known={name: torch.zeros_like(known) for name, known in data.known.items()} if player == "autoencoder" else data.known)
    total = next(turn.total() for turn in method.turns(data, Progress(1, 2)) if turn.player == player)
    others = {"classifier": ("encoder", "decoder", "discriminator"), "discriminator": ("encoder", "decoder", "classifier"), "autoencoder": ("classifier",)}[player]
    slopes = torch.autograd.grad(total, parameters(method, *others), allow_unused=True)
    assert all(slope is None for slope in slopes)


def test_missing_labels_add_nothing():
    method = Fader(SMALL, schema())
    constant(method.discriminator[-1], math.log(9))
    constant(method.classifier[-1], math.log(9))
    data = batch(method.schema)
    half = torch.arange(data.size) < data.size // 2
    data = replace(data, known={"Smiling": half}, labels={"Smiling": torch.where(half, 1, -1)})
    terms = losses(method, data)
    assert terms["discriminator/dis"][1].item() == pytest.approx(0.105361 / 2, abs=1e-6)
    assert terms["autoencoder/hide"][1].item() == pytest.approx(2.302585 / 2, abs=1e-6)
    assert terms["classifier/class"][1].item() == pytest.approx(0.105361 / 2, abs=1e-6)


def test_gradients_are_clipped_before_the_step():
    # A gradient of (30, 40) has norm 50 and becomes (3, 4); one of (0.3, 0.4) stays.
    method = Fader(SMALL, schema())
    for given, clipped in (([30.0, 40.0], [3.0, 4.0]), ([0.3, 0.4], [0.3, 0.4])):
        weight = nn.Parameter(torch.zeros(2))
        weight.grad = torch.tensor(given)
        method.optimizer("autoencoder", [weight]).step()
        assert weight.grad.tolist() == pytest.approx(clipped, rel=1e-5)


@pytest.mark.parametrize(("name", "weight", "ramp", "dropout", "code"), [("paper", 1e-4, 16_000_000, 0.3, 128), ("small", 0.1, 4_000, 0.0, 64)])
def test_presets_hide_the_labels_at_their_own_pace(name, weight, ramp, dropout, code):
    with torch.device("meta"):
        method = Fader(PRESETS[name], schema(size=32))
        assert method.encode(torch.zeros(2, 3, 32, 32))["rest"].shape == (2, code, 4, 4)
    assert [method.hide_weight(Progress(seen, 2 * ramp)) for seen in (0, ramp // 2, ramp, 2 * ramp)] == pytest.approx([0, weight / 2, weight, weight])
    assert {layer.p for layer in method.discriminator if isinstance(layer, nn.Dropout)} == {dropout}


def trained_on_brightness(hide_weight):
    """How much brighter label 1 decodes than label 0, after a training on noisy images whose label is their brightness."""
    torch.manual_seed(0)
    config = replace(SMALL, hidden=16, hide_weight=hide_weight, hide_ramp=0, learning_rate=1e-2)
    method = Fader(config, schema(size=8))
    steppers = optimizers(method)

    for seed in range(120):
        train_step(method, steppers, bright(method.schema, seed=seed), Progress(1, 2))
    method.eval()
    data = bright(method.schema, seed=1000)
    codes = method.encode(data.images)
    assert (method.predict(codes)["Smiling"].argmax(1) == data.labels["Smiling"]).all()
    off, on = (method.decode(set_label(method, codes, Smiling=value)) for value in (0, 1))
    return (on - off).mean().item()


def test_hiding_the_label_makes_the_decoder_use_its_label_input():
    # The method's key idea beside a training in which nothing is hidden. The true change is 1.2.
    assert trained_on_brightness(hide_weight=3.0) > 0.8
    assert trained_on_brightness(hide_weight=0.0) < 0.5
