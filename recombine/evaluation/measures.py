"""The catalogue of measures: what every number is called, in which unit, which way is better, and what it means.

Reports, comparisons, the papers' tables, the training monitor and `docs/measures.md` take names and values from here,
so that one name always stands for one number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recombine.evaluation.judgement import Judgement
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
        narrowed = self.narrowed or self.by_attribute
        if attributes is None or narrowed is None or not set(self.covered(judgement)) - set(attributes):
            return self.read(judgement)
        if self.narrowed:
            found = list(self.narrowed(judgement, attributes))
        else:
            each = narrowed(judgement)
            found = [each[name] for name in attributes if name in each]
        return pooled(found) if found else None

    def covered(self, judgement: Judgement) -> Collection[str]:
        """The attributes that it is about."""
        return self.about(judgement) if self.about else {name for names in judgement.roles.values() for name in names}

    def reason(self, judgement: Judgement) -> str:
        """Why it was not measured, in the judgement's own words."""
        reasons = (judgement.left_out.get(name) for name in (self.key, *self.sections))
        return next(filter(None, reasons), "it was not asked for")


def _at(path: str) -> Callable[[Any], Any]:
    """Reads what stands at a dotted path of fields and keys; None where something on it was not measured."""

    def read(found: Any) -> Any:
        for name in path.split("."):
            if found is not None:
                found = found.get(name) if isinstance(found, Mapping) else getattr(found, name)
        return found

    return read


def _each(path: str, score: str = "", without: str = "") -> ReadEach:
    """Reads a mapping at a path, and of each of its entries the value at the path `score`, where it was measured."""
    entries, read = _at(path), _at(score) if score else lambda entry: entry

    def each(judgement: Any) -> dict[str, Estimate]:
        values = {name: read(entry) for name, entry in (entries(judgement) or {}).items() if name != without}
        return {name: value for name, value in values.items() if value is not None}

    return each


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
    found = _each("parts.parts", "attributes")(judgement)
    each = [found[part].get(name) for part, name in _carrying(judgement, attributes) if part in found]
    return [estimate for estimate in each if estimate]


def _leaks(judgement: Judgement, attributes: Collection[str]) -> list[Estimate]:
    """How far above guessing each of some attributes is read from each part that should not carry it."""
    found = []
    for part, row in (_at("leakage.matrix.two_layer")(judgement) or {}).items():
        above = [row[name].above for name in attributes if name in row and name not in judgement.roles.get(part, ())]
        found += filter(None, above)
    return found


def _probed(judgement: Judgement) -> set[str]:
    return {name for row in (_at("leakage.matrix.two_layer")(judgement) or {}).values() for name in row}


def _factors(judgement: Judgement) -> Collection[str]:
    return judgement.disentanglement.factors if judgement.disentanglement else ()


def _of_first_group(path: str, score: str = "") -> ReadEach:
    """A recognition score of every part, of the first group attribute."""
    each = _each(path, score)
    return lambda j: each(next(iter((j.recognition or {}).values()), None))


def _first(each: ReadEach) -> Read:
    return lambda j: next(iter(each(j).values()), None)


def _best(each: ReadEach) -> Read:
    return lambda j: max(each(j).values(), key=lambda estimate: estimate.value, default=None)


def _mean_of(each: ReadEach) -> Read:
    return lambda j: pooled(found) if (found := list(each(j).values())) else None


_PART_PRESERVED, _PART_PSNR = _each("parts.parts", "preserved"), _each("parts.parts", "psnr.edited")
_ACCURACIES, _SENSITIVITY = _each("classifier.attributes", "accuracy"), _each("sensitivity")
_PRESERVED, _VERIFIER = (_each("recognition", f"identity_preserved.{score}") for score in ("preserved", "verifier"))
_VERIFICATION = _of_first_group("verification")
_MAP, _TOP1 = (_of_first_group("retrieval", score) for score in ("map", "top1"))
_SHARE = "Own; the classifier never saw the judged images and is not the method's."
_DRAWN = "Own; the true result is drawn from the known factors."

_ALL = (
    Measure(
        "success", "swaps that succeed", "%", "higher",
        "After a part is taken from another image, an independent classifier sees the source's value of every "
        "attribute that the part carries and in which the two images differ.", _SHARE, _at("parts.all.success"),
        _each("swaps.attributes", "success"), _each("parts.parts", "success"), _followed, sections=("parts",),
        headline=True, bounded=True,
    ),
    Measure(
        "kept", "others preserved by swaps", "%", "higher",
        "After a swap of a part, the classifier sees every attribute that the part does not carry as it did in the "
        "original.", _SHARE, _at("parts.all.preserved"), _each("swaps.attributes", "preserved"), _PART_PRESERVED,
        _of_carriers(_PART_PRESERVED), sections=("parts",), headline=True, bounded=True,
    ),
    Measure(
        "psnr_db", "swap against truth", "dB", "higher",
        "PSNR of a swap against the image that it should have become, where that can be rendered.", _DRAWN,
        _at("parts.all.psnr.edited"), _each("truth.swaps.psnr", "edited", without="all"), _PART_PSNR,
        _of_carriers(_PART_PSNR), sections=("psnr", "parts", "truth"), headline=True,
    ),
    Measure(
        "leakage", "leakage", "%", "lower",
        "Accuracy above guessing of a fresh two-layer probe, the mean over all parts and the attributes that these "
        "should not carry; 0 = nothing leaks.",
        "Own; as the adversaries of Oldfield et al. 2019 and Creswell et al. 2017, but trained after the method.",
        _at("leakage.off_part.two_layer"), narrowed=_leaks, about=_probed, sections=("off_part", "leakage"),
        headline=True,
    ),
    Measure(
        "information", "information between parts", "nats", "lower",
        "Mutual information of the parts that carry attributes and the others, estimated by a classifier of pairs; 0 "
        "= independent.", "Esser et al. 2019, Eq. 12.", _at("information"), sections=("information",),
    ),
    Measure(
        "reconstruction_db", "reconstruction", "dB", "higher",
        "PSNR on [0, 1] of each image encoded and decoded, the mean over images; equal images count 100 dB.",
        "Standard.", _at("reconstruction.psnr"), sections=("reconstruction",), headline=True,
    ),
    Measure(
        "ssim", "SSIM", "", "higher", "Structural similarity of images encoded and decoded; 1 = equal.",
        "Wang et al. 2004.", _at("reconstruction.ssim"), sections=("reconstruction",),
    ),
    Measure(
        "edit_success", "edits that succeed", "%", "higher",
        "After a label is set to another value, the classifier sees that value.",
        "Own; as the percentages of Creswell et al. 2017, Tables 1-3.", _at("edits.all.success"),
        _each("edits.attributes", "success"), sections=("edits",), bounded=True,
    ),
    Measure(
        "edit_kept", "others preserved by edits", "%", "higher",
        "After a label is set, the classifier sees every other attribute as it did in the original.", _SHARE,
        _at("edits.all.preserved"), _each("edits.attributes", "preserved"), sections=("edits",), bounded=True,
    ),
    Measure(
        "edit_psnr_db", "edit against truth", "dB", "higher",
        "PSNR of a label edit against the image that it should have become, where that can be rendered.", _DRAWN,
        _at("truth.edits.psnr.all.edited"), _each("truth.edits.psnr", "edited", without="all"), sections=("truth",),
    ),
    Measure(
        "frechet", "Fréchet distance", "", "lower",
        "Fréchet distance of as many swapped images from the judged ones in a feature extractor's features; "
        "comparable only for the same extractor and n.", "Heusel et al. 2017, Eq. 6.", _at("realism.swaps.frechet"),
        sections=("frechet", "realism of swaps", "realism"),
    ),
    Measure(
        "kid", "kernel distance (KID)", "", "lower",
        "Squared maximum mean discrepancy of swapped images from the judged ones with a cubic kernel, unbiased also "
        "for few images.", "Bińkowski et al. 2018.", _at("realism.swaps.kid"), sections=("realism of swaps", "realism"),
    ),
    Measure(
        "mig", "MIG", "", "higher",
        "Mutual information gap between the two numbers of the codes that tell most of an attribute, over its "
        "entropy.", "Chen et al. 2018, Eq. 6.", _at("disentanglement.mig.all"), _each("disentanglement.mig.factors"),
        about=_factors, sections=("mig", "disentanglement"), bounded=True,
    ),
    Measure(
        "sap", "SAP", "", "higher", "Gap between the two numbers of the codes that read an attribute best.",
        "Kumar et al. 2018, Sec. 3.", _at("disentanglement.sap.all"), _each("disentanglement.sap.factors"),
        about=_factors, sections=("sap", "disentanglement"), bounded=True,
    ),
    Measure(
        "dci", "DCI disentanglement", "", "higher",
        "How far each number of the codes matters for one attribute alone, by the importances of random forests.",
        "Eastwood and Williams 2018, Sec. 2.", _at("disentanglement.dci.disentanglement"), about=_factors,
        sections=("dci", "disentanglement"), bounded=True,
    ),
    Measure(
        "dci_completeness", "DCI completeness", "", "higher",
        "How far each attribute is told by one number of the codes alone.", "Eastwood and Williams 2018, Sec. 2.",
        _at("disentanglement.dci.completeness"), about=_factors, sections=("dci", "disentanglement"), bounded=True,
    ),
    Measure(
        "leakage_linear", "leakage to a linear probe", "%", "lower",
        "As leakage, read by logistic regression in place of the two-layer probe.", "Own.",
        _at("leakage.off_part.linear"), sections=("off_part", "leakage"),
    ),
    Measure(
        "entropy", "posterior entropy", "", "higher",
        "Entropy over ln K of fresh linear probes on parts that should not tell an attribute; 1 = they see nothing.",
        "Oldfield et al. 2019, Table IV.", _at("entropy.off_part"), sections=("entropy", "leakage"),
    ),
    Measure(
        "mse", "reconstruction error", "", "lower", "Mean squared error on [0, 1] of images encoded and decoded.",
        "Standard.", _at("reconstruction.mse"), sections=("reconstruction",),
    ),
    Measure(
        "lpips", "LPIPS", "", "lower", "Distance of images encoded and decoded in the features of a given network.",
        "Zhang et al. 2018.", _at("reconstruction.lpips"), sections=("lpips", "reconstruction"),
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
        _at("truth.edits.psnr.all.original"), _each("truth.edits.psnr", "original", without="all"), sections=("truth",),
    ),
    Measure(
        "swap_original_db", "unswapped against truth", "dB", "",
        "PSNR of the unedited original against the image that the swap should have become: to be beaten.", "Own.",
        _at("parts.all.psnr.original"), by_part=_each("parts.parts", "psnr.original"), sections=("parts", "truth"),
    ),
    Measure(
        "frechet_reconstructed", "Fréchet distance of reconstructions", "", "lower",
        "As the Fréchet distance, of images encoded and decoded.", "Heusel et al. 2017, Eq. 6.",
        _at("realism.reconstructions.frechet"), sections=("frechet", "realism"),
    ),
    Measure(
        "kid_reconstructed", "kernel distance of reconstructions", "", "lower",
        "As the kernel distance, of images encoded and decoded.", "Bińkowski et al. 2018.",
        _at("realism.reconstructions.kid"), sections=("realism",),
    ),
    Measure(
        "frechet_real", "Fréchet distance of other real images", "", "",
        "As the Fréchet distance, of as many training images: what is left between two real sets.",
        "Heusel et al. 2017, Eq. 6.", _at("realism.real.frechet"), sections=("frechet", "realism"),
    ),
    Measure(
        "kid_real", "kernel distance of other real images", "", "",
        "As the kernel distance, of as many training images.", "Bińkowski et al. 2018.", _at("realism.real.kid"),
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
