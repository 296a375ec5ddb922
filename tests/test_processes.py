"""Results come in order, whether one process works or several."""

import os

from recombine.processes import spread


def called(number):
    return number * number, os.getpid()


def test_several_processes_return_what_one_does():
    jobs = [(number,) for number in range(9)]
    one, several = (spread(called, jobs, workers) for workers in (1, 2))
    assert [square for square, _ in one] == [square for square, _ in several] == [n * n for n in range(9)]
    assert {pid for _, pid in one} == {os.getpid()} and os.getpid() not in {pid for _, pid in several}


def test_few_jobs_stay_in_this_process():
    assert {pid for _, pid in spread(called, [(1,), (2,)], workers=2, few=2)} == {os.getpid()}
