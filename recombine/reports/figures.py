"""Images inside a page: label edits and swaps of judged images, each embedded as a PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from recombine.codes import Codes
from recombine.data.images import to_pixels
from recombine.data.schema import Attribute
from recombine.edit import set_label, swap
from recombine.method import Method
from recombine.reports.words import escape

MOST_ATTRIBUTES = 16  # with images of their own on the page


def label_figures(model: Method, codes: Codes, images: Tensor) -> str:
    """A table of images: the original, its reconstruction, and one column a value."""
    groups = [("", [("original", images), ("rebuilt", model.decode(codes))])]
    editable = [a for a in model.schema.attributes if a.kind != "group" and a.name in codes]
    for attribute in editable[:MOST_ATTRIBUTES]:
        labels: list[tuple[str, dict[str, Any]]] = [(text, {attribute.name: v}) for text, v in shown_values(attribute)]
        edited = [(text, model.decode(set_label(model, codes, **label))) for text, label in labels]
        groups.append((attribute.name, edited))
    top = "".join(f'<th colspan="{len(columns)}">{escape(name)}</th>' for name, columns in groups)
    names = "".join(f"<th>{escape(text)}</th>" for _, columns in groups for text, _ in columns)
    cells = "".join(
        f'<td>{picture(strip(images), f"{name} {text}".strip(), images.shape[-1])}</td>' for name, columns in groups for text, images in columns
    )
    return f'<div class="wide"><table class="images"><thead><tr>{top}</tr><tr>{names}</tr></thead><tbody><tr>{cells}</tr></tbody></table></div>'


def swap_figures(model: Method, codes: Codes, images: Tensor, given: Codes, giving: Tensor) -> Iterator[str]:
    """For every part one figure: takers on the left, givers above, every swap between them."""
    labelled = [name for name in codes if name in model.schema.names]
    parts = labelled if labelled else list(codes)
    for name in parts[:MOST_ATTRIBUTES]:
        rows = [torch.cat([taker[None], model.decode(swap(given, codes[i], name)[1])]) for i, taker in enumerate(images)]
        corner = torch.full_like(giving[:1], torch.nan)
        canvas = torch.stack([torch.cat([corner, giving]), *rows])  # [1 + takers, 1 + givers, channels, height, width]
        yield f"<figure>{picture(canvas, f'swaps of {name}', images.shape[-1], apart=4)}<figcaption>{escape(name)}</figcaption></figure>"


def shown_values(attribute: Attribute) -> list[tuple[str, object]]:
    """The values that get a column, each with its heading."""
    if attribute.kind == "continuous":
        low, high = attribute.low or 0.0, attribute.high or 0.0
        return [(f"{value:.3g}", value) for value in (low, (low + high) / 2, high)]
    if attribute.values == ("0", "1"):
        return [("no", 0), ("yes", 1)]
    return [(value, value) for value in attribute.values]


def strip(images: Tensor) -> Tensor:
    """Images below each other, as a canvas `[pictures, 1, channels, height, width]`."""
    return images[:, None]


def picture(canvas: Tensor, text: str, width: int, gap: int = 2, apart: int = 0) -> str:
    """An embedded PNG of images `[down, across, channels, height, width]` with clear gaps; NaN stays clear.

    The first row and column stand `apart` pixels more from the others.
    """
    down, across, channels, height, wide = canvas.shape
    canvas = (canvas if channels == 3 else canvas[:, :, :1].expand(-1, -1, 3, -1, -1)).cpu()
    pixels = np.zeros((down * (height + gap) - gap + apart, across * (wide + gap) - gap + apart, 4), np.uint8)
    for i, j in product(range(down), range(across)):
        if not canvas[i, j].isnan().any():
            top, left = i * (height + gap) + apart * (i > 0), j * (wide + gap) + apart * (j > 0)
            place = pixels[top : top + height, left : left + wide]
            place[..., :3], place[..., 3] = to_pixels(canvas[i, j]).transpose(1, 2, 0), 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    size = round(pixels.shape[1] * max(1, round(64 / width)))
    return f'<img src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}" width="{size}" alt="{escape(text)}">'
