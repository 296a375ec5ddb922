"""`recombine edit`: set, swap, interpolate, mix; images in, edited images out, many in small batches."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter, validators

from recombine.commands.options import Flag, Names, best_device, number, pairs, print_json, say

if TYPE_CHECKING:
    from torch import Tensor

    from recombine.codes import Codes
    from recombine.method import Method

STEPS = ("0", "0.25", "0.5", "0.75", "1")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
MOST_IN_GRID = 100
NOTES = 5               # remarks on odd images that are shown

Images = Annotated[list[Path], Parameter(consume_multiple=True)]
Edit = Callable[["Codes", list[int]], list["Codes"]]  # codes of some images, and which these are -> one or more edits


@Parameter(name="*", group="How images are read and written")
@dataclass(frozen=True, kw_only=True)
class Writing:
    """How images are read, and where the edited ones go."""

    out: Path
    """Folder for the edited images, each under its own name; or a .png file, for one image or with --grid."""
    grid: Flag = False
    """Write one image instead: in each row an original and its edits."""
    bits: Literal[8, 16] | None = None
    """Colour depth that is read and written; the model's own when not given."""
    on_bad: Literal["error", "skip"] = "error"
    """What to do about a file that cannot be read as an image."""
    overwrite: Flag = False
    """Replace what an earlier command wrote; originals are never replaced."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the networks; bf16-mixed is often twice as fast, and most pixels are off by less than two steps of 8 bits."""
    batch: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 64
    """Images in memory at a time."""
    json: Flag = False
    """Print what was written as JSON."""


edit = App(name="edit", help="Edit images with a trained model: set a label, swap, interpolate, mix.")


@edit.command(name="set")
def set_labels(
    model: Path, images: Images, /, *, label: list[str], strength: float = 1.0,
    draws: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0, writing: Writing,
) -> None:  # fmt: skip
    """Give images a label.

    For example, a folder of faces that then smile a little:

        recombine edit set runs/avatars photos --label mouth=smile --strength 0.7 --out smiling

    And one face with four different smiles, side by side, by a model that has a prior:

        recombine edit set runs/photos anna.png --label Smiling=1 --draws 4 --grid --out smiles.png

    Args:
        model: Run folder, or the model folder in it.
        images: Image files, or folders of them.
        label: ATTRIBUTE=VALUE; may be given several times.
        strength: From 0, the image as it is, to 1, the label; above 1 exaggerates.
        draws: So many different ways to have the label, drawn from the model's prior; 0 is the mean way.
        writing: How images are read and written.
    """
    import recombine as rc
    from recombine.data.batch import mix_seed

    method = rc.load(model, best_device(), writing.precision)
    labels = pairs(label, "--label")
    for name, value in labels.items():
        method.label_code(name, value)
    editing = Editing(method, images, writing)
    if not draws:
        editing.run(lambda codes, _: [rc.set_label(method, codes, strength=strength, **labels)])
        return
    found = range(1, draws + 1)

    def drawn(codes: Codes, which: list[int]) -> list[Codes]:
        seeds = [[mix_seed(draw, index) for index in which] for draw in found]
        return [rc.draw_label(method, codes, seeds=each, strength=strength, **labels) for each in seeds]

    editing.run(drawn, [f"_{draw}" for draw in found])


@edit.command
def swap(
    model: Path, images: Images, /, *, source: Annotated[Path, Parameter(name="--with")], parts: Names, writing: Writing
) -> None:
    """Give images a part of another image.

    For example, Anna with Ben's glasses, and every image of a folder with those
    of its partner in another:

        recombine edit swap runs/avatars anna.png --with ben.png --parts glasses --out a.png
        recombine edit swap runs/avatars photos --with others --parts glasses,mouth --out new

    Args:
        model: Run folder, or the model folder in it.
        images: Image files, or folders of them.
        source: Image that lends its parts; or a folder with as many images, which meet in order of name.
        parts: Parts to take over, separated by commas.
        writing: How images are read and written.
    """
    import recombine as rc

    editing = Editing(rc.load(model, best_device(), writing.precision), images, writing)
    codes_of = editing.sources(source)
    editing.run(lambda codes, which: [rc.swap(codes, codes_of(which), *parts)[0]])


@edit.command
def interpolate(
    model: Path, images: Images, /, *, source: Annotated[Path, Parameter(name="--with")], parts: Names | None = None,
    at: Annotated[Names, Parameter(show_default=",".join)] = STEPS, writing: Writing,
) -> None:  # fmt: skip
    """Move images towards another one, step by step.

    For example, from Anna to Ben in five images, side by side:

        recombine edit interpolate runs/avatars anna.png --with ben.png --grid --out ab.png

    Args:
        model: Run folder, or the model folder in it.
        images: Image files, or folders of them.
        source: Image to move towards; or a folder with as many images, which meet in order of name.
        parts: Parts that move, separated by commas; all of them when not given.
        at: How far, separated by commas: 0 is the image, 1 the other one, beyond exaggerates.
        writing: How images are read and written.
    """
    import recombine as rc

    steps = [number(text, "--at") for text in at]
    editing = Editing(rc.load(model, best_device(), writing.precision), images, writing)
    codes_of = editing.sources(source)

    def between(codes: Codes, which: list[int]) -> list[Codes]:
        target = codes_of(which)
        return [rc.interpolate(codes, target, step, *(parts or ())) for step in steps]

    editing.run(between, [f"_{text}" for text in at])


@edit.command
def mix(model: Path, images: Images, /, *, part: list[str], writing: Writing) -> None:
    """Put images together part by part.

    For example, Anna with Ben's mouth, and with hair between Ben's and, three
    times as much, Carl's:

        recombine edit mix runs/avatars anna.png --part mouth=ben.png --out mix.png
        recombine edit mix runs/avatars anna.png --part hair=ben.png --part hair=carl.png:3 --out mix.png

    Args:
        model: Run folder, or the model folder in it.
        images: Image files, or folders of them; the parts that are not named are theirs.
        part: PART=IMAGE or PART=IMAGE:WEIGHT; may be given several times, also for the same part.
        writing: How images are read and written.
    """
    import recombine as rc

    editing = Editing(rc.load(model, best_device(), writing.precision), images, writing)
    taken: dict[str, list[tuple[Codes, float]]] = {}
    for name, path, weight in map(weighted, part):
        editing.originals.append(path)
        taken.setdefault(name, []).append((editing.codes([path]), weight))
    editing.run(lambda codes, _: [codes.replace(rc.mix(**taken).expand(codes.batch_size))])


def weighted(text: str) -> tuple[str, Path, float]:
    """`smile=ben.png:3` as part, image and weight; without a weight it is 1."""
    (name, given), = pairs([text], "--part").items()
    path, separator, weight = given.rpartition(":")
    if separator and not Path(given).exists():
        return name, Path(path), number(weight, "the weight in --part")
    return name, Path(given), 1.0


def find_images(given: list[Path]) -> list[tuple[Path, Path]]:
    """Every image file among files and folders, in order of name, with its path below the folder that was given."""
    found = []
    for path in given:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            if not inside:
                raise ValueError(f"{path} holds no images; expected files that end in {', '.join(SUFFIXES)}")
            found += [(p, p.relative_to(path)) for p in inside]
        elif path.exists():
            found.append((path, Path(path.name)))
        else:
            raise FileNotFoundError(f"there is no image or folder {path}")
    return found


class Editing:
    """One run of an edit: reads files batch by batch, hands their codes to the edit, writes what comes back."""

    def __init__(self, method: Method, given: list[Path], writing: Writing):
        self.method, self.writing, found = method, writing, find_images(given)
        self.files, self.below = [path for path, _ in found], [below for _, below in found]
        self.originals = list(self.files)   # and the sources of parts: none is ever overwritten
        self.schema = replace(method.schema, bits=writing.bits or method.schema.bits)
        self.skipped: dict[str, str] = {}   # file -> why it was left out
        self.notes: Counter[str] = Counter()  # what was odd about images -> how many
        if writing.grid and len(self.files) > MOST_IN_GRID:
            raise ValueError(f"a grid shows at most {MOST_IN_GRID} images, not {len(self.files)}; leave out --grid")

    def sources(self, given: Path) -> Callable[[list[int]], Codes]:
        """Codes of the source images: one for all targets, or the n-th of a folder for the n-th target."""
        found = [path for path, _ in find_images([given])]
        self.originals += found
        if len(found) not in (1, len(self.files)):
            raise ValueError(f"{given} holds {len(found)} images for {len(self.files)}; give one, or as many")
        if len(found) == 1:
            codes = self.codes(found)
            return lambda which: codes
        return lambda which: self.codes([found[i] for i in which])

    def codes(self, paths: Sequence[Path]) -> Codes:
        import torch

        with torch.inference_mode():
            return self._encode(torch.cat([self._read(path) for path in paths]))

    def run(self, edit: Edit, endings: Sequence[str] = ("",)) -> None:
        """Edit every image, write the results, each edit's under the file's name and its ending, and report them."""
        import torch

        from recombine.data.image_files import NOTE, grid, save_images

        targets = plan(self.below, endings, self.writing)
        protect(targets, self.originals, self.writing)
        for folder in {path.parent for row in targets for path in row}:
            folder.mkdir(parents=True, exist_ok=True)
        rows: list[Tensor] = []
        with torch.inference_mode():
            for which, images in self._batches():
                edited = [self.method.decode(codes).cpu() for codes in edit(self._encode(images), which)]
                if self.writing.grid:
                    rows += torch.stack([images, *edited], 1)
                    continue
                for batch, ending in zip(edited, range(len(endings)), strict=True):
                    save_images(batch, [targets[i][ending] for i in which], self.schema.bits, NOTE)
        if rows:
            save_images(grid([row.split(1) for row in rows]), self.writing.out, self.schema.bits, NOTE)
        self._report(targets)

    def _report(self, targets: list[list[Path]]) -> None:
        done = [row for path, row in zip(self.files, targets, strict=True) if str(path) not in self.skipped]
        written = list(dict.fromkeys(path for row in done for path in row))
        for reason in self.skipped.values():
            say(f"left out {reason}")
        for text, count in self.notes.most_common(NOTES):
            say(f"{count} image{'s' * (count != 1)}: {text}")
        if self.writing.json:
            print_json({"written": written, "skipped": self.skipped})
        else:
            say(f"edited {len(done)} image{'s' * (len(done) != 1)}: {self.writing.out}")

    def _batches(self) -> Iterator[tuple[list[int], Tensor]]:
        """Which images, and these `[batch, channels, height, width]`; unreadable ones are left out with `on_bad`."""
        import torch

        from recombine.data.decoding import BadImage
        from recombine.progress import Bar

        count, size = len(self.files), self.writing.batch
        with Bar("editing", count, shown=sys.stderr.isatty()) as bar:
            for start in range(0, count, size):
                images = {}
                for i, path in enumerate(self.files[start : start + size], start):
                    try:
                        images[i] = self._read(path)
                    except BadImage as error:
                        if self.writing.on_bad == "error":
                            raise
                        self.skipped[str(path)] = str(error)
                if images:
                    yield list(images), torch.cat(list(images.values()))
                bar.reach(min(start + size, count))

    def _read(self, path: Path) -> Tensor:
        from recombine.data.decoding import decode_noted
        from recombine.data.images import to_float

        pixels, notes = decode_noted(path, self.schema)
        self.notes.update(notes)
        return to_float(pixels)[None]

    def _encode(self, images: Tensor) -> Codes:
        return self.method.encode(images.to(next(self.method.parameters()).device))  # type: ignore[attr-defined]


def plan(files: list[Path], endings: Sequence[str], writing: Writing) -> list[list[Path]]:
    """Where every edited image goes: one row a file, one path for each ending; with --grid all share one path."""
    single = writing.grid or len(files) * len(endings) == 1
    if writing.out.suffix.lower() == ".png" and single:
        return [[writing.out] * len(endings)] * len(files)
    if writing.grid:
        raise ValueError(f"--grid writes one .png file, so --out must end in .png, not {writing.out.name!r}")
    if writing.out.suffix.lower() in SUFFIXES:
        wanted = "name a .png file" if single else "name a folder, or add --grid"
        raise ValueError(f"--out {writing.out} cannot take {len(files) * len(endings)} image(s); {wanted}")
    shared = Counter(file.with_suffix("") for file in files)
    names = [file.with_suffix("") if shared[file.with_suffix("")] == 1 else file for file in files]
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"{count} images would be written as {name}.png; edit their folders one at a time")
    return [[writing.out / f"{name}{ending}.png" for ending in endings] for name in names]


def protect(targets: list[list[Path]], originals: list[Path], writing: Writing) -> None:
    """Raise FileExistsError where an original would be overwritten, or an older result without --overwrite."""
    places = {(stat.st_dev, stat.st_ino) for stat in map(Path.stat, originals)}
    there = [path for row in targets for path in row if path.exists()]
    for path in there:
        if (path.stat().st_dev, path.stat().st_ino) in places:
            raise FileExistsError(f"{path} is an original and is never overwritten; give another --out")
    if there and not writing.overwrite:
        raise FileExistsError(f"{there[0]} exists already; give another --out, or --overwrite")
