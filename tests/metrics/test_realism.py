"""Distances between sets of features: closed forms for Gaussians, and torchmetrics."""

import json

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from recombine.evaluation.classifier import Classifier, Settings, feature_extractor
from recombine.metrics.intervals import jackknife
from recombine.metrics.realism import Extractor, extract, frechet_distance, kernel_distance

RNG = np.random.default_rng(0)
MIXING = RNG.normal(size=(8, 8))
REAL, MADE = RNG.normal(size=(600, 8)), RNG.normal(size=(500, 8)) @ MIXING + 0.5


class Same(torch.nn.Module):
    """Features that come as images, for torchmetrics, which takes them through a network."""

    num_features = 8

    def forward(self, features):
        return features


def fed(metric, real, made):
    """A metric of torchmetrics that has seen both sides."""
    metric.update(torch.from_numpy(real), real=True)
    metric.update(torch.from_numpy(made), real=False)
    return metric


def test_frechet_agrees_with_torchmetrics():
    found = frechet_distance(REAL, MADE, "numbers")
    theirs = fed(FrechetInceptionDistance(feature=Same()).set_dtype(torch.float64), REAL, MADE).compute()
    assert found["value"] == pytest.approx(float(theirs), rel=1e-6)
    assert (found["n_real"], found["n_made"], found["features"], found["extractor"]) == (600, 500, 8, "numbers")
    assert found["low"] < found["value"] < found["high"]
    json.dumps(found)


def test_frechet_of_known_gaussians():
    assert frechet_distance(REAL, REAL, "")["value"] == pytest.approx(0, abs=1e-9)
    # A shift by d costs |d|^2, and a stretch by s in one dimension of deviation 1 costs (s - 1)^2.
    shift = np.array([3.0, 4, 0, 0, 0, 0, 0, 0])
    assert frechet_distance(REAL, REAL + shift, "")["value"] == pytest.approx(25)
    white = (REAL - REAL.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(REAL.T))).T
    assert frechet_distance(white, white * ([3.0] + [1.0] * 7), "")["value"] == pytest.approx(4)
    assert frechet_distance(REAL, np.zeros((600, 8)), "")["value"] == pytest.approx(
        np.square(REAL.mean(0)).sum() + REAL.var(0, ddof=1).sum()
    )


def test_frechet_interval_covers_the_truth_about_as_often_as_it_says():
    # One feature, shifted by 1: the distance is 1, and 2,000 images leave next to no bias.
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = frechet_distance(rng.normal(size=(2000, 1)), 1 + rng.normal(size=(2000, 1)), "")
        covered += found["low"] <= 1 <= found["high"]
    assert covered >= 52


def test_frechet_of_too_few_pictures_is_refused():
    with pytest.raises(ValueError, match=r"of 64 features needs 128 images on both sides, not 200 and 127; take more, or kernel_"):
        frechet_distance(np.zeros((200, 64)), np.zeros((127, 64)), "")
    with pytest.raises(ValueError, match="needs 40 images"):
        frechet_distance(np.zeros((39, 2)), np.zeros((50, 2)), "")


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`:UserWarning")
def test_kernel_distance_agrees_with_torchmetrics():
    found = kernel_distance(REAL[:500], MADE, "numbers", subsets=3, size=500)
    theirs, _ = fed(KernelInceptionDistance(feature=Same(), subsets=3, subset_size=500), REAL[:500], MADE).compute()
    assert found["value"] == pytest.approx(float(theirs)) and found["low"] == pytest.approx(found["high"])
    assert found["subset_size"] == 500 and found["extractor"] == "numbers"


def test_kernel_distance_of_one_kind_is_about_zero_and_not_biased():
    values = [kernel_distance(*np.random.default_rng(s).normal(size=(2, 60, 8)), "")["value"] for s in range(40)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 40**0.5
    assert min(values) < 0 < max(values)
    assert kernel_distance(REAL, REAL + 1, "")["low"] > 1


def test_kernel_distance_needs_subsets():
    with pytest.raises(ValueError, match="at most the 500 that there are, not 501"):
        kernel_distance(REAL, MADE, "", size=501)


def test_broken_features_are_refused(unchecked):
    with pytest.raises(ValueError, match=r"as many features on both sides, not \(600, 8\) and \(500, 7\)"):
        frechet_distance(REAL, MADE[:, :7], "")
    with pytest.raises(ValueError, match="not finite"):
        kernel_distance(REAL, np.where(MADE > 2, np.nan, MADE), "")


def test_any_function_may_look():
    means = Extractor("means", lambda pictures: pictures.mean((2, 3)))
    pictures = torch.rand(10, 3, 4, 4)
    assert extract(means, pictures.split(3)) == pytest.approx(pictures.mean((2, 3)).numpy())
    with pytest.raises(ValueError, match=r"'maps' must give features \[batch, features\]; for 10 images it gave a tensor of shape"):
        extract(Extractor("maps", lambda pictures: pictures), [pictures])
    with pytest.raises(ValueError, match="no image"):
        extract(means, [])


def test_the_judge_looks(signs):
    torch.manual_seed(0)
    classifier = Classifier(signs.schema, Settings(width=4)).eval()
    extractor = feature_extractor(classifier)
    pictures = signs.batch(np.arange(60)).images
    found = extract(extractor, pictures.split(20))
    assert found.shape == (60, 24) and extractor.name == "judge, width 4, reads colour, lamp, stripes"
    assert extract(extractor, [pictures.flip(-1)]) == pytest.approx(found, abs=1e-5)
    assert found.std(0).max() > 1e-3
    # They are the means of the maps that the heads read.
    maps = (classifier.trunk(classifier.sized(pictures)) + classifier.trunk(classifier.sized(pictures.flip(-1)))) / 2
    assert found == pytest.approx(maps.reshape(60, 24, 16).mean(2).detach().numpy(), abs=1e-5)


def test_jackknife_of_a_mean_is_that_of_the_groups():
    means = np.random.default_rng(1).normal(size=20)
    low, high = jackknife(means.mean(), [(means.sum() - m) / 19 for m in means])
    assert high - means.mean() == pytest.approx(2.093 * means.std(ddof=1) / 20**0.5, rel=1e-3)
    assert means.mean() - low == pytest.approx(high - means.mean())
