"""Pages of freed arrays stay with the process, and what lives to its end is not freed at all."""

import ctypes
import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from ccdflow.run import freed_pages
from ccdflow.settings import ROOT

# Smaller than the huge pages that numpy asks for.
BYTES = 1 << 20
PAGES = BYTES // 4096
MMAP_THRESHOLD = -3


def new_pages():
    """Return how many pages are new when an array is made and freed ten times."""
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(10):
        np.ones(BYTES, np.uint8)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


def count_new_pages():
    """Count new pages where each array gets its own, and after `keep`."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, BYTES // 2)
    before = new_pages()
    freed_pages.keep_freed_pages()
    new_pages()
    return before, new_pages()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone has the parameters")
def test_an_array_as_large_as_a_freed_one_needs_no_new_pages():
    # Another process has these parameters for itself, and no freed memory of other tests.
    done = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    before, after = map(int, done.stdout.split())
    assert before >= 10 * PAGES
    assert after < PAGES / 10


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_process_frees_no_kept_object_at_its_end(is_kept):
    """Objects that say that they are freed, in cycles as contexts are: all do, or none."""
    script = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
from ccdflow.run import freed_pages

class Loud:
    def __init__(self, other):
        self.other, self.own = other, [self]
    def __del__(self, write=sys.stdout.write):
        write("freed ")

plan = Loud(Loud(None))
if {is_kept}:
    freed_pages.keep_until_exit(plan)
print("end", end=" ", flush=True)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (run.stdout.split(), run.stderr) == (["end"] + ["freed"] * (0 if is_kept else 2), "")


if __name__ == "__main__":
    print(*count_new_pages())
