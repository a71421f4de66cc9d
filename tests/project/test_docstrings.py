"""Docstrings have the sections that a caller needs, and their examples give what they say."""

import ast
import builtins
import doctest
import importlib
import importlib.util
import itertools
import re
from functools import cache
from itertools import pairwise

import pytest
from library_trees import ROOT, docstring_of, holders, modules, nodes

SCRIPTS = ROOT / "scripts"
WITH_EXAMPLES = [
    ".".join(module.path.relative_to(SCRIPTS).with_suffix("").parts)
    for module in modules()
    if ">>>" in module.text and module.is_of_library
]
# In the order of numpydoc.
SECTIONS = [
    "Parameters", "Attributes", "Returns", "Yields", "Raises", "See Also", "Notes", "References",
    "Examples",
]  # fmt: skip
BEGINS_WITH_WHAT = re.compile(r'(?:#:? |""")(?:(?:Return|Yield|Note)s? )?[Ww]hat ')


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_their_output(name, capsys):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert failed == 0, capsys.readouterr().out
    assert tried > 0, f"the >>> of {name} are in no docstring"


def public_functions(body, holder=None):
    """Yield (class or None, function) of the public functions and methods of a body."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield holder, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, node)


def public():
    """Return [(place, function, docstring, whether a base class documents it)]."""
    return [
        (
            f"{path.relative_to(SCRIPTS)}: {node.name}",
            node,
            ast.get_docstring(node) or "",
            holder is not None and is_inherited(holder, node.name),
        )
        for path, _, tree in modules()
        for holder, node in public_functions(tree.body)
    ]


@cache
def classes():
    """Return {name: syntax tree} of all classes."""
    nodes = (node for module in modules() for node in holders(module))
    return {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}


def is_inherited(holder, name):
    """Return whether a base class, or its base, has a method of this name."""
    for base in holder.bases:
        known = getattr(base, "attr", getattr(base, "id", ""))
        known_class = classes().get(known)
        if known_class is None:
            if hasattr(getattr(builtins, known, None), name):
                return True
        elif is_inherited(known_class, name) or any(
            isinstance(node, ast.FunctionDef) and node.name == name for node in known_class.body
        ):
            return True
    return False


def parameters(node):
    """Return the parameters of a function that a caller gives."""
    a = node.args
    given = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
    return [arg.arg for arg in given if arg.arg not in ("self", "cls")]


def raised_names(node):
    """Return the names behind `raise` in a function: errors, and functions that make errors.

    An abstract method is not called: `NotImplementedError` is for the author of its class.
    """
    names = set()
    for each in own_nodes(node):
        if isinstance(each, ast.Raise) and each.exc is not None:
            made = each.exc.func if isinstance(each.exc, ast.Call) else each.exc
            names.add(getattr(made, "attr", getattr(made, "id", "")))
    return names - {"NotImplementedError"}


@cache
def bases(name):
    """Return the names of a class of errors, and of all that it inherits below `Exception`."""
    known = classes().get(name)
    parts = {ast.unparse(base).rpartition(".")[2] for base in known.bases} if known else set()
    return {name}.union(*map(bases, parts - {"Exception"}))


def errors_of(text):
    """Return the names of the errors in the section Raises of a docstring."""
    section = re.search(r"^Raises\n-+\n(.*?)(?=\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\S.*", section[1], re.MULTILINE) if section else []
    return {name for line in lines for name in re.findall(r"\w+", line)}


def has_section(text, name):
    return re.search(rf"^(?:Other )?{name}\n-+$", text, re.MULTILINE) is not None


def test_long_private_functions_have_a_docstring():
    """Those of nine lines and more."""
    lacking = [
        f"{module.path.relative_to(SCRIPTS)}: {node.name}"
        for module in modules()
        for node in nodes(module.tree)
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("__")
        if node.end_lineno - node.lineno >= 8 and not ast.get_docstring(node)
    ]
    assert lacking == []


def test_private_functions_of_modules_have_a_docstring():
    """But for those of one statement in one line, whose name may say all."""
    functions = [
        (f"{module.path.relative_to(SCRIPTS)}: {node.name}", node)
        for module in modules()
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_")
    ]
    assert len(functions) > 1400
    assert [
        place
        for place, node in functions
        if node.end_lineno - node.body[0].lineno > 0 and not ast.get_docstring(node)
    ] == []


def test_two_parameters_or_more_are_described():
    lacking = [
        place
        for place, node, text, is_known in public()
        if len(parameters(node)) > 1 and not is_known and not has_section(text, "Parameters")
    ]
    assert any(public())
    assert lacking == []


def test_four_parameters_or_more_of_a_private_function_are_described():
    lacking = [
        f"{module.path.relative_to(SCRIPTS)}: {node.name}"
        for module in modules()
        for node in nodes(module.tree)
        if isinstance(node, ast.FunctionDef) and len(parameters(node)) > 3
        if node.name.startswith("_") and not node.name.startswith("__")
        if not has_section(ast.get_docstring(node) or "", "Parameters")
    ]
    assert lacking == []


def test_the_call_of_a_callable_among_the_parameters_is_described():
    """Arguments and result are in no other place."""
    callables = [
        (f"{module.path.relative_to(SCRIPTS)}: {line.strip()}", next_line, indent)
        for module in modules()
        for line, next_line in pairwise(module.path.read_text("utf-8").splitlines())
        for indent in re.findall(r"^( +)[a-z_, ]+ : .*\bcallable(?:, optional| or None)?$", line)
    ]
    assert len(callables) > 30
    assert [
        place for place, next_line, indent in callables if not next_line.startswith(f"{indent}    ")
    ] == []


def constructors():
    """Return [(place, `__init__`, docstring of the class)] of all classes that write their own."""
    return [
        (f"{module.path.relative_to(SCRIPTS)}: {holder.name}", node, ast.get_docstring(holder))
        for module in modules()
        for holder in holders(module)
        if isinstance(holder, ast.ClassDef)
        for node in holder.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    ]


def test_two_values_or_more_of_a_class_are_described():
    lacking = [
        place
        for place, node, text in constructors()
        if len(parameters(node)) > 1 and not has_section(text or "", "Parameters")
    ]
    assert any(constructors())
    assert lacking == []


def dataclasses():
    """Return [(place, class, docstring)] of the dataclasses of the library and the scripts."""
    return [
        (f"{module.path.relative_to(SCRIPTS)}: {holder.name}", holder, ast.get_docstring(holder))
        for module in modules()
        for holder in holders(module)
        if isinstance(holder, ast.ClassDef)
        and any("dataclass" in ast.unparse(each) for each in holder.decorator_list)
    ]


def test_values_of_a_dataclass_are_attributes():
    """Not Parameters: a reader of `image.noise` elsewhere looks for an attribute."""
    assert len(dataclasses()) > 200
    wrong = []
    for place, node, text in dataclasses():
        if has_section(text or "", "Parameters"):
            wrong.append(f"{place}: Parameters")
        section = re.search(
            r"^Attributes\n-+\n(.*?)(?=\n\n\S|\Z)", text or "", re.DOTALL | re.MULTILINE
        )
        lines = re.findall(r"^(\w[^:\n]*?)(?: :.*)?$", section[1] if section else "", re.MULTILINE)
        named = {name.strip() for line in lines for name in line.split(",")}
        own = {
            getattr(each, "name", ast.unparse(getattr(each, "target", each))) for each in node.body
        }
        inherits = node.bases != []
        wrong += [f"{place}: {name}" for name in sorted(named - own) if not inherits]
    assert wrong == []


def test_a_list_of_attributes_is_complete():
    """A field that came later is described as the others are."""
    lacking, described = [], 0
    for place, node, text in dataclasses():
        section = re.search(r"^Attributes\n-+\n(.*?)(?=\n\n\S|\Z)", text or "", re.DOTALL | re.M)
        if section is None:
            continue
        described += 1
        lines = re.findall(r"^(\w[^:\n]*?)(?: :.*)?$", section[1], re.MULTILINE)
        named = {name.strip() for line in lines for name in line.split(",")}
        fields = {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and not each.target.id.startswith("_")
        }
        lacking += [f"{place}: {name}" for name in sorted(fields - named)]
    assert lacking == [], f"fields that their class does not describe: {lacking}"
    assert described > 100


# Fields of a dataclass or a NamedTuple that one sentence can still describe.
FEW_FIELDS = 5


def test_six_fields_or_more_are_described():
    """Private classes too: ten fields without a word sent a reader through the whole module."""
    made, lacking = 0, []
    for module in modules():
        for node in holders(module):
            if not isinstance(node, ast.ClassDef):
                continue
            makers = map(ast.unparse, [*node.decorator_list, *node.bases])
            names = [
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and not each.target.id.startswith("_")
            ]
            if len(names) > FEW_FIELDS and re.search("dataclass|NamedTuple", " ".join(makers)):
                made += 1
                if not has_section(ast.get_docstring(node) or "", "Attributes"):
                    lacking.append(f"{module.path.relative_to(SCRIPTS)}: {node.name}")
    assert lacking == []
    assert made > 80


def test_a_property_is_described_once():
    """In its own docstring, and not in the section Attributes as well."""
    twice, properties = [], 0
    for place, node, text in dataclasses():
        section = re.search(r"^Attributes\n-+\n(.*?)(?=\n\n\S|\Z)", text or "", re.DOTALL | re.M)
        lines = re.findall(r"^(\w[^:\n]*?)(?: :.*)?$", section[1] if section else "", re.MULTILINE)
        named = {name.strip() for line in lines for name in line.split(",")}
        own = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
        twice += [f"{place}: {name}" for name in sorted(named & own)]
        properties += len(own)
    assert twice == []
    assert properties > 300


def test_described_parameters_are_those_of_the_function():
    wrong = []
    described = [
        (f"{module.path.relative_to(SCRIPTS)}: {node.name}", node, ast.get_docstring(node))
        for module in modules()
        for node in nodes(module.tree)
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(described) > 3000
    for place, node, text in described + constructors():
        section = re.search(
            r"^Parameters\n-+\n(.*?)(?=\n\n|\Z)", text or "", re.DOTALL | re.MULTILINE
        )
        if section is None:
            continue
        lines = re.findall(r"^(\S[^:\n]*?)(?: :.*)?$", section[1], re.MULTILINE)
        names = [name.strip("* ") for line in lines for name in line.split(",")]
        wrong += [(place, name) for name in names if name not in parameters(node)]
        # A private function describes all its parameters or none.
        is_private = node.name.startswith("_") and node.name != "__init__"
        wrong += [(place, name) for name in parameters(node) if is_private and name not in names]
    assert wrong == []


def untyped_entries(text):
    """Return the entries of Parameters and Attributes without ` : type`.

    "See `f`" and "As ..." below an entry name the place that has the type.
    """
    untyped = []
    sections = r"^(?:Other )?(?:Parameters|Attributes)\n-+\n(.*?)(?=\n\n\S[^\n]*\n-|\Z)"
    for lines in re.findall(sections, text, re.DOTALL | re.MULTILINE):
        entries = re.findall(r"^(\S.*)((?:\n(?: .*)?)*)", lines, re.MULTILINE)
        untyped += [
            entry
            for entry, below in entries
            if " : " not in entry and not re.match(r"(?:See|As) ", below.strip())
        ]
    return untyped


def test_each_parameter_has_a_type():
    """ "The history of the product" leaves open which of three classes `account` is."""
    wrong, entries = [], 0
    for module in modules():
        for holder in holders(module):
            text = ast.get_docstring(holder) or ""
            entries += text.count(" : ")
            place = f"{module.path.relative_to(SCRIPTS)}: {getattr(holder, 'name', '')}"
            wrong += [f"{place}: {entry}" for entry in untyped_entries(text)]
    assert wrong == []
    assert entries > 5000


def test_an_entry_without_a_type_is_seen():
    entries = "a\n    The first.\n\n    More.\nb, c : int\nd\n    As in `f`.\n*e\n    See `g`."
    text = f"Do.\n\nParameters\n----------\n{entries}\n\nReturns\n-------\nint"
    assert untyped_entries(text) == ["a"]


def test_a_container_has_the_type_of_its_items():
    """``dict of str to Job``: a reader of the call need not look it up."""
    bare, places = [], 0
    kinds = "list|dict|tuple|sequence|mapping|iterable|iterator|set|frozenset"
    untyped = rf"^(?:\*?\w[\w, ]* : )?(?:{kinds})(?: or None)?(?:, optional)?$"
    for module in modules():
        for holder in holders(module):
            text = ast.get_docstring(holder) or ""
            places += " of " in text
            place = f"{module.path.relative_to(SCRIPTS)}: {getattr(holder, 'name', '')}"
            entries = re.findall(untyped, text, re.MULTILINE)
            bare += [(place, entry) for entry in entries]
    assert bare == []
    assert places > 3000
    assert re.findall(untyped, "a : list\nb : list of int\ndict or None", re.MULTILINE) == [
        "a : list",
        "dict or None",
    ]


def test_a_box_has_width_and_height_in_inches_or_right_and_bottom_in_pixels():
    """`PlotPanel` and `draw_image` take the first, `Raster.polyline` the second."""
    boxes = [
        entry
        for module in modules()
        for holder in holders(module)
        if "pictures" in module.path.parts
        for entry in re.findall(
            r"^box : (.*)\n +Left, top, (\w+ and \w+)",
            ast.get_docstring(holder) or "",
            re.MULTILINE,
        )
    ]
    assert len(boxes) == 10
    assert set(boxes) == {
        ("(float, float, float, float)", "width and height"),
        ("(int, int, int, int)", "right and bottom"),
    }


# Values without names of their own: keys to sort, compare or look up by, boxes, cells of a table,
# cards. A caller takes each of them as a whole.
WHOLE_TUPLES = {
    ("files/fits_products/hdus.py", "version_cards"),
    ("files/text_files/note_columns.py", "_stamp_of_open_file"),
    ("kinds/calibrating/master_help.py", "_effect_cells"),
    ("kinds/reporting/frame_pictures.py", "_corners_of_region"),
    ("kinds/matching/pairs.py", "rank_of"), ("kinds/measuring/trend_series.py", "key"),
    ("kinds/forecasting/coverage.py", "_setup_and_label_values"),
    ("kinds/forecasting/coverage.py", "_label_order"),
    ("kinds/reducing/reduce_job.py", "header_form"),
    ("kinds/reducing/frame_warnings.py", "_setup_of_noise"),
    ("kinds/calibrating/master_ageing.py", "cells"), ("kinds/measuring/shutter.py", "_table_cells"),
    ("kinds/measuring/detector_measurement.py", "_figure_cells"),
    ("kinds/measuring/trends.py", "_step_cells"), ("pages/pictures/plot_panel.py", "corners"),
    ("pages/pictures/night_axis.py", "night_panel_box"),
    ("run/raw_frames/inventory_table.py", "cells"), ("simulate/drawing.py", "pixel_counts"),
    ("verify/comparing/card_order.py", "_rank_of"),
}  # fmt: skip


def values_in(node):
    """Return the number of values in a tuple, also in `tuple(f(x) for x in (1, 2, 3, 4))`."""
    is_made = isinstance(node, ast.Call) and ast.unparse(node.func) == "tuple" and node.args
    if is_made and isinstance(node.args[0], ast.GeneratorExp):
        node = node.args[0].generators[0].iter
    return len(node.elts) if isinstance(node, ast.Tuple) else 0


def test_values_of_a_made_tuple_are_counted():
    made = ast.parse("tuple(float(x[0]) for x in (a, b, c, d))", mode="eval").body
    assert values_in(made) == values_in(ast.parse("1, 2, 3, 4", mode="eval").body) == 4
    assert values_in(ast.parse("tuple(x for x in row)", mode="eval").body) == values_in(None) == 0


def test_a_function_that_returns_four_values_names_them():
    """A `NamedTuple`, not four bare values: a reader of the call knows `fit.error`, not `[3]`."""
    bare, whole = [], set()
    for module in modules():
        for node in nodes(module.tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            entries = re.search(
                r"^(?:Returns|Yields)\n-+\n(.*?)(?=\n\n\S|\Z)",
                ast.get_docstring(node) or "",
                re.DOTALL | re.MULTILINE,
            )
            lines = re.findall(r"^\S.*", entries[1], re.MULTILINE) if entries else []
            named = [
                name for line in lines if " : " in line for name in line.split(" : ")[0].split(",")
            ]
            sizes = [
                values_in(each.value) for each in own_nodes(node) if isinstance(each, ast.Return)
            ]
            if len(named) > 3 or max(sizes, default=0) > 3:
                place = module.path.relative_to(SCRIPTS).as_posix().removeprefix("ccdflow/")
                if (place, node.name) in WHOLE_TUPLES:
                    whole.add((place, node.name))
                else:
                    bare.append(f"{place}: {node.name}")
    assert bare == []
    assert whole == WHOLE_TUPLES, "an exemption that nothing needs"


def test_errors_for_the_caller_are_named():
    """Each class, or a base of it; of a class that a function chooses, any.

    A caller of `run/nights/` or `verify/` lives by their signals: the classes that are errors to
    no user, docs/architecture.md. Methods of private classes are called from elsewhere, too.
    """
    lacking, seen = [], set()
    for place, node, text in called_from_elsewhere():
        named = errors_of(text)
        for error in raised_names(node):
            is_class = error in error_classes() | signals() or hasattr(builtins, error)
            seen.add(error)
            if not (bases(error) & named if is_class else named):
                lacking.append(f"{place}: {error}")
    assert lacking == []
    assert {"TooLittleMemory", "Differs", "NeedsWholePlan", "JobFailed", "FrameError"} <= seen


def nodes_outside_try(node):
    """Yield the syntax trees below a function, without those whose errors it may catch itself."""
    left = [*node.body]
    while left:
        each = left.pop()
        if isinstance(each, ast.Try) and each.handlers:
            left += [*each.handlers, *each.orelse, *each.finalbody]
            continue
        yield each
        if not isinstance(each, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            left += ast.iter_child_nodes(each)


def own_calls(node):
    """Return the names of the functions, and of the methods of its class, that a function calls."""
    names = set()
    for each in nodes_outside_try(node):
        if isinstance(each, ast.Call):
            is_method = ast.unparse(each.func).partition(".")[0] in ("self", "cls")
            names.add(getattr(each.func, "attr" if is_method else "id", ""))
    return names


def errors_by_private_function(module):
    """Return {private function: the classes of errors that it raises}, itself or by others."""
    functions = {}
    for holder in holders(module):
        for node in holder.body if isinstance(holder, ast.Module | ast.ClassDef) else ():
            if isinstance(node, ast.FunctionDef) and node.name.startswith("_"):
                functions.setdefault(node.name, []).append(node)
    # A method that several classes of a module have is not looked at.
    single = {name: nodes[0] for name, nodes in functions.items() if len(nodes) == 1}
    classes_of_errors = error_classes() | signals()
    errors = {name: raised_names(node) & classes_of_errors for name, node in single.items()}
    calls = {name: own_calls(node) & single.keys() for name, node in single.items()}
    while True:
        more = {name: errors[name].union(*map(errors.get, calls[name])) for name in single}
        if more == errors:
            return errors
        errors = more


def test_errors_of_private_functions_are_named_where_they_are_called():
    """A caller sees no private function: its errors are those of the public one that calls it."""
    lacking, seen = [], 0
    for module in modules():
        errors = errors_by_private_function(module)
        for place, node, text in called_from_elsewhere(module) if any(errors.values()) else ():
            through = set().union(*(errors.get(name, set()) for name in own_calls(node)))
            seen += bool(through)
            named = errors_of(text)
            lacking += [f"{place}: {error}" for error in through if not bases(error) & named]
    assert lacking == []
    assert seen > 60


def test_a_function_whose_first_word_is_raise_says_of_each_error_when():
    """A function may raise through another one, which has the section as well or is private."""
    begun = [each for each in called_from_elsewhere() if re.match("Raises? ", each[2])]
    assert len(begun) > 20
    assert [place for place, _, text in begun if not has_section(text, "Raises")] == []


def called_from_elsewhere(*only):
    """Return [(place, function, docstring)] of functions and methods without underscore.

    Parameters
    ----------
    *only : library_trees.Module
        Default: all modules.
    """
    return [
        (f"{module.path.relative_to(SCRIPTS)}: {node.name}", node, ast.get_docstring(node) or "")
        for module in only or modules()
        for holder in holders(module)
        if isinstance(holder, ast.Module | ast.ClassDef)
        for node in holder.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


def test_sections_are_in_the_order_of_numpydoc():
    """An example above Parameters is shown as a part of the summary."""
    wrong, sections = [], 0
    for module in modules():
        for holder in holders(module):
            text = ast.get_docstring(holder) or ""
            titles = re.findall(r"^([A-Z][A-Za-z ]+)\n-{3,}$", text, re.MULTILINE)
            sections += len(titles)
            ranks = [SECTIONS.index(title) for title in titles]
            if ranks != sorted(set(ranks)):
                wrong.append(f"{module.path.relative_to(SCRIPTS)}: {holder.name}: {titles}")
    assert wrong == []
    assert sections > 3000


def test_examples_stand_below_their_heading():
    """`Examples` is the last section, so that each `>>>` is below it, and nothing else is lost."""
    wrong, examples = [], 0
    for module in modules():
        for holder in holders(module) if ">>>" in module.text else ():
            text = ast.get_docstring(holder) or ""
            before, heading, _ = text.partition("\nExamples\n--------\n")
            examples += ">>>" in text
            if ">>>" in text and (not heading or ">>>" in before):
                wrong.append(f"{module.path.relative_to(SCRIPTS)}: {holder.name}")
    assert wrong == []
    assert examples > 120


def types_of(text):
    """Yield the types that the sections of a docstring name: their last part is capitalised."""
    sections = r"^(Parameters|Returns|Yields|Raises|Attributes)\n-+\n(.*?)(?=\n\n\S[^\n]*\n-|\Z)"
    for title, lines in re.findall(sections, text, re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^\S.*", lines, re.MULTILINE):
            _, colon, kind = line.partition(" : ")
            if colon or title in ("Returns", "Yields", "Raises"):
                named = re.sub(r"\{.*\}|'.*'", "", kind if colon else line)
                yield from re.findall(r"(?:\w+\.)*\b_?[A-Z]\w+", named)
    yield from re.findall(r"\bccdflow(?:\.[a-z_]\w*)+\.[A-Z]\w+", text)


def names_defined(tree):
    """Return the names that a module defines at its top, and those that its `__all__` lists."""
    names = {getattr(node, "name", None) for node in tree.body}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.add(node.targets[0].id)
            if node.targets[0].id == "__all__":
                names |= set(ast.literal_eval(node.value))
    return names


def imported_by(tree):
    """Return the names that a module imports, at its top or within functions."""
    imports = (node for node in nodes(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return {alias.asname or alias.name for node in imports for alias in node.names}


def import_name(path):
    """Return the name under which a file of `scripts/` is imported."""
    return ".".join(path.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__")


# All modules raise or hand on these two of ccdflow.errors.
_BASE_ERRORS = {"FrameError", "UserError"}


def test_types_in_docstrings_exist():
    """A class of the library has the module that defines it, unless the module knows its name."""
    defined = {import_name(path): names_defined(tree) for path, _, tree in modules()}
    wrong = []
    for module in modules():
        known = defined[import_name(module.path)] | vars(builtins).keys() | _BASE_ERRORS
        known |= imported_by(module.tree)
        for text in map(ast.get_docstring, holders(module)):
            for name in types_of(text or ""):
                place, _, last = name.rpartition(".")
                if place.startswith("ccdflow"):
                    exists = last in defined.get(place, ())
                elif place:
                    exists = importlib.util.find_spec(place.partition(".")[0]) is not None
                else:
                    exists = last in known
                if not exists:
                    wrong.append(f"{module.path.relative_to(SCRIPTS)}: {name}")
    assert wrong == []


def test_every_error_has_its_condition():
    """An entry of Raises says when, in a line below it."""
    wrong = []
    for module in modules():
        for text in map(ast.get_docstring, holders(module)):
            raises = re.search(r"^Raises\n-+\n(.*?)(?=\n\n\S|\Z)", text or "", re.S | re.M)
            lines = raises[1].splitlines() if raises else []
            for line, after in zip(lines, [*lines[1:], ""], strict=False):
                if line[:1].strip() and not after.startswith(" "):
                    wrong.append(f"{module.path.relative_to(SCRIPTS)}: {line}")
    assert wrong == []


@cache
def error_classes():
    """Return the names of the library's errors: those with parts, and all that inherit them."""
    names = {"CcdflowError"}
    while (
        more := {
            node.name
            for node in classes().values()
            if {ast.unparse(base).rpartition(".")[2] for base in node.bases} & names
        }
        - names
    ):
        names |= more
    return names


@cache
def signals():
    """Return the names of the classes among `Exception`'s own: signals among modules."""
    return {
        node.name
        for node in classes().values()
        if "Exception" in {ast.unparse(base) for base in node.bases}
    }


def error_calls():
    """Return [(place, {part: syntax tree})] of the library's errors, wherever one is made."""
    errors = error_classes()
    with_parts_of_their_own = {
        place.rpartition(" ")[2] for place, *_ in constructors() if place.split(" ")[-1] in errors
    } - {"CcdflowError"}
    made = []
    for module in modules():
        for node in nodes(module.tree):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            given = {each.arg: each.value for each in getattr(node, "keywords", ())}
            is_error = name.rpartition(".")[2] in errors - with_parts_of_their_own
            is_base = name == "super().__init__" and "remedy" in given
            # `error_class` and `error` are errors' classes that a function is given.
            if is_error or is_base or (name in ("error_class", "error") and "file" in given):
                made.append((f"{module.path.relative_to(SCRIPTS)}:{node.lineno}", given))
    return made


def test_errors_have_a_remedy():
    """Every error on purpose says what to do, also under another name or built by a base class."""
    made = error_calls()
    assert len(made) > 250
    without = []
    for place, given in made:
        remedy = given.get("remedy")
        nothing = [
            node
            for node in ast.walk(remedy or ast.Constant(None))
            if isinstance(node, ast.Constant) and node.value in (None, "")
        ]
        if nothing and None not in given:
            without.append(place)
    assert without == []


def test_an_error_that_shows_a_value_names_its_card_or_setting():
    """ "(found 2880)" alone tells nobody what is 2880: a card, a setting, a number of bytes."""
    nameless = [
        place
        for place, given in error_calls()
        if "value" in given and "keyword" not in given and None not in given
    ]
    assert any(error_calls())
    assert nameless == []


@pytest.mark.parametrize("folder", ["scripts", "tests"])
def test_no_docstring_and_no_comment_begins_with_what(folder):
    """The noun instead: "Return the rows of a night", not "Return what a night has"."""
    # Other modules of tests are not parsed: each takes 20 ms.
    candidates = [module for module in modules(folder) if BEGINS_WITH_WHAT.search(module.text)]
    lines = []
    for module in candidates:
        texts = ['"""' + docstring_of(each).value.value for each in holders(module)
                 if docstring_of(each)]  # fmt: skip
        texts += re.findall(r"^ *(#:? .*)", module.text, re.MULTILINE)
        begun = [text.partition("\n")[0] for text in texts if BEGINS_WITH_WHAT.match(text)]
        lines += [f"{module.path.name}: {line}" for line in begun]
    assert lines == []


BEGINS_WITH_PRONOUN = re.compile(r'^ *"""(?:Its?|They|Theirs?|These|He)\b.*', re.MULTILINE)


def test_no_docstring_begins_with_a_pronoun():
    """The subject is in the sentence: a reader of one line has no name to look for.

    "This", with its noun behind it, is a subject.
    """
    assert BEGINS_WITH_PRONOUN.search('    """It is left out.')
    lines = [
        f"{module.path.name}: {match[0].strip()}"
        for folder in ("scripts", "tests", "benchmarks")
        for module in modules(folder)
        for match in BEGINS_WITH_PRONOUN.finditer(module.text)
    ]
    assert lines == []


# Packages of the library whose docstrings name the content: "the mask of", "the number of".
_WITHOUT_QUESTIONS = (
    "calibrate", "camera", "combine", "detector", "files", "frame", "pages", "simulate"
)  # fmt: skip
_QUESTION = re.compile(
    r"""^ +(?:\"{3}(?:Return|Yield) (?:by )?(?:how|which|why)\b"""
    r"""|(?:How (?:far|many|much)|Why|Which|By how|On which)\b).*""",
    re.MULTILINE,
)


def test_results_and_parameters_are_described_by_nouns():
    """Return the mask of the pixels, not "which pixels"; the number, not "how many"."""
    assert _QUESTION.search('    """Return how many rows it has."""')
    assert _QUESTION.search("        How many rows it has.")
    texts = [
        module
        for module in modules()
        if module.path.relative_to(SCRIPTS).parts[1:2]
        and module.path.relative_to(SCRIPTS).parts[1] in _WITHOUT_QUESTIONS
    ]
    assert len(texts) > 200
    lines = [
        f"{module.path.name}: {question[0].strip()}"
        for module in texts
        for question in _QUESTION.finditer(module.text)
    ]
    assert lines == []


def own_nodes(node):
    """Yield the syntax trees below a function, without those of functions within it."""
    left = [*node.body]
    while left:
        each = left.pop()
        yield each
        if not isinstance(each, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            left.extend(ast.iter_child_nodes(each))


def has_result(node):
    """Return whether a function yields, or returns a value."""
    return any(
        isinstance(each, ast.Yield | ast.YieldFrom)
        or (isinstance(each, ast.Return) and not isinstance(each.value, ast.Constant | None))
        for each in own_nodes(node)
    )


def test_a_result_is_described_beside_parameters():
    """A function with a section of parameters has a section of its result.

    In a private class too: its methods without underscore are called from elsewhere.
    """
    bare = [
        place
        for place, node, text in called_from_elsewhere()
        if "Parameters\n---" in text
        and not re.search(r"^(Returns|Yields)\n-", text, re.MULTILINE)
        and has_result(node)
    ]
    assert any(called_from_elsewhere())
    assert bare == []


def test_the_result_of_a_private_function_is_named_in_a_line_or_a_section():
    """ "Combine by ccdproc." left open what comes back; a drawing passes a result on as it is."""
    bare, results = [], 0
    for module in modules():
        for node in nodes(module.tree):
            text = (ast.get_docstring(node) or "") if isinstance(node, ast.FunctionDef) else ""
            if not ("Parameters\n---" in text and re.match("_[^_]", node.name)):
                continue
            if not has_result(node) or re.search(r"^(Returns|Yields)\n-", text, re.MULTILINE):
                continue
            first = text.partition("\n\n")[0]
            results += 1
            if not re.search(r"\b(?:return|yield)|^Draw ", first, re.IGNORECASE):
                bare.append(f"{module.path.relative_to(SCRIPTS)}: {node.name}: {first}")
    assert bare == []
    assert results > 200


def set_in_constructor(node):
    """Return the public attributes that an `__init__` sets, in their order."""
    return list(
        dict.fromkeys(
            each.attr
            for each in ast.walk(node)
            if isinstance(each, ast.Attribute)
            and isinstance(each.ctx, ast.Store)
            and isinstance(each.value, ast.Name)
            and each.value.id == "self"
            and not each.attr.startswith("_")
        )
    )


def test_every_public_attribute_is_a_word_of_the_docstring():
    """Ten arrays of `Totals` had neither shape nor dtype anywhere; parameters are described."""
    text = "def __init__(self, n):\n self.n, self._m = n, 0\n self.size: int = n"
    made = ast.parse(text).body[0]
    assert sorted(set_in_constructor(made)) == ["n", "size"]
    undescribed, attributes = [], 0
    for place, node, text in constructors():
        names = set_in_constructor(node)
        attributes += len(names)
        undescribed += [
            f"{place}: {name}" for name in names if not re.search(rf"\b{name}\b", text or "")
        ]
    assert undescribed == []
    assert attributes > 250


def arguments_with_defaults(node):
    """Yield (name, syntax tree of the default) of the arguments of a function that have one."""
    given = [*node.args.posonlyargs, *node.args.args]
    defaults = node.args.defaults
    yield from zip(given[len(given) - len(defaults) :], defaults, strict=True)
    yield from zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)


def test_the_type_of_an_argument_has_room_for_its_default():
    """None needs "or None" or "optional"; an empty tuple is no list."""
    wrong, seen = [], 0
    for module in modules():
        for node in nodes(module.tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            entries = re.findall(
                r"^(\*{0,2}\w[\w, *]*) : (.*)", ast.get_docstring(node) or "", re.MULTILINE
            )
            types = {name.strip(): kind for names, kind in entries for name in names.split(",")}
            for argument, default in arguments_with_defaults(node):
                kind = types.get(argument.arg)
                is_none = isinstance(default, ast.Constant) and default.value is None
                seen += kind is not None and default is not None
                if kind and (
                    (is_none and not re.search("None|optional|object", kind))
                    or (isinstance(default, ast.Tuple) and kind.startswith("list"))
                ):
                    wrong.append(f"{module.path.name}: {node.name}: {argument.arg} : {kind}")
    assert wrong == []
    assert seen > 500


def wrongly_optional(node):
    """Return the entries of a function's or class's parameters whose "optional" is wrong.

    An entry is "optional" if each of its parameters has a default. Parameters with and without a
    default do not share an entry.
    """
    function = node
    if isinstance(node, ast.ClassDef):
        constructors_of_class = (
            each for each in node.body if getattr(each, "name", "") == "__init__"
        )
        function = next(constructors_of_class, None)
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?=\n\n\S|\Z)",
        ast.get_docstring(node) or "",
        re.DOTALL | re.MULTILINE,
    )
    if function is None or section is None:
        return []
    with_default = {name.arg for name, default in arguments_with_defaults(function) if default}
    wrong = []
    for entry in re.findall(r"^\w.* : .*", section[1], re.MULTILINE):
        names, _, kind = entry.partition(" : ")
        have_default = {name.strip() in with_default for name in names.split(",")}
        if have_default != {bool(re.search(r"\boptional\b", kind))}:
            wrong.append(entry)
    return wrong


@pytest.mark.parametrize(
    ("entry", "is_right"),
    [
        ("a : int", True),
        ("a : int, optional", False),
        ("a, c : int", True),
        ("b : int", False),
        ("b, d : int, optional", True),
        ("c, d : int", False),
        ("c, d : int, optional", False),
    ],
)
def test_an_entry_is_optional_if_its_parameters_have_defaults(entry, is_right):
    text = f"def f(a, b=1, *, c, d=2):\n '''F.\n\n Parameters\n ---\n {entry}\n '''"
    (function,) = ast.parse(text).body
    assert wrongly_optional(function) == [entry] * (not is_right)
    (holder,) = ast.parse(f"class A:\n '''A.\n\n Parameters\n ---\n {entry}\n '''\n").body
    holder.body.append(function)
    function.name = "__init__"
    assert wrongly_optional(holder) == [entry] * (not is_right)


def test_arguments_with_a_default_are_optional():
    """43 of 613 were not called so, and two without a default were."""
    functions_and_classes = [
        (place, node) for place, node, _ in documented_nodes() if not isinstance(node, ast.Module)
    ]
    wrong = [
        f"{place}: {entry}"
        for place, node in functions_and_classes
        for entry in wrongly_optional(node)
    ]
    assert wrong == []
    assert len(functions_and_classes) > 4000


def test_a_header_has_the_type_of_its_class():
    """ "mapping of str to object" for a header of astropy sent its reader for another class."""
    wrong = [
        f"{module.path.name}: {entry}"
        for module in modules()
        for entry in re.findall(
            r"^ +(?!\w*_by_)\w*header : (?:mapping|dict)\b.*", module.text, re.MULTILINE
        )
    ]
    assert wrong == []


def test_a_table_of_the_modules_of_a_package_names_each_once():
    tables = 0
    for path, _, tree in modules():
        _, is_there, table = (ast.get_docstring(tree) or "").partition("\nmodule ")
        if path.name == "__init__.py" and is_there:
            tables += 1
            names = re.findall(r"^(\w+)  ?", table.partition("\n=")[2], re.MULTILINE)
            there = {each.stem for each in path.parent.glob("*.py")} - {"__init__"}
            assert sorted(names) == sorted(there), path
    assert tables > 0


def test_containers_of_a_class_have_the_types_of_their_items():
    """`dict[str, Amplifier]`, not `dict`, within other containers and for private fields, too."""
    containers = {
        "dict", "tuple", "list", "set", "frozenset", "Mapping", "Sequence", "Iterable", "Callable",
    }  # fmt: skip
    bare, fields = [], 0
    for module in modules():
        for holder in holders(module):
            for field in holder.body if isinstance(holder, ast.ClassDef) else ():
                if not isinstance(field, ast.AnnAssign):
                    continue
                nodes = list(ast.walk(field.annotation))
                names = {node.id for node in nodes if isinstance(node, ast.Name)}
                typed = {node.value for node in nodes if isinstance(node, ast.Subscript)}
                untyped = {
                    node.id for node in nodes if isinstance(node, ast.Name) and node not in typed
                }
                fields += bool(names & containers)
                if untyped & containers:
                    place = module.path.relative_to(ROOT)
                    bare.append(f"{place}: {holder.name}.{field.target.id}")
    assert bare == []
    assert fields > 200


# Parameters and fields that take a value of any type: those of cards, settings and notes.
ANY_VALUES = {"card_value", "content", "default", "noted_facts", "result", "text", "value"}

# An object, several in a row, the result of a function.
OBJECTS = re.compile(r"(?:\w+\[|Callable\[.*, )?object(?:, \.\.\.)?\]?(?: \| None)?")


def test_a_value_is_an_object_only_where_its_type_is_not_known():
    """`Chain` or a `Protocol` with fields; a reader of `run.chain` learns nothing from `object`."""
    wrong, fields, any_values = [], 0, set()
    for module in modules():
        for holder in holders(module):
            text = ast.get_docstring(holder) or ""
            types = dict(re.findall(r"^(\w[\w, *]*) : (.*)", text, re.MULTILINE))
            bare = {name for name, words in types.items() if re.match(r"object\b", words)}
            any_values |= bare & ANY_VALUES
            wrong += [f"{module.path.name}: {holder.name}: {name}" for name in bare - ANY_VALUES]
            types = {name: words for names, words in types.items() for name in names.split(", ")}
            for field in holder.body if isinstance(holder, ast.ClassDef) else ():
                if not isinstance(field, ast.AnnAssign):
                    continue
                fields += 1
                annotation, name = ast.unparse(field.annotation), field.target.id
                # The docstring of a class names its public fields, and no private ones.
                is_known = list(types_of(f"Attributes\n---\n{name} : {types.get(name, '')}"))
                is_undescribed = annotation == "object" and name not in ANY_VALUES
                if OBJECTS.fullmatch(annotation) and (is_known or is_undescribed):
                    wrong.append(f"{module.path.name}: {holder.name}.{name}: {annotation}")
    assert wrong == []
    assert fields > 1500
    assert any_values == ANY_VALUES, "an exemption that nothing needs"


_SHAPE = re.compile(
    r"[Ss]hapes?\b|\([^()]*\b(?:n|m|k|nx|ny|rows|columns|count)\b[^()]*\)|\(\.\.\.|\(\d, \d"
    r"|\bflattened\b|See `|[Aa]s (?:for|in|of) |[Aa]s `|scalar|[Ll]ike "
)


_TYPE = re.compile(
    r"\b(?:float32|float64|floats|complex|bool|str|u?int\d*|integers|dtype|types?)\b|byte order"
)


def arrays_described(text):
    """Yield the entry and its lines of each array in the sections of a docstring."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        # The pattern alone takes a millisecond of each long line.
        if "ndarray" in line and re.match(
            r"(?:[\w*][\w, *]* : )?(?:\(|[\w.]+ (?:of|or) |[\w ]+ )*(?:numpy\.)?ndarray", line
        ):
            below = itertools.takewhile(
                lambda other: other.startswith("    ") or not other, lines[number + 1 :]
            )
            yield line, " ".join([line, *below])


def described_arrays():
    """Return [(place, entry, its lines)] of the arrays of functions and classes."""
    return [
        (f"{module.path.relative_to(SCRIPTS)}: {holder.name}", entry, whole)
        for module in modules()
        if "ndarray" in module.text
        for holder in holders(module)
        if isinstance(holder, ast.ClassDef | ast.FunctionDef)
        for entry, whole in arrays_described(ast.get_docstring(holder) or "")
    ]


def test_arrays_have_a_shape_and_a_type():
    """A caller must know (ny, nx) from (nx, ny), a row from an image, float32 from float64."""
    described = described_arrays()
    assert len(described) > 800
    assert [(place, entry) for place, entry, whole in described if not _SHAPE.search(whole)] == []
    assert [(place, entry) for place, entry, whole in described if not _TYPE.search(whole)] == []


# "of shape (ny, nx), float32": the shape first, and both in the entry.
_ARRAY = re.compile(
    r"numpy\.ndarray(?: or float)?\)? of "
    r"(?:shape [(`]|(?:any|one|that|the same) shape|the shapes? |the same shapes)"
)
_KNOWN_ELSEWHERE = re.compile(r"\b(?:See|As|as) (?:(?:for|in|of) )?(?:.* of )?`")


def test_arrays_are_described_in_one_form():
    """Five were in use: a search for the type led through all lines of an entry."""
    assert _ARRAY.search("image : numpy.ndarray of shape (ny, nx), float32")
    assert not _ARRAY.search("image : numpy.ndarray of float32")
    assert not _ARRAY.search("image : ndarray, shape (ny, nx)")
    others = [
        (place, entry)
        for place, entry, whole in described_arrays()
        if not _ARRAY.search(entry) and not _KNOWN_ELSEWHERE.search(whole)
    ]
    assert any(described_arrays())
    assert others == []


def test_no_docstring_begins_with_tell_or_want():
    """A function returns or plans; `Tell whether` and `Want the page` were words of our own."""
    begins = re.compile(r"(Tell|Want)s?\b")
    beginnings = [
        f"{module.path.name}: {ast.get_docstring(node).splitlines()[0]}"
        for module in modules()
        for node in nodes(module.tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and begins.match(ast.get_docstring(node, clean=False) or "")
    ]
    assert beginnings == []


# `light : Of the frame.`, but not "Of two files none is reduced", a sentence.
_FRAGMENT_WITH_OF = re.compile(
    r"^ +\*?\w[\w, ]* : .*\n +Of (?:the|this|its|their|all|each|one of)\b.*", re.M
)


def test_a_description_begins_with_its_noun():
    """ "Header of the product", not "Of the product": the entry `first` has no noun in its name."""
    assert _FRAGMENT_WITH_OF.search("    row : Row\n        Of the frame.")
    assert not _FRAGMENT_WITH_OF.search("    row : Row\n        Row of the frame.")
    lacking = [
        f"{module.path.name}: {entry[0].strip()}"
        for module in modules()
        for entry in _FRAGMENT_WITH_OF.finditer(module.text)
    ]
    assert lacking == []


def documented_nodes():
    """Yield (place, syntax tree, docstring) of the modules, classes and functions of scripts/."""
    for module in modules():
        place = module.path.relative_to(SCRIPTS)
        yield f"{place}", module.tree, ast.get_docstring(module.tree) or ""
        for node in nodes(module.tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield f"{place}: {node.name}", node, ast.get_docstring(node) or ""


def entries_of(text, section):
    """Return [(names, whether words follow)] of the entries in a section of a docstring."""
    lines = re.search(rf"^{section}\n-+\n(.*?)(?=\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    entries = []
    for line in lines[1].splitlines() if lines else []:
        if line.startswith(" ") and entries:
            entries[-1] = (entries[-1][0], True)
        elif line:
            entries.append((re.findall(r"\w+", line.partition(" : ")[0]), False))
    return entries


def test_a_docstring_begins_with_a_noun_or_a_verb():
    """ "How a frame was made" is half of a sentence: "The making of a frame"."""
    begin = re.compile(r"(?:How|Which|Who|That|Those|Of)\b")
    assert begin.match("Which master a frame takes")
    assert not begin.match("Whether it is warm")
    texts = [(place, text) for place, _, text in documented_nodes() if text]
    assert [place for place, text in texts if begin.match(text)] == []
    assert len(texts) > 5000


def test_one_of_three_parameters_has_words():
    """Types alone do not say whose rows, night and nights `refused_masters` takes."""
    example = "Parameters\n----------\na : int\nb, c : str\n    Words.\n\nReturns\n-------\nint"
    assert entries_of(example, "Parameters") == [(["a"], False), (["b", "c"], True)]
    sections = [(place, entries_of(text, "Parameters")) for place, _, text in documented_nodes()]
    long_sections = [(place, entries) for place, entries in sections if len(entries) >= 3]
    bare = [place for place, entries in long_sections if not any(words for _, words in entries)]
    assert bare == []
    assert len(long_sections) > 800


def test_entries_name_attributes_and_parameters_that_exist():
    """`RawStream.end_seen` kept its entry when the attribute became `has_ended`."""
    unknown, number = [], 0
    for place, node, text in documented_nodes():
        section = "Attributes" if isinstance(node, ast.ClassDef) else "Parameters"
        names = {name for entry, _ in entries_of(text, section) for name in entry}
        if not names:
            continue
        known = {
            getattr(each, "arg", getattr(each, "attr", getattr(each, "id", "")))
            or getattr(each, "name", "")
            for each in ast.walk(node)
            if isinstance(each, ast.arg | ast.Attribute | ast.Name | ast.FunctionDef)
        }
        unknown += [f"{place}: {name}" for name in sorted(names - known)]
        number += len(names)
    assert unknown == []
    assert number > 6000


def test_functions_have_a_docstring():
    """A private function among documented ones has one too; a setter has that of its property."""
    functions = [
        (f"{module.path.relative_to(SCRIPTS)}: {node.name}", node)
        for module in modules()
        for holder in holders(module)
        for node in holder.body
        if isinstance(node, ast.FunctionDef)
        and isinstance(holder, ast.ClassDef | ast.Module)
        and not node.name.startswith("__")
        and not any(ast.unparse(each).endswith(".setter") for each in node.decorator_list)
    ]
    assert [place for place, node in functions if not ast.get_docstring(node)] == []
    assert len(functions) > 4000
