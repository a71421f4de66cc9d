"""The choice of masters for a frame: candidates, ranked in steps, or the reason for none.

A plan makes them (`ccdflow.kinds.matching`); the notes of nights, records and batches hold them.
"Use" and "step" are terms here: docs/architecture.md, "Words".
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
    """A reason for a grade below A: code looks at the kind, readers at the text."""

    kind: RemarkKind
    text: str


# Not frozen, as jobs are not (`ccdflow.run.job`): a plan makes hundreds of thousands.
@dataclass(slots=True)
class Use:
    """The use of a candidate master for a frame: its application, and the variance it would add.

    A master is a candidate for many frames. Its age, its factor and the variance that it adds
    differ from frame to frame. The frame may also be the members of another master.

    Attributes
    ----------
    product : str
    lag : int or None
        Days from the master's night to the frame's; negative for a later night.
    scale : float
        The factor of a dark.
    variance : float
        Variance that it adds to a pixel, electrons^2; of a flat, relative to the signal^2.
    grade : {'A', 'B', 'C'}
    remarks : tuple of Remark
        Reasons for a grade below A.
    degrees : tuple of (float or None)
        A dark's set point and its sensor's temperature, degrees Celsius; None where unknown; () of
        other masters.
    cut : str
        The FITS section of a larger master that is applied; '' for all of it.
    warmer : float
        Degrees Celsius by which a bias or flat is warmer than the frame; 0 within the tolerance.
    bias_left : float
        Variance that stays of a dark's bias and the frame's, electrons^2.
    ageing : float
        The part of the variance that is for the days and degrees between.
    is_measured : bool
        Whether the variance is that of the master as it was made; else it is predicted by the
        number of its frames.
    is_scaled : bool
        Whether the master is multiplied by a factor. The scale does not tell: that of a dark of
        200 s is 1 where a frame of 200.4 s is ranked, whose exposure is rounded for that.
    """

    product: str
    lag: int | None
    scale: float
    variance: float
    grade: str
    remarks: tuple[Remark, ...] = ()
    degrees: tuple[float | None, ...] = ()
    cut: str = ""
    warmer: float = 0.0
    bias_left: float = 0.0
    ageing: float = 0.0
    is_measured: bool = False
    is_scaled: bool = False

    def __hash__(self):
        # Four values suffice: a plan looks up thousands of steps, with five uses each.
        return hash((self.product, self.scale, self.variance, self.bias_left))

    # The methods that make a use list its values by place, here beside the fields: a plan makes
    # hundreds of thousands, and keywords of a class, and `dataclasses.replace`, are slow.
    @classmethod
    def of_whole(
        cls, *, product, lag, scale, variance, grade, remarks, degrees, warmer, ageing, is_scaled
    ):
        """Return the use of a whole master, whose variance is predicted.

        Parameters
        ----------
        product : str
        lag : int or None
        scale, variance, warmer, ageing : float
        grade : {'A', 'B', 'C'}
        remarks : tuple of Remark
        degrees : tuple of (float or None)
        is_scaled : bool
            All as the attributes.

        Returns
        -------
        Use
        """
        cut, bias_left, is_measured = "", 0.0, False
        return cls(
            product, lag, scale, variance, grade, remarks, degrees, cut, warmer, bias_left, ageing,
            is_measured, is_scaled,
        )  # fmt: skip

    def rescale(self, scale, remarks):
        """Return the use of the same dark with another factor.

        Parameters
        ----------
        scale : float
            Variance and ageing grow with its square.
        remarks : tuple of Remark
            With that on the new factor.

        Returns
        -------
        Use
        """
        larger = (scale / self.scale) ** 2
        return Use(
            self.product, self.lag, scale, self.variance * larger, self.grade, remarks,
            self.degrees, self.cut, self.warmer, self.bias_left, self.ageing * larger,
            self.is_measured, self.is_scaled,
        )  # fmt: skip

    def with_bias_left(self, bias_left):
        """Return the use of the same dark with another variance that stays of its bias.

        Parameters
        ----------
        bias_left : float
            Electrons^2.

        Returns
        -------
        Use
        """
        return Use(
            self.product, self.lag, self.scale, self.variance, self.grade, self.remarks,
            self.degrees, self.cut, self.warmer, bias_left, self.ageing,
            self.is_measured, self.is_scaled,
        )  # fmt: skip

    @property
    def remark_texts(self):
        """The remarks in words, a list."""
        return [remark.text for remark in self.remarks]

    @property
    def is_of_unknown_temperature(self):
        """Whether the temperature of the master or of the frame is unknown, and counts."""
        return any(remark.kind is RemarkKind.UNKNOWN_TEMPERATURE for remark in self.remarks)

    @classmethod
    def from_dict(cls, values):
        """Return a use from its `dataclasses.asdict`, after JSON."""
        remarks = tuple([Remark(RemarkKind(kind), text) for kind, text in values["remarks"]])
        return cls(**{**values, "remarks": remarks, "degrees": tuple(values["degrees"])})


class MissingCause(StrEnum):
    """Why there is no master of a kind."""

    NONE_FITS = "none fits"
    TOO_FEW = "too few frames"
    # The master could not be made; `NO_BIAS` and `TOO_FAINT` name the reason.
    NOT_MADE = "not made"
    NO_BIAS = "not made without a bias"
    TOO_FAINT = "not made of faint flats"
    LEVEL_IN_FRAME = "bias level in the frame"


# The causes of masters that are there as groups, and were refused or failed.
_CAUSES_OF_UNMADE = (MissingCause.NOT_MADE, MissingCause.NO_BIAS, MissingCause.TOO_FAINT)


@dataclass(slots=True, unsafe_hash=True)
class Missing:
    """Why a step has no master: `ccdflow.kinds.matching.match_sentences` makes words of it.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    cause : MissingCause
    seconds : tuple of (float or None)
        The exposure of the dark that is wanted, seconds, None where it is unknown; or the shortest
        and the longest one.
    light : str
        The filter of the flat that is wanted.
    degrees : str
        The temperature that is wanted, in words, where darks are of another one.
    setup : str
        The setup that is wanted, in words.
    rest : str
        The masters there are, in words; those that could not be made, by their names.
    is_of_other_temperature : bool
        Whether a dark of the setup is of another temperature.
    product, night : str
        The master that too few frames would make, and its night.
    frames, minimum : int
        These frames, and those that a master needs.
    """

    kind: str
    cause: MissingCause
    seconds: tuple[float | None, ...] = ()
    light: str = ""
    degrees: str = ""
    setup: str = ""
    rest: str = ""
    is_of_other_temperature: bool = False
    product: str = ""
    night: str = ""
    frames: int = 0
    minimum: int = 0

    @property
    def lacking(self):
        """The number of frames that the master lacks: 0 where they belong to no master."""
        return self.minimum - self.frames

    @property
    def is_of_unmade(self):
        """Whether there are groups of frames that fit, and none of them makes a master."""
        return self.cause in _CAUSES_OF_UNMADE

    @classmethod
    def from_dict(cls, values):
        """Return a missing master from its `dataclasses.asdict`, after JSON."""
        cause, seconds = MissingCause(values["cause"]), tuple(values["seconds"])
        return cls(**{**values, "cause": cause, "seconds": seconds})


@dataclass(slots=True, unsafe_hash=True)
class Step:
    """One step of calibrating, and the masters for it, the best one first.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    uses : tuple of Use
    needed : bool
        False where the step changes nothing.
    missing : Missing or None
        Why there is no master; None where there is one, and where none is needed.
    pairs : tuple of (str, str)
        For a bias, each dark that the frame may take, the best one first, and the bias that is best
        with it; () where that is the first one for all.
    """

    kind: str
    uses: tuple[Use, ...] = ()
    needed: bool = True
    missing: Missing | None = None
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, values):
        """Return a step from its `dataclasses.asdict`, after JSON."""
        uses = tuple(map(Use.from_dict, values["uses"]))
        missing = values["missing"] and Missing.from_dict(values["missing"])
        pairs = tuple(map(tuple, values.get("pairs", ())))
        return cls(**{**values, "uses": uses, "missing": missing, "pairs": pairs})
