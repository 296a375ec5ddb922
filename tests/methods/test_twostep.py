"""Two-step disentanglement against numbers worked by hand, its routes, and its two steps."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, bright, constant, losses, optimizers, routes, schema, train_step

from recombine.edit import set_label
from recombine.method import Progress
from recombine.methods.twostep import PRESETS, Config, TwoStep

SMALL = Config(width=4, label_width=3, num_latents=6, hidden=8)
LABELS, REST = Progress(phase="labels"), Progress(phase="rest")


def test_losses_of_undecided_networks():
    # ln 2 for Smiling and ln 3 for hair, for the classifiers and for the adversary; a grey image, 0, for one of 0.5: 0.25.
    method = TwoStep(SMALL, schema(SMILING, HAIR))
    for network in (*method.classifier.heads, method.adversary):
        constant(network[-1])
    constant(method.decoder[-1])
    data = batch(method.schema)
    data = replace(data, images=torch.full_like(data.images, 0.5))
    terms = {**losses(method, data, LABELS), **losses(method, data, REST)}
    assert {name: weight for name, (weight, _) in terms.items()} == {"labels/class": 1.0, "adversary/adv": 1.0, "main/rec": 0.5, "main/adv": -0.1}
    undecided = math.log(2) + math.log(3)
    expected = {"labels/class": undecided, "adversary/adv": undecided, "main/rec": 0.25, "main/adv": undecided}
    assert {name: value.item() for name, (_, value) in terms.items()} == pytest.approx(expected, abs=1e-6)


def test_what_the_adversary_gains_the_encoder_loses():
    # sigmoid = 0.9 and every image smiles: -ln 0.9, descended by the adversary and climbed by the encoder with a tenth of the weight.
    method = TwoStep(SMALL, schema())
    constant(method.adversary[-1], math.log(9))
    data = batch(method.schema)
    data = replace(data, labels={"Smiling": torch.ones_like(data.labels["Smiling"])})
    adversary, main = method.turns(data, REST)
    assert adversary.total().item() == pytest.approx(0.105361, abs=1e-6)
    assert (main.total() - 0.5 * main.losses["rec"][1]).item() == pytest.approx(-0.0105361, abs=1e-6)


def test_every_loss_reaches_its_networks_and_no_other():
    method = TwoStep(SMALL, schema(SMILING, HAIR))
    data = batch(method.schema)
    assert routes(method, data, LABELS, others=True) == {"labels/class": {"encoder_s", "classifier"}}
    assert routes(method, data, REST, others=True) == {
        "adversary/adv": {"adversary"},
        "main/rec": {"encoder_z", "decoder"},
        "main/adv": {"encoder_z", "adversary"},  # through the adversary, which is not the encoder's to move
    }


def test_the_second_phase_freezes_the_first_ones_networks():
    method = TwoStep(SMALL, schema())
    first, second = method.phases()
    assert (first.name, first.frozen) == ("labels", ()) and (second.name, second.frozen) == ("rest", tuple(method.players()["labels"]))
    assert second.share == 9 * first.share


def test_main_step_comes_after_so_many_of_the_adversary():
    # Batches of 8: the main networks step at batch 0, 4, 8 of every four.
    method = TwoStep(replace(SMALL, main_every=4), schema())
    data = batch(method.schema)
    played = [[turn.player for turn in method.turns(data, Progress(8 * step, 1000, "rest"))] for step in range(9)]
    assert [("main" in players) for players in played] == [True, False, False, False, True, False, False, False, True]
    assert all(players[0] == "adversary" for players in played)


def test_micro_batches_count_as_the_whole():
    method = TwoStep(replace(SMALL, main_every=2), schema())
    for seen, expected in ((0, 2), (8, 1), (16, 2)):
        assert {len(list(method.turns(part, Progress(seen, 100, "rest")))) for part in batch(method.schema).split(2)} == {expected}


def test_each_classifier_reads_its_own_part_of_s_alone():
    method = TwoStep(SMALL, schema(SMILING, HAIR)).eval()
    codes = method.encode(batch(method.schema).images)
    assert codes["Smiling"].shape == codes["hair"].shape == (8, 3) and min(part.min() for part in codes.values()) >= 0
    before, after = method.predict(codes), method.predict(codes.replace(hair=codes["hair"] + 1))
    assert torch.equal(before["Smiling"], after["Smiling"]) and not torch.allclose(before["hair"], after["hair"])


def test_a_label_is_the_mean_part_of_the_images_that_show_it():
    method = TwoStep(SMALL, schema()).eval()
    data = batch(method.schema)
    codes, smiles = method.encode(data.images), data.labels["Smiling"] == 1
    method.codebook.fit(codes, {"Smiling": data.labels["Smiling"].numpy()}, probes=False)
    assert torch.allclose(method.label_code("Smiling", 1), codes["Smiling"][smiles].mean(0, keepdim=True))


def test_missing_labels_add_nothing():
    method = TwoStep(SMALL, schema())
    constant(method.adversary[-1])
    constant(method.classifier.heads[0][-1])
    data = batch(method.schema)
    data = replace(data, known={"Smiling": torch.arange(8) < 2}, labels={"Smiling": torch.where(torch.arange(8) < 2, 1, -1)})
    terms = {**losses(method, data, LABELS), **losses(method, data, REST)}
    assert [terms[name][1].item() for name in ("labels/class", "adversary/adv", "main/adv")] == pytest.approx([math.log(2) / 4] * 3)


def test_optimisers_are_the_released_ones():
    steppers = optimizers(TwoStep(SMALL, schema()))
    assert isinstance(steppers["adversary"], torch.optim.SGD) and steppers["adversary"].defaults["lr"] == 1e-2
    assert {player: steppers[player].defaults["betas"][0] for player in ("labels", "main")} == {"labels": 0.9, "main": 0.5}
    assert steppers["main"].defaults["lr"] == steppers["labels"].defaults["lr"] == 1e-4


@pytest.mark.parametrize(("name", "main_steps", "shares", "num_latents"), [("paper", 1, (1.0, 9.0), 16), ("small", 16, (1.0, 1.0), 32)])
def test_presets_set_the_adversarys_steps_the_phases_and_the_length_of_z(name, main_steps, shares, num_latents):
    method = TwoStep(replace(PRESETS[name], width=4, hidden=8), schema(size=32))
    data = batch(method.schema)
    players = [turn.player for place in range(16) for turn in method.turns(data, Progress(8 * place, 1000, "rest"))]
    assert players.count("adversary") == 16 and players.count("main") == main_steps
    assert tuple(phase.share for phase in method.phases()) == shares
    assert method.encode(data.images)["rest"].shape == (8, num_latents)


def trained_on_brightness(adv_weight):
    """How much brighter label 1 decodes than label 0, after both phases on noisy images whose label is their brightness."""
    torch.manual_seed(0)
    config = replace(SMALL, adv_weight=adv_weight, main_every=1, learning_rate=1e-2, adversary_rate=0.2)
    method = TwoStep(config, schema(size=8))
    steppers = optimizers(method)

    for seed in range(150):
        train_step(method, steppers, bright(method.schema, seed=seed), LABELS if seed < 50 else REST)
    method.eval()
    data = bright(method.schema, seed=1000)
    codes = method.encode(data.images)
    assert (method.predict(codes)["Smiling"].argmax(1) == data.labels["Smiling"]).all()
    method.codebook.fit(codes, {"Smiling": data.labels["Smiling"].numpy()}, probes=False)
    off, on = (method.decode(set_label(method, codes, Smiling=value)) for value in (0, 1))
    return (on - off).mean().item()


def test_the_adversary_leaves_the_label_to_s():
    # The method's key idea beside a training whose encoder of Z is not opposed. The true change is 1.2.
    assert trained_on_brightness(adv_weight=0.5) > 0.9
    assert trained_on_brightness(adv_weight=0.0) < 0.5
