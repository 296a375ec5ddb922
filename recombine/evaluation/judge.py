"""The judge: every number that compares methods, from `encode`, `decode` and `label_code` alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from torch import Tensor

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.synthetic.truth import Render, drawn_in, true_edits, true_swaps
from recombine.evaluation import codes, edits, identity
from recombine.evaluation.classifier import Classifier, judge_classifier
from recombine.evaluation.context import EvaluationContext
from recombine.evaluation.judgement import Judgement, Protocol
from recombine.inference import channels_last, device_of
from recombine.messages import nearest, option, shown
from recombine.method import Method
from recombine.metrics.realism import Extractor

# Section by its name in JSON and on the command line -> field of Judgement, and what measures it.
SECTIONS: dict[str, tuple[str, Callable[[EvaluationContext], object]]] = {
    "reconstruction": ("reconstruction", edits.reconstruction),
    "sensitivity": ("sensitivity", edits.sensitivity),
    "judge": ("classifier", edits.classifier),
    "edits": ("edits", edits.edits),
    "swaps": ("swaps", edits.swaps),
    "truth": ("truth", edits.truth),
    "parts": ("parts", edits.parts),
    "leakage": ("leakage", codes.leakage),
    "entropy": ("entropy", codes.entropy),
    "information": ("information", codes.information),
    "realism": ("realism", edits.realism),
    "recognition": ("recognition", identity.recognition),
    "disentanglement": ("disentanglement", codes.disentanglement),
}
PROBES = ("linear", "two_layer")
LEARNT = 3_000                              # training images at most whose codes fresh probes learn from


def judge(
    model: Method, pack: Pack, *,
    sections: Collection[str] | None = None, split: str = "val", images: int | None = 1000,
    attributes: Sequence[str] | None = None, probes: Sequence[str] = PROBES, learnt: int = LEARNT, truths: int = 300,
    classifier: Classifier | str | None = None, extractor: Extractor | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None, render: Render | None = None,
    goes_with: Mapping[str, Collection[str]] | None = None, roles: Mapping[str, Sequence[str]] | None = None,
    trained_on: Collection[str] = (), allow_training_data: bool = False, seed: int = 0, chunk: int = 128,
    workers: int | None = None, progress: Callable[[str], None] | None = None,
) -> Judgement:  # fmt: skip
    """Judge a method on images that it was not trained on.

    Every judged image, and every training image that probes learn from, is encoded once.

    Args:
        model: The method; only `encode`, `decode`, `label_code` and `roles` are used.
        pack: The data set; all attributes of its folder are judged, also where fewer were selected.
        sections: Which sections of the judgement are made; all when None.
        split: Whose images are judged.
        images: At most so many of them, drawn by `seed`; all when None.
        attributes: What leakage, entropy, information and disentanglement are about; all that the parts are meant to
            carry when None.
        probes: Kinds of fresh probes that look for leakage: "linear", "two_layer".
        learnt: Training images at most whose codes these learn from.
        truths: Edits that are compared with their true image, where it can be drawn.
        classifier: Reads the attributes of edited images, or the preset of the pack's own, which is trained if there
            is none yet: "auto" when None; with "none" what it would measure is left out.
        extractor: Of the features by which realism and identity are measured; the classifier's own when None.
        perceptual: LPIPS or another distance `[batch]` of two batches of images in [-1, 1]; left out when None.
        render: Draws the true result of an edit; may be called in other processes. A drawn data set's own when None.
        goes_with: Edited attribute -> others that rightly change with it and are no damage; a drawn data set's
            own when None, such as an avatar's mouth and brows, which make its expression.
        roles: Part -> attributes that it is meant to carry; the method's own when None.
        trained_on: Names of the files that the method was trained on, to refuse where the split was made anew.
        allow_training_data: Judge rows of the training split all the same, and mark the result.
        seed: Of every draw.
        chunk: Images encoded and decoded together.
        workers: Processes that draw truths and train probes; one per core when None, 1 = none but this one.
        progress: Called with a line of text at every section.

    Returns:
        Each number with n and a 95 % interval; what could not be measured is None, and `left_out` says why.

    Raises:
        ValueError: The split is empty, or holds images that the method was trained on; there is no such section, probe,
            part or attribute.
    """
    chosen = checked_sections(sections)
    check_protocol(images, probes, learnt)
    pack = pack.whole()
    names = pack.schema.names
    for name in attributes or ():
        if name not in names:
            there = f"the data set has {shown(names)}{nearest(name, names)}"
            raise ValueError(f"no attribute {name!r} to look for; {there}")
    rows = judged_rows(pack, split, images, seed)
    seen = training_rows(pack, rows, split, trained_on)
    if len(seen) and not allow_training_data:
        raise ValueError(
            f"{len(seen)} of the {len(rows)} images to judge on were used in training; a judgement on them says "
            f"nothing about new images. Choose another split, or say {option('allow_training_data', True)} to get one "
            "that is marked as such"
        )
    if goes_with is None:
        drawn = drawn_in(pack)
        goes_with = drawn.goes_with if drawn else {}
    report = progress or (lambda line: None)

    def find_classifier() -> Classifier:
        if classifier == "none":
            raise ValueError("none was wanted")
        if classifier is not None and not isinstance(classifier, str):
            return classifier
        if not len(pack.rows("train")):
            raise ValueError("the data set has no training split from which an independent classifier could learn")
        return judge_classifier(pack, preset=classifier or "auto", device=device_of(model), progress=report)

    protocol = Protocol(learnt, tuple(probes), None if attributes is None else tuple(attributes))
    context = EvaluationContext(
        model=model, pack=pack, rows=rows, find_classifier=find_classifier, protocol=protocol, progress=report,
        seed=seed, chunk=chunk, goes_with=goes_with, given_roles=roles, extractor=extractor, perceptual=perceptual,
        render=render or true_edits(pack), swapped=true_swaps(pack), truths=truths, workers=workers,
    )  # fmt: skip
    with channels_last(model):
        carries = ("carries", "roles", lambda context: {part: tuple(names) for part, names in context.roles.items()})
        for name, section, measure in (carries, *((name, *SECTIONS[name]) for name in chosen)):
            context.measure(name, section, measure)
    return Judgement(
        split=split, images=len(rows), available=len(pack.rows(split)), seed=seed, fingerprint=pack.fingerprint,
        on_training_data=bool(len(seen)),
        goes_with={name: tuple(others) for name, others in goes_with.items()}, protocol=protocol,
        left_out=context.left_out, seconds=context.seconds, **context.sections,
    )  # fmt: skip


def checked_sections(sections: Collection[str] | None) -> list[str]:
    """The chosen sections, in the order of `SECTIONS`; raises ValueError for a name that does not exist."""
    known = list(SECTIONS)
    for name in sections or ():
        if name not in known:
            raise ValueError(f"no measure {name!r}; there are {shown(known, 20)}{nearest(name, known)}")
    return [name for name in known if sections is None or name in sections]


def check_protocol(images: int | None, probes: Sequence[str], learnt: int) -> None:
    """Raise ValueError for a number of images or of training images below 1, or a probe that does not exist."""
    for probe in probes:
        if probe not in PROBES:
            raise ValueError(f"no probe {probe!r}; there are {shown(list(PROBES))}{nearest(probe, list(PROBES))}")
    if learnt < 1:
        raise ValueError(f"probes learn from 1 training image or more, not {learnt}")
    if images is not None and images < 1:
        raise ValueError(f"a judgement needs 1 image or more, not {images}")


def judged_rows(pack: Pack, split: str, images: int | None, seed: int = 0) -> np.ndarray:
    """The judged rows: all of a split, or `images` drawn by `seed`, in order; raises ValueError where there is none."""
    rows = np.asarray(pack.rows(split))
    if not len(rows):
        raise ValueError(f"the split {split!r} of this data set holds no image; there is nothing to judge on")
    if images is None or images >= len(rows):
        return rows
    return np.sort(np.random.default_rng(mix_seed(seed, "judged rows")).choice(rows, images, replace=False))


def training_rows(pack: Pack, rows: np.ndarray, split: str, trained_on: Collection[str] = ()) -> np.ndarray:
    """Those rows that were used in training: all of the split "train", and the files named in `trained_on`."""
    names = set(trained_on)
    return rows if split == "train" else np.array([row for row in rows if pack.files[row] in names], dtype=np.int64)
