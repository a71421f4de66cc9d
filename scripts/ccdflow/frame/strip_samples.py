"""The pixels of an amplifier, and its overscan, on which the subtraction is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.frame.checks.flaws import saturation_of

MOST_ROWS = 1024
"""The figures take at most this many rows: 1 ms for an LFC frame."""

MOST_COLUMNS = 128
"""The figures take at most this many columns of each row."""

# A run of rows of one value is taken for rows that were not read out if there are at least this
# many, with at least this many pixels together. With a readout noise of 0.3 adu such a run occurs
# by chance in 1 of 10,000 frames.
_FEWEST_EMPTY, _FEWEST_PIXELS = 4, 200


@dataclass(frozen=True)
class Sample:
    """The pixels of an amplifier on which the subtraction is judged.

    Attributes
    ----------
    lines : numpy.ndarray of shape (n, m), any integer or float type
        Adu, as read: `m` pixels of each of `n` rows (columns, if the levels are along columns), see
        `sampled_lines`.
    levels, own_levels : numpy.ndarray of shape (n,), float32 or float64
        Adu: the level subtracted from each of these lines, and the line's own level.
    strip : numpy.ndarray of shape (n, k), any integer or float type
        Adu: the overscan of the same lines.
    noise : float
        Noise of a pixel of the overscan, adu.
    top : float
        Value of a saturated pixel, adu; infinite where it is unknown.
    full_rows, rows : int
        Number of lines of the whole amplifier that have a saturated level of their own, and of
        those that have a level.
    empty_run : (int, int)
        The first of the lines whose overscan has one value throughout, and their number.
    """

    lines: np.ndarray
    levels: np.ndarray
    own_levels: np.ndarray
    strip: np.ndarray
    noise: float
    top: float = np.inf
    full_rows: int = 0
    rows: int = 0
    empty_run: tuple[int, int] = (0, 0)

    @property
    def is_full(self):
        """Whether most pixels have the highest value: saturated, or dead, they show no level."""
        n_pixels = self.lines.size
        return n_pixels > 0 and 2 * np.count_nonzero(self.lines == self.lines.max()) > n_pixels


def sampled_lines(data, along):
    """Return the sampled rows and columns of a frame, as slices.

    Parameters
    ----------
    data : ccdflow.camera.sections.Region
        The science pixels of an amplifier.
    along : str
        'rows' or 'columns'.

    Returns
    -------
    (slice, slice)
        Neighbouring lines from the middle of the data, and pixels spread over each line.
    """
    (y0, y1), (x0, x1) = (data.y0, data.y1), (data.x0, data.x1)
    if along != "columns":
        return _middle_lines(y0, y1), slice(x0, x1, max(1, (x1 - x0) // MOST_COLUMNS))
    return slice(y0, y1, max(1, (y1 - y0) // MOST_COLUMNS)), _middle_lines(x0, x1)


def _middle_lines(start, stop):
    """Return at most `MOST_ROWS` neighbouring lines from the middle of some, as a slice."""
    first = start + max(0, (stop - start - MOST_ROWS) // 2)
    return slice(first, min(stop, first + MOST_ROWS))


def sample_of_amplifier(lines, strips, overscan, amplifier):
    """Return the sample of an amplifier.

    Parameters
    ----------
    lines : numpy.ndarray of shape (rows, columns), any integer or float type
        Pixels of its frame that `sampled_lines` selects, adu.
    strips : list of numpy.ndarray of shape (ny, nx), any integer or float type
        Its strips, adu, as for `ccdflow.frame.overscan.measure_overscan`.
    overscan : ccdflow.frame.overscan.Overscan
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    Sample
        Without lines that hold a pixel that is not finite.
    """
    along, data = amplifier.along, amplifier.data
    top = saturation_of(strips[0].dtype, 0, amplifier)
    top = np.inf if top is None else top
    saturation_figures = (
        top,
        int(np.count_nonzero(overscan.own_levels >= top)),
        len(overscan.own_levels),
    )
    if along == "frame":
        strip = strips[0][:: max(1, len(strips[0]) // MOST_ROWS)]
        levels = own_levels = np.repeat(overscan.levels, len(lines))
        return Sample(
            *_finite_lines(lines, levels, own_levels),
            *_finite_lines(strip),
            overscan.noise,
            *saturation_figures,
        )
    lines_of_frame = sampled_lines(data, along)[along == "columns"]
    first = data.y0 if along == "rows" else data.x0
    slice_sampled = slice(lines_of_frame.start - first, lines_of_frame.stop - first)
    all_lines = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=int(along == "rows"))
    all_lines = all_lines if along == "rows" else all_lines.T
    empty_lines = _empty_lines(all_lines)
    strip, lines = all_lines[slice_sampled], lines if along == "rows" else lines.T
    lines, strip, levels, own_levels = _finite_lines(
        lines, strip, overscan.levels[slice_sampled], overscan.own_levels[slice_sampled]
    )
    return Sample(
        lines, levels, own_levels, strip, overscan.noise, *saturation_figures, empty_lines
    )


def _empty_lines(strip):
    """Return the first line and the number of lines of the longest run of one value.

    Parameters
    ----------
    strip : numpy.ndarray of shape (n, k), any integer or float type
        Adu.
    """
    fewest = max(_FEWEST_EMPTY, -(-_FEWEST_PIXELS // strip.shape[1]))
    # Two pixels distinguish most lines.
    single_valued = np.flatnonzero(strip[:, 0] == strip[:, -1])
    single_valued = single_valued[(strip[single_valued] == strip[single_valued, :1]).all(axis=1)]
    if len(single_valued) < fewest:
        return 0, 0
    breaks = (np.diff(single_valued) > 1) | (
        np.diff(strip[single_valued, 0].astype(np.float64)) != 0
    )
    longest = max(np.split(single_valued, np.flatnonzero(breaks) + 1), key=len)
    return (int(longest[0]), len(longest)) if len(longest) >= fewest else (0, 0)


def _finite_lines(first_array, *other_arrays):
    """Return the lines in which all values of all arrays are finite."""
    is_finite = np.ones(len(first_array), dtype=bool)
    for array in (first_array, *other_arrays):
        if array.dtype.kind == "f":
            is_finite &= np.isfinite(array.reshape(len(first_array), -1)).all(axis=1)
    return (
        (first_array, *other_arrays)
        if is_finite.all()
        else tuple(array[is_finite] for array in (first_array, *other_arrays))
    )
