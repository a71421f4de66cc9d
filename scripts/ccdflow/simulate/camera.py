"""The camera of the CCD guide's night: size, overscan, noise, and its faults."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from ccdflow.errors import UserError

SATURATION = 65535
"""The highest value of the converter, adu."""


# Keys of truth.json that differ from the names of the fields: they are older than these names.
_KEYS_OF_TRUTH = {"has_usable_biassec": "sound_header", "cosmic_ray_rate": "cosmic_rays"}


@dataclass(frozen=True)
class SimulatedCamera:
    """A simulated camera of one amplifier.

    The defaults are the LFC at Palomar, the camera of the CCD guide. Sizes, gain and the fault of
    BIASSEC are those of its headers; levels, read noise and leaked light those of the guide's
    frames. Drift, dark current and glow are chosen: large enough to show in a night's masters.

    Attributes
    ----------
    instrument : str
        Value of the INSTRUME card.
    nx, ny : int
        Science columns and rows, in pixels.
    n_overscan : int
        Overscan columns, in pixels.
    n_leaked : int
        Number of overscan columns that hold leaked light, counted from the science pixels.
    overscan_side : {'right', 'left'}
        Side of the science pixels on which the overscan is.
    has_usable_biassec : bool
        Whether BIASSEC names the usable overscan. Otherwise, as in the LFC, it includes the leaked
        columns and lacks the last row.
    gain : float
        Electrons per adu.
    read_noise : float
        Electrons (rms).
    level : float
        Bias level, in adu.
    gradient : float
        Excess of the bias level in the first science column, in adu.
    gradient_scale : float
        Distance over which the gradient falls to 1/e, as a fraction of nx.
    leak, leak_fraction : float
        Light in the overscan column next to the science pixels: adu in every frame, and the
        fraction of the mean exposed signal that is added.
    leak_ratio : float
        Light of each further overscan column relative to the column before.
    row_drift : float
        Row-to-row drift of the level, in adu (rms).
    dark_current : float
        Electrons per second and pixel.
    glow : float
        Glow of the amplifier in the science pixel nearest to row 0 and column 0, in electrons per
        second.
    glow_scale : float
        Distance over which the glow falls to 1/e, as a fraction of nx.
    cosmic_ray_rate : float
        Cosmic rays per pixel and second.
    """

    instrument: str = "LFC"
    nx: int = 2048
    ny: int = 4128
    n_overscan: int = 32
    n_leaked: int = 7
    overscan_side: str = "right"
    has_usable_biassec: bool = False
    gain: float = 1.1
    read_noise: float = 11.0
    level: float = 1140.0
    gradient: float = 240.0
    gradient_scale: float = 0.045
    leak: float = 40.0
    leak_fraction: float = 0.02
    leak_ratio: float = 0.75
    row_drift: float = 2.0
    dark_current: float = 0.01
    glow: float = 10.0
    glow_scale: float = 0.04
    # A rate of 1.5 a minute and cm^2 at sea level, on pixels of 15 micrometres.
    cosmic_ray_rate: float = 5.6e-8

    def __post_init__(self):
        if self.overscan_side not in ("right", "left"):
            raise UserError(
                "unknown side of the overscan",
                keyword="overscan_side",
                value=self.overscan_side,
                allowed="right, left",
                remedy="give right, the side of the guide's camera, if in doubt",
            )
        if min(self.nx, self.ny) < 8:
            raise UserError(
                "the simulated frame is too small",
                keyword="(ny, nx)",
                value=(self.ny, self.nx),
                allowed="at least 8 science pixels along each axis",
                remedy="give a larger frame",
            )
        if not 0 <= self.n_leaked < self.n_overscan:
            raise UserError(
                "no overscan column is left without leaked light",
                keyword="n_leaked",
                value=self.n_leaked,
                allowed=f"0 to {self.n_overscan - 1}",
                remedy="give fewer leaked columns, or more columns of overscan",
            )

    def scale_by(self, scale):
        """Return the camera with `scale` times the science rows and columns; the overscan stays.

        Raises
        ------
        UserError
            If the scale is 0 or less, or above 1, or leaves fewer than 8 pixels along an axis.
        """
        if not 0 < scale <= 1:
            raise UserError(
                "the scale of a simulated frame is out of range",
                keyword="scale",
                value=scale,
                allowed="above 0, up to 1",
                remedy="give a number such as 0.25",
            )
        return replace(self, nx=round(self.nx * scale), ny=round(self.ny * scale))

    @property
    def naxis1(self):
        """Columns of the raw frame."""
        return self.nx + self.n_overscan

    @property
    def read_noise_adu(self):
        """Read noise in adu, before digitisation (which adds 1/sqrt(12) adu in quadrature)."""
        return self.read_noise / self.gain

    @property
    def data_columns(self):
        """Science columns as a slice (zero-based, end exclusive)."""
        first = 0 if self.overscan_side == "right" else self.n_overscan
        return slice(first, first + self.nx)

    @property
    def overscan_columns(self):
        """All overscan columns, as a slice."""
        first = self.nx if self.overscan_side == "right" else 0
        return slice(first, first + self.n_overscan)

    @property
    def leaked_columns(self):
        """Indices, (k,) int, of the overscan columns with leaked light, the nearest first."""
        if self.overscan_side == "right":
            return np.arange(self.nx, self.nx + self.n_leaked)
        return np.arange(self.n_overscan - 1, self.n_overscan - 1 - self.n_leaked, -1)

    @property
    def usable_overscan_columns(self):
        """The overscan columns without leaked light, as a slice."""
        columns = self.overscan_columns
        if self.overscan_side == "right":
            return slice(columns.start + self.n_leaked, columns.stop)
        return slice(columns.start, columns.stop - self.n_leaked)

    def section(self, columns, *, rows=None):
        """Return a slice of columns as a FITS section over the first rows (default: all).

        Parameters
        ----------
        columns : slice
            From 0.
        rows : int, optional

        Returns
        -------
        str
        """
        return f"[{columns.start + 1}:{columns.stop},1:{self.ny if rows is None else rows}]"

    def parameters(self):
        """Return the fields by the names that the truth of a simulated folder has for them.

        Returns
        -------
        dict of str to object
        """
        return {_KEYS_OF_TRUTH.get(name, name): value for name, value in asdict(self).items()}

    @property
    def biassec(self):
        """Value of BIASSEC: wrong as in the LFC's headers, unless the camera has sound ones."""
        if self.has_usable_biassec:
            return self.section(self.usable_overscan_columns)
        return self.section(self.overscan_columns, rows=self.ny - 1)


LFC = SimulatedCamera()
"""The guide's camera."""

ARCHIVE_CAMERA = SimulatedCamera(nx=64, ny=48)
"""A small camera, for archives of many frames."""
