"""Pages from the templates beside this file. In HTML every variable is escaped; one that was not given is an error."""

from __future__ import annotations

import json

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from recombine.evaluation.measures import shown, shown_interval

TEMPLATES = Environment(
    loader=PackageLoader("recombine.reports"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {
    "shown": shown,
    "interval": shown_interval,
    "thousands": lambda number: f"{number:,}",
    "json": lambda value: json.dumps(value, indent=1, ensure_ascii=False),
}


def render(template: str, **values: object) -> str:
    """A page from one of the templates and its values."""
    return TEMPLATES.get_template(template).render(values)
