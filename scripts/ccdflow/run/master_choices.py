"""The choice of masters for a frame: candidates, ranked in steps, or the reason for none.

A plan chooses the masters (`ccdflow.kinds.matching`); notes of nights, records and files of batches
hold the choice. docs/architecture.md, "Words", explains the terms "use" and "step".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class RemarkKind(StrEnum):
    """The meaning of a `Remark`."""

    LAG = "lag"
    SCALE = "scale"
    UNKNOWN_TEMPERATURE = "unknown temperature"
    WARMTH = "warmth"
    CUT = "cut"


class Remark(NamedTuple):
    """A reason for a grade below A: code compares the kind, readers read the text."""

    kind: RemarkKind
    text: str


# Keys of notes and of files of batches that differ from the names of the fields of `Use`, `Missing`
# and `Step`: they are older than these names.
_KEYS_OF_USE = {
    "temperatures": "degrees",
    "degrees_warmer": "warmer",
    "bias_variance_left": "bias_left",
    "ageing_variance": "ageing",
}
_KEYS_OF_MISSING = {
    "temperature_in_words": "degrees",
    "obstacles": "rest",
    "n_frames": "frames",
}
_KEYS_OF_STEP = {"missing_master": "missing"}


def _values_to_store(instance, keys):
    """Return the values of a dataclass with slots by their stored keys."""
    return {keys.get(name, name): getattr(instance, name) for name in instance.__slots__}


def _fields_of_stored(values, keys):
    """Return stored values by the names of their fields: the reverse of `_values_to_store`."""
    values = dict(values)
    stored = {name: key for name, key in keys.items() if key in values}
    return {name: values.pop(key) for name, key in stored.items()} | values


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan makes hundreds of thousands.
@dataclass(slots=True)
class Use:
    """A candidate master as one frame would use it: with the factor and the added variance there.

    A master is a candidate for many frames. Its age, its factor and the variance that it adds
    differ from frame to frame. In the place of a frame there may be the members of a master.

    Attributes
    ----------
    product : str
    lag : int or None
        Days from the master's night to the frame's; negative for a later night. None between two
        nights of which one has no date.
    scale : float
        The factor of a dark.
    variance : float
        Variance that the master adds to a pixel, electrons^2. A flat: relative to the signal^2.
    grade : {'A', 'B', 'C'}
    remarks : tuple of Remark
        Reasons for a grade below A.
    temperatures : tuple of (float or None)
        A dark's set point and its sensor's temperature, degrees Celsius; None where unknown; () of
        other masters.
    cut : str
        The FITS section of a larger master that is applied; '' for all of it.
    degrees_warmer : float
        Degrees Celsius by which a bias or flat is warmer than the frame; 0 within the tolerance.
    bias_variance_left : float
        The variance that is left of the bias in a dark and of the frame's own bias, electrons^2.
    ageing_variance : float
        The part of ``variance`` that grows with the days and degrees between master and frame.
    is_measured : bool
        Whether the variance was measured on the master; else it is predicted from the number of
        its frames.
    is_scaled : bool
        Whether the master is multiplied by a factor. ``scale`` does not show this: exposures are
        rounded to rank masters, so a dark of 200 s has the scale 1 for a frame of 200.4 s.
    """

    product: str
    lag: int | None
    scale: float
    variance: float
    grade: str
    remarks: tuple[Remark, ...] = ()
    temperatures: tuple[float | None, ...] = ()
    cut: str = ""
    degrees_warmer: float = 0.0
    bias_variance_left: float = 0.0
    ageing_variance: float = 0.0
    is_measured: bool = False
    is_scaled: bool = False

    def __hash__(self):
        # Four values suffice, and are quick: a plan hashes thousands of steps with five uses each.
        return hash((self.product, self.scale, self.variance, self.bias_variance_left))

    # The methods that make a use give its values by place: a plan makes hundreds of thousands of
    # uses, and keywords and `dataclasses.replace` are slow.
    @classmethod
    def of_whole(
        cls, *, product, lag, scale, variance, grade, remarks, temperatures, degrees_warmer,
        ageing_variance, is_scaled,
    ):  # fmt: skip
        """Return the use of a whole master with a predicted variance.

        Parameters
        ----------
        product : str
        lag : int or None
        scale, variance, degrees_warmer, ageing_variance : float
        grade : {'A', 'B', 'C'}
        remarks : tuple of Remark
        temperatures : tuple of (float or None)
        is_scaled : bool
            All as the attributes.

        Returns
        -------
        Use
        """
        cut, bias_variance_left, is_measured = "", 0.0, False
        return cls(
            product, lag, scale, variance, grade, remarks, temperatures, cut, degrees_warmer,
            bias_variance_left, ageing_variance, is_measured, is_scaled,
        )  # fmt: skip

    def rescale(self, scale, remarks):
        """Return the use of the same dark with another factor.

        Parameters
        ----------
        scale : float
            The new factor. Variance and ageing grow with its square.
        remarks : tuple of Remark
            Among them the remark on the new factor.

        Returns
        -------
        Use
        """
        variance_ratio = (scale / self.scale) ** 2
        return Use(
            self.product, self.lag, scale, self.variance * variance_ratio, self.grade, remarks,
            self.temperatures, self.cut, self.degrees_warmer, self.bias_variance_left,
            self.ageing_variance * variance_ratio, self.is_measured, self.is_scaled,
        )  # fmt: skip

    def with_bias_variance_left(self, bias_variance_left):
        """Return the use of the same dark with another variance that is left of the biases.

        Parameters
        ----------
        bias_variance_left : float
            Electrons^2.

        Returns
        -------
        Use
        """
        return Use(
            self.product, self.lag, self.scale, self.variance, self.grade, self.remarks,
            self.temperatures, self.cut, self.degrees_warmer, bias_variance_left,
            self.ageing_variance, self.is_measured, self.is_scaled,
        )  # fmt: skip

    @property
    def remark_texts(self):
        """The remarks in words, a list."""
        return [remark.text for remark in self.remarks]

    @property
    def is_of_unknown_temperature(self):
        """Whether an unknown temperature, of the master or of the frame, lowers the grade."""
        return any(remark.kind is RemarkKind.UNKNOWN_TEMPERATURE for remark in self.remarks)

    def as_dict(self):
        """Return the use as a dict that JSON can hold, with the stored keys."""
        return _values_to_store(self, _KEYS_OF_USE)

    @classmethod
    def from_dict(cls, values):
        """Return the use that `as_dict` and JSON turned into plain values."""
        values = _fields_of_stored(values, _KEYS_OF_USE)
        values["remarks"] = tuple(
            [Remark(RemarkKind(kind), text) for kind, text in values["remarks"]]
        )
        values["temperatures"] = tuple(values["temperatures"])
        return cls(**values)


class MissingCause(StrEnum):
    """Why there is no master of a kind."""

    NONE_FITS = "none fits"
    TOO_FEW = "too few frames"
    # The master could not be made. `NO_BIAS` and `TOO_FAINT` are such causes with their reason.
    NOT_MADE = "not made"
    NO_BIAS = "not made without a bias"
    TOO_FAINT = "not made of faint flats"
    LEVEL_IN_FRAME = "bias level in the frame"


# The causes that apply to groups of frames whose master was refused or has failed.
_CAUSES_OF_UNMADE = (MissingCause.NOT_MADE, MissingCause.NO_BIAS, MissingCause.TOO_FAINT)


@dataclass(slots=True, unsafe_hash=True)
class Missing:
    """The reason why a step has no master; `ccdflow.kinds.matching.match_sentences` words it.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    cause : MissingCause
    seconds : tuple of (float or None)
        The exposure of the dark that is wanted, or the shortest and the longest one, seconds; None
        where it is unknown.
    light : str
        The filter of the flat that is wanted.
    temperature_in_words : str
        The temperature that is wanted if a dark has another temperature; else ''.
    setup : str
        The setup that is wanted, in words.
    obstacles : str
        The masters that exist, each with the obstacle to it, in words; or the names of masters that
        could not be made.
    is_of_other_temperature : bool
        Whether the frame cannot take a dark because of its temperature.
    product, night : str
        The master for which there are too few frames, and its night.
    n_frames, minimum : int
        The number of frames for that master, and the number that a master needs.
    """

    kind: str
    cause: MissingCause
    seconds: tuple[float | None, ...] = ()
    light: str = ""
    temperature_in_words: str = ""
    setup: str = ""
    obstacles: str = ""
    is_of_other_temperature: bool = False
    product: str = ""
    night: str = ""
    n_frames: int = 0
    minimum: int = 0

    @property
    def is_of_unmade(self):
        """Whether groups of fitting frames exist, but none of their masters could be made."""
        return self.cause in _CAUSES_OF_UNMADE

    def as_dict(self):
        """Return the missing master as a dict that JSON can hold, with the stored keys."""
        return _values_to_store(self, _KEYS_OF_MISSING)

    @classmethod
    def from_dict(cls, values):
        """Return the missing master that `as_dict` and JSON turned into plain values."""
        values = _fields_of_stored(values, _KEYS_OF_MISSING)
        cause, seconds = MissingCause(values["cause"]), tuple(values["seconds"])
        return cls(**{**values, "cause": cause, "seconds": seconds})


@dataclass(slots=True, unsafe_hash=True)
class Step:
    """One step of the calibration of a frame, and the masters for it, the best one first.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    uses : tuple of Use
    is_needed : bool
        False where the step would change no pixel.
    missing_master : Missing or None
        The reason why there is no master; None where there is one, and where none is needed.
    pairs : tuple of (str, str)
        In the step of the bias: each dark that the frame may take, with the bias that is best
        beside it, the best dark first. () where the first bias is the best beside all darks.
    """

    kind: str
    uses: tuple[Use, ...] = ()
    is_needed: bool = True
    missing_master: Missing | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    def as_dict(self):
        """Return the step as a dict that JSON can hold, with the stored keys."""
        values = _values_to_store(self, _KEYS_OF_STEP)
        values["uses"] = [use.as_dict() for use in self.uses]
        if self.missing_master is not None:
            values["missing"] = self.missing_master.as_dict()
        return values

    @classmethod
    def from_dict(cls, values):
        """Return the step that `as_dict` and JSON turned into plain values."""
        values = _fields_of_stored(values, _KEYS_OF_STEP)
        if values["missing_master"]:
            values["missing_master"] = Missing.from_dict(values["missing_master"])
        values["uses"] = tuple(map(Use.from_dict, values["uses"]))
        values["pairs"] = tuple(map(tuple, values.get("pairs", ())))
        return cls(**values)
