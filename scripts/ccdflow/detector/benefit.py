"""The benefit of a combined dark: the structure that it removes against the noise that it adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.combine.moments import clipped_moments

# A dark harms if its noise exceeds the structure that it removes by more than this many errors: of
# darks in which both are equal, chance alone takes one in 740 for harmful.
_BENEFIT_SIGMA = 3.0
# Values that are worked on at once: they stay in the cache, and of fewer the threads of Python
# would wait for each other.
_VALUES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Benefit:
    """The effect of a dark's subtraction on the variance of a pixel, electrons^2 (or adu^2).

    Attributes
    ----------
    structure, error : float
        Variance from pixel to pixel that is in the dark itself, and its standard error. Its mean
        level and its hot pixels do not count: they are part of the background and of the mask.
    noise : float
        Variance of its own noise.
    """

    structure: float
    error: float
    noise: float


def benefit_of(image, errors, is_good, *, gain=1.0):
    """Return the `Benefit` of a part of a combined dark.

    Parameters
    ----------
    image, errors : numpy.ndarray of shape (ny, nx), float32
        Pixels and their standard errors, adu.
    is_good : numpy.ndarray of shape (ny, nx), bool
        Pixels that count.
    gain : float
        Electrons per adu.

    Returns
    -------
    Benefit
    """
    values = image[is_good]
    if values.size < 2:
        return Benefit(np.nan, np.nan, np.nan)
    middle = clipped_moments(values).mean
    mean, fourth = _mean_powers(values, middle)
    noise, _ = _mean_powers(errors[is_good], 0.0)
    error = float(np.sqrt(max(fourth - mean**2, 0.0) / values.size))
    return Benefit(float(mean - noise) * gain**2, error * gain**2, noise * gain**2)


def _mean_powers(values, middle):
    """Return the means of second and fourth powers of values, (n,), minus a number, in float64."""
    sum_of_squares, sum_of_fourth_powers = 0.0, 0.0
    for first in range(0, len(values), _VALUES_AT_ONCE):
        part = values[first : first + _VALUES_AT_ONCE]
        differences = np.subtract(part, middle, dtype=np.float64)
        squares = np.square(differences, out=differences)
        sum_of_squares += squares.sum()
        sum_of_fourth_powers += squares @ squares
    return float(sum_of_squares) / len(values), float(sum_of_fourth_powers) / len(values)


def harms(figures, *, scale=1.0, bias_variance=0.0):
    """Return whether a dark adds more noise to a frame than it takes structure away.

    Parameters
    ----------
    figures : iterable of dict
        Figures of each amplifier: ``structure``, ``structure_error`` and ``added``, as of
        `Benefit`.
    scale : float
        Factor on the dark.
    bias_variance : float
        Variance of the combined bias: it cancels, or nearly so, where a dark is subtracted.

    Returns
    -------
    bool
        False if the figures are unknown.
    """
    known_figures = [amplifier for amplifier in figures if amplifier.get("added") is not None]
    if not known_figures:
        return False
    removed_variance = bias_variance * (1 - (1 - scale) ** 2)
    return all(
        scale**2 * (amplifier["structure"] + _BENEFIT_SIGMA * amplifier["structure_error"])
        + removed_variance
        < scale**2 * amplifier["added"]
        for amplifier in known_figures
    )


def figures_of_dark(dark):
    """Return the figures of each amplifier of a combined dark that `harms` takes.

    Parameters
    ----------
    dark : ccdflow.combine.stack.Combined
        With the mask of its hot pixels.

    Returns
    -------
    list of dict
        ``structure``, ``structure_error``, ``added``: electrons^2, adu^2 without a gain.
    """
    figures = []
    for amplifier in dark.noise.amplifiers:
        part = amplifier.region.slices
        image, errors = dark.image[part], dark.uncertainty[part]
        is_good = (dark.mask[part] == 0) & np.isfinite(image) & np.isfinite(errors)
        effect = benefit_of(image, errors, is_good, gain=amplifier.gain or 1.0)
        figures.append(
            {
                "structure": effect.structure,
                "structure_error": effect.error,
                "added": effect.noise,
            }
        )
    return figures
