"""Properties of the amplifiers that read a frame: gain, read noise, level and its noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ccdflow.camera.sections import Region
from ccdflow.frame.converter_end import ConverterEnd
from ccdflow.robust import MEDIAN_VARIANCE

ROUNDING_VARIANCE = 1 / 12
"""Variance that rounding to whole adu adds, adu^2."""

# Adu. For a smaller mean gap between two values the formula's exponential would overflow; the first
# terms of a series replace it, which are right to 6e-4.
_SMALL_GAP = 1e-2


@dataclass(frozen=True)
class Readout:
    """An amplifier of one image of a reduced frame.

    Attributes
    ----------
    region : ccdflow.camera.sections.Region
        Region of its pixels in the image.
    name : str
    gain : float or None
        Electrons per adu by profile or header, by which the pixels are multiplied; None if unknown.
    measured_gain : float or None
        Electrons per adu from pairs of flats, by which the noise of the photons is computed; None
        if it agrees with `gain`, or is not measured.
    read_noise : float or None
        Read noise of a pixel, adu. A value measured from pairs of biases takes precedence over the
        header's.
    rounding_variance : float
        Variance added by rounding to whole adu, adu^2; 0 if ``read_noise`` was measured on rounded
        pixels, and thus includes it.
    level : float
        Mean overscan level that was subtracted, adu; 0 if none was.
    level_variance : float
        Variance of the level of a row or column, adu^2, which is common to its pixels.
    saturation : float or None
        Raw value at which a pixel saturates, adu.
    is_saturation_measured : bool
        Whether `saturation` was measured in flats: the frame's own mask does not flag it.
    is_level_subtracted : bool
        Whether the frame's overscan level was subtracted.
    linear : float or None
        Raw value above which the response is not linear, adu.
    is_dead : bool
        Whether all pixels of the amplifier have one value in the frame.
    without_level : tuple of ccdflow.camera.sections.Region
        Regions of the image whose overscan is saturated: their level is not known.
    converter : ccdflow.frame.converter_end.ConverterEnd or None
        The end of the amplifier's converter, with the frame's pixels there; None if unknown.
    """

    region: Region
    name: str = "A"
    gain: float | None = None
    measured_gain: float | None = None
    read_noise: float | None = None
    rounding_variance: float = ROUNDING_VARIANCE
    level: float = 0.0
    level_variance: float = 0.0
    saturation: float | None = None
    is_level_subtracted: bool = True
    linear: float | None = None
    is_saturation_measured: bool = False
    is_dead: bool = False
    without_level: tuple[Region, ...] = ()
    converter: ConverterEnd | None = None

    @property
    def without_frame_values(self):
        """The readout with the default of each value that changes from frame to frame."""
        return replace(
            self, level=0.0, saturation=None, is_level_subtracted=True, linear=None,
            is_saturation_measured=False, is_dead=False, without_level=(), converter=None,
        )  # fmt: skip

    @property
    def lowest_saturation(self):
        """Lowest raw value that is saturated, adu, by saturation or converter; None if unknown."""
        tops = [self.saturation, None if self.converter is None else self.converter.top]
        return min((top for top in tops if top is not None), default=None)

    @property
    def photon_gain(self):
        """Electrons per adu by which the noise of photons is computed; None if unknown."""
        return self.measured_gain or self.gain


@dataclass(frozen=True)
class AmplifierReduction:
    """The reduction of the pixels of one amplifier of a frame.

    Attributes
    ----------
    level : float or None
        Mean overscan level that was subtracted, adu; None if none was.
    is_dead : bool
        Whether all pixels of the amplifier have one value in the frame.
    without_level : tuple of ccdflow.camera.sections.Region
        Regions of the image whose overscan is saturated.
    converter : ccdflow.frame.converter_end.ConverterEnd or None
        The end of the amplifier's converter, with the frame's pixels there; None if unknown.
    """

    level: float | None = None
    is_dead: bool = False
    without_level: tuple[Region, ...] = ()
    converter: ConverterEnd | None = None


@dataclass(frozen=True)
class MeasuredReadout:
    """The figures of an amplifier by biases and flats; None for a figure that is not measured.

    Attributes
    ----------
    read_noise : float or None
        Read noise of a pixel, adu, measured on rounded pixels: it includes their rounding.
    gain : float or None
        Electrons per adu by which the pixels are multiplied.
    photon_gain : float or None
        Electrons per adu by which the noise of the photons is computed.
    full_well : float or None
        Adu above bias at which a pixel is full.
    """

    read_noise: float | None = None
    gain: float | None = None
    photon_gain: float | None = None
    full_well: float | None = None


def readout_of(amplifier, recipe, reduction, measured_readout):
    """Return the `Readout` of an amplifier of a geometry.

    Parameters
    ----------
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
        Recipe by which the frame was reduced.
    reduction : AmplifierReduction
        The reduction of this amplifier in the frame.
    measured_readout : MeasuredReadout
        Its gain and read noise take precedence over those of the amplifier. Its full well is used
        if the amplifier has no saturation.

    Returns
    -------
    Readout
    """
    level, read_noise = reduction.level, measured_readout.read_noise
    full_well = measured_readout.full_well
    gain = amplifier.gain if measured_readout.gain is None else measured_readout.gain
    # The full well is above bias: without a subtracted level the raw value is not known.
    is_full_well_used = amplifier.saturation is None and full_well is not None and level is not None
    # A factor that amplifiers share because their flat is in adu is no gain of one of them.
    own_gain = amplifier.gain or measured_readout.photon_gain or gain
    if read_noise is None and amplifier.read_noise is not None and own_gain:
        read_noise = amplifier.read_noise / own_gain
    rounding_variance = ROUNDING_VARIANCE if measured_readout.read_noise is None else 0.0
    variance = 0.0
    if level is not None and read_noise is not None:
        variance = level_variance(amplifier, recipe, read_noise**2 + rounding_variance)
    return Readout(
        region=recipe.region_of(amplifier),
        name=amplifier.name,
        gain=gain,
        measured_gain=measured_readout.photon_gain,
        read_noise=read_noise,
        rounding_variance=rounding_variance,
        level=0.0 if level is None else level,
        level_variance=variance,
        saturation=full_well + level if is_full_well_used else amplifier.saturation,
        is_saturation_measured=is_full_well_used,
        is_level_subtracted=level is not None,
        linear=amplifier.linear,
        is_dead=reduction.is_dead,
        without_level=reduction.without_level,
        converter=reduction.converter,
    )


def level_variance(amplifier, recipe, pixel_variance):
    """Return the variance of an overscan level, adu^2, the rounding of its median included.

    Parameters
    ----------
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe
    pixel_variance : float
        Variance of an overscan pixel, rounding included, adu^2.

    Returns
    -------
    float
        Adu^2.
    """
    ratio = level_variance_ratio(amplifier, recipe)
    if recipe.statistic == "mean":
        return ratio * pixel_variance
    count = _pixels_of_a_level(amplifier)
    # In a camera quieter than one adu most pixels are equal: their scatter lacks a part of the
    # rounding, which is in their median.
    pixel_variance = max(pixel_variance, ROUNDING_VARIANCE)
    noise = (pixel_variance - ROUNDING_VARIANCE) ** 0.5
    return ratio * (pixel_variance + median_rounding(count, noise) / median_variance(count))


def level_variance_ratio(amplifier, recipe):
    """Return the variance of an overscan level over that of a pixel, without rounding.

    Parameters
    ----------
    amplifier : ccdflow.camera.geometry.Amplifier
    recipe : ccdflow.camera.reduction_recipe.ReductionRecipe

    Returns
    -------
    float
        For example 0.062 for the median of 25 columns. A polynomial of order p along n rows reduces
        it by a factor of (p + 1) / n on average.
    """
    count = _pixels_of_a_level(amplifier)
    variance = mean_variance(count) if recipe.statistic == "mean" else median_variance(count)
    if recipe.model is None or amplifier.along == "frame":
        return variance
    rows = amplifier.data.shape[0 if amplifier.along == "rows" else 1]
    terms = recipe.order + (3 if recipe.model == "spline" else 1)
    return variance * min(1.0, terms / rows)


def _pixels_of_a_level(amplifier):
    """Return the number of overscan pixels that give one level."""
    if amplifier.along == "frame":
        return sum(strip.size for strip in amplifier.overscan)
    return sum(strip.shape[int(amplifier.along == "rows")] for strip in amplifier.overscan)


def mean_variance(count):
    """Return the variance of the mean of ``count`` normal values of variance 1."""
    return 1.0 / max(count, 1)


def median_variance(count):
    """Return the variance of the median of ``count`` normal values of variance 1.

    Fits to the integrals over order statistics, to 0.4 % for up to a hundred values. For many
    values it is pi / 2 times the variance of their mean.

    Examples
    --------
    >>> [round(median_variance(count), 4) for count in (1, 2, 3, 25)]
    [0.9963, 0.5003, 0.4497, 0.0617]
    """
    if count < 1:
        return 0.0
    # The constants of the fits to even and odd numbers of values.
    addend = 1.4 - 0.52 / count if count % 2 == 0 else 0.43 + 0.22 / (count + 0.5)
    return float(MEDIAN_VARIANCE / (count + addend))


def median_rounding(count, noise):
    """Return the variance that whole adu add to the median of ``count`` pixels, adu^2.

    The median of an odd number of pixels is the rounded median of the unrounded pixels, with the
    variance of rounding, 1/12. The median of an even number is the mean of two rounded values. The
    gap between the two is exponentially distributed, with a mean of noise x sqrt(2 pi) / count (by
    the density of a normal distribution at its median). Values far apart are rounded independently,
    and their mean has half of 1/12; values very near to each other are rounded alike, and their
    mean has 1/12. For a gap with the fractional part g the errors of rounding correlate by 1 - 6 g
    (1 - g), the Fourier series of a sawtooth. `median_variance` times the variance of a pixel
    already includes the rounding of each pixel, which is subtracted here.

    Parameters
    ----------
    count : int
    noise : float
        Noise of an unrounded pixel, adu.

    Returns
    -------
    float

    Examples
    --------
    >>> [round(12 * median_rounding(count, 10.0), 2) for count in (1, 6, 24, 25, 100_000)]
    [0.0, 0.29, 0.45, 0.94, 1.0]
    """
    if count < 1:
        return 0.0
    ratio = 1.0 if count % 2 else _rounding_of_mean(noise * (2 * np.pi) ** 0.5 / count)
    return ROUNDING_VARIANCE * max(ratio - median_variance(count), 0.0)


def _rounding_of_mean(gap):
    """Return the variance by rounding of the mean of two values, over that of one value.

    ``gap`` is the mean distance of the two values, adu.
    """
    if gap < _SMALL_GAP:
        # The first terms of the series of the formula below.
        return 1.0 - 3 * gap
    # The first two moments of the fractional part of an exponentially distributed number.
    remainder = 1 / np.expm1(1 / gap)
    mean, mean_square = gap - remainder, 2 * gap**2 - (1 + 2 * gap) * remainder
    return float(1.0 - 3 * (mean - mean_square))
