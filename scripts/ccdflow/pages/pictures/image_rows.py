"""Pictures of combined darks and flats, and of frames before and after they are calibrated."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow.pages.pictures.frame_content import ShrunkImage, check_image, shrink
from ccdflow.pages.pictures.imagepanel import draw_image
from ccdflow.pages.pictures.raster import new_picture, write_heading
from ccdflow.pages.pictures.style import (
    LEFT_ROOM,
    MARGIN,
    SCALE_ROOM,
    WIDTH,
    pixels,
)

# Widest image, inches.
_MOST_WIDTH = 3.9
# Widest image where two pairs share a line, inches.
_NARROW_WIDTH = 1.4
# Largest height over width of a wide image: one pair of them to a line.
_TALL_RATIO = 1.3
# Room between two images of a pair in a narrow column, inches.
_BETWEEN_NARROW = 0.2
# Room left and right of a heading together, inches.
_BESIDE_HEADING = 0.2
# From the top of a row to its images, inches.
_IMAGES_TOP = 0.5
# Room above and below the images of a line together, inches: heading, titles, axes.
_AROUND_IMAGES = 1.05


@dataclass(frozen=True)
class ImageRow:
    """One row of a picture: a headline, and two images beside each other.

    Attributes
    ----------
    headline : str
    images : tuple of (numpy.ndarray of shape (ny, nx), float32 or float64, str, str)
        Pixels, their unit, their name.
    """

    headline: str
    images: tuple[tuple[np.ndarray, str, str], ...] = field(repr=False)


def image_rows(rows, *, title, explanation, scale="linear"):
    """Draw pairs of images, a row each.

    Parameters
    ----------
    rows : iterable of ImageRow
        At least one; one at a time is held in memory, if they come from a generator.
    title, explanation : str
        Headline, and the text below all.
    scale : {'linear', 'asinh'}, optional
        Scale of all images, see `ccdflow.pages.pictures.imagepanel.draw_image`.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        If there is no row.
    UserError
        If an image is not two-dimensional.
    """
    shrunk_rows = [_shrink_images(row) for row in rows]
    if not shrunk_rows:
        raise ValueError("there is no image to draw")
    is_tall = min(min(row.ratios) for row in shrunk_rows) > _TALL_RATIO
    pairs = 2 if is_tall and len(shrunk_rows) > 1 else 1
    widest = _NARROW_WIDTH if pairs == 2 else _MOST_WIDTH
    lines = [shrunk_rows[first : first + pairs] for first in range(0, len(shrunk_rows), pairs)]
    heights = [min(widest * max(max(row.ratios) for row in line), _MOST_WIDTH) for line in lines]
    raster, top = new_picture(
        title, explanation, sum(height + _AROUND_IMAGES for height in heights)
    )
    distance = widest + SCALE_ROOM + (_BETWEEN_NARROW if pairs == 2 else LEFT_ROOM)
    for line, height in zip(lines, heights, strict=True):
        for number, row in enumerate(line):
            left = number * WIDTH / pairs
            heading_width = WIDTH / pairs - _BESIDE_HEADING
            write_heading(raster, row.headline, left + MARGIN, top, heading_width)
            for index, (image, unit, name) in enumerate(row.images):
                box = left + LEFT_ROOM + index * distance, top + _IMAGES_TOP, widest, height
                draw_image(raster, box, image, unit, name, scale=scale, has_rows=not index)
        top += height + _AROUND_IMAGES
    return raster.png()


@dataclass(frozen=True)
class _ShrunkRow:
    """One row of a picture, its images as wide as they are drawn.

    Attributes
    ----------
    headline : str
    images : tuple of (ccdflow.pages.pictures.frame_content.ShrunkImage, str, str)
        Pixels, their unit, their name.
    """

    headline: str
    images: tuple[tuple[ShrunkImage, str, str], ...]

    @property
    def ratios(self):
        """Height over width of each image."""
        return [image.ratio for image, *_ in self.images]


def _shrink_images(row):
    """Return the `_ShrunkRow` of a row; refuse other arrays than images."""
    images = []
    for image, unit, name in row.images:
        # An image of a file is read here, and freed before the next one.
        pixels_of_image = np.asarray(image)
        check_image(pixels_of_image, name, row.headline)
        images.append((shrink(pixels_of_image, pixels(_MOST_WIDTH)), unit, name))
        del pixels_of_image
    return _ShrunkRow(row.headline, tuple(images))
