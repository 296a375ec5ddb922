"""Lists and near misses as error messages show them."""

from __future__ import annotations


def shown(names: tuple[str, ...] | list[str], most: int = 12) -> str:
    """A list of names for a message, cut where it would fill the screen."""
    text = ", ".join(map(str, names[:most]))
    return f"{text}, ... ({len(names)} in all)" if len(names) > most else text or "none"


def nearest(name: str, names: tuple[str, ...] | list[str]) -> str:
    """`; did you mean 'X'?`, or nothing when no name is close."""
    from difflib import get_close_matches

    lowered = {str(n).lower(): str(n) for n in names}
    close = get_close_matches(str(name).lower(), list(lowered), n=1)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""
