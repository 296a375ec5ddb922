"""Typing the columns of a table, and dividing its rows into splits."""

import numpy as np
import pytest

from recombine.cli import main
from recombine.data.packed import write_pack
from recombine.data.samplers import Pairs
from recombine.data.schema import MISSING, Attribute, Schema
from recombine.data.sources.cells import Cells
from recombine.data.sources.columns import mirror_rule
from recombine.data.sources.labels import (
    LabelTable,
    check_leaks,
    check_lone,
    find_group,
    make_table,
    scarce,
    split_by_group,
)
from recombine.data.sources.source import SourceOptions


def typed(columns: dict[str, list], **options):
    """A table of the given columns, as `make_table` types them, and the notes."""
    rows = len(next(iter(columns.values())))
    cells = Cells({n: list(map(str, c)) for n, c in columns.items()}, ["t.csv line"] * rows, list(range(2, rows + 2)))
    return make_table(cells, [f"{i}.png" for i in range(rows)], SourceOptions(**{"few": 0, **options}))


def errors(notes):
    return [str(note) for note in notes if note.level == "error"]


# Kinds


def test_an_index_without_a_name_is_no_label():
    _, notes = typed({"unnamed_1": range(5), "smile": [0, 1, 0, 1, 1]})
    assert [n.text for n in notes] == ["column unnamed_1 was left out: nearly every row has a value of its own"]


@pytest.mark.parametrize(
    ("no", "yes"), [("0", "1"), ("-1", "1"), ("no", "Yes"), ("False", "TRUE"), ("0.0", "1.0"), ("off", "on"), ("-1.0", "1")]
)
def test_every_way_to_say_yes_is_binary(no, yes):
    table, _ = typed({"smile": [no, yes, yes, "", "NaN"]})
    assert table.attributes == (Attribute("smile", "binary", ("0", "1")),)
    assert table.columns["smile"].tolist() == [0, 1, 1, MISSING, MISSING]
    assert table.columns["smile"].dtype == np.int64


def test_spellings_are_reported_once_for_all_columns():
    _, notes = typed({"a": [-1, 1, 1], "b": [1, -1, -1], "c": [0, 1, 1]})
    assert [n.text for n in notes if "read as no or yes" in n.text] == ["-1, 1 read as no or yes in 2 columns"]


def test_three_values_around_zero_are_not_taken_for_yes_and_no():
    table, notes = typed({"lipstick": [-1, 0, 1] * 5})
    assert table.attributes[0].values == ("-1", "0", "1")
    assert any("if 0 stands for not known" in str(note) for note in notes)
    table, _ = typed({"lipstick": [-1, 0, 1] * 5}, kinds={"lipstick": "binary"}, new_values="missing")
    assert table.columns["lipstick"].tolist()[:3] == [0, MISSING, 1]


def test_kinds_can_be_stated():
    columns = {"age": [1, 2, 3] * 4, "shade": [1, 2, 3] * 4, "who": ["x", "y", "z"] * 4, "hair": ["red", "dark", ""] * 4}
    kinds = {"age": "categorical", "shade": "continuous", "who": "group", "hair": ("dark", "red", "white")}
    table, notes = typed(columns, kinds=kinds)
    assert [a.kind for a in table.attributes] == ["categorical", "continuous", "group", "categorical"]
    assert table["hair"].values == ("dark", "red", "white")
    assert table.columns["hair"][:3].tolist() == [1, 0, MISSING]
    assert not errors(notes)


def test_an_attribute_of_an_existing_schema_keeps_its_numbers():
    known = Attribute("hair", "categorical", ("red", "dark"), mirror="keep")
    yaw = Attribute("yaw", "continuous", (), -90.0, 90.0, "negate")
    table, notes = typed({"hair": ["dark", "drak"], "yaw": [1, 2]}, kinds={"hair": known, "yaw": yaw})
    assert table.attributes == (known, yaw)
    assert table.columns["hair"].tolist() == [1, MISSING]
    assert "unknown value 'drak', expected red, dark; did you mean 'dark'?" in errors(notes)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"hiar": "categorical"}}, "no label column 'hiar'; there are hair, age; did you mean 'hair'"),
        ({"attributes": ["agee"]}, "no label column 'agee'; there are hair, age; did you mean 'age'"),
        ({"kinds": {"hair": "class"}}, "hair: unknown kind 'class'; expected binary, categorical, continuous, group"),
    ],
)
def test_wrong_names_in_options(options, message):
    with pytest.raises(ValueError, match=message):
        typed({"hair": ["a", "b"], "age": [1.5, 2.5]}, **options)


def test_values_stand_in_natural_order_and_numbers_are_tidy():
    table, _ = typed({"size": ["10", "2.0", "1", "2"] * 3, "type": ["t10", "t2", "t1", "t2"] * 3})
    assert table["size"].values == ("1", "2", "10")
    assert table["type"].values == ("t1", "t2", "t10")
    assert table.columns["size"][:4].tolist() == [2, 1, 0, 1]


def test_missing_cells_by_kind():
    table, notes = typed({
        "hair": ["red", "none", "dark", "NA", " null "] * 2,
        "yaw": ["1.5", "none", "-2", "?", "nan"] * 2,
        "smile": ["yes", "no", "unknown", "-", "N/A"] * 2,
    })  # fmt: skip
    assert table["hair"].values == ("dark", "none", "red")
    assert table.columns["hair"][:5].tolist() == [2, 1, 0, MISSING, MISSING]
    np.testing.assert_array_equal(table.columns["yaw"][:5], np.array([1.5, np.nan, -2, np.nan, np.nan], np.float32))
    assert table.columns["smile"][:5].tolist() == [1, 0, MISSING, MISSING, MISSING]
    assert table.counts("smile") == {"0": 2, "1": 2} and table.known("smile").sum() == 4
    assert any("yaw: 'none', '?' read as missing, 4 cells" in note.text for note in notes)


def test_range_of_a_continuous_attribute_comes_from_training():
    table, _ = typed({"yaw": ["-1.5", "2.5", "90"], "split": ["train", "train", "test"]})
    assert (table["yaw"].low, table["yaw"].high) == (-1.5, 2.5)


def test_groups_that_are_equal_numbers_have_one_order_whatever_the_rows():
    for ids in (["1", "1.0", "2"], ["2", "1.0", "1"]):
        assert typed({"person_id": ids * 2})[0]["person_id"].values == ("1", "1.0", "2")


# Values that do not belong


def test_a_typo_is_named_with_line_column_value_and_the_nearest():
    _, notes = typed({"hair": ["blond"] * 9 + ["blnod"] + ["brown"] * 9})
    assert errors(notes)[0].startswith("t.csv line 11, column hair: unknown value 'blnod', expected blond, brown; did you mean 'blond'?")
    assert "new_values" in errors(notes)[0]


def test_a_stray_number_among_yes_and_no():
    _, notes = typed({"smile": [-1, 1] * 10 + [2]})
    assert "t.csv line 22, column smile: unknown value '2', expected yes or no (here -1, 1)" in errors(notes)[0]


def test_a_stray_zero_among_minus_one_and_one():
    _, notes = typed({"smile": [-1, 1] * 10 + [0]})
    assert "line 22, column smile: unknown value '0', expected yes or no (here -1, 1)" in errors(notes)[0]


def test_a_stray_word_among_numbers():
    _, notes = typed({"yaw": [f"{i}.5" for i in range(20)] + ["left"]})
    assert "t.csv line 22, column yaw: 'left' is not a number" in errors(notes)[0]
    assert "'add'" not in errors(notes)[0]


def test_many_strays_are_counted():
    _, notes = typed({"yaw": ["1.5"] * 12 + ["2.5"]}, kinds={"yaw": "binary"})
    assert "(and 3 more)" in errors(notes)[0]


@pytest.mark.parametrize(
    ("texts", "new_values", "kind", "values", "last"),
    [
        (["blond", "red"] * 10 + ["blnod"], "add", "categorical", ("blnod", "blond", "red"), 0),
        (["blond", "red"] * 10 + ["blnod"], "missing", "categorical", ("blond", "red"), MISSING),
        (["0", "1"] * 10 + ["2"], "add", "categorical", ("0", "1", "2"), 2),
        (["0", "1"] * 10 + ["2"], "missing", "binary", ("0", "1"), MISSING),
    ],
)
def test_new_values(texts, new_values, kind, values, last):
    table, notes = typed({"a": texts}, new_values=new_values)
    assert (table["a"].kind, table["a"].values, table.columns["a"][-1]) == (kind, values, last)
    assert not errors(notes)


def test_frequent_values_are_never_typos():
    _, notes = typed({"look": ["happy", "nappy"] * 10})
    assert not errors(notes)


def test_values_that_differ_in_spelling_alone_are_warned_about():
    _, notes = typed({"hair": ["Blond", "blond"] * 10})
    assert any("differ in spelling alone: 'Blond', 'blond'" in note.text for note in notes if note.level == "warning")


# Constant and rare


def test_a_constant_column_is_left_out_unless_asked_for():
    columns = {"smile": [0, 1, 1], "hat": [0, 0, ""], "empty": ["", "NA", ""]}
    table, notes = typed(columns)
    assert [a.name for a in table.attributes] == ["smile"]
    assert [n.text for n in notes if n.level == "warning"] == [
        "column hat has the one value '0' and was left out",
        "column empty is empty in every row and was left out",
    ]
    _, notes = typed(columns, attributes=["hat", "smile"])
    assert "attribute hat has the one value '0', so nothing can be learnt from it" in errors(notes)[0]
    table, notes = typed(columns, attributes=["smile"])
    assert not errors(notes) and [a.name for a in table.attributes] == ["smile"]


def test_rare_values_are_warned_about_in_one_note():
    _, notes = typed({"hat": [0] * 30 + [1] * 3, "hair": ["red"] * 31 + ["dark"] * 2}, few=20)
    assert [n.text for n in notes if n.level == "warning"] == ["fewer than 20 images show hat=1 (3), hair=dark (2)"]


def test_rest_is_no_name_for_an_attribute():
    _, notes = typed({"rest": ["0", "1"]})
    assert "a column is called rest; rename it" in errors(notes)[0]


# Mirrors


@pytest.mark.parametrize(
    ("name", "kind", "values", "expected"),
    [
        ("yaw", "continuous", (), "negate"),
        ("head_roll", "continuous", (), "negate"),
        ("gaze_x", "continuous", (), "negate"),
        ("gaze_y", "continuous", (), "keep"),
        ("pitch", "continuous", (), "keep"),
        ("look", "categorical", ("left", "right", "up"), (("left", "right"),)),
        ("part", "categorical", ("Parted Left", "Parted Right", "none"), (("Parted Left", "Parted Right"),)),
        ("tone", "categorical", ("bright", "dark"), "keep"),
        ("side", "categorical", ("L", "R"), (("L", "R"),)),
    ],
)
def test_mirror_rule(name, kind, values, expected):
    assert mirror_rule(name, kind, values) == expected


def test_labels_that_cannot_be_mirrored_are_warned_about():
    _, notes = typed({
        "yaw": ["10.5", "350.5", "20.5"], "look": ["left", "ahead", "left"], "left_eye_closed": [0, 1, 0],
    })  # fmt: skip
    text = " ".join(map(str, notes))
    assert "yaw runs from 10.5 to 350.5, and a mirrored image would have its negative" in text
    assert "look: left has no value for the other side" in text
    assert "left_eye_closed changes sides" in text


# Splits


@pytest.mark.parametrize(
    ("column", "words", "expected"),
    [
        ("split", ["train", "valid", "test"], ["train", "val", "test"]),
        ("Split", ["Training", "validation", "testing"], ["train", "val", "test"]),
        ("partition", ["0", "1", "2"], ["train", "val", "test"]),
        ("split", ["train", "dev", "val"], ["train", "val", "val"]),
    ],
)
def test_split_words(column, words, expected):
    table, notes = typed({column: words, "smile": [0, 1, 1]})
    assert table.splits.tolist() == expected
    assert [a.name for a in table.attributes] == ["smile"] and not errors(notes)


def test_an_unknown_split_is_named():
    _, notes = typed({"split": ["train", "tset"], "smile": [0, 1]})
    assert "t.csv line 3, column split: unknown split 'tset'; did you mean 'test'? (1 such rows)" in errors(notes)[0]


def test_a_column_called_set_may_be_an_attribute():
    table, _ = typed({"set": ["tools", "toys"] * 5})
    assert table.splits is None and table["set"].kind == "categorical"


def people(sizes: dict[str, int], **more) -> LabelTable:
    names = tuple(sizes)
    column = np.repeat(np.arange(len(names)), list(sizes.values()))
    files = [f"{names[m]}-{i}.png" for i, m in enumerate(column)]
    return LabelTable((Attribute("identity", "group", names),), files, {"identity": column}, **more)


def test_no_identity_stands_on_two_sides():
    table = people({f"p{i}": 1 + i % 9 for i in range(200)})
    splits = split_by_group(table, seed=1)
    sides = {m: set(splits[table.columns["identity"] == m]) for m in range(200)}
    assert all(len(side) == 1 for side in sides.values())
    shares = [(splits == s).mean() for s in ("train", "val", "test")]
    np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.01)


def test_splits_depend_on_seed_and_not_on_order():
    table = people({f"p{i}": 3 for i in range(50)})
    order = np.random.default_rng(0).permutation(len(table))
    splits = split_by_group(table, seed=1)
    np.testing.assert_array_equal(split_by_group(table.take(order), seed=1), splits[order])
    assert (split_by_group(table, seed=2) != splits).any()


def test_without_groups_pictures_are_divided_one_by_one():
    table = LabelTable((), [f"{i}.png" for i in range(1000)], {})
    assert dict(zip(*np.unique(split_by_group(table, 0), return_counts=True), strict=True)) == {"train": 800, "val": 100, "test": 100}
    assert set(split_by_group(table, 0, (1.0, 0.0, 0.0))) == {"train"}


def test_rows_without_identity_are_their_own_group():
    table = people({"anna": 10, "ben": 10, "eve": 10})
    table.columns["identity"][:10] = MISSING
    assert len(set(split_by_group(table, 0)[:10])) > 1


def test_no_split_stays_empty_where_groups_suffice():
    assert set(split_by_group(people({"anna": 50, "ben": 2, "eve": 1}), 0)) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [((0.8, 0.1, 0.1), "identity has 2 values, too few for 3 splits"), ((0.5, 0.1, 0.1), r"add up to 1, not \(0.5")],
)
def test_splits_that_cannot_be_made(fractions, message):
    with pytest.raises(ValueError, match=message):
        split_by_group(people({"anna": 5, "ben": 5}), 0, fractions)


def test_the_group_named_like_a_person_keeps_pictures_together():
    clip, person = Attribute("clip", "group", ("a", "b")), Attribute("person", "group", ("x", "y"))
    table = LabelTable((clip, person), ["1.png"], {"clip": np.array([0]), "person": np.array([0])})
    assert find_group(table) == person and find_group(table, "clip") == clip


def test_a_leak_is_named():
    table = people({"anna": 2, "ben": 1, "eve": 2}, splits=np.array(["train", "test", "test", "train", "val"]))
    assert "2 of 3 values of identity stand in more than one split: anna, eve" in check_leaks(table)[0].text
    assert not check_leaks(people({"anna": 2, "ben": 1}, splits=np.array(["train", "train", "val"])))


def test_select_and_take():
    table, _ = typed({"smile": [0, 1, 1], "hair": ["red", "dark", "red"]})
    part = table.select("hair").take(np.array([True, False, True]))
    assert part.files == ["0.png", "2.png"] and part.columns["hair"].tolist() == [1, 1] and len(part.attributes) == 1
    with pytest.raises(KeyError, match="no attribute 'hiar'; there are smile, hair; did you mean 'hair'"):
        table.select("hiar")


# Too little of something


def packed_labels(folder, splits):
    """30 images: red 27 and blue 3, ages of 5, persons a, a, b (alone in its split) and so on, in these splits."""
    schema = Schema(
        (
            Attribute("hair", "categorical", ("blue", "green", "red")),
            Attribute("age", "continuous", low=0, high=29),
            Attribute("person", "group", ("a", "b", "c", "d")),
        ),
        height=2,
        width=2,
    )
    labels = {
        "hair": np.where(np.arange(30) < 3, 0, 2),
        "age": np.where(np.arange(30) < 5, np.arange(30), np.nan),
        "person": np.array([0, 0, 1, 3, 3, 2, *[MISSING] * 24]),
    }
    return write_pack(folder, np.zeros((30, 3, 2, 2), np.uint8), schema, [f"{i}.png" for i in range(30)], labels, splits)


def test_what_there_is_too_little_of_is_said_with_counts_of_training_pictures(tmp_path):
    pack = packed_labels(tmp_path, ["train"] * 28 + ["val"] * 2)
    (text,) = scarce(pack)
    assert text.startswith("fewer than 20 training images show hair=blue (3), hair=green (0), age (5); label more of these")
    assert scarce(pack, ["hair"], few=3) == [text.replace("20", "3").replace("hair=blue (3), ", "").replace(", age (5)", "")]
    assert scarce(pack, ["age"], few=5) == []


def test_who_has_one_picture_in_a_split_is_counted_and_named(tmp_path):
    pack = packed_labels(tmp_path, ["train", "val", *["train"] * 28])
    table = LabelTable(pack.schema.attributes, pack.files, pack.labels, pack.splits)
    (note,) = check_lone(table)
    assert str(note).startswith("4 of 6 images of their split are the only one of their person: a, a, b, c; they cannot form a pair")
    (text,) = scarce(pack, ["person"])
    assert text.startswith("3 of 5 images are the only one of their person: a, b, c;")
    assert check_lone(LabelTable(pack.schema.attributes, pack.files, pack.labels))[0].text.startswith("2 of 6 images are the only one of their person: b, c")
    assert Pairs(pack, by="person").left_out == 29 - 2


def test_data_and_train_say_it(tmp_path, capsys):
    packed_labels(tmp_path / "pack", ["train"] * 28 + ["val"] * 2)
    assert main(["data", str(tmp_path / "pack")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "warning: fewer than 20 images show hair=blue (3), hair=green (0), age (5)" in out
    assert "info: 2 of 6 images of their split are the only one of their person: b, c; they cannot form a pair" in out
    main(["train", str(tmp_path / "pack"), "--attributes", "hair", "--out", str(tmp_path / "run"), "--judge", "none", "--images", "8"])
    assert "warning: fewer than 20 training images show hair=blue (3), hair=green (0); label more" in capsys.readouterr().err
