"""Images inside a page: label edits and swaps of judged images, each embedded as a PNG."""

from __future__ import annotations

import base64
import io
import json
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image
from torch import Tensor

from recombine.codes import Codes
from recombine.data.images import to_pixels
from recombine.data.schema import Attribute
from recombine.edit import set_label, swap
from recombine.evaluation.measures import shown, shown_interval
from recombine.method import Method

MOST_ATTRIBUTES = 16  # with images of their own on the page


class Embedded(NamedTuple):
    """A PNG inside the page."""

    source: str                             # a data: address
    width: int                              # on the page, in pixels
    text: str                               # where it cannot be seen


def label_figures(model: Method, codes: Codes, images: Tensor) -> dict[str, dict[str, Embedded]]:
    """Columns of images: originals and reconstructions under "", then every value of every attribute under its name."""
    columns: dict[str, dict[str, Tensor]] = {"": {"original": images, "reconstructed": model.decode(codes)}}
    editable = [a for a in model.schema.attributes if a.kind != "group" and a.name in codes]
    for a in editable[:MOST_ATTRIBUTES]:
        edits = {text: set_label(model, codes, **{a.name: value}) for text, value in shown_values(a)}
        columns[a.name] = {text: model.decode(edited) for text, edited in edits.items()}
    return {
        name: {text: embed(column[:, None], f"{name} {text}".strip()) for text, column in several.items()}
        for name, several in columns.items()
    }


def swap_figures(model: Method, targets: Codes, images: Tensor, sources: Codes, lending: Tensor) -> dict[str, Embedded]:
    """For every part one figure: targets (`images`) on the left, sources (`lending`) above, every swap between them."""
    labelled = [name for name in targets if name in model.schema.names]
    figures = {}
    for name in (labelled or list(targets))[:MOST_ATTRIBUTES]:
        swapped = [model.decode(swap(sources, targets[i], name)[1]) for i in range(len(images))]
        rows = [torch.cat([target[None], across]) for target, across in zip(images, swapped, strict=True)]
        corner = torch.full_like(lending[:1], torch.nan)
        canvas = torch.stack([torch.cat([corner, lending]), *rows])
        figures[name] = embed(canvas, f"swaps of {name}", apart=4)
    return figures


def shown_values(attribute: Attribute) -> list[tuple[str, Any]]:
    """The values that get a column, each with its heading."""
    if attribute.kind == "continuous":
        low, high = attribute.low or 0.0, attribute.high or 0.0
        return [(f"{value:.3g}", value) for value in (low, (low + high) / 2, high)]
    if attribute.values == ("0", "1"):
        return [("no", 0), ("yes", 1)]
    return [(value, value) for value in attribute.values]


def embed(canvas: Tensor, text: str, gap: int = 2, apart: int = 0) -> Embedded:
    """Images `[down, across, channels, height, width]` in [-1, 1] as one PNG with clear gaps; NaN stays clear.

    The first row and column stand `apart` pixels more from the others.
    """
    down, across, channels, height, width = canvas.shape
    canvas = (canvas if channels == 3 else canvas[:, :, :1].expand(-1, -1, 3, -1, -1)).cpu()
    size = (down * (height + gap) - gap + apart, across * (width + gap) - gap + apart)
    pixels = np.zeros((*size, 4), np.uint8)
    for i, j in product(range(down), range(across)):
        if not canvas[i, j].isnan().any():
            top, left = i * (height + gap) + apart * (i > 0), j * (width + gap) + apart * (j > 0)
            cell = pixels[top : top + height, left : left + width]
            cell[..., :3], cell[..., 3] = to_pixels(canvas[i, j]).transpose(1, 2, 0), 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Embedded(f"data:image/png;base64,{data}", size[1] * max(1, round(64 / width)), text)


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
