"""Reading tables, whatever their format."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recombine.data.sources.cells import BadTable, read_cells


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_any_delimiter_encoding_and_line_ending(tmp_path, delimiter, encoding, ending):
    rows = [["file_name", "hair", "smile"], ["a.png", "blond", "1"], ["b.png", "brün, dark", "0"]]
    text = ending.join(delimiter.join(f'"{c}"' if delimiter in c else c for c in row) for row in rows) + ending
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    cells = read_cells(tmp_path / "t.csv")
    assert cells.columns == {"file_name": ["a.png", "b.png"], "hair": ["blond", "brün, dark"], "smile": ["1", "0"]}
    assert cells.place(1) == "t.csv line 3"


def test_lines_are_counted_across_blank_lines_and_newlines_in_names(tmp_path):
    (tmp_path / "t.csv").write_text('file_name,hair\n"a\nb.png",blond\n\nc.png,brown\n')
    cells = read_cells(tmp_path / "t.csv")
    assert cells.columns["file_name"] == ["a\nb.png", "c.png"]
    assert cells.lines == [2, 5]


def test_windows_encoding_is_read_and_said(tmp_path):
    (tmp_path / "t.csv").write_bytes("file_name,hair\na.png,grün\n".encode("cp1252"))
    cells = read_cells(tmp_path / "t.csv")
    assert cells.columns["hair"] == ["grün"]
    assert any("line 2 is not UTF-8" in note.text for note in cells.notes)


def test_decimal_commas_between_semicolons(tmp_path):
    (tmp_path / "t.csv").write_text("file_name;yaw;n\na.png;-1,5;3\nb.png;2;4\n")
    cells = read_cells(tmp_path / "t.csv")
    assert cells.columns["yaw"] == ["-1.5", "2"]
    assert any("decimal commas" in note.text and "yaw" in note.text for note in cells.notes)


def test_json_lines(tmp_path):
    entries = [{"file_name": "a.png", "smile": True, "boxes": [1, 2]}, {"file_name": "b.png", "hair": None, "smile": False}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, entries)))
    cells = read_cells(tmp_path / "m.jsonl")
    assert cells.columns == {"file_name": ["a.png", "b.png"], "smile": ["true", "false"], "hair": ["", ""]}
    assert any("boxes" in note.text for note in cells.notes)


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"file_name": }', r"m.jsonl line 2 is not JSON .* one object per line"), ("[1]", r"line 2 holds '\[1\]'; expected an object")],
)
def test_broken_json_lines(tmp_path, line, message):
    (tmp_path / "m.jsonl").write_text('{"file_name": "a.png"}\n' + line)
    with pytest.raises(BadTable, match=message):
        read_cells(tmp_path / "m.jsonl")


def test_parquet(tmp_path):
    table = pa.table({"file_name": ["a.png", "b.png"], "smile": [True, None], "yaw": [1.5, -2.0], "tags": [["x"], []]})
    pq.write_table(table, tmp_path / "m.parquet")
    cells = read_cells(tmp_path / "m.parquet")
    assert cells.columns == {"file_name": ["a.png", "b.png"], "smile": ["true", ""], "yaw": ["1.5", "-2.0"]}
    assert cells.place(1) == "m.parquet row 2"


def test_parquet_with_pictures_inside(tmp_path):
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a.png"}]}), tmp_path / "m.parquet")
    with pytest.raises(BadTable, match=r"carries images inside its column image; expected paths"):
        read_cells(tmp_path / "m.parquet")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK\x03\x04zip", r"t.xlsx is a spreadsheet.*export the sheet as CSV"),
        ("t.csv", b"PK\x03\x04zip", r"t.csv is a spreadsheet.*export the sheet as CSV"),
        ("t.csv", b" \n", r"t.csv is empty; expected a header line"),
        ("t.csv", b"file_name,hair\n", r"t.csv has a header and no rows"),
        ("t.csv", b"file_name,hair,hair\na,b,c\n", r"t.csv has the column hair 2 times; rename one"),
        ("t.csv", b"file_name,hair\na.png,x\nb.png,y,z\n", r"t.csv line 3 has 3 cells where the header has 2"),
        ("t.csv", b"file_name,hair,x\na.png,x,1\nb.png\n", r"t.csv line 3 has 1 cells where the header has 3"),
        ("t.csv", b'file_name,hair\na.png,x\nb.png,"y\nc.png,z\n', r"t.csv line 3 is not readable as CSV .*lone quote mark"),
        ("t.csv", b"\xff\xd8\xff\xe0\0\x10JFIF\0\xd8\0", r"t.csv is not text; expected a table such as CSV"),
        ("m.parquet", b"PAR1 nothing", r"m.parquet is not a readable Parquet file"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadTable, match=message):
        read_cells(tmp_path / name)


def test_a_comma_at_the_end_of_every_row_is_forgiven(tmp_path):
    (tmp_path / "t.csv").write_text("file_name,hair\na.png,x,\nb.png,y,\n")
    assert read_cells(tmp_path / "t.csv").columns == {"file_name": ["a.png", "b.png"], "hair": ["x", "y"]}
