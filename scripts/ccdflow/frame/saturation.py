"""The neighbours of saturated pixels: charge that spills over, and columns that bleed."""

from __future__ import annotations

import numpy as np

from ccdflow.mask_bits import BLEED, SATURATED, flagged_indices
from ccdflow.robust import MAD_TO_SIGMA

# A column may bleed if it has a run of at least this many saturated pixels.
_FEWEST_SATURATED = 3
# A bleeding column is brighter than both columns beside it by more than this many sigma of a pixel:
# by noise alone 1 of 160,000 pixels is (1 of 5,000 near an edge, with one column beside it).
_EXCESS_SIGMA = 5.0
# A bleeding column is compared with the columns this far to its left and right, which its charge
# does not reach.
_COLUMNS_APART = 6
# One column in this many gives the scatter of the pixels, for speed. The second number is the least
# scatter, in the unit of the pixels, for images of one value.
_SCATTER_STEP, _LEAST_SCATTER = 8, 1e-6
# Rows beyond the end of a run that are compared at once.
_ROWS_AT_ONCE = 64


def flag_neighbours(mask, pixels):
    """Flag the neighbours of saturated pixels, and the columns that bleed from them, in place.

    Nothing is flagged if more than half of the pixels in the rows with saturated pixels are
    saturated: spilled charge cannot be distinguished from light then.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16
        Gets the bit `BLEED`. A saturated pixel has its own bit only.
    pixels : callable
        Takes the first row and the one after the last; returns their pixels, (k, nx).
    """
    # Few pixels have a flag: to examine these alone is much faster than to examine all.
    indices = flagged_indices(mask)
    indices = indices[mask.reshape(-1)[indices] & SATURATED != 0]
    rows = np.unique(indices // mask.shape[1])
    if not rows.size or rows.size * mask.shape[1] < indices.size * 2:
        return
    first, stop = max(rows[0] - 1, 0), min(rows[-1] + 2, len(mask))
    is_saturated = (mask[first:stop] & SATURATED) != 0
    is_near = _saturated_and_neighbours(is_saturated) & ~is_saturated
    mask[first:stop][is_near] |= BLEED
    for column, low, high in _saturated_runs(is_saturated, first):
        _flag_bleeding(mask, pixels, column, low, -1)
        _flag_bleeding(mask, pixels, column, high - 1, 1)


def _saturated_and_neighbours(is_saturated):
    """Return the mask of the saturated pixels and their eight neighbours."""
    is_beside_in_row = is_saturated.copy()
    is_beside_in_row[:, 1:] |= is_saturated[:, :-1]
    is_beside_in_row[:, :-1] |= is_saturated[:, 1:]
    is_near = is_beside_in_row.copy()
    is_near[1:] |= is_beside_in_row[:-1]
    is_near[:-1] |= is_beside_in_row[1:]
    return is_near


def _saturated_runs(is_saturated, first):
    """Yield (column, first row, row after the last) of long runs of saturated pixels in columns."""
    columns = np.flatnonzero(is_saturated.sum(axis=0) >= _FEWEST_SATURATED)
    for column in columns.tolist():
        steps = np.diff(np.concatenate([[0], is_saturated[:, column].astype(np.int8), [0]]))
        starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
        for low, high in zip(starts.tolist(), ends.tolist(), strict=True):
            if high - low >= _FEWEST_SATURATED:
                yield column, first + low, first + high


def _flag_bleeding(mask, pixels, column, end, direction):
    """Flag the pixels of a column beyond the end of a run, up to one that is not too bright.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16
        Changed in place.
    pixels : callable
        Takes the first row and the one after the last; returns their pixels, (k, nx).
    column : int
    end : int
        Row of the run at its end in the direction.
    direction : {-1, 1}
        Down or up.
    """
    ny, nx = mask.shape
    side_columns = [c for c in (column - _COLUMNS_APART, column + _COLUMNS_APART) if 0 <= c < nx]
    row = end + direction
    while 0 <= row < ny:
        low, high = (
            (row, min(row + _ROWS_AT_ONCE, ny))
            if direction > 0
            else (max(row - _ROWS_AT_ONCE + 1, 0), row + 1)
        )
        block = pixels(low, high)[::direction]
        side_values = block[:, side_columns].max(axis=1)
        scatter = (
            MAD_TO_SIGMA * np.nanmedian(np.abs(np.diff(block[:, ::_SCATTER_STEP], axis=1))) / 2**0.5
        )
        with np.errstate(invalid="ignore"):
            excess_limit = _EXCESS_SIGMA * max(float(scatter), _LEAST_SCATTER)
            is_not_bright = ~(block[:, column] - side_values > excess_limit)
        length = int(np.argmax(is_not_bright)) if is_not_bright.any() else len(is_not_bright)
        rows = row + direction * np.arange(length)
        mask[rows, column] |= np.where(mask[rows, column] & SATURATED, 0, BLEED).astype(np.int16)
        if length < len(is_not_bright):
            return
        row += direction * length
