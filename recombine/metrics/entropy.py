"""Posterior entropy of a head on a code, as a share of its upper bound ln K (Oldfield et al., Fig. 5).

1 = the head sees nothing of its attribute in that code, 0 = it is sure. A head that was never shown such codes may be
unsure, or sure of nonsense, whatever they hold: entropies go beside the fresh probes of `recombine.metrics.leakage`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recombine.codes import Codes
from recombine.metrics.intervals import Mean, mean

# A part [batch, ...] and an attribute -> logits [batch, values], or None where no head reads such a part.
Heads = Callable[[Tensor, str], Tensor | None]


def posterior_entropy(logits: Tensor) -> Mean:
    """Mean entropy over ln K, from 0 to 1, with the interval over pictures.

    Args:
        logits: `[batch, values]`; logarithms of probabilities serve as well.

    Raises:
        ValueError: There are fewer than two values, so that nothing could be unsure.

    Example:
        >>> posterior_entropy(torch.zeros(3, 4)).value
        1.0
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"the entropy of a head needs logits [batch, values] of two values or more, not {tuple(logits.shape)}")
    log_likely = logits.detach().double().log_softmax(1)
    entropy = -torch.where(log_likely.isinf(), 0.0, log_likely.exp() * log_likely).sum(1)
    return mean((entropy / torch.tensor(logits.shape[1], dtype=torch.float64).log()).clamp(0, 1).cpu().numpy())


def entropy_matrix(heads: Heads, codes: Codes, attributes: Sequence[str]) -> dict[str, dict[str, Mean]]:
    """The entropy of every attribute's head on every part: part -> attribute -> share of ln K.

    Args:
        heads: Reads an attribute from a part.
        codes: Codes of any number of pictures.
        attributes: Whose heads.
    """
    with torch.no_grad():
        read = {part: {name: heads(codes[part], name) for name in attributes} for part in codes}
    return {
        part: {name: posterior_entropy(logits) for name, logits in row.items() if logits is not None} for part, row in read.items()
    }
