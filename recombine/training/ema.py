"""The exponential moving average of a method's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Averaged copies of the parameters and buffers of several networks, by `network.key`."""

    def __init__(self, networks: Mapping[str, nn.Module], half_life: int):
        self.half_life = half_life          # images; 0 = no average
        states = {name: network.state_dict(keep_vars=True) for name, network in networks.items()}
        self.live = {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}
        self.tensors = {key: value.detach().clone() for key, value in self.live.items()} if half_life else {}

    @torch.no_grad()
    def update(self, images_seen: int, batch_size: int) -> None:
        """Move towards the current weights; early on the half-life is a tenth of the images seen."""
        if not self.tensors:
            return
        half_life = min(self.half_life, max(images_seen, 1) / 10)
        step = 1 - 0.5 ** (batch_size / half_life)
        floats = [key for key, value in self.live.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.tensors[key] for key in floats], [self.live[key].detach() for key in floats], step)
        for key, value in self.live.items():
            if not value.is_floating_point():
                self.tensors[key].copy_(value)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over a saved average."""
        for key, value in self.tensors.items():
            value.copy_(tensors[key])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Exchange the networks' weights for the averaged ones, and back."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for key, value in self.tensors.items():
            live = self.live[key]
            own = live.detach().clone()
            live.copy_(value)
            value.copy_(own)
