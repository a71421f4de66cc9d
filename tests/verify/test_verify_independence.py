"""verify/ shares nothing with the code that it verifies; a run pays for none of it."""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from ccdflow import mask_bits, robust
from ccdflow.verify.reading import restated_numbers

LIBRARY = Path(__file__).parents[2] / "scripts" / "ccdflow"
VERIFY = sorted((LIBRARY / "verify").rglob("*.py"))
SHARED_MODULES = {
    "ccdflow.errors": "the error that a user reads",
    "ccdflow.paths": "the names of folders and tables",
    "ccdflow.files": "the table of verdicts is written whole; texts of cards stay texts",
    "ccdflow.verify": "itself",
}
"""Modules that are no arithmetic; nothing else of the library may decide on a verdict."""
PUBLIC = {"ccdproc", "astropy", "numpy", "scipy", "astroscrappy"}


@cache
def imported_modules(path):
    """Return the modules that a module imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= names if node.module == "ccdflow" else {node.module}
    return modules


def is_standard(name):
    return name.partition(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("path", VERIFY, ids=lambda path: path.stem)
def test_verifying_knows_no_module_that_makes_products(path):
    strange = {name for name in imported_modules(path) if not is_standard(name)}
    strange = {name for name in strange if name.partition(".")[0] not in PUBLIC}
    assert {n for n in strange if ".".join(n.split(".")[:2]) not in SHARED_MODULES} == set()


@pytest.mark.parametrize("path", VERIFY, ids=lambda path: path.stem)
def test_only_public_modules_are_imported(path):
    modules = {name for name in imported_modules(path) if name.partition(".")[0] in PUBLIC}
    assert [name for name in modules if "._" in name] == []


def test_only_verifying_imports_ccdproc_and_no_run_imports_scipy_stats():
    """A run starts without ccdproc (0.2 s of CPU) and without scipy.stats (0.4 s)."""
    words = re.compile("ccdproc|scipy|verify")
    others = [path for path in LIBRARY.rglob("*.py") if path not in VERIFY]
    others = [path for path in others if words.search(path.read_text("utf-8"))]
    heavy = {
        path.relative_to(LIBRARY).as_posix(): names
        for path in others
        if (
            names := {n for n in imported_modules(path) if n.startswith(("ccdproc", "scipy.stats"))}
        )
    }
    assert others
    assert heavy == {}
    entry = {path for path in others if "ccdflow.verify" in str(imported_modules(path))}
    assert entry == set()


def test_the_bits_are_those_that_the_documents_give():
    """Documents and code give the bits twice, on purpose; the two must not differ."""
    constants = {name: value for name, value in vars(restated_numbers).items() if name.isupper()}
    assert constants["MAD_TO_SIGMA"] == pytest.approx(robust.MAD_TO_SIGMA, rel=1e-12)
    bits = {name: value for name, value in vars(mask_bits).items() if name.isupper()}
    bits = {name: value for name, value in bits.items() if isinstance(value, int)}
    assert {name: constants.get(name) for name in bits} == bits
    assert len(bits) == 14


def test_a_first_header_is_named_so():
    """``first_header["NCOMBINE"]``: in verify/, `first` alone is a row, a night or a keyword."""
    wrong = []
    for path in VERIFY:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_card = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
            is_got = isinstance(node, ast.Attribute) and node.attr in ("get", "cards")
            holder = getattr(node, "value", None) if is_card or is_got else None
            if getattr(holder, "attr", getattr(holder, "id", "")) == "first":
                wrong.append(f"{path.name}:{node.lineno}")
        wrong += [
            f"{path.name}: {line.strip()}"
            for line in re.findall(
                r"^.*\bfirst\b.* : astropy\.io\.fits\.Header$",
                path.read_text("utf-8"),
                re.MULTILINE,
            )
        ]
    assert wrong == []
