"""Figures of flats: level, shape, lamp, and the quality of a combined flat."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from ccdflow.detector.bias_figures import Estimate, drift
from ccdflow.detector.frame_figures import UNKNOWN
from ccdflow.detector.split import half_split
from ccdflow.maskbits import UNLIT

COARSE, FINE = 8, 32
"""A flat's shape is measured in 8 x 8 boxes, a spot on it in 32 x 32."""

APERTURE = 50
"""Pixels of the aperture for which it is told what the flat caps."""


@dataclass(frozen=True)
class FlatStatistics:
    """Figures by which a flat is compared with others of its group.

    Parameters
    ----------
    level : float
        Median of the good pixels minus bias and dark, in electrons if the gain is known.
    saturated : float
        Fraction of its pixels that are saturated.
    signal_to_noise : float
        Of a pixel at this level.
    shape, spots : tuple of float
        Medians of 8 x 8 and of 32 x 32 boxes divided by the level, row by row; NaN for a box
        without good pixels.
    noise : float
        Scatter of a pixel divided by the level, from gain and read noise.
    pixels : int
        Number of pixels measured.
    """

    level: float
    saturated: float
    signal_to_noise: float
    shape: tuple[float, ...]
    spots: tuple[float, ...]
    noise: float
    pixels: int


def flat_statistics(sample, *, gain=None, read_noise=0.0, saturated=0.0):
    """Measure one flat on some of its rows.

    Parameters
    ----------
    sample : numpy.ndarray
        Shape ``(k, nx)``: rows of a flat minus bias and dark; NaN where masked. See
        `ccdflow.combine.measuring.sample_members`.
    gain : float or None
        Electrons per unit of the sample; 1 if unknown.
    read_noise : float
        In the unit of the sample.
    saturated : float
        Fraction of saturated pixels.

    Returns
    -------
    FlatStatistics
    """
    gain = gain or 1.0
    finite = sample[np.isfinite(sample)]
    level = float(np.median(finite)) if finite.size else math.nan
    light = max(level, 0.0) * gain
    variance = light + (read_noise * gain) ** 2
    signal_to_noise = light / math.sqrt(variance) if variance > 0 else 0.0
    over = sample / level if level > 0 else np.full_like(sample, np.nan)
    return FlatStatistics(
        level=level * gain,
        saturated=float(saturated),
        signal_to_noise=float(signal_to_noise),
        shape=_boxes(over, COARSE),
        spots=_boxes(over, FINE),
        noise=1 / signal_to_noise if signal_to_noise > 0 else math.inf,
        pixels=int(finite.size),
    )


def _boxes(rows, boxes):
    """Return the medians of boxes; NaN if there are too few pixels for so many boxes."""
    ny, nx = (size // boxes * boxes for size in rows.shape)
    if not ny or not nx:
        return ()
    parts = rows[:ny, :nx].reshape(boxes, ny // boxes, boxes, nx // boxes).swapaxes(1, 2)
    with warnings.catch_warnings():
        # All pixels of a box may be masked.
        warnings.simplefilter("ignore", RuntimeWarning)
        medians = np.nanmedian(parts.reshape(boxes, boxes, -1), axis=2)
    return tuple(float(value) for value in medians.ravel())


@dataclass(frozen=True)
class FlatFigures:
    """One row of the table of combined flats, of one amplifier.

    Parameters
    ----------
    amplifier : str
    frames : int
    level, lowest, highest : float
        Median, lowest and highest level of the members in the amplifier, in electrons if the gain
        is known, otherwise in adu (`unit`).
    unit : {'electron', 'adu'}
    signal_to_noise : float
        Median over the good pixels of the combined flat: the upper limit for a frame divided by
        it.
    aperture_cap : float
        The same for the sum of 50 pixels.
    lamp_drift : Estimate
        Slope of the members' level through the night, per cent an hour.
    ratio : float
        Mean of the amplifier, when the mean of the whole flat is 1.
    unlit : int
        Pixels flagged as unlit.
    noise_ratio : Estimate
        Measured over predicted noise, from two halves of the members.
    """

    amplifier: str
    frames: int
    level: float
    lowest: float
    highest: float
    unit: str
    signal_to_noise: float
    aperture_cap: float
    lamp_drift: Estimate
    ratio: float
    unlit: int
    noise_ratio: Estimate


def measure_flat(flat, *, hours=None):
    """Measure all of the table's figures for a combined flat.

    Parameters
    ----------
    flat : ccdflow.combine.stack.Combined
        Result of `ccdflow.combine.flats.combine_flats`.
    hours : sequence of float, optional
        Times of the members, in hours.

    Returns
    -------
    list of FlatFigures
        One for each amplifier of its noise model.
    """
    return [_measure(flat, amplifier, hours) for amplifier in flat.noise.amplifiers]


def _measure(flat, amplifier, hours):
    y0, y1, x0, x1 = amplifier.region
    part = slice(y0, y1), slice(x0, x1)
    image, errors, mask = flat.image[part], flat.uncertainty[part], flat.mask[part]
    good = (mask == 0) & (errors > 0)
    quality = float(np.median(image[good] / errors[good])) if good.any() else math.nan
    ratio = float(image[good].mean(dtype=np.float64)) if good.any() else math.nan
    levels = flat.levels * ratio * (amplifier.gain or 1.0)
    return FlatFigures(
        amplifier=amplifier.name,
        frames=len(levels),
        level=float(np.median(levels)),
        lowest=float(levels.min()),
        highest=float(levels.max()),
        unit="electron" if amplifier.gain else "adu",
        signal_to_noise=quality,
        aperture_cap=quality * math.sqrt(APERTURE),
        lamp_drift=_lamp(flat.levels, hours),
        ratio=ratio,
        unlit=int(np.count_nonzero(mask & UNLIT)),
        noise_ratio=half_split(flat, amplifier.region),
    )


def _lamp(levels, hours):
    if hours is None:
        return UNKNOWN
    slope = drift(levels, hours).slope
    percent = 100 / float(np.median(levels))
    return Estimate(slope.value * percent, slope.error * percent)
