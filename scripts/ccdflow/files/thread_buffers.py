"""Buffers that threads use again: fresh pages of memory would cost half of the time of a frame."""

from __future__ import annotations

import mmap
import threading
from contextlib import contextmanager

# Private memory: a forked process must not write into the buffers of another.
_PRIVATE_MEMORY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


class _ThreadBuffers(threading.local):
    """The buffers of a thread: {use: memory}.

    Attributes
    ----------
    memory_by_use : dict of str to mmap.mmap
        The buffer of each use.
    """

    def __init__(self):
        self.memory_by_use = {}


# In each thread, its attribute is another dictionary.
_BUFFERS = _ThreadBuffers()


def thread_buffer(use, size):
    """Return a buffer of this thread, valid until its next call for the same use.

    Parameters
    ----------
    use : str or tuple
        Name of the use; buffers that are needed at once have different names.
    size : int
        Bytes. The memory of a use grows to the largest size, and is kept.

    Returns
    -------
    memoryview
        A buffer of ``size`` bytes, writable; it still has the content of its last use.
    """
    memory = _BUFFERS.memory_by_use.get(use)
    if memory is None or len(memory) < size:
        _BUFFERS.memory_by_use.pop(use, None)
        memory = _BUFFERS.memory_by_use[use] = mmap.mmap(-1, max(size, 1), flags=_PRIVATE_MEMORY)
    return memoryview(memory)[:size]


@contextmanager
def lend_buffers(buffers):
    """Let this thread use some buffers inside this context, and its own ones again after it.

    The buffers are a dict, empty at first, which no two threads use at the same time.
    """
    thread_memory, _BUFFERS.memory_by_use = _BUFFERS.memory_by_use, buffers
    try:
        yield
    finally:
        _BUFFERS.memory_by_use = thread_memory
