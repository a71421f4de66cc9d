"""Jobs and groups of a plan, and the amount of their work."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ccdflow import paths


@dataclass(frozen=True, slots=True)
class Job:
    """A product to be made.

    Attributes
    ----------
    kind, product, key : str
    why : str
        The kind in the astronomer's words.
    night : str
    needs : tuple of str
        Products of this plan that are made before.
    attempt : int
        Gives the record a new name if a file of the same name is left from before.
    """

    kind: str
    product: str
    key: str
    why: str
    night: str
    needs: tuple = ()
    attempt: int = 0

    @property
    def done(self):
        """The record's path relative to the results folder."""
        return paths.done(self.product, self.key, self.attempt)

    @classmethod
    def from_dict(cls, values):
        """Return the job that `dataclasses.asdict` and JSON turned into plain values."""
        return cls(**{**values, "needs": tuple(values["needs"])})


@dataclass(frozen=True)
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
        The kind of product made from the group.
    """

    product: str
    night: str
    camera: str
    shared: tuple
    files: tuple
    nights: tuple = ()
    kind: str = "bias"

    @property
    def shown(self):
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
        return cls(**{**values, "shared": shared, "files": files, "nights": nights})


@dataclass(frozen=True)
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

    def __add__(self, other):
        return Size(
            self.frames + other.frames,
            self.combined + other.combined,
            self.pictures + other.pictures,
            max(self.largest, other.largest),
            self.pixels + other.pixels,
        )
