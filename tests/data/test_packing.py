import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recombine.data import packing, workers
from recombine.data.decoding import BadImage, decode, decode_noted
from recombine.data.packed import BadPack, Pack
from recombine.data.packing import BadImages, pack, stale
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.data.sources.labels import LabelTable
from recombine.data.sources.source import Source
from recombine.files import SaveFailed
from recombine.locks import Locked, lock

SCHEMA = Schema(height=16, width=16)
LAMP = Attribute("lamp", "binary", ("0", "1"))


def source(root, count=12, splits="half", attribute=LAMP):
    """`count` different PNG files, labelled in turn."""
    root.mkdir(exist_ok=True)
    files = [f"{i:03d} ä.png" for i in range(count)]
    for i, file in enumerate(files):
        if not (root / file).exists():
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 24, 3), np.uint8)).save(root / file)
    column = np.arange(count) % 2
    halves = np.array(["train" if i < count / 2 else "test" for i in range(count)]) if splits == "half" else splits
    return Source(root, LabelTable((attribute,), files, {attribute.name: column}, halves), [])


def packed(data, folder, **more):
    return pack(data, folder, **{"schema": SCHEMA, "workers": 1, "progress": False} | more)


def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_picture_is_decoded_as_by_hand(tmp_path):
    data = source(tmp_path / "in")
    result = packed(data, tmp_path / "out")
    assert result.files == data.table.files and result.schema == replace(SCHEMA, attributes=(LAMP,))
    for row, file in enumerate(result.files):
        assert np.array_equal(result.images[row], decode(data.root / file, SCHEMA))
    assert np.array_equal(result.labels["lamp"], data.table.columns["lamp"]) and list(result.splits) == list(data.table.splits)
    assert sorted(path.name for path in result.path.iterdir()) == [
        "images.npy", "index.parquet", "manifest.json", "problems.json", "schema.json",
    ]  # fmt: skip
    status = (data.root / result.files[0]).stat()
    assert (result.index["source_size"][0], result.index["source_time"][0]) == (status.st_size, status.st_mtime_ns)
    result.verify()


def test_splits_are_made_by_group_where_the_table_has_none(tmp_path):
    person = Attribute("person", "group", tuple("abcdefghijkl"))
    data = source(tmp_path / "in", 24, splits=None, attribute=person)
    data.table.columns["person"][:] = np.arange(24) // 2
    result = packed(data, tmp_path / "out", seed=4)
    assert {"train", "val", "test"} == set(result.splits)
    assert (result.splits[0::2] == result.splits[1::2]).all()


def test_processes_give_the_same_pack(tmp_path, monkeypatch):
    data = source(tmp_path / "in", 40)
    (data.root / data.table.files[7]).write_bytes(b"<html>")
    one = packed(data, tmp_path / "one", on_bad="skip")
    monkeypatch.setattr(workers, "FEW", 0)
    monkeypatch.setattr(workers, "CHUNK", 4)
    assert everything(packed(data, tmp_path / "two", workers=2, on_bad="skip").path) == everything(one.path)


def spoil(data):
    """Three of twelve images cannot be used."""
    root, files = data.root, data.table.files
    (root / files[2]).write_bytes((root / files[2]).read_bytes()[:300])
    (root / files[5]).write_bytes(b"<!doctype html>")
    (root / files[9]).unlink()
    return {files[2], files[5], files[9]}


def test_bad_pictures_are_all_named_after_everything_was_read(tmp_path):
    data = source(tmp_path / "in")
    bad = spoil(data)
    with pytest.raises(BadImages, match=r"3 of 12 images cannot be used \(.*not an image 1.*on_bad='skip'") as error:
        packed(data, tmp_path / "out")
    assert "002 ä.png: is cut off" in str(error.value) and "005 ä.png: is an HTML page" in str(error.value)
    assert {problem["file"] for problem in error.value.problems} == bad
    assert {problem["kind"] for problem in error.value.problems} == {"truncated", "not an image", "unreadable"}
    assert len(json.loads((tmp_path / "out/problems.json").read_text())["excluded"]) == 3
    with pytest.raises(BadPack, match="no manifest"):
        Pack(tmp_path / "out")


def test_bad_pictures_are_left_out_where_asked_without_reading_the_others_again(tmp_path, monkeypatch):
    data = source(tmp_path / "in")
    bad = spoil(data)
    with pytest.raises(BadImages):
        packed(data, tmp_path / "out")
    seen = watched(monkeypatch)
    result = packed(data, tmp_path / "out", on_bad="skip")
    assert seen() == bad
    kept = [row for row, file in enumerate(data.table.files) if file not in bad]
    assert result.files == [data.table.files[row] for row in kept]
    assert np.array_equal(result.labels["lamp"], data.table.columns["lamp"][kept])
    assert np.array_equal(result.images[-1], decode(data.root / data.table.files[-1], SCHEMA))
    assert {problem["file"] for problem in result.problems()["excluded"]} == bad


def watched(monkeypatch):
    """The files that are decoded from now on."""
    seen, one = set(), workers.Job.one
    monkeypatch.setattr(workers.Job, "one", lambda job, file: seen.add(file) or one(job, file))
    return lambda: {seen.pop() for _ in range(len(seen))}


def test_only_what_changed_is_read_again(tmp_path, monkeypatch):
    data = source(tmp_path / "in")
    before = packed(data, tmp_path / "out")
    seen = watched(monkeypatch)
    assert packed(data, tmp_path / "out").fingerprint == before.fingerprint and not seen()
    changed = data.table.files[3]
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(data.root / changed)
    assert stale(before, data.root) == [changed]
    after = packed(data, tmp_path / "out")
    assert seen() == {changed} and after.problems()["changed"] == [changed]
    assert (after.images[3] == 0).all() and np.array_equal(after.images[4], before.images[4])
    assert after.fingerprint != before.fingerprint
    after.verify()


def test_a_change_that_keeps_size_and_time_is_found_with_verify(tmp_path, monkeypatch):
    data = source(tmp_path / "in")
    before = packed(data, tmp_path / "out")
    path = data.root / data.table.files[3]
    content, status = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stale(before, data.root) == [] and stale(before, data.root, verify=True) == [data.table.files[3]]
    seen = watched(monkeypatch)
    packed(data, tmp_path / "out")
    assert not seen()
    packed(data, tmp_path / "out", verify=True)
    assert seen() == {data.table.files[3]}


def test_new_labels_pictures_and_order_are_taken_over_without_decoding(tmp_path, monkeypatch):
    data = source(tmp_path / "in")
    packed(data, tmp_path / "out")
    seen = watched(monkeypatch)
    data.table.columns["lamp"][0] = MISSING
    assert packed(data, tmp_path / "out").labels["lamp"][0] == MISSING and not seen()
    more = source(tmp_path / "in", 14)
    result = packed(Source(more.root, more.table.take(np.arange(14)[::-1]), []), tmp_path / "out")
    assert seen() == set(more.table.files[12:]) and result.files == more.table.files[::-1]
    assert np.array_equal(result.images[-1], decode(more.root / more.table.files[0], SCHEMA))


def test_another_preparation_reads_everything_again(tmp_path, monkeypatch):
    data = source(tmp_path / "in")
    packed(data, tmp_path / "out")
    seen = watched(monkeypatch)
    result = packed(data, tmp_path / "out", schema=replace(SCHEMA, fit="letterbox"))
    assert seen() == set(data.table.files) and result.schema.fit == "letterbox"


def test_left_out_pictures_are_tried_again_when_they_are_repaired(tmp_path, monkeypatch):
    data = source(tmp_path / "in")
    good = (data.root / data.table.files[5]).read_bytes()
    spoil(data)
    packed(data, tmp_path / "out", on_bad="skip")
    seen = watched(monkeypatch)
    assert len(packed(data, tmp_path / "out", on_bad="skip")) == 9 and not seen()
    (data.root / data.table.files[5]).write_bytes(good)
    assert data.table.files[5] in packed(data, tmp_path / "out", on_bad="skip").files


def test_cut_jpegs_are_kept_and_flagged_where_asked(tmp_path):
    data = source(tmp_path / "in")
    path = data.root / data.table.files[0]
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path, "JPEG", quality=95)
    path.write_bytes(path.read_bytes()[:4000])
    result = packed(data, tmp_path / "out", allow_truncated=True)
    assert result.problems()["notes"] == [{"file": path.name, "notes": ["was cut off; the lower part is grey"]}]


def test_labels_are_recoded_to_a_schema_that_is_given(tmp_path):
    colour = Attribute("colour", "categorical", ("blue", "red"))
    data = source(tmp_path / "in", attribute=colour)
    data.table.columns["colour"][0] = MISSING
    wanted = Attribute("colour", "categorical", ("red", "green", "blue"))
    result = packed(data, tmp_path / "out", schema=replace(SCHEMA, attributes=(wanted,)))
    assert result.labels["colour"][:4].tolist() == [MISSING, 0, 2, 0]
    with pytest.raises(ValueError, match="colour has no value 'blue'; it has red, green"):
        packed(data, tmp_path / "out", schema=replace(SCHEMA, attributes=(replace(wanted, values=("red", "green")),)))
    with pytest.raises(ValueError, match=r"the table has no 'color'; it has colour; did you mean 'colour'"):
        packed(data, tmp_path / "out", schema=replace(SCHEMA, attributes=(replace(wanted, name="color"),)))
    with pytest.raises(ValueError, match="colour is categorical in the table and group in the schema"):
        packed(data, tmp_path / "out", schema=replace(SCHEMA, attributes=(replace(wanted, kind="group"),)))


def test_the_same_picture_twice_and_nearly_the_same_across_splits_are_reported(tmp_path):
    data = source(tmp_path / "in")
    root, files = data.root, data.table.files
    (root / files[1]).write_bytes((root / files[0]).read_bytes())            # the same, both in train
    y, x = np.mgrid[0:64, 0:64]
    wave = np.stack([128 + 100 * np.sin(x / 9 + k) * np.cos(y / 7) for k in range(3)], -1).astype(np.uint8)
    for file, levels in ((files[4], 0), (files[10], 3), (files[5], 2)):      # train, test, train
        Image.fromarray(wave + np.uint8(levels)).save(root / file)
    found = packed(data, tmp_path / "out").problems()["duplicates"]
    assert [entry["kind"] for entry in found] == ["same", "nearly the same", "nearly the same"]
    assert found[0] == {"kind": "same", "files": files[:2], "splits": ["train", "train"]}
    assert sorted(entry["files"] for entry in found[1:]) == [[files[4], files[10]], [files[5], files[10]]]


def test_two_packings_of_one_folder_do_not_mix(tmp_path):
    data = source(tmp_path / "in")
    (tmp_path / "out").mkdir()
    with lock(tmp_path / "out"), pytest.raises(Locked, match="is in use by process"):
        packed(data, tmp_path / "out")


def test_a_full_disk_is_named_and_what_is_done_is_kept(tmp_path, monkeypatch):
    data = source(tmp_path / "in")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(SaveFailed, match=r"images.part: No space left on device .*free some space"):
            packed(data, tmp_path / "out")
    assert len(packed(data, tmp_path / "out")) == 12


def test_an_own_decoder_reads_other_formats_and_is_held_to_the_shape(tmp_path):
    data = source(tmp_path / "in")

    def flat(content, schema, allow_truncated):
        return np.full((3, 16, 16), len(content) % 256, np.uint8), []

    result = packed(data, tmp_path / "out", decoder=flat)
    assert (result.images[0] == (data.root / data.table.files[0]).stat().st_size % 256).all()
    with pytest.raises(ValueError, match=r"must give \(3, 16, 16\) of uint8, it gave \(3, 8, 8\) of uint8 for 000"):
        packed(data, tmp_path / "other", decoder=lambda *_: (np.zeros((3, 8, 8), np.uint8), []))


def test_a_picture_that_kills_its_process_is_named_and_the_others_survive(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "FEW", 0)
    monkeypatch.setattr(workers, "CHUNK", 3)
    data = source(tmp_path / "in")
    (data.root / data.table.files[4]).write_bytes(b"deadly")

    def deadly(content, schema, allow_truncated):  # inside the test, so that workers need not import this file
        if content == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return decode_noted(content, schema, allow_truncated)

    result = packed(data, tmp_path / "out", workers=2, on_bad="skip", decoder=deadly)
    assert [(p["file"], p["kind"]) for p in result.problems()["excluded"]] == [(data.table.files[4], "deadly")]
    assert "died twice" in result.problems()["excluded"][0]["reason"]
    assert len(result) == 11 and np.array_equal(result.images[4], decode(data.root / data.table.files[5], SCHEMA))


SLOW = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from test_packing import SCHEMA, decode_noted, pack, packing, source

    packing.EVERY = 0.0

    def slowly(*arguments):
        time.sleep(0.02)
        return decode_noted(*arguments)

    slowly.__qualname__ = decode_noted.__qualname__
    from recombine.data import workers
    workers.CHUNK = 1
    pack(source(Path({root!r}), 60), {out!r}, SCHEMA, workers=1, progress=False, decoder=slowly)
"""


@pytest.mark.slow
def test_a_packing_that_is_killed_goes_on_and_equals_one_that_was_not(tmp_path, monkeypatch):
    data, out = source(tmp_path / "in", 60), tmp_path / "out"
    whole = packed(data, tmp_path / "whole")
    script = textwrap.dedent(SLOW).format(here=os.path.dirname(__file__), root=str(tmp_path / "in"), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": os.getcwd()})
    journal = out / packing.JOURNAL
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 15:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(BadPack, match="no manifest"):
        Pack(out)
    seen = watched(monkeypatch)
    assert everything(packed(data, out).path) == everything(whole.path)
    assert 0 < len(seen()) <= 46


def interrupted(data, out, after, **more):
    """A packing that stops after some images, as by Ctrl-C."""
    count = iter(range(1000))

    def stopping(*arguments):
        if next(count) == after:
            raise KeyboardInterrupt
        return decode_noted(*arguments)

    stopping.__qualname__ = decode_noted.__qualname__
    with pytest.raises(KeyboardInterrupt):
        packed(data, out, decoder=stopping, **more)


def test_a_torn_journal_and_lost_pixels_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 1)
    data, out = source(tmp_path / "in"), tmp_path / "out"
    whole = packed(data, tmp_path / "whole")
    interrupted(data, out, after=8)
    journal = out / packing.JOURNAL
    journal.write_bytes(journal.read_bytes()[:-10])      # the eighth line is torn
    with open(out / packing.PART, "rb+") as part:
        part.seek(2 * 16 * 16 * 3)
        part.write(bytes(16 * 16 * 3))                   # the third image never reached the disk
    (data.root / data.table.files[5]).touch()            # and the sixth was changed since
    seen = watched(monkeypatch)
    result = packed(data, out)
    assert seen() == {data.table.files[row] for row in (2, 5, 7, 8, 9, 10, 11)}
    assert np.array_equal(result.images, whole.images)


def test_a_journal_of_something_else_is_thrown_away(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CHUNK", 1)
    data, out = source(tmp_path / "in"), tmp_path / "out"
    interrupted(data, out, after=8)
    seen = watched(monkeypatch)
    result = packed(data, out, schema=replace(SCHEMA, fit="stretch"))
    assert seen() == set(data.table.files)
    assert np.array_equal(result.images[0], decode(data.root / data.table.files[0], replace(SCHEMA, fit="stretch")))


def test_nothing_but_bad_pictures_is_an_error_whatever_is_asked(tmp_path):
    data = source(tmp_path / "in", 2)
    for file in data.table.files:
        (data.root / file).write_bytes(b"")
    with pytest.raises(BadImages, match="2 of 2 images cannot be used"):
        packed(data, tmp_path / "out", on_bad="skip")


def test_a_name_that_is_not_utf8_is_named(tmp_path):
    job = workers.Job(tmp_path, SCHEMA)
    entry, pixels = job.one("a\udcff.png")
    assert pixels is None and entry.reason == "its name is not valid UTF-8; rename it" and not entry.fresh(job.root)


def test_bad_images_survive_the_way_between_processes():
    import pickle

    error = pickle.loads(pickle.dumps(BadImage("a.png", "is bad", "odd")))
    assert (error.path, error.reason, error.kind, str(error)) == ("a.png", "is bad", "odd", "a.png: is bad")


def test_the_bar_goes_to_the_end(tmp_path, capsys):
    packed(source(tmp_path / "in"), tmp_path / "out", progress=True)
    out, err = capsys.readouterr()
    assert "12/12" in err and not out
