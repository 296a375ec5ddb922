"""What an edit should have become: true images, where they can be drawn.

Of the built-in avatars every factor is known, so the true result of a label edit and of a swap can be drawn. Some
attributes stand for several factors (mouth and brows make the expression): these move together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence

import numpy as np

from recombine.data.images import to_float
from recombine.data.packed import Pack
from recombine.data.synthetic import avatars

# Row, attribute and value -> the true image [channels, height, width] in [-1, 1], or None where no truth is known.
Render = Callable[[int, str, object], np.ndarray | None]
# Row, giver's row and the factors that move -> the true image [channels, height, width] in [-1, 1], or None.
Truth = Callable[[int, int, Sequence[str]], np.ndarray | None]

DERIVED = {  # of the built-in avatars: edited factor -> what is made of it, and back
    "mouth": ("expression",), "brows": ("expression",), "expression": ("mouth", "brows"), "light": ("lighting",),
}
BEHIND = {  # of the built-in avatars: attribute -> the factors that make it
    "expression": ("mouth", "brows"), "lighting": ("light",), "identity": avatars.IDENTITY,
    "clip": avatars.IDENTITY + avatars.CLIP, "valence": tuple(avatars.FEELINGS), "arousal": tuple(avatars.FEELINGS),
}
FEW = 500  # truths of a worker that are drawn sooner than it starts


def of_avatars(pack: Pack) -> bool:
    """Whether a pack holds the built-in avatars with all their factors."""
    drawn_here = {*avatars.FACTORS, *avatars.NUMBERS} <= set(pack.schema.names)
    return drawn_here and all(pack.schema[name].values == values for name, values in avatars.FACTORS.items())


def true_edits(pack: Pack) -> Render | None:
    """Draws the true result of label edits of the built-in avatars; None for any other pack."""

    def render(row: int, attribute: str, value: object) -> np.ndarray | None:
        if attribute not in avatars.FACTORS and attribute not in avatars.NUMBERS:
            return None
        return _drawn(avatars.edit(avatars.truth(pack, row), attribute, value), pack)  # type: ignore[arg-type]

    return render if of_avatars(pack) else None


def true_swaps(pack: Pack) -> Truth | None:
    """Draws what a swap of the built-in avatars should have become; None for any other pack.

    It is the image's factors with some of the giver's.
    """

    def render(row: int, giver: int, moved: Sequence[str]) -> np.ndarray:
        given = avatars.truth(pack, giver)
        return _drawn({**avatars.truth(pack, row), **{name: given[name] for name in moved}}, pack)

    return render if of_avatars(pack) else None


def factors_behind(names: Collection[str]) -> tuple[str, ...]:
    """The factors of the built-in avatars that make some attributes, each once.

    Example:
        >>> factors_behind(["expression", "brows", "glasses"])
        ('mouth', 'brows', 'glasses')
    """
    return tuple(dict.fromkeys(factor for name in names for factor in BEHIND.get(name, (name,))))


def drawn(draw: Callable[..., np.ndarray | None], jobs: Sequence[tuple], workers: int | None = None) -> list[np.ndarray | None]:
    """True images of many edits, drawn in several processes where that pays.

    Args:
        draw: A `Render` or a `Truth`.
        jobs: Its arguments, one tuple an image.
        workers: Processes at most; one per core when None, 1 = none but this one.
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs) // FEW)
    if workers < 2:
        return [draw(*job) for job in jobs]
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, idle_worker_timeout=20):
        return list(Parallel(batch_size=16)(delayed(draw)(*job) for job in jobs))  # type: ignore[arg-type]


def _drawn(factors: avatars.Factors, pack: Pack) -> np.ndarray:
    return to_float(avatars.render(factors, pack.schema.height)).numpy()
