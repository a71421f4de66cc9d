"""Checks of the overscan subtraction, from the strips, rows and seams of a frame.

Nothing here changes a pixel or a card of a product: the figures go into the frame's record, and
faults become warnings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ccdflow.frame import strip_light
from ccdflow.frame.flaws import saturation_of
from ccdflow.robust import MAD_TO_SIGMA_SHORT, median

MOST_ROWS = 1024
"""The figures take at most this many rows: 1 ms for an LFC frame."""

MOST_COLUMNS = 128
"""The figures take at most this many columns of each row."""

# The noise of a pixel and the profile across a seam take this many rows.
_ROWS_OF_A_PIXEL = 256
# An overscan of fewer rows or columns is not judged.
_FEWEST_LINES = 16

ADDED = np.pi / 2 / 16
"""Warn if the subtraction adds more than this fraction of a pixel's variance to the noise that the
pixels of a row share, by three errors of measuring it. A median of 16 columns adds as much, the
narrowest strip with a level a row by default. 1024 rows determine it to 0.0085."""

# Adu. The pixels of an image with less noise are saturated or dead, but for a few.
_DEAD_NOISE = 0.1
# The three errors named above.
_ROW_NOISE_ERRORS = 3
# Values beyond this many sigma are outliers: one in 1.7 million normal values is.
_OUTLIER_SIGMA = 5
# Adu. A smaller sigma of pixels tells no outliers: most of whole numbers may be one number.
_LEAST_SIGMA = 1.0

NOISIER = 1.5
"""Warn if a strip is noisier than the image, or than in other frames, by more than this factor."""

# Adu. An image with less noise is no measure for its overscan: most of it is rounding, 0.29 adu.
_LEAST_IMAGE_NOISE = 0.5
# Adu. No strip is quieter: rounding to whole numbers alone scatters by 0.29.
_LEAST_STRIP_NOISE = 0.3
# Columns of a strip agree if they differ by less than this part of the noise, or by less than this
# many standard errors of their means.
_AGREE_SIGMA, _AGREE_ERRORS = 0.35, 5
# Disagreeing columns are warned of if they move the level by more than this part of the noise.
_LEVEL_SHIFT_SIGMA = 0.15
# They must move it by more than this many adu, as well.
_LEVEL_SHIFT_ADU = 0.2
# Warn of structure if more than this fraction of the columns disagree, whatever the level does.
_STRUCTURED_PART = 1 / 3

# Columns on either side of a seam whose medians give its step: a median of 8 values has less than
# half of the error of one.
_SEAM_COLUMNS = 8
# A seam needs this many times as many columns: twice as many in each of the two amplifiers.
_FEWEST_SEAM_PARTS = 4
# A seam is looked for if the levels differ by more than this many errors of a column.
_STEP_ERRORS = 5
# Adu. An error of a column is no smaller: those of a simulated frame may not scatter at all.
_LEAST_ERROR = 1e-3
# A step is like that of the levels if the two differ by at most this fraction.
_SAME_STEP_PART = 0.3

GREW, DRIFT, NOISE, LIGHT, SEAM = "row noise", "row drift", "noise", "light", "seam"
"""The names of the warnings on an overscan."""

FULL, EMPTY = "saturated overscan", "empty rows"
"""The names of the warnings on an overscan that is saturated in part, or has no noise there."""

# Rows of one value have no noise if they are at least as many, with as many pixels together: those
# of a readout of 0.3 adu have one value by chance in 1 of 10,000 frames.
_FEWEST_EMPTY, _FEWEST_PIXELS = 4, 200
# A fit along the strip leaves out rows that are saturated, up to this fraction of them.
_FULL_ROWS_OF_A_FIT = 0.2
# A pixel of a column, or a row, counts as saturated where more than this fraction is.
_FULL_PART = 0.5

# Columns of an overscan that are enough for a level, and the words where fewer are good.
_FEWEST_COLUMNS = 3
_NO_OVERSCAN_REMEDY = "`overscan: none` and biases, in the camera's profile"
_TOO_FEW = ("none is left", "the one left is too few", "the 2 left are too few")


@dataclass(frozen=True)
class RowNoise:
    """Noise shared by the pixels of a row, from differences of neighbouring rows, adu.

    Attributes
    ----------
    before, after : float
        Before and after the overscan subtraction.
    by_row : float
        The value that a separate level for each row would give.
    pixel : float
        Noise of a single pixel.
    count : int
        Differences of rows that they are from.
    is_strip_dark : bool
        Whether light in the image ends at the overscan.
    """

    before: float
    after: float
    by_row: float
    pixel: float
    count: int = MOST_ROWS
    is_strip_dark: bool = False

    def limit(self, variance):
        """Return a limit for an added variance, wider by the errors of measuring it, adu^2.

        Differences of neighbours have one row in common, hence 1.5. The noise that was there does
        not add exactly: its product with the added one has a mean of 0, and scatters.
        """
        scatter = 2 * variance**2 + 4 * self.before**2 * variance
        return variance + _ROW_NOISE_ERRORS * np.sqrt(1.5 / max(self.count, 1) * scatter)


@dataclass(frozen=True)
class Sample:
    """The pixels of an amplifier on which the subtraction is judged.

    Attributes
    ----------
    lines : numpy.ndarray
        Shape (n, m), adu, as read: `m` pixels of each of `n` rows (columns, if the levels are
        along columns), see `sampled_lines`.
    levels, own : numpy.ndarray
        Shape (n,), adu: the level subtracted from each of these lines, and the line's own level.
    strip : numpy.ndarray
        Shape (n, k), adu: the overscan of the same lines.
    noise : float
        Of a pixel of the overscan, adu.
    top : float
        Value of a saturated pixel, adu; infinite where it is unknown.
    full_rows, rows : int
        How many lines of the whole amplifier have a saturated level of their own, and how many
        have a level.
    empty : (int, int)
        The first of the lines whose overscan has one value throughout, and their number.
    """

    lines: np.ndarray
    levels: np.ndarray
    own: np.ndarray
    strip: np.ndarray
    noise: float
    top: float = np.inf
    full_rows: int = 0
    rows: int = 0
    empty: tuple[int, int] = (0, 0)


def sampled_lines(data, along):
    """Return the sampled rows and columns of a frame, as slices.

    Parameters
    ----------
    data : ccdflow.camera.sections.Region
        The science pixels of an amplifier.
    along : str
        'rows' or 'columns'.

    Returns
    -------
    (slice, slice)
        Neighbouring lines from the middle of the data, and pixels spread over each line.
    """
    (y0, y1), (x0, x1) = (data.y0, data.y1), (data.x0, data.x1)
    if along != "columns":
        return _middle_lines(y0, y1), slice(x0, x1, max(1, (x1 - x0) // MOST_COLUMNS))
    return slice(y0, y1, max(1, (y1 - y0) // MOST_COLUMNS)), _middle_lines(x0, x1)


def _middle_lines(start, stop):
    """Return at most `MOST_ROWS` neighbouring lines from the middle of some, as a slice."""
    first = start + max(0, (stop - start - MOST_ROWS) // 2)
    return slice(first, min(stop, first + MOST_ROWS))


def sample_of_amplifier(lines, strips, overscan, amplifier):
    """Return the sample of an amplifier.

    Parameters
    ----------
    lines : numpy.ndarray
        Pixels of its frame that `sampled_lines` selects, adu.
    strips : list of numpy.ndarray
        Its strips, adu, as for `ccdflow.frame.overscan.measure_overscan`.
    overscan : ccdflow.frame.overscan.Overscan
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    Sample
        Without lines that hold a pixel that is not finite.
    """
    along, data = amplifier.along, amplifier.data
    top = saturation_of(strips[0].dtype, 0, amplifier)
    top = np.inf if top is None else top
    full = top, int(np.count_nonzero(overscan.own >= top)), len(overscan.own)
    if along == "frame":
        strip = strips[0][:: max(1, len(strips[0]) // MOST_ROWS)]
        levels = own = np.repeat(overscan.levels, len(lines))
        return Sample(
            *_finite_lines(lines, levels, own), *_finite_lines(strip), overscan.noise, *full
        )
    lines_of_frame = sampled_lines(data, along)[along == "columns"]
    first = data.y0 if along == "rows" else data.x0
    sampled = slice(lines_of_frame.start - first, lines_of_frame.stop - first)
    whole = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=int(along == "rows"))
    whole = whole if along == "rows" else whole.T
    full = *full, _empty_lines(whole)
    strip, lines = whole[sampled], lines if along == "rows" else lines.T
    lines, strip, levels, own = _finite_lines(
        lines, strip, overscan.levels[sampled], overscan.own[sampled]
    )
    return Sample(lines, levels, own, strip, overscan.noise, *full)


def _empty_lines(strip):
    """Return the first line and the number of lines of the longest run of one value.

    Parameters
    ----------
    strip : numpy.ndarray
        Shape (n, k), adu.
    """
    fewest = max(_FEWEST_EMPTY, -(-_FEWEST_PIXELS // strip.shape[1]))
    # Two pixels tell most lines apart.
    alike = np.flatnonzero(strip[:, 0] == strip[:, -1])
    alike = alike[(strip[alike] == strip[alike, :1]).all(axis=1)]
    if len(alike) < fewest:
        return 0, 0
    breaks = (np.diff(alike) > 1) | (np.diff(strip[alike, 0].astype(np.float64)) != 0)
    longest = max(np.split(alike, np.flatnonzero(breaks) + 1), key=len)
    return (int(longest[0]), len(longest)) if len(longest) >= fewest else (0, 0)


def _finite_lines(first, *others):
    """Return the lines in which all values of all arrays are finite."""
    good = np.ones(len(first), dtype=bool)
    for array in (first, *others):
        if array.dtype.kind == "f":
            good &= np.isfinite(array.reshape(len(first), -1)).all(axis=1)
    return (first, *others) if good.all() else tuple(array[good] for array in (first, *others))


def judge_subtraction(samples, amplifiers, recipe):
    """Judge the overscan subtraction of a frame.

    Parameters
    ----------
    samples : dict of str to Sample
        By the name of the amplifier, for those with a subtracted overscan.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe

    Returns
    -------
    rows : dict of str to RowNoise
        For amplifiers with enough pixels.
    warnings : list of (str, str)
        Kind and text of each warning.
    """
    row_noises, all_warnings = {}, []
    compared = strip_light.compare_strips(samples, amplifiers)
    by_name = {amplifier.name: amplifier for amplifier in amplifiers}
    for name, sample in samples.items():
        noise, warnings = judge_sample(sample, recipe, name if len(amplifiers) > 1 else "")
        all_warnings += warnings
        if noise is not None:
            is_dark = name in compared and strip_light.is_dark(compared[name], by_name[name])
            row_noises[name] = replace(noise, is_strip_dark=is_dark)
    all_warnings += strip_light.light_warnings(compared, amplifiers)
    return row_noises, all_warnings + seam_warnings(samples, amplifiers)


def row_noise(sample):
    """Measure the effect of the overscan subtraction on the noise shared by a row's pixels.

    Parameters
    ----------
    sample : Sample

    Returns
    -------
    RowNoise or None
        None if there are too few pixels.
    """
    if min(sample.lines.shape) < _FEWEST_LINES:
        return None
    means = sample.lines.mean(axis=1, dtype=np.float64)
    levels, own = (np.asarray(array, dtype=np.float64) for array in (sample.levels, sample.own))
    noises, count = _noise_of_neighbours(means, means - levels, means - own)
    pixels = sample.lines[:_ROWS_OF_A_PIXEL].astype(np.float32)
    (pixel,), _ = _noise_of_neighbours(pixels, least=_LEAST_SIGMA)
    return RowNoise(*noises, pixel, count) if np.isfinite([*noises, pixel]).all() else None


def _noise_of_neighbours(*series, least=0.0):
    """Return the noise of each of some series from differences of neighbours, and their number.

    A difference counts in all series or in none: an outlier in one is left out of all.

    Parameters
    ----------
    *series : numpy.ndarray
        Of one shape, (n, ...), adu: neighbours along the first axis.
    least : float
        Least sigma of a difference by which outliers are told, adu.

    Returns
    -------
    noises : list of float
        Adu; NaN without any difference.
    count : int
    """
    differences = [np.diff(values, axis=0) for values in series]
    kept = np.logical_and.reduce([_are_inliers(values, least) for values in differences])
    noises = [_root_mean_square(values, kept) / np.sqrt(2) for values in differences]
    return noises, int(np.count_nonzero(kept))


def _are_inliers(values, least):
    """Tell which values are finite and no outliers, in the shape of the values."""
    finite = np.isfinite(values)
    if not finite.any():
        return finite
    deviations = np.abs(values - median(values[finite]))
    sigma = MAD_TO_SIGMA_SHORT * float(median(deviations[finite]))
    if not (sigma or least):
        return finite
    return finite & (deviations <= _OUTLIER_SIGMA * max(sigma, least))


def _root_mean_square(values, kept):
    """Return the scatter of the values that are kept about their median, NaN without any."""
    if not kept.any():
        return float("nan")
    chosen = values[kept]
    deviations = np.abs(chosen - median(chosen)).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(deviations))))


def judge_sample(sample, recipe, name=""):
    """Judge the overscan subtraction of an amplifier.

    Parameters
    ----------
    sample : Sample
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    name : str
        The amplifier's name if there are several; otherwise ''.

    Returns
    -------
    noise : RowNoise or None
        None if there are too few pixels.
    warnings : list of (str, str)
        Kind and text of each warning.
    """
    noise = row_noise(sample)
    subject = f"amplifier {name}: " if name else ""
    # Noise and structure of saturated pixels tell nothing else.
    warnings = [*_saturation_warnings(sample, recipe), *_empty_row_warnings(sample)] or [
        *_row_warnings(noise, sample, recipe),
        *_strip_noise_warnings(noise, sample),
        *_column_warnings(sample, recipe),
    ]
    return noise, [(kind, subject + text) for kind, text in warnings]


def _saturation_warnings(sample, recipe):
    """Yield the warning on an overscan with saturated columns, or rows with a saturated level."""
    strip, top = sample.strip, sample.top
    if not strip.size or not np.isfinite(top) or median(sample.lines) >= top:
        # An amplifier that is saturated throughout is told as such.
        return
    full = strip >= top
    columns = int(np.count_nonzero(full.mean(axis=0) > _FULL_PART))
    width, remedy = strip.shape[1], "allowed: a strip without light"
    if columns and sample.full_rows in (0, sample.rows):
        left = width - columns
        advice = "leave them out of `overscan:` in the camera's profile"
        if left < _FEWEST_COLUMNS:
            advice = (
                f"{_TOO_FEW[left]}: take a wider strip at `overscan:`, or {_NO_OVERSCAN_REMEDY}"
            )
        yield (
            FULL,
            f"{columns} of the {width} columns of the overscan are saturated ({top:.6g} adu);"
            f" {remedy}; look at the raw frame: do they hold data or light in others as well,"
            f" {advice}, else leave this frame out",
        )
        return
    most = 0 if recipe.model is None else _FULL_ROWS_OF_A_FIT * sample.rows
    if sample.full_rows > most:
        of = "the levels of all rows are" if recipe.model else "as many rows of the image are"
        yield (
            FULL,
            f"the overscan is saturated ({top:.6g} adu) in {sample.full_rows} of its {sample.rows}"
            f" rows, and {of} wrong by it; {remedy}; look at the raw frame: charge of a bright"
            " source may run into the overscan; leave the frame out, or take a strip at"
            " `overscan:` that the charge does not reach, in the camera's profile",
        )


def _empty_row_warnings(sample):
    """Yield the warning on rows that were not read out: those of a dead amplifier are all empty."""
    first, count = sample.empty
    if 0 < count < sample.rows and not sample.full_rows:
        yield (
            EMPTY,
            f"{count} of the {sample.rows} rows of the overscan have one value throughout, and no"
            f" noise, from row {first + 1} on: the readout broke off, or the file was filled up;"
            " allowed: rows that were read out; look at the raw frame, and leave it out",
        )


def _row_warnings(rows, sample, recipe):
    """Yield the warning on rows whose noise the subtraction raises, or fails to lower."""
    if rows is None or rows.pixel < _DEAD_NOISE:
        # Saturated or dead pixels have no noise to compare with; another warning reports them.
        return
    allowed = rows.limit(ADDED * rows.pixel**2)
    if recipe.model is None and rows.after**2 - rows.before**2 > allowed:
        yield (
            GREW,
            f"subtracting a level for each row raised the noise that a row shares from"
            f" {rows.before:.2g} to {rows.after:.2g} adu (a pixel's is {rows.pixel:.2g}): the"
            f" strip's {sample.strip.shape[1]} columns are too few or too noisy for that;"
            " `reduction: {model: polynomial}` in the camera's profile smooths the level",
        )
    elif recipe.model is not None and rows.after**2 - rows.by_row**2 > allowed:
        yield (
            DRIFT,
            f"rows drift together with their overscan: a level for each row would leave"
            f" {rows.by_row:.2g} adu of the noise that a row shares, the smoothed one leaves"
            f" {rows.after:.2g}; `reduction: {{model: null}}` in the camera's profile takes a"
            " level for each row",
        )


def _strip_noise_warnings(rows, sample):
    """Yield the warning on an overscan that is noisier than the image."""
    if rows is None or rows.pixel < _LEAST_IMAGE_NOISE:
        # An image without noise is dead or saturated; another warning reports that.
        return
    if sample.noise > NOISIER * rows.pixel:
        yield (
            NOISE,
            f"the overscan has a noise of {sample.noise:.4g} adu, the image one of"
            f" {rows.pixel:.3g}: it is not what the level of the image is; give another strip, or"
            " `overscan: none`, in the camera's profile",
        )


def _column_warnings(sample, recipe):
    """Yield the warning on columns of the overscan that disagree."""
    strip = sample.strip[:: max(1, len(sample.strip) // _ROWS_OF_A_PIXEL)].astype(np.float64)
    count, width = strip.shape
    if count < _FEWEST_LINES or width < _FEWEST_COLUMNS or not np.isfinite(sample.noise):
        return
    columns = _clipped_means(strip)
    # If a strip has structure, the noise about the levels is that of the structure.
    (pixel,), _ = _noise_of_neighbours(strip, least=_LEAST_SIGMA)
    noise = max(min(sample.noise, pixel), _LEAST_STRIP_NOISE)
    offsets = np.abs(columns - median(columns))
    limit = max(_AGREE_SIGMA * noise, _AGREE_ERRORS * noise / np.sqrt(count))
    disagree = offsets > limit
    if not disagree.any():
        return
    shift = _level_shift(strip, disagree, recipe)
    is_moved = abs(shift) > max(_LEVEL_SHIFT_SIGMA * noise, _LEVEL_SHIFT_ADU)
    if is_moved or disagree.mean() > _STRUCTURED_PART:
        effect = f", and move the level by {shift:.2g} adu" if is_moved else ""
        yield (
            LIGHT,
            f"the overscan holds light or structure: {disagree.sum()} of its {width} columns are"
            f" off by up to {offsets.max():.4g} adu, where its noise is {noise:.2g}{effect};"
            f" {_remedy_for_columns(int(width - disagree.sum()), width)}",
        )


def _level_shift(strip, disagree, recipe):
    """Return the mean shift of the levels of lines by columns that disagree, adu; 0 if all do."""
    if disagree.all():
        return 0.0
    statistic = np.mean if recipe.statistic == "mean" else np.median
    return float(np.mean(statistic(strip, axis=1) - statistic(strip[:, ~disagree], axis=1)))


def _remedy_for_columns(agreeing, width):
    """Return the remedy for a strip of which some columns agree and the others do not."""
    if agreeing < _FEWEST_COLUMNS:
        return f"{_TOO_FEW[agreeing]}: take a wider strip at `overscan:`, or {_NO_OVERSCAN_REMEDY}"
    if agreeing < width / 2:
        return (
            f"the {agreeing} left may be no overscan either: look at `overscan:`, or give"
            f" {_NO_OVERSCAN_REMEDY}"
        )
    return "leave them out of `overscan:` in the camera's profile"


def _clipped_means(lines):
    """Return the means of the columns of lines (n, m) without outliers: (m,)."""
    deviations = np.abs(lines - np.median(lines, axis=0))
    sigma = MAD_TO_SIGMA_SHORT * np.median(deviations, axis=0)
    limit = _OUTLIER_SIGMA * np.maximum(sigma, _LEAST_SIGMA)
    return np.mean(lines, axis=0, where=deviations <= limit)


# -- seams of amplifiers ---------------------------------------------------------------------------


def seam_warnings(samples, amplifiers):
    """Return warnings on two amplifiers that meet elsewhere than at the split between them.

    The level of the wrong amplifier is then subtracted from the columns between the true seam and
    the split: their image steps by the difference of the levels at both ends, up and down again.

    Parameters
    ----------
    samples : dict of str to Sample
        By the name of the amplifier.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier

    Returns
    -------
    list of (str, str)
        Kind and text of each warning.
    """
    warnings = []
    for pair in combinations([a for a in amplifiers if a.name in samples], 2):
        left, right = sorted(pair, key=lambda a: a.data.x0)
        if left.along != "rows" or left.hdu != right.hdu or left.data.x1 != right.data.x0:
            continue
        if (left.data.y0, left.data.y1) != (right.data.y0, right.data.y1):
            continue
        seam = _find_seam(samples[left.name], samples[right.name], left.data, right.data)
        if seam is not None:
            column, step = seam
            warnings.append(
                (
                    SEAM,
                    f"amplifiers {left.name} and {right.name} are split at column"
                    f" {right.data.x0 + 1}, and the image steps by {abs(step):.2g} adu, as their"
                    f" levels do, at column {column + 1}: the columns between have the level of the"
                    " wrong amplifier; give `amplifiers:` with their `data` in the camera's"
                    " profile",
                )
            )
    return warnings


def _find_seam(left, right, left_data, right_data):
    """Return (column, step in adu) of a seam that is not at the split, or None.

    Parameters
    ----------
    left, right : Sample
        Of the two amplifiers.
    left_data, right_data : ccdflow.camera.sections.Region
        Their data: the split is between the two.

    Returns
    -------
    (int, float) or None
        The column, counted from 0, is the first one of the amplifier on the right.
    """
    step = float(median(right.own) - median(left.own))
    (values, columns), split = _profile_across(left, right, left_data, right_data)
    (error,), _ = _noise_of_neighbours(values)
    span = _SEAM_COLUMNS
    is_small = abs(step) < _STEP_ERRORS * max(error, _LEAST_ERROR)
    if is_small or len(values) < _FEWEST_SEAM_PARTS * span:
        return None
    places = np.arange(span, len(values) - span)
    # One median of all windows: one for each would take most of the time of a small frame.
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, span), axis=1)
    steps = medians[places] - medians[places - span]
    # Columns with the other amplifier's level are off by minus or plus the step.
    at_split = steps[split - span] if span <= split < len(values) - span else 0.0
    if abs(at_split + step) > _SAME_STEP_PART * abs(step):
        return None
    is_far = np.abs(places - split) >= span
    if not is_far.any():
        return None
    best = int(np.argmin(np.where(is_far, np.abs(steps - step), np.inf)))
    if abs(steps[best] - step) > _SAME_STEP_PART * abs(step):
        return None
    nearby = range(max(span, places[best] - span // 2), places[best] + span // 2 + 1)
    steepest = max(nearby, key=lambda x: np.sign(step) * (values[x] - values[x - 1]))
    return int(columns[steepest]), step


def _profile_across(left, right, left_data, right_data):
    """Return ((means of sampled columns less their levels, the columns), index of the split)."""
    means, columns = [], []
    for sample, data in ((left, left_data), (right, right_data)):
        levels = np.asarray(sample.levels, dtype=np.float64)[:_ROWS_OF_A_PIXEL, np.newaxis]
        means.append(_clipped_means(sample.lines[:_ROWS_OF_A_PIXEL] - levels))
        stride = max(1, (data.x1 - data.x0) // MOST_COLUMNS)
        columns.append(np.arange(data.x0, data.x1, stride))
    return (np.concatenate(means), np.concatenate(columns)), len(means[0])
