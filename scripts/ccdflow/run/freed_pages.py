"""Freed memory: how much the C library keeps for the process, and when it goes back to the system.

glibc gives the pages of a freed array of some hundred kB back to the system, and the next array of
that size gets new ones, which the kernel clears one by one: 2,000 of them for a frame of the LFC,
5 ms and more. A process that makes many similar products keeps its pages.

glibc also gives each thread a heap of its own, up to eight a core, and each grows to the most that
its thread ever asked for. A watch lasts for nights and has new threads in each round: a few
heaps, which are emptied after each whole round, stay as small as one round needs. Large blocks lie
outside of them, because a small block after a freed large one would keep its memory from the
system.
"""

from __future__ import annotations

import ctypes
import gc
from functools import cache

# Parameters of mallopt(3): when free memory at the end of a heap goes back to the system, by how
# much more than asked for a heap grows, and the size of the smallest block outside of the heaps.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
# Bytes. A block of at least 32 MiB, as the plane of a large frame is, goes back at once; smaller
# blocks stay until 128 MiB of a heap are free. A heap grows by 1 MiB more than was asked for.
_KEEPING_OPTIONS = ((_MMAP_THRESHOLD, 1 << 25), (_TRIM_THRESHOLD, 1 << 27), (_TOP_PAD, 1 << 20))

# Parameter of mallopt(3): the number of heaps. With the options of a watch a block of at least a
# megabyte lies outside of the heaps.
_ARENA_MAX = -8
_WATCH_OPTIONS = ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 1 << 20))


@cache
def _c_function(name):
    """Return a function of the C library; None where it has none, as on other systems."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None


def _set_malloc_options(options):
    """Set parameters of glibc's allocation; other C libraries do nothing."""
    if (mallopt := _c_function("mallopt")) is not None:
        for parameter, value in options:
            mallopt(parameter, value)


def keep_freed_pages():
    """Let this process keep the pages of the arrays that it frees."""
    _set_malloc_options(_KEEPING_OPTIONS)


def share_few_heaps():
    """Let all threads that start later share a few heaps, which hold no large block."""
    _set_malloc_options(_WATCH_OPTIONS)


def give_back_pages():
    """Give free memory back to the system."""
    if (trim := _c_function("malloc_trim")) is not None:
        trim(0)


def keep_until_exit(value):
    """Keep a value to the end of the process, so that its objects are not freed one by one.

    To free the objects of an archive of a million frames one by one takes a second; the system
    takes all memory back at once.

    Parameters
    ----------
    value : object
    """
    cycle = [value]
    cycle.append(cycle)
    # Only a search for garbage would free a cycle, and the last search, at the exit, skips frozen
    # objects.
    gc.freeze()
