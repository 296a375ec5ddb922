"""What the commands that train share: the data, the classifier that judges edits meanwhile, and stopping."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recombine.commands.options import best_device, say
from recombine.commands.reading import Reading

if TYPE_CHECKING:
    from recombine.data.packed import Pack
    from recombine.evaluation.classifier import Classifier
    from recombine.training.engine import Monitor
    from recombine.training.recipe import Recipe

INTERRUPTED, TERMINATED = 130, 143


def find_pack(recipe: Recipe, folders: list[Path], run: Path, reading: Reading) -> Pack:
    """The recipe's images, generated or packed into the run's folder where necessary; several folders as one."""
    from recombine.data.joined import join
    from recombine.data.packed import Pack, is_pack
    from recombine.data.synthetic.avatars import build

    unpacked = [folder for folder in folders if not is_pack(folder)]
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and (unpacked or not folders):
        cure = "run `recombine data FOLDER --pack PACK`, then train on PACK"
        raise ValueError(f"several processes cannot pack at once; {cure}")
    if not folders:
        assert recipe.data is not None
        return build(run / "data", recipe.data.count, recipe.size, recipe.data.seed, progress=sys.stderr.isatty())
    into = [run / "data" / str(number) if len(folders) > 1 else run / "data" for number, _ in enumerate(folders, 1)]
    packs = [packed(f, to, recipe, reading) if f in unpacked else Pack(f) for f, to in zip(folders, into, strict=True)]
    return packs[0] if len(packs) == 1 else join(packs)


def packed(folder: Path, target: Path, recipe: Recipe, reading: Reading) -> Pack:
    """A folder of images, or of sprite sheets, packed; what an earlier call packed is used again."""
    from recombine.data.packed import Pack, is_pack
    from recombine.data.synthetic import sprites

    if not sprites.is_sheets(folder):
        return reading.pack(folder, target, recipe.size)
    return Pack(target) if is_pack(target) else sprites.build(target, folder, progress=sys.stderr.isatty())


def watcher(pack: Pack, judge: str) -> Monitor:
    """Measures edits during the training; its classifier is trained when it is first needed, after all checks."""
    from recombine.training.monitor import EditMonitor

    monitor = cache(lambda: EditMonitor(pack, find_classifier(pack, judge)))
    return lambda method, path: monitor()(method, path)


def find_classifier(pack: Pack, judge: str) -> Classifier | None:
    """The classifier that judges edits; None where it has nothing to learn."""
    import torch

    from recombine.evaluation.classifier import judge_classifier

    if judge == "none":
        return None
    try:
        with torch.enable_grad():
            return judge_classifier(pack, preset=judge, device=best_device(), progress=say)
    except ValueError as reason:
        say(f"edits are not judged during the training: {reason}")
        return None


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn a training that was asked to stop into a sentence and an exit code."""
    from recombine.training.engine import Interrupted

    try:
        yield
    except Interrupted as stop:
        say(str(stop))
        raise SystemExit(INTERRUPTED if stop.signal_number == signal.SIGINT else TERMINATED) from None
