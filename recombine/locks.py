"""Which process works where: locks and leases on folders that several processes and machines share.

Both are a file that only one process can create and that names its holder by machine, boot, process and start. A
holder on this machine that was killed is recognised at once. One on another machine cannot be seen: its lock stands
until a person deletes it, its lease, which is touched again and again, until it is silent for `SILENCE` seconds.

The system's own locks (flock, and filelock on top of it) do not reach other machines on every network disk, outlive a
killed run in the processes that it forked, and do not name their holder.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from recombine import files

BEAT = 30.0         # seconds between two signs of life of a lease
SILENCE = 600.0     # seconds after which the lease of another machine counts as left behind
LOOK = 0.5          # seconds between two looks at a lease that is waited for
LEASE = "claim"     # file of a lease on a folder


class Locked(RuntimeError):
    """A folder that another run works in; the message names it."""


@contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Keep every other run out of a folder while this one works in it; raises Locked where another one is, or may be.

    A run whose process holds the lease on the folder also takes over the lock that an earlier holder on another machine
    left there.
    """
    path = Path(folder) / "lock"
    lease = read_holder(path.with_name(LEASE))
    leased = lease is not None and lease.items() >= myself().items()
    own = create(path, lambda holder: holder is None or (elsewhere(holder) and leased))
    if own is None:
        raise Locked(refusal(path))
    try:
        yield
    finally:
        give_up(path, own)


class Lease:
    """A lease that this process holds until `release`; `take` makes it."""

    def __init__(self, path: Path, content: bytes):
        self.path, self.content = path, content
        self.over = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True)
        self.heart.start()

    def held(self) -> bool:
        """Whether it is still ours; another machine takes it over after a long silence, such as a laptop's sleep."""
        return holds(self.path, self.content)

    def release(self) -> None:
        self.over.set()
        self.heart.join()
        give_up(self.path, self.content)

    def _beat(self) -> None:
        while not self.over.wait(BEAT):
            if self.held():
                with suppress(OSError):
                    os.utime(self.path)


def take(path: str | Path) -> Lease | None:
    """Take a lease that is free or was left behind; None where another process holds it. Its folder must exist."""
    path = Path(path)
    own = create(path, lambda holder: (holder is None or elsewhere(holder)) and silent(path))
    return None if own is None else Lease(path, own)


@contextmanager
def waiting(path: str | Path) -> Iterator[Lease]:
    """Hold a lease, after waiting for the process that holds it now."""
    while (held := take(path)) is None:
        time.sleep(LOOK)
    try:
        yield held
    finally:
        held.release()


def holder_of(path: str | Path) -> str:
    """The holder of a lock or lease, for people; empty where there is none."""
    holder = read_holder(Path(path))
    return f"process {holder['pid']} on {holder['host']} since {holder.get('since', 'unknown')[:19]}" if holder else ""


def create(path: Path, left_behind: Callable[[dict | None], bool]) -> bytes | None:
    """Create the file that names this process as the holder, and return its content; None where another one holds it.

    A file whose holder, if it names one, was not seen to have ended is taken over where it was `left_behind`.
    """
    own = json.dumps({**myself(), "since": datetime.now().isoformat(" ", "microseconds")}).encode()
    with one_at_a_time(path.parent):
        try:
            seen = path.read_bytes()
            holder = parsed(seen)
            if not (ended(holder) or left_behind(holder)):
                return None
            take_away(path, seen)
        except FileNotFoundError:
            pass
        try:
            files.write_synced(path, own, os.O_EXCL)
        except FileExistsError:  # another machine was faster
            return None
    return own


def take_away(path: Path, seen: bytes) -> None:
    """Remove a file that still holds what was seen in it."""
    aside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.old")
    os.rename(path, aside)
    if aside.read_bytes() != seen:  # another machine took it over in this moment: put its file back
        with suppress(FileExistsError):
            os.link(aside, path)
    os.unlink(aside)


def give_up(path: Path, own: bytes) -> None:
    """Remove a file that this process created, unless it was taken over."""
    if holds(path, own):
        with suppress(OSError):
            os.unlink(path)


def holds(path: Path, own: bytes) -> bool:
    """Whether a file is still what this process wrote."""
    with suppress(OSError):
        return path.read_bytes() == own
    return False


def silent(path: Path) -> bool:
    """Whether a lease was not touched for `SILENCE` seconds, by the clock of the disk that it lies on."""
    probe = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.now")
    try:
        files.write_synced(probe, b"")
        return probe.stat().st_mtime - path.stat().st_mtime > SILENCE
    finally:
        probe.unlink(missing_ok=True)


def myself() -> dict:
    """What tells this process from every other on any machine."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "boot": boot(), "started": started(os.getpid())}


def read_holder(path: Path) -> dict | None:
    """The holder of a lock or lease; None where there is none or a crash left half of one."""
    try:
        return parsed(path.read_bytes())
    except FileNotFoundError:
        return None


def parsed(content: bytes) -> dict | None:
    """The holder that a file names; None where it is half written."""
    try:
        holder = json.loads(content)
    except ValueError:
        return None
    whole = isinstance(holder, dict) and {"pid", "host", "boot", "started"} <= holder.keys()
    return holder if whole and isinstance(holder["pid"], int) else None


def elsewhere(holder: dict) -> bool:
    """Whether a holder is on another machine, where it cannot be seen."""
    return holder["host"] != socket.gethostname()


def ended(holder: dict | None) -> bool:
    """Whether a holder on this machine is seen to run no more."""
    if holder is None or elsewhere(holder):
        return False
    return holder["boot"] != boot() or started(holder["pid"]) != holder["started"] or not alive(holder["pid"])


def refusal(path: Path) -> str:
    """Which process holds a lock, and what to do."""
    holder = read_holder(path)
    who = f"{path.parent} is in use by {holder_of(path) or 'a process that has just started'}"
    if holder is None or (not elsewhere(holder) and os.name != "nt"):
        return f"{who}; stop that run or name another folder"
    return f"{who}, which cannot be seen from here; if that run is gone, delete {path}"


def alive(pid: int) -> bool:
    """Whether a process of this machine runs; one that is dead and not yet collected by its parent does not."""
    if os.name == "nt":  # to ask there would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process_status(pid)[:1] not in (["Z"], ["X"])


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty where the system does not say (no /proc)."""
    return "".join(process_status(pid)[19:20])


def process_status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the program's name before them may hold any character."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def boot() -> str:
    """What changes when the machine restarts; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process at a time look at a folder's lock; the system itself ends this when the process dies."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs started in the same instant could both take over a stale lock
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network disks cannot
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
