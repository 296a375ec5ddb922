"""IcGAN against numbers worked by hand, its routes, and its phases."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, bright, constant, losses, optimizers, routes, schema, train_step
from torch import nn

from recombine.method import Progress
from recombine.methods.icgan import PRESETS, Config, IcGAN

SMALL = Config(width=4, decoder_width=4, num_latents=6)
GAN, ENCODERS = Progress(phase="gan"), Progress(phase="encoders")


def test_terms_of_an_undecided_critic():
    # Zero logits: three terms of ln 2 with weights 1/2, 1/4 and 1/4 make ln 2, and so does the generator's.
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    constant(method.critic.rest[-1])
    turns = list(method.turns(batch(method.schema), GAN))
    assert {name: weight for name, (weight, _) in turns[0].losses.items()} == {"real": 0.5, "wrong": 0.25, "made": 0.25}
    assert all(turn.total().item() == pytest.approx(math.log(2), abs=1e-6) for turn in turns)


def test_terms_of_a_critic_that_gives_0_9_to_everything():
    # Probability 0.9: -ln 0.9 for real ones and for the generator, -ln 0.1 for the two that are false.
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    constant(method.critic.rest[-1], math.log(9))
    values = {name: value.item() for name, (_, value) in losses(method, batch(method.schema), GAN).items()}
    expected = {"critic/real": 0.105361, "critic/wrong": 2.302585, "critic/made": 2.302585, "generator/gen": 0.105361}
    assert values == pytest.approx(expected, abs=1e-6)


def test_exactly_one_label_is_wrong_and_any_of_them():
    # Half of 20,000 images each; three standard deviations are 0.0106.
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema, count=20_000)
    truth = {"Smiling": data.labels["Smiling"][:, None].float(), "hair": nn.functional.one_hot(data.labels["hair"], 3).float()}
    wrong, known = method._one_wrong(data, truth)
    smiles, hair = wrong[:, :1] != truth["Smiling"], (wrong[:, 1:] != truth["hair"]).any(1, keepdim=True)
    assert known.all() and torch.equal(smiles, ~hair)
    assert smiles.float().mean().item() == pytest.approx(0.5, abs=0.0106)
    assert (wrong[:, 1:].sum(1) == 1).all()


def test_a_missing_label_is_never_the_wrong_one_and_is_uniform():
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema)
    no, yes = torch.zeros(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool)
    truth = {"Smiling": torch.full((8, 1), 0.5), "hair": nn.functional.one_hot(data.labels["hair"], 3).float()}
    wrong, known = method._one_wrong(replace(data, known={"Smiling": no, "hair": yes}), truth)
    assert known.all() and (wrong[:, 0] == 0.5).all() and (wrong[:, 1:] != truth["hair"]).any(1).all()
    assert not method._one_wrong(replace(data, known={"Smiling": no, "hair": no}), truth)[1].any()
    unlabelled = replace(data, known={"Smiling": no, "hair": no})
    assert losses(method, unlabelled, GAN)["critic/wrong"][1].item() == 0 == losses(method, unlabelled, ENCODERS)["encoder_y/y"][1].item()
    seen = []
    method.critic.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    next(method.turns(unlabelled, GAN))
    assert torch.allclose(seen[0], torch.tensor([1 / 2, 1 / 3, 1 / 3, 1 / 3]).expand(8, 4))


def test_labels_join_the_critic_after_its_first_convolution():
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    assert method.critic.first[0].weight.shape[1] == 3 and method.critic.rest[0].weight.shape[1] == 4 + 4


def test_the_encoders_recover_z_and_the_labels():
    # E_z gives 0: the mean of z squared. E_y gives uniform probabilities: (1/2)^2, and (4/9 + 1/9 + 1/9) / 3 = 2/9.
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    for network in (method.encoder_z, method.encoder_y):
        constant(network[-1])
    data = batch(method.schema)
    terms = losses(method, data, ENCODERS)
    assert terms["encoder_z/z"][1].item() == pytest.approx(data.noise("z", 6).square().mean().item(), rel=1e-6)
    assert terms["encoder_y/y"][1].item() == pytest.approx(1 / 4 + 2 / 9, abs=1e-6)


def test_the_input_of_e_z_is_generated_and_that_of_e_y_is_real():
    method = IcGAN(SMALL, schema()).eval()
    data, seen = batch(method.schema), {}
    for name in ("encoder_z", "encoder_y"):
        getattr(method, name).register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0]}))
    list(method.turns(data, ENCODERS))
    fake = method.generator(torch.cat([data.labels["Smiling"][:, None].float(), data.noise("z", 6)], 1)).tanh()
    assert torch.equal(seen["encoder_z"], fake) and torch.equal(seen["encoder_y"], data.images)


def test_every_loss_reaches_its_networks_and_no_other():
    method = IcGAN(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema)
    assert routes(method, data, GAN, others=True) == {
        "critic/real": {"critic"},
        "critic/wrong": {"critic"},
        "critic/made": {"critic"},
        "generator/gen": {"generator", "critic"},  # through the critic, which is not the generator's to move
    }
    assert routes(method, data, ENCODERS, others=True) == {"encoder_z/z": {"encoder_z"}, "encoder_y/y": {"encoder_y"}}


def test_phases_freeze_the_gan_before_the_encoders():
    first, second = IcGAN(replace(SMALL, shares=(3.0, 1.0)), schema()).phases()
    assert (first.name, first.share, first.frozen) == ("gan", 3.0, ()) and (second.name, second.share) == ("encoders", 1.0)
    assert second.frozen == ("generator", "critic")


@pytest.mark.parametrize(
    ("name", "rate", "encoder_rate", "shares", "num_latents"), [("paper", 2e-4, 1e-4, (1.0, 1.0), 100), ("small", 1e-3, 1e-3, (3.0, 1.0), 16)]
)
def test_presets_set_rates_phases_and_the_length_of_z(name, rate, encoder_rate, shares, num_latents):
    method = IcGAN(replace(PRESETS[name], width=4, decoder_width=4), schema())
    settings = {player: (o.defaults["lr"], o.defaults["betas"][0]) for player, o in optimizers(method).items()}
    assert settings == {"critic": (rate, 0.5), "generator": (rate, 0.5), "encoder_z": (encoder_rate, 0.1), "encoder_y": (encoder_rate, 0.1)}
    assert tuple(phase.share for phase in method.phases()) == shares
    assert method.encode(batch(method.schema).images)["rest"].shape == (8, num_latents)


def trained_on_brightness(labelled):
    """How much brighter label 1 is generated than label 0, after the first phase on images whose label is their brightness."""
    torch.manual_seed(0)
    method = IcGAN(replace(SMALL, learning_rate=4e-3), schema(size=8))
    steppers = optimizers(method)
    for seed in range(160):
        data = bright(method.schema, seed=seed)
        train_step(method, steppers, data if labelled else replace(data, known={"Smiling": torch.zeros(32, dtype=torch.bool)}), GAN)
    z = torch.randn(64, 6)
    off, on = (method.eval().generator(torch.cat([torch.full((64, 1), value), z], 1)).tanh() for value in (0.0, 1.0))
    return (on - off).mean().item()


def test_the_critic_makes_the_generator_use_the_label():
    # Beside a training without labels. The true change is 1.2.
    assert trained_on_brightness(labelled=True) > 0.6
    assert abs(trained_on_brightness(labelled=False)) < 0.3
