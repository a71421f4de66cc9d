"""A start leaves out threads of OpenBLAS and OpenMP, and a package that astropy can do without."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

from ccdflow.settings import ROOT

LOOK = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import ccdflow.lean_imports
import astropy.io.fits
print(json.dumps([
    len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1,
    "numcodecs" in sys.modules,
    os.environ.get("OPENBLAS_NUM_THREADS"),
    os.environ.get("OMP_NUM_THREADS"),
]))
if sys.argv[2] == "True":
    import numcodecs.abc
    print(numcodecs.abc.Codec.__module__)
"""


def test_a_start_has_one_thread_and_others_still_get_what_they_import():
    has_it = find_spec("numcodecs") is not None
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    said = subprocess.run(
        [sys.executable, "-c", LOOK, str(ROOT / "scripts"), str(has_it)],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert json.loads(said[0]) == [1, False, None, "1"]
    assert said[1:] == ["numcodecs.abc"] * has_it
