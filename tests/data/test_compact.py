"""Columns in few bytes stand for the arrays and lists that they hold."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from recombine.data.compact import PIECE, Compact, Lazy, Texts, below, narrowed, pieces

NUMBERS = np.array([3, -1, 0, 127, 5], dtype=np.int64)
SPLITS = np.array(["train", "val", "test"])


@pytest.fixture(params=["numbers", "values"])
def pair(request):
    """A compact column and the array it stands for."""
    codes = np.array([0, 2, 1, 0, 0], dtype=np.uint8)
    return (narrowed(NUMBERS), NUMBERS) if request.param == "numbers" else (Compact(codes, SPLITS), SPLITS[codes])


def test_rows_that_are_taken_are_arrays_of_the_type_that_it_stands_for(pair):
    column, array = pair
    assert (len(column), column.shape, column.dtype, column.ndim) == (5, array.shape, array.dtype, 1)
    for rows in (slice(1, 4), slice(None, None, -1), [4, 0, 4], np.array([1, -1]), array == array[0]):
        taken = column[rows]
        assert isinstance(taken, np.ndarray) and taken.dtype == array.dtype and np.array_equal(taken, array[rows])
    assert column[3] == array[3] and column[-1].dtype == array[-1].dtype and list(column) == list(array)
    with pytest.raises(IndexError):
        column[5]


def test_numpy_takes_it_for_the_array(pair):
    column, array = pair
    assert np.array_equal(column, array) and np.asarray(column).dtype == array.dtype
    assert np.array_equal(column == array[0], array == array[0]) and np.array_equal(array[0] != column, array != array[0])
    assert np.array_equal(np.unique(column), np.unique(array)) and np.array_equal(np.concatenate([column, column]), np.tile(array, 2))
    assert column.tolist() == array.tolist() and np.array_equal(np.where(column == array[0], column, array[1]), np.where(array == array[0], array, array[1]))
    assert np.array_equal(pickle.loads(pickle.dumps(column)), array) and "5" in repr(narrowed(NUMBERS))
    with pytest.raises(AttributeError):
        column.no_such_thing  # noqa: B018


def test_sums_never_overflow_the_few_bytes():
    column = narrowed(NUMBERS)
    assert (column + 127).tolist() == (NUMBERS + 127).tolist() and (column * 1000).max() == 127_000 == column.max() * 1000
    assert np.arange(200)[column[:4]].tolist() == np.arange(200)[column].tolist()[:4] == [3, 199, 0, 127]


@pytest.mark.parametrize(("most", "bytes_"), [(1, 1), (127, 1), (128, 2), (32_767, 2), (32_768, 4), (2**31, 8)])
def test_a_column_has_as_few_bytes_as_its_numbers_need(most, bytes_):
    column = narrowed(np.array([-1, most]))
    assert column.codes.itemsize == bytes_ and column.tolist() == [-1, most]


def test_numbers_of_a_unit_stay_as_they_are_and_none_at_all_is_no_error():
    numbers = np.array([0.5, np.nan], dtype=np.float32)
    assert narrowed(numbers) is numbers
    assert narrowed(np.array([], dtype=np.int64)).tolist() == []


def test_columns_below_each_other_stay_narrow_where_they_mean_the_same():
    both = below([narrowed(NUMBERS), narrowed(np.array([400]))])
    assert both.codes.dtype == np.int16 and both.tolist() == [*NUMBERS, 400]
    splits = Compact(np.array([2, 0], dtype=np.uint8), SPLITS)
    assert below([splits, splits]).tolist() == ["test", "train"] * 2 and isinstance(below([splits, splits]), Compact)
    assert below([splits, np.array(["val"])]).tolist() == ["test", "train", "val"]


def test_texts_are_as_good_as_a_list():
    names = ["a.png", "Zoë 😀/b c.png", "new\nline.png", "d.png"]
    texts = Texts(pa.chunked_array([names[:3], names[3:]]))
    assert texts == names and names == texts and texts != names[:3] and texts != [*names[:3], "e"] and texts != "abcd"
    assert list(texts) == names and (texts[1], texts[-1], texts[np.int64(3)]) == (names[1], names[-1], names[3])
    assert texts[1:3] == names[1:3] and texts[np.array([3, 0])] == ["d.png", "a.png"]
    assert "d.png" in texts and "e" not in texts and texts.index("d.png") == 3 and len(texts) == 4
    assert Texts.below([texts, texts.after("2/")]) == names + [f"2/{name}" for name in names]
    assert pickle.loads(pickle.dumps(texts)) == names and "4 in all" in repr(texts)
    with pytest.raises(IndexError):
        texts[4]


def test_pieces_are_the_whole_in_order():
    numbers = np.arange(2 * PIECE + 3)
    assert np.array_equal(np.concatenate(list(pieces(narrowed(numbers)))), numbers) and len(list(pieces(numbers))) == 3


def test_lazy_columns_are_read_when_asked_for():
    read = []
    columns = Lazy(("a", "b"), lambda name: read.append(name) or name * 2)
    assert list(columns) == ["a", "b"] and "a" in columns and "c" not in columns and len(columns) == 2 and not read
    assert columns["b"] == "bb" and columns.get("c") is None and read == ["b"]
