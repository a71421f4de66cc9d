"""Raw files and products whose structure is no camera's: the whole line."""

import numpy as np
import pytest
from astropy.io import fits
from raw_layouts import read_layout
from refusals import refusal_of

from ccdflow.errors import DamagedProduct, FrameError
from ccdflow.files.fits_products.multi_image_products import read_stored_hdus


def header_of(*cards):
    """Return a FITS header of these cards, filled up to its block of 2880 bytes."""
    return "".join(f"{card:80}" for card in (*cards, "END")).ljust(2880).encode()


@pytest.mark.parametrize("value", ["7", "16.0", "'16'"])
def test_a_pixel_type_that_fits_does_not_have_is_refused(tmp_path, value):
    path = tmp_path / "a.fits"
    path.write_bytes(header_of("SIMPLE  = T", f"BITPIX  = {value}", "NAXIS   = 0"))
    assert refusal_of(read_layout, path, name="n1/a.fits") == (
        FrameError,
        f"n1/a.fits: BITPIX: not a FITS pixel type (found {value}); allowed: 8, 16, 32, 64, -32, "
        "-64; move the file out of the raw folder",
    )


def test_a_header_that_promises_more_pixels_than_any_disk_holds_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    axes = ("NAXIS   = 2", "NAXIS1  = 1000000000", "NAXIS2  = 1000000000")
    path.write_bytes(header_of("SIMPLE  = T", "BITPIX  = 16", *axes))
    assert refusal_of(read_layout, path, name="n1/a.fits") == (
        FrameError,
        "n1/a.fits: the header asks for more than 1e+18 bytes of pixels; move the file out of the "
        "raw folder",
    )


def test_an_extension_without_a_type_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    first = header_of("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T")
    path.write_bytes(first + header_of("XTENSION= 5", "BITPIX  = 8", "NAXIS   = 0"))
    assert refusal_of(read_layout, path, name="n1/a.fits") == (
        FrameError,
        "n1/a.fits: XTENSION: the extension does not name its kind (found 5); allowed: 'IMAGE', "
        "'BINTABLE' or another word in quotes; copy the file again from where it came from: a "
        "card of its header is damaged",
    )


def test_a_file_of_2001_hdus_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    first = header_of("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 0", "EXTEND  = T")
    next_one = header_of("XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 0")
    path.write_bytes(first + 1999 * next_one)
    assert len(read_layout(path, name="n1/a.fits").hdus) == 2000
    path.write_bytes(first + 2000 * next_one)
    assert refusal_of(read_layout, path, name="n1/a.fits") == (
        FrameError,
        "n1/a.fits: headers: the file has more headers than any camera writes; allowed: 2000 HDUs, "
        "16 MB of headers; move it out of the raw folder",
    )


@pytest.mark.parametrize("card", [("BSCALE", 2.0), ("BZERO", 32768.0)])
def test_a_product_of_scaled_pixels_is_damaged(tmp_path, card):
    path = tmp_path / "a.fits"
    fits.writeto(path, np.zeros((5, 7), np.float32))
    content = bytearray(path.read_bytes())
    place = content.index(b"END" + b" " * 77)
    text = f"{card[0]:8}= {card[1]:20}".ljust(80) + "END".ljust(80)
    content[place : place + 160] = text.encode()
    path.write_bytes(content)
    assert refusal_of(read_stored_hdus, path, name="reduced/a.fits") == (
        DamagedProduct,
        "reduced/a.fits: BSCALE: its pixels are scaled or compressed; allowed: a product of "
        "ccdflow, plain pixels; delete it and make it again, as the next run of the workflow does",
    )
