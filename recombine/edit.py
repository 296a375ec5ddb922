"""The edits, functions from codes to codes: swap, interpolate, mix, set_label, draw_label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.method import Drawing, Method, Unsupported

Weighted = Sequence[tuple[Codes, float]]
Strength = float | Float[Tensor, ""] | Float[Tensor, " batch"]


def swap(a: Codes, b: Codes, *parts: str) -> tuple[Codes, Codes]:
    """Exchange named parts between two batches.

    Args:
        a: Codes of n images.
        b: Codes of n images, or of one, which then meets every image of the other side.
        parts: Which parts change hands; at least one.

    Returns:
        `a` with the parts of `b`, and `b` with the parts of `a`.

    Example:
        >>> a, b = (Codes(smile=torch.full((1, 1), v), rest=torch.full((1, 2), v)) for v in (0.0, 1.0))
        >>> swap(a, b, "smile")[0]["smile"]
        tensor([[1.]])
    """
    a, b = _paired(a, b, parts)
    return a.replace({name: b[name] for name in parts}), b.replace({name: a[name] for name in parts})


def interpolate(a: Codes, b: Codes, t: Strength, *parts: str) -> Codes:
    """Move from `a` towards `b` along a straight line.

    Args:
        a: Codes of n images, where `t` is 0.
        b: Codes of n images or of one, where `t` is 1.
        t: How far, one number or one per image `[batch]`; values outside [0, 1] go beyond the two.
        parts: Which parts move; all of them when none is named.

    Example:
        >>> a, b = (Codes(smile=torch.full((1, 1), v), rest=torch.full((1, 2), v)) for v in (0.0, 1.0))
        >>> interpolate(a, b, 0.25)["rest"]
        tensor([[0.2500, 0.2500]])
    """
    a, b = _paired(a, b, parts or tuple(a))
    return a.replace({name: _between(a[name], b[name], t) for name in parts or tuple(a)})


def mix(**parts: Codes | Weighted) -> Codes:
    """Put codes together part by part, each from another image or from several.

    Args:
        parts: Part name -> the codes it is taken from, or a list of (codes, weight) whose weighted mean it becomes;
            weights are at least 0 and are divided by their sum.

    Example:
        >>> a, b = (Codes(smile=torch.full((1, 1), v), rest=torch.full((1, 1), v)) for v in (0.0, 1.0))
        >>> mix(smile=b, rest=[(a, 1), (b, 3)])["rest"]
        tensor([[0.7500]])
    """
    if not parts:
        raise ValueError("mix needs at least one part, for example mix(identity=a, smile=b)")
    weighted = {name: [(given, 1.0)] if isinstance(given, Codes) else given for name, given in parts.items()}
    size = max((source.batch_size for sources in weighted.values() for source, _ in sources), default=0)
    return Codes({name: _mean(name, sources, size) for name, sources in weighted.items()})


def set_label(model: Method, codes: Codes, *, strength: Strength = 1.0, **labels: object) -> Codes:
    """Give images a label.

    Args:
        model: The method whose codes these are.
        codes: Codes of any number of images.
        strength: How far from the image's own code (0) to the label's code (1); above 1 exaggerates. One number, or
            one per image `[batch]`.
        labels: Attribute -> value, by name or, for a binary attribute, 0/1 or yes/no.

    Raises:
        ValueError: No label is given, or an attribute or value does not exist.
    """
    if not labels:
        raise ValueError("set_label needs at least one label, for example set_label(model, codes, Smiling=1)")
    target = {name: model.label_code(name, value).to(codes.device) for name, value in labels.items()}
    moved = {name: _between(codes[name], code.to(codes[name].dtype), strength) for name, code in target.items()}
    return codes.replace(moved)


def draw_label(
    model: Method, codes: Codes, *, seeds: Sequence[int], strength: Strength = 1.0, **labels: object
) -> Codes:
    """Give images a label, each in a way of its own: with a code drawn from the model's prior in place of the mean.

    Args:
        model: The method whose codes these are; it must have a prior.
        codes: Codes of any number of images.
        seeds: Of what is drawn, one per image; the same seed draws the same.
        strength: As of `set_label`.
        labels: As of `set_label`.

    Raises:
        ValueError: No label is given, seeds are not one per image, or an attribute or value does not exist.
        Unsupported: The model has no prior.
    """
    if not labels:
        raise ValueError("draw_label needs at least one label, for example draw_label(model, codes, seeds=[1], Smiling=1)")
    if len(seeds) != codes.batch_size:
        raise ValueError(f"draw_label needs a seed for each of {codes.batch_size} images, not {len(seeds)}")
    if not isinstance(model, Drawing):
        raise Unsupported("this model has no prior over codes to draw from; set_label gives the mean, and splice has one")
    moved = {}
    for name, value in labels.items():
        generators = [torch.Generator().manual_seed(mix_seed(seed, "drawn", name)) for seed in seeds]
        length = model.label_code(name, value).shape[1]
        normal = torch.stack([torch.randn(length, generator=each) for each in generators])
        moved[name] = _between(codes[name], model.drawn_code(name, value, normal.to(codes[name])), strength)
    return codes.replace(moved)


def _between(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    if isinstance(t, Tensor) and t.ndim:
        t = t.to(a).reshape(-1, *[1] * (a.ndim - 1))
    return a + (b - a) * t


def _paired(a: Codes, b: Codes, parts: Sequence[str]) -> tuple[Codes, Codes]:
    if not parts:
        raise ValueError(f"name at least one part to swap; these codes have {list(a)}")
    size = max(a.batch_size, b.batch_size)
    for name in parts:
        if a[name].shape[1:] != b[name].shape[1:]:
            shapes = f"{tuple(a[name].shape[1:])} and {tuple(b[name].shape[1:])}"
            raise ValueError(f"part {name!r} has shapes {shapes} in the two codes; were they made by the same model?")
    return a.expand(size), b.expand(size)


def _mean(name: str, sources: Weighted, size: int) -> Tensor:
    weights = torch.tensor([float(weight) for _, weight in sources])
    if not len(weights) or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError(f"weights of part {name!r} must be at least 0 and not all 0, not {weights.tolist()}")
    shares = (weights / weights.sum()).tolist()
    parts = [codes.expand(size)[name] for codes, _ in sources]
    if len(parts) == 1:
        return parts[0]
    return torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0)
