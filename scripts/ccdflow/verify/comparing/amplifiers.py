"""The amplifiers of an image by the cards of a product and of its masters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ccdflow.verify.comparing.comparing import Differs, rounding_of_card
from ccdflow.verify.reading.amplifier_places import place_of, slices_of
from ccdflow.verify.reading.restated_numbers import MEDIAN_VARIANCE

ROUNDING_VARIANCE = 1 / 12
"""Variance of rounding to whole adu, adu^2."""

# The noise of a median of more values than this is drawn from the distribution of the median.
_MOST_SIMULATED_VALUES = 2000
# Largest numbers of random values and of their levels, and the seed: each verification gives the
# same figures.
_MOST_DRAWN_VALUES, _MOST_DRAWN_LEVELS, _SEED = 2_000_000, 20_000, 18
# Relative and absolute tolerance (adu^2) of the variance of a level: both sides draw random levels.
_LEVEL_VARIANCE_TOLERANCE, _LEAST_LEVEL_TOLERANCE = 0.12, 0.002
# Adu by which float32 rounds a limit below 131,072 adu, twice: here and in the maker.
_FLOAT_ROUNDING = 0.01
# Keywords of the cards of a frame's only amplifier, and their beginnings where there are several:
# the number of the amplifier follows, two digits.
_NUMBERED_KEYWORDS = {
    "OVERSCAN": "OVERSC", "BIASLVL": "BIASLV", "OVERRMS": "OVRRMS", "AMPGAIN": "GAIN",
    "GAINMEAS": "GAINME", "OSCNOISE": "OSCNOI", "CNOISPR": "CNOISP", "SATMEAS": "SATMEA",
    "AMPFULL": "AMPFUL",
}  # fmt: skip
# The cards of the overscan recipe, which all amplifiers share.
_SHARED_CARDS = ("OSCSTAT", "OSCMODEL", "OSCORDER", "OSCSIGMA", "OSCITERS")


@dataclass(frozen=True)
class VerifiedAmplifier:
    """An amplifier of an image.

    Attributes
    ----------
    place : (slice, slice)
        Pixels of the amplifier in the image.
    tail : str
        End of the keywords of its cards: two digits, '' for the only amplifier.
    gain : float or None
        Electrons per adu, by which pixels are multiplied.
    photon_gain : float or None
        Electrons per adu, from which the noise of photons follows.
    read_noise : float or None
        MODRN, adu.
    rounding_variance : float
        Variance of rounding that the read noise does not contain, adu^2: 0 where the read noise
        was measured on rounded pixels.
    """

    place: tuple[slice, slice]
    tail: str
    gain: float | None = None
    photon_gain: float | None = None
    read_noise: float | None = None
    rounding_variance: float = ROUNDING_VARIANCE


def tails_of(header):
    """Return the end of the keywords of each amplifier: two digits, or [''] for only one."""
    n_amplifiers = header.get("NAMPS", 1)
    return [f"{number:02d}" for number in range(1, n_amplifiers + 1)] if n_amplifiers > 1 else [""]


def card(header, name, tail, default=None):
    """Return the value of an amplifier's card.

    With the number of an amplifier, a keyword is cut to eight characters.

    Parameters
    ----------
    header : astropy.io.fits.Header
    name : str
        Keyword of the card of an only amplifier.
    tail : str
        Number of the amplifier, two digits; '' for the only one.
    default : object, optional
        The value where there is no card.

    Returns
    -------
    object
        The value of the card, or ``default``.
    """
    return header.get(f"{_NUMBERED_KEYWORDS.get(name, name)[:6]}{tail}" if tail else name, default)


def places_without_level(header, tail):
    """Return the parts of an image whose overscan is saturated, as OSCSAT names them.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of a reduced image.
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    list of (slice, slice)
    """
    return [slices_of(section) for section in str(card(header, "OSCSAT", tail, "")).split()]


def raw_top(header, tail):
    """Return the raw value at the end of an amplifier's converter, as AMPTOP has it.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of a reduced image.
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    float or None
    """
    return number_of_card(card(header, "AMPTOP", tail))


def least_values(header, tail):
    """Return the least reduced values of pixels at the end of the converter, as AMPFULL has them.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of a reduced image.
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    least : float
        The value in all lines of the amplifier outside the parts; infinite without such a pixel.
    parts : list of ((slice, slice), float)
        Lines with another level, and their value.

    Raises
    ------
    Differs
        If the card has another form.
    """
    words = str(card(header, "AMPFULL", tail, "")).split()
    has_least = bool(words) and not words[0].startswith("[")
    places = words[has_least::2], words[has_least + 1 :: 2]
    try:
        least = float(words[0]) if has_least else np.inf
        return least, [
            (slices_of(section), float(value)) for section, value in zip(*places, strict=True)
        ]
    except (ValueError, AttributeError):
        raise Differs(f"AMPFULL{tail} names no values: {' '.join(words)}") from None


def pixels_at_end(image, header, place, tail):
    """Return which reduced pixels are at the end of an amplifier's converter by AMPFULL.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32, any byte order
    header : astropy.io.fits.Header
        Header of the reduced image.
    place : (slice, slice)
        The pixels of the amplifier.
    tail : str
        Number of the amplifier, two digits; '' for the only one.

    Returns
    -------
    numpy.ndarray of shape (ny, nx), bool
    """
    is_at_end = np.zeros(image.shape, bool)
    least, parts = least_values(header, tail)
    is_at_end[place] = image[place] >= np.float32(least)
    for part, value in parts:
        is_at_end[part] = image[part] >= np.float32(value)
    return is_at_end


def header_with_recipe(header, first_header):
    """Return the header of an image with the cards of the overscan recipe.

    Only the first HDU may have these cards.

    Parameters
    ----------
    header, first_header : astropy.io.fits.Header
        Headers of the image and of the first HDU.

    Returns
    -------
    astropy.io.fits.Header
        A copy.
    """
    header_copy = header.copy()
    for keyword in _SHARED_CARDS:
        if keyword in first_header and keyword not in header:
            header_copy[keyword] = first_header[keyword]
    return header_copy


def number_of_card(value):
    """Return the value of a card as a float; None if it is no finite number."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and np.isfinite(value) else None


def limit_rounding(level):
    """Return the adu by which a limit minus a bias level is uncertain.

    The maker has all digits of the level; its card has six.

    Examples
    --------
    >>> round(limit_rounding(1234.56), 3), round(limit_rounding(12345.6), 3)
    (0.015, 0.06)
    """
    return _FLOAT_ROUNDING + rounding_of_card(level)


def readouts_of(header, first_header, reduced_header, bias):
    """Return the `VerifiedAmplifier` of each amplifier of a calibrated image.

    Parameters
    ----------
    header, first_header, reduced_header : astropy.io.fits.Header
        Headers of the image, of the first HDU, and of the reduced image.
    bias : astropy.io.fits.Header or None
        Header of the combined bias, whose RNOISE contains the rounding.

    Returns
    -------
    list of VerifiedAmplifier
    """
    readouts = []
    for tail in tails_of(header):
        header_gain = number_of_card(card(reduced_header, "AMPGAIN", tail))
        gain_of_flats = number_of_card(card(header, "GAINMEAS", tail))
        # Without a gain of profile or header, pixels are multiplied by a measured gain: the common
        # one of all amplifiers where a flat was applied, otherwise that of the amplifier.
        common_gain = number_of_card(first_header.get("GAINMEAS"))
        is_only_amplifier = not tail and header is first_header
        gains = [header_gain, common_gain] if is_only_amplifier else [common_gain, header_gain]
        gain = next((gain for gain in [*gains, gain_of_flats] if gain is not None), None)
        measured_noise = None if bias is None else number_of_card(card(bias, "RNOISE", tail))
        readouts.append(
            VerifiedAmplifier(
                place=place_of(header, tail),
                tail=tail,
                gain=gain,
                photon_gain=gain_of_flats or gain,
                read_noise=number_of_card(card(header, "MODRN", tail)),
                rounding_variance=0.0 if measured_noise else ROUNDING_VARIANCE,
            )
        )
    return readouts


def check_level_noise(name, value, header, readout, *, factor=1.0):
    """Raise unless a card has the noise of an overscan level, within the tolerances.

    Parameters
    ----------
    name : str
        Keyword of the card of an only amplifier, for the error.
    value : float
        The value of the card.
    header : astropy.io.fits.Header
    readout : VerifiedAmplifier
        The amplifier, with a known read noise.
    factor : float, optional
        One adu in the unit of the card.

    Raises
    ------
    Differs
        If the noise differs by more than the tolerances.
    """
    noise = level_noise(header, readout.tail, readout.read_noise, readout.rounding_variance)
    # Older results: the level of a whole frame counts 0.6 of the rounding of a pixel, not all.
    is_frame = card(header, "OSCAXIS", readout.tail) == "frame"
    difference = abs((value / factor) ** 2 - noise**2)
    if difference > _LEVEL_VARIANCE_TOLERANCE * noise**2 + (
        0.5 * ROUNDING_VARIANCE if is_frame else _LEAST_LEVEL_TOLERANCE
    ):
        keyword = f"{name}{readout.tail}"
        raise Differs(f"{keyword} is {noise * factor:.6g}, and its card has {value}")


def level_noise(header, tail, read_noise, rounding_variance):
    """Return the noise of an overscan level by the cards, adu, to 5 %.

    It is the scatter of simulated levels of as many rounded pixels as OVERSCAN has across.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of an image that has OVERSCAN, OSCAXIS, OSCSTAT.
    tail : str
    read_noise : float
        Read noise of a pixel, adu.
    rounding_variance : float
        Variance of rounding that the read noise does not contain, adu^2.

    Returns
    -------
    float
        Standard deviation, adu.
    """
    strips = card(header, "OVERSCAN", tail)
    if not strips:
        return 0.0
    axis = card(header, "OSCAXIS", tail, "rows")
    strip_slices = [slices_of(strip) for strip in strips.split()]
    if axis == "frame":
        n_pixels = sum((y.stop - y.start) * (x.stop - x.start) for y, x in strip_slices)
    else:
        n_pixels = sum((y if axis == "columns" else x).stop - (y if axis == "columns" else x).start
                    for y, x in strip_slices)  # fmt: skip
    pixel_noise = (read_noise**2 + rounding_variance) ** 0.5
    noise = _scatter_of_medians(n_pixels, header.get("OSCSTAT", "median"), round(pixel_noise, 4))
    if axis == "frame" or not header.get("OSCMODEL"):
        return noise
    image_section = (
        slices_of(card(header, "TRIM", tail)) if card(header, "TRIM", tail) else strip_slices[0]
    )
    lines_of_levels = image_section[0] if axis == "rows" else image_section[1]
    n_terms = header["OSCORDER"] + (3 if header["OSCMODEL"] == "spline" else 1)
    return noise * min(1.0, n_terms / (lines_of_levels.stop - lines_of_levels.start)) ** 0.5


# A simulation takes 0.03 s. Frames of a camera have the same strips, and each amplifier has one
# noise: 64 entries hold a camera with many amplifiers.
@lru_cache(maxsize=64)
def _scatter_of_medians(n_values, statistic, noise):
    """Return the scatter of medians or means of rounded pixels about their true level, adu."""
    if statistic == "mean":
        return noise / n_values**0.5
    rng = np.random.default_rng(_SEED)
    n_trials = (
        min(_MOST_DRAWN_LEVELS, _MOST_DRAWN_VALUES // n_values)
        if n_values <= _MOST_SIMULATED_VALUES
        else _MOST_DRAWN_LEVELS
    )
    # The noise has its rounding in it already; the level is anywhere between two whole numbers.
    noise_without_rounding, levels = (
        max(noise**2 - ROUNDING_VARIANCE, 0.0) ** 0.5,
        rng.random((n_trials, 1)),
    )
    if n_values <= _MOST_SIMULATED_VALUES:
        values = rng.standard_normal((n_trials, n_values)) * noise_without_rounding + levels
    else:
        # The median of very many values is normal, and its two middle values are an exponential gap
        # apart.
        middle = (
            rng.standard_normal((n_trials, 1))
            * noise_without_rounding
            * (MEDIAN_VARIANCE / n_values) ** 0.5
            + levels
        )
        gap = rng.exponential(noise_without_rounding * (2 * np.pi) ** 0.5 / n_values, (n_trials, 1))
        values = middle + gap * (0.0 if n_values % 2 else np.array([-0.5, 0.5]))
    return float(np.mean((np.median(np.round(values), axis=1) - levels[:, 0]) ** 2) ** 0.5)
