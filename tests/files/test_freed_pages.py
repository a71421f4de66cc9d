"""Pages of freed arrays stay with the process."""

import ctypes
import multiprocessing
import resource
import sys

import numpy as np
import pytest

from ccdflow.files import freed_pages

# Smaller than the huge pages that numpy asks for.
BYTES = 2 << 20
PAGES = BYTES // 4096
MMAP_THRESHOLD = -3


def new_pages():
    """Return how many pages are new when an array is made and freed ten times."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(10):
        np.ones(BYTES, np.uint8)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def before_and_after(queue):
    """Count new pages where each array gets its own, and after `keep`."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, BYTES // 2)
    before = new_pages()
    freed_pages.keep()
    new_pages()
    queue.put((before, new_pages()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has the parameters")
def test_an_array_as_large_as_a_freed_one_needs_no_new_pages():
    # In another process, as the parameters are those of a whole process.
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()
    process = fork.Process(target=before_and_after, args=(queue,))
    process.start()
    before, after = queue.get()
    process.join()
    assert before >= 10 * PAGES
    assert after < PAGES / 10
