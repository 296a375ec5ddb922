"""`recombine train`: from a recipe, or a folder of labelled images, to a run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from recombine.commands.options import Flag, Names, best_device, pairs, print_json, say
from recombine.commands.reading import Reading

if TYPE_CHECKING:
    from recombine.data.packed import Pack
    from recombine.evaluation.classifier import Classifier
    from recombine.recipes import Recipe
    from recombine.training.engine import Monitor

INTERRUPTED, TERMINATED = 130, 143


def train(
    what: str,
    /,
    *,
    data: list[Path] | None = None,
    out: Path | None = None,
    method: str | None = None,
    attributes: Names | None = None,
    images: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    settings: Annotated[list[str] | None, Parameter(name="--set")] = None,
    judge: Literal["quick", "none"] = "quick",
    allow: Flag = False,
    reading: Reading | None = None,
    json: Flag = False,
) -> None:
    """Train a method on a folder of labelled images, or train a recipe.

    For example:

        recombine train photos --attributes Smiling,Eyeglasses --size 64 --out runs/photos
        recombine train photos --attributes Smiling --set aux_weight=0 --out runs/naive
        recombine train avatars.demo --out runs/avatars

    Ctrl-C saves and stops, and the same command again goes on from there. On several
    GPUs or processes, pack first:

        recombine data photos --pack packs/photos
        torchrun --nproc-per-node 2 --no-python recombine train packs/photos --out runs/photos

    Args:
        what: A folder of labelled images, a folder that `recombine data --pack` made, or the name of a recipe.
        data: With a recipe: the folder to train on; given several times, several folders as one.
        out: The run's folder; runs/NAME when not given.
        method: Short name of the method (advattr, mad, ifcvaegan, rodi, matdr); ifcvaegan, or the recipe's, when not given.
        attributes: Attributes to learn, separated by commas; all that the method can use when not given.
        images: Images to be seen in all.
        batch_size: Images in a step, over all processes.
        seed: Of everything random in the training.
        settings: NAME=VALUE of the method's or the training's settings; may be given several times.
        judge: Whether a classifier of its own, about a minute's training, tells how many edits succeed while it trains.
        allow: Go on although settings that leave the model as it is differ from those the run was begun with.
        reading: How images are read.
        json: Print what was trained as JSON.
    """
    from recombine.data.sources.labels import scarce
    from recombine.files import check_writable
    from recombine.training.runs import start

    recipe, folders = find_recipe(what, data or [])
    out = out or Path("runs") / Path(what).resolve().name
    given = {"images": images, "batch_size": batch_size, "seed": seed}
    recipe = adjusted(recipe, method, attributes, {k: v for k, v in given.items() if v is not None}, pairs(settings, "--set"))
    check_writable(out)
    pack = find_pack(recipe, folders, out, reading or Reading())
    for sentence in scarce(pack, recipe.attributes):
        say(f"warning: {sentence}")
    with stoppable():
        start(recipe, pack, out, monitor=watcher(pack, judge), allow=allow)
    if json:
        print_json({"run": out, "model": out / "model", "images": recipe.train.images})
    else:
        say(f"trained: {out}\nnumbers and images: recombine evaluate {out}")


def find_recipe(what: str, data: list[Path]) -> tuple[Recipe, list[Path]]:
    """The recipe of that name, or the one for a folder, and the folders to train on."""
    from recombine.messages import nearest, shown
    from recombine.recipes import RECIPES, from_folder

    if what in RECIPES:
        recipe = RECIPES[what]()
        if recipe.data is None and not data:
            raise ValueError(f"the recipe {what} needs --data, the folder to train on")
        return recipe, data
    if not Path(what).exists():
        close = nearest(what, list(RECIPES))
        raise ValueError(f"there is no folder and no recipe {what!r}; recipes are {shown(list(RECIPES))}{close}")
    if data:
        raise ValueError(f"--data belongs to a recipe, and {what} is a folder already; leave one of them out")
    return from_folder(), [Path(what)]


def adjusted(
    recipe: Recipe, method: str | None, attributes: tuple[str, ...] | None, given: dict[str, Any], settings: dict[str, str]
) -> Recipe:
    """The recipe with what the command line asks for."""
    from recombine.messages import nearest, shown
    from recombine.recipes import from_folder

    if method is not None and method != recipe.method:
        recipe = replace(recipe, method=method, config=from_folder(method).config)
    own, common = [{f.name for f in fields(part)} for part in (recipe.config, recipe.train)]  # type: ignore[arg-type]
    for name in settings:
        if name not in own | common:
            names = sorted(own | common)
            raise ValueError(f"{recipe.method} has no setting {name!r}; there are {shown(names, 40)}{nearest(name, names)}")
    config = {name: converted(recipe.config, name, text) for name, text in settings.items() if name in own}
    course = {name: converted(recipe.train, name, text) for name, text in settings.items() if name not in own}
    return replace(
        recipe,
        config=replace(recipe.config, **config),  # type: ignore[type-var]
        train=replace(recipe.train, **course, **given),
        attributes=attributes or recipe.attributes,
    )


def converted(config: object, name: str, text: str) -> Any:
    """A setting's text as the type its dataclass declares; several values are separated by commas.

    Raises:
        ValueError: It does not read as that type.
    """
    kind = get_type_hints(type(config))[name]
    if type(None) in get_args(kind):
        if text.lower() == "none":
            return None
        kind = next(k for k in get_args(kind) if k is not type(None))
    if get_origin(kind) is tuple:
        return tuple(as_type(get_args(kind)[0], name, part.strip()) for part in text.split(",") if part.strip())
    return as_type(kind, name, text)


def as_type(kind: Any, name: str, text: str) -> Any:
    """One value of a setting as a choice, true or false, a number or text."""
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        raise ValueError(f"--set {name} is one of {', '.join(get_args(kind))}, not {text!r}")
    if kind is bool and text.lower() in ("true", "yes", "1", "false", "no", "0"):
        return text.lower() in ("true", "yes", "1")
    try:
        if kind in (int, float, str):
            return kind(text)
    except ValueError:
        pass
    raise ValueError(f"--set {name} takes {'true or false' if kind is bool else f'a value of type {kind.__name__}'}, not {text!r}")


def find_pack(recipe: Recipe, folders: list[Path], run: Path, reading: Reading) -> Pack:
    """The recipe's images, drawn or packed into the run's folder where that has not been done; several folders as one."""
    from recombine.data.joined import join
    from recombine.data.packed import MANIFEST, Pack
    from recombine.data.synthetic.avatars import build

    unpacked = [folder for folder in folders if not (folder / MANIFEST).exists()]
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and (unpacked or not folders):
        raise ValueError("several processes cannot pack at once; run `recombine data FOLDER --pack PACK`, then train on PACK")
    if not folders:
        assert recipe.data is not None
        return build(run / "data", recipe.data.count, recipe.size, recipe.data.seed, progress=sys.stderr.isatty())
    into = [run / "data" / str(number) if len(folders) > 1 else run / "data" for number, _ in enumerate(folders, 1)]
    packs = [packed(f, to, recipe, reading) if f in unpacked else Pack(f) for f, to in zip(folders, into, strict=True)]
    return packs[0] if len(packs) == 1 else join(packs)


def packed(folder: Path, target: Path, recipe: Recipe, reading: Reading) -> Pack:
    """A folder of images, or of sprite sheets, packed; what an earlier call packed is used again."""
    from recombine.data.packed import MANIFEST, Pack
    from recombine.data.synthetic import sprites

    if not sprites.is_sheets(folder):
        return reading.pack(folder, target, recipe.size)
    return Pack(target) if (target / MANIFEST).exists() else sprites.build(target, folder, progress=sys.stderr.isatty())


def watcher(pack: Pack, judge: str) -> Monitor:
    """What looks at edits during the training; its classifier is trained when it is first needed, after all checks."""
    from recombine.training.monitor import EditMonitor

    monitor = cache(lambda: EditMonitor(pack, find_judge(pack, judge)))
    return lambda method, path: monitor()(method, path)


def find_judge(pack: Pack, judge: str) -> Classifier | None:
    """The classifier that tells how many edits succeed; None where there is nothing that it could learn."""
    import torch

    from recombine.evaluation.classifier import judge_classifier

    if judge == "none":
        return None
    try:
        with torch.enable_grad():
            return judge_classifier(pack, preset=judge, device=best_device(), progress=say)
    except ValueError as reason:
        say(f"edits are not judged during the training: {reason}")
        return None


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn a training that was asked to stop into a sentence and an exit code."""
    from recombine.training.engine import Interrupted

    try:
        yield
    except Interrupted as stop:
        say(str(stop))
        raise SystemExit(INTERRUPTED if stop.signal_number == signal.SIGINT else TERMINATED) from None
