"""The effect of each master on a frame: noise and structure with the master, and without it.

A sample of rows of the reduced frame is calibrated with all masters, and once more without each
master. The frame has the same photons in both cases, so that the difference is known much better
than either value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccdflow.calibrate.sky_level import COLUMN_LAG
from ccdflow.files.fits_products.multi_image_products import read_rows
from ccdflow.mask_bits import UNLIT
from ccdflow.robust import MAD_TO_SIGMA, MEDIAN_VARIANCE, median

# Number of pairs of neighbouring rows in the sample: with 2000 columns they give the variance of
# the noise to 1 %.
_ROW_PAIRS = 16
# A box is this many pixels along a row; structure is the difference of medians of boxes. The median
# of a box of two rows has a sixth of a pixel's noise.
_BOX_PIXELS = 32
# Differences beyond this many sigma are stars, hot pixels or cosmic rays. With a larger limit stars
# count as noise, and hide the effect of a master; with a smaller one the noise itself is cut.
_OUTLIER_SIGMA = 4.0
# A bias cancels with its dark if at most this fraction of the bias remains. With a larger
# fraction a bias that matters would have no effect in the table; with a smaller one the rounding of
# the factors would have one.
_LEAST_FRACTION = 0.01


@dataclass(frozen=True)
class Effect:
    """The variances of a frame that is calibrated with a master and without it, in its unit^2.

    Attributes
    ----------
    noise_variance, noise_variance_without : float
        Variance of a pixel with the master and without it; stars and hot pixels do not count.
        Without a flat, the frame is divided by the smoothed flat, so that vignetting is no noise.
    structure_variance, structure_variance_without : float
        Variance from one box of two rows to another, with the master and without it.
    noise_variance_error, structure_variance_error : float
        Standard errors of the changes of the two variances by the master.
    """

    noise_variance: float
    noise_variance_without: float
    structure_variance: float
    structure_variance_without: float
    noise_variance_error: float
    structure_variance_error: float


@dataclass(frozen=True)
class RowPairs:
    """Pairs of neighbouring rows of an image of a reduced frame.

    Attributes
    ----------
    rows : numpy.ndarray of shape (2 k,), int
        The numbers of the rows.
    values : numpy.ndarray of shape (2 k, nx), of the type of the file
        Their pixels, adu.
    """

    rows: np.ndarray
    values: np.ndarray


def read_row_pairs(path, hdu, *, name):
    """Read pairs of rows, evenly spaced over an image of a reduced frame.

    Parameters
    ----------
    path : path-like
        The reduced frame.
    hdu : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The HDU of the image.
    name : str
        Name of the frame, for errors.

    Returns
    -------
    RowPairs or None
        None for an image too small to show the effect of a master.
    """
    ny, nx = hdu.shape
    if ny < 2 or nx <= COLUMN_LAG:
        return None
    first = np.unique(np.linspace(0, ny - 2, min(ny // 2, _ROW_PAIRS)).round().astype(int))
    rows = np.stack([first, first + 1], axis=1).ravel()
    stored = np.empty((len(rows), nx), hdu.dtype)
    with Path(path).open("rb", buffering=0) as file:
        for number, row in enumerate(first):
            part = stored[2 * number : 2 * number + 2]
            read_rows(file.fileno(), hdu, row, part, name=name)
    return RowPairs(rows, stored)


def effects_on_image(pairs, amplifiers, masters, *, index=0, factor=None):
    """Return the effect of each master on an image of a reduced frame.

    Parameters
    ----------
    pairs : RowPairs
        Pairs of rows of the image.
    amplifiers : sequence of ccdflow.frame.readout.Readout
    masters : ccdflow.calibrate.applied_masters.FrameMasters
    index : int, optional
        Index of the image, in each master.
    factor : callable, optional
        Takes an amplifier; returns one unit of the frame in the unit of the product. Default: 1.

    Returns
    -------
    dict of str to Effect
        By kind of master. A bias that nearly cancels with that of the dark (net factor up to
        `_LEAST_FRACTION`) has no entry.
    """
    rows = pairs.rows
    images = {
        applied.master.kind: (_rows_of_master(applied.master.images[index], rows), applied.scale)
        for applied in masters.applied_masters
    }
    net_factors = {"bias": masters.bias_factor}
    factors = np.ones(pairs.values.shape, np.float32)
    for amplifier in amplifiers if factor is not None else ():
        region = amplifier.region
        is_inside = (rows >= region.y0) & (rows < region.y1)
        factors[is_inside, region.x0 : region.x1] = factor(amplifier)
    frame = pairs.values.astype(np.float32) * factors
    return effects_on_rows(frame, images, factors, net_factors)


def _rows_of_master(image, rows):
    """Return some rows of a `MasterImage`; unlit pixels, which have no response, are NaN."""
    pixels = image.data[rows]
    flags = np.zeros((1, pixels.shape[1]), np.int16)
    for line, row in zip(pixels, rows, strict=True):
        flags[:] = 0
        image.flags.put(int(row), flags)
        line[flags[0] & UNLIT != 0] = np.nan
    return pixels


def effects_on_rows(frame, masters, factors=1.0, net_factors=None):
    """Return the effect of each master on pairs of rows of a frame.

    Parameters
    ----------
    frame : numpy.ndarray of shape (2 k, nx), float32
        Pairs of neighbouring rows.
    masters : dict of str to (numpy.ndarray of shape (2 k, nx), float32, float)
        By kind, for each master of the frame: the same rows, and the factor on the master.
    factors : numpy.ndarray of shape (2 k, nx), float32, or float, optional
        Factors that convert bias and dark to the unit of the frame.
    net_factors : dict of str to float, optional
        By kind, the fraction of a master that remains in a frame calibrated without this master;
        default: 1. It is 0 for a bias that cancels with its dark.

    Returns
    -------
    dict of str to Effect
        By kind of master; without those whose net factor is at most `_LEAST_FRACTION`.
    """
    net_factors = net_factors or {}
    offsets = {
        kind: image * factors * scale for kind, (image, scale) in masters.items() if kind != "flat"
    }
    flat = masters["flat"][0] if "flat" in masters else None
    light = frame - sum(offsets.values()) if offsets else frame
    with np.errstate(invalid="ignore", divide="ignore"):
        sample_with_all = _EffectSample(light if flat is None else light / flat)
        samples_without = {}
        for kind in masters:
            net_factor = net_factors.get(kind, 1.0)
            if kind == "flat":
                samples_without[kind] = _EffectSample(light, light / _smoothed_flat(flat))
            elif abs(net_factor) > _LEAST_FRACTION:
                light_without = light + net_factor * offsets[kind]
                light_without = light_without if flat is None else light_without / flat
                samples_without[kind] = _EffectSample(light_without)
        return {
            kind: _effect_of_master(sample_with_all, each) for kind, each in samples_without.items()
        }


class _EffectSample:
    """The squares of pixels and boxes in some rows, from which their variances follow.

    Parameters
    ----------
    values : numpy.ndarray of shape (ny, nx), float32
        Pixels that give the boxes.
    smooth_values : numpy.ndarray of shape (ny, nx), float32, optional
        Pixels that give the differences; default: `values`.

    Attributes
    ----------
    pair_variances : numpy.ndarray of shape (n,), float32
        Half the squared difference of each pair of pixels in neighbouring rows.
    box_squares : numpy.ndarray of shape (k,), float64
        Squares of the medians of boxes minus the median of all boxes.
    box_pixels : int
        Number of pixels of a box.
    """

    def __init__(self, values, smooth_values=None):
        self.pair_variances = _pair_variances(values if smooth_values is None else smooth_values)
        boxes = _medians_of_row_pairs(values).ravel().astype(np.float64)
        self.box_squares = (boxes - median(boxes[np.isfinite(boxes)])) ** 2
        self.box_pixels = 2 * min(_BOX_PIXELS, values.shape[1])


def _effect_of_master(sample_with_master, sample_without_master):
    """Return the `Effect` of a master, from an `_EffectSample` with it and one without it."""
    # A pair counts in the noise if it is no outlier with the master and none without it: a hot
    # pixel that the master subtracts does not count. A box counts in the structure if it is no
    # outlier in one of the two: a glow that the master subtracts counts.
    noise, noise_without, noise_error = _mean_squares(
        sample_with_master.pair_variances, sample_without_master.pair_variances, np.logical_and
    )
    structure, structure_without, structure_error = _mean_squares(
        sample_with_master.box_squares, sample_without_master.box_squares, np.logical_or
    )
    # The variance of the median of n values is pi / (2 n) times that of one value.
    box_factor = MEDIAN_VARIANCE / sample_with_master.box_pixels
    return Effect(
        noise_variance=noise,
        noise_variance_without=noise_without,
        structure_variance=max(0.0, structure - box_factor * noise),
        structure_variance_without=max(0.0, structure_without - box_factor * noise_without),
        noise_variance_error=noise_error,
        structure_variance_error=structure_error,
    )


def _mean_squares(squares_with_master, squares_without_master, combine):
    """Return the means of squares with a master and without it, and the error of their difference.

    The three are NaN if no square counts.

    Parameters
    ----------
    squares_with_master, squares_without_master : numpy.ndarray of shape (n,), float32 or float64
        Squares of the same pixels or boxes.
    combine : callable
        Combines the masks of the values that are no outliers with the master and without it.
    """
    is_finite = np.isfinite(squares_with_master) & np.isfinite(squares_without_master)
    squares_with_master, squares_without_master = (
        squares_with_master[is_finite],
        squares_without_master[is_finite],
    )
    is_kept = combine(
        squares_with_master <= _noise_limit(squares_with_master),
        squares_without_master <= _noise_limit(squares_without_master),
    )
    if not is_kept.any():
        return (float("nan"),) * 3
    squares_with_master, squares_without_master = (
        squares_with_master[is_kept],
        squares_without_master[is_kept],
    )
    change = squares_with_master - squares_without_master
    error = float(change.std() / len(change) ** 0.5)
    return float(squares_with_master.mean()), float(squares_without_master.mean()), error


def _pair_variances(values):
    """Return half the squared difference of each pixel from another one in the next row."""
    # Pixels of two rows and of distant columns share neither the noise of a row's level nor the
    # read noise of neighbours.
    differences = (values[1::2, COLUMN_LAG:] - values[::2, :-COLUMN_LAG]).ravel()
    return differences * differences / 2


def _noise_limit(squares):
    """Return the square beyond which a difference is not noise."""
    if not squares.size:
        return 0.0
    return (_OUTLIER_SIGMA * MAD_TO_SIGMA) ** 2 * float(
        np.sort(squares.astype(np.float32))[len(squares) // 2]
    )


def _medians_of_row_pairs(values):
    """Return the medians of boxes of two rows, (pairs of rows, boxes along a row)."""
    n_pairs, nx = len(values) // 2, values.shape[1]
    width = min(_BOX_PIXELS, nx)
    count = nx // width
    blocks = values[: 2 * n_pairs, : count * width].reshape(n_pairs, 2, count, width)
    # Sorting short rows is ten times as fast as numpy's median.
    sorted_boxes = np.sort(blocks.transpose(0, 2, 1, 3).reshape(n_pairs, count, 2 * width), axis=-1)
    return (sorted_boxes[..., width - 1] + sorted_boxes[..., width]) / 2


def _smoothed_flat(flat):
    """Return a flat in which each pixel has the median of its box."""
    boxes = _medians_of_row_pairs(flat)
    width = min(_BOX_PIXELS, flat.shape[1])
    smooth_flat = np.repeat(boxes, width, axis=1)
    missing_columns = flat.shape[1] - smooth_flat.shape[1]
    return np.repeat(np.pad(smooth_flat, ((0, 0), (0, missing_columns)), mode="edge"), 2, axis=0)
