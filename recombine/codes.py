"""Codes: what an image was taken apart into, one named tensor per part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import overload

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, Shaped
from safetensors.torch import load_file, save
from torch import Tensor

from recombine.files import write_bytes


class Codes(Mapping[str, Tensor]):
    """All parts of the codes of a batch of images; an immutable mapping from part name to tensor `[batch, ...]`.

    `len` is the number of parts, `batch_size` the number of images.

    Raises:
        ValueError: There is no part, or the parts hold different numbers of images.

    Example:
        >>> Codes(smile=torch.zeros(2, 1), rest=torch.zeros(2, 100))
        Codes(smile: (2, 1), rest: (2, 100))
    """

    def __init__(self, parts: Mapping[str, Tensor] | None = None, /, **more: Tensor):
        merged = {**(parts or {}), **more}
        if not merged:
            raise ValueError("codes need at least one part")
        for name, part in merged.items():
            if not isinstance(part, Tensor) or part.ndim == 0:
                found = "a tensor of shape ()" if isinstance(part, Tensor) else f"{type(part).__name__} {part!r:.60}"
                raise ValueError(f"part {name!r} must be a tensor [batch, ...], not {found}")
        sizes = {name: len(part) for name, part in merged.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"every part must hold the same number of images; these hold {sizes}")
        self._parts = MappingProxyType(merged)

    @overload
    def __getitem__(self, name: str) -> Tensor: ...

    @overload
    def __getitem__(self, name: int | slice | Int[Tensor, " some"] | Bool[Tensor, " batch"]) -> Codes: ...

    def __getitem__(
        self, name: str | int | slice | Int[Tensor, " some"] | Bool[Tensor, " batch"]
    ) -> Tensor | Codes:  # type: ignore[override]
        if not isinstance(name, str):
            if isinstance(name, int):
                if not -self.batch_size <= name < self.batch_size:
                    raise IndexError(f"no image {name}; these codes hold {self.batch_size}")
                name = slice(name % self.batch_size, name % self.batch_size + 1)
            return self.map(lambda part: part[name])
        if name not in self._parts:
            raise KeyError(f"no part {name!r}; these codes have {list(self._parts)}")
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __repr__(self) -> str:
        return f"Codes({', '.join(f'{name}: {tuple(part.shape)}' for name, part in self._parts.items())})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Codes) or list(self) != list(other):
            return False
        return all(torch.equal(self._parts[name], other._parts[name]) for name in self)

    __hash__ = None  # type: ignore[assignment]

    @property
    def batch_size(self) -> int:
        """Number of images."""
        return len(next(iter(self._parts.values())))

    @property
    def device(self) -> torch.device:
        """Where the first part lives."""
        return next(iter(self._parts.values())).device

    def map(self, function) -> Codes:
        """The same parts, each passed through `function`."""
        return Codes({name: function(part) for name, part in self._parts.items()})

    def replace(self, parts: Mapping[str, Tensor] | None = None, /, **more: Tensor) -> Codes:
        """These codes with some parts exchanged; a name that does not exist yet is an error."""
        changes = {**(parts or {}), **more}
        for name in changes:
            self[name]
        return Codes({**self._parts, **changes})

    def select(self, *names: str) -> Codes:
        """Only these parts, in this order."""
        return Codes({name: self[name] for name in names})

    def roll(self, shift: int = 1) -> Codes:
        """Every image takes the codes of the one `shift` places before it."""
        return self.map(lambda part: part.roll(shift, 0))

    def expand(self, batch_size: int) -> Codes:
        """One image's codes repeated for a batch; codes of that size already come back as they are."""
        if self.batch_size == batch_size:
            return self
        if self.batch_size != 1:
            raise ValueError(f"codes of {self.batch_size} images cannot stand beside codes of {batch_size}")
        return self.map(lambda part: part.expand(batch_size, *part.shape[1:]))

    def to(self, *args, **kwargs) -> Codes:
        """`Tensor.to` on every part."""
        return self.map(lambda part: part.to(*args, **kwargs))

    def detach(self) -> Codes:
        """`Tensor.detach` on every part."""
        return self.map(Tensor.detach)

    def save(self, path: str | Path) -> None:
        """Write the codes as one safetensors file; the order of the parts is preserved."""
        own = self.detach().to("cpu").items()
        parts = {f"{place:03d}.{name}": part.contiguous() for place, (name, part) in enumerate(own)}
        write_bytes(path, save(parts, metadata={"format": "recombine.codes"}))

    @staticmethod
    def load(path: str | Path, device: str | torch.device = "cpu") -> Codes:
        """The codes that `save` wrote."""
        parts = load_file(str(path), device=str(device))
        return Codes({name.split(".", 1)[1]: parts[name] for name in sorted(parts)})

    @staticmethod
    def concatenate(several: list[Codes]) -> Codes:
        """The codes of several batches as those of one."""
        names = list(several[0])
        return Codes({name: torch.cat([codes.select(*names)[name] for codes in several]) for name in names})


def pooled(part: Shaped[Tensor, " batch *each"], side: int) -> Shaped[Tensor, "batch features"]:
    """A part as vectors, maps `[batch, channels, height, width]` averaged down to `side` x `side` at most.

    Example:
        >>> pooled(torch.zeros(2, 3, 8, 1), 4).shape
        torch.Size([2, 12])
    """
    if part.ndim == 4:
        part = F.adaptive_avg_pool2d(part, (min(side, part.shape[2]), min(side, part.shape[3])))
    return part.flatten(1)
