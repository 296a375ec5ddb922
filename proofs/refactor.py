"""Whether a change of the code left every number as it was: the same commands with an earlier commit and with this one.

    python proofs/refactor.py [COMMIT] [--out FOLDER] [--suite]

Both sides train each method for 20 steps on drawn signs, compare methods on drawn avatars, and judge and edit with one
and the same model, which the earlier commit trained; all through the command line, so the code may be arranged in any
way. What is compared are digests of weights, losses and pixels, and every number of a judgement and of a comparison.
What is not equal is written out with its old and its new value. About 15 minutes on one core; `--out` keeps what was
made, and another call goes on from there. `--suite` also times the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from record import ROOT, git, record
from safetensors.numpy import load_file

BEFORE = "b33de29"                          # the last commit before the house was put in order
SIGNS, SIZE, BATCH, STEPS = 160, 32, 8, 20
ATTRIBUTES = {"cyclegan": "lamp", "pix2pix": "lamp,maker", "rodi": "maker", "cyclevae": "maker", "drnet": "maker", "mad": "maker,lamp,colour,turn"}
SETTINGS = {"pix2pix": ["pair_by=maker"], "rodi": ["pair_by=maker"], "cyclevae": ["pair_by=maker"], "drnet": ["pair_by=maker"]}
METHODS = (
    "advattr", "mad", "ifcvaegan", "rodi", "matdr", "stargan", "cyclegan", "pix2pix", "dnagan", "betavae", "dipvae", "fader", "icgan",
    "twostep", "cvaegan", "cyclevae", "drnet",
)  # fmt: skip
COMPARED = "ifcvaegan,rodi,advattr,betavae"
REASONS = {  # what stands in a number's place -> why it is another one on purpose
    "sensitivity": "the monitor's sensitivity is the judge's: two values of each label drawn for every image, in place of the first and the last",
}


def draw_signs(folder: Path) -> Path:
    """Coloured signs with a lamp that is on or off, of four makers, turned by some degrees; the same on every machine."""
    if (folder / "metadata.csv").exists():
        return folder
    folder.mkdir(parents=True)
    rng, lines = np.random.default_rng(0), ["file_name,lamp,colour,maker,turn,split"]
    for number in range(SIGNS):
        lamp, colour, maker, turn = (int(rng.integers(most)) for most in (2, 3, 4, 60))
        image = np.full((SIZE, SIZE, 3), 40 + 30 * maker, np.uint8)
        image[8:24, 6 + turn // 6 : 18 + turn // 6, colour] = 220
        if lamp:
            image[2:7, 12:20] = 250
        Image.fromarray(image + rng.integers(0, 5, image.shape).astype(np.uint8)).save(folder / f"{number:03}.png")
        split = "train" if number < SIGNS * 3 // 4 else "val"
        lines.append(f"{number:03}.png,{lamp},{('red', 'green', 'blue')[colour]},maker{maker}{split},{turn}.5,{split}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


class Side:
    """One version of the code at work in a folder of its own."""

    def __init__(self, tree: Path, out: Path):
        self.tree, self.out = tree, out
        out.mkdir(parents=True, exist_ok=True)

    def recombine(self, *arguments: str | Path) -> str:
        """What a command prints; a command that fails ends the proof with what it said."""
        environment = {**os.environ, "PYTHONPATH": str(self.tree), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        done = subprocess.run([sys.executable, "-m", "recombine", *map(str, arguments)], cwd=self.tree, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{self.tree}: recombine {' '.join(map(str, arguments))}\n{done.stderr}")
        return done.stdout

    def train(self, method: str, signs: Path) -> Path:
        """Twenty steps of a method on the signs."""
        run = self.out / "runs" / method
        if not (run / "model").exists():
            settings = [text for pair in SETTINGS.get(method, []) for text in ("--set", pair)]
            self.recombine(
                "train", signs, "--method", method, "--attributes", ATTRIBUTES.get(method, "lamp,colour"), "--kind", "maker=group",
                "--images", BATCH * STEPS, "--batch-size", BATCH, "--size", SIZE, "--judge", "none", "--set", f"log_every={BATCH}", "--out", run, *settings,
            )  # fmt: skip
        return run

    def compare(self) -> Path:
        """A comparison of four methods on avatars, trained for a few steps; the last number is the budget."""
        out = self.out / "comparison"
        if not (out / "report.json").exists():
            self.recombine(
                "compare", "avatars", "--methods", COMPARED, "--attributes", "glasses,expression", "--avatars", 600, "--size", SIZE,
                "--seeds", 2, "--images", 320, "--judge-pictures", 80, "--referee", "quick", "--out", out,
            )  # fmt: skip
        return out

    def judge(self, run: Path) -> dict:
        """The judgement of a run on 120 images."""
        path = self.out / f"judgement-{run.parent.name}.json"
        if not path.exists():
            path.write_text(self.recombine("evaluate", run, "--pictures", 120, "--json"))
        return json.loads(path.read_text())

    def edit(self, run: Path, pictures: list[Path]) -> Iterator[tuple[str, str]]:
        """Every kind of edit of some images: name -> digest of the pixels."""
        first, second = pictures[:2]
        edits = {
            "set": ["set", run, first, "--label", "glasses=round", "--strength", "0.7"],
            "swap": ["swap", run, first, "--with", second, "--parts", "glasses"],
            "interpolate": ["interpolate", run, first, "--with", second, "--grid"],
            "mix": ["mix", run, first, "--part", f"expression={second}:2"],
        }
        for name, arguments in edits.items():
            target = self.out / "edits" / f"{name}.png"
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                self.recombine("edit", *arguments, "--out", target)
            with Image.open(target) as image:
                yield f"edit {name}", digest(np.asarray(image))


def digest(*arrays: np.ndarray) -> str:
    """Of shapes, types and bytes."""
    made = hashlib.blake2b(digest_size=8)
    for array in arrays:
        made.update(f"{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
    return made.hexdigest()


def trained(run: Path) -> tuple[str, list[dict]]:
    """The digest of a run's weights, and its log without times and speeds."""
    tensors = load_file(run / "model" / "weights.safetensors")
    weights = digest(*[array for name in sorted(tensors) for array in (np.frombuffer(name.encode(), np.uint8), tensors[name])])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return weights, [{name: value for name, value in line.items() if "second" not in name and "time" not in name} for line in lines]


def numbers(values: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number below dictionaries and lists, with its dotted path, but for seconds."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name != "seconds":
                yield from numbers(value, f"{path}.{name}" if path else name)
    elif isinstance(values, list):
        for place, value in enumerate(values):
            yield from numbers(value, f"{path}[{place}]")
    elif isinstance(values, int | float):
        yield path, values


def differing(what: str, before: object, after: object) -> list[dict]:
    """Where a number that was there before is not the same now."""
    now = dict(numbers(after))
    changes = [(path, value, now.get(path)) for path, value in numbers(before) if path not in now or now[path] != value]
    return [{"where": f"{what}: {path}", "before": old, "after": new, "reason": reason(path)} for path, old, new in changes]


def reason(path: str) -> str:
    """Why a number is another one on purpose; empty where that was not meant."""
    return next((why for part, why in REASONS.items() if part in path), "")


def house(commit: str) -> dict:
    """Lines and files of the package in an earlier commit and in this one, Python and templates apart; the longest file."""
    before = counted(git("ls-tree", "-r", "--name-only", commit, "recombine"), lambda name: git("show", f"{commit}:{name}"))
    after = counted(git("ls-files", "recombine"), lambda name: (ROOT / name).read_text("utf-8"))
    code = [{name: count for name, count in side.items() if name.endswith(".py")} for side in (before, after)]
    longest = max(code[1], key=code[1].__getitem__)
    templates = {name: count for name, count in after.items() if name not in code[1]}
    return {
        "lines": dict(zip(("before", "after"), (sum(side.values()) for side in code), strict=True)),
        "files": dict(zip(("before", "after"), map(len, code), strict=True)),
        "templates": {"lines": sum(templates.values()), "files": len(templates)},
        "longest_file": [longest, code[1][longest]],
    }


def counted(listing: str, read: Callable[[str], str]) -> dict[str, int]:
    """File -> its lines."""
    return {name: len(read(name).splitlines()) for name in listing.split() if not name.endswith("py.typed")}


def suite_seconds() -> float:
    """How long `make test` takes here."""
    started = time.monotonic()
    subprocess.run(["make", "test"], cwd=ROOT, check=True)
    return round(time.monotonic() - started, 1)


def main(commit: str, out: Path, suite: bool) -> None:
    """Run both sides and write what was found."""
    tree = out / "earlier"
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True)
    before, after = Side(tree, out / "before"), Side(ROOT, out / "after")
    signs = draw_signs(out / "signs")
    digests, pairs = {}, {}                 # what -> its digest, or its numbers, on both sides
    for method in METHODS:
        old, new = trained(before.train(method, signs)), trained(after.train(method, signs))
        digests[method], pairs[f"log of {method}"] = (old[0], new[0]), (old[1], new[1])
        print(f"{method}: {'equal' if old[0] == new[0] else 'NOT EQUAL'}", file=sys.stderr)
    pairs["comparison"] = tuple(json.loads((side.compare() / "report.json").read_text()) for side in (before, after))
    for method in ("ifcvaegan", "rodi"):
        run = before.compare() / "runs" / "avatars" / method / "0"
        pairs[f"judgement of {method}"] = before.judge(run), after.judge(run)
    run = before.compare() / "runs" / "avatars" / "ifcvaegan" / "0"
    pictures = sorted(signs.glob("*.png"))
    for (name, old), (_, new) in zip(before.edit(run, pictures), after.edit(run, pictures), strict=True):
        digests[name] = (old, new)
    equal = [name for name, (old, new) in digests.items() if old == new]
    changed = [change for what, (old, new) in pairs.items() for change in differing(what, old, new)]
    count = sum(1 for old, _ in pairs.values() for _ in numbers(old))
    record(
        "refactor",
        "The code was put in order without changing a number, but for those that are listed with their reason.",
        {
            "equal": f"{len(equal)} of {len(digests)}",
            "not_equal": sorted(set(digests) - set(equal)),
            "numbers_equal": f"{count - len(changed)} of {count}",
            "changed_without_reason": sum(not change["reason"] for change in changed),
            "changed": changed,
            **house(commit),
            **({"suite_seconds": suite_seconds()} if suite else {}),
        },
        {"methods": len(METHODS), "steps": STEPS, "digests": len(digests), "numbers": count},
        earlier=commit,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default=BEFORE)
    parser.add_argument("--out", type=Path, help="keeps what was made; a temporary folder when not given")
    parser.add_argument("--suite", action="store_true", help="time the tests as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.commit, (options.out or Path(temporary)).resolve(), options.suite)
