"""Settings: the default of every entry point, values given as text, presets, and what differs."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from recombine.commands.train import adjusted
from recombine.comparison.plan import recipe_for
from recombine.data.synthetic import avatars
from recombine.methods import METHODS, presets
from recombine.papers.workspace import baseline
from recombine.recipes import RECIPES, default_recipe
from recombine.training.recipe import TrainConfig
from recombine.training.settings import NOTHING, changed, changed_recipe, differing, labelled, parse, preset

OURS = ("advattr", "mad", "ifcvaegan", "rodi", "matdr", "splice")
ON_PHOTOS = TrainConfig(images=200_000, batch_size=32, ema_images=5_000, decay=0.3)
ON_AVATARS = TrainConfig(images=24_000, batch_size=16, mirror=False, ema_images=2_000, decay=0.4, log_every=1_600, evaluate_every=12_000)
IN_TABLES = TrainConfig(batch_size=16, mirror=True, decay=0.4, ema_images=2_000)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A pack of built-in avatars."""
    return avatars.build(tmp_path_factory.mktemp("faces") / "pack", 40, 16, progress=False)


def on_photos(name):
    """The settings found on photographs, or the small preset; MAD's rounds count the attributes of one data set."""
    config = presets(name)["photos" if name in OURS else "small"]
    return replace(config, rounds=()) if name == "mad" else config


def paired(config, group):
    """The settings with pairs drawn by a group, where the method draws pairs."""
    if not hasattr(config, "pair_by"):
        return config
    return replace(config, pair_by=group if isinstance(config.pair_by, str) else (group,))


@pytest.mark.parametrize("name", METHODS)
def test_every_entry_point_takes_the_same_default(name, signs, faces):
    config, origin = on_photos(name), "settings found on photographs" if name in OURS else "preset small"
    recipe, said = default_recipe(name)
    assert (recipe.config, recipe.train, recipe.size, recipe.attributes, said) == (config, ON_PHOTOS, 64, (), origin)
    assert adjusted(RECIPES["avatars.demo"](), name, None, {}).config == (config if name != "ifcvaegan" else presets(name)["avatars-all"])

    recipe, said = recipe_for(name, signs, ("lamp",), "maker")
    assert (recipe.config, recipe.train, said) == (paired(config, "maker"), ON_PHOTOS, origin)

    base = RECIPES[f"{name}.avatars"]() if name in OURS else None
    recipe, said = recipe_for(name, faces, ("glasses",))
    assert recipe.config == paired(base.config if base else presets(name)["small"], "clip")
    assert recipe.train == (base.train if base else ON_AVATARS)
    assert said == (f"recipe {name}.avatars" if base else "preset small")

    recipe = baseline(name, ("lamp",))
    assert (recipe.config, recipe.train, recipe.attributes) == (config, IN_TABLES, ("lamp",))


@pytest.mark.parametrize("name", METHODS)
def test_every_preset_is_reached_by_train_and_by_compare(name, signs):
    for chosen in presets(name):
        assert adjusted(default_recipe()[0], name, chosen, {}).config == presets(name)[chosen]
        recipe, origin = recipe_for(f"{name}:{chosen}", signs, ("lamp",), "maker")
        assert recipe.config == paired(presets(name)[chosen], "maker") and origin == f"preset {chosen}"


def test_rows_of_a_paper_are_presets_of_a_recipe():
    recipe = adjusted(RECIPES["lfw.smiling"](), None, "small-without-aux", {"kl_weight": "0.5", "log_every": "40"}, images=800)
    assert recipe.config == replace(presets("ifcvaegan")["small"], aux_weight=0.0, kl_weight=0.5)
    assert (recipe.train.images, recipe.train.log_every, recipe.size) == (800, 40, 32)


def test_images_and_minutes_exclude_each_other():
    recipe = RECIPES["lfw.smiling"]()
    timed = adjusted(recipe, None, None, {}, images=None, minutes=30.0)
    assert (timed.train.minutes, timed.train.images) == (30.0, recipe.train.images)
    assert adjusted(timed, None, None, {}, images=800).train == replace(recipe.train, images=800)
    assert adjusted(timed, None, None, {"images": "800"}).train == replace(recipe.train, images=800)
    for settings, given in (({}, {"images": 800, "minutes": 30.0}), ({"minutes": "30"}, {"images": 800})):
        with pytest.raises(ValueError, match="--images and --minutes both say how long to train; leave one of them out"):
            adjusted(recipe, None, None, settings, **given)


def test_an_unknown_preset_is_answered_with_all_and_the_nearest():
    with pytest.raises(ValueError, match="advattr has no preset 'photo'; it has paper, paper-without-dis, small, photos; did you mean 'photos'"):
        preset("advattr", "photo")
    with pytest.raises(ValueError, match=r"no method 'matd'; there are .*did you mean 'matdr'"):
        preset("matd", "small")


@dataclass(frozen=True)
class Every:
    """One setting of every type that methods have."""

    count: int = 1
    rate: float = 0.1
    deep: bool = False
    name: str = ""
    most: int | None = None
    form: Literal["sum", "mean"] = "sum"
    shares: tuple[float, ...] = ()
    betas: tuple[float, float] = (0.5, 0.9)
    pair_by: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "3", 3), ("rate", "3", 3.0), ("rate", "1e-3", 0.001), ("deep", "True", True), ("deep", "no", False), ("name", "a,b", "a,b"),
        ("most", "7", 7), ("most", "None", None), ("form", "mean", "mean"), ("shares", "2,1,0", (2.0, 1.0, 0.0)), ("shares", "", ()),
        ("betas", "0.9, 0.99", (0.9, 0.99)), ("pair_by", "clip", ("clip",)), ("pair_by", "clip,person", ("clip", "person")),
    ],
)  # fmt: skip
def test_text_is_read_as_the_declared_type(name, text, value):
    read = parse(Every(), name, text)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("count", "1.5", "setting 'count' takes a whole number, not '1.5'"),
        ("rate", "fast", "setting 'rate' takes a number, not 'fast'"),
        ("deep", "2", "setting 'deep' takes true or false, not '2'"),
        ("form", "max", "setting 'form' is one of sum, mean, not 'max'"),
        ("shares", "2,x", "setting 'shares' takes a number, not 'x'"),
        ("betas", "0.9", "setting 'betas' takes 2 values separated by commas, not '0.9'"),
        ("rates", "1", "every has no setting 'rates'; it has count, rate, .*did you mean 'rate'"),
    ],
)
def test_text_that_does_not_read_is_refused(name, text, message):
    with pytest.raises(ValueError, match=message):
        changed("every", Every(), {name: text})


def test_a_setting_of_the_training_is_found_after_the_methods_own():
    recipe = changed_recipe(default_recipe("rodi")[0], {"learning_rate": "0.1", "precision": "bf16-mixed"})
    assert recipe.config.learning_rate == 0.1 and recipe.train.precision == "bf16-mixed"
    with pytest.raises(ValueError, match=r"rodi has no setting 'log_evry'; it has .*did you mean 'log_every'"):
        changed_recipe(recipe, {"log_evry": "1"})


def test_labels_of_a_comparison_name_presets_and_changes():
    assert labelled("mad") == ("mad", "", {})
    assert labelled("mad:small") == ("mad", "small", {})
    assert labelled("mad:shares=2,1,0+hardest=3") == ("mad", "", {"shares": "2,1,0", "hardest": "3"})
    assert labelled("ifcvaegan:photos+aux_form=uniform") == ("ifcvaegan", "photos", {"aux_form": "uniform"})
    for wrong, message in (("mad:shares=x", "takes a number"), ("mad:smal", "did you mean 'small'"), ("mda", "did you mean 'mad'"), ("mad:share=1", "did you mean 'shares'")):
        with pytest.raises(ValueError, match=message):
            labelled(wrong)


def test_a_label_changes_the_default_of_its_data(signs, faces):
    recipe, origin = recipe_for("ifcvaegan:aux_weight=0+kl_weight=0", signs, ("lamp",))
    assert recipe.config == replace(presets("ifcvaegan")["photos"], aux_weight=0.0, kl_weight=0.0)
    assert origin == "settings found on photographs, aux_weight=0+kl_weight=0"
    recipe, origin = recipe_for("ifcvaegan:aux_weight=0", faces, ("glasses",))
    assert recipe.config == replace(presets("ifcvaegan")["avatars"], aux_weight=0.0) and origin == "recipe ifcvaegan.avatars, aux_weight=0"
    recipe, origin = recipe_for("mad:small+shares=2,1,0", signs, ("lamp",))
    assert recipe.config.shares == (2.0, 1.0, 0.0) and origin == "preset small, shares=2,1,0"


def test_what_differs_is_found_by_name():
    begun = {"method": "mad", "config": {"width": 4, "old": 1}, "parts": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]}
    now = {"method": "mad", "config": {"width": 8, "new": 2}, "parts": [{"name": "b", "size": 3}, {"name": "a", "size": 1}]}
    assert differing(begun, now) == [("config.width", 4, 8), ("config.new", NOTHING, 2), ("parts.b.size", 2, 3)]
    assert set(differing(begun, now, removed=True)) - set(differing(begun, now)) == {("config.old", 1, NOTHING)}
    assert repr(NOTHING) == "nothing"
