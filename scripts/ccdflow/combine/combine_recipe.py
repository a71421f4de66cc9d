"""The recipe by which the values of a pixel are combined: the method, and the rejection rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.errors import UserError

FEW_FRAMES = 10
"""With fewer members, ``clip_by="auto"`` clips by the noise model: the scatter of nine values is
uncertain by a quarter."""

# Rejection grows by at most this many pixels: the faint rim of a star or of a cosmic ray is no
# wider than that.
_MOST_GROWTH = 5
# The source of the clipping sigma, in words, by the value of `clip_by`.
_SIGMA_SOURCES = {
    "mad": "MAD",
    "std": "standard deviation",
    "noise": "noise model",
    "auto": "noise model or MAD",
}


@dataclass(frozen=True)
class CombineRecipe:
    """The method and the rejection rule for the values of one pixel.

    Attributes
    ----------
    method : {'average', 'median'}
        Combination of the remaining values.
    clip : float or None
        Values further than `clip` sigma from the centre are rejected; None rejects nothing. The
        default is the astropy CCD guide's.
    iterations : int
        Largest number of repetitions of the clipping. `ccdproc.combine` clips once.
    clip_by : {'auto', 'noise', 'mad', 'std'}
        Source of sigma; limits are about the median of the pixel's values. ``noise``: gain and read
        noise of the amplifier, and the level of the member. The median of an even number of values
        is then the lower middle one, because a cosmic ray adds charge. ``mad``: 1.4826 MAD of the
        values, as in the guide. ``std``: their standard deviation, which the guide's misspelt
        argument gives; at 5 sigma it rejects none of fewer than 24 values. ``auto``: by noise if a
        noise model is given for fewer than `FEW_FRAMES` members, otherwise by MAD.
    grow : int
        Number of pixels around a rejected value, in rows and in columns, that are rejected in the
        same member: the faint rim of a star. If ``auto`` selects ``mad``, no rejection grows,
        because too many rejections are chance.
    """

    method: str = "average"
    clip: float | None = 5.0
    iterations: int = 1
    clip_by: str = "auto"
    grow: int = 0

    def __post_init__(self):
        if self.method not in ("average", "median"):
            raise UserError(
                "unknown way to combine",
                keyword="method",
                value=self.method,
                allowed="'average' or 'median'",
                remedy="give average, the method of the least noise, if in doubt",
            )
        if self.clip is not None and not 1 <= self.clip < np.inf:
            raise UserError(
                "the clipping limit is out of range",
                keyword="clip",
                value=self.clip,
                allowed="1 sigma or more, or nothing for no clipping",
                remedy="give a limit in sigma, such as 3",
            )
        if self.iterations < 1:
            raise UserError(
                "clipping has to be done at least once",
                keyword="iterations",
                value=self.iterations,
                allowed="1 or more",
                remedy="give 1 or more; for no clipping give no limit",
            )
        if self.clip_by not in _SIGMA_SOURCES:
            raise UserError(
                "unknown source of the clipping limit",
                keyword="clip_by",
                value=self.clip_by,
                allowed="'auto', 'noise', 'mad' or 'std'",
                remedy="give auto, which chooses by the number of frames, if in doubt",
            )
        if not (isinstance(self.grow, int) and 0 <= self.grow <= _MOST_GROWTH):
            raise UserError(
                "rejection cannot grow by this",
                keyword="grow",
                value=self.grow,
                allowed=f"0 to {_MOST_GROWTH} whole pixels",
                remedy="give a whole number of pixels, 0 for no growth",
            )

    def resolve(self, n, noise=None):
        """Return the recipe for `n` members, without ``auto``.

        Parameters
        ----------
        n : int
            Number of members.
        noise : ccdflow.combine.noise.NoiseModel or None, optional
            Their noise model, if known.

        Returns
        -------
        CombineRecipe

        Raises
        ------
        UserError
            If the recipe clips by noise and no noise model is given.
        """
        if self.clip_by == "noise" and self.clip is not None and noise is None:
            raise UserError(
                "clipping by noise needs gain and read noise",
                keyword="clip_by",
                value=self.clip_by,
                allowed="'auto', 'mad' or 'std' where they are not known",
                remedy="give gain and read noise, or clip by 'auto'",
            )
        if self.clip_by == "auto" and noise is None:
            return replace(self, clip_by="mad", grow=0)
        return self.resolve_with_noise(n)

    def resolve_with_noise(self, n):
        """Return the recipe for `n` members with a noise model, without ``auto``."""
        if self.clip_by != "auto":
            return self
        if n < FEW_FRAMES:
            return replace(self, clip_by="noise")
        return replace(self, clip_by="mad", grow=0)

    def __str__(self):
        """Return the recipe in words, such as 'average, clipped once at 5 sigma (MAD) ...'."""
        if self.clip is None:
            return self.method
        times = "once" if self.iterations == 1 else f"up to {self.iterations} times"
        sigma = _SIGMA_SOURCES[self.clip_by]
        growth = f", and {self.grow} pixel around" if self.grow else ""
        return (
            f"{self.method}, clipped {times} at {self.clip:g} sigma ({sigma}) about the median"
            + growth
        )
