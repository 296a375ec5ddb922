"""Image distances against scikit-image."""

import numpy as np
import pytest
import torch
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from recombine.metrics.reconstruction import mse, psnr, ssim


@pytest.fixture
def pair():
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 24, 32, generator=rng) * 2 - 1
    return images, (images + 0.3 * torch.randn(images.shape, generator=rng)).clamp(-1, 1)


def as_unit(images):
    return ((images.numpy().astype(np.float64) + 1) / 2).transpose(0, 2, 3, 1)


def test_mse_and_psnr_agree_with_scikit_image(pair):
    errors, decibels = mse(*pair), psnr(*pair)
    for i, (a, b) in enumerate(zip(*map(as_unit, pair), strict=True)):
        assert errors[i].item() == pytest.approx(mean_squared_error(b, a), rel=1e-5)
        assert decibels[i].item() == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4)


def test_ssim_agrees_with_scikit_image(pair):
    similar = ssim(*pair)
    for i, (a, b) in enumerate(zip(*map(as_unit, pair), strict=True)):
        reference = structural_similarity(
            b, a, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert similar[i].item() == pytest.approx(reference, abs=0.01)


def test_equal_pictures(pair):
    assert psnr(pair[0], pair[0]).tolist() == pytest.approx([100.0] * 3, abs=1e-4)
    assert ssim(pair[0], pair[0]).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_one_picture_and_one_channel():
    black, grey = torch.full((1, 1, 16, 16), -1.0), torch.zeros(1, 1, 16, 16)
    assert mse(black, grey).tolist() == pytest.approx([0.25])
    assert ssim(black, black).shape == (1,)


def test_what_cannot_be_compared_is_refused(unchecked):
    with pytest.raises(ValueError, match="cannot be compared"):
        mse(torch.zeros(1, 3, 8, 8), torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, not 8 x 8"):
        ssim(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
