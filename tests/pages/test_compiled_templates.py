"""Compiled templates of pages: kept where Python keeps its own, and never in the way."""

import sys

import pytest

from ccdflow.pages import rendering


@pytest.fixture
def render_compiled(monkeypatch):
    """Return a function that renders a part of a page with compiled templates in a folder."""
    init_before = rendering._CompiledTemplates.__init__
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def render_in(folder):
        def init(self):
            init_before(self)
            self.directory = str(folder)

        monkeypatch.setattr(rendering._CompiledTemplates, "__init__", init)
        rendering.template_environment.cache_clear()
        template = rendering.template_environment().get_template("parts.html.j2")
        return template.module.summary(["24 frames reduced."])

    yield render_in
    rendering.template_environment.cache_clear()


def test_compiled_templates_are_kept_and_a_damaged_one_is_compiled_again(render_compiled, tmp_path):
    folder = tmp_path / "cache"
    first = render_compiled(folder)
    (kept,) = folder.iterdir()
    assert "24 frames reduced." in first
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    assert render_compiled(folder) == first
    assert kept.read_bytes() == whole


def test_pages_are_written_where_no_compiled_template_can_be(
    render_compiled, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    assert "24 frames reduced." in render_compiled(tmp_path / "file" / "cache")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    render_compiled(tmp_path / "none")
    assert not (tmp_path / "none").exists()
