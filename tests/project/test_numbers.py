"""Numbers that decide have a name or a sentence: defaults, and numbers in the middle of code."""

import ast
import re

from library_trees import ROOT, holders, modules, nodes

PLAIN_NUMBERS = {0, 1, -1}
"""Numbers that need no reason: none, one, the identity."""
CONVERSIONS = {0.0, 0.5, 1.0, -1.0, 2.0, 10.0, 100.0, 1e3, 1e6, 1e9, 1e-3}
"""Numbers in code that need none either: halves, percent, thousandths, bytes of a MB, ns of a s."""
SMALL_NUMBERS = range(-9, 10)
"""Whole numbers in code that need no reason: sides of a box, digits, places of a text."""
WHOLE_CONVERSIONS = {
    10, 100, 1000,
    # Months, hours, minutes and seconds; degrees, degrees of an hour.
    12, 24, 60, 3600, 86400, 15, 180, 360,
    # Bits of integers and of FITS pixels, bytes of a checksum and of a hash.
    16, 32, 64, 255, 0xFFFFFFFF,
}  # fmt: skip
"""Whole numbers in code that need none either, by what everybody counts with them."""
DRAWING_PLACES = {
    "pages/pictures": "inches, points and parts of a panel: a person looks at the pictures",
    "simulate/drawing.py": "a detector that was invented",
    "simulate/guide.py": "the guide's night, invented but for its camera",
    "simulate/observing_log.py": "an archive that was invented",
    "simulate/optics.py": "dust and vignetting that were invented",
    "simulate/raw_cards.py": "cards of the guide's raw frames",
}
"""Modules without numbers that decide, and the numbers that they have."""
DECIDING_MODULES = {"pages/pictures/scales.py", "pages/pictures/small_picture.py"}
"""Modules below those that do decide: on the range of a scale, and on its colours."""
MATCHING_FOLDER = "kinds/matching/"
"""Values of an unknown detector, by docs/masters.md."""


def place_in_library(module):
    parts = module.path.relative_to(ROOT).parts
    return "/".join(parts[parts.index("ccdflow") + 1 :])


def is_invented(place):
    return place not in DECIDING_MODULES and any(place.startswith(one) for one in DRAWING_PLACES)


def numbers_in(node):
    return [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and type(each.value) in (int, float)
    ]


def is_dataclass(node):
    return isinstance(node, ast.ClassDef) and any(
        "dataclass" in ast.unparse(each) for each in node.decorator_list
    )


def defaults_of(node):
    """Yield (name, default) of the fields of a dataclass, or of the arguments of a function."""
    if is_dataclass(node):
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and each.value is not None:
                yield each.target.id, each.value
    elif isinstance(node, ast.FunctionDef):
        given = node.args
        positional = [*given.posonlyargs, *given.args]
        last = positional[len(positional) - len(given.defaults) :]
        both = [*zip(last, given.defaults, strict=True)]
        both += zip(given.kwonlyargs, given.kw_defaults, strict=True)
        yield from ((each.arg, default) for each, default in both if default is not None)


def entry_of(docstring, name):
    """Return the lines of a docstring on a parameter or attribute; '' where there are none."""
    lines = (docstring or "").splitlines()
    for number, line in enumerate(lines):
        head, colon, _ = line.partition(" : ")
        if colon and not line.startswith(" ") and name in re.split(r", ?", head):
            inner = []
            for each in lines[number + 1 :]:
                if each and not each.startswith(" "):
                    break
                inner.append(each.strip())
            return " ".join(inner)
    return ""


# A sentence on all defaults of a class or function, in place of one in each entry.
_SENTENCE_ON_DEFAULTS = re.compile(
    r"^The defaults are |; the default is |, as `LinearScale.ticks`", re.MULTILINE
)


def has_own_entry(node, place):
    """Whether a class or function has a docstring with entries, and numbers that decide."""
    return is_dataclass(node) or not (
        isinstance(node, ast.FunctionDef) and (node.name.startswith("_") or is_invented(place))
    )


def test_a_default_with_a_number_has_a_sentence_on_it():
    """ "The default ..." in its entry: the reason, the source, or "chosen: ..."."""
    without, count = [], 0
    for module in modules():
        if not module.is_of_library or place_in_library(module).startswith(MATCHING_FOLDER):
            continue
        place = place_in_library(module)
        for node in holders(module):
            for name, default in defaults_of(node) if has_own_entry(node, place) else ():
                if name.startswith("_") or set(numbers_in(default)) <= PLAIN_NUMBERS:
                    continue
                count += 1
                docstring = ast.get_docstring(node) or ""
                entry = entry_of(docstring, name)
                if not (
                    re.search(r"\b[Dd]efaults?\b", entry) or _SENTENCE_ON_DEFAULTS.search(docstring)
                ):
                    without.append(f"{place}:{node.lineno} {node.name}: {name}")
    assert count > 60
    assert without == [], "\n".join(without)


def needs_reason(number):
    """Return whether a number in code is one that needs a name or a comment."""
    if type(number) is float:
        return number not in CONVERSIONS
    return type(number) is int and number not in SMALL_NUMBERS and number not in WHOLE_CONVERSIONS


def excused_numbers(tree):
    """Return the ids of whole numbers that are a place in a text, or have their argument's name."""
    return {
        id(number)
        for each in nodes(tree)
        if isinstance(each, ast.Slice | ast.keyword)
        for number in ast.walk(each)
        if isinstance(number, ast.Constant) and type(number.value) is int
    }


def statements_with_numbers(tree):
    """Return (innermost statement, number) of the numbers in functions that need a reason."""
    excused = excused_numbers(tree)
    numbers = [
        each
        for each in nodes(tree)
        if isinstance(each, ast.Constant) and needs_reason(each.value) and id(each) not in excused
    ]
    if not numbers:
        return []
    functions = [each for each in nodes(tree) if isinstance(each, ast.FunctionDef)]
    bodies = [(each.body[0].lineno, each.end_lineno) for each in functions]
    statements = [each for each in nodes(tree) if isinstance(each, ast.stmt)]
    found_in = []
    for number in numbers:
        line = number.lineno
        if any(first <= line <= last for first, last in bodies):
            around = [each for each in statements if each.lineno <= line <= each.end_lineno]
            found_in.append((max(around, key=lambda each: each.lineno), number.value))
    return found_in


def test_a_number_in_code_has_a_name_or_a_comment():
    """A comment in its statement or on the line above it; a named constant has one anyway."""
    without, count = set(), 0
    for module in modules():
        # The pictures' functions have names for their sizes; those of the simulations are invented.
        place = place_in_library(module) if module.is_of_library else ""
        if not place or (is_invented(place) and not place.startswith("pages")):
            continue
        lines = module.text.splitlines()
        for statement, number in statements_with_numbers(module.tree):
            count += 1
            # Of a compound statement the head alone, up to its first inner statement.
            inner = [each.lineno for each in ast.walk(statement) if isinstance(each, ast.stmt)]
            end = min([line for line in inner if line > statement.lineno], default=None)
            end = statement.end_lineno if end is None else end - 1
            text = lines[statement.lineno - 2 : end]
            if not (text[0].lstrip().startswith("# ") or any(" # " in line for line in text[1:])):
                without.add(f"{place}:{statement.lineno} {number}: {text[1].strip()}")
    assert count > 30
    assert without == set(), "\n".join(sorted(without))


def test_a_whole_number_is_seen_where_nothing_names_it():
    text = "def f(x):\n    return g(x[12:80], order=40) + 12 * x - 240 if x < 86401 else 7"
    assert {number for _, number in statements_with_numbers(ast.parse(text))} == {240, 86401}


def test_a_guard_against_rounding_is_a_number_like_others():
    """A number that keeps a quotient from 0/0 or a comparison from the last bit has a reason."""
    text = "def f(x):\n    return 1 / max(x, 1e-9) + 0.5 * x - 0.3"
    assert {number for _, number in statements_with_numbers(ast.parse(text))} == {1e-9, 0.3}
