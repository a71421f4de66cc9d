"""Checks of tests: in each test one is made whatever the data are, and it can fail."""

import ast
import re

from library_trees import modules, nodes

# Functions whose result has a value where their arguments have one.
_KEEPING = {
    "Counter", "dict", "enumerate", "itertools.pairwise", "itertools.product", "list", "map",
    "modules", "np.array", "product", "range", "reversed", "set", "sorted", "tuple", "zip",
}  # fmt: skip
# Methods of texts, dictionaries and arrays of which the same is true.
_KEEPING_METHODS = {"items", "keys", "ravel", "split", "splitlines", "values"}


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
        case (
            ast.ListComp(generators=[first, *_])
            | ast.SetComp(generators=[first, *_])
            | ast.DictComp(generators=[first, *_])
            | ast.GeneratorExp(generators=[first, *_])
        ):
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


# -- assertions that nothing can break -------------------------------------------------------------

_COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
# True whatever their values are.
_FILLED_FORMS = (
    _COMPREHENSION | ast.Tuple | ast.List | ast.Set | ast.Dict | ast.JoinedStr | ast.Constant
    | ast.Lambda
)  # fmt: skip


# The end of an expression that is a set.
_SET = re.compile(r"^set\(.*\)$|\.(keys|items)\(\)$")


def is_true_by_its_form(test):
    """Return whether an asserted expression is a list, a text or a constant, true in any case."""
    is_constant = isinstance(test, ast.Name | ast.Attribute) and is_filled(test, set())
    return isinstance(test, _FILLED_FORMS) or is_constant


def has_two_outcomes(test):
    """Return whether an assertion holds if one of two expressions does: a case has one outcome."""
    return isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or)


def comprehensions_of(function):
    """Return {name: comprehension} of the variables that a function sets once, to one."""
    values = {}
    for each in ast.walk(function):
        if isinstance(each, ast.Assign):
            for target in each.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        values.setdefault(name.id, []).append(each.value)
    return {
        name: assigned[0]
        for name, assigned in values.items()
        if len(assigned) == 1 and isinstance(assigned[0], _COMPREHENSION)
    }


def has_condition(values):
    """Return whether a comprehension may leave values out."""
    return isinstance(values, _COMPREHENSION) and any(each.ifs for each in values.generators)


def source_of(values):
    """Return the expression over which a comprehension goes; another expression itself."""
    return values.generators[0].iter if isinstance(values, _COMPREHENSION) else values


def selections_in(array):
    """Yield the variables that select pixels of an array, and comprehensions that fill one."""
    parents = {id(each.value) for each in ast.walk(array) if isinstance(each, ast.Attribute)}
    for each in ast.walk(array):
        if isinstance(each, _COMPREHENSION):
            yield source_of(each)
        elif id(each) not in parents and isinstance(
            getattr(each, "slice", None), ast.Name | ast.Compare
        ):
            yield each.slice


def sources_of_nothing(test, comprehensions):
    """Return the expressions that make an assertion true if all are without a value.

    Parameters
    ----------
    test : ast.expr
        The asserted expression, as `all(...)`, `not any(...)`, `not [...]`, `[...] == []`,
        `{...} <= known`, `{...} == {...}`, `pixels[mask].all()`, `not pixels[part].any()`.
    comprehensions : dict
        Those of variables.

    Returns
    -------
    list of ast.expr
    """
    is_negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    claim = test.operand if is_negated else test
    if isinstance(claim, ast.Name):
        claim = comprehensions.get(claim.id, claim)
    match claim:
        case ast.Call(func=ast.Name(id="all" | "any" as name), args=[values]):
            is_partial = name == "all" and has_condition(values)
            sources = [values if is_partial else source_of(values)]
            return sources if (name == "any") == is_negated else []
        case ast.Call(func=ast.Attribute(value=array, attr="all" | "any" as name)):
            if ast.unparse(array) == "np":
                array = claim.args[0]
            whole = [each.value for each in ast.walk(array) if isinstance(each, ast.Subscript)]
            sources = (whole[:1] if is_negated else []) + [*selections_in(array)][:1]
            return sources if (name == "any") == is_negated else []
        case ast.ListComp() | ast.SetComp() | ast.DictComp() if is_negated:
            return [source_of(claim)] if has_condition(claim) else []
        case ast.Compare(left=left, ops=[ast.Eq() | ast.LtE() as relation], comparators=[right]):
            return sources_of_relation(left, relation, right, comprehensions)
    return []


def sources_of_relation(left, relation, right, comprehensions):
    """Return the expressions that make `left == right` or `left <= right` true without a value.

    Parameters
    ----------
    left : ast.expr
    relation : ast.cmpop
    right : ast.expr
    comprehensions : dict
        Those of variables.

    Returns
    -------
    list of ast.expr
    """
    if isinstance(relation, ast.LtE) and is_filled(left, set()):
        return []
    if isinstance(relation, ast.LtE):
        is_set = isinstance(right, ast.Set | ast.SetComp) or _SET.search(ast.unparse(right))
        return [source_of(left)] if is_set or isinstance(left, _COMPREHENSION) else []
    sides = [comprehensions.get(ast.unparse(each), each) for each in (left, right)]
    if not isinstance(sides[0], _COMPREHENSION):
        return []
    if ast.unparse(right) in ("[]", "{}", "set()"):
        return [source_of(sides[0])] if has_condition(sides[0]) else []
    return [source_of(each) for each in sides] if isinstance(sides[1], _COMPREHENSION) else []


def name_of_source(source):
    """Return the expression whose values a loop goes through, without `sorted`, `.items()`."""
    while True:
        match source:
            case ast.Call(func=function, args=[first, *_]) if ast.unparse(function) in _KEEPING:
                source = first
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _KEEPING_METHODS:
                source = value
            case ast.Subscript(value=value, slice=ast.Slice()):
                source = value
            case _:
                return ast.unparse(source)


def is_evidence(node, name, comprehensions):
    """Return whether a statement may fail where an expression has no value.

    Parameters
    ----------
    node : ast.stmt
    name : str
        The expression, as it is written.
    comprehensions : dict
        Those of variables.

    Returns
    -------
    bool
    """
    whole = rf"(?<![\w.]){re.escape(name)}(?!\w)"
    if isinstance(node, ast.Assert):
        text = ast.unparse(node.test)
        return (
            re.search(whole, text) is not None
            and not sources_of_nothing(node.test, comprehensions)
            and not re.search(r" not in |== (\[\]|\{\}|set\(\))$|^not ", text)
        )
    if isinstance(node, ast.Assign):
        text = ast.unparse(node.value)
        is_unpacked = isinstance(node.targets[0], ast.Tuple | ast.List)
        is_element = re.search(whole + r"\[-?\d+\]", text) is not None
        return (is_unpacked and re.search(whole, text) is not None) or is_element
    return False


def claims_of_nothing(function):
    """Return the assertions of a function that hold where the library finds nothing at all."""
    filled, comprehensions = names_with_values(function), comprehensions_of(function)
    statements = [each for each in ast.walk(function) if isinstance(each, ast.stmt)]
    claims = []
    for claim in (each for each in statements if isinstance(each, ast.Assert)):
        sources = sources_of_nothing(claim.test, comprehensions)
        names = {name_of_source(source) for source in sources}
        names |= {each.id for each in ast.walk(claim.test) if isinstance(each, ast.Name)} & {
            *comprehensions
        }
        if sources and not (
            any(is_filled(source, filled) for source in sources)
            or any(is_evidence(s, name, comprehensions) for s in statements for name in names)
        ):
            claims.append(claim)
    return claims


# {file: variables} of loops that may have no round: what a test draws by chance, or what is left
# of a list whose length the same test asserts.
MAY_BE_EMPTY = {
    "archive.py": {"gone", "records"},
    "kills.py": {"load_ledger"},
    "odd_events.py": {"skipped"},
    "sandbox.py": {"unmade"},
    "test_faults_of_the_system.py": {"wrong"},
    "test_folder_and_disk_faults.py": {"others"},
    "test_list_of_tests.py": {"unnamed"},
    "test_project.py": {"links"},
    "test_scripts.py": {"long_lines"},
    "test_strip_light.py": {"texts"},
    "test_slurm.py": {"left"},
    "test_verify_every_card.py": {"believed"},
    "test_verify_independence.py": {"modules", "strange"},
}


def assertions_of_tests():
    """Return (file, function, assertion) of all assertions in `tests/`."""
    return [
        (module.path.name, function, each)
        for module in modules("tests")
        for function in nodes(module.tree)
        if isinstance(function, ast.FunctionDef)
        for each in ast.walk(function)
        if isinstance(each, ast.Assert)
    ]


def test_no_assertion_is_true_by_its_form_or_has_two_outcomes():
    """A list is true if it has an element; of `a or b`, one half is soon never true."""
    assertions = assertions_of_tests()
    assert len(assertions) > 7000
    assert [
        f"{file}: {ast.unparse(each.test)}"
        for file, _, each in assertions
        if is_true_by_its_form(each.test) or has_two_outcomes(each.test)
    ] == []


def test_no_assertion_on_all_values_holds_without_one():
    """A check that fails for an empty `y` precedes `assert all(f(x) for x in y)`."""
    functions = [
        (module.path.name, function)
        for module in modules("tests")
        for function in nodes(module.tree)
        if isinstance(function, ast.FunctionDef)
    ]
    assert len(functions) > 4000
    without, exempt = [], set()
    for file, function in functions:
        for text in (ast.unparse(each.test) for each in claims_of_nothing(function)):
            names = {name for name in MAY_BE_EMPTY.get(file, ()) if name in text}
            exempt |= {(file, name) for name in names}
            without += [] if names else [f"{file}: {text}"]
    assert without == []
    exemptions = {(file, name) for file, names in MAY_BE_EMPTY.items() for name in names}
    assert exempt == exemptions, "an exemption that nothing needs"


def test_an_assertion_that_is_true_by_its_form_is_seen():
    forms = {
        "[x.startswith(y) for x in z]": True,
        "(x, 'why')": True,
        "f'{x}'": True,
        "paths.FILE": True,
        "x": False,
        "any(x for x in z)": False,
    }
    assert {form: is_true_by_its_form(ast.parse(form).body[0].value) for form in forms} == forms
    assert has_two_outcomes(ast.parse("x in y or x == z").body[0].value)
    assert not has_two_outcomes(ast.parse("x == (y or z)").body[0].value)


def test_an_assertion_that_holds_without_a_value_is_seen():
    bodies = {
        "assert all(x.y)": True,
        "assert all(a for a in x.items())": True,
        "assert all(a for a in ROWS if a.b)": True,
        "assert not any('a' in b for b in x.lines)": True,
        "assert not [a for a in x if 'a' in a]": True,
        "assert [a for a in x if a] == []": True,
        "y = [a for a in x if a]\n    assert y == []": True,
        "assert {a.b for a in x} <= {1, 2}": True,
        "assert set(x) <= {1, 2}": True,
        "assert x.keys() <= y.keys()": True,
        "y = [a.b for a in x]\n    assert [a.b for a in f(z)] == y": True,
        "assert np.isnan([a.b for a in x.values()]).all()": True,
        "assert (x[mask] == 1).all()": True,
        "assert not x[mask].any()": True,
        "assert not x.ravel()[y[:50]].any()": True,
        "assert len(x) < 5\n    assert 'a' not in x\n    assert not x\n    assert all(y)": True,
        "assert len(x) == 2\n    assert all(a for a in x.items())": False,
        "(a,) = x.lines\n    assert not any('a' in b for b in x.lines)": False,
        "assert mask.any()\n    assert (x[mask] == 1).all()": False,
        "assert x.any()\n    assert not x.ravel()[y[:50]].any()": False,
        "assert all(x for x in (1, 2))": False,
        "assert {1} <= x.keys()\n    assert all(a for a in x.items())": False,
        "assert [a for a in x] == []": False,
        "assert (x[:, 5] == 1).all()": False,
        "assert {a: a.b for a in x} == {a: 1 for a in ROWS}": False,
    }
    assert {
        body: claims_of_nothing(ast.parse(f"def test():\n    {body}").body[0]) != []
        for body in bodies
    } == bodies
