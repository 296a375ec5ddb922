"""`recombine evaluate`: how good a run is, in numbers with intervals and on a page with images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from recombine.commands.options import Flag, JudgeImages, best_device, print_json, say


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
        print_json({**judgement, "page": str(page)})
    else:
        show(judgement)
        print(f"page: {page}")


def judge_run(
    run: Path, data: Path | None = None, split: str = "val", pictures: int = 1000, allow_training_data: bool = False
) -> tuple[dict, Path]:
    """The judgement of a run and the page that shows it."""
    from recombine.data.packed import Pack
    from recombine.evaluation.judge import judge
    from recombine.evaluation.judgement import Judgement
    from recombine.reports.run import report
    from recombine.training.runs import load, pack_of

    model = load(run, best_device())
    pack = Pack(data).select(*model.schema.names) if data else pack_of(run)
    judgement = judge(
        model,
        pack,
        split=split,
        pictures=pictures,
        allow_training_data=allow_training_data,
        progress=say,
    )
    return judgement, report(run, Judgement.from_json(judgement), model=model, pack=pack)


def show(judgement: dict) -> None:
    """Print the headline numbers, then a line for each attribute, each number with its interval."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from recombine.reports.words import look

    overall = Table("", "value", "95 % interval", "n", box=None, pad_edge=False, header_style="bold")
    for name, unit, path in (
        ("edits that succeed", "%", ("edits", "all", "success")),
        ("other attributes kept", "%", ("edits", "all", "kept")),
        ("swaps that succeed", "%", ("swaps", "all", "success")),
        ("edits against the truth", "dB", ("truth", "edits", "psnr", "all", "edited")),
        ("unedited against the truth", "dB", ("truth", "edits", "psnr", "all", "original")),
        ("reconstruction", "dB", ("reconstruction", "psnr")),
        ("reconstruction, MSE on [0, 1]", "", ("reconstruction", "mse")),
        ("swapped parts that show in the image", "%", ("parts", "all", "success")),
        ("leakage, linear probe", "%", ("leakage", "off_part", "linear")),
        ("leakage, two-layer probe", "%", ("leakage", "off_part", "two_layer")),
        ("mutual information of parts, nats", "", ("information",)),
        ("Frechet distance of swaps", "", ("realism", "swaps", "frechet")),
        ("kernel distance of swaps", "", ("realism", "swaps", "kid")),
        ("DCI disentanglement", "", ("disentanglement", "dci", "disentanglement")),
    ):
        if found := look(judgement, *path):
            overall.add_row(name, shown(found["value"], unit), f"{shown(found['low'], unit)} to {shown(found['high'], unit)}", str(found["n"]))
    attributes = Table("attribute", "edit succeeds", "others kept", "n", box=None, pad_edge=False, header_style="bold")
    for name, found in (look(judgement, "edits", "attributes") or {}).items():
        kept = shown(found["kept"]["value"], "%") if "kept" in found else ""
        attributes.add_row(Text(name), shown(found["success"]["value"], "%"), kept, str(found["success"]["n"]))
    console = Console(highlight=False)
    console.print(overall)
    if attributes.row_count:
        console.print(attributes)
    for name, reason in judgement["left_out"].items():
        console.print(Text(f"not measured: {name}: {reason}"))


def shown(value: float, unit: str) -> str:
    """A number as people read it."""
    if unit == "%":
        return f"{value:.1%}"
    return f"{value:.1f} {unit}" if unit else f"{value:.4f}"
