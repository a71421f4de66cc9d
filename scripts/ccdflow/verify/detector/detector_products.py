"""The verdict on a night's measurements of a detector, and on the maps of its bad pixels."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
from astropy.io import fits

from ccdflow.verify.comparing.comparing import Differs, check_text
from ccdflow.verify.detector.measured_cards import check_measured, sort_of
from ccdflow.verify.detector.night_tables import verify_night
from ccdflow.verify.detector.shutter_maps import verify_shutter
from ccdflow.verify.reading.accounts import NamedMaster
from ccdflow.verify.reading.restated_numbers import BAD_COLUMN, DEAD, HOT, LOW_SIGMA, VARIES
from ccdflow.verify.reading.stored_rows import master_file, open_product
from ccdflow.verify.reading.verdict import MISSING, OLDER, CannotRemake

# Bits that a source may give, by the column of PIXELS.
_ALLOWED_BITS = {
    "DARK": HOT | BAD_COLUMN | VARIES,
    "FLAT": DEAD | BAD_COLUMN,
    "LEVELS": BAD_COLUMN,
    "DEEP": BAD_COLUMN,
}
# Nights by which a number may be below its limit: 0.7 x 90 is 62.99999999999999 and not 63.
_NIGHTS_BY_ROUNDING = 1e-9
# The tables of bad pixels and of pixels that may be low, in a night's product.
_TABLES = ("PIXELS", "WEAK")
_MAP_COLUMNS = ("BITS", "FIRST", "LAST", "SEEN", "LOOKED")


def verify_detector(headers, path, results):
    """Return the verdict on a product of detector/, which is made again and compared.

    It is a map of bad pixels, a night's table of them, or a map of a shutter.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    path, results : pathlib.Path

    Returns
    -------
    dict of str to object
        Fields of a `ccdflow.verify.reading.verdict.Verdict`.

    Raises
    ------
    Differs
        If pixels or cards differ.
    CannotRemake
        If a source is missing, or the product is of an older version.
    """
    with fits.open(path, memmap=False) as hdus:
        check_measured(hdus, path)
        if sort_of(path) == "bad_pixels_":
            return _verify_map(headers[0], hdus, results)
        if sort_of(path) == "pixels_":
            _check_table_of_pixels(headers[0], hdus)
            return verify_night(headers[0], hdus, results)
        return verify_shutter(headers[0], hdus, results)


def _verify_map(first_header, hdus, results):
    """Return the verdict on a map of bad pixels by the tables of its nights."""
    nights = _nights_of_map(first_header, results)
    names = [night.night for night in nights]
    newest = sorted(set(names))[-first_header["BPNIGHTS"] :]
    table = hdus["PIXELS"].data
    newest_nights = [night for night in nights if night.night in newest]
    # Older nights show when a pixel was bad, and do not count for pixels that are jointly low.
    nights = [
        night if night.night in newest else night._replace(weak_pixels=None) for night in nights
    ]
    n_pixels, n_lines = 0, 0
    images = [hdu for hdu in hdus if hdu.name.startswith("MASK")]
    _check_shapes_of_masks(images, _shapes_of_images(nights, results))
    for image_number, hdu in enumerate(images):
        shape, share = hdu.data.shape, first_header["BPSHARE"]
        mask = np.zeros(shape, np.int16)
        index, bits, *_ = pixel_history(newest_nights, image_number, shape, share)
        mask.reshape(-1)[index] = bits
        if n_wrong := int(np.count_nonzero(mask != hdu.data)):
            raise Differs(f"{n_wrong} pixels of {hdu.name} differ from the nights' tables")
        index, _, *columns = pixel_history(nights, image_number, shape, share)
        lines_of_image = table[n_lines : n_lines + index.size]
        y, x = np.divmod(index, shape[1])
        expected_columns = {"IMAGE": np.full(index.size, image_number), "X": x + 1, "Y": y + 1}
        expected_columns |= dict(
            zip(_MAP_COLUMNS, (mask.reshape(-1)[index], *columns), strict=True)
        )
        _compare_columns(lines_of_image, expected_columns)
        n_pixels, n_lines = n_pixels + mask.size, n_lines + index.size
    if n_lines != len(table):
        raise Differs(
            f"PIXELS should have {n_lines} lines by the nights' tables, and has {len(table)}"
        )
    check_text(first_header, "NIGHT", names[-1])
    if first_header["NNIGHTS"] < len(set(names)):
        raise Differs(
            f"NNIGHTS is {len(set(names))} or more, and its card has {first_header['NNIGHTS']}"
        )
    return {"compared": "equal to what the nights' tables give", "pixels": n_pixels, "largest": 0.0}


def _check_shapes_of_masks(images, shapes):
    """Raise unless the masks of a map have these shapes, (ny, nx) each."""
    stored_shapes = [hdu.data.shape for hdu in images]
    if stored_shapes != shapes:
        raise Differs(
            f"the shapes of its masks should be {shapes}, those of the masters that its nights"
            f" name, and are {stored_shapes}"
        )


def _shapes_of_images(nights, results):
    """Return (ny, nx) of each image of a map's nights, by their newest existing master.

    Raises
    ------
    CannotRemake
        If no master of these nights exists.
    """
    for night in reversed(nights):
        names = [str(night.header[word]) for word in night.header if word.startswith("IMCOM")]
        for name in names:
            path = results / unquote(name, errors="surrogateescape")
            if path.is_file():
                images = open_product(path).images
                return [
                    images[hdu].shape
                    for hdu in images
                    if isinstance(hdu, int) and "IMGLEVEL" in images[hdu].header
                ]
    raise CannotRemake(
        "no master of its nights is there, which has the shape of its masks", MISSING
    )


def _compare_columns(table, expected):
    """Raise unless the columns of some lines of PIXELS have these values."""
    for name, values in expected.items():
        if len(table) != len(values):
            raise Differs(
                f"PIXELS should have {len(values)} lines of an image by the nights' tables, and has"
                f" {len(table)}"
            )
        if n_wrong := np.count_nonzero(np.asarray(table[name]) != values):
            raise Differs(
                f"{n_wrong} lines of column {name} of PIXELS differ from the nights' tables"
            )


def _nights_of_map(first_header, results):
    """Return the `NightOfMap` of each night of a map, oldest first."""
    if "IMCOM001" not in first_header:
        raise CannotRemake("the header lacks IMCOM001: it is of an older version", OLDER)
    # Keywords have room for three digits: IMCOM001.
    if first_header["NCOMBINE"] > 999:
        raise CannotRemake("it names only the first 999 of its measurements", OLDER)
    nights = [
        _night_of_map(first_header, number, results)
        for number in range(1, first_header["NCOMBINE"] + 1)
    ]
    names = [night.night for night in nights]
    if names != sorted(names):
        raise Differs("its measurements are not in the order of their nights")
    return nights


class NightOfMap(NamedTuple):
    """The parts of a night's table of pixels that a map of bad pixels needs.

    Attributes
    ----------
    night : str
    sources : list of str
        Sources in which bad pixels were looked for, out of "dark", "flat", "levels" and "deep".
    lines : astropy.io.fits.FITS_rec
        The bad pixels.
    weak_pixels : astropy.io.fits.FITS_rec or None
        The pixels that may be low; None in a night that is too old to count for low pixels.
    header : astropy.io.fits.Header
    """

    night: str
    sources: list[str]
    lines: fits.FITS_rec
    weak_pixels: fits.FITS_rec | None
    header: fits.Header


class PixelHistory(NamedTuple):
    """The n pixels that were ever bad.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Places in the flattened image.
    bits : numpy.ndarray of shape (n,), int16
    first, last : numpy.ndarray of shape (n,), str
        The first and last bad night.
    times_bad, nights_looked : numpy.ndarray of shape (n,), int64
        Number of nights in which the pixel was bad, and number of those since the first bad one in
        which it was looked for.
    """

    index: np.ndarray
    bits: np.ndarray
    first: np.ndarray
    last: np.ndarray
    times_bad: np.ndarray
    nights_looked: np.ndarray


class _WeakPixels(NamedTuple):
    """The n pixels of an image that may be low by the flats of a night.

    Attributes
    ----------
    night_index : int
        Index of the night.
    places : numpy.ndarray of shape (n,), int64
        Places in the flattened image.
    sigma : numpy.ndarray of shape (n,), float32
        Contrast of each pixel in standard deviations, below 0.
    noise_fraction : float
        FLATOWN: the fraction of the variance that is noise of this night alone.
    """

    night_index: int
    places: np.ndarray
    sigma: np.ndarray
    noise_fraction: float


class _JointlyLow(NamedTuple):
    """The n pixels that all nights together show to be low.

    Attributes
    ----------
    index : numpy.ndarray of shape (n,), int64
        Places in the flattened image.
    first, last : numpy.ndarray of shape (n,), int64
        Indices of the first and last night.
    times_low, nights_looked : numpy.ndarray of shape (n,), int64
        Number of nights that list the pixel, and number of nights since the first of these.
    """

    index: np.ndarray
    first: np.ndarray
    last: np.ndarray
    times_low: np.ndarray
    nights_looked: np.ndarray


def _night_of_map(first_header, number, results):
    """Return the `NightOfMap` of the measurement with a number in the cards of a map."""
    name = unquote(str(first_header[f"IMCOM{number:03d}"]), errors="surrogateescape")
    path = master_file(
        NamedMaster(name, first_header[f"IMKEY{number:03d}"]), "measurement", results
    )
    measurement = read_measurement(path)
    check_text(first_header, "CCDFCAM", measurement.header["CCDFCAM"])
    return measurement


def read_measurement(path):
    """Return the `NightOfMap` of a night's table of pixels."""
    with fits.open(path, memmap=False) as hdus:
        header = hdus[0].header
        sources, lines = str(header["LOOKED"]).split(), hdus["PIXELS"].data.copy()
        weak = hdus["WEAK"].data.copy()
        return NightOfMap(str(header["NIGHT"]), sources, lines, weak, header.copy())


def pixel_history(nights, image_number, shape, share):
    """Return the history of the pixels of an image that were ever bad.

    Parameters
    ----------
    nights : sequence of NightOfMap
        Oldest first.
    image_number : int
        Number of the image.
    shape : (int, int)
        (ny, nx) of the image.
    share : float
        Fraction of the nights in which a pixel has to be bad.

    Returns
    -------
    PixelHistory
    """
    low = _find_jointly_low(nights, image_number, shape, share)
    places = [_places_in_image(night.lines, image_number, shape)[0] for night in nights]
    index = np.unique(np.concatenate([low.index, *places]))
    bits = np.zeros(index.size, np.int16)
    times_bad, nights_looked = (np.zeros(index.size, np.int64) for _ in range(2))
    first, last = np.full(index.size, len(nights)), np.full(index.size, -1)
    for source in _ALLOWED_BITS:
        has_source = np.array([source.lower() in night.sources for night in nights], bool)
        bits_by_night = np.zeros((len(nights), index.size), np.int16)
        for row, night, places_of_night in zip(bits_by_night, nights, places, strict=True):
            lines = night.lines[night.lines["IMAGE"] == image_number]
            row[np.searchsorted(index, places_of_night)] = _bits_of_source(lines, source)
        bits_by_night[~has_source] = 0
        is_bad = bits_by_night != 0
        # Nights count from the first one in which a pixel was bad.
        has_begun = np.logical_or.accumulate(is_bad, axis=0)
        nights_counted = (has_begun & has_source[:, None]).sum(axis=0)
        nights_bad = is_bad.sum(axis=0)
        newest = np.zeros(index.size, np.int16)
        for number_of_night, is_bad_then in enumerate(is_bad):
            newest[is_bad_then] = bits_by_night[number_of_night][is_bad_then]
            first[is_bad_then] = np.minimum(first[is_bad_then], number_of_night)
            last[is_bad_then] = np.maximum(last[is_bad_then], number_of_night)
        is_often_bad = nights_bad >= share * nights_counted - _NIGHTS_BY_ROUNDING
        bits[is_often_bad] |= newest[is_often_bad]
        is_oftener = nights_bad > times_bad
        times_bad[is_oftener] = nights_bad[is_oftener]
        nights_looked[is_oftener] = nights_counted[is_oftener]
    places_of_low = np.searchsorted(index, low.index)
    bits[places_of_low] |= DEAD
    first[places_of_low] = np.minimum(first[places_of_low], low.first)
    last[places_of_low] = np.maximum(last[places_of_low], low.last)
    is_oftener = low.times_low > times_bad[places_of_low]
    times_bad[places_of_low[is_oftener]] = low.times_low[is_oftener]
    nights_looked[places_of_low[is_oftener]] = low.nights_looked[is_oftener]
    names = np.array([night.night for night in nights])
    return PixelHistory(index, bits, names[first], names[last], times_bad, nights_looked)


def _places_in_image(lines, image_number, shape):
    """Return the flattened indices of an image's pixels in a table, and which lines have them."""
    is_of_image = lines["IMAGE"] == image_number
    x, y = (lines[name][is_of_image].astype(np.int64) for name in ("X", "Y"))
    return (y - 1) * shape[1] + x - 1, is_of_image


def _find_jointly_low(nights, image_number, shape, share):
    """Return the `_JointlyLow` pixels of an image.

    Parameters
    ----------
    nights : sequence of NightOfMap
        Oldest first.
    image_number : int
        Number of the image.
    shape : (int, int)
        (ny, nx).
    share : float
        Fraction of the nights in which a pixel has to be low.
    """
    keyword, weak_of_nights = f"FLATOWN{image_number}", []
    for night_index, night in enumerate(nights):
        if night.weak_pixels is not None and keyword in night.header:
            places, is_of_image = _places_in_image(night.weak_pixels, image_number, shape)
            sigma, noise_fraction = night.weak_pixels["SIGMA"][is_of_image], night.header[keyword]
            weak_of_nights.append(_WeakPixels(night_index, places, sigma, noise_fraction))
    all_places = [np.empty(0, np.int64), *(weak.places for weak in weak_of_nights)]
    index = np.unique(np.concatenate(all_places))
    if not index.size:
        return _JointlyLow(*[np.empty(0, np.int64)] * 5)
    sigma_by_night = np.zeros((len(weak_of_nights), index.size), np.float32)
    for row, weak in zip(sigma_by_night, weak_of_nights, strict=True):
        row[np.searchsorted(index, weak.places)] = weak.sigma
    is_listed = sigma_by_night < 0
    nights_listed = is_listed.sum(axis=0)
    # Nights count from the first one in which a pixel was listed.
    nights_counted = np.logical_or.accumulate(is_listed, axis=0).sum(axis=0)
    noise_fraction = np.mean([weak.noise_fraction for weak in weak_of_nights])
    # The variance of a sum of terms that share all but their own fraction.
    variance = nights_counted + nights_counted * (nights_counted - 1) * (1 - noise_fraction)
    is_often_low = nights_listed >= np.maximum(
        np.floor(share * nights_counted + _NIGHTS_BY_ROUNDING), 2
    )
    sum_of_nights = sigma_by_night.sum(axis=0, dtype=float)
    is_low = is_often_low & (sum_of_nights < -LOW_SIGMA * np.sqrt(variance))
    night_indices = np.array([weak.night_index for weak in weak_of_nights])
    is_listed = is_listed[:, is_low]
    return _JointlyLow(
        index[is_low],
        night_indices[is_listed.argmax(axis=0)],
        night_indices[::-1][is_listed[::-1].argmax(axis=0)],
        nights_listed[is_low],
        nights_counted[is_low],
    )


def _bits_of_source(lines, source):
    """Return the bits in the column of a source; 0 in a table without this column."""
    # Older results: tables lack the columns of newer sources.
    names = lines.dtype.names
    return np.asarray(lines[source]) if source in names else np.zeros(len(lines), np.int16)


def _check_table_of_pixels(first_header, hdus):
    """Raise unless a night's table has each pixel once, in order, with allowed bits and sigma."""
    lines = hdus["PIXELS"].data
    if not set(str(first_header["LOOKED"]).split()) <= {name.lower() for name in _ALLOWED_BITS}:
        raise Differs(
            f"LOOKED is {first_header['LOOKED']!r}: only the words dark, flat, levels and deep name"
            " sources of bad pixels"
        )
    for name in _TABLES:
        _check_order(name, hdus[name].data)
    sigma = hdus["WEAK"].data["SIGMA"]
    is_wrong = ~(np.isfinite(sigma) & (sigma < 0))
    if is_wrong.any():
        raise Differs(
            f"column SIGMA of WEAK should have numbers below 0, and has {sigma[is_wrong][0]:g}"
        )
    for name, allowed_bits in _ALLOWED_BITS.items():
        bits = _bits_of_source(lines, name)
        if (bits & ~allowed_bits).any():
            wrong_bits = np.bitwise_or.reduce(bits & ~allowed_bits)
            raise Differs(
                f"column {name} of PIXELS has the bits {wrong_bits}, which it cannot have"
            )
        if name.lower() not in str(first_header["LOOKED"]).split() and bits.any():
            raise Differs(f"column {name} of PIXELS has bits, and LOOKED has no {name.lower()}")


def _check_order(name, lines):
    """Raise `Differs` unless a table has its pixels in order, each once."""
    order = np.lexsort((lines["X"], lines["Y"], lines["IMAGE"]))
    if (order != np.arange(len(lines))).any() or (len(lines) and min(lines["X"]) < 1):
        raise Differs(f"the lines of {name} are not in the order of the pixels")
    keys = {tuple(line) for line in zip(lines["IMAGE"], lines["Y"], lines["X"], strict=True)}
    if len(keys) != len(lines):
        raise Differs(f"a pixel is in {name} twice")
