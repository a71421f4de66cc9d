"""Arithmetic on blocks of pixels: from stored integers to the product's big-endian floats.

The results are those of `ccdproc.subtract_overscan` and the cast to the product's type. Blocks of
rows stay in the processor's cache.
"""

from __future__ import annotations

import numpy as np

from ccdflow.files import checksum

BLOCK_BYTES = 1 << 20
"""A block of rows of this size fits into the second-level cache with its float32 result."""

# float32 holds integers and their halves exactly up to here.
_EXACT_INTEGERS = 2**23


def native_values(stored, offset):
    """Return the values of stored pixels in the type that astropy gives them.

    Parameters
    ----------
    stored : numpy.ndarray of any shape
        Stored pixels, any byte order.
    offset : int
        To be added to the stored pixels: 0, 2**15, 2**31 or 2**63.

    Returns
    -------
    numpy.ndarray of the same shape, of the native type
    """
    if not offset:
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    # The offset of unsigned numbers is the value of their first bit, which FITS stores flipped.
    bits = stored.astype(stored.dtype.newbyteorder("="), copy=False).view(unsigned)
    return bits ^ unsigned.type(offset)


def subtract_level(source, offset, level, target, *, is_exact):
    """Write stored pixels plus offset minus level to ``target``.

    Parameters
    ----------
    source : numpy.ndarray of shape (k, nx), any integer or float type, any byte order
        Stored pixels.
    offset : int
        To be added to the stored pixels.
    level : numpy.ndarray of shape (k, 1), (1, nx) or (1, 1), float32 or float64, or None
        Adu.
    target : numpy.ndarray of shape (k, nx), native float32 or float64
    is_exact : bool
        Whether the difference is exact in float32, see `is_subtraction_exact`.
    """
    if is_exact:
        np.copyto(target, source, casting="unsafe")
        shift = -offset if level is None else level - offset
        np.subtract(target, np.asarray(shift, dtype=target.dtype), out=target)
    else:
        values = native_values(source, offset)
        target[...] = values if level is None else values - level


def is_subtraction_exact(dtype, levels):
    """Return whether pixels minus levels are exact in float32, whatever the order of the terms.

    Integers of 16 bits minus a multiple of 1/2, such as a median of integers, need 18 bits; float32
    has 24.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the raw pixels.
    levels : numpy.ndarray of shape (k,), float32 or float64, or None
        Adu; None if no level is subtracted.

    Returns
    -------
    bool
    """
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        return False
    if levels is None:
        return True
    doubled_levels = levels * 2
    return bool(
        (np.abs(levels) < _EXACT_INTEGERS / 4).all()
        and (doubled_levels == np.rint(doubled_levels)).all()
    )


def subtract_blocks(source, offset, levels, target):
    """Write a region minus its levels to ``target``, a block of rows at a time.

    Parameters
    ----------
    source : numpy.ndarray of shape (ny, nx), any integer or float type, any byte order
        Stored pixels.
    offset : int
        To be added to the stored pixels.
    levels : numpy.ndarray of shape (ny, 1), (1, nx) or (1, 1), float32 or float64, or None
        Adu; None to subtract nothing.
    target : numpy.ndarray of shape (ny, nx), native float32 or float64
    """
    is_exact = is_subtraction_exact(source.dtype, levels)
    rows = max(1, BLOCK_BYTES // (4 * max(1, source.shape[1])))
    for first in range(0, source.shape[0], rows):
        block = slice(first, first + rows)
        level = levels[block] if levels is not None and levels.shape[0] > 1 else levels
        subtract_level(source[block], offset, level, target[block], is_exact=is_exact)


def swap_and_sum(out):
    """Convert contiguous floats to big-endian in place; return their DATASUM.

    Parameters
    ----------
    out : numpy.ndarray of any shape
        Native float32 or float64; afterwards its bytes are those of the FITS file.

    Returns
    -------
    int
        See `ccdflow.files.checksum.sum_words`.
    """
    flat = out.reshape(-1)
    # A native word of 32 bits has the value of its big-endian word. A 64-bit number is two words,
    # whose order does not matter to a sum.
    words = flat.view(np.uint32)
    numbers = flat.view(np.dtype(f"u{out.dtype.itemsize}"))
    swapped = numbers.view(numbers.dtype.newbyteorder(">"))
    step = BLOCK_BYTES // out.dtype.itemsize
    total = 0
    for first in range(0, numbers.size, step):
        block = slice(first, first + step)
        total += int(numbers[block].view(words.dtype).sum(dtype=np.uint64))
        # This swaps bytes like `byteswap(inplace=True)`, four times as fast, and lets other threads
        # run.
        np.copyto(swapped[block], numbers[block])
    return checksum.fits_sum_of(total)
