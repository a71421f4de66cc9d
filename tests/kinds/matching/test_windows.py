"""Frames of a window in the workflow: masters of the whole chip are cut to it, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from chain_runs import KINDS, NIGHT
from small_frames import begin, run_jobs

from ccdflow import simulate
from ccdflow.camera.geometry import Amplifier
from ccdflow.camera.sections import Region
from ccdflow.kinds.explaining import product_explanation
from ccdflow.kinds.matching import windows
from ccdflow.kinds.reporting.associations_table import ASSOCIATIONS
from ccdflow.run import job_records
from ccdflow.run.context import PlanContext
from ccdflow.verify import verdicts

# Columns and rows of the chip that are read, and its overscan, in the raw frame of the whole chip.
CHIP = (101, 103)
ROWS, COLUMNS = slice(20, 70), slice(30, 90)
OVERSCAN = slice(103, 119)
PROFILE = """\
recognise: {INSTRUME: SIMCAM}
site: {longitude: 0.0}
"""
CAMERA = {"GAIN": 1.6, "RDNOISE": 5.0, "SATURATE": 65_000.0}


def section(rows, columns):
    """Return a FITS section of rows and columns."""
    return f"[{columns.start + 1}:{columns.stop},{rows.start + 1}:{rows.stop}]"


def width(columns):
    return columns.stop - columns.start


def say_place(header, rows, columns, **cards):
    """Write the sections of a frame of which these rows and columns of the chip were read."""
    high = rows.stop - rows.start
    data, strip = (
        slice(0, width(columns)),
        slice(width(columns), width(columns) + width(OVERSCAN)),
    )
    header["DATASEC"] = header["TRIMSEC"] = section(slice(0, high), data)
    header["BIASSEC"] = section(slice(0, high), strip)
    header["CCDSEC"] = section(rows, columns)
    for keyword, value in cards.items():
        header[keyword] = value
        if value is None:
            del header[keyword]


def write_window(raw, name, *, rows=ROWS, columns=COLUMNS, new="", **cards):
    """Write the window of a frame of the whole chip as a frame of its own."""
    with fits.open(raw / name) as hdus:
        data, header = hdus[0].data, hdus[0].header.copy()
    part = np.concatenate([data[rows, columns], data[rows, OVERSCAN]], axis=1)
    say_place(header, rows, columns, **cards)
    path = raw / (new or f"window_{name}")
    fits.writeto(path, part, header)
    return path.name


@pytest.fixture
def raw_of_whole_chip(tmp_path):
    """A night of frames of the whole chip, by their own sections: its raw folder."""
    own = simulate.SimulatedAmplifier((0, 103), gain=1.6, read_noise=5.0, level=1000.0)
    detector = simulate.draw_detector(CHIP, amplifiers=[own], shutter=0.0)
    chain = small_chain.make(tmp_path / "raw", detector=detector, biases=4, flats=(("g", 3),),
                             darks=((60.0, 3), (7.0, 3)), science=(("g", 60.0, 1),))  # fmt: skip
    for file in chain.exposures:
        with fits.open(chain.raw / file, mode="update") as hdus:
            say_place(hdus[0].header, slice(0, 101), slice(0, 103), **CAMERA)
    return chain.raw


def run(raw, **config):
    return run_jobs(raw, raw.parent / "results", {"simcam": PROFILE}, kinds=KINDS, **config)


def test_a_window_is_calibrated_with_the_masters_of_the_whole_chip(raw_of_whole_chip):
    write_window(raw_of_whole_chip, "science_g1.fits")
    done = run(raw_of_whole_chip)
    whole, part = (done.open(f"calibrated/{n}science_g1.fits") for n in ("", "window_"))
    image, inside = part[0].data, (ROWS, COLUMNS)
    assert image.shape == (50, 60)
    np.testing.assert_array_equal(image, whole[0].data[inside])
    assert np.isfinite(image).all()
    # Saturation and cosmic rays reach over an edge; nothing of the kind is in this frame.
    np.testing.assert_array_equal(part["MASK"].data, whole["MASK"].data[inside])
    assert np.count_nonzero(part["MASK"].data) > 5
    # The smoothed sky, of which the photon noise is made, ends at another edge.
    good = part["MASK"].data == 0
    off = abs(part["UNCERT"].data / whole["UNCERT"].data[inside] - 1)[good]
    assert 0 < off.max() < 0.2
    assert 0 < np.percentile(off, 99) < 0.03
    header, own = part[0].header, whole[0].header
    for kind in ("BIAS", "DARK", "FLAT"):
        assert header[f"{kind}CUT"] == "[31:90,21:70]"
        assert (header[f"{kind}IM"], header[f"{kind}KEY"]) == (own[f"{kind}IM"], own[f"{kind}KEY"])
        assert f"{kind}CUT" not in own
    assert (header["CALGRADE"], own["CALGRADE"]) == ("B", "A")
    history = " ".join(" ".join(map(str, header["HISTORY"])).split())
    assert "grade B: flat cut to its pixels [31:90,21:70]" in history


def test_table_plan_and_story_tell_of_the_cut(raw_of_whole_chip):
    write_window(raw_of_whole_chip, "science_g1.fits")
    results = raw_of_whole_chip.parent / "results"
    begun = begin(raw_of_whole_chip, results, {"simcam": PROFILE})
    lines = [
        " ".join(line.split()) for line in ASSOCIATIONS.dry_run_lines(PlanContext.of(begun.context))
    ]
    begun.lock.close()
    # A dark of the whole chip that is too short is so for the window as well.
    assert (
        lines.count(f"not used: dark 7 s at -100 C (3, {NIGHT}): would be scaled up 8.6 times") == 2
    )
    assert sum("own night" in line and "cut to its pixels [31:90,21:70]" in line
               and line.endswith("grade B") for line in lines) == 3  # fmt: skip
    run(raw_of_whole_chip)
    rows = [line.split(",") for line in (results / "associations.csv").read_text().splitlines()]
    rows = [row for row in rows if row[0] == "calibrated/window_science_g1.fits"]
    assert [row[2] for row in rows] == ["bias", "dark", "flat"]
    for row in rows:
        assert "cut to its pixels [31:90" in ",".join(row)
        assert row[-2:] == ["B", "yes"]
    explanation = product_explanation.explain_product(results, "calibrated/window_science_g1.fits")
    for words in ("chosen: ", "own night, "):
        ends = (f"{words}cut to its pixels [31:90,21:70]", f"{words}own night; cut")
        assert sum(any(end in line for end in ends) for line in explanation) == 3, explanation


def test_frames_with_cut_masters_are_verified(raw_of_whole_chip):
    write_window(raw_of_whole_chip, "science_g1.fits")
    for number in (1, 2, 3):
        write_window(raw_of_whole_chip, f"flat_g{number}.fits")
    results = run(raw_of_whole_chip).results
    flat = "combined/2024-03-01/flat_simcam_60x50_1x1_g1.6_g.fits"
    for product in ("calibrated/window_science_g1.fits", flat):
        verdict = verdicts.verify(
            product, raw=raw_of_whole_chip, results=results, compares_all_rows=True
        )
        assert (verdict.verdict, verdict.reason) == ("verified", "")
    with fits.open(results / "calibrated/window_science_g1.fits", mode="update") as hdus:
        hdus[0].header["DARKCUT"] = "[30:89,21:70]"
        hdus[0].add_checksum()
    verdict = verdicts.verify(
        "calibrated/window_science_g1.fits", raw=raw_of_whole_chip, results=results
    )
    assert verdict.verdict == "differs"


def test_masters_of_the_window_go_before_larger_ones(raw_of_whole_chip):
    write_window(raw_of_whole_chip, "science_g1.fits")
    for number in (1, 2, 3):
        write_window(raw_of_whole_chip, f"dark60_{number}.fits")
        write_window(raw_of_whole_chip, f"flat_g{number}.fits")
    done = run(raw_of_whole_chip)
    header = done.open("calibrated/window_science_g1.fits")[0].header
    assert "BIASCUT" in header
    assert "DARKCUT" not in header
    assert "FLATCUT" not in header
    assert "60x50" in header["DARKIM"]
    # The darks of the window have the bias of the whole chip taken off, cut as well.
    small = done.open(header["DARKIM"])
    assert small[0].header["BIASCUT"] == "[31:90,21:70]"
    whole = done.open(header["DARKIM"].replace("60x50", "103x101"))
    np.testing.assert_array_equal(small[0].data, whole[0].data[ROWS, COLUMNS])
    flat, large = (
        done.open(header["FLATIM"].replace("60x50", size)) for size in ("60x50", "103x101")
    )
    assert flat[0].header["BIASCUT"] == "[31:90,21:70]"
    assert "60x50" in flat[0].header["DARKIM"]
    good = (flat["MASK"].data == 0) & (large["MASK"].data[ROWS, COLUMNS] == 0)
    ratio = (flat[0].data / large[0].data[ROWS, COLUMNS])[good]
    # Each flat is over its own level, which is that of the window here.
    assert ratio.std() / ratio.mean() < 3e-4
    assert flat[0].data[flat["MASK"].data == 0].mean() == pytest.approx(1, abs=1e-3)


def test_the_masters_that_a_larger_one_stands_back_for_are_named(raw_of_whole_chip):
    """Where the window's own dark is refused, the larger one is the next candidate."""
    write_window(raw_of_whole_chip, "science_g1.fits")
    for number in (1, 2, 3):
        write_window(raw_of_whole_chip, f"dark60_{number}.fits", new=f"window{number}.fits")
    for number in (2, 3):
        with fits.open(raw_of_whole_chip / f"window{number}.fits", mode="update") as hdus:
            hdus[0].data[:, :60] += 400 * number
    done = run(raw_of_whole_chip)
    small = "combined/2024-03-01/dark_simcam_60x50_1x1_g1.6_60s.fits"
    assert done.records[small].status == job_records.REFUSED
    header = done.open("calibrated/window_science_g1.fits")[0].header
    assert header["DARKCUT"] == "[31:90,21:70]"
    table = (done.results / "associations.csv").read_text()
    line = next(
        x for x in table.splitlines() if x.startswith("calibrated/window") and ",dark," in x
    )
    assert "could not be made" in line


def write_origins(raw, columns=COLUMNS, rows=ROWS):
    """Write where frames lie as MaxIm does: without sections on the chip."""
    for path in sorted(raw.glob("*.fits")):
        x, y = (columns.start, rows.start) if path.name.startswith("window") else (0, 0)
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["CCDSEC"]
            hdus[0].header.update({"XORGSUBF": x, "YORGSUBF": y, "XBINNING": 1, "YBINNING": 1})


def test_origins_alone_tell_where_a_window_lies(raw_of_whole_chip):
    write_window(raw_of_whole_chip, "science_g1.fits")
    write_origins(raw_of_whole_chip)
    done = run(raw_of_whole_chip)
    whole, part = (done.open(f"calibrated/{n}science_g1.fits") for n in ("", "window_"))
    np.testing.assert_array_equal(part[0].data, whole[0].data[ROWS, COLUMNS])
    np.testing.assert_array_equal(part["MASK"].data, whole["MASK"].data[ROWS, COLUMNS])
    assert {part[0].header[f"{kind}CUT"] for kind in ("BIAS", "DARK", "FLAT")} == {"[31:90,21:70]"}


def test_of_two_windows_of_one_size_each_has_its_own_larger_one(raw_of_whole_chip):
    """Masters of the left half; a frame in it, and one of the same size that is not."""
    for path in sorted(raw_of_whole_chip.glob("[bdf]*.fits")):
        write_window(
            raw_of_whole_chip,
            path.name,
            rows=slice(0, 101),
            columns=slice(0, 60),
            new=f"half_{path.name}",
        )
        path.unlink()
    write_window(raw_of_whole_chip, "science_g1.fits", columns=slice(10, 50))
    write_window(raw_of_whole_chip, "science_g1.fits", columns=slice(40, 80), new="right.fits")
    write_origins(raw_of_whole_chip, columns=slice(10, 50))
    fits.setval(raw_of_whole_chip / "right.fits", "XORGSUBF", value=40)
    fits.setval(raw_of_whole_chip / "right.fits", "YORGSUBF", value=ROWS.start)
    session = begin(raw_of_whole_chip, raw_of_whole_chip.parent / "results", {"simcam": PROFILE})
    session.lock.close()
    groups = session.context.groups
    cuts = [
        [[use.cut for use in step.uses] for step in groups[f"calibrated/{name}.fits"].steps]
        for name in ("window_science_g1", "right")
    ]
    assert cuts == [[["[11:50,21:70]"]] * 3, [[]] * 3]


def _origin_and_other_binning(raw):
    write_window(raw, "science_g1.fits")
    write_origins(raw)
    for keyword in ("XBINNING", "YBINNING"):
        fits.setval(raw / "window_science_g1.fits", keyword, value=2)


def _other_part(raw):
    write_window(raw, "science_g1.fits", DETNAM="B")


def _other_place(raw):
    write_window(raw, "science_g1.fits", CCDSEC="[61:120,21:70]")


def _other_binning(raw):
    write_window(raw, "science_g1.fits", CCDSEC="[31:150,21:120]", CCDSUM="2 2")


def _write_reversed_window(raw):
    write_window(raw, "science_g1.fits", CCDSEC="[90:31,21:70]")


def _no_section(raw):
    write_window(raw, "science_g1.fits", CCDSEC=None)


def _other_gain(raw):
    write_window(raw, "science_g1.fits", GAIN=1.7)


def _other_offset(raw):
    """All of the whole chip say OFFSET 10: one with 50 has another level."""
    for path in raw.glob("*.fits"):
        fits.setval(path, "OFFSET", value=10)
    write_window(raw, "science_g1.fits", OFFSET=50)


def _larger_than_the_masters(raw):
    """The masters are of a window, and the frame of the whole chip."""
    for path in sorted(raw.glob("[bdf]*.fits")):
        write_window(raw, path.name)
        path.unlink()
    (raw / "science_g1.fits").rename(raw / "window_science_g1.fits")


@pytest.mark.parametrize(
    "spoil",
    [
        _other_part, _other_place, _other_binning, _write_reversed_window, _no_section, _other_gain,
        _other_offset, _larger_than_the_masters, _origin_and_other_binning,
    ],
)  # fmt: skip
def test_a_frame_that_is_no_window_of_the_masters_takes_none(raw_of_whole_chip, spoil):
    spoil(raw_of_whole_chip)
    session = begin(raw_of_whole_chip, raw_of_whole_chip.parent / "results", {"simcam": PROFILE})
    session.lock.close()
    group = session.context.groups["calibrated/window_science_g1.fits"]
    assert {step.kind for step in group.steps} == {"bias", "dark", "flat"}
    for step in group.steps:
        assert step.uses == (), step.kind
        assert step.missing_master


@pytest.mark.parametrize(
    ("gain", "gain_of_master", "is_cut"),
    [
        (None, None, True),
        (1.6, 1.6, True),
        (1.6, 1.601, True),
        (1.6, 1.603, False),
        (1.6, None, False),
        (None, 1.6, False),
    ],
)
def test_amplifiers_of_a_window_have_the_gain_of_the_masters_or_none(gain, gain_of_master, is_cut):
    """A camera that tells no gain has windows as well; a gain is known to a thousandth."""
    region = Region(20, 70, 30, 90)
    places = [
        windows.WindowPlace(
            {"CCDSEC": text},
            region_on_chip.shape,
            (Amplifier("A", 0, region_on_chip, (), "none", region_on_chip, gain=own),),
            is_level_subtracted=True,
        )
        for text, region_on_chip, own in (
            ("[31:90,21:70]", Region(0, 50, 0, 60), gain),
            ("[1:103,1:101]", Region(0, 101, 0, 103), gain_of_master),
        )
    ]
    assert windows.region_of(*places, "flat") == (region if is_cut else None)


def test_a_bias_is_not_cut_where_the_level_is_in_it(raw_of_whole_chip):
    """Without overscan the level of a window may be another than that of the whole chip."""
    for path in sorted(raw_of_whole_chip.glob("*.fits")):
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["BIASSEC"]
    write_window(raw_of_whole_chip, "science_g1.fits", BIASSEC=None)
    session = begin(raw_of_whole_chip, raw_of_whole_chip.parent / "results", {"simcam": PROFILE})
    session.lock.close()
    bias, dark, flat = session.context.groups["calibrated/window_science_g1.fits"].steps
    assert bias.uses == ()
    assert [use.cut for use in (*dark.uses, *flat.uses)] == ["[31:90,21:70]"] * 2
