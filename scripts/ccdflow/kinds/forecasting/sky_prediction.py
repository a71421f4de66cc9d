"""The sky of a frame in electrons: measured, or predicted from frames of its camera and filter."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from ccdflow.kinds.calibrating.science import SCIENCE
from ccdflow.run import job_records
from ccdflow.run.lookups import Lookup
from ccdflow.run.nights.note_lines import NeedsWholePlan

# At most this many calibrated frames of a camera and filter, the last ones, predict a sky. Chosen:
# a median of five is not that of one bright frame.
_MOST_FRAMES = 5


def measured_sky(context, group):
    """Return the sky that was measured in a calibrated frame, electrons in a pixel, or None.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group

    Returns
    -------
    float or None
    """
    return _sky_of(context.made_record(group.product))


def _sky_of(record):
    """Return the sky in the record of a calibrated frame, electrons; None where it has none."""
    if record is None or record.status != job_records.MADE or record.data.get("unit") != "electron":
        return None
    return record.data["images"][0]["sky"]


def predicted_sky(context, row, seconds):
    """Return the sky of a frame as others of its camera and filter predict it; None without any.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
    seconds : float
        Exposure of the frame.

    Returns
    -------
    float or None
        Electrons in a pixel.

    Raises
    ------
    NeedsWholePlan
        If some nights are closed: frames of all nights may predict the sky.
    """
    rates = context.lookup((Lookup.SKY_RATES,), lambda: _sky_rates(context))
    rates_of_light = rates.get((row.camera, row.facts["filter"], row.facts["grism"]))
    return median(rates_of_light) * seconds if rates_of_light else None


def _sky_rates(context):
    """Return {(camera, filter, grism): [electrons a second]} of the last measured frames."""
    if context.closed_nights is not None:
        raise NeedsWholePlan("the sky of frames of all nights is asked for")
    rates = defaultdict(list)
    groups = [group for group in context.groups.values() if group.kind == SCIENCE.name]
    for group in sorted(groups, key=lambda group: group.night, reverse=True):
        record = context.earlier_record(group.product)
        if record is None:
            continue
        row = context.row(group.files[0])
        rates_of_light = rates[row.camera, row.facts["filter"], row.facts["grism"]]
        seconds = row.facts["exptime"]
        if len(rates_of_light) < _MOST_FRAMES and isinstance(seconds, int | float) and seconds > 0:
            sky = _sky_of(record)
            rates_of_light += [] if sky is None else [sky / seconds]
    return rates
