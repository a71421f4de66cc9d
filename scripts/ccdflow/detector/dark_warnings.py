"""Warnings on a combined dark, in words."""

from __future__ import annotations

import numpy as np

# Warn if measured and predicted noise differ by more than the first number, a fraction, and by more
# than the second number of standard errors. Chance does so in one of 1.7 million darks.
_RATIO_TOLERANCE, _RATIO_SIGMA = 0.05, 5


def warnings_on_dark(figures, *, unit="adu", drift_fraction=0.1):
    """Return warnings on a combined dark, in words.

    Parameters
    ----------
    figures : ccdflow.detector.dark_figures.DarkFigures
    unit : {'adu', 'electron'}, optional
        Unit of the members' levels.
    drift_fraction : float, optional
        Warn about levels that drift, and span more than this fraction of the dark level. The
        default is chosen: the dark current of a cold detector varies by less.

    Returns
    -------
    list of str
    """
    sentences = []
    level = abs(figures.drift.level.value)
    if figures.is_drifting and figures.drift.span > drift_fraction * level:
        direction = "rose" if figures.drift.slope.value > 0 else "fell"
        sentences.append(
            f"the level of its frames {direction} by {figures.drift.span:.3g} from {level:.3g}"
            f" {unit}: light that leaks in, or a detector that was not yet cold"
        )
    ratio = figures.noise_ratio
    if np.isfinite(ratio.value) and abs(ratio.value - 1) > max(
        _RATIO_TOLERANCE, _RATIO_SIGMA * ratio.error
    ):
        sentences.append(f"its noise is {ratio.value:.3f} times the predicted noise")
    return sentences
