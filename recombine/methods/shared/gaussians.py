"""Normal distributions as encoders give them: sampled with given noise, and compared with the prior N(0, I)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recombine.losses import kl_to_standard_normal


@dataclass(frozen=True)
class DiagonalGaussian:
    """Independent normal distributions: `[batch, ...]` each."""

    mean: Tensor
    log_variance: Tensor

    @staticmethod
    def of(parameters: Tensor) -> DiagonalGaussian:
        """From an encoder's `[batch, 2 * size, ...]`."""
        mean, log_variance = parameters.chunk(2, 1)
        return DiagonalGaussian(mean, log_variance.clamp(-30, 10))

    def sample(self, noise: Tensor) -> Tensor:
        """From standard normal noise of the mean's shape."""
        return self.mean + (self.log_variance / 2).exp() * noise

    def kl(self) -> Tensor:
        """Divergence from N(0, I), nats: `[batch]`."""
        return kl_to_standard_normal(self.mean.flatten(1), self.log_variance.flatten(1))


@dataclass(frozen=True)
class FullGaussian:
    """Normal, of covariance L L^T: mean `[batch, size]`, L `[batch, size, size]`, log L_ii `[batch, size]`."""

    mean: Tensor
    lower: Tensor
    log_diagonal: Tensor

    @staticmethod
    def of(parameters: Tensor, size: int) -> FullGaussian:
        """From an encoder's `[batch, size + size * (size + 1) / 2]`: the mean, and L row by row.

        L_ii = exp(raw_ii), and L_ij = raw_ij / sqrt(i) with i counted from 1.
        """
        mean, raw = parameters.split([size, parameters.shape[1] - size], 1)
        rows, columns = torch.tril_indices(size, size, device=raw.device)
        square = raw.new_zeros(len(raw), size, size)
        square[:, rows, columns] = raw
        log_diagonal = square.diagonal(dim1=1, dim2=2)
        roots = torch.arange(1, size + 1, device=raw.device, dtype=raw.dtype).sqrt()
        lower = (square / roots[:, None]).tril(-1) + torch.diag_embed(log_diagonal.exp())
        return FullGaussian(mean, lower, log_diagonal)

    def sample(self, noise: Tensor) -> Tensor:
        """From standard normal noise `[batch, size]`."""
        return self.mean + (self.lower @ noise[..., None])[..., 0]

    def kl(self) -> Tensor:
        """Divergence from N(0, I), nats: `[batch]`."""
        size = self.mean.shape[1]
        return 0.5 * (self.lower.square().sum((1, 2)) + self.mean.square().sum(1) - size) - self.log_diagonal.sum(1)


class Encoder(nn.Module):
    """Image -> mean and log variance of the code."""

    def __init__(self, trunk: nn.Module, features: int, hidden: int, num_latents: int):
        super().__init__()
        self.trunk = nn.Sequential(trunk, nn.Linear(features, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, num_latents)
        self.log_variance = nn.Linear(hidden, num_latents)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, channels, h, w]` in [0, 1] -> `[batch, latents]` twice."""
        features = self.trunk(images)
        # Differs from the paper: the log variance is held in [-30, 10], beyond which its exponential overflows.
        return self.mean(features), self.log_variance(features).clamp(-30, 10)
