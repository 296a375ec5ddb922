"""What a borrowed GPU is asked: one script, without network, that can be called again to go on where it stopped.

    python proofs/gpu.py --prepare carried --data PACK --attributes Smiling,Eyeglasses,Gray_Hair,identity
    python proofs/gpu.py --minutes 9 --out gpu --wheels carried/wheels --data carried/images.zip [--peers FOLDER]

The first line is for a machine with network: it collects wheels of what a machine with PyTorch may lack, and images of a
128-px pack, together under 60 MiB. The second line is for the borrowed one: it installs what is missing, runs the tests that
need a GPU, measures how busy five methods keep it at 128 px and published widths, compares StarGAN with its authors' code in
the folder FOLDER, trains the five methods for what is left of the minutes, and judges them. `--out` then holds `gpu.json`, in
the form of a result; `parts/`, a file for each finished part; and for each method its run, judgement and image grid.

Each part has a share of the minutes; what it leaves goes to those after it. A part that is past its share is stopped, and the
others go on. A second call takes finished parts as they are and goes on with trainings from their checkpoints. Without a GPU
everything is tiny, on images drawn on the spot, and says only that the script works: `--minutes 0.25`.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOST_MIB = 60                               # that the carried folder may take
# What is carried for a machine that has PyTorch, NumPy, SciPy, scikit-learn, pyarrow and Pillow already.
CARRIED = (
    "lightning-fabric", "lightning-utilities", "torchmetrics", "jaxtyping", "wadler_lindig", "safetensors", "fsspec", "cyclopts",
    "attrs", "docstring_parser", "rich-rst", "docutils", "rich", "Pygments", "markdown-it-py", "mdurl", "cattrs", "Jinja2", "MarkupSafe",
    "joblib", "threadpoolctl", "python_avatars", "resvg_py", "tensorboard", "tensorboard-data-server", "grpcio", "protobuf", "absl-py",
    "Markdown", "Werkzeug", "typing_extensions", "packaging", "beartype", "pytest", "pluggy", "iniconfig",
)  # fmt: skip
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")

METHODS = {                                 # preset, attributes it learns, batch size of the paper; of ours, what suits a GPU
    "splice": ("photos", "labels", 32),
    "ifcvaegan": ("table3", "one binary", 64),
    "matdr": ("paper", "labels", 16),
    "advattr": ("paper", "labels", 16),
    "rodi": ("sprites", "group", 16),
}  # fmt: skip
BATCHES = (256, 128, 64, 32, 16, 8)         # the largest that fits is measured beside the paper's
SECTIONS = ("reconstruction", "edits", "swaps", "leakage")
SHARES = {                                  # of the minutes, in order
    "images": 0.03, "tests": 0.08, "peak": 0.01, **{f"speed-{name}": 0.02 for name in METHODS}, "stargan": 0.08, "classifier": 0.04,
    **{f"train-{name}": 0.60 if name == "splice" else 0.015 for name in METHODS},   # 8 of 13 minutes for our own
}  # fmt: skip
NO_KERNELS = ("Mem", "Optimizer.", "ProfilerStep", "Context Sync", "Stream ", "Event ", "cuda")  # what else a profile has of a GPU
GRACE = 25.0                                # seconds in which a part that is past its share may save and end


# --- before anything but the standard library is there


def main(options: argparse.Namespace) -> int:
    """Install, then run a worker for the parts, and watch it; returns the exit code."""
    began, out = time.monotonic(), options.out.resolve()
    (out / "parts").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(install(options.wheels, out)), os.environ.get("PYTHONPATH", "")])}
    environment.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    given = {name: str(getattr(options, name) or "") for name in ("data", "peers")}
    write(out / "given.json", {**given, "call": time.time(), "command": shlex.join(["python", *sys.argv])})
    while True:
        left = max(0.0, 60 * options.minutes - (time.monotonic() - began))
        command = [sys.executable, str(ROOT / "proofs" / "gpu.py"), "--out", str(out), "--work", str(left)]
        worker = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True)
        if watch(worker, out) or not left:
            return worker.returncode


def install(wheels: Path | None, out: Path) -> Path:
    """Install the wheels of distributions that are not there yet into a folder, which is returned."""
    site = out / "site"
    site.mkdir(exist_ok=True)
    sys.path.insert(0, str(site))
    found = {wheel.name.split("-")[0]: str(wheel) for wheel in sorted(wheels.glob("*.whl"))} if wheels else {}
    absent = [wheel for name, wheel in found.items() if not there(name)]
    if absent:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(site), *absent]
        subprocess.run(pip, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [project["name"], *(text.split(">")[0] for text in project["dependencies"])]
    missing = [name for name in names if not there(name)]
    if missing:
        raise SystemExit(f"not there, and not among the wheels{f' in {wheels}' if wheels else ''}: {', '.join(missing)}")
    return site


def there(distribution: str) -> bool:
    """Whether a distribution is installed."""
    with suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(distribution))
    return False


def watch(worker: subprocess.Popen, out: Path) -> bool:
    """Wait for the worker, and end it in a part that takes too long; returns whether it came to the end of its parts."""
    now, ending = out / "now.json", "the process died"
    while worker.poll() is None:
        time.sleep(0.2)
        part = read(now)
        if part and time.time() > part["until"] + GRACE:
            ending = "stopped, since it took longer than its share"
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(worker.pid, number)
                    worker.wait(GRACE)
    if part := read(now):                   # in which it ended
        failed = {"finished": False, "error": ending, "call": read(out / "given.json")["call"]}
        write(out / "parts" / f"{part['name']}.json", failed)
        now.unlink()
    return worker.returncode == 0


def read(path: Path) -> dict:
    """A JSON file's content; empty where there is none."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text())
    return {}


def write(path: Path, content: dict) -> None:
    """Write a JSON file as a whole."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content, indent=1))
    os.replace(beside, path)


# --- on the machine with network


def prepare(folder: Path, data: Path, attributes: str, python: str) -> None:
    """Collect wheels and as many images as fit below `MOST_MIB`."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    lowered = {name.lower(): version for name, version in pins.items()}
    wanted = [f"{name}=={lowered[name.lower()]}" if name.lower() in lowered else name for name in CARRIED]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    of_machine = ["--python-version", python, "--implementation", "cp", *(word for name in PLATFORMS for word in ("--platform", name))]
    subprocess.run([*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", *of_machine, "--dest", str(wheels), *wanted], check=True)
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True)
    used = sum(wheel.stat().st_size for wheel in wheels.iterdir())
    count = carry_images(data, folder / "images.zip", (MOST_MIB << 20) - used - (1 << 20), [name for name in attributes.split(",") if name])
    size = used + (folder / "images.zip").stat().st_size
    print(f"{folder}: {len(list(wheels.iterdir()))} wheels, {used / 2**20:.1f} MiB; {count} images; {size / 2**20:.1f} MiB in all")


def carry_images(data: Path, target: Path, room: int, attributes: list[str]) -> int:
    """Write images of a pack as JPEGs with their labels into a zip file of at most so many bytes; returns how many."""
    import io
    import zipfile

    import numpy as np
    from PIL import Image

    from recombine.data.packed import Pack

    pack = Pack(data)
    pack = pack.select(*attributes) if attributes else pack
    order, taken, size = np.random.default_rng(0).permutation(len(pack)), [], 0
    with zipfile.ZipFile(target, "w") as archive:
        for row in order.tolist():
            written = io.BytesIO()
            Image.fromarray(pack.images[row].transpose(1, 2, 0).squeeze()).save(written, "JPEG", quality=92, subsampling=0)
            size += len(written.getvalue()) + 400           # with the entry in the archive, name and labels
            if size > room:
                break
            archive.writestr(f"{len(taken)}.jpg", written.getvalue())
            taken.append(row)
        labels = {name: [None if value != value else value for value in column[taken].tolist()] for name, column in pack.labels.items()}
        about = {"schema": pack.schema.to_json(), "splits": [str(split) for split in pack.splits[taken]], "labels": labels}
        archive.writestr("about.json", json.dumps(about), zipfile.ZIP_DEFLATED)
    return len(taken)


# --- the worker


@dataclass
class Setup:
    """What the parts need."""

    out: Path
    data: Path | None                       # a pack, or what `--prepare` made of one
    peers: Path | None
    tiny: bool
    until: float = 0.0                      # moment, of `time.time`, at which the part's share is used up

    @property
    def left(self) -> float:
        """Seconds of the part's share."""
        return self.until - time.time()


def work(out: Path, seconds: float) -> None:
    """Run the parts that are not finished within so many seconds, and write down what is known by then."""
    import torch

    given, end = read(out / "given.json"), time.time() + seconds
    setup = Setup(out, *(Path(given[name]) if given[name] else None for name in ("data", "peers")), tiny=not torch.cuda.is_available())
    before = {name: read(out / "parts" / f"{name}.json") for name in SHARES}
    todo = [name for name, found in before.items() if not found.get("finished") and found.get("call") != given["call"]]
    for place, name in enumerate(todo):
        if time.time() >= end:
            break
        share = SHARES[name] / sum(SHARES[other] for other in todo[place:])
        setup.until = time.time() + share * (end - time.time())
        write(out / "now.json", {"name": name, "until": setup.until})
        run_part(setup, name, given["call"])
        (out / "now.json").unlink()
    summarise(setup, given["command"])


def run_part(setup: Setup, name: str, call: float) -> None:
    """Run a part; what it finds, or the error that ended it, goes into its file. A broken GPU ends the process."""
    kind, _, method = name.partition("-")
    began = time.monotonic()
    try:
        found = {"finished": True, **(PARTS[kind](setup, method) if method else PARTS[kind](setup))}
    except Exception as error:              # the other parts go on
        found = {"finished": False, "error": f"{type(error).__name__}: {error}"[:1000], "where": traceback.format_exc()[-2000:]}
    found |= {"seconds": time.monotonic() - began, "call": call}
    write(setup.out / "parts" / f"{name}.json", found)
    print(f"{name}: {found['seconds']:.0f} s{'' if found['finished'] else ', not finished: ' + str(found.get('error', 'its share was over'))}", flush=True)
    if "CUDA error" in found.get("error", ""):
        (setup.out / "now.json").unlink()
        os._exit(3)                         # after which another process goes on with the next part


def tests(setup: Setup) -> dict:
    """The tests that need a GPU."""
    if setup.tiny:
        return {"left_out": "there is no GPU"}
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-p", "no:cacheprovider", f"--basetemp={setup.out / 'tests'}"]
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=max(30.0, setup.left))
        (setup.out / "tests.txt").write_text(done.stdout + done.stderr)
        return {"passed": done.returncode == 0, "summary": done.stdout.strip().splitlines()[-30:]}
    raise TimeoutError("the tests took longer than their share")


def peak(setup: Setup) -> dict:
    """Operations a second of a large matrix product in bfloat16, the fastest of several."""
    import torch

    device, side, rounds = ("cpu", 256, 3) if setup.tiny else ("cuda", 8192, 10)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    least = min(seconds_of(lambda: a @ b, device) for _ in range(3 + rounds))
    return {"tflops": 2 * side**3 / least / 1e12, "side": side}


def seconds_of(call: Callable[[], object], device: str) -> float:
    """Seconds until the device has done what is called."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    began = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - began


def images(setup: Setup) -> dict:
    """The images that the other parts use."""
    pack = pack_of(setup)
    return {"pack": repr(pack), "fingerprint": pack.fingerprint}


def pack_of(setup: Setup) -> Any:
    """The images: a pack as it is, one made of what was carried, or a drawn one."""
    from recombine.data.packed import Pack, is_pack

    if setup.data and setup.data.is_dir():
        return Pack(setup.data)
    folder = setup.out / "pack"
    if is_pack(folder):
        return Pack(folder)
    return unpack(setup.data, folder) if setup.data else draw(folder, 32 if setup.tiny else 128, 160 if setup.tiny else 4096)


def unpack(archive: Path, folder: Path) -> Any:
    """The pack of a carried archive."""
    import io
    import zipfile

    import numpy as np
    from PIL import Image

    from recombine.data.packed import write_pack
    from recombine.data.schema import Schema

    with zipfile.ZipFile(archive) as file:
        about = json.loads(file.read("about.json"))
        schema, files = Schema.from_json(about["schema"]), [f"{i}.jpg" for i in range(len(about["splits"]))]
        decoded = [np.asarray(Image.open(io.BytesIO(file.read(name)))).reshape(*schema.image_size, schema.channels) for name in files]
    labels = {name: np.array([np.nan if v is None else v for v in column]) for name, column in about["labels"].items()}
    return write_pack(folder, np.stack(decoded).transpose(0, 3, 1, 2), schema, files, labels, about["splits"])


def draw(folder: Path, size: int, count: int) -> Any:
    """A pack of noise with a lamp that is on or off, and a bar whose place belongs to a thing."""
    import numpy as np

    from recombine.data.packed import write_pack
    from recombine.data.schema import Attribute, Schema

    rng, things = np.random.default_rng(0), count // 8
    attributes = Attribute("lamp", "binary", ("0", "1")), Attribute("thing", "group", tuple(map(str, range(things))))
    labels = {"lamp": rng.integers(0, 2, count), "thing": np.arange(count) % things}
    images = rng.integers(64, 192, (count, 3, size, size), dtype=np.uint8)
    for image, lamp, thing in zip(images, *labels.values(), strict=True):
        image[:, : size // 2, : size // 2] = 255 * lamp
        image[:, size // 2 :, thing % (size // 2) :][:, :, :4] = 0
    splits = np.where(np.arange(count) % things < things // 5, "val", "train")
    return write_pack(folder, images, Schema((*attributes,), size, size), [f"{i}.png" for i in range(count)], labels, splits)


def recipe_of(setup: Setup, name: str, pack: Any, **train: Any) -> Any:
    """A method at its published widths, for the attributes that it learns, and its training."""
    import recombine.methods as methods
    from recombine.training.recipe import Recipe, TrainConfig

    preset, learns, batch = METHODS[name]
    kinds = {a.name: a.kind for a in pack.schema.attributes}
    labels = [a for a, kind in kinds.items() if kind in ("binary", "categorical")]
    groups = [a for a, kind in kinds.items() if kind == "group"]
    attributes = {"one binary": labels[:1], "labels": labels, "group": groups[:1]}[learns]
    config = sys.modules[methods.METHODS[name][1].__module__].TINY if setup.tiny else methods.presets(name)[preset]
    if learns == "group":
        config = replace(config, pair_by=tuple(attributes))
    quiet = {"log_every": 1 << 60, "evaluate_every": 1 << 60, "save_seconds": 1e9}
    train = {"images": 1 << 50, "batch_size": 8 if setup.tiny else batch, "ema_images": 5_000, "mirror": True, **quiet, **train}
    return Recipe(name, config, TrainConfig(**train), size=pack.schema.height, attributes=tuple(attributes))


def speed(setup: Setup, name: str) -> dict:
    """How fast a method trains and how busy it keeps the GPU, in the paper's batches and in the largest that fit."""
    import torch

    pack, found = pack_of(setup), {}
    own = 8 if setup.tiny else METHODS[name][2]
    for batch in [own, *(size for size in BATCHES if size > own and size <= len(pack.rows("train")) and not setup.tiny)]:
        try:
            found[batch] = measured(setup, name, pack, batch)
        except torch.cuda.OutOfMemoryError:
            continue
        finally:
            if not setup.tiny:
                torch.cuda.empty_cache()
        if batch != own:
            break
    return {"preset": METHODS[name][0], "size": pack.schema.height, "of_paper": own, "largest": max(found), "by_batch": found}


def measured(setup: Setup, name: str, pack: Any, batch: int) -> dict:
    """Seconds and operations of a step of the engine, and the share in which the GPU did something."""
    import torch

    if not setup.tiny:
        torch.cuda.reset_peak_memory_stats()
    with engine_of(recipe_of(setup, name, pack, batch_size=batch), pack) as training:
        device = training.fabric.device.type
        for _ in range(1 if setup.tiny else 5):
            training.step()
        once = seconds_of(training.step, device)
        steps = 2 if setup.tiny else max(3, min(20, int(0.1 * setup.left / once)))
        seconds = min(seconds_of(lambda: [training.step() for _ in range(steps)], device) / steps for _ in range(1 if setup.tiny else 3))
        busy = None if setup.tiny else busy_seconds(training, steps) / steps
        found = {
            "images_per_second": batch / seconds,
            "seconds": seconds,
            "operations": operations(training, 1 if setup.tiny else 2),
            "idle_percent": None if busy is None else max(0.0, 100 * (1 - busy / seconds)),
            "precision": training.state.precision,
            "weights": sum(weight.numel() for weight in training.method.parameters()),
            "peak_gib": None if setup.tiny else torch.cuda.max_memory_allocated() / 2**30,
        }
    peak_tflops = read(setup.out / "parts" / "peak.json").get("tflops")
    return {**found, "share_of_peak": found["operations"] / seconds / (peak_tflops * 1e12) if peak_tflops else None}


@contextmanager
def engine_of(recipe: Any, pack: Any) -> Iterator[Any]:
    """The engine, ready to take steps in the precision that it finds to be the quickest; nothing is kept."""
    import tempfile

    import torch

    from recombine.training.engine import Training, launch, tensor_float_32
    from recombine.training.runs import build

    torch.manual_seed(0)
    pack = pack.select(*recipe.attributes)
    method = build(recipe.method, asdict(recipe.config), pack.schema)
    with tempfile.TemporaryDirectory() as run:
        fabric = launch(recipe.train)
        training = Training(fabric, method, pack, recipe.train, Path(run), {}, quiet=True)
        try:
            with tensor_float_32(fabric.device):
                training.settle_precision()
                yield training
        finally:
            training.reader.close()
            training.journal.close()


def busy_seconds(training: Any, steps: int) -> float:
    """Seconds of some steps in which at least one kernel ran on the GPU, copies left out."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            training.step()
        torch.cuda.synchronize()
    on_device = (event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA)
    spans = sorted((event.time_range.start, event.time_range.end) for event in on_device if not event.name.startswith(NO_KERNELS))
    busy, reached = 0.0, float("-inf")
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return busy / 1e6


def operations(training: Any, steps: int) -> float:
    """Multiplications and additions of a step's matrix products and convolutions, forward and backward.

    By PyTorch's own formulas; its `FlopCounterMode` fails where something is differentiated twice.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counting(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            if (count := flop_registry.get(function._overloadpacket)) is not None:
                self.total += count(*args, **(kwargs or {}), out_val=found)
            return found

    with Counting() as counter:
        for _ in range(steps):
            training.step()
    return counter.total / steps


def stargan(setup: Setup) -> dict:
    """Our training of StarGAN beside its authors' code, in turns, each with one thread of the host."""
    if setup.peers is None or setup.tiny:
        return {"left_out": "no folder of the authors' code was given" if setup.peers is None else "there is no GPU"}
    import tempfile

    import speed as comparison

    comparison.CORES = 1
    with tempfile.TemporaryDirectory() as folder:
        made = comparison.Setup(Path(folder), {"stargan": setup.peers.resolve()}, "", 4, 2.0, small=False)
        return comparison.rounded(comparison.stargan(made))


def classifier(setup: Setup) -> dict:
    """The classifier that judges edits."""
    return {"accuracy": found_classifier(setup, pack_of(setup)).info["accuracy"]}


def found_classifier(setup: Setup, pack: Any) -> Any:
    """The same, trained if there is none."""
    from recombine.evaluation.classifier import QUICK, judge_classifier

    settings = replace(QUICK, images=640) if setup.tiny else QUICK
    return judge_classifier(pack, setup.out / "judge", settings, device="cpu" if setup.tiny else "cuda")


def train(setup: Setup, name: str) -> dict:
    """Train a method for what is left of the share, and judge it, finished or not."""
    from recombine.training.engine import Interrupted
    from recombine.training.runs import start

    pack, folder = pack_of(setup), setup.out / name
    plan = folder / "plan.json"
    if not plan.exists():
        folder.mkdir(exist_ok=True)
        write(plan, {"images": planned_images(setup, name)})
    images = read(plan)["images"]
    course = {"decay": 0.3, "log_every": max(1, images // 50), "evaluate_every": max(1, images // 5), "save_seconds": 30.0}
    recipe, reserve = recipe_of(setup, name, pack, images=images, **course), judging_seconds(setup)
    timer = threading.Timer(max(1.0, setup.left - reserve), os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    try:
        start(recipe, pack, folder / "run", quiet=True)
        seen = images
    except Interrupted as stop:
        seen = stop.images_seen
    finally:
        timer.cancel()
    return {"finished": seen >= images, "images_seen": seen, "images": images, **judged(setup, folder, pack)}


def planned_images(setup: Setup, name: str) -> int:
    """Images that the method sees within the part's share, by the speed that was measured, whole batches."""
    found = read(setup.out / "parts" / f"speed-{name}.json")
    batch = 8 if setup.tiny else METHODS[name][2]
    rate = found["by_batch"][str(batch)]["images_per_second"] if "by_batch" in found else 100.0
    seconds = max(1.0, 0.85 * (setup.left - judging_seconds(setup)))
    return max(2, int(rate * seconds / batch)) * batch if not setup.tiny else 4 * batch


def judging_seconds(setup: Setup) -> float:
    """What is kept of a part's share for the judge."""
    return min(20.0, 0.3 * setup.left)


def judged(setup: Setup, folder: Path, pack: Any) -> dict:
    """Judge a run's model and show it; the whole judgement and a grid of images go beside the run."""
    from recombine.evaluation.judge import judge
    from recombine.training.monitor import EditMonitor
    from recombine.training.runs import load

    model = load(folder / "run", "cpu" if setup.tiny else "cuda")
    pack = pack.select(*model.schema.names)
    EditMonitor(pack, None)(model, folder / "grid.png")
    few = {"images": 16, "learnt": 64} if setup.tiny else {"images": 500}
    found = judge(model, pack, sections=SECTIONS, classifier=found_classifier(setup, pack), workers=1, **few).to_json()
    write(folder / "judgement.json", found)
    return {"judgement": {name: found[name] for name in ("reconstruction", "edits", "swaps") if name in found}, "left_out": found.get("left_out", {})}


def summarise(setup: Setup, command: str) -> None:
    """Write `gpu.json`: the headline, and beneath it what every part found."""
    from record import result

    parts = {name: read(setup.out / "parts" / f"{name}.json") for name in SHARES}
    speeds = {name: parts[f"speed-{name}"] for name in METHODS if "by_batch" in parts[f"speed-{name}"]}
    largest = {name: found["by_batch"][str(found["largest"])] for name, found in speeds.items()}
    widest = max(largest, key=lambda name: largest[name]["weights"], default="")
    values = {
        "stargan_over_theirs": parts["stargan"].get("stargan_over_theirs"),
        "share_of_peak": largest[widest]["share_of_peak"] if widest else None,
        "idle_percent": max((found["idle_percent"] for found in largest.values() if found["idle_percent"] is not None), default=None),
        "peak_tflops": parts["peak"].get("tflops"),
        "tests_passed": parts["tests"].get("passed"),
        "not_finished": [name for name, found in parts.items() if not found.get("finished")],
        "parts": parts,
    }
    claim = "On a GPU training is bound by it, several times as fast as StarGAN's own code, and methods at published widths learn."
    pack = pack_of(setup)
    n = {"train_images": len(pack.rows("train")), "val_images": len(pack.rows("val"))}
    means = "nothing: tiny networks on a CPU" if setup.tiny else f"{pack.schema.height} px, published widths; share_of_peak of {widest}"
    write(setup.out / "gpu.json", result(claim, values, n, settings=means, command=command))
    print(json.dumps({name: value for name, value in values.items() if name != "parts"}, indent=1), flush=True)


PARTS: dict[str, Callable[..., dict]] = {
    "images": images, "tests": tests, "peak": peak, "speed": speed, "stargan": stargan, "classifier": classifier, "train": train,
}  # fmt: skip

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.0, help="that everything may take together, about")
    parser.add_argument("--out", type=Path, help="folder for what is found; kept between calls")
    parser.add_argument("--data", type=Path, help="a pack, or the images.zip that --prepare made of one; drawn when not given")
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install what is not there from")
    parser.add_argument("--peers", type=Path, help="folder of yunjey/stargan")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="collect wheels and images of --data there, and end")
    parser.add_argument("--attributes", default="", help="with --prepare: those that are carried, separated by commas; all when not given")
    parser.add_argument("--python", default="3.12", help="with --prepare: version on the borrowed machine")
    parser.add_argument("--work", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        if options.data is None:
            parser.error("--prepare needs --data, a pack")
        sys.exit(prepare(options.prepare, options.data, options.attributes, options.python))
    if options.out is None:
        parser.error("--out is needed: the folder for what is found")
    for name in ("data", "wheels", "peers"):
        given = getattr(options, name)
        if given is not None and not given.exists():
            parser.error(f"--{name}: there is no {given}")
        setattr(options, name, given.resolve() if given else None)
    sys.exit(main(options) if options.work is None else work(options.out.resolve(), options.work))
