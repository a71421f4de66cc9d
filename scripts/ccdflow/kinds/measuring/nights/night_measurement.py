"""The measurement of a detector from the masters of a night and their members."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ccdflow.detector.pixels.history import SOURCES
from ccdflow.detector.threaded_map import threaded_map
from ccdflow.kinds.measuring import detector_sentences
from ccdflow.kinds.measuring.nights.night_darks import flag_by_darks
from ccdflow.kinds.measuring.nights.night_findings import BadPixelsOfImage, NightFindings
from ccdflow.kinds.measuring.nights.night_flats import flag_by_flats, flag_by_levels, transfer_of
from ccdflow.kinds.measuring.nights.night_masters import positive_or_nan
from ccdflow.mask_bits import BAD_COLUMN, DEAD, HOT, VARIES


def measure_night(night, hot_rate, *, includes_ccdmask, low_sigma, threads=1):
    """Measure a detector by a night's darks and flats.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    hot_rate : float
        A pixel is hot if it is more than this above its surroundings, electrons a second.
    includes_ccdmask : bool
        Whether pixels that `ccdproc.ccdmask` finds in flats of two levels are bad as well.
    low_sigma : float
        Sigma by which a low pixel is below its neighbours in all flats together.
    threads : int, optional
        The findings do not depend on it.

    Returns
    -------
    ccdflow.kinds.measuring.nights.night_findings.NightFindings
    """
    images, figures, remarks, sources_used = [], [], [], set()
    has_several_amplifiers = sum(len(image.amplifiers) for image in night.images) > 1
    for image in night.images:
        bad_pixels = BadPixelsOfImage({name: np.zeros(image.shape, np.int16) for name in SOURCES})
        # Two threads: each of the two functions reads the flats from the disk.
        transfers, (sources_of_image, texts) = threaded_map(
            lambda measure: measure(),
            (
                lambda image=image: {
                    a.name: transfer_of(night, image, a) for a in image.amplifiers
                },
                partial(flag_by_flats, night, image, bad_pixels, low_sigma=low_sigma),
            ),
            threads,
        )
        remarks += texts
        rates = {}
        for amplifier in image.amplifiers:
            gain = amplifier.gain or transfers[amplifier.name].gain
            masks = bad_pixels.masks
            rate = flag_by_darks(
                night, image, amplifier, gain, masks["dark"], hot_rate=hot_rate, threads=threads
            )
            rates[amplifier.name] = math.nan if rate is None else rate
            if rate is not None:
                sources_of_image.add("dark")
            if flag_by_levels(
                night, image, amplifier, gain, masks, includes_ccdmask=includes_ccdmask
            ):
                sources_of_image.add("levels")
        sources_used |= sources_of_image
        images.append(bad_pixels)
        mask = np.bitwise_or.reduce(list(bad_pixels.masks.values()))
        for amplifier in image.amplifiers:
            values = _figures_of_amplifier(night, amplifier, transfers[amplifier.name])
            values |= _bad_pixel_counts(
                night, mask[night.place(amplifier).slices], sources_of_image
            )
            figures.append(values | {"dark_rate": rates[amplifier.name]})
            remarks += _sentences_on_amplifier(
                night, amplifier, values, has_several_amplifiers=has_several_amplifiers
            )
    return NightFindings(images, figures, sorted(sources_used), remarks)


def _sentences_on_amplifier(night, amplifier, values, *, has_several_amplifiers):
    """Return the sentences on an amplifier: on the claims of its header, and on full pixels.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    amplifier : ccdflow.camera.geometry.Amplifier
    values : dict of str to object
        Figures of the amplifier.
    has_several_amplifiers : bool
        Whether the sentences name the amplifier.
    """
    return [
        *detector_sentences.sentences_on_claims(
            values, has_several_amplifiers=has_several_amplifiers
        ),
        *detector_sentences.sentences_on_full_pixels(
            night, amplifier, values, has_several_amplifiers=has_several_amplifiers
        ),
    ]


def _bad_pixel_counts(night, mask, sources_of_image):
    """Return the numbers of an amplifier's bad pixels by their flaw; NaN where none could show.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    mask : numpy.ndarray of shape (ny, nx), int16
        The flaws of the amplifier's pixels.
    sources_of_image : set of str
        Those of `ccdflow.detector.pixels.history.SOURCES` that could show bad pixels of its image.
    """
    has_several_exposures = (
        len({round(r.data["seconds"], 3) for r in night.darks_of_one_temperature()}) > 1
    )
    bits = {
        "hot": (HOT, "dark" in sources_of_image),
        "varies": (VARIES, "dark" in sources_of_image and has_several_exposures),
        "low": (DEAD, "flat" in sources_of_image),
        "columns": (BAD_COLUMN, bool({"dark", "flat", "levels"} & sources_of_image)),
    }
    # The source "deep" alone shows bad columns, but cannot show the absence of bad columns.
    if np.any(mask & BAD_COLUMN):
        bits["columns"] = BAD_COLUMN, True
    return {
        name: int(np.count_nonzero(mask & bit)) if is_known else math.nan
        for name, (bit, is_known) in bits.items()
    }


def _figures_of_amplifier(night, amplifier, transfer):
    """Return an amplifier's gain, read noise, linearity and full well, by their columns' names."""
    noise, error, is_measured = night.read_noise(amplifier)
    gain = transfer.gain if math.isfinite(transfer.gain) else amplifier.gain or math.nan
    facts = night.row.facts
    return {
        "amplifier": amplifier.name,
        "flats": transfer.n_frames,
        "level": transfer.level,
        "gain": transfer.gain,
        "gain_error": transfer.gain_error,
        "gain_used": amplifier.gain or math.nan,
        "gain_header": header_value_of_amplifier(night, amplifier.gain, facts["gain"]),
        "read_noise": noise * gain if is_measured else math.nan,
        "read_noise_error": (
            _read_noise_error(noise, error, transfer) if is_measured else math.nan
        ),
        "read_noise_used": amplifier.read_noise or math.nan,
        "read_noise_header": header_value_of_amplifier(
            night, amplifier.read_noise, facts["rdnoise"]
        ),
        "departure": transfer.departure,
        "departure_error": transfer.departure_error,
        "full_well": transfer.full_well,
    }


def header_value_of_amplifier(night, amplifier_value, frame_value):
    """Return the gain or read noise that the header gives an amplifier.

    A header that describes several amplifiers has a value for each; any other has one for the
    frame.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    amplifier_value : float or None
        Gain or read noise of the amplifier in the geometry.
    frame_value : float, int, str or None
        Gain or read noise of the whole frame, as in the inventory.

    Returns
    -------
    float
        NaN where the header has none.
    """
    geometry = night.context.store.geometry(night.row.geometry)
    has_own_value = geometry.source == "header" and len(geometry.amplifiers) > 1
    return positive_or_nan(amplifier_value if has_own_value else frame_value)


def _read_noise_error(noise, error, transfer):
    """Return the error of a read noise, electrons, by noise and error in adu; NaN if unknown."""
    if not math.isfinite(transfer.gain):
        return math.nan
    return math.hypot(error * transfer.gain, noise * transfer.gain_error)
