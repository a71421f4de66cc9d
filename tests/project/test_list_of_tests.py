"""docs/tests.md leads from each module that no test names to tests that try it."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import list_tests  # noqa: E402 - a script of the documents

ROW = r"^\| `([\w/]+\.py)` \| `([\w/]+\.py)` \| (.+) \|$"
REMEDY = "give `python docs/list_tests.py`"


def rows():
    """Return (module, the one that it is tested through, test files) of each row, as paths."""
    library = list_tests.LIBRARY
    for module, through, shown in re.findall(ROW, list_tests.TARGET.read_text("utf-8"), re.M):
        caller = library / through if (library / through).is_file() else ROOT / through
        tests = [ROOT / "tests" / name for name in re.findall(r"`([^`]+)`", shown)]
        yield library / module, caller, tests


def test_each_module_that_no_test_names_has_a_row():
    assert set(list_tests.unnamed()) <= {module for module, *_ in rows()}, REMEDY


def test_each_row_leads_from_a_module_to_tests():
    table = list(rows())
    assert len(table) > 20
    for module, through, tests in table:
        assert module.is_file(), REMEDY
        assert tests, module
        for test in tests:
            assert through in list_tests.imports_of(test), (through, test, REMEDY)
        callers = {module}
        while through not in callers:
            more = {new for path in callers for new in list_tests.callers().get(path, [])}
            assert more - callers, (module, through, REMEDY)
            callers |= more


def test_imports_in_each_form_are_found(tmp_path):
    path = tmp_path / "test_a.py"
    path.write_text(
        "from ccdflow.files import (\n    row_files as io,\n    streams,\n)\n"
        "from ccdflow.run.plan import make_plan\nimport ccdflow.robust\n"
    )
    names = {path.stem for path in list_tests.imports_of(path)}
    assert names == {"row_files", "streams", "plan", "robust"}
