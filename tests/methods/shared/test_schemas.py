"""What several methods require of schemas and batches, and refuse in the same words."""

import pytest
from games import HAIR, SMILING, batch, schema

from recombine.data.samplers import Pairs
from recombine.data.schema import Attribute, Schema
from recombine.method import Progress
from recombine.methods.shared.schemas import attribute_of, check_kinds
from recombine.networks import check_divisible
from recombine.training.runs import build

PERSON = Attribute("person", "group", tuple("abcd"))
SMALL = {"rodi": {"widths": (4, 4), "decoder_widths": (4, 4), "mi_width": 8}, "cyclevae": {"width": 4}, "drnet": {"width": 4}}


def test_attributes_that_a_method_cannot_take():
    with pytest.raises(ValueError, match="fader takes binary and categorical attributes; 'person' is a group: leave it out"):
        check_kinds("fader", schema(SMILING, Attribute("person", "group", ("a", "b"))))
    with pytest.raises(ValueError, match="'yaw' is continuous: leave it out"):
        check_kinds("fader", schema(Attribute("yaw", "continuous", low=-30.0, high=30.0)))
    with pytest.raises(ValueError, match="fader needs at least one binary or categorical attribute"):
        check_kinds("fader", Schema())


def test_attributes_that_are_not_there():
    assert attribute_of(schema(SMILING, HAIR), "hair") is HAIR
    with pytest.raises(ValueError, match="no attribute 'hat'; there are Smiling, hair"):
        attribute_of(schema(SMILING, HAIR), "hat")


def test_sizes_that_do_not_divide():
    check_divisible((48, 64), 16)
    with pytest.raises(ValueError, match="images of 50x70 cannot be divided by 16; use 48x64"):
        check_divisible((50, 70), 16)
    with pytest.raises(ValueError, match="use 16x16"):
        check_divisible((3, 16), 16)


@pytest.mark.parametrize("name", SMALL)
def test_pairs_share_the_group_or_the_attributes_that_are_named(name, signs):
    pack = signs.select("maker", "colour")
    for pair_by, shared in (((), ("maker",)), (("colour",), ("colour",)), (("maker", "colour"), ("maker", "colour"))):
        method = build(name, {**SMALL[name], "pair_by": pair_by}, pack.schema)
        sampler = method.make_sampler(pack, 0, False)
        draw = sampler.draw(0, 100)
        assert isinstance(sampler, Pairs) and method.pair_by == shared
        assert all((pack.labels[attribute][draw.rows] == pack.labels[attribute][draw.partner]).all() for attribute in shared)
        assert (draw.rows != draw.partner).all()


@pytest.mark.parametrize("name", SMALL)
def test_missing_groups_and_partners_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} needs pairs of images that show the same thing"):
        build(name, SMALL[name], schema(SMILING))
    with pytest.raises(ValueError, match="pair_by names 'clip', which is not among the attributes: Smiling"):
        build(name, {**SMALL[name], "pair_by": ("clip",)}, schema(SMILING))
    with pytest.raises(ValueError, match="yaw is a number; pairs share binary, categorical or group attributes"):
        build(name, {**SMALL[name], "pair_by": ("yaw",)}, schema(SMILING, Attribute("yaw", "continuous", low=-30.0, high=30.0)))
    shape = schema(PERSON)
    with pytest.raises(ValueError, match=f"{name} is trained on pairs of images; this batch has no partners"):
        next(build(name, SMALL[name], shape).turns(batch(shape), Progress()))
