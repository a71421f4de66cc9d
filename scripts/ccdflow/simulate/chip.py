"""Properties that all frames of a detector share: amplifiers, dark current, response, faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ccdflow.errors import UserError
from ccdflow.simulate.optics import add_dust
from ccdflow.simulate.tracks import add_pixels

HOT_BIT, LOW_BIT, COLUMN_BIT, VARIES_BIT = 8, 16, 32, 4096
"""Bits of `Detector.defects`, those that the MASK of a calibrated frame has (docs/products.md)."""


@dataclass(frozen=True)
class SimulatedAmplifier:
    """One amplifier: it reads a band of columns, and an overscan of its own.

    The defaults are chosen: those of a usual CCD.

    Attributes
    ----------
    columns : (int, int)
        Its science columns: first, and the one after the last, zero-based.
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons (rms), before digitisation.
    level : float
        Bias level, in adu.
    row_drift : float
        Drift of the level from row to row, in adu (rms).
    nonlinearity : float
        Part of the signal that is missing at `full_scale`; half of it at half of that.
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
        Pixels along an axis within which it falls to 1/e; beyond 12 scales there is none.
    is_at_top, is_at_right : bool
        The corner from which it comes.
    """

    peak: float
    scale: float
    is_at_top: bool = False
    is_at_right: bool = False

    def corner(self, shape):
        """Return rows, columns and electrons a second, float32, of the pixels that glow."""
        reach = [min(size, int(12 * self.scale) + 1) for size in shape]
        y, x = (np.exp(-np.arange(n) / self.scale).astype(np.float32) for n in reach)
        glow = np.float32(self.peak) * np.outer(y, x)
        rows = slice(shape[0] - reach[0], shape[0]) if self.is_at_top else slice(0, reach[0])
        columns = slice(shape[1] - reach[1], shape[1]) if self.is_at_right else slice(0, reach[1])
        return rows, columns, glow[:: -1 if self.is_at_top else 1, :: -1 if self.is_at_right else 1]

    def image(self, shape):
        """Return electrons per second: float32, shape (ny, nx)."""
        image = np.zeros(shape, dtype=np.float32)
        rows, columns, glow = self.corner(shape)
        image[rows, columns] = glow
        return image


_no_triples = partial(np.empty, (0, 3))
_no_quads = partial(np.empty, (0, 4))


@dataclass(frozen=True)
class Detector:
    """The properties that all frames share.

    Rows and columns are zero-based and count science pixels. Lists of pixels are float64.

    The defaults are chosen: an overscan of 16 columns (the narrowest that needs no model along it),
    a cooled detector without a fault, and a converter of 16 bits.

    Attributes
    ----------
    shape : (int, int)
        Science pixels (ny, nx).
    amplifiers : tuple of SimulatedAmplifier
        They cover all columns, from left to right.
    n_overscan : int
        Overscan columns of each amplifier. They follow the science columns, amplifier by amplifier.
    structure : numpy.ndarray of shape (nx,) or (ny, nx), float64
        Bias level above that of the overscan, in adu.
    dark_current : float
        Electrons per second and pixel at `temperature`.
    hot_pixels : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons per second at `temperature` on top of `dark_current`.
    filling_pixels : numpy.ndarray of shape (n, 4), float64
        Row, column, electrons per second in the beginning, electrons in the end. Their charge is
        end x (1 - exp(-rate x time / end)): not linear in time.
    blinking_pixels : numpy.ndarray of shape (n, 4), float64
        Row, column, electrons per second, part of the frames in which they are on.
    temperature, doubling : float
        Temperature at which the dark current is as given, and the difference that doubles it: for
        all dark current, hot pixels included. Degrees Celsius.
    glow : Glow, optional
        Does not depend on temperature.
    pixel_response : numpy.ndarray of shape (ny, nx), float32
        Each pixel's response in all filters, defects included.
    low_pixels : numpy.ndarray of shape (n, 3), float64
        Row, column, response relative to the neighbours'; 0 for a dead pixel.
    dead_columns : tuple of int
        Columns without any response.
    traps : numpy.ndarray of shape (n, 3), float64
        Row, column, electrons that the charge of this row and of those above loses.
    illumination : dict of str to numpy.ndarray of shape (ny, nx), float32
        By filter: vignetting and dust, 1 where nothing is lost.
    dead_time : numpy.ndarray of shape (ny, nx), float64, or float
        Seconds: the part of an exposure in which no light reaches a pixel.
    full_well : float
        Electrons; charge above runs along the column.
    saturation : int
        The converter's last step, in adu.
    """

    shape: tuple[int, int]
    amplifiers: tuple[SimulatedAmplifier, ...]
    n_overscan: int = 16
    structure: np.ndarray | float = 0.0
    dark_current: float = 0.0
    hot_pixels: np.ndarray = field(default_factory=_no_triples)
    filling_pixels: np.ndarray = field(default_factory=_no_quads)
    blinking_pixels: np.ndarray = field(default_factory=_no_quads)
    temperature: float = -100.0
    doubling: float = 6.0
    glow: Glow | None = None
    pixel_response: np.ndarray | float = 1.0
    low_pixels: np.ndarray = field(default_factory=_no_triples)
    dead_columns: tuple[int, ...] = ()
    traps: np.ndarray = field(default_factory=_no_triples)
    illumination: dict[str, np.ndarray] = field(default_factory=dict)
    dead_time: np.ndarray | float = 0.0
    full_well: float = np.inf
    saturation: int = 65535

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
        """Return the response of each pixel in a filter, `Dust` that lies there now included.

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
            A filter that the detector has no illumination for.
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
        """Return the mean dark current of an exposure, without glow.

        Parameters
        ----------
        exptime, temperature : float
            Seconds, degrees Celsius.
        is_blinking_pixel_on : sequence of bool
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

    def defects(self, *, hot=0.0, low=1.0):
        """Return the truth of a map of bad pixels.

        Parameters
        ----------
        hot : float
            Least electrons per second of the hot pixels to mark (at `temperature`).
        low : float
            Largest response, relative to the neighbours, of the low pixels to mark.

        Returns
        -------
        numpy.ndarray of shape (ny, nx), int16
            `HOT_BIT` (hot, or not linear in the dark), `LOW_BIT` (dead or of low response),
            `COLUMN_BIT` (dead column, or behind a trap), `VARIES_BIT` (blinking).
        """
        mask = np.zeros(self.shape, dtype=np.int16)

        def mark(pixels, bit):
            mask[tuple(pixels[:, :2].astype(int).T)] |= bit

        mark(self.hot_pixels[self.hot_pixels[:, 2] >= hot], HOT_BIT)
        mark(self.filling_pixels, HOT_BIT)
        mark(self.blinking_pixels, VARIES_BIT)
        mark(self.low_pixels[self.low_pixels[:, 2] <= low], LOW_BIT)
        mask[:, list(self.dead_columns)] |= COLUMN_BIT
        for row, column, _ in self.traps:
            mask[int(row) :, int(column)] |= COLUMN_BIT
        return mask
