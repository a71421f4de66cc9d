"""The memory for combining, so that the process stays below its limit."""

from __future__ import annotations

import math
import os
from pathlib import Path

MEMORY_SETTING = "limits: combine_memory"
"""The setting of the limit, as messages name it."""

# Bytes that the process is assumed to hold if the system does not report them. With more, combining
# has less memory, and narrower tiles; with fewer, the process may exceed the memory allowed.
# Chosen, not measured.
_ASSUMED_RESIDENT_BYTES = 350e6
# Bytes for measuring and writing beside those for combining; measured with LFC frames.
_WRITING_BYTES = 150e6
# Combining may take at least this fraction of the memory allowed, whatever the process holds.
# Chosen: a process that holds much still combines, in narrower tiles.
_LEAST_COMBINING_FRACTION = 0.3

# Bytes for each pixel of an image while a master is made: its planes, the planes of a subtracted
# master, and the arrays of the measurement. Measured: 38, with three darks of LFC size.
_BYTES_A_PIXEL_OF_MASTER = 40
# Bytes for each pixel of a member: float32. Members that together take more than half of the memory
# count as many: combining them uses all cores, and takes longer than measuring.
_BYTES_A_PIXEL_OF_MEMBER = 4


def megabytes_allowed(context):
    """Return the megabytes that a process may take while it combines frames."""
    return context.settings["limits"]["combine_memory"]


def bytes_for_combining(limit):
    """Return the bytes for combining, so that the process stays below its limit.

    Parameters
    ----------
    limit : float
        Bytes.

    Returns
    -------
    int
    """
    return int(max(limit - _resident_bytes() - _WRITING_BYTES, _LEAST_COMBINING_FRACTION * limit))


def has_room_for_two(size, context):
    """Return whether the memory suffices for two masters of a size that are made at the same time.

    False for masters of many members.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Size of one of them.
    context : ccdflow.run.context.JobContext

    Returns
    -------
    bool
    """
    half_of_memory = megabytes_allowed(context) * 1e6 / 2
    bytes_of_master = _BYTES_A_PIXEL_OF_MASTER * size.n_pixels_of_largest
    bytes_of_members = _BYTES_A_PIXEL_OF_MEMBER * size.n_pixels
    return max(bytes_of_master, bytes_of_members) <= half_of_memory


def least_megabytes(bytes_needed):
    """Return the least limit, in MB, at which combining may take some bytes, rounded up to tens.

    Parameters
    ----------
    bytes_needed : float
        Least memory for the combining, bytes.

    Returns
    -------
    int
    """
    limit = min(
        bytes_needed / _LEAST_COMBINING_FRACTION, bytes_needed + _resident_bytes() + _WRITING_BYTES
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
