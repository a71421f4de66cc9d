"""The noise of a pixel, predicted from gain and read noise of its amplifier."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache

import numpy as np

from ccdflow.camera.sections import Region
from ccdflow.errors import UserError

DIGITAL_NOISE = 1 / np.sqrt(12)
"""Noise of rounding to whole numbers: the noise of a camera counts as at least this.

The error of rounding is uniform from -1/2 to 1/2; its variance is the integral of x^2, 1/12.
"""

# Least number of samples of normal values: they give the variance of a median to 1 %.
_TRIALS = 40_000
# Samples of few values are more numerous: they have this many values in all.
_TRIAL_VALUES = 400_000
# Seed of the random numbers: another one would change UNCERT of medians.
_TRIAL_SEED = 20160118
# The least divisor: smaller numbers lose digits in float32, the type of the pixels.
_LEAST_POSITIVE = float(np.finfo(np.float32).tiny)
# The remedy for a noise that is out of range.
_NOISE_REMEDY = "give it in the unit of the frames"


@dataclass(frozen=True)
class AmplifierNoise:
    """Noise parameters of an amplifier.

    Attributes
    ----------
    name : str
        Name of the amplifier.
    region : ccdflow.camera.sections.Region
        Its pixels in the image; may be given as a tuple, ``(y0, y1, x0, x1)``.
    read_noise : float or None
        Noise of a pixel without light, in the unit of the members (adu, or electrons if `gain` is
        1); None if unknown.
    gain : float or None
        Electrons per unit; None if unknown, and for biases, which hold no light.
    level_noise : float
        Noise of the subtracted overscan level, in the unit of the members: common to the pixels of
        a row.
    factor : float
        Measured noise over the noise predicted from the other parameters.
    """

    name: str
    region: Region
    read_noise: float | None = None
    gain: float | None = None
    level_noise: float = 0.0
    factor: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "region", Region.of_ends(self.region))
        for keyword, value, limit, remedy in (
            ("read_noise", self.read_noise, 0.0, _NOISE_REMEDY),
            ("gain", self.gain, _LEAST_POSITIVE, "give electrons per unit of the frames"),
            ("level_noise", self.level_noise, 0.0, _NOISE_REMEDY),
            ("factor", self.factor, _LEAST_POSITIVE, "give a ratio, 1 for none"),
        ):
            if value is not None and not limit <= value < np.inf:
                raise UserError(
                    f"the value of amplifier {self.name} is out of range",
                    keyword=keyword,
                    value=value,
                    allowed="a positive number" if limit else "0 or more",
                    remedy=remedy,
                )

    @property
    def variance_without_light(self):
        """Variance of a pixel without light, in the unit of the members squared."""
        read_noise = max(self.read_noise or 0.0, DIGITAL_NOISE)
        return self.factor**2 * (read_noise**2 + self.level_noise**2)

    @property
    def variance_per_light(self):
        """Variance added by a unit of light, in the unit of the members."""
        return self.factor**2 / self.gain if self.gain else 0.0


def checked_region(amplifier, shape):
    """Return the region of an amplifier; raise if it is not inside the image.

    Parameters
    ----------
    amplifier : AmplifierNoise
        Or another amplifier with a name and a region.
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    ccdflow.camera.sections.Region

    Raises
    ------
    UserError
        If the region is not inside the image.
    """
    region = amplifier.region
    if not region.is_within(shape):
        raise UserError(
            f"the region of amplifier {amplifier.name} is not inside the image",
            keyword="region",
            value=astuple(region),
            allowed=f"(y0, y1, x0, x1) within {shape}",
            remedy="give the region in pixels of the trimmed image",
        )
    return region


@dataclass(frozen=True)
class LightGrid:
    """Smooth light of one amplifier: values on a grid, linear between and beyond them.

    Attributes
    ----------
    region : ccdflow.camera.sections.Region
        Region of the amplifier.
    rows, columns : numpy.ndarray of shape (k,) and (m,), float64
        The positions of the values in the amplifier, ascending.
    values : numpy.ndarray of shape (k, m), float64
        In the unit of the members.
    """

    region: Region
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @cached_property
    def _lines(self):
        """Light of the grid's rows at all columns, (k, nx), and the step to the next row."""
        low, fraction = _between_knots(self.columns, np.arange(self.region.x1 - self.region.x0))
        high = np.minimum(low + 1, len(self.columns) - 1)
        lines = self.values[:, low] + fraction * (self.values[:, high] - self.values[:, low])
        return lines, np.diff(lines, axis=0, append=lines[-1:])

    @cached_property
    def _knots(self):
        """For each row of the amplifier the grid's row before, and the fraction to the next."""
        return _between_knots(self.rows, np.arange(self.region.y1 - self.region.y0))

    def write(self, first, out):
        """Write the light of whole rows of the image, from row `first` on, to `out`, (k, nx).

        Parameters
        ----------
        first : int
            Row of the image.
        out : numpy.ndarray of shape (k, nx), float32 or float64
            Only the amplifier's own pixels are written.
        """
        y0, columns = self.region.y0, self.region.columns
        start, stop = max(first, y0), min(first + len(out), self.region.y1)
        lines, steps = self._lines
        low, fraction = (each[start - y0 : stop - y0] for each in self._knots)
        while start < stop:
            # Number of rows between the same two rows of the grid.
            count = int(np.searchsorted(low, low[0], side="right"))
            pixels = out[start - first : start - first + count, columns]
            dtype = out.dtype.type
            column = fraction[:count, None].astype(dtype)
            np.multiply(column, steps[low[0]].astype(dtype), out=pixels)
            pixels += lines[low[0]].astype(dtype)
            start, low, fraction = start + count, low[count:], fraction[count:]

    def light_at(self, rows, columns):
        """Return the light of some pixels of the amplifier.

        Parameters
        ----------
        rows, columns : numpy.ndarray of any shape, int
            Indices in the image, of one shape.

        Returns
        -------
        numpy.ndarray of the same shape, float64
            In the unit of the members.
        """
        lines, steps = self._lines
        low, fraction = (each[rows - self.region.y0] for each in self._knots)
        columns = columns - self.region.x0
        return lines[low, columns] + fraction * steps[low, columns]


def _between_knots(knots, positions):
    """Return the knot before each position, and the fraction of the way to the next knot.

    The fraction is below 0 before the first knot, and above 1 after the last one.
    """
    if len(knots) == 1:
        return np.zeros(len(positions), int), np.zeros(len(positions))
    low = np.clip(np.searchsorted(knots, positions, side="right") - 1, 0, len(knots) - 2)
    return low, (positions - knots[low]) / (knots[low + 1] - knots[low])


@dataclass(frozen=True)
class ExpectedLight:
    """Expected light of all pixels of an image; 0 outside all amplifiers.

    Attributes
    ----------
    grids : tuple of LightGrid
        One for each amplifier.
    nx : int
        Columns of the image.
    """

    grids: tuple[LightGrid, ...]
    nx: int

    def light_between(self, start, stop, dtype=np.float64):
        """Return the light of the pixels from `start` to `stop`.

        Parameters
        ----------
        start, stop : int
            Pixels of the flattened image.
        dtype : dtype, optional

        Returns
        -------
        numpy.ndarray of shape (stop - start,), of type `dtype`
        """
        first_row, stop_row = start // self.nx, -(-stop // self.nx)
        rows = np.zeros((stop_row - first_row, self.nx), dtype)
        for grid in self.grids:
            grid.write(first_row, rows)
        return rows.reshape(-1)[start - first_row * self.nx : stop - first_row * self.nx]

    def light_at(self, rows, columns):
        """Return the light of pixels.

        Parameters
        ----------
        rows, columns : numpy.ndarray of any shape, int
            Indices in the image, of one shape.

        Returns
        -------
        numpy.ndarray of the same shape, float64
            In the unit of the members.
        """
        light = np.zeros(rows.shape)
        for grid in self.grids:
            region = grid.region
            is_inside = region.has_rows(rows) & (columns >= region.x0) & (columns < region.x1)
            light[is_inside] = grid.light_at(rows[is_inside], columns[is_inside])
        return light


@dataclass(frozen=True)
class NoiseModel:
    """Noise of every pixel of an image: variance = read_variance + photon_slope x light.

    Attributes
    ----------
    amplifiers : tuple of AmplifierNoise
        Pixels outside all amplifiers have infinite variance.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    expected_light : ExpectedLight or None
        Light of the pixels, estimated from their surroundings. It sets the noise of all pixels that
        are not significantly brighter: by its own value, a pixel would seem noisier if noise raised
        it. None for frames with much light, for which it makes no difference.

    Raises
    ------
    UserError
        If an amplifier is not inside the image, or its read noise is unknown.
    """

    amplifiers: tuple[AmplifierNoise, ...]
    shape: tuple[int, int]
    expected_light: ExpectedLight | None = None

    def __post_init__(self):
        for amplifier in self.amplifiers:
            checked_region(amplifier, self.shape)
            if amplifier.read_noise is None:
                raise UserError(
                    f"the read noise of amplifier {amplifier.name} is not known",
                    keyword="read_noise",
                    remedy="give the read noise of the amplifier",
                )

    @cached_property
    def _patterns(self):
        """Read variance and photon slope of each band of equal rows, and the band of each row."""
        edges = {0, self.shape[0]}
        for amplifier in self.amplifiers:
            edges |= {amplifier.region.y0, amplifier.region.y1}
        starts = sorted(edges)[:-1]
        read_variance = np.full((len(starts), self.shape[1]), np.inf)
        photon_slope = np.zeros_like(read_variance)
        for amplifier in self.amplifiers:
            rows, columns = amplifier.region.has_rows(np.array(starts)), amplifier.region.columns
            read_variance[rows, columns] = amplifier.variance_without_light
            photon_slope[rows, columns] = amplifier.variance_per_light
        bands = np.searchsorted(starts, np.arange(self.shape[0]), side="right") - 1
        return read_variance, photon_slope, bands

    def uniform_terms(self, dtype=np.float64):
        """Return (read_variance, photon_slope) of all pixels, (1,) each; None if pixels differ."""
        read_variance, photon_slope, _ = self._patterns
        if any((pattern != pattern[0, 0]).any() for pattern in (read_variance, photon_slope)):
            return None
        return read_variance[0, :1].astype(dtype), photon_slope[0, :1].astype(dtype)

    def terms_at(self, positions):
        """Return (read_variance, photon_slope) of some pixels, float64, shape ``(k,)``.

        Parameters
        ----------
        positions : numpy.ndarray of shape (k,), int
            Indices of pixels in the image, counted row by row.

        Returns
        -------
        (numpy.ndarray, numpy.ndarray) of shape (k,), float64
        """
        read_variance, photon_slope, bands = self._patterns
        rows, columns = np.divmod(positions, self.shape[1])
        bands_of_pixels = bands[rows]
        return read_variance[bands_of_pixels, columns], photon_slope[bands_of_pixels, columns]

    def terms(self, start, stop, dtype=np.float64):
        """Return (read_variance, photon_slope) of the pixels from `start` to `stop`.

        Parameters
        ----------
        start, stop : int
            Pixels of the flattened image.
        dtype : dtype, optional

        Returns
        -------
        (numpy.ndarray, numpy.ndarray) of shape (stop - start,), of type `dtype`
        """
        read_variance, photon_slope, bands = self._patterns
        return tuple(
            _pattern_pixels(each, bands, start, stop, dtype)
            for each in (read_variance, photon_slope)
        )

    def expected_light_between(self, start, stop, dtype=np.float64):
        """Return the expected light of the pixels from `start` to `stop`, or None.

        Parameters
        ----------
        start, stop : int
            Pixels of the flattened image.
        dtype : dtype, optional

        Returns
        -------
        numpy.ndarray of shape (stop - start,), of type `dtype`, or None
        """
        if self.expected_light is None:
            return None
        return self.expected_light.light_between(start, stop, dtype)

    def expected_light_at(self, positions):
        """Return the expected light of some pixels, or None; `positions` as for `terms_at`."""
        if self.expected_light is None:
            return None
        return self.expected_light.light_at(*np.divmod(positions, self.shape[1]))


def _pattern_pixels(pattern, bands, start, stop, dtype):
    """Return the pixels from `start` to `stop` of an image whose rows are equal within bands.

    Parameters
    ----------
    pattern : numpy.ndarray of shape (bands, nx), float64
        The row of each band.
    bands : numpy.ndarray of shape (ny,), int
        The band of each row.
    start, stop : int
        Pixels of the flattened image.
    dtype : numpy.dtype
        Type of the result.
    """
    nx = pattern.shape[1]
    first_row, stop_row = start // nx, -(-stop // nx)
    bands_of_rows = bands[first_row:stop_row]
    pixels = slice(start - first_row * nx, stop - first_row * nx)
    if bands_of_rows[0] == bands_of_rows[-1]:
        return np.resize(pattern[bands_of_rows[0]].astype(dtype), len(bands_of_rows) * nx)[pixels]
    return pattern[bands_of_rows].reshape(-1)[pixels].astype(dtype)


# A simulation takes 0.03 to 0.2 s. Few results are kept: one for each number of members in an
# archive.
@lru_cache(maxsize=256)
def median_variance_over_mean(n):
    """Return the variance of the median of `n` normal values over that of their mean, to 1 %."""
    if n < 3:
        return 1.0
    values = np.random.default_rng(_TRIAL_SEED).standard_normal(
        (n, max(_TRIALS, _TRIAL_VALUES // n))
    )
    return float(np.var(np.median(values, axis=0)) / np.var(values.mean(axis=0)))
