"""Memory that the C library keeps for the threads of a process that goes on for nights.

glibc gives each thread a heap of its own, up to eight a core, and each grows to the most that any
round asked of it. A watch has new threads in each round: few heaps, emptied after a whole round,
stay as small as one round needs. glibc also returns freed large blocks to these heaps, where a
small block behind them pins their memory: large blocks stay outside.
"""

from __future__ import annotations

import ctypes
from functools import cache

# mallopt(3): M_ARENA_MAX, the number of heaps.
_ARENA_MAX, _HEAPS = -8, 2
# mallopt(3): M_MMAP_THRESHOLD. A block of this many bytes or more has a mapping of its own.
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 1 << 20


@cache
def _c_function(name):
    """Return a function of the C library; None where it has none, as on other systems."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None


def keep_few():
    """Let all threads that start from now on share a few heaps, which hold no large block."""
    if (mallopt := _c_function("mallopt")) is not None:
        mallopt(_ARENA_MAX, _HEAPS)
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back():
    """Give free memory back to the system."""
    if (trim := _c_function("malloc_trim")) is not None:
        trim(0)
