"""The dead time of a shutter across an image, from flats of several exposures.

A shutter uncovers one part of an image later than another: of an exposure of t seconds, a pixel is
exposed for t - delta (R. E. Zissell 2000, JAAVSO 28, 149, measures delta from a long and a short
flat). A flat of exposure t_i under a lamp of brightness a_i has the values

    N_i(p) = a_i F(p) (t_i - delta(p)),

and over its own mean, with D = delta - mean(delta) and x_i = 1 / (t_i - mean(delta)),

    r_i(p) = f(p) (1 - D(p) x_i).

D is therefore minus the slope of a straight line in x over its intercept, even if the lamp varies
between the flats. The dead time is smooth: the lines are fitted to means of cells, and D is linear
between their centres. The mean of delta can only be measured with a lamp that is steady from one
exposure to the next (`ccdflow.detector.photons.photon_transfer.measure_linearity`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ccdflow.detector.photons.night_transfer import group_by_exposure, linearity_of_filter
from ccdflow.errors import FrameError

# A map has at most this many cells along an axis. Chosen: fewer cells blur the edges of the blades,
# more cells have larger errors.
_MOST_CELLS = 16
# A cell has at least this many pixels along a side: the mean of a cell has a sixteenth of the noise
# of a pixel.
_LEAST_SIDE = 16
# Least relative scatter that is assumed for a lamp: no error is zero. The limit for the linearity
# of a detector is ten times larger. Here it would be too large: 1 ms in an exposure of 1 s is the
# dead time of a fast shutter.
_LEAST_LAMP_SCATTER = 1e-4
# With at least this many degrees of freedom the scatter alone gives the errors, to 10 %.
_MANY_DEGREES_OF_FREEDOM = 50
# Mean dead time and its error where no lamp was steady.
_UNKNOWN_MEAN_AND_ERROR = (np.nan, np.nan)


@dataclass(frozen=True)
class DeadTime:
    """The dead time of a shutter in the cells of the images of a frame.

    Attributes
    ----------
    excess, error : tuple of numpy.ndarray of shape (rows of cells, cells in a row), float64
        Dead time of each image minus its mean over all images, and its standard error, seconds; NaN
        in a cell without good pixels.
    mean, mean_error : float
        Mean of the dead time over all images and its standard error, seconds; NaN where no lamp was
        steady.
    reduced_chi2 : float
        Chi^2 of all lines over their degrees of freedom; NaN for no degrees of freedom. Errors are
        multiplied by its root; with few degrees of freedom only if it is above 1.
    """

    excess: tuple[np.ndarray, ...]
    error: tuple[np.ndarray, ...]
    mean: float = np.nan
    mean_error: float = np.nan
    reduced_chi2: float = np.nan

    def effect(self, inverse, *, sigmas=3.0):
        """Return the largest relative error that the shutter causes in a frame with certainty.

        Parameters
        ----------
        inverse : float
            The inverse of the frame's exposure minus the mean inverse of its flats' exposures, 1/s.
        sigmas : float, optional
            Standard errors that are subtracted from the size of each cell's excess: chance exceeds
            the default in one cell of 370.

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
    """Return the first pixel of each cell along an axis, and the size of the axis: (cells + 1,).

    Examples
    --------
    >>> print(cell_edges(64)[:4])
    [ 0 16 32 48]
    """
    cells = int(np.clip(size // _LEAST_SIDE, 1, _MOST_CELLS))
    return np.linspace(0, size, cells + 1).round().astype(int)


def cell_sums(values, rows, shape):
    """Return the sums and numbers of the good pixels of each cell in some rows of the image.

    Parameters
    ----------
    values : numpy.ndarray of shape (n, k, nx), float32 or float64
        Some rows of n flats. A pixel that is NaN in one flat is left out in all flats.
    rows : slice
        Rows of the image, k of them.
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    sums : numpy.ndarray of shape (n, rows of cells, cells in a row), float64
        0 in cells that the rows do not touch.
    count : numpy.ndarray of shape (rows of cells, cells in a row), float64
        Number of good pixels; 0 in cells that the rows do not touch.
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
    """The means of the cells in flats of one filter.

    Attributes
    ----------
    seconds : numpy.ndarray of shape (n,), float64
        Exposure of each flat.
    means : list of numpy.ndarray of shape (n, rows of cells, cells in a row), float64
        Means of each image, adu above bias and dark; NaN in a cell without good pixels.
    variances : list of numpy.ndarray of the same shapes, float64
        Variances of these means, adu^2. A common factor of all may be wrong: the scatter of the
        flats corrects it.
    counts : list of numpy.ndarray of the same shapes, float64
        Number of good pixels of each cell.
    """

    seconds: np.ndarray
    means: list[np.ndarray]
    variances: list[np.ndarray]
    counts: list[np.ndarray]


def measure_dead_time(series):
    """Measure the dead time, in seconds, from flats of several exposures and one or more filters.

    Parameters
    ----------
    series : list of FlatSeries
        Each has two exposures or more.

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
    """Return the factor of the errors; with few degrees of freedom it is at least 1."""
    if freedom == 0:
        return 1.0
    factor = np.sqrt(reduced_chi2)
    return factor if freedom >= _MANY_DEGREES_OF_FREEDOM else max(1.0, factor)


def _flat_levels(flats):
    """Return the means of all cells, (n, cells), their variances, and the level of each flat."""
    n = len(flats.seconds)
    means, variances = (
        np.concatenate([array.reshape(n, -1) for array in arrays], axis=1)
        for arrays in (flats.means, flats.variances)
    )
    counts = np.concatenate([array.ravel() for array in flats.counts])
    levels = np.nansum(means * counts, axis=1) / counts.sum()
    return means, variances, levels


class _MeanOfLight(NamedTuple):
    """The mean dead time by the flats of one light.

    Attributes
    ----------
    value, error : float
        Mean and standard error, seconds; NaN for no steady lamp.
    freedom : int
        Degrees of freedom of the scatter that gives the error: flats less their exposures.
    """

    value: float
    error: float
    freedom: int


class _CellLines(NamedTuple):
    """The lines of n cells over the inverse exposures of flats.

    Attributes
    ----------
    excess, error : numpy.ndarray of shape (n,), float64
        D of each cell and its standard error, seconds.
    squares : float
        Sum of the squared residuals, each over its variance.
    freedom : int
        Degrees of freedom of ``squares``.
    """

    excess: np.ndarray
    error: np.ndarray
    squares: float
    freedom: int


def _fit_cell_lines(flats, mean):
    """Return the `_CellLines` of flats whose mean dead time is known."""
    means, variances, levels = _flat_levels(flats)
    x = 1 / (np.asarray(flats.seconds, dtype=np.float64) - mean)[:, None]
    ratios = means / levels[:, None]
    # Inverse variances of the ratios.
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
    """Return the `_MeanOfLight` by the levels of flats; NaN for no steady lamp."""
    _, _, levels = _flat_levels(flats)
    seconds = np.asarray(flats.seconds, dtype=np.float64)
    sets = group_by_exposure(list(seconds))
    middle = max(levels[members].mean() for members in sets) / 2
    line = linearity_of_filter(seconds, levels, sets, middle, least_scatter=_LEAST_LAMP_SCATTER)
    freedom = sum(len(members) - 1 for members in sets)
    if line is None:
        return _MeanOfLight(*_UNKNOWN_MEAN_AND_ERROR, freedom)
    return _MeanOfLight(-line.shutter, line.shutter_error, freedom)


def _weighted_mean(means):
    """Return the weighted mean of some lights, and its standard error; NaN twice for no light.

    An error that a few flats give is itself uncertain, and a light whose flats agree by chance
    has too much weight. For this the variance has a factor of 1 and 4 sum(f (1 - f) / n), by the
    fraction f of the weight and the degrees of freedom n of each light (P. Meier 1953, Biometrics
    9, 59).

    Parameters
    ----------
    means : list of _MeanOfLight
    """
    finite_means = [mean for mean in means if np.isfinite([mean.value, mean.error]).all()]
    if not finite_means:
        return _UNKNOWN_MEAN_AND_ERROR
    values, errors, freedoms = np.array(finite_means).T
    weights = errors**-2.0
    fractions = weights / weights.sum()
    factor = 1 + 4 * np.sum(fractions * (1 - fractions) / freedoms)
    return float(values @ fractions), float(np.sqrt(factor / weights.sum()))


# -- correction ------------------------------------------------------------------------------------


def interpolate_cells(cells, shape):
    """Return the value of each pixel, interpolated between cells: (ny, nx) float32.

    Values are linear between the centres of cells. Beyond the outermost centres they are those of
    the parabola through the last three cells, or of the line through two. A cell without a value
    takes the value of the nearest cell that has one.

    Parameters
    ----------
    cells : numpy.ndarray of shape (rows of cells, cells in a row), floats
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
    """
    cells = _fill_cells(np.asarray(cells, dtype=np.float64))
    return (_cell_weights(shape[0]) @ cells @ _cell_weights(shape[1]).T).astype(np.float32)


def _fill_cells(cells):
    """Return cells, where NaN becomes the value of the nearest cell; 0 if all are NaN."""
    known_cells = np.argwhere(np.isfinite(cells))
    if len(known_cells) == cells.size or not len(known_cells):
        return np.nan_to_num(cells)
    filled_cells = cells.copy()
    for cell in np.argwhere(~np.isfinite(cells)):
        nearest = known_cells[np.argmin(np.square(known_cells - cell).sum(axis=1))]
        filled_cells[tuple(cell)] = cells[tuple(nearest)]
    return filled_cells


def _cell_weights(size):
    """Return the weight of each cell along an axis in the value of each pixel: (size, cells)."""
    edges = cell_edges(size)
    centres = (edges[:-1] + edges[1:] - 1) / 2
    if len(centres) == 1:
        return np.ones((size, 1))
    pixels = np.arange(size)
    index = np.clip(np.searchsorted(centres, pixels) - 1, 0, len(centres) - 2)
    fraction = (pixels - centres[index]) / (centres[index + 1] - centres[index])
    weights = np.zeros((size, len(centres)))
    weights[pixels, index] = 1 - fraction
    weights[pixels, index + 1] = fraction
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
    """Return the factor on a frame that was divided by its flat, and its relative variance.

    The flat is a mean of flats of exposures t_i: it contains the mean of (t_i - delta) / (t_i -
    mean). The frame of exposure t has the fraction (t - delta) / t of the light of a perfect
    shutter.

    Parameters
    ----------
    excess, error : numpy.ndarray of shape (rows of cells, cells in a row), float64
        Excess and error of the cells of one image, seconds: see `DeadTime`.
    mean : float
        Mean dead time, seconds. With NaN only the differences between pixels are corrected, and the
        frame keeps its mean.
    seconds : float
        Exposure of the frame.
    flat_exposures : sequence of float
        Exposures of the members of the flat.
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    factor, variance : numpy.ndarray of shape (ny, nx), float32
        The variance is that of the factor over its square.

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
    exposed_fraction = (np.float32(seconds - mean_or_zero) - excess_of_pixels) / np.float32(seconds)
    if np.isnan(mean):
        exposed_fraction = 1 - excess_of_pixels / np.float32(seconds)
    factor = flat / exposed_fraction
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
