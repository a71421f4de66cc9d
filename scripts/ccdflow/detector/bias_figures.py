"""Figures of the detector from the members of a combined bias, and the quality of the bias."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ccdflow.camera.sections import Region
from ccdflow.combine.moments import CLIP_SIGMA, Moments
from ccdflow.combine.noise import DIGITAL_NOISE, checked_region
from ccdflow.combine.row_sample import rows_within
from ccdflow.detector.combined_bias_noise import measure_combined_noise, predict_noise
from ccdflow.detector.frame_figures import (
    COARSE_BOXES,
    COMPARED_ROWS,
    UNKNOWN_FIGURE,
    CleanImage,
    Estimate,
    clean_image_of,
    scatter_about_row_means,
)
from ccdflow.detector.threaded_map import threaded_map
from ccdflow.robust import median_of_each_pixel

# Two variances disagree if they differ by more than this many standard errors. Normal variances do
# so by chance in one of 64 boxes once in 16 million amplifiers; variances of few pixels have longer
# tails.
_DISAGREEMENT_SIGMA = 6
# Values within this many median distances of the centre count. Where the frames are of two kinds,
# all values count: they are about equally far from the centre.
_REACH_IN_DISTANCES = 3


# -- the detector --------------------------------------------------------------------------------


def measure_read_noise(frames):
    """Measure the read noise, in adu, from the differences of consecutive biases.

    Differences between rows are removed from each difference image first. They are noise of the
    overscan level, or pick-up, and are reported as row structure.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        The same pixels of `n` biases, of one amplifier, in adu.

    Returns
    -------
    Estimate
        sigma(difference) / sqrt(2), as the root of the mean square over all n - 1 pairs. With N
        pixels and m pairs its standard error is sigma sqrt((1 + (m - 1) / (2 m)) / (2 N m)):
        neighbouring pairs share a frame, so their variances are correlated by 1/4. Unknown for
        fewer than two frames, or for a pair with fewer than two common pixels.

    Examples
    --------
    Three biases of a camera with a read noise of 4 adu:

    >>> frames = np.random.default_rng(1).normal(1000, 4, (3, 64, 100))
    >>> noise = measure_read_noise(frames)
    >>> print(f"{noise.value:.2f} +- {noise.error:.2f}")
    3.99 +- 0.03
    """
    return _read_noise_of_pairs(_moments_of_pairs(frames))


def _moments_of_pairs(frames, threads=1):
    """Return the `Moments` of the differences of consecutive frames, row means removed."""
    return threaded_map(
        lambda pair: scatter_about_row_means(pair[1] - pair[0]), [*pairwise(frames)], threads
    )


def _read_noise_of_pairs(pair_moments):
    """Return the read noise, an `Estimate` in adu, from the moments of differences."""
    n_pairs = len(pair_moments)
    if not n_pairs or not all(moments.count > 1 for moments in pair_moments):
        return UNKNOWN_FIGURE
    sigma = np.sqrt(np.mean([moments.sigma**2 for moments in pair_moments]) / 2)
    mean_pixels = np.mean([moments.count for moments in pair_moments])
    error = sigma * np.sqrt((1 + (n_pairs - 1) / (2 * n_pairs)) / (2 * mean_pixels * n_pairs))
    return Estimate(float(sigma), float(error))


@dataclass(frozen=True)
class Structure:
    """Structure along rows and columns: the rms of their means in excess of white noise, adu.

    Attributes
    ----------
    rows, columns : Estimate
        Structure of a single frame, or of the image that was measured.
    """

    rows: Estimate
    columns: Estimate


def measure_structure(image, noise):
    """Measure the scatter of the means of rows and columns in excess of white noise, in adu.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        Adu, of one amplifier.
    noise : float
        White noise of its pixels, adu.

    Returns
    -------
    Structure

    Examples
    --------
    Columns that differ by 2 adu (rms), below a noise of 4 adu:

    >>> image = np.random.default_rng(1).normal(1000, 4, (200, 300))
    >>> image[:, ::2] += 4
    >>> structure = measure_structure(image, 4.0)
    >>> print(f"{structure.columns.value:.2f}, {structure.rows.value:.2f}")
    2.01, 0.01
    """
    clean = clean_image_of(image)
    return Structure(
        rows=clean.excess_scatter(noise, axis=1), columns=clean.excess_scatter(noise, axis=0)
    )


def measure_member_structure(frames, noise, threads=1):
    """Measure the structure of a group's frames, in adu: root mean square over the members.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        Adu, of one amplifier.
    noise : float
        Read noise, adu.
    threads : int, optional
        Number of threads; the result does not depend on it.

    Returns
    -------
    Structure
    """
    structures = threaded_map(lambda frame: measure_structure(frame, noise), frames, threads)
    return Structure(
        rows=_root_mean_square([structure.rows for structure in structures]),
        columns=_root_mean_square([structure.columns for structure in structures]),
    )


def _root_mean_square(estimates):
    """Return the root mean square of the figures of members, with the mean of their errors."""
    # The members share their fixed pattern: their errors are not independent.
    value = np.sqrt(np.mean([estimate.value**2 for estimate in estimates]))
    return Estimate(float(value), float(np.mean([estimate.error for estimate in estimates])))


@dataclass(frozen=True)
class Drift:
    """The bias level of an amplifier and its change through the night.

    Attributes
    ----------
    level : Estimate
        Mean, adu.
    slope : Estimate
        Slope of a straight line through the levels, adu an hour. Its error is NaN for two frames.
    span : float
        Highest minus lowest level, adu.
    """

    level: Estimate
    slope: Estimate
    span: float


def measure_drift(levels, hours=None):
    """Measure the bias level and its change through the night.

    Parameters
    ----------
    levels : sequence of float
        Level of the overscan of each frame before its subtraction, adu.
    hours : sequence of float, optional
        Times of the frames in hours; NaN if unknown.

    Returns
    -------
    Drift
        The error of the slope follows from the scatter of the levels about the line.

    Examples
    --------
    A level that rises by 2 adu an hour:

    >>> drift = measure_drift([1000.0, 1001.0, 1002.0, 1003.0], hours=[0.0, 0.5, 1.0, 1.5])
    >>> drift.level.value, round(drift.slope.value, 6)
    (1001.5, 2.0)
    """
    levels = np.asarray(levels, dtype=np.float64)
    is_finite = np.isfinite(levels)
    count = np.count_nonzero(is_finite)
    if not count:
        return Drift(UNKNOWN_FIGURE, UNKNOWN_FIGURE, float("nan"))
    finite_levels = levels[is_finite]
    error = finite_levels.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
    times = np.full(len(levels), np.nan) if hours is None else np.asarray(hours, np.float64)
    is_finite &= np.isfinite(times)
    return Drift(
        level=Estimate(float(finite_levels.mean()), float(error)),
        slope=_slope_and_error(times[is_finite], levels[is_finite]),
        span=float(np.ptp(finite_levels)),
    )


def _slope_and_error(times, levels):
    """Return the slope of levels over time with its error."""
    if len(times) < 2 or np.ptp(times) == 0:
        return UNKNOWN_FIGURE
    times, levels = times - times.mean(), levels - levels.mean()
    weight = np.sum(times**2)
    slope = np.sum(times * levels) / weight
    if len(times) == 2:
        return Estimate(float(slope), float("nan"))
    variance = np.sum((levels - slope * times) ** 2) / (len(times) - 2)
    return Estimate(float(slope), float(np.sqrt(variance / weight)))


# -- one row of the table -----------------------------------------------------------------------


@dataclass(frozen=True)
class AmplifierValues:
    """The values of an amplifier in the profile or header.

    Attributes
    ----------
    name : str
        Its name.
    region : ccdflow.camera.sections.Region
        Its pixels in the combined image; a tuple ``(y0, y1, x0, x1)`` becomes a `Region`.
    gain : float or None
        Electrons per adu.
    read_noise : float or None
        Read noise in the header, electrons.
    along : {'rows', 'columns', 'frame'}
        The lines of pixels that share a level, which the overscan subtraction removed. The noise of
        this level is not noise of the pixels.
    """

    name: str
    region: Region
    gain: float | None = None
    read_noise: float | None = None
    along: str = "rows"

    def __post_init__(self):
        object.__setattr__(self, "region", Region.of_ends(self.region))


@dataclass(frozen=True)
class AmplifierQuality:
    """One row of the table of bias quality; NaN for figures that could not be measured.

    The unit is adu, unless the name contains electrons. An error is a standard error.

    Attributes
    ----------
    amplifier : str
    frames : int
        Number of members.
    level, level_error, level_span : float
        The mean level of the members, its error, and the highest minus the lowest level, adu.
    drift_an_hour, drift_an_hour_error : float
        Slope of the level over time, adu an hour.
    read_noise, read_noise_error : float
        Noise of a pixel from the differences of consecutive members, adu.
    read_noise_electrons, header_read_noise_electrons : float
        The read noise times the gain, and the read noise in header or profile, electrons.
    row_structure, row_structure_error, column_structure, column_structure_error : float
        Scatter of the means of rows and of columns of a member in excess of white noise, adu.
    combined_row_structure, combined_column_structure : float
        The same scatter in the combined bias, adu.
    combined_noise, combined_noise_error : float
        Noise of a pixel of the combined bias, adu.
    predicted_noise, root_n_noise : float
        The noise that the recipe predicts for the combined bias, and the read noise over the root
        of the number of members, adu.
    clipped_fraction : float
        Fraction of the values that were rejected.
    disagreement : float
        The result of `measure_disagreement`, adu.
    pair_noise : tuple of float
        The read noise from each pair of consecutive members, adu, in their order.
    """

    amplifier: str
    frames: int
    level: float
    level_error: float
    level_span: float
    drift_an_hour: float
    drift_an_hour_error: float
    read_noise: float
    read_noise_error: float
    read_noise_electrons: float
    header_read_noise_electrons: float
    row_structure: float
    row_structure_error: float
    column_structure: float
    column_structure_error: float
    combined_row_structure: float
    combined_column_structure: float
    combined_noise: float
    combined_noise_error: float
    predicted_noise: float
    root_n_noise: float
    clipped_fraction: float
    disagreement: float
    pair_noise: tuple[float, ...]


@dataclass(frozen=True)
class _SampleFigures:
    """The figures of an amplifier from the sampled rows of its biases.

    Attributes
    ----------
    pair_moments : list of ccdflow.combine.moments.Moments
        Moments of the difference of each pair of consecutive biases, adu.
    noise, combined_noise : Estimate
        Noise of a pixel of a single bias, and of the combined bias, adu.
    structure : Structure
        Structure of a single bias.
    disagreement : float
        The result of `measure_disagreement`, adu.
    """

    pair_moments: list[Moments]
    noise: Estimate
    combined_noise: Estimate
    structure: Structure
    disagreement: float


def _figures_of_sample(frames, along, recipe, overscan_noise, threads):
    """Return the `_SampleFigures` of some rows of an amplifier's biases.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
    along : {'rows', 'columns', 'frame'}
        Levels that the overscan subtraction removed.
    recipe : ccdflow.combine.combine_recipe.CombineRecipe
    overscan_noise : float
        Adu.
    threads : int
    """
    # With levels along columns, rows and columns are exchanged for all figures.
    oriented_frames = frames.swapaxes(1, 2) if along == "columns" else frames
    pair_moments = _moments_of_pairs(oriented_frames, threads)
    noise = _read_noise_of_pairs(pair_moments)
    # These three measurements take about the same time: threads share them evenly.
    combined_noise, structure, disagreement = threaded_map(
        lambda measure: measure(),
        [
            lambda: measure_combined_noise(oriented_frames, recipe),
            lambda: measure_member_structure(frames, noise.value),
            lambda: measure_disagreement(oriented_frames, np.fmin(noise.value, overscan_noise)),
        ],
        threads,
    )
    return _SampleFigures(pair_moments, noise, combined_noise, structure, disagreement)


def measure_amplifier(
    combined, amplifier, levels=(), hours=None, overscan_noise=np.nan, threads=1
):  # fmt: skip
    """Measure all of the table's figures of one amplifier of a combined bias.

    Parameters
    ----------
    combined : ccdflow.combine.stack.Combined
        The combined bias, with the sample of its members.
    amplifier : AmplifierValues
        The values of the amplifier in profile or header.
    levels, hours : sequence of float, optional
        See `measure_drift`.
    overscan_noise : float, optional
        Noise of the pixels of the overscan, adu, where no frame has light.
    threads : int, optional
        Number of threads; the figures do not depend on it.

    Returns
    -------
    AmplifierQuality

    Raises
    ------
    UserError
        If the region is not inside the image.
    """
    region = checked_region(amplifier, combined.image.shape)
    rows = rows_within(combined.sample_rows, region)
    frames = combined.sample[:, rows, region.columns]
    n = len(frames)
    sample_figures = _figures_of_sample(
        frames, amplifier.along, combined.recipe, overscan_noise, threads
    )
    noise = sample_figures.noise
    image = combined.image[combined.sample_rows[rows], region.columns]
    combined_structure = measure_structure(image, sample_figures.combined_noise.value)
    level_drift = measure_drift(levels, hours)
    missing_fraction, noise_factor = _missing_fraction_and_noise_factor(frames)
    gain = amplifier.gain or float("nan")
    header_read_noise = float("nan") if amplifier.read_noise is None else amplifier.read_noise
    return AmplifierQuality(
        amplifier=amplifier.name,
        frames=n,
        level=level_drift.level.value,
        level_error=level_drift.level.error,
        level_span=level_drift.span,
        drift_an_hour=level_drift.slope.value,
        drift_an_hour_error=level_drift.slope.error,
        read_noise=noise.value,
        read_noise_error=noise.error,
        read_noise_electrons=noise.value * gain,
        header_read_noise_electrons=header_read_noise,
        row_structure=sample_figures.structure.rows.value,
        row_structure_error=sample_figures.structure.rows.error,
        column_structure=sample_figures.structure.columns.value,
        column_structure_error=sample_figures.structure.columns.error,
        combined_row_structure=combined_structure.rows.value,
        combined_column_structure=combined_structure.columns.value,
        combined_noise=sample_figures.combined_noise.value,
        combined_noise_error=sample_figures.combined_noise.error,
        predicted_noise=predict_noise(noise, n, combined.recipe).value * noise_factor,
        root_n_noise=noise.value / n**0.5,
        disagreement=sample_figures.disagreement,
        pair_noise=tuple(
            _read_noise_of_pairs([pair]).value for pair in sample_figures.pair_moments
        ),
        clipped_fraction=max(
            0.0,
            1 - missing_fraction - float(combined.count[region.slices].mean(dtype=np.float64)) / n,
        ),
    )


def measure_disagreement(frames, noise):
    """Return the largest difference between frames in excess of noise, in adu.

    The variance of each pixel through the frames, minus that of white noise, is averaged over the
    boxes of a coarse grid. Frames of two kinds show an excess, whatever their order.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        The same pixels of `n` biases, of one amplifier, in adu.
    noise : float
        White noise of a pixel, adu.

    Returns
    -------
    float
        Standard deviation of the frames about their mean in the worst box, in adu. 0 if not
        significant: see `_DISAGREEMENT_SIGMA`. NaN for fewer than three frames, for frames with
        fewer pixels along an axis than boxes, or without `noise`.
    """
    # An odd step samples patterns that alternate from row to row.
    frames = frames[:, :: frames.shape[1] // COMPARED_ROWS | 1]
    n, ny, nx = frames.shape
    if n < 3 or min(ny, nx) < COARSE_BOXES or not np.isfinite(noise):
        return float("nan")
    sums, sums_of_squares = np.zeros((ny, nx)), np.zeros((ny, nx))
    count = np.zeros((ny, nx), np.int32)
    centre = median_of_each_pixel(frames, median_function=np.median)
    # A cosmic ray is beyond this reach. Frames of two kinds are within it, because they are equally
    # far from the centre.
    reach = np.maximum(
        CLIP_SIGMA * max(noise, DIGITAL_NOISE),
        _REACH_IN_DISTANCES * _middle_distance(frames, centre),
    )
    for frame in frames:
        offset = frame - centre
        with np.errstate(invalid="ignore"):
            is_good = np.abs(offset) <= reach
            row_means = np.where(is_good, offset, 0).sum(axis=1) / np.maximum(
                is_good.sum(axis=1), 1
            )
        offset = np.where(is_good, offset - row_means[:, None], 0)
        sums += offset
        sums_of_squares += offset**2
        count += is_good
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (sums_of_squares - sums**2 / count) / (count - 1)
    known_variance = np.where(count > n / 2, variance, np.nan)
    clean = CleanImage(np.nan_to_num(known_variance), np.isfinite(known_variance), 0.0)
    excess_variance = np.nanmax(clean.boxes(), initial=0.0) - noise**2
    variance_error = max(noise, DIGITAL_NOISE) ** 2 * np.sqrt(
        2 * COARSE_BOXES**2 / (ny * nx * (n - 1))
    )
    return (
        float(np.sqrt(excess_variance))
        if excess_variance > _DISAGREEMENT_SIGMA * variance_error
        else 0.0
    )


def _middle_distance(frames, centre):
    """Return the median distance of each pixel's values from their centre, (k, nx)."""
    return median_of_each_pixel(np.abs(frames - centre), median_function=np.median)


def _missing_fraction_and_noise_factor(frames):
    """Return the fraction of values that are not finite, and the factor on the noise of the mean.

    A mean of k values has the noise of one value over the root of k: 1 / k is averaged over the
    pixels.
    """
    is_finite = np.isfinite(frames)
    if is_finite.all():
        return 0.0, 1.0
    count = np.count_nonzero(is_finite, axis=0)
    factor = np.sqrt(np.mean(len(frames) / count[count > 0])) if count.any() else 1.0
    return 1 - float(is_finite.mean()), float(factor)
