"""Recognition by codes that know who it is, codes that do not, and by scikit-learn."""

import json

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from recombine.metrics.recognition import (
    Pairs,
    expression_probe,
    one_vs_rest_auc,
    pose_error,
    retrieval,
    verification,
    verification_pairs,
)

GROUPS = np.repeat(np.arange(30), 10)


def known_codes(scale=1.0, noise=0.01):
    rng = np.random.default_rng(0)
    return scale * (rng.normal(size=(30, 8))[GROUPS] + noise * rng.normal(size=(300, 8)))


def test_pairs_are_half_and_half_and_never_twice():
    pairs = verification_pairs(GROUPS, 1000)
    assert len(pairs) == 1000 and pairs.same.sum() == 500
    assert ((GROUPS[pairs.first] == GROUPS[pairs.second]) == pairs.same).all()
    assert (pairs.first != pairs.second).all()
    assert len({frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}) == 1000
    counts = np.bincount(GROUPS[pairs.first[pairs.same]])
    assert counts.min() >= 16 and counts.max() <= 17
    again, other = verification_pairs(GROUPS, 1000), verification_pairs(GROUPS, 1000, seed=1)
    assert (again.first == pairs.first).all() and (other.first != pairs.first).any()


def test_pairs_to_the_last_one_and_none_with_missing_groups():
    groups = np.array([0, 0, 0, 1, -1, -1])
    pairs = verification_pairs(groups, 6)
    assert {frozenset(p) for p in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)} == {
        frozenset(p) for p in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    }
    with pytest.raises(ValueError, match="8 pairs need an even number, with 4 of one group and 4 of two; there are 3 and 3"):
        verification_pairs(groups, 8)
    with pytest.raises(ValueError, match="7 pairs need an even number"):
        verification_pairs(GROUPS, 7)


@pytest.mark.parametrize("scale", [0.01, 1, 100])
def test_verification_by_codes_of_any_scale(scale):
    pairs = verification_pairs(GROUPS, 600)
    found = verification(known_codes(scale), pairs)
    assert found["accuracy"]["value"] == 1 and found["accuracy"]["n"] == 600 and len(found["thresholds"]) == 10
    blurred = verification(known_codes(scale, noise=0.8), pairs)["accuracy"]["value"]
    assert 0.7 < blurred < 0.97 and blurred == verification(known_codes(1, noise=0.8), pairs)["accuracy"]["value"]


def test_verification_by_codes_that_know_nothing():
    pairs = verification_pairs(GROUPS, 600)
    assert verification(np.ones((300, 8)), pairs)["accuracy"]["value"] == 0.5
    shuffled = verification(np.random.default_rng(1).permutation(known_codes()), pairs)["accuracy"]
    assert shuffled["value"] == pytest.approx(0.5, abs=0.06)


def test_threshold_is_chosen_on_the_other_folds():
    # Pairs of one group are 1 apart, the others 9 (squared); the threshold lies in the middle.
    codes = np.array([[0.0], [1.0], [4.0], [5.0]])
    pairs = Pairs(np.array([0, 2, 1, 1]), np.array([1, 3, 2, 2]), np.array([True, True, False, False]))
    found = verification(codes, pairs, folds=2)
    assert found["thresholds"] == [5.0, 5.0] and found["accuracy"]["value"] == 1
    with pytest.raises(ValueError, match="10 folds need as many pairs of both kinds and 2 folds, not 2 and 2 pairs"):
        verification(codes, pairs)


def test_threshold_is_the_best_that_scikit_learn_finds():
    pairs, codes = verification_pairs(GROUPS, 600), known_codes(noise=0.8)
    distances = ((codes[pairs.first] - codes[pairs.second]) ** 2).sum(1)
    wrong, right, _ = roc_curve(pairs.same, -distances, drop_intermediate=False)
    best = (right * pairs.same.sum() + (1 - wrong) * (~pairs.same).sum()).max() / 600
    for threshold in verification(codes, pairs)["thresholds"]:
        assert best - 0.02 <= ((distances < threshold) == pairs.same).mean() <= best  # each was chosen on nine tenths of them


def test_retrieval_agrees_with_scikit_learn():
    codes = np.round(5 * known_codes(noise=0.7)[:, :2])  # coarse enough for many ties
    found = retrieval(codes, GROUPS, chunk=77)
    theirs = []
    for i in range(300):
        others = np.arange(300) != i
        distances = ((codes[others] - codes[i]) ** 2).sum(1)
        theirs.append(average_precision_score(GROUPS[others] == GROUPS[i], -distances))
    assert found["map"]["value"] == pytest.approx(np.mean(theirs)) and found["map"]["n"] == 300
    assert found["map"]["low"] < found["map"]["value"] < found["map"]["high"]


def test_retrieval_by_codes_that_know_and_codes_that_do_not():
    perfect, constant = retrieval(known_codes(), GROUPS), retrieval(np.ones((300, 8)), GROUPS)
    assert perfect["map"]["value"] == 1 and perfect["top1"]["value"] == 1
    assert constant["map"]["value"] == pytest.approx(9 / 299) and constant["top1"]["value"] == pytest.approx(9 / 299)
    json.dumps(perfect)


def test_retrieval_never_finds_the_picture_itself():
    # Image 0 has a double of another group and its own partner far away: rank 2 among the others, so 1/2.
    found = retrieval(np.array([[0.0], [0.0], [5.0]]), np.array([0, 1, 0]))
    assert found["top1"]["value"] == pytest.approx((0 + 0.5) / 2) and found["map"]["value"] == pytest.approx((0.5 + 0.5) / 2)
    assert found["map"]["n"] == 2
    with pytest.raises(ValueError, match="every image is alone"):
        retrieval(np.zeros((3, 1)), np.array([0, 1, -1]))


def test_auc_agrees_with_scikit_learn():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 400)
    scores = np.round(np.eye(3)[labels] + rng.normal(size=(400, 3)), 1)
    found = one_vs_rest_auc(scores, labels, ("a", "b", "c"))
    for v, name in enumerate("abc"):
        assert found[name]["value"] == pytest.approx(roc_auc_score(labels == v, scores[:, v]))
        draws = [rng.integers(0, 400, 400) for _ in range(300)]
        theirs = np.quantile([roc_auc_score(labels[d] == v, scores[d, v]) for d in draws], [0.025, 0.975])
        assert (found[name]["low"], found[name]["high"]) == pytest.approx(tuple(theirs), abs=0.015)
    assert found["mean"]["value"] == pytest.approx(np.mean([found[name]["value"] for name in "abc"]))
    assert found["mean"]["high"] - found["mean"]["low"] < found["a"]["high"] - found["a"]["low"]


def test_auc_of_known_scores():
    labels = np.array([0, 0, 1, 1, -1])
    found = one_vs_rest_auc(np.eye(3)[[0, 0, 1, 1, 2]], labels, ("a", "b", "c"))
    assert found["a"]["value"] == found["b"]["value"] == found["mean"]["value"] == 1
    assert "c" not in found and found["a"]["n"] == 4
    assert one_vs_rest_auc(np.ones((5, 3)), labels, ("a", "b", "c"))["mean"]["value"] == 0.5
    with pytest.raises(ValueError, match="AUC needs finite scores"):
        one_vs_rest_auc(np.ones((2, 2)), np.zeros(2, int), ("a", "b"))


def test_expression_probe_reads_rare_values_too():
    rng = np.random.default_rng(3)
    labels = rng.choice(4, 1200, p=[0.82, 0.08, 0.05, 0.05])
    codes = 1e-3 * (np.eye(4)[labels] + 0.3 * rng.normal(size=(1200, 4)))
    hidden = np.where(np.arange(800) % 3, labels[:800], -1)
    seen = expression_probe(codes[:800], hidden, codes[800:], 4, epochs=20)
    assert np.exp(seen).sum(1) == pytest.approx(1, abs=1e-5)
    assert min(np.mean(seen.argmax(1)[labels[800:] == v] == v) for v in range(4)) > 0.8
    names = ("a", "b", "c", "d")
    assert one_vs_rest_auc(seen, labels[800:], names)["mean"]["value"] > 0.95
    noise = rng.normal(size=(1200, 4))
    nothing = expression_probe(noise[:800], labels[:800], noise[800:], 4)
    assert one_vs_rest_auc(nothing, labels[800:], names)["mean"]["value"] == pytest.approx(0.5, abs=0.1)
    assert (seen == expression_probe(codes[:800], hidden, codes[800:], 4, epochs=20)).all()


def test_pose_error_by_hand():
    found = pose_error(
        {"yaw": np.array([10.0, -5.0, 179.0]), "roll": np.zeros(3)},
        {"yaw": np.array([12.0, -5.0, -179.0]), "roll": np.array([1.0, -2.0, np.nan])},
    )
    assert found["yaw"]["value"] == pytest.approx(4 / 3) and found["roll"]["value"] == 1.5 and found["roll"]["n"] == 2
