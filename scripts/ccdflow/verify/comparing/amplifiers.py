"""The amplifiers of an image, as the cards of a product and of its masters have them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ccdflow.verify.comparing.comparing import Differs
from ccdflow.verify.reading.amplifier_places import place_of, slices_of
from ccdflow.verify.reading.restated_numbers import MEDIAN_VARIANCE

ROUNDING = 1 / 12
"""Variance of rounding to whole adu."""

# The noise of a median of more values than this is known by formula, and no values are drawn.
_FEWEST_VALUES_BY_FORMULA = 2000
# Values that are drawn at most, trials at most, and the seed: the same figures each time.
_MOST_DRAWN, _TRIALS, _SEED = 2_000_000, 20_000, 18
# A level's variance may be off by this fraction, 6 % of its noise, and by this many adu^2: levels
# are drawn at random. The variance of a level for a whole frame may be off by half of a pixel's
# rounding.
_LEVEL_VARIANCE_PART, _LEAST_LEVEL_VARIANCE = 0.12, 0.002
# Keywords of cards of one amplifier of several, as they are written before its two digits.
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
        Its pixels in the image.
    tail : str
        '' where it is alone, otherwise the two digits of its cards.
    gain : float or None
        Electrons per adu that its pixels are multiplied by.
    photon_gain : float or None
        Electrons per adu by which the noise of its photons is made.
    read_noise : float or None
        MODRN, adu.
    rounding : float
        Variance of rounding beside that of the read noise, adu^2: 0 where the read noise was
        measured on rounded pixels.
    """

    place: tuple[slice, slice]
    tail: str
    gain: float | None = None
    photon_gain: float | None = None
    read_noise: float | None = None
    rounding: float = ROUNDING


def tails_of(header):
    """Return '' of an image with one amplifier, else the two digits of each."""
    count = header.get("NAMPS", 1)
    return [f"{number:02d}" for number in range(1, count + 1)] if count > 1 else [""]


def card(header, name, tail, default=None):
    """Return the card of an amplifier: its numbered keyword is cut to eight characters.

    Parameters
    ----------
    header : astropy.io.fits.Header
    name : str
        Keyword, as without amplifiers.
    tail : str
        Number of the amplifier, two digits; '' for the only one.
    default : object, optional
        The value where there is no card.

    Returns
    -------
    object
        The card's value, ``default`` without the card.
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
        In all lines of the amplifier but those of the parts; infinite if there is none.
    parts : list of ((slice, slice), float)
        Other lines, and the value there.

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
        return least, [(slices_of(p), float(v)) for p, v in zip(*places, strict=True)]
    except (ValueError, AttributeError):
        raise Differs(f"AMPFULL{tail} names no values: {' '.join(words)}") from None


def pixels_at_end(image, header, place, tail):
    """Return which reduced pixels of an amplifier are at the end of the converter by AMPFULL.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32, any byte order
    header : astropy.io.fits.Header
        Header of the reduced image.
    place : (slice, slice)
        The pixels of the amplifier.
    tail : str
        Its number, two digits; '' for the only one.

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
    """Return an image's header with the recipe of the overscan, which the first HDU alone may have.

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
    """Return a card's number, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and np.isfinite(value) else None


def readouts_of(header, first_header, reduced_header, bias):
    """Return the `VerifiedAmplifier` of each amplifier of a calibrated image.

    Parameters
    ----------
    header, first_header, reduced_header : astropy.io.fits.Header
        Headers of the image, of the first HDU, and of the reduced image.
    bias : astropy.io.fits.Header or None
        Header of the combined bias: its RNOISE was measured on pixels that were rounded.

    Returns
    -------
    list of VerifiedAmplifier
    """
    readouts = []
    for tail in tails_of(header):
        header_gain = number_of_card(card(reduced_header, "AMPGAIN", tail))
        gain_of_flats = number_of_card(card(header, "GAINMEAS", tail))
        # Without a gain of profile or header a measured one turns pixels into electrons: one of all
        # amplifiers where a flat was applied, otherwise the amplifier's own.
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
                rounding=0.0 if measured_noise else ROUNDING,
            )
        )
    return readouts


def check_level_noise(name, value, header, readout, *, factor=1.0):
    """Raise unless a card has the noise of a level: to 6 %, and to a part of its rounding.

    Parameters
    ----------
    name : str
        Keyword of the card, as without amplifiers, for the error.
    value : float
        The value of the card.
    header : astropy.io.fits.Header
    readout : VerifiedAmplifier
        The amplifier; its read noise is known.
    factor : float
        One adu in the unit of the card.

    Raises
    ------
    Differs
        If the noise differs by more than that.
    """
    noise = level_noise(header, readout.tail, readout.read_noise, readout.rounding)
    # Older results: the level of a whole frame counts 0.6 of the rounding of a pixel, not all.
    is_frame = card(header, "OSCAXIS", readout.tail) == "frame"
    difference = abs((value / factor) ** 2 - noise**2)
    if difference > _LEVEL_VARIANCE_PART * noise**2 + (
        0.5 * ROUNDING if is_frame else _LEAST_LEVEL_VARIANCE
    ):
        keyword = f"{name}{readout.tail}"
        raise Differs(f"{keyword} is {noise * factor:.6g}, and its card has {value}")


def level_noise(header, tail, read_noise, rounding):
    """Return the noise of an overscan level that the cards give, adu: to 5 %.

    That of medians or means of rounded overscan pixels, as many as OVERSCAN has across, drawn.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of an image that has OVERSCAN, OSCAXIS, OSCSTAT.
    tail : str
    read_noise : float
        Read noise of a pixel, adu.
    rounding : float
        Variance of rounding that is not in it.

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
        count = sum((y.stop - y.start) * (x.stop - x.start) for y, x in strip_slices)
    else:
        count = sum((y if axis == "columns" else x).stop - (y if axis == "columns" else x).start
                    for y, x in strip_slices)  # fmt: skip
    pixel_noise = (read_noise**2 + rounding) ** 0.5
    noise = _scatter_of_medians(count, header.get("OSCSTAT", "median"), round(pixel_noise, 4))
    if axis == "frame" or not header.get("OSCMODEL"):
        return noise
    kept_section = (
        slices_of(card(header, "TRIM", tail)) if card(header, "TRIM", tail) else strip_slices[0]
    )
    lines_of_levels = kept_section[0] if axis == "rows" else kept_section[1]
    terms = header["OSCORDER"] + (3 if header["OSCMODEL"] == "spline" else 1)
    return noise * min(1.0, terms / (lines_of_levels.stop - lines_of_levels.start)) ** 0.5


# A simulation takes 0.03 s. Frames of a camera have the same strips, and an amplifier one noise: 64
# entries hold a camera with many amplifiers.
@lru_cache(maxsize=64)
def _scatter_of_medians(count, statistic, noise):
    """Return the scatter of medians of ``count`` rounded pixels about their level."""
    if statistic == "mean":
        return noise / count**0.5
    rng = np.random.default_rng(_SEED)
    trials = min(_TRIALS, _MOST_DRAWN // count) if count <= _FEWEST_VALUES_BY_FORMULA else _TRIALS
    # The noise has its rounding in it already; the level is anywhere between two whole numbers.
    noise_without_rounding, levels = max(noise**2 - ROUNDING, 0.0) ** 0.5, rng.random((trials, 1))
    if count <= _FEWEST_VALUES_BY_FORMULA:
        values = rng.standard_normal((trials, count)) * noise_without_rounding + levels
    else:
        # The two middle values of very many are normal, and an exponential gap apart.
        middle = (
            rng.standard_normal((trials, 1))
            * noise_without_rounding
            * (MEDIAN_VARIANCE / count) ** 0.5
            + levels
        )
        gap = rng.exponential(noise_without_rounding * (2 * np.pi) ** 0.5 / count, (trials, 1))
        values = middle + gap * (0.0 if count % 2 else np.array([-0.5, 0.5]))
    return float(np.mean((np.median(np.round(values), axis=1) - levels[:, 0]) ** 2) ** 0.5)
