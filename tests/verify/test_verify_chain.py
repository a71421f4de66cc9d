"""Combined darks, flats and calibrated frames made again; every change of them is found."""

import shutil

import numpy as np
import pytest
import small_chain
from astropy.io import fits
from edited_products import card, rewrite
from verified_chain import first_product, make_chain

from ccdflow.kinds import verification
from ccdflow.verify import selection, verdicts


@pytest.fixture(scope="module")
def reduced_chain(tmp_path_factory):
    """The tiny night of two amplifiers: (raw folder, results folder)."""
    top = tmp_path_factory.mktemp("chain")
    return make_chain(top)


@pytest.fixture
def copy(reduced_chain, tmp_path):
    """A copy of the night that a test may change."""
    shutil.copytree(reduced_chain[1], tmp_path / "results")
    return reduced_chain[0], tmp_path / "results"


def look(product, folders):
    raw, results = folders
    return verdicts.verify(product, raw=raw, results=results, compares_all_rows=True)


KINDS = ("reduced/science", "combined/bias", "combined/dark", "combined/flat", "calibrated/science")


def test_every_product_is_verified(reduced_chain):
    products = selection.files_of(reduced_chain[1])
    outcomes = {product: look(product, reduced_chain) for product in products}
    assert {p: (v.verdict, v.reason) for p, v in outcomes.items() if v.verdict != "verified"} == {}
    assert {product.partition("/")[0] for product in outcomes} == {
        "reduced",
        "combined",
        "calibrated",
    }
    ny, nx = small_chain.SHAPE
    assert {verdict.pixels for verdict in outcomes.values()} == {ny * nx}


@pytest.mark.parametrize("kind", KINDS)
def test_every_flipped_bit_is_found(copy, kind):
    product, rng = first_product(copy[1], kind), np.random.default_rng(18)
    path = copy[1] / product
    sound = path.read_bytes()
    for _ in range(40):
        changed = bytearray(sound)
        where = int(rng.integers(0, len(sound) if rng.random() < 0.5 else 2880 * 2))
        changed[where] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(changed)
        assert look(product, copy).verdict == "differs", where


def _pixel(step):
    def change(hdu):
        hdu.data[50, 41] += step

    return change


@pytest.mark.parametrize(
    ("kind", "change", "hdu", "reason"),
    [
        ("combined/dark", _pixel(0.1), 0, "at least 1 pixel differs"),
        ("combined/flat", _pixel(1e-5), 0, "at least 1 pixel differs"),
        ("calibrated/science", _pixel(0.1), 0, "at least 1 pixel differs"),
        ("combined/flat", _pixel(1e-4), 1, "1 standard errors"),
        ("calibrated/science", _pixel(1e-3), 1, "1 standard errors"),
        ("calibrated/science", _pixel(128), 2, "1 pixels of the mask"),
        ("calibrated/science", card("SKYLVL", 7.0), 0, "SKYLVL is "),
        ("calibrated/science", card("NSAT", 7000), 0, "NSAT is "),
        ("calibrated/science", card("OBJECT", "another"), 0, "OBJECT is "),
        ("calibrated/science", card("DATE-OBS", "2001-01-01"), 0, "DATE-OBS is "),
        ("combined/flat", card("FLATLVL", 7.0), 0, "FLATLVL is "),
        ("combined/flat", card("IMLVL001", 7000.0), 0, " pixels differ"),
        ("combined/dark", card("NHOT", 7000), 0, "NHOT is "),
        ("combined/dark", card("IMGLEVEL", 7.0), 0, "IMGLEVEL is "),
        ("combined/dark", card("INSTRUME", "another"), 0, "INSTRUME is "),
        ("reduced/science", card("OBJECT", "another"), 0, "OBJECT is "),
    ],
)
def test_a_change_with_right_checksums_differs(copy, kind, change, hdu, reason):
    product = first_product(copy[1], kind)
    rewrite(copy[1] / product, change, hdu=hdu)
    outcome = look(product, copy)
    assert (outcome.verdict, reason in outcome.reason) == ("differs", True), outcome.reason


@pytest.mark.parametrize("kind", ["combined/bias", "combined/dark", "combined/flat"])
def test_a_master_exchanged_under_its_name_is_found_and_a_newer_one_is_no_success(copy, kind):
    product = first_product(copy[1], "calibrated/science")
    keyword = {"bias": "BIASIM", "dark": "DARKIM", "flat": "FLATIM"}[kind.partition("/")[2]]
    master = copy[1] / fits.getval(copy[1] / product, keyword)
    sound = master.read_bytes()

    def double_pixels(hdu):
        hdu.data = hdu.data * 2 + 1

    rewrite(master, double_pixels)
    assert look(product, copy).verdict == "differs"
    master.write_bytes(sound)
    rewrite(master, card("CCDFKEY", "0123456789abcdef"))
    outcome = look(product, copy)
    assert outcome.verdict == "cannot be made again"
    assert "was replaced by another" in outcome.reason
    master.unlink()
    outcome = look(product, copy)
    assert (outcome.verdict, "is missing" in outcome.reason) == ("cannot be made again", True)


def test_a_night_that_was_never_verified_has_the_page_it_had(copy, reduced_chain):
    class Context:
        results = copy[1]

        def lookup(self, name, make):
            return make()

    assert verification.page_basis(Context(), "2024-03-01") == {}
    (copy[1] / "verification.csv").write_text("no, table\n1,2\n")
    assert verification.page_basis(Context(), "2024-03-01") == {}
