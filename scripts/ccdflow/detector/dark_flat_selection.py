"""The choice of a group's darks and flats to combine, with reasons for those left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.detector.frame_figures import COARSE_BOXES, FINE_BOXES, LIT_FRACTION
from ccdflow.detector.member_selection import (
    TOO_FAINT,
    Figure,
    LeftOut,
    Selection,
    Thresholds,
    check_has_frames,
    figures_of,
    selection_of,
    sentences_on_shapes,
)
from ccdflow.robust import MAD_TO_SIGMA, MEDIAN_OVER_MEAN_SHORT

# The lowest of 1,000 boxes is at most about this many sigma below their mean.
_LOWEST_BOX_DEPTH = 4


@dataclass(frozen=True)
class DarkThresholds(Thresholds):
    """Limits for darks, in addition to those for biases.

    Attributes
    ----------
    dark_level : float
        Floor of the level as a fraction of the group's level, for a detector that is slightly
        warmer. The floor in units of the noise is added in quadrature. The default is the change
        with a quarter of a degree of a dark current that doubles with 6 degrees.
    temperature : float
        A dark farther than this many degrees from the group's median temperature is left out. The
        default is that of `temperature_tolerance`: 6 % of a dark current that doubles with 6
        degrees.
    saturated : float
        A dark with more than this fraction of pixels that are saturated, or have no value for
        another reason, is left out. The default is chosen: hot pixels saturate far fewer pixels,
        and light many more.
    """

    dark_level: float = 0.03
    temperature: float = 0.5
    saturated: float = 0.01


def select_darks(statistics, *, temperatures=None, lost_pixels=(), thresholds=None):
    """Choose the darks of a group to combine.

    A light leak changes the level and coarse structure. Another detector or mode changes the noise
    and structure.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.frame_figures.FrameStatistics
        One for each dark of the group.
    temperatures : sequence of float, optional
        Detector temperatures, degrees Celsius. An unknown one is NaN: the dark is not judged by it.
    lost_pixels : sequence of ccdflow.detector.lost_pixels.LostPixels, optional
        The pixels of each dark that have no value.
    thresholds : DarkThresholds, optional
        The defaults if not given.

    Returns
    -------
    Selection

    Raises
    ------
    UserError
        If there is no frame.
    """
    check_has_frames(statistics)
    limits = thresholds or DarkThresholds()
    outliers = _outliers_by_lost_pixels(lost_pixels, limits.saturated)
    outliers += _outliers_by_temperature(temperatures, limits.temperature)
    return _select_within_limits(
        outliers,
        statistics,
        lambda statistics_within: selection_of(
            _dark_figures(statistics_within, limits),
            len(statistics_within),
            limits,
            lambda: sentences_on_shapes(statistics_within, limits),
        ),
    )


def _dark_figures(statistics, limits):
    """Yield the figures of darks: those of biases, with a wider floor of the level."""
    for figure in figures_of(statistics, limits):
        if figure.name == "level":
            centre = abs(figure.centre_scatter_and_reach(limits.sigma)[0])
            level_floor = limits.dark_level * (centre if np.isfinite(centre) else 0.0)
            group_floor = float(np.hypot(figure.group_floor, level_floor))
            yield replace(
                figure, floor=float(np.hypot(figure.floor, level_floor)), group_floor=group_floor
            )
        else:
            yield figure


def _outliers_by_lost_pixels(lost_pixels, limit):
    """Return the `LeftOut` of frames in which too many pixels have no value."""
    left_out = []
    for index, lost in enumerate(lost_pixels):
        if lost.fraction > limit:
            text = f"its {lost.figure} is {lost.fraction:.6g}, above the limit of {limit:.6g}"
            left_out.append(LeftOut(index, lost.figure, float(lost.fraction), float(limit), text))
    return left_out


def _outliers_by_signal_to_noise(values, limit):
    """Return the `LeftOut` of frames with a signal to noise below a limit, or without one."""
    left_out = []
    for index, value in enumerate(values):
        if not value >= limit:
            text = f"its {TOO_FAINT} is {value:.6g}, below the limit of {limit:.6g}"
            left_out.append(LeftOut(index, TOO_FAINT, float(value), float(limit), text))
    return left_out


def _outliers_by_temperature(temperatures, tolerance):
    """Return the `LeftOut` of frames whose temperature is not that of the group."""
    values = np.array([] if temperatures is None else temperatures, dtype=np.float64)
    finite_values = values[np.isfinite(values)]
    if not len(finite_values):
        return []
    centre, left_out = float(np.median(finite_values)), []
    for index in np.flatnonzero(np.abs(values - centre) > tolerance):
        value = float(values[index])
        limit = centre + np.copysign(tolerance, value - centre)
        text = (
            f"its temperature is {value:.6g} C, further than {tolerance:.6g} C from that of the"
            f" group, {centre:.6g} C"
        )
        left_out.append(LeftOut(int(index), "temperature", value, float(limit), text))
    return left_out


def _select_within_limits(beyond_limits, statistics, select):
    """Return the `Selection` among the frames that are within fixed limits.

    Parameters
    ----------
    beyond_limits : list of LeftOut
        Frames beyond a fixed limit; of several entries for a frame the first counts.
    statistics : sequence of ccdflow.detector.frame_figures.FrameStatistics
        Figures of all frames; for flats `ccdflow.detector.flat_figures.MemberFlatFigures`.
    select : callable
        Takes the figures of the frames within the limits, and returns their `Selection`.
    """
    left_out = {}
    for frame in beyond_limits:
        left_out.setdefault(frame.index, frame)
    indices_within = [index for index in range(len(statistics)) if index not in left_out]
    if not indices_within:
        reason = f"no frame is left (the first: {left_out[min(left_out)].text})"
        left_out_in_order = tuple(left_out[index] for index in sorted(left_out))
        return Selection((), left_out_in_order, agrees=False, reason=reason)
    selection = select([statistics[index] for index in indices_within])
    for frame in selection.left_out:
        index = indices_within[frame.index]
        left_out[index] = replace(frame, index=index)
    return replace(
        selection,
        kept=tuple(indices_within[index] for index in selection.kept),
        left_out=tuple(left_out[index] for index in sorted(left_out)),
    )


@dataclass(frozen=True)
class FlatThresholds:
    """Limits for flats: for exposure, likeness to the group, and agreement of the group.

    Attributes
    ----------
    sigma, disagree, left_out : float
        As of `Thresholds`, with the same defaults. A flat that is too faint or saturated does not
        count as unlike its group.
    signal_to_noise : float
        A flat with a lower signal to noise in a pixel is too faint. The default, that of 900
        electrons without read noise, is chosen: ten such flats add a noise of 1 % of the light to a
        frame.
    saturated : float
        A flat with more than this fraction of pixels that are saturated, or have no value for
        another reason, is left out. The default is chosen: more than the stars of a twilight and
        the bad columns of a sound flat lose.
    shape, spot : float
        Floors of the scatter of coarse shapes (rms over coarse boxes) and of the depth of the
        deepest spot (of fine boxes), as fractions of the level. The defaults are the differences of
        skies and lamps: flats of one lamp and slit of Kast, ISIS and EFOSC2 by 0.05 to 0.4 %
        (docs/calibration.md).
    """

    sigma: float = 5.0
    disagree: float = 3.0
    left_out: float = 0.25
    signal_to_noise: float = 30.0
    saturated: float = 0.05
    shape: float = 0.002
    spot: float = 0.003


def select_flats(statistics, thresholds=None):
    """Choose the flats of a group to combine.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.flat_figures.MemberFlatFigures
        One for each flat of the group.
    thresholds : FlatThresholds, optional
        The defaults if not given.

    Returns
    -------
    Selection

    Raises
    ------
    UserError
        If there is no frame.
    """
    check_has_frames(statistics)
    limits = thresholds or FlatThresholds()
    outliers = _outliers_by_lost_pixels([flat.lost for flat in statistics], limits.saturated)
    outliers += _outliers_by_signal_to_noise(
        [flat.signal_to_noise for flat in statistics], limits.signal_to_noise
    )
    return _select_within_limits(
        outliers,
        statistics,
        lambda statistics_within: selection_of(
            _flat_figures(statistics_within, limits),
            len(statistics_within),
            limits,
            lambda: _sentences_on_flat_shapes(statistics_within, limits),
        ),
    )


# The meaning of the figures of flats, as a part of a sentence.
_SHAPE_MEANING = f"rms difference from the other flats in {COARSE_BOXES} x {COARSE_BOXES} boxes"
_SPOT_MEANING = (
    f"by how much the darkest of {FINE_BOXES} x {FINE_BOXES} boxes is below that of the other flats"
)


def _flat_figures(statistics, limits):
    """Yield the figures of flats: distance of the shape from the group's, and deepest spot."""
    if len(statistics) < 3:
        return
    deviations = _relative_deviations([flat.box_medians for flat in statistics])
    if deviations is not None:
        rms = np.sqrt(np.mean(np.square(deviations), axis=1))
        floor = float(np.hypot(limits.shape, _noise_of_box(statistics, COARSE_BOXES)))
        yield Figure("shape", rms, floor, "", is_one_sided=True, meaning=_SHAPE_MEANING)
    deviations = _relative_deviations([flat.fine_box_medians for flat in statistics])
    if deviations is not None:
        # A bright box is a star of the twilight, which clipping leaves out: only dark boxes count.
        depths = -deviations.min(axis=1)
        lowest_by_chance = _LOWEST_BOX_DEPTH * _noise_of_box(statistics, FINE_BOXES)
        floor = float(np.hypot(limits.spot, lowest_by_chance / limits.sigma))
        yield Figure("deepest spot", depths, floor, "", is_one_sided=True, meaning=_SPOT_MEANING)


def _noise_of_box(statistics, boxes):
    """Return the relative noise of the median of a box, in the noisiest flat."""
    relative_noise = max(flat.relative_noise for flat in statistics)
    n_pixels = max(min(flat.n_pixels for flat in statistics), 1)
    return MEDIAN_OVER_MEAN_SHORT * (relative_noise / n_pixels**0.5) * boxes


def _relative_deviations(values):
    """Return each flat over the group's median, minus 1: (n, boxes); None without a lit box.

    Each flat is divided by its own median ratio. It is not divided by the median of its pixels,
    which may be anywhere between the two levels of amplifiers of unlike gains.
    """
    values = np.array(values, dtype=np.float64)
    is_finite = np.isfinite(values).all(axis=0)
    if not is_finite.any():
        return None
    middle = np.median(values[:, is_finite], axis=0)
    is_lit = middle > LIT_FRACTION
    if not is_lit.any():
        return None
    ratio = values[:, is_finite][:, is_lit] / middle[is_lit]
    return ratio / np.median(ratio, axis=1, keepdims=True) - 1


def _sentences_on_flat_shapes(statistics, limits):
    """Return a list: a sentence on flats of two shapes, equally far from the median, or nothing."""
    deviations = _relative_deviations([flat.box_medians for flat in statistics])
    if len(statistics) < 3 or deviations is None:
        return []
    scatter = MAD_TO_SIGMA * np.median(np.abs(deviations), axis=0)
    limit = limits.disagree * float(np.hypot(limits.shape, _noise_of_box(statistics, COARSE_BOXES)))
    mean_scatter = float(np.sqrt(np.mean(np.square(scatter))))
    if mean_scatter <= limit:
        return []
    return [
        f"the flats have no common shape: it scatters by {100 * mean_scatter:.3g} %, allowed"
        f" {100 * limit:.3g} %: light or filters differ"
    ]
