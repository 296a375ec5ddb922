"""Pieces of CycleGAN and pix2pix: what they refuse, the critic of patches, and the mean over valid images."""

import pytest
import torch
from games import HAIR, SMILING, schema
from torch import nn

from recombine.data.schema import Attribute
from recombine.methods.shared.critics import masked_mean, patch_critic
from recombine.training.runs import build


@pytest.mark.parametrize(("halvings", "pixels", "scores"), [(3, 70, 14), (2, 34, 30), (1, 16, 62)])
def test_a_score_depends_on_a_patch_of_the_image(halvings, pixels, scores):
    # Without the normalisation, which is over the whole image.
    network = patch_critic(schema(size=128), 3, 4, halvings)
    network = nn.Sequential(*(layer for layer in network if not isinstance(layer, nn.InstanceNorm2d)))
    images = torch.zeros(1, 3, 128, 128, requires_grad=True)
    out = network(images)
    (slope,) = torch.autograd.grad(out[0, 0, scores // 2, scores // 2], images)
    inside = slope.abs().sum((0, 1)) > 0
    assert out.shape == (1, 1, scores, scores) and inside.any(0).sum() == inside.any(1).sum() == pixels


def test_images_smaller_than_the_patches_are_refused():
    with pytest.raises(ValueError, match="images of 16x16 are too small for patches of 3 halvings; set critic_halvings to at most 2"):
        patch_critic(schema(), 3, 4, 3)
    assert patch_critic(schema(), 3, 4, 2)(torch.zeros(1, 3, 16, 16)).shape[:2] == (1, 1)


def test_images_that_are_not_valid_count_as_zero():
    assert masked_mean(torch.tensor([1.0, 5.0]), torch.tensor([True, False])).item() == 0.5


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
@pytest.mark.parametrize(
    ("attributes", "got"),
    [((SMILING, Attribute("Young", "binary", ("0", "1"))), r"Smiling \(binary\), Young \(binary\)"), ((HAIR,), r"hair \(categorical\)")],
)
def test_more_than_one_pair_of_domains_is_refused(name, attributes, got):
    with pytest.raises(ValueError, match=f"{name} takes exactly one binary attribute and got {got}; it is one model for each ordered pair of domains"):
        build(name, {}, schema(*attributes))
