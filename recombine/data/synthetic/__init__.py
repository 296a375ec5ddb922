"""Data sets drawn here, of which every factor and the true result of every edit are known."""

from recombine.data.synthetic.avatars import AVATARS
from recombine.data.synthetic.drawn import Drawn
from recombine.data.synthetic.letters import LETTERS
from recombine.messages import nearest, shown

DRAWN = {drawn.name: drawn for drawn in (AVATARS, LETTERS)}


def find_drawn(name: str) -> Drawn:
    """The data set of that name; raises ValueError, with the names that exist and the nearest, where there is none."""
    if name not in DRAWN:
        raise ValueError(f"no drawn data set {name!r}; there are {shown(list(DRAWN))}{nearest(name, list(DRAWN))}")
    return DRAWN[name]
