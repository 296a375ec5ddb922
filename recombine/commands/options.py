"""What several commands share: kinds of options, results as text or JSON, the monitor of a training, and stopping."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from recombine.messages import process_number

if TYPE_CHECKING:
    from recombine.data.packed import Pack
    from recombine.evaluation.classifier import Classifier
    from recombine.training.engine import Monitor
    from recombine.training.recipe import Recipe


def split_at_commas(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """`A,B` and `A --again B` both give A and B."""
    return tuple(name.strip() for token in tokens for name in token.value.split(",") if name.strip())


METHOD_NAMES = sorted(  # without importing them, which takes seconds
    path.stem for path in (Path(__file__).parents[1] / "methods").glob("[!_]*.py")
)
Names = Annotated[tuple[str, ...], Parameter(converter=split_at_commas, n_tokens=1)]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Judge = Literal["auto", "quick", "thorough", "none"]  # training of the classifier, the same in all commands
JudgeImages = Annotated[int, Parameter(name=("--judge-images", "--pictures"))]  # the second is the older name


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """`["a=1", "b=2"]` as a dict; raises ValueError for a pair without `=`, or a name with two values."""
    result: dict[str, str] = {}
    for text in given or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ValueError(f"{option} takes NAME=VALUE, for example {option} Smiling=1, not {text!r}")
        if result.setdefault(name, value) != value:
            raise ValueError(f"{option} {name} is given twice, as {result[name]!r} and as {value!r}; keep one")
    return result


def say(text: str) -> None:
    """Write a line to stderr, so that stdout holds results alone; of several processes only the first does."""
    if process_number() == 0:
        print(text, file=sys.stderr)


def best_device() -> Literal["cpu", "cuda"]:
    """The GPU where there is one, otherwise the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def print_json(result: Any) -> None:
    """Write a result to stdout as JSON; of several processes only the first does."""
    if process_number():
        return
    json.dump(result, sys.stdout, indent=2, ensure_ascii=False, default=str)
    print()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table without lines; nothing in its cells is read as markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)


def number(text: str, option: str) -> float:
    """A number that was given as text; raises ValueError for other text."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} takes numbers, not {text!r}") from None


def watcher(pack: Pack, judge: str, recipe: Recipe) -> Monitor:
    """Measures edits during the training; its classifier is trained when it is first needed, after all checks."""
    from recombine.training.monitor import EditMonitor, affordable
    from recombine.training.runs import learnt

    made, edited = affordable(recipe.train), learnt(recipe, pack.schema)
    monitor = cache(lambda: EditMonitor(pack, find_classifier(pack, judge), made=made, attributes=edited))
    return lambda method, path: monitor()(method, path)


def find_classifier(pack: Pack, judge: str) -> Classifier | None:
    """The classifier that judges edits; None where it has nothing to learn."""
    import torch

    from recombine.evaluation.classifier import judge_classifier

    if judge == "none":
        return None
    try:
        with torch.enable_grad():
            return judge_classifier(pack, preset=judge, device=best_device(), progress=say)
    except ValueError as reason:
        say(f"edits are not judged during the training: {reason}")
        return None


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn a training that was asked to stop into a sentence and an exit code."""
    from recombine.training.engine import Interrupted

    try:
        yield
    except Interrupted as stop:
        say(str(stop))
        raise SystemExit(130 if stop.signal_number == signal.SIGINT else 143) from None
