"""Reduced frames made again by the public functions of ccdproc, astropy and numpy."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import warnings
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import ccdproc
import numpy as np
from astropy import units
from astropy.io import fits
from astropy.modeling import fitting, models
from astropy.nddata import CCDData
from astropy.stats import sigma_clip

from ccdflow.errors import is_own_fault
from ccdflow.verify.reading.accounts import PACKINGS
from ccdflow.verify.reading.restated_numbers import MAD_TO_SIGMA
from ccdflow.verify.reading.verdict import MISSING, MODEL, UNREADABLE, CannotRemake

# Errors at packed or damaged files.
_READ_ERRORS = (
    OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, IndexError, TypeError,
)  # fmt: skip
# The first bytes of a packed file, and the function that unpacks it.
_UNPACKERS = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\0", lzma.decompress),
)
# Rows that are reduced at once. For a whole frame in float64, the system would clear new memory for
# each frame.
_ROWS_AT_ONCE = 256
# Sigma beyond which a pixel of the overscan is an outlier, and least value of this sigma, adu.
_OUTLIER_SIGMA, _LEAST_SIGMA = 5, 1.0


@dataclass(frozen=True)
class SourceFile:
    """A raw file, read and unpacked once.

    Attributes
    ----------
    fingerprint : str
        CRC-32 and length of the unpacked bytes, in the form of RAWFP.
    images : dict of int to astropy.nddata.CCDData
        Pixels of the used HDUs, adu.
    headers : list of astropy.io.fits.Header
        Headers of all HDUs.
    tops : dict of int to (float or None)
        Highest possible value of the pixels of the used HDUs, adu; None for floats and for
        integers of more than 16 bits.
    """

    fingerprint: str
    images: dict[int, CCDData]
    headers: list[fits.Header]
    tops: dict[int, float | None] = field(default_factory=dict)

    @property
    def first_header(self):
        """Header of the first HDU."""
        return self.headers[0]


def read_raw(account, folder):
    """Return the raw file of a reduced frame, read and unpacked.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.FrameAccount
    folder : Path

    Returns
    -------
    SourceFile
        Without images and headers if the fingerprint is not that of the account.

    Raises
    ------
    CannotRemake
        If the file is missing or cannot be read.
    """
    path = _existing_path(Path(folder) / account.raw_file)
    if not path.is_file():
        raise CannotRemake(f"the raw file {account.raw_file} is missing", MISSING)
    hdus_used = {
        amplifier.hdu for amplifiers in account.images.values() for amplifier in amplifiers
    }
    try:
        content = _unpacked_content(path)
        fingerprint = f"{zlib.crc32(content):08x}-{len(content):x}"
        if fingerprint != account.fingerprint:
            return SourceFile(fingerprint, {}, [])
        return _source_of_content(content, fingerprint, hdus_used)
    except _READ_ERRORS as error:
        if is_own_fault(error):
            raise
        reason = f"the raw file cannot be read: {error}"
        raise CannotRemake(reason, UNREADABLE) from None


def _unpacked_content(path):
    """Return the bytes of a raw file, unpacked if its first bytes are those of a packed file."""
    content = path.read_bytes()
    for start, unpack in _UNPACKERS:
        if content.startswith(start):
            return unpack(content)
    return content


def _source_of_content(content, fingerprint, hdus_used):
    """Return the `SourceFile` of the bytes of a FITS file, with the pixels of some HDUs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            # The highest values come first, because astropy removes the scaling from a header when
            # it reads the pixels.
            tops = {hdu: _highest_value(hdus[hdu].header) for hdu in hdus_used}
            images = {hdu: CCDData(hdus[hdu].data, unit=units.adu) for hdu in hdus_used}
            return SourceFile(fingerprint, images, [hdu.header for hdu in hdus], tops)


def _highest_value(header):
    """Return the highest value of integers of 8 or 16 bits by the scaling of a header, or None."""
    ranges = {8: (0, 2**8 - 1), 16: (-(2**15), 2**15 - 1)}
    if header.get("BITPIX") not in ranges:
        return None
    scale, zero = (np.float32(header.get(name, n)) for name, n in (("BSCALE", 1), ("BZERO", 0)))
    return float((np.array(ranges[header["BITPIX"]], np.float32) * scale + zero).max())


def _existing_path(path):
    """Return the existing path of a raw file with any ending of packed files, or the given path."""
    name = path.name
    if name.lower().endswith(PACKINGS):
        name = name[: name.rindex(".")]
    other_paths = (path.with_name(f"{name}{packing}") for packing in ("", *PACKINGS))
    return next((each for each in (path, *other_paths) if each.is_file()), path)


def overscan_of(raw_image, amplifier):
    """Return the overscan of an amplifier, with its strips side by side.

    Parameters
    ----------
    raw_image : astropy.nddata.CCDData
        The whole raw HDU, adu.
    amplifier : ccdflow.verify.reading.accounts.AmplifierAccount

    Returns
    -------
    astropy.nddata.CCDData
    """
    strips = [raw_image.data[strip] for strip in amplifier.strips]
    if amplifier.axis == "frame":
        strips = [strip.reshape(1, -1) for strip in strips]
    values = np.concatenate(strips, axis=0 if amplifier.axis == "columns" else 1)
    return CCDData(values, unit=units.adu)


def reduce_amplifier(raw_image, amplifier, account):
    """Yield the pixels of an amplifier without its overscan level, some rows at a time.

    Parameters
    ----------
    raw_image : astropy.nddata.CCDData
        The whole raw HDU, adu.
    amplifier : ccdflow.verify.reading.accounts.AmplifierAccount
    account : ccdflow.verify.reading.accounts.FrameAccount

    Yields
    ------
    place : (slice, slice)
        Place of these pixels in the product.
    pixels : numpy.ndarray of that shape, float64
        Adu, in the orientation of the product.

    Raises
    ------
    CannotRemake
        If ccdproc has no such subtraction.
    """
    for raw_region, (y, x) in _regions_with_levels(raw_image, amplifier):
        subtract = _subtraction_of_overscan(raw_image, amplifier, account, raw_region)
        raw_rows, raw_columns = raw_region
        n_rows = raw_rows.stop - raw_rows.start
        for low in range(0, n_rows, _ROWS_AT_ONCE):
            high = min(low + _ROWS_AT_ONCE, n_rows)
            part = slice(raw_rows.start + low, raw_rows.start + high), raw_columns
            pixels = subtract(ccdproc.trim_image(raw_image[part]), slice(low, high)).data
            first = y.start + (n_rows - high if "y" in amplifier.flip else low)
            pixels = turn_image(np.asarray(pixels, dtype=np.float64), amplifier.flip)
            yield (slice(first, first + high - low), x), pixels


def _regions_with_levels(raw_image, amplifier):
    """Return [(raw region, place in the product)] of the pixels that levels are subtracted from.

    A frame that was not trimmed has its overscan in it.
    """
    if amplifier.kept_section is not None:
        return [(amplifier.kept_section, amplifier.place)]
    is_alone = amplifier.place == (slice(0, raw_image.shape[0]), slice(0, raw_image.shape[1]))
    strips = () if is_alone else amplifier.strips
    return [(region, region) for region in (amplifier.place, *strips)]


def _subtraction_of_overscan(raw_image, amplifier, account, raw_region):
    """Return a function of pixels (CCDData) and their rows (slice) that subtracts the overscan.

    Parameters
    ----------
    raw_image : astropy.nddata.CCDData
        The whole raw HDU, adu.
    amplifier : ccdflow.verify.reading.accounts.AmplifierAccount
    account : ccdflow.verify.reading.accounts.FrameAccount
    raw_region : tuple of slice
        Rows and columns of the pixels in the raw array.
    """
    if not amplifier.strips:
        return lambda part, rows: part
    overscan = overscan_of(raw_image, amplifier)
    is_median = account.statistic == "median"
    if amplifier.axis == "frame":
        level = (np.median if is_median else np.mean)(overscan.data) * units.adu
        return lambda part, rows: part.subtract(level)
    axis = 0 if amplifier.axis == "columns" else 1
    if overscan.shape[1 - axis] != raw_region[1 - axis].stop - raw_region[1 - axis].start:
        raise CannotRemake(
            "the frame was left whole, and its overscan does not span it: ccdproc cannot do that",
            MODEL,
        )
    if account.model:
        # The levels are one column, which is its own median.
        levels = _model_of_overscan(overscan.data, axis, account)
        overscan, is_median = CCDData(np.expand_dims(levels, axis), unit=units.adu), True
    arguments = {"overscan_axis": axis, "median": is_median, "add_keyword": None}
    return lambda part, rows: ccdproc.subtract_overscan(
        part, overscan=overscan[rows] if axis else overscan, **arguments
    )


def _model_of_overscan(values, axis, account):
    """Return the levels of a model along an overscan by astropy, without outliers: (n,), adu.

    Parameters
    ----------
    values : numpy.ndarray of shape (ny, nx), float64 or of the raw type
        The overscan, adu.
    axis : int
        The axis across the overscan.
    account : ccdflow.verify.reading.accounts.FrameAccount

    Raises
    ------
    CannotRemake
        If astropy has no such model.
    """
    levels = (np.median if account.statistic == "median" else np.mean)(values, axis=axis)
    places = np.arange(len(levels))
    clip = {"sigma": account.sigma, "cenfunc": "median", "stdfunc": "std", "maxiters": 1}
    # A limit of 0 sigma leaves out no level.
    iterations = account.iterations if account.sigma else 0
    if account.model == "polynomial":
        fit = fitting.LinearLSQFitter()
        if iterations:
            fit = fitting.FittingWithOutlierRemoval(fit, sigma_clip, niter=iterations, **clip)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit_result = fit(models.Polynomial1D(account.order), places, levels)
        return (fit_result[0] if iterations else fit_result)(places)
    if account.model != "spline":
        raise CannotRemake(f"astropy has no model {account.model!r}", MODEL)
    was_kept = np.ones(len(levels), bool)
    for _ in range(iterations + 1):
        ends = places[was_kept][[0, -1]].astype(float)
        knots = np.linspace(*ends, account.order + 1)[1:-1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = fitting.SplineExactKnotsFitter()
            curve = fit(models.Spline1D(degree=3), places[was_kept], levels[was_kept], t=knots)(
                places
            )
        is_kept = ~np.ma.getmaskarray(
            sigma_clip(np.ma.array(levels - curve, mask=~was_kept), **clip)
        )
        if iterations == 0 or np.array_equal(is_kept, was_kept):
            break
        was_kept = is_kept
    return curve


def turn_image(image, flip):
    """Return an image with the axes reversed that AMPFLIP names.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), any type
    flip : {'', 'x', 'y', 'xy'}

    Returns
    -------
    numpy.ndarray of shape (ny, nx), any type
    """
    return image[:: -1 if "y" in flip else 1, :: -1 if "x" in flip else 1]


def overscan_figures(account, raw_images):
    """Yield (amplifier, level, noise) by the raw overscan, adu.

    The level is the mean of the subtracted values. The noise is the scatter of overscan pixels
    about the mean of their row or column, or about the median of a frame with one level. Outliers
    beyond `_OUTLIER_SIGMA` do not count.

    Parameters
    ----------
    account : ccdflow.verify.reading.accounts.FrameAccount
    raw_images : dict of int to astropy.nddata.CCDData
        The used HDUs of the raw file, adu.

    Yields
    ------
    (ccdflow.verify.reading.accounts.AmplifierAccount, float, float or None)
        The noise is None if no row or column of the overscan has two pixels.

    Raises
    ------
    CannotRemake
        If astropy has no such model of the overscan.
    """
    for amplifiers in account.images.values():
        for amplifier in amplifiers:
            if not amplifier.strips or amplifier.level is None:
                continue
            values = overscan_of(raw_images[amplifier.hdu], amplifier).data.astype(np.float64)
            values = values.T if amplifier.axis == "columns" else values
            middle = np.median if account.statistic == "median" else np.mean
            if account.model and amplifier.axis != "frame":
                level = float(np.mean(_model_of_overscan(values, 1, account)))
            else:
                levels = middle(values, axis=1)
                is_sound = levels < (amplifier.saturated_level or np.inf)
                level = float(np.mean(levels[is_sound] if is_sound.any() else levels))
            strips = [raw_images[amplifier.hdu].data[strip] for strip in amplifier.strips]
            yield amplifier, level, _noise_of(strips, amplifier)


def _noise_of(strips, amplifier):
    """Return the scatter of strips about the means of their rows or columns, adu; None for none."""
    sum_of_squares = n_values = 0
    for strip in strips:
        values = strip.astype(np.float64)
        if amplifier.axis == "frame":
            values = values.reshape(1, -1)
        values = values.T if amplifier.axis == "columns" else values
        n_of_line = values.shape[1]
        if n_of_line < 2:
            continue
        # A mean of all pixels would follow the outliers, so a frame has the median.
        centre = np.median(values) if amplifier.axis == "frame" else values.mean(1, keepdims=True)
        deviation = np.abs(values - centre)
        kept_deviations = deviation[
            deviation <= _OUTLIER_SIGMA * max(MAD_TO_SIGMA * np.median(deviation), _LEAST_SIGMA)
        ]
        sum_of_squares += float((kept_deviations**2).sum()) * n_of_line / (n_of_line - 1)
        n_values += kept_deviations.size
    return (sum_of_squares / n_values) ** 0.5 if n_values else None
