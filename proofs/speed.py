"""How fast it is: training, edits and reading beside the peers' published code and an earlier commit, and how cost grows.

    git clone https://github.com/yunjey/stargan
    git clone https://github.com/CompVis/robust-disentangling
    python proofs/speed.py stargan=stargan rodi=robust-disentangling [--before COMMIT] [--only PART ...]

Every side of a comparison is a process of its own (`sides.py`), which works when it is its turn: A B C C B A and so on, so
that what else the machine does falls on all alike. What is reported are medians and quartiles over turns, ratios turn by
turn, with as many threads as there are cores and with one. A peer that is not named is left out; `--only` prints some parts
and writes nothing, as does `--small`, with numbers that mean nothing. About 13 minutes on two idle cores; the peers' code is read from the folders and stays there.

What is fair and what is not: the peers train their own networks on their own losses, log nothing, and take their batches
from memory, where ours reads and mirrors them; ours writes its log, and the time of a checkpoint a minute is added to it. `rodi` trains its decoders of
one code here, as the released code always does; the third estimator, which that code trains and never uses, is its own. An
edit of ours also predicts the labels that are not set, which the peer is given: images are encoded once for five edits, as
many as theirs makes of an image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
from PIL import Image
from record import ROOT, record
from sides import NAMES, recipe_of

from recombine.data.packed import Pack, is_pack, write_pack
from recombine.data.schema import Attribute, Schema
from recombine.training.runs import start

BEFORE = "7aced91"                          # the last commit before training was made faster
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SIZE, IMAGES = 64, 640                      # pixels and number of the images that training reads
FILES = 512                                 # JPEGs that are read, of CelebA's size
SIZES, BATCHES, COUNTS = (32, 64, 128, 256), (1, 4, 16, 64, 256), (1, 5, 15, 40)    # pixels; images; attributes
PRECISIONS = {"auto": {}, "f32": {"precision": "32-true"}}  # of our side: the default, and float32
ROWS, EDITS = (1_000, 10_000, 100_000, 1_000_000), (1, 10, 100, 1_000, 10_000)


@dataclass
class Side:
    """One process of a comparison: which loop of `sides.py`, with what settings, and how many images a unit are."""

    loop: str
    settings: Mapping[str, object]
    images: int                             # of one unit of work
    tree: Path = ROOT                       # whose `recombine` is used
    threads: int = CORES
    seconds: list[float] = field(default_factory=list)  # of each turn, a unit, by the clock ...
    processor_seconds: list[float] = field(default_factory=list)  # ... and of all processors
    checkpoint_seconds: float = 0.0         # of which there is one a minute
    peak_mib: float = 0.0

    def launch(self) -> None:
        """Start the process; where it is to take turns, the first answer means that it is ready."""
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        environment = {**os.environ, "PYTHONPATH": str(self.tree), **threads}
        command = [sys.executable, str(ROOT / "proofs" / "sides.py"), self.loop, json.dumps(self.settings)]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, env=environment, stdin=PIPE, stdout=PIPE, stderr=self.errors, text=True)

    def answer(self) -> Any:
        """What the process says; ends the proof with its errors where it says nothing."""
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise SystemExit(f"{self.loop} {self.settings}:\n{self.errors.read()[-4000:]}")
        return json.loads(line)

    def take(self, units: int) -> float:
        """A turn of so many units; returns the seconds of one."""
        self.process.stdin.write(f"{units}\n")
        self.process.stdin.flush()
        seconds, of_processors = self.answer()
        self.seconds.append(seconds / units)
        self.processor_seconds.append(of_processors / units)
        return self.seconds[-1]

    def close(self) -> None:
        """Let the process end; a minute of training takes the time of a checkpoint longer."""
        self.process.stdin.close()
        self.checkpoint_seconds, self.peak_mib = self.answer()
        self.seconds = [seconds * (1 + self.checkpoint_seconds / 60) for seconds in self.seconds]
        self.process.wait()

    def summary(self) -> dict:
        """Images a second, by turn and with a checkpoint a minute, and the most memory."""
        low, middle, high = np.percentile(self.images / np.array(self.seconds), [25, 50, 75])
        return {"images_per_second": middle, "quartiles": [low, high], "checkpoint_seconds": self.checkpoint_seconds, "peak_mib": self.peak_mib}


def rounded(values: object) -> object:
    """Numbers with four digits."""
    if isinstance(values, Mapping):
        return {name: rounded(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [rounded(value) for value in values]
    return float(f"{values:.4g}") if isinstance(values, float) else values


def in_turns(sides: Mapping[str, Side], turns: int, seconds: float) -> dict[str, dict]:
    """Let all sides work in turns of some seconds; returns the summary of each."""
    units = {}
    for name, side in sides.items():
        side.launch()
        side.answer()
        first = side.take(1)                # which reserves memory and picks algorithms
        units[name] = 1 if first > 2 * seconds else max(1, round(seconds / side.take(1)))
        side.seconds, side.processor_seconds = [], []
    for turn in range(turns):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            sides[name].take(units[name])
    for side in sides.values():
        side.close()
    return {name: side.summary() for name, side in sides.items()}


def over(sides: Mapping[str, Side], one: str, other: str) -> dict:
    """How many times as fast one side is as another, by turn: by the clock, and by the time of processors."""
    first, second = sides[one], sides[other]
    share = first.images / second.images
    ratios = share * np.array(second.seconds) / np.array(first.seconds)
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    by_processor = share * float(np.median(second.processor_seconds) / np.median(first.processor_seconds))
    return {"ratio": middle, "quartiles": [low, high], "turns": len(ratios), "by_processor_seconds": by_processor}


@dataclass(frozen=True)
class Setup:
    """What the parts need: a folder for what they make, the peers' folders, and how long a turn is."""

    folder: Path
    peers: Mapping[str, Path]
    before: str                             # commit
    turns: int
    seconds: float                          # of a turn, at least one unit
    small: bool                             # narrow networks and small batches, to see whether everything runs

    def less(self, number: int) -> int:
        """A batch size or a number of images."""
        return max(2, number // 8) if self.small else number

    def stargan(self) -> dict[str, int]:
        """Settings of StarGAN beside its published ones."""
        return {"width": 8, "blocks": 1, "critic_width": 8} if self.small else {}


def training(pack: Path, method: str, steps: int, batch_size: int, **settings: object) -> Side:
    """Our training of a method; `precision`, `preset`, `attributes` and others as `sides.ours` takes them."""
    settings = {"pack": str(pack), "method": method, "steps": steps, "batch_size": batch_size, **settings}
    return Side("ours", settings, steps * batch_size)


def beside(setup: Setup, theirs: Side, ours: Mapping[str, Side]) -> dict:
    """A peer's training and some of ours in turns, with all cores, and half as often with one."""
    found = {}
    for threads in sorted({CORES, 1}, reverse=True):
        sides = {name: replace(side, threads=threads) for name, side in {"theirs": theirs, **ours}.items()}
        speeds = in_turns(sides, setup.turns if threads == CORES else (setup.turns + 1) // 2, setup.seconds)
        found[f"threads_{threads}"] = {**speeds, "over_theirs": {name: over(sides, name, "theirs") for name in ours}}
    return found


def stargan(setup: Setup) -> dict:
    """Training of yunjey/stargan: 64 px, 5 labels, batches of 16, its own widths, five steps of the critic to one."""
    pack, batch, config = make_pack(setup.folder / "pack"), setup.less(16), setup.stargan()
    theirs = {"pack": str(pack), "folder": str(setup.peers["stargan"]), "steps": 5, "batch_size": batch, "config": config}
    same = {"preset": "paper", "attributes": NAMES, "config": config}
    sides = {name: training(pack, "stargan", 5, batch, **same, **own) for name, own in PRECISIONS.items()}
    found = beside(setup, Side("stargan", theirs, 5 * batch), sides)
    return {**headline("stargan", found), "stargan": found, "stargan_commit": commit_of(setup.peers["stargan"])}


def rodi(setup: Setup) -> dict:
    """Training of CompVis/robust-disentangling after its warm-up: 64 px, batches of 16 pairs, its networks for sprites."""
    pack, batch = make_pack(setup.folder / "pack"), setup.less(16)
    theirs = {"pack": str(pack), "folder": str(setup.peers["rodi"]), "steps": 2, "batch_size": batch}
    config = {"warmup_images": 0, "visualisers": True}
    same = {"preset": "sprites", "attributes": ("thing",)}
    sides = {name: training(pack, "rodi", 2, batch, config=config, **same, **own) for name, own in PRECISIONS.items()}
    sides["auto_without_visualisers"] = training(pack, "rodi", 2, batch, config={**config, "visualisers": False}, **same)
    found = beside(setup, Side("rodi", theirs, 2 * batch), sides)
    return {**headline("rodi", found), "rodi": found, "rodi_commit": commit_of(setup.peers["rodi"])}


def headline(name: str, found: dict) -> dict:
    """The ratios with all cores."""
    ratios = found[f"threads_{CORES}"]["over_theirs"]
    return {f"{name}_over_theirs": ratios["auto"]["ratio"], f"{name}_over_theirs_f32": ratios["f32"]["ratio"]}


def photos(setup: Setup) -> dict:
    """`recombine train FOLDER` with its defaults, by an earlier commit and by this one."""
    pack = make_pack(setup.folder / "pack")
    with earlier(setup) as tree:
        sides = {name: training(pack, "ifcvaegan", 10, setup.less(32), attributes=NAMES) for name in ("before", "after")}
        sides["before"].tree = tree
        speeds = in_turns(sides, setup.turns, setup.seconds)
    rates = {f"photos_{name}": speed["images_per_second"] for name, speed in speeds.items()}
    return {**rates, "photos": {**speeds, "after_over_before": over(sides, "after", "before"), "before_commit": setup.before}}


def edits(setup: Setup) -> dict:
    """Five edits of each image of a batch: our public functions, in bfloat16 as one asks for it and in float32, and the peer's generator."""
    pack = make_pack(setup.folder / "pack")
    models, found = {name: make_model(setup, pack, name) for name in ("stargan", "ifcvaegan")}, {}
    for batch in (setup.less(16), setup.less(64)):
        settings = {"pack": str(pack), "batch_size": batch, "repeats": 1}
        ours = {name + ending: {"model": str(model), "precision": precision} for name, model in models.items() for ending, precision in EDITED}
        sides = {name: Side("our_edits", {**settings, **own}, 5 * batch) for name, own in ours.items()}
        if "stargan" in setup.peers:
            sides["theirs"] = Side("their_edits", {**settings, "folder": str(setup.peers["stargan"]), "config": setup.stargan()}, 5 * batch)
        speeds = in_turns(sides, (setup.turns + 1) // 2 + 1, setup.seconds)
        endings = [ending for ending, _ in EDITED] if "theirs" in sides else []
        ratio = {f"over_theirs{ending}": over(sides, f"stargan{ending}", "theirs") for ending in endings}
        found[f"batch_{batch}"] = {**{f"{name}_edits_per_second": s["images_per_second"] for name, s in speeds.items()}, **ratio}
    keys = {f"over_theirs{ending}" for ending, _ in EDITED if "stargan" in setup.peers}
    return {**{f"edits_{key}": min(of[key]["ratio"] for of in found.values()) for key in keys}, "edits": found}


def loader(setup: Setup) -> dict:
    """Batches of 64 images: from a pack on one thread, and from a folder of JPEGs by a worker on every core."""
    pack, folder = make_pack(setup.folder / "pack"), make_folder(setup.folder / "files")
    theirs = {"folder": str(folder), "size": SIZE, "batch_size": 64, "repeats": 8}
    sides = {
        "ours": Side("our_loader", {"pack": str(pack), "batch_size": 64, "repeats": 100}, 6400, threads=1),
        "theirs": Side("their_loader", theirs, 512, threads=1),
    }
    speeds = in_turns(sides, setup.turns, setup.seconds)
    ratio = over(sides, "ours", "theirs")
    return {"loader_over_theirs": ratio["ratio"], "loader": {**speeds, "over_theirs": ratio, "workers_of_theirs": CORES, "threads_of_ours": 1}}


def overhead(setup: Setup) -> dict:
    """What the engine costs over the shortest loop that takes the same steps, in percent."""
    pack, found = make_pack(setup.folder / "pack"), {}
    for name, precision in (("f32", "32-true"), ("bf16", "bf16-mixed")):
        engine = training(pack, "ifcvaegan", 3, setup.less(64), preset="small", attributes=NAMES, precision=precision)
        bare = Side("bare", {**engine.settings, "config": {}}, engine.images)
        sides = {"engine": engine, "bare": bare}
        speeds = in_turns(sides, 4 * setup.turns, setup.seconds / 2)
        ratio = over(sides, "bare", "engine")
        percent = {"percent": ratio["ratio"], "quartiles": ratio["quartiles"], "percent_by_processor_seconds": ratio["by_processor_seconds"]}
        found[name] = {**speeds, **{key: (100 * (np.array(value) - 1)).tolist() for key, value in percent.items()}, "turns": ratio["turns"]}
    return {"overhead_percent": max(of["percent"] for of in found.values()), "overhead": found}


def growth(setup: Setup) -> dict:
    """How the time of an image grows with pixels, batch and attributes, the first step with rows, an edit with edits."""
    folder, few = setup.folder / "growth", 2 if setup.small else None
    pack = make_pack(setup.folder / "pack")
    sides = {"size": {}, "batch": {}, "attributes": {}}
    for size in SIZES[:few]:
        sides["size"][size] = training(make_pack(folder / f"size-{size}", size, images=64), "ifcvaegan", 2, 16, attributes=NAMES)
    for batch in BATCHES[:few]:
        sides["batch"][batch] = training(pack, "ifcvaegan", max(1, 64 // batch), batch, attributes=NAMES)
    for count in COUNTS[:few]:
        names = tuple(f"label{number}" for number in range(count))
        sides["attributes"][count] = training(make_pack(folder / f"attributes-{count}", names=names), "ifcvaegan", 5, 32, attributes=names)
    found = {name: training_growth(own, setup, 2 if name == "size" else 1) for name, own in sides.items()}
    found["rows"] = row_growth(folder, ROWS[:few])
    settings = {"model": str(make_model(setup, pack, "ifcvaegan")), "pack": str(pack), "counts": EDITS[:few]}
    each = {int(count): 1000 * seconds / int(count) for count, seconds in alone("many_edits", settings).items()}
    return {"growth": {**found, "edits": {"milliseconds_an_edit": each, "exponent": exponent(each)}}}


def training_growth(sides: Mapping[int, Side], setup: Setup, power: int) -> dict:
    """Milliseconds of an image in training, and their exponent in the size to a power."""
    speeds = in_turns({str(name): side for name, side in sides.items()}, max(3, setup.turns // 2), setup.seconds / 4)
    each = {int(name): 1000 / speed["images_per_second"] for name, speed in speeds.items()}
    memory = {name: speed["peak_mib"] for name, speed in speeds.items()}
    return {"milliseconds_an_image": each, "peak_mib": memory, "exponent": exponent(each) / power}


def row_growth(folder: Path, counts: Sequence[int]) -> dict:
    """Seconds and memory from opening a pack of tiny images to the end of the first step."""
    found = {}
    for rows in counts:
        pack = folder / f"rows-{rows}"
        subprocess.run([sys.executable, str(ROOT / "proofs" / "million_rows.py"), str(pack), str(rows)], cwd=ROOT, check=True, capture_output=True)
        found[rows] = alone("first_step", {"pack": str(pack)})
    most, least = found[counts[-1]], found[counts[0]]
    added = {"seconds": most["seconds"], "added_mib": most["added_mib"] - least["added_mib"]}
    return {"first_step": found, "at_most_rows": added, "exponent": exponent({rows: of["seconds"] for rows, of in found.items()})}


def exponent(points: Mapping[int, float]) -> float:
    """The power of x with which y grows: least squares of their logarithms."""
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])


def alone(loop: str, settings: Mapping[str, object]) -> dict:
    """What a loop that takes no turns answers."""
    side = Side(loop, settings, 1)
    side.launch()
    found = side.answer()
    side.close()
    return found


def photographs(count: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Images `[3, height, width]` with the frequencies of photographs."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        small = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        yield np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def labelled(names: tuple[str, ...], count: int, size: int) -> tuple[Schema, dict[str, np.ndarray]]:
    """A schema of binary attributes and one thing that four images each show, with labels for so many images."""
    rng, things = np.random.default_rng(0), tuple(map(str, range(count // 4)))
    attributes = *(Attribute(name, "binary", ("0", "1")) for name in names), Attribute("thing", "group", things)
    labels = {name: rng.integers(0, 2, count) for name in names}
    return Schema(attributes, size, size), {**labels, "thing": np.arange(count) % len(things)}


def make_pack(folder: Path, size: int = SIZE, images: int = IMAGES, names: tuple[str, ...] = NAMES) -> Path:
    """A pack of labelled images; what is there is kept."""
    if not is_pack(folder):
        schema, labels = labelled(names, images, size)
        files = [f"{number}.jpg" for number in range(images)]
        write_pack(folder, np.stack(list(photographs(images, size, size))), schema, files, labels, ["train"] * images)
    return folder


def make_folder(folder: Path) -> Path:
    """JPEGs of CelebA's size."""
    folder.mkdir(parents=True)
    for number, image in enumerate(photographs(FILES, 218, 178)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number:05}.jpg", quality=90)
    return folder


def make_model(setup: Setup, pack: Path, method: str) -> Path:
    """A run of a few steps, whose model is as fast as any other: StarGAN as published, or a method's default."""
    run = setup.folder / f"run-{method}"
    if not run.exists():
        published = ("paper", setup.stargan()) if method == "stargan" else ("", {})
        recipe = recipe_of(method, *published, {"images": 4, "batch_size": 2})
        start(replace(recipe, attributes=NAMES), Pack(pack), run, quiet=True)
    return run


@contextmanager
def earlier(setup: Setup) -> Iterator[Path]:
    """The tree of the earlier commit, while it is needed."""
    tree = setup.folder / "earlier"
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), setup.before], cwd=ROOT, check=True)
    try:
        yield tree
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def commit_of(folder: Path) -> str:
    """What a peer's folder has checked out."""
    return subprocess.run(["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()


EDITED = (("", "bf16-mixed"), ("_f32", "32-true"))  # of `recombine edit` and `rc.load`, which take float32 unless told
PARTS = {part.__name__: part for part in (stargan, rodi, photos, edits, loader, overhead, growth)}
ASKED = {
    "stargan_over_theirs": 2.0, "stargan_over_theirs_f32": 1.2, "rodi_over_theirs": 2.0, "rodi_over_theirs_f32": 1.2,
    "photos_after_over_before": 2.0, "edits_over_theirs": 1.5, "loader_over_theirs": 20.0, "overhead_percent_at_most": 3.0,
    "exponents_at_most": {"size squared": 1.0, "batch": 0.0}, "rows_at_most": {"rows": 1_000_000, "seconds": 5.0, "added_mib": 400.0},
}  # fmt: skip


def main(options: argparse.Namespace, folder: Path) -> None:
    """Run the parts that were asked for, and write or print what they found."""
    peers = {name: Path(path).resolve() for name, path in (peer.split("=", 1) for peer in options.peers)}
    setup, values = Setup(folder, peers, options.before, options.turns, options.seconds, options.small), {}
    chosen = [name for name in options.only or PARTS if name not in ("stargan", "rodi") or name in peers]
    for name in chosen:
        began = time.monotonic()
        found = rounded(PARTS[name](setup))
        values |= found
        print(f"{name}: {time.monotonic() - began:.0f} s, {({k: v for k, v in found.items() if isinstance(v, float)})}", file=sys.stderr)
    if options.only or options.small:
        print(json.dumps(values, indent=2))
        return
    record(
        "speed",
        "Training is faster than the authors' own code and than it was, packs are read faster than files, and cost does not grow with what it should not.",
        values,
        {"turns": options.turns, "seconds_of_a_turn": options.seconds, "images": IMAGES, "files": FILES, "threads": CORES},
        asked=ASKED,
        settings=f"{SIZE} px; all cores but where it says threads_1; ratios are medians over turns of images a second",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="PEER=FOLDER", help="stargan and rodi, and where they were cloned")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="print these parts and write nothing")
    parser.add_argument("--before", default=BEFORE, help="the earlier commit")
    parser.add_argument("--turns", type=int, default=4, help="of every side of a comparison")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn, at least one unit of work")
    parser.add_argument("--small", action="store_true", help="narrow networks, to see whether everything runs; writes nothing")
    with tempfile.TemporaryDirectory() as temporary:
        main(parser.parse_args(), Path(temporary).resolve())
