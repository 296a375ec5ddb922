"""Cycle-consistent VAE against numbers worked by hand, and the routes of its two cycles."""

import math
from dataclasses import replace

import pytest
import torch
from games import Stub, batch, losses, optimizers, parameters, routes, schema

from recombine.data.schema import Attribute
from recombine.method import Progress
from recombine.methods.cyclevae import PRESETS, Config, CycleVAE

PERSON = Attribute("person", "group", tuple("abcd"))
SHAPE = schema(PERSON)
SMALL = Config(width=4, pose_size=2, appearance_size=1)


def make(config=SMALL):
    torch.manual_seed(0)
    return CycleVAE(config, SHAPE)


def plain(images):
    """Codes of plain images in [0, 1] with value v: pose (v, 2 v) of no variance, appearance v."""
    v = images.mean((1, 2, 3))[:, None]
    return torch.cat([v, 2 * v, torch.full_like(v, -99).expand(-1, 2), v], 1)


def rendered(codes):
    """Logits of a plain image whose value is the appearance."""
    return codes[:, 2].logit()[:, None, None, None].expand(-1, 3, 16, 16)


def plain_method(values, partners):
    """The method with these networks, and a batch of plain images."""
    method, data = make(), batch(SHAPE, len(values), partner=True)
    first, second = (torch.tensor(v)[:, None, None, None].expand(-1, 3, 16, 16) * 2 - 1 for v in (values, partners))
    method.encoder, method.decoder = Stub(plain), Stub(rendered)
    return method, replace(data, images=first, partner=replace(data.partner, images=second))


def test_images_swap_their_appearance_and_keep_their_pose():
    # Reconstructed values are those of the partners, so each of the two images of a pair errs by 0.1^2 or 0.5^2: 2 x 0.13.
    method, data = plain_method([0.2, 0.3], [0.3, 0.8])
    assert losses(method, data)["autoencoder/rec"] == (2.0, pytest.approx(0.26, abs=1e-6))
    expected = [[0.2, 0.4, 0.3], [0.3, 0.6, 0.8], [0.3, 0.6, 0.2], [0.8, 1.6, 0.3]]
    assert torch.allclose(method.decoder.seen[0][0], torch.tensor(expected), atol=1e-5)


def test_pose_is_sampled_from_its_distribution():
    method, data = plain_method([0.2, 0.3], [0.3, 0.8])
    method.encoder = Stub(lambda x: plain(x).index_fill(1, torch.tensor([2, 3]), math.log(4)))
    next(method.turns(data, Progress()))
    noise = torch.cat([data.noise("pose", 2), data.partner.noise("pose", 2)])
    means = torch.tensor([[0.2, 0.4], [0.3, 0.6], [0.3, 0.6], [0.8, 1.6]])
    assert torch.allclose(method.decoder.seen[0][0][:, :2], means + 2 * noise, atol=1e-5)


def test_divergence_is_that_of_both_images_over_their_pixels_and_channels():
    # Means (1, -1), variances (1, 4): 2.5 - ln 2 = 1.806853 nats for each image, over 3 x 16 x 16 numbers, twice.
    method, data = plain_method([0.2, 0.3], [0.3, 0.8])
    method.encoder = Stub(lambda x: torch.tensor([1.0, -1.0, 0.0, math.log(4), 0.5]).expand(len(x), -1))
    assert losses(method, data)["autoencoder/kl"] == (3.0, pytest.approx(2 * 1.806853 / 768, rel=1e-5))


def test_one_pose_decoded_with_two_appearances_is_encoded_again():
    # Images 0.2, 0.8, 0.6 and, with the appearance of the one before, 0.6, 0.2, 0.8. The poses differ by 0.4, 0.6 and 0.2,
    # and twice that in their second number: mean 0.4 x 1.5 = 0.6.
    method, data = plain_method([0.2, 0.8, 0.6], [0.5, 0.5, 0.5])
    assert losses(method, data)["autoencoder/reverse"] == (10.0, pytest.approx(0.6, abs=1e-5))
    first, second = method.decoder.seen[1][0].chunk(2)
    assert torch.equal(first[:, :2], data.noise("prior", 2)) and torch.equal(first[:, :2], second[:, :2])


def test_every_loss_reaches_its_networks_and_no_other():
    # T-ROUTE: the reverse cycle is the encoder's alone.
    assert routes(make(), batch(SHAPE, partner=True)) == {
        "autoencoder/rec": {"encoder", "decoder"},
        "autoencoder/kl": {"encoder"},
        "autoencoder/reverse": {"encoder"},
    }


def test_reverse_cycle_steps_the_encoder_after_the_forward_one_and_leaves_the_decoder():
    method, data = make(), batch(SHAPE, partner=True)
    (optimizer,), moved = optimizers(method).values(), []
    for turn in method.turns(data, Progress()):
        before = {name: [w.clone() for w in parameters(method, name)] for name in ("encoder", "decoder")}
        optimizer.zero_grad()
        turn.total().backward()
        optimizer.step()
        moved.append({name for name, old in before.items() if not all(map(torch.equal, old, parameters(method, name)))})
    assert moved == [{"encoder", "decoder"}, {"encoder"}]


def test_appearances_of_the_reverse_cycle_are_those_of_the_stepped_encoder():
    method, data = make().eval(), batch(SHAPE, partner=True)
    found = []
    method.decoder.register_forward_hook(lambda _, inputs, __: found.append(inputs[0]))
    turns = method.turns(data, Progress())
    next(turns)
    with torch.no_grad():
        for weight in method.encoder.parameters():
            weight += 0.1 * torch.randn_like(weight)
    next(turns)
    assert torch.allclose(found[1][:8, 2:], method.encode(data.images)["appearance"], atol=1e-6)


@pytest.mark.parametrize(("name", "kl", "reverse"), [("paper", 3.0, 10.0), ("small", 0.1, 0.1)])
def test_presets_set_the_weights(name, kl, reverse):
    terms = losses(make(PRESETS[name]), batch(SHAPE, partner=True))
    assert {loss: weight for loss, (weight, _) in terms.items()} == {"autoencoder/rec": 2.0, "autoencoder/kl": kl, "autoencoder/reverse": reverse}
