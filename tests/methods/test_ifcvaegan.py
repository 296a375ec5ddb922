"""IFcVAE-GAN against numbers worked by hand, its routes, and its ablations."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, optimizers, parameters, routes, schema
from torch import nn

from recombine.data.schema import Attribute, Schema
from recombine.edit import set_label
from recombine.losses import binary_cross_entropy, kl_to_standard_normal
from recombine.method import Progress
from recombine.methods.ifcvaegan import PRESETS, Config, IFcVAEGAN

SMALL = Config(width=4, num_latents=6, aux_width=16)


def losses(method, data):
    """`player/loss` -> (weight, value) of one step without stepping."""
    return {f"{turn.player}/{name}": pair for turn in method.turns(data, Progress()) for name, pair in turn.losses.items()}


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def test_parameter_counts_are_those_of_the_released_networks():
    method = IFcVAEGAN(Config(), Schema(attributes=(SMILING,), height=64, width=64))
    counts = {name: count(network) for name, network in method.named_children()}
    assert counts == {"encoder": 5_953_353, "decoder": 2_386_947, "critic": 4_314_753, "aux": 1_103_001}


def test_neither_encoder_nor_critic_has_batch_norm():
    method = IFcVAEGAN(SMALL, schema())
    assert not any(isinstance(m, nn.BatchNorm2d) for network in (method.encoder, method.critic) for m in network.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in method.decoder.modules())


def test_auxiliary_loss_falls_for_the_auxiliary_network_and_rises_for_the_encoder():
    # C1: one plain gradient step each, on one batch, with the same noise.
    torch.manual_seed(0)
    method = IFcVAEGAN(replace(SMALL, gan_weight=0.0, class_weight=0.0, kl_weight=0.0, scaling="means"), schema())
    data = batch(method.schema)

    def aux_loss():
        return losses(method, data)["autoencoder/aux"][1]

    def step(network, sign):
        before = aux_loss()
        weights = parameters(method, network)
        slopes = torch.autograd.grad(sign * before, weights, allow_unused=True)
        with torch.no_grad():
            for weight, slope in zip(weights, slopes, strict=True):
                if slope is not None:
                    weight -= 0.05 * slope
        return (aux_loss() - before).item()

    assert step("aux", 1.0) < 0
    weight = losses(method, data)["autoencoder/aux"][0]
    assert step("encoder", weight) > 0


def test_auxiliary_gradients_have_opposite_signs():
    # C2: sigmoid(a) = 0.9 and target 1 give -log 0.9 = 0.105361; d/da = 0.9 - 1 = -0.1, and +0.1 for the encoder.
    a = torch.tensor([[math.log(9.0)]], requires_grad=True)
    loss = binary_cross_entropy(a, 1.0)
    assert loss.item() == pytest.approx(0.105361, abs=1e-6)
    assert torch.autograd.grad(loss.sum(), a, retain_graph=True)[0].item() == pytest.approx(-0.1, abs=1e-6)
    weight = IFcVAEGAN(replace(SMALL, scaling="means"), schema()).weights(64)["aux"]
    assert torch.autograd.grad(-weight * loss.sum(), a)[0].item() == pytest.approx(0.1, abs=1e-6)


def test_kl_of_a_shifted_gaussian():
    # C3: mean 1, variance 1, 100 dimensions: 100 * 1/2 = 50 a sample; the released number is the batch sum over 100.
    kl = kl_to_standard_normal(torch.ones(64, 100), torch.zeros(64, 100))
    assert kl.tolist() == [50.0] * 64
    weight = IFcVAEGAN(replace(SMALL, num_latents=100, kl_weight=1.0), schema()).weights(64)["kl"]
    assert 64 * weight * kl.mean().item() == pytest.approx(32.0)


def test_reconstruction_of_a_grey_image():
    # C4: prediction and target 0.5: ln 2 a pixel; the released number is 3 * 64 * ln 2.
    loss = binary_cross_entropy(torch.zeros(64, 3, 64, 64), 0.5)
    assert loss.mean().item() == pytest.approx(0.693147, abs=1e-6)
    weight = IFcVAEGAN(SMALL, schema()).weights(64)["rec"]
    assert 64 * weight * loss.mean().item() == pytest.approx(133.084, abs=1e-3)


def test_weights_as_released_and_as_written():
    config = Config(class_rec_weight=0.5)
    weights = IFcVAEGAN(replace(config, width=4), schema()).weights(64)
    assert weights == {"rec": 3, "kl": 0.002, "class": 0.1 / 64, "gen": 0.1, "aux": 1 / 64, "class_rec": 0.5 / 64}
    weights = IFcVAEGAN(replace(config, width=4, scaling="means"), schema()).weights(64)
    assert weights == {"rec": 1.0, "kl": 0.2, "class": 0.1, "gen": 0.1, "aux": 1.0, "class_rec": 0.5}


@pytest.mark.parametrize("detached", [True, False])
def test_class_loss_reaches_the_trunk_only_when_attached(detached):
    # C5
    method = IFcVAEGAN(replace(SMALL, detach_label_head=detached), schema())
    loss = losses(method, batch(method.schema))["autoencoder/class"][1]
    slopes = torch.autograd.grad(loss, list(method.encoder.trunk.parameters()), allow_unused=True)
    reached = any(slope is not None and slope.abs().sum() > 0 for slope in slopes)
    assert reached is not detached
    head = torch.autograd.grad(losses(method, batch(method.schema))["autoencoder/class"][1], method.encoder.label.weight)[0]
    assert head.abs().sum() > 0


def test_every_loss_reaches_its_networks_and_no_other():
    # T-ROUTE, with the table of the paper's Algorithm 1.
    method = IFcVAEGAN(replace(SMALL, class_rec_weight=1.0), schema())
    assert routes(method, batch(method.schema)) == {
        "autoencoder/rec": {"encoder", "decoder"},
        "autoencoder/kl": {"encoder"},
        "autoencoder/class": {"encoder"},
        "autoencoder/gen": {"encoder", "decoder"},
        "autoencoder/aux": {"encoder"},
        "autoencoder/class_rec": {"encoder", "decoder"},
        "aux/aux": {"aux"},
        "critic/gan": {"critic"},
    }


def test_the_auxiliary_loss_is_cut_off_from_the_autoencoder():
    method = IFcVAEGAN(SMALL, schema())
    (turn,) = (turn for turn in method.turns(batch(method.schema), Progress()) if turn.player == "aux")
    others = parameters(method, "encoder", "decoder")
    assert all(slope is None for slope in torch.autograd.grad(turn.total(), others, allow_unused=True))


def test_the_critic_descends_as_if_it_judged_its_images_anew_after_the_autoencoder_has_moved():
    torch.manual_seed(0)
    method, seen = IFcVAEGAN(SMALL, schema()), []
    method.critic.register_forward_pre_hook(lambda _, images: seen.append(images[0].detach()))
    data, own = batch(method.schema), parameters(method, "critic")
    game, stepper = method.turns(data, Progress()), optimizers(method)["autoencoder"]
    turn = next(game)
    turn.total().backward(inputs=parameters(method, "encoder", "decoder"), retain_graph=turn.keep_graph)
    stepper.step()
    *_, turn = game
    (made, real) = seen
    assert torch.equal(real, (data.images + 1) / 2) and len(made) == 2 * len(real)
    target = torch.cat([torch.ones(len(real), 1), torch.zeros(len(made), 1)])
    anew = nn.functional.binary_cross_entropy_with_logits(method.critic(torch.cat([real, made])), target)
    assert turn.total().item() == pytest.approx(anew.item(), abs=1e-6)
    for found, wanted in zip(torch.autograd.grad(turn.total(), own), torch.autograd.grad(anew, own), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_critic_loss_is_a_third_of_three_terms():
    # Zero logits: each of the three terms is ln 2, and so is their mean; the generator's two halves give ln 2 as well.
    method = IFcVAEGAN(SMALL, schema())
    nn.init.zeros_(method.critic[-1].weight)
    nn.init.zeros_(method.critic[-1].bias)
    terms = losses(method, batch(method.schema))
    assert terms["critic/gan"][1].item() == pytest.approx(math.log(2), abs=1e-6)
    assert terms["autoencoder/gen"][1].item() == pytest.approx(math.log(2), abs=1e-6)


def test_categorical_attribute_starts_at_log_of_its_values():
    # All-zero label logits: ln 2 for Smiling and ln 3 for hair, added up.
    method = IFcVAEGAN(SMALL, schema(SMILING, HAIR))
    nn.init.zeros_(method.encoder.label.weight)
    nn.init.zeros_(method.encoder.label.bias)
    loss = losses(method, batch(method.schema))["autoencoder/class"][1]
    assert loss.item() == pytest.approx(math.log(2) + math.log(3), abs=1e-6)


def test_continuous_attribute_is_a_number_between_the_ends_of_its_range():
    yaw = Attribute("yaw", "continuous", low=-30.0, high=30.0)
    method = IFcVAEGAN(SMALL, schema(yaw)).eval()
    assert method.label_code("yaw", -30).item() == -1 and method.label_code("yaw", "15").item() == 0.5
    with pytest.raises(ValueError, match="yaw takes numbers, from -30 to 30 in training, not 'left'"):
        method.label_code("yaw", "left")
    nn.init.zeros_(method.encoder.label.weight)
    nn.init.zeros_(method.encoder.label.bias)
    data = batch(schema(SMILING))
    data = replace(data, labels={"yaw": torch.tensor([30.0, 15.0] * 4)}, known={"yaw": torch.tensor([True] * 4 + [False] * 4)})
    # Guess 0 for 1 and 0.5: squared errors 1 and 0.25; two of each known among eight samples: 2.5 / 8.
    assert losses(method, data)["autoencoder/class"][1].item() == pytest.approx(2.5 / 8)
    assert method.predict(method.encode(data.images)) == {}


def test_images_are_rebuilt_from_what_was_asked():
    torch.manual_seed(0)
    method = IFcVAEGAN(replace(SMALL, rec_labels="true_to_guessed"), schema())
    data = batch(method.schema, count=64)

    nn.init.normal_(method.decoder[0].weight)  # an untrained decoder hardly listens to its labels

    def reconstruction(config, fraction):
        method.config = config
        method.eval()
        turns = method.turns(data, Progress(images_seen=fraction, images=100))
        return next(turns).losses["rec"][1].item()

    growing = replace(SMALL, rec_labels="true_to_guessed")
    true, guessed = (reconstruction(replace(SMALL, rec_labels=kind), 0) for kind in ("true", "guessed"))
    assert true != guessed
    assert reconstruction(growing, 50) == true and reconstruction(growing, 100) == guessed
    assert min(true, guessed) < reconstruction(growing, 75) < max(true, guessed)


def test_missing_labels_add_nothing():
    method = IFcVAEGAN(SMALL, schema())
    data = batch(method.schema)
    half = torch.arange(data.size) < data.size // 2
    masked = replace(data, known={"Smiling": half}, labels={"Smiling": torch.where(half, data.labels["Smiling"], -1)})
    per_sample = binary_cross_entropy(method.encoder((data.images + 1) / 2)[2], data.labels["Smiling"][:, None].float())
    expected = per_sample[half].sum().item() / data.size
    assert losses(method, masked)["autoencoder/class"][1].item() == pytest.approx(expected, rel=1e-5)


def test_uniform_form_asks_for_a_uniform_guess():
    method = IFcVAEGAN(replace(SMALL, aux_form="uniform"), schema(SMILING, HAIR))
    nn.init.zeros_(method.aux[-1].weight)
    nn.init.zeros_(method.aux[-1].bias)
    weight, value = losses(method, batch(method.schema))["autoencoder/aux_uniform"]
    assert weight > 0 and value.item() == pytest.approx(0.0, abs=1e-6)
    nn.init.ones_(method.aux[-1].bias)  # sigmoid(1) = .731: CE to uniform is .5 (ln(1+e) + ln(1+1/e)) = .813262, less ln 2
    assert losses(method, batch(method.schema))["autoencoder/aux_uniform"][1].item() == pytest.approx(0.120115, abs=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_play(name):
    small = replace(PRESETS[name], width=4, num_latents=6, aux_width=16)
    method = IFcVAEGAN(small, schema())
    terms = losses(method, batch(method.schema))
    assert ("critic/gan" in terms) == (small.gan_weight > 0)
    assert ("autoencoder/aux" in terms) == (small.aux_weight > 0 and small.aux_form == "negative")
    assert ("autoencoder/aux_uniform" in terms) == (small.aux_weight > 0 and small.aux_form == "uniform")
    assert ("autoencoder/class_rec" in terms) == (small.class_rec_weight > 0)
    assert all(torch.isfinite(value) for _, value in terms.values())


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("height", "width", "channels"), [(16, 24, 1), (32, 32, 4)])
def test_images_of_other_shapes(residual, height, width, channels):
    shape = Schema(attributes=(SMILING,), height=height, width=width, channels=channels)
    method = IFcVAEGAN(replace(SMALL, residual=residual), shape).eval()
    images = batch(shape).images
    assert method.decode(method.encode(images)).shape == images.shape


def test_size_that_cannot_be_halved_names_one_that_can():
    with pytest.raises(ValueError, match=r"50x50 cannot be divided by 8; use 48x48"):
        IFcVAEGAN(SMALL, schema(size=50))


def test_attributes_that_it_cannot_use():
    with pytest.raises(ValueError, match="'person' is a group: leave it out"):
        IFcVAEGAN(SMALL, schema(SMILING, Attribute("person", "group", ("a", "b"))))
    with pytest.raises(ValueError, match="at least one"):
        IFcVAEGAN(SMALL, Schema())


def trained_on_brightness(aux_weight):
    """How much brighter label 1 decodes than label 0, after a training on images whose label is their brightness."""
    torch.manual_seed(0)
    config = replace(SMALL, scaling="means", gan_weight=0.0, kl_weight=0.01, class_weight=1.0, learning_rate=3e-3)
    method = IFcVAEGAN(replace(config, aux_weight=aux_weight, detach_label_head=False), schema(size=8))
    data = batch(method.schema, count=32)
    bright = data.labels["Smiling"].float()[:, None, None, None] * 1.6 - 0.8
    data = replace(data, images=bright.expand_as(data.images).contiguous())
    steppers = optimizers(method)
    for step in range(120):
        for turn in method.turns(replace(data, seed=step), Progress()):
            steppers[turn.player].zero_grad()
            turn.total().backward(inputs=parameters(method, *method.players()[turn.player]))
            steppers[turn.player].step()
    method.eval()
    codes = method.encode(data.images)
    assert (method.predict(codes)["Smiling"].argmax(1) == data.labels["Smiling"]).all()
    off, on = (method.decode(set_label(method, codes, Smiling=value)) for value in (0, 1))
    return (on - off).mean().item()


def test_the_auxiliary_network_makes_the_decoder_listen_to_the_label():
    # C6, and the method's key idea beside its own ablation: without it the rest tells the brightness and the label is ignored.
    assert trained_on_brightness(aux_weight=1.0) > 0.8
    assert trained_on_brightness(aux_weight=0.0) < 0.2
