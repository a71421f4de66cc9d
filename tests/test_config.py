"""The configuration: file and schema in step, every key explained, a wrong value one line."""

import ast
import copy
import datetime
import re
from collections import Counter, defaultdict
from pathlib import Path

import jsonschema
import pytest
import yaml
from library_trees import holders, modules

from ccdflow import schemas, settings
from ccdflow.errors import UserError
from ccdflow.kinds import CHAIN

ROOT = Path(__file__).parents[1]
FILE = ROOT / "config" / "config.yaml"
SCHEMA = schemas.read_schema("config.schema.json")
DEFAULTS = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def keys_of_file(values, above=""):
    for name, value in values.items():
        yield f"{above}{name}"
        if isinstance(value, dict):
            yield from keys_of_file(value, f"{above}{name}.")


def keys_of_schema(schema, above=""):
    for name, part in schema["properties"].items():
        yield f"{above}{name}"
        if "properties" in part:
            yield from keys_of_schema(part, f"{above}{name}.")


def parts_of_schema(schema):
    yield schema
    for part in schema.get("properties", {}).values():
        yield from parts_of_schema(part)


def test_file_and_schema_have_the_same_keys_in_the_same_order():
    assert list(keys_of_file(DEFAULTS)) == list(keys_of_schema(SCHEMA))


def test_every_key_is_explained_by_the_comment_above_it():
    lines = FILE.read_text(encoding="utf-8").splitlines()
    keys = [(number, re.match(r" *(\w+):", line)) for number, line in enumerate(lines)]
    keys = [(number, key[1]) for number, key in keys if key]
    assert len(keys) > 50
    assert [key for _, key in keys] == [key.split(".")[-1] for key in keys_of_file(DEFAULTS)]
    for number, key in keys:
        assert re.match(r" *# \S", lines[number - 1]), f"{key} has no comment above it"


def test_the_schema_describes_every_key_and_refuses_unknown_ones_at_every_level():
    parts = list(parts_of_schema(SCHEMA))
    assert parts
    assert all(part["description"] for part in parts)
    groups = [part for part in parts if "properties" in part]
    assert len(groups) > 5
    assert all(part["additionalProperties"] is False for part in groups)


def leaves(values, above=""):
    """Yield the name and value of each setting that is no block, such as ``dark.hot_rate``."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def test_the_file_gives_the_defaults():
    values = dict(leaves(DEFAULTS))
    defaults = dict(leaves(settings.load_settings({})))
    words = "a default is in config/config.yaml and in config/schemas: change both"
    assert {name: defaults.get(name) for name in values} == values, words
    assert settings.load_settings({}) == DEFAULTS
    assert settings.load_settings(DEFAULTS) == DEFAULTS


def test_one_value_leaves_the_others_as_they_are_and_the_given_is_not_changed():
    user_settings = {"bias": {"minimum": 5}}
    before = copy.deepcopy(user_settings)
    expected = copy.deepcopy(DEFAULTS)
    expected["bias"]["minimum"] = 5
    assert settings.load_settings(user_settings) == expected
    assert user_settings == before


def test_each_setting_is_read_by_the_code():
    """By its name as a text, or as that of a value of a class, such as `ReductionRecipe`."""
    parts = [part for module in modules() for part in ast.walk(module.tree)]
    code = {part.value for part in parts if isinstance(part, ast.Constant)}
    code |= {ast.unparse(part.target) for part in parts if isinstance(part, ast.AnnAssign)}
    for path in (ROOT / "rules").glob("*.smk"):
        code.update(re.findall(r"\w+", path.read_text("utf-8")))
    names = [name for name, _ in leaves(DEFAULTS)]
    assert len(names) > 50
    unread = [name for name in names if name.rpartition(".")[2] not in code]
    assert unread == [], f"no code reads these (CONTRIBUTING.md, 'A new setting'): {unread}"


# Arguments that have the name of a setting and another meaning.
OTHER_MEANINGS = {
    ("pages/contents.py", "Section", "order"): "place on the page",
    ("run/master_choices.py", "Missing", "minimum"): "0 where too few frames are not the reason",
}


def test_the_default_of_an_argument_is_that_of_its_setting():
    """A number that was changed in config/config.yaml alone would stay in the library."""
    defaults = defaultdict(set)
    for name, value in leaves(DEFAULTS):
        if type(value) in (int, float):
            defaults[name.rpartition(".")[2]].add(value)
    differing, n_found = [], 0
    for module in filter(lambda module: module.is_of_library, modules()):
        place = module.path.relative_to(ROOT / "scripts" / "ccdflow").as_posix()
        numbers = numbers_by_name(module.tree)
        for holder in holders(module):
            for name, node in defaults_of_arguments(holder):
                number = numbers.get(getattr(node, "id", ""), getattr(node, "value", None))
                if (place, holder_name(holder), name) in OTHER_MEANINGS or name not in defaults:
                    continue
                if type(number) in (int, float):
                    n_found += 1
                    if number not in defaults[name]:
                        differing.append((place, holder_name(holder), name, number))
    assert n_found > 10
    assert differing == [], f"other defaults than in config/config.yaml: {differing}"


def holder_name(node):
    return getattr(node, "name", "")


def numbers_by_name(tree):
    """Return {name: number} of the constants of a module that are written out as a number."""
    return {
        target.id: line.value.value
        for line in tree.body
        if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
        for target in line.targets
        if isinstance(target, ast.Name)
    }


def defaults_of_arguments(holder):
    """Return [(name, node of its default)] of a function's arguments or a class's values."""
    if isinstance(holder, ast.FunctionDef):
        arguments = holder.args
        names = [*arguments.posonlyargs, *arguments.args][::-1]
        pairs = [*zip(names, arguments.defaults[::-1], strict=False)]
        pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        return [(each.arg, default) for each, default in pairs if default is not None]
    return [
        (each.target.id, each.value)
        for each in holder.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.value
    ]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("strict", "maybe", "(found 'maybe'); allowed: true or false"),
        ("types", ["bias", "biass"], "(found ['bias', 'biass']); allowed: all, or a list out of"),
        ("types", [], "(found []); allowed: all, or a list out of bias, dark, flat"),
        ("raw", None, "(found 'null'); allowed: path of the folder of raw frames"),
        ("raw", "", "(found ''); allowed: path of the folder of raw frames"),
        ("reduction.statistic", "mode", "(found 'mode'); allowed: median, mean"),
        ("reduction.model", "legendre", "allowed: auto, null, polynomial, spline"),
        ("reduction.order", 0, "(found 0); allowed: a whole number from 1 to 50"),
        ("reduction.order", 2.5, "(found 2.5); allowed: a whole number from 1 to 50"),
        ("reduction.dtype", "int16", "(found 'int16'); allowed: float32, float64"),
        ("reduction.trim", 1, "(found 1); allowed: true or false"),
        ("bias.group_by", ["nigth"], "(found 'nigth'); allowed: night, ccdsum, window"),
        ("bias.clip", 0.2, "(found 0.2); allowed: a number from 1 to 100, in sigma, or null"),
        ("limits.combine_memory", 5, "(found 5); allowed: a number from 50 to 1000000, in MB"),
        ("bias", "none", "(found 'none'); allowed: keys below it: enabled, group_by,"),
        ("pictures.per_type", -1, "(found -1); allowed: a whole number of at least 0, or all"),
        ("limits.settle", -3, "(found -3); allowed: a number from 0 to 86400, in seconds"),
        ("progress", "loud", "(found 'loud'); allowed: auto, plain, none"),
    ],
)
def test_the_error_on_a_wrong_value_names_file_key_value_and_the_allowed_ones(key, value, line):
    with pytest.raises(UserError) as caught:
        settings.load_settings(nest_value(key, value))
    message = str(caught.value)
    assert message.startswith(f"config/config.yaml: {key}")
    assert line in message
    assert "\n" not in message


def nest_value(key, value):
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(
    ("key", "known"), [("tpyes", "types"), ("reduction.statistics", "statistic")]
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(key, known):
    with pytest.raises(UserError, match=rf"{key}: unknown key; .*did you mean '{known}'\?"):
        settings.load_settings(nest_value(key, 1))


@pytest.mark.parametrize(
    ("given", "key", "expected"),
    [
        ({"bias": {"clip": "4.5"}}, "bias.clip", 4.5),
        ({"bias": {"clip": "null"}}, "bias.clip", None),
        ({"bias": {"minimum": "7"}}, "bias.minimum", 7),
        ({"bias": {"group_by": ["night"]}}, "bias.group_by", ["night"]),
        ({"reduction": {"trim": "false"}}, "reduction.trim", False),
        ({"strict": "true"}, "strict", True),
    ],
)
def test_values_as_snakemake_parses_them_are_understood(given, key, expected):
    value = settings.load_settings(given)
    for name in key.split("."):
        value = value[name]
    assert value == expected
    assert type(value) is type(expected)


def test_a_folder_that_became_a_number_is_reported():
    # --config raw=2016_01_16 arrives as 20160116.
    line = r"a folder's name that looks like a number arrives as a number \(found 20160116\);"
    remedy = r"allowed: a folder's name as text; write ./ before it: raw=./"
    with pytest.raises(UserError, match=rf"raw: {line} {remedy}"):
        settings.load_settings({"raw": 20160116})


def test_a_folder_may_begin_with_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/observer")
    assert settings.load_settings({"raw": "~/night"})["raw"] == "/home/observer/night"


def test_tests_have_no_former_settings():
    """`combine: minimum` is now `bias: minimum`: the tests of this module alone read it."""
    texts = {module.path.name: module.text for module in modules("tests")}
    former = re.compile(r"""\{["']combine["']: *\{|\bcombine=\{""")
    assert {name for name, text in texts.items() if former.search(text)} == {Path(__file__).name}


def test_a_missing_setting_does_not_come_from_the_file_that_the_user_edits(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "ROOT", tmp_path)
    settings._schema_defaults.cache_clear()
    assert settings.load_settings({"raw": "a", "results": "b"}) == {
        **DEFAULTS,
        "raw": "a",
        "results": "b",
    }


@pytest.mark.parametrize(
    ("value", "remedy"), [("averge", "did you mean 'average'"), (3, "write an allowed value")]
)
def test_a_wrong_value_is_refused_with_the_one_that_was_meant(value, remedy):
    with pytest.raises(UserError, match=rf"bias\.method: not a valid .*average, median; {remedy}"):
        settings.load_settings({"bias": {"method": value}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused(value):
    with pytest.raises(UserError, match=r"config\.yaml: bias\.clip: not a number.*in digits"):
        settings.load_settings({"bias": {"clip": value}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_in_a_list_that_is_no_number_is_refused(value):
    """A saturation of .nan was accepted, and each frame ended in an unforeseen error."""
    values = {"amplifiers": [{"saturation": 65_000}, {"saturation": value}]}
    with pytest.raises(UserError, match=r"^cam\.yaml: amplifiers\[1\]\.saturation: not a number"):
        schemas.check_values(values, "camera.schema.json", file="cam.yaml")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"raw: [unclosed", "not valid YAML in line 1"),
        (b"types: all\n\tstrict: true\n", "not valid YAML in line 2"),
        (b"", "the file holds no keys with values"),
        (b"- raw\n", "the file holds no keys with values"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(tmp_path, content, line):
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        settings.check_file(path)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)


def test_braces_in_the_path_of_results_are_refused():
    line = "Snakemake would take the brackets in this path for wildcards"
    with pytest.raises(UserError, match=rf"results: {line} \(found 'my \{{res\}}ults'\)"):
        settings.load_settings({"results": "my {res}ults"})


@pytest.mark.parametrize("results", ["raw", "raw/results", "raw/../raw/a/b", "../{here}/raw/x"])
def test_results_inside_raw_are_refused(tmp_path, monkeypatch, results):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match=r"results: the results would lie inside the raw folder"):
        settings.load_settings({"raw": "raw", "results": results.format(here=tmp_path.name)})


def test_results_inside_raw_by_a_link_are_refused(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    with pytest.raises(UserError, match=r"inside the raw folder"):
        settings.load_settings(
            {"raw": str(tmp_path / "raw"), "results": str(tmp_path / "link" / "made")}
        )


@pytest.mark.parametrize("folder", [*CHAIN.folders, "set_aside", ".ccdflow"])
def test_raw_frames_where_products_are_written_are_refused(tmp_path, folder):
    given = {"raw": str(tmp_path / folder / "night"), "results": str(tmp_path)}
    with pytest.raises(UserError, match=r"raw: the raw folder lies where products are written"):
        settings.load_settings(given, folders=CHAIN.folders)
    beside = {**given, "raw": str(tmp_path / "raw")}
    assert settings.load_settings(beside, folders=CHAIN.folders)["raw"] == str(tmp_path / "raw")


def test_raw_beside_the_products_is_allowed(tmp_path):
    folders = {"raw": str(tmp_path / "raw"), "results": str(tmp_path)}
    assert settings.load_settings(folders)["raw"] == folders["raw"]


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "cameras").glob("*.yaml")), ids=str)
def test_every_camera_of_the_project_passes_its_schema(path):
    schemas.check_values(yaml.safe_load(path.read_text("utf-8")), "camera.schema.json", file=path)


def nodes(values):
    """Yield a value and all below it."""
    yield values
    below = values.values() if isinstance(values, dict) else values
    for each in below if isinstance(values, dict | list) else ():
        yield from nodes(each)


def schemas_in(schema):
    """Yield a schema and all that it is made of."""
    if isinstance(schema, dict):
        yield schema
        names = ("additionalProperties", "propertyNames", "items", "if", "then", "else")
        parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
        for part in (*parts, *map(schema.get, names)):
            yield from schemas_in(part)


@pytest.mark.parametrize("name", ["config.schema.json", "camera.schema.json"])
def test_the_quick_check_of_values_agrees_with_jsonschema(name):
    schema = schemas.read_schema(name)
    parts = {repr(part): part for part in schemas_in(schema)}
    cameras = sorted((ROOT / "config" / "cameras").glob("*.yaml"))
    documents = [DEFAULTS, *(yaml.safe_load(path.read_text("utf-8")) for path in cameras)]
    odd = [None, True, False, 0, 1, -1, 1.0, 2.5, 1e300, "", "a b", "1", [], {}, [[]], {"": None}]
    odd += [[1, 1], [1, True], [0, False], ["a", "a"], ["a", 1], [1, 1.0], {1: 2}, [None]]
    odd += [datetime.date(2024, 1, 1), [1, 2, 3, 4, 5], {"value": 1, "unknown": 2}]
    values = {repr(node): node for document in documents for node in nodes(document)}
    values = [*odd, *values.values()]
    validator, counts = jsonschema.Draft202012Validator(schema), Counter()
    for part in parts.values():
        of_part = validator.evolve(schema=part)
        for value in values:
            expected = of_part.is_valid(value)
            assert schemas.is_match(value, part) == expected, (value, part)
            counts[expected] += 1
    assert min(counts.values()) > 500


def test_the_former_name_of_a_number_is_understood_with_a_warning():
    assert (
        settings.load_settings({"frames_per_order": 7, "frames_per_batch": 2000})[
            "frames_per_batch"
        ]
        == 7
    )
    (line,) = settings.lines_on_former_names(
        {"frames_per_order": 7, "frames_per_batch": 2000, "strict": True}
    )
    assert line == (
        "warning: the setting `frames_per_order` is called `frames_per_batch` now; "
        "its value is used, write the new name"
    )
    assert settings.lines_on_former_names(settings.load_settings({"frames_per_order": 7})) == []
    with pytest.raises(UserError, match=r"frames_per_batch: .*0"):
        settings.load_settings({"frames_per_order": 0})


def test_the_former_name_of_a_block_is_understood():
    """`combine:` became `bias:`, and its memory a limit of all that is combined."""
    user_settings = {"combine": {"minimum": 4, "memory": 500}, "limits": {"settle": 5}}
    loaded = settings.load_settings(user_settings)
    assert loaded == settings.load_settings(
        {"bias": {"minimum": 4}, "limits": {"settle": 5, "combine_memory": 500}}
    )
    assert "combine" not in loaded
    # The file has all keys of bias: and the command line an older name of some.
    both = settings.load_settings(
        {"combine": {"minimum": 4, "memory": 500}, "bias": {"minimum": 3, "clip": 4.0}}
        | {"limits": {"combine_memory": 1000, "settle": 5}}
    )
    assert (both["bias"]["minimum"], both["bias"]["clip"]) == (4, 4.0)
    assert both["limits"]["combine_memory"] == 500
    with pytest.raises(UserError, match=r"bias\.minimun: unknown key"):
        settings.load_settings({"combine": {"minimun": 4}})
    with pytest.raises(UserError, match="combine: unknown key"):
        settings.load_settings({"combine": "none"})


def test_blocks_of_masters_are_of_one_schema():
    kinds = [kind for kind in CHAIN if kind.type]
    assert [kind.block for kind in kinds] == ["bias", "dark", "flat"]
    for kind in kinds:
        part = dict(SCHEMA["properties"][kind.block])
        names = set(part["properties"])
        assert {"enabled", "group_by", "minimum", *kind.pixel_settings} <= names, kind


def test_aliases_of_a_file_that_snakemake_reads_are_bounded():
    bomb = ["x"] * 9
    for _ in range(9):
        bomb = [bomb] * 9
    inside_itself = []
    inside_itself.append(inside_itself)
    for value in (bomb, inside_itself, {"a": inside_itself}, ["x"] * 20_001):
        with pytest.raises(UserError, match="nested too deep, or holds too much"):
            settings.load_settings({"raw": "r", "results": "s", "reduction": value})


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"raw": "/data", "results": "/products"}, ""),
        ({}, ""),
        ({"raw": "demo/raw", "results": "/products"}, ""),
        ({"raw": "/data", "results": "demo/results"}, ""),
        (
            {"results": "/products"},
            "raw: is not given, and would be that of the demonstration beside results=/products"
            " (found 'demo/raw'); write raw=FOLDER as well",
        ),
        (
            {"raw": "/data"},
            "results: is not given, and would be that of the demonstration beside raw=/data (found"
            " 'demo/results'); write results=FOLDER as well",
        ),
    ],
)
def test_one_folder_alone_is_not_joined_with_the_other_of_the_demonstration(given, line):
    """Frames of the demonstration were reduced among the products of another archive."""
    loaded = settings.load_settings({**DEFAULTS, **given})
    lines = []
    try:
        settings.check_both_folders(loaded, given)
    except UserError as error:
        lines.append(str(error))
    assert lines == ([line] if line else [])


def test_a_folder_of_the_users_own_configuration_needs_no_other_on_the_command_line():
    loaded = settings.load_settings({**DEFAULTS, "raw": "/data", "results": "/trial"})
    settings.check_both_folders(loaded, {"results"})
