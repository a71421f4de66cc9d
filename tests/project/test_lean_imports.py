"""A start leaves out threads of OpenBLAS and OpenMP, and packages that it can do without."""

import ast
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ccdflow.settings import ROOT

LOOK = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import ccdflow.lean_imports
import astropy.io.fits
from pathlib import Path
from ccdflow import settings
from ccdflow.camera import profiles
settings.load_settings({"strict": True})
profiles.load_cameras(Path(sys.argv[1]).parent / "config" / "cameras")
print(json.dumps([
    len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1,
    "numcodecs" in sys.modules,
    "astropy.units" in sys.modules,
    "jsonschema" in sys.modules,
    os.environ.get("OPENBLAS_NUM_THREADS"),
    os.environ.get("OMP_NUM_THREADS"),
]))
if sys.argv[2] == "True":
    import numcodecs.abc
    print(numcodecs.abc.Codec.__module__)
import astropy.utils.data
from astropy import units
print(astropy.utils.data.get_free_space_in_dir("/", unit=True).unit, units.Quantity.__module__)
"""


def test_a_start_has_one_thread_and_others_still_get_their_imports():
    has_it = find_spec("numcodecs") is not None
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    lines = subprocess.run(
        [sys.executable, "-c", LOOK, str(ROOT / "scripts"), str(has_it)],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert json.loads(lines[0]) == [1, False, False, False, None, "1"]
    assert lines[1:] == ["numcodecs.abc"] * has_it + ["byte astropy.units.quantity"]


THREADS = """
import ctypes, sys
if sys.argv[2] == "numpy first":
    import numpy
sys.path.insert(0, sys.argv[1])
import ccdflow.lean_imports
from numpy._core import _multiarray_umath
functions = ctypes.CDLL(_multiarray_umath.__file__)
names = [name.replace("set", "get") for name in ccdflow.lean_imports._THREADS_FUNCTIONS]
print(next(getattr(functions, name)() for name in names if hasattr(functions, name)))
"""


@pytest.mark.parametrize("order", ["numpy first", "numpy last"])
@pytest.mark.parametrize("given", [None, "2"])
def test_matrices_have_one_thread_whoever_imports_numpy(order, given):
    """Snakemake imports numpy before the rules where its plugin of Slurm is installed."""
    # OpenBLAS takes no more threads than there are cores.
    threads = 1 if given is None else min(int(given), len(os.sched_getaffinity(0)))
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment |= {} if given is None else {"OPENBLAS_NUM_THREADS": given}
    lines = subprocess.run(
        [sys.executable, "-c", THREADS, str(ROOT / "scripts"), order],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert lines == [str(threads)]


def test_astropy_has_the_names_that_are_left_out_in_annotations_alone():
    """Another version of astropy may use them: `lean_imports` must not leave them out then."""
    tree = ast.parse(Path(find_spec("astropy.utils.data").origin).read_text("utf-8"))
    annotated = set()
    for node in ast.walk(tree):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            annotated |= {id(each) for each in ast.walk(part)} if part else set()
    used = [each for each in ast.walk(tree) if getattr(each, "id", "") in ("Quantity", "UnitBase")]
    assert len(used) == 4
    assert all(id(each) in annotated for each in used)


ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import ccdflow.lean_imports
import inspect
looks = []
of_inspect = inspect.getmodule
inspect.getmodule = lambda *given: looks.append(given) or of_inspect(*given)
import astropy.io.fits
print(len(looks))
inspect.getmodule = of_inspect
from astropy.utils import introspection
item = type(astropy.io.fits.conf).use_memmap
print(introspection.find_current_module(1).__name__, item.module)
nameless = {"introspection": introspection}
exec("found = introspection.find_current_module(1)", nameless)
print(nameless["found"])
"""


def test_settings_of_astropy_know_their_modules_without_a_look_at_all_files():
    lines = subprocess.run(
        [sys.executable, "-c", ASK, str(ROOT / "scripts")],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert lines == ["0", "__main__ astropy.io.fits", "None"]
