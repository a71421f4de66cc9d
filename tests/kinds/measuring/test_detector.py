"""The workflow's jobs measure the detector of a simulated camera by its nights."""

from __future__ import annotations

import dataclasses
import re
import shutil
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import small_chain
from amplifier_columns import values_by_column
from astropy.io import fits
from scipy import ndimage
from small_frames import begin, run_jobs
from workflow.stand_ins import use_stand_ins

from ccdflow.detector.pixels import bad_pixels
from ccdflow.kinds import CHAIN
from ccdflow.kinds.measuring import detector_sentences, pixel_tables
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.nights import night_measurement
from ccdflow.mask_bits import BAD_COLUMN, BLEED, DEAD, HOT, NOT_LINEAR, SATURATED
from ccdflow.verify import verdicts

KINDS = tuple(kind.name for kind in CHAIN if "picture" not in kind.name)
DARKS = ((20.0, 3), (60.0, 3), (180.0, 3))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Replace the drawing of pictures: these tests are of tables, masks and pages."""
    use_stand_ins(monkeypatch)


def take(tmp_path, day, *, seed=1, **options):
    """Take a night of March 2024 into a folder of its own."""
    options = {"darks": DARKS, "flats": (("g", 4), ("r", 4)), "lamp_drift": 0.002} | options
    with mock.patch.object(small_chain, "EVENING", datetime(2024, 3, day, 17)):
        return small_chain.make(tmp_path / f"raw/n{day}", seed=seed, **options)


def run(tmp_path, chain, profile=None, results="results", **config):
    """Make all products but pictures; return the `Run`."""
    config = {"detector": {}, "kinds": KINDS} | config
    profiles = {"simcam": profile or chain.profile}
    return run_jobs(tmp_path / "raw", tmp_path / results, profiles, **config)


def products_to_make(tmp_path, chain, results="results"):
    """Return the products that another run would make."""
    session = begin(tmp_path / "raw", tmp_path / results, {"simcam": chain.profile}, detector={})
    products = sorted(job.product for job in session.plan.jobs.values() if job.kind in KINDS)
    session.lock.close()
    return products


def with_filling_pixels(count, *, seed=1):
    """Return a detector with some hot pixels, and as many that fill up at 0.1 to 300 e-/s."""
    detector = small_chain.simulate.draw_detector(small_chain.SHAPE, seed=seed, shutter=0.0)
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(detector.defects() == 0)
    places = np.array(np.divmod(rng.permutation(places)[: 2 * count], small_chain.SHAPE[1]))
    rates, ends = 10 ** rng.uniform(-1, 2.5, count), 10 ** rng.uniform(1.5, 4.7, count)
    return dataclasses.replace(
        detector,
        hot_pixels=np.column_stack([*places[:, :count], 10 ** rng.uniform(-1, 2, count)]),
        filling_pixels=np.column_stack([*places[:, count:], rates, ends]),
    )


def pulls_of(done, chain, file, pixels):
    """Return the pulls of listed pixels (error over UNCERT), and their bits in the mask."""
    hdus = done.open(f"calibrated/n1/{file}")
    pulls = (hdus[0].data - chain.perfect(file)) / hdus["UNCERT"].data
    rows, columns = pixels[:, :2].astype(int).T
    return pulls[rows, columns], hdus["MASK"].data[rows, columns]


@pytest.mark.parametrize(
    ("low_sigma", "noted"),
    [(4.5, {"hot_rate": 0.5}), (5.0, {"hot_rate": 0.5, "low_sigma": 5.0})],
)
def test_a_limit_that_no_basis_has_is_always_the_same(low_sigma, noted):
    """Measurements of 4.5 sigma have it in no basis, and would pass for those of a new default."""
    chosen = {"hot_rate": 0.5, "ccdmask": False, "low_sigma": low_sigma}
    context = SimpleNamespace(settings={"detector": chosen})
    assert DETECTOR.group_basis(context, SimpleNamespace(steps=()))["settings"] == noted


def test_bad_pixels_of_a_night_are_in_the_mask_of_its_frames(tmp_path):
    chain = take(
        tmp_path, 1, flats=(("g", 4, 1.0), ("g", 4, 4.0), ("r", 4)), stars=0,
        detector=with_filling_pixels(300), science=(("g", 60.0, 1), ("r", 33.0, 1)),
    )  # fmt: skip
    done = run(tmp_path, chain)
    hdus = done.open("calibrated/n1/science_g1.fits")
    mask, detector = hdus["MASK"].data, chain.detector
    hot = detector.hot_pixels[detector.hot_pixels[:, 2] > 1]
    rows, columns = hot[:, :2].astype(int).T
    assert (mask[rows, columns] & HOT != 0).mean() >= 0.99
    # Pixels that fill up are masked, or are right within their errors after an exact dark and after
    # a scaled one.
    for file in ("science_g1.fits", "science_r1.fits"):
        for pixels in (detector.filling_pixels, detector.hot_pixels):
            pulls, masks = pulls_of(done, chain, file, pixels)
            assert 1.5 < np.abs(pulls[masks == 0]).max() < 5
            assert 40 < np.count_nonzero(masks == 0) < 120
            assert (masks[masks != 0] & HOT != 0).mean() > 0.98
    for column in detector.dead_columns:
        assert (mask[:, column] & (BAD_COLUMN | DEAD) != 0).all()
    header = hdus[0].header
    measured = "detector/simcam/2024-03-01/pixels_103x101_1x1.fits"
    # In flats of 6,000 and 25,000 electrons, the charge after a trap is not in proportion to light.
    with fits.open(done.results / measured) as measured_hdus:
        table = measured_hdus["PIXELS"].data[measured_hdus["PIXELS"].data["LEVELS"] != 0]
        assert measured_hdus[0].header["LOOKED"] == "dark deep flat levels"
    for row, column, _ in detector.traps.astype(int):
        rows_after_trap = table["Y"][table["X"] == column + 1]
        assert set(range(row + 1, 102)) <= set(rows_after_trap)
        assert (mask[row:, column] & BAD_COLUMN != 0).all()
    assert np.isin(table["X"] - 1, detector.traps[:, 1]).mean() > 0.99
    assert header["BPMIM"] == measured
    assert header["BPMKEY"] == done.records[measured].key
    assert header["BPMNTS"] == 1
    assert products_to_make(tmp_path, chain) == []
    # ccdmask also finds the columns without light.
    settings = {"ccdmask": True, "low_sigma": 3.0}
    again = run(tmp_path, chain, kinds=("detector",), detector=settings)
    assert [product for product in again.records] == [measured]
    # Bases have had this name of the switch; with another one all measurements would be made again.
    assert again.records[measured].basis["settings"] == {
        "hot_rate": 0.5, "like_ccdmask": True, "low_sigma": 3.0
    }  # fmt: skip
    with fits.open(done.results / measured) as measured_hdus:
        more = measured_hdus["PIXELS"].data[measured_hdus["PIXELS"].data["LEVELS"] != 0]
    own, both = (set(zip(t["X"].tolist(), t["Y"].tolist(), strict=True)) for t in (table, more))
    assert own < both
    assert len(detector.dead_columns)
    assert {column + 1 for column in detector.dead_columns} <= {x for x, _ in both - own}
    low = [done.records[measured].data["quality"], again.records[measured].data["quality"]]
    low = [sum(each["low"] for each in amplifiers) for amplifiers in low]
    assert low[1] > low[0] + 10
    # One core and two make the same file, also with a strip for each row.
    contents = set()
    with mock.patch.object(bad_pixels, "_STRIP_PIXELS", 1):
        for threads in (1, 2):
            DETECTOR.make(again.context, SimpleNamespace(product=measured), threads=threads)
            contents.add((done.results / measured).read_bytes())
    assert len(contents) == 1


def test_the_table_has_the_injected_gain_read_noise_and_full_well(tmp_path):
    detector = small_chain.simulate.draw_detector(
        small_chain.SHAPE,
        seed=4,
        shutter=0.0,
        faults=small_chain.simulate.FaultCounts(traps=0),
        full_well=40_000.0,
    )
    chain = take(
        tmp_path, 1, biases=8, detector=detector, flats=(("g", 4, 1.0), ("r", 4, 4.0)),
        flat_level=42_000.0, lamp_drift=0.0, fwhm=1.5, science=(("g", 60.0, 1),),
    )  # fmt: skip
    profile = "\n".join(line for line in chain.profile.splitlines() if "saturation" not in line)
    done = run(tmp_path, chain, profile=f"{profile}\n")
    table = pd.read_csv(done.results / "detector.csv")
    assert len(table) == 2
    for (_, line), amplifier in zip(table.iterrows(), chain.detector.amplifiers, strict=True):
        assert abs(line.gain - amplifier.gain) < 4 * line.gain_error
        assert line.gain_error / line.gain == pytest.approx(0.0121, rel=0.1)
        assert abs(line.read_noise - amplifier.read_noise) < 4 * line.read_noise_error + 0.03
        assert line.read_noise_error / line.read_noise == pytest.approx(0.0129, rel=0.1)
        assert 0.998 * 40_000 < line.full_well * amplifier.gain <= 40_000
        assert "pixels are full at" in line.note
    hdus = done.open("calibrated/n1/science_g1.fits")
    header, mask = hdus[0].header, hdus["MASK"].data
    levels = done.records["reduced/n1/science_g1.fits"].data["levels"]
    full = np.zeros(mask.shape, bool)
    reduced = done.open("reduced/n1/science_g1.fits")[0].data
    rows = zip((1, 2), table.itertuples(), detector.amplifiers, strict=True)
    for number, line, amplifier in rows:
        assert header[f"SATMEA0{number}"] == pytest.approx(line.full_well + levels[line.amplifier])
        own = slice(*amplifier.columns)
        full[:, own] = reduced[:, own] >= np.float32(line.full_well - 3)
    assert header["NSAT"] == full.sum() > 5
    assert ((mask & SATURATED != 0) == full).all()
    # No pixel below 99.8 % of the well is flagged, and none above it is missed.
    electrons = reduced * values_by_column(detector, "gain")
    assert electrons[full].min() > 0.998 * 40_000
    assert (electrons > 40_100)[~full].sum() == 0


def test_the_page_tells_the_setups_of_one_camera_apart(monkeypatch):
    """Two readout modes: rows and sentences of each have its name; alone it has the camera's."""
    names = ("gain", "gain_error", "gain_used", "read_noise", "read_noise_error", "departure",
             "departure_error", "full_well", "hot", "varies", "low", "columns")  # fmt: skip
    data = {"quality": [{"amplifier": "A", **dict.fromkeys(names, 1.0)}], "remarks": ["odd"]}
    context = SimpleNamespace(
        made_record=lambda product: SimpleNamespace(status="made", data=data),
        settings={"detector": {"hot_rate": 0.5}},
    )
    groups = [
        SimpleNamespace(product=mode, camera="cam", shared=(("camera", "cam"), ("readmode", mode)))
        for mode in ("slow", "fast")
    ]
    cases = (
        (groups, ["cam slow", "cam fast"], ["The detector cam slow: odd.",
                                            "The detector cam fast: odd."]),
        (groups[:1], ["cam"], ["The detector: odd."]),
    )  # fmt: skip
    for groups_of_night, names_of_rows, sentences in cases:
        monkeypatch.setattr(
            type(DETECTOR), "night_groups", lambda *_, each=groups_of_night: each, raising=False
        )
        section = DETECTOR.section(context, "2024-03-01")
        assert len(section.rows) == len(groups_of_night)
        assert [row[0] for row in section.rows] == [f"{name} A" for name in names_of_rows]
        assert list(section.summary) == sentences


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """Two nights, the second taken after a run: (folder, chain, calibrated frames, second run)."""
    top = tmp_path_factory.mktemp("nights")
    few = {"biases": 4, "flats": (("g", 4),), "science": (("g", 60.0, 1),)}
    chain = take(top, 1, **few)
    run(top, chain)
    before = {p: p.read_bytes() for p in (top / "results/calibrated").rglob("*.fits")}
    take(top, 2, seed=2, detector=chain.detector, **few)
    return top, chain, before, run(top, chain)


def test_a_night_at_the_end_changes_no_older_frame_and_from_scratch_is_the_same(two_nights):
    folder, chain, before, again = two_nights
    assert not [
        p for p in again.records if "/n1/" in p or p.startswith("detector/simcam/2024-03-01")
    ]
    assert {p: p.read_bytes() for p in before} == before
    assert "detector/simcam/bad_pixels_all_103x101_1x1.fits" in again.records
    fresh = run(folder, chain, results="fresh")
    for path in (folder / "fresh").rglob("*.fits"):
        other = folder / "results" / path.relative_to(folder / "fresh")
        assert path.read_bytes() == other.read_bytes(), path
    assert fresh.open("calibrated/n2/science_g1.fits")[0].header["BPMNTS"] == 2


def test_the_map_has_the_first_and_last_night_of_each_pixel(two_nights):
    _, chain, _, done = two_nights
    with fits.open(done.results / "detector/simcam/bad_pixels_all_103x101_1x1.fits") as hdus:
        table, mask = hdus["PIXELS"].data, hdus["MASK"].data
        row, column, _ = chain.detector.hot_pixels[np.argmax(chain.detector.hot_pixels[:, 2])]
        one = table[(table["X"] == column + 1) & (table["Y"] == row + 1)]
        assert (one["FIRST"][0], one["LAST"][0]) == ("2024-03-01", "2024-03-02")
        assert (one["SEEN"][0], one["LOOKED"][0]) == (2, 2)
        assert mask[int(row), int(column)] & HOT
        once = table[(table["SEEN"] == 1) & (table["LOOKED"] == 2)]
        assert len(once)
        assert (once["BITS"] == 0).all()


@pytest.mark.parametrize("gain", [1.236, 1.6])
def test_a_wrong_gain_makes_no_bad_column_where_amplifiers_meet(gain, tmp_path):
    """Gains are often 3 % off: six good columns at the seam were bad, and eight with 33 %."""
    chain = take(tmp_path, 1, darks=((60.0, 3),), flats=(("g", 9),), science=(("g", 60.0, 1),))
    assert "gain: 1.2\n" in chain.profile
    done = run(tmp_path, chain, chain.profile.replace("gain: 1.2\n", f"gain: {gain}\n"))
    with fits.open(done.results / "calibrated/n1/science_g1.fits") as hdus:
        mask = hdus["MASK"].data
    seam = np.s_[:, 42:62]
    # Columns with a defect are left out, because whole parts of a column with a trap are bad.
    is_sound = (chain.detector.defects()[seam] == 0).all(axis=0)
    assert np.count_nonzero(is_sound) > 12
    assert not (mask[seam][:, is_sound] & BAD_COLUMN).any()
    # Single pixels at the edges of dust are low, with the right gain as well.
    assert 0 < np.count_nonzero(mask[seam][:, is_sound] & DEAD) < 30
    table = next(iter((done.results / "detector/simcam").glob("*/pixels_*.fits")))
    verdict = verdicts.verify(
        str(table.relative_to(done.results)), raw=tmp_path / "raw", results=done.results
    )
    assert (verdict.verdict, verdict.reason) == ("verified", "")


def test_a_measured_gain_makes_electrons(tmp_path):
    detector = small_chain.simulate.draw_detector(
        (101, 103), seed=4, shutter=0.0,
        amplifiers=(
            small_chain.simulate.SimulatedAmplifier(columns=(0, 103), gain=2.0, read_noise=7.0),
        ),
    )  # fmt: skip
    chain = take(tmp_path, 1, detector=detector, darks=((60.0, 3),))
    # A flat without an exposure is not measured, and stops nothing.
    fits.setval(tmp_path / "raw/n1/flat_r1.fits", "EXPTIME", value=-4.0)
    lines = [x for x in chain.profile.splitlines() if "gain" not in x]
    profile = "\n".join([*lines, "gain: measured", ""])
    done = run(tmp_path, chain, profile=profile)
    header = done.open("calibrated/n1/science_g1.fits")[0].header
    assert header["BUNIT"] == "electron"
    assert header["GAINMEAS"] == pytest.approx(2.0, rel=0.04)
    assert pd.read_csv(done.results / "detector.csv").flats.tolist() == [7]
    assert "UNCERT" in [hdu.name for hdu in done.open("calibrated/n1/science_g1.fits")]


def test_the_gain_of_the_noise_is_that_of_the_table_of_detectors(tmp_path):
    """The profile's gain is 10 % off: pixels keep it, UNCERT and header have the measured one."""
    detector = small_chain.simulate.draw_detector(
        (101, 103), seed=4, shutter=0.0,
        amplifiers=(
            small_chain.simulate.SimulatedAmplifier(columns=(0, 103), gain=2.0, read_noise=7.0),
        ),
    )  # fmt: skip
    chain = take(tmp_path, 1, detector=detector, darks=((60.0, 3),))
    lines = [x for x in chain.profile.splitlines() if "gain" not in x]
    done = run(tmp_path, chain, profile="\n".join([*lines, "gain: 1.8", ""]))
    header = done.open("calibrated/n1/science_g1.fits")[0].header
    (line,) = pd.read_csv(done.results / "detector.csv").itertuples()
    assert (line.gain_used, header["AMPGAIN"]) == (1.8, 1.8)
    assert header["GAINMEAS"] == pytest.approx(line.gain, rel=1e-3)
    assert line.gain == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(
    ("source", "count", "expected"), [("header", 4, 1.2), ("header", 1, 1.5), ("profile", 4, 1.5)]
)
def test_the_header_s_gain_of_one_of_several_amplifiers_is_its_own(source, count, expected):
    """The gain of the first was compared with all: three of four amplifiers were called wrong."""
    geometry = SimpleNamespace(source=source, amplifiers=(None,) * count)
    context = SimpleNamespace(store=SimpleNamespace(geometry=lambda name: geometry))
    night = SimpleNamespace(context=context, row=SimpleNamespace(geometry=""))
    assert night_measurement.header_value_of_amplifier(night, 1.2, 1.5) == expected
    # The gain of the frame is that of another amplifier where the header has one for each.
    without_gain = np.nan if expected == 1.2 else 1.5
    value = night_measurement.header_value_of_amplifier(night, None, 1.5)
    np.testing.assert_equal(value, without_gain)


@pytest.mark.parametrize(
    ("header", "claims", "lacks"),
    [
        (np.nan, [], "neither profile nor header has a gain"),
        (1.1, ["the header has 1.1"], "the profile has no gain"),
    ],
)
def test_no_line_denies_a_card_that_another_line_names(header, claims, lacks):
    """One line named the header's 1.1, and the next one said that no header has a gain."""
    nothing = {f"read_noise{of}": np.nan for of in ("", "_error", "_used", "_header")}
    figures = {"amplifier": "B", "gain": 2.0, "gain_error": 0.01, "gain_used": np.nan}
    figures |= nothing | {"gain_header": header}
    *others, last = detector_sentences.sentences_on_claims(figures, has_several_amplifiers=True)
    assert [text.partition(" is measured, ")[2] for text in others] == claims
    assert last.startswith(f"amplifier B: {lacks}: the measured 2.00")


ROOT = Path(__file__).parents[3]
EFOSC = ROOT.parent / "shared" / "data" / "efosc2_2022"


@pytest.mark.skipif(not EFOSC.is_dir(), reason=f"no real frames in {EFOSC}")
def test_the_gain_of_efosc2_is_that_of_its_spectral_flats_by_hand(tmp_path):
    """A limit on the scatter for all pixels of a spectrum gave 1.59; by hand it is 1.2."""
    names = [p.name for p in sorted(EFOSC.iterdir()) if "2022-01-26T19:0" in p.name]
    flats = [p.name for p in sorted(EFOSC.iterdir()) if "T19:18" in p.name or "T19:21" in p.name]
    (tmp_path / "raw").mkdir()
    for name in (*names, *flats):
        shutil.copy(EFOSC / name, tmp_path / "raw" / name)
    profile = (ROOT / "config/cameras/efosc2.yaml").read_text()
    run_jobs(
        tmp_path / "raw", tmp_path / "results", {"efosc2": profile}, kinds=KINDS,
        detector={}, flat={"minimum": 2},
    )  # fmt: skip
    (line,) = pd.read_csv(tmp_path / "results/detector.csv").itertuples()
    bias = np.mean([fits.getdata(EFOSC / n)[:1024, :1024].astype(float) for n in names], axis=0)
    one, two = (fits.getdata(EFOSC / n)[:1024, :1024] - bias for n in flats[:2])
    two *= one.mean() / two.mean()
    middle = (one + two) / 2
    part = (middle > 9500) & (middle < 10_500)
    part &= np.abs(one - two) < 5 * np.std((one - two)[part])
    difference = (one - two)[part]
    dim = [fits.getdata(EFOSC / n)[:1024, :1024].astype(float) for n in names]
    steps = [b - a - (b - a).mean(axis=1)[:, None] for a, b in pairwise(dim)]
    noise = np.mean([step[np.abs(step) < 5 * 14.5].std() for step in steps]) / 2**0.5
    by_hand = middle[part].mean() / (np.var(difference) / 2 - noise**2)
    assert by_hand == pytest.approx(1.19, rel=0.03)
    assert line.gain == pytest.approx(by_hand, rel=0.03)
    assert line.read_noise == pytest.approx(by_hand * noise, rel=0.02)
    assert noise == pytest.approx(10.27, rel=0.01)
    # Flats of one exposure in a fading twilight cannot show the linearity.
    assert np.isnan(line.departure)


KAST = ROOT.parent / "shared" / "data" / "kast_blue_2015"


def less_overscan(path, data, strip):
    """Return some columns of a frame, minus the median of the overscan in each row."""
    image = fits.getdata(path).astype(float)
    return image[:, data] - np.median(image[:, strip], axis=1)[:, None]


@pytest.mark.skipif(not KAST.is_dir(), reason=f"no real frames in {KAST}")
@pytest.mark.torture
def test_gain_and_read_noise_of_kast_are_those_by_hand(tmp_path):
    """One limit for dark and lit pixels gave the right amplifier 1.287; by hand it is 1.255.

    GAIN in the header is an index, 1; the observatory has gains of 1.2 and 1.237.
    """
    flats, biases = ([f"b{n}.fits.gz" for n in own] for own in ((3, 4, 5), (14, 15, 16, 17)))
    (tmp_path / "raw").mkdir()
    for name in (*flats, *biases, "b27.fits.gz"):
        shutil.copy(KAST / name, tmp_path / "raw" / name)
    profile = (ROOT / "config/cameras/kast_blue.yaml").read_text()
    done = run_jobs(
        tmp_path / "raw", tmp_path / "results", {"kast_blue": profile}, kinds=KINDS, detector={}
    )
    page = (tmp_path / "results/nights/2015-05-19/report.html").read_text()
    assert "kast_blue: 1 spectrum (600/4310) was divided by flats that have the spectrum of" in page
    cards = done.open("calibrated/b27.fits")[0].header
    off = 100 * (cards["SKYRMS"] / cards["SKYPRED"] - 1)
    assert 15 < off < 35
    pattern = f"is.{cards['SKYRMS']:.3g}.e\u207b.a pixel,.{off:.0f}.%.above the"
    assert re.search(pattern, page)
    assert done.lines
    assert not [line for line in done.lines if "UNCERT predicts" in line]
    table = pd.read_csv(tmp_path / "results/detector.csv").set_index("amplifier")
    places = {
        "left": (slice(0, 1024), slice(2049, 2080), (2000, 8000)),
        "right": (slice(1024, 2048), slice(2080, 2111), (15_000, 25_000)),
    }
    for name, (data, strip, (low, high)) in places.items():
        dim = np.array([less_overscan(KAST / each, data, strip) for each in biases])
        difference = dim[1] - dim[0]
        difference -= difference.mean(axis=1)[:, None]
        noise = difference[np.abs(difference) < 5 * 1.48 * np.median(np.abs(difference))].std()
        one, two = (
            less_overscan(KAST / each, data, strip) - dim.mean(axis=0) for each in flats[:2]
        )
        two *= one.sum() / two.sum()
        middle, left = (one + two) / 2, one - two
        part = (middle > low) & (middle < high)
        part &= np.abs(left) < 5 * 1.48 * np.median(np.abs(left[part]))
        by_hand = middle[part].mean() / (left[part].var() / 2 - noise**2 / 2)
        assert table.gain[name] == pytest.approx(by_hand, rel=0.02)
        assert table.read_noise[name] == pytest.approx(by_hand * noise / 2**0.5, rel=0.02)
        # The gain in use is the observatory's; the index in the header counts as no gain.
        assert table.gain[name] == pytest.approx(table.gain_used[name], rel=0.02)
        assert np.isnan(table.gain_header[name])
        # With two exposures, of which the long one is partly full, nothing shows that the lamp was
        # steady, so no departure is given. The ratio of the two is the same at all levels.
        assert np.isnan(table.departure[name])
        long = less_overscan(KAST / "b2.fits.gz", data, strip) - dim.mean(axis=0)
        below = fits.getdata(KAST / "b2.fits.gz")[:, data] < 60_000
        top = 12_000 if name == "left" else 26_000
        ratios = [
            long[part].sum() / middle[part].sum()
            for low, high in ((2000, 5000), (top / 2, top))
            if (part := below & (middle > low) & (middle < high)).sum() > 500
        ]
        assert len(ratios) == 2
        assert ratios[1] / ratios[0] == pytest.approx(1, abs=0.006)


def test_full_neighbouring_bleeding_and_bent_pixels_of_a_frame_are_those_by_hand(tmp_path):
    """Bits 1, 512 and 1024 depend on raw values, not on the level and bias that are subtracted."""
    detector = small_chain.simulate.draw_detector(
        small_chain.SHAPE,
        seed=6,
        shutter=0.0,
        faults=small_chain.simulate.FaultCounts(hot=0, blinking=0, traps=0, dead_columns=0),
    )
    chain = take(tmp_path, 1, detector=detector, darks=(), flats=(("g", 3),), stars=0,
                 science=(("g", 60.0, 1),))  # fmt: skip
    file, linear = tmp_path / "raw/n1/science_g1.fits", 30_000
    full, columns = round(detector.saturation), small_chain.SHAPE[1]
    with fits.open(file, mode="update") as hdus:
        raw = hdus[0].data
        raw[40:50, 30] = raw[80, 70] = raw[90:92, 5] = full
        raw[50:66, 30] += 900
        raw[20, 10:20] = linear + np.array([-900, -40, -20, -10, -5, 5, 10, 20, 40, 900])
        raw = raw.astype(float)
    profile = f"{chain.profile}linear: {linear}\n"
    done = run(tmp_path, chain, profile=profile, kinds=("frame", "bias", "flat", "science"))
    hdus = done.open("calibrated/n1/science_g1.fits")
    mask, header, raw = hdus["MASK"].data, hdus[0].header, raw[:, :columns]
    is_full = raw >= full
    assert np.array_equal(mask & SATURATED != 0, is_full)
    assert np.array_equal(mask & NOT_LINEAR != 0, (raw > linear) & ~is_full)
    beside = ndimage.binary_dilation(is_full, np.ones((3, 3))) & ~is_full
    # Ten full pixels bleed up their column, over the sixteen pixels that were made brighter. One or
    # two full pixels do not.
    beside[50:66, 30] = True
    assert np.array_equal(mask & BLEED != 0, beside)
    # SATURATE is at most the least value of a full pixel, and at most 3 % below it.
    least = hdus[0].data[is_full].min()
    assert 0.97 * least < header["SATURATE"] <= least < full * detector.amplifiers[0].gain


def test_a_night_measured_before_a_source_was_known_is_read_without_it(tmp_path):
    """The table of a closed night is never made again, and keeps the columns of its version."""
    bits = {"dark": [8, 0], "flat": [0, 16], "levels": [0, 0], "deep": [0, 0]}
    names = ("IMAGE", "X", "Y", "DARK", "FLAT", "LEVELS")
    values = ([0, 0], [3, 4], [1, 2], bits["dark"], bits["flat"], bits["levels"])
    columns = [fits.Column(n, "J", array=v) for n, v in zip(names, values, strict=True)]
    table = fits.BinTableHDU.from_columns(columns, name="PIXELS")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "old.fits")
    (night,) = pixel_tables.read_night_bad_pixels(
        tmp_path / "old.fits", "2024-03-01", ["flat"], [(5, 7)]
    )
    assert night.index.tolist() == [2, 10]
    assert {name: each.tolist() for name, each in night.bits.items()} == bits


def test_a_pair_of_flats_tells_gain_and_read_noise_of_each_amplifier(tmp_path):
    """Two flats make no combined one, and a night of them had no gain."""
    chain = take(
        tmp_path, 1, darks=(), flats=(("g", 2),), science=(("g", 60.0, 1),), cards={"GAIN": 9.9}
    )
    truth = chain.detector.amplifiers
    # The profile claims 1.3 times the gain of the second amplifier.
    claim = f"gain: {truth[1].gain}\n"
    assert chain.profile.count(claim) == 1
    profile = chain.profile.replace(claim, f"gain: {1.3 * truth[1].gain}\n")
    chain = dataclasses.replace(chain, profile=profile)
    done = run(tmp_path, chain)
    table = pd.read_csv(done.results / "detector.csv")
    assert table.flats.tolist() == [2, 2]
    for line, amplifier in zip(table.itertuples(), truth, strict=True):
        assert abs(line.gain - amplifier.gain) < 3 * line.gain_error
        assert line.gain_error / amplifier.gain == pytest.approx(0.0212, rel=0.1)
        assert abs(line.read_noise - amplifier.read_noise) < 3 * line.read_noise_error
        assert line.read_noise_error / amplifier.read_noise == pytest.approx(0.0219, rel=0.1)
        assert line.gain_header == 9.9
        assert np.isnan([line.hot, line.varies, line.low, line.columns, line.departure]).all()
    texts = table.note[0].split("; ")
    first, second = table.amplifier
    assert [text.partition(" is measured, ")[2] for text in texts] == [
        "the header has 9.9, the profile has the right one",
        f"the profile has {table.gain_used[1]:g}, the header has 9.9",
    ]
    assert [text.startswith(f"amplifier {first}: gain ") for text in texts] == [True, False]
    assert f"detector: simcam of 2024-03-01: {texts[1]}" in done.lines
    page = (done.results / "nights/2024-03-01/report.html").read_text()
    assert f"amplifier {second}: gain" in page
    # A pair of flats shows no bad pixels, so the night's frames name no measurement of these.
    header = done.open("calibrated/n1/science_g1.fits")[0].header
    assert "BPMIM" not in header
    assert not (done.results / "detector/simcam/bad_pixels_all_103x101_1x1_g9.9.fits").exists()
    verdict = verdicts.verify(table["product"][0], raw=chain.raw, results=done.results)
    assert (verdict.verdict, verdict.pixels) == ("verified", 0)
    assert products_to_make(tmp_path, chain) == []


def test_two_flats_of_two_exposures_are_no_pair(tmp_path):
    chain = take(tmp_path, 1, darks=(), flats=(("g", 1, 4.0), ("g", 1, 8.0)), science=())
    done = run(tmp_path, chain)
    (record,) = (one for name, one in done.records.items() if "/pixels_" in name)
    assert (record.status, "no two of its flats" in record.reason) == ("refused", True)
