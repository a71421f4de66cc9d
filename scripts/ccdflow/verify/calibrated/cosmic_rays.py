"""Cosmic rays of a calibrated frame, found again by `ccdproc.cosmicray_lacosmic`."""

from __future__ import annotations

import ccdproc
import numpy as np
from astropy import units
from astropy.nddata import CCDData
from scipy import ndimage

from ccdflow.verify.comparing.comparing import check_value
from ccdflow.verify.reading.restated_numbers import UNDERSAMPLED_FWHM
from ccdflow.verify.reading.verdict import OLDER, CannotRemake

# All numbers but the tolerances are those of detector/cosmic_rays/ (cosmics.py, cosmic_rounds.py,
# star_guard.py), written again, so that a wrong one there is noticed here.

# Rounds of L.A.Cosmic.
_ITERATIONS = 4
# Relative tolerance, and absolute one in pixels, of CRFWHM. The second pair is for pixels that are
# stored in steps: the width was measured before the rounding to steps.
_FWHM_TOLERANCE, _FWHM_TOLERANCE_IN_STEPS = (1e-4, 1e-6), (0.05, 0.05)
# Pixels of a row and of a column whose medians are the surroundings of a star.
_SKY_BOX = 9
# Pixels of a side of the profile of a star.
_PROFILE_SIZE = 7
# Sigma of stars, pixels, where too few are found to measure it: a FWHM of 2 pixels.
_USUAL_SIGMA = 0.85
# Full width at half maximum over sigma of a Gaussian: 2 sqrt(2 ln 2).
_FWHM_OVER_SIGMA = 2.3548
# Standard errors by which the median of 3 x 3 pixels is above its surroundings in a star.
_STAR_SIGMA = 4.0
# Fraction of the stars' sigma: a pixel is sharper than any star if its own sigma is smaller.
_SHARPEST_STAR = 0.93
# Pixels between a hit and the places on either side at which its sky is taken.
_SKY_DISTANCE = 6
# Standard errors by which a sharp pixel is above the Gaussian through its neighbours.
_STAR_EXCESS_SIGMA = 4.0
# If more than this fraction of a hit's pixels near a star are sharp, its others are kept as well.
_SHARP_SHARE = 0.5
# Standard errors by which the peak of a star that gives the width is above the sky.
_PEAK_SIGMA = 30.0
# Standard errors by which the four neighbours of the peak of a star that gives the width are above
# the sky.
_FLANK_SIGMA = 3.0
# Fewest stars that give the width.
_FEWEST_STARS = 5
# Least curvature of the logarithm of a star: a flat top has none, and its width is then very large,
# not infinite.
_LEAST_CURVATURE = 1e-6
# Least sigma of stars, pixels: no optics are sharper.
_LEAST_SIGMA = 0.45
_NEIGHBOUR_BOX = np.ones((3, 3), bool)
# The image is mirrored this many pixels beyond each edge, because the filters leave edges out.
_MARGIN_PIXELS = 6
# Rows and columns at each edge whose hits do not count if they are many: edges are often bad.
_EDGE_LINES = 3
# The hits of a row or column at an edge do not count if it has at least this fraction of its pixels
# hit, and a further fraction: `_EDGE_FACTOR`.
_EDGE_SHARE = 0.02
# `_EDGE_SHARE` of a row or column at an edge grows by this many times the fraction of the whole
# image's pixels that are hit.
_EDGE_FACTOR = 4
# The hits of a row or column at an edge count if they are fewer than this.
_FEWEST_ON_EDGE = 5


def hits_of(header, image, errors, mask):
    """Return the pixels that cosmic rays hit: (ny, nx) bool.

    These are the hits of L.A.Cosmic with the arguments of the header, without those that may be
    stars: docs/products.md.

    Parameters
    ----------
    header : astropy.io.fits.Header
        With CRSIGMA, CRCONTR and CRFWHM.
    image, errors : numpy.ndarray of shape (ny, nx), float32, any byte order
        Pixels and UNCERT of the product.
    mask : numpy.ndarray of shape (ny, nx), int16, any byte order
        Mask of the product without cosmic rays.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
        True for a pixel that was hit.

    Raises
    ------
    CannotRemake
        If the header lacks an argument.
    ccdflow.verify.comparing.comparing.Differs
        If CRFWHM is not the width of the stars.
    """
    if missing_cards := [
        keyword for keyword in ("CRSIGMA", "CRCONTR", "CRFWHM") if keyword not in header
    ]:
        raise CannotRemake(f"the header lacks {missing_cards[0]}: it is of an older version", OLDER)
    is_unusable = (mask != 0) | ~np.isfinite(image) | ~np.isfinite(errors)
    level, median_error = (
        float(np.median(values[~is_unusable])) if not is_unusable.all() else fallback
        for values, fallback in ((image, 0.0), (errors, 1.0))
    )
    # L.A.Cosmic leaves out the pixels at the edges, so the image is mirrored there.
    pixels, errors = (
        np.pad(np.where(np.isfinite(values), values, fallback), _MARGIN_PIXELS, "reflect").astype(
            np.float32
        )
        for values, fallback in ((image, level), (errors, median_error))
    )
    is_unusable = np.pad(is_unusable, _MARGIN_PIXELS, "reflect")
    # The width was measured before pixels were rounded to steps.
    rtol, atol = _FWHM_TOLERANCE_IN_STEPS if "QUANSTEP" in header else _FWHM_TOLERANCE
    check_value(
        "CRFWHM",
        header["CRFWHM"],
        _fwhm_of_stars(pixels, errors, is_unusable),
        rtol=rtol,
        atol=atol,
    )
    fwhm, profile_arguments = float(header["CRFWHM"]), {}
    if 0 < fwhm < UNDERSAMPLED_FWHM:
        profile_arguments = {
            "fsmode": "convolve",
            "psfmodel": "gauss",
            "psffwhm": fwhm,
            "psfsize": _PROFILE_SIZE,
        }
    result = ccdproc.cosmicray_lacosmic(
        CCDData(pixels, unit=units.electron, mask=is_unusable),
        sigclip=header["CRSIGMA"],
        objlim=header["CRCONTR"],
        niter=_ITERATIONS,
        cleantype="medmask",
        satlevel=np.inf,
        invar=np.square(errors),
        gain=1.0,
        readnoise=0.0 * units.electron,
        gain_apply=False,
        **profile_arguments,
    )
    hits = result.mask & ~is_unusable
    hits = _clear_stars(hits, pixels, errors, fwhm / _FWHM_OVER_SIGMA if fwhm else _USUAL_SIGMA)
    return _clear_lines(hits[_MARGIN_PIXELS:-_MARGIN_PIXELS, _MARGIN_PIXELS:-_MARGIN_PIXELS].copy())


def _fwhm_of_stars(data, errors, is_unusable):
    """Return the median FWHM of the stars, pixels; 0 for too few stars.

    The second difference of the logarithm of a Gaussian of width s is -1 / s^2 along either axis,
    wherever its centre lies in the pixel.
    """
    light = data - ndimage.median_filter(ndimage.median_filter(data, (1, _SKY_BOX)), (_SKY_BOX, 1))
    sky = data - light
    is_core = ndimage.median_filter(data, 3) - sky > _STAR_SIGMA * errors
    is_inside = np.zeros(is_unusable.shape, bool)
    is_inside[_MARGIN_PIXELS:-_MARGIN_PIXELS, _MARGIN_PIXELS:-_MARGIN_PIXELS] = True
    y, x = np.nonzero(is_core & is_inside & ~is_unusable & (light > _PEAK_SIGMA * errors))
    box = np.array([[light[y + dy, x + dx] for dx in (-1, 0, 1)] for dy in (-1, 0, 1)])
    flanks = np.array([box[0, 1], box[1, 0], box[1, 2], box[2, 1]])
    peak = box[1, 1]
    is_star = (peak >= box.max(axis=(0, 1))) & (flanks > _FLANK_SIGMA * errors[y, x]).all(axis=0)
    if np.count_nonzero(is_star) < _FEWEST_STARS:
        return 0.0
    logs = np.log(np.concatenate([peak[None, is_star], flanks[:, is_star]]).astype(float))
    curvature = np.median(4 * logs[0] - logs[1:].sum(axis=0))
    return _FWHM_OVER_SIGMA * max((2 / max(curvature, _LEAST_CURVATURE)) ** 0.5, _LEAST_SIGMA)


def _clear_lines(hits):
    """Clear lines at the edges that have far more hits than the image, and return the hits."""
    least_fraction = _EDGE_SHARE + _EDGE_FACTOR * hits.mean()
    for axis in (0, 1):
        size = hits.shape[axis]
        for index in (*range(_EDGE_LINES), *range(size - _EDGE_LINES, size)):
            line = hits[index] if axis == 0 else hits[:, index]
            if line.sum() >= max(least_fraction * line.size, _FEWEST_ON_EDGE):
                line[:] = False
    return hits


def _clear_stars(hits, data, errors, sigma):
    """Return hits without those in stars, where pixels are no sharper than a star of this width.

    Parameters
    ----------
    hits : numpy.ndarray of shape (ny, nx), bool
    data, errors : numpy.ndarray of shape (ny, nx), float32 or float64
    sigma : float
        Sigma of the stars, pixels.
    """
    sky = ndimage.median_filter(ndimage.median_filter(data, (1, _SKY_BOX)), (_SKY_BOX, 1))
    is_bright = ndimage.median_filter(data, 3) - sky > _STAR_SIGMA * errors
    is_near_star = ndimage.binary_dilation(is_bright, _NEIGHBOUR_BOX)
    y, x = np.nonzero(hits & is_near_star)
    is_sharp = _are_sharper(data, sky, errors=errors, y=y, x=x, sigma=sigma)
    labels, count = ndimage.label(hits, _NEIGHBOUR_BOX)
    label_of_pixel = labels[y, x]
    pixel_counts = np.bincount(label_of_pixel, minlength=count + 1)
    sharp_shares = np.bincount(label_of_pixel, is_sharp, count + 1) / np.maximum(pixel_counts, 1)
    hits_outside_stars = hits.copy()
    hits_outside_stars[y, x] = is_sharp | (sharp_shares[label_of_pixel] > _SHARP_SHARE)
    return hits_outside_stars


def _are_sharper(data, smooth, errors, y, x, sigma):
    """Return whether each pixel is sharper than a star of this width along any of four lines.

    Parameters
    ----------
    data, smooth : numpy.ndarray of shape (ny, nx), float32
        The pixels, and their median over a wide box.
    errors : numpy.ndarray of shape (ny, nx), float32
        Standard errors.
    y, x : numpy.ndarray of shape (n,), int
        The pixels in question.
    sigma : float
        Sigma of the stars, pixels.
    """
    offsets = (-_SKY_DISTANCE, 0, _SKY_DISTANCE)
    sky = np.min([_values_at(smooth, y + dy, x + dx) for dy in offsets for dx in offsets], axis=0)
    is_sharper = np.zeros(y.size, bool)
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        ratio = np.exp((dy * dy + dx * dx) / 2 / (_SHARPEST_STAR * sigma) ** 2)
        neighbour_sum = sum(
            np.maximum(_values_at(data, y + s * dy, x + s * dx) - sky, 0) for s in (-1, 1)
        )
        limit = _STAR_EXCESS_SIGMA * np.sqrt(1 + ratio**2 / 2) * errors[y, x]
        is_sharper |= data[y, x] - sky - ratio * neighbour_sum / 2 > limit
    return is_sharper


def _values_at(image, y, x):
    """Return the values of an image at pixels; one beyond an edge has the value on the edge."""
    ny, nx = image.shape
    return image[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)]
