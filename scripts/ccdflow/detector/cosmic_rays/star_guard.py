"""The stars of an image, and the hits in them that are sharper than a star can be.

L.A.Cosmic compares the sharpness of a pixel with the structure around it, which fails for stars of
two pixels or less, and beside other stars. A hit in a star must therefore be sharper than any star.
A pixel is compared with the mean of the two pixels at the distance d on either side. In Gaussians
of width s, and in sums of them, it is at most exp(d^2 / 2 s^2) times this mean. The width is that
of the frame's own stars: the second difference of the logarithm of a Gaussian is -1 / s^2, wherever
in its pixel a star is centred.
"""

from __future__ import annotations

import numpy as np

from ccdflow.detector.cosmic_rays.cosmic_rounds import IMAGE_IN_MARGIN, NEIGHBOUR_BOX
from ccdflow.detector.pixels.medians import box_median

# In a star, a median of 3 x 3 pixels exceeds the sky by this many standard errors. In a hit it does
# not: hits cover fewer than five of the nine pixels. With a smaller limit noise under a hit makes
# it a star; with a larger one faint stars are flagged.
_STAR_SIGMA = 4.0
# A star gives the width if its peak is above the sky by more than this many standard errors: noise
# then changes its width by a few percent. With a larger limit fewer frames have enough stars; with
# a smaller one noise changes the width by more.
_PEAK_SIGMA = 30.0
# A star gives the width if the four neighbours of its peak are this many standard errors above the
# sky: the neighbours of a hit are darker. With a smaller limit hits make the width too small; with
# a larger one only bright stars give it.
_FLANK_SIGMA = 3.0
# The width needs at least this many stars: two blends among five hardly change their median.
_FEWEST_STARS = 5
# A star is at least this factor times the median width wide. Chosen: widths differ over the field,
# and with 1 the sharper half of the stars is flagged; a smaller factor loses hits in stars.
_LEAST_WIDTH_RATIO = 0.93
# Least width of stars, a standard deviation in pixels: a FWHM of about one pixel. With a smaller
# one, hits that are taken for stars may give a width at which no hit is sharp; with a larger one
# the stars of sharper images are flagged as hits.
_LEAST_SIGMA = 0.45
# Least curvature of the logarithm of a star: a flat top has none, and its width would be infinite.
_LEAST_CURVATURE = 1e-6
# Width of stars if too few are found, a standard deviation in pixels: a FWHM of 2 pixels. With a
# larger width the few stars of a sharp frame are flagged as hits; with a smaller one hits are not
# found in stars.
_USUAL_SIGMA = 0.85
# Connected pixels are a track if more than this fraction of them is sharp.
_SHARP_FRACTION = 0.5
# The sky of a star is measured this many pixels away: a star with a FWHM of 5 pixels has 2 % of its
# peak there. Farther away the sky may have another level.
_SKY_DISTANCE = 6
# The sky is a median of this many pixels of a row, then of this many such medians of a column.
_SKY_BOX = 9
# A hit inside a star must exceed the star's profile by this many standard errors: noise does so in
# one of 32,000 pixels along each line.
_STAR_EXCESS_SIGMA = 4.0
# A hit has about this many pixels: the variance of the number of flagged pixels is this factor
# times their number.
_PIXELS_OF_A_HIT = 5
# Hit pixels in stars may exceed the expected number by this many of its standard deviations: chance
# does so in one frame of 740.
_CHANCE_SIGMA = 3


class Stars:
    """The stars of an image: their positions, their width, and the hits in them.

    Parameters
    ----------
    data, errors : numpy.ndarray of shape (ny, nx), float32
        The image with its margin, and the standard errors of its pixels; finite.
    is_bad : numpy.ndarray of shape (ny, nx), bool
        Pixels that are not used.

    Attributes
    ----------
    sigma : float
        Standard deviation of a median star, pixels; NaN for too few stars.
    """

    def __init__(self, data, errors, is_bad):
        # Imported in functions, because scipy adds 0.15 s to the start of runs that do not need it.
        from scipy import ndimage

        sky = box_median(box_median(data, (1, _SKY_BOX)), (_SKY_BOX, 1))
        self._errors = errors
        self._is_usable = np.zeros_like(is_bad)
        self._is_usable[IMAGE_IN_MARGIN] = ~is_bad[IMAGE_IN_MARGIN]
        self._data, self._sky = data, sky
        self._light = data - sky
        self._is_core = box_median(data, (3, 3)) - sky > _STAR_SIGMA * errors
        # Pixels in or beside stars and wide tracks of cosmic rays.
        self._is_extended = ndimage.binary_dilation(self._is_core, NEIGHBOUR_BOX)
        self._peaks, self.sigma = self._peaks_and_sigma()

    def _peaks_and_sigma(self):
        """Return the peaks of stars, (2, n), and their median width, pixels; NaN for too few."""
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
        is_star &= self._is_usable[y, x]
        peaks = np.array([y[is_star], x[is_star]])
        if np.count_nonzero(is_star) < _FEWEST_STARS:
            return peaks, np.nan
        curvatures = 4 * np.log(box[4, is_star]) - np.log(flanks[:, is_star]).sum(axis=0)
        sigma = float(np.sqrt(2 / max(np.median(curvatures), _LEAST_CURVATURE)))
        return peaks, max(sigma, _LEAST_SIGMA)

    def clear_smooth_hits(self, hits):
        """Clear the hits in stars that are no sharper than a star, (ny, nx) bool, in place."""
        from scipy import ndimage

        pixels = np.nonzero(hits & self._is_extended)
        is_sharp = self._is_sharp(*pixels)
        # The middle of a wide track is as smooth as a star: it keeps its hits if the track's edges
        # are sharp.
        labels, count = ndimage.label(hits, NEIGHBOUR_BOX)
        tracks = labels[pixels]
        sharp_pixels = np.bincount(tracks, is_sharp, count + 1)
        sharp_fraction = sharp_pixels / np.maximum(np.bincount(tracks, None, count + 1), 1)
        hits[pixels] = is_sharp | (sharp_fraction[tracks] > _SHARP_FRACTION)

    def _is_sharp(self, y, x):
        """Return the mask of pixels sharper than a star can be along a row, column or diagonal."""
        sigma = _USUAL_SIGMA if np.isnan(self.sigma) else self.sigma
        errors = self._errors[y, x]
        steps = (-_SKY_DISTANCE, 0, _SKY_DISTANCE)
        # The median about a star includes light of the star; the lowest median beside it has none.
        sky = np.min(
            [self._pixels_at(self._sky, y + dy, x + dx) for dy in steps for dx in steps], axis=0
        )
        light = self._data[y, x] - sky
        is_sharp = np.zeros(y.size, bool)
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            ratio = np.exp((dy * dy + dx * dx) / 2 / (_LEAST_WIDTH_RATIO * sigma) ** 2)
            light_before, light_behind = (
                np.maximum(self._pixels_at(self._data, y + sign * dy, x + sign * dx) - sky, 0)
                for sign in (-1, 1)
            )
            limit = _STAR_EXCESS_SIGMA * np.sqrt(1 + ratio**2 / 2) * errors
            is_sharp |= light - ratio * (light_before + light_behind) / 2 > limit
        return is_sharp

    @staticmethod
    def _pixels_at(values, y, x):
        """Return some pixels of an image; outside, the nearest pixel of its edge."""
        ny, nx = values.shape
        return values[np.clip(y, 0, ny - 1), np.clip(x, 0, nx - 1)]

    def are_spared_by(self, hits, most_star_fraction):
        """Return whether stars have no more hits than other pixels, beside a fraction.

        Parameters
        ----------
        hits : numpy.ndarray of shape (ny, nx), bool
        most_star_fraction : float
            The fraction of the pixels of stars that may be flagged beside the expected hits.

        Returns
        -------
        bool
        """
        from scipy import ndimage

        is_star = np.zeros_like(hits)
        is_star[tuple(self._peaks)] = True
        is_star = ndimage.binary_dilation(is_star, NEIGHBOUR_BOX) & self._is_usable
        is_elsewhere = ~is_star[IMAGE_IN_MARGIN]
        n_pixels = np.count_nonzero(is_star)
        hits_elsewhere = np.count_nonzero(hits[IMAGE_IN_MARGIN] & is_elsewhere)
        expected_hits = n_pixels * hits_elsewhere / max(np.count_nonzero(is_elsewhere), 1)
        chance = _CHANCE_SIGMA * np.sqrt(_PIXELS_OF_A_HIT * (expected_hits + 1))
        return bool(
            np.count_nonzero(hits & is_star)
            <= expected_hits + most_star_fraction * n_pixels + chance
        )
