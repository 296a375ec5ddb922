"""Label codes: attributes as the numbers that a decoder takes, and the losses of heads that read them.

A binary attribute is one number from 0 to 1, a categorical one a number for each of its values, a continuous one a
number with -1 and 1 at the ends of its range. Heads give the logits of all attributes side by side, `[batch, label
units]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recombine.data.batch import Batch
from recombine.data.schema import Attribute, Schema
from recombine.losses import binary_cross_entropy, cross_entropy, squared_error
from recombine.methods.shared.schemas import attribute_of


def units(attribute: Attribute) -> int:
    """How many numbers an attribute takes in the code."""
    return attribute.num_values if attribute.kind == "categorical" else 1


def hard(attribute: Attribute, labels: Tensor) -> Tensor:
    """Labels `[batch]` as the decoder takes them: `[batch, 1]`, 0 and 1 or -1 to 1, or one-hot `[batch, values]`."""
    if attribute.kind == "continuous":
        low, high = attribute.low or 0.0, attribute.high if attribute.high is not None else 1.0
        return ((labels - low) / max(high - low, 1e-12) * 2 - 1)[:, None].float()
    if attribute.kind == "binary":
        return labels.clamp(min=0)[:, None].float()
    return (labels[:, None] == torch.arange(attribute.num_values, device=labels.device)).float()


@dataclass(frozen=True)
class LabelCodes:
    """Label codes of all attributes of a schema."""

    schema: Schema

    @property
    def num_units(self) -> int:
        """How many numbers all attributes take."""
        return sum(map(units, self.schema.attributes))

    def columns(self, logits: Tensor) -> Iterator[tuple[Attribute, Tensor]]:
        """Every attribute with its logits `[batch, units]`."""
        yield from zip(self.schema.attributes, logits.split([units(a) for a in self.schema.attributes], 1), strict=True)

    def soft(self, logits: Tensor) -> dict[str, Tensor]:
        """What a head guesses, attribute -> `[batch, units]`: probabilities, or the number of a continuous one."""
        forms = {"binary": torch.sigmoid, "categorical": lambda part: part.softmax(1), "continuous": lambda part: part}
        return {a.name: forms[a.kind](part) for a, part in self.columns(logits)}

    def given(self, batch: Batch, guesses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The batch's labels as the decoder takes them, attribute -> `[batch, units]`; else its detached guess."""
        known = {name: batch.known[name][:, None] for name in self.schema.names}
        truth = {a.name: hard(a, batch.labels[a.name]).to(guesses[a.name]) for a in self.schema.attributes}
        return {name: torch.where(known[name], truth[name], guesses[name].detach()) for name in truth}

    def joined(self, parts: Mapping[str, Tensor]) -> Tensor:
        """All attributes' parts side by side, in the schema's order: `[batch, label units]`."""
        return torch.cat([parts[name] for name in self.schema.names], 1)

    def loss(
        self, logits: Tensor, labels: Mapping[str, Tensor], known: Mapping[str, Tensor], number_weight: float = 1.0
    ) -> Tensor:
        """Cross-entropy (continuous: squared error), batch mean, added up over attributes; missing labels add 0.

        `logits` are a head's, `[batch, label units]`; `labels` and `known` are attribute -> `[batch]`, as of a batch.
        """
        total = logits.new_zeros(())
        for attribute, part in self.columns(logits):
            target = labels[attribute.name]
            if attribute.kind == "categorical":
                loss = cross_entropy(part, target.clamp(min=0))
            else:
                binary, target = attribute.kind == "binary", hard(attribute, target).to(part)
                loss = binary_cross_entropy(part, target) if binary else squared_error(part, target) * number_weight
            total = total + torch.where(known[attribute.name], loss, 0).mean()
        return total

    def wrong(self, batch: Batch) -> dict[str, Tensor]:
        """For every image and attribute one of the values that it does not show, uniformly: name -> `[batch]`."""
        wrong = {}
        for attribute in self.schema.attributes:
            others = max(1, attribute.num_values - 1)
            step = 1 + (batch.uniform(f"wrong {attribute.name}") * others).long().clamp(max=others - 1)
            wrong[attribute.name] = (batch.labels[attribute.name] + step) % (others + 1)
        return wrong

    def code(self, name: str, value: object) -> Tensor:
        """The part for an image that shows `value`: `[1, 1]` or one-hot `[1, values]`; ValueError if there is none."""
        attribute = attribute_of(self.schema, name)
        label = attribute.number(value) if attribute.kind == "continuous" else attribute.index(value)
        return hard(attribute, torch.tensor([label]))

    def probabilities(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parts of binary and categorical attributes as probabilities `[batch, values]`."""
        found = {a: parts[a.name] for a in self.schema.attributes if a.kind != "continuous"}
        return {a.name: torch.cat([1 - p, p], 1) if a.kind == "binary" else p for a, p in found.items()}
