"""The effect of each master on a frame: noise and structure with the master, and without it.

A sample of rows of the reduced frame is calibrated with all masters and again without each. The
photons of the frame are the same both times, so that the difference is known much better than
either value.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ccdflow.calibrate.sky_level import COLUMN_LAG
from ccdflow.files.fits_products.multi_image_products import read_rows
from ccdflow.maskbits import UNLIT
from ccdflow.robust import MAD_TO_SIGMA, MEDIAN_VARIANCE, median

# Pairs of neighbouring rows of the sample.
_ROW_PAIRS = 16
# A box is this many pixels along a row; structure is the difference of medians of boxes.
_BOX_PIXELS = 32
# Differences beyond this many sigma are stars, hot pixels or cosmic rays. With a larger limit they
# count as noise, and hide the effect of a master; with a smaller one the noise itself is cut.
_STAR_SIGMA = 4.0
# A bias cancels with its dark if less than this part of it stays in. With a larger part a bias that
# matters would have no effect in the table; with a smaller one rounding of the factors is shown.
_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Effect:
    """A frame with a master against the same frame without it; variances in the frame's unit^2.

    Attributes
    ----------
    noise : float
        Variance of a pixel, in the frame's unit^2, without that of stars and hot pixels.
    noise_without : float
        The same without the master. Without a flat: at the flat's own smooth level, so that
        vignetting does not count as noise.
    structure, structure_without : float
        Variance from one box of 2 x 32 pixels to another, in the frame's unit^2.
    noise_error, structure_error : float
        Standard errors of the master's changes of noise and of structure, in the frame's unit^2.
    """

    noise: float
    noise_without: float
    structure: float
    structure_without: float
    noise_error: float
    structure_error: float


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


def effects_of(pairs, amplifiers, masters, *, index=0, factor=None):
    """Return the effect of each master on an image of a reduced frame.

    Parameters
    ----------
    pairs : RowPairs
        Pairs of rows of the image.
    amplifiers : sequence of ccdflow.frame.readout.Readout
    masters : ccdflow.calibrate.applied_masters.FrameMasters
    index : int
        Index of the masters' image.
    factor : callable, optional
        Takes an amplifier and returns one unit of the frame in the unit of the product.

    Returns
    -------
    dict of str to Effect
        By kind of master.
    """
    rows = pairs.rows
    images = {
        use.master.kind: (_rows_of_master(use.master.images[index], rows), use.scale)
        for use in masters.uses
    }
    shares = {"bias": masters.bias_share}
    factors = np.ones(pairs.values.shape, np.float32)
    for amplifier in amplifiers if factor is not None else ():
        region = amplifier.region
        is_inside = (rows >= region.y0) & (rows < region.y1)
        factors[is_inside, region.x0 : region.x1] = factor(amplifier)
    return effects_of_masters(pairs.values.astype(np.float32) * factors, images, factors, shares)


def _rows_of_master(image, rows):
    """Return some rows of a `MasterImage`: pixels without light have no response to divide by."""
    pixels = image.data[rows]
    flags = np.zeros((1, pixels.shape[1]), np.int16)
    for line, row in zip(pixels, rows, strict=True):
        flags[:] = 0
        image.flags.put(int(row), flags)
        line[flags[0] & UNLIT != 0] = np.nan
    return pixels


def effects_of_masters(frame, masters, factors=1.0, shares=None):
    """Return the effect of each master on pairs of rows of a frame.

    Parameters
    ----------
    frame : numpy.ndarray of shape (2 k, nx), float32
        Pairs of rows that are neighbours.
    masters : dict of str to (numpy.ndarray of shape (2 k, nx), float32, float)
        By kind, for each master of the frame: the same rows, and its factor.
    factors : numpy.ndarray of shape (2 k, nx), float32, or float
        Factors that bring bias and dark to the unit of the frame.
    shares : dict of str to float, optional
        The part of a master that stays in a frame without it, where that is not all of it: 0 for a
        bias that cancels with its dark.

    Returns
    -------
    dict of str to Effect
    """
    shares = shares or {}
    offsets = {
        kind: image * factors * scale for kind, (image, scale) in masters.items() if kind != "flat"
    }
    flat = masters["flat"][0] if "flat" in masters else None
    light = frame - sum(offsets.values()) if offsets else frame
    with np.errstate(invalid="ignore", divide="ignore"):
        with_all = _EffectSample(light if flat is None else light / flat)
        samples_without = {}
        for kind in masters:
            share = shares.get(kind, 1.0)
            if kind == "flat":
                samples_without[kind] = _EffectSample(light, light / _smoothed_flat(flat))
            elif abs(share) > _LEAST_SHARE:
                light_without = light + share * offsets[kind]
                light_without = light_without if flat is None else light_without / flat
                samples_without[kind] = _EffectSample(light_without)
        return {kind: _effect_of_master(with_all, each) for kind, each in samples_without.items()}


class _EffectSample:
    """Squares of differences in some rows, and of boxes about their median.

    Parameters
    ----------
    values : numpy.ndarray of shape (ny, nx), float32
        Boxes are taken from them.
    smooth_values : numpy.ndarray of shape (ny, nx), float32, optional
        The differences of neighbours are taken from these; default: from `values`.

    Attributes
    ----------
    steps : numpy.ndarray of shape (n,), float32
        Half the squares of differences of pixels in neighbouring rows.
    boxes : numpy.ndarray of shape (k,), float64
        Squares of the medians of boxes minus their median.
    size : int
        Pixels of a box.
    """

    def __init__(self, values, smooth_values=None):
        self.steps = _pair_variances(values if smooth_values is None else smooth_values)
        boxes = _box_medians(values).ravel().astype(np.float64)
        self.boxes = (boxes - median(boxes[np.isfinite(boxes)])) ** 2
        self.size = 2 * min(_BOX_PIXELS, values.shape[1])


def _effect_of_master(with_master, without_master):
    """Return the `Effect` of a master, from statistics with it and without it."""
    # In the noise a hot pixel is left out with and without the master. In the structure a glow that
    # the master takes away is kept: it is no outlier with the master.
    noise, noise_without, noise_error = _difference_of_squares(
        with_master.steps, without_master.steps, np.logical_and
    )
    structure, structure_without, structure_error = _difference_of_squares(
        with_master.boxes, without_master.boxes, np.logical_or
    )
    # The median of n values is as noisy as pi / (2 n) of one.
    box_noise = MEDIAN_VARIANCE / with_master.size
    return Effect(
        noise=noise,
        noise_without=noise_without,
        structure=max(0.0, structure - box_noise * noise),
        structure_without=max(0.0, structure_without - box_noise * noise_without),
        noise_error=noise_error,
        structure_error=structure_error,
    )


def _difference_of_squares(with_master, without_master, combine):
    """Return the means of the squares with and without a master, and the error of their difference.

    Parameters
    ----------
    with_master, without_master : numpy.ndarray of shape (n,), float32 or float64
        The squares.
    combine : callable
        Combines the masks of values that are no outliers in either.
    """
    usable = np.isfinite(with_master) & np.isfinite(without_master)
    with_master, without_master = with_master[usable], without_master[usable]
    is_kept = combine(
        with_master <= _noise_limit(with_master), without_master <= _noise_limit(without_master)
    )
    if not is_kept.any():
        return (float("nan"),) * 3
    with_master, without_master = with_master[is_kept], without_master[is_kept]
    change = with_master - without_master
    error = float(change.std() / len(change) ** 0.5)
    return float(with_master.mean()), float(without_master.mean()), error


def _pair_variances(values):
    """Return half the squared difference of each pixel from one some columns on, a row above."""
    # In two rows: they share neither the noise of a row's level nor that of neighbouring columns.
    steps = (values[1::2, COLUMN_LAG:] - values[::2, :-COLUMN_LAG]).ravel()
    return steps * steps / 2


def _noise_limit(squares):
    """Return the square of a difference beyond which it is not noise."""
    if not squares.size:
        return 0.0
    return (_STAR_SIGMA * MAD_TO_SIGMA) ** 2 * float(
        np.sort(squares.astype(np.float32))[len(squares) // 2]
    )


def _box_medians(values):
    """Return the medians of boxes of two rows: (k, number of boxes)."""
    pairs, nx = len(values) // 2, values.shape[1]
    width = min(_BOX_PIXELS, nx)
    count = nx // width
    blocks = values[: 2 * pairs, : count * width].reshape(pairs, 2, count, width)
    # Sorting short rows is ten times as fast as numpy's median.
    sorted_boxes = np.sort(blocks.transpose(0, 2, 1, 3).reshape(pairs, count, 2 * width), axis=-1)
    return (sorted_boxes[..., width - 1] + sorted_boxes[..., width]) / 2


def _smoothed_flat(flat):
    """Return a flat with the median of its box in each pixel."""
    boxes = _box_medians(flat)
    width = min(_BOX_PIXELS, flat.shape[1])
    smooth_flat = np.repeat(boxes, width, axis=1)
    missing_columns = flat.shape[1] - smooth_flat.shape[1]
    return np.repeat(np.pad(smooth_flat, ((0, 0), (0, missing_columns)), mode="edge"), 2, axis=0)
