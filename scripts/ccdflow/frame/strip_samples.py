"""The pixels of an amplifier and of its overscan on which the subtraction is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.frame.checks.flaws import saturation_of

MOST_ROWS = 1024
"""Figures are measured from at most this many neighbouring rows: 1 ms for an LFC frame. Of a strip
with one level for the frame up to twice as many rows are sampled."""

# From this many to twice as many pixels of each line are sampled.
_SAMPLED_PIXELS = 128

# A run of overscan rows with one value was not read out if it has at least this many rows, and at
# least this many pixels. With a readout noise of 0.3 adu such a run occurs by chance in 1 of 10,000
# frames.
_FEWEST_EMPTY_LINES, _FEWEST_EMPTY_PIXELS = 4, 200


@dataclass(frozen=True)
class Sample:
    """The pixels of an amplifier on which the subtraction is judged.

    Attributes
    ----------
    lines : numpy.ndarray of shape (n, m), any integer or float type
        Raw values, adu: `m` pixels of each of `n` lines. Lines are rows, or columns if the levels
        are along columns; see `sampled_lines`.
    levels, own_levels : numpy.ndarray of shape (n,), float32 or float64
        Adu: the level subtracted from each line, and the statistic of the line's own overscan.
    strip : numpy.ndarray of shape (n, k), any integer or float type
        Adu: the overscan of the lines. With one level for the frame, other rows of the overscan.
    noise : float
        Noise of a pixel of the overscan, adu.
    top : float
        Value of a saturated pixel, adu; infinite where it is unknown.
    n_full_lines, n_lines : int
        Number of lines of the whole amplifier whose own level is saturated, and number of all lines
        with a level.
    empty_run : (int, int)
        First line and number of lines of the longest run that was not read out.
    """

    lines: np.ndarray
    levels: np.ndarray
    own_levels: np.ndarray
    strip: np.ndarray
    noise: float
    top: float = np.inf
    n_full_lines: int = 0
    n_lines: int = 0
    empty_run: tuple[int, int] = (0, 0)

    @property
    def is_full(self):
        """Whether most pixels have the highest value: saturated or dead pixels show no level."""
        n_pixels = self.lines.size
        return n_pixels > 0 and 2 * np.count_nonzero(self.lines == self.lines.max()) > n_pixels


def sampled_lines(data, along):
    """Return the sampled rows and columns of an amplifier, as slices of the raw frame.

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
        return _middle_lines(y0, y1), slice(x0, x1, sampling_step(x1 - x0))
    return slice(y0, y1, sampling_step(y1 - y0)), _middle_lines(x0, x1)


def sampling_step(length):
    """Return the distance of the sampled pixels in a line of this length, pixels."""
    return max(1, length // _SAMPLED_PIXELS)


def _middle_lines(start, stop):
    """Return the middle ones of some lines, at most `MOST_ROWS`, as a slice."""
    first = start + max(0, (stop - start - MOST_ROWS) // 2)
    return slice(first, min(stop, first + MOST_ROWS))


def sample_of_amplifier(lines, strips, overscan, amplifier):
    """Return the sample of an amplifier.

    Parameters
    ----------
    lines : numpy.ndarray of shape (rows, columns), any integer or float type
        Pixels of the raw frame that `sampled_lines` selects, adu.
    strips : list of numpy.ndarray of shape (ny, nx), any integer or float type
        Strips of the overscan, adu, as for `ccdflow.frame.overscan.measure_overscan`.
    overscan : ccdflow.frame.overscan.Overscan
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    Sample
        Without lines in which a pixel is not finite.
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
    sampled = slice(lines_of_frame.start - first, lines_of_frame.stop - first)
    strip = strips[0] if len(strips) == 1 else np.concatenate(strips, axis=int(along == "rows"))
    strip = strip if along == "rows" else strip.T
    empty_run = _empty_run(strip)
    lines, strip, levels, own_levels = _finite_lines(
        lines if along == "rows" else lines.T,
        strip[sampled],
        overscan.levels[sampled],
        overscan.own_levels[sampled],
    )
    return Sample(lines, levels, own_levels, strip, overscan.noise, *saturation_figures, empty_run)


def _empty_run(strip):
    """Return first line and number of lines of the longest run of one value; (0, 0) if it is short.

    Parameters
    ----------
    strip : numpy.ndarray of shape (n, k), any integer or float type
        Adu.
    """
    fewest = max(_FEWEST_EMPTY_LINES, -(-_FEWEST_EMPTY_PIXELS // strip.shape[1]))
    # Most lines have unlike first and last pixels; only the other lines are compared whole.
    lines = np.flatnonzero(strip[:, 0] == strip[:, -1])
    lines = lines[(strip[lines] == strip[lines, :1]).all(axis=1)]
    if len(lines) < fewest:
        return 0, 0
    is_break = (np.diff(lines) > 1) | (np.diff(strip[lines, 0].astype(np.float64)) != 0)
    longest = max(np.split(lines, np.flatnonzero(is_break) + 1), key=len)
    return (int(longest[0]), len(longest)) if len(longest) >= fewest else (0, 0)


def _finite_lines(first_array, *other_arrays):
    """Return some arrays without the lines in which a value of one of them is not finite."""
    is_finite = np.ones(len(first_array), dtype=bool)
    for array in (first_array, *other_arrays):
        if array.dtype.kind == "f":
            is_finite &= np.isfinite(array.reshape(len(first_array), -1)).all(axis=1)
    return (
        (first_array, *other_arrays)
        if is_finite.all()
        else tuple(array[is_finite] for array in (first_array, *other_arrays))
    )
