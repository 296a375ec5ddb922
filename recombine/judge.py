"""The judge: every number that compares methods, from `encode`, `decode` and `label_code` alone."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from recombine.data import avatars
from recombine.data.images import to_float
from recombine.data.packed import Pack
from recombine.data.schema import mix_seed, shown
from recombine.method import Method
from recombine.metrics import transfer
from recombine.metrics.classifier import Classifier, accuracies, judge_classifier
from recombine.metrics.intervals import mean
from recombine.metrics.reconstruction import mse, psnr, ssim

# Row, attribute and value -> the true picture [channels, height, width] in [-1, 1], or None where no truth is known.
Render = Callable[[int, str, object], np.ndarray | None]

DERIVED = {  # of the built-in avatars: edited factor -> what is made of it, and back
    "mouth": ("expression",), "brows": ("expression",), "expression": ("mouth", "brows"), "light": ("lighting",),
}
FEW = 500  # truths of a worker that are drawn sooner than it starts


def judge(
    model: Method,
    pack: Pack,
    *,
    split: str = "val",
    pictures: int | None = 1000,
    truths: int = 300,
    classifier: Classifier | None = None,
    render: Render | None = None,
    goes_with: Mapping[str, Collection[str]] | None = None,
    trained_on: Collection[str] = (),
    allow_training_data: bool = False,
    seed: int = 0,
    chunk: int = 128,
    workers: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict:
    """Judge a method on pictures that it was not trained on.

    Args:
        model: The method; only `encode`, `decode` and `label_code` are used.
        pack: The data set; all attributes of its folder are looked at, also where fewer were selected.
        split: Whose pictures are judged.
        pictures: At most so many of them, drawn by `seed`; all when None.
        truths: Edits that are compared with their true picture, where `render` can draw it.
        classifier: Who looks at the edits; the pack's own judge, trained if there is none yet, when None.
        render: Draws the true result of an edit; may be called in other processes. The built-in avatars' own when None.
        goes_with: Edited attribute -> others that rightly change with it and are no damage; for the built-in avatars,
            where mouth and brows make the expression, these when None.
        trained_on: Names of the files that the method was trained on, to refuse where the split was made anew.
        allow_training_data: Judge rows of the training split all the same, and mark the result.
        seed: Of every draw.
        chunk: Pictures encoded and decoded together.
        workers: Processes that draw truths; one per core when None, 1 = none but this one.
        progress: Called with a line of text at every step.

    Returns:
        Plain values for JSON: `reconstruction`, `edits`, `swaps`, `sensitivity`, `truth`, `judge` (how far the
        classifier itself is right), each number with n and interval; `left_out`, what could not be measured and why;
        `seconds`, how long each part took.

    Raises:
        ValueError: The split is empty, or holds pictures that the method was trained on.
    """
    pack = pack.whole()
    rows = judged_rows(pack, split, pictures, seed)
    seen = training_rows(pack, rows, split, trained_on)
    if len(seen) and not allow_training_data:
        raise ValueError(
            f"{len(seen)} of the {len(rows)} pictures to judge on were used in training; a judgement on them says nothing "
            "about new pictures. Choose another split, or say allow_training_data=True to get one that is marked as such"
        )
    render_here = true_avatars(pack)
    if goes_with is None:
        goes_with = DERIVED if render_here else {}
    desk = _Desk(model, pack, rows, seed, chunk, goes_with, progress or (lambda line: None))
    desk.result.update(split=split, pictures=len(rows), of=len(pack.rows(split)), seed=seed, fingerprint=pack.fingerprint)
    desk.result.update(on_training_data=bool(len(seen)), goes_with={name: list(others) for name, others in goes_with.items()})
    desk.part("reconstruction", desk.reconstruction)
    desk.part("sensitivity", desk.sensitivity)
    desk.part("judge", lambda: desk.classifier(classifier))
    desk.part("edits", lambda: desk.transfers(transfer.label_edits))
    desk.part("swaps", lambda: desk.transfers(transfer.swaps))
    desk.part("truth", lambda: desk.truth(render or render_here, truths, workers))
    return desk.result


def judged_rows(pack: Pack, split: str, pictures: int | None, seed: int = 0) -> np.ndarray:
    """The rows that are judged: all of a split, or `pictures` of them drawn by `seed`, in order.

    Raises:
        ValueError: There is none.
    """
    rows = np.asarray(pack.rows(split))
    if not len(rows):
        raise ValueError(f"the split {split!r} of this data set holds no picture; there is nothing to judge on")
    if pictures is None or pictures >= len(rows):
        return rows
    return np.sort(np.random.default_rng(mix_seed(seed, "judged rows")).choice(rows, pictures, replace=False))


def training_rows(pack: Pack, rows: np.ndarray, split: str, trained_on: Collection[str] = ()) -> np.ndarray:
    """Those rows that were used in training: all of the split "train", and the files named in `trained_on`."""
    names = set(trained_on)
    return rows if split == "train" else np.array([row for row in rows if pack.files[row] in names], dtype=np.int64)


def true_avatars(pack: Pack) -> Render | None:
    """Draws the true result of edits of the built-in avatars; None for any other pack."""
    names = (*avatars.FACTORS, *avatars.NUMBERS)
    drawn_here = set(names) <= set(pack.schema.names)
    if not drawn_here or any(pack.schema[name].values != values for name, values in avatars.FACTORS.items()):
        return None

    def render(row: int, attribute: str, value: object) -> np.ndarray | None:
        if attribute not in names:
            return None
        factors = avatars.edit(avatars.truth(pack, row), attribute, value)  # type: ignore[arg-type]
        return to_float(avatars.render(factors, pack.schema.height)).numpy()

    return render


def drawn(
    render: Render, jobs: Sequence[tuple[int, str, object]], workers: int | None = None
) -> list[np.ndarray | None]:
    """True pictures of many edits, drawn in several processes where that pays."""
    workers = min(workers or os.cpu_count() or 1, len(jobs) // FEW)
    if workers < 2:
        return [render(*job) for job in jobs]
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, idle_worker_timeout=20):
        return list(Parallel(batch_size=16)(delayed(render)(*job) for job in jobs))  # type: ignore[arg-type]


class CannotMeasure(ValueError):
    """A part of the judgement that this method or data set does not allow; the message is the reason."""


@dataclass
class _Desk:
    """One judgement in the making."""

    model: Method
    pack: Pack
    rows: np.ndarray
    seed: int
    chunk: int
    goes_with: Mapping[str, Collection[str]]
    progress: Callable[[str], None]
    result: dict = field(default_factory=lambda: {"left_out": {}, "seconds": {}})
    looker: Classifier | None = None
    edits: list[transfer.Edit] = field(default_factory=list)

    def part(self, name: str, measure: Callable[[], dict]) -> None:
        """Measure one part, note how long it took, or why it cannot be measured."""
        self.progress(f"judging: {name}")
        started = time.perf_counter()
        try:
            self.result[name] = measure()
        except (CannotMeasure, NotImplementedError) as reason:
            self.result["left_out"][name] = str(reason)
        self.result["seconds"][name] = round(time.perf_counter() - started, 2)

    def reconstruction(self) -> dict:
        """MSE on [0, 1], PSNR in dB and SSIM of pictures encoded and decoded."""
        measures = {"mse": mse, "psnr": psnr, "ssim": ssim}
        if min(self.pack.schema.image_size) < 11:
            del measures["ssim"]
            self.result["left_out"]["ssim"] = "its window of 11 pixels is larger than the pictures"
        values: dict[str, list] = {name: [] for name in measures}
        with transfer.judging(self.model):
            for start in range(0, len(self.rows), self.chunk):
                images = self.pack.batch(self.rows[start : start + self.chunk]).images.to(transfer.device_of(self.model))
                again = self.model.decode(self.model.encode(images))
                for name, measure in measures.items():
                    values[name].append(measure(again, images).cpu())
        return {name: mean(torch.cat(parts).numpy()).to_json() for name, parts in values.items()}

    def sensitivity(self) -> dict:
        """How much the decoder listens to each label, on at most 100 pictures."""
        attributes = self.parts()
        return transfer.sensitivity(
            self.model, self.pack, self.rows[:100], attributes=attributes, seed=self.seed, chunk=self.chunk
        )

    def classifier(self, given: Classifier | None) -> dict:
        """The classifier's own accuracy on the judged pictures."""
        if given is None and not len(self.pack.rows("train")):
            raise CannotMeasure("the data set has no training split from which an independent classifier could learn")
        try:
            self.looker = given or judge_classifier(self.pack, device=transfer.device_of(self.model), progress=self.progress)
        except ValueError as reason:
            raise CannotMeasure(str(reason)) from reason
        return {**self.looker.info, "attributes": accuracies(self.looker, self.pack, self.rows)}

    def transfers(self, kind: Callable[..., transfer.Verdicts]) -> dict:
        """Success and what is kept of label edits or swaps."""
        if self.looker is None:
            raise CannotMeasure(f"no independent classifier: {self.result['left_out']['judge']}")
        names = [name for name in self.parts() if name in self.looker.names]
        if not names:
            raise CannotMeasure("no attribute of the method is read by the classifier")
        verdicts = kind(
            self.model, self.pack, self.rows, self.looker, attributes=names, seed=self.seed, chunk=self.chunk
        )
        verdicts = replace(verdicts, goes_with=self.goes_with)
        if not len(verdicts):
            raise CannotMeasure("no judged picture has a label that could be changed")
        return {
            "all": transfer.summary(verdicts),
            "attributes": transfer.by_attribute(verdicts, self.pack.schema),
            "kept_of": transfer.kept_of(verdicts),
        }

    def truth(self, render: Render | None, count: int, workers: int | None) -> dict:
        """Label edits and swaps against what they should have become."""
        if render is None:
            raise CannotMeasure("the true result of an edit is known only where the pictures are drawn, not photographed")
        report = {}
        for name, edits in self.true_edits(count).items():
            jobs = [(int(self.rows[e.place]), e.attribute, transfer.value_of(self.pack.schema[e.attribute], e.wanted)) for e in edits]
            known = [(edit, truth) for edit, truth in zip(edits, drawn(render, jobs, workers), strict=True) if truth is not None]
            if not known:
                continue
            edits, truths = zip(*known, strict=True)
            report[name] = {"psnr": transfer.against_truth(self.model, self.pack, self.rows, edits, truths, self.chunk)}
            readable = [i for i, edit in enumerate(edits) if self.looker and edit.attribute in self.looker.names]
            if self.looker and readable:
                verdicts = transfer.judged(self.model, self.pack, self.rows, self.looker, [edits[i] for i in readable], self.chunk)
                verdicts = replace(verdicts, goes_with=self.goes_with)
                perfect = transfer.seen_in_truth(verdicts, self.looker, [truths[i] for i in readable], self.chunk)
                report[name]["truth_as_seen"] = transfer.summary(perfect)
        if not report:
            raise CannotMeasure("no edit of these attributes has a picture that it should have become")
        return report

    def true_edits(self, count: int) -> dict[str, list[transfer.Edit]]:
        """About `count` label edits and as many swaps, equally many of each attribute."""
        names = self.parts()
        per_attribute = max(1, count // max(1, len(names)))
        kinds: dict[str, list[transfer.Edit]] = {"edits": [], "swaps": []}
        for name in names:
            pairs = transfer.swap_pairs(self.pack, self.rows, name, self.seed)
            chance = np.random.default_rng(mix_seed(self.seed, "truth", name))
            chosen = [pairs[i] for i in sorted(chance.permutation(len(pairs))[:per_attribute])]
            kinds["swaps"] += chosen
            kinds["edits"] += [transfer.Edit(edit.place, name, edit.wanted) for edit in chosen]
        return {kind: edits for kind, edits in kinds.items() if edits}

    def parts(self) -> list[str]:
        """Attributes that have a part of their own and are in the data; the others are noted as left out."""
        with transfer.judging(self.model):
            codes = transfer.encoded(self.model, self.pack, self.rows[:1])
        wanted = [a.name for a in self.model.schema.attributes if a.kind != "group"]
        names = [name for name in wanted if name in codes and name in self.pack.schema.names]
        for name in set(wanted) - set(names):
            self.result["left_out"][name] = "the method has no part of its own for it, or the data set no label"
        if not names:
            raise CannotMeasure(f"the method's parts are {shown(list(codes))}; none is an attribute of the data set")
        return names
