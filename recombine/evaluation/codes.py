"""What the codes tell, and what they should not: fresh probes, entropies, mutual information, known factors."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from recombine.evaluation.context import CannotMeasure, EvaluationContext, beside
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


def leakage(context: EvaluationContext) -> dict:
    """What a fresh linear and a fresh two-layer probe read of every attribute from every part."""
    report: dict = {"matrix": {kind: matrix_json(probed(context, kind)) for kind in PROBES}}
    try:
        if not any(context.carries.values()):
            raise ValueError("no part is meant to carry an attribute, so none is where it should not be")
        report["off_part"] = {kind: off_part(probed(context, kind), context.carries).to_json() for kind in PROBES}
    except ValueError as reason:
        context.leave_out("off_part", reason)
    return {**report, "learnt_from": len(context.learnt.rows)}


def probed(context: EvaluationContext, kind: str) -> Matrix:
    """The probes' readings, trained once for all that asks for them; raises CannotMeasure where there are too few images."""
    if kind not in context.matrices:
        if len(context.rows) < FEWEST:
            raise CannotMeasure(f"probes are judged on {FEWEST} images or more, and there are {len(context.rows)}")
        learnt = context.learnt
        matrix = probe_parts(
            learnt.codes, context.labels(learnt.rows), context.probed, context.labels(context.rows), context.asked, kind, context.seed  # type: ignore[arg-type]
        )
        if not any(matrix.values()):
            raise CannotMeasure(f"no attribute has {FEWEST} labelled training images for a probe to learn from and {FEWEST} to judge it on")
        context.matrices[kind] = matrix
    return context.matrices[kind]


def entropy(context: EvaluationContext) -> dict:
    """How unsure the fresh linear probes are on parts that should not tell, as a share of ln K."""
    matrix = probed(context, "linear")
    if not any(context.carries.values()):
        raise CannotMeasure("no part is meant to carry an attribute, so none is where it should not be")
    try:
        return off_part_entropy(matrix, context.carries)
    except ValueError as reason:
        raise CannotMeasure(str(reason)) from reason


def information(context: EvaluationContext) -> dict:
    """Mutual information in nats of the parts that carry attributes and the others, or of two parts that share them out."""
    carriers = [part for part, names in context.carries.items() if names]
    others = [part for part in context.carries if part not in carriers]
    sides = (carriers, others) if carriers and others else tuple([part] for part in context.carries)
    if len(sides) != 2:
        raise CannotMeasure(f"it is measured between two sides, and none can be told from the parts {', '.join(context.carries)}")
    if len(context.learnt.rows) < FEWEST_PAIRS or len(context.rows) < FEWEST:
        raise CannotMeasure(f"it needs {FEWEST_PAIRS} training and {FEWEST} judged images, not {len(context.learnt.rows)} and {len(context.rows)}")
    (a, b), (a_test, b_test) = ([beside(codes, side) for side in sides] for codes in (context.learnt.codes, context.probed))
    found = mutual_information(a, b, a_test, b_test, seed=context.seed)
    return {**found.to_json(), "between": list(map(list, sides)), "learnt_from": len(context.learnt.rows)}


def disentanglement(context: EvaluationContext) -> dict:
    """MIG, SAP and DCI of single numbers of all parts side by side, maps averaged down."""
    labels = context.labels(context.rows)
    asked = [a for a in context.asked if a.known(labels[a.name]).any()]
    rows = np.all([a.known(labels[a.name]) for a in asked], 0) if asked else np.zeros(len(context.rows), bool)
    if rows.sum() < factors.FEWEST:
        raise CannotMeasure(f"it needs {factors.FEWEST} judged images whose labels are all known, and there are {rows.sum()}")
    wanted = {a.name: labels[a.name][rows] for a in asked if len(np.unique(labels[a.name][rows])) > 1}
    if not wanted:
        raise CannotMeasure("every attribute has a single value on the judged images")
    numbers, side = _numbers(context)
    found: dict = {"numbers": numbers.shape[1], "pooled": side, "factors": list(wanted)}
    for name, measure in (("mig", factors.mig), ("sap", factors.sap), ("dci", partial(factors.dci, trees=TREES))):
        try:
            found[name] = measure(numbers[rows], wanted, seed=context.seed)
        except ValueError as reason:
            context.leave_out(name, reason)
    return found


def _numbers(context: EvaluationContext) -> tuple[np.ndarray, int]:
    """All parts `[pictures, numbers]`, maps averaged to the largest side at which they are few enough, and that side."""
    for side in POOLED:
        numbers = np.concatenate([_averaged(context.codes[part].cpu().float(), side).numpy() for part in context.codes], 1)
        if numbers.shape[1] <= MOST_NUMBERS:
            return numbers, side
    raise CannotMeasure(f"it is measured for {MOST_NUMBERS} numbers at most, since forests take their time, and the codes have {numbers.shape[1]}")


def _averaged(part: Tensor, side: int) -> Tensor:
    """A part `[batch, numbers]`, maps averaged down to `side` x `side` at most."""
    if part.ndim == 4:
        part = F.adaptive_avg_pool2d(part, (min(side, part.shape[2]), min(side, part.shape[3])))
    return part.flatten(1)
