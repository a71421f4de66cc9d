"""scripts/release.py: version, changelog, citation and tag agree, or nothing is changed."""

import datetime
import re
import subprocess

import pytest

import release as script
from ccdflow import __version__
from ccdflow.errors import UserError

DAY = datetime.date(2031, 5, 4)


def git(root, *arguments):
    done = subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small project of version 0.1.0 that is about to release 0.2.0."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")
    (tmp_path / "scripts/ccdflow").mkdir(parents=True)
    (tmp_path / script.LIBRARY).write_text('"""A."""\n\n__version__ = "0.1.0"\n')
    (tmp_path / script.CITATION).write_text("cff-version: 1.2.0\nversion: 0.1.0\n")
    (tmp_path / script.CHANGES).write_text(
        "# Changes\n\n## 0.2.0, not released yet\n\n- B.\n\n## 0.1.0, 2030-01-01\n\n- A.\n"
    )
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "begin")
    return tmp_path


def make(root, *arguments):
    return script.release(script.parse(list(arguments)), root=root, day=DAY)


def test_version_changelog_citation_and_tag_agree(root):
    make(root, "0.2.0")
    assert '__version__ = "0.2.0"' in (root / script.LIBRARY).read_text()
    assert (root / script.CITATION).read_text() == "cff-version: 1.2.0\nversion: 0.2.0\n"
    changes = (root / script.CHANGES).read_text()
    assert re.findall("^## .*", changes, re.MULTILINE) == [
        "## 0.2.0, 2031-05-04",
        "## 0.1.0, 2030-01-01",
    ]
    assert git(root, "rev-parse", "v0.2.0^{commit}") == git(root, "rev-parse", "HEAD")
    assert git(root, "status", "--porcelain") == ""


def test_a_check_changes_nothing(root):
    before = git(root, "rev-parse", "HEAD")
    assert make(root, "0.2.0", "--check").startswith("v0.2.0 can be released")
    assert git(root, "status", "--porcelain") == git(root, "tag") == ""
    assert git(root, "rev-parse", "HEAD") == before


def files_of(root):
    """Return {path: bytes} of the files of a checkout, without those of git."""
    paths = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path: path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    ("version", "before", "message"),
    [
        ("0.3.0", None, "the first section is of something else"),
        ("2", None, "VERSION: is not a version"),
        (
            "0.2.0",
            lambda root: git(root, "tag", "v0.2.0"),
            "tag: the tag exists already .found 'v0.2.0'.; allowed: a tag that git does not have",
        ),
        ("0.2.0", lambda root: (root / "new").touch(), "changes that are not committed"),
        (
            "0.2.0",
            lambda root: (root / script.CITATION).write_text("version: none\n"),
            "names no version",
        ),
    ],
)
def test_a_disagreement_is_one_line_and_changes_nothing(root, version, before, message):
    if before is not None:
        before(root)
    state = files_of(root)
    assert len(state) > 2
    with pytest.raises(UserError, match=message) as caught:
        make(root, version)
    assert "\n" not in str(caught.value)
    assert files_of(root) == state


def test_the_version_of_the_project_is_that_of_its_citation():
    citation = (script.ROOT / script.CITATION).read_text("utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == __version__
    changes = (script.ROOT / script.CHANGES).read_text("utf-8")
    assert re.search(r"^## (\S+?),", changes, re.MULTILINE)[1] == __version__
