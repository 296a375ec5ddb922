"""advattr against numbers worked by hand, its routes, what is dealt out, and its reduced form on vectors."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from games import HAIR, SMILING, batch, optimizers, parameters, routes, schema
from torch import nn

from recombine.data.schema import Attribute, Schema
from recombine.losses import cross_entropy_to_uniform, gradient_penalty
from recombine.method import Progress
from recombine.methods.advattr import (
    PRESETS,
    TINY,
    AdvAttr,
    Config,
    Doubling,
    Encoders,
    features,
    uniformity,
)
from recombine.methods.shared.advattr_on_vectors import AdvAttrVectors, label_loss
from recombine.recipes import advattr_rafd
from recombine.training.recipe import TrainConfig, learning_rate_factor


def losses(method, data):
    """`player/loss` -> (weight, value) of one step without stepping."""
    return {f"{turn.player}/{name}": pair for turn in method.turns(data, Progress()) for name, pair in turn.losses.items()}


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def on_paper(*classes):
    """The paper's networks, without memory for their weights."""
    attributes = tuple(Attribute(f"a{k}", "categorical", tuple(map(str, range(k)))) for k in classes)
    with torch.device("meta"):
        return AdvAttr(Config(), Schema(attributes=attributes, height=128, width=128))


def test_cross_entropy_to_uniform():
    # A1
    logits = torch.tensor([[0.0, 0, 0, 0], [2, 0, 0, 0]], requires_grad=True)
    loss = cross_entropy_to_uniform(logits) + math.log(4)
    assert loss.tolist() == pytest.approx([1.386294, 1.840753], abs=1e-6)
    slope = torch.autograd.grad(loss[1], logits)[0][1]
    assert slope.tolist() == pytest.approx([0.461235, -0.153745, -0.153745, -0.153745], abs=1e-6)


def as_written(judged):
    """L_dis as the paper writes it, cross-entropy in full: code m under layer n, the rest after the attributes."""

    def ceu(logits):
        return -F.log_softmax(logits, 1).mean(1).mean().item()

    layers = range(len(judged))
    own = sum(sum(ceu(judged[n][m]) for n in layers if n != m) / (len(judged) - 1) for m in layers)
    return (own + sum(ceu(judged[n][-1]) for n in layers) / len(judged)) / (len(judged) + 1)


def test_uniformity_is_what_is_written_less_its_minimum():
    # A2: blank layers of 4 and 147 values cost the mean of ln 4 and ln 147, and no layers cost less.
    blank = [torch.zeros(3, 5, 4), torch.zeros(3, 5, 147)]
    assert as_written(blank) == pytest.approx(3.188363, abs=1e-6)
    assert uniformity(blank).item() == pytest.approx(0.0, abs=1e-6)
    torch.manual_seed(0)
    judged = [torch.randn(3, 5, 4), torch.randn(3, 5, 147)]
    assert uniformity(judged).item() == pytest.approx(as_written(judged) - 3.188363, abs=1e-5)


def test_uniformity_averages_foreign_layers_then_codes():
    # Excess of (2, 0, 0, 0) is 0.454459. Head 0 alone is certain: of code 1 it is the one foreign layer, of the rest one of two,
    # and code 0 is its own. (0.454459 + 0.454459 / 2) / 3 = 0.227229.
    certain = torch.tensor([2.0, 0, 0, 0]).expand(3, 5, 4)
    assert uniformity([certain, torch.zeros(3, 5, 147)]).item() == pytest.approx(0.227229, abs=2e-6)
    only_own = torch.zeros(3, 5, 4)
    only_own[0] = 9.0 * torch.eye(4)[0]
    assert uniformity([only_own, torch.zeros(3, 5, 147)]).item() == pytest.approx(0.0, abs=1e-6)


def test_one_attribute_leaves_the_part_of_the_rest():
    # M = 1: its own code meets no foreign layer, the rest meets one: 0.454459 / 2.
    judged = [torch.tensor([2.0, 0, 0, 0]).expand(2, 5, 4)]
    assert uniformity(judged).item() == pytest.approx(0.227229, abs=2e-6)
    assert uniformity([judged[0][:1]]).item() == 0.0


def test_parameter_counts_are_those_of_the_paper():
    # A3
    method = on_paper(4, 147)
    assert [count(network) for network in method.encoders.networks] == [97_536] * 3
    assert count(method.decoder) == 16_783_491
    assert count(method.critic) == 44_721_089
    per_attribute = [count(f) + count(h) for f, h in zip(method.classifiers.features, method.classifiers.heads, strict=True)]
    assert per_attribute == [658_628, 19_402_067]
    method = on_paper(8, 4, 2)
    assert count(method.decoder) == 29_824_515
    assert count(method.classifiers.features[0]) + count(method.classifiers.heads[0]) == 1_182_920


def test_shapes_are_those_of_the_paper():
    # A3: codes 128 x 32 x 32 without negative numbers, a critic that scores 2 x 2 patches.
    method, images = on_paper(4, 8), torch.empty(2, 3, 128, 128, device="meta")
    codes = method.encode(images)
    assert {name: tuple(part.shape) for name, part in codes.items()} == dict.fromkeys(("a4", "a8", "rest"), (2, 128, 32, 32))
    assert method.decode(codes).shape == images.shape
    assert method.critic(images).shape == (2, 1, 2, 2)
    assert features(3, Config())(torch.zeros(1, 3, 128, 128)).shape == (1, 128, 32, 32)
    assert all(code.min() >= 0 for code in Encoders(schema(), TINY)(torch.randn(2, 3, 16, 16)))


def test_doubling_is_the_papers_resize_and_strided_convolution():
    torch.manual_seed(0)
    layer, images = Doubling(3, 5, 3).double(), torch.randn(2, 3, 4, 6, dtype=torch.float64)
    large = F.pad(F.interpolate(images, scale_factor=4, mode="nearest"), (1, 1, 1, 1), "reflect")
    expected = F.conv2d(large, layer.weight, layer.bias, stride=2)
    assert layer(images).shape == (2, 5, 8, 12)
    assert torch.allclose(layer(images), expected, atol=1e-12)


def test_codes_of_attributes_may_be_coarser_than_the_rest():
    # 16 pixels halved twice make 4 x 4 cells, and once more 2 x 2, which are resized: nothing but their corners is free.
    torch.manual_seed(0)
    method = AdvAttr(replace(TINY, attribute_halvings=1), schema(SMILING, HAIR)).eval()
    codes = method.encode(batch(method.schema).images)
    assert [tuple(part.shape) for part in codes.values()] == [(8, 8, 4, 4)] * 3
    corners = codes["hair"][..., ::3, ::3]
    assert torch.allclose(F.interpolate(corners, (4, 4), mode="bilinear"), codes["hair"], atol=1e-6)
    rest = codes["rest"][..., ::3, ::3]
    assert not torch.allclose(F.interpolate(rest, (4, 4), mode="bilinear"), codes["rest"], atol=1e-2)
    method = AdvAttr(replace(TINY, attribute_halvings=9), schema(SMILING)).eval()
    assert len(method.encoders.networks[0]) == len(AdvAttr(replace(TINY, attribute_halvings=1), schema(SMILING)).encoders.networks[0])


def test_every_loss_reaches_its_networks_and_no_other():
    # T-ROUTE
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    assert routes(method, batch(method.schema)) == {
        "critic/scores": {"critic"},
        "critic/gp": {"critic"},
        "classifiers/class": {"classifiers"},
        "generator/rec": {"encoders", "decoder"},
        "generator/cls": {"encoders"},
        "generator/dis": {"encoders"},
        "generator/gen": {"encoders", "decoder"},
        "generator/adv": {"encoders", "decoder"},
    }


def test_critic_and_classifier_losses_never_reach_the_generator():
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    for turn in method.turns(batch(method.schema), Progress()):
        if turn.player != "generator":
            slopes = torch.autograd.grad(turn.total(), parameters(method, "encoders", "decoder"), retain_graph=True, allow_unused=True)
            assert all(slope is None for slope in slopes), turn.player


def test_uniform_guesses_reach_every_encoder_and_certainty_only_the_attributes():
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    terms = losses(method, batch(method.schema))
    for name, reached in (("cls", [True, True, False]), ("dis", [True, True, True])):
        networks = method.encoders.networks
        value = terms[f"generator/{name}"][1]
        slopes = [torch.autograd.grad(value, list(n.parameters()), retain_graph=True, allow_unused=True) for n in networks]
        assert [any(s is not None and s.abs().sum() > 0 for s in of) for of in slopes] == reached


def test_generator_steps_leave_every_layer_and_the_critic_bit_identical():
    # A4: if the layers received L_dis, all zeros would solve it.
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    frozen = parameters(method, "classifiers", "critic")
    before, own = [w.detach().clone() for w in frozen], parameters(method, "encoders", "decoder")
    start = [w.detach().clone() for w in own]
    stepper = optimizers(method)["generator"]
    turn = next(turn for turn in method.turns(batch(method.schema), Progress()) if turn.player == "generator")
    turn.total().backward(inputs=own)
    stepper.step()
    assert all(torch.equal(a, b) and a.grad is None for a, b in zip(frozen, before, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(own, start, strict=True))


class Told(nn.Module):
    """Stands for the encoders: the code of attribute m is pixel (0, m) of the image, as one-hot logits."""

    def forward(self, images):
        return [20 * F.one_hot(images[:, 0, 0, m].long(), 4).float()[:, :, None, None] for m in range(3)]


class Shown(nn.Module):
    """Stands for the decoder: writes every code's value back into its pixel."""

    def forward(self, codes):
        images = torch.zeros(len(codes), 3, 16, 16)
        images[:, 0, 0, :3] = codes[:, :, 0, 0].unflatten(1, (3, 4)).argmax(2).float()
        return images


class Read(nn.Module):
    """Stands for the classifiers: reads the pixels, or the codes themselves."""

    def forward(self, images, codes=()):
        if images is None:
            return [torch.stack([code[:, :, 0, 0] for code in codes])] * 2
        return [part[:, :, 0, 0] for part in Told()(images)[:2]]


def test_labels_are_permuted_with_their_codes():
    # A5, for four values of two attributes: chance is 3/4 wrong, each at a cost of 20.
    four = [Attribute(name, "categorical", tuple("abcd")) for name in ("first", "second")]
    method = AdvAttr(replace(TINY, adv_weight=0.0), schema(*four))
    method.encoders, method.decoder, method.classifiers = Told(), Shown(), Read()
    data = batch(method.schema, count=400)
    images = torch.zeros_like(data.images)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = data.labels["first"].float(), data.labels["second"].float()
    images[:, 0, 0, 2] = torch.arange(400) % 4
    data = replace(data, images=images)
    terms = losses(method, data)
    assert terms["generator/gen"][1].item() == pytest.approx(0.0, abs=1e-6)
    assert terms["generator/cls"][1].item() == pytest.approx(0.0, abs=1e-6)

    permuted, known, labels = method._permuted(data, method.encoders(images))
    shown = method.classifiers(method.decoder(torch.cat(permuted, 1)))
    assert method._label_loss(shown, data.labels, known).item() == pytest.approx(15.0, rel=0.1)
    assert torch.equal(permuted[2], Told()(images)[2]), "the rest stays where it was"
    assert not torch.equal(labels["first"], data.labels["first"])


def test_attributes_are_permuted_independently():
    # A6: 100 batches of 16.
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    place = [torch.arange(16.0)[:, None, None, None]] * 3
    equal = 0
    for seed in range(100):
        (first, second, rest), _, _ = method._permuted(batch(method.schema, 16, seed), place)
        equal += torch.equal(first, second)
        assert sorted(first.flatten().tolist()) == list(range(16)) and torch.equal(rest, place[2])
    assert equal < 1


def test_gradient_penalty_of_a_linear_critic():
    # A7: slope of length 3: (3 - 1)^2; four equal patches are added up: (12 - 1)^2.
    real, fake, mix = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4), torch.rand(5)
    direction = torch.randn(3, 4, 4)
    direction *= 3 / direction.norm()

    def critic(images, patches=1):
        return (images * direction).sum((1, 2, 3))[:, None].expand(-1, patches)

    assert gradient_penalty(critic, real, fake, mix).tolist() == pytest.approx([4.0] * 5, rel=1e-4)
    assert gradient_penalty(lambda images: critic(images, 4), real, fake, mix).tolist() == pytest.approx([121.0] * 5, rel=1e-4)


@pytest.mark.parametrize(("epoch", "rate"), [(0, 1e-4), (50, 1e-4), (51, 0.96e-4), (74, 0.04e-4)])
def test_learning_rate_of_the_papers_epochs(epoch, rate):
    # A8
    train = advattr_rafd().train
    assert train.images % 75 == 0
    factor = learning_rate_factor(epoch * train.images // 75, train, rollbacks=0)
    method = AdvAttr(replace(TINY, learning_rate=Config().learning_rate), schema())
    assert [o.param_groups[0]["betas"] for o in optimizers(method).values()] == [(0.5, 0.999)] * 3
    assert optimizers(method)["generator"].param_groups[0]["lr"] * factor == pytest.approx(rate)


def test_players_move_once_each_in_the_papers_order():
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    assert [turn.player for turn in method.turns(batch(method.schema), Progress())] == ["critic", "classifiers", "generator"]
    weights = {name: weight for name, (weight, _) in losses(method, batch(method.schema)).items()}
    assert weights == {
        "critic/scores": 1, "critic/gp": 10, "classifiers/class": 1,
        "generator/rec": 10, "generator/cls": 1, "generator/gen": 1, "generator/dis": 1, "generator/adv": 1,
    }  # fmt: skip


def test_ablations_leave_their_term_out():
    data = batch(schema(SMILING, HAIR))
    assert "generator/dis" not in losses(AdvAttr(replace(TINY, dis_weight=0.0), schema(SMILING, HAIR)), data)
    without = AdvAttr(replace(TINY, adv_weight=0.0), schema(SMILING, HAIR))
    assert not hasattr(without, "critic") and set(without.players()) == {"classifiers", "generator"}
    assert "generator/adv" not in losses(without, data)


def test_missing_labels_add_nothing_also_where_they_are_permuted():
    method = AdvAttr(TINY, schema(SMILING, HAIR))
    data = batch(method.schema)
    half = torch.arange(data.size) < data.size // 2
    masked = replace(data, known={"Smiling": half, "hair": ~half})
    full = [F.cross_entropy(a, data.labels[n], reduction="none") for n, a in zip(("Smiling", "hair"), method.classifiers(data.images), strict=True)]
    expected = (full[0][half].sum() + full[1][~half].sum()) / data.size / 2
    terms = losses(method, masked)
    assert terms["classifiers/class"][1].item() == pytest.approx(expected.item(), rel=1e-5)
    flipped = {n: torch.where(masked.known[n], column, 0) for n, column in data.labels.items()}
    for name, (_, value) in losses(method, replace(masked, labels=flipped)).items():
        assert value.item() == pytest.approx(terms[name][1].item(), rel=1e-5), name
    nothing = replace(data, known={n: torch.zeros(data.size, dtype=torch.bool) for n in data.known})
    terms = losses(method, nothing)
    assert terms["generator/gen"][1].item() == terms["generator/cls"][1].item() == terms["classifiers/class"][1].item() == 0
    assert all(torch.isfinite(value) for _, value in terms.values())


def test_codes_are_judged_by_the_layer_that_reads_images():
    method = AdvAttr(TINY, schema(SMILING, HAIR)).eval()
    images = batch(method.schema).images
    codes = method.encode(images)
    expected = method.classifiers.heads[1](codes["hair"].flatten(1)).softmax(1)
    assert torch.allclose(method.predict(codes)["hair"], expected, atol=1e-6)
    expected = method.classifiers.heads[1](method.classifiers.features[1](images).flatten(1)).softmax(1)
    predicted = method.classifiers(images)
    assert torch.allclose(predicted[1].softmax(1), expected, atol=1e-6)
    assert [part.shape[1] for part in predicted] == [2, 3]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("height", "width", "channels"), [(16, 16, 3), (16, 32, 1), (24, 16, 4)])
def test_presets_play_on_images_of_any_shape(name, height, width, channels):
    small = replace(PRESETS[name], width=4, code_width=8, blocks=1, critic_width=4, classifier_width=4)
    shape = Schema(attributes=(SMILING,), height=height, width=width, channels=channels)
    method = AdvAttr(small, shape)
    assert all(torch.isfinite(value) for _, value in losses(method, batch(shape)).values())
    images = batch(shape).images
    assert method.eval().decode(method.encode(images)).shape == images.shape


def test_sizes_and_attributes_that_it_cannot_use():
    with pytest.raises(ValueError, match="images of 50x50 cannot be divided by 4; use 48x48"):
        AdvAttr(TINY, schema(size=50))
    with pytest.raises(ValueError, match="'person' is a group: leave it out of --attributes, or pack the data with --kind person=categorical"):
        AdvAttr(TINY, schema(SMILING, Attribute("person", "group", ("a", "b"))))
    with pytest.raises(ValueError, match="'yaw' is continuous"):
        AdvAttr(TINY, schema(Attribute("yaw", "continuous", low=-1.0, high=1.0)))
    with pytest.raises(ValueError, match="at least one"):
        AdvAttr(TINY, Schema())


def told(method, codes, labels):
    """How much a linear layer of the method's own reads of another attribute from a code: mean excess in nats."""
    with torch.no_grad():
        judged = [head(torch.stack([torch.from_numpy(codes[n]) for n in labels])) for head in method.heads]
    return uniformity(judged).item()


@pytest.fixture(scope="module")
def two_factors():
    """Vectors in which colour and shape are mixed, and their labels."""
    random = np.random.default_rng(0)
    labels = {"colour": random.integers(0, 3, 300), "shape": random.integers(0, 4, 300)}
    parts = np.concatenate([np.eye(3)[labels["colour"]], np.eye(4)[labels["shape"]]], 1)
    return parts @ random.normal(size=(7, 10)) + 0.05 * random.normal(size=(300, 10)), labels


def test_vectors_become_codes_that_tell_their_own_attribute_alone(two_factors):
    vectors, labels = two_factors
    kept, found = {}, {}
    for weight in (1.0, 0.0):
        method = AdvAttrVectors(code=8, hidden=32, dis_weight=weight, steps=150, learning_rate=1e-2).fit(vectors, labels)
        codes = method.transform(vectors)
        assert codes["colour"].shape == (300, 8) and codes["colour"].min() >= 0
        kept[weight], found[weight] = told(method, codes, labels), codes
        for head, (name, truth) in zip(method.heads, labels.items(), strict=True):
            assert (head(torch.from_numpy(codes[name])).argmax(1).numpy() == truth).mean() > 0.97
    assert kept[1.0] < 0.1 * kept[0.0]
    assert not np.allclose(found[1.0]["colour"], found[0.0]["colour"])


def test_vectors_give_the_same_codes_from_the_same_seed(two_factors):
    vectors, labels = two_factors
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, second, other = (AdvAttrVectors(code=4, steps=5, seed=s).fit(vectors, labels).transform(vectors) for s in (1, 1, 2))
    assert all(np.array_equal(first[n], second[n]) for n in labels) and not np.array_equal(first["shape"], other["shape"])
    assert torch.equal(torch.get_rng_state(), state)


def test_vectors_without_labels():
    logits = [torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 0]])]
    # -log softmax of the first value is ln(e^2 + 3) - 2 = 0.340753; the other sample is not labelled.
    assert label_loss(logits, [torch.tensor([0, -1])]).item() == pytest.approx(0.340753 / 2, abs=1e-6)
    with pytest.raises(ValueError, match="at least one attribute"):
        AdvAttrVectors().fit(np.zeros((4, 2)), {})
    with pytest.raises(ValueError, match=r"hue has labels of shape \(3,\) for 4 vectors"):
        AdvAttrVectors().fit(np.zeros((4, 2)), {"hue": [0, 1, 0]})


def test_presets_train_config_is_the_papers():
    train = advattr_rafd().train
    assert train == TrainConfig(images=75 * 2832, batch_size=16, mirror=True, decay=1 / 3, evaluate_every=28_320)
