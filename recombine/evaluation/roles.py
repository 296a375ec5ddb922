"""What every part of a method's codes is meant to carry, so that everything else found in it is a leak.

A part named after an attribute carries that attribute, and a part named after a group (a person) everything that the
images of one group share. Methods that learn from pairs of a group have two parts without such names: `appearance`
carries what both images of a pair share, `pose` the rest (Esser et al., Sec. 3).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from recombine.data.packed import Pack
from recombine.data.schema import MISSING, Attribute
from recombine.messages import shown
from recombine.method import Method

SHARED = 0.99                               # of the other images of a group that must show an image's value
PAIRED = ("appearance", "pose")             # parts of methods that learn from pairs


def carried(model: Method, pack: Pack, parts: Collection[str]) -> dict[str, list[str]]:
    """Part -> names of the attributes of the pack that it is meant to carry; none for a part such as `rest`.

    Args:
        model: The method; where its parts are appearance and pose, `pair_by` of it or of its `config` names the groups.
        pack: The data set with all its attributes.
        parts: Of its codes.

    Raises:
        ValueError: The parts are appearance and pose, and no group is known by which pairs could be drawn.
    """
    if set(PAIRED) <= set(parts):
        shared = shared_by(pack, paired_by(model, pack))
        owned = {"appearance": shared, "pose": [name for name in pack.schema.names if name not in shared]}
        return {part: owned.get(part, []) for part in parts}
    return {part: _own(part, pack) if part in pack.schema.names else [] for part in parts}


def checked(carries: Mapping[str, Sequence[str]], pack: Pack, parts: Collection[str]) -> dict[str, list[str]]:
    """What was said that parts carry, with nothing for those not named; raises ValueError for names that do not exist."""
    for part, names in carries.items():
        if part not in parts:
            raise ValueError(f"carries names the part {part!r}; the method's parts are {shown(list(parts))}")
        for name in names:
            if name not in pack.schema.names:
                raise ValueError(f"carries says that {part!r} carries {name!r}; the data set has {shown(pack.schema.names)}")
    return {part: list(carries.get(part, ())) for part in parts}


def paired_by(model: Method, pack: Pack) -> tuple[str, ...]:
    """The attributes that both images of a pair share; raises ValueError where none is known."""
    config = getattr(model, "config", None)
    names = getattr(model, "pair_by", ()) or getattr(config, "pair_by", ())
    names = tuple(names) or tuple(a.name for a in pack.schema.attributes if a.kind == "group")[:1]
    missing = [name for name in names if name not in pack.schema.names]
    if missing or not names:
        raise ValueError(
            f"what appearance carries is what images of one group share, and the data set has no {shown(missing) if missing else 'group'}; "
            "say it with carries"
        )
    return names


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


def _own(part: str, pack: Pack) -> list[str]:
    return shared_by(pack, [part]) if pack.schema[part].kind == "group" else [part]


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
