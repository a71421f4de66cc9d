"""Rows or columns without a level, filled while the light of their neighbours is estimated."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np


@contextmanager
def fill_lines(image, first, regions):
    """Fill regions of an image whose level is not known with the lines beside them.

    Unfilled, a region would count as a deep shadow beside its neighbours. Its outermost lines get
    the values of the lines beside them; a single line gets the mean of the two lines beside it.
    The inner lines of a region are NaN, and a region without a line beside it.

    Parameters
    ----------
    image : numpy.ndarray of shape (k, nx), float32
        Rows of an image. Inside the context the regions have the filled values.
    first : int
        Row of the whole image at which ``image`` begins.
    regions : sequence of (ccdflow.camera.sections.Region, bool)
        Regions of the whole image; True for rows of an amplifier, False for columns.

    Yields
    ------
    None

    Examples
    --------
    >>> from ccdflow.camera.sections import Region
    >>> image = np.array([[1.0, 2.0], [-9, -9], [-9, -9], [-9, -9], [3.0, 4.0]])
    >>> with fill_lines(image, 7, [(Region(8, 11, 0, 2), True)]):
    ...     print(image.tolist())
    [[1.0, 2.0], [1.0, 2.0], [nan, nan], [3.0, 4.0], [3.0, 4.0]]
    >>> print(image[2])
    [-9. -9.]
    """
    places = [
        (slice(max(part.y0 - first, 0), max(part.y1 - first, 0)), slice(part.x0, part.x1))
        for part, _ in regions
    ]
    own_values = [image[place].copy() for place in places]
    for place in places:
        image[place] = np.nan
    for (part, is_of_rows), (rows, columns) in zip(regions, places, strict=True):
        if is_of_rows:
            _fill_outermost_lines(image, part.y0 - first, part.y1 - first, columns)
        else:
            _fill_outermost_lines(image.T, part.x0, part.x1, rows)
    try:
        yield
    finally:
        for place, values in zip(places, own_values, strict=True):
            image[place] = values


def _fill_outermost_lines(lines, low, high, across):
    """Fill the first and the last line of a region with the lines beside them, if there are any.

    Parameters
    ----------
    lines : numpy.ndarray of shape (n, k), float32
        Changed in place.
    low, high : int
        First line of the region, and the line after the last.
    across : slice
        Pixels of each line that belong to the region.
    """
    lines_beside = {}
    for place, neighbour in ((low, low - 1), (high - 1, high)):
        if 0 <= place < len(lines) and 0 <= neighbour < len(lines):
            lines_beside.setdefault(place, []).append(lines[neighbour, across].copy())
    for place, values in lines_beside.items():
        lines[place, across] = sum(values) / len(values)
