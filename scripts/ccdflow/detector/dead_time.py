"""The dead time of a shutter across an image, from flats of several exposures.

A shutter uncovers one part of an image later than another: a pixel is exposed for t - delta of the
t seconds asked for (R. E. Zissell 2000, JAAVSO 28, 149, who measures it from a long and a short
flat). A flat of exposure t_i under a lamp of brightness a_i has the values

    N_i(p) = a_i F(p) (t_i - delta(p)),

and over its own mean, with D = delta - mean(delta) and x_i = 1 / (t_i - mean(delta)),

    r_i(p) = f(p) (1 - D(p) x_i).

So D is the slope of a straight line in x over its intercept, whatever the lamp does between the
flats. The dead time is smooth: the lines are fitted to means of cells, and D is linear between
their centres. The mean of delta needs a lamp that is steady from one exposure to the next
(`ccdflow.detector.photons.photon_transfer.measure_linearity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ccdflow.detector.photons.night_transfer import group_by_exposure, linearity_of_filter
from ccdflow.errors import FrameError

# Cells of a map along an axis at most. Chosen: fewer blur the edges of the blades, more have larger
# errors each.
_MOST_CELLS = 16
# Pixels along a side of a cell at least: the mean of 256 pixels has a sixteenth of the noise of
# one.
_LEAST_SIDE = 16
# Every lamp is taken to scatter by at least this: no error is zero. The limit for the linearity of
# a detector, 0.001, would be an error of 1 ms in an exposure of 1 s, as much as a fast shutter's
# dead time.
_LEAST_LAMP_SCATTER = 1e-4
# With this many degrees of freedom the scatter alone gives the errors: it is known to 10 %.
_MANY_RESIDUALS = 50
# Value and error where no lamp was steady.
_UNKNOWN_FIGURE = (np.nan, np.nan)


@dataclass(frozen=True)
class DeadTime:
    """The dead time of the shutter in the cells of the images of a frame.

    Attributes
    ----------
    excess, error : tuple of numpy.ndarray of shape (rows of cells, cells in a row), float64
        Dead time of each image minus its mean over all images, and its standard error, seconds; NaN
        in a cell without good pixels.
    mean, mean_error : float
        Seconds; NaN where no lamp was steady.
    reduced_chi2 : float
        Chi^2 of all lines, over their degrees of freedom; NaN without any. Errors are multiplied by
        its root, where it is of few degrees only if it is above 1.
    """

    excess: tuple[np.ndarray, ...]
    error: tuple[np.ndarray, ...]
    mean: float = np.nan
    mean_error: float = np.nan
    reduced_chi2: float = np.nan

    def effect(self, inverse, *, sigmas=3.0):
        """Return the largest relative error that the shutter certainly leaves in a frame.

        Parameters
        ----------
        inverse : float
            1/s: the inverse of the frame's exposure, minus the mean inverse of its flats'.
        sigmas : float
            Errors that are taken off the dead time of each cell: chance exceeds the default in one
            cell of 370.

        Returns
        -------
        float
        """
        largest = 0.0
        for excess, error in zip(self.excess, self.error, strict=True):
            certain_excess = np.abs(excess) - sigmas * error
            largest = max(largest, float(np.nanmax(certain_excess, initial=0.0)))
        return largest * abs(inverse)


def cell_edges(size):
    """Return the first pixels of the cells along an axis, and its end: (cells + 1,) int.

    Examples
    --------
    >>> print(cell_edges(64)[:4])
    [ 0 16 32 48]
    """
    cells = int(np.clip(size // _LEAST_SIDE, 1, _MOST_CELLS))
    return np.linspace(0, size, cells + 1).round().astype(int)


def cell_sums(values, rows, shape):
    """Return sums and numbers of the good pixels of the cells, as far as some rows reach.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k, nx), float32 or float64
        Some rows of n flats. NaN where a pixel is bad; it is left out in all of them.
    rows : slice
        Rows of the image, k of them.
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    sums : numpy.ndarray of shape (n, rows of cells, cells in a row), float64
        0 in cells that the rows do not touch.
    count : numpy.ndarray of shape (rows of cells, cells in a row), float64
        Likewise.
    """
    y_edges, x_edges = cell_edges(shape[0]), cell_edges(shape[1])
    is_good = np.isfinite(values).all(axis=0)
    values_or_zero = np.where(is_good, values, 0)
    cells = np.searchsorted(y_edges, np.arange(rows.start, rows.stop), side="right") - 1
    sums = np.zeros((len(values), len(y_edges) - 1, len(x_edges) - 1))
    count = np.zeros(sums.shape[1:])
    for cell in np.unique(cells):
        is_in_cell = cells == cell
        sums[:, cell] = np.add.reduceat(
            values_or_zero[:, is_in_cell].sum(axis=1, dtype=np.float64), x_edges[:-1], axis=1
        )
        count[cell] = np.add.reduceat(is_good[is_in_cell].sum(axis=0), x_edges[:-1])
    return sums, count


@dataclass(frozen=True)
class FlatSeries:
    """Flats of one filter: means of their cells.

    Attributes
    ----------
    seconds : numpy.ndarray of shape (n,), float64
        Exposures.
    means : list of numpy.ndarray of shape (n, rows of cells, cells in a row), float64
        Means of each image, adu above bias and dark; NaN in a cell without good pixels.
    variances : list of numpy.ndarray of the same shapes, float64
        Variances of these means, adu^2: the scatter of the flats corrects their level.
    counts : list of numpy.ndarray of the same shapes, float64
        Good pixels of each cell.
    """

    seconds: np.ndarray
    means: list[np.ndarray]
    variances: list[np.ndarray]
    counts: list[np.ndarray]


def measure_dead_time(series):
    """Measure the dead time from flats of several exposures, of one filter or several.

    Parameters
    ----------
    series : list of FlatSeries
        Each of two exposures or more.

    Returns
    -------
    DeadTime
    """
    mean, mean_error = _weighted_mean([_mean_dead_time(flats) for flats in series])
    mean_or_zero = 0.0 if np.isnan(mean) else mean
    lines = [_fit_cell_lines(flats, mean_or_zero) for flats in series]
    weights = sum(line.error**-2 for line in lines)
    excess = sum(line.excess / line.error**2 for line in lines) / weights
    freedom = sum(line.freedom for line in lines)
    reduced_chi2 = sum(line.squares for line in lines) / freedom if freedom else np.nan
    error = weights**-0.5 * _error_factor(reduced_chi2, freedom)
    shapes = [means.shape[1:] for means in series[0].means]
    return DeadTime(
        _split_by_image(excess, shapes), _split_by_image(error, shapes), mean, mean_error,
        float(reduced_chi2),
    )  # fmt: skip


def _split_by_image(values, shapes):
    """Return the values of the cells of all images, (n,), as an array of each image's shape."""
    ends = np.cumsum([rows * columns for rows, columns in shapes])[:-1]
    parts = zip(np.split(values, ends), shapes, strict=True)
    return tuple(part.reshape(shape) for part, shape in parts)


def _error_factor(reduced_chi2, freedom):
    """Return the factor of the errors, by chi^2: few residuals only increase them."""
    if freedom == 0:
        return 1.0
    return np.sqrt(reduced_chi2) if freedom >= _MANY_RESIDUALS else max(1.0, np.sqrt(reduced_chi2))


def _flat_levels(flats):
    """Return the means of all cells, (n, cells), their variances, and the flats' levels."""
    n = len(flats.seconds)
    means, variances = (
        np.concatenate([array.reshape(n, -1) for array in arrays], axis=1)
        for arrays in (flats.means, flats.variances)
    )
    counts = np.concatenate([array.ravel() for array in flats.counts])
    levels = np.nansum(means * counts, axis=1) / counts.sum()
    return means, variances, levels


class _CellLines(NamedTuple):
    """The lines of n cells of the image over the exposures of flats.

    Attributes
    ----------
    excess, error : numpy.ndarray of shape (n,), float64
        D of each cell and its error, in seconds.
    squares : float
        Sum of the squared residuals, each over its variance.
    freedom : int
        Degrees of freedom of this sum.
    """

    excess: np.ndarray
    error: np.ndarray
    squares: float
    freedom: int


def _fit_cell_lines(flats, mean):
    """Fit a line to each cell and return the `_CellLines`."""
    means, variances, levels = _flat_levels(flats)
    x = 1 / (np.asarray(flats.seconds, dtype=np.float64) - mean)[:, None]
    ratios = means / levels[:, None]
    # One weight for all cells of a flat would do: they differ by the vignetting only.
    weights = levels[:, None] ** 2 / variances
    total, wx, wxx = (np.sum(weights * x**power, axis=0) for power in range(3))
    wy, wxy = (np.sum(weights * ratios * x**power, axis=0) for power in range(2))
    determinant = total * wxx - wx**2
    with np.errstate(divide="ignore", invalid="ignore"):
        intercept = (wxx * wy - wx * wxy) / determinant
        slope = (total * wxy - wx * wy) / determinant
        excess = -slope / intercept
        root = np.sqrt(total + 2 * excess * -wx + excess**2 * wxx)
        error = root / (np.sqrt(determinant) * np.abs(intercept))
    squares = weights * (ratios - intercept - slope * x) ** 2
    freedom = int(np.isfinite(excess).sum()) * (len(x) - 2)
    return _CellLines(excess, error, float(np.nansum(squares)), freedom)


def _mean_dead_time(flats):
    """Return the mean dead time by the flats' levels, and its error; NaN for no steady lamp."""
    _, _, levels = _flat_levels(flats)
    seconds = np.asarray(flats.seconds, dtype=np.float64)
    sets = group_by_exposure(list(seconds))
    middle = max(levels[members].mean() for members in sets) / 2
    line = linearity_of_filter(seconds, levels, sets, middle, least_scatter=_LEAST_LAMP_SCATTER)
    return _UNKNOWN_FIGURE if line is None else (-line.shutter, line.shutter_error)


def _weighted_mean(pairs):
    """Return the mean of values by their errors, and its error; NaN for none."""
    finite_pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    values, errors = np.array(finite_pairs or [_UNKNOWN_FIGURE]).T
    weights = errors**-2.0
    return float(values @ weights / weights.sum()), float(weights.sum() ** -0.5)


# -- correction ------------------------------------------------------------------------------------


def interpolate_cells(cells, shape):
    """Return the value of each pixel from the values of cells: (ny, nx) float32.

    Linear between the centres of the cells, beyond those at the edge the parabola through three; a
    cell without a value has that of the nearest one.

    Parameters
    ----------
    cells : numpy.ndarray of shape (rows of cells, cells in a row), floats
    shape : (int, int)

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
    """
    cells = _fill_cells(np.asarray(cells, dtype=np.float64))
    return (_cell_weights(shape[0]) @ cells @ _cell_weights(shape[1]).T).astype(np.float32)


def _fill_cells(cells):
    """Return cells, those without a value with that of the nearest cell; 0 if none has one."""
    known_cells = np.argwhere(np.isfinite(cells))
    if len(known_cells) == cells.size or not len(known_cells):
        return np.nan_to_num(cells)
    filled_cells = cells.copy()
    for cell in np.argwhere(~np.isfinite(cells)):
        nearest = known_cells[np.argmin(np.square(known_cells - cell).sum(axis=1))]
        filled_cells[tuple(cell)] = cells[tuple(nearest)]
    return filled_cells


def _cell_weights(size):
    """Return the part of each cell along an axis in each pixel: (size, cells)."""
    edges = cell_edges(size)
    centres = (edges[:-1] + edges[1:] - 1) / 2
    if len(centres) == 1:
        return np.ones((size, 1))
    pixels = np.arange(size)
    index = np.clip(np.searchsorted(centres, pixels) - 1, 0, len(centres) - 2)
    part = (pixels - centres[index]) / (centres[index + 1] - centres[index])
    weights = np.zeros((size, len(centres)))
    weights[pixels, index] = 1 - part
    weights[pixels, index + 1] = part
    if len(centres) > 2:
        for cells, is_beyond in (
            ((0, 1, 2), pixels < centres[0]),
            ((-1, -2, -3), pixels > centres[-1]),
        ):
            weights[np.ix_(is_beyond, cells)] = _parabola_weights(
                pixels[is_beyond], centres[list(cells)]
            )
    return weights


def _parabola_weights(positions, nodes):
    """Return the weights of three nodes in the parabola through them, (len(positions), 3)."""
    to_first, to_second, to_third = (positions[:, None] - nodes[None, :]).T
    first, second, third = nodes
    return np.stack(
        [
            to_second * to_third / ((first - second) * (first - third)),
            to_first * to_third / ((second - first) * (second - third)),
            to_first * to_second / ((third - first) * (third - second)),
        ],
        axis=1,
    )


def shutter_factor(excess, error, mean, seconds, flat_exposures, shape):
    """Return the factor that a frame over its flat is multiplied by, and its relative variance.

    The flat, a mean of flats of exposures t_i, holds the mean of (t_i - delta) / (t_i - mean), and
    the frame of exposure t has (t - delta) / t of the light of a perfect shutter.

    Parameters
    ----------
    excess, error : numpy.ndarray of shape (rows of cells, cells in a row), float64
        Excess and error of the cells of one image, see `DeadTime`.
    mean : float
        Mean dead time, seconds. With NaN the frame keeps its mean, and differences between pixels
        alone are corrected.
    seconds : float
        Exposure of the frame.
    flat_exposures : sequence of float
        Exposures of the members of the flat.
    shape : (int, int)

    Returns
    -------
    factor, variance : numpy.ndarray of shape (ny, nx), float32

    Raises
    ------
    FrameError
        If the frame's exposure, or one of the flat's, is no longer than the dead time.
    """
    mean_or_zero = 0.0 if np.isnan(mean) else mean
    excess_of_pixels = interpolate_cells(excess, shape)
    _check_exposures(seconds, flat_exposures, mean_or_zero, float(excess_of_pixels.max()))
    flat = np.zeros(shape, np.float32)
    for exposure in flat_exposures:
        flat += 1 - excess_of_pixels / np.float32(exposure - mean_or_zero)
    flat /= np.float32(len(flat_exposures))
    exposed_part = (np.float32(seconds - mean_or_zero) - excess_of_pixels) / np.float32(seconds)
    if np.isnan(mean):
        exposed_part = 1 - excess_of_pixels / np.float32(seconds)
    factor = flat / exposed_part
    inverses_of_flat = [1 / (exposure - mean_or_zero) for exposure in flat_exposures]
    inverse = 1 / (seconds - mean_or_zero) - np.mean(inverses_of_flat)
    return factor, np.square(interpolate_cells(error, shape) * np.float32(inverse))


def _check_exposures(seconds, flat_exposures, mean, largest_excess):
    """Raise `FrameError` if the exposure of a frame or flat is no longer than the dead time.

    Parameters
    ----------
    seconds : float
        Exposure of the frame.
    flat_exposures : sequence of float
        Exposures of the members of the flat.
    mean, largest_excess : float
        Mean dead time, and its largest excess in a pixel, seconds.
    """
    shortest = min(flat_exposures, default=np.inf)
    if min(seconds, shortest) - mean > largest_excess:
        return
    subject, exposure = ("frame", seconds) if seconds <= shortest else ("flat", shortest)
    raise FrameError(
        f"the exposure of {'the' if subject == 'frame' else 'a'} {subject} is no longer than the"
        " dead time of the shutter",
        keyword="EXPTIME",
        value=exposure,
        allowed=f"above {mean + largest_excess:.4g} s",
        remedy=f"leave the {subject} out, or take `shutter: measured` out of the profile",
    )
