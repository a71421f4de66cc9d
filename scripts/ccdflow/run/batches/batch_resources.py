"""The cores, memory and time that a cluster job of a batch asks for."""

import math

# Seconds for a frame, Snakemake's share with it: measured on one core of 2.5 GHz with local disks.
_FRAME_SECONDS = 0.03
# Seconds for a million pixels: measured on one core of 2.5 GHz with local disks.
_MEGAPIXEL_SECONDS = 0.03
# Seconds for a picture: measured on one core of 2.5 GHz with local disks.
_PICTURE_SECONDS = 1.5
# Seconds for the start of four interpreters: measured on one core of 2.5 GHz with local disks.
_START_SECONDS = 20.0
# Times are multiplied by this number, to allow for shared file systems and slower nodes. Chosen: a
# job that asks for too little is killed, and one that asks for too much only queues longer.
_TIME_MARGIN = 5.0
# Threads of a job, at most. Chosen: a job for more cores waits longer for a node that has them.
_MOST_THREADS = 8
# Memory in MB of a job's interpreters: two of the executor, and the child with its libraries.
_PROCESS_MEMORY = 1000
# Seconds of work for which one more thread pays: the start of a job takes as long.
_SECONDS_PER_THREAD = 20.0


def _estimated_seconds(size):
    """Return the estimated seconds of one core for an amount of work, by rates of plain disks."""
    return (
        size.n_frames * _FRAME_SECONDS
        + size.n_pixels / 1e6 * _MEGAPIXEL_SECONDS
        + size.n_pictures * _PICTURE_SECONDS
    )


def cores(size):
    """Return the number of cores that a cluster job asks for, from 2 to `_MOST_THREADS`."""
    return max(2, min(_MOST_THREADS, math.ceil(_estimated_seconds(size) / _SECONDS_PER_THREAD)))


def memory(size, *, attempt=1, combine_memory=1000, threads=2):
    """Return the memory that a cluster job asks for, MB.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Size of the batch.
    attempt : int
        Each further attempt asks for the same amount again.
    combine_memory : float
        Memory for combining, in MB; the default is that of `limits: combine_memory`.
    threads : int
        The default is the least that `cores` returns.

    Returns
    -------
    int
    """
    # Bytes for each pixel of a frame: inflated, as numbers, reduced, and a mask.
    frame_memory = threads * size.n_pixels_of_largest * 16 / 1e6
    stack_memory = min(combine_memory, size.n_combined * size.n_pixels_of_largest * 8 / 1e6)
    return attempt * math.ceil((_PROCESS_MEMORY + max(frame_memory, stack_memory)) / 100) * 100


def runtime(size, *, attempt=1, threads=2):
    """Return the minutes that a cluster job asks for.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Size of the batch.
    attempt : int, optional
        From 1; each further attempt asks for the same amount again.
    threads : int, optional
        The default is the least that `cores` returns.

    Returns
    -------
    int
    """
    seconds = _START_SECONDS + _estimated_seconds(size) / threads
    return attempt * max(5, math.ceil(_TIME_MARGIN * seconds / 60))
