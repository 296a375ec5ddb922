"""pix2pix against numbers worked by hand, its routes, its pairs, and its noise."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from games import SMILING, Stub, batch, count, losses, optimizers, parameters, routes, schema, train_step

from recombine.codes import Codes
from recombine.data.schema import Attribute, Schema
from recombine.method import Progress
from recombine.methods.pix2pix import PRESETS, Config, Pix2Pix, UNet

SMALL = Config(width=4, critic_width=4, critic_halvings=2, reader_width=4)
MAKER = Attribute("maker", "group", tuple("abcd"))


def pairs(shape=None, first=(0, 1) * 4, second=(1, 0) * 4, seed=0):
    """A batch of pairs with these labels."""
    data = batch(shape or schema(), seed=seed, partner=True)
    sides = [replace(side, labels={"Smiling": torch.tensor(labels)}) for side, labels in ((data, first), (data.partner, second))]
    return replace(sides[0], partner=sides[1])


def stub(critic=lambda x: x[:, :1] * 0):
    """Generators that add 0.1 towards value 1 and take away 0.3 towards value 0."""
    method = Pix2Pix(SMALL, schema())
    method.to_0, method.to_1 = Stub(lambda x, noise=None: x - 0.3), Stub(lambda x, noise=None: x + 0.1)
    method.critic_0, method.critic_1, method.reader = Stub(critic), Stub(critic), Stub(lambda x: x[:, 0, 0, :1] * 0)
    return method


def test_parameter_counts_are_those_of_the_released_networks():
    # Down 3-64-128-256-512-512-512-512-512, up the same way with twice the inputs behind the first; kernels of 16, a bias at the
    # very end, two numbers a channel in every norm. The released code prints 54.414 million, and 2.769 of the critic.
    with torch.device("meta"):
        method = Pix2Pix(PRESETS["paper"], Schema(attributes=(SMILING,), height=256, width=256))
    sizes = [64, 128, 256, 512, 512, 512, 512, 512]
    down = 3 * 64 + sum(a * b for a, b in pairwise(sizes))
    up = 512 * 512 + 3 * 1024 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128 * 3
    norms = 2 * (sum(sizes[1:-1]) + sum(sizes[:-1]))
    assert count(method.to_0) == count(method.to_1) == 16 * (down + up) + 3 + norms == 54_413_955
    critic = 16 * (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1 + 2 * (128 + 256 + 512)
    assert count(method.critic_0) == count(method.critic_1) == critic == 2_768_705
    assert method.to_0.dropped == [(512, 2, 2), (512, 4, 4), (512, 8, 8)]


def test_every_term_by_hand():
    # An undecided critic: ln 2 for real and for translated images. Domain 0 is 0 and domain 1 is 0.5: translations err by
    # 0.4 (0 + 0.1 for 0.5) and by 0.2 (0.5 - 0.3 for 0), whichever image of a pair comes first.
    data = pairs()
    light = [0.5 * side.labels["Smiling"][:, None, None, None] for side in (data, data.partner)]
    data = replace(data, images=0 * data.images + light[0], partner=replace(data.partner, images=0 * data.images + light[1]))
    two = math.log(2)
    expected = {
        "critic/gan_0": (0.5, 2 * two), "critic/gan_1": (0.5, 2 * two), "generator/adv_0": (1.0, two), "generator/rec_0": (100.0, 0.2),
        "generator/adv_1": (1.0, two), "generator/rec_1": (100.0, 0.4), "reader/class": (1.0, two),
    }  # fmt: skip
    terms = losses(stub(), data)
    assert {name: weight for name, (weight, _) in terms.items()} == {name: weight for name, (weight, _) in expected.items()}
    assert {name: value.item() for name, (_, value) in terms.items()} == pytest.approx({name: value for name, (_, value) in expected.items()}, abs=1e-6)


def test_a_critic_scores_the_target_or_the_translation_beside_the_source():
    # Logit = second image's mean - first one's: 0.5 for a real pair, 0.1 for a translated one of direction 1; -0.5 and -0.3 of 0.
    def difference(both):
        return (both[:, 3:] - both[:, :3]).mean((1, 2, 3), keepdim=True)

    data = pairs()
    light = [0.5 * side.labels["Smiling"][:, None, None, None] for side in (data, data.partner)]
    data = replace(data, images=0 * data.images + light[0], partner=replace(data.partner, images=0 * data.images + light[1]))
    terms = losses(stub(difference), data)

    def softplus(x):
        return math.log1p(math.exp(x))

    found = [terms[name][1].item() for name in ("critic/gan_0", "critic/gan_1", "generator/adv_0", "generator/adv_1")]
    assert found == pytest.approx([softplus(0.5) + softplus(-0.3), softplus(-0.5) + softplus(0.1), softplus(0.3), softplus(-0.1)], abs=1e-6)


def test_pairs_that_do_not_differ_or_are_not_labelled_have_no_weight():
    data = pairs(first=(0, 1, 0, 1) * 2, second=(1, 0, 0, 1) * 2)
    terms = losses(stub(), data)
    assert terms["critic/gan_1"][1].item() == pytest.approx(math.log(2)) and terms["generator/adv_0"][1].item() == pytest.approx(math.log(2) / 2)
    data = replace(data, known={"Smiling": torch.arange(8) < 2})
    terms = losses(stub(), data)
    assert terms["generator/adv_0"][1].item() == pytest.approx(math.log(2) / 4)
    assert terms["reader/class"][1].item() == pytest.approx(math.log(2) * 10 / 16)
    same = losses(Pix2Pix(SMALL, schema()), pairs(second=(0, 1) * 4))
    assert all(value.item() == 0 for name, (_, value) in same.items() if not name.startswith("reader"))


def test_every_loss_reaches_its_networks_and_no_other():
    method = Pix2Pix(SMALL, schema())
    assert routes(method, pairs()) == {
        "critic/gan_0": {"critic_0"},
        "critic/gan_1": {"critic_1"},
        "generator/adv_0": {"to_0"},
        "generator/adv_1": {"to_1"},
        "generator/rec_0": {"to_0"},
        "generator/rec_1": {"to_1"},
        "reader/class": {"reader"},
    }
    for turn in method.turns(pairs(), Progress()):
        if turn.player != "generator":
            others = [name for player, names in method.players().items() for name in names if player != turn.player]
            slopes = torch.autograd.grad(turn.total(), parameters(method, *others), retain_graph=True, allow_unused=True)
            assert all(slope is None for slope in slopes)


def test_noise_is_dropout_in_training_only():
    torch.manual_seed(0)
    network = UNet((16, 16), 3, 4, 3)
    images = batch(schema()).images
    drops = sum(c * h * w for c, h, w in network.dropped)
    assert network.dropped == [(16, 2, 2), (8, 4, 4), (4, 8, 8)]
    plain, low, high = (network(images, noise) for noise in (None, torch.zeros(8, drops), torch.ones(8, drops)))
    assert not torch.equal(plain, low) and not torch.equal(low, high)
    assert torch.equal(network(images), plain), "without noise the same image gives the same image"
    # The first doubling's output, all dropped: later layers get zeros there, as if that layer had given zeros.
    with torch.no_grad():
        network.up[0][2].weight.zero_()
        network.up[0][2].bias.zero_()
    first = network.dropped[0][0] * 4
    half = torch.cat([torch.ones(8, first), torch.zeros(8, drops - first)], 1)
    assert torch.equal(network(images, half), network(images, torch.zeros(8, drops)))


def test_every_doubling_but_the_first_is_joined_by_its_size_on_the_way_down():
    torch.manual_seed(0)
    network = UNet((16, 32), 3, 4, 3)
    assert [up[1].in_channels for up in network.up] == [32, 16 + 16, 8 + 8, 4 + 4]
    with torch.no_grad():
        for up in network.up[:-1]:
            up[2].weight.zero_()
    images = batch(schema()).images[:2].repeat(1, 1, 1, 2)
    assert (network(images)[0] - network(images)[1]).abs().mean() > 1e-3, "the last skip is all that is left"


def test_pairs_share_their_maker_and_are_mirrored_together(signs):
    pack = signs.select("lamp", "maker")
    for method in (Pix2Pix(SMALL, pack.schema), Pix2Pix(replace(SMALL, pair_by="maker"), pack.schema)):
        draw = method.make_sampler(pack, 0, True).draw(0, 200)
        maker = pack.labels["maker"]
        assert (maker[draw.rows] == maker[draw.partner]).all() and (draw.rows != draw.partner).all()
        assert draw.mirror is draw.partner_mirror and draw.mirror.any() and not draw.mirror.all()
        assert method.make_sampler(pack, 0, False).draw(0, 200).partner_mirror is None
    assert Pix2Pix(replace(SMALL, pair_by="colour"), signs.select("lamp", "colour").schema).name == "lamp"
    alone = signs.select("lamp")
    with pytest.raises(ValueError, match="has no attribute of kind 'group'"):
        Pix2Pix(SMALL, alone.schema).make_sampler(alone, 0, False)


def test_decoding_goes_from_the_image_as_far_as_the_label_was_moved():
    # The stub's classifier gives 0.5 for every image.
    method = stub()
    images = batch(method.schema).images * 0.5
    codes = method.encode(images)
    assert torch.equal(codes["rest"], images) and codes["Smiling"].tolist() == [[0.5]] * 8
    assert torch.equal(method.decode(codes), images)
    for share, moved in ((0.0, -0.15), (1.0, 0.05), (0.75, 0.025)):
        decoded = method.decode(Codes(Smiling=torch.full((8, 1), share), rest=images))
        assert torch.allclose(decoded, images + moved, atol=1e-6)


def test_a_batch_without_partners_is_refused():
    with pytest.raises(ValueError, match="pix2pix is trained on pairs of images; this batch has no partners"):
        next(Pix2Pix(SMALL, schema()).turns(batch(schema()), Progress()))


def test_groups_are_no_labels():
    with pytest.raises(ValueError, match="no attribute 'maker'"):
        Pix2Pix(SMALL, schema(SMILING, MAKER)).label_code("maker", "a")


def test_small_networks_stay_in_their_budget():
    assert count(Pix2Pix(PRESETS["small"], schema(SMILING, size=32))) < 2_500_000


def test_pairs_teach_what_changes_and_what_stays():
    # Value 1 is the same image, brighter by 1.2.
    torch.manual_seed(0)
    method = Pix2Pix(replace(SMALL, critic_halvings=1, dropped=1, learning_rate=3e-3), schema(size=8))
    steppers = optimizers(method)
    for step in range(20):
        data = pairs(method.schema, seed=step)
        light = [1.2 * side.labels["Smiling"][:, None, None, None] - 0.6 for side in (data, data.partner)]
        pattern = 0.3 * data.images[:, :, :1, :1]
        data = replace(data, images=pattern + light[0] + 0 * data.images, partner=replace(data.partner, images=pattern + light[1] + 0 * data.images))
        train_step(method, steppers, data)
    method.eval()
    dark = data.images[data.labels["Smiling"] == 0]
    moved = method.to_1(dark) - dark
    assert moved.mean().item() == pytest.approx(1.2, abs=0.3)
    edited = method.decode(method.encode(dark).replace(Smiling=torch.ones(4, 1)))
    assert edited.mean() > dark.mean() + 0.3
