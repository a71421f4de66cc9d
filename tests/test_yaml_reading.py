"""YAML is values and nothing else: what no value needs is one line, whatever it would become."""

from pathlib import Path

import pytest
import yaml

from ccdflow import settings, yaml_reading
from ccdflow.camera.profiles import load_camera
from ccdflow.errors import UserError

_LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
BAD_TEXTS = {
    "alias bomb": (_LAUGHS, "not a plain value in line 1: an alias or anchor"),
    "anchor": ("a: &b 1\n", "in line 1: an alias or anchor"),
    "to itself": ("a: &b\n  - *b\n", "an alias or anchor"),
    "merge": ("a: {b: 1}\nc: {<<: *a}\n", "an alias or anchor"),
    "deep": ("a: " + "[" * 50000, "nested deeper than 20 levels"),
    "deep maps": ("{a: " * 30 + "1" + "}" * 30, "nested deeper than 20 levels"),
    "python": ("a: !!python/object/apply:os.getcwd []\n", "a tag"),
    "own tag": ("a: !x 1\n", "a tag"),
    "twice": ("a: 1\na: 2\n", "the key 'a' is given twice"),
    "a list as key": ("? [a]\n: 1\n", "not valid YAML: unhashable type"),
    "no date": ("a: 2024-13-45\n", "month must be in"),
    "digits": ("a: " + "9" * 6000 + "\n", "not valid YAML"),
    "too long": ("# " + "x" * (2 << 20), "the file is too long; allowed: 1048576 characters; give"),
    "hexadecimal": ("a: 0x" + "f" * 9000, "the number is too large"),
    "base 60": ("a: " + "1:" * 9000 + "1", "the number is too large"),
    "half a character": (r'a: "\ud800"', "cannot be written as UTF-8"),
    "many keys": ("".join(f"a{n}: 1\n" for n in range(90_000)), "more than 20000 keys"),
    "many values": ("a: [" + "1," * 400_000 + "]", "more than 20000 keys"),
    "control": ("a: \x01\n", "not valid YAML"),
}


@pytest.mark.parametrize("text", BAD_TEXTS, ids=list(BAD_TEXTS))
def test_yaml_that_no_setting_needs_is_refused_in_one_line(text, tmp_path):
    content, problem = BAD_TEXTS[text]
    path = tmp_path / "probe.yaml"
    path.write_text(content)
    for read in (settings.check_file, load_camera):
        with pytest.raises(UserError, match=problem) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_plain_values_are_unchanged():
    text = 'a: [1, 2.5, x, "*y"]\nb: {c: true, d: null}\n'
    assert yaml_reading.parse_yaml(text, file="a") == {
        "a": [1, 2.5, "x", "*y"],
        "b": {"c": True, "d": None},
    }


def _nested_lists(levels):
    return "[" * levels + "1" + "]" * levels


# One mapping, with a key and a value for each of its entries; one list in a mapping.
@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ("{" + "".join(f"a{n}: 1, " for n in range(9999)) + "}",
         "{" + "".join(f"a{n}: 1, " for n in range(10_000)) + "}"),
        ("{a: [" + "1, " * 19_997 + "]}", "{a: [" + "1, " * 19_998 + "]}"),
        (_nested_lists(20), _nested_lists(21)),
        ("{a: " + _nested_lists(19) + "}", "{a: " + _nested_lists(20) + "}"),
    ],
    ids=["keys", "values", "lists", "lists in a mapping"],
)  # fmt: skip
def test_values_of_another_program_are_bounded_as_those_of_a_file(allowed, refused):
    assert yaml_reading.parse_yaml(allowed, file="a") == yaml.safe_load(allowed)
    yaml_reading.check_amount(yaml.safe_load(allowed), file="a")
    with pytest.raises(UserError, match=r"more than 20000 keys and|deeper than 20 levels"):
        yaml_reading.parse_yaml(refused, file="a")
    with pytest.raises(UserError, match="allowed: 20 levels, 20000 keys and values"):
        yaml_reading.check_amount(yaml.safe_load(refused), file="a")


def test_the_length_of_a_text_is_counted_in_characters():
    umlauts = "# " + "\u00e4" * ((1 << 20) - 2)
    assert yaml_reading.parse_yaml(umlauts, file="a") is None
    with pytest.raises(UserError, match="allowed: 1048576 characters"):
        yaml_reading.parse_yaml(umlauts + "x", file="a")


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "path", [ROOT / "config/config.yaml", *sorted((ROOT / "config/cameras").glob("*.yaml"))],
    ids=lambda path: path.stem,
)  # fmt: skip
def test_the_fast_parser_gives_the_values_of_pythons_own(path, monkeypatch):
    fast = yaml_reading.read_yaml(path)
    monkeypatch.setattr(yaml_reading, "_FastLoader", yaml_reading._Loader)
    by_yaml = yaml.safe_load(path.read_text())
    assert repr(yaml_reading.read_yaml(path)) == repr(fast) == repr(by_yaml)


def test_the_words_of_errors_are_those_of_pythons_parser(monkeypatch):
    def words(text):
        with pytest.raises(UserError) as caught:
            yaml_reading.parse_yaml(text, file="x.yaml")
        return str(caught.value)

    texts = (
        "a: [1, 2",
        "a: b: c",
        "a:\n  - 1\n b: 2",
        "a: 1\na: 2",
        "a: 99999999999999999999",
        "? [a]\n",
    )
    fast = [words(text) for text in texts]
    monkeypatch.setattr(yaml_reading, "_FastLoader", yaml_reading._Loader)
    assert [words(text) for text in texts] == fast
