"""RoDi against numbers worked by hand, its routes, its estimator of information, and the drill in which T is fooled."""

import math
from dataclasses import replace

import pytest
import torch
from games import HAIR, SMILING, batch, optimizers, parameters, routes, schema
from safetensors.torch import save_file
from torch import nn

from recombine.codes import Codes
from recombine.data.batch import Batch
from recombine.data.samplers import Pairs
from recombine.data.schema import Attribute
from recombine.method import Progress, Unsupported
from recombine.methods.rodi import (
    PRESETS,
    Config,
    Decoder,
    Estimator,
    Residual,
    RoDi,
    constraint,
    estimation,
    next_gamma,
)
from recombine.methods.shared.gaussians import DiagonalGaussian
from recombine.methods.shared.pretrained import VGG19, VGGFeatures, cropped

PERSON = Attribute("person", "group", tuple("abcd"))
SHAPE = schema(PERSON)
SMALL = Config(
    widths=(4, 6, 8), decoder_widths=(8, 6, 4), blocks=1, decoder_blocks=1, pose_size=3, appearance_size=5, mi_width=8,
    mi_blocks=1, mi_size=4, warmup_images=0,
)  # fmt: skip
VECTOR = replace(SMALL, codes="vector", decoder_widths=(8, 6, 4))
EVERY = pytest.mark.parametrize("config", [SMALL, VECTOR], ids=["spatial", "vector"])


def make(config=SMALL, shape=SHAPE):
    torch.manual_seed(0)
    return RoDi(config, shape)


def losses(method, data, progress=None):
    """`player/loss` -> (weight, value) of one step without stepping."""
    return {f"{t.player}/{name}": pair for t in method.turns(data, progress or Progress()) for name, pair in t.losses.items()}


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def test_parameter_counts_of_the_human_preset_are_those_of_the_released_networks():
    with torch.device("meta"):
        method = RoDi(replace(PRESETS["human"], vgg_weights="vgg19.safetensors"), schema(PERSON, size=256))
    assert {name: count(network) for name, network in method.named_children() if count(network)} == {
        "pose_encoder": 14_708_128,
        "appearance_encoder": 6_253_856,
        "decoder": 16_978_499,
        "mi": 2_889_728,
        "mi_measured": 2_889_728,
    }


def test_parameter_counts_of_the_sprites_preset_are_those_of_its_layers():
    def conv(inputs, outputs, kernel=3):
        return inputs * outputs * kernel**2 + outputs

    trunk = conv(3, 16) + sum(conv(a, a) + conv(a, b, 4) for a, b in [(16, 32), (32, 128), (128, 256), (256, 256)]) + 5 * conv(256, 256)
    doubled = sum(conv(a, a) + conv(a, 4 * b) for a, b in [(256, 128), (128, 64), (64, 32), (32, 16)])
    decoder = conv(32, 256) + 4 * conv(256, 256) + doubled + conv(16, 16) + conv(16, 3)
    tower = conv(16, 512) + 4 * conv(512, 512) + conv(512, 16)
    with torch.device("meta"):
        method = RoDi(PRESETS["sprites"], schema(PERSON, size=64))
    assert {name: count(network) for name, network in method.named_children() if count(network)} == {
        "pose_encoder": trunk + conv(256, 32),
        "appearance_encoder": trunk + conv(256, 16),
        "decoder": decoder,
        "mi": 2 * tower,
        "mi_measured": 2 * tower,
    }
    assert (count(method.pose_encoder), count(method.decoder), count(method.mi)) == (5_421_104, 4_788_579, 19_174_432)
    assert method.pose_shape == (16, 4, 4)


def test_information_bound_is_an_augmented_lagrangian():
    # D1: 0.5 * 0.1 + 0.05 * 0.1^2 = 0.0505, slope 0.5 + 0.1 * 0.1 = 0.51; far below the bound -0.5^2 / 0.2 = -1.25.
    above, below = (torch.tensor(mi, requires_grad=True) for mi in (0.225, -5.875))
    loss = constraint(above, 0.125, 0.5, 0.1)
    assert loss.item() == pytest.approx(0.0505, abs=1e-6)
    assert torch.autograd.grad(loss, above)[0].item() == pytest.approx(0.51, abs=1e-6)
    loss = constraint(below, 0.125, 0.5, 0.1)
    assert loss.item() == pytest.approx(-1.25) and torch.autograd.grad(loss, below)[0].item() == 0


def test_multiplier_follows_the_bound():
    # D1
    method = make(replace(SMALL, target=0.125, multiplier=0.5))
    method.control({"I_T": 0.225, "I_T'": 0.225}, Progress())
    assert method.controllers["lambda"] == pytest.approx(0.51)
    method.controllers["lambda"] = 0.5
    method.control({"I_T": -5.875, "I_T'": 0.0}, Progress())
    assert method.controllers["lambda"] == 0


def test_gamma_follows_the_gap_of_the_two_estimates():
    # D2: 7.5 + 0.01 * (0.3 - 0.1 - 0.01) = 7.5019, and 7.5 - 0.01 * 0.01 = 7.4999.
    assert next_gamma(7.5, 0.3 - 0.1 - 0.01, 0.01) == pytest.approx(7.5019)
    for measured, gamma in ((0.3, 7.5019), (0.1, 7.4999)):
        method = make(replace(SMALL, gamma=7.5, smoothing=0.0))
        method.control({"I_T": 0.1, "I_T'": measured}, Progress())
        assert method.controllers["gamma"] == pytest.approx(gamma)
    assert next_gamma(0.0, -0.5, 0.01) == 0.0


def test_gamma_of_each_ablation():
    def after(**fields):
        method = make(replace(SMALL, gamma=2.0, smoothing=0.0, target=0.1, **fields))
        method.control({"I_T": 0.1, "I_T'": 0.3}, Progress())
        return method.controllers["gamma"]

    assert after() == pytest.approx(2.0 + 0.01 * (0.2 - 0.01))
    assert after(gamma_bias=0.0) == pytest.approx(2.0 + 0.01 * 0.2)
    assert after(gamma_rule="target") == pytest.approx(2.0 + 0.01 * (0.3 - 0.1))
    assert after(gamma_rule="fixed") == 2.0


def test_averages_start_at_zero_or_are_corrected():
    # Two steps of I_T' = 0.4, I_T = 0: the average is 0.4 (1 - 0.99^2) = 0.00796, or 0.4 when corrected.
    for averaging, gap in (("zero", 0.4 * (1 - 0.99**2)), ("corrected", 0.4)):
        method = make(replace(SMALL, averaging=averaging, gamma_rate=1.0, gamma_bias=0.0))
        method.control({"I_T": 0.0, "I_T'": 0.4}, Progress())
        before = method.controllers["gamma"]
        method.control({"I_T": 0.0, "I_T'": 0.4}, Progress())
        assert method.controllers["gamma"] - before == pytest.approx(gap)


def test_clipping_keeps_gap_and_gamma_in_range():
    def after(mi, measured, clipped, gamma=1.0):
        method = make(replace(SMALL, smoothing=0.0, clipped=clipped, gamma=gamma, gamma_rate=1.0, gamma_bias=0.25))
        method.control({"I_T": mi, "I_T'": measured}, Progress())
        return method.controllers["gamma"]

    assert after(0.5, 0.1, True) == 0.75 and after(0.5, 0.1, False) == pytest.approx(0.35)  # gap -0.4 counts as 0
    assert after(-0.5, 0.1, True) == pytest.approx(0.85)                                    # I_T = -0.5 counts as 0
    assert after(0.0, 99.0, True) == 1 + 10 - 0.25 and after(0.0, 99.0, True, gamma=999.0) == 1000.0


def test_warm_up_leaves_lambda_and_gamma_alone_and_the_adversary_out():
    method = make(replace(SMALL, warmup_images=100))
    data = batch(SHAPE, partner=True)
    for seen, changed in ((99, False), (100, True)):
        progress = Progress(images_seen=seen, images=1000)
        assert ("autoencoder/mi" in losses(method, data, progress)) is changed
        method.control({"I_T": 1.0, "I_T'": 2.0}, progress)
        assert (method.controllers["lambda"] > 0, method.controllers["gamma"] > 1) == (changed, changed)


def test_estimation_loss_by_hand():
    # D3: half of the mean of softplus(-2) and softplus(0), plus half of the mean of softplus(-1) and softplus(3).
    logits = torch.tensor([[2.0, -1.0], [3.0, 0.0]])
    marginal = ~torch.eye(2, dtype=torch.bool)
    assert estimation(logits, marginal).item() == pytest.approx(1.045481, abs=1e-6)
    assert logits.diagonal().mean() == 1.0
    # Without the pair at [1, 0], and without both: (0.126928 + 0.693147) / 4 + 0.313262 / 2, and the first half alone.
    marginal[1, 0] = False
    assert estimation(logits, marginal).item() == pytest.approx(0.361650, abs=1e-6)
    assert estimation(logits, torch.zeros(2, 2, dtype=torch.bool)).item() == pytest.approx(0.205019, abs=1e-6)


def test_marginal_pairs_are_the_reversed_batch_or_all_of_different_people():
    data = batch(SHAPE, 4, partner=True)
    data = replace(data, labels={"person": torch.tensor([0, 1, 1, 2])}, known={"person": torch.ones(4, dtype=torch.bool)})
    unknown = replace(data, known={"person": torch.zeros(4, dtype=torch.bool)})
    method = make(replace(SMALL, marginal="reversed"))
    assert method._marginal(unknown).int().tolist() == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert method._marginal(data).int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    method = make(replace(SMALL, marginal="all"))
    assert method._marginal(data).int().tolist() == [[0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]]


@torch.no_grad()
def test_logits_are_inner_products_of_every_pose_with_every_appearance():
    torch.manual_seed(0)
    estimator = Estimator(SMALL)
    pose, appearance = torch.randn(6, 3, 4, 4), torch.randn(6, 5, 4, 4)
    logits = estimator(pose, appearance)
    alone = (estimator.pose(pose[1:2]) * estimator.appearance(appearance[4:5])).sum()
    assert logits.shape == (6, 6) and torch.allclose(logits[1, 4], alone, atol=1e-5)


@EVERY
def test_every_loss_reaches_its_networks_and_no_other(config):
    # D5, T-ROUTE
    method = make(replace(config, visualisers=True, multiplier=1.0))
    assert routes(method, batch(SHAPE, partner=True)) == {
        "autoencoder/rec": {"pose_encoder", "appearance_encoder", "decoder"},
        "autoencoder/kl": {"pose_encoder"},
        "autoencoder/mi": {"pose_encoder"},
        "mi/t": {"mi"},
        "mi_measured/t": {"mi_measured"},
        "visualisers/pose": {"pose_visualiser"},
        "visualisers/appearance": {"appearance_visualiser"},
    }


def test_what_measures_and_visualisers_are_cut_off_from_the_codes():
    method = make(replace(SMALL, visualisers=True))
    own = method.players()
    for turn in method.turns(batch(SHAPE, partner=True), Progress()):
        others = [w for player, names in own.items() if player != turn.player for w in parameters(method, *names)]
        if turn.player not in ("autoencoder", "mi"):
            slopes = torch.autograd.grad(turn.total(), others, retain_graph=True, allow_unused=True)
            assert all(slope is None for slope in slopes), turn.player


@EVERY
@pytest.mark.parametrize("warmup_images", [0, 100])
def test_the_estimator_descends_as_if_it_judged_the_codes_anew_after_the_encoders_have_moved(config, warmup_images):
    method, seen = make(replace(config, warmup_images=warmup_images, multiplier=1.0)), []
    method.mi.register_forward_pre_hook(lambda _, codes: seen.append([code.detach() for code in codes]))
    data, own = batch(SHAPE, partner=True), parameters(method, "mi")
    game, stepper = method.turns(data, Progress()), optimizers(method)["autoencoder"]
    turn = next(game)
    turn.total().backward(inputs=parameters(method, *method.players()["autoencoder"]), retain_graph=turn.keep_graph)
    stepper.step()
    turn, codes = next(game), *seen
    anew = estimation(method.mi(*codes), method._marginal(data))
    assert turn.player == "mi" and turn.total().item() == pytest.approx(anew.item(), abs=1e-6)
    for found, wanted in zip(torch.autograd.grad(turn.total(), own), torch.autograd.grad(anew, own), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_measuring_estimator_changes_no_gradient_of_the_encoders():
    # D5: the one that measures must not be felt.
    method, data = make(replace(SMALL, multiplier=1.0)), batch(SHAPE, partner=True)

    def slopes():
        turn = next(method.turns(data, Progress()))
        return torch.autograd.grad(turn.total(), parameters(method, "pose_encoder", "appearance_encoder", "decoder"))

    before = slopes()
    with torch.no_grad():
        for weight in method.mi_measured.parameters():
            weight += torch.randn_like(weight)
    assert all(torch.equal(a, b) for a, b in zip(before, slopes(), strict=True))
    with torch.no_grad():
        for weight in method.mi.parameters():
            weight += torch.randn_like(weight)
    assert not all(torch.equal(a, b) for a, b in zip(before, slopes(), strict=True))


def test_players_move_in_the_paper_s_order():
    method = make(replace(SMALL, visualisers=True))
    order = [turn.player for turn in method.turns(batch(SHAPE, partner=True), Progress())]
    assert order == ["autoencoder", "mi", "mi_measured", "visualisers"]
    rates = {player: o.param_groups[0]["lr"] for player, o in optimizers(make(replace(SMALL, mi_rate=2.0))).items()}
    assert rates == {"autoencoder": 2e-4, "mi": 4e-4, "mi_measured": 4e-4}


def test_pose_comes_from_the_second_image_and_appearance_from_the_first():
    method, data = make(), batch(SHAPE, partner=True)
    seen = {}
    method.pose_encoder.register_forward_hook(lambda _, inputs, __: seen.update(pose=inputs[0]))
    method.appearance_encoder.register_forward_hook(lambda _, inputs, __: seen.update(appearance=inputs[0]))
    next(method.turns(data, Progress()))
    assert seen["pose"] is data.partner.images and seen["appearance"] is data.images


def test_the_second_image_is_rebuilt_and_its_error_summed_over_pixels():
    data = batch(SHAPE, partner=True)
    for kind, power in (("l2", 2), ("l1", 1)):
        method = make(replace(SMALL, reconstruction=kind))
        for weight in method.decoder.layers[-1].parameters():
            nn.init.zeros_(weight)
        expected = data.partner.images.abs().pow(power).sum().item() / 8
        assert losses(method, data)["autoencoder/rec"][1].item() == pytest.approx(expected, rel=1e-5)


def trained_estimator(draw, config, steps):
    """T after a training on codes that `draw` yields, and its estimate on fresh ones."""
    torch.manual_seed(0)
    estimator = Estimator(config)
    optimizer = torch.optim.Adam(estimator.parameters(), lr=3e-3, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    marginal = ~torch.eye(256, dtype=torch.bool)
    for _ in range(steps):
        optimizer.zero_grad()
        estimation(estimator(*draw(256)), marginal).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return torch.cat([estimator(*draw(1000)).diagonal() for _ in range(200)]).mean().item()


def test_estimator_finds_the_information_of_two_correlated_numbers():
    # D6: -0.5 ln(1 - 0.5^2) = 0.143841 nats.
    def draw(size):
        x = torch.randn(size, 1)
        return x, 0.5 * x + math.sqrt(0.75) * torch.randn(size, 1)

    config = Config(codes="vector", pose_size=1, appearance_size=1, mi_width=32, mi_blocks=1, mi_size=16)
    assert trained_estimator(draw, config, 400) == pytest.approx(0.143841, abs=0.02)


class Watermark(nn.Module):
    """An encoder whose code shows the appearance, turned on with every step; if `fooling`, also what makes T overlook it."""

    def __init__(self, mi, fooling):
        super().__init__()
        self.anchor = nn.Parameter(torch.ones(()))
        self.mi, self.fooling, self.step = [mi], fooling, 0

    def forward(self, images):
        appearance = images[:, 0, 0, :8]
        angle = torch.tensor(0.05 * self.step)
        pose = torch.cat([appearance * angle.cos() + appearance.roll(1, 1) * angle.sin(), torch.zeros(len(images), 100)], 1)
        for _ in range(5 if self.fooling else 0):
            pose = pose.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.mi[0](pose, appearance).diagonal().sum(), pose)
            slope[:, :8] = 0
            pose = pose - 2 * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-6)
        return torch.cat([pose, torch.full_like(pose, -12.0)], 1) * self.anchor


def overpowered(fooling, steps=150):
    """Controllers after a training of T and T' against such an encoder."""
    torch.manual_seed(0)
    config = replace(SMALL, pose_size=108, appearance_size=8, mi_width=32, mi_size=32, learning_rate=3e-3, codes="vector")
    method = RoDi(config, SHAPE)
    method._distribution = lambda images: DiagonalGaussian.of(method.pose_encoder(images))
    method.pose_encoder, method.appearance_encoder = Watermark(method.mi, fooling), Watermark(method.mi, False)
    method.appearance_encoder.forward = lambda images: images[:, 0, 0, :8] * method.appearance_encoder.anchor
    method.decoder = Decoder(replace(config, widths=(2, 2), decoder_widths=(2, 2)), 3, (108, 8), (8, 8))
    steppers = {player: o for player, o in optimizers(method).items() if player != "autoencoder"}
    people = torch.arange(32)
    for step in range(steps):
        images = torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(step))
        data = Batch(images, {"person": people}, {"person": people >= 0}, people, seed=step, whole=32)
        method.pose_encoder.step, measured = step, {}
        for turn in method.turns(replace(data, partner=data), Progress()):
            measured |= {name: value.item() for name, value in turn.measures.items()}
            if turn.player in steppers:
                steppers[turn.player].zero_grad()
                turn.total().backward(inputs=parameters(method, turn.player))
                steppers[turn.player].step()
        method.control(measured, Progress())
    return method.controllers


def test_an_encoder_that_fools_its_adversary_is_found_out_and_gamma_rises():
    # D7: T is told little, T' sees the watermark, and the bottleneck is tightened; an honest encoder moves gamma little.
    fooled, honest = overpowered(True), overpowered(False)
    assert fooled["average I_T'"] > 1.8 * fooled["average I_T"]
    assert fooled["gamma"] > 2.0 > 1.5 > honest["gamma"]


def affinity(function, u, v):
    """Zero for an affine function."""
    return function(u + v) + function(torch.zeros_like(u)) - function(u) - function(v)


@torch.no_grad()
def test_weights_may_begin_so_that_codes_are_as_large_as_images():
    deep, data = replace(SMALL, widths=(16,) * 3, decoder_widths=(16,) * 3, blocks=3), torch.randn(16, 3, 16, 16)
    sizes = {}
    for initial in ("torch", "kept"):
        method = make(replace(deep, initial=initial))
        sizes[initial] = method.appearance_encoder(data).std().item()
        assert (method.mi.pose[0].bias.abs().sum() > 0).item(), "T begins as PyTorch would have it"
    assert sizes["torch"] < 0.2 and 0.5 < sizes["kept"] < 3


@torch.no_grad()
def test_decoder_and_residual_block_are_not_affine():
    # D8: the released PyTorch decoder is, and so cannot bind pose to appearance.
    torch.manual_seed(0)
    method = RoDi(replace(PRESETS["sprites"], mi_width=4), schema(PERSON, size=64)).eval()
    u, v = torch.randn(2, 1, 32, 4, 4)
    scale = method.decoder(*u.split(16, 1)).abs().mean()
    assert affinity(lambda codes: method.decoder(*codes.split(16, 1)), u, v).abs().mean() > 0.02 * scale
    block = Residual(8)
    u, v = torch.randn(2, 1, 8, 4, 4)
    assert affinity(block, u, v).abs().mean() > 0.02
    assert torch.allclose(block(u), u + block.conv(u.clamp(min=0)))


def vgg_file(folder, missing=()):
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {}
        before, place = 3, 0
        for width, times in VGG19:
            for _ in range(times):
                shapes |= {f"features.{place}.weight": (width, before, 3, 3), f"features.{place}.bias": (width,)}
                before, place = width, place + 2
            place += 1
    tensors = {name: torch.randn(shape) * (0.02 if len(shape) == 4 else 0) for name, shape in shapes.items() if name not in missing}
    save_file(tensors, folder / "vgg19.safetensors")
    return str(folder / "vgg19.safetensors")


def test_vgg_names_its_layers_as_torchvision_does(tmp_path):
    # The second convolutions of the five blocks are layers 2, 7, 12, 21 and 30; their ReLUs come one later.
    features = VGGFeatures(vgg_file(tmp_path))
    convolutions = [i for i, layer in enumerate(features.features) if isinstance(layer, nn.Conv2d)]
    assert convolutions == [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30] and features.taps == [3, 8, 13, 22, 31]
    found = features(torch.zeros(1, 3, 32, 32))
    assert [f.shape[1] for f in found] == [3, 64, 128, 256, 512, 512] and [f.shape[2] for f in found] == [32, 32, 16, 8, 4, 2]
    assert torch.allclose(found[0][0, :, 0, 0], 127.5 - torch.tensor([103.939, 116.779, 123.68]))
    red = torch.full((1, 3, 16, 16), -1.0)
    red[:, 0] = 1
    assert torch.allclose(features(red)[0][0, :, 0, 0], torch.tensor([-103.939, -116.779, 255 - 123.68]))
    assert torch.allclose(VGGFeatures(vgg_file(tmp_path), "rgb")(red)[0][0, :, 0, 0], torch.tensor([0.515 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))


def test_vgg_reconstruction_reaches_the_autoencoder_and_is_not_saved(tmp_path):
    method, data = make(replace(SMALL, reconstruction="vgg", vgg_weights=vgg_file(tmp_path))), batch(SHAPE, partner=True)
    assert routes(method, data)["autoencoder/rec"] == {"pose_encoder", "appearance_encoder", "decoder"}
    assert not any("features" in name for name in method.state_dict())
    nn.init.zeros_(method.decoder.layers[-1].weight)
    nn.init.zeros_(method.decoder.layers[-1].bias)
    expected = method.features[0].distance(data.partner.images, torch.zeros(8, 3, 16, 16)).mean().item() * 0.5e-3 * 3 * 16 * 16
    assert losses(method, data)["autoencoder/rec"][1].item() == pytest.approx(expected, rel=1e-5)


def test_vgg_without_its_file_says_what_is_needed(tmp_path):
    with pytest.raises(ValueError, match="needs vgg_weights: a safetensors file of VGG19"):
        make(replace(SMALL, reconstruction="vgg"))
    data = batch(SHAPE, partner=True)
    with pytest.raises(ValueError, match=r"there is no file 'nowhere\.safetensors'; vgg_weights must name"):
        losses(make(replace(SMALL, reconstruction="vgg", vgg_weights="nowhere.safetensors")), data)
    with pytest.raises(ValueError, match=r"not VGG19: features\.28\.bias is missing"):
        losses(make(replace(SMALL, reconstruction="vgg", vgg_weights=vgg_file(tmp_path, ["features.28.bias"]))), data)
    with pytest.raises(ValueError, match="3 channels, not 1"):
        make(replace(SMALL, reconstruction="vgg", vgg_weights="x"), schema(PERSON, channels=1))


def test_crops_of_two_images_are_at_one_place():
    images = torch.arange(2 * 1 * 6 * 8.0).reshape(2, 1, 6, 8).repeat(1, 2, 1, 1)
    found = cropped(images, torch.tensor([[0.0, 0.0], [0.99, 0.99]]), most=4)
    assert torch.equal(found[0], images[0, :, :4, :4]) and torch.equal(found[1], images[1, :, 2:, 4:])
    assert torch.equal(cropped(images, torch.rand(2, 2)), images)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_play(name):
    tiny = {field: getattr(SMALL, field) for field in ("widths", "blocks", "decoder_widths", "decoder_blocks", "pose_size", "appearance_size", "mi_width", "mi_blocks", "mi_size", "warmup_images")}
    config = replace(PRESETS[name], **tiny, reconstruction="l2")
    terms = losses(make(config), batch(SHAPE, partner=True))
    assert ("autoencoder/mi" in terms) == (not name.endswith(("variational", "bvae")))
    assert all(torch.isfinite(value) for _, value in terms.values())


@EVERY
@pytest.mark.parametrize("patch", [1, 2])
def test_images_of_other_shapes_and_patches(config, patch):
    shape = replace(schema(PERSON, channels=1), height=16, width=32)
    method = make(replace(config, patch=patch, visualisers=True), shape).eval()
    images = batch(shape).images
    codes = method.encode(images)
    assert method.decode(codes).shape == images.shape
    assert codes["pose"].shape[1:] == ((3, 4 // patch, 8 // patch) if config is SMALL else (3,))
    assert method.pose_visualiser(codes["pose"]).shape == method.appearance_visualiser(codes["appearance"]).shape == images.shape


def test_decoded_images_stay_in_range():
    method = make().eval()
    nn.init.constant_(method.decoder.layers[-1].bias, 3.0)
    assert method.decode(method.encode(batch(SHAPE).images)).max() == 1


def test_sizes_that_do_not_fit_name_those_that_do():
    with pytest.raises(ValueError, match="images of 18x18 cannot be divided by 4; use 16x16"):
        make(SMALL, schema(PERSON, size=18))
    with pytest.raises(ValueError, match="decoder_widths must be as many as widths, 3, not 2"):
        make(replace(SMALL, decoder_widths=(4, 4)))


def test_without_anything_to_pair_by_it_says_what_is_lacking():
    with pytest.raises(ValueError, match=r"an attribute of kind 'group'.*or pair_by naming some of Smiling, hair"):
        make(SMALL, schema(SMILING, HAIR))
    with pytest.raises(ValueError, match="pair_by names 'clip', which is not among the attributes: Smiling"):
        make(replace(SMALL, pair_by=("clip",)), schema(SMILING))
    with pytest.raises(ValueError, match="yaw is a number"):
        make(replace(SMALL, pair_by=("yaw",)), schema(Attribute("yaw", "continuous", low=0.0, high=1.0)))
    method = make(replace(SMALL, pair_by=("Smiling", "hair")), schema(SMILING, HAIR))
    assert method.pair_by == ("Smiling", "hair")
    with pytest.raises(ValueError, match="this batch has no partners"):
        losses(make(), batch(SHAPE))


def test_pairs_share_what_was_asked(signs):
    pack = signs.select("maker", "lamp", "colour")
    for names, expected in (((), ("maker",)), (("lamp", "colour"), ("lamp", "colour"))):
        sampler = make(replace(SMALL, pair_by=names), pack.schema).make_sampler(pack, seed=1, mirror=False)
        assert isinstance(sampler, Pairs)
        draw = sampler.draw(0, 32)
        assert all((pack.labels[name][draw.rows] == pack.labels[name][draw.partner]).all() for name in expected)
        assert (draw.rows != draw.partner).all()


def test_labels_are_read_but_cannot_be_set():
    method = make(SMALL, schema(PERSON, HAIR)).eval()
    codes = method.encode(batch(method.schema).images)
    assert isinstance(codes, Codes) and list(codes) == ["pose", "appearance"]
    assert {name: tuple(p.shape) for name, p in method.predict(codes).items()} == {"hair": (8, 3)}
    with pytest.raises(Unsupported, match="swap one of them from another image, or use one of splice, advattr, mad, "):
        method.label_code("hair", "black")
    assert make().predict(make().encode(batch(SHAPE).images)) == {}
