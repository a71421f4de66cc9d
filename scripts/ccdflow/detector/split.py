"""Whether the noise of a combined image is what its uncertainty says: two halves of its members."""

from __future__ import annotations

import math

import numpy as np

from ccdflow.detector.frame_figures import UNKNOWN, Estimate, clipped_moments


def half_split(combined, region):
    """Compare the noise that two halves of the members show with the predicted noise.

    The even and the odd members are averaged; all that they have in common drops out of the
    difference, whose variance the noise model predicts from gain, read noise and levels.

    Parameters
    ----------
    combined : ccdflow.combine.stack.Combined
        With a sample of its members and a noise model.
    region : tuple of int
        ``(y0, y1, x0, x1)`` of an amplifier.

    Returns
    -------
    ccdflow.detector.frame_figures.Estimate
        Measured over predicted, 1 where the uncertainty is right.
    """
    y0, y1, x0, x1 = region
    inside = (combined.sample_rows >= y0) & (combined.sample_rows < y1)
    frames = combined.sample[:, inside, x0:x1].astype(np.float64)
    n = len(frames)
    if n < 2 or combined.noise is None or not frames.size:
        return UNKNOWN
    fixed, slope = (t[:, x0:x1] for t in combined.noise.rows(combined.sample_rows[inside]))
    levels = np.ones(n) if combined.levels is None else combined.levels
    light = np.maximum(combined.image[combined.sample_rows[inside], x0:x1].astype(np.float64), 0)
    variance = np.zeros_like(light)
    for half in (slice(0, n, 2), slice(1, n, 2)):
        own = levels[half]
        # The mean of a half: one over its squared number times the variances of its members.
        total = sum((fixed + slope * light * L) / L**2 for L in own)
        variance += total / len(own) ** 2
    difference = frames[::2].mean(axis=0) - frames[1::2].mean(axis=0)
    moments = clipped_moments(difference / np.sqrt(variance))
    if moments.count < 2:
        return UNKNOWN
    return Estimate(float(moments.sigma), float(moments.sigma / math.sqrt(2 * moments.count)))
