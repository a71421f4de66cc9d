"""The heaps of the C library in a watch."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

# Twelve threads at once, each with small blocks of its own; writes the number of heaps, and
# prints whether a large block lies outside of them.
_HEAPS_PROGRAM = """
import ctypes, sys, threading
from ccdflow.run import freed_pages
if sys.argv[1] == "few":
    freed_pages.share_few_heaps()
class Figures(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]
def outside(library):
    # mallinfo2(3): its fourth figure.
    library.mallinfo2.restype = Figures
    return library.mallinfo2().d
barrier, c = threading.Barrier(12), ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
def work():
    barrier.wait()
    c.malloc(2000)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
[t.start() for t in threads]
[t.join() for t in threads]
c.fopen.restype = ctypes.c_void_p
# After a larger one that was given back.
c.free.argtypes = [ctypes.c_void_p]
c.free(c.malloc(8 << 20))
before = outside(c)
c.malloc(3 << 20)
print(outside(c) - before)
file = c.fopen(sys.argv[2].encode(), b"w")
c.malloc_info(0, ctypes.c_void_p(file))
c.fclose(ctypes.c_void_p(file))
freed_pages.give_back_pages()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="heaps of glibc")
def test_threads_of_a_watch_share_two_heaps_without_large_blocks(tmp_path):
    numbers, outside = {}, {}
    for how in ("few", "many"):
        path = tmp_path / how
        done = subprocess.run(
            [sys.executable, "-c", _HEAPS_PROGRAM, how, path],
            check=True,
            cwd=SCRIPTS,
            stdout=subprocess.PIPE,
        )
        outside[how] = int(done.stdout)
        numbers[how] = path.read_text().count("<heap nr=")
    assert numbers["few"] <= 2 < numbers["many"]
    assert outside == {"few": 1, "many": 0}
