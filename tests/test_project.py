"""The project's own files: verbs, links and pointers that lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


def verbs():
    return set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.MULTILINE))


def test_every_verb_is_in_the_help():
    said = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True)
    assert set(re.findall(r"^  make (\S+) +\S", said.stdout, re.MULTILINE)) == verbs()
    assert {"demo", "test", "bench", "bench-scale", "torture", "new-camera"} <= verbs()


def test_make_alone_gives_the_help():
    alone, said = (
        subprocess.run(["make", "-s", "-C", ROOT, *verb], capture_output=True, text=True).stdout
        for verb in ([], ["help"])
    )
    assert alone == said != ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_points_at_is_there(document):
    text = document.read_text("utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    for link in links:
        assert (document.parent / link).exists(), f"{link} is not there"
    for verb in re.findall(r"`make ([a-z-]+)", text):
        assert verb in verbs(), f"make {verb} is no verb"


@pytest.mark.parametrize("name", re.findall(r"(?:scripts|benchmarks)/\w+\.py", MAKEFILE))
def test_what_a_verb_runs_is_there(name):
    assert (ROOT / name).is_file()


def test_ci_runs_what_the_readme_names():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().splitlines()[-1] == "exec make test"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
