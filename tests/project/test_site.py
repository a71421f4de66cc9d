"""The documentation as a site: it is built without a warning and without a network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def build(builder, tmp_path):
    """Build the site, or only read it and resolve its references (``dummy``)."""
    # Pages of modules that an earlier build left would be in no table of contents.
    shutil.rmtree(DOCS / "api", ignore_errors=True)
    process = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder, "-d",
         tmp_path / "doctrees", DOCS, tmp_path / "site"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert process.stderr == ""
    assert process.returncode == 0


def test_documents_and_docstrings_are_read_without_a_warning(tmp_path):
    build("dummy", tmp_path)
    pages = {path.stem for path in (DOCS / "api").glob("*.rst")}
    assert {"ccdflow.frame.reduction", "ccdflow.files.whole", "ccdflow.camera.facts"} <= pages


# Writing the pages takes as long as reading them.
@pytest.mark.torture
def test_the_site_is_built_without_a_warning(tmp_path):
    build("html", tmp_path)
    for document in DOCS.glob("*.md"):
        assert (tmp_path / "site" / f"{document.stem}.html").is_file()
    page = (tmp_path / "site" / "api" / "ccdflow.frame.reduction.html").read_text("utf-8")
    assert "(ny, nx)" in page
    assert "Parameters" in page


def test_every_document_is_in_the_contents_of_the_site():
    contents = (DOCS / "index.md").read_text("utf-8").splitlines()
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= set(contents)
