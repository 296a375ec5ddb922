"""Roles of parts (`recombine.method.Role`) as most methods have them."""

from __future__ import annotations

from collections.abc import Iterable

from recombine.data.schema import Schema
from recombine.method import Role


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
