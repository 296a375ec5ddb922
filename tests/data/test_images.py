import os
import random
import struct
import warnings
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile

from recombine.data import decoding
from recombine.data.decoding import BadImage, Look, decode, decode_noted, look, read
from recombine.data.image_files import NOTE, encoded, grid, read_images, save_images
from recombine.data.images import from_unit, to_float, to_pixels, to_unit
from recombine.data.schema import Schema

EIGHT = Schema(height=16, width=16)
SIXTEEN = replace(EIGHT, bits=16)


def noise(*shape, most=255, seed=0):
    return np.random.default_rng(seed).integers(0, most + 1, shape).astype(np.uint8 if most == 255 else np.uint16)


def smooth(height=16, width=16):
    """An image that compression hardly changes, different in every direction and colour."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.stack([255 * y, 255 * x, 255 * (1 - x) * y], axis=-1).round().astype(np.uint8)


def saved(image, kind, **options):
    buffer = BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png(pixels, colour_type, *chunks):
    """A PNG written by hand: `pixels` [height, width, channels] of 16 bits, unfiltered."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)), *chunks,
        (b"IDAT", zlib.compress(lines)), (b"IEND", b""),
    ]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def tiff(pixels, kind="<", photometric=2, extra=None, size=2, planes=1):
    """A TIFF of one strip written by hand: `pixels` [height, width, channels] of `size` bytes, either byte order."""
    height, width, channels = pixels.shape
    body = pixels.astype(f"{kind}u{size}").tobytes()
    tags = {256: width, 257: height, 259: 1, 262: photometric, 273: 8, 277: channels, 278: height, 279: len(body), 284: planes}
    tags |= {338: extra} if extra is not None else {}
    depths = struct.pack(f"{kind}{channels}H", *[8 * size] * channels)
    entries = [struct.pack(f"{kind}HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries.append(struct.pack(f"{kind}HHII", 258, 3, channels, 8 + len(body)))
    if channels == 1:
        entries[-1] = struct.pack(f"{kind}HHIHH", 258, 3, 1, 8 * size, 0)
    entries.sort(key=lambda entry: struct.unpack(f"{kind}H", entry[:2]))
    start = 8 + len(body) + len(depths)
    head = (b"II" if kind == "<" else b"MM") + struct.pack(f"{kind}HI", 42, start)
    return head + body + depths + struct.pack(f"{kind}H", len(entries)) + b"".join(entries) + bytes(4)


def plane_first(pixels):
    return np.moveaxis(pixels, -1, 0)


# Ranges


@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_become_floats_and_the_same_pixels_again(bits):
    values = np.arange(2**bits, dtype=np.uint16 if bits == 16 else np.uint8)
    floats = to_float(values)
    assert floats.dtype == torch.float32 and floats[0] == -1 and floats[-1] == 1
    assert np.array_equal(to_pixels(floats, bits), values)


def test_what_lies_outside_is_cut_off_and_nan_is_refused():
    assert to_pixels(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        to_pixels(torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="8 or 16 bits, not 12"):
        to_pixels(torch.zeros(1), 12)


def test_methods_that_work_between_0_and_1_convert_there_and_back():
    images = torch.tensor([-1.0, -0.5, 0.0, 1.0])
    assert to_unit(images).tolist() == [0, 0.25, 0.5, 1] and torch.equal(from_unit(to_unit(images)), images)


# Good files


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_lossless_formats_come_in_exactly(kind):
    pixels = noise(16, 16, 3)
    data = saved(pixels, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(decode(data, EIGHT), plane_first(pixels))


def test_the_format_is_told_by_the_content_not_the_name(tmp_path):
    (tmp_path / "really.jpg").write_bytes(saved(noise(16, 16, 3), "PNG"))
    assert np.array_equal(decode(tmp_path / "really.jpg", EIGHT), plane_first(noise(16, 16, 3)))


def test_jpeg_is_the_same_by_both_decoders(monkeypatch):
    pytest.importorskip("simplejpeg")
    data = saved(smooth(100, 80), "JPEG", quality=90)
    schema = Schema(height=100, width=80)
    fast = decode(data, schema).astype(int)
    monkeypatch.setattr(decoding, "simplejpeg", None)
    assert np.abs(fast - decode(data, schema)).max() <= 2


def test_grey_becomes_colour_and_colour_grey():
    grey = noise(16, 16)
    assert np.array_equal(decode(saved(grey, "PNG"), EIGHT), np.stack([grey] * 3))
    colour = noise(16, 16, 3)
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(saved(colour, "PNG"), replace(EIGHT, channels=1))[0] - luma).max() <= 1


def test_more_channels_than_picture_files_have_are_told_where_to_go():
    with pytest.raises(ValueError, match=r"the schema has 5; give such images as arrays to .*write_pack"):
        decode(saved(noise(16, 16, 3), "PNG"), replace(EIGHT, channels=5))


# Shape


def test_crop_takes_the_middle():
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:24] = noise(16, 16, 3)
    assert np.array_equal(decode(saved(pixels, "PNG"), EIGHT), plane_first(pixels[:, 8:24]))


def test_letterbox_keeps_all_and_pads_with_the_background():
    schema = replace(EIGHT, fit="letterbox", background=(10, 20, 30))
    result = decode(saved(np.full((16, 32, 3), 200, np.uint8), "PNG"), schema)
    assert (result[:, 4:12] == 200).all()
    assert (result[:, :4] == np.array([10, 20, 30])[:, None, None]).all() and (result[:, 12:] == result[:, :4]).all()
    deep = decode(saved(np.full((16, 32, 3), 200, np.uint8), "PNG"), replace(schema, bits=16))
    assert np.array_equal(deep, result.astype(np.uint16) * 257)


def test_stretch_keeps_all_and_fills():
    pixels = np.repeat(np.array([[0] * 8 + [240] * 24], np.uint8), 16, axis=0)
    result = decode(saved(pixels, "PNG"), replace(EIGHT, fit="stretch"))
    assert (result[:, :, :2] < 5).all() and (result[:, :, 6:] > 235).all()


def every_kind():
    """The bytes of an image of each kind that is read, by name."""
    colour, deep = noise(16, 12, 3), noise(16, 12, 4, most=65535)
    sideways, grey = Image.Exif(), Image.fromarray(colour[..., 0])
    sideways[0x0112] = 6
    opacity = Image.fromarray(np.dstack([colour, colour[..., 0]]))
    alike = {"1": grey.convert("1"), "L": grey, "LA": grey.convert("LA"), "P": Image.fromarray(colour).quantize(4), "RGB": Image.fromarray(colour)}
    alike |= {"RGBA": opacity, "CMYK": Image.fromarray(colour).convert("CMYK"), "I;16": Image.fromarray(deep[..., 0])}
    alike |= {"F": Image.fromarray(colour[..., 0].astype(np.float32)), "I": Image.fromarray(colour[..., 0].astype(np.int32))}
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"):
        for mode, image in alike.items():
            try:
                yield f"{kind} {mode}", saved(image, kind)
                yield f"{kind} {mode} on its side", saved(image, kind, exif=sideways)
                yield f"{kind} {mode} with a transparent value", saved(image, kind, transparency=0)
            except (OSError, KeyError, TypeError, ValueError):  # a format that does not have it
                continue
    chunk = (b"eXIf", sideways.tobytes().removeprefix(b"Exif\0\0"))
    for name, channels, colour_type in (("grey", 1, 0), ("colour", 3, 2), ("grey, opacity", 2, 4), ("colour, opacity", 4, 6)):
        yield f"PNG, 16 bits, {name}", png(deep[..., :channels], colour_type, chunk)
    yield "PNG, 16 bits, transparent grey", png(deep[..., :1], 0, (b"tRNS", struct.pack(">H", 1000)))
    yield "PNG, 16 bits, transparent colour", png(deep[..., :3], 2, (b"tRNS", struct.pack(">HHH", 1000, 1000, 1000)))
    for order in "<>":
        yield f"TIFF {order}, 16 bits", tiff(deep[..., :3], order)
        yield f"TIFF {order}, 16 bits, opacity", tiff(deep, order, extra=2)
    yield "TIFF, 16 bits, planes", tiff(deep[..., :3], planes=2)
    yield "TIFF, white is zero", tiff(deep[..., :1], photometric=0)
    yield "TIFF, 32 bits", tiff(deep[..., :1], photometric=1, size=4)
    frames = [Image.fromarray(colour), Image.fromarray(colour[::-1].copy())]
    yield "animation", saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "not an image", b"words"
    yield "too small", saved(noise(4, 4), "PNG")
    yield "no header", saved(colour, "PNG")[:20]


@pytest.mark.parametrize(("name", "data"), [pytest.param(*pair, id=pair[0]) for pair in every_kind()])
def test_the_header_tells_what_decoding_finds(name, data, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("the header alone is read"))
    try:
        found = look(data)
    except BadImage as error:
        found = error.kind
    monkeypatch.undo()
    try:
        image = read(data)
    except BadImage as error:
        assert found == error.kind
        return
    bands = len(image.pixels.getbands()) if isinstance(image.pixels, Image.Image) else image.pixels.shape[2]
    assert found == Look(*image.size, grey=bands < 3, deep=image.deep)


def test_a_small_picture_is_made_larger_with_a_note():
    with pytest.warns(UserWarning, match="has only 10 x 12 pixels and is made larger"):
        assert decode(saved(noise(12, 10, 3), "PNG"), EIGHT).shape == (3, 16, 16)


def test_resizing_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    for schema in (EIGHT, SIXTEEN):
        result = decode(saved(stripes, "PNG"), schema)[:, 2:-2, 2:-2] / (2**schema.bits - 1)
        assert np.abs(result - 0.5).max() < 0.05


def test_exif_turns_the_picture_before_anything_is_cut():
    upright = smooth(16, 32)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    lying = np.rot90(upright, 1).copy()
    wide = Schema(height=16, width=32)
    assert np.array_equal(decode(saved(lying, "PNG", exif=exif), wide), plane_first(upright))
    jpeg = decode(saved(lying, "JPEG", exif=exif, quality=100, subsampling=0), wide).astype(int)
    assert np.abs(jpeg - plane_first(upright)).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_like_8(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    low = noise(16, 16, 3)
    chunk = (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    deep = decode(png(low.astype(np.uint16) * 257, 2, chunk), SIXTEEN)
    assert np.array_equal(deep, decode(saved(low, "PNG", exif=exif), EIGHT).astype(np.uint16) * 257)


# Depth


@pytest.mark.parametrize("schema", [SIXTEEN, EIGHT], ids=["16 bits", "8 bits"])
@pytest.mark.parametrize(
    "make", [lambda p: png(p, 2), lambda p: tiff(p, "<"), lambda p: tiff(p, ">")], ids=["png", "tiff", "tiff >"]
)
def test_16_bit_colour_keeps_its_depth_and_is_never_clipped(make, schema):
    pixels = noise(16, 16, 3, most=65535)
    expected = plane_first(pixels) if schema is SIXTEEN else np.rint(plane_first(pixels) / 257)
    assert np.array_equal(decode(make(pixels), schema), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_depth_and_is_never_clipped(kind):
    pixels = noise(16, 16, most=65535)
    assert np.array_equal(decode(saved(pixels, kind), replace(SIXTEEN, channels=1))[0], pixels)
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    assert abs(decode(saved(ramp, kind), EIGHT).mean() - 127.5) < 1


def test_16_bit_tiff_where_white_is_zero_is_turned_round():
    pixels = noise(16, 16, 1, most=65535)
    data = tiff(pixels, "<", photometric=0)
    assert np.array_equal(decode(data, replace(SIXTEEN, channels=1))[0], 65535 - pixels[..., 0])


def test_16_bits_with_opacity_are_laid_on_the_background():
    pixels = noise(16, 16, 4, most=65535)
    ground = np.array([255, 0, 128]) * 257.0
    alpha = pixels[..., 3:] / 65535
    expected = plane_first(pixels[..., :3] * alpha + ground * (1 - alpha))
    schema = replace(SIXTEEN, background=(255, 0, 128))
    premultiplied = pixels.copy()
    premultiplied[..., :3] = np.rint(pixels[..., :3] * alpha)
    for data in (png(pixels, 6), tiff(pixels, "<", extra=2), tiff(premultiplied, "<", extra=1)):
        assert np.abs(decode(data, schema) - expected).max() <= 1.5
    grey = png(pixels[..., 2:], 4)
    expected = pixels[..., 2:3] * alpha + 65535 * (1 - alpha)
    assert np.abs(decode(grey, replace(SIXTEEN, channels=1))[0] - expected[..., 0]).max() <= 1.5


def test_a_transparent_colour_of_16_bits_becomes_background():
    pixels = np.full((16, 16, 3), 1000, np.uint16)
    pixels[:8] = 2000
    colour = png(pixels, 2, (b"tRNS", struct.pack(">HHH", 1000, 1000, 1000)))
    grey = png(pixels[..., :1], 0, (b"tRNS", struct.pack(">H", 1000)))
    for data in (colour, grey):
        result = decode(data, SIXTEEN)
        assert (result[:, :8] == 2000).all() and (result[:, 8:] == 65535).all()


def test_16_bits_in_16_bits_out(tmp_path):
    pixels = noise(16, 16, 3, most=65535)
    (tmp_path / "in.png").write_bytes(png(pixels, 2))
    image = read_images(tmp_path / "in.png")
    save_images(image, tmp_path / "out.png", bits=16)
    assert np.array_equal(decode(tmp_path / "out.png", SIXTEEN), plane_first(pixels))


def test_numbers_without_a_natural_range_need_a_stated_one():
    values = np.linspace(-2, 6, 256, dtype=np.float32).reshape(16, 16)
    with pytest.raises(BadImage, match=r"own unit, from -2 to 6, .* state low and high") as error:
        decode(saved(values, "TIFF"), EIGHT)
    assert error.value.kind == "range not stated"
    result = decode(saved(values, "TIFF"), replace(SIXTEEN, low=0.0, high=4.0, channels=1))[0]
    assert np.abs(result - np.clip(values / 4, 0, 1) * 65535).max() <= 1
    integers = saved(Image.fromarray(np.arange(256, dtype=np.int32).reshape(16, 16)), "TIFF")
    assert np.array_equal(decode(integers, replace(EIGHT, low=0.0, high=255.0))[0], np.arange(256).reshape(16, 16))
    values[3, 3] = np.nan
    with pytest.raises(BadImage, match="holds NaN or infinite values"):
        decode(saved(values, "TIFF"), replace(EIGHT, low=0.0, high=1.0))


def test_unsigned_numbers_of_32_bits_are_not_taken_for_signed():
    values = np.linspace(0, 2**32 - 1, 256).reshape(16, 16, 1)
    result = decode(tiff(values, photometric=1, size=4), replace(EIGHT, low=0.0, high=2.0**32))
    assert np.abs(result[0] - values[..., 0] / 2**32 * 255).max() <= 0.51


def test_depth_that_would_be_lost_is_refused():
    with pytest.raises(BadImage, match="cannot be read without loss; save it as 16-bit PNG"):
        decode(tiff(noise(16, 16, 3, most=65535), planes=2), SIXTEEN)
    with pytest.raises(BadImage, match="1, 3 or 4 channels of 8 or 16 bits"):
        decode(tiff(noise(16, 16, 5, most=65535), photometric=1), SIXTEEN)


def test_a_stated_range_stretches_integer_files_too():
    pixels = np.linspace(0, 4095, 256).astype(np.uint16).reshape(16, 16)  # 12 bits in a file of 16
    result = decode(saved(pixels, "PNG"), replace(EIGHT, low=0.0, high=4095 / 65535))
    assert np.abs(result[0] - pixels / 4095 * 255).max() <= 0.51
    with pytest.raises(ValueError, match=r"the range must rise: low is 0\.5, high is 0\.5"):
        decode(saved(pixels, "PNG"), replace(EIGHT, low=0.5, high=0.5))


# Colour and transparency


def test_hidden_colours_stay_hidden():
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 0] = 255                     # red, but
    pixels[:8, :, 3] = 255                   # only the upper half can be seen
    result = decode(saved(pixels, "PNG"), replace(EIGHT, background=(0, 0, 255)))
    assert (result[:, :8] == np.array([255, 0, 0])[:, None, None]).all()
    assert (result[:, 8:] == np.array([0, 0, 255])[:, None, None]).all()


def test_transparency_of_palettes_grey_and_colour_keys():
    palette = Image.fromarray(np.repeat(np.arange(2, dtype=np.uint8), 128).reshape(16, 16), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    for data in (saved(palette, "PNG", transparency=1), saved(palette, "GIF", transparency=1)):
        result = decode(data, EIGHT)
        assert (result[:, :8] == np.array([255, 0, 0])[:, None, None]).all() and (result[:, 8:] == 255).all()
    colour = np.zeros((16, 16, 3), np.uint8)
    assert (decode(saved(colour, "PNG", transparency=(0, 0, 0)), EIGHT) == 255).all()
    grey = Image.fromarray(np.zeros((16, 16, 2), np.uint8), "LA")
    assert (decode(saved(grey, "PNG"), replace(EIGHT, channels=1)) == 255).all()


def test_black_and_white_and_cmyk():
    line = Image.fromarray(np.eye(16, dtype=np.uint8) * 255).convert("1")
    assert np.array_equal(decode(saved(line, "PNG"), EIGHT)[0], np.eye(16) * 255)
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 1:3] = 255                     # magenta and yellow make red
    for kind in ("JPEG", "TIFF"):
        result = decode(saved(Image.fromarray(inks, "CMYK"), kind), EIGHT).astype(int)
        assert np.abs(result - np.array([255, 0, 0])[:, None, None]).max() <= 3


def swapped_profile():
    """The sRGB profile with red and green exchanged, and another name."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "grbS".encode("utf-16-be")).replace(b"sRGB", b"grbS")
    return profile.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_used(kind):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    result = decode(saved(red, kind, icc_profile=swapped_profile()), EIGHT).astype(int)
    assert np.abs(result - np.array([0, 255, 0])[:, None, None]).max() <= 4


def test_an_srgb_profile_changes_nothing_and_a_broken_one_is_noted():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode(saved(smooth(), "PNG", icc_profile=srgb), EIGHT), plane_first(smooth()))
    for profile in (b"no profile", swapped_profile() + bytes(decoding.MAX_PROFILE)):
        pixels, notes = decode_noted(saved(smooth(), "WEBP", lossless=True, icc_profile=profile), EIGHT)
        assert np.array_equal(pixels, plane_first(smooth())) and "its colour profile is not used" in notes[0]


# Bad files


STRANGE = {
    "empty": (b"", "is empty"),
    "html": (b"\n <!DOCTYPE html><html>Quota exceeded</html>", "an HTML page: the download failed"),
    "html with a byte order mark": (b"\xef\xbb\xbf<HTML>", "an HTML page: the download failed"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer.*git lfs pull"),
    "zeros": (bytes(5000), "full of zeros: the download failed"),
    "pdf": (b"%PDF-1.7 ...", "a PDF"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0", "a PostScript file"),
    "photoshop": (b"8BPS\0\1", "a Photoshop file"),
    "fits": (b"SIMPLE  =                    T", "a FITS file"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
    "zip": (b"PK\x03\x04....", "a ZIP archive"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC, AVIF or video file"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"),
    "numpy": (b"\x93NUMPY\1\0", "a NumPy array"),
    "text": (b"hello", "no JPEG, PNG, WebP, TIFF, BMP or GIF"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_picture_is_called_by_its_name(tmp_path, name):
    data, message = STRANGE[name]
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(BadImage, match=f"a.jpg: is .*{message.removeprefix('is ')}") as error:
        decode(tmp_path / "a.jpg", EIGHT)
    assert error.value.kind == "not an image" and error.value.path == tmp_path / "a.jpg"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_a_file_that_is_cut_off_is_refused(kind):
    data = saved(noise(64, 64, 3), kind)
    for share in (0.4, 0.9):
        with pytest.raises(BadImage, match=r"cut off|damaged") as error:
            decode(data[: int(len(data) * share)], EIGHT)
        assert kind not in ("JPEG", "PNG") or error.value.kind == "truncated"


@pytest.mark.parametrize("decoder", ["fast", "Pillow"])
def test_the_upper_part_of_a_cut_jpeg_is_kept_where_asked(monkeypatch, decoder):
    if decoder == "Pillow":
        monkeypatch.setattr(decoding, "simplejpeg", None)
    whole = saved(noise(64, 64, 3), "JPEG", quality=95)
    schema = Schema(height=64, width=64)
    pixels, notes = decode_noted(whole[: len(whole) // 2], schema, allow_truncated=True)
    assert notes == ["was cut off; the lower part is grey"]
    assert np.abs(pixels[:, :12].astype(int) - decode(whole, schema)[:, :12]).max() <= 2
    assert len(np.unique(pixels[:, -8:])) == 1
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_an_animation_gives_its_first_frame_with_a_warning():
    frames = [Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (40, 200)]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.warns(UserWarning, match="several frames or pages; only the first is used"):
            assert abs(decode(data, EIGHT).mean() - 40) < 3


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 1), "1 x 1 pixels; the smallest side allowed is 8"), ((2, 3), "3 x 2"), ((10, 100), "100 x 10.*longer than 8:1")],
)
def test_too_small_and_too_long(shape, message):
    with pytest.raises(BadImage, match=message):
        decode(saved(np.zeros(shape, np.uint8), "PNG"), EIGHT)


def bomb(width, height):
    """A header that promises many pixels, and almost no data."""
    return png(np.zeros((1, 1, 1), np.uint16), 0).replace(
        struct.pack(">II", 1, 1), struct.pack(">II", width, height), 1
    )


def repaired(data):
    """The same PNG with a right checksum of its header."""
    return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]


@pytest.mark.parametrize("side", [8_000, 12_000, 30_000])
def test_bombs_are_refused_by_their_header(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadImage, match=r"more pixels than can be read safely|the limit is 50,000,000") as error:
            decode(repaired(bomb(side, side)), EIGHT)
    assert error.value.kind == "too large"


def test_the_limit_can_be_moved(monkeypatch, tmp_path):
    data = saved(noise(40, 40, 3), "PNG")
    monkeypatch.setenv("recombine_MAX_PIXELS", "1000")
    with pytest.raises(BadImage, match="has 40 x 40 pixels, the limit is 1,000 in all"):
        decode(data, EIGHT)
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setenv("recombine_MAX_PIXELS", "100")
    with pytest.raises(BadImage, match="more than any image within the limits"):
        decode(tmp_path / "a.png", EIGHT)


def test_a_text_bomb_in_a_png_is_refused():
    text = b"Comment\0\0" + zlib.compress(bytes(80_000_000))
    with pytest.raises(BadImage, match="damaged"):
        decode(png(np.zeros((16, 16, 3), np.uint16), 2, (b"zTXt", text)), EIGHT)


def test_what_is_not_a_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [(tmp_path, "is a folder or a device"), (tmp_path / "pipe", "is a folder or a device"),
                          (tmp_path / "none", "cannot be read: No such file"), ("a\0b", "cannot be read")]:  # fmt: skip
        with pytest.raises(BadImage, match=message):
            decode(path, EIGHT)


def test_messages_hold_no_control_characters():
    assert str(BadImage("a\x1b[2J\n.png", "is bad")) == r"a\x1b[2J\n.png: is bad"
    assert str(BadImage("Zoë 😀.png", "is bad")) == "Zoë 😀.png: is bad"


def test_spoiled_bytes_give_pixels_or_bad_image_and_nothing_else():
    chance = random.Random(0)
    files = [saved(smooth(24, 24), kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")]
    files += [png(noise(16, 16, 3, most=65535), 2), tiff(noise(16, 16, 3, most=65535))]
    refused = 0
    for _ in range(400):
        data = bytearray(chance.choice(files))
        for _ in range(chance.randrange(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert decode(bytes(data), EIGHT).shape == (3, 16, 16)
        except BadImage:
            refused += 1
    assert refused > 50


# Reading, saving, grids


def test_one_path_gives_a_tensor_and_several_can_be_unpacked(tmp_path):
    for name in ("anna", "ben"):
        (tmp_path / f"{name}.png").write_bytes(saved(noise(40, 30, 3), "PNG"))
    anna, ben = read_images(tmp_path / "anna.png", tmp_path / "ben.png", size=(20, 24))
    assert anna.shape == ben.shape == (1, 3, 20, 24) and anna.dtype == torch.float32
    assert read_images(tmp_path / "anna.png").shape == (1, 3, 40, 30)
    assert read_images(tmp_path / "anna.png", size=12).shape == (1, 3, 12, 12)
    assert read_images(tmp_path / "anna.png", schema=replace(EIGHT, channels=1)).shape == (1, 1, 16, 16)
    with pytest.raises(BadImage, match=r"clara.png: cannot be read"):
        read_images(tmp_path / "anna.png", tmp_path / "clara.png")
    with pytest.raises(ValueError, match="at least one path"):
        read_images()


def test_what_is_saved_is_read_again(tmp_path):
    image = to_float(plane_first(smooth()))[None]
    for name, most in (("a.png", 0), ("a.jpg", 0.05), ("a.webp", 0.1)):
        assert save_images(image, tmp_path / name) == [tmp_path / name]
        assert (read_images(tmp_path / name) - image).abs().mean() <= most
    grey = to_float(noise(1, 1, 16, 16))
    save_images(grey, tmp_path / "grey.png")
    assert Image.open(BytesIO((tmp_path / "grey.png").read_bytes())).mode == "L"


def test_several_pictures_under_one_path_are_numbered(tmp_path):
    written = save_images(torch.zeros(11, 3, 8, 8), tmp_path / "a.png")
    assert [path.name for path in written][::10] == ["a_00.png", "a_10.png"] and all(p.exists() for p in written)
    with pytest.raises(ValueError, match="11 images cannot be saved under 2 paths"):
        save_images(torch.zeros(11, 3, 8, 8), [tmp_path / "a.png", tmp_path / "b.png"])


def test_what_cannot_be_saved_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"saved as .png, .jpg or .webp, not '.bmp'"):
        save_images(torch.zeros(1, 3, 8, 8), tmp_path / "a.bmp")
    with pytest.raises(ValueError, match=r"16 bits can only be saved as .png, not .jpg"):
        save_images(torch.zeros(1, 3, 8, 8), tmp_path / "a.jpg", bits=16)
    with pytest.raises(ValueError, match="1 or 3 channels, this image has 5"):
        save_images(torch.zeros(1, 5, 8, 8), tmp_path / "a.png")


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 8), (".png", 16), (".jpg", 8), (".webp", 8)])
def test_the_note_and_nothing_else_goes_out(suffix, bits):
    pixels = plane_first(smooth()).astype(np.uint8 if bits == 8 else np.uint16)
    noted, plain = encoded(pixels, suffix, NOTE), encoded(pixels, suffix)
    assert b"compositeWithTrainedAlgorithmicMedia" in noted and b"trained" not in plain.lower()
    assert NOTE.encode() in noted or suffix == ".webp"
    assert not Image.open(BytesIO(noted)).getexif() and np.array_equal(read(noted).pixels, read(plain).pixels)


def test_a_grid_lays_pictures_row_by_row_with_white_gaps():
    images = torch.stack([torch.full((3, 4, 5), level) for level in (-1.0, -0.5, 0.0)])
    result = grid(images, 2, gap=1)
    assert result.shape == (1, 3, 9, 11)
    assert (result[..., :4, :5] == -1).all() and (result[..., :4, 6:] == -0.5).all() and (result[..., 5:, :5] == 0).all()
    assert (result[..., 4, :] == 1).all() and (result[..., :, 5] == 1).all() and (result[..., 5:, 6:] == 1).all()


def test_a_grid_of_rows_with_texts():
    rows = [[torch.zeros(1, 3, 16, 40), torch.zeros(3, 16, 40)], [torch.zeros(1, 3, 16, 40)]]
    bare, lettered = grid(rows), grid(rows, titles=["before", "after"], captions=["anna", "ben"])
    assert bare.shape == (1, 3, 34, 82)
    assert torch.equal(lettered[..., -34:, -82:], bare)
    assert (lettered[..., :14, :] < 0).any() and (lettered[..., 14:, :-82] < 0).any()
    assert grid(rows, titles=["a long title", "b"]).shape[2] == 34 + 14 * 2  # two lines in a column of 42 pixels
    with pytest.raises(ValueError, match=r"one shape; \(1, 3, 16, 40\) and \(1, 3, 8, 8\) came"):
        grid([[torch.zeros(1, 3, 16, 40), torch.zeros(1, 3, 8, 8)]])
    with pytest.raises(ValueError, match="at least one image"):
        grid([[]])
