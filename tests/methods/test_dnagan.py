"""DNA-GAN against numbers worked by hand, its routes, and its turns."""

import json
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, Stub, batch, losses, optimizers, parameters, routes, schema, train_step
from torch import nn

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.method import Progress
from recombine.methods.dnagan import DNAGAN, PRESETS, Config, Critic, clip, generator_moves
from recombine.training.engine import TrainConfig, fit

SMALL = Config(width=4, unit_channels=2, rest_channels=4, critic_width=4, critic_steps=1)


def pair(a, b, known_a=True):
    """One image and its partner, white and black, with these labels."""
    sides = []
    for labels, known, value in ((a, known_a, 1.0), (b, True, -1.0)):
        columns = {name: torch.tensor([label]) for name, label in labels.items()}
        seen = {name: torch.tensor([known]) for name in labels}
        sides.append(Batch(torch.full((1, 3, 16, 16), value), columns, seen, torch.arange(1), whole=1))
    return replace(sides[0], partner=sides[1])


def exchange(attributes, data, step=0):
    """The decoder's inputs in one step (swapped, then own) and the critic's bits (real, then fake).

    Code channels are numbered: unit u of the first image holds u + 1 everywhere, of the partner 10 times as much.
    """
    method = DNAGAN(replace(SMALL, unit_channels=1, rest_channels=1), schema(*attributes))
    numbers = torch.arange(1.0, sum(method.bits) + 2)
    method.encoder = Stub(lambda x: torch.stack([numbers, 10 * numbers])[:, :, None, None].expand(-1, -1, 2, 2))
    method.decoder = Stub(lambda e: e[:, :1].expand(-1, 3, -1, -1).repeat(1, 1, 8, 8))
    method.critic = Stub(lambda x, bits: x.flatten(1)[:, : len(attributes)])
    losses(method, data, Progress(images_seen=step, images=100))
    (swapped,), (own,) = method.decoder.seen
    (_, real), (_, fake) = method.critic.seen[:2]
    return [[value.tolist() for value in side] for side in (swapped[:, :, 0, 0], own[:, :, 0, 0], real.int(), fake.int())]


def test_the_unit_of_the_image_without_the_attribute_is_annihilated_and_units_are_swapped():
    # The paper: A = [a, z_a], B = [0, z_b], A2 = [0, z_a], B2 = [a, z_b]; whichever of the two sides has it.
    swapped, own, real, fake = exchange((SMILING,), pair({"Smiling": 1}, {"Smiling": 0}))
    assert own == [[1, 2], [0, 20]] and swapped == [[0, 2], [1, 20]]
    assert real == [[1], [0]] and fake == [[0], [1]]
    swapped, own, real, fake = exchange((SMILING,), pair({"Smiling": 0}, {"Smiling": 1}))
    assert own == [[0, 2], [10, 20]] and swapped == [[10, 2], [0, 20]]


def test_every_value_of_many_is_an_attribute_of_its_own():
    # Black and blond: units of brown and of the other's hair are annihilated, and the whole part is swapped.
    swapped, own, real, fake = exchange((HAIR,), pair({"hair": 0}, {"hair": 2}))
    assert own == [[1, 0, 0, 4], [0, 0, 30, 40]] and swapped == [[0, 0, 30, 4], [1, 0, 0, 40]]
    assert real == [[1, 0, 0], [0, 0, 1]] and fake == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_attributes_take_turns_and_the_others_stay(step):
    data = pair({"Smiling": 1, "hair": 1}, {"Smiling": 0, "hair": 2})
    swapped, own, real, fake = exchange((SMILING, HAIR), data, step)
    assert real == [[1, 0, 1, 0], [0, 0, 0, 1]]
    if step % 2 == 0:
        assert own == [[1, 2, 3, 4, 5], [0, 20, 30, 40, 50]] and swapped == [[0, 2, 3, 4, 5], [1, 20, 30, 40, 50]]
        assert fake == [[0, 0, 1, 0], [1, 0, 0, 1]]
    else:
        assert own == [[1, 0, 3, 0, 5], [10, 0, 0, 40, 50]] and swapped == [[1, 0, 0, 40, 5], [10, 0, 3, 0, 50]]
        assert fake == [[1, 0, 0, 1], [0, 0, 1, 0]]


def test_the_turn_counts_whole_batches():
    # Two micro-batches of one batch of 8 have the attribute of the step, not of the micro-batch.
    method = DNAGAN(SMALL, schema(SMILING, HAIR)).eval()
    for weight in parameters(method, "encoder", "decoder"):
        nn.init.normal_(weight)             # an untrained decoder hardly depends on a unit
    data = batch(method.schema, partner=True)
    for seen, other in ((0, 16), (8, 24)):
        whole, again = (losses(method, data, Progress(position, 100))["generator/rec"][1] for position in (seen, other))
        halves = [losses(method, part, Progress(seen, 100))["generator/rec"][1] for part in data.split(2)]
        assert torch.allclose(whole, torch.stack(halves).mean()) and whole == again
    assert losses(method, data, Progress(0, 100))["generator/rec"][1] != losses(method, data, Progress(8, 100))["generator/rec"][1]


def test_a_missing_label_forms_no_pair_and_keeps_its_unit():
    swapped, own, real, fake = exchange((SMILING,), pair({"Smiling": 0}, {"Smiling": 1}, known_a=False))
    assert own == swapped == [[1, 2], [10, 20]] and real == fake == [[0], [1]]
    terms = losses(DNAGAN(SMALL, schema()), pair({"Smiling": 0}, {"Smiling": 1}, known_a=False))
    assert terms["critic/adv"][1].item() == terms["generator/adv"][1].item() == 0 and terms["generator/rec"][1].item() > 0


def by_hand(data):
    """Terms of one step with a critic that gives 3 times the image's mean plus 5 times the bit, and a decoder of grey (0)."""
    method = DNAGAN(SMALL, schema())
    method.critic = Stub(lambda x, bits: 3 * x.mean((1, 2, 3))[:, None] + 5 * bits)
    method.decoder = Stub(lambda e: e.new_zeros(len(e), 3, 16, 16) + 0 * e.sum())
    return losses(method, data)


def test_losses_worked_by_hand():
    # White A has it, B lacks it and is black at half strength: L_D = D(A2) + D(B2) - D(A) - D(B) = 0 + 5 - (3 + 5) + 1.5 = -1.5.
    # L_G: the fakes' score is -(0 + 5) = -5; on [0, 1], A and B are 0.5 and 0.25 away from grey.
    data = pair({"Smiling": 1}, {"Smiling": 0})
    terms = by_hand(replace(data, partner=replace(data.partner, images=torch.full((1, 3, 16, 16), -0.5))))
    assert {name: weight for name, (weight, _) in terms.items()} == {"critic/adv": 1.0, "generator/rec": 1.0, "generator/adv": 1.0}
    assert terms["critic/adv"][1].item() == pytest.approx(-1.5)
    assert terms["generator/adv"][1].item() == pytest.approx(-5)
    assert terms["generator/rec"][1].item() == pytest.approx(0.75)


def test_only_pairs_count_for_the_critic():
    # A second pair, black and black and both with the attribute, adds nothing to the sums and one to the pairs. First pair: B is
    # white, L_D = 0 + 5 - 8 - 3 = -6, so -3; L_G's -5 becomes -2.5.
    white, black = torch.ones(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)
    yes = torch.ones(2, dtype=torch.bool)
    first = Batch(torch.cat([white, black]), {"Smiling": torch.tensor([1, 1])}, {"Smiling": yes}, torch.arange(2), whole=2)
    terms = by_hand(replace(first, partner=replace(first, labels={"Smiling": torch.tensor([0, 1])})))
    assert terms["critic/adv"][1].item() == pytest.approx(-3) and terms["generator/adv"][1].item() == pytest.approx(-2.5)


def test_the_critic_is_conditioned_on_the_labels_and_scores_every_attribute():
    critic = Critic((16, 32), 1, 4, bits=4, attributes=2).eval()
    images, bits = torch.rand(3, 1, 16, 32), torch.zeros(3, 4, dtype=torch.bool)
    scores = critic(images, bits)
    assert scores.shape == (3, 2) and not torch.equal(scores, critic(images, ~bits))


@pytest.mark.parametrize("place", [0, 1])
def test_the_critic_loss_is_that_of_the_attribute_of_the_turn(place):
    method = DNAGAN(SMALL, schema(SMILING, HAIR))
    value = next(method.turns(batch(method.schema, partner=True), Progress(8 * place, 100))).losses["adv"][1]
    slopes = torch.autograd.grad(value, method.critic.layers[-1].weight)[0].abs().sum(1)
    assert slopes[place] > 0 and slopes[1 - place] == 0


def test_every_loss_reaches_its_networks_and_no_other():
    method = DNAGAN(SMALL, schema())
    generator = {"encoder", "decoder"}
    assert routes(method, batch(method.schema, partner=True)) == {"critic/adv": {"critic"}, "generator/rec": generator, "generator/adv": generator}


def test_the_critic_is_cut_off_from_the_generator_and_the_reconstruction_from_the_critic():
    method = DNAGAN(SMALL, schema())
    turns = method.turns(batch(method.schema, partner=True), Progress())
    for name, others in (("adv", ("encoder", "decoder")), ("rec", ("critic",))):
        value = next(turns).losses[name][1]
        assert all(slope is None for slope in torch.autograd.grad(value, parameters(method, *others), retain_graph=True, allow_unused=True))


def test_clipping():
    network = nn.Linear(3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.5, -0.02, 0.005]]))
        network.bias.fill_(-1.0)
    clip(network, 0.01)
    assert network.weight[0].tolist() == pytest.approx([0.01, -0.01, 0.005]) and network.bias.tolist() == pytest.approx([-0.01])


@pytest.mark.parametrize("critic_steps", [1, 2])
def test_the_critic_is_clipped_after_every_one_of_its_steps(critic_steps):
    # Also on a step on which the generator does not move; the generator's weights are left alone.
    method = DNAGAN(replace(SMALL, critic_steps=critic_steps, learning_rate=0.5), schema())
    moved = [turn.player for turn in train_step(method, optimizers(method), batch(method.schema, partner=True))]
    assert moved == (["critic", "generator"] if critic_steps == 1 else ["critic"])
    assert max(weight.abs().max().item() for weight in parameters(method, "critic")) == pytest.approx(0.01)
    assert max(weight.abs().max().item() for weight in parameters(method, "decoder")) > 0.01


def test_the_generator_waits_for_the_critic():
    # As released: 100 critic steps before the first, the 501st, the 1001st generator step, else one; so rounds of 599 steps.
    moves = [generator_moves(step, 100, 500) for step in range(2 * 599)]
    assert moves == 2 * (99 * [False] + 500 * [True])
    assert all(generator_moves(step, 1, 500) for step in range(1200))
    method = DNAGAN(replace(SMALL, critic_steps=3, critic_every=2), schema())
    data = batch(method.schema, partner=True)
    players = [[turn.player for turn in method.turns(data, Progress(8 * at, 1000))] for at in range(8)]
    assert [len(moved) for moved in players] == [1, 1, 2, 2, 1, 1, 2, 2]


def test_label_codes_have_the_units_of_their_value_only():
    method = DNAGAN(SMALL, schema(SMILING, HAIR)).eval()
    data = batch(method.schema, count=12)
    codes = method.encode(data.images)
    method.codebook.fit(codes, {name: labels.numpy() for name, labels in data.labels.items()})
    assert not method.label_code("Smiling", 0).any()
    brown = codes["hair"][data.labels["hair"] == 1].mean(0)
    assert torch.allclose(method.label_code("hair", "brown")[0, 2:4], brown[2:4], atol=1e-5)
    assert not method.label_code("hair", "brown")[0, [0, 1, 4, 5]].any()


def test_resumed_training_ends_with_the_same_bits(signs, tmp_path):
    # In the middle of the critic's steps alone and after them; the critic comes back clipped.
    pack, config = signs.select("lamp", "colour"), replace(SMALL, critic_steps=4, critic_every=3, learning_rate=0.01)
    settings = {"method": "dnagan", "config": json.loads(json.dumps(vars(config)))}
    for run, courses in (("whole", (64,)), ("parts", (16, 40, 64))):
        for images in courses:
            torch.manual_seed(0)
            method = DNAGAN(config, pack.schema)
            fit(method, pack, TrainConfig(images=images, batch_size=8, ema_images=32), tmp_path / run, settings=settings, quiet=True)
            assert max(weight.abs().max().item() for weight in parameters(method, "critic")) == pytest.approx(0.01)
    whole, parts = ((tmp_path / run / "model" / "weights.safetensors").read_bytes() for run in ("whole", "parts"))
    assert whole == parts


def test_sizes_that_it_cannot_halve():
    with pytest.raises(ValueError, match=r"50x50 cannot be divided by 8; use 48x48"):
        DNAGAN(SMALL, schema(size=50))


def test_networks_have_the_released_sizes():
    # Two attributes at 64 px: convolutions to 128, 256 and 512 channels of 8 x 8, a quarter for each attribute, and back.
    with torch.device("meta"):
        method = DNAGAN(PRESETS["paper"], Schema((SMILING, Attribute("Eyeglasses", "binary", ("0", "1"))), 64, 64))
        codes = method.encode(torch.zeros(2, 3, 64, 64))
    assert {name: tuple(part.shape[1:]) for name, part in codes.items()} == {"Smiling": (128, 8, 8), "Eyeglasses": (128, 8, 8), "rest": (256, 8, 8)}
    convolutions = {name: [tuple(w.shape[:2]) for w in parameters(method, name) if w.ndim == 4] for name in ("encoder", "decoder", "critic")}
    assert convolutions["encoder"] == [(128, 3), (256, 128), (512, 256)]
    assert convolutions["decoder"] == [(512, 512), (512, 256), (256, 3)]
    assert convolutions["critic"] == [(128, 5), (256, 128), (512, 256), (512, 512)]
    assert parameters(method, "critic")[-2].shape == (2, 512 * 4 * 4)


@pytest.mark.parametrize(("name", "critic_steps", "clip"), [("paper", 100, 0.01), ("small", 20, 0.05)])
def test_presets_say_how_long_the_critic_plays_alone_and_how_large_its_weights_are(name, critic_steps, clip):
    method = DNAGAN(replace(PRESETS[name], width=4, unit_channels=2, rest_channels=4, critic_width=4), schema(SMILING, HAIR))
    data, steppers = batch(method.schema, partner=True), optimizers(method)
    moved = [[turn.player for turn in train_step(method, steppers, data, Progress(8 * place, 100_000))] for place in (critic_steps - 2, critic_steps - 1)]
    assert moved == [["critic"], ["critic", "generator"]]
    assert max(weight.abs().max().item() for weight in parameters(method, "critic")) == pytest.approx(clip)
