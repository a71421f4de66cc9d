"""Cosmic rays in a calibrated frame, by L.A.Cosmic (astroscrappy), and two guards for stars.

L.A.Cosmic: van Dokkum, PASP 113, 1420 (2001). The pixels of the frame are never changed. The rounds
of L.A.Cosmic are in `cosmic_rounds`. A hit in a star counts only if it is sharper than any star
(`star_guard`). A result that flags too many pixels of stars is discarded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.detector.cosmic_rays.cosmic_rounds import (
    IMAGE_IN_MARGIN,
    hits_of_rounds,
    image_with_margin,
)
from ccdflow.detector.cosmic_rays.star_guard import Stars
from ccdflow.robust import FWHM_OVER_SIGMA

VERSION = 6
"""Raise it when a change finds other pixels, or writes other cards: frames with a search are made
again then."""

MOST_STAR_FRACTION = 1e-3
"""A result that flags more than this fraction of the pixels of stars is discarded: one pixel of 20
stars with 50 pixels each."""

# Pixels. Stars of a smaller FWHM are compared with their own profile.
_UNDERSAMPLED_FWHM = 2.5
# The limit of the contrast is multiplied by this where stars are compared with their profile.
# Chosen with simulated frames: docs/detector.md, "Cosmic rays found", has the fractions of hits
# found and of stars flagged.
_PROFILE_CONTRAST = 0.3
# Pixels on a side of a star's profile: for a FWHM of `_UNDERSAMPLED_FWHM` it reaches to 2.8 sigma.
_PROFILE_SIZE = 7
# Factors of the contrast, tried one after the other until no star is flagged; after the last one
# the result is discarded.
_CONTRAST_FACTORS = (1, 2, 4)
# Rows or columns at each edge of an image that may have too many hits. L.A.Cosmic leaves them out;
# mirrored pixels around the image let it search them.
_EDGE_LINES = 3
# A line at an edge has too many hits if they cover at least this fraction of its pixels. Chosen: a
# smaller
# fraction drops a track along the edge, a larger one keeps the pixels of a bad line.
_EDGE_HIT_FRACTION = 0.02
# The hit fraction of the whole image, times this factor, is added to `_EDGE_HIT_FRACTION`. Chosen:
# the edges of long exposures, which are hit everywhere, keep their hits; with a much larger factor
# bad lines keep theirs as well.
_EDGE_FACTOR = 4
# A line with fewer hits than this keeps them: in a window of 200 pixels, 2 % are four.
_FEWEST_ON_EDGE = 5


@dataclass(frozen=True)
class Search:
    """The hits of a search, and the arguments of the search, which the header names.

    Attributes
    ----------
    hits : numpy.ndarray of shape (ny, nx), bool
        The pixels that were hit; none where the result is discarded.
    are_stars_spared : bool
        Whether the result counts: few enough of its hits are in stars.
    sigma, contrast : float
        ``sigclip`` and ``objlim`` of astroscrappy in the last attempt.
    fwhm : float
        FWHM of the frame's stars, pixels; 0 for too few stars.
    """

    hits: np.ndarray
    are_stars_spared: bool
    sigma: float
    contrast: float
    fwhm: float


def search_cosmics(
    image, errors, mask, *, sigma=4.5, contrast=5.0, most_star_fraction=MOST_STAR_FRACTION
):
    """Find the pixels of an image that cosmic rays hit.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32
        Electrons or adu. Not changed.
    errors : numpy.ndarray of shape (ny, nx), float32
        Standard errors of a model (UNCERT).
    mask : numpy.ndarray of shape (ny, nx), int16
        Pixels with any bit are no hits, and do not replace others.
    sigma, contrast : float, optional
        ``sigclip`` and ``objlim`` of astroscrappy: standard errors above the surroundings, and a
        factor by which a hit is sharper than a star. The defaults are those of astroscrappy and of
        the configuration.
    most_star_fraction : float, optional
        Most flagged pixels of stars, as a fraction, beside the hits that are expected there as
        elsewhere. See `MOST_STAR_FRACTION`.

    Returns
    -------
    Search

    Examples
    --------
    A hit of 500 electrons on a sky with a noise of 3 electrons:

    >>> image = np.random.default_rng(1).normal(100, 3, (64, 64)).astype(np.float32)
    >>> image[20, 30] += 500
    >>> errors = np.full(image.shape, 3, np.float32)
    >>> search = search_cosmics(image, errors, np.zeros(image.shape, np.int16))
    >>> print(np.argwhere(search.hits))
    [[20 30]]
    """
    is_bad = (mask != 0) | ~np.isfinite(image) | ~np.isfinite(errors)
    level = float(np.median(image[~is_bad])) if not is_bad.all() else 0.0
    usual_error = float(np.median(errors[~is_bad])) if not is_bad.all() else 1.0
    data = image_with_margin(np.where(np.isfinite(image), image, level))
    errors = image_with_margin(np.where(np.isfinite(errors), errors, usual_error))
    is_bad = image_with_margin(is_bad, bool)
    stars = Stars(data, errors, is_bad)
    variance = np.square(errors)
    fwhm = 0.0 if np.isnan(stars.sigma) else stars.sigma * FWHM_OVER_SIGMA
    for factor in _CONTRAST_FACTORS:
        settings = _sharpness_settings(stars.sigma, contrast * factor)
        hits = hits_of_rounds(data, variance, is_bad, {"sigclip": sigma, **settings}) & ~is_bad
        stars.clear_smooth_hits(hits)
        if stars.are_spared_by(hits, most_star_fraction):
            return Search(
                _clear_edges(hits[IMAGE_IN_MARGIN]),
                are_stars_spared=True,
                sigma=sigma,
                contrast=settings["objlim"],
                fwhm=fwhm,
            )
    return Search(
        np.zeros(image.shape, bool),
        are_stars_spared=False,
        sigma=sigma,
        contrast=settings["objlim"],
        fwhm=fwhm,
    )


def _clear_edges(hits):
    """Return a copy of a mask of hits; lines at the edges with too many hits are cleared.

    The last columns of many detectors collect more light than the others, or are not lit.
    """
    remaining_hits = hits.copy()
    limit = _EDGE_HIT_FRACTION + _EDGE_FACTOR * hits.mean()
    for hits_from_edge in (
        remaining_hits,
        remaining_hits[::-1],
        remaining_hits.T,
        remaining_hits.T[::-1],
    ):
        for line in hits_from_edge[:_EDGE_LINES]:
            if np.count_nonzero(line) >= max(limit * line.size, _FEWEST_ON_EDGE):
                line[:] = False
    return remaining_hits


def _sharpness_settings(star_sigma, contrast):
    """Return the arguments by which astroscrappy distinguishes hits from stars.

    Parameters
    ----------
    star_sigma : float
        Standard deviation of the stars, pixels; NaN if unknown.
    contrast : float
        See `search_cosmics`.

    Returns
    -------
    dict of str to object
        Arguments of ``astroscrappy.detect_cosmics``.
    """
    if not star_sigma * FWHM_OVER_SIGMA < _UNDERSAMPLED_FWHM:
        return {"objlim": contrast}
    return {
        "objlim": _PROFILE_CONTRAST * contrast,
        "fsmode": "convolve",
        "psfmodel": "gauss",
        "psffwhm": star_sigma * FWHM_OVER_SIGMA,
        "psfsize": _PROFILE_SIZE,
    }
