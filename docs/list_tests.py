"""Write docs/tests.md: where the modules are tested that have no test file of their own.

python docs/list_tests.py

``git grep -l MODULE tests`` finds the tests of a module that tests name. This list has the others:
the nearest module that calls it and that tests name, and the test files that name this one most.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "scripts" / "ccdflow"
TARGET = ROOT / "docs" / "tests.md"
# Test files that a row has: the one to run first, and another one.
SHOWN = 2
# Names of the command lines, which tests start as files.
_SCRIPTS = {path.stem for path in ROOT.glob("scripts/*.py")}
# An import of one line, or of several in brackets.
_IMPORT = re.compile(r"^\s*from ([\w.]+) import (?:\(([^)]*)\)|(.*))", re.MULTILINE)

HEAD = """# Where a module is tested

Most modules of `scripts/ccdflow/` are named in a test file: `git grep -l MODULE tests` finds it.
No test names the modules below. Each is tested through a module that calls it, the nearest one that
tests name. After a change of the module on the left, run the tests on the right.

`python docs/list_tests.py` writes this page. `tests/project/test_list_of_tests.py` fails when a
module is missing here.

| module | tested through | tests |
| --- | --- | --- |
"""


@cache
def text_of(path):
    """Return the text of a file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
    """
    return path.read_text("utf-8")


@cache
def library():
    """Return the modules of the library.

    Returns
    -------
    dict of str to Path
        By their names, such as ``ccdflow.run.plan``, in order.
    """
    paths = sorted(LIBRARY.rglob("*.py"))
    return {
        ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts): path
        for path in paths
        if path.name != "__init__.py"
    }


@cache
def files():
    """Return all files whose imports lead from a test to a module of the library.

    Returns
    -------
    dict of str to Path
        By the name under which another file imports them.
    """
    others = [
        *ROOT.glob("scripts/*.py"),
        *LIBRARY.rglob("__init__.py"),
        *ROOT.glob("tests/**/*.py"),
    ]
    named = {}
    for path in sorted(others):
        base = LIBRARY.parent if path.is_relative_to(LIBRARY) else ROOT
        parts = path.relative_to(base).with_suffix("").parts
        named[".".join(parts).removesuffix(".__init__")] = path
        if base is ROOT:
            named.setdefault(parts[-1], path)
    return library() | named


@cache
def imports_of(path):
    """Return the files that a file imports.

    Parameters
    ----------
    path : Path

    Returns
    -------
    set of Path
    """
    names = set()
    for package, wrapped, line in _IMPORT.findall(text_of(path)):
        imported = re.sub(r" as \w+|#.*", "", wrapped or line)
        below = {f"{package}.{name}" for name in re.findall(r"\w+", imported)}
        found = below & files().keys()
        names |= found if len(found) == len(below) else found | {package}
    names |= set(re.findall(r"^\s*import ([\w.]+)", text_of(path), re.MULTILINE))
    # Modules of `verify` are imported by their names, when a product needs them.
    names |= {
        f"ccdflow.verify.{name}" for name in re.findall(r'"([a-z_]+\.[a-z_]+)"', text_of(path))
    }
    if path.is_relative_to(ROOT / "tests"):
        # A script that a test starts.
        names |= set(re.findall(r"\b(\w+)\.py\b", text_of(path))) & _SCRIPTS
    return {files()[name] for name in names if name in files()}


@cache
def callers():
    """Return who imports each file.

    Returns
    -------
    dict of Path to list of Path
    """
    found = {}
    for path in sorted(set(files().values())):
        for imported in imports_of(path):
            found.setdefault(imported, []).append(path)
    return found


def is_test(path):
    """Return whether a file is one of tests.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool
    """
    return path.name.startswith("test_")


@cache
def words_of_tests():
    """Return the words of each test file.

    Returns
    -------
    dict of Path to list of str
    """
    tests = {path for path in files().values() if is_test(path)}
    return {path: re.findall(r"\w+", text_of(path)) for path in sorted(tests)}


def unnamed():
    """Return the modules that no test names.

    Returns
    -------
    list of Path
    """
    words = set().union(*map(set, words_of_tests().values()))
    return [path for path in library().values() if path.stem not in words]


def paths_to_tests(module):
    """Return the shortest chains of files from a module to tests; each imports the one before.

    Parameters
    ----------
    module : Path

    Returns
    -------
    list of tuple of Path
        From the module to a test file; empty where no test reaches it.
    """
    ways, seen = [(module,)], {module}
    while ways:
        ended = [way for way in ways if is_test(way[-1])]
        if ended:
            return ended
        further = []
        for way in ways:
            for caller in callers().get(way[-1], []):
                if caller not in seen or is_test(caller):
                    seen.add(caller)
                    further.append((*way, caller))
        ways = further
    return []


def row_of(module):
    """Return the module that a module is tested through, and the tests to run.

    Parameters
    ----------
    module : Path

    Returns
    -------
    (Path, list of Path)
    """
    own = module.relative_to(LIBRARY).parts[0]

    def rank(way):
        through, test = way[-2], way[-1]
        is_elsewhere = test.relative_to(ROOT / "tests").parts[0] != own
        return is_elsewhere, -words_of_tests()[test].count(through.stem), test, through

    ways = sorted(paths_to_tests(module), key=rank)
    through = ways[0][-2]
    return through, [way[-1] for way in ways if way[-2] == through][:SHOWN]


def page():
    """Return the text of docs/tests.md.

    Returns
    -------
    str
    """
    lines = []
    for module in unnamed():
        through, tests = row_of(module)
        place = through.relative_to(LIBRARY if through.is_relative_to(LIBRARY) else ROOT)
        shown = " ".join(f"`{test.relative_to(ROOT / 'tests')}`" for test in tests)
        lines.append(f"| `{module.relative_to(LIBRARY)}` | `{place}` | {shown} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
