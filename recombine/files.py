"""The one place that writes files: what is written survives a crash and a full disk.

A file or folder is written under a temporary name, synced, and renamed into place, so that at every moment a reader
finds the old content or the new one, whole. Saves go through `os`, where the tests inject their faults.
`recombine.locks` keeps other processes out, `recombine.manifest` finds what was damaged.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, TextIO

import numpy as np


class SaveFailed(OSError):
    """A save that did not happen; what was saved before is untouched, and trying again later is safe.

    Attributes:
        path: What should have been written.
        needed: Bytes it takes.
        free: Bytes the disk has left, or None where the folder is gone.
    """

    def __init__(self, path: Path, needed: int, free: int | None, error: OSError):
        self.path, self.needed, self.free = path, needed, free
        self.errno, self.reason = error.errno, error.strerror or str(error)
        super().__init__(error.errno, self.reason)

    def __str__(self) -> str:
        free = "an unknown amount" if self.free is None else f"{self.free / 1e6:.1f} MB"
        advice = {
            **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space on this disk"),
            errno.ENOENT: "the folder has vanished: mount its disk again or put it back",
        }.get(self.errno or 0, "check the disk and the folder's permissions")
        return (
            f"could not save {self.path}: {self.reason} ({self.needed / 1e6:.1f} MB needed, {free} free); "
            f"{advice}; what was saved before is untouched"
        )


class CannotWrite(OSError):
    """A folder that nothing can be written into; found at the start, before any work is done."""


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new one, never a mixture.

    Raises:
        OSError: The disk refused; the old content still stands.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write from its beginning to its end, synced then; until `publish` it stands under another name."""
    with open(beside(path, ".tmp"), "wb") as file:
        yield file
        sync(file)


def publish(path: Path) -> None:
    """Give a `new_file` its name, in the place of an older one."""
    os.replace(beside(path, ".tmp"), path)
    sync_folder(path.parent)


def open_log(path: Path) -> TextIO:
    """A text file to which lines are added; they last from the next `sync` on."""
    return open(path, "a", encoding="utf-8")


def open_reserved(path: Path, size: int) -> BinaryIO:
    """A file of `size` bytes to read and write at any place; it is made if need be, and its space reserved at once."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if hasattr(os, "posix_fallocate") and os.fstat(handle).st_size < size:
            os.posix_fallocate(handle, 0, size)
    except OSError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb+")


def write_folder(folder: str | Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of files, or replace it, as a whole; its parent must exist.

    The files are written beside it, into `<folder>.tmp`, in the order given, and read back. Where a folder is replaced
    it passes through `<folder>.old`; `standing` finds the right one if a crash falls between the two renames.

    Raises:
        SaveFailed: The disk refused; the old folder still stands, and the temporary one is removed.
    """
    folder = Path(folder)
    temporary = beside(folder, ".tmp")
    with save_errors(folder, sum(map(len, contents.values()))):
        try:
            found = standing(folder)
            if found is not None and found != folder:   # a crash fell between the two renames
                os.rename(found, folder)
                sync_folder(folder.parent)
            remove_folder(temporary)
            os.mkdir(temporary)
            for name, data in contents.items():
                write_synced(temporary / name, data)
                if (temporary / name).read_bytes() != data:
                    raise OSError(errno.EIO, f"{name} reads back differently from what was written")
            sync_folder(temporary)
            _swap_in(folder)
        except OSError:
            if folder.exists() or not beside(folder, ".old").exists():
                shutil.rmtree(temporary, ignore_errors=True)
            raise


def standing(folder: str | Path) -> Path | None:
    """Where the last complete version of a folder by `write_folder` stands; None if there is none.

    `<folder>.old` without `<folder>` means that a crash fell between two renames; `<folder>.tmp` was then complete.
    """
    folder = Path(folder)
    if folder.is_dir():
        return folder
    if not beside(folder, ".old").is_dir():
        return None
    return beside(folder, ".tmp") if beside(folder, ".tmp").is_dir() else beside(folder, ".old")


def remove_folder(folder: str | Path) -> None:
    """Remove a folder, if it exists, so that a crash leaves it whole or under a name ending in `.tmp`."""
    folder = Path(folder)
    if not folder.exists():
        return
    if folder.suffix != ".tmp":
        shutil.rmtree(beside(folder, ".tmp"), ignore_errors=True)
        os.rename(folder, beside(folder, ".tmp"))
        sync_folder(folder.parent)
        folder = beside(folder, ".tmp")
    shutil.rmtree(folder)


def discard(folder: str | Path) -> None:
    """`remove_folder`, where it does not matter if the disk refuses: what stays is removed another time."""
    with suppress(OSError):
        remove_folder(folder)


def make_folder(folder: str | Path) -> None:
    """Make a folder, if need be, inside one that exists, and wait until the disk has it."""
    if not Path(folder).is_dir():
        os.mkdir(folder)
        sync_folder(Path(folder).parent)


def digest(data: bytes | np.ndarray) -> str:
    """32 hexadecimal digits of a file's bytes or of pixels."""
    content = np.ascontiguousarray(data).data if isinstance(data, np.ndarray) else data
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def check_writable(folder: str | Path) -> None:
    """Make a folder, if need be, and write into it once, so that a run fails before its work and not after.

    Raises:
        CannotWrite: With the path and the reason.
    """
    folder = Path(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        probe = folder / f".writable.{os.getpid()}.tmp"
        write_synced(probe, b"x")
        os.unlink(probe)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotWrite(
            error.errno, f"cannot write into {folder.absolute()}: {reason}; name a folder that can be written to"
        ) from error


@contextmanager
def save_errors(path: Path, needed: int) -> Iterator[None]:
    """Turn what the disk refuses into `SaveFailed`, with the bytes needed and free."""
    try:
        yield
    except OSError as error:
        free = None
        with suppress(OSError):
            free = shutil.disk_usage(path.parent).free
        raise SaveFailed(path, needed, free, error) from error


def write_synced(path: Path, data: bytes, flags: int = os.O_TRUNC) -> None:
    """Write a file and wait until the disk has it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | flags, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            written = os.write(handle, rest)
            if written == 0:
                raise OSError(errno.EIO, "the disk took no more bytes", str(path))
            rest = rest[written:]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync(file: IO) -> None:
    """Wait until the disk has what was written to an open file."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder."""
    if os.name == "nt":  # Windows cannot, and keeps the order of renames itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _swap_in(folder: Path) -> None:
    """Put the finished `<folder>.tmp` in the place of `folder`."""
    old = beside(folder, ".old")
    if folder.exists():
        if old.exists():
            shutil.rmtree(old)
        os.rename(folder, old)
    try:
        os.rename(beside(folder, ".tmp"), folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def beside(folder: Path, ending: str) -> Path:
    """The same path with an ending after its name."""
    return folder.with_name(folder.name + ending)
