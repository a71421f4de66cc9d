"""Jobs and groups of a plan, and the amount of their work."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from operator import attrgetter

from ccdflow import paths
from ccdflow.run.former_kinds import present_name
from ccdflow.run.master_choices import Step

OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, OF_ALL_NIGHTS = "a frame", "a master", "a night", "all nights"
"""The reach of a product (`ccdflow.kinds.kind.Kind.reach`)."""

NIGHT_OF_SEVERAL = "all"
"""The night of a group whose members are of several nights."""

DAMAGED = "product damaged"
"""Why a product is made again whose file was changed after its making."""


# The text in the place of a key that is not made, in the name of a record: the rules want
# hexadecimal digits.
_NO_KEY = "0" * 16


# Nobody changes these objects once they are made. Yet their classes are not frozen: a plan has some
# hundred thousand objects, and Python takes ten times as long to make objects of a frozen class.
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
        A number that makes the name of the record new if an old record has this key.
    spare : tuple of str
        The ones of ``needs`` that matter only if others are refused.
    may_stand : bool
        Whether the earlier version of the product counts in this run if the job fails.
    """

    kind: str
    product: str
    key: str
    why: str
    night: str
    needs: tuple[str, ...] = ()
    attempt: int = 0
    spare: tuple[str, ...] = ()
    may_stand: bool = False

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
        kind = present_name(values["kind"])
        return cls(**{**values, "kind": kind, "needs": needs, "spare": spare})


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
        names = ("files", "nights", "measurements")
        tuples = {name: tuple(values.get(name, ())) for name in names}
        tuples["shared"] = tuple(map(tuple, values["shared"]))
        tuples["steps"] = tuple(map(Step.from_dict, values.get("steps", ())))
        return cls(**{**values, **tuples})


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
