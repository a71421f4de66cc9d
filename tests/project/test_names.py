"""Names tell what they hold."""

import ast
import re
from collections import Counter, defaultdict

import pytest
from library_trees import ROOT, modules, nodes

LIBRARY = ROOT / "scripts" / "ccdflow"
# How a value came about is no name for it: CONTRIBUTING.md.
EMPTY = {f"{prefix}{word}" for prefix in ("", "is_", "was_") for word in ("found", "said", "told")}
# One of them with a sign behind it that may follow a new name: in prose most have none.
NAMED_EMPTY = re.compile(
    rf"(?<!\w)_*(?:{'|'.join(sorted(EMPTY))})_*\b(?= *(?:[-+|&*/^%@]*=(?!=)|[,)\]:(]|in\b|$))",
    re.MULTILINE,
)
# Participles, adjectives and prepositions that say nothing of what a function returns.
BARE_NAME = re.compile(
    r"[a-z]*[^e]ed|of_\w+|taken|given|shown|known|drawn|spelled|newly|brighter|quietest|lighter"
    r"|full|bare|native|short|missing|common|sparse|inside|irregular|outstanding|removable"
    r"|readable|drawable|printable|breakable|about|above|after|along|among|at|before|between"
    r"|beyond|each|how|of|one|other|others|what"
)
# Prepositions at the beginning of a variable, argument or attribute: ``of_light`` was a variance,
# ``by_name`` a dict of rows, ``in_block`` a pair of slices.
PREPOSITION = re.compile(r"_*of|_*(?:of|by|in|at|on)_\w+")
# Adverbs, prepositions and pronouns: as names they do not tell the content. ``elsewhere`` was a
# count of frames, ``inside`` a pair of slices, ``others`` cards, columns or a number of products.
ADVERBS = {
    "above", "across", "after", "again", "against", "along", "among", "around", "aside", "before",
    "behind", "below", "beneath", "beside", "between", "beyond", "down", "elsewhere", "every",
    "from", "here", "inside", "into", "less", "more", "most", "near", "only", "other", "others",
    "out", "outside", "over", "own", "past", "same", "since", "there", "through", "together",
    "under", "until", "whole", "with", "within", "without", "yet",
}  # fmt: skip
# Methods of the chain of kinds: ``chain.by_name("bias")``. Callbacks are usually named so.
USUAL_PREPOSITIONS = {"by_name", "by_rule", "on_done"}
# ``reach = OF_A_FRAME``: the products of a kind are those of a frame.
REACHES = {"OF_A_FRAME", "OF_A_MASTER", "OF_A_NIGHT", "OF_ALL_NIGHTS"}
# Private functions of one word: each is the field's own, or a verb or noun with one meaning.
ONE_WORD = {"_asinh", "_resize", "_zscale"}
# Filters of templates are named by their effect: ``{{ cell | breakable }}``.
FILTERS = {"breakable"}
# Adjectives and verbs that were names of modules, and the ending of sentences' modules.
NO_CONTENT = re.compile(
    r"whole|[a-z]*[^e]ed|planes|counts|views|words|\w+_words|writing|waiting|describe|assemble"
    r"|examine|propose|inflate|unpack|choosing\w*|unlit|marks|reader|extras|story|skies"
)
# Adjectives, participles and adverbs that were names of variables: `finite` was a mask, an array of
# values or a number. ``is_finite``, ``finite_values``, ``n_finite`` tell the three apart.
BARE_VARIABLES = {
    "about", "alone", "apart", "around", "asked", "chosen", "drawn", "finite", "free", "good",
    "known", "lit", "marked", "masked", "measured", "missing", "moved", "near", "needed", "ordered",
    "over", "own", "passed", "planned", "skipped", "small", "stated", "taken", "tall", "thick",
    "used", "wanted", "what", "where", "which", "why", "wide", "worst",
}  # fmt: skip
# Constants that name neither a unit nor a thing.
BARE_CONSTANTS = {
    "ABRUPT", "AGREE", "APART", "BELOW", "BESIDE", "BETTER", "BETWEEN", "BEYOND", "BRIGHT",
    "BRIGHTEST", "COARSE", "COLDEST", "DARKEST", "DEEP", "DEEPEST", "DIFFER", "EXACT", "FAINT",
    "FEW", "FEWER", "FEWEST", "FINE", "FINER", "HOTTEST", "INSIDE", "LARGE", "LARGEST", "LATER",
    "LEAST", "LIMIT", "LONG", "LONGEST", "LOOSE", "LOW", "LOWEST", "MANY", "MORE", "MOST",
    "MOSTLY", "MUTED", "NARROW", "NARROWEST", "NEAR", "NEAREST", "NOISIER", "NOISIEST", "OFF",
    "PALE", "QUIETEST", "RECENT", "SAME", "SEVERAL", "SHARP", "SHARPER", "SHORT", "SMALL",
    "SMALLEST", "SPARSE", "STRAY", "STRONG", "TALL", "TOGETHER", "USUAL", "WARMEST", "WEAK",
    "WIDE", "WIDEST", "WITHOUT",
}  # fmt: skip
# Names of tests without a subject, such as ``test_what_is_refused``, or with a participle that has
# neither place nor form of a message, or with a conjunction or pronoun that goes on from the test
# above: each is read alone. "What if" is a part of `scripts/explain.py`.
NO_SENTENCE = re.compile(
    r"test_(?:whatever|that|it|who|what(?!_if_)|and|but|or|so|then|they|those|these|its|their)_.*"
    r"|.*_what_(?!if_).*|.*_(?:said|told)(?:_.*)?"
)
# A subject and its verb, or its property.
FEWEST_WORDS = 3
# Each module of a kind has its columns; a status has one word wherever it is shown.
SHARED_CONSTANTS = {"COLUMNS", "SET_ASIDE", "UNDATED", "VERSION"}


def constants(tree):
    """Yield the names of the constants of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for each in ast.walk(target):
                    if isinstance(each, ast.Name) and each.id.isupper():
                        yield each.id


def names_given(tree):
    """Yield the variables, attributes, arguments and functions that a module names."""
    for node in nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr.strip("_")
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name


def functions():
    """Yield (module, name) of the public functions of the library and the scripts."""
    for path, _, tree in modules():
        if LIBRARY.parent in path.parents:
            yield from (
                (path, node.name)
                for node in tree.body
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
            )


def makers_of_objects(tree):
    """Return the names of the class methods of a module."""
    return {
        node.name
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each) == "classmethod" for each in node.decorator_list)
    }


def numbers(tree):
    """Yield (name, number) of the public constants of a module."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                is_public = isinstance(target, ast.Name) and re.match("[A-Z]", target.id)
                if is_public and isinstance(node.value.value, int | float):
                    yield target.id, node.value.value


@pytest.mark.parametrize(("folder", "least"), [("scripts", 250), ("tests", 200)])
def test_no_name_tells_only_how_its_value_came_about(folder, least):
    # A module without them is not parsed: nine in ten of `tests/`, each 20 ms.
    candidates = [module for module in modules(folder) if NAMED_EMPTY.search(module.text)]
    empty = {
        f"{path.name}: {name}"
        for path, _, tree in candidates
        for name in names_given(tree)
        if name in EMPTY
    }
    assert candidates
    assert empty == set()
    assert len(modules(folder)) > least


def test_no_value_of_the_library_is_called_made():
    """The name stood for a parser, a number and a list of records; ``is_made`` says enough."""
    trees = [(path, tree) for path, text, tree in modules() if re.search(r"\bmade\b", text)]
    assert len(trees) > 50
    assert {path.name for path, tree in trees if "made" in names_given(tree)} == set()


def test_no_name_is_a_question_or_a_pronoun():
    """``how`` was a recipe, phrases or options; ``mine`` the setup of a frame."""
    names = {
        f"{path.name}: {name}"
        for path, _, tree in modules()
        for name in names_given(tree)
        if name.strip("_") in ("how", "mine", "ours", "theirs", "yours")
    }
    assert names == set()
    # Of `tests/` the options that a helper hands on: to parse all of its files takes seconds.
    assert [module.path.name for module in modules("tests") if "**" + "how" in module.text] == []


def test_no_variable_is_named_by_a_preposition():
    """``variance_of_light``, not ``of_light``: a name says what the value is.

    Class methods that make an object are read behind their class: ``Region.of_ends(...)``.
    """
    names = []
    for path, _, tree in modules():
        if LIBRARY.parent in path.parents:
            makers = makers_of_objects(tree)
            names += [(path, name) for name in names_given(tree) if name not in makers]
    assert len(names) > 16000
    bare = {
        f"{path.name}: {name}"
        for path, name in names
        if PREPOSITION.fullmatch(name) and name.strip("_") not in USUAL_PREPOSITIONS
    }
    assert bare == set()


def test_no_variable_or_argument_is_a_bare_adjective():
    """``is_good`` for a mask, ``good_pixels`` for pixels, ``n_missing`` for a number.

    The master of a `Step` may be ``missing``: notes have this word.
    """
    names = [
        (path, node.arg if isinstance(node, ast.arg) else node.id)
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for node in nodes(tree)
        if isinstance(node, ast.arg)
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    ]
    assert len(names) > 25_000
    bare = {f"{path.name}: {name}" for path, name in names if name in BARE_VARIABLES}
    assert bare == set()


def test_a_number_of_things_is_called_n():
    """``n_wrong``, not ``wrong_count`` nor ``number_made``: numbers had these three forms."""
    names = [
        (path, getattr(node, "id", getattr(node, "attr", getattr(node, "arg", ""))))
        for path, _, tree in modules()
        if LIBRARY.parent in path.parents
        for node in nodes(tree)
        if isinstance(getattr(node, "ctx", None), ast.Store) or isinstance(node, ast.arg)
    ]
    assert len([name for _, name in names if re.match("_?n_[a-z]", name)]) > 120
    other_form = re.compile(
        r"_*[a-z]\w*_count|_*number_(?:made|reduced)|_*count_(?:before|outside)"
    )
    assert {f"{path.name}: {name}" for path, name in names if other_form.fullmatch(name)} == set()


def test_no_value_of_kinds_runs_and_verification_is_named_by_an_adverb():
    """``earlier_records``, not ``before``; ``set_aside``, not ``aside``.

    ``now`` is a time, ``each`` the item of a short loop.
    """
    folders = {LIBRARY / "kinds", LIBRARY / "run", LIBRARY / "verify"}
    names = [
        (path, name)
        for path, _, tree in modules()
        if path.parent == LIBRARY.parent or not folders.isdisjoint(path.parents)
        for name in names_given(tree)
    ]
    assert len(names) > 15_000
    bare = {f"{path.name}: {name}" for path, name in names if name.strip("_") in ADVERBS}
    assert bare == set()


def test_no_constant_is_named_by_a_preposition():
    """``_DISK_ERRORS``, not ``_OF_DISK``; the reaches of a kind are read behind their name."""
    names = [
        (path, name)
        for path, _, tree in modules()
        if LIBRARY.parent in path.parents
        for body in [tree, *(node for node in nodes(tree) if isinstance(node, ast.ClassDef))]
        for name in constants(body)
    ]
    assert len(names) > 1500
    bare = {name for _, name in names if PREPOSITION.fullmatch(name.lower())}
    assert bare == REACHES


def test_limits_are_called_least_and_most():
    """``LEAST_WIDTH`` and ``_MOST_MEMBERS``; ``NAME_MAX`` and ``PATH_MAX`` are the system's."""
    names = {
        (path.name, name)
        for path, _, tree in modules()
        if LIBRARY.parent in path.parents
        for name in constants(tree)
    }
    assert len([name for _, name in names if re.match("_?(LEAST|MOST)_", name)]) > 150
    assert {each for each in names if re.match("_?(MIN|MAX)(IMUM)?_", each[1])} == set()


# Methods that keep the result of a function that they are given.
KEEPING_METHODS = {"lookup", "kept_by_key", "kept_by_identity", "figure", "_plane", "recent_plane"}


def functions_kept(outer):
    """Yield the inner functions of a function whose results are kept by a key."""
    inner = {node.name: node for node in outer.body if isinstance(node, ast.FunctionDef)}
    if not inner:
        return
    for node in ast.walk(outer):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in KEEPING_METHODS:
            names = [each.id for each in node.args if isinstance(each, ast.Name)]
            yield from (inner[name] for name in names if name in inner)


def test_a_function_whose_result_is_kept_is_named_by_it():
    """Twenty-two were called ``make``, so that a traceback did not tell what was looked up."""
    kept = [
        (path.name, node)
        for path, text, tree in modules()
        if LIBRARY in path.parents and any(f".{name}(" in text for name in KEEPING_METHODS)
        for outer in nodes(tree)
        if isinstance(outer, ast.FunctionDef)
        for node in functions_kept(outer)
    ]
    assert len(kept) > 15
    assert [(name, node.lineno) for name, node in kept if node.name == "make"] == []
    assert [(name, node.name) for name, node in kept if ast.get_docstring(node) is None] == []


def test_variables_of_the_choice_of_masters_are_nouns():
    """``masters_of_camera``, not ``own``; ``rows_by_size``, not ``alike``."""
    folders = [LIBRARY / "calibrate"]
    folders += [
        LIBRARY / "kinds" / name for name in ("matching", "masters", "calibrating", "forecasting")
    ]
    names = [
        (path, name)
        for path, _, tree in modules()
        if path.parent in folders
        for name in names_given(tree)
    ]
    assert len(names) > 3000
    bare = {"alike", "off", "own", "same", "some", "there", "those", "what", "who"}
    assert {f"{path.name}: {name}" for path, name in names if name.strip("_") in bare} == set()


# Calls of functions that Python or astropy offer under such names alone.
FOREIGN_CALLS = {"os._exit", "threading._shutdown", "atexit._run_exitfuncs", "sys._getframe"}


# Attributes that functions have: those of Python and of its caches.
ATTRIBUTES_OF_FUNCTIONS = re.compile(r"__\w+__|cache_clear|cache_info|cache_parameters")


def attributes_of_own_functions(tree):
    """Yield (line, text) of the attributes that a module asks of its own functions."""
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    methods = [each for node in tree.body if isinstance(node, ast.ClassDef) for each in node.body]
    for outer in [*tree.body, *methods]:
        inner = list(ast.walk(outer)) if not isinstance(outer, ast.ClassDef) else []
        local = {each.arg for each in inner if isinstance(each, ast.arg)}
        local |= {
            each.id
            for each in inner
            if isinstance(outer, ast.FunctionDef)
            and isinstance(each, ast.Name)
            and isinstance(each.ctx, ast.Store)
        }
        for node in inner:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                is_function = node.value.id in functions - local
                if is_function and not ATTRIBUTES_OF_FUNCTIONS.fullmatch(node.attr):
                    yield node.lineno, ast.unparse(node)


def test_no_attribute_is_asked_of_a_function_of_the_same_module():
    """``watch.failed_count`` was meant of an argument that had another name by then."""
    tree = ast.parse(
        "def watch():\n    pass\ndef f(ended):\n    watch.count\ndef g(watch):\n    watch.count\n"
        "class C:\n    def m(self):\n        return watch.size, watch.__doc__\n"
    )
    assert sorted(attributes_of_own_functions(tree)) == [(4, "watch.count"), (9, "watch.size")]
    places = [
        f"{path.name}:{line}: {text}"
        for folder in ("scripts", "tests")
        for path, _, tree in modules(folder)
        for line, text in attributes_of_own_functions(tree)
    ]
    assert places == []


def test_no_argument_hides_the_name_of_its_own_method():
    """``rows(rows)`` read rows, wrote them or returned their noise: `read_rows`, `write_rows`."""
    methods = [
        (path, node)
        for path, _, tree in modules()
        for outer in nodes(tree)
        if isinstance(outer, ast.ClassDef)
        for node in outer.body
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(methods) > 1000
    hidden = [
        f"{path.name}:{node.lineno}: {node.name}"
        for path, node in methods
        if node.name in {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
    ]
    assert hidden == []


def test_tests_call_no_private_function_of_the_library():
    """A test that names a private function breaks with each change of its module."""
    own = {
        node.name
        for module in modules()
        for node in nodes(module.tree)
        if isinstance(node, ast.FunctionDef) and re.match("_[a-z]", node.name)
    }
    assert len(own) > 1500
    private = []
    for path, text, tree in modules("tests"):
        if not re.search(r"import .*\b_[a-z]|\w\._[a-z]\w*\(", text):
            continue
        for node in nodes(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ccdflow"):
                imported = {alias.name for alias in node.names}
                private += [f"{path.name}: {name}" for name in imported & own]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                is_own = called.startswith(("self.", "faults.")) or called in FOREIGN_CALLS
                if node.func.attr in own and not is_own:
                    private.append(f"{path.name}: {called}")
    assert private == []


def test_an_empty_name_of_any_kind_is_seen():
    """A variable, an attribute, a target of a loop, an argument, a function."""
    for text in (
        "found = 1", "for said in x: pass", "def f(told): pass", "def found(): pass",
        "lambda *said: 0", "with x as told: pass", "[y for found in x]", "f(told := 1)",
        "found, y = x", "(y, said) = x", "told |= x", "told: int = 1", "[\n    found\n] = x",
        "self.said = 1", "self._told, y = x", "is_told = 1", "def f(was_found): pass",
    ):  # fmt: skip
        assert set(names_given(ast.parse(text))) & EMPTY, text
        assert NAMED_EMPTY.search(text), text


def test_names_of_tests_have_a_subject_and_a_verb():
    """``test_an_error_of_reading_costs_one_frame``, not ``test_whatever_reading_raises_...``."""
    names = [
        f"{module.path.name}: {name}"
        for module in modules("tests")
        for name in re.findall(r"^ *def (test_\w+)", module.text, re.MULTILINE)
    ]
    assert len(names) > 2000
    assert [name for name in names if NO_SENTENCE.fullmatch(name.partition(": ")[2])] == []
    # ``test_no_thread_is_refused``: are all accepted, or are zero threads refused?
    ambiguous = re.compile(r".*: test_no_.*_(?:is|are)_refused")
    assert ambiguous.fullmatch("x.py: test_no_number_in_a_list_is_refused")
    assert [name for name in names if ambiguous.fullmatch(name)] == []
    # Rows of docs/rebuilds.md have their sentences there.
    rows = (ROOT / "tests" / "contract.md").read_text("utf-8")
    short = {
        name
        for _, _, name in (name.partition(": ") for name in names)
        if name.count("_") < FEWEST_WORDS and f"`{name}`" not in rows
    }
    assert short == set()


def test_private_functions_are_verbs_or_nouns():
    """Private names follow the rule of the public ones, in these packages."""
    packages = (
        "calibrate", "camera", "combine", "detector", "files", "frame", "kinds", "pages", "run",
        "simulate", "verify",
    )  # fmt: skip
    names = [
        (path, node.name)
        for path, _, tree in modules()
        if LIBRARY in path.parents and path.relative_to(LIBRARY).parts[0] in packages
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef) and re.match("_[a-z]", node.name)
    ]
    assert len(names) > 500
    bare = [f"{path.name}: {name}" for path, name in names if BARE_NAME.fullmatch(name[1:])]
    assert bare == []


def test_a_private_function_is_named_by_more_than_one_word():
    """``_figures``, ``_form`` and ``_runs`` meant other things in each of three or four modules."""
    names = [
        (path, node.name)
        for path, _, tree in modules()
        if LIBRARY.parent in path.parents
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and re.match("_[a-z]", node.name)
    ]
    assert len(names) > 1000
    bare = [f"{path.name}: {name}" for path, name in names if "_" not in name[1:]]
    assert [each for each in bare if each.partition(": ")[2] not in ONE_WORD] == []
    assert len(bare) == len(ONE_WORD), "each word in one module, and no word without a function"


# Public functions of one word that others import alone: each is a term, or an act with one meaning.
ONE_WORD_IMPORTS = {
    "ask", "calendar", "card", "ccdmask", "cells", "chunks", "combine", "commentary", "count",
    "digest", "drawing", "duration", "expose", "font", "generator", "href", "identify",
    "jd", "legend", "listing", "median", "mjd", "observe", "percentile", "pixels", "plural",
    "profile", "propose", "realise", "render", "shrink", "template", "verify",
    "vignetting",
}  # fmt: skip


def test_a_function_that_is_imported_alone_is_named_by_more_than_one_word():
    """In `find(headers, spec)` or `drift(levels)` no reader sees the module: `value_of_card`.

    ``lock.acquire`` is read with its module, and may have one word.
    """
    single = {
        ("ccdflow." + ".".join(path.relative_to(LIBRARY).with_suffix("").parts), node.name)
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and "_" not in node.name
    }
    assert len(single) > 40
    imported = {
        (node.module, alias.name)
        for path, _, tree in modules()
        for node in nodes(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {name for _, name in single & imported} == ONE_WORD_IMPORTS


_QUESTION = re.compile("_?(is|are|has|have|needs|can|may|must|was)_")
_CHANGES = {"add", "append", "clear", "extend", "insert", "pop", "remove", "setdefault", "update"}


# Verbs with which the name of a value begins that is true or false.
VERBS = {
    "accepts", "adds", "agrees", "allows", "are", "can", "checks", "compares", "converts", "counts",
    "did", "differs", "does", "draws", "drops", "fills", "fits", "follows", "forces", "foretells",
    "gathers", "had", "has", "have", "includes", "inherits", "is", "joins", "keeps", "lacks",
    "leads", "leaves", "makes", "may", "measures", "must", "names", "needs", "normalises",
    "overwrites", "plans", "prefers", "raises", "reads", "reports", "runs", "stands", "states",
    "takes", "tries", "uses", "verifies", "waits", "was", "were", "will", "writes",
}  # fmt: skip
# Names that others prescribe, by the module and the reason.
PRESCRIBED_TRUTHS = {
    # Settings of a reduction, as a profile names them.
    "reduction_recipe.py": {"raw", "subtract", "trim"},
    # A setting of Snakemake's workflow.
    "host.py": {"use_threads"},
    # Arguments of `ccdproc.ccdmask`, of json and of PyYAML, and a setting of astropy.
    "ccdmask.py": {"byblocks", "findbadcolumns"},
    "json_text.py": {"sort_keys"},
    "yaml_reading.py": {"deep"},
    "text_cards.py": {"enable_record_valued_keyword_cards"},
}
_TRUE_CALLS = {"all", "any", "bool", "callable", "hasattr", "isinstance", "issubclass"}
_TRUE_METHODS = {
    "all", "any", "endswith", "exists", "is_dir", "is_file", "isdigit", "isdisjoint", "startswith",
}  # fmt: skip


def is_truth(node):
    """Return whether an expression is true or false, or an array of such values."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    if isinstance(node, ast.BoolOp):
        return all(map(is_truth, node.values))
    if isinstance(node, ast.IfExp):
        return is_truth(node.body) and is_truth(node.orelse)
    if isinstance(node, ast.Call):
        called = node.func
        if isinstance(called, ast.Name):
            return called.id in _TRUE_CALLS
        return isinstance(called, ast.Attribute) and called.attr in _TRUE_METHODS
    return isinstance(node, ast.Compare)


def targets_with_values(node):
    """Yield (target, value) of an assignment, those of tuples one by one."""
    if isinstance(node, ast.NamedExpr):
        yield node.target, node.value
    for target in node.targets if isinstance(node, ast.Assign) else ():
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def arguments_with_defaults(function):
    """Yield (argument, default) of a function, None where there is no default."""
    given = function.args
    in_order = [*given.posonlyargs, *given.args]
    without = [None] * (len(in_order) - len(given.defaults))
    yield from zip(in_order, [*without, *given.defaults], strict=True)
    yield from zip(given.kwonlyargs, given.kw_defaults, strict=True)


def truths(tree):
    """Yield the names of the values of a module that are true or false.

    They are those of assignments, of arguments by their default, their annotation and their
    docstring, and of fields by their annotation.
    """
    for node in nodes(tree):
        for target, value in targets_with_values(node):
            if is_truth(value) and isinstance(target, ast.Name | ast.Attribute):
                yield target.id if isinstance(target, ast.Name) else target.attr
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "bool":
            yield ast.unparse(node.target).rpartition(".")[2]
        if isinstance(node, ast.FunctionDef):
            for argument, default in arguments_with_defaults(node):
                annotation = argument.annotation and ast.unparse(argument.annotation)
                if annotation == "bool" or (default is not None and is_truth(default)):
                    yield argument.arg
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for line in (ast.get_docstring(node) or "").splitlines():
                if match := re.fullmatch(r" *(\w+(?:, \w+)*) : bool(?:, optional)?", line):
                    yield from match[1].split(", ")


def test_a_value_that_is_true_or_false_begins_with_a_verb():
    """``has_noise`` beside a noise in electrons; ``is_local``; ``compares_all_rows``."""
    names = [
        (path.name, name.strip("_"))
        for folder in ("scripts", "benchmarks")
        for path, _, tree in modules(folder)
        for name in truths(tree)
    ]
    assert len(names) > 850
    bare = {
        (module, name)
        for module, name in names
        # A mask is an array of truths, and a constant is written in capitals.
        if name.partition("_")[0] not in VERBS and name != "mask" and not name.isupper()
    }
    assert bare == {(module, name) for module, each in PRESCRIBED_TRUTHS.items() for name in each}


# Arguments of Snakemake's `--keep-going`, of subprocess, of `Path.unlink` and of `open`.
PRESCRIBED_IN_TESTS = {"check", "closefd", "keep_going", "missing_ok"}


def test_an_argument_of_a_helper_of_tests_that_is_true_or_false_begins_with_a_verb():
    """``snapshot(folder, has_notes=True)``, not ``snapshot(folder, state=True)``."""
    names = [
        (path.name, argument.arg)
        for path, text, tree in modules("tests")
        if re.search(r"=(?:True|False)\b", text)
        for function in nodes(tree)
        if isinstance(function, ast.FunctionDef)
        for argument, default in arguments_with_defaults(function)
        if isinstance(default, ast.Constant) and isinstance(default.value, bool)
    ]
    assert len(names) > 20
    bare = [each for each in names if each[1].partition("_")[0] not in VERBS | {"knows"}]
    assert {name for _, name in bare} == PRESCRIBED_IN_TESTS


@pytest.mark.parametrize(
    "text",
    [
        "lit = a > b", "lit, n = a in b, 1", "self._lit = not a", "f(lit := a is None)",
        "lit = any(a)", "lit = a == b and not c", "lit = a.startswith(b)", "lit: bool = a",
        "def f(a, lit=False): pass", "def f(*, lit=True): pass", "def f(lit: bool): pass",
        'def f(lit):\n    """Do.\n\n    lit : bool\n    """', "lit = True if a else a < b",
    ],
)  # fmt: skip
def test_a_truth_without_a_verb_is_seen(text):
    assert [name.strip("_") for name in truths(ast.parse(text))] == ["lit"]
    assert list(truths(ast.parse("a = b\nc = a + 1\ndef f(d=None, e=0): return d > e"))) == []


def names_bound(function):
    """Yield the arguments and variables of a function, without those of functions inside."""
    given = function.args
    for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
        if each is not None:
            yield each.arg
    left = list(function.body) if isinstance(function, ast.FunctionDef) else []
    while left:
        node = left.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            left += ast.iter_child_nodes(node)


def names_that_hide(tree):
    """Return the arguments and variables of a module that hide one of its functions or classes."""
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return [
        name
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef | ast.Lambda)
        for name in names_bound(node)
        if name in own
    ]


def test_no_argument_and_no_variable_hides_a_function_of_its_module():
    """``frame_type`` was a function and, in seven others, a text: ``image_type``."""
    hidden = [
        f"{path.name}: {name}"
        for folder in ("scripts", "benchmarks")
        for path, _, tree in modules(folder)
        for name in names_that_hide(tree)
    ]
    assert hidden == []
    for inner in ("def g(f): pass", "def g(): f = 1", "def g(): [f for f in a]", "lambda f: f"):
        assert names_that_hide(ast.parse(f"def f(): pass\n{inner}")) == ["f"]
    assert names_that_hide(ast.parse("def f(): pass\ndef g(h): f(h)")) == []


# Functions whose result is another quantity: squares are no deviations any more.
_CHANGED_QUANTITIES = {"np.abs", "np.exp", "np.log", "np.sqrt", "np.square"}


def unnamed_results(tree):
    """Yield the lines of a module in which an array becomes another quantity and keeps its name."""
    for node in nodes(tree):
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) in _CHANGED_QUANTITIES:
            outputs = [ast.unparse(each.value) for each in call.keywords if each.arg == "out"]
            if outputs == [ast.unparse(call.args[0])]:
                yield node.lineno


def test_squares_and_roots_in_place_have_a_name_of_their_own():
    """``squares = np.square(deviations, out=deviations)``, and no `deviations` below it."""
    unnamed = [
        f"{path.name}:{line}"
        for folder in ("scripts", "benchmarks")
        for path, _, tree in modules(folder)
        for line in unnamed_results(tree)
    ]
    assert unnamed == []
    assert list(unnamed_results(ast.parse("a = 1\nnp.square(a, out=a)"))) == [2]


def changes_by_questions(tree):
    """Return (name, line) where a function named as a question changes what it was given."""
    changes = []
    for function in nodes(tree):
        if not isinstance(function, ast.FunctionDef) or not _QUESTION.match(function.name):
            continue
        arguments = function.args
        given = {
            each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        }
        for node in ast.walk(function):
            target = None
            if isinstance(node, ast.Attribute | ast.Subscript):
                target = node.value if isinstance(node.ctx, ast.Store | ast.Del) else None
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                target = node.func.value if node.func.attr in _CHANGES else None
            while isinstance(target, ast.Attribute | ast.Subscript):
                target = target.value
            if isinstance(target, ast.Name) and target.id in given:
                changes.append((function.name, node.lineno))
    return changes


def test_a_question_changes_nothing():
    """A function that answers yes or no leaves its arguments and its object as they are."""
    places = [
        (path.name, *change) for path, _, tree in modules() for change in changes_by_questions(tree)
    ]
    assert places == []


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("self.problems[name] = 1", 1),
        ("self.count += 1", 1),
        ("name.seen.add(self)", 1),
        ("del self.a.b[name]", 1),
        ("mask = self.mask.copy(); mask[0] = 1; mask.sort(); return self.mask[0]", 0),
    ],
)
def test_a_question_that_changes_its_object_is_seen(body, number):
    for name in ("is_kernel", "_has_frames", "needs_plan"):
        assert len(changes_by_questions(ast.parse(f"def {name}(self, name): {body}"))) == number
    assert changes_by_questions(ast.parse(f"def refuse(self, name): {body}")) == []


def test_public_functions_are_verbs_or_nouns():
    """``read_applied_master``, not ``applied``; ``flats_of_one_rank``, not ``of_one_rank``."""
    assert len(list(functions())) > 1000
    bare = [
        f"{path.name}: {name}"
        for path, name in functions()
        if name not in FILTERS and BARE_NAME.fullmatch(name)
    ]
    assert bare == []


def test_members_of_enumerations_are_verbs_or_nouns():
    """``DRAWN_FRAMES``, not ``DRAWN``: a key says what is kept by it."""
    members = [
        (path, name)
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for node in nodes(tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith("Enum") for base in node.bases)
        for name in constants(node)
    ]
    assert len(members) > 50
    bare = [f"{path.name}: {name}" for path, name in members if BARE_NAME.fullmatch(name.lower())]
    assert bare == []


def test_modules_are_named_by_nouns_for_their_content():
    names = [path.stem for path in LIBRARY.rglob("*.py")]
    assert len(names) > 250
    assert [name for name in names if NO_CONTENT.fullmatch(name)] == []


def test_a_kind_is_a_kind_of_product():
    """An image type, the meaning of a card, the class of an error have names of their own."""
    # These packages know no products.
    kinds = {
        f"{path.name}: {name}"
        for path, _, tree in modules()
        if {LIBRARY / "camera", LIBRARY / "files"} & {*path.parents}
        for name in names_given(tree)
        if re.fullmatch("_*kinds?", name.lower())
    }
    assert kinds == set()


def test_a_seal_is_that_of_an_archive():
    """The lines of a table have checksums: the seal of an archive is in ``run/`` alone."""
    seals = {
        f"{path.name}: {name}"
        for path, _, tree in modules()
        if LIBRARY in path.parents and path.parent.name not in ("run", "sealing", "ending")
        for name in names_given(tree)
        if "seal" in name.lower() and path.name != "paths.py"
    }
    assert seals == set()


def test_a_number_with_a_public_name_is_defined_once():
    places = defaultdict(list)
    for path, _, tree in modules():
        # Verification has constants of its own, because it shares no arithmetic.
        if LIBRARY in path.parents and LIBRARY / "verify" not in path.parents:
            for constant in numbers(tree):
                places[constant].append(path.name)
    assert places
    assert {constant: files for constant, files in places.items() if len(files) > 1} == {}


def test_a_public_constant_has_one_meaning():
    """``LIMIT`` was sigma in one module and seconds in another."""
    places = defaultdict(list)
    for path, _, tree in modules():
        if LIBRARY in path.parents and LIBRARY / "verify" not in path.parents:
            for name in constants(tree):
                if not name.startswith("_") and name not in SHARED_CONSTANTS:
                    places[name].append(path.name)
    assert len(places) > 300
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_no_script_repeats_a_constant_of_the_library():
    in_library, in_scripts = set(), {}
    for path, _, tree in modules():
        definitions = {
            text
            for node in tree.body
            if isinstance(node, ast.Assign) and (text := ast.unparse(node))[0] != "_"
        }
        if LIBRARY in path.parents:
            in_library |= definitions
        elif path.parent == LIBRARY.parent:
            in_scripts |= dict.fromkeys(definitions, path.name)
    assert len(in_scripts) > 8
    assert {text: file for text, file in in_scripts.items() if text in in_library} == {}


def test_every_private_constant_is_used():
    """A merge left one behind whose name had become public."""
    unused = []
    for path, text, tree in modules():
        if LIBRARY.parent in path.parents:
            words = Counter(re.findall(r"\w+", text))
            unused += [
                (path.name, name)
                for name in constants(tree)
                if name.startswith("_") and words[name] == 1
            ]
    assert unused == []


def test_constants_name_a_unit_or_a_thing():
    """``MOST_LABELS``, not ``LABELS``; ``LOW_SIGMA``, not ``LOW``."""
    bare = [
        f"{path.name}: {name}"
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for name in constants(tree)
        if name.strip("_") in BARE_CONSTANTS
    ]
    assert bare == []


# Numbers, prepositions, adverbs, adjectives and irregular participles: no name of a function, which
# tells an act or its result.
BARE_WORDS = {
    "of", "in", "on", "at", "by", "to", "for", "from", "with", "without", "into", "onto", "over",
    "under", "before", "after", "beside", "between", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "twenty", "many", "few", "several", "most", "all", "none",
    "other", "others", "only", "nowhere", "somewhere", "everywhere", "elsewhere", "away", "apart",
    "where", "once", "everything", "again", "alike", "alone", "always", "any", "bad", "best",
    "broken", "bright", "cold", "dim", "earlier", "every", "good", "here", "hot", "kept",
    "left", "left_out", "local", "long", "lost_in", "made", "mine", "odd", "often", "old", "older",
    "oldest", "original", "own", "plain", "proven", "real", "rebuilt", "said", "seen", "simple",
    "single", "soon", "standard", "steady", "stale", "together", "unknown", "unlike", "unreadable",
    "whole", "wide", "written",
}  # fmt: skip


def is_bare(name):
    """Return whether a name is a participle, a preposition, an adjective or such a word alone."""
    word = name.strip("_").lower()
    return (
        word in BARE_WORDS
        or BARE_NAME.fullmatch(word) is not None
        or (PREPOSITION.fullmatch(word) is not None and word not in USUAL_PREPOSITIONS)
    )


def helpers_named_barely(tree):
    """Yield (line, name) of such functions of a module; `of` may be a class method's."""
    makers = makers_of_objects(tree)
    for node in nodes(tree):
        if isinstance(node, ast.FunctionDef) and is_bare(node.name) and node.name not in makers:
            yield node.lineno, node.name


# Methods whose names Python's streams and Jinja's filters prescribe.
PRESCRIBED_METHODS = {"breakable", "readable"}


def test_methods_and_inner_functions_are_verbs_or_nouns():
    """``cards_with_name``, not ``named``; ``shift``, not ``shifted``; ``n_marked``, not ``odd``."""
    bare = {
        name
        for folder in ("scripts", "benchmarks")
        for _, _, tree in modules(folder)
        for _, name in helpers_named_barely(tree)
    }
    assert bare == PRESCRIBED_METHODS


def test_no_helper_of_tests_is_named_by_a_bare_word():
    """A reader of `many` or `made` in a test must look up what it adds: `add_varied_frames`."""
    helpers = [
        f"{path.name}:{line} {name}"
        for path, _, tree in modules("tests")
        for line, name in helpers_named_barely(tree)
    ]
    assert helpers == []
    assert list(helpers_named_barely(ast.parse("def _once(): pass"))) == [(1, "_once")]


def test_no_constant_of_tests_is_named_by_a_bare_word():
    """``ROW_RECIPE``, not ``BY_ROW``; ``LATER_NIGHT``, not ``LATER``."""
    names = [(path.name, name) for path, _, tree in modules("tests") for name in constants(tree)]
    assert len(names) > 700
    bare = [each for each in names if each[1].strip("_") in BARE_CONSTANTS or is_bare(each[1])]
    assert bare == []


def misnamed_warnings(tree):
    """Return the functions of a module whose docstring begins with "Warn", under another verb."""
    return [
        node.name
        for node in nodes(tree)
        if isinstance(node, ast.FunctionDef)
        and (ast.get_docstring(node) or "").startswith("Warn")
        and not node.name.strip("_").startswith("warn")
    ]


def test_a_function_that_warns_is_called_so():
    """``warn_of_unlike_dates``, not ``look_at_dates``: a look has no effect."""
    trees = [(path, tree) for path, _, tree in modules() if LIBRARY in path.parents]
    assert (
        sum(
            each.strip("_").startswith("warn_of") for _, tree in trees for each in names_given(tree)
        )
        > 8
    )
    assert [(path.name, name) for path, tree in trees for name in misnamed_warnings(tree)] == []
    assert misnamed_warnings(ast.parse('def look():\n    """Warn of dates."""')) == ["look"]


# Fields that are read behind their object: ``reduced.without_level`` has the parts of a
# frame without an overscan level, ``row_noise.with_level_per_row`` the noise that a level for
# each row leaves.
NOUNLESS_NAMES = {"without_level", "with_level_per_row"}


def test_no_name_begins_with_with_or_without():
    """``names_without_gain``, not ``without_gain``: the noun says what the value is.

    Public methods that return a changed copy are read behind their object: ``row.with_verdict``.
    """
    names = []
    for path, _, tree in modules():
        if LIBRARY.parent in path.parents:
            classes = [node for node in nodes(tree) if isinstance(node, ast.ClassDef)]
            methods = {each.name for node in classes for each in node.body if hasattr(each, "name")}
            names += [(path, name) for name in names_given(tree) if name not in methods]
            names += [(path, name) for name in methods if name.startswith("_")]
    assert len(names) > 16_000
    bare = {(path.name, name) for path, name in names if re.match("_*with(?:out)?_", name)}
    assert {name for _, name in bare} == NOUNLESS_NAMES, bare


# Lines of the body of a loop whose item may be called ``each``: such a loop is read at a glance.
MOST_LINES_OF_EACH = 5


def long_loops_over_each(tree):
    """Return the lines of the loops of a module in which ``each`` is read far from its sequence."""
    return [
        node.lineno
        for node in nodes(tree)
        if isinstance(node, ast.For)
        and "each" in {getattr(target, "id", "") for target in ast.walk(node.target)}
        and node.end_lineno - node.lineno > MOST_LINES_OF_EACH
    ]


def test_the_item_of_a_long_loop_has_a_name():
    """``for subfolder in folders``: five lines further down ``each`` says nothing."""
    trees = [(path, tree) for path, _, tree in modules() if LIBRARY.parent in path.parents]
    assert len(trees) > 250
    assert [(path.name, line) for path, tree in trees for line in long_loops_over_each(tree)] == []
    body = "\n    f(each)" * (MOST_LINES_OF_EACH + 1)
    assert long_loops_over_each(ast.parse(f"for i, each in a:{body}")) == [1]
    assert long_loops_over_each(ast.parse("for each in a:\n    f(each)")) == []


def test_a_stamp_is_that_of_a_file():
    """The size and times of a file: no time of a card, no hash (docs/architecture.md, "Words")."""
    names = {
        (path.name, name)
        for path, _, tree in modules()
        if LIBRARY in path.parents and {LIBRARY / "camera", LIBRARY / "verify"} & {*path.parents}
        for name in names_given(tree)
    }
    assert len(names) > 2000
    assert {each for each in names if "stamp" in each[1].lower()} == set()


def test_the_dash_of_an_empty_cell_is_one_constant():
    """Templates have it in their markup; the library in ``EMPTY_CELL`` alone."""
    dashes = [
        (path.name, node.lineno)
        for path, _, tree in modules()
        if LIBRARY in path.parents
        for node in nodes(tree)
        if isinstance(node, ast.Constant) and node.value == "\N{EN DASH}"
    ]
    assert [name for name, _ in dashes] == ["text_formatting.py"]
