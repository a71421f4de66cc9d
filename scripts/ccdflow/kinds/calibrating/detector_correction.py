"""The corrections of a frame by the measurements of its detector: bad pixels, gain, full well."""

from __future__ import annotations

import math
from functools import cached_property, partial

import numpy as np

from ccdflow.calibrate.frame_corrections import FrameCorrections
from ccdflow.detector.cosmic_rays.cosmics import search_cosmics
from ccdflow.detector.flat_figures import gain_differs
from ccdflow.files.values import number_or_none, short_number
from ccdflow.kinds.masters import member_masters
from ccdflow.kinds.measuring import pixel_tables
from ccdflow.kinds.measuring.detector_measurement import DETECTOR
from ccdflow.kinds.measuring.detector_setups import detector_setup_of
from ccdflow.kinds.measuring.measured_nights import made_measurements, shows_bad_pixels
from ccdflow.run.lookups import OutcomeKey

# The median level of full pixels counts as unknown if it is exceeded by more than this factor in
# the flats of any night: pixels are not full at this level.
_EXCEEDED_WELL_FACTOR = 1.02
# Keywords with two digits have numbers up to 99; the newest measurement has none.
_MOST_NUMBERED_CARDS = 98

UNLIKE_AMPLIFIERS = "amplifiers of unlike scales: a gain is unknown, and no flat was applied"
"""The reason for grade C of a frame whose amplifiers nothing brings to one scale."""


class DetectorCorrection:
    """The corrections of a frame by the measurements of its detector.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of the frame.
    row : ccdflow.run.raw_frames.rows.Row
    settings : dict of str to object
        The block ``calibrate`` of the configuration.
    flat : ccdflow.run.job_records.Record, optional
        Record of the combined flat that the frame is divided by.
    """

    def __init__(self, context, group, row, settings, flat=None):
        self._context = context
        self._group = group
        self._row = row
        self._settings = settings
        self._flat = flat

    @cached_property
    def records(self):
        """The measurements that were made, oldest first."""
        products = self._group.measurements
        # Frames of all filters have the same records.
        records = self._context.kept_by_key(
            (OutcomeKey.MEASUREMENTS, products), lambda: made_measurements(self._context, products)
        )
        return [record for record in records if record.kind == DETECTOR.name]

    @cached_property
    def basis(self):
        """The entries of the frame's basis on its measurements: [product, key] of each."""
        return [[record.product, record.key] for record in self.records]

    def gain(self, amplifier):
        """Return the measured factor of an amplifier's pixels, electrons per adu, or None.

        None where profile or header give the gains of all amplifiers, or where any gain is unknown.
        If profile and header lack a gain, the flat was made in adu and contains the ratios of the
        gains. A frame divided by this flat has one scale. One factor converts it to electrons: the
        mean gain, weighted by the adu of each amplifier in the flat. Without a flat each amplifier
        has its own gain.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier

        Returns
        -------
        float or None
        """
        if not self._lacks_gain or not self._is_each_gain_known:
            return None
        return self._own_gain(amplifier) if self._common_gain is None else self._common_gain

    def gain_of_noise(self, amplifier):
        """Return the gain for UNCERT; None where UNCERT takes the gain of the pixels.

        If the pixels have the factor `gain`, an amplifier has its own measured gain, or else that
        of profile or header; a single amplifier has None, because the factor is its gain. Otherwise
        the result is the measured gain, and None where this confirms the gain in use.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier

        Returns
        -------
        float or None
            Electrons per adu.
        """
        if self.gain(amplifier) is not None:
            if len(self._amplifiers) == 1:
                return None
            # The factor of the pixels is not a gain of this amplifier alone.
            return self._gains.get(amplifier.name, (amplifier.gain,))[0]
        if amplifier.name not in self._gains:
            return member_masters.gain_from_flats(self._flat, amplifier)
        measured_gain, error = self._gains[amplifier.name]
        if amplifier.gain is None or gain_differs(amplifier.gain, measured_gain, error):
            return measured_gain
        return None

    @property
    def why_unlike(self):
        """Why the frame's amplifiers have unlike scales, in words; '' where they have one scale."""
        is_unlike = self._lacks_gain and self._flat is None and len(self._amplifiers) > 1
        return UNLIKE_AMPLIFIERS if is_unlike and not self._is_each_gain_known else ""

    @cached_property
    def _amplifiers(self):
        """All amplifiers of the frame."""
        return self._context.store.geometry(self._row.geometry).amplifiers

    @property
    def _lacks_gain(self):
        """Whether profile and header lack the gain of an amplifier."""
        return any(amplifier.gain is None for amplifier in self._amplifiers)

    @property
    def _is_each_gain_known(self):
        """Whether the gain of each amplifier is known, by profile, header or measurement."""
        return all(self._own_gain(amplifier) for amplifier in self._amplifiers)

    def _own_gain(self, amplifier):
        """Return the gain of an amplifier by profile, header or the nights' flats, or None."""
        if amplifier.gain is not None:
            return amplifier.gain
        return self._gains[amplifier.name][0] if amplifier.name in self._gains else None

    @cached_property
    def _common_gain(self):
        """The common factor of all amplifiers, electrons per adu; None without a common scale."""
        if self._flat is None and len(self._amplifiers) > 1:
            return None
        ratios = {
            figures["amplifier"]: ratio
            for figures in (self._flat.data.get("quality", ()) if self._flat is not None else ())
            if (ratio := number_or_none(figures.get("ratio"))) and math.isfinite(ratio)
        }
        areas = [amplifier.data.size for amplifier in self._amplifiers]
        weights = [ratios.get(amplifier.name, 0.0) for amplifier in self._amplifiers]
        # In a flat without ratios all pixels have the same weight.
        weighted_areas = np.multiply(areas, weights) if any(weights) else areas
        gains = [self._own_gain(amplifier) for amplifier in self._amplifiers]
        return gains[0] if len(gains) == 1 else float(np.average(gains, weights=weighted_areas))

    def full_well(self, amplifier):
        """Return the level at which pixels are full, adu above bias: the median of the nights.

        None where pixels were full in no night's flats, or the flats of any night are brighter.
        """
        figures_of_amplifier = [
            figures for figures in self._figures if figures["amplifier"] == amplifier.name
        ]
        levels = [
            figures["full_well"]
            for figures in figures_of_amplifier
            if math.isfinite(figures["full_well"])
        ]
        if not levels:
            return None
        level = float(np.median(levels))
        limit = _EXCEEDED_WELL_FACTOR * level
        is_exceeded = any(figures["level"] > limit for figures in figures_of_amplifier)
        return None if is_exceeded else level

    @cached_property
    def _figures(self):
        """The figures by nights with the same readout as the frame's, oldest first."""
        setup, figures = detector_setup_of(self._context, self._row), []
        for record in self.records:
            group = self._context.find_group(record.product)
            if group is not None and group.shared[: len(setup)] == setup:
                figures += record.data.get("quality", ())
        return figures

    @cached_property
    def _gains(self):
        """{amplifier: (gain, error)}: means over the nights of `_figures`, weighted by errors."""
        sums = {}
        for figures in self._figures:
            if math.isfinite(figures["gain"]) and figures["gain_error"] > 0:
                weight = figures["gain_error"] ** -2
                sums_of_amplifier = sums.setdefault(figures["amplifier"], [0.0, 0.0])
                sums_of_amplifier[0] += weight * figures["gain"]
                sums_of_amplifier[1] += weight
        return {
            name: (weighted_sum / weights, weights**-0.5)
            for name, (weighted_sum, weights) in sums.items()
        }

    def frame_corrections(self, shapes):
        """Return the `ccdflow.calibrate.frame_corrections.FrameCorrections` of a frame.

        Parameters
        ----------
        shapes : list of (int, int)
            (ny, nx) of each image of the frame.

        Returns
        -------
        ccdflow.calibrate.frame_corrections.FrameCorrections
        """
        cards, masks = [], ()
        shapes_of_frame = [list(shape) for shape in shapes]
        usable_records = [
            r for r in self.records if shows_bad_pixels(r) and r.data["shapes"] == shapes_of_frame
        ]
        if usable_records:
            share = self._context.settings["detector"]["share"]
            masks = pixel_tables.masks_of_nights(self._context, usable_records, shapes, share)
            newest = usable_records[-1]
            cards += [
                ("BPMIM", newest.product, "newest measurement of bad pixels"),
                ("BPMKEY", newest.key, "its CCDFKEY"),
                ("BPMNTS", len(usable_records), "nights whose bad pixels are in the mask"),
            ]
            if len(usable_records) > 1:
                text = "part of the nights in which a bad pixel is bad"
                cards.append(("BPMSHARE", float(share), text))
            earlier_records = usable_records[-2::-1][:_MOST_NUMBERED_CARDS]
            for number, record in enumerate(earlier_records, start=2):
                cards += [
                    (f"BPMIM{number:02d}", record.product, "measurement of bad pixels before it"),
                    (f"BPMKEY{number:02d}", record.key, "its CCDFKEY"),
                ]
        if self.gain(self._amplifiers[0]) is not None and self._common_gain is not None:
            gain = short_number(self._common_gain)
            cards.append(("GAINMEAS", gain, "[electron/adu] measured, and used here"))
        return FrameCorrections(masks, self._cosmic_search(), tuple(cards))

    def _cosmic_search(self):
        """Return the search for cosmic rays with the limits of the settings; None without one."""
        settings = self._settings
        if not settings["cosmic_rays"]:
            return None
        return partial(
            search_cosmics, sigma=settings["cosmic_sigma"], contrast=settings["cosmic_contrast"]
        )
