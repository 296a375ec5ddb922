"""Which kind a column has, and which of its texts are slips of the pen."""

import itertools

import numpy as np
import pytest

from recombine.data.sources import columns
from recombine.data.sources.cells import Cells
from recombine.data.sources.columns import correction, factorise, infer, named, slip, type_column


def kind_of(name, texts):
    return infer(factorise(name, list(map(str, texts))))[0]


@pytest.mark.parametrize(
    ("name", "texts", "kind"),
    [
        ("sex", ["male", "female"] * 5, "categorical"),
        ("hair", ["blond", "brown", "red"] * 5, "categorical"),
        ("glasses", ["none", "round", "none", "square"], "categorical"),
        ("yaw", [-90, -45, 0, 45, 90] * 10, "continuous"),
        ("level", [0, 1, 2] * 10, "categorical"),
        ("years", [20, 31, 45, 52, 60, 33], "continuous"),
        ("years", list(range(15, 80)) * 3, "continuous"),
        ("score", [0.25, 0.5, 0.25, 0.75], "continuous"),
        ("brightness", [0.0, 0.5, 1.0] * 10, "continuous"),
        ("identity", ["anna", "ben", "anna"], "group"),
        ("identity", [0, 1, 0, 1], "group"),
        ("personId", ["p1", "p2", "p1"], "group"),
        ("clip", ["c1", "c2", "c1"], "group"),
        ("has_speaker", [0, 1, 0, 1], "binary"),
        ("code", [f"n{i // 3}" for i in range(900)], "group"),
        ("breed", [f"breed {i % 120}" for i in range(1200)], "categorical"),
        ("badge", ["001", "002", "003"] * 100, "categorical"),
        ("caption", [f"an image of {i}" for i in range(50)], None),
        ("uid", [f"u{i}" for i in range(50)], None),
        ("index", list(range(50)), None),
        ("age_group", ["child", "adult", "child"], "categorical"),
    ],
)
def test_inferred_kind(name, texts, kind):
    assert kind_of(name, texts) == kind


@pytest.mark.parametrize(
    ("name", "texts", "kind", "strays"),
    [
        ("smile", [-1, 1] * 10 + [0], "binary", ["0"]),
        ("smile", ["yes", "no"] * 10 + ["?", "?", "maybe"], "binary", ["?", "maybe"]),
        ("yaw", [f"{i}.5" for i in range(20)] + ["left"], "continuous", ["left"]),
        ("level", [0, 1, 2] * 10 + ["none"], "categorical", []),
        ("level", [0, 1, 2] * 10 + ["high"], "categorical", ["high"]),
        ("hair", ["blond"] * 9 + ["blnod"] + ["brown"] * 9, "categorical", ["blnod"]),
        ("identity", ["anna", "ana", *["anna"] * 9], "group", []),
    ],
)
def test_what_does_not_belong_to_the_inferred_kind(name, texts, kind, strays):
    column = factorise(name, list(map(str, texts)))
    found, codes = infer(column)
    assert (found, [column.texts[code] for code in codes]) == (kind, strays)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("blnod", "blond", True), ("blon", "blond", True), ("blondd", "blond", True), ("blend", "blond", True),
        ("Dark Red", "dark_red", True), ("male", "female", False), ("type1", "type2", False), ("cat", "bat", False),
        ("white", "black", False),
    ],
)  # fmt: skip
def test_what_counts_as_a_slip(a, b, expected):
    assert slip(a, b) is expected and slip(b, a) is expected


def test_words_are_compared_only_where_they_may_be_a_slip_apart(monkeypatch):
    rng, calls = np.random.default_rng(0), []
    frequent = ["".join(rng.choice(list("abcde1 _"), 5)) for _ in range(60)]
    rare = ["".join(rng.choice(list("abcdeA1 _"), size)) for size in rng.integers(3, 7, 300)]
    column = factorise("hair", frequent * 9 + rare)
    often = [code for code in range(len(column.texts)) if column.counts[code] >= 9]
    for code in range(len(column.texts)):
        alike = [c for c in often if column.counts[c] >= 8 * column.counts[code] and slip(column.texts[code], column.texts[c])]
        expected = column.texts[max(alike, key=lambda c: column.counts[c])] if alike else None
        assert correction(column, code) == expected
    monkeypatch.setattr(columns, "slip", lambda a, b: calls.append(1) or slip(a, b))
    words = [f"{word}{word[::-1]}" for word in map("".join, itertools.product("abcdefghij", repeat=3))]
    type_column(factorise("hair", [*words * 9, *(word[1:] for word in words)]), Cells({}, [], []), "categorical", "missing", True)
    assert 0 < len(calls) < 20 * len(words)


def test_names_of_columns_are_split_into_words():
    assert named("personId", ("id",)) and named("Person-ID", ("id",)) and not named("video", ("id",))
