"""What methods that learn from pairs have in common: how pairs are drawn, and what is refused."""

import pytest
from games import SMILING, batch, schema

from recombine.data.samplers import Pairs
from recombine.data.schema import Attribute
from recombine.method import Progress
from recombine.training.runs import build

PERSON = Attribute("person", "group", tuple("abcd"))
SMALL = {"rodi": {"widths": (4, 4), "decoder_widths": (4, 4), "mi_width": 8}, "cyclevae": {"width": 4}, "drnet": {"width": 4}}
pytestmark = pytest.mark.parametrize("name", SMALL)


def test_pairs_share_the_group_or_the_attributes_that_are_named(name, signs):
    pack = signs.select("maker", "colour")
    for pair_by, shared in (((), ("maker",)), (("colour",), ("colour",)), (("maker", "colour"), ("maker", "colour"))):
        method = build(name, {**SMALL[name], "pair_by": pair_by}, pack.schema)
        sampler = method.make_sampler(pack, 0, False)
        draw = sampler.draw(0, 100)
        assert isinstance(sampler, Pairs) and method.pair_by == shared
        assert all((pack.labels[attribute][draw.rows] == pack.labels[attribute][draw.partner]).all() for attribute in shared)
        assert (draw.rows != draw.partner).all()


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
