"""Warnings on frames of several sizes in a night, whose overscan is known by the profile alone.

No pixel of a bias or dark shows whether a strip is an overscan. Other frames of the night can show
this: those of other sizes with an overscan, and those of the same size with light in the strip.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from ccdflow.run.raw_frames.rows import SET_ASIDE, RowMark

SIZE_WARNING = "size"
"""The topic of the warning on a frame of a size in which the profile's overscan may hold data."""

_REMEDY = (
    "give `size:` in the camera's profile, for frames with overscan, and frames without one a"
    " profile of their own (`overscan: none`)"
)


def size_warnings(rows, data_by_file):
    """Return warnings on frames whose overscan is known by the profile alone, and may hold data.

    Parameters
    ----------
    rows : iterable of ccdflow.run.raw_frames.rows.Row
        All frames of a night, or of several.
    data_by_file : dict of str to dict
        Data of the records of reduced frames, by raw file.

    Returns
    -------
    dict of str to list of (str, str)
        Topic and text of the warnings, by raw file.
    """
    sizes_by_axis, lit_sizes, dark_sizes = defaultdict(list), set(), set()
    for row in rows:
        strips = data_by_file.get(row.file, {}).get("strips")
        if strips is not None:
            size = _size_along(row, f"naxis{strips['axis']}")
            sizes_by_axis[size.axis_of_night].append((row.file, size))
            if strips["dark"]:
                dark_sizes.add(size)
        elif row.status == SET_ASIDE and row.has(RowMark.LIT_OVERSCAN):
            lit_sizes |= {_size_along(row, axis) for axis in ("naxis1", "naxis2")}
    warnings = {}
    for files_and_sizes in sizes_by_axis.values():
        most_pixels = max(size.n_pixels for _, size in files_and_sizes)
        for file, size in files_and_sizes:
            is_doubtful = size.n_pixels != most_pixels and size not in dark_sizes
            if size in lit_sizes:
                reason = (
                    "in a frame of its size, with light, the strip holds data and is no overscan"
                )
            elif is_doubtful:
                reason = (
                    f"others of the night have {most_pixels}, and neither a card nor a frame of its"
                    " size with light shows that it has an overscan"
                )
            else:
                continue
            text = f"{size.axis.upper()} is {size.n_pixels}: {reason}; {_REMEDY}"
            warnings[file] = [(SIZE_WARNING, text)]
    return warnings


class _SizeAlongAxis(NamedTuple):
    """The size of frames of a camera and night along an axis.

    Attributes
    ----------
    camera, night : str
    axis : {'naxis1', 'naxis2'}
    n_pixels : int
    """

    camera: str
    night: str
    axis: str
    n_pixels: int

    @property
    def axis_of_night(self):
        """Camera, night and axis: frames that share these are compared."""
        return self[:3]


def _size_along(row, axis):
    """Return the `_SizeAlongAxis` of a raw frame along an axis."""
    return _SizeAlongAxis(row.camera, row.night, axis, row.facts[axis])
