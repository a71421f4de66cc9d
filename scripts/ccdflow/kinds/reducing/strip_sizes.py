"""Warnings on frames of several sizes in a night, whose overscan only the profile gives.

No pixel of a bias or dark shows whether a strip is an overscan. Other frames do: frames of other
sizes that have one, and frames of its own size in which the strip holds light.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from ccdflow.run.rawframes.rows import SET_ASIDE, RowMark

SIZE_WARNING = "size"
"""The warning on a frame of a size in which the overscan of its profile may hold data."""

_REMEDY = (
    "give `size:` in the camera's profile, for frames with overscan, and frames without one a"
    " profile of their own (`overscan: none`)"
)


def size_warnings(rows, data_of):
    """Return warnings on frames of a night whose overscan only the profile gives.

    Parameters
    ----------
    rows : iterable of ccdflow.run.rawframes.rows.Row
        All frames of a night.
    data_of : dict of str to dict
        The figures of reduced frames, by raw file.

    Returns
    -------
    dict of str to list of (str, str)
        Topic and text of the warnings, by raw file.
    """
    sizes_by_axis, lit_sizes, dark_sizes = defaultdict(list), set(), set()
    for row in rows:
        strips = data_of.get(row.file, {}).get("strips")
        if strips is not None:
            size = _size_along(row, f"naxis{strips['axis']}")
            sizes_by_axis[size.axis_of_night].append((row.file, size))
            if strips["dark"]:
                dark_sizes.add(size)
        elif row.status == SET_ASIDE and row.has(RowMark.LIT_OVERSCAN):
            lit_sizes |= {_size_along(row, axis) for axis in ("naxis1", "naxis2")}
    warnings = {}
    for frames in sizes_by_axis.values():
        longest = max(size.pixels for _, size in frames)
        for file, size in frames:
            if size in lit_sizes:
                reason = (
                    "in a frame of its size, with light, the strip holds data and is no overscan"
                )
            elif size.pixels != longest and size not in dark_sizes:
                reason = (
                    f"others of the night have {longest}, and neither a card nor a frame of its"
                    " size with light shows that it has an overscan"
                )
            else:
                continue
            text = f"{size.axis.upper()} is {size.pixels}: {reason}; {_REMEDY}"
            warnings[file] = [(SIZE_WARNING, text)]
    return warnings


class _SizeAlongAxis(NamedTuple):
    """The size of frames of a camera and night along an axis.

    Attributes
    ----------
    camera, night : str
    axis : {'naxis1', 'naxis2'}
    pixels : int
    """

    camera: str
    night: str
    axis: str
    pixels: int

    @property
    def axis_of_night(self):
        """All values but the number of pixels."""
        return self[:3]


def _size_along(row, axis):
    """Return the `_SizeAlongAxis` of a raw frame along an axis."""
    return _SizeAlongAxis(row.camera, row.night, axis, row.facts[axis])
