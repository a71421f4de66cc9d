"""The correction of calibrated frames for the shutter, by the map of its dead time."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from astropy.io import fits

from ccdflow.calibrate.corrected_flats import CorrectedFlats, correct_flat_for_shutter
from ccdflow.camera.profiles import MEASURED
from ccdflow.detector import dead_time
from ccdflow.files.values import short_number
from ccdflow.kinds.matching.setups import epoch_of
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import detector_setup_of, pixel_facts_of
from ccdflow.kinds.measuring.nights.night_masters import exposure_of
from ccdflow.kinds.measuring.shutter import SHUTTER, corrects_shutter
from ccdflow.run import job_records
from ccdflow.run.lookups import Lookup
from ccdflow.run.products.product_names import reduced_product

# The mean dead time is corrected if its error is at most this fraction of a frame's exposure, and
# so of its light. With a larger fraction the correction shifts all of a frame's light by an error
# of more than 0.1 %; with a smaller one the shortest exposures, which need it most, have none.
# Chosen, not measured.
_MOST_MEAN_ERROR = 1e-3
# The entry in the shared values of frames whose profile asks for the correction.
_CORRECTED_SETTING = ("shutter", MEASURED)

_FLATS = CorrectedFlats()


def shutter_choice_of(context, row):
    """Return (("shutter", "measured"),) if the camera's profile asks for the correction, else ().

    Parameters
    ----------
    context : ccdflow.run.context.Context
    row : ccdflow.run.raw_frames.rows.Row
        The row of a raw frame.

    Returns
    -------
    tuple of (str, str)
    """
    return (_CORRECTED_SETTING,) if corrects_shutter(context, row.camera) else ()


def map_for(context, row):
    """Return the map by which a frame is corrected: (product,), or () without one.

    The map is of the newest night up to the frame's, in the frame's epoch. Without such a night the
    map of the next night is taken.

    Parameters
    ----------
    context : ccdflow.run.context.PlanContext
    row : ccdflow.run.raw_frames.rows.Row
        Row of the frame.

    Returns
    -------
    tuple of str
    """
    if not DETECTOR.is_enabled(context) or not corrects_shutter(context, row.camera):
        return ()

    def products_by_setup():
        """Return {pixels and epoch: {night: map}}."""
        maps_by_setup = {}
        for group in SHUTTER.groups(context):
            key = (*pixel_facts_of(group.shared), dict(group.shared)["epoch"])
            maps_by_setup.setdefault(key, {}).setdefault(group.night, group.product)
        return maps_by_setup

    key = (
        *pixel_facts_of(detector_setup_of(context, row)),
        epoch_of(context, row.camera, row.night),
    )
    maps_by_setup = context.lookup((Lookup.MAPS_BY_NIGHT, SHUTTER.name), products_by_setup)
    maps_by_night = maps_by_setup.get(key, {})
    earlier_nights = [night for night in maps_by_night if night <= row.night]
    nearest_night = max(earlier_nights) if earlier_nights else min(maps_by_night, default=None)
    return () if nearest_night is None else (maps_by_night[nearest_night],)


def rows_needed(context, group):
    """Return the rows of the flats in a frame's candidate masters; [] without a correction.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group

    Returns
    -------
    list of ccdflow.run.raw_frames.rows.Row
    """
    if _CORRECTED_SETTING not in group.shared:
        return []
    flats = [use.product for step in group.steps if step.kind == "flat" for use in step.uses]
    groups = filter(None, map(context.find_group, flats))
    return [context.row(file) for master in groups for file in master.files]


class ShutterCorrection:
    """The correction of the shutter in one frame.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of the frame.
    row : ccdflow.run.raw_frames.rows.Row
    flat : ccdflow.run.job_records.Record or None
        The combined flat that the frame is divided by.
    """

    def __init__(self, context, group, row, flat):
        self._context = context
        self._group = group
        self._row = row
        self._flat = flat

    @cached_property
    def record(self):
        """The record of the map by which the frame is corrected; None without a map."""
        records = (self._context.outcome(product) for product in self._group.measurements)
        maps = [record for record in records if record is not None and record.kind == SHUTTER.name]
        return maps[0] if maps and maps[0].status == job_records.MADE else None

    @property
    def basis(self):
        """The entries of the frame's basis on its shutter: [[product, key]], or []."""
        return [] if self.record is None else [[self.record.product, self.record.key]]

    @cached_property
    def why_not(self):
        """Why a frame whose profile asks for the correction is not corrected; '' where it is."""
        if _CORRECTED_SETTING not in self._group.shared:
            return ""
        if self.record is None:
            return "shutter not corrected: no flats of several exposures tell of it"
        if self._flat is None:
            return "shutter not corrected: no flat"
        if not self._is_longer_than_dead_time:
            return "shutter not corrected: an exposure is not known, or as short as its dead time"
        return ""

    @property
    def is_applied(self):
        """Whether the frame is corrected."""
        return self.record is not None and not self.why_not

    @cached_property
    def _seconds(self):
        """The frame's exposure, seconds."""
        return exposure_of(self._row)

    @cached_property
    def _exposures_of_flat(self):
        """The exposures of the members of the frame's flat, seconds."""
        files = self._flat.data["members"]
        return [exposure_of(self._context.row_of_product(reduced_product(file))) for file in files]

    @property
    def _is_longer_than_dead_time(self):
        """Whether frame and flats have known exposures, longer than the dead time of any pixel."""
        data = self.record.data
        # Twice the range of the cells is more than any pixel is off the mean: chosen, not measured.
        longest_dead_time = 2 * (data["largest"] - data["least"]) + max(data["mean"] or 0.0, 0.0)
        exposures = (self._seconds, *self._exposures_of_flat)
        return all(seconds > longest_dead_time for seconds in exposures)

    @cached_property
    def _mean_dead_time(self):
        """The mean dead time, seconds; NaN where it is not known well enough for the exposure."""
        data = self.record.data
        is_known = (
            data["mean"] is not None and data["mean_error"] <= _MOST_MEAN_ERROR * self._seconds
        )
        return data["mean"] if is_known else math.nan

    @property
    def cards(self):
        """The cards of the calibrated frame: (keyword, value, comment); () without a correction."""
        if not self.is_applied:
            return ()
        cards = [
            ("SHUTCOR", self.record.product, "map of the shutter's dead time, corrected"),
            ("SHUTKEY", self.record.key, "its CCDFKEY"),
        ]
        if math.isfinite(self._mean_dead_time):
            mean = short_number(self._mean_dead_time)
            cards.append(("SHUTMEAN", mean, "[s] mean dead time, corrected"))
        return tuple(cards)

    def corrected_flat(self, master):
        """Return a flat that also corrects the frame for the shutter.

        Parameters
        ----------
        master : ccdflow.calibrate.combined_master.Master

        Returns
        -------
        ccdflow.calibrate.combined_master.Master
            The flat over the factor that corrects the frame. The last few are kept in memory.
        """
        key = (
            master.name,
            master.key,
            self.record.key,
            self._seconds,
            tuple(self._exposures_of_flat),
        )
        return _FLATS.get(key, lambda: correct_flat_for_shutter(master, self._factors(master)))

    def _factors(self, master):
        """Return (factor on the frame, its relative variance) of each image, arrays (ny, nx).

        Parameters
        ----------
        master : ccdflow.calibrate.combined_master.Master
            The flat, for the shapes of its images.
        """
        with fits.open(self._context.results / self.record.product, memmap=False) as hdus:
            cells = [np.array(hdu.data, np.float64) for hdu in hdus[1:]]
        return [
            dead_time.shutter_factor(
                excess,
                error,
                self._mean_dead_time,
                self._seconds,
                self._exposures_of_flat,
                image.data.shape,
            )
            for image, excess, error in zip(master.images, cells[::2], cells[1::2], strict=True)
        ]
