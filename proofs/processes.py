"""Several processes beside one, on this machine: the same weights, how fast, and that they stop and go on: about 6 minutes.

    python proofs/processes.py [--only PART ...]

`methods`: every method takes three steps in double precision as one process and as two. The two must have the same weights,
and end with those of one process that takes the batch whole or, where a loss or a permutation looks at all images that a
process has, with those of one that takes it in two halves. Dropout, which every process draws for itself, is off.
`throughput`: images a second of two processes with a thread each and of one with two threads, in turns.
`slurm`: docs/slurm.sh with two processes and stand-ins for SLURM's own commands is told that its time is over, saves, asks to
be queued again, goes on, and ends with the bits of a training that was not stopped.

With `--only` the other parts stay as the result has them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from record import ROOT, record

from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Attribute, Schema
from recombine.methods import METHODS
from recombine.recipes import default_recipe
from recombine.training import checkpoint
from recombine.training.engine import TrainConfig, Training, fit, launch
from recombine.training.runs import build

COLUMNS = {"binary": "lamp", "categorical": "colour", "group": "maker", "continuous": "shade"}
NEAR = 1e-7                                 # largest difference of weights that counts as none, double precision
TURNS, STEPS, BATCH = 3, 10, 32             # of each side of the throughput; its steps and images of a step


def make_pack(folder: Path, size: int = 16, count: int = 320) -> Pack:
    """Images of noise with an attribute of every kind."""
    rng = np.random.default_rng(0)
    attributes = (
        Attribute("maker", "group", tuple(map(str, range(count // 4)))), Attribute("colour", "categorical", ("red", "green", "blue")),
        Attribute("lamp", "binary", ("0", "1")), Attribute("shade", "continuous", low=0.0, high=1.0),
    )  # fmt: skip
    labels = {
        "maker": np.arange(count) // 4, "colour": rng.integers(0, 3, count), "lamp": rng.integers(0, 2, count),
        "shade": rng.random(count).astype(np.float32),
    }  # fmt: skip
    images = rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    splits = ["train"] * (count * 3 // 4) + ["val"] * (count - count * 3 // 4)
    return write_pack(folder, images, Schema(attributes, size, size), [f"{i}.png" for i in range(count)], labels, splits)


def run(arguments: list[str], processes: int, threads: int = 1) -> str:
    """What this script, as a worker, prints: one process, or several that `torchrun` starts."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    command = [sys.executable, *torchrun, str(Path(__file__).resolve()), "--worker", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return done.stdout


# --- the same weights


def train_all(pack: Pack, folder: Path, accumulate: int) -> None:
    """Three steps of every method; prints, as the first of several processes, those whose weights are not the same on all."""
    torch.set_default_dtype(torch.float64)
    apart = []
    for name, (kind, config) in METHODS.items():
        settings = asdict(sys.modules[config.__module__].TINY)
        settings |= {"dropout": 0.0} if "dropout" in settings else {}
        own = pack.select(*(COLUMNS[kind] for kind in kind.kinds))
        torch.manual_seed(0)
        method = build(name, settings, own.schema)
        course = TrainConfig(images=24, batch_size=8, accumulate=accumulate, precision="64-true", mirror=True, ema_images=50, log_every=8)
        fit(method, own, course, folder / name, quiet=True)
        if dist.is_initialized() and not same_everywhere(method):
            apart.append(name)
    if not dist.is_initialized() or dist.get_rank() == 0:
        print(json.dumps(apart))


def same_everywhere(method: torch.nn.Module) -> bool:
    """Whether all processes have the first one's weights; class means are fitted by the first one alone."""
    tensors = {key: value for key, value in method.state_dict().items() if not key.startswith("codebook.")}
    first = {key: value.clone() for key, value in tensors.items()}
    for value in first.values():
        dist.broadcast(value, 0)
    same = torch.tensor([all(torch.equal(first[key], value) for key, value in tensors.items())], dtype=torch.uint8)
    dist.all_reduce(same, op=dist.ReduceOp.MIN)
    return bool(same)


def largest_difference(one: Path, other: Path) -> float:
    """Of two runs' weights and averages; counters of batches are left out."""
    found = [checkpoint.newest_resume(run).tensors for run in (one, other)]
    names = [(stem, name) for stem in ("weights", "average") for name in found[0][stem] if "num_batches" not in name]
    return max((found[0][stem][name].double() - found[1][stem][name].double()).abs().max().item() for stem, name in names)


def methods(folder: Path) -> dict:
    """Which of the methods end with the same weights, and as what."""
    pack = make_pack(folder / "pack")
    sides = {"whole": (1, 1), "halves": (1, 2), "two": (2, 1)}
    apart = json.loads(
        [run(["methods", str(pack.path), str(folder / side), str(parts)], count) for side, (count, parts) in sides.items()][-1]
    )
    found = {
        name: {side: largest_difference(folder / side / name, folder / "two" / name) for side in ("whole", "halves")} for name in METHODS
    }
    equal = {side: [name for name, own in found.items() if own[side] < NEAR] for side in ("whole", "halves")}
    of_halves = [name for name in equal["halves"] if name not in equal["whole"]]
    neither = [name for name in METHODS if name not in equal["whole"] + equal["halves"]]
    return {
        "methods": len(METHODS), "apart": apart, "as_one_whole_batch": equal["whole"], "as_one_batch_in_halves": of_halves,
        "as_neither": neither, "largest_differences": found,
    }  # fmt: skip


# --- throughput


def steps(pack: Pack, folder: Path, precision: str) -> None:
    """Some steps of `recombine train FOLDER --method ifcvaegan`; prints images a second, by the clock and by all processors' time."""
    recipe = default_recipe("ifcvaegan")[0]
    config = replace(recipe.train, images=1 << 40, batch_size=BATCH, precision=precision)
    pack = pack.select("lamp", "colour")
    torch.manual_seed(0)
    fabric = launch(config)
    training = Training(fabric, build(recipe.method, asdict(recipe.config), pack.schema), pack, config, folder, {}, quiet=True)
    for _ in range(3):
        training.step()
    fabric.barrier()
    began, of_processor = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        training.step()
    fabric.barrier()
    seconds, of_processors = time.perf_counter() - began, torch.tensor(time.process_time() - of_processor)
    of_processors = fabric.all_reduce(of_processors, reduce_op="sum").item()
    if fabric.is_global_zero:
        print(json.dumps({"clock": BATCH * STEPS / seconds, "processor": BATCH * STEPS / of_processors}))
    training.reader.close()
    training.journal.close()


def throughput(folder: Path) -> dict:
    """Images a second in float32 by the clock, and by the time of all processors, which what else runs does not change much."""
    pack, load = make_pack(folder / "pack", size=64), os.getloadavg()[0]
    turns: dict[str, list[dict]] = {"two_processes": [], "two_threads": []}
    for turn, place in itertools.product(range(TURNS), range(2)):
        side = list(turns)[(turn + place) % 2]
        count = 2 if side == "two_processes" else 1
        turns[side].append(json.loads(run(["steps", str(pack.path), str(folder / f"run-{count}"), "32-true"], count, 2 // count)))
    middle = {side: {by: float(np.median([turn[by] for turn in own])) for by in ("clock", "processor")} for side, own in turns.items()}
    ratios = {by: middle["two_processes"][by] / middle["two_threads"][by] for by in ("clock", "processor")}
    return {"processes_over_threads": ratios, "images_per_second": middle, "turns": turns, "load_before": load}


# --- SLURM


STAND_INS = {
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "scontrol": 'if [ "$1" = requeue ]; then echo "$2" >> "$REQUEUED"; else echo localhost; fi\n',
}


def slurm(folder: Path) -> dict:
    """Whether the script saves in time, asks to be queued again, and ends with the bits of a training that was not stopped."""
    make_pack(folder / "pack", size=32)
    (folder / "tools").mkdir()
    for name, body in STAND_INS.items():
        (folder / "tools" / name).write_text(f"#!/bin/bash\n{body}")
        (folder / "tools" / name).chmod(0o755)
    finish(submit(folder, "whole"))
    parts = submit(folder, "parts")
    while not (folder / "parts" / "log.jsonl").exists() and parts.poll() is None:
        time.sleep(0.1)
    began = time.monotonic()
    parts.send_signal(signal.SIGUSR1)
    said = finish(parts)
    seconds = time.monotonic() - began
    finish(submit(folder, "parts"))
    whole, again = (checkpoint.newest_resume(folder / name).tensors for name in ("whole", "parts"))
    return {
        "said": [line for line in said.splitlines() if "stopped after" in line], "seconds_to_stop": seconds,
        "requeued": (folder / "requeued").read_text().split(),
        "same_bits": all(torch.equal(value, again[stem][name]) for stem, own in whole.items() for name, value in own.items()),
    }  # fmt: skip


def submit(folder: Path, run: str) -> subprocess.Popen:
    """The script, as SLURM would start it on one machine."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    tools = os.pathsep.join([str(folder / "tools"), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "here", "SLURM_NNODES": "1", "PROCESSES": "2", "PORT": str(port)}
    environment = {**os.environ, **job, "PATH": tools, "REQUEUED": str(folder / "requeued"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    settings = ["--method", "ifcvaegan", "--judge", "none", "--images", "6400", "--precision", "32-true", "--set", "width=8", "--set", "aux_width=50"]
    command = ["bash", str(ROOT / "docs" / "slurm.sh"), "pack", "--out", run, *settings]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def finish(job: subprocess.Popen) -> str:
    """Wait for a job; returns what it said."""
    said = job.communicate(timeout=300)[1]
    if job.returncode:
        raise SystemExit(said[-4000:])
    return said


PARTS = {"methods": methods, "throughput": throughput, "slurm": slurm}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1:2] == ["--worker"]:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        kind, pack, folder, last = sys.argv[2:]
        if kind == "methods":
            train_all(Pack(pack), Path(folder), int(last))
        else:
            steps(Pack(pack), Path(folder), last)
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args().only
    path = ROOT / "results" / "processes.json"
    values = json.loads(path.read_text())["values"] if path.exists() and len(chosen) < len(PARTS) else {}
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            values[name] = PARTS[name](Path(folder))
        print(f"{name}: {json.dumps(values[name])[:2000]}", flush=True)
    record(
        "processes",
        "Two processes train as one does, stop together when SLURM's time is over, and go on to the same bits.",
        values,
        {"methods": len(METHODS), "steps_of_methods": 3, "steps_of_throughput": STEPS, "turns": TURNS},
        command="python proofs/processes.py",
        settings=f"throughput: ifcvaegan, defaults for photographs, 64 px, batches of {BATCH}; two processes with one thread, or one with two",
    )
