"""Jobs and groups of a plan, and the amount of their work."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter

from ccdflow import paths
from ccdflow.run.former_kinds import present_name
from ccdflow.run.master_choices import Step

OF_A_FRAME, OF_A_MASTER, OF_A_NIGHT, OF_ALL_NIGHTS = "a frame", "a master", "a night", "all nights"
"""The reach of a product (`ccdflow.kinds.kind.Kind.reach`)."""

NIGHT_OF_SEVERAL = "all"
"""The night of a group whose members are of several nights."""

DAMAGED = "product damaged"
"""The reason to make a product again if its file was changed after its making."""


# Takes the place of a key that is not made yet, in the name of a record: the patterns in rules/
# accept hexadecimal digits only.
_NO_KEY = "0" * 16


# Nobody changes these objects once they are made. Yet their classes are not frozen: a plan has
# hundreds of thousands of them, and Python takes four times as long to make one of a frozen class.
@dataclass(slots=True, unsafe_hash=True)
class Job:
    """A product to be made.

    Attributes
    ----------
    kind, product, key : str
    reason : str
        The reason to make the product: "new", "raw changed" ...
    night : str
    needs : tuple of str
        Products of this plan that are made before.
    attempt : int
        A number in the name of the record, from 0: higher if an old record has the same key.
    spare : tuple of str
        Products among ``needs`` that matter only if others of ``needs`` are refused.
    may_stand : bool
        Whether other products may be made from the earlier version if the job fails.
    """

    kind: str
    product: str
    key: str
    reason: str
    night: str
    needs: tuple[str, ...] = ()
    attempt: int = 0
    spare: tuple[str, ...] = ()
    may_stand: bool = False

    @property
    def record_path(self):
        """The record's path relative to the results folder."""
        return paths.done_record(self.product, self.key_in_name, self.attempt)

    @property
    def key_in_name(self):
        """The key in the name of the record."""
        return self.key

    def fix_key(self):
        """Compute the key now, where it is computed later; the key of a `Job` is known."""

    @classmethod
    def from_dict(cls, values):
        """Return a job from its `dataclasses.asdict`, after JSON."""
        needs, spare = tuple(values["needs"]), tuple(values.get("spare", ()))
        kind = present_name(values["kind"])
        return cls(**{**values, "kind": kind, "needs": needs, "spare": spare})


_values_of_job = attrgetter(*(each.name for each in fields(Job)))


class UnhashedJob(Job):
    """A job of a dry run whose key is computed when it is first read.

    The product has no record in the ledger, so it is new whatever its key is. A dry run writes no
    record of the job, so the name of that record has no key.

    Parameters
    ----------
    key : callable
        Called without an argument, once; returns the key.
    """

    def __eq__(self, job):
        # Jobs with the same values are equal, whenever their keys were computed.
        return isinstance(job, Job) and _values_of_job(self) == _values_of_job(job)

    __hash__ = Job.__hash__

    @property
    def key(self):
        """The hash of the basis."""
        self.fix_key()
        return self.__dict__["key"]

    @key.setter
    def key(self, value):
        self.__dict__["key"] = value

    def fix_key(self):
        """Compute the key, unless it is computed already."""
        if callable(self.__dict__["key"]):
            self.__dict__["key"] = self.__dict__["key"]()

    @property
    def key_in_name(self):
        """Zeros in the place of the key, also once the key is computed."""
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
        The kind of the product that is made of the frames.
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
    # Not by keyword only: Python takes twice as long to make an object by keywords.
    kind: str = ""
    steps: tuple[Step, ...] = ()
    measurements: tuple[str, ...] = ()

    @property
    def night_of_page(self):
        """The night whose page shows the group."""
        return self.nights[-1] if self.nights else self.night

    def as_dict(self):
        """Return the group as a dict that JSON can hold."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        values["steps"] = [step.as_dict() for step in self.steps]
        return values

    @classmethod
    def from_dict(cls, values):
        """Return the group that `as_dict` and JSON turned into plain values."""
        names = ("files", "nights", "measurements")
        tuples = {name: tuple(values.get(name, ())) for name in names}
        tuples["shared"] = tuple(map(tuple, values["shared"]))
        tuples["steps"] = tuple(map(Step.from_dict, values.get("steps", ())))
        return cls(**{**values, **tuples})


class ClosedGroup(Group):
    """A group whose steps are read from the notes when they are first asked for.

    The steps of most masters of an archive are never asked for.

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
    n_frames : int
        Number of frames to reduce.
    n_combined : int
        Number of frames to combine.
    n_pictures : int
        Number of pictures to draw.
    n_pixels_of_largest : int
        Pixels of the largest raw frame.
    n_pixels : int
        Pixels of all raw frames to reduce or combine.
    """

    n_frames: int = 0
    n_combined: int = 0
    n_pictures: int = 0
    n_pixels_of_largest: int = 0
    n_pixels: int = 0

    @classmethod
    def total(cls, sizes):
        """Return the size of all work together: the sum of each number, and the largest frame."""
        n_frames = n_combined = n_pictures = n_pixels_of_largest = n_pixels = 0
        for size in sizes:
            n_frames += size.n_frames
            n_combined += size.n_combined
            n_pictures += size.n_pictures
            n_pixels_of_largest = max(n_pixels_of_largest, size.n_pixels_of_largest)
            n_pixels += size.n_pixels
        return cls(n_frames, n_combined, n_pictures, n_pixels_of_largest, n_pixels)
