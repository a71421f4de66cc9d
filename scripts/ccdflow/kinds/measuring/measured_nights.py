"""The measurements of a detector by which a frame's bad pixels and gain are known."""

from __future__ import annotations

from bisect import bisect_right

from ccdflow.camera.profiles import MEASURED
from ccdflow.kinds.matching.setups import READOUT_FACTS, epoch_of, profile_of
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import detector_setup_of, pixel_facts_of
from ccdflow.run.lookups import Lookup


def bad_pixel_measurements_for(context, row):
    """Return the measurements by which the bad pixels of a frame are known, newest first.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    row : ccdflow.run.raw_frames.rows.Row
        Row of the frame.

    Returns
    -------
    tuple of str
        Measurements of the newest nights up to the frame's, in the frame's epoch; without such
        nights, those of the next night; () where none are made.
    """
    if not DETECTOR.is_enabled(context):
        return ()

    def products_by_setup():
        """Return {setup: (sorted nights, {night: products})}."""
        nights_by_setup = {}
        for group in DETECTOR.groups(context):
            key = (*pixel_facts_of(group.shared), dict(group.shared)["epoch"])
            nights_by_setup.setdefault(key, {}).setdefault(group.night, []).append(group.product)
        return {key: (sorted(nights), nights) for key, nights in nights_by_setup.items()}

    values_of_setup = tuple(row.facts[name] for name in (*READOUT_FACTS, "part", "setting"))
    setup = context.lookup(
        (Lookup.DETECTOR_SETUP, row.camera, row.geometry, values_of_setup),
        lambda: detector_setup_of(context, row),
    )
    key = (*pixel_facts_of(setup), epoch_of(context, row.camera, row.night))

    def nearest_measurements():
        """Return the result of `bad_pixel_measurements_for`, computed anew."""
        nights_by_setup = context.lookup((Lookup.PIXELS_BY_NIGHT, DETECTOR.name), products_by_setup)
        sorted_nights, products_by_night = nights_by_setup.get(key, ([], {}))
        most_nights = context.settings["detector"]["nights"]
        end = bisect_right(sorted_nights, row.night)
        nearest_nights = sorted_nights[max(0, end - most_nights) : end] or sorted_nights[:1]
        return tuple(
            product for night in reversed(nearest_nights) for product in products_by_night[night]
        )

    return context.lookup((Lookup.PIXELS_OF_ROW, row.night, *key), nearest_measurements)


def made_measurements(context, products):
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


def shows_bad_pixels(record):
    """Return whether a measurement shows bad pixels: one by pairs of flats shows only gains."""
    return bool(record.data["looked"])


def gain_choice_of(context, row):
    """Return (("gain", "measured"),) if the camera's profile asks for measured gains, else ().

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.

    Returns
    -------
    tuple of (str, str)
    """
    profile = profile_of(context, row.camera)
    return (("gain", MEASURED),) if profile is not None and profile.measures_gain else ()
