"""Checks of the overscan subtraction, from the strips, rows and seams of a frame.

No pixel and no card of a product depends on the checks: their figures are in the frame's record,
and faults become warnings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.frame.checks import strip_light
from ccdflow.frame.checks.seam_checks import seam_warnings
from ccdflow.frame.line_noise import (
    LEAST_SIGMA,
    MOST_ROWS_FOR_NOISE,
    clipped_means,
    noise_of_neighbours,
)
from ccdflow.frame.strip_samples import MOST_ROWS
from ccdflow.robust import MEDIAN_VARIANCE, is_median_at_least, median

# An overscan with fewer rows or columns along it is not judged.
_FEWEST_LINES = 16

ADDED_VARIANCE_FRACTION = MEDIAN_VARIANCE / 16
"""Warn if the subtraction adds more than this fraction of a pixel's variance to the variance that
the pixels of a row share. A median of 16 columns adds as much, and by default a narrower strip has
no level for each row. 1024 rows determine the fraction to 0.0085."""

# Adu. All but a few pixels of an image with less noise are saturated or dead.
_DEAD_NOISE = 0.1
# A warning needs an added variance that exceeds the limit by this many errors of its measurement: 1
# of 700 sound frames does so by chance.
_ROW_NOISE_ERRORS = 3

NOISIER_FACTOR = 1.5
"""Warn if a strip is noisier than the image, or than in other frames, by more than this factor."""

# Adu. An image with less noise is no measure for its overscan: most of it is rounding, 0.29 adu.
_LEAST_IMAGE_NOISE = 0.5
# Adu. The noise of a strip counts as at least this: rounding to whole numbers has a noise of 0.29.
_LEAST_STRIP_NOISE = 0.3
# A column of a strip agrees with the others if its mean is off their median by at most this
# fraction of the noise, or by at most this many standard errors of the mean: one in 1.7 million is
# off by more by chance. With larger numbers columns with leaked light agree; with smaller ones
# chance and faint structure cause warnings.
_AGREE_SIGMA, _AGREE_ERRORS = 0.35, 5
# Columns that disagree raise a warning if they move the level by more than this fraction of the
# noise. A smaller fraction would warn of shifts that are lost in the noise of a pixel; a larger one
# would pass over shifts that all frames share.
_LEVEL_SHIFT_SIGMA = 0.15
# Adu. The shift of the level must also exceed this: less is below the rounding of a pixel, 0.29
# adu. A larger limit would pass over shifts of a quiet camera.
_LEVEL_SHIFT_ADU = 0.2
# More than this fraction of columns that disagree raises a warning, also if the level is not moved.
# A smaller fraction would warn of a few bad columns, which a median leaves out; it cannot leave out
# half a strip.
_STRUCTURED_FRACTION = 1 / 3

ROW_NOISE_GREW, DRIFT, NOISE, LIGHT = "row noise", "row drift", "noise", "light"
"""The names of the warnings on an overscan."""

SATURATED_OVERSCAN, EMPTY_ROWS = "saturated overscan", "empty rows"
"""The names of the warnings on an overscan that is saturated in part, or has no noise there."""

# A fit along the strip leaves out saturated rows, if they are at most this fraction of all rows.
# With a larger fraction the fit may follow the saturated rows; a smaller one would warn of single
# bright stars.
_MOST_SATURATED_ROW_FRACTION = 0.2
# A column counts as saturated if more than this fraction of its pixels is, and thus its median.
# With a smaller fraction the trail of a star counts; with a larger one a column that is mostly
# saturated does not.
_SATURATED_PIXEL_FRACTION = 0.5

# Least number of good columns of an overscan for a level, and the words for fewer good columns.
_FEWEST_COLUMNS = 3
_NO_OVERSCAN_REMEDY = "`overscan: none` and biases, in the camera's profile"
_TOO_FEW = ("none is left", "the one left is too few", "the 2 left are too few")


@dataclass(frozen=True)
class RowNoise:
    """The noise that the pixels of a row share, from differences of neighbouring rows, adu.

    Attributes
    ----------
    before, after : float
        Noise before and after the overscan subtraction.
    with_level_per_row : float
        Noise after the subtraction of a separate level for each row.
    pixel_noise : float
        Noise of a single pixel.
    count : int
        Number of differences of rows that give the noise.
    is_strip_dark : bool
        Whether light in the image ends at the overscan.
    """

    before: float
    after: float
    with_level_per_row: float
    pixel_noise: float
    count: int = MOST_ROWS
    is_strip_dark: bool = False

    def limit(self, variance):
        """Return an added variance plus the errors of its measurement, adu^2."""
        # The product of the noise before and the added noise has a mean of 0, and scatters.
        squared_scatter = 2 * variance**2 + 4 * self.before**2 * variance
        # Two differences of neighbours have one row in common, which raises the variance by a half.
        return variance + _ROW_NOISE_ERRORS * np.sqrt(1.5 / max(self.count, 1) * squared_scatter)


def judge_subtraction(samples, amplifiers, recipe):
    """Judge the overscan subtraction of a frame.

    Parameters
    ----------
    samples : dict of str to ccdflow.frame.strip_samples.Sample
        By the name of the amplifier, for those with a subtracted overscan.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe

    Returns
    -------
    row_noises : dict of str to RowNoise
        By the name of the amplifier, for those with enough pixels.
    warnings : list of (str, str)
        Kind and text of each warning; without the remedy if `strip_light.REMEDIES` has one.
    """
    row_noises, all_warnings = {}, []
    comparisons = strip_light.compare_strips(samples, amplifiers)
    amplifier_by_name = {amplifier.name: amplifier for amplifier in amplifiers}
    for name, sample in samples.items():
        noise, warnings = judge_sample(sample, recipe, name if len(amplifiers) > 1 else "")
        all_warnings += warnings
        if noise is not None:
            is_strip_dark = name in comparisons and strip_light.ends_light(
                comparisons[name], amplifier_by_name[name]
            )
            row_noises[name] = replace(noise, is_strip_dark=is_strip_dark)
    all_warnings += strip_light.light_warnings(comparisons, amplifiers)
    return row_noises, all_warnings + seam_warnings(samples, amplifiers)


def measure_row_noise(sample):
    """Measure the effect of the overscan subtraction on the noise shared by a row's pixels.

    Parameters
    ----------
    sample : ccdflow.frame.strip_samples.Sample

    Returns
    -------
    RowNoise or None
        None if there are too few pixels.
    """
    if min(sample.lines.shape) < _FEWEST_LINES:
        return None
    means = sample.lines.mean(axis=1, dtype=np.float64)
    levels, own_levels = (
        np.asarray(array, dtype=np.float64) for array in (sample.levels, sample.own_levels)
    )
    noises, count = noise_of_neighbours(means, means - levels, means - own_levels)
    pixels = sample.lines[:MOST_ROWS_FOR_NOISE].astype(np.float32)
    (pixel_noise,), _ = noise_of_neighbours(pixels, least_sigma=LEAST_SIGMA)
    is_measured = np.isfinite([*noises, pixel_noise]).all()
    return RowNoise(*noises, pixel_noise, count) if is_measured else None


def judge_sample(sample, recipe, name=""):
    """Judge the overscan subtraction of an amplifier.

    Parameters
    ----------
    sample : ccdflow.frame.strip_samples.Sample
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    name : str, optional
        The amplifier's name if there are several; otherwise ''.

    Returns
    -------
    noise : RowNoise or None
        None if there are too few pixels.
    warnings : list of (str, str)
        Kind and text of each warning.
    """
    noise = measure_row_noise(sample)
    subject = f"amplifier {name}: " if name else ""
    # If a strip is partly saturated or empty, its noise and structure show nothing else.
    warnings = [*_saturation_warnings(sample, recipe), *_empty_row_warnings(sample)]
    if not warnings:
        # The noise of a mostly saturated image shows nothing.
        if not sample.is_full:
            warnings += [
                *_row_warnings(noise, sample, recipe),
                *_strip_noise_warnings(noise, sample),
            ]
        warnings += _column_warnings(sample, recipe)
    return noise, [(kind, subject + text) for kind, text in warnings]


def _saturation_warnings(sample, recipe):
    """Yield the warning on an overscan with saturated columns, or rows with a saturated level."""
    strip, top = sample.strip, sample.top
    if not strip.size or not np.isfinite(top) or is_median_at_least(sample.lines, top):
        # An amplifier that is saturated throughout is reported elsewhere.
        return
    is_saturated = strip >= top
    n_columns = int(np.count_nonzero(is_saturated.mean(axis=0) > _SATURATED_PIXEL_FRACTION))
    width = strip.shape[1]
    allowed = "allowed: a strip without light"
    if n_columns and sample.n_full_lines in (0, sample.n_lines):
        n_left = width - n_columns
        advice = "leave them out of `overscan:` in the camera's profile"
        if n_left < _FEWEST_COLUMNS:
            advice = (
                f"{_TOO_FEW[n_left]}: take a wider strip at `overscan:`, or {_NO_OVERSCAN_REMEDY}"
            )
        yield (
            SATURATED_OVERSCAN,
            f"{n_columns} of the {width} columns of the overscan are saturated ({top:.6g} adu);"
            f" {allowed}; look at the raw frame: do they hold data or light in others as well,"
            f" {advice}, else leave this frame out",
        )
        return
    most_rows = 0 if recipe.model is None else _MOST_SATURATED_ROW_FRACTION * sample.n_lines
    if sample.n_full_lines > most_rows:
        consequence = (
            "the levels of all rows are wrong by it"
            if recipe.model
            else "as many rows of the image have no level: masters of exposed frames leave them"
            " out, calibrated frames mask them (bit 4)"
        )
        yield (
            SATURATED_OVERSCAN,
            f"the overscan is saturated ({top:.6g} adu) in {sample.n_full_lines} of its"
            f" {sample.n_lines} rows, and {consequence}; {allowed}; look at the raw frame: charge"
            " of a bright source may run into the overscan; leave the frame out, or take a strip at"
            " `overscan:` that the charge does not reach, in the camera's profile",
        )


def _empty_row_warnings(sample):
    """Yield the warning on some rows that were not read out; in a dead amplifier all rows are."""
    first, count = sample.empty_run
    if 0 < count < sample.n_lines and not sample.n_full_lines:
        yield (
            EMPTY_ROWS,
            f"{count} of the {sample.n_lines} rows of the overscan have one value throughout, and"
            f" no noise, from row {first + 1} on: the readout broke off, or the file was filled up;"
            " allowed: rows that were read out; look at the raw frame, and leave it out",
        )


def _row_warnings(row_noise, sample, recipe):
    """Yield the warning on rows whose noise the subtraction raises, or fails to lower."""
    if row_noise is None or row_noise.pixel_noise < _DEAD_NOISE:
        # Saturated or dead pixels have no noise to compare with; another warning reports them.
        return
    variance_limit = row_noise.limit(ADDED_VARIANCE_FRACTION * row_noise.pixel_noise**2)
    if recipe.model is None and row_noise.after**2 - row_noise.before**2 > variance_limit:
        yield (
            ROW_NOISE_GREW,
            f"subtracting a level for each row raised the noise that a row shares from"
            f" {row_noise.before:.2g} to {row_noise.after:.2g} adu (a pixel's is"
            f" {row_noise.pixel_noise:.2g}): the strip's {sample.strip.shape[1]} columns are too"
            " few or too noisy for that;"
            " `reduction: {model: polynomial}` in the camera's profile smooths the level",
        )
    elif (
        recipe.model is not None
        and row_noise.after**2 - row_noise.with_level_per_row**2 > variance_limit
    ):
        yield (
            DRIFT,
            f"rows drift together with their overscan: a level for each row would leave"
            f" {row_noise.with_level_per_row:.2g} adu of the noise that a row shares, the"
            f" smoothed one leaves {row_noise.after:.2g}; `reduction: {{model: null}}` in the"
            " camera's profile takes a level for each row",
        )


def _strip_noise_warnings(row_noise, sample):
    """Yield the warning on an overscan that is noisier than the image."""
    if row_noise is None or row_noise.pixel_noise < _LEAST_IMAGE_NOISE:
        # An image without noise is dead or saturated; another warning reports that.
        return
    if sample.noise > NOISIER_FACTOR * row_noise.pixel_noise:
        yield (
            NOISE,
            f"the overscan has a noise of {sample.noise:.4g} adu, the image one of"
            f" {row_noise.pixel_noise:.3g}: its level is not that of the image; give another"
            " strip, or `overscan: none`, in the camera's profile",
        )


def _column_warnings(sample, recipe):
    """Yield the warning on columns of the overscan that disagree."""
    strip = sample.strip[:: max(1, len(sample.strip) // MOST_ROWS_FOR_NOISE)].astype(np.float64)
    count, width = strip.shape
    if count < _FEWEST_LINES or width < _FEWEST_COLUMNS or not np.isfinite(sample.noise):
        return
    column_means = clipped_means(strip)
    # The noise of neighbours counts if it is smaller: in a strip with structure, most of the noise
    # about the levels is structure.
    (pixel_noise,), _ = noise_of_neighbours(strip, least_sigma=LEAST_SIGMA)
    noise = max(min(sample.noise, pixel_noise), _LEAST_STRIP_NOISE)
    offsets = np.abs(column_means - median(column_means))
    limit = max(_AGREE_SIGMA * noise, _AGREE_ERRORS * noise / np.sqrt(count))
    is_off = offsets > limit
    if not is_off.any():
        return
    shift = _level_shift(strip, is_off, recipe)
    is_moved = abs(shift) > max(_LEVEL_SHIFT_SIGMA * noise, _LEVEL_SHIFT_ADU)
    if is_moved or is_off.mean() > _STRUCTURED_FRACTION:
        effect = f", and move the level by {shift:.2g} adu" if is_moved else ""
        yield (
            LIGHT,
            f"the overscan holds light or structure: {is_off.sum()} of its {width} columns are"
            f" off by up to {offsets.max():.4g} adu, where its noise is {noise:.2g}{effect};"
            f" {_remedy_for_columns(int(width - is_off.sum()), width)}",
        )


def _level_shift(strip, is_off, recipe):
    """Return the mean shift of levels by columns that disagree, adu; 0 if all columns disagree."""
    if is_off.all():
        return 0.0
    statistic = np.mean if recipe.statistic == "mean" else np.median
    return float(np.mean(statistic(strip, axis=1) - statistic(strip[:, ~is_off], axis=1)))


def _remedy_for_columns(n_agreeing, width):
    """Return the remedy for a strip in which some columns agree and the others do not."""
    if n_agreeing < _FEWEST_COLUMNS:
        return (
            f"{_TOO_FEW[n_agreeing]}: take a wider strip at `overscan:`, or {_NO_OVERSCAN_REMEDY}"
        )
    if n_agreeing < width / 2:
        return (
            f"the {n_agreeing} left may be no overscan either: look at `overscan:`, or give"
            f" {_NO_OVERSCAN_REMEDY}"
        )
    return "leave them out of `overscan:` in the camera's profile"
