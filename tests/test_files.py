"""Writes and folders. Faults of the disk are in test_crashes.py."""

import ast
import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

import recombine
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


OF_OS = {"os.rename", "os.renames", "os.replace", "os.fsync", "os.link", "os.symlink", "os.truncate", "os.posix_fallocate"}
OF_PATHS = {"rename", "hardlink_to", "symlink_to", "touch", "write_text", "write_bytes", "tofile", "save_file", "to_csv"}


def writes(source: str) -> list[str]:
    """What in a module renames, syncs, or opens a file for writing, except through `recombine.files`."""
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and is_writing(node)]


def is_writing(call: ast.Call) -> bool:
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if name == "open":
        given = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
        return any(isinstance(mode, str) and set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in given)
    return f"{owner}.{name}" in OF_OS or (name in OF_PATHS and owner not in ("", "files"))


@pytest.mark.parametrize("source", [
    "open(path, 'w')", "path.open('ab')", "open(path, mode='rb+')", "os.replace(a, b)", "a.rename(b)", "os.fsync(1)",
    "os.link(a, b)", "path.write_text('')", "(a / 'b').write_bytes(b'')", "path.touch()", "safetensors.torch.save_file(t, path)",
])  # fmt: skip
def test_the_search_for_writing_finds_it(source):
    assert writes(source)
    assert writes("files.write_text(a, b)\nopen(a)\nopen(a, 'rb')\na.replace('b', 'c')\nreplace(a, **b)\nfiles.new_file(a)") == []


def test_nothing_else_in_the_package_writes_files():
    package = Path(recombine.__file__).parent
    modules = {str(path.relative_to(package)): writes(path.read_text()) for path in sorted(package.rglob("*.py"))}
    assert len(modules) > 50 and modules.pop("files.py") and modules.pop("locks.py")
    assert {name: found for name, found in modules.items() if found} == {}
