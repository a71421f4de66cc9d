"""Parts of columns far below their neighbours in flats of any structure, such as spectra."""

from __future__ import annotations

import numpy as np

from ccdflow.detector.pixels.columns import PART_ROWS
from ccdflow.detector.pixels.medians import box_median
from ccdflow.robust import MAD_TO_SIGMA, column_medians, median

# A deep part of a column is below its neighbours by more than this fraction of their light. Chosen:
# with a smaller fraction dust and edges of slits are flagged; with a larger one columns that lose a
# fifth of their light are missed.
_DEEP_FRACTION = 0.2
# A deep part is below its neighbours by more than this many times the scatter of all parts, which
# contains the structure of the flat: by chance one in 3.5 million is.
_STRUCTURE_SIGMA = 5.0
# A part of a column is compared with medians of this many columns on either side. Chosen: fewer
# columns may be a block of bad ones; over more columns the spectrum of the lamp bends.
_COLUMNS_OF_A_SIDE = 15
# Columns between a part and the compared columns: a fault may be some columns wide.
_COLUMNS_BETWEEN = 3
# If more than this fraction of the parts that are judged is deep, they are lines of a spectrum and
# no defects. Chosen: with a larger fraction lines of lamps are flagged; with a smaller one a chip
# with many bad columns has no flags.
_MOST_DEEP_FRACTION = 0.01


def deep_parts_of_flat(flat, error):
    """Return the mask of parts of columns that are far below both sides in a flat.

    A limit in standard errors is useless where the light has structure as fine as pixels, as in
    spectra and fringes. The limit here is `_DEEP_FRACTION` of the light, or `_STRUCTURE_SIGMA`
    times the scatter of all parts where that is larger. Both sides must be brighter: the end of a
    slit has light on one side only.

    Parameters
    ----------
    flat, error : numpy.ndarray of shape (ny, nx), float32
        A combined flat, and the standard errors of its pixels. A part of a column is not judged if
        at least half of its errors are not finite, or if a side has no light; otherwise all its
        pixels count.

    Returns
    -------
    numpy.ndarray of shape (number of parts, nx), bool
        A row for each `PART_ROWS` rows of the flat: `pixels_of_parts` makes it a mask of pixels.
        No part is True if more than `_MOST_DEEP_FRACTION` of the judged ones would be.
    """
    parts = [slice(start, start + PART_ROWS) for start in range(0, len(flat), PART_ROWS)]
    levels = np.array([column_medians(flat[rows]) for rows in parts])
    is_measured = np.array([np.isfinite(error[rows]).mean(axis=0) > 0.5 for rows in parts])
    smooth_levels = box_median(levels, (1, _COLUMNS_OF_A_SIDE))
    distance, nx = _COLUMNS_OF_A_SIDE // 2 + _COLUMNS_BETWEEN + 1, levels.shape[1]
    wide_levels = np.pad(smooth_levels, ((0, 0), (distance, distance)), mode="edge")
    left_levels, right_levels = wide_levels[:, :nx], wide_levels[:, 2 * distance :]
    is_measured &= np.minimum(left_levels, right_levels) > 0
    if not is_measured.any():
        return np.zeros(levels.shape, bool)
    # The scatter is measured about the mean of both sides: a gradient does not count.
    middle = np.where(is_measured, (left_levels + right_levels) / 2, 1)
    contrast = (levels / middle)[is_measured]
    sigma = MAD_TO_SIGMA * median(np.abs(contrast - median(contrast)))
    limit = 1 - max(_DEEP_FRACTION, _STRUCTURE_SIGMA * float(sigma))
    is_deep = is_measured & (levels < limit * np.minimum(left_levels, right_levels))
    return (
        is_deep
        if is_deep.sum() <= _MOST_DEEP_FRACTION * is_measured.sum()
        else np.zeros(levels.shape, bool)
    )
