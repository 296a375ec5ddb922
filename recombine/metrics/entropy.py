"""Posterior entropy of a head on a code, as a share of its upper bound ln K (Oldfield et al., Fig. 5).

1 = the head reads nothing of its attribute from that code, 0 = it is sure. A head that was never trained on such codes
may be unsure, or sure of nonsense, whatever they hold: see the fresh probes of `recombine.metrics.leakage`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recombine.codes import Codes
from recombine.metrics.intervals import Estimate, mean
from recombine.metrics.leakage import Matrix

# A part [batch, ...] and an attribute -> logits [batch, values], or None where no head reads such a part.
Heads = Callable[[Tensor, str], Tensor | None]


def posterior_entropy(logits: Float[Tensor, "batch values"]) -> Estimate:
    """Mean entropy over ln K, from 0 to 1, with the interval over images; log-probabilities serve as logits.

    Raises:
        ValueError: There are fewer than two values, so that nothing could be unsure.

    Example:
        >>> posterior_entropy(torch.zeros(3, 4)).value
        1.0
    """
    return mean(entropies(logits).numpy())


def entropies(logits: Float[Tensor, "batch values"]) -> Float[Tensor, " batch"]:
    """The entropy over ln K of every image, `[batch]`; arguments and errors as for `posterior_entropy`.

    Example:
        >>> entropies(torch.tensor([[0.0, 0.0], [2.0, 0.0]])).round(decimals=4).tolist()
        [1.0, 0.5271]
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape)
        raise ValueError(f"the entropy of a head needs logits [batch, values] of two values or more, not {shape}")
    log_probabilities = logits.detach().double().log_softmax(1)
    entropy = -torch.where(log_probabilities.isinf(), 0.0, log_probabilities.exp() * log_probabilities).sum(1)
    return (entropy / torch.tensor(logits.shape[1], dtype=torch.float64).log()).clamp(0, 1).cpu()


def entropy_matrix(heads: Heads, codes: Codes, attributes: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """The entropy of every attribute's head on every part: part -> attribute -> share of ln K.

    Example:
        >>> found = entropy_matrix(lambda part, name: part, Codes(rest=torch.zeros(3, 2)), ["lamp"])
        >>> found["rest"]["lamp"].value
        1.0
    """
    with torch.no_grad():
        read = {part: {name: heads(codes[part], name) for name in attributes} for part in codes}
    return {
        part: {name: posterior_entropy(logits) for name, logits in row.items() if logits is not None}
        for part, row in read.items()
    }


def off_part_entropy(matrix: Matrix, own: Mapping[str, Collection[str]]) -> dict:
    """How unsure fresh linear probes are of attributes on the parts that should not carry them.

    Unlike a method's own heads, these were trained on exactly such codes, so they are unsure only where nothing can be
    read. `matrix` is that of linear probes, `own` part -> attributes that it should carry, none where it is not named.

    Returns:
        `off_part`, the mean over images and all such parts and attributes; `matrix`, part -> attribute -> the same for
        one of them, with `prior`, the entropy of the training images' labels: that of a probe that reads nothing.

    Raises:
        ValueError: There is no such part and attribute of two values or more.

    Example:
        >>> from recombine.data.schema import Attribute
        >>> from recombine.metrics.leakage import Reading
        >>> lamp, labels, half = Attribute("lamp", "binary", ("0", "1")), np.array([0, 1]), np.full((2, 2), 0.5)
        >>> reading = Reading(lamp, "linear", 0.5, labels, labels, 0.0, probabilities=half, prior=half[0])
        >>> off_part_entropy({"rest": {"lamp": reading}}, {})["off_part"]["value"]
        1.0
    """
    cells = {
        (part, name): reading for part, row in matrix.items() for name, reading in row.items()
        if name not in own.get(part, ()) and reading.probabilities is not None and reading.probabilities.shape[1] > 1
    }
    if not cells:
        raise ValueError(
            "no part was probed by a linear probe for an attribute of several values that it should not carry"
        )
    unsure = {cell: entropies(torch.from_numpy(reading.probabilities).log()).numpy() for cell, reading in cells.items()}
    report: dict = {"off_part": mean(np.mean(list(unsure.values()), 0)).to_json(), "matrix": {}}
    for (part, name), reading in cells.items():
        prior = float(entropies(torch.from_numpy(reading.prior)[None].log()))
        report["matrix"].setdefault(part, {})[name] = {**mean(unsure[part, name]).to_json(), "prior": prior}
    return report
