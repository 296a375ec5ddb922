"""True results of label edits and swaps, where they can be drawn.

Every factor of the built-in avatars is known, so the image that an edit should give can be drawn. Some attributes stand
for several factors (mouth and brows make the expression): these move together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from recombine.data.images import to_float
from recombine.data.packed import Pack
from recombine.data.synthetic import avatars
from recombine.processes import spread

# Row, attribute and value -> the true image [channels, height, width] in [-1, 1], or None where no truth is known.
Render = Callable[[int, str, object], np.ndarray | None]
# Row of the target, row of the source and the factors that move -> the same, of the swap.
Truth = Callable[[int, int, Sequence[str]], np.ndarray | None]

DERIVED = {  # of the built-in avatars: edited factor -> what is made of it, and back
    "mouth": ("expression",), "brows": ("expression",), "expression": ("mouth", "brows"), "light": ("lighting",),
}
BEHIND = {  # of the built-in avatars: attribute -> the factors that make it
    "expression": ("mouth", "brows"), "lighting": ("light",), "identity": avatars.IDENTITY,
    "clip": avatars.IDENTITY + avatars.CLIP, "valence": tuple(avatars.FEELINGS), "arousal": tuple(avatars.FEELINGS),
}
FEW = 500  # images that are drawn sooner than a process starts


def of_avatars(pack: Pack) -> bool:
    """Whether a pack holds the built-in avatars with all their factors."""
    complete = {*avatars.FACTORS, *avatars.NUMBERS} <= set(pack.schema.names)
    return complete and all(pack.schema[name].values == values for name, values in avatars.FACTORS.items())


def true_edits(pack: Pack) -> Render | None:
    """Draws the true result of label edits of the built-in avatars; None for any other pack."""

    def render(row: int, attribute: str, value: object) -> np.ndarray | None:
        if attribute not in avatars.FACTORS and attribute not in avatars.NUMBERS:
            return None
        return _render(avatars.edit(avatars.truth(pack, row), attribute, value), pack)  # type: ignore[arg-type]

    return render if of_avatars(pack) else None


def true_swaps(pack: Pack) -> Truth | None:
    """Draws the true result of swaps of the built-in avatars, the target's factors with some of the source's.

    None for any other pack.
    """

    def render(row: int, source: int, moved: Sequence[str]) -> np.ndarray:
        lent = avatars.truth(pack, source)
        return _render({**avatars.truth(pack, row), **{name: lent[name] for name in moved}}, pack)

    return render if of_avatars(pack) else None


def factors_behind(names: Collection[str]) -> tuple[str, ...]:
    """The factors of the built-in avatars that make some attributes, each once.

    Example:
        >>> factors_behind(["expression", "brows", "glasses"])
        ('mouth', 'brows', 'glasses')
    """
    return tuple(dict.fromkeys(factor for name in names for factor in BEHIND.get(name, (name,))))


def render_all(render: Render | Truth, jobs: Sequence[tuple], workers: int | None = None) -> list[np.ndarray | None]:
    """True images of many edits, drawn in several processes where that pays.

    `render` is that of `true_edits` or `true_swaps`, `jobs` are its arguments for each image; 1 worker is this process.
    """
    return spread(render, jobs, workers, FEW, batch=16)


def _render(factors: avatars.Factors, pack: Pack) -> np.ndarray:
    return to_float(avatars.render(factors, pack.schema.height)).numpy()
