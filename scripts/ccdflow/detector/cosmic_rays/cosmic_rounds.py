"""The rounds of L.A.Cosmic (astroscrappy) on an image, after the first round only near hits."""

from __future__ import annotations

import numpy as np

# L.A.Cosmic has at most this many rounds: the default of astroscrappy.
_ITERATIONS = 4
# A replaced pixel changes the hits of the next round up to this many pixels away. Filters of 5, 7
# and 9 pixels, and the growth of hits by two pixels, cause this.
_REACH_PIXELS = 8
# The reach of a replaced pixel where stars are compared with their profile: the noise of more
# pixels is used then.
_REACH_OF_PROFILE = 12
# A hit of at most this many pixels on a side lies in one part of the image; a larger hit takes
# several parts.
_WIDTH_OF_A_HIT = 6
# If the parts together have more pixels than this factor times the image, all rounds search the
# whole image: the parts would take longer.
_MOST_AREA_RATIO = 1.0
# A hit is replaced by the median of the pixels up to this many pixels away, as in astroscrappy:
# with another number the hits of the two would differ.
_PIXELS_AROUND = 2
# Number of pixels that are mirrored at each edge of an image. L.A.Cosmic finds nothing in the three
# outermost ones.
_MARGIN_PIXELS = 6

IMAGE_IN_MARGIN = (slice(_MARGIN_PIXELS, -_MARGIN_PIXELS),) * 2
"""The slices of the image in the arrays that `image_with_margin` returns."""

NEIGHBOUR_BOX = np.ones((3, 3), bool)
"""Pixels that touch at a corner are connected."""


def image_with_margin(values, dtype=np.float32):
    """Return an image with mirrored pixels around it: its own pixels are at `IMAGE_IN_MARGIN`.

    Parameters
    ----------
    values : numpy.ndarray of shape (ny, nx), any type
    dtype : numpy.dtype, optional
        Type of the result.

    Returns
    -------
    numpy.ndarray of shape (ny + 2 * margin, nx + 2 * margin), of type `dtype`
    """
    return np.pad(values.astype(dtype, copy=False), _MARGIN_PIXELS, mode="reflect")


def hits_of_rounds(data, variance, is_bad, settings):
    """Return the mask of pixels that L.A.Cosmic takes for hits, (ny, nx) bool.

    For the next round, hits are replaced by their surroundings. Further hits appear only near
    replaced pixels: after the first round, small parts of the image about the hits are searched.

    Parameters
    ----------
    data, variance : numpy.ndarray of shape (ny, nx), float32
    is_bad : numpy.ndarray of shape (ny, nx), bool
    settings : dict of str to object
        Arguments of ``astroscrappy.detect_cosmics``.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
    """
    from astroscrappy import detect_cosmics

    def find(data, variance, is_bad, rounds=1):
        """Return the hits that astroscrappy finds, (ny, nx) bool."""
        return detect_cosmics(
            data, inmask=is_bad, invar=variance, gain=1.0, satlevel=np.inf, niter=rounds,
            cleantype="medmask", **settings,
        )[0]  # fmt: skip

    hits = find(data, variance, is_bad)
    new_hits, image_without_hits = hits, _ImageWithoutHits(data, variance, is_bad)
    reach = _REACH_OF_PROFILE if settings.get("fsmode") == "convolve" else _REACH_PIXELS
    for _ in range(_ITERATIONS - 1):
        boxes = image_without_hits.replace(hits, new_hits)
        first_pixels, edge_parts = _parts_about_boxes(boxes, data.shape, reach)
        side = 4 * reach + _WIDTH_OF_A_HIT
        if len(first_pixels) * side**2 > _MOST_AREA_RATIO * data.size:
            return find(data, variance, is_bad, _ITERATIONS)
        further_hits = np.zeros_like(hits)
        if len(first_pixels):
            _find_inside(find, image_without_hits.planes, first_pixels, reach, further_hits)
        for axis_across, windows in _parts_at_edges(edge_parts, data.shape):
            _find_at_edge(find, image_without_hits.planes, windows, axis_across, further_hits)
        new_hits = further_hits & ~hits
        if not new_hits.any():
            break
        hits |= new_hits
    return hits


class _ImageWithoutHits:
    """An image and its variance with each hit replaced by the median of the pixels around it.

    As in astroscrappy, the median is that of the pixels within `_PIXELS_AROUND` that are no hits,
    and not beside bad pixels. A round replaces the hits near new hits: the median around other hits
    is unchanged. The median of an even number of values is the lower of the middle two.

    Parameters
    ----------
    data, variance : numpy.ndarray of shape (ny, nx), float32
        Not changed.
    is_bad : numpy.ndarray of shape (ny, nx), bool
        Pixels that are left out of medians.

    Attributes
    ----------
    planes : tuple of numpy.ndarray of shape (ny, nx), float32 and bool
        Image and variance with hits replaced (float32), and bad pixels (bool).
    """

    def __init__(self, data, variance, is_bad):
        from astroscrappy import dilate3

        self.planes = data.copy(), variance.copy(), is_bad
        self._sources = data, variance
        self._is_bad = dilate3(is_bad).astype(bool)

    def replace(self, hits, new_hits):
        """Replace hits near new hits; return the slices of each group of replaced pixels."""
        from scipy import ndimage

        changed = np.zeros_like(hits)
        inner = (slice(_PIXELS_AROUND, -_PIXELS_AROUND),) * 2
        is_near = ndimage.binary_dilation(new_hits, np.ones((2 * _PIXELS_AROUND + 1,) * 2, bool))
        changed[inner] = (hits & is_near)[inner]
        y, x = np.nonzero(changed)
        steps = np.arange(-_PIXELS_AROUND, _PIXELS_AROUND + 1)
        box_indices = y[:, None, None] + steps[:, None], x[:, None, None] + steps
        is_left_out = (hits | self._is_bad)[box_indices].reshape(len(y), steps.size**2)
        counts = (~is_left_out).sum(axis=1)
        middle_index = np.maximum(counts - 1, 0) // 2
        for plane, source in zip(self.planes, self._sources, strict=False):
            values = np.where(is_left_out, np.inf, source[box_indices].reshape(is_left_out.shape))
            values.sort(axis=1)
            middle = values[np.arange(len(y)), middle_index]
            if not counts.all():
                middle[counts == 0] = self._level(source)
            plane[y, x] = middle
        return ndimage.find_objects(ndimage.label(changed, NEIGHBOUR_BOX)[0])

    def _level(self, source):
        """Return the median of the pixels that are not beside bad pixels."""
        from astroscrappy import median

        good_pixels = np.ascontiguousarray(source[~self._is_bad])
        return median(good_pixels, len(good_pixels))


def _parts_about_boxes(boxes, shape, reach):
    """Return parts of an image whose cores contain all pixels within reach of some boxes.

    Parameters
    ----------
    boxes : list of (slice, slice)
        Groups of replaced pixels.
    shape : (int, int)
        (ny, nx) of the image.
    reach : int
        See `_REACH_PIXELS`.

    Returns
    -------
    first_pixels : numpy.ndarray of shape (n, 2), int64
        First row and column of the parts within the image. A part is four times the reach and a hit
        wide; its core begins one reach inside its edge.
    edge_parts : list of ((slice, slice), (slice, slice))
        Parts at the edges of the image, where filters end, and the core within each part.
    """
    step, centres, edge_parts = 2 * reach + _WIDTH_OF_A_HIT, [], []
    for box in boxes:
        ends = [(side.start - 2 * reach, side.stop + 2 * reach) for side in box]
        first_pixels = [np.arange(low, high - 2 * reach, step) for low, high in ends]
        stops = [first[-1] + 4 * reach + _WIDTH_OF_A_HIT for first in first_pixels]
        if min(first[0] for first in first_pixels) >= 0 and all(
            stop <= size for stop, size in zip(stops, shape, strict=True)
        ):
            centres.append(np.stack(np.meshgrid(*first_pixels, indexing="ij"), -1).reshape(-1, 2))
            continue
        window, core = [], []
        for (low, high), size in zip(ends, shape, strict=True):
            window.append(slice(max(low, 0), min(high, size)))
            start = 0 if low < 0 else reach
            stop = window[-1].stop - window[-1].start - (0 if high > size else reach)
            core.append(slice(start, stop))
        edge_parts.append((tuple(window), tuple(core)))
    return np.concatenate(centres) if centres else np.zeros((0, 2), int), edge_parts


def _find_inside(find, planes, first_pixels, reach, hits):
    """Add the hits in parts that touch no edge, found in one call: each call starts threads.

    Parameters
    ----------
    find : callable
        Takes three arrays, and returns their hits.
    planes : tuple of numpy.ndarray of shape (ny, nx), float32 and bool
        The image and its variance (float32), bad pixels (bool).
    first_pixels : numpy.ndarray of shape (n, 2), int64
        First pixels of the parts, as `_parts_about_boxes` returns them.
    reach : int
        See `_REACH_PIXELS`.
    hits : numpy.ndarray of shape (ny, nx), bool
        Hits are added.
    """
    side = 4 * reach + _WIDTH_OF_A_HIT
    steps = np.arange(side)
    rows, columns = (first_pixels[:, axis, None] + steps for axis in (0, 1))
    pixels = rows.T[:, :, None], columns[None]
    hits_in_parts = find(*(plane[pixels].reshape(side, -1) for plane in planes))
    core = slice(reach, side - reach)
    hits_in_cores = hits_in_parts.reshape(side, len(first_pixels), side)[core, :, core]
    pixels = rows[:, core, None], columns[:, None, core]
    np.logical_or.at(hits, pixels, hits_in_cores.swapaxes(0, 1))


def _parts_at_edges(edge_parts, shape):
    """Return the parts that touch an edge, grouped by edge, with its axis; corners are single."""
    groups, corner_parts = {}, []
    for window, core in edge_parts:
        ends = [(axis, end) for axis in (0, 1) for end in (0, shape[axis])]
        touched = [
            (axis, end) for axis, end in ends if end in (window[axis].start, window[axis].stop)
        ]
        if len(touched) == 1:
            groups.setdefault(touched[0], []).append((window, core))
        else:
            corner_parts.append((0, [(window, core)]))
    return [*((axis, windows) for (axis, _), windows in groups.items()), *corner_parts]


def _find_at_edge(find, planes, windows, axis_across, hits):
    """Add the hits in the parts at one edge, found in one call: each call starts threads.

    Parameters
    ----------
    find : callable
        Takes three arrays, and returns their hits.
    planes : tuple of numpy.ndarray of shape (ny, nx), float32 and bool
        The image and its variance (float32), bad pixels (bool).
    windows : list of ((slice, slice), (slice, slice))
        Parts and cores of `_parts_about_boxes`: they are put one after the other along the edge.
    axis_across : int
        Axis at whose end the parts lie; all are searched as deep as the deepest.
    hits : numpy.ndarray of shape (ny, nx), bool
        Hits are added.
    """
    axis_along = 1 - axis_across
    depth_slice = slice(
        min(window[axis_across].start for window, _ in windows),
        max(window[axis_across].stop for window, _ in windows),
    )
    rows = np.concatenate([np.arange(w[axis_along].start, w[axis_along].stop) for w, _ in windows])
    index = (depth_slice, rows) if axis_along else (rows, depth_slice)
    hits_in_parts, position = find(*(np.ascontiguousarray(plane[index]) for plane in planes)), 0
    for window, core in windows:
        part = [None, None]
        part[axis_along] = slice(
            position + core[axis_along].start, position + core[axis_along].stop
        )
        first = window[axis_across].start - depth_slice.start
        part[axis_across] = slice(first + core[axis_across].start, first + core[axis_across].stop)
        hits[window][core] |= hits_in_parts[tuple(part)]
        position += window[axis_along].stop - window[axis_along].start
