"""Several packs as one."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from recombine.cli import main
from recombine.data.joined import join
from recombine.data.packed import Pack, write_pack
from recombine.data.samplers import Iid, InTurn, Macro, Pairs
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.methods.ifcvaegan import Config
from recombine.recipes import RECIPES
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.runs import pack_of, start

GAZE = (("left", "right"),)


def made(folder, count, attributes, labels, seed, **more):
    schema = Schema(attributes, **{"height": 16, "width": 16, **more})
    pixels = np.random.default_rng(seed).integers(0, 256, (count, schema.channels, schema.height, schema.width), dtype=np.uint8)
    splits = ["train"] * (count - 4) + ["val"] * 4
    return write_pack(folder, pixels, schema, [f"{i}.png" for i in range(count)], labels, splits)


@pytest.fixture
def packs(tmp_path):
    """`a` has people, gaze, age; `b` has people of the same numbers, gaze with another value, and a hat."""
    a = made(
        tmp_path / "a",
        12,
        (
            Attribute("identity", "group", ("p", "q", "r")),
            Attribute("gaze", "categorical", ("left", "right"), mirror=GAZE),
            Attribute("age", "continuous", low=20, high=40),
        ),
        {"identity": np.arange(12) % 3, "gaze": np.arange(12) % 2, "age": np.linspace(20, 40, 12)},
        seed=1,
    )
    b = made(
        tmp_path / "b",
        20,
        (
            Attribute("gaze", "categorical", ("front", "left", "right"), mirror=GAZE),
            Attribute("identity", "group", ("p", "s")),
            Attribute("hat", "binary", ("0", "1")),
        ),
        {"identity": np.arange(20) % 2, "gaze": np.arange(20) % 3, "hat": np.where(np.arange(20) < 3, MISSING, np.arange(20) % 2)},
        seed=2,
    )
    return [a, b]


def test_rows_files_and_pictures_follow_each_other(packs):
    both = join(packs)
    assert len(both) == 32 and both.files[11:13] == ["1/11.png", "2/0.png"]
    assert both.sources.tolist() == [0] * 12 + [1] * 20
    assert both.rows("val").tolist() == [8, 9, 10, 11, 28, 29, 30, 31]
    batch = both.batch([0, 31, 12, 11, 12])
    for place, (pack, row) in enumerate([(0, 0), (1, 19), (1, 0), (0, 11), (1, 0)]):
        assert (batch.images[place] == packs[pack].batch([row]).images[0]).all()
    assert np.array_equal(both.images[-1], packs[1].images[19]) and both.images.shape == (32, 3, 16, 16)


def test_labels_mean_what_they_meant_and_what_a_pack_lacks_is_missing(packs):
    both = join(packs)
    assert both.schema.names == ("identity", "gaze", "age", "hat")
    assert both.schema["gaze"].values == ("left", "right", "front") and both.schema["gaze"].mirror == GAZE
    batch = both.batch(np.arange(32))
    assert batch.known["age"].tolist() == [True] * 12 + [False] * 20
    assert batch.known["hat"].tolist() == [False] * 15 + [True] * 17
    meant = [both.schema["gaze"].values[i] for i in batch.labels["gaze"].tolist()]
    assert meant == ["left", "right"] * 6 + (["front", "left", "right"] * 7)[:20]


def test_a_mirrored_batch_follows_the_joint_rule(packs):
    both = join(packs)
    batch = both.batch([0, 12, 13], mirror=np.array([True, True, True]))
    assert [both.schema["gaze"].values[i] for i in batch.labels["gaze"].tolist()] == ["right", "front", "right"]


def test_people_of_two_data_sets_are_different_people_unless_stated(packs):
    assert join(packs).schema["identity"].values == ("1/p", "1/q", "1/r", "2/p", "2/s")
    same = join(packs, shared=["identity"])
    assert same.schema["identity"].values == ("p", "q", "r", "s")
    assert same.labels["identity"][12:14].tolist() == [0, 3]
    with pytest.raises(ValueError, match="shared names groups of the packs, which are identity, not 'identiti'; did you mean 'identity'"):
        join(packs, shared=["identiti"])


def test_samplers_draw_from_all_or_from_one_data_set(packs):
    both = join(packs)
    draw = Pairs(both, by="identity").draw(0, 200)
    assert (both.sources[draw.rows] == both.sources[draw.partner]).all()
    assert set(both.sources[Iid(both).draw(0, 24).rows]) == {0, 1}
    turns = InTurn([Iid(both.only(0)), Macro(both.only(1), identity="identity", images=4)])
    for step in range(4):
        drawn = turns.draw(step * 8, 8)
        assert set(both.sources[drawn.rows]) == {drawn.source} == {step % 2}
    assert set(both.sources[Iid(both.select("hat").only(1)).draw(0, 16).rows]) == {1}
    with pytest.raises(ValueError, match="there are data sets 0 to 1, not 2"):
        both.only(2)


def test_selecting_pickling_and_reopening_keep_everything(packs):
    both = join(packs)
    some = both.select("hat", "identity")
    assert some.schema.names == ("hat", "identity") and some.whole().schema == both.schema
    again = pickle.loads(pickle.dumps(some))
    assert (again.batch([3, 30]).images == some.batch([3, 30]).images).all() and again.fingerprint == some.fingerprint
    assert Pack(packs[0].path).select("age").whole().schema == packs[0].schema
    both.verify()


def test_the_fingerprint_knows_labels_pictures_and_owners(packs):
    both = join(packs)
    assert both.fingerprint == join(packs).fingerprint == "01433db30c1a20b2"
    moved = copy.copy(both)
    moved.__dict__.pop("fingerprint")
    moved.sources = np.repeat([0, 1], [13, 19])
    prints = {both.fingerprint, join(packs[::-1]).fingerprint, both.select("hat").fingerprint, moved.fingerprint, packs[0].fingerprint}
    assert len(prints) == 5


def test_pictures_of_two_formats_and_attributes_of_two_kinds_are_refused(packs, tmp_path):
    small = made(tmp_path / "small", 6, (), {}, 3, width=32)
    with pytest.raises(ValueError, match=r"width is 16 in .*a and 32 in .*small; pack one of them again"):
        join([packs[0], small])
    other = made(tmp_path / "other", 6, (Attribute("age", "categorical", ("old", "young")),), {"age": np.arange(6) % 2}, 3)
    with pytest.raises(ValueError, match=r"age is continuous in .*a and categorical in .*other; state one kind for both"):
        join([packs[0], other])
    with pytest.raises(ValueError, match="none that was joined before"):
        join([join(packs), packs[0]])


@pytest.mark.parametrize(
    ("kind", "values", "rules"),
    [
        ("categorical", ("left", "right"), ("keep", GAZE)),
        ("categorical", ("a", "b", "c"), ((("a", "b"),), (("a", "c"),))),
        ("binary", ("0", "1"), ("keep", "negate")),
    ],
)
def test_contradicting_mirror_rules_are_refused(tmp_path, kind, values, rules):
    packs = [made(tmp_path / str(n), 6, (Attribute("x", kind, values, mirror=rule),), {"x": np.arange(6) % 2}, n) for n, rule in enumerate(rules)]
    with pytest.raises(ValueError, match="x becomes another value in a mirrored image by different rules"):
        join(packs)


def test_a_side_that_one_data_set_lacks_is_no_contradiction(tmp_path):
    one = made(tmp_path / "1", 6, (Attribute("x", "categorical", ("front", "left")),), {"x": np.arange(6) % 2}, 1)
    two = made(tmp_path / "2", 6, (Attribute("x", "categorical", ("left", "right"), mirror=GAZE),), {"x": np.arange(6) % 2}, 2)
    assert join([one, two]).schema["x"].mirror == GAZE


def test_a_run_on_two_packs_is_trained_resumed_and_opened_again(packs, tmp_path):
    config = Config(width=4, num_latents=4, aux_width=8)
    recipe = Recipe("ifcvaegan", config, TrainConfig(images=16, batch_size=8, save_seconds=0), attributes=("gaze", "hat"), size=16)
    run = tmp_path / "run"
    start(recipe, join(packs), run, quiet=True)
    start(replace(recipe, train=replace(recipe.train, images=24)), join(packs), run, quiet=True)
    opened = pack_of(run)
    assert opened.fingerprint == join(packs).select("gaze", "hat").fingerprint
    with pytest.raises(ValueError, match="was begun with other settings"):
        start(recipe, packs[1], run, quiet=True)


def test_train_takes_several_data_sets(packs, tmp_path, capsys, monkeypatch):
    def tiny():
        config = {"width": 4, "num_latents": 4, "aux_width": 8}
        return Recipe("ifcvaegan", Config(**config), TrainConfig(images=8, batch_size=8), attributes=("gaze", "hat"), size=16)

    monkeypatch.setitem(RECIPES, "tiny", tiny)
    data = [option for pack in packs for option in ("--data", str(pack.path))]
    assert main(["train", "tiny", *data, "--out", str(tmp_path / "run"), "--judge", "none"]) == 0
    assert [len(pack) for pack in pack_of(tmp_path / "run").packs] == [12, 20]
    assert main(["train", str(packs[0].path), *data, "--out", str(tmp_path / "run")]) == 1
    assert "--data belongs to a recipe" in capsys.readouterr().err
