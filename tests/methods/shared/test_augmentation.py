"""Augmentation of what a critic sees: what it leaves alone, what it changes, and how its probability moves."""

import pytest
import torch

from recombine.methods.shared.augmentation import IMAGES, NUMBERS, augmented, next_probability, recoloured, transformed


def some(count=4, height=16, width=16):
    torch.manual_seed(0)
    return torch.rand(count, 3, height, width) * 2 - 1


def test_without_probability_images_are_the_same_object():
    images = some()
    assert augmented(images, torch.rand(4, NUMBERS), 0.0) is images


def test_each_image_is_moved_or_coloured_by_its_own_draw():
    # The first number decides on the map, the second on the colour.
    images, uniform = some(), torch.full((4, NUMBERS), 0.9)
    uniform[1, 0] = uniform[2, 1] = uniform[3, 0] = uniform[3, 1] = 0.1
    changed = (augmented(images, uniform, 0.5) - images).abs().amax((1, 2, 3)) > 1e-3
    assert changed.tolist() == [False, True, True, True]


@pytest.mark.parametrize("size", [(16, 16), (16, 32)])
def test_amounts_of_zero_change_nothing(size):
    images = some(4, *size)
    assert torch.allclose(transformed(images, torch.zeros(4, 4)), images, atol=1e-5)
    assert torch.equal(recoloured(images, torch.zeros(4, 3)), images.mean(1, keepdim=True) + (images - images.mean(1, keepdim=True)))


def test_a_shift_moves_an_eighth_of_the_side():
    images = some()
    moved = transformed(images, torch.tensor([[1.0, 0, 0, 0]]).expand(4, -1))
    assert torch.allclose(moved[..., :-2], images[..., 2:], atol=1e-5)


def test_a_turn_keeps_its_shape_in_oblong_images():
    # A disc of oblong pixels' image stays a disc: turned, its height and width in pixels are what they were.
    y, x = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(64.0) - 31.5, indexing="ij")
    disc = ((x**2 + y**2) < 100).float()[None, None].expand(1, 3, -1, -1)
    turned = transformed(disc, torch.tensor([[0.0, 0, 0, 1.0]]))
    assert (turned - disc).abs().mean() < 0.015, "without the sides' ratio .023"


def test_saturation_leaves_grey_images_and_brightness_adds():
    grey = some()[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(recoloured(grey, torch.tensor([[0.0, 0, 1.0]]).expand(4, -1)), grey, atol=1e-6)
    assert torch.allclose(recoloured(grey, torch.tensor([[1.0, 0, 0]]).expand(4, -1)), grey + 0.2, atol=1e-6)


def test_gradients_pass():
    images = some().requires_grad_()
    augmented(images, torch.full((4, NUMBERS), 0.3), 0.9).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_the_probability_moves_towards_what_the_critic_should_be_sure_of():
    assert next_probability(0.5, 0.7, IMAGES // 10) == pytest.approx(0.6)
    assert next_probability(0.5, 0.5, IMAGES // 10) == pytest.approx(0.4)
    assert next_probability(0.95, 1.0, IMAGES) == 1.0 and next_probability(0.05, -1.0, IMAGES) == 0.0
