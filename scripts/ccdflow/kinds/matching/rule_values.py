"""The values that a choice of masters is made from: rules, noise, frames, masters on offer."""

from __future__ import annotations

from dataclasses import dataclass

from ccdflow.run.job import Remark, RemarkKind

SENSOR_SPREAD_DEGREES = 2.0
"""Sensors kept at one set point differ by at most this many degrees."""

WARMING_WITH_LEVEL = 1.0
"""A bias whose level no overscan removes changes by this many electrons a degree."""

HARMLESS_SCALE_UP = 1.01
"""A dark scaled up by at most this factor is as good as one that is scaled down."""

EPOCH = "epoch"
"""The key in a setup of the first night after a camera was changed."""

LONG_VALUES = {
    "part": "part of the detector",
    "layout": "layout of the amplifiers or way to reduce",
}
"""Words for values of a setup that are too long for a line."""

MOST_CANDIDATES = 5
"""A frame considers at most this number of masters of each kind."""


EXACT_NIGHTS = 30
"""Exact darks go before scaled ones; if all are further away, scaled ones this near compete.

docs/masters.md has the variance that this costs where dark current is proportional to time.
"""


TEMPERATURE_UNKNOWN = Remark(RemarkKind.UNKNOWN_TEMPERATURE, "temperature unknown")
"""The remark on a dark if the temperature of it, or of the frame, is unknown."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a master is chosen: the settings of ``calibrate:``.

    Attributes
    ----------
    direction : {'causal', 'nearest'}
        causal: masters of the frame's own night and of earlier nights compete; a later one is taken
        only where they have none. nearest: all compete.
    same_night : bool
        A master of the frame's own night wins whenever there is one.
    scale_up : float
        A dark is scaled up to an exposure longer by this factor at most; 1 forbids it.
    temperature_tolerance : float
        Degrees by which a dark's temperature may differ from the frame's; a bias or flat that
        differs by more is reported.
    """

    direction: str = "causal"
    same_night: bool = False
    scale_up: float = 2.5
    temperature_tolerance: float = 0.5


@dataclass(frozen=True, slots=True)
class DetectorNoise:
    """The noise of a detector, known before its frames are measured.

    Attributes
    ----------
    read_noise : float
        Electrons.
    dark_rate : float
        Electrons a second; 0 if unknown.
    flat_level : float
        Electrons in a pixel of a single flat.
    bias_ageing : float
        Electrons^2 by which a bias departs from the truth, for each day between.
    dark_ageing : float
        (Electrons a second)^2 for each day between.
    flat_ageing : float
        Relative variance of a flat for each day between.
    bias_warming : float
        Electrons by which a bias departs from the truth for each degree between.
    flat_warming : float
        Part of itself by which a pixel of a flat departs from the truth for each degree between.
    """

    read_noise: float = 8.0
    dark_rate: float = 0.0
    flat_level: float = 20_000.0
    bias_ageing: float = 0.01
    dark_ageing: float = 1e-6
    flat_ageing: float = 1e-7
    bias_warming: float = 0.1
    flat_warming: float = 2e-4


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan has many.
@dataclass(slots=True, unsafe_hash=True)
class Observation:
    """How a frame was taken, or the members of a master: all by which masters are chosen.

    Attributes
    ----------
    setup : tuple of (str, str)
        Everything that must be equal, name and value: camera, amplifiers, gain, mode, binning ...
    night : str
    exptime : float or None
        Seconds.
    filter : str
    set_temperature, temperature : float or None
        Degrees: the set point of the cooler, and the sensor.
    wheels : str
        The filter whatever the order of the wheels and the signs between its words; '' as written.
    """

    setup: tuple[tuple[str, str], ...]
    night: str
    exptime: float | None = None
    filter: str = ""
    set_temperature: float | None = None
    temperature: float | None = None
    wheels: str = ""

    def like(self, night, exptime, set_temperature, temperature):
        """Return the observation of another frame of this setup and filter.

        Parameters
        ----------
        night : str
        exptime, set_temperature, temperature : float or None
            Seconds; degrees.

        Returns
        -------
        Observation
        """
        # `dataclasses.replace` is slow.
        return Observation(
            self.setup, night, exptime, self.filter, set_temperature, temperature, self.wheels
        )

    @property
    def light(self):
        """The filter by which flats are chosen."""
        return self.wheels or self.filter


@dataclass(slots=True, unsafe_hash=True)
class OfferedMaster:
    """A combined bias, dark or flat, made or to be made.

    Attributes
    ----------
    product : str
        Its path relative to the results folder.
    kind : {'bias', 'dark', 'flat'}
    about : Observation
        What its members have in common.
    frames : int
        Members, as the inventory counts them.
    bias_variance : float
        Of a dark: variance of the bias that its members had subtracted, electrons^2.
    """

    product: str
    kind: str
    about: Observation
    frames: int
    bias_variance: float = 0.0
