"""Bad pixels over the nights: the first and last night of each, and whether it is flagged."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow.detector.pixels.response import LOW_SIGMA, WeakPixels
from ccdflow.mask_bits import DEAD

LEAST_SHARE = 0.7
"""A flagged pixel is bad in at least this fraction of the nights since it was first bad. Chosen:
noise may hide it in three nights of ten."""

# Nights by which a number may be below its limit: 0.7 x 90 is 62.99999999999999, not 63.
_NIGHTS_BY_ROUNDING = 1e-9

SOURCES = ("dark", "flat", "levels", "deep")
"""Measurements that show bad pixels: darks, flats, flats of one filter and two levels, and columns
far below their neighbours in flats of any structure."""


@dataclass(frozen=True)
class NightBadPixels:
    """The bad pixels of one image in one night.

    Attributes
    ----------
    night : str
    sources_used : frozenset of str
        The members of `SOURCES` that could show bad pixels in this night.
    index : numpy.ndarray of shape (n,), int64
        Indices of the bad pixels in the flattened image, sorted.
    bits : dict of str to numpy.ndarray of shape (n,), int16
        By source: the bits that it gives to each pixel.
    weak : ccdflow.detector.pixels.response.WeakPixels, optional
        Pixels that are low in the night's flats, whether or not low enough to be bad.
    """

    night: str
    sources_used: frozenset[str]
    index: np.ndarray
    bits: dict[str, np.ndarray]
    weak: WeakPixels | None = None


@dataclass(frozen=True)
class History:
    """The bad pixels of one image over nights.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Indices in the flattened image of all pixels that were bad in a night, sorted.
    bits : numpy.ndarray of shape (n,), int16
        The bits of each pixel; 0 for a pixel that is no longer bad, or was bad by chance.
    first, last : numpy.ndarray of shape (n,), int64
        First and last night in which the pixel was bad, indices of ``nights``.
    n_bad_nights, n_judged_nights : numpy.ndarray of shape (n,), int32
        Number of nights in which the pixel was bad, by the source with most, and number of nights
        from the first of them on that could show it.
    nights : tuple of str
    """

    index: np.ndarray
    bits: np.ndarray
    first: np.ndarray
    last: np.ndarray
    n_bad_nights: np.ndarray
    n_judged_nights: np.ndarray
    nights: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class NightCounts:
    """The nights in which the pixels of one image were bad, counted; later nights can be added.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Indices in the flattened image of all pixels that were bad by a source, sorted.
    entries : dict of str to dict of str to numpy.ndarray of shape (n,)
        By source and name: ``bits`` of the last night; ``first`` and ``last`` night;
        ``n_bad_nights``, in which the pixel was bad; ``n_judged_nights``, those from its first one
        on that could show it.
    nights : tuple of str
    """

    index: np.ndarray
    entries: dict[str, dict[str, np.ndarray]]
    nights: tuple[str, ...] = ()


def _no_counts():
    """Return the counts of no night."""
    return NightCounts(np.empty(0, np.int64), {source: _never_bad(0, 0) for source in SOURCES})


def count_nights(nights, earlier=None):
    """Return the `NightCounts` of some nights, added to earlier counts.

    Parameters
    ----------
    nights : sequence of NightBadPixels
        Sorted by night.
    earlier : NightCounts, optional
        The counts of the nights before these.

    Returns
    -------
    NightCounts
        The same as the counts of all nights in one call.
    """
    earlier = _no_counts() if earlier is None else earlier
    index = np.unique(np.concatenate([earlier.index, *(night.index for night in nights)]))
    entries = {source: _count_source(nights, index, source, earlier) for source in SOURCES}
    names = (*earlier.nights, *(night.night for night in nights))
    return NightCounts(index, entries, names)


def combine_nights(nights, *, share=LEAST_SHARE, earlier=None):
    """Return the `History` of some nights.

    Parameters
    ----------
    nights : sequence of NightBadPixels
        Sorted by night.
    share : float, optional
        A pixel is flagged if it was bad in at least this fraction of the nights that can show it,
        from its first bad night on. A pixel is flagged as soon as it is bad; one that was bad by
        chance loses its flag in the next night.
    earlier : NightCounts, optional
        The counts of the nights before these; they do not contain weak pixels.

    Returns
    -------
    History
    """
    counts = count_nights(nights, earlier)
    n_nights = len(counts.nights)
    joint = _jointly_low(nights, share, n_nights)
    index = np.unique(np.concatenate([joint["index"], counts.index]))
    bits = np.zeros(index.size, np.int16)
    first = np.full(index.size, n_nights)
    last = np.full(index.size, -1)
    largest = {name: np.zeros(index.size, np.int32) for name in ("n_bad_nights", "n_judged_nights")}
    history_by_source = []
    for entries in counts.entries.values():
        counted = {"index": counts.index, **_drop_rare_bits(entries, share)}
        history_by_source.append(_entries_among_all(counted, index, n_nights))
    for entries in (*history_by_source, _entries_among_all(joint, index, n_nights)):
        bits |= entries["bits"]
        first, last = np.minimum(first, entries["first"]), np.maximum(last, entries["last"])
        is_larger = entries["n_bad_nights"] > largest["n_bad_nights"]
        for name, values in largest.items():
            values[is_larger] = entries[name][is_larger]
    return History(
        index=index,
        bits=bits,
        first=first,
        last=last,
        n_bad_nights=largest["n_bad_nights"],
        n_judged_nights=largest["n_judged_nights"],
        nights=counts.nights,
    )


def _never_bad(size, n_nights):
    """Return the entries of ``size`` pixels that were never bad in ``n_nights`` nights."""
    return {
        "first": np.full(size, n_nights),
        "last": np.full(size, -1),
        "bits": np.zeros(size, np.int16),
        "n_bad_nights": np.zeros(size, np.int32),
        "n_judged_nights": np.zeros(size, np.int32),
    }


def _count_source(nights, index, source, earlier):
    """Return the entries of some pixels by one source, as of `NightCounts`.

    Parameters
    ----------
    nights : list of NightBadPixels
        In order.
    index : numpy.ndarray of shape (n,), int
        Indices of the pixels in the flattened image.
    source : str
    earlier : NightCounts
    """
    n_earlier = len(earlier.nights)
    n_nights = n_earlier + len(nights)
    counted = {"index": earlier.index, **earlier.entries[source]}
    entries = _entries_among_all(counted, index, n_nights)
    entries["first"][entries["n_bad_nights"] == 0] = n_nights
    for number, night in enumerate(nights, start=n_earlier):
        if source not in night.sources_used:
            continue
        bits = night.bits[source]
        positions = np.searchsorted(index, night.index[bits != 0])
        entries["first"][positions] = np.minimum(entries["first"][positions], number)
        entries["last"][positions] = number
        entries["bits"][positions] = bits[bits != 0]
        entries["n_bad_nights"][positions] += 1
        entries["n_judged_nights"] += entries["first"] <= number
    return entries


def _drop_rare_bits(entries, share):
    """Return the entries of a source without the bits of pixels that were bad in too few nights."""
    is_seldom = entries["n_bad_nights"] < share * entries["n_judged_nights"] - _NIGHTS_BY_ROUNDING
    return {**entries, "bits": np.where(is_seldom, np.int16(0), entries["bits"])}


def _jointly_low(nights, share, n_nights):
    """Return the entries of the pixels that are low in all nights together.

    The response of good pixels differs, and is the same in all nights. The fraction w of the
    variance is noise of one night. The sum of the sigmas of n nights then has the variance n + n (n
    - 1) (1 - w).

    Parameters
    ----------
    nights : sequence of NightBadPixels
        The last nights of the history.
    share : float
        See `combine_nights`.
    n_nights : int
        Number of nights of the whole history.
    """
    weak_by_night = [
        (number, night.weak)
        for number, night in enumerate(nights, start=n_nights - len(nights))
        if night.weak is not None
    ]
    index = np.unique(
        np.concatenate([np.empty(0, np.int64), *(weak.index for _, weak in weak_by_night)])
    )
    entries = {"index": index} | _never_bad(index.size, n_nights)
    total = np.zeros(index.size)
    for number, weak in weak_by_night:
        positions = np.searchsorted(index, weak.index)
        entries["first"][positions] = np.minimum(entries["first"][positions], number)
        entries["last"][positions] = number
        entries["n_bad_nights"][positions] += 1
        total[positions] += weak.sigma
        entries["n_judged_nights"] += entries["first"] <= number
    # The limit is always `LOW_SIGMA`, also where users chose another limit for one night: pixels
    # that no night shows are bad only where the nights together leave no doubt.
    noise_fraction = (
        float(np.mean([weak.noise_fraction for _, weak in weak_by_night])) if weak_by_night else 1.0
    )
    n = entries["n_judged_nights"]
    is_low = total < -LOW_SIGMA * np.sqrt(n + n * (n - 1) * (1 - noise_fraction))
    # A single night is judged by `Response`.
    is_low &= entries["n_bad_nights"] >= np.maximum(np.floor(share * n + _NIGHTS_BY_ROUNDING), 2)
    entries["bits"][is_low] = DEAD
    return {name: values[is_low] for name, values in entries.items()}


def _entries_among_all(entries, index, n_nights):
    """Return the entries of all pixels of an index; pixels without entries were never bad."""
    all_entries = _never_bad(index.size, n_nights)
    positions = np.searchsorted(index, entries["index"])
    for name, values in all_entries.items():
        values[positions] = entries[name]
    return all_entries
