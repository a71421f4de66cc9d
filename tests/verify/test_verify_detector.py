"""A night's tables of bad pixels and maps of a shutter made again; a forged bit, card or cell."""

import io
import re

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from small_frames import run_jobs
from verified_chain import make_chain

from ccdflow import simulate
from ccdflow.detector.pixels.response import ContrastSum
from ccdflow.mask_bits import DEAD
from ccdflow.run.ledger import noted_fits_products
from ccdflow.verify import selection, verdicts
from ccdflow.verify.detector import flat_pixels
from ccdflow.verify.detector.flat_pixels import measure_contrast
from ccdflow.verify.detector.pixel_bits import OpenBits
from ccdflow.verify.reading.measured_gains import measured_gains
from ccdflow.verify.reading.verdict import NotedProduct

MADE_KINDS = ("frame", "bias", "dark", "flat", "detector", "shutter", "science", "bad pixels")
STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d?|EXTEND|[PG]COUNT|TFIELDS|T(TYPE|FORM)\d|EXTNAME|CHECKSUM"
    r"|DATASUM|CCDFKEY|COMMENT|"
)


@pytest.fixture(scope="module")
def measured_night(tmp_path_factory):
    """Darks of two exposures, flats of two levels under a shutter: (raw, results)."""
    top = tmp_path_factory.mktemp("detector")
    detector = simulate.draw_detector(small_chain.SHAPE, seed=3, shutter=0.02)
    options = {"detector": {"enabled": True}}
    return make_chain(
        top, options, kinds=MADE_KINDS, detector=detector, flats=(("g", 3, 8.0), ("g", 3, 2.0)),
        flat_exptime=8.0, science=(("g", 60.0, 1),), lamp_drift=0.0,
    )  # fmt: skip


def product_of(night, start):
    (product,) = [n for n in selection.files_of(night[1]) if n.rpartition("/")[2].startswith(start)]
    return product


def look(night, product, **options):
    return verdicts.verify(product, raw=night[0], results=night[1], **options)


def verdict_on_forgery(night, product, change):
    """Return the verdict on a product that was changed and signed again."""
    path = night[1] / product
    sound = path.read_bytes()
    try:
        with fits.open(io.BytesIO(sound), memmap=False) as hdus:
            change(hdus)
            hdus.writeto(path, overwrite=True, checksum=True)
        return look(night, product)
    finally:
        path.write_bytes(sound)


def test_all_products_of_the_detector_are_verified(measured_night):
    outcomes = {
        start: look(measured_night, product_of(measured_night, start))
        for start in ("pixels_", "shutter_", "bad_")
    }
    assert {start: (v.verdict, v.reason) for start, v in outcomes.items()} == dict.fromkeys(
        outcomes, ("verified", "")
    )
    assert {start: v.unit for start, v in outcomes.items()} == {
        "pixels_": "sigma", "shutter_": "s", "bad_": "",
    }  # fmt: skip
    ny, nx = small_chain.SHAPE
    assert outcomes["pixels_"].pixels == ny * nx
    header = fits.getheader(measured_night[1] / product_of(measured_night, "pixels_"))
    assert header["LOOKED"] == "dark deep flat levels"
    with fits.open(measured_night[1] / product_of(measured_night, "pixels_")) as hdus:
        lines = hdus["PIXELS"].data
        assert {name: bool(lines[name].any()) for name in ("DARK", "FLAT", "LEVELS")} == {
            "DARK": True, "FLAT": True, "LEVELS": True,
        }  # fmt: skip


def response(flat, error, parts):
    contrasts = ContrastSum(parts)
    contrasts.add(flat, error)
    return contrasts.response()


@pytest.mark.parametrize("shape", [(262, 130), (517, 60), (40, 300)])
@pytest.mark.parametrize("several", [False, True])
def test_contrast_of_flats_of_any_size_is_that_of_the_measurement(shape, several):
    """Few blocks on a side, a last strip lower than a block, a step between amplifiers."""
    rng, middle = np.random.default_rng(8), shape[1] // 2
    y, x = (np.linspace(-1, 1, n) for n in shape)
    flat = (1 + 0.1 * np.outer(y, x) + rng.normal(0, 0.01, shape)).astype(np.float32)
    low = rng.integers(0, flat.size, 90)
    flat.ravel()[low] -= rng.uniform(0.02, 0.09, 90).astype(np.float32)
    parts = [np.s_[:, :middle], np.s_[:, middle:]] if several else [np.s_[:, :]]
    flat[parts[-1]] *= np.float32(1.05 if several else 1)
    error = np.full(shape, 0.01, np.float32)
    made = response(flat, error, parts)
    bits = OpenBits(shape)
    again = flat_pixels.measure_contrast([(flat.astype(float), error)], bits, parts=parts)
    assert bits.count_wrong(made.mask) == 0
    assert np.count_nonzero(made.mask & 16) > 30
    assert again.noise_fraction == pytest.approx(made.weak.noise_fraction, rel=1e-4)
    assert again.sigma.ravel()[made.weak.index] == pytest.approx(made.weak.sigma, abs=2e-3)


def test_a_sample_has_tables_and_maps_of_frames_that_are_small(measured_night, monkeypatch):
    """The guide's own are too large: a line says how many are left out."""
    made = {
        product: NotedProduct(*one)
        for product, one in noted_fits_products(measured_night[1]).items()
    }
    row = {"camera": "simcam", "type": "bias", "night": "2024-03-01"}
    monkeypatch.setattr(selection, "_lines_of_inventory", lambda results: {"bias1.fits": row})
    table, shutter = (product_of(measured_night, start) for start in ("pixels_", "shutter_"))
    chosen, large = selection.sample_of_products(measured_night[1], made)
    assert {table, shutter} <= set(chosen)
    assert large == []
    monkeypatch.setattr(selection, "MOST_BYTES", 100_000)
    fewer, large = selection.sample_of_products(measured_night[1], made)
    assert (sorted(set(chosen) - set(fewer)), sorted(large)) == ([table, shutter],) * 2


def flip(column, bit, place):
    def change(hdus):
        hdus["PIXELS"].data[column][place] ^= bit

    return change


def lose_line(table):
    def change(hdus):
        lines = hdus[table].data
        hdus[table].data = lines[np.arange(len(lines)) != len(lines) // 2]

    return change


def swap_lines(table):
    def change(hdus):
        lines = hdus[table].data
        order = np.arange(len(lines))
        order[[1, 4]] = 4, 1
        hdus[table].data = lines[order]

    return change


def add_line(hdus):
    lines = hdus["PIXELS"].data
    used = set(zip(lines["Y"].tolist(), lines["X"].tolist(), strict=True))
    y, x = next((y, x) for y in range(40, 60) for x in range(40, 60) if (y, x) not in used)
    at = int(np.searchsorted(lines["Y"] * 1000 + lines["X"], y * 1000 + x))
    new = np.insert(np.asarray(lines), at, np.asarray(lines)[0])
    new["Y"][at], new["X"][at], new["DARK"][at] = y, x, 8
    hdus["PIXELS"].data = new


def sigma(hdus):
    hdus["WEAK"].data["SIGMA"][7] *= 1.01


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (flip("DARK", 8, 3), "pixels have other bits in DARK"),
        (flip("DARK", 4096, 5), "pixels have other bits in DARK"),
        (flip("FLAT", 16, 1), "pixels have other bits in FLAT"),
        (flip("LEVELS", 32, 2), "pixels have other bits in LEVELS"),
        (flip("DEEP", 32, 2), "pixels have other bits in DEEP"),
        (lose_line("PIXELS"), "pixels have other bits in "),
        (lose_line("WEAK"), "1 pixels of WEAK are not"),
        (swap_lines("PIXELS"), "order"),
        (swap_lines("WEAK"), "order"),
        (add_line, "1 pixels have other bits in DARK"),
        (sigma, "1 numbers in SIGMA differ"),
    ],
)
def test_a_forged_bit_line_or_sigma_of_a_night_differs(measured_night, change, reason):
    outcome = verdict_on_forgery(measured_night, product_of(measured_night, "pixels_"), change)
    assert (outcome.verdict, reason in outcome.reason) == ("differs", True), outcome.reason


@pytest.mark.parametrize(("name", "factor"), [("EXCESS", 1.001), ("ERROR", 1.01)])
def test_a_forged_cell_of_a_shutter_differs(measured_night, name, factor):
    def change(hdus):
        hdus[name].data[2, 3] += (factor - 1) * np.abs(hdus[name].data).max()

    outcome = verdict_on_forgery(measured_night, product_of(measured_night, "shutter_"), change)
    assert (outcome.verdict, f"1 cells of {name}" in outcome.reason) == ("differs", True), (
        outcome.reason
    )


@pytest.mark.parametrize("keyword", ["MODGN", "MODRN"])
def test_a_shutter_map_without_a_gain_or_noise_is_older(measured_night, keyword):
    def change(hdus):
        del hdus[0].header[keyword]

    outcome = verdict_on_forgery(measured_night, product_of(measured_night, "shutter_"), change)
    assert (outcome.cause, outcome.reason) == (
        "older", f"the header lacks {keyword}: it is of an older version"
    )  # fmt: skip


def reshape_cells(hdus):
    for name in ("EXCESS", "ERROR"):
        hdus[name].data = hdus[name].data.reshape(-1, hdus[name].data.shape[1] // 2)


def cut_cells(hdus):
    for name in ("EXCESS", "ERROR"):
        hdus[name].data = hdus[name].data[:1]


def make_infinite(hdus):
    hdus["EXCESS"].data[2, 3] = np.inf


def lose_error(hdus):
    del hdus["ERROR"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (reshape_cells, "the shape of EXCESS should be (6, 6), and it is (12, 3)"),
        (cut_cells, "the shape of EXCESS should be (6, 6), and it is (1, 6)"),
        (make_infinite, "1 cells of EXCESS differ"),
        (lose_error, "its images should be EXCESS, ERROR, and it has EXCESS"),
    ],
)
def test_a_cut_shutter_map_differs(measured_night, change, reason):
    """Cells were compared one after the other, and those that were cut off were not missed."""
    outcome = verdict_on_forgery(measured_night, product_of(measured_night, "shutter_"), change)
    assert (outcome.verdict, reason in outcome.reason) == ("differs", True), outcome.reason


def test_an_unknown_use_of_a_master_is_named(measured_night):
    def change(hdus):
        hdus[0].header["IMUSE001"] = "light"

    outcome = verdict_on_forgery(measured_night, product_of(measured_night, "pixels_"), change)
    assert (outcome.verdict, outcome.reason) == (
        "differs", "IMUSE001 should be one of dark, flat, spectrum, not used, and is 'light'"
    )  # fmt: skip


@pytest.mark.parametrize("rows", [-1, 1])
def test_a_grown_or_cut_map_of_bad_pixels_differs(measured_night, rows):
    """A map with more rows was verified, and one with fewer ended the verification."""
    ny, nx = small_chain.SHAPE

    def change(hdus):
        mask = hdus["MASK"].data
        hdus["MASK"].data = np.pad(mask, ((0, 1), (0, 0))) if rows == 1 else mask[:-1]

    outcome = verdict_on_forgery(measured_night, product_of(measured_night, "bad_"), change)
    assert outcome.verdict == "differs"
    assert f"should be [({ny}, {nx})]" in outcome.reason
    assert outcome.reason.endswith(f"and are [({ny + rows}, {nx})]")


def test_a_map_of_nights_without_masters_has_no_shape_to_compare(measured_night):
    moved = [path for path in (measured_night[1] / "combined").rglob("*.fits")]
    for path in moved:
        path.rename(path.with_suffix(".away"))
    try:
        outcome = look(measured_night, product_of(measured_night, "bad_"))
    finally:
        for path in moved:
            path.with_suffix(".away").rename(path)
    assert (outcome.verdict, outcome.cause) == ("cannot be made again", "missing")


def other_value(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value * 1.01 + 0.001
    return "X" + str(value)[1:]


@pytest.mark.parametrize("start", ["pixels_", "shutter_", "bad_pixels_"])
@pytest.mark.parametrize("what", ["changed", "deleted"])
def test_no_card_can_be_changed_or_deleted(measured_night, start, what):
    product = product_of(measured_night, start)
    path = measured_night[1] / product
    cards = [k for k in fits.getheader(path) if not STRUCTURE.fullmatch(k)]
    believed = set()
    for keyword in cards[:: 1 if len(cards) < 30 else 5]:

        def change(hdus, keyword=keyword):
            if what == "deleted":
                del hdus[0].header[keyword]
            else:
                hdus[0].header[keyword] = other_value(hdus[0].header[keyword])

        if verdict_on_forgery(measured_night, product, change).verdict == "verified":
            believed.add(keyword)
    # Limits that give the same pixels, counts of nights, and the camera's epoch.
    assert believed <= {"HOTRATE", "LOWSIGMA", "BPNIGHTS", "BPSHARE", "EPOCH", "NNIGHTS", "BUNIT"}


def test_the_notes_of_the_run_have_the_settings(measured_night):
    product = product_of(measured_night, "pixels_")
    made = NotedProduct(*noted_fits_products(measured_night[1])[product])
    assert look(measured_night, product, product_notes=made).verdict == "verified"
    path = measured_night[1] / product
    sound = path.read_bytes()
    try:
        with fits.open(io.BytesIO(sound), memmap=False) as hdus:
            hdus[0].header["HOTRATE"] += 1e-6
            hdus.writeto(path, overwrite=True, checksum=True)
        assert look(measured_night, product).verdict == "verified"
        outcome = look(measured_night, product, product_notes=made)
    finally:
        path.write_bytes(sound)
    assert (outcome.verdict, "HOTRATE is 0.5 in the notes" in outcome.reason) == ("differs", True)


def test_amplifiers_without_gains_are_compared_each_with_itself():
    rng, shape = np.random.default_rng(5), (96, 120)
    parts = [np.s_[:, :60], np.s_[:, 60:]]
    flat = rng.normal(1, 0.01, shape)
    flat[40, 30] = 0.92
    flat[parts[1]] *= 0.7
    pair = flat, 0.01 * flat
    mask = response(*pair, parts).mask
    assert mask[40, 30] == DEAD
    wrong = []
    for own in (parts, [np.s_[:, :]]):
        bits = OpenBits(shape)
        measure_contrast([pair], bits, 4.5, own)
        wrong.append(bits.count_wrong(mask))
    assert wrong[0] == 0
    assert wrong[1] > 20


def test_measured_gains_are_those_of_an_amplifier_a_camera_and_a_night(tmp_path):
    table = tmp_path / "detector.csv"
    assert measured_gains(table, "A") == []
    table.write_text(
        "camera,night,amplifier,gain\n"
        "one,2026-01-01,A,1.5\none,2026-01-02,A,\none,2026-01-02,B,2.5\ntwo,2026-01-02,A,3.5\n"
    )
    assert measured_gains(table, "") == [1.5, 2.5, 3.5]
    assert measured_gains(table, "A") == [1.5, 3.5]
    assert measured_gains(table, "A", camera="two") == [3.5]
    assert measured_gains(table, "", night="2026-01-02") == [2.5, 3.5]


@pytest.fixture(scope="module")
def night_of_measured_gains(tmp_path_factory):
    """The gains are in no profile, and detector.csv has them: (raw, results)."""
    top = tmp_path_factory.mktemp("gains")
    chain = small_chain.make(top / "raw", flats=(("g", 4, 8.0), ("g", 4, 2.0)), science=())
    profile = "\n".join(line for line in chain.profile.splitlines() if "gain" not in line)
    run_jobs(
        chain.raw, top / "results", {"simcam": profile}, kinds=(*MADE_KINDS, "detector table"),
        detector={"enabled": True},
    )  # fmt: skip
    return chain.raw, top / "results"


def test_a_measured_gain_is_that_of_the_table(night_of_measured_gains):
    """Without the table the gain was believed."""
    night, product = night_of_measured_gains, product_of(night_of_measured_gains, "pixels_")
    table = night[1] / "detector.csv"
    outcome = look(night, product)
    assert (outcome.verdict, outcome.reason) == ("verified", "")

    def change(hdus):
        hdus[0].header["MODGN01"] *= 1.001

    outcome = verdict_on_forgery(night, product, change)
    assert (outcome.verdict, "in detector.csv, and its card has 1.2" in outcome.reason) == (
        "differs", True
    )  # fmt: skip
    table.rename(table.with_suffix(".away"))
    outcome = look(night, product)
    table.with_suffix(".away").rename(table)
    assert (outcome.verdict, outcome.cause) == ("cannot be made again", "missing")
    assert "detector.csv has no gain of this night" in outcome.reason


def test_flats_that_are_masked_whole_are_of_neither_level():
    levels = np.array([np.nan, 4000.0, 20_000.0, 4100.0, np.nan, 19_500.0])
    faint, bright = flat_pixels.faint_and_bright(levels)
    assert (faint.tolist(), bright.tolist()) == ([1, 3], [2, 5])
    assert flat_pixels.faint_and_bright(levels[:5]) is None
    assert flat_pixels.faint_and_bright(np.full(4, np.nan)) is None
