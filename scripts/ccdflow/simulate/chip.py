"""Properties that all frames of a detector share: amplifiers, dark current, response, faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ccdflow.errors import UserError
from ccdflow.simulate.camera import SATURATION
from ccdflow.simulate.optics import add_dust
from ccdflow.simulate.tracks import add_pixels

HOT_BIT, LOW_BIT, COLUMN_BIT, VARIES_BIT = 8, 16, 32, 4096
"""Bits of `Detector.defects`, the same as in the MASK of a calibrated frame (docs/products.md)."""


@dataclass(frozen=True)
class SimulatedAmplifier:
    """An amplifier, which reads a band of columns and an overscan.

    The defaults are chosen: those of a usual CCD.

    Attributes
    ----------
    columns : (int, int)
        Science columns of the amplifier: the first, and the one after the last, zero-based.
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons (rms), before digitisation.
    level : float
        Bias level, in adu.
    row_drift : float
        Drift of the level from row to row, in adu (rms).
    nonlinearity : float
        Fraction of the signal that is missing at `full_scale`; half the fraction at half of it.
    full_scale : float
        Electrons.
    """

    columns: tuple[int, int]
    gain: float = 1.5
    read_noise: float = 6.0
    level: float = 1000.0
    row_drift: float = 1.0
    nonlinearity: float = 0.0
    full_scale: float = 90_000.0

    @property
    def slice(self):
        """The amplifier's science columns as a slice."""
        return slice(*self.columns)


@dataclass(frozen=True)
class Glow:
    """Light of an amplifier on its own detector: it falls off from one corner.

    Attributes
    ----------
    peak : float
        Electrons a second in the pixel of the corner.
    scale : float
        Pixels along an axis within which the glow falls to 1/e; beyond 12 scales it is 0.
    is_at_top, is_at_right : bool
        The corner with the peak.
    """

    peak: float
    scale: float
    is_at_top: bool = False
    is_at_right: bool = False

    def corner(self, shape):
        """Return rows, columns and electrons a second, float32, of the pixels that glow."""
        extent = [min(size, int(12 * self.scale) + 1) for size in shape]
        y, x = (np.exp(-np.arange(n) / self.scale).astype(np.float32) for n in extent)
        glow = np.float32(self.peak) * np.outer(y, x)
        rows = slice(shape[0] - extent[0], shape[0]) if self.is_at_top else slice(0, extent[0])
        columns = slice(shape[1] - extent[1], shape[1]) if self.is_at_right else slice(0, extent[1])
        return rows, columns, glow[:: -1 if self.is_at_top else 1, :: -1 if self.is_at_right else 1]

    def image(self, shape):
        """Return the glow in electrons per second: float32, shape (ny, nx)."""
        image = np.zeros(shape, dtype=np.float32)
        rows, columns, glow = self.corner(shape)
        image[rows, columns] = glow
        return image


_empty_triples = partial(np.empty, (0, 3))
_empty_quadruples = partial(np.empty, (0, 4))


@dataclass(frozen=True)
class Detector:
    """A detector by the properties that all its frames share.

    Rows and columns are zero-based and count science pixels. Lists of pixels are float64.

    The defaults are chosen: an overscan of 16 columns (the narrowest that needs no model along it),
    a cooled detector without a fault, and a converter of 16 bits.

    Attributes
    ----------
    shape : (int, int)
        Science pixels (ny, nx).
    amplifiers : tuple of SimulatedAmplifier
        Amplifiers that together cover all columns, from left to right.
    n_overscan : int
        Overscan columns of each amplifier. They follow the science columns, amplifier by amplifier.
    structure : numpy.ndarray of shape (nx,) or (ny, nx), float64, or float
        Bias level above that of the overscan, in adu.
    dark_current : float
        Electrons per second and pixel at `temperature`.
    hot_pixels : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons per second at `temperature` on top of `dark_current`.
    filling_pixels : numpy.ndarray of shape (n, 4), float64
        Row, column, initial electrons per second, final electrons. The charge of these pixels,
        end x (1 - exp(-rate x time / end)), is not linear in time.
    blinking_pixels : numpy.ndarray of shape (n, 4), float64
        Row, column, electrons per second, fraction of the frames in which the pixel is on.
    temperature, doubling : float
        Temperature at which `dark_current` and the rates of hot pixels hold, and the difference
        that doubles them, degrees Celsius.
    glow : Glow, optional
        Glow of an amplifier, which does not depend on the temperature.
    pixel_response : numpy.ndarray of shape (ny, nx), float32, or float
        Each pixel's response in all filters, defects included.
    low_pixels : numpy.ndarray of shape (n, 3), float64
        Row, column, response relative to the neighbours'; 0 for a dead pixel.
    dead_columns : tuple of int
        Columns without any response.
    traps : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons that the charge of this row and of the rows above it loses.
    illumination : dict of str to numpy.ndarray of shape (ny, nx), float32
        Vignetting and dust by filter: 1 where no light is lost.
    dead_time : numpy.ndarray of shape (ny, nx), float64, or float
        Seconds: the part of an exposure in which no light reaches a pixel.
    full_well : float
        Electrons above which charge runs along the column.
    saturation : int
        The highest value of the converter, adu.
    """

    shape: tuple[int, int]
    amplifiers: tuple[SimulatedAmplifier, ...]
    n_overscan: int = 16
    structure: np.ndarray | float = 0.0
    dark_current: float = 0.0
    hot_pixels: np.ndarray = field(default_factory=_empty_triples)
    filling_pixels: np.ndarray = field(default_factory=_empty_quadruples)
    blinking_pixels: np.ndarray = field(default_factory=_empty_quadruples)
    temperature: float = -100.0
    doubling: float = 6.0
    glow: Glow | None = None
    pixel_response: np.ndarray | float = 1.0
    low_pixels: np.ndarray = field(default_factory=_empty_triples)
    dead_columns: tuple[int, ...] = ()
    traps: np.ndarray = field(default_factory=_empty_triples)
    illumination: dict[str, np.ndarray] = field(default_factory=dict)
    dead_time: np.ndarray | float = 0.0
    full_well: float = np.inf
    saturation: int = SATURATION

    def __post_init__(self):
        edges = [0, *(a.columns[1] for a in self.amplifiers)]
        starts = [a.columns[0] for a in self.amplifiers]
        if starts != edges[:-1] or edges[-1] != self.shape[1] or edges != sorted(set(edges)):
            raise UserError(
                "the amplifiers do not share the columns among them",
                keyword="amplifiers",
                value=[a.columns for a in self.amplifiers],
                allowed=f"columns 0 to {self.shape[1]}, from left to right, each once",
                remedy="begin each amplifier at the column where the one before ends",
            )

    @property
    def raw_shape(self):
        """Rows and columns of a raw frame."""
        return self.shape[0], self.shape[1] + self.n_overscan * len(self.amplifiers)

    def overscan(self, number):
        """Return the overscan columns of an amplifier (counted from 0) as a slice."""
        first = self.shape[1] + number * self.n_overscan
        return slice(first, first + self.n_overscan)

    def response(self, filter, dust=()):
        """Return the response of each pixel in a filter, including dust of the night.

        Parameters
        ----------
        filter : str
        dust : sequence of ccdflow.simulate.optics.Dust, optional
            Grains of this night.

        Returns
        -------
        numpy.ndarray of shape (ny, nx), float64

        Raises
        ------
        UserError
            If the detector has no illumination for the filter.
        """
        if filter not in self.illumination:
            raise UserError(
                "the simulated camera has no such filter",
                keyword="filter",
                value=filter,
                allowed=", ".join(sorted(self.illumination)),
                remedy="give another filter, or the detector an `illumination` of this one",
            )
        response = np.multiply(self.pixel_response, self.illumination[filter], dtype=np.float64)
        for grain in dust:
            add_dust(response, grain)
        return response

    def dark_factor(self, temperature):
        """Return the dark current at a temperature over that at the detector's `temperature`."""
        return 2.0 ** ((temperature - self.temperature) / self.doubling)

    def dark_charge(self, exptime, *, temperature, is_blinking_pixel_on=()):
        """Return the mean dark charge of an exposure, without glow.

        Parameters
        ----------
        exptime, temperature : float
            Seconds, degrees Celsius.
        is_blinking_pixel_on : sequence of bool, optional
            Whether each of `blinking_pixels` is on (default: none).

        Returns
        -------
        numpy.ndarray of shape (ny, nx), float64
            Electrons.
        """
        time = exptime * self.dark_factor(temperature)
        charge = np.full(self.shape, self.dark_current * time)
        add_pixels(charge, self.hot_pixels * (1, 1, time))
        rows, columns, rate, end = self.filling_pixels.T
        add_pixels(charge, np.column_stack([rows, columns, end * -np.expm1(-rate * time / end)]))
        if len(is_blinking_pixel_on):
            add_pixels(
                charge, self.blinking_pixels[np.asarray(is_blinking_pixel_on), :3] * (1, 1, time)
            )
        return charge

    def glow_charge(self, exptime):
        """Return the mean glow of an exposure in electrons: float64, shape (ny, nx)."""
        image = np.zeros(self.shape)
        if self.glow is not None:
            image += self.glow.image(self.shape)
        return image * exptime

    def defects(self, *, least_hot_rate=0.0, most_low_response=1.0):
        """Return the true mask of bad pixels.

        Parameters
        ----------
        least_hot_rate : float, optional
            Hot pixels of at least this many electrons per second, at `temperature`, are flagged.
        most_low_response : float, optional
            Low pixels of at most this response, relative to the neighbours, are flagged.

        Returns
        -------
        numpy.ndarray of shape (ny, nx), int16
            `HOT_BIT` (hot, or not linear in the dark), `LOW_BIT` (dead or of low response),
            `COLUMN_BIT` (dead column, or beyond a trap), `VARIES_BIT` (blinking).
        """
        mask = np.zeros(self.shape, dtype=np.int16)

        def mark(pixels, bit):
            """Set a bit in the mask at some pixels."""
            mask[tuple(pixels[:, :2].astype(int).T)] |= bit

        mark(self.hot_pixels[self.hot_pixels[:, 2] >= least_hot_rate], HOT_BIT)
        mark(self.filling_pixels, HOT_BIT)
        mark(self.blinking_pixels, VARIES_BIT)
        mark(self.low_pixels[self.low_pixels[:, 2] <= most_low_response], LOW_BIT)
        mask[:, list(self.dead_columns)] |= COLUMN_BIT
        for row, column, _ in self.traps:
            mask[int(row) :, int(column)] |= COLUMN_BIT
        return mask
