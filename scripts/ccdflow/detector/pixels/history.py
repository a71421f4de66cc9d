"""Bad pixels over nights: when each was first and last seen, and whether it counts as bad."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ccdflow.detector.pixels.response import LOW_SIGMA, WeakPixels
from ccdflow.maskbits import DEAD

LEAST_SHARE = 0.7
"""A pixel must be bad in this part of the nights since it was first bad. Chosen: noise may hide it
in three nights of ten."""

# Nights: 0.7 x 90 is 62.99999999999999, and a share that is met exactly counts as met.
_ROUNDING = 1e-9

SOURCES = ("dark", "flat", "levels", "deep")
"""Sources of bad pixels: darks, flats, flats of one filter and two levels, and columns far below
their neighbours in flats of any structure."""


@dataclass(frozen=True)
class NightBadPixels:
    """The bad pixels of one image in one night.

    Attributes
    ----------
    night : str
    looked : frozenset of str
        Those of `SOURCES` that could show bad pixels in this night.
    index : numpy.ndarray of shape (n,), int64
        Indices in the flattened image, sorted.
    bits : dict of str to numpy.ndarray of shape (n,), int16
        The bits that each of the sources gives.
    weak : ccdflow.detector.pixels.response.WeakPixels, optional
        Pixels that are low in its flats, whether or not enough to be bad.
    """

    night: str
    looked: frozenset[str]
    index: np.ndarray
    bits: dict[str, np.ndarray]
    weak: WeakPixels | None = None


@dataclass(frozen=True)
class History:
    """The bad pixels of one image over nights.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Indices in the flattened image of all that were ever seen bad, sorted.
    bits : numpy.ndarray of shape (n,), int16
        The flag of each; 0 for one that is not bad any more, or was by chance.
    first, last : numpy.ndarray of shape (n,), int64
        Indices of ``nights``.
    seen, looked : numpy.ndarray of shape (n,), int32
        Nights in which it was bad; nights from the first one on in which it was looked for.
    nights : tuple of str
    """

    index: np.ndarray
    bits: np.ndarray
    first: np.ndarray
    last: np.ndarray
    seen: np.ndarray
    looked: np.ndarray
    nights: tuple[str, ...] = field(default=())


def combine_nights(nights, *, share=LEAST_SHARE):
    """Return the `History` of some nights.

    Parameters
    ----------
    nights : sequence of NightBadPixels
        Sorted by night.
    share : float
        A pixel is flagged if it was bad in at least this part of the nights that can show it, from
        the first one on in which it was bad: one that has become bad is flagged at once, one that
        was bad by chance in one night is not flagged any more after the next.

    Returns
    -------
    History
    """
    joint = _jointly_low(nights, share)
    index = [np.empty(0, np.int64), joint["index"], *(night.index for night in nights)]
    index = np.unique(np.concatenate(index))
    bits = np.zeros(index.size, np.int16)
    first = np.full(index.size, len(nights))
    last = np.full(index.size, -1)
    largest = {name: np.zeros(index.size, np.int32) for name in ("seen", "looked")}
    history_by_source = [_history_of_source(nights, index, source, share) for source in SOURCES]
    for entries in (*history_by_source, _entries_among_all(joint, index, len(nights))):
        bits |= entries["bits"]
        first, last = np.minimum(first, entries["first"]), np.maximum(last, entries["last"])
        is_larger = entries["seen"] > largest["seen"]
        for name, values in largest.items():
            values[is_larger] = entries[name][is_larger]
    return History(
        index=index,
        bits=bits,
        first=first,
        last=last,
        seen=largest["seen"],
        looked=largest["looked"],
        nights=tuple(night.night for night in nights),
    )


def _never_bad(size, nights):
    """Return the entries of ``size`` pixels that were never bad."""
    return {
        "first": np.full(size, nights),
        "last": np.full(size, -1),
        "bits": np.zeros(size, np.int16),
        "seen": np.zeros(size, np.int32),
        "looked": np.zeros(size, np.int32),
    }


def _history_of_source(nights, index, source, share):
    """Return the bits, first and last night of pixels by one source.

    Parameters
    ----------
    nights : list of NightBadPixels
        With their bits, in order.
    index : numpy.ndarray of shape (n,), int
        Indices of the pixels in the flattened image.
    source : str
    share : float
        The part of the nights in which a bad pixel has to be bad.
    """
    entries = _never_bad(index.size, len(nights))
    for number, night in enumerate(nights):
        if source not in night.looked:
            continue
        bits = night.bits[source]
        positions = np.searchsorted(index, night.index[bits != 0])
        entries["first"][positions] = np.minimum(entries["first"][positions], number)
        entries["last"][positions] = number
        entries["bits"][positions] = bits[bits != 0]
        entries["seen"][positions] += 1
        entries["looked"] += entries["first"] <= number
    entries["bits"][entries["seen"] < share * entries["looked"] - _ROUNDING] = 0
    return entries


def _jointly_low(nights, share):
    """Return the entries of the pixels that all nights together show to be low.

    The response of good pixels differs, and is the same in all nights: of n nights, in which a
    part w of the variance is noise of their own, the sum of the sigmas has the variance
    n + n (n - 1) (1 - w).
    """
    weak_by_night = [
        (number, night.weak) for number, night in enumerate(nights) if night.weak is not None
    ]
    index = np.unique(
        np.concatenate([np.empty(0, np.int64), *(weak.index for _, weak in weak_by_night)])
    )
    entries = {"index": index} | _never_bad(index.size, len(nights))
    total = np.zeros(index.size)
    for number, weak in weak_by_night:
        positions = np.searchsorted(index, weak.index)
        entries["first"][positions] = np.minimum(entries["first"][positions], number)
        entries["last"][positions] = number
        entries["seen"][positions] += 1
        total[positions] += weak.sigma
        entries["looked"] += entries["first"] <= number
    noise_share = (
        float(np.mean([weak.noise_share for _, weak in weak_by_night])) if weak_by_night else 1.0
    )
    n = entries["looked"]
    is_low = total < -LOW_SIGMA * np.sqrt(n + n * (n - 1) * (1 - noise_share))
    # One night alone has its own limit.
    is_low &= entries["seen"] >= np.maximum(np.floor(share * n + _ROUNDING), 2)
    entries["bits"][is_low] = DEAD
    return {name: values[is_low] for name, values in entries.items()}


def _entries_among_all(entries, index, nights):
    """Return the entries of some pixels among all, by their indices."""
    all_entries = _never_bad(index.size, nights)
    positions = np.searchsorted(index, entries["index"])
    for name, values in all_entries.items():
        values[positions] = entries[name]
    return all_entries
