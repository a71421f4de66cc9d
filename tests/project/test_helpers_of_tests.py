"""Functions of tests: none stands in two files, and no docstring repeats a name."""

import ast
import copy
import re

from library_trees import docstring_of, modules, nodes

# Letters of a body from which on two alike are no chance: two statements of usual length, and a
# quarter where each name is one letter.
_LEAST_LETTERS = 110
# Words of a sentence that tell nothing without others.
_SMALL_WORDS = {
    "a", "all", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have",
    "in", "is", "it", "its", "of", "on", "one", "or", "that", "the", "their", "there", "to", "with",
    "without",
}  # fmt: skip


class _Renaming(ast.NodeTransformer):
    """Gives names numbers in the order of their use, so that two bodies can be compared."""

    def __init__(self):
        self._numbers = {}

    def visit_Name(self, node):
        return ast.Name(self._number(node.id), node.ctx)

    def visit_arg(self, node):
        return ast.arg(self._number(node.arg))

    def _number(self, name):
        return self._numbers.setdefault(name, f"name{len(self._numbers)}")


def body_of(function):
    """Return the body of a function as a text that is the same whatever its names are."""
    renamed = copy.deepcopy(function)
    renamed.body = [each for each in renamed.body if each is not docstring_of(renamed)]
    renamed = _Renaming().visit(renamed)
    return "\n".join(ast.unparse(each) for each in renamed.body)


def form_of(function, lines):
    """Return the text of a body with one letter for each name: quick to make, and rarely shared."""
    docstring = docstring_of(function)
    first = function.body[0].lineno if docstring is None else docstring.end_lineno + 1
    text = "".join(lines[first - 1 : function.end_lineno])
    return re.sub(r"\w+", "n", re.sub(r"\s+|#.*", "", text))


def helpers(module):
    """Return the functions of a module of tests that are no tests themselves."""
    functions = [each for each in nodes(module.tree) if isinstance(each, ast.FunctionDef)]
    return [each for each in functions if not each.name.startswith("test_")]


def test_no_helper_stands_in_two_files():
    """A change of one leaves the other as it was: `tests/support` and `workflow/sandbox` share."""
    functions_of_form = {}
    for module in modules("tests"):
        lines = module.text.splitlines()
        for function in helpers(module):
            form = form_of(function, lines)
            if len(form) >= _LEAST_LETTERS / 4:
                functions_of_form.setdefault(form, []).append((module.path.name, function))
    assert len(functions_of_form) > 500
    places = {}
    for functions in functions_of_form.values():
        for name, function in functions if len(functions) > 1 else ():
            text = body_of(function)
            if len(text) >= _LEAST_LETTERS:
                places.setdefault(text, []).append(f"{name}: {function.name}")
    assert [each for each in places.values() if len(each) > 1] == []


def test_helpers_alike_but_for_their_names_are_seen():
    first, second, other = (
        ast.parse(text).body[0]
        for text in (
            'def f(a, b=1):\n    "One."\n    c = a + 1\n    return c * b',
            "def g(x, y=2):\n    z = x + 1\n    return z * y",
            "def f(a, b=1):\n    c = a + 1\n    return c * a",
        )
    )
    assert body_of(first) == body_of(second) != body_of(other)


def stems(text):
    """Return the words of a text that tell something, without their endings."""
    words = set(re.findall(r"[a-z]+", text.lower().replace("_", " "))) - _SMALL_WORDS
    return {re.sub(r"(?:ing|e?d|e?s|e)$", "", word) for word in words}


def is_repeated(function):
    """Return whether the docstring of a function has no word that its name has not."""
    docstring = docstring_of(function)
    return docstring is not None and stems(docstring.value.value) <= stems(function.name)


def test_no_docstring_of_a_test_repeats_its_name():
    """A docstring gives the reason, a figure or an example; a name that says all needs none."""
    text = 'def test_a_cut_file_is_found(): "Cut files are found."'
    assert is_repeated(ast.parse(text).body[0])
    assert not is_repeated(ast.parse(text.replace("Cut", "20 bytes of")).body[0])
    repeated = [
        f"{module.path.name}: {function.name}"
        for module in modules("tests")
        for function in nodes(module.tree)
        if isinstance(function, ast.FunctionDef) and is_repeated(function)
    ]
    assert repeated == []
