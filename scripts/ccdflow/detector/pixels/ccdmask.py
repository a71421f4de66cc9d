"""The mask that `ccdproc.ccdmask` returns, in less than a twentieth of its time.

`ccdmask` compares each pixel minus the median of a box about it with percentiles of another box.
scipy sorts each box for both. Here the medians are those of `medians`. Counting shows that most
pixels are good. If enough pixels of a box are above one value, and enough are below another, its
percentiles are at least as far apart as these values. Only the boxes of the other pixels are
sorted.
"""

from __future__ import annotations

import numpy as np

from ccdflow.detector.pixels.medians import MOST_BOX_PIXELS, box_median, pad_image
from ccdflow.errors import UserError

HIGH_PERCENTILE, LOW_PERCENTILE = 69.1, 30.9
"""Percentiles of a box that ccdmask takes for its median plus and minus a standard deviation."""

# Pixels on a side of the tiles in which values are counted. With larger tiles the quantiles of a
# tile are less those of its boxes, and more boxes are sorted; with smaller ones there are more
# calls of numpy, which take time. Chosen, not measured.
_TILE_SIDE = 256
# Quantiles of a tile, as fractions, that boxes are compared with, one after the other. With a
# quantile near `HIGH_PERCENTILE` few boxes have enough values above it.
_QUANTILES = (0.64, 0.59, 0.54)
# Boxes that are sorted at once. With more, their pixels leave the processor's cache; with fewer,
# there are more calls of numpy, which take time. Chosen, not measured.
_BOXES_AT_ONCE = 1 << 12
# Types that this module masks without scipy's filters.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def ccdmask(
    ratio,
    *,
    findbadcolumns=False,
    byblocks=False,
    ncmed=7,
    nlmed=7,
    ncsig=15,
    nlsig=15,
    lsigma=9,
    hsigma=9,
    ngood=5,
):
    """Return the mask that `ccdproc.ccdmask` returns.

    The defaults are those of `ccdproc.ccdmask`.

    Parameters
    ----------
    ratio : numpy.ndarray of shape (ny, nx), float32 or float64
        The ratio of two flats. Other types take as long as in ccdmask.
    findbadcolumns, byblocks, ncmed, nlmed, ncsig, nlsig, lsigma, hsigma, ngood
        As of `ccdproc.ccdmask`.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
        True where a pixel is bad.

    Raises
    ------
    UserError
        If the ratio is not two-dimensional.
    """
    ratio = np.asarray(ratio)
    if ratio.ndim != 2:
        raise UserError(
            "ccdmask needs an image",
            keyword="ratio",
            value=ratio.shape,
            allowed="(ny, nx)",
            remedy="give the ratio of two flats as one image",
        )
    ratio = ratio.astype(ratio.dtype.newbyteorder("="), copy=False)
    limits = lsigma, hsigma
    with np.errstate(invalid="ignore", over="ignore"):
        mask = ~np.isfinite(ratio)
        deviations = ratio - _moving_medians(ratio, (nlmed, ncmed))
        if byblocks:
            mask = _outliers_by_blocks(
                deviations, (nlsig, ncsig), limits, adds_columns=findbadcolumns
            )
        else:
            mask |= _outliers_by_boxes(deviations, (nlsig, ncsig), limits)
    if findbadcolumns:
        _close_gaps(mask, ngood)
    return mask


def _is_bad(values, sigma, limits):
    """Return the mask of values beyond one of two limits, in units of sigma."""
    return (values < -limits[0] * sigma) | (values > limits[1] * sigma)


# -- the median ------------------------------------------------------------------------------------


def _moving_medians(image, size):
    """Return the median of the box about each pixel, as `scipy.ndimage.median_filter` does."""
    from scipy import ndimage

    if image.dtype not in _FLOATS or not 2 < size[0] * size[1] <= MOST_BOX_PIXELS:
        return ndimage.median_filter(image, size=size)
    medians = box_median(image, size)
    _put_results_near_nan(image, medians, size, lambda part: ndimage.median_filter(part, size=size))
    return medians


def _put_results_near_nan(image, results, size, function):
    """Replace the results of boxes with NaN by those of scipy, in place.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
    results : numpy.ndarray of shape (ny, nx), float32, float64 or bool
        Changed in place.
    size : (int, int)
        Rows and columns of the box.
    function : callable
        The filter of scipy.
    """
    from scipy import ndimage

    is_nan = np.isnan(image)
    if not is_nan.any():
        return
    is_near = ndimage.maximum_filter(is_nan, size=[n + 1 - n % 2 for n in size])
    wide_image = pad_image(image, size)
    for reach in ndimage.find_objects(ndimage.label(is_near, np.ones((3, 3)))[0]):
        wide_part = tuple(
            slice(part.start, part.stop + n - 1) for part, n in zip(reach, size, strict=True)
        )
        inner = tuple(
            slice(n // 2, n // 2 + part.stop - part.start)
            for part, n in zip(reach, size, strict=True)
        )
        results[reach] = function(wide_image[wide_part])[inner]


# -- the limits ------------------------------------------------------------------------------------


def _percentile_ranks(count):
    """Return the ranks of both percentiles among `count` values, rounded as by scipy's filters."""
    return tuple(int(float(count) * rank / 100.0) for rank in (LOW_PERCENTILE, HIGH_PERCENTILE))


def _outliers_by_boxes(deviations, size, limits):
    """Return the mask of pixels beyond the limits of the box about them."""
    from scipy import ndimage

    low, high = _percentile_ranks(size[0] * size[1])

    def outliers_by_scipy(part):
        """Return the mask of a part of the image by scipy's filters."""
        spread = [
            ndimage.percentile_filter(part, rank, size=size)
            for rank in (HIGH_PERCENTILE, LOW_PERCENTILE)
        ]
        return _is_bad(part, (spread[0] - spread[1]) / 2.0, limits)

    if deviations.dtype not in _FLOATS or low == 0 or min(limits) < 0:
        return outliers_by_scipy(deviations)
    is_bad = np.zeros(deviations.shape, bool)
    wide_image = pad_image(deviations, size)
    boxes = np.lib.stride_tricks.sliding_window_view(wide_image, size)
    for y in range(0, deviations.shape[0], _TILE_SIDE):
        for x in range(0, deviations.shape[1], _TILE_SIDE):
            part = slice(y, y + _TILE_SIDE), slice(x, x + _TILE_SIDE)
            values = deviations[part]
            wide_tile = wide_image[
                y : y + values.shape[0] + size[0] - 1, x : x + values.shape[1] + size[1] - 1
            ]
            pixels = np.nonzero(_doubtful_pixels(values, wide_tile, size, (low, high), limits))
            is_bad[part][pixels] = _outliers_by_sorting(
                values[pixels], boxes[part], pixels, (low, high), limits
            )
    _put_results_near_nan(deviations, is_bad, size, outliers_by_scipy)
    return is_bad


def _outliers_by_sorting(values, boxes, pixels, ranks, limits):
    """Return the mask of values beyond the limits of their boxes, which are sorted.

    Parameters
    ----------
    values : numpy.ndarray of shape (n,), float32 or float64
    boxes : numpy.ndarray of shape (ny, nx, height, width), float32 or float64
        The box around each pixel of a tile.
    pixels : tuple of numpy.ndarray of shape (n,), int64
        Rows and columns of the values in the tile.
    ranks : (int, int)
        Ranks of the lower and upper percentile among the sorted values of a box.
    limits : (float, float)
        In standard deviations, below and above.
    """
    is_bad = np.zeros(values.size, bool)
    for first in range(0, values.size, _BOXES_AT_ONCE):
        chunk = slice(first, first + _BOXES_AT_ONCE)
        box_values = boxes[pixels[0][chunk], pixels[1][chunk]].reshape(
            -1, boxes.shape[2] * boxes.shape[3]
        )
        box_values.partition(sorted(set(ranks)), axis=1)
        sigma = (box_values[:, ranks[1]] - box_values[:, ranks[0]]) / 2.0
        is_bad[chunk] = _is_bad(values[chunk], sigma, limits)
    return is_bad


def _doubtful_pixels(values, wide_tile, size, ranks, limits):
    """Return the mask of the pixels of a tile that may be beyond their limits, (ny, nx) bool.

    A percentile of a box is not below a value if as many values of the box as its rank demands are
    not below it. The two percentiles are therefore at least as far apart as the two quantiles of
    the tile. Rounding keeps the order.

    Parameters
    ----------
    values : numpy.ndarray of shape (ny, nx), float32 or float64
    wide_tile : numpy.ndarray of shape (ny + height - 1, nx + width - 1), float32 or float64
        The tile with a margin of half a box on each side.
    size : (int, int)
        Height and width of a box.
    ranks : (int, int)
        Ranks of the lower and upper percentile among the sorted values of a box.
    limits : (float, float)
        In standard deviations, below and above.
    """
    count, sample = size[0] * size[1], wide_tile[::3, ::3]
    sample = np.sort(sample[np.isfinite(sample)])
    is_doubtful = np.ones(values.shape, bool)
    for quantile in _QUANTILES:
        if not sample.size:
            break
        top, bottom = (
            sample[int(fraction * (sample.size - 1))] for fraction in (quantile, 1 - quantile)
        )
        is_clear = ~_is_bad(values, (top - bottom) / 2.0, limits)
        is_clear &= is_doubtful
        if not is_clear.any():
            continue
        is_clear &= _box_counts(wide_tile >= top, size) >= count - ranks[1]
        is_clear &= _box_counts(wide_tile <= bottom, size) >= ranks[0] + 1
        is_doubtful &= ~is_clear
    return is_doubtful


def _box_counts(is_counted, size):
    """Return the number of True pixels in each box."""
    counts = is_counted
    for axis, n in enumerate(size):
        sums = np.cumsum(counts, axis=axis, dtype=np.int32)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis=axis)
        length = sums.shape[axis] - n
        counts = sums.take(range(n, n + length), axis) - sums.take(range(length), axis)
    return counts


# -- blocks ----------------------------------------------------------------------------------------


def _outliers_by_blocks(deviations, size, limits, *, adds_columns):
    """Return the mask of pixels beyond the limits of their block.

    Parameters
    ----------
    deviations : numpy.ndarray of shape (ny, nx), float32 or float64
    size : (int, int)
        Rows and columns of a block.
    limits : (float, float)
        Below and above, sigma.
    adds_columns : bool
        Whether columns of a block whose sums are beyond the limits are bad as well.
    """
    mask = np.zeros(deviations.shape, bool)
    edges = [n // side * side for n, side in zip(deviations.shape, size, strict=True)]
    for y, ny in (
        (slice(0, edges[0]), size[0]),
        (slice(edges[0], None), deviations.shape[0] - edges[0]),
    ):
        for x, nx in (
            (slice(0, edges[1]), size[1]),
            (slice(edges[1], None), deviations.shape[1] - edges[1]),
        ):
            values = deviations[y, x]
            if values.size:
                shape = values.shape[0] // ny, ny, values.shape[1] // nx, nx
                blocks = values.reshape(shape).swapaxes(1, 2)
                is_bad = _outliers_in_blocks(
                    blocks.reshape(-1, ny, nx), limits, adds_columns=adds_columns
                )
                mask[y, x] = is_bad.reshape(blocks.shape).swapaxes(1, 2).reshape(values.shape)
    return mask


def _outliers_in_blocks(blocks, limits, *, adds_columns):
    """Return the mask of the pixels of blocks, (n, ny, nx), that are beyond the limits."""
    values = blocks.reshape(len(blocks), -1)
    high, low = np.percentile(values, (HIGH_PERCENTILE, LOW_PERCENTILE), axis=1)
    sigma = ((high - low) / 2.0)[:, None, None]
    mask = _is_bad(blocks, sigma, limits)
    if adds_columns:
        # The formula of ccdmask, which mixes sums and numbers of pixels.
        sums = np.ma.sum(np.ma.MaskedArray(blocks, mask=mask), axis=1)
        sums[sums <= 0] = 0
        spread = np.ma.MaskedArray(np.sqrt(blocks.shape[2] - sums))
        mask |= _is_bad(sums.filled(1), spread, limits)[:, np.newaxis, :]
    return mask


def _close_gaps(mask, longest):
    """Flag gaps of a few good pixels between bad ones of a column, in place."""
    columns = np.flatnonzero(mask.any(axis=0))
    bad_columns = mask[:, columns]
    for line in range(len(mask) - longest - 1):
        if not bad_columns[line].any():
            continue
        for end in range(line + 2, line + longest + 2):
            part = bad_columns[line : end + 1]
            is_closed = part[0] & part[-1] & ~part.all(axis=0)
            if is_closed.any():
                bad_columns[line:end, is_closed] = True
    mask[:, columns] = bad_columns
