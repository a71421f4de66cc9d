"""Pixels at the end of the converter: the highest number that a raw frame can hold.

A pixel with this number is saturated, also if profile or header give a higher saturation. All such
pixels have the same raw value; the reduced value is lower by the level of the row or column. The
pixels are gathered while the raw frame is read, because a reduced frame has no raw values.

A converter of 10 to 15 bits does not reach the highest number of 16 bits. Its own highest number
shows where pixels of a frame have it and none is above it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.camera.sections import Region
from ccdflow.frame.saturated_lines import regions_of_lines

# Adu. Lines within this of the median level share one limit. The number is 0.1 % of 16 bits.
_LEVEL_TOLERANCE = 64.0
# A header names at most this many parts of the other lines, each by its section: if there are more,
# near ones are joined.
_MOST_PARTS = 100
# Pixels that are compared at once, in the processor's cache.
_PIXELS_AT_ONCE = 1 << 16
# Bits of the converters that do not fill integers of 16 bits. Chosen: a faint
# frame may end at the highest number of fewer bits, such as 511, by chance.
_BITS = range(10, 16)
# The highest numbers of converters with a number of bits in `_BITS`, adu: unscaled (4095 for 12
# bits), or scaled to 16 bits (65520).
_LOWER_TOPS = frozenset(
    top for bits in _BITS for top in ((1 << bits) - 1, (1 << 16) - (1 << (16 - bits)))
)
# Least number of pixels of an amplifier at one of `_LOWER_TOPS`, with none above it, that shows its
# converter. Chosen: a single pixel is there by chance in one of some hundred frames whose brightest
# pixel is near one of `_LOWER_TOPS`, and two pixels hardly ever.
_FEWEST_AT_LOWER_TOP = 2


@dataclass(frozen=True)
class ConverterEnd:
    """The end of an amplifier's converter in one reduced frame.

    Attributes
    ----------
    top : float
        Raw value of the pixels at the end of the converter, adu.
    least : float or None
        Least reduced value of a pixel at this end in lines near the median level, adu; None without
        such a pixel.
    parts : tuple of (ccdflow.camera.sections.Region, float)
        Regions of the image with other lines, and the least reduced value of a pixel at this end in
        each of them, adu.
    """

    top: float
    least: float | None = None
    parts: tuple[tuple[Region, float], ...] = ()

    @property
    def has_pixels(self):
        """Whether any pixel of the frame is at the end of the converter."""
        return self.least is not None or bool(self.parts)

    @property
    def least_of_all_lines(self):
        """Least reduced value of a pixel at the end of the converter, adu; infinite without one."""
        return min([np.inf if self.least is None else self.least, *(v for _, v in self.parts)])

    def full_pixels(self, values, y0, x0):
        """Return the mask of the reduced pixels at the end of the converter.

        Parameters
        ----------
        values : numpy.ndarray of shape (k, m), float32 or float64
            Reduced pixels of the amplifier, adu.
        y0, x0 : int
            Place of the first of them in the image.

        Returns
        -------
        numpy.ndarray of shape (k, m), bool
        """
        ny, nx = values.shape
        with np.errstate(invalid="ignore"):
            limit = values.dtype.type(np.inf if self.least is None else self.least)
            is_full = values >= limit
            for part, value in self.parts:
                rows = slice(max(part.y0 - y0, 0), min(max(part.y1 - y0, 0), ny))
                columns = slice(max(part.x0 - x0, 0), min(max(part.x1 - x0, 0), nx))
                is_full[rows, columns] = values[rows, columns] >= values.dtype.type(value)
        return is_full

    def to_record(self):
        """Return the values that are known, as a dict for JSON."""
        data = {"top": self.top}
        if self.least is not None:
            data["least"] = self.least
        if self.parts:
            data["parts"] = [[p.y0, p.y1, p.x0, p.x1, value] for p, value in self.parts]
        return data

    @classmethod
    def from_record(cls, data):
        """Return the `ConverterEnd` of a dict that `to_record` returned."""
        parts = tuple((Region(*ends), value) for *ends, value in data.get("parts", ()))
        return cls(data["top"], data.get("least"), parts)

    def to_text(self):
        """Return the least values for a header: of lines near the median level, and of each part.

        Examples
        --------
        >>> ConverterEnd(65535.0, 64535.5, ((Region(4, 6, 0, 8), 60000.0),)).to_text()
        '64535.5 [1:8,5:6] 60000.0'
        """
        texts = [] if self.least is None else [repr(self.least)]
        for part, value in self.parts:
            texts += [part.to_fits(), repr(value)]
        return " ".join(texts)


def top_of_converter(dtype, offset=0):
    """Return the highest raw value of stored integers that a converter may fill, adu.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of the stored pixels.
    offset : int, optional
        To be added to the stored pixels.

    Returns
    -------
    float or None
        None for floats, and for integers of more than 16 bits: no converter fills them.
    """
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return float(np.iinfo(dtype.newbyteorder("=")).max + offset)
    return None


class FullPixels:
    """The pixels of an amplifier at the end of its converter, gathered while a frame is reduced.

    Parameters
    ----------
    amplifier : ccdflow.camera.geometry.Amplifier
    top : float or None
        Raw value of these pixels if the converter fills the numbers of the file, adu; None if it is
        not known.
    """

    def __init__(self, amplifier, top):
        self._amplifier = amplifier
        self._top = top
        # Highest raw value of the rows so far, adu.
        self._highest = -np.inf
        self._lines, self._values = [], []

    def add(self, stored, offset, reduced, first=0):
        """Add rows of the amplifier's data.

        Parameters
        ----------
        stored : numpy.ndarray of shape (k, nx), any integer or float type, any byte order
            Stored pixels.
        offset : int
            To be added to the stored pixels.
        reduced : numpy.ndarray of shape (k, nx), float32 or float64
            The reduced pixels, in the orientation of the stored ones.
        first : int, optional
            Number of the first row in the amplifier's data.
        """
        if self._top is None:
            return
        # numpy reuses the memory of small results; larger ones are allocated anew.
        step = max(1, _PIXELS_AT_ONCE // stored.shape[1])
        for low in range(0, len(stored), step):
            rows_at_once = stored[low : low + step]
            highest = _highest_of(rows_at_once, offset, self._top)
            if highest > self._highest:
                self._highest = highest
                self._lines, self._values = [], []
            is_top = highest == self._top or _is_lower_top(stored.dtype, highest)
            # Hardly any block has a pixel at the end of the converter.
            if is_top and highest == self._highest:
                rows, columns = np.nonzero(_are_full(rows_at_once, offset, highest))
                rows += low
                runs_along_columns = self._amplifier.along == "columns"
                self._lines.append(columns if runs_along_columns else rows + first)
                self._values.append(reduced[rows, columns])

    def _top_of_pixels(self):
        """Return the raw value of the end of the converter, adu: that of a lower top if shown."""
        count = sum(map(len, self._lines))
        return self._highest if count >= _FEWEST_AT_LOWER_TOP else self._top

    def converter_end(self, recipe, level):
        """Return the `ConverterEnd`, None if it is not known.

        Parameters
        ----------
        recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        level : float or None
            Median level that was subtracted, adu; None if none was.

        Returns
        -------
        ConverterEnd or None
        """
        if self._top is None:
            return None
        top = self._top_of_pixels()
        if not self._lines or self._highest < top:
            return ConverterEnd(top)
        lines, values = np.concatenate(self._lines), np.concatenate(self._values)
        is_near_median = np.ones(lines.size, bool)
        if level is not None:
            is_near_median = np.abs(values - (top - level)) <= _LEVEL_TOLERANCE
        least = float(values[is_near_median].min()) if is_near_median.any() else None
        parts = []
        for low, high in runs_of_lines(np.unique(lines[~is_near_median])):
            is_inside = ~is_near_median & (lines >= low) & (lines < high)
            (region,) = regions_of_lines([(low, high)], self._amplifier, recipe)
            parts.append((region, float(values[is_inside].min())))
        return ConverterEnd(top, least, tuple(parts))


def _highest_of(stored, offset, top):
    """Return the highest raw value of some pixels, adu; -inf for floats below the top."""
    if stored.dtype.kind not in "iu":
        return top if np.count_nonzero(_are_full(stored, offset, top)) else -np.inf
    return float(int(stored.max()) + offset)


def _is_lower_top(dtype, value):
    """Return whether a raw value is the highest of a converter of fewer bits than the numbers."""
    return dtype.kind in "iu" and dtype.itemsize == 2 and value in _LOWER_TOPS


def _are_full(stored, offset, top):
    """Return the mask of the stored pixels whose raw value is `top`."""
    if stored.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):
            return stored >= stored.dtype.type(top)
    # The bytes of the pixels are compared: to convert each pixel would take ten times as long.
    bits = np.dtype(f"=u{stored.dtype.itemsize}")
    return stored.view(bits) == np.array(int(top) - offset, stored.dtype).view(bits)[()]


def runs_of_lines(lines):
    """Return the first line, and the line after the last, of at most `_MOST_PARTS` runs of lines.

    Lines side by side are one run; if the runs are too many, near ones are joined.

    Examples
    --------
    >>> runs_of_lines(np.array([3, 4, 9]))
    [(3, 5), (9, 10)]
    """
    gap = 1
    while True:
        ends = np.flatnonzero(np.diff(lines) > gap)
        if len(ends) < _MOST_PARTS:
            break
        gap *= 2
    if not lines.size:
        return []
    first_lines, last_lines = lines[np.r_[0, ends + 1]], lines[np.r_[ends, -1]]
    return [(int(low), int(high) + 1) for low, high in zip(first_lines, last_lines, strict=True)]
