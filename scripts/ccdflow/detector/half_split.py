"""The uncertainty of a combined image, checked by the difference of two halves of its members."""

from __future__ import annotations

import math

import numpy as np

from ccdflow.combine.clipping import PixelNoise
from ccdflow.combine.moments import clipped_moments
from ccdflow.combine.noise import DIGITAL_NOISE
from ccdflow.detector.frame_figures import UNKNOWN_FIGURE, Estimate


def noise_ratio_of_halves(combined, region):
    """Return the noise measured from two halves of the members over the predicted noise.

    The even and the odd members are averaged. The structure common to both halves cancels in their
    difference. The noise model predicts the variance of this difference from gain, read noise and
    levels.

    Parameters
    ----------
    combined : ccdflow.combine.stack.Combined
        Has a sample of its members and a noise model.
    region : ccdflow.camera.sections.Region
        Region of an amplifier.

    Returns
    -------
    ccdflow.detector.frame_figures.Estimate
        Measured over predicted noise; 1 if the uncertainty is right. Unknown for fewer than two
        members, without a noise model, or without two finite pixels.
    """
    is_inside = region.has_rows(combined.sample_rows)
    frames = combined.sample[:, is_inside, region.columns].astype(np.float64)
    n = len(frames)
    if n < 2 or combined.noise is None or not frames.size:
        return UNKNOWN_FIGURE
    rows = combined.sample_rows[is_inside]
    indices = (rows[:, None] * combined.image.shape[1] + np.arange(region.x0, region.x1)).ravel()
    levels = np.ones(n) if combined.levels is None else combined.levels
    terms = combined.noise.terms_at(indices)
    expected_light = combined.noise.expected_light_at(indices)
    noise_model = PixelNoise(*terms, levels, expected_light=expected_light)
    variances = noise_model.variances(combined.image.reshape(-1)[indices].astype(np.float64))
    # The variance of a half's mean is the sum of its members' variances over the square of their
    # number.
    variance = sum(half.sum(axis=0) / len(half) ** 2 for half in (variances[::2], variances[1::2]))
    variance = variance.reshape(len(rows), region.x1 - region.x0)
    difference = frames[::2].mean(axis=0) - frames[1::2].mean(axis=0)
    noise = np.sqrt(variance)
    # Members are whole adu over their levels: the mean of a half has steps of this size.
    step = 1 / (len(frames[1::2]) * np.min(levels))
    least = np.min(noise, where=np.isfinite(noise), initial=np.inf)
    moments = clipped_moments(difference / noise, rounding_noise=DIGITAL_NOISE * step / least)
    if moments.count < 2:
        return UNKNOWN_FIGURE
    return Estimate(float(moments.sigma), float(moments.sigma / math.sqrt(2 * moments.count)))
