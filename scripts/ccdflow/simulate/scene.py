"""Light before it reaches the detector: sky or lamp, its gradient, and stars of known flux."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ccdflow.errors import UserError
from ccdflow.simulate.optics import box_about, relative_coordinates

# Full width at half maximum of a Gaussian: 2 sqrt(2 ln 2) sigma.
_FWHM_OVER_SIGMA = 2.3548200450309493
# Points and weights of the Gauss-Legendre quadrature on a pixel from -0.5 to 0.5.
_GAUSS_POINTS = np.array([-0.3872983346207417, 0.0, 0.3872983346207417])
_GAUSS_WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18


@dataclass(frozen=True)
class Sky:
    """Light on the detector: a lamp, the twilight or the night sky, with or without stars.

    Attributes
    ----------
    rate : float
        Electrons per second of sky or lamp in a pixel of response 1 in the centre.
    gradient : (float, float)
        Relative change of the rate from the centre to the last row, and to the last column.
    stars : numpy.ndarray of shape (n, 3), float64
        Row, column (zero-based among the science pixels), electrons per second for a response of 1;
        by default none.
    fwhm : float
        Full width at half maximum of the stars, in pixels; the default is chosen: a usual seeing,
        well sampled.
    beta : float, optional
        Exponent of a Moffat profile, above 1; without it the profile is Gaussian.
    """

    rate: float = 0.0
    gradient: tuple[float, float] = (0.0, 0.0)
    stars: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    fwhm: float = 4.0
    beta: float | None = None

    def __post_init__(self):
        if self.rate < 0 or abs(self.gradient[0]) + abs(self.gradient[1]) > 1:
            raise UserError(
                "the simulated sky is negative somewhere",
                keyword="rate, gradient",
                value=(self.rate, self.gradient),
                allowed="a rate of 0 or more; gradients whose sizes add up to 1 at most",
                remedy="give a larger rate or smaller gradients",
            )
        if not self.fwhm > 0 or (self.beta is not None and not self.beta > 1):
            raise UserError(
                "no profile of a star has this shape",
                keyword="fwhm, beta",
                value=(self.fwhm, self.beta),
                allowed="fwhm above 0; beta above 1, or none for a Gaussian profile",
                remedy="give a fwhm in pixels such as 3, and a beta such as 2.5 or none",
            )

    def image(self, shape):
        """Return the light of sky and stars, electrons per second: float64, shape (ny, nx)."""
        y, x = relative_coordinates(shape)
        light = self.rate * (1.0 + self.gradient[0] * np.float64(y) + self.gradient[1] * x)
        for row, column, flux in self.stars:
            add_star(light, row, column, flux, fwhm=self.fwhm, beta=self.beta)
        return light


def add_star(image, y, x, flux, *, fwhm, beta=None):
    """Add a star to an image, in place: the integral of its profile over each pixel.

    A Gaussian profile ends 6 sigma from its centre. A Moffat profile ends at 10 times the FWHM:
    with an exponent of 3.5, 1e-5 of the flux is beyond.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float64
        Changed in place.
    y, x : float
        Centre, pixels.
    flux : float
        Sum over the star in the unit of the image.
    fwhm : float
        Pixels.
    beta : float, optional
        Exponent of a Moffat profile; without it the profile is Gaussian.
    """
    if beta is None:
        sigma = fwhm / _FWHM_OVER_SIGMA
        rows, columns = box_about(y, x, 6 * sigma + 1, image.shape)
        image[rows, columns] += flux * np.outer(
            _gaussian_integral(rows, y, sigma), _gaussian_integral(columns, x, sigma)
        )
        return
    rows, columns = box_about(y, x, 10 * fwhm, image.shape)
    image[rows, columns] += flux * _moffat_integral(rows, columns, y=y, x=x, fwhm=fwhm, beta=beta)


def _gaussian_integral(pixels, centre, sigma):
    """Return the integral of a Gaussian of area 1 over each pixel of a slice."""
    edges = np.arange(pixels.start, pixels.stop + 1) - 0.5 - centre
    return np.diff([math.erf(edge / (math.sqrt(2) * sigma)) for edge in edges]) / 2


def _moffat_integral(rows, columns, y, x, fwhm, beta):
    """Return the integral of a Moffat profile of flux 1 over each pixel of a box.

    Parameters
    ----------
    rows, columns : slice
        The box.
    y, x : float
        The centre, pixels from 0.
    fwhm : float
        Pixels.
    beta : float
        Exponent of the profile.
    """
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    dy = np.arange(rows.start, rows.stop) - y
    dx = np.arange(columns.start, columns.stop) - x
    total = np.zeros((dy.size, dx.size))
    for point_y, weight_y in zip(_GAUSS_POINTS, _GAUSS_WEIGHTS, strict=True):
        for point_x, weight_x in zip(_GAUSS_POINTS, _GAUSS_WEIGHTS, strict=True):
            squared_distance = (dy[:, None] + point_y) ** 2 + (dx + point_x) ** 2
            total += weight_y * weight_x * (1 + squared_distance / alpha**2) ** -beta
    return total * (beta - 1) / (np.pi * alpha**2)


def draw_stars(shape, count, *, flux, seed, margin=0.0):
    """Return stars at random places, with fluxes that are evenly spread in magnitude.

    Parameters
    ----------
    shape : (int, int)
    count : int
    flux : (float, float)
        Fluxes of the faintest and brightest star, electrons per second.
    seed : int
    margin : float, optional
        Least distance from the edges, in pixels.

    Returns
    -------
    numpy.ndarray of shape (count, 3), float64
        As in `Sky.stars`.

    Examples
    --------
    >>> draw_stars((64, 48), 3, flux=(10.0, 1000.0), seed=1).shape
    (3, 3)
    """
    rng = np.random.default_rng(seed)
    rows, columns = (rng.uniform(margin, size - 1 - margin, count) for size in shape)
    return np.column_stack([rows, columns, np.exp(rng.uniform(*np.log(flux), count))])
