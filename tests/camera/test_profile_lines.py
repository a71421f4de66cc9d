"""Each part of a profile that a line tells its reader to write is read back as it was meant."""

import math
import re
import shlex
from pathlib import Path

import pytest
import yaml
from camera_headers import header, profile
from hypothesis import given
from hypothesis import strategies as st

from ccdflow import yaml_reading
from ccdflow.camera import profile_lines
from ccdflow.camera.cameras import identify
from ccdflow.camera.profile_lines import (
    condition_text,
    pattern_of,
    type_rule_text,
    yaml_number,
    yaml_text,
)
from ccdflow.errors import UserError
from ccdflow.files.cards import matches_patterns
from ccdflow.verify import command

ODD_TEXTS = [
    "Dark: no shutter", "yes", "No", "null", "NULL", "~", "true", "on", "y", "12", "007", "1e3",
    "1.5", "0x1F", "12:30:01", "2024-03-01", "#3", "a #b", "a b", "a  b", "it's", 'say "x"',
    "R, V", "-", "- a", "a:", ": a", "*", "*dome", "FLAT [r]", "[r]", "{r}", "a?b", "!tag", "&a",
    "@a", "`a`", "%a", "back\\slash", "|", ">", "=", "<<", "Dark?", "a]", "'", '"', "N/A", ".5",
    "+1", "x: 1",
]  # fmt: skip
# Values that say that nothing is known: no card has them for a rule.
SILENT_TEXTS = ("null", "NULL", "-", "N/A")
PROBE_LINE = "recognise: {INSTRUME: PROBE}\n"


def _describe(tmp_path, text, file="a.fits", **cards):
    """Return the facts of a frame by a profile with a text."""
    frame = header(12, 9, **({"INSTRUME": "PROBE", "EXPTIME": 0.0} | cards))
    return profile(tmp_path, text).describe([frame], file=file)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_rule_holds_for_the_text_that_it_is_made_of_alone(tmp_path, text):
    by_type = type_rule_text("other", imagetyp=[text, "other"], exptime=[("max", 1e-7)])
    by_card = type_rule_text("arc", cards=[("OBJECT", [text])])
    name = f"{text.replace('/', '_')}.fits"
    by_file = type_rule_text("science", files=[pattern_of(name)])
    rules = f"{PROBE_LINE}types: [{by_type}, {by_card}, {by_file}]\n"
    if text not in SILENT_TEXTS:
        assert _describe(tmp_path, rules, IMAGETYP=text).type == "other"
        assert _describe(tmp_path, rules, IMAGETYP=text, EXPTIME=2e-7).type != "other"
        assert _describe(tmp_path, rules, OBJECT=text).type == "arc"
    assert _describe(tmp_path, rules, file=f"n/{name}").type == "science"
    assert _describe(tmp_path, rules, file="n/1.fits", IMAGETYP="q", OBJECT="q").type == ""


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_profile_recognises_the_camera_of_the_line(tmp_path, text):
    camera = profile(tmp_path, f"recognise: {condition_text('INSTRUME', text)}\n")
    names = [
        identify([header(12, 9, INSTRUME=each)], [camera], file="a.fits").name
        for each in (text, "another")
    ]
    assert names[0] == "probe"
    assert names[1] != "probe"


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_the_rule_of_each_warning_keeps_the_type_that_it_promises(tmp_path, text):
    """The warnings on a dark of 0 s, on a long bias, and on an image type that OBJECT explains."""
    for cards in (
        {"IMAGETYP": f"dark {text}", "EXPTIME": 0.0},
        {"IMAGETYP": f"bias {text}", "EXPTIME": 600.0},
        {"IMAGETYP": f"qq {text}", "OBJECT": f"FLAT {text}"},
    ):
        facts = _describe(tmp_path, PROBE_LINE, **cards)
        lines = [line for line in (*facts.warnings, facts.reason) if "types: [" in line]
        assert len(lines) <= 1
        for line in lines:
            rule = re.search(r"types: \[\{.*\}\]", line)[0]
            promised_type = yaml.safe_load(rule)["types"][0]["type"]
            text_of_profile = f"{PROBE_LINE}{rule}\n"
            assert promised_type != facts.type
            assert _describe(tmp_path, text_of_profile, **cards).type == promised_type, line


def test_the_warnings_with_a_rule_are_there(tmp_path):
    """The test above skips texts that are image types, and so must not skip all of them."""
    for cards in (
        {"IMAGETYP": "Dark: no shutter", "EXPTIME": 0.0},
        {"IMAGETYP": "Bias: 2", "EXPTIME": 600.0},
        {"IMAGETYP": "qq", "OBJECT": "FLAT: R"},
    ):
        facts = _describe(tmp_path, PROBE_LINE, **cards)
        assert sum("types: [{" in line for line in (*facts.warnings, facts.reason)) == 1


@given(st.text(st.characters(min_codepoint=1, max_codepoint=0x2FF), max_size=30))
def test_any_text_is_the_same_after_yaml(text):
    assert yaml_reading.parse_yaml(f"a: [{yaml_text(text)}]", file="x") == {"a": [text]}
    assert yaml_reading.parse_yaml(f"{{{yaml_text(text)}: 1}}", file="x") == {text: 1}
    assert matches_patterns(text, [pattern_of(text)])


def test_a_file_name_that_is_not_utf8_has_a_pattern_that_yaml_can_hold():
    name = b"dark\xff1.fits".decode("utf-8", "surrogateescape")
    assert pattern_of(name) == "dark?1.fits"
    assert matches_patterns(name, [yaml.safe_load(yaml_text(pattern_of(name)))])


@given(st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False)))
def test_any_number_is_the_same_after_yaml(number):
    value = yaml_reading.parse_yaml(f"a: {yaml_number(number)}", file="x")["a"]
    assert (value, type(value) is str) == (number, False)
    rounded = yaml_reading.parse_yaml(f"a: {yaml_number(number, 2)}", file="x")["a"]
    assert type(rounded) is not str
    if math.isinf(rounded):
        # Of two figures, 1.8e308 is the next one: no number has it.
        assert abs(number) >= 1.74e308
    else:
        assert math.isclose(rounded, number, rel_tol=0.06)


def test_the_ageing_of_a_line_is_a_number_for_the_profile(tmp_path):
    """``1e-07`` is a text for YAML."""
    line = f"ageing: {{flat: {yaml_number(1e-7, 2)}}}"
    assert dict(profile(tmp_path, f"{PROBE_LINE}{line}\n").ageing) == {"flat": 1e-7}


def test_no_other_module_writes_a_rule_or_a_condition():
    """A line with ``types: [{`` or ``recognise: {`` and a value of its own would not be quoted."""
    library = Path(profile_lines.__file__).parents[1]
    own_value = re.compile(r"\b(imagetyp|file|type|INSTRUME|epochs): ?\[?\"?\{[a-z]")
    writers = [
        path.name
        for path in library.rglob("*.py")
        if "simulate" not in path.parts and own_value.search(path.read_text("utf-8"))
    ]
    assert any(library.rglob("*.py"))
    assert writers == []


def test_a_folder_in_a_command_is_one_word_of_the_shell(tmp_path):
    results = tmp_path / "my results; $HOME 'x'"
    (results / "reduced").mkdir(parents=True)
    with pytest.raises(UserError) as error:
        command.named_products(results, ("nothing.fits",))
    shown = re.search(r"`(ls .*)`", str(error.value))[1]
    assert shlex.split(shown) == ["ls", f"{results}/reduced"]
