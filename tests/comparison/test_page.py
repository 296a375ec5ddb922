"""Drawings of a comparison's page: every mark stands where its number is."""

import numpy as np
import pytest

from recombine.comparison.page import HEIGHT, WIDTH, beside, dots, scatter


def number(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half}


def row(success, kept, front):
    return {"metrics": {"success": number(success), "kept": number(kept)}, "front": front}


def test_methods_stand_at_their_success_and_damage_and_the_front_goes_to_the_right():
    methods = {"bold": row(0.8, 0.4, True), "careful": row(0.2, 0.8, True), "worse": row(0.2, 0.4, False)}
    drawn = scatter(methods | {"unmeasured": {"metrics": {}, "front": False}})
    bold, careful, worse = drawn.points
    assert (bold.x, worse.y) == (worse.x, careful.y) and careful.x < bold.x and bold.y < careful.y  # y grows downwards
    # Damage from 10 to 70 %, success from 10 to 90 %, 6 % of room at both ends: 10 % are 95.2 to the right, 36.8 up.
    assert bold.x - careful.x == pytest.approx(WIDTH * 40 / (60 * 1.12), abs=0.1)
    assert careful.y - bold.y == pytest.approx(HEIGHT * 60 / (80 * 1.12), abs=0.1)
    assert drawn.front == f"M{careful.x} {careful.y} {bold.x} {bold.y}"
    assert [point.ahead for point in drawn.points] == [True, True, False]
    assert [text for _, text in drawn.y_marks] == ["20", "40", "60", "80"]
    assert scatter({"unmeasured": {"metrics": {}, "front": False}}) is None


def test_names_stand_beside_their_points_and_apart_from_each_other():
    near, far = beside([(100, 100), (104, 100), (WIDTH - 5, 100)], ["first", "second", "at the end"])[:2]
    assert near != far
    (_, _, anchor) = beside([(WIDTH - 5, 100)], ["at the end"])[0]
    assert anchor == "end"  # to the left, so that the name stays inside


def test_a_map_has_a_path_for_every_value_and_none_for_missing_labels():
    places = np.array([[0, 0], [1, 1], [0.5, 0.5], [1, 0]], np.float32)
    found = dots(places, np.array([0, 9, -1, 0]))
    assert found == [("c0", "M3 3h0M997 3h0"), ("c1", "M997 997h0")]
    steps = dots(places, np.array([0.1, np.nan, 0.3, 0.2]))
    assert [colour for colour, _ in steps] == ["s0", "s2", "s5"]
