"""The cards of a product are compared with the settings that its run noted, whatever they hold."""

import pytest
from astropy.io import fits

from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.comparing.noted_settings import check_settings

_BASIS = {"settings": {"cosmic_rays": True, "cosmic_sigma": 4.5, "cosmic_contrast": 2.0}}


def _check(**cards):
    check_settings([fits.Header({"CRSIGMA": 4.5, **cards})], "science", _BASIS)


@pytest.mark.parametrize("cards", [
    {"CRCONTR": 2.0}, {"CRCONTR": 4.0}, {"CRCONTR": 8}, {"CRCONTR": 0.6, "CRFWHM": 1.2},
])  # fmt: skip
def test_the_contrast_of_cosmic_rays_is_that_of_the_run(cards):
    _check(**cards)


@pytest.mark.parametrize(("cards", "reason"), [
    ({}, "CRCONTR is a number, and its card has None"),
    ({"CRCONTR": "two"}, "CRCONTR is a number, and its card has two"),
    ({"CRCONTR": 2.0, "CRFWHM": "wide"}, "CRFWHM is a number, and its card has wide"),
    ({"CRCONTR": 3.0}, "CRCONTR is 2 times 1, 2 or 4, and its card has 3.0"),
    ({"CRCONTR": 2.0, "CRFWHM": 1.2}, "CRCONTR is 0.6 times 1, 2 or 4, and its card has 2.0"),
])  # fmt: skip
def test_another_contrast_or_none_differs(cards, reason):
    with pytest.raises(Differs, match=f"^{reason}$"):
        _check(**cards)
