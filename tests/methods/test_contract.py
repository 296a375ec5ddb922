"""What every method promises, whichever it is."""

import json
import os
import signal
import sys
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch
from games import HAIR, SMILING, Asking, batch, optimizers, parameters, schema
from safetensors.torch import load_file
from torch import nn

import recombine
from recombine.data.schema import Attribute, Schema
from recombine.evaluation.judge import judge
from recombine.method import Hinting, Method, Paired, Phase, Phased, Progress, Unsupported
from recombine.methods import METHODS
from recombine.methods.shared.prototypes import prototypes_of
from recombine.reports.run import report
from recombine.training.engine import Interrupted, TrainConfig, fit
from recombine.training.monitor import EditMonitor
from recombine.training.runs import build, load

EXAMPLES = {
    "binary": SMILING,
    "categorical": HAIR,
    "group": Attribute("maker", "group", ("a", "b", "c", "d")),
    "continuous": Attribute("yaw", "continuous", low=-30.0, high=30.0),
}
COLUMNS = {"binary": "lamp", "categorical": "colour", "group": "maker", "continuous": "shade"}  # of the drawn signs

LABELLED = [name for name, (kind, _) in METHODS.items() if set(kind.kinds) != {"group"}]  # the others have no part for a label

every_method = pytest.mark.parametrize("name", METHODS)


def kinds(name):
    """Kinds of attributes that a method learns."""
    return METHODS[name][0].kinds


def settings(name):
    """Those of a method that is trained in seconds."""
    return asdict(sys.modules[METHODS[name][1].__module__].TINY)


def make(name, *attributes, **options):
    torch.manual_seed(0)
    return build(name, settings(name), schema(*(attributes or attributes_of(name)), **options))


def attributes_of(name):
    """One of every kind that it learns."""
    return tuple(EXAMPLES[kind] for kind in kinds(name))


def columns_of(name):
    """The same of the drawn signs."""
    return tuple(COLUMNS[kind] for kind in kinds(name))


def settable(method):
    """Attributes that have a part of their own, whose values are labels."""
    return [name for name, role in method.roles().items() if name in role.attributes]


def some(method, count=8):
    """A batch as the method's sampler draws them."""
    return batch(method.schema, count, partner=method.sampler in ("two_batches", "pairs"))


def courses(method):
    """Where in the training every phase begins, and the networks that it trains."""
    phases = method.phases() if isinstance(method, Phased) else [Phase("train")]
    return [(Progress(phase=phase.name), [n for n in networks(method) if n not in phase.frozen]) for phase in phases]


def networks(method):
    """Child modules that are trained."""
    return [name for name, child in method.named_children() if any(True for _ in child.parameters())]


@every_method
def test_is_a_method(name):
    method = make(name)
    assert isinstance(method, Method) and isinstance(method, nn.Module)
    assert method.image_size == (16, 16)


@every_method
def test_every_network_has_one_player(name):
    method = make(name)
    owned = [network for names in method.players().values() for network in names]
    assert sorted(owned) == sorted(networks(method))


@every_method
@pytest.mark.parametrize("count", [1, 5])
def test_every_part_has_a_role(name, count):
    method = make(name).eval()
    codes = method.encode(batch(method.schema, count).images)
    assert codes.batch_size == count
    assert set(codes) == set(method.roles())
    again = method.encode(batch(method.schema, count).images)
    assert again == codes, "the same image must give the same codes"


@every_method
def test_images_come_back_in_size_and_range(name):
    method = make(name).eval()
    images = batch(method.schema).images
    decoded = method.decode(method.encode(images))
    assert decoded.shape == images.shape and decoded.min() >= -1 and decoded.max() <= 1


@every_method
def test_a_batch_is_its_images_one_by_one(name):
    method = make(name).eval()
    images = batch(method.schema).images
    together = method.decode(method.encode(images))
    alone = torch.cat([method.decode(method.encode(image[None])) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


@every_method
def test_roles_name_attributes_of_the_schema(name):
    method = make(name)
    for role in method.roles().values():
        assert {*role.attributes, *role.shared_by} <= set(method.schema.names)
    labels = [a.name for a in method.schema.attributes if a.kind != "group"]
    assert settable(method) == labels and bool(labels) == (name in LABELLED)


@every_method
def test_pairs_and_hints_are_those_of_the_schema_and_the_settings(name):
    method = make(name)
    assert isinstance(method, Paired) == (method.sampler == "pairs")
    if isinstance(method, Paired):
        assert isinstance(method.pair_by, tuple) and set(method.pair_by) <= set(method.schema.names)
    if isinstance(method, Hinting):
        assert set(method.hints) <= {field.name for field in fields(METHODS[name][1])}


@every_method
def test_swap_with_itself_is_identity(name):
    method = make(name).eval()
    codes = method.encode(batch(method.schema).images)
    decoded = method.decode(codes)
    for part in codes:
        first, second = recombine.swap(codes, codes, part)
        assert torch.equal(method.decode(first), decoded) and torch.equal(method.decode(second), decoded)


@every_method
def test_predictions_are_probabilities(name):
    method = make(name).eval()
    for attribute, seen in method.predict(method.encode(batch(method.schema).images)).items():
        assert seen.shape == (8, method.schema[attribute].num_values)
        assert seen.min() >= 0 and torch.allclose(seen.sum(1), torch.ones(8), atol=1e-5)


@pytest.mark.parametrize("name", LABELLED)
def test_label_codes_fit_the_parts(name):
    method = make(name).eval()
    data = batch(method.schema)
    codes = method.encode(data.images)
    if prototypes := prototypes_of(method):
        with pytest.raises(ValueError, match="no training image shows"):
            method.label_code("Smiling", 1)
        prototypes.fit(codes, {a: labels.numpy() for a, labels in data.labels.items()})
    for attribute in settable(method):
        for value in method.schema[attribute].values or (0.5,):
            assert method.label_code(attribute, value).shape[1:] == codes[attribute].shape[1:]
    with pytest.raises(ValueError, match="no attribute 'hat'"):
        method.label_code("hat", 1)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in LABELLED])
def test_without_parts_for_labels_those_methods_are_named_that_have_them(name):
    with pytest.raises(Unsupported, match=f"{name} has no labels.*or use one of splice, advattr, mad, ifcvaegan, matdr"):
        make(name).label_code("maker", "a")


@every_method
def test_every_part_can_be_edited(name):
    method = make(name).eval()
    data = batch(method.schema)
    codes = method.encode(data.images)
    for part in codes:
        edits = [recombine.interpolate(codes, codes.roll(), 0.3, part), codes.replace(recombine.mix(**{part: [(codes, 1), (codes.roll(), 2)]}))]
        assert all(is_edited(method, codes, edited) for edited in edits)


@pytest.mark.parametrize("name", LABELLED)
def test_every_label_can_be_set(name):
    method = make(name).eval()
    data = batch(method.schema)
    codes = method.encode(data.images)
    if prototypes := prototypes_of(method):
        prototypes.fit(codes, {a: labels.numpy() for a, labels in data.labels.items()}, probes=False)
    for attribute in settable(method):
        for value in method.schema[attribute].values or (0.5,):
            assert is_edited(method, codes, recombine.set_label(method, codes, **{attribute: value}, strength=0.7))


def is_edited(method, codes, edited):
    """Whether the edit gives images in range, and others than before."""
    images = method.decode(edited)
    return images.shape[1:] == (3, 16, 16) and images.abs().max() <= 1 and not torch.equal(images, method.decode(codes))


@every_method
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


@every_method
def test_optimisers_own_what_their_player_owns(name):
    method = make(name)
    for player, optimizer in optimizers(method).items():
        own = {id(weight) for weight in parameters(method, *method.players()[player])}
        assert {id(weight) for group in optimizer.param_groups for weight in group["params"]} == own


@every_method
def test_trains_saves_and_loads_the_same_model(name, signs, tmp_path):
    pack = signs.select(*columns_of(name))
    torch.manual_seed(0)
    method = build(name, settings(name), pack.schema)
    made = {"method": name, "config": settings(name)}
    fit(method, pack, TrainConfig(images=64, batch_size=16, ema_images=32), tmp_path, settings=made, quiet=True)
    model = load(tmp_path)
    images = pack.batch(pack.rows("val")).images
    first, second = model.decode(model.encode(images)), load(tmp_path / "model").decode(model.encode(images))
    assert torch.equal(first, second) and not first.requires_grad
    assert model.schema == pack.schema
    lowered = load(tmp_path, precision="bf16-mixed")
    codes = lowered.encode(images)
    again = lowered.decode(codes)
    assert again.dtype == torch.float32 and all(part.dtype == torch.float32 for part in codes.values())
    assert (again - first).abs().max() < 0.1


@every_method
def test_is_judged_and_shown_on_a_page(name, signs, sign_reader, tmp_path):
    pack = signs.select(*columns_of(name))
    torch.manual_seed(0)
    method = build(name, settings(name), pack.schema)
    made = {"method": name, "config": settings(name), "data": {"pack": str(signs.path), "attributes": list(pack.schema.names)}}
    fit(method, pack, TrainConfig(images=32, batch_size=16), tmp_path, settings=made, monitor=EditMonitor(pack, sign_reader, 12), quiet=True)
    judgement = judge(load(tmp_path), pack, classifier=sign_reader, images=12, truths=4)
    assert judgement.reconstruction.psnr.n == 12
    if name in LABELLED:
        assert set(judgement.edits.attributes) == set(settable(method)) & set(sign_reader.names)
    else:
        assert "none is an attribute of the data set" in judgement.left_out["edits"]
    page = report(tmp_path, judgement, model=load(tmp_path), pack=pack).read_text()
    assert all(f"<figcaption>{part}</figcaption>" in page for part in (settable(method) or method.roles()))


@pytest.mark.parametrize("name", [name for name in METHODS if "categorical" in kinds(name)])
def test_a_value_that_no_training_image_shows_stops_nothing(name, signs, sign_reader, tmp_path):
    pack = signs.select(*columns_of(name))
    pack.labels = {**pack.labels, "colour": np.where(pack.labels["colour"] == 2, 1, pack.labels["colour"])}
    torch.manual_seed(0)
    method = build(name, settings(name), pack.schema)
    monitor = EditMonitor(signs.select(*columns_of(name)), sign_reader, 12)
    fit(method, pack, TrainConfig(images=32, batch_size=16), tmp_path, settings={"method": name, "config": settings(name)}, monitor=monitor, quiet=True)
    assert "edit_success/colour" in (tmp_path / "log.jsonl").read_text()


@every_method
def test_a_step_waits_for_no_device(name):
    method = make(name)
    data = some(method)
    for progress, _ in courses(method):
        game, asking = method.turns(data, progress), Asking()
        with asking:
            losses = [value for turn in game for _, value in turn.losses.values()]
        assert losses and not asking.asked, progress.phase


@every_method
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_interrupted_training_ends_with_the_same_bits(name, precision, signs, tmp_path):
    pack = signs.select(*columns_of(name))
    made = {"method": name, "config": json.loads(json.dumps(settings(name)))}

    def train(run, stop=False):
        torch.manual_seed(0)
        course = TrainConfig(images=96, batch_size=16, ema_images=32, evaluate_every=48, precision=precision)
        method = build(name, made["config"], pack.schema)

        def monitor(_, path):
            if stop and int(path.stem) == 48:
                os.kill(os.getpid(), signal.SIGTERM)
            return {}

        fit(method, pack, course, run, settings=made, monitor=monitor, quiet=True)
        return load_file(run / "model" / "weights.safetensors")

    whole = train(tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(tmp_path / "parts", stop=True)
    rest = train(tmp_path / "parts")
    assert whole.keys() == rest.keys() and all(torch.equal(whole[key], rest[key]) for key in whole)
    assert all(value.dtype != torch.bfloat16 for value in whole.values())


@every_method
def test_works_with_one_label_and_with_missing_ones(name):
    method = make(name, attributes_of(name)[0])
    data = some(method)
    nothing = {known: torch.zeros(8, dtype=torch.bool) for known in data.known}
    for known in (data.known, nothing):
        partly = replace(data, known=known, partner=data.partner and replace(data.partner, known=known))
        for progress, _ in courses(method):
            assert all(torch.isfinite(turn.total()) for turn in method.turns(partly, progress))


@every_method
def test_grey_and_oblong_images(name):
    shape = Schema(attributes=attributes_of(name), height=16, width=32, channels=1)
    method = build(name, settings(name), shape).eval()
    images = batch(shape).images
    assert method.decode(method.encode(images)).shape == (8, 1, 16, 32)


@every_method
def test_unknown_settings_name_those_that_exist(name):
    with pytest.raises(ValueError, match=f"{name} has no setting 'no_such_setting'; it has"):
        build(name, {"no_such_setting": 1}, schema())
