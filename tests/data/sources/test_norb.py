"""Small NORB's binary files, made up here in small."""

import json
import shutil
import struct

import numpy as np
import pytest
from norb_files import MAGIC, STEM, part, write

from recombine.cli import main
from recombine.data import packing
from recombine.data.packed import Pack
from recombine.data.schema import Schema
from recombine.data.sources.cells import BadTable
from recombine.data.sources.folder import read_source
from recombine.data.sources.source import SourceOptions


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("norb")
    return folder, part(folder, "training", (4, 6), 1), part(folder, "testing", (0, 1), 2)


@pytest.fixture
def norb(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made[0], tmp_path / "norb")


def test_labels_are_read_and_splits_are_the_files(made):
    folder, (rows, _), (tests, _) = made
    source = read_source(folder)
    table = source.table
    assert [(a.name, a.kind) for a in table.attributes] == [
        *(("category", "categorical"), ("instance", "group"), ("elevation", "continuous")),
        *(("azimuth", "categorical"), ("lighting", "categorical")),
    ]
    assert table["category"].values == ("animal", "car", "human", "plane", "truck")
    assert table["azimuth"].values == ("0", "20", "340") and table["elevation"].low == 30 and table["elevation"].high == 70
    category = ("animal", "human", "plane", "truck", "car")
    for place, row in ((0, rows[0]), (7, rows[7]), (len(rows) + 3, tests[3])):
        assert table["category"].values[table.columns["category"][place]] == category[row[0]]
        assert table["instance"].values[table.columns["instance"][place]] == f"{category[row[0]]} {row[1]}"
        assert table.columns["elevation"][place] == 30 + 5 * row[2]
        assert table["azimuth"].values[table.columns["azimuth"][place]] == str(10 * row[3])
        assert table["lighting"].values[table.columns["lighting"][place]] == str(row[4])
    assert table.splits.tolist() == ["train"] * len(rows) + ["test"] * len(tests)
    assert any("train without mirroring" in str(note) for note in source.notes if note.level == "warning")


@pytest.mark.parametrize(("eye", "which"), [("left", [0]), ("right", [1]), ("both", [0, 1])])
def test_the_chosen_eye_is_packed_unchanged(made, tmp_path, eye, which):
    folder, (_, train), (_, test) = made
    source = read_source(folder, SourceOptions(eye=eye))
    packed = packing.pack(source, tmp_path / "pack", Schema(height=96, width=96, channels=1), progress=False)
    expected = np.concatenate([train, test])[:, which].reshape(-1, 1, 96, 96)
    assert np.array_equal(packed.images, expected) and len(packed) == len(source.table)
    assert ("eye" in packed.schema.names) == (eye == "both")
    if eye == "both":
        assert packed.schema["eye"].mirror == (("left", "right"),)
        assert packed.files[:2] == ["training/00000-left", "training/00000-right"]


def test_one_part_alone_is_split_by_instance(made, tmp_path):
    (tmp_path / "deep").mkdir()
    for file in made[0].glob("*training*"):
        shutil.copy(file, tmp_path / "deep" / file.name)
    source = read_source(tmp_path)
    assert source.table.splits is None
    packed = packing.pack(source, tmp_path / "pack", Schema(height=16, width=16), progress=False)
    owners = [set(packed.labels["instance"][packed.rows(split)]) for split in ("train", "val", "test")]
    assert all(owners) and sum(map(len, owners)) == 10 and packed.images.shape[1:] == (3, 16, 16)


def test_data_reports_and_packs_and_packs_no_second_time(made, tmp_path, capsys):
    command = ["data", str(made[0]), "--pack", str(tmp_path / "pack"), "--size", "32", "--kind", "elevation=categorical"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 240 and found["splits"] == {"train": 120, "val": 0, "test": 120}
    assert found["looks"] == {"pictures": 240, "grey": 240, "16 bits": 0, "sizes": {"96x96": 240}}
    pack = Pack(tmp_path / "pack")
    assert pack.schema.channels == 1 and pack.schema["elevation"].values == ("30", "70")
    written = (tmp_path / "pack" / "images.npy").stat().st_mtime_ns
    assert main([*command, "--json"]) == 0
    assert (tmp_path / "pack" / "images.npy").stat().st_mtime_ns == written
    assert main(["data", str(made[0])]) == 0


def damaged(folder, kind, change):
    path = folder / f"{STEM}-training-{kind}.mat"
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("dat", lambda b: b"MATL" + b[4:], r"training-dat.mat begins with 0x4C54414D; expected 0x1E3D4C55, NORB's mark of a matrix of uint8"),
        ("dat", lambda b: b"", r"dat.mat begins with 0 bytes; expected 0x1E3D4C55"),
        ("dat", lambda b: b[:-5], r"dat.mat has 2211859 bytes; expected 2211864 for 120 x 2 x 96 x 96 of uint8; fetch it again"),
        ("cat", lambda b: b + b"\0", r"cat.mat has 501 bytes; expected 500 for 120 of int32"),
        ("cat", lambda b: struct.pack("<i", MAGIC["float32"]) + b[4:], r"cat.mat holds float32; expected int32 \(0x1E3D4C54\)"),
        ("info", lambda b: b[:8], r"info.mat is a matrix of no size; expected any x 4"),
        ("cat", lambda b: b[:20] + struct.pack("<i", 5) + b[24:], r"cat.mat row 0, column 0 holds 5; expected 0 to 4"),
        ("info", lambda b: b[:24] + struct.pack("<i", -1) + b[28:], r"info.mat row 0, column 1 holds -1; expected 0 to 8"),
    ],
)
def test_what_is_no_such_matrix_says_what_was_expected(norb, kind, change, text):
    damaged(norb, kind, change)
    with pytest.raises(BadTable, match=text):
        read_source(norb)


def test_files_that_do_not_belong_together(norb):
    shutil.copy(norb / f"{STEM}-training-cat.mat", norb / f"{STEM}-training-info.mat")
    with pytest.raises(BadTable, match=r"info.mat is a matrix of 120; expected any x 4; is it another file, renamed"):
        read_source(norb)
    write(norb / f"{STEM}-training-info.mat", np.zeros((7, 4), np.int32))
    with pytest.raises(BadTable, match="training files have 120 pairs, 120 categories and 7 lines of info"):
        read_source(norb)
    (norb / f"{STEM}-training-info.mat").rename(norb / f"{STEM}-training-info.mat.gz")
    with pytest.raises(BadTable, match=r"info.mat.gz is compressed; expected .*info.mat: unpack it with gunzip"):
        read_source(norb)
    (norb / f"{STEM}-training-info.mat.gz").unlink()
    with pytest.raises(BadTable, match=r"training part lacks its file ...-training-info.mat; expected three"):
        read_source(norb)
