"""The loops that `speed.py` measures, each in a process of its own that works when it is its turn.

    python proofs/sides.py NAME '{"setting": value, ...}'

A line on stdin holds how many units of work to do, a unit being some steps, batches or edits; a line on stdout answers with
the seconds that they took, by the clock and of all processors. The first answer means that the loop is ready, and with the
end of stdin come the seconds of a checkpoint, where the loop makes some, and the most memory that the process had. What an earlier commit runs as well uses only what both have.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import recombine as rc
from recombine.data.packed import Pack
from recombine.data.samplers import Iid, Pairs
from recombine.data.sources.labels import scarce
from recombine.inference import decode_chunks, encode_rows
from recombine.method import Method, Progress
from recombine.recipes import default_recipe
from recombine.training.engine import Training
from recombine.training.recipe import Recipe, TrainConfig
from recombine.training.runs import build, start
from recombine.training.settings import config_class, preset

NAMES = ("black", "blond", "brown", "male", "young")  # attributes of the peers' data
ENDLESS = 10**9                             # images of a training that is stopped from outside


class Over(BaseException):
    """No more turns: what stops a training that would go on; no `except Exception` of a peer catches it."""


class Turns(Iterator):
    """The units of work that this process is asked for; between two turns it waits."""

    def __init__(self, answers: Any):
        self.answers, self.left, self.began = answers, 0, (0.0, 0.0)
        self.checkpoint_seconds = 0.0

    def __next__(self) -> None:
        if self.left:
            self.left -= 1
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.answer([now - then for now, then in zip(clocks(), self.began, strict=True)])
        line = sys.stdin.readline()
        if not line:
            raise StopIteration
        self.left, self.began = int(line) - 1, clocks()

    def answer(self, value: object) -> None:
        print(json.dumps(value), file=self.answers, flush=True)



def clocks() -> tuple[float, float]:
    """Seconds by the clock, and of all processors in this process."""
    return time.perf_counter(), time.process_time()


def recipe_of(method: str, preset_name: str, config: dict, train: dict) -> Recipe:
    """A method's preset and the default training, or, without a preset, what `recombine train FOLDER` takes; both changed."""
    if preset_name:
        found = Recipe(method, preset(method, preset_name), TrainConfig(images=ENDLESS))
    else:
        found, _ = default_recipe(method)
    return replace(found, config=replace(found.config, **config), train=replace(found.train, **{"mirror": True, **train}))


def ours(
    turns: Turns, pack: str, method: str, steps: int, preset: str = "", attributes: tuple = (), config: dict | None = None, **train: Any
) -> None:
    """Our training as the command line runs it, with its log and checks; the seconds of a checkpoint, due once a minute, come last."""
    recipe = replace(recipe_of(method, preset, config or {}, train), attributes=tuple(attributes))
    round_, rounds = Training.round, itertools.count()

    def in_turn(training: Training, *arguments: Any) -> None:
        if next(rounds) % steps == 0 and next(turns, Over) is Over:
            began = time.perf_counter()
            training.save()
            turns.checkpoint_seconds = time.perf_counter() - began
            raise Over
        training.saved_at = time.monotonic()
        round_(training, *arguments)

    with tempfile.TemporaryDirectory() as run, mock.patch.object(Training, "round", in_turn):
        start(recipe, Pack(pack), run, quiet=True)


def bare(turns: Turns, pack: str, method: str, steps: int, batch_size: int, precision: str, config: dict, preset: str, attributes: tuple) -> None:
    """The shortest loop that trains the same networks on the same losses and reads the same pack."""
    recipe = recipe_of(method, preset, config, {})
    data = Pack(pack).select(*attributes)
    torch.manual_seed(0)
    networks = build(method, vars(recipe.config), data.schema).to(memory_format=torch.channels_last)
    if precision == "bf16-mixed":
        for network in networks.children():
            network.forward = in_bf16(network.forward)
    sampler, seen = Iid(data, "train", mirror=True), 0
    weights = {player: [w for name in names for w in getattr(networks, name).parameters()] for player, names in networks.players().items()}
    optimizers = {player: networks.optimizer(player, own) for player, own in weights.items()}
    for _ in turns:
        for _ in range(steps):
            draw = sampler.draw(seen, batch_size)
            for turn in networks.turns(data.batch(draw.rows, mirror=draw.mirror), Progress(seen, ENDLESS)):
                optimizers[turn.player].zero_grad()
                turn.total().backward(inputs=weights[turn.player], retain_graph=turn.keep_graph)
                optimizers[turn.player].step()
            seen += batch_size


def in_bf16(forward: Callable) -> Callable:
    """A network's forward pass in bfloat16 where that is safe, its results in float32."""

    def cast(*inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            found = forward(*inputs)
        return tuple(map(Tensor.float, found)) if isinstance(found, tuple) else found.float()

    return cast


def batches(pack: str, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of the training split, which stand in memory as floats, again and again."""
    data = Pack(pack).select(*NAMES)
    rows = data.rows("train")
    found = [data.batch(rows[i : i + batch_size]) for i in range(0, len(rows) - batch_size + 1, batch_size)]
    return itertools.cycle([(batch.images, torch.stack([batch.labels[name].float() for name in NAMES], 1)) for batch in found])


class Memory:
    """What their solver takes for a data loader."""

    def __init__(self, pack: str, batch_size: int):
        self.batches = batches(pack, batch_size)

    def __iter__(self) -> Iterator:
        return self.batches


def their_stargan(pack: str, folder: str, steps: int, batch_size: int, config: dict) -> tuple[Any, Memory]:
    """Their solver with our method's published settings, and its data."""
    import parity_stargan as parity

    warnings.simplefilter("ignore")
    loader, settings = Memory(pack, batch_size), replace(config_class("stargan")(), **config)
    solver = parity.import_theirs(Path(folder))
    return parity.their_solver(solver, "CelebA", settings, loader, batch_size=batch_size, num_iters=steps), loader


def stargan(turns: Turns, **settings: Any) -> None:
    """Their own training, a unit at a time."""
    solver, _ = their_stargan(**settings)
    for _ in turns:
        solver.train()


def rodi(turns: Turns, pack: str, folder: str, steps: int, batch_size: int) -> None:
    """Their trainer's own steps after its warm-up, on pairs that stand in memory."""
    import parity_rodi as parity

    torch.manual_seed(0)
    trainer = parity.their_trainer(parity.their_modules(Path(folder)), {"warmup_it": 0})
    data = Pack(pack)
    sampler = Pairs(data, "train", by=("thing",))
    draws = [sampler.draw(i * batch_size, batch_size) for i in range(8)]
    pairs = itertools.cycle([[{"image": data.batch(rows).images.to(trainer.device)} for rows in (draw.rows, draw.partner)] for draw in draws])
    for _ in turns:
        for _ in range(steps):
            trainer.step_op(trainer.model, examples=next(pairs))["train_op"]()
            trainer.step += 1


def their_edits(turns: Turns, batch_size: int, repeats: int, **settings: Any) -> None:
    """Their generator translates images to every target that their `create_labels` makes, as their `test` does."""
    solver, loader = their_stargan(steps=1, batch_size=batch_size, **settings)
    images, labels = next(iter(loader))
    images = images.to(solver.device)
    with torch.no_grad():
        for _ in turns:
            for _ in range(repeats):
                for target in solver.create_labels(labels, solver.c_dim, "CelebA", NAMES):
                    solver.G(images, target)


def our_edits(turns: Turns, model: str, pack: str, batch_size: int, repeats: int, precision: str) -> None:
    """Images are encoded once and shown with each of five labels, by the functions of the README."""
    found = rc.load(model, "cuda" if torch.cuda.is_available() else "cpu", precision)
    images = Pack(pack).batch(range(batch_size)).images.to(next(found.parameters()).device)
    for _ in turns:
        for _ in range(repeats):
            codes = found.encode(images)
            for name in NAMES:
                found.decode(rc.set_label(found, codes, **{name: 1}))


class Folder(torch.utils.data.Dataset):
    """An image folder for PyTorch's DataLoader: decoded, mirrored, cropped and resized by Pillow, as floats in [-1, 1]."""

    def __init__(self, folder: str, size: int):
        self.files, self.size = sorted(Path(folder).glob("*.jpg")), size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.files[place]) as file:
            image = file.convert("RGB")
        if torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(127.5).sub_(1), torch.tensor([float(place % 2)])


def their_loader(turns: Turns, folder: str, size: int, batch_size: int, repeats: int) -> None:
    """PyTorch's DataLoader with as many workers as there are cores."""
    cores = os.cpu_count() or 1
    loader = torch.utils.data.DataLoader(Folder(folder, size), batch_size, shuffle=True, num_workers=cores, drop_last=True, persistent_workers=True)
    endless = itertools.chain.from_iterable(itertools.repeat(loader))
    next(endless)
    for _ in turns:
        for _ in range(repeats):
            next(endless)


def our_loader(turns: Turns, pack: str, batch_size: int, repeats: int) -> None:
    """The batches that a training draws, mirrored, as floats, with all labels."""
    data, seen = Pack(pack), 0
    sampler = Iid(data, "train", mirror=True)
    for _ in turns:
        for _ in range(repeats):
            draw = sampler.draw(seen, batch_size)
            data.batch(draw.rows, mirror=draw.mirror)
            seen += batch_size


def first_step(turns: Turns, pack: str) -> None:
    """Seconds from opening a pack to the end of the first step of small networks, and the most memory that this added."""
    tiny = recipe_of("ifcvaegan", "", {"width": 4, "num_latents": 4, "aux_width": 8}, {"images": 32, "batch_size": 32})
    before, began = reset_peak_mib(), time.perf_counter()
    with tempfile.TemporaryDirectory() as run:
        data = Pack(pack)
        scarce(data)
        start(tiny, data, run, quiet=True)
        turns.answer({"seconds": time.perf_counter() - began, "added_mib": reset_peak_mib() - before})


def reset_peak_mib() -> float:
    """`peak_mib` since the last call, where Linux counts anew; elsewhere since the start."""
    peak, reset = peak_mib(), Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
    return peak


def many_edits(turns: Turns, model: str, pack: str, counts: tuple) -> None:
    """Seconds of so many edits, images read from the pack: the least of three."""
    found, data, seconds = rc.load(model), Pack(pack), {}
    with torch.no_grad():
        for count in (1, *counts):
            seconds[count] = min(seconds_of_edits(found, data, count) for _ in range(3))
    turns.answer(seconds)


def seconds_of_edits(model: Method, data: Pack, count: int) -> float:
    """Seconds to edit so many images, a chunk at a time."""
    began, rows = time.perf_counter(), np.arange(count) % len(data)
    for _ in decode_chunks(model, rc.set_label(model, encode_rows(model, data, rows), **{NAMES[0]: 1})):
        pass
    return time.perf_counter() - began


def peak_mib() -> float:
    """The most memory that this process has had, MiB; on Linux `getrusage` begins with that of the process that started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


SIDES = {side.__name__: side for side in (ours, bare, stargan, rodi, their_edits, our_edits, their_loader, our_loader, first_step, many_edits)}

if __name__ == "__main__":
    turns, sys.stdout = Turns(sys.stdout), sys.stderr
    try:
        SIDES[sys.argv[1]](turns, **json.loads(sys.argv[2]))
    except Over:
        pass
    turns.answer([turns.checkpoint_seconds, peak_mib()])
