"""`make demo` in a fresh clone with no environment, timed; then every single-attribute edit against the true image: about 15 minutes.

    python proofs/demo.py [--clone FOLDER]

Every held-out avatar of the val split has each of its attributes changed once, to a value drawn at random, and the edited
image is compared with the drawing of what it should have become.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from record import ROOT, record

import recombine
from recombine.evaluation.judge import judge
from recombine.training.runs import pack_of


def timed_demo(clone: Path) -> float:
    """Minutes from a fresh clone to the finished page."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    start = time.monotonic()
    subprocess.run(["make", "demo"], cwd=clone, check=True)
    return (time.monotonic() - start) / 60


def training_minutes(run: Path) -> float:
    """Minutes between the first and the last line of the training's log, as its bar counted them."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "images_per_second" in line]
    before, seconds = 0, 0.0
    for line in steps:
        seconds += (line["images"] - before) / line["images_per_second"]
        before = line["images"]
    return seconds / 60


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clone", type=Path, help="an empty folder; a temporary one when not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        clone = options.clone or Path(temporary) / "clone"
        total = timed_demo(clone)
        run = clone / "runs" / "avatars"
        model, pack = recombine.load(run), pack_of(run)
        pictures = len(pack.rows("val"))
        found = judge(model, pack, images=None, truths=pictures * len(model.schema.names))
        assert found.truth and found.truth.edits and found.edits and found.reconstruction
        truth, edits = found.truth.edits, found.edits.all
        assert edits.success and edits.preserved
        near = truth.psnr["all"]
        record(
            "demo",
            "Two words from a fresh clone to faces whose every attribute can be edited, close to the true image of the edit.",
            {
                "minutes_total": round(total, 2),
                "minutes_training": round(training_minutes(run), 2),
                "psnr_db": round(near.edited.value, 2),
                "psnr_unedited_db": round(near.original.value, 2),
                "success": edits.success.value,
                "kept": edits.preserved.value,
                "psnr_rebuilt_db": round(found.reconstruction.psnr.value, 2),
                "success_interval": [edits.success.low, edits.success.high],
                "kept_interval": [edits.preserved.low, edits.preserved.high],
                "judge_on_true_pictures": found.to_json()["truth"]["edits"].get("truth_as_seen"),
                "by_attribute": {name: round(entry.edited.value, 2) for name, entry in truth.psnr.items()},
            },
            {"held_out_avatars": pictures, "edits_against_truth": near.edited.n, "edits_judged": edits.success.n},
            settings="64 px; recombine/recipes.py says the rest",
        )
