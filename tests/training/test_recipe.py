"""Schedules worked by hand."""

import pytest

from recombine.method import Phase, Progress
from recombine.training.recipe import TrainConfig, crossed, images_in, learning_rate_factor, progress_at

PHASES = [Phase("first", 1.0), Phase("second", 3.0)]


@pytest.mark.parametrize(("seen", "name", "fraction"), [(0, "first", 0.0), (50, "first", 0.5), (100, "second", 0.0), (250, "second", 0.5), (400, "second", 1.0)])
def test_phases_take_their_shares_of_400_images(seen, name, fraction):
    phase, progress = progress_at(seen, 400, PHASES)  # 1/4 and 3/4: the second begins at 100
    assert phase is PHASES[name == "second"] and progress == Progress(seen, 400, name, fraction)


def test_the_learning_rate_falls_over_the_last_share_and_halves_with_every_rollback():
    config = TrainConfig(images=100, decay=0.4)
    assert [learning_rate_factor(seen, config, 0) for seen in (0, 60, 80, 100)] == pytest.approx([1.0, 1.0, 0.5, 0.0])
    assert learning_rate_factor(80, config, 2) == pytest.approx(0.125)
    assert learning_rate_factor(100, TrainConfig(images=100), 0) == 1.0


def test_a_multiple_is_crossed_once():
    assert [crossed(10, before, before + 4) for before in (0, 4, 8, 12, 16)] == [False, False, True, False, True]


def test_the_images_of_a_time_leave_room_for_evaluations_and_checkpoints():
    train = TrainConfig(batch_size=10, evaluate_every=100)
    # 39 of 40 s are no checkpoints; without the last evaluation, 37 s; an image takes .1 s and a hundredth of an evaluation.
    assert images_in(40 / 60, 0.1, 0.0, train) == 390
    assert images_in(40 / 60, 0.1, 2.0, train) == 300  # 308 in whole batches
    assert images_in(40 / 60, 0.1, 60.0, train) == 10  # one step
    five = TrainConfig(batch_size=10, evaluate_every=100, evaluations=5)
    assert images_in(40 / 60, 0.1, 2.0, five) == 290  # 29 s
