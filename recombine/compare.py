"""Comparing methods: the same data, budget, judge and pictures for all, over several seeds.

A comparison is a folder. `plan.json` says what is compared; every cell (data, method, seed) has a folder of its own under
`runs/`, with the run and its `judgement.json`; the page, the tables and `report.json` are made from these files alone. Any
number of processes on any number of machines may work on one folder: each takes cells that nobody else holds.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from recombine import comparison_page, files
from recombine import comparison_pictures as pictures
from recombine.claims import claim, holder_of, waiting
from recombine.comparison_judging import USUAL, Judging, judge_run
from recombine.data.packed import Pack
from recombine.data.samplers import first_group
from recombine.data.schema import Schema, nearest, shown
from recombine.judge import checked_measures, training_rows
from recombine.methods import METHODS, presets
from recombine.metrics.classifier import Classifier, Settings, judge_classifier
from recombine.metrics.truth import of_avatars
from recombine.monitor import EditMonitor
from recombine.recipes import RECIPES, Recipe, from_folder
from recombine.recipes.avatars import COURSE
from recombine.recipes.folder import PHOTOS
from recombine.runs import HARMLESS, differing, load, pack_of, start
from recombine.training import Diverged, Interrupted

PAIRS = ("pairs", "two_batches")            # samplers that show two pictures a sample
LOOKS, LINES = 6, 8                         # evaluations in a training, and lines of the log to each
TRIAL = 12                                  # steps that measure a method's speed
CANNOT = "cannot work with this data"
JUDGED = ("binary", "categorical")          # kinds of attributes that are compared where none are named


@dataclass(frozen=True)
class Budget:
    """What every method may spend: pictures seen, a pair counting as two, or seconds of training."""

    images: int | None = None
    seconds: float | None = None

    def __post_init__(self):
        if (self.images is None) == (self.seconds is None):
            raise ValueError("a budget is a number of images or of seconds; give one of them")
        if min(self.images or 1, self.seconds or 1) <= 0 or self.images == 0:
            raise ValueError(f"a budget is more than 0, not {self.images if self.seconds is None else self.seconds}")


@dataclass(frozen=True)
class Cell:
    """One run of a comparison: trained here by a recipe, or before in a folder of its own."""

    data: str
    method: str                             # as named in the plan, such as ifcvaegan:aux_weight=0
    seed: int
    recipe: Recipe | None = None
    run: Path | None = None
    trained_on: tuple[str, ...] = ()        # files of the data that a run from elsewhere was trained on

    def folder(self, out: Path) -> Path:
        """Where the cell is worked on."""
        return out / "runs" / self.data / self.method.replace(":", "-") / str(self.seed)


def compare(
    out: str | Path,
    data: Mapping[str, Pack],
    methods: Sequence[str],
    *,
    budget: Budget,
    attributes: Sequence[str] = (),
    seeds: int | Sequence[int] = 3,
    pair_by: str | None = None,
    judging: Judging = USUAL,
    shard: tuple[int, int] = (1, 1),
    referee: str | Settings = "auto",
    retry: bool = False,
    device: str | torch.device = "cpu",
    command: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train and judge methods under one budget, and write the report; called again, it goes on.

    Args:
        out: The comparison's folder. Several processes may work on it at once.
        data: Name -> data set.
        methods: Short names, or `name:preset` with one of the method's presets. Without a preset: the method's recipe for
            avatars where the data is that, the settings found on photographs, or its preset `small`; `name:setting=value`
            changes a setting of these.
        budget: Of every run.
        attributes: What is learnt and compared, as far as each data set has it; all binary and categorical ones when ().
        seeds: How many, or which.
        pair_by: The group that methods learn from who learn from pairs; `clip` of avatars, or the first group, when None.
        judging: How the runs are judged.
        shard: (i, n): work on every n-th cell alone, beginning with the i-th.
        referee: Preset or settings of the classifier that judges edits.
        retry: Work again on cells that failed, or could not work with the data.
        device: Where methods are judged; they are trained where Fabric puts them.
        command: What the report says how it was made.
        progress: Called with a line of text at every step.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: There is no such method, preset or attribute, or the folder holds another comparison; the message says
            what differs. More data, methods and seeds may be added.
        Interrupted: A signal asked a training to stop; everything was saved.
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    check(methods, seeds, shard, judging)
    named = {name: compared(pack, attributes) for name, pack in data.items()}
    check_attributes(named, attributes)
    settings: dict[str, dict] = {name: {} for name in data}
    cells = []
    for name, pack in data.items():
        for method in methods:
            try:
                recipe, origin = recipe_for(method, pack, named[name], pair_by)
            except ValueError as reason:  # no group to draw pairs by
                settings[name][method] = {"cannot": str(reason)}
                continue
            settings[name][method] = about(recipe, origin)
            cells += [Cell(name, method, seed, recipe) for seed in seeds]
    plan = {
        "data": {name: described(pack, named[name], attributes) for name, pack in data.items()},
        "methods": list(methods),
        "seeds": seeds,
        "budget": asdict(budget),
        "judging": asdict(judging),
        "settings": settings,
        "commands": [command] * bool(command),
    }
    packs = {name: pack.whole() for name, pack in data.items()}
    work = Work(Path(out), packs, named, budget, judging, referee, retry, torch.device(device), progress)
    return work.through(plan, cells, shard)


def compare_runs(
    out: str | Path,
    runs: Sequence[str | Path],
    data: Mapping[str, Pack] | None = None,
    *,
    attributes: Sequence[str] = (),
    judging: Judging = USUAL,
    shard: tuple[int, int] = (1, 1),
    referee: str | Settings = "auto",
    retry: bool = False,
    device: str | torch.device = "cpu",
    command: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Judge and compare runs that were trained before, without touching them.

    Runs with the same settings but for the seed count as seeds of one method. What is compared are the attributes that all
    of them learnt; the report says which others there are.

    Args:
        out: The comparison's folder.
        runs: Folders of finished runs.
        data: What to judge on; the data that each was trained on when None.
        attributes: What is compared; all that the runs share when ().
        judging: As for `compare`, and so are the other arguments.
        shard: See `compare`.
        referee: See `compare`.
        retry: See `compare`.
        device: See `compare`.
        command: See `compare`.
        progress: See `compare`.

    Raises:
        ValueError: The runs share no attribute, or one was trained on pictures that it would be judged on.
    """
    found = [Found(Path(run)) for run in runs]
    labels = grouped(found)
    check(list(labels.values()), [0], shard, judging, known=False)
    packs = {name: pack.whole() for name, pack in (data or {}).items()}
    cells = []
    for run in found:
        for name in [own_pack(run, packs)] if data is None else data:
            seen = trained_on(run, packs[name], name, judging)
            cells.append(Cell(name, labels[run.path], run.seed, None, run.path, seen))
    named = {name: shared([run for run in found if any(c.data == name and c.run == run.path for c in cells)], packs[name], attributes) for name in packs}
    methods = list(dict.fromkeys(labels.values()))
    plan = {
        "data": {name: described(pack, named[name][0], attributes) | {"not_shared": named[name][1]} for name, pack in packs.items()},
        "methods": methods,
        "seeds": sorted({cell.seed for cell in cells}),
        "budget": None,
        "judging": asdict(judging),
        "settings": {name: {labels[run.path]: run.about() for run in found} for name in packs},
        "commands": [command] * bool(command),
    }
    only = {name: names for name, (names, _) in named.items()}
    work = Work(Path(out), packs, only, None, judging, referee, retry, torch.device(device), progress)
    return work.through(plan, cells, shard)


@dataclass
class Work:
    """One process's work on a comparison."""

    out: Path
    packs: Mapping[str, Pack]
    attributes: Mapping[str, Sequence[str]]
    budget: Budget | None
    judging: Judging
    referee: str | Settings
    retry: bool
    device: torch.device
    progress: Callable[[str], None]
    shown: set[int] = field(default_factory=set)  # seeds of which the page shows pictures
    referees: dict[str, Classifier | None] = field(default_factory=dict)

    def through(self, plan: dict, cells: Sequence[Cell], shard: tuple[int, int]) -> Path:
        """Agree on the plan, work on this shard's cells, and write the report."""
        files.check_writable(self.out)
        agreed = agree(self.out, json.loads(json.dumps(plan)))
        self.shown = set(agreed["seeds"][:1] if self.budget else agreed["seeds"])
        mine = cells[shard[0] - 1 :: shard[1]]
        for number, cell in enumerate(mine, 1):
            self.visit(cell, f"{number}/{len(mine)} {cell.data}, {cell.method}, seed {cell.seed}")
        with waiting(self.out / "report.claim"):
            return comparison_page.report(self.out)

    def visit(self, cell: Cell, called: str) -> None:
        """Work on a cell, unless it is finished or somebody else does."""
        folder = cell.folder(self.out)
        if self.finished(folder):
            return
        folder.mkdir(parents=True, exist_ok=True)
        held = claim(folder / "claim")
        if held is None:
            self.progress(f"{called}: left to {holder_of(folder / 'claim')}")
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
        """Train and judge one cell; what a method cannot do, or a training that failed, is noted and stops nobody else."""
        stage = "training"
        try:
            run = cell.run or self.trained(cell, folder)
            stage = "judging"
            self.judged(cell, run, folder)
        except (Interrupted, OSError):
            raise
        except (ValueError, NotImplementedError) as reason:
            note(folder, CANNOT if stage == "training" else "judging failed", reason)
        except Diverged as reason:
            note(folder, "training failed", reason)
        except Exception as error:  # a night's work of other methods is not lost over it
            note(folder, f"{stage} failed", error, traceback.format_exc())

    def trained(self, cell: Cell, folder: Path) -> Path:
        """Train a cell, or go on where it was left."""
        assert cell.recipe is not None and self.budget is not None
        pack, recipe = self.packs[cell.data], cell.recipe
        images = self.images(cell, pack)
        line = max(1, images // (LOOKS * LINES))
        train = replace(recipe.train, images=images, seed=cell.seed, evaluate_every=LINES * line, log_every=line)
        classifier = self.referee_of(cell.data)
        monitor = EditMonitor(pack.select(*self.attributes[cell.data]), classifier)
        (folder / "lock").unlink(missing_ok=True)  # whose it was is decided by the claim
        return start(replace(recipe, train=train), pack, folder, monitor=monitor, quiet=True)

    def images(self, cell: Cell, pack: Pack) -> int:
        """How many samples a cell may see."""
        assert cell.recipe is not None and self.budget is not None
        if self.budget.images is not None:
            return max(1, self.budget.images // samples(cell.recipe))
        path = self.out / "speeds" / cell.data / f"{cell.method.replace(':', '-')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with waiting(path.with_suffix(".claim")):
            if not path.exists():
                speed = speed_of(cell.recipe, pack)
                found = {"samples_per_second": speed, "samples": max(cell.recipe.train.batch_size, round(speed * (self.budget.seconds or 0)))}
                files.write_text(path, json.dumps(found))
            return json.loads(path.read_text())["samples"]

    def referee_of(self, name: str) -> Classifier | None:
        """The classifier that judges edits on a data set; trained by one process while the others wait."""
        if name not in self.referees:
            with waiting(self.out / "referee.claim"), torch.enable_grad():
                try:
                    self.referees[name] = judge_classifier(self.packs[name], preset=self.referee, device=self.device, progress=self.progress)
                except ValueError:  # nothing that it could learn; the judgement says so
                    self.referees[name] = None
        return self.referees[name]

    def judged(self, cell: Cell, run: Path, folder: Path) -> None:
        """Judge a run, and keep what the page shows of it."""
        pack, model = self.packs[cell.data], load(run, self.device)
        attributes = self.attributes[cell.data]
        found = judge_run(model, pack, self.judging, attributes, self.referee_of(cell.data), cell.trained_on)
        seconds = {"training": training_seconds(run), "judging": round(sum(found["seconds"].values()), 2)}
        sampler = METHODS[json.loads((run / "config.json").read_text())["method"]][0].sampler
        found["run"] = {"seconds": seconds, "parameters": sum(p.numel() for p in model.parameters()), "pictures_a_sample": 1 + (sampler in PAIRS)}
        found["run"] |= {"path": str(run)} if cell.run else {}
        if cell.seed in self.shown:
            pictures.save(folder / "shown.npz", pictures.draw(model, pack, self.judging.split, attributes, found.get("carries", {})))
        files.write_text(folder / "judgement.json", json.dumps(found, indent=1, allow_nan=False))


@dataclass
class Found:
    """A run that was trained before."""

    path: Path
    config: dict = field(init=False)
    schema: Schema = field(init=False)

    def __post_init__(self):
        if not (self.path / "config.json").exists():
            raise ValueError(f"{self.path} is no run: there is no config.json in it")
        self.config = json.loads((self.path / "config.json").read_text())
        self.schema = Schema.from_json(json.loads((self.path / "labels.json").read_text()))

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.config["train"]["seed"]

    def about(self) -> dict:
        """Its settings without the seed and what does not matter, as plain values."""
        train = {name: value for name, value in self.config["train"].items() if name != "seed" and (name == "images" or name not in HARMLESS)}
        return {"method": self.config["method"], "from": "a run trained before", "config": self.config["config"], "train": train,
                "attributes": self.config["data"]["attributes"]}  # fmt: skip


def grouped(runs: Sequence[Found]) -> dict[Path, str]:
    """What each run is called: seeds of one method by its name, others by their folder's."""
    alike: dict[str, list[Found]] = {}
    for run in runs:
        alike.setdefault(json.dumps([run.about(), run.config["data"]["fingerprint"]], sort_keys=True), []).append(run)
    labels: dict[Path, str] = {}
    for group in alike.values():
        name = group[0].config["method"]
        if len(group) == 1 or len({run.seed for run in group}) < len(group) or name in labels.values():
            labels |= {run.path: run.path.resolve().name for run in group}
        else:
            labels |= {run.path: name for run in group}
    seen: dict[tuple[str, int], Path] = {}
    for run in runs:
        other = seen.setdefault((labels[run.path], run.seed), run.path)
        if other != run.path:
            raise ValueError(f"{other} and {run.path} would both be called {labels[run.path]!r}, seed {run.seed}; rename one of the folders")
    return labels


def own_pack(run: Found, packs: dict[str, Pack]) -> str:
    """The name of the data that a run was trained on, which is added to `packs`."""
    pack = pack_of(run.path).whole()
    for name, other in packs.items():
        if other.fingerprint == pack.fingerprint:
            return name
    name = named_after(pack.path, packs)
    packs[name] = pack
    return name


def named_after(path: Path, taken: Mapping[str, Any]) -> str:
    """A folder's name, or its parent's where it says nothing, that is not taken."""
    path = path.resolve()
    name = path.parent.name if path.name in ("data", "pack") else path.name
    return name if name not in taken else next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)


def trained_on(run: Found, pack: Pack, name: str, judging: Judging) -> tuple[str, ...]:
    """Names of the files of a data set whose pictures a run was trained on; raises ValueError where they would be judged."""
    try:
        own = pack_of(run.path)
    except OSError:  # the data lies on another machine
        return ()
    if own.whole().fingerprint == pack.fingerprint:
        return ()
    hashes = set(np.asarray(own.index["pixel_hash"])[own.rows("train")].tolist())
    seen = [file for file, digest in zip(pack.files, np.asarray(pack.index["pixel_hash"]).tolist(), strict=True) if digest in hashes]
    rows = pack.rows(judging.split)
    count = len(training_rows(pack, rows, judging.split, seen))
    if count and not judging.allow_training_data:
        raise ValueError(
            f"{run.path} was trained on {count} of the {len(rows)} pictures of the split {judging.split!r} of {name}; a judgement on them says "
            "nothing about new pictures. Choose another split, or say allow_training_data=True to get one that is marked as such"
        )
    return tuple(seen)


def shared(runs: Sequence[Found], pack: Pack, wanted: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The attributes that all runs with labels learnt alike, and for each run those that it alone has not in common with all."""
    learnt = {run.path: [a for a in run.schema.attributes if a.kind != "group"] for run in runs}
    labelled = [attributes for attributes in learnt.values() if attributes]
    names = [a.name for a in pack.schema.attributes if a.kind in JUDGED]
    common = [name for name in names if all(any(a.name == name and a.values == pack.schema[name].values for a in own) for own in labelled)]
    common = [name for name in common if not wanted or name in wanted]
    if not common:
        each = "; ".join(f"{path} has {shown([a.name for a in own])}" for path, own in learnt.items() if own)
        raise ValueError(f"the runs share no attribute that could be compared: {each or 'none has labels'}")
    return common, {str(path.name): rest for path, own in learnt.items() if (rest := [a.name for a in own if a.name not in common])}


def check(methods: Sequence[str], seeds: Sequence[int], shard: tuple[int, int], judging: Judging, known: bool = True) -> None:
    """Raise ValueError for what can be seen to be wrong at once."""
    if not methods:
        raise ValueError("nothing to compare: name one or more methods")
    for label in methods if known else ():
        name, _, preset = label.partition(":")
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {shown(list(METHODS), 40)}{nearest(name, list(METHODS))}")
        if "=" in preset:
            changed(METHODS[name][1](), preset)
        elif preset and preset not in presets(name):
            raise ValueError(f"{name} has no preset {preset!r}; it has {shown(list(presets(name)), 40)}{nearest(preset, list(presets(name)))}")
    if len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"seeds are one or more different numbers, not {seeds}")
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"a shard is i/n with i from 1 to n, such as 1/2, not {shard[0]}/{shard[1]}")
    checked_measures(judging.measures)
    if judging.split == "train" and not judging.allow_training_data:
        raise ValueError(
            "every run is trained on the split 'train'; a judgement on it says nothing about new pictures. Choose val or test, or say "
            "allow_training_data=True to get one that is marked as such"
        )


def compared(pack: Pack, attributes: Sequence[str]) -> list[str]:
    """The attributes of a data set that are compared."""
    if attributes:
        return [name for name in attributes if name in pack.schema.names and pack.schema[name].kind != "group"]
    return [a.name for a in pack.schema.attributes if a.kind in JUDGED]


def check_attributes(named: Mapping[str, Sequence[str]], attributes: Sequence[str]) -> None:
    """Raise ValueError where a data set has nothing to compare, or nobody has an attribute."""
    for name in attributes:
        if not any(name in names for names in named.values()):
            raise ValueError(f"no data set has an attribute {name!r} with values or numbers; there are {shown([n for names in named.values() for n in names])}")
    for data, names in named.items():
        if not names:
            raise ValueError(f"{data} has no attribute to compare methods on; name one with attributes, or state its kind")


def recipe_for(label: str, pack: Pack, attributes: Sequence[str], pair_by: str | None = None) -> tuple[Recipe, str]:
    """What is trained for a label of the plan on a data set, and where the settings come from.

    Raises:
        ValueError: The method learns from pairs, and the data set has no group to draw them by.
    """
    name, _, preset = label.partition(":")
    method, config_class = METHODS[name]
    drawn = of_avatars(pack)
    base = RECIPES[f"{name}.avatars"]() if drawn and f"{name}.avatars" in RECIPES else None
    train = base.train if base else COURSE if drawn else from_folder().train
    if preset and "=" not in preset:
        config, origin = presets(name)[preset], f"preset {preset}"
    elif base:
        config, origin = base.config, f"recipe {name}.avatars"
    elif not drawn and name in PHOTOS:
        config, origin = PHOTOS[name], "settings found on photographs"
    else:
        config, origin = (presets(name)["small"], "preset small") if "small" in presets(name) else (config_class(), "defaults")
    if "=" in preset:
        config, origin = changed(config, preset), f"{origin}, {preset}"
    learnt = tuple(attributes)
    if method.sampler == "pairs":
        group = pair_by or ("clip" if drawn else first_group(pack))
        if group not in pack.schema.names:
            raise ValueError(f"pairs are drawn by {group!r}, which the data set does not have; it has {shown(pack.schema.names)}")
        config = replace(config, pair_by=group if isinstance(config.pair_by, str) else (group,))
        learnt = (group, *(name for name in attributes if name != group and set(method.kinds) != {"group"}))
    return Recipe(name, config, train, size=pack.schema.height, attributes=learnt), origin


def changed(config: Any, text: str) -> Any:
    """Settings of a method with some of them changed, as in `aux_weight=0`, or `aux_weight=0+kl_weight=0` for several.

    Raises:
        ValueError: There is no such setting, or it is no number, truth or text.
    """
    new = {}
    for pair in text.split("+"):
        name, _, value = pair.partition("=")
        fields = list(config.__dataclass_fields__)
        if name not in fields:
            raise ValueError(f"no setting {name!r}; there are {shown(fields, 40)}{nearest(name, fields)}")
        kind = type(getattr(config, name))
        if kind is bool and value in ("True", "False"):
            new[name] = value == "True"
        elif kind in (int, float, str):
            new[name] = kind(value)
        else:
            raise ValueError(f"{name}={value}: {name} is {getattr(config, name)!r}, which cannot be changed so; write a preset")
    return replace(config, **new)


def samples(recipe: Recipe) -> int:
    """Pictures that one sample of a method's batch shows."""
    return 1 + (METHODS[recipe.method][0].sampler in PAIRS)


def about(recipe: Recipe, origin: str) -> dict:
    """A recipe as plain values of the plan, without what differs between its cells."""
    train = {name: value for name, value in asdict(recipe.train).items() if name not in ("seed", *HARMLESS)}
    return {"method": recipe.method, "from": origin, "config": asdict(recipe.config), "train": train, "attributes": list(recipe.attributes),
            "pictures_a_sample": samples(recipe)}  # fmt: skip


def described(pack: Pack, attributes: Sequence[str], wanted: Sequence[str]) -> dict:
    """A data set in the plan."""
    return {
        "fingerprint": pack.whole().fingerprint,
        "image_size": list(pack.schema.image_size),
        "pictures": {split: len(pack.rows(split)) for split in ("train", "val", "test")},
        "attributes": list(attributes),
        "values": {name: list(pack.schema[name].values) for name in attributes},
        "without": [name for name in wanted if name not in attributes],
        "drawn": of_avatars(pack),
    }


def agree(out: Path, wanted: dict) -> dict:
    """Write the plan, or join the one that is there; raises ValueError where it is another."""
    path = out / "plan.json"
    with waiting(out / "plan.claim"):
        plan = joined(json.loads(path.read_text()), wanted, out) if path.exists() else wanted
        files.write_text(path, json.dumps(plan, indent=1))
    return plan


def joined(begun: dict, wanted: dict, out: Path) -> dict:
    """The plan with the data, methods, seeds and commands of both; raises ValueError where they differ in what both have."""
    both = [name for name in wanted["data"] if name in begun["data"]]
    changed = [(f"{part}.{name}" if name else part, a, b) for part in ("budget", "judging") for name, a, b in inner(begun[part], wanted[part])]
    for name in both:
        changed += differing(begun["data"][name], wanted["data"][name], f"data.{name}.")
        own, now = {m: complete(settings) for m, settings in begun["settings"][name].items()}, wanted["settings"][name]
        changed += differing({m: own[m] for m in now if m in own}, {m: now[m] for m in now if m in own}, f"{name}.")
    if changed:
        news = "; ".join(f"{name} was {a!r}, now {b!r}" for name, a, b in changed)
        raise ValueError(f"{out} holds another comparison: {news}; give another folder. More data, methods and seeds may be added to this one")
    settings = {name: {**begun["settings"].get(name, {}), **wanted["settings"].get(name, {})} for name in {**begun["data"], **wanted["data"]}}
    union = {part: list(dict.fromkeys([*begun[part], *wanted[part]])) for part in ("methods", "commands")}
    return {**begun, **union, "seeds": sorted({*begun["seeds"], *wanted["seeds"]}), "data": {**begun["data"], **wanted["data"]}, "settings": settings}


def complete(settings: dict) -> dict:
    """A method's settings in a plan; those that did not exist then had their default's effect."""
    return settings if "config" not in settings else {**settings, "config": {**json.loads(json.dumps(asdict(METHODS[settings["method"]][1]()))), **settings["config"]}}


def inner(begun: dict | None, wanted: dict | None) -> list[tuple[str, object, object]]:
    """What differs between two parts of a plan, either of which may be missing as a whole."""
    if begun is None or wanted is None:
        return [] if begun == wanted else [("", begun, wanted)]
    return differing(begun, wanted)


def note(folder: Path, kind: str, reason: BaseException, trace: str = "") -> None:
    """Remember why a cell has no judgement."""
    text = str(reason) or type(reason).__name__
    files.write_text(folder / "failure.json", json.dumps({"kind": kind, "reason": text, "trace": trace}, indent=1))


def speed_of(recipe: Recipe, pack: Pack) -> float:
    """Samples a second in a short training of all phases, in a folder that is removed again."""
    size = recipe.train.batch_size
    train = replace(recipe.train, images=TRIAL * size, log_every=size, evaluate_every=TRIAL * size)
    with TemporaryDirectory() as folder:
        run = start(replace(recipe, train=train), pack, Path(folder) / "run", quiet=True)
        seconds = training_seconds(run)
        assert seconds is not None
        return TRIAL * size / seconds


def training_seconds(run: Path) -> float | None:
    """Seconds that a run's steps took over all sittings, evaluations apart, from the speeds in its log."""
    entries = list(logged(run / "log.jsonl"))
    lines = [entry for entry in entries if {"images_per_second", "learning_rate"} <= entry.keys()]
    if not lines:
        return None
    seen = [0, *(line["images"] for line in lines)]
    pace = [(now - before) / line["images_per_second"] for before, now, line in zip(seen, seen[1:], lines, strict=False)]
    return round(sum(pace) * entries[-1]["images"] / seen[-1], 2)


def logged(path: Path) -> Iterator[dict]:
    """The lines of a log that can be read."""
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue
