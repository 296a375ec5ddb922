"""Batches for one process, read a step ahead by a thread, on the device when the step begins."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from lightning_fabric import Fabric

from recombine.data.batch import Batch, StoredBatch, mix_seed
from recombine.data.packed import Pack
from recombine.data.samplers import Draw, Sampler


@dataclass(frozen=True)
class Ahead:
    """What was read for a position: a draw, its images, their partners', and when these are on the device."""

    draw: Draw
    images: StoredBatch
    partner: StoredBatch | None
    arrived: torch.cuda.Event | None


class Reader:
    """This process's share of every batch.

    A batch is a function of the sampler, the seed and the position. Its pixels go to the device as they are stored,
    beside the computation where the device allows; there they become float and are mirrored.
    """

    def __init__(self, fabric: Fabric, pack: Pack, batch_size: int, dtype: torch.dtype):
        ranks, rank = fabric.world_size, fabric.global_rank
        self.pack, self.batch_size, self.device, self.dtype = pack, batch_size, fabric.device, dtype
        self.share = slice(rank * batch_size // ranks, (rank + 1) * batch_size // ranks)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self.waiting: tuple[int, Future[Ahead]] | None = None

    def follow(self, sampler: Sampler, seed: int) -> None:
        """Read in this order from now on."""
        self.waiting = None
        self.sampler, self.seed = sampler, seed

    def batch(self, position: int) -> Batch:
        """The share of the batch that begins at a position; the next one is read meanwhile."""
        if self.waiting is None or self.waiting[0] != position:
            self.waiting = (position, self.thread.submit(self.read, self.sampler, position))
        ahead = self.waiting[1].result()
        following = position + self.batch_size
        self.waiting = (following, self.thread.submit(self.read, self.sampler, following))
        if ahead.arrived is not None:
            torch.cuda.current_stream(self.device).wait_event(ahead.arrived)
        seed = mix_seed(self.seed, position)
        batch = self.finished(ahead, ahead.images, seed)
        if ahead.partner is None:
            return batch
        return replace(batch, partner=self.finished(ahead, ahead.partner, mix_seed(seed, "partner")))

    def finished(self, ahead: Ahead, stored: StoredBatch, seed: int) -> Batch:
        """Stored images as a batch on the device."""
        if self.stream is not None:         # memory from one stream, used on another
            stored = stored.map(lambda tensor: tensor.record_stream(torch.cuda.current_stream(self.device)) or tensor)
        batch = stored.batch().to(self.device, self.dtype)
        return replace(batch, seed=seed, offset=self.share.start, whole=self.batch_size, source=ahead.draw.source)

    def read(self, sampler: Sampler, position: int) -> Ahead:
        """Draw and read a batch, and begin to move it to the device; in the thread."""
        draw = sampler.draw(position, self.batch_size)
        images = self.sent(draw.rows, draw.mirror)
        partner = None if draw.partner is None else self.sent(draw.partner, draw.partner_mirror)
        arrived = None
        if self.stream is not None:
            arrived = torch.cuda.Event()
            arrived.record(self.stream)
        return Ahead(draw, images, partner, arrived)

    def sent(self, rows: np.ndarray, mirror: np.ndarray | None) -> StoredBatch:
        """The share of some rows, on its way to a device with streams, else where it was read."""
        part, turned = rows[self.share], None if mirror is None else mirror[self.share]
        if self.stream is None:
            return self.pack.stored(part, mirror=turned)
        stored = self.pack.stored(part, mirror=turned, flip=False)
        with torch.cuda.stream(self.stream):
            return stored.map(lambda tensor: tensor.pin_memory().to(self.device, non_blocking=True))

    def close(self) -> None:
        """Stop the thread."""
        self.thread.shutdown(cancel_futures=True)
