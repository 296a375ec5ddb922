"""DrNet against numbers worked by hand, the routes of its losses, and which pairs are negatives."""

import math
from dataclasses import replace

import pytest
import torch
from games import batch, losses, optimizers, parameters, routes, schema
from torch import nn

from recombine.data.schema import Attribute
from recombine.method import Progress
from recombine.methods.drnet import PRESETS, Config, DrNet, scene_loss

PERSON = Attribute("person", "group", tuple("abcd"))
SHAPE = schema(PERSON)
SMALL = Config(width=4, pose_size=2, appearance_size=3, scene_width=8)


def make(config=SMALL):
    torch.manual_seed(0)
    return DrNet(config, SHAPE)


class Fixed(nn.Module):
    """Gives the same numbers for every input, and keeps the inputs."""

    def __init__(self, values):
        super().__init__()
        self.values, self.seen = nn.Parameter(values), []

    def forward(self, x):
        self.seen.append(x)
        return self.values + 0


def people(data, *labels):
    """The batch with these labels, all known."""
    return replace(data, labels={"person": torch.tensor(labels)}, known={"person": torch.ones(len(labels), dtype=torch.bool)})


def test_scene_loss_by_hand():
    # Same: (ln 2 + ln 4/3) / 2 = 0.490415. Other: ln 2 and ln 4, of which the first counts, both, or none.
    logits = torch.tensor([[0.0], [math.log(3)]])
    found = [scene_loss(logits, logits, torch.tensor(negative)).item() for negative in ([True, False], [True, True], [False, False])]
    assert found == pytest.approx([0.5 * (0.490415 + 0.693147), 0.5 * (0.490415 + 1.039721), 0.5 * 0.490415], abs=1e-6)


def test_the_pose_encoder_makes_the_discriminator_undecided():
    # A logit of ln 3 is a probability of 3/4: -(ln 3/4 + ln 1/4) / 2 = 0.836988; undecided, ln 2.
    for logit, expected in ((math.log(3), 0.836988), (0.0, math.log(2))):
        method = make()
        method.scene = Fixed(torch.full((8, 1), logit))
        weight, value = losses(method, batch(SHAPE, partner=True))["autoencoder/adv"]
        assert weight == 0.1 and value.item() == pytest.approx(expected, abs=1e-6)


def test_contents_of_a_clip_must_agree_and_the_second_frame_is_reconstructed():
    # Contents 0.1 and 0.4 apart: mean of 0.01 and 0.16. An image of 1/2 against images in [0, 1].
    method, data = make(), batch(SHAPE, 2, partner=True)
    method.pose_encoder = Fixed(torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]]))
    method.appearance_encoder = Fixed(torch.tensor([[0.1] * 3, [0.2] * 3, [0.2] * 3, [0.6] * 3]))
    method.decoder = Fixed(torch.zeros(2, 3, 16, 16))
    terms = {name: (weight, value.item()) for name, (weight, value) in losses(method, data).items()}
    assert terms["autoencoder/similarity"] == (1.0, pytest.approx(0.085, abs=1e-6))
    assert terms["autoencoder/rec"] == (1.0, pytest.approx((data.partner.images / 2).square().mean().item(), rel=1e-5))
    pose_2, content_1 = method.pose_encoder.values[2:], method.appearance_encoder.values[:2]
    assert torch.equal(method.decoder.seen[0], torch.cat([pose_2, content_1], 1))


def test_every_loss_reaches_its_networks_and_no_other():
    # T-ROUTE
    assert routes(make(), batch(SHAPE, partner=True)) == {
        "scene/bce": {"scene"},
        "autoencoder/rec": {"pose_encoder", "appearance_encoder", "decoder"},
        "autoencoder/similarity": {"appearance_encoder"},
        "autoencoder/adv": {"pose_encoder"},
    }


def test_discriminator_s_own_loss_does_not_reach_the_poses():
    method = make()
    turn = next(method.turns(batch(SHAPE, partner=True), Progress()))
    slopes = torch.autograd.grad(turn.total(), parameters(method, "pose_encoder", "appearance_encoder", "decoder"), allow_unused=True)
    assert turn.player == "scene" and all(slope is None for slope in slopes)


def test_only_the_second_pose_of_a_pair_moves_towards_indecision():
    method = make()
    method.pose_encoder = Fixed(torch.randn(16, 2))
    *_, turn = method.turns(batch(SHAPE, partner=True), Progress())
    (slope,) = torch.autograd.grad(turn.losses["adv"][1], method.pose_encoder.values)
    assert not slope[:8].any() and slope[8:].abs().sum(1).all()


def test_a_neighbour_of_the_same_clip_is_no_negative():
    method, data = make(), people(batch(SHAPE, 4, partner=True), 0, 0, 1, 2)
    poses = torch.randn(8, 2)
    method.pose_encoder = Fixed(poses)
    same, other = (method.scene(torch.cat([poses[:4], second], 1)) for second in (poses[4:], poses[4:].roll(1, 0)))
    expected = scene_loss(same, other, torch.tensor([True, False, True, True]))
    assert torch.allclose(losses(method, data)["scene/bce"][1], expected)
    unknown = replace(data, known={"person": torch.zeros(4, dtype=torch.bool)})
    assert torch.allclose(losses(method, unknown)["scene/bce"][1], scene_loss(same, other, torch.ones(4, dtype=torch.bool)))


def test_accuracy_counts_both_kinds_of_pairs():
    # Positives are classified (same, same, other, same), negatives (other, same, -, other): 5 of 7.
    method, data = make(), people(batch(SHAPE, 4, partner=True), 0, 1, 1, 2)
    scores = iter([[1.0, 2.0, -1.0, 1.0], [-1.0, 1.0, 9.0, -2.0]])
    method._scene = lambda first, second: torch.tensor(next(scores))[:, None]
    assert next(method.turns(data, Progress())).measures["scene_accuracy"].item() == pytest.approx(5 / 7)


def test_the_discriminator_moves_first_and_the_others_use_its_new_weights():
    method, data = make().eval(), batch(SHAPE, partner=True)
    turns = method.turns(data, Progress())
    assert next(turns).player == "scene"
    with torch.no_grad():
        for weight in method.scene.parameters():
            weight.zero_()
    assert next(turns).losses["adv"][1].item() == pytest.approx(math.log(2))
    assert {player: len(o.param_groups) for player, o in optimizers(method).items()} == {"scene": 1, "autoencoder": 1}


def test_contents_cannot_agree_by_being_small():
    method, images = make(), batch(SHAPE).images
    before = method.appearance_encoder(images)
    linear = next(layer for layer in method.appearance_encoder if isinstance(layer, nn.Linear))
    with torch.no_grad():
        linear.weight *= 0.2
    after = method.appearance_encoder(images)
    assert before.std() > 0.4 and after.std() > 0.4 and before.abs().max() <= 1


@pytest.mark.parametrize(("name", "adv", "pose"), [("paper", 0.1, 5), ("small", 0.02, 16)])
def test_presets_set_beta_and_the_length_of_the_pose(name, adv, pose):
    method, data = make(PRESETS[name]), batch(SHAPE, partner=True)
    weights = {loss: weight for loss, (weight, _) in losses(method, data).items()}
    assert weights == {"scene/bce": 1.0, "autoencoder/rec": 1.0, "autoencoder/similarity": 1.0, "autoencoder/adv": adv}
    assert {part: code.shape for part, code in method.encode(data.images).items()} == {"pose": (8, pose), "appearance": (8, 64)}
