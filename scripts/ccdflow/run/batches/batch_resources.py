"""The cores, memory and time that a cluster job of a batch asks for."""

import math

# Seconds measured on one core of 2.5 GHz with local disks: for a frame, with Snakemake's share,
_FRAME_SECONDS = 0.03
# for a million pixels,
_MEGAPIXEL_SECONDS = 0.03
# for a picture,
_PICTURE_SECONDS = 1.5
# and for the start of four interpreters.
_START_SECONDS = 20.0
# Times are multiplied by this, to allow for shared file systems and slower nodes.
_TIME_MARGIN = 5.0
# Threads of a job, at most.
_MOST_THREADS = 8
# Memory in MB of a job's interpreters: two of the executor, and the child with its libraries.
_PROCESS_MEMORY = 1000
# Seconds of work for which one more thread pays.
_SECONDS_PER_THREAD = 20.0


def _estimated_seconds(size):
    """Return the estimated seconds of one core for an amount of work, by rates of plain disks."""
    return (
        size.frames * _FRAME_SECONDS
        + size.pixels / 1e6 * _MEGAPIXEL_SECONDS
        + size.pictures * _PICTURE_SECONDS
    )


def threads(size):
    """Return the number of cores to ask for."""
    return max(2, min(_MOST_THREADS, math.ceil(_estimated_seconds(size) / _SECONDS_PER_THREAD)))


def memory(size, *, attempt=1, combining=1000, threads=2):
    """Return the memory to ask for, in MB.

    Parameters
    ----------
    size : Size
    attempt : int
        Each further attempt asks for the same amount again.
    combining : float
        Memory for combining, in MB; the default is that of `limits: combine_memory`.
    threads : int
        The default is the least that `threads` returns.

    Returns
    -------
    int
    """
    # Bytes for each pixel of a frame: inflated, as numbers, reduced, and a mask.
    frames = threads * size.largest * 16 / 1e6
    together = min(combining, size.combined * size.largest * 8 / 1e6)
    return attempt * math.ceil((_PROCESS_MEMORY + max(frames, together)) / 100) * 100


def runtime(size, *, attempt=1, threads=2):
    """Return the minutes to ask for; each further attempt asks for the same amount again.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Of the batch.
    attempt : int, optional
        From 1.
    threads : int, optional
        The default is the least that `threads` returns.

    Returns
    -------
    int
    """
    seconds = _START_SECONDS + _estimated_seconds(size) / threads
    return attempt * max(5, math.ceil(_TIME_MARGIN * seconds / 60))
