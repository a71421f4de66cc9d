"""Functions of tests: none stands in two files, leaves the checkout, measures time or hides one."""

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
    assert places
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


def names_imported(tree):
    """Return the names of the modules that a module imports."""
    names = []
    for each in nodes(tree):
        if isinstance(each, ast.Import):
            names += [alias.name for alias in each.names]
        elif isinstance(each, ast.ImportFrom):
            names += [each.module or "", *(alias.name for alias in each.names)]
    return names


def test_no_module_imports_from_a_module_of_tests():
    """A helper of two files stands in `tests/support`: a changed test would change another one."""
    modules_of_tests = {module.path.stem for module in modules("tests")}
    imports = [
        f"{module.path.name}: {name}"
        for module in modules("tests")
        for name in names_imported(module.tree)
        if name.split(".")[-1].startswith("test_") and name.split(".")[-1] in modules_of_tests
    ]
    assert imports == []
    assert names_imported(ast.parse("from test_a import b")) == ["test_a", "b"]


def ways_out(tree):
    """Return the constants of a module that are paths with two steps up or more, or absolute."""
    return [
        ast.unparse(each)
        for each in nodes(tree)
        if isinstance(each, ast.BinOp)
        and isinstance(each.op, ast.Div)
        and isinstance(each.right, ast.Constant)
        and ".." in str(each.right.value).split("/")
    ]


def test_no_test_looks_for_a_file_beside_the_checkout():
    """A checkout has any name: of all folders beside it a test knows ../shared alone."""
    assert ways_out(ast.parse('a = b / "../../main/config"')) == ["b / '../../main/config'"]
    ways = [f"{each.path.name}: {way}" for each in modules("tests") for way in ways_out(each.tree)]
    assert ways == []


# Functions of `time` that measure. Of `time.monotonic`, tests make limits of waits.
_MEASURING = {"perf_counter", "process_time", "thread_time", "perf_counter_ns", "process_time_ns"}
# Measures what each of 2,000 random headers costs, for the lines of `make torture` alone.
_MEASURED_BY_TORTURE = {"header_fuzz.py"}


def test_no_test_measures_time():
    """A busy machine makes anything slow: figures of time are those of `benchmarks/`.

    The tests of the harness itself measure what it measures.
    """
    measured = [
        f"{module.path.name}:{each.lineno}"
        for module in modules("tests")
        if module.path.parent.name != "benchmarks" and module.path.name not in _MEASURED_BY_TORTURE
        for each in nodes(module.tree)
        if getattr(each, "attr", getattr(each, "id", "")) in _MEASURING
    ]
    assert measured == []


def wide_tolerances(tree):
    """Return the calls of `approx` in a module with two tolerances: the larger one counts."""
    return [
        ast.unparse(each)
        for each in nodes(tree)
        if isinstance(each, ast.Call)
        and ast.unparse(each.func).endswith("approx")
        and {"abs", "rel"} <= {keyword.arg for keyword in each.keywords}
    ]


def test_no_comparison_has_two_tolerances():
    """``rel=0.1, abs=4 * error`` allowed 41 % where the error was a tenth of the value."""
    assert wide_tolerances(ast.parse("pytest.approx(1, rel=0.1, abs=2)")) != []
    wide = [f"{m.path.name}: {call}" for m in modules("tests") for call in wide_tolerances(m.tree)]
    assert wide == []


def hidden_functions(tree):
    """Return the functions within others of a module that have the name of one of the module.

    A fixture may return a function of its own name: nobody calls the fixture.
    """
    own = {
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and not each.decorator_list
    }
    return [
        f"{outer.name}: {inner.name}"
        for outer in tree.body
        if isinstance(outer, ast.FunctionDef)
        for inner in ast.walk(outer)
        if isinstance(inner, ast.FunctionDef) and inner is not outer and inner.name in own
    ]


def test_no_function_within_a_test_hides_one_of_its_module():
    """Two functions `look` of a file took other arguments, and a reader took one for the other."""
    assert hidden_functions(ast.parse("def f(): pass\ndef g():\n    def f(): pass")) == ["g: f"]
    hidden = [
        f"{m.path.name}: {name}" for m in modules("tests") for name in hidden_functions(m.tree)
    ]
    assert hidden == []
