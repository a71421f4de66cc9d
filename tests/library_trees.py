"""The modules of `scripts/` as text and syntax tree, parsed once for all tests."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Module(NamedTuple):
    """A module: its path, its text, its syntax tree."""

    path: Path
    text: str
    tree: ast.Module


@cache
def modules():
    """Return the `Module` of each file of `scripts/`, sorted by path."""
    texts = {path: path.read_text("utf-8") for path in sorted((ROOT / "scripts").rglob("*.py"))}
    return [Module(path, text, ast.parse(text)) for path, text in texts.items()]
