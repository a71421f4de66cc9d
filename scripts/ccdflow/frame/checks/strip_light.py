"""Light in an overscan, by a comparison with the data beside it.

Columns of data that are taken for overscan have the level of their neighbours and the noise of
photons. A true overscan never has both. If light ends at the overscan, its level is that of the
bias; if no light reaches the edge of the data, its noise is that of the readout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ccdflow.errors import FrameError
from ccdflow.robust import MAD_TO_SIGMA_SHORT, column_medians, median

LIT_OVERSCAN, DATA_FOR_OVERSCAN = "lit overscan", "data for overscan"
"""The names of the warnings on a strip that may hold data, and on one that does, in a flat."""

# Electrons, or adu if the gain is unknown. A strip of more noise holds photons if neither card nor
# profile gives the read noise: the read noise of CCDs is 2 to 20 electrons.
_MOST_READ_NOISE = 30.0
# A strip whose noise is more than this many times the given read noise holds photons. The read
# noise of the EFOSC2 is 1.6 times that of its card.
_PHOTON_NOISE_RATIO = 2.5
# Largest difference between the levels of a strip and of its neighbours, as a fraction of the light
# whose photons have the noise of the strip. Vignetting changes a flat by less than 2 % over this
# width.
_MOST_STEP_FRACTION = 0.1
# The noise of a strip with light equals that of its neighbours within this factor. The neighbours
# are spread, and the response of their pixels differs more. A true overscan beside a flat is 40
# times quieter.
_NOISE_RATIO_TOLERANCE = 1.5
# Scatter of the response of pixels, a fraction. A strip is a noisy readout if its noise exceeds
# that of photons of its whole level and of this scatter.
_LEAST_RESPONSE = 0.02
# A strip of a flat holds data, even if gain or read noise are given wrong, under four conditions:
# at least this fraction of its level is light; its level, adu, and its noise, electrons, are at
# least these; the brightest column of the data is brighter by at most this fraction of its level.
# An unlit edge beside a flat, a bias and a noisy readout each fail one of the conditions.
_SURE_LIGHT_FRACTION, _SURE_LEVEL, _SURE_NOISE, _SURE_STEP_FRACTION = 0.5, 5000.0, 100.0, 1.0
# Data beside an overscan hold light if they are noisier than the overscan by this factor. With a
# smaller factor the pattern of a bias is taken for light; with a larger one faint light is not
# seen, and no strip beside it is judged.
_LIT_NOISE_FACTOR = 1.25
# Adu. Lit data beside a true overscan are brighter by more than this. A smaller step may be the
# gradient of a bias; with a larger one faint flats would show no step.
_LEAST_STEP = 20.0
# Numbers of sampled pixels of each line, those nearest to the strip, that give the noise of the
# data and their level.
_NEIGHBOUR_PIXELS, _NEAREST_PIXELS = 6, 2
# Noises come from this many to twice as many rows, spread over a strip. 256 rows give them to 3 %
# with 6 columns, and to 1 % with 50.
_SAMPLED_ROWS = 256
# Strips or data with fewer rows, or fewer columns, are not judged.
_FEWEST_ROWS, _FEWEST_COLUMNS = 16, 3

# The remedy at the end of a warning that a strip holds data.
_STRIP_REMEDY = (
    "if the frame was read without overscan, or trimmed, give frames of its size a profile of their"
    " own (`overscan: none`), else correct `overscan:` in the camera's profile"
)
# The first half of the remedy in a warning that a strip may hold data.
_READOUT_REMEDY = (
    "if its noise is that of the readout, correct `gain:` and `read_noise:` in the camera's"
    " profile;"
)
REMEDIES = {DATA_FOR_OVERSCAN: _STRIP_REMEDY, LIT_OVERSCAN: f"{_READOUT_REMEDY} {_STRIP_REMEDY}"}
"""The remedies of `light_warnings`, by kind."""


class LitOverscan(FrameError):
    """A flat whose overscan holds data: columns of data would be lost."""


class StripComparison(NamedTuple):
    """The comparison of a strip with the data beside it.

    Attributes
    ----------
    step : float
        Level of the data minus that of the strip, adu.
    noise, data_noise : float
        Noise of a pixel of the strip, and of the data, about the levels of column and row, adu.
    level : float
        Level of the strip, adu.
    brightest : float
        Level of the brightest sampled column of the data (row, if the levels are along columns)
        minus that of the strip, adu.
    """

    step: float
    noise: float
    data_noise: float
    level: float
    brightest: float


def compare_strip(sample, amplifier):
    """Compare a strip with the data nearest to it.

    Parameters
    ----------
    sample : ccdflow.frame.strip_samples.Sample
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    StripComparison or None
        None if there are too few pixels, or if strips lie on two sides of the data. None for one
        level of the frame from rows above or below the data: the sample has no pixels near them.
    """
    lines, strip = sample.lines, sample.strip
    if min(len(lines), len(strip)) < _FEWEST_ROWS:
        return None
    if min(lines.shape[1], strip.shape[1]) < _FEWEST_COLUMNS:
        return None
    sides = {_strip_side(amplifier, strip_region) for strip_region in amplifier.overscan}
    if len(sides) > 1 or None in sides:
        return None
    # The data nearest to the strip come first.
    nearest_lines = lines[:, ::-1] if sides == {"behind"} else lines
    steps = nearest_lines[:, :_NEAREST_PIXELS].mean(axis=1, dtype=np.float64) - sample.own_levels
    level = float(median(sample.own_levels))
    lines_sampled = lines[:: max(1, len(lines) // _SAMPLED_ROWS)]
    return StripComparison(
        step=float(median(steps)),
        noise=_noise_within(strip),
        data_noise=_noise_within(nearest_lines[:, :_NEIGHBOUR_PIXELS]),
        level=level,
        brightest=float(np.median(lines_sampled, axis=0).max()) - level,
    )


def _strip_side(amplifier, strip):
    """Return the side of the data on which a strip lies, 'before' or 'behind'; None for neither."""
    data = amplifier.data
    if amplifier.along == "columns":
        return "behind" if strip.y0 >= data.y1 else "before"
    if strip.shares_columns(data):
        return None
    return "behind" if strip.x0 >= data.x1 else "before"


def _noise_within(pixels):
    """Return the noise of pixels, (n, k), about the levels of their columns and rows, adu."""
    pixels = pixels[:: max(1, len(pixels) // _SAMPLED_ROWS)].astype(np.float32)
    residuals = np.subtract(pixels, column_medians(pixels), out=pixels)
    count = residuals.shape[1]
    deviations = np.abs(residuals - residuals.mean(axis=1, keepdims=True))
    return MAD_TO_SIGMA_SHORT * float(median(deviations)) * (count / (count - 1)) ** 0.5


def compare_strips(samples, amplifiers):
    """Compare the strips of a frame with the data nearest to them.

    Parameters
    ----------
    samples : dict of str to ccdflow.frame.strip_samples.Sample
        By the name of the amplifier.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier

    Returns
    -------
    dict of str to StripComparison
        By the name of the amplifier, for those with enough pixels.
    """
    comparisons = {
        amplifier.name: compare_strip(samples[amplifier.name], amplifier)
        for amplifier in amplifiers
        if amplifier.name in samples
    }
    return {name: comparison for name, comparison in comparisons.items() if comparison is not None}


def light_warnings(comparisons, amplifiers):
    """Return the warnings on strips that hold light like the data beside them.

    Parameters
    ----------
    comparisons : dict of str to StripComparison
        See `compare_strips`.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier

    Returns
    -------
    list of (str, str)
        Kind and problem: `DATA_FOR_OVERSCAN` where a flat would leave no doubt, else
        `LIT_OVERSCAN`; `REMEDIES` has the remedy.
    """
    warnings = []
    # If the strip of one amplifier is a true overscan, those of the others may be as well.
    has_dark_strip = any(
        ends_light(comparisons[a.name], a) for a in amplifiers if a.name in comparisons
    )
    for amplifier in amplifiers:
        comparison = comparisons.get(amplifier.name)
        if comparison is not None and is_lit(comparison, amplifier):
            subject = f"amplifier {amplifier.name}: " if len(amplifiers) > 1 else ""
            regions_text = " ".join(strip.to_fits() for strip in amplifier.overscan)
            is_sure = not has_dark_strip and _is_surely_lit(comparison, amplifier)
            claim = "holds data as the image does" if is_sure else "may hold data"
            problem = (
                f"{subject}the overscan {regions_text} {claim}: its level"
                f" ({comparison.level:.4g} adu) is that of the columns or rows beside it"
                f" ({comparison.step:+.2g} adu), its noise"
                f" ({comparison.noise:.3g} adu) that of their photons ({comparison.data_noise:.3g}"
                " adu); allowed: a strip without light"
            )
            warnings.append((DATA_FOR_OVERSCAN if is_sure else LIT_OVERSCAN, problem))
    return warnings


def ends_light(comparison, amplifier):
    """Return whether light ends at a strip: a true overscan beside data with light.

    Parameters
    ----------
    comparison : StripComparison
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    bool
    """
    is_brighter = comparison.step > max(comparison.noise, _LEAST_STEP)
    is_noisier = comparison.data_noise > _LIT_NOISE_FACTOR * comparison.noise
    return is_brighter and is_noisier and not is_lit(comparison, amplifier)


def is_lit(comparison, amplifier):
    """Return whether a strip holds light like the data beside it.

    Parameters
    ----------
    comparison : StripComparison
    amplifier : ccdflow.camera.geometry.Amplifier
        With gain (e-/adu) and read noise (e-), or None.

    Returns
    -------
    bool
    """
    gain = amplifier.gain or 1.0
    noise = comparison.noise * gain
    read_noise = amplifier.read_noise if amplifier.gain else None
    if not noise > (_PHOTON_NOISE_RATIO * read_noise if read_noise else _MOST_READ_NOISE):
        return False
    light = noise**2 / gain
    ratio = comparison.data_noise / comparison.noise
    is_alike = 1 / _NOISE_RATIO_TOLERANCE <= ratio <= _NOISE_RATIO_TOLERANCE
    if amplifier.gain and comparison.noise**2 > _most_variance(comparison.level, gain):
        # Photons of the whole level would have less noise: the readout is noisy.
        return False
    return is_alike and abs(comparison.step) <= _MOST_STEP_FRACTION * light


def _most_variance(level, gain):
    """Return the variance that a pixel would have if its whole level were light, adu^2."""
    return max(level, 0.0) / gain + (_LEAST_RESPONSE * level) ** 2


def _is_surely_lit(comparison, amplifier):
    """Return whether a strip holds light for certain: even if gain or read noise are wrong."""
    gain, level = amplifier.gain, comparison.level
    if not gain or level < _SURE_LEVEL or comparison.noise * gain < _SURE_NOISE:
        return False
    is_mostly_light = comparison.noise**2 * gain >= _SURE_LIGHT_FRACTION * level
    return is_mostly_light and comparison.brightest <= _SURE_STEP_FRACTION * level
