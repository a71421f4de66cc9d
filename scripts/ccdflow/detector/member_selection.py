"""The choice of a group's members: frames to leave out, and whether the others agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.combine.noise import DIGITAL_NOISE
from ccdflow.detector.frame_figures import (
    COARSE_BOXES,
    COMPARED_ROWS,
    FRAME_ROWS,
    scatter_about_row_means,
)
from ccdflow.detector.threaded_map import threaded_map
from ccdflow.errors import UserError
from ccdflow.robust import MAD_TO_SIGMA, median_of_each_pixel

# The figure by which a frame with the pixels of an earlier frame is left out.
_COPY = "copy"

OTHER_EXPOSURE = "exposure"
"""The figure by which a frame of another exposure is left out."""

TOO_FAINT = "signal to noise in a pixel"
"""The figure by which a faint flat is left out."""

# The figure of coarse boxes, which `sentences_on_shapes` judges as well.
_COARSE_STRUCTURE = "coarse structure"

# Frames have no common shape if their boxes scatter by more than this many times the noise of a
# box. The scatter is a mean over 64 boxes: chance does not reach this limit.
_STRUCTURE_NOISE_SIGMA = 3
# A frame has at least this many rows: the number of its columns is estimated with them, because
# `FrameStatistics` has only its number of pixels. A frame of fewer rows may be left out by chance.
_FEWEST_ROWS = 16


@dataclass(frozen=True)
class Thresholds:
    """Limits beyond which a frame is left out, or a group disagrees.

    A figure is judged by its distance from the group's median, in units of the group's own scatter
    (1.4826 MAD). The scatter counts as at least the floor of the figure, because the MAD of a small
    group, or with a quiet camera, can be close to zero.

    Attributes
    ----------
    sigma : float
        A frame farther away than `sigma` times this scatter is left out. The default leaves out
        none of 650 sound simulated biases in groups of five: the farthest was 1.1 floors away.
    disagree : float
        The frames of a group disagree if the scatter of a figure exceeds this many of its floors.
        Levels are compared with the floor `level`, also after the overscan was subtracted. The
        default is chosen, below `sigma`: a scatter is a typical distance, and the farthest frames
        of a group are farther away.
    left_out : float
        The frames of a group also disagree if more than this fraction, and more than one frame, is
        left out. The default is chosen: where fewer than three quarters agree, the odd frames are
        not known.
    level, bias_level, structure, rows : float
        Floors in units of the noise of one frame. The bias level may drift before overscan
        subtraction, but not after it. The defaults are chosen for masters. Five floors of a level
        or structure are 1 and 0.25 of the noise. In one of n members they change the master by an
        n-th of this, well below its noise. A level that the overscan follows may drift by 25 times
        the noise. docs/calibration.md has the fraction of odd frames that is found.
    subtracted_level : float
        Floor of the level after overscan subtraction, in units of the noise. With the default,
        light is detected from half the noise on. The uncertainty of the overscan level is added.
    noise : float
        Floor of the noise as a fraction of the noise of one frame. The default is chosen: five
        floors are 15 %, and sound simulated frames of 64 x 512 pixels differ by 1.7 % at most.
    bright : float
        Floor of the fraction of bright pixels. The default is chosen: five floors, half a per cent
        of the pixels, are light or a saturated region, not cosmic rays.
    """

    sigma: float = 5.0
    disagree: float = 3.0
    left_out: float = 0.25
    level: float = 0.2
    subtracted_level: float = 0.1
    bias_level: float = 5.0
    structure: float = 0.05
    rows: float = 0.05
    noise: float = 0.03
    bright: float = 0.001


@dataclass(frozen=True)
class LeftOut:
    """A frame that is left out of its group, and the figure that decided.

    Attributes
    ----------
    index : int
        Index of the frame in its group.
    figure : str
        Name of the figure.
    value : float
        The figure of this frame.
    threshold : float
        The limit: the figure is above or below it.
    text : str
        The reason in words.
    measurement : str
        Value and limit, for a sentence on the frame in other words; '' if not known.
    """

    index: int
    figure: str
    value: float
    threshold: float
    text: str
    measurement: str = ""


@dataclass(frozen=True)
class Selection:
    """The frames of a group to combine, and whether they agree.

    Attributes
    ----------
    kept : tuple of int
        Indices of the frames to combine, in order.
    left_out : tuple of LeftOut
        The frames left out.
    agrees : bool
        Whether the kept frames may be combined.
    reason : str
        The reason if they may not; otherwise empty.
    """

    kept: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    agrees: bool
    reason: str


@dataclass(frozen=True)
class Figure:
    """A figure of all frames of a group, and the distance from its median that is allowed.

    Attributes
    ----------
    name : str
    values : numpy.ndarray of shape (n,), float64
        A value for each frame; NaN where a frame has none.
    floor : float
        Least scatter that is assumed when a frame is judged, in ``unit``.
    unit : str
        The unit of the values, with a blank before it; empty for a fraction.
    is_one_sided : bool
        Whether only values above the median can be too far from it.
    group_floor : float or None
        Least scatter that is assumed when the group is judged; None means ``floor``.
    meaning : str
        Meaning of a fraction, for the reasons, which give such a figure in percent; otherwise
        empty.
    """

    name: str
    values: np.ndarray
    floor: float
    unit: str = " adu"
    is_one_sided: bool = False
    group_floor: float | None = None
    meaning: str = ""

    def centre_scatter_and_reach(self, sigma):
        """Return the median and scatter of the values, and the distance allowed from the median."""
        finite_values = self.values[np.isfinite(self.values)]
        if not len(finite_values):
            return np.nan, 0.0, np.inf
        centre = float(np.median(finite_values))
        scatter = MAD_TO_SIGMA * float(np.median(np.abs(finite_values - centre)))
        return centre, scatter, sigma * max(scatter, self.floor)


def check_has_frames(statistics):
    """Refuse an empty group.

    Raises
    ------
    UserError
        If there is no frame.
    """
    if not statistics:
        raise UserError(
            "there is no frame to select from",
            allowed="one or more",
            remedy="name the frames to select from",
        )


def select_members(statistics, thresholds=None):
    """Return the `Selection` of the biases of a group.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.frame_figures.FrameStatistics
        One for each frame of the group.
    thresholds : Thresholds, optional
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
    limits = thresholds or Thresholds()
    return selection_of(
        figures_of(statistics, limits),
        len(statistics),
        limits,
        lambda: sentences_on_shapes(statistics, limits),
    )


def selection_of(figures, count, limits, find_shape_disagreements):
    """Return the `Selection` by figures, of which the most important comes first.

    Parameters
    ----------
    figures : iterable of Figure
    count : int
        Number of frames.
    limits : Thresholds or ccdflow.detector.dark_flat_selection.FlatThresholds
    find_shape_disagreements : callable
        Returns sentences on disagreements in shape. Called unless the coarse structure disagrees.

    Returns
    -------
    Selection
    """
    left_out, disagreements = {}, []
    has_no_common_structure = False
    for figure in figures:
        centre, scatter, reach = figure.centre_scatter_and_reach(limits.sigma)
        limit = limits.disagree * (figure.group_floor or figure.floor)
        if scatter > limit:
            has_no_common_structure |= figure.name == _COARSE_STRUCTURE
            disagreements.append(
                f"the frames have no common {figure.name}: it scatters by"
                f" {scatter:.4g}{figure.unit} about {centre:.6g}{figure.unit}, allowed"
                f" {limit:.4g}{figure.unit}"
            )
        for index in _outliers_of_figure(figure, centre, reach):
            left_out.setdefault(index, _left_out_by(figure, index, centre, reach))
    if not has_no_common_structure:
        disagreements += find_shape_disagreements()
    disagreements += _sentences_on_too_many(left_out.values(), count, limits)
    return Selection(
        kept=tuple(i for i in range(count) if i not in left_out),
        left_out=tuple(left_out[i] for i in sorted(left_out)),
        agrees=not disagreements,
        reason=_reason_of(disagreements),
    )


def _reason_of(disagreements):
    """Return the first of some disagreements, and the number of the others; '' for none.

    Figures come in the order of their importance: a line has room for one.
    """
    further = len(disagreements) - 1
    if further < 1:
        return "".join(disagreements)
    return f"{disagreements[0]} (and {further} more figure{'s' * (further > 1)})"


def _sentences_on_too_many(left_out, count, limits):
    """Return a list: a sentence if too many frames are left out, else nothing."""
    most_left_out = max(1, int(limits.left_out * count))
    if len(left_out) <= most_left_out:
        return []
    first = min(left_out, key=lambda frame: frame.index)
    return [
        f"{len(left_out)} of {count} frames are unlike the others, allowed {most_left_out}"
        f" ({first.measurement or first.text})"
    ]


def leave_out(selection, further_frames, thresholds=None):
    """Return a selection without some of its frames.

    Parameters
    ----------
    selection : Selection
    further_frames : sequence of LeftOut
        Their indices count the kept frames of the selection.
    thresholds : Thresholds, optional
        The defaults if not given.

    Returns
    -------
    Selection
        It disagrees if too many frames are left out. Copies, and frames of another exposure, do not
        count for this.
    """
    further_frames = [replace(frame, index=selection.kept[frame.index]) for frame in further_frames]
    indices = {frame.index for frame in further_frames}
    left_out = tuple(sorted((*selection.left_out, *further_frames), key=lambda frame: frame.index))
    frames_unlike = [frame for frame in left_out if frame.figure not in (_COPY, OTHER_EXPOSURE)]
    count = len(selection.kept) + len(selection.left_out) - (len(left_out) - len(frames_unlike))
    reasons = _sentences_on_too_many(frames_unlike, count, thresholds or Thresholds())
    return Selection(
        kept=tuple(index for index in selection.kept if index not in indices),
        left_out=left_out,
        agrees=selection.agrees and not reasons,
        reason=selection.reason or _reason_of(reasons),
    )


def find_copies(frames, names):
    """Return the frames whose pixels equal those of an earlier frame.

    Such a frame is a detector buffer that was read twice, or a copy with edited cards.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        The same pixels of `n` biases or darks.
    names : sequence of str
        Names of the frames.

    Returns
    -------
    list of LeftOut
        No frame of one value: all such frames are alike.
    """
    first_index_by_pixels, copies = {}, []
    for index, frame in enumerate(frames):
        earlier = first_index_by_pixels.setdefault(frame.tobytes(), index)
        if earlier == index:
            continue
        finite_values = frame[np.isfinite(frame)]
        if finite_values.size and np.ptp(finite_values):
            text = f"its pixels are those of {names[earlier]}: combined once"
            copies.append(LeftOut(index, _COPY, np.nan, np.nan, text))
    return copies


def find_unlike_frames(frames, thresholds=None, threads=1):
    """Return the frames that differ more from the group's median than the other frames do.

    Such a frame has another fixed structure, although its figures may equal those of the group: a
    readout that slipped by a pixel, or a mirrored image.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        The same pixels of `n` biases or darks, of one amplifier, in adu.
    thresholds : Thresholds, optional
        The defaults if not given.
    threads : int, optional
        Number of threads; the result does not depend on it.

    Returns
    -------
    list of LeftOut
        A frame is judged by its scatter about the median of all frames, without differences between
        rows.
    """
    limits = thresholds or Thresholds()
    # An odd step samples patterns that alternate from row to row.
    frames = frames[:, :: frames.shape[1] // COMPARED_ROWS | 1]
    if len(frames) < 3 or min(frames.shape[1:]) < COARSE_BOXES:
        return []
    middle = median_of_each_pixel(frames)
    spreads = np.array(
        threaded_map(lambda frame: scatter_about_row_means(frame - middle).sigma, frames, threads)
    )
    finite_spreads = spreads[np.isfinite(spreads)]
    if not len(finite_spreads):
        return []
    floor = limits.noise * max(float(np.median(finite_spreads)), DIGITAL_NOISE)
    figure = Figure("scatter about the group's median", spreads, floor, is_one_sided=True)
    centre, _, reach = figure.centre_scatter_and_reach(limits.sigma)
    return [
        _left_out_by(figure, index, centre, reach)
        for index in _outliers_of_figure(figure, centre, reach)
        if np.isfinite(spreads[index])
    ]


def _chance_structure(n_lines, n_pixels, sigma):
    """Return the structure that white noise reaches by chance over sigma, in noises of a pixel.

    The variance of the means of k lines of m pixels is (1 +- sqrt(2 / k)) / m; the structure is the
    root of its excess. For a given number of pixels it grows with k.
    """
    return (sigma * (2 * n_lines) ** 0.5 / n_pixels) ** 0.5 / sigma


def figures_of(statistics, limits):
    """Yield the figures of frames; the first one beyond its limit is the reason.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.frame_figures.FrameStatistics
        Statistics of each frame.
    limits : Thresholds

    Yields
    ------
    Figure
    """
    noises = np.array([frame.noise for frame in statistics])
    noise = group_noise(statistics)
    shapes = np.array([frame.box_offsets for frame in statistics])
    shapes = shapes[:, np.isfinite(shapes).any(axis=0)]
    distances = np.full(len(statistics), np.nan)
    if shapes.size:
        distances = np.sqrt(np.mean(np.square(shapes - np.nanmedian(shapes, axis=0)), axis=1))

    def values(name):
        """Return a figure of all frames, (n,) float64."""
        return np.array([getattr(frame, name) for frame in statistics], dtype=np.float64)

    common_floor = limits.level * noise
    yield Figure(
        "level", values("level"), _level_floor(statistics, limits, noise), group_floor=common_floor
    )
    yield Figure("bias level", values("bias_level"), limits.bias_level * noise)
    n_pixels = max(min(frame.n_pixels for frame in statistics), 1)
    # The error of a noise from differences of neighbours, as a fraction of it.
    noise_error = (0.75 / n_pixels) ** 0.5
    # The limit of a group's scatter is `sigma` of these errors, like the limit of a frame.
    errors_in_limit = limits.sigma / limits.disagree
    yield Figure(
        "noise",
        noises,
        max(limits.noise, noise_error) * noise,
        group_floor=max(limits.noise, errors_in_limit * noise_error) * noise,
    )
    # Bright pixels are counted in a sample: their number scatters by its root.
    bright_fraction_variance = np.median(values("bright_fraction")) / n_pixels
    bright_floor = max(limits.bright, bright_fraction_variance**0.5)
    yield Figure(
        "fraction of bright pixels", values("bright_fraction"), bright_floor, "", is_one_sided=True
    )
    # The error of the rms of boxes of white noise.
    box_error = (0.5 / n_pixels) ** 0.5
    yield Figure(
        _COARSE_STRUCTURE,
        distances,
        max(limits.structure, box_error) * noise,
        is_one_sided=True,
        group_floor=max(limits.structure, errors_in_limit * box_error) * noise,
    )
    for name, n_lines in (("row", FRAME_ROWS), ("column", n_pixels / _FEWEST_ROWS)):
        floor = max(limits.rows, _chance_structure(n_lines, n_pixels, limits.sigma)) * noise
        structure = values(f"{name}_structure")
        yield Figure(f"{name} structure", structure, floor, is_one_sided=True)


def sentences_on_shapes(statistics, limits):
    """Return the disagreement of frames of two kinds, equally far from the median.

    Parameters
    ----------
    statistics : sequence of ccdflow.detector.frame_figures.FrameStatistics
        Statistics of each frame.
    limits : Thresholds

    Returns
    -------
    list of str
        A sentence, or none.
    """
    shapes = np.array([frame.box_offsets for frame in statistics])
    noise = group_noise(statistics)
    if len(statistics) < 3 or not np.isfinite(shapes).all():
        return []
    middle = np.median(shapes, axis=0)
    scatter = MAD_TO_SIGMA * np.median(np.abs(shapes - middle), axis=0)
    rows = [frame.row_structure for frame in statistics if np.isfinite(frame.row_structure)]
    # A box is a mean of a few rows, each with the error of its overscan level.
    row_noise = float(np.median(rows)) / (FRAME_ROWS / COARSE_BOXES) ** 0.5 if rows else 0.0
    box_noise = noise * COARSE_BOXES / max(min(frame.n_pixels for frame in statistics), 1) ** 0.5
    limit = max(
        limits.sigma * limits.structure * noise,
        _STRUCTURE_NOISE_SIGMA * np.hypot(row_noise, box_noise),
    )
    mean_scatter = float(np.sqrt(np.mean(np.square(scatter))))
    if mean_scatter <= limit:
        return []
    return [
        f"the frames have no common coarse structure: it scatters by {mean_scatter:.4g} adu,"
        f" allowed {limit:.4g} adu"
    ]


def group_noise(statistics):
    """Return the median noise of a group's frames, at least that of rounding, adu."""
    noises = [frame.noise for frame in statistics if np.isfinite(frame.noise)]
    return max(float(np.median(noises)), DIGITAL_NOISE) if noises else DIGITAL_NOISE


def _level_floor(statistics, limits, noise):
    """Return the floor of the level, adu: a mean of rows with the errors of their overscan."""
    if not all(np.isfinite(frame.bias_level) for frame in statistics):
        return limits.level * noise
    rows = [frame.row_structure for frame in statistics if np.isfinite(frame.row_structure)]
    row_noise = float(np.median(rows)) / FRAME_ROWS**0.5 if rows else 0.0
    return min(float(np.hypot(limits.subtracted_level * noise, row_noise)), limits.level * noise)


def _outliers_of_figure(figure, centre, reach):
    """Return the indices of frames beyond the reach of a figure, or without a value."""
    distance = figure.values - centre
    if not figure.is_one_sided:
        distance = np.abs(distance)
    is_unmeasured = ~np.isfinite(figure.values) & np.isfinite(centre)
    return [int(i) for i in np.flatnonzero((distance > reach) | is_unmeasured)]


def _left_out_by(figure, index, centre, reach):
    """Return the `LeftOut` of a frame beyond the limit of a figure.

    Parameters
    ----------
    figure : Figure
    index : int
        Index of the frame.
    centre, reach : float
        The median of the group, and the distance allowed from it.
    """
    value = float(figure.values[index])
    threshold = centre + reach if not value < centre else centre - reach
    side = "below" if value < centre else "above"

    def value_in_words(number):
        """Return a value of the figure with its unit."""
        return f"{100 * number:.3g} %" if figure.meaning else f"{number:.6g}{figure.unit}"

    name = f"{figure.name} ({figure.meaning})" if figure.meaning else figure.name
    text = (
        f"its {name} is {value_in_words(value)}, {side} the limit of {value_in_words(threshold)}"
        f" (the group has {value_in_words(centre)})"
    )
    if not np.isfinite(value):
        text = (
            f"its {figure.name} cannot be measured (the group has {value_in_words(centre)}):"
            " hardly a pixel of a part of it is like the others"
        )
        return LeftOut(index, figure.name, value, threshold, text)
    measurement = f"{figure.name} {value_in_words(value)}, limit {value_in_words(threshold)}"
    return LeftOut(index, figure.name, value, threshold, text, measurement)
