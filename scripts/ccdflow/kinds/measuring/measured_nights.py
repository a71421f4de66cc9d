"""The measurements of a detector by which a frame's bad pixels and gain are known."""

from __future__ import annotations

from bisect import bisect_right

from ccdflow.camera.profiles import MEASURED
from ccdflow.kinds.matching.setups import READOUT_FACTS, epoch_of, profile_of
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import detector_setup_of, pixels_of
from ccdflow.run.lookups import Lookup


def pixels_for(context, row):
    """Return the measurements that show which pixels of a frame are bad, newest first.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    row : ccdflow.run.rawframes.rows.Row
        Row of the frame.

    Returns
    -------
    tuple of str
        Those of the newest nights up to that of the frame, in its epoch; where there are none,
        those of the next night.
    """
    if not DETECTOR.is_enabled(context):
        return ()

    def products_by_setup():
        """Return {setup: (sorted nights, {night: products})}."""
        nights_by_setup = {}
        for group in DETECTOR.groups(context):
            key = (*pixels_of(group.shared), dict(group.shared)["epoch"])
            nights_by_setup.setdefault(key, {}).setdefault(group.night, []).append(group.product)
        return {key: (sorted(nights), nights) for key, nights in nights_by_setup.items()}

    values_of_setup = tuple(row.facts[name] for name in (*READOUT_FACTS, "part"))
    setup = context.lookup(
        (Lookup.DETECTOR_SETUP, row.camera, row.geometry, values_of_setup),
        lambda: detector_setup_of(context, row),
    )
    key = (*pixels_of(setup), epoch_of(context, row.camera, row.night))

    def choose():
        """Return the measurements of the last nights up to the row's, the nearest first."""
        nothing = ([], {})
        nights_by_setup = context.lookup((Lookup.PIXELS_BY_NIGHT, DETECTOR.name), products_by_setup)
        sorted_nights, nights = nights_by_setup.get(key, nothing)
        end, most_nights = (
            bisect_right(sorted_nights, row.night),
            context.settings["detector"]["nights"],
        )
        chosen_nights = sorted_nights[max(0, end - most_nights) : end] if end else sorted_nights[:1]
        return tuple(product for night in reversed(chosen_nights) for product in nights[night])

    return context.lookup((Lookup.PIXELS_OF_ROW, row.night, *key), choose)


def measurements_of(context, products):
    """Return the records of those measurements that were made, oldest first.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    products : iterable of str
        Measurements.

    Returns
    -------
    list of ccdflow.run.job_records.Record
    """
    made_records = filter(None, map(context.made_record, products))
    return sorted(made_records, key=lambda r: (r.data.get("night", ""), r.product))


def tells_of_pixels(record):
    """Return whether a measurement shows bad pixels; pairs of flats alone give gains only."""
    return bool(record.data["looked"])


def gain_choice_of(context, row):
    """Return the profile's choices that a job needs: (("gain", "measured"),) or ().

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.rawframes.rows.Row
        The row of a raw frame.

    Returns
    -------
    tuple of (str, str)
    """
    profile = profile_of(context, row.camera)
    return (("gain", MEASURED),) if profile is not None and profile.measures_gain else ()
