"""No decision hangs on the text of a sentence: another wording must not change what is done.

A reason, remark, warning or problem is for readers. Code asks the value beside it: `RowMark`,
`RemarkKind`, `MissingCause`, an entry of a record's data.
"""

import ast
import re
from types import SimpleNamespace

import pytest
from library_trees import ROOT, modules, nodes

LIBRARY = ROOT / "scripts" / "ccdflow"
# Variables, attributes and keys that hold a sentence, or several.
SENTENCE = re.compile(r"(?:.*_)?(?:reason|remark|warning|sentence|why|note|problem|words)")
SENTENCES = re.compile(r"(?:.*_)?(?:reason|remark|warning|sentence|note|problem)s")
# Methods that look into a text, and functions of patterns that do.
LOOKS = {
    "startswith", "endswith", "removeprefix", "removesuffix", "split", "rsplit", "partition",
    "rpartition", "find", "rfind", "index", "count", "match", "fullmatch", "search", "sub", "subn",
    "findall", "finditer", "replace",
}  # fmt: skip
# A constant of two words or more.
SEVERAL_WORDS = re.compile(r"[a-z`']+ +[a-z`']+", re.IGNORECASE)
# Modules that read the sentences of others, or their own from a file that holds nothing else:
# products that are verified or explained, the table of frames, rows of earlier versions, Snakemake.
READERS = {
    "kinds/explaining/product_explanation.py", "pages/terminal.py", "run/raw_frames/older_rows.py",
    "run/under_snakemake/snakemake_messages.py",
}  # fmt: skip
# The name of an entry in the basis of a frame: part of its key.
NAMES_OF_ENTRIES = {"MAY_CHANGE"}
# Functions that read a record of an earlier version, which has the words alone.
READERS_OF_EARLIER_RECORDS = {"is_below_minimum", "_subject_formerly"}
# Lines on texts that differ in their figures alone are merged, whatever the texts are.
# A line of `Row.amplifier_warnings` is topic, tab, text.
MERGERS = {"topics_and_warnings", "merged_findings", "warning_lines"}
# Names the file of a profile in the place of the noun; a sentence without the noun stays as it is.
NAMES_OF_FILES = {"sentences_on_warnings"}

EXEMPT = READERS_OF_EARLIER_RECORDS | MERGERS | NAMES_OF_FILES


def is_word_of_header(path):
    """Return whether the words of a module are those of headers: none of ccdflow's sentences."""
    return path.parent.name in ("camera", "times")


def is_checked(path):
    if LIBRARY not in path.parents or LIBRARY / "verify" in path.parents:
        return False
    return path.relative_to(LIBRARY).as_posix() not in READERS


def name_of(node):
    """Return the last name of an expression: ``row.reason``, ``row["reason"]`` -> reason."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return getattr(node, "attr", getattr(node, "id", ""))


def constants_of_several_words(tree):
    """Yield the names of a module's constants that are texts of several words, or have one."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            texts = [e.value for e in ast.walk(node.value) if isinstance(e, ast.Constant)]
            # A pattern is compiled, and the text within it is none.
            is_plain = not any(isinstance(each, ast.Call) for each in ast.walk(node.value))
            if is_plain and any(isinstance(t, str) and SEVERAL_WORDS.search(t) for t in texts):
                targets = [e for target in node.targets for e in ast.walk(target)]
                yield from (e.id for e in targets if isinstance(e, ast.Name))


def names_of_sentences(function):
    """Return the names in a function that run over sentences: ``for text in row.warnings``."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.comprehension):
            values = node.iter
            if isinstance(values, ast.Call) and name_of(values.func) == "splitlines":
                values = values.func.value
            if isinstance(node.target, ast.Name) and SENTENCES.fullmatch(name_of(values)):
                names.add(node.target.id)
    return names


def looks_into_sentences(function, constants=frozenset(), others=()):
    """Return the expressions of a function that look into a sentence.

    Parameters
    ----------
    function : ast.AST
    constants : collection of str
        Names of constants that are sentences, or parts of them.
    others : collection of str
        Names that hold no sentence here.
    """
    own = names_of_sentences(function)

    def is_sentence(node):
        name = name_of(node)
        return name in own or (name not in others and SENTENCE.fullmatch(name) is not None)

    def is_part(node):
        parts = node.elts if isinstance(node, ast.Tuple | ast.List) else [node]
        return any(name_of(part) in constants for part in parts)

    looks = []
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            if is_sentence(node.comparators[0]) or is_part(node.left):
                looks.append(ast.unparse(node))
        elif isinstance(node, ast.Call) and name_of(node.func) in LOOKS:
            subject = getattr(node.func, "value", None)
            arguments = node.args
            if is_sentence(subject) or any(is_sentence(a) or is_part(a) for a in arguments):
                looks.append(ast.unparse(node))
    return looks


def test_no_decision_hangs_on_the_text_of_a_sentence():
    trees = {path: tree for path, _, tree in modules() if is_checked(path)}
    assert len(trees) > 250
    public = {
        name
        for tree in trees.values()
        for name in constants_of_several_words(tree)
        if not name.startswith("_")
    }
    looks = []
    for path, tree in trees.items():
        constants = (public | set(constants_of_several_words(tree))) - NAMES_OF_ENTRIES
        others = {"words"} if is_word_of_header(path) else ()
        for node in tree.body:
            functions = node.body if isinstance(node, ast.ClassDef) else [node]
            for function in functions:
                if getattr(function, "name", "") not in EXEMPT:
                    own = looks_into_sentences(function, constants, others)
                    looks += [f"{path.name}: {look}" for look in own]
    assert looks == []


@pytest.mark.parametrize(
    "text",
    [
        "x = 'too few' in record.reason",
        "x = TOO_FEW in text",
        "x = row['reason'].split('; ')",
        "x = any(text.startswith('scaled ') for text in use.remarks)",
        "x = [each for each in row.warnings.splitlines() if 'gain' not in each]",
        "x = re.sub('a', 'b', why)",
        "x = PATTERN.fullmatch(step.problem)",
        "x = text.startswith((TOO_FEW, 'b'))",
        "x = words.startswith('without ')",
        "x = text.replace(TOO_FEW, 'few')",
    ],
)
def test_a_look_into_a_sentence_is_seen(text):
    assert looks_into_sentences(ast.parse(text), {"TOO_FEW"}), text


@pytest.mark.parametrize(
    "text",
    [
        "x = kind in reasons",
        "x = f'{row.reason}; {text}'",
        "x = mark in row.marks.split()",
        "x = kind in (TOO_FEW, MARK)",
        "x = path.startswith('reduced/')",
    ],
)
def test_a_sentence_that_is_only_shown_is_none(text):
    assert looks_into_sentences(ast.parse(text), {"TOO_FEW"}) == [], text


def test_constants_of_several_words_are_known():
    tree = ast.parse("A, B = 'too few', 'x'\nC = ('lit', 'of a kind')\nD = re.compile('a b')")
    assert list(constants_of_several_words(tree)) == ["A", "B", "C"]


def cuts_of_sentences(tree, constants):
    """Return the slices in a tree whose bounds are lengths of sentences."""
    cuts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            lengths = [
                each for each in ast.walk(node.slice)
                if isinstance(each, ast.Call) and name_of(each.func) == "len"
            ]  # fmt: skip
            names = {name_of(part) for each in lengths for part in ast.walk(each)}
            if names & constants:
                cuts.append(ast.unparse(node))
    return cuts


def test_no_error_is_made_by_cutting_a_sentence():
    """A text that is whole stays whole: its parts are put together, never taken apart."""
    trees = {path: tree for path, _, tree in modules() if is_checked(path)}
    cuts = [
        f"{path.name}: {cut}"
        for path, tree in trees.items()
        for cut in cuts_of_sentences(tree, set(constants_of_several_words(tree)))
    ]
    assert cuts == []


def test_the_rule_finds_a_sentence_that_is_cut():
    tree = ast.parse("_REMEDY = 'cut the strip'\nproblem = text[: -len(f'; {_REMEDY}')]")
    assert cuts_of_sentences(tree, set(constants_of_several_words(tree))) == [
        "text[:-len(f'; {_REMEDY}')]"
    ]


# Texts of other programs, and of code that a test must not find.
FOREIGN_TEXTS = {"==SUPPRESS==", "Error in rule", "\\xa0", 'import_module("ccdflow.pages'}


def absent_texts(tree):
    """Yield the syntax trees of texts that an assertion of a test says to be absent."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assert):
            continue
        negated = {
            id(each)
            for outer in ast.walk(node.test)
            if isinstance(outer, ast.UnaryOp) and isinstance(outer.op, ast.Not)
            for each in ast.walk(outer)
        }
        for each in ast.walk(node.test):
            if not isinstance(each, ast.Compare):
                continue
            is_absent = isinstance(each.ops[0], ast.NotIn) or (
                isinstance(each.ops[0], ast.In) and id(each) in negated
            )
            is_text = isinstance(each.left, ast.JoinedStr) or (
                isinstance(each.left, ast.Constant) and isinstance(each.left.value, str)
            )
            if is_absent and is_text:
                yield each.left


def parts_of_text(tree):
    """Return the parts of a text, or of an f-string, that a program writes as they stand.

    Numbers are left out: code that writes " nights before" writes "6 nights before" as well. Where
    an f-string has a value, the code has one: the part ends or begins with the bracket.
    """
    if isinstance(tree, ast.Constant):
        return [part for part in re.split(r"\d+", tree.value) if part.strip()]
    whole = "".join(
        re.sub(r"\d+", "\0", each.value) if isinstance(each, ast.Constant) else "{\0}"
        for each in tree.values
    )
    return [part for part in whole.split("\0") if part.strip(" {}")]


def text_of(tree):
    """Return a text as it is, an f-string with its brackets; "" for another constant."""
    if isinstance(tree, ast.JoinedStr):
        return "".join(
            each.value if isinstance(each, ast.Constant) else f"{{{ast.unparse(each.value)}}}"
            for each in tree.values
        )
    return tree.value if isinstance(tree.value, str) else ""


def unsaid_texts(module, code):
    """Yield texts that a test says to be absent and that neither code nor the same file has."""
    absent = list(absent_texts(module.tree))
    places = {id(each) for each in absent}
    places |= {id(part) for each in absent for part in ast.walk(each)}
    other_texts = [
        text_of(each)
        for each in (nodes(module.tree) if absent else ())
        if isinstance(each, ast.Constant | ast.JoinedStr) and id(each) not in places
    ]
    for each in absent:
        parts = parts_of_text(each)
        if not all(part in code or any(part in text for text in other_texts) for part in parts):
            yield text_of(each)


def test_a_text_that_a_test_says_to_be_absent_is_one_that_ccdflow_says():
    """An assertion on a text that was reworded since holds for ever, whatever the code does."""
    files = [module.text for module in modules()]
    files += [path.read_text("utf-8") for path in ROOT.glob("rules/*.smk")]
    templates = LIBRARY.glob("**/templates/*")
    files += [path.read_text("utf-8") for path in templates if path.is_file()]
    code = re.sub(r'"\s*\n\s*[rf]*"|\\(?=\W)', "", "\n".join(files))
    unsaid = {
        f"{module.path.name}: {text}"
        for module in modules("tests")
        if re.search(r"assert .*\bnot\b", module.text)
        for text in unsaid_texts(module, code)
        if text not in FOREIGN_TEXTS
    }
    assert unsaid == set()


def test_a_text_that_nothing_says_is_seen():
    text = 'assert not any("a dome" in x for x in y)\nassert "7 skies" not in x'
    module = SimpleNamespace(tree=ast.parse(text))
    assert sorted(unsaid_texts(module, "seven moons")) == ["7 skies", "a dome"]
    assert list(unsaid_texts(module, "10 skies over a dome")) == []
    module = SimpleNamespace(tree=ast.parse('assert f"before {x}" not in y'))
    assert list(unsaid_texts(module, 'f"second {y}, the night before it"')) == ["before {x}"]
    assert list(unsaid_texts(module, 'f"before {y}"')) == []
