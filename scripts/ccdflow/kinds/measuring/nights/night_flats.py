"""The findings of a night's flats on a detector: gain, low pixels, columns, two levels."""

from __future__ import annotations

import math

import numpy as np

from ccdflow.detector.photons.night_transfer import Transfer, band_rows, measure_transfer
from ccdflow.detector.pixels.bad_pixels import sample_rows, strips_of_rows
from ccdflow.detector.pixels.columns import pixels_of_parts
from ccdflow.detector.pixels.deep_faults import deep_parts_of_flat
from ccdflow.detector.pixels.response import ContrastSum
from ccdflow.detector.pixels.two_levels import average_levels, nonlinear_mask, split_levels
from ccdflow.kinds.measuring.member_rows import MemberRows, whole_image
from ccdflow.mask_bits import BAD_COLUMN, HOT, NO_DATA, NOT_FINITE, SATURATED, UNLIT
from ccdflow.robust import median_of_numbers

# A flat with a larger fraction of low pixels has structure of its own: a spectrum, stars.
_MOST_LOW_FRACTION = 0.02
# A gain is measured in amplifiers of at least this many pixels on a side. With 16 x 16 pixels a
# pair of flats gives it to 9 %: fewer pixels show too little of it; with a larger number small
# windows have no gain. Chosen, not measured.
_LEAST_SIDE = 16
_ONLY_DEEP = "they show no low pixels, only columns a fifth or more below their neighbours"
_UNUSABLE_BITS = SATURATED | NOT_FINITE | NO_DATA | UNLIT


def transfer_of(night, image, amplifier):
    """Return the photon transfer of an amplifier: gain, departure from linearity, full well.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
        Masters of the night.
    image : ccdflow.frame.products.ProductImage
        Image that the amplifier is a part of.
    amplifier : ccdflow.camera.geometry.Amplifier

    Returns
    -------
    ccdflow.detector.photons.night_transfer.Transfer
        Empty where no two flats of one exposure are without their bias level, and where the
        amplifier is too small.
    """
    flats = [r for r in (*night.flats, *night.flat_pairs) if night.is_level_removed(r, amplifier)]
    usable_records = [night.members_of_known_exposure(flat) for flat in flats]
    usable_records = [r for r in usable_records if len(r.data["members"]) > 1]
    if not usable_records:
        return Transfer()
    noise, error, _ = night.read_noise(amplifier)
    place = night.place(amplifier)
    if min(place.y1 - place.y0, place.x1 - place.x0) < _LEAST_SIDE:
        return Transfer()
    rows = band_rows(place.y0, place.y1)

    def exposures_and_pixels():
        """Yield the exposures of each flat's members, and their sampled rows of the amplifier."""
        for record in usable_records:
            with MemberRows(night, record, image) as stack:
                values = stack.read(rows)[:, :, place.x0 : place.x1]
            yield night.exposures_of(record), values

    return measure_transfer(exposures_and_pixels(), noise, error)


def flag_by_flats(night, image, bad_pixels, *, low_sigma):
    """Flag weak pixels and deep columns of the combined flats; return the useful sources.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    image : ccdflow.frame.products.ProductImage
    bad_pixels : ccdflow.kinds.measuring.nights.night_findings.BadPixelsOfImage
        Changed in place.
    low_sigma : float
        Sigma by which a low pixel is below its neighbours in all flats together.

    Returns
    -------
    sources : set of str
        Those of `ccdflow.detector.pixels.history.SOURCES` that could show bad pixels.
    remarks : list of str
    """
    if not night.flats:
        return set(), []
    # Columns are searched in each amplifier separately: gains are not known well enough to remove
    # the step where two amplifiers meet.
    slices_of_amplifiers = [night.place(amplifier).slices for amplifier in image.amplifiers]
    is_deep, contrasts, has_contrasts = True, ContrastSum(slices_of_amplifiers), False
    for record in night.flats:
        flat, error = _read_flat(night.context.results / record.product, image)
        is_deep = deep_parts_of_flat(flat, error) & is_deep
        if not night.is_of_spectrum(record):
            contrasts.add(flat, error)
            has_contrasts = True
        del flat, error
    bad_pixels.masks["deep"][pixels_of_parts(is_deep, image.shape[0])] |= BAD_COLUMN
    if not has_contrasts:
        return {"deep"}, [f"its flats are spectra: {_ONLY_DEEP}"]
    response = contrasts.response(low_sigma)
    if response.low_fraction > _MOST_LOW_FRACTION:
        return {"deep"}, [
            f"{100 * response.low_fraction:.2g} % of the lit pixels of its flats are lower than"
            f" their neighbours, a structure as fine as pixels: {_ONLY_DEEP}"
        ]
    bad_pixels.masks["flat"], bad_pixels.weak = response.mask, response.weak
    return {"deep", "flat"}, []


def _read_flat(path, image):
    """Return pixels and standard errors of a combined flat; unusable pixels have infinite errors.

    Parameters
    ----------
    path : pathlib.Path
    image : ccdflow.frame.products.ProductImage

    Returns
    -------
    (numpy.ndarray, numpy.ndarray) of shape (ny, nx), float32
        Pixels without a value are 1.
    """
    names = image.hdu, f"UNCERT{image.suffix}", f"MASK{image.suffix}"
    pixels, errors, mask = (whole_image(path, name) for name in names)
    for rows in strips_of_rows(pixels.shape):
        is_absent = ~np.isfinite(pixels[rows])
        is_unusable = (mask[rows] & _UNUSABLE_BITS) != 0
        is_unusable |= ~(errors[rows] > 0)
        is_unusable |= is_absent
        errors[rows][is_unusable] = np.inf
        if is_absent.any():
            np.nan_to_num(pixels[rows], copy=False, nan=1.0)
    return pixels, errors


def flag_by_levels(night, image, amplifier, gain, masks, *, includes_ccdmask):
    """Flag pixels that are not linear between flats of two levels; return whether there are two.

    Hot pixels, which also differ between exposures, are left out: the darks flag these.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    image : ccdflow.frame.products.ProductImage
    amplifier : ccdflow.camera.geometry.Amplifier
    gain : float
        Gain of the amplifier, electrons per adu; no pixel is flagged where it is NaN, not known.
    masks : dict of str to numpy.ndarray of shape (ny, nx), int
        Masks of the image, by source; that of "levels" is changed in place. The mask of "dark" has
        the hot pixels already.
    includes_ccdmask : bool
        Whether pixels that `ccdproc.ccdmask` finds are bad as well.

    Returns
    -------
    bool
    """
    if not math.isfinite(gain):
        return False
    place, has_two_levels = night.place(amplifier), False
    gain_and_noise = gain, night.read_noise(amplifier)[0]
    ny, nx = place.y1 - place.y0, place.x1 - place.x0
    for record in map(night.members_of_known_exposure, night.flats):
        if not record.data["members"] or not night.is_level_removed(record, amplifier):
            continue
        seconds = np.array(night.exposures_of(record), np.float32)[:, None, None]
        dark_rate = night.dark_rate(record, image, place)
        with MemberRows(night, record, image) as stack:

            def read_rows(rows, stack=stack, seconds=seconds, dark_rate=dark_rate):
                """Return rows of the amplifier in all members, minus bias and dark, adu."""
                values = stack.read(rows + place.y0)[:, :, place.x0 : place.x1]
                return values - seconds * dark_rate(rows)

            levels = [median_of_numbers(flat) for flat in read_rows(sample_rows(ny))]
            groups = split_levels(levels)
            if groups is None:
                continue
            averages_of_strips = [
                average_levels(
                    read_rows(np.arange(strip.start, strip.stop)), levels, groups, gain_and_noise
                )
                for strip in strips_of_rows((ny, nx))
            ]
        averages = np.concatenate(averages_of_strips, axis=1)
        flagged_bits = nonlinear_mask(averages, includes_ccdmask=includes_ccdmask)
        flagged_bits[masks["dark"][place.slices] & HOT != 0] = 0
        masks["levels"][place.slices] |= flagged_bits
        has_two_levels = True
    return has_two_levels
