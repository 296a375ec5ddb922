"""Avatars: synthetic faces of which every factor is known, so that the true image of every edit can be drawn.

The parts are python-avatars' (MIT licence, after Pablo Stanley's Avataaars); they are put together here, so that the
head can turn and tilt, the eyes can look aside, and light can fall from one side, and are rasterised by resvg.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from recombine.data.batch import mix_seed
from recombine.data.schema import Attribute, Mirror
from recombine.data.synthetic.drawn import Drawn, Factors, uniform

HAIR_COLORS = {"black": "BLACK", "brown": "BROWN", "red": "RED", "blond": "BLONDE_GOLDEN", "silver": "SILVER_GRAY"}
SKINS = {"pale": "PALE", "light": "LIGHT", "brown": "DARK_BROWN", "dark": "BLACK"}
HAIRS = {
    "short": "CAESAR", "bun": "BUN", "bob": "MIA_WALLACE", "curly": "CURLY", "afro": "FRO", "long": "STRAIGHT_STRAND",
}  # fmt: skip
BROWS = {"calm": "FLAT_NATURAL", "angry": "ANGRY_NATURAL", "worried": "SAD_CONCERNED_NATURAL"}
MOUTHS = {"smile": "BIG_SMILE", "serious": "SERIOUS", "sad": "SAD", "open": "SCREAM_OPEN"}
GLASSES = {"none": "NONE", "round": "ROUND", "square": "PRESCRIPTION_2"}
BEARDS = {"none": "NONE", "full": "BEARD_MEDIUM"}
CLOTHES = {"shirt": "SHIRT_CREW_NECK", "hoodie": "HOODIE", "overall": "OVERALL"}
CLOTHES_COLORS = {"red": "RED", "blue": "BLUE_02", "yellow": "PASTEL_YELLOW", "slate": "HEATHER"}
BACKGROUNDS = {"white": "#ffffff", "sky": "#a8d8f0", "sand": "#f0dcb4", "rose": "#eeb6c0", "night": "#39456b"}
EYES = {"open": (12, 12), "wide": (15, 17), "narrow": (14, 6)}  # half width and half height of the white, drawing units
GAZES = {"left": -7.0, "centre": 0.0, "right": 7.0}             # shift of the pupils, drawing units

FACTORS: dict[str, tuple[str, ...]] = {
    "hair": tuple(HAIRS), "hair_color": tuple(HAIR_COLORS), "skin": tuple(SKINS), "beard": tuple(BEARDS),
    "brows": tuple(BROWS), "eyes": tuple(EYES), "gaze": tuple(GAZES), "mouth": tuple(MOUTHS), "glasses": tuple(GLASSES),
    "clothes": tuple(CLOTHES), "clothes_color": tuple(CLOTHES_COLORS), "background": tuple(BACKGROUNDS),
}  # fmt: skip
NUMBERS: dict[str, tuple[float, float]] = {
    "yaw": (-30.0, 30.0),                   # degrees; positive: the face looks to the image's left
    "roll": (-3.0, 3.0),                    # degrees; positive: the head tilts to the image's right
    "light": (-1.0, 1.0),                   # -1: from the image's left, 0: even, 1: from its right
}
IDENTITY = ("hair", "hair_color", "skin", "beard")  # the factors that make a person
CLIP = ("background", "clothes", "clothes_color", "light")  # what stays while one person is filmed
FEELINGS = {  # (valence, arousal) that a factor's value adds
    "mouth": {"smile": (0.7, 0.3), "serious": (0.0, -0.3), "sad": (-0.6, -0.1), "open": (0.0, 0.6)},
    "brows": {"calm": (0.1, -0.1), "angry": (-0.4, 0.3), "worried": (-0.3, 0.0)},
    "eyes": {"open": (0.0, 0.0), "wide": (0.0, 0.2), "narrow": (0.0, -0.2)},
}
EXPRESSIONS = ("neutral", "happiness", "sadness", "surprise", "anger", "fear")
LIGHTINGS = ("left", "even", "right")      # thirds of the range of `light`
PER_CLIP, PER_PERSON = 4, 8                 # images of one clip; of one person in two clips


def render(factors: Mapping[str, Any], size: int = 64) -> np.ndarray:
    """Draw one avatar `[3, size, size]`, uint8, from a value for each of `FACTORS` and a number for each of `NUMBERS`.

    Raises:
        ValueError: A factor is missing or has a value that does not exist.
    """
    import resvg_py

    AVATARS.check(factors)
    png = resvg_py.svg_to_bytes(svg_string=_document(factors), width=size, height=size)
    image = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"), np.float32)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)[None, :, None]
    lit = image * (1 + 0.15 * np.float32(factors["light"]) * ramp)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8).transpose(2, 0, 1)


def mirror(factors: Mapping[str, Any]) -> Factors:
    """The factors of the mirrored image: yaw, roll and light change sign, and left and right gaze change places."""
    turned = {name: -float(factors[name]) for name in NUMBERS}
    return {**factors, **turned, "gaze": {"left": "right", "right": "left"}.get(str(factors["gaze"]), "centre")}


def sample(count: int, seed: int = 0) -> list[Factors]:
    """Factors of many avatars: persons with eight images each, in two clips of four.

    Single factors are uniform and independent of each other; every combination that makes a person is used before one
    comes again.
    """
    rng = np.random.default_rng(mix_seed("avatars", seed))
    people = persons(rng)
    found: list[Factors] = []
    while len(found) < count:
        person, clip = next(people), {}
        for image in range(PER_PERSON):
            if image % PER_CLIP == 0:
                clip = {name: str(rng.choice(FACTORS[name])) for name in CLIP if name in FACTORS}
                clip = {**clip, "light": uniform(rng, *NUMBERS["light"])}
            moment = {name: str(rng.choice(values)) for name, values in FACTORS.items() if name not in IDENTITY + CLIP}
            turn = {name: uniform(rng, *NUMBERS[name]) for name in ("yaw", "roll")}
            found.append({**person, **clip, **moment, **turn})
    return found[:count]


def persons(rng: np.random.Generator) -> Iterator[Factors]:
    """Combinations that make a person, shuffled, again and again."""
    sizes = [len(FACTORS[name]) for name in IDENTITY]
    while True:
        for place in rng.permutation(np.prod(sizes)):
            which = np.unravel_index(place, sizes)
            yield {name: FACTORS[name][value] for name, value in zip(IDENTITY, which, strict=True)}


def labels(factors: Mapping[str, Any]) -> dict[str, Any]:
    """Every column of one avatar: its factors, and what they make together."""
    feelings = [FEELINGS[name][str(factors[name])] for name in FEELINGS]
    valence, arousal = (float(np.clip(sum(f[axis] for f in feelings), -1, 1)) for axis in (0, 1))
    light = float(factors["light"])
    together = {
        "identity": " ".join(str(factors[name]) for name in IDENTITY),
        "clip": " ".join(str(factors[name]) for name in (*IDENTITY, *CLIP)),
        "expression": expression(str(factors["mouth"]), str(factors["brows"])),
        "lighting": "left" if light < -1 / 3 else "right" if light > 1 / 3 else "even",
    }
    return {**factors, **together, "valence": valence, "arousal": arousal}


def expression(mouth: str, brows: str) -> str:
    """What a mouth and brows show together."""
    if mouth == "open":
        return "fear" if brows == "worried" else "surprise"
    if brows == "angry" and mouth != "smile":
        return "anger"
    return {"smile": "happiness", "sad": "sadness", "serious": "neutral"}[mouth]


def attributes(rows: Sequence[Mapping[str, Any]]) -> list[Attribute]:
    """What explains the columns of some avatars."""
    named = {**FACTORS, "expression": EXPRESSIONS, "lighting": LIGHTINGS}
    mirrors: dict[str, Mirror] = dict.fromkeys(("gaze", "lighting"), (("left", "right"),))
    found = [Attribute(n, "categorical", values, mirror=mirrors.get(n, "keep")) for n, values in named.items()]
    for name in ("identity", "clip"):
        found.append(Attribute(name, "group", tuple(sorted({str(row[name]) for row in rows}))))
    for name, (low, high) in NUMBERS.items():
        found.append(Attribute(name, "continuous", low=low, high=high, mirror="negate"))
    return found + [Attribute(name, "continuous", low=-1.0, high=1.0) for name in ("valence", "arousal")]


def splits(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A split for every image, whole persons together: 80 % of them train, 10 % are val, 10 % test."""
    people = sorted({str(row["identity"]) for row in rows})
    order = np.random.default_rng(0).permutation(len(people))
    edge = max(1, round(len(people) / 10)) if len(people) > 2 else 0
    rank = {people[place]: number for number, place in enumerate(order)}
    ranks = [rank[str(row["identity"])] for row in rows]
    return ["val" if r < edge else "test" if r < 2 * edge else "train" for r in ranks]


def _document(factors: Mapping[str, Any]) -> str:
    """The SVG of an avatar, background first."""
    turn = float(factors["yaw"]) / NUMBERS["yaw"][1]
    body = _fragment("Body", "skin_color", SKINS[factors["skin"]])
    hair_color = HAIR_COLORS[factors["hair_color"]]
    hair = _fragment("Top", "top", HAIRS[factors["hair"]], "hair_color", hair_color)
    beard = _fragment("Facial-Hair", "facial_hair", BEARDS[factors["beard"]], "facial_hair_color", hair_color)
    clothes_color = CLOTHES_COLORS[factors["clothes_color"]]
    clothes = _fragment("Clothing", "clothing", CLOTHES[factors["clothes"]], "clothing_color", clothes_color)
    brows, nose = _fragment("Eyebrow", "eyebrows", BROWS[factors["brows"]]), _fragment("Nose", "nose", "DEFAULT")
    mouth = _fragment("Mouth", "mouth", MOUTHS[factors["mouth"]])
    glasses = _fragment("Accessory", "accessory", GLASSES[factors["glasses"]])
    # Strokes that are seen at 64 pixels, too.
    brows = brows.replace('stroke="none" stroke-width="1"', 'stroke="#000" stroke-opacity="0.6" stroke-width="3"')
    face = f'<g transform="translate(76 82)" fill="#000">{nose}{eyes(factors)}{brows}</g>'
    front = _shift(-5 * turn, f'{beard}<g transform="translate(76 82)">{mouth}</g>{face}')
    head = f'<g clip-path="url(#head)">{body}</g>{front}{_shift(-5.5 * turn, glasses)}{hair}'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="10 12 244 244">'
        '<defs><clipPath id="head"><rect x="0" y="0" width="264" height="196"/></clipPath>'
        '<clipPath id="trunk"><rect x="0" y="178" width="264" height="120"/></clipPath></defs>'
        f'<rect width="300" height="300" fill="{BACKGROUNDS[factors["background"]]}"/>'
        f'<g clip-path="url(#trunk)">{body}</g>{clothes}'
        f'<g transform="rotate({float(factors["roll"]):.4f} 132 190)">{head}</g></svg>'
    )


def _shift(x: float, content: str) -> str:
    return f'<g transform="translate({x:.4f} 0)">{content}</g>'


def eyes(factors: Mapping[str, Any]) -> str:
    """Two whites with pupils, moved to where the gaze is."""
    width, height = EYES[factors["eyes"]]
    aside = GAZES[factors["gaze"]] * width / 14
    pupil = min(7, height)
    return "".join(
        f'<ellipse cx="{x}" cy="30" rx="{width}" ry="{height}" fill="#fff"/>'
        f'<ellipse cx="{x + aside:.3f}" cy="30" rx="6" ry="{pupil}" fill="#222"/>'
        for x in (30, 82)
    )


@cache
def _fragment(part: str, kind: str, value: str, color_kind: str = "", color: str = "") -> str:
    """One part of python-avatars' drawing with its definitions, in the coordinates of the part's own layer."""
    import python_avatars as avatars

    ENUMS = {
        "skin_color": avatars.SkinColor, "top": avatars.HairType, "hair_color": avatars.HairColor,
        "facial_hair": avatars.FacialHairType, "facial_hair_color": avatars.HairColor, "clothing": avatars.ClothingType,
        "clothing_color": avatars.ClothingColor, "eyebrows": avatars.EyebrowType, "nose": avatars.NoseType,
        "mouth": avatars.MouthType, "accessory": avatars.AccessoryType,
    }  # fmt: skip
    plain = {"top": ENUMS["top"].CAESAR, "facial_hair": ENUMS["facial_hair"].NONE, "accessory": ENUMS["accessory"].NONE}
    chosen = {kind: ENUMS[kind][value]} | ({color_kind: ENUMS[color_kind][color]} if color_kind else {})
    drawing = avatars.Avatar(style=avatars.AvatarStyle.TRANSPARENT, **{**plain, **chosen}).render()
    return _cut_out(drawing, part, unique=f"{part}-{kind}-{value}-{color}".lower())


def _cut_out(drawing: str, part: str, unique: str) -> str:
    """The group whose id ends in `part`, with the definitions it refers to, every id made unique."""
    space = {"": "http://www.w3.org/2000/svg"}
    ElementTree.register_namespace("", space[""])
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(drawing)
    group = next((g for g in root.iter(f"{{{space['']}}}g") if g.get("id", "").endswith(f"_{part}")), None)
    if group is None:
        return ""
    if part == "Top":                       # beard and glasses are layers of their own here
        for parent in list(group.iter()):
            for child in [c for c in parent if c.get("id", "").endswith(("_Accessory", "_Facial-Hair"))]:
                parent.remove(child)
    definitions = "".join(ElementTree.tostring(d, "unicode") for d in root.findall("defs", space))
    text = ElementTree.tostring(group, "unicode")
    if part == "Body":
        text = f"<g><defs>{definitions}</defs>{text}</g>"
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{unique}-", text)


AVATARS = Drawn(
    "avatars", "an avatar", FACTORS, NUMBERS, render, sample, labels, attributes, splits, pair_by="clip",
    behind={
        "expression": ("mouth", "brows"), "lighting": ("light",), "identity": IDENTITY, "clip": IDENTITY + CLIP,
        "valence": tuple(FEELINGS), "arousal": tuple(FEELINGS),
    },
    goes_with={
        "mouth": ("expression",), "brows": ("expression",), "expression": ("mouth", "brows"), "light": ("lighting",),
    },
)  # fmt: skip
build, edit, truth = AVATARS.build, AVATARS.edit, AVATARS.truth
