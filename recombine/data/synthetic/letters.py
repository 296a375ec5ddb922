"""Letters: capitals in ink on tinted paper, of which every factor is known and independent of all others.

The typefaces are Oxygen, Arvo, Crimson Text, Lobster Two and Kalam, from fontpkg's packages, which hold them as they
were published (SIL Open Font License 1.1). Several letters are alike (B, P and R; E and K; G and S), and no letter may
be mirrored: a mirrored S is no letter, so train with `mirror=False`, as the recipes do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recombine.data.batch import mix_seed
from recombine.data.schema import Attribute
from recombine.data.synthetic.drawn import Drawn, Factors, uniform

CAPITALS = ("A", "B", "E", "G", "K", "P", "R", "S")
TYPEFACES = {
    "sans": "Oxygen", "slab": "Arvo", "serif": "CrimsonText", "script": "LobsterTwo", "hand": "Kalam",
}  # fmt: skip
WEIGHTS = {"regular": "Regular", "bold": "Bold"}
COLOURS = {"black": "#1c1c1c", "red": "#c81e28", "blue": "#1f4fc8", "green": "#148a3c", "orange": "#e6820a"}
PAPERS = {"white": "#ffffff", "cream": "#f2e4b4", "rose": "#f4c8d0", "sky": "#bfdcf4"}

FACTORS: dict[str, tuple[str, ...]] = {
    "letter": CAPITALS, "typeface": tuple(TYPEFACES), "weight": tuple(WEIGHTS), "colour": tuple(COLOURS),
    "paper": tuple(PAPERS),
}  # fmt: skip
NUMBERS: dict[str, tuple[float, float]] = {
    "x": (-6.0, 6.0),                       # centre of the letter, % of the image's width to the right of the middle
    "y": (-6.0, 6.0),                       # the same, % of the height below it
    "height": (50.0, 60.0),                 # of a capital H of the typeface, % of the image's height
    "tilt": (-8.0, 8.0),                    # degrees; positive: the letter tilts to the image's right
}
FINER = 4                                   # letters are drawn this many times as large, then averaged


def render(factors: Mapping[str, Any], size: int = 64) -> np.ndarray:
    """Draw one letter `[3, size, size]`, uint8, from a value for each of `FACTORS` and a number for each of `NUMBERS`.

    Raises:
        ValueError: A factor is missing or has a value that does not exist.
    """
    LETTERS.check(factors)
    whole = FINER * size
    x, y, height = (float(factors[name]) / 100 * whole for name in ("x", "y", "height"))
    file = font_file(str(factors["typeface"]), str(factors["weight"]))
    font = ImageFont.truetype(file, height / capital(file), layout_engine=ImageFont.Layout.BASIC)
    left, top, right, bottom = font.getbbox(str(factors["letter"]), anchor="ls")
    centre = (whole / 2 + x, whole / 2 + y)
    ink = Image.new("L", (whole, whole))
    corner = (centre[0] - (left + right) / 2, centre[1] - (top + bottom) / 2)
    ImageDraw.Draw(ink).text(corner, str(factors["letter"]), 255, font, anchor="ls")
    ink = ink.rotate(-float(factors["tilt"]), Image.Resampling.BICUBIC, center=centre).reduce(FINER)
    covered = np.asarray(ink, np.float32)[None] / 255
    paper, colour = (rgb(names[str(factors[f])]) for f, names in (("paper", PAPERS), ("colour", COLOURS)))
    return np.rint(paper + covered * (colour - paper)).astype(np.uint8)


def font_file(typeface: str, weight: str) -> str:
    """Path of a typeface's file."""
    import fontpkg_arvo
    import fontpkg_crimson_text
    import fontpkg_kalam
    import fontpkg_lobster_two
    import fontpkg_oxygen

    roots = {
        "sans": fontpkg_oxygen.ROOT, "slab": fontpkg_arvo.ROOT, "serif": fontpkg_crimson_text.ROOT,
        "script": fontpkg_lobster_two.ROOT, "hand": fontpkg_kalam.ROOT,
    }  # fmt: skip
    return str(roots[typeface] / "files" / f"{TYPEFACES[typeface]}-{WEIGHTS[weight]}.ttf")


@cache
def capital(file: str) -> float:
    """Height of a capital H in a typeface, as a share of the font's size."""
    _, top, _, bottom = ImageFont.truetype(file, 1000, layout_engine=ImageFont.Layout.BASIC).getbbox("H", anchor="ls")
    return (bottom - top) / 1000


def rgb(colour: str) -> np.ndarray:
    """`#rrggbb` as `[3, 1, 1]`, float32, 0 to 255."""
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8).astype(np.float32)[:, None, None]


def sample(count: int, seed: int = 0) -> list[Factors]:
    """Factors of many letters, uniform and independent of each other."""
    rng = np.random.default_rng(mix_seed("letters", seed))
    found: list[Factors] = []
    for _ in range(count):
        names = {name: str(rng.choice(values)) for name, values in FACTORS.items()}
        found.append({**names, **{name: uniform(rng, *bounds) for name, bounds in NUMBERS.items()}})
    return found


def attributes(rows: Sequence[Mapping[str, Any]]) -> list[Attribute]:
    """What explains the columns of letters."""
    named = [Attribute(name, "categorical", values) for name, values in FACTORS.items()]
    return named + [
        Attribute(name, "continuous", low=low, high=high, mirror="negate" if name in ("x", "tilt") else "keep")
        for name, (low, high) in NUMBERS.items()
    ]


def splits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A split for every letter: whole combinations of values are held out, so that none is seen in training.

    Of the 20 combinations of colour and paper of every letter in every typeface and weight, two are val and two test.
    """
    rng, place = np.random.default_rng(0), {}
    tints = list(product(COLOURS, PAPERS))
    for style in product(CAPITALS, TYPEFACES, WEIGHTS):
        place |= {(*style, *tints[tint]): rank for rank, tint in enumerate(rng.permutation(len(tints)))}
    ranks = [place[tuple(row[name] for name in FACTORS)] for row in rows]
    return ["val" if rank < 2 else "test" if rank < 4 else "train" for rank in ranks]


LETTERS = Drawn("letters", "a letter", FACTORS, NUMBERS, render, sample, dict, attributes, splits, handed=True)
build, edit, truth = LETTERS.build, LETTERS.edit, LETTERS.truth
