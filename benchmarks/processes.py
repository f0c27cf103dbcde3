"""Where benchmarks measure: in processes of their own.

bytes_ = alone(measure, "fcnn", 1024)
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """What a function returns in a process that holds nothing but what it loads.

    It starts afresh, or from a fork server if that was chosen; never as a fork, which would hold
    what this process does, and hang where that has threads.
    """
    chosen = multiprocessing.get_start_method(allow_none=True)
    method = "forkserver" if chosen == "forkserver" else "spawn"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return pool.submit(function, *arguments).result()
