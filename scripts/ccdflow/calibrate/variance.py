"""The variance of calibrated pixels.

It is the sum of independent terms: photons and dark current (Poisson, from a model, see
`ccdflow.calibrate.signal`), read noise, rounding to whole adu, the level of its row, and the
masters as applied: the bias with (1 - k)^2, because the same bias was subtracted from the dark,
the dark with k^2, the flat with (S'/F)^2. The terms that do not depend on the light of a frame are
the same for all frames of a night, and are computed once.
"""

from __future__ import annotations

import numpy as np

from ccdflow.calibrate import signal
from ccdflow.calibrate.filled_lines import fill_lines
from ccdflow.calibrate.filled_pixels import FILLED_BITS, fill_pixels
from ccdflow.mask_bits import UNCALIBRATED

# The pixels that are sampled for a median noise: the 20,000 of a small chip give it to 1 %.
_SAMPLED_PIXELS = np.s_[::8, ::4]
# Number of rows processed at a time for a whole image: their float32 stay in the processor's cache.
_ROWS_AT_ONCE = 32


class PixelVariance:
    """The variance of one image's calibrated pixels, a block of rows at a time.

    Variances are in the product's unit squared.

    Parameters
    ----------
    image : ccdflow.calibrate.image_masters.ImageMasters
        An image of amplifiers whose gain and read noise are known.
    """

    def __init__(self, image):
        self._image = image
        # The level of a frame and its saturation differ from frame to frame; its noise does not.
        self._readouts = tuple(readout.without_frame_values for readout in image.readouts)
        self._planes = {}
        self._photon_variances = {image.photon_variance(readout) for readout in self._readouts}

    def master_variance(self, kind):
        """Return the variance of a master: adu^2; of a flat, relative to its value squared."""
        if kind not in self._planes:
            master = getattr(self._image.masters, kind).master
            self._planes[kind] = self._image.master_image(kind).variance(master, self._readouts)
        return self._planes[kind]

    def median_noise(self, kind):
        """Return the median noise of a master in adu; of a flat, relative to its value."""

        def sampled_noise():
            """Return the root of the median variance of a sample."""
            return float(np.median(self.master_variance(kind)[_SAMPLED_PIXELS])) ** 0.5

        return self._image.master_image(kind).figure(("noise", self._readouts), sampled_noise)

    # -- without light -----------------------------------------------------------------------------

    @property
    def variance_without_light(self):
        """Variance of a pixel without light, (ny, nx) float32; 0 outside all amplifiers."""
        if "constant" not in self._planes:
            self._planes["constant"] = self._shared_variance()
        return self._planes["constant"]

    def _shared_variance(self):
        """Return the variance without light, computed once for frames with the same masters."""
        image, masters = self._image, self._image.masters
        images = {kind: image.master_image(kind) for kind in ("flat", "dark", "bias")}
        images = {kind: each for kind, each in images.items() if each is not None}
        if not images:
            return self._compute_variance_without_light()
        numbers = tuple((kind, each.number) for kind, each in images.items())
        units = image.is_in_electrons, image.is_converted
        key = ("constant", self._readouts, masters.scale, units, numbers)
        return next(iter(images.values())).recent_plane(key, self._compute_variance_without_light)

    def _compute_variance_without_light(self):
        """Return the variance of each pixel without light, (ny, nx) float32."""
        image = self._image
        # The header needs these medians, and the planes that give them may be freed below.
        for kind in ("bias", "dark"):
            if image.master_image(kind) is not None and self._variance_factor(kind):
                self.median_noise(kind)
        variances = np.empty(image.shape, np.float32)
        scratch = np.empty((_ROWS_AT_ONCE, image.shape[1]), np.float32)
        flat = image.master_image("flat")
        for first in range(0, image.shape[0], _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, image.shape[0]))
            term = scratch[: rows.stop - first]
            self._write_before_flat(rows, variances[rows], term)
            if flat is not None:
                np.square(flat.data[rows], out=term)
                variances[rows] /= term
        if image.masters.scale == 1:
            # Nearly all darks have the frame's exposure. The sum contains the planes of such a
            # dark, which are no longer needed: this object would hold them until Python looks for
            # cycles of references, which may be many frames later.
            image.master_image("dark").forget(self._readouts)
            self._planes.pop("dark", None)
        return variances

    def _variance_factor(self, kind):
        """Return the factor on the variance of a combined bias or dark."""
        masters = self._image.masters
        return (masters.bias_factor if kind == "bias" else masters.scale) ** 2

    def _write_before_flat(self, rows, out, scratch):
        """Write the variance of some rows without light and without the flat to ``out``."""
        image = self._image
        if not image.is_covered:
            out[...] = 0
        for readout, block_slices, image_slices in image.pieces(rows):
            factor = image.unit_factor(readout) ** 2
            pixel_variance = (
                readout.read_noise**2 + readout.rounding_variance + readout.level_variance
            )
            pixel_variance += self.variance_of_other_bias(readout)
            total, term = out[block_slices], scratch[block_slices]
            total[...] = np.float32(factor * pixel_variance)
            for kind in ("bias", "dark"):
                master_factor = self._variance_factor(kind)
                if master_factor and image.master_image(kind) is not None:
                    variance = self.master_variance(kind)[image_slices]
                    np.multiply(variance, np.float32(factor * master_factor), out=term)
                    total += term
            if image.master_image("dark") is not None:
                dark = image.masters.dark.master
                charge = image.master_image("dark").signal(dark, self._readouts)[image_slices]
                charge_factor = (
                    image.masters.scale
                    * image.unit_factor(readout)
                    * image.photon_variance(readout)
                )
                np.multiply(charge, np.float32(charge_factor), out=term)
                total += term

    def variance_of_other_bias(self, readout):
        """Return the variance that the bias in the dark adds, adu^2; 0 if it is the frame's own.

        0 also without a dark, and for a dark that still holds its bias. The dark's header gives the
        noise of a pixel of that bias, without the noise that the levels of its rows add.

        Parameters
        ----------
        readout : ccdflow.frame.readout.Readout

        Returns
        -------
        float
        """
        masters = self._image.masters
        if masters.dark is None or not masters.dark.master.bias_key:
            return 0.0
        if masters.bias is not None and masters.dark.master.bias_key == masters.bias.master.key:
            return 0.0
        pixel_variance = readout.read_noise**2 + readout.rounding_variance
        level_ratio = readout.level_variance / pixel_variance if pixel_variance else 0.0
        return (masters.dark.scale * masters.dark.master.bias_noise) ** 2 * (1 + level_ratio)

    # -- with light --------------------------------------------------------------------------------

    def write_for_signal(self, rows, light, out, scratch):
        """Write the variance of some rows for an expected signal to ``out``.

        Parameters
        ----------
        rows : slice or numpy.ndarray of shape (k,), int
            Rows of the image.
        light : numpy.ndarray of shape (k, nx), float32
            The expected signal of the calibrated pixels; below 0 only as far as
            `write_for_signed_signal` allows.
        out : numpy.ndarray of shape (k, nx), float32
        scratch : numpy.ndarray of shape (k, nx), float32
            Overwritten.
        """
        flat = self._image.master_image("flat")
        if flat is None:
            self._write_photon_variance(rows, light, scratch)
        else:
            self._write_photon_variance_over_flat(rows, flat.data[rows], out)
            np.multiply(light, self.master_variance("flat")[rows], out=scratch)
            scratch += out
            scratch *= light
        np.add(scratch, self.variance_without_light[rows], out=out)

    def write_for_signed_signal(self, rows, light, out, scratch):
        """Write the variance of some rows for an expected signal that may be below 0, to ``out``.

        Medians of tiles without light scatter about 0. If medians below 0 counted as 0, the mean of
        all medians would be above 0, and the variance too large: by 2 % with a read noise of 2.5
        electrons. `signal.MOST_BELOW_ZERO` limits how far a signal is below 0, so that the variance
        stays above 0.

        Parameters
        ----------
        rows, light, out, scratch
            See `write_for_signal`; ``light`` is raised to the limit where it is lower.
        """
        flat, variance_without_light = (
            self._image.master_image("flat"),
            self.variance_without_light[rows],
        )
        if flat is None:
            out[...] = self._photon_variance_of_rows(rows)
        else:
            self._write_photon_variance_over_flat(rows, flat.data[rows], out)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Outside all amplifiers both variances are 0.
            np.divide(variance_without_light, out, out=out)
        np.sqrt(variance_without_light, out=scratch)
        np.fmin(scratch, out, out=scratch)
        scratch *= np.float32(-signal.MOST_BELOW_ZERO)
        np.maximum(light, scratch, out=light)
        self.write_for_signal(rows, light, out, scratch)

    def _write_photon_variance(self, rows, light, out):
        """Write the variance of the photons of light without a flat to ``out``."""
        np.multiply(light, self._photon_variance_of_rows(rows), out=out)

    def _write_photon_variance_over_flat(self, rows, flat, out):
        """Write the variance that a unit of light over the flat adds to ``out``.

        The flat is in the processor's cache already; a stored plane of the results would not be.
        """
        np.divide(self._photon_variance_of_rows(rows), flat, out=out)

    def _photon_variance_of_rows(self, rows):
        """Return the variance that a unit of light adds: a number, or (k, nx) if pixels differ."""
        if len(self._photon_variances) == 1 and self._image.is_covered:
            return np.float32(next(iter(self._photon_variances)))
        return self._photon_variance_map(rows)

    def _photon_variance_map(self, rows):
        """Return the variance that a unit of light adds, (k, nx); 0 outside all amplifiers."""
        if isinstance(rows, slice):
            variances = np.zeros((rows.stop - rows.start, self._image.shape[1]), np.float32)
            for readout, block_slices, _ in self._image.pieces(rows):
                variances[block_slices] = self._image.photon_variance(readout)
            return variances
        variances = np.zeros((len(rows), self._image.shape[1]), np.float32)
        for readout in self._readouts:
            region = readout.region
            is_in_region = (rows >= region.y0) & (rows < region.y1)
            variances[is_in_region, region.x0 : region.x1] = self._image.photon_variance(readout)
        return variances

    def write(self, rows, image, background, out, scratch, *, flags=None, strip=None):
        """Write the variance of calibrated pixels to ``out``.

        Parameters
        ----------
        rows : slice
        image : numpy.ndarray of shape (k + 2, nx), float32
            Contiguous: these rows calibrated, and one row on either side.
        background : ccdflow.calibrate.signal.Background
        out : numpy.ndarray of shape (k, nx), float32
        scratch : numpy.ndarray of shape (3, (k + 2) nx), float32
            Overwritten.
        flags : numpy.ndarray of shape (k + 2, nx), int16, optional
            Mask of the rows of ``image``: the signal is estimated without bad neighbours.
        strip : int, optional
            See `ccdflow.calibrate.signal.pixels_of_structure`.
        """
        light, term = (part[: out.size].reshape(out.shape) for part in scratch[:2])
        background.write_rows(rows, light)
        write_variance = (
            self.write_for_signed_signal if background.is_negative else self.write_for_signal
        )
        write_variance(rows, light, out, term)
        flat = self._image.master_image("flat")
        divisor = None if flat is None else flat.data[rows]
        photon_variance = max(self._photon_variances)

        def background_rows(index):
            """Return the background of some rows of ``image``."""
            frame_rows = np.clip(index + rows.start - 1, 0, self._image.shape[0] - 1)
            values = np.empty((len(index), image.shape[1]), np.float32)
            background.write_rows(frame_rows, values)
            return values

        bits = FILLED_BITS
        if self._image.masters.scale > 1:
            # UNCALIBRATED does not count here: if a dark that is scaled up makes most of the noise,
            # rows above the block have this bit already, and rows below get it later. The errors
            # would depend on the blocks.
            bits &= ~UNCALIBRATED
        with (
            fill_pixels(image, flags, background_rows, bits),
            fill_lines(image, rows.start - 1, self._image.lines_without_level),
        ):
            indices, structure = signal.pixels_of_structure(
                image,
                light,
                variance=out,
                flat=divisor,
                photon_variance=photon_variance,
                scratch=scratch[1:],
                strip=strip,
            )
        if indices.size:
            self._replace_signal(rows, indices, light, structure, out)

    def _replace_signal(self, rows, indices, signal_before, signal_after, out):
        """Change the variance of some pixels to that of another expected signal.

        Parameters
        ----------
        rows : slice
            Rows of the block.
        indices : numpy.ndarray of shape (n,), int
            These pixels, in the flattened block.
        signal_before : numpy.ndarray of shape (k, nx), float32
            Signal of all pixels for which ``out`` was computed.
        signal_after : numpy.ndarray of shape (n,), float32
            Signal of these pixels for which ``out`` is to be computed.
        out : numpy.ndarray of shape (k, nx), float32
            The variance, changed in place.
        """

        def values_of_pixels(plane):
            """Return the values of these pixels in a plane of the block."""
            return np.take(plane.reshape(-1), indices)

        old_signal, new_signal = values_of_pixels(signal_before), np.maximum(signal_after, 0)
        photon_variance = np.float32(next(iter(self._photon_variances)))
        if len(self._photon_variances) > 1:
            photon_variance = values_of_pixels(self._photon_variance_map(rows))
        flat = self._image.master_image("flat")
        variance = values_of_pixels(out)
        if flat is not None:
            photon_variance = photon_variance / values_of_pixels(flat.data[rows])
            variance += (new_signal * new_signal - old_signal * old_signal) * values_of_pixels(
                self.master_variance("flat")[rows]
            )
        variance += (new_signal - old_signal) * photon_variance
        out.reshape(-1)[indices] = variance
