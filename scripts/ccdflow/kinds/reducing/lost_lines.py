"""Parts of a reduced frame whose overscan is saturated, as its record has them."""

from __future__ import annotations

from ccdflow.camera.sections import Region


def without_level_of(record):
    """Return the parts of a reduced frame whose level is not known, as its record has them.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
        Record of the reduced frame.

    Returns
    -------
    dict of str to list of list of int
        [first row, row after the last, first column, column after the last] of each part, by
        amplifier; {} where there is none, as in all sound frames.
    """
    return {} if record is None else record.data.get("without_level", {})


def recorded_regions(record):
    """Return the parts of a reduced frame whose level is not known.

    Parameters
    ----------
    record : ccdflow.run.job_records.Record or None
        Record of the reduced frame.

    Returns
    -------
    dict of str to tuple of ccdflow.camera.sections.Region
        In the image, by amplifier.
    """
    return {
        name: tuple(Region(*ends) for ends in parts)
        for name, parts in without_level_of(record).items()
    }
