"""Tests lie in the folder of what they test, as tests/conftest.py and docs/architecture.md say."""

import ast
from collections import Counter

from library_trees import ROOT, modules, nodes

LIBRARY, TESTS = ROOT / "scripts" / "ccdflow", ROOT / "tests"
# The part of a test's uses of its package from which on it belongs to one folder of the package.
SHARE = 0.8
# A test with fewer uses of its package than this is not looked at: they may be chance.
FEWEST_USES = 2


def folders_used(tree, package):
    """Count the uses of modules of a package by their folder in it, '' for the package's own.

    Parameters
    ----------
    tree : ast.Module
        Of a test file.
    package : str

    Returns
    -------
    collections.Counter
    """
    folder_of_name = {}
    for node in nodes(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ccdflow":
            for alias in node.names:
                for parts in ([*node.module.split("."), alias.name], node.module.split(".")):
                    path = LIBRARY.joinpath(*parts[1:]).with_suffix(".py")
                    if parts[1:] and path.is_file():
                        inner = path.relative_to(LIBRARY).parts
                        if inner[0] == package and len(inner) > 1:
                            folder = "/".join(inner[1:-1])
                            folder_of_name[alias.asname or alias.name] = folder
    return Counter(
        folder_of_name[node.id]
        for node in nodes(tree)
        if isinstance(node, ast.Name) and node.id in folder_of_name
    )


def test_tests_of_one_folder_of_a_package_lie_in_a_folder_of_its_name():
    misplaced, count = {}, 0
    for path, _, tree in modules("tests"):
        package, *inner = path.relative_to(TESTS).parent.parts or [""]
        if not path.name.startswith("test_") or not (LIBRARY / package).is_dir() or not package:
            continue
        uses = folders_used(tree, package)
        if sum(uses.values()) < FEWEST_USES:
            continue
        folder, number = uses.most_common(1)[0]
        count += 1
        if not inner and folder and number >= SHARE * sum(uses.values()):
            misplaced[path.name] = f"{package}/{folder}"
    assert count > 50
    assert misplaced == {}


def test_folders_of_tests_have_the_names_of_folders_of_the_library():
    packages = {path.name for path in LIBRARY.iterdir() if path.is_dir()}
    folders = {
        path.parent.relative_to(TESTS)
        for path in TESTS.rglob("test_*.py")
        if path.relative_to(TESTS).parts[0] in packages
    }
    assert len(folders) > 20
    assert {str(folder) for folder in folders if not (LIBRARY / folder).is_dir()} == set()


def test_uses_of_a_folder_are_counted_by_name():
    text = "from ccdflow.detector.pixels import ccdmask\nfrom ccdflow.detector import ageing\n"
    uses = folders_used(ast.parse(text + "ccdmask.f(ccdmask.g)\nageing.h()\n"), "detector")
    assert uses == {"pixels": 2, "": 1}
