"""`recombine demo`: from nothing to a page of edited faces."""

from __future__ import annotations

from pathlib import Path

from recombine.commands.options import Flag


def demo(*, out: Path = Path("runs/avatars"), json: Flag = False) -> None:
    """Draw faces, train on them, judge, and leave a page with pictures and numbers.

    For example:

        recombine demo

    It takes some minutes on two cores. Stopped, the same command goes on. The
    trained run can then be used like any other:

        recombine edit set runs/avatars face.png --label mouth=smile --out smiling

    Args:
        out: The run's folder.
        json: Print the numbers as JSON.
    """
