"""What every method promises, whichever it is."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from games import HAIR, SMILING, batch, optimizers, parameters, schema
from safetensors.torch import load_file
from torch import nn

import recombine
from recombine.data.schema import Attribute, Schema
from recombine.evaluation.judge import judge
from recombine.method import Method, Phase, Progress, Unsupported
from recombine.methods import METHODS
from recombine.reports.run import report
from recombine.training.engine import Interrupted, TrainConfig, fit
from recombine.training.monitor import EditMonitor
from recombine.training.runs import build, load

SMALL = {
    "advattr": {"width": 4, "code_width": 8, "blocks": 1, "kernel": 3, "critic_width": 4, "classifier_width": 4},
    "mad": {"num_latents": 8, "part_width": 4, "rest_width": 4, "encoder_width": 4, "encoder_blocks": 1, "decoder_width": 4, "critic_z_width": 8, "critic_x_width": 4, "map_width": 16, "pictures": 2, "shares": (1, 1, 1)},
    "ifcvaegan": {"width": 4, "num_latents": 6, "aux_width": 16},
    "rodi": {"widths": (4, 6, 8), "blocks": 1, "decoder_widths": (8, 6, 4), "decoder_blocks": 1, "pose_size": 3, "appearance_size": 3, "mi_width": 8, "mi_blocks": 1, "mi_size": 4},
    "matdr": {"width": 4, "residual_blocks": 1, "unit_channels": 2, "rest_channels": 4, "critic_width": 4},
    "stargan": {"width": 4, "blocks": 1, "critic_width": 4, "critic_steps": 1},
    "cyclegan": {"width": 4, "blocks": 1, "critic_width": 4, "critic_halvings": 2, "reader_width": 4, "history": 6},
    "pix2pix": {"width": 4, "critic_width": 4, "critic_halvings": 2, "reader_width": 4},
    "dnagan": {"width": 4, "unit_channels": 2, "rest_channels": 4, "critic_width": 4, "critic_steps": 1},
    "betavae": {"width": 4, "hidden": 16, "num_latents": 6},
    "dipvae": {"width": 4, "hidden": 16, "num_latents": 6},
    "fader": {"width": 4, "max_width": 8, "hidden": 8, "classifier_width": 4},
    "icgan": {"width": 4, "decoder_width": 4, "num_latents": 6},
    "twostep": {"width": 4, "label_width": 3, "num_latents": 6, "hidden": 8, "main_every": 2},
    "cvaegan": {"width": 4, "decoder_width": 4, "num_latents": 6},
    "cyclevae": {"width": 4, "pose_size": 3, "appearance_size": 3},
    "drnet": {"width": 4, "pose_size": 3, "appearance_size": 3, "scene_width": 8},
}
PAIRED = dict.fromkeys(("rodi", "cyclevae", "drnet"), ("pose", "appearance"))  # methods without labels, and their parts: they learn from pairs of one maker
MAKER = Attribute("maker", "group", ("a", "b", "c", "d"))
ATTRIBUTES = {**dict.fromkeys(PAIRED, (MAKER,)), "cyclegan": (SMILING,), "pix2pix": (SMILING, MAKER)}  # what a method is built for, where it is not a binary and a categorical attribute
COLUMNS = {**dict.fromkeys(PAIRED, ("maker",)), "cyclegan": ("lamp",), "pix2pix": ("lamp", "maker")}  # the same for the drawn signs

pytestmark = pytest.mark.parametrize("name", METHODS)


def make(name, *attributes, **options):
    torch.manual_seed(0)
    return build(name, SMALL[name], schema(*(attributes or attributes_of(name)), **options))


def attributes_of(name):
    return ATTRIBUTES.get(name, (SMILING, HAIR))


def columns_of(name):
    return COLUMNS.get(name, ("lamp", "colour"))


def labelled(method):
    """Attributes that have a part of their own."""
    return [attribute for attribute in method.schema.attributes if attribute.kind != "group"]


def some(method, count=8):
    """A batch as the method's sampler draws them."""
    return batch(method.schema, count, partner=method.sampler in ("two_batches", "pairs"))


def courses(method):
    """Where in the training every phase begins, and the networks that it trains."""
    phases = method.phases() if hasattr(method, "phases") else [Phase("train")]
    return [(Progress(phase=phase.name), [n for n in networks(method) if n not in phase.frozen]) for phase in phases]


def networks(method):
    """Child modules that are trained."""
    return [name for name, child in method.named_children() if any(True for _ in child.parameters())]


def test_is_a_method(name):
    method = make(name)
    assert isinstance(method, Method) and isinstance(method, nn.Module)
    assert method.image_size == (16, 16)


def test_every_network_has_one_player(name):
    method = make(name)
    owned = [network for names in method.players().values() for network in names]
    assert sorted(owned) == sorted(networks(method))


@pytest.mark.parametrize("count", [1, 5])
def test_codes_have_every_attribute_and_the_rest(name, count):
    method = make(name).eval()
    codes = method.encode(batch(method.schema, count).images)
    assert codes.batch_size == count
    assert set(codes) == set(PAIRED[name]) if name in PAIRED else set(codes) > {a.name for a in labelled(method)}
    again = method.encode(batch(method.schema, count).images)
    assert again == codes, "the same image must give the same codes"


def test_pictures_come_back_in_size_and_range(name):
    method = make(name).eval()
    images = batch(method.schema).images
    decoded = method.decode(method.encode(images))
    assert decoded.shape == images.shape and decoded.min() >= -1 and decoded.max() <= 1


def test_a_batch_is_its_pictures_one_by_one(name):
    method = make(name).eval()
    images = batch(method.schema).images
    together = method.decode(method.encode(images))
    alone = torch.cat([method.decode(method.encode(image[None])) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_swap_with_itself_is_identity(name):
    method = make(name).eval()
    codes = method.encode(batch(method.schema).images)
    for part in codes:
        assert recombine.swap(codes, codes, part) == (codes, codes)


def test_predictions_are_probabilities(name):
    method = make(name).eval()
    for attribute, seen in method.predict(method.encode(batch(method.schema).images)).items():
        assert seen.shape == (8, method.schema[attribute].num_values)
        assert seen.min() >= 0 and torch.allclose(seen.sum(1), torch.ones(8), atol=1e-5)


def test_label_codes_fit_the_parts(name):
    method = make(name).eval()
    data = batch(method.schema)
    codes = method.encode(data.images)
    if name in PAIRED:
        with pytest.raises(Unsupported, match="advattr"):
            method.label_code("maker", "a")
        return
    if hasattr(method, "codebook"):
        with pytest.raises(ValueError, match="no training image shows"):
            method.label_code("Smiling", 1)
        method.codebook.fit(codes, {a: labels.numpy() for a, labels in data.labels.items()})
    for attribute in labelled(method):
        for value in attribute.values:
            assert method.label_code(attribute.name, value).shape[1:] == codes[attribute.name].shape[1:]
    with pytest.raises(ValueError, match="no attribute 'hat'"):
        method.label_code("hat", 1)


def test_every_edit_gives_pictures(name):
    method = make(name).eval()
    data = batch(method.schema)
    codes = method.encode(data.images)
    part = PAIRED[name][0] if name in PAIRED else labelled(method)[-1].name
    edits = [recombine.interpolate(codes, codes.roll(), 0.3, part), codes.replace(recombine.mix(**{part: [(codes, 1), (codes.roll(), 2)]}))]
    if name not in PAIRED:
        if hasattr(method, "codebook"):
            method.codebook.fit(codes, {a: labels.numpy() for a, labels in data.labels.items()}, probes=False)
        edits += [recombine.set_label(method, codes, **{part: value}, strength=0.7) for value in method.schema[part].values]
    for edited in edits:
        pictures = method.decode(edited)
        assert pictures.shape == data.images.shape and pictures.abs().max() <= 1 and not torch.equal(pictures, method.decode(codes))


def test_each_turn_lowers_its_own_loss_on_its_own_networks(name):
    # A plain gradient step on the turn's total, in double precision: every other player's weights stay, and the total falls.
    method = make(name).double().eval()
    data = some(method).to("cpu", torch.float64)
    for progress, trained in courses(method):
        for player in dict.fromkeys(turn.player for turn in method.turns(data, progress)):

            def total(player=player, progress=progress):
                return next(turn.total() for turn in method.turns(data, progress) if turn.player == player)

            own = parameters(method, *[network for network in method.players()[player] if network in trained])
            before = total()
            slopes = torch.autograd.grad(before, own, allow_unused=True)
            length = sum(slope.square().sum() for slope in slopes if slope is not None).sqrt()
            with torch.no_grad():
                for weight, slope in zip(own, slopes, strict=True):
                    if slope is not None:
                        weight -= 1e-4 * slope / length
            assert total() < before, (progress.phase, player)


def test_optimisers_own_what_their_player_owns(name):
    method = make(name)
    for player, optimizer in optimizers(method).items():
        own = {id(weight) for weight in parameters(method, *method.players()[player])}
        assert {id(weight) for group in optimizer.param_groups for weight in group["params"]} == own


def test_trains_saves_and_loads_the_same_model(name, signs, tmp_path):
    pack = signs.select(*columns_of(name))
    torch.manual_seed(0)
    method = build(name, SMALL[name], pack.schema)
    settings = {"method": name, "config": SMALL[name]}
    fit(method, pack, TrainConfig(images=64, batch_size=16, ema_images=32), tmp_path, settings=settings, quiet=True)
    model = load(tmp_path)
    images = pack.batch(pack.rows("val")).images
    first, second = model.decode(model.encode(images)), load(tmp_path / "model").decode(model.encode(images))
    assert torch.equal(first, second) and not first.requires_grad
    assert model.schema == pack.schema


def test_is_judged_and_shown_on_a_page(name, signs, sign_reader, tmp_path):
    pack = signs.select(*columns_of(name))
    torch.manual_seed(0)
    method = build(name, SMALL[name], pack.schema)
    settings = {"method": name, "config": SMALL[name], "data": {"pack": str(signs.path), "attributes": list(pack.schema.names)}}
    fit(method, pack, TrainConfig(images=32, batch_size=16), tmp_path, settings=settings, monitor=EditMonitor(pack, sign_reader, 12), quiet=True)
    judgement = judge(load(tmp_path), pack, classifier=sign_reader, images=12, truths=4)
    assert judgement.reconstruction.psnr.n == 12
    if name in PAIRED:
        assert "the method's parts are pose, appearance; none is an attribute" in judgement.left_out["edits"]
    else:
        assert set(judgement.edits.attributes) == {a.name for a in labelled(method)}
    page = report(tmp_path, judgement, model=load(tmp_path), pack=pack).read_text()
    assert all(f"<figcaption>{part}</figcaption>" in page for part in PAIRED.get(name, [a.name for a in labelled(method)]))


def test_a_value_that_no_training_picture_shows_stops_nobody(name, signs, sign_reader, tmp_path):
    if "colour" not in columns_of(name):
        return
    pack = signs.select(*columns_of(name))
    pack.labels = {**pack.labels, "colour": np.where(pack.labels["colour"] == 2, 1, pack.labels["colour"])}
    torch.manual_seed(0)
    method = build(name, SMALL[name], pack.schema)
    monitor = EditMonitor(signs.select(*columns_of(name)), sign_reader, 12)
    fit(method, pack, TrainConfig(images=32, batch_size=16), tmp_path, settings={"method": name, "config": SMALL[name]}, monitor=monitor, quiet=True)
    assert "edit_success/colour" in (tmp_path / "log.jsonl").read_text()


def test_an_interrupted_training_ends_with_the_same_bits(name, signs, tmp_path):
    pack = signs.select(*columns_of(name))
    settings = {"method": name, "config": json.loads(json.dumps(SMALL[name]))}

    def train(run, stop=False):
        torch.manual_seed(0)
        course = TrainConfig(images=96, batch_size=16, ema_images=32, evaluate_every=48)
        method = build(name, settings["config"], pack.schema)

        def monitor(_, path):
            if stop and int(path.stem) == 48:
                os.kill(os.getpid(), signal.SIGTERM)
            return {}

        fit(method, pack, course, run, settings=settings, monitor=monitor, quiet=True)
        return load_file(run / "model" / "weights.safetensors")

    whole = train(tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", stop=True)
    rest = train(tmp_path / "parts")
    assert whole.keys() == rest.keys() and all(torch.equal(whole[key], rest[key]) for key in whole)


def test_works_with_one_label_and_with_missing_ones(name):
    method = make(name, attributes_of(name)[0])
    data = some(method)
    nothing = {known: torch.zeros(8, dtype=torch.bool) for known in data.known}
    for known in (data.known, nothing):
        partly = replace(data, known=known, partner=data.partner and replace(data.partner, known=known))
        for progress, _ in courses(method):
            assert all(torch.isfinite(turn.total()) for turn in method.turns(partly, progress))


def test_grey_and_oblong_pictures(name):
    shape = Schema(attributes=attributes_of(name), height=16, width=32, channels=1)
    method = build(name, SMALL[name], shape).eval()
    images = batch(shape).images
    assert method.decode(method.encode(images)).shape == (8, 1, 16, 32)


def test_unknown_settings_name_those_that_exist(name):
    with pytest.raises(ValueError, match=f"{name} has no setting 'no_such_setting'; it has"):
        build(name, {"no_such_setting": 1}, schema())
