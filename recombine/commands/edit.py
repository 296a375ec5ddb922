"""`recombine edit`: set, swap, interpolate, mix; images in, edited images out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from recombine.commands.editing import Editing, Images, Writing
from recombine.commands.options import Names, best_device, number, pairs

if TYPE_CHECKING:
    from recombine.codes import Codes

STEPS = ("0", "0.25", "0.5", "0.75", "1")

edit = App(name="edit", help="Edit images with a trained model: set a label, swap, interpolate, mix.")


@edit.command(name="set")
def set_labels(model: Path, images: Images, /, *, label: list[str], strength: float = 1.0, writing: Writing) -> None:
    """Give images a label.

    For example, a folder of faces that then smile a little:

        recombine edit set runs/avatars photos --label mouth=smile --strength 0.7 --out smiling

    Args:
        model: Run folder, or the model folder in it.
        images: Image files, or folders of them.
        label: ATTRIBUTE=VALUE; may be given several times.
        strength: From 0, the image as it is, to 1, the label; above 1 exaggerates.
        writing: How images are read and written.
    """
    import recombine as rc

    method = rc.load(model, best_device())
    labels = pairs(label, "--label")
    for name, value in labels.items():
        method.label_code(name, value)
    Editing(method, images, writing).run(lambda codes, _: [rc.set_label(method, codes, strength=strength, **labels)])


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

    editing = Editing(rc.load(model, best_device()), images, writing)
    codes_of = editing.sources(source)
    editing.run(lambda codes, which: [rc.swap(codes, codes_of(which), *parts)[0]])


@edit.command
def interpolate(
    model: Path,
    images: Images,
    /,
    *,
    source: Annotated[Path, Parameter(name="--with")],
    parts: Names | None = None,
    at: Annotated[Names, Parameter(show_default=",".join)] = STEPS,
    writing: Writing,
) -> None:
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
    editing = Editing(rc.load(model, best_device()), images, writing)
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

    editing = Editing(rc.load(model, best_device()), images, writing)
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
