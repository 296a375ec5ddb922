"""A value of a nested mapping by its path."""

from __future__ import annotations

from collections.abc import Mapping


def look(values: Mapping, *path: str) -> Mapping | None:
    """What stands at a path of names; None where it was not measured."""
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return None
        values = values[name]
    return values
