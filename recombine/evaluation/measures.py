"""The catalogue of measures: what every number is called, in which unit, which way is better, and what it means.

Reports, comparisons, the papers' tables, the training monitor and `docs/measures.md` take names and values from here,
so that one name always stands for one number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recombine.evaluation.judgement import (
    AgainstTruth,
    EditScores,
    IdentityPreserved,
    Judgement,
    PartScores,
    ProbeReading,
    Recognition,
    Retrieval,
)
from recombine.metrics.intervals import Estimate, pooled

Read = Callable[[Judgement], Estimate | None]
ReadEach = Callable[[Judgement], Mapping[str, Estimate]]
Narrowed = Callable[[Judgement, Collection[str]], list[Estimate]]


@dataclass(frozen=True)
class Measure:
    """One measure of a judgement."""

    key: str                                # in tables and files
    title: str                              # on pages; unique
    unit: Literal["%", "dB", "nats", ""]    # "%": a value of 0.5 is shown as 50 %; "": a plain number
    better: Literal["higher", "lower", ""]
    definition: str                         # in one sentence
    source: str
    read: Read                              # the headline value; None where it was not measured
    by_attribute: ReadEach | None = None    # the same for single attributes
    by_part: ReadEach | None = None         # the same for single parts
    narrowed: Narrowed | None = None        # about some attributes alone; by_attribute when None
    about: Callable[[Judgement], Collection[str]] | None = None  # attributes it covers; those parts carry when None
    sections: tuple[str, ...] = ()          # under which names a judgement says why it was left out
    headline: bool = False                  # stands in the first table of a comparison
    bounded: bool = False                   # lies in [0, 1]

    def of(self, judgement: Judgement, attributes: Collection[str] | None = None) -> Estimate | None:
        """The value of a judgement; where it covers more than `attributes`, the mean over these alone.

        The interval of that mean is as wide as the single ones are on average, since all are about the same images.
        """
        narrows = self.narrowed or self.by_attribute
        if attributes is None or not narrows or not set(self.covered(judgement)) - set(attributes):
            return self.read(judgement)
        each = self.by_attribute(judgement) if self.by_attribute else {}
        own = [each[name] for name in attributes if name in each]
        found = self.narrowed(judgement, attributes) if self.narrowed else own
        return pooled(found) if found else None

    def covered(self, judgement: Judgement) -> Collection[str]:
        """The attributes that it is about."""
        return self.about(judgement) if self.about else {name for names in judgement.roles.values() for name in names}

    def reason(self, judgement: Judgement) -> str:
        """Why it was not measured, in the judgement's own words."""
        reasons = (judgement.left_out.get(name) for name in (self.key, *self.sections))
        return next(filter(None, reasons), "it was not asked for")


def _each(
    entries: Callable[[Judgement], Mapping[str, Any] | None],
    score: Callable[[Any], Estimate | None] = lambda entry: entry,
) -> ReadEach:
    """A score of every entry of a section, but for `all`, where it was measured."""

    def each(judgement: Judgement) -> dict[str, Estimate]:
        values = {name: score(entry) for name, entry in (entries(judgement) or {}).items() if name != "all"}
        return {name: value for name, value in values.items() if value}

    return each


def _parts(score: Callable[[PartScores], Estimate | None]) -> ReadEach:
    return _each(lambda j: j.parts and j.parts.parts, score)


def _edits(score: Callable[[EditScores], Estimate | None]) -> ReadEach:
    return _each(lambda j: j.edits and j.edits.attributes, score)


def _swaps(score: Callable[[EditScores], Estimate | None]) -> ReadEach:
    return _each(lambda j: j.swaps and j.swaps.attributes, score)


def _true_edits(judgement: Judgement) -> Mapping[str, AgainstTruth]:
    return judgement.truth.edits.psnr if judgement.truth and judgement.truth.edits else {}


def _true_swaps(judgement: Judgement) -> Mapping[str, AgainstTruth]:
    return judgement.truth.swaps.psnr if judgement.truth and judgement.truth.swaps else {}


def _readings(judgement: Judgement) -> Mapping[str, Mapping[str, ProbeReading]]:
    """What the two-layer probe read: part -> attribute."""
    return judgement.leakage.matrix.get("two_layer", {}) if judgement.leakage else {}


def _carrying(judgement: Judgement, attributes: Collection[str]) -> list[tuple[str, str]]:
    """Each swapped part with each of some attributes that it carries."""
    parts = judgement.parts.parts if judgement.parts else {}
    return [(part, name) for part in parts for name in judgement.roles.get(part, ()) if name in attributes]


def _of_carriers(each: ReadEach) -> Narrowed:
    """A score of each part that carries one of some attributes."""

    def narrowed(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
        found, carriers = each(judgement), dict.fromkeys(part for part, _ in _carrying(judgement, attributes))
        return [found[part] for part in carriers if part in found]

    return narrowed


def _followed(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
    """How often each of some attributes follows a part that carries it."""
    parts = judgement.parts.parts if judgement.parts else {}
    each = [(parts[part].attributes or {}).get(name) for part, name in _carrying(judgement, attributes)]
    return [estimate for estimate in each if estimate]


def _leaks(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
    """How far above guessing each of some attributes is read from each part that should not carry it."""
    found = []
    for part, row in _readings(judgement).items():
        above = [row[name].above for name in attributes if name in row and name not in judgement.roles.get(part, ())]
        found += filter(None, above)
    return found


def _probed(judgement: Judgement) -> set[str]:
    return {name for row in _readings(judgement).values() for name in row}


def _factors(judgement: Judgement) -> Collection[str]:
    return judgement.disentanglement.factors if judgement.disentanglement else ()


def _first_group(judgement: Judgement) -> Recognition | None:
    """What was recognised of the first group attribute."""
    return next(iter((judgement.recognition or {}).values()), None)


def _retrieved(score: Callable[[Retrieval], Estimate]) -> ReadEach:
    return _each(lambda j: group.retrieval if (group := _first_group(j)) else None, score)


def _identity(score: Callable[[IdentityPreserved], Estimate]) -> ReadEach:
    return _each(lambda j: j.recognition, lambda found: found.identity_preserved and score(found.identity_preserved))


def _off_part(probe: str) -> Read:
    return lambda j: j.leakage.off_part.get(probe) if j.leakage and j.leakage.off_part else None


def _first(each: ReadEach) -> Read:
    return lambda j: next(iter(each(j).values()), None)


def _best(each: ReadEach) -> Read:
    return lambda j: max(each(j).values(), key=lambda estimate: estimate.value, default=None)


def _mean_of(each: ReadEach) -> Read:
    return lambda j: pooled(found) if (found := list(each(j).values())) else None


_PART_PRESERVED = _parts(lambda scores: scores.preserved)
_PART_PSNR = _parts(lambda scores: scores.psnr and scores.psnr.edited)
_ACCURACIES = _each(lambda j: j.classifier and j.classifier.attributes, lambda found: found.accuracy)
_SENSITIVITY = _each(lambda j: j.sensitivity)
_PRESERVED, _VERIFIER = _identity(lambda found: found.preserved), _identity(lambda found: found.verifier)
_VERIFICATION = _each(lambda j: group.verification if (group := _first_group(j)) else None)
_MAP, _TOP1 = _retrieved(lambda found: found.map), _retrieved(lambda found: found.top1)
_SHARE = "Own; the classifier never saw the judged images and is not the method's."
_DRAWN = "Own; the true result is drawn from the known factors."

_ALL = (
    Measure(
        "success", "swaps that succeed", "%", "higher",
        "After a part is taken from another image, an independent classifier sees the source's value of every "
        "attribute that the part carries and in which the two images differ.", _SHARE,
        lambda j: j.parts and j.parts.all.success,
        _swaps(lambda scores: scores.success), _parts(lambda scores: scores.success), _followed, sections=("parts",),
        headline=True, bounded=True,
    ),
    Measure(
        "kept", "others preserved by swaps", "%", "higher",
        "After a swap of a part, the classifier sees every attribute that the part does not carry as it did in the "
        "original.", _SHARE, lambda j: j.parts and j.parts.all.preserved, _swaps(lambda scores: scores.preserved),
        _PART_PRESERVED, _of_carriers(_PART_PRESERVED), sections=("parts",), headline=True, bounded=True,
    ),
    Measure(
        "psnr_db", "swap against truth", "dB", "higher",
        "PSNR of a swap against the image that it should have become, where that can be rendered.", _DRAWN,
        lambda j: j.parts and j.parts.all.psnr and j.parts.all.psnr.edited,
        _each(_true_swaps, lambda psnr: psnr.edited), _PART_PSNR,
        _of_carriers(_PART_PSNR), sections=("psnr", "parts", "truth"), headline=True,
    ),
    Measure(
        "leakage", "leakage", "%", "lower",
        "Accuracy above guessing of a fresh two-layer probe, the mean over all parts and the attributes that these "
        "should not carry; 0 = nothing leaks.",
        "Own; as the adversaries of Oldfield et al. 2019 and Creswell et al. 2017, but trained after the method.",
        _off_part("two_layer"), narrowed=_leaks, about=_probed, sections=("off_part", "leakage"),
        headline=True,
    ),
    Measure(
        "information", "information between parts", "nats", "lower",
        "Mutual information of the parts that carry attributes and the others, estimated by a classifier of pairs; 0 "
        "= independent.", "Esser et al. 2019, Eq. 12.", lambda j: j.information, sections=("information",),
    ),
    Measure(
        "reconstruction_db", "reconstruction", "dB", "higher",
        "PSNR on [0, 1] of each image encoded and decoded, the mean over images; equal images count 100 dB.",
        "Standard.", lambda j: j.reconstruction and j.reconstruction.psnr, sections=("reconstruction",), headline=True,
    ),
    Measure(
        "ssim", "SSIM", "", "higher", "Structural similarity of images encoded and decoded; 1 = equal.",
        "Wang et al. 2004.", lambda j: j.reconstruction and j.reconstruction.ssim, sections=("reconstruction",),
    ),
    Measure(
        "edit_success", "edits that succeed", "%", "higher",
        "After a label is set to another value, the classifier sees that value.",
        "Own; as the percentages of Creswell et al. 2017, Tables 1-3.", lambda j: j.edits and j.edits.all.success,
        _edits(lambda scores: scores.success), sections=("edits",), bounded=True,
    ),
    Measure(
        "edit_kept", "others preserved by edits", "%", "higher",
        "After a label is set, the classifier sees every other attribute as it did in the original.", _SHARE,
        lambda j: j.edits and j.edits.all.preserved, _edits(lambda scores: scores.preserved), sections=("edits",),
        bounded=True,
    ),
    Measure(
        "edit_psnr_db", "edit against truth", "dB", "higher",
        "PSNR of a label edit against the image that it should have become, where that can be rendered.", _DRAWN,
        lambda j: _true_edits(j)["all"].edited if _true_edits(j) else None,
        _each(_true_edits, lambda psnr: psnr.edited), sections=("truth",),
    ),
    Measure(
        "frechet", "Fréchet distance", "", "lower",
        "Fréchet distance of as many swapped images from the judged ones in a feature extractor's features; "
        "comparable only for the same extractor and n.", "Heusel et al. 2017, Eq. 6.",
        lambda j: j.realism and j.realism.swaps and j.realism.swaps.frechet,
        sections=("frechet", "realism of swaps", "realism"),
    ),
    Measure(
        "kid", "kernel distance (KID)", "", "lower",
        "Squared maximum mean discrepancy of swapped images from the judged ones with a cubic kernel, unbiased also "
        "for few images.", "Bińkowski et al. 2018.", lambda j: j.realism and j.realism.swaps and j.realism.swaps.kid,
        sections=("realism of swaps", "realism"),
    ),
    Measure(
        "mig", "MIG", "", "higher",
        "Mutual information gap between the two numbers of the codes that tell most of an attribute, over its "
        "entropy.", "Chen et al. 2018, Eq. 6.",
        lambda j: j.disentanglement and j.disentanglement.mig and j.disentanglement.mig.all,
        _each(lambda j: j.disentanglement and j.disentanglement.mig and j.disentanglement.mig.factors),
        about=_factors, sections=("mig", "disentanglement"), bounded=True,
    ),
    Measure(
        "sap", "SAP", "", "higher", "Gap between the two numbers of the codes that read an attribute best.",
        "Kumar et al. 2018, Sec. 3.",
        lambda j: j.disentanglement and j.disentanglement.sap and j.disentanglement.sap.all,
        _each(lambda j: j.disentanglement and j.disentanglement.sap and j.disentanglement.sap.factors),
        about=_factors, sections=("sap", "disentanglement"), bounded=True,
    ),
    Measure(
        "dci", "DCI disentanglement", "", "higher",
        "How far each number of the codes matters for one attribute alone, by the importances of random forests.",
        "Eastwood and Williams 2018, Sec. 2.",
        lambda j: j.disentanglement and j.disentanglement.dci and j.disentanglement.dci.disentanglement, about=_factors,
        sections=("dci", "disentanglement"), bounded=True,
    ),
    Measure(
        "dci_completeness", "DCI completeness", "", "higher",
        "How far each attribute is told by one number of the codes alone.", "Eastwood and Williams 2018, Sec. 2.",
        lambda j: j.disentanglement and j.disentanglement.dci and j.disentanglement.dci.completeness, about=_factors,
        sections=("dci", "disentanglement"), bounded=True,
    ),
    Measure(
        "leakage_linear", "leakage to a linear probe", "%", "lower",
        "As leakage, read by logistic regression in place of the two-layer probe.", "Own.",
        _off_part("linear"), sections=("off_part", "leakage"),
    ),
    Measure(
        "entropy", "posterior entropy", "", "higher",
        "Entropy over ln K of fresh linear probes on parts that should not tell an attribute; 1 = they see nothing.",
        "Oldfield et al. 2019, Table IV.", lambda j: j.entropy and j.entropy.off_part, sections=("entropy", "leakage"),
    ),
    Measure(
        "mse", "reconstruction error", "", "lower", "Mean squared error on [0, 1] of images encoded and decoded.",
        "Standard.", lambda j: j.reconstruction and j.reconstruction.mse, sections=("reconstruction",),
    ),
    Measure(
        "lpips", "LPIPS", "", "lower", "Distance of images encoded and decoded in the features of a given network.",
        "Zhang et al. 2018.", lambda j: j.reconstruction and j.reconstruction.lpips,
        sections=("lpips", "reconstruction"),
    ),
    Measure(
        "sensitivity", "pixels moved", "%", "",
        "Mean absolute difference of all pixels, of the full range, between an image decoded with two values of a "
        "label drawn for it; 0 = the decoder ignores the label.", "Own.", _mean_of(_SENSITIVITY), _SENSITIVITY,
        sections=("sensitivity",),
    ),
    Measure(
        "edit_original_db", "unedited against truth", "dB", "",
        "PSNR of the unedited original against the image that the edit should have become: to be beaten.", "Own.",
        lambda j: _true_edits(j)["all"].original if _true_edits(j) else None,
        _each(_true_edits, lambda psnr: psnr.original), sections=("truth",),
    ),
    Measure(
        "swap_original_db", "unswapped against truth", "dB", "",
        "PSNR of the unedited original against the image that the swap should have become: to be beaten.", "Own.",
        lambda j: j.parts and j.parts.all.psnr and j.parts.all.psnr.original,
        by_part=_parts(lambda scores: scores.psnr and scores.psnr.original), sections=("parts", "truth"),
    ),
    Measure(
        "frechet_reconstructed", "Fréchet distance of reconstructions", "", "lower",
        "As the Fréchet distance, of images encoded and decoded.", "Heusel et al. 2017, Eq. 6.",
        lambda j: j.realism and j.realism.reconstructions and j.realism.reconstructions.frechet,
        sections=("frechet", "realism"),
    ),
    Measure(
        "kid_reconstructed", "kernel distance of reconstructions", "", "lower",
        "As the kernel distance, of images encoded and decoded.", "Bińkowski et al. 2018.",
        lambda j: j.realism and j.realism.reconstructions and j.realism.reconstructions.kid, sections=("realism",),
    ),
    Measure(
        "frechet_real", "Fréchet distance of other real images", "", "",
        "As the Fréchet distance, of as many training images: what is left between two real sets.",
        "Heusel et al. 2017, Eq. 6.", lambda j: j.realism and j.realism.real and j.realism.real.frechet,
        sections=("frechet", "realism"),
    ),
    Measure(
        "kid_real", "kernel distance of other real images", "", "",
        "As the kernel distance, of as many training images.", "Bińkowski et al. 2018.",
        lambda j: j.realism and j.realism.real and j.realism.real.kid,
        sections=("realism",),
    ),
    Measure(
        "classifier_accuracy", "classifier accuracy", "%", "higher",
        "How often the independent classifier names an attribute of a judged image rightly: what limits every "
        "success.", "Own.", _mean_of(_ACCURACIES), _ACCURACIES, sections=("judge",), bounded=True,
    ),
    Measure(
        "identity_kept", "identity preserved", "%", "higher",
        "After a swap of a part that has nothing to do with a group (a person), the image is still verified as of "
        "its group by a verifier trained on training images.", "Own.", _first(_PRESERVED), _PRESERVED,
        sections=("recognition",), bounded=True,
    ),
    Measure(
        "identity_verifier", "verifier accuracy", "%", "higher",
        "How often that verifier is right on pairs of judged images.", "Own.", _first(_VERIFIER), _VERIFIER,
        sections=("recognition",), bounded=True,
    ),
    Measure(
        "verification", "verification", "%", "higher",
        "Two images show the same group or not, by a threshold on the distance of one part that is chosen on nine "
        "tenths of the pairs; the best part's accuracy. Guessing has 50 %.", "Browatzki and Wallraven 2019, Table 2.",
        _best(_VERIFICATION), by_part=_VERIFICATION, sections=("recognition",), bounded=True,
    ),
    Measure(
        "retrieval_map", "retrieval mAP", "", "higher",
        "Mean average precision of finding the other images of a group by the distance of one part; the best part's.",
        "Standard.", _best(_MAP), by_part=_MAP, sections=("recognition",), bounded=True,
    ),
    Measure(
        "retrieval_top1", "nearest is the same", "%", "higher",
        "How often the nearest other image by one part is of the same group; the best part's.", "Standard.",
        _best(_TOP1), by_part=_TOP1, sections=("recognition",), bounded=True,
    ),
)  # fmt: skip
MEASURES = {measure.key: measure for measure in _ALL}
COMPARED = tuple(_ALL[:15])                 # what a comparison ranks methods by, in the order of its tables


def shown(value: float, unit: str, with_unit: bool = True) -> str:
    """A value as people read it.

    Example:
        >>> shown(0.5, "%"), shown(21.57, "dB"), shown(0.12345, ""), shown(0.5, "%", with_unit=False)
        ('50.0 %', '21.6 dB', '0.123', '50.0')
    """
    number = {"%": f"{100 * value:.1f}", "dB": f"{value:.1f}"}.get(unit, f"{value:.3f}")
    return f"{number} {unit}" if unit and with_unit else number


def shown_interval(estimate: Estimate, unit: str) -> str:
    """An interval as people read it, the unit once.

    Example:
        >>> shown_interval(Estimate(0.5, 0.4, 0.6, 30), "%")
        '40.0 to 60.0 %'
    """
    return f"{shown(estimate.low, unit, False)} to {shown(estimate.high, unit)}"
