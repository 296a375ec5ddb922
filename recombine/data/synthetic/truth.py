"""True results of label edits and swaps, where they can be drawn.

Every factor of the drawn data sets is known, so the image that an edit should give can be drawn. Some attributes stand
for several factors (mouth and brows of an avatar make its expression): these move together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from recombine.data.images import to_float
from recombine.data.packed import Pack
from recombine.data.synthetic import DRAWN
from recombine.data.synthetic.drawn import Drawn, Factors
from recombine.processes import spread

# Row, attribute and value -> the true image [channels, height, width] in [-1, 1], or None where no truth is known.
Render = Callable[[int, str, object], np.ndarray | None]
# Row of the target, row of the source and the factors that move -> the same, of the swap.
Truth = Callable[[int, int, Sequence[str]], np.ndarray | None]

FEW = 500  # images that are drawn sooner than a process starts


def drawn_in(pack: Pack) -> Drawn | None:
    """The drawn data set that a pack holds with all its factors; None for any other pack."""
    return next((drawn for drawn in DRAWN.values() if drawn.fills(pack)), None)


def true_edits(pack: Pack) -> Render | None:
    """Draws the true result of label edits of a drawn data set; None for any other pack."""
    drawn = drawn_in(pack)
    if drawn is None:
        return None

    def render(row: int, attribute: str, value: object) -> np.ndarray | None:
        if attribute not in drawn.factors and attribute not in drawn.numbers:
            return None
        return _render(drawn, drawn.edit(drawn.truth(pack, row), attribute, value), pack)  # type: ignore[arg-type]

    return render


def true_swaps(pack: Pack) -> Truth | None:
    """Draws the true result of swaps of a drawn data set, the target's factors with some of the source's.

    None for any other pack.
    """
    drawn = drawn_in(pack)
    if drawn is None:
        return None

    def render(row: int, source: int, moved: Sequence[str]) -> np.ndarray:
        lent = drawn.truth(pack, source)
        return _render(drawn, {**drawn.truth(pack, row), **{name: lent[name] for name in moved}}, pack)

    return render


def factors_behind(pack: Pack, names: Collection[str]) -> tuple[str, ...]:
    """The factors of a drawn data set that make some attributes, each once; the attributes, for any other pack."""
    drawn = drawn_in(pack)
    return tuple(names) if drawn is None else drawn.factors_behind(names)


def render_all(render: Render | Truth, jobs: Sequence[tuple], workers: int | None = None) -> list[np.ndarray | None]:
    """True images of many edits, drawn in several processes where that pays.

    `render` is that of `true_edits` or `true_swaps`, `jobs` are its arguments for each image; 1 worker is this process.
    """
    return spread(render, jobs, workers, FEW, batch=16)


def _render(drawn: Drawn, factors: Factors, pack: Pack) -> np.ndarray:
    return to_float(drawn.render(factors, pack.schema.height)).numpy()
