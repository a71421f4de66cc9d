"""No handler takes a fault of the program for one of a file: it passes the error on, or tells."""

import ast

from library_trees import ROOT, modules, nodes

BROAD_ERRORS = {"Exception", "BaseException"}
"""A handler of these catches every mistake of the code in its block."""
PROGRAMMING_ERRORS = {"AttributeError", "TypeError", "NameError", "LookupError", "AssertionError"}
"""Classes of errors that mistakes of the code mostly have."""
MOST_STATEMENTS = 3
"""Statements between `try` and such a class: few enough to see that the error is another's."""


def names_in(node):
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def classes_of(handler, constants):
    """Return the names of the classes that a handler catches, those of a module's tuple as well."""
    names = names_in(handler.type) if handler.type else BROAD_ERRORS
    return set().union(names, *(constants.get(name, ()) for name in names))


def passes_on(handler):
    """Whether a handler asks whose fault an error is, raises, keeps or logs it."""
    for node in ast.walk(handler):
        if isinstance(node, ast.Raise) and node.exc is None:
            return True
        if isinstance(node, ast.Call):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            is_error = any(isinstance(one, ast.Name) and one.id == handler.name for one in given)
            # The text of an error has no traceback; `isinstance` looks at its class alone.
            if called == "format_exc" or (
                is_error and called not in {"str", "repr", "isinstance", "one_line", "getattr"}
            ):
                return True
        is_kept = isinstance(node, ast.Assign) and handler.name in names_in(node.value)
        if is_kept and any(isinstance(target, ast.Attribute) for target in node.targets):
            return True
    return False


def statements_in(block):
    return sum(isinstance(each, ast.stmt) for one in block for each in ast.walk(one))


def hiding_handlers(tree):
    """Return the lines of a module's handlers that hide mistakes of the code, and their number."""
    constants = {
        target.id: names_in(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    lines, handlers = [], 0
    for node in nodes(tree):
        for handler in node.handlers if isinstance(node, ast.Try) else ():
            names = classes_of(handler, constants)
            handlers += 1
            is_long = statements_in(node.body) > MOST_STATEMENTS
            if (names & BROAD_ERRORS or (names & PROGRAMMING_ERRORS and is_long)) and not passes_on(
                handler
            ):
                lines.append(handler.lineno)
    return lines, handlers


def test_no_handler_hides_a_mistake_of_the_code():
    hidden, handlers = [], 0
    for module in modules():
        lines, count = hiding_handlers(module.tree) if "except" in module.text else ([], 0)
        hidden += [f"{module.path.relative_to(ROOT)}:{line}" for line in lines]
        handlers += count
    assert handlers > 200
    assert hidden == [], "\n".join(hidden)


def test_a_handler_that_hides_is_found():
    text = """
_ERRORS = (ValueError, TypeError)
def verdict():
    try:
        a = 1
        b = 2
        c = 3
        d = a + b + c
    except _ERRORS as error:
        return f"the header cannot be followed: {error}"
    try:
        d = 4
    except Exception as error:
        return str(error)
    try:
        d = 4
    except Exception as error:
        log(error)
    try:
        d = 4
    except TypeError:
        return None
"""
    assert hiding_handlers(ast.parse(text)) == ([9, 13], 4)
