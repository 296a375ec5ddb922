"""What the codes tell, and what they should not: fresh probes, entropies, mutual information, known factors."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from recombine.codes import pooled
from recombine.evaluation.context import CannotMeasure, EvaluationContext
from recombine.evaluation.judgement import Disentanglement, Entropy, Information, Leakage, structured
from recombine.metrics import factors
from recombine.metrics.entropy import off_part_entropy
from recombine.metrics.leakage import FEWEST, Matrix, matrix_json, off_part
from recombine.metrics.leakage import leakage as probe_parts
from recombine.metrics.mutual_information import FEWEST as FEWEST_PAIRS
from recombine.metrics.mutual_information import mutual_information

MOST_NUMBERS = 256                          # of all parts together, whose disentanglement is measured
TREES = 10                                  # of every forest; ten forests read each attribute
POOLED = (4, 2, 1)                          # pixels, sides that maps are averaged down to, the largest that fits
NO_ROLES = "no part is meant to carry an attribute, so none is where it should not be"


def leakage(context: EvaluationContext) -> Leakage:
    """What fresh probes of the protocol's kinds read of every attribute from every part."""
    kinds = context.protocol.probes
    matrix, off = {kind: matrix_json(probed(context, kind)) for kind in kinds}, None
    try:
        if not any(context.probed_roles.values()):
            raise ValueError(NO_ROLES)
        off = {kind: off_part(probed(context, kind), context.probed_roles) for kind in kinds}
    except ValueError as reason:
        context.leave_out("off_part", reason)
    return structured(Leakage, {"matrix": matrix, "off_part": off, "learnt_from": len(context.learnt.rows)})


def probed(context: EvaluationContext, kind: str) -> Matrix:
    """The probes' readings, trained once for all sections; raises CannotMeasure where there are too few images."""
    if kind not in context.matrices:
        if len(context.rows) < FEWEST:
            raise CannotMeasure(f"probes are judged on {FEWEST} images or more, and there are {len(context.rows)}")
        rows, codes = context.learnt
        train, test = (codes, context.labels(rows)), (context.probed, context.labels(context.rows))
        attributes, workers = context.probed_attributes, context.workers
        matrix = probe_parts(*train, *test, attributes, kind, context.seed, workers)  # type: ignore[arg-type]
        if not any(matrix.values()):
            few = f"no attribute has {FEWEST} labelled training images for a probe to learn from"
            raise CannotMeasure(f"{few} and {FEWEST} to judge it on")
        context.matrices[kind] = matrix
    return context.matrices[kind]


def entropy(context: EvaluationContext) -> Entropy:
    """How unsure fresh linear probes are on parts that should not tell, as a share of ln K."""
    matrix = probed(context, "linear")
    if not any(context.probed_roles.values()):
        raise CannotMeasure(NO_ROLES)
    try:
        return structured(Entropy, off_part_entropy(matrix, context.probed_roles))
    except ValueError as reason:
        raise CannotMeasure(str(reason)) from reason


def information(context: EvaluationContext) -> Information:
    """Mutual information in nats of the parts that carry attributes and the others, or of the only two parts."""
    carriers = [part for part, names in context.probed_roles.items() if names]
    others = [part for part in context.probed_roles if part not in carriers]
    sides = (carriers, others) if carriers and others else tuple([part] for part in context.probed_roles)
    if len(sides) != 2:
        parts = ", ".join(context.probed_roles)
        raise CannotMeasure(f"it is measured between two sides, and none can be told from the parts {parts}")
    (rows, learnt), judged = context.learnt, len(context.rows)
    if len(rows) < FEWEST_PAIRS or judged < FEWEST:
        needs = f"it needs {FEWEST_PAIRS} training and {FEWEST} judged images"
        raise CannotMeasure(f"{needs}, not {len(rows)} and {judged}")
    a, b, a_test, b_test = (
        torch.cat([codes[part].flatten(1) for part in side], 1) for codes in (learnt, context.probed) for side in sides
    )
    found = mutual_information(a, b, a_test, b_test, seed=context.seed)
    between = tuple(map(tuple, sides))
    return Information(found.value, found.low, found.high, found.n, between=between, learnt_from=len(rows))


def disentanglement(context: EvaluationContext) -> Disentanglement:
    """MIG, SAP and DCI of single numbers of all parts side by side, maps averaged down."""
    labels = context.labels(context.rows)
    known = {a.name: a.known(labels[a.name]) for a in context.probed_attributes}
    known = {name: column for name, column in known.items() if column.any()}
    rows = np.all(list(known.values()), 0) if known else np.zeros(len(context.rows), bool)
    if rows.sum() < factors.FEWEST:
        needs = f"it needs {factors.FEWEST} judged images whose labels are all known"
        raise CannotMeasure(f"{needs}, and there are {rows.sum()}")
    truth = {name: labels[name][rows] for name in known if len(np.unique(labels[name][rows])) > 1}
    if not truth:
        raise CannotMeasure("every attribute has a single value on the judged images")
    numbers, side = _numbers(context)
    sap, dci = (partial(measure, workers=context.workers) for measure in (factors.sap, factors.dci))
    measures = {"mig": factors.mig, "sap": sap, "dci": partial(dci, trees=TREES)}
    found: dict = {"numbers": numbers.shape[1], "pooled": side, "factors": tuple(truth)}
    for name, measure in measures.items():
        try:
            found[name] = measure(numbers[rows], truth, seed=context.seed)
        except ValueError as reason:
            context.leave_out(name, reason)
    return structured(Disentanglement, found)


def _numbers(context: EvaluationContext) -> tuple[np.ndarray, int]:
    """All parts `[images, numbers]`, maps averaged to the largest side at which they are few enough, and that side."""
    for side in POOLED:
        numbers = np.concatenate([pooled(context.codes[part].cpu().float(), side).numpy() for part in context.codes], 1)
        if numbers.shape[1] <= MOST_NUMBERS:
            return numbers, side
    most = f"it is measured for {MOST_NUMBERS} numbers at most, since forests take their time"
    raise CannotMeasure(f"{most}, and the codes have {numbers.shape[1]}")
