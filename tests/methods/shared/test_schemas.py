"""What several methods refuse in the same words."""

import pytest
from games import HAIR, SMILING, schema

from recombine.data.schema import Attribute, Schema
from recombine.methods.shared.schemas import attribute_of, check_kinds
from recombine.networks import check_divisible


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
