"""CycleGAN against numbers worked by hand, its routes, its history of translated images, and its domains."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from games import SMILING, Stub, batch, count, losses, optimizers, parameters, routes, schema, train_step

from recombine.codes import Codes
from recombine.data.schema import Schema
from recombine.method import Progress
from recombine.methods.cyclegan import PRESETS, Config, Critic, CycleGAN, Domains, from_history, squares

SMALL = Config(width=4, blocks=1, critic_width=4, critic_halvings=2, reader_width=4, history=6)


def domains(shape=None, seed=0):
    """A batch whose first images are of domain 0 and whose partners are of domain 1."""
    data = batch(shape or schema(), seed=seed, partner=True)
    sides = [replace(side, labels={"Smiling": torch.full((8,), value)}) for value, side in enumerate((data, data.partner))]
    return replace(sides[0], partner=sides[1])


class StubCritic(Stub):
    """A critic whose history has no room."""

    history = torch.zeros(0)


def stub(critic_0=lambda x: x[:, :1] * 0, critic_1=lambda x: x[:, :1] * 0):
    """Generators that add 0.1 towards domain 1 and take away 0.3 towards domain 0."""
    method = CycleGAN(SMALL, schema())
    method.to_0, method.to_1 = Stub(lambda x: x - 0.3), Stub(lambda x: x + 0.1)
    method.critic_0, method.critic_1, method.reader = StubCritic(critic_0), StubCritic(critic_1), Stub(lambda x: x.mean((1, 2, 3))[:, None] * 0)
    return method


def test_parameter_counts_are_those_of_the_released_networks():
    # Of 9 blocks at 256 px and 6 below; the released code prints 11.378 and 2.765 million for the first and for the critic.
    def conv(inputs, outputs, kernel):
        return inputs * outputs * kernel**2 + outputs

    resized = [conv(64, 128, 3), conv(128, 256, 3), conv(256, 128, 3), conv(128, 64, 3)]
    for side, blocks, total in ((256, 9, 11_378_179), (128, 6, 7_837_699)):
        with torch.device("meta"):
            method = CycleGAN(PRESETS["paper"], Schema(attributes=(SMILING,), height=side, width=side))
        assert count(method.to_0) == count(method.to_1) == sum(resized) + conv(3, 64, 7) + conv(64, 3, 7) + 2 * blocks * conv(256, 256, 3) == total
        assert count(method.critic_0) == sum(conv(a, b, 4) for a, b in ((3, 64), (64, 128), (128, 256), (256, 512), (512, 1))) == 2_764_737


def test_every_term_by_hand():
    # Scores 0 everywhere: generators (0 - 1)^2 each, critics (0 - 1)^2 + 0^2 each. Over and back moves an image by 0.1 - 0.3.
    # Left where they are, domain 0 should stay and is moved by 0.3, domain 1 by 0.1. An undecided classifier: ln 2.
    terms = losses(stub(), domains())
    assert {name: (weight, round(value.item(), 5)) for name, (weight, value) in terms.items()} == {
        "generator/adv_0": (1.0, 1.0), "generator/adv_1": (1.0, 1.0), "generator/cycle_0": (10.0, 0.2), "generator/cycle_1": (10.0, 0.2),
        "generator/identity_0": (5.0, 0.3), "generator/identity_1": (5.0, 0.1), "critic/gan_0": (0.5, 1.0), "critic/gan_1": (0.5, 1.0),
        "reader/class": (1.0, round(math.log(2), 5)),
    }  # fmt: skip


def test_every_critic_is_shown_its_own_domain_and_translations_into_it():
    # Critic 1 scores the mean of an image: images of domain 1 are 0.5, of domain 0 are 0, translated ones 0 + 0.1.
    # Generator (0.1 - 1)^2 = 0.81; critic (0.5 - 1)^2 + 0.1^2 = 0.26. Critic 0: translated 0.5 - 0.3: 0.64; 1 + 0.2^2 = 1.04.
    def average(images):
        return images.mean((1, 2, 3), keepdim=True)

    data = domains()
    data = replace(data, images=data.images * 0, partner=replace(data.partner, images=data.partner.images * 0 + 0.5))
    terms = losses(stub(average, average), data)
    found = {name: round(terms[name][1].item(), 5) for name in ("generator/adv_0", "generator/adv_1", "critic/gan_0", "critic/gan_1")}
    assert found == {"generator/adv_0": 0.64, "generator/adv_1": 0.81, "critic/gan_0": 1.04, "critic/gan_1": 0.26}


def test_images_of_the_wrong_domain_and_of_none_have_no_weight():
    data = domains()
    half = {"Smiling": torch.arange(8) < 2}
    terms = losses(stub(), replace(data, known=half))
    assert terms["generator/cycle_0"][1].item() == pytest.approx(0.2 / 4) and terms["generator/cycle_1"][1].item() == pytest.approx(0.2)
    assert terms["critic/gan_1"][1].item() == 1 and terms["critic/gan_0"][1].item() == 0.25
    assert terms["reader/class"][1].item() == pytest.approx(math.log(2) * 10 / 16)
    one_domain = replace(data, partner=replace(data.partner, labels={"Smiling": torch.zeros(8, dtype=torch.long)}))
    terms = losses(stub(), one_domain)
    assert terms["generator/cycle_1"][1].item() == 0 and terms["generator/cycle_0"][1].item() == pytest.approx(0.2)


def test_squares():
    # Scores 0, 2 against 1: (1 + 1) / 2; 1, 1: 0.
    assert squares(torch.tensor([0.0, 2, 1, 1]).reshape(2, 1, 1, 2), 1).tolist() == [1, 0]


def test_history_is_filled_and_then_shown_half_of_the_time():
    # Room for two. Fakes are numbered; the second step's coins: an older one from place 1, the new one, an older one from place 0.
    critic = Critic(schema(), replace(SMALL, history=2))
    numbered = [torch.full((3, 3, 16, 16), 1.0) * torch.arange(first, first + 3)[:, None, None, None] for first in (1, 4)]
    every = torch.ones(3, dtype=torch.bool)

    def shown(fakes, uniform, valid=every):
        return from_history(critic, fakes, valid, torch.tensor(uniform))[:, 0, 0, 0].tolist()

    assert shown(numbered[0], [[0.0, 0.9]] * 3) == [1, 2, 2], "two fill the history, and the third takes the second one's place"
    assert critic.history[:, 0, 0, 0].tolist() == [1, 3] and critic.kept == 2
    assert shown(numbered[1], [[0.4, 0.5], [0.5, 0.0], [0.1, 0.49]]) == [3, 5, 1]
    assert critic.history[:, 0, 0, 0].tolist() == [6, 4]
    assert shown(numbered[0], [[0.0, 0.0]] * 3, ~every) == [1, 2, 3], "images that are not valid are not kept"
    critic.eval()
    assert shown(numbered[0], [[0.0, 0.0]] * 3) == [1, 2, 3] and critic.history[:, 0, 0, 0].tolist() == [6, 4]


def test_histories_are_saved_with_the_critics():
    method = CycleGAN(SMALL, schema())
    losses(method, domains())
    state = method.critic_1.state_dict()
    assert state["kept"] == 6 and state["history"].shape == (6, 3, 16, 16) and state["history"].abs().amax((1, 2, 3)).min() > 0


def test_micro_batches_leave_the_same_history_as_the_whole_batch():
    histories = []
    for count_ in (1, 2):
        torch.manual_seed(0)
        method, data = CycleGAN(SMALL, schema()).double(), domains().to("cpu", torch.float64)
        for _ in range(2):
            for _ in zip(*(method.turns(part, Progress()) for part in data.split(count_)), strict=True):
                pass
        histories.append(method.critic_0.history)
    assert torch.allclose(*histories)


def test_every_loss_reaches_its_networks_and_no_other():
    method = CycleGAN(SMALL, schema())
    assert routes(method, domains()) == {
        "generator/adv_0": {"to_0"},
        "generator/adv_1": {"to_1"},
        "generator/cycle_0": {"to_0", "to_1"},
        "generator/cycle_1": {"to_0", "to_1"},
        "generator/identity_0": {"to_0"},
        "generator/identity_1": {"to_1"},
        "critic/gan_0": {"critic_0"},
        "critic/gan_1": {"critic_1"},
        "reader/class": {"reader"},
    }
    for turn in method.turns(domains(), Progress()):
        if turn.player != "generator":
            others = [name for player, names in method.players().items() for name in names if player != turn.player]
            slopes = torch.autograd.grad(turn.total(), parameters(method, *others), retain_graph=True, allow_unused=True)
            assert all(slope is None for slope in slopes)


def test_domains_are_drawn_apart_and_every_image_once_an_epoch(signs):
    pack = signs.select("lamp")
    sampler, labels, train = Domains(pack, "lamp", 0, True), pack.labels["lamp"], pack.rows("train")
    draw = sampler.draw(0, 300)
    assert not labels[draw.rows].any() and labels[draw.partner].all() and sampler.left_out == 0
    for value, rows in enumerate((draw.rows, draw.partner)):
        own = train[labels[train] == value]
        assert sorted(rows[: len(own)]) == sorted(own)
    later = sampler.draw(100, 50)
    for whole, part in ((draw.rows, later.rows), (draw.mirror, later.mirror), (draw.partner, later.partner), (draw.partner_mirror, later.partner_mirror)):
        assert np.array_equal(whole[100:150], part)
    pack.labels = {"lamp": np.zeros_like(labels)}
    with pytest.raises(ValueError, match="no training image shows lamp=1; cyclegan needs images of both domains"):
        Domains(pack, "lamp", 0, False)


def test_decoding_interpolates_between_the_domains():
    method = stub()
    images = batch(method.schema).images * 0.5
    codes = method.encode(images)
    assert torch.equal(codes["rest"], images) and codes["Smiling"].tolist() == [[0.5]] * 8
    for share, moved in ((0.0, -0.3), (1.0, 0.1), (0.25, -0.2)):
        decoded = method.decode(Codes(Smiling=torch.full((8, 1), share), rest=images))
        assert torch.allclose(decoded, images + moved, atol=1e-6)


def test_small_networks_stay_in_their_budget():
    assert count(CycleGAN(PRESETS["small"], schema(size=32))) < 600_000


def trained_on_brightness(cycle_weight):
    """How much brighter dark images become when translated to domain 1, whose images are bright, and the error of the cycle."""
    torch.manual_seed(0)
    method = CycleGAN(replace(SMALL, critic_halvings=1, learning_rate=3e-3, identity_weight=0.0, cycle_weight=cycle_weight), schema(size=8))
    steppers = optimizers(method)
    for step in range(30):
        data = domains(method.schema, seed=step)
        data = replace(data, images=0.3 * data.images - 0.6, partner=replace(data.partner, images=0.3 * data.partner.images + 0.6))
        train_step(method, steppers, data)
    method.eval()
    over = method.to_1(data.images)
    return (over - data.images).mean().item(), (method.to_0(over) - data.images).abs().mean().item()


def test_images_are_translated_without_pairs_and_the_cycle_reconstructs_them():
    # The true change is 1.2; without the cycle nothing rewards the way back.
    (moved, lost), (_, lost_without) = trained_on_brightness(10.0), trained_on_brightness(0.0)
    assert moved > 0.8 and lost < 0.8 * lost_without
