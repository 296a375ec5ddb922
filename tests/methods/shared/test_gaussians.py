"""Normal distributions of codes: divergences worked by hand and torch's."""

import math

import pytest
import torch

from recombine.methods.shared.gaussians import DiagonalGaussian, FullGaussian


def test_divergence_of_a_diagonal_gaussian():
    # D4: means (1, -1), variances (1, 4): 0.5 (1 + 1 - 1 - 0 + 1 + 4 - 1 - ln 4) = 2.5 - ln 2.
    gaussian = DiagonalGaussian(torch.tensor([[1.0, -1.0]]), torch.tensor([[0.0, math.log(4)]]))
    assert gaussian.kl().item() == pytest.approx(1.806853, abs=1e-6)
    held = DiagonalGaussian.of(torch.tensor([[0.0, 0.0, -99.0, 99.0]]))
    assert held.log_variance.tolist() == [[-30.0, 10.0]]


def test_full_gaussian_from_its_parameters():
    # D4: L = [[1, 0], [0.5, 2]], mean (1, -1): 0.5 (5.25 + 2 - 2 - 2 ln 2) = 1.931853. The off-diagonal 0.5 is raw / sqrt(2).
    raw = torch.tensor([[1.0, -1.0, 0.0, 0.5 * math.sqrt(2), math.log(2)]])
    gaussian = FullGaussian.of(raw, 2)
    assert torch.allclose(gaussian.lower, torch.tensor([[[1.0, 0.0], [0.5, 2.0]]]))
    assert gaussian.kl().item() == pytest.approx(1.931853, abs=1e-6)
    assert torch.allclose(gaussian.sample(torch.tensor([[1.0, 1.0]])), torch.tensor([[2.0, 1.5]]))


def test_full_gaussian_agrees_with_torch():
    torch.manual_seed(0)
    gaussian = FullGaussian.of(torch.randn(3, 4 + 10), 4)
    theirs = torch.distributions.MultivariateNormal(gaussian.mean, scale_tril=gaussian.lower)
    standard = torch.distributions.MultivariateNormal(torch.zeros(4), torch.eye(4))
    assert torch.allclose(gaussian.kl(), torch.distributions.kl_divergence(theirs, standard), atol=1e-5)
