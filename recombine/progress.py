"""A progress bar on stderr: how many are done, how fast, and how long the rest takes."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """A bar for work on `total` images, which `what` names in one word; use it in a `with`, or `close` it.

    Unless it is `shown` there is no bar, lines of text alone; the finished bar disappears unless it `stays`.
    """

    def __init__(self, what: str, total: int, *, shown: bool = True, stays: bool = False):
        self._console = Console(stderr=True)
        self._first: tuple[float, int] | None = None  # moment and count of the first call, which the speed counts from
        speed = TextColumn("{task.fields[speed]}")
        columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn()
        self._bar = Progress(*columns, console=self._console, transient=not stays, disable=not shown)
        self._task = self._bar.add_task("", total=total, speed="")
        self._bar.start()

    def expect(self, total: int) -> None:
        """Let the bar end at another number of images."""
        self._bar.update(self._task, total=total)

    def reach(self, done: int) -> None:
        """Move the bar to so many images."""
        now = time.monotonic()
        self._first = self._first or (now, done)
        since, first = self._first
        speed = f"{(done - first) / max(now - since, 1e-9):.0f} images/s" if done > first else ""
        self._bar.update(self._task, completed=done, speed=speed)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._bar.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
