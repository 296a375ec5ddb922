"""True images of edits and swaps of drawn data sets."""

import numpy as np
import pytest

from recombine.data.images import to_float
from recombine.data.synthetic import DRAWN, avatars
from recombine.data.synthetic.truth import drawn_in, factors_behind, render_all, true_edits, true_swaps


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    return {name: drawn.build(tmp_path_factory.mktemp(name), 16, 32, workers=1, progress=False) for name, drawn in DRAWN.items()}


@pytest.mark.parametrize(("name", "moved"), [("avatars", ("hair", "background")), ("letters", ("letter", "paper"))])
def test_what_moves_is_the_sources_and_all_else_stays(packs, name, moved):
    pack, drawn = packs[name], DRAWN[name]
    assert drawn_in(pack) is drawn
    first, second = to_float(pack.images[:1])[0].numpy(), to_float(pack.images[9:10])[0].numpy()
    everything = (*drawn.factors, *drawn.numbers)
    none, some, every = render_all(true_swaps(pack), [(0, 9, ()), (0, 9, moved), (0, 9, everything)])
    assert np.array_equal(none, first) and np.array_equal(every, second)
    assert not np.array_equal(some, first) and not np.array_equal(some, second)
    [edited] = render_all(true_edits(pack), [(0, moved[0], pack.schema[moved[0]].values[pack.labels[moved[0]][9]])])
    assert np.array_equal(edited, render_all(true_swaps(pack), [(0, 9, moved[:1])])[0])


def test_factors_behind_what_is_seen(packs):
    made = ("light", *avatars.IDENTITY, *(n for n in avatars.CLIP if n != "light"))
    assert factors_behind(packs["avatars"], ["lighting", "clip"]) == made
    assert factors_behind(packs["avatars"], ["expression", "brows", "glasses"]) == ("mouth", "brows", "glasses")
    assert factors_behind(packs["letters"], ["letter", "tilt"]) == ("letter", "tilt")


def test_what_is_no_factor_has_no_true_edit(packs):
    assert render_all(true_edits(packs["avatars"]), [(0, "expression", "anger")]) == [None]


def test_other_pictures_have_no_truth(signs):
    assert drawn_in(signs) is None and true_edits(signs) is None and true_swaps(signs) is None
