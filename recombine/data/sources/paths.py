"""Which files lie in a folder, and which of them a table's row means."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from recombine.data.sources.source import Links
from recombine.messages import option

SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".avif", ".heic", ".heif", ".jp2",
)  # fmt: skip
SAMPLE = 60  # rows that are looked at to find the path column and the images' folder


@dataclass(frozen=True)
class Listing:
    """Every regular file below a folder, and what was not followed."""

    root: Path
    files: list[str]                        # relative, posix, sorted
    skipped: dict[str, list[str]]           # reason -> names
    given: Path                             # the root as the user wrote it, for absolute paths in tables
    _indices: dict[Callable, dict[str, list[str]]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def images(self) -> list[str]:
        """Those files whose ending is an image's."""
        return [name for name in self.files if name.lower().endswith(SUFFIXES)]

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Why each name that was not followed was not."""
        return {name: why for why, names in reversed(self.skipped.items()) for name in names}

    def find(self, key: Callable[[str], str], text: str) -> Sequence[str]:
        """The files, for `stem` the images, with this key: one of `composed`, `folded`, `stem` and `name_alone`."""
        if key not in self._indices:
            index = self._indices[key] = defaultdict(list)
            for name in self.images if key is stem else self.files:
                index[key(name)].append(name)
        return self._indices[key].get(text, ())


def walk(root: Path | str, links: Links = "inside") -> Listing:
    """List a folder, or raise NotADirectoryError where there is none.

    Hidden files, loops, devices, unreadable files and, with `inside`, links out of the folder are skipped.
    """
    given, root = Path(root), Path(root).resolve()
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is not a folder; expected a folder of images")
    files, skipped, pending, linked, visited = [], defaultdict(list), [""], [], set()
    while pending or linked:
        folder = pending.pop() if pending else linked.pop(0)
        state = os.stat(root / folder)
        if (state.st_dev, state.st_ino) in visited:
            skipped["a folder reached a second time by a link"].append(folder)
            continue
        visited.add((state.st_dev, state.st_ino))
        try:
            with os.scandir(root / folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
                found = sorted((posixpath.join(folder, e.name), _kind(e, root, links)) for e in visible)
        except PermissionError:
            found = [(folder, "a folder without permission to read")]
        for name, kind in found:
            if kind in ("folder", "linked folder"):
                (pending if kind == "folder" else linked).append(name)
            elif kind == "file":
                files.append(name)
            else:
                skipped[kind].append(name)
    return Listing(root, sorted(files), {reason: sorted(names) for reason, names in skipped.items()}, given)


def _kind(entry: os.DirEntry, root: Path, links: Links) -> str:
    linked = entry.is_symlink()
    if linked and not os.path.exists(entry.path):
        return "a link to nothing"
    if linked and links == "inside" and not Path(os.path.realpath(entry.path)).is_relative_to(root):
        return "a link out of the folder"
    if entry.is_dir():
        return "linked folder" if linked else "folder"
    if not entry.is_file():
        return "a pipe, socket or device"
    return "file" if os.access(entry.path, os.R_OK) else "a file without permission to read"


@dataclass(frozen=True)
class Found:
    """What became of a path in a table."""

    file: str | None        # relative to the root; None when there is no answer
    rule: str               # how it was found, or why not: "absent", "outside", "ambiguous", a reason to skip
    choices: tuple[str, ...] = ()


class Resolver:
    """Find the file that a table's path, relative to `base`, means: as written, or by a rule that leaves one file."""

    def __init__(self, listing: Listing, base: str = ""):
        self.listing, self.base = listing, base
        self.roots = {str(listing.root), str(listing.given.absolute())}

    def find(self, text: str) -> Found:
        as_written = posixpath.join(self.base, text) if self.base else text
        if as_written in self.listing.known:
            return Found(as_written, "as written")
        path, rule = self._clean(text)
        if path is None:
            return Found(None, "outside")
        if path in self.listing.known:
            return Found(path, rule)
        for rule, key in LADDER:
            if choices := self.listing.find(key, key(path)):
                return Found(choices[0], rule) if len(choices) == 1 else Found(None, "ambiguous", tuple(choices[:4]))
        own = self.listing.root.name + "/"
        if path.startswith(own) and not self.base:
            inner = self.find(path[len(own) :])
            return Found(inner.file, "leaving out the folder's own name") if inner.file else inner
        return Found(None, self.listing.reasons.get(path, "absent"))

    def _clean(self, text: str) -> tuple[str | None, str]:
        """A path relative to the root, without `./`, `..` and backslashes; None when it leaves the root."""
        path = text.strip().replace("\\", "/")
        rule = "./, backslashes or spaces around"
        for root in self.roots:
            if path.startswith(root.replace("\\", "/").rstrip("/") + "/"):
                path, rule = path[len(root.rstrip("/")) + 1 :], "absolute path"
                break
        else:
            path = posixpath.join(self.base, path)
        path = posixpath.normpath(path) if path else ""
        if path.startswith(("../", "/")) or path == ".." or re.match(r"[A-Za-z]:/", path):
            return None, rule
        return path, rule


def composed(path: str) -> str:
    """A path with every accented letter as one character."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def folded(path: str) -> str:
    """A path in composed form without upper case."""
    return composed(path).casefold()


def stem(path: str) -> str:
    """A path, folded, without an image's ending."""
    path = folded(path)
    return path[: path.rindex(".")] if path.endswith(SUFFIXES) else path


def name_alone(path: str) -> str:
    """A file's name, folded, without its folders and an image's ending."""
    return posixpath.basename(stem(path))


LADDER = (("Unicode form", composed), ("upper and lower case", folded), ("file ending", stem))


def find_base(
    listing: Listing, texts: Sequence[str], folders: Sequence[str] = (), prefer: str = ""
) -> tuple[str, float]:
    """The folder, relative to the root, that a table's paths start from, and the share of them found there.

    The root is tried first, then `folders`; of several that fit equally well the one whose name contains `prefer` is
    taken. Raises ValueError where two folders hold files of these names.
    """
    texts, scores = sample(texts), {}
    for base in dict.fromkeys(["", *folders, *_prefixes(listing, texts)]):
        found = list(map(Resolver(listing, base).find, texts))
        scores[base] = sum(0.9 + 0.1 * (f.rule == "as written") for f in found if f.file) / max(1, len(texts))
    best = max(scores.values())
    winners = [base for base, score in scores.items() if score == best]
    stated = [base for base in winners if base in ("", *folders)] or [b for b in winners if prefer and prefer in b]
    if best and len(winners) > 1 and not stated:
        text = f"images of these names lie in {winners[0]} and in {winners[1]}"
        raise ValueError(f"{text}; give the folder that is meant as the path, and the table with {option('table')}")
    return (stated or winners)[0], best


def _prefixes(listing: Listing, texts: Sequence[str]) -> list[str]:
    """Folders in which files of these names lie, most files first."""
    counts = Counter()
    for text in texts:
        key = stem(text.strip().replace("\\", "/")).removeprefix("./")
        for file in listing.find(name_alone, posixpath.basename(key)):
            if key and stem(file).endswith("/" + key):
                counts[file.rsplit("/", key.count("/") + 1)[0]] += 1
    return [prefix for prefix, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:8]]


def sample(texts: Sequence[str], size: int = SAMPLE) -> list[str]:
    """Some of many, evenly spread, without the empty ones."""
    step = max(1, len(texts) // size)
    return [text for text in texts[::step] if text.strip()]
