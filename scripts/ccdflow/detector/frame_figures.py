"""Figures of a single bias or any other image: level, noise, structure, coarse shape.

Scatter of pixels is the standard deviation after repeated clipping at `CLIP_SIGMA`. The MAD is only
the first estimate: the MAD of whole numbers is a whole number, too coarse for a camera with a noise
of about 1 adu.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ccdflow.combine.moments import CLIP_SIGMA, Moments, clipped_moments
from ccdflow.combine.noise import DIGITAL_NOISE
from ccdflow.combine.row_sample import sampled_rows
from ccdflow.robust import column_medians

COARSE_BOXES = 8
"""The coarse shape of a frame is measured in this many boxes along each side. With more, the noise
of a box, which grows with their number, hides shapes; with fewer, a gradient at an edge is
averaged. Chosen, not measured."""

FINE_BOXES = 32
"""Spots are searched for in this many boxes along each side. With more, the noise of a box, which
grows with their number, hides spots; with fewer, a spot covers too little of a box to change its
median. Chosen, not measured."""

LIT_FRACTION = 0.2
"""Fraction of the level: shapes are not compared in darker boxes. With a smaller fraction the noise
of dark boxes decides; with a larger one the edges of a vignette are not compared."""

COMPARED_ROWS = 32
"""About this many rows are compared among frames: 0.15 to 0.3 s for 50 LFC frames."""

FRAME_ROWS = 64
"""Figures are measured in at most this many rows: 7 ms for an LFC frame."""

# `numpy.add.reduceat` adds up to this many rows one after the other; it adds more rows as several
# sums.
_ROWS_IN_ORDER = 8
# A pixel more than this many times the noise above the level is bright: no pixel is by noise alone.
_BRIGHT_SIGMA = 10


@dataclass(frozen=True)
class Estimate:
    """A measured figure: its value and standard error; NaN if it could not be measured."""

    value: float
    error: float


UNKNOWN_FIGURE = Estimate(float("nan"), float("nan"))
"""A figure that could not be measured."""


def scatter_about_row_means(image):
    """Return the `Moments` of an image about the means of its rows, in its unit.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        NaN does not count.

    Returns
    -------
    Moments
        NaN for fewer than two finite pixels.

    Examples
    --------
    >>> image = np.random.default_rng(1).normal(0, 4, (64, 100)) + np.arange(64)[:, np.newaxis]
    >>> print(f"{scatter_about_row_means(image).sigma:.1f}, {image.std():.1f}")
    4.0, 18.9
    """
    moments = clipped_moments(image)
    if moments.count < 2:
        return moments
    with np.errstate(invalid="ignore"):
        limit = CLIP_SIGMA * max(moments.sigma, DIGITAL_NOISE)
        is_good = np.abs(image - moments.mean) <= limit
        means = np.where(is_good, image, 0).sum(axis=1, dtype=np.float64) / is_good.sum(axis=1)
    residual = clipped_moments(image - means[:, None].astype(image.dtype))
    length = max(np.count_nonzero(is_good) / len(image), 2)
    return Moments(residual.mean, residual.sigma * np.sqrt(length / (length - 1)), residual.count)


# Keys of records that differ from the names of the fields: they are older than these names.
_KEYS_OF_RECORDS = {"bright_fraction": "bright", "box_offsets": "shape", "n_pixels": "pixels"}


@dataclass(frozen=True)
class FrameStatistics:
    """Figures by which a reduced frame is compared with other frames of its group, in adu.

    Attributes
    ----------
    level : float
        Mean of the science pixels after overscan subtraction.
    bias_level : float
        Level of the overscan before subtraction; NaN if there is none.
    noise : float
        Noise of a pixel, from the differences of neighbours in a row.
    row_structure, column_structure : float
        Scatter of the means of rows and of columns in excess of `noise`.
    bright_fraction : float
        Fraction of the pixels that are bright, see `_BRIGHT_SIGMA`.
    box_offsets : tuple of float
        Means of the coarse boxes minus `level`, row by row.
    n_pixels : int
        Number of pixels measured.
    """

    level: float
    bias_level: float
    noise: float
    row_structure: float
    column_structure: float
    bright_fraction: float
    box_offsets: tuple[float, ...]
    n_pixels: int = 0

    def to_record(self):
        """Return the figures by the keys that records have for them."""
        return {_KEYS_OF_RECORDS.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def from_record(cls, figures):
        """Return the statistics that `to_record` and JSON turned into plain values."""
        names = {key: name for name, key in _KEYS_OF_RECORDS.items()}
        fields = {names.get(key, key): value for key, value in figures.items()}
        return cls(**{**fields, "box_offsets": tuple(fields["box_offsets"])})


def frame_statistics(image, overscan=()):
    """Return the `FrameStatistics` of a reduced frame from `FRAME_ROWS` of its rows.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
        Adu; NaN does not count. At least one pixel for each coarse box.
    overscan : sequence of float, or numpy.ndarray of shape (k,), float32 or float64, optional
        Overscan levels that were subtracted, adu; empty for none.

    Returns
    -------
    FrameStatistics
    """
    ny, nx = image.shape
    rows = image[sampled_rows(ny, nx, 1, rows_wanted=FRAME_ROWS)]
    with np.errstate(invalid="ignore"):
        # Two infinite neighbours differ by NaN.
        steps = np.diff(rows, axis=1)
    noise = clipped_moments(steps).sigma / 2**0.5
    clean = clean_image_of(rows)
    with np.errstate(invalid="ignore"):
        n_bright = np.count_nonzero(rows > clean.level + _BRIGHT_SIGMA * max(noise, DIGITAL_NOISE))
    overscan = np.ravel(overscan)
    return FrameStatistics(
        level=clean.level,
        bias_level=float(np.mean(overscan, dtype=np.float64)) if overscan.size else float("nan"),
        noise=noise,
        row_structure=clean.excess_scatter(noise, axis=1).value,
        column_structure=clean.excess_scatter(noise, axis=0).value,
        bright_fraction=float(n_bright / rows.size),
        box_offsets=tuple(float(mean) for mean in clean.boxes().ravel()),
        n_pixels=rows.size,
    )


@dataclass(frozen=True)
class CleanImage:
    """An image without its outliers and missing pixels.

    Attributes
    ----------
    values : numpy.ndarray of shape (ny, nx), float32 or float64
        Adu, less the mean level; 0 where `is_good` is False.
    is_good : numpy.ndarray of shape (ny, nx), bool
    level : float
        The mean of the good pixels, adu; NaN if there is none.
    """

    values: np.ndarray
    is_good: np.ndarray
    level: float

    def means(self, axis):
        """Return the means of the good `values` along an axis, adu; NaN where no pixel is good."""
        with np.errstate(invalid="ignore"):
            count = np.count_nonzero(self.is_good, axis=axis)
            return self.values.sum(axis=axis, dtype=np.float64) / count

    def excess_scatter(self, noise, *, axis):
        """Return the scatter of the means along `axis` in excess of white noise, in adu.

        The square of the result is the variance of the means minus noise^2 / (values in each). Its
        error is that of a variance v of k normal values, v sqrt(2 / (k - 1)), propagated through
        the root. Without a significant excess, the error is the smallest detectable excess.

        Parameters
        ----------
        noise : float
            White noise of a pixel, adu.
        axis : int
            0 for means of columns, 1 for means of rows.

        Returns
        -------
        Estimate
        """
        means = self.means(axis)
        means = means[np.isfinite(means)]
        if len(means) < 2:
            return UNKNOWN_FIGURE
        variance = means.var(ddof=1)
        white_variance = noise**2 * len(means) / np.count_nonzero(self.is_good)
        error = variance * np.sqrt(2 / (len(means) - 1))
        value = np.sqrt(max(variance - white_variance, 0))
        if value**2 <= error:
            return Estimate(float(value), float(np.sqrt(error)))
        return Estimate(float(value), float(error / (2 * value)))

    def boxes(self):
        """Return the means of the coarse boxes minus the mean level.

        Returns
        -------
        numpy.ndarray of shape (COARSE_BOXES, COARSE_BOXES), float64
            Adu; NaN for a box without good pixels.
        """
        y_edges, x_edges = (
            np.arange(COARSE_BOXES + 1) * size // COARSE_BOXES for size in self.values.shape
        )
        bands = [slice(start, stop) for start, stop in pairwise(y_edges.tolist())]
        if max(band.stop - band.start for band in bands) > _ROWS_IN_ORDER:
            values = np.add.reduceat(self.values.astype(np.float64), y_edges[:-1], axis=0)
        else:
            values = np.stack([_sum_of_rows(self.values[band]) for band in bands])
        counts = np.stack([np.count_nonzero(self.is_good[band], axis=0) for band in bands])
        with np.errstate(invalid="ignore"):
            return np.add.reduceat(values, x_edges[:-1], axis=1) / np.add.reduceat(
                counts, x_edges[:-1], axis=1
            )


def _sum_of_rows(image):
    """Return the sum of a few rows as `numpy.add.reduceat` does, in a fourth of the time."""
    first = image[0].astype(np.float64)
    return first + np.add.reduce(image[1:], axis=0, dtype=np.float64) if len(image) > 1 else first


def clean_image_of(image):
    """Return the `CleanImage` of an image: good pixels are near the median of their column."""
    if np.isfinite(image).all():
        profile = column_medians(image)
    else:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            profile = np.nanmedian(np.where(np.isfinite(image), image, np.nan), axis=0)
    residual = image - profile
    if not image.size:
        return CleanImage(residual, np.ones(image.shape, bool), math.nan)
    limit = CLIP_SIGMA * max(clipped_moments(residual).sigma, DIGITAL_NOISE)
    with np.errstate(invalid="ignore"):
        is_good = np.abs(residual) <= limit
    if is_good.all():
        # All pixels are good: the mean needs no copy of the good pixels.
        level = np.mean(np.ravel(image), dtype=np.float64)
        return CleanImage(image - np.asarray(level, image.dtype), is_good, float(level))
    level = np.mean(image[is_good], dtype=np.float64) if is_good.any() else np.nan
    values = np.where(is_good, image - np.asarray(level, image.dtype), 0)
    return CleanImage(values, is_good, float(level))
