"""Checks of the overscan subtraction, from the strips, rows and seams of a frame.

Nothing here changes a pixel or a card of a product: the figures go into the frame's record, and
faults become warnings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ccdflow.frame import strip_light
from ccdflow.frame.flags import saturation_of
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

NOISIER = 1.5
"""Warn if a strip is noisier than the image, or than in other frames, by more than this factor."""

# Columns of a strip agree if they differ by less than this part of the noise, or by less than five
# standard errors of their means.
_AGREE_SIGMA = 0.35
# Disagreeing columns are warned of if they move the level by more than this part of the noise.
_LEVEL_SHIFT_SIGMA = 0.15
# They must move it by more than this many adu, as well.
_LEVEL_SHIFT_ADU = 0.2
# Warn of structure if more than this fraction of the columns disagree, whatever the level does.
_STRUCTURED_PART = 1 / 3
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

# Columns of an overscan that are enough for a level, and the words where fewer are left.
_LEAST_LEFT = 3
_NONE = "`overscan: none` and biases, in the camera's profile"
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
        return _middle(y0, y1), slice(x0, x1, max(1, (x1 - x0) // MOST_COLUMNS))
    return slice(y0, y1, max(1, (y1 - y0) // MOST_COLUMNS)), _middle(x0, x1)


def _middle(start, stop):
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
        return Sample(*_finite(lines, levels, own), *_finite(strip), overscan.noise, *full)
    picked = sampled_lines(data, along)[along == "columns"]
    first = data.y0 if along == "rows" else data.x0
    inside = slice(picked.start - first, picked.stop - first)
    whole = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=int(along == "rows"))
    whole = whole if along == "rows" else whole.T
    full = *full, _empty_lines(whole)
    strip, lines = whole[inside], lines if along == "rows" else lines.T
    lines, strip, levels, own = _finite(lines, strip, overscan.levels[inside], overscan.own[inside])
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


def _finite(first, *others):
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
    rows, warnings_found = {}, []
    compared = strip_light.compare_strips(samples, amplifiers)
    of_name = {amplifier.name: amplifier for amplifier in amplifiers}
    for name, sample in samples.items():
        noise, warnings = warnings_of(sample, recipe, name if len(amplifiers) > 1 else "")
        warnings_found += warnings
        if noise is not None:
            is_dark = name in compared and strip_light.is_dark(compared[name], of_name[name])
            rows[name] = replace(noise, is_strip_dark=is_dark)
    warnings_found += strip_light.light_warnings(compared, amplifiers)
    return rows, warnings_found + seam_warnings(samples, amplifiers)


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
    of_rows, count = _from_row_to_row(means, means - levels, means - own)
    (pixel,), _ = _from_row_to_row(sample.lines[:_ROWS_OF_A_PIXEL].astype(np.float32), least=1.0)
    made = RowNoise(*of_rows, pixel, count)
    return made if np.isfinite([*of_rows, pixel]).all() else None


def _from_row_to_row(*values, least=0.0):
    """Return the noise of each of several series from differences of neighbours, and their number.

    A difference counts in all series or in none: those beyond 5 sigma in one are left out.
    """
    steps = [np.diff(array, axis=0) for array in values]
    kept = np.logical_and.reduce([_inside(step, least) for step in steps])
    noises = [_root_mean_square(step, kept) / np.sqrt(2) for step in steps]
    return noises, int(np.count_nonzero(kept))


def _inside(values, least=0.0):
    finite = np.isfinite(values)
    if not finite.any():
        return finite
    off = np.abs(values - median(values[finite]))
    spread = MAD_TO_SIGMA_SHORT * float(median(off[finite]))
    return finite & (off <= 5 * max(spread, least)) if spread or least else finite


def _root_mean_square(values, kept):
    if not kept.any():
        return float("nan")
    chosen = values[kept]
    off = np.abs(chosen - median(chosen)).astype(np.float64)
    return float(np.sqrt(np.mean(np.square(off))))


def warnings_of(sample, recipe, name=""):
    """Return warnings on an overscan that was subtracted.

    Parameters
    ----------
    sample : Sample
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    name : str
        The amplifier's name if there are several; otherwise ''.

    Returns
    -------
    rows : RowNoise or None
    warnings : list of (str, str)
        Kind and text of each warning.
    """
    rows = row_noise(sample)
    where = f"amplifier {name}: " if name else ""
    # Noise and structure of saturated pixels tell nothing else.
    warnings = [*_of_saturation(sample, recipe), *_of_empty_rows(sample)] or [
        *_of_rows(rows, sample, recipe),
        *_of_noise(rows, sample),
        *_of_strip(sample, recipe),
    ]
    return rows, [(kind, where + text) for kind, text in warnings]


def _of_saturation(sample, recipe):
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
        if left < _LEAST_LEFT:
            advice = f"{_TOO_FEW[left]}: take a wider strip at `overscan:`, or {_NONE}"
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


def _of_empty_rows(sample):
    """Yield the warning on rows that were not read out: those of a dead amplifier are all empty."""
    first, count = sample.empty
    if 0 < count < sample.rows and not sample.full_rows:
        yield (
            EMPTY,
            f"{count} of the {sample.rows} rows of the overscan have one value throughout, and no"
            f" noise, from row {first + 1} on: the readout broke off, or the file was filled up;"
            " allowed: rows that were read out; look at the raw frame, and leave it out",
        )


def _of_rows(rows, sample, recipe):
    """Yield the warning on rows whose own level raises their noise."""
    if rows is None or rows.pixel < _DEAD_NOISE:
        # Saturated or dead pixels have no noise to compare with; another warning reports them.
        return
    most = rows.limit(ADDED * rows.pixel**2)
    if recipe.model is None and rows.after**2 - rows.before**2 > most:
        yield (
            GREW,
            f"subtracting a level for each row raised the noise that a row shares from"
            f" {rows.before:.2g} to {rows.after:.2g} adu (a pixel's is {rows.pixel:.2g}): the"
            f" strip's {sample.strip.shape[1]} columns are too few or too noisy for that;"
            " `reduction: {model: polynomial}` in the camera's profile smooths the level",
        )
    elif recipe.model is not None and rows.after**2 - rows.by_row**2 > most:
        yield (
            DRIFT,
            f"rows drift together with their overscan: a level for each row would leave"
            f" {rows.by_row:.2g} adu of the noise that a row shares, the smoothed one leaves"
            f" {rows.after:.2g}; `reduction: {{model: null}}` in the camera's profile takes a"
            " level for each row",
        )


def _of_noise(rows, sample):
    """Yield the warning on an overscan that is noisier than the image."""
    if rows is None or rows.pixel < 0.5:
        # An image without noise is dead or saturated; another warning reports that.
        return
    if sample.noise > NOISIER * rows.pixel:
        yield (
            NOISE,
            f"the overscan has a noise of {sample.noise:.4g} adu, the image one of"
            f" {rows.pixel:.3g}: it is not what the level of the image is; give another strip, or"
            " `overscan: none`, in the camera's profile",
        )


def _of_strip(sample, recipe):
    """Yield the warnings on columns of the overscan that disagree."""
    strip = sample.strip[:: max(1, len(sample.strip) // _ROWS_OF_A_PIXEL)].astype(np.float64)
    count, width = strip.shape
    if count < _FEWEST_LINES or width < 3 or not np.isfinite(sample.noise):
        return
    columns = _clipped_means(strip)
    # If a strip has structure, the noise about the levels is that of the structure.
    noise = max(min(sample.noise, _from_row_to_row(strip, least=1.0)[0][0]), 0.3)
    off = columns - median(columns)
    limit = max(_AGREE_SIGMA * noise, 5 * noise / np.sqrt(count))
    odd = np.abs(off) > limit
    if not odd.any():
        return
    statistic = np.mean if recipe.statistic == "mean" else np.median
    moved = 0.0
    if not odd.all():
        moved = float(np.mean(statistic(strip, axis=1) - statistic(strip[:, ~odd], axis=1)))
    is_moved = abs(moved) > max(_LEVEL_SHIFT_SIGMA * noise, _LEVEL_SHIFT_ADU)
    if is_moved or odd.mean() > _STRUCTURED_PART:
        most = float(off[np.argmax(np.abs(off))])
        by = f", and move the level by {moved:.2g} adu" if is_moved else ""
        left = int(width - odd.sum())
        if left < _LEAST_LEFT:
            advice = f"{_TOO_FEW[left]}: take a wider strip at `overscan:`, or {_NONE}"
        elif left < width / 2:
            advice = (
                f"the {left} left may be no overscan either: look at `overscan:`, or give {_NONE}"
            )
        else:
            advice = "leave them out of `overscan:` in the camera's profile"
        yield (
            LIGHT,
            f"the overscan holds light or structure: {odd.sum()} of its {width} columns are off by"
            f" up to {abs(most):.4g} adu, where its noise is {noise:.2g}{by}; {advice}",
        )


def _clipped_means(strip):
    middle = np.median(strip, axis=0)
    off = np.abs(strip - middle)
    spread = MAD_TO_SIGMA_SHORT * np.median(off, axis=0)
    return np.mean(strip, axis=0, where=off <= 5 * np.maximum(spread, 1.0))


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
    warnings_found = []
    for pair in combinations([a for a in amplifiers if a.name in samples], 2):
        left, right = sorted(pair, key=lambda a: a.data.x0)
        if left.along != "rows" or left.hdu != right.hdu or left.data.x1 != right.data.x0:
            continue
        if (left.data.y0, left.data.y1) != (right.data.y0, right.data.y1):
            continue
        seam = _step(samples[left.name], samples[right.name], left.data, right.data)
        if seam is not None:
            at, step = seam
            warnings_found.append(
                (
                    SEAM,
                    f"amplifiers {left.name} and {right.name} are split at column"
                    f" {right.data.x0 + 1}, and the image steps by {abs(step):.2g} adu, as their"
                    f" levels do, at column {at + 1}: the columns between have the level of the"
                    " wrong amplifier; give `amplifiers:` with their `data` in the camera's"
                    " profile",
                )
            )
    return warnings_found


def _step(left, right, left_data, right_data):
    """Return (column, step) of a seam that is not at the split, or None."""
    step = float(median(right.own) - median(left.own))
    profile, columns = [], []
    for sample, data in ((left, left_data), (right, right_data)):
        levels = np.asarray(sample.levels, dtype=np.float64)[:_ROWS_OF_A_PIXEL, np.newaxis]
        profile.append(_clipped_means(sample.lines[:_ROWS_OF_A_PIXEL] - levels))
        stride = max(1, (data.x1 - data.x0) // MOST_COLUMNS)
        columns.append(np.arange(data.x0, data.x1, stride))
    split, values = len(profile[0]), np.concatenate(profile)
    columns = np.concatenate(columns)
    error = max(_from_row_to_row(values)[0][0], 1e-3)
    span = 8
    if abs(step) < 5 * error or len(values) < 4 * span:
        return None
    sizes = np.array(
        [
            np.median(values[x : x + span]) - np.median(values[x - span : x])
            for x in range(span, len(values) - span)
        ]
    )
    # Columns with the other amplifier's level are off by minus or plus the step.
    at_split = sizes[split - span] if span <= split < len(values) - span else 0.0
    if abs(at_split + step) > _SAME_STEP_PART * abs(step):
        return None
    places = np.arange(span, len(values) - span)
    far = np.abs(places - split) >= span
    if not far.any():
        return None
    best = int(np.argmin(np.where(far, np.abs(sizes - step), np.inf)))
    if abs(sizes[best] - step) > _SAME_STEP_PART * abs(step):
        return None
    near = range(max(span, places[best] - span // 2), places[best] + span // 2 + 1)
    steepest = max(near, key=lambda x: np.sign(step) * (values[x] - values[x - 1]))
    return int(columns[steepest]), step
