"""CONTRIBUTING.md names files, constants and rules of the code that exist."""

import ast
import json
import re
from dataclasses import fields
from pathlib import Path

import conftest
import pytest
from library_trees import modules, names_of, nodes, words_of_strings

from ccdflow.camera import facts, header_reader, profiles
from ccdflow.files import header_text
from ccdflow.frame import reduction
from ccdflow.kinds.kind import Kind
from ccdflow.kinds.masters.makers.master_maker import MasterMaker
from ccdflow.run.job import OF_ALL_NIGHTS, Job
from ccdflow.run.job_records import Record
from ccdflow.run.master_choices import Use
from ccdflow.run.raw_frames import header_store

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PLACES = (
    ROOT,
    ROOT / "scripts" / "ccdflow",
    ROOT / "tests",
    ROOT / "scripts" / "ccdflow" / "camera",
)
# Names that CONTRIBUTING.md gives as bad ones, and the stem of a file's name.
BAD_NAMES, OTHER_NAMES = {"_ABOVE"}, {"PROVENANCE"}
SUFFIXES = {"py", "yaml", "json", "md", "txt", "smk", "csv", "html", "png", "fits"}
NAMED_FILES = sorted(set(re.findall(r"`([\w./-]+(?:\.(?:py|yaml|json|md|txt|smk)|/))`", TEXT)))


@pytest.mark.parametrize("name", NAMED_FILES)
def test_files_and_folders_exist(name):
    is_outside = name.startswith("../")
    assert is_outside != any((place / name).exists() for place in PLACES)


def test_modules_that_documents_name_exist():
    """A path below the library, such as `run/plan.py`, `run/plan` or `kinds/masters/`."""
    library = ROOT / "scripts" / "ccdflow"
    packages = "|".join(path.name for path in library.iterdir() if path.is_dir())
    wrong = []
    names = ("docs/architecture.md", "docs/inside-a-run.md", "CONTRIBUTING.md")
    documents = [ROOT / name for name in names]
    for path in (*documents, *sorted((ROOT / "docs" / "decisions").glob("*.md"))):
        for name in re.findall(rf"`((?:{packages})/[\w/]*(?:\.py)?)", path.read_text("utf-8")):
            module = library / name
            if not (module.exists() or module.with_suffix(".py").exists()):
                wrong.append((path.name, name))
    assert wrong == []


def test_functions_that_documents_name_exist():
    """A module and a name of it, such as `master_library.values_of_members`."""
    library = ROOT / "scripts" / "ccdflow"
    texts = {path.stem: path.read_text("utf-8") for path in library.rglob("*.py")}
    wrong, count = [], 0
    for path in (ROOT / "docs" / "architecture.md", *(ROOT / "docs" / "decisions").glob("*.md")):
        for module, name in re.findall(r"`([a-z]\w*)\.(\w+)(?:\(.*?\))?`", path.read_text("utf-8")):
            if module in texts and name not in SUFFIXES:
                count += 1
                if not re.search(rf"\b{name}\b", texts[module]):
                    wrong.append((path.name, f"{module}.{name}"))
    assert wrong == []
    assert count > 3


def names_in_class(node):
    """Return the names that the body of a class gives to methods and values."""
    names = set()
    for each in nodes(node):
        if isinstance(each, ast.FunctionDef):
            names.add(each.name)
        elif isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Store):
            names.add(each.id if isinstance(each, ast.Name) else each.attr)
    return names


def test_members_of_classes_that_documents_name_exist():
    """A class and a method or value, such as `Steward.make`: it is there, or in a base."""
    classes = {
        node.name: node
        for module in modules()
        if module.is_of_library
        for node in nodes(module.tree)
        if isinstance(node, ast.ClassDef)
    }

    def has_member(owner, name):
        bases = (ast.unparse(base).rpartition(".")[2] for base in classes[owner].bases)
        return name in names_in_class(classes[owner]) or any(
            has_member(base, name) for base in bases if base in classes
        )

    named = {
        (path.name, owner, name)
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
        for owner, name in re.findall(r"`([A-Z]\w*)\.(\w+)(?:\(.*?\))?`", path.read_text("utf-8"))
        if owner in classes
    }
    assert len(named) > 15
    assert sorted(place for place in named if not has_member(*place[1:])) == []


def test_recipes_have_five_lines():
    recipes = re.findall(r"^## A (?:new )?(.*)\n\n((?:.+\n)+)", TEXT, re.MULTILINE)
    assert [name for name, _ in recipes] == [
        "setting", "changed threshold", "header card", "warning", "key of a camera's profile",
        "kind of product",
    ]  # fmt: skip
    for _, steps in recipes:
        assert re.findall(r"^(\d)\. ", steps, re.MULTILINE) == list("12345")


def test_names_in_the_recipes_are_those_of_the_code():
    assert callable(header_text.CardList.set)
    assert callable(profiles._camera_of_text)
    # The recipe of a warning: names of cards are below `keywords` of a profile.
    schema = json.loads((ROOT / "config/schemas/camera.schema.json").read_text("utf-8"))
    names_of_cards = set(schema["properties"]["keywords"]["properties"])
    assert len(names_of_cards & set(facts.KEYWORDS)) == len(names_of_cards) > 10
    assert "below `keywords` in `config/schemas/camera.schema.json`" in TEXT
    assert callable(facts._warn_of_unreadable_placement)
    assert callable(header_reader.HeaderReader.warn)
    assert callable(MasterMaker.warnings_of)
    assert {field.name for field in fields(reduction.Reduced)} >= {"warnings"}
    for owner, name in (
        (reduction, "PIXELS_VERSION"), (reduction, "HEADER_VERSION"), (Kind, "version"),
        (Kind, "header_version"),
        (header_store, "READING_VERSION"),
    ):  # fmt: skip
        assert isinstance(getattr(owner, name), int)
        assert re.search(rf"`(\w+\.)?{name}`", TEXT), name


def test_constants_and_functions_in_backticks_exist():
    """A name of the code: ``_OWN_CARDS``, ``NEW_CARDS``, ``_camera_of_text``, ``CardList.set``."""
    # Comments and docstrings do not count: a name may survive there.
    code = set().union(*(names_of(each.tree) for each in (*modules(), *modules("tests"))))
    code.update(*(words_of_strings(module.tree) for module in modules()))
    names = set(re.findall(r"`((?:[A-Za-z]\w*\.)?[A-Za-z_]\w*)`", TEXT))
    named = {part for name in names for part in name.split(".") if re.search("[A-Z_]", part)}
    assert len(named) > 15
    assert named - code == BAD_NAMES | OTHER_NAMES


def test_only_kinds_and_run_read_the_settings_of_a_context():
    library = ROOT / "scripts" / "ccdflow"
    readers = {
        path.relative_to(library).parts[0]
        for path in library.rglob("*.py")
        if re.search(r"context\.settings|self\.settings\[", path.read_text("utf-8"))
    }
    assert readers == {"kinds", "run"}


def test_the_test_files_that_begin_first_exist():
    assert [name for name in conftest.LONG_FILES if not (ROOT / "tests" / name).is_file()] == []


def test_eleven_words_are_explained():
    """A reader learns no more: everything else has the terms of the field."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    first_table = text[text.index("\n## Words\n") :].split("\n\n")[2]
    rows = first_table.splitlines()[2:]
    assert len(rows) == 11
    assert "\n\nEleven words for users; the code has eighteen more" in text
    assert all(re.fullmatch(r"\| [a-z ]+ \| \S.* \|", row) for row in rows)


def test_words_of_the_code_are_fields_of_its_classes():
    """In a table of their own: fields of jobs, uses and records."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text[text.index("\nWords of the code") :].split("\n\n")[1]
    rows = [re.fullmatch(r"\| ([a-z ]+) \| (\S.*) \|", row) for row in table.splitlines()[2:]]
    words = [row[1] for row in rows]
    assert len(words) == len(set(words)) == 18
    assert {"lag", "reach", "spare", "stamp", "seal", "home", "late notes"} <= set(words)
    assert Kind.reach == OF_ALL_NIGHTS
    assert {each.name for each in fields(Job)} >= {"spare", "needs"}
    assert {each.name for each in fields(Use)} >= {"lag", "scale", "variance", "grade"}
    assert {each.name for each in fields(Record)} >= {"stamp"}


def test_a_first_change_and_the_recipes_come_before_the_rules():
    headings = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    assert headings[0] == "Your first change"
    assert len(headings) == 9
    assert all(heading.startswith("A ") for heading in headings[1:7])
    assert headings[7:] == ["Rules", "Dependencies"]


TERMS = {
    "use": "run/master_choices.py",
    "step": "run/master_choices.py",
    "answer": "kinds/matching/answers.py",
    "account": "verify/reading/accounts.py",
    "draft": "camera/geometry.py",
    "home": "run/nights/__init__.py",
}


@pytest.mark.parametrize("word", TERMS)
def test_common_words_that_are_terms_lead_to_the_table_of_words(word):
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert f"\n| {word} | " in text[text.index("\nWords of the code") :]
    tree = ast.parse((ROOT / "scripts" / "ccdflow" / TERMS[word]).read_text("utf-8"))
    docstring = ast.get_docstring(tree)
    assert f'"{word}"' in docstring.lower()
    assert 'docs/architecture.md, "Words"' in docstring
