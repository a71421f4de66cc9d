"""A window calibrated by hand with masters of the whole chip."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from refusals import refusal_of

import calibrate
from ccdflow.calibrate.master_store import MasterStore
from ccdflow.errors import FrameError
from ccdflow.kinds.masters.master_reading import read_applied_master

CHIP, WINDOW = (90, 120), (slice(20, 70), slice(30, 100))
SECTION = "[31:100,21:70]"


def write(path, data, cards, **extensions):
    """Write a product: image, and extensions by name."""
    hdus = fits.HDUList([fits.PrimaryHDU(data.astype(np.float32))])
    hdus[0].header.update(cards)
    for name, values in extensions.items():
        hdus.append(fits.ImageHDU(values, name=name))
    hdus.writeto(path, overwrite=True, checksum=True)
    return path


def pixels(seed):
    """Return (data, error, mask) of bias, dark and flat of the chip, and the frame's window."""
    random = np.random.default_rng(seed)
    levels = {"bias": (2.0, 0.6), "dark": (5.0, 0.8), "flat": (1.0, 0.01)}
    made = {}
    for kind, (level, error) in levels.items():
        mask = np.zeros(CHIP, np.int16)
        mask[25:28, 40] = 4
        data = level + error * random.standard_normal(CHIP)
        made[kind] = data, np.full(CHIP, error, np.float32), mask
    return made, 400 + 15 * random.standard_normal(CHIP)


def masters(folder, made, *, part=(slice(None), slice(None)), **changed):
    """Write masters, or a part of them, and return the words that name them."""
    cards = {
        "bias": {"CCDFKEY": "b"},
        "dark": {"BIASKEY": "b", "EXPTIME": 60.0},
        "flat": {"BIASKEY": "b", "FLATLVL": 2e4},
    }
    words = []
    for kind, (data, error, mask) in made.items():
        own = {"BUNIT": "adu", "NCOMBINE": 9, "CCDSEC": "[1:120,1:90]"} | cards[kind] | changed
        own = {keyword: value for keyword, value in own.items() if value is not None}
        path = write(folder / f"{kind}.fits", data[part], own, UNCERT=error[part], MASK=mask[part])
        words.append(f"{kind}={path}")
    return words


def frame(folder, data, window=WINDOW, **changed):
    """Write a window of the frame."""
    cards = {
        "BUNIT": "adu", "EXPTIME": 60.0, "GAIN": 1.5, "RDNOISE": 6.0, "OVERSCAN": "[121:140,1:90]",
        "CCDSEC": SECTION,
    } | changed  # fmt: skip
    cards = {keyword: value for keyword, value in cards.items() if value is not None}
    return str(write(folder / "s.fits", data[window], cards))


def test_a_window_is_calibrated_as_with_masters_of_the_window(tmp_path):
    made, data = pixels(3)
    (tmp_path / "cut").mkdir()
    path = frame(tmp_path, data)
    whole = masters(tmp_path, made)
    small = masters(tmp_path / "cut", made, part=WINDOW)
    assert calibrate.main([f"out={tmp_path / 'a'}", path, *whole]) == 0
    assert calibrate.main([f"out={tmp_path / 'b'}", path, *small]) == 0
    with fits.open(tmp_path / "a/s.fits") as one, fits.open(tmp_path / "b/s.fits") as other:
        for name in (0, "UNCERT", "MASK"):
            assert (one[name].data == other[name].data).all(), name
        assert np.count_nonzero(one["MASK"].data) == 3
        expected = (data - made["bias"][0] - made["dark"][0])[WINDOW] / made["flat"][0][WINDOW]
        good = one["MASK"].data == 0
        np.testing.assert_allclose(one[0].data[good], 1.5 * expected[good], rtol=1e-5)
        history = str(one[0].header["HISTORY"])
        assert one[0].header["CALGRADE"] == "B"
        assert "bias cut to its pixels [31:100,21:70]" in " ".join(history.split())
        assert other[0].header["CALGRADE"] == "A"


@pytest.mark.parametrize(
    ("window", "section"),
    [
        ((slice(20, 70), slice(None)), "[1:120,21:70]"),
        ((slice(None), slice(30, 100)), "[31:100,1:90]"),
    ],
)
def test_a_window_as_wide_or_as_high_as_the_chip_is_a_window(tmp_path, window, section):
    made, data = pixels(3)
    path = frame(tmp_path, data, window, CCDSEC=section)
    assert calibrate.main([f"out={tmp_path / 'a'}", path, *masters(tmp_path, made)]) == 0
    with fits.open(tmp_path / "a/s.fits") as product:
        expected = (data - made["bias"][0] - made["dark"][0])[window] / made["flat"][0][window]
        good = product["MASK"].data == 0
        np.testing.assert_allclose(product[0].data[good], 1.5 * expected[good], rtol=1e-5)
        history = " ".join(str(product[0].header["HISTORY"]).split())
        assert f"bias cut to its pixels {section}" in history


def test_a_window_of_a_reversed_chip_is_counted_from_the_other_side(tmp_path):
    """Where columns run the other way, the window is counted from the other side."""
    made, data = pixels(4)
    words = masters(tmp_path, made, CCDSEC="[120:1,1:90]")
    path = frame(tmp_path, data, CCDSEC="[90:21,21:70]")
    assert calibrate.main([f"out={tmp_path / 'a'}", path, *words, "--image-only"]) == 0
    expected = (data - made["bias"][0] - made["dark"][0])[WINDOW] / made["flat"][0][WINDOW]
    calibrated = fits.getdata(tmp_path / "a/s.fits")
    good = made["bias"][2][WINDOW] == 0
    np.testing.assert_allclose(calibrated[good], 1.5 * expected[good], rtol=1e-5)


def test_a_window_is_placed_by_its_origin_cards_alone(tmp_path):
    """MaxIm counts the origin in binned pixels of the raw frame; LTV tells of columns cut off."""
    made, data = pixels(4)
    binned = {"CCDSEC": None, "XBINNING": 2, "YBINNING": 2}
    words = masters(tmp_path, made, **binned, XORGSUBF=0, YORGSUBF=0, LTV1=-8.0)
    path = frame(tmp_path, data, **binned, XORGSUBF=36, YORGSUBF=20, LTV1=-2.0)
    assert calibrate.main([f"out={tmp_path / 'a'}", path, *words, "--image-only"]) == 0
    with fits.open(tmp_path / "a/s.fits") as hdus:
        assert hdus[0].header["FLATCUT"] == "[31:100,21:70]"
        expected = (data - made["bias"][0] - made["dark"][0])[WINDOW] / made["flat"][0][WINDOW]
        good = made["bias"][2][WINDOW] == 0
        np.testing.assert_allclose(hdus[0].data[good], 1.5 * expected[good], rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "of_frame", "of_masters"),
    [
        ("no card says where it lies", {"CCDSEC": None}, {}),
        ("no card says where it lies", {"CCDSEC": None, "DETSEC": SECTION}, {}),
        ("no card says", {"CCDSEC": None, "XORGSUBF": 30, "YORGSUBF": 20}, {"CCDSEC": None}),
        ("another binning", {"CCDSEC": "[31:170,21:120]"}, {}),
        ("another binning or direction", {"CCDSEC": "[100:31,21:70]"}, {}),
        ("not within the master's", {"CCDSEC": "[81:150,21:70]"}, {}),
        ("was read by several amplifiers, the window by one", {}, {"GAIN01": 1.5, "GAIN02": 1.6}),
        ("the bias level is still in the frame", {"OVERSCAN": None}, {}),
        ("CCDSEC: not a FITS section (found '[31:')", {"CCDSEC": "[31:"}, {}),
    ],
)
def test_a_master_that_cannot_be_cut_is_refused_in_one_line(
    tmp_path, capsys, words, of_frame, of_masters
):
    made, data = pixels(5)
    given = masters(tmp_path, made, **of_masters)
    path = frame(tmp_path, data, **of_frame)
    assert calibrate.main([f"out={tmp_path / 'out'}", path, *given]) == 1
    message = capsys.readouterr().err
    assert words in message
    assert "s.fits" in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out/s.fits").exists()


def test_a_window_that_was_planned_otherwise_than_the_cards_say_is_refused(tmp_path):
    """The frame's cards say [31:100,21:70], the plan of its raw header a column more."""
    made, data = pixels(6)
    masters(tmp_path, made)
    path = Path(frame(tmp_path, data))
    context = SimpleNamespace(results=tmp_path)
    plan = {"product": "flat.fits", "scale": 1.0, "lag": 0}
    use = SimpleNamespace(cut=SECTION, **plan)
    applied = read_applied_master(context, MasterStore(), "flat", use, path, None)
    assert applied.master.images[0].data.shape == (50, 70)
    use = SimpleNamespace(cut="[30:100,21:70]", **plan)
    assert refusal_of(read_applied_master, context, MasterStore(), "flat", use, path, None) == (
        FrameError,
        "s.fits: CCDSEC or DETSEC: its section on the chip differs from that of the raw frame's "
        "header (found '[31:100,21:70]'); allowed: [30:100,21:70] of flat.fits; delete it and make "
        "it again, as the next run of the workflow does",
    )
