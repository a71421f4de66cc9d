"""The bias level of an amplifier from its overscan: statistic across the strip, model along it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ccdflow.errors import FrameError
from ccdflow.frame.checks.flaws import saturation_of
from ccdflow.frame.line_noise import LEAST_SIGMA, OUTLIER_SIGMA
from ccdflow.robust import MAD_TO_SIGMA_SHORT, median

# From this many to twice as many pixels of a large strip give the limit of outliers, to 1 %.
_SAMPLED_PIXELS = 20_000


@dataclass(frozen=True)
class Overscan:
    """The bias level and noise of an amplifier, from its overscan.

    Attributes
    ----------
    levels : numpy.ndarray of shape (k,), float32 or float64
        The subtracted levels, adu: one for each row, one for each column, or a single one.
    level : float
        Mean of ``levels``, adu, without those of a saturated overscan.
    noise : float
        Standard deviation of an overscan pixel about the level of its row or column, adu, without
        outliers; the only estimate of the read noise from this frame alone.
    own_levels : numpy.ndarray of shape (k,), float32 or float64
        The statistic of each row or column itself, adu; equal to ``levels`` without a model.
    """

    levels: np.ndarray
    level: float
    noise: float
    own_levels: np.ndarray


def measure_overscan(strips, amplifier, recipe):
    """Measure the overscan of an amplifier.

    Parameters
    ----------
    strips : list of numpy.ndarray of shape (ny, nx), any integer or float type
        Its strips in native byte order, adu, each as long as the amplifier's data; pixels that are
        not finite are ignored.
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe

    Returns
    -------
    Overscan

    Raises
    ------
    FrameError
        If a row, column or the whole strip has no finite pixel, or too few to fit the model.
    """
    statistic = statistic_along(strips, amplifier.along, recipe)
    levels = _model_levels(statistic, amplifier.along, recipe)
    check_levels(levels, amplifier)
    noise = noise_about_levels(strips, amplifier.along)
    top = saturation_of(strips[0].dtype, 0, amplifier)
    return Overscan(levels, mean_level(levels, statistic, top), noise, statistic)


def mean_level(levels, statistic, top):
    """Return the mean level of the rows or columns whose overscan is not saturated.

    Parameters
    ----------
    levels, statistic : numpy.ndarray of shape (k,), float32 or float64
        See `Overscan`.
    top : float or None
        Value of a saturated pixel, adu; None where it is unknown.

    Returns
    -------
    float
        Adu; the mean of all levels if a model gave them, or if all rows or columns are saturated.
    """
    is_sound = statistic < (np.inf if top is None else top)
    # A model along the overscan leaves saturated rows out already.
    if levels is not statistic or is_sound.all() or not is_sound.any():
        return float(np.mean(levels))
    return float(np.mean(levels[is_sound]))


def levels_along(strips, along, recipe):
    """Return the bias level along the strips.

    Parameters
    ----------
    strips : list of numpy.ndarray of shape (ny, k) or (k, nx), any integer or float type
        Native values, adu: (ny, k) for ``along='rows'``, (k, nx) for 'columns', any for
        'frame'.
    along : {'rows', 'columns', 'frame'}
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        Its ``statistic`` across the strip, and its ``model`` along it.

    Returns
    -------
    numpy.ndarray
        One level for each row, for each column, or a single one; NaN if no pixel is finite.
        float64 for integers; floats keep their own type, as in `ccdproc.subtract_overscan`.

    Raises
    ------
    FrameError
        If too few levels are left to fit the model.
    """
    return _model_levels(statistic_along(strips, along, recipe), along, recipe)


def statistic_along(strips, along, recipe):
    """Return the statistic across the strips, without a model along them.

    Parameters
    ----------
    strips, along, recipe
        See `levels_along`.

    Returns
    -------
    numpy.ndarray of shape (ny,), (nx,) or (1,), float32 or float64
        Adu: for each row or column of the data, or for the frame.
    """
    if along == "frame":
        values = np.concatenate([strip.ravel() for strip in strips])[np.newaxis]
        return _statistic_of_rows(values, recipe.statistic)
    values = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=int(along == "rows"))
    return _statistic_of_rows(values if along == "rows" else values.T, recipe.statistic)


def _model_levels(levels, along, recipe):
    """Return the levels of the recipe's model; the levels themselves without a model."""
    return levels if recipe.model is None or along == "frame" else smooth_levels(levels, recipe)


def _statistic_of_rows(values, statistic):
    """Return the median or mean of each row of (n, k) values; NaN if none is finite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return _statistic_of_finite(values, statistic)
    if statistic == "mean":
        return np.mean(values, axis=1)
    return _row_medians(values)


def _statistic_of_finite(values, statistic):
    """Return the median or mean of the finite values of each row; NaN without a finite value."""
    levels = np.full(len(values), np.nan, dtype=values.dtype)
    finite_values = np.where(np.isfinite(values), values, np.nan)
    has_values = np.isfinite(values).any(axis=1)
    levels[has_values] = (np.nanmedian if statistic == "median" else np.nanmean)(
        finite_values[has_values], axis=1
    )
    return levels


def _row_medians(values):
    """Return the median of each row, as `numpy.median`; of integers many times faster."""
    if values.dtype.kind not in "iu":
        return np.median(values, axis=1)
    sorted_values = np.sort(values, axis=1)
    middle = values.shape[1] // 2
    if values.shape[1] % 2:
        return sorted_values[:, middle].astype(np.float64)
    return sorted_values[:, middle - 1 : middle + 1].astype(np.float64).mean(axis=1)


def check_levels(levels, amplifier):
    """Raise `FrameError` if a level is not finite: the product would be NaN there.

    Parameters
    ----------
    levels : numpy.ndarray of shape (k,), float32 or float64
        Adu, one a row or column of the data.
    amplifier : ccdflow.camera.geometry.Amplifier
        Its overscan is named in the error.

    Raises
    ------
    FrameError
        If a level is not finite.
    """
    if not np.isfinite(levels).all():
        raise FrameError(
            "the overscan holds values that are not finite",
            keyword="overscan",
            value=" ".join(strip.to_fits() for strip in amplifier.overscan),
            allowed="a finite pixel for each row or column of the data",
            remedy="choose another region in the camera's profile, or look at the raw frame",
        )


def noise_about_levels(strips, along):
    """Return the standard deviation of overscan pixels about their row's or column's mean, adu.

    With one level for the frame it is that about the median of each strip. The mean of k pixels
    removes part of the scatter, which the factor k / (k - 1) restores. Outliers are left out, see
    `ccdflow.frame.line_noise.OUTLIER_SIGMA`; their sigma is that of the median absolute deviation,
    and at least `ccdflow.frame.line_noise.LEAST_SIGMA`.

    Parameters
    ----------
    strips, along
        See `levels_along`.

    Returns
    -------
    float
        NaN without a finite pixel in a strip that is wider than one pixel.
    """
    squares = count = 0
    for strip in strips:
        # float32 holds 16-bit numbers exactly; wider numbers may need more.
        values = strip.astype(np.float32 if strip.dtype.itemsize <= 2 else np.float64)
        if along == "columns":
            values = values.T
        elif along == "frame":
            values = values.reshape(1, -1)
        k = values.shape[1]
        if k < 2:
            continue
        # Deviations are taken from the means of rows: an outlier shifts the mean of its row, so
        # that all pixels of this row deviate and are left out. A frame with one level has its
        # median instead.
        centre = np.nanmedian(values) if along == "frame" else _row_means(values)
        deviation = np.abs(values - centre)
        # A sample of the pixels suffices for the limit of outliers, and is faster.
        sample = deviation.ravel()[:: max(1, deviation.size // _SAMPLED_PIXELS)]
        if strip.dtype.kind == "f":
            sample = sample[np.isfinite(sample)]
        spread = MAD_TO_SIGMA_SHORT * float(median(sample))
        inlier_deviations = deviation[deviation <= OUTLIER_SIGMA * max(spread, LEAST_SIGMA)]
        squares += float(np.square(inlier_deviations, dtype=np.float64).sum()) * k / (k - 1)
        count += inlier_deviations.size
    return float(np.sqrt(squares / count)) if count else float("nan")


def _row_means(values):
    """Return the means of the finite pixels of rows, as a column; NaN without finite pixels."""
    is_finite = np.isfinite(values)
    if is_finite.all():
        return values.mean(axis=1, keepdims=True)
    count = is_finite.sum(axis=1, keepdims=True)
    total = np.where(is_finite, values, 0).sum(axis=1, keepdims=True)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- a model along the strip -----------------------------------------------------------------------


def smooth_levels(levels, recipe):
    """Return a polynomial or spline along the levels, with outliers rejected.

    Parameters
    ----------
    levels : numpy.ndarray of shape (n,), float32 or float64
        Adu; NaN is left out.
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        ``model`` 'polynomial' of degree ``order`` (as `ccdproc.subtract_overscan` fits it with
        ``model=Polynomial1D(order)``), or 'spline': cubic, of ``order`` equal pieces. Levels
        farther than ``reject_sigma`` standard deviations from the fit are left out, up to
        ``reject_iterations`` times. If either is 0, no level is left out.

    Returns
    -------
    numpy.ndarray of shape (n,), float64

    Raises
    ------
    FrameError
        If too few levels are left to fit, in all or for a piece of the spline.
    """
    positions = np.arange(len(levels))
    is_good = np.isfinite(levels)
    fewest = recipe.order + (4 if recipe.model == "spline" else 1)
    n_rejections = recipe.reject_iterations if recipe.reject_sigma else 0
    for _ in range(n_rejections + 1):
        if is_good.sum() < fewest:
            raise FrameError(
                f"the overscan has too few good levels for a {recipe.model} of order"
                f" {recipe.order}",
                keyword="reduction: order",
                value=int(is_good.sum()),
                allowed=f"{fewest} or more",
                remedy="lower the order in the camera's profile",
            )
        curve = _fitted_levels(positions, levels, is_good, recipe)
        is_still_good = is_good & ~_are_outliers(levels - curve, is_good, recipe.reject_sigma)
        if n_rejections == 0 or np.array_equal(is_still_good, is_good):
            break
        is_good = is_still_good
    return curve


def _are_outliers(residuals, is_good, sigma):
    """Return the mask of residuals farther than sigma standard deviations from their median."""
    centre, spread = np.median(residuals[is_good]), np.std(residuals[is_good])
    with np.errstate(invalid="ignore"):
        return np.abs(residuals - centre) > sigma * spread


def _fitted_levels(positions, levels, is_good, recipe):
    """Return the levels of a model along the overscan, outliers left out.

    Parameters
    ----------
    positions : numpy.ndarray of shape (n,), int
        Along the overscan, pixels.
    levels : numpy.ndarray of shape (n,), float32 or float64
        Adu.
    is_good : numpy.ndarray of shape (n,), bool
        The levels that are fitted.
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        With a model.

    Raises
    ------
    FrameError
        If a piece of the spline has too few levels.
    """
    # Imported here, because each import adds 0.3 s to runs that do not fit its model.
    if recipe.model == "polynomial":
        from astropy.modeling import fitting, models

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = fitting.LinearLSQFitter()(
                models.Polynomial1D(recipe.order), positions[is_good], levels[is_good]
            )
        return model(positions)
    from scipy.interpolate import LSQUnivariateSpline

    ends = positions[is_good][[0, -1]].astype(float)
    for order in range(recipe.order, 0, -1):
        knots = np.linspace(*ends, order + 1)[1:-1]
        try:
            spline = LSQUnivariateSpline(positions[is_good], levels[is_good], knots, k=3)
        except ValueError:
            # There are enough levels in all, but one piece of the spline, at a gap, has too few.
            continue
        if order == recipe.order:
            return spline(positions)
        break
    raise FrameError(
        f"the overscan has too few good levels for a spline of {recipe.order} pieces",
        keyword="reduction: order",
        value=recipe.order,
        allowed=f"at most {order}",
        remedy="lower the order in the camera's profile",
    )
