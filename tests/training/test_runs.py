"""Starting runs from recipes, refusing other settings, and opening what is left."""

import json
from dataclasses import replace

import pytest
import torch

from recombine.methods import METHODS
from recombine.methods.ifcvaegan import Config
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.runs import build, load, pack_of, start

RECIPE = Recipe("ifcvaegan", Config(width=4, num_latents=6, aux_width=16), TrainConfig(images=64, batch_size=16, log_every=32), size=16, attributes=("lamp",))


def changed(recipe=RECIPE, config=None, **train):
    return replace(recipe, config=replace(recipe.config, **(config or {})), train=replace(recipe.train, **train))


def test_a_run_holds_what_the_design_says(signs, tmp_path):
    start(RECIPE, signs, tmp_path / "run", quiet=True)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.json", "labels.json", "model", "resume", "log.jsonl", "tensorboard"} <= names
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["method"] == "ifcvaegan" and config["config"]["width"] == 4 and config["train"]["images"] == 64
    assert config["versions"]["torch"] and config["data"]["fingerprint"]
    assert load(tmp_path / "run").schema.names == ("lamp",)
    assert pack_of(tmp_path / "run").schema.names == ("lamp",)


def test_a_model_is_opened_in_one_of_two_precisions(untrained):
    with pytest.raises(ValueError, match="'32-true' or 'bf16-mixed', not 'auto'"):
        load(untrained, precision="auto")
    images = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    exact, lowered = (model.decode(model.encode(images)) for model in (load(untrained), load(untrained, precision="bf16-mixed")))
    assert lowered.dtype == torch.float32 and 0 < (exact - lowered).abs().max() < 0.05


def test_other_settings_are_refused_with_the_difference(signs, tmp_path):
    start(RECIPE, signs, tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"begun with other settings: config.width was 4, now 8; give another folder"):
        start(changed(config={"width": 8}), signs, tmp_path, allow=True, quiet=True)
    with pytest.raises(ValueError, match=r"train.seed was 0, now 1; give another folder for a new run, or --allow"):
        start(changed(seed=1), signs, tmp_path, quiet=True)
    with pytest.raises(ValueError, match=r"data.attributes was \['lamp'\], now \['lamp', 'stripes'\]"):
        start(replace(RECIPE, attributes=("lamp", "stripes")), signs, tmp_path, allow=True, quiet=True)


def test_a_longer_training_goes_on(signs, tmp_path, capsys):
    start(RECIPE, signs, tmp_path, quiet=True)
    start(changed(images=128), signs, tmp_path, quiet=True)
    assert "going on after 64 of 128 images" in capsys.readouterr().err
    assert json.loads((tmp_path / "config.json").read_text())["train"]["images"] == 128


def test_another_batch_size_goes_on_and_says_what_is_lost(signs, tmp_path, capsys):
    start(RECIPE, signs, tmp_path, quiet=True)
    start(changed(images=128, batch_size=32), signs, tmp_path, quiet=True)
    assert "not bit for bit as without the change: train.batch_size was 16, now 32" in capsys.readouterr().err


def test_settings_newer_than_the_run_count_as_their_default(signs, tmp_path):
    start(RECIPE, signs, tmp_path, quiet=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    del config["config"]["rec_labels"]
    path.write_text(json.dumps(config))
    start(changed(images=80), signs, tmp_path, quiet=True)
    config["train"]["images"] = 80
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.rec_labels was 'guessed', now 'true'"):
        start(changed(config={"rec_labels": "true"}, images=80), signs, tmp_path, quiet=True)


def test_all_usable_attributes_when_none_is_named(signs, tmp_path):
    start(replace(RECIPE, attributes=()), signs, tmp_path, quiet=True)
    assert load(tmp_path).schema.names == ("colour", "lamp", "stripes")


def test_unknown_method_names_those_that_exist(signs):
    with pytest.raises(ValueError, match=f"no method 'ifcvaegam'; there are {', '.join(METHODS)}; did you mean 'ifcvaegan'"):
        build("ifcvaegam", {}, signs.schema)


def test_nothing_trained_yet(tmp_path):
    with pytest.raises(FileNotFoundError, match="finished model"):
        load(tmp_path)
