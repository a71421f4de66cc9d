"""The rows of docs/rebuilds.md and docs/bad-frames.md have tests, which tests/contract.md names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
CONTRACT = (TESTS / "contract.md").read_text("utf-8")
# Each test of these files holds a row.
MODULES = ("test_rebuilds.py", "test_faults.py", "test_random_events.py", "test_silent_losses.py")
DEFINED_TESTS = {
    path.relative_to(ROOT).as_posix(): set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    for path in TESTS.rglob("test_*.py")
}
# The heading of the first column, and the fewest rows.
TABLES = {
    "rebuilds.md": ("event", 40),
    "bad-frames.md": ("the reason, after its card or setting", 20),
}


def rows(name):
    """Return the cells of the rows of a document's table."""
    text = (ROOT / "docs" / name).read_text("utf-8")
    lines = text[text.index(f"| {TABLES[name][0]}") :].splitlines()
    table = lines[2 : next((n for n, line in enumerate(lines) if line[:1] != "|"), len(lines))]
    return [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in table]


def named_tests(name):
    """Return {first cell of a row: text that names its tests}."""
    section = CONTRACT.partition(f"## docs/{name}\n")[2].partition("\n## ")[0]
    parts = section.split("\n- **")[1:]
    events, texts = zip(*(part.split("**", 1) for part in parts), strict=True)
    tests_by_row = dict(zip((" ".join(event.split()) for event in events), texts, strict=True))
    assert len(tests_by_row) == len(parts), "two rows of one name"
    return tests_by_row


@pytest.mark.parametrize("name", TABLES)
def test_each_row_has_its_tests(name):
    table = rows(name)
    assert len(table) >= TABLES[name][1]
    # A bar in a text would shift what runs into what does not; two rows could contradict.
    assert {len(cells) for cells in table} == {3}
    events = [cells[0] for cells in table]
    assert all(events)
    assert list(named_tests(name)) == events


@pytest.mark.parametrize("name", TABLES)
def test_the_tests_of_each_row_exist(name):
    workflow = [file for file in DEFINED_TESTS if file.startswith("tests/workflow/")]
    tests_by_row = named_tests(name)
    assert len(tests_by_row) >= TABLES[name][1]
    for event, text in tests_by_row.items():
        tests = re.findall(r"`(test_\w+)`", text)
        assert "test_" in text, event
        files = re.findall(r"`(tests/[\w/]+\.py)`", text)
        missing = set(tests) - set().union(*(DEFINED_TESTS[file] for file in [*files, *workflow]))
        others = [file for file, names in DEFINED_TESTS.items() if missing & names]
        assert not missing, (event, missing, others)


def test_each_test_of_the_contract_holds_a_row():
    named = set(re.findall(r"`(test_\w+)`", CONTRACT))
    held = set().union(*(DEFINED_TESTS[f"tests/workflow/{name}"] for name in MODULES))
    assert held - named == set()


def test_each_reason_is_one_that_the_library_gives():
    """Words of the first column of docs/bad-frames.md stand in the library's code."""
    paths = sorted((ROOT / "scripts" / "ccdflow").rglob("*.py"))
    text = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in paths))
    named = [part for words in reasons() for part in words]
    assert len(named) > 40
    assert [part for part in named if part not in text] == []


def reasons():
    """Return the words of each reason of docs/bad-frames.md, without what differs."""
    parted = re.compile(r", (?=the |gzip |not |its |\.\.\. )")
    return [
        [part.strip(" ,") for part in reason.rpartition("): ")[2].rstrip(".: ").split("...")]
        for cells in rows("bad-frames.md")
        for reason in parted.split(cells[0])
    ]


def texts(node, constants):
    """Return the texts that an expression may be: its constants, and '' for what it computes."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return [
            "".join(
                getattr(each, "value", "") for each in node.values if isinstance(each, ast.Constant)
            )
        ]
    if isinstance(node, ast.IfExp):
        return texts(node.body, constants) + texts(node.orelse, constants)
    return [constants.get(getattr(node, "attr", getattr(node, "id", "")), "")]


def test_every_reason_to_set_a_raw_frame_aside_has_its_row():
    """By its words, or by those of its remedy. A problem that is computed has none to look at."""
    library = ROOT / "scripts" / "ccdflow"
    trees = {
        path: ast.parse(path.read_text())
        for folder in ("files", "camera", "frame", "run/raw_frames")
        for path in sorted((library / folder).rglob("*.py"))
        # Of products, not of raw frames.
        if path.name != "checksum.py"
    }
    constants = {
        target.id: node.value.value
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    seen, without = 0, []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if name not in ("FrameError", "UnreadableRawFile", "damaged_error", "contradiction"):
                continue
            given = {each.arg: each.value for each in node.keywords}
            nothing = ast.Constant("")
            remedy = given.get("remedy", ast.Name("AMPLIFIERS_REMEDY"))
            keyword = " ".join(texts(given.get("keyword", nothing), constants))
            for problem in texts(node.args[name == "damaged_error"], constants):
                whole = f"{keyword}: {problem}; {' '.join(texts(remedy, constants))}"
                has_row = any(all(part in whole for part in words) for words in reasons())
                seen += problem != ""
                without += (
                    [f"{path.name}:{node.lineno}: {problem}"] if problem and not has_row else []
                )
    assert seen > 45
    assert without == []
