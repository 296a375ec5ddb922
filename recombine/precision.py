"""Where networks may run in bfloat16, and where they must not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_FULL: ContextVar[bool] = ContextVar("full precision", default=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """Networks called inside run in float32 and uncompiled, whatever the training's precision is.

    For what is differentiated twice, such as gradient penalties, and for what is judged.
    """
    token = _FULL.set(True)
    try:
        with ExitStack() as stack:
            if "torch._dynamo" in sys.modules:  # something may be compiled; importing it would take seconds
                from torch.compiler import set_stance

                stack.enter_context(set_stance("force_eager"))
            yield
    finally:
        _FULL.reset(token)


def is_full() -> bool:
    """Whether this is inside `full_precision`."""
    return _FULL.get()
