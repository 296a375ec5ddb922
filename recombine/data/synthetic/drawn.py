"""What drawn data sets share: their factors are checked, edited, drawn into a pack, and read back from it."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recombine.data.packed import Pack, is_pack, write_pack
from recombine.data.schema import Attribute, Schema
from recombine.files import digest, write_bytes
from recombine.messages import nearest, shown

Factors = dict[str, Any]
Render = Callable[[Mapping[str, Any], int], np.ndarray]  # factors and pixels -> an image [3, size, size], uint8

CHUNK = 256                                 # images drawn and kept at a time


@dataclass(frozen=True)
class Drawn:
    """A data set of which every image is drawn from factors, so that the true image of every edit can be drawn."""

    name: str                               # of the data set: a plural
    one: str                                # of its images, with an article
    factors: Mapping[str, tuple[str, ...]]  # name -> values
    numbers: Mapping[str, tuple[float, float]]  # name of a continuous factor -> smallest and largest value
    render: Render
    sample: Callable[[int, int], list[Factors]]  # factors of so many images, by a seed
    labels: Callable[[Mapping[str, Any]], dict[str, Any]]  # every column of an image, from its factors
    attributes: Callable[[Sequence[Mapping[str, Any]]], list[Attribute]]  # that explain the columns of these images
    splits: Callable[[Sequence[Mapping[str, Any]]], list[str]]  # train, val or test for each of these images
    pair_by: str = ""                       # group from which methods that learn from pairs draw them
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # attribute that is no factor -> its factors
    goes_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # attribute -> others that change with it
    handed: bool = False                    # a mirrored image is none of this data set

    def check(self, factors: Mapping[str, Any]) -> None:
        """Refuse factors that cannot be drawn, naming those that can."""
        check_names(self.one, factors, [*self.factors, *self.numbers])
        for name, value in factors.items():
            if name in self.factors and value not in self.factors[name]:
                close = nearest(str(value), self.factors[name])
                raise ValueError(f"{name} has no value {value!r}; it has {shown(self.factors[name])}{close}")
            if name in self.numbers and not self.numbers[name][0] <= float(value) <= self.numbers[name][1]:
                low, high = self.numbers[name]
                raise ValueError(f"{name} lies between {low:g} and {high:g}, not at {value}")

    def edit(self, factors: Mapping[str, Any], name: str, value: str | float) -> Factors:
        """The same factors with one changed."""
        changed = {**factors, name: value}
        self.check(changed)
        return changed

    def fills(self, pack: Pack) -> bool:
        """Whether a pack holds this data set with all its factors."""
        complete = {*self.factors, *self.numbers} <= set(pack.schema.names)
        return complete and all(pack.schema[name].values == values for name, values in self.factors.items())

    def truth(self, pack: Pack, row: int) -> Factors:
        """The exact factors of a packed image."""
        names = {name: pack.schema[name].values[int(pack.labels[name][row])] for name in self.factors}
        return {**names, **{name: float(pack.labels[name][row]) for name in self.numbers}}

    def factors_behind(self, names: Collection[str]) -> tuple[str, ...]:
        """The factors that make some attributes, each once."""
        return tuple(dict.fromkeys(factor for name in names for factor in self.behind.get(name, (name,))))

    def build(
        self, folder: str | Path, count: int = 6_000, size: int = 64, seed: int = 0,
        workers: int | None = None, progress: bool = True,
    ) -> Pack:  # fmt: skip
        """Draw images of `size` x `size` pixels into a pack; what an interrupted call has drawn is used by the next.

        About 80 % train, 10 % are val, 10 % test. Images that are in the folder are opened if they are these, and drawn
        anew if not. Without `workers` all cores draw.

        Raises:
            ValueError: The folder holds a pack of other images, or count is not positive.
        """
        if count < 1:
            raise ValueError(f"count is the number of {self.name} to draw, 1 or more, not {count}")
        folder, planned = Path(folder), self.sample(count, seed)
        if is_pack(folder):
            pack = Pack(folder)
            if not set(self.factors) <= set(pack.schema.names):
                cure = "choose another folder, or remove that one"
                raise ValueError(f"{folder} holds a pack that is not of {self.name}; {cure}")
            if self.is_in(pack, planned, size):
                return pack
        rows = [self.labels(factors) for factors in planned]
        schema = Schema(tuple(self.attributes(rows)), size, size)
        files = [f"{place:06d}.png" for place in range(count)]
        images = self._chunks((folder / "drawn").absolute(), planned, size, seed, workers, progress)
        pack = write_pack(folder, images, schema, files, columns(schema, rows), self.splits(rows))
        shutil.rmtree(folder / "drawn")
        return pack

    def is_in(self, pack: Pack, planned: Sequence[Factors], size: int) -> bool:
        """Whether a pack has these images, drawn as they are drawn today (the first and the last image tell)."""
        if (len(pack), *pack.schema.image_size) != (len(planned), size, size):
            return False
        if set(self.labels(planned[0])) != set(pack.schema.names) or not self.fills(pack):
            return False
        alike = all(np.array_equal(pack.images[row], self.render(planned[row], size)) for row in (0, -1))
        return alike and all(self.truth(pack, row) == factors for row, factors in enumerate(planned))

    def _chunks(
        self, folder: Path, planned: list[Factors], size: int, seed: int, workers: int | None, progress: bool
    ) -> Iterator[np.ndarray]:
        """Images `[n, 3, size, size]` in order, each chunk kept in a file as soon as it is drawn."""
        from joblib import Parallel, delayed
        from rich.progress import track

        folder.mkdir(parents=True, exist_ok=True)
        parts = {start: planned[start : start + CHUNK] for start in range(0, len(planned), CHUNK)}
        first = digest(self.render(planned[0], size))  # chunks that an older drawing left are not used
        paths = [folder / f"{seed}-{size}-{start}-{len(part)}-{first}.npy" for start, part in parts.items()]
        undone = [(part, path) for part, path in zip(parts.values(), paths, strict=True) if not path.exists()]
        jobs = [delayed(draw_chunk)(self.render, part, size, path) for part, path in undone]
        workers = min(workers or os.cpu_count() or 1, max(1, len(jobs)))
        finished = Parallel(workers, return_as="generator_unordered")(jobs)
        for _ in track(finished, f"drawing {self.name}", total=len(jobs), disable=not progress, transient=True):
            pass
        for path in paths:
            yield np.load(path, allow_pickle=False)


def check_names(what: str, factors: Mapping[str, Any], names: list[str]) -> None:
    """Refuse factors that lack one of these names or have another."""
    for name in names:
        if name not in factors:
            raise ValueError(f"{what} needs {name!r}; these factors have {shown(list(factors), 20)}")
    for name in factors:
        if name not in names:
            raise ValueError(f"{what} has no factor {name!r}; it has {shown(names, 20)}{nearest(name, names)}")


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A value of a continuous factor, exact in 32 bits."""
    return float(np.float32(round(rng.uniform(low, high), 3)))


def draw_chunk(render: Render, factors: Sequence[Factors], size: int, path: Path) -> None:
    """Draw some images into a file that appears only when it is whole."""
    content = io.BytesIO()
    np.save(content, np.stack([render(each, size) for each in factors]), allow_pickle=False)
    write_bytes(path, content.getvalue())


def columns(schema: Schema, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The labels of some images as a pack stores them."""
    found = {}
    for attribute in schema.attributes:
        place = {value: index for index, value in enumerate(attribute.values)}
        values = [row[attribute.name] for row in rows]
        found[attribute.name] = np.array([place[v] for v in values]) if place else np.array(values, np.float32)
    return found
