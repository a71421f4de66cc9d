"""A reduced frame minus bias and dark, divided by its flat; its variance and mask. Arrays only.

S' = (R - B - k (D - B)) / F, in electrons if the gain of every amplifier is known. A combined dark
holds D - B: its bias is subtracted before the dark is scaled, so that it cannot be subtracted
twice.

The variance of a pixel is the sum of independent terms: photons and dark current (Poisson, from a
model, see `ccdflow.frame.signal`), read noise, rounding to whole adu, the level of its row, and
the masters as applied: the bias with (1 - k)^2, because the same bias was subtracted from the
dark, the dark with k^2, the flat with (S'/F)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.errors import FrameError
from ccdflow.frame import bits, signal

ELECTRONS = ("electron", "electrons", "e-", "e")
_ADU = ("adu", "adus", "dn", "count", "counts")

SCALE_UP = 2.5
"""A dark is scaled up by no more than this unless the caller says otherwise."""

# Number of rows processed at a time for a whole image.
_ROWS = 32
# Adu by which a saturated pixel may lie below the mean level of saturation: rows differ.
_MARGIN = 3.0


@dataclass(frozen=True)
class Use:
    """A master as applied to a frame.

    Attributes
    ----------
    master : ccdflow.frame.masters.Master
    scale : float
        k: the frame's exposure time over the dark's; 1 for equal ones.
    lag : int or None
        Nights from the master to the frame; negative if the master is later.
    degrees : float or None
        The dark's temperature minus the frame's.
    """

    master: object
    scale: float = 1.0
    lag: int | None = None
    degrees: float | None = None


@dataclass(frozen=True)
class Chain:
    """The masters of a frame; None for a missing one.

    Attributes
    ----------
    bias, dark, flat : Use or None
    """

    bias: Use | None = None
    dark: Use | None = None
    flat: Use | None = None

    @property
    def uses(self):
        """The masters that are not None, in the order in which they are applied."""
        return tuple(use for use in (self.bias, self.dark, self.flat) if use is not None)

    @property
    def scale(self):
        """k; 0 without a dark."""
        return 0.0 if self.dark is None else self.dark.scale

    @property
    def bias_share(self):
        """Net factor on the combined bias: 1 - k if it was subtracted from the dark as well."""
        if self.bias is None:
            return 0.0
        same = self.dark is not None and self.dark.master.bias_key == self.bias.master.key
        return 1.0 - self.dark.scale if same else 1.0


def unit_of(text, readouts):
    """Return the unit of a calibrated image, and whether electrons per adu are known.

    Parameters
    ----------
    text : str
        BUNIT of the reduced frame.
    readouts : tuple of ccdflow.frame.readout.Readout

    Returns
    -------
    str
        'electron' if the frame is in adu and every gain is known, or is in electrons already.
    """
    if text.lower() in ELECTRONS:
        return "electron"
    if text.lower() not in _ADU:
        return text
    return "electron" if all(readout.gain for readout in readouts) else "adu"


def has_noise(readouts):
    """Tell whether gain and read noise of every amplifier are known."""
    return bool(readouts) and all(r.photon_gain and r.read_noise is not None for r in readouts)


def level_is_out(chain, readouts):
    """Tell whether the bias level is subtracted: by overscan, bias, or a dark that includes it."""
    if chain.bias is not None or all(readout.subtracted for readout in readouts):
        return True
    return chain.dark is not None and not chain.dark.master.bias_key


# -- physics ---------------------------------------------------------------------------------------


def check(chain, readouts, *, camera="", unit="adu", scale_up=SCALE_UP, tolerance=0.5, name=None):
    """Raise `FrameError` if the masters would leave a fault in the frame's pixels.

    Parameters
    ----------
    chain : Chain
    readouts : tuple of ccdflow.frame.readout.Readout
        Of all images.
    camera : str
        Of the frame; '' if unknown.
    unit : str
        BUNIT of the frame.
    scale_up : float
        Largest factor by which a dark may be scaled up.
    tolerance : float
        Allowed difference of the dark's temperature, degrees.
    name : str, optional
        Name of the frame, for the error.
    """
    if chain.dark is not None:
        _check_dark(chain, scale_up, tolerance, name)
    if chain.flat is not None:
        _check_flat(chain, readouts, name)
    for use in chain.uses:
        _check_kin(use.master, readouts, camera, unit, name)


def _check_dark(chain, scale_up, tolerance, name):
    dark, k = chain.dark.master, chain.scale
    if not np.isfinite(k) or k <= 0:
        raise FrameError(
            "the dark cannot be scaled to the frame's exposure",
            file=name,
            keyword="EXPTIME",
            value=k,
            allowed="a frame's exposure over its dark's above 0",
            remedy="give the exposure times of both",
        )
    if k > scale_up:
        raise FrameError(
            "the dark would be scaled up beyond the limit",
            file=name,
            keyword="calibrate: scale_up",
            value=round(k, 4),
            allowed=f"at most {scale_up:g}",
            remedy=f"take a longer dark than {dark.name}",
        )
    off = chain.dark.degrees
    if off is not None and abs(off) > tolerance:
        raise FrameError(
            "the dark is of another temperature",
            file=name,
            keyword="calibrate: temperature_tolerance",
            value=round(off, 3),
            allowed=f"within {tolerance:g} degrees",
            remedy=f"take a dark at the frame's temperature, not {dark.name}",
        )
    if dark.bias_key:
        return
    if chain.bias is not None:
        raise FrameError(
            "the dark still holds its bias, which would be subtracted twice",
            file=name,
            value=dark.name,
            allowed="a dark without its bias (card BIASKEY), or no bias",
            remedy="combine the darks again",
        )
    if k != 1:
        raise FrameError(
            "a dark that still holds its bias would be scaled, and its bias with it",
            file=name,
            value=f"{dark.name}, scale {k:.4g}",
            allowed="a dark without its bias (card BIASKEY), or one of the same exposure",
            remedy="combine the darks again",
        )


def _check_flat(chain, readouts, name):
    flat = chain.flat.master
    if not flat.level_subtracted:
        raise FrameError(
            "the flat still holds its bias level",
            file=name,
            value=flat.name,
            allowed="a flat with bias or overscan subtracted (cards BIASKEY or OVERSCAN)",
            remedy="combine the flats again with a bias",
        )
    if not level_is_out(chain, readouts):
        raise FrameError(
            "the frame's bias level is still in it and would be divided by the flat",
            file=name,
            allowed="a combined bias, or a camera with overscan",
            remedy="take biases, or calibrate without flat",
        )


def _check_kin(master, readouts, camera, unit, name):
    if camera and master.camera and camera != master.camera:
        raise FrameError(
            f"the {master.kind} is another camera's",
            file=name,
            keyword="CCDFCAM",
            value=f"{master.camera} in {master.name}",
            allowed=camera,
        )
    if master.kind != "flat" and (unit.lower() in ELECTRONS) != (master.unit.lower() in ELECTRONS):
        raise FrameError(
            f"the {master.kind} is in another unit",
            file=name,
            keyword="BUNIT",
            value=f"{master.unit} in {master.name}",
            allowed=unit,
        )
    gains = [readout.gain for readout in readouts]
    if len(master.gains) != len(gains) or None in gains:
        return
    if any(abs(a - b) > 1e-3 * b for a, b in zip(master.gains, gains, strict=True)):
        raise FrameError(
            f"the {master.kind} was taken at another gain",
            file=name,
            keyword="GAIN",
            value=f"{master.gains} in {master.name}",
            allowed=f"{tuple(gains)} electrons per adu",
        )


# -- one image -------------------------------------------------------------------------------------


class Calibration:
    """The calibration of one image of frames, a block of rows at a time.

    Parameters
    ----------
    shape : (int, int)
        (ny, nx) of the image.
    readouts : tuple of ccdflow.frame.readout.Readout
        The amplifiers of this image.
    chain : Chain
        After approval by `check`.
    index : int
        Index of the masters' image.
    unit : str
        BUNIT of the reduced frame.
    noise : bool
        Whether variances are needed; gain and read noise must then be known.
    name : str, optional
        Name of the frame, for errors.

    Raises
    ------
    FrameError
        If a master has another shape, or noise is needed and cannot be predicted.
    """

    def __init__(self, shape, readouts, chain, *, index=0, unit="adu", noise=True, name=None):
        self.shape = shape
        self.readouts = tuple(readouts)
        area = sum(readout.region.size for readout in self.readouts)
        # Planes of the masters, looked up once.
        self._applied = self._of_flat = None
        self._is_covered = area == shape[0] * shape[1]
        self.chain = chain
        self.unit = unit_of(unit, self.readouts)
        # The unit of the reduced frame in units of the product, and its value in electrons.
        in_electrons = unit.lower() in ELECTRONS
        self.converts = self.unit == "electron" and not in_electrons
        self._in_electrons = in_electrons
        self._images = [self._image(use, index, name) for use in chain.uses]
        if noise and not has_noise(self.readouts):
            raise FrameError(
                "the noise cannot be predicted: gain or read noise is unknown",
                file=name,
                keyword="gain, read_noise",
                allowed="numbers for each amplifier",
                remedy="give them in the camera's profile",
            )
        self._by_kind = dict(
            zip((use.master.kind for use in chain.uses), self._images, strict=True)
        )

    def _image(self, use, index, name):
        images = use.master.images
        if index >= len(images) or images[index].data.shape != self.shape:
            found = "no such image" if index >= len(images) else images[index].data.shape[::-1]
            raise FrameError(
                f"the {use.master.kind} has another shape than the frame",
                file=name,
                keyword="NAXIS1, NAXIS2",
                value=f"{found} in {use.master.name}",
                allowed=str(self.shape[::-1]),
                remedy="combine frames of this window and binning",
            )
        return images[index]

    def plane(self, kind):
        """Return a master's `ccdflow.frame.masters.MasterImage`, or None."""
        return self._by_kind.get(kind)

    def factor(self, readout):
        """Return one unit of the reduced frame in units of the product."""
        return readout.gain if self.converts else 1.0

    def photon(self, readout):
        """Return one electron in units of the product: variance over signal."""
        if self._in_electrons:
            return 1.0
        # A gain that was measured tells the noise; the pixels keep the profile's or header's.
        return self.factor(readout) / readout.photon_gain

    def pieces(self, rows):
        """Yield (readout, slices in the block, slices in the image) of amplifiers in these rows.

        Parameters
        ----------
        rows : slice
        """
        for readout in self.readouts:
            region = readout.region
            low, high = max(region.y0, rows.start), min(region.y1, rows.stop)
            if low < high:
                columns = slice(region.x0, region.x1)
                inside = (slice(low - rows.start, high - rows.start), columns)
                yield readout, inside, (slice(low, high), columns)

    # -- pixels --------------------------------------------------------------------------------

    def apply(self, rows, values, scratch):
        """Calibrate the reduced pixels of some rows in place.

        Parameters
        ----------
        rows : slice or numpy.ndarray
            Rows of the image.
        values : numpy.ndarray
            (k, nx), native float32; values that are not finite stay so.
        scratch : numpy.ndarray
            Of the same shape; overwritten.
        """
        bias, dark, flat = (self.plane(kind) for kind in ("bias", "dark", "flat"))
        if bias is not None:
            values -= bias.data[rows]
        if dark is not None and self.chain.scale == 1:
            values -= dark.data[rows]
        elif dark is not None:
            np.multiply(dark.data[rows], np.float32(self.chain.scale), out=scratch)
            values -= scratch
        if flat is not None:
            values /= flat.data[rows]
        if self.converts:
            self._convert(rows, values)

    def _convert(self, rows, values):
        gains = {readout.gain for readout in self.readouts}
        if len(gains) == 1:
            values *= np.float32(gains.pop())
            return
        if isinstance(rows, slice):
            for readout, inside, _ in self.pieces(rows):
                values[inside] *= np.float32(readout.gain)
            return
        for readout in self.readouts:
            region = readout.region
            here = np.flatnonzero((rows >= region.y0) & (rows < region.y1))
            if here.size:
                part = slice(here[0], here[-1] + 1), slice(region.x0, region.x1)
                values[part] *= np.float32(readout.gain)

    # -- noise ---------------------------------------------------------------------------------

    def detector_variance(self, rows, out, scratch):
        """Write the variance without light, before the flat, to ``out``.

        Parameters
        ----------
        rows : slice
        out, scratch : numpy.ndarray
            (k, nx), float32; ``out`` becomes 0 outside all amplifiers.
        """
        dark = self.plane("dark")
        if dark is None or self.chain.scale != 1:
            self._detector_variance(rows, out, scratch)
            return
        # The usual dark, of the same exposure: computed once for all frames.
        if self._applied is None:
            key = ("applied", self.readouts, self.chain.bias_share, self._in_electrons)
            self._applied = dark.figure(key, self._whole_variance)
        out[...] = self._applied[rows]

    def _whole_variance(self):
        self.noise("dark")
        whole = np.empty(self.shape, np.float32)
        scratch = np.empty((_ROWS, self.shape[1]), np.float32)
        for first in range(0, self.shape[0], _ROWS):
            rows = slice(first, min(first + _ROWS, self.shape[0]))
            self._detector_variance(rows, whole[rows], scratch[: rows.stop - first])
        self.plane("dark").forget(self.readouts)
        return whole

    def _detector_variance(self, rows, out, scratch):
        if not self._is_covered:
            out[...] = 0
        bias_share = self.chain.bias_share**2
        for readout, inside, of_image in self.pieces(rows):
            factor = self.factor(readout) ** 2
            constant = readout.read_noise**2 + readout.rounding + readout.level_variance
            constant += self._other_bias()
            part, other = out[inside], scratch[inside]
            part[...] = np.float32(factor * constant)
            for kind, share in (("bias", bias_share), ("dark", self.chain.scale**2)):
                if share and self.plane(kind) is not None:
                    variance = self._variance(kind)[of_image]
                    np.multiply(variance, np.float32(factor * share), out=other)
                    part += other
            if self.plane("dark") is not None:
                use = self.chain.dark
                light = self.plane("dark").signal(use.master, self.readouts)[of_image]
                share = self.chain.scale * self.factor(readout) * self.photon(readout)
                np.multiply(light, np.float32(share), out=other)
                part += other

    def _variance(self, kind):
        use = getattr(self.chain, kind)
        return self.plane(kind).variance(use.master, self.readouts)

    def _flat_variance(self):
        if self._of_flat is None:
            self._of_flat = self._variance("flat")
        return self._of_flat

    def noise(self, kind):
        """Return the median noise of a master in adu; of a flat, relative to its value."""
        return self.plane(kind).figure(
            ("noise", self.readouts),
            lambda: float(np.median(self._variance(kind)[::8, ::4])) ** 0.5,
        )

    def _other_bias(self):
        """Return the variance of a bias that was subtracted only from the dark, adu^2."""
        dark = self.chain.dark
        if dark is None or not dark.master.bias_key:
            return 0.0
        if self.chain.bias is not None and dark.master.bias_key == self.chain.bias.master.key:
            return 0.0
        return (dark.scale * dark.master.bias_noise) ** 2

    def add_light(self, rows, light, variance, scratch):
        """Add photon noise and the flat's noise to a variance before the flat.

        Parameters
        ----------
        rows : slice
        light : numpy.ndarray
            (k, nx): the expected signal of the calibrated pixels, never negative.
        variance : numpy.ndarray
            (k, nx); changed.
        scratch : numpy.ndarray
            (2, k, nx); overwritten.
        """
        seen, other = scratch
        flat = self.plane("flat")
        if flat is None:
            np.copyto(seen, light)
        else:
            np.multiply(light, flat.data[rows], out=seen)
            np.multiply(seen, seen, out=other)
            other *= self._flat_variance()[rows]
            variance += other
        self._scale_to_photons(rows, seen)
        variance += seen

    def _scale_to_photons(self, rows, light):
        photons = {self.photon(readout) for readout in self.readouts}
        if len(photons) == 1:
            if photons != {1.0}:
                light *= np.float32(photons.pop())
            return
        for readout, inside, _ in self.pieces(rows):
            light[inside] *= np.float32(self.photon(readout))

    def variance(self, rows, image, background, out, scratch):
        """Write the variance of calibrated pixels, times the flat squared, to ``out``.

        Parameters
        ----------
        rows : slice
        image : numpy.ndarray
            (k + 2, nx), contiguous: these rows calibrated, and one row on either side.
        background : ccdflow.frame.signal.Background
        out : numpy.ndarray
            (k, nx).
        scratch : numpy.ndarray
            (3, (k + 2) nx), float32; overwritten.
        """
        around, *others = scratch[:, : out.size].reshape(3, *out.shape)
        self.detector_variance(rows, out, others[0])
        background.rows(np.arange(rows.start, rows.stop), around)
        if background.is_negative:
            np.maximum(around, 0, out=around)
        self.add_light(rows, around, out, others)
        flat = self.plane("flat")
        divisor = None if flat is None else flat.data[rows]
        photon = max(self.photon(readout) for readout in self.readouts)
        y, x, found = signal.structure(image, around, out, divisor, photon, scratch[1:])
        if y.size:
            self._replace(rows, (y, x), around, found, out)

    def _replace(self, rows, at, before, after, out):
        """Replace the expected signal in the variance of some pixels."""
        old, new = before[at], np.maximum(after, 0)
        photon = np.float32(1.0)
        photons = {self.photon(readout) for readout in self.readouts}
        if photons != {1.0}:
            plane = np.empty_like(before)
            for readout, inside, _ in self.pieces(rows):
                plane[inside] = self.photon(readout)
            photon = plane[at]
        flat = self.plane("flat")
        if flat is not None:
            divisor = flat.data[rows][at]
            old, new = old * divisor, new * divisor
            out[at] += (new * new - old * old) * self._flat_variance()[rows][at]
        out[at] += (new - old) * photon

    def to_error(self, rows, variance):
        """Convert variances before the flat to standard errors of the product, in place."""
        np.sqrt(variance, out=variance)
        flat = self.plane("flat")
        if flat is not None:
            variance /= flat.data[rows]

    # -- mask ----------------------------------------------------------------------------------

    def mask(self, rows, reduced, stored, out):
        """Write the mask of some rows to ``out``.

        Parameters
        ----------
        rows : slice
        reduced : numpy.ndarray
            (k, nx), float32: the reduced pixels.
        stored : numpy.ndarray or None
            (k, nx): the reduced frame's own mask, or None.
        out : numpy.ndarray
            (k, nx), int16.
        """
        if stored is not None:
            out[...] = stored
        else:
            out[...] = 0
            self._find_saturated(rows, reduced, out)
            finite = np.isfinite(reduced)
            if not finite.all():
                out[~finite] |= bits.NOT_FINITE
        if not self._is_covered:
            covered = np.zeros(out.shape, bool)
            for _, inside, _ in self.pieces(rows):
                covered[inside] = True
            out[~covered] |= bits.NO_DATA
        self._find_not_linear(rows, reduced, out)
        for image in self._images:
            image.flags.put(rows.start, out)
        if self.chain.scale > 1:
            self._mask_hot(rows, out)

    def _find_saturated(self, rows, reduced, out):
        for readout, inside, _ in self.pieces(rows):
            if readout.saturation is None:
                continue
            top = readout.saturation - readout.level - (_MARGIN if readout.subtracted else 0)
            full = reduced[inside] >= np.float32(top)
            if full.any():
                out[inside][full] |= bits.SATURATED

    def _find_not_linear(self, rows, reduced, out):
        """Flag pixels beyond the linear range that are not saturated."""
        for readout, inside, _ in self.pieces(rows):
            if readout.linear is not None:
                beyond = reduced[inside] > np.float32(readout.linear - readout.level)
                beyond &= (out[inside] & bits.SATURATED) == 0
                out[inside][beyond] |= bits.NOT_LINEAR

    def _mask_hot(self, rows, out):
        """Mask hot pixels whose dark is scaled up, and thus extrapolated."""
        exptime = self.chain.dark.master.exptime
        dark = self.plane("dark")
        if not exptime:
            return
        for readout, inside, of_image in self.pieces(rows):
            gain = 1.0 if self._in_electrons else readout.photon_gain
            if gain is not None:
                hot = dark.data[of_image] * np.float32(gain / exptime) > bits.HOT_RATE
                out[inside][hot] |= bits.HOT

    def mask_extrapolated(self, rows, variance, out):
        """Mask pixels whose variance is mostly that of a dark that was scaled up.

        Parameters
        ----------
        rows : slice
        variance : numpy.ndarray
            (k, nx), before the flat.
        out : numpy.ndarray
            (k, nx), int16.
        """
        if self.chain.scale <= 1:
            return
        for readout, inside, of_image in self.pieces(rows):
            share = (self.factor(readout) * self.chain.scale) ** 2
            most = self._variance("dark")[of_image] * np.float32(2 * share) > variance[inside]
            out[inside][most] |= bits.UNCALIBRATED


def calibrate_arrays(reduced, readouts, chain, *, mask=None, unit="adu", noise=True, index=0):
    """Calibrate a whole image in memory.

    Parameters
    ----------
    reduced : numpy.ndarray
        (ny, nx), adu, float32; not changed.
    readouts : tuple of ccdflow.frame.readout.Readout
    chain : Chain
    mask : numpy.ndarray, optional
        (ny, nx), the reduced frame's mask.
    unit : str
        Of the reduced frame.
    noise : bool
        Whether to compute the standard errors.
    index : int
        Index of the masters' image.

    Returns
    -------
    data : numpy.ndarray
        (ny, nx), float32, electrons if every gain is known, otherwise adu.
    error : numpy.ndarray or None
        (ny, nx), float32, its standard error.
    flags : numpy.ndarray
        (ny, nx), int16, bits of `ccdflow.frame.bits`.

    Raises
    ------
    FrameError
        If the masters cannot be applied.
    """
    check(chain, readouts, unit=unit)
    work = Calibration(reduced.shape, readouts, chain, index=index, unit=unit, noise=noise)
    rows = slice(0, reduced.shape[0])
    padded = np.empty((reduced.shape[0] + 2, reduced.shape[1]), np.float32)
    data, scratch = padded[1:-1], np.empty((3, padded.size), np.float32)
    data[...] = reduced
    flags, error = np.zeros(reduced.shape, np.int16), None
    work.mask(rows, data, mask, flags)
    with np.errstate(invalid="ignore", over="ignore"):
        work.apply(rows, data, scratch[0, : data.size].reshape(data.shape))
        padded[0], padded[-1] = data[0], data[-1]
        if noise:
            tiles = signal.tiles_of(reduced.shape[0])
            background = signal.Background(tiles, data[tiles.all_rows])
            error = np.empty(reduced.shape, np.float32)
            work.variance(rows, padded, background, error, scratch)
            work.mask_extrapolated(rows, error, flags)
            work.to_error(rows, error)
    return data.copy(), error, flags
