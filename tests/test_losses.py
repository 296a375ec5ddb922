"""Losses against numbers worked by hand."""

import math

import pytest
import torch

from recombine.losses import absolute_error, binary_cross_entropy, cross_entropy_to_uniform, gradient_penalty


def test_cross_entropy_to_uniform_is_the_excess_over_its_least():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]])
    assert (cross_entropy_to_uniform(logits) + math.log(4)).tolist() == pytest.approx([1.386294, 1.840753], abs=1e-6)


def test_binary_cross_entropy_takes_logits():
    assert binary_cross_entropy(torch.tensor([[math.log(9)]]), 1.0).item() == pytest.approx(0.105361, abs=1e-6)


def test_the_gradient_penalty_adds_up_patches_and_measures_the_slope_of_one_image():
    weight = torch.zeros(3, 4, 4)
    weight[0, 0, 0] = 3.0
    real, fake, mix = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4), torch.rand(5)
    slope_3 = gradient_penalty(lambda x: (x * weight).flatten(1).sum(1, keepdim=True), real, fake, mix)
    assert torch.allclose(slope_3, torch.full((5,), 4.0))
    patches = gradient_penalty(lambda x: (x * weight).flatten(1).sum(1, keepdim=True).expand(-1, 4), real, fake, mix)
    assert torch.allclose(patches, torch.full((5,), 121.0))


def test_the_gradient_penalty_looks_between_real_and_fake():
    seen = []
    real, fake = torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 8.0)
    gradient_penalty(lambda x: (seen.append(x.detach().flatten().tolist()), x.flatten(1))[1], real, fake, torch.tensor([0.25, 1.0]))
    assert seen == [[2.0, 8.0]]


def test_absolute_error_is_a_mean_over_the_sample():
    assert absolute_error(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2)).tolist() == [2.0]
