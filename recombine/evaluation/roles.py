"""What every part of a method's codes is meant to carry in a data set, so that everything else found in it is a leak.

A method says it by `roles`; which attributes all images of one group (a person, a clip) have in common is found in the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute
from recombine.messages import shown
from recombine.method import Role

SHARED = 0.99                               # of the other images of a group that must show an image's value


def resolved(roles: Mapping[str, Role], pack: Pack, parts: Sequence[str]) -> dict[str, list[str]]:
    """Part -> names of the attributes of the data set that it is meant to carry; none for a part such as `rest`.

    Args:
        roles: What the method says of its parts.
        pack: The data set with all its attributes.
        parts: Of the codes, in their order.

    Raises:
        ValueError: A part is meant to carry all that no other part does, and a group by which these are told apart is not in the data.
    """
    found: dict[str, list[str]] = {}
    divided = any(role.all_else for role in roles.values())
    for part in parts:
        role = roles.get(part, Role())
        missing = [name for name in role.shared_by if name not in pack.schema.names]
        if divided and missing:
            raise ValueError(f"what {part} carries is what images of one group share, and the data set has no {shown(missing)}; say it with roles")
        shared = shared_by(pack, role.shared_by) if role.shared_by and not missing else []
        found[part] = [name for name in pack.schema.names if name in role.attributes or name in shared]
    taken = {name for names in found.values() for name in names}
    left = [name for name in pack.schema.names if name not in taken]
    return {part: left if roles.get(part, Role()).all_else else names for part, names in found.items()}


def checked(roles: Mapping[str, Sequence[str]], pack: Pack, parts: Sequence[str]) -> dict[str, list[str]]:
    """Given roles, with nothing for parts that are not named; raises ValueError for names that do not exist."""
    for part, names in roles.items():
        if part not in parts:
            raise ValueError(f"roles names the part {part!r}; the method's parts are {shown(list(parts))}")
        for name in names:
            if name not in pack.schema.names:
                raise ValueError(f"roles says that {part!r} carries {name!r}; the data set has {shown(pack.schema.names)}")
    return {part: list(roles.get(part, ())) for part in parts}


def shared_by(pack: Pack, groups: Sequence[str]) -> list[str]:
    """Attributes whose value (nearly) all images of one group share, in the schema's order.

    Looked at are the training images, or all where there are none. An image that shows a value must have it in common
    with 99 % of the others of its group; the values count alike, so one that is rare everywhere is not taken for shared.

    Args:
        pack: The data set.
        groups: Attributes that make a group together.
    """
    rows = pack.rows("train") if len(pack.rows("train")) else pack.rows()
    columns = [np.asarray(pack.labels[name])[rows] for name in groups]
    known = np.all([column != MISSING for column in columns], 0)
    which = np.unique(np.stack(columns, 1)[known], axis=0, return_inverse=True)[1].reshape(-1) if known.any() else np.empty(0, int)
    rows = rows[known]
    return [a.name for a in pack.schema.attributes if a.name in groups or _agreement(which, pack.labels[a.name][rows], a) >= SHARED]


def _agreement(groups: np.ndarray, labels: np.ndarray, attribute: Attribute) -> float:
    """How often another image of the group shows the same value, the mean of all values; 0 where all are alone."""
    known = attribute.known(labels)
    if not known.any():
        return 0.0
    groups, values = groups[known], np.unique(labels[known], return_inverse=True)[1]
    others = np.bincount(groups)[groups] - 1
    _, cell, counts = np.unique(np.stack([groups, values], 1), axis=0, return_inverse=True, return_counts=True)
    alike = (counts[cell.reshape(-1)] - 1)[others > 0] / others[others > 0]
    weights = np.bincount(values[others > 0])
    return float(np.mean((np.bincount(values[others > 0], alike) / np.maximum(weights, 1))[weights > 0])) if len(alike) else 0.0
