"""What checkpoints hold, refuse, and find damaged. Faults of the disk are in test_crashes.py."""

import ast
import errno
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import recombine
from recombine import files, manifest
from recombine.data.schema import Attribute, Schema
from recombine.training import checkpoint
from recombine.training.checkpoint import (
    CorruptCheckpoint,
    Incompatible,
    NewerFormat,
    flatten_optimizer,
    unflatten_optimizer,
)

SCHEMA = Schema((Attribute("smile", "binary", ("0", "1")), Attribute("yaw", "continuous", low=-1.0, high=0.1 + 0.2)), height=8)
CONFIG = {"method": "rodi", "config": {"width": 4, "rate": 0.1}}
TENSORS = {
    "encoder.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) / 7,
    "count": torch.tensor(3),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "none": torch.empty(0, 5),
}


def same(a: object, b: object) -> bool:
    """Equal to the bit, and of equal types all the way down."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return type(a) is type(b) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def save_steps(run: Path, *steps: int) -> None:
    for step in steps:
        checkpoint.save_resume(run, step, {"weights": TENSORS}, {"step": step})


def step_folder(run: Path, step: int) -> Path:
    return run / "resume" / f"step-{step:012d}"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def rewrite_manifest(folder: Path, **changes: object) -> None:
    contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "manifest.json"}
    body = json.loads(checkpoint.sealed(contents)) | changes
    body.pop("digest")
    (folder / "manifest.json").write_bytes(manifest.sealed(body))


def test_a_model_comes_back_from_its_run_and_from_its_own_folder(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, {**CONFIG, "note": "Zoë"}, SCHEMA)
    moved = shutil.copytree(tmp_path / "model", tmp_path / "elsewhere")
    for path in (tmp_path, tmp_path / "model", str(moved)):
        model = checkpoint.read_model(path)
        assert same(model.tensors, TENSORS)
        assert model.schema == SCHEMA
        assert model.config == {**CONFIG, "note": "Zoë", "format": 1, "recombine": recombine.__version__}


def test_a_config_that_was_read_can_be_saved_again_with_the_present_version(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, {**CONFIG, "format": 0, "recombine": "0.0.1"}, SCHEMA)
    assert checkpoint.read_model(tmp_path).config["recombine"] == recombine.__version__


def test_tensors_that_share_memory_or_lie_across_it_are_saved(tmp_path):
    whole = torch.randn(4, 6)
    tensors = {"a": whole, "b": whole, "turned": whole.T, "part": whole[:, ::2], "learnt": nn.Parameter(whole)}
    checkpoint.save_model(tmp_path, tensors, CONFIG, SCHEMA)
    read = checkpoint.read_model(tmp_path).tensors
    assert read.keys() == tensors.keys() and all(torch.equal(read[name], tensors[name]) for name in tensors)


def test_what_no_model_can_be_is_refused_before_writing(tmp_path):
    with pytest.raises(ValueError, match=r"decoder.bias holds NaN or infinity and is not saved"):
        checkpoint.save_model(tmp_path, {"decoder.bias": torch.tensor([0.0, torch.nan])}, CONFIG, SCHEMA)
    with pytest.raises(ValueError, match=r"w holds NaN or infinity"):
        checkpoint.save_resume(tmp_path, 1, {"weights": {"w": torch.tensor(torch.inf)}}, {})
    with pytest.raises(ValueError, match=r"needs 'method' and 'config'; it has method"):
        checkpoint.save_model(tmp_path, TENSORS, {"method": "rodi"}, SCHEMA)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_is_described(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no .*gone; expected a run folder, or its model folder"):
        checkpoint.read_model(tmp_path / "gone")
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(FileNotFoundError, match=r"holds no finished model: expected .*manifest.json; it holds log.jsonl"):
        checkpoint.read_model(tmp_path)


def test_a_model_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    checkpoint.save_model(tmp_path, {"w": torch.zeros(3)}, CONFIG, SCHEMA)
    read, calls = manifest.read, []

    def replace_meanwhile(folder, name, *entry):
        calls.append(name)
        if len(calls) == 1:
            checkpoint.save_model(tmp_path, {"w": torch.ones(3)}, CONFIG, SCHEMA)
        return read(folder, name, *entry)

    monkeypatch.setattr(manifest, "read", replace_meanwhile)
    assert torch.equal(checkpoint.read_model(tmp_path).tensors["w"], torch.ones(3))
    assert calls[0] == calls[1], "the first reading must have failed, or nothing was tested"


def test_a_resume_comes_back_to_the_bit(tmp_path):
    state = {"floats": [0.1 + 0.2, 1e-308, 5e-324, -0.0, float("inf")], "big": 2**63 + 1, "none": None, "nested": {"a": [True]}}
    groups = {"weights": TENSORS, "optimizer.critic": {}, "ema": {"w": torch.tensor(1 / 3)}}
    checkpoint.save_resume(tmp_path, 96, groups, state)
    resume = checkpoint.newest_resume(tmp_path)
    assert resume.step_images == 96 and resume.passed_over == [] and resume.path == step_folder(tmp_path, 96)
    assert same(resume.tensors, groups) and same(resume.state, state)
    assert str(resume.state["floats"][3]) == "-0.0"


def test_a_run_without_checkpoints_has_none(tmp_path):
    assert checkpoint.newest_resume(tmp_path) is None
    assert checkpoint.newest_resume(tmp_path / "gone") is None


def test_two_are_kept_and_a_course_that_was_given_up_is_removed(tmp_path):
    save_steps(tmp_path, 8, 100, 1000)
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["step-000000000100", "step-000000001000"]
    save_steps(tmp_path, 200)
    assert sorted(path.name for path in (tmp_path / "resume").iterdir()) == ["step-000000000100", "step-000000000200"]
    assert checkpoint.newest_resume(tmp_path).state == {"step": 200}


def test_an_unfinished_checkpoint_is_passed_over_and_named(tmp_path):
    save_steps(tmp_path, 1, 2)
    (step_folder(tmp_path, 2) / "manifest.json").unlink()
    (tmp_path / "resume" / "step-000000000003.tmp").mkdir()
    resume = checkpoint.newest_resume(tmp_path)
    assert resume.step_images == 1 and len(resume.passed_over) == 1
    assert "step-000000000002/manifest.json is damaged: expected a manifest, got none" in resume.passed_over[0]
    save_steps(tmp_path, 4)
    assert [path.name[-1] for path in sorted((tmp_path / "resume").iterdir())] == ["1", "4"], "the whole ones are kept"


def test_unfinished_checkpoints_alone_are_an_error(tmp_path):
    save_steps(tmp_path, 1)
    (step_folder(tmp_path, 1) / "manifest.json").unlink()
    with pytest.raises(CorruptCheckpoint, match="never finished"):
        checkpoint.newest_resume(tmp_path, fallback=True)


@pytest.mark.parametrize("file", ["weights.safetensors", "config.json", "labels.json"])
@pytest.mark.parametrize("place", [0, 20, -1])
def test_a_flipped_bit_in_a_model_is_found(tmp_path, file, place):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    right = manifest.sha256(tmp_path / "model" / file)
    flip(tmp_path / "model" / file, place)
    with pytest.raises(CorruptCheckpoint, match=f"{file} is damaged: expected SHA-256 {right}, got") as caught:
        checkpoint.read_model(tmp_path)
    assert caught.value.path == tmp_path / "model" and caught.value.file == file
    assert caught.value.got == manifest.sha256(tmp_path / "model" / file)


def test_a_flipped_bit_anywhere_in_the_manifest_is_found(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    path = tmp_path / "model" / "manifest.json"
    for place in range(0, path.stat().st_size, 3):
        flip(path, place)
        with pytest.raises(CorruptCheckpoint):
            checkpoint.read_model(tmp_path)
        flip(path, place)
    checkpoint.read_model(tmp_path)


def test_missing_and_truncated_files_are_named(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    path = tmp_path / "model" / "weights.safetensors"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptCheckpoint, match=f"weights.safetensors is damaged: expected {size} bytes, got {size - 5} bytes"):
        checkpoint.read_model(tmp_path)
    path.unlink()
    with pytest.raises(CorruptCheckpoint, match=f"expected {size} bytes, got no file"):
        checkpoint.read_model(tmp_path)


def test_a_manifest_may_not_point_outside_its_folder(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    (tmp_path / "secret").write_text("x")
    rewrite_manifest(tmp_path / "model", files={"../secret": {"size": 1, "sha256": manifest.sha256(tmp_path / "secret")}})
    with pytest.raises(CorruptCheckpoint, match=r"expected plain file names, got '../secret'"):
        checkpoint.read_model(tmp_path)


def test_a_manifest_must_name_the_weights(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    (tmp_path / "model" / "weights.safetensors").unlink()
    rewrite_manifest(tmp_path / "model")
    with pytest.raises(CorruptCheckpoint, match=r"expected an entry for weights.safetensors, got config.json, labels.json"):
        checkpoint.read_model(tmp_path)


def test_a_damaged_resume_is_an_error_unless_an_older_one_is_asked_for(tmp_path):
    save_steps(tmp_path, 1, 2)
    flip(step_folder(tmp_path, 2) / "weights.safetensors", -1)
    says = r"step-000000000002/weights.safetensors is damaged: .*; remove .*step-000000000002 to go on from the checkpoint before"
    with pytest.raises(CorruptCheckpoint, match=says):
        checkpoint.newest_resume(tmp_path)
    resume = checkpoint.newest_resume(tmp_path, fallback=True)
    assert resume.state == {"step": 1} and "step-000000000002/weights.safetensors" in resume.passed_over[0]
    flip(step_folder(tmp_path, 1) / "state.json", 3)
    with pytest.raises(CorruptCheckpoint, match=r"step-000000000002"):
        checkpoint.newest_resume(tmp_path, fallback=True)


def test_a_newer_format_is_refused_with_both_versions(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    save_steps(tmp_path, 1)
    says = rf"made by recombine 9\.4, format 3; this is {recombine.__version__}, format 1: upgrade"
    rewrite_manifest(tmp_path / "model", format=3, recombine="9.4")
    with pytest.raises(NewerFormat, match=says):
        checkpoint.read_model(tmp_path)
    rewrite_manifest(step_folder(tmp_path, 1), format=3, recombine="9.4")
    with pytest.raises(NewerFormat, match=says):
        checkpoint.newest_resume(tmp_path, fallback=True)


def test_what_reads_back_differently_is_not_kept(tmp_path, monkeypatch):
    save_steps(tmp_path, 1)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:-1] + bytes([data[-1] ^ 1])))
        with pytest.raises(files.SaveFailed, match=r"weights.safetensors reads back differently") as caught:
            save_steps(tmp_path, 2)
    assert caught.value.errno == errno.EIO
    assert checkpoint.newest_resume(tmp_path).step_images == 1


def test_compatible_configs_pass_whatever_their_versions(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, {"method": "rodi", "config": {"sizes": (1, 2)}}, SCHEMA)
    model = checkpoint.read_model(tmp_path)
    checkpoint.check_compatible(
        {**model.config, "schema": model.schema.to_json(), "recombine": "0.0.1"},
        {"method": "rodi", "config": {"sizes": (1, 2)}, "schema": SCHEMA.to_json()},
    )


def test_another_model_is_refused_with_both_names_and_the_differences():
    taller = Schema(SCHEMA.attributes[::-1][:1], height=16)
    saved = {"method": "rodi", "config": {"width": 4, "rate": 0.1}, "schema": SCHEMA.to_json()}
    wanted = {"method": "mad", "config": {"width": 8, "rate": 0.1, "depth": 2}, "schema": taller.to_json()}
    with pytest.raises(Incompatible, match="the checkpoint is of rodi, this model of mad; they differ in ") as caught:
        checkpoint.check_compatible(saved, wanted)
    for difference in (
        "config.width: 4 saved, 8 wanted",
        "config.depth: nothing saved, 2 wanted",
        "schema.height: 8 saved, 16 wanted",
        "schema.attributes.smile: {'name': 'smile', 'kind': 'binary'",
    ):
        assert difference in str(caught.value)
    assert "rate" not in str(caught.value) and "yaw" not in str(caught.value)


def test_weights_are_loaded_all_or_not_at_all():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    other = {name: tensor + 1 for name, tensor in before.items()}
    wrong = {**other, "1.weight": torch.zeros(1, 4), "2.bias": torch.zeros(1)}
    wrong.pop("0.bias")
    with pytest.raises(Incompatible) as caught:
        checkpoint.load_weights(network, wrong)
    for difference in ("0.bias missing saved, (3,) wanted", "1.weight (1, 4) saved, (1, 3) wanted", "2.bias (1,) saved, not wanted"):
        assert difference in str(caught.value)
    assert same(dict(network.state_dict()), before)
    checkpoint.load_weights(network, other)
    assert same(dict(network.state_dict()), other)


def test_a_long_list_of_differences_is_cut():
    with pytest.raises(Incompatible, match=r"\.\.\. \(20 in all\); nothing was loaded"):
        checkpoint.load_weights(nn.Sequential(*[nn.Linear(1, 1) for _ in range(10)]), {})


OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.5, 0.999), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1 + 0.2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "two groups, a tensor rate": lambda p: torch.optim.Adam([{"params": p[:1], "lr": torch.tensor(0.01)}, {"params": p[1:]}]),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_an_optimiser_goes_on_to_the_bit(tmp_path, make):
    def descend(network, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            (network(torch.linspace(-1, 1, 6).reshape(2, 3)) ** 2).sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    network, again = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer, continued = make(list(network.parameters())), make(list(again.parameters()))
    descend(network, optimizer, 3)
    tensors, rest = flatten_optimizer(optimizer.state_dict())
    checkpoint.save_resume(tmp_path, 3, {"weights": network.state_dict(), "optimizer": tensors}, {"optimizer": rest})

    resume = checkpoint.newest_resume(tmp_path)
    state = unflatten_optimizer(resume.tensors["optimizer"], resume.state["optimizer"])
    assert same(state, optimizer.state_dict())
    checkpoint.load_weights(again, resume.tensors["weights"])
    continued.load_state_dict(state)
    descend(network, optimizer, 3)
    descend(again, continued, 3)
    assert same(dict(again.state_dict()), dict(network.state_dict()))
    assert same(continued.state_dict(), optimizer.state_dict())


def test_an_optimiser_state_that_cannot_be_written_is_named():
    with pytest.raises(ValueError, match=r"optimizer\.state\.0\.noise is a Generator; expected a tensor"):
        flatten_optimizer({"state": {0: {"noise": torch.Generator()}}})


class Malicious:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_malicious_pickle_is_never_opened(tmp_path):
    marker = tmp_path / "marker"
    for name in ("a.pt", "a.PTH", "a.pkl", "a.ckpt", "a.bin", "a.npz"):
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_bytes(pickle.dumps(Malicious(marker)))
        if name == "a.npz":
            np.savez(folder / name, weights=np.array([Malicious(marker)], dtype=object), allow_pickle=True)
        for reads in (checkpoint.read_model, checkpoint.newest_resume):
            with pytest.raises(ValueError, match=rf"{name} is a pickle file, .*recombine never opens one; expected a run folder"):
                reads(folder / name)
        with pytest.raises(ValueError, match=rf"{name} is a pickle file"):
            checkpoint.read_model(folder)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))
    assert marker.exists(), "the trap itself must work"


def test_a_pickle_under_a_false_name_is_only_bytes(tmp_path):
    checkpoint.save_model(tmp_path, TENSORS, CONFIG, SCHEMA)
    weights, config = tmp_path / "model" / "weights.safetensors", tmp_path / "model" / "config.json"
    weights.write_bytes(pickle.dumps(Malicious(tmp_path / "marker")))
    rewrite_manifest(tmp_path / "model")
    with pytest.raises(CorruptCheckpoint, match=r"weights.safetensors is damaged: expected a safetensors file"):
        checkpoint.read_model(tmp_path)
    config.write_bytes(pickle.dumps(Malicious(tmp_path / "marker")))
    rewrite_manifest(tmp_path / "model")
    with pytest.raises(CorruptCheckpoint, match=r"config.json is damaged: expected JSON"):
        checkpoint.read_model(tmp_path)
    assert not (tmp_path / "marker").exists()


PICKLE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal"}
PICKLE_CALLS = {("torch", "load"), ("torch", "save"), ("fabric", "load"), ("fabric", "save"), ("joblib", "load"), ("joblib", "dump")}


def pickle_uses(source: str) -> list[str]:
    """What in a module could read or write a pickle."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in PICKLE_MODULES]
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            found += [origin] if origin.split(".")[0] in PICKLE_MODULES else []
            found += [f"{origin}.{alias.name}" for alias in node.names if (origin, alias.name) in PICKLE_CALLS]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [ast.unparse(node)] if (node.value.id, node.attr) in PICKLE_CALLS else []
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found += [] if isinstance(node.value, ast.Constant) and node.value.value is False else ["allow_pickle"]
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "joblib.dump(x, 'y')", "from pickle import loads", "from torch import load", "torch.load('x')",
     "f = torch.save", "np.load('x', allow_pickle=True)", "np.load('x', allow_pickle=flag)", "fabric.load('x')"],
)  # fmt: skip
def test_the_search_for_pickles_finds_them(source):
    assert pickle_uses(source)
    assert pickle_uses("from safetensors.torch import load, save\nnp.load('x', allow_pickle=False)\n'torch.load'") == []


def test_nothing_in_the_package_reads_or_writes_pickles():
    package = Path(recombine.__file__).parent
    modules = sorted(package.rglob("*.py"))
    assert len(modules) > 5
    assert {str(path): uses for path in modules if (uses := pickle_uses(path.read_text()))} == {}
