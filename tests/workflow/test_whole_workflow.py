"""The whole workflow, run as a user runs it: the guide's night, bad input, a real frame."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import ccdproc
import numpy as np
import pytest
import ready_python
from astropy.io import fits
from astropy.nddata import CCDData

from ccdflow import simulate
from ccdflow.frame import streaming
from ccdflow.run.raw_frames.inventory_table import read_inventory

# -- the guide's night, all columns ----------------------------------------------------------------

# Rows of a frame: a sixteenth of the guide's, still three blocks of rows and more than 1 MB.
FEW_ROWS, ALL_ROWS = 258, 4128


@dataclass(frozen=True)
class Night:
    rows: int
    raw: Path
    results: Path
    run: object
    raw_before: dict
    results_after: dict

    @property
    def table(self):
        return read_inventory(self.results / "inventory.csv")

    @property
    def combined_bias(self):
        (path,) = (self.results / "combined" / "2016-01-15").glob("bias_*.fits")
        return path


@pytest.fixture(
    scope="module", params=[FEW_ROWS, pytest.param(ALL_ROWS, marks=pytest.mark.torture)]
)
def guide_night(request, tmp_path_factory, run_workflow, snapshot):
    """The guide's night as it is simulated for the demonstration, and what was made of it."""
    folder = tmp_path_factory.mktemp("night")
    raw, results = folder / "raw", folder / "results"
    simulate.simulate_night(raw, camera=replace(simulate.LFC, ny=request.param))
    # A block has 2 ** 18 pixels while a frame is reduced and while it is calibrated.
    assert 2048 * request.param > 2 * streaming.BLOCK_PIXELS
    assert 2 * 2080 * request.param > 1_000_000
    before = snapshot(raw)
    run = run_workflow(raw, results)
    yield Night(request.param, raw, results, run, before, snapshot(results))
    # A gigabyte where all rows are simulated.
    shutil.rmtree(folder)


def test_the_run_succeeds_and_ends_with_a_summary(guide_night):
    assert guide_night.run.status == 0, guide_night.run.output
    assert guide_night.run.lines[0] == "24 of 24 frames to reduce: 24 new; night 2016-01-15"
    assert guide_night.run.lines[-1] == (
        "24 reduced frames, 1 combined bias, 3 combined darks, 2 combined flats,"
        f" 2 calibrated frames, 0 set aside; table: {guide_night.results}/inventory.csv"
    )


def test_the_guides_inventory_of_14(guide_night):
    table = guide_night.table
    table = table[~table["file"].str.contains("/")]
    columns = ["file", "imagetyp", "filter", "exptime", "naxis1", "naxis2"]
    assert table[columns].to_numpy().tolist() == [
        ["ccd.001.0.fits.gz", "BIAS", "i'", 0.0, 2080, guide_night.rows],
        ["ccd.002.0.fits.gz", "BIAS", "i'", 0.0, 2080, guide_night.rows],
        ["ccd.003.0.fits.gz", "BIAS", "i'", 0.0, 2080, guide_night.rows],
        ["ccd.004.0.fits.gz", "BIAS", "i'", 0.0, 2080, guide_night.rows],
        ["ccd.005.0.fits.gz", "BIAS", "i'", 0.0, 2080, guide_night.rows],
        ["ccd.006.0.fits.gz", "BIAS", "i'", 0.0, 2080, guide_night.rows],
        ["ccd.014.0.fits.gz", "FLATFIELD", "g'", 70.001, 2080, guide_night.rows],
        ["ccd.015.0.fits.gz", "FLATFIELD", "g'", 70.011, 2080, guide_night.rows],
        ["ccd.016.0.fits.gz", "FLATFIELD", "g'", 70.001, 2080, guide_night.rows],
        ["ccd.017.0.fits.gz", "FLATFIELD", "i'", 7.0, 2080, guide_night.rows],
        ["ccd.018.0.fits.gz", "FLATFIELD", "i'", 7.0, 2080, guide_night.rows],
        ["ccd.019.0.fits.gz", "FLATFIELD", "i'", 7.0, 2080, guide_night.rows],
        ["ccd.037.0.fits.gz", "OBJECT", "g'", 300.062, 2080, guide_night.rows],
        ["ccd.043.0.fits.gz", "OBJECT", "i'", 300.014, 2080, guide_night.rows],
    ]


def test_the_guides_list_of_six_reduced_biases(guide_night):
    reduced = ccdproc.ImageFileCollection(guide_night.results / "reduced")
    biases = reduced.summary[reduced.summary["imagetyp"] == "BIAS"]
    assert [tuple(row) for row in biases["file", "imagetyp", "naxis1", "naxis2"]] == [
        (f"ccd.00{number}.0.fits", "BIAS", 2048, guide_night.rows) for number in range(1, 7)
    ]


def test_the_frames_of_darks_stand_in_the_table_and_mirror_the_tree(guide_night):
    table = guide_night.table
    assert len(table) == 24
    assert set(table["status"]) == {"ok"}
    assert table["type"].value_counts().to_dict() == {"dark": 9, "bias": 7, "flat": 6, "science": 2}
    assert set(table["night"]) == {"2016-01-15"}
    made = sorted(
        p.relative_to(guide_night.results / "reduced").as_posix() for p in products(guide_night)
    )
    assert made == sorted(file.removesuffix(".gz") for file in table["file"])


def products(night):
    return sorted(path for path in (night.results / "reduced").rglob("*") if path.is_file())


def test_every_pixel_is_that_of_the_guides_own_calls(guide_night):
    unlike = []
    for file in guide_night.table["file"]:
        ccd = CCDData.read(guide_night.raw / file, unit="adu")
        ccd = ccdproc.subtract_overscan(ccd, overscan=ccd[:, 2055:], median=True)
        ccd = ccdproc.trim_image(ccd[:, :2048])
        made = fits.getdata(guide_night.results / "reduced" / file.removesuffix(".gz"))
        assert made.dtype == np.dtype(">f4")
        if not np.array_equal(made, ccd.data.astype(np.float32)):
            unlike.append(file)
    assert unlike == []


def test_the_combined_bias_has_the_noise_of_seven(guide_night):
    image = fits.getdata(guide_night.combined_bias)
    header = fits.getheader(guide_night.combined_bias)
    assert image.shape == (guide_night.rows, 2048)
    assert header["NCOMBINE"] == 7
    # From rows next to each other, so that neither columns nor the drift of the level count.
    noise = np.std(image[1::2] - image[::2]) / np.sqrt(2)
    camera = json.loads((guide_night.raw / simulate.TRUTH_FILE).read_text())["camera"]
    expected = np.hypot(camera["read_noise"] / camera["gain"], np.sqrt(1 / 12)) / np.sqrt(7)
    # The level of a row, the median of 25 overscan pixels, brings noise of its own: 5 %.
    assert expected < noise < 1.08 * expected


def test_pictures_and_pages_are_there(guide_night):
    folder = guide_night.results / "nights" / "2016-01-15"
    assert (folder / "before_after.png").read_bytes().startswith(b"\x89PNG")
    for page in (folder / "report.html", guide_night.results / "report.html"):
        assert "2016-01-15" in page.read_text("utf-8")


def test_raw_frames_are_untouched(guide_night, snapshot):
    assert snapshot(guide_night.raw) == guide_night.raw_before


def test_a_second_run_finds_nothing_to_do_and_touches_nothing(guide_night, run_workflow, snapshot):
    again = run_workflow(guide_night.raw, guide_night.results)
    assert again.status == 0, again.output
    assert "Nothing to be done" in again.output
    after = snapshot(guide_night.results)
    state = ".ccdflow/"
    assert len(after) == len(guide_night.results_after) > 20
    assert {k: v for k, v in after.items() if not k.startswith(state)} == {
        k: v for k, v in guide_night.results_after.items() if not k.startswith(state)
    }


def test_a_dry_run_of_finished_products_lists_no_job(guide_night, run_workflow):
    dry = run_workflow(guide_night.raw, guide_night.results, "-n")
    assert dry.status == 0, dry.output
    assert dry.jobs == {}


def test_fitsverify_finds_nothing_that_the_raw_frame_had_not(guide_night):
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    for file in ("ccd.001.0.fits.gz", "ccd.014.0.fits.gz", "darks/ccd.013.0.fits.gz"):
        made = complaints(guide_night.results / "reduced" / file.removesuffix(".gz"))
        assert made <= complaints(guide_night.raw / file)
    assert complaints(guide_night.combined_bias) <= complaints(
        guide_night.raw / "ccd.001.0.fits.gz"
    )


def complaints(path):
    """Return the warnings and errors of fitsverify, without the number of the card."""
    report = subprocess.run(["fitsverify", path], capture_output=True, text=True).stdout
    assert "Verification found" in report
    lines = re.findall(r"^\*\*\* (?:Warning|Error): +(.*)$", report, re.MULTILINE)
    return {re.sub(r"#\d+", "#", line) for line in lines}


def test_the_demonstration_ends_with_its_products(guide_night):
    script = Path(__file__).parents[2] / "scripts" / "demo.py"
    done = subprocess.run(
        [
            ready_python.interpreter(),
            script,
            f"raw={guide_night.raw}",
            f"results={guide_night.results}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows, size = guide_night.rows, sum(path.stat().st_size for path in products(guide_night))
    for part in (
        "inventory.csv\n      the table of all 24 raw frames: 7 bias, 9 dark, 6 flat, 2 science\n",
        f"trimmed: 24 of 2048 x {rows} float32; {size / 1e6:.0f} MB\n",
        f"the combined bias: 7 frames, 2048 x {rows} float32\n",
        f"the combined dark of 300 s: 3 frames, 2048 x {rows} float32\n",
        "a calibrated frame in electrons, with UNCERT and MASK: grade B\n",
        "before_after.png\n",
        "report.html\n",
    ):
        assert part in done.stdout


# -- bad input -------------------------------------------------------------------------------------

ODD_NAMES = (
    "a blank.fits",
    'o\'hara "quoted".fits',
    "semi;colon.fits",
    "ünïcode—星.fits",
    "br{ace}.fits",
    "star*?[x].fits",
    "per%cent$HOME.fits",
    "-dash.fits",
    "#hash.fits",
    "back\\slash.fits",
    "comma,x.fits",
    "trailing .fits",
    "ang<le>/an<gle>.fits",
)

# Records are kept under these names and a key.
LONG_NAME, WIDE_NAME = f"{'l' * 245}.fits", f"{'星' * 40}.fits"
# The fault, and its reason in the table.
BAD_FRAMES = {
    "plain_letter.fits": r"not a FITS file",
    "letter.fits.gz": r"not a FITS file",
    "unpacked_letter.fits.gz": r"not a FITS file",
    "empty.fits": r"empty",
    "empty_packed.fits.gz": r"empty",
    "cut.fits.gz": r"truncated",
    "cut_plain.fits": r"truncated: 44640 bytes, its header promises 88320",
    "cut_header.fits": r"truncated: its header has no END card",
    "no_naxis.fits": r"NAXIS: missing from the header",
    "no_image.fits": r"NAXIS: the file holds no image",
    "row.fits": r"NAXIS: the frame is not a two-dimensional image \(found '160'\)",
    "cube.fits": r"NAXIS: the frame is not a two-dimensional image \(found '160 x 258 x 2'\)",
    "outside.fits": r"BIASSEC: the region is outside the frame \(found '\[400:500,1:258\]'\);"
    r" allowed: within \[1:160,1:258\]",
    "narrow.fits": r"amplifier A, data: the slice leaves the frame's 20 columns",
    "dangling.fits": r"cannot be read \(No such file or directory\)",
    "pipe.fits": r"not a regular file",
    "new\nline.fits": r"line break.*rename it",
    "tab\t.fits": r"control character.*rename it",
    "latin\udce9.fits": r"not valid UTF-8.*rename it",
    LONG_NAME: r"name is too long .*\(found '275 bytes.*rename it",
    WIDE_NAME: r"name is too long for the notes that are kept under it .*rename it",
    "twin.fits": r"would become the same product as twin.fits.gz",
    "twin.fits.gz": r"would become the same product as twin.fits",
}
if os.geteuid() != 0:
    BAD_FRAMES["forbidden.fits"] = r"cannot be read \(Permission denied\)"


def make_bad_frames(raw):
    """Put every kind of bad file beside the good frames of a folder."""
    packed = (raw / "ccd.001.0.fits.gz").read_bytes()
    plain = gzip.decompress(packed)
    with fits.open(raw / "ccd.001.0.fits.gz", do_not_scale_image_data=True) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()

    def frame(name, data=data, **cards):
        fits.PrimaryHDU(data, fits.Header(header, copy=True)).writeto(raw / name)
        for keyword, value in cards.items():
            fits.setval(raw / name, keyword, value=value)

    letter = b"this is a letter " * 400
    for name, content in {
        "plain_letter.fits": letter,
        "letter.fits.gz": gzip.compress(letter),
        "unpacked_letter.fits.gz": letter,
        "empty.fits": b"",
        "empty_packed.fits.gz": b"",
        "cut.fits.gz": packed[: len(packed) // 2],
        "cut_plain.fits": plain[: len(plain) // 2],
        "cut_header.fits": plain[:1000],
        "no_naxis.fits": plain.replace(b"NAXIS   =", b"NOXIS   =", 1),
        "new\nline.fits": plain,
        "tab\t.fits": plain,
        "latin\udce9.fits": plain,
        LONG_NAME: plain,
        WIDE_NAME: plain,
        "twin.fits": plain,
        "twin.fits.gz": packed,
        "forbidden.fits": plain,
        **dict.fromkeys(ODD_NAMES, plain),
    }.items():
        (raw / name).parent.mkdir(exist_ok=True)
        (raw / name).write_bytes(content)
    (raw / "forbidden.fits").chmod(0)
    fits.PrimaryHDU().writeto(raw / "no_image.fits")
    frame("row.fits", data[0])
    frame("cube.fits", np.stack([data, data]))
    frame("narrow.fits", data[:, :20])
    frame("outside.fits", INSTRUME="OTHER", BIASSEC="[400:500,1:258]", TRIMSEC="[1:128,1:258]")
    frame("unknown_type.fits", IMAGETYP="WIBBLE")
    (raw / "dangling.fits").symlink_to("/nowhere/at/all")
    os.mkfifo(raw / "pipe.fits")
    (raw / "folder.fits").mkdir()


def make_old(folder):
    """Let nothing look as if it were still being written."""
    for path in folder.rglob("*"):
        os.utime(path, (1.4e9, 1.4e9), follow_symlinks=False)


@pytest.fixture(scope="module")
def small_raw(tmp_path_factory):
    """The guide's night in small: 258 rows of 160 pixels."""
    raw = tmp_path_factory.mktemp("small") / "raw"
    simulate.simulate_night(raw, scale=0.0625)
    return raw


@dataclass(frozen=True)
class BadRun:
    raw: Path
    results: Path
    run: object

    @property
    def rows(self):
        """{file: (type, status, reason)}"""
        table = read_inventory(self.results / "inventory.csv")
        named = table[["file", "type", "status", "reason"]].to_numpy().tolist()
        return {file: tuple(rest) for file, *rest in named}


@pytest.fixture(scope="module")
def bad_run(tmp_path_factory, run_workflow, small_raw):
    folder = tmp_path_factory.mktemp("bad")
    raw, results = folder / "raw", folder / "results"
    shutil.copytree(small_raw, raw)
    make_bad_frames(raw)
    make_old(raw)
    return BadRun(raw, results, run_workflow(raw, results))


def listed_name(name):
    return name.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("name", BAD_FRAMES, ids=ascii)
def test_a_bad_file_is_a_row_with_its_reason_and_has_no_product(bad_run, name):
    _, status, reason = bad_run.rows[listed_name(name)]
    assert status == "set aside"
    assert re.search(BAD_FRAMES[name], reason)
    assert "\n" not in reason
    assert not (bad_run.results / "reduced" / name.removesuffix(".gz")).exists()


def test_bad_files_cost_no_other_frame_its_product(bad_run, small_raw):
    good = [p.relative_to(small_raw).as_posix() for p in small_raw.rglob("*.fits.gz")]
    good += [*ODD_NAMES, "unknown_type.fits"]
    if "forbidden.fits" not in BAD_FRAMES:
        good.append("forbidden.fits")
    listed = {file for file, (_, status, _) in bad_run.rows.items() if status == "ok"}
    assert listed == set(good)
    made = [path for path in (bad_run.results / "reduced").rglob("*") if path.is_file()]
    names = {path.relative_to(bad_run.results / "reduced").as_posix() for path in made}
    assert names == {name.removesuffix(".gz") for name in good}
    assert {fits.getdata(path).shape for path in made} == {(258, 128)}


def test_bad_files_do_not_fail_the_run_and_are_listed_at_its_end(bad_run):
    assert bad_run.run.status == 0, bad_run.run.output
    assert f"{len(BAD_FRAMES)} set aside" in bad_run.run.lines[-1]
    assert any(line.startswith("set aside: cut.fits.gz: ") for line in bad_run.run.lines)


def test_bad_files_are_never_a_traceback(bad_run):
    assert "Traceback" not in bad_run.run.output
    assert "Exception" not in bad_run.run.output


def test_an_unknown_image_type_is_other_and_reported(bad_run):
    kind, status, reason = bad_run.rows["unknown_type.fits"]
    assert (kind, status) == ("other", "ok")
    assert "unknown image type 'WIBBLE'" in reason
    assert ", 1 of unknown image type" in bad_run.run.lines[-1]


def test_a_frame_with_an_odd_name_has_the_same_pixels(bad_run):
    reduced = bad_run.results / "reduced"
    expected = fits.getdata(reduced / "ccd.001.0.fits")
    for name in ODD_NAMES:
        # astropy takes wildcards in a name for a pattern.
        with (reduced / name).open("rb") as file:
            np.testing.assert_array_equal(fits.getdata(file), expected)


def test_strict_makes_a_failure_of_a_frame_set_aside(bad_run, run_workflow):
    run = run_workflow(bad_run.raw, bad_run.results, config=["strict=true"])
    assert run.status == 1
    assert any(line.startswith("set aside: cut.fits.gz: ") for line in run.lines)
    assert "strict" in run.lines[-1]
    assert "Traceback" not in run.output


# -- refused before any work -----------------------------------------------------------------------


def line_of_refusal(run):
    """Return the one line that a run was refused with."""
    assert run.status == 1, run.output
    assert "Traceback" not in run.output
    (line,) = run.lines
    return line


def test_a_missing_raw_folder_is_one_line(run_workflow, tmp_path):
    line = line_of_refusal(run_workflow(tmp_path / "nowhere", tmp_path / "results"))
    assert line == (
        "--config raw: there is no such folder"
        f" (found '{tmp_path}/nowhere'); give your folder of raw frames: raw=FOLDER"
        " (snakemake: --config raw=FOLDER)"
    )


def test_an_empty_raw_folder_is_one_line(run_workflow, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "observing_log.csv").write_text("frame,target\n")
    line = line_of_refusal(run_workflow(tmp_path / "raw", tmp_path / "results"))
    assert line.startswith("--config raw: the folder holds no raw frame")


def test_results_inside_raw_are_one_line_and_nothing_is_written(run_workflow, tmp_path, small_raw):
    raw = tmp_path / "raw"
    shutil.copytree(small_raw, raw)
    before = sorted(raw.rglob("*"))
    line = line_of_refusal(run_workflow(raw, raw / "out"))
    assert line.startswith("--config results: the results would lie inside the raw folder")
    assert sorted(raw.rglob("*")) == before


def test_a_wrong_setting_is_one_line(run_workflow, tmp_path, small_raw):
    run = run_workflow(small_raw, tmp_path / "results", config=["bias={clip: 0.2}"])
    assert line_of_refusal(run) == (
        "--config bias.clip: not a valid value (found 0.2);"
        " allowed: a number from 1 to 100, in sigma, or null for no clipping;"
        " write an allowed value"
    )
    assert not (tmp_path / "results").exists()


# -- a real frame ----------------------------------------------------------------------------------


def test_the_saao_frame_equals_ccdprocs_functions_to_the_last_bit(run_workflow, tmp_path):
    source = Path(ccdproc.__file__).parent / "tests" / "data" / "a8280271.fits"
    raw = tmp_path / "raw"
    raw.mkdir()
    shutil.copy(source, raw)
    run = run_workflow(raw, tmp_path / "results", config=["reduction={dtype: float64}"])
    assert run.status == 0, run.output
    with warnings.catch_warnings():
        # The frame's own cards are not all to the standard.
        warnings.simplefilter("ignore")
        ccd = CCDData.read(source, unit="adu")
    ccd = ccdproc.subtract_overscan(ccd, fits_section="[4:13,1:520]", median=True)
    ccd = ccdproc.trim_image(ccd, fits_section="[17:528,1:520]")
    with fits.open(tmp_path / "results" / "reduced" / "a8280271.fits") as hdus:
        made = hdus[0].data
        assert made.dtype == np.dtype(">f8")
        assert made.shape == (520, 512)
        np.testing.assert_array_equal(made, ccd.data)
