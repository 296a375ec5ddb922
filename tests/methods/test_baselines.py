"""What baselines with labels have in common beyond the contract: images of other shapes, and attributes that they refuse."""

import pytest
import torch
from games import SMILING, schema

from recombine.data.schema import Attribute, Schema
from recombine.training.runs import build


@pytest.mark.parametrize(("height", "width", "channels"), [(16, 24, 1), (8, 8, 3), (32, 32, 4)])
@pytest.mark.parametrize("name", ["stargan", "fader", "icgan", "twostep", "cvaegan", "dnagan", "betavae", "dipvae"])
def test_images_of_other_shapes_come_back_in_theirs(name, height, width, channels):
    # The paper's networks, without memory for their weights.
    with torch.device("meta"):
        method = build(name, {}, Schema((SMILING,), height, width, channels))
        images = torch.zeros(2, channels, height, width)
        assert method.decode(method.encode(images)).shape == images.shape


@pytest.mark.parametrize("name", ["stargan", "fader", "icgan", "twostep", "cvaegan", "dnagan"])
def test_attributes_without_classes_are_refused(name):
    for attribute, kind in ((Attribute("person", "group", ("a", "b")), "a group"), (Attribute("yaw", "continuous", low=-30.0, high=30.0), "continuous")):
        with pytest.raises(ValueError, match=f"{name} takes binary and categorical attributes; '{attribute.name}' is {kind}: leave it out"):
            build(name, {}, schema(SMILING, attribute))
    with pytest.raises(ValueError, match=f"{name} needs at least one binary or categorical attribute"):
        build(name, {}, Schema())
