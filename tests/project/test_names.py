"""Names tell what they hold."""

import ast

from library_trees import modules

# How a value came about is no name for it: CONTRIBUTING.md.
EMPTY = {"found", "said", "told"}


def names_given(tree):
    """Yield the variables, arguments and functions that a module names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def test_no_name_tells_only_how_its_value_came_about():
    empty = {
        f"{path.name}: {name}"
        for path, _, tree in modules()
        for name in names_given(tree)
        if name in EMPTY
    }
    assert empty == set()
