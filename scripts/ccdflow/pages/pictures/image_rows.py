"""Pictures of pairs of images, as PNG bytes: masters; frames before and after calibration."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow.pages.pictures.frame_content import ShrunkImage, check_image, shrink
from ccdflow.pages.pictures.image_panel import draw_image
from ccdflow.pages.pictures.raster import new_picture, write_heading
from ccdflow.pages.pictures.style import (
    LEFT_ROOM,
    MARGIN,
    SCALE_ROOM,
    WIDTH,
    pixels,
)

# Largest width of an image, inches.
_MOST_WIDTH = 3.9
# Largest width of an image where two pairs are in a line, inches.
_NARROW_WIDTH = 1.4
# Images with a larger height over width are tall: two pairs of them fit in a line.
_TALL_RATIO = 1.3
# Room between the images of a pair where two pairs are in a line, inches.
_BETWEEN_NARROW = 0.2
# Sum of the room left and right of a heading, inches.
_BESIDE_HEADING = 0.2
# From the top of a row to its images, inches.
_IMAGES_TOP = 0.5
# Sum of the room above and below the images of a line, for headings, titles and axes, inches.
_AROUND_IMAGES = 1.05


@dataclass(frozen=True)
class ImageRow:
    """One row of a picture: a heading, and two images beside each other.

    Attributes
    ----------
    headline : str
    images : tuple of (numpy.ndarray of shape (ny, nx), float32 or float64, str, str)
        Pixels, their unit, their name.
    """

    headline: str
    images: tuple[tuple[np.ndarray, str, str], ...] = field(repr=False)


def image_rows(rows, *, title, explanation, scale="linear"):
    """Return the picture of pairs of images, a row each; two rows of tall images are in a line.

    Parameters
    ----------
    rows : iterable of ImageRow
        At least one. From a generator only one row at a time is in memory.
    title, explanation : str
        Headline, and the text below all images.
    scale : {'linear', 'asinh'}, optional
        Scale of all images, see `ccdflow.pages.pictures.image_panel.draw_image`.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        If there is no row.
    UserError
        If an image is not two-dimensional, or has an empty axis.
    """
    shrunk_rows = [_shrink_images(row) for row in rows]
    if not shrunk_rows:
        raise ValueError("there is no image to draw")
    is_tall = min(min(row.ratios) for row in shrunk_rows) > _TALL_RATIO
    n_columns = 2 if is_tall and len(shrunk_rows) > 1 else 1
    widest = _NARROW_WIDTH if n_columns == 2 else _MOST_WIDTH
    lines = [
        shrunk_rows[first : first + n_columns] for first in range(0, len(shrunk_rows), n_columns)
    ]
    heights = [min(widest * max(max(row.ratios) for row in line), _MOST_WIDTH) for line in lines]
    raster, top = new_picture(
        title, explanation, sum(height + _AROUND_IMAGES for height in heights)
    )
    distance = widest + SCALE_ROOM + (_BETWEEN_NARROW if n_columns == 2 else LEFT_ROOM)
    for line, height in zip(lines, heights, strict=True):
        for number, row in enumerate(line):
            left = number * WIDTH / n_columns
            heading_width = WIDTH / n_columns - _BESIDE_HEADING
            write_heading(raster, row.headline, left + MARGIN, top, heading_width)
            for index, (image, unit, name) in enumerate(row.images):
                box = left + LEFT_ROOM + index * distance, top + _IMAGES_TOP, widest, height
                draw_image(raster, box, image, unit, name, scale=scale, names_rows=not index)
        top += height + _AROUND_IMAGES
    return raster.png()


@dataclass(frozen=True)
class _ShrunkRow:
    """One row of a picture, its images shrunk to the size that is drawn.

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
    """Return the `_ShrunkRow` of a row; refuse arrays that are no images."""
    images = []
    for image, unit, name in row.images:
        # An image in a file is read here, and freed before the next one is read.
        pixels_of_image = np.asarray(image)
        check_image(pixels_of_image, name, row.headline)
        images.append((shrink(pixels_of_image, pixels(_MOST_WIDTH)), unit, name))
        del pixels_of_image
    return _ShrunkRow(row.headline, tuple(images))
