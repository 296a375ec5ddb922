"""splice against numbers worked by hand, its routes, what is dealt, and what sets its weights."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from games import HAIR, SMILING, Stub, batch, losses, routes, schema
from torch import nn

from recombine.data.schema import Attribute
from recombine.method import Progress
from recombine.methods.splice import KNOTS, TINY, Modulated, Splice, drawn, entropy_of, sub_pixel, weights_of_values

YAW = Attribute("yaw", "continuous", low=-30.0, high=30.0)
PERSON = Attribute("person", "group", ("a", "b", "c", "d"))
GAME = Progress(phase="game")


def make(*attributes, **settings):
    torch.manual_seed(0)
    return Splice(replace(TINY, **settings), schema(*(attributes or (SMILING, HAIR))))


def softplus(value):
    return math.log1p(math.exp(value))


def with_critic(method, score, branches):
    """The method with a critic that gives every image the same logits."""
    method.critic = Stub(lambda images: (torch.full((len(images),), score), torch.tensor(branches).expand(len(images), -1)))
    return method


def test_critic_losses_are_those_worked_by_hand():
    # Two attributes of 2 and 3 values; every branch of an attribute says the same, so a label does not matter.
    method = with_critic(make(r1_weight=0.0), 0.5, [1.0, 1.0, -2.0, -2.0, -2.0])
    found = losses(method, batch(method.schema), GAME)
    assert found["critic/adv"][1].item() == pytest.approx(softplus(-0.5) + softplus(0.5))
    right, wrong = softplus(-1) + softplus(2), softplus(1) + softplus(-2)
    assert found["critic/value"][1].item() == pytest.approx((right + wrong) / math.sqrt(2), rel=1e-5)     # (9)
    assert found["critic/not"][1].item() == pytest.approx(wrong / math.sqrt(2), rel=1e-5)                 # (10)
    assert found["generator/adv"][1].item() == pytest.approx(softplus(-0.5))                              # (4)
    assert found["generator/value"][1].item() == pytest.approx(right / math.sqrt(2), rel=1e-5)            # (5)


def test_a_branch_is_asked_about_its_own_value_alone():
    # Smiling=1 and brown hair (of black, brown, blond).
    method = make()
    own = {"Smiling": torch.tensor([[0.0, 1.0]]), "hair": torch.tensor([[0.0, 1.0, 0.0]])}
    known = {"Smiling": torch.tensor([True]), "hair": torch.tensor([True])}
    branches = torch.tensor([[3.0, 1.0, 5.0, -2.0, 0.0]])
    right = (softplus(-1.0) + softplus(2.0)) / math.sqrt(2)
    others = (softplus(3.0) + (softplus(5.0) + softplus(0.0)) / 2) / math.sqrt(2)
    assert method.judged(branches, own, known, True).item() == pytest.approx(right, rel=1e-5)
    assert method.not_others(branches, own, known).item() == pytest.approx(others, rel=1e-5)
    unknown = {"Smiling": torch.tensor([True]), "hair": torch.tensor([False])}
    assert method.judged(branches, own, unknown, True).item() == pytest.approx(softplus(-1.0) / math.sqrt(2), rel=1e-5)


def test_reconstructions_and_codes_by_hand():
    # A decoder that paints everything -0.5, a reader that reads 0.25: |x + 0.5| twice, and codes again as dealt.
    method = make()
    numbers = 2 * TINY.code_length
    method.decoder = Stub(lambda rest, codes: torch.full((len(rest), 3, 16, 16), -0.5) + 0 * rest.mean())
    method.reader = Stub(lambda images: torch.full((len(images), numbers), 0.25) + 0 * images.mean())
    data = batch(method.schema)
    found = losses(method, data, GAME)
    expected = (data.images + 0.5).abs().mean().item()
    assert found["generator/rec"][1].item() == pytest.approx(expected, rel=1e-5)                          # (1)
    assert found["generator/cycle"][1].item() == pytest.approx(expected, rel=1e-5)                        # (2)
    assert found["generator/code"][1].item() == 0.0                                                       # (3)
    assert found["generator/size"][1].item() == pytest.approx(0.0625)                                     # (8)
    again, dealt = torch.full((2, numbers), 1.0), torch.cat([torch.zeros(2, 4), torch.full((2, 4), 3.0)], 1)
    assert method.code_loss(again, dealt).item() == pytest.approx((1 + 2) / 2)


def test_what_need_not_change_stays():
    # A decoder that paints the mean of a code's numbers: images differ from the unedited one by what their codes do.
    method = make(SMILING, stay_weight=2.0)
    method.decoder = Stub(lambda rest, codes: codes.mean(1)[:, None, None, None].expand(-1, 3, 16, 16) + 0 * rest.mean())
    method.reader = Stub(lambda images: images.mean((1, 2, 3))[:, None].expand(-1, TINY.code_length))
    data = batch(method.schema)
    z = method.reader(data.images)
    dealt = method.deal(data, z, method.values(data.labels))[0]
    weight, found = losses(method, data, GAME)["generator/stay"]
    assert (weight, found.item()) == (2.0, pytest.approx((dealt - z).abs().mean().item(), rel=1e-5))      # Eq. 13


def test_class_loss_is_the_mean_of_cross_entropies_and_squared_errors():
    # ln 2 for a blank head, (0.5 - 1)^2 of yaw=30, which is 1 in the code; unknown labels add nothing.
    method = make(SMILING, YAW)
    data = batch(method.schema, 2)
    data = replace(data, labels={**data.labels, "yaw": torch.tensor([30.0, 30.0])})
    logits = [torch.zeros(2, 2), torch.full((2, 1), 0.5)]
    assert method.class_loss(logits, data).item() == pytest.approx((math.log(2) + 0.25) / 2, rel=1e-5)    # (6)
    partly = replace(data, known={"Smiling": torch.zeros(2, dtype=torch.bool), "yaw": torch.tensor([True, False])})
    assert method.class_loss(logits, partly).item() == pytest.approx(0.125 / 2, rel=1e-5)


def test_what_the_rest_tells_is_measured_and_sets_the_weight():
    # Probes that are blank tell nothing, and cost ln 2 and ln 3; labels of the batch are 4 : 4 and 3 : 3 : 2.
    method = make(even_weight=0.2, even_rate=0.1, even_target=0.05)
    blank = Stub(lambda rest: torch.zeros(len(rest), 5) + 0 * rest.mean())
    method.probe = method.probe_measured = blank
    turn = next(turn for turn in method.turns(batch(method.schema), GAME) if turn.player == "probes")
    assert turn.losses["p"][1].item() == pytest.approx((math.log(2) + math.log(3)) / 2, rel=1e-5)         # (12)
    entropy = (math.log(2) - (0.75 * math.log(0.375) + 0.25 * math.log(0.25))) / 2
    assert turn.measures["told"].item() == pytest.approx(1 - (math.log(2) + math.log(3)) / 2 / entropy, abs=1e-5)
    assert losses(method, batch(method.schema), GAME)["generator/even"][1].item() == pytest.approx(0.0, abs=1e-6)  # (7)
    method.control({"told": 0.35}, GAME)
    assert method.controllers["even"] == pytest.approx(0.2 + 0.1 * 0.3)
    method.control({"told": -9.0}, GAME)
    assert method.controllers["even"] == 0.0
    method.control({"told": 99.0}, GAME)
    assert method.controllers["even"] == 1.0


def test_unevenness_of_a_sure_probe():
    # Excess over ln 4 of (2, 0, 0, 0) is 0.454459 (A1 of the cards); one of two attributes is blank.
    method = make(Attribute("a", "categorical", tuple("0123")), SMILING)
    reading = {"a": torch.tensor([[2.0, 0.0, 0.0, 0.0]]), "Smiling": torch.zeros(1, 2)}
    assert method.unevenness([reading]).item() == pytest.approx(0.454459 / 2, abs=1e-5)


def test_with_even_codes_each_tells_no_label_but_its_own():
    # A sure code of "Smiling" is one of three parts (rest, two codes), and its one foreign attribute is hair.
    method = make(even_codes=True)
    sure = torch.tensor([[9.0, 0.0, 2.0, 0.0, 0.0]])        # 2 values of Smiling, 3 of hair: excess over ln 3 of (2, 0, 0)
    method.probe = Stub(lambda rest: torch.zeros(len(rest), 5))
    method.code_probe = Stub(lambda *codes: [sure.expand(len(codes[0]), -1), torch.zeros(len(codes[1]), 5)])
    data = batch(method.schema)
    readings = method.read(method.encoder(data.images), method.reader(data.images))
    assert [set(reading) for reading in readings] == [{"Smiling", "hair"}, {"hair"}, {"Smiling"}]
    excess = math.log(math.exp(2) + 2) - 2 / 3 - math.log(3)
    assert method.unevenness(readings).item() == pytest.approx(excess / 3, rel=1e-5)
    found = routes(make(even_codes=True), data, GAME, others=True)
    assert found["probes/p"] == {"probe", "code_probe"} and found["probes/p'"] == {"probe_measured", "code_probe_measured"}
    assert found["generator/even"] == {"encoder", "reader", "probe", "code_probe"}


def test_the_slope_of_a_linear_critic_is_half_its_squared_weights():
    # D = sum of pixels, D_a,v = v-th multiple of it: Smiling=1 adds 2, hair=0 adds 3: (1 + 2 + 3)^2 for each of 768 pixels.
    method = make()
    method.critic = Stub(lambda x: (x.sum((1, 2, 3)), x.sum((1, 2, 3))[:, None] * torch.tensor([9.0, 2.0, 3.0, 9.0, 9.0])))
    own = {"Smiling": torch.tensor([[0.0, 1.0]]), "hair": torch.tensor([[1.0, 0.0, 0.0]])}
    known = {"Smiling": torch.tensor([True]), "hair": torch.tensor([True])}
    assert method.slope(torch.zeros(1, 3, 16, 16), own, known).item() == pytest.approx(36 * 768 / 2)      # (11)


def test_the_slope_is_taken_in_every_few_steps_and_weighs_as_much():
    method, data = make(r1_weight=0.5, r1_every=4), batch(schema(SMILING, HAIR))
    assert losses(method, data, Progress(phase="game"))["critic/r1"][0] == 2.0
    assert "critic/r1" not in losses(method, data, Progress(images_seen=8, images=80, phase="game"))
    assert "critic/r1" in losses(method, data, Progress(images_seen=32, images=80, phase="game"))


def test_gradients_go_where_they_should():
    method = make(stay_weight=1.0)
    found = routes(method, batch(method.schema), GAME, others=True)
    for name in ("critic/adv", "critic/value", "critic/not", "critic/r1"):
        assert found[name] == {"critic"}, name
    assert found["probes/p"] == {"probe"} and found["probes/p'"] == {"probe_measured"}
    makers = {"encoder", "reader", "decoder"}
    assert found["generator/rec"] == found["generator/cycle"] == found["generator/code"] == found["generator/stay"] == makers
    assert found["generator/adv"] == found["generator/value"] == makers | {"critic"}
    assert found["generator/class"] == {"reader", "heads"}
    assert found["generator/even"] == {"encoder", "probe"}, "P' gives the encoder no gradient"
    assert found["generator/size"] == {"reader"}


def test_what_is_switched_off_is_neither_computed_nor_kept():
    method = make(even_weight=0.0, cycle_weight=0.0, stay_weight=0.0, r1_weight=0.0, not_weight=0.0)
    assert set(method.players()) == {"critic", "generator"} and not hasattr(method, "probe")
    again = []
    method.encoder.register_forward_hook(lambda *_: again.append(1))
    found = losses(method, batch(method.schema), GAME)
    assert {name.split("/")[1] for name in found} == {"adv", "value", "rec", "code", "class", "size"} and len(again) == 1
    assert not hasattr(make(even_weight=0.0, even_codes=True), "code_probe")


def test_critic_and_autoencoder_are_first_trained_apart_and_faster():
    method = make(apart_share=0.5, apart_rate=3.0)
    apart, game = method.phases()
    assert (apart.name, apart.share, apart.rate, game.name) == ("apart", 0.5, 3.0, "game")
    assert set(apart.frozen) == {"probe", "probe_measured"}
    found = routes(method, batch(method.schema), Progress(phase="apart"), others=True)
    assert found == {
        "critic/value": {"critic"}, "critic/not": {"critic"}, "generator/rec": {"encoder", "reader", "decoder"},
        "generator/class": {"reader", "heads"}, "generator/size": {"reader"},
    }  # fmt: skip
    assert [phase.name for phase in make(apart_share=0.0).phases()] == ["game"]
    assert {turn.player for turn in make(PERSON).turns(batch(schema(PERSON)), Progress(phase="apart"))} == {"generator"}


def test_a_new_sub_pixel_convolution_gives_the_four_pixels_of_a_place_one_value():
    torch.manual_seed(0)
    image = F.pixel_shuffle(sub_pixel(8, 3)(torch.randn(1, 8, 4, 4)), 2)
    assert torch.allclose(image[..., ::2, ::2], image[..., 1::2, 1::2]) and image.std() > 0


def test_dealt_values_are_even_where_one_is_rare():
    # One image of eight smiles: half of the codes that move are its own.
    method = make(SMILING)
    data = batch(method.schema, 8)
    data = replace(data, labels={"Smiling": torch.tensor([1, 0, 0, 0, 0, 0, 0, 0])})
    z = torch.arange(8.0)[:, None].expand(8, TINY.code_length)
    moved = []
    for seed in range(300):
        codes, labels, lent = method.deal(replace(data, seed=seed), z, method.values(data.labels))
        place = codes[:, 0].long()
        assert torch.equal(labels["Smiling"], data.labels["Smiling"][place])
        assert torch.equal(lent["Smiling"], place != torch.arange(8)), "an image's own code is not lent"
        moved += labels["Smiling"][1:].tolist()
    # Images 1 to 7 keep their own code half of the time, and else smile half of the time.
    assert sum(moved) / len(moved) == pytest.approx(0.25, abs=0.03)


def test_kept_codes_are_judged_where_that_is_asked_for():
    method = make(SMILING, lent_only=False)
    data = batch(method.schema)
    z = torch.zeros(8, TINY.code_length)
    assert method.deal(data, z, method.values(data.labels))[2]["Smiling"].all()


def test_codes_of_unknown_labels_are_not_dealt_where_others_are():
    method = make(SMILING)
    data = replace(batch(method.schema, 8), known={"Smiling": torch.tensor([True] * 4 + [False] * 4)})
    z = torch.arange(8.0)[:, None].expand(8, TINY.code_length)
    for seed in range(50):
        codes, _, _ = method.deal(replace(data, seed=seed), z, method.values(data.labels))
        place = codes[:, 0].long()
        assert torch.all((place < 4) | (place == torch.arange(8)))


def test_each_attribute_is_dealt_in_an_order_of_its_own():
    method = make()
    z = torch.arange(8.0)[:, None].expand(8, 2 * TINY.code_length)
    data = batch(method.schema)
    codes, _, _ = method.deal(data, z, method.values(data.labels))
    assert not torch.equal(codes[:, 0], codes[:, -1])


def test_drawn_in_proportion():
    # Of weights 1, 0, 3 a uniform number below 1/4 draws the first, any other the last.
    assert drawn(torch.tensor([1.0, 0.0, 3.0]), torch.tensor([0.0, 0.24, 0.26, 0.999])).tolist() == [0, 0, 2, 2]


def test_numbers_lie_between_their_nearest_knots():
    # -30, 0 and 30 degrees are the first, the middle and the last of five; 22.5 is half way between the last two.
    found = weights_of_values(YAW, torch.tensor([-30.0, 0.0, 30.0, 22.5]))
    assert KNOTS == 5
    assert found.tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0.5, 0.5]]
    assert weights_of_values(HAIR, torch.tensor([2])).tolist() == [[0, 0, 1]]


def test_entropy_of_known_labels():
    weights, known = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]]), torch.tensor([True, True, False, False])
    assert entropy_of(weights, known).item() == pytest.approx(math.log(2))


def test_a_number_is_its_own_code():
    method = make(YAW).eval()
    assert method.label_code("yaw", 15.0).tolist() == [[0.5]]
    assert method.encode(batch(method.schema).images)["yaw"].shape == (8, 1)


def test_images_beyond_their_range_come_back():
    # A decoder that overshoots everywhere: its reconstruction still has a gradient, and what users see is within the range.
    method = make()
    with torch.no_grad():
        method.decoder.doublings[-2].bias.fill_(50.0)
    data = batch(method.schema)
    loss = losses(method, data, GAME)["generator/rec"][1]
    loss.backward()
    assert loss > 40 and method.decoder.doublings[-2].bias.grad.abs().min() > 0
    assert method.decode(method.encode(data.images)).max() == 1.0


@pytest.mark.parametrize(("name", "value", "least"), [("code_length", -1, 0), ("rest_length", -5, 0), ("halvings", 0, 1)])
def test_sizes_that_make_no_network_are_refused(name, value, least):
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, not {value}"):
        make(**{name: value})


def test_the_rest_may_be_a_vector():
    method = make(rest_length=5)
    codes = method.eval().encode(batch(method.schema).images)
    assert codes["rest"].shape == (8, 5) and method.decode(codes).shape == (8, 3, 16, 16)
    (reading,) = method.read(codes["rest"], method.reader(batch(method.schema).images))
    assert [logits.shape for logits in reading.values()] == [(8, 2), (8, 3)]
    found = routes(method.train(), batch(method.schema), GAME, others=True)
    assert found["generator/rec"] == found["generator/adv"] - {"critic"} == {"encoder", "reader", "decoder"}


def test_codes_of_length_0_are_the_probabilities_of_values():
    # Smiling has 2 values, hair 3, a person keeps a vector, a number its one; what a code says is the prediction.
    method = make(SMILING, HAIR, PERSON, YAW, code_length=0).eval()
    codes = method.encode(batch(method.schema).images)
    assert [codes[name].shape[1] for name in method.schema.names] == [2, 3, TINY.group_length, 1]
    for name in ("Smiling", "hair"):
        assert torch.allclose(codes[name].sum(1), torch.ones(8))
        assert torch.allclose(method.predict(codes)[name], codes[name], atol=1e-6)
    # ln 2 and -ln 0.2 for the first attribute's and the second's label, and nothing of a linear layer.
    method = make(code_length=0)
    assert "heads" not in method.players()["generator"] and not list(method.heads.parameters())
    logits = method.heads(torch.tensor([[0.5, 0.5, 0.7, 0.1, 0.2]]).expand(8, -1))
    data = replace(batch(method.schema), labels={"Smiling": torch.ones(8).long(), "hair": torch.full((8,), 2)})
    assert method.class_loss(logits, data).item() == pytest.approx((math.log(2) - math.log(0.2)) / 2, rel=1e-5)


def test_a_groups_logits_are_cosines():
    method = make(PERSON)
    code = F.normalize(torch.randn(3, TINY.group_length), dim=1)
    assert torch.allclose(method.heads(code)[0], method.heads(5 * code)[0], atol=1e-5)
    assert method.heads(code)[0].abs().max() <= 16.0


def test_a_modulated_convolution_scales_inputs_and_normalises():
    # Scaling all inputs by the same number changes nothing; outputs of white noise have unit variance.
    torch.manual_seed(0)
    layer = Modulated(16, 4)
    maps = torch.randn(4, 16, 32, 32)
    with torch.no_grad():
        for part in (layer.scale, layer.shift):
            nn.init.zeros_(part.weight)
        plain = layer(maps, torch.zeros(4, 4))
        layer.scale.bias.fill_(7.0)
        assert torch.allclose(layer(maps, torch.zeros(4, 4)), plain, atol=1e-4)
    assert plain[..., 1:-1, 1:-1].var().item() == pytest.approx(1.0, abs=0.05)


def test_augmentation_follows_what_the_critic_is_sure_of():
    method = make(augment=True)
    method.control({"sign": 0.9}, Progress(images_seen=2_000, images=10_000, phase="game"))
    assert method.controllers["augment"] == pytest.approx(0.01)
    method.control({"sign": 0.1}, Progress(images_seen=3_000, images=10_000, phase="game"))
    assert method.controllers["augment"] == pytest.approx(0.005)
    still = make(augment=False)
    still.control({"sign": 0.9}, Progress(images_seen=2_000, images=10_000, phase="game"))
    assert still.controllers["augment"] == 0.0


def test_it_needs_an_attribute():
    with pytest.raises(ValueError, match="splice needs at least one attribute"):
        Splice(TINY, replace(schema(), attributes=()))
