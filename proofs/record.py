"""Writes `results/NAME.json`: the number, the command that makes it, and where and when it was made."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

from recombine.evaluation.judgement import plain

ROOT = Path(__file__).parent.parent
FEATURES = (                                # of processors, on which the speed of matrix products depends
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "sve", "bf16",
)  # fmt: skip


def record(name: str, claim: str, values: dict, n: dict, **more: object) -> None:
    """Write one result; `more` holds settings that a reader needs to understand the numbers."""
    found = result(claim, values, n, **more)
    path = ROOT / "results" / f"{name}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


def result(claim: str, values: dict, n: dict, **more: object) -> dict:
    """What a result's file holds."""
    return {
        "claim": claim,
        "command": shlex.join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *map(without_place, sys.argv[1:])]),
        "commit": git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", "recombine") else ""),
        "date": date.today().isoformat(),
        "machine": machine(),
        "values": plain(values),
        "n": n,
        **more,
    }


def without_place(argument: str) -> str:
    """An argument, or the value in NAME=VALUE, without the folders that only this machine has."""
    name, separator, value = argument.rpartition("=")
    return f"{name}{separator}{Path(value).name}" if Path(value).is_absolute() else argument


def git(*arguments: str) -> str:
    """What git prints; nothing where it is not there."""
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def machine() -> str:
    """Processor with its features, cores, memory, accelerator and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    cores = f"{os.cpu_count()} cores of {processor()}"
    return f"{cores}, {memory:.0f} GiB, {device}, Python {platform.python_version()}, torch {torch.__version__}"


def processor() -> str:
    """The processor's name and which of FEATURES it has."""
    path = Path("/proc/cpuinfo")
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line) if path.exists() else {}
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({', '.join(feature for feature in FEATURES if feature in flags) or 'features unknown'})"
