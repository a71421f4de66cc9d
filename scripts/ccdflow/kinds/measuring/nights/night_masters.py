"""The combined darks and flats of a night that one detector took in one way, and their members."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np

from ccdflow.detector.photons.night_transfer import group_by_exposure
from ccdflow.frame.products import product_images
from ccdflow.frame.readout import ROUNDING_VARIANCE
from ccdflow.kinds.masters.combining import has_members_below_minimum
from ccdflow.kinds.matching import association
from ccdflow.kinds.measuring.member_rows import whole_image
from ccdflow.kinds.measuring.noise_sentences import is_spectrum
from ccdflow.run import job_records
from ccdflow.run.products.product_names import reduced_product

# Read noise that is assumed where neither a measurement nor a card gives it, adu: typical of CCDs.
_ASSUMED_READ_NOISE = 5.0


class NightMasters:
    """The masters of a night that one detector took in one way.

    Parameters
    ----------
    context : ccdflow.run.context.Context
    group : ccdflow.run.job.Group
        Group of the measurement.
    flats : list of ccdflow.run.job_records.Record, optional
        The combined flats; those of the group if not given.

    Attributes
    ----------
    darks, flats : list of ccdflow.run.job_records.Record
        The combined darks and flats that were made.
    flat_pairs : list of ccdflow.run.job_records.Record
        Groups with too few flats for a combined flat, in which two flats have the same exposure:
        the difference of these two shows the gain.
    """

    def __init__(self, context, group, *, flats=None):
        self.context = context
        self.group = group
        self._last_bias = None, None
        records_by_kind, below_minimum = {"dark": [], "flat": []}, {"dark": [], "flat": []}
        for step in group.steps:
            for use in step.uses:
                record = context.outcome(use.product)
                if record is not None and record.status == job_records.MADE:
                    records_by_kind[step.kind].append(record)
                elif record is not None and has_members_below_minimum(record):
                    below_minimum[step.kind].append(record)
        self.darks = records_by_kind["dark"]
        self.flats = records_by_kind["flat"] if flats is None else flats
        self.flat_pairs = [record for record in below_minimum["flat"] if self._has_pair(record)]

    @cached_property
    def row(self):
        """The row of one member: the amplifiers of all members are the same."""
        return self.context.row_of_product(reduced_product(self.files[0]))

    @property
    def files(self):
        """The raw files of all members."""
        return [f for record in self.records for f in record.data["members"]]

    @property
    def records(self):
        """The records of all masters, and of the groups with too few flats for one."""
        return (*self.darks, *self.flats, *self.flat_pairs)

    @cached_property
    def images(self):
        """The images that each frame has."""
        store = self.context.store
        return product_images(store.geometry(self.row.geometry), self.recipe)

    @property
    def recipe(self):
        """The recipe by which the members were reduced."""
        return self.context.store.recipe(self.row.recipe)

    def place(self, amplifier):
        """Return the region of an amplifier in an image."""
        return self.recipe.region_of(amplifier)

    def bias_of(self, record):
        """Return the record of the bias that was subtracted from the members of a master."""
        return self.subtracted_master(record, "bias")

    def subtracted_master(self, record, kind):
        """Return the record of the master that was subtracted from the members of another, or None.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record
            Record of the other master.
        kind : {'bias', 'dark'}

        Returns
        -------
        ccdflow.run.job_records.Record or None
        """
        group = self.context.group(record.product)
        for step in group.steps:
            if step.kind == kind and (use := association.first_use(self.context, step)):
                return self.context.outcome(use.product)
        return None

    def subtracted_masters(self, record):
        """Return {kind: record} of the bias and dark that were subtracted from a flat's members.

        {} without a bias: a dark is subtracted only with it.
        """
        masters = {kind: self.subtracted_master(record, kind) for kind in ("bias", "dark")}
        if masters["bias"] is None:
            return {}
        return {kind: master for kind, master in masters.items() if master is not None}

    def role_of(self, record):
        """Return a master's role in the search for bad pixels.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record

        Returns
        -------
        {'dark', 'flat', 'spectrum', 'not used'}
        """
        if any(record is flat for flat in self.flats):
            return "spectrum" if self.is_of_spectrum(record) else "flat"
        darks_used = self.darks_of_one_temperature()
        return "dark" if any(record is dark for dark in darks_used) else "not used"

    def dark_rate(self, record, image, place):
        """Return the function that gives the rate of the dark subtracted from a flat's members.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record
            Record of the combined flat.
        image : ccdflow.frame.products.ProductImage
        place : ccdflow.camera.sections.Region
            The part of the image.

        Returns
        -------
        callable
            Takes indices of rows of the part, and returns their rate in adu a second, (k, nx)
            float32: 0 where no dark was subtracted.
        """
        dark = self.subtracted_master(record, "dark")
        if dark is None:
            return lambda rows: np.zeros((len(rows), place.x1 - place.x0), np.float32)
        pixels = whole_image(self.context.results / dark.product, image.hdu)[place.slices]
        seconds = np.float32(dark.data["seconds"])
        return lambda rows: np.nan_to_num(pixels[rows]) / seconds

    def bias_pixels(self, record, image):
        """Return an image of the bias that was subtracted from the members of a master, or None.

        The last image that was read is kept, because most masters of a night have the same bias.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record
        image : ccdflow.frame.products.ProductImage

        Returns
        -------
        numpy.ndarray of shape (ny, nx), float32, or None
        """
        bias = self.bias_of(record)
        if bias is None:
            return None
        name, (last_name, pixels) = (bias.product, image.hdu), self._last_bias
        if name != last_name:
            pixels = whole_image(self.context.results / bias.product, image.hdu)
            self._last_bias = name, pixels
        return pixels

    def exposures_of(self, record):
        """Return the exposure time of each member of a master, NaN where it is not known."""
        rows = [
            self.context.row_of_product(reduced_product(file)) for file in record.data["members"]
        ]
        return [exposure_of(row) for row in rows]

    def members_of_known_exposure(self, record):
        """Return the record of a master with only those members whose exposure is known."""
        members = zip(record.data["members"], self.exposures_of(record), strict=True)
        files = [file for file, seconds in members if math.isfinite(seconds)]
        return replace(record, data={**record.data, "members": files})

    def _has_pair(self, record):
        """Return whether two members have the same exposure: their difference shows the gain."""
        exposures = [seconds for seconds in self.exposures_of(record) if math.isfinite(seconds)]
        return any(len(members) > 1 for members in group_by_exposure(exposures))

    def read_noise(self, amplifier):
        """Return the read noise of an amplifier, adu, its error, and whether it was measured.

        The first master that has a bias with a measured noise gives it. Without such a bias it is
        that of profile or header, or else `_ASSUMED_READ_NOISE`.

        Parameters
        ----------
        amplifier : ccdflow.camera.geometry.Amplifier

        Returns
        -------
        (float, float, bool)
        """
        for master in self.records:
            bias = self.bias_of(master)
            for figures in bias.data.get("quality", ()) if bias is not None else ():
                value, error = figures["read_noise"], figures["read_noise_error"]
                if figures["amplifier"] == amplifier.name and value and math.isfinite(value):
                    return value, error if math.isfinite(error) else 0.0, True
        if amplifier.read_noise and amplifier.gain:
            value = math.hypot(amplifier.read_noise / amplifier.gain, ROUNDING_VARIANCE**0.5)
            # Chosen: the value of a card is taken to be right within 10 %.
            return value, 0.1 * value, False
        return _ASSUMED_READ_NOISE, _ASSUMED_READ_NOISE, False

    def is_level_removed(self, record, amplifier):
        """Return whether the bias level was subtracted from the members of a master.

        Parameters
        ----------
        record : ccdflow.run.job_records.Record
            Record of the combined dark or flat.
        amplifier : ccdflow.camera.geometry.Amplifier

        Returns
        -------
        bool
        """
        is_subtracted = self.recipe.subtract and bool(amplifier.overscan)
        return is_subtracted or self.bias_of(record) is not None

    def is_of_spectrum(self, record):
        """Return whether the members of a combined flat were taken through a grism."""
        return is_spectrum(self.context.row_of_product(reduced_product(record.data["members"][0])))

    def darks_of_one_temperature(self):
        """Return the darks of the temperature that most darks have, shortest exposure first."""
        records_by_temperature = {}
        for record in self.darks:
            shared = dict(self.context.group(record.product).shared)
            records_by_temperature.setdefault(shared.get("temperature", ""), []).append(record)
        records_of_temperature = max(records_by_temperature.values(), key=len, default=[])
        return sorted(records_of_temperature, key=lambda record: record.data["seconds"])


def exposure_of(row):
    """Return the exposure of a frame in seconds, NaN where it is not known or 0."""
    return positive_or_nan(row.facts["exptime"])


def positive_or_nan(value):
    """Return a header's value as a number; NaN unless it is a number above 0."""
    is_number = isinstance(value, int | float) and math.isfinite(value) and value > 0
    return float(value) if is_number else math.nan
