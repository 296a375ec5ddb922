"""Runs that were trained before: what they are called in a comparison, what they share, and what they have seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recombine.comparison.plan import COMPARED, Judging
from recombine.data.packed import Pack
from recombine.data.schema import Schema
from recombine.evaluation.judge import training_rows
from recombine.messages import option, shown
from recombine.training.recipe import WHOLE
from recombine.training.runs import pack_of
from recombine.training.settings import HARMLESS


@dataclass
class FinishedRun:
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
        train = self.config["train"]
        ends = {name for name, usual in WHOLE.items() if train.get(name, usual) != usual}
        unlike = {"seed", *HARMLESS} - {"images"} - ends
        return {
            "method": self.config["method"],
            "from": "a run trained before",
            "config": self.config["config"],
            "train": {name: value for name, value in train.items() if name not in unlike},
            "attributes": self.config["data"]["attributes"],
        }


def grouped(runs: Sequence[FinishedRun]) -> dict[Path, str]:
    """What each run is called: seeds of one method by its name, others by their folder's."""
    alike: dict[str, list[FinishedRun]] = {}
    for run in runs:
        alike.setdefault(json.dumps([run.about(), run.config["data"]["fingerprint"]], sort_keys=True), []).append(run)
    labels: dict[Path, str] = {}
    for group in alike.values():
        name = group[0].config["method"]
        single = len(group) == 1 or len({run.seed for run in group}) < len(group) or name in labels.values()
        labels |= {run.path: run.path.resolve().name if single else name for run in group}
    seen: dict[tuple[str, int], Path] = {}
    for run in runs:
        other = seen.setdefault((labels[run.path], run.seed), run.path)
        if other != run.path:
            called = f"{labels[run.path]!r}, seed {run.seed}"
            raise ValueError(f"{other} and {run.path} would both be called {called}; rename one of the folders")
    return labels


def own_pack(run: FinishedRun, packs: dict[str, Pack]) -> str:
    """The name of the data that a run was trained on, which is added to `packs`."""
    pack = pack_of(run.path).whole()
    for name, other in packs.items():
        if other.fingerprint == pack.fingerprint:
            return name
    name = named_after(pack.path, packs)
    packs[name] = pack
    return name


def named_after(path: Path, taken: Mapping[str, Any]) -> str:
    """A folder's name, or its parent's where it is `data` or `pack`, with a number where it is taken."""
    path = path.resolve()
    name = path.parent.name if path.name in ("data", "pack") else path.name
    names = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


def trained_on(run: FinishedRun, pack: Pack, name: str, judging: Judging) -> tuple[str, ...]:
    """The files of a data set whose images a run was trained on; raises ValueError where they would be judged."""
    try:
        own = pack_of(run.path)
    except OSError:  # the data lies on another machine
        return ()
    if own.whole().fingerprint == pack.fingerprint:
        return ()
    hashes = np.asarray(own.index["pixel_hash"])[own.rows("train")]
    known = np.isin(np.asarray(pack.index["pixel_hash"]), hashes).tolist()
    seen = tuple(file for file, is_known in zip(pack.files, known, strict=True) if is_known)
    rows = pack.rows(judging.split)
    count = len(training_rows(pack, rows, judging.split, seen))
    if count and not judging.allow_training_data:
        raise ValueError(
            f"{run.path} was trained on {count} of the {len(rows)} images of the split {judging.split!r} of {name}; "
            "a judgement on them says nothing about new images. Choose another split, or say "
            f"{option('allow_training_data', True)} to get one that is marked as such"
        )
    return seen


def shared(runs: Sequence[FinishedRun], pack: Pack, named: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The attributes that all runs with labels learnt alike, and for each run its others; all when none are named."""
    learnt = {run.path: [a for a in run.schema.attributes if a.kind != "group"] for run in runs}
    labelled = [{(a.name, a.values) for a in own} for own in learnt.values() if own]
    common = [
        a.name for a in pack.schema.attributes
        if a.kind in COMPARED and all((a.name, a.values) in own for own in labelled) and (not named or a.name in named)
    ]
    if not common:
        each = "; ".join(f"{path} has {shown([a.name for a in own])}" for path, own in learnt.items() if own)
        raise ValueError(f"the runs share no attribute that could be compared: {each or 'none has labels'}")
    others = {path.name: [a.name for a in own if a.name not in common] for path, own in learnt.items()}
    return common, {name: rest for name, rest in others.items() if rest}
