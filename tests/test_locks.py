"""Locks and leases: which process may work in a folder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recombine import locks
from recombine.locks import Locked

HOLD = "import sys, time; from recombine import locks\nwith locks.lock(sys.argv[1]): print('held', flush=True); time.sleep(60)"
RACE = """
import os, sys, time
from recombine import locks
start = time.time() + 0.3
for _ in range(8):
    if os.fork() == 0:
        time.sleep(start - time.time())
        try:
            with locks.lock(sys.argv[1]):
                os.write(1, b"held\\n")
                time.sleep(0.5)
        except locks.Locked:
            os.write(1, b"refused\\n")
        os._exit(0)
for _ in range(8):
    os.wait()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leave_lock(folder: Path, **changes: object) -> Path:
    (folder / "lock").write_text(json.dumps({**locks.myself(), "since": "2026-01-01 10:00:00", **changes}))
    return folder / "lock"


def test_a_lock_is_gone_when_its_run_ends_even_by_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locks.lock(tmp_path):
        assert names(tmp_path) == ["lock"]
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_second_lock_in_one_process_is_refused(tmp_path):
    with locks.lock(tmp_path), pytest.raises(Locked, match=rf"in use by process {os.getpid()} on .* since 20.*; stop that run"):
        with locks.lock(tmp_path):
            pass
    with locks.lock(tmp_path):
        pass


def test_a_live_process_is_named_and_a_killed_one_taken_over(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=f"process {holder.pid} on"), locks.lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the table of processes
        assert (tmp_path / "lock").exists()
        with locks.lock(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize(
    "changes",
    [{"boot": "another boot"}, {"started": "1"}, {"pid": 2**22 + 5, "started": ""}],
    ids=["rebooted", "the number was given to another process", "no such process"],
)
def test_a_stale_lock_is_taken_over(tmp_path, changes):
    leave_lock(tmp_path, **changes)
    with locks.lock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text()).items() >= locks.myself().items()


@pytest.mark.parametrize("left", ["", '{"pid": 1', "[]", '{"pid": 1}', '{"pid": "x", "host": "", "boot": "", "started": ""}'])
def test_half_a_lock_is_no_lock(tmp_path, left):
    (tmp_path / "lock").write_text(left)
    with locks.lock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_another_machine_is_refused_and_the_way_out_is_said(tmp_path):
    path = leave_lock(tmp_path, host="elsewhere", pid=7, boot="another boot")
    with pytest.raises(Locked, match=rf"process 7 on elsewhere since 2026-01-01 10:00:00, .*if that run is gone, delete {path}"):
        with locks.lock(tmp_path):
            pass
    assert path.exists()


def test_a_lock_that_was_taken_over_is_not_removed(tmp_path):
    with locks.lock(tmp_path):
        path = leave_lock(tmp_path, host="elsewhere")
    assert path.exists()


def test_of_many_starts_at_once_one_gets_a_stale_lock(tmp_path):
    leave_lock(tmp_path, boot="another boot")
    done = subprocess.run([sys.executable, "-c", RACE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=30)
    assert sorted(done.stdout.split()) == ["held", *["refused"] * 7]


def test_a_run_that_holds_the_lease_takes_over_a_lock_that_cannot_be_seen(tmp_path):
    path = leave_lock(tmp_path, host="elsewhere")
    held = locks.take(tmp_path / locks.LEASE)
    with locks.lock(tmp_path), pytest.raises(Locked, match=f"process {os.getpid()} on"), locks.lock(tmp_path):
        pass
    leave_lock(tmp_path, host="elsewhere")
    held.release()
    with pytest.raises(Locked, match="on elsewhere"), locks.lock(tmp_path):
        pass
    assert path.exists()


def test_the_lease_of_another_process_gives_no_right_to_the_lock(tmp_path):
    leave_lock(tmp_path, host="elsewhere")
    (tmp_path / locks.LEASE).write_text(json.dumps({**locks.myself(), "pid": 1}))
    with pytest.raises(Locked, match="on elsewhere"), locks.lock(tmp_path):
        pass


def test_a_lease_is_held_by_one(tmp_path):
    held = locks.take(tmp_path / "claim")
    assert held.held() and locks.take(tmp_path / "claim") is None
    assert f"process {os.getpid()} on " in locks.holder_of(tmp_path / "claim")
    held.release()
    assert list(tmp_path.iterdir()) == [] and locks.take(tmp_path / "claim") is not None


def test_a_lease_of_another_machine_is_taken_over_after_its_silence(tmp_path, monkeypatch):
    path = tmp_path / "claim"
    path.write_text(json.dumps({**locks.myself(), "host": "elsewhere"}))
    assert locks.take(path) is None
    os.utime(path, (0, path.stat().st_mtime - locks.SILENCE - 5))
    assert locks.take(path).held()
    assert [entry.name for entry in tmp_path.iterdir()] == ["claim"]


def test_half_a_lease_counts_as_held_until_its_silence(tmp_path):
    path = tmp_path / "claim"
    path.write_text('{"pid": 1')
    assert locks.take(path) is None
    os.utime(path, (0, path.stat().st_mtime - locks.SILENCE - 5))
    assert locks.take(path) is not None


def test_a_lease_gives_signs_of_life_and_leaves_its_successors_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    held = locks.take(tmp_path / "claim")
    os.utime(tmp_path / "claim", (0, 0))
    for _ in range(200):
        if (tmp_path / "claim").stat().st_mtime > 0:
            break
        held.over.wait(0.01)
    assert (tmp_path / "claim").stat().st_mtime > 0
    (tmp_path / "claim").write_text("another's")
    held.release()
    assert (tmp_path / "claim").read_text() == "another's"


def test_a_lease_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LOOK", 0.01)
    other, waits = locks.take(tmp_path / "claim"), []
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: (waits.append(seconds), other.release()))
    with locks.waiting(tmp_path / "claim") as held:
        assert held.held() and waits == [0.01]
    assert not (tmp_path / "claim").exists()
