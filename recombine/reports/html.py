"""Pages from the templates beside this file. Every variable is escaped; one that was not given is an error."""

from __future__ import annotations

import json

from jinja2 import Environment, PackageLoader, StrictUndefined

from recombine.evaluation.measures import shown, shown_interval

TEMPLATES = Environment(
    loader=PackageLoader("recombine.reports"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "shown": shown,
    "interval": shown_interval,
    "thousands": lambda number: f"{number:,}",
    "json": lambda value: json.dumps(value, indent=1, ensure_ascii=False),
}


def render(template: str, **values: object) -> str:
    """A page: `run.html` or `comparison.html` with its values."""
    return TEMPLATES.get_template(template).render(values)
