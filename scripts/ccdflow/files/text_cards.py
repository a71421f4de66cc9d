"""Texts of cards such as ``'field: 12'`` stay texts when astropy reads them, in the whole process.

FITS papers on distortions keep records in texts (``DP1 = 'AXIS.1: 2'``). astropy takes the text of
any card for such a record, with a keyword and a value of its own: ``OBJECT = 'field: 12'`` becomes
``OBJECT.field = 12.0``, and ``'r: 1D3'`` an error. ccdflow needs no records, and cameras write such
texts. astropy's setting turns records off for new cards alone; this module extends it to cards of
files.

`ccdflow.files.raw_headers` and `ccdflow.verify` turn records off when they are imported, and each
module that uses cards imports one of the two. Records are therefore off in each process, and in all
of its threads, before it reads a card.
"""

from __future__ import annotations

from astropy.io.fits import conf
from astropy.io.fits.card import Card

# Each record has this mark: to look for it is faster than to ask astropy's settings.
_RECORD_MARK = ": "
_is_record = Card._check_if_rvkc_image


def keep_records_as_text():
    """Make astropy read records of FITS as the texts that they are, in this process.

    A program that needs the records of other files reads them below
    ``with fits.conf.set_temp("enable_record_valued_keyword_cards", True):``. ccdflow must not be
    called there, because it would read records as well.
    """
    Card._check_if_rvkc_image = _is_record_by_setting
    conf.enable_record_valued_keyword_cards = False


def _is_record_by_setting(card, *parts):
    """Return whether a card of a file is a record: never where astropy's setting forbids it.

    Parameters
    ----------
    card : astropy.io.fits.Card
    parts : tuple of str
        The image, or the keyword and all after the sign of equality.
    """
    is_possible = _RECORD_MARK in parts[-1] and conf.enable_record_valued_keyword_cards
    return bool(is_possible and _is_record(card, *parts))
