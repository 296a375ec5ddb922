"""Whether images are mirrored is decided from them: about 8 minutes of one core.

    python proofs/mirror.py photographs=PACK sprites=SHEETS

PACK is a pack of photographs of faces, SHEETS a folder of character sheets; everything else is drawn.
Of every data set so many of its images are looked at, as if it had no others.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from record import record

from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Schema
from recombine.data.synthetic import avatars, letters, sprites
from recombine.training import mirroring

COUNTS = (200, 500, 2_000)                  # images
SIDE = 32                                   # pixels of what is drawn here
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS = "image mirror letter north seven quick brown table under river stone paper".split()


class Part(Pack):
    """A pack of which only some training images are there."""

    def __init__(self, whole: Pack, count: int):
        self.__dict__.update(whole.__dict__)
        self.kept = np.sort(np.random.default_rng(count).permutation(whole.rows("train"))[:count])

    def rows(self, split: str | None = None) -> np.ndarray:
        return self.kept


def written(choices: Sequence[str]) -> Callable[[np.random.Generator], np.ndarray]:
    """Draws a text in a random size, weight, colour, place and tilt."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        text = choices[int(rng.integers(len(choices)))]
        points = SIDE * rng.uniform(1.1, 1.7) * (1 if len(text) == 1 else 0.45)
        ink, paper = (tuple(rng.integers(0, 256, 3).tolist()) for _ in range(2))
        while abs(sum(ink) - sum(paper)) < 200:
            ink, paper = (tuple(rng.integers(0, 256, 3).tolist()) for _ in range(2))
        image, middle = Image.new("RGB", (2 * SIDE, 2 * SIDE), paper), SIDE + rng.integers(-4, 5, 2)
        weight, font = int(rng.integers(0, 3)) if len(text) == 1 else 0, ImageFont.load_default(points)
        place = (float(middle[0]), float(middle[1]))
        ImageDraw.Draw(image).text(place, text, ink, font, "mm", stroke_width=weight, stroke_fill=ink)
        image = image.rotate(rng.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=paper)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).transpose(2, 0, 1)

    return draw


def chest(rng: np.random.Generator) -> np.ndarray:
    """Something like an X-ray of a chest: two dark lungs in a light body, and a heart that lies to the right of the middle."""
    y, x = np.mgrid[:SIDE, :SIDE] / (SIDE / 2) - 1
    x, y = x + rng.normal(0, 0.05), y + rng.normal(0, 0.05)

    def blob(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        rx, ry = rx * rng.uniform(0.85, 1.15), ry * rng.uniform(0.85, 1.15)
        return 1 / (1 + np.exp(8 * (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 - 1)))

    light = 0.7 * blob(0, 0.1, 0.9, 1.1) - 0.45 * blob(-0.4, 0, 0.28, 0.6) - 0.45 * blob(0.4, 0, 0.28, 0.6)
    light += rng.uniform(0.15, 0.35) * blob(0.14, 0.3, 0.3, 0.28) + rng.normal(0, 0.06, x.shape)
    return np.repeat((255 * light.clip(0, 1)).astype(np.uint8)[None], 3, 0)


def noise(rng: np.random.Generator) -> np.ndarray:
    """A dark wedge before smooth noise, which points to the left as often as to the right."""
    coarse = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8).repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
    coarse[:, np.tri(SIDE, dtype=bool)] //= 2
    return coarse[..., ::-1].copy() if rng.random() < 0.5 else coarse


DRAWN: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], bool]] = {  # how, and whether they may be mirrored
    "capitals": (written(CAPITALS), False),
    "digits": (written("0123456789"), False),
    "words": (written(WORDS), False),
    "chests": (chest, False),
    "symmetric_letters": (written("AHIMOTUVWXY"), True),
    "wedges": (noise, True),
}


def drawn(name: str, folder: Path) -> Pack:
    """A pack of images that are drawn here."""
    rng = np.random.default_rng(0)
    images = np.stack([DRAWN[name][0](rng) for _ in range(COUNTS[-1])])
    files = [f"{number}.png" for number in range(len(images))]
    return write_pack(folder, images, Schema((), SIDE, SIDE), files, {}, ["train"] * len(images))


def measured(pack: Pack, expected: bool | None) -> dict:
    """What is found of some of a pack's images, by their number."""
    found = {}
    for count in COUNTS if len(pack) == COUNTS[-1] else (*COUNTS, mirroring.IMAGES):
        part, started = Part(pack, count), time.process_time()
        seen = mirroring.measured(part)
        found[str(count)] = {
            "accuracy": seen.accuracy, "bits": seen.bits, "mirror": seen.mirror,
            "right": None if expected is None else seen.mirror == expected,
            "seconds": round(time.process_time() - started, 1),
        }  # fmt: skip
        print(pack.path.name, count, seen, file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        values = {name: measured(drawn(name, folder / name), expected) for name, (_, expected) in DRAWN.items()}
        for kind, expected in ((letters, False), (avatars, True)):
            name = kind.__name__.split(".")[-1]
            values[name] = measured(kind.build(folder / name, workers=1, progress=False), expected)
        if "photographs" in given:
            values["photographs"] = measured(Pack(given["photographs"]), True)
        if "sprites" in given:
            values["sprites"] = measured(sprites.build(folder / "sprites", given["sprites"], progress=False), None)
    wrong = [f"{name}, {count}" for name, of in values.items() for count, one in of.items() if one["right"] is False]
    record(
        "mirror",
        "A small network tells from the images whether they may be mirrored: faces yes; letters, digits, words, X-rays no.",
        {**values, "wrong": wrong, "seconds_most": max(one["seconds"] for of in values.values() for one in of.values())},
        {"images": [*COUNTS, mirroring.IMAGES]},
        settings="seconds of processor time, one thread; bits and accuracy as recombine/training/mirroring.py defines them",
    )
