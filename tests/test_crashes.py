"""Faults of the disk at every single operation of a save, and real kills: the newest complete checkpoint always loads."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from recombine import files
from recombine.data.schema import Attribute, Schema
from recombine.training import checkpoint

SCHEMA = Schema((Attribute("smile", "binary", ("0", "1")),))
OPERATIONS = ("open", "close", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir")


class Crash(BaseException):
    """The machine has stopped; nothing that runs afterwards reaches the disk."""


class Disk:
    """Stands between a save and the system, counts operations, and does at one of them what it was told.

    fault: "crash" stops the machine before the operation, "torn" after half of a write, "power" also loses all that was
    not synced; an error number fails that operation; "full" fails it and everything after it that needs space, "stuck" it
    and every later rename.
    """

    def __init__(self, at: int = -1, fault: object = None, short: bool = False):
        self.at, self.fault, self.short = at, fault, short
        self.count, self.stopped = 0, False
        self.real = {name: getattr(os, name) for name in OPERATIONS}
        self.handles: dict[int, Path] = {}
        self.unsynced: list[tuple] = []  # (path made, None) or (new path, old path, what it covered); its folder's sync ends it
        self.unsynced_data: set[Path] = set()

    @contextmanager
    def mounted(self):
        for name in OPERATIONS:
            setattr(os, name, lambda *args, name=name, **options: self.operate(name, *args, **options))
        try:
            yield self
        except Crash:
            pass
        finally:
            for name, function in self.real.items():
                setattr(os, name, function)

    def operate(self, name, *args, **options):
        if name in ("write", "fsync", "close") and args[0] not in self.handles:
            return self.real[name](*args, **options)  # another library's file, met when its objects are collected
        if name == "close" and self.close(*args):
            return None
        if self.stopped:
            raise Crash
        now, self.count = self.count == self.at, self.count + 1
        if now and self.fault in ("crash", "torn", "power"):
            self.stop(name, args)
        needs_space = name in ("write", "mkdir", "fsync") or (name == "open" and args[1] & os.O_CREAT)
        if self.fault == "full" and self.count > self.at and needs_space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "stuck" and self.count > self.at and name == "rename":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if now and isinstance(self.fault, int):
            raise OSError(self.fault, os.strerror(self.fault))
        return None if name == "close" else self.perform(name, args, options)

    def close(self, handle) -> bool:
        """Close in any case, since the tests go on; whether it was a folder, which cannot fail to close."""
        path = self.handles.pop(handle)
        self.real["close"](handle)
        return path is None or path.is_dir()

    def perform(self, name, args, options):
        if name == "write" and self.short:
            args = (args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])
        if name == "fsync":
            return self.sync(self.handles[args[0]])  # the real one is slow, and no power is lost here
        made = name == "open" and args[1] & os.O_CREAT and not Path(args[0]).exists()
        covered = Path(args[1]).read_bytes() if name == "replace" and Path(args[1]).exists() else None
        result = self.real[name](*args, **options)
        if name == "open":
            self.handles[result] = None if options.get("dir_fd") else Path(args[0])
        if name == "write":
            self.unsynced_data.add(self.handles[args[0]])
        if made or name == "mkdir":
            self.unsynced.append((Path(args[0]), None, None))
        if name in ("rename", "replace"):
            self.unsynced.append((Path(args[1]), Path(args[0]), covered))
        return result

    def sync(self, path):
        self.unsynced_data.discard(path)
        for place, (new, old, _covered) in enumerate(self.unsynced):
            if new.parent == path and old:  # what was made in it before and may still be lost has moved for good
                earlier = [(moved(made, old, new), *rest) for made, *rest in self.unsynced[:place]]
                self.unsynced[:place] = earlier
                self.unsynced_data = {moved(file, old, new) for file in self.unsynced_data}
        self.unsynced = [entry for entry in self.unsynced if entry[0].parent != path]

    def stop(self, name, args):
        if name == "write" and self.fault in ("torn", "power"):
            self.real["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
        self.stopped = True
        if self.fault == "power":
            self.lose()
        raise Crash

    def lose(self):
        for name, function in self.real.items():
            setattr(os, name, function)
        for new, old, covered in reversed(self.unsynced):
            if old is None:
                remove(new)
            elif new.exists():
                os.rename(new, old)
            if covered is not None:
                new.write_bytes(covered)
        for path in self.unsynced_data:
            if path.exists():
                os.truncate(path, path.stat().st_size // 2)


def moved(path: Path, old: Path, new: Path) -> Path:
    return new / path.relative_to(old) if path.is_relative_to(old) else path


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


class Model:
    """The model of a run, saved and read by the number it was made from."""

    def save(self, run, number):
        config = {"method": "rodi", "config": {"number": number}}
        checkpoint.save_model(run, {"w": torch.full((5, 5), float(number))}, config, SCHEMA)

    def read(self, run):
        model = checkpoint.read_model(run)
        number = model.config["config"]["number"]
        assert torch.equal(model.tensors["w"], torch.full((5, 5), float(number)))
        return number

    def left(self, run):
        return sorted(path.name for path in run.iterdir()) == ["model"]


class Resume:
    """The resume checkpoints of a run, by their number of images."""

    def save(self, run, number):
        groups = {"weights": {"w": torch.full((5, 5), float(number))}, "optimizer": {"m": torch.tensor(number)}}
        checkpoint.save_resume(run, number, groups, {"number": number})

    def read(self, run):
        resume = checkpoint.newest_resume(run)
        number = resume.state["number"]
        assert resume.step_images == number and resume.passed_over == []
        for path in (run / "resume").iterdir():
            assert path.suffix or checkpoint.read_checked(path), "the older ones are whole too"
        assert torch.equal(resume.tensors["weights"]["w"], torch.full((5, 5), float(number)))
        return number

    def left(self, run):
        names = [path.name for path in (run / "resume").iterdir()]
        return len(names) == 2 and all(name.isascii() and "." not in name for name in names)


class SameStep(Resume):
    """A checkpoint of a number of images that has one already: 2 is saved over 2 and told from it by its content."""

    def save(self, run, number):
        groups = {"weights": {"w": torch.full((5, 5), float(number))}}
        checkpoint.save_resume(run, min(number, 2), groups, {"number": number})

    def read(self, run):
        resume = checkpoint.newest_resume(run)
        assert resume.step_images == min(resume.state["number"], 2) and resume.passed_over == []
        assert torch.equal(resume.tensors["weights"]["w"], torch.full((5, 5), float(resume.state["number"])))
        return resume.state["number"]


KINDS = [Model(), Resume(), SameStep()]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=[type(kind).__name__ for kind in KINDS])


@pytest.fixture
def before(tmp_path, request):
    """A folder that holds a run with checkpoints 1 and 2; `fresh` makes a copy of it to break."""

    class Before:
        def __init__(self):
            self.number = 0

        def fresh(self, kind):
            self.number += 1
            origin = tmp_path / f"origin-{type(kind).__name__}"
            if not origin.exists():
                origin.mkdir()
                with Disk().mounted():
                    kind.save(origin, 1)
                    kind.save(origin, 2)
            return Path(shutil.copytree(origin, tmp_path / f"run-{self.number}"))

    return Before()


def operations(kind, before) -> int:
    run = before.fresh(kind)
    with Disk().mounted() as disk:
        kind.save(run, 3)
    assert kind.read(run) == 3 and kind.left(run) and disk.unsynced_data == set()
    return disk.count


@every_kind
@pytest.mark.parametrize("fault", ["crash", "torn", "power"])
def test_after_a_crash_at_any_operation_the_newest_complete_one_loads(kind, fault, before):
    total, seen = operations(kind, before), []
    for at in range(total):
        run = before.fresh(kind)
        with Disk(at, fault).mounted() as disk:
            kind.save(run, 3)
        assert disk.stopped
        seen.append(kind.read(run))
        with Disk().mounted():
            kind.save(run, 4)
        assert kind.read(run) == 4 and kind.left(run), f"the save after a crash at operation {at}"
    assert seen == sorted(seen) and set(seen) == {2, 3}, "the new one, once it is there, stays"


@every_kind
def test_a_second_crash_while_the_first_is_mended_loses_nothing(kind, before):
    mended = 0
    for first in range(operations(kind, before)):
        second, stopped = first % 3, True
        while stopped:
            run = before.fresh(kind)
            with Disk(first, "torn").mounted():
                kind.save(run, 3)
            had, swapping = kind.read(run), any(run.rglob("*.old"))
            with Disk(second, "power" if second % 2 else "torn").mounted() as disk:
                kind.save(run, 4)
            assert kind.read(run) in (had, 4)
            shutil.rmtree(run)
            second, stopped, mended = second + (3 if swapping else 41), disk.stopped, mended + 1
    assert mended > 50


@every_kind
def test_renames_that_fail_and_cannot_be_taken_back_lose_nothing(kind, before):
    failed = 0
    for at in range(operations(kind, before)):
        run = before.fresh(kind)
        with Disk(at, "stuck").mounted():
            try:
                kind.save(run, 3)
            except files.SaveFailed:
                failed += 1
        assert kind.read(run) in (2, 3)
        with Disk().mounted():
            kind.save(run, 4)
        assert kind.read(run) == 4 and kind.left(run)
    assert failed > 10


@every_kind
def test_an_error_after_a_crash_does_not_take_back_what_was_complete(kind, before):
    for first in range(operations(kind, before)):
        run = before.fresh(kind)
        with Disk(first, "crash").mounted():
            kind.save(run, 3)
        had = kind.read(run)
        with Disk(0, "stuck").mounted(), pytest.raises(files.SaveFailed):
            kind.save(run, 4)
        assert kind.read(run) == had


@pytest.mark.parametrize("kind", KINDS[:2], ids=["Model", "Resume"])
def test_a_crash_in_the_very_first_save_leaves_nothing_or_all_of_it(kind, tmp_path):
    at, stopped = 0, True
    while stopped:
        run = tmp_path / f"run-{at}"
        run.mkdir()
        with Disk(at, "torn").mounted() as disk:
            kind.save(run, 1)
        stopped, at = disk.stopped, at + 1
        try:
            assert kind.read(run) == 1
        except (FileNotFoundError, AttributeError):  # no model; newest_resume gives None
            assert stopped
        with Disk().mounted():
            kind.save(run, 2)
        assert kind.read(run) == 2
    assert at > 10


@every_kind
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "broken", "read-only"])
def test_an_error_at_any_operation_is_told_and_the_next_save_works(kind, number, before):
    failed = 0
    for at in range(operations(kind, before)):
        run = before.fresh(kind)
        with Disk(at, number).mounted():
            try:
                kind.save(run, 3)
            except files.SaveFailed as error:
                failed += 1
                assert error.errno == number and error.needed > 100 and error.free > 0
                assert "what was saved before is untouched" in str(error)
                assert not list(run.rglob("*.tmp")), f"rubbish after an error at operation {at}"
                assert kind.read(run) in (2, 3)
            else:
                assert kind.read(run) == 3
        with Disk().mounted():
            kind.save(run, 4)
        assert kind.read(run) == 4 and kind.left(run)
    assert failed > 10


@every_kind
def test_a_disk_that_fills_at_any_operation_keeps_the_old_ones(kind, before):
    failed = 0
    for at in range(operations(kind, before)):
        run = before.fresh(kind)
        with Disk(at, "full").mounted():
            try:
                kind.save(run, 3)
            except files.SaveFailed as error:
                failed += 1
                assert "No space left on device" in str(error) and "free some space on this disk" in str(error)
                assert not list(run.rglob("*.tmp"))
        assert kind.read(run) in (2, 3)
        with Disk().mounted():
            kind.save(run, 4)
        assert kind.read(run) == 4 and kind.left(run)
    assert failed > 10


@every_kind
def test_a_disk_that_takes_half_of_each_write_gets_all_of_it(kind, before):
    run = before.fresh(kind)
    with Disk(short=True).mounted():
        kind.save(run, 3)
    assert kind.read(run) == 3


@pytest.mark.parametrize("fault", ["crash", "torn", "power", errno.ENOSPC, errno.EIO])
def test_one_file_is_old_or_new_whatever_happens(fault, tmp_path):
    path, at, done = tmp_path / "config.json", 0, False
    while not done:
        path.write_text("old")
        with Disk(at, fault).mounted() as disk:
            try:
                files.write_text(path, "the new one")
            except OSError as error:
                assert error.errno == fault and not list(tmp_path.glob("*.tmp"))
        assert path.read_text() in ("old", "the new one")
        done, at = disk.count <= at, at + 1
    assert at > 5 and path.read_text() == "the new one"


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[2])
from recombine.data.schema import Schema
from recombine.training import checkpoint

torch.set_num_threads(1)
run, random = Path(sys.argv[1]), random.Random(0)
schema, reached, kills, start = Schema(), 0, 0, time.time()


def save(step):
    weights = {"w": torch.full((3000,), float(step))}
    checkpoint.save_model(run, weights, {"method": "rodi", "config": {"step": step}}, schema)
    checkpoint.save_resume(run, step, {"weights": weights}, {"step": step})


def save_for_ever(step, told):
    while True:
        step += 1
        save(step)
        os.write(told, b"%08d" % step)


def rest(handle):
    with open(handle, "rb") as file:
        return file.read()


save(0)
duration, end = time.time() - start, time.time() + 2
while time.time() < end or kills < 9:
    hear, told = os.pipe()
    child = os.fork()
    if child == 0:
        save_for_ever(reached, told)
    os.close(told)
    heard = b"".join(os.read(hear, 8) for _ in range(kills % 3))  # wait for no save, one, or two
    time.sleep(random.uniform(0, 1.5 * duration))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills, acknowledged = kills + 1, int((heard + rest(hear))[-8:] or reached)
    resume, model = checkpoint.newest_resume(run), checkpoint.read_model(run)
    step, shown = resume.step_images, model.config["config"]["step"]
    assert step in (acknowledged, acknowledged + 1), (step, acknowledged)
    assert torch.equal(resume.tensors["weights"]["w"], torch.full((3000,), float(step)))
    assert shown in (step, step + 1) and torch.equal(model.tensors["w"], torch.full((3000,), float(shown)))
    reached = step
print(kills, reached)
"""


@pytest.mark.slow
def test_real_kills_lose_nothing_that_was_saved(tmp_path):
    package = str(Path(checkpoint.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), package], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    kills, reached = map(int, done.stdout.split())
    assert kills >= 9 and reached >= 9
