"""Images read from files, saved to files, and laid side by side in grids."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from recombine.data.decoding import fitted, read
from recombine.data.images import to_float, to_pixels
from recombine.data.schema import Schema
from recombine.files import write_bytes

NOTE = "edited with recombine"              # what an output may carry, in its own words and as the IPTC code below
SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    f'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" i:DigitalSourceType="{SYNTHETIC}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)


def read_images(
    *paths: str | Path | bytes, size: int | tuple[int, int] | None = None, schema: Schema | None = None
) -> Tensor | list[Tensor]:
    """Read images by the same rules as packing.

    Args:
        paths: Files, or their bytes.
        size: (height, width), or one number for both; without it the schema's or else each image's own.
        schema: How images are prepared (a model's `schema`); without it colour, cropped in the middle.

    Returns:
        One tensor [1, channels, height, width] for one path; a list of them for several.

    Raises:
        BadImage: A file cannot be used; the message names it and the reason.
    """
    if not paths:
        raise ValueError("read_images needs at least one path")
    images = [_read_one(path, size, schema) for path in paths]
    return images[0] if len(images) == 1 else images


def _read_one(path: str | Path | bytes, size: int | tuple[int, int] | None, schema: Schema | None) -> Tensor:
    raw = read(path)
    prepared = schema or Schema(bits=16 if raw.deep else 8)
    if size is None and schema is None:
        width, height = raw.size
        size = height, width
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        prepared = replace(prepared, height=height, width=width)
    return to_float(fitted(raw, prepared, path))[None]


def save_images(
    images: Tensor, path: str | Path | Sequence[str | Path], bits: int = 8, note: str | None = None
) -> list[Path]:
    """Save images as PNG, JPEG or WebP, by the ending of the name; no EXIF, no place is ever written.

    Args:
        images: [batch, channels, height, width] or [channels, height, width] in [-1, 1]; 1 or 3 channels.
        path: One path for one image, or as many as there are images. One path for several is numbered: `a_0.png`, ...
        bits: 8, or 16 (PNG only).
        note: A text to leave in the file, say `NOTE`; it comes with the IPTC code for AI-edited images.

    Returns:
        The files written.
    """
    images = images[None] if images.ndim == 3 else images
    if isinstance(path, str | Path):
        path, width = Path(path), len(str(len(images) - 1))
        several = [path.with_name(f"{path.stem}_{i:0{width}d}{path.suffix}") for i in range(len(images))]
        path = [path] if len(images) == 1 else several
    paths = list(map(Path, path))
    if len(paths) != len(images):
        raise ValueError(f"{len(images)} images cannot be saved under {len(paths)} paths")
    for pixels, target in zip(to_pixels(images, bits), paths, strict=True):
        write_bytes(target, encoded(pixels, target.suffix.lower(), note))
    return paths


def encoded(pixels: np.ndarray, suffix: str, note: str | None = None) -> bytes:
    """An image file's bytes from pixels [1 or 3, height, width], uint8, or uint16 for PNG; ValueError for others."""
    if len(pixels) not in (1, 3):
        raise ValueError(f"an image file has 1 or 3 channels, this image has {len(pixels)}; save it with numpy.save")
    if suffix not in (".png", ".jpg", ".jpeg", ".webp"):
        raise ValueError(f"images are saved as .png, .jpg or .webp, not {suffix or 'without an ending'!r}")
    if pixels.dtype == np.uint16:
        if suffix != ".png":
            raise ValueError(f"16 bits can only be saved as .png, not {suffix}")
        return png16(pixels, note)
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    buffer, text, noted = BytesIO(), PngImagePlugin.PngInfo(), {"xmp": XMP.encode()} if note else {}
    if note:
        text.add_itxt("Comment", note)
        text.add_itxt("XML:com.adobe.xmp", XMP)
    if suffix == ".png":
        image.save(buffer, "PNG", pnginfo=text)
    elif suffix == ".webp":
        image.save(buffer, "WEBP", quality=95, **noted)
    else:
        comment = {"comment": note.encode()} if note else {}
        image.save(buffer, "JPEG", quality=95, subsampling=0, **noted, **comment)
    return buffer.getvalue()


def png16(pixels: np.ndarray, note: str | None = None) -> bytes:
    """A PNG of 16 bits per channel from pixels [1 or 3, height, width]; Pillow writes colour with 8 bits only."""
    channels, height, width = pixels.shape
    rows = np.moveaxis(pixels, 0, -1).astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    lines = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])  # filter 2: the difference to the row above
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if channels == 1 else 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")]
    if note:
        texts = [("Comment", note), ("XML:com.adobe.xmp", XMP)]
        chunks[1:1] = [(b"iTXt", key.encode("latin-1") + bytes(5) + text.encode()) for key, text in texts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def grid(
    images: Tensor | Sequence[Sequence[Tensor]], columns: int | None = None, *,
    gap: int = 2, titles: Sequence[str] = (), captions: Sequence[str] = (),
) -> Tensor:  # fmt: skip
    """Images side by side, white gaps between them.

    Args:
        images: [batch, channels, height, width], laid row by row, or rows of images [1, channels, height, width].
        columns: Images in a row of the first form; without it, about as many as rows.
        gap: Pixels between images.
        titles: A text above every column.
        captions: A text left of every row.

    Returns:
        [1, channels, height, width]; fewer images than places leave white.
    """
    across = columns or math.ceil(len(images) ** 0.5) or 1
    laid = [images[i : i + across] for i in range(0, len(images), across)] if isinstance(images, Tensor) else images
    rows = [list(row) for row in laid if len(row)]
    if not rows:
        raise ValueError("a grid needs at least one image")
    first = rows[0][0]
    channels, height, width = first.shape[-3:]
    across = max(map(len, rows))
    canvas = torch.ones(channels, len(rows) * (height + gap) - gap, across * (width + gap) - gap)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image.shape[-3:] != first.shape[-3:]:
                raise ValueError(f"images of a grid have one shape; {tuple(first.shape)} and {tuple(image.shape)} came")
            top, left = i * (height + gap), j * (width + gap)
            canvas[:, top : top + height, left : left + width] = image.detach().reshape(channels, height, width)
    return _lettered(canvas, titles, captions, height + gap, width + gap)[None]


def _lettered(canvas: Tensor, titles: Sequence[str], captions: Sequence[str], down: int, across: int) -> Tensor:
    """The canvas with texts above its columns, in as many lines as they need, and left of its rows."""
    font = ImageFont.load_default(11)
    above = [_wrapped(text, across, font) for text in titles]
    header = 14 * max((text.count("\n") + 1 for text in above), default=0)
    margin = max((math.ceil(font.getlength(text)) + 4 for text in captions), default=0)
    channels, height, width = canvas.shape
    paper = Image.new("L", (width + margin, height + header), 255)
    for j, text in enumerate(above):
        label = Image.new("L", (across, header), 255)
        ImageDraw.Draw(label).multiline_text((0, 0), text, fill=0, font=font, spacing=2)
        paper.paste(label, (margin + j * across, 0))
    for i, text in enumerate(captions):
        ImageDraw.Draw(paper).text((2, header + i * down + down // 2 - 7), text, fill=0, font=font)
    lettered = to_float(np.asarray(paper)).expand(channels, -1, -1).clone()
    lettered[:, header:, margin:] = canvas
    return lettered


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    lines: list[str] = []
    for word in text.replace("_", " ").split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)
