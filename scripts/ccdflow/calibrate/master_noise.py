"""The noise of combined biases, darks and flats, and the noise-free signal of a dark.

The standard error of a few values is itself uncertain by half and more. The variance of a master is
therefore predicted from gain and read noise, and the prediction is scaled to the measured errors.
"""

from __future__ import annotations

import numpy as np

from ccdflow.calibrate.applied_masters import BIAS, DARK, FLAT
from ccdflow.calibrate.signal import MOST_BELOW_ZERO, Background, tiles_of

# A measured variance replaces the predicted one if it is more than this many sigma above: chance
# exceeds this limit once in a million.
_MEASURED_SIGMA = 4.75
# A pixel more than this many sigma off its surroundings is its own estimate of the dark signal.
# With a smaller limit noise counts as signal; with a larger one hot pixels get the noise of cool
# ones.
_OWN_SIGNAL_SIGMA = 4.0
# Side of the tiles that give the surroundings of a dark's pixel, pixels: a glow is steeper than a
# sky, and there are no stars in a dark.
_DARK_TILE_SIDE = 24
# Pixels of a strip of rows: as float32 they fit into the processor's cache.
_STRIP_PIXELS = 1 << 16
# The ratio of measured to predicted variances is from this many rows of an amplifier, or up to
# twice as many: with 2000 columns and three members it is known to 0.4 %.
_SCALE_ROWS = 128
# Predicted variances are scaled by at least this factor, so that no variance becomes 0.
_LEAST_SCALE = 1e-3
# Adu. The level of a flat whose header lacks it: about half of 16 bits.
_DEFAULT_FLAT_LEVEL = 30_000.0

# A pixel of a dark more than this many standard deviations below 0 is a hole, whose signal is 0.
# With a smaller limit the noise of good pixels is cut at one side; with a larger one holes lower
# the variance.
_HOLE_SIGMA = 4.0


def variance_of(image, master, readouts):
    """Return the variances of a master's pixels: predicted ones, corrected by measured ones.

    Parameters
    ----------
    image : ccdflow.calibrate.combined_master.MasterImage
    master : ccdflow.calibrate.combined_master.Master
        The master that the image is of.
    readouts : tuple of ccdflow.frame.readout.Readout
        Readouts of the amplifiers of the image.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
        Adu^2; of a flat, relative to its value squared.
    """
    if image.error is None:
        variances = np.empty(image.data.shape, np.float32)
        for rows in _row_slices(variances):
            variances[rows] = predicted_variance(image, master, readouts, rows)
        return variances
    error = image.error()
    scales, limit = dict.fromkeys(readouts, 1.0), 0.0
    if image.is_error_measured:
        scales = {each: _scale_of_amplifier(image, master, each, error) for each in readouts}
        limit = _chi_square_quantile(_degrees_of_freedom(master), _MEASURED_SIGMA)
    # The variances overwrite the errors, strip by strip.
    variances = error
    for rows in _row_slices(variances):
        predicted_variances = predicted_variance(image, master, readouts, rows)
        for readout in readouts:
            if scales[readout] != 1.0:
                predicted_variances[_slices_within(readout, rows)] *= np.float32(scales[readout])
        measured_variances = _measured_variance(image, master, error[rows], rows)
        with np.errstate(invalid="ignore"):
            is_measured = measured_variances > np.float32(limit) * predicted_variances
        is_measured &= np.isfinite(measured_variances)
        variances[rows] = np.where(is_measured, measured_variances, predicted_variances)
    return variances


def _row_slices(image):
    """Yield slices of rows that fit in the processor's cache."""
    step = max(1, _STRIP_PIXELS // image.shape[1])
    for first in range(0, image.shape[0], step):
        yield slice(first, min(first + step, image.shape[0]))


def _slices_within(readout, rows):
    """Return the slices of an amplifier in some rows, counted from the first of them."""
    region = readout.region
    low, high = max(region.y0, rows.start), max(min(region.y1, rows.stop), rows.start)
    return slice(low - rows.start, high - rows.start), slice(region.x0, region.x1)


def _measured_variance(image, master, errors, rows):
    """Return the squares of standard errors of some rows; of a flat, relative to its squares.

    Parameters
    ----------
    image : ccdflow.calibrate.combined_master.MasterImage
    master : ccdflow.calibrate.combined_master.Master
    errors : numpy.ndarray of shape (k, nx), float32
        Standard errors of these rows.
    rows : slice
    """
    variances = np.square(errors, dtype=np.float32)
    if master.kind == FLAT:
        variances /= np.square(image.data[rows])
    return variances


def _degrees_of_freedom(master):
    """Return the degrees of freedom of a measured variance: members minus one, at least 1."""
    return max((master.frames or 2) - 1, 1)


def _scale_of_amplifier(image, master, readout, error):
    """Return the ratio of measured to predicted variances of an amplifier.

    Parameters
    ----------
    image : ccdflow.calibrate.combined_master.MasterImage
    master : ccdflow.calibrate.combined_master.Master
    readout : ccdflow.frame.readout.Readout
    error : numpy.ndarray of shape (ny, nx), float32
        Standard errors of the image.
    """
    region = readout.region
    step = max(1, (region.y1 - region.y0) // _SCALE_ROWS)
    ratios = []
    for row in range(region.y0, region.y1, step):
        rows = slice(row, row + 1)
        measured_variances = _measured_variance(image, master, error[rows], rows)
        ratio = measured_variances / predicted_variance(image, master, (readout,), rows)
        ratios.append(ratio[:, region.x0 : region.x1].ravel())
    ratios = np.concatenate(ratios)
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    if not ratios.size:
        return 1.0
    expected_ratio = _chi_square_quantile(_degrees_of_freedom(master), 0.0)
    return max(float(np.median(ratios)) / expected_ratio, _LEAST_SCALE)


def _chi_square_quantile(freedom, sigma):
    """Return a quantile of chi^2 over its degrees of freedom, by Wilson and Hilferty's formula.

    The quantile is that of a normal deviate ``sigma`` standard deviations above the median.
    """
    term = 2 / (9 * freedom)
    return max(1 - term + sigma * term**0.5, 0.0) ** 3


def predicted_variance(image, master, readouts, rows):
    """Return the variance of a master's pixels, predicted from gain and read noise.

    Parameters
    ----------
    image : ccdflow.calibrate.combined_master.MasterImage
        Image of the master.
    master : ccdflow.calibrate.combined_master.Master
        Its kind, level and number of members are used.
    readouts : tuple of ccdflow.frame.readout.Readout
        Readout of each amplifier in the image.
    rows : slice
        Rows of the image.

    Returns
    -------
    numpy.ndarray of shape (k, nx), float32
        Adu^2; of a flat, relative to its value squared; 1 outside all amplifiers.
    """
    frames = max(master.frames or 1, 1)
    variances = np.ones(image.data[rows].shape, np.float32)
    for readout in readouts:
        pixels = _slices_within(readout, rows)
        frame_variance = readout.read_noise**2 + readout.rounding_variance + readout.level_variance
        if master.kind == BIAS:
            variances[pixels] = frame_variance / frames
            continue
        data = image.data[rows][pixels]
        if master.kind == DARK:
            # Negative values count: noise makes as many negative as positive ones. The variance
            # stays at least half of that without charge. A value far below 0 is no noise but a
            # hole, and counts as 0.
            light = np.maximum(data, np.float32(-frame_variance * readout.photon_gain / 2))
            light[data < np.float32(-_HOLE_SIGMA * (frame_variance / frames) ** 0.5)] = 0
            variance_per_light = np.float32(1 / (readout.photon_gain * frames))
            photon_variance = np.multiply(light, variance_per_light, out=light)
            variances[pixels] = photon_variance + np.float32(frame_variance / frames)
            continue
        # Where the default level is wrong, the measured errors correct the variance.
        level = master.level or _DEFAULT_FLAT_LEVEL
        light = np.maximum(data * np.float32(level), np.float32(1.0))
        variance = light * np.float32(1 / readout.photon_gain) + np.float32(frame_variance)
        squared_light = np.multiply(light, light, out=light)
        relative_variance = np.divide(variance, squared_light, out=variance)
        variances[pixels] = relative_variance * np.float32(1 / frames)
    return variances


def signal_of(image, master, readouts):
    """Return the expected signal of a dark's pixels: that of the surroundings, or a pixel's own.

    A pixel's own value counts if it differs significantly from its surroundings. Signals below 0
    are limited and not cut off: without them the mean signal of a dark without charge would be
    above 0.

    Parameters
    ----------
    image : ccdflow.calibrate.combined_master.MasterImage
    master : ccdflow.calibrate.combined_master.Master
        The master that the image is of.
    readouts : tuple of ccdflow.frame.readout.Readout
        Readouts of the amplifiers of the image.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), float32
        Adu; 0 outside all amplifiers.
    """
    data, variance = image.data, image.variance(master, readouts)
    signal = np.zeros_like(data)
    for readout in readouts:
        slices = readout.region.slices
        target, values, variances = signal[slices], data[slices], variance[slices]
        # In a dark that holds its bias, only the excess over the median is known to be dark
        # current.
        level = 0.0 if master.bias_key else float(np.median(values[::4]))
        tiles = tiles_of(values.shape[0], _DARK_TILE_SIDE)
        background = Background(tiles, values[tiles.all_rows] - np.float32(level), _DARK_TILE_SIDE)
        for rows in _row_slices(values):
            block = values[rows] - np.float32(level)
            surroundings = np.empty(block.shape, np.float32)
            background.write_rows(rows, surroundings)
            is_own = (
                np.square(block - surroundings) > np.float32(_OWN_SIGNAL_SIGMA**2) * variances[rows]
            )
            noise = np.sqrt(variances[rows])
            lowest = np.multiply(noise, np.float32(-MOST_BELOW_ZERO), out=noise)
            target[rows] = np.maximum(np.where(is_own, block, surroundings), lowest)
    return signal
