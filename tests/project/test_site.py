"""The documentation as a site: it is built without a warning and without a network."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import ready_python

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Of the pages of modules a part: those that docs/api.md names, and one of each further package.
# Reading all of them takes half a minute; `numpydoc` looks at all in test_docstrings.py.
SAMPLE_MODULES = (
    "ccdflow.errors",
    "ccdflow.files.atomic_write",
    "ccdflow.camera.facts",
    "ccdflow.simulate.truth",
)


def build(builder, tmp_path, *, modules=None):
    """Build the site, or only read it and resolve its references (``dummy``), from a copy.

    Where ``modules`` are given, they alone get pages.
    """
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("_build", "api"))
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    page = (docs / "api.md").read_text("utf-8")
    if modules:
        first, blank, last = page.partition("   :recursive:\n\n")
        assert blank
        lines = "".join(f"   {name}\n" for name in modules)
        page = f"{first}\n{lines}{last[last.index('```') :]}"
        (docs / "api.md").write_text(page, "utf-8")
    process = subprocess.run(
        [ready_python.interpreter(), "-m", "sphinx", "-q", "-W", "--keep-going", "-b", builder,
         "-d", tmp_path / "doctrees", docs, tmp_path / "site"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert process.stderr == ""
    assert process.returncode == 0
    return {path.stem for path in (docs / "api").glob("*.rst")}


def test_documents_and_docstrings_are_read_without_a_warning(tmp_path):
    lines = [x for x in (DOCS / "api.md").read_text("utf-8").splitlines() if x.startswith("- ")]
    functions = re.findall(r"`(ccdflow\.[\w.]+)\.\w+`", "".join(lines))
    assert len(functions) == 6
    modules = {*functions, *SAMPLE_MODULES}
    assert build("dummy", tmp_path, modules=sorted(modules)) == modules


@pytest.mark.torture
def test_the_site_is_built_without_a_warning(tmp_path):
    pages = build("html", tmp_path)
    assert {
        "ccdflow.frame.reduction",
        "ccdflow.files.atomic_write",
        "ccdflow.camera.facts",
    } <= pages
    for document in DOCS.glob("*.md"):
        assert (tmp_path / "site" / f"{document.stem}.html").is_file()
    page = (tmp_path / "site" / "api" / "ccdflow.frame.reduction.html").read_text("utf-8")
    assert "(ny, nx)" in page
    assert "Parameters" in page


def test_every_document_is_in_the_contents_of_the_site():
    contents = (DOCS / "index.md").read_text("utf-8").splitlines()
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= set(contents)
