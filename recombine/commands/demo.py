"""`recombine demo`: from nothing to a page of edited faces."""

from __future__ import annotations

import time
from pathlib import Path

from recombine.commands.evaluate import judge_run
from recombine.commands.evaluate import show as show_judgement
from recombine.commands.options import Flag, JudgeImages, find_classifier, print_json, say, stoppable, watcher
from recombine.commands.reading import Reading, find_pack

RECIPE = "avatars.demo"


def demo(*, out: Path = Path("runs/avatars"), judge_images: JudgeImages = 1000, json: Flag = False) -> None:
    """Generate faces, train on them, judge, and write a page with images and numbers.

    For example:

        recombine demo

    It takes some minutes on two cores. Stopped, the same command goes on. The
    trained run can then be used like any other:

        recombine edit set runs/avatars face.png --label mouth=smile --out smiling

    Args:
        out: The run's folder.
        judge_images: At most so many images are judged.
        json: Print the numbers and times as JSON.
    """
    from recombine.files import check_writable
    from recombine.recipes import RECIPES
    from recombine.training.runs import start

    recipe, began, minutes = RECIPES[RECIPE](), time.monotonic(), {}
    check_writable(out)
    say("generating faces")
    pack = find_pack(recipe, [], out, Reading())
    minutes["drawing"] = since(began)
    say("training the classifier that judges edits")
    find_classifier(pack, "quick")
    say("training")
    trained = time.monotonic()
    with stoppable():
        start(recipe, pack, out, monitor=watcher(pack, "quick"))
    minutes["training"] = since(trained)
    judgement, page = judge_run(out, images=judge_images)
    minutes["total"] = since(began)
    if json:
        print_json({"page": str(page), "minutes": minutes, "judgement": judgement.to_json()})
        return
    show_judgement(judgement)
    print(f"{minutes['total']} minutes, {minutes['training']} of them training")
    print(f"the page with images and numbers: {page.resolve()}")


def since(moment: float) -> float:
    """Minutes since a moment of the monotonic clock."""
    return round((time.monotonic() - moment) / 60, 2)
