"""How near one image is to another: MSE, PSNR and SSIM, each per image.

All images come in [-1, 1], are clamped there, and are measured on [0, 1], so that methods can be compared.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

Images = Float[Tensor, "batch channels height width"]
SMALLEST = 1e-10  # mean squared error that counts as none; caps PSNR at 100 dB


def mse(images: Images, truth: Images) -> Float[Tensor, " batch"]:
    """Mean squared error `[batch]` of images `[batch, channels, height, width]`, on [0, 1].

    Example:
        >>> import torch
        >>> mse(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))  # 0.5 apart on [0, 1]
        tensor([0.2500])
    """
    if images.shape != truth.shape:
        raise ValueError(f"images of shape {tuple(images.shape)} cannot be compared with {tuple(truth.shape)}")
    return (_unit(images) - _unit(truth)).square().flatten(1).mean(1)


def psnr(images: Images, truth: Images) -> Float[Tensor, " batch"]:
    """Peak signal-to-noise ratio `[batch]` in dB: of every image by itself, so a mean is one of dB, not of errors.

    Equal images have 100 dB. `torchmetrics` gives infinity for these, and other last digits for the rest.

    Example:
        >>> import torch
        >>> psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.2)).round()  # 0.1 apart on [0, 1]
        tensor([20.])
    """
    return -10 * mse(images, truth).clamp_min(SMALLEST).log10()


def ssim(images: Images, truth: Images) -> Float[Tensor, " batch"]:
    """Structural similarity `[batch]`, 1 for equal images; Gaussian window of 11 pixels, sigma 1.5.

    Raises:
        ValueError: The images are smaller than the window.

    Example:
        >>> import torch
        >>> ssim(torch.ones(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
        tensor([1.])
    """
    if min(images.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs images of at least 11 x 11 pixels, not {images.shape[-2]} x {images.shape[-1]}")
    values = structural_similarity_index_measure(_unit(images), _unit(truth), data_range=1.0, reduction="none")
    return values.reshape(len(images))  # type: ignore[union-attr]


def _unit(images: Tensor) -> Tensor:
    return (images.clamp(-1, 1).float() + 1) / 2
