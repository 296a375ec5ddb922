"""The one loop that trains every method: turns, phases, averages, checkpoints, logs, and stopping without loss.

Schedules, random numbers and the order of the images are functions of (seed, images seen), so a training that was
stopped and resumed at any step ends with the same bits as one that was not.
"""

from __future__ import annotations

import atexit
import inspect
import logging
import math
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from recombine import files, locks
from recombine.data.batch import Batch, mix_seed
from recombine.data.packed import Pack
from recombine.data.samplers import SAMPLERS, LeavesOut, Sampler
from recombine.messages import option
from recombine.method import Controlled, Hinting, Method, OwnSampler, Phase, Phased, Progress, Turn
from recombine.methods.shared.prototypes import fit_prototypes, prototypes_of
from recombine.training import checkpoint
from recombine.training.log import Journal, Meter
from recombine.training.lowered import LOWERED, Lowered, quickest
from recombine.training.mirroring import handedness
from recombine.training.monitor import Score, diagnose, last_rise, score
from recombine.training.players import Average, Players, StandIns, load_child
from recombine.training.reader import Reader
from recombine.training.recipe import (
    SAVES,
    TrainConfig,
    crossed,
    images_in,
    learning_rate_factor,
    progress_at,
    shortened,
)


class Interrupted(Exception):
    """The training was asked to stop, and saved everything first."""

    def __init__(self, run: Path, images_seen: int, images: int, signal_number: int):
        self.run, self.images_seen, self.signal_number = run, images_seen, signal_number
        done = f"stopped after {images_seen:,} of {images:,} images, all saved in {run}"
        super().__init__(f"{done}; the same command again goes on from there")


class Diverged(RuntimeError):
    """A loss or gradient became NaN or infinite and stayed so; the weights were not touched by it."""


@dataclass
class State:
    """Where a training stands, beside its tensors; everything here is saved."""

    images_seen: int = 0
    rollbacks: int = 0                      # each changes the order of the images and halves the learning rate
    bad_in_row: int = 0
    precision: str = ""                     # in which the networks run, where it was measured
    mirror: bool | None = None              # whether images are shown mirrored, where it was decided from the data
    minutes: float = 0.0                    # that the training was to take when its length was found
    images: int = 0                         # to be seen in all, where a time decided it; 0 = the settings say it
    end: int = 0                            # images after which edits that no longer get better end it; 0 = all
    kept: int = 0                           # images that the model in the run has seen; 0 = it is the newest
    scores: list[Score] = field(default_factory=list)  # of evaluations, where something hangs on them
    controllers: dict[str, float] = field(default_factory=dict)


SEVERAL = 3                                 # evaluations at least that show that edits do not get better
SLOWER = 1.15                               # times the minutes that were given are worth a line in the log
Monitor = Callable[[Method, Path], dict[str, float]]


def fit(
    method: Method, pack: Pack, config: TrainConfig, run: str | Path, *, settings: dict | None = None,
    monitor: Monitor | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train a method until `config.images` images have been seen, or as many as `config.minutes` suffice for, or go on.

    Under `torchrun` every process calls this; together they do what one process would do. The method is a new one; an
    earlier training's weights are read from the folder `run`, which is made if it is not there, and returned.

    `settings` are what `load` needs to build the method: `method`, its short name, and `config`. The monitor is called
    with the averaged method in eval mode and the path for an image grid, at the start and every `evaluate_every`
    images, or as `evaluations` say; what it returns is logged.

    Raises:
        Interrupted: A signal asked to stop; everything was saved.
        Diverged: NaN or infinity did not go away.
        CannotWrite: The folder cannot be written.
    """
    run = Path(run)
    fabric = launch(config)
    with ExitStack() as stack:
        if fabric.is_global_zero:
            files.check_writable(run)
            stack.enter_context(locks.lock(run))
        training = Training(fabric, method, pack, config, run, settings or {}, quiet)
        stop = stack.enter_context(stop_signals())
        stack.callback(training.journal.close)
        stack.callback(training.reader.close)
        stack.enter_context(tensor_float_32(fabric.device))
        training.resume()
        training.go(stop, monitor)
    return run


def launch(config: TrainConfig) -> Fabric:
    """Fabric for this process: alone, or one of those that `torchrun` started."""
    world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if config.batch_size % (world * config.accumulate):
        parts = f"{world} processes x {config.accumulate} micro-batches"
        raise ValueError(f"batch_size {config.batch_size} must be a multiple of {parts}")
    strategy = DDPStrategy(**without_buffers()) if world > 1 else "auto"
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)     # each process would introduce itself
    lowered = Lowered() if config.precision in ("auto", LOWERED) else None
    precision: Any = {"plugins": lowered} if lowered else {"precision": config.precision}
    fabric = Fabric(devices=local, num_nodes=world // local, strategy=strategy, **precision)
    fabric.launch()
    if dist.is_initialized() and dist.get_backend() == "gloo":  # whose threads, outliving the interpreter, abort the process
        atexit.unregister(leave)
        atexit.register(leave)
    if lowered:
        lowered.device = fabric.device.type
    return fabric


def leave() -> None:
    """Leave the other processes, at the end of this one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def without_buffers() -> dict[str, Any]:
    """That buffers are every process's own, as this version of PyTorch wants it said: what changes them is the same."""
    known = inspect.signature(DistributedDataParallel).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}


class Training:
    """One training in one process."""

    def __init__(
        self, fabric: Fabric, method: Method, pack: Pack, config: TrainConfig, run: Path, settings: dict, quiet: bool
    ):
        self.fabric, self.method, self.pack = fabric, method, pack
        self.config, self.run, self.settings = config, run, settings
        self.state = State(controllers=dict(method.controllers) if isinstance(method, Controlled) else {})
        self.players = Players(fabric, method, config.compiled)
        self.dtype = next(method.parameters()).dtype
        self.average = Average(self.players.networks, config.ema_images)
        self.prototypes = prototypes_of(method)
        self.phases = method.phases() if isinstance(method, Phased) else [Phase("train")]
        self.reader = Reader(fabric, pack, config.batch_size, self.dtype)
        self.sampler = self.new_sampler()
        self.journal, self.meter = Journal(run, config.images, enabled=fabric.is_global_zero, quiet=quiet), Meter()
        self.measured: dict[str, float] = {}  # in the newest line of the log
        self.warned_of: set[str] = set()
        self.saved_at, self.save_took = time.monotonic(), 0.0  # seconds
        self.saved_once = self.warned = False
        self.keeping = False                # whether the newest evaluation's model is one to keep

    def go(self, stop: list[int], monitor: Monitor | None) -> None:
        """Train to the end, or until a signal stands in `stop`."""
        if not self.state.images_seen and isinstance(self.sampler, LeavesOut) and self.sampler.left_out:
            alone = f"{self.sampler.left_out} training images stand alone in their group"
            self.journal.event(0, "left out", f"{alone}, form no pair and are not used")
        if self.config.mirror is None:
            self.settle_mirror()
        if self.config.precision == "auto":
            self.settle_precision()
        self.evaluate(monitor, when=self.state.images_seen == 0)
        whole, start = self.state.images_seen == 0, time.perf_counter()
        self.settle_length(monitor)
        while self.state.images_seen < self.end:
            self.round(stop, monitor)
        took = (time.perf_counter() - start) / 60
        if whole and 0 < SLOWER * self.config.minutes < took:
            what = f"the training took {took:.3g} minutes in place of {self.config.minutes:g}"
            self.journal.event(self.state.images_seen, "length", f"{what}: the machine was slower than at the start")
        if self.fabric.is_global_zero and not self.saved_once:
            problem = f"the training is done, but nothing could be saved in {self.run}"
            raise files.CannotWrite(f"{problem}; free space there and run the same command again")

    def round(self, stop: list[int], monitor: Monitor | None) -> None:
        """One step and what is due after it."""
        config, before = self.config, self.state.images_seen
        self.step()
        seen = self.state.images_seen
        self.journal.advance(seen)
        if crossed(config.log_every, before, seen):
            self.measured = self.meter.take()
            self.journal.write(seen, self.measured, learning_rate=self.learning_rate_factor())
        stopping, due = self.agree(stop)
        self.evaluate(monitor, when=crossed(self.evaluate_every, before, seen) or seen >= self.end)
        if stopping or due or self.keeping or seen >= self.end:
            self.save()
        if stopping and seen < self.end:
            raise Interrupted(self.run, seen, self.end, stopping)

    def step(self) -> None:
        """One batch through every turn of the game; abandoned at the first value that is not finite."""
        state = self.state
        batch, progress = self.begin()
        self.players.set_learning_rates(self.learning_rate_factor())
        bad, measured = self.play(batch, progress)
        if bad:
            bad = self.skip(batch, bad)
        else:
            state.bad_in_row = 0
            if isinstance(self.method, Controlled):
                self.method.control(measured, progress)
                state.controllers = dict(self.method.controllers)
        self.average.update(state.images_seen, self.config.batch_size)
        state.images_seen += self.config.batch_size
        if state.bad_in_row >= self.config.patience:
            self.roll_back(bad)

    @property
    def images(self) -> int:
        """To be seen in all where nothing ends the training early; what methods and phases go by."""
        return self.state.images or self.config.images

    @property
    def end(self) -> int:
        """To be seen in all; what the learning rate goes by."""
        return min(self.images, self.state.end or self.images)

    @property
    def evaluate_every(self) -> int:
        """Images between two evaluations."""
        spread = self.config.evaluations if self.state.images else 0
        return math.ceil(self.images / spread) if spread else self.config.evaluate_every

    def begin(self) -> tuple[Batch, Progress]:
        """The next step's batch and place, with everything that it depends on set."""
        phase, progress = progress_at(self.state.images_seen, self.images, self.phases)
        return self.prepared(self.state.images_seen, phase), progress

    def prepared(self, seen: int, phase: Phase) -> Batch:
        """The batch after so many images, with everything set that a step of a phase depends on."""
        self.players.enter(phase)
        torch.manual_seed(mix_seed(self.seed, self.fabric.global_rank, seen))
        return self.reader.batch(seen)

    def play(self, batch: Batch, progress: Progress) -> tuple[str, dict[str, float]]:
        """Take every turn on a batch; returns what is not finite, "" where all is, and the mean of every term."""
        games = [self.method.turns(part, progress) for part in batch.split(self.config.accumulate)]
        self.players.keep_buffers()
        measured: dict[str, float] = {}
        while (gradients := self.players.backward(games)) is not None:
            means, bad = gradients.measured(self.fabric)
            if bad:
                self.players.take_back_buffers()
                return bad, {}
            self.players.optimizers[gradients.player].step()
            self.meter.add(means)
            measured |= means
        return "", measured

    def settle_mirror(self) -> None:
        """Show images mirrored where the training began so, or where the data allow it; the first process decides."""
        if self.state.mirror is None:
            found = handedness(self.pack) if self.fabric.is_global_zero else None
            self.state.mirror = self.fabric.broadcast(found and found.mirror)
            shown, other = "" if self.state.mirror else "not ", option("mirror", not self.state.mirror)
            sentence = f"images are {shown}shown mirrored: {found}; to have it otherwise, begin with {other}"
            self.journal.event(self.state.images_seen, "mirror", sentence)
        self.sampler = self.new_sampler()

    def settle_precision(self) -> None:
        """Take the precision that the training began with, or measure which is quickest on its own step."""
        lowered = self.fabric.strategy.precision
        assert isinstance(lowered, Lowered)
        if not self.state.precision:
            self.state.precision, seconds = quickest(self.rehearse, self.config.batch_size // self.fabric.world_size)
            took = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in seconds.items())
            self.journal.event(self.state.images_seen, "precision", f"{self.state.precision}; a part of a step took: {took}")
        lowered.lowered = self.state.precision == LOWERED

    def rehearse(self, precision: str, images: int) -> float:
        """Seconds that the next step takes in a precision on so many of its images, the longest of any process."""
        lowered = self.fabric.strategy.precision
        assert isinstance(lowered, Lowered)
        lowered.lowered = precision == LOWERED
        batch, progress = self.begin()
        clock = time.process_time if self.fabric.device.type == "cpu" else time.perf_counter  # the former is deaf to others
        start = clock()
        self.without_effect([self.method.turns(batch.slice(0, images), progress)])
        return self.longest(clock() - start)

    def without_effect(self, games: list[Iterator[Turn]], stand_ins: StandIns | None = None) -> None:
        """Take every turn of a step, whose gradients go to stand-ins or nowhere; buffers are taken back."""
        self.players.keep_buffers()
        while (gradients := self.players.backward(games)) is not None:
            gradients.norm.item()           # waits for the device
            if stand_ins:
                stand_ins.step(gradients.player)
        self.players.take_back_buffers()

    def longest(self, seconds: float) -> float:
        """The most seconds of any process."""
        if self.fabric.world_size == 1:
            return seconds
        most = torch.tensor(seconds, dtype=torch.float64, device=self.fabric.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        return most.item()

    def settle_length(self, monitor: Monitor | None) -> None:
        """Take the length that the training began with, or find the one that fits its time.

        It is found once: a correction by what later steps take would depend on when a training is stopped.
        """
        state, minutes = self.state, self.config.minutes
        if minutes and not state.minutes:
            state.images, sentence = self.measured_length(monitor)
            self.journal.event(state.images_seen, "length", f"{sentence}; longer where the machine becomes busy")
        elif minutes != state.minutes:      # of a training that goes on, at the speed that was found
            batches = state.images * minutes / state.minutes / self.config.batch_size
            state.images = self.bounded(self.config.batch_size * max(1, int(batches))) if minutes else 0
            self.journal.event(state.images_seen, "length", f"{self.images:,} images in all, as the settings now say")
        state.minutes = minutes
        self.journal.expect(self.end)

    def measured_length(self, monitor: Monitor | None) -> tuple[int, str]:
        """The images that the time suffices for, by the speed of steps and of an evaluation, and a sentence on them."""
        start, shares = time.perf_counter(), sum(phase.share for phase in self.phases)
        paces = [self.pace(place) for place in range(len(self.phases))]
        pace = sum(pace * phase.share / shares for pace, phase in zip(paces, self.phases, strict=True))
        before = time.perf_counter()
        self.measures(monitor)
        evaluation = self.longest(time.perf_counter() - before)
        left = self.config.minutes - self.longest(time.perf_counter() - start) / 60
        affordable = images_in(left, pace, evaluation, self.config)
        images, minutes = self.bounded(affordable), f"{self.config.minutes:g} minutes"
        speeds = [f"{1 / pace:.4g} images/s in {phase.name}" for pace, phase in zip(paces, self.phases, strict=True)]
        passes = f"less than {minutes}, as {self.config.passes:g} passes through the training images are enough"
        took = minutes if images == affordable else passes
        return images, f"{images:,} images, at {', '.join(speeds)}, are to take {took}"

    def bounded(self, images: int) -> int:
        """So many images, or as many as the passes through the training images that are enough; whole batches."""
        passes, batch_size = self.config.passes, self.config.batch_size
        most = batch_size * max(1, int(passes * len(self.pack.rows("train")) / batch_size))
        return min(images, most) if passes else images

    def pace(self, place: int) -> float:
        """Seconds per image of the steps of a phase, reading included; the slowest process decides."""
        batch_size, shares = self.config.batch_size, [phase.share for phase in self.phases]
        middle = (sum(shares[:place]) + shares[place] / 2) / sum(shares)
        phase, progress = progress_at(round(middle * 1e6), 10**6, self.phases)
        stand_ins, times = StandIns(self.players), list[float]()
        while len(times) < 4 or (len(times) < 20 and sum(times) < self.config.minutes * 60 / 100 / len(shares)):
            start = time.perf_counter()
            batch = self.prepared(self.state.images_seen + len(times) * batch_size, phase)
            games = [self.method.turns(part, progress) for part in batch.split(self.config.accumulate)]
            self.without_effect(games, stand_ins)
            times.append(self.longest(time.perf_counter() - start))
        return statistics.median(times[1:]) / batch_size  # the first one also loads kernels, and waits for its images

    def skip(self, batch: Batch, bad: str) -> str:
        """Count and log a step that was not taken; returns what was wrong, where."""
        self.state.bad_in_row += 1
        self.meter.take()
        images = ", ".join(self.pack.files[row] for row in batch.rows[:8].tolist())
        sentence = f"{bad} after {self.state.images_seen:,} images, in a batch with {images}"
        self.journal.event(self.state.images_seen, "skipped", f"{sentence}; the step was not taken")
        return sentence

    def roll_back(self, bad: str) -> None:
        """Go back to the newest checkpoint with another order of images and half the learning rate, or give up."""
        used = self.state.rollbacks
        found = self.newest() if used < self.config.rollbacks else None
        if found is None:
            untouched = f"the newest checkpoint in {self.run / 'resume'} is untouched"
            saved = untouched if self.saved_once or used else "nothing had been saved yet"
            raise Diverged(
                f"{self.config.patience} steps in a row were not finite: {bad}; {saved}; "
                "try a lower learning rate or another seed"
            )
        self.restore(found)
        self.state.rollbacks, self.state.bad_in_row = used + 1, 0
        self.sampler = self.new_sampler()
        self.journal.event(self.state.images_seen, "rolled back", f"{bad}; going on with half the learning rate")

    def new_sampler(self) -> Sampler:
        """The order of the images, which the reader follows from now on; another one after every rollback."""
        mirror = bool(self.state.mirror) if self.config.mirror is None else self.config.mirror
        if isinstance(self.method, OwnSampler):
            sampler = self.method.make_sampler(self.pack, self.seed, mirror)
        else:
            sampler = SAMPLERS[self.method.sampler](self.pack, "train", seed=self.seed, mirror=mirror)
        self.reader.follow(sampler, self.seed)
        return sampler

    @property
    def seed(self) -> int:
        return mix_seed(self.config.seed, self.state.rollbacks)

    def learning_rate_factor(self) -> float:
        seen, config = self.state.images_seen, replace(self.config, images=self.end)
        phase, _ = progress_at(seen, self.images, self.phases)
        return phase.rate * learning_rate_factor(seen, config, self.state.rollbacks)

    def agree(self, stop: list[int]) -> tuple[int, bool]:
        """The signal to stop for and whether a checkpoint is due, the same on every process."""
        stopping = stop[0] if stop else 0
        every = self.config.save_seconds and max(self.config.save_seconds, SAVES * self.save_took)
        due = time.monotonic() - self.saved_at >= every
        if self.fabric.world_size > 1:
            both = torch.tensor([stopping, int(due)], device=self.fabric.device)
            dist.all_reduce(both, op=dist.ReduceOp.MAX)
            stopping, due = int(both[0]), bool(both[1])
        return stopping, due

    def evaluate(self, monitor: Monitor | None, when: bool) -> None:
        """Evaluate the averaged weights on the first process, without random numbers of the training."""
        self.keeping = False
        if not when or (monitor is None and not self.prototypes):
            return
        if self.fabric.is_global_zero:
            seen, measures = self.state.images_seen, self.measures(monitor)
            self.journal.write(seen, measures)
            hints = self.method.hints if isinstance(self.method, Hinting) else ()
            phase, progress = progress_at(seen, self.images, self.phases)
            last = phase is self.phases[-1]  # in earlier ones the decoder may not play the game yet
            causes = diagnose({**self.measured, **measures}, progress.phase_fraction, hints) if last else {}
            for name, sentence in causes.items():
                if name not in self.warned_of:
                    self.journal.event(seen, name, sentence)
                self.warned_of.add(name)
            self.decide(score(measures, seen))
        if self.config.keep == "best" or self.config.plateau_images:
            self.keeping, self.state.end = self.fabric.broadcast((self.keeping, self.state.end))
        self.fabric.barrier()

    def decide(self, found: Score | None) -> None:
        """What follows from an evaluation's score: whether its model is kept, and whether the training ends early."""
        state, config, seen = self.state, self.config, self.state.images_seen
        if found is not None and seen and (config.keep == "best" or config.plateau_images):
            self.keeping = config.keep == "best" and (not state.kept or all(map(found.reaches, state.scores)))
            state.kept = seen if self.keeping else state.kept
            state.scores.append(found)
            if config.plateau_images and not state.end and seen < self.images:
                self.end_where_level()
        if config.keep == "best" and seen >= self.end:
            kept = f"the model after {state.kept or seen:,} images"
            scores = ", ".join(f"{entry.images:,}: {entry.value:.2f}" for entry in state.scores)
            latest = "the latest that is as good as the best but for noise"
            why = f"{latest}: {scores}" if scores else "edits were not judged"
            self.journal.event(seen, "kept", f"{kept}; {why}")

    def end_where_level(self) -> None:
        """Go into the final decay where, in the last phase, edits have not become better beyond noise for long.

        Several evaluations that are each better than the one before are a climb, however small their steps are.
        """
        seen, config, phase = self.state.images_seen, self.config, self.phases[-1]
        last = [entry for entry in self.state.scores if progress_at(entry.images, self.images, self.phases)[0] is phase]
        if not last:
            return
        rise = last_rise(last)
        later = len(last) - 1 - last.index(rise)
        climbs = all(after.value > before.value for before, after in pairwise(last[-SEVERAL - 1 :]))
        end = max(shortened(seen, self.images, config.decay), seen + config.batch_size)  # so that an evaluation ends it
        if seen - rise.images >= config.plateau_images and later >= SEVERAL and not climbs and end < self.images:
            self.state.end = end
            then, now = f"{rise.value:.2f}", f"{last[-1].value:.2f}"
            level = f"edits have not become better beyond noise since {rise.images:,} images: score {then}, now {now}"
            course = f"the training ends after {end:,} images in place of {self.images:,}"
            self.journal.event(seen, "plateau", f"{level}; {course}")
            self.journal.expect(end)

    def measures(self, monitor: Monitor | None) -> dict[str, float]:
        """What the monitor says of the averaged weights; nothing on other processes than the first."""
        if not self.fabric.is_global_zero:
            return {}
        seen = self.state.images_seen
        with self.players.evaluated(), self.average.applied(), torch.no_grad():
            if self.prototypes:
                whole = seen >= self.end or self.config.keep == "best"
                fit_prototypes(self.method, self.prototypes, self.pack, probes=whole)
            return monitor(self.method, self.run / "grids" / f"{seen:010d}.png") if monitor else {}

    def save(self) -> None:
        """Write a checkpoint and the model; a full disk costs nothing but the attempt."""
        started = time.monotonic()
        if self.fabric.is_global_zero:
            try:
                self.write()
                self.saved_once, self.warned = True, False
            except files.SaveFailed as error:
                if not self.warned:
                    sentence = f"{error}; training goes on and tries again"
                    self.journal.event(self.state.images_seen, "save failed", sentence)
                self.warned = True
                self.state.kept = 0 if self.keeping else self.state.kept  # which then is not there
        self.fabric.barrier()
        self.saved_at = time.monotonic()
        self.save_took = self.saved_at - started

    def write(self) -> None:
        """The checkpoint first, then the model that it would make, unless an earlier one is kept."""
        found = self.prototypes.state_dict() if self.prototypes else {}
        prototypes = {f"codebook.{key}": value for key, value in found.items()}
        own, average = self.players.weights(), self.average.tensors
        optimizers, rest = self.players.optimizer_states()
        tensors = {"weights": {**own, **prototypes}, **({"average": average} if average else {}), **optimizers}
        state = {**vars(self.state), "optimizers": rest, "method": self.identity()}
        checkpoint.save_resume(self.run, self.state.images_seen, tensors, state)
        if self.keeping or not self.state.kept:
            checkpoint.save_model(self.run, {**(average or own), **prototypes}, self.identity(), self.method.schema)

    def identity(self) -> dict:
        """What `load` needs to build this method again."""
        name = self.settings.get("method", type(self.method).__name__)
        return {"method": name, "config": self.settings.get("config", {})}

    def newest(self) -> checkpoint.Resume | None:
        """The newest checkpoint, the same on every process; raises RuntimeError where they do not see the same."""
        found = checkpoint.newest_resume(self.run)
        own = found.step_images if found else 0
        first = self.fabric.broadcast(own)
        if own != first:
            seen = f"the first process goes on after {first:,} images, process {self.fabric.global_rank} after {own:,}"
            cure = "the run's folder must be on a disk that all machines share"
            raise RuntimeError(f"{seen}, each from the newest checkpoint that it finds in {self.run}; {cure}")
        return found

    def resume(self) -> None:
        found = self.newest()
        if found is None:
            return
        saved, own = found.state["method"], self.identity()
        checkpoint.check_compatible({**saved, "config": {**own["config"], **saved["config"]}}, own)
        self.restore(found)
        self.saved_once = True
        kept, last = self.state.kept, self.config.keep == "last"
        self.state.kept = 0 if last else kept
        self.state.end = self.state.end if self.config.plateau_images else 0
        self.keeping = kept == self.state.images_seen
        if self.keeping or (kept and last):  # the process may have ended between the checkpoint and its model
            self.save()
        self.journal.expect(self.end)
        self.journal.resume(self.state.images_seen, found.passed_over)
        self.sampler = self.new_sampler()

    def restore(self, found: checkpoint.Resume) -> None:
        self.players.load_weights(found.tensors["weights"])
        if self.prototypes:
            load_child(self.prototypes, "codebook", found.tensors["weights"])
        self.average.load(found.tensors.get("average", {}))
        self.players.load_optimizers(found.tensors, found.state["optimizers"])
        known = {name: value for name, value in found.state.items() if name in vars(self.state)}
        self.state = State(**{"mirror": True, **known})  # which earlier versions did where nothing else was said
        self.state.scores = [Score(*entry) for entry in self.state.scores]
        if isinstance(self.method, Controlled):
            self.method.controllers.update(self.state.controllers)


@contextmanager
def tensor_float_32(device: torch.device) -> Iterator[None]:
    """Matrix products in float32 with the 19 bits of TF32 inside, on GPUs, where convolutions have them anyway."""
    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGUSR1, to act on between two steps. A second Ctrl-C stops at once."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]
    try:
        before = {number: signal.signal(number, note) for number in numbers}
    except ValueError:  # not in the main thread, where signals cannot be caught
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
