"""Each refusal of the library is matched by a test, by its own words."""

import ast
import re
from functools import cache
from pathlib import Path

from library_trees import ROOT, modules, nodes

LIBRARY = ROOT / "scripts" / "ccdflow"
# The errors that ccdflow raises on purpose (`ccdflow.errors`), and those made of them.
ERRORS = re.compile(r"^class (\w+)\((\w+)\):", re.MULTILINE)
# Letters of a refusal that a test has in one piece: "is not a number" stands in many.
FEWEST_LETTERS = 20
# A value in a message, while its text is compared; no text has this letter.
VALUE = "\0"
# Functions that are given the problem and return the error.
MAKERS = {
    "contradiction", "damaged", "damaged_error", "refuse", "reduced_error", "_no_raw_folder",
}  # fmt: skip


@cache
def error_classes():
    """Return the names of the classes of errors on purpose."""
    known, pairs = {"CcdflowError"}, []
    for module in modules():
        if module.is_of_library:
            pairs += ERRORS.findall(module.text)
    for _ in pairs:
        known |= {name for name, base in pairs if base in known}
    return known


def template_of(node, names):
    """Return the text of an expression, with `VALUE` for what only a run knows."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            template_of(each, {}) if isinstance(each, ast.Constant) else VALUE
            for each in node.values
        )
    if isinstance(node, ast.BinOp):
        return template_of(node.left, names) + template_of(node.right, names)
    if isinstance(node, ast.IfExp):
        return template_of(node.body, names) + VALUE + template_of(node.orelse, names)
    if isinstance(node, ast.Name) and node.id in names:
        return template_of(names[node.id], {})
    return VALUE


def refusals(module):
    """Yield (line, template) of the problems that a module raises as errors on purpose."""
    words = error_classes() | MAKERS
    if not any(f"{word}(" in module.text for word in words):
        return
    for outer in [module.tree, *nodes(module.tree)]:
        if not isinstance(outer, ast.Module | ast.FunctionDef):
            continue
        names = {
            each.targets[0].id: each.value
            for each in ast.walk(outer)
            if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
        }
        inner = ast.walk(outer) if isinstance(outer, ast.FunctionDef) else ()
        for call in inner:
            if isinstance(call, ast.Call) and call.args:
                name = getattr(call.func, "attr", getattr(call.func, "id", ""))
                texts = [template_of(each, names) for each in call.args[:2]]
                text = next((each for each in texts if len(words_of(each)) > 1), "")
                if name in words and text:
                    yield call.lineno, text


def words_of(text):
    """Return the words of a text, without quotes, brackets and the signs of regular expressions."""
    return re.sub(r"\W+", " ", text).split()


def pieces_of(words):
    """Yield the shortest run of words from each word on that has `FEWEST_LETTERS`."""
    for first in range(len(words)):
        length = 0
        for last in range(first, len(words)):
            length += len(words[last]) + 1
            if length > FEWEST_LETTERS:
                yield " ".join(words[first : last + 1])
                break


@cache
def texts_of_tests():
    """Return (the words of all tests as one text, their pieces); adjacent literals are joined."""
    texts = []
    for module in modules("tests"):
        if module.path != Path(__file__):
            text = re.sub(r"^ *#.*\n", "", module.text, flags=re.MULTILINE)
            texts.append(re.sub(r'"\s*\n\s*[rf]*"|\\(?=\W)', "", text))
    words = words_of(" | ".join(texts))
    return f" {' '.join(words)} ", set(pieces_of(words))


def is_matched(template):
    """Return whether a test has the words of a refusal: a long piece, or all around its values."""
    text, known = texts_of_tests()
    parts = [words_of(part) for part in template.split(VALUE)]
    pieces = [piece for part in parts for piece in pieces_of(part)]
    if pieces:
        return not known.isdisjoint(pieces)
    longest = max((" ".join(part) for part in parts), key=len)
    whole = ".{1,60}?".join(re.escape(" ".join(part)) for part in parts)
    places = (match.start() for match in re.finditer(f" {longest} ", text))
    return any(re.search(whole, text[max(0, place - 100) : place + 100]) for place in places)


# Errors of other classes that a module raises in its own words.
OTHER_ERRORS = {"EOFError", "JobFailed", "OSError", "RuntimeError", "ValueError"}
# Errors that only the function beside them sees: it gives no answer then, and another one reads.
UNSEEN_ERRORS = {"a header without an end", "not as ccdflow writes it"}


def other_errors(module):
    """Yield (line, template) of the errors of `OTHER_ERRORS` that a module raises."""
    for node in nodes(module.tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            # An error of the system has its number first.
            text = template_of(node.exc.args[-1], {})
            if getattr(node.exc.func, "id", "") in OTHER_ERRORS and len(words_of(text)) > 2:
                yield node.lineno, text


def test_every_error_in_words_of_its_own_is_matched_by_a_test():
    problems = [
        (module.path.relative_to(LIBRARY).as_posix(), line, text)
        for module in modules()
        if module.is_of_library and "verify" not in module.path.parts
        for line, text in other_errors(module)
        if text not in UNSEEN_ERRORS
    ]
    assert len(problems) > 20
    assert [problem for problem in problems if not is_matched(problem[2])] == []


def test_every_refusal_is_matched_by_a_test():
    """A refusal that no test reaches may be one that no user can: its text is never seen."""
    problems = sorted(
        {
            (module.path.relative_to(LIBRARY).as_posix(), line, text)
            for module in modules()
            if module.is_of_library and "verify" not in module.path.parts
            for line, text in refusals(module)
        }
    )
    assert len(problems) > 200
    unmatched = [
        f"{place}:{line} {text.replace(VALUE, '{}')}"
        for place, line, text in problems
        if not is_matched(text)
    ]
    assert unmatched == []


MATCHES = re.compile(r'\bmatch=[rf]*"((?:[^"\\]|\\.)+)"(?! \+)')


def short_matches(text):
    """Return the alternatives of matches in a test's text that have less than two words."""
    return [
        part
        for match in MATCHES.findall(text)
        for part in match.split("|")
        if "{" not in part and len(re.findall(r"[^\W_]{2,}", part)) < 2
    ]


def test_a_test_matches_an_error_by_two_words_or_more():
    """One word, such as a name of a file or "damaged", stands in many errors of other causes."""
    assert short_matches('with pytest.raises(OSError, match=r"damaged|is empty")') == ["damaged"]
    short = [
        (module.path.name, part)
        for module in modules("tests")
        if module.path != Path(__file__)
        for part in short_matches(module.text)
    ]
    assert short == []


# Errors that a test raises itself, that name their cause, or whose text is in the output.
ERRORS_WITHOUT_TEXT = {
    "FileNotFoundError", "IsADirectoryError", "KeyboardInterrupt", "SystemExit",
    "ZeroDivisionError",
}  # fmt: skip


def errors_unread(tree):
    """Yield (line, class) of errors that a test expects without a look at their text."""
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for function in functions:
        names = {each.id for each in ast.walk(function)
                 if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load)}  # fmt: skip
        items = [item for each in ast.walk(function) if isinstance(each, ast.With)
                 for item in each.items]  # fmt: skip
        for item in items:
            call = item.context_expr
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "pytest.raises":
                continue
            error = ast.unparse(call.args[0]).rpartition(".")[2]
            is_kept = getattr(item.optional_vars, "id", "") in names
            if not call.keywords and not is_kept and error not in ERRORS_WITHOUT_TEXT:
                yield call.lineno, error


def test_a_test_looks_at_the_text_of_an_error():
    """The class alone is that of errors of many causes, and of one before the claim's."""
    text = "def test():\n    with pytest.raises(lock.Busy{}:\n        f(){}"
    forms = {
        text.format(")", ""): 1,
        text.format(") as caught", ""): 1,
        text.format(") as caught", "\n    assert str(caught.value)"): 0,
        text.format(", match='a b')", ""): 0,
    }
    assert {form: len(list(errors_unread(ast.parse(form)))) for form in forms} == forms
    unread = [
        f"{module.path.name}:{line}: {error}"
        for module in modules("tests")
        if re.search(r"raises\([\w.]+\)", module.text)
        for line, error in errors_unread(module.tree)
    ]
    assert unread == []


def test_a_refusal_without_a_test_is_seen():
    """A text that stands in no test, and one whose values stand between short pieces."""
    assert not is_matched("no dome is open under this sky")
    assert is_matched("there is nothing to combine")
    assert is_matched(f"{VALUE} values for {VALUE} frames")
