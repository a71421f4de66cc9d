"""The simulator: the guide's frames by name and card, and the injected truth in their pixels."""

import gzip
import shutil
import subprocess
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

import simulate as command_line
from ccdflow import simulate
from ccdflow.errors import UserError
from ccdflow.simulate.frame_arrivals import observe

SCALE = 1 / 16

# Rows of the inventory in the guide: name, IMAGETYP, FILTER, EXPTIME.
GUIDE_TABLE = [
    ("ccd.001.0.fits.gz", "BIAS", "i'", 0.0),
    ("ccd.002.0.fits.gz", "BIAS", "i'", 0.0),
    ("ccd.003.0.fits.gz", "BIAS", "i'", 0.0),
    ("ccd.004.0.fits.gz", "BIAS", "i'", 0.0),
    ("ccd.005.0.fits.gz", "BIAS", "i'", 0.0),
    ("ccd.006.0.fits.gz", "BIAS", "i'", 0.0),
    ("ccd.014.0.fits.gz", "FLATFIELD", "g'", 70.001),
    ("ccd.015.0.fits.gz", "FLATFIELD", "g'", 70.011),
    ("ccd.016.0.fits.gz", "FLATFIELD", "g'", 70.001),
    ("ccd.017.0.fits.gz", "FLATFIELD", "i'", 7.0),
    ("ccd.018.0.fits.gz", "FLATFIELD", "i'", 7.0),
    ("ccd.019.0.fits.gz", "FLATFIELD", "i'", 7.0),
    ("ccd.037.0.fits.gz", "OBJECT", "g'", 300.062),
    ("ccd.043.0.fits.gz", "OBJECT", "i'", 300.014),
]
DARKS_TABLE = [
    ("ccd.002.0.fits.gz", "BIAS", 0.0),
    ("ccd.013.0.fits.gz", "DARK", 300.0),
    ("ccd.014.0.fits.gz", "DARK", 300.0),
    ("ccd.015.0.fits.gz", "DARK", 300.0),
    ("ccd.017.0.fits.gz", "DARK", 70.0),
    ("ccd.018.0.fits.gz", "DARK", 70.0),
    ("ccd.019.0.fits.gz", "DARK", 70.0),
    ("ccd.023.0.fits.gz", "DARK", 7.0),
    ("ccd.024.0.fits.gz", "DARK", 7.0),
    ("ccd.025.0.fits.gz", "DARK", 7.0),
]
# fmt: off
KEYWORDS = [
    "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BZERO", "BSCALE", "DATE",
    "ORIGIN", "LATITUDE", "LONGITUD", "TELESCOP", "FRATIO", "INSTRUME", "DETECTOR", "FRAME",
    "CCDPICNO", "OBJECT", "IMAGETYP", "EXPTIME", "DARKTIME", "DATE-OBS", "UT", "JD",
    "RA", "DEC", "EQUINOX", "EPOCH", "HA", "ST", "AIRMASS", "FILTER",
    "GAIN", "SECPIX1", "SECPIX2", "CCDBIN1", "CCDBIN2", "ROTANGLE", "DATASEC", "CCDSEC",
    "BIASSEC", "LOGINFO", "CHIPID",
]
# fmt: on
BIASES = [f"ccd.{n:03d}.0.fits.gz" for n in range(1, 7)]


@pytest.fixture(scope="module")
def simulated_night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    simulate.simulate_night(folder, scale=SCALE)
    return folder


@pytest.fixture(scope="module")
def truth(simulated_night):
    return simulate.read_truth(simulated_night)


def pixels(folder, file):
    return fits.getdata(folder / file).astype(float)


def columns(section):
    """Return the columns of a FITS section as a slice."""
    first, last = section.strip("[]").split(",")[0].split(":")
    return slice(int(first) - 1, int(last))


def science(folder, file, truth):
    """Return the science pixels minus the injected level and structure, adu: light and noise."""
    offset = truth.frames[file]["level"] + truth.drift[file][:, None] + truth.structure
    return pixels(folder, file)[:, columns(truth.camera["data"])] - offset


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --------------------------------------------------------------------------- names and headers


def test_folder_holds_the_guides_frames_and_bystanders_and_nothing_else(simulated_night):
    expected = {row[0] for row in GUIDE_TABLE} | {f"darks/{row[0]}" for row in DARKS_TABLE}
    expected |= {".DS_Store", "observing_log.csv", "truth.json", "truth.npz"}
    assert set(files_of(simulated_night)) == expected
    assert len({row[0] for row in GUIDE_TABLE} & {row[0] for row in DARKS_TABLE}) == 6


def test_tables_of_the_guide_come_back(simulated_night):
    def row(path, *keywords):
        header = fits.getheader(path)
        return (path.name, *(header[keyword] for keyword in keywords))

    top = [row(p, "IMAGETYP", "FILTER", "EXPTIME") for p in sorted(simulated_night.glob("*.gz"))]
    darks = [row(p, "IMAGETYP", "EXPTIME") for p in sorted(simulated_night.glob("darks/*.gz"))]
    assert top == GUIDE_TABLE
    assert darks == DARKS_TABLE


def test_header_of_frame_14(simulated_night):
    with fits.open(simulated_night / "ccd.014.0.fits.gz") as hdus:
        hdus.verify("exception")
        header, data = hdus[0].header, hdus[0].data
        assert data.dtype.kind == "u"
        assert data.dtype.itemsize == 2
        assert data.shape == (258, 160)
    raw_header = fits.getheader(simulated_night / "ccd.014.0.fits.gz")
    assert list(raw_header) == KEYWORDS
    expected = {
        "BZERO": 32768, "BSCALE": 1, "DATE": "2016-01-16", "LATITUDE": 33.4, "LONGITUD": -116.9,
        "ORIGIN": "California Institute of Technology", "TELESCOP": "Hale 5m Telescope",
        "FRATIO": 7.5, "INSTRUME": "LFC", "DETECTOR": "SITe SI002 x 6", "FRAME": 14,
        "CCDPICNO": 14, "OBJECT": "flat_g", "EXPTIME": 70.001, "DARKTIME": 70.673,
        "DATE-OBS": "2016-01-16", "UT": "04:17:28.00", "JD": 2457403.678796, "FILTER": "g'",
        "GAIN": 1.1, "SECPIX1": 0.182, "CCDBIN1": 1, "CHIPID": 0,
        "DATASEC": "[1:128,1:258]", "CCDSEC": "[1:128,1:258]", "BIASSEC": "[129:160,1:257]",
    }  # fmt: skip
    assert {keyword: raw_header[keyword] for keyword in expected} == expected
    assert header["LOGINFO"] == "simulated by ccdflow, seed 2016"


def test_full_size_sections_are_the_lfcs():
    assert simulate.LFC.naxis1 == 2080
    assert simulate.LFC.ny == 4128
    assert simulate.LFC.biassec == "[2049:2080,1:4127]"
    assert simulate.LFC.section(simulate.LFC.usable_overscan_columns) == "[2056:2080,1:4128]"
    assert simulate.LFC.section(simulate.LFC.data_columns) == "[1:2048,1:4128]"


def test_times_agree_and_all_frames_are_of_one_night(simulated_night, truth):
    assert len(truth.frames) > 20
    for file, figures in truth.frames.items():
        header = fits.getheader(simulated_night / file)
        start = Time(f"{header['DATE-OBS']}T{header['UT']}")
        assert start.isot[:19] == figures["start"]
        assert abs(start.jd - header["JD"]) < 1e-6
        assert figures["night"] == "2016-01-15"


def test_darks_may_have_another_date(tmp_path):
    frames = simulate.guide_frames(date="2016-02-29", darks_date="2016-03-01")
    nights = {frame.file: frame.night_and_hours[0].isoformat() for frame in frames}
    assert nights["ccd.002.0.fits.gz"] == "2016-02-28"
    assert nights["darks/ccd.002.0.fits.gz"] == "2016-02-29"


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
def test_fitsverify_objects_only_to_the_cards_the_camera_really_writes(simulated_night):
    result = subprocess.run(
        ["fitsverify", "-l", simulated_night / "ccd.037.0.fits.gz"], capture_output=True, text=True
    )
    complaints = [line for line in result.stdout.splitlines() if line.startswith("***")]
    assert len(complaints) == 2
    assert "EPOCH is deprecated" in complaints[0]
    assert "1 warning(s) and 0 error(s)" in complaints[1]


# --------------------------------------------------------------------------- truth in the pixels


@pytest.mark.parametrize("file", ["ccd.003.0.fits.gz", "ccd.014.0.fits.gz", "ccd.043.0.fits.gz"])
def test_overscan_median_of_each_row_is_the_injected_level(simulated_night, truth, file):
    strip = pixels(simulated_night, file)[:, columns(truth.camera["overscan"])]
    assert strip.shape == (258, 25)
    injected = truth.frames[file]["level"] + truth.drift[file]
    noise = np.hypot(truth.camera["read_noise_adu"], 1 / np.sqrt(12))
    assert np.std(strip - injected[:, None]) == pytest.approx(
        noise, rel=5 / np.sqrt(2 * strip.size)
    )
    offsets = np.median(strip, axis=1) - injected
    # Error of the median of n normal deviates: 1.253 sigma / sqrt(n).
    error = 1.253 * truth.camera["read_noise_adu"] / 5
    assert abs(offsets.mean()) < 5 * error / np.sqrt(offsets.size)
    assert offsets.std() == pytest.approx(error, rel=5 / np.sqrt(2 * offsets.size))
    assert np.abs(offsets).max() < 5 * error


@pytest.mark.parametrize("region", ["overscan", "data"])
def test_rows_drift_by_the_injected_amount_in_overscan_and_science_alike(
    simulated_night, truth, region
):
    drift = np.concatenate([truth.drift[file] for file in BIASES])
    rows = [
        np.median(pixels(simulated_night, f)[:, columns(truth.camera[region])], axis=1)
        for f in BIASES
    ]
    slope, _ = np.polyfit(drift, np.concatenate(rows), 1)
    # The overscan's 25 columns give the larger error: 2.5 adu a row.
    assert slope == pytest.approx(1, abs=5 * 2.5 / (drift.std() * np.sqrt(drift.size)))


def test_level_and_row_drift_are_of_the_size_the_camera_has(truth):
    for file, figures in truth.frames.items():
        assert abs(figures["level"] - 1140) < 6
        assert truth.drift[file].std() == pytest.approx(2.0)
        assert truth.drift[file].mean() == pytest.approx(0.0, abs=1e-9)
    levels = [truth.frames[file]["level"] for file in BIASES]
    assert len(set(levels)) == 6


@pytest.mark.parametrize(
    "file", ["ccd.001.0.fits.gz", "ccd.017.0.fits.gz", "darks/ccd.013.0.fits.gz"]
)
def test_leaked_columns_are_higher_by_the_injected_light_and_the_next_is_clean(
    simulated_night, truth, file
):
    raw = pixels(simulated_night, file)
    figures = truth.frames[file]
    level = figures["level"] + truth.drift[file][:, None]
    leaked = np.array(truth.camera["leaked"])
    assert leaked.tolist() == list(range(129, 136))
    leak = np.array(figures["leak"])
    above = raw[:, leaked - 1] - level
    mean_above = above.mean(axis=0)
    noise = np.sqrt(truth.camera["read_noise_adu"] ** 2 + leak / truth.camera["gain"])
    assert np.all(np.abs(mean_above - leak) < 5 * noise / np.sqrt(258))
    assert mean_above[-1] > 5 * noise[-1] / np.sqrt(258)
    assert np.std((above - leak) / noise) == pytest.approx(1, rel=5 / np.sqrt(2 * above.size))
    clean = (raw[:, 135:136] - level).mean()
    assert abs(clean) < 5 * truth.camera["read_noise_adu"] / np.sqrt(258)


def test_flats_leak_more_than_biases(truth):
    assert truth.frames["ccd.014.0.fits.gz"]["leak"][0] > 400
    assert truth.frames["ccd.001.0.fits.gz"]["leak"][0] == pytest.approx(40)


def test_structure_of_the_biases_is_the_injected_gradient(simulated_night, truth):
    assert truth.structure[0] + 1140 > 1350
    assert np.abs(truth.structure[128 * 400 // 2048 :]).max() < 5
    residual = np.mean([science(simulated_night, file, truth) for file in BIASES], axis=0)
    error = truth.camera["read_noise_adu"] / np.sqrt(6 * 258)
    assert np.abs(residual.mean(axis=0)).max() < 5 * error
    assert residual.mean(axis=0).std() == pytest.approx(error, rel=5 / np.sqrt(2 * 128))


def test_noise_of_a_bias_is_read_noise_and_digitisation(simulated_night, truth):
    difference = science(simulated_night, BIASES[0], truth) - science(
        simulated_night, BIASES[1], truth
    )
    expected = np.hypot(truth.camera["read_noise"] / truth.camera["gain"], 1 / np.sqrt(12))
    relative_error = 1 / np.sqrt(2 * difference.size)
    assert difference.std() / np.sqrt(2) == pytest.approx(expected, rel=5 * relative_error)


@pytest.mark.parametrize(("first", "exptime"), [(13, 300), (17, 70), (23, 7)])
def test_dark_current_grows_with_the_exposure(simulated_night, truth, first, exptime):
    files = [f"darks/ccd.{first + n:03d}.0.fits.gz" for n in range(3)]
    cold = np.ones((258, 128), dtype=bool)
    rows, cols = truth.hot_pixels[:, :2].astype(int).T
    cold[rows, cols] = False
    for file in files:
        cold[tuple(truth.cosmics[file][:, :2].astype(int).T)] = False
    mean_signal = np.mean([science(simulated_night, file, truth)[cold].mean() for file in files])
    rate = truth.camera["dark_current"] + truth.glow[cold].mean(dtype=float)
    expected = rate * exptime / truth.camera["gain"]
    assert abs(mean_signal - expected) < 5 * 10.2 / np.sqrt(3 * cold.sum())


def test_hot_pixels_are_where_the_truth_says(simulated_night, truth):
    y, x, rate = truth.hot_pixels[np.argmax(truth.hot_pixels[:, 2])]
    signal = science(simulated_night, "darks/ccd.013.0.fits.gz", truth)[int(y), int(x)]
    electrons = (rate + truth.camera["dark_current"] + truth.glow[int(y), int(x)]) * 300
    assert signal * 1.1 == pytest.approx(electrons, abs=5 * np.sqrt(electrons + 11**2))


def test_the_corner_glows_in_darks_by_the_injected_rate(simulated_night, truth):
    files = [f"darks/ccd.{n:03d}.0.fits.gz" for n in (13, 14, 15)]
    rows, columns = slice(0, 6), slice(0, 6)
    glow_signal = (
        np.mean([science(simulated_night, file, truth)[rows, columns].sum() for file in files])
        * 1.1
    )
    rate = (truth.glow + truth.camera["dark_current"])[rows, columns].sum(dtype=float)
    for y, x, hot in truth.hot_pixels:
        rate += hot * (y < 6 and x < 6)
    assert rate > 100
    assert glow_signal == pytest.approx(300 * rate, abs=5 * np.sqrt((300 * rate + 36 * 11**2) / 3))
    assert truth.glow[0, 0] == 10
    assert truth.glow[-20:, -20:].max() < 1e-4


def test_cosmic_rays_hit_the_pixels_that_the_truth_names(tmp_path):
    camera = replace(simulate.LFC, nx=200, ny=150, cosmic_ray_rate=1e-6)
    truth = simulate.simulate_night(tmp_path, camera=camera)
    mean = 300 * truth.dark_rate.astype(float)
    y, x, hot = truth.hot_pixels[np.argmax(truth.hot_pixels[:, 2])]
    assert truth.dark_rate[int(y), int(x)] >= hot + camera.dark_current
    for file in ("darks/ccd.013.0.fits.gz", "darks/ccd.014.0.fits.gz"):
        rays = truth.cosmics[file]
        assert truth.frames[file]["cosmics"] == len(rays) > 20
        where = tuple(rays[:, :2].astype(int).T)
        residual = science(tmp_path, file, truth) * 1.1 - mean
        variance = mean + 11**2
        assert residual[where].sum() > 20 * np.sqrt(variance[where].sum())
        residual[where] -= rays[:, 2]
        variance[where] += rays[:, 2]
        pull = residual / np.sqrt(variance)
        assert np.abs(pull).max() < 6
        assert pull.std() == pytest.approx(1, rel=5 / np.sqrt(2 * pull.size))
        assert pull[where].std() == pytest.approx(1, rel=5 / np.sqrt(2 * len(rays)))
    assert not truth.cosmics["ccd.001.0.fits.gz"].size


def test_light_of_a_science_frame_is_incident_light_times_response(simulated_night, truth):
    file = "ccd.037.0.fits.gz"
    signal = science(simulated_night, file, truth) * 1.1
    light = truth.incident(file) * truth.response("g'")
    electrons = light + 300.062 * (truth.glow + truth.camera["dark_current"])
    bad = np.zeros(light.shape, dtype=bool)
    for listed in (truth.hot_pixels, truth.cosmics[file]):
        bad[tuple(listed[:, :2].astype(int).T)] = True
    bad |= electrons > 60_000
    pull = ((signal - electrons) / np.sqrt(electrons + 11**2))[~bad]
    assert abs(pull.mean()) < 5 / np.sqrt(pull.size)
    assert pull.std() == pytest.approx(1, rel=5 / np.sqrt(2 * pull.size))
    assert truth.incident(file).max() > 20 * truth.frames[file]["signal"]


def test_photon_noise_of_the_flats_gives_the_gain(simulated_night, truth):
    one, two = (science(simulated_night, f"ccd.{n:03d}.0.fits.gz", truth) for n in (14, 16))
    variance = np.var(one - two) / 2 - truth.camera["read_noise_adu"] ** 2 - 1 / 12
    gain = (one.mean() + two.mean()) / 2 / variance
    assert gain == pytest.approx(1.1, rel=5 * np.sqrt(2 / one.size))


def test_flats_hold_the_response_of_the_detector(simulated_night, truth):
    camera = simulate.LFC.scale_by(SCALE)
    file = "ccd.018.0.fits.gz"
    light = truth.frames[file]["signal"] * simulate.flat_response(camera, "i'", seed=2016)
    residual = science(simulated_night, file, truth) * 1.1 - light
    assert np.std(residual / np.sqrt(light + 11**2)) == pytest.approx(1, rel=0.02)
    # Pixel response (1 %), dust and vignetting stand out of the photon noise (0.7 %).
    assert np.std(light / light.mean()) > 0.015


def test_a_star_leaves_its_electrons_and_a_bright_one_saturates():
    camera = simulate.SimulatedCamera(nx=90, ny=70)
    frame = next(f for f in simulate.guide_frames() if f.imagetyp == "OBJECT")
    drawn = simulate.realise(camera, frame, seed=1)
    detector = replace(simulate.draw_guide_detector(camera, seed=1), hot_pixels=np.empty((0, 3)))
    flat = np.ones((70, 90), dtype=np.float32)

    def image(total):
        star = replace(drawn, stars=np.array([[40.3, 50.7, total]]))
        return simulate.render(camera, detector, frame, star, response=flat)

    offset = drawn.level + drawn.drift[:, None] + detector.structure
    light = (image(2e5)[:, :90] - offset) * camera.gain - drawn.signal - 0.01 * frame.exptime
    box = light[30:52, 40:62]
    assert box.sum() == pytest.approx(2e5, abs=5 * np.sqrt(2e5 + 484 * (121 + drawn.signal)))
    y, x = np.indices(box.shape)
    assert np.average(y, weights=box) + 30 == pytest.approx(40.3, abs=0.3)
    assert np.average(x, weights=box) + 40 == pytest.approx(50.7, abs=0.3)
    assert image(5e6).max() == 65535


# --------------------------------------------------------------------------- files


def test_same_seed_same_bytes_whatever_the_threads(simulated_night, tmp_path):
    simulate.simulate_night(tmp_path, scale=SCALE, workers=1)
    assert files_of(tmp_path) == files_of(simulated_night)
    # The gzip header holds neither time nor name, which would differ from one writing to the next.
    assert (tmp_path / "ccd.001.0.fits.gz").read_bytes()[3:8] == bytes(5)


def test_another_seed_gives_other_pixels_under_the_same_names(simulated_night, tmp_path):
    simulate.simulate_night(tmp_path, scale=SCALE, seed=7)
    ours, others = files_of(tmp_path), files_of(simulated_night)
    assert ours.keys() == others.keys()
    assert {name for name in ours if ours[name] == others[name]} == {
        "observing_log.csv",
        ".DS_Store",
    }


def test_existing_files_are_left_alone_and_missing_ones_come_back(simulated_night, tmp_path):
    folder = tmp_path / "night"
    shutil.copytree(simulated_night, folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    simulate.simulate_night(folder, scale=SCALE)
    assert before
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    lost = folder / "darks/ccd.014.0.fits.gz"
    lost.unlink()
    simulate.simulate_night(folder, scale=SCALE)
    changed = {p.name for p, time in before.items() if p.is_file() and p.stat().st_mtime_ns != time}
    assert changed == {lost.name, "truth.json", "truth.npz"}
    assert files_of(folder) == files_of(simulated_night)


def test_an_unfinished_simulation_has_no_truth_and_is_finished_by_the_next_call(
    simulated_night, tmp_path, monkeypatch
):
    def interrupt_writing(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ccdflow.simulate.guide_nights._write_frames", interrupt_writing)
        with pytest.raises(KeyboardInterrupt):
            simulate.simulate_night(tmp_path, scale=SCALE)
    with pytest.raises(UserError, match="no finished simulation here"):
        simulate.read_truth(tmp_path)
    simulate.simulate_night(tmp_path, scale=SCALE)
    assert files_of(tmp_path) == files_of(simulated_night)


def test_other_parameters_are_refused_unless_asked_to_overwrite(tmp_path):
    simulate.simulate_night(tmp_path, scale=1 / 128)
    before = files_of(tmp_path)
    with pytest.raises(
        UserError,
        match=r"this folder holds a simulation with other parameters \(camera\).*--overwrite",
    ):
        simulate.simulate_night(tmp_path, scale=1 / 64)
    assert files_of(tmp_path) == before
    simulate.simulate_night(tmp_path, scale=1 / 64, overwrites=True)
    assert fits.getheader(tmp_path / "ccd.001.0.fits.gz")["NAXIS1"] == 64


def test_frames_of_an_older_simulator_are_not_taken_for_those_of_this_one(tmp_path):
    simulate.simulate_biases(tmp_path, 1, scale=1 / 128)
    stated = tmp_path / "truth.json"
    stated.write_text(stated.read_text().replace('"simulator": 2', '"simulator": 1'))
    with pytest.raises(UserError, match=r"made by another version of the simulator.*--overwrite"):
        simulate.simulate_biases(tmp_path, 1, scale=1 / 128)
    simulate.simulate_biases(tmp_path, 1, scale=1 / 128, overwrites=True)
    assert simulate.read_truth(tmp_path).parameters["simulator"] == 2


def test_an_observers_own_frames_are_never_written_over(tmp_path):
    own = tmp_path / "ccd.014.0.fits.gz"
    own.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"ccd\.014\.0\.fits\.gz: a file of this name is there"):
        simulate.simulate_night(tmp_path, scale=1 / 128)
    assert files_of(tmp_path) == {own.name: b"precious"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale: .*found 0.*above 0, up to 1"),
        ({"scale": 1 / 1000}, "too small"),
        ({"date": "16/01/2016"}, "date: not a date .*16/01/2016.*YYYY-MM-DD"),
        ({"seed": -1}, "seed: out of range"),
        ({"workers": 0}, "workers: out of range"),
    ],
)
def test_wrong_parameters_are_named_and_nothing_is_written(tmp_path, options, message):
    folder = tmp_path / "night"
    with pytest.raises(UserError, match=message):
        simulate.simulate_night(folder, **options)
    assert not folder.exists()


def test_a_truth_file_of_another_origin_is_not_written_over(tmp_path):
    (tmp_path / "truth.json").write_text('{"answer": 42}')
    with pytest.raises(UserError, match=r"truth\.json: not a truth file of the simulator"):
        simulate.simulate_night(tmp_path, scale=1 / 128)
    assert set(files_of(tmp_path)) == {"truth.json"}


# --------------------------------------------------------------------------- other cameras


def test_overscan_on_the_left_mirrors_the_camera(tmp_path):
    camera = replace(simulate.LFC, instrument="LEFT", overscan_side="left", nx=60, ny=50)
    truth = simulate.simulate_biases(tmp_path, 1, camera=camera)
    assert truth.camera["data"] == "[33:92,1:50]"
    assert truth.camera["overscan"] == "[1:25,1:50]"
    assert truth.camera["leaked"] == [32, 31, 30, 29, 28, 27, 26]
    header = fits.getheader(tmp_path / "bias.0001.fits.gz")
    assert (header["INSTRUME"], header["BIASSEC"]) == ("LEFT", "[1:32,1:49]")
    mean = (
        pixels(tmp_path, "bias.0001.fits.gz").mean(axis=0)
        - truth.frames["bias.0001.fits.gz"]["level"]
    )
    error = 10 / np.sqrt(50)
    assert np.abs(mean[:25]).max() < 5 * error
    assert mean[31] == pytest.approx(40, abs=5 * error)
    assert mean[32] == pytest.approx(240, abs=5 * error)


def test_a_folder_of_an_earlier_commit_has_the_same_parameters_of_its_camera():
    camera = replace(simulate.LFC, has_usable_biassec=True)
    names = [
        "instrument",
        "nx",
        "ny",
        "n_overscan",
        "n_leaked",
        "overscan_side",
        "sound_header",
        "gain",
    ]
    assert list(camera.parameters())[: len(names)] == names
    assert camera.parameters()["sound_header"] is True
    assert simulate.LFC.parameters()["sound_header"] is False


def test_a_sound_header_names_the_usable_overscan():
    camera = replace(simulate.LFC, has_usable_biassec=True)
    assert camera.biassec == "[2056:2080,1:4128]"


def test_two_cameras_of_one_seed_have_different_pixels(tmp_path):
    cameras = [simulate.SimulatedCamera(instrument=name, nx=40, ny=30) for name in ("LFC", "LFC2")]
    frame = simulate.guide_frames()[0]
    one, two = (
        simulate.render(
            camera,
            simulate.draw_guide_detector(camera, seed=3),
            frame,
            simulate.realise(camera, frame, seed=3),
        )
        for camera in cameras
    )
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"overscan_side": "top"}, "unknown side of the overscan"),
        ({"n_leaked": 32}, "no overscan column is left"),
        ({"nx": 4}, "the simulated frame is too small"),
    ],
)
def test_an_impossible_camera_is_refused(wrong, problem):
    with pytest.raises(UserError, match=problem):
        simulate.SimulatedCamera(**wrong)


# --------------------------------------------------------------------------- many frames


def crc_and_length(path):
    return path.read_bytes()[-8:]


def test_every_bias_of_a_run_is_different(tmp_path):
    simulate.simulate_biases(tmp_path, 12, camera=simulate.SimulatedCamera(nx=16, ny=12))
    paths = sorted(tmp_path.glob("*.gz"))
    assert [path.name for path in paths] == [f"bias.{n:04d}.fits.gz" for n in range(1, 13)]
    assert len({crc_and_length(path) for path in paths}) == 12
    assert {fits.getheader(path)["IMAGETYP"] for path in paths} == {"BIAS"}


def test_an_archive_has_a_folder_a_night_and_grows_without_touching_existing_files(tmp_path):
    folder = tmp_path / "archive"
    call = {"camera": simulate.SimulatedCamera(nx=16, ny=12), "workers": 1}
    written = simulate.simulate_archive(folder, nights=2, frames_per_night=26, **call)
    assert written == 52
    before = files_of(folder)
    assert len({content[-8:] for name, content in before.items() if name.endswith(".gz")}) == 52
    assert simulate.simulate_archive(folder, nights=3, frames_per_night=26, **call) == 26
    after = files_of(folder)
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"2016-01-17"}
    assert {name: after[name] for name in before} == before
    assert simulate.simulate_archive(folder, nights=1, frames_per_night=27, **call) == 1

    types = [fits.getheader(p)["IMAGETYP"] for p in sorted((folder / "2016-01-15").iterdir())]
    assert types == ["BIAS"] * 10 + ["FLATFIELD"] * 10 + ["DARK"] * 5 + ["OBJECT"] * 2
    dates = [fits.getheader(p)["DATE-OBS"] for p in sorted(folder.glob("*/ccd.001.0.fits.gz"))]
    assert dates == ["2016-01-16", "2016-01-17", "2016-01-18"]
    with gzip.open(folder / "2016-01-16/ccd.026.0.fits.gz") as stream:
        assert len(stream.read()) % 2880 == 0


def test_the_fullest_night_of_an_archive_ends_before_noon():
    frames = simulate.archive_frames(date(2020, 2, 28), 2000)
    assert {frame.night_and_hours[0] for frame in frames} == {date(2020, 2, 28)}
    assert len({frame.file for frame in frames}) == 2000


def test_an_archive_is_the_same_from_many_processes(tmp_path):
    camera = simulate.SimulatedCamera(nx=16, ny=12)
    for workers in (1, 2):
        simulate.simulate_archive(
            tmp_path / str(workers), nights=2, frames_per_night=2, camera=camera, workers=workers
        )
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def test_an_archive_is_not_mixed_with_other_files(tmp_path):
    (tmp_path / "own.fits").write_bytes(b"precious")
    with pytest.raises(UserError, match="files that the simulator did not write"):
        simulate.simulate_archive(tmp_path, nights=1, frames_per_night=1)
    assert set(files_of(tmp_path)) == {"own.fits"}


@pytest.mark.parametrize(
    ("originals", "raw", "words"),
    [
        ("a", "a", "the folder is that of the originals"),
        ("a", "a/b", r"the folder lies in that of the originals \(\S+/a\)"),
        ("a/b", "a", r"the folder of the originals \(\S+/a/b\) lies in it"),
    ],
)
def test_a_telescope_writes_over_no_original(tmp_path, originals, raw, words):
    with pytest.raises(UserError, match=f"^raw: {words} "):
        next(observe(tmp_path / originals, tmp_path / raw, every=0.0))


# --------------------------------------------------------------------------- the command line


def test_the_command_line_names_the_files_written_and_their_folder(tmp_path, capsys):
    folder = tmp_path / "night"
    assert command_line.main([str(folder), "--scale", "0.0078125", "--seed", "5"]) == 0
    output = capsys.readouterr().out
    assert f"24 simulated frames of 48 x 32 are in {folder}" in output
    assert simulate.read_truth(folder).parameters["seed"] == 5


def test_command_line_makes_biases_and_archives(tmp_path, capsys):
    assert command_line.main([str(tmp_path / "b"), "--biases", "2", "--scale", "0.0078125"]) == 0
    assert command_line.main([str(tmp_path / "a"), "--nights", "1", "--frames-per-night", "3"]) == 0
    assert "3 simulated frames were added" in capsys.readouterr().out
    assert len(list(tmp_path.rglob("*.fits.gz"))) == 5


def test_command_line_reports_an_error_in_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    assert command_line.main([str(tmp_path / "file" / "night"), "--scale", "0.01"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "cannot make the folder" in error
