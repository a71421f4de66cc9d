"""Checks of tests: in each test one is made whatever the data are."""

import ast
import re

from library_trees import modules, nodes

# Functions whose result has a value where their arguments have one.
_KEEPING = {
    "enumerate", "itertools.pairwise", "itertools.product", "list", "map", "np.array", "product",
    "range", "reversed", "set", "sorted", "tuple", "zip",
}  # fmt: skip
# Methods of texts and dictionaries of which the same is true.
_KEEPING_METHODS = {"items", "keys", "split", "splitlines", "values"}


def is_filled(source, names):
    """Return whether the writing of an expression tells that it has a value to loop over.

    Parameters
    ----------
    source : ast.expr
    names : set of str
        Arguments of the test's table and variables that have values for the same reason.

    Returns
    -------
    bool
    """
    match source:
        case ast.Constant():
            return True
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return bool(parts)
        case ast.Dict(keys=parts):
            return bool(parts)
        case ast.Name(id=name):
            return name.strip("_").isupper() or name in names
        case ast.Attribute(attr=name):
            return name.strip("_").isupper()
        case ast.Subscript(value=value):
            return is_filled(value, names)
        case ast.BinOp(left=left, right=right):
            return is_filled(left, names) or is_filled(right, names)
        case ast.IfExp(body=body, orelse=other):
            return is_filled(body, names) and is_filled(other, names)
        case ast.ListComp(generators=[first, *_]) | ast.GeneratorExp(generators=[first, *_]):
            return is_filled(first.iter, names) and not first.ifs
        case ast.Call(func=function, args=arguments):
            name = ast.unparse(function)
            if name in _KEEPING:
                # Where lengths have to agree, one of them gives the others.
                is_strict = name == "zip" and "strict=True" in ast.unparse(source)
                are_filled = [is_filled(each, names) for each in arguments[name == "map" :]]
                return any(are_filled) if is_strict else all(are_filled)
            is_method = isinstance(function, ast.Attribute) and function.attr in _KEEPING_METHODS
            return is_method and is_filled(function.value, names)
    return False


def is_check(node):
    """Return whether a statement is an assertion, a call of one, or expects an error."""
    if isinstance(node, ast.With):
        return any("raises" in ast.unparse(item.context_expr) for item in node.items)
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return isinstance(node, ast.Assert) or (
        is_call and re.search("assert|check", ast.unparse(node.value.func)) is not None
    )


def has_sure_check(statements, names):
    """Return whether one of some statements is a check that is made in any case."""
    for each in statements:
        inner = []
        if isinstance(each, ast.With | ast.Try):
            inner = [each.body]
        elif isinstance(each, ast.If):
            inner = [each.body, each.orelse]
        elif isinstance(each, ast.For) and is_filled(each.iter, names):
            inner = [each.body]
        if is_check(each) or (inner and all(has_sure_check(body, names) for body in inner)):
            return True
    return False


def names_with_values(test):
    """Return the names of a test's arguments and variables that have a value to loop over."""
    names = set()
    for each in test.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("parametrize"):
            names |= set(re.findall(r"\w+", ast.unparse(each.args[0])))
    for each in ast.walk(test):
        if isinstance(each, ast.Assign) and is_filled(each.value, names):
            names |= {target.id for target in each.targets if isinstance(target, ast.Name)}
    return names


def is_evasive(test):
    """Return whether all checks of a test stand where they may be left out."""
    if has_sure_check(test.body, set()) or not any(is_check(each) for each in ast.walk(test)):
        return False
    return not has_sure_check(test.body, names_with_values(test))


def test_each_test_has_a_check_that_is_made_whatever_the_data_are():
    """A loop over a result may have no round: the number of its values is asserted before it."""
    tests = [
        (module.path.name, each)
        for module in modules("tests")
        for each in nodes(module.tree)
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    ]
    assert len(tests) > 2000
    assert [f"{file}: {test.name}" for file, test in tests if is_evasive(test)] == []


def test_a_test_whose_checks_may_be_left_out_is_seen():
    bodies = {
        "for x in f(): assert x": True,
        "for x in [a for a in (1, 2) if a > y]: assert x": True,
        "if f():\n        assert x": True,
        "for x in (): assert x": True,
        "with f():\n        for x in f(): assert x": True,
        "for x, y in zip(f(), g(), strict=True): assert x": True,
        "for x in (1, 2): assert x": False,
        "for x, y in zip(f(), ROWS, strict=True): assert x": False,
        "for x in sorted(ROWS.items()): assert x": False,
        "if f():\n        assert x\n    else:\n        assert y": False,
        "values = f()\n    assert len(values) == 2\n    for x in values: assert x": False,
        "f()": False,
    }
    assert {
        body: is_evasive(ast.parse(f"def test():\n    {body}").body[0]) for body in bodies
    } == bodies
