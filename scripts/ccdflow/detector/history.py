"""Bad pixels over nights: when each was first and last seen, and whether it counts as bad."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SHARE = 0.7
"""Part of the nights, from the first on in which a pixel was bad, in which it must be bad."""

SOURCES = ("dark", "flat")


@dataclass(frozen=True)
class NightBadPixels:
    """The bad pixels of one image in one night.

    Attributes
    ----------
    night : str
    looked : frozenset of str
        Out of `SOURCES`: what of the night could tell.
    index : numpy.ndarray
        int64, (n,): places in the flattened image, sorted.
    dark, flat : numpy.ndarray
        int16, (n,): the bits that each of the sources gives.
    """

    night: str
    looked: frozenset
    index: np.ndarray
    dark: np.ndarray
    flat: np.ndarray


@dataclass(frozen=True)
class History:
    """The bad pixels of one image over nights.

    Attributes
    ----------
    index : numpy.ndarray
        int64, (n,): places in the flattened image of all that were ever seen bad, sorted.
    bits : numpy.ndarray
        int16, (n,): what each is flagged with; 0 for one that is not bad any more, or was by
        chance.
    first, last : numpy.ndarray
        (n,), indices of ``nights``.
    seen, looked : numpy.ndarray
        (n,): nights in which it was bad; nights from the first one on that could tell.
    nights : tuple of str
    """

    index: np.ndarray
    bits: np.ndarray
    first: np.ndarray
    last: np.ndarray
    seen: np.ndarray
    looked: np.ndarray
    nights: tuple = field(default=())


def combine_nights(nights, *, share=SHARE):
    """Return the `History` of some nights.

    Parameters
    ----------
    nights : sequence of NightBadPixels
        Sorted by night.
    share : float
        A pixel is flagged if it was bad in at least this part of the nights that could tell, from
        the first one on in which it was bad: one that has become bad is flagged at once, one that
        was bad by chance in one night is not flagged any more after the next.

    Returns
    -------
    History
    """
    index = np.unique(np.concatenate([np.empty(0, np.int64), *(one.index for one in nights)]))
    bits = np.zeros(index.size, np.int16)
    first = np.full(index.size, len(nights))
    last = np.full(index.size, -1)
    most = {name: np.zeros(index.size, np.int32) for name in ("seen", "looked")}
    for source in SOURCES:
        own = _of_source(nights, index, source)
        is_bad = own["seen"] >= share * own["looked"] - 1e-9
        bits |= np.where(is_bad, own["bits"], 0).astype(np.int16)
        first, last = np.minimum(first, own["first"]), np.maximum(last, own["last"])
        more = own["seen"] > most["seen"]
        for name, values in most.items():
            values[more] = own[name][more]
    return History(
        index, bits, first, last, most["seen"], most["looked"], tuple(one.night for one in nights)
    )


def _of_source(nights, index, source):
    found = {
        "first": np.full(index.size, len(nights)),
        "last": np.full(index.size, -1),
        "bits": np.zeros(index.size, np.int16),
        "seen": np.zeros(index.size, np.int32),
        "looked": np.zeros(index.size, np.int32),
    }
    for number, one in enumerate(nights):
        if source not in one.looked:
            continue
        bits = getattr(one, source)
        at = np.searchsorted(index, one.index[bits != 0])
        found["first"][at] = np.minimum(found["first"][at], number)
        found["last"][at] = number
        found["bits"][at] = bits[bits != 0]
        found["seen"][at] += 1
        found["looked"] += found["first"] <= number
    return found
