"""What a judgement holds: typed sections made of estimates, and their form in JSON.

A section that was not measured is None; `left_out` then states why. The JSON keys are those of every judgement written
so far; where a field has another name, its key stands in `KEYS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from recombine.metrics.intervals import Estimate

KEYS = {  # field -> JSON key, in all classes
    "images": "pictures", "available": "of", "roles": "carries", "classifier": "judge", "held_out": "kept_aside",
    "preserved": "kept", "preserved_unedited": "kept_unedited", "preserved_of": "kept_of",
    "identity_preserved": "identity_kept", "reconstructed": "rebuilt",
}  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """How the codes were judged, beyond the images; absent from judgements of older versions."""

    learnt: int                             # training images at most whose codes the probes learnt from
    probes: tuple[str, ...]                 # kinds of fresh probes that looked for leakage
    attributes: tuple[str, ...] | None = None  # that leakage and others are about; None = all that parts carry


@dataclass(frozen=True)
class Reconstruction:
    """Images encoded and decoded, against themselves."""

    mse: Estimate                           # on [0, 1]
    psnr: Estimate                          # dB
    ssim: Estimate | None = None
    lpips: Estimate | None = None


@dataclass(frozen=True)
class EditScores:
    """Whether edits show what they should and preserve the rest, as the classifier sees it; also without an edit."""

    success: Estimate | None = None         # the target value is seen
    success_unedited: Estimate | None = None
    preserved: Estimate | None = None       # every other attribute is seen as in the original
    preserved_unedited: Estimate | None = None
    values: Mapping[str, Estimate] | None = None  # target value -> success


@dataclass(frozen=True)
class Edits:
    """Label edits, or swaps of the attributes' own parts."""

    all: EditScores
    attributes: Mapping[str, EditScores]
    preserved_of: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)  # edited -> other attribute


@dataclass(frozen=True)
class AgainstTruth:
    """PSNR in dB against the image that an edit should have become."""

    edited: Estimate
    original: Estimate                      # of the original, left as it is: to be beaten
    reconstructed: Estimate                 # of the original encoded and decoded


@dataclass(frozen=True)
class TrueEdits:
    """Edits against their true images: attribute or `all` -> PSNR."""

    psnr: Mapping[str, AgainstTruth]
    truth_as_seen: EditScores | None = None  # the true images in the edits' place: the most that any method could score


@dataclass(frozen=True)
class Truth:
    """Label edits and swaps of which the true result can be rendered."""

    edits: TrueEdits | None = None
    swaps: TrueEdits | None = None


@dataclass(frozen=True)
class PartScores(EditScores):
    """Swaps of whole parts; the target values are the source's, of what the part carries."""

    psnr: AgainstTruth | None = None
    attributes: Mapping[str, Estimate] | None = None  # success of each attribute that the part carries


@dataclass(frozen=True)
class PartSwaps:
    """All swaps of parts, and those of each part."""

    all: PartScores
    parts: Mapping[str, PartScores]


@dataclass(frozen=True)
class ProbeReading:
    """What a fresh probe reads of one attribute from one part."""

    probe: str
    accuracy: Estimate | None = None        # binary and categorical attributes
    majority: float | None = None           # accuracy of always guessing the most frequent training value
    above: Estimate | None = None           # accuracy - majority
    r2: Estimate | None = None              # continuous attributes


@dataclass(frozen=True)
class Leakage:
    """What fresh probes read from every part."""

    matrix: Mapping[str, Mapping[str, Mapping[str, ProbeReading]]]  # probe -> part -> attribute
    learnt_from: int                        # training images
    off_part: Mapping[str, Estimate] | None = None  # probe -> mean `above` of what parts should not tell


@dataclass(frozen=True)
class EntropyReading(Estimate):
    """Posterior entropy over ln K of a linear probe, and that of the training labels."""

    prior: float = 1.0


@dataclass(frozen=True)
class Entropy:
    """How unsure fresh linear probes are of what parts should not tell."""

    off_part: Estimate
    matrix: Mapping[str, Mapping[str, EntropyReading]]  # part -> attribute


@dataclass(frozen=True)
class Information(Estimate):
    """Mutual information in nats between two sides of the codes."""

    between: Sequence[Sequence[str]] = ()   # the parts of each side
    learnt_from: int = 0                    # training images


@dataclass(frozen=True)
class Distance(Estimate):
    """A distance between two sets of images in the features of an extractor."""

    extractor: str = ""
    features: int = 0
    n_real: int = 0
    n_made: int = 0
    subset_size: int | None = None          # of the kernel distance


@dataclass(frozen=True)
class Distances:
    """Of one set of images from the judged ones."""

    frechet: Distance | None = None
    kid: Distance | None = None


@dataclass(frozen=True)
class Realism:
    """How far made images are from real ones, as a feature extractor sees them."""

    extractor: str
    reconstructions: Distances | None = None
    swaps: Distances | None = None
    real: Distances | None = None           # other real images: what is left between two real sets


@dataclass(frozen=True)
class Retrieval:
    """Search for images of the same group."""

    map: Estimate                           # mean average precision
    top1: Estimate                          # the nearest other image is of the same group


@dataclass(frozen=True)
class IdentityPreserved:
    """How often an image is verified as of its partner's group."""

    preserved: Estimate                     # after a swap of a part that should not matter
    parts: Mapping[str, Estimate]
    original: Estimate
    reconstructed: Estimate
    others: Estimate                        # images of another group
    verifier: Estimate                      # its accuracy


@dataclass(frozen=True)
class Recognition:
    """Verification and retrieval of one group attribute by each part."""

    verification: Mapping[str, Estimate]
    retrieval: Mapping[str, Retrieval]
    retrieval_by_chance: float
    identity_preserved: IdentityPreserved | None = None


@dataclass(frozen=True)
class FactorGaps:
    """A gap score: the mean over factors, and each."""

    all: Estimate
    factors: Mapping[str, Estimate]


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness and informativeness."""

    disentanglement: Estimate
    completeness: Estimate
    informativeness: Mapping[str, Estimate]
    importance: Mapping[str, Sequence[float]] = field(default_factory=dict)  # factor -> share of each number


@dataclass(frozen=True)
class Disentanglement:
    """Scores of single numbers of the codes against known factors."""

    numbers: int                            # of all parts together
    pooled: int                             # side that maps were averaged down to
    factors: Sequence[str]
    mig: FactorGaps | None = None
    sap: FactorGaps | None = None
    dci: DCI | None = None


@dataclass(frozen=True)
class AttributeAccuracy:
    """The classifier's own accuracy on one attribute."""

    accuracy: Estimate
    majority: float                         # share of the most frequent value
    recall: Mapping[str, Estimate]          # value -> share of its images in which it is seen


@dataclass(frozen=True)
class ClassifierReport:
    """The independent classifier, on the judged images."""

    attributes: Mapping[str, AttributeAccuracy]
    accuracy: float | None = None           # on training images held out of its own training
    images_seen: int | None = None
    held_out: int | None = None


@dataclass(frozen=True)
class Judgement:
    """Every number of one method on one split, each with n and a 95 % interval."""

    split: str = "val"
    images: int = 0
    available: int = 0                      # images of the split
    seed: int = 0
    fingerprint: str = ""                   # of the data set
    on_training_data: bool = False
    goes_with: Mapping[str, Sequence[str]] = field(default_factory=dict)  # edited -> others that rightly change too
    protocol: Protocol | None = None
    roles: Mapping[str, Sequence[str]] = field(default_factory=dict)  # part -> attributes that it is meant to carry
    reconstruction: Reconstruction | None = None
    sensitivity: Mapping[str, Estimate] | None = None  # attribute -> pixels moved between two values, of the range
    classifier: ClassifierReport | None = None
    edits: Edits | None = None
    swaps: Edits | None = None
    truth: Truth | None = None
    parts: PartSwaps | None = None
    leakage: Leakage | None = None
    entropy: Entropy | None = None
    information: Information | None = None
    realism: Realism | None = None
    recognition: Mapping[str, Recognition] | None = None  # group attribute
    disentanglement: Disentanglement | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)  # what was not measured -> why
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict:
        """Plain values; sections that were not measured are not there."""
        return plain(self)

    @staticmethod
    def from_json(data: Mapping) -> Judgement:
        """The judgement that `to_json` wrote, of this version or an older one."""
        return CONVERTER.structure(data, Judgement)


def plain(section: Any) -> dict:
    """A section as plain values for JSON."""
    return CONVERTER.unstructure(section)


def structured(kind: type, values: object) -> Any:
    """A section from plain values; estimates may stand in them as they are."""
    return CONVERTER.structure(values, kind)


def _renamed(kind: type) -> dict:
    return {f.name: override(rename=KEYS[f.name]) for f in fields(kind) if f.name in KEYS}


def _unstructure(kind: type) -> Any:
    to_dict = make_dict_unstructure_fn(kind, CONVERTER, **_renamed(kind))
    return lambda value: {name: inner for name, inner in to_dict(value).items() if inner is not None}


def _structure(kind: type) -> Any:
    build = make_dict_structure_fn(kind, CONVERTER, **_renamed(kind))

    def structure(data: Any, _: object) -> Any:
        if isinstance(data, kind):
            return data
        if issubclass(kind, Estimate):      # a number alone has no interval, as older versions wrote some
            data = {"low": data["value"], "high": data["value"], "n": 0, **data}
        return build(data, kind)

    return structure


CONVERTER = cattrs.Converter()
CONVERTER.register_unstructure_hook_factory(is_dataclass, _unstructure)
CONVERTER.register_structure_hook_factory(is_dataclass, _structure)
