"""What methods share that learn from pairs of images of one thing and have the parts pose and appearance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recombine.data.batch import Batch
from recombine.data.schema import Schema
from recombine.messages import shown
from recombine.method import Unsupported


def pair_attributes(method: str, pair_by: Sequence[str], schema: Schema) -> tuple[str, ...]:
    """The attributes that pairs share; raises ValueError naming what a schema lacks."""
    groups = [a.name for a in schema.attributes if a.kind == "group"]
    if not pair_by and not groups:
        raise ValueError(
            f"{method} needs pairs of images that show the same thing: an attribute of kind 'group' (a person, a clip, an object) "
            f"among the attributes, or pair_by naming some of {shown(schema.names)}"
        )
    names = tuple(pair_by) or (groups[0],)
    for name in names:
        if name not in schema.names:
            raise ValueError(f"pair_by names {name!r}, which is not among the attributes: {shown(schema.names)}")
        if schema[name].kind == "continuous":
            raise ValueError(f"{name} is a number; pairs share binary, categorical or group attributes")
    return names


def same_thing(batch: Batch, names: Sequence[str]) -> Tensor:
    """Which places of a batch show the same thing, `[batch, batch]` bool: they share every attribute in `names`, and it is known."""
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


def no_labels(method: str) -> Unsupported:
    """The error of a method whose parts are pose and appearance and that is asked for a label's code."""
    from recombine.methods import METHODS

    able = tuple(name for name, (kind, _) in METHODS.items() if "categorical" in kind.kinds)
    return Unsupported(
        f"{method} has no labels, only pose and appearance: swap one of them from another image, or use one of {shown(able, len(able))}"
    )
