"""The log of a training: one JSON line per interval, TensorBoard beside it, and a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from recombine import files
from recombine.progress import Bar


class Meter:
    """Averages of losses, measures and gradient norms since the last line of the log."""

    def __init__(self):
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, measured: Mapping[str, float]) -> None:
        """Count one turn."""
        for name, value in measured.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, count + 1)

    def take(self) -> dict[str, float]:
        """The averages, which start anew."""
        taken = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return taken


class Journal:
    """Writes `log.jsonl` and `tensorboard/` and moves the bar; a failure to write never stops the training."""

    def __init__(self, run: Path, images: int, *, enabled: bool, quiet: bool):
        self.path, self.images, self.enabled = run / "log.jsonl", images, enabled
        self.bar = Bar("training", images, shown=enabled and not quiet)
        self.board = None
        self.since = (time.monotonic(), None)
        self.broken = False

    def expect(self, images: int) -> None:
        """Let the training end after another number of images."""
        self.images = images
        self.bar.expect(images)

    def resume(self, images_seen: int, passed_over: Sequence[str]) -> None:
        """Remove the lines of a course that is given up, and report where the training goes on."""
        if not self.enabled:
            return
        if self.path.exists():
            lines = [line for line in self.path.read_text().splitlines() if not later(line, images_seen)]
            files.write_text(self.path, "".join(f"{line}\n" for line in lines))
        for sentence in passed_over:
            self.event(images_seen, "passed over", sentence)
        self.bar.say(f"going on after {images_seen:,} of {self.images:,} images")

    def write(self, images_seen: int, values: Mapping[str, float], **more: float) -> None:
        """One line of measurements."""
        if not self.enabled:
            return
        (before, seen), now = self.since, time.monotonic()
        self.since = (now, images_seen)
        line = {"images": images_seen, **values, **more}
        if seen is not None and images_seen > seen:
            line["images_per_second"] = (images_seen - seen) / (now - before)
        self._append(line)
        self._to_board(images_seen, line)

    def event(self, images_seen: int, name: str, text: str) -> None:
        """One line about something that happened, also shown."""
        if self.enabled:
            self._append({"images": images_seen, "event": name, "text": text})
            self.bar.say(f"{name}: {text}")

    def advance(self, images_seen: int) -> None:
        if self.since[1] is None:
            self.since = (time.monotonic(), images_seen)
        self.bar.reach(images_seen)

    def close(self) -> None:
        self.bar.close()
        if self.board:
            self.board.close()

    def _append(self, line: Mapping[str, object]) -> None:
        try:
            with files.open_log(self.path) as log:
                log.write(json.dumps(line) + "\n")
        except OSError as error:
            if not self.broken:
                self.bar.say(f"the log {self.path} cannot be written: {error}; training goes on without it")
            self.broken = True

    def _to_board(self, images_seen: int, line: Mapping[str, object]) -> None:
        try:
            if self.board is None:
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(self.path.parent / "tensorboard", purge_step=images_seen)
            for name, value in line.items():
                if name != "images" and isinstance(value, (int, float)):
                    self.board.add_scalar(name, value, images_seen)
        except (ImportError, OSError):
            pass  # log.jsonl is the truth; the board is a view of it


def later(line: str, images_seen: int) -> bool:
    """Whether a line of the log was written after so many images, or was cut off by a crash."""
    try:
        return json.loads(line)["images"] > images_seen
    except (ValueError, KeyError):
        return True


def read_log(path: Path) -> list[dict]:
    """The measurements of a `log.jsonl`, flat: name -> number; without events and a line that a crash cut off."""
    lines = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "images" in entry and "event" not in entry:
            lines.append(dict(flat(entry)))
    return lines


def flat(entry: Mapping, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a line, those of nested mappings under names with slashes; losses stand at the top."""
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from flat(value, "" if name == "losses" else f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield prefix + name, value
