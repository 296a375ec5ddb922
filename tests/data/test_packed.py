import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from recombine.data import compact
from recombine.data.packed import BadPack, Pack, mirrored, write_pack
from recombine.data.schema import MISSING, Attribute, Schema

SCHEMA = Schema(
    (
        Attribute("lamp", "binary", ("0", "1")),
        Attribute("side", "categorical", ("left", "front", "right"), mirror=(("left", "right"),)),
        Attribute("parting", "binary", ("0", "1"), mirror="negate"),
        Attribute("yaw", "continuous", low=-1, high=1, mirror="negate"),
    ),
    height=4,
    width=6,
)
LABELS = {
    "lamp": [0, 1, MISSING, 1],
    "side": [0, 1, 2, MISSING],
    "parting": [0, 1, MISSING, 1],
    "yaw": [0.25, np.nan, -1.0, 0.5],
}
FILES = ["a.png", "Zoë 😀/b c.png", "new\nline.png", "d.png"]
SPLITS = ["train", "train", "val", "test"]


def pictures(count=4, schema=SCHEMA, seed=0):
    shape = (count, schema.channels, schema.height, schema.width)
    return np.random.default_rng(seed).integers(0, 2**schema.bits, shape).astype(f"u{schema.bits // 8}")


def write(folder, schema=SCHEMA, images=None, labels=LABELS, splits=SPLITS):
    return write_pack(folder, pictures(schema=schema) if images is None else images, schema, FILES, labels, splits)


def test_what_is_written_is_read_again(tmp_path):
    write(tmp_path / "pack")
    pack = Pack(tmp_path / "pack")
    assert len(pack) == 4 and pack.files == FILES and pack.schema == SCHEMA and list(pack.splits) == SPLITS
    for name, column in LABELS.items():
        assert np.array_equal(pack.labels[name], np.asarray(column, pack.labels[name].dtype), equal_nan=True)
    assert pack.rows("train").tolist() == [0, 1] and pack.rows().tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="a split is one of train, val, test, not 'training'"):
        pack.rows("training")
    pack.verify()


@pytest.mark.parametrize("schema", [SCHEMA, replace(SCHEMA, bits=16), replace(SCHEMA, channels=1), replace(SCHEMA, channels=5)])
def test_pictures_come_out_as_floats_in_minus_one_to_one(tmp_path, schema):
    images = pictures(schema=schema)
    images.flat[0], images.flat[1] = 0, 2**schema.bits - 1
    batch = write(tmp_path / "pack", schema, images).batch([2, 0, 2])
    expected = images[[2, 0, 2]].astype(np.float64) / (2**schema.bits - 1) * 2 - 1
    assert batch.images.dtype == torch.float32 and np.abs(batch.images.numpy() - expected).max() < 1e-6
    assert batch.images[1].flatten()[:2].tolist() == [-1, 1]
    assert batch.rows.tolist() == [2, 0, 2]


def test_missing_labels_are_masked_and_safe_to_compute_with(tmp_path):
    batch = write(tmp_path / "pack").batch([0, 1, 2, 3])
    assert batch.known["lamp"].tolist() == [True, True, False, True]
    assert batch.labels["lamp"].tolist() == [0, 1, 0, 1] and batch.labels["lamp"].dtype == torch.int64
    assert batch.known["yaw"].tolist() == [True, False, True, True]
    assert batch.labels["yaw"].tolist() == [0.25, 0, -1, 0.5] and batch.labels["yaw"].dtype == torch.float32


def test_a_mirrored_picture_has_mirrored_labels_and_missing_stays_missing(tmp_path):
    pack = write(tmp_path / "pack")
    plain, mirrored = pack.batch([0, 1, 2, 3]), pack.batch([0, 1, 2, 3], mirror=np.array([True, False, True, True]))
    assert torch.equal(mirrored.images[[0, 2, 3]], plain.images[[0, 2, 3]].flip(-1))
    assert torch.equal(mirrored.images[1], plain.images[1])
    assert mirrored.labels["lamp"].tolist() == [0, 1, 0, 1]
    assert mirrored.labels["side"][:3].tolist() == [2, 1, 0]
    assert [mirrored.labels["parting"][i].item() for i in (0, 1, 3)] == [1, 1, 0]
    assert [mirrored.labels["yaw"][i].item() for i in (0, 2, 3)] == [-0.25, 1, -0.5]
    assert all(torch.equal(mirrored.known[name], plain.known[name]) for name in LABELS)


def test_a_category_cannot_be_negated():
    attribute = Attribute("side", "categorical", ("left", "right"), mirror="negate")
    with pytest.raises(ValueError, match="side is categorical: its mirror is 'keep' or pairs of values, not 'negate'"):
        mirrored(attribute, np.array([0]))


def test_reading_a_batch_changes_nothing(tmp_path):
    pack = write(tmp_path / "pack")
    pack.batch([0, 1, 2], mirror=np.array([True] * 3)).images.zero_()
    assert np.array_equal(pack.images, pictures()) and np.array_equal(pack.labels["lamp"], LABELS["lamp"])
    pack.verify()


def test_select_keeps_the_pictures_and_drops_attributes(tmp_path):
    pack = write(tmp_path / "pack")
    chosen = pack.select("yaw", "lamp")
    assert chosen.schema.names == ("yaw", "lamp") and list(chosen.labels) == list(chosen.batch([0]).labels) == ["yaw", "lamp"]
    assert chosen.fingerprint != pack.fingerprint == Pack(tmp_path / "pack").fingerprint
    assert pack.schema.names == SCHEMA.names
    with pytest.raises(KeyError, match=r"no attribute 'lamb'.*did you mean 'lamp'"):
        pack.select("lamb")


def test_a_pack_can_be_sent_to_another_process(tmp_path):
    pack = write(tmp_path / "pack")
    data = pickle.dumps(pack)
    assert torch.equal(pickle.loads(data).batch([3, 1]).images, pack.batch([3, 1]).images)


def test_the_fingerprint_changes_with_any_picture_label_or_split(tmp_path):
    images = pictures()
    images[3, 2, 3, 5] ^= 1
    packs = [
        write(tmp_path / "a"),
        write(tmp_path / "b", images=images),
        write(tmp_path / "c", labels=LABELS | {"lamp": [0, 1, 0, 1]}),
        write(tmp_path / "d", labels=LABELS | {"yaw": [0.25, np.nan, -1.0, 0.500001]}),
        write(tmp_path / "e", splits=["train", "train", "val", "val"]),
    ]
    assert len({pack.fingerprint for pack in packs}) == 5
    assert write(tmp_path / "f").fingerprint == packs[0].fingerprint


def test_the_fingerprint_never_changes_as_runs_and_classifiers_are_found_by_it(tmp_path, monkeypatch):
    assert write(tmp_path / "pack").fingerprint == "99059b87eb7fc4e0"
    assert Pack(tmp_path / "pack").select("yaw", "lamp").fingerprint == "7667f7328574f626"
    monkeypatch.setattr(compact, "PIECE", 3)
    assert Pack(tmp_path / "pack").fingerprint == "99059b87eb7fc4e0"


def test_an_open_pack_holds_a_byte_for_each_label_and_no_name(tmp_path):
    pack = write(tmp_path / "pack")
    assert [column.codes.nbytes for column in (pack.splits, *(pack.labels[n] for n in ("lamp", "side", "parting")))] == [4] * 4
    assert pack.labels["yaw"].nbytes == 16 and "files" not in vars(pack) and pack.labels["side"][[0, 3]].dtype == np.int64
    assert pack.index["pixel_hash"].tolist() == pack.index["pixel_hash"].tolist() != [] and list(pack.index) == ["pixel_hash"]


def test_pictures_may_come_in_chunks_and_replace_an_older_pack(tmp_path):
    whole = write(tmp_path / "pack")
    images = pictures()
    parts = write(tmp_path / "pack", images=iter([images[:1], images[1:3], images[3:]]))
    assert parts.fingerprint == whole.fingerprint and np.array_equal(parts.images, images)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"schema expects images \[n, 3, 4, 6\] of uint8; these are \[4, 3, 4, 6\] of uint16"):
        write(tmp_path, images=pictures().astype(np.uint16))
    with pytest.raises(ValueError, match="4 files were named but 3 images came"):
        write(tmp_path, images=pictures(3))
    with pytest.raises(ValueError, match="side has 3 values, stored as 0 to 2, or -1 for missing; row 1 holds 3"):
        write(tmp_path, labels=LABELS | {"side": [0, 3, 0, 0]})
    with pytest.raises(ValueError, match="the schema has 'yaw' but there are labels only for lamp, side, parting"):
        write(tmp_path, labels={name: LABELS[name] for name in ("lamp", "side", "parting")})
    with pytest.raises(ValueError, match="lamp has 3 entries for 4 images"):
        write(tmp_path, labels=LABELS | {"lamp": [0, 1, 0]})
    with pytest.raises(ValueError, match="a split is one of train, val, test; the table has training"):
        write(tmp_path, splits=["training"] * 4)
    with pytest.raises(BadPack, match=r"no manifest.json"):
        Pack(tmp_path)


def test_an_unfinished_pack_is_refused(tmp_path):
    write(tmp_path / "pack")
    (tmp_path / "pack/manifest.json").unlink()
    with pytest.raises(BadPack, match=r"has no manifest\.json, .* run the packing again, it continues where it stopped"):
        Pack(tmp_path / "pack")
    with pytest.raises(BadPack, match=r"nowhere has no manifest\.json"):
        Pack(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["images.npy", "index.parquet", "schema.json", "problems.json"])
def test_one_flipped_bit_is_found(tmp_path, name):
    path = write(tmp_path / "pack").path / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadPack, match=f"{name} is damaged.*pack again"):
        Pack(tmp_path / "pack").verify()
    if name in ("index.parquet", "schema.json"):
        with pytest.raises(BadPack, match=f"{name} is damaged"):
            Pack(tmp_path / "pack")


def test_a_file_cut_short_or_gone_is_found_at_opening(tmp_path):
    path = write(tmp_path / "pack").path / "images.npy"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadPack, match=rf"images\.npy is damaged: expected {size} bytes, got {size - 1} bytes; pack again"):
        Pack(tmp_path / "pack")
    path.unlink()
    with pytest.raises(BadPack, match=rf"expected {size} bytes, got no file; pack again"):
        Pack(tmp_path / "pack")


def test_a_pack_of_the_future_is_refused(tmp_path):
    path = write(tmp_path / "pack").path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(BadPack, match="has format 99, this version reads up to 1; upgrade"):
        Pack(tmp_path / "pack")


def test_pictures_with_objects_inside_are_never_unpickled(tmp_path):
    path = write(tmp_path / "pack").path
    np.save(path / "images.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["images.npy"]["bytes"] = (path / "images.npy").stat().st_size
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"objects|pickle|Array can't be memory-mapped"):
        Pack(path)


def test_opening_a_pack_imports_no_decoder(tmp_path):
    script = "import sys; from recombine.data.packed import Pack; Pack(sys.argv[1]).batch([0]); print({'PIL', 'recombine.data.decoding'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script, write(tmp_path / "pack").path], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
