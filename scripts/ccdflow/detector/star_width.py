"""The median width of the brightest stars of an image."""

from __future__ import annotations

import math

import numpy as np

from ccdflow.robust import MAD_TO_SIGMA

MOST_RADIUS_PIXELS = 12
"""A star is measured up to this many pixels from its peak: a star with a FWHM of 8 pixels has 0.2 %
of its peak there."""

# At most this many peaks, the brightest ones, are measured. Chosen: their median has an error of 16
# % of their scatter, and each takes a read of its box.
_MOST_PEAKS = 60
# A peak of the small image is more than this many sigma above its median: one pixel of the sky in
# 3.5 million is by chance.
_PEAK_SIGMA = 5
# A width needs at least this many stars: of fewer, the median may be a galaxy.
_FEWEST_STARS = 3
# A star has at least this many pixels above half of its peak: a cosmic ray has fewer.
_FEWEST_PIXELS = 5
# The largest width of a star over its smallest one is at most this: galaxies and blends are more
# elongated. Chosen: with a smaller limit small stars of few pixels, which look elongated, are left
# out; with a larger one blends count.
_MOST_ELONGATED = 1.6
# A star is saturated if it has at least the first number of pixels above half of its peak, and if
# too many of these are near the peak. The second number is the fraction of them that may be above
# the third number, a fraction of the peak. In a Gaussian 15 % of the pixels are. A smaller star may
# have four of its pixels there by chance. The width of a saturated star is too large, by a factor
# of 2 where it bleeds.
_PLATEAU_PIXELS, _PLATEAU_FRACTION, _PLATEAU_HEIGHT = 16, 0.35, 0.9
# A peak is above the sky by at least this many times the noise of a pixel: no pixel of the sky
# reaches half of it by chance.
_LEAST_PEAK_SIGMA = 12.0


def star_width(image, *, step, small_image, top=math.inf):
    """Measure the median full width at half maximum of the brightest stars, in pixels.

    The width is that of a disc with as many pixels as the star has above half of its peak. Stars
    are searched for in a small image, and only their boxes are read from the large one.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64, any byte order
        May be a memory map.
    step : int
        Pixels of the image along a pixel of the small one.
    small_image : numpy.ndarray of shape (rows, columns), float32
        The small image; values that are not finite do not count.
    top : float, optional
        Stars whose peak has this value or more are left out as saturated.

    Returns
    -------
    width : float
        Pixels; NaN where fewer than `_FEWEST_STARS` were measured.
    stars : int
        Number of stars that were measured.
    """
    widths = []
    for y, x in _brightest_pixels(small_image):
        middle = (int((y + 0.5) * step), int((x + 0.5) * step))
        width = _width_of_star(image, middle, step, top)
        if width is not None:
            widths.append(width)
    if len(widths) < _FEWEST_STARS:
        return math.nan, len(widths)
    return float(np.median(widths)), len(widths)


def _brightest_pixels(small_image):
    """Return rows and columns of the brightest pixels without a brighter neighbour."""
    finite_pixels = np.where(np.isfinite(small_image), small_image, -np.inf)
    finite_values = small_image[np.isfinite(small_image)]
    # In an image of fewer than nine pixels, none has eight neighbours.
    if finite_values.size < 9:
        return []
    middle = float(np.median(finite_values))
    limit = middle + _PEAK_SIGMA * MAD_TO_SIGMA * float(np.median(np.abs(finite_values - middle)))
    inner = finite_pixels[1:-1, 1:-1]
    is_peak = inner > limit
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            if (dy, dx) != (1, 1):
                ny, nx = finite_pixels.shape
                is_peak &= inner >= finite_pixels[dy : ny - 2 + dy, dx : nx - 2 + dx]
    rows, columns = np.nonzero(is_peak)
    order = np.argsort(-inner[rows, columns], kind="stable")[:_MOST_PEAKS]
    return list(zip((rows[order] + 1).tolist(), (columns[order] + 1).tolist(), strict=True))


def _width_of_star(image, middle, step, top):
    """Return the width of the star near a pixel, pixels; None if no star can be measured.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32
    middle : (int, int)
        Row and column.
    step : int
        Distance in pixels within which the star's peak may be.
    top : float
        A pixel of at least this value may be saturated.
    """
    wide_box = _box_about_star(image, middle, MOST_RADIUS_PIXELS + step)
    if wide_box is None:
        return None
    values, y0, x0 = wide_box
    y, x = np.unravel_index(int(np.nanargmax(values)), values.shape)
    box = _box_about_star(image, (y0 + int(y), x0 + int(x)), MOST_RADIUS_PIXELS)
    if box is None:
        return None
    values = box[0]
    if not np.isfinite(values).all():
        return None
    edge = np.concatenate(
        [values[:2].ravel(), values[-2:].ravel(), values[:, :2].ravel(), values[:, -2:].ravel()]
    )
    sky = float(np.median(edge))
    noise = MAD_TO_SIGMA * float(np.median(np.abs(edge - sky)))
    peak = float(values[MOST_RADIUS_PIXELS, MOST_RADIUS_PIXELS])
    # The least noise is for images without noise, such as simulated ones: their sky is no star.
    if peak >= top or peak < values.max() or peak - sky < _LEAST_PEAK_SIGMA * max(noise, 1e-9):
        return None
    rows, columns = np.nonzero(_connected_to_middle(values > sky + (peak - sky) / 2))
    if rows.size < _FEWEST_PIXELS or rows.size > MOST_RADIUS_PIXELS * MOST_RADIUS_PIXELS:
        return None
    n_high = np.count_nonzero(values[rows, columns] > sky + _PLATEAU_HEIGHT * (peak - sky))
    if rows.size >= _PLATEAU_PIXELS and n_high > _PLATEAU_FRACTION * rows.size:
        return None
    spreads = sorted(np.linalg.eigvalsh(np.cov(rows, columns) + np.eye(2) / 12))
    if math.sqrt(spreads[1] / spreads[0]) > _MOST_ELONGATED:
        return None
    return 2 * math.sqrt(rows.size / math.pi)


def _connected_to_middle(mask):
    """Return the mask of pixels that are connected to the middle of a mask."""
    is_connected = np.zeros_like(mask)
    is_connected[MOST_RADIUS_PIXELS, MOST_RADIUS_PIXELS] = mask[
        MOST_RADIUS_PIXELS, MOST_RADIUS_PIXELS
    ]
    while True:
        is_grown = is_connected.copy()
        is_grown[1:] |= is_connected[:-1]
        is_grown[:-1] |= is_connected[1:]
        is_grown[:, 1:] |= is_connected[:, :-1]
        is_grown[:, :-1] |= is_connected[:, 1:]
        is_grown &= mask
        if (is_grown == is_connected).all():
            return is_connected
        is_connected = is_grown


def _box_about_star(image, middle, reach):
    """Return the box about a pixel, and its first row and column; None if it is cut by an edge."""
    y0, x0 = middle[0] - reach, middle[1] - reach
    size = 2 * reach + 1
    if y0 < 0 or x0 < 0 or y0 + size > image.shape[0] or x0 + size > image.shape[1]:
        return None
    values = np.asarray(image[y0 : y0 + size, x0 : x0 + size], dtype=np.float64)
    return (values, y0, x0) if np.isfinite(values).any() else None
