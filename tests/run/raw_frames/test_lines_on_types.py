"""The last lines of a run on image types: their rules, put into a profile as they stand, work."""

import re

import numpy as np
import pytest
import yaml
from small_frames import bias_cards, run_jobs, write_raw

from ccdflow.camera.image_types import type_by_file_name
from ccdflow.run.nights import archive_counts
from ccdflow.run.raw_frames.header_store import HeaderStore
from ccdflow.run.raw_frames.lines_on_types import biasless_lines, untyped_lines
from ccdflow.run.raw_frames.rows import row_of_plain_values

SHAPE = (24, 32)


def take(raw, file, number, *, level=1000.0, seconds=0.0, **cards):
    """Write a frame without sections, of an even level."""
    rng = np.random.default_rng(number)
    data = np.rint(level + 4 * rng.standard_normal(SHAPE)).astype(np.uint16)
    header = bias_cards(number, EXPTIME=seconds, **{"GAIN": 1.0, "RDNOISE": 4.0} | cards)
    kept = {keyword: value for keyword, value in header.items() if value is not None}
    write_raw(raw / file, (data, kept))


def line_with(run, words):
    (line,) = [line for line in run.lines if words in line]
    return line


def profile_of(line):
    """The profile that a line tells to write, with its name."""
    match = re.search(r"config/cameras/(\S+)\.yaml: recognise: (\{.*?\}) and types: (\[.*\])", line)
    return match[1], f"recognise: {match[2]}\ntypes: {match[3]}\n"


def types_of(run):
    return {file: row.facts["type"] for file, row in run.context.store.rows.items()}


def test_frames_whose_target_alone_tells_the_type_get_their_rules(tmp_path):
    raw = tmp_path / "raw"
    for number, (name, target) in enumerate(
        {"a": "BIAS", "b": "FLAT R", "c": "Flat: V", "d": "M67", "e": "Flatiron nebula"}.items()
    ):
        take(raw, f"{name}.fits", number, IMAGETYP=None, OBJECT=target)
    first = run_jobs(raw, tmp_path / "first", {}, kinds=("frame",))
    assert set(types_of(first).values()) == {"other"}
    line = line_with(first, "image type unknown")
    assert line.startswith("image type unknown: testcam: a.fits (the first of 5 frames): no card")
    name, profile = profile_of(line)
    assert yaml.safe_load(profile) == {
        "recognise": {"INSTRUME": "TESTCAM"},
        "types": [
            {"type": "bias", "cards": {"OBJECT": "BIAS"}},
            {"type": "flat", "cards": {"OBJECT": ["FLAT R", "Flat: V"]}},
            {"type": "science", "file": "*"},
        ],
    }
    second = run_jobs(raw, tmp_path / "second", {name: profile}, kinds=("frame",))
    assert list(types_of(second).values()) == ["bias", "flat", "flat", "science", "science"]
    assert second.lines
    assert not [each for each in second.lines if "image type unknown" in each]


def test_a_target_of_another_card_has_its_rule_in_the_table(tmp_path):
    take(tmp_path / "raw", "a.fits", 1, IMAGETYP=None, OBJECT=None, TARGNAME="Flat R")
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {}, kinds=("frame",))
    (row,) = run.context.store.rows.values()
    assert "types: [{type: flat, cards: {TARGNAME: Flat R}}]" in row.reason
    assert line_with(run, "image type unknown").endswith(
        'types: [{type: TYPE, file: "*"}] (TYPE: bias, dark, flat, science, arc)'
    )


def test_frames_whose_folders_or_names_tell_the_type_get_their_rules(tmp_path):
    raw = tmp_path / "raw"
    files = ("n1/Biases/F_1.fits", "n1/Darks/F_1.fits", "n1/Lights/F_1.fits", "flat_7.fits")
    for number, file in enumerate(files):
        take(raw, file, number, IMAGETYP=None, OBJECT=None)
    first = run_jobs(raw, tmp_path / "first", {}, kinds=("frame",))
    name, profile = profile_of(line_with(first, "image type unknown"))
    second = run_jobs(raw, tmp_path / "second", {name: profile}, kinds=("frame",))
    assert types_of(second) == dict(zip(files, ("bias", "dark", "science", "flat"), strict=True))


def test_a_word_of_a_type_that_only_a_person_knows_is_named(tmp_path):
    raw = tmp_path / "raw"
    take(raw, "a.fits", 1, IMAGETYP="cal", OBJECT="HeNeAr")
    take(raw, "b.fits", 2, IMAGETYP="wibble", OBJECT="M67")
    line = line_with(run_jobs(raw, tmp_path / "results", {}, kinds=("frame",)), "type unknown")
    assert "'cal' is no known type" in line
    assert line.endswith(
        "types: [{type: arc, cards: {OBJECT: HeNeAr}}, {type: TYPE, imagetyp: wibble}]"
        " (TYPE: bias, dark, flat, science, arc)"
    )


@pytest.mark.parametrize(
    ("file", "type_and_pattern"),
    [
        ("n/bias_0s_1.fits", ("bias", "bias*")), ("DARKFLAT_001.fit", ("dark", "DARKFLAT*")),
        ("darks of M31/a.fits", ("", "")), ("m31/flat/f.fits", ("flat", "*flat/*")),
        ("comp/a.fits", ("", "")), ("001.fits", ("", "")),
    ],
)  # fmt: skip
def test_a_name_tells_a_type_by_a_whole_word_alone(file, type_and_pattern):
    assert type_by_file_name(file) == type_and_pattern


def test_darks_without_biases_serve_by_the_rule_of_the_line(tmp_path):
    """Darks and dark flats alone: the level stays, until the shortest darks count as biases."""
    raw = tmp_path / "raw"
    plan = [("DARK", 60.0, 1003.0)] * 3 + [("DARKFLAT", 2.0, 1000.0)] * 3
    plan += [("FLAT", 2.0, 21_000.0)] * 3 + [("LIGHT", 60.0, 1203.0)]
    for number, (kind, seconds, level) in enumerate(plan):
        take(raw, f"{kind}_{number}.fits", number, level=level, seconds=seconds, IMAGETYP=kind,
             OBJECT="", FILTER="V")  # fmt: skip
    kinds = ("frame", "bias", "dark", "flat", "science")

    def level(run):
        (light,) = [product for product in run.records if product.startswith("calibrated/LIGHT")]
        with run.open(light) as hdus:
            return float(np.median(hdus[0].data))

    first = run_jobs(raw, tmp_path / "first", {}, kinds=kinds)
    assert level(first) == pytest.approx(1203, abs=2)
    line = line_with(first, "no bias: testcam")
    assert "such, as DARKFLAT_3.fits of 2 s" in line
    name, profile = profile_of(line)
    assert yaml.safe_load(profile)["types"] == [
        {"type": "bias", "imagetyp": "DARKFLAT", "exptime": {"max": 2}}
    ]
    second = run_jobs(raw, tmp_path / "second", {name: profile}, kinds=kinds)
    assert level(second) == pytest.approx(200, abs=3)
    assert second.lines
    assert not [each for each in second.lines if "no bias: testcam" in each]


def test_the_rows_that_closed_nights_note_suffice_for_the_lines(tmp_path):
    """A bias whose overscan was subtracted is not noted, and its level is none of the darks'."""
    sections = {"BIASSEC": "[29:32,1:24]", "DATASEC": "[1:28,1:24]"}
    take(tmp_path / "raw", "a.fits", 1, IMAGETYP="BIAS", LONGITUD=-70.7, **sections)
    take(tmp_path / "raw", "b.fits", 2, IMAGETYP="DARK", seconds=60.0)
    take(tmp_path / "raw", "c.fits", 3, IMAGETYP="wibble")
    context = run_jobs(tmp_path / "raw", tmp_path / "results", {}, kinds=("frame",)).context
    (night,) = {row.night for row in context.store.rows.values()}
    note = archive_counts.counts_of_night(context, night, [], {})
    noted_rows = {row.file: row for row in map(row_of_plain_values, note["rows"])}
    assert noted_rows.keys() == {"b.fits", "c.fits"}
    for lines_on_rows in (untyped_lines, biasless_lines):
        (line,) = lines_on_rows(context.store)
        assert lines_on_rows(HeaderStore(rows=noted_rows)) == [line]


def test_many_frames_set_aside_for_one_reason_have_one_line(tmp_path):
    raw = tmp_path / "raw"
    for number in range(22):
        # Their warnings differ, the reason does not.
        take(raw, f"a{number:02d}.fits", number, DETSIZE="[1:8,1:8]", LONGITUD=f"far {number}")
    take(raw, "b.fits", 30, DETSIZE="[1:9,1:9]")
    run = run_jobs(raw, tmp_path / "results", {}, kinds=("frame",))
    lines = [line for line in run.lines if line.startswith("set aside: ")]
    assert [line.split(": ")[1].split()[0] for line in lines] == ["a00.fits", "b.fits"]
    assert lines[0].startswith("set aside: a00.fits (the first of 22 frames): ")
    assert "the first of" not in lines[1]
    # Warnings on a frame that is set aside hide the reason, and have lines of their own.
    assert [line for line in lines if "warning: " in line] == []
