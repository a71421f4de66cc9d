"""Every sentence that ccdflow writes into HISTORY is in docs/products.md, and verify knows it."""

import ast
import re
from pathlib import Path

import pytest
from astropy.io import fits

from ccdflow.verify.calibrated import grading
from ccdflow.verify.comparing import sentences
from ccdflow.verify.comparing.comparing import Differs

TOP = Path(__file__).parents[3]
LIBRARY = TOP / "scripts" / "ccdflow"
WRITERS = {
    "combine/combined_header.py": ("write_group_cards",),
    "kinds/masters/makers/exposed_maker.py": ("write_group_cards",),
    "kinds/masters/makers/master_maker.py": ("remarks",),
    "kinds/masters/selecting.py": ("select_without_odd_flags",),
    "detector/bias_warnings.py": ("warnings_on_bias", "_WHOLE_NUMBERS_NOTE"),
    "detector/dark_warnings.py": ("warnings_on_dark",),
    "kinds/masters/makers/flat_maker.py": ("_gain_warnings", "_shape_warnings"),
    "detector/member_selection.py": ("_left_out_by", "find_copies"),
    "detector/dark_flat_selection.py": (
        "_outliers_by_lost_pixels",
        "_outliers_by_signal_to_noise",
        "_outliers_by_temperature",
    ),
    "detector/photons/one_exposure.py": ("select_flats_of_one_exposure",),
    "frame/placement.py": ("_place_world",),
    "calibrate/calibrated_header.py": ("primary_cards",),
    "calibrate/blocks.py": ("_reason_for_no_uncertainty", "plane", "header"),
    "kinds/calibrating/calibration.py": ("reasons", "unneeded_steps"),
    "kinds/calibrating/shutter_correction.py": ("why_not",),
    "kinds/matching/match_sentences.py": ("lag_words", "remark_on_scale", "warmer_words"),
    "kinds/matching/answers.py": ("WHY_LEFT_OUT",),
}
"""Functions that write sentences, or parts of them, and constants that they take."""
CALLS = {"add_history", "LeftOut", "write_combined_cards"}
"""A function that calls one of these writes a sentence."""
PASSED_ON = {"write_combined_cards", "write_image_cards", "_add_commentary"}
"""Functions that write sentences of others."""


def nodes_of(path):
    """Yield (name, node) of the functions and constants of a module, methods among them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def texts_of(node):
    """Return the texts in a function or constant that are words of a sentence."""
    functions = [each for each in ast.walk(node) if isinstance(each, ast.FunctionDef)]
    docstrings = {ast.get_docstring(each, clean=False) for each in functions}
    constants = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
    texts = [text for text in constants if isinstance(text, str) and text not in docstrings]
    return [text for text in map(plain_text, texts) if len(re.findall(r"\b[a-z]{2,}\b", text)) > 2]


def plain_text(text):
    text = re.sub(r"\s+", " ", text.replace("`", "")).removeprefix("ccdflow: ")
    return text.strip(" .,:;()[]")


def own_comment(text, node):
    """Return whether a text is the comment of a card and no part of a sentence."""
    calls = [e for e in ast.walk(node) if isinstance(e, ast.Call) and name_of(e) == "set"]
    return any(
        isinstance(each, ast.Constant) and plain_text(str(each.value)) == text
        for call in calls
        for each in ast.walk(call)
    )


def name_of(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def test_every_sentence_is_in_the_documents():
    document = plain_text((TOP / "docs" / "products.md").read_text("utf-8"))
    lost, count, unknown_names = [], 0, []
    for module, names in WRITERS.items():
        named_nodes = list(nodes_of(LIBRARY / module))
        unknown_names += set(names) - {name for name, _ in named_nodes}
        for name, node in named_nodes:
            for text in texts_of(node) if name in names else ():
                count += 1
                if text not in document and not own_comment(text, node):
                    lost.append((module, text))
    assert unknown_names == [], "sentences of these are not looked for"
    assert lost == []
    assert count > 40


def test_each_writer_is_in_its_module():
    """A name that is in no module would be passed over, and its sentences with it."""
    assert {
        module: {name for name in names if name not in dict(nodes_of(LIBRARY / module))}
        for module, names in WRITERS.items()
    } == {module: set() for module in WRITERS}


def test_no_other_function_writes_a_sentence():
    strange = []
    for path in LIBRARY.rglob("*.py"):
        module = path.relative_to(LIBRARY).as_posix()
        if not any(call in path.read_text("utf-8") for call in CALLS):
            continue
        functions = [each for each in nodes_of(path) if isinstance(each[1], ast.FunctionDef)]
        for name, node in functions:
            calls = {name_of(e) for e in ast.walk(node) if isinstance(e, ast.Call)} & CALLS
            if calls and name not in {*WRITERS.get(module, ()), *PASSED_ON}:
                strange.append((module, name))
    assert strange == []


def header(*lines, **cards):
    with_history = fits.Header(cards)
    for line in lines:
        for start in range(0, len(line), 72):
            with_history.add_history(line[start : start + 72])
    return with_history


@pytest.mark.parametrize(
    ("kind", "line", "cards", "reason"),
    [
        ("bias", "this is a lie", {}, "ccdflow does not write"),
        ("bias", "its noise is 2 adu, 30 % more than the 1.5 adu that the read noise predicts",
         {"CNOISE": 2.0, "CNOISPR": 1.5}, ""),
        ("bias", "its noise is 2 adu, 30 % more than the 1.5 adu that the read noise predicts",
         {"CNOISE": 1.6, "CNOISPR": 1.5}, "and CNOISE is 1.6"),
        ("flat", "its noise is 1.200 times the predicted noise", {}, "ccdflow does not write"),
        ("dark", "its noise is 1.200 times the predicted noise", {"MODFC": 1.1}, ""),
        ("dark", "combined without bias: there was none", {}, ""),
        ("dark", "combined without bias: there was none", {"BIASIM": "x"}, "BIASIM names one"),
        ("bias", "b.fits was left out: its pixels are those of a.fits: combined once", {}, "IMOUT"),
        ("bias", "b.fits was left out: its pixels are those of a.fits: combined once",
         {"IMOUT001": "b.fits"}, ""),
        ("flat", "9 pixels have no value in any frame: they are NaN", {"NEMPTY": 9}, ""),
        ("flat", "9 pixels have no value in any frame: they are NaN", {"NEMPTY": 8}, "NEMPTY"),
        ("dark", "combined without bias: there was none", {"NEMPTY": 8}, "NEMPTY"),
        ("bias", "b.fits was left out: it rained", {"IMOUT001": "b.fits"}, "does not write"),
    ],
)  # fmt: skip
def test_a_sentence_is_known_and_agrees_with_the_cards(kind, line, cards, reason):
    own = header(f"ccdflow: {line}", **cards)
    if not reason:
        sentences.check_combined(own, own, kind, [""])
        return
    with pytest.raises(Differs, match=re.escape(reason)):
        sentences.check_combined(own, own, kind, [""])


def test_a_frame_that_was_left_out_keeps_its_sentence():
    own = header(IMOUT001="b.fits")
    with pytest.raises(Differs, match="do not name the same frames"):
        sentences.check_combined(own, own, "bias", [""])


def test_the_grades_are_those_that_the_documents_have():
    document = plain_text((TOP / "docs" / "products.md").read_text("utf-8"))
    for words in (
        "temperature unknown",
        "left out: more noise than structure",
        "cut to its pixels",
    ):
        assert words in document
        assert any(words in pattern.pattern for pattern, _ in grading._GRADES)
