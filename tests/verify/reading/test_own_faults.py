"""Whose fault an error is, and cards of a type that ccdflow does not write."""

import pytest
from astropy.io import fits

from ccdflow.verify.reading import card_types, own_faults
from ccdflow.verify.reading.verdict import CannotRemake


def error_of(work):
    """Return the error that a call raises."""
    with pytest.raises(KeyError) as error:
        work()
    return error.value


def test_a_missing_card_differs_from_a_missing_key(monkeypatch):
    missing_card = error_of(lambda: fits.Header()["NCOMBINE"])
    missing_key = error_of(lambda: {}["NCOMBINE"])
    # The error is raised in this file, which counts as a file of the library here.
    monkeypatch.setattr("ccdflow.errors._LIBRARY", __file__)
    assert own_faults.is_missing_card(missing_card)
    assert not own_faults.is_missing_card(missing_key)
    assert not own_faults.is_missing_card(ValueError("NCOMBINE"))


def test_a_fault_whose_log_cannot_be_written_has_its_line(tmp_path):
    (tmp_path / ".ccdflow").write_text("a file in the place of the folder")
    error = error_of(lambda: {}["NCOMBINE"])
    words = own_faults.report_own_fault("reduced/a.fits", error, tmp_path)
    assert words.endswith("report it as a fault of ccdflow")
    assert "traceback" not in words


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("MODRN02", "low", "MODRN02 is 'low', and no number"),
        ("IMLVL007", True, "IMLVL007 is True, and no number"),
        ("IMCOM001", 3, "IMCOM001 is 3, and no text"),
        ("CALGRADE", 1.5, "CALGRADE is 1.5, and no text"),
    ],
)
def test_a_card_of_another_type_is_named(keyword, value, reason):
    with pytest.raises(CannotRemake, match=reason):
        card_types.check_types([fits.Header(), fits.Header({keyword: value})])


def test_cards_of_their_types_and_those_of_cameras_pass():
    cards = {"NCOMBINE": 3, "CLIPSIG": 5.0, "IMCOM001": "a.fits", "GAIN": "high", "OBJECT": 7}
    card_types.check_types([fits.Header(cards)])
