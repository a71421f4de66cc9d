"""The figures of a calibrated image, measured on some of its rows before its pixels are written."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from ccdflow.calibrate import signal, sky_level
from ccdflow.calibrate.combined_master import LEAST_FLAT
from ccdflow.files.fits_products.multi_image_products import read_picked_rows

# Pixels that are read and calibrated at once: as float32 they stay in the processor's cache.
_READ_PIXELS = 1 << 16
# Steps over the rows and columns of a master that are sampled for its median, and for its highest
# values, which need more pixels. With smaller steps sorting takes longer; with larger ones a small
# window has few pixels in the sample. Chosen, not measured.
_MEDIAN_STEPS, _TOP_STEPS = (8, 4), (4, 4)
# The fraction of a flat's pixels below the response from which SATURATE follows. With a smaller
# fraction the brightest pixels would saturate below SATURATE; with all pixels one hot pixel would
# set SATURATE.
_TOP_FRACTION = 0.999


class ImageFigures(TypedDict, total=False):
    """The figures of a calibrated image, in the unit of the product.

    Attributes
    ----------
    sky, sky_rms : float or None
        Level and noise of a median pixel; None without a finite pixel.
    sky_predicted : float or None
        Noise of a median pixel that the standard errors predict; None without standard errors.
    saturation : float or None
        The smallest value that a saturated pixel can have; None if it is unknown.
    bias_noise, dark_noise : float
        Median noise of a master as applied, before the flat; absent without that master.
    flat_noise : float
        Median noise of the flat, relative to its value; absent without a flat.
    level_noise : list of float
        Noise of the level of a row in each amplifier; empty without standard errors.
    flags : dict of int to int
        Number of pixels with each bit of the mask; absent without a mask.
    keeps_cosmics : bool
        Whether the hits of cosmic rays are in the mask; absent without a search for cosmic rays.
    cosmics_search : (float, float, float)
        Limit in sigma, contrast, and FWHM of the stars, pixels; absent without a search.
    """

    sky: float | None
    sky_rms: float | None
    sky_predicted: float | None
    saturation: float | None
    bias_noise: float
    dark_noise: float
    flat_noise: float
    level_noise: list[float]
    flags: dict[int, int]
    keeps_cosmics: bool
    cosmics_search: tuple[float, float, float]


class ImageSample:
    """Some rows of an image of a reduced frame, calibrated to measure the image's figures.

    Parameters
    ----------
    descriptor : int
        Descriptor of the frame's open file.
    hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The HDU of the image.
    calibration : ccdflow.calibrate.arithmetic.ImageCalibration
    name : str
        Name of the frame, for errors.
    has_errors : bool
        Whether standard errors are made.

    Attributes
    ----------
    background : ccdflow.calibrate.signal.Background or None
        The smooth part of the image, electrons or adu; None without standard errors.
    """

    def __init__(self, descriptor, hdu, calibration, *, name, has_errors):
        self._descriptor, self._hdu, self._calibration = descriptor, hdu, calibration
        self._name, self._has_errors = name, has_errors
        self.background = None
        self._sky_rows = self._sky = ()
        if has_errors:
            tiles = signal.tiles_of(hdu.shape[0])
            self.background = signal.Background(tiles, self.calibrate_rows(tiles.all_rows))

    def figures(self):
        """Return the `ImageFigures` that follow from the sample; those of the mask do not."""
        ny, _ = self._hdu.shape
        rows = sky_level.sampled_pairs_of_rows(ny)
        self._sky_rows = rows, np.minimum(rows + 1, ny - 1)
        self._sky = tuple(map(self.calibrate_rows, self._sky_rows))
        return {
            **sky_level.level_and_noise(*self._sky),
            "sky_predicted": self._predicted_noise(rows) if self._has_errors else None,
            "saturation": self._saturation(),
            **self._master_noises(),
        }

    def sky_of_good_pixels(self, mask):
        """Return the figures of the sky without the pixels that have a flag.

        Parameters
        ----------
        mask : numpy.ndarray of shape (ny, nx), int16
            The complete mask of the image.

        Returns
        -------
        dict of str to float
            Named as in `ImageFigures`; {} if no pixel of the sample has a flag, or all have one.
        """
        flag_masks = [mask[rows] != 0 for rows in self._sky_rows]
        if not any(each.any() for each in flag_masks):
            return {}
        pairs = zip(flag_masks, self._sky, strict=True)
        good_rows = [np.where(is_bad, np.float32(np.nan), values) for is_bad, values in pairs]
        figures = sky_level.level_and_noise(*good_rows)
        if self._has_errors:
            figures["sky_predicted"] = self._predicted_noise(self._sky_rows[0], flag_masks[0])
        # The header has a card for each figure already: figures may change, but none may vanish.
        finite_figures = {name: value for name, value in figures.items() if value is not None}
        return finite_figures if len(finite_figures) == len(figures) else {}

    def calibrate_rows(self, rows):
        """Return the calibrated pixels of some rows, (k, nx) float32."""
        nx = self._hdu.shape[1]
        step = max(1, _READ_PIXELS // nx)
        stored = np.empty((min(step, len(rows)), nx), self._hdu.dtype)
        values = np.empty((len(rows), nx), np.float32)
        for first in range(0, len(rows), step):
            indices, block = rows[first : first + step], values[first : first + step]
            rows_read = stored[: len(indices)]
            read_picked_rows(
                self._descriptor, self._hdu, indices.tolist(), rows_read, name=self._name
            )
            np.copyto(block, rows_read)
            with np.errstate(invalid="ignore", over="ignore"):
                self._calibration.apply(indices, block)
        return values

    def _predicted_noise(self, rows, is_flagged=False):
        """Return the noise of a pixel that some rows at the level of the background would show.

        Flagged pixels, (k, nx) bool, do not count; False flags none.
        """
        shape = (len(rows), self._hdu.shape[1])
        light, variance, scratch = (np.empty(shape, np.float32) for _ in range(3))
        self.background.write_rows(rows, light)
        self._calibration.pixel_variance.write_for_signed_signal(rows, light, variance, scratch)
        variance[np.broadcast_to(is_flagged, shape)] = 0
        return sky_level.expected_noise(np.sqrt(variance, out=variance))

    def _saturation(self):
        """Return the least value of a saturated pixel, in the product's unit; None if unknown."""
        levels = [self._saturation_of(readout) for readout in self._calibration.readouts]
        return min(levels) if levels and None not in levels else None

    def _saturation_of(self, readout):
        """Return the calibrated value at which an amplifier is saturated, None if it is unknown."""
        if readout.lowest_saturation is None:
            return None
        value = readout.lowest_saturation - readout.level
        for kind, scale in (("bias", 1.0), ("dark", self._calibration.masters.scale)):
            image = self._calibration.master_image(kind)
            if image is not None:
                value -= scale * _median_of_region(image, readout.region)
        flat = self._calibration.master_image("flat")
        if flat is not None:
            value /= _highest_of_region(flat, readout.region)
        return value * self._calibration.unit_factor(readout)

    def _master_noises(self):
        """Return the figures of the noise that masters as applied and the level of a row add."""
        if not self._has_errors:
            return {"level_noise": []}
        factor = max(
            self._calibration.unit_factor(readout) for readout in self._calibration.readouts
        )
        noises = self._noises_with_other_bias(self._noise_of_bias_and_dark(factor), factor)
        if self._calibration.master_image("flat") is not None:
            noises["flat_noise"] = self._calibration.pixel_variance.median_noise("flat")
        return {**noises, "level_noise": self._level_noises()}

    def _noise_of_bias_and_dark(self, factor):
        """Return the median noise of bias and dark as applied, times `factor`."""
        masters, calibration, noises = self._calibration.masters, self._calibration, {}
        for kind, scale in (("bias", abs(masters.bias_factor)), ("dark", masters.scale)):
            if calibration.master_image(kind) is not None:
                # The noise of a bias takes long to compute, and is 0 if the bias cancels.
                noise = calibration.pixel_variance.median_noise(kind) if scale else 0.0
                noises[f"{kind}_noise"] = scale * factor * noise
        return noises

    def _noises_with_other_bias(self, noises, factor):
        """Return the noises; that of the bias includes the noise of another bias in the dark."""
        other_variances = [
            self._calibration.pixel_variance.variance_of_other_bias(readout)
            for readout in self._calibration.readouts
        ]
        if not any(other_variances):
            return noises
        bias_noise = noises.get("bias_noise", 0.0)
        other_variance = sum(other_variances) / len(other_variances)
        return noises | {"bias_noise": (bias_noise**2 + factor**2 * other_variance) ** 0.5}

    def _level_noises(self):
        """Return the noise of the level of a row in each amplifier, in the product's unit."""
        # The variances of the levels of the frame and of all members of bias and dark add up.
        masters, variance_ratio = self._calibration.masters, 1.0
        for kind, factor in (("bias", masters.bias_factor), ("dark", masters.scale)):
            applied = getattr(masters, kind)
            if applied is not None and applied.master.frames:
                variance_ratio += factor**2 / applied.master.frames
        return [
            self._calibration.unit_factor(readout)
            * (readout.level_variance * variance_ratio) ** 0.5
            for readout in self._calibration.readouts
        ]


def _median_of_region(image, region):
    """Return the median of a master's pixels in a region, the same for all frames."""

    def sampled_median():
        """Return the median of a sample of the region's pixels."""
        sample = image.data[region.slices][:: _MEDIAN_STEPS[0], :: _MEDIAN_STEPS[1]]
        return float(np.median(sample))

    # The region is the key; a readout is not, because its level differs from frame to frame.
    return image.figure(("middle", region), sampled_median)


def _highest_of_region(image, region):
    """Return a value that few pixels of a flat exceed in a region, the same for all frames."""

    def sampled_top():
        """Return the high quantile of a sample of the region's pixels."""
        sample = image.data[region.slices][:: _TOP_STEPS[0], :: _TOP_STEPS[1]]
        return max(float(np.quantile(sample, _TOP_FRACTION)), LEAST_FLAT)

    return image.figure(("top", region), sampled_top)
