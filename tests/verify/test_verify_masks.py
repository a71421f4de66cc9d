"""The mask of a calibrated frame: every bit is made again, whether it is set or missing."""

from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from edited_products import rewrite
from small_frames import run_jobs

from ccdflow import mask_bits
from ccdflow.verify import verdicts
from ccdflow.verify.calibrated import masking, remade_calibration
from ccdflow.verify.comparing.amplifiers import VerifiedAmplifier

MADE_KINDS = ("frame", "bias", "dark", "flat", "detector", "science")
SCIENCE = "calibrated/two/science_g1.fits"
BITS = [
    value for name, value in vars(mask_bits).items() if name.isupper() and isinstance(value, int)
]


@pytest.fixture(scope="module")
def masked_night(tmp_path_factory):
    """A frame with full stars, hits, a dark that is too short, and bad pixels of two nights."""
    top = tmp_path_factory.mktemp("masks")
    counts = {"biases": 3, "darks": ((30.0, 3),)}
    chain = small_chain.make(top / "raw" / "one", flats=(), science=(), **counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_chain, "EVENING", small_chain.EVENING + timedelta(days=1))
        small_chain.make(
            top / "raw" / "two", flats=(("g", 3),), science=(("g", 60.0, 1),), cosmic_rays=2e-5,
            **counts,
        )  # fmt: skip
    profile = chain.profile.replace("saturation: 65535", "saturation: 2500")
    options = {"detector": {"enabled": True}, "calibrate": {"cosmic_rays": True}}
    profile += "linear: 2000\n"
    run_jobs(top / "raw", top / "results", {"simcam": profile}, kinds=MADE_KINDS, **options)
    return top / "raw", top / "results"


def look(night):
    return verdicts.verify(SCIENCE, raw=night[0], results=night[1])


def test_every_bit_of_a_mask_is_made_again(masked_night, monkeypatch):
    """Each pixel must have exactly its bits: no other mask would pass."""
    kept, check = [], masking.ExpectedMask.check

    def note(expected, mask):
        kept.append(expected)
        check(expected, mask)

    monkeypatch.setattr(masking.ExpectedMask, "check", note)
    path = masked_night[1] / SCIENCE
    header, mask = fits.getheader(path), fits.getdata(path, "MASK")
    assert (header["BPMNTS"], header["BPMSHARE"], header["COSMICS"]) == (2, 0.7, "found")
    outcome = look(masked_night)
    assert (outcome.verdict, outcome.reason) == ("verified", "")
    (expected,) = kept
    assert (expected.required_bits == mask).all()
    assert (expected.allowed_bits == mask).all()
    there = {bit for bit in BITS if (mask & bit).any()}
    assert {1, 8, 64, 256, 512, 1024} <= there


@pytest.mark.parametrize(("bit", "is_set"), [(64, True), (1024, False)])
def test_a_bit_that_was_flipped_differs(masked_night, bit, is_set):
    path = masked_night[1] / SCIENCE
    sound, mask = path.read_bytes(), fits.getdata(path, "MASK")
    y, x = np.argwhere((mask & bit != 0) if is_set else mask == 0)[3]

    def change(hdu):
        hdu.data[y, x] ^= bit

    rewrite(path, change, hdu="MASK")
    outcome = look(masked_night)
    path.write_bytes(sound)
    assert outcome.verdict == "differs"
    assert outcome.reason == f"1 pixels of the mask have other bits than they must (of {bit})"


@pytest.mark.parametrize("keyword", ["BPMIM02", "BPMSHARE", "CRFWHM"])
def test_a_mask_whose_sources_are_not_named_cannot_be_made_again(masked_night, keyword):
    path = masked_night[1] / SCIENCE
    sound = path.read_bytes()
    rewrite(path, lambda hdu: hdu.header.remove(keyword))
    outcome = look(masked_night)
    path.write_bytes(sound)
    assert (outcome.verdict, outcome.cause) == ("cannot be made again", "older")
    assert f"the header lacks {keyword}: it" in outcome.reason


@pytest.mark.parametrize(("keyword", "value"), [("CRCONTR", 50.0), ("LINRAW01", 2100.0)])
def test_an_argument_that_was_changed_differs(masked_night, keyword, value):
    path = masked_night[1] / SCIENCE
    sound = path.read_bytes()
    rewrite(path, lambda hdu: hdu.header.__setitem__(keyword, value))
    outcome = look(masked_night)
    path.write_bytes(sound)
    assert outcome.verdict == "differs"


@pytest.mark.parametrize("level", [812.3456, 1234.5678, 12345.654])
def test_the_digits_that_the_card_of_a_level_lacks_decide_on_no_pixel(level):
    """The maker subtracts a level of all digits; a frame whose level is high is sound as well."""
    raw = np.array([[49_999.0, 50_000.0, 50_001.0]])
    whole = (slice(0, 1), slice(0, 3))
    image = SimpleNamespace(
        reduced=(raw - level).astype(np.float32), readouts=[VerifiedAmplifier(whole, "")]
    )
    header, reduced_header = {"LINRAW": 50_000.0}, {"BIASLVL": float(f"{level:.6g}")}
    expected = masking.ExpectedMask(np.zeros(raw.shape, np.int16))
    masking.add_not_linear(expected, np.zeros(raw.shape, np.int16), image, header, reduced_header)
    expected.check(np.array([[0, 0, mask_bits.NOT_LINEAR]], np.int16))
    assert (expected.required_bits == [[0, 0, mask_bits.NOT_LINEAR]]).all()

    header = {"SATMEAS": 50_003.0}
    surely, perhaps = (
        remade_calibration.saturated_pixels(
            image.reduced, header, reduced_header, image.readouts, side=side
        )
        for side in (1, -1)
    )
    assert surely.tolist() == [[False, False, True]]
    assert perhaps.tolist() == [[False, True, True]]
