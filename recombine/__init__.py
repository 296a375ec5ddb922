"""Take images apart into named codes, and put them together in new ways.

Everything public is here, and each name is imported when it is first used, so that `import recombine` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recombine.codes import Codes
    from recombine.data.image_files import grid, read_images, save_images
    from recombine.edit import draw_label, interpolate, mix, set_label, swap
    from recombine.training.runs import load

__version__ = "0.1.0"

_HOMES = {
    "Codes": "recombine.codes",
    "swap": "recombine.edit",
    "interpolate": "recombine.edit",
    "mix": "recombine.edit",
    "set_label": "recombine.edit",
    "draw_label": "recombine.edit",
    "grid": "recombine.data.image_files",
    "read_images": "recombine.data.image_files",
    "save_images": "recombine.data.image_files",
    "load": "recombine.training.runs",
}

__all__ = ["Codes", "__version__", "draw_label", "grid", "interpolate", "load", "mix", "read_images", "save_images", "set_label", "swap"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"recombine has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
