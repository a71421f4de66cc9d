"""Modules that draw are loaded by one thread at a time, whatever imports what."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
CODE = """
import os, sys, threading
from concurrent.futures import ThreadPoolExecutor
sys.setswitchinterval(1e-6)
from ccdflow.kinds.drawn_pictures import drawing_module
# Modules are loaded once a process: two children load them anew.
for _ in range(2):
    child = os.fork()
    if not child:
        break
    if os.waitpid(child, 0)[1]:
        sys.exit("a child failed")
else:
    sys.exit(0)
names = ["before_after", "coverage_picture", "image_rows", "ageing_picture"] * 3
ready = threading.Barrier(len(names))
def load(name):
    ready.wait()
    return drawing_module(name).__name__
with ThreadPoolExecutor(len(names)) as pool:
    loaded = list(pool.map(load, names))
assert loaded == [f"ccdflow.pages.pictures.{name}" for name in names]
"""


def test_threads_that_draw_first_load_whole_modules():
    environment = {"PYTHONPATH": str(SCRIPTS), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_module_that_draws_is_imported_beside_it():
    paths = list((SCRIPTS / "ccdflow" / "kinds").rglob("*.py"))
    assert len(paths) > 50
    for path in paths:
        assert 'import_module("ccdflow.pages' not in path.read_text("utf-8"), path
