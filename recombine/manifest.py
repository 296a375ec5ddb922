"""Manifests: size and SHA-256 of every file in a folder, written last: a folder without one was never finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

NAME = "manifest.json"
Error = Callable[[Path, str, str, str], Exception]  # folder, file in it, what was expected, what was found


def entry(content: bytes | Path, size: str = "size") -> dict[str, int | str]:
    """Size and SHA-256 of a file or of its bytes; a pack calls the size `bytes`."""
    if isinstance(content, bytes):
        return {size: len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {size: content.stat().st_size, "sha256": sha256(content)}


def check(folder: Path, name: str, entry: Mapping, error: Error, *, content: bool = True) -> None:
    """Raise the error where a file is not that of its entry, in size or, unless `content` is false, in any byte."""
    path = inside(folder, name, error)
    size = path.stat().st_size if path.exists() else None
    compare(folder, name, entry, error, size, lambda: sha256(path) if content else entry["sha256"])


def read(folder: Path, name: str, entry: Mapping, error: Error) -> bytes:
    """A file's bytes, once they have been found to be those of its entry."""
    path = inside(folder, name, error)
    data = path.read_bytes() if path.exists() else None
    size, content = (None, b"") if data is None else (len(data), data)
    compare(folder, name, entry, error, size, lambda: hashlib.sha256(content).hexdigest())
    return content


def inside(folder: Path, name: str, error: Error) -> Path:
    """The path of a file; a manifest that was tampered with may not name one outside its folder."""
    if Path(name).name != name:
        raise error(folder, NAME, "plain file names", repr(name))
    return folder / name


def compare(folder: Path, name: str, entry: Mapping, error: Error, size: int | None, digest: Callable[[], str]) -> None:
    """Raise the error where size or SHA-256 of a file are not those of its entry."""
    expected = entry["size"] if "size" in entry else entry["bytes"]
    if size != expected:
        raise error(folder, name, f"{expected} bytes", "no file" if size is None else f"{size} bytes")
    if (found := digest()) != entry["sha256"]:
        raise error(folder, name, f"SHA-256 {entry['sha256']}", found)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal; the file need not fit into memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(body: dict) -> bytes:
    """A manifest as JSON with a digest of itself."""
    return to_json({**body, "digest": hashlib.sha256(to_json(body)).hexdigest()})


def unsealed(folder: Path, error: Error) -> dict:
    """The manifest in a folder, without its digest; raises the error where it is missing or was changed."""
    try:
        body = json.loads((folder / NAME).read_bytes())
        digest = body.pop("digest")
    except FileNotFoundError:
        raise error(folder, NAME, "a manifest", "none: it was never finished") from None
    except (ValueError, KeyError, AttributeError, TypeError):
        raise error(folder, NAME, "JSON with a digest", "something else") from None
    if (actual := hashlib.sha256(to_json(body)).hexdigest()) != digest:
        raise error(folder, NAME, f"SHA-256 {digest}", actual)
    return body


def to_json(value: object) -> bytes:
    """JSON, readable and always the same for the same value; floats keep every bit."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()
