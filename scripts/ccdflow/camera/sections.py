"""Regions of a frame, as FITS sections and as Python slices, each with its own notation.

A FITS section ``[x1:x2,y1:y2]`` counts from 1, includes its end and names the columns first.
A Python slice ``[y0:y1, x0:x1]`` counts from 0, excludes its end and names the rows first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ccdflow.errors import FrameError, UserError

FORMS = (
    '{fits: "[x1:x2,y1:y2]"} (counts from 1, columns first) or '
    '{python: "[y0:y1, x0:x1]"} (counts from 0, rows first)'
)
"""The two notations of a region, for error messages."""

# The notations, for errors about one of them alone.
_FITS_FORM = "[x1:x2,y1:y2], counting from 1, columns first"
_PYTHON_FORM = "[y0:y1, x0:x1], counting from 0, rows first"
# Remedies for a section that cannot be used, by the class of its error.
_REMEDIES = {
    FrameError: "correct the card, or the region in the camera's profile",
    UserError: "correct the region in the profile",
}
# Matches a range of a FITS section: 1:2048, 7.
_RANGE = re.compile(r"([+-]?\d+)(?::([+-]?\d+))?")
# Matches a Python slice: 0:50, :50, -50:.
_SLICE = re.compile(r"([+-]?\d+)?:([+-]?\d+)?")


@dataclass(frozen=True, order=True)
class Region:
    """A rectangle of pixels, as numpy counts them: from 0, ends excluded.

    Attributes
    ----------
    y0, y1 : int
        First row, and the row after the last.
    x0, x1 : int
        First column, and the column after the last.
    """

    y0: int
    y1: int
    x0: int
    x1: int

    @classmethod
    def of_ends(cls, ends):
        """Return the region of ``(y0, y1, x0, x1)``; a region is returned as it is."""
        return ends if isinstance(ends, cls) else cls(*ends)

    @classmethod
    def from_fits(cls, text, *, shape=None, file=None, keyword=None, error=FrameError):
        """Read a FITS section; blanks are ignored and reversed ranges put in order.

        Parameters
        ----------
        text : str
            Such as ``[2056:2080,1:4128]``; ``*`` means a whole axis, if `shape` is given.
        shape : (int, int), optional
            The frame's (ny, nx).
        file, keyword : str, optional
            Named in the error.
        error : type, optional
            The error to raise: FrameError for a header, UserError for a profile.

        Returns
        -------
        Region

        Raises
        ------
        FrameError or UserError
            If the text is not a section, or begins before pixel 1.
        """
        return parse_fits(text, shape=shape, file=file, keyword=keyword, error=error).region

    @classmethod
    def from_python(cls, text, shape, *, file=None, keyword=None, error=FrameError):
        """Read a Python slice of an array of this shape, rows first.

        Unlike numpy, an end outside the array is an error and not cut off.

        Parameters
        ----------
        text : str
            Such as ``[:, 2055:]`` or ``[:, -25:]``.
        shape : (int, int)
            The array's (ny, nx), to which open ends and negative indices refer.
        file, keyword, error
            As in `from_fits`.

        Returns
        -------
        Region

        Raises
        ------
        FrameError or UserError
            If the text is not a slice, is empty, or leaves the array.
        """
        axes = parse_python(text, file=file, keyword=keyword, error=error)
        ends = []
        for written_ends, length, axis in zip(axes, shape, ("rows", "columns"), strict=True):
            start = _index_from_start(written_ends[0], length, 0)
            stop = _index_from_start(written_ends[1], length, length)
            if not 0 <= start < stop <= length:
                fault = "selects nothing of" if 0 <= stop <= start <= length else "leaves"
                raise error(
                    f"the slice {fault} the frame's {length} {axis}",
                    file=file,
                    keyword=keyword,
                    value=text,
                    allowed=f"{_PYTHON_FORM}, within {shape[0]} rows and {shape[1]} columns",
                    remedy=_REMEDIES[error],
                )
            ends += [start, stop]
        return cls(*ends)

    @property
    def slices(self):
        """The pair of slices (rows, columns) that selects this region of an array.

        Examples
        --------
        Rows come first, and count from 0:

        >>> Region.from_fits("[2056:2080,1:4128]").slices
        (slice(0, 4128, None), slice(2055, 2080, None))
        """
        return slice(self.y0, self.y1), self.columns

    @property
    def columns(self):
        """The slice of its columns."""
        return slice(self.x0, self.x1)

    def has_rows(self, rows):
        """Return, for each of some rows, whether it is one of the region's.

        Parameters
        ----------
        rows : numpy.ndarray of shape (k,), int

        Returns
        -------
        numpy.ndarray of shape (k,), bool
        """
        return (rows >= self.y0) & (rows < self.y1)

    @property
    def shape(self):
        """Rows and columns, (ny, nx)."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def size(self):
        """The number of pixels."""
        return (self.y1 - self.y0) * (self.x1 - self.x0)

    def to_fits(self):
        """Return the FITS section, such as ``[2056:2080,1:4128]``.

        Examples
        --------
        >>> Region(0, 4128, 2055, 2080).to_fits()
        '[2056:2080,1:4128]'
        """
        return f"[{self.x0 + 1}:{self.x1},{self.y0 + 1}:{self.y1}]"

    def is_within(self, shape):
        """Return whether the whole region lies in a frame of shape (ny, nx)."""
        return 0 <= self.y0 < self.y1 <= shape[0] and 0 <= self.x0 < self.x1 <= shape[1]

    def contains(self, other):
        """Return whether the whole of another region lies in this one."""
        has_all_rows = self.y0 <= other.y0 and other.y1 <= self.y1
        return has_all_rows and self.x0 <= other.x0 and other.x1 <= self.x1

    def overlaps(self, other):
        """Return whether the two regions have a pixel in common.

        Examples
        --------
        >>> data, strip = Region.from_fits("[1:20,1:9]"), Region.from_fits("[20:24,1:9]")
        >>> data.overlaps(strip), data.overlaps(strip.shift(0, 1))
        (True, False)
        """
        return self.shares_rows(other) and self.shares_columns(other)

    def shares_rows(self, other):
        """Return whether the two regions have a row in common."""
        return self.y0 < other.y1 and other.y0 < self.y1

    def shares_columns(self, other):
        """Return whether the two regions have a column in common."""
        return self.x0 < other.x1 and other.x0 < self.x1

    def shift(self, dy, dx):
        """Return the same rectangle, `dy` rows up and `dx` columns to the right.

        Parameters
        ----------
        dy, dx : int
            Pixels; may be negative.

        Returns
        -------
        Region
        """
        return Region(self.y0 + dy, self.y1 + dy, self.x0 + dx, self.x1 + dx)

    def transpose(self):
        """Return the rectangle with rows and columns exchanged."""
        return Region(self.x0, self.x1, self.y0, self.y1)


@dataclass(frozen=True)
class DirectedSection:
    """A FITS section with the directions in which its columns and rows were written.

    Attributes
    ----------
    region : Region
        The pixels.
    is_flipped_x, is_flipped_y : bool
        Whether the columns, the rows were written backwards (``[2048:1,...]``).
    """

    region: Region
    is_flipped_x: bool
    is_flipped_y: bool


@dataclass(frozen=True)
class RegionSpec:
    """A region as a profile gives it, to be resolved for a frame's shape.

    Attributes
    ----------
    form : str
        'fits', 'python', or 'keyword' (the header card of that name holds a FITS section).
    text : str
        The section, the slice or the card's name.
    """

    form: str
    text: str

    def resolve(self, shape, *, file=None, keyword=None):
        """Return the region in a frame of shape (ny, nx).

        Parameters
        ----------
        shape : (int, int)
            The frame's (ny, nx).
        file, keyword : str, optional
            Named in the error.

        Returns
        -------
        Region

        Raises
        ------
        FrameError
            If the region is not wholly within the frame.
        """
        if self.form == "python":
            return Region.from_python(self.text, shape, file=file, keyword=keyword)
        region = Region.from_fits(self.text, shape=shape, file=file, keyword=keyword)
        return region_within(region, shape, self.text, file=file, keyword=keyword)


def region_within(region, shape, text, *, file=None, keyword=None, remedy=None):
    """Return a region; raise an error where it does not lie within a frame.

    Parameters
    ----------
    region : Region
    shape : (int, int)
        (ny, nx) of the frame.
    text : str
        The region as written, for the error.
    file : str, optional
        Named in the error.
    keyword : str, optional
        Named in the error.
    remedy : str, optional
        The remedy, for the error.

    Returns
    -------
    Region

    Raises
    ------
    FrameError
        If the region does not lie within the frame.
    """
    if region.is_within(shape):
        return region
    raise FrameError(
        "the region is outside the frame",
        file=file,
        keyword=keyword,
        value=text,
        allowed=f"within [1:{shape[1]},1:{shape[0]}]",
        remedy=remedy or _REMEDIES[FrameError],
    )


def parse_fits(text, *, shape=None, file=None, keyword=None, error=FrameError, remedy=None):
    """Read a FITS section and the directions in which it was written.

    Parameters
    ----------
    text, shape, file, keyword, error
        As in `Region.from_fits`; ``-*`` is a whole axis backwards.
    remedy : str, optional
        The remedy, for the error.

    Returns
    -------
    DirectedSection

    Raises
    ------
    FrameError or UserError
        If the text is not a section, or begins before pixel 1.

    Examples
    --------
    An amplifier whose columns are read out backwards:

    >>> section = parse_fits("[2048:1025,1:4128]")
    >>> section.region, section.is_flipped_x, section.is_flipped_y
    (Region(y0=0, y1=4128, x0=1024, x1=2048), True, False)
    """

    def error_for(problem):
        """Return the error for this section, with a problem."""
        return error(
            problem,
            file=file,
            keyword=keyword,
            value=text,
            allowed=_FITS_FORM,
            remedy=remedy or _REMEDIES[error],
        )

    body = re.sub(r"\s+", "", text) if isinstance(text, str) else ""
    if not (body.startswith("[") and body.endswith("]")):
        raise error_for("not a FITS section")
    parts = body[1:-1].split(",")
    if len(parts) != 2:
        raise error_for("a FITS section of an image has two ranges")
    lengths = (None, None) if shape is None else (shape[1], shape[0])
    if shape is None and not {"*", "-*"}.isdisjoint(parts):
        raise error_for("'*' cannot be used where the size of the frame is not known")
    ends = [_ends_of_range(part, length) for part, length in zip(parts, lengths, strict=True)]
    if None in ends:
        raise error_for("not a FITS section")
    (xa, xb), (ya, yb) = ends
    if xa == xb == 0 or ya == yb == 0:
        raise error_for("the section is empty")
    if min(xa, xb, ya, yb) < 1:
        raise error_for("the section is outside the frame: pixels count from 1")
    region = Region(min(ya, yb) - 1, max(ya, yb), min(xa, xb) - 1, max(xa, xb))
    return DirectedSection(region, is_flipped_x=xa > xb, is_flipped_y=ya > yb)


def _ends_of_range(text, length):
    """Return the first and last pixel of a range such as ``1:2048``, from 1; None for other text.

    A range may run backwards. ``*`` is the whole axis of that length, ``-*`` the axis backwards.
    """
    if text == "*":
        return 1, length
    if text == "-*":
        return length, 1
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    return first, int(match[2]) if match[2] else first


def parse_python(text, *, file=None, keyword=None, error=FrameError):
    """Read a Python slice of an image: ((y0, y1), (x0, x1)), None where an end is open.

    Parameters
    ----------
    text : str
        Such as ``[0:512, 4:]``.
    file : path-like, optional
        Named in the error.
    keyword : str, optional
        Named in the error.
    error : type, optional
        The class of the error to raise: `FrameError` or `UserError`.

    Returns
    -------
    ((int or None, int or None), (int or None, int or None))

    Raises
    ------
    FrameError or UserError
        If the text is not two slices with step 1.

    Examples
    --------
    >>> parse_python("[0:4128, 1024:]")
    ((0, 4128), (1024, None))
    """
    body = re.sub(r"\s+", "", text) if isinstance(text, str) else ""
    parts = body[1:-1].split(",") if body.startswith("[") and body.endswith("]") else []
    matches = [_SLICE.fullmatch(part) for part in parts]
    if len(matches) != 2 or None in matches:
        raise error(
            "not a Python slice of an image",
            file=file,
            keyword=keyword,
            value=text,
            allowed=_PYTHON_FORM,
            remedy=_REMEDIES[error],
        )
    return tuple(tuple(int(end) if end else None for end in match.groups()) for match in matches)


def read_region(value, *, file=None, keyword=None):
    """Read a region of a profile, which names its notation.

    Parameters
    ----------
    value : dict of str to str
        ``{"fits": "[2056:2080,1:4128]"}``, ``{"python": "[:, 2055:]"}`` or
        ``{"keyword": "BIASSEC"}``.
    file : path-like, optional
        The profile, named in the error.
    keyword : str, optional
        The key in the profile, named in the error.

    Returns
    -------
    RegionSpec

    Raises
    ------
    UserError
        If the value is a bare string, which could be either notation, or cannot be read.

    Examples
    --------
    >>> spec = read_region({"fits": "[2056:2080,*]"})
    >>> spec.resolve((4128, 2080))
    Region(y0=0, y1=4128, x0=2055, x1=2080)
    """
    if not isinstance(value, dict) or len(value) != 1:
        raise UserError(
            "a region must name its notation",
            file=file,
            keyword=keyword,
            value=value,
            allowed=FORMS,
            remedy="write one of these: a bare text could be either notation",
        )
    ((form, text),) = value.items()
    if form == "python":
        parse_python(text, file=file, keyword=keyword, error=UserError)
    elif form == "fits":
        # Without a shape '*' would be refused. The shape of the frame is not known yet.
        parse_fits(text, shape=(1, 1), file=file, keyword=keyword, error=UserError)
    elif form != "keyword" or not isinstance(text, str) or not text.strip():
        raise UserError(
            "not a notation of regions",
            file=file,
            keyword=keyword,
            value=form,
            allowed=FORMS,
            remedy="write one of these",
        )
    return RegionSpec(form, text)


def _index_from_start(value, length, default):
    """Return an index of a slice, from 0; a negative value counts from the end, None is open."""
    if value is None:
        return default
    return value + length if value < 0 else value
