"""Settings that find themselves: the choices from facts, what is said of them, and that they are what is trained."""

from dataclasses import replace

import numpy as np
import pytest

from recombine import planning
from recombine.cli import main
from recombine.data.packed import write_pack
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.methods import presets
from recombine.planning import Facts, choose, choose_size, facts_of, headline
from recombine.training.runs import settings_of

SMILING, HAIR = Attribute("Smiling", "binary", ("0", "1")), Attribute("hair", "categorical", ("red", "blue", "green"))
AGE, PERSON = Attribute("age", "continuous", low=1.0, high=90.0), Attribute("person", "group", ("a", "b", "c", "d"))
ENOUGH = {"Smiling": (40, 20), "hair": (20, 20, 20), "age": (20,), "person": (2, 2, 1, 0)}


def facts(images=5_000, device="cpu", size=(64, 64), attributes=(SMILING, HAIR, AGE, PERSON), cores=2, **counts):
    return Facts(images, size, attributes, {**ENOUGH, **counts}, device, cores)


@pytest.mark.parametrize(
    ("sides", "device", "size", "why"),
    [
        ([250], "cpu", 64, "as many as suit this CPU; size='128' takes four times as long for each image"), ([250], "cuda", 128, "as many as suit this GPU"),
        ([64, 64, 20], "cpu", 64, "suit this CPU"), ([63], "cpu", 32, "half of the images have no more than 63; size='64' makes them larger"),
        ([20, 100, 100], "cuda", 64, "no more than 100"), ([90, 20, 20], "cuda", 32, "no more than 20"), ([], "cpu", 64, "suit this CPU"),
    ],
)  # fmt: skip
def test_the_size_is_what_most_images_and_the_device_allow(sides, device, size, why):
    chosen, choice = choose_size(sides, device)
    assert chosen == size and choice.setting == "size"
    assert choice.sentence.startswith(f"{size} pixels, as ") and why in choice.sentence


def test_the_device_decides_on_batch_and_time():
    for device, batch, minutes in (("cpu", 16, 45.0), ("cuda", 32, 10.0)):
        recipe, choices = choose(facts(device=device))
        train, said = recipe.train, {choice.setting: choice.sentence for choice in choices}
        assert (recipe.method, recipe.size, train.batch_size, train.minutes) == ("splice", 64, batch, minutes)
        assert (train.ema_images, train.decay, train.keep, train.mirror) == (5_000, 0.3, "best", None)
        assert said["batch_size"].startswith(f"batches of {batch} images") and said["minutes"].startswith(f"{minutes:g} minutes, or 200 passes through the training images (1,000,000 images) where these take less; ")


@pytest.mark.parametrize(("images", "name"), [(1_999, "small"), (2_000, "photos")])
def test_few_images_get_narrow_networks(images, name):
    recipe, choices = choose(facts(images=images))
    assert recipe.config == presets("splice")[name]
    why = "fewer than" if name == "small" else "at least"
    assert f"preset {name}, as there are {why} 2,000 training images" in [choice.sentence for choice in choices]


def test_evaluations_are_a_tenth_of_the_training_apart():
    # On a CPU 100 images/s at 64 pixels, 45 minutes, are 270,000 images; four times as many at 32 would be more than 200 passes.
    assert choose(facts())[0].train.evaluate_every == 27_000
    assert choose(facts(images=100))[0].train.evaluate_every == 2_000
    assert choose(facts(size=(32, 32)))[0].train.evaluate_every == 100_000
    assert choose(facts(), minutes=4.5)[0].train.evaluate_every == 2_700
    by_images = choose(facts(), images=1_001)[0].train
    assert (by_images.evaluate_every, by_images.images, by_images.minutes) == (101, 1_001, 0.0)
    train = choose(facts(), minutes=4.5)[0].train
    assert (train.minutes, train.passes, train.evaluations, train.plateau_images) == (4.5, 200.0, 10, 1)


def test_short_trainings_begin_with_a_larger_share_apart():
    # 12,000 images are a tenth of 120,000, and more than the most, a quarter, of 40,000; a GPU's images are not known beforehand.
    for asked, share in (({}, 0.1), ({"minutes": 10.0}, 0.2), ({"minutes": 5.0}, 0.25), ({"images": 80_000}, 0.15), ({"images": 9_000}, 0.25)):
        recipe, choices = choose(facts(), **asked)
        said = [choice.sentence for choice in choices if choice.setting == "apart_share"]
        assert recipe.config.apart_share == share and len(said) == (share > 0.1)
    assert choose(facts(device="cuda"), minutes=5.0)[0].config.apart_share == 0.1


def said_of_attributes(found):
    return [choice.sentence for choice in found[1] if choice.setting == "attributes"]


def test_attributes_with_enough_images_are_learnt():
    found = choose(facts())
    assert found[0].attributes == ("Smiling", "hair", "age", "person")
    assert said_of_attributes(found) == ["attributes: Smiling, hair, age, person; attributes='A,B' names those to learn"]


def test_attributes_with_rare_values_are_left_out():
    found = choose(facts(hair=(40, 19, 0), age=(7,)))
    assert found[0].attributes == ("Smiling", "person")
    assert said_of_attributes(found)[1:] == [
        "left out, as fewer than 20 training images show a value: hair (blue 19, green 0), age (known 7)"
    ]


def test_groups_of_one_image_are_left_out():
    for counts in ((3, 1, 1, 0), (5, 0, 0, 0)):
        found = choose(facts(person=counts))
        assert found[0].attributes == ("Smiling", "hair", "age")
    assert said_of_attributes(choose(facts(person=(3, 1, 1, 0))))[1:] == [
        "left out, as most of their groups have one training image: person (2 of 3)"
    ]


def test_where_every_attribute_is_scarce_all_are_learnt():
    found = choose(facts(Smiling=(5, 5), attributes=(SMILING,)))
    assert found[0].attributes == ("Smiling",)
    assert said_of_attributes(found) == ["attributes: Smiling, though hardly an image shows some of their values"]


def test_many_attributes_are_learnt_but_fewer_are_advised():
    many = [Attribute(f"a{place}", "binary", ("0", "1")) for place in range(9)]
    for count in (8, 9):
        found = choose(facts(attributes=tuple(many[:count]), **{a.name: (30, 30) for a in many}))
        assert len(found[0].attributes) == count
        advice = ["9 attributes with labels are many: fewer are learnt better in the same time"]
        assert said_of_attributes(found)[1:] == (advice if count == 9 else [])


def test_nothing_is_expected_that_was_not_measured(monkeypatch):
    def said(*arguments, **asked):
        return [c.sentence for c in choose(facts(*arguments), **asked)[1] if c.setting == "quality"]

    monkeypatch.setattr(planning, "QUALITY", {})
    assert said() == []
    monkeypatch.setattr(planning, "QUALITY", {1_000: 0.4, 4_000: 0.75})
    assert said() == ["where it was measured, 75% of swaps succeeded with 4,000 training images"]
    assert said(999) == said(5_000, "cuda") == said(minutes=5.0) == said(images=5) == []
    assert said(1_000)[0].endswith("40% of swaps succeeded with 1,000 training images")


def test_the_headline_says_what_on_what_and_how_long():
    recipe, _ = choose(facts(11_119))
    start = "splice on 11,119 training images of 64 x 64 pixels, 4 attributes: "
    assert headline(recipe, facts(11_119)) == f"{start}at most 45 minutes of training on this CPU (2 cores); how many images these suffice for is measured first"
    recipe, _ = choose(facts(11_119), images=8_000)
    assert headline(recipe, facts(11_119, "cuda")) == f"{start}8,000 images of training on this GPU"


def scanned(folder, count=100):
    """A pack in which a quarter of the images is for validation, and one for training shows no label."""
    labels = {"Smiling": np.arange(count) % 2, "hair": np.arange(count) % 3, "age": np.full(count, np.nan), "person": np.arange(count) // 30}
    labels["Smiling"][0] = MISSING
    splits = ["val" if place % 4 == 3 else "train" for place in range(count)]
    schema = Schema((SMILING, HAIR, AGE, PERSON), 16, 16)
    return write_pack(folder, np.zeros((count, 3, 16, 16), np.uint8), schema, [f"{i}.png" for i in range(count)], labels, splits)


def test_facts_are_those_of_the_training_images(tmp_path):
    found = facts_of(scanned(tmp_path), "cpu", 2)
    assert (found.images, found.size, found.cores) == (75, (16, 16), 2)
    assert found.counts == {"Smiling": (49, 25), "hair": (25, 25, 25), "age": (0,), "person": (23, 22, 23, 7)}
    assert list(facts_of(scanned(tmp_path), "cpu", 2, ["hair"]).counts) == ["hair"]
    with pytest.raises(KeyError, match="no attribute 'hat'; there are Smiling, hair, age, person"):
        facts_of(scanned(tmp_path), "cpu", 2, ["hat"])


@pytest.fixture
def started(monkeypatch):
    """Recipes and packs that would be trained."""
    found = []
    monkeypatch.setattr("recombine.training.runs.fit", lambda method, pack, train, run, **_: found.append((method, pack, train)))
    monkeypatch.setattr("recombine.training.checkpoint.trained_images", lambda run: 0)
    return found


def test_train_takes_what_was_chosen_and_says_it(tmp_path, capsys, started):
    scanned(tmp_path / "pack")
    assert main(["train", str(tmp_path / "pack"), "--out", str(tmp_path / "run"), "--judge", "none"]) == 0
    (method, pack, train), said = started[0], capsys.readouterr().err
    assert method.config == replace(presets("splice")["small"], apart_share=0.25) and pack.schema.names == ("Smiling", "hair", "person")
    assert (train.batch_size, train.minutes, train.keep, train.evaluations) == (16, 45.0, "best", 10)
    assert said.startswith("splice on 75 training images of 16 x 16 pixels, 3 attributes: at most 45 minutes of training on this CPU (")
    for sentence in ("left out, as fewer than 20 training images show a value: age (known 0)", "preset small, as there are fewer than 2,000 training", "batches of 16", "critic and autoencoder first learn apart, for 25% as many images as together, as a training of some 15,000 images is short"):
        assert f"\n  {sentence}" in said
    assert "--attributes A,B names those to learn" in said and "--minutes 5 for a first look" in said


def test_what_is_named_is_neither_chosen_nor_said(tmp_path, capsys, started):
    scanned(tmp_path / "pack")
    named = "--attributes hair --preset photos --batch-size 8 --images 80 --set width=8 --judge none".split()
    assert main(["train", str(tmp_path / "pack"), "--out", str(tmp_path / "run"), *named]) == 0
    (method, pack, train), said = started[0], capsys.readouterr().err
    assert (method.config.width, method.config.critic_width, pack.schema.names) == (8, presets("splice")["photos"].critic_width, ("hair",))
    assert (train.batch_size, train.images, train.minutes, train.evaluate_every) == (8, 80, 0.0, 8)
    assert "1 attribute: 80 images of training on this CPU" in said
    assert not any(word in said for word in ("attributes:", "preset", "batches", "passes", "apart"))


def test_other_methods_and_recipes_keep_their_settings(tmp_path, capsys, started):
    scanned(tmp_path / "pack")
    command = ["train", str(tmp_path / "pack"), "--out", str(tmp_path / "run"), "--judge", "none"]
    assert main([*command, "--method", "ifcvaegan", "--attributes", "Smiling"]) == 0
    assert main([*command, "--attributes", "Smiling"]) == 0, "a run goes on with its method"
    for method, _, train in started:
        assert (type(method).__name__, train.images, train.minutes, train.batch_size, train.keep) == ("IFcVAEGAN", 200_000, 0.0, 32, "last")
    assert "splice on" not in capsys.readouterr().err
    assert main([*command, "--method", "splice"]) == 1
    assert "method was 'ifcvaegan', now 'splice'" in capsys.readouterr().err


def test_images_of_a_folder_are_made_as_large_as_suits_them(tmp_path, capsys, started, monkeypatch):
    from PIL import Image

    for value in ("cat", "dog"):
        (tmp_path / "pets" / value).mkdir(parents=True)
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 256, (48, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / value / f"{i}.png")
    command = ["train", str(tmp_path / "pets"), "--judge", "none", "--out"]
    assert main([*command, str(tmp_path / "small")]) == 0
    assert "  32 pixels, as half of the images have no more than 48; --size 64 makes them larger" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "large"), "--size", "64"]) == 0
    assert "pixels, as" not in capsys.readouterr().err
    assert [method.image_size for method, *_ in started] == [(32, 32), (64, 64)]


def test_a_run_goes_on_as_it_was_begun_on_another_device(tmp_path, capsys, started, monkeypatch):
    command = ["train", str(tmp_path / "pack"), "--out", str(tmp_path / "run"), "--judge", "none"]
    scanned(tmp_path / "pack")
    assert main(command) == 0
    monkeypatch.setattr("recombine.commands.train.best_device", lambda: "cuda")
    assert main(command) == 0 and main([*command, "--minutes", "60"]) == 0
    assert [(train.batch_size, train.minutes) for *_, train in started] == [(16, 45.0), (16, 45.0), (16, 60.0)]
    assert [method.config.apart_share for method, *_ in started] == [0.25] * 3, "which is another on another device"
    assert settings_of(tmp_path / "run")[1].image_size == (16, 16) and settings_of(tmp_path / "new") == ({}, None)
