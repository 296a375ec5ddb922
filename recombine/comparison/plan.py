"""The plan of a comparison: what is trained on what, with which settings, and that all who work on it agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recombine import files
from recombine.comparison.judging import Judging
from recombine.data.packed import Pack
from recombine.data.samplers import first_group
from recombine.data.synthetic.truth import of_avatars
from recombine.evaluation.judge import checked_measures
from recombine.locks import waiting
from recombine.messages import nearest, shown
from recombine.methods import METHODS, presets
from recombine.recipes import RECIPES, Recipe, from_folder
from recombine.recipes.avatars import COURSE
from recombine.recipes.folder import PHOTOS
from recombine.training.runs import HARMLESS, differing

PAIRS = ("pairs", "two_batches")            # samplers that show two images a sample
COMPARED = ("binary", "categorical")        # kinds of attributes that are compared where none are named


@dataclass(frozen=True)
class Budget:
    """What every method may spend: images seen, a pair counting as two, or seconds of training."""

    images: int | None = None
    seconds: float | None = None

    def __post_init__(self):
        if (self.images is None) == (self.seconds is None):
            raise ValueError("a budget is a number of images or of seconds; give one of them")
        if min(self.images or 1, self.seconds or 1) <= 0 or self.images == 0:
            raise ValueError(f"a budget is more than 0, not {self.images if self.seconds is None else self.seconds}")


def check(methods: Sequence[str], seeds: Sequence[int], shard: tuple[int, int], judging: Judging, known: bool = True) -> None:
    """Raise ValueError for what can be seen to be wrong at once."""
    if not methods:
        raise ValueError("nothing to compare: name one or more methods")
    for label in methods if known else ():
        name, _, preset = label.partition(":")
        if name not in METHODS:
            raise ValueError(f"no method {name!r}; there are {shown(list(METHODS), 40)}{nearest(name, list(METHODS))}")
        if "=" in preset:
            changed(METHODS[name][1](), preset)
        elif preset and preset not in presets(name):
            raise ValueError(f"{name} has no preset {preset!r}; it has {shown(list(presets(name)), 40)}{nearest(preset, list(presets(name)))}")
    if len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"seeds are one or more different numbers, not {seeds}")
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"a shard is i/n with i from 1 to n, such as 1/2, not {shard[0]}/{shard[1]}")
    checked_measures(judging.measures)
    if judging.split == "train" and not judging.allow_training_data:
        raise ValueError(
            "every run is trained on the split 'train'; a judgement on it says nothing about new images. Choose val or test, or say "
            "allow_training_data=True to get one that is marked as such"
        )


def compared(pack: Pack, attributes: Sequence[str]) -> list[str]:
    """The attributes of a data set that are compared."""
    if attributes:
        return [name for name in attributes if name in pack.schema.names and pack.schema[name].kind != "group"]
    return [a.name for a in pack.schema.attributes if a.kind in COMPARED]


def check_attributes(named: Mapping[str, Sequence[str]], attributes: Sequence[str]) -> None:
    """Raise ValueError where a data set has nothing to compare, or nobody has an attribute."""
    for name in attributes:
        if not any(name in names for names in named.values()):
            raise ValueError(f"no data set has an attribute {name!r} with values or numbers; there are {shown([n for names in named.values() for n in names])}")
    for data, names in named.items():
        if not names:
            raise ValueError(f"{data} has no attribute to compare methods on; name one with attributes, or state its kind")


def recipe_for(label: str, pack: Pack, attributes: Sequence[str], pair_by: str | None = None) -> tuple[Recipe, str]:
    """What is trained for a label of the plan on a data set, and where the settings come from.

    Raises:
        ValueError: The method learns from pairs, and the data set has no group to draw them by.
    """
    name, _, preset = label.partition(":")
    method, config_class = METHODS[name]
    drawn = of_avatars(pack)
    base = RECIPES[f"{name}.avatars"]() if drawn and f"{name}.avatars" in RECIPES else None
    train = base.train if base else COURSE if drawn else from_folder().train
    if preset and "=" not in preset:
        config, origin = presets(name)[preset], f"preset {preset}"
    elif base:
        config, origin = base.config, f"recipe {name}.avatars"
    elif not drawn and name in PHOTOS:
        config, origin = PHOTOS[name], "settings found on photographs"
    else:
        config, origin = (presets(name)["small"], "preset small") if "small" in presets(name) else (config_class(), "defaults")
    if "=" in preset:
        config, origin = changed(config, preset), f"{origin}, {preset}"
    learnt = tuple(attributes)
    if method.sampler == "pairs":
        group = pair_by or ("clip" if drawn else first_group(pack))
        if group not in pack.schema.names:
            raise ValueError(f"pairs are drawn by {group!r}, which the data set does not have; it has {shown(pack.schema.names)}")
        config = replace(config, pair_by=group if isinstance(config.pair_by, str) else (group,))
        learnt = (group, *(name for name in attributes if name != group and set(method.kinds) != {"group"}))
    return Recipe(name, config, train, size=pack.schema.height, attributes=learnt), origin


def changed(config: Any, text: str) -> Any:
    """Settings of a method with some of them changed, as in `aux_weight=0`, or `aux_weight=0+kl_weight=0` for several.

    Raises:
        ValueError: There is no such setting, or it is no number, truth or text.
    """
    new = {}
    for pair in text.split("+"):
        name, _, value = pair.partition("=")
        fields = list(config.__dataclass_fields__)
        if name not in fields:
            raise ValueError(f"no setting {name!r}; there are {shown(fields, 40)}{nearest(name, fields)}")
        kind = type(getattr(config, name))
        if kind is bool and value in ("True", "False"):
            new[name] = value == "True"
        elif kind in (int, float, str):
            new[name] = kind(value)
        else:
            raise ValueError(f"{name}={value}: {name} is {getattr(config, name)!r}, which cannot be changed so; write a preset")
    return replace(config, **new)


def samples(recipe: Recipe) -> int:
    """Images that one sample of a method's batch shows."""
    return 1 + (METHODS[recipe.method][0].sampler in PAIRS)


def about(recipe: Recipe, origin: str) -> dict:
    """A recipe as plain values of the plan, without what differs between its cells."""
    train = {name: value for name, value in asdict(recipe.train).items() if name not in ("seed", *HARMLESS)}
    return {"method": recipe.method, "from": origin, "config": asdict(recipe.config), "train": train, "attributes": list(recipe.attributes),
            "pictures_a_sample": samples(recipe)}  # fmt: skip


def described(pack: Pack, attributes: Sequence[str], wanted: Sequence[str]) -> dict:
    """A data set in the plan."""
    return {
        "fingerprint": pack.whole().fingerprint,
        "image_size": list(pack.schema.image_size),
        "pictures": {split: len(pack.rows(split)) for split in ("train", "val", "test")},
        "attributes": list(attributes),
        "values": {name: list(pack.schema[name].values) for name in attributes},
        "without": [name for name in wanted if name not in attributes],
        "drawn": of_avatars(pack),
    }


def agree(out: Path, wanted: dict) -> dict:
    """Write the plan, or join the one that is there; raises ValueError where it is another."""
    path = out / "plan.json"
    with waiting(out / "plan.claim"):
        plan = joined(json.loads(path.read_text()), wanted, out) if path.exists() else wanted
        files.write_text(path, json.dumps(plan, indent=1))
    return plan


def joined(begun: dict, wanted: dict, out: Path) -> dict:
    """The plan with the data, methods, seeds and commands of both; raises ValueError where they differ in what both have."""
    both = [name for name in wanted["data"] if name in begun["data"]]
    changed = [(f"{part}.{name}" if name else part, a, b) for part in ("budget", "judging") for name, a, b in inner(begun[part], wanted[part])]
    for name in both:
        changed += differing(begun["data"][name], wanted["data"][name], f"data.{name}.")
        own, now = {m: complete(settings) for m, settings in begun["settings"][name].items()}, wanted["settings"][name]
        changed += differing({m: own[m] for m in now if m in own}, {m: now[m] for m in now if m in own}, f"{name}.")
    if changed:
        news = "; ".join(f"{name} was {a!r}, now {b!r}" for name, a, b in changed)
        raise ValueError(f"{out} holds another comparison: {news}; give another folder. More data, methods and seeds may be added to this one")
    settings = {name: {**begun["settings"].get(name, {}), **wanted["settings"].get(name, {})} for name in {**begun["data"], **wanted["data"]}}
    union = {part: list(dict.fromkeys([*begun[part], *wanted[part]])) for part in ("methods", "commands")}
    return {**begun, **union, "seeds": sorted({*begun["seeds"], *wanted["seeds"]}), "data": {**begun["data"], **wanted["data"]}, "settings": settings}


def complete(settings: dict) -> dict:
    """A method's settings in a plan; those that did not exist then had their default's effect."""
    return settings if "config" not in settings else {**settings, "config": {**json.loads(json.dumps(asdict(METHODS[settings["method"]][1]()))), **settings["config"]}}


def inner(begun: dict | None, wanted: dict | None) -> list[tuple[str, object, object]]:
    """What differs between two parts of a plan, either of which may be missing as a whole."""
    if begun is None or wanted is None:
        return [] if begun == wanted else [("", begun, wanted)]
    return differing(begun, wanted)
