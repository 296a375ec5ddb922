"""How a comparison judges one run: on the compared attributes, with the measures that are worth their time for many runs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack
from recombine.evaluation.classifier import Classifier
from recombine.evaluation.judge import judge, judged_rows
from recombine.inference import encode_rows, evaluation_mode
from recombine.method import Method
from recombine.metrics.leakage import FEWEST, leakage, matrix_json, off_part

MEASURES = ("reconstruction", "judge", "edits", "truth", "parts", "leakage", "information", "realism", "disentanglement")
OF_CODES = ("information", "disentanglement")  # what is asked of the codes for the compared attributes alone
LEARNT = 1_500                              # training images at most that leakage's probes learn from


@dataclass(frozen=True)
class Judging:
    """How every run is judged."""

    pictures: int = 400                     # of the split at most
    split: str = "val"
    allow_training_data: bool = False       # judge images that a run was trained on, and mark the result
    measures: tuple[str, ...] = MEASURES    # of `recombine.evaluation.judge.judge`


USUAL = Judging()


def judge_run(
    model: Method,
    pack: Pack,
    how: Judging,
    attributes: Sequence[str],
    classifier: Classifier | None,
    trained_on: Collection[str] = (),
) -> dict:
    """The judgement of one run, as `recombine.evaluation.judge.judge` gives it.

    Leakage has the two-layer probe alone, which finds more than the linear one, learnt from at most 1,500 images; leakage,
    information and disentanglement ask for the compared attributes, also where the parts carry more.

    Args:
        model: The method.
        pack: The data set, with all attributes.
        how: What is measured, and on which images.
        attributes: Those that are compared.
        classifier: Who looks at the edits.
        trained_on: Names of files that the run was trained on.

    Raises:
        ValueError: The split is empty, or holds images that the run was trained on.
    """
    options = {"split": how.split, "pictures": how.pictures, "allow_training_data": how.allow_training_data}
    options |= {"classifier": classifier, "trained_on": trained_on, "workers": 1}
    found = judge(model, pack, measures=[name for name in how.measures if name not in (*OF_CODES, "leakage")], **options)
    carries = found.get("carries", {})
    narrow = {part: [name for name in names if name in attributes] for part, names in carries.items()}
    codes = [name for name in how.measures if name in OF_CODES]
    if codes:
        more = judge(model, pack, measures=codes, carries=narrow or None, **options)
        found |= {name: more[name] for name in codes if name in more}
        for part in ("left_out", "seconds"):
            found[part] = {**more[part], **found[part]}
    if "leakage" in how.measures:
        started = time.perf_counter()
        try:
            found["leakage"] = leaks(model, pack, judged_rows(pack, how.split, how.pictures), attributes, narrow)
        except ValueError as reason:
            found["left_out"]["leakage"] = str(reason)
        found["seconds"]["leakage"] = round(time.perf_counter() - started, 2)
    return found


def leaks(model: Method, pack: Pack, rows: np.ndarray, attributes: Sequence[str], carries: Mapping[str, Sequence[str]]) -> dict:
    """What a fresh two-layer probe reads of the compared attributes from every part; raises ValueError for too few images."""
    learnt = np.setdiff1d(pack.rows("train"), rows)
    if min(len(rows), len(learnt)) < FEWEST:
        raise ValueError(f"probes need {FEWEST} training images and as many to judge, and there are {len(learnt)} and {len(rows)}")
    learnt = np.sort(np.random.default_rng(mix_seed(0, "learnt")).permutation(learnt)[:LEARNT])
    with evaluation_mode(model):
        codes = [encode_rows(model, pack, chosen) for chosen in (learnt, rows)]
    labels = [{name: np.asarray(pack.labels[name])[chosen] for name in attributes} for chosen in (learnt, rows)]
    matrix = leakage(codes[0], labels[0], codes[1], labels[1], [pack.schema[name] for name in attributes], probe="two_layer")
    off = {"two_layer": off_part(matrix, carries).to_json()}
    return {"matrix": {"two_layer": matrix_json(matrix)}, "off_part": off, "learnt_from": len(learnt)}
