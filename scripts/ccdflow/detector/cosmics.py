"""Cosmic rays in a calibrated frame, by L.A.Cosmic (astroscrappy), and a guard for stars.

van Dokkum, PASP 113, 1420 (2001). Pixels are never changed.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

MOST_UNDER_STARS = 1e-3
"""A result that flags more than this part of the pixels under stars is discarded."""

# Pixels of a star stand out by this many errors in a median of 3 x 3 pixels: a hit does not.
_STAR = 4.0
# Where stars are flagged, the contrast is raised by these factors before the result is discarded.
_FACTORS = (1, 2, 4)
_ROUNDS = 4
_PIXELS = 5


def find_cosmics(image, errors, mask, *, sigma=4.5, contrast=5.0, guard=MOST_UNDER_STARS):
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
    hits : numpy.ndarray
        (ny, nx), bool; none where the result is discarded.
    is_kept : bool
    """
    from astroscrappy import detect_cosmics

    bad = (mask != 0) | ~np.isfinite(image) | ~np.isfinite(errors)
    level = float(np.median(image[~bad])) if not bad.all() else 0.0
    data = np.where(np.isfinite(image), image, level).astype(np.float32)
    usual = float(np.median(errors[~bad])) if not bad.all() else 1.0
    variance = np.where(np.isfinite(errors), errors, usual).astype(np.float32) ** 2
    under = _under_stars(data, variance, bad)
    for factor in _FACTORS:
        hits, _ = detect_cosmics(
            data,
            inmask=bad,
            invar=variance,
            gain=1.0,
            satlevel=np.inf,
            sigclip=sigma,
            objlim=contrast * factor,
            niter=_ROUNDS,
            cleantype="medmask",
        )
        hits &= ~bad
        if _is_beside_stars(hits, under, guard):
            return hits, True
    return np.zeros_like(hits), False


def _under_stars(data, variance, bad):
    """Return the pixels that belong to stars: hits have no width."""
    from astroscrappy.utils import medfilt3, sepmedfilt9

    width = medfilt3(data) - sepmedfilt9(data)
    under = width > _STAR * np.sqrt(variance)
    return ndimage.binary_dilation(under, np.ones((3, 3), bool)) & ~bad


def _is_beside_stars(hits, under, guard):
    """Tell whether there are no more hits under stars than elsewhere, within the guard."""
    count, others = np.count_nonzero(under), np.count_nonzero(~under)
    expected = count * np.count_nonzero(hits & ~under) / max(others, 1)
    found = np.count_nonzero(hits & under)
    # A hit has several pixels: its neighbours are flagged with it.
    return bool(found <= expected + guard * count + 3 * np.sqrt(_PIXELS * (expected + 1)))
