"""Settings of the documentation site: `make docs` builds it with Sphinx into docs/_build."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

project = "ccdflow"
author = "the ccdflow developers"
copyright = author  # noqa: A001
release = re.search(
    r'^__version__ = "(.+)"$', (ROOT / "scripts/ccdflow/__init__.py").read_text("utf-8"), re.M
)[1]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]

# The headings of a document are targets of links, as on the pages of a public repository.
myst_heading_anchors = 4

autosummary_generate = True
autodoc_default_options = {"members": True}
autodoc_typehints = "none"
# Only modules, their public classes and functions get pages; members of classes are on these.
numpydoc_show_class_members = False
html_theme = "furo"
html_title = f"ccdflow {release}"
html_copy_source = False


def _name_files_outside(app, document, source):
    """Turn links to files that are no part of the site into their names."""
    source[0] = re.sub(r"\[([^]]+)\]\(\.\./[^)]+\)", r"`\1`", source[0])


def setup(app):
    """Register the change of links."""
    app.connect("source-read", _name_files_outside)
