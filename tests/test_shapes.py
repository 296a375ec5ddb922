"""Shapes in annotations are enforced while tests run, and only then."""

import subprocess
import sys

import jaxtyping
import pytest
import torch

from recombine.losses import cross_entropy, squared_error

WRONG = """
import torch
from recombine.losses import squared_error
print(tuple(squared_error(torch.zeros(2, 3), torch.zeros(1, 3)).shape))
"""


def test_a_wrong_shape_is_refused_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError, match="target"):
        squared_error(torch.zeros(2, 3), torch.zeros(1, 3))
    with pytest.raises(jaxtyping.TypeCheckError, match=r"logits.*batch values"):
        cross_entropy(torch.zeros(3), torch.zeros(3, dtype=torch.int64))


def test_users_pay_nothing_for_them():
    done = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True, check=True)
    assert done.stdout == "(2,)\n"
