"""Who works on what, where several processes on several machines share one folder and nothing else.

A claim is a file that only one process can create. It names its holder, and the holder touches it again and again: a
process of this machine that died is recognised by its number and start, one of another machine by its silence.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from recombine import files

BEAT = 30.0         # seconds between two signs of life
SILENCE = 600.0     # seconds after which the claim of another machine counts as left behind
LOOK = 0.5          # seconds between two looks at a claim that is waited for


class Lease:
    """A claim that this process holds until `release`."""

    def __init__(self, path: Path, content: bytes):
        self.path, self.content = path, content
        self.over = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True)
        self.heart.start()

    def held(self) -> bool:
        """Whether it is still ours; another machine takes it over after a long silence, such as a laptop's sleep."""
        with suppress(OSError):
            return self.path.read_bytes() == self.content
        return False

    def release(self) -> None:
        """Give it back."""
        self.over.set()
        self.heart.join()
        if self.held():
            with suppress(OSError):
                os.unlink(self.path)

    def _beat(self) -> None:
        while not self.over.wait(BEAT):
            if self.held():
                with suppress(OSError):
                    os.utime(self.path)


def take(path: str | Path) -> Lease | None:
    """Create a claim, or take over one that was left behind; None where somebody else holds it.

    The folder must exist.
    """
    path = Path(path)
    own = json.dumps({**files.myself(), "since": datetime.now().isoformat(" ", "microseconds")}).encode()
    with files.one_at_a_time(path.parent):
        if not free(path):
            return None
        try:
            files.write_synced(path, own, os.O_EXCL)
        except FileExistsError:  # another machine was faster
            return None
    return Lease(path, own)


@contextmanager
def waiting(path: str | Path) -> Iterator[Lease]:
    """Hold a claim, after waiting for whoever holds it now."""
    while (held := take(path)) is None:
        time.sleep(LOOK)
    try:
        yield held
    finally:
        held.release()


def free(path: Path) -> bool:
    """Whether nobody holds a claim; one that was left behind is removed."""
    try:
        seen = path.read_bytes()
    except FileNotFoundError:
        return True
    holder = files.read_holder(path)
    here = holder is not None and holder["host"] == socket.gethostname()
    if files.may_live(holder) if holder and here else not silent(path):
        return False
    aside = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.old")
    with suppress(FileNotFoundError):  # another machine took it over in this moment
        os.rename(path, aside)
        if aside.read_bytes() != seen:  # and what was moved aside was its new claim: put it back
            with suppress(FileExistsError):
                os.link(aside, path)
        os.unlink(aside)
    return not path.exists()


def holder_of(path: str | Path) -> str:
    """Who holds a claim, for people; empty where nobody does."""
    holder = files.read_holder(Path(path))
    return f"process {holder['pid']} on {holder['host']} since {holder.get('since', 'unknown')[:19]}" if holder else ""


def silent(path: Path) -> bool:
    """Whether a claim was not touched for `SILENCE` seconds, by the clock of the disk that it lies on."""
    probe = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.now")
    try:
        files.write_synced(probe, b"")
        return probe.stat().st_mtime - path.stat().st_mtime > SILENCE
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)
