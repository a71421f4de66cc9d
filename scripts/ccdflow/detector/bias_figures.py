"""What the members of a combined bias say about the detector, and how good their combination is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ccdflow.combine.stack import CombineRecipe, combine_arrays
from ccdflow.detector.frame_figures import (
    BOXES,
    CLIP,
    DIGITAL_NOISE,
    UNKNOWN,
    Clean,
    Estimate,
    white_part,
    without_outliers,
)
from ccdflow.errors import UserError

_TRIALS = 40_000


# -- the detector --------------------------------------------------------------------------------


def read_noise(frames):
    """Measure the read noise from the differences of consecutive biases.

    What differs from row to row is taken out of each difference first: it is noise of the
    overscan level, or pick-up, and reported as row structure.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape ``(n, k, nx)``: the same pixels of `n` biases, of one amplifier, in adu.

    Returns
    -------
    Estimate
        sigma(difference) / sqrt(2), in the root of the mean of squares over all n - 1 pairs. With
        N pixels and m pairs its standard error is sigma sqrt((1 + (m - 1) / (2 m)) / (2 N m)):
        neighbouring pairs share a frame, so that their variances are correlated by 1/4.
    """
    return _read_noise(_pair_parts(frames))


def _pair_parts(frames):
    return [white_part(b - a) for a, b in pairwise(frames)]


def _read_noise(parts):
    pairs = len(parts)
    if not pairs or not all(part.count > 1 for part in parts):
        return UNKNOWN
    sigma = np.sqrt(np.mean([part.sigma**2 for part in parts]) / 2)
    pixels = np.mean([part.count for part in parts])
    error = sigma * np.sqrt((1 + (pairs - 1) / (2 * pairs)) / (2 * pixels * pairs))
    return Estimate(float(sigma), float(error))


@dataclass(frozen=True)
class Structure:
    """Structure along rows and columns, rms in adu beyond what white noise accounts for.

    Parameters
    ----------
    rows, columns : Estimate
        In a single frame, or in the image that was measured.
    """

    rows: Estimate
    columns: Estimate


def structure(image, noise):
    """Measure the scatter of the means of rows and columns beyond white noise.

    Parameters
    ----------
    image : numpy.ndarray
        Shape ``(ny, nx)``, adu, of one amplifier.
    noise : float
        White noise of its pixels, adu.

    Returns
    -------
    Structure
    """
    clean = without_outliers(image)
    return Structure(rows=clean.excess(noise, axis=1), columns=clean.excess(noise, axis=0))


def member_structure(frames, noise):
    """Structure of the single frames of a group: the root of the mean square over its members.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape ``(n, k, nx)``, adu, of one amplifier.
    noise : float
        Read noise, adu.

    Returns
    -------
    Structure
    """
    parts = [structure(frame, noise) for frame in frames]
    return Structure(
        rows=_root_mean_square([part.rows for part in parts]),
        columns=_root_mean_square([part.columns for part in parts]),
    )


def _root_mean_square(estimates):
    # The members share their fixed pattern: their errors are not independent.
    value = np.sqrt(np.mean([e.value**2 for e in estimates]))
    return Estimate(float(value), float(np.mean([e.error for e in estimates])))


@dataclass(frozen=True)
class Drift:
    """Bias level and how it changed through the night.

    Parameters
    ----------
    level : Estimate
        Mean, adu.
    slope : Estimate
        Straight line through the levels, adu an hour; without error from two frames.
    span : float
        Highest less lowest level, adu.
    """

    level: Estimate
    slope: Estimate
    span: float


def drift(levels, hours=None):
    """Follow the bias level through the night.

    Parameters
    ----------
    levels : sequence of float
        Level of the overscan of each frame before subtraction, adu.
    hours : sequence of float, optional
        When the frames were taken; NaN where it is not known.

    Returns
    -------
    Drift
        The error of the slope is from the scatter of the levels about the line.
    """
    levels = np.asarray(levels, dtype=np.float64)
    known = np.isfinite(levels)
    count = np.count_nonzero(known)
    if not count:
        return Drift(UNKNOWN, UNKNOWN, float("nan"))
    kept = levels[known]
    error = kept.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
    times = np.full(len(levels), np.nan) if hours is None else np.asarray(hours, np.float64)
    known &= np.isfinite(times)
    return Drift(
        level=Estimate(float(kept.mean()), float(error)),
        slope=_slope(times[known], levels[known]),
        span=float(np.ptp(kept)),
    )


def _slope(times, levels):
    if len(times) < 2 or np.ptp(times) == 0:
        return UNKNOWN
    times, levels = times - times.mean(), levels - levels.mean()
    weight = np.sum(times**2)
    slope = np.sum(times * levels) / weight
    if len(times) == 2:
        return Estimate(float(slope), float("nan"))
    scatter = np.sum((levels - slope * times) ** 2) / (len(times) - 2)
    return Estimate(float(slope), float(np.sqrt(scatter / weight)))


# -- the noise of the combined bias -------------------------------------------------------------


def _without_noise_clipping(recipe):
    """Return a recipe for values of normal noise alone, of which the noise model rejects none."""
    return replace(recipe, clip=None) if recipe.clip_by == "noise" else recipe


@lru_cache(maxsize=256)
def excess_variance(n, recipe):
    """Variance of what `recipe` makes of `n` normal values, over that of their plain average.

    1 for a plain average; for a median it goes to pi/2 for many values; clipping costs much
    with three or four values, of which two may agree by chance, and little with many. From a
    seeded simulation, good to 1 % (a median of over 100 to 2 %).
    """
    if n < 3 or (recipe.method == "average" and recipe.clip is None):
        return 1.0
    recipe = _without_noise_clipping(recipe)
    rng = np.random.default_rng(20160116)
    trials = max(min(_TRIALS, 4_000_000 // n), 4000)
    values = rng.standard_normal((n, 1, trials), dtype=np.float32)
    # Against the plain average of the same values: the chance excess of both cancels.
    squares = [
        np.mean(np.square(combine_arrays(values, r).image), dtype=np.float64)
        for r in (recipe, CombineRecipe("average", None))
    ]
    return float(squares[0] / squares[1])


def noise_prediction(sigma, n, recipe=None):
    """Noise that the combination of `n` biases should have, from the read noise of one.

    Parameters
    ----------
    sigma : Estimate or float
        Read noise, adu.
    n : int
        Number of members.
    recipe : CombineRecipe, optional
        The guide's by default.

    Returns
    -------
    Estimate
        sigma / sqrt(n) times the root of `excess_variance`.
    """
    if not isinstance(sigma, Estimate):
        sigma = Estimate(float(sigma), 0.0)
    factor = float(np.sqrt(excess_variance(n, recipe or CombineRecipe()) / n))
    return Estimate(sigma.value * factor, sigma.error * factor)


def combined_noise(frames, recipe=None):
    """Measure the noise of a combined bias from two halves of its members.

    The even and the odd members are combined on their own. What is fixed in the detector drops
    out of their difference, whose variance is the sum of theirs; to that of the whole they are
    as `noise_prediction` says. What differs from row to row is taken out first, as in `read_noise`.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape ``(n, k, nx)``: the same pixels of all members, of one amplifier, in adu.
    recipe : CombineRecipe, optional
        How they were combined; the guide's by default.

    Returns
    -------
    Estimate
        Its standard error is sigma / sqrt(2 N) for N pixels.
    """
    recipe = _without_noise_clipping(recipe or CombineRecipe())
    n = len(frames)
    if n < 2:
        return UNKNOWN
    halves = [
        combine_arrays(part, recipe, allow_empty=True) for part in (frames[::2], frames[1::2])
    ]
    part = white_part(halves[0].image - halves[1].image)
    if part.count < 2:
        return UNKNOWN
    parts = sum(excess_variance(k, recipe) / k for k in (n - n // 2, n // 2))
    sigma = part.sigma * np.sqrt(excess_variance(n, recipe) / n / parts)
    return Estimate(float(sigma), float(sigma / np.sqrt(2 * part.count)))


# -- all of it, for a table ---------------------------------------------------------------------


@dataclass(frozen=True)
class Amplifier:
    """What is known of an amplifier beforehand.

    Parameters
    ----------
    name : str
        Its name.
    region : tuple of int
        ``(y0, y1, x0, x1)``: its pixels in the combined image, from 0, ends not included.
    gain : float or None
        Electrons an adu.
    read_noise : float or None
        What the header claims, electrons.
    along : {'rows', 'columns', 'frame'}
        What the overscan was subtracted by: the noise of its level is no noise of the pixels.
    """

    name: str
    region: tuple[int, int, int, int]
    gain: float | None = None
    read_noise: float | None = None
    along: str = "rows"


@dataclass(frozen=True)
class AmplifierQuality:
    """One row of the table of bias quality; NaN where something could not be measured.

    Units are adu unless the name says electrons; an error is a standard error. `pair_noise` is the
    read noise from each pair of consecutive frames, and `disagreement` what `disagreement` returns.
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


def measure_amplifier(combined, amplifier, levels=(), hours=None, overscan_noise=np.nan):
    """Measure all that the table has about one amplifier.

    Parameters
    ----------
    combined : ccdflow.combine.stack.Combined
        The combined bias with the sample of its members.
    amplifier : Amplifier
        Where it is and what is claimed of it.
    levels, hours : sequence of float
        For `drift`.
    overscan_noise : float
        Noise of the overscan's pixels, adu: no frame has light there.

    Returns
    -------
    AmplifierQuality

    Raises
    ------
    UserError
        If the region is not inside the image.
    """
    y0, y1, x0, x1 = _checked_region(amplifier, combined.image.shape)
    inside = (combined.sample_rows >= y0) & (combined.sample_rows < y1)
    frames = combined.sample[:, inside, x0:x1]
    n = len(frames)
    # What is measured about rows below is then about columns.
    turned = frames.swapaxes(1, 2) if amplifier.along == "columns" else frames
    pairs = _pair_parts(turned)
    noise = _read_noise(pairs)
    whole = combined_noise(turned, combined.recipe)
    single = member_structure(frames, noise.value)
    final = structure(combined.image[combined.sample_rows[inside], x0:x1], whole.value)
    level = drift(levels, hours)
    missing, factor = _missing(frames)
    gain = amplifier.gain or float("nan")
    claim = float("nan") if amplifier.read_noise is None else amplifier.read_noise
    return AmplifierQuality(
        amplifier=amplifier.name,
        frames=n,
        level=level.level.value,
        level_error=level.level.error,
        level_span=level.span,
        drift_an_hour=level.slope.value,
        drift_an_hour_error=level.slope.error,
        read_noise=noise.value,
        read_noise_error=noise.error,
        read_noise_electrons=noise.value * gain,
        header_read_noise_electrons=claim,
        row_structure=single.rows.value,
        row_structure_error=single.rows.error,
        column_structure=single.columns.value,
        column_structure_error=single.columns.error,
        combined_row_structure=final.rows.value,
        combined_column_structure=final.columns.value,
        combined_noise=whole.value,
        combined_noise_error=whole.error,
        predicted_noise=noise_prediction(noise, n, combined.recipe).value * factor,
        root_n_noise=noise.value / n**0.5,
        disagreement=disagreement(turned, np.fmin(noise.value, overscan_noise)),
        pair_noise=tuple(_read_noise([pair]).value for pair in pairs),
        clipped_fraction=max(
            0.0, 1 - missing - float(combined.count[y0:y1, x0:x1].mean(dtype=np.float64)) / n
        ),
    )


def disagreement(frames, noise):
    """How far frames differ from each other beyond noise, where they do so most.

    The variance of each pixel through the frames, less that of white noise, averaged over the boxes
    of a coarse grid: frames of two kinds have it, in whatever order they were taken.

    Parameters
    ----------
    frames : numpy.ndarray
        Shape ``(n, k, nx)``: the same pixels of `n` biases, of one amplifier, in adu.
    noise : float
        White noise of a pixel, adu.

    Returns
    -------
    float
        Standard deviation of the frames about their mean in the worst box, in adu, 0 where it is
        not significant (6 sigma, as there are many boxes); NaN where there are fewer than three
        frames or no boxes.
    """
    # An odd step, for patterns that alternate.
    frames = frames[:, :: frames.shape[1] // _COMPARED_ROWS | 1]
    n, ny, nx = frames.shape
    if n < 3 or min(ny, nx) < BOXES or not np.isfinite(noise):
        return float("nan")
    total, squares = np.zeros((ny, nx)), np.zeros((ny, nx))
    count = np.zeros((ny, nx), np.int32)
    centre = np.median(frames, axis=0)
    # A cosmic ray is no disagreement; two kinds of frames are as far from the middle as each other.
    reach = np.maximum(CLIP * max(noise, DIGITAL_NOISE), 3 * _middle_distance(frames, centre))
    for frame in frames:
        offset = frame - centre
        with np.errstate(invalid="ignore"):
            good = np.abs(offset) <= reach
            rows = np.where(good, offset, 0).sum(axis=1) / np.maximum(good.sum(axis=1), 1)
        offset = np.where(good, offset - rows[:, None], 0)
        total += offset
        squares += offset**2
        count += good
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = (squares - total**2 / count) / (count - 1)
    values = np.where(count > n / 2, variance, np.nan)
    clean = Clean(np.nan_to_num(values), np.isfinite(values), 0.0)
    excess = np.nanmax(clean.boxes(), initial=0.0) - noise**2
    error = max(noise, DIGITAL_NOISE) ** 2 * np.sqrt(2 * BOXES**2 / (ny * nx * (n - 1)))
    return float(np.sqrt(excess)) if excess > 6 * error else 0.0


_COMPARED_ROWS = 32  # of 50 LFC frames these take 0.15 s


def _middle_distance(frames, centre):
    return np.median(np.abs(frames - centre), axis=0)


def _missing(frames):
    """Return which part of the values is not finite, and by what that raises the noise of a mean.

    A mean of k values has the noise of one over the root of k, so over many pixels 1 / k counts.
    """
    finite = np.isfinite(frames)
    if finite.all():
        return 0.0, 1.0
    count = np.count_nonzero(finite, axis=0)
    factor = np.sqrt(np.mean(len(frames) / count[count > 0])) if count.any() else 1.0
    return 1 - float(finite.mean()), float(factor)


def _checked_region(amplifier, shape):
    y0, y1, x0, x1 = amplifier.region
    if not (0 <= y0 < y1 <= shape[0] and 0 <= x0 < x1 <= shape[1]):
        raise UserError(
            f"the region of amplifier {amplifier.name} is not inside the image",
            keyword="region",
            value=amplifier.region,
            allowed=f"(y0, y1, x0, x1) within {shape}",
        )
    return amplifier.region
