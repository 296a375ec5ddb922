"""Text inside a page: escaped, under headings, and numbers as they are shown."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence


def escape(text: object) -> str:
    """Text that stays text inside the page."""
    return html.escape(str(text))


def section(name: str, parts: Sequence[str], lead: str = "") -> str:
    """A heading with its parts; nothing where there is none."""
    parts = [part for part in parts if part]
    lead = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(name)}</h2>{lead}{''.join(parts)}</section>" if parts else ""


def look(values: Mapping, *path: str) -> Mapping | None:
    """What stands at a path of names; None where it was not measured."""
    for name in path:
        if not isinstance(values, Mapping) or name not in values:
            return None
        values = values[name]
    return values


def span(found: Mapping, unit: Callable[[float], str]) -> str:
    """An interval as it is shown, the unit once."""
    low, high = unit(found["low"]), unit(found["high"])
    return f"{low.split()[0]} to {high}"


def percent(value: float) -> str:
    """A share as it is shown."""
    return f"{100 * value:.1f} %"


def decibel(value: float) -> str:
    """A PSNR as it is shown."""
    return f"{value:.1f} dB"


def number(value: float) -> str:
    """A plain number as it is shown."""
    return f"{value:.3f}"
