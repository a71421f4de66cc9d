"""Constants: their place in a module, and the form of their comments."""

import ast
import io
import re
import tokenize
from itertools import pairwise

from library_trees import ROOT, modules, nodes


def constants(module):
    """Yield (statement, its names, the statement after it) of the constants of a module."""
    body = module.tree.body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.Assign):
            targets = [each for target in node.targets for each in ast.walk(target)]
            names = [each.id for each in targets if isinstance(each, ast.Name)]
            if names and all(name.lstrip("_").isupper() for name in names):
                yield node, names, after


def test_a_constant_is_defined_above_its_first_use():
    below = []
    for module in modules():
        for node, names, _ in constants(module):
            above = "".join(module.text.splitlines(keepends=True)[: node.lineno - 1])
            # Most names occur nowhere above, not even in a docstring: only the rest are looked up.
            if any(re.search(rf"\b{name}\b", above) for name in names):
                read = {
                    each.id
                    for each in nodes(module.tree)
                    if isinstance(each, ast.Name)
                    and isinstance(each.ctx, ast.Load)
                    and each.lineno < node.lineno
                }
                below += [f"{module.path.name}: {name}" for name in names if name in read]
    assert below == []


def test_the_comment_of_a_constant_has_one_form():
    """A string below each public one, a line above a private one."""
    wrong = []
    for module in modules():
        lines = module.text.splitlines()
        for node, names, after in constants(module) if module.is_of_library else ():
            is_public = not any(name.startswith("_") for name in names)
            above = lines[node.lineno - 2]
            is_below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            is_above = above.startswith("# ") and not above.startswith(("# --", "# fmt", "# isort"))
            is_behind = re.search("  # (?!noqa|fmt)", lines[node.lineno - 1])
            if is_public and not is_below:
                wrong.append(f"{module.path.name}: {names[0]}, without a string below it")
            elif is_above if is_public else is_below:
                wrong.append(f"{module.path.name}: {names[0]}")
            elif is_behind:
                wrong.append(f"{module.path.name}: {names[0]}, behind it")
    assert wrong == [], "\n".join(wrong)


def has_number(node):
    """Return whether a number is written in the value of a constant, but as an index."""
    if isinstance(node, ast.Subscript):
        return has_number(node.value)
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float)
    return any(has_number(child) for child in ast.iter_child_nodes(node))


def test_a_private_constant_with_a_number_has_a_comment():
    """The comment is its own, or that of the constant on the line above it."""
    without = []
    for module in modules():
        lines = module.text.splitlines()
        commented_end = None
        for node, names, _ in constants(module) if module.is_of_library else ():
            is_public = not any(name.startswith("_") for name in names)
            is_commented = lines[node.lineno - 2].startswith("# ")
            if is_public or is_commented or commented_end == node.lineno - 1:
                commented_end = node.end_lineno
            elif has_number(node.value):
                without.append(f"{module.path.name}: {names[0]}")
    assert without == [], "\n".join(without)


def test_the_comment_of_a_constant_tells_more_than_its_name():
    """ "All rows." above _ALL_ROWS tells nothing."""
    wrong = []
    for module in modules():
        lines = module.text.splitlines()
        for node, names, _ in constants(module) if module.is_of_library else ():
            above = lines[node.lineno - 2]
            words = re.findall("[a-z0-9]+", above.lower()) if above.startswith("# ") else []
            if words and set(words) <= set(names[0].lower().split("_")):
                wrong.append(f"{module.path.name}: {names[0]}, only its name: {above}")
    assert wrong == [], "\n".join(wrong)


# Words at the beginning that point to the comment of another constant, or to none.
_POINTING = re.compile(
    r"(It|Its|Their|Them|They|These|Those|This|That|Such|The same|This many|Of (?!course)|So|Told"
    r"|Said|And|But)\b"
)
# Words anywhere that send a reader elsewhere without a name to look for.
_NAMELESS_REFERENCE = re.compile(
    r"\b(?:(?:as|see) (?:above|below)|the memory above|(?:of|has|by) that (?:clipping|light))\b"
)


def comment_of(lines, node, after):
    """Return the comment of a constant, the lines above it or the string below; '' for none."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        return " ".join(str(after.value.value).split())
    first = node.lineno - 1
    while lines[first - 1].startswith("# "):
        first -= 1
    return " ".join(line[2:] for line in lines[first : node.lineno - 1])


# Words that point to a noun, and the noun: "of that legend", "such frames", "these scales".
_POINTER = re.compile(
    r"(?:\b(?:of|in|by|from|for|at|with|to|than) that"
    r"|\b[Tt]hese|\b[Tt]hose|\b[Ss]uch(?: an?)?) (\w+)"
)
# Words behind a pointer that are no noun: "those that", "these two", "those left out".
_NO_NOUN = re.compile(
    r"(?:that|of|in|with|wh\w+|are|is|on|from|as|by|before|behind|below|above|beside|without|at"
    r"|for|have|has|two|about|and|near|other|one|around|under|left|taken|kept|stored)\b"
)


def nounless(comment, names):
    """Return the words of a comment that point to a noun neither before them nor in the name."""
    return [
        match[0]
        for match in _POINTER.finditer(comment)
        if not _NO_NOUN.match(match[1])
        and match[1].rstrip("s")[:5].lower()
        not in f"{comment[: match.start()]} {' '.join(names)}".lower()
    ]


def test_a_pointing_word_has_its_noun_in_the_comment_or_in_the_name():
    """ "Entries of that legend, at most" points to the comment of another constant."""
    assert nounless("Entries of that legend, at most.", ["_MOST_ENTRIES"]) == ["of that legend"]
    assert nounless("A row without text. Such a row is short.", ["_LEAST"]) == []
    assert nounless("Stars are looked for in frames of these types.", ["_SKY_TYPES"]) == []
    assert nounless("Values beyond these are those of hits.", ["_LIMITS"]) == []
    wrong, comments = [], 0
    for module in modules():
        lines = module.text.splitlines()
        for node, names, after in constants(module):
            comment = comment_of(lines, node, after)
            comments += bool(comment)
            wrong += [
                f"{module.path.name}: {names[0]}: {each}" for each in nounless(comment, names)
            ]
    assert wrong == []
    assert comments > 1500


def test_a_pattern_has_a_comment_on_the_texts_that_it_matches():
    """A comment of its own; "12, -1.5, .5E3." are examples, and no word on the pattern."""
    wrong, patterns = [], 0
    for module in modules():
        lines = module.text.splitlines()
        for node, names, after in constants(module):
            # A pattern alone, with one of its methods, or the patterns of a dict or tuple.
            if "re.compile(" in ast.unparse(node.value):
                comment = comment_of(lines, node, after)
                patterns += 1
                if not re.search(r"\b[Mm]atch|[Pp]attern", comment):
                    wrong.append(f"{module.path.name}: {names[0]}: {comment}")
    assert wrong == []
    assert patterns > 140


def crowded_strings(text):
    """Return the lines of strings below constants with no blank line behind them."""
    lines = text.splitlines()
    return [
        each.end_lineno
        for each, after in pairwise(ast.parse(text).body[1:])
        if isinstance(each, ast.Expr)
        and isinstance(each.value, ast.Constant)
        and lines[each.end_lineno].strip()
    ]


def test_a_blank_line_is_between_a_string_and_the_next_constant():
    """Without it a reader takes the string for a comment of the constant below it."""
    crowded = '"""A module."""\n\nA = 1\n"""One."""\n# Two.\n_B = 2\n'
    assert crowded_strings(crowded) == [4]
    assert crowded_strings(crowded.replace("# Two", "\n# Two")) == []
    assert [
        f"{module.path.name}:{line}"
        for module in modules()
        for line in crowded_strings(module.text)
    ] == []


# Constants of one name and one value in two modules of a package, whose meanings differ: a change
# of one must not change the other.
SAME_BY_CHANCE = {
    # Bytes of a stream unpacked at once; bytes of a file read at once.
    ("files", "CHUNK"),
    # A strip that is judged; an overscan that is enough for a level.
    ("frame", "FEWEST_COLUMNS"),
    # Rounds of L.A.Cosmic; rounds in which slopes are taken off.
    ("detector", "ITERATIONS"),
    # Pixels of a strip of a frame; pixels of a block of a master.
    ("calibrate", "STRIP_PIXELS"),
    # Names in one sentence of each module, and rows that each reads at once.
    ("kinds", "MOST_NAMED"), ("verify", "ROWS_AT_ONCE"),
}  # fmt: skip


def number_constants():
    """Return {(package, name, value): its modules} of constants with a number or a pattern."""
    places = {}
    for module in modules():
        parts = module.path.relative_to(ROOT / "scripts").parts
        for node, names, _ in constants(module) if module.is_of_library else ():
            values = node.value.elts if len(names) > 1 and hasattr(node.value, "elts") else None
            for name, value in zip(names, values or [node.value] * len(names), strict=False):
                is_pattern = re.match(r"re\.compile|timedelta", ast.unparse(value))
                if has_number(value) or is_pattern:
                    key = parts[1].removesuffix(".py"), name.lstrip("_"), ast.unparse(value)
                    places.setdefault(key, []).append(module.path.name)
    return places


def test_one_number_is_one_constant_of_a_package():
    """A change in one of two modules is a silent disagreement of them."""
    places = number_constants()
    twice = {key[:2] for key, files in places.items() if len(files) > 1}
    assert {key: files for key, files in places.items()
            if len(files) > 1 and key[:2] not in SAME_BY_CHANCE} == {}  # fmt: skip
    assert twice >= SAME_BY_CHANCE, "an exemption that nothing needs"
    assert len(places) > 700


def test_the_comment_of_a_constant_stands_alone():
    """A reader meets one constant: its comment is whole, and begins with what it is about."""
    wrong = []
    for module in modules():
        lines = module.text.splitlines()
        for node, names, after in constants(module) if module.is_of_library else ():
            comment = comment_of(lines, node, after)
            if comment.startswith("...") or comment.endswith("..."):
                wrong.append(f"{module.path.name}: {names[0]}, half a sentence: {comment}")
            elif _POINTING.match(comment) or _NAMELESS_REFERENCE.search(comment):
                wrong.append(f"{module.path.name}: {names[0]}, about what? {comment}")
    assert wrong == [], "\n".join(wrong)


def test_a_comment_names_the_place_that_it_points_to():
    """``docs/detector.md`` or a name, not "see above"."""
    wrong = [
        f"{module.path.name}: {line.strip()}"
        for module in modules()
        for line in re.findall(r"^ *# .*", module.text, re.MULTILINE)
        if re.search(r"\b(?:as|see) (?:above|below)\b", line)
    ]
    assert wrong == []


# Names of numbers that decide: beyond them a pixel, frame or step is bad.
_THRESHOLD = re.compile(r"_?(?!\w*(?:TO|OVER)_SIGMA)\w*SIGMA\w*")
# Matches the effect of another value: "with a smaller limit good flats are odd".
_EFFECT = re.compile(
    r"\b[Ww]ith (?:an? |the )?(?:much )?(?:larger|smaller|longer|shorter|higher|lower|wider|more"
    r"|fewer|less|another|each|\d[\d.]*)\b(?! than)"
    r"|(?:[.:;,]|\band) (?:(?:[Mm]ore|[Ff]ewer|[Ff]iner)\b(?! than)|[Aa] (?:larger|smaller)\b)"
    r"|[.:;,] [Ww]ithout\b|\bbecause\b|, so that |\bwould\b"
)
# Matches how often a threshold is exceeded by chance, or that noise cannot do so.
_CHANCE = re.compile(r"\bchance\b|\bnormal values?\b|\bgood pixels?\b|\bby noise\b|\bnoise does\b")
# Matches a choice with a reason behind it: "Chosen: they fit one line".
_REASON = re.compile(r"\b[Cc]hosen(?:, not measured)?(?:: | with | between )|, chosen\.")


def test_a_threshold_has_its_chance_or_the_effect_of_another_value():
    """ "Chance reaches that once in 500,000 trials", not the meaning of the number alone."""
    assert not _CHANCE.search("Means that differ by at most this many errors agree: they are one.")
    assert _EFFECT.search("Differences beyond this are stars. With a larger limit stars are noise.")
    without, thresholds = [], 0
    for module in modules():
        parts = module.path.relative_to(ROOT).parts
        if not module.is_of_library or "verify" in parts:
            continue
        lines = module.text.splitlines()
        for node, names, after in constants(module):
            if not (_THRESHOLD.fullmatch(names[0]) and has_number(node.value)):
                continue
            comment = comment_of(lines, node, after)
            thresholds += 1
            if not (_CHANCE.search(comment) or _EFFECT.search(comment)):
                without.append(f"{module.path.name}: {names[0]}: {comment}")
    assert thresholds > 55
    assert without == [], "\n".join(without)


def test_a_chosen_number_has_its_reason_or_the_effect_of_another_value():
    """ "Chosen, not measured." alone does not tell whether another number would do."""
    bare = "Pixels of more than this many times the median noise are hot. Chosen, not measured."
    assert _REASON.search(bare) is None
    assert _EFFECT.search(bare) is None
    without, chosen = [], 0
    for module in modules():
        lines = module.text.splitlines()
        for node, names, after in constants(module) if module.is_of_library else ():
            comment = comment_of(lines, node, after)
            if not re.search(r"\b[Cc]hosen\b", comment):
                continue
            chosen += 1
            if not (_REASON.search(comment) or _EFFECT.search(comment)):
                without.append(f"{module.path.name}: {names[0]}: {comment}")
    assert chosen > 130
    assert without == [], "\n".join(without)


# Matches marks for tools, which stand behind their line.
_MARK = re.compile(r"# (?:noqa|fmt|type|pragma|isort)\b")


def comments_behind(text):
    """Return the comments of a module that stand behind code on its line."""
    return [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
        and token.line[: token.start[1]].strip()
        and not _MARK.match(token.string)
    ]


def test_a_comment_stands_above_its_line():
    assert comments_behind("# One.\na = 1  # two\nb = '# three'  # noqa: E1\n") == ["# two"]
    assert [
        f"{module.path.name}: {comment}"
        for module in modules()
        for comment in (comments_behind(module.text) if module.is_of_library else ())
    ] == []


def test_the_size_of_a_cache_has_its_reason():
    """A line above the decorator: how many values there are, and the effect of too few."""
    without, sizes = [], 0
    for module in modules():
        lines = module.text.splitlines()
        for node in nodes(module.tree) if module.is_of_library else ():
            for each in getattr(node, "decorator_list", ()):
                name = getattr(each, "func", each)
                if getattr(name, "attr", getattr(name, "id", "")) != "lru_cache":
                    continue
                # Without a number it is the usual one, 128; a name has a comment of its own.
                has_name = isinstance(each, ast.Call) and not has_number(each)
                sizes += 1
                if not has_name and not lines[each.lineno - 2].lstrip().startswith("# "):
                    without.append(f"{module.path.name}: {node.name}")
    assert sizes > 30
    assert without == [], "\n".join(without)
