"""The columns of a frame that light reaches, and those that hold the level alone.

Overscan columns show only the level and the read noise, so the noise of a column shows whether
light fell on it. The noise is measured by the 90th percentile of the differences of neighbouring
rows: a column counts as lit if a fifth of its rows are lit. A run of dark columns is overscan if
the light ends at it abruptly; at a detector's unlit border light fades. Within the run neighbouring
columns whose means agree form a group. Columns with leaked light, and a first or last column that
differs, are in no group and are left out. Rows are treated in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA_SHORT, MEDIAN_OVER_MEAN_SHORT

MOST_NOISE_RATIO = 1.3
"""The read noise of amplifiers that share a row differs by at most this factor. With a larger
factor faintly lit columns count as a strip; with a smaller one the strip of the noisier amplifier
does not. Chosen, not measured."""

AGREEMENT_SIGMA = 5.0
"""Means that differ by at most this many standard errors agree: by chance one in 1.7 million
differs by more. With a larger number a strip takes in columns with leaked light; with a smaller one
chance divides it."""

AGREEMENT_NOISE_FRACTION = 0.35
"""Means that differ by at most this fraction of the read noise agree as well: such a difference
in a few columns of a strip does not move their median."""

FEWEST_STRIP_COLUMNS = 3
"""A strip has at least this many columns. With fewer, one unlit column beside the data is a strip;
with more, narrow overscans are not found. Chosen, not measured."""

LEAST_LIGHT_IN_NOISES = 2.0
"""Light next to a strip is above this many times the read noise: fainter light may be fading."""

MOST_GROUPS = 4
"""A dark range has at most this many groups of agreeing columns: the strip of an amplifier is one
group, an unlit border falls into many."""

LEAST_NOISE = 0.3
"""Adu: the read noise is at least this, because rounding to whole numbers gives 1 / sqrt(12)."""

LEAST_ERROR = 1e-3
"""Adu: the error of a mean is at least this, so that equal columns of a frame without noise agree.
"""

LEAST_EDGE_FRACTION = 0.5
"""At the edge of an overscan there is at least this fraction of the light `_COLUMNS_INSIDE` columns
further in."""

# A column is dark if its noise is at most this factor times the read noise, plus four errors of the
# noise. Chosen: with a larger factor faintly lit columns are dark; with a smaller one noisy columns
# of an overscan are lit.
_DARK_NOISE_FACTOR = 1.2
# Columns from the edge of an overscan to the column around which the light inside is measured.
_COLUMNS_INSIDE = 20
# A pixel farther than this many robust sigma from the median of its column is not in its mean: one
# in 1.7 million is by chance. With a larger limit hits move the mean; with a smaller one the noise
# itself is cut.
_CLIP_SIGMA = 5
# Columns side by side that give the read noise: one alone may be quiet by chance, or dead.
_NEIGHBOURING_COLUMNS = 5
# An overscan begins within the first fraction of the columns from an edge, or has its middle within
# the second fraction of the columns from the chip's middle.
_EDGE_FRACTION, _MIDDLE_FRACTION = 1 / 50, 0.1
# In small frames an overscan may begin within this many columns from an edge.
_LEAST_MARGIN = 8


@dataclass(frozen=True)
class Strip:
    """Columns (or rows) side by side that light does not reach.

    Attributes
    ----------
    start, stop : int
        The columns to use as overscan, from 0, `stop` excluded.
    level : float
        Their mean, adu.
    left_out : tuple of (int, float)
        Columns of the run that were left out, each with its mean minus `level`, adu.
    """

    start: int
    stop: int
    level: float
    left_out: tuple[tuple[int, float], ...] = ()

    @property
    def width(self):
        """Number of its columns (or rows)."""
        return self.stop - self.start


@dataclass(frozen=True)
class AxisLevels:
    """Levels and noise along one axis of an image.

    Attributes
    ----------
    name : str
        'columns' or 'rows'.
    levels, noises : numpy.ndarray of shape (columns,), float64, and float32 or float64
        Clipped mean and noise of each column (row), adu.
    read_noise : float
        Read noise of the darkest columns, adu.
    lit_ranges : tuple of (int, int)
        Ranges that light reaches, each (start, stop).
    strips : tuple of Strip
    has_fading_light : bool
        Whether dark columns were seen at which the light fades instead of ending.
    """

    name: str
    levels: np.ndarray
    noises: np.ndarray
    read_noise: float
    lit_ranges: tuple[tuple[int, int], ...]
    strips: tuple[Strip, ...]
    has_fading_light: bool = False

    def ends_of(self, region):
        """Return where a region begins and stops along this axis.

        Parameters
        ----------
        region : ccdflow.camera.sections.Region

        Returns
        -------
        (int, int)
            First index, and the one after the last.
        """
        return (region.x0, region.x1) if self.name == "columns" else (region.y0, region.y1)


def measure_axis(image, name, *, read_noise=None, level_error=0.0):
    """Separate lit from dark columns of an image, and find the overscan among the dark ones.

    Parameters
    ----------
    image : numpy.ndarray of shape (rows, columns), float32 or float64
        Adu.
    name : str
        'columns', or 'rows' for a transposed image.
    read_noise : float, optional
        Adu; without it that of the quietest columns.
    level_error : float, optional
        Offsets of whole columns that an earlier subtraction has left, rms, adu.

    Returns
    -------
    AxisLevels
    """
    noises, levels = column_noises(image), column_means(image)
    if read_noise is None:
        read_noise = quietest_noise(noises)
    # The relative error of a column's noise is about 1 / sqrt(rows). The limit allows four such
    # errors, because the noise of the quietest of many columns is too low by one or two errors.
    most_dark_noise = read_noise * (_DARK_NOISE_FACTOR + 4 / np.sqrt(image.shape[0]))
    runs = _runs_of_true(noises <= most_dark_noise)
    error = max(np.hypot(read_noise / np.sqrt(image.shape[0]), level_error), LEAST_ERROR)
    strips, dark_ranges, has_fading_light = [], [], False
    for start, stop in runs:
        if stop - start < FEWEST_STRIP_COLUMNS or stop - start == len(levels):
            continue
        groups = [
            group
            for group in agreeing_ranges(levels, start, stop, tolerance_of_means(read_noise, error))
            if np.median(noises[slice(*group)]) <= MOST_NOISE_RATIO * read_noise
        ]
        edges = _dark_range(
            levels,
            start,
            stop,
            groups,
            max(AGREEMENT_SIGMA * error, LEAST_LIGHT_IN_NOISES * read_noise),
        )
        if edges is None or not _is_placed(edges, len(levels)):
            has_fading_light |= start == 0 or stop == len(levels)
            continue
        dark_ranges.append(edges)
        strips += [strip_of(levels, group, edges, groups) for group in groups]
    lit_ranges = remaining_ranges(dark_ranges, len(levels)) or [(0, len(levels))]
    return AxisLevels(
        name, levels, noises, float(read_noise), tuple(lit_ranges), tuple(strips), has_fading_light
    )


def subtract_drift(image, strip, read_noise):
    """Return the image minus the drift of rows that a strip shows, and the error of the result.

    Parameters
    ----------
    image : numpy.ndarray of shape (rows, columns), float32
        Adu.
    strip : (int, int)
        Its columns.
    read_noise : float
        Adu.

    Returns
    -------
    image : numpy.ndarray of shape (rows, columns), float32 or float64
        The image itself where the drift is less than twice its error.
    error : float
        Offsets of whole rows, rms, adu.
    """
    levels = np.median(image[:, slice(*strip)], axis=1)
    error = MEDIAN_OVER_MEAN_SHORT * read_noise / np.sqrt(strip[1] - strip[0])
    if np.std(levels) < 2 * error:
        return image, 0.0
    return image - (levels - np.median(levels))[:, np.newaxis], error


def fill_with_medians(image):
    """Return (ny, nx) float32, in which the column's median replaces a pixel that is not finite."""
    image = np.array(image, dtype=np.float32)
    is_missing = ~np.isfinite(image)
    if is_missing.any():
        image[is_missing] = np.nan
        image[:, is_missing.all(axis=0)] = 0 if is_missing.all() else np.nanmedian(image)
        image = np.where(np.isnan(image), np.nanmedian(image, axis=0), image)
    return image


def column_noises(image):
    """Return the noise of each column, (columns,), from differences of neighbouring rows, adu."""
    steps = np.abs(np.diff(image, axis=0))
    # The 90th percentile of the modulus of a normal deviate is 1.645 sigma.
    return np.percentile(steps, 90, axis=0) / 1.645 / np.sqrt(2)


def column_means(image):
    """Return the clipped mean of each column, (columns,), adu."""
    medians = np.median(image, axis=0)
    deviations = np.abs(image - medians)
    # At least 1 adu: most of a column's whole numbers may be equal.
    spread = MAD_TO_SIGMA_SHORT * np.median(deviations, axis=0)
    return np.mean(
        image, axis=0, where=deviations <= _CLIP_SIGMA * np.maximum(spread, 1.0), dtype=np.float64
    )


def quietest_noise(noises):
    """Return the noise, adu, of the quietest columns side by side: a single column may be dead."""
    windows = np.lib.stride_tricks.sliding_window_view(
        noises, min(_NEIGHBOURING_COLUMNS, len(noises))
    )
    return max(float(np.median(windows, axis=1).min()), LEAST_NOISE)


def tolerance_of_means(read_noise, error):
    """Return the largest difference between means of columns that belong together, adu.

    Parameters
    ----------
    read_noise : float
        Adu.
    error : float
        Standard error of the mean of a column, adu.

    Returns
    -------
    float
    """
    return max(AGREEMENT_SIGMA * error, AGREEMENT_NOISE_FRACTION * read_noise)


def _runs_of_true(flags):
    """Return the ranges [(start, stop)] of true flags."""
    padded = np.concatenate([[False], flags, [False]]).astype(np.int8)
    changes = np.flatnonzero(np.diff(padded))
    return [(int(a), int(b)) for a, b in zip(changes[::2], changes[1::2], strict=True)]


def agreeing_ranges(levels, start, stop, tolerated_step):
    """Return ranges of neighbouring columns whose means agree, of `FEWEST_STRIP_COLUMNS` or more.

    Parameters
    ----------
    levels : numpy.ndarray of shape (columns,), float64
        Mean of each column, adu.
    start, stop : int
        The range of columns that is examined.
    tolerated_step : float
        Adu, see `tolerance_of_means`.

    Returns
    -------
    list of (int, int)
        First column, and the one after the last.
    """
    groups, first = [], start
    for x in range(start + 1, stop + 1):
        if x == stop or abs(levels[x] - np.median(levels[first:x])) > tolerated_step:
            if x - first >= FEWEST_STRIP_COLUMNS:
                groups.append((first, x))
            first = x
    return groups


def _is_placed(edges, length):
    """Return whether a dark range lies where overscan can: at an edge, or amid the chip."""
    start, stop = edges
    margin = max(_LEAST_MARGIN, int(length * _EDGE_FRACTION))
    is_in_middle = abs((start + stop) / 2 - length / 2) < _MIDDLE_FRACTION * length
    return start <= margin or stop >= length - margin or is_in_middle


def _dark_range(levels, start, stop, groups, least_light):
    """Return the range between the ends of the light on either side.

    None where the light fades or is too faint, or columns are too few; also with no group, or more
    than `MOST_GROUPS`. Light leaks into columns next to the data, which are noisy, so that the dark
    run begins beyond them. The data end where most of the light ends.

    Parameters
    ----------
    levels : numpy.ndarray of shape (n,), float64
        Adu: the mean of each column.
    start, stop : int
        The dark run, half-open.
    groups : list of (int, int)
        Its ranges of equal level.
    least_light : float
        Adu: a step below it is not an end of the light.
    """
    if not 1 <= len(groups) <= MOST_GROUPS:
        return None
    n_before = n_after = 0
    if start:
        n_before = _leaked_columns(levels[:start][::-1], levels[groups[0][0]], least_light)
    if stop < len(levels):
        n_after = _leaked_columns(levels[stop:], levels[groups[-1][0]], least_light)
    return None if n_before is None or n_after is None else (start - n_before, stop + n_after)


def _leaked_columns(outward, level, least_light):
    """Return the number of columns with leaked light between a dark run and the data.

    None if the light fades, or is too faint. ``outward`` has the levels, adu, of the columns from
    the dark run on.
    """
    light = outward[: 3 * _COLUMNS_INSIDE] - level
    if len(light) < FEWEST_STRIP_COLUMNS:
        return None
    light_inside = (
        float(np.median(light[_COLUMNS_INSIDE // 2 : 2 * _COLUMNS_INSIDE]))
        if len(light) > _COLUMNS_INSIDE
        else 0.0
    )
    light_inside = max(light_inside, float(np.median(light)))
    if light_inside <= least_light:
        return None
    light_before = np.concatenate([[0.0], light[:-1]])
    # The data begin with the first column that has `LEAST_EDGE_FRACTION` of the light inside. At an
    # overscan most of its light sets in from one column to the next, elsewhere light fades.
    lit_places = np.flatnonzero(light >= LEAST_EDGE_FRACTION * light_inside)
    if not len(lit_places):
        return None
    count = int(lit_places[0])
    rise = light[count] - light_before[count]
    return count if rise >= LEAST_EDGE_FRACTION * light[count] else None


def strip_of(levels, group, edges, groups):
    """Return the strip of a group, with the columns of the dark range that no group took.

    Parameters
    ----------
    levels : numpy.ndarray of shape (columns,), float64
        Mean of each column, adu.
    group : (int, int)
        First column of the strip, and the one after the last.
    edges : (int, int)
        Ends of the dark range that the group lies in.
    groups : list of (int, int)
        All groups of the range.

    Returns
    -------
    Strip
    """
    level = float(np.mean(levels[slice(*group)]))
    grouped_columns = {x for range_of_group in groups for x in range(*range_of_group)}
    left_out = [
        x for x in range(*edges) if x not in grouped_columns and _nearest_group(x, groups) == group
    ]
    return Strip(*group, level, tuple((x, float(levels[x] - level)) for x in left_out))


def _nearest_group(x, groups):
    """Return the group (start, stop) of columns that is nearest to a column."""
    return min(groups, key=lambda group: max(group[0] - x, x - group[1] + 1))


def remaining_ranges(ranges, length):
    """Return the ranges between 0 and a length that are outside the given ranges.

    Parameters
    ----------
    ranges : list of (int, int)
        First index, and the one after the last; they do not overlap.
    length : int

    Returns
    -------
    list of (int, int)
    """
    ends = [0, *(end for pair in sorted(ranges) for end in pair), length]
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return [(start, stop) for start, stop in pairs if stop > start]


def widest_of(ranges):
    """Return the range (start, stop) with most columns."""
    return max(ranges, key=lambda pair: pair[1] - pair[0])
