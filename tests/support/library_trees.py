"""The modules of `scripts/` as text and syntax tree, parsed by the first test that needs them."""

import ast
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, eq=False)
class Module:
    """A module: its path, its text, its syntax tree."""

    path: Path
    text: str

    @cached_property
    def tree(self):
        """The syntax tree, parsed when it is first needed."""
        return ast.parse(self.text)

    @property
    def is_of_library(self):
        """Whether the module is below scripts/ccdflow: the checkout may have this name as well."""
        return "ccdflow" in self.path.relative_to(ROOT).parts

    def __iter__(self):
        return iter((self.path, self.text, self.tree))


@cache
def modules(folder="scripts"):
    """Return the `Module` of each file of a folder of the project, sorted by path."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [Module(path, path.read_text("utf-8")) for path in paths]


@cache
def nodes(tree):
    """Return all nodes of a module's syntax tree, as `ast.walk` yields them.

    A walk through all modules takes a second, and two dozen tests look at all nodes.
    """
    return tuple(ast.walk(tree))


@cache
def holders(module):
    """Return the classes and functions of a module, and the module itself, as syntax trees."""
    trees, left = [], [module.tree]
    while left:
        node = left.pop()
        trees.append(node)
        # Classes and functions are in bodies of statements, not in expressions.
        inner = [*node.body]
        while inner:
            each = inner.pop()
            if isinstance(each, ast.ClassDef | ast.FunctionDef):
                left.append(each)
            elif isinstance(each, ast.stmt) and not isinstance(each, ast.Expr | ast.Assign):
                inner += [n for n in ast.iter_child_nodes(each) if isinstance(n, ast.stmt)]
    return trees


def docstring_of(node):
    """Return the syntax tree of a node's docstring; None without one."""
    first = node.body[0] if node.body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first if is_text and isinstance(first.value.value, str) else None


@cache
def names_of(tree):
    """Return the names in a syntax tree: of variables, attributes, arguments, definitions."""
    names = set()
    for node in nodes(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                names.update(value.split("."))
    return names


@cache
def words_of_strings(tree):
    """Return the words in strings of the code, such as keys, settings and columns."""
    prose = {id(node.value) for node in nodes(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in nodes(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    return set(re.findall(r"\w+", " ".join(texts)))
