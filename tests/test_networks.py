"""Layers that are computed in another way than torch's, against torch's."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from recombine.networks import Conv2d, InstanceNorm2d

FEW_PLACES = (  # inputs, outputs, side, kernel, stride, padding of 2 images: 8, 18 and 8 places
    (100, 128, 4, 4, 2, 1), (128, 66, 3, 3, 1, 1), (60, 40, 4, 5, 2, 2),
)  # fmt: skip


def penalised(layer, images):
    """What a layer gives, the slope at its input, and the gradients of a penalty on that slope."""
    images = images.detach().requires_grad_(True)
    out = layer(images)
    (slope,) = torch.autograd.grad(out.tanh().square().sum(), images, create_graph=True)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().sum() + out.sum() * 0
    return [out, slope, *torch.autograd.grad(penalty, [images, *layer.parameters()])]


def both(own, torchs, dtype=torch.float64):
    """A layer of ours and one of torch's with the same weights, in channels_last."""
    own, torchs = own.to(dtype), torchs.to(dtype)
    for weight in own.parameters():
        nn.init.normal_(weight, std=0.1)
    torchs.load_state_dict(own.state_dict())
    return own.to(memory_format=torch.channels_last), torchs.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("numbers", FEW_PLACES)
def test_a_convolution_of_few_places_is_torchs_with_its_gradients_and_those_of_a_penalty(numbers):
    torch.manual_seed(0)
    inputs, outputs, side, *kernel = numbers
    own, torchs = both(Conv2d(inputs, outputs, *kernel), nn.Conv2d(inputs, outputs, *kernel))
    images = torch.randn(2, inputs, side, side, dtype=torch.float64).to(memory_format=torch.channels_last)
    assert own._is_product(images)
    for a, b in zip(penalised(own, images), penalised(torchs, images), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def test_a_convolution_of_few_places_is_close_in_bfloat16_and_gives_it():
    torch.manual_seed(0)
    own, torchs = both(Conv2d(100, 128, 4, 2, 1), nn.Conv2d(100, 128, 4, 2, 1), torch.float32)
    images = torch.randn(2, 100, 4, 4).to(memory_format=torch.channels_last).requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        out = own(images)
    assert out.dtype == torch.bfloat16
    expected = torchs(images)
    assert (out - expected).abs().max() < 0.02 * expected.abs().max()
    slopes = [torch.autograd.grad(each.float().square().sum(), images)[0] for each in (out, expected)]
    assert (slopes[0] - slopes[1]).abs().max() < 0.02 * slopes[1].abs().max()


def test_spectral_norm_takes_as_many_steps_as_with_torchs_convolution():
    layers = []
    for kind in (Conv2d, nn.Conv2d):
        torch.manual_seed(0)
        layers.append(spectral_norm(kind(100, 128, 4, 2, 1).double()).to(memory_format=torch.channels_last))
    images = torch.randn(2, 100, 4, 4, dtype=torch.float64).to(memory_format=torch.channels_last)
    assert layers[0]._is_product(images)
    found, expected = (layer(images) for layer in layers)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-10)
    for a, b in zip(layers[0].buffers(), layers[1].buffers(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(8, 8, 3, 1, 1), (16, 8, 16, 16)),
        (Conv2d(100, 128, 4, 2, 1, padding_mode="reflect"), (2, 100, 4, 4)),
        (Conv2d(100, 100, 4, 2, 1, groups=2), (2, 100, 4, 4)),
        (Conv2d(100, 128, 3, 2, 2, dilation=2), (2, 100, 4, 4)),
        (Conv2d(100, 128, 4, padding="same"), (1, 100, 2, 2)),
    ],
)
def test_other_convolutions_are_left_to_torch(layer, shape):
    assert not layer._is_product(torch.zeros(shape).to(memory_format=torch.channels_last))


@pytest.mark.parametrize("affine", [True, False])
def test_instance_normalisation_is_torchs_and_keeps_the_layout(affine):
    torch.manual_seed(0)
    own, torchs = both(InstanceNorm2d(6, eps=1e-6, affine=affine), nn.InstanceNorm2d(6, eps=1e-6, affine=affine))
    images = 3 + torch.randn(4, 6, 5, 7, dtype=torch.float64).to(memory_format=torch.channels_last)
    found = penalised(own, images)
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in found[:3])
    for a, b in zip(found, penalised(torchs, images), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    assert torch.allclose(own.eval()(images), torchs.eval()(images))
    own.bfloat16()
    exact = torchs.float()(images.float())
    assert (own(images.bfloat16()).float() - exact).abs().max() < 0.05


def test_instance_normalisation_keeps_running_averages_where_asked():
    own, torchs = (kind(6, affine=True, track_running_stats=True) for kind in (InstanceNorm2d, nn.InstanceNorm2d))
    images = torch.randn(4, 6, 5, 7).to(memory_format=torch.channels_last)
    for layer in (own, torchs):
        layer(images)
    assert torch.equal(own.running_mean, torchs.running_mean) and own.running_mean.any()
    assert torch.equal(own.eval()(images), torchs.eval()(images))
