"""What methods ask and say of a schema: kinds that are refused, and the roles of parts named after attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recombine.data.schema import Attribute, Schema
from recombine.method import Role


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


def named_roles(schema: Schema, parts: Iterable[str] = ()) -> dict[str, Role]:
    """Roles of parts that are named after attributes: a group's part carries what its images share, another the attribute.

    Args:
        schema: The attributes.
        parts: Names of all parts; every attribute and `rest` unless given. One that is no attribute is meant to carry nothing.
    """
    roles = {
        a.name: Role(shared_by=(a.name,)) if a.kind == "group" else Role(attributes=(a.name,))
        for a in schema.attributes
    }
    return {part: roles.get(part, Role()) for part in parts or (*schema.names, "rest")}


def pair_roles(pair_by: tuple[str, ...]) -> dict[str, Role]:
    """Roles of `appearance`, which carries what both images of a pair share, and `pose`, which carries all else.

    Esser, Haux and Ommer, "Unsupervised Robust Disentangling of Latent Characteristics for Image Synthesis", 2019,
    section 3.
    """
    return {"pose": Role(all_else=True), "appearance": Role(shared_by=pair_by)}
