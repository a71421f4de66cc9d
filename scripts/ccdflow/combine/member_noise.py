"""Levels and noise of the members, measured on a sample of rows before they are combined."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ccdflow.combine.member_reader import file_reader
from ccdflow.combine.moments import clipped_moments
from ccdflow.combine.noise import DIGITAL_NOISE, ExpectedLight, LightGrid, NoiseModel
from ccdflow.combine.preparation import prepare
from ccdflow.combine.row_sample import sampled_rows
from ccdflow.errors import FrameError

SAMPLE_ROWS = 64
"""Levels and noise are measured in this many rows of each member."""

# Fainter light, in the unit of the members, does not determine the gain.
_LEAST_LIGHT = 100.0
# The ratios of amplifiers' levels are measured in this many rows of the sample.
_RATIO_ROWS = 16
# Pixels with less than this part of the level are not lit, and have no ratio.
_LEAST_RATIO = 0.2
# Measured noise that differs by less than this from the prediction leaves the prediction.
_LEAST_DIFFERENCE = 0.01


def sample_members(
    members,
    *,
    subtract=(),
    scale=None,
    masks=None,
    threads=1,
):
    """Read some rows of every member, prepared as for the combination.

    Parameters
    ----------
    members : sequence of ccdflow.combine.member_reader.Member
    subtract, scale, masks
        See `ccdflow.combine.stack.combine`.
    threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    rows : numpy.ndarray of int
        Shape ``(k,)``: indices of the rows.
    sample : numpy.ndarray
        Shape ``(n, k, nx)``; NaN where a member is masked.
    """
    n, (ny, nx) = len(members), members[0].shape
    source = np.dtype(members[0].dtype)
    rows = sampled_rows(ny, nx, n, wanted=SAMPLE_ROWS, itemsize=source.itemsize)
    preparation = prepare(
        n,
        (ny, nx),
        source.newbyteorder("="),
        subtract=subtract,
        scale=scale,
        masks=masks,
    )
    sample = np.empty((n, len(rows), nx), preparation.dtype)
    with ExitStack() as stack, ThreadPoolExecutor(threads) as pool:
        read = file_reader(members, stack)

        def fill(first):
            raw = np.empty((n, nx), source)
            with np.errstate(invalid="ignore"):
                for place in range(first, len(rows), threads):
                    start = int(rows[place]) * nx
                    for index, line in enumerate(raw):
                        read(index, start, line)
                    sample[:, place] = _prepared_values(raw, start, preparation)

        for part in [pool.submit(fill, first) for first in range(threads)]:
            part.result()
    return rows, sample


def _prepared_values(raw, start, preparation):
    """Return values of members from a pixel on, prepared, with NaN where they are masked."""
    values = raw.astype(preparation.dtype)
    bits = None
    if preparation.masks:
        bits = np.empty(raw.shape, np.int16)
        preparation.read_bits(values, start, bits)
    preparation.apply(values, slice(start, start + raw.shape[1]))
    if bits is not None:
        values[bits & preparation.bits != 0] = np.nan
    return values


def levels_of_members(sample):
    """Return the level of each member: the median of its finite sampled values.

    The levels of several members are set right by their ratios: amplifiers of unlike gains have two
    levels, and the median of all pixels lies anywhere between them.

    Parameters
    ----------
    sample : numpy.ndarray
        Shape ``(n, k, nx)``, after all subtractions.

    Returns
    -------
    numpy.ndarray of float64
        Shape ``(n,)``; NaN if no value is finite.
    """
    levels = np.array([_median(frame) for frame in sample])
    if len(sample) < 2 or not (levels > 0).all():
        return levels
    scaled = sample[:, :: max(1, sample.shape[1] // _RATIO_ROWS)] / levels[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.median(scaled, axis=0)
        # The ratio of faint pixels is mostly noise.
        middle[~(middle > _LEAST_RATIO)] = np.nan
        ratios = np.array([_median(frame / middle) for frame in scaled])
    if not (ratios > 0).all():
        return levels
    return levels * ratios / np.exp(np.mean(np.log(ratios)))


def _median(values):
    """Return the median of the finite values, NaN without any."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else np.nan


def measured_noise(amplifiers, shape, rows, sample, *, levels=None, light=True, threads=1):
    """Complete the noise model from the differences of consecutive members.

    An unknown read noise is the part of the differences that light does not explain; an unknown
    gain follows from the noise that light adds (photon transfer), if there is enough light. Known
    values are kept, times measured over predicted noise of the amplifier if the two differ by more
    than 1 % and more than three standard errors.

    Parameters
    ----------
    amplifiers : sequence of AmplifierNoise
    shape : tuple of int
        ``(ny, nx)`` of the members.
    rows, sample
        Results of `sample_members`.
    levels : numpy.ndarray, optional
        Shape ``(n,)``: divisors of the sample; default: 1.
    light : bool
        Whether the members hold light: biases do not.
    threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    NoiseModel

    Raises
    ------
    FrameError
        If the noise of an amplifier is unknown and cannot be measured.
    """
    levels = np.ones(len(sample)) if levels is None else np.asarray(levels, np.float64)
    models = []
    with ThreadPoolExecutor(threads) as pool:
        for amplifier in amplifiers:
            y0, y1, x0, x1 = amplifier.region
            inside = (rows >= y0) & (rows < y1)
            frames = sample[:, inside, x0:x1]
            assumed = amplifier if light else replace(amplifier, gain=None)
            if light and frames.size and np.isnan(frames).all():
                # An amplifier that is masked in all members.
                models.append(replace(assumed, read_noise=assumed.read_noise or DIGITAL_NOISE))
                continue
            models.append(_measured_amplifier(assumed, frames, levels, pool.map, light=light))
    return NoiseModel(tuple(models), tuple(shape))


def _measured_amplifier(amplifier, frames, levels, each, *, light):
    """Return the noise of an amplifier with what pairs of frames show of it."""
    pairs = each(lambda two: _moments_of_pair(frames, levels, *two), pairwise(range(len(frames))))
    pairs = [pair for pair in pairs if pair[0].count > 1 and pair[0].sigma > 0]
    if not pairs:
        return _noise_of_header(amplifier, are_equal=not light and len(frames) > 1)
    amplifier = _amplifier_without_gaps(amplifier, pairs, light=light)
    pulls = _pulls_of_pairs(amplifier, frames, levels, each)
    if not pulls:
        # Nearly all values are equal: clipping leaves values without scatter.
        return amplifier
    factor = float(np.sqrt(np.mean([pull.sigma**2 for pull in pulls])))
    m, pixels = len(pulls), np.mean([pull.count for pull in pulls])
    # Neighbouring pairs share a frame, so their variances are correlated by 1/4.
    error = factor * np.sqrt((1 + (m - 1) / (2 * m)) / (2 * pixels * m))
    if abs(factor - 1) <= max(_LEAST_DIFFERENCE, 3 * error):
        return amplifier
    # Frames that hardly scatter are rounded all the same.
    least = min(1.0, DIGITAL_NOISE / amplifier.fixed**0.5)
    return replace(amplifier, factor=amplifier.factor * max(factor, least))


def _pulls_of_pairs(amplifier, frames, levels, each):
    """Return the moments of consecutive differences divided by their predicted noise."""
    boxes = _box_medians(frames) if amplifier.slope else np.zeros(frames.shape[1:])

    def pull_of(two):
        i, j = two
        variance = _predicted_variance(amplifier, boxes, levels[i], levels[j])
        return clipped_moments((frames[i] - frames[j]) / np.sqrt(variance))

    pulls = each(pull_of, pairwise(range(len(frames))))
    return [pull for pull in pulls if pull.count > 1 and pull.sigma > 0]


# Columns and rows of a box whose median is the expected light of its pixels.
_BOX_COLUMNS = 32
# Few rows: a strip of them is read and worked on at once.
_BOX_ROWS = 4


def _box_medians(frames):
    """Return the light of each pixel, estimated from its surroundings, shape ``(k, nx)``.

    Median over boxes of a few sampled rows by some columns and over all frames, so that hot pixels
    have no influence; NaN where no value is good.
    """
    n, k, nx = frames.shape
    light = np.zeros((k, nx))
    for y in range(0, k, _BOX_ROWS):
        whole = 0
        strip = frames[:, y : y + _BOX_ROWS]
        if nx >= _BOX_COLUMNS and np.isfinite(strip).all():
            # All boxes of full width at once.
            whole = nx // _BOX_COLUMNS * _BOX_COLUMNS
            boxes = strip[:, :, :whole].reshape(n * strip.shape[1], -1, _BOX_COLUMNS)
            medians = np.median(boxes.swapaxes(0, 1).reshape(boxes.shape[1], -1), axis=1)
            light[y : y + _BOX_ROWS, :whole] = np.repeat(medians, _BOX_COLUMNS)
        for x in range(whole, nx, _BOX_COLUMNS):
            box = frames[:, y : y + _BOX_ROWS, x : x + _BOX_COLUMNS]
            finite = box[np.isfinite(box)]
            light[y : y + _BOX_ROWS, x : x + _BOX_COLUMNS] = (
                np.median(finite) if finite.size else np.nan
            )
    return light


def expected_light(noise, rows, sample):
    """Return the light of pixels, estimated from their surroundings in a sample of the members.

    Parameters
    ----------
    noise : NoiseModel
    rows, sample
        Results of `sample_members`.

    Returns
    -------
    ExpectedLight
    """
    grids = []
    for amplifier in noise.amplifiers:
        y0, y1, x0, x1 = amplifier.region
        inside = np.flatnonzero((rows >= y0) & (rows < y1))
        if inside.size:
            frames = sample[:, inside, x0:x1]
            grids.append(LightGrid(amplifier.region, *_grid_of(rows[inside] - y0, frames)))
    return ExpectedLight(tuple(grids), noise.shape[1])


def _grid_of(rows, frames):
    """Return the middles of boxes of sampled rows and of columns, and their light.

    Parameters
    ----------
    rows : numpy.ndarray of int
        Shape ``(k,)``.
    frames : numpy.ndarray
        Shape ``(n, k, nx)``.

    Returns
    -------
    rows, columns, light : numpy.ndarray
    """
    light = _box_medians(frames)[::_BOX_ROWS, ::_BOX_COLUMNS]
    middles = (
        _middles(rows, _BOX_ROWS),
        _middles(np.arange(frames.shape[2]), _BOX_COLUMNS),
    )
    light = light[: len(middles[0]), : len(middles[1])]
    finite = np.isfinite(light)
    return *middles, np.where(finite, light, np.median(light[finite]) if finite.any() else 0.0)


def _middles(places, length):
    """Return the mean places of boxes of some length; a last one below a quarter is left out."""
    count = max((len(places) + 3 * length // 4) // length, 1)
    return np.array([places[n * length : (n + 1) * length].mean() for n in range(count)])


def _noise_of_header(amplifier, *, are_equal):
    """Return the noise of an amplifier of which no pair tells; raise if it is not known."""
    if amplifier.read_noise is not None:
        return amplifier
    if are_equal:
        # Biases that are the same number everywhere: their noise is that of rounding.
        return replace(amplifier, read_noise=DIGITAL_NOISE)
    raise FrameError(
        f"the read noise of amplifier {amplifier.name} is neither known nor to be measured",
        keyword="read_noise",
        allowed="a number in the camera's profile or header, or two frames or more",
        remedy="give `read_noise` in the camera's profile",
    )


def _moments_of_pair(frames, levels, i, j):
    """Return the moments of a difference, its weights, and the mean light in units of a level."""
    difference = frames[i] - frames[j]
    moments = clipped_moments(difference)
    both = (frames[i] + frames[j])[np.isfinite(difference)] / 2
    light = float(np.median(both)) if both.size else 0.0
    return moments, light, levels[i], levels[j]


def _predicted_variance(amplifier, light, *levels):
    """Return the variance of the difference of two members."""
    light = np.maximum(light, 0.0)
    return sum((amplifier.fixed + amplifier.slope * light * L) / L**2 for L in levels)


def _amplifier_without_gaps(amplifier, pairs, *, light):
    """Fill in an unknown read noise or gain."""
    bright = np.mean([c * (a + b) / 2 for _, c, a, b in pairs]) > _LEAST_LIGHT
    if amplifier.gain is None and light and bright:
        # Photon transfer: variance = fixed + light / gain, in units of the levels.
        start = replace(amplifier, read_noise=amplifier.read_noise or 0.0)
        excess = np.mean([p.sigma**2 - _predicted_variance(start, c, a, b) for p, c, a, b in pairs])
        weight = np.mean([max(c, 0.0) * (1 / a + 1 / b) for _, c, a, b in pairs])
        dark = np.mean([start.fixed * (1 / a**2 + 1 / b**2) for *_, a, b in pairs])
        if weight > 0 and excess > dark:
            amplifier = replace(amplifier, gain=float(weight / excess))
    if amplifier.read_noise is None:
        start = replace(amplifier, read_noise=0.0)
        excess = np.mean([p.sigma**2 - _predicted_variance(start, c, a, b) for p, c, a, b in pairs])
        weight = np.mean([1 / a**2 + 1 / b**2 for *_, a, b in pairs])
        variance = float(excess / weight) + DIGITAL_NOISE**2
        amplifier = replace(amplifier, read_noise=float(np.sqrt(max(variance, 0.0))))
    return amplifier
