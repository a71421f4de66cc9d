"""BZERO and BSCALE that leave no usable pixel set a frame aside, and name themselves."""

import pytest
from astropy.io import fits

from ccdflow.errors import FrameError
from ccdflow.files.scaling import scaling_of


def header(bitpix, **cards):
    return fits.Header([("BITPIX", bitpix), *cards.items()])


@pytest.mark.parametrize(
    ("bitpix", "keyword", "value"),
    [
        (16, "BSCALE", 1e300), (16, "BSCALE", 1e-300), (16, "BSCALE", -1e30), (16, "BZERO", 1e30),
        (32, "BZERO", -1e25), (-32, "BZERO", 1e39), (-32, "BSCALE", 1e38), (-64, "BSCALE", 1e-40),
    ],
)  # fmt: skip
def test_a_scaling_that_overflows_or_vanishes_is_refused(bitpix, keyword, value):
    with pytest.raises(FrameError, match="not a usable number") as caught:
        scaling_of(header(bitpix, **{keyword: value}), "a.fits")
    assert (caught.value.file, caught.value.keyword, caught.value.value) == (
        "a.fits",
        keyword,
        value,
    )
    assert caught.value.allowed.startswith("a size ")


@pytest.mark.parametrize(
    ("bitpix", "bzero", "bscale"),
    [
        (16, 32768, 1), (32, 2147483648, 1), (64, 9223372036854775808, 1), (16, 3.5, 0.25),
        (16, 1000.0, 1e-9), (-32, 0.0, 1.0), (16, 32768, -1), (8, -128, 1), (16, 1e4, 1e-15),
    ],
)  # fmt: skip
def test_scalings_that_programs_write_are_read(bitpix, bzero, bscale):
    scaling = scaling_of(header(bitpix, BZERO=bzero, BSCALE=bscale))
    assert (scaling.bzero, scaling.bscale) == (bzero, bscale)
