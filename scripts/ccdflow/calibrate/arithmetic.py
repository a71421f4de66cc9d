"""A reduced frame minus bias and dark, divided by its flat; its variance and mask. Arrays only.

S' = (R - B - k (D - B)) / F, in electrons if the gain of every amplifier is known. A combined dark
holds D - B: its bias is subtracted before the dark is scaled, so that it cannot be subtracted
twice.
"""

from __future__ import annotations

import numpy as np

from ccdflow import mask_bits
from ccdflow.calibrate import signal
from ccdflow.calibrate.applied_masters import check_masters, is_noise_known
from ccdflow.calibrate.frame_corrections import FrameCalibration
from ccdflow.calibrate.image_masters import ImageMasters
from ccdflow.calibrate.variance import PixelVariance
from ccdflow.errors import FrameError

# Adu. A pixel is saturated if it is at most this much below the saturation: the level of its row
# may be above the mean level. With a larger margin bright pixels that are not full are masked; with
# a smaller one full pixels of such rows are not. Chosen, not measured.
_SATURATION_MARGIN = 3.0
# Electrons a second. A pixel of more dark current is masked if its dark is scaled up, because its
# noise is scaled as well. Chosen, not measured.
_HOT_RATE = 20.0


class ImageCalibration(ImageMasters):
    """The calibration of one image of frames, a block of rows at a time.

    Parameters
    ----------
    shape, calibration, index, unit, name
        See `ccdflow.calibrate.image_masters.ImageMasters`.
    needs_noise : bool, optional
        Whether variances are needed: gain and read noise must then be known.

    Attributes
    ----------
    pixel_variance : ccdflow.calibrate.variance.PixelVariance or None
        Predicts the variances; None if they are not needed.

    Raises
    ------
    FrameError
        If a master has another shape, or noise is needed and cannot be predicted.
    """

    def __init__(self, shape, calibration, *, index=0, unit="adu", needs_noise=True, name=None):
        super().__init__(shape, calibration, index=index, unit=unit, name=name)
        if needs_noise and not is_noise_known(self.readouts):
            lacks_gain = not all(readout.photon_gain for readout in self.readouts)
            raise FrameError(
                f"the noise cannot be predicted: the {'gain' if lacks_gain else 'read noise'}"
                " is unknown",
                file=name,
                keyword="gain" if lacks_gain else "read_noise",
                allowed="a number for each amplifier",
                remedy="give it in the camera's profile",
            )
        self._offset = None
        self.pixel_variance = PixelVariance(self) if needs_noise else None

    # -- pixels --------------------------------------------------------------------------------

    @property
    def offset(self):
        """The sum of bias and dark to subtract, B + k (D - B): (ny, nx) float32, adu, or None."""
        if self._offset is None:
            bias, dark = self.master_image("bias"), self.master_image("dark")
            if dark is None:
                self._offset = None if bias is None else bias.data
            elif bias is None and self.masters.scale == 1:
                self._offset = dark.data
            else:
                key = ("offset", self.masters.scale, None if bias is None else bias.number)
                self._offset = dark.recent_plane(key, self._make_offset)
        return self._offset

    def _make_offset(self):
        """Return the bias and the scaled dark, (ny, nx) float32, adu."""
        offset = self.master_image("dark").data * np.float32(self.masters.scale)
        if self.master_image("bias") is not None:
            offset += self.master_image("bias").data
        return offset

    def apply(self, rows, values):
        """Calibrate the reduced pixels of some rows in place.

        Parameters
        ----------
        rows : slice or numpy.ndarray of shape (k,), int
            Rows of the image.
        values : numpy.ndarray of shape (k, nx), native float32
            Reduced pixels of these rows; calibrated pixels afterwards.
        """
        flat = self.master_image("flat")
        if self.offset is not None:
            values -= self.offset[rows]
        if flat is not None:
            values /= flat.data[rows]
        if self.is_converted:
            self._convert_to_electrons(rows, values)

    def _convert_to_electrons(self, rows, values):
        """Multiply the values of some rows by the gains of their amplifiers, in place."""
        gains = {readout.gain for readout in self.readouts}
        if len(gains) == 1:
            values *= np.float32(gains.pop())
            return
        if isinstance(rows, slice):
            for readout, block_slices, _ in self.pieces(rows):
                values[block_slices] *= np.float32(readout.gain)
            return
        for readout in self.readouts:
            region = readout.region
            indices = np.flatnonzero((rows >= region.y0) & (rows < region.y1))
            if indices.size:
                block_slices = slice(indices[0], indices[-1] + 1), slice(region.x0, region.x1)
                values[block_slices] *= np.float32(readout.gain)

    # -- mask ----------------------------------------------------------------------------------

    def mask(self, rows, reduced, stored, out):
        """Write the mask of some rows to ``out``.

        Parameters
        ----------
        rows : slice
        reduced : numpy.ndarray of shape (k, nx), float32
            The reduced pixels.
        stored : numpy.ndarray of shape (k, nx), uint8, or None
            Mask of these rows in the reduced frame; None if the frame has no mask.
        out : numpy.ndarray of shape (k, nx), int16
            Bits of `ccdflow.mask_bits`.
        """
        if stored is not None:
            out[...] = stored
        else:
            out[...] = 0
        # Most blocks have nothing to flag: their extremes show that in less time than all pixels.
        highest = reduced.max()
        if stored is None and not (np.isfinite(highest) and np.isfinite(reduced.min())):
            out[~np.isfinite(reduced)] |= mask_bits.NOT_FINITE
        self._flag_saturated(rows, reduced, out, highest, is_masked=stored is not None)
        if not self.is_covered:
            is_covered_pixel = np.zeros(out.shape, bool)
            for _, block_slices, _ in self.pieces(rows):
                is_covered_pixel[block_slices] = True
            out[~is_covered_pixel] |= mask_bits.NO_DATA
        self._flag_not_linear(rows, reduced, out, highest)
        for image in self.images:
            image.flags.put(rows.start, out)
        for readout, block_slices, _ in self.pieces(rows):
            if readout.is_dead:
                out[block_slices] |= mask_bits.DEAD
            for region in readout.without_level:
                low, high = max(region.y0 - rows.start, 0), max(region.y1 - rows.start, 0)
                out[low:high, region.x0 : region.x1] |= mask_bits.NO_DATA
        if self.masters.scale > 1:
            self._flag_hot(rows, out)

    def _flag_saturated(self, rows, reduced, out, highest, *, is_masked):
        """Flag pixels that are saturated or at the end of the converter.

        Parameters
        ----------
        rows : slice
            Rows of the frame.
        reduced : numpy.ndarray of shape (k, nx), float32
            The reduced pixels of these rows, adu.
        out : numpy.ndarray of shape (k, nx), int16
            Their mask, which gets the bits.
        highest : float
            The highest reduced value of these rows.
        is_masked : bool
            Whether the frame has a mask of its own, with the pixels saturated by profile or header.
        """
        for readout, block_slices, image_slices in self.pieces(rows):
            end = readout.converter
            if (
                end is not None
                and end.has_pixels
                and not highest < np.float32(end.least_of_all_lines)
            ):
                y, x = image_slices
                is_full = end.full_pixels(reduced[block_slices], y.start, x.start)
                out[block_slices][is_full] |= mask_bits.SATURATED
            is_in_own_mask = is_masked and not readout.is_saturation_measured
            if readout.saturation is None or is_in_own_mask:
                continue
            margin = _SATURATION_MARGIN if readout.is_level_subtracted else 0
            limit = readout.saturation - readout.level - margin
            if highest < np.float32(limit):
                continue
            is_full = reduced[block_slices] >= np.float32(limit)
            if is_full.any():
                out[block_slices][is_full] |= mask_bits.SATURATED

    def _flag_not_linear(self, rows, reduced, out, highest):
        """Flag pixels beyond the linear range that are not saturated.

        Parameters
        ----------
        rows : slice
        reduced : numpy.ndarray of shape (k, nx), float32
            The reduced pixels of these rows, adu.
        out : numpy.ndarray of shape (k, nx), int16
            Their mask, changed in place.
        highest : float
            The highest reduced value of these rows, adu.
        """
        for readout, block_slices, _ in self.pieces(rows):
            if readout.linear is None:
                continue
            limit = np.float32(readout.linear - readout.level)
            if not highest <= limit:
                is_beyond = reduced[block_slices] > limit
                is_beyond &= (out[block_slices] & mask_bits.SATURATED) == 0
                out[block_slices][is_beyond] |= mask_bits.NOT_LINEAR

    def _flag_hot(self, rows, out):
        """Flag pixels of much dark current where the dark is scaled up."""
        exptime = self.masters.dark.master.exptime
        dark = self.master_image("dark")
        if not exptime:
            return
        for readout, block_slices, image_slices in self.pieces(rows):
            gain = 1.0 if self.is_in_electrons else readout.photon_gain
            if gain is not None:
                is_hot = dark.data[image_slices] * np.float32(gain / exptime) > _HOT_RATE
                out[block_slices][is_hot] |= mask_bits.HOT

    def mask_extrapolated(self, rows, variance, out):
        """Mask pixels whose variance is mostly that of a dark that was scaled up.

        Parameters
        ----------
        rows : slice
        variance : numpy.ndarray of shape (k, nx), float32
            Variance of the calibrated pixels.
        out : numpy.ndarray of shape (k, nx), int16
            Their mask, changed in place.
        """
        if self.masters.scale <= 1:
            return
        flat, dark = self.master_image("flat"), self.pixel_variance.master_variance("dark")
        for readout, block_slices, image_slices in self.pieces(rows):
            variance_factor = (self.unit_factor(readout) * self.masters.scale) ** 2
            # The dark makes more than half of the variance if twice its own exceeds the variance.
            doubled_variance = dark[image_slices] * np.float32(2 * variance_factor)
            if flat is not None:
                doubled_variance /= np.square(flat.data[image_slices])
            out[block_slices][doubled_variance > variance[block_slices]] |= mask_bits.UNCALIBRATED


def calibrate_arrays(reduced, readouts, masters, *, mask=None, unit="adu", needs_noise=True):
    """Calibrate a whole image in memory.

    Parameters
    ----------
    reduced : numpy.ndarray of shape (ny, nx), float32
        Adu; not changed.
    readouts : tuple of ccdflow.frame.readout.Readout
    masters : ccdflow.calibrate.applied_masters.FrameMasters
        The first image of each master is applied.
    mask : numpy.ndarray of shape (ny, nx), uint8, optional
        The reduced frame's mask.
    unit : str, optional
        Unit of the reduced frame.
    needs_noise : bool, optional
        Whether to compute the standard errors.

    Returns
    -------
    data : numpy.ndarray of shape (ny, nx), float32
        Electrons if every gain is known, otherwise adu.
    error : numpy.ndarray of shape (ny, nx), float32, or None
        Standard error of ``data``.
    flags : numpy.ndarray of shape (ny, nx), int16
        Bits of `ccdflow.mask_bits`.

    Raises
    ------
    FrameError
        If the masters cannot be applied, or the noise of an amplifier is unknown and needed.

    Examples
    --------
    Without masters the pixels are multiplied by the gain; the error is that of electrons and
    readout:

    >>> from ccdflow.calibrate.applied_masters import FrameMasters
    >>> from ccdflow.camera.sections import Region
    >>> from ccdflow.frame.readout import Readout
    >>> readout = Readout(Region(0, 4, 0, 4), gain=2.0, read_noise=3.0, rounding_variance=0.0)
    >>> reduced = np.full((4, 4), 32.0, np.float32)
    >>> data, error, flags = calibrate_arrays(reduced, (readout,), FrameMasters())
    >>> print(data[0, 0], error[0, 0], flags[0, 0])
    64.0 10.0 0
    """
    check_masters(masters, readouts, unit=unit)
    calibration = FrameCalibration(masters, [readouts])
    image_calibration = ImageCalibration(
        reduced.shape, calibration, unit=unit, needs_noise=needs_noise
    )
    rows = slice(0, reduced.shape[0])
    padded = np.empty((reduced.shape[0] + 2, reduced.shape[1]), np.float32)
    data, scratch = padded[1:-1], np.empty((3, padded.size), np.float32)
    data[...] = reduced
    flags, error = np.zeros(reduced.shape, np.int16), None
    image_calibration.mask(rows, data, mask, flags)
    with np.errstate(invalid="ignore", over="ignore"):
        image_calibration.apply(rows, data)
        padded[0], padded[-1] = data[0], data[-1]
        if needs_noise:
            tiles = signal.tiles_of(reduced.shape[0])
            background = signal.Background(tiles, data[tiles.all_rows])
            variance = np.empty(reduced.shape, np.float32)
            flags_around = np.concatenate([flags[:1], flags, flags[-1:]])
            image_calibration.pixel_variance.write(
                rows, padded, background, variance, scratch, flags=flags_around
            )
            image_calibration.mask_extrapolated(rows, variance, flags)
            error = np.sqrt(variance, out=variance)
    return data.copy(), error, flags
