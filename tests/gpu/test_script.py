"""The script for a borrowed GPU: that it runs to its end without one, and what is carried to it."""

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

PROOFS = Path(__file__).parents[2] / "proofs"


@pytest.fixture
def gpu(monkeypatch):
    spec = spec_from_file_location("gpu", PROOFS / "gpu.py")
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_it_runs_on_a_processor_too(tmp_path):
    command = [sys.executable, str(PROOFS / "gpu.py"), "--minutes", "1", "--out", str(tmp_path)]  # it needs a quarter of it
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu.json").read_text())["values"]
    parts = found["parts"]
    assert 0 < found["share_of_peak"] and found["idle_percent"] is None
    assert parts["tests"]["left_out"] == "there is no GPU"
    assert all("error" not in part for part in parts.values()), parts
    assert all(name.startswith("train-") for name in found["not_finished"])     # which a busy machine may not allow
    for name in ("splice", "ifcvaegan", "matdr", "advattr", "rodi"):  # finished or not, judged
        assert (tmp_path / name / "run" / "model" / "weights.safetensors").exists()
        assert (tmp_path / name / "grid.png").exists() and (tmp_path / name / "judgement.json").exists()


def test_carried_images_are_nearly_those_of_the_pack(gpu, signs, tmp_path):
    count = gpu.carry_images(signs.path, tmp_path / "images.zip", 100_000, ["lamp", "maker", "shade"])
    assert (tmp_path / "images.zip").stat().st_size <= 100_000 and 20 < count < len(signs)
    pack, rows = gpu.unpack(tmp_path / "images.zip", tmp_path / "pack"), np.random.default_rng(0).permutation(len(signs))[:count]
    assert pack.schema == signs.select("lamp", "maker", "shade").schema and len(pack) == count
    assert all(np.array_equal(np.asarray(pack.labels[name][:]), np.asarray(signs.labels[name][rows])) for name in pack.schema.names)
    assert list(pack.splits[:]) == list(signs.splits[rows])
    assert np.abs(pack.images[:].astype(float) - signs.images[rows]).mean() < 4


def test_parts_that_died_are_named_and_not_tried_again_in_the_same_call(gpu, tmp_path):
    (tmp_path / "parts").mkdir()
    gpu.write(tmp_path / "given.json", {"call": 1.0})
    gpu.write(tmp_path / "now.json", {"name": "peak", "until": 1e12})
    assert not gpu.watch(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]), tmp_path)
    assert gpu.read(tmp_path / "parts" / "peak.json") == {"finished": False, "error": "the process died", "call": 1.0}
