"""Tables as they lie on disk: cells of text with their lines, whatever the format, the encoding and the delimiter.

What a cell means is decided in `kinds.py`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import intern
from typing import Literal

from recombine.messages import printable

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods")
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")


@dataclass(frozen=True)
class Note:
    """Something worth saying about a data set, and what to do about it."""

    level: Literal["info", "warning", "error"]
    text: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.fix}" if self.fix else self.text


class BadTable(ValueError):
    """A label table that cannot be used as it is; the message names place, value and cure."""


@dataclass(frozen=True)
class Cells:
    """The text of a table, by column, with the place each row came from."""

    columns: dict[str, list[str]]       # "" where the file had nothing
    origins: list[str]                  # of each row: "metadata.csv line"
    lines: list[int]                    # of each row, from 1
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Where a row stands, for messages: `metadata.csv line 7`."""
        return f"{self.origins[row]} {self.lines[row]}"

    def take(self, rows: Sequence[int]) -> Cells:
        """The same table with only these rows, in this order."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return Cells(columns, [self.origins[row] for row in rows], [self.lines[row] for row in rows], self.notes)


def join_cells(tables: Sequence[Cells]) -> Cells:
    """Several tables below each other; a column that one of them lacks is empty there."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    columns = {name: [c for t in tables for c in t.columns.get(name, [""] * len(t))] for name in names}
    origins = [origin for table in tables for origin in table.origins]
    lines = [line for table in tables for line in table.lines]
    return Cells(columns, origins, lines, tuple(note for table in tables for note in table.notes))


def read_cells(path: Path | str, name: str | None = None) -> Cells:
    """Read any supported table: CSV and TSV in any usual encoding and delimiter, JSON lines, Parquet, CelebA lists.

    Messages call it by `name`; by that of the file unless given.

    Raises:
        BadTable: The file is a spreadsheet, is empty, or cannot be read as a table; with the line and what to do.
        FileNotFoundError: There is no such file.
    """
    path = Path(path)
    name = printable(name or path.name)
    data = path.read_bytes()
    if path.suffix.lower() in SPREADSHEETS or data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise BadTable(f"{name} is a spreadsheet, and a CSV was expected; open it and export the sheet as CSV (UTF-8)")
    if path.suffix.lower() == ".parquet" or data.startswith(b"PAR1"):
        return _read_parquet(path, name)
    if not data.strip():
        raise BadTable(f"{name} is empty; expected a header line and a line for each image")
    text, encoding, notes = _decode(data, name)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        cells = _read_json_lines(text, name)
    elif re.match(r"\s*\d+\s*\r?\n", text):
        cells = read_list(text, name)
    else:
        cells = _read_delimited(text, name, encoding)
    return replace(cells, notes=(*notes, *cells.notes))


def _decode(data: bytes, name: str) -> tuple[str, str, list[Note]]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:200]:
        even = data[0:200:2].count(0) > data[1:200:2].count(0)
        codec = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-16-be" if even else "utf-16-le"
        try:
            return data.decode(codec), "UTF-16", []
        except UnicodeDecodeError:
            raise BadTable(f"{name} is not text; expected a table such as CSV, saved as UTF-8") from None
    try:
        return data.decode("utf-8-sig"), "UTF-8", []
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        text = f"{name} line {line} is not UTF-8; the file was read as Windows-1252"
        note = Note("warning", text, "save it as UTF-8 if names with accents look wrong")
        return data.decode("cp1252", errors="replace"), "Windows-1252", [note]


def _read_delimited(text: str, name: str, encoding: str) -> Cells:
    delimiter = _delimiter(text)
    rows, lines, before = [], [], 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append(list(map(intern, row)))
                lines.append(before + 1)
            before = reader.line_num
    except csv.Error as error:
        place = f"{name} line {before + 1}"
        raise BadTable(f"{place} is not readable as CSV ({error}); look for a lone quote mark") from None
    words = f"{name} read as {encoding}, {DELIMITERS[delimiter]}-separated: {len(rows) - 1} rows"
    cells = _by_column(rows[0], rows[1:], lines[1:], name, Note("info", words))
    return _with_decimal_points(cells, name) if delimiter == ";" else cells


def _delimiter(text: str) -> str:
    """The delimiter that gives the first lines the same number of cells, and most of them; a comma for one column."""
    head = text[:20_000].splitlines(keepends=True)[:20]

    def score(delimiter: str) -> tuple[bool, int]:
        widths = [len(row) for row in csv.reader(head, delimiter=delimiter) if row]
        return widths[0] > 1 and widths.count(widths[0]) * 2 > len(widths), widths[0]

    return max(DELIMITERS, key=score) if head else ","


def _with_decimal_points(cells: Cells, name: str) -> Cells:
    """`1.5` for `1,5` where a semicolon separates the cells, as spreadsheets of half the world write it."""
    changed = {}
    for column, texts in cells.columns.items():
        filled = [text.strip() for text in texts if text.strip()]
        numeric = all(DECIMAL_COMMA.fullmatch(text) or text.lstrip("+-").isdigit() for text in filled)
        if numeric and any("," in text for text in filled):
            changed[column] = [text.replace(",", ".") for text in texts]
    if not changed:
        return cells
    note = Note("info", f"{name}: decimal commas read as points in {', '.join(map(printable, changed))}")
    return replace(cells, columns={**cells.columns, **changed}, notes=(*cells.notes, note))


def _by_column(header: list[str], rows: list[list[str]], lines: list[int], name: str, *notes: Note) -> Cells:
    names = [cell.strip() or f"unnamed_{position}" for position, cell in enumerate(header, 1)]
    twice = [column for column in dict.fromkeys(names) if names.count(column) > 1]
    if twice:
        raise BadTable(f"{name} has the column {printable(twice[0])} {names.count(twice[0])} times; rename one")
    if not rows:
        raise BadTable(f"{name} has a header and no rows; expected a line for each image")
    for line, row in zip(lines, rows, strict=True):
        if len(row) == len(names) + 1 and not row[-1].strip():
            row.pop()
        if len(row) != len(names):
            text = f"{name} line {line} has {len(row)} cells where the header has {len(names)}"
            raise BadTable(f"{text}; quote cells that hold the delimiter, and leave missing cells empty")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return Cells(columns, [f"{name} line"] * len(rows), lines, notes)


def read_list(text: str, name: str, header: Sequence[str] | None = None) -> Cells:
    """CelebA's own format: a count, a line of names, then a file and its values per line, separated by spaces.

    `header` has the column names of a file that has neither count nor names; `name` is what messages call the file.
    """
    numbered = [(i, line.split()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    notes, count = [], None
    if header is None:
        count, numbered = int(numbered[0][1][0]), numbered[1:]
        header = ["file_name", *numbered[0][1]] if numbered else ["file_name"]
        numbered = numbered[1:]
    rows = [list(map(intern, row)) for _, row in numbered]
    if count is not None and count != len(rows):
        note = f"{name} announces {count} rows and holds {len(rows)}"
        notes.append(Note("warning", note, "fetch it again unless you shortened it yourself"))
    notes.append(Note("info", f"{name} read as a CelebA list: {len(rows)} rows"))
    return _by_column(list(header), rows, [line for line, _ in numbered], name, *notes)


def _read_json_lines(text: str, name: str) -> Cells:
    lines = [(line, content) for line, content in enumerate(text.split("\n"), 1) if content.strip()]
    entries = []
    for line, content in lines:
        place = f"{name} line {line}"
        try:
            entries.append(json.loads(content))
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at character {error.pos}"
            raise BadTable(f"{place} is not JSON ({reason}); expected one object per line") from None
        if not isinstance(entries[-1], dict):
            example = 'an object such as {"file_name": "a.png"}'
            raise BadTable(f"{place} holds {content.strip()[:40]!r}; expected {example}")
    names = list(dict.fromkeys(key for entry in entries for key in entry))
    nested = {key for entry in entries for key, value in entry.items() if isinstance(value, (dict, list))}
    columns = {key: [_text(entry.get(key)) for entry in entries] for key in names if key not in nested}
    notes = [Note("info", f"{name} read as JSON lines: {len(entries)} rows")]
    notes += [_nested(name, key) for key in names if key in nested]
    return Cells(columns, [f"{name} line"] * len(lines), [line for line, _ in lines], tuple(notes))


def _nested(name: str, column: str) -> Note:
    text = f"{name}: column {printable(column)} holds lists or objects and was left out"
    return Note("warning", text, "give each label a column of its own to use it")


def _read_parquet(path: Path, name: str) -> Cells:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadTable(f"{name} is not a readable Parquet file ({reason}); write it again") from None
    notes = [Note("info", f"{name} read as Parquet: {table.num_rows} rows")]
    columns = {}
    for column in table.schema:
        kind = column.type
        paired = pyarrow.types.is_struct(kind) and {part.name for part in kind} == {"bytes", "path"}
        if paired or pyarrow.types.is_binary(kind):
            text = f"{name} carries images inside its column {printable(column.name)}; expected paths of files"
            raise BadTable(f"{text}; write each image to a file and put its path in a column file_name")
        if pyarrow.types.is_nested(kind):
            notes.append(_nested(name, column.name))
        else:
            columns[column.name] = [_text(value) for value in table.column(column.name).to_pylist()]
    if not table.num_rows:
        raise BadTable(f"{name} has columns and no rows; expected a row for each image")
    return Cells(columns, [f"{name} row"] * table.num_rows, list(range(1, table.num_rows + 1)), tuple(notes))


def _text(value: object) -> str:
    if value is None:
        return ""
    return intern(str(value).lower() if isinstance(value, bool) else str(value))


def number(text: str) -> bool:
    """Whether a text is written as a number; `007` is a name, and so are `inf` and `1_000`."""
    return bool(NUMBER.fullmatch(text)) and not re.match(r"[-+]?0\d", text)
