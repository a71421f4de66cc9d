"""Names of the code in comments and docstrings: each exists where its sentence says."""

import ast
import builtins
import io
import math
import pydoc
import re
import tokenize
from functools import cache

from library_trees import ROOT, Module, modules, names_of, nodes, words_of_strings

# A name in backticks, a call among them: `Use`, `_MOST_SIGMA`, `ccdflow.robust.median`, `f(x)`.
_NAME_IN_BACKTICKS = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)(?:\([^`]*\))?`(?!`)")
_CONSTANT_NAME = re.compile(r"\b_?[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_CALLED_NAME = re.compile(r"\b([a-z_][a-z_0-9.]*[a-z_0-9])\(")
# Cards and values of headers that look like constants.
CARDS = {
    "A_ORDER", "BP_1_2", "BSEC_A2", "CD1_2", "FLT_ID", "F_001", "GZIP_1", "IMG_0012", "LTM1_2",
    "NO_FILTER", "NO_GRATING", "PC2_1A", "PV1_2", "S_EFMN11", "S_OSMX11", "TSEC_A2", "WIN_XMIN",
}  # fmt: skip
# Names of other programs and libraries that no code of ours uses, and a pattern of a tag of git.
FOREIGN_NAMES = {
    "BinTableHDU", "byteswap", "interp1d", "nohup", "onstart", "sigma_clipping", "vVERSION",
}  # fmt: skip
# Values of a field, in the docstring of its class: `ccdflow.run.job` has them.
REACHES = {"OF_A_FRAME", "OF_A_MASTER"}
# Functions of formulas, pages of the manual of Linux, and a number as numpy shows it.
FORMULAS = {"float64", "phi", "delta", "r_i", "proc_pid_mountinfo", "proc_pid_status"}


def texts_of(module):
    """Yield (line, text) of each comment, docstring and string below a constant."""
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in nodes(module.tree):
        is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_constant and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


@cache
def known_names():
    """Return the names of all scripts: their code, words of strings, files, folders, settings."""
    names = set(re.findall(r"\w+", (ROOT / "config" / "config.yaml").read_text("utf-8")))
    for module in modules():
        names |= names_of(module.tree) | words_of_strings(module.tree)
        names.update(module.path.relative_to(ROOT).with_suffix("").parts)
    return names | set(dir(builtins))


@cache
def is_dotted_name(name):
    """Return whether a name with dots exists: in a module of ours, or in a library."""
    parts = name.split(".")
    if parts[-1] == "py":
        return (ROOT / "scripts" / name).is_file()
    for n_parts in range(len(parts), 0, -1):
        path = ROOT.joinpath("scripts", *parts[:n_parts])
        files = path.with_name(f"{path.name}.py"), path / "__init__.py"
        module = next((each for each in modules() if each.path in files), None)
        if module is not None:
            # A member may be that of a class above it, in another module.
            is_there = n_parts == len(parts) or parts[n_parts] in names_of(module.tree)
            return is_there and set(parts[n_parts:]) <= known_names()
    if parts[0] == "ccdflow":
        return False
    # `Class.method`, `module.function`, or a name of another library.
    return set(parts) <= known_names() or pydoc.locate(name) is not None


def unknown_names(module):
    """Return (line, name) of the names in comments and docstrings that do not exist."""
    own = names_of(module.tree)
    unknown = []
    for line, text in texts_of(module):
        # Examples are code, which tests run.
        plain = re.split(r"\n *Examples\n", text)[0]
        for name in _NAME_IN_BACKTICKS.findall(plain):
            # A constant or a private name of another module has that module before it.
            is_own = name.isupper() or re.match(r"_[^_]", name)
            if "." in name:
                exists = is_dotted_name(name)
            else:
                exists = name in (own if is_own else known_names())
            if not exists and name not in FOREIGN_NAMES:
                unknown.append((line, name))
        plain = re.sub(r"`+[^`]*`+", "", plain)
        allowed = own | CARDS | REACHES
        unknown += [(line, name) for name in _CONSTANT_NAME.findall(plain) if name not in allowed]
        for name in _CALLED_NAME.findall(plain):
            last = name.rpartition(".")[2]
            if len(name) > 1 and last not in own | FORMULAS | {*dir(builtins), *dir(math)}:
                unknown.append((line, name))
    return unknown


def test_names_in_comments_and_docstrings_exist():
    unknown = [
        f"{module.path.relative_to(ROOT / 'scripts')}:{line} {name}"
        for module in modules()
        for line, name in unknown_names(module)
    ]
    assert unknown == [], "\n".join(unknown)


def test_a_name_that_does_not_exist_is_seen(tmp_path):
    """A constant that was renamed, a function that is gone, a member that no class has."""
    text = (
        '"""A module like `_OLD_NAME`, `ccdflow.robust.no_median`, `no_such_word`."""\n\n'
        "# At most `LIMIT`, as LIMIT_OF_OLD says: see gone_function() and `robust.median`.\n"
        "LIMIT = 1\n"
    )
    assert unknown_names(Module(tmp_path / "module.py", text)) == [
        (3, "LIMIT_OF_OLD"), (3, "gone_function"),
        (1, "_OLD_NAME"), (1, "ccdflow.robust.no_median"), (1, "no_such_word"),
    ]  # fmt: skip


def test_exempt_names_are_needed():
    texts = "\n".join(text for module in modules() for _, text in texts_of(module))
    exempt = CARDS | FOREIGN_NAMES | FORMULAS | REACHES
    assert {name for name in exempt if not re.search(rf"\b{name}\b", texts)} == set()
