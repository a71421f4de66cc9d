"""The places of amplifiers in an image, by the sections in its header."""

from __future__ import annotations

import re

from ccdflow.verify.reading.verdict import UNREADABLE, CannotRemake

SECTION = re.compile(r"\[(\d+):(\d+),(\d+):(\d+)\]")
"""Matches a FITS section: [1:2048,1:4096]."""


def slices_of(text):
    """Return the numpy slices of a FITS section.

    Raises
    ------
    CannotRemake
        If the text is not a section.

    Examples
    --------
    >>> slices_of("[2056:2080,1:4128]")
    (slice(0, 4128, None), slice(2055, 2080, None))
    """
    match = SECTION.fullmatch(text.strip())
    if match is None:
        raise CannotRemake(f"the section {text!r} cannot be read", UNREADABLE)
    x0, x1, y0, y1 = map(int, match.groups())
    return slice(y0 - 1, y1), slice(x0 - 1, x1)


def place_of(header, tail):
    """Return the pixels of an amplifier in an image.

    The only amplifier of a trimmed image, which has TRIM, has all pixels. In an image that was not
    trimmed, DATSEC names them. Older results: without DATSEC, they are DATASEC or TRIMSEC of the
    raw frame if that does not overlap the overscan, otherwise the larger side of the overscan.

    Parameters
    ----------
    header : astropy.io.fits.Header
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    (slice, slice)
    """
    if tail:
        return slices_of(header[f"DATSEC{tail}"])
    shape = header["NAXIS2"], header["NAXIS1"]
    all_pixels = slice(0, shape[0]), slice(0, shape[1])
    if "TRIM" in header:
        return all_pixels
    strips = [slices_of(strip) for strip in str(header.get("OVERSCAN", "")).split()]
    for keyword in ("DATSEC", "DATASEC", "TRIMSEC"):
        match = SECTION.fullmatch(str(header.get(keyword, "")).replace(" ", ""))
        place = slices_of(match[0]) if match else all_pixels
        if (
            match
            and _is_within(place, shape)
            and not any(_do_overlap(place, strip) for strip in strips)
        ):
            return place
    for strip in strips:
        all_pixels = _part_beside(all_pixels, strip)
    return all_pixels


def _is_within(place, shape):
    """Return whether a place, (slice, slice), is not empty and lies in an image of a shape."""
    return all(0 <= span.start < span.stop <= size for span, size in zip(place, shape, strict=True))


def _do_overlap(place, strip):
    """Return whether a place and a strip, each (slice, slice), share pixels."""
    return all(
        span.start < span_of_strip.stop and span_of_strip.start < span.stop
        for span, span_of_strip in zip(place, strip, strict=True)
    )


def _part_beside(place, strip):
    """Return the largest part of a region on one side of a strip."""
    sides = [place] if not _do_overlap(place, strip) else []
    for axis in () if sides else (0, 1):
        span, strip_span = place[axis], strip[axis]
        for side in (slice(span.start, strip_span.start), slice(strip_span.stop, span.stop)):
            if side.start < side.stop:
                sides.append((side, place[1]) if axis == 0 else (place[0], side))
    sizes = [(y.stop - y.start) * (x.stop - x.start) for y, x in sides]
    return sides[sizes.index(max(sizes))] if sides else place
