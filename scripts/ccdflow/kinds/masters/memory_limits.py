"""The memory that combining may take, so that the process stays below its limit."""

from __future__ import annotations

import math
import os
from pathlib import Path

MEMORY_SETTING = "limits: combine_memory"
"""The setting of the limit, as messages name it."""

# Bytes that the process may hold if the system does not say.
_ASSUMED_RESIDENT_BYTES = 350e6
# Bytes for measuring and writing beside those for combining; measured with LFC frames.
_WRITING_BYTES = 150e6
# Combining may have at least this part of the memory allowed.
_LEAST_COMBINING_SHARE = 0.3

# Bytes that the making of a master holds for a pixel of an image: its planes, the planes of a
# master that is subtracted, and the arrays of its measuring. Measured: 38, with three darks of LFC
# size.
_BYTES_OF_A_MASTER = 40
# Bytes of a pixel of a member: float32. Where the pixels of all members together would take half of
# the memory, the combining, which uses all cores, takes longer than the rest.
_BYTES_OF_A_MEMBER = 4


def megabytes_allowed(context):
    """Return the MB that a process that combines may take."""
    return context.settings["limits"]["combine_memory"]


def bytes_for_combining(limit):
    """Return the bytes that combining may take, so that the process stays below its limit.

    Parameters
    ----------
    limit : float
        Bytes.

    Returns
    -------
    int
    """
    return int(max(limit - _resident_bytes() - _WRITING_BYTES, _LEAST_COMBINING_SHARE * limit))


def has_room_for_two(size, context):
    """Return whether two masters of a size, of few members, can be made at the same time.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Size of one of them.
    context : ccdflow.run.context.JobContext

    Returns
    -------
    bool
    """
    half = megabytes_allowed(context) * 1e6 / 2
    return (
        max(_BYTES_OF_A_MASTER * size.n_pixels_of_largest, _BYTES_OF_A_MEMBER * size.n_pixels)
        <= half
    )


def least_megabytes(bytes_needed):
    """Return the MB for which `bytes_for_combining` gives some bytes, rounded up to tens.

    Parameters
    ----------
    bytes_needed : float
        Least memory for the combining, bytes.

    Returns
    -------
    int
    """
    limit = min(
        bytes_needed / _LEAST_COMBINING_SHARE, bytes_needed + _resident_bytes() + _WRITING_BYTES
    )
    # Ten MB are 1e7 bytes.
    return math.ceil(limit / 1e7) * 10


def _resident_bytes():
    """Return the bytes of memory that this process holds at the moment."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _ASSUMED_RESIDENT_BYTES
    return pages * os.sysconf("SC_PAGE_SIZE")
