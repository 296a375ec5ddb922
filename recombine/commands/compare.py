"""`recombine compare`: methods, seeds and data under one budget, or finished runs, and a page of their numbers."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, Token

from recombine.commands.options import Flag, Judge, Names, best_device, print_json, print_table, say, stoppable
from recombine.commands.reading import Reading, draw, is_drawn

if TYPE_CHECKING:
    from recombine.data.packed import Pack


def split_labels(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """`A,B:x=1,2` as A and B:x=1,2: what does not begin with a letter belongs to the values before it."""
    labels: list[str] = []
    for token in tokens:
        for text in filter(None, map(str.strip, token.value.split(","))):
            if labels and "=" in labels[-1] and not text[0].isalpha():
                labels[-1] += f",{text}"
            else:
                labels.append(text)
    return tuple(labels)


Methods = Annotated[tuple[str, ...], Parameter(converter=split_labels, n_tokens=1)]


def compare(
    *data: str,
    out: Path,
    methods: Methods | None = None,
    runs: Annotated[list[Path] | None, Parameter(consume_multiple=True)] = None,
    attributes: Names | None = None,
    seeds: int = 3,
    images: int | None = None,
    seconds: float | None = None,
    shard: str = "1/1",
    pair_by: str | None = None,
    judge_images: Annotated[int, Parameter(name=("--judge-images", "--judge-pictures"))] = 400,
    split: Literal["train", "val", "test"] = "val",
    measures: Names | None = None,
    judge: Annotated[Judge, Parameter(name=("--judge", "--referee"))] = "auto",
    drawn: Annotated[int, Parameter(name=("--drawn", "--avatars"))] = 8_000,
    allow_training_data: Flag = False,
    retry: Flag = False,
    report_only: Flag = False,
    reading: Reading | None = None,
    json: Flag = False,
) -> None:
    r"""Compare methods on the same data under one budget, or runs that are finished.

    For example, three methods and one of them without its key idea, on synthetic faces:

        recombine compare avatars --methods advattr,mad,ifcvaegan,ifcvaegan:aux_weight=0 \
            --attributes glasses,expression --images 20000 --size 32 --out faces

    The same command again goes on where it was stopped. Started several times, also on
    several machines that share the folder, each takes runs that no other process works on.
    More seeds, methods and data may be added.

    Runs that were trained before are judged where they are:

        recombine compare --runs runs/a runs/b --out ab

    It writes report.html, report.md, table.csv and report.json.

    Args:
        data: Folders of labelled images, packs, or the words avatars or letters; with --runs, what to judge on.
        out: The comparison's folder.
        methods: Short names, separated by commas; NAME:PRESET, NAME:SETTING=VALUE, or several of these joined by +.
        runs: Folders of finished runs, to compare these.
        attributes: Attributes to learn and compare, separated by commas; all with values when not given.
        seeds: How many times each method is trained.
        images: Budget: images that each run sees; a pair counts as two.
        seconds: Budget: seconds that each run trains, by its speed in a short trial.
        shard: I/N, to work on every N-th run alone, from the I-th.
        pair_by: Group that pair-supervised methods draw pairs from; clip of avatars, or the first, when not given.
        judge_images: At most so many images are judged.
        split: The split that is judged.
        measures: Some of reconstruction, judge, edits, truth, parts, leakage, information, realism, disentanglement.
        judge: Training of the classifier of edits, once for a data set; auto is thorough where quick is not good.
        drawn: How many avatars or letters are drawn.
        allow_training_data: Judge images that runs were trained on, and mark the result.
        retry: Work again on what failed, or could not work with the data.
        report_only: Write the report from what is there, and train nothing.
        reading: How images are read.
        json: Print the report's numbers as JSON.
    """
    from recombine.comparison.compare import Budget, Judging, compare, compare_runs
    from recombine.comparison.page import report

    if report_only:
        page = report(out)
    else:
        if bool(methods) == bool(runs):
            raise ValueError("name what to compare: --methods to train, or --runs that are finished")
        judging = Judging(judge_images, split, allow_training_data, measures or Judging.sections)
        budget = None if runs else Budget(images, seconds)
        from_shell = Path(sys.argv[0]).name in ("recombine", "__main__.py")
        command = shlex.join(["recombine", *sys.argv[1:]]) if from_shell else ""
        common = {
            "judging": judging, "attributes": attributes or (), "shard": part(shard), "classifier": judge,
            "retry": retry, "device": best_device(), "command": command, "progress": say,
        }  # fmt: skip
        with stoppable():
            packs = find_packs(data, out, reading or Reading(), drawn)
            if runs:
                page = compare_runs(out, runs, packs or None, **common)
            else:
                if not packs:
                    raise ValueError("name what to compare on: folders of labelled images, packs, avatars, or letters")
                assert budget is not None
                page = compare(out, packs, methods or (), budget=budget, seeds=seeds, pair_by=pair_by, **common)
    show(page, json)


def part(text: str) -> tuple[int, int]:
    """`1/2` as (1, 2); raises ValueError for other text."""
    first, _, last = text.partition("/")
    if not (first.isdigit() and last.isdigit()):
        raise ValueError(f"--shard takes I/N, such as 1/2, not {text!r}")
    return int(first), int(last)


def find_packs(data: Sequence[str], out: Path, reading: Reading, drawn: int) -> Mapping[str, Pack]:
    """Name -> pack of everything to compare on; generated or packed by one process while the others wait."""
    from recombine.comparison.finished_runs import named_after
    from recombine.data.packed import Pack, is_pack
    from recombine.files import check_writable
    from recombine.locks import waiting

    found: dict[str, Pack] = {}
    check_writable(out)
    for text in data:
        folder = Path(text)
        if is_drawn(text):
            with waiting(out / "data.claim"):
                found[text] = draw(text, out / "data" / text, reading, drawn)
            continue
        name = named_after(folder, found)
        if is_pack(folder):
            found[name] = Pack(folder)
        else:
            with waiting(out / "data.claim"):
                found[name] = reading.pack(folder, out / "data" / name)
    return found


def show(page: Path, as_json: bool) -> None:
    """Print the headline of a report, or all its numbers."""
    import json

    content = json.loads(page.with_name("report.json").read_text())
    if as_json:
        return print_json({**content, "page": str(page)})
    from recombine.comparison.content import rank, remarks
    from recombine.evaluation.measures import COMPARED, shown

    for name, data in content["data"].items():
        used = [m for m in COMPARED if m.headline and any(m.key in row["metrics"] for row in data["methods"].values())]
        titles = [f"{m.title}{', ' * bool(m.unit)}{m.unit}" for m in used]
        rows = []
        for method, row in data["methods"].items():
            found = [(row["metrics"].get(m.key), m.unit) for m in used]
            cells = [f"{shown(f['value'], unit, with_unit=False)} [{rank(f)}]" if f else "" for f, unit in found]
            rows.append((method, "yes" if row["front"] else "", *cells))
        print_table((name, "Pareto-optimal", *titles), rows)
        for text in remarks(data):
            print(text)
    return print(f"page: {page}")
