"""The corrections of a frame by the measurements of its detector: bad pixels, gain, full well."""

from __future__ import annotations

import math
from functools import cached_property, partial

import numpy as np

from ccdflow.calibrate.frame_corrections import FrameCorrections
from ccdflow.detector.cosmic_rays.cosmics import search
from ccdflow.detector.flat_figures import gain_differs
from ccdflow.files.values import short_number
from ccdflow.kinds.detector_measurement import DETECTOR
from ccdflow.kinds.masters import member_masters
from ccdflow.kinds.measuring import pixel_tables
from ccdflow.kinds.measuring.detector_setups import detector_setup_of
from ccdflow.kinds.measuring.measured_nights import measurements_of, tells_of_pixels
from ccdflow.run.lookups import OutcomeKey

# The level of full pixels counts as unknown if flats of a night are brighter than the median of the
# nights by this factor: they were not full there.
_SAME_WELL = 1.02


class DetectorCorrection:
    """The corrections of a frame by the measurements of its detector.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Of the frame.
    row : ccdflow.run.rawframes.rows.Row
    settings : dict
        The block ``calibrate`` of the configuration.
    """

    def __init__(self, context, group, row, settings):
        self._context = context
        self._group = group
        self._row = row
        self._settings = settings

    @cached_property
    def records(self):
        """The measurements that were made, oldest first."""
        products = self._group.measurements
        # Frames of all filters have the same ones.
        records = self._context.kept_by_key(
            (OutcomeKey.MEASUREMENTS, products), lambda: measurements_of(self._context, products)
        )
        return [record for record in records if record.kind == DETECTOR.name]

    @cached_property
    def basis(self):
        """The part of the frame's key on them; [] for nothing."""
        return [[record.product, record.key] for record in self.records]

    def gain(self, amplifier):
        """Return the measured gain of an amplifier, None where profile or header give one.

        The flat of several amplifiers without gains has the ratios of their adu, so the mean of the
        measured gains converts a frame that is divided by it to electrons.
        """
        if amplifier.gain is not None:
            return None
        gains = self._gains
        if amplifier.name not in gains:
            return None
        return float(np.mean([gain for gain, _ in gains.values()]))

    def gain_of_noise(self, amplifier, flat):
        """Return the measured gain by which UNCERT is computed, None where it confirms that in use.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier
        flat : ccdflow.run.job_records.Record or None
            Of the frame's combined flat, whose gain is taken where no night's is measured.

        Returns
        -------
        float or None
            Electrons per adu.
        """
        if self.gain(amplifier) is not None:
            return None
        if amplifier.name not in self._gains:
            return member_masters.gain_from_flats(flat, amplifier)
        measured, error = self._gains[amplifier.name]
        if amplifier.gain is None or gain_differs(amplifier.gain, measured, error):
            return measured
        return None

    def full_well(self, amplifier):
        """Return the level at which pixels are full, adu above bias: the median of the nights.

        None where no night's flats were full, or any night's lie above it.
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
        is_exceeded = any(figures["level"] > _SAME_WELL * level for figures in figures_of_amplifier)
        return None if is_exceeded else level

    @cached_property
    def _figures(self):
        """The figures of the nights of the same readout, oldest first."""
        setup, figures = detector_setup_of(self._context, self._row), []
        for record in self.records:
            group = self._context.find_group(record.product)
            if group is not None and group.shared[: len(setup)] == setup:
                figures += record.data.get("quality", ())
        return figures

    @cached_property
    def _gains(self):
        """{amplifier: (gain, error)}: the mean over nights of the same readout, by their errors."""
        sums = {}
        for figures in self._figures:
            if math.isfinite(figures["gain"]) and figures["gain_error"] > 0:
                weight = figures["gain_error"] ** -2
                total = sums.setdefault(figures["amplifier"], [0.0, 0.0])
                total[0] += weight * figures["gain"]
                total[1] += weight
        return {name: (total / weights, weights**-0.5) for name, (total, weights) in sums.items()}

    def frame_corrections(self, shapes):
        """Return the `ccdflow.calibrate.frame_corrections.FrameCorrections` of a frame.

        Parameters
        ----------
        shapes : list of (int, int)
            (ny, nx) of its images.

        Returns
        -------
        ccdflow.calibrate.frame_corrections.FrameCorrections
        """
        cards, masks = [], ()
        shapes_of_frame = [list(shape) for shape in shapes]
        usable = [
            r for r in self.records if tells_of_pixels(r) and r.data["shapes"] == shapes_of_frame
        ]
        if usable:
            share = self._context.settings["detector"]["share"]
            masks = pixel_tables.masks_of(self._context, usable, shapes, share)
            newest = usable[-1]
            cards += [
                ("BPMIM", newest.product, "newest measurement of bad pixels"),
                ("BPMKEY", newest.key, "its CCDFKEY"),
                ("BPMNTS", len(usable), "nights whose bad pixels are in the mask"),
            ]
            if len(usable) > 1:
                text = "part of the nights in which a bad pixel is bad"
                cards.append(("BPMSHARE", float(share), text))
            for number, record in enumerate(usable[-2::-1][:98], start=2):
                cards += [
                    (f"BPMIM{number:02d}", record.product, "measurement of bad pixels before it"),
                    (f"BPMKEY{number:02d}", record.key, "its CCDFKEY"),
                ]
        geometry = self._context.store.geometry(self._row.geometry)
        gains = {g for a in geometry.amplifiers if (g := self.gain(a)) is not None}
        if gains:
            cards.append(
                ("GAINMEAS", short_number(gains.pop()), "[electron/adu] measured, and used here")
            )
        return FrameCorrections(masks, self._cosmic_search(), tuple(cards))

    def _cosmic_search(self):
        """Return the search for cosmic rays with the limits of the settings; None if it is off."""
        settings = self._settings
        if not settings["cosmic_rays"]:
            return None
        return partial(search, sigma=settings["cosmic_sigma"], contrast=settings["cosmic_contrast"])
