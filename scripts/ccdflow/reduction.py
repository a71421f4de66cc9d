"""Overscan subtraction and trimming: arrays in, arrays out.

The arithmetic is that of `ccdproc.subtract_overscan` and `ccdproc.trim_image`, and the tests hold
it equal to them to the last bit. It is done by blocks of rows that stay in the processor's cache,
straight from the stored big-endian integers to the big-endian floats of the product.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ccdflow import fitsio
from ccdflow.errors import FrameError

# Raise it when a change alters any pixel or any card of a product: all frames are then reduced
# again. tests/test_reduction.py holds the bytes of a known product against it.
ARITHMETIC = 1

# A block of rows that fits in the second-level cache with its float32 result.
BLOCK_BYTES = 1 << 20
# Up to here float32 holds integers and their halves exactly.
_EXACT = 2**23

SATURATED = 1
NOT_FINITE = 2
NO_DATA = 4


@dataclass(frozen=True)
class Overscan:
    """What the overscan of an amplifier says.

    Attributes
    ----------
    levels : numpy.ndarray
        The level that was subtracted, adu: one a row, one a column, or a single one.
    level : float
        Mean of ``levels``, adu.
    noise : float
        Standard deviation of an overscan pixel about the level of its row or column, adu, after
        clipping at 5 sigma; the estimate of the read noise from this frame alone.
    """

    levels: np.ndarray
    level: float
    noise: float


@dataclass(frozen=True)
class Image:
    """One image of a product.

    Attributes
    ----------
    hdu : int or None
        The raw HDU it was made of; None if it is put together of several.
    data : numpy.ndarray
        Shape (ny, nx), adu, big-endian; a view of a buffer that this thread uses again.
    words : int
        FITS checksum sum of ``data``.
    mask : numpy.ndarray or None
        Shape (ny, nx), uint8, a sum of SATURATED, NOT_FINITE and NO_DATA; 0 is a good pixel.
    """

    hdu: int | None
    data: np.ndarray
    words: int
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Reduced:
    """A reduced frame.

    Attributes
    ----------
    images : tuple of Image
        One, or with layout 'extensions' one for each raw HDU.
    overscans : dict of str to Overscan or None
        For each amplifier's name.
    flags : dict of str to str
        For amplifiers that are saturated throughout or dead, which of the two.
    """

    images: tuple[Image, ...]
    overscans: dict
    flags: dict


# -- the level -----------------------------------------------------------------------------------


def overscan_levels(strips, along, recipe):
    """Return the bias level along the strips.

    Parameters
    ----------
    strips : list of numpy.ndarray
        Native values, adu: each (ny, k) for ``along='rows'``, (k, nx) for 'columns', any for
        'frame'.
    along : {'rows', 'columns', 'frame'}
    recipe : ccdflow.cameras.Recipe
        Its ``statistic`` across the strip, and its ``model`` along it.

    Returns
    -------
    numpy.ndarray
        One level for each row, each column, or a single one.
    """
    statistic = _median if recipe.statistic == "median" else np.mean
    if along == "frame":
        return np.atleast_1d(statistic(np.concatenate([strip.ravel() for strip in strips])))
    axis = 1 if along == "rows" else 0
    values = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=axis)
    levels = statistic(values, axis=axis)
    if recipe.model is None:
        return levels
    return smooth(levels, recipe)


def _median(values, axis=None):
    """Return what `numpy.median` returns; for integers along rows, many times faster."""
    if axis != 1 or values.dtype.kind not in "iu":
        return np.median(values, axis=axis)
    middle = values.shape[1] // 2
    if values.shape[1] % 2:
        return np.partition(values, middle, axis=1)[:, middle].astype(np.float64)
    pair = np.partition(values, (middle - 1, middle), axis=1)[:, middle - 1 : middle + 1]
    return pair.astype(np.float64).mean(axis=1)


def smooth(levels, recipe):
    """Return a polynomial or spline along the levels, deviating ones rejected.

    Parameters
    ----------
    levels : numpy.ndarray
        Shape (n,), adu.
    recipe : ccdflow.cameras.Recipe
        ``model`` 'polynomial' of degree ``order`` (as `ccdproc.subtract_overscan` fits it with
        ``model=Polynomial1D(order)``), or 'spline': cubic, of ``order`` equal pieces. Levels
        further than ``reject_sigma`` standard deviations from the fit are left out, up to
        ``reject_iterations`` times; 0 iterations reject nothing.

    Returns
    -------
    numpy.ndarray
        Shape (n,), float64.

    Raises
    ------
    FrameError
        If too few levels are left to fit.
    """
    # Imported here: a second of start-up for those who fit no model.
    from astropy.stats import sigma_clip

    at = np.arange(len(levels))
    good = np.isfinite(levels)
    need = recipe.order + (4 if recipe.model == "spline" else 1)
    for _ in range(recipe.reject_iterations + 1):
        if good.sum() <= need:
            raise FrameError(
                f"the overscan has too few good rows for a {recipe.model} of order {recipe.order}",
                keyword="reduction: order",
                value=int(good.sum()),
                allowed=f"more than {need}",
                remedy="lower the order in the camera's profile",
            )
        curve = _fit(at, levels, good, recipe)
        if recipe.reject_iterations == 0:
            break
        clipped = sigma_clip(
            np.ma.array(levels - curve, mask=~good), sigma=recipe.reject_sigma, maxiters=1
        )
        now = ~np.ma.getmaskarray(clipped)
        if np.array_equal(now, good):
            break
        good = now
    return curve


def _fit(at, levels, good, recipe):
    from astropy.modeling import fitting, models
    from scipy.interpolate import LSQUnivariateSpline

    if recipe.model == "polynomial":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = fitting.LinearLSQFitter()(
                models.Polynomial1D(recipe.order), at[good], levels[good]
            )
        return model(at)
    ends = at[good][[0, -1]].astype(float)
    knots = np.linspace(*ends, recipe.order + 1)[1:-1]
    try:
        return LSQUnivariateSpline(at[good], levels[good], knots, k=3)(at)
    except ValueError:
        raise FrameError(
            f"the overscan has too few good rows for a spline of {recipe.order} pieces",
            keyword="reduction: order",
            value=recipe.order,
            remedy="lower the order in the camera's profile",
        ) from None


def overscan_noise(strips, along):
    """Return the standard deviation of overscan pixels about their row's or column's mean, adu.

    The mean of k pixels takes part of the scatter away, which the factor k / (k - 1) gives back;
    pixels beyond 5 sigma (of the median absolute deviation, but at least of one adu) are left out.

    Parameters
    ----------
    strips, along
        As in `overscan_levels`.

    Returns
    -------
    float
        NaN where the strip is a single pixel wide.
    """
    squares = count = 0
    axis = 0 if along == "columns" else 1
    for strip in strips:
        k = strip.shape[axis] if along != "frame" else strip.size
        if k < 2:
            continue
        values = strip.astype(np.float32)
        means = values.mean(axis=axis, keepdims=True) if along != "frame" else values.mean()
        deviation = np.abs(values - means)
        # A sample is enough for the threshold, and quicker.
        spread = 1.4826 * float(np.median(deviation.ravel()[:: max(1, deviation.size // 20000)]))
        kept = deviation[deviation <= 5 * max(spread, 1.0)]
        squares += float(np.square(kept, dtype=np.float64).sum()) * k / (k - 1)
        count += kept.size
    return float(np.sqrt(squares / count)) if count else float("nan")


# -- the frame -----------------------------------------------------------------------------------


def reduce_frame(stored, geometry, recipe):
    """Subtract the overscan of a frame and trim it.

    Parameters
    ----------
    stored : dict of int to (numpy.ndarray, int)
        For each HDU used: the stored pixels (ny, nx) and what to add to them, as
        `ccdflow.fitsio.array` returns them. Not changed.
    geometry : ccdflow.cameras.Geometry
    recipe : ccdflow.cameras.Recipe

    Returns
    -------
    Reduced
        Its arrays are views of buffers that this thread uses again for its next frame.

    Raises
    ------
    FrameError
        If the overscan or the whole product holds no finite value.
    """
    overscans = {
        amplifier.name: _measure(stored[amplifier.hdu], amplifier, recipe)
        for amplifier in geometry.amplifiers
    }
    images = tuple(
        _make_image(stored, hdu, amplifiers, shape, overscans, recipe)
        for hdu, amplifiers, shape in _plans(geometry, recipe)
    )
    flags = {}
    for amplifier in geometry.amplifiers:
        flag = _flag(*stored[amplifier.hdu], amplifier)
        if flag:
            flags[amplifier.name] = flag
    return Reduced(images, overscans, flags)


def _plans(geometry, recipe):
    """Yield (hdu, amplifiers, shape) of each image of the product."""
    if not recipe.trim:
        for hdu, shape in geometry.raw_shapes:
            amplifiers = [a for a in geometry.amplifiers if a.hdu == hdu]
            yield hdu, amplifiers, shape
    elif geometry.layout == "extensions":
        for hdu, shape in geometry.extension_shapes:
            yield hdu, [a for a in geometry.amplifiers if a.hdu == hdu], shape
    else:
        yield None, list(geometry.amplifiers), geometry.shape


def native(part, offset):
    """Return the values of stored pixels in the type that astropy reads them as."""
    if not offset:
        return part.astype(part.dtype.newbyteorder("="), copy=False)
    unsigned = np.dtype(f"u{part.dtype.itemsize}")
    flipped = part.astype(part.dtype.newbyteorder("="), copy=False).view(unsigned)
    return flipped ^ unsigned.type(offset)


def _measure(pixels, amplifier, recipe):
    if not recipe.subtract or amplifier.along == "none" or not amplifier.overscan:
        return None
    strips = [native(pixels[0][strip.slices], pixels[1]) for strip in amplifier.overscan]
    levels = overscan_levels(strips, amplifier.along, recipe)
    check_levels(levels, amplifier)
    return Overscan(levels, float(np.mean(levels)), overscan_noise(strips, amplifier.along))


def check_levels(levels, amplifier):
    """Raise `FrameError` if a level is not finite: the product would be NaN there."""
    if not np.isfinite(levels).all():
        raise FrameError(
            "the overscan holds values that are not finite",
            keyword="overscan",
            value=" ".join(strip.to_fits() for strip in amplifier.overscan),
            remedy="choose another region in the camera's profile",
        )


def _make_image(stored, hdu, amplifiers, shape, overscans, recipe):
    dtype = np.dtype(recipe.dtype)
    size = shape[0] * shape[1] * dtype.itemsize
    padded = -(-size // fitsio.BLOCK) * fitsio.BLOCK
    buffer = fitsio.scratch.get(("image", hdu), padded)
    out = np.frombuffer(buffer, dtype=dtype, count=shape[0] * shape[1]).reshape(shape)
    np.frombuffer(buffer, dtype=np.uint8)[size:] = 0
    mask = np.full(shape, NO_DATA, dtype=np.uint8) if recipe.mask else None
    if recipe.trim and sum(a.place.size for a in amplifiers) < out.size:
        out[...] = np.nan
    for amplifier in amplifiers:
        pixels = stored[amplifier.hdu]
        overscan = overscans[amplifier.name]
        if recipe.trim:
            _subtract(pixels, amplifier.data, amplifier, overscan, out, amplifier.place)
        elif len(amplifiers) == 1:
            _subtract_whole(pixels, amplifier, overscan, out)
        else:
            _subtract(pixels, amplifier.data, amplifier, overscan, out, amplifier.data)
            for strip in amplifier.overscan:
                _subtract(pixels, strip, amplifier, overscan, out, strip)
        if mask is not None:
            _mask(pixels, amplifier, out, mask, recipe)
    words = to_big_endian(out)
    return Image(hdu, out.view(dtype.newbyteorder(">")), words, mask)


def _subtract_whole(pixels, amplifier, overscan, out):
    """Subtract from all of a frame that is not trimmed; rows without a level stay as they are."""
    stored, _ = pixels
    whole = type(amplifier.data)(0, stored.shape[0], 0, stored.shape[1])
    if overscan is None or amplifier.along == "frame":
        _subtract(pixels, whole, amplifier, overscan, out, whole)
        return
    _subtract(pixels, whole, amplifier, None, out, whole)
    data = amplifier.data
    if amplifier.along == "rows":
        part = type(data)(data.y0, data.y1, 0, stored.shape[1])
    else:
        part = type(data)(0, stored.shape[0], data.x0, data.x1)
    _subtract(pixels, part, amplifier, overscan, out, part)


def _subtract(pixels, region, amplifier, overscan, out, place):
    """Write region minus level to its place in ``out`` (native byte order), by blocks of rows."""
    stored, offset = pixels
    source = stored[region.slices]
    target = out[place.slices]
    if target.shape == source.shape and (amplifier.flip_x or amplifier.flip_y):
        target = target[
            :: -1 if amplifier.flip_y else 1,
            :: -1 if amplifier.flip_x else 1,
        ]
    levels = None if overscan is None else _oriented(overscan.levels, amplifier.along)
    exact = is_exact(stored.dtype, levels)
    rows = max(1, BLOCK_BYTES // (4 * max(1, source.shape[1])))
    for first in range(0, source.shape[0], rows):
        block = slice(first, first + rows)
        level = levels[block] if levels is not None and levels.shape[0] > 1 else levels
        subtract_level(source[block], offset, level, target[block], exact=exact)


def subtract_level(source, offset, level, target, *, exact):
    """Write stored pixels plus offset minus level to ``target``.

    Parameters
    ----------
    source : numpy.ndarray
        Stored pixels, (k, nx), any byte order.
    offset : int
        What to add to have the values.
    level : numpy.ndarray or None
        (k, 1) or (1, nx), adu.
    target : numpy.ndarray
        (k, nx), native floats.
    exact : bool
        Whether no step can round, see `is_exact`.
    """
    if exact:
        np.copyto(target, source, casting="unsafe")
        shift = -offset if level is None else level - offset
        np.subtract(target, np.asarray(shift, dtype=target.dtype), out=target)
    else:
        values = native(source, offset)
        target[...] = values if level is None else values - level


def _oriented(levels, along):
    if along == "rows":
        return levels.reshape(-1, 1)
    return levels.reshape(1, -1)


def is_exact(dtype, levels):
    """Tell whether value minus level is free of rounding in float32, so that any order will do.

    16-bit integers less a level that is a multiple of 1/2 (a median of integers) need 18 bits;
    float32 has 24.
    """
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        return False
    if levels is None:
        return True
    twice = levels * 2
    return bool((np.abs(levels) < _EXACT / 4).all() and (twice == np.rint(twice)).all())


def to_big_endian(out):
    """Turn contiguous floats into big-endian in place and return the checksum sum of their words.

    Parameters
    ----------
    out : numpy.ndarray
        Native float32 or float64; afterwards its bytes are those of the FITS file.

    Returns
    -------
    int
        See `ccdflow.fitsio.sum_words`.
    """
    flat = out.reshape(-1)
    # The native word has the value of the big-endian word that it becomes. A 64-bit number is two
    # words, whose order does not matter to a sum.
    words = flat.view(np.uint32)
    numbers = flat.view(np.dtype(f"u{out.dtype.itemsize}"))
    step = BLOCK_BYTES // out.dtype.itemsize
    total = 0
    for first in range(0, numbers.size, step):
        part = numbers[first : first + step]
        total += int(part.view(words.dtype).sum(dtype=np.uint64))
        part.byteswap(inplace=True)
    return fitsio.checksum_of(total)


# -- masks and flags -----------------------------------------------------------------------------


def _mask(pixels, amplifier, out, mask, recipe):
    region = amplifier.data
    place = amplifier.place if recipe.trim else region
    values = native(pixels[0][region.slices], pixels[1])
    part = np.zeros(values.shape, dtype=np.uint8)
    if amplifier.saturation is not None:
        part |= np.where(values >= amplifier.saturation, SATURATED, 0).astype(np.uint8)
    if values.dtype.kind == "f":
        part |= np.where(np.isfinite(values), 0, NOT_FINITE).astype(np.uint8)
    if recipe.trim:
        part = part[:: -1 if amplifier.flip_y else 1, :: -1 if amplifier.flip_x else 1]
    mask[place.slices] = part


def sampled(data):
    """Return the steps over rows and columns by which the pixels of a region are sampled."""
    step = max(1, min(data.shape) // 64)
    return slice(data.y0, data.y1, step), slice(data.x0, data.x1, step)


def _flag(stored, offset, amplifier):
    return flag(stored[sampled(amplifier.data)], offset, amplifier)


def flag(sample, offset, amplifier):
    """Return 'saturated' or 'dead' for an amplifier that is so throughout, else ''.

    Parameters
    ----------
    sample : numpy.ndarray
        Stored pixels of its data region, see `sampled`.
    offset : int
        What to add to have the values.
    amplifier : ccdflow.cameras.Amplifier

    Raises
    ------
    FrameError
        If none of them is finite.
    """
    values = sample.astype(np.float64) + offset
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise FrameError(
            f"amplifier {amplifier.name} holds no finite value",
            value=amplifier.data.to_fits(),
            remedy="the frame is not reduced: its product would be all NaN",
        )
    top = amplifier.saturation
    if top is None and sample.dtype.kind in "iu":
        top = np.iinfo(sample.dtype.newbyteorder("=")).max + offset
    if top is not None and np.median(values) >= top:
        return "saturated"
    return "dead" if values.min() == values.max() else ""
