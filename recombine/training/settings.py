"""Settings: named ones, ones given as text, how two differ, and what is refused.

As text, a setting is `NAME=VALUE`. A value is read as the type its dataclass declares: a number, text, one of a few
choices, true or false, none where that is allowed, and several values separated by commas. The settings that a method
has where none are named are `recombine.recipes.default_recipe`'s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from recombine.messages import nearest, process_number, shown
from recombine.methods import METHODS, presets
from recombine.training.recipe import Recipe, TrainConfig

LESS_EXACT = ("batch_size", "precision", "compiled", "accumulate")  # may change, but the end is then not the same bit for bit
HARMLESS = (                                # may change
    "images", "minutes", "passes", "keep", "plateau_images", "log_every", "evaluate_every", "evaluations", "save_seconds",
    "patience", "rollbacks",
)  # fmt: skip
FOUND_OUT = {"precision": "auto", "mirror": None}  # values that mean so: they are what the run began with
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Nothing:
    """Stands for a setting that one of two sides does not have."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = Nothing()


def config_class(method: str) -> type:
    """The `Config` of a method; raises ValueError, with the names that exist and the nearest, where there is none."""
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; there are {shown(list(METHODS), 40)}{nearest(method, list(METHODS))}")
    return METHODS[method][1]


def preset(method: str, name: str) -> Any:
    """The `Config` that a method's file names; raises ValueError, with the names that exist, where there is none."""
    config_class(method)
    known = presets(method)
    if name not in known:
        names = list(known)
        raise ValueError(f"{method} has no preset {name!r}; it has {shown(names, 40)}{nearest(name, names)}")
    return known[name]


def check_names(method: str, names: Sequence[str], *parts: Any) -> None:
    """Raise ValueError where a name is a field of none of the dataclasses, with all fields and the nearest."""
    known = [field.name for part in parts for field in fields(part)]
    for name in names:
        if name not in known:
            raise ValueError(f"{method} has no setting {name!r}; it has {shown(known, 40)}{nearest(name, known)}")


def changed(method: str, config: Any, settings: Mapping[str, str]) -> Any:
    """A method's `Config` with fields given as text; raises ValueError for other names, and text of another type."""
    check_names(method, list(settings), config)
    return replace(config, **{name: parse(config, name, text) for name, text in settings.items()})


def changed_recipe(recipe: Recipe, settings: Mapping[str, str]) -> Recipe:
    """A recipe with settings of its method, or else of its training, given as text; raises ValueError as `changed`."""
    check_names(recipe.method, list(settings), recipe.config, recipe.train)
    own = {field.name for field in fields(recipe.config)}
    config = changed(recipe.method, recipe.config, {name: text for name, text in settings.items() if name in own})
    train = changed(recipe.method, recipe.train, {name: text for name, text in settings.items() if name not in own})
    return replace(recipe, config=config, train=train)


def labelled(label: str) -> tuple[str, str, dict[str, str]]:
    """A method as a comparison names it: `NAME`, `NAME:PRESET`, `NAME:SETTING=VALUE`, several of these joined by `+`.

    Returns:
        The method, the preset, "" where none is named, and changed settings as text.

    Raises:
        ValueError: There is no such method, preset or setting, or a value does not read as the setting's type.
    """
    method, _, rest = label.partition(":")
    named, settings = "", {}
    for part in rest.split("+") if rest else ():
        name, separator, text = part.partition("=")
        if separator:
            settings[name] = text
        else:
            named = part
    changed(method, preset(method, named) if named else config_class(method)(), settings)
    return method, named, settings


def parse(config: Any, name: str, text: str) -> Any:
    """A setting's text as the type that its dataclass declares; raises ValueError, with that type, for other text."""
    kind = get_type_hints(type(config))[name]
    options = get_args(kind)
    if type(None) in options:
        if text.lower() == "none":
            return None
        kind = next(k for k in options if k is not type(None))
    if get_origin(kind) is not tuple:
        return parse_one(kind, name, text)
    values = tuple(parse_one(options[0], name, part.strip()) for part in text.split(",") if part.strip())
    if options[-1] is not Ellipsis and len(values) != len(options):
        raise ValueError(f"setting {name!r} takes {len(options)} values separated by commas, not {text!r}")
    return values


def parse_one(kind: Any, name: str, text: str) -> Any:
    """One value of a setting: a choice, true or false, a number, or text."""
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        raise ValueError(f"setting {name!r} is one of {', '.join(get_args(kind))}, not {text!r}")
    try:
        return BOOLEANS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError):
        raise ValueError(f"setting {name!r} takes {KINDS[kind]}, not {text!r}") from None


def differing(begun: Mapping, now: Mapping, prefix: str = "", *, removed: bool = False) -> list[tuple[str, Any, Any]]:
    """Settings that are not the same in two configurations of plain JSON values: (dotted name, first, second).

    Entries of a list that have a `name` are compared by it. What only the first has counts where `removed` is set; what
    one side does not have is `NOTHING`.
    """
    found: list[tuple[str, Any, Any]] = []
    for name in {**now, **begun} if removed else now:
        first, second = (by_name(side.get(name, NOTHING)) for side in (begun, now))
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            found += differing(first, second, f"{prefix}{name}.", removed=removed)
        elif first != second:
            found.append((prefix + name, first, second))
    return found


def by_name(value: Any) -> Any:
    """A list of entries with names as a mapping; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) and "name" in entry for entry in value):
        return {entry["name"]: entry for entry in value}
    return value


def complete(saved: Mapping, defaults: Any) -> dict:
    """Settings of an earlier version; those that did not exist then had their default's effect."""
    assert is_dataclass(defaults) and not isinstance(defaults, type)
    return {**json.loads(json.dumps(asdict(defaults))), **saved}


def as_begun(train: Mapping, begun: Mapping) -> dict:
    """Settings of a training that would be found out at its start, as an earlier call began it with them."""
    return {name: begun[name] for name, value in FOUND_OUT.items() if name in begun and train.get(name, value) == value}


def check_settings(path: Path, wanted: Mapping, allow: bool) -> None:
    """Refuse to go on with other settings than a run was begun with.

    What changes the model or the data is always refused; what changes the course of the training needs `allow`. Without
    the run's `config.json` at the path the run is new, and nothing is refused. What is found out at the start
    is what the run has.

    Raises:
        ValueError: With every setting that differs, and what to do.
    """
    if not path.exists():
        return
    begun, now = json.loads(path.read_text()), json.loads(json.dumps(wanted))
    for side in (begun, now):  # a pack may have been moved
        side["data"].pop("pack", None)
    if begun["method"] == now["method"]:
        begun["config"] = complete(begun["config"], config_class(begun["method"])())
    begun["train"] = complete(begun["train"], TrainConfig())
    now["train"] |= as_begun(now["train"], begun["train"])
    news = {name: f"{name} was {a!r}, now {b!r}" for name, a, b in differing(begun, now)}
    inexact = [line for name, line in news.items() if name.split(".")[-1] in LESS_EXACT]
    if inexact and process_number() == 0:
        print(f"going on, though not bit for bit as without the change: {'; '.join(inexact)}", file=sys.stderr)
    different = [line for name, line in news.items() if name.split(".")[-1] not in HARMLESS + LESS_EXACT]
    fatal = [line for line in different if not line.startswith("train.")]
    if fatal or (different and not allow):
        cure = "give another folder for a new run" + ("" if fatal else ", or --allow to go on with the new settings")
        raise ValueError(f"{path.parent} was begun with other settings: {'; '.join(fatal or different)}; {cure}")
