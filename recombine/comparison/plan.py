"""The plan of a comparison: what is trained on what, with which settings, and that all who work on it agree."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from recombine import files
from recombine.data.packed import Pack
from recombine.data.samplers import first_group
from recombine.data.synthetic.truth import drawn_in
from recombine.evaluation.judge import LEARNT, check_protocol, checked_sections
from recombine.locks import waiting
from recombine.messages import option, shown
from recombine.methods import METHODS
from recombine.recipes import default_recipe
from recombine.training.recipe import Recipe
from recombine.training.settings import HARMLESS, changed, complete, config_class, differing, labelled, preset

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


@dataclass(frozen=True)
class Judging:
    """How every run is judged: as `recombine.evaluation.judge.judge` does, about the compared attributes alone."""

    images: int = 400                       # of the split at most
    split: str = "val"
    allow_training_data: bool = False       # judge images that a run was trained on, and mark the result
    sections: tuple[str, ...] = (
        "reconstruction", "judge", "edits", "truth", "parts", "leakage", "information", "realism", "disentanglement",
    )  # fmt: skip
    learnt: int = LEARNT                    # training images at most that fresh probes learn from
    probes: tuple[str, ...] = ("two_layer",)  # of leakage; finds more than the linear one

    def to_json(self) -> dict:
        """Plain values for `plan.json`."""
        plain = asdict(self)
        return {"pictures": plain.pop("images"), "measures": plain.pop("sections"), **plain}


OLDER = {"learnt": 1_500, "probes": ["two_layer"]}  # how comparisons were judged whose plan does not say it


def check(
    methods: Sequence[str], seeds: Sequence[int], shard: tuple[int, int], judging: Judging, known: bool = True
) -> None:
    """Raise ValueError for what can be seen to be wrong at once."""
    if not methods:
        raise ValueError("nothing to compare: name one or more methods")
    for label in methods if known else ():
        labelled(label)
    if len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"seeds are one or more different numbers, not {seeds}")
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"a shard is i/n with i from 1 to n, such as 1/2, not {shard[0]}/{shard[1]}")
    checked_sections(judging.sections)
    check_protocol(judging.images, judging.probes, judging.learnt)
    if judging.split == "train" and not judging.allow_training_data:
        raise ValueError(
            "every run is trained on the split 'train'; a judgement on it says nothing about new images. Choose val or "
            f"test, or say {option('allow_training_data', True)} to get one that is marked as such"
        )


def compared(pack: Pack, attributes: Sequence[str]) -> list[str]:
    """The attributes of a data set that are compared."""
    if attributes:
        return [name for name in attributes if name in pack.schema.names and pack.schema[name].kind != "group"]
    return [a.name for a in pack.schema.attributes if a.kind in COMPARED]


def check_attributes(named: Mapping[str, Sequence[str]], attributes: Sequence[str]) -> None:
    """Raise ValueError where a data set has nothing to compare, or no data set has an attribute."""
    there = [name for names in named.values() for name in names]
    for name in attributes:
        if name not in there:
            raise ValueError(f"no data set has an attribute {name!r} with values or numbers; there are {shown(there)}")
    for data, names in named.items():
        if not names:
            problem = f"{data} has no attribute to compare methods on"
            raise ValueError(f"{problem}; name one with attributes, or state its kind")


def recipe_for(label: str, pack: Pack, attributes: Sequence[str], pair_by: str | None = None) -> tuple[Recipe, str]:
    """What is trained for a label of the plan on a data set, and where the settings come from.

    Raises:
        ValueError: The method learns from pairs, and the data set has no group to draw them by.
    """
    name, chosen, settings = labelled(label)
    method, drawn = METHODS[name][0], drawn_in(pack)
    base, origin = default_recipe(name, drawn.name if drawn else None)
    config, origin = (preset(name, chosen), f"preset {chosen}") if chosen else (base.config, origin)
    if settings:
        config = changed(name, config, settings)
        origin += ", " + "+".join(f"{setting}={text}" for setting, text in settings.items())
    learnt = tuple(attributes)
    if method.sampler == "pairs":
        group = pair_by or (drawn and drawn.pair_by) or first_group(pack)
        if group not in pack.schema.names:
            has = shown(pack.schema.names)
            raise ValueError(f"pairs are drawn by {group!r}, which the data set does not have; it has {has}")
        config = replace(config, pair_by=group if isinstance(config.pair_by, str) else (group,))
        learnt = (group, *(name for name in attributes if name != group and set(method.kinds) != {"group"}))
    return replace(base, config=config, size=pack.schema.height, data=None, attributes=learnt), origin


def images_of_sample(method: str) -> int:
    """Images that one sample of a method's batch shows."""
    return 1 + (METHODS[method][0].sampler in ("pairs", "two_batches"))


def about(recipe: Recipe, origin: str) -> dict:
    """A recipe as plain values of the plan, without what differs between its cells."""
    return {
        "method": recipe.method,
        "from": origin,
        "config": asdict(recipe.config),
        "train": {name: value for name, value in asdict(recipe.train).items() if name not in ("seed", *HARMLESS)},
        "attributes": list(recipe.attributes),
        "pictures_a_sample": images_of_sample(recipe.method),
    }


def described(pack: Pack, attributes: Sequence[str], named: Sequence[str]) -> dict:
    """A data set in the plan."""
    return {
        "fingerprint": pack.whole().fingerprint,
        "image_size": list(pack.schema.image_size),
        "pictures": {split: len(pack.rows(split)) for split in ("train", "val", "test")},
        "attributes": list(attributes),
        "values": {name: list(pack.schema[name].values) for name in attributes},
        "without": [name for name in named if name not in attributes],
        "drawn": drawn_in(pack) is not None,
    }


def agree(out: Path, plan: dict) -> dict:
    """Write the plan, or join the one that is there; raises ValueError where it is another."""
    path = out / "plan.json"
    with waiting(out / "plan.claim"):
        plan = joined(json.loads(path.read_text()), plan, out) if path.exists() else plan
        files.write_text(path, json.dumps(plan, indent=1))
    return plan


def joined(begun: dict, new: dict, out: Path) -> dict:
    """The plan with the data, methods, seeds and commands of both; ValueError where they differ in what both have."""
    begun = {**begun, "judging": {**OLDER, **begun["judging"]}}
    before, now = ({part: plan[part] for part in ("budget", "judging")} for plan in (begun, new))
    differences = differing(before, now)
    for name in [name for name in new["data"] if name in begun["data"]]:
        differences += differing(begun["data"][name], new["data"][name], f"data.{name}.")
        own, now = {m: completed(of) for m, of in begun["settings"][name].items()}, new["settings"][name]
        differences += differing(own, {m: now[m] for m in now if m in own}, f"{name}.")
    if differences:
        news = "; ".join(f"{name} was {a!r}, now {b!r}" for name, a, b in differences)
        cure = "give another folder. More data, methods and seeds may be added to this one"
        raise ValueError(f"{out} holds another comparison: {news}; {cure}")
    data = {**begun["data"], **new["data"]}
    settings = {name: {**begun["settings"].get(name, {}), **new["settings"].get(name, {})} for name in data}
    union = {part: list(dict.fromkeys([*begun[part], *new[part]])) for part in ("methods", "commands")}
    return {**begun, **union, "seeds": sorted({*begun["seeds"], *new["seeds"]}), "data": data, "settings": settings}


def completed(settings: dict) -> dict:
    """A method's settings in a plan, with those that did not exist when it was made."""
    if "config" not in settings:
        return settings
    return {**settings, "config": complete(settings["config"], config_class(settings["method"])())}
