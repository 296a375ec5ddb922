"""Refusals that several methods share: attributes that are not there, or of a kind that a method cannot take."""

from __future__ import annotations

from collections.abc import Sequence

from recombine.data.schema import Attribute, Schema


def check_kinds(method: str, schema: Schema, kinds: Sequence[str] = ("binary", "categorical"), least: int = 1) -> None:
    """Raise ValueError where a schema has an attribute of a kind that a method cannot take, or fewer than `least`."""
    first, last = ", ".join(kinds[:-1]), kinds[-1]
    for attribute in schema.attributes:
        if attribute.kind not in kinds:
            kind, name = "a group" if attribute.kind == "group" else attribute.kind, attribute.name
            raise ValueError(
                f"{method} takes {first} and {last} attributes; {name!r} is {kind}: leave it out of --attributes, "
                f"or pack the data with --kind {name}=categorical"
            )
    if len(schema.attributes) < least:
        raise ValueError(f"{method} needs at least one {first} or {last} attribute")


def attribute_of(schema: Schema, name: str) -> Attribute:
    """An attribute; raises ValueError where there is none."""
    try:
        return schema[name]
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
