"""Probes on codes of which it is known what can be read from them."""

import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score

from recombine.codes import Codes
from recombine.data.schema import Attribute
from recombine.metrics.leakage import leakage, matrix_json, off_part
from recombine.metrics.probes import features

COLOUR = Attribute("colour", "categorical", ("red", "green", "blue"))
LAMP = Attribute("lamp", "binary", ("0", "1"))
SHADE = Attribute("shade", "continuous", low=0.0, high=1.0)
MAKER = Attribute("maker", "group", ("a", "b"))


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    return {
        "colour": rng.integers(0, 3, 900), "lamp": rng.integers(0, 2, 900), "shade": rng.random(900),
        "maker": rng.integers(0, 2, 900),
    }


def codes_of(labels):
    """One part for each kind of answer."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(900, 4))
    sides = np.where(rng.random(900) < 0.5, -1.0, 1.0)
    parts = {
        "perfect": np.eye(3)[labels["colour"]],
        "constant": np.ones((900, 2)),
        "shuffled": np.eye(3)[rng.permutation(labels["colour"])],
        # The colour stands in no direction of its own, only in how the two numbers go together.
        "hidden": np.stack([sides, sides * (1 - 2 * (labels["colour"] == 0))], 1) + 0.1 * noise[:, :2],
        "number": np.stack([2 * labels["shade"] - 1, noise[:, 0]], 1),
    }
    return Codes({name: torch.tensor(part, dtype=torch.float32) for name, part in parts.items()})


def probed(codes, labels, *attributes, **options):
    sides = (slice(0, 600), slice(600, None))
    (train, train_labels), (test, test_labels) = ((codes[s], {n: c[s] for n, c in labels.items()}) for s in sides)
    return leakage(train, train_labels, test, test_labels, attributes, **options)


@pytest.mark.parametrize("probe", ["linear", "two_layer", "both"])
def test_what_is_there_is_read_and_what_is_not_is_not(probe, labels):
    found = matrix_json(probed(codes_of(labels).select("perfect", "constant", "shuffled"), labels, COLOUR, probe=probe))
    perfect, constant, shuffled = (found[part]["colour"] for part in ("perfect", "constant", "shuffled"))
    guessed = np.mean(labels["colour"][600:] == np.bincount(labels["colour"][:600]).argmax())
    assert perfect["accuracy"]["value"] == 1 and perfect["accuracy"]["n"] == 300
    assert perfect["above"]["value"] == pytest.approx(1 - guessed) and perfect["majority"] == pytest.approx(guessed)
    assert constant["above"]["value"] == 0 and constant["accuracy"]["value"] == pytest.approx(guessed)
    assert shuffled["above"]["low"] <= 0.02 and abs(shuffled["above"]["value"]) < 0.08
    json.dumps(found)


def test_only_two_layers_read_what_stands_in_no_direction(labels):
    codes = codes_of(labels).select("hidden")
    red = {"red": (labels["colour"] == 0).astype(int)}
    linear, two_layer, both = (
        probed(codes, red, Attribute("red", "binary", ("0", "1")), probe=probe)["hidden"]["red"]
        for probe in ("linear", "two_layer", "both")
    )
    assert linear.above().mean() < 0.05
    assert (two_layer.pred == two_layer.target).mean() > 0.98
    assert both.probe == "two_layer" and (both.pred == two_layer.pred).all()


def test_linear_probe_agrees_with_scikit_learn(labels):
    rng = np.random.default_rng(2)
    codes = Codes(part=torch.tensor(np.eye(3)[labels["colour"]] + rng.normal(size=(900, 3)), dtype=torch.float32))
    found = probed(codes, labels, COLOUR)["part"]["colour"]
    x = codes["part"].numpy()
    theirs = LogisticRegression().fit(x[:600], labels["colour"][:600]).score(x[600:], labels["colour"][600:])
    assert (found.pred == found.target).mean() == pytest.approx(theirs, abs=0.02)


@pytest.mark.parametrize("probe", ["linear", "two_layer"])
def test_numbers_are_explained_or_not(probe, labels):
    matrix = probed(codes_of(labels).select("number", "shuffled"), labels, SHADE, probe=probe)
    read, unread = (matrix[part]["shade"] for part in ("number", "shuffled"))
    assert read.to_json()["r2"]["value"] == pytest.approx(r2_score(read.target, read.pred))
    assert read.to_json()["r2"]["value"] > 0.97 and read.to_json()["r2"]["n"] == 300
    assert -0.05 < unread.to_json()["r2"]["value"] < 0.03


def test_many_features_do_not_make_a_probe_guess_worse_than_always_the_same(labels):
    noise = torch.randn(900, 600, generator=torch.Generator().manual_seed(0))
    for probe in ("linear", "two_layer"):
        found = matrix_json(probed(Codes(noise=noise), labels, SHADE, probe=probe))["noise"]
        assert found["shade"]["r2"]["value"] > -0.1


def test_off_part_by_hand(labels):
    # Two parts that carry both labels and one that carries none; each of the two should have one label only.
    both = np.concatenate([np.eye(3)[labels["colour"]], labels["lamp"][:, None]], 1)
    codes = Codes(colour=torch.tensor(both), lamp=torch.tensor(both), rest=torch.zeros(900, 3))
    matrix = probed(codes, labels, COLOUR, LAMP)
    lamps, colours = (matrix[part][name].above().mean() for part, name in (("colour", "lamp"), ("lamp", "colour")))
    headline = off_part(matrix, {"colour": ["colour"], "lamp": ["lamp"]})
    assert headline.value == pytest.approx((lamps + colours + 0 + 0) / 4)
    assert headline.n == 300 and headline.low < headline.value < headline.high
    alone = off_part(matrix, {"colour": ["colour"], "lamp": ["lamp"], "rest": ["colour", "lamp"]})
    assert alone.value == pytest.approx((lamps + colours) / 2)
    clean = Codes(colour=torch.tensor(np.eye(3)[labels["colour"]]), lamp=torch.tensor(labels["lamp"][:, None]))
    nothing = off_part(probed(clean, labels, COLOUR, LAMP), {"colour": ["colour"], "lamp": ["lamp"]})
    assert abs(nothing.value) < 0.05 and nothing.low <= 0 <= nothing.high


def test_interval_of_the_headline_covers_the_truth_as_often_as_it_says(labels):
    # A code that shows the lamp rightly in 70 % of all images: 20 % above guessing.
    covered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lamps = np.arange(900) % 2
        shown = np.where(rng.random(900) < 0.7, lamps, 1 - lamps)
        matrix = probed(Codes(rest=torch.tensor(shown[:, None])), {"lamp": lamps}, LAMP)
        found = off_part(matrix, {}, samples=300)
        covered += found.low <= 0.2 <= found.high
    assert covered >= 34


def test_missing_labels_and_groups_take_no_part(labels):
    gaps = {name: column.copy() for name, column in labels.items()}
    gaps["lamp"][:590] = -1
    gaps["colour"][600:700] = -1
    gaps["shade"][600:] = np.nan
    matrix = probed(codes_of(labels).select("perfect"), gaps, COLOUR, LAMP, SHADE, MAKER)
    assert list(matrix["perfect"]) == ["colour"]
    assert matrix_json(matrix)["perfect"]["colour"]["accuracy"]["n"] == 200
    assert off_part(matrix, {}).n == 200


def test_a_value_that_is_never_learnt_is_never_seen(labels):
    one = {"colour": np.concatenate([np.zeros(600, int), labels["colour"][600:]])}
    for probe in ("linear", "two_layer"):
        found = probed(codes_of(labels).select("perfect"), one, COLOUR, probe=probe)["perfect"]["colour"]
        assert set(found.pred) == {0} and not found.above().any()


def test_same_seed_same_reading(labels):
    codes = codes_of(labels).select("hidden")
    first, again = (probed(codes, labels, COLOUR, probe="two_layer")["hidden"]["colour"] for _ in range(2))
    assert (first.pred == again.pred).all()


def test_large_maps_are_pooled_and_small_ones_are_not():
    small, large = torch.randn(5, 4, 16, 16), torch.randn(5, 8, 16, 16)
    assert features(small)[0].shape == (5, 1024)
    pooled = features(large)[0]
    assert pooled.shape == (5, 8 * 16)
    assert np.allclose(pooled.mean(0), 0, atol=1e-6) and np.allclose(pooled.std(0), 1, atol=1e-5)
    assert features(torch.randn(5, 100, 2, 32))[0].shape == (5, 100 * 2 * 4)


def test_mistakes_are_named(unchecked, labels):
    codes = codes_of(labels).select("perfect")
    with pytest.raises(ValueError, match="no probe 'cubic'; there are linear, two_layer and both"):
        probed(codes, labels, COLOUR, probe="cubic")
    with pytest.raises(ValueError, match="899 labels of 'colour' for codes of 900 images"):
        leakage(codes, {"colour": labels["colour"][1:]}, codes, labels, [COLOUR])
    matrix = probed(codes, labels, COLOUR)
    with pytest.raises(ValueError, match="no part 'hat' was probed; the parts are perfect"):
        off_part(matrix, {"hat": ["colour"]})
    with pytest.raises(ValueError, match="nowhere to leak to"):
        off_part(matrix, {"perfect": ["colour"]})


def test_a_planted_leak_is_found_the_better_the_stronger_it_is():
    # Two numbers of eight go together or apart by the label, so that no direction tells it; noise covers a weak weight.
    lamps = np.concatenate([np.arange(1200) % 2, np.arange(600) % 2])
    rng = np.random.default_rng(0)
    noise, sides = rng.normal(size=(1800, 8)), rng.choice([-1.0, 1.0], 1800)
    read = {}
    for weight in (0.0, 1.0, 2.0):
        planted = noise.copy()
        planted[:, :2] += weight * np.stack([sides, sides * (1 - 2 * lamps)], 1)
        parts = [Codes(part=torch.tensor(side, dtype=torch.float32)) for side in (planted[:1200], planted[1200:])]
        matrices = (leakage(parts[0], {"lamp": lamps[:1200]}, parts[1], {"lamp": lamps[1200:]}, [LAMP], probe) for probe in ("linear", "two_layer"))
        read[weight] = [matrix["part"]["lamp"].above().mean() for matrix in matrices]
    assert all(abs(linear) < 0.05 for linear, _ in read.values())
    assert abs(read[0.0][1]) < 0.05 and 0.12 < read[1.0][1] < 0.26 and read[2.0][1] > 0.4  # 0.23 and 0.46 are possible


def test_a_code_that_says_it_once_is_read_by_a_linear_probe_however_few_learn(labels):
    # 48 codes to choose a penalty by: the strongest may be right on all of them by a hair and wrong on all others.
    codes = Codes(lamp=torch.tensor(labels["lamp"][:, None], dtype=torch.float32))
    for start in range(0, 240, 60):
        train, test = slice(start, start + 240), slice(600, None)
        found = leakage(codes[train], {"lamp": labels["lamp"][train]}, codes[test], {"lamp": labels["lamp"][test]}, [LAMP])["lamp"]["lamp"]
        assert (found.pred == found.target).all() and found.probabilities[np.arange(300), found.target].min() > 0.9


def test_probes_learn_side_by_side_what_they_learn_alone(labels):
    gaps = {name: column.copy() for name, column in labels.items()}
    gaps["lamp"][:300] = -1
    codes = codes_of(labels).select("hidden", "number")
    red = Attribute("red", "binary", ("0", "1"))
    gaps["red"] = (labels["colour"] == 0).astype(int)
    together = matrix_json(probed(codes, gaps, COLOUR, LAMP, red, SHADE, probe="two_layer"))
    assert together["hidden"]["red"]["accuracy"]["value"] > 0.98 and together["number"]["shade"]["r2"]["value"] > 0.97
    assert abs(together["number"]["lamp"]["above"]["value"]) < 0.1 and together["hidden"]["shade"]["r2"]["value"] < 0.05
