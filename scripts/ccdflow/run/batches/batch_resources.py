"""The cores, memory and time that a cluster job of a batch asks for."""

import math

# Seconds for a frame without the time for its pixels, but with Snakemake's own work: measured on
# one core of 2.5 GHz with local disks.
_FRAME_SECONDS = 0.03
# Seconds for a million pixels: measured on one core of 2.5 GHz with local disks.
_MEGAPIXEL_SECONDS = 0.03
# Seconds for a picture: measured on one core of 2.5 GHz with local disks.
_PICTURE_SECONDS = 1.5
# Seconds for the start of a job, with those of Snakemake and of the batch's Python: measured on one
# core of 2.5 GHz with local disks.
_START_SECONDS = 20.0
# Estimated times are multiplied by this number, to allow for shared file systems and slower nodes.
# Chosen: a job that asks for too little time is killed, and one that asks for too much only queues
# longer.
_TIME_MARGIN = 5.0
# A job has at most this many threads. Chosen: a job for more cores waits longer for a free node.
_MOST_THREADS = 8
# Memory of a job's Python processes with their libraries, MB: two of Snakemake, one of the batch.
_PROCESS_MEMORY = 1000
# Bytes for each pixel of a frame that is reduced as a whole into float64, measured; into float32 it
# takes 12. A frame that is reduced by blocks of rows takes 1.
_BYTES_OF_FRAME_PIXEL = 16
# A frame that is combined takes at most this many bytes for each pixel.
_BYTES_OF_STACK_PIXEL = 8
# Seconds of work for each thread. With less work the start of the job would take longer than that.
_SECONDS_PER_THREAD = 20.0
# A job asks for at least this many minutes. With fewer, a slow start of Python on a network file
# system would end the job; with more, a scheduler fits it into fewer gaps. Chosen, not measured.
_LEAST_MINUTES = 5


def _estimated_seconds(size):
    """Return the estimated seconds of one core for an amount of work, without the time margin."""
    return (
        size.n_frames * _FRAME_SECONDS
        + size.n_pixels / 1e6 * _MEGAPIXEL_SECONDS
        + size.n_pictures * _PICTURE_SECONDS
    )


def cores(size):
    """Return the number of cores that a cluster job asks for, from 2 to `_MOST_THREADS`."""
    return max(2, min(_MOST_THREADS, math.ceil(_estimated_seconds(size) / _SECONDS_PER_THREAD)))


def memory(size, *, attempt=1, combine_memory=1000, threads=2):
    """Return the memory that a cluster job asks for, in MB.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Size of the batch.
    attempt : int, optional
        From 1: the second attempt asks for twice the memory, the third for three times.
    combine_memory : float, optional
        Memory for combining, in MB; the default is that of `limits: combine_memory`.
    threads : int, optional
        The default is the least that `cores` returns.

    Returns
    -------
    int
    """
    frame_memory = threads * size.n_pixels_of_largest * _BYTES_OF_FRAME_PIXEL / 1e6
    stack_pixels = size.n_combined * size.n_pixels_of_largest
    stack_memory = min(combine_memory, stack_pixels * _BYTES_OF_STACK_PIXEL / 1e6)
    return attempt * math.ceil((_PROCESS_MEMORY + max(frame_memory, stack_memory)) / 100) * 100


def runtime(size, *, attempt=1, threads=2):
    """Return the time limit that a cluster job asks for, in minutes.

    Parameters
    ----------
    size : ccdflow.run.job.Size
        Size of the batch.
    attempt : int, optional
        From 1: the second attempt asks for twice the time, the third for three times.
    threads : int, optional
        The default is the least that `cores` returns.

    Returns
    -------
    int
    """
    seconds = _START_SECONDS + _estimated_seconds(size) / threads
    return attempt * max(_LEAST_MINUTES, math.ceil(_TIME_MARGIN * seconds / 60))
