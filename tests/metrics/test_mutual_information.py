"""Mutual information of codes of which it is known."""

import numpy as np
import pytest
import torch

from recombine.metrics.mutual_information import PairClassifier, mutual_information, pair_loss


def gaussians(correlation, count, seed=0):
    a, noise = torch.randn(2, count, 1, generator=torch.Generator().manual_seed(seed))
    return a, correlation * a + (1 - correlation**2) ** 0.5 * noise


def measured(a, b, **options):
    half = len(a) // 2
    return mutual_information(a[:half], b[:half], a[half:], b[half:], **options)


def test_loss_by_hand():
    assert float(pair_loss(torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0]))) == pytest.approx(1.045481, abs=1e-6)


def test_gaussians_of_correlation_one_half():
    found = measured(*gaussians(0.5, 24_000), epochs=5)
    assert found.value == pytest.approx(0.143841, abs=0.02)
    assert found.n == 12_000 and found.low < found.value < found.high


def test_gaussians_without_correlation():
    assert measured(*gaussians(0.0, 8000), epochs=4).value == pytest.approx(0, abs=0.01)


def test_what_one_part_copies_from_the_other():
    # Four values, equally likely: ln 4 nats, however they are written down.
    values = torch.arange(2000) % 4
    values = values[torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    a, b = torch.eye(4)[values], torch.stack([values % 2, values // 2], 1).float()[:, :, None, None].expand(-1, -1, 16, 64)
    assert measured(a, b).value == pytest.approx(np.log(4), abs=0.1)
    shuffled = b[torch.randperm(2000, generator=torch.Generator().manual_seed(1))]
    assert measured(a, shuffled, epochs=4).value == pytest.approx(0, abs=0.02)


def test_constant_parts_know_nothing():
    a, _ = gaussians(0.0, 400)
    found = measured(a, torch.ones(400, 3), epochs=2)
    assert abs(found.value) < 0.02


def test_same_seed_same_number():
    pairs = gaussians(0.5, 400)
    assert measured(*pairs, epochs=2) == measured(*pairs, epochs=2) != measured(*pairs, epochs=2, seed=1)


def test_classifier_can_tell_interactions_apart():
    # What matters is how both go together: T of (a, b) is no sum of something of a and something of b.
    torch.manual_seed(0)
    network = PairClassifier(2, 2)
    a, b, zero = torch.randn(5, 2), torch.randn(5, 2), torch.zeros(5, 2)
    assert (network(a, b) + network(zero, zero) - network(a, zero) - network(zero, b)).abs().max() > 1e-4


def test_mistakes_are_named():
    a, b = gaussians(0.5, 400)
    with pytest.raises(ValueError, match="of the same images, not 400 and 399"):
        mutual_information(a, b[1:], a, b)
    with pytest.raises(ValueError, match="needs 50 codes to learn from and some to measure on, not 49 and 400"):
        mutual_information(a[:49], b[:49], a, b)
