"""Verification and retrieval by each part of the codes, and whether edits preserve a group (a person)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from recombine import inference
from recombine.codes import Codes
from recombine.data.batch import mix_seed
from recombine.data.schema import MISSING
from recombine.edit import swap
from recombine.evaluation.context import CannotMeasure, EvaluationContext, shared_by
from recombine.evaluation.edits import extractor_of, features_of
from recombine.evaluation.judgement import IdentityPreserved, Recognition, structured
from recombine.metrics import recognition as measures
from recombine.metrics.intervals import Estimate, share
from recombine.metrics.probes import standardised
from recombine.metrics.realism import extract

FOLDS = 10                                  # of verification; so many pairs of both kinds are the fewest
MOST_PAIRS = 3_000                          # of both kinds
BARELY = 0.6                                # a verifier whose accuracy may be no more than this tells nothing of edits


def recognition(context: EvaluationContext) -> dict[str, Recognition]:
    """Verification and retrieval of every group attribute by every part, and how often edits preserve it."""
    report = {}
    for name in (a.name for a in context.pack.schema.attributes if a.kind == "group"):
        groups = np.asarray(context.pack.labels[name])[context.rows]
        pairs = drawn_pairs(groups, context.seed)
        if pairs is None:
            few = f"fewer than {FOLDS} pairs of judged images are of one {name}, or of two"
            context.leave_out(f"recognition of {name}", few)
            continue
        found: dict = {"verification": {}, "retrieval": {}}
        for part in context.probed:
            codes = context.probed[part].numpy()
            found["verification"][part] = measures.verification(codes, pairs, FOLDS, context.seed)["accuracy"]
            found["retrieval"][part] = measures.retrieval(codes, groups)
        found["retrieval_by_chance"] = measures.retrieval(np.zeros((len(groups), 1)), groups)["map"]["value"]
        report[name] = structured(Recognition, found)
        try:
            report[name] = replace(report[name], identity_preserved=identity_preserved(context, name, groups, pairs))
        except CannotMeasure as reason:
            context.leave_out(f"{name} kept", reason)
    if not report:
        raise CannotMeasure("it needs an attribute of kind group, of which enough groups have two judged images")
    return report


def drawn_pairs(groups: np.ndarray, seed: int) -> measures.Pairs | None:
    """As many pairs of one group as of two, 3,000 at most; None where there are too few."""
    sizes = np.unique(groups[groups != MISSING], return_counts=True)[1].astype(int)
    together, count = int((sizes * (sizes - 1) // 2).sum()), int(sizes.sum())
    fewer = min(together, count * (count - 1) // 2 - together, MOST_PAIRS // 2)
    return measures.verification_pairs(groups, 2 * fewer, seed) if fewer >= FOLDS else None


def identity_preserved(
    context: EvaluationContext, name: str, groups: np.ndarray, pairs: measures.Pairs
) -> IdentityPreserved:
    """How often an image is still verified as of its partner's group after an edit that should not change that.

    The verifier measures how far two images are apart in the extractor's features, in the metric in which training
    groups lie apart best (linear discriminant analysis); its threshold is chosen on pairs of judged images. Every
    image that has a partner gets one part, drawn from those that carry nothing which its group shares, of an image of
    another group, and is compared with its partner.

    Raises CannotMeasure where the verifier is near chance, or no part of the codes may be changed.
    """
    shared = set(shared_by(context.pack, [name]))
    free = [part for part, names in context.roles.items() if names and not shared & set(names)]
    if not free:
        raise CannotMeasure(f"every part that carries something carries something that a {name} is known by")
    embed, extractor = metric_of(context, name), extractor_of(context)
    known = embed(features_of(context, context.rows))
    found = measures.verification(known, pairs, FOLDS, context.seed)
    accuracy = structured(Estimate, found["accuracy"])
    if accuracy.low < BARELY:
        rightly = f"told rightly in {accuracy.value:.0%} of pairs only, which says nothing of edits"
        raise CannotMeasure(f"whether two images show the same {name} is {rightly}")
    threshold = float(np.median(found["thresholds"]))
    targets, partners = _partners(groups, context.seed, name)
    rng, known_group = np.random.default_rng(mix_seed(context.seed, "strangers", name)), groups != MISSING
    others = np.array([rng.choice(np.flatnonzero(known_group & (groups != groups[place]))) for place in targets])

    def verified(made: np.ndarray, partners: np.ndarray) -> np.ndarray:
        return ((made - known[partners]) ** 2).sum(1) < threshold

    def embedded(codes: Codes) -> np.ndarray:
        return embed(extract(extractor, inference.decode_chunks(context.model, codes, context.chunk)))

    which = np.random.default_rng(mix_seed(context.seed, "part given", name)).integers(0, len(free), len(targets))
    edited = np.zeros(len(targets), bool)
    own, lent = (context.codes[torch.from_numpy(places)] for places in (targets, others))
    with inference.evaluation_mode(context.model):
        reconstructed = embed(extract(extractor, context.reconstructions())[targets])
        for place, part in enumerate(free):
            chosen = np.flatnonzero(which == place)
            if len(chosen):
                swapped, _ = swap(own[torch.from_numpy(chosen)], lent[torch.from_numpy(chosen)], part)
                edited[chosen] = verified(embedded(swapped), partners[chosen])
    return IdentityPreserved(
        preserved=share(edited),
        parts={part: share(edited[which == place]) for place, part in enumerate(free) if (which == place).any()},
        original=share(verified(known[targets], partners)),
        reconstructed=share(verified(reconstructed, partners)),
        others=share(verified(known[others], partners)),
        verifier=accuracy,
    )


def metric_of(context: EvaluationContext, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Learns, from training groups, what tells groups apart: features -> vectors `[images, numbers]`."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rows = _whole_groups(context, name)
    features, groups = features_of(context, rows), np.asarray(context.pack.labels[name])[rows]
    try:
        lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(standardised(features)[0], groups)
    except np.linalg.LinAlgError as reason:
        raise CannotMeasure(f"the extractor's features do not vary within one {name}") from reason
    return lambda others: lda.transform(standardised(features, others)[1])


def _whole_groups(context: EvaluationContext, name: str, most: int = 3_000, fewest: int = 10) -> np.ndarray:
    """Training images of whole groups of two images or more, about so many."""
    rows = np.setdiff1d(context.pack.rows("train"), context.rows)
    labels = np.asarray(context.pack.labels[name])[rows]
    values, counts = np.unique(labels[labels != MISSING], return_counts=True)
    order = np.random.default_rng(mix_seed(context.seed, "groups", name)).permutation(np.flatnonzero(counts > 1))
    chosen = values[order[: 1 + np.searchsorted(np.cumsum(counts[order]), most)]]
    if len(chosen) < fewest:
        needs = f"what tells one {name} from another is learnt from {fewest} training groups of two images"
        raise CannotMeasure(f"{needs}, and there are {len(chosen)}")
    return rows[np.isin(labels, chosen)]


def _partners(groups: np.ndarray, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images that have another of their group, and for each one of those."""
    rng, targets, partners = np.random.default_rng(mix_seed(seed, "partners", name)), [], []
    for place in np.flatnonzero(groups != MISSING).tolist():
        others = np.flatnonzero((groups == groups[place]) & (np.arange(len(groups)) != place))
        if len(others):
            targets.append(place)
            partners.append(int(rng.choice(others)))
    return np.array(targets), np.array(partners)
