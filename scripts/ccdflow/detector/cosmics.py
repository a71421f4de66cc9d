"""Cosmic rays in a calibrated frame, by L.A.Cosmic (astroscrappy), and two guards for stars.

van Dokkum, PASP 113, 1420 (2001). Pixels are never changed.

L.A.Cosmic compares the sharpness of a pixel with the structure around it, which fails for stars of
two pixels or less, and beside other stars. So what it flags in a star has to be sharper than any
star can be: of a Gaussian of width s, and of any sum of such, no pixel is above exp(d^2 / 2 s^2)
times the mean of the two pixels at the distance d on either side, along any line. The width is that
of the frame's own stars: the second difference of the logarithm of a Gaussian is -1 / s^2, wherever
in its pixel a star lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.detector.pixels.medians import box_median

VERSION = 6
"""Raise it when a change finds other pixels, or writes other cards: such frames are made again."""

MOST_UNDER_STARS = 1e-3
"""A result that flags more than this part of the pixels under stars is discarded."""

# A median of 3 x 3 pixels exceeds the sky by this many errors in a star, and not in a hit.
_STAR_SIGMA = 4.0
# A star gives the width if its peak is this many errors of a pixel above the sky ...
_PEAK_SIGMA = 30.0
# ... and its four neighbours are this many: those of a hit are not.
_FLANK_SIGMA = 3.0
# The width needs at least this many such stars.
_FEWEST_STARS = 5
# A star may be sharper than the median one by this factor.
_SHARPEST_STAR = 0.93
# No star is narrower, pixels (standard deviation).
_LEAST_WIDTH = 0.45
# Width of stars if too few are found: a FWHM of 2 pixels.
_USUAL_WIDTH = 0.85
# Connected pixels are a track if more than this part of them is sharp.
_SHARP_SHARE = 0.5
# The sky beside a star is taken this many pixels away.
_SKY_DISTANCE = 6
# The sky is the median of so many pixels of a row, then of as many medians of a column.
_SKY_BOX = 9
# Pixels that touch at a corner are connected.
_CONNECTED = np.ones((3, 3), bool)
# A hit inside a star must exceed the star's profile by this many errors.
_STAR_EXCESS_SIGMA = 4.0
# Stars of a smaller FWHM, pixels, are compared with their own profile.
_UNDERSAMPLED_FWHM = 2.5
# The limit of the contrast is multiplied by this where stars are compared with their profile.
_PROFILE_CONTRAST = 0.3
# The profile of a star has this many pixels on a side.
_PROFILE_SIZE = 7

FWHM = 2.3548
"""Full width at half maximum over sigma of a Gaussian: 2 sqrt(2 ln 2)."""

# Where stars are flagged, the contrast is raised by these factors before the result is discarded.
_CONTRAST_FACTORS = (1, 2, 4)
# Rounds of L.A.Cosmic: the default of astroscrappy.
_ROUNDS = 4
# A hit has about this many pixels, flagged together: the number of flagged pixels varies more.
_PIXELS_OF_A_HIT = 5
# This many pixels are mirrored at the edges of an image.
_MARGIN = 6
_INSIDE = (slice(_MARGIN, -_MARGIN),) * 2
# This many lines at each edge of an image may have too many hits.
_EDGE_LINES = 3
# Such a line has too many hits if they cover this part of its pixels.
_EDGE_SHARE = 0.02
# The part of the whole image that was hit, times this factor, is added to that limit.
_EDGE_FACTOR = 4
# A line with fewer hits than this is kept whatever its limit.
_FEWEST_ON_EDGE = 5
# A replaced pixel changes the hits of the next round up to this many pixels away: by filters of 5,
# 7 and 9 pixels one after the other, and by the two pixels by which hits grow.
_REACH = 8
# The same where stars are compared with their profile, by the noise of the pixels around.
_REACH_OF_PROFILE = 12
# A hit of at most this many pixels on a side lies in one part; a larger one takes several.
_WIDTH_OF_A_HIT = 6
# If the parts together have this many times the pixels of the image, all rounds search all of it.
_MOST_IN_PARTS = 1.0
# A hit is replaced by the pixels up to this far from it.
_BESIDE = 2


@dataclass(frozen=True)
class Search:
    """The result of a search, and its arguments, which the header names.

    Attributes
    ----------
    hits : numpy.ndarray
        (ny, nx), bool; none where the result is discarded.
    is_kept : bool
    sigma, contrast : float
        ``sigclip`` and ``objlim`` of astroscrappy, as they were in the end.
    fwhm : float
        Of the frame's stars, pixels; 0 where too few told.
    """

    hits: np.ndarray
    is_kept: bool
    sigma: float
    contrast: float
    fwhm: float


def search(image, errors, mask, *, sigma=4.5, contrast=5.0, guard=MOST_UNDER_STARS):
    """Find the pixels of an image that cosmic rays hit.

    Parameters
    ----------
    image : numpy.ndarray
        Shape (ny, nx), float32, electrons or adu. Not changed.
    errors : numpy.ndarray
        (ny, nx): standard errors of a model (UNCERT).
    mask : numpy.ndarray
        (ny, nx), int16: pixels with any bit are no hits, and are left out of the surroundings.
    sigma, contrast : float
        ``sigclip`` and ``objlim`` of astroscrappy: standard errors above the surroundings, and how
        much sharper than a star.
    guard : float
        See `MOST_UNDER_STARS`; as many hits as elsewhere are expected there.

    Returns
    -------
    Search

    Examples
    --------
    A hit of 500 electrons on a sky with a noise of 3 electrons:

    >>> image = np.random.default_rng(1).normal(100, 3, (64, 64)).astype(np.float32)
    >>> image[20, 30] += 500
    >>> errors = np.full(image.shape, 3, np.float32)
    >>> found = search(image, errors, np.zeros(image.shape, np.int16))
    >>> print(np.argwhere(found.hits))
    [[20 30]]
    """
    bad = (mask != 0) | ~np.isfinite(image) | ~np.isfinite(errors)
    level = float(np.median(image[~bad])) if not bad.all() else 0.0
    usual = float(np.median(errors[~bad])) if not bad.all() else 1.0
    data = _with_margin(np.where(np.isfinite(image), image, level))
    errors = _with_margin(np.where(np.isfinite(errors), errors, usual))
    bad = _with_margin(bad, bool)
    stars = _Stars(data, errors, bad)
    variance = np.square(errors)
    fwhm = 0.0 if np.isnan(stars.width) else stars.width * FWHM
    for factor in _CONTRAST_FACTORS:
        how = _sharpness(stars.width, contrast * factor)
        hits = _rounds(data, variance, bad, {"sigclip": sigma, **how}) & ~bad
        stars.keep_sharp(hits)
        if stars.are_spared_by(hits, guard):
            return Search(
                _clear_edges(hits[_INSIDE]),
                is_kept=True,
                sigma=sigma,
                contrast=how["objlim"],
                fwhm=fwhm,
            )
    return Search(
        np.zeros(image.shape, bool),
        is_kept=False,
        sigma=sigma,
        contrast=how["objlim"],
        fwhm=fwhm,
    )


def _with_margin(values, dtype=np.float32):
    """Return an image that is mirrored at its edges: L.A.Cosmic finds nothing in three pixels."""
    return np.pad(values.astype(dtype, copy=False), _MARGIN, mode="reflect")


def _clear_edges(hits):
    """Return a copy of hits without lines at the edges of an image that have too many of them.

    The last columns of many detectors collect more light, or are not lit: no ray hits them alone.
    """
    kept = hits.copy()
    most = _EDGE_SHARE + _EDGE_FACTOR * hits.mean()
    for turned in (kept, kept[::-1], kept.T, kept.T[::-1]):
        for line in turned[:_EDGE_LINES]:
            if np.count_nonzero(line) >= max(most * line.size, _FEWEST_ON_EDGE):
                line[:] = False
    return kept


def _rounds(data, variance, bad, settings):
    """Return the hits of L.A.Cosmic, (ny, nx) bool: after the first round only near its hits.

    Hits are replaced by their surroundings for the next round, which finds others only where
    something was replaced: small parts of the image about the hits are put together for it.

    Parameters
    ----------
    data, variance : numpy.ndarray
        (ny, nx), float32.
    bad : numpy.ndarray
        (ny, nx), bool.
    settings : dict
        Arguments of ``astroscrappy.detect_cosmics``.
    """
    from astroscrappy import detect_cosmics

    def find(data, variance, bad, rounds=1):
        return detect_cosmics(
            data, inmask=bad, invar=variance, gain=1.0, satlevel=np.inf, niter=rounds,
            cleantype="medmask", **settings,
        )[0]  # fmt: skip

    hits = find(data, variance, bad)
    new, planes = hits, _Replaced(data, variance, bad)
    reach = _REACH_OF_PROFILE if settings.get("fsmode") == "convolve" else _REACH
    for _ in range(_ROUNDS - 1):
        boxes = planes.replace(hits, new)
        inside, at_edges = _parts(boxes, data.shape, reach)
        side = 4 * reach + _WIDTH_OF_A_HIT
        if len(inside) * side**2 > _MOST_IN_PARTS * data.size:
            return find(data, variance, bad, _ROUNDS)
        more = np.zeros_like(hits)
        if len(inside):
            steps = np.arange(side)
            rows, columns = (inside[:, axis, None] + steps for axis in (0, 1))
            wide = rows.T[:, :, None], columns[None]
            part = find(*(each[wide].reshape(side, -1) for each in planes.each))
            core = slice(reach, side - reach)
            at = rows[:, core, None], columns[:, None, core]
            part = part.reshape(side, len(inside), side)[core, :, core]
            np.logical_or.at(more, at, part.swapaxes(0, 1))
        for across, windows in _parts_at_edges(at_edges, data.shape):
            _find_at_edge(find, planes.each, windows, across, more)
        new = more & ~hits
        if not new.any():
            break
        hits |= new
    return hits


class _Replaced:
    """An image and its variance, whose hits are replaced by the median of the pixels around them.

    As astroscrappy has it: of 5 x 5 pixels those count that are no hits, and not beside bad ones;
    all hits are replaced anew in each round. The median of an even number is the lower of two.

    Parameters
    ----------
    data, variance : numpy.ndarray
        (ny, nx), float32; not changed.
    bad : numpy.ndarray
        (ny, nx), bool: pixels that replace no other.
    """

    def __init__(self, data, variance, bad):
        from astroscrappy import dilate3

        self.each = data.copy(), variance.copy(), bad
        self._sources = data, variance
        self._bad = dilate3(bad).astype(bool)

    def replace(self, hits, new):
        """Replace hits near new ones; return the slices of each group of replaced pixels."""
        from scipy import ndimage

        changed = np.zeros_like(hits)
        inner = (slice(_BESIDE, -_BESIDE),) * 2
        near = ndimage.binary_dilation(new, np.ones((2 * _BESIDE + 1,) * 2, bool))
        changed[inner] = (hits & near)[inner]
        y, x = np.nonzero(changed)
        steps = np.arange(-_BESIDE, _BESIDE + 1)
        around = y[:, None, None] + steps[:, None], x[:, None, None] + steps
        is_left_out = (hits | self._bad)[around].reshape(len(y), steps.size**2)
        counts = (~is_left_out).sum(axis=1)
        place = np.maximum(counts - 1, 0) // 2
        for plane, source in zip(self.each, self._sources, strict=False):
            values = np.where(is_left_out, np.inf, source[around].reshape(is_left_out.shape))
            values.sort(axis=1)
            middle = values[np.arange(len(y)), place]
            if not counts.all():
                middle[counts == 0] = self._level(source)
            plane[y, x] = middle
        return ndimage.find_objects(ndimage.label(changed, _CONNECTED)[0])

    def _level(self, source):
        from astroscrappy import median

        good = np.ascontiguousarray(source[~self._bad])
        return median(good, len(good))


def _parts(boxes, shape, reach):
    """Return the parts of an image whose cores hold all that is near to some boxes.

    Parameters
    ----------
    boxes : list of (slice, slice)
    shape : (int, int)
        (ny, nx) of the image.
    reach : int
        See `_REACH`.

    Returns
    -------
    inside : numpy.ndarray of shape (n, 2)
        First row and column of the parts, four times the reach and a hit wide; their cores begin
        behind one reach.
    at_edges : list of ((slice, slice), (slice, slice))
        Others, with their cores in them: filters end at the edges of an image.
    """
    step, places, at_edges = 2 * reach + _WIDTH_OF_A_HIT, [], []
    for box in boxes:
        ends = [(side.start - 2 * reach, side.stop + 2 * reach) for side in box]
        firsts = [np.arange(low, high - 2 * reach, step) for low, high in ends]
        last = [first[-1] + 4 * reach + _WIDTH_OF_A_HIT for first in firsts]
        if min(first[0] for first in firsts) >= 0 and all(
            end <= size for end, size in zip(last, shape, strict=True)
        ):
            places.append(np.stack(np.meshgrid(*firsts, indexing="ij"), -1).reshape(-1, 2))
            continue
        window, core = [], []
        for (low, high), size in zip(ends, shape, strict=True):
            window.append(slice(max(low, 0), min(high, size)))
            begin = 0 if low < 0 else reach
            stop = window[-1].stop - window[-1].start - (0 if high > size else reach)
            core.append(slice(begin, stop))
        at_edges.append((tuple(window), tuple(core)))
    inside = np.concatenate(places) if places else np.zeros((0, 2), int)
    return inside, at_edges


def _parts_at_edges(at_edges, shape):
    """Return the parts that touch one edge together, with its axis; parts in corners are alone."""
    groups, alone = {}, []
    for window, core in at_edges:
        ends = [(axis, end) for axis in (0, 1) for end in (0, shape[axis])]
        touched = [
            (axis, end) for axis, end in ends if end in (window[axis].start, window[axis].stop)
        ]
        if len(touched) == 1:
            groups.setdefault(touched[0], []).append((window, core))
        else:
            alone.append((0, [(window, core)]))
    return [*((axis, windows) for (axis, _), windows in groups.items()), *alone]


def _find_at_edge(find, planes, windows, across, more):
    """Look for hits in parts at one edge at once: each call starts threads.

    Parameters
    ----------
    find : callable
        Takes three arrays, and returns their hits.
    planes : tuple of numpy.ndarray
        (ny, nx): the image, its variance, bad pixels.
    windows : list of ((slice, slice), (slice, slice))
        Of `_parts`: they are put behind each other along the edge.
    across : int
        Axis at whose end they lie, all of the depth of the deepest.
    more : numpy.ndarray
        (ny, nx), bool: hits are added.
    """
    along = 1 - across
    deep = slice(
        min(window[across].start for window, _ in windows),
        max(window[across].stop for window, _ in windows),
    )
    rows = np.concatenate([np.arange(w[along].start, w[along].stop) for w, _ in windows])
    index = (deep, rows) if along else (rows, deep)
    hits, begin = find(*(np.ascontiguousarray(plane[index]) for plane in planes)), 0
    for window, core in windows:
        place = [None, None]
        place[along] = slice(begin + core[along].start, begin + core[along].stop)
        first = window[across].start - deep.start
        place[across] = slice(first + core[across].start, first + core[across].stop)
        more[window][core] |= hits[tuple(place)]
        begin += window[along].stop - window[along].start


def _sharpness(width, contrast):
    """Return how astroscrappy tells hits from stars of a width (standard deviation, pixels)."""
    if not width * FWHM < _UNDERSAMPLED_FWHM:
        return {"objlim": contrast}
    return {
        "objlim": _PROFILE_CONTRAST * contrast,
        "fsmode": "convolve",
        "psfmodel": "gauss",
        "psffwhm": width * FWHM,
        "psfsize": _PROFILE_SIZE,
    }


class _Stars:
    """The stars of an image: their places and width, and the pixels in them that are no star.

    Parameters
    ----------
    data, errors : numpy.ndarray
        (ny, nx), float32, finite.
    bad : numpy.ndarray
        (ny, nx), bool: pixels that tell nothing.
    """

    def __init__(self, data, errors, bad):
        # Imported in functions, because scipy adds 0.15 s to the start of runs without such frames.
        from scipy import ndimage

        around = box_median(box_median(data, (1, _SKY_BOX)), (_SKY_BOX, 1))
        self._errors = errors
        self._usable = np.zeros_like(bad)
        self._usable[_INSIDE] = ~bad[_INSIDE]
        self._data, self._around = data, around
        self._light = data - around
        self._core = box_median(data, (3, 3)) - around > _STAR_SIGMA * errors
        # Stars, and wide tracks of rays.
        self.extended = ndimage.binary_dilation(self._core, _CONNECTED)
        self._peaks, self.width = self._measure()

    def _measure(self):
        """Return the peaks of stars, (2, n), and the width of a median star, NaN for too few."""
        light = self._light
        y, x = np.nonzero(self._core[1:-1, 1:-1] & (light > _PEAK_SIGMA * self._errors)[1:-1, 1:-1])
        y, x = y + 1, x + 1
        box = np.array([light[y + dy, x + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
        flanks = box[[1, 3, 5, 7]]
        is_star = (box[4] >= box.max(axis=0)) & (flanks > _FLANK_SIGMA * self._errors[y, x]).all(
            axis=0
        )
        is_star &= self._usable[y, x]
        peaks = np.array([y[is_star], x[is_star]])
        if np.count_nonzero(is_star) < _FEWEST_STARS:
            return peaks, np.nan
        bends = 4 * np.log(box[4, is_star]) - np.log(flanks[:, is_star]).sum(axis=0)
        width = float(np.sqrt(2 / max(np.median(bends), 1e-6)))
        return peaks, max(width, _LEAST_WIDTH)

    def keep_sharp(self, hits):
        """Keep of the hits in stars those that no star can be, (ny, nx) bool, in place."""
        from scipy import ndimage

        at = np.nonzero(hits & self.extended)
        is_sharp = self._is_sharp(*at)
        # The middle of a wide track is as smooth as a star: it is flagged with its edges.
        labels, count = ndimage.label(hits, _CONNECTED)
        own = labels[at]
        share = np.bincount(own, is_sharp, count + 1) / np.maximum(
            np.bincount(own, None, count + 1), 1
        )
        hits[at] = is_sharp | (share[own] > _SHARP_SHARE)

    def _is_sharp(self, y, x):
        """Tell which pixels are sharper than a star can be along a row, column or diagonal."""
        width = _USUAL_WIDTH if np.isnan(self.width) else self.width
        errors = self._errors[y, x]
        steps = (-_SKY_DISTANCE, 0, _SKY_DISTANCE)
        # A median around a star has some of its light; the lowest median beside it has none.
        sky = np.min(
            [self._pixels_at(self._around, y + dy, x + dx) for dy in steps for dx in steps], axis=0
        )
        here = self._data[y, x] - sky
        sharp = np.zeros(y.size, bool)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            most = np.exp((dy * dy + dx * dx) / 2 / (_SHARPEST_STAR * width) ** 2)
            beside = [
                np.maximum(self._pixels_at(self._data, y + way * dy, x + way * dx) - sky, 0)
                for way in (-1, 1)
            ]
            limit = _STAR_EXCESS_SIGMA * np.sqrt(1 + most**2 / 2) * errors
            sharp |= here - most * (beside[0] + beside[1]) / 2 > limit
        return sharp

    @staticmethod
    def _pixels_at(values, y, x):
        """Return some pixels of an image, at its edges the nearest ones."""
        ny, nx = values.shape
        return values[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)]

    def are_spared_by(self, hits, guard):
        """Tell whether there are no more hits in stars than elsewhere, within the guard."""
        from scipy import ndimage

        stars = np.zeros_like(hits)
        stars[tuple(self._peaks)] = True
        stars = ndimage.binary_dilation(stars, _CONNECTED) & self._usable
        others = ~stars[_INSIDE]
        count = np.count_nonzero(stars)
        expected = (
            count * np.count_nonzero(hits[_INSIDE] & others) / max(np.count_nonzero(others), 1)
        )
        in_stars = np.count_nonzero(hits & stars)
        return bool(
            in_stars <= expected + guard * count + 3 * np.sqrt(_PIXELS_OF_A_HIT * (expected + 1))
        )
