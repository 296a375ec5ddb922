"""Matching tables with the images of a folder."""

import json
import os
import unicodedata
from pathlib import Path
from time import process_time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recombine.data.schema import MISSING
from recombine.data.sources.cells import BadTable
from recombine.data.sources.folder import describe, read_source
from recombine.data.sources.paths import walk
from recombine.data.sources.source import SourceOptions


def pictures(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name, format="PNG")
    return root


def labelled(root: Path, rows: dict[str, object], name: str = "metadata.csv", header: str = "file_name,smile") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join([header, *(f"{file},{value}" for file, value in rows.items())]) + "\n")
    return root


def infos(source, level="info"):
    return [str(note) for note in source.notes if note.level == level]


ABC = ("a.png", "b.png", "c.png")
SMILES = {"a.png": 0, "b.png": 1, "c.png": 1}


# Layouts


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_imagefolder(tmp_path, form):
    root = pictures(tmp_path, *ABC)
    entries = [{"file_name": name, "smile": value} for name, value in SMILES.items()]
    if form == "csv":
        labelled(root, SMILES)
    elif form == "jsonl":
        (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, entries)))
    else:
        pq.write_table(pa.Table.from_pylist(entries), root / "metadata.parquet")
    source = read_source(root)
    assert source.root == root.resolve()
    assert source.table.files == list(ABC)
    assert source.table.columns["smile"].tolist() == [0, 1, 1]
    assert source.table.splits is None


def test_imagefolder_below_split_folders(tmp_path):
    root = pictures(tmp_path, "train/a.png", "train/b.png", "test/a.png")
    labelled(root / "train", {"a.png": 0, "b.png": 1})
    labelled(root / "test", {"a.png": 1})
    table = read_source(root).table
    assert dict(zip(table.files, table.splits, strict=True)) == {"test/a.png": "test", "train/a.png": "train", "train/b.png": "train"}
    assert table.columns["smile"][table.files.index("test/a.png")] == 1


def test_imagefolder_one_folder_down(tmp_path):
    root = pictures(tmp_path, "faces/a.png", "faces/b.png")
    labelled(root / "faces", {"a.png": 0, "b.png": 1})
    assert read_source(root).table.files == ["faces/a.png", "faces/b.png"]


@pytest.mark.parametrize("picture", ["photo", "Image Path", "x"])
def test_any_table_with_a_column_of_files(tmp_path, picture):
    root = pictures(tmp_path, *(f"images/{name}" for name in ABC))
    labelled(root, {"0": "images/a.png", "1": "images/b.png", "yes": "images/c.png"}, "labels.csv", f"smile,{picture}")
    table = read_source(root).table
    assert table.files == [f"images/{name}" for name in ABC]
    assert table.columns["smile"].tolist() == [0, 1, 1]


def test_a_table_beside_the_pictures_folder(tmp_path):
    root = labelled(pictures(tmp_path, "images/a.png", "images/b.png", "masks/x.png"), {"a.png": 0, "b.png": 1}, "labels.csv")
    source = read_source(root)
    assert source.table.files == ["images/a.png", "images/b.png"]
    assert any("1 images lie outside images" in text for text in infos(source))


def test_a_table_given_by_path(tmp_path):
    root = pictures(tmp_path / "data", *ABC)
    labelled(tmp_path, SMILES, "elsewhere.csv")
    labelled(root, SMILES, "one.csv")
    labelled(root, SMILES, "two.csv")
    assert read_source(root, SourceOptions(table=tmp_path / "elsewhere.csv")).table.files == list(ABC)
    assert read_source(root, SourceOptions(table="one.csv")).table.files == list(ABC)
    assert read_source(root / "two.csv").table.files == list(ABC)
    with pytest.raises(BadTable, match=r"holds 2 tables: one.csv, two.csv; say which one with the option table"):
        read_source(root)
    with pytest.raises(FileNotFoundError, match=r"no table three.csv, neither here nor in"):
        read_source(root, SourceOptions(table="three.csv"))


def test_two_columns_of_files(tmp_path):
    root = pictures(tmp_path, "a.png", "b.png", "ma.png", "mb.png")
    (root / "t.csv").write_text("left_half,mask,smile\na.png,ma.png,0\nb.png,mb.png,1\n")
    with pytest.raises(BadTable, match="columns left_half, mask all hold files; say which one with the option image_column"):
        read_source(root)
    assert read_source(root, SourceOptions(image_column="left_half", unlabelled="drop")).table.files == ["a.png", "b.png"]
    with pytest.raises(BadTable, match="no column 'lefthalf'; it has left_half, mask, smile; did you mean 'left_half'"):
        read_source(root, SourceOptions(image_column="lefthalf"))


def test_class_folders(tmp_path):
    source = read_source(pictures(tmp_path, "cat/1.png", "cat/2.png", "dog/deep/1.png"))
    assert source.table.attributes[0].name == "class"
    assert source.table.attributes[0].values == ("cat", "dog")
    assert source.table.columns["class"].tolist() == [0, 0, 1]
    assert source.table.files == ["cat/1.png", "cat/2.png", "dog/deep/1.png"]


def test_class_folders_below_splits_and_a_folder_around_all(tmp_path):
    table = read_source(pictures(tmp_path, "set/train/cat/1.png", "set/train/dog/1.png", "set/valid/cat/1.png")).table
    assert table.splits.tolist() == ["train", "train", "val"]
    assert table.columns["class"].tolist() == [0, 1, 0]


def test_a_class_may_be_called_train_but_splits_and_classes_do_not_mix(tmp_path):
    vehicles = pictures(tmp_path / "vehicles", "train/1.png", "bus/1.png")
    assert read_source(vehicles).table.attributes[0].values == ("bus", "train")
    mixed = pictures(tmp_path / "mixed", "train/cat/1.png", "test/dog/1.png", "extra/cat/1.png")
    with pytest.raises(BadTable, match="the folders test, train are splits, and beside them lie extra; move those"):
        read_source(mixed)


def test_one_class_is_no_label(tmp_path):
    with pytest.raises(BadTable, match=r"column class has the one value 'cat' and was left out.*\n.*has no labels: 2 images"):
        read_source(pictures(tmp_path, "cat/1.png", "cat/2.png"))


def test_many_class_folders_are_identities(tmp_path):
    for person in range(201):
        (tmp_path / f"p{person}").mkdir()
        (tmp_path / f"p{person}" / "1.png").touch()
    attribute = read_source(tmp_path).table.attributes[0]
    assert (attribute.name, attribute.kind, attribute.num_values) == ("identity", "group", 201)


def celeba(root: Path, pictures_folder: str, notes: str = "", partition: str = "") -> Path:
    pictures(root, *(f"{pictures_folder}/{i:06d}.jpg" for i in (1, 2, 3)))
    rows = "000001.jpg -1  1  1\n000002.jpg  1 -1  1\n000003.jpg  1  1 -1\n"
    (root / notes).mkdir(exist_ok=True)
    (root / partition).mkdir(exist_ok=True)
    (root / notes / "list_attr_celeba.txt").write_text("3\nBald Smiling Young \n" + rows)
    (root / notes / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n000003.jpg 2880\n")
    (root / partition / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 0\n")
    return root


@pytest.mark.parametrize(
    "places", [("img_align_celeba",), ("img_align_celeba/img_align_celeba",), (".",), ("Img/img_align_celeba", "Anno", "Eval")]
)
def test_celeba(tmp_path, places):
    source = read_source(celeba(tmp_path, *places))
    table = source.table
    assert [a.name for a in table.attributes] == ["Bald", "Smiling", "Young", "identity"]
    assert table["identity"].kind == "group" and table["identity"].values == ("2880", "2937")
    assert table.columns["Bald"].tolist() == [0, 1, 1]
    assert table.splits.tolist() == ["train", "val", "train"]
    assert Path(tmp_path / table.files[0]).is_file()


def test_celeba_as_png_and_by_its_list(tmp_path):
    root = celeba(tmp_path, "img_align_celeba")
    for file in (root / "img_align_celeba").iterdir():
        file.rename(file.with_suffix(".png"))
    source = read_source(root / "list_attr_celeba.txt")
    assert source.table.files[0] == "img_align_celeba/000001.png"
    assert "3 paths were found by file ending, such as '000001.jpg'" in infos(source)


def test_celeba_takes_the_aligned_of_two_folders(tmp_path):
    root = celeba(tmp_path, "img_align_celeba")
    pictures(root, *(f"img_celeba/{i:06d}.jpg" for i in (1, 2, 3)))
    assert read_source(root).table.files[0] == "img_align_celeba/000001.jpg"


def test_celeba_as_csv(tmp_path):
    root = pictures(tmp_path, "img_align_celeba/1.jpg", "img_align_celeba/2.jpg")
    (root / "list_attr_celeba.csv").write_text("image_id,Bald,Male\n1.jpg,-1,1\n2.jpg,1,-1\n")
    (root / "list_eval_partition.csv").write_text("image_id,partition\n1.jpg,0\n2.jpg,2\n")
    table = read_source(root).table
    assert table.splits.tolist() == ["train", "test"] and [a.name for a in table.attributes] == ["Bald", "Male"]


def test_celeba_lists_cut_short(tmp_path):
    root = celeba(tmp_path, "img_align_celeba")
    (root / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n")
    text = (root / "list_attr_celeba.txt").read_text().replace("3\n", "202599\n", 1)
    (root / "list_attr_celeba.txt").write_text(text)
    source = read_source(root)
    assert source.table.columns["identity"].tolist() == [0, 1, MISSING]
    assert any("does not list 1 of 3 images, such as 000003.jpg" in text for text in infos(source, "warning"))
    assert any("announces 202599 rows and holds 3" in text for text in infos(source, "warning"))
    (root / "list_attr_celeba.txt").write_text(text + "000004.jpg -1 1\n")
    with pytest.raises(BadTable, match=r"list_attr_celeba.txt line 6 has 3 cells where the header has 4"):
        read_source(root)


# Rows without images, images without rows


def test_rows_without_a_picture(tmp_path):
    root = labelled(pictures(tmp_path, *ABC), {**SMILES, **{f"x{i}.png": 0 for i in range(12)}})
    with pytest.raises(BadTable, match=r"12 of 15 rows have no image: 'x0.png' \(metadata.csv line 5\), .*'x9.png' .*12 in all"):
        read_source(root)
    source = read_source(root, SourceOptions(absent="drop"))
    assert source.table.files == list(ABC)
    assert any("12 of 15 rows have no image" in text and "dropped" in text for text in infos(source, "warning"))


def test_pictures_without_a_row(tmp_path):
    root = labelled(pictures(tmp_path, *ABC, "sub/d.png"), SMILES)
    with pytest.raises(BadTable, match=r"1 of 4 images have no label: sub/d.png; add rows, or give unlabelled='keep'"):
        read_source(root)
    kept = read_source(root, SourceOptions(unlabelled="keep")).table
    assert kept.files == [*ABC, "sub/d.png"] and kept.columns["smile"].tolist() == [0, 1, 1, MISSING]
    assert read_source(root, SourceOptions(unlabelled="drop")).table.files == list(ABC)


def test_a_folder_without_labels(tmp_path):
    root = pictures(tmp_path, *ABC)
    with pytest.raises(BadTable, match="has no labels: 3 images, no attribute; add a table with a column file_name"):
        read_source(root)
    assert read_source(root, SourceOptions(unlabelled="keep")).table.files == list(ABC)


@pytest.mark.parametrize(
    ("name", "message"), [(".", "holds no images and no table"), ("nowhere", "does not exist; expected a folder of images")]
)
def test_a_folder_without_anything(tmp_path, name, message):
    with pytest.raises((BadTable, FileNotFoundError), match=message):
        read_source(tmp_path / name)


def test_one_picture_is_no_source(tmp_path):
    with pytest.raises(BadTable, match=r"a.png is one image; expected a folder"):
        read_source(pictures(tmp_path, "a.png") / "a.png")


def test_a_table_without_a_header(tmp_path):
    root = pictures(tmp_path, *ABC)
    (root / "t.csv").write_text("a.png,0\nb.png,1\nc.png,1\n")
    with pytest.raises(BadTable, match=r"first line holds 'a.png', a file; expected names of columns"):
        read_source(root)


def test_a_table_without_paths(tmp_path):
    root = pictures(tmp_path, *ABC)
    (root / "t.csv").write_text("who,smile\nanna,0\nben,1\n")
    with pytest.raises(BadTable, match=r"no column holds paths .*there are who, smile, and files such as a.png, b.png, c.png"):
        read_source(root)


def test_paths_relative_to_the_table(tmp_path):
    root = labelled(pictures(tmp_path, *(f"images/{n}" for n in ABC)), {f"../images/{n}": v for n, v in SMILES.items()}, "labels/t.csv")
    assert read_source(root, SourceOptions(table="labels/t.csv")).table.files == [f"images/{name}" for name in ABC]
    pictures(root, "images/d.png")
    with pytest.raises(BadTable, match=r"1 of 4 images have no label: images/d\.png"):
        read_source(root, SourceOptions(table="labels/t.csv"))


# Duplicates


def test_equal_rows_are_dropped_with_a_count(tmp_path):
    root = pictures(tmp_path, *ABC)
    (root / "metadata.csv").write_text("file_name,smile\na.png,0\nb.png,1\n./a.png,0\nc.png,1\na.png, 0\n")
    source = read_source(root)
    assert source.table.files == list(ABC)
    assert any("2 rows repeat an earlier one and were dropped: a.png" in text for text in infos(source))


def test_contradicting_rows_are_an_error(tmp_path):
    root = pictures(tmp_path, *ABC)
    (root / "metadata.csv").write_text("file_name,smile\na.png,0\nb.png,1\nc.png,1\na.png,1\n")
    with pytest.raises(BadTable, match=r"a.png \(metadata.csv line 2 and metadata.csv line 5: smile is '0' and '1'\)"):
        read_source(root)


def test_equal_names_in_two_folders_are_two_pictures(tmp_path):
    root = labelled(pictures(tmp_path, "x/a.png", "y/a.png"), {"x/a.png": 0, "y/a.png": 1})
    assert read_source(root).table.columns["smile"].tolist() == [0, 1]


# Paths


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("sub/A.PNG", "upper and lower case"),
        ("sub/a.jpg", "file ending"),
        ("sub/a", "file ending"),
        ("./sub/a.png", "./, backslashes or spaces around"),
        ("sub\\a.png", "./, backslashes or spaces around"),
        (" sub/a.png ", "./, backslashes or spaces around"),
        ("sub/../sub/a.png", "./, backslashes or spaces around"),
        ("ROOT/sub/a.png", "absolute path"),
        ("NAME/sub/a.png", "leaving out the folder's own name"),
    ],
)
def test_paths_are_resolved_by_rule(tmp_path, written, rule):
    root = pictures(tmp_path, "sub/a.png", "sub/b.png", "c.png")
    written = written.replace("ROOT", str(tmp_path)).replace("NAME", tmp_path.name)
    labelled(root, {written: 0, "sub/b.png": 1, "c.png": 1})
    source = read_source(root)
    assert source.table.files == ["sub/a.png", "sub/b.png", "c.png"]
    assert any(f"1 paths were found by {rule}" in text for text in infos(source))


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_unicode_forms(tmp_path, forms):
    written, stored = (unicodedata.normalize(form, "é.png") for form in forms)
    root = labelled(pictures(tmp_path, stored, "b.png"), {written: 0, "b.png": 1})
    source = read_source(root)
    assert source.table.files == [stored, "b.png"]
    assert any("1 paths were found by Unicode form" in text for text in infos(source))


def test_names_of_any_kind(tmp_path):
    names = ["ü ñ.png", "🙂.png", " two  spaces.png", "new\nline.png", "=formula.png", "long/" * 40 + "x.png", "com,ma.png"]
    root = pictures(tmp_path, *names)
    rows = "".join(f'"{name}",{i % 2}\n' for i, name in enumerate(names))
    (root / "metadata.csv").write_text("file_name,smile\n" + rows)
    assert read_source(root).table.files == names


def test_names_that_are_no_text(tmp_path):
    root = pictures(tmp_path, "cat/a.png", "dog/b.png")
    name = os.fsdecode(b"cat/\xff.png")
    try:
        pictures(root, name)
    except OSError:
        pytest.skip("this file system takes text only")
    source = read_source(root)
    assert name in source.table.files
    json.dumps(describe(source)).encode()


def test_control_characters_are_escaped_when_shown(tmp_path):
    root = labelled(pictures(tmp_path, *ABC, "bad\x1b[31m\n.png"), SMILES)
    with pytest.raises(BadTable, match=r"bad\\x1b\[31m\\n.png"):
        read_source(root)


def test_an_ambiguous_path_names_the_choices(tmp_path):
    root = labelled(pictures(tmp_path, "a.png", "a.webp", "b.png"), {"a.jpg": 0, "b.png": 1})
    with pytest.raises(BadTable, match=r"'a.jpg' \(metadata.csv line 2\), the first a.png, a.webp; write them exactly"):
        read_source(root, SourceOptions(unlabelled="drop"))


def test_two_folders_with_the_same_names(tmp_path):
    root = labelled(pictures(tmp_path, "big/a.png", "big/b.png", "small/a.png", "small/b.png"), {"a.png": 0, "b.png": 1})
    with pytest.raises(ValueError, match="lie in big and in small; give the folder that is meant"):
        read_source(root)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "C:\\pictures\\a.png", "sub/../../a.png"])
def test_paths_out_of_the_folder(tmp_path, path):
    root = labelled(pictures(tmp_path / "data", *ABC), {**SMILES, path: 1})
    with pytest.raises(BadTable, match=r"1 paths lead out of the folder: .* \(metadata.csv line 5\)"):
        read_source(root)


# Links, devices, permissions


def test_links_are_followed_inside_the_folder_only(tmp_path):
    root = pictures(tmp_path / "data", "cat/a.png", "dog/b.png")
    pictures(tmp_path, "outside.png", "away/c.png")
    (root / "cat" / "inside.png").symlink_to(root / "dog" / "b.png")
    (root / "cat" / "out.png").symlink_to(tmp_path / "outside.png")
    (root / "away").symlink_to(tmp_path / "away")
    (root / "cat" / "broken.png").symlink_to(root / "nothing")
    listing = walk(root)
    assert listing.files == ["cat/a.png", "cat/inside.png", "dog/b.png"]
    assert listing.skipped == {"a link out of the folder": ["away", "cat/out.png"], "a link to nothing": ["cat/broken.png"]}
    assert walk(root, links="anywhere").files == ["away/c.png", "cat/a.png", "cat/inside.png", "cat/out.png", "dog/b.png"]
    assert any("skipped 2 x a link out of the folder: away, cat/out.png" in text for text in infos(read_source(root), "warning"))


def test_a_row_that_names_a_link_out_says_so(tmp_path):
    root = labelled(pictures(tmp_path / "data", *ABC), {**SMILES, "out.png": 1})
    (root / "out.png").symlink_to(pictures(tmp_path, "outside.png") / "outside.png")
    with pytest.raises(BadTable, match=r"1 of 4 rows name a link out of the folder, which was not followed: 'out.png'"):
        read_source(root)


def test_loops_end(tmp_path):
    root = pictures(tmp_path, "cat/a.png", "dog/b.png")
    (root / "cat" / "again").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    listing = walk(root)
    assert listing.files == ["cat/a.png", "dog/b.png"]
    assert listing.skipped["a folder reached a second time by a link"] == ["cat/again"]


def test_pipes_and_hidden_files_are_not_opened(tmp_path):
    root = pictures(tmp_path, "cat/a.png", "cat/._a.png", ".hidden/b.png", "dog/b.png", "__MACOSX/cat/a.png")
    os.mkfifo(root / "cat" / "pipe.png")
    listing = walk(root)
    assert listing.files == ["cat/a.png", "dog/b.png"]
    assert listing.skipped == {"a pipe, socket or device": ["cat/pipe.png"]}


def test_unreadable_files_are_counted(tmp_path, monkeypatch):
    root = pictures(tmp_path, "cat/a.png", "cat/b.png", "dog/b.png")
    readable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("cat/b.png") and readable(path, mode))
    assert walk(root).skipped == {"a file without permission to read": ["cat/b.png"]}


# All together


def test_everything_wrong_is_said_at_once_or_noted(tmp_path):
    root = pictures(tmp_path, *(f"{i}.png" for i in range(20)))
    rows = {f"{i}.png": "blond" if i % 2 else "brown" for i in range(19)}
    labelled(root, {**rows, "0.png": "blnod", "x.png": "blond"}, header="file_name,hair")
    with pytest.raises(BadTable) as caught:
        read_source(root)
    wrong = str(caught.value).splitlines()
    assert len(wrong) == 3
    assert "1 of 20 rows have no image: 'x.png'" in wrong[0]
    assert "metadata.csv line 2, column hair: unknown value 'blnod'" in wrong[1] and "did you mean 'blond'" in wrong[1]
    assert "1 of 20 images have no label: 19.png" in wrong[2]
    source = read_source(root, strict=False)
    assert infos(source, "error") == wrong
    assert source.table.columns["hair"][0] == MISSING and len(source.table) == 19


def test_describe(tmp_path):
    root = pictures(tmp_path, *ABC, "d.png")
    header = "file_name,split,identity,smile,hair,yaw"
    rows = ["a.png,train,anna,1,red,-1.5", "b.png,train,ben,0,dark,", "c.png,test,anna,,red,2.5", "d.png,train,eve,0,dark,0.5"]
    (root / "metadata.csv").write_text("\n".join([header, *rows]))
    told = describe(read_source(root))
    assert json.loads(json.dumps(told))["pictures"] == 4
    identity, smile, hair, yaw = told["attributes"]
    assert (identity["groups"], identity["single"], identity["largest"]["anna"]) == (3, 2, 2)
    assert (smile["kind"], smile["values"], smile["missing"]) == ("binary", {"0": 2, "1": 1}, 1)
    assert hair["values"] == {"dark": 2, "red": 2}
    assert (yaw["low"], yaw["high"], yaw["known"], yaw["mirror"]) == (-1.5, 0.5, 3, "negate")
    assert told["splits"] == {"train": 3, "val": 0, "test": 1}
    assert (told["group"], told["groups"]) == ("identity", 3)
    leak = [note for note in told["notes"] if "more than one split: anna" in note["text"]]
    assert leak[0]["level"] == "warning" and "split column" in leak[0]["fix"]
    assert describe(read_source(root).table)["root"] is None


def test_thousands_of_rows_are_read_within_seconds(tmp_path):
    names = [f"{i:05d}.png" for i in range(4_000)]
    for name in names:
        (tmp_path / name).touch()
    header = "file_name,identity," + ",".join(f"a{k}" for k in range(40))
    rows = (f"{name},p{i // 3}," + ",".join(str((i + k) % 2) for k in range(40)) for i, name in enumerate(names))
    (tmp_path / "metadata.csv").write_text("\n".join([header, *rows]))
    start = process_time()
    table = read_source(tmp_path).table
    assert len(table) == 4_000 and len(table.attributes) == 41
    assert process_time() - start < 4
