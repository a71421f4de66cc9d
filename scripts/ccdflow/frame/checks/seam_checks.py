"""The check whether two amplifiers meet at the column where the geometry splits them."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ccdflow.frame.line_noise import MOST_ROWS_FOR_NOISE, clipped_means, noise_of_neighbours
from ccdflow.frame.strip_samples import sampling_step
from ccdflow.robust import median

SEAM = "seam"
"""The name of the warning on a seam."""

# Columns on either side of a seam whose medians give the step: such a median has less than half of
# the error of one column.
_SEAM_COLUMNS = 8
# The search for a seam needs a profile of at least this many spans of `_SEAM_COLUMNS`, such as two
# in each of the two amplifiers.
_FEWEST_SEAM_SPANS = 4
# A seam is looked for if the levels differ by at least this many errors of a column. With a smaller
# number steps by chance would be found; with a larger one small steps would not.
_STEP_ERRORS = 5
# Adu. The error of a column counts as at least this: columns of a simulated frame may not scatter.
_LEAST_ERROR = 1e-3
# A step of the image is the step of the levels if the two differ by at most this fraction. With a
# smaller fraction steps beside a gradient of the light are missed; with a larger one a step of the
# light is taken for a seam.
_STEP_TOLERANCE = 0.3


def seam_warnings(samples, amplifiers):
    """Return warnings on two amplifiers that meet elsewhere than at the split between them.

    The level of the wrong amplifier is then subtracted from the columns between the true seam and
    the split. At both ends of these columns the image steps by the difference of the levels, up at
    one end and down at the other.

    Parameters
    ----------
    samples : dict of str to ccdflow.frame.strip_samples.Sample
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
        # Saturated amplifiers have no seam to find: their pixels have one raw value, so that
        # reduced ones step by the levels at any edge.
        if samples[left.name].is_full or samples[right.name].is_full:
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
    left, right : ccdflow.frame.strip_samples.Sample
        Samples of the two amplifiers.
    left_data, right_data : ccdflow.camera.sections.Region
        Science pixels of the two; the split is between them.

    Returns
    -------
    (int, float) or None
        The column, counted from 0, is the first one of the amplifier on the right.
    """
    step = float(median(right.own_levels) - median(left.own_levels))
    (values, columns), split = _profile_across(left, right, left_data, right_data)
    (error,), _ = noise_of_neighbours(values)
    span = _SEAM_COLUMNS
    is_small = abs(step) < _STEP_ERRORS * max(error, _LEAST_ERROR)
    if is_small or len(values) < _FEWEST_SEAM_SPANS * span:
        return None
    positions = np.arange(span, len(values) - span)
    # The medians of all windows are computed together: one by one they would take much longer.
    medians = np.median(np.lib.stride_tricks.sliding_window_view(values, span), axis=1)
    steps = medians[positions] - medians[positions - span]
    # A column with the level of the other amplifier is off by the step of the levels, up or down.
    step_at_split = steps[split - span] if span <= split < len(values) - span else 0.0
    if abs(step_at_split + step) > _STEP_TOLERANCE * abs(step):
        return None
    # Some column is far from the split, because there are at least two spans of positions.
    is_far = np.abs(positions - split) >= span
    best_index = int(np.argmin(np.where(is_far, np.abs(steps - step), np.inf)))
    if abs(steps[best_index] - step) > _STEP_TOLERANCE * abs(step):
        return None
    nearby = range(
        max(span, positions[best_index] - span // 2), positions[best_index] + span // 2 + 1
    )
    steepest = max(nearby, key=lambda x: np.sign(step) * (values[x] - values[x - 1]))
    return int(columns[steepest]), step


def _profile_across(left, right, left_data, right_data):
    """Return the profile across a split, and the index of the split in it.

    Parameters
    ----------
    left, right : ccdflow.frame.strip_samples.Sample
        Samples of the two amplifiers.
    left_data, right_data : ccdflow.camera.sections.Region
        Science pixels of the two.

    Returns
    -------
    profile : (numpy.ndarray, numpy.ndarray) of shape (n,), float64 and int
        Means of the sampled columns without their levels, adu, and the columns.
    split : int
    """
    means, columns = [], []
    for sample, data in ((left, left_data), (right, right_data)):
        levels = np.asarray(sample.levels, dtype=np.float64)[:MOST_ROWS_FOR_NOISE, np.newaxis]
        means.append(clipped_means(sample.lines[:MOST_ROWS_FOR_NOISE] - levels))
        columns.append(np.arange(data.x0, data.x1, sampling_step(data.x1 - data.x0)))
    return (np.concatenate(means), np.concatenate(columns)), len(means[0])
