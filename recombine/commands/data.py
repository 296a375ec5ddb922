"""`recombine data`: what is in a folder of labelled images, what is wrong with it, and packing it."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recombine.commands.options import Flag, print_json, print_table
from recombine.commands.reading import Looks, Reading, draw, is_drawn, look
from recombine.data.sources.cells import Note
from recombine.messages import option

if TYPE_CHECKING:
    import numpy as np

    from recombine.data.packed import Pack
    from recombine.data.schema import Schema

CHECKED_AT = "32"       # pixels, when images are decoded only to see whether they can be
NAMED = 5               # files named of many


def data(path: Path, /, *, pack: Path | None = None, reading: Reading | None = None, json: Flag = False) -> None:
    """Say what a folder of labelled images holds and what is wrong with it.

    For example, look first, correct what was guessed wrong, and pack for training:

        recombine data photos
        recombine data photos --kind age=continuous --unlabelled drop
        recombine data photos --kind age=continuous --unlabelled drop --pack packs/photos

    Labels that stand in file and folder names are read by a pattern: {name} is a label,
    {name:REGEX} one of this form, {_} no label, * any text, **/ any folders:

        recombine data frames --pattern '{identity}/{clip}/*.jpg'
        recombine data RaFD --pattern rafd

    Understood are a Hugging Face imagefolder (metadata.csv, .jsonl or .parquet with
    file_name), CelebA's and small NORB's own files, any CSV, TSV or Parquet table with a
    column of paths, one folder for each class, and folders that --pack made. The words
    avatars and letters stand for data sets that are drawn:

        recombine data letters --pack packs/letters

    Exit code 1 says that something must be done before training.

    Args:
        path: The folder, or a label table that lies in it; or avatars or letters.
        pack: Decode, resize and check every image once, and write them to this folder; stopped, it goes on.
        reading: How images are read.
        json: Print what was found as JSON.
    """
    found = examine(path, pack, reading or Reading())
    (print_json if json else show)(found)
    if any(entry["level"] == "error" for entry in found["notes"]):
        raise SystemExit(1)


def examine(path: Path, target: Path | None, reading: Reading) -> dict:
    """What a folder, a table or a pack holds and what is wrong with it, as plain values; packs it where nothing is."""
    from recombine.data import packing
    from recombine.data.packed import is_pack
    from recombine.data.sources.folder import describe
    from recombine.data.sources.labels import split_by_group

    if is_drawn(path):
        if target is None:
            raise ValueError(f"{path} are drawn into the folder that {option('pack', 'FOLDER')} names; say which")
        return examine_pack(draw(str(path), target, reading).path) | {"pack": str(target)}
    if is_pack(path):
        return examine_pack(path)
    source = reading.source(path, strict=False)
    looks = look(source)
    found = {**describe(source), "looks": as_values(looks)}
    if target is not None and not source.errors:
        return added(found, reading.pack_source(source, looks, target), looks, "skip") | {"pack": str(target)}
    if not len(source.table):
        return found
    if source.stored is not None:                       # images that are no files were checked when they were found
        given = source.table.splits if source.table.splits is not None else split_by_group(source.table, seed=0)
        return {**found, "splits": {split: int((given == split).sum()) for split in ("train", "val", "test")}}
    checking = replace(reading, size=CHECKED_AT, on_bad="skip")
    with tempfile.TemporaryDirectory() as folder:
        try:
            checked = checking.pack_source(source, looks, Path(folder), decoder=decode_to_check)
            return added(found, checked, looks, reading.on_bad)
        except packing.BadImages as none:               # not one can be used
            notes = found["notes"] + [asdict(unusable_note(none.problems, "repair or replace them"))]
            return {**found, "looks": as_values(looks.without(none.problems)), "notes": notes}


def examine_pack(path: Path) -> dict:
    """`examine`, of a folder that --pack made; its files are compared with their hashes."""
    import numpy as np

    from recombine.data.compact import Lazy
    from recombine.data.packed import Pack
    from recombine.data.sources.folder import describe
    from recombine.data.sources.labels import LabelTable, check_counts, check_lone

    packed = Pack(path)
    packed.verify()
    columns = Lazy(packed.schema.names, lambda name: np.asarray(packed.labels[name]))
    table = LabelTable(packed.schema.attributes, packed.files, columns, np.asarray(packed.splits))
    notes = [*check_counts(table), *check_lone(table), *problem_notes(packed, "skip")]
    return {**describe(table), "root": str(path), "notes": list(map(asdict, notes))}


def decode_to_check(
    image_file: str | Path | bytes, schema: Schema, allow_truncated: bool = False
) -> tuple[np.ndarray, list[str]]:
    """`decode_noted`, without its note on images that are made larger, as training has another size."""
    from recombine.data.decoding import fitted, name_of, read

    image = read(image_file, allow_truncated)
    notes = list(image.notes)
    return fitted(image, schema, name_of(image_file)), notes


def added(found: dict, packed: Pack, looks: Looks, on_bad: str) -> dict:
    """What was found, with what packing found."""
    splits = {split: len(packed.rows(split)) for split in ("train", "val", "test")}
    notes = found["notes"] + list(map(asdict, problem_notes(packed, on_bad)))
    usable = looks.without(packed.problems().get("excluded", ()))
    return {**found, "looks": as_values(usable), "splits": splits, "notes": notes}


def as_values(looks: Looks) -> dict:
    """What a sample of the images is like, as plain values."""
    return {"pictures": looks.images, "grey": looks.grey, "16 bits": looks.deep, "sizes": looks.sizes}


def problem_notes(packed: Pack, on_bad: str) -> list[Note]:
    """What packing found, in the form of the label table's notes."""
    found = packed.problems()
    bad, groups = found.get("excluded", []), found.get("duplicates", [])
    torn = [" = ".join(group["files"]) for group in groups if len(set(group["splits"])) > 1]
    alike = [" = ".join(group["files"]) for group in groups if len(set(group["splits"])) == 1]
    notes = []
    if bad and on_bad == "error":
        notes.append(unusable_note(bad, f"repair or remove them, or leave them out with {option('on_bad', 'skip')}"))
    elif bad:
        notes.append(unusable_note(bad, "they are left out", "warning"))
    if torn:
        text = f"{len(torn)} images stand, the same or nearly, in more than one split: {listed(torn)}"
        notes.append(Note("warning", text, "numbers on held-out images would be too good; remove the copies"))
    if alike:
        notes.append(Note("info", f"{len(alike)} images are there more than once: {listed(alike)}"))
    odd = Counter(text for entry in found.get("notes", []) for text in entry["notes"])
    return notes + [Note("info", f"{count} images: {text}") for text, count in odd.most_common(NAMED)]


def unusable_note(bad: list[dict], fix: str, level: Literal["warning", "error"] = "error") -> Note:
    """A note on files that cannot be used as images, counted by what is wrong with them."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(entry["kind"] for entry in bad).most_common())
    files = listed([f"{entry['file']} {entry['reason']}" for entry in bad])
    return Note(level, f"{len(bad)} images cannot be used ({kinds}): {files}", fix)


def listed(texts: list[str]) -> str:
    """The first few of many texts."""
    return "; ".join(texts[:NAMED]) + (f"; ... ({len(texts)} in all)" if len(texts) > NAMED else "")


def show(found: dict) -> None:
    """Print a table of attributes, and every problem with what to do about it."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(headline(found)))
    rows = [(a["name"], a["kind"], values(a), str(a["missing"] or "")) for a in found["attributes"]]
    print_table(("attribute", "kind", "values", "missing"), rows)
    for entry in found["notes"]:
        style = {"error": "bold red", "warning": "yellow"}.get(entry["level"], "")
        cure = f"; {entry['fix']}" if entry["fix"] else ""
        console.print(Text(f"{entry['level']}: ", style=style) + Text(f"{entry['text']}{cure}"))
    if "pack" in found:
        console.print(Text(f"packed: {found['pack']}"))


def headline(found: dict) -> str:
    """Images, splits and what they look like, in a line."""
    parts = [f"{found['root']}: {found['pictures']:,} images"]
    if found["splits"]:
        parts.append(", ".join(f"{count:,} {split}" for split, count in found["splits"].items() if count))
    if looks := found.get("looks"):
        colour = "grey" if looks["grey"] == looks["pictures"] else "colour"
        parts.append(f"{colour}, {16 if looks['16 bits'] else 8} bits, {', '.join(looks['sizes'])} pixels")
    return "; ".join(parts)


def values(entry: dict) -> str:
    """An attribute's values and how many images show each."""
    if entry["kind"] == "continuous":
        return f"{entry['low']:g} to {entry['high']:g}, mean {entry['mean']:.3g}" if entry["known"] else ""
    if entry["kind"] == "group":
        return f"{entry['groups']:,} groups, {entry['single']:,} with one image"
    return ", ".join(f"{value} {count:,}" for value, count in entry["values"].items())
