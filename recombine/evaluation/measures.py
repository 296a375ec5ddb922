"""The catalogue of measures: what every number is called, in which unit, which way is better, and what it means.

Reports, comparisons, the papers' tables, the training monitor and `docs/measures.md` take names and values from here, so
that one name always stands for one number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from recombine.evaluation.judgement import AgainstTruth, Edits, Judgement, PartScores
from recombine.metrics.intervals import Estimate, pooled

Read = Callable[[Judgement], Estimate | None]
ReadEach = Callable[[Judgement], Mapping[str, Estimate]]


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
    narrowed: Callable[[Judgement, Collection[str]], Iterable[Estimate]] | None = None  # about some attributes alone; by_attribute when None
    about: Callable[[Judgement], Collection[str]] | None = None  # the attributes that it covers; those that parts carry when None
    sections: tuple[str, ...] = ()          # under which names a judgement says why it was left out
    headline: bool = False                  # stands in the first table of a comparison
    bounded: bool = False                   # lies in [0, 1]

    def of(self, judgement: Judgement, attributes: Collection[str] | None = None) -> Estimate | None:
        """The value of a judgement; where it covers more than `attributes`, the mean over these alone.

        The interval of that mean is as wide as the single ones are on average, since all are about the same images.
        """
        narrowed = self.narrowed or (self.by_attribute and _some_attributes(self.by_attribute))
        if attributes is None or narrowed is None or not set(self.covered(judgement)) - set(attributes):
            return self.read(judgement)
        found = list(narrowed(judgement, attributes))
        return pooled(found) if found else None

    def covered(self, judgement: Judgement) -> Collection[str]:
        """The attributes that it is about."""
        return self.about(judgement) if self.about else {name for names in judgement.roles.values() for name in names}

    def reason(self, judgement: Judgement) -> str:
        """Why it was not measured, in the judgement's own words."""
        return next((judgement.left_out[name] for name in (self.key, *self.sections) if name in judgement.left_out), "it was not asked for")


def _some_attributes(each: ReadEach) -> Callable[[Judgement, Collection[str]], Iterable[Estimate]]:
    def narrowed(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
        found = each(judgement)
        return [found[name] for name in attributes if name in found]

    return narrowed


def _parts(read: Callable[[PartScores], Estimate | None]) -> ReadEach:
    """A score of every part that was swapped."""
    return lambda j: {part: found for part, scores in (j.parts.parts if j.parts else {}).items() if (found := read(scores))}


def _edits(section: Callable[[Judgement], Edits | None], score: str) -> ReadEach:
    """A score of every edited attribute."""

    def each(judgement: Judgement) -> dict[str, Estimate]:
        edits = section(judgement)
        scores = {name: getattr(found, score) for name, found in edits.attributes.items()} if edits else {}
        return {name: found for name, found in scores.items() if found}

    return each


def _truth(kind: str, side: Callable[[AgainstTruth], Estimate]) -> ReadEach:
    """A PSNR of every edited attribute against its true image."""
    return lambda j: {name: side(psnr) for name, psnr in _true(j, kind).items() if name != "all"}


def _truth_of_all(kind: str, side: Callable[[AgainstTruth], Estimate]) -> Read:
    """The same over all edits."""
    return lambda j: side(_true(j, kind)["all"]) if _true(j, kind) else None


def _true(judgement: Judgement, kind: str) -> Mapping[str, AgainstTruth]:
    found = getattr(judgement.truth, kind) if judgement.truth else None
    return found.psnr if found else {}


def _carrying(judgement: Judgement, attributes: Collection[str]) -> list[tuple[str, str]]:
    """Each swapped part with each of some attributes that it carries."""
    parts = judgement.parts.parts if judgement.parts else {}
    return [(part, name) for part in parts for name in judgement.roles.get(part, ()) if name in attributes]


def _of_carriers(each: ReadEach) -> Callable[[Judgement, Collection[str]], list[Estimate]]:
    """A score of each part that carries one of some attributes."""

    def narrowed(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
        found = each(judgement)
        return [found[part] for part in dict.fromkeys(part for part, _ in _carrying(judgement, attributes)) if part in found]

    return narrowed


def _followed(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
    """How often each of some attributes follows a part that carries it."""
    assert judgement.parts is not None
    each = [(judgement.parts.parts[part].attributes or {}).get(name) for part, name in _carrying(judgement, attributes)]
    return [found for found in each if found]


def _leaks(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
    """How far above guessing each of some attributes is read from each part that should not carry it."""
    matrix = judgement.leakage.matrix.get("two_layer", {}) if judgement.leakage else {}
    cells = [(row.get(name), name in judgement.roles.get(part, ())) for part, row in matrix.items() for name in attributes]
    return [reading.above for reading, own in cells if reading and reading.above and not own]


def _probed(judgement: Judgement) -> set[str]:
    matrix = judgement.leakage.matrix.get("two_layer", {}) if judgement.leakage else {}
    return {name for row in matrix.values() for name in row}


def _factors(judgement: Judgement) -> Collection[str]:
    return judgement.disentanglement.factors if judgement.disentanglement else ()


def _gap(score: str) -> ReadEach:
    return lambda j: found.factors if j.disentanglement and (found := getattr(j.disentanglement, score)) else {}


def _off_part(probe: str) -> Read:
    return lambda j: j.leakage.off_part.get(probe) if j.leakage and j.leakage.off_part else None


def _recognised(score: str) -> ReadEach:
    """An identity score of every group attribute."""
    return lambda j: {name: getattr(found.identity_preserved, score) for name, found in (j.recognition or {}).items() if found.identity_preserved}


def _first(each: ReadEach) -> Read:
    """The score of the first group attribute."""
    return lambda j: next(iter(each(j).values()), None)


def _mean_of(each: ReadEach) -> Read:
    return lambda j: pooled(found) if (found := list(each(j).values())) else None


_PART_SUCCESS, _PART_PRESERVED = _parts(lambda scores: scores.success), _parts(lambda scores: scores.preserved)
_PART_PSNR = _parts(lambda scores: scores.psnr and scores.psnr.edited)
_SHARE = "Own; the classifier never saw the judged images and is not the method's."

_ALL = (
    Measure(
        "success", "swaps that succeed", "%", "higher",
        "After a part is taken from another image, an independent classifier sees the source's value of every attribute that the part carries and in which the two images differ.",
        _SHARE, lambda j: j.parts and j.parts.all.success, _edits(lambda j: j.swaps, "success"), _PART_SUCCESS, _followed,
        sections=("parts",), headline=True, bounded=True,
    ),
    Measure(
        "kept", "others preserved by swaps", "%", "higher",
        "After a swap of a part, the classifier sees every attribute that the part does not carry as it did in the original.",
        _SHARE, lambda j: j.parts and j.parts.all.preserved, _edits(lambda j: j.swaps, "preserved"), _PART_PRESERVED, _of_carriers(_PART_PRESERVED),
        sections=("parts",), headline=True, bounded=True,
    ),
    Measure(
        "psnr_db", "swap against truth", "dB", "higher",
        "PSNR of a swap against the image that it should have become, where that can be rendered.",
        "Own; the true result is drawn from the known factors.", lambda j: j.parts and j.parts.all.psnr and j.parts.all.psnr.edited,
        _truth("swaps", lambda psnr: psnr.edited), _PART_PSNR, _of_carriers(_PART_PSNR), sections=("psnr", "parts", "truth"), headline=True,
    ),
    Measure(
        "leakage", "leakage", "%", "lower",
        "Accuracy above guessing of a fresh two-layer probe, the mean over all parts and the attributes that these should not carry; 0 = nothing leaks.",
        "Own; as the adversaries of Oldfield et al. 2019 and Creswell et al. 2017, but trained after the method.", _off_part("two_layer"),
        narrowed=_leaks, about=_probed, sections=("off_part", "leakage"), headline=True,
    ),
    Measure(
        "information", "information between parts", "nats", "lower",
        "Mutual information of the parts that carry attributes and the others, estimated by a classifier of pairs; 0 = independent.",
        "Esser et al. 2019, Eq. 12.", lambda j: j.information, sections=("information",),
    ),
    Measure(
        "reconstruction_db", "reconstruction", "dB", "higher", "PSNR on [0, 1] of each image encoded and decoded, the mean over images; equal images count 100 dB.",
        "Standard.", lambda j: j.reconstruction and j.reconstruction.psnr, sections=("reconstruction",), headline=True,
    ),
    Measure(
        "ssim", "SSIM", "", "higher", "Structural similarity of images encoded and decoded; 1 = equal.", "Wang et al. 2004.",
        lambda j: j.reconstruction and j.reconstruction.ssim, sections=("reconstruction",),
    ),
    Measure(
        "edit_success", "edits that succeed", "%", "higher",
        "After a label is set to another value, the classifier sees that value.", "Own; as the percentages of Creswell et al. 2017, Tables 1-3.",
        lambda j: j.edits and j.edits.all.success, _edits(lambda j: j.edits, "success"), sections=("edits",), bounded=True,
    ),
    Measure(
        "edit_kept", "others preserved by edits", "%", "higher",
        "After a label is set, the classifier sees every other attribute as it did in the original.", _SHARE,
        lambda j: j.edits and j.edits.all.preserved, _edits(lambda j: j.edits, "preserved"), sections=("edits",), bounded=True,
    ),
    Measure(
        "edit_psnr_db", "edit against truth", "dB", "higher",
        "PSNR of a label edit against the image that it should have become, where that can be rendered.",
        "Own; the true result is drawn from the known factors.", _truth_of_all("edits", lambda psnr: psnr.edited),
        _truth("edits", lambda psnr: psnr.edited), sections=("truth",),
    ),
    Measure(
        "frechet", "Fréchet distance", "", "lower",
        "Fréchet distance of as many swapped images from the judged ones in a feature extractor's features; comparable only for the same extractor and n.",
        "Heusel et al. 2017, Eq. 6.", lambda j: j.realism and j.realism.swaps and j.realism.swaps.frechet, sections=("frechet", "realism of swaps", "realism"),
    ),
    Measure(
        "kid", "kernel distance (KID)", "", "lower",
        "Squared maximum mean discrepancy of swapped images from the judged ones with a cubic kernel, unbiased also for few images.",
        "Bińkowski et al. 2018.", lambda j: j.realism and j.realism.swaps and j.realism.swaps.kid, sections=("realism of swaps", "realism"),
    ),
    Measure(
        "mig", "MIG", "", "higher", "Mutual information gap between the two numbers of the codes that tell most of an attribute, over its entropy.", "Chen et al. 2018, Eq. 6.",
        lambda j: j.disentanglement and j.disentanglement.mig and j.disentanglement.mig.all, _gap("mig"), about=_factors,
        sections=("mig", "disentanglement"), bounded=True,
    ),
    Measure(
        "sap", "SAP", "", "higher", "Gap between the two numbers of the codes that read an attribute best.", "Kumar et al. 2018, Sec. 3.",
        lambda j: j.disentanglement and j.disentanglement.sap and j.disentanglement.sap.all, _gap("sap"), about=_factors,
        sections=("sap", "disentanglement"), bounded=True,
    ),
    Measure(
        "dci", "DCI disentanglement", "", "higher", "How far each number of the codes matters for one attribute alone, by the importances of random forests.",
        "Eastwood and Williams 2018, Sec. 2.", lambda j: j.disentanglement and j.disentanglement.dci and j.disentanglement.dci.disentanglement,
        about=_factors, sections=("dci", "disentanglement"), bounded=True,
    ),
    Measure(
        "dci_completeness", "DCI completeness", "", "higher", "How far each attribute is told by one number of the codes alone.", "Eastwood and Williams 2018, Sec. 2.",
        lambda j: j.disentanglement and j.disentanglement.dci and j.disentanglement.dci.completeness, about=_factors, sections=("dci", "disentanglement"), bounded=True,
    ),
    Measure(
        "leakage_linear", "leakage to a linear probe", "%", "lower", "As leakage, read by logistic regression in place of the two-layer probe.",
        "Own.", _off_part("linear"), sections=("off_part", "leakage"),
    ),
    Measure(
        "entropy", "posterior entropy", "", "higher", "Entropy over ln K of fresh linear probes on parts that should not tell an attribute; 1 = they see nothing.",
        "Oldfield et al. 2019, Table IV.", lambda j: j.entropy and j.entropy.off_part, sections=("entropy", "leakage"),
    ),
    Measure(
        "mse", "reconstruction error", "", "lower", "Mean squared error on [0, 1] of images encoded and decoded.", "Standard.",
        lambda j: j.reconstruction and j.reconstruction.mse, sections=("reconstruction",),
    ),
    Measure(
        "lpips", "LPIPS", "", "lower", "Distance of images encoded and decoded in the features of a given network.", "Zhang et al. 2018.",
        lambda j: j.reconstruction and j.reconstruction.lpips, sections=("lpips", "reconstruction"),
    ),
    Measure(
        "sensitivity", "pixels moved", "%", "",
        "Mean absolute difference of all pixels, of the full range, between an image decoded with two values of a label drawn for it; 0 = the decoder ignores the label.",
        "Own.", _mean_of(lambda j: j.sensitivity or {}), lambda j: j.sensitivity or {}, sections=("sensitivity",),
    ),
    Measure(
        "edit_original_db", "unedited against truth", "dB", "", "PSNR of the unedited original against the image that the edit should have become: to be beaten.",
        "Own.", _truth_of_all("edits", lambda psnr: psnr.original), _truth("edits", lambda psnr: psnr.original), sections=("truth",),
    ),
    Measure(
        "swap_original_db", "unswapped against truth", "dB", "", "PSNR of the unedited original against the image that the swap should have become: to be beaten.",
        "Own.", lambda j: j.parts and j.parts.all.psnr and j.parts.all.psnr.original, by_part=_parts(lambda scores: scores.psnr and scores.psnr.original), sections=("parts", "truth"),
    ),
    Measure(
        "frechet_reconstructed", "Fréchet distance of reconstructions", "", "lower", "As the Fréchet distance, of images encoded and decoded.", "Heusel et al. 2017, Eq. 6.",
        lambda j: j.realism and j.realism.reconstructions and j.realism.reconstructions.frechet, sections=("frechet", "realism"),
    ),
    Measure(
        "kid_reconstructed", "kernel distance of reconstructions", "", "lower", "As the kernel distance, of images encoded and decoded.", "Bińkowski et al. 2018.",
        lambda j: j.realism and j.realism.reconstructions and j.realism.reconstructions.kid, sections=("realism",),
    ),
    Measure(
        "frechet_real", "Fréchet distance of other real images", "", "", "As the Fréchet distance, of as many training images: what is left between two real sets.", "Heusel et al. 2017, Eq. 6.",
        lambda j: j.realism and j.realism.real and j.realism.real.frechet, sections=("frechet", "realism"),
    ),
    Measure(
        "kid_real", "kernel distance of other real images", "", "", "As the kernel distance, of as many training images.", "Bińkowski et al. 2018.",
        lambda j: j.realism and j.realism.real and j.realism.real.kid, sections=("realism",),
    ),
    Measure(
        "classifier_accuracy", "classifier accuracy", "%", "higher", "How often the independent classifier names an attribute of a judged image rightly: what limits every success.",
        "Own.", _mean_of(lambda j: _accuracies(j)), lambda j: _accuracies(j), sections=("judge",), bounded=True,
    ),
    Measure(
        "identity_kept", "identity preserved", "%", "higher",
        "After a swap of a part that has nothing to do with a group (a person), the image is still verified as of its group by a verifier trained on training images.",
        "Own.", _first(_recognised("preserved")), _recognised("preserved"), sections=("recognition",), bounded=True,
    ),
    Measure(
        "identity_verifier", "verifier accuracy", "%", "higher", "How often that verifier is right on pairs of judged images.", "Own.",
        _first(_recognised("verifier")), _recognised("verifier"), sections=("recognition",), bounded=True,
    ),
    Measure(
        "verification", "verification", "%", "higher",
        "Two images show the same group or not, by a threshold on the distance of one part that is chosen on nine tenths of the pairs; the best part's accuracy. Guessing has 50 %.",
        "Browatzki and Wallraven 2019, Table 2.", lambda j: _best(_verified(j)), by_part=lambda j: _verified(j), sections=("recognition",), bounded=True,
    ),
    Measure(
        "retrieval_map", "retrieval mAP", "", "higher", "Mean average precision of finding the other images of a group by the distance of one part; the best part's.",
        "Standard.", lambda j: _best(_retrieved(j, "map")), by_part=lambda j: _retrieved(j, "map"), sections=("recognition",), bounded=True,
    ),
    Measure(
        "retrieval_top1", "nearest is the same", "%", "higher", "How often the nearest other image by one part is of the same group; the best part's.",
        "Standard.", lambda j: _best(_retrieved(j, "top1")), by_part=lambda j: _retrieved(j, "top1"), sections=("recognition",), bounded=True,
    ),
)  # fmt: skip


def _accuracies(judgement: Judgement) -> dict[str, Estimate]:
    return {name: found.accuracy for name, found in (judgement.classifier.attributes if judgement.classifier else {}).items()}


def _verified(judgement: Judgement) -> Mapping[str, Estimate]:
    return next((found.verification for found in (judgement.recognition or {}).values()), {})


def _retrieved(judgement: Judgement, score: str) -> dict[str, Estimate]:
    first = next(iter((judgement.recognition or {}).values()), None)
    return {part: getattr(found, score) for part, found in first.retrieval.items()} if first else {}


def _best(found: Mapping[str, Estimate]) -> Estimate | None:
    return max(found.values(), key=lambda estimate: estimate.value, default=None)


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
