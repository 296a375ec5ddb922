"""Avatars: synthetic faces of which every factor is known, so that the true image of every edit can be drawn.

The parts are python-avatars' (MIT licence, after Pablo Stanley's Avataaars); they are put together here, so that the
head can turn and tilt, the eyes can look aside, and light can fall from one side, and are rasterised by resvg.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack, is_pack, write_pack
from recombine.data.schema import Attribute, Mirror, Schema
from recombine.files import digest, write_bytes
from recombine.messages import nearest, shown

Factors = dict[str, Any]

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
CHUNK = 256                                 # images drawn and kept at a time


def render(factors: Mapping[str, Any], size: int = 64) -> np.ndarray:
    """Draw one avatar `[3, size, size]`, uint8, from a value for each of `FACTORS` and a number for each of `NUMBERS`.

    Raises:
        ValueError: A factor is missing or has a value that does not exist.
    """
    import resvg_py

    check(factors)
    png = resvg_py.svg_to_bytes(svg_string=_document(factors), width=size, height=size)
    image = np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGB"), np.float32)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)[None, :, None]
    lit = image * (1 + 0.15 * np.float32(factors["light"]) * ramp)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8).transpose(2, 0, 1)


def edit(factors: Mapping[str, Any], name: str, value: str | float) -> Factors:
    """The same factors with one changed."""
    changed = {**factors, name: value}
    check(changed)
    return changed


def mirror(factors: Mapping[str, Any]) -> Factors:
    """The factors of the mirrored image: yaw, roll and light change sign, and left and right gaze change places."""
    turned = {name: -float(factors[name]) for name in NUMBERS}
    return {**factors, **turned, "gaze": {"left": "right", "right": "left"}.get(str(factors["gaze"]), "centre")}


def check_names(what: str, factors: Mapping[str, Any], names: list[str]) -> None:
    """Refuse factors that lack one of these names or have another."""
    for name in names:
        if name not in factors:
            raise ValueError(f"{what} needs {name!r}; these factors have {shown(list(factors), 20)}")
    for name in factors:
        if name not in names:
            raise ValueError(f"{what} has no factor {name!r}; it has {shown(names, 20)}{nearest(name, names)}")


def check(factors: Mapping[str, Any]) -> None:
    """Refuse factors that cannot be drawn, naming those that can."""
    check_names("an avatar", factors, [*FACTORS, *NUMBERS])
    for name, value in factors.items():
        if name in FACTORS and value not in FACTORS[name]:
            close = nearest(str(value), FACTORS[name])
            raise ValueError(f"{name} has no value {value!r}; it has {shown(FACTORS[name])}{close}")
        if name in NUMBERS and not NUMBERS[name][0] <= float(value) <= NUMBERS[name][1]:
            raise ValueError(f"{name} lies between {NUMBERS[name][0]:g} and {NUMBERS[name][1]:g}, not at {value}")


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
                clip = {**clip, "light": uniform(rng, "light")}
            moment = {name: str(rng.choice(values)) for name, values in FACTORS.items() if name not in IDENTITY + CLIP}
            found.append({**person, **clip, **moment, "yaw": uniform(rng, "yaw"), "roll": uniform(rng, "roll")})
    return found[:count]


def persons(rng: np.random.Generator) -> Iterator[Factors]:
    """Combinations that make a person, shuffled, again and again."""
    sizes = [len(FACTORS[name]) for name in IDENTITY]
    while True:
        for place in rng.permutation(np.prod(sizes)):
            which = np.unravel_index(place, sizes)
            yield {name: FACTORS[name][value] for name, value in zip(IDENTITY, which, strict=True)}


def uniform(rng: np.random.Generator, name: str) -> float:
    """A value of a continuous factor, exact in 32 bits."""
    return float(np.float32(round(rng.uniform(*NUMBERS[name]), 3)))


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


def build(
    folder: str | Path, count: int = 6_000, size: int = 64, seed: int = 0,
    workers: int | None = None, progress: bool = True,
) -> Pack:  # fmt: skip
    """Draw avatars of `size` x `size` pixels into a pack; what an interrupted call has drawn is used by the next.

    80 % of the persons train, 10 % are val, 10 % test. Avatars that are in the folder are opened if they are these, and
    drawn anew if not. Without `workers` all cores draw.

    Raises:
        ValueError: The folder holds a pack of other images, or count is not positive.
    """
    if count < 1:
        raise ValueError(f"count is the number of avatars to draw, 1 or more, not {count}")
    folder, planned = Path(folder), sample(count, seed)
    if is_pack(folder):
        pack = Pack(folder)
        if not set(FACTORS) <= set(pack.schema.names):
            raise ValueError(f"{folder} holds a pack that is not of avatars; choose another folder, or remove that one")
        if holds(pack, planned, size):
            return pack
    rows = [labels(factors) for factors in planned]
    columns, schema = table(rows, size)
    files = [f"{place:06d}.png" for place in range(count)]
    images = chunks(folder / "drawn", planned, size, seed, workers, progress)
    pack = write_pack(folder, images, schema, files, columns, splits(rows))
    shutil.rmtree(folder / "drawn")
    return pack


def holds(pack: Pack, planned: list[Factors], size: int) -> bool:
    """Whether a pack has these avatars, drawn as they are drawn today (the first and the last image tell)."""
    if (len(pack), *pack.schema.image_size) != (len(planned), size, size):
        return False
    if set(labels(planned[0])) != set(pack.schema.names) or any(pack.schema[n].values != v for n, v in FACTORS.items()):
        return False
    alike = all(np.array_equal(pack.images[row], render(planned[row], size)) for row in (0, -1))
    return alike and all(truth(pack, row) == factors for row, factors in enumerate(planned))


def chunks(
    folder: Path, planned: list[Factors], size: int, seed: int, workers: int | None, progress: bool
) -> Iterator[np.ndarray]:
    """Images `[n, 3, size, size]` in order, each chunk kept in a file as soon as it is drawn."""
    from joblib import Parallel, delayed
    from rich.progress import track

    folder.mkdir(parents=True, exist_ok=True)
    parts = {start: planned[start : start + CHUNK] for start in range(0, len(planned), CHUNK)}
    first = digest(render(planned[0], size))  # chunks that an older drawing left are not used
    paths = [folder / f"{seed}-{size}-{start}-{len(part)}-{first}.npy" for start, part in parts.items()]
    undone = [(part, path) for part, path in zip(parts.values(), paths, strict=True) if not path.exists()]
    jobs = [delayed(draw_chunk)(part, size, path) for part, path in undone]
    workers = min(workers or os.cpu_count() or 1, max(1, len(jobs)))
    finished = Parallel(workers, return_as="generator_unordered")(jobs)
    for _ in track(finished, "drawing avatars", total=len(jobs), disable=not progress, transient=True):
        pass
    for path in paths:
        yield np.load(path, allow_pickle=False)


def draw_chunk(factors: list[Factors], size: int, path: Path) -> None:
    """Draw some avatars into a file that appears only when it is whole."""
    content = io.BytesIO()
    np.save(content, np.stack([render(each, size) for each in factors]), allow_pickle=False)
    write_bytes(path, content.getvalue())


def table(rows: list[dict[str, Any]], size: int) -> tuple[dict[str, np.ndarray], Schema]:
    """The columns as a pack stores them, and the schema that explains them."""
    named = {**FACTORS, "expression": EXPRESSIONS, "lighting": LIGHTINGS}
    mirrors: dict[str, Mirror] = dict.fromkeys(("gaze", "lighting"), (("left", "right"),))
    attributes = [Attribute(n, "categorical", values, mirror=mirrors.get(n, "keep")) for n, values in named.items()]
    for name in ("identity", "clip"):
        attributes.append(Attribute(name, "group", tuple(sorted({str(row[name]) for row in rows}))))
    for name, (low, high) in NUMBERS.items():
        attributes.append(Attribute(name, "continuous", low=low, high=high, mirror="negate"))
    attributes += [Attribute(name, "continuous", low=-1.0, high=1.0) for name in ("valence", "arousal")]
    columns = {}
    for attribute in attributes:
        place = {value: index for index, value in enumerate(attribute.values)}
        values = [row[attribute.name] for row in rows]
        columns[attribute.name] = np.array([place[v] for v in values]) if place else np.array(values, np.float32)
    return columns, Schema(tuple(attributes), size, size)


def splits(rows: list[dict[str, Any]]) -> list[str]:
    """A split for every image, whole persons together."""
    people = sorted({str(row["identity"]) for row in rows})
    order = np.random.default_rng(0).permutation(len(people))
    edge = max(1, round(len(people) / 10)) if len(people) > 2 else 0
    rank = {people[place]: number for number, place in enumerate(order)}
    ranks = [rank[str(row["identity"])] for row in rows]
    return ["val" if r < edge else "test" if r < 2 * edge else "train" for r in ranks]


def truth(pack: Pack, row: int) -> Factors:
    """The exact factors of a packed avatar."""
    names = {name: pack.schema[name].values[int(pack.labels[name][row])] for name in FACTORS}
    return {**names, **{name: float(pack.labels[name][row]) for name in NUMBERS}}


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
