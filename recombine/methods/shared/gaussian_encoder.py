"""The encoder of variational autoencoders: a mean and a log variance of every latent unit."""

from __future__ import annotations

from torch import Tensor, nn


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
