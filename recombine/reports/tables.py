"""A judgement as tables: estimates under the measures of the catalogue, and matrices of damage and leakage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from recombine.evaluation.judgement import Judgement, ProbeReading, Recognition
from recombine.evaluation.measures import MEASURES, Measure, ReadEach, shown, shown_interval
from recombine.metrics.intervals import Estimate

CLASSIFIER = "classifier_accuracy"
BY_ATTRIBUTE = (
    "edit_success", "edit_kept", "success", "kept", CLASSIFIER, "edit_psnr_db", "edit_original_db", "sensitivity",
)  # fmt: skip
BY_PART = ("success", "kept", "psnr_db", "swap_original_db")
OF_CODES = ("leakage_linear", "leakage", "entropy", "information", "mig", "sap", "dci", "dci_completeness")

Column = tuple[Measure, Mapping[str, Estimate | None]]


class Table(NamedTuple):
    """Estimates, a column for each measure."""

    columns: Sequence[Measure]
    rows: Mapping[str, Sequence[Estimate | None]]


class Shade(NamedTuple):
    """A cell of a matrix."""

    text: str
    about: str                              # all of it, with the pointer over the cell
    damage: float                           # from 0, clear, to 1, red
    own: bool = False                       # framed: what a part is meant to carry


class Matrix(NamedTuple):
    """Rows of small cells."""

    columns: Sequence[str]
    rows: Mapping[str, Sequence[Shade | None]]


def table(columns: Iterable[Column]) -> Table | None:
    """A row for each name, a column for each measure that has an estimate; None where none has."""
    used = [(measure, found) for measure, found in columns if any(found.values())]
    names = dict.fromkeys(name for _, found in used for name, estimate in found.items() if estimate)
    rows = {name: [found.get(name) for _, found in used] for name in names}
    return Table([measure for measure, _ in used], rows) if used else None


def attribute_table(judgement: Judgement) -> Table | None:
    """One row an attribute that can be edited: edits, swaps, the classifier that judges them, PSNR, sensitivity."""
    columns = [each(MEASURES[key], MEASURES[key].by_attribute, judgement) for key in BY_ATTRIBUTE]
    editable = {name for measure, found in columns if measure.key != CLASSIFIER for name in found}
    return table((measure, {name: of for name, of in found.items() if name in editable}) for measure, found in columns)


def part_table(judgement: Judgement) -> Table | None:
    """One row a part: whether what it carries follows when another image's takes its place."""
    return table(each(MEASURES[key], MEASURES[key].by_part, judgement) for key in BY_PART)


def each(measure: Measure, read: ReadEach | None, judgement: Judgement) -> Column:
    """A measure and its estimates of single attributes or parts."""
    return measure, read(judgement) if read else {}


def codes_table(judgement: Judgement) -> Table | None:
    """The numbers of the codes as a whole."""
    return table((MEASURES[key], {"all parts": MEASURES[key].read(judgement)}) for key in OF_CODES)


def realism_table(judgement: Judgement) -> Table | None:
    """Distances of made images from real ones, beside those of other real ones."""
    found = judgement.realism
    if found is None:
        return None
    sets = {"reconstructions": found.reconstructions, "swaps": found.swaps, "other real images": found.real}
    frechet = {name: distances.frechet for name, distances in sets.items() if distances}
    kid = {name: distances.kid for name, distances in sets.items() if distances}
    return table([(MEASURES["frechet"], frechet), (MEASURES["kid"], kid)])


def recognition_tables(group: str, recognition: Recognition) -> tuple[Table | None, Table | None]:
    """By which part a group is recognised, and how often it outlives a swap of another part."""
    retrieval, kept = recognition.retrieval, recognition.identity_preserved
    by_part = table([
        (MEASURES["verification"], recognition.verification),
        (MEASURES["retrieval_map"], {part: found.map for part, found in retrieval.items()}),
        (MEASURES["retrieval_top1"], {part: found.top1 for part, found in retrieval.items()}),
    ])
    if kept is None:
        return by_part, None
    share = MEASURES["identity_kept"]
    compared = {"unedited": kept.original, "reconstructions": kept.reconstructed, "images of others": kept.others}
    columns = [(MEASURES["identity_verifier"], kept.verifier), (share, kept.preserved)]
    columns += [(replace(share, title=f"{title} verified", definition=""), found) for title, found in compared.items()]
    return by_part, table((measure, {group: estimate}) for measure, estimate in columns)


def preserved_matrix(judgement: Judgement) -> Matrix | None:
    """Edited attribute by other attribute: how often the other one is seen as before."""
    preserved = judgement.edits.preserved_of if judgement.edits else {}
    others = list(dict.fromkeys([*preserved, *(other for row in preserved.values() for other in row)]))

    def shade(edited: str, other: str, found: Estimate | None) -> Shade | None:
        about = f"{edited} edited, {other} preserved"
        return found and Shade(f"{found.value:.0%}", f"{about}, n = {found.n:,}", 1 - found.value)

    rows = {name: [shade(name, other, row.get(other)) for other in others] for name, row in preserved.items()}
    return Matrix(others, rows) if len(others) > 1 else None


def leak_matrix(judgement: Judgement, probe: str, attributes: Sequence[str] = ()) -> Matrix | None:
    """Part by attribute: what a fresh probe reads; all attributes when (), in the order of the parts."""
    readings = judgement.leakage.matrix.get(probe) if judgement.leakage else None
    if not readings:
        return None
    roles, probed = judgement.roles, dict.fromkeys(name for row in readings.values() for name in row)
    carried = dict.fromkeys(name for names in roles.values() for name in names if name in probed)
    names = list(attributes or carried | probed)
    return Matrix(names, {
        part: [leak_shade(row.get(name), name in roles.get(part, ())) for name in names]
        for part, row in readings.items()
    })


def leak_shade(reading: ProbeReading | None, own: bool) -> Shade | None:
    """Percentage points above always guessing the most frequent value, or R^2 of a number."""
    found = reading and (reading.above or reading.r2)
    if reading is None or not found:
        return None
    text, about = f"R² {found.value:.2f}", f"R² {shown_interval(found, '')}"
    if reading.accuracy and reading.majority is not None:
        text = f"{100 * found.value:+.0f}"
        about = f"right in {shown(reading.accuracy.value, '%')}, guessing in {shown(reading.majority, '%')}"
    return Shade(text, f"{about}, n = {found.n:,}", max(0.0, found.value), own)
