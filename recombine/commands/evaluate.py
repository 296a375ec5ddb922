"""`recombine evaluate`: how good a run is, in numbers and on a page; `recombine demo`: from nothing to such a page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recombine.commands.options import (
    Flag,
    Judge,
    JudgeImages,
    best_device,
    find_classifier,
    print_json,
    print_table,
    say,
    stoppable,
    watcher,
)
from recombine.commands.reading import Reading, find_pack

if TYPE_CHECKING:
    from recombine.evaluation.judgement import Judgement

HEADLINES = (
    "edit_success", "edit_kept", "success", "kept", "edit_psnr_db", "edit_original_db", "reconstruction_db", "mse",
    "leakage_linear", "leakage", "information", "frechet", "kid", "dci",
)  # fmt: skip


def evaluate(
    run: Path,
    /,
    *,
    data: Path | None = None,
    split: Literal["train", "val", "test"] = "val",
    judge_images: JudgeImages = 1000,
    judge: Judge = "auto",
    allow_training_data: Flag = False,
    json: Flag = False,
) -> None:
    """Judge a trained run on images that it was not trained on, in numbers and on a page.

    It writes report.html and report.json into the run's folder. For example:

        recombine evaluate runs/avatars
        recombine evaluate runs/avatars --split test --json

    Edits are judged by an independent classifier, which is trained when a data set is
    first trained on or judged, and kept with it.

    Args:
        run: The run's folder.
        data: Another packed folder to judge on; the one trained on when not given.
        split: The split that is judged.
        judge_images: At most so many images of it.
        judge: Training of the classifier of edits, once for a data set; auto is thorough where quick is not good.
        allow_training_data: Judge images that the run was trained on, and mark the result.
        json: Print the judgement as JSON instead of a table.
    """
    judgement, page = judge_run(run, data, split, judge_images, judge, allow_training_data)
    if json:
        print_json({**judgement.to_json(), "page": str(page)})
    else:
        show(judgement)
        print(f"page: {page}")


def demo(
    *, out: Path = Path("runs/avatars"), judge_images: JudgeImages = 1000, judge: Judge = "auto", json: Flag = False
) -> None:
    """Generate faces, train on them, judge, and write a page with images and numbers.

    For example:

        recombine demo

    It takes some minutes on two cores. Stopped, the same command goes on. The
    trained run can then be used like any other:

        recombine edit set runs/avatars face.png --label mouth=smile --out smiling

    Args:
        out: The run's folder.
        judge_images: At most so many images are judged.
        judge: Training of the classifier of edits, once for a data set; auto is thorough where quick is not good.
        json: Print the numbers and times as JSON.
    """
    from recombine.files import check_writable
    from recombine.recipes import RECIPES
    from recombine.training.runs import start

    def since(moment: float) -> float:
        return round((time.monotonic() - moment) / 60, 2)

    recipe, began, minutes = RECIPES["avatars.demo"](), time.monotonic(), {}
    check_writable(out)
    say("generating faces")
    pack = find_pack(recipe, [], out, Reading())
    minutes["drawing"] = since(began)
    find_classifier(pack, judge)
    say("training")
    trained = time.monotonic()
    with stoppable():
        start(recipe, pack, out, monitor=watcher(pack, judge, recipe))
    minutes["training"] = since(trained)
    judgement, page = judge_run(out, images=judge_images, classifier=judge)
    minutes["total"] = since(began)
    if json:
        print_json({"page": str(page), "minutes": minutes, "judgement": judgement.to_json()})
        return
    show(judgement)
    print(f"{minutes['total']} minutes, {minutes['training']} of them training")
    print(f"the page with images and numbers: {page.resolve()}")


def judge_run(
    run: Path, data: Path | None = None, split: str = "val", images: int = 1000, classifier: str = "auto",
    allow_training_data: bool = False,
) -> tuple[Judgement, Path]:  # fmt: skip
    """The judgement of a run and the page that shows it."""
    from recombine.data.packed import Pack
    from recombine.evaluation.judge import judge
    from recombine.reports.run import report
    from recombine.training.runs import load, pack_of

    model = load(run, best_device())
    pack = Pack(data).select(*model.schema.names) if data else pack_of(run)
    judgement = judge(
        model, pack, split=split, images=images, classifier=classifier, allow_training_data=allow_training_data,
        progress=say,
    )  # fmt: skip
    return judgement, report(run, judgement, model=model, pack=pack)


def show(judgement: Judgement) -> None:
    """Print the headline numbers, then a line for each attribute, each number with its interval."""
    from recombine.evaluation.measures import MEASURES, shown, shown_interval

    overall = [(m.title, m.unit, found) for m in (MEASURES[key] for key in HEADLINES) if (found := m.read(judgement))]
    rows = [(title, shown(e.value, unit), shown_interval(e, unit), str(e.n)) for title, unit, e in overall]
    print_table(("", "value", "95 % interval", "n"), rows)
    columns = [MEASURES[key] for key in ("edit_success", "edit_kept") if MEASURES[key].read(judgement)]
    if each := [measure.by_attribute(judgement) for measure in columns if measure.by_attribute]:
        rows = []
        for name, success in each[0].items():
            values = [shown(own[name].value, "%") if name in own else "" for own in each]
            rows.append((name, *values, str(success.n)))
        print_table(("attribute", *(measure.title for measure in columns), "n"), rows)
    for name, reason in judgement.left_out.items():
        print(f"not measured: {name}: {reason}")
