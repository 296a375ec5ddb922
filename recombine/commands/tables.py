"""`recombine tables`: the papers' tables, ours beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recombine.commands.options import Flag, print_json, say, stoppable

if TYPE_CHECKING:
    from recombine.papers import DataFolders


def tables(
    names: list[str] | None = None,
    /,
    *,
    list_: Flag = False,
    data: list[str] | None = None,
    images: int | None = None,
    seeds: int = 1,
    judge: Literal["auto", "quick", "thorough"] = "auto",
    out: Path = Path("runs/tables"),
    json: Flag = False,
) -> None:
    """Train and measure what the papers' tables show, and print ours beside theirs.

    For example:

        recombine tables --list
        recombine tables advattr.fig5
        recombine tables ifcvaegan.table3 --data photos --images 20000
        recombine tables all --data photos --data sheets

    Every table is also written as table.json and table.md. Stopped, the same
    command goes on; tables that need the same training share it.

    Args:
        names: Tables, such as ifcvaegan.table3, a paper's short name for all of its tables, or all.
        list_: List the tables, the data each needs, and whether it can be run with what is given.
        data: Labelled photographs, a pack of them, sprite sheets, or avatars (always there); may be repeated.
        images: Images seen by every training; thousands, the table's own number, when not given.
        seeds: Trainings of every row.
        judge: Training of the classifier of edits, once for a data set; auto is thorough where quick is not good.
        out: Where trainings and tables are written.
        json: Print JSON.
    """
    from rich.console import Console

    from recombine.files import check_writable
    from recombine.papers import TABLES, DataFolders, Workspace, run_table
    from recombine.papers.running import SIGNS, printable

    folders = DataFolders.sort(data or [])
    if list_ or not names:
        return show_list(folders, images, json)
    check_writable(out)
    console = Console(highlight=False, width=None if Console().is_terminal else 200)
    workspace, results = Workspace(out, folders, judge, say), []
    chosen = [TABLES[name] for name in choose(names)]
    missing = {table.name: why for table in chosen if (why := table.missing(folders))}
    if len(chosen) == len(missing) == 1:
        raise ValueError(f"{chosen[0].name} cannot be run: {missing[chosen[0].name]}")
    for table in chosen:
        if table.name in missing:
            say(f"not run: {table.name}: {missing[table.name]}")
            continue
        with stoppable():
            results.append(run_table(table, workspace, images, seeds))
        if not json:
            console.print(printable(table, results[-1]))
            console.print()
    if json:
        print_json(results)
    elif len(results) > 1:
        for result in results:
            print(f"{result['name']}: {SIGNS[result['claim']['holds']]}: {result['claim']['why']}")
    return None


def choose(names: list[str]) -> list[str]:
    """Names of tables, of papers, or `all`, as names of tables."""
    from recombine.papers import TABLES, find_table

    papers = {name.split(".")[0] for name in TABLES}
    chosen: dict[str, None] = {}
    for name in names:
        if name in papers or name == "all":
            chosen.update(dict.fromkeys(t for t in TABLES if name in ("all", t.split(".")[0])))
        else:
            chosen[find_table(name).name] = None
    return list(chosen)


def show_list(folders: DataFolders, images: int | None, json: bool) -> None:
    """All tables: what they show, the paper's data, what stands in, whether they can be run, and minutes."""
    from recombine.papers import TABLES

    rows = [
        {
            "name": table.name, "title": table.title, "paper_data": table.setup.data, "here": table.setup.stand_in,
            "claim": table.claim.words, "missing": table.missing(folders),
            "not_run": {row.name: row.why_not for row in table.rows if row.why_not},
            "minutes": round(table.minutes * (images or table.images) / table.images, 1),
        }
        for table in TABLES.values()
    ]  # fmt: skip
    if json:
        return print_json(rows)
    for row in rows:
        print(f"{row['name']}: {row['title']}")
        print(f"    the paper: {row['paper_data']}; here: {row['here']}")
        can = f"cannot be run: {row['missing']}" if row["missing"] else "can be run"
        print(f"    {can}; about {row['minutes']:g} minutes on one core")
        for name, why in row["not_run"].items():
            print(f"    without {name}: {why}")
    count = sum(not row["missing"] for row in rows)
    print(f"{count} of {len(rows)} can be run with what is given")
    return None
