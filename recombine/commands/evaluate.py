"""`recombine evaluate`: how good a run is, in numbers with intervals and on a page with pictures."""

from __future__ import annotations

from pathlib import Path

from recombine.commands.options import Flag


def evaluate(run: Path, /, *, split: str = "val", pictures: int = 1000, json: Flag = False) -> None:
    """Judge a trained run on pictures that it never saw, in numbers and on a page.

    It writes report.html and report.json into the run's folder.

    For example:

        recombine evaluate runs/avatars
        recombine evaluate runs/avatars --split test --json

    Args:
        run: The run's folder.
        split: Whose pictures are judged: val or test.
        pictures: At most so many of them.
        json: Print the judgement as JSON instead of a table.
    """
