"""The values that a choice of masters is made from: rules, noise, frames, candidate masters."""

from __future__ import annotations

from dataclasses import dataclass

from ccdflow.run.master_choices import Remark, RemarkKind

SENSOR_SPREAD_DEGREES = 2.0
"""Sensors kept at one set point differ by at most this many degrees Celsius.

A sensor at its set point moves by a few steps of its converter, of 0.4 degrees each. Where the
sensor is farther off, the cooler did not reach its set point.
"""

WARMING_WITH_LEVEL = 1.0
"""A bias whose level no overscan removes changes by this many electrons a degree.

More than `DetectorNoise.bias_warming`, because the whole level drifts and not its structure alone.
A camera's profile may give its own value (``warming:``).
"""

HARMLESS_SCALE_UP = 1.01
"""A dark scaled up by at most this factor is as good as one that is scaled down.

Its variance grows by the square of the factor, less than the error of a detector's noise.
"""

EPOCH = "epoch"
"""The name, in a setup, of the first night after a change of the camera."""

READOUT_CARDS = "readout cards"
"""The name, in the setup of a detector, of its cards on gain and readout."""

DEVICE_CARDS = "device cards"
"""The name, in the setup of a detector, of its cards on the device: its serial number, quadrant."""

LONG_VALUES = {
    "part": "part of the detector",
    "layout": "layout of the amplifiers or way to reduce",
    READOUT_CARDS: "gain or readout",
    DEVICE_CARDS: "device",
}
"""Words for values of a setup that are too long for a line."""

MOST_CANDIDATES = 5
"""A frame considers at most this number of masters of each kind.

The first is taken. Another one replaces it if it is refused, or if it is a faint flat. Those that
may replace it are made before the frame, so that frames would wait for a longer list. Chosen.
"""

EXACT_NIGHTS = 30
"""An exact dark within this many nights goes before all scaled ones.

If ``direction`` is causal, these are the own and earlier nights; of later nights every exact dark
goes before the scaled ones. Exact darks that are further away compete with the scaled ones within
these nights. Glow, traps and warm pixels are not proportional to time, so a scaled dark leaves a
part of them. On a detector without them the preference costs 1.1 % of the variance:
docs/masters.md.
"""

TEMPERATURE_UNKNOWN = Remark(RemarkKind.UNKNOWN_TEMPERATURE, "temperature unknown")
"""The remark on a dark if the temperature of it, or of the frame, is unknown."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of ``calibrate:`` by which masters are chosen.

    Attributes
    ----------
    direction : {'causal', 'nearest'}
        causal: masters of the frame's own night and of earlier nights compete; a later one is taken
        only where these nights have none. So a night that is added changes no older frames but
        those without a master of their own or an earlier night. nearest: all compete.
    prefers_own_night : bool
        Whether a master of the frame's own night wins whenever there is one: ``same_night:``. By
        default the least variance decides: fifty darks of last week beat three of tonight.
    scale_up : float
        A dark is scaled up to an exposure longer by this factor at most; 1 forbids it. Twice the
        dark of 80 s leaves 2 % of the dark current of 160 s, no dark leaves all of it.
    temperature_tolerance : float
        Degrees Celsius by which a dark's temperature may differ from the frame's; a bias or flat
        that differs by more is reported. A sensor that moves by one step of its converter, 0.4
        degrees, is within 0.5; BANZAI takes a dark by the same 0.5.
    """

    direction: str = "causal"
    prefers_own_night: bool = False
    scale_up: float = 2.5
    temperature_tolerance: float = 0.5

    @property
    def is_causal(self):
        """Whether later masters count only where the own and earlier nights have none."""
        return self.direction == "causal"


@dataclass(frozen=True, slots=True)
class DetectorNoise:
    """The noise of a detector, known before its frames are measured.

    The defaults are those of a camera without a profile. They rank masters, and enter no pixel: an
    ageing that is wrong by up to 3 times costs 1.4 % of the variance (docs/masters.md).

    Attributes
    ----------
    read_noise : float
        Electrons. 8 is between the 4 of DESI and the 12 of EFOSC2; most headers have their own.
    dark_rate : float
        Electrons a second; 0 if unknown, so that each frame needs a dark.
    flat_level : float
        Electrons in a pixel of a single flat. Observers expose flats to half of the range of 16
        bits or less: the guide's have 20,000 adu. All flats have it until they are measured.
    bias_ageing : float
        Electrons^2 by which a bias departs from the truth, for each day between. 0.01 adds as
        much in a year as the noise of a combined bias of 18 frames with 8 electrons each.
    dark_ageing : float
        (Electrons a second)^2 for each day between. 1e-6 makes a dark of 300 s depart by 0.3
        electrons in a day, and by 1.6 in a month.
    flat_ageing : float
        Relative variance of a flat for each day between. 1e-7 makes a pixel depart by 0.03 % in a
        day and by 0.17 % in a month, as dust moves.
    bias_warming : float
        Electrons by which a bias departs from the truth for each degree Celsius between. 0.1: the
        overscan takes the level away, and the structure changes little.
    flat_warming : float
        Fraction of its value by which a pixel of a flat departs from the truth for each degree
        Celsius between. 2e-4 makes ten degrees count as much as 40 days, 0.2 %.
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
    """The values of a frame, or of the members of a master, by which masters are chosen.

    Attributes
    ----------
    setup : tuple of (str, str)
        Names and values that must be equal: camera, amplifiers, gain, readout mode, binning ...
    night : str
    exptime : float or None
        Seconds.
    filter : str
    set_temperature, temperature : float or None
        Degrees Celsius: the set point of the cooler, and the sensor.
    wheels : str
        The filter in a spelling that is equal for any order of the wheels and any signs between
        words; '' where ``filter`` has this spelling.
    """

    setup: tuple[tuple[str, str], ...]
    night: str
    exptime: float | None = None
    filter: str = ""
    set_temperature: float | None = None
    temperature: float | None = None
    wheels: str = ""

    def observation_at(self, night, exptime, set_temperature, temperature):
        """Return the observation of another frame of this setup and filter.

        Parameters
        ----------
        night : str
        exptime, set_temperature, temperature : float or None
            Seconds; degrees Celsius.

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
class CandidateMaster:
    """A combined bias, dark or flat that any frame of its setup may take, made or to be made.

    Attributes
    ----------
    product : str
        Its path relative to the results folder.
    kind : {'bias', 'dark', 'flat'}
    observation : Observation
        The values that its members share.
    n_members : int
        Number of members by the inventory, before any of them is left out.
    bias_variance : float
        Variance of the bias that the members of a dark had subtracted, electrons^2.
    """

    product: str
    kind: str
    observation: Observation
    n_members: int
    bias_variance: float = 0.0
