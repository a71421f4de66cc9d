"""Stars of an image that L.A.Cosmic may take for hits: hits in them have to be sharper than stars.

L.A.Cosmic compares the sharpness of a pixel with the structure around it, which fails for stars of
two pixels or less, and beside other stars. So a hit in a star has to be sharper than any star: of a
Gaussian of width s, and of any sum of such, no pixel is above exp(d^2 / 2 s^2) times the mean of
the two pixels at the distance d on either side, along any line. The width is that of the frame's
own stars: the second difference of the logarithm of a Gaussian is -1 / s^2, wherever in its pixel a
star lies.
"""

from __future__ import annotations

import numpy as np

from ccdflow.detector.cosmic_rays.cosmic_rounds import IMAGE_IN_MARGIN, NEIGHBOUR_BOX
from ccdflow.detector.pixels.medians import box_median

# A median of 3 x 3 pixels exceeds the sky by this many errors in a star, but not in a hit, which
# covers fewer than five of the nine.
_STAR_SIGMA = 4.0
# A star gives the width if its peak is this many errors of a pixel above the sky: noise changes its
# width by a few percent.
_PEAK_SIGMA = 30.0
# A star gives the width if the four neighbours of its peak are this many errors above the sky: the
# neighbours of a hit are darker.
_FLANK_SIGMA = 3.0
# The width needs at least this many stars: two blends among five do not move their median by much.
_FEWEST_STARS = 5
# A star may be sharper than the median one by this factor. Chosen: widths differ over the field,
# and with 1 the sharper half of the stars is flagged; a smaller factor loses hits in stars.
_SHARPEST_STAR = 0.93
# Least width of stars, pixels (standard deviation): a FWHM of 1.06 pixels, about one pixel.
_LEAST_WIDTH = 0.45
# Least curvature of the logarithm of a star: a flat top has none, and its width is then very large,
# not infinite.
_LEAST_CURVATURE = 1e-6
# Width of stars if too few are found: a FWHM of 2 pixels.
_USUAL_WIDTH = 0.85
# Connected pixels are a track if more than this part of them is sharp: most of them.
_SHARP_SHARE = 0.5
# The sky beside a star is taken this many pixels away: a star of a FWHM of 5 pixels has 2 % of its
# peak there; farther away it may be another sky.
_SKY_DISTANCE = 6
# The sky is a median of this many pixels of a row, then of this many such medians of a column.
_SKY_BOX = 9
# A hit inside a star must exceed the star's profile by this many errors: noise does so in one of
# 32,000 pixels along each line.
_STAR_EXCESS_SIGMA = 4.0
# A hit has about this many pixels, flagged together: the number of flagged pixels varies more.
_PIXELS_OF_A_HIT = 5
# Hits in stars may exceed the expected number by this many of its standard deviations: one frame in
# 740 does by chance.
_CHANCE_SIGMA = 3


class Stars:
    """The stars of an image: their places, their width, and the hits in them.

    Parameters
    ----------
    data, errors : numpy.ndarray of shape (ny, nx), float32
        Finite.
    is_bad : numpy.ndarray of shape (ny, nx), bool
        Pixels that are not used.

    Attributes
    ----------
    width : float
        Standard deviation of a median star, pixels; NaN for too few stars.
    """

    def __init__(self, data, errors, is_bad):
        # Imported in functions, because scipy adds 0.15 s to the start of runs that do not need it.
        from scipy import ndimage

        sky = box_median(box_median(data, (1, _SKY_BOX)), (_SKY_BOX, 1))
        self._errors = errors
        self._usable = np.zeros_like(is_bad)
        self._usable[IMAGE_IN_MARGIN] = ~is_bad[IMAGE_IN_MARGIN]
        self._data, self._sky = data, sky
        self._light = data - sky
        self._is_core = box_median(data, (3, 3)) - sky > _STAR_SIGMA * errors
        # Stars, and wide tracks of rays.
        self._extended = ndimage.binary_dilation(self._is_core, NEIGHBOUR_BOX)
        self._peaks, self.width = self._measure()

    def _measure(self):
        """Return the peaks of stars, (2, n), and the width of a median star, NaN for too few."""
        light = self._light
        y, x = np.nonzero(
            self._is_core[1:-1, 1:-1] & (light > _PEAK_SIGMA * self._errors)[1:-1, 1:-1]
        )
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
        curvatures = 4 * np.log(box[4, is_star]) - np.log(flanks[:, is_star]).sum(axis=0)
        width = float(np.sqrt(2 / max(np.median(curvatures), _LEAST_CURVATURE)))
        return peaks, max(width, _LEAST_WIDTH)

    def keep_sharp(self, hits):
        """Clear those hits in stars that may be the star itself, (ny, nx) bool, in place."""
        from scipy import ndimage

        pixels = np.nonzero(hits & self._extended)
        is_sharp = self._is_sharp(*pixels)
        # The middle of a wide track is as smooth as a star: it is flagged with its edges.
        labels, count = ndimage.label(hits, NEIGHBOUR_BOX)
        tracks = labels[pixels]
        sharp_pixels = np.bincount(tracks, is_sharp, count + 1)
        share = sharp_pixels / np.maximum(np.bincount(tracks, None, count + 1), 1)
        hits[pixels] = is_sharp | (share[tracks] > _SHARP_SHARE)

    def _is_sharp(self, y, x):
        """Return the mask of pixels sharper than a star can be along a row, column or diagonal."""
        width = _USUAL_WIDTH if np.isnan(self.width) else self.width
        errors = self._errors[y, x]
        steps = (-_SKY_DISTANCE, 0, _SKY_DISTANCE)
        # A median around a star has some of its light; the lowest one beside it has no such light.
        sky = np.min(
            [self._pixels_at(self._sky, y + dy, x + dx) for dy in steps for dx in steps], axis=0
        )
        light = self._data[y, x] - sky
        is_sharp = np.zeros(y.size, bool)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            ratio = np.exp((dy * dy + dx * dx) / 2 / (_SHARPEST_STAR * width) ** 2)
            light_before, light_behind = (
                np.maximum(self._pixels_at(self._data, y + sign * dy, x + sign * dx) - sky, 0)
                for sign in (-1, 1)
            )
            limit = _STAR_EXCESS_SIGMA * np.sqrt(1 + ratio**2 / 2) * errors
            is_sharp |= light - ratio * (light_before + light_behind) / 2 > limit
        return is_sharp

    @staticmethod
    def _pixels_at(values, y, x):
        """Return some pixels of an image, at its edges the nearest ones."""
        ny, nx = values.shape
        return values[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)]

    def are_spared_by(self, hits, guard):
        """Return whether there are no more hits in stars than elsewhere, within the guard.

        Parameters
        ----------
        hits : numpy.ndarray of shape (ny, nx), bool
        guard : float
            The part of the pixels under stars that may be hit beside the expected ones.

        Returns
        -------
        bool
        """
        from scipy import ndimage

        stars = np.zeros_like(hits)
        stars[tuple(self._peaks)] = True
        stars = ndimage.binary_dilation(stars, NEIGHBOUR_BOX) & self._usable
        is_elsewhere = ~stars[IMAGE_IN_MARGIN]
        count = np.count_nonzero(stars)
        hits_elsewhere = np.count_nonzero(hits[IMAGE_IN_MARGIN] & is_elsewhere)
        expected_hits = count * hits_elsewhere / max(np.count_nonzero(is_elsewhere), 1)
        chance = _CHANCE_SIGMA * np.sqrt(_PIXELS_OF_A_HIT * (expected_hits + 1))
        return bool(np.count_nonzero(hits & stars) <= expected_hits + guard * count + chance)
