"""A quoted text of the form ``word: number`` is a text for astropy, too.

FITS papers on distortions keep records in texts (``DP1 = 'AXIS.1: 2'``). astropy takes the text of
any card for one, with another keyword and a number for its value: ``OBJECT = 'field: 12'`` becomes
``OBJECT.field = 12.0``, and ``'r: 1D3'`` an error. ccdflow needs no record, and cameras write such
texts. astropy's own setting turns records off for new cards alone; here those of files follow it.
"""

from __future__ import annotations

from astropy.io.fits import conf
from astropy.io.fits.card import Card

# A text without these letters is no record; astropy's settings take longer to ask.
_RECORD_MARK = ": "
_is_record = Card._check_if_rvkc_image


def keep_records_as_text():
    """Make astropy read records of FITS as the texts that they are, in this process.

    Whoever needs records of other files in the process sets astropy's setting
    ``enable_record_valued_keyword_cards`` again.
    """
    Card._check_if_rvkc_image = _is_record_by_setting
    conf.enable_record_valued_keyword_cards = False


def _is_record_by_setting(card, *parts):
    """Return whether a card of a file is a record: never where astropy's setting forbids it.

    Parameters
    ----------
    card : astropy.io.fits.Card
    parts : tuple of str
        The image, or the keyword and all behind the sign of equality.
    """
    is_possible = _RECORD_MARK in parts[-1] and conf.enable_record_valued_keyword_cards
    return bool(is_possible and _is_record(card, *parts))
