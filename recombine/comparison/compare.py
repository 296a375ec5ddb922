"""Comparing methods: the same data, budget, judge and images for all, over several seeds.

A comparison is a folder. `plan.json` says what is compared; every cell (data, method, seed) has a folder of its own
under `runs/`, with the run and its `judgement.json`; the page, the tables and `report.json` are made from these files
alone. Any number of processes on any number of machines may work on one folder: each leases the cells that it works on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from recombine.comparison.finished_runs import FinishedRun, grouped, own_pack, shared, trained_on
from recombine.comparison.plan import Budget, Judging, about, check, check_attributes, compared, described, recipe_for
from recombine.comparison.worker import Cell, Worker
from recombine.data.packed import Pack
from recombine.evaluation.classifier import Settings

__all__ = ["Budget", "Judging", "compare", "compare_runs"]


def compare(
    out: str | Path,
    data: Mapping[str, Pack],
    methods: Sequence[str],
    *,
    budget: Budget,
    attributes: Sequence[str] = (),
    seeds: int | Sequence[int] = 3,
    pair_by: str | None = None,
    judging: Judging = Judging(),  # noqa: B008 frozen
    shard: tuple[int, int] = (1, 1),
    classifier: str | Settings = "auto",
    retry: bool = False,
    device: str | torch.device = "cpu",
    command: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train and judge methods under one budget, and write the report; called again, it goes on.

    Args:
        out: The comparison's folder. Several processes may work on it at once.
        data: Name -> data set.
        methods: Short names, or `name:preset`. Without a preset: the method's recipe for avatars where these are the
            data, the settings found on photographs, or its preset `small`; `name:setting=value` changes one of these.
        budget: Of every run.
        attributes: What is learnt and compared, as far as each data set has it; when (), all with values.
        seeds: How many, or which.
        pair_by: Group attribute from which pair-supervised methods draw positive pairs; `clip` of avatars, or the first
            group, when None.
        judging: How the runs are judged.
        shard: (i, n): work on every n-th cell alone, beginning with the i-th.
        classifier: Preset or settings of the classifier that judges edits.
        retry: Work again on cells that failed, or could not work with the data.
        device: Where methods are judged; they are trained where Fabric puts them.
        command: How the report was made, for the report.
        progress: Called with a line of text at every step.

    Returns:
        The path of `report.html`.

    Raises:
        ValueError: There is no such method, preset or attribute, or the folder holds another comparison; the message
            states what differs. More data, methods and seeds may be added.
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
        "judging": judging.to_json(),
        "settings": settings,
        "commands": [command] * bool(command),
    }
    packs = {name: pack.whole() for name, pack in data.items()}
    work = Worker(Path(out), packs, named, budget, judging, classifier, retry, torch.device(device), progress)
    return work.through(plan, cells, shard)


def compare_runs(
    out: str | Path,
    runs: Sequence[str | Path],
    data: Mapping[str, Pack] | None = None,
    *,
    attributes: Sequence[str] = (),
    judging: Judging = Judging(),  # noqa: B008 frozen
    shard: tuple[int, int] = (1, 1),
    classifier: str | Settings = "auto",
    retry: bool = False,
    device: str | torch.device = "cpu",
    command: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Judge and compare runs that were trained before, without touching them.

    Runs with the same settings but for the seed count as seeds of one method. They are judged on `data`, or on what
    each was trained on, and compared on those `attributes` that all of them learnt; the report lists the others. All
    else is as for `compare`.

    Raises:
        ValueError: The runs share no attribute, or one was trained on images that it would be judged on.
    """
    found = [FinishedRun(Path(run)) for run in runs]
    labels = grouped(found)
    check(list(labels.values()), [0], shard, judging, known=False)
    packs = {name: pack.whole() for name, pack in (data or {}).items()}
    cells = []
    for run in found:
        for name in [own_pack(run, packs)] if data is None else data:
            seen = trained_on(run, packs[name], name, judging)
            cells.append(Cell(name, labels[run.path], run.seed, None, run.path, seen))
    named: dict[str, list[str]] = {}
    about_data = {}
    for name, pack in packs.items():
        there = {cell.run for cell in cells if cell.data == name}
        named[name], rest = shared([run for run in found if run.path in there], pack, attributes)
        about_data[name] = described(pack, named[name], attributes) | {"not_shared": rest}
    plan = {
        "data": about_data,
        "methods": list(dict.fromkeys(labels.values())),
        "seeds": sorted({cell.seed for cell in cells}),
        "budget": None,
        "judging": judging.to_json(),
        "settings": {name: {labels[run.path]: run.about() for run in found} for name in packs},
        "commands": [command] * bool(command),
    }
    work = Worker(Path(out), packs, named, None, judging, classifier, retry, torch.device(device), progress)
    return work.through(plan, cells, shard)
