"""The ends of the converters of a reduced frame, as its record has them."""

from __future__ import annotations

from ccdflow.frame.converter_end import ConverterEnd


def noted_ends(record):
    """Return the ends of the converters of a reduced frame as its record has them.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
        Record of the reduced frame.

    Returns
    -------
    dict of str to dict
        `ConverterEnd.to_record` of each amplifier; {} of frames of floats, and of frames that were
        reduced before the header had AMPTOP.
    """
    return {} if record is None else record.data.get("converter", {})


def recorded_ends(record):
    """Return the ends of the converters of a reduced frame.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
        Record of the reduced frame.

    Returns
    -------
    dict of str to ccdflow.frame.converter_end.ConverterEnd
        By amplifier.
    """
    return {name: ConverterEnd.from_record(data) for name, data in noted_ends(record).items()}


def lacks_ends(record):
    """Return whether a reduced frame was made before its record had the ends of its converters.

    A frame that is yet to be made will have them: the key of its product is known beforehand.
    """
    # Older results: header version 4 had no card AMPTOP, and the record no entry.
    return record is not None and "levels" in record.data and "converter" not in record.data


def noted_full_pixels(record):
    """Return the entries of `noted_ends` of the amplifiers with pixels at the end: a dict."""
    return {
        name: data
        for name, data in noted_ends(record).items()
        if "least" in data or "parts" in data
    }
