"""Jobs and groups of a plan, and the amount of their work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from operator import attrgetter

from ccdflow import paths

OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, OF_ALL_NIGHTS = "a frame", "a master", "a night", "all nights"
"""The reach of a product (`ccdflow.kinds.kind.Kind.reach`)."""


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
        return paths.done_record(self.product, self.key, self.attempt)

    @classmethod
    def from_dict(cls, values):
        """Return a job from its `dataclasses.asdict`, after JSON."""
        needs, spare = tuple(values["needs"]), tuple(values.get("spare", ()))
        return cls(**{**values, "needs": needs, "spare": spare})


@dataclass(slots=True)
class Use:
    """A master that a frame, or the frames of a master, may take.

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
    remarks : tuple of str
        Reasons for a grade below A.
    degrees : tuple
        A dark's set point and its sensor's temperature, None where unknown; () of other masters.
    cut : str
        The FITS section of a larger master that is applied; '' for all of it.
    warmer : float
        Degrees by which a bias or flat is warmer than the frame; 0 within the tolerance.
    bias_left : float
        Of a dark: variance that stays of its bias and the frame's, electrons^2.
    ageing : float
        The part of the variance that is for the days and degrees between.
    is_measured : bool
        Whether the variance is that of the master as it was made; else it is predicted by the
        number of its frames.
    """

    product: str
    lag: int | None
    scale: float
    variance: float
    grade: str
    remarks: tuple[str, ...] = ()
    degrees: tuple[float | None, ...] = ()
    cut: str = ""
    warmer: float = 0.0
    bias_left: float = 0.0
    ageing: float = 0.0
    is_measured: bool = False

    def __hash__(self):
        # Four values suffice: a plan looks up thousands of steps, with five uses each.
        return hash((self.product, self.scale, self.variance, self.bias_left))


@dataclass(slots=True, unsafe_hash=True)
class Step:
    """One step of calibrating, and the masters for it, the best one first.

    Attributes
    ----------
    kind : {'bias', 'dark', 'flat'}
    uses : tuple of Use
    needed : bool
        False where the step changes nothing.
    missing : str
        Why there is no master, and the masters there are.
    pairs : tuple of (str, str)
        Of a bias: each dark that the frame may take, the best one first, and the bias that is best
        with it; () where that is the first one for all.
    """

    kind: str
    uses: tuple[Use, ...] = ()
    needed: bool = True
    missing: str = ""
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_dict(cls, values):
        """Return a step from its `dataclasses.asdict`, after JSON."""
        uses = tuple(
            Use(**{**use, "remarks": tuple(use["remarks"]), "degrees": tuple(use["degrees"])})
            for use in values["uses"]
        )
        pairs = tuple(map(tuple, values.get("pairs", ())))
        return cls(**{**values, "uses": uses, "pairs": pairs})


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

    Most masters of an archive only say what they are.

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
        columns = zip(*map(_values_of_size, sizes), strict=True)
        frames, combined, pictures, largest, pixels = tuple(columns) or ((0,),) * 5
        return cls(sum(frames), sum(combined), sum(pictures), max(largest), sum(pixels))


_values_of_size = attrgetter("frames", "combined", "pictures", "largest", "pixels")
