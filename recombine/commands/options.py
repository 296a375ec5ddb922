"""What several commands share: kinds of options, `NAME=VALUE` pairs, results as text or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token


def split_at_commas(_: object, tokens: Sequence[Token]) -> tuple[str, ...]:
    """`A,B` and `A --again B` both give A and B."""
    return tuple(name.strip() for token in tokens for name in token.value.split(",") if name.strip())


METHODS = Path(__file__).parents[1] / "methods"
METHOD_NAMES = sorted(path.stem for path in METHODS.glob("[!_]*.py"))  # without importing them, which takes seconds
Names = Annotated[tuple[str, ...], Parameter(converter=split_at_commas, n_tokens=1)]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
JudgeImages = Annotated[int, Parameter(name=("--judge-images", "--pictures"))]  # the second is the older name


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """`["a=1", "b=2"]` as a dict.

    Raises:
        ValueError: A pair has no `=`, or a name stands twice with different values.
    """
    result: dict[str, str] = {}
    for text in given or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ValueError(f"{option} takes NAME=VALUE, for example {option} Smiling=1, not {text!r}")
        if result.setdefault(name, value) != value:
            raise ValueError(f"{option} {name} is given twice, as {result[name]!r} and as {value!r}; keep one")
    return result


def say(text: str) -> None:
    """Write a line to stderr, so that stdout holds results alone."""
    print(text, file=sys.stderr)


def best_device() -> str:
    """The GPU where there is one, otherwise the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def print_json(result: Any) -> None:
    """Write a result to stdout as JSON."""
    json.dump(result, sys.stdout, indent=2, ensure_ascii=False, default=str)
    print()


def number(text: str, option: str) -> float:
    """A number that was given as text.

    Raises:
        ValueError: It is none.
    """
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} takes numbers, not {text!r}") from None
