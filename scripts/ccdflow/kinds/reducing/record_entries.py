"""Entries of the record of a reduced frame: the ends of its converters, the parts without a level.

Plain entries are JSON values, as the record has them: the bases of other products contain them.
"""

from __future__ import annotations

from ccdflow.camera.sections import Region
from ccdflow.frame.converter_end import ConverterEnd


def plain_ends(record):
    """Return {amplifier: end of its converter} of a reduced frame, as JSON values.

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
    """Return the `plain_ends` of the amplifiers in which pixels are at the end of the converter."""
    ends = plain_ends(record).items()
    return {name: end for name, end in ends if "least" in end or "parts" in end}


def converter_ends_of(record):
    """Return {amplifier: `ccdflow.frame.converter_end.ConverterEnd`} of a reduced frame."""
    return {name: ConverterEnd.from_record(end) for name, end in plain_ends(record).items()}


def lacks_converter_ends(record):
    """Return whether a reduced frame was made before records had the ends of converters.

    False for a frame that is yet to be made: its record has no figures now, and will have the ends.
    """
    # Older results: header version 4 had no card AMPTOP, and the record no entry.
    return record is not None and "levels" in record.data and "converter" not in record.data


def plain_no_level_parts(record):
    """Return the parts of a reduced frame whose overscan is saturated, as JSON values.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None

    Returns
    -------
    dict of str to list of list of int
        [first row, row after the last, first column, column after the last] of each part, by
        amplifier; {} for a sound frame.
    """
    return {} if record is None else record.data.get("without_level", {})


def no_level_parts(record):
    """Return {amplifier: tuple of `Region`} of the parts whose overscan is saturated."""
    return {
        name: tuple(Region(*ends) for ends in parts)
        for name, parts in plain_no_level_parts(record).items()
    }
