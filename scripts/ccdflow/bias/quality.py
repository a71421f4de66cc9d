"""What biases say about themselves and about the detector: which to combine, and how good it is.

Scatter is everywhere the standard deviation after repeated clipping at 5 sigma. It starts from
the MAD, but does not end there: the MAD of whole numbers is a whole number, which is useless for
a camera whose noise is about 1 adu.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ccdflow.bias.combine import MAD_TO_SIGMA, Recipe, combine_arrays, sampled_rows
from ccdflow.errors import UserError

BOXES = 8
"""A frame's coarse shape is measured in so many by so many boxes."""

DIGITAL_NOISE = 1 / np.sqrt(12)
"""Noise of rounding to whole numbers: no camera is taken to be quieter."""

_CLIP = 5.0
_START_VALUES = 20_000
_TRIALS = 40_000
_FRAME_ROWS = 64  # of the LFC these take 7 ms


@dataclass(frozen=True)
class Estimate:
    """A measured figure and its standard error, NaN where it could not be measured."""

    value: float
    error: float


UNKNOWN = Estimate(float("nan"), float("nan"))


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation (``ddof=1``) and number of the values left by clipping."""

    mean: float
    sigma: float
    count: int


def clipped_moments(values):
    """Mean and scatter of an array without its outliers.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape; NaN and infinite values are ignored.

    Returns
    -------
    Moments
        NaN where fewer than two values are finite.
    """
    values = np.ravel(values)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Moments(float("nan"), float("nan"), len(values))
    start = values[:: len(values) // _START_VALUES + 1]
    mean = float(np.median(start))
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(start - mean)))
    if sigma == 0:  # more than half of the values agree
        mean, sigma = _moments(values)
    count = 0
    for _ in range(50):
        # Of whole numbers most may agree: those one off are no outliers.
        kept = values[np.abs(values - mean) <= _CLIP * max(sigma, DIGITAL_NOISE)]
        if len(kept) in (0, count):
            break
        count = len(kept)
        mean, sigma = _moments(kept)
    correction = np.sqrt(count / (count - 1)) if count > 1 else 1.0
    return Moments(mean, float(sigma * correction), count)


def _moments(values):
    mean = values.mean(dtype=np.float64)
    deviations = values - mean.astype(values.dtype)
    offset = deviations.mean(dtype=np.float64)
    variance = np.mean(np.square(deviations), dtype=np.float64) - offset**2
    return float(mean), float(np.sqrt(max(variance, 0)))


# -- one frame at a time ------------------------------------------------------------------------


@dataclass(frozen=True)
class FrameStatistics:
    """Figures by which a reduced frame is compared with others of its group. All in adu.

    Parameters
    ----------
    level : float
        Mean of the science pixels after overscan subtraction.
    bias_level : float
        Level of the overscan before subtraction; NaN where there is none.
    noise : float
        Scatter from pixel to pixel, from differences of neighbours in a row.
    row_structure, column_structure : float
        Scatter of the means of rows and columns beyond what `noise` accounts for.
    bright : float
        Fraction of the pixels more than 10 `noise` above `level`.
    shape : tuple of float
        Means of 8 x 8 boxes less `level`, row by row.
    pixels : int
        Number of pixels that were looked at.
    """

    level: float
    bias_level: float
    noise: float
    row_structure: float
    column_structure: float
    bright: float
    shape: tuple[float, ...]
    pixels: int = 0


def frame_statistics(image, overscan=()):
    """Measure one reduced frame, on about 64 of its rows.

    Parameters
    ----------
    image : numpy.ndarray
        Shape ``(ny, nx)``, adu; NaN is ignored. At least 8 x 8 pixels.
    overscan : sequence of float or numpy.ndarray
        Levels of the overscan, in adu, as they were subtracted; empty where there was none.

    Returns
    -------
    FrameStatistics
    """
    ny, nx = image.shape
    rows = image[sampled_rows(ny, nx, 1, wanted=_FRAME_ROWS)]
    noise = clipped_moments(np.diff(rows, axis=1)).sigma / 2**0.5
    clean = _without_outliers(rows)
    with np.errstate(invalid="ignore"):
        bright = np.count_nonzero(rows > clean.level + 10 * max(noise, DIGITAL_NOISE))
    overscan = np.ravel(overscan)
    return FrameStatistics(
        level=clean.level,
        bias_level=float(np.mean(overscan, dtype=np.float64)) if overscan.size else float("nan"),
        noise=noise,
        row_structure=clean.excess(noise, axis=1).value,
        column_structure=clean.excess(noise, axis=0).value,
        bright=float(bright / rows.size),
        shape=tuple(float(mean) for mean in clean.boxes().ravel()),
        pixels=rows.size,
    )


@dataclass(frozen=True)
class _Clean:
    """An image less its mean level, 0 where `good` is False."""

    values: np.ndarray
    good: np.ndarray
    level: float

    def means(self, axis):
        with np.errstate(invalid="ignore"):
            count = np.count_nonzero(self.good, axis=axis)
            return self.values.sum(axis=axis, dtype=np.float64) / count

    def excess(self, noise, *, axis):
        """Scatter of the means along `axis` beyond that of white noise.

        The variance of the means less noise^2 / (values in each). Its error is that of a
        variance, v sqrt(2 / (k - 1)), handed on through the root; where nothing is left, it is
        how much would just have been seen.
        """
        means = self.means(axis)
        means = means[np.isfinite(means)]
        if len(means) < 2:
            return UNKNOWN
        variance = means.var(ddof=1)
        white = noise**2 * len(means) / np.count_nonzero(self.good)
        error = variance * np.sqrt(2 / (len(means) - 1))
        value = np.sqrt(max(variance - white, 0))
        if value**2 <= error:
            return Estimate(float(value), float(np.sqrt(error)))
        return Estimate(float(value), float(error / (2 * value)))

    def boxes(self):
        starts = [np.arange(BOXES) * size // BOXES for size in self.values.shape]

        def sums(array):
            return np.add.reduceat(np.add.reduceat(array, starts[0], axis=0), starts[1], axis=1)

        with np.errstate(invalid="ignore"):
            return sums(self.values.astype(np.float64)) / sums(self.good.astype(np.int32))


def _without_outliers(image):
    """Find the pixels within 5 sigma of the median of their column, and the mean of these."""
    if np.isfinite(image).all():
        profile = _column_medians(image)
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            profile = np.nanmedian(np.where(np.isfinite(image), image, np.nan), axis=0)
    residual = image - profile
    limit = _CLIP * max(clipped_moments(residual).sigma, DIGITAL_NOISE)
    with np.errstate(invalid="ignore"):
        good = np.abs(residual) <= limit
    level = np.mean(image[good], dtype=np.float64) if good.any() else np.nan
    values = np.where(good, image - np.asarray(level, image.dtype), 0)
    return _Clean(values, good, float(level))


def _column_medians(image):
    """Return `numpy.median` along the columns; sorting what is near in memory is much faster."""
    ordered = np.sort(np.ascontiguousarray(image.T), axis=1)
    middle = ordered.shape[1] // 2
    if ordered.shape[1] % 2:
        return ordered[:, middle]
    return (ordered[:, middle - 1] + ordered[:, middle]) / 2


# -- which frames belong together ---------------------------------------------------------------


@dataclass(frozen=True)
class Thresholds:
    """When a frame does not look like its group, and when a group has no common look.

    A figure decides by its distance from the group's median, in units of the group's own
    scatter (1.4826 MAD), which is taken to be at least the floor of that figure: in a small group,
    or one from a quiet camera, the MAD can be next to nothing.

    Parameters
    ----------
    sigma : float
        A frame further off than `sigma` times that scatter is left out.
    disagree : float
        A group whose scatter is more than `disagree` floors has no common look; of the level that
        is `level`, whether the overscan was subtracted or not.
    left_out : float
        Nor has one of which more than this fraction (and more than one frame) is left out.
    level, bias_level, structure, rows : float
        Floors in units of the noise of one frame. The bias level before overscan subtraction
        may drift; the level after it may not.
    subtracted_level : float
        Floor of the level where the overscan was subtracted, likewise: light is then seen from
        half the noise on. What the overscan's own noise does to the level comes on top.
    noise : float
        Floor as a fraction of the noise of one frame.
    bright : float
        Floor as a fraction of the pixels.
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
    """A frame that does not look like its group, and what decided.

    Parameters
    ----------
    index : int
        Its place in the list.
    figure : str
        Name of the figure.
    value : float
        Its value.
    threshold : float
        The limit that it passed.
    text : str
        The same in words.
    """

    index: int
    figure: str
    value: float
    threshold: float
    text: str


@dataclass(frozen=True)
class Selection:
    """Which frames to combine.

    Parameters
    ----------
    kept : tuple of int
        Places in the list, in order.
    left_out : tuple of LeftOut
        The others.
    agrees : bool
        Whether what is kept may be combined.
    reason : str
        Why not; empty if it may.
    """

    kept: tuple[int, ...]
    left_out: tuple[LeftOut, ...]
    agrees: bool
    reason: str


@dataclass(frozen=True)
class _Figure:
    name: str
    values: np.ndarray
    floor: float
    unit: str = " adu"
    one_sided: bool = False
    common: float | None = None
    """What stands for the floor where the group's own scatter is judged."""

    def limits(self, sigma):
        """Median of the group, its scatter, and how far from the median a frame may be."""
        finite = self.values[np.isfinite(self.values)]
        if not len(finite):
            return np.nan, 0.0, np.inf
        centre = float(np.median(finite))
        scatter = MAD_TO_SIGMA * float(np.median(np.abs(finite - centre)))
        return centre, scatter, sigma * max(scatter, self.floor)


def select_members(stats, thresholds=None):
    """Decide which frames of a group to combine, and whether the group agrees with itself.

    Parameters
    ----------
    stats : sequence of FrameStatistics
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
    if not stats:
        raise UserError("there is no frame to select from", allowed="one or more")
    limits = thresholds or Thresholds()
    left_out, disagreements = {}, []
    for figure in _figures(stats, limits):
        centre, scatter, reach = figure.limits(limits.sigma)
        most = limits.disagree * (figure.common or figure.floor)
        if scatter > most:
            disagreements.append(
                f"the frames have no common {figure.name}: it scatters by "
                f"{scatter:.4g}{figure.unit} about {centre:.6g}{figure.unit}, more than "
                f"{most:.4g}{figure.unit}"
            )
        for index in _beyond(figure, centre, reach):
            left_out.setdefault(index, _explain(index, figure, centre, reach))
    disagreements += _no_common_shape(stats, limits)
    allowed = max(1, int(limits.left_out * len(stats)))
    if len(left_out) > allowed:
        first = left_out[min(left_out)]
        disagreements.append(
            f"{len(left_out)} of {len(stats)} frames do not look like the others, more than "
            f"{allowed} (the first: {first.text})"
        )
    return Selection(
        kept=tuple(i for i in range(len(stats)) if i not in left_out),
        left_out=tuple(left_out[i] for i in sorted(left_out)),
        agrees=not disagreements,
        reason="; ".join(disagreements),
    )


def _figures(stats, limits):
    """Yield the figures that decide, the plainest first: it is the one that is reported."""
    noises = np.array([s.noise for s in stats])
    noise = _group_noise(stats)
    shapes = np.array([s.shape for s in stats])
    shapes = shapes[:, np.isfinite(shapes).any(axis=0)]
    unlike = np.full(len(stats), np.nan)
    if shapes.size:
        unlike = np.sqrt(np.mean(np.square(shapes - np.nanmedian(shapes, axis=0)), axis=1))

    def values(name):
        return np.array([getattr(s, name) for s in stats], dtype=np.float64)

    common = limits.level * noise
    yield _Figure("level", values("level"), _level_floor(stats, limits, noise), common=common)
    yield _Figure("bias level", values("bias_level"), limits.bias_level * noise)
    yield _Figure("noise", noises, limits.noise * noise)
    yield _Figure("fraction of bright pixels", values("bright"), limits.bright, "", True)
    yield _Figure("coarse structure", unlike, limits.structure * noise, one_sided=True)
    yield _Figure("row structure", values("row_structure"), limits.rows * noise, one_sided=True)
    yield _Figure(
        "column structure", values("column_structure"), limits.rows * noise, one_sided=True
    )


def _no_common_shape(stats, limits):
    """Return the disagreement of frames of two kinds, which are all as far from the middle."""
    shapes = np.array([s.shape for s in stats])
    noise = _group_noise(stats)
    if len(stats) < 3 or not np.isfinite(shapes).all():
        return []
    middle = np.median(shapes, axis=0)
    scatter = MAD_TO_SIGMA * np.median(np.abs(shapes - middle), axis=0)
    rows = [s.row_structure for s in stats if np.isfinite(s.row_structure)]
    # A box has the means of a few rows, each as uncertain as its overscan made it.
    from_rows = float(np.median(rows)) / (_FRAME_ROWS / BOXES) ** 0.5 if rows else 0.0
    of_a_box = noise * BOXES / max(min(s.pixels for s in stats), 1) ** 0.5
    most = max(limits.sigma * limits.structure * noise, 3 * np.hypot(from_rows, of_a_box))
    found = float(np.sqrt(np.mean(np.square(scatter))))
    if found <= most:
        return []
    return [
        f"the frames have no common coarse structure: it scatters by {found:.4g} adu, more than "
        f"{most:.4g} adu"
    ]


def _group_noise(stats):
    known = [s.noise for s in stats if np.isfinite(s.noise)]
    return max(float(np.median(known)), DIGITAL_NOISE) if known else DIGITAL_NOISE


def _level_floor(stats, limits, noise):
    """Return the floor of the level: a mean of rows, each as uncertain as its overscan made it."""
    if not all(np.isfinite(s.bias_level) for s in stats):
        return limits.level * noise
    rows = [s.row_structure for s in stats if np.isfinite(s.row_structure)]
    from_rows = float(np.median(rows)) / _FRAME_ROWS**0.5 if rows else 0.0
    return min(float(np.hypot(limits.subtracted_level * noise, from_rows)), limits.level * noise)


def _beyond(figure, centre, reach):
    distance = figure.values - centre
    if not figure.one_sided:
        distance = np.abs(distance)
    unmeasured = ~np.isfinite(figure.values) & np.isfinite(centre)
    return [int(i) for i in np.flatnonzero((distance > reach) | unmeasured)]


def _explain(index, figure, centre, reach):
    value = float(figure.values[index])
    threshold = centre + reach if not value < centre else centre - reach
    side = "below" if value < centre else "above"
    text = (
        f"its {figure.name} is {value:.6g}{figure.unit}, {side} the limit of "
        f"{threshold:.6g}{figure.unit} (the group has {centre:.6g}{figure.unit})"
    )
    if not np.isfinite(value):
        text = (
            f"its {figure.name} cannot be measured (the group has {centre:.6g}{figure.unit}):"
            " hardly a pixel of a part of it is like the others"
        )
    return LeftOut(index, figure.name, value, threshold, text)


# -- the detector, from the members of a group --------------------------------------------------


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
    return [_white_part(b - a) for a, b in pairwise(frames)]


def _read_noise(parts):
    pairs = len(parts)
    if not pairs or not all(part.count > 1 for part in parts):
        return UNKNOWN
    sigma = np.sqrt(np.mean([part.sigma**2 for part in parts]) / 2)
    pixels = np.mean([part.count for part in parts])
    error = sigma * np.sqrt((1 + (pairs - 1) / (2 * pairs)) / (2 * pixels * pairs))
    return Estimate(float(sigma), float(error))


def _white_part(image):
    """Scatter of an image about the means of its rows."""
    moments = clipped_moments(image)
    with np.errstate(invalid="ignore"):
        limit = _CLIP * max(moments.sigma, DIGITAL_NOISE)
        good = np.abs(image - moments.mean) <= limit
        means = np.where(good, image, 0).sum(axis=1, dtype=np.float64) / good.sum(axis=1)
    residual = clipped_moments(image - means[:, None].astype(image.dtype))
    length = max(np.count_nonzero(good) / len(image), 2)
    return Moments(residual.mean, residual.sigma * np.sqrt(length / (length - 1)), residual.count)


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
    clean = _without_outliers(image)
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


@lru_cache(maxsize=256)
def excess_variance(n, recipe):
    """Variance of what `recipe` makes of `n` normal values, over that of their plain average.

    1 for a plain average; for a median it goes to pi/2 for many values; clipping costs much
    with three or four values, of which two may agree by chance, and little with many. From a
    seeded simulation, good to 1 % (a median of over 100 to 2 %).
    """
    if n < 3 or (recipe.method == "average" and recipe.clip is None):
        return 1.0
    rng = np.random.default_rng(20160116)
    trials = max(min(_TRIALS, 4_000_000 // n), 4000)
    values = rng.standard_normal((n, 1, trials), dtype=np.float32)
    # Against the plain average of the same values: the chance excess of both cancels.
    squares = [
        np.mean(np.square(combine_arrays(values, r).image), dtype=np.float64)
        for r in (recipe, Recipe("average", None))
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
    recipe : Recipe, optional
        The guide's by default.

    Returns
    -------
    Estimate
        sigma / sqrt(n) times the root of `excess_variance`.
    """
    if not isinstance(sigma, Estimate):
        sigma = Estimate(float(sigma), 0.0)
    factor = float(np.sqrt(excess_variance(n, recipe or Recipe()) / n))
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
    recipe : Recipe, optional
        How they were combined; the guide's by default.

    Returns
    -------
    Estimate
        Its standard error is sigma / sqrt(2 N) for N pixels.
    """
    recipe = recipe or Recipe()
    n = len(frames)
    if n < 2:
        return UNKNOWN
    halves = [
        combine_arrays(part, recipe, allow_empty=True) for part in (frames[::2], frames[1::2])
    ]
    part = _white_part(halves[0].image - halves[1].image)
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
    combined : ccdflow.bias.combine.Combined
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
    reach = np.maximum(_CLIP * max(noise, DIGITAL_NOISE), 3 * _middle_distance(frames, centre))
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
    clean = _Clean(np.nan_to_num(values), np.isfinite(values), 0.0)
    excess = np.nanmax(clean.boxes(), initial=0.0) - noise**2
    error = max(noise, DIGITAL_NOISE) ** 2 * np.sqrt(2 * BOXES**2 / (ny * nx * (n - 1)))
    return float(np.sqrt(excess)) if excess > 6 * error else 0.0


_COMPARED_ROWS = 32  # of 50 LFC frames these take 0.15 s


def _middle_distance(frames, centre):
    return np.median(np.abs(frames - centre), axis=0)


@lru_cache(maxsize=256)
def expected_clipping(n, recipe):
    """Which part of `n` normal values a recipe rejects, from a seeded simulation."""
    if n < 3 or recipe.clip is None:
        return 0.0
    values = np.random.default_rng(20160117).standard_normal((n, 1, 4000), dtype=np.float32)
    return 1 - float(combine_arrays(values, recipe).count.mean()) / n


# A combined bias whose noise is above the prediction by more than this part of it is said to be,
# frames that differ by more than this part of the noise, and values rejected beyond expectation.
_NOISY, _DIFFERENT, _CLIPPED = 0.2, 0.5, 0.05


def remarks(figures, recipe):
    """Say what is not as it should be in a combined bias.

    Parameters
    ----------
    figures : dict
        Of an amplifier, as `AmplifierQuality` names them.
    recipe : Recipe

    Returns
    -------
    list of str
    """
    said = []
    measured, predicted = figures["combined_noise"], figures["predicted_noise"]
    single = max(figures["read_noise"], DIGITAL_NOISE)
    excess = measured - predicted
    if figures["disagreement"] > _DIFFERENT * single:
        said.append(
            f"its frames differ from each other by {figures['disagreement']:.3g} adu (rms) in a"
            f" part of the image, where the read noise is {figures['read_noise']:.3g} adu: look at"
            " them"
        )
    if predicted > 0 and excess > max(_NOISY * predicted, _CLIP * figures["combined_noise_error"]):
        said.append(
            f"its noise is {measured:.3g} adu, {100 * excess / predicted:.0f} % more than the"
            f" {predicted:.3g} adu that the read noise predicts"
        )
    clipped, expected = figures["clipped_fraction"], expected_clipping(figures["frames"], recipe)
    if clipped > expected + _CLIPPED:
        said.append(
            f"{100 * clipped:.2g} % of the values were rejected, where noise alone would have"
            f" {100 * expected:.2g} %" + _WHOLE_NUMBERS * (figures["read_noise"] < 1)
        )
    return said


_WHOLE_NUMBERS = (
    ": most values of so quiet a camera agree, and the others count as outliers; its level is that"
    " of the most frequent value (`combine: {clip: null}` averages all)"
)


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
