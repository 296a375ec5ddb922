"""MAD against numbers worked by hand, its routes in every phase, and what it asks of data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from games import HAIR, SMILING, batch, parameters, schema
from safetensors.torch import save_file
from torch import nn

from recombine.data.joined import join
from recombine.data.packed import write_pack
from recombine.data.schema import Attribute, Schema
from recombine.edit import set_label
from recombine.method import Progress
from recombine.methods import mad
from recombine.methods.mad import MAD, PRESETS, Config
from recombine.methods.shared.pretrained import ResNet
from recombine.methods.shared.triplets import (
    Triplets,
    group_triplets,
    label_distance,
    label_triplets,
    picked,
    triplet_loss,
)
from recombine.training.engine import TrainConfig, fit

SMALL = Config(
    num_latents=8, part_width=4, rest_width=4, encoder_width=4, encoder_blocks=1, decoder_width=4, critic_z_width=8,
    critic_x_width=4, map_width=16, pictures=2, clips=2,
)  # fmt: skip
YAW, PITCH, ROLL = (Attribute(name, "continuous", low=-40.0, high=40.0, mirror=how) for name, how in (("yaw", "negate"), ("pitch", "keep"), ("roll", "negate")))  # fmt: skip
IDENTITY = Attribute("identity", "group", ("a", "b", "c", "d"))
CLIP = Attribute("clip", "group", tuple("abcdefgh"))
EXPRESSION = Attribute("expression", "categorical", ("neutral", "happy", "sad"))
VALENCE, AROUSAL = (Attribute(name, "continuous", low=-1.0, high=1.0) for name in ("valence", "arousal"))
FACES = (YAW, PITCH, ROLL, IDENTITY, CLIP, EXPRESSION)


def losses(method, data, phase="joint", images_seen=0):
    """`player/loss` -> (weight, value) of one step without stepping."""
    progress = Progress(images_seen, 1_000, phase)
    return {f"{turn.player}/{name}": pair for turn in method.turns(data, progress) for name, pair in turn.losses.items()}


def routes(method, data, phase):
    """`player/loss` -> networks of that player, less those the phase freezes, which the loss reaches."""
    frozen = next(p.frozen for p in method.phases() if p.name == phase)
    for name in frozen:
        getattr(method, name).requires_grad_(False)
    reached = {}
    for turn in method.turns(data, Progress(phase=phase)):
        for name, (_, value) in turn.losses.items():
            found = reached.setdefault(f"{turn.player}/{name}", set())
            for network in method.players()[turn.player]:
                weights = [w for w in parameters(method, network) if w.requires_grad]
                slopes = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True) if weights else []
                found |= {network} if any(s is not None and s.abs().sum() > 0 for s in slopes) else set()
    return reached


def known_as(data, **known):
    known = {**data.known, **{name: torch.tensor(value) for name, value in known.items()}}
    return replace(data, known=known, labelled=frozenset(name for name, there in known.items() if there.any()))


def test_parameter_counts_are_those_of_the_released_networks():
    # B8
    with torch.device("meta"):
        method = MAD(Config(), Schema(FACES, height=128, width=128))
    counts = {name: sum(w.numel() for w in network.parameters()) for name, network in method.named_children()}
    assert counts == {
        "encoder": 11_227_299,
        "decoder": 10_699_776,
        "critic_z": 1_102_001,
        "critic_x": 1_743_744,
        "forward_map": 199_099,
        "backward_map": 199_099,
        "codebook": 0,
    }
    assert sum(method.parts.values()) == 99 and "rest" not in method.parts


def test_triplet_loss_is_of_plain_distances_and_held_at_the_double_margin():
    # B1: .632456 - .765367 + .2 = .067089; squared distances would give .014214, the misprint without negative .832456.
    part = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.70711, 0.70711]])
    first = torch.tensor([True, False, False])
    triplets = Triplets(torch.tensor([[1], [0], [0]]), torch.tensor([[2], [0], [0]]), first)
    assert triplet_loss(part, triplets, 0.2).item() == pytest.approx(0.067089, abs=1e-5)
    far = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    assert triplet_loss(far, triplets, 0.2).item() == pytest.approx(0.4)
    assert triplet_loss(far, triplets, 0.2, clamped=False).item() == pytest.approx(2.2)
    twice = Triplets(torch.tensor([[1, 1], [0, 0], [0, 0]]), torch.tensor([[2, 1], [0, 0], [0, 0]]), first)
    assert triplet_loss(part, twice, 0.2).item() == pytest.approx((0.067089 + 0.2) / 2, abs=1e-5)


def test_triplet_loss_of_equal_codes_has_a_finite_slope():
    part = torch.ones(3, 2, requires_grad=True)
    loss = triplet_loss(part, Triplets(torch.tensor([[1], [0], [0]]), torch.tensor([[2], [2], [1]]), torch.ones(3, dtype=torch.bool)), 0.2)
    assert torch.isfinite(torch.autograd.grad(loss, part)[0]).all()


def test_triplet_loss_without_triplets_is_zero():
    none = Triplets(torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, 1, dtype=torch.long), torch.zeros(3, dtype=torch.bool))
    assert triplet_loss(torch.randn(3, 2), none, 0.2).item() == 0


def test_expressions_of_one_category_are_nearer():
    # B2: the printed formula would give .0025 and .26.
    valence, arousal = torch.tensor([0.5, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.2])
    known = torch.ones(3, dtype=torch.bool)
    distance = label_distance(torch.tensor([1, 2, 1]), [valence, arousal], [known, known])
    assert distance[0].tolist() == pytest.approx([0.0, 0.30, 0.10], abs=1e-6)
    triplets = label_triplets(distance, known, torch.arange(3), torch.full((3, 1, 2), 0.5))
    assert triplets.positive[0] == 2 and triplets.negative[0] == 1


def test_unknown_numbers_do_not_count():
    distance = label_distance(torch.tensor([1, 1]), [torch.tensor([0.5, 0.0])], [torch.tensor([True, False])])
    assert distance.tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("chance", [0.0, 0.3, 0.6, 0.99])
def test_style_positive_is_of_the_clip_and_its_negative_of_the_person(chance):
    # B3
    identity, clip = torch.tensor([1, 1, 1, 2]), torch.tensor([0, 0, 1, 2])
    known = torch.ones(4, dtype=torch.bool)
    triplets = group_triplets(torch.randn(4, 3), clip, known, torch.arange(4), torch.full((4, 1, 2), chance), within=identity)
    assert triplets.valid.tolist() == [True, True, False, False]
    assert triplets.positive[0] == 1 and triplets.negative[0] == 2


def test_identity_negative_is_one_of_the_five_nearest_of_others():
    place = torch.arange(12.0)[:, None]
    groups = torch.tensor([0, 0, *range(1, 11)])
    known = torch.ones(12, dtype=torch.bool)
    seen = set()
    for chance in np.linspace(0, 0.999, 40):
        triplets = group_triplets(place, groups, known, torch.arange(12), torch.full((12, 1, 2), float(chance)))
        assert triplets.positive[:2].tolist() == [[1], [0]] and triplets.valid.tolist() == [True, True] + [False] * 10
        seen.add(triplets.negative[0].item())
    assert seen == {2, 3, 4, 5, 6}


def test_identity_negative_is_any_other_where_asked():
    groups, known = torch.tensor([0, 0, *range(1, 11)]), torch.ones(12, dtype=torch.bool)
    draws = [group_triplets(torch.arange(12.0)[:, None], groups, known, torch.arange(12), torch.full((12, 1, 2), c / 40), 0) for c in range(40)]
    assert {triplets.negative[0].item() for triplets in draws} == set(range(2, 12))


def test_a_repeated_image_is_not_its_own_positive():
    groups, rows, known = torch.tensor([0, 0, 0, 1]), torch.tensor([7, 7, 8, 9]), torch.ones(4, dtype=torch.bool)
    chance = torch.full((4, 1, 2), 0.99)
    by_group = group_triplets(torch.randn(4, 2), groups, known, rows, chance)
    by_label = label_triplets(label_distance(groups), known, rows, chance)
    for triplets in (by_group, by_label):
        assert triplets.positive[0] == 2 and triplets.positive[1] == 2 and not triplets.valid[3]


def test_unknown_labels_make_no_triplets():
    groups, known = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([True, False, True, True, False])
    chance = torch.full((5, 1, 2), 0.0)
    for triplets in (
        group_triplets(torch.randn(5, 2), groups, known, torch.arange(5), chance),
        label_triplets(label_distance(groups), known, torch.arange(5), chance),
    ):
        assert triplets.valid.tolist() == [True, False, True, False, False]
        assert triplets.positive[[0, 2]].tolist() == [[2], [0]] and triplets.negative[[0, 2]].tolist() == [[3], [3]]


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.99])
def test_expression_negative_is_beyond_the_nearest_ten(chance):
    # 60 samples on a line: sample 0's neighbours come in order, so ranks 10 to 59 are samples 10 to 59.
    numbers, known = torch.arange(60.0), torch.ones(60, dtype=torch.bool)
    distance = label_distance(torch.zeros(60), [numbers], [known])
    triplets = label_triplets(distance, known, torch.arange(60), torch.full((60, 1, 2), chance))
    assert triplets.positive[0] == 1
    assert triplets.negative[0] == {0.0: 10, 0.5: 35, 0.99: 59}[chance]


def test_with_categories_alone_the_negative_has_another_label():
    labels, known = torch.arange(30) % 2, torch.ones(30, dtype=torch.bool)
    triplets = label_triplets(label_distance(labels), known, torch.arange(30), torch.rand(30, 5, 2))
    assert triplets.valid.all()
    assert triplets.positive.shape == triplets.negative.shape == (30, 5)
    assert (labels[triplets.positive] == labels[:, None]).all() and (labels[triplets.negative] != labels[:, None]).all()
    assert all(len(set(column.tolist())) > 10 for column in triplets.positive.T)


def test_every_candidate_is_drawn_by_its_share_of_the_interval():
    candidates = torch.tensor([[False, True, False, True, True]])
    assert picked(candidates, torch.tensor([[0.0, 0.3, 0.34, 0.6, 0.67, 0.999]])).tolist() == [[1, 1, 3, 3, 4, 4]]


def stubs(method):
    """Images are codes f: encoder after decoder and map after inverse map are the identity."""
    method.encoder = method.decoder = method.backward_map = nn.Identity()
    method.forward_map.layers = nn.Identity()
    return method


def clusters(method, count=12):
    """A batch whose `pictures` are codes, in which identities lie far apart."""
    data = batch(method.schema, count)
    centres = 10 * torch.eye(4)[torch.arange(count) % 4]
    codes = torch.cat([centres + 0.1 * torch.randn(count, 4), torch.randn(count, 4)], 1)
    return replace(data, images=mad.unit_parts(codes, [4, 4]), labels={"identity": torch.arange(count) % 4})


def test_perfect_networks_have_no_cycle_loss_and_the_shuffled_labels_fit():
    # B4
    torch.manual_seed(0)
    method = stubs(MAD(replace(SMALL, num_latents=8), schema(IDENTITY)))
    data = clusters(method)
    terms = losses(method, data, "maps")
    assert terms["embedding/cyc"][1].item() == pytest.approx(0.0, abs=1e-6)
    order = data.uniform("order").argsort()
    swapped = torch.cat([data.images[order, :4], data.images[:, 4:]], 1)
    expected = method._label_loss(("identity",), swapped, mad.shuffled(data, order), "augmented")
    assert terms["embedding/aug_identity"][1].item() == expected.item() == pytest.approx(0.0, abs=1e-6)


def test_augmentation_with_labels_left_in_place_is_larger(monkeypatch):
    # B4, the mistake
    torch.manual_seed(0)
    method = stubs(MAD(replace(SMALL, num_latents=8), schema(IDENTITY)))
    monkeypatch.setattr(mad, "shuffled", lambda data, order: data)
    assert losses(method, clusters(method), "maps")["embedding/aug_identity"][1].item() > 0.05


def test_every_loss_reaches_its_networks_and_no_other():
    # T-ROUTE; B5: the maps' losses come through the frozen autoencoder.
    for source, title in enumerate(("yaw+pitch+roll", "identity", "expression")):
        shape = schema(YAW, PITCH, ROLL, IDENTITY, EXPRESSION)
        data = replace(batch(shape, 16), source=source)
        torch.manual_seed(0)
        autoencoder, maps = {"encoder", "decoder"}, {"forward_map", "backward_map"}
        critics = {"critic_z/enc": {"critic_z"}, "critic_x/adv": {"critic_x"}, "critic_x/gen": {"critic_x"}}
        assert routes(MAD(SMALL, shape), data, "autoencoder") == {
            **critics,
            "embedding/rec": autoencoder,
            "embedding/enc": {"encoder"},
            "embedding/adv": autoencoder,
            "embedding/gen": {"decoder"},
        }
        assert routes(MAD(SMALL, shape), data, "maps") == {
            "embedding/rec_map": maps,
            f"embedding/label_{title}": {"forward_map"},
            "embedding/cyc": maps,
            f"embedding/aug_{title}": maps,
        }
        assert routes(MAD(SMALL, shape), data, "joint") == {
            **critics,
            "embedding/rec": autoencoder | maps,
            "embedding/enc": {"encoder"},
            "embedding/adv": autoencoder | maps,
            "embedding/gen": {"decoder"},
            "embedding/rec_map": {"encoder"} | maps,
            f"embedding/label_{title}": {"encoder", "forward_map"},
            "embedding/cyc": autoencoder | maps,
            f"embedding/aug_{title}": autoencoder | maps,
        }


def test_critics_losses_are_cut_off_from_the_embedding():
    method = MAD(SMALL, schema(IDENTITY))
    for turn in method.turns(batch(method.schema), Progress(phase="joint")):
        if turn.player != "embedding":
            own = parameters(method, *method.players()["embedding"])
            assert all(slope is None for slope in torch.autograd.grad(turn.total(), own, retain_graph=True, allow_unused=True))


def test_the_cycle_does_not_pull_at_the_codes_it_starts_from():
    torch.manual_seed(0)
    method = MAD(SMALL, schema(IDENTITY)).eval()
    data, weights = batch(method.schema), list(method.forward_map.parameters())
    got = torch.autograd.grad(losses(method, data, "maps")["embedding/cyc"][1], weights)
    f, order = method.forward_map(method.encoder(data.images)), data.uniform("order").argsort()
    swapped = torch.cat([f[order, :4], f[:, 4:]], 1)

    def by_hand(start):
        again = method.forward_map(method.encoder(method.decoder(method.backward_map(start))))
        return torch.autograd.grad((again - start).abs().mean(), weights, retain_graph=True)

    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, by_hand(swapped.detach()), strict=True))
    assert not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(got, by_hand(swapped), strict=True))


def test_frozen_networks_stay_as_they_are(signs, tmp_path):
    # B6, through the engine: ten steps of the maps, after which the autoencoder's weights and statistics have the same bits.
    pack = signs.select("maker", "colour", "shade")
    method = MAD(replace(SMALL, shares=(0.0, 1.0, 0.0)), pack.schema)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    fit(method, pack, TrainConfig(images=160, batch_size=16), tmp_path, settings={"method": "mad"}, quiet=True)
    after = {name.replace("._forward_module", "").replace("._original_module", ""): value for name, value in method.state_dict().items()}
    changed = {name.split(".")[0] for name, value in before.items() if not name.startswith("codebook") and not torch.equal(value, after[name])}
    assert changed == {"forward_map", "backward_map"}


def test_phases_without_share_are_left_out():
    method = MAD(PRESETS["celeba-before-joint"], schema(size=16))
    assert [(p.name, p.share) for p in method.phases()] == [("autoencoder", 235.0), ("maps", 11.0)]
    assert MAD(SMALL, schema()).phases()[1].frozen == ("encoder", "decoder", "critic_z", "critic_x")


def test_critics_take_every_second_and_every_fourth_iteration():
    method = MAD(SMALL, schema())
    data = batch(method.schema)
    turns = [[t.player for t in method.turns(data, Progress(8 * step, 64, "autoencoder"))] for step in range(5)]
    assert turns == [["critic_z", "critic_x", "embedding"], ["embedding"], ["critic_z", "embedding"], ["embedding"], ["critic_z", "critic_x", "embedding"]]


def test_weights_as_released():
    method = MAD(replace(SMALL), schema(YAW, IDENTITY, EXPRESSION))
    weights = {}
    for source in range(3):
        weights |= {name: weight for name, (weight, _) in losses(method, replace(batch(method.schema), source=source)).items()}
    assert weights == {
        "embedding/rec": 255.0, "embedding/enc": 1.0, "embedding/adv": 0.75, "embedding/gen": 0.25,
        "critic_z/enc": 1.0, "critic_x/adv": 0.75, "critic_x/gen": 0.25,
        "embedding/rec_map": 20.0, "embedding/cyc": 5.0,
        "embedding/label_yaw": 5.0, "embedding/aug_yaw": 5.0,
        "embedding/label_identity": 5.0, "embedding/aug_identity": 5.0,
        "embedding/label_expression": 10.0, "embedding/aug_expression": 10.0,
    }  # fmt: skip


def test_reconstruction_is_the_mean_absolute_error_on_the_unit_scale():
    # A black decoder before white images: an error of 1 on [0, 1], 255 times weighted.
    method = MAD(SMALL, schema()).eval()
    method.decoder = Constant()
    data = replace(batch(method.schema), images=torch.ones(8, 3, 16, 16))
    assert losses(method, data, "autoencoder")["embedding/rec"][1].item() == pytest.approx(1.0)


class Constant(nn.Module):
    def forward(self, z):
        return -torch.ones(len(z), 3, 16, 16)


def test_without_cycle_the_maps_learn_from_codes_alone():
    method = MAD(replace(SMALL, cycle_weight=0.0, augmentation_weight=0.0), schema())
    assert set(losses(method, batch(method.schema), "maps")) == {"embedding/rec_map", "embedding/label_Smiling"}


def test_angles_are_radians_and_other_numbers_go_from_minus_one_to_one():
    shade = Attribute("shade", "continuous", low=0.0, high=10.0)
    method = MAD(SMALL, schema(YAW, shade)).eval()
    assert method.label_code("yaw", "90").item() == pytest.approx(np.pi / 2)
    assert method.label_code("shade", 7.5).item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="yaw takes numbers, from -40 to 40 in training, not 'left'"):
        method.label_code("yaw", "left")
    codes = method.encode(batch(method.schema).images)
    assert codes["yaw"].shape == (8, 1) and set_label(method, codes, yaw=20)["yaw"][3].item() == pytest.approx(np.deg2rad(20))


@pytest.mark.parametrize(("kind", "expected"), [("squared", (0.25 + 1.0) / 2 / 2 + 0.04 / 2), ("absolute", (0.5 + 1.0) / 2 / 2 + 0.2 / 2)])
def test_error_of_angles(kind, expected):
    # Guess 0; yaw .5, 1 and twice unknown; pitch four times .2 radians: the mean of two means.
    method = MAD(replace(SMALL, number_error=kind), schema(YAW, PITCH))
    labels = {"yaw": torch.rad2deg(torch.tensor([0.5, 1.0, 0.0, 0.0])), "pitch": torch.rad2deg(torch.full((4,), 0.2))}
    data = known_as(replace(batch(method.schema, 4), labels=labels), yaw=[True, True, False, False])
    loss = method._label_loss(("yaw", "pitch"), torch.zeros(4, 6), data, "label")
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_mirrored_faces_look_and_lean_the_other_way(tmp_path):
    # Trap 9: (pitch, yaw, roll) becomes (pitch, -yaw, -roll).
    pictures = np.zeros((2, 3, 16, 16), np.uint8)
    labels = {"yaw": np.float32([20, 20]), "pitch": np.float32([5, 5]), "roll": np.float32([3, 3])}
    pack = write_pack(tmp_path, pictures, schema(YAW, PITCH, ROLL), ["a.png", "b.png"], labels, ["train", "train"])
    seen = pack.batch([0, 1], mirror=np.array([False, True])).labels
    assert {name: column.tolist() for name, column in seen.items()} == {"yaw": [20, -20], "pitch": [5, 5], "roll": [3, -3]}


def test_cycle_compares_all_but_the_numbers():
    method = MAD(SMALL, schema(YAW, SMILING))
    assert method._cycled(torch.arange(9)[None]).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]
    alone = MAD(replace(SMALL, rest_width=0), schema(YAW, PITCH))
    assert alone._cycled(torch.tensor([[3, 4]])).tolist() == [[3, 4]] and torch.isfinite(losses(alone, batch(alone.schema))["embedding/cyc"][1])


def test_unit_parts_have_length_one_also_after_edits():
    method = MAD(SMALL, schema(YAW, HAIR)).eval()
    codes = method.encode(batch(method.schema).images)
    assert torch.allclose(codes["hair"].norm(dim=1), torch.ones(8)) and torch.allclose(codes["rest"].norm(dim=1), torch.ones(8))
    longer = codes.replace(hair=3 * codes["hair"])
    assert torch.allclose(method.decode(longer), method.decode(codes), atol=1e-5)
    assert not torch.allclose(method.decode(codes.replace(yaw=codes["yaw"] + 3)), method.decode(codes), atol=1e-3)


def test_numbers_of_an_expression_have_no_part():
    method = MAD(SMALL, schema(EXPRESSION, SMILING, VALENCE, AROUSAL))
    assert list(method.parts) == ["expression", "Smiling", "rest"] and method.affect == ("valence", "arousal")
    with pytest.raises(ValueError, match="valence has no part of its own"):
        method.label_code("valence", 0.5)
    assert list(MAD(SMALL, schema(SMILING, VALENCE)).parts) == ["Smiling", "valence", "rest"]


def test_affect_shapes_the_expression_alone():
    method = MAD(SMALL, schema(EXPRESSION, SMILING, VALENCE))
    labels = {"expression": torch.zeros(8, dtype=torch.long), "Smiling": torch.arange(8) % 2, "valence": torch.linspace(-1, 1, 8)}
    data = replace(batch(method.schema), labels=labels)
    part = torch.randn(8, 12)
    one_category = method._label_loss(("expression",), part, data, "label")
    assert one_category > 0
    silent = known_as(data, valence=[False] * 8)
    assert method._label_loss(("expression",), part, silent, "label") == 0
    smiling = [method._label_loss(("Smiling",), part, d, "label").item() for d in (data, silent)]
    assert smiling[0] == smiling[1] > 0


def test_rest_stands_in_for_style():
    assert MAD(replace(SMALL, rest_width=None), schema(IDENTITY)).parts == {"identity": 4, "rest": 32}
    assert MAD(replace(SMALL, rest_width=None), schema(IDENTITY, CLIP)).parts == {"identity": 4, "clip": 4}
    plain = MAD(SMALL, schema(CLIP))
    assert plain.clip == "", "without an identity a clip is a group like any other"


def test_a_batch_trains_what_it_was_drawn_for_or_what_it_knows():
    method = MAD(SMALL, schema(YAW, IDENTITY, SMILING))
    data = batch(method.schema)
    assert method.trained == [("yaw",), ("identity",), ("Smiling",)]

    def trained(source, **known):
        terms = losses(method, replace(known_as(data, **known), source=source), "maps")
        return [name.split("_")[1] for name in terms if name.startswith("embedding/label_")]

    nothing = [False] * 8
    assert [trained(source) for source in range(3)] == [["yaw"], ["identity"], ["Smiling"]]
    assert trained(1, identity=nothing) == ["Smiling"] and trained(2, Smiling=nothing, yaw=nothing) == ["identity"]
    method.config = replace(SMALL, train_all=True)
    assert trained(1) == ["yaw", "identity", "Smiling"]


def test_missing_labels_add_nothing():
    method = MAD(SMALL, schema(YAW, IDENTITY, SMILING))
    data = known_as(batch(method.schema), yaw=[False] * 8, identity=[False] * 8, Smiling=[False] * 8)
    terms = losses(method, data)
    assert terms["embedding/label_yaw"][1] == 0 and all(torch.isfinite(value) for _, value in terms.values())


def test_batches_take_turns_and_hold_what_they_train(signs):
    pack = signs.select("shade", "maker", "lamp")
    sampler = MAD(SMALL, pack.schema).make_sampler(pack, 0, False)
    draws = [sampler.draw(position, 16) for position in range(0, 16 * 8, 16)]
    assert sorted(draw.source for draw in draws) == [0, 0, 1, 1, 1, 2, 2, 2]
    for draw in draws:
        _, counts = np.unique(pack.labels["maker"][draw.rows], return_counts=True)
        assert (counts == 2).all() if draw.source == 1 else (counts < 16).all()


def partly(signs, folder, **labels):
    """The signs with some labels changed."""
    pack = signs.select(*labels)
    changed = {name: change(np.array(pack.labels[name])) for name, change in labels.items()}
    return write_pack(folder, np.asarray(pack.images), pack.schema, pack.files, changed, list(pack.splits))


def test_batches_of_an_attribute_hold_labelled_images_alone(signs, tmp_path):
    pack = partly(signs, tmp_path, lamp=lambda c: np.where(np.arange(400) % 3, -1, c), shade=lambda c: np.where(np.arange(400) % 3 == 1, c, np.nan))
    sampler = MAD(SMALL, pack.schema).make_sampler(pack, 0, True)
    for position in range(0, 160, 16):
        draw = sampler.draw(position, 16)
        assert (draw.rows % 3 == (1 if draw.source == 0 else 0)).all() and draw.mirror is not None


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("lamp", lambda c: np.full(400, -1), "column 'lamp' has fewer than two different labels"),
        ("shade", lambda c: np.full(400, 0.5, np.float32), "column 'shade' has fewer than two different labels"),
        ("maker", lambda c: np.zeros(400, np.int64), "column 'maker' has fewer than two different labels"),
        ("maker", lambda c: np.where(np.arange(400) % 10, -1, c), "no maker of split 'train' has two images"),
    ],
)
def test_attributes_that_cannot_be_trained_are_named_before_the_training(signs, tmp_path, name, change, sentence):
    pack = partly(signs, tmp_path, **{name: change})
    with pytest.raises(ValueError, match=sentence):
        MAD(SMALL, pack.schema).make_sampler(pack, 0, False)


def test_joined_data_sets_take_turns_with_the_attributes_that_each_labels(signs, tmp_path):
    one = signs.select("maker", "shade")
    two = partly(signs, tmp_path, lamp=lambda c: c, shade=lambda c: c)
    pack = join([one, two])
    sampler = MAD(SMALL, pack.schema).make_sampler(pack, 0, False)
    assert list(pack.schema.names) == ["maker", "shade", "lamp"]
    seen = {}
    for position in range(0, 16 * 32, 16):
        draw = sampler.draw(position, 16)
        (source,) = set(pack.sources[draw.rows])  # a batch is of one data set
        seen.setdefault(draw.source, set()).add(source)
    assert seen == {0: {0, 1}, 1: {0}, 2: {1}}, "shade is in both, the maker in the first, the lamp in the second"


def test_rounds_say_how_often_each_is_trained(signs):
    pack = signs.select("shade", "maker", "lamp")
    sampler = MAD(replace(SMALL, rounds=(1, 4, 1)), pack.schema).make_sampler(pack, 0, False)
    assert sorted(sampler.draw(position, 16).source for position in range(0, 96, 16)) == [0, 1, 1, 1, 1, 2]
    with pytest.raises(ValueError, match="rounds has 2 numbers for the 3 that are trained: shade, maker, lamp"):
        MAD(replace(SMALL, rounds=(1, 4)), pack.schema)


def test_without_generative_loss_nothing_is_sampled():
    method = MAD(replace(SMALL, generative_weight=0.0), schema())
    terms = losses(method, batch(method.schema))
    assert "critic_x/adv" in terms and not {"critic_x/gen", "embedding/gen"} & set(terms)


def test_clips_need_persons_with_two(tmp_path):
    pictures = np.zeros((8, 3, 16, 16), np.uint8)
    labels = {"identity": np.arange(8) // 2, "clip": np.arange(8) // 2}
    files = [f"{i}.png" for i in range(8)]
    pack = write_pack(tmp_path / "one", pictures, schema(IDENTITY, CLIP), files, labels, ["train"] * 8)
    with pytest.raises(ValueError, match="no identity of split 'train' has two values of column 'clip'"):
        MAD(SMALL, pack.schema).make_sampler(pack, 0, False)
    labels = {"identity": np.arange(8) // 4, "clip": np.arange(8) // 2}
    pack = write_pack(tmp_path / "two", pictures, schema(IDENTITY, CLIP), files, labels, ["train"] * 8)
    draw = MAD(SMALL, pack.schema).make_sampler(pack, 0, False).draw(8, 8)
    assert draw.source == 1 and sorted(draw.rows) == list(range(8))


def test_settings_that_do_not_fit_the_attributes():
    with pytest.raises(ValueError, match="mad needs at least one attribute"):
        MAD(SMALL, Schema())
    with pytest.raises(ValueError, match="clip must name an attribute of kind 'group', not 'Smiling'; there are identity"):
        MAD(replace(SMALL, clip="Smiling"), schema(IDENTITY, SMILING))
    with pytest.raises(ValueError, match="'clip' cannot be a clip without another"):
        MAD(replace(SMALL, clip="clip"), schema(CLIP))
    with pytest.raises(ValueError, match="expression must name a binary or categorical attribute; 'yaw' is continuous"):
        MAD(replace(SMALL, expression="yaw"), schema(YAW))
    with pytest.raises(ValueError, match="an attribute cannot be called 'rest'"):
        MAD(SMALL, schema(Attribute("rest", "binary", ("0", "1"))))
    with pytest.raises(ValueError, match="part_width=1"):
        MAD(replace(SMALL, part_width=1), schema())


def test_groups_are_swapped_and_not_set():
    method = MAD(SMALL, schema(IDENTITY, SMILING)).eval()
    with pytest.raises(ValueError, match=r"identity is a group.*swap the part 'identity'"):
        method.label_code("identity", "a")
    with pytest.raises(ValueError, match="no attribute 'hat'"):
        method.label_code("hat", 1)
    assert set(method.predict(method.encode(batch(method.schema).images))) == {"Smiling"}


def test_maps_have_their_own_rate():
    method = MAD(SMALL, schema())
    groups = method.optimizer("embedding", parameters(method, *method.players()["embedding"])).param_groups
    assert [(g["lr"], g["betas"]) for g in groups] == [(5e-5, (0.0, 0.999)), (1e-4, (0.9, 0.999))]
    assert len(groups[1]["params"]) == len(parameters(method, "forward_map", "backward_map"))
    assert method.optimizer("critic_x", parameters(method, "critic_x")).param_groups[0]["lr"] == 2.5e-5


def test_samples_depend_on_their_seed_alone():
    method = MAD(SMALL, schema()).eval()
    first = method.sample(3, seed=1)
    assert first.shape == (3, 3, 16, 16) and torch.equal(first, method.sample(3, seed=1)) and not torch.equal(first, method.sample(3, seed=2))


@pytest.mark.parametrize("max_pool", [False, True])
@pytest.mark.parametrize(("height", "width", "channels"), [(16, 24, 1), (32, 32, 4), (64, 48, 3)])
def test_images_of_other_shapes(height, width, channels, max_pool):
    method = MAD(replace(SMALL, encoder_max_pool=max_pool), Schema((SMILING,), height=height, width=width, channels=channels))
    data = batch(method.schema, 4)
    assert all(torch.isfinite(value) for _, value in losses(method, data).values())
    assert method.decode(method.encode(data.images)).shape == data.images.shape


def resnet18(width=64):
    """A state dict with torchvision's names."""
    encoder = ResNet(3, width, blocks=2, outputs=8)
    return {name: torch.full_like(value, 0.01) for name, value in encoder.state_dict().items() if not name.startswith("fc.")}


def test_encoder_starts_from_imagenet_weights(tmp_path):
    path = tmp_path / "resnet18.safetensors"
    weights = resnet18()
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.1.weight", "layer4.1.bn2.num_batches_tracked"} <= set(weights)
    assert len(weights) == 120, "torchvision's resnet18 has 122 entries with its last layer's two"
    save_file({**weights, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, path)
    method = MAD(Config(imagenet=str(path)), schema())
    assert (method.encoder.layer3[1].conv2.weight == 0.01).all() and not (method.encoder.fc.weight == 0.01).all()


def test_imagenet_files_that_do_not_fit(tmp_path, signs):
    path = tmp_path / "weights.safetensors"
    save_file(resnet18(width=32), path)
    with pytest.raises(ValueError, match=r"does not fit the encoder: .*conv1.weight \(32, 3, 7, 7\), not \(64, 3, 7, 7\)"):
        MAD(Config(imagenet=str(path)), schema())
    path.write_bytes(b"\x80\x02 a pickle")
    with pytest.raises(ValueError, match="is no safetensors file"):
        MAD(Config(imagenet=str(path)), schema())
    pack = signs.select("lamp")
    method = MAD(replace(SMALL, imagenet=str(tmp_path / "gone")), pack.schema)  # a trained model opens without the file
    with pytest.raises(ValueError, match=r"there is no file .*gone with ImageNet weights"):
        method.make_sampler(pack, 0, False)
