"""Precision that can be lowered: networks in bfloat16 or float32, and which of the two a device is faster with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import Precision
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from recombine.precision import is_full

FULL, LOWERED = "32-true", "bf16-mixed"     # Fabric's names
WORTH = 1.1                                 # times as fast as float32 that bfloat16 must be, to give up digits for it
ROUNDS = 3                                  # of each precision, in turns
SECONDS = 1.5                               # that they may take together, about


class Lowered(Precision):
    """Matrix products and convolutions of networks in bfloat16, where `lowered`; what networks give is float32.

    Weights, optimisers, averages, losses, statistics of normalisations, and all that is called inside `full_precision`
    stay float32. Differs from Fabric's own "bf16-mixed": inputs are not cut to bfloat16 before a network asks for it,
    and losses that are differentiated twice are allowed.
    """

    precision = LOWERED

    def __init__(self, lowered: bool = True):
        self.lowered = lowered
        self.device = "cpu"                 # its type

    def convert_module(self, module: nn.Module) -> nn.Module:
        """The network, with what bfloat16 is not safe for made to compute in float32."""
        if self.device == "cpu":
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and max(layer.stride) > 1:
                    layer.forward = spared(layer.forward, max(layer.stride))  # type: ignore[method-assign]
        return module

    def forward_context(self) -> AbstractContextManager:
        return torch.autocast(self.device, torch.bfloat16) if self.lowered and not is_full() else nullcontext()

    def convert_output(self, data: Any) -> Any:
        def full(tensor: Tensor) -> Tensor:
            return tensor.float() if tensor.dtype == torch.bfloat16 else tensor

        return apply_to_collection(data, Tensor, full)


def lower(method: nn.Module, device: torch.device) -> None:
    """Let every network of a method, which is on a device, compute in bfloat16 from now on."""
    lowered = Lowered()
    lowered.device = device.type
    fabric = Fabric(accelerator="cpu", devices=1, plugins=lowered)
    for name, network in trained_networks(method).items():
        laid_out = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        setattr(method, name, fabric.setup_module(laid_out, move_to_device=False))


def trained_networks(method: nn.Module) -> dict[str, nn.Module]:
    """Child modules that have weights, by name."""
    return {name: child for name, child in method.named_children() if any(True for _ in child.parameters())}


def spared(forward: Callable[[Tensor], Tensor], stride: int) -> Callable[[Tensor], Tensor]:
    """A convolution's `forward` that computes in float32 where a side of its input is shorter than the stride.

    There some entries of the kernel meet nothing but padding; oneDNN leaves their gradients in bfloat16 unset.
    """

    def safe(images: Tensor) -> Tensor:
        if min(images.shape[-2:]) >= stride:
            return forward(images)
        with torch.autocast("cpu", enabled=False):
            return forward(images.float())

    return safe


def quickest(rehearse: Callable[[str, int], float], batch_size: int) -> tuple[str, dict[str, float]]:
    """The precision in which a step is quickest, and the seconds that a step took in each.

    Args:
        rehearse: Takes a step of a part of a batch in a precision, without effect; returns its seconds, the same ones
            on every process.
        batch_size: Images in the whole batch of a process.
    """
    few = min(2, batch_size)
    rehearse(FULL, few)                     # the first one also loads kernels
    full = rehearse(FULL, few)
    rehearse(LOWERED, few)
    lowered = rehearse(LOWERED, few)
    if lowered > 3 * full:                  # emulated; a larger batch would only take longer to say so
        return FULL, {FULL: full, LOWERED: lowered}
    images = max(few, min(batch_size, int(few * SECONDS / (ROUNDS * (full + lowered)))))
    rounds = [(rehearse(FULL, images), rehearse(LOWERED, images)) for _ in range(ROUNDS)]
    full, lowered = (min(times) for times in zip(*rounds, strict=True))
    return LOWERED if full >= WORTH * lowered else FULL, {FULL: full, LOWERED: lowered}
