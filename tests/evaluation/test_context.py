"""What parts should carry, from names and from what groups share."""

import numpy as np
import pytest
from conftest import SIGNS

from recombine.data.packed import write_pack
from recombine.evaluation.context import checked, resolved, shared_by
from recombine.method import Role


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


def test_roles_of_attributes_groups_and_the_rest(pack):
    roles = {"lamp": Role(("lamp",)), "maker": Role(shared_by=("maker",)), "rest": Role()}
    assert resolved(roles, pack, list(roles)) == {"lamp": ["lamp"], "maker": ["maker", "colour", "shade"], "rest": []}
    assert resolved(roles, pack, ["rest", "code"]) == {"rest": [], "code": []}, "in the order of the codes; a part without a role carries nothing"
    assert resolved({"hat": Role(("hat",)), "clip": Role(shared_by=("clip",))}, pack, ["hat", "clip"]) == {"hat": [], "clip": []}, "not in this data"


def test_roles_of_pairs_share_all_attributes_out(pack):
    roles = {"appearance": Role(shared_by=("maker",)), "pose": Role(all_else=True)}
    assert resolved(roles, pack, ["pose", "appearance"]) == {"pose": ["lamp", "stripes"], "appearance": ["maker", "colour", "shade"]}
    with pytest.raises(ValueError, match="the data set has no clip; say it with roles"):
        resolved({**roles, "appearance": Role(shared_by=("clip",))}, pack, ["pose", "appearance"])


def test_what_is_said_is_checked(pack):
    assert checked({"code": ["lamp"]}, pack, ["code", "rest"]) == {"code": ["lamp"], "rest": []}
