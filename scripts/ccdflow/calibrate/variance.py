"""The variance of calibrated pixels.

It is the sum of independent terms: photons and dark current (Poisson, from a model, see
`ccdflow.calibrate.signal`), read noise, rounding to whole adu, the level of its row, and the
masters as applied: the bias with (1 - k)^2, because the same bias was subtracted from the dark,
the dark with k^2, the flat with (S'/F)^2. All but the light of the frame is the same in every
frame of a night, and computed once.
"""

from __future__ import annotations

import numpy as np

from ccdflow.calibrate import signal
from ccdflow.calibrate.filled_lines import fill_lines
from ccdflow.calibrate.filled_pixels import FILLED_BITS, fill_pixels
from ccdflow.maskbits import UNCALIBRATED

# Every 8th row and 4th column: 20,000 pixels of a small chip give a median noise to a hundredth.
_SAMPLED_PIXELS = np.s_[::8, ::4]
# Number of rows processed at a time for a whole image.
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
        self._readouts = tuple(readout.noise_part for readout in image.readouts)
        self._planes = {}
        self._photons = {image.photon(readout) for readout in self._readouts}

    def master_variance(self, kind):
        """Return the variance of a master: adu^2; of a flat, relative to its value squared."""
        if kind not in self._planes:
            use = getattr(self._image.masters, kind)
            self._planes[kind] = self._image.plane(kind).variance(use.master, self._readouts)
        return self._planes[kind]

    def median(self, kind):
        """Return the median noise of a master in adu; of a flat, relative to its value."""

        def median_noise():
            """Return the root of the median variance of a sample."""
            return float(np.median(self.master_variance(kind)[_SAMPLED_PIXELS])) ** 0.5

        return self._image.plane(kind).figure(("noise", self._readouts), median_noise)

    # -- without light -----------------------------------------------------------------------------

    @property
    def variance_without_light(self):
        """The variance of a pixel without light, (ny, nx) float32; 0 outside all amplifiers."""
        if "constant" not in self._planes:
            self._planes["constant"] = self._shared_variance()
        return self._planes["constant"]

    def _shared_variance(self):
        """Return the variance without light, which frames with the same masters and noise share."""
        image, masters = self._image, self._image.masters
        planes = {kind: image.plane(kind) for kind in ("flat", "dark", "bias")}
        planes = {kind: plane for kind, plane in planes.items() if plane is not None}
        if not planes:
            return self._compute_variance_without_light()
        numbers = tuple((kind, plane.number) for kind, plane in planes.items())
        key = ("constant", self._readouts, masters.scale, image.is_in_electrons, numbers)
        return next(iter(planes.values())).recent_plane(key, self._compute_variance_without_light)

    def _compute_variance_without_light(self):
        """Return the part of the variance that no pixel's light changes, (ny, nx) float32."""
        image = self._image
        # The header needs these medians, and the planes that they are of may be dropped below.
        for kind in ("bias", "dark"):
            if image.plane(kind) is not None and self._master_share(kind):
                self.median(kind)
        variances = np.empty(image.shape, np.float32)
        scratch = np.empty((_ROWS_AT_ONCE, image.shape[1]), np.float32)
        flat = image.plane("flat")
        for first in range(0, image.shape[0], _ROWS_AT_ONCE):
            rows = slice(first, min(first + _ROWS_AT_ONCE, image.shape[0]))
            term = scratch[: rows.stop - first]
            self._write_before_flat(rows, variances[rows], term)
            if flat is not None:
                np.square(flat.data[rows], out=term)
                variances[rows] /= term
        if image.masters.scale == 1:
            # The usual dark: these planes are in the sum and no longer needed. This object lives
            # until Python looks for cycles of references, which may be many frames later.
            image.plane("dark").forget(self._readouts)
            self._planes.pop("dark", None)
        return variances

    def _master_share(self, kind):
        """Return the factor of the variance of a combined bias or dark."""
        masters = self._image.masters
        return (masters.bias_share if kind == "bias" else masters.scale) ** 2

    def _write_before_flat(self, rows, out, scratch):
        """Write the variance of some rows without light, before the flat, to ``out``."""
        image = self._image
        if not image.is_covered:
            out[...] = 0
        for readout, block_slices, image_slices in image.pieces(rows):
            factor = image.factor(readout) ** 2
            pixel_variance = readout.read_noise**2 + readout.rounding + readout.level_variance
            pixel_variance += self.variance_of_other_bias(readout)
            part, term = out[block_slices], scratch[block_slices]
            part[...] = np.float32(factor * pixel_variance)
            for kind in ("bias", "dark"):
                share = self._master_share(kind)
                if share and image.plane(kind) is not None:
                    variance = self.master_variance(kind)[image_slices]
                    np.multiply(variance, np.float32(factor * share), out=term)
                    part += term
            if image.plane("dark") is not None:
                use = image.masters.dark
                light = image.plane("dark").signal(use.master, self._readouts)[image_slices]
                share = image.masters.scale * image.factor(readout) * image.photon(readout)
                np.multiply(light, np.float32(share), out=term)
                part += term

    def variance_of_other_bias(self, readout):
        """Return the variance of the bias in the dark, if it is not the frame's own, adu^2.

        The dark's header gives the noise of its pixels; the levels of its rows add to it.

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
        pixel_variance = readout.read_noise**2 + readout.rounding
        rows = readout.level_variance / pixel_variance if pixel_variance else 0.0
        return (masters.dark.scale * masters.dark.master.bias_noise) ** 2 * (1 + rows)

    # -- with light --------------------------------------------------------------------------------

    def write_for_signal(self, rows, light, out, scratch):
        """Write the variance of some rows for an expected signal to ``out``.

        Parameters
        ----------
        rows : slice or numpy.ndarray of shape (k,), int
            Rows of the image.
        light : numpy.ndarray of shape (k, nx), float32
            The expected signal of the calibrated pixels, never negative.
        out : numpy.ndarray of shape (k, nx), float32
        scratch : numpy.ndarray of shape (k, nx), float32
            Overwritten.
        """
        flat = self._image.plane("flat")
        if flat is None:
            self._write_photons(rows, light, scratch)
        else:
            self._write_photons_over_flat(rows, flat.data[rows], out)
            np.multiply(light, self.master_variance("flat")[rows], out=scratch)
            scratch += out
            scratch *= light
        np.add(scratch, self.variance_without_light[rows], out=out)

    def write_for_signed_signal(self, rows, light, out, scratch):
        """Write the same as `write_for_signal` for a signal that may be below 0, and limit it.

        Medians of tiles without light scatter about 0. If those below 0 counted as 0, the mean of
        all would be above it, and the variance too large: by 2 % with a read noise of 2.5
        electrons. They may take `signal.LEAST_LIGHT` from the variance, at most.

        Parameters
        ----------
        rows, light, out, scratch
            See `write_for_signal`; ``light`` is raised to its limit where it is below.
        """
        flat, without_light = self._image.plane("flat"), self.variance_without_light[rows]
        if flat is None:
            out[...] = self._photons_in(rows)
        else:
            self._write_photons_over_flat(rows, flat.data[rows], out)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Outside all amplifiers both are 0.
            np.divide(without_light, out, out=out)
        np.sqrt(without_light, out=scratch)
        np.fmin(scratch, out, out=scratch)
        scratch *= np.float32(-signal.LEAST_LIGHT)
        np.maximum(light, scratch, out=light)
        self.write_for_signal(rows, light, out, scratch)

    def _write_photons(self, rows, light, out):
        """Write the variance of photons where there is no flat to ``out``.

        Outside all amplifiers it is 0.
        """
        np.multiply(light, self._photons_in(rows), out=out)

    def _write_photons_over_flat(self, rows, flat, out):
        """Write the variance of one photon over the flat to ``out``.

        The flat is in the processor's cache, where a plane of these values would not be.
        """
        np.divide(self._photons_in(rows), flat, out=out)

    def _photons_in(self, rows):
        """Return the variance of one photon in some rows: a number, or (k, nx) where it differs."""
        if len(self._photons) == 1 and self._image.is_covered:
            return np.float32(next(iter(self._photons)))
        return self._photon_map(rows)

    def _photon_map(self, rows):
        """Return the variance of one photon in some rows, (k, nx); 0 outside all amplifiers."""
        if isinstance(rows, slice):
            variances = np.zeros((rows.stop - rows.start, self._image.shape[1]), np.float32)
            for readout, block_slices, _ in self._image.pieces(rows):
                variances[block_slices] = self._image.photon(readout)
            return variances
        variances = np.zeros((len(rows), self._image.shape[1]), np.float32)
        for readout in self._readouts:
            region = readout.region
            is_in_region = (rows >= region.y0) & (rows < region.y1)
            variances[is_in_region, region.x0 : region.x1] = self._image.photon(readout)
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
            The mask of all these rows; bad pixels do not count for their neighbours.
        strip : int, optional
            See `ccdflow.calibrate.signal.pixels_of_structure`.
        """
        light, spare = (part[: out.size].reshape(out.shape) for part in scratch[:2])
        background.write_rows(rows, light)
        write_variance = (
            self.write_for_signed_signal if background.is_negative else self.write_for_signal
        )
        write_variance(rows, light, out, spare)
        flat = self._image.plane("flat")
        divisor = None if flat is None else flat.data[rows]
        photon = max(self._photons)

        def background_rows(index):
            """Return the background of some rows of ``image``."""
            frame_rows = np.clip(index + rows.start - 1, 0, self._image.shape[0] - 1)
            values = np.empty((len(index), image.shape[1]), np.float32)
            background.write_rows(frame_rows, values)
            return values

        bits = FILLED_BITS
        if self._image.masters.scale > 1:
            # Later this bit is set where a dark that is scaled up has most of the noise.
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
                photon=photon,
                scratch=scratch[1:],
                strip=strip,
            )
        if indices.size:
            self._replace_signal(rows, indices, light, structure, out)

    def _replace_signal(self, rows, indices, signal_before, signal_after, out):
        """Replace the expected signal in the variance of some pixels.

        Parameters
        ----------
        rows : slice
            Rows of the block.
        indices : numpy.ndarray of shape (n,), int
            Pixels of the flattened block.
        signal_before : numpy.ndarray of shape (k, nx), float32
            Signal of all pixels that the variance has.
        signal_after : numpy.ndarray of shape (n,), float32
            Signal of these pixels that it gets.
        out : numpy.ndarray of shape (k, nx), float32
            The variance, changed in place.
        """

        def values_of_pixels(plane):
            return np.take(plane.reshape(-1), indices)

        old_signal, new_signal = values_of_pixels(signal_before), np.maximum(signal_after, 0)
        photon = np.float32(next(iter(self._photons)))
        if len(self._photons) > 1:
            photon = values_of_pixels(self._photon_map(rows))
        flat = self._image.plane("flat")
        variance = values_of_pixels(out)
        if flat is not None:
            photon = photon / values_of_pixels(flat.data[rows])
            variance += (new_signal * new_signal - old_signal * old_signal) * values_of_pixels(
                self.master_variance("flat")[rows]
            )
        variance += (new_signal - old_signal) * photon
        out.reshape(-1)[indices] = variance
