"""Images and their labels as they were found in a folder, before anything is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recombine.data.sources.cells import BadTable, Note
from recombine.data.sources.labels import LabelTable, find_group

if TYPE_CHECKING:
    from recombine.data.sources.norb import Stereo

LARGEST = 10        # groups that are described by name


@dataclass(frozen=True)
class Source:
    """Images and their labels, and what was noticed while they were matched."""

    root: Path
    table: LabelTable
    notes: Sequence[Note] = ()
    stored: Stereo | None = None            # where images are no files; then the table's files are names alone

    @property
    def errors(self) -> list[Note]:
        """What makes it unusable as it is."""
        return [note for note in self.notes if note.level == "error"]

    def checked(self) -> Source:
        """The source itself.

        Raises:
            BadTable: It has errors; all of them, and where no attribute is left also the warnings, which tell why.
        """
        reasons = self.errors if self.table.attributes else [note for note in self.notes if note.level != "info"]
        if self.errors:
            raise BadTable("\n".join(map(str, reasons)))
        return self


def describe(source: Source | LabelTable) -> dict:
    """What a source holds, as plain values: images, attributes with counts, splits, groups and notes."""
    table, notes = (source.table, source.notes) if isinstance(source, Source) else (source, ())
    group, splits = find_group(table), table.splits
    return {
        "root": str(source.root) if isinstance(source, Source) else None,
        "pictures": len(table),
        "attributes": [_describe_attribute(table, attribute.name) for attribute in table.attributes],
        "splits": None if splits is None else {s: int((splits == s).sum()) for s in ("train", "val", "test")},
        "group": group.name if group else None,
        "groups": group.num_values if group else None,
        "notes": [asdict(note) for note in notes],
    }


def _describe_attribute(table: LabelTable, name: str) -> dict:
    attribute, known = table[name], table.known(name)
    entry = {"name": name, "kind": attribute.kind, "known": int(known.sum()), "missing": int((~known).sum())}
    entry["mirror"] = attribute.mirror
    if attribute.kind == "continuous":
        numbers = table.columns[name][known].astype(float)
        spread = {"mean": float(numbers.mean()), "std": float(numbers.std())} if len(numbers) else {}
        return {**entry, "low": attribute.low, "high": attribute.high, **spread}
    counts = table.counts(name)
    if attribute.kind != "group":
        return {**entry, "values": counts}
    largest = dict(sorted(counts.items(), key=lambda item: -item[1])[:LARGEST])
    return {**entry, "groups": len(counts), "single": sum(n == 1 for n in counts.values()), "largest": largest}
