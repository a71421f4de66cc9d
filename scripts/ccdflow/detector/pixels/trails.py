"""Charge that ran over from full pixels of a dark into their neighbours: bleeding.

This charge does not grow in proportion to the exposure: a short dark has none. A long dark that is
scaled to a shorter exposure would subtract it from pixels without such charge.
"""

from __future__ import annotations

import numpy as np

from ccdflow.detector.pixels.surroundings import finite_values, surrounding_medians
from ccdflow.robust import median_of_numbers

# Electrons; adu without a gain. No pixel with less charge runs over: it is the smallest full well
# of astronomical detectors. With a lower limit neighbours of pixels that are not full are flagged.
_LEAST_WELL = 10_000.0
# A pixel has extra charge if it is more than this many standard errors above its surroundings: one
# normal value in 3.5 million is.
_EXCESS_SIGMA = 5.0

# A column is hot throughout if at least this fraction of its pixels has extra charge. Chosen: a
# trail rarely covers so much of a column; if it does, its pixels are hot, and masked.
_HOT_COLUMN_FRACTION = 0.9


def pixels_of_trails(values, errors, *, is_full, gain):
    """Return the pixels into which charge of full pixels ran over, and these full pixels.

    The full well need not be known: wells differ, and may be below the end of the converter. A
    bright pixel beside a pixel with extra charge counts as full.

    Parameters
    ----------
    values, errors : numpy.ndarray of shape (ny, nx), float32
        Pixels of a dark and their standard errors, adu.
    is_full : numpy.ndarray of shape (ny, nx), bool
        The saturated pixels that are known.
    gain : float or None
        Electrons per adu.

    Returns
    -------
    numpy.ndarray of shape (k,), int64
        Indices in the flattened image. Charge runs along columns; a full pixel may also spill into
        the neighbours in its row.
    """
    middle = np.float32(median_of_numbers(values))
    least_charge = _LEAST_WELL / (gain or 1.0)
    with np.errstate(invalid="ignore"):
        # The maximum of values with NaN is NaN, which is no charge.
        highest = values.max()
        highest = np.nanmax(values) if np.isnan(highest) and is_full.size else highest
        if not (is_full.any() or highest - middle >= least_charge):
            return np.empty(0, np.int64)
        usual_error = np.float32(median_of_numbers(errors))
        excess = values - surrounding_medians(finite_values(values, nan=middle))
        noise = np.maximum(surrounding_medians(finite_values(errors, nan=usual_error)), usual_error)
        # A pixel that is NaN counts as charged: it was saturated, or is unknown.
        has_charge = ~(excess <= np.float32(_EXCESS_SIGMA) * noise)
        for column in np.flatnonzero(has_charge.mean(axis=0) >= _HOT_COLUMN_FRACTION):
            usual_excess, error = _level_of_column(excess[:, column], errors[:, column])
            limit = usual_excess + _EXCESS_SIGMA * np.maximum(noise[:, column], error)
            has_charge[:, column] = ~(excess[:, column] <= limit)
        has_charge = (has_charge | is_full).reshape(-1)
        sources = np.flatnonzero(((excess >= least_charge) | is_full).reshape(-1))
    return _pixels_reached_from(sources, has_charge, values.shape)


def _level_of_column(excess, errors):
    """Return a low quantile of a column's excess, and the same quantile of its errors, adu.

    Parameters
    ----------
    excess, errors : numpy.ndarray of shape (ny,), float32
        Excess of its pixels above their surroundings, and their standard errors, adu.

    Returns
    -------
    (float, float)
        The quantile is 1 - `_HOT_COLUMN_FRACTION`; NaN without a finite value.
    """
    levels = []
    for values in (excess[np.isfinite(excess)], errors[np.isfinite(errors)]):
        levels.append(
            float(np.quantile(values, 1 - _HOT_COLUMN_FRACTION)) if values.size else np.nan
        )
    return tuple(levels)


def _pixels_reached_from(sources, has_charge, shape):
    """Return the charged pixels that touch sources, those in line beyond, and these sources.

    Parameters
    ----------
    sources : numpy.ndarray of shape (n,), int
        Possibly full pixels, indices in the flattened image.
    has_charge : numpy.ndarray of shape (ny * nx,), bool
    shape : (int, int)
        (ny, nx).
    """
    is_reached = np.zeros(has_charge.size, bool)
    is_touching = np.zeros(len(sources), bool)
    ends = []
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if down or right:
                steps, places = _neighbour_steps(sources, shape, down=down, right=right)
                is_charged = has_charge[steps]
                is_touching[places[is_charged]] = True
                ends.append(steps[is_charged])
    is_reached[sources[is_touching]] = True
    ends = np.unique(np.concatenate(ends))
    while ends.size:
        ends = ends[~is_reached[ends]]
        is_reached[ends] = True
        ends = np.concatenate([_neighbour_steps(ends, shape, down=down)[0] for down in (-1, 1)])
        ends = np.unique(ends[has_charge[ends]])
        ends = ends[~is_reached[ends]]
    return np.flatnonzero(is_reached)


def _neighbour_steps(indices, shape, *, down=0, right=0):
    """Return the pixels one step away that are in the image, and the places of their origins.

    Parameters
    ----------
    indices : numpy.ndarray of shape (k,), int
        Indices of pixels in the flattened image.
    shape : (int, int)
        (ny, nx).
    down, right : int, optional
        The step.
    """
    ny, nx = shape
    rows, columns = np.divmod(indices, nx)
    rows, columns = rows + down, columns + right
    places = np.flatnonzero((rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx))
    return rows[places] * nx + columns[places], places
