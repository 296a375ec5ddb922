"""CVAE-GAN against numbers worked by hand and its routes."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, bright, constant, losses, optimizers, parameters, routes, schema, train_step
from torch import nn

from recombine.method import Progress
from recombine.methods.cvaegan import CVAEGAN, PRESETS, Config, half_distance

SMALL = Config(width=4, decoder_width=4, num_latents=6)


def test_half_a_squared_distance_is_a_sum():
    # (1, 2, 2) and 0: 9 / 2; ones and 0 over 2 x 2: 4 / 2.
    assert half_distance(torch.tensor([[1.0, 2.0, 2.0]]), torch.zeros(1, 3)).tolist() == [4.5]
    assert half_distance(torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)).tolist() == [2.0, 2.0]


def test_classes_are_matched_by_their_means_one_attribute_after_another():
    # Smiling: yes for features 1 and 3, no for 5; fake ones are 0. Means 2 and 5: (4 + 25) / 2. Hair: black 1, brown 3, the
    # third missing: (1 + 9) / 2.
    method = CVAEGAN(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema, count=3)
    labels = {"Smiling": torch.tensor([1, 1, 0]), "hair": torch.tensor([0, 1, 2])}
    known = {"Smiling": torch.ones(3, dtype=torch.bool), "hair": torch.tensor([True, True, False])}
    data = replace(data, labels=labels, known=known)
    real, fake = torch.tensor([[1.0], [3.0], [5.0]]), torch.zeros(3, 1)
    assert method._class_means(real, fake, data).item() == pytest.approx(14.5 + 5.0)
    # Another class's images do not count: fake features 3, 1 and 5 have the same means.
    assert method._class_means(real, torch.tensor([[3.0], [1.0], [5.0]]), replace(data, known={**known, "hair": torch.zeros(3, dtype=torch.bool)})).item() == 0


class Features(nn.Module):
    """A critic or classifier of one number: the image's mean."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))[:, None]
        return mean, mean


def test_terms_of_a_grey_decoder():
    # Images of 0.5, and 0 from the decoder: 3 * 16 * 16 pixels of 0.25 / 2 = 96. The feature is 0.5 against 0: 0.125, for
    # every pair and for the means; the classes' means, two of them, 0.25. The posterior is N(0, I): no divergence.
    method = CVAEGAN(SMALL, schema())
    for layer in (method.encoder.last, method.decoder[-1]):
        constant(layer)
    method.critic, method.classifier = Features(), Features()
    data = batch(method.schema)
    data = replace(data, images=torch.full_like(data.images, 0.5))
    terms = losses(method, data)
    found = {name.split("/")[1]: (weight, value.item()) for name, (weight, value) in terms.items() if name.startswith("autoencoder")}
    assert found == {
        "kl": (3.0, pytest.approx(0.0)),
        "rec": (1.0, pytest.approx(96.0)),
        "critic_pair": (1.0, pytest.approx(0.125)),
        "class_pair": (1.0, pytest.approx(0.125)),
        "critic_mean": (1e-3, pytest.approx(0.125)),
        "class_mean": (1e-3, pytest.approx(0.25)),
    }


def test_divergence_of_a_shifted_gaussian():
    # Mean 1, variance 1, six dimensions: 6 / 2.
    method = CVAEGAN(SMALL, schema())
    constant(method.encoder.last)
    method.encoder.last.bias.data[:6] = 1
    assert losses(method, batch(method.schema))["autoencoder/kl"][1].item() == pytest.approx(3.0)


def test_terms_of_an_undecided_critic_and_classifier():
    # Three terms of ln 2: real, reconstructed and sampled; ln 2 and ln 3 for the two attributes.
    method = CVAEGAN(SMALL, schema(SMILING, HAIR))
    for head in (method.critic, method.classifier):
        constant(head.last)
    terms = losses(method, batch(method.schema))
    assert terms["critic/gan"][1].item() == pytest.approx(3 * math.log(2), abs=1e-6)
    assert terms["classifier/class"][1].item() == pytest.approx(math.log(2) + math.log(3), abs=1e-6)


def test_every_loss_reaches_its_networks_and_no_other():
    method = CVAEGAN(SMALL, schema(SMILING, HAIR))
    assert routes(method, batch(method.schema)) == {
        "classifier/class": {"classifier"},
        "critic/gan": {"critic"},
        "autoencoder/kl": {"encoder"},
        "autoencoder/rec": {"encoder", "decoder"},
        "autoencoder/critic_pair": {"encoder", "decoder"},
        "autoencoder/class_pair": {"encoder", "decoder"},
        "autoencoder/critic_mean": {"decoder"},
        "autoencoder/class_mean": {"decoder"},
    }


def test_critic_and_classifier_losses_are_cut_off_from_the_autoencoder():
    method = CVAEGAN(SMALL, schema(SMILING, HAIR))
    for turn in method.turns(batch(method.schema), Progress()):
        if turn.player != "autoencoder":
            slopes = torch.autograd.grad(turn.total(), parameters(method, "encoder", "decoder"), retain_graph=True, allow_unused=True)
            assert all(slope is None for slope in slopes)


def test_the_code_depends_on_the_labels_it_is_given():
    method = CVAEGAN(SMALL, schema()).eval()
    images = batch(method.schema).images
    off, on = (method.encoder(images, torch.full((8, 1), value))[0] for value in (0.0, 1.0))
    assert not torch.allclose(off, on)
    codes = method.encode(images)
    assert torch.equal(codes["rest"], method.encoder(images, codes["Smiling"])[0])


def test_missing_labels_add_nothing():
    method = CVAEGAN(SMALL, schema())
    constant(method.classifier.last)
    data = batch(method.schema)
    half = replace(data, known={"Smiling": torch.arange(8) < 4})
    nothing = replace(data, known={"Smiling": torch.zeros(8, dtype=torch.bool)})
    assert losses(method, half)["classifier/class"][1].item() == pytest.approx(math.log(2) / 2, abs=1e-6)
    terms = losses(method, nothing)
    assert terms["classifier/class"][1].item() == 0 == terms["autoencoder/class_mean"][1].item()


@pytest.mark.parametrize(("name", "num_latents", "start"), [("paper", 256, 4), ("small", 32, 16)])
def test_presets_keep_the_papers_weights_and_differ_in_size(name, num_latents, start):
    method = CVAEGAN(replace(PRESETS[name], width=4, decoder_width=4), schema(size=32))
    data = batch(method.schema)
    weights = {loss: weight for loss, (weight, _) in losses(method, data).items()}
    assert weights == {
        "classifier/class": 1.0, "critic/gan": 1.0, "autoencoder/kl": 3.0, "autoencoder/rec": 1.0, "autoencoder/critic_pair": 1.0,
        "autoencoder/class_pair": 1.0, "autoencoder/critic_mean": 1e-3, "autoencoder/class_mean": 1e-3,
    }  # fmt: skip
    assert method.encode(data.images)["rest"].shape == (8, num_latents)
    assert next(layer for layer in method.decoder if isinstance(layer, nn.Unflatten)).unflattened_size[1:] == (start, start)


def trained_on_brightness(class_mean_weight):
    """How much brighter samples of label 1 are than those of label 0, when the decoder only matches their mean features."""
    torch.manual_seed(0)
    config = replace(SMALL, pair_weight=0.0, critic_mean_weight=0.0, class_mean_weight=class_mean_weight, learning_rate=8e-3)
    method = CVAEGAN(config, schema(size=8))
    steppers = optimizers(method)
    for seed in range(100):
        train_step(method, steppers, bright(method.schema, seed=seed))
    z = torch.randn(64, 6)
    off, on = (method.eval().decoder(torch.cat([torch.full((64, 1), value), z], 1)).tanh() for value in (0.0, 1.0))
    return (on - off).mean().item()


def test_matching_the_classes_means_makes_the_decoder_use_the_label():
    # Beside a training without it. The true change is 1.2.
    assert trained_on_brightness(class_mean_weight=1.0) > 0.8
    assert abs(trained_on_brightness(class_mean_weight=0.0)) < 0.2
