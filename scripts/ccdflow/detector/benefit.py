"""The benefit of a combined dark: the structure that it removes against the noise that it adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ccdflow.combine.moments import clipped_moments

# A dark harms if the variance that it adds exceeds the variance that it removes by more than this
# many standard errors. Of darks in which both are equal, one in 740 counts as harmful by chance.
_BENEFIT_SIGMA = 3.0
# Values that are summed at once: they fit in the processor's cache. With fewer values a call,
# threads of Python would wait for each other.
_VALUES_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Benefit:
    """The effect of a dark's subtraction on the variance of a pixel, electrons^2 (or adu^2).

    Attributes
    ----------
    structure_variance, variance_error : float
        Variance from pixel to pixel of the dark without its noise, and its standard error. The mean
        level of the dark does not count: it is a part of the background. Its hot pixels do not
        count: they are masked.
    noise_variance : float
        Variance of the dark's own noise.
    """

    structure_variance: float
    variance_error: float
    noise_variance: float


def measure_benefit(image, errors, is_good, *, gain=1.0):
    """Return the `Benefit` of a region of a combined dark.

    Parameters
    ----------
    image, errors : numpy.ndarray of shape (ny, nx), float32
        Pixels and their standard errors, adu.
    is_good : numpy.ndarray of shape (ny, nx), bool
        Pixels that count.
    gain : float, optional
        Electrons per adu.

    Returns
    -------
    Benefit
        NaN for fewer than two good pixels.
    """
    values = image[is_good]
    if values.size < 2:
        return Benefit(np.nan, np.nan, np.nan)
    middle = clipped_moments(values).mean
    mean_square, mean_fourth_power = _mean_square_and_fourth_power(values, middle)
    noise_variance, _ = _mean_square_and_fourth_power(errors[is_good], 0.0)
    variance_error = float(np.sqrt(max(mean_fourth_power - mean_square**2, 0.0) / values.size))
    return Benefit(
        float(mean_square - noise_variance) * gain**2,
        variance_error * gain**2,
        noise_variance * gain**2,
    )


def _mean_square_and_fourth_power(values, middle):
    """Return the means of the second and the fourth powers of values, (n,), minus a number."""
    sum_of_squares, sum_of_fourth_powers = 0.0, 0.0
    for first in range(0, len(values), _VALUES_AT_ONCE):
        values_at_once = values[first : first + _VALUES_AT_ONCE]
        differences = np.subtract(values_at_once, middle, dtype=np.float64)
        squares = np.square(differences, out=differences)
        sum_of_squares += squares.sum()
        sum_of_fourth_powers += squares @ squares
    return float(sum_of_squares) / len(values), float(sum_of_fourth_powers) / len(values)


def harms(figures, *, scale=1.0, bias_variance=0.0):
    """Return whether a dark adds more noise to a frame than the structure that it removes.

    Parameters
    ----------
    figures : iterable of dict
        The figures of each amplifier, as `figures_of_dark` returns them.
    scale : float, optional
        Factor by which the dark is multiplied before it is subtracted.
    bias_variance : float, optional
        Variance of the combined bias. It cancels where a dark with a factor of 1 is subtracted.

    Returns
    -------
    bool
        True if it does so in each amplifier with known figures; False if none has them.
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
        Its mask has the hot pixels.

    Returns
    -------
    list of dict
        ``structure``, ``structure_error`` and ``added``: the three variances of a `Benefit`, in
        electrons^2; adu^2 without a gain.
    """
    figures = []
    for amplifier in dark.noise.amplifiers:
        slices = amplifier.region.slices
        image, errors = dark.image[slices], dark.uncertainty[slices]
        is_good = (dark.mask[slices] == 0) & np.isfinite(image) & np.isfinite(errors)
        benefit = measure_benefit(image, errors, is_good, gain=amplifier.gain or 1.0)
        figures.append(
            {
                "structure": benefit.structure_variance,
                "structure_error": benefit.variance_error,
                "added": benefit.noise_variance,
            }
        )
    return figures
