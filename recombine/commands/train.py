"""`recombine train`: from a recipe, or a folder of labelled images, to a run."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from recombine.commands.options import (
    METHOD_NAMES,
    Flag,
    Judge,
    Names,
    best_device,
    pairs,
    print_json,
    say,
    stoppable,
    watcher,
)
from recombine.commands.reading import Looks, Reading, find_pack

if TYPE_CHECKING:
    from recombine.data.packed import Pack
    from recombine.training.recipe import Recipe

METHODS = f"Short name: {', '.join(METHOD_NAMES)}; splice, or the recipe's, when not given."
Method = Annotated[str | None, Parameter(help=METHODS)]


def train(
    what: str,
    /,
    *,
    data: list[Path] | None = None,
    out: Path | None = None,
    method: Method = None,
    preset: str | None = None,
    attributes: Names | None = None,
    images: int | None = None,
    minutes: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    precision: Literal["auto", "32-true", "bf16-mixed"] | None = None,
    mirror: Annotated[bool | None, Parameter(negative="--no-mirror")] = None,
    settings: Annotated[list[str] | None, Parameter(name="--set")] = None,
    judge: Judge = "auto",
    allow: Flag = False,
    reading: Reading | None = None,
    json: Flag = False,
) -> None:
    """Train a method on a folder of labelled images, or train a recipe.

    For example:

        recombine train photos
        recombine train photos --attributes Smiling,Eyeglasses --minutes 30 --out runs/photos
        recombine train photos --method stargan --preset paper --size 128 --out runs/stargan
        recombine train photos --method ifcvaegan --set aux_weight=0 --out runs/naive
        recombine train avatars.demo --out runs/avatars

    Without a method, splice is trained. The attributes, size, batch, time (45 minutes, 10
    on a GPU) and preset that are not given are chosen by the images and the device, and said.

    Ctrl-C saves and stops, and the same command again goes on from there. On several
    GPUs or processes, pack first:

        recombine data photos --pack packs/photos
        torchrun --nproc-per-node 2 --no-python recombine train packs/photos --out runs/photos

    Args:
        what: A folder of labelled images, a folder that `recombine data --pack` made, or the name of a recipe.
        data: With a recipe: the folder to train on; given several times, several folders as one.
        out: The run's folder; runs/NAME when not given.
        method: Short name of the method; METHODS lists them.
        preset: Named settings, such as paper; those found on photographs, or the recipe's, when not given.
        attributes: Attributes to learn, separated by commas; all that the method can use when not given.
        images: Images to be seen in all.
        minutes: Time to train in, in place of --images; how many images it suffices for is measured at the start.
        batch_size: Images in a step, over all processes.
        seed: Of everything random in the training.
        precision: Of the networks; what this device is faster with, measured at the start, when not given.
        mirror: Whether half of the images are shown mirrored; where they allow it, found out first, when not given.
        settings: NAME=VALUE of the method's or the training's settings; may be given several times.
        judge: Training of the classifier of edits, once for a data set; auto is thorough where quick is not good.
        allow: Go on although settings that leave the model as it is differ from those the run was begun with.
        reading: How images are read.
        json: Print what was trained as JSON.
    """
    from recombine.data.sources.labels import scarce
    from recombine.files import check_writable
    from recombine.recipes import DEFAULT, RECIPES
    from recombine.training.checkpoint import trained_images
    from recombine.training.runs import start

    recipe, folders = find_recipe(what, data or [])
    out = out or Path("runs") / Path(what).resolve().name
    given = {
        "images": images, "minutes": minutes, "batch_size": batch_size, "seed": seed, "precision": precision,
        "mirror": mirror,
    }  # fmt: skip
    asked = Asked(method, preset, attributes or (), pairs(settings, "--set"), given, reading or Reading())
    asked = asked if what in RECIPES else as_begun(asked, out)
    recipe = asked.of(recipe)
    check_writable(out)
    if what not in RECIPES and recipe.method == DEFAULT:
        recipe, pack = chosen(recipe, folders, out, asked)
    else:
        pack = find_pack(recipe, folders, out, asked.reading)
    for sentence in scarce(pack, recipe.attributes):
        say(f"warning: {sentence}")
    with stoppable():
        start(recipe, pack, out, monitor=watcher(pack, judge, recipe), allow=allow)
    if json:
        print_json({"run": out, "model": out / "model", "images": trained_images(out)})
    else:
        say(f"trained: {out}\nnumbers and images: recombine evaluate {out}")


@dataclass(frozen=True)
class Asked:
    """What the command line names."""

    method: str | None
    preset: str | None
    attributes: tuple[str, ...]
    settings: dict[str, str]
    given: dict[str, Any]                   # further settings of the training; what is None is not named
    reading: Reading

    @property
    def names(self) -> set[str]:
        """Of everything that is."""
        each = {**self.given, "preset": self.preset, "attributes": self.attributes or None, "size": self.reading.size}
        return {name for name, value in each.items() if value is not None} | self.settings.keys()

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe with it; raises ValueError as `adjusted`."""
        recipe = adjusted(recipe, self.method, self.preset, self.settings, **self.given)
        return replace(recipe, attributes=self.attributes or recipe.attributes)


def as_begun(asked: Asked, out: Path) -> Asked:
    """The same of a run that was begun: with its method, and what was then chosen by its device, unless named."""
    from recombine.recipes import DEFAULT
    from recombine.training.runs import settings_of

    settings, schema = settings_of(out)
    if schema is None:
        return asked
    asked = replace(asked, method=asked.method or settings["method"])
    if {asked.method, settings["method"]} != {DEFAULT}:
        return asked
    chosen = {"batch_size": settings["train"]["batch_size"]}
    if not {"images", "minutes"} & asked.names and settings["train"]["minutes"]:
        chosen["minutes"] = settings["train"]["minutes"]
    given = asked.given | {name: value for name, value in chosen.items() if name not in asked.names}
    apart = {"apart_share": str(settings["config"]["apart_share"])}
    size = asked.reading.size or "x".join(map(str, schema.image_size))
    return replace(asked, given=given, settings=apart | asked.settings, reading=replace(asked.reading, size=size))


def chosen(recipe: Recipe, folders: list[Path], out: Path, asked: Asked) -> tuple[Recipe, Pack]:
    """The recipe that suits a folder's images and this device, but for what is named, and the images; it is said."""
    from recombine import planning

    choices: list[planning.Choice] = []
    device: planning.Device = best_device()

    def sized(looks: Looks) -> int:
        size, choice = planning.choose_size(looks.sides, device)
        choices.append(choice)
        return size

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pack = find_pack(recipe, folders, out, asked.reading, sized)
    facts = planning.facts_of(pack, device, cores, asked.attributes)
    length = {name: getattr(recipe.train, name) for name in ("images", "minutes") if name in asked.names}
    found, more = planning.choose(facts, **length)
    found = asked.of(found)
    say(planning.headline(found, facts))
    named = asked.names | ({"apart_share"} if "preset" in asked.names else set())
    for choice in [*choices, *more]:
        if choice.setting not in named:
            say(f"  {choice.sentence}")
    return found, pack


def find_recipe(what: str, data: list[Path]) -> tuple[Recipe, list[Path]]:
    """The recipe of that name, or the one for a folder, and the folders to train on."""
    from recombine.messages import nearest, shown
    from recombine.recipes import RECIPES, default_recipe

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
    return default_recipe()[0], [Path(what)]


def adjusted(recipe: Recipe, method: str | None, preset: str | None, settings: dict[str, str], **given: Any) -> Recipe:
    """The recipe with what the command line names; of `given`, what is None stays.

    Images take the place of the recipe's minutes.

    Raises:
        ValueError: Both are named; or as `changed_recipe`.
    """
    from recombine.recipes import default_recipe
    from recombine.training import settings as known

    if method is not None and method != recipe.method:
        recipe = replace(recipe, method=method, config=default_recipe(method)[0].config)
    if preset is not None:
        recipe = replace(recipe, config=known.preset(recipe.method, preset))
    recipe = known.changed_recipe(recipe, settings)
    given = {name: value for name, value in given.items() if value is not None}
    lengths = {"images", "minutes"} & {*given, *settings}
    if len(lengths) == 2:
        raise ValueError("--images and --minutes both say how long to train; leave one of them out")
    if lengths == {"images"}:
        given["minutes"] = 0.0
    return replace(recipe, train=replace(recipe.train, **given))
