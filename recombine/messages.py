"""Lists, near misses and options as messages show them, and which process shows them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_on_command_line = ContextVar("_on_command_line", default=False)


@contextmanager
def command_line() -> Iterator[None]:
    """Inside, messages spell options as the command line takes them."""
    token = _on_command_line.set(True)
    try:
        yield
    finally:
        _on_command_line.reset(token)


def option(name: str, value: str | bool | None = None) -> str:
    """An option in a message: `on_bad='skip'` in Python, `--on-bad skip` inside `command_line()`."""
    if not _on_command_line.get():
        return f"the option {name}" if value is None else f"{name}={value!r}"
    said = f"{'no-' if value is False else ''}{name.replace('_', '-')}"
    return f"--{said} {value}" if isinstance(value, str) else f"--{said}"


def process_number() -> int:
    """This process's number among those that `torchrun` started, the first of which speaks for all; 0 where alone."""
    return int(os.environ.get("RANK", 0)) if int(os.environ.get("WORLD_SIZE", 1)) > 1 else 0


def shown(names: tuple[str, ...] | list[str], most: int = 12) -> str:
    """A list of names for a message, cut where it would fill the screen."""
    text = ", ".join(map(str, names[:most]))
    return f"{text}, ... ({len(names)} in all)" if len(names) > most else text or "none"


def printable(text: str) -> str:
    """A name that is safe to show: control characters, direction marks and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def nearest(name: str, names: tuple[str, ...] | list[str]) -> str:
    """`; did you mean 'X'?`, or nothing when no name is close."""
    from difflib import get_close_matches

    lowered = {str(n).lower(): str(n) for n in names}
    close = get_close_matches(str(name).lower(), list(lowered), n=1)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""
