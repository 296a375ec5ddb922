"""What the codes tell, and what they should not: fresh probes, entropies, mutual information, known factors."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from recombine.evaluation.context import CannotMeasure, Desk, beside, known
from recombine.metrics import factors
from recombine.metrics.entropy import off_part_entropy
from recombine.metrics.leakage import FEWEST, Matrix, matrix_json, off_part
from recombine.metrics.leakage import leakage as probe_parts
from recombine.metrics.mutual_information import FEWEST as FEWEST_PAIRS
from recombine.metrics.mutual_information import mutual_information

PROBES = ("linear", "two_layer")
MOST_NUMBERS = 256                          # of all parts together, whose disentanglement is measured; maps are averaged down to that
TREES = 10                                  # of every forest; ten forests read each attribute
POOLED = (4, 2, 1)                          # pixels, sides of the maps, the largest that fits


def leakage(desk: Desk) -> dict:
    """What a fresh linear and a fresh two-layer probe read of every attribute from every part."""
    report: dict = {"matrix": {kind: matrix_json(probed(desk, kind)) for kind in PROBES}}
    try:
        if not any(desk.carries.values()):
            raise ValueError("no part is meant to carry an attribute, so none is where it should not be")
        report["off_part"] = {kind: off_part(probed(desk, kind), desk.carries).to_json() for kind in PROBES}
    except ValueError as reason:
        desk.leave_out("off_part", reason)
    return {**report, "learnt_from": len(desk.learnt.rows)}


def probed(desk: Desk, kind: str) -> Matrix:
    """The probes' readings, trained once for all that asks for them; raises CannotMeasure where there are too few pictures."""
    if kind not in desk.matrices:
        if len(desk.rows) < FEWEST:
            raise CannotMeasure(f"probes are judged on {FEWEST} pictures or more, and there are {len(desk.rows)}")
        learnt = desk.learnt
        matrix = probe_parts(
            learnt.codes, desk.labels(learnt.rows), desk.probed, desk.labels(desk.rows), desk.asked, kind, desk.seed  # type: ignore[arg-type]
        )
        if not any(matrix.values()):
            raise CannotMeasure(f"no attribute has {FEWEST} labelled training pictures for a probe to learn from and {FEWEST} to judge it on")
        desk.matrices[kind] = matrix
    return desk.matrices[kind]


def entropy(desk: Desk) -> dict:
    """How unsure the fresh linear probes are on parts that should not tell, as a share of ln K."""
    matrix = probed(desk, "linear")
    if not any(desk.carries.values()):
        raise CannotMeasure("no part is meant to carry an attribute, so none is where it should not be")
    try:
        return off_part_entropy(matrix, desk.carries)
    except ValueError as reason:
        raise CannotMeasure(str(reason)) from reason


def information(desk: Desk) -> dict:
    """Mutual information in nats of the parts that carry attributes and the others, or of two parts that share them out."""
    carriers = [part for part, names in desk.carries.items() if names]
    others = [part for part in desk.carries if part not in carriers]
    sides = (carriers, others) if carriers and others else tuple([part] for part in desk.carries)
    if len(sides) != 2:
        raise CannotMeasure(f"it is measured between two sides, and none can be told from the parts {', '.join(desk.carries)}")
    if len(desk.learnt.rows) < FEWEST_PAIRS or len(desk.rows) < FEWEST:
        raise CannotMeasure(f"it needs {FEWEST_PAIRS} training and {FEWEST} judged pictures, not {len(desk.learnt.rows)} and {len(desk.rows)}")
    (a, b), (a_test, b_test) = ([beside(codes, side) for side in sides] for codes in (desk.learnt.codes, desk.probed))
    found = mutual_information(a, b, a_test, b_test, seed=desk.seed)
    return {**found.to_json(), "between": list(map(list, sides)), "learnt_from": len(desk.learnt.rows)}


def disentanglement(desk: Desk) -> dict:
    """MIG, SAP and DCI of single numbers of all parts side by side, maps averaged down."""
    labels = desk.labels(desk.rows)
    asked = [a for a in desk.asked if known(a, labels[a.name]).any()]
    rows = np.all([known(a, labels[a.name]) for a in asked], 0) if asked else np.zeros(len(desk.rows), bool)
    if rows.sum() < factors.FEWEST:
        raise CannotMeasure(f"it needs {factors.FEWEST} judged pictures whose labels are all known, and there are {rows.sum()}")
    wanted = {a.name: labels[a.name][rows] for a in asked if len(np.unique(labels[a.name][rows])) > 1}
    if not wanted:
        raise CannotMeasure("every attribute has a single value on the judged pictures")
    numbers, side = _numbers(desk)
    found: dict = {"numbers": numbers.shape[1], "pooled": side, "factors": list(wanted)}
    for name, measure in (("mig", factors.mig), ("sap", factors.sap), ("dci", partial(factors.dci, trees=TREES))):
        try:
            found[name] = measure(numbers[rows], wanted, seed=desk.seed)
        except ValueError as reason:
            desk.leave_out(name, reason)
    return found


def _numbers(desk: Desk) -> tuple[np.ndarray, int]:
    """All parts `[pictures, numbers]`, maps averaged to the largest side at which they are few enough, and that side."""
    for side in POOLED:
        numbers = np.concatenate([_averaged(desk.codes[part].cpu().float(), side).numpy() for part in desk.codes], 1)
        if numbers.shape[1] <= MOST_NUMBERS:
            return numbers, side
    raise CannotMeasure(f"it is measured for {MOST_NUMBERS} numbers at most, since forests take their time, and the codes have {numbers.shape[1]}")


def _averaged(part: Tensor, side: int) -> Tensor:
    """A part `[batch, numbers]`, maps averaged down to `side` x `side` at most."""
    if part.ndim == 4:
        part = F.adaptive_avg_pool2d(part, (min(side, part.shape[2]), min(side, part.shape[3])))
    return part.flatten(1)
