"""Cards are looked up past astropy's index: the same cards are found, and what is absent is."""

import warnings

import pytest
from astropy.io import fits
from astropy.io.fits.card import Card

from ccdflow.files import cards
from ccdflow.files.cards import (
    CardSpec,
    contents_of_cards,
    has_card,
    header_value,
    specs_in_headers,
)

TEXTS = (
    "SIMPLE  =                    T",
    "BITPIX  =                   16",
    "NAXIS   =                    0",
    "FILTER  = 'r       '",
    "FILTER  = 'g       '",
    "GAIN    =                  2.5",
    "EMPTY   =",
    "HIERARCH ESO DPR TYPE = 'BIAS'",
    "HIERARCH ESO DET OUT1 CONAD = 1.1",
    "DP1     = 'EXTVER: 3'",
    "COMMENT nothing",
    "END",
)
KEYWORDS = (
    "NAXIS", "FILTER", "GAIN", "EMPTY", "COMMENT", "ESO DPR TYPE", "eso dpr type", "filter",
    "HIERARCH ESO DPR TYPE", "ESO DET OUT1 CONAD", "ESO DET", "DP1.EXTVER", "DP1.NAXIS", "ABSENT",
    "ESO INS FILT1 NAME", "ESO", "A B",
)  # fmt: skip


@pytest.fixture
def header():
    return fits.Header.fromstring("".join(f"{text:<80}" for text in TEXTS))


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_card_is_there_if_astropy_has_it(header, keyword):
    assert has_card(header, keyword) == (keyword in header)
    specs = specs_in_headers([fits.Header(), header], [CardSpec(keyword)])
    # One that has to be looked for is kept; one that is there is never left out.
    if keyword in header:
        assert len(specs) == 1
    if keyword not in ("EMPTY", "COMMENT") and keyword in header:
        cards = [header[(keyword, i)] for i in range(header.count(keyword))]
        assert cards
        assert [each.value for each in contents_of_cards(header, keyword)] == cards


@pytest.mark.parametrize("keyword", ["NAXIS", "BITPIX", "GAIN", "FILTER", "SIMPLE", "ABSENT"])
def test_the_first_value_is_that_of_astropy(header, keyword):
    value = header_value(header, keyword, "default")
    assert (value, type(value)) == (header.get(keyword, "default"), type(header.get(keyword, "")))


def test_cards_that_no_header_has_are_not_looked_up(header):
    specs = tuple(map(CardSpec, ("ABSENT", "GAIN", "ESO INS FILT1 NAME", "ESO DPR TYPE")))
    assert [s.keyword for s in specs_in_headers([header], specs)] == ["GAIN", "ESO DPR TYPE"]


VALUES = [
    "7", "+007", "-0", "-0.0", "00.50", "5.", "+5.", ".5", "1E5", "1.0D3", "T", "F", "", "(1, 2)",
    "12 34", "- 5", "5/3", "5x", "1.2.3", "2457403.54375", "-116.9", "'abc'", "'a b  '", "''",
    "'  '", "' x'", "'it''s'", "'a: 1'", "'AXIS.1: 2'", "'12:30:01.5'", "'unclosed", "'a'b",
    "'a'/c", "'a/b'", "'N/A '",
]  # fmt: skip
COMMENTS = ["", " / text", "/c", " /", " / it's: x", " / a: b", " / a/b", " / \tx", " / x  ", " x"]


def test_usual_cards_are_read_as_astropy_reads_them():
    """Cards that a pattern reads have the content that astropy's parser gives."""
    usual = 0
    for keyword in ("JD", "A-B", "X_1", "LONGKEYW", "HISTORY", "COMMENT", "END", "lower"):
        for value in VALUES:
            for comment in COMMENTS:
                text = f"{keyword:<8}=  {value}{comment}".ljust(80)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    expected = cards.parse_by_astropy(keyword, Card.fromstring(text))
                    assert repr(cards._content_of_text.__wrapped__(keyword, text)) == repr(expected)
                usual += cards._USUAL_CARD.fullmatch(text) is not None
    assert usual == 648
