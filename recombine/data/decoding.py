"""One image file becomes pixels [channels, height, width]; every rule about bad, odd and hostile files is here.

In this order: the file is named by its content, its size is read from its header and limited, it is decoded, turned
upright, brought to sRGB, laid on the background where it is transparent, cut or padded to the shape of the schema and
resized. Nothing but pixels leaves this module: no EXIF, no place, no text.
"""

from __future__ import annotations

import os
import stat
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.ImageFile import ImageFile

from recombine.data.schema import Schema
from recombine.messages import printable

try:
    import simplejpeg
except ImportError:                         # without the extra `fast`; Pillow does the same, three times slower
    simplejpeg = None

MIN_SIDE = 8                                # pixels; smaller images are refused
MAX_ASPECT = 8                              # longer side by shorter side; beyond, refused whatever the fit
MAX_PIXELS = 50_000_000                     # unless the environment sets recombine_MAX_PIXELS
MAX_PROFILE = 4_000_000                     # bytes of a colour profile that is still read
ORIENTATION = 0x0112                        # EXIF tag ...
SIDEWAYS = (5, 6, 7, 8)                     # ... and its values for images that lie on their side
UNSTATED = "range not stated"               # kind of images that can be decoded and still not be used
TRUNCATED = ("truncated", "premature end", "unexpected end", "incomplete", "not enough")    # in decoders' complaints
GREY = (0.299, 0.587, 0.114)                # ITU-R 601, as Pillow's mode L

FORMATS = (                                 # how the files begin that are read
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"BM", "BMP"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
)  # fmt: skip
OTHERS = (                                  # and of those that are only named
    (b"version https://git-lfs", "a Git LFS pointer: the image was never downloaded, run `git lfs pull`"),
    (b"<!doctype html", "an HTML page: the download failed, get the file again"),
    (b"<html", "an HTML page: the download failed, get the file again"),
    (b"<svg", "an SVG drawing: export it as PNG"), (b"<?xml", "an XML file: export it as PNG if it is a drawing"),
    (b"%pdf", "a PDF: export the image as PNG"), (b"%!ps", "a PostScript file: export it as PNG"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file: export it as PNG"), (b"8bps", "a Photoshop file: export it as PNG"),
    (b"simple  =", "a FITS file: export it as 16-bit PNG"), (b"pk\x03\x04", "a ZIP archive: unpack it"),
    (b"\x1f\x8b", "a gzip archive: unpack it"), (b"\0\0\0\x0cjp  ", "a JPEG 2000 image: convert it to PNG"),
    (b"\x93numpy", "a NumPy array: use recombine.data.packed.write_pack"), (b"{", "a JSON text, not an image"),
)  # fmt: skip


class BadImage(ValueError):
    """A file that cannot be used as an image.

    Attributes:
        path: The file, or what stands for it.
        reason: What is wrong and what to do.
        kind: A short word for counting: "not an image", "truncated", "damaged", "too small", ...
    """

    def __init__(self, path: object, reason: str, kind: str = "damaged"):
        self.path, self.reason, self.kind = path, reason, kind
        super().__init__(f"{printable(str(path))}: {reason}")

    def __reduce__(self):
        return BadImage, (self.path, self.reason, self.kind)


@dataclass
class RawImage:
    """A decoded image, upright, before it is fitted to a schema."""

    pixels: Image.Image | np.ndarray        # 8 bits: mode L, LA, RGB or RGBA; deeper: float32 [height, width, 1 to 4]
    own_unit: bool = False                  # whether numbers are the file's own; otherwise fractions of its full range
    alpha: bool = False                     # whether the last channel is opacity
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.size if isinstance(self.pixels, Image.Image) else self.pixels.shape[1::-1]

    @property
    def deep(self) -> bool:
        """Whether it has more than 8 bits."""
        return not isinstance(self.pixels, Image.Image)


@dataclass(frozen=True)
class Look:
    """What an image is like, upright, as its header tells."""

    width: int                              # pixels
    height: int                             # pixels
    grey: bool                              # whether it has no colour
    deep: bool                              # whether it has more than 8 bits


def decode(source: str | Path | bytes, schema: Schema) -> np.ndarray:
    """An image [channels, height, width] in the format of the schema, from a file or its bytes.

    What is odd but bearable is a Python warning; raises BadImage where the file cannot be used.
    """
    pixels, notes = decode_noted(source, schema)
    for note in notes:
        warnings.warn(f"{name_of(source)}: {note}", stacklevel=2)
    return pixels


def decode_noted(
    source: str | Path | bytes, schema: Schema, allow_truncated: bool = False
) -> tuple[np.ndarray, list[str]]:
    """`decode`, with the notes returned; `allow_truncated` keeps the top part of a JPEG that was cut off."""
    if schema.channels not in (1, 3):
        found = f"image files have 1 or 3 channels, the schema has {schema.channels}"
        raise ValueError(f"{found}; give such images as arrays to recombine.data.packed.write_pack")
    raw = read(source, allow_truncated)
    return fitted(raw, schema, name_of(source)), raw.notes


def read(source: str | Path | bytes, allow_truncated: bool = False) -> RawImage:
    """Decode a file without fitting it to a schema."""
    name, (data, kind, image) = name_of(source), opened(source)
    notes: list[str] = []
    try:
        if getattr(image, "is_animated", False):
            notes.append("has several frames or pages; only the first is used")
        return RawImage(*decoded(image, data, notes), notes=notes)
    except BadImage as error:
        raise BadImage(name, error.reason, error.kind) from error
    except Exception as error:  # a decoder fed with rubbish raises anything
        truncated = any(word in str(error).lower() for word in TRUNCATED)
        if truncated and allow_truncated and kind == "JPEG" and not data.endswith(b"\xff\xd9"):
            raw = read(data + b"\xff\xd9")
            raw.notes.append("was cut off; the lower part is grey")
            return raw
        if truncated:
            raise BadImage(name, "is cut off (truncated); get the file again", "truncated") from error
        raise BadImage(name, f"is a damaged {kind}: {error}") from error


def look(source: str | Path | bytes) -> Look:
    """What `read` would find, by the header alone; BadImage where that tells that the file cannot be used."""
    name, (_, kind, image) = name_of(source), opened(source)
    try:
        numbers = form(image)
        plain = image.mode in ("1", "L", "La", "LA") and "transparency" not in image.info
        exif = {} if kind == "TIFF" else Image.Image.getexif(image)     # TIFF is upright; PNG's own would decode it
        width, height = image.size[::-1] if exif.get(ORIENTATION, 1) in SIDEWAYS else image.size
        grey = {"eight": plain, "colour": raw_mode(image).startswith("LA")}.get(numbers, True)
        return Look(width, height, grey, deep=numbers != "eight")
    except BadImage as error:
        raise BadImage(name, error.reason, error.kind) from error
    except Exception as error:
        raise BadImage(name, f"is a damaged {kind}: {error}") from error


def opened(source: str | Path | bytes) -> tuple[bytes, str, ImageFile]:
    """A file's bytes, its format, and the image of which the header alone was read; BadImage where one is refused."""
    name = name_of(source)
    data = source if isinstance(source, bytes) else read_bytes(Path(source))
    kind = identify(data, name)
    image = open_image(data, kind, name)
    _check_size(image, name)
    return data, kind, image


def read_bytes(path: Path) -> bytes:
    """A regular file's bytes; raises BadImage for anything else and for files too big to be an image within limits."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(path, "is a folder or a device, not a file", "unreadable")
        if status.st_size > 16 * _max_pixels():
            raise BadImage(path, f"has {status.st_size:,} bytes, more than any image within the limits", "too large")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, BadImage):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise BadImage(path, f"cannot be read: {reason}", "unreadable") from error


def identify(data: bytes, name: object) -> str:
    """The format by its first bytes, never by its name; BadImage names what else a file is."""
    if not data:
        raise BadImage(name, "is empty (0 bytes); get the file again", "not an image")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for start, kind in FORMATS:
        if data.startswith(start):
            return kind
    raise BadImage(name, f"is {_other_kind(data)}", "not an image")


def _other_kind(data: bytes) -> str:
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lower()
    start = start if data[:1] == b"\0" else start.lstrip(b" \t\r\n")
    for beginning, meaning in OTHERS:
        if start.startswith(beginning):
            return meaning
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file: convert it to PNG or JPEG"
    if not any(data[:4096]):
        return "full of zeros: the download failed, get the file again"
    return "no JPEG, PNG, WebP, TIFF, BMP or GIF, whatever its name says; convert it"


def open_image(data: bytes, kind: str, name: object) -> ImageFile:
    """Read the header alone, by the one decoder that the content calls for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(BytesIO(data), formats=[kind])
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise BadImage(name, f"has more pixels than can be read safely ({error})", "too large") from error
        except Exception as error:
            reason = "broken header, or other than 1, 3 or 4 channels of 8 or 16 bits or 1 of 32-bit floats"
            raise BadImage(name, f"is a damaged or unusual {kind}: {reason}") from error


def _check_size(image: ImageFile, name: object) -> None:
    width, height = image.size
    size = f"has {width} x {height} pixels"
    if width * height > _max_pixels():
        cure = "make it smaller or set recombine_MAX_PIXELS"
        raise BadImage(name, f"{size}, the limit is {_max_pixels():,} in all; {cure}", "too large")
    if min(width, height) < MIN_SIDE:
        raise BadImage(name, f"{size}; the smallest side allowed is {MIN_SIDE}", "too small")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadImage(name, f"{size}, longer than {MAX_ASPECT}:1; cut it", "too long")


def _max_pixels() -> int:
    return int(float(os.environ.get("recombine_MAX_PIXELS", MAX_PIXELS)))


def form(image: ImageFile) -> Literal["own", "grey", "colour", "eight"]:
    """What the numbers of an image are: of its own unit, grey or colour of 16 bits, or 8 bits; BadImage for others."""
    tags = getattr(image, "tag_v2", {})
    if image.mode in ("F", "I"):
        return "own"
    if image.mode.startswith("I;16"):
        return "grey"
    planes = tags.get(284) == 2
    if ";16" in raw_mode(image) and not planes:     # which Pillow would take to 8 bits
        if raw_mode(image).startswith("CMYK"):
            raise BadImage("", "is CMYK of 16 bits, which cannot be read; convert it to RGB", "unusual")
        return "colour"
    if max(tags.get(258, (8,))) > 8 or 2 in tags.get(339, ()):
        raise BadImage("", "is a TIFF whose numbers cannot be read without loss; save it as 16-bit PNG", "unusual")
    return "eight"


def decoded(image: ImageFile, data: bytes, notes: list[str]) -> tuple[Image.Image | np.ndarray, bool, bool]:
    """Pixels, whether they have their own unit, whether the last channel is opacity."""
    numbers, tags = form(image), getattr(image, "tag_v2", {})
    if numbers == "own":
        return own_numbers(image, unsigned=tags.get(258) == (32,) and tags.get(339, (1,)) == (1,)), True, False
    if numbers == "grey":
        return sixteen_grey(image), False, "transparency" in image.info
    if numbers == "colour":
        pixels = sixteen_colour(image, data)
        if image.info.get("icc_profile"):
            notes.append("its colour profile is not applied, because the image has 16 bits")
        return pixels, False, pixels.shape[-1] in (2, 4)
    eight = eight_bits(image, data, notes)
    return eight, False, eight.mode in ("LA", "RGBA")


def own_numbers(image: ImageFile, unsigned: bool) -> np.ndarray:
    """The numbers of a file without natural range, [height, width, 1]; Pillow reads unsigned 32 bits as signed."""
    values = np.asarray(ImageOps.exif_transpose(image))
    pixels = (values.view(np.uint32) if unsigned and image.mode == "I" else values).astype(np.float32)[..., None]
    if not np.isfinite(pixels).all():
        raise BadImage("", "holds NaN or infinite values; replace them")
    return pixels


def sixteen_grey(image: ImageFile) -> np.ndarray:
    """Grey of more than 8 bits, as fractions of the depth that the file declares."""
    tags = getattr(image, "tag_v2", {})
    depth = tags.get(258, (16,))[0]
    values = np.asarray(ImageOps.exif_transpose(image), dtype=np.float32)
    grey = values / np.float32(2**depth - 1)
    if tags.get(262) == 0:                  # TIFF: white is zero
        grey = 1 - grey
    if "transparency" in image.info:
        return np.stack([grey, values != image.info["transparency"]], axis=-1).astype(np.float32)
    return grey[..., None]


def raw_mode(image: ImageFile) -> str:
    """How Pillow will unpack the bytes of the first tile."""
    args = image.tile[0].args if image.tile else None
    return args if isinstance(args, str) else str(args[0]) if args else ""


def sixteen_colour(image: ImageFile, data: bytes) -> np.ndarray:
    """Colour of 16 bits as fractions [height, width, channels]; Pillow reads one byte of each pair, so it reads twice.

    Grey with opacity comes out as four bytes at once.
    """
    mode = raw_mode(image)
    if mode.startswith("LA"):
        bytes_ = _unpacked(data, str(image.format), "RGBA").astype(np.float32)
        return (bytes_[..., 0::2] * 256 + bytes_[..., 1::2]) / np.float32(65535)
    layout, order = mode.split(";16")
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}[order]
    high, low = (_unpacked(data, str(image.format), f"{layout.upper()};16{o}") for o in (order, other))
    values = high.astype(np.float32) * 256 + low
    if layout == "RGBa":                    # TIFF: colours are multiplied by opacity
        values[..., :3] *= 65535 / np.maximum(values[..., 3:], 1)
    if "transparency" in image.info:        # one colour that stands for it
        opaque = (values != np.asarray(image.info["transparency"], np.float32)).any(-1, keepdims=True)
        return np.concatenate([values / 65535, opaque], axis=-1, dtype=np.float32)
    return values / np.float32(65535)


def _unpacked(data: bytes, kind: str, mode: str) -> np.ndarray:
    """Bytes of an image, upright, unpacked in another way than Pillow would choose."""
    image = Image.open(BytesIO(data), formats=[kind])
    image.info.pop("transparency", None)
    image.tile = [t._replace(args=(mode, *t.args[1:]) if isinstance(t.args, tuple) else mode) for t in image.tile]
    return np.asarray(ImageOps.exif_transpose(image))


def eight_bits(image: ImageFile, data: bytes, notes: list[str]) -> Image.Image:
    """An upright sRGB image of 8 bits: mode L, LA, RGB or RGBA."""
    profile = image.info.get("icc_profile") or b""
    if simplejpeg and image.format == "JPEG" and image.mode == "RGB" and _is_srgb(profile):
        if image.getexif().get(ORIENTATION, 1) == 1:
            with suppress(ValueError):      # Pillow decides what is bad, so both give the same
                return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB", strict=True))
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA") or "transparency" in upright.info:
        upright = upright.convert("RGBA" if upright.mode == "PA" or "transparency" in upright.info else "RGB")
    elif upright.mode in ("1", "La", "RGBa", "RGBX", "YCbCr", "HSV", "LAB"):
        upright = upright.convert({"1": "L", "La": "LA", "RGBa": "RGBA"}.get(upright.mode, "RGB"))
    return _to_srgb(upright, profile, notes)


def _is_srgb(profile: bytes) -> bool:
    return not profile or b"sRGB" in profile[:4096] or "sRGB".encode("utf-16-be") in profile[:4096]


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if image.mode in ("RGB", "RGBA", "CMYK") and not _is_srgb(profile):
        try:
            if len(profile) > MAX_PROFILE:
                raise ImageCms.PyCMSError("too large")
            target = ImageCms.createProfile("sRGB")
            own = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(image, own, target, outputMode=mode) or image
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            notes.append(f"its colour profile is not used: {error}")
    return image.convert("RGB") if image.mode == "CMYK" else image


def fitted(raw: RawImage, schema: Schema, name: object) -> np.ndarray:
    """An image with the size, channels, bits and range of the schema: [channels, height, width]."""
    width, height = raw.size
    box = (0.0, 0.0, float(width), float(height))
    inner = (schema.width, schema.height)
    if schema.fit == "crop":
        aspect = schema.width / schema.height
        inside = min(width, height * aspect), min(height, width / aspect)
        left, top = (width - inside[0]) / 2, (height - inside[1]) / 2
        box = left, top, left + inside[0], top + inside[1]
    elif schema.fit == "letterbox":
        scale = min(schema.width / width, schema.height / height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
    if box[2] - box[0] < inner[0] or box[3] - box[1] < inner[1]:
        raw.notes.append(f"has only {width} x {height} pixels and is made larger")
    ranged = (schema.low, schema.high) != (None, None)
    if isinstance(raw.pixels, Image.Image) and schema.bits == 8 and not ranged:
        pixels = fitted_eight(raw.pixels, schema, box, inner)
    else:
        pixels = fitted_deep(fractions(raw, schema, name), raw.alpha, schema, box, inner)
    return _padded(pixels, schema)


def fractions(raw: RawImage, schema: Schema, name: object) -> np.ndarray:
    """Pixels as float32 [height, width, channels] from 0 to 1 within the schema's range; opacity is left as it is."""
    pixels = np.atleast_3d(np.asarray(raw.pixels, np.float32))
    if not raw.deep:
        pixels = pixels / 255
    if raw.own_unit and (schema.low is None or schema.high is None):
        found = f"holds numbers of its own unit, from {pixels.min():.6g} to {pixels.max():.6g}, without a natural range"
        raise BadImage(name, f"{found}; state low and high", UNSTATED)
    low, high = schema.low or 0.0, 1.0 if schema.high is None else schema.high
    if not high > low:
        raise ValueError(f"the range must rise: low is {low}, high is {high}")
    colours = pixels.shape[-1] - raw.alpha
    scaled = np.clip((pixels[..., :colours] - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.concatenate([scaled, pixels[..., colours:]], axis=-1)


def fitted_deep(pixels: np.ndarray, alpha: bool, schema: Schema, box: tuple, size: tuple[int, int]) -> np.ndarray:
    """Background, channels and resizing in float: [channels, height, width] of the schema's bits."""
    if alpha:
        ground = np.asarray(schema.background, np.float32) / 255
        if pixels.shape[-1] == 2:
            ground = ground @ np.asarray(GREY, np.float32)
        pixels = pixels[..., :-1] * pixels[..., -1:] + ground * (1 - pixels[..., -1:])
    if schema.channels == 1 and pixels.shape[-1] == 3:
        pixels = pixels @ np.asarray(GREY, np.float32)[:, None]
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(pixels, -1, 0)]
    resized = np.stack([np.asarray(plane.resize(size, Image.Resampling.LANCZOS, box=box)) for plane in planes])
    resized = np.repeat(resized, schema.channels // len(resized), axis=0)
    return np.rint(np.clip(resized, 0, 1).astype(np.float64) * (2**schema.bits - 1)).astype(schema.dtype)


def fitted_eight(image: Image.Image, schema: Schema, box: tuple, size: tuple[int, int]) -> np.ndarray:
    """Background, channels and resizing by Pillow: [channels, height, width] uint8."""
    if image.mode in ("LA", "RGBA"):
        ground = Image.new("RGBA", image.size, (*schema.background, 255))
        image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    image = image.convert("L" if schema.channels == 1 else "RGB")
    if image.size != size or box != (0, 0, *size):
        image = image.resize(size, Image.Resampling.LANCZOS, box=box)
    return np.moveaxis(np.asarray(image).reshape(size[1], size[0], -1), -1, 0)


def _padded(pixels: np.ndarray, schema: Schema) -> np.ndarray:
    """An image in the middle of a canvas of the background's colour."""
    channels, height, width = pixels.shape
    if (height, width) == schema.image_size:
        return np.ascontiguousarray(pixels)
    ground = np.asarray(schema.background, float)
    if channels == 1:
        ground = ground @ np.asarray(GREY)[:, None]
    canvas = np.empty((channels, *schema.image_size), pixels.dtype)
    canvas[:] = np.rint(ground * np.iinfo(pixels.dtype).max / 255).astype(pixels.dtype)[:, None, None]
    top, left = (schema.height - height) // 2, (schema.width - width) // 2
    canvas[:, top : top + height, left : left + width] = pixels
    return canvas


def name_of(source: object) -> object:
    """What to call an image in messages."""
    return "image" if isinstance(source, bytes) else source
