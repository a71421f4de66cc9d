"""Floats as whole multiples of a step, with dither (FITS standard 4.0, section 10.2).

A pixel F becomes I = round((F - zero) / step + R - 0.5), with R from the standard's sequence of
random numbers, and is read back as (I - R + 0.5) step + zero: the error is uniform within half a
step, and independent of F.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

EMPTY_PIXEL = -(1 << 31)
"""The whole number of a pixel without a value, ZBLANK."""

METHOD = "SUBTRACTIVE_DITHER_1"
"""The value of ZQUANTIZ: the way of dithering."""

STEPS_PER_SIGMA = 16
"""Steps in a standard deviation of the noise: quantised pixels have 0.02 % more noise. With 4 they
have 0.3 % more; twice as many steps add a bit to each pixel."""

# The standard's generator (Park and Miller 1988): x' = 16807 x modulo 2^31 - 1.
_FACTOR = 16807
# 2^31 - 1, a prime.
_MODULUS = 2147483647
# Length of the standard's sequence.
_N_RANDOMS = 10000
# Ratio of the standard deviation of x to the median of |2 x - x(-2) - x(+2)|.
_DIFFERENCE_TO_SIGMA = 0.6052697
# The noise of a tile is taken from at least this many of its rows, if it has them.
_LEAST_SAMPLED_ROWS = 8
# The largest whole number of a tile, because readers reserve larger ones: a tile of more steps
# stays floats.
_LARGEST_NUMBER = float((1 << 31) - 16)


@dataclass(frozen=True)
class Quantised:
    """A tile of whole numbers.

    Attributes
    ----------
    numbers : numpy.ndarray of shape (k,), int32
        The pixels in their order; `EMPTY_PIXEL` where there is no value.
    step, zero : float
    """

    numbers: np.ndarray
    step: float
    zero: float


@cache
def randoms():
    """Return the standard's 10,000 random numbers, float32, in [0, 1)."""
    values, seed = np.empty(_N_RANDOMS), 1
    for number in range(_N_RANDOMS):
        seed = seed * _FACTOR % _MODULUS
        values[number] = seed / _MODULUS
    return values.astype(np.float32)


# A tile is quantised and then restored with the same random numbers. Each thread needs those of one
# tile at a time: four entries are enough for the threads of a job. The numbers take as much memory
# as a tile.
@lru_cache(maxsize=4)
def dither(start, count):
    """Return the random numbers of a tile's pixels.

    Parameters
    ----------
    start : int
        Index of the tile from 0, plus the seed ZDITHER0 less 1, modulo 10,000.
    count : int
        Number of pixels.

    Returns
    -------
    numpy.ndarray of shape (count,), float32
    """
    values, pieces, length = randoms(), [], 0
    while length < count:
        pieces.append(values[int(values[start] * 500) :])
        length += len(pieces[-1])
        start = (start + 1) % _N_RANDOMS
    return np.concatenate(pieces)[:count]


def noise_of_tile(tile):
    """Return the noise of a pixel, in the unit of the tile; 0 if unknown.

    The noise is derived from second differences, 2 x - x(-2) - x(+2), along some rows.

    Parameters
    ----------
    tile : numpy.ndarray of shape (ny, nx), float32

    Returns
    -------
    float
    """
    rows = tile[:: max(1, len(tile) // _LEAST_SAMPLED_ROWS)]
    differences = np.abs(2 * rows[:, 2:-2] - rows[:, :-4] - rows[:, 4:])
    differences = differences[np.isfinite(differences)]
    return _DIFFERENCE_TO_SIGMA * float(np.median(differences)) if differences.size else 0.0


def quantise(tile, start):
    """Return a tile as whole numbers; None if rounding would lose more than noise.

    Parameters
    ----------
    tile : numpy.ndarray of shape (ny, nx), native float32
    start : int
        As for `dither`.

    Returns
    -------
    Quantised or None
        None for a tile without noise, with infinite values, or of too large a range.
    """
    flat = tile.reshape(-1)
    is_empty = np.isnan(flat)
    step = noise_of_tile(tile) / STEPS_PER_SIGMA
    low, high = (float(f(flat[~is_empty], initial=0.0)) for f in (np.min, np.max))
    if not step > 0 or not np.isfinite(high - low) or (high - low) / step > _LARGEST_NUMBER:
        return None
    zero = round(low / step) * step
    # float32 has too few digits for the largest of these numbers.
    numbers = (flat.astype(np.float64) - zero) / step + (dither(start, flat.size) - 0.5)
    numbers[is_empty] = EMPTY_PIXEL
    return Quantised(np.rint(numbers).astype(np.int32), step, zero)


def restored_pixels(quantised, start):
    """Return the pixels of a quantised tile as readers of FITS restore them.

    Parameters
    ----------
    quantised : Quantised
        The numbers of a tile, their step and zero.
    start : int
        As for `dither`.

    Returns
    -------
    numpy.ndarray of shape (k,), float32
        NaN where a pixel is empty.
    """
    numbers = quantised.numbers
    values = (numbers - dither(start, numbers.size).astype(np.float64) + 0.5) * quantised.step
    pixels = (values + quantised.zero).astype(np.float32)
    pixels[numbers == EMPTY_PIXEL] = np.nan
    return pixels
