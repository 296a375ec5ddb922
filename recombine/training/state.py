"""The state of an optimiser as named tensors and plain JSON values, and back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def flatten_optimizer(state_dict: dict) -> tuple[dict[str, Tensor], dict]:
    """An optimiser's state as named tensors and a JSON-able rest, from which `unflatten_optimizer` makes it again.

    Raises:
        ValueError: It holds something that is no tensor, number, text, None, list, tuple or dict.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, describe_state(state_dict, "optimizer", tensors)


def unflatten_optimizer(tensors: Mapping[str, Tensor], rest: dict) -> dict:
    """The `state_dict` that `flatten_optimizer` took apart, bit for bit."""
    return rebuild_state(rest, tensors)


def describe_state(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A JSON-able description of a nested value; its tensors go to `tensors` under dotted names."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, describe_state(inner, f"{name}.{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [describe_state(entry, f"{name}.{place}", tensors) for place, entry in enumerate(value)]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    expected = "a tensor, number, text, None, or a list or dict of them"
    raise ValueError(f"{name} is a {type(value).__name__}; expected {expected}")


def rebuild_state(description: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The value that `describe_state` described."""
    if not isinstance(description, dict):
        return description
    (kind, inner), = description.items()  # fmt: skip
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: rebuild_state(value, tensors) for key, value in inner}
    entries = [rebuild_state(value, tensors) for value in inner]
    return tuple(entries) if kind == "tuple" else entries
