"""The packages of the library import what docs/architecture.md says they may, and nothing else."""

import ast
import builtins
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from library_trees import docstring_of, holders, modules, nodes

import architecture
from ccdflow import mask_bits, robust
from ccdflow.kinds import CHAIN
from ccdflow.run.lookups import Lookup, OutcomeKey

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "scripts" / "ccdflow"


@cache
def trees():
    """Return {path: syntax tree} of all modules."""
    return {path: tree for path, _, tree in modules()}


def may_know():
    """Return {package: the packages it may import}, as the document has it."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition("Inside the library")[2].partition("\n\n| ")[2].partition("\n\n")[0]
    layers = {}
    for line in table.splitlines()[2:]:
        names, _, allowed = line.strip("| ").split(" | ")
        for name in re.findall(r"`(\w+)/?`", names):
            layers[name] = set(re.findall(r"`(\w+)/?`", allowed))
    return layers


@cache
def imports_of(path):
    """Return the packages of the library that a module imports."""
    names_imported = set()
    for node in nodes(trees()[path]):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ccdflow":
            _, *below = node.module.split(".")
            names_imported |= {below[0]} if below else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            names_imported |= {name[1] for name in names if name[0] == "ccdflow" and len(name) > 1}
    return names_imported - {"__version__"}


def packages():
    paths = [path for path in LIBRARY.iterdir() if path.suffix == ".py" or path.is_dir()]
    return sorted(path.stem for path in paths if not path.stem.startswith("__"))


def test_every_package_is_in_the_table():
    assert set(packages()) == set(may_know())


@pytest.mark.parametrize("package", packages())
def test_a_package_imports_only_the_packages_that_it_may_know(package):
    allowed = may_know()[package] | {package}
    modules = [LIBRARY / f"{package}.py", *(LIBRARY / package).rglob("*.py")]
    wrong = {
        path.relative_to(LIBRARY).as_posix(): imports_of(path) - allowed
        for path in modules
        if path.is_file() and imports_of(path) - allowed
    }
    assert wrong == {}


def errors_of_the_library():
    """Return {class: the class it is built on} of all classes of exceptions."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
    }
    classes, more = {}, {name for name, value in vars(builtins).items() if is_error(value)}
    while more:
        new = {name: base for name, own in bases.items() for base in own & more}
        classes, more = classes | new, new.keys()
    return classes


def is_error(value):
    return isinstance(value, type) and issubclass(value, BaseException)


def table_of_errors():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("\n## Errors\n")[2]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return {
        cells[0].strip("`"): cells[1:] for line in lines if (cells := line.strip("| ").split(" | "))
    }


def test_the_document_has_each_class_of_errors():
    errors = errors_of_the_library()
    table = table_of_errors()
    assert table.keys() == errors.keys()
    for name, base in errors.items():
        match = re.match(r"an? `(\w+)`: ", table[name][0])
        is_own = base in errors and base != "CcdflowError"
        assert (match and match[1]) == (base if is_own else None), name


@pytest.mark.parametrize(
    ("column", "verb"), [(1, "raise|return|error_class="), (2, "except|isinstance")]
)
def test_an_error_is_raised_and_caught_where_the_document_says(column, verb):
    places = [
        (name, place)
        for name, cells in table_of_errors().items()
        for place in re.findall(r"`([\w/]+\.\w+)`", cells[column])
    ]
    assert len(places) >= len(table_of_errors()) > 5
    for name, place in places:
        path = (ROOT if place.startswith("rules/") else LIBRARY) / place
        names = rf"^.*\b({verb})\b.*?\b{name}\b"
        assert re.search(names, path.read_text("utf-8"), re.MULTILINE), (name, place)


def places_of_raising(name):
    """Return the modules that raise, return or hand on an error of a class."""
    making = re.compile(rf"\braise {name}\b|\breturn {name}\(|\berror_class={name}\b")
    return {
        path.relative_to(LIBRARY).as_posix()
        for path, text in ((module.path, module.text) for module in modules())
        if name in text and LIBRARY in path.parents and making.search(text)
    }


def is_named(place, cell):
    """Return whether a cell of the table has a module, or a folder that it lies in."""
    if cell.startswith("wherever "):
        return True
    names = re.findall(r"`([\w/]+(?:\.\w+|/))`", cell)
    return any(place == name or (name[-1] == "/" and place.startswith(name)) for name in names)


def test_the_document_names_all_places_where_an_error_is_raised():
    unnamed = {
        (name, place)
        for name, cells in table_of_errors().items()
        for place in places_of_raising(name)
        if not is_named(place, cells[1])
    }
    assert any(table_of_errors())
    assert unnamed == set()


def test_the_drawing_is_up_to_date():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    drawn = (ROOT / "docs" / "architecture.svg").read_text("utf-8")
    command = "python scripts/architecture.py out=docs/architecture.svg"
    assert architecture.svg(text) == drawn, f"draw it again: {command}"
    assert command in text
    for kind in CHAIN:
        assert f">rule {kind.rule}</text>" in drawn


def test_arrows_that_follow_from_others_are_left_out():
    needs = {"a": set(), "b": {"a"}, "c": {"a", "b"}, "d": {"a"}}
    assert architecture.remove_implied_arrows(needs) == {
        "a": set(),
        "b": {"a"},
        "c": {"b"},
        "d": {"a"},
    }
    assert architecture.rows_of(needs) == [["a"], ["b", "d"], ["c"]]


def test_packages_know_one_another_in_no_circle():
    """A package that another may know, directly or through others, does not know that one."""
    known = may_know()
    ground = {"errors", "paths", "schemas", "settings"}
    left = {name: allowed - {name} - ground for name, allowed in known.items()}
    assert len(left) > 10
    while left:
        free = [name for name, allowed in left.items() if not allowed & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def test_no_circle_among_the_folders_of_a_package():
    """Folders inside a package import each other one way only; the package's own files may."""
    imports = set()
    for path, _, tree in modules():
        parts = path.relative_to(ROOT / "scripts").parts
        if len(parts) == 4:
            package, own = ".".join(parts[:2]), parts[2]
            for node in nodes(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
                    below = [*node.module.split(".")[2:], *(alias.name for alias in node.names)]
                    if below[0] != own and (LIBRARY / parts[1] / below[0]).is_dir():
                        imports.add((parts[1], own, below[0]))
    both = {each for each in imports if (each[0], each[2], each[1]) in imports}
    assert both == set()


def modules_imported(tree):
    """Return the modules of the library that a module imports, at its top or in a function.

    Not those of `if TYPE_CHECKING:`, which no run imports.
    """
    names, for_types = set(), set()
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for_types |= set(ast.walk(node))
    for node in nodes(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ccdflow":
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_circle_among_modules():
    names = {
        ".".join(path.relative_to(ROOT / "scripts").with_suffix("").parts): tree
        for path, tree in trees().items()
        if path.stem != "__init__"
    }
    left = {name: modules_imported(tree) & names.keys() for name, tree in names.items()}
    assert len(left) > 250
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


def layers_of_kinds():
    """Return {folder of `kinds/`: the names of its kinds}, in the order of the document."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    table = text.partition("| layer of `kinds/` |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {folder.strip("`/"): re.findall("`([^`]+)`", kinds) for folder, _, kinds in rows}


def layer_of(name, order):
    """Return the number of the layer of a module of `kinds/`, 0 for those beside the folders."""
    _, _, folder, *below = name.split(".")
    return order.index(folder) + 1 if below else 0


def upward_imports(order):
    """Return {(module, module)} of `kinds/`: the first imports the second, of a later folder."""
    top = LIBRARY / "kinds"
    names = {
        ".".join(path.relative_to(ROOT / "scripts").with_suffix("").parts): path
        for path in trees()
        if top in path.parents and path.stem != "__init__"
    }
    return {
        (name, other)
        for name, path in names.items()
        for other in modules_imported(trees()[path]) & names.keys()
        if layer_of(other, order) > layer_of(name, order)
    }


def test_folders_of_kinds_are_layers():
    """A module imports from its own folder and from earlier ones, at its top or in a function."""
    order = list(layers_of_kinds())
    assert {path.parent.name for path in (LIBRARY / "kinds").glob("*/*.py")} == set(order)
    assert upward_imports(order) == set()
    assert len(upward_imports(order[::-1])) > 100


def test_each_kind_lies_in_the_folder_of_its_layer():
    folders = [(type(kind).__module__.split(".")[2], kind.name) for kind in CHAIN]
    layers = layers_of_kinds()
    absent = [(folder, name) for folder, name in folders if name not in layers[folder]]
    assert absent == [], f"the table of layers in docs/architecture.md lacks a kind: {absent}"
    assert sum(map(len, layers.values())) == len(folders)


# The modules of the methods that look up and keep.
CONTEXTS = {"context.py", "run_contents.py"}
# Lookups that a watch makes anew for each new frame.
LOOKUPS_OF_FRAMES = {
    Lookup.AGEING, Lookup.NOISES, Lookup.PAIRS, Lookup.PLACE,
    Lookup.MATCHING_FILES, Lookup.MISSING_SOURCES, Lookup.REFUSALS,
    Lookup.ROWS_BY_NIGHT, Lookup.ROWS_BY_PRODUCT, Lookup.SKY_RATES,
    Lookup.LISTED_FRAMES, Lookup.SMALL_PICTURES,
    Lookup.VERDICTS,
}  # fmt: skip


def keys_of_calls(*methods):
    """Return the first item, as text, of the key of each call of some methods of a context."""
    keys = set()
    for path, tree in trees().items():
        for node in nodes(tree):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_call and node.func.attr in methods and path.name not in CONTEXTS:
                keys.add(ast.unparse(getattr(node.args[0], "elts", node.args)[0]))
    return keys


def test_every_lookup_is_kept_or_made_anew_by_a_watch():
    """A lookup that no list names would silently be made anew for each frame."""
    kept = {name for name in Lookup if name.is_of_masters or name.is_of_setups}
    assert not kept & LOOKUPS_OF_FRAMES
    assert kept | LOOKUPS_OF_FRAMES == set(Lookup)


def test_every_key_of_a_context_is_a_member_and_each_member_is_used():
    of_context = {"Lookup.ROWS_BY_PRODUCT", "Lookup.ROWS_BY_NIGHT", "Lookup.REFUSALS"}
    assert keys_of_calls("lookup") | of_context == {f"Lookup.{each.name}" for each in Lookup}
    keys = keys_of_calls("kept_by_key", "kept_by_identity") - {"sources"}
    assert keys | {"OutcomeKey.SOURCES_ALIKE"} == {f"OutcomeKey.{each.name}" for each in OutcomeKey}


def test_no_dictionary_answers_for_more_keys_than_it_holds():
    """A reader of `rows[file]` must not ask whether `rows.values()` has it: methods have names."""
    lookups = {"__missing__", "__contains__", "__getitem__", "get", "pop", "setdefault"}
    wrong = {
        node.name
        for path, tree in trees().items()
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        and {ast.unparse(base) for base in node.bases} & {"dict", "set", "list", "Ledger"}
        and lookups & {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    }
    assert any(trees())
    assert wrong == set()


def test_only_rules_know_snakemake():
    paths = list(LIBRARY.rglob("*.py"))
    assert len(paths) > 400
    for path in paths:
        assert not re.search(r"^\s*(from|import) snakemake", path.read_text(), re.MULTILINE), path


def test_constants_of_all_are_defined_once():
    """MAD to sigma in `robust`, bits in `mask_bits`; `simulate` and `verify` have their own."""
    bits = {name for name in vars(mask_bits) if name.isupper()}
    assert {"SATURATED", "BAD_COLUMN"} <= bits
    for path, _, tree in modules():
        if path.stem in ("robust", "mask_bits") or {"simulate", "verify"} & set(path.parts):
            continue
        for node in nodes(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                assert abs(node.value - robust.MAD_TO_SIGMA) > 1e-4, f"{path}:{node.lineno}"
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                assert node.id not in bits, f"{path}:{node.lineno}"


def test_no_two_modules_have_a_class_of_one_name():
    """Nor with a `_` before it; `verify` has classes of its own."""
    names = Counter(
        (node.name.lstrip("_"), "verify" in path.parts)
        for path, _, tree in modules()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def names_of(tree):
    """Return the names that a module defines, and those that it imports."""
    own, imported = set(), set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            own.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            own |= {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return own, imported - own


def test_a_name_is_imported_from_the_module_that_defines_it():
    """Not through a third module; a package's own names are those of its `__init__`."""
    borrowed = {
        ".".join(path.relative_to(ROOT / "scripts").with_suffix("").parts): names_of(tree)[1]
        for path, tree in trees().items()
        if path.stem != "__init__"
    }
    through = []
    for path, tree in trees().items():
        for node in nodes(tree):
            if isinstance(node, ast.ImportFrom) and node.module in borrowed:
                names = {alias.name for alias in node.names} & borrowed[node.module]
                through += [f"{path.name}: {node.module}.{name}" for name in names]
    assert through == []


def names_bound_in(function):
    """Yield the arguments of a function, and the names that it assigns to."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def test_no_function_gives_an_imported_name_another_meaning():
    """In a module that imports `atomic_write`, a reader takes this name for the module."""
    hidden = []
    for path, _, tree in modules():
        imported = names_of(tree)[1]
        for node in nodes(tree):
            if isinstance(node, ast.FunctionDef):
                both = imported.intersection(names_bound_in(node))
                hidden += [f"{path.name}: {node.name}: {name}" for name in both]
    assert hidden == []


def test_no_two_modules_of_the_library_have_a_function_of_one_name():
    names = Counter(
        node.name
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    )
    assert names
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_modules_of_the_library_and_its_scripts_have_one_name():
    paths = LIBRARY.parent.rglob("*.py")
    names = Counter(path.stem for path in paths if path.stem != "__init__")
    assert names
    assert [name for name, count in names.items() if count > 1] == []


def lines_of(node):
    """Return the number of lines of a syntax tree, 0 for None."""
    return 0 if node is None else node.end_lineno - node.lineno + 1


def test_no_module_and_no_function_is_long():
    """A module has at most 500 lines, a function 50 of code: docstrings are not counted."""
    long = []
    for module in modules():
        lines, own = module.text.splitlines(), holders(module)
        if len(lines) - sum(lines_of(docstring_of(node)) for node in own) > 500:
            long.append(module.path.name)
        for node in own:
            if not isinstance(node, ast.FunctionDef) or lines_of(node) <= 50:
                continue
            body = node.body[1:] if docstring_of(node) else node.body
            code = lines[body[0].lineno - 1 : node.end_lineno] if body else []
            code = [line for line in code if line.strip() and not line.strip().startswith("#")]
            if len(code) > 50:
                long.append(f"{module.path.name}: {node.name}")
    assert long == []


# Folders with more modules than 20, and why.
LARGE_FOLDERS = {
    "tests/workflow": "each file starts Snakemake, and the modules that help them lie beside them",
    "tests/support": "its modules are imported by their names alone, from this one folder",
    "tests/project": "a rule of the project each",
}


def test_no_folder_is_a_drawer():
    """A search for a line goes by the names of folders: 20 modules fill a screen."""
    folders = Counter(
        path.parent.relative_to(ROOT).as_posix()
        for top in (LIBRARY, ROOT / "tests")
        for path in top.rglob("*.py")
        if path.stem != "__init__"
    )
    assert {name for name, count in folders.items() if count > 20} == LARGE_FOLDERS.keys()


def decisions_of(function):
    """Return 1 and the number of points where the way through a function divides."""
    count = 1
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp | ast.For | ast.While | ast.ExceptHandler):
            count += 1
        elif isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
    return count


def test_no_function_has_many_decisions():
    """16 of them are a page's full: loops, conditions, `and`, `or`, comprehensions."""
    many = {
        node.name
        for module in modules()
        for node in holders(module)
        if isinstance(node, ast.FunctionDef) and decisions_of(node) > 16
    }
    assert many == set()


def arguments_of(function):
    """Return the arguments of a function by place, and those by keyword only."""
    by_place = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    by_place = [name for name in by_place if name not in ("self", "cls")]
    return by_place, [each.arg for each in function.args.kwonlyargs]


# Functions of more than six arguments, keywords included, and why: each that loses some goes.
LONG_ARGUMENTS = {
    "assembly.py: geometry_of_drafts": "fields of a `Geometry`, by keywords",
    "ccdmask.py: ccdmask": "those of ccdproc's function, which users know",
    "drawing.py: draw_detector": "the properties of a detector, by keywords, for users",
    "exposing.py: expose": "one exposure for users, by keywords",
    "flats.py: combine_image_of_flats": "those of `combine`, and its `FlatSubtraction`",
    "guide_nights.py: simulate_archive": "the options of `simulate.py`, for users",
    "guide_nights.py: simulate_biases": "the options of `simulate.py`, for users",
    "guide_nights.py: simulate_night": "the options of `simulate.py`, for users",
    "image_panel.py: draw_image": "a drawing, with keywords as those of matplotlib",
    "measured_stack.py: combine_measured": "those of `combine`",
    "raster.py: draw_text": "a drawing, with keywords as those of matplotlib",
    "signal.py: pixels_of_structure": "arrays of one block, and memory that is used again",
    "stack.py: combine": "a combination for users, by keywords",
    "variance.py: write": "arrays of one block, and memory that is used again",
}
# The layers below the kinds, which have no others.
SHORT_ARGUMENTS = (
    "calibrate", "camera", "combine", "detector", "files", "frame", "pages", "simulate"
)  # fmt: skip


def test_no_other_function_takes_more_than_six_arguments():
    """Values that go together are one argument: `_CheckedStrip`, `ProductOrigin`."""
    long = {
        f"{path.name}: {node.name}"
        for path, _, tree in modules()
        if LIBRARY in path.parents and path.relative_to(LIBRARY).parts[0] in SHORT_ARGUMENTS
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef) and sum(map(len, arguments_of(node))) > 6
    }
    assert long == LONG_ARGUMENTS.keys()


def test_no_function_takes_more_than_six_arguments_by_place():
    """Nobody can tell at a call which of seven values is which."""
    long = {
        f"{path.name}: {node.name}": by_place
        for path, _, tree in modules()
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef) and len(by_place := arguments_of(node)[0]) > 6
    }
    assert long == {}


# Functions of `run/` and of the scripts with more than six arguments in all, and why.
MANY_ARGUMENTS = {
    "of_whole": "the fields of a use",
    "update": "the seconds since the epoch, for tests, beside the options of a run",
}


def test_no_function_of_a_run_takes_more_than_six_arguments():
    """Values that belong together are a dataclass: `RunRequest`, `WantedProduct`."""
    long = {
        node.name
        for path, _, tree in modules()
        if "run" in path.parts or path.parent.name == "scripts"
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef) and sum(map(len, arguments_of(node))) > 6
    }
    assert long == MANY_ARGUMENTS.keys()


def test_no_call_gives_more_than_eight_values_by_place():
    """But in the module of a class, where the order of its fields stands beside the call."""
    long = []
    for module in modules():
        own = {node.name for node in module.tree.body if isinstance(node, ast.ClassDef)}
        # `json` has no keywords for its part in C.
        own |= {"cls", "c_make_encoder"}
        long += [
            f"{module.path.name}:{node.lineno}"
            for node in nodes(module.tree)
            if isinstance(node, ast.Call) and len(node.args) > 8
            if ast.unparse(node.func) not in own
        ]
    assert long == []


def test_no_class_has_many_methods():
    """A class that answers more than 25 questions has more than one responsibility."""
    many = {
        node.name: count
        for _, _, tree in modules()
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        and (count := sum(isinstance(each, ast.FunctionDef) for each in node.body)) > 25
    }
    assert many == {}


def test_no_class_keeps_many_values():
    """A class that keeps more than 20 values of its own has several subjects."""
    many = {}
    for module in modules():
        for node in holders(module) if module.is_of_library else ():
            if isinstance(node, ast.ClassDef):
                kept = {
                    each.attr
                    for each in ast.walk(node)
                    if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
                    if isinstance(each.value, ast.Name) and each.value.id == "self"
                }
                if len(kept) > 20:
                    many[node.name] = len(kept)
    assert many == {}


def is_number(node):
    """Return whether an expression is a number, or several, written out."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    parts = [*ast.iter_child_nodes(node)]
    if isinstance(node, ast.UnaryOp | ast.BinOp):
        return all(is_number(part) for part in parts if isinstance(part, ast.expr))
    return isinstance(node, ast.Tuple) and bool(node.elts) and all(map(is_number, node.elts))


def test_each_number_of_a_module_has_a_comment_or_docstring():
    """A comment is above or behind it, or a docstring below."""
    bare = []
    for module in modules():
        lines, body = module.text.splitlines(), module.tree.body
        if not module.is_of_library:
            continue
        for node, after in zip(body, [*body[1:], None], strict=True):
            if not isinstance(node, ast.Assign) or not is_number(node.value):
                continue
            has_docstring = isinstance(getattr(after, "value", None), ast.Constant) and isinstance(
                after, ast.Expr
            )
            is_commented = lines[node.lineno - 2].startswith("#") or "#" in lines[node.lineno - 1]
            if not has_docstring and not is_commented:
                bare.append(f"{module.path.name}: {ast.unparse(node)}")
    assert bare == []
