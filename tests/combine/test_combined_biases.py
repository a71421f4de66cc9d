"""Combined biases as the workflow makes them: members, headers, extensions, figures, refusals."""

import hashlib
import json
import shutil
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace

import ccdproc
import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std
from small_frames import LFC_LIKE, bias_cards, biases, run_jobs, write_raw

from ccdflow import simulate
from ccdflow.combine import combined_header, stack
from ccdflow.combine.members import read_hdus
from ccdflow.detector import frame_figures, member_selection
from ccdflow.errors import DamagedProduct, FrameError
from ccdflow.files.fits_products.hdus import version_cards
from ccdflow.files.header_text import CardList
from ccdflow.frame import reduction
from ccdflow.kinds import CHAIN
from ccdflow.kinds.masters import combining, memory_limits, selecting
from ccdflow.kinds.reporting import quality_tables

PROFILE = """\
recognise: {INSTRUME: TESTCAM}
amplifiers:
  - {name: A, data: {python: '[:, 0:64]'}, overscan: {python: '[:, 66:]'}, gain: 1.5, read_noise: 6.0}
"""  # noqa: E501
TWO_AMPLIFIERS = """\
recognise: {INSTRUME: TESTCAM}
amplifiers:
  - {name: left, data: {python: '[:, 0:32]'}, overscan: {python: '[:, 64:68]'}, gain: 1.2}
  - {name: right, data: {python: '[:, 32:64]'}, overscan: {python: '[:, 68:]'}}
"""
BIAS = "combined/2020-02-29/bias_test_64x40.fits"


def fill(raw, frames, *, name="b{}.fits.gz", start=0, **cards):
    """Write raw biases; returns their pixels."""
    frames = list(frames)
    for number, frame in enumerate(frames, start=start):
        write_raw(raw / name.format(number), (frame, bias_cards(number, **cards)))
    return frames


def combine_biases(tmp_path, profile=PROFILE, **config):
    """Run the jobs of a folder; return the run and the records of its biases."""
    run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": profile}, **config)
    records = {p: r for p, r in run.records.items() if r.kind == "bias"}
    return run, records


def reduced_stack(run):
    """Return the pixels of all reduced frames of a run."""
    return [run.open(f"reduced/{path.name}")[0].data for path in sorted(run.results.glob("r*/*"))]


def with_hits(frames, hits=30, seed=4):
    """Yield copies of frames, each with cosmic rays."""
    rng = np.random.default_rng(seed)
    for frame in frames:
        frame = frame.copy()
        where = rng.integers(0, frame.size, hits)
        frame.ravel()[where] += rng.exponential(500, hits).astype(np.uint16) + np.uint16(50)
        yield frame


def test_a_combined_bias_equals_that_of_ccdproc_with_the_guides_arguments(tmp_path):
    fill(tmp_path / "raw", with_hits(biases(9)))
    run, records = combine_biases(tmp_path, bias={"clip_by": "mad"})
    frames = [CCDData(frame.astype("f4"), unit=units.adu) for frame in reduced_stack(run)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = ccdproc.combine(
            frames,
            method="average",
            sigma_clip=True,
            sigma_clip_low_thresh=5,
            sigma_clip_high_thresh=5,
            sigma_clip_func=np.ma.median,
            sigma_clip_dev_func=mad_std,
        )
    image = run.open(BIAS)[0].data
    assert image.dtype == ">f4"
    np.testing.assert_array_equal(image, wanted.data.astype("f4"))
    # Nearly every hit is more than 5 sigma off; of 9 values now and then one more is.
    assert 240 < records[BIAS].data["rejected"] < 600


def test_the_header_card_for_card(tmp_path):
    frames = list(biases(5))
    frames[3] += np.uint16(40)
    frames[3][:, 64:] -= np.uint16(40)
    fill(tmp_path / "raw", frames, OBSERVER="O'Brien", DATE="2020-03-01")
    run, records = combine_biases(tmp_path)
    record, header = records[BIAS], run.open(BIAS)[0].header
    (figures,) = record.data["quality"]
    ((file, text, figure, value, threshold),) = record.data["left_out"]
    assert (file, figure) == ("b3.fits.gz", "level")
    assert value == pytest.approx(43, abs=0.5)
    assert threshold == pytest.approx(3 + 5 * 0.1 * 4, abs=0.6)
    history = f"ccdflow: b3.fits.gz was left out: {text}"
    got = [(card.keyword, card.value) for card in header.cards]
    assert got == [
        ("SIMPLE", True),
        ("BITPIX", -32),
        ("NAXIS", 2),
        ("NAXIS1", 64),
        ("NAXIS2", 40),
        ("EXTEND", True),
        ("INSTRUME", "TESTCAM"),
        ("IMAGETYP", "BIAS"),
        ("EXPTIME", 0.0),
        ("OBJECT", "bias"),
        ("OBSERVER", "O'Brien"),
        *((keyword, version) for keyword, version, _ in version_cards()),
        ("CCDFCAM", "test"),
        ("OSCSTAT", "median"),
        ("NAMPS", 1),
        ("OVERSCAN", "[67:72,1:40]"),
        ("OSCAXIS", "rows"),
        ("TRIM", "[1:64,1:40]"),
        ("AMPGAIN", 1.5),
        ("DATASEC", "[1:64,1:40]"),
        ("LTV1", 0.0),
        ("LTV2", 0.0),
        ("LTM1_1", 1.0),
        ("LTM2_2", 1.0),
        ("BUNIT", "adu"),
        ("CCDFKEY", record.key),
        ("NCOMBINE", 4),
        ("DATE-BEG", "2020-03-01T02:00:00"),
        ("DATE-END", "2020-03-01T02:04:00"),
        ("COMBMETH", "average"),
        ("CLIPSIG", 5.0),
        ("CLIPDEV", "noise"),
        ("CLIPITER", 1),
        *((f"IMCOM00{n + 1}", f"b{i}.fits.gz") for n, i in enumerate((0, 1, 2, 4))),
        ("IMOUT001", "b3.fits.gz"),
        *(("HISTORY", history[i : i + 72].rstrip()) for i in range(0, len(history), 72)),
        ("CCDFNAME", BIAS),
        ("NREJECT", record.data["rejected"]),
        ("NINVALID", 0),
        ("NEMPTY", 0),
        ("IMGLEVEL", pytest.approx(3, abs=0.1)),
        ("BIASLVL", pytest.approx(1000, abs=0.5)),
        ("RNOISE", figures["read_noise"]),
        ("CNOISE", figures["combined_noise"]),
        ("CNOISPR", figures["predicted_noise"]),
        ("CLIPRN", pytest.approx(4.3, rel=0.06)),
        ("CHECKSUM", header["CHECKSUM"]),
        ("DATASUM", header["DATASUM"]),
    ]
    assert figures["read_noise"] == pytest.approx(4, rel=0.06)
    assert figures["combined_noise"] == pytest.approx(figures["predicted_noise"], rel=0.08)
    assert figures["header_read_noise_electrons"] == 6.0
    assert figures["read_noise_electrons"] == pytest.approx(1.5 * figures["read_noise"], rel=1e-5)


def test_two_amplifiers_each_have_their_figures(tmp_path):
    frames = []
    for left, right in zip(biases(6, noise=3, seed=1), biases(6, noise=9, seed=2), strict=True):
        frame = left.copy()
        frame[:, 32:64], frame[:, 68:] = right[:, 32:64] + 50, right[:, 68:] + 50
        frames.append(frame)
    fill(tmp_path / "raw", frames)
    run, records = combine_biases(tmp_path, TWO_AMPLIFIERS)
    header = run.open(BIAS)[0].header
    left, right = records[BIAS].data["quality"]
    assert (left["amplifier"], right["amplifier"]) == ("left", "right")
    for figures, sigma, level in ((left, 3, 1000), (right, 9, 1050)):
        assert abs(figures["read_noise"] - sigma) < 4.5 * figures["read_noise_error"] + 0.05
        assert figures["level"] == pytest.approx(level, abs=sigma / 2)
    names = ["BIASLV", "RNOISE", "CNOISE", "CNOISP"]
    columns = ["level", "read_noise", "combined_noise", "predicted_noise"]
    for number, figures in ((1, left), (2, right)):
        assert [header[f"{n}0{number}"] for n in names] == [figures[c] for c in columns]
    assert not {"BIASLVL", "RNOISE", "CNOISE"} & set(header)
    assert {k: header[k] for k in ("GAIN01", "AMPNAM02")} == {"GAIN01": 1.2, "AMPNAM02": "right"}


def test_uncertainty_and_count_are_extensions(tmp_path):
    frames = fill(tmp_path / "raw", with_hits(biases(6)))
    run, _ = combine_biases(tmp_path, bias={"uncertainty": True, "count": True})
    hdus = run.open(BIAS)
    assert [hdu.name for hdu in hdus] == ["PRIMARY", "UNCERT", "COUNT"]
    stack = np.array(reduced_stack(run))
    whole = hdus["COUNT"].data == len(frames)
    wanted = stack.std(axis=0, ddof=1) / len(frames) ** 0.5
    np.testing.assert_allclose(hdus["UNCERT"].data[whole], wanted[whole], rtol=1e-4)
    assert hdus["UNCERT"].header["BUNIT"] == "adu"
    assert hdus["COUNT"].data.dtype == ">i2"
    assert hdus["COUNT"].data.sum() == stack.size - hdus[0].header["NREJECT"]
    assert 0 < np.count_nonzero(~whole) < 500


@pytest.mark.parametrize("layout", ["extensions", "image"])
def test_extensions_are_combined_each_for_itself_or_as_one(layout, tmp_path):
    """One amplifier of one frame is odd: the frame is left out as a whole."""
    pairs = zip(biases(5, seed=1), biases(5, noise=8, seed=2), strict=True)
    for number, (one, two) in enumerate(pairs):
        if number == 2:
            two = two.copy()
            two[:20, :64] += np.uint16(30)
        sections = {"DATASEC": "[1:64,1:40]", "BIASSEC": "[67:72,1:40]"}
        write_raw(
            tmp_path / f"raw/b{number}.fits",
            (None, bias_cards(number)),
            (one, {"EXTNAME": "CHIP", "EXTVER": 1, "DETSEC": "[1:64,1:40]", **sections}),
            (two, {"EXTNAME": "CHIP", "EXTVER": 2, "DETSEC": "[65:128,1:40]", **sections}),
        )
    run, records = combine_biases(
        tmp_path, "recognise: {INSTRUME: TESTCAM}", reduction={"layout": layout},
        bias={"count": True},
    )  # fmt: skip
    ((product, record),) = records.items()
    hdus = run.open(product)
    assert [file for file, *_ in record.data["left_out"]] == ["b2.fits"]
    assert hdus[0].header["NCOMBINE"] == 4
    assert hdus[0].header["IMOUT001"] == "b2.fits"
    noises = [figures["read_noise"] for figures in record.data["quality"]]
    assert noises == [pytest.approx(4, rel=0.07), pytest.approx(8, rel=0.07)]
    if layout == "image":
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COUNT"]
        assert hdus[0].data.shape == (40, 128)
        assert [hdus[0].header[f"RNOISE0{n}"] for n in (1, 2)] == noises
        return
    assert [(hdu.name, hdu.ver) for hdu in hdus] == [
        ("PRIMARY", 1), ("CHIP", 1), ("CHIP", 2), ("COUNT1", 1), ("COUNT2", 1)
    ]  # fmt: skip
    assert hdus[0].data is None
    assert "NREJECT" not in hdus[0].header
    for number, extver in enumerate((1, 2)):
        hdu = hdus["CHIP", extver]
        assert hdu.header["RNOISE"] == noises[number]
        assert hdu.header["DETSEC"] == ("[1:64,1:40]", "[65:128,1:40]")[number]
        stack = [run.open(f"reduced/b{i}.fits")[extver].data for i in (0, 1, 3, 4)]
        whole = hdus[f"COUNT{1 + number}"].data == 4
        np.testing.assert_allclose(hdu.data[whole], np.mean(stack, axis=0)[whole], atol=1e-3)
        assert np.count_nonzero(whole) > 2000


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
def test_fitsverify_finds_nothing_in_a_combined_bias(tmp_path):
    frames = list(biases(5))
    frames[1][:, :64] += np.uint16(60)
    fill(tmp_path / "raw", frames, OBSERVER="O'Brien " * 20)
    run, records = combine_biases(tmp_path, bias={"uncertainty": True, "count": True})
    assert len(records[BIAS].data["left_out"]) == 1
    out = subprocess.run(["fitsverify", "-q", run.results / BIAS], capture_output=True, text=True)
    assert "verification OK" in out.stdout


def test_amplifiers_without_signal_do_not_cost_the_others(tmp_path):
    frames = list(biases(4))
    for frame in frames:
        frame[:, 32:64] = frame[:, 68:] = 65535
    fill(tmp_path / "raw", frames)
    run, records = combine_biases(tmp_path, TWO_AMPLIFIERS)
    left, right = records[BIAS].data["quality"]
    assert abs(left["read_noise"] - 4) < 4.5 * left["read_noise_error"]
    assert right["level"] == 65535
    assert np.isnan([right["read_noise"], right["combined_noise"]]).all()
    assert records[BIAS].data["remarks"] == ["amplifier right is saturated throughout"]
    assert run.open(BIAS)[0].header["AMPBAD02"] == "saturated"


def test_the_configuration_decides_the_recipe(tmp_path):
    fill(tmp_path / "raw", with_hits(biases(5)))
    run, records = combine_biases(tmp_path, bias={"method": "median", "clip": None})
    image, header = run.open(BIAS)[0].data, run.open(BIAS)[0].header
    np.testing.assert_array_equal(image, np.median(reduced_stack(run), axis=0))
    assert header["COMBMETH"] == "median"
    assert header["CLIPDEV"] == "none"
    assert not {"CLIPSIG", "CLIPITER"} & set(header)
    assert records[BIAS].data["recipe"] == "median"
    assert header["NREJECT"] == 0


def test_frames_left_whole_are_combined_whole(tmp_path):
    fill(tmp_path / "raw", biases(4))
    run, records = combine_biases(tmp_path, reduction={"trim": False})
    ((product, record),) = records.items()
    assert run.open(product)[0].data.shape == (40, 72)
    # The figures are about the data, not the overscan, whose spread the levels have taken away.
    assert record.data["quality"][0]["read_noise"] == pytest.approx(4, rel=0.07)


def test_pixels_without_any_value_are_nan_and_counted(tmp_path):
    frames = [frame.astype("f4") for frame in biases(4)]
    for number, frame in enumerate(frames):
        frame[5, 6] = np.nan
        frame[10 + number, 7] = np.inf
    fill(tmp_path / "raw", frames)
    run, _ = combine_biases(tmp_path, bias={"count": True})
    hdus = run.open(BIAS)
    assert np.isnan(hdus[0].data[5, 6])
    assert np.count_nonzero(~np.isfinite(hdus[0].data)) == 1
    assert (hdus[0].header["NEMPTY"], hdus[0].header["NINVALID"]) == (1, 8)
    assert hdus["COUNT"].data[10, 7] <= 3


# -- refusals ------------------------------------------------------------------------------------


def test_too_few_frames_make_no_product(tmp_path):
    fill(tmp_path / "raw", biases(2))
    run, records = combine_biases(tmp_path)
    assert records[BIAS].status == "refused"
    assert records[BIAS].reason == "2 frames, fewer than the minimum of 3"
    assert not (run.results / BIAS).exists()
    assert (
        f"no combined bias: {BIAS}: 2 frames, fewer than the minimum of 3; take 1 more, or add"
        " bias='{minimum: 2}' to --config"
    ) in run.lines


def test_too_few_frames_that_look_alike_make_no_product(tmp_path):
    frames = list(biases(5))
    frames[1] += np.uint16(60)
    frames[1][:, 64:] -= np.uint16(60)
    fill(tmp_path / "raw", frames)
    run, records = combine_biases(tmp_path, bias={"minimum": 5})
    assert records[BIAS].reason == "4 of 5 frames, fewer than the minimum of 5"
    assert [out[0] for out in records[BIAS].data["left_out"]] == ["b1.fits.gz"]
    assert not (run.results / BIAS).exists()


def test_frames_that_do_not_agree_make_no_product(tmp_path):
    frames = list(biases(6))
    for number, frame in enumerate(frames):
        frame[:, :64] += np.uint16(25 * number)
    fill(tmp_path / "raw", frames)
    run, records = combine_biases(tmp_path)
    assert records[BIAS].status == "refused"
    assert records[BIAS].reason.startswith("the frames have no common level: it scatters by")
    assert not (run.results / BIAS).exists()
    # Their noise is measured nevertheless.
    (figures,) = records[BIAS].data["quality"]
    assert abs(figures["read_noise"] - 4) < 4.5 * figures["read_noise_error"]
    assert len(figures["levels"]) == figures["frames"] == 6
    assert np.isnan(figures["combined_noise"])


@pytest.mark.parametrize(
    ("differs", "where"),
    [
        ({"CCDSUM": "2 1"}, "ccdsum"),
        ({"CCDSUM": "1 1", "GAIN": 2.5}, "gain"),
        ({"CCDSUM": "1 1", "READMODE": "FAST"}, "readmode"),
        ({"CCDSUM": "1 1", "WINDOW": "[11:74,1:40]"}, "window"),
        ({"CCDSUM": "1 1", "CCDSEC": "[65:128,1:40]"}, "part"),
        ({"CCDSUM": "1 1", "DETSEC": "[65:128,1:40]"}, "part"),
        ({"CCDSUM": "1 1", "CRVAL2U": 100}, "part"),
        ({"CCDSUM": "1 1", "CHIPID": 3}, "part"),
        ({"CCDSUM": "1 1", "DETECTOR": "another"}, "part"),
        ({"CCDSUM": "1 1", "AMPNAME": "upper"}, "part"),
    ],
)
def test_frames_that_may_not_be_averaged_never_are(differs, where, tmp_path):
    usual = {"CCDSUM": "1 1"}
    profile = PROFILE.replace(", gain: 1.5", "") + "keywords: {read_mode: READMODE, window: WINDOW}"
    fill(tmp_path / "raw", biases(3), **usual)
    fill(tmp_path / "raw", biases(3, seed=2), start=3, **differs)
    _, records = combine_biases(tmp_path, profile)
    members = [tuple(record.data["members"]) for record in records.values()]
    assert sorted(members) == [
        tuple(f"b{i}.fits.gz" for i in range(3)), tuple(f"b{i}.fits.gz" for i in range(3, 6))
    ]  # fmt: skip
    groups = [dict(map(tuple, record.data["group"][2])) for record in records.values()]
    assert groups[0][where] != groups[1][where]


def test_two_groups_that_would_have_one_name_have_two_and_one_alone_keeps_it(tmp_path):
    fill(tmp_path / "raw", biases(3), CHIPID=1)
    _, alone = combine_biases(tmp_path)
    assert list(alone) == [BIAS]
    fill(tmp_path / "raw", biases(3, seed=2), start=3, CHIPID=2)
    _, both = combine_biases(tmp_path)
    assert len(both) == 2
    assert all(product.startswith(BIAS.removesuffix(".fits") + "_") for product in both)


def test_a_copy_of_a_frame_counts_once_and_is_remarked_on(tmp_path):
    fill(tmp_path / "raw", biases(4))
    (tmp_path / "raw" / "copies").mkdir()
    shutil.copy(tmp_path / "raw" / "b2.fits.gz", tmp_path / "raw" / "copies" / "x.fits.gz")
    run, records = combine_biases(tmp_path)
    assert records[BIAS].data["members"] == [f"b{i}.fits.gz" for i in range(4)]
    table = pd.read_csv(run.results / "inventory.csv").set_index("file")
    assert table.loc["copies/x.fits.gz", "status"] == "ok"
    assert "; the same frame as b2.fits.gz" in table.loc["copies/x.fits.gz", "reason"]
    (tmp_path / "raw" / "b2.fits.gz").unlink()
    (run.results / "reduced" / "b2.fits").unlink()
    _, records = combine_biases(tmp_path)
    assert records[BIAS].data["members"] == [
        "b0.fits.gz",
        "b1.fits.gz",
        "copies/x.fits.gz",
        "b3.fits.gz",
    ]


def test_members_stand_in_the_order_in_which_they_were_taken(tmp_path):
    frames = list(biases(4))
    for number, frame in zip((9, 10, 11, 8), frames, strict=True):
        write_raw(tmp_path / f"raw/n{number}.fits", (frame, bias_cards(number)))
    _, records = combine_biases(tmp_path)
    record = records[BIAS]
    assert record.data["members"] == [f"n{i}.fits" for i in (8, 9, 10, 11)]
    hours = record.data["quality"][0]["hours"]
    assert hours == sorted(hours)


def test_too_little_memory_refuses_the_group_until_there_is_more(tmp_path, monkeypatch):
    fill(tmp_path / "raw", biases(4))
    monkeypatch.setattr(memory_limits, "bytes_for_combining", lambda limit: int(limit / 1e4))
    _, records = combine_biases(tmp_path, limits={"combine_memory": 50})
    assert records[BIAS].status == "refused"
    assert records[BIAS].reason.startswith(
        "50 MB of memory (limits: combine_memory) are too little to combine 4 frames; allowed: "
    )
    monkeypatch.undo()
    _, records = combine_biases(tmp_path, limits={"combine_memory": 1000})
    assert records[BIAS].status == "made"


def test_products_that_show_a_group_follow_when_its_memory_does(tmp_path, monkeypatch):
    """The allowed memory is in no key: the products that show the group are made again."""
    fill(tmp_path / "raw", biases(4))
    shown = {"bias table", "bias picture", "page", "index"}

    def figures_with_memory(memory):
        settings = {"types": "all", "limits": {"combine_memory": memory}}
        run = run_jobs(tmp_path / "raw", tmp_path / "results", {"test": PROFILE},
                       kinds=("frame", "bias", *shown), **settings)  # fmt: skip
        table = pd.read_csv(tmp_path / "results/bias_quality.csv")
        return {record.kind for record in run.records.values()}, table.iloc[0]

    with monkeypatch.context() as patch:
        patch.setattr(memory_limits, "bytes_for_combining", lambda limit: int(limit / 1e4))
        figures_with_memory(50)
        kinds, row = figures_with_memory(50)
        assert kinds == set()
        assert "too little to combine" in row["note"]
    kinds, row = figures_with_memory(1000)
    assert kinds == {"bias", *shown}
    assert row["read_noise"] == pytest.approx(4, rel=0.06)
    assert (tmp_path / "results/nights/2020-02-29/bias_quality.png").is_file()
    assert figures_with_memory(1000)[0] == set()
    # With little memory again, the products show the refusal in the next run at the latest.
    (tmp_path / f"results/{BIAS}").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(memory_limits, "bytes_for_combining", lambda limit: int(limit / 1e4))
        figures_with_memory(50)
        _, row = figures_with_memory(50)
        assert "too little to combine" in row["note"]
        assert figures_with_memory(50)[0] == set()


def with_pattern(frames, odd, rms, change):
    """Give all frames one fixed structure, rms of a column, and change it in the odd ones."""
    pattern = rms * np.random.default_rng(3).standard_normal((1, 64))
    for number, frame in enumerate(frames):
        own = change(pattern) if number in odd else pattern
        frame[:, :64] += np.rint(own + 500).astype(np.uint16)
        yield frame


@pytest.mark.parametrize(
    ("count", "odd", "rms"),
    [
        (10, {4}, 5), (10, {4}, 20), (10, {4}, 100), (12, {2, 3, 9}, 20),
        *(
            pytest.param(count, odd, rms, marks=pytest.mark.torture)
            for count, odd in ((30, {0}), (12, {2, 3, 9}), (10, {3, 6}))
            for rms in (5, 20, 100)
        ),
    ],
)  # fmt: skip
def test_a_readout_that_slipped_by_a_pixel_is_left_out(tmp_path, count, odd, rms):
    """A slipped bias has the figures of the others: only pixel by pixel it is unlike them."""
    frames = with_pattern(biases(count), odd, rms, lambda pattern: np.roll(pattern, 1, axis=1))
    fill(tmp_path / "raw", frames)
    _, records = combine_biases(tmp_path)
    data = records[BIAS].data
    assert [file for file, *_ in data["left_out"]] == [f"b{n}.fits.gz" for n in sorted(odd)]
    assert {figure for _, _, figure, *_ in data["left_out"]} == {"scatter about the group's median"}
    assert len(data["members"]) == count - len(odd)
    (figures,) = data["quality"]
    # A level of the overscan, of six pixels, is no noise of the pixels.
    assert figures["read_noise"] == pytest.approx(4, rel=0.03)


def test_too_many_frames_that_slipped_make_a_group_that_does_not_agree(tmp_path):
    frames = with_pattern(biases(10), {1, 4, 7}, 50, lambda pattern: np.roll(pattern, 1, axis=1))
    fill(tmp_path / "raw", frames)
    _, records = combine_biases(tmp_path)
    assert records[BIAS].status == "refused"
    assert "3 of 10 frames are unlike the others, allowed 2 (" in records[BIAS].reason


def test_a_frame_with_the_pixels_of_another_counts_once(tmp_path):
    """A buffer that was read twice, or a copy of which a card was edited."""
    frames = list(biases(4))
    fill(tmp_path / "raw", [frame for frame in frames for _ in range(2)])
    run, records = combine_biases(tmp_path)
    data = records[BIAS].data
    assert data["members"] == [f"b{n}.fits.gz" for n in (0, 2, 4, 6)]
    assert [text for _, text, *_ in data["left_out"]] == [
        f"its pixels are those of b{n}.fits.gz: combined once" for n in (0, 2, 4, 6)
    ]
    (figures,) = data["quality"]
    assert figures["read_noise"] == pytest.approx(4, rel=0.06)
    assert figures["combined_noise"] == pytest.approx(figures["predicted_noise"], rel=0.1)
    assert run.open(BIAS)[0].header["NCOMBINE"] == 4


def test_the_unit_of_the_frames_is_that_of_their_combination(tmp_path):
    frames = (frame.astype("f4") for frame in biases(6))
    fill(tmp_path / "raw", frames, BUNIT="electron")
    run, records = combine_biases(tmp_path, bias={"uncertainty": True})
    hdus = run.open(BIAS)
    assert [hdu.header["BUNIT"] for hdu in hdus] == ["electron", "electron"]
    assert hdus[0].header.comments["RNOISE"].startswith("[electron] ")
    (figures,) = records[BIAS].data["quality"]
    # The profile's gain of 1.5 has been put in already.
    assert figures["read_noise_electrons"] == figures["read_noise"]


def test_pixels_without_any_value_are_reported(tmp_path):
    frames = [frame.astype("f4") for frame in biases(5)]
    for frame in frames:
        frame[3:5, 7] = np.nan
    fill(tmp_path / "raw", frames)
    run, records = combine_biases(tmp_path)
    assert run.open(BIAS)[0].header["NEMPTY"] == 2
    assert records[BIAS].data["remarks"] == ["2 pixels have no value in any frame: they are NaN"]


def test_a_frame_left_out_is_in_the_table_and_at_the_end_of_the_run(tmp_path):
    frames = list(biases(6))
    frames[1] += np.uint16(60)
    frames[1][:, 64:] -= np.uint16(60)
    fill(tmp_path / "raw", frames)
    run, _ = combine_biases(tmp_path)
    (line,) = [line for line in run.lines if line.startswith("left out of its combined bias: ")]
    assert line.startswith("left out of its combined bias: b1.fits.gz: its level is ")
    (row,) = quality_tables.quality_rows(run.context, run.context.groups.values())
    assert row["note"].startswith("left out: b1.fits.gz (its level is ")


def test_frames_of_one_night_in_the_configuration_may_come_from_two(tmp_path):
    fill(tmp_path / "raw", biases(3))
    for number, frame in enumerate(biases(3, seed=2)):
        cards = bias_cards(number) | {"DATE-OBS": f"2020-03-05T02:00:0{number}"}
        write_raw(tmp_path / f"raw/c{number}.fits", (frame, cards))
    _, records = combine_biases(tmp_path, bias={"group_by": ["ccdsum"]})
    ((product, record),) = records.items()
    assert product.startswith("combined/all/")
    assert len(record.data["members"]) == 6


# -- choosing, by figures alone ------------------------------------------------------------------


def statistics(image, name, level=3.0):
    """Return the statistics of an image as they are in records."""
    figures = frame_figures.frame_statistics(image, [level])
    return {"amplifier": name, **json.loads(json.dumps(figures.to_record()))}


def test_a_frame_that_is_odd_in_any_amplifier_is_left_out():
    rng = np.random.default_rng(5)
    frames = [[rng.normal(0, 3, (40, 64)) for _ in range(2)] for _ in range(6)]
    frames[4][1] += 20
    selection = selecting.select_by_statistics(
        [
            [statistics(image, name) for image, name in zip(frame, "ab", strict=True)]
            for frame in frames
        ]
    )
    assert selection.kept == (0, 1, 2, 3, 5)
    assert selection.left_out[0].text.startswith("amplifier b: its level is")
    assert selection.agrees


def test_frames_too_small_for_figures_are_all_kept():
    assert selecting.select_by_statistics([[], [], []]).kept == (0, 1, 2)
    assert selecting.select_by_statistics([]).kept == ()


@pytest.mark.parametrize("count", [999, 1000, 2345])
def test_every_member_has_its_card(count):
    cards = CardList()
    files = [f"night/b{number}.fits" for number in range(count)]
    out = member_selection.LeftOut(
        0, "level", 9.0, 5.0, "its level is 9 adu, above the limit of 5 adu"
    )
    combined_header.write_group_cards(
        cards, key="k", recipe=stack.CombineRecipe(), members=files,
        dates=[""] * count, left_out=[("ä.fits", out)],
    )  # fmt: skip
    header = fits.Header.fromstring(cards.to_bytes(0))
    first = "IMCOM001" if count < 1000 else "IMC00001"
    last = f"IMCOM{count}" if count < 1000 else f"IMC{count:05d}"
    assert (header[first], header[last]) == (files[0], files[-1])
    assert header["NCOMBINE"] == count
    assert header["IMOUT001"] == "%C3%A4.fits"
    assert "its level is 9 adu" in "".join(header["HISTORY"])


def hours_of(dates):
    """Return the hours of members that were taken at some dates."""
    kept = [("", SimpleNamespace(product=date)) for date in dates]
    context = SimpleNamespace(
        row_of_product=lambda product: SimpleNamespace(facts={"date_obs": product}),
    )
    return combining.CombineWork(None, context, None, kept, [], 1).hours


def test_hours_go_on_across_midnight_and_the_change_of_the_clocks(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/London")
    dates = [
        "2020-03-28T23:30:00",
        "2020-03-29T00:30:00",
        "2020-03-29T03:30:00.5",
        "2020-03-29",
        "",
    ]
    np.testing.assert_allclose(hours_of(dates), [0, 1, 4 + 0.5 / 3600, np.nan, np.nan])
    assert np.isnan(hours_of(["", "2020-03-29"])).all()


# -- truth ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated_night(tmp_path_factory):
    """The products of a small simulated LFC night, and what was injected."""
    folder = tmp_path_factory.mktemp("lfc")
    truth = simulate.simulate_night(folder / "raw", scale=0.125)
    profile = (Path(__file__).parents[2] / "config/cameras/lfc.yaml").read_text()
    kinds = ("frame", "bias", "bias table")
    return run_jobs(folder / "raw", folder / "results", {"lfc": profile}, kinds=kinds), truth


def test_every_frame_of_the_guides_night_equals_the_result_of_the_guides_calls(simulated_night):
    """Numpy columns 2055 and on of a full frame are 263 and on of a small one."""
    run, truth = simulated_night
    for file in truth.frames:
        with fits.open(run.context.raw / file) as hdus:
            ccd = CCDData(hdus[0].data, unit=units.adu)
        ccd = ccdproc.subtract_overscan(ccd, overscan=ccd[:, 263:], median=True)
        ccd = ccdproc.trim_image(ccd[:, :256])
        image = run.open(f"reduced/{file.removesuffix('.gz')}")[0].data
        np.testing.assert_array_equal(image, ccd.data.astype("f4"))
    assert len(truth.frames) == 24


def test_the_truth_of_the_simulated_night_comes_back(simulated_night):
    run, truth = simulated_night
    ((product, record),) = ((p, r) for p, r in run.records.items() if r.kind == "bias")
    assert len(record.data["members"]) == 7
    table = pd.read_csv(run.results / "bias_quality.csv")
    (row,) = table.to_dict("records")
    camera = truth.camera
    assert abs(row["read_noise"] - camera["read_noise_adu"]) < 4 * row["read_noise_error"]
    levels = [truth.frames[file]["level"] for file in record.data["members"]]
    assert row["level"] == pytest.approx(np.mean(levels), abs=4 * camera["read_noise_adu"] / 100)
    image, header = run.open(product)[0].data, run.open(product)[0].header
    assert header["RNOISE"] == row["read_noise"]
    # The structure that biases have in common is all that is left, beside the noise.
    left = image - truth.structure
    noise = row["combined_noise"]
    assert noise == pytest.approx(row["predicted_noise"], rel=0.03)
    assert abs(np.median(left)) < 0.2
    assert np.std(left[np.abs(left) < 5 * noise]) == pytest.approx(noise, rel=0.1)
    assert row["combined_row_structure"] < 0.1 * camera["read_noise_adu"]


# -- bytes ---------------------------------------------------------------------------------------

# Pixels and own cards of the frames below, and both of what they are combined to, by version.
FRAME_PIXELS = {1: "eb9fbdbc9323376766ec80d5b262f3895d4bad17e28da37305dfff87ef2a24a9"}
FRAME_CARDS = {
    1: "09a7efd8f131feff40c20b4041673479b3b043ca3c2a2a71f405549ed31e27df",
    # 2: axis of the overscan, HDU, flip and saturation of an amplifier.
    2: "9faa042dac22cc7c83f04c342b3a9d4590c2a5d4c7a3456c372d83d24d13647b",
    # 3: OSCSAT of rows with a saturated overscan; these frames have none.
    3: "9faa042dac22cc7c83f04c342b3a9d4590c2a5d4c7a3456c372d83d24d13647b",
    # 4: the comments of OSCAXIS and CCDFKEY.
    4: "409bde8434a9e8c0430ee87ef0bd6fb58bec682cead01c6a27c35be93f79ca84",
    # 5: AMPTOP and AMPFULL, the end of the converter.
    5: "2ce4f6ab7b133e7f1f5c739d343c33225816fc60c3b8a2f270c66f7c3f210863",
    # 6: the same of converters of 10 to 15 bits.
    6: "2ce4f6ab7b133e7f1f5c739d343c33225816fc60c3b8a2f270c66f7c3f210863",
    # 7: no raw cards of the names of the product's own, or with sections; these frames have none.
    7: "2ce4f6ab7b133e7f1f5c739d343c33225816fc60c3b8a2f270c66f7c3f210863",
}
# 2: other biases are left out; of these none was. HEADER 2 of the frames: OSCAXIS is shared.
# HEADER 3 of the masters: the words of NINVALID; 6: comments of OSCAXIS, CCDFKEY and COMBMETH.
COMBINED_BYTES = {
    3: "fc9890c6ad5cc4113f08b429575b811da82200c07f3a2487e601088317f263f6",
    4: "db2ac7bdcb933695bde647aecf6521d53a7f0e260aec478eb04c98c3f245d30e",
}
# Cards on the programs, names and checksums of a product, which change without its content.
_NOT_BYTES = {
    "CCDFLOW",
    "CCDFNAME",
    "CCDPVER",
    "ASTRPVER",
    "NUMPYVER",
    "CCDFKEY",
    "RAWFP",
    "CHECKSUM",
}


def cards_of(hdus):
    """A hash of the cards of a product."""
    digest = hashlib.sha256()
    for hdu in hdus:
        cards = [(c.keyword, c.value, c.comment) for c in hdu.header.cards]
        left = [card for card in cards if card[0] not in (*_NOT_BYTES, "DATASUM")]
        digest.update(repr(left).encode())
    return digest.hexdigest()


def pixels_of(hdus):
    """A hash of the pixels of a product."""
    digest = hashlib.sha256()
    for hdu in hdus:
        digest.update(b"" if hdu.data is None else hdu.data.tobytes())
    return digest.hexdigest()


def content_of(hdus):
    """A hash of the pixels and cards of a product."""
    digest = hashlib.sha256()
    for hdu in hdus:
        cards = [(c.keyword, c.value, c.comment) for c in hdu.header.cards]
        digest.update(repr([card for card in cards if card[0] not in _NOT_BYTES]).encode())
        digest.update(b"" if hdu.data is None else hdu.data.tobytes())
    return digest.hexdigest()


def test_the_bytes_of_products_change_with_their_versions_only(tmp_path):
    """A product of an earlier commit is current as long as the version is the same."""
    fill(tmp_path / "raw", with_hits(biases(5)), BIASSEC="[65:72,1:40]", CCDSEC="[1:72,1:40]",
         CRPIX1=3.0, DATE="2020-03-01", RDNOISE=5.0)  # fmt: skip
    run, _ = combine_biases(tmp_path, TWO_AMPLIFIERS, reduction={"mask": True},
                      bias={"uncertainty": True, "count": True})  # fmt: skip
    frame, bias = run.open("reduced/b2.fits"), content_of(run.open(BIAS))
    pixels, cards = pixels_of(frame), cards_of(frame)
    assert FRAME_PIXELS.get(reduction.PIXELS_VERSION) == pixels, (
        "reduced frames have other pixels than before: raise PIXELS_VERSION in "
        f"scripts/ccdflow/frame/reduction.py, and write the hash {pixels!r} beside it here"
    )
    assert FRAME_CARDS.get(reduction.HEADER_VERSION) == cards, (
        "reduced frames have other cards than before: raise HEADER_VERSION in "
        f"scripts/ccdflow/frame/reduction.py, and write the hash {cards!r} beside it here"
    )
    run, records = combine_biases(tmp_path, TWO_AMPLIFIERS, reduction={"mask": True},
                      bias={"uncertainty": True, "count": True, "clip_by": "mad"})  # fmt: skip
    assert COMBINED_BYTES[records[BIAS].basis["arithmetic"]] == content_of(run.open(BIAS))
    assert COMBINED_BYTES.get(CHAIN.by_name("bias").version) == bias, (
        "combined biases have other bytes than before: raise `version` in "
        "scripts/ccdflow/kinds/masters/bias.py, unless PIXELS_VERSION of the frames was raised, "
        f"and write the hash {bias!r} beside it here"
    )


def test_headers_of_products_are_read_back_as_they_were_written(tmp_path):
    fill(tmp_path / "raw", biases(1), REMARK="long " * 40, **{"HIERARCH ESO OBS ID": 7})
    run, _ = combine_biases(tmp_path, reduction={"mask": True})
    path = run.results / "reduced/b0.fits"
    hdus_read = read_hdus(path, 2)
    with fits.open(path) as hdus:
        for got, hdu in zip(hdus_read, hdus, strict=True):
            assert list(got.cards) == [
                f"HIERARCH {k}" if " " in k else k
                for k in dict.fromkeys(hdu.header)
                if k != "COMMENT"
            ]
            assert got.member.offset == hdu.fileinfo()["datLoc"]
            assert got.member.shape == hdu.data.shape
            assert got.member.dtype == hdu.data.dtype
        assert fits.Card.fromstring(hdus_read[0].cards["REMARK"]).value == hdus[0].header["REMARK"]
    with pytest.raises(
        FrameError, match=r"HDUs: has fewer than 3 HDUs, or is cut .found 2.; allowed: 3 or"
    ):
        read_hdus(path, 3)
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(FrameError, match="ends before its pixels do"):
        read_hdus(path, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"NAXIS   =", b"NAXES   ="),
        (b"NAXIS1  =", b"NAXISX  ="),
        (b"BITPIX  =                  -32", b"BITPIX  =                  -33"),
        (b"BITPIX  =                  -32", b"BITPIX  =                 3.25"),
        (b"NAXIS1  =                    8", b"NAXIS1  =                   -8"),
        (b"OBJECT  = 'sky", b"OBJECT  = 'sk\xff"),
    ],
    ids=["no axes", "no first axis", "unknown type", "type as text", "below zero", "byte"],
)
def test_damaged_headers_of_products_are_refused(tmp_path, old, new):
    path = tmp_path / "a.fits"
    header = fits.Header({"OBJECT": "sky"})
    fits.PrimaryHDU(np.zeros((8, 8), np.float32), header).writeto(path)
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    problem = r"HDU: the header of the product is damaged \(found 0\); allowed: NAXIS"
    with pytest.raises(DamagedProduct, match=problem):
        read_hdus(path, 1)


@pytest.mark.parametrize(("level", "signed"), [(0, False), (0, True), (40, False)])
def test_biases_that_the_converter_cuts_off_have_a_warning(tmp_path, level, signed):
    """A quarter of the values would be below 0; those of a camera with a sign are there."""
    frames = [frame.astype("i4") - 1000 + level for frame in biases(6)]
    if not signed:
        frames = [np.maximum(frame, 0).astype("u2") for frame in frames]
    fill(tmp_path / "raw", frames)
    _, records = combine_biases(tmp_path)
    remarks = [text for text in records[BIAS].data["remarks"] if "so near 0" in text]
    assert len(remarks) == (level == 0 and not signed)


def test_clipping_by_the_standard_deviation_rejects_nothing_of_nine(tmp_path):
    """The largest of nine values is 2.7 deviations off: the setting must reach pixels and key."""
    fill(tmp_path / "raw", with_hits(biases(9)))
    run, records = combine_biases(tmp_path, bias={"clip_by": "std"})
    assert records[BIAS].data["rejected"] == 0
    assert run.open(BIAS)[0].header["CLIPDEV"] == "std"
    assert records[BIAS].basis["settings"]["clip_by"] == "std"


def big_biases(n, hits, seed=3):
    """Biases of 200 x 300 science pixels with `hits` of 60 adu, each in a pixel of its own."""
    shape = (200, 320)
    frames = list(biases(n, shape, wide=300, seed=seed))
    places = np.random.default_rng(seed).permutation(200 * 300)[:hits]
    for number, place in enumerate(places):
        frames[number % n][place // 300, place % 300] += np.uint16(60)
    return frames


WIDE_CHIP = LFC_LIKE.format(name="TESTCAM").replace("0:64", "0:300").replace("66:", "302:")


@pytest.mark.parametrize("n", [3, 4, 9])
@pytest.mark.parametrize("noise", ["profile", "unknown", "wrong"])
def test_of_a_few_biases_each_hit_and_no_good_value_is_lost(tmp_path, n, noise):
    """60,000 pixels; the noise of 15 sigma hits is known, measured, or corrected."""
    profile = {"profile": WIDE_CHIP, "unknown": WIDE_CHIP.replace("    read_noise: 6.0\n", ""),
               "wrong": WIDE_CHIP.replace("read_noise: 6.0", "read_noise: 2.0")}[noise]  # fmt: skip
    fill(tmp_path / "raw", big_biases(n, 300))
    run, records = combine_biases(tmp_path, profile, bias={"count": True})
    (record,) = (r for r in records.values() if r.kind == "bias")
    assert record.data["rejected"] == 300
    hdus = run.open(record.product)
    assert np.count_nonzero(hdus["COUNT"].data < n) == 300
    assert hdus[0].header["CLIPDEV"] == "noise"
    assert hdus[0].header["CLIPRN"] == pytest.approx(4.15, rel=0.02)


def test_the_guides_clipping_by_setting_loses_good_values_of_three(tmp_path):
    fill(tmp_path / "raw", big_biases(3, 0))
    _, records = combine_biases(tmp_path, WIDE_CHIP, bias={"clip_by": "mad"})
    (record,) = (r for r in records.values() if r.kind == "bias")
    assert 0.15 < record.data["rejected"] / 60_000 < 0.35
    _, records = combine_biases(tmp_path, WIDE_CHIP, bias={"clip_by": "noise"})
    assert next(r for r in records.values() if r.kind == "bias").data["rejected"] == 0


def test_from_ten_biases_on_the_deviations_decide(tmp_path):
    fill(tmp_path / "raw", big_biases(10, 100))
    run, records = combine_biases(tmp_path, WIDE_CHIP)
    header = run.open(next(p for p, r in records.items() if r.kind == "bias"))[0].header
    assert header["CLIPDEV"] == "mad"
    assert "CLIPRN" not in header


@pytest.mark.parametrize("value", [1000, 0])
def test_biases_that_are_one_number_everywhere_are_combined_to_it(tmp_path, value):
    """A dead converter: nothing scatters, and nothing is rejected."""
    frames = [np.full((40, 72), value, np.uint16) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame[number, 5] += 1  # not copies of each other
    fill(tmp_path / "raw", frames)
    _, records = combine_biases(tmp_path)
    assert (records[BIAS].status, records[BIAS].data["rejected"]) == ("made", 0)
