"""Levels and noise of the members, measured on a sample of rows before they are combined."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ccdflow.combine.member_reader import file_reader
from ccdflow.combine.moments import Moments, clipped_moments
from ccdflow.combine.noise import DIGITAL_NOISE, ExpectedLight, LightGrid, NoiseModel
from ccdflow.combine.preparation import prepare_members
from ccdflow.combine.row_sample import sampled_rows
from ccdflow.errors import FrameError

SAMPLE_ROWS = 64
"""Levels and noise are measured in at most this many rows of each member: with 2048 columns they
give the noise of a pair of members to 0.2 %."""

# Light of at most this, in the unit of the members, does not determine the gain. With a gain of 1,
# a read noise of 10 adds as much variance as this light.
_LEAST_LIGHT = 100.0
# A gain from the bright parts of faint members is used if its relative error is below this: without
# a gain all pixels would get the same noise.
_MOST_GAIN_ERROR = 0.1
# The ratios of the members are measured in this many rows of the sample, or up to twice as many:
# each is a median of thousands of pixels.
_RATIO_ROWS = 16
# Pixels with at most this fraction of the level give no ratio: they are not lit. A combined flat is
# unlit below the same fraction of its mean.
_LEAST_RATIO = 0.2
# The measured noise replaces the predicted one if the two differ by more than this fraction. They
# also differ by more than this many standard errors of the measurement.
_LEAST_DIFFERENCE, _LEAST_ERRORS = 0.01, 3
# Columns of a box of pixels, whose median is the expected light in it. With the rows below it is
# known to a sixteenth of a pixel's noise in three members.
_BOX_COLUMNS = 32
# Sampled rows of a box of pixels: few, because all values of a box are sorted together.
_BOX_ROWS = 4


class MemberSample(NamedTuple):
    """Some rows of every member, prepared as for the combination.

    Attributes
    ----------
    rows : numpy.ndarray of shape (k,), int
        Indices of the rows.
    values : numpy.ndarray of shape (n, k, nx), float32 or float64
        NaN where a member is masked.
    """

    rows: np.ndarray
    values: np.ndarray


def sample_members(
    members,
    *,
    subtracted_terms=(),
    scale=None,
    masks=None,
    threads=1,
):
    """Read some rows of every member, prepared as for the combination.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
    subtracted_terms, scale, masks
        See `ccdflow.combine.stack.combine`.
    threads : int, optional
        Number of threads; the result does not depend on it.

    Returns
    -------
    MemberSample
    """
    n, (ny, nx) = len(members), members[0].shape
    source = np.dtype(members[0].dtype)
    rows = sampled_rows(ny, nx, n, rows_wanted=SAMPLE_ROWS, itemsize=source.itemsize)
    preparation = prepare_members(
        n,
        (ny, nx),
        source.newbyteorder("="),
        subtracted_terms=subtracted_terms,
        scale=scale,
        masks=masks,
    )
    sample = np.empty((n, len(rows), nx), preparation.dtype)
    with ExitStack() as exit_stack, ThreadPoolExecutor(threads) as pool:
        read = file_reader(members, exit_stack)

        def read_rows(numbers):
            """Read the rows of these numbers among the sampled ones, of all members."""
            raw = np.empty((n, nx), source)
            for number in numbers:
                start = int(rows[number]) * nx
                for index, line in enumerate(raw):
                    read(index, start, line)
                with np.errstate(invalid="ignore"):
                    sample[:, number] = _prepared_values(raw, start, preparation)

        # Of n threads, each reads every n-th row.
        parts = [range(first, len(rows), threads) for first in range(threads)]
        list(pool.map(read_rows, parts))
    return MemberSample(rows, sample)


def _prepared_values(raw, start, preparation):
    """Return the prepared values of members from a pixel on; NaN where they are masked."""
    values = raw.astype(preparation.dtype)
    bits = None
    if preparation.has_masks:
        bits = np.empty(raw.shape, np.int16)
        preparation.read_bits(values, start, bits)
    preparation.apply(values, slice(start, start + raw.shape[1]))
    if bits is not None:
        values[bits & preparation.bits != 0] = np.nan
    return values


def levels_of_members(sample):
    """Return the level of each member: the median of its finite sampled values.

    The levels of several members are corrected by the ratios of their pixels. Amplifiers of unlike
    gains have unlike levels, and the median of all pixels may lie anywhere between these.

    Parameters
    ----------
    sample : numpy.ndarray of shape (n, k, nx), float32 or float64
        After all subtractions.

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        NaN if no value is finite.
    """
    levels = np.array([_median_of_finite(frame) for frame in sample])
    if len(sample) < 2 or not (levels > 0).all():
        return levels
    scaled_frames = sample[:, :: max(1, sample.shape[1] // _RATIO_ROWS)] / levels[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.median(scaled_frames, axis=0)
        # The ratio of faint pixels is mostly noise.
        middle[~(middle > _LEAST_RATIO)] = np.nan
        ratios = np.array([_median_of_finite(frame / middle) for frame in scaled_frames])
    if not (ratios > 0).all():
        return levels
    return levels * ratios / np.exp(np.mean(np.log(ratios)))


def _median_of_finite(values):
    """Return the median of the finite values; NaN without a finite value."""
    finite_values = values[np.isfinite(values)]
    return float(np.median(finite_values)) if finite_values.size else np.nan


def measure_noise_model(amplifiers, shape, sample, *, levels=None, has_light=True, threads=1):
    """Return the noise model of members, completed by the differences of consecutive members.

    An unknown read noise is the noise of the differences that light does not explain. An unknown
    gain follows from the noise that light adds (photon transfer), if there is enough light. Known
    values are kept. The noise of an amplifier is multiplied by the ratio of measured to predicted
    noise if this differs significantly from 1.

    Parameters
    ----------
    amplifiers : sequence of ccdflow.combine.noise.AmplifierNoise
    shape : tuple of int
        ``(ny, nx)`` of the members.
    sample : MemberSample
    levels : numpy.ndarray of shape (n,), float64, optional
        Levels that the sample was divided by; default: 1.
    has_light : bool, optional
        Whether the members hold light or dark current: biases do not.
    threads : int, optional
        Number of threads; the result does not depend on it.

    Returns
    -------
    NoiseModel

    Raises
    ------
    FrameError
        If the noise of an amplifier is unknown and cannot be measured.
    UserError
        If an amplifier is not inside the image.
    """
    rows, values = sample
    levels = np.ones(len(values)) if levels is None else np.asarray(levels, np.float64)
    models = []
    with ThreadPoolExecutor(threads) as pool:
        for amplifier in amplifiers:
            frames = values[:, amplifier.region.has_rows(rows), amplifier.region.columns]
            if not has_light:
                amplifier = replace(amplifier, gain=None)
            elif frames.size and np.isnan(frames).all():
                # An amplifier that is masked in all members keeps its given read noise.
                read_noise = amplifier.read_noise or DIGITAL_NOISE
                models.append(replace(amplifier, read_noise=read_noise))
                continue
            models.append(
                _measured_amplifier(amplifier, frames, levels, pool.map, has_light=has_light)
            )
    return NoiseModel(tuple(models), tuple(shape))


def _measured_amplifier(amplifier, frames, levels, map_pairs, *, has_light):
    """Return the noise of an amplifier, completed and corrected by pairs of members.

    Parameters
    ----------
    amplifier : ccdflow.combine.noise.AmplifierNoise
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        Sampled rows of the amplifier.
    levels : numpy.ndarray of shape (n,), float64
        Levels that the frames were divided by.
    map_pairs : callable
        Like `map`; a pool of threads does the work.
    has_light : bool
        Whether the members hold light or dark current.
    """
    indices = pairwise(range(len(frames)))
    pairs = map_pairs(lambda pair: _moments_of_pair(frames, levels, *pair), indices)
    pairs = [pair for pair in pairs if pair.moments.count > 1 and pair.moments.sigma > 0]
    if not pairs:
        return _noise_of_header(amplifier, are_equal=not has_light and len(frames) > 1)
    lacks_gain = has_light and amplifier.gain is None and amplifier.read_noise is not None
    if lacks_gain and _mean_light(pairs) <= _LEAST_LIGHT:
        amplifier = replace(amplifier, gain=_gain_of_bright_parts(amplifier, frames, levels))
    amplifier = _completed_amplifier(amplifier, pairs, has_light=has_light)
    pulls = _pull_moments(amplifier, frames, levels, map_pairs)
    if not pulls:
        # Nearly all values are equal: clipping leaves values without scatter.
        return amplifier
    factor = float(np.sqrt(np.mean([pull.sigma**2 for pull in pulls])))
    n_pairs, n_pixels = len(pulls), np.mean([pull.count for pull in pulls])
    # Neighbouring pairs share a frame, so their variances are correlated by 1/4.
    error = factor * np.sqrt((1 + (n_pairs - 1) / (2 * n_pairs)) / (2 * n_pixels * n_pairs))
    if abs(factor - 1) <= max(_LEAST_DIFFERENCE, _LEAST_ERRORS * error):
        return amplifier
    # The noise is not less than that of rounding, also of frames that hardly scatter.
    least_factor = min(1.0, DIGITAL_NOISE / amplifier.variance_without_light**0.5)
    return replace(amplifier, factor=amplifier.factor * max(factor, least_factor))


def _pull_moments(amplifier, frames, levels, map_pairs):
    """Return the moments of the pulls: differences of consecutive members over predicted noise.

    Parameters
    ----------
    amplifier : ccdflow.combine.noise.AmplifierNoise
        Predicts the noise.
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        Sampled rows of the amplifier.
    levels : numpy.ndarray of shape (n,), float64
        Levels that the frames were divided by.
    map_pairs : callable
        Like `map`; a pool of threads does the work.
    """
    light = light_around(frames) if amplifier.variance_per_light else np.zeros(frames.shape[1:])

    def moments_of_pair(pair):
        """Return the moments of the pulls of two members, by their indices."""
        i, j = pair
        noise = np.sqrt(_predicted_variance(amplifier, light, levels[i], levels[j]))
        least_noise = np.min(noise, where=np.isfinite(noise), initial=np.inf)
        rounding_noise = DIGITAL_NOISE / min(levels[i], levels[j]) / least_noise
        return clipped_moments((frames[i] - frames[j]) / noise, rounding_noise=rounding_noise)

    pulls = map_pairs(moments_of_pair, pairwise(range(len(frames))))
    return [pull for pull in pulls if pull.count > 1 and pull.sigma > 0]


def light_around(frames):
    """Return the light of each pixel, estimated from its surroundings, shape ``(k, nx)``.

    The light of a box of pixels is the median of its values in all frames, so that hot pixels have
    no influence; NaN if no value of the box is finite.
    """
    n, k, nx = frames.shape
    light = np.zeros((k, nx))
    for y in range(0, k, _BOX_ROWS):
        boxed_columns = 0
        strip = frames[:, y : y + _BOX_ROWS]
        if nx >= _BOX_COLUMNS and np.isfinite(strip).all():
            # The medians of all boxes of full width are taken together, which is faster than one by
            # one.
            boxed_columns = nx // _BOX_COLUMNS * _BOX_COLUMNS
            boxes = strip[:, :, :boxed_columns].reshape(n * strip.shape[1], -1, _BOX_COLUMNS)
            medians = np.median(boxes.swapaxes(0, 1).reshape(boxes.shape[1], -1), axis=1)
            light[y : y + _BOX_ROWS, :boxed_columns] = np.repeat(medians, _BOX_COLUMNS)
        for x in range(boxed_columns, nx, _BOX_COLUMNS):
            box = frames[:, y : y + _BOX_ROWS, x : x + _BOX_COLUMNS]
            finite_values = box[np.isfinite(box)]
            light[y : y + _BOX_ROWS, x : x + _BOX_COLUMNS] = (
                np.median(finite_values) if finite_values.size else np.nan
            )
    return light


def expected_light(noise, sample):
    """Return the expected light of all pixels, from their surroundings in a sample of the members.

    Parameters
    ----------
    noise : NoiseModel
    sample : MemberSample

    Returns
    -------
    ExpectedLight
    """
    rows, values = sample
    grids = []
    for amplifier in noise.amplifiers:
        region = amplifier.region
        indices = np.flatnonzero(region.has_rows(rows))
        if indices.size:
            frames = values[:, indices, region.columns]
            grids.append(LightGrid(region, *_grid_of(rows[indices] - region.y0, frames)))
    return ExpectedLight(tuple(grids), noise.shape[1])


def _grid_of(rows, frames):
    """Return the middles of boxes of pixels, by rows and by columns, and the light of the boxes.

    Parameters
    ----------
    rows : numpy.ndarray of shape (k,), int
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64

    Returns
    -------
    rows : numpy.ndarray of shape (ky,), float64
    columns : numpy.ndarray of shape (kx,), float64
    light : numpy.ndarray of shape (ky, kx), float64
        In the unit of the members over their levels.
    """
    middle_rows = _mean_positions(rows, _BOX_ROWS)
    middle_columns = _mean_positions(np.arange(frames.shape[2]), _BOX_COLUMNS)
    light = light_around(frames)[::_BOX_ROWS, ::_BOX_COLUMNS]
    light = light[: len(middle_rows), : len(middle_columns)]
    is_finite = np.isfinite(light)
    median_light = np.median(light[is_finite]) if is_finite.any() else 0.0
    return middle_rows, middle_columns, np.where(is_finite, light, median_light)


def _mean_positions(positions, length):
    """Return the mean positions of boxes of a length; a short box at the end is left out."""
    # A box counts if it has at least a quarter of its positions. A single box always counts.
    count = max((len(positions) + 3 * length // 4) // length, 1)
    return np.array([positions[n * length : (n + 1) * length].mean() for n in range(count)])


def _noise_of_header(amplifier, *, are_equal):
    """Return the known noise of an amplifier that no pair of members shows; raise without one."""
    if amplifier.read_noise is not None:
        return amplifier
    if are_equal:
        # All pixels of the biases have one value: the only noise is that of rounding.
        return replace(amplifier, read_noise=DIGITAL_NOISE)
    raise FrameError(
        f"the read noise of amplifier {amplifier.name} is neither known nor to be measured",
        keyword="read_noise",
        allowed="a number in the camera's profile or header, or two frames or more",
        remedy="give `read_noise` in the camera's profile",
    )


class _MemberPair(NamedTuple):
    """Two consecutive members: the scatter of their difference, and their light.

    Attributes
    ----------
    moments : ccdflow.combine.moments.Moments
        Moments of the difference.
    light : float
        Median of the mean of the two members, in units of their levels.
    first_level, second_level : float
        Levels that the two members were divided by; 1 if they were not.
    """

    moments: Moments
    light: float
    first_level: float
    second_level: float

    def excess(self, amplifier):
        """Return the measured variance of the difference minus that which an amplifier predicts."""
        predicted = _predicted_variance(amplifier, self.light, self.first_level, self.second_level)
        return self.moments.sigma**2 - predicted

    @property
    def inverse_squares(self):
        """Variance of the difference if each member, before its division, has a variance of 1."""
        return 1 / self.first_level**2 + 1 / self.second_level**2


def _moments_of_pair(frames, levels, i, j):
    """Return the `_MemberPair` of two members by their indices.

    Parameters
    ----------
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        Sampled rows of the amplifier.
    levels : numpy.ndarray of shape (n,), float64
        Levels that the frames were divided by.
    i, j : int
        Indices of the two.
    """
    difference = frames[i] - frames[j]
    means = (frames[i] + frames[j])[np.isfinite(difference)] / 2
    light = float(np.median(means)) if means.size else 0.0
    rounding_noise = DIGITAL_NOISE / min(levels[i], levels[j])
    moments = clipped_moments(difference, rounding_noise=rounding_noise)
    return _MemberPair(moments, light, levels[i], levels[j])


def _predicted_variance(amplifier, light, *levels):
    """Return the variance of the difference of two members that were divided by these levels."""
    light = np.maximum(light, 0.0)
    fixed, per_light = amplifier.variance_without_light, amplifier.variance_per_light
    return sum((fixed + per_light * light * level) / level**2 for level in levels)


def _mean_light(pairs):
    """Return the mean light of members before they were divided by levels, in their unit."""
    return np.mean([pair.light * (pair.first_level + pair.second_level) / 2 for pair in pairs])


def _gain_of_bright_parts(amplifier, frames, levels):
    """Return the gain that bright parts of faint members show, such as the glow of darks.

    Parameters
    ----------
    amplifier : ccdflow.combine.noise.AmplifierNoise
        Without a gain, with a read noise.
    frames : numpy.ndarray of shape (n, k, nx), float32 or float64
        Sampled rows of the amplifier.
    levels : numpy.ndarray of shape (n,), float64
        Levels that the frames were divided by.

    Returns
    -------
    float or None
        None if no part has enough light, or the error is above `_MOST_GAIN_ERROR`.
    """
    # The light of a pixel is the mean of its values, which is independent of their differences. The
    # medians of boxes leave out cosmic rays and hot pixels.
    light = frames.mean(axis=0, dtype=np.float64)
    level = np.median(levels)
    with np.errstate(invalid="ignore"):
        # Pixels much fainter than their box, such as dead ones, are left out.
        is_bright = light_around(frames) * level > _LEAST_LIGHT
        is_bright &= light * level > _LEAST_LIGHT / 2
    light = light[is_bright]
    inverses, count = [], 0
    for i, j in pairwise(range(len(frames))):
        # The variance of a difference over the light is 1 / gain plus a term without light.
        photons = light * (1 / levels[i] + 1 / levels[j])
        noise = np.sqrt(photons)
        rounding_noise = DIGITAL_NOISE / min(levels[i], levels[j]) / noise.min(initial=np.inf)
        pulls = (frames[i] - frames[j])[is_bright] / noise
        moments = clipped_moments(pulls, rounding_noise=rounding_noise)
        if moments.count > 1:
            squares = 1 / levels[i] ** 2 + 1 / levels[j] ** 2
            fixed_variance = amplifier.variance_without_light * squares
            inverses.append((moments.sigma**2, float(np.mean(fixed_variance / photons))))
            count += moments.count
    if not inverses:
        return None
    total, fixed_term = np.mean(inverses, axis=0)
    inverse_gain = total - fixed_term
    # Neighbouring pairs share a frame, which raises the variance of their mean by a half.
    error = total * np.sqrt(3 / count)
    return float(1 / inverse_gain) if error < _MOST_GAIN_ERROR * inverse_gain else None


def _completed_amplifier(amplifier, pairs, *, has_light):
    """Return the noise of an amplifier; pairs of members give an unknown gain or read noise."""
    if amplifier.gain is None and has_light and _mean_light(pairs) > _LEAST_LIGHT:
        # Photon transfer: variance = fixed + light / gain, in units of the levels.
        start = replace(amplifier, read_noise=amplifier.read_noise or 0.0)
        excess = np.mean([pair.excess(start) for pair in pairs])
        photons = [
            max(pair.light, 0.0) * (1 / pair.first_level + 1 / pair.second_level) for pair in pairs
        ]
        weight = np.mean(photons)
        fixed = np.mean([start.variance_without_light * pair.inverse_squares for pair in pairs])
        if weight > 0 and excess > fixed:
            amplifier = replace(amplifier, gain=float(weight / excess))
    if amplifier.read_noise is None:
        start = replace(amplifier, read_noise=0.0)
        excess = np.mean([pair.excess(start) for pair in pairs])
        weight = np.mean([pair.inverse_squares for pair in pairs])
        variance = float(excess / weight) + DIGITAL_NOISE**2
        amplifier = replace(amplifier, read_noise=float(np.sqrt(max(variance, 0.0))))
    return amplifier
