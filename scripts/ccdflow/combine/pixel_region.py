"""The pixels of an amplifier in an image of a product."""

from __future__ import annotations

from typing import NamedTuple

from ccdflow.errors import UserError


class PixelRegion(NamedTuple):
    """A rectangle of pixels: from 0, ends not included.

    Attributes
    ----------
    y0, y1 : int
        First row, and the row after the last.
    x0, x1 : int
        First column, and the column after the last.
    """

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def slices(self):
        """Index of the pixels in an image, ``(rows, columns)``."""
        return slice(self.y0, self.y1), self.columns

    @property
    def columns(self):
        """Index of its columns."""
        return slice(self.x0, self.x1)

    def has_rows(self, rows):
        """Tell which rows of the image it has.

        Parameters
        ----------
        rows : numpy.ndarray of int
            Shape ``(k,)``.

        Returns
        -------
        numpy.ndarray of bool
            Shape ``(k,)``.
        """
        return (rows >= self.y0) & (rows < self.y1)


def check_region(amplifier, shape):
    """Return the region of an amplifier, if it is inside the image.

    Parameters
    ----------
    amplifier : object
        With its `name` and `region`, such as a `ccdflow.combine.noise.AmplifierNoise`.
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    PixelRegion

    Raises
    ------
    UserError
        If it is not.
    """
    y0, y1, x0, x1 = region = amplifier.region
    if not (0 <= y0 < y1 <= shape[0] and 0 <= x0 < x1 <= shape[1]):
        raise UserError(
            f"the region of amplifier {amplifier.name} is not inside the image",
            keyword="region",
            value=tuple(region),
            allowed=f"(y0, y1, x0, x1) within {shape}",
            remedy="give the region in pixels of the trimmed image",
        )
    return region
