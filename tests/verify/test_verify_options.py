"""Options of the configuration that change what a product is made of: no sound product differs."""

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from small_frames import run_jobs
from verified_chain import MADE_KINDS, first_product, verify_all_rows

from ccdflow.run.ledger import noted_fits_products
from ccdflow.verify import command, selection
from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.detector import detector_products
from ccdflow.verify.reading import stored_rows
from ccdflow.verify.reading.amplifier_places import place_of
from ccdflow.verify.reading.verdict import CannotRemake

ONE_AMPLIFIER = """\
recognise: {INSTRUME: "SIMCAM"}
site: {longitude: 0.0}
amplifiers:
  - {data: {python: "[3:98, 0:90]"}, overscan: {python: "[3:98, 103:107]"}, gain: 1.2,
     read_noise: 5.0, saturation: 65535}
reduction: {trim: false, mask: true}
"""


@pytest.fixture(scope="module")
def untrimmed_night(tmp_path_factory):
    """A night of one amplifier whose frames were left whole: (raw folder, results folder)."""
    top = tmp_path_factory.mktemp("untrimmed")
    counts = {"biases": 3, "darks": ((60.0, 3),), "flats": (("g", 3),)}
    chain = small_chain.make(top / "raw", science=(("g", 60.0, 1),), **counts)
    run_jobs(chain.raw, top / "results", {"simcam": ONE_AMPLIFIER}, kinds=MADE_KINDS)
    return chain.raw, top / "results"


def test_frames_that_were_left_whole_are_verified(untrimmed_night):
    """The light of a pixel's surroundings is that of the amplifier, without its overscan."""
    products = selection.files_of(untrimmed_night[1])
    outcomes = {product: verify_all_rows(product, untrimmed_night) for product in products}
    assert outcomes
    assert {p: v.reason for p, v in outcomes.items() if v.verdict != "verified"} == {}
    kinds = {"reduced", "bias", "dark", "flat", "calibrated"}
    assert {k for k in kinds if any(k in product for product in products)} == kinds
    header = fits.getheader(
        untrimmed_night[1] / first_product(untrimmed_night[1], "calibrated/science")
    )
    assert ("TRIM" in header, header["NAXIS1"] > 103) == (False, True)


@pytest.mark.parametrize("kind", ["combined/dark", "calibrated/science"])
def test_an_error_of_a_frame_that_was_left_whole_is_found(untrimmed_night, kind):
    path = untrimmed_night[1] / first_product(untrimmed_night[1], kind)
    sound = path.read_bytes()
    try:
        with fits.open(path, memmap=False) as hdus:
            hdus["UNCERT"].data[50, 41] *= 1.001
            hdus.writeto(path, overwrite=True, checksum=True)
        outcome = verify_all_rows(first_product(untrimmed_night[1], kind), untrimmed_night)
    finally:
        path.write_bytes(sound)
    assert (outcome.verdict, "1 standard errors" in outcome.reason) == ("differs", True), (
        outcome.reason
    )


@pytest.mark.parametrize(
    ("cards", "place"),
    [
        ({}, ((0, 9), (0, 20))),
        ({"OVERSCAN": "[18:20,1:9]"}, ((0, 9), (0, 17))),
        ({"OVERSCAN": "[1:3,1:9] [18:20,1:9]"}, ((0, 9), (3, 17))),
        ({"OVERSCAN": "[1:20,8:9]"}, ((0, 7), (0, 20))),
        ({"OVERSCAN": "[18:20,1:9]", "DATASEC": "[3:16, 2:9]"}, ((1, 9), (2, 16))),
        ({"OVERSCAN": "[18:20,1:9]", "DATASEC": "[1:20,1:9]"}, ((0, 9), (0, 17))),
        ({"OVERSCAN": "[18:20,1:9]", "TRIMSEC": "[3:16,1:9]"}, ((0, 9), (2, 16))),
        (
            {"OVERSCAN": "[18:20,1:9]", "DATSEC": "[1:9,1:9]", "DATASEC": "[3:16,1:9]"},
            ((0, 9), (0, 9)),
        ),
        ({"OVERSCAN": "[18:20,1:9]", "DATASEC": "[1:99,1:9]"}, ((0, 9), (0, 17))),
        ({"OVERSCAN": "[18:20,1:9]", "DATASEC": "[3:16,1:9]", "TRIM": "[1:9]"}, ((0, 9), (0, 20))),
    ],
)
def test_the_part_of_the_only_amplifier_follows_from_the_sections(cards, place):
    header = fits.Header({"NAXIS1": 20, "NAXIS2": 9, **cards})
    assert tuple((each.start, each.stop) for each in place_of(header, "")) == place


def _measurement():
    """Return the HDUs of a night's table of pixels."""
    pixels = np.rec.fromarrays(
        [
            np.array(each, "i2")
            for each in ([0, 0], [3, 5], [1, 1], [8, 0], [0, 16], [0, 0], [0, 0])
        ],
        names="IMAGE,X,Y,DARK,FLAT,LEVELS,DEEP",
    )
    weak = np.rec.fromarrays(
        [np.array([0, 0], "i2"), np.array([2, 4]), np.array([1, 1]), np.array([-3, -4], "f4")],
        names="IMAGE,X,Y,SIGMA",
    )
    first = fits.PrimaryHDU()
    first.header.update({"CCDFCAM": "cam", "NIGHT": "2024-03-01", "LOOKED": "dark flat"})
    tables = [fits.BinTableHDU(each, name=n) for each, n in ((pixels, "PIXELS"), (weak, "WEAK"))]
    return fits.HDUList([first, *tables])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hdus: hdus[0].header.set("CALIBRAT", 1), "no card CALIBRAT into PRIMARY"),
        (lambda hdus: hdus[2].header.set("HOAX", 1), "no card HOAX into WEAK"),
        (lambda hdus: hdus[0].header.set("CCDFCAM", "other"), "CCDFCAM is cam"),
        (
            lambda hdus: hdus["WEAK"].data["SIGMA"].__imul__(-1),
            "below 0, and has 3",
        ),
        (lambda hdus: hdus["WEAK"].data["X"].__iadd__([9, 0]), "the lines of WEAK are not"),
        (lambda hdus: hdus.append(fits.ImageHDU(name="MORE")), "its HDUs are not those"),
    ],
)
def test_cards_and_lines_that_no_table_of_pixels_has_differ(tmp_path, change, reason):
    path = tmp_path / "detector/cam/2024-03-01/pixels_x.fits"
    path.parent.mkdir(parents=True)

    def look_at(hdus):
        hdus.writeto(path, overwrite=True)
        headers = [hdu.header for hdu in hdus]
        return detector_products.verify_detector(headers, path, tmp_path)

    with pytest.raises(CannotRemake, match="the header lacks IMCOM001"):
        look_at(_measurement())
    hdus = _measurement()
    change(hdus)
    with pytest.raises(Differs, match=reason):
        look_at(hdus)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "member.fits").write_bytes(b"")
    with pytest.raises(CannotRemake, match=r"member\.fits, which it is made of, is empty"):
        stored_rows.open_product(tmp_path / "member.fits")


def test_results_without_notes_of_a_run_are_reported_as_such(untrimmed_night):
    product = first_product(untrimmed_night[1], "combined/bias")
    request = command.VerifyRequest(product_names=(product,))
    text, status = command.verify_and_report(*untrimmed_night, request, notes_by_product={})
    first, last = text.splitlines()
    assert ("no notes of a run" in first, "1 of 1 products" in last, status) == (True, True, 0)
    text, _ = command.verify_and_report(
        *untrimmed_night, request, notes_by_product=noted_fits_products(untrimmed_night[1])
    )
    assert len(text.splitlines()) == 1
