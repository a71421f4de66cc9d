"""Pages of memory that stay with the process when arrays are freed.

glibc gives the pages of a freed array of some hundred kB back to the system, and the next array of
that size gets new ones, which the kernel clears one by one: 2,000 of them for a frame of the LFC,
5 ms and more. A process that makes many products alike keeps them.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3): when free memory at the end of a heap goes back to the system, by how
# much more than asked for a heap grows, and from which size on a block lies outside of the heaps.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
# Bytes. A plane of a frame, from 32 MB on, is given back at once; its blocks and samples stay.
_MALLOC_OPTIONS = ((_MMAP_THRESHOLD, 1 << 25), (_TRIM_THRESHOLD, 1 << 27), (_TOP_PAD, 1 << 20))


def keep_freed_pages():
    """Let this process keep the pages of the arrays that it frees; other C libraries do nothing."""
    try:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    except (OSError, TypeError):
        return
    if mallopt is not None:
        for parameter, value in _MALLOC_OPTIONS:
            mallopt(parameter, value)
