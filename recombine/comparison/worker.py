"""The work on a comparison: one cell (data, method, seed) after the other, each under a lease."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from recombine import files
from recombine.comparison import page, samples
from recombine.comparison.content import cell_folder
from recombine.comparison.plan import Budget, Judging, agree, images_of_sample
from recombine.data.packed import Pack
from recombine.evaluation.classifier import Classifier, Settings, judge_classifier
from recombine.evaluation.judge import judge
from recombine.locks import LEASE, holder_of, take, waiting
from recombine.training.engine import Diverged, Interrupted
from recombine.training.log import read_log
from recombine.training.mirroring import handedness
from recombine.training.monitor import EditMonitor, affordable
from recombine.training.recipe import WHOLE, Recipe
from recombine.training.runs import load, start

LOOKS, LINES = 6, 8                         # evaluations in a training, and lines of the log to each
TRIAL = 12                                  # steps that measure a method's speed


@dataclass(frozen=True)
class Cell:
    """One run of a comparison: trained here by a recipe, or before in a folder of its own."""

    data: str
    method: str                             # as named in the plan, such as ifcvaegan:aux_weight=0
    seed: int
    recipe: Recipe | None = None
    run: Path | None = None
    trained_on: tuple[str, ...] = ()        # files of the data that a run from elsewhere was trained on


@dataclass
class Worker:
    """One process's work on a comparison."""

    out: Path
    packs: Mapping[str, Pack]
    attributes: Mapping[str, Sequence[str]]
    budget: Budget | None
    judging: Judging
    preset: str | Settings                  # of the classifier
    retry: bool
    device: torch.device
    progress: Callable[[str], None]
    shown: set[int] = field(default_factory=set)  # seeds of which the page shows images
    classifiers: dict[str, Classifier | None] = field(default_factory=dict)

    def through(self, plan: dict, cells: Sequence[Cell], shard: tuple[int, int]) -> Path:
        """Agree on the plan, work on this shard's cells, and write the report."""
        files.check_writable(self.out)
        agreed = agree(self.out, json.loads(json.dumps(plan)))
        self.shown = set(agreed["seeds"][:1] if self.budget else agreed["seeds"])
        mine = cells[shard[0] - 1 :: shard[1]]
        for number, cell in enumerate(mine, 1):
            self.visit(cell, f"{number}/{len(mine)} {cell.data}, {cell.method}, seed {cell.seed}")
        with waiting(self.out / "report.claim"):
            return page.report(self.out)

    def visit(self, cell: Cell, called: str) -> None:
        """Work on a cell, unless it is finished or leased by another process."""
        folder = cell_folder(self.out, cell.data, cell.method, cell.seed)
        if self.finished(folder):
            return
        folder.mkdir(parents=True, exist_ok=True)
        held = take(folder / LEASE)
        if held is None:
            self.progress(f"{called}: left to {holder_of(folder / LEASE)}")
            return
        try:
            if not self.finished(folder):
                (folder / "failure.json").unlink(missing_ok=True)
                self.progress(called)
                self.work(cell, folder)
        finally:
            held.release()

    def finished(self, folder: Path) -> bool:
        """Whether there is nothing left to do in a cell."""
        return (folder / "judgement.json").exists() or (not self.retry and (folder / "failure.json").exists())

    def work(self, cell: Cell, folder: Path) -> None:
        """Train and judge one cell; what cannot be done, or a training that failed, is noted, and the others go on."""
        stage = "training"
        try:
            run = cell.run or self.trained(cell, folder)
            stage = "judging"
            self.judged(cell, run, folder)
        except (Interrupted, OSError):
            raise
        except Exception as error:  # a night's work of other methods is not lost over it
            cannot = isinstance(error, (ValueError, NotImplementedError))
            failure = {
                "kind": "cannot work with this data" if cannot and stage == "training" else f"{stage} failed",
                "reason": str(error) or type(error).__name__,
                "trace": "" if cannot or isinstance(error, Diverged) else traceback.format_exc(),
            }
            files.write_text(folder / "failure.json", json.dumps(failure, indent=1))

    def trained(self, cell: Cell, folder: Path) -> Path:
        """Train a cell, or go on where it was left."""
        assert cell.recipe is not None and self.budget is not None
        pack, recipe = self.packs[cell.data], cell.recipe
        if recipe.train.mirror is None:
            recipe = replace(recipe, train=replace(recipe.train, mirror=self.mirrored(cell.data)))
            cell = replace(cell, recipe=recipe)
        images = self.images(cell, pack)
        line = max(1, images // (LOOKS * LINES))
        course = {**WHOLE, "images": images, "evaluate_every": LINES * line, "log_every": line}
        train = replace(recipe.train, seed=cell.seed, **course)
        shown = pack.select(*self.attributes[cell.data])
        monitor = EditMonitor(shown, self.classifier_of(cell.data), made=affordable(train))
        return start(replace(recipe, train=train), pack, folder, monitor=monitor, quiet=True)

    def mirrored(self, name: str) -> bool:
        """Whether a data set's images may be shown mirrored: found out once, and the same for all cells and machines."""
        path = self.out / "mirrored" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with waiting(path.with_suffix(".claim")):
            if not path.exists():
                found = handedness(self.packs[name])
                files.write_text(path, json.dumps({"mirror": found.mirror, "found": str(found)}))
                self.progress(f"{name}: images are {'' if found.mirror else 'not '}shown mirrored: {found}")
            return json.loads(path.read_text())["mirror"]

    def images(self, cell: Cell, pack: Pack) -> int:
        """How many samples a cell may see."""
        assert cell.recipe is not None and self.budget is not None
        if self.budget.images is not None:
            return max(1, self.budget.images // images_of_sample(cell.recipe.method))
        path = self.out / "speeds" / cell.data / f"{cell.method.replace(':', '-')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with waiting(path.with_suffix(".claim")):
            if not path.exists():
                speed = speed_of(cell.recipe, pack)
                count = max(cell.recipe.train.batch_size, round(speed * (self.budget.seconds or 0)))
                files.write_text(path, json.dumps({"samples_per_second": speed, "samples": count}))
            return json.loads(path.read_text())["samples"]

    def classifier_of(self, name: str) -> Classifier | None:
        """The classifier that judges edits on a data set; trained by one process while the others wait."""
        if self.preset == "none":
            return None
        if name not in self.classifiers:
            with waiting(self.out / "referee.claim"), torch.enable_grad():
                try:
                    found = judge_classifier(
                        self.packs[name], preset=self.preset, device=self.device, progress=self.progress
                    )
                except ValueError:  # nothing that it could learn, which the judgement states
                    found = None
                self.classifiers[name] = found
        return self.classifiers[name]

    def judged(self, cell: Cell, run: Path, folder: Path) -> None:
        """Judge a run, and keep what the page shows of it."""
        pack, attributes = self.packs[cell.data], self.attributes[cell.data]
        model, how = load(run, self.device), asdict(self.judging)
        wanted = self.preset if isinstance(self.preset, str) else None
        found = judge(
            model, pack, attributes=attributes, classifier=self.classifier_of(cell.data) or wanted,
            trained_on=cell.trained_on, workers=1, **how,
        )  # fmt: skip
        cost = {
            "seconds": {"training": training_seconds(run), "judging": round(sum(found.seconds.values()), 2)},
            "parameters": sum(p.numel() for p in model.parameters()),
            "pictures_a_sample": images_of_sample(json.loads((run / "config.json").read_text())["method"]),
            **({"path": str(run)} if cell.run else {}),
        }
        if cell.seed in self.shown:
            samples.save(folder / "shown.npz", samples.draw(model, pack, self.judging.split, attributes, found.roles))
        plain = {**found.to_json(), "run": cost}
        files.write_text(folder / "judgement.json", json.dumps(plain, indent=1, allow_nan=False))


def speed_of(recipe: Recipe, pack: Pack) -> float:
    """Samples a second in a short training of all phases, in a folder that is removed again."""
    size = recipe.train.batch_size
    train = replace(recipe.train, images=TRIAL * size, log_every=size, evaluate_every=TRIAL * size, **WHOLE)
    with TemporaryDirectory() as folder:
        seconds = training_seconds(start(replace(recipe, train=train), pack, Path(folder) / "run", quiet=True))
        assert seconds is not None
        return TRIAL * size / seconds


def training_seconds(run: Path) -> float | None:
    """Seconds that a run's steps took over all sittings, evaluations apart, from the speeds in its log."""
    entries = read_log(run / "log.jsonl")
    lines = [entry for entry in entries if {"images_per_second", "learning_rate"} <= entry.keys()]
    seen, seconds = 0, 0.0
    for line in lines:
        seconds += (line["images"] - seen) / line["images_per_second"]
        seen = line["images"]
    return round(seconds * entries[-1]["images"] / seen, 2) if lines else None
