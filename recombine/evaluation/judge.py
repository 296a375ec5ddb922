"""The judge: every number that compares methods, from `encode`, `decode` and `label_code` alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from torch import Tensor

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.data.synthetic.truth import DERIVED, Render, of_avatars, true_edits, true_swaps
from recombine.evaluation import codes, edits
from recombine.evaluation import identity as recognition
from recombine.evaluation.classifier import Classifier, judge_classifier
from recombine.evaluation.context import EvaluationContext
from recombine.inference import device_of
from recombine.messages import nearest, option, shown
from recombine.method import Method
from recombine.metrics.realism import Extractor

MEASURES: dict[str, Callable[[EvaluationContext], dict]] = {
    "reconstruction": edits.reconstruction,
    "sensitivity": edits.sensitivity,
    "judge": edits.classifier,
    "edits": edits.edits,
    "swaps": edits.swaps,
    "truth": edits.truth,
    "parts": edits.parts,
    "leakage": codes.leakage,
    "entropy": codes.entropy,
    "information": codes.information,
    "realism": edits.realism,
    "recognition": recognition.recognition,
    "disentanglement": codes.disentanglement,
}


def judge(
    model: Method,
    pack: Pack,
    *,
    measures: Collection[str] | None = None,
    split: str = "val",
    pictures: int | None = 1000,
    truths: int = 300,
    classifier: Classifier | None = None,
    extractor: Extractor | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    render: Render | None = None,
    goes_with: Mapping[str, Collection[str]] | None = None,
    carries: Mapping[str, Sequence[str]] | None = None,
    trained_on: Collection[str] = (),
    allow_training_data: bool = False,
    seed: int = 0,
    chunk: int = 128,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict:
    """Judge a method on images that it was not trained on.

    Args:
        model: The method; only `encode`, `decode` and `label_code` are used.
        pack: The data set; all attributes of its folder are looked at, also where fewer were selected.
        measures: Which parts of the judgement are made; all when None.
        split: Whose images are judged.
        pictures: At most so many of them, drawn by `seed`; all when None.
        truths: Edits that are compared with their true image, where it can be drawn.
        classifier: Who looks at the edits; the pack's own judge, trained if there is none yet, when None.
        extractor: Whose features say how real images are and who is in them; the classifier's own when None.
        perceptual: LPIPS or another distance `[batch]` of two batches of images in [-1, 1]; left out when None.
        render: Draws the true result of an edit; may be called in other processes. The built-in avatars' own when None.
        goes_with: Edited attribute -> others that rightly change with it and are no damage; for the built-in avatars,
            where mouth and brows make the expression, these when None.
        carries: Part -> attributes that it is meant to carry; found in the parts' names and the data when None.
        trained_on: Names of the files that the method was trained on, to refuse where the split was made anew.
        allow_training_data: Judge rows of the training split all the same, and mark the result.
        seed: Of every draw.
        chunk: Images encoded and decoded together.
        workers: Processes that draw truths; one per core when None, 1 = none but this one.
        progress: Called with a line of text at every step.

    Returns:
        Plain values for JSON, in which a number is `value`, `n`, `low` and `high` (a 95 % interval):

        - `reconstruction`: `mse` on [0, 1], `psnr` in dB, `ssim` and, with `perceptual`, `lpips`.
        - `sensitivity`: attribute -> pixels that move between two of its values.
        - `judge`: how far the classifier itself is right.
        - `edits`, `swaps`: `all` and `attributes` with `success` and `kept`; `kept_of`, edited by other attribute.
        - `truth`: `edits` and `swaps`, each `psnr` (`all` or attribute -> `edited`, `original`, `rebuilt`) and `truth_as_seen`.
        - `carries`: part -> attributes that it is meant to carry.
        - `parts`: swaps of whole parts: `all` and `parts` with `success`, `kept` and, where drawn, `psnr`.
        - `leakage`: `matrix`, probe ("linear", "two_layer") -> part -> attribute -> `accuracy`, `majority`, `above`, or `r2`;
          `off_part`, probe -> mean above guessing of what parts tell and should not; `learnt_from`, training images.
        - `entropy`: `off_part` and `matrix`, part -> attribute -> posterior entropy over ln K of a fresh linear probe, and `prior`.
        - `information`: nats; `between`, which parts.
        - `realism`: `extractor`; `reconstructions`, `swaps` and `real` (other real images), each `frechet` and `kid`.
        - `recognition`: group -> `verification` and `retrieval` by part, `retrieval_by_chance`, and `identity_kept`.
        - `disentanglement`: `mig`, `sap`, `dci`, of how many `numbers`, for which `factors`.
        - `left_out`: what could not be measured, and why; `seconds`: how long each part took.
        - `split`, `pictures`, `of`, `seed`, `fingerprint`, `on_training_data`, `goes_with`: what was judged, and how.

    Raises:
        ValueError: The split is empty, or holds images that the method was trained on; there is no such measure, part
            or attribute.
    """
    chosen = checked_measures(measures)
    pack = pack.whole()
    rows = judged_rows(pack, split, pictures, seed)
    seen = training_rows(pack, rows, split, trained_on)
    if len(seen) and not allow_training_data:
        raise ValueError(
            f"{len(seen)} of the {len(rows)} images to judge on were used in training; a judgement on them says nothing "
            f"about new images. Choose another split, or say {option('allow_training_data', True)} to get one that is marked as such"
        )
    if goes_with is None:
        goes_with = DERIVED if of_avatars(pack) else {}

    def find_classifier() -> Classifier:
        if classifier is None and not len(pack.rows("train")):
            raise ValueError("the data set has no training split from which an independent classifier could learn")
        return classifier or judge_classifier(pack, device=device_of(model), progress=context.progress)

    context = EvaluationContext(model, pack, rows, find_classifier, seed, chunk, goes_with, carries, extractor, perceptual, truths=truths, workers=workers)
    context.render, context.swapped = render or true_edits(pack), true_swaps(pack)
    context.progress = progress or context.progress
    context.result.update(split=split, pictures=len(rows), of=len(pack.rows(split)), seed=seed, fingerprint=pack.fingerprint)
    context.result.update(on_training_data=bool(len(seen)), goes_with={name: list(others) for name, others in goes_with.items()})
    context.part("carries", lambda context: context.carries)
    for name in chosen:
        context.part(name, MEASURES[name])
    return context.result


def checked_measures(measures: Collection[str] | None) -> list[str]:
    """The measures asked for, in the order of `MEASURES`; raises ValueError for a name that does not exist."""
    names = list(MEASURES) if measures is None else list(measures)
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"no measure {name!r}; there are {shown(list(MEASURES), 20)}{nearest(name, list(MEASURES))}")
    return [name for name in MEASURES if name in names]


def judged_rows(pack: Pack, split: str, pictures: int | None, seed: int = 0) -> np.ndarray:
    """The rows that are judged: all of a split, or `pictures` of them drawn by `seed`, in order.

    Raises:
        ValueError: There is none.
    """
    rows = np.asarray(pack.rows(split))
    if not len(rows):
        raise ValueError(f"the split {split!r} of this data set holds no image; there is nothing to judge on")
    if pictures is None or pictures >= len(rows):
        return rows
    return np.sort(np.random.default_rng(mix_seed(seed, "judged rows")).choice(rows, pictures, replace=False))


def training_rows(pack: Pack, rows: np.ndarray, split: str, trained_on: Collection[str] = ()) -> np.ndarray:
    """Those rows that were used in training: all of the split "train", and the files named in `trained_on`."""
    names = set(trained_on)
    return rows if split == "train" else np.array([row for row in rows if pack.files[row] in names], dtype=np.int64)
