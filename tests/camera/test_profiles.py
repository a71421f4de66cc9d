"""Profiles of cameras: read, checked, and preferred to the header's own cards."""

import ast
import json
import os
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from camera_headers import four_extensions, geometry, header, profile, rebuild_image

from ccdflow.camera import facts, image_types, profiles
from ccdflow.camera.cameras import generic_camera, identify
from ccdflow.camera.profiles import CAMERA_SCHEMA, load_cameras
from ccdflow.camera.reduction_recipe import ReductionRecipe
from ccdflow.errors import FrameError, UserError
from ccdflow.schemas import SCHEMA_FOLDER

ROOT = Path(__file__).parents[2]
CAMERAS = ROOT / "config" / "cameras"
DOCUMENT = ROOT / "docs" / "cameras.md"


# -- profiles ---------------------------------------------------------------------------------


def test_every_profile_that_comes_along_is_valid():
    names = [camera.name for camera in load_cameras(CAMERAS)]
    assert names == sorted(names)
    assert {"lfc", "kast_blue", "isis_blue", "saao_ste3", "goodman_red", "vbo_uags"} <= set(names)


def test_a_profile_is_parsed_once_and_an_edited_one_again_be_its_size_and_times_the_same(tmp_path):
    path = tmp_path / "probe.yaml"
    path.write_text("recognise: {INSTRUME: PROBE}\ngain: 1.5\n")
    (first,), (second,) = load_cameras(tmp_path), load_cameras(tmp_path)
    before = path.stat()
    path.write_text("recognise: {INSTRUME: PROBE}\ngain: 2.5\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (edited,) = load_cameras(tmp_path)
    assert second is first
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert (first.gain, edited.gain) == (1.5, 2.5)


def test_the_text_of_a_camera_is_of_all_its_values(tmp_path):
    (tmp_path / "probe.yaml").write_text("recognise: {INSTRUME: PROBE}\ngain: 1.5\n")
    (camera,) = load_cameras(tmp_path)
    assert camera.text == repr(camera)
    assert replace(camera, gain=2.5).text == camera.text.replace("gain=1.5", "gain=2.5")
    moved = replace(camera, path="elsewhere.yaml")
    assert moved.text != camera.text
    assert moved.text_without_path == camera.text_without_path == repr(replace(camera, path=""))


def test_the_text_of_a_camera_has_the_names_that_fields_had_when_rows_were_written(tmp_path):
    """With other names the hash would differ, and all headers of an archive be read again."""
    (tmp_path / "probe.yaml").write_text(
        "recognise: {INSTRUME: PROBE}\nraw: true\noverscan: none\n"
        'amplifiers: [{data: {fits: "[1:9,1:7]"}, flip: x}]\n'
    )
    (camera,) = load_cameras(tmp_path)
    amplifier = (
        "AmplifierSpec(name='A1', hdu=None, data=RegionSpec(form='fits', text='[1:9,1:7]'), "
        "overscan=(), along=None, place=None, flip_x=True, flip_y=False, gain=None, "
        "read_noise=None, saturation=None)"
    )
    assert repr(camera.amplifiers) == f"({amplifier},)"
    assert camera.text.startswith("Camera(name='probe', path=")
    assert f"amplifiers=({amplifier},), overscan=False, layout=None, " in camera.text
    assert "reduction=(), raw=True, gain=None, read_noise=None, " in camera.text


def test_two_profiles_of_one_text_are_two_cameras(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("recognise: {INSTRUME: PROBE}\n")
    assert [camera.name for camera in load_cameras(tmp_path)] == ["one", "two"]


def test_cards_of_a_profile_leave_those_of_others(tmp_path):
    (tmp_path / "a.yaml").write_text("recognise: {A: 1}\nkeywords: {exptime: OWN}\n")
    (tmp_path / "b.yaml").write_text("recognise: {B: 1}\n")
    own, other_camera = load_cameras(tmp_path)
    assert [card.keyword for card in dict(own.cards)["exptime"]] == ["OWN"]
    assert dict(other_camera.cards) == facts.default_cards()
    assert len(facts.default_cards()["exptime"]) > 10


@pytest.mark.parametrize(("nx", "ny"), [(2080, 4128), (160, 70)])
def test_the_lfc_profile_at_any_size(nx, ny):
    frame_header = header(nx, ny, INSTRUME="LFC", BIASSEC=f"[{nx - 31}:{nx},1:{ny - 1}]")
    camera = identify([frame_header], load_cameras(CAMERAS), file="a.fits")
    (amplifier,) = camera.geometry([frame_header], file="a.fits").amplifiers
    assert camera.name == "lfc"
    assert amplifier.data.to_fits() == f"[1:{nx - 32},1:{ny}]"
    assert amplifier.overscan[0].to_fits() == f"[{nx - 24}:{nx},1:{ny}]"


def test_profile_with_flips_places_and_figures(tmp_path):
    camera = profile(
        tmp_path,
        """
recognise: {INSTRUME: PROBE}
size: [16, null]
amplifiers:
  - name: L
    data: {python: "[:, 0:5]"}
    overscan: [{python: "[:, 5:7]"}, {python: "[:, 14:16]"}]
    place: {fits: "[6:10,1:9]"}
    gain: 2.5
    read_noise: {keyword: RON2}
  - name: R
    data: {python: "[:, 9:14]"}
    place: {fits: "[1:5,1:9]"}
    flip: x
reduction: {statistic: mean, trim: false}
layout: extensions
""",
    )
    frame_header = header(16, 9, INSTRUME="PROBE", RON2=7.0, RDNOISE=3.0)
    frame = np.arange(16 * 9).reshape(9, 16)
    frame_geometry = camera.geometry([frame_header], file="a.fits")
    left, right = frame_geometry.amplifiers
    assert (left.gain, left.read_noise, right.read_noise) == (2.5, 7.0, 3.0)
    assert [strip.to_fits() for strip in left.overscan] == ["[6:7,1:9]", "[15:16,1:9]"]
    assert (right.along, right.overscan) == ("none", ())
    expected_image = np.hstack([frame[:, 13:8:-1], frame[:, 0:5]])
    np.testing.assert_array_equal(rebuild_image(frame_geometry, [frame]), expected_image)
    recipe = camera.recipe({"dtype": "float64", "statistic": "median"})
    assert (recipe.statistic, recipe.trim, recipe.dtype) == ("mean", False, "float64")
    assert recipe.layout == "extensions"
    with pytest.raises(FrameError, match=r"found '15 x 9'\); allowed: 16 x any"):
        camera.geometry([header(15, 9)], file="a.fits")


def test_a_profile_may_keep_a_part_of_the_section_of_detsec(tmp_path):
    chip = 1 + np.arange(10 * 14).reshape(10, 14)
    headers, arrays = four_extensions(chip)
    regions = "data: {python: '[:, 4:]'}, overscan: {python: '[:, 1:3]'}"
    amplifiers = "".join(f"  - {{name: {i}, hdu: {i}, {regions}}}\n" for i in range(1, 5))
    camera = profile(tmp_path, f"recognise: {{GAIN: 1.1}}\namplifiers:\n{amplifiers}")
    frame_geometry = camera.geometry(headers, file="a.fits")
    np.testing.assert_array_equal(rebuild_image(frame_geometry, arrays), chip[:, 1:-1])


def test_overscan_none_drops_the_overscan_of_the_header(tmp_path):
    camera = profile(tmp_path, "recognise: {INSTRUME: PROBE}\noverscan: none\n")
    frame_header = header(12, 9, INSTRUME="PROBE", BIASSEC="[11:12,1:9]", TRIMSEC="[1:10,1:9]")
    frame_geometry = camera.geometry([frame_header], file="a.fits")
    assert (frame_geometry.shape, frame_geometry.amplifiers[0].along, frame_geometry.source) == (
        (9, 10),
        "none",
        "profile",
    )


def test_a_strip_of_a_profile_is_never_lengthened(tmp_path):
    text = """
recognise: {INSTRUME: PROBE}
amplifiers: [{data: {fits: "[1:10,1:9]"}, overscan: {fits: "[11:12,1:8]"}%s}]
"""
    frame_header = header(12, 9, INSTRUME="PROBE")
    with pytest.raises(FrameError, match="8 of the 9 rows"):
        profile(tmp_path, text % "").geometry([frame_header], file="a.fits")
    (amplifier,) = (
        profile(tmp_path, text % ", along: frame")
        .geometry([frame_header], file="a.fits")
        .amplifiers
    )
    assert (amplifier.along, amplifier.overscan[0].to_fits()) == ("frame", "[11:12,1:8]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recognise: {A: b}\nrecognize: {}", r"recognize: unknown key.*did you mean 'recognise'"),
        ("overscan: none", r"recognise: a key is missing"),
        ("recognise: {A: b}\nsize: [2080]", r"size: .*NAXIS1, NAXIS2"),
        ("recognise: {A: b}\nreduction: {statistic: mode}", r"statistic: .*'mode'.*median, mean"),
        ("recognise: {A: b}\nsite: {longitude: 243}", r"site.longitude: .*243.*degrees"),
        ("recognise: {A: b}\ntypes: [{type: zero, imagetyp: Z}]", r"types\[0\].type: .*bias, dark"),
        (
            'recognise: {A: b}\namplifiers: [{data: "[1:2,3:4]"}]',
            r"amplifiers\[0\].data: a region must name its notation.*fits.*python",
        ),
        (
            'recognise: {A: b}\namplifiers: [{overscan: ["[1:2,3:4]"]}]',
            r"overscan\[0\]: a region must name",
        ),
        (
            'recognise: {A: b}\namplifiers: [{data: {fits: "[:, 2:]"}}]',
            r"amplifiers\[0\].data: not a FITS section.*columns first",
        ),
        (
            'recognise: {A: b}\namplifiers: [{place: {python: "[:, 2:3]"}}]',
            r"amplifiers\[0\].place: a place is given as a FITS section",
        ),
        ("recognise: {A: b}\namplifiers: [{name: L}, {name: L}]", r"two amplifiers of one name"),
        (
            'recognise: {A: b}\noverscan: none\namplifiers: [{overscan: {fits: "[1:2,*]"}}]',
            r"overscan: an amplifier has an overscan, and the camera has none",
        ),
        ("recognise: {A: b}\nrecognise: {A: c}", r"given twice"),
        ("recognise: [", r"not valid YAML"),
        ("7", r"holds no profile"),
        ("", r"holds no profile"),
        ("- LFC", r"holds no profile"),
    ],
)
def test_a_wrong_profile_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        profile(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "probe.yaml"))
    assert "\n" not in str(caught.value)


def test_the_documented_profile_is_valid_and_complete(tmp_path):
    """The example shows every key that the schema has."""
    text = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)[1]
    camera = profile(tmp_path, text)
    assert [amplifier.name for amplifier in camera.amplifiers] == ["left", "right"]
    schema = json.loads((SCHEMA_FOLDER / CAMERA_SCHEMA).read_text(encoding="utf-8"))["properties"]
    absent = [
        key
        for properties in (schema, schema["amplifiers"]["items"]["properties"])
        for key in properties
        if f"{key}:" not in text
    ]
    absent += [key for key in schema["keywords"]["properties"] if key not in text]
    assert len(schema) > 15
    assert len(schema["keywords"]["properties"]) > 10
    assert absent == [], f"the example in docs/cameras.md lacks keys of the schema: {absent}"


def test_each_key_of_the_schema_is_read():
    """A key that no code reads would be accepted, and change nothing."""
    text = Path(profiles.__file__).read_text(encoding="utf-8")
    words = {each.value for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Constant)}
    schema = json.loads((SCHEMA_FOLDER / CAMERA_SCHEMA).read_text(encoding="utf-8"))["properties"]
    assert len(schema) > 15
    unread = set(schema) - words - {"description"}
    assert unread == set(), f"camera/profiles.py (`_camera_of_text`) does not read: {unread}"


def test_schema_and_code_know_the_same_names():
    schema = json.loads((SCHEMA_FOLDER / CAMERA_SCHEMA).read_text(encoding="utf-8"))["properties"]
    sections = {"biassec", "trimsec", "datasec", "ccdsec"}
    names = set(schema["keywords"]["properties"])
    assert names == set(facts.KEYWORDS) - sections, (
        "`keywords` of camera.schema.json and KEYWORDS of camera/facts.py have other names: "
        f"{names ^ (set(facts.KEYWORDS) - sections)}"
    )
    assert tuple(schema["types"]["items"]["properties"]["type"]["enum"]) == image_types.TYPES
    settings = {field.name for field in fields(ReductionRecipe)} - {"layout", "raw"}
    assert set(schema["reduction"]["properties"]) == settings


def test_a_missing_folder_of_profiles_is_an_error(tmp_path):
    with pytest.raises(UserError, match="folder of camera profiles is missing"):
        load_cameras(tmp_path / "none")


# -- recipes and keys -------------------------------------------------------------------------


def test_settings_that_a_model_does_not_use_are_not_in_the_key():
    camera = generic_camera([header()])
    one, other = camera.recipe({"order": 3}), camera.recipe({"order": 5})
    assert one.canonical() == other.canonical()
    one, other = (
        camera.recipe({"order": 3, "model": "spline"}),
        ReductionRecipe(order=5, model="spline"),
    )
    assert one.canonical() != other.canonical()
    with pytest.raises(UserError, match="sigma_clip: not a setting of the reduction; allowed"):
        camera.recipe({"sigma_clip": 3})


def test_notes_are_not_in_the_key_of_a_geometry():
    short = header(12, 40, BIASSEC="[11:12,1:39]", TRIMSEC="[1:10,1:40]")
    long = header(12, 40, BIASSEC="[11:12,1:40]", TRIMSEC="[1:10,1:40]")
    assert geometry(short).notes != geometry(long).notes
    assert geometry(short).canonical() == geometry(long).canonical()
    other = header(12, 40, BIASSEC="[12:12,1:40]", TRIMSEC="[1:10,1:40]")
    assert geometry(other).canonical() != geometry(long).canonical()
