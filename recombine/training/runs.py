"""A run folder: starting one from a recipe, and opening what it left."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recombine import files
from recombine.data.batch import mix_seed
from recombine.data.joined import open_places, places
from recombine.data.packed import Pack
from recombine.data.schema import Schema
from recombine.messages import process_number
from recombine.method import Method
from recombine.methods import METHODS
from recombine.training import checkpoint
from recombine.training.engine import Monitor, fit
from recombine.training.lowered import FULL, LOWERED, lower
from recombine.training.recipe import Recipe
from recombine.training.settings import as_begun, check_names, check_settings, config_class


def build(name: str, settings: Mapping[str, Any], schema: Schema) -> Method:
    """A new method, by its short name, for a schema; fields of its `Config` that are left out keep their defaults.

    Raises:
        ValueError: There is no such method or setting, or the method cannot work with this schema.
    """
    config = config_class(name)
    check_names(name, list(settings), config)
    return METHODS[name][0](config(**settings), schema)


def load(path: str | Path, device: str | torch.device = "cpu", precision: str = FULL) -> Method:
    """Open a trained model: a run folder or its `model` folder.

    With precision "bf16-mixed" its networks compute in bfloat16, which is often twice as fast; 99.9 % of the pixels of
    the demo's images are then off by less than two steps of 8 bits. Codes and images are float32 all the same.

    Raises:
        FileNotFoundError: There is no finished model.
        CorruptCheckpoint: A file is not what was written.
        ValueError: It needs a newer version, or is a pickle, which is never opened; or there is no such precision.
    """
    if precision not in (FULL, LOWERED):
        raise ValueError(f"a model is opened with precision {FULL!r} or {LOWERED!r}, not {precision!r}")
    found = checkpoint.read_model(path)
    model = build(found.config["method"], found.config["config"], found.schema)
    assert isinstance(model, nn.Module)
    checkpoint.load_weights(model, found.tensors)
    model.to(device).eval().requires_grad_(False)
    if precision == LOWERED:
        lower(model, torch.device(device))
    return model


def start(
    recipe: Recipe, pack: Pack, run: str | Path, *, monitor: Monitor | None = None, allow: bool = False,
    quiet: bool = False,
) -> Path:  # fmt: skip
    """Train a recipe in a run folder, or go on where an earlier call stopped; options as for `engine.fit`.

    With `allow`, settings that do not change the model may differ from those that the run was begun with.

    Raises:
        ValueError: The run was begun with other settings; the message lists them.
    """
    run = Path(run)
    pack = pack.select(*learnt(recipe, pack.schema))
    torch.manual_seed(mix_seed(recipe.train.seed, "weights"))
    method = build(recipe.method, asdict(recipe.config), pack.schema)
    settings = {
        "method": recipe.method,
        "config": asdict(recipe.config),
        "train": asdict(recipe.train),
        "data": {**places(pack), "fingerprint": pack.fingerprint, "attributes": list(pack.schema.names)},
    }
    files.make_folder(run)
    check_settings(run / "config.json", settings, allow)
    if (run / "config.json").exists():      # what is found out is then what the run began with
        begun = as_begun(asdict(recipe.train), json.loads((run / "config.json").read_text())["train"])
        recipe = replace(recipe, train=replace(recipe.train, **begun))
        settings["train"] |= begun
    if process_number() == 0:
        write_settings(run, settings, pack.schema)
    return fit(method, pack, recipe.train, run, settings=settings, monitor=monitor, quiet=quiet)


def learnt(recipe: Recipe, schema: Schema) -> tuple[str, ...]:
    """The attributes that a recipe's model learns of a schema's: those that it names, or all that its method can use."""
    kinds = METHODS[recipe.method][0].kinds
    return recipe.attributes or tuple(a.name for a in schema.attributes if a.kind in kinds)


def write_settings(run: Path, settings: Mapping[str, Any], schema: Schema) -> None:
    """Write what a run is trained with, and by which versions."""
    versions = {name: version(name) for name in ("recombine", "torch", "lightning-fabric", "numpy")}
    versions["python"] = platform.python_version()
    files.write_text(run / "config.json", json.dumps({**settings, "versions": versions}, indent=2))
    files.write_text(run / "labels.json", json.dumps(schema.to_json(), indent=2))


def settings_of(run: Path) -> tuple[dict[str, Any], Schema | None]:
    """The settings that a run was begun with, and its schema; nothing and None where it is new."""
    if not all((run / name).exists() for name in ("config.json", "labels.json")):
        return {}, None
    settings, schema = (json.loads((run / name).read_text()) for name in ("config.json", "labels.json"))
    return settings, Schema.from_json(schema)


def pack_of(run: str | Path) -> Pack:
    """The data a run was trained on, with the run's attributes.

    Raises:
        FileNotFoundError: The pack is no longer where it was.
    """
    data = json.loads((Path(run) / "config.json").read_text())["data"]
    return open_places(data).select(*data["attributes"])
