"""Sprites: figures put together from Liberated Pixel Cup sheets; appearance and pose of every image are known.

A folder of sheets has one folder per layer and in it one PNG per variant: `body/0.png`, `hair/long.png`. A sheet is a
grid of 64 x 64 cells, 13 columns by 21 rows; four rows per action (back, left, front, right) and one for `hurt`. The
combination of variants is the character; action, direction and frame are its pose. https://lpc.opengameart.org
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from recombine.data.batch import mix_seed
from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Attribute, Mirror, Schema
from recombine.data.sources.labels import LabelTable, split_by_group
from recombine.data.synthetic.drawn import check_names
from recombine.messages import nearest, shown

Factors = dict[str, str]

LAYERS = ("body", "eyes", "bottomwear", "topwear", "shoes", "hair")  # from the bottom up
DIRECTIONS = ("back", "left", "front", "right")
ACTIONS = {"spellcast": 7, "thrust": 8, "walk": 9, "slash": 6, "shoot": 13, "hurt": 6}  # frames; rows in this order
FRAMES = tuple(map(str, range(max(ACTIONS.values()))))
TURNING = ("spellcast", "thrust", "walk", "slash", "shoot")  # seen from all four sides; hurt only from the front
POSE = ("action", "direction", "frame")
CELL, COLUMNS, ROWS = 64, 13, 21            # pixels; cells of a sheet
WHITE = (255, 255, 255)
CHUNK = 256                                 # images composed at a time


@dataclass(frozen=True)
class Sheets:
    """An opened folder of sheets; `open_sheets` makes it."""

    root: Path
    layers: Mapping[str, Mapping[str, Path]]  # layer -> variant -> file
    _read: dict[Path, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def variants(self, layer: str) -> tuple[str, ...]:
        """Names of a layer's variants, numbers in their own order."""
        return tuple(self.layers[layer])

    def complete(self, layer: str, actions: Sequence[str]) -> tuple[str, ...]:
        """The variants that show something in each of these actions, and those clear everywhere; ValueError if none."""
        names = tuple(name for name in self.variants(layer) if not missing(self.cells(layer, name), actions))
        if not names:
            lacking = {name: missing(self.cells(layer, name), actions) for name in self.variants(layer)}
            gaps = shown([f"{name} lacks {shown(absent)}" for name, absent in lacking.items()])
            raise ValueError(f"no sheet of {layer!r} has all of {shown(list(actions))}: {gaps}; ask for fewer actions")
        return names

    def cells(self, layer: str, variant: str) -> np.ndarray:
        """All cells of a sheet, `[21, 13, 64, 64, 4]` uint8 RGBA; it is read when it is first needed."""
        path = self.layers[layer][variant]
        if path not in self._read:
            self._read[path] = read_sheet(path)
        return self._read[path]


def open_sheets(folder: str | Path) -> Sheets:
    """The sheets of a folder with a folder of PNG files for each of `LAYERS`; raises ValueError where one has none."""
    root = Path(folder)
    layout = f"one folder of PNG sheets for each of {shown(LAYERS)}"
    if not root.is_dir():
        raise ValueError(f"there is no folder {str(root)!r}; give the folder of the sheets, with {layout}")
    found = {layer: list((root / layer).glob("*.png")) for layer in LAYERS}
    for paths in found.values():            # 2 before 10, and numbers before names
        paths.sort(key=lambda path: (int(path.stem) if path.stem.isdecimal() else 10**9, path.stem))
    empty = [layer for layer in LAYERS if not found[layer]]
    if empty:
        raise ValueError(f"{str(root)!r} has no sheets in {shown(empty)}; expected {layout}, each with at least one")
    return Sheets(root, {layer: {path.stem: path for path in paths} for layer, paths in found.items()})


def is_sheets(folder: str | Path) -> bool:
    """Whether a folder has one folder for each layer, as `open_sheets` wants it."""
    return all((Path(folder) / layer).is_dir() for layer in LAYERS)


def read_sheet(path: Path) -> np.ndarray:
    """The cells of a sheet, `[21, 13, 64, 64, 4]` uint8 RGBA; raises ValueError for a file that is none."""
    try:
        with Image.open(path) as image:
            sheet = np.asarray(image.convert("RGBA"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read as an image ({error}); replace it or remove it") from error
    if sheet.shape[:2] != (ROWS * CELL, COLUMNS * CELL):
        size = f"{COLUMNS * CELL} x {ROWS * CELL}, {COLUMNS} by {ROWS} cells of {CELL}"
        text = f"{path} is {sheet.shape[1]} x {sheet.shape[0]} pixels; a sheet is {size}"
        raise ValueError(f"{text}. Replace it or take it out of the folder")
    return np.ascontiguousarray(sheet.reshape(ROWS, CELL, COLUMNS, CELL, 4).swapaxes(1, 2))


def missing(cells: np.ndarray, actions: Sequence[str]) -> list[str]:
    """Those actions in which a sheet draws nothing; none for a sheet that is clear everywhere."""
    drawn = np.any(cells[..., 3], axis=(1, 2, 3))
    return [name for name in actions if not drawn[rows_of(name)].any()] if drawn.any() else []


def rows_of(action: str) -> slice:
    """Rows of an action in every sheet."""
    start = 4 * list(ACTIONS).index(action)
    return slice(start, start + (4 if action in TURNING else 1))


def render(sheets: Sheets, factors: Mapping[str, str], background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """Compose one figure `[3, 64, 64]`, uint8, from a variant for each of `LAYERS`, and `action`, `direction`, `frame`.

    Raises:
        ValueError: A factor is missing or has a value that does not exist.
    """
    check(sheets, factors)
    row, column = place(factors)
    image = np.empty((CELL, CELL, 3), np.float32)
    image[:] = background
    for layer in LAYERS:
        cell = sheets.cells(layer, factors[layer])[row, column].astype(np.float32)
        opacity = cell[..., 3:] / 255
        image += opacity * (cell[..., :3] - image)
    return np.rint(image).astype(np.uint8).transpose(2, 0, 1)


def place(factors: Mapping[str, str]) -> tuple[int, int]:
    """Row and column of a pose in every sheet."""
    turn = DIRECTIONS.index(factors["direction"]) if factors["action"] in TURNING else 0
    return rows_of(factors["action"]).start + turn, int(factors["frame"])


def edit(sheets: Sheets, factors: Mapping[str, str], name: str, value: object) -> Factors:
    """The same factors with one changed, or with all of its `character` or `pose`, written as in a pack.

    Raises:
        ValueError: There is no such figure: actions differ in their frames, and `hurt` is seen from the front only.
    """
    names = {"character": LAYERS, "pose": POSE}.get(name, (name,))
    values = str(value).split(" ") if len(names) > 1 else [str(value)]
    if len(values) != len(names):
        raise ValueError(f"a {name} is written as {' '.join(names)!r}, not as {str(value)!r}")
    changed = {**factors, **dict(zip(names, values, strict=True))}
    check(sheets, changed)
    return changed


def check(sheets: Sheets, factors: Mapping[str, str]) -> None:
    """Refuse factors that cannot be composed, naming those that can."""
    values = choices(sheets)
    check_names("a sprite", factors, list(values))
    for name, value in factors.items():
        if value not in values[name]:
            close = nearest(value, values[name])
            raise ValueError(f"{name} has no value {value!r}; it has {shown(values[name], 20)}{close}")
    action, direction, frame = (factors[name] for name in POSE)
    if int(frame) >= ACTIONS[action]:
        frames = ACTIONS[action]
        raise ValueError(f"{action} has {frames} frames, 0 to {frames - 1}; there is no frame {frame}")
    if action not in TURNING and direction != "front":
        raise ValueError(f"{action} is drawn from the front only, not from direction {direction!r}")


def choices(sheets: Sheets) -> dict[str, tuple[str, ...]]:
    """Every factor with its values."""
    pose = {"action": tuple(ACTIONS), "direction": DIRECTIONS, "frame": FRAMES}
    return {**{layer: sheets.variants(layer) for layer in LAYERS}, **pose}


def poses(actions: Sequence[str] = TURNING) -> list[Factors]:
    """Every pose of some actions, in the order of the sheets."""
    unknown = [action for action in actions if action not in ACTIONS]
    if unknown or not actions:
        raise ValueError(f"actions are some of {shown(list(ACTIONS))}, not {shown(unknown)}")
    sides = {action: DIRECTIONS if action in TURNING else ("front",) for action in ACTIONS if action in actions}
    return [
        {"action": action, "direction": direction, "frame": FRAMES[frame]}
        for action in sides
        for direction in sides[action]
        for frame in range(ACTIONS[action])
    ]


def sample(
    sheets: Sheets, count: int, seed: int = 0, per_character: int = 8, actions: Sequence[str] = TURNING
) -> list[Factors]:
    """Factors of many sprites: characters, no two alike, in several poses each, no two alike.

    Layers are independent of each other; actions are equally frequent, and so are the directions and frames of each.
    Variants that lack one of the actions are not used, so that no figure is half dressed.

    The last character has fewer images than `per_character` where this does not divide `count`.

    Raises:
        ValueError: There are not that many characters or poses.
    """
    rng = np.random.default_rng(mix_seed("sprites", seed))
    possible = poses(actions)
    if not 1 <= per_character <= len(possible):
        have = f"{shown(list(actions))} have {len(possible)} poses"
        raise ValueError(f"{have}; per_character lies between 1 and that, not at {per_character}")
    counts = Counter(pose["action"] for pose in possible)
    probabilities = np.array([1 / (len(counts) * counts[pose["action"]]) for pose in possible])
    found: list[Factors] = []
    for person in characters(sheets, -(-count // per_character), rng, actions):
        chosen = rng.choice(len(possible), per_character, replace=False, p=probabilities)
        found += [person | possible[index] for index in chosen]
    return found[:count]


def characters(sheets: Sheets, count: int, rng: np.random.Generator, actions: Sequence[str]) -> Iterator[Factors]:
    """Different random combinations of variants that have these actions."""
    variants = {layer: sheets.complete(layer, actions) for layer in LAYERS}
    sizes = [len(variants[layer]) for layer in LAYERS]
    most = int(np.prod(sizes))
    if not 1 <= count <= most:
        text = f"these sheets make {most} characters; {count} were asked for"
        raise ValueError(f"{text}, so ask for fewer images or more of each")
    for index in rng.permutation(most)[:count]:
        which = np.unravel_index(index, sizes)
        yield {layer: variants[layer][place] for layer, place in zip(LAYERS, which, strict=True)}


def build(
    folder: str | Path, sheets: Sheets | str | Path, count: int = 8_000, seed: int = 0, per_character: int = 8,
    actions: Sequence[str] = TURNING, background: tuple[int, int, int] = WHITE, progress: bool = True,
) -> Pack:  # fmt: skip
    """Compose the sprites of `sample` into a pack; takes seconds, so an interrupted call starts again.

    80 % of the characters train, 10 % are val, 10 % test. Besides the factors there are the groups `character` and
    `pose`. The sheets are those of `open_sheets`, or their folder; the background is an 8-bit colour.
    """
    from rich.progress import track

    sheets = sheets if isinstance(sheets, Sheets) else open_sheets(sheets)
    composed = sample(sheets, count, seed, per_character, actions)
    table = label_table(sheets, composed, actions)
    schema = Schema(table.attributes, CELL, CELL, background=background)
    starts = track(range(0, len(composed), CHUNK), "composing sprites", disable=not progress, transient=True)
    images = (np.stack([render(sheets, each, background) for each in composed[s : s + CHUNK]]) for s in starts)
    splits = split_by_group(table, seed, group="character")
    return write_pack(folder, images, schema, table.files, table.columns, splits)


def label_table(sheets: Sheets, composed: Sequence[Factors], actions: Sequence[str] = TURNING) -> LabelTable:
    """File names, attributes and columns of sprites; values that no sprite of these actions can have are left out."""
    rows = [{**factors, "character": joined(factors, LAYERS), "pose": joined(factors, POSE)} for factors in composed]
    names = tuple(sorted({row["character"] for row in rows}))
    possible = poses(actions)
    values = {name: tuple(v for v in choices(sheets)[name] if any(p[name] == v for p in possible)) for name in POSE}
    values |= {layer: sheets.complete(layer, actions) for layer in LAYERS}
    stances = tuple(joined(pose, POSE) for pose in possible)
    attributes = (
        *(Attribute(name, "categorical", values[name], mirror=turned(values[name])) for name in POSE),
        Attribute("pose", "group", stances, mirror=turned(stances)),
        Attribute("character", "group", names),
        *(Attribute(layer, "categorical", values[layer]) for layer in LAYERS),
    )
    places = {a.name: {value: index for index, value in enumerate(a.values)} for a in attributes}
    columns = {name: np.array([at[row[name]] for row in rows], np.int64) for name, at in places.items()}
    files = [f"{row['character']}/{row['pose']}.png".replace(" ", "-") for row in rows]
    return LabelTable(attributes, files, columns, None)


def turned(values: Sequence[str]) -> Mirror:
    """How a label changes in the mirrored image: left and right, or poses to the left and right, change places.

    The sheets draw left and right as each other's mirror images (measured: above 60 dB). Poses seen from the back or
    the front have no twin, the other hand would act: where these must be exact, train without mirroring.
    """
    return tuple((value, value.replace("left", "right")) for value in values if "left" in value.split(" ")) or "keep"


def joined(factors: Mapping[str, str], names: Sequence[str]) -> str:
    """A character's or a pose's name: its values in their order."""
    return " ".join(factors[name] for name in names)


def truth(pack: Pack, row: int) -> Factors:
    """The exact factors of a packed sprite."""
    return {name: pack.schema[name].values[int(pack.labels[name][row])] for name in (*LAYERS, *POSE)}
