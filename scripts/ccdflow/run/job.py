"""Jobs and groups of a plan, and the amount of their work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

from ccdflow import paths

OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, OF_ALL_NIGHTS = "a frame", "a master", "a night", "all nights"
"""The reach of a product (`ccdflow.kinds.kind.Kind.reach`)."""


# Stands in the name of a record for a key that is not made: the rules want hexadecimal digits.
_NO_KEY = "0" * 16


# Nobody changes these objects once they are made. Yet their classes are not frozen: a plan has some
# hundred thousand objects, and Python makes those of a frozen class ten times as slowly.
@dataclass(slots=True, unsafe_hash=True)
class Job:
    """A product to be made.

    Attributes
    ----------
    kind, product, key : str
    why : str
        Why the product is made: "new", "raw changed" ...
    night : str
    needs : tuple of str
        Products of this plan that are made before.
    attempt : int
        Makes the name of the record new if an old record has this key.
    spare : tuple of str
        Those of ``needs`` that matter only if others are refused.
    """

    kind: str
    product: str
    key: str
    why: str
    night: str
    needs: tuple[str, ...] = ()
    attempt: int = 0
    spare: tuple[str, ...] = ()

    @property
    def done(self):
        """The record's path relative to the results folder."""
        return paths.done_record(self.product, self.key_in_name, self.attempt)

    @property
    def key_in_name(self):
        """The key in the name of the record."""
        return self.key

    @classmethod
    def from_dict(cls, values):
        """Return a job from its `dataclasses.asdict`, after JSON."""
        needs, spare = tuple(values["needs"]), tuple(values.get("spare", ()))
        return cls(**{**values, "needs": needs, "spare": spare})


_values_of_job = attrgetter(*(each.name for each in fields(Job)))


class UnhashedJob(Job):
    """A job of a dry run whose key is made when somebody asks for it.

    Its product has no record, and so is new whatever its key. Nobody writes its own record, whose
    name is without the key.

    Parameters
    ----------
    key : callable
        Called without an argument, once; returns the key.
    """

    def __eq__(self, job):
        # A job is the same whether its key was made early or late.
        return isinstance(job, Job) and _values_of_job(self) == _values_of_job(job)

    __hash__ = Job.__hash__

    @property
    def key(self):
        """The hash of the basis."""
        if callable(self.__dict__["key"]):
            self.__dict__["key"] = self.__dict__["key"]()
        return self.__dict__["key"]

    @key.setter
    def key(self, value):
        self.__dict__["key"] = value

    @property
    def key_in_name(self):
        """Zeros instead of the key, in the form of a key: they stay when the key is made."""
        return _NO_KEY


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


@dataclass(slots=True)
class Use:
    """The use of a candidate master for a frame: how it would be applied, and what it would add.

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

    def rescaled(self, scale, remarks):
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
    # It could not be made; the next two say for which reason.
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
        The masters there are, or their faults, in words.
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
        """How many frames the master lacks: 0 where there is no master to which they belong."""
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
        Of a bias: each dark that the frame may take, the best one first, and the bias that is best
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


@dataclass(slots=True, unsafe_hash=True)
class Group:
    """Frames that may be combined.

    Attributes
    ----------
    product : str
    night, camera : str
    shared : tuple of (str, str)
        Header values that the members share, besides night and camera.
    files : tuple of str
        Raw files of the members, sorted by time.
    nights : tuple of str
        Nights of the members, sorted: more than one if groups are not by night. The page of the
        last night shows the group.
    kind : str
        The kind of product that the frames are combined to.
    steps : tuple of Step
        The masters that are applied to the frames, as they were chosen while planning.
    measurements : tuple of str
        The measurements of the detector that show which pixels of a frame are bad, newest first,
        and that of its shutter where it is corrected.
    """

    product: str
    night: str
    camera: str
    shared: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    nights: tuple[str, ...] = ()
    # Not by keyword only: Python makes an object of keywords three times as slowly.
    kind: str = ""
    steps: tuple[Step, ...] = ()
    measurements: tuple[str, ...] = ()

    @property
    def night_of_page(self):
        """The night whose page shows the group."""
        return self.nights[-1] if self.nights else self.night

    def as_dict(self):
        """Return a JSON-able form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        """Return the group that `as_dict` and JSON turned into plain values."""
        shared = tuple(map(tuple, values["shared"]))
        files, nights = tuple(values["files"]), tuple(values["nights"])
        steps = tuple(map(Step.from_dict, values.get("steps", ())))
        fields_of_group = {"shared": shared, "files": files, "nights": nights, "steps": steps}
        fields_of_group["measurements"] = tuple(values.get("measurements", ()))
        return cls(**{**values, **fields_of_group})


class ClosedGroup(Group):
    """A group whose steps are read from the notes when somebody asks for them.

    Of most masters of an archive nobody asks for the steps.

    Parameters
    ----------
    steps : callable
        Called without an argument, once; returns the steps.
    """

    @property
    def steps(self):
        """The masters that are applied to the frames."""
        if callable(self.__dict__["steps"]):
            self.__dict__["steps"] = self.__dict__["steps"]()
        return self.__dict__["steps"]

    @steps.setter
    def steps(self, value):
        self.__dict__["steps"] = value


@dataclass(slots=True, unsafe_hash=True)
class Size:
    """The amount of work, from which the resources of a cluster job are estimated.

    Attributes
    ----------
    frames : int
        Frames to reduce.
    combined : int
        Frames to combine.
    pictures : int
        Pictures to draw.
    largest : int
        Pixels of the largest raw frame.
    pixels : int
        Pixels of all raw frames to reduce or combine.
    """

    frames: int = 0
    combined: int = 0
    pictures: int = 0
    largest: int = 0
    pixels: int = 0

    @classmethod
    def total(cls, sizes):
        """Return the size of all work together: sums, and the largest frame."""
        frames = combined = pictures = largest = pixels = 0
        for size in sizes:
            frames += size.frames
            combined += size.combined
            pictures += size.pictures
            pixels += size.pixels
            largest = max(largest, size.largest)
        return cls(frames, combined, pictures, largest, pixels)
