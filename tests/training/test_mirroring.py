"""Whether images are mirrored: found out from the images, the same every time, kept by a run, and never against what is said."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file
from toy_game import ToyGame

from recombine.commands.train import adjusted
from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Attribute, Schema
from recombine.messages import command_line
from recombine.recipes import RECIPES, default_recipe
from recombine.training import checkpoint, mirroring
from recombine.training.engine import TrainConfig, fit
from recombine.training.mirroring import FOLDS, Handedness, divided, handedness, judged, whole_groups
from recombine.training.settings import check_settings

SHORT = TrainConfig(images=32, batch_size=16, log_every=16, precision="32-true")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Networks that see fewer images than those of a training, and nothing kept from an earlier test."""
    monkeypatch.setattr(mirroring, "SEEN", 4_800)
    monkeypatch.setattr(mirroring, "FOUND", {})


def packed(folder, images, groups=None, splits=None):
    """A pack of images `[count, channels, side, side]`, each in a group of its own unless said."""
    count, channels, side, _ = images.shape
    groups = np.arange(count) if groups is None else groups
    who = Attribute("who", "group", tuple(f"{number:04}" for number in range(groups.max() + 1)))
    files, splits = [f"{number}.png" for number in range(count)], splits or ["train"] * count
    return write_pack(folder, images, Schema((who,), side, side, channels), files, {"who": groups}, splits)


def letters(count, text, side=20):
    """Black or white letters of one typeface, in some sizes and places `[count, 1, side, side]`."""
    rng, images = np.random.default_rng(0), []
    for _ in range(count):
        paper = int(rng.choice([0, 255]))
        image = Image.new("L", (side, side), paper)
        place, font = (side / 2 + rng.uniform(-1, 1), side / 2 + rng.uniform(-1, 1)), ImageFont.load_default(side * rng.uniform(0.8, 1.1))
        ImageDraw.Draw(image).text(place, str(rng.choice(list(text))), 255 - paper, font, "mm")
        images.append(np.asarray(image)[None])
    return np.stack(images)


def either_way(images):
    """Each image, or its mirror image."""
    turned = np.random.default_rng(1).random(len(images)) < 0.5
    return np.where(turned[:, None, None, None], images[..., ::-1], images)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Letters that have a handedness."""
    return packed(tmp_path_factory.mktemp("written") / "pack", letters(240, "FGRSZ247"))


@pytest.mark.slow
def test_letters_are_not_mirrored(written):
    found = handedness(written)
    assert not found.mirror and found.accuracy.value > 0.75 and found.bits.value > 0.3
    assert "small network tells" in str(found) and found.images == found.accuracy.n == 240


@pytest.mark.slow
def test_the_same_letters_either_way_round_are_mirrored(written, tmp_path):
    found = handedness(packed(tmp_path / "pack", either_way(np.asarray(written.images))))
    assert found.mirror and abs(found.accuracy.value - 0.5) < 0.15 and found.bits.high < 0.1


def test_images_that_are_their_own_mirror_images_tell_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(mirroring, "SEEN", 1_280)
    half = np.random.default_rng(0).integers(0, 256, (120, 3, 16, 8), np.uint8)
    found = handedness(packed(tmp_path / "pack", np.concatenate([half, half[..., ::-1]], 3)))
    assert found.mirror and found.accuracy.value == 0.5 and abs(found.bits.value) < 1e-3


def test_it_is_found_the_same_again_and_leaves_no_trace(written, monkeypatch):
    monkeypatch.setattr(mirroring, "SEEN", 640)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = handedness(written)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert mirroring.measured(written.whole()) == first
    monkeypatch.setattr(mirroring, "measured", lambda pack: pytest.fail("measured again"))
    assert handedness(written.select()) == first    # whichever attributes a method learns


def test_few_images_are_not_mirrored(tmp_path):
    few = packed(tmp_path / "pack", np.zeros((99, 1, 16, 16), np.uint8))
    assert handedness(few) == Handedness(99) and not Handedness(99).mirror
    assert str(Handedness(99)) == "99 training images are too few to tell, 100 are needed"


def test_only_training_images_are_looked_at(tmp_path):
    splits = ["train"] * 99 + ["val"] * 99
    assert handedness(packed(tmp_path / "pack", np.zeros((198, 1, 16, 16), np.uint8), splits=splits)).images == 99


def test_large_sets_are_looked_at_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(mirroring, "SEEN", 64)
    monkeypatch.setattr(mirroring, "IMAGES", 150)
    found = handedness(packed(tmp_path / "pack", np.random.default_rng(0).integers(0, 256, (400, 3, 24, 16), np.uint8)[..., :16, :]))
    assert found.images == found.bits.n == 150


def test_groups_are_held_out_whole(tmp_path):
    groups = np.random.default_rng(0).integers(0, 20, 300)
    pack = packed(tmp_path / "pack", np.zeros((300, 1, 16, 16), np.uint8), groups)
    found = whole_groups(pack, np.arange(300))
    assert all(len(np.unique(found[groups == group])) == 1 for group in range(20)) and found.max() == 19
    folds = divided(found, np.random.default_rng(0))
    assert all(len(np.unique(folds[groups == group])) == 1 for group in range(20))
    assert np.bincount(folds).min() > 80 and len(np.bincount(folds)) == FOLDS


@pytest.mark.parametrize("why", ["torn", "few"])
def test_groups_that_splits_tear_apart_or_too_few_are_no_groups(tmp_path, why):
    groups = np.arange(200) % (20 if why == "torn" else 2 * FOLDS - 1)
    splits = ["train"] * 190 + ["val"] * 10 if why == "torn" else None
    pack = packed(tmp_path / "pack", np.zeros((200, 1, 16, 16), np.uint8), groups, splits)
    assert whole_groups(pack, np.arange(190)).tolist() == list(range(190))


def test_certainty_counts_where_leanings_do_not():
    rng, folds, groups = np.random.default_rng(0), np.arange(3_000) % FOLDS, np.arange(3_000)
    leaning = np.where(rng.random(3_000) < 0.66, 0.7, -0.7)
    sure = np.where(rng.random(3_000) < 0.4, 8.0, 0.0)      # and the others are symmetric
    leans, knows = judged(leaning, folds, groups), judged(sure, folds, groups)
    assert leans.mirror and not knows.mirror and abs(leans.accuracy.value - knows.accuracy.value) < 0.05
    assert knows.bits.value == pytest.approx(0.4, abs=0.03)


def test_what_a_network_is_too_sure_of_is_taken_back():
    rng, folds = np.random.default_rng(0), np.arange(900) % FOLDS
    found = judged(rng.normal(0, 20, 900), folds, np.arange(900))
    assert -0.02 < found.bits.value < 0.02 and found.mirror


def test_a_wide_interval_is_a_no():
    scores = np.where(np.arange(300) < 30, 9.0, 0.0)
    alone = judged(scores, np.arange(300) % FOLDS, np.arange(300))
    together = judged(scores, np.arange(300) % FOLDS, np.arange(300) // 30)
    assert alone.mirror and not together.mirror and alone.bits.value == together.bits.value


def toy(signs):
    torch.manual_seed(0)
    return ToyGame(signs.schema)


def told(run):
    return [line["text"] for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if line.get("event") == "mirror"]


def drawn_mirrored(monkeypatch, answer):
    """Handedness that answers so; returns how often it was asked."""
    asked = []
    monkeypatch.setattr("recombine.training.engine.handedness", lambda pack: asked.append(pack) or Answer(answer))
    return asked


class Answer:
    """What is found, without measuring."""

    def __init__(self, mirror):
        self.mirror = mirror

    def __str__(self):
        return "found"


def weights(run):
    return load_file(run / "model" / "weights.safetensors")


@pytest.mark.parametrize("answer", [True, False])
def test_what_is_found_trains_like_what_is_said(signs, tmp_path, monkeypatch, answer):
    asked = drawn_mirrored(monkeypatch, answer)
    fit(toy(signs), signs, SHORT, tmp_path / "found", quiet=True)
    for said in (True, False):
        fit(toy(signs), signs, replace(SHORT, mirror=said), tmp_path / str(said), quiet=True)
    found, same, other = (weights(tmp_path / name) for name in ("found", str(answer), str(not answer)))
    assert all(torch.equal(found[name], same[name]) for name in same) and len(asked) == 1
    assert not all(torch.equal(found[name], other[name]) for name in other)
    assert told(tmp_path / "True") == told(tmp_path / "False") == []
    cure = f"to have it otherwise, begin with mirror={not answer}"
    assert told(tmp_path / "found") == [f"images are {'' if answer else 'not '}shown mirrored: found; {cure}"]


@pytest.mark.parametrize(("recipe", "stated"), [("lfw.smiling", True), ("avatars.demo", False), ("rodi.sprites", False), (None, None)])
def test_what_is_said_is_what_is_trained(recipe, stated):
    found = RECIPES[recipe]() if recipe else default_recipe()[0]
    assert found.train.mirror is stated
    for said in (True, False):
        assert adjusted(found, None, None, {}, mirror=said).train.mirror is said
        assert adjusted(found, None, None, {"mirror": str(said).lower()}, mirror=None).train.mirror is said
    assert adjusted(found, None, None, {}, mirror=None).train.mirror is stated
    assert adjusted(found, None, None, {"mirror": "none"}).train.mirror is None


def test_the_command_line_names_its_own_options(signs, tmp_path, monkeypatch):
    for answer, cure in ((True, "begin with --no-mirror"), (False, "begin with --mirror")):
        drawn_mirrored(monkeypatch, answer)
        with command_line():
            fit(toy(signs), signs, SHORT, tmp_path / str(answer), quiet=True)
        assert told(tmp_path / str(answer))[0].endswith(cure)


def test_a_resumed_run_keeps_what_was_found(signs, tmp_path, monkeypatch):
    asked = drawn_mirrored(monkeypatch, False)
    fit(toy(signs), signs, SHORT, tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path).state["mirror"] is False
    drawn_mirrored(monkeypatch, True)
    fit(toy(signs), signs, replace(SHORT, images=64), tmp_path, quiet=True)
    assert checkpoint.newest_resume(tmp_path).state["mirror"] is False and len(asked) == len(told(tmp_path)) == 1
    fit(toy(signs), signs, replace(SHORT, images=64, mirror=False), tmp_path / "whole", quiet=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_of_an_earlier_version_goes_on_as_it_began(tmp_path):
    begun = {"method": "ifcvaegan", "config": {}, "data": {}, "train": {"mirror": True, "images": 5}}
    (tmp_path / "config.json").write_text(json.dumps(begun))
    now = {**begun, "train": {"mirror": None, "precision": "auto", "images": 5}}
    check_settings(tmp_path / "config.json", now, allow=False)
    with pytest.raises(ValueError, match=r"train.mirror was True, now False; .*--allow"):
        check_settings(tmp_path / "config.json", {**now, "train": {"mirror": False, "precision": "auto", "images": 5}}, allow=False)


def test_a_checkpoint_that_does_not_know_was_mirrored(signs, tmp_path, monkeypatch):
    monkeypatch.setattr("recombine.training.engine.handedness", lambda pack: pytest.fail("asked"))
    fit(toy(signs), signs, replace(SHORT, mirror=True), tmp_path / "whole", quiet=True)
    drop, save = [], checkpoint.save_resume

    def as_before(run, seen, tensors, state):
        drop.append(state.pop("mirror"))
        save(run, seen, tensors, state)

    monkeypatch.setattr(checkpoint, "save_resume", as_before)
    fit(toy(signs), signs, replace(SHORT, images=16, mirror=True), tmp_path / "parts", quiet=True)
    fit(toy(signs), signs, SHORT, tmp_path / "parts", quiet=True)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert drop and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_pack_of_colours_and_of_grey_is_read(tmp_path):
    for channels in (1, 3):
        images = np.random.default_rng(0).integers(0, 256, (8, channels, 40, 16), np.uint8)[..., :16, :]
        pack = Pack(packed(tmp_path / str(channels), images).path)
        seen = mirroring.looked_at(pack, np.arange(8))
        assert seen.shape == (8, 1, mirroring.SIZE, mirroring.SIZE) and seen.mean((2, 3)).abs().max() < 1e-5
