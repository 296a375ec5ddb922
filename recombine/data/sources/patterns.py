r"""Labels that stand in names: a pattern states which part of a path means what, and fills the label table.

A pattern describes the whole path of an image below the folder that is read, from left to right:

    {name}              a label: any text without `/`, as short as what follows allows; met again, the same text again
    {name:REGEX}        a label of this form; fields may stand inside it: {identity:{gender:[FM]}\d+}
    {_} or {_:REGEX}    text that is no label
    *                   any text without `/`, or none
    **/                 any number of folders, or none
    anything else       stands for itself

Without an ending such as `.jpg` a pattern takes every image format. A field `split` holds train, val or test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from recombine.data.schema import Kind
from recombine.data.sources.cells import BadTable, Cells, Note
from recombine.data.sources.columns import IDENTITIES, PERSONS, named
from recombine.data.sources.matching import Pairs, Rows, match
from recombine.data.sources.paths import SUFFIXES, Listing, sample
from recombine.data.sources.source import Source, SourceOptions
from recombine.messages import nearest, printable, shown

CLIPS = ("clip", "video", "sequence", "track")      # told apart by whose they are
NAMED = 3                                           # files named of many that do not match
CAMERAS = "110 120 090 080 130 140 051 050 041 190 200 010 240".split()     # Multi-PIE's, from -90 to 90 degrees


@dataclass(frozen=True)
class Naming:
    """How the files of a data set are named, and what its codes mean."""

    patterns: tuple[str, ...]                       # the first that matches anything is used
    about: str = ""                                 # the data set, and where its naming is described
    kinds: Mapping[str, Kind] = field(default_factory=dict)        # of columns
    columns: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = field(default_factory=dict)  # fields and table
    mirrors: Mapping[str, Pairs] = field(default_factory=dict)      # values that change places in a mirrored image
    caution: str = ""                               # what must be known before training


@dataclass(frozen=True)
class Token:
    """A piece of a pattern."""

    text: str           # as it stands there
    regex: str
    what: str           # in messages
    open: bool = False  # whether it may be longer, up to whatever follows


class Pattern:
    """One pattern, ready to be matched.

    Args:
        text: See the module.

    Raises:
        ValueError: It has no field, a brace without its other half, or a regular expression that is none.
    """

    def __init__(self, text: str):
        self.text, self.fields = text, list[str]()
        self.tokens = self._tokens()
        if not self.fields:
            raise ValueError(f"the pattern {text!r} names no label; write one in braces, such as {{identity}}/*.jpg")
        self.regex = re.compile("".join(token.regex for token in self.tokens), re.DOTALL)

    def _tokens(self) -> list[Token]:
        text = self.text.removeprefix("./")
        suffix = next((s for s in SUFFIXES if text.lower().endswith(s)), "")
        end = Token("", r"\.[^./]+", "an ending such as '.jpg'")
        end = Token(suffix, f"(?i:{re.escape(suffix)})", repr(suffix)) if suffix else end
        text = text[: -len(suffix)] if suffix else text.removesuffix(".*")
        tokens, place = [], 0
        while place < len(text):
            token = self._token(text, place)
            tokens.append(token)
            place += len(token.text)
        return [*tokens, end]

    def _token(self, text: str, place: int) -> Token:
        for wild, regex in (("**/", "(?:[^/]+/)*?"), ("**", ".*?"), ("*", "[^/]*?")):
            if text.startswith(wild, place):
                return Token(wild, regex, repr(wild), open=True)
        if text[place] == "{":
            whole = text[place : self._closing(text, place) + 1]
            return Token(whole, self._field(whole), whole, open=":" not in whole)
        if text[place] == "}":
            raise ValueError(f"the pattern {self.text!r} has a }} without {{ before {text[place + 1 :]!r}")
        literal = re.match(r"[^*{}/]*/?", text[place:])[0]  # type: ignore[index]
        return Token(literal, re.escape(literal), repr(literal))

    def _closing(self, text: str, place: int) -> int:
        """Where the brace that opens at `place` is closed."""
        depth = 0
        for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, place):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                return brace.start()
        raise ValueError(f"the pattern {self.text!r} has a {{ without }}: {text[place:]!r}")

    def _field(self, whole: str) -> str:
        name, _, form = whole[1:-1].partition(":")
        if name != "_" and (not name.isidentifier() or name.startswith("_") or name == "file_name"):
            place = f"{whole} in the pattern {self.text!r}"
            raise ValueError(f"{place}: {name!r} is no name for a label; use letters, digits and _")
        if name in self.fields:
            return f"(?P={name})"
        if name != "_":
            self.fields.append(name)
        inner = self._form(form) if form else "[^/]+?"
        return f"(?:{inner})" if name == "_" else f"(?P<{name}>{inner})"

    def _form(self, form: str) -> str:
        """A field's regular expression with the fields inside it."""
        parts, at = [], 0
        while at < len(form):
            nested = re.match(r"\{[^\W\d]", form[at:])
            end = 1 + (self._closing(form, at) if nested else at + (form[at] == "\\"))
            parts.append(self._field(form[at:end]) if nested else form[at:end])
            at = end
        try:
            re.compile("".join(parts))
        except re.error as error:
            raise ValueError(f"{form!r} in the pattern {self.text!r} is no regular expression: {error}") from None
        return "".join(parts)

    def match(self, path: str) -> dict[str, str] | None:
        """The labels in a path, or None where it does not match."""
        found = self.regex.fullmatch(path)
        return None if found is None else {name: text or "" for name, text in found.groupdict().items()}

    def reached(self, path: str) -> int:
        """How many pieces of the pattern the beginning of a path matches."""
        return next((k for k in range(len(self.tokens), 0, -1) if self._prefix(k, path)), 0)

    def _prefix(self, count: int, path: str) -> re.Match | None:
        return re.match("".join(token.regex for token in self.tokens[:count]), path, re.DOTALL)

    def explain(self, path: str) -> str:
        """Where a path that does not match stops matching."""
        count = self.reached(path)
        start = count - 1 if 0 < count < len(self.tokens) and self.tokens[count - 1].open else count
        found = self._prefix(start, path)
        rest = printable(path[found.end() :] if found else path)
        fits = "".join(token.text for token in self.tokens[:count])
        what = self.tokens[count].what if count < len(self.tokens) else "the end"
        if start < count and not fits.endswith(("**/", "**")):
            rest = rest.partition("/")[0]
        wrong = f"{'somewhere in' if start < count else 'at'} {rest!r} {what} was expected"
        hint = ""
        if self.tokens[0].text != "**/" and Pattern(f"**/{self.text}").match(path):
            hint = "; a pattern begins at the folder that is read: put **/ in front for folders around it"
        return f"{printable(path)} fits {fits!r}, then {wrong}{hint}" if fits else f"{printable(path)}: {wrong}{hint}"


def read_pattern(listing: Listing, options: SourceOptions) -> Source | None:
    """Images labelled by their paths; None where no pattern was given.

    Raises:
        BadTable: Nothing matches; the message shows one path and where it stops matching.
        ValueError: The pattern is none.
    """
    if options.pattern is None:
        return None
    pattern, names, paths = options.pattern, list(PATTERNS), listing.images
    naming = PATTERNS.get(pattern.lower(), Naming((pattern,)))
    if "{" not in naming.patterns[0]:
        text = f"the pattern {pattern!r} names no label, such as {{identity}}/*.jpg does, and is none of {shown(names)}"
        raise ValueError(text + nearest(pattern, names))
    used, found = _matches(list(map(Pattern, naming.patterns)), paths)
    columns = {name: [labels[name] for labels in found.values()] for name in used.fields}
    columns.update(_translated(columns, naming))
    columns, clip_notes = _clips_apart(columns)
    notes = [Note("info", f"labels read from names by {used.text!r}: {len(found)} of {len(paths)} images"), *clip_notes]
    kept = options.unlabelled == "keep"
    if unmatched := [path for path in paths if path not in found]:
        closest = _closest([used], unmatched)
        missed = shown(list(map(printable, unmatched)), NAMED)
        text = f"{len(unmatched)} of {len(paths)} images do not match the pattern: {missed}"
        text = f"{text}; the nearest miss: {used.explain(closest[1])}" if closest else text
        notes.append(Note("warning", text, "" if kept else "they were dropped"))
    if naming.caution:
        notes.append(Note("warning", naming.caution))
    files = list(found)
    origins = [f"{printable(path)}, image" for path in files]
    cells = Cells({"file_name": files, **columns}, origins, list(range(1, len(files) + 1)), tuple(notes))
    kinds = {name: kind for name, kind in naming.kinds.items() if len({*columns.get(name, ())} - {""}) > 1}
    return match(Rows(cells, "file_name", kinds=kinds, mirrors=naming.mirrors, complete=not kept), listing, options)


def _matches(patterns: Sequence[Pattern], paths: Sequence[str]) -> tuple[Pattern, dict[str, dict[str, str]]]:
    """The first pattern that matches anything, and the labels in each path that it matches."""
    for pattern in patterns:
        if found := {path: labels for path in paths if (labels := pattern.match(path)) is not None}:
            return pattern, found
    closest = _closest(patterns, paths)
    if closest is None:
        raise BadTable("there are no images whose names could match a pattern; is it the right folder?")
    pattern, path = closest
    raise BadTable(f"none of {len(paths)} images matches the pattern {pattern.text!r}: {pattern.explain(path)}")


def _closest(patterns: Sequence[Pattern], paths: Sequence[str]) -> tuple[Pattern, str] | None:
    tried = [(p, path) for path in sample(paths) for p in patterns]
    return max(tried, key=lambda pair: pair[0].reached(pair[1]) / len(pair[0].tokens), default=None)


def _translated(columns: Mapping[str, list[str]], naming: Naming) -> dict[str, list[str]]:
    """The columns that a naming makes of its fields; a text that its table lacks stays in its own column alone."""
    made = {}
    for name, (fields, table) in naming.columns.items():
        if not set(fields) <= set(columns):
            continue
        texts = map(" ".join, zip(*(columns[f] for f in fields), strict=True))
        made[name] = [table.get(text, text if fields == (name,) else "") for text in texts]
    return made


def _clips_apart(columns: dict[str, list[str]]) -> tuple[dict[str, list[str]], list[Note]]:
    """Columns in which clips that are numbered anew for each person bear the person's name, and notes on them."""
    owner = next((name for name in columns if named(name, (*IDENTITIES, *PERSONS))), None)
    apart, notes = {}, []
    for name in [name for name in columns if owner and name != owner and named(name, CLIPS)]:
        pairs = {*zip(columns[owner], columns[name], strict=True)}  # type: ignore[index]
        if any(count > 1 for text, count in Counter(text for _, text in pairs).items() if text):
            owned = zip(columns[owner], columns[name], strict=True)  # type: ignore[index]
            apart[name] = [f"{whose}/{text}" if text else "" for whose, text in owned]
            text = f"{name}: values occur with several of {owner}, and were told apart as {apart[name][0]!r}"
            notes.append(Note("info", text))
    return {**columns, **apart}, notes


def _kinds(categorical: str, **others: Kind) -> dict[str, Kind]:
    return {**dict.fromkeys(categorical.split(), "categorical"), **others}


PATTERNS: dict[str, Naming] = {
    "rafd": Naming(
        (r"**/Rafd{camera:\d{3}}_{identity:\d+}_{population:[A-Za-z]+}_{gender:[a-z]+}_{expression:[a-z]+}_"
         r"{gaze:[a-z]+}",),
        "Radboud Faces Database, Langner et al. 2010, https://rafd.socsci.ru.nl: "
        "Rafd090_01_Caucasian_female_angry_frontal.jpg",
        _kinds("camera population gender expression gaze", identity="group", yaw="continuous"),
        columns={"yaw": (("camera",), {"000": "-90", "045": "-45", "090": "0", "135": "45", "180": "90"})},
        mirrors={"camera": (("000", "180"), ("045", "135")), "gaze": (("left", "right"),)},
    ),
    "multipie": Naming(
        (r"**/{identity:\d{3}}_{session:\d\d}_{recording:\d\d}_{camera:\d{3}}_{illumination:\d\d}",),
        "CMU Multi-PIE, Gross et al. 2010, https://www.cs.cmu.edu/afs/cs/project/PIE/MultiPie: 001_01_01_051_07.png",
        _kinds("session recording camera illumination expression", identity="group", yaw="continuous"),
        columns={
            "expression": (("session", "recording"), {
                **{"01 01": "neutral", "01 02": "smile", "02 01": "neutral", "02 02": "surprise", "02 03": "squint"},
                **{"03 01": "neutral", "03 02": "smile", "03 03": "disgust", "04 01": "neutral", "04 02": "neutral"},
                **{"04 03": "scream"},
            }),
            "yaw": (("camera",), dict(zip(CAMERAS, map(str, range(-90, 91, 15)), strict=True))),
        },
        mirrors={"camera": (*zip(CAMERAS[:6], CAMERAS[:6:-1], strict=True), ("081", "191"))},
        caution="illumination: which flash becomes which in a mirrored image is not known; "
        "train without mirroring to learn it",
    ),
    "bu3dfe": Naming(
        (r"**/{identity:{gender:[FM]}\d{4}}_{expression:[A-Z]{2}}{intensity:\d\d}{ancestry:[A-Z]{2}}_F2D",),
        "BU-3DFE, Yin et al. 2006, https://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html: "
        "F0001_AN01WH_F2D.bmp",
        _kinds("gender expression intensity ancestry", identity="group"),
        columns={"expression": (("expression",), dict(
            AN="angry", DI="disgust", FE="fear", HA="happy", NE="neutral", SA="sad", SU="surprise"
        ))},
    ),
    "market1501": Naming(
        (
            r"**/{split:bounding_box_train|bounding_box_test|query}/"
            r"{identity:-1|\d{4}}_c{camera:\d}s{_:\d}_{_:\d+}_{_:\d+}",
            r"**/{identity:-1|\d{4}}_c{camera:\d}s{_:\d}_{_:\d+}_{_:\d+}",
        ),
        "Market-1501, Zheng et al. 2015, its readme.txt: 0002_c1s1_000451_03.jpg; -1 is junk, 0000 a distractor",
        _kinds("camera", identity="group"),
        columns={
            "identity": (("identity",), {"-1": "", "0000": ""}),
            "split": (("split",), {"bounding_box_train": "train", "bounding_box_test": "test", "query": "test"}),
        },
    ),
    "vggface2": Naming(
        (r"**/{split:train|val|test}/{identity:n\d{6}}/{_:\d+}_{_:\d+}", r"**/{identity:n\d{6}}/{_:\d+}_{_:\d+}"),
        "VGGFace2, Cao et al. 2018, https://github.com/ox-vgg/vgg_face2: n000001/0001_01.jpg, "
        "the second number counts faces",
        kinds={"identity": "group"},
    ),
    "voxceleb": Naming(
        (r"**/{identity:id\d{5}}/{clip:[\w-]{11}}/**",),
        "Frames of VoxCeleb, Nagrani et al. 2017, https://www.robots.ox.ac.uk/~vgg/data/voxceleb: "
        "id10270/5r0dWxy17C8/0000001.jpg",
        kinds={"identity": "group", "clip": "group"},
    ),
}
