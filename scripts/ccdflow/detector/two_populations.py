"""The frames of a group split into two populations, by the figures of their pixels."""

from __future__ import annotations

import numpy as np

from ccdflow.detector.member_selection import Thresholds, group_noise

# A population has at least this many frames: one odd frame is an outlier.
_FEWEST_OF_A_POPULATION = 2


def split_populations(statistics, thresholds=None):
    """Return the two populations of a group's frames; None if all frames are of one.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.frame_figures.FrameStatistics
        One for each frame of a group, of one amplifier.
    thresholds : ccdflow.detector.member_selection.Thresholds, optional
        The defaults if not given.

    Returns
    -------
    (tuple of int, tuple of int) or None
        Indices of the frames of each population, that of the first frame first. Frames are split at
        the widest gap along the first principal component of their figures that leaves
        `_FEWEST_OF_A_POPULATION` frames on each side. None for fewer frames, or if this gap is no
        wider than the spread on one of its sides, or than one floor.
    """
    if len(statistics) < 2 * _FEWEST_OF_A_POPULATION:
        return None
    values = _figures_by_floor(statistics, thresholds or Thresholds())
    values = values[:, np.isfinite(values).all(axis=0)]
    if not values.size:
        return None
    values = values - values.mean(axis=0)
    projections = values @ np.linalg.svd(values, full_matrices=False)[2][0]
    order = np.argsort(projections, kind="stable")
    sorted_projections = projections[order]
    gaps = np.diff(sorted_projections)[
        _FEWEST_OF_A_POPULATION - 1 : len(sorted_projections) - _FEWEST_OF_A_POPULATION
    ]
    split_index = int(np.argmax(gaps)) + _FEWEST_OF_A_POPULATION
    spreads = np.ptp(sorted_projections[:split_index]), np.ptp(sorted_projections[split_index:])
    # Frames of one population may differ by one floor, the unit of the figures.
    if gaps.max() <= max(*spreads, 1.0):
        return None
    populations = [
        tuple(sorted(map(int, part))) for part in (order[:split_index], order[split_index:])
    ]
    return tuple(sorted(populations))


def _figures_by_floor(statistics, limits):
    """Return the figures of the frames in units of their floors, shape (frames, figures)."""
    noise = group_noise(statistics)
    columns = [
        np.array([frame.level for frame in statistics]) / (limits.level * noise),
        np.array([frame.bias_level for frame in statistics]) / (limits.bias_level * noise),
        np.array([frame.noise for frame in statistics]) / (limits.noise * noise),
        np.array([frame.bright_fraction for frame in statistics]) / limits.bright,
    ]
    shapes = np.array([frame.box_offsets for frame in statistics]) / (limits.structure * noise)
    # All boxes together count as one figure.
    return np.column_stack([*columns, shapes / max(shapes.shape[1], 1) ** 0.5])
