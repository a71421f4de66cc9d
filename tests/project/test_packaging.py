"""The wheel has all packages of the library, and docs/proof.md names tests that exist."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "scripts" / "ccdflow"
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]


def test_all_packages_are_found():
    """`packages = ["ccdflow"]` would leave out those within it: 1 of 34 was shipped."""
    finder = TOOLS["packages"]["find"]
    assert (finder["where"], finder["include"]) == (["scripts"], ["ccdflow*"])
    folders = {path.parent for path in LIBRARY.rglob("*.py")}
    assert len(folders) > 30
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_files_beside_the_modules_are_data_of_their_package():
    data = {
        path
        for package, patterns in TOOLS["package-data"].items()
        for pattern in patterns
        for path in (ROOT / "scripts" / package.replace(".", "/")).glob(pattern)
    }
    others = {path for path in LIBRARY.rglob("*") if path.is_file()}
    others = {path for path in others if path.suffix != ".py" and path.parent.name != "__pycache__"}
    assert len(others) > 15
    assert others - data == set()


def test_the_tests_that_proofs_name_exist():
    text = (ROOT / "docs" / "proof.md").read_text("utf-8")
    named = set(re.findall(r"`(tests/[^`]+)`", text))
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).is_file()] == []
