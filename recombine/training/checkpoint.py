"""Models and runs on disk: safetensors and JSON under a manifest of SHA-256 hashes. No pickle is ever opened.

A run folder holds `model/` (all that is needed to use the model, and all that is shared) and `resume/step-N/` (all that
is needed to go on training from the N-th image; two are kept). Both are written whole or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from recombine import __version__, files, manifest
from recombine.data.schema import Schema
from recombine.manifest import to_json
from recombine.messages import shown
from recombine.training.settings import differing

FORMAT = 1  # of model and resume folders; raised when older versions could no longer read them
KEEP = 2  # resume checkpoints left on disk
PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".npz", ".joblib", ".tar"}


class CorruptCheckpoint(RuntimeError):
    """A checkpoint that is not what was written: its folder, and the first file in it that is wrong."""

    def __init__(self, path: Path, file: str, expected: str, got: str):
        self.path, self.file, self.expected, self.got = path, file, expected, got
        advice = "copy it again from where it came"
        if path.parent.name == "resume":
            advice = f"remove {path} to go on from the checkpoint before it"
        super().__init__(f"{path / file} is damaged: expected {expected}, got {got}; {advice}")


class NewerFormat(ValueError):
    """A checkpoint by a later version of recombine."""


class Incompatible(ValueError):
    """A checkpoint of another method, other attributes, or other sizes."""


@dataclass(frozen=True)
class ModelFile:
    """A model as it stands on disk."""

    config: dict                            # method, its config, what else was given; format, recombine's version
    schema: Schema
    tensors: dict[str, Tensor]              # on the CPU


@dataclass(frozen=True)
class Resume:
    """A point from which training goes on."""

    path: Path
    step_images: int                        # images seen
    tensors: dict[str, dict[str, Tensor]]   # file stem -> tensors, on the CPU
    state: dict
    passed_over: list[str] = field(default_factory=list)  # one sentence for each newer checkpoint that was broken


def save_model(run: Path, tensors: Mapping[str, Tensor], config: dict, schema: Schema) -> None:
    """Write or replace `run/model/`; the run folder must exist.

    The config holds at least `method`, its short name, and `config`, its settings as plain JSON values.

    Raises:
        SaveFailed: The disk refused; the earlier model still stands.
        ValueError: A tensor holds NaN or infinity, or the config lacks one of the two.
    """
    if not {"method", "config"} <= config.keys():
        raise ValueError(f"a model's config needs 'method' and 'config'; it has {shown(list(config))}")
    config = {**config, "format": FORMAT, "recombine": __version__}
    contents = {
        "weights.safetensors": pack_tensors(tensors),
        "config.json": to_json(config),
        "labels.json": to_json(schema.to_json()),
    }
    files.write_folder(Path(run) / "model", {**contents, manifest.NAME: sealed(contents)})


def read_model(path: str | Path) -> ModelFile:
    """The model in a run folder or a model folder; every byte is checked first.

    Raises:
        FileNotFoundError: There is none.
        CorruptCheckpoint: A file is not what was written.
        NewerFormat: A later version wrote it.
        ValueError: It is a pickle, which is never opened.
    """
    path = Path(path)
    refuse_pickle(path)
    while True:
        folder = model_folder(path)
        before = fingerprint(folder)
        try:
            contents = read_checked(folder)
            schema = Schema.from_json(parsed(folder, "labels.json", contents))
            config, tensors = (parsed(folder, name, contents) for name in ("config.json", "weights.safetensors"))
            return ModelFile(config, schema, tensors)
        except (CorruptCheckpoint, FileNotFoundError):
            if before == fingerprint(files.standing(folder) or folder):  # not merely replaced by a training meanwhile
                raise


def model_folder(path: Path) -> Path:
    """The model folder of a run folder or model folder."""
    found = files.standing(path / "model") or files.standing(path)
    if found is None:
        raise FileNotFoundError(f"there is no {path}; expected a run folder, or its model folder")
    if (found / manifest.NAME).exists():
        return found
    pickles = sorted(file.name for file in found.iterdir() if file.suffix.lower() in PICKLES)
    if pickles:
        refuse_pickle(found / pickles[0])
    raise FileNotFoundError(
        f"{path} holds no finished model: expected {found / 'manifest.json'}; "
        f"it holds {shown(sorted(file.name for file in found.iterdir()))}"
    )


def save_resume(run: Path, step_images: int, tensors: Mapping[str, Mapping[str, Tensor]], state: dict) -> None:
    """Write `run/resume/step-N/`, read it back, and only then remove all but the newest two.

    Checkpoints of a later step belong to a course of the training that was given up, and go too. `tensors` go by file
    stem; `state` is anything that JSON can hold, with strings as keys, and floats come back bit for bit.

    Raises:
        SaveFailed: The disk refused; the earlier checkpoints still stand.
        ValueError: A tensor holds NaN or infinity.
    """
    folder = Path(run) / "resume" / f"step-{step_images:012d}"
    contents = {f"{stem}.safetensors": pack_tensors(group) for stem, group in tensors.items()}
    contents["state.json"] = to_json({"step_images": step_images, "state": state})
    contents[manifest.NAME] = sealed(contents)
    with files.save_errors(folder, sum(map(len, contents.values()))):
        files.make_folder(folder.parent)
    files.write_folder(folder, contents)
    tidy(folder)


def newest_resume(run: str | Path, fallback: bool = False) -> Resume | None:
    """The newest complete checkpoint of a run; None if it has none yet.

    One without a manifest was never finished; it is passed over and named in the answer. One whose bytes have changed
    is an error, unless `fallback` allows an older one in its place.

    Raises:
        CorruptCheckpoint: The newest is damaged and `fallback` is not given, or all are.
        NewerFormat: A later version wrote it.
        ValueError: The path is a pickle, which is never opened.
    """
    refuse_pickle(Path(run))
    broken: list[CorruptCheckpoint] = []
    for folder in resume_folders(Path(run)):
        try:
            contents = read_checked(folder)
            stored = parsed(folder, "state.json", contents)
            names = [name for name in contents if name.endswith(".safetensors")]
            tensors = {name.removesuffix(".safetensors"): parsed(folder, name, contents) for name in names}
            return Resume(folder, stored["step_images"], tensors, stored["state"], [str(error) for error in broken])
        except CorruptCheckpoint as error:
            if not fallback and (folder / manifest.NAME).exists():
                raise
            broken.append(error)
    if broken:
        raise broken[0]
    return None


def trained_images(run: Path) -> int:
    """Images that a run has seen by its newest checkpoint, which is not looked into; 0 where there is none."""
    return next((int(path.name.removesuffix(".old").removeprefix("step-")) for path in resume_folders(run)), 0)


def resume_folders(run: Path) -> list[Path]:
    """Folders of all finished checkpoints, newest first."""
    found = {}
    for path in (run / "resume").glob("step-*"):
        if step := re.fullmatch(r"step-(\d+)(\.old)?", path.name):
            found[int(step[1])] = files.standing(path.with_name(f"step-{step[1]}")) or path
    return [found[step] for step in sorted(found, reverse=True)]


def tidy(newest: Path) -> None:
    """Remove every checkpoint except this one and the newest before it, and what crashes left behind."""
    everything = sorted(newest.parent.glob("step-*"), reverse=True)  # step-5.tmp and step-5.old before step-5
    finished = [path for path in everything if path.suffix == "" and (path / manifest.NAME).exists()]
    kept = finished[finished.index(newest) :][:KEEP]
    for path in everything:
        if path not in kept:
            files.discard(path)


def sealed(contents: Mapping[str, bytes]) -> bytes:
    """The manifest of a model or checkpoint."""
    entries = {name: manifest.entry(data) for name, data in contents.items()}
    return manifest.sealed({"format": FORMAT, "recombine": __version__, "files": entries})


def read_checked(folder: Path) -> dict[str, bytes]:
    """All files of a checkpoint that stand in its manifest; raises CorruptCheckpoint where one is not as written."""
    body = manifest.unsealed(folder, CorruptCheckpoint)
    if body["format"] > FORMAT:
        raise NewerFormat(
            f"{folder} was made by recombine {body['recombine']}, format {body['format']}; "
            f"this is {__version__}, format {FORMAT}: upgrade recombine"
        )
    return {name: manifest.read(folder, name, entry, CorruptCheckpoint) for name, entry in body["files"].items()}


def fingerprint(folder: Path) -> bytes | None:
    """The manifest's bytes, to see whether a folder has been replaced; None without one."""
    try:
        return (folder / manifest.NAME).read_bytes()
    except FileNotFoundError:
        return None


def refuse_pickle(path: Path) -> None:
    """Raise ValueError for a file that could run code when opened; it is not opened to find out."""
    if path.suffix.lower() in PICKLES and not path.is_dir():
        raise ValueError(
            f"{path} is a pickle file, which can run any code when it is opened, so recombine never opens one; "
            "expected a run folder or a model folder. Where you trust the file, load it with torch.load(..., "
            "weights_only=True) in a process of its own and write its tensors with safetensors.torch.save_file"
        )


def check_compatible(saved: Mapping, wanted: Mapping) -> None:
    """Raise Incompatible, naming every field that differs, for the config of a checkpoint of another model."""
    plain = [json.loads(json.dumps(side)) for side in (saved, wanted)]
    first, second = ({k: v for k, v in side.items() if k not in ("format", "recombine")} for side in plain)
    lines = [f"{name}: {a!r} saved, {b!r} wanted" for name, a, b in differing(first, second, removed=True)]
    if lines:
        raise Incompatible(
            f"the checkpoint is of {saved['method']}, this model of {wanted['method']}; they differ in "
            f"{'; '.join(lines)}. Build the model from the checkpoint's own config, or train anew in another folder"
        )


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network exactly these weights; raises Incompatible, and loads none, where names or shapes differ."""
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    saved = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [f"{name} {saved.get(name, 'missing')} saved, {wanted.get(name, 'not')} wanted"
             for name in {**wanted, **saved} if saved.get(name) != wanted.get(name)]  # fmt: skip
    if wrong:
        raise Incompatible(
            f"these weights do not fit {type(network).__name__}: {shown(wrong, most=4)}; nothing was loaded. "
            "Build the network from the checkpoint's own config"
        )
    network.load_state_dict(dict(tensors), strict=True)


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file, tensors that share memory each on its own; raises ValueError for NaN."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds NaN or infinity and is not saved; go back to the last good checkpoint")
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    return save(own, metadata={"format": "pt"})


def parsed(folder: Path, name: str, contents: Mapping[str, bytes]) -> dict:
    """The tensors of a safetensors file, or the JSON, in a file that has been read."""
    if name not in contents:
        raise CorruptCheckpoint(folder, manifest.NAME, f"an entry for {name}", shown(list(contents)))
    kind, parse = ("JSON", json.loads) if name.endswith(".json") else ("a safetensors file", load)
    try:
        return parse(contents[name])
    except (ValueError, SafetensorError) as error:
        raise CorruptCheckpoint(folder, name, kind, str(error)) from error


def flatten_optimizer(state_dict: dict) -> tuple[dict[str, Tensor], dict]:
    """An optimiser's state as named tensors and a JSON-able rest, from which `unflatten_optimizer` makes it again."""
    tensors: dict[str, Tensor] = {}

    def described(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value
            return {"tensor": name}
        if isinstance(value, dict):
            return {"dict": [[key, described(inner, f"{name}.{key}")] for key, inner in value.items()]}
        if isinstance(value, (list, tuple)):
            entries = [described(entry, f"{name}.{place}") for place, entry in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": entries}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        of_these = "a tensor, number, text, None, or a list or dict of them"
        raise ValueError(f"{name} is a {type(value).__name__}; expected {of_these}")

    return tensors, described(state_dict, "optimizer")


def unflatten_optimizer(tensors: Mapping[str, Tensor], rest: Any) -> Any:
    """The `state_dict` that `flatten_optimizer` took apart, bit for bit."""
    if not isinstance(rest, dict):
        return rest
    (kind, inner), = rest.items()  # fmt: skip
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: unflatten_optimizer(tensors, value) for key, value in inner}
    entries = [unflatten_optimizer(tensors, value) for value in inner]
    return tuple(entries) if kind == "tuple" else entries
