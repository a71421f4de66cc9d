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
from ccdflow.maskbits import BAD_COLUMN, HOT
from ccdflow.robust import median_of_numbers


def flag_by_darks(night, image, amplifier, gain, mask, *, hot_rate, threads=1):
    """Flag an amplifier's pixels by its darks.

    Parameters
    ----------
    night : ccdflow.kinds.measuring.nights.night_masters.NightMasters
    image : ccdflow.frame.products.ProductImage
    amplifier : ccdflow.camera.geometry.Amplifier
    gain : float
        Electrons per adu; NaN where it is not known: 1 is taken.
    mask : numpy.ndarray of shape (ny, nx), int16
        Mask of the image; changed in place.
    hot_rate : float
        A pixel is hot at this many electrons a second above its surroundings.
    threads : int
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

        def read(rows):
            values = np.empty((len(times), len(rows), place.x1 - place.x0), np.float32)
            last = 0
            for stack, record in zip(stacks, records, strict=True):
                first, last = last, last + _member_count(record)
                members = stack.read(rows)[:, :, place.x0 : place.x1]
                np.multiply(members, np.float32(gain), out=values[first:last])
            return values

        shape = place.y1 - place.y0, place.x1 - place.x0
        fit = DarkFit(read(sample_rows(shape[0]) + place.y0), times, noise, drops_hits=True)

        def flag(part):
            """Flag the pixels of a strip; return the sums over its parts of columns."""
            lines = fit.lines(read(np.arange(part.start, part.stop) + place.y0))
            rows = slice(part.start + place.y0, part.stop + place.y0)
            mask[rows, place.x0 : place.x1] |= dark_mask(
                lines, hot_rate=hot_rate, level=fit.rate, noise_factors=fit.noise_factors
            )
            sigma = (lines.rate - fit.rate) / (lines.rate_error * fit.noise_factors.rate)
            sigma = sigma.astype(np.float32)
            sigma[np.isnan(sigma)] = 0
            return sums_of_parts(sigma)

        sums = threaded_map(flag, list(strips_of_rows(shape)), threads)
    _flag_columns(mask, place, np.concatenate(sums))
    return fit.rate


def _flag_hot(night, image, *, place, record, gain, hot_rate, mask):
    """Flag pixels that are hot in the only combined dark; return the rate of the others.

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
    part = place.slices
    factor = np.float32(gain / seconds)
    rate = whole_image(path, image.hdu)[part] * factor
    error = whole_image(path, f"UNCERT{image.suffix}")[part] * factor
    level = float(median_of_numbers(rate))
    usual_error = float(median_of_numbers(error))
    with np.errstate(invalid="ignore"):
        excess = rate - rates_of_surroundings(rate, level)
        is_hot = excess > np.maximum(hot_rate, BAD_SIGMA * np.fmax(error, usual_error))
    mask[part][is_hot | ~np.isfinite(rate)] |= HOT
    sigma = np.nan_to_num((rate - level) / usual_error, nan=0.0).astype(np.float32)
    _flag_columns(mask, place, sums_of_parts(sigma))
    return level


def _flag_columns(mask, place, sums):
    """Flag, in the mask of an image, those columns of an amplifier whose parts are too high."""
    columns = pixels_of_parts(high_parts(sums), place.y1 - place.y0)
    mask[place.slices][columns] |= BAD_COLUMN


def _member_count(record):
    """Return the number of the members of a master, by its record."""
    return len(record.data["members"])
