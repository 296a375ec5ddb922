"""Attributes and their values."""

import numpy as np
import torch

from recombine.data.schema import Attribute


def test_labels_that_are_missing():
    yaw, hair = Attribute("yaw", "continuous", low=-1.0, high=1.0), Attribute("hair", "categorical", ("black", "brown"))
    assert yaw.known(np.array([0.5, np.nan, -1.0])).tolist() == [True, False, True], "-1 is a number like any other"
    assert hair.known(np.array([0, -1, 1])).tolist() == [True, False, True]
    assert yaw.known(torch.tensor([torch.nan, -1.0])).tolist() == hair.known(torch.tensor([-1, 0])).tolist() == [False, True]
