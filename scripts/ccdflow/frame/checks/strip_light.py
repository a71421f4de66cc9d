"""Light in an overscan, by a comparison with the data beside it.

Columns of data that are taken for overscan have the level of their neighbours and the noise of
photons. A true overscan has one of the two in no frame with light: where light ends at it, its
level is that of the bias; where no light comes so far, its noise is that of the readout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ccdflow.errors import FrameError
from ccdflow.robust import MAD_TO_SIGMA_SHORT, column_medians, median

LIT_OVERSCAN, DATA_FOR_OVERSCAN = "lit overscan", "data for overscan"
"""The names of the warnings on a strip that may hold data, and on one that does, in a flat."""

# Electrons, or adu where the gain is unknown. A strip of more noise holds photons, if no card or
# profile gives the read noise: the readouts of CCDs have 2 to 20.
_MOST_READ_NOISE = 30.0
# A strip whose noise is more than this many times the given read noise holds photons. The noise of
# the EFOSC2 is 1.6 times its card's.
_PHOTON_NOISE_RATIO = 2.5
# Largest difference between the levels of a strip and of its neighbours, as a fraction of the light
# whose photons have the strip's noise: vignetting changes a flat by less than 2 % over this width.
_LEVEL_TOLERANCE_PART = 0.1
# The noise of the strip equals its neighbours' within this factor: the response of pixels
# differs more over the neighbours, which are spread. A true overscan beside a flat is 40
# times quieter.
_NOISE_RATIO_TOLERANCE = 1.5
# Scatter of the response of pixels, a fraction: a strip with more noise than photons of its whole
# level and this scatter make is a noisy readout.
_LEAST_RESPONSE = 0.02
# A strip of a flat holds data, even if gain or read noise are given wrong, where all of these hold:
# at least this part of its level is light, it has this level, adu, and this noise, electrons, and
# the data are brighter by no more than this part of its level. An unlit edge beside a flat, a bias
# and a noisy readout lack one of them.
_SURE_LIGHT, _SURE_LEVEL, _SURE_NOISE, _SURE_STEP = 0.5, 5000.0, 100.0, 1.0
# Data beside an overscan hold light if they are noisier than it by this factor. A smaller one takes
# the pattern of a bias for light; a larger one sees no faint light, and judges no strip beside it.
_LIT_NOISE_FACTOR = 1.25
# Adu by which the data beside a true overscan are brighter, at least: a smaller step may be the
# gradient of a bias, and with a larger one faint flats show no step.
_LEAST_STEP = 20.0
# The sampled lines of data nearest to the strip that give the data's noise, and their level.
_NEIGHBOUR_PIXELS, _NEAREST_PIXELS = 6, 2
# Rows of a strip, spread over it, that give the noises at most: they are good to 1 % then.
_MOST_ROWS = 256
# A strip with fewer rows, or fewer columns, is not judged.
_FEWEST_ROWS, _FEWEST_COLUMNS = 16, 3


# The remedy at the end of a warning that a strip holds data.
_STRIP_REMEDY = (
    "if the frame was read without overscan, or trimmed, give frames of its size a profile of their"
    " own (`overscan: none`), else correct `overscan:` in the camera's profile"
)
# The correction of a profile where a strip may hold data.
_READOUT_REMEDY = (
    "if its noise is that of the readout, correct `gain:` and `read_noise:` in the camera's"
    " profile;"
)
REMEDIES = {DATA_FOR_OVERSCAN: _STRIP_REMEDY, LIT_OVERSCAN: f"{_READOUT_REMEDY} {_STRIP_REMEDY}"}
"""The remedies of `light_warnings`, by kind."""


class LitOverscan(FrameError):
    """A flat whose overscan holds data: its columns would be lost."""


class Likeness(NamedTuple):
    """A strip and the data beside it.

    Attributes
    ----------
    step : float
        Level of the data minus that of the strip, adu.
    noise, data_noise : float
        Noise of a pixel of the strip and of the data, without that of columns and rows, adu.
    level : float
        Level of the strip, adu.
    brightest : float
        Level of the brightest line of the data, along the strip, minus that of the strip, adu.
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
    Likeness or None
        None if there are too few pixels, if strips lie on two sides of the data, or if one level
        for the frame is that of rows above or below: the sample has none near to them.
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
    lines_sampled = lines[:: max(1, len(lines) // _MOST_ROWS)]
    return Likeness(
        step=float(median(steps)),
        noise=_noise_within(strip),
        data_noise=_noise_within(nearest_lines[:, :_NEIGHBOUR_PIXELS]),
        level=level,
        brightest=float(np.median(lines_sampled, axis=0).max()) - level,
    )


def _strip_side(amplifier, strip):
    """Return 'before' or 'behind' the data, along the sampled lines; None if it is neither."""
    data = amplifier.data
    if amplifier.along == "columns":
        return "behind" if strip.y0 >= data.y1 else "before"
    if strip.shares_columns(data):
        return None
    return "behind" if strip.x0 >= data.x1 else "before"


def _noise_within(pixels):
    """Return the noise of (n, k) pixels about the levels of their columns and of their rows."""
    pixels = pixels[:: max(1, len(pixels) // _MOST_ROWS)].astype(np.float32)
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
    dict of str to Likeness
        By the name of the amplifier, for those with enough pixels.
    """
    likenesses = {
        amplifier.name: compare_strip(samples[amplifier.name], amplifier)
        for amplifier in amplifiers
        if amplifier.name in samples
    }
    return {name: likeness for name, likeness in likenesses.items() if likeness is not None}


def light_warnings(likenesses, amplifiers):
    """Return the warnings on strips that hold light as the data beside them do.

    Parameters
    ----------
    likenesses : dict of str to Likeness
        As `compare_strips` returns it.
    amplifiers : sequence of ccdflow.camera.geometry.Amplifier

    Returns
    -------
    list of (str, str)
        `LIT_OVERSCAN` or, where a flat would leave no doubt, `DATA_FOR_OVERSCAN`, and the
        problem; `REMEDIES` has the remedy.
    """
    warnings = []
    # The strips of the profile are an overscan where one amplifier shows it.
    has_dark = any(is_dark(likenesses[a.name], a) for a in amplifiers if a.name in likenesses)
    for amplifier in amplifiers:
        likeness = likenesses.get(amplifier.name)
        if likeness is not None and is_lit(likeness, amplifier):
            subject = f"amplifier {amplifier.name}: " if len(amplifiers) > 1 else ""
            regions = " ".join(strip.to_fits() for strip in amplifier.overscan)
            is_sure = not has_dark and _is_surely_lit(likeness, amplifier)
            claim = "holds data as the image does" if is_sure else "may hold data"
            problem = (
                f"{subject}the overscan {regions} {claim}: its level ({likeness.level:.4g} adu) is"
                f" that of the columns or rows beside it ({likeness.step:+.2g} adu), its noise"
                f" ({likeness.noise:.3g} adu) that of their photons ({likeness.data_noise:.3g}"
                " adu); allowed: a strip without light"
            )
            warnings.append((DATA_FOR_OVERSCAN if is_sure else LIT_OVERSCAN, problem))
    return warnings


def is_dark(likeness, amplifier):
    """Return whether light ends at a strip: a true overscan beside data with light.

    Parameters
    ----------
    likeness : Likeness
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    bool
    """
    is_brighter = likeness.step > max(likeness.noise, _LEAST_STEP)
    is_noisier = likeness.data_noise > _LIT_NOISE_FACTOR * likeness.noise
    return is_brighter and is_noisier and not is_lit(likeness, amplifier)


def is_lit(likeness, amplifier):
    """Return whether a strip holds light as the data beside it do.

    Parameters
    ----------
    likeness : Likeness
    amplifier : ccdflow.camera.geometry.Amplifier
        With gain (e-/adu) and read noise (e-), or None.

    Returns
    -------
    bool
    """
    gain = amplifier.gain or 1.0
    noise = likeness.noise * gain
    read_noise = amplifier.read_noise if amplifier.gain else None
    if not noise > (_PHOTON_NOISE_RATIO * read_noise if read_noise else _MOST_READ_NOISE):
        return False
    light = noise**2 / gain
    ratio = likeness.data_noise / likeness.noise
    is_alike = 1 / _NOISE_RATIO_TOLERANCE <= ratio <= _NOISE_RATIO_TOLERANCE
    if amplifier.gain and likeness.noise**2 > _most_variance(likeness.level, gain):
        # The photons of this level would have less noise: it is a noisy readout.
        return False
    return is_alike and abs(likeness.step) <= _LEVEL_TOLERANCE_PART * light


def _most_variance(level, gain):
    """Return the variance of a pixel, adu^2, if its whole level were light."""
    return max(level, 0.0) / gain + (_LEAST_RESPONSE * level) ** 2


def _is_surely_lit(likeness, amplifier):
    """Return whether a strip that holds light would do so with another gain or read noise, too."""
    gain, level = amplifier.gain, likeness.level
    if not gain or level < _SURE_LEVEL or likeness.noise * gain < _SURE_NOISE:
        return False
    is_mostly_light = likeness.noise**2 * gain >= _SURE_LIGHT * level
    return is_mostly_light and likeness.brightest <= _SURE_STEP * level
