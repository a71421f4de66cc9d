"""Combined biases and darks that are subtracted from the members of further masters."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np

from ccdflow.camera.exposures import EXACT_FRACTION, is_same_exposure
from ccdflow.combine.member_reader import Member
from ccdflow.combine.preparation import open_image
from ccdflow.errors import UserError
from ccdflow.mask_bits import NO_DATA

# Seconds, 68 years: a card with an exposure of this or more is damaged.
_MOST_SECONDS = 2**31
# Pixels whose noise is more than this many times the median noise are hot. With a larger factor hot
# pixels raise the noise that is taken for that of all pixels; with a smaller one usual pixels are
# left out, and it is too low. Chosen, not measured.
_HOT_NOISE = 3


@dataclass(frozen=True)
class SubtractedMaster:
    """A combined bias or dark that is subtracted from frames.

    Attributes
    ----------
    pixels : numpy.ndarray of shape (ny, nx), float32 or float64, or Member
        In the unit of the frames.
    uncertainty : numpy.ndarray of shape (ny, nx), float32 or float64, Member, float or None
        Standard error of the pixels; None if unknown.
    seconds : float or None
        Exposure time of a dark; None for a bias.
    is_bias_subtracted : bool
        Whether the bias was subtracted from a dark, as ccdflow does.
    file : path-like or None
        File of the master, for errors.
    """

    pixels: np.ndarray | Member
    uncertainty: np.ndarray | Member | float | None = None
    seconds: float | None = None
    is_bias_subtracted: bool = False
    file: str | PathLike | None = None

    def rms(self, rows=None):
        """Return the root mean square of the pixels' errors, without hot pixels; NaN if unknown.

        Parameters
        ----------
        rows : numpy.ndarray of shape (k,), int, optional
            Rows to use; default: all.

        Returns
        -------
        float
            In the unit of the pixels.
        """
        if self.uncertainty is None:
            return float("nan")
        if isinstance(self.uncertainty, int | float):
            return float(self.uncertainty)
        errors = open_image(self.uncertainty)
        errors = np.asarray(errors if rows is None else errors[rows], dtype=np.float64)
        finite_errors = errors[np.isfinite(errors)]
        # Hot pixels are few, and do not show the noise of the other pixels.
        typical_errors = (
            finite_errors[finite_errors <= _HOT_NOISE * np.median(finite_errors)]
            if finite_errors.size
            else finite_errors
        )
        return float(np.sqrt(np.mean(typical_errors**2))) if typical_errors.size else float("nan")


def checked_bias(bias, frames):
    """Return a bias; raise if it is a dark.

    Parameters
    ----------
    bias : SubtractedMaster or None
    frames : str
        The sort of frames that the bias is subtracted from, such as 'flats', for the error.

    Returns
    -------
    SubtractedMaster or None
        The bias itself; None without a bias.

    Raises
    ------
    UserError
        If its exposure time is above 0: it is a dark.
    """
    if bias is not None and bias.seconds:
        raise UserError(
            f"a dark cannot be subtracted from {frames} as their bias",
            file=bias.file,
            keyword="EXPTIME",
            value=bias.seconds,
            allowed="a combined bias, of 0 s",
            remedy="give the combined bias instead",
        )
    return bias


def dark_factors(dark, seconds, *, scale_up=2.5):
    """Return the factor on a dark for each of some frames.

    Parameters
    ----------
    dark : SubtractedMaster
        The dark, without its bias.
    seconds : sequence of float
        Exposure times of the frames.
    scale_up : float, optional
        Largest factor by which a dark may be scaled up; 1 forbids it. The default is that of the
        configuration, chosen: 120 s serve 300 s, at 2.5 times the dark's noise.

    Returns
    -------
    tuple of float
        Exposure time of each frame over that of the dark; 1 if the two are the same exposure, see
        `ccdflow.camera.exposures.is_same_exposure`.

    Raises
    ------
    UserError
        If the dark still holds its bias, a time is missing, or the dark would be scaled up too far.
    """
    if not dark.is_bias_subtracted:
        raise UserError(
            "a dark that still holds its bias would subtract the bias twice",
            file=dark.file,
            keyword="BIASKEY",
            value="absent",
            remedy="subtract the combined bias from the darks before they are combined",
        )
    if dark.seconds is None or not 0 < dark.seconds < _MOST_SECONDS:
        raise UserError(
            "the exposure time of a dark is missing or impossible",
            file=dark.file,
            keyword="EXPTIME",
            value=dark.seconds,
            allowed="above 0 s and below 2^31 s",
            remedy="write EXPTIME, in seconds, into the header of the dark",
        )
    factors = []
    for number, time in enumerate(seconds, start=1):
        if time is None or not 0 <= time < _MOST_SECONDS:
            raise UserError(
                f"the exposure time of frame {number} is missing or impossible",
                keyword="EXPTIME",
                value=time,
                allowed="0 s or more, below 2^31 s",
                remedy="write EXPTIME, in seconds, into the frame's header, or leave the frame out",
            )
        factors.append(1.0 if is_same_exposure(time, dark.seconds) else time / dark.seconds)
    # Exposures scatter by a little: 300.02 s count as 2.5 times 120 s.
    if max(factors, default=0.0) > scale_up * (1 + EXACT_FRACTION):
        raise UserError(
            "the dark would be scaled up beyond the limit",
            file=dark.file,
            keyword="scale_up",
            value=round(max(factors), 3),
            allowed=f"up to {scale_up:g} times its {dark.seconds:g} s",
            remedy="take darks as long as the frames",
        )
    return tuple(factors)


def mask_of_combined(combined):
    """Return the mask of a combined image, (ny, nx) int16: NO_DATA, and bits common to members."""
    shape = combined.image.shape
    mask = np.zeros(shape, np.int16) if combined.mask is None else combined.mask.copy()
    if combined.n_empty:
        mask[~np.isfinite(combined.image)] |= NO_DATA
    return mask
