"""MIG, SAP and DCI of codes whose answers are known."""

import json

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from recombine.metrics.factors import completeness, dci, disentanglement, information, mig, sap

RNG = np.random.default_rng(0)
FACTORS = {"colour": RNG.integers(0, 3, 600), "lamp": RNG.integers(0, 2, 600), "shade": RNG.random(600)}
PERFECT = np.stack([factor.astype(float) for factor in FACTORS.values()], 1)
NOISE = RNG.normal(size=(600, 3))


def test_one_number_per_factor_is_perfect():
    found = mig(PERFECT, FACTORS)
    assert found["factors"]["colour"]["value"] > 0.93 and found["factors"]["lamp"]["value"] > 0.93
    assert found["all"]["value"] > 0.93 and found["all"]["n"] == 600
    assert found["all"]["low"] < found["all"]["value"] <= found["all"]["high"] <= 1
    gaps = sap(PERFECT, FACTORS)["factors"]  # the second number guesses the most frequent colour
    assert gaps["colour"]["value"] == pytest.approx(1 - np.bincount(FACTORS["colour"]).max() / 600, abs=0.04)
    assert gaps["shade"]["value"] > 0.97
    told = dci(PERFECT, FACTORS, trees=10)
    assert told["disentanglement"]["value"] > 0.95 and told["completeness"]["value"] > 0.95
    assert told["informativeness"]["colour"]["value"] == told["informativeness"]["lamp"]["value"] == 1
    assert told["informativeness"]["shade"]["value"] > 0.99
    json.dumps([found, gaps, told])


def test_numbers_said_twice_have_no_gap():
    twice = np.concatenate([PERFECT, PERFECT], 1)
    for found in (mig(twice, FACTORS), sap(twice, FACTORS)):
        assert all(report["value"] == pytest.approx(0) for report in (found["all"], *found["factors"].values()))
    told = dci(twice, FACTORS, trees=10)
    # Every number still matters to one factor, but every factor rests on two of six: 1 - ln 2 / ln 6.
    assert told["disentanglement"]["value"] > 0.95
    assert told["completeness"]["value"] == pytest.approx(1 - np.log(2) / np.log(6), abs=0.05)


def test_constant_and_shuffled_numbers_know_nothing():
    constant, shuffled = np.ones((600, 3)), RNG.permutation(PERFECT)
    assert mig(constant, FACTORS)["all"]["value"] == 0 == sap(constant, FACTORS)["all"]["value"]
    assert mig(shuffled, FACTORS)["all"]["value"] < 0.1 and sap(shuffled, FACTORS)["all"]["value"] < 0.05
    told = dci(constant, FACTORS, trees=10)
    assert told["disentanglement"]["value"] == 0 == pytest.approx(told["completeness"]["value"])
    read = dci(shuffled, FACTORS, trees=10)["informativeness"]
    assert read["shade"]["value"] < 0.1
    assert read["lamp"]["value"] == pytest.approx(0.5, abs=0.1) and read["lamp"]["n"] == 600


def test_a_turned_space_is_informative_and_not_disentangled():
    centred = (PERFECT - PERFECT.mean(0)) / PERFECT.std(0)
    turned = centred @ np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    straight, found = dci(centred, FACTORS, trees=10), dci(turned, FACTORS, trees=10)
    assert found["disentanglement"]["value"] < 0.6 < straight["disentanglement"]["value"]
    assert found["informativeness"]["lamp"]["value"] > 0.9
    assert mig(turned, FACTORS)["all"]["value"] < 0.4


def test_importances_by_hand():
    importance = np.array([[0.5, 0.0], [0.25, 0.75], [0.25, 0.25]])
    half, quarter = 0.0, 1 + (0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(2)
    assert disentanglement(importance) == pytest.approx((0.5 * 1 + 1.0 * quarter + 0.5 * half) / 2)
    first = 1 + (0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)) / np.log(3)
    second = 1 + (0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(3)
    assert completeness(importance) == pytest.approx((first + second) / 2)


def test_importances_agree_with_scipy():
    importance = np.random.default_rng(0).random((7, 4))
    weights = importance.sum(1) / importance.sum()
    assert disentanglement(importance) == pytest.approx(weights @ (1 - entropy(importance, axis=1, base=4)))
    assert completeness(importance) == pytest.approx((1 - entropy(importance, axis=0, base=7)).mean())


def test_information_agrees_with_scikit_learn():
    one, other = FACTORS["colour"], (FACTORS["colour"] + RNG.integers(0, 2, 600)) % 4
    assert information(one, other) == pytest.approx(mutual_info_score(one, other))


def test_gap_by_hand():
    # The first number knows the lamp, the second has it right in three of four: I = ln 2 - H(1/4).
    lamp = np.arange(400) % 2
    second = np.where(np.arange(400) % 8 < 2, 1 - lamp, lamp)
    known = np.log(2) + 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    assert mig(np.stack([lamp, second], 1), {"lamp": lamp})["all"]["value"] == pytest.approx(1 - known / np.log(2))
    assert sap(np.stack([lamp, second], 1), {"lamp": lamp})["all"]["value"] == pytest.approx(0.25)
    assert mig(lamp[:, None], {"lamp": lamp})["all"]["value"] == pytest.approx(1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    # A number that has the lamp right in 80 % of all images, and one that knows nothing: a gap of 0.3.
    covered = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lamp = np.arange(400) % 2
        found = sap(np.stack([np.where(rng.random(400) < 0.8, lamp, 1 - lamp), np.zeros(400)], 1), {"lamp": lamp})["all"]
        covered += found["low"] <= 0.3 <= found["high"]
    assert covered >= 34


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="the factor 'lamp' must have 600 entries of two values or more"):
        mig(PERFECT, {"lamp": np.zeros(600, int)})
    with pytest.raises(ValueError, match="20 images or more"):
        sap(PERFECT[:5], {"lamp": FACTORS["lamp"][:5]})
    with pytest.raises(ValueError, match="DCI needs two factors"):
        dci(PERFECT, {"lamp": FACTORS["lamp"]})
