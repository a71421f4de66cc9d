"""The environment files: conda's and pip's say the same, all is pinned, no registry is named."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
import yte

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"
# conda's names where they are not pip's.
CONDA_NAMES = {
    "python-isal": "isal", "matplotlib-base": "matplotlib", "inotify_simple": "inotify-simple",
}  # fmt: skip


def pip_pins(name):
    """Return {package: version} of a requirements file; anything but an exact pin fails."""
    lines = (line.split("#")[0].strip() for line in (ENVS / name).read_text().splitlines())
    lines = [line for line in lines if line and not line.startswith("-r ")]
    return dict(line.split("==") for line in lines)


def all_pins():
    """Return {package: version} of all requirements files."""
    files = ("requirements.txt", "requirements-slurm.txt", "requirements-dev.txt")
    return {package: version for name in files for package, version in pip_pins(name).items()}


def conda_pins(name):
    """Return {package as pip calls it: version} of a conda environment file, python left out."""
    listed = yaml.safe_load((ENVS / name).read_text())["dependencies"]
    pins = dict(entry.split("=") for entry in listed if not entry.startswith("python>"))
    return {CONDA_NAMES.get(package, package): version for package, version in pins.items()}


@pytest.mark.parametrize(
    ("pip", "conda"),
    [
        ("requirements.txt", "environment.yaml"),
        ("requirements-slurm.txt", "environment-slurm.yaml"),
        ("requirements-dev.txt", "environment-dev.yaml"),
    ],
)
def test_conda_and_pip_say_the_same(pip, conda):
    assert conda_pins(conda) == pip_pins(pip)


def test_constraints_agree_with_the_requirements():
    constraints = pip_pins("constraints.txt")
    wanted = all_pins()
    assert {name: constraints[name] for name in wanted} == wanted


def test_constraints_hold_all_that_the_requirements_bring():
    constraints = pip_pins("constraints.txt")
    installed = {
        re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower(): package.version
        for package in metadata.distributions()
    }
    # Other packages installed here are nobody's dependencies, and venv brings its own tools.
    foreign = set(installed) - _dependencies_of(all_pins())
    dependencies = {name: version for name, version in installed.items() if name not in foreign}
    assert len(dependencies) > 50
    assert dependencies == {
        name: version for name, version in constraints.items() if name in dependencies
    }
    assert len(dependencies) > 80


def _dependencies_of(names):
    brought, todo = set(), list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in brought:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        brought.add(name)
        todo += [re.match(r"[\w.-]+", line)[0] for line in needed if "extra ==" not in line]
    return brought


@pytest.mark.parametrize(
    ("spec", "executor"),
    [
        (object(), "slurm"),
        (None, "slurm, without its plugin: give `make slurm` first, see docs/slurm.md"),
    ],
)
def test_the_profile_of_slurm_names_the_remedy_where_its_plugin_is_absent(
    monkeypatch, spec, executor
):
    monkeypatch.setattr(importlib.util, "find_spec", {"snakemake_executor_plugin_slurm": spec}.get)
    profile = (ROOT / "profiles" / "slurm" / "config.yaml").read_text()
    # As Snakemake reads a profile.
    assert yte.process_yaml(profile, require_use_yte=True)["executor"] == executor
    document = " ".join((ROOT / "docs" / "slurm.md").read_text().split())
    if spec is None:
        assert f"invalid choice: '{executor}'" in document


def test_every_import_of_the_library_is_a_direct_dependency():
    names = {"PIL": "pillow", "yaml": "pyyaml", "inotify_simple": "inotify-simple"}
    files = [path for folder in ("scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    own = {path.stem for path in files} | {"ccdflow"}
    imported = {name for path in files for name in _imports(path)} - own - sys.stdlib_module_names
    packages = {names.get(name, name) for name in imported}
    assert {"numpy", "astropy", "isal", "pillow"} <= packages
    assert packages <= set(pip_pins("requirements.txt"))


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_no_file_of_the_project_names_a_registry():
    pattern = re.compile(r"index-url|find-links|https?://\S*(/simple|\.whl|\.tar\.gz|conda\.)")
    names = [name for name in _texts() if pattern.search((ROOT / name).read_text("utf-8"))]
    assert names == ["tests/project/test_envs.py"]


def _texts():
    """Return the paths of the project's own text files, with those that are not committed yet."""
    made = {".git", ".venv", ".snakemake", "demo", "raw", "results", "bench-data"}
    endings = (".py", ".md", ".txt", ".yaml", ".toml", ".smk", ".json", ".cfg", "Makefile", "run")
    names = []
    for folder, folders, files in os.walk(ROOT):
        inside = Path(folder).relative_to(ROOT)
        folders[:] = [f for f in folders if f not in made and not f.endswith("cache__")]
        names += [(inside / file).as_posix() for file in files if file.endswith(endings)]
    return sorted(names)


# A Python that writes down its arguments, and copies itself where it is to make an environment.
RECORDING_PYTHON = """#!/bin/sh
echo "$0 $*" >> {log}
case "$*" in
  "-m venv "*) for folder; do :; done; mkdir -p "$folder/bin"; cp "$0" "$folder/bin/python" ;;
  "-c import pip") [ ! -e {broken} ] ;;
esac
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("contents", "venv_calls"),
    [
        ([], ["-m venv {venv}"]),
        # Of another Python: `make demo` makes it, then `.ci/run` chooses its own.
        (["pyvenv.cfg", "bin/python"], []),
        # One that a kill or an upgrade of the system has broken is made anew.
        (["pyvenv.cfg", "bin/python", "broken"], ["-m venv --clear {venv}"]),
        # A folder of something else is never emptied.
        (["notes.txt"], ["-m venv {venv}"]),
    ],
    ids=["none", "another one", "a broken one", "no environment"],
)
def test_an_environment_that_works_stays_and_a_broken_one_is_made_anew(
    contents, venv_calls, tmp_path
):
    venv, log, python = tmp_path / "venv", tmp_path / "calls", tmp_path / "python"
    python.write_text(RECORDING_PYTHON.format(log=log, broken=venv / "broken"))
    python.chmod(0o755)
    for name in contents:
        (venv / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(python, venv / name)
    target = f"{venv}/.ccdflow-developer"
    command = ["make", "-s", f"VENV={venv}", f"PYTHON={python}", "CORES=1", target]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    calls = [line.partition(" ")[2] for line in log.read_text().splitlines()]
    assert [call for call in calls if call.startswith("-m venv")] == [
        call.format(venv=venv) for call in venv_calls
    ]
    assert (venv / ".ccdflow-developer").exists()
    assert all((venv / name).exists() for name in contents)
