"""MATDR against numbers worked by hand, its routes, and its ablations."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, optimizers, parameters, routes, schema
from torch import nn

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.edit import swap
from recombine.evaluation.transfer import swaps
from recombine.method import Progress
from recombine.methods.matdr import MATDR, PRESETS, Config, Critic, exchanged, hinge, swap_mask
from recombine.methods.shared.schemas import labels_of_both
from recombine.training.engine import TrainConfig, fit

SMALL = Config(width=4, residual_blocks=1, unit_channels=2, rest_channels=4, critic_width=4)
GLASSES = Attribute("Eyeglasses", "binary", ("0", "1"))


def losses(method, data):
    """`player/loss` -> (weight, value) of one step without stepping."""
    return {f"{turn.player}/{name}": pair for turn in method.turns(data, Progress()) for name, pair in turn.losses.items()}


def labelled(a, b, known=None):
    """A batch without images: labels of the first ones and of their partners, attribute -> list."""
    count = len(next(iter(a.values())))
    sides = []
    for labels in (a, b):
        seen = {name: torch.tensor(known[name]) if known else torch.ones(count, dtype=torch.bool) for name in labels}
        sides.append(Batch(torch.zeros(count, 1), {n: torch.tensor(v) for n, v in labels.items()}, seen, torch.arange(count)))
    return replace(sides[0], partner=sides[1])


def drawn_mask(method, data):
    """Which units of the pairs change hands."""
    mask = method._mask(data, *labels_of_both(data, method.schema.names))
    assert torch.equal(mask[: data.size], mask[data.size :])
    return mask[: data.size]


@pytest.mark.parametrize(("attributes", "sizes"), [((SMILING, GLASSES), (4_650_240, 4_650_051)), ((SMILING, GLASSES, HAIR), None)])
def test_parameter_counts_are_the_papers_at_128_pixels(attributes, sizes):
    config = PRESETS["paper"]
    with torch.device("meta"):
        method = MATDR(config, Schema(attributes=attributes, height=128, width=128))
        codes = method.encode(torch.zeros(2, 3, 128, 128))
        real, bits = method.critic(torch.zeros(2, 3, 128, 128))
    assert all(codes[a.name].shape == (2, 16, 32, 32) for a in attributes) and codes["rest"].shape == (2, 160, 32, 32)
    assert sum(part.shape[1] for part in codes.values()) == {2: 192, 3: 208}[len(attributes)]
    assert real.shape == (2, 1, 2, 2) and bits.shape == (2, 2 if sizes else 5)
    counts = [sum(weight.numel() for weight in network.parameters()) for network in (method.encoder, method.decoder, method.verification)]
    assert counts[2] == len(attributes) * (16 * 32 * 32 + 1)
    if sizes:
        assert tuple(counts[:2]) == sizes


@pytest.mark.parametrize("name", ["small", "photos"])
def test_small_networks_stay_in_their_budget(name):
    method = MATDR(PRESETS[name], Schema(attributes=(SMILING, GLASSES, HAIR), height=64, width=64))
    assert sum(weight.numel() for weight in parameters(method, "encoder", "decoder")) < 2_500_000


def test_swapping_twice_is_the_identity_bit_for_bit():
    # E1
    method = MATDR(SMALL, schema(SMILING, HAIR))
    e = torch.randn(16, 2 * 2 + 4, 4, 4)
    mask = (torch.rand(8, 2) < 0.5).repeat(2, 1)
    once = method._exchanged_units(e, mask)
    assert torch.equal(once[:, 4:], e[:, 4:])
    assert not torch.equal(once, e) and torch.equal(method._exchanged_units(once, mask), e)
    assert torch.equal(once[0, :2], e[8 if mask[0, 0] else 0, :2]) and torch.equal(once[8, 2:4], e[0 if mask[0, 1] else 8, 2:4])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_labels_are_exchanged_completely_or_not_at_all(count):
    # E2: every pair of three-valued labels, every subset of P, both strategies.
    values = [range(3)] * (2 * count) + [(0, 1)] * (count + 1)
    a, b, coins, exchange_labels = torch.tensor(list(itertools.product(*values))).split([count, count, count, 1], 1)
    mask = swap_mask(a == b, a != b, coins.bool(), exchange_labels.bool())
    new_a, new_b = exchanged(torch.cat([a, b]), mask.repeat(2, 1)).chunk(2)
    assert torch.equal(new_a, torch.where(exchange_labels.bool(), b, a)) and torch.equal(new_b, torch.where(exchange_labels.bool(), a, b))
    assert torch.equal(mask, torch.where(a == b, coins.bool(), exchange_labels.bool()))


def test_how_often_nothing_is_exchanged():
    # E3: |P| = 1, |N| = 1: 1/2 * 1/2; |P| = 0, |N| = 2: 1/2; |P| = 2, N empty: 1/4. Three standard deviations of 20,000 pairs are 0.0106.
    method, count = MATDR(SMALL, schema(SMILING, HAIR)), 20_000
    for other, expected in (((1, 2), 0.25), ((0, 2), 0.5), ((1, 1), 0.25)):
        data = labelled({"Smiling": [1] * count, "hair": [1] * count}, {"Smiling": [other[0]] * count, "hair": [other[1]] * count})
        mask = drawn_mask(method, data)
        assert (~mask.any(1)).float().mean().item() == pytest.approx(expected, abs=0.0106)
        if other[0] == 1:
            assert mask[:, 0].float().mean().item() == pytest.approx(0.5, abs=0.0106)


def test_verification_without_opinion_costs_four_bits():
    # E4: four terms of ln 2.
    method = MATDR(SMALL, schema(SMILING, HAIR))
    for weight in method.verification.parameters():
        nn.init.zeros_(weight)
    weight, value = losses(method, batch(method.schema, partner=True))["generator/ver"]
    assert weight == 0.1 and value.item() == pytest.approx(2.772589, abs=1e-6)


def test_hinge():
    # E5: real 0.5, 2, -1 and fake -2, 0.5, 0.
    assert hinge(torch.tensor([0.5, 2.0, -1.0])).mean().item() == pytest.approx(0.833333, abs=1e-6)
    assert hinge(-torch.tensor([-2.0, 0.5, 0.0])).mean().item() == pytest.approx(0.833333, abs=1e-6)


def test_terms_of_a_critic_without_opinion():
    # Zero outputs: hinge 1 + 1, gradient of length 0: (0 - 1)^2, a bit each of ln 2; the generator's 0.
    method = MATDR(SMALL, schema(SMILING, HAIR))
    nn.init.zeros_(method.critic.bits.weight)
    critic = method.critic.forward
    method.critic.forward = lambda images: (critic(images)[0] * 0, critic(images)[1])
    terms = losses(method, batch(method.schema, partner=True))
    assert {name: weight for name, (weight, _) in terms.items()} == {
        "critic/adv": 1.0, "critic/class": 0.1, "critic/gp": 10.0,
        "generator/adv": 1.0, "generator/class": 0.1, "generator/rec": 10.0, "generator/ver": 0.1,
    }  # fmt: skip
    assert terms["critic/adv"][1].item() == 2.0 and terms["critic/gp"][1].item() == 1.0 and terms["generator/adv"][1].item() == 0.0
    assert terms["critic/class"][1].item() == pytest.approx(math.log(2)) and terms["generator/class"][1].item() == pytest.approx(math.log(2))


class Recorder(nn.Module):
    """A verification head that keeps how far apart the units are which it is shown."""

    def __init__(self, units):
        super().__init__()
        self.units, self.seen = units, []

    def forward(self, first, second):
        self.seen.append((first - second).abs()[:, : self.units])
        return torch.zeros(len(first), self.units)


def stub(encode, decode, attributes, **config):
    """The method with functions in place of its encoder and decoder, at the images' own size."""
    method = MATDR(replace(SMALL, halvings=0, **config), Schema(attributes=attributes, height=16, width=16))
    method.encoder, method.decoder = Function(encode), Function(decode)
    return method


class Function(nn.Module):
    """A function as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, inputs):
        return self.function(inputs)


def test_perfect_codes_come_back_and_verification_sees_them_after_the_swap_back():
    # E6: codes are the image's own three channels.
    method = stub(lambda x: x * 1, lambda e: e * 1, (SMILING, HAIR), unit_channels=1, rest_channels=1)
    method.verification = Recorder(2)
    assert losses(method, batch(method.schema, count=32, partner=True))["generator/rec"][1].item() == 0
    same, other = method.verification.seen
    assert not same.any() and (other.flatten(2).amax(2) > 0).all()


def hiding(x):
    return torch.cat([torch.zeros(len(x), 6, 16, 16), x], 1)


def taking_apart(x):
    places = torch.zeros(3, 1, 16, 16)
    places[0, :, :8, :8] = places[1, :, :8, 8:] = places[2, :, 8:] = 1
    return torch.cat([x * place for place in places], 1)


@pytest.mark.parametrize(("encode", "success"), [(hiding, 0.0), (taking_apart, 1.0)])
def test_swap_success_tells_apart_what_the_cycle_does_not(encode, success, signs, sign_reader):
    # E8: with everything hidden in the rest, the cycle is perfect and no swap does anything.
    pack = signs.select("colour", "lamp")
    method = stub(encode, lambda e: e.unflatten(1, (3, 3)).sum(1), pack.schema.attributes, unit_channels=3, rest_channels=3)
    rows = pack.rows("train")
    data = replace(pack.batch(rows[:100]), partner=pack.batch(rows[100:200]))
    assert losses(method, data)["generator/rec"][1].item() == 0
    swapped = swaps(method, pack, rows, sign_reader)
    assert {name: swapped.of(name).shows().mean() for name in swapped.edited()} == {"colour": success, "lamp": success}


def test_every_loss_reaches_its_networks_and_no_other():
    # E7
    method = MATDR(replace(SMALL, early_rec_weight=1.0, stay_weight=1.0), schema())
    generator = {"encoder", "decoder"}
    assert routes(method, batch(method.schema, partner=True)) == {
        "critic/adv": {"critic"},
        "critic/class": {"critic"},
        "critic/gp": {"critic"},
        "generator/adv": generator,
        "generator/class": generator,
        "generator/rec": generator,
        "generator/ver": {*generator, "verification"},
        "generator/early_rec": generator,
        "generator/stay": generator,
    }


def test_critic_never_trains_the_encoder_and_verification_never_the_critic():
    # E7
    method = MATDR(SMALL, schema())
    for turn in method.turns(batch(method.schema, partner=True), Progress()):
        cut_off = {"critic": parameters(method, "encoder", "decoder", "verification")}.get(turn.player, parameters(method, "critic"))
        value = turn.total() if turn.player == "critic" else turn.losses["ver"][1]
        assert all(slope is None for slope in torch.autograd.grad(value, cut_off, retain_graph=True, allow_unused=True))


def test_real_and_exchanged_images_are_encoded_apart_and_alike():
    method = MATDR(SMALL, schema())
    calls = []
    method.encoder.register_forward_hook(lambda network, inputs, output: calls.append((len(inputs[0]), network.training)))
    losses(method, batch(method.schema, partner=True))
    assert calls == [(16, True), (16, True)]


def test_critic_has_spectral_norm_and_no_batch_norm():
    critic = Critic((16, 16), 3, 8, 2)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in critic.modules())
    with torch.no_grad():
        for layer in (*critic.trunk[::2], critic.real):
            for _ in range(100):
                critic(torch.zeros(1, 3, 16, 16))
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.01)


def test_missing_labels_stay_in_place_and_add_nothing():
    method = MATDR(SMALL, schema(SMILING, HAIR))
    known = [True, True, False, False]
    data = labelled({"Smiling": [0] * 4, "hair": [0, 1, 0, 1]}, {"Smiling": [1, 0, 1, 0], "hair": [0] * 4}, {"Smiling": known, "hair": [True] * 4})
    moved = torch.stack([drawn_mask(method, replace(data, seed=seed)) for seed in range(40)])
    assert moved[:, :2, 0].any(0).all() and not moved[:, 2:, 0].any() and moved[:, :, 1].any(0).all()

    # Zero logits, one of four bits masked in every second image: 7/8 of ln 2.
    nn.init.zeros_(method.critic.bits.weight)
    data = batch(method.schema, partner=True)
    half = {"Smiling": torch.arange(8) % 2 == 0, "hair": torch.ones(8, dtype=torch.bool)}
    data = replace(data, known=half, partner=replace(data.partner, known=half))
    terms = losses(method, data)
    for name in ("critic/class", "generator/class"):
        assert terms[name][1].item() == pytest.approx(7 / 8 * math.log(2))


def test_label_bits_are_those_of_the_exchanged_labels():
    # A critic that says 1 for exactly the true bits costs ln(1 + 1/e) a bit; the generator's targets follow the mask.
    method = MATDR(SMALL, schema(SMILING, HAIR))
    y = torch.tensor([[1, 2], [0, 0]])
    bits = torch.tensor([[1, -1, -1, 1], [-1, 1, -1, -1]]).float()
    known = torch.ones_like(y, dtype=torch.bool)
    assert method._class_loss(bits, y, known).item() == pytest.approx(math.log1p(math.exp(-1)))
    swapped = exchanged(y, torch.tensor([[True, False]] * 2))
    assert swapped.tolist() == [[0, 2], [1, 0]]
    assert method._class_loss(bits, swapped, known).item() == pytest.approx(math.log1p(math.exp(-1)) + 2 / 8)


def test_without_verification_there_is_no_head():
    method = MATDR(replace(SMALL, ver_weight=0.0), schema())
    assert not hasattr(method, "verification") and method.players() == {"critic": ["critic"], "generator": ["encoder", "decoder"]}
    assert "generator/ver" not in losses(method, batch(method.schema, partner=True))


def test_pooled_verification_sees_means():
    method = MATDR(replace(SMALL, pooled_verification=True), schema())
    with torch.no_grad():
        for weight in method.verification.parameters():
            weight.fill_(1.0)
    far = torch.zeros(1, 6, 4, 4)
    far[:, 0, 0, 0], far[:, 5] = 16.0, 100.0
    assert method.verification(far, -far).item() == 2 * 16 / 16 + 1


def test_first_decoding_answers_for_what_was_exchanged_and_what_was_not():
    method = MATDR(replace(SMALL, early_rec_weight=1.0, stay_weight=0.5), schema())
    data = batch(method.schema, partner=True)
    method.decoder = Function(lambda e: e.new_zeros(len(e), 3, 16, 16) + 0 * e.sum())
    untouched = ~drawn_mask(method, data).any(1)
    assert untouched.any() and not untouched.all()
    terms = losses(method, data)
    for name, weight, which in (("early_rec", 1.0, untouched), ("stay", 0.5, ~untouched)):
        expected = sum(side.images[which].abs().mean((1, 2, 3)).sum().item() for side in (data, data.partner)) / 8
        assert terms[f"generator/{name}"][0] == weight and terms[f"generator/{name}"][1].item() == pytest.approx(expected, rel=1e-5)


def test_exchange_labels_one_by_one_where_asked():
    # |P| = 0, |N| = 2, 20,000 pairs: as published both or none; else each of them in a quarter, and both in an eighth.
    count, data = 20_000, labelled({"Smiling": [0] * 20_000, "hair": [0] * 20_000}, {"Smiling": [1] * 20_000, "hair": [2] * 20_000})
    published, asked = (drawn_mask(MATDR(replace(SMALL, any_subset=any_subset), schema(SMILING, HAIR)), data) for any_subset in (False, True))
    assert torch.equal(published[:, 0], published[:, 1])
    assert asked.float().mean(0).tolist() == pytest.approx([0.25, 0.25], abs=0.0092)
    assert asked.all(1).sum().item() / count == pytest.approx(0.125, abs=0.0071)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_play(name):
    small = replace(PRESETS[name], width=4, residual_blocks=1, unit_channels=2, rest_channels=4, critic_width=4)
    terms = losses(MATDR(small, schema(SMILING, HAIR)), batch(schema(SMILING, HAIR), partner=True))
    assert ("generator/ver" in terms) == (small.ver_weight > 0) and ("critic/gp" in terms) == (small.gp_weight > 0)
    assert all(torch.isfinite(value) for _, value in terms.values())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("height", "width", "channels"), [(16, 24, 1), (32, 32, 4)])
def test_images_of_other_shapes(stride, height, width, channels):
    shape = Schema(attributes=(SMILING,), height=height, width=width, channels=channels)
    method = MATDR(replace(SMALL, outer_stride=stride, outer_kernel=6 + stride % 2), shape)
    data = batch(shape, partner=True)
    assert all(torch.isfinite(value) for _, value in losses(method, data).values())
    method.eval()
    assert method.decode(method.encode(data.images)).shape == data.images.shape


def test_size_that_cannot_be_divided_names_one_that_can():
    with pytest.raises(ValueError, match=r"50x50 cannot be divided by 4; use 48x48"):
        MATDR(SMALL, schema(size=50))


def test_attributes_that_it_cannot_use():
    with pytest.raises(ValueError, match="'person' is a group: leave it out"):
        MATDR(SMALL, schema(SMILING, Attribute("person", "group", ("a", "b"))))
    with pytest.raises(ValueError, match="'yaw' is continuous: leave it out"):
        MATDR(SMALL, schema(Attribute("yaw", "continuous", low=-30.0, high=30.0)))
    with pytest.raises(ValueError, match="at least one"):
        MATDR(SMALL, Schema())


def test_resumed_training_ends_with_the_same_bits(signs, tmp_path):
    # Spectral norm keeps its own vectors, which must come back, and be averaged or not, as they were.
    pack = signs.select("lamp", "colour")
    settings = {"method": "matdr", "config": {}}
    for run, courses in (("whole", (48,)), ("twice", (24, 48))):
        for images in courses:
            torch.manual_seed(0)
            fit(MATDR(SMALL, pack.schema), pack, TrainConfig(images=images, batch_size=8, ema_images=32), tmp_path / run, settings=settings, quiet=True)
    whole, twice = ((tmp_path / run / "model" / "weights.safetensors").read_bytes() for run in ("whole", "twice"))
    assert whole == twice


def trained_on_brightness(class_weight):
    """How much brighter dark images become with a bright one's unit, after a training on images whose label is their brightness."""
    torch.manual_seed(0)
    config = replace(SMALL, halvings=1, rest_channels=8, adv_weight=0.1, gp_weight=1.0, class_weight=class_weight, learning_rate=3e-3)
    method = MATDR(config, schema(size=8))
    steppers = optimizers(method)

    def side(seed):
        drawn = batch(method.schema, count=16, seed=seed)
        light = drawn.labels["Smiling"].float()[:, None, None, None] * 1.2 - 0.6
        return replace(drawn, images=light + 0.3 * drawn.images)

    for step in range(50):
        for turn in method.turns(replace(side(2 * step), partner=side(2 * step + 1)), Progress()):
            steppers[turn.player].zero_grad()
            turn.total().backward(inputs=parameters(method, *method.players()[turn.player]))
            steppers[turn.player].step()
    method.eval()
    data = side(1000)
    dark, codes = data.labels["Smiling"] == 0, method.encode(data.images)
    a, b = codes[dark], codes[~dark]
    return (method.decode(swap(a, b, "Smiling")[0]) - method.decode(a)).mean().item()


def test_the_class_loss_puts_the_attribute_into_its_unit():
    # The method's key idea beside a training without it, where the cycle is content with everything in the rest. The true change is 1.2.
    assert trained_on_brightness(class_weight=4.0) > 0.6
    assert abs(trained_on_brightness(class_weight=0.0)) < 0.2
