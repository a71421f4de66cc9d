"""The findings of a night's darks on a detector: hot and varying pixels, columns, the rate."""

from __future__ import annotations

import math
from contextlib import ExitStack

import numpy as np

from ccdflow.detector.pixels.bad_pixels import (
    BAD_SIGMA,
    DarkFit,
    dark_mask,
    rates_of_surroundings,
    sample_rows,
    strips_of_rows,
)
from ccdflow.detector.pixels.columns import high_parts, pixels_of_parts, sums_of_parts
from ccdflow.detector.threaded_map import threaded_map
from ccdflow.kinds.measuring.member_rows import MemberRows, whole_image
from ccdflow.mask_bits import BAD_COLUMN, HOT
from ccdflow.robust import median_of_numbers


def flag_by_darks(night, image, amplifier, gain, mask, *, hot_rate, threads=1):
    """Flag an amplifier's pixels by its darks; return its dark current.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    image : ccdflow.frame.products.ProductImage
    amplifier : ccdflow.camera.geometry.Amplifier
    gain : float
        Electrons per adu; 1 is used where it is NaN, not known.
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the image; changed in place.
    hot_rate : float
        A pixel is hot if it is more than this above its surroundings, electrons a second.
    threads : int, optional
        The flags do not depend on it.

    Returns
    -------
    float or None
        The median dark current, electrons a second; None where no dark gives it.
    """
    records = night.darks_of_one_temperature()
    if not records:
        return None
    gain = gain if math.isfinite(gain) else 1.0
    place = night.place(amplifier)
    if len({round(r.data["seconds"], 3) for r in records}) < 2:
        return _flag_hot(
            night, image, place=place, record=records[0], gain=gain, hot_rate=hot_rate, mask=mask
        )
    noise = night.read_noise(amplifier)[0] * gain
    times = [t for record in records for t in [record.data["seconds"]] * _member_count(record)]
    with ExitStack() as exit_stack:
        stacks = [exit_stack.enter_context(MemberRows(night, r, image)) for r in records]

        def read_rows(rows):
            """Return rows of the amplifier in all darks, electrons: (n, k, nx), float32."""
            values = np.empty((len(times), len(rows), place.x1 - place.x0), np.float32)
            stop = 0
            for stack, record in zip(stacks, records, strict=True):
                first, stop = stop, stop + _member_count(record)
                members = stack.read(rows)[:, :, place.x0 : place.x1]
                np.multiply(members, np.float32(gain), out=values[first:stop])
            return values

        shape = place.y1 - place.y0, place.x1 - place.x0
        fit = DarkFit(read_rows(sample_rows(shape[0]) + place.y0), times, noise, drops_hits=True)

        def flag_strip(strip):
            """Flag the pixels of a strip; return the sums over its parts of columns."""
            lines = fit.lines(read_rows(np.arange(strip.start, strip.stop) + place.y0))
            rows = slice(strip.start + place.y0, strip.stop + place.y0)
            mask[rows, place.x0 : place.x1] |= dark_mask(
                lines, hot_rate=hot_rate, level=fit.rate, noise_factors=fit.noise_factors
            )
            significance = (lines.rate - fit.rate) / (lines.rate_error * fit.noise_factors.rate)
            significance = significance.astype(np.float32)
            significance[np.isnan(significance)] = 0
            return sums_of_parts(significance)

        sums = threaded_map(flag_strip, list(strips_of_rows(shape)), threads)
    _flag_columns(mask, place, np.concatenate(sums))
    return fit.rate


def _flag_hot(night, image, *, place, record, gain, hot_rate, mask):
    """Flag the hot pixels of a combined dark, by its own errors; return its median rate.

    Pixels without a value are flagged as well, and columns that are too bright.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    image : ccdflow.frame.products.ProductImage
    place : ccdflow.camera.sections.Region
        Place of an amplifier in the image.
    record : ccdflow.run.job_records.Record
        Record of the combined dark.
    gain : float
        Electrons per adu.
    hot_rate : float
        Electrons a second: more than this above the surroundings is hot.
    mask : numpy.ndarray of shape (ny, nx), int16
        Changed in place.

    Returns
    -------
    float
        Electrons a second.
    """
    path, seconds = night.context.results / record.product, record.data["seconds"]
    factor = np.float32(gain / seconds)
    rate = whole_image(path, image.hdu)[place.slices] * factor
    error = whole_image(path, f"UNCERT{image.suffix}")[place.slices] * factor
    median_rate = float(median_of_numbers(rate))
    median_error = float(median_of_numbers(error))
    with np.errstate(invalid="ignore"):
        excess = rate - rates_of_surroundings(rate, median_rate)
        is_hot = excess > np.maximum(hot_rate, BAD_SIGMA * np.fmax(error, median_error))
    mask[place.slices][is_hot | ~np.isfinite(rate)] |= HOT
    significance = np.nan_to_num((rate - median_rate) / median_error, nan=0.0).astype(np.float32)
    _flag_columns(mask, place, sums_of_parts(significance))
    return median_rate


def _flag_columns(mask, place, sums):
    """Flag in an image's mask the parts of an amplifier's columns that are too bright.

    Parameters
    ----------
    mask : numpy.ndarray of shape (ny, nx), int16
        Changed in place.
    place : ccdflow.camera.sections.Region
        Place of the amplifier in the image.
    sums : numpy.ndarray of shape (k, nx), float32
        Sums of the significance of its pixels over parts of columns (`sums_of_parts`).
    """
    columns = pixels_of_parts(high_parts(sums), place.y1 - place.y0)
    mask[place.slices][columns] |= BAD_COLUMN


def _member_count(record):
    """Return the number of members of the master that a record is of."""
    return len(record.data["members"])
