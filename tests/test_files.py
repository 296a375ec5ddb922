"""Writes and folders. Faults of the disk are in test_crashes.py."""

import errno
import hashlib
import os
import resource
import shutil
from pathlib import Path

import pytest

from recombine import files
from recombine.files import CannotWrite, SaveFailed


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    files.write_bytes(tmp_path / "a.bin", b"old")
    files.write_bytes(tmp_path / "a.bin", b"new")
    files.write_text(tmp_path / "b.txt", "Zoë")
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert (tmp_path / "b.txt").read_bytes() == "Zoë".encode()
    assert names(tmp_path) == ["a.bin", "b.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    files.write_folder(tmp_path / "model", {"a": b"1", "b": b"2"})
    files.write_folder(tmp_path / "model", {"c": b"3", "empty": b""})
    assert names(tmp_path) == ["model"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == {"c": b"3", "empty": b""}


def test_standing_knows_what_a_crash_between_two_renames_left(tmp_path):
    folder = tmp_path / "model"
    assert files.standing(folder) is None
    (tmp_path / "model.tmp").mkdir()
    assert files.standing(folder) is None, "a first save that was not finished"
    (tmp_path / "model.old").mkdir()
    assert files.standing(folder) == tmp_path / "model.tmp"
    (tmp_path / "model.tmp").rmdir()
    assert files.standing(folder) == tmp_path / "model.old"
    folder.mkdir()
    assert files.standing(folder) == folder


def test_sha256_is_that_of_the_bytes(tmp_path):
    data = os.urandom(files.CHUNK + 17)
    (tmp_path / "a").write_bytes(data)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()


def test_folders_are_made_one_level_deep(tmp_path):
    files.make_folder(tmp_path / "a")
    files.make_folder(tmp_path / "a")
    assert names(tmp_path) == ["a"]
    with pytest.raises(FileNotFoundError):
        files.make_folder(tmp_path / "gone" / "b")


def test_a_real_limit_in_the_middle_of_a_file_keeps_the_old_folder(tmp_path):
    files.write_folder(tmp_path / "model", {"weights": b"old"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SaveFailed, match=r"could not save .*model: File too large \(0\.3 MB needed, .* MB free\)") as caught:
            files.write_folder(tmp_path / "model", {"weights": bytes(300_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG and caught.value.needed == 300_000 and caught.value.free > 0
    assert names(tmp_path) == ["model"] and (tmp_path / "model" / "weights").read_bytes() == b"old"


def test_a_vanished_folder_is_named_and_not_made_again(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    files.write_folder(run / "model", {"a": b"1"})
    shutil.rmtree(run)
    with pytest.raises(SaveFailed, match="the folder has vanished: mount its disk again") as caught:
        files.write_folder(run / "model", {"a": b"2"})
    assert caught.value.free is None and not run.exists()


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    files.check_writable(tmp_path / "runs" / "new")
    assert names(tmp_path / "runs" / "new") == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(CannotWrite, match=r"cannot write into .*/runs/new: Not a directory; name a folder"):
        files.check_writable(tmp_path / "runs" / "new")


def test_a_read_only_disk_is_found_at_the_start(tmp_path, monkeypatch):
    def refuse(*_args):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        with pytest.raises(CannotWrite, match=f"cannot write into {tmp_path}: Read-only file system") as caught:
            files.check_writable(tmp_path)
    assert caught.value.errno == errno.EROFS
