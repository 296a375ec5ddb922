"""How much the engine costs over a bare loop, and how much faster packed images are read than files: about 6 minutes.

Both are measured in one run, in turns, so that what else the machine does falls on both alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from record import record

from recombine.data.batch import Batch
from recombine.data.packed import Pack
from recombine.data.packing import pack
from recombine.data.samplers import Iid
from recombine.data.schema import Schema
from recombine.data.sources.folder import read_source
from recombine.method import Progress
from recombine.methods.ifcvaegan import Config, IFcVAEGAN
from recombine.training.engine import TrainConfig, Training, launch

BATCH, SIZE, FILES, BLOCKS, STEPS = 64, 64, 1024, 16, 10


def write_files(folder: Path) -> None:
    """JPEGs of 250 x 250 pixels with the frequencies of photographs, and a label for each."""
    rng, lines = np.random.default_rng(0), ["file_name,Smiling"]
    for i in range(FILES):
        small = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        small.resize((250, 250), Image.Resampling.BICUBIC).save(folder / f"{i:05d}.jpg", quality=90)
        lines.append(f"{i:05d}.jpg,{i % 2}")
    (folder / "metadata.csv").write_text("\n".join(lines))


def rate(function: Callable[[], object], seconds: float = 3.0) -> float:
    """Images a second of a function that reads one batch."""
    start, batches = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        function()
        batches += 1
    return batches * BATCH / (time.perf_counter() - start)


def reading(data: Pack, folder: Path) -> tuple[float, float]:
    """Images a second: packed, and decoded and resized by Pillow at every step, medians of five turns on one thread."""
    rng = np.random.default_rng(0)
    files = sorted(folder.glob("*.jpg"))

    def packed() -> Batch:
        return data.batch(rng.integers(0, len(data), BATCH))

    def pillow() -> torch.Tensor:
        chosen = [Image.open(files[i]).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS) for i in rng.integers(0, FILES, BATCH)]
        return torch.from_numpy(np.stack([np.asarray(image) for image in chosen])).permute(0, 3, 1, 2).float() / 127.5 - 1

    turns = [(rate(packed), rate(pillow)) for _ in range(5)]
    return statistics.median(fast for fast, _ in turns), statistics.median(slow for _, slow in turns)


def bare_loop(data: Pack) -> Callable[[], None]:
    """One step of the shortest loop that trains the same networks on the same losses and reads the same pack."""
    torch.manual_seed(0)
    method = IFcVAEGAN(Config(width=32), data.schema).to(memory_format=torch.channels_last)
    sampler, seen = Iid(data, "train", mirror=True), [0]
    weights = {player: [w for name in names for w in getattr(method, name).parameters()] for player, names in method.players().items()}
    optimizers = {player: method.optimizer(player, own) for player, own in weights.items()}

    def step() -> None:
        draw = sampler.draw(seen[0], BATCH)
        for turn in method.turns(data.batch(draw.rows, mirror=draw.mirror), Progress()):
            optimizers[turn.player].zero_grad()
            turn.total().backward(inputs=weights[turn.player])
            optimizers[turn.player].step()
        seen[0] += BATCH

    return step


def engine_loop(data: Pack, run: Path) -> Callable[[], None]:
    """One round of the engine on the same networks, with its log, its checks and a checkpoint a minute."""
    torch.manual_seed(0)
    config = TrainConfig(images=10**9, batch_size=BATCH)
    training = Training(launch(config), IFcVAEGAN(Config(width=32), data.schema), data, config, run, {"method": "ifcvaegan"}, quiet=True)
    return lambda: training.round([], None)


def seconds(step: Callable[[], None]) -> float:
    """Of a block of steps."""
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    return time.perf_counter() - start


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        (folder / "run").mkdir()
        write_files(folder / "files")
        data = pack(read_source(folder / "files"), folder / "pack", Schema(height=SIZE, width=SIZE), progress=False)
        torch.set_num_threads(1)
        fast, slow = reading(data, folder / "files")
        torch.set_num_threads(2)
        bare, engine = bare_loop(data), engine_loop(data, folder / "run")
        seconds(bare), seconds(engine)
        pairs = [(seconds(bare), seconds(engine)) if i % 2 else (seconds(engine), seconds(bare))[::-1] for i in range(BLOCKS)]
        ratios = [b / a for a, b in pairs]
        overhead = 100 * (sum(b for _, b in pairs) / sum(a for a, _ in pairs) - 1)
        spread = np.percentile(100 * (np.array(ratios) - 1), [25, 50, 75]).round(2).tolist()
        record(
            "engine",
            "Our loop costs little over a bare loop of the same networks and losses, and packed images are read far faster than files.",
            {
                "overhead_percent": round(overhead, 2),
                "overhead_percent_quartiles": spread,
                "packed_over_pillow": round(fast / slow, 1),
                "packed_images_per_second": round(fast),
                "pillow_images_per_second": round(slow),
                "bare_images_per_second": round(BLOCKS * STEPS * BATCH / sum(a for a, _ in pairs), 1),
            },
            {"blocks": BLOCKS, "steps_per_block": STEPS, "batch": BATCH, "files": FILES},
            settings="ifcvaegan, width 32, 64 px, two threads for the loops; reading on one thread, JPEGs of 250 px",
        )
