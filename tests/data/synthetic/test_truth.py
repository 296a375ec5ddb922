"""True images of swaps of avatars."""

import numpy as np
import pytest

from recombine.data.images import to_float
from recombine.data.synthetic import avatars
from recombine.data.synthetic.truth import factors_behind, of_avatars, render_all, true_edits, true_swaps


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return avatars.build(tmp_path_factory.mktemp("avatars"), 16, 32, workers=1, progress=False)


def test_what_moves_is_the_sources_and_all_else_stays(pack):
    first, second = to_float(pack.images[:1])[0].numpy(), to_float(pack.images[9:10])[0].numpy()
    everything = (*avatars.FACTORS, *avatars.NUMBERS)
    none, some, every = render_all(true_swaps(pack), [(0, 9, ()), (0, 9, ("hair", "background")), (0, 9, everything)])
    assert np.array_equal(none, first) and np.array_equal(every, second)
    assert not np.array_equal(some, first) and not np.array_equal(some, second)
    [edited] = render_all(true_edits(pack), [(0, "hair", pack.schema["hair"].values[pack.labels["hair"][9]])])
    assert np.array_equal(edited, render_all(true_swaps(pack), [(0, 9, ("hair",))])[0])


def test_factors_behind_what_is_seen():
    assert factors_behind(["lighting", "clip"]) == ("light", *avatars.IDENTITY, *(n for n in avatars.CLIP if n != "light"))


def test_other_pictures_have_no_truth(signs):
    assert not of_avatars(signs) and true_edits(signs) is None and true_swaps(signs) is None
