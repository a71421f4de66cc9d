"""Modules that draw are loaded by one thread at a time, whatever imports what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from library_trees import modules, nodes

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


def imports_late(node):
    """Return whether a node of a function loads a module by its name, or one that draws."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
    if isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return any(f"{name}.".startswith("ccdflow.pages.pictures.") for name in names)


def test_one_function_of_the_kinds_loads_modules_that_draw():
    """Another one would load them beside the lock."""
    trees = {path: tree for path, _, tree in modules() if "kinds" in path.parts}
    assert len(trees) > 50
    functions = {
        function.name
        for tree in trees.values()
        for function in nodes(tree)
        if isinstance(function, ast.FunctionDef) and any(map(imports_late, ast.walk(function)))
    }
    assert functions == {"drawing_module"}


@pytest.mark.parametrize(
    "line",
    [
        "import_module(name)", "importlib.import_module(name)", "__import__(name)",
        "import ccdflow.pages.pictures.raster", "from ccdflow.pages import pictures",
        "from ccdflow.pages.pictures import raster",
        "from ccdflow.pages.pictures.raster import draw",
    ],
)  # fmt: skip
def test_an_import_of_a_module_that_draws_is_seen(line):
    assert any(map(imports_late, ast.walk(ast.parse(line))))
    assert not any(map(imports_late, ast.walk(ast.parse("from ccdflow.pages import page"))))
