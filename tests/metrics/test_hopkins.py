"""The Hopkins statistic of points whose clusters are known."""

import numpy as np
import pytest

from recombine.metrics.hopkins import hopkins


def clusters(count=400, spread=0.02, dimensions=2):
    rng = np.random.default_rng(0)
    return rng.uniform(size=(5, dimensions))[np.arange(count) % 5] + spread * rng.normal(size=(count, dimensions))


def test_points_spread_by_chance_have_one_half():
    for dimensions in (1, 2, 3):
        found = hopkins(np.random.default_rng(1).uniform(size=(1000, dimensions)))
        assert found.value == pytest.approx(0.5, abs=0.05) and found.low < 0.5 < found.high and found.n == 1000


def test_clusters_are_seen():
    found = hopkins(clusters())
    assert found.value > 0.9 and found.low > 0.75


def test_points_in_rows_are_below_one_half():
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 2)
    assert hopkins(grid).value < 0.35


def test_duplicates_have_one():
    assert hopkins(np.repeat(np.random.default_rng(2).uniform(size=(50, 3)), 2, axis=0)).value == 1


def test_by_hand():
    # Codes at 0, 1 and 4: their nearest others are 1, 1 and 3 away, 5/3 in the mean. A uniform point of [0, 4] is in the
    # mean (0.125 + 0.125 + 1.125 + 1.125) / 4 = 0.625 away from the nearest.
    found = hopkins(np.array([[0.0], [1.0], [4.0]]), samples=3, repeats=20_000)
    u = np.abs(np.random.default_rng(3).uniform(0, 4, (200_000, 3, 1)) - [0, 1, 4]).min(2).sum(1)
    assert u.mean() == pytest.approx(3 * 0.625, abs=0.01)
    assert found.value == pytest.approx((u / (u + 5)).mean(), abs=0.005)


def test_principal_components_leave_noise_of_other_dimensions_out():
    apart = np.concatenate([10 * clusters(), 0.3 * np.random.default_rng(4).normal(size=(400, 60))], 1)
    assert hopkins(apart, dimensions=2).value == pytest.approx(hopkins(10 * clusters()).value, abs=0.05)
    assert hopkins(apart, dimensions=62).value == hopkins(apart).value


def test_same_seed_same_number():
    assert hopkins(clusters()) == hopkins(clusters()) != hopkins(clusters(), seed=1)


def test_what_has_no_statistic_is_refused():
    with pytest.raises(ValueError, match="needs 3 points or more and 1 to as many samples, not 1 of 2"):
        hopkins(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="all points are the same one"):
        hopkins(np.ones((20, 2)))
