"""Flaws of pixels and amplifiers: masks, and amplifiers that are saturated or dead throughout."""

from __future__ import annotations

import numpy as np

from ccdflow.errors import FrameError
from ccdflow.frame.converter_end import top_of_converter
from ccdflow.frame.pixels import native_values
from ccdflow.mask_bits import NOT_FINITE, SATURATED
from ccdflow.robust import is_median_at_least

NO_VALUE = "not finite"
"""The name of the warning on pixels that are NaN or infinite."""

# An amplifier of one value is saturated if this is the highest number of a converter of at least
# this many bits. Chosen: 1023 (10 bits) or 2047 may be the level of a dead amplifier.
_FEWEST_BITS = 12
# A sample has at least this many pixels along the shorter side, and fewer than twice as many: some
# thousands in all, enough for medians.
_SAMPLE_SIDE_PIXELS = 64


def saturation_of(dtype, offset, amplifier):
    """Return the raw value at which a pixel saturates, adu; None if it is unknown.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the stored pixels.
    offset : int
        To be added to the stored pixels.
    amplifier : ccdflow.camera.geometry.Amplifier
        Its own saturation takes precedence over the highest number that stored pixels can hold; see
        `ccdflow.frame.converter_end.top_of_converter`.

    Returns
    -------
    float or None
    """
    if amplifier.saturation is not None:
        return amplifier.saturation
    return top_of_converter(dtype, offset)


def mask_of_amplifier(stored, offset, amplifier):
    """Return the mask of an amplifier's data.

    Parameters
    ----------
    stored : numpy.ndarray of shape (ny, nx), any integer or float type, any byte order
        Stored pixels of the data.
    offset : int
        To be added to the stored pixels.
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    numpy.ndarray of shape (ny, nx), uint8
        The bits SATURATED and NOT_FINITE; 0 is a good pixel.
    """
    values = native_values(stored, offset)
    mask = np.zeros(values.shape, dtype=np.uint8)
    top = saturation_of(stored.dtype, offset, amplifier)
    if top is not None:
        with np.errstate(invalid="ignore"):
            mask[values >= top] |= SATURATED
    if values.dtype.kind == "f":
        mask[~np.isfinite(values)] |= NOT_FINITE
    return mask


def sampling_slices(data):
    """Return the slices of rows and columns that sample a region's pixels."""
    step = max(1, min(data.shape) // _SAMPLE_SIDE_PIXELS)
    return slice(data.y0, data.y1, step), slice(data.x0, data.x1, step)


def count_not_finite(stored):
    """Return the number of stored pixels, any shape, that are NaN or infinite; 0 for integers."""
    return int(np.count_nonzero(~np.isfinite(stored))) if stored.dtype.kind == "f" else 0


def not_finite_warnings(counts, amplifiers):
    """Return the warnings on pixels that have no value.

    Parameters
    ----------
    counts : dict of str to int
        Number of pixels of each amplifier that are NaN or infinite, by its name.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier

    Returns
    -------
    list of (str, str)
        `NO_VALUE` and the text of each warning.
    """
    return [
        (
            NO_VALUE,
            (f"amplifier {amplifier.name}: " if len(amplifiers) > 1 else "")
            + f"{counts[amplifier.name]} of its {amplifier.data.size} pixels are not finite (NaN or"
            " infinite); allowed: numbers; they stay without a value: masters leave them out,"
            " calibrated frames mask them (bit 2); look at the raw frame",
        )
        for amplifier in amplifiers
        if counts.get(amplifier.name)
    ]


def flag_of(sample, offset, amplifier):
    """Return 'saturated' or 'dead' for an amplifier without signal; otherwise ''.

    Parameters
    ----------
    sample : numpy.ndarray of any shape, any integer or float type, any byte order
        Stored pixels of its data region, see `sampling_slices`.
    offset : int
        To be added to the stored pixels.
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    {'saturated', 'dead', ''}
        'saturated' if the median of the sample is, or if all its pixels have the highest value of a
        converter; 'dead' if they all have another value.

    Raises
    ------
    FrameError
        If no pixel is finite.
    """
    values = sample.astype(np.float64) + offset
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise FrameError(
            f"amplifier {amplifier.name} holds no finite value",
            keyword="data",
            value=amplifier.data.to_fits(),
            allowed="at least one finite pixel",
            remedy="look at the frame: its product would be all NaN",
        )
    top = saturation_of(sample.dtype, offset, amplifier)
    if top is not None and is_median_at_least(values, top):
        return "saturated"
    if values.min() < values.max():
        return ""
    return "saturated" if _is_ceiling(values[0]) else "dead"


def _is_ceiling(value):
    """Return whether a value is the highest one of a converter: 4095, 65535, 262143 ..."""
    level = int(value) + 1
    return value == level - 1 and level >= 1 << _FEWEST_BITS and level & (level - 1) == 0
