"""Intervals against numbers worked by hand and against simulation."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from recombine.metrics.intervals import Estimate, mean, share, wilson


def test_wilson_by_hand():
    # z = 1.959964, n = 46, 45 hits, share .978261: centre (.978261 + 3.841459/92) / (1 + 3.841459/46) = .941406
    # half = 1.959964 / 1.083510 * sqrt(.021267/46 + 3.841459/8464) = .054743
    low, high = wilson(45, 46)
    assert low == pytest.approx(0.886663, abs=2e-5)
    assert high == pytest.approx(0.996150, abs=2e-5)


def test_wilson_agrees_with_scipy():
    for hits, n in ((45, 46), (0, 10), (3, 7), (500, 1000)):
        theirs = binomtest(hits, n).proportion_ci(0.95, "wilson")
        assert wilson(hits, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_does_not_collapse_at_the_ends():
    # At 0 of n the upper end is z^2 / (n + z^2) = 3.841459 / 13.841459.
    assert wilson(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((0.722467, 1.0), abs=1e-6)


def test_wilson_covers_the_truth_as_often_as_it_says():
    hits = np.random.default_rng(0).binomial(60, 0.9, 3000)
    covered = np.mean([low <= 0.9 <= high for low, high in (wilson(h, 60) for h in hits)])
    assert 0.93 <= covered <= 0.97


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="hits from 0 to n, not 3 of 2"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="no verdicts"):
        share([])


def test_share_of_independent_verdicts_is_wilson():
    found = share([True] * 8 + [False] * 2)
    assert found == Estimate(0.8, *wilson(8, 10), 10, 0)
    assert share([True] * 8 + [False] * 2, range(10)) == found


def test_verdicts_that_repeat_do_not_narrow_the_interval():
    plain = share([True] * 80 + [False] * 20)
    hits = np.repeat([True] * 80 + [False] * 20, 9)
    repeated = share(hits, np.repeat(np.arange(100), 9))
    assert (repeated.n, repeated.images, repeated.value) == (900, 100, 0.8)
    assert (repeated.low, repeated.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_perfect_verdicts_count_by_picture():
    perfect = share([True] * 900, np.repeat(np.arange(100), 9))
    assert perfect.low == pytest.approx(wilson(100, 100)[0])


def test_mean_agrees_with_the_normal_interval():
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = mean(values)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)
    assert mean(values) == found
    assert json.loads(json.dumps(found.to_json()))["n"] == 400


def test_mean_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="got 2, 1 not finite"):
        mean([1.0, float("inf")])
