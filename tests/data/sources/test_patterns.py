"""Labels that stand in the names of files and folders."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recombine.cli import main
from recombine.data.packed import mirrored
from recombine.data.schema import MISSING
from recombine.data.sources.cells import BadTable
from recombine.data.sources.folder import read_source
from recombine.data.sources.patterns import PATTERNS, Pattern
from recombine.data.sources.source import SourceOptions


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name, format="PNG")
    return root


def texts(table, name):
    """An attribute's values, image by image; None where missing."""
    attribute, column = table[name], table.columns[name]
    if attribute.kind == "continuous":
        return [None if np.isnan(number) else float(number) for number in column]
    return [None if index == MISSING else attribute.values[index] for index in column]


def warnings(source):
    return [str(note) for note in source.notes if note.level == "warning"]


@pytest.mark.parametrize(
    ("pattern", "path", "labels"),
    [
        ("{identity}/{clip}/*.jpg", "anna/1/0007.jpg", {"identity": "anna", "clip": "1"}),
        ("{identity}/{clip}/*.jpg", "anna/1/0007.JPG", {"identity": "anna", "clip": "1"}),
        ("{identity}/{clip}/*.jpg", "anna/1/0007.png", None),
        ("{identity}/{clip}/*", "anna/1/0007.png", {"identity": "anna", "clip": "1"}),
        ("{identity}/{clip}/*.*", "anna/1/0007.png", {"identity": "anna", "clip": "1"}),
        ("{identity}/{clip}/*", "frames/anna/1/0007.png", None),
        ("**/{identity}/{clip}/*", "frames/anna/1/0007.png", {"identity": "anna", "clip": "1"}),
        ("**/{identity}/{clip}/*", "anna/1/0007.png", {"identity": "anna", "clip": "1"}),
        ("{a}_{b}", "x_y_z.png", {"a": "x", "b": "y_z"}),
        (r"{identity:{gender:[FM]}\d{4}}_{_}", "F0012_AN.bmp", {"identity": "F0012", "gender": "F"}),
        (r"{age:\d{2}}{_:[a-z]?}", "31b.webp", {"age": "31"}),
        ("{identity}/{identity}_{_}", "Ann_Lee/Ann_Lee_0001.jpg", {"identity": "Ann_Lee"}),
        ("{identity}/{identity}_{_}", "Ann_Lee/Ben_0001.jpg", None),
        ("a+b.{x}", "a+b.1.png", {"x": "1"}),
        ("{identity}/**", "anna/deep/down/1.png", {"identity": "anna"}),
    ],
)
def test_a_pattern_reads_the_whole_path(pattern, path, labels):
    assert Pattern(pattern).match(path) == labels


@pytest.mark.parametrize(
    ("pattern", "path", "text"),
    [
        (r"{identity}_{age:\d+}.jpg", "anna_x.jpg", r"anna_x.jpg fits '{identity}_', then at 'x.jpg' {age:\d+} was expected"),
        ("{identity}_{age}.jpg", "anna-12.jpg", "fits '{identity}', then somewhere in 'anna-12.jpg' '_' was expected"),
        ("s{identity}/*", "t1/a.jpg", "t1/a.jpg: at 't1/a.jpg' 's' was expected"),
        (r"s{identity:\d+}/*", "s1/a/b.jpg", "then somewhere in 'a' an ending such as '.jpg' was expected"),
        ("{identity}/a.png", "x/anna/a.png", "put **/ in front for folders around it"),
        (r"{identity:\d+}.png", "12.png.txt", "then at '.txt' the end was expected"),
    ],
)
def test_a_miss_says_where_the_path_stops_matching(pattern, path, text):
    assert Pattern(pattern).match(path) is None
    assert text in Pattern(pattern).explain(path)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("{a", "has a { without }: '{a'"),
        ("{a}}/b", "has a } without { before '/b'"),
        ("{1}/*", "'1' is no name for a label; use letters, digits and _"),
        ("{a:[}/*", r"'\[' in the pattern .* is no regular expression: unterminated character set"),
        ("{_}/*", "names no label; write one in braces, such as {identity}"),
        ("radf", "none of rafd, multipie, .*did you mean 'rafd'"),
    ],
)
def test_what_is_no_pattern_is_refused(tmp_path, pattern, text):
    with pytest.raises(ValueError, match=text):
        read_source(pictures(tmp_path, "a.png"), SourceOptions(pattern=pattern))


def test_folders_become_identities_and_clips(tmp_path):
    root = pictures(tmp_path, *(f"{who}/{clip}/{i}.png" for who in ("anna", "ben") for clip in ("v1", "w2") for i in range(3)))
    source = read_source(root, SourceOptions(pattern="{identity}/{clip}/*"))
    assert [(a.name, a.kind) for a in source.table.attributes] == [("identity", "group"), ("clip", "group")]
    assert texts(source.table, "clip") == [f"{who}/{clip}" for who in ("anna", "ben") for clip in ("v1", "w2") for _ in range(3)]
    assert any("clip: values occur with several of identity, and were told apart as 'anna/v1'" in str(n) for n in source.notes)


def test_clips_of_one_person_each_keep_their_names(tmp_path):
    root = pictures(tmp_path, "anna/x1/1.png", "anna/x1/2.png", "ben/y2/1.png", "ben/y2/2.png")
    assert texts(read_source(root, SourceOptions(pattern="{identity}/{clip}/*")).table, "clip") == ["x1", "x1", "y2", "y2"]


def test_kinds_are_stated_as_for_any_table_and_splits_are_found(tmp_path):
    root = pictures(tmp_path, *(f"{split}/{age}_{i}.png" for split in ("train", "test") for age in (20, 30) for i in range(4)))
    table = read_source(root, SourceOptions(pattern=r"{split}/{age:\d+}_{_}", kinds={"age": "group"})).table
    assert table["age"].kind == "group" and table.splits.tolist() == ["test"] * 8 + ["train"] * 8
    assert read_source(root, SourceOptions(pattern=r"{split}/{age:\d+}_{_}")).table["age"].kind == "continuous"


def test_what_does_not_match_is_counted_named_and_explained(tmp_path):
    root = pictures(tmp_path, "anna/1.png", "anna/2.png", "ben/1.png", "ben/2.png", "cover.png", "ben/more/3.png")
    source = read_source(root, SourceOptions(pattern="{identity}/*"))
    assert source.table.files == ["anna/1.png", "anna/2.png", "ben/1.png", "ben/2.png"]
    (text,) = warnings(source)[:1]
    assert "2 of 6 images do not match the pattern: ben/more/3.png, cover.png; the nearest miss: ben/more/3.png fits" in text
    assert text.endswith("they were dropped")
    kept = read_source(root, SourceOptions(pattern="{identity}/*", unlabelled="keep"))
    assert texts(kept.table, "identity")[-2:] == [None, None] and len(kept.table) == 6


def test_nothing_matches(tmp_path):
    with pytest.raises(BadTable, match=r"none of 2 images matches the pattern 's\{identity\}/\*': .*at 't1/a.png' 's' was expected"):
        read_source(pictures(tmp_path, "t1/a.png", "t2/a.png"), SourceOptions(pattern="s{identity}/*"))
    with pytest.raises(BadTable, match="there are no images whose names could match"):
        read_source(pictures(tmp_path / "empty", "x/a.txt"), SourceOptions(pattern="s{identity}/*"))


def test_names_or_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("file_name,smile\na.png,1\n")
    with pytest.raises(ValueError, match=r"a pattern takes labels from names, and the table .* has them too"):
        read_source(pictures(tmp_path, "a.png"), SourceOptions(table="t.csv", pattern="{identity}"))


# Data sets by name, as made-up trees


def test_rafd(tmp_path):
    names = [
        f"Rafd{camera}_{who}_{kind}_angry_{gaze}.jpg"
        for camera in ("000", "090", "180")
        for who, kind in (("01", "Caucasian_female"), ("41", "Kid_male"))
        for gaze in ("frontal", "left", "right")
    ]
    source = read_source(pictures(tmp_path, *names, *(n.replace("angry", "happy") for n in names)), SourceOptions(pattern="rafd"))
    table = source.table
    row = table.files.index("Rafd180_41_Kid_male_happy_left.jpg")
    labels = {a.name: texts(table, a.name)[row] for a in table.attributes}
    assert labels == {
        **{"camera": "180", "identity": "41", "population": "Kid", "gender": "male"},
        **{"expression": "happy", "gaze": "left", "yaw": 90.0},
    }
    assert table["identity"].kind == "group" and table["yaw"].mirror == "negate"
    assert table["gaze"].mirror == (("left", "right"),) and table["camera"].mirror == (("000", "180"),)
    gaze = table["gaze"]
    assert mirrored(gaze, np.array([gaze.index("left"), gaze.index("frontal")])).tolist() == [gaze.index("right"), gaze.index("frontal")]
    assert not any("mirror" in text for text in warnings(source))


def test_rafd_seen_from_one_side_alone_is_not_to_be_mirrored(tmp_path):
    names = (f"RaFD/Rafd{camera}_{who}_Caucasian_female_angry_frontal.jpg" for camera in ("090", "135") for who in ("01", "02"))
    source = read_source(pictures(tmp_path, *names), SourceOptions(pattern="rafd"))
    assert source.table["camera"].mirror == "keep"
    assert "camera: 135 has no value for the other side; train without mirroring" in warnings(source)


def test_multipie(tmp_path):
    names = [
        f"session0{session}/multiview/{who}/0{recording}/{camera[:2]}_{camera[2]}/{who}_0{session}_0{recording}_{camera}_{light}.png"
        for who in ("001", "249")
        for session, recording in ((1, 1), (1, 2), (2, 2), (4, 3))
        for camera in ("051", "041", "130", "081")
        for light in ("00", "07", "19")
    ]
    source = read_source(pictures(tmp_path, *names), SourceOptions(pattern="multipie"))
    table = source.table
    row = table.files.index("session04/multiview/249/03/04_1/249_04_03_041_07.png")
    labels = {a.name: texts(table, a.name)[row] for a in table.attributes}
    assert labels == {
        **{"identity": "249", "session": "04", "recording": "03", "camera": "041", "illumination": "07"},
        **{"expression": "scream", "yaw": 30.0},
    }
    assert {n for f, n in zip(table.files, texts(table, "expression"), strict=True) if "_02_02_" in f} == {"surprise"}
    assert {n for f, n in zip(table.files, texts(table, "yaw"), strict=True) if "_081_" in f} == {None}
    assert table["camera"].mirror == (("130", "041"),) and table["identity"].kind == "group"
    assert any("illumination: which flash becomes which in a mirrored image is not known" in text for text in warnings(source))


def test_bu3dfe(tmp_path):
    names = [f"{who}/{who}_{code}WH_F2D.bmp" for who in ("F0001", "M0044") for code in ("AN01", "AN04", "NE00", "HA02")]
    source = read_source(pictures(tmp_path, *names, "F0001/F0001_AN01WH_F3D.bmp"), SourceOptions(pattern="bu3dfe"))
    table = source.table
    row = table.files.index("M0044/M0044_AN04WH_F2D.bmp")
    labels = {a.name: texts(table, a.name)[row] for a in table.attributes}
    assert labels == {"identity": "M0044", "gender": "M", "expression": "angry", "intensity": "04"}
    assert any("F0001_AN01WH_F3D.bmp fits" in text and "'_F2D' was expected" in text for text in warnings(source))


def test_market1501(tmp_path):
    names = ["bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/0002_c2s1_000451_03.jpg"]
    names += ["bounding_box_train/0007_c3s3_077419_03.jpg", "bounding_box_train/0007_c1s3_077419_03.jpg"]
    names += ["bounding_box_test/-1_c1s1_000401_03.jpg", "bounding_box_test/0000_c1s1_000151_01.jpg"]
    names += ["bounding_box_test/0001_c1s1_001051_03.jpg", "query/0001_c2s1_001051_00.jpg"]
    source = read_source(pictures(tmp_path, *names, "gt_bbox/0001_c1s1_001051_00.jpg"), SourceOptions(pattern="market1501"))
    found = dict(zip(source.table.files, texts(source.table, "identity"), strict=True))
    assert found[names[0]] == "0002" and found[names[4]] is None and found[names[5]] is None and found[names[7]] == "0001"
    splits = dict(zip(source.table.files, source.table.splits, strict=True))
    assert [splits[name] for name in names] == ["train"] * 4 + ["test"] * 4
    assert source.table["camera"].values == ("1", "2", "3") and source.table["camera"].mirror == "keep"
    flat = read_source(tmp_path / "bounding_box_train", SourceOptions(pattern="market1501")).table
    assert flat.splits is None and texts(flat, "identity") == ["0002", "0002", "0007", "0007"]


def test_vggface2(tmp_path):
    names = ["train/n000002/0001_01.jpg", "train/n000002/0002_01.jpg", "test/n000001/0001_01.jpg", "test/n000001/0002_02.jpg"]
    table = read_source(pictures(tmp_path, *names), SourceOptions(pattern="vggface2")).table
    assert texts(table, "identity") == ["n000001", "n000001", "n000002", "n000002"]
    assert table.splits.tolist() == ["test", "test", "train", "train"]
    assert read_source(tmp_path / "train", SourceOptions(pattern="vggface2"), strict=False).table.files == ["n000002/0001_01.jpg", "n000002/0002_01.jpg"]


def test_voxceleb(tmp_path):
    names = [f"dev/{who}/{clip}/000000{i}.jpg" for who, clip in (("id10270", "5r0dWxy17C8"), ("id10271", "_z_BR0ERa9g")) for i in (1, 2)]
    table = read_source(pictures(tmp_path, *names), SourceOptions(pattern="voxceleb")).table
    assert texts(table, "identity") == ["id10270", "id10270", "id10271", "id10271"]
    assert table["clip"].kind == "group" and table["clip"].values == ("5r0dWxy17C8", "_z_BR0ERa9g")


@pytest.mark.parametrize("name", PATTERNS)
def test_every_named_pattern_says_where_it_comes_from_with_an_example_that_matches(name):
    example = next(word.rstrip(";,") for word in PATTERNS[name].about.split() if word.rstrip(";,").endswith((".jpg", ".png", ".bmp")))
    assert any(Pattern(text).match(example) for text in PATTERNS[name].patterns)


# The command line


def test_data_and_train_take_a_pattern(tmp_path, capsys):
    for who in "abcdef":
        for mood in ("calm", "smile"):
            for i in range(2):
                path = tmp_path / "p" / who / f"{mood}-{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng([i, ord(who), len(mood)]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    pattern = ["--pattern", "{person}/{mood}-{_}"]
    assert main(["data", str(tmp_path / "p"), *pattern]) == 0
    out = capsys.readouterr().out
    assert "person" in out and "6 groups" in out and "calm 12, smile 12" in out
    tiny = "--method ifcvaegan --size 16 --set width=4 --set num_latents=4 --set aux_width=8 --batch-size 8 --judge none --images 8".split()
    assert main(["train", str(tmp_path / "p"), *pattern, "--attributes", "mood", "--out", str(tmp_path / "run"), *tiny]) == 0
    capsys.readouterr()
    assert main(["data", str(tmp_path / "p"), "--pattern", "s{person}/*"]) == 1
    assert "matches the pattern 's{person}/*': a/calm-0.png: at 'a/calm-0.png' 's' was expected" in capsys.readouterr().err
