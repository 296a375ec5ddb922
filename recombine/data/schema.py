"""What a data set promises: its attributes, how its images are prepared, and the batches it yields."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from recombine.messages import nearest, shown

Kind = Literal["binary", "categorical", "continuous", "group"]
Fit = Literal["crop", "letterbox", "stretch"]
Mirror = Literal["keep", "negate"] | tuple[tuple[str, str], ...]    # what mirroring makes of a label; pairs swap
Column = TypeVar("Column")  # labels, one an image: an array or a tensor

MISSING = -1  # stands for "not labelled" in integer columns; continuous columns use NaN
YES = ("1", "yes", "true", "on", "y", "t")
NO = ("0", "-1", "no", "false", "off", "n", "f")


@dataclass(frozen=True)
class Attribute:
    """One labelled property of an image.

    Binary values are stored as 0 and 1, categorical and group values as positions in `values`,
    continuous values as numbers in the table's own unit.
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()            # binary: ("0", "1"); categorical and group: every value; continuous: ()
    low: float | None = None                # continuous: smallest value seen in training, the table's unit
    high: float | None = None               # continuous: largest value seen in training
    mirror: Mirror = "keep"

    @property
    def num_values(self) -> int:
        return len(self.values)

    def index(self, value: object) -> int:
        """Position of a value, as stored in batches.

        Args:
            value: A value's name, or for a binary attribute anything that reads as yes or no.

        Raises:
            ValueError: The attribute has no such value; the message lists those it has.
        """
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if self.kind == "continuous":
            raise ValueError(f"{self.name} is a number from {self.low} to {self.high}; it has no list of values")
        if self.kind == "binary" and text.strip().lower() in YES + NO:
            return int(text.strip().lower() in YES)
        if text in self.values:
            return self.values.index(text)
        raise ValueError(f"{self.name} has no value {text!r}; it has {shown(self.values)}{nearest(text, self.values)}")

    def missing(self, count: int) -> np.ndarray:
        """Labels [count] that are all missing."""
        continuous = self.kind == "continuous"
        return np.full(count, np.nan if continuous else MISSING, np.float32 if continuous else np.int64)

    def known(self, column: Column) -> Column:
        """Where labels, an array or a tensor, are not missing: not NaN where continuous, else not `MISSING`."""
        return column == column if self.kind == "continuous" else column != MISSING  # type: ignore[return-value]

    def number(self, value: object) -> float:
        """A continuous attribute's value, given as a number or text; raises ValueError where it is neither."""
        try:
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found = math.nan
        if not math.isfinite(found):
            seen = f"from {self.low:g} to {self.high:g} in training"
            raise ValueError(f"{self.name} takes numbers, {seen}, not {value!r}")
        return found


@dataclass(frozen=True)
class Schema:
    """The attributes of a data set and how its images are prepared; stored with every pack, run and model."""

    attributes: tuple[Attribute, ...] = ()
    height: int = 64                        # pixels
    width: int = 64                         # pixels
    channels: int = 3                       # 1 grey, 3 colour, more for microscopy and the like
    bits: int = 8                           # per channel in the pack and, unless stated otherwise, in outputs: 8 or 16
    fit: Fit = "crop"                       # how an image of another shape becomes height x width
    background: tuple[int, int, int] = (255, 255, 255)  # what transparent pixels are laid on, 8 bits
    low: float | None = None                # the input value that becomes -1 ...
    high: float | None = None               # ... and +1: fractions of a file's full range, or a float file's own unit

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.attributes)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.channels, self.height, self.width

    @property
    def dtype(self) -> np.dtype:
        """Unsigned pixels in a pack."""
        return np.dtype(f"u{self.bits // 8}")

    def __getitem__(self, name: str) -> Attribute:
        for attribute in self.attributes:
            if attribute.name == name:
                return attribute
        raise KeyError(f"no attribute {name!r}; there are {shown(self.names)}{nearest(name, self.names)}")

    def select(self, *names: str) -> Schema:
        return replace(self, attributes=tuple(self[name] for name in names))

    def to_json(self) -> dict:
        """Plain values for `labels.json`."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping) -> Schema:
        """The schema that `to_json` wrote."""
        attributes = []
        for entry in data["attributes"]:
            entry: dict[str, Any] = {**entry, "values": tuple(entry["values"])}
            if not isinstance(entry["mirror"], str):
                entry["mirror"] = tuple((a, b) for a, b in entry["mirror"])
            attributes.append(Attribute(**entry))
        fields: dict[str, Any] = {**data, "attributes": tuple(attributes), "background": tuple(data["background"])}
        return Schema(**fields)

    def digest(self) -> str:
        """Short hash that two schemas share when they are equal."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]
