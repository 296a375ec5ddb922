"""What parts should carry, from names and from what groups share."""

import numpy as np
import pytest
from conftest import SIGNS

from recombine.data.packed import write_pack
from recombine.evaluation.roles import carried, checked, paired_by, shared_by


class Named:
    """A method of which only the groups of its pairs are asked."""

    def __init__(self, *groups):
        self.pair_by = groups


@pytest.fixture
def pack(tmp_path):
    """Ten makers of 20 signs: colour and shade are theirs but for one sign, stripes are rare and anybody's, the lamp is not theirs."""
    chance, count = np.random.default_rng(0), 200
    maker = np.arange(count) // 20
    labels = {"maker": maker, "colour": maker % 3, "lamp": chance.integers(0, 2, count), "shade": (maker / 10).astype(np.float32)}
    labels["stripes"] = (np.arange(count) % 100 == 7).astype(int)
    labels["shade"][3] = np.nan
    labels["colour"][4] = -1
    splits = ["train"] * 160 + ["val"] * 40
    labels["colour"][170] = 2 - labels["colour"][170]                     # not among the training images
    images = np.zeros((count, 3, 16, 16), np.uint8)
    return write_pack(tmp_path, images, SIGNS, [f"{i}.png" for i in range(count)], labels, splits)


def test_what_a_group_shares(pack):
    # Rare stripes are equal in 99 % of all pairs of one maker's signs, but never where there are stripes.
    assert shared_by(pack, ["maker"]) == ["maker", "colour", "shade"]
    assert shared_by(pack, ["maker", "lamp"]) == ["maker", "colour", "lamp", "shade"]


def test_groups_of_one_picture_share_nothing(pack):
    pack.labels = {**pack.labels, "maker": np.arange(200)}
    assert shared_by(pack, ["maker"]) == ["maker"]
    pack.labels = {**pack.labels, "maker": np.full(200, -1)}
    assert shared_by(pack, ["maker"]) == ["maker"]


def test_parts_by_their_names(pack):
    assert carried(Named(), pack, ["lamp", "maker", "rest"]) == {"lamp": ["lamp"], "maker": ["maker", "colour", "shade"], "rest": []}
    parts = carried(Named("maker"), pack, ["pose", "appearance"])
    assert parts == {"pose": ["lamp", "stripes"], "appearance": ["maker", "colour", "shade"]}


def test_groups_of_pairs(pack):
    assert paired_by(Named("lamp"), pack) == ("lamp",) and paired_by(Named(), pack) == ("maker",)
    with pytest.raises(ValueError, match="the data set has no clip; say it with carries"):
        paired_by(Named("clip"), pack)
    with pytest.raises(ValueError, match="the data set has no group"):
        paired_by(Named(), pack.select("lamp"))


def test_what_is_said_is_checked(pack):
    assert checked({"code": ["lamp"]}, pack, ["code", "rest"]) == {"code": ["lamp"], "rest": []}
