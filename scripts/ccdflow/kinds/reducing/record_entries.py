"""Entries of the record of a reduced frame: the ends of its converters, the parts without a level.

The plain entries are as the record has them: they are parts of the basis of other products.
"""

from __future__ import annotations

from ccdflow.camera.sections import Region
from ccdflow.frame.converter_end import ConverterEnd


def plain_ends(record):
    """Return the ends of the converters of a reduced frame as its record has them.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None

    Returns
    -------
    dict of str to dict
        `ConverterEnd.to_record` of each amplifier; {} of frames of floats, and of frames that were
        reduced before the header had AMPTOP.
    """
    return {} if record is None else record.data.get("converter", {})


def plain_ends_of_full_pixels(record):
    """Return the `plain_ends` of the amplifiers with pixels at the end: a dict."""
    ends = plain_ends(record).items()
    return {name: data for name, data in ends if "least" in data or "parts" in data}


def converter_ends_of(record):
    """Return {amplifier: `ccdflow.frame.converter_end.ConverterEnd`} of a reduced frame."""
    return {name: ConverterEnd.from_record(data) for name, data in plain_ends(record).items()}


def lacks_converter_ends(record):
    """Return whether a reduced frame was made before its record had the ends of its converters.

    A frame that is yet to be made will have them: the key of its product is known beforehand.
    """
    # Older results: header version 4 had no card AMPTOP, and the record no entry.
    return record is not None and "levels" in record.data and "converter" not in record.data


def plain_no_level_parts(record):
    """Return the parts of a reduced frame whose overscan is saturated, as its record has them.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None

    Returns
    -------
    dict of str to list of list of int
        [first row, row after the last, first column, column after the last] of each part, by
        amplifier; {} where there is none, as in all sound frames.
    """
    return {} if record is None else record.data.get("without_level", {})


def no_level_parts(record):
    """Return {amplifier: tuple of `ccdflow.camera.sections.Region`} of these parts."""
    return {
        name: tuple(Region(*ends) for ends in parts)
        for name, parts in plain_no_level_parts(record).items()
    }
