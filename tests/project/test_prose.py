"""Documents can be read beside a terminal: their prose is wrapped."""

import re
from pathlib import Path

from library_trees import ROOT, modules

LONGEST_LINE = 112
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
NOT_PROSE = re.compile(r"\||    |\s*(?:[-*] )?!?\[[^]]*\]\([^)]*\)\W*$")


def test_no_line_of_prose_is_long():
    """Tables, code, and lines that are one link or picture may be longer."""
    names = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "config/README.md",
        "docs/*.md",
        "docs/decisions/*.md",
    ]
    documents = [path for name in names for path in sorted(ROOT.glob(name))]
    assert len(documents) > 20
    long = []
    for document in documents:
        is_code = False
        for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
            if line.lstrip().startswith("```"):
                is_code = not is_code
            elif len(line) > LONGEST_LINE and not is_code and not NOT_PROSE.match(line):
                long.append(f"{document.relative_to(ROOT)}:{number}: {len(line)} letters")
    assert long == []


PARTS = ["Problem", "Decision", "Cost", "Tried or rejected"]


def test_a_decision_tells_problem_decision_cost_and_alternatives():
    """In this order, each once, so that a reader finds the part that he looks for."""
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert len(decisions) > 20
    for path in decisions:
        text = path.read_text("utf-8")
        parts = re.findall(rf"^\*\*({'|'.join(PARTS)})\b", text, re.MULTILINE)
        assert parts == PARTS, path.name
        assert f"(decisions/{path.name})" in ARCHITECTURE, path.name


# "Who adds a kind reads this", "says nothing to who reads it", "whoever calls it".
WITHOUT_PERSON = re.compile(r'(?:^ *#|[:.;"]|\bto|\bfor) *who [a-z]+s\b|\bwhoever\b', re.I | re.M)


def test_a_sentence_names_the_person_of_a_who():
    """A reader, a user or a program: "a user who adds a kind", and not "who adds a kind"."""
    texts = {
        module.path: module.text
        for folder in ("scripts", "tests", "docs", "benchmarks")
        for module in modules(folder)
        if module.path != Path(__file__).resolve()
    }
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/*.md")]
    texts |= {path: path.read_text("utf-8") for path in documents}
    assert len(texts) > 700
    for text in (
        '"""Who reads it',
        "# who reads",
        "it; who adds it",
        "Whoever",
        "for who writes",
    ):
        assert WITHOUT_PERSON.search(text), text
    assert WITHOUT_PERSON.search("a user who adds a kind") is None
    assert [
        f"{path.name}: {match[0]}"
        for path, text in texts.items()
        for match in WITHOUT_PERSON.finditer(text)
    ] == []


def test_cannot_is_one_word():
    """In messages, comments and documents: "can not" also means "may leave undone"."""
    texts = {module.path: module.text for module in modules()}
    texts |= {
        path: path.read_text("utf-8") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    }
    assert len(texts) > 300
    assert [
        path.name for path, text in texts.items() if re.search(r"\bcan not\b", text, re.I)
    ] == []
