"""Kill a training with SIGKILL at random moments, run the same command again, and compare every bit: about 10 minutes.

Half of the kills wait for a moment at which a checkpoint is being written.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from record import record

from recombine import load
from recombine.data.packed import write_pack
from recombine.data.schema import Attribute, Schema
from recombine.training import checkpoint

KILLS = 20
SETTINGS = ["--method", "ifcvaegan", "--images", "5120", "--judge", "none", "--precision", "32-true", "--set", "width=16", "--set", "aux_width=200", "--set", "save_seconds=0.3", "--set", "ema_images=500"]


def make_pack(folder: Path) -> None:
    """512 small images of noise with two attributes: what is learnt does not matter here."""
    rng = np.random.default_rng(0)
    attributes = Attribute("Smiling", "binary", ("0", "1")), Attribute("hair", "categorical", ("black", "brown", "blond"))
    labels = {"Smiling": rng.integers(0, 2, 512), "hair": rng.integers(-1, 3, 512)}
    images = rng.integers(0, 256, (512, 3, 32, 32), dtype=np.uint8)
    write_pack(folder, images, Schema(attributes, 32, 32), [f"{i}.png" for i in range(512)], labels, ["train"] * 512)


def start(pack: Path, run: Path) -> subprocess.Popen:
    """The command a user would type."""
    command = [sys.executable, "-m", "recombine", "train", str(pack), "--out", str(run), *SETTINGS]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def finish(pack: Path, run: Path) -> None:
    """Run the command to its end."""
    process = start(pack, run)
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        raise SystemExit(f"the training failed: {errors}")


def kill(pack: Path, run: Path, inside: bool, rng: random.Random) -> bool:
    """Kill one training; returns whether a checkpoint was being written at that moment."""
    process = start(pack, run)
    while not (run / "log.jsonl").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 4.0))
    while inside and process.poll() is None and not writing(run):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    return writing(run)


def writing(run: Path) -> bool:
    """Whether something stands there under a temporary name."""
    return any(path.name.endswith((".tmp", ".old")) or ".tmp" in path.name for path in run.glob("*")) or any(
        not (path / "manifest.json").exists() or ".tmp" in path.name for path in run.glob("resume/*")
    )


def contents(run: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint."""
    found = checkpoint.newest_resume(run)
    return {f"{stem}/{name}": value for stem, tensors in found.tensors.items() for name, value in tensors.items()} if found else {}


def readable(run: Path) -> bool:
    """Whether what a kill left can be opened: the checkpoint, and the model where one had been written."""
    try:
        found = checkpoint.newest_resume(run)
        if found is not None and (run / "model").exists():
            load(run)
        return True
    except Exception as error:
        print(f"{run}: {error}")
        return False


if __name__ == "__main__":
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pack(folder / "pack")
        finish(folder / "pack", folder / "whole")
        whole = contents(folder / "whole")
        inside = identical = unreadable = resumed = 0
        for i in range(KILLS):
            run = folder / f"run-{i}"
            inside += kill(folder / "pack", run, i % 2 == 0, rng)
            unreadable += not readable(run)
            left = checkpoint.newest_resume(run)
            resumed += left is not None and left.step_images < 5_120
            finish(folder / "pack", run)
            again = contents(run)
            identical += again.keys() == whole.keys() and all(torch.equal(again[key], whole[key]) for key in whole)
            print(f"{i + 1} of {KILLS}: {identical} identical, {inside} inside a checkpoint, {unreadable} unreadable", flush=True)
        record(
            "resume",
            "A training that was killed with SIGKILL and started again ends with the same bits as one that was not.",
            {"kills": KILLS, "identical": identical, "unreadable": unreadable, "killed_inside_a_checkpoint": inside, "resumed_from_a_checkpoint": resumed},
            {"trainings": KILLS, "tensors_compared": len(whole)},
            settings="ifcvaegan, 32 px, width 16, 5,120 images, a checkpoint every 0.3 s; weights, average and optimisers compared",
        )
