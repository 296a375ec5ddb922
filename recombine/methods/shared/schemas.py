"""What methods require of schemas and batches, the errors where it is missing, and the roles of their parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.messages import shown
from recombine.method import Role, Unsupported


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


def only_binary(schema: Schema, method: str) -> Attribute:
    """The one binary attribute of a schema that has no other; raises ValueError naming what there is."""
    if len(schema.attributes) != 1 or schema.attributes[0].kind != "binary":
        found = ", ".join(f"{a.name} ({a.kind})" for a in schema.attributes) or "none"
        raise ValueError(
            f"{method} takes exactly one binary attribute and got {found}; it is one model for each ordered pair of "
            "domains: name one with --attributes, and train again for every other"
        )
    return schema.attributes[0]


def named_roles(schema: Schema, parts: Iterable[str] = ()) -> dict[str, Role]:
    """Roles of parts named after attributes: a group's part carries what its images share, another the attribute.

    `parts` are all of them, by default the attributes and `rest`; one that is no attribute is meant to carry nothing.
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


def pair_attributes(method: str, pair_by: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """The attributes that pairs share; raises ValueError naming what a schema lacks."""
    groups = [a.name for a in schema.attributes if a.kind == "group"]
    if not pair_by and not groups:
        raise ValueError(
            f"{method} needs pairs of images that show the same thing: an attribute of kind 'group' (a person, a clip, "
            f"an object) among the attributes, or pair_by naming some of {shown(schema.names)}"
        )
    names = tuple(pair_by) or (groups[0],)
    for name in names:
        if name not in schema.names:
            raise ValueError(f"pair_by names {name!r}, which is not among the attributes: {shown(schema.names)}")
        if schema[name].kind == "continuous":
            raise ValueError(f"{name} is a number; pairs share binary, categorical or group attributes")
    return names


def same_thing(batch: Batch, names: Sequence[str]) -> Tensor:
    """Which images show the same thing, `[batch, batch]` bool: every attribute in `names` is known and equal."""
    same = torch.ones(batch.size, batch.size, dtype=torch.bool, device=batch.images.device)
    for name in names:
        labels, known = batch.labels[name], batch.known[name]
        same &= (labels[:, None] == labels) & known[:, None] & known
    return same


def partner(method: str, batch: Batch) -> Batch:
    """The second images of a batch's pairs; raises ValueError where there are none."""
    if batch.partner is None:
        raise ValueError(f"{method} is trained on pairs of images; this batch has no partners")
    return batch.partner


def labels_of_both(batch: Batch, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Labels, and which are known, of a batch's images and then of their partners: `[2 batch, attributes]` twice."""
    sides = [side for side in (batch, batch.partner) if side is not None]
    labels = [torch.cat([side.labels[name] for side in sides]) for name in names]
    return torch.stack(labels, 1), torch.stack([torch.cat([side.known[name] for side in sides]) for name in names], 1)


def no_labels(method: str) -> Unsupported:
    """The error of a method whose parts are pose and appearance and has no code of a label."""
    from recombine.methods import METHODS

    able = tuple(name for name, (kind, _) in METHODS.items() if "categorical" in kind.kinds)
    return Unsupported(
        f"{method} has no labels, only pose and appearance: swap one of them from another image, or use one of "
        f"{shown(able, len(able))}"
    )
