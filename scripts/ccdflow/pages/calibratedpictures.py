"""Pictures of combined darks and flats, and of frames before and after they are calibrated."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow.errors import UserError
from ccdflow.pages.canvas import LEFT, SCALE_ROOM, WIDTH, draw_image, drawing, new_figure, png_bytes
from ccdflow.pages.panels import check_image, shrink

_PIXELS = 420
_WIDEST = 3.9


@dataclass(frozen=True)
class ImageRow:
    """One row of a picture: a headline, and two images beside each other.

    Attributes
    ----------
    headline : str
    images : tuple of (numpy.ndarray, str, str)
        Pixels, (ny, nx); their unit; what they are.
    """

    headline: str
    images: tuple = field(repr=False)


def image_rows(rows, *, title, explanation, scale="linear"):
    """Draw pairs of images, a row each.

    Parameters
    ----------
    rows : iterable of ImageRow
        At least one; one at a time is held in memory, if they come from a generator.
    title, explanation : str
        Headline, and the text below all.
    scale : {'linear', 'asinh'}, optional
        Of all images, see `ccdflow.pages.canvas.draw_image`.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    UserError
        If there is no row, or an image has not two axes.
    """
    taken = [_taken(row) for row in rows]
    if not taken:
        raise UserError("there is no image to draw", remedy="give at least one")
    widest = min(_WIDEST, (WIDTH - 2 * LEFT - 2 * SCALE_ROOM) / 2)
    heights = [min(widest * max(small.ratio for small, *_ in own), widest) for _, own in taken]
    tall = sum(height + 1.0 for height in heights)
    with drawing():
        figure, place = new_figure(title, explanation, height=tall)
        top = 0.0
        for (headline, own), height in zip(taken, heights, strict=True):
            place.heading(headline, top)
            for number, (small, unit, what) in enumerate(own):
                left = LEFT + number * (widest + LEFT + SCALE_ROOM)
                box = place((left, top + 0.5, widest, height))
                draw_image(box, small, unit, what, scale=scale)
            top += height + 1.0
        return png_bytes(figure)


def _taken(row):
    found = []
    for image, unit, what in row.images:
        check_image(image, what, row.headline)
        found.append((shrink(np.asarray(image), _PIXELS), unit, what))
    return row.headline, found
