"""Many calls of one function, in several processes where that pays."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


def spread(
    function: Callable[..., Result], jobs: Sequence[tuple], workers: int | None = None, few: int = 1, batch: int = 1
) -> list[Result]:
    """What the function returns for every job, in order.

    Args:
        function: Can be sent to other processes, where every library works with one thread.
        jobs: Its arguments.
        workers: Processes; one per core when None, 1 = this one.
        few: Jobs that are done sooner than one process starts.
        batch: Jobs that a process takes at a time.

    Example:
        >>> spread(max, [(1, 2), (4, 3)], workers=1)
        [2, 4]
    """
    workers = min(workers or os.cpu_count() or 1, len(jobs) // few)
    if workers < 2:
        return [function(*job) for job in jobs]
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1, idle_worker_timeout=20):
        return list(Parallel(batch_size=batch)(delayed(function)(*job) for job in jobs))  # type: ignore[arg-type]
