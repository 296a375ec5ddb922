import numpy as np
import pytest

from recombine.data.packed import Pack, write_pack
from recombine.data.schema import Attribute, Schema
from recombine.data.synthetic import avatars, drawn

PLAIN = {
    "hair": "afro",
    "hair_color": "brown",
    "skin": "light",
    "beard": "none",
    "brows": "calm",
    "eyes": "open",
    "gaze": "left",
    "mouth": "serious",
    "glasses": "none",
    "clothes": "shirt",
    "clothes_color": "blue",
    "background": "sky",
    "yaw": 20.0,
    "roll": 2.0,
    "light": 0.5,
}


def psnr(one, other):
    return 10 * np.log10(255**2 / max(1e-9, np.mean((one.astype(float) - other) ** 2)))


def other_values(name):
    values = avatars.FACTORS.get(name) or avatars.NUMBERS[name]
    return [value for value in values if value != PLAIN[name]]


def test_equal_factors_give_equal_pictures_of_the_wanted_size():
    image = avatars.render(PLAIN)
    assert image.shape == (3, 64, 64) and image.dtype == np.uint8
    assert np.array_equal(image, avatars.render(dict(PLAIN)))
    assert avatars.render(PLAIN, size=33).shape == (3, 33, 33)


@pytest.mark.parametrize("name", [*avatars.FACTORS, *avatars.NUMBERS])
def test_every_value_of_every_factor_is_seen(name):
    images = [avatars.render(avatars.edit(PLAIN, name, value)) for value in (PLAIN[name], *other_values(name))]
    for place, image in enumerate(images):
        for other in images[:place]:
            # 10 pixels of 4096 that differ by an eighth of the range, or, for light, a quarter of the image that differs by a
            # thirtieth: what an eye finds at this size.
            apart = np.abs(image.astype(int) - other).max(0)
            assert (apart > 8).mean() >= 0.25 if name == "light" else (apart > 32).sum() >= 10


def test_plain_factors_are_where_they_belong():
    image = avatars.render({**PLAIN, "light": 0.0, "background": "night"})
    assert image[:, 1, 1].tolist() == [0x39, 0x45, 0x6B]
    assert image[:, 60, 32].tolist() == [0x51, 0x99, 0xE4]          # BLUE_02 of python-avatars: the shirt
    assert image[:, 6, 32].tolist() == [0x72, 0x41, 0x33]           # BROWN: the hair


def test_positive_yaw_looks_to_the_left_and_light_comes_from_its_side():
    whites = [np.argwhere((avatars.render({**PLAIN, "yaw": yaw, "roll": 0.0, "light": 0.0}) > 250).all(0))[:, 1].mean() for yaw in (30, -30)]
    assert whites[0] < 32 < whites[1]
    lit = avatars.render({**PLAIN, "light": 1.0}).astype(int)
    assert lit[:, 0, 62].sum() > lit[:, 0, 1].sum() + 100


@pytest.mark.parametrize("hair", ["afro", "curly"])
def test_a_mirrored_picture_is_the_picture_of_mirrored_factors(hair):
    factors = {**PLAIN, "hair": hair}
    flipped, mirrored = avatars.render(factors)[:, :, ::-1], avatars.mirror(factors)
    assert avatars.mirror(mirrored) == factors
    assert psnr(flipped, avatars.render(mirrored)) > 40
    for name in ("yaw", "roll", "light", "gaze"):                  # each of them must change, or the image is another
        assert psnr(flipped, avatars.render({**mirrored, name: factors[name]})) < 30


def test_mirrored_pictures_are_close_even_where_hair_has_a_parting():
    drawn = avatars.sample(24, seed=3)
    assert min(psnr(avatars.render(f)[:, :, ::-1], avatars.render(avatars.mirror(f))) for f in drawn) > 23


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mouth", "smiel", "mouth has no value 'smiel'; it has smile, serious, sad, open; did you mean 'smile'"),
        ("mouht", "smile", "no factor 'mouht'.*did you mean 'mouth'"),
        ("yaw", 31.0, "yaw lies between -30 and 30, not at 31"),
        ("light", float("nan"), "light lies between -1 and 1, not at nan"),
    ],
)
def test_edits_that_cannot_be_drawn_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        avatars.edit(PLAIN, name, value)


def test_factors_must_be_whole():
    with pytest.raises(ValueError, match="an avatar needs 'hair'; these factors have mouth"):
        avatars.render({"mouth": "smile"})


def test_single_factors_are_uniform_and_independent():
    drawn = avatars.sample(8000, seed=1)
    assert drawn[:100] == avatars.sample(100, seed=1) != avatars.sample(100, seed=2)
    columns = {name: np.array([values.index(f[name]) for f in drawn]) for name, values in avatars.FACTORS.items()}
    for name, column in columns.items():
        shares = np.bincount(column, minlength=len(avatars.FACTORS[name])) / len(drawn)
        assert np.abs(shares - 1 / len(shares)).max() < 0.04, name
    columns |= {name: np.array([f[name] for f in drawn]) for name in avatars.NUMBERS}
    for name, (low, high) in avatars.NUMBERS.items():
        assert abs(columns[name].mean() / (high - low)) < 0.03
        assert np.ptp(columns[name]) > 0.95 * (high - low)
    related = np.abs(np.corrcoef(np.stack(list(columns.values())))) - np.eye(len(columns))
    assert related.max() < 0.08


def test_a_person_has_clips_and_a_clip_has_pictures():
    rows = [avatars.labels(factors) for factors in avatars.sample(80)]
    for start in range(0, 80, 8):
        assert len({row["identity"] for row in rows[start : start + 8]}) == 1
        assert [len({row["clip"] for row in rows[start + at : start + at + 4]}) for at in (0, 4)] == [1, 1]
        assert rows[start]["clip"] != rows[start + 4]["clip"]
    assert len({row["identity"] for row in rows}) == 10


@pytest.mark.parametrize(
    ("mouth", "brows", "expected"),
    [
        ("smile", "angry", "happiness"),
        ("serious", "angry", "anger"),
        ("sad", "angry", "anger"),
        ("sad", "worried", "sadness"),
        ("open", "worried", "fear"),
        ("open", "calm", "surprise"),
        ("serious", "calm", "neutral"),
    ],
)
def test_expressions_follow_from_mouth_and_brows(mouth, brows, expected):
    assert avatars.labels({**PLAIN, "mouth": mouth, "brows": brows})["expression"] == expected


def test_feelings_add_up():
    # mouth smile (0.7, 0.3) + brows calm (0.1, -0.1) + eyes wide (0, 0.2)
    row = avatars.labels({**PLAIN, "mouth": "smile", "eyes": "wide"})
    assert (row["valence"], row["arousal"]) == pytest.approx((0.8, 0.4))
    gloomy = avatars.labels({**PLAIN, "mouth": "sad", "brows": "angry"})   # -0.6 - 0.4 = -1
    assert gloomy["valence"] == pytest.approx(-1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return avatars.build(tmp_path_factory.mktemp("avatars"), 96, size=32, seed=5, workers=1, progress=False)


def test_a_pack_gives_back_the_exact_factors_and_pictures(pack):
    drawn = avatars.sample(96, seed=5)
    assert [avatars.truth(pack, row) for row in range(96)] == drawn
    for row in range(0, 96, 7):
        assert np.array_equal(avatars.render(avatars.truth(pack, row), 32), pack.images[row])
        labels = avatars.labels(drawn[row])
        for name in ("identity", "clip", "expression"):
            assert pack.schema[name].values[pack.labels[name][row]] == labels[name]
        for name in ("valence", "arousal"):
            assert pack.labels[name][row] == np.float32(labels[name])
    assert sorted(path.name for path in pack.path.iterdir()) == sorted(["images.npy", "index.parquet", "manifest.json", "problems.json", "schema.json"])


def test_nobody_stands_on_two_sides(pack):
    people = [set(pack.labels["identity"][pack.rows(split)].tolist()) for split in ("train", "val", "test")]
    assert [len(side) for side in people] == [10, 1, 1]
    assert len(set.union(*people)) == 12
    assert avatars.splits([avatars.labels(f) for f in avatars.sample(16)]) == ["train"] * 16


def test_a_mirrored_batch_has_the_labels_of_the_mirrored_factors(pack):
    rows = np.arange(16)
    batch = pack.batch(rows, mirror=np.ones(16, bool))
    for row in rows:
        mirrored = avatars.mirror(avatars.truth(pack, row))
        for name in avatars.FACTORS:
            assert pack.schema[name].values[int(batch.labels[name][row])] == mirrored[name]
        for name in avatars.NUMBERS:
            assert float(batch.labels[name][row]) == mirrored[name]


def test_a_second_build_opens_the_first_and_other_avatars_replace_it(tmp_path, monkeypatch):
    first = avatars.build(tmp_path, 9, size=16, workers=1, progress=False)
    written = (tmp_path / "manifest.json").stat().st_mtime_ns
    assert avatars.build(tmp_path, 9, size=16, workers=1, progress=False).fingerprint == first.fingerprint
    assert (tmp_path / "manifest.json").stat().st_mtime_ns == written
    assert len(avatars.build(tmp_path, 10, size=16, workers=1, progress=False)) == 10
    monkeypatch.setitem(avatars.BACKGROUNDS, "white", "#fefefe")
    monkeypatch.setitem(avatars.BACKGROUNDS, "night", "#000000")
    assert not all(avatars.AVATARS.is_in(Pack(tmp_path), avatars.sample(10, seed), 16) for seed in (0, 1))


def test_a_pack_that_is_drawn_otherwise_is_drawn_anew(tmp_path, monkeypatch):
    old = avatars.build(tmp_path, 9, size=16, workers=1, progress=False).fingerprint
    monkeypatch.setattr(avatars, "BACKGROUNDS", dict.fromkeys(avatars.BACKGROUNDS, "#123456"))
    new = avatars.build(tmp_path, 9, size=16, workers=1, progress=False)
    assert new.fingerprint != old and np.array_equal(new.images[0], avatars.render(avatars.truth(new, 0), 16))


def test_an_interrupted_build_goes_on_with_what_it_has_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn, "CHUNK", 8)
    whole = avatars.build(tmp_path / "whole", 24, size=16, workers=1, progress=False)
    planned, draw, calls = avatars.sample(24), drawn.draw_chunk, []

    def dying(render, factors, size, path):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(path.name)
        draw(render, factors, size, path)

    monkeypatch.setattr(drawn, "draw_chunk", dying)
    with pytest.raises(KeyboardInterrupt):
        avatars.build(tmp_path / "cut", 24, size=16, workers=1, progress=False)
    assert not (tmp_path / "cut" / "manifest.json").exists()

    again = []
    monkeypatch.setattr(drawn, "draw_chunk", lambda render, factors, *rest: (again.append(factors), draw(render, factors, *rest)))
    resumed = avatars.build(tmp_path / "cut", 24, size=16, workers=1, progress=False)
    assert again == [planned[16:]] and resumed.fingerprint == whole.fingerprint


def test_two_workers_draw_what_one_draws(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(drawn, "CHUNK", 48)
    assert avatars.build(tmp_path, 96, size=32, seed=5, workers=2, progress=False).fingerprint == pack.fingerprint


def test_a_pack_of_something_else_is_not_overwritten(tmp_path):
    schema = Schema((Attribute("lamp", "binary", ("0", "1")),), 4, 4)
    write_pack(tmp_path, np.zeros((9, 3, 4, 4), np.uint8), schema, list("abcdefghi"), {"lamp": [0] * 9}, ["train"] * 9)
    with pytest.raises(ValueError, match="holds a pack that is not of avatars; choose another folder"):
        avatars.build(tmp_path, 9, size=16, progress=False)
    assert Pack(tmp_path).schema == schema
    with pytest.raises(ValueError, match="count is the number of avatars to draw, 1 or more, not 0"):
        avatars.build(tmp_path / "none", 0)
