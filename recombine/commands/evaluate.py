"""`recombine evaluate`: how good a run is, in numbers with intervals and on a page with images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recombine.commands.options import Flag, JudgeImages, best_device, print_json, say

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
    allow_training_data: Flag = False,
    json: Flag = False,
) -> None:
    """Judge a trained run on images that it was not trained on, in numbers and on a page.

    It writes report.html and report.json into the run's folder. For example:

        recombine evaluate runs/avatars
        recombine evaluate runs/avatars --split test --json

    Edits are judged by an independent classifier, which is trained when a data set is
    judged for the first time.

    Args:
        run: The run's folder.
        data: Another packed folder to judge on; the one trained on when not given.
        split: The split that is judged.
        judge_images: At most so many images of it.
        allow_training_data: Judge images that the run was trained on, and mark the result.
        json: Print the judgement as JSON instead of a table.
    """
    judgement, page = judge_run(run, data, split, judge_images, allow_training_data)
    if json:
        print_json({**judgement.to_json(), "page": str(page)})
    else:
        show(judgement)
        print(f"page: {page}")


def judge_run(
    run: Path, data: Path | None = None, split: str = "val", images: int = 1000, allow_training_data: bool = False
) -> tuple[Judgement, Path]:
    """The judgement of a run and the page that shows it."""
    from recombine.data.packed import Pack
    from recombine.evaluation.judge import judge
    from recombine.reports.run import report
    from recombine.training.runs import load, pack_of

    model = load(run, best_device())
    pack = Pack(data).select(*model.schema.names) if data else pack_of(run)
    allow = allow_training_data
    judgement = judge(model, pack, split=split, images=images, allow_training_data=allow, progress=say)
    return judgement, report(run, judgement, model=model, pack=pack)


def show(judgement: Judgement) -> None:
    """Print the headline numbers, then a line for each attribute, each number with its interval."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from recombine.evaluation.measures import MEASURES, shown, shown_interval

    plain: dict[str, Any] = {"box": None, "pad_edge": False, "header_style": "bold"}
    overall = Table("", "value", "95 % interval", "n", **plain)
    for measure in (MEASURES[key] for key in HEADLINES):
        if found := measure.read(judgement):
            value, interval = shown(found.value, measure.unit), shown_interval(found, measure.unit)
            overall.add_row(measure.title, value, interval, str(found.n))
    columns = [MEASURES[key] for key in ("edit_success", "edit_kept") if MEASURES[key].read(judgement)]
    attributes = Table("attribute", *(measure.title for measure in columns), "n", **plain)
    each = [measure.by_attribute(judgement) for measure in columns if measure.by_attribute]
    for name in each[0] if each else ():
        pairs = zip(each, columns, strict=True)
        values = [shown(own[name].value, measure.unit) if name in own else "" for own, measure in pairs]
        attributes.add_row(Text(name), *values, str(each[0][name].n))
    console = Console(highlight=False)
    console.print(overall)
    if attributes.row_count:
        console.print(attributes)
    for name, reason in judgement.left_out.items():
        console.print(Text(f"not measured: {name}: {reason}"))
