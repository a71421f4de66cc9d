"""A night's table of bad pixels made again from the darks and flats that it names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from astropy.io import fits

from ccdflow import paths
from ccdflow.verify.comparing.amplifiers import card, number_of_card, tails_of
from ccdflow.verify.comparing.comparing import DERIVED_ROUNDING, Differs, check_figure, check_value
from ccdflow.verify.comparing.extensions import extension_name
from ccdflow.verify.detector import dark_pixels, flat_pixels
from ccdflow.verify.detector.pixel_bits import NEAR_LIMIT_FRACTION, OpenBits
from ccdflow.verify.reading.accounts import NamedMaster, masters_of, product_of
from ccdflow.verify.reading.amplifier_places import place_of
from ccdflow.verify.reading.measured_gains import measured_gains
from ccdflow.verify.reading.restated_numbers import (
    BAD_COLUMN,
    HOT,
    NO_DATA,
    NOT_FINITE,
    SATURATED,
    UNLIT,
)
from ccdflow.verify.reading.stored_rows import master_file, open_product, rows_of
from ccdflow.verify.reading.verdict import MISSING, MODEL, OLDER, CannotRemake

SOURCES = ("DARK", "FLAT", "LEVELS", "DEEP")
"""The sources that show bad pixels: columns of PIXELS. LOOKED has them in lower case."""

USES = ("dark", "flat", "spectrum", "not used")
"""The uses of a night's masters in the cards IMUSE001 and so on."""

# Bits of flats' pixels whose values do not depend on the detector.
_USELESS_BITS = SATURATED | NOT_FINITE | NO_DATA | UNLIT
# Fraction of low pixels above which a night's flats show no low pixels: night_flats.py.
_MOST_LOW_FRACTION = 0.02
# Relative rounding of SIGMA: it is divided by a scatter of float32 values.
_SIGMA_ROUNDING = 1e-4
# All rows, or all columns.
_ALL = slice(None)


@dataclass(frozen=True)
class NightMaster:
    """A combined dark or flat of a night, with its members.

    Attributes
    ----------
    path : pathlib.Path
    use : str
        One of `USES`.
    results : pathlib.Path
        The results folder.
    """

    path: Path
    use: str
    results: Path

    @property
    def first_header(self):
        """The first header of the file."""
        return open_product(self.path).first_header

    @property
    def members(self):
        """The paths of the members' reduced frames."""
        names = [str(self.first_header[k]) for k in self.first_header if k.startswith("IMC")]
        names = [product_of(unquote(name, errors="surrogateescape")) for name in names]
        return [self.results / name for name in names]

    @property
    def master_paths(self):
        """{'bias' or 'dark': path} of the masters that were subtracted from the members."""
        records = masters_of(self.first_header)
        return {kind: master_file(record, kind, self.results) for kind, record in records.items()}

    def header(self, hdu):
        """Return the header of an image of the first member.

        Parameters
        ----------
        hdu : int

        Returns
        -------
        astropy.io.fits.Header

        Raises
        ------
        CannotRemake
            If the first member is missing.
        """
        member = self.members[0]
        if not member.is_file():
            raise CannotRemake(f"{member.name}, a member of a master, is missing", MISSING)
        return open_product(member).images[hdu].header

    def has_level_subtracted(self, hdu, tail):
        """Return whether the bias level of an amplifier has been subtracted from the members.

        Parameters
        ----------
        hdu : int
        tail : str
            Number of the amplifier, two digits; '' for the only one.

        Returns
        -------
        bool

        Raises
        ------
        CannotRemake
            If the first member is missing.
        """
        header = self.header(hdu)
        return bool(card(header, "OVERSCAN", tail)) or "bias" in masters_of(self.first_header)

    def read(self, hdu, rows):
        """Return some rows of the members minus their bias, adu; NaN where masked.

        Parameters
        ----------
        hdu : int
        rows : numpy.ndarray of shape (k,), int

        Returns
        -------
        numpy.ndarray of shape (n, k, nx), float64
        """
        rows_of_members, mask_name = [], extension_name("MASK", hdu)
        bias = self.master_paths.get("bias")
        level = 0.0 if bias is None else rows_of(bias, hdu, rows, "bias").astype(float)
        for path in self.members:
            values = rows_of(path, hdu, rows, "member").astype(float) - level
            if mask_name in open_product(path).images:
                values[rows_of(path, mask_name, rows, "member") != 0] = np.nan
            rows_of_members.append(values)
        return np.array(rows_of_members)

    def seconds(self):
        """Return the exposure of each member, s: (n,).

        Raises
        ------
        CannotRemake
            If the EXPTIME of a member is not a number.
        """
        exposures = [
            number_of_card(open_product(path).first_header.get("EXPTIME")) for path in self.members
        ]
        if None in exposures:
            raise CannotRemake(
                "the EXPTIME of a flat that it was measured from is not a number", MODEL
            )
        return np.array(exposures)


@dataclass(frozen=True)
class NightImage:
    """An image of a night's table.

    Attributes
    ----------
    hdu : int
        Index of the image's HDU in the masters.
    header : astropy.io.fits.Header
        Header of a master's image.
    noises : dict of str to (float, float or None)
        Read noise, adu, and gain, electrons per adu, by the tails of the amplifiers.
    """

    hdu: int
    header: fits.Header
    noises: dict[str, tuple[float, float | None]]

    @property
    def shape(self):
        """(ny, nx) of the image."""
        return self.header["NAXIS2"], self.header["NAXIS1"]

    def extension_name(self, kind):
        """Return the name of an extension of the image, see `extensions.extension_name`."""
        return extension_name(kind, self.hdu)


def masters_named(first_header, results):
    """Return the `NightMaster` of each master that a table names.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
        Header of the table's first HDU.
    results : pathlib.Path

    Returns
    -------
    list of NightMaster

    Raises
    ------
    CannotRemake
        If the table names no master or lacks a limit, or a master is missing or was replaced.
    Differs
        If a card has none of `USES`.
    """
    if missing_cards := [
        keyword for keyword in ("IMCOM001", "HOTRATE", "LOWSIGMA") if keyword not in first_header
    ]:
        raise CannotRemake(f"the header lacks {missing_cards[0]}: it is of an older version", OLDER)
    masters = []
    for n in range(1, sum(keyword.startswith("IMCOM") for keyword in first_header) + 1):
        name = unquote(str(first_header[f"IMCOM{n:03d}"]), errors="surrogateescape")
        master = NamedMaster(name, first_header[f"IMKEY{n:03d}"])
        use = first_header[f"IMUSE{n:03d}"]
        if use not in USES:
            raise Differs(f"IMUSE{n:03d} should be one of {', '.join(USES)}, and is {use!r}")
        masters.append(NightMaster(master_file(master, "master", results), use, results))
    return masters


def night_images(first_header, masters, results):
    """Return the `NightImage` of each image of the masters, with the noise in the cards.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
        Header of the table's first HDU.
    masters : list of NightMaster
    results : pathlib.Path

    Returns
    -------
    list of NightImage

    Raises
    ------
    CannotRemake
        If the cards lack the noise of an amplifier, or no table has the gain of the night.
    Differs
        If a noise or gain is not that of the masters or of detector.csv.
    """
    images = open_product(masters[0].path).images
    image_indices = [n for n in images if isinstance(n, int) and "IMGLEVEL" in images[n].header]
    tails = [(hdu, tail) for hdu in image_indices for tail in tails_of(images[hdu].header)]
    noises = {}
    for number, (hdu, tail) in enumerate(tails, start=1):
        keywords = [
            f"{name}{number:02d}" if len(tails) > 1 else name for name in ("MODRN", "MODGN")
        ]
        noise, gain = (number_of_card(first_header.get(keyword)) for keyword in keywords)
        if noise is None:
            raise CannotRemake(f"the header lacks {keywords[0]}: it is of an older version", OLDER)
        _check_noise_and_gain(
            first_header,
            keywords,
            values=(noise, gain),
            masters=masters,
            amplifier=(hdu, tail),
            results=results,
        )
        noises.setdefault(hdu, {})[tail] = noise, gain
    return [NightImage(hdu, images[hdu].header, noises[hdu]) for hdu in image_indices]


def _check_noise_and_gain(first_header, keywords, values, masters, amplifier, results):
    """Compare an amplifier's read noise with the biases, its gain with frames or detector.csv.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
        Header of the table's first HDU.
    keywords : (str, str)
        Cards of read noise and gain.
    values : (float, float or None)
        Values of these cards: read noise, adu, and gain, electrons per adu.
    masters : list of NightMaster
    amplifier : (int, str)
        Index of its HDU, and its tail.
    results : pathlib.Path
    """
    hdu, tail = amplifier
    (noise_card, gain_card), (noise, gain) = keywords, values
    biases = [master.master_paths["bias"] for master in masters if "bias" in master.master_paths]
    bias_headers = (open_product(bias).images[hdu].header for bias in biases)
    noises_of_biases = (number_of_card(card(bias, "RNOISE", tail)) for bias in bias_headers)
    expected_noise = next(filter(None, noises_of_biases), None)
    if expected_noise is not None:
        check_value(noise_card, noise, expected_noise, rtol=DERIVED_ROUNDING)
    member = open_product(masters[0].members[0]).images[hdu].header
    expected_gain = number_of_card(card(member, "AMPGAIN", tail))
    if expected_gain:
        check_value(gain_card, gain, expected_gain)
    elif gain is not None:
        name = str(card(member, "AMPNAM", tail, ""))
        gains = measured_gains(
            results / paths.DETECTOR_FILE, name, night=str(first_header["NIGHT"])
        )
        if not gains:
            raise CannotRemake(
                f"{paths.DETECTOR_FILE} has no gain of this night that {gain_card} can be compared"
                " with",
                MISSING,
            )
        if not any(abs(each - gain) <= DERIVED_ROUNDING * gain for each in gains):
            raise Differs(
                f"{gain_card} is {' or '.join(f'{each:g}' for each in gains)} in"
                f" {paths.DETECTOR_FILE}, and its card has {gain:g}"
            )


def verify_night(first_header, hdus, results):
    """Return the verdict on a night's table of bad pixels, by every bit and every sigma.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
    hdus : astropy.io.fits.HDUList
        HDUs of the product.
    results : pathlib.Path

    Returns
    -------
    dict of str to object
        Fields of a `ccdflow.verify.reading.verdict.Verdict`.

    Raises
    ------
    Differs
        If a bit, a sigma or a card differs.
    CannotRemake
        If a master or a member is missing, or the table is of an older version.
    """
    if not str(first_header["LOOKED"]).strip():
        return _verdict_without_sources(first_header, hdus)
    masters = masters_named(first_header, results)
    n_pixels, largest_difference, useful_sources = 0, 0.0, set()
    line_counts = {"PIXELS": 0, "WEAK": 0}
    for number, image in enumerate(night_images(first_header, masters, results)):
        bits_by_source, contrast, sources = _bits_of_image(image, masters, first_header)
        useful_sources |= sources
        bad_lines = _lines_of(hdus["PIXELS"].data, number, image.shape)
        _check_bits(bits_by_source, bad_lines, hdus["PIXELS"].columns.names, image.shape)
        weak_lines = _lines_of(hdus["WEAK"].data, number, image.shape)
        difference = _check_weak(first_header, number, contrast, weak_lines)
        line_counts["PIXELS"] += len(bad_lines[0])
        line_counts["WEAK"] += len(weak_lines[0])
        n_pixels += math.prod(image.shape)
        largest_difference = max(largest_difference, difference)
    for name, count in line_counts.items():
        if count != len(hdus[name].data):
            raise Differs(f"{name} has lines of an image that the masters lack")
    if str(first_header["LOOKED"]).split() != sorted(useful_sources):
        raise Differs(
            f"LOOKED is {' '.join(sorted(useful_sources))},"
            f" and its card has {first_header['LOOKED']}"
        )
    compared = (
        f"bits to {NEAR_LIMIT_FRACTION:g} of their limits, SIGMA to {NEAR_LIMIT_FRACTION:g},"
        " with numpy and astropy"
    )
    return {"compared": compared, "pixels": n_pixels, "largest": largest_difference}


def _check_bits(bits_by_source, lines, columns, shape):
    """Raise `Differs` where a table has other bits for an image than its masters give.

    Parameters
    ----------
    bits_by_source : dict of str to ccdflow.verify.detector.pixel_bits.OpenBits
    lines : (numpy.ndarray of shape (k,), int64, astropy.io.fits.FITS_rec)
        As `_lines_of` returns them.
    columns : list of str
        Columns of the table: one for each source. Older tables lack that of newer sources.
    shape : (int, int)
        (ny, nx) of the image.
    """
    places, values = lines
    for source in SOURCES:
        bits = np.zeros(shape, np.int16)
        bits.reshape(-1)[places] = values[source] if source in columns else 0
        if n_wrong := bits_by_source[source].count_wrong(bits):
            raise Differs(
                f"{n_wrong} pixels have other bits in {source} than the masters that"
                " the header names give"
            )


def _verdict_without_sources(first_header, hdus):
    """Return the verdict on a night with only pairs of flats, which show no bad pixels."""
    cards_of_masters = [
        keyword
        for keyword in first_header
        if keyword.startswith(("IMCOM", "MODRN", "MODGN", "FLATOWN"))
    ]
    if cards_of_masters:
        raise Differs(
            f"LOOKED is empty, and its card {cards_of_masters[0]} says that masters show pixels"
        )
    for name in ("PIXELS", "WEAK"):
        if len(hdus[name].data):
            raise Differs(f"LOOKED is empty, and {name} has {len(hdus[name].data)} pixels")
    return {"compared": "no line: pairs of flats show no bad pixels", "pixels": 0, "largest": 0.0}


def _lines_of(table, number, shape):
    """Return the flattened indices of an image's pixels in a table, and their lines."""
    lines = table[table["IMAGE"] == number]
    x, y = lines["X"].astype(np.int64), lines["Y"].astype(np.int64)
    if ((x < 1) | (x > shape[1]) | (y < 1) | (y > shape[0])).any():
        raise Differs("a table has a pixel that the image lacks")
    return (y - 1) * shape[1] + x - 1, lines


def _check_weak(first_header, number, contrast, lines):
    """Compare WEAK and FLATOWN with the flats, and return the largest difference, sigma.

    Parameters
    ----------
    first_header : astropy.io.fits.Header
    number : int
        Number of the image.
    contrast : ccdflow.verify.detector.flat_pixels.Contrast or None
        The remade contrast; None without flats that show bad pixels.
    lines : (numpy.ndarray of shape (k,), int64, astropy.io.fits.FITS_rec)
        As `_lines_of` returns them.
    """
    keyword = f"FLATOWN{number}"
    if contrast is None:
        if keyword in first_header or len(lines[0]):
            raise Differs(f"{keyword} and WEAK need flats that show bad pixels, and there are none")
        return 0.0
    check_figure(first_header, keyword, contrast.noise_fraction, rtol=_SIGMA_ROUNDING)
    places, sigma = lines[0], lines[1]["SIGMA"]
    certain_places, possible_places = flat_pixels.places_of_weak_pixels(contrast.sigma)
    missing_places = np.setdiff1d(certain_places, places)
    further_places = np.setdiff1d(places, possible_places)
    if n_wrong := missing_places.size + further_places.size:
        raise Differs(f"{n_wrong} pixels of WEAK are not those that the flats show to be low")
    differences = np.abs(contrast.sigma.ravel()[places] - sigma)
    is_other = differences > NEAR_LIMIT_FRACTION + _SIGMA_ROUNDING * np.abs(sigma)
    if n_differing := int(np.count_nonzero(is_other)):
        raise Differs(
            f"{n_differing} numbers in SIGMA differ from those of the flats",
            float(differences.max()),
        )
    return float(differences.max(initial=0.0))


def _bits_of_image(image, masters, first_header):
    """Return {source: OpenBits}, the `Contrast` of the flats or None, and the useful sources."""
    bits_by_source = {source: OpenBits(image.shape) for source in SOURCES}
    useful_sources, contrast = set(), None
    flats = [master for master in masters if master.use in ("flat", "spectrum")]
    if flats:
        useful_sources.add("deep")
        deep_parts = flat_pixels.deep_parts(_pixels_and_errors(flats, image))
        bits_by_source["DEEP"].set(BAD_COLUMN, *deep_parts)
    imaging_flats = [master for master in flats if master.use == "flat"]
    if imaging_flats:
        bits, contrast = _bits_and_contrast(image, imaging_flats, float(first_header["LOWSIGMA"]))
        if contrast is not None:
            useful_sources.add("flat")
            bits_by_source["FLAT"] = bits
    darks = [master for master in masters if master.use == "dark"]
    if darks:
        useful_sources.add("dark")
        hot_rate = float(first_header["HOTRATE"])
        for tail in tails_of(image.header):
            place = place_of(image.header, tail)
            _flag_by_darks(bits_by_source["DARK"], image, tail, place, darks, hot_rate)
    includes_ccdmask = bool(first_header.get("CCDMASK", False))
    for tail, flat in product(tails_of(image.header), flats):
        place = place_of(image.header, tail)
        bits_of_levels = _open_bits_by_levels(image, tail, place, flat, includes_ccdmask)
        if bits_of_levels is not None:
            useful_sources.add("levels")
            _add_bits_of_levels(
                bits_by_source["LEVELS"], place, bits_of_levels, bits_by_source["DARK"]
            )
    return bits_by_source, contrast, useful_sources


def _bits_and_contrast(image, flats, low_sigma):
    """Return the `OpenBits` and `Contrast` of imaging flats; the latter None if many are low."""
    bits = OpenBits(image.shape)
    contrast = flat_pixels.measure_contrast(
        _pixels_and_errors(flats, image), bits, low_sigma, _parts_of(image)
    )
    return bits, None if contrast.low_share > _MOST_LOW_FRACTION else contrast


def _add_bits_of_levels(bits, place, bits_of_levels, bits_of_darks):
    """Add the bits that flats of two levels give an amplifier, except for hot pixels.

    A hot pixel differs between exposures because of its dark current.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        Gets the bits.
    place : (slice, slice)
        Rows and columns of the amplifier.
    bits_of_levels : ccdflow.verify.detector.pixel_bits.OpenBits
        Bits of the amplifier alone.
    bits_of_darks : ccdflow.verify.detector.pixel_bits.OpenBits
        Bits of the image.
    """
    may_be_hot = bits_of_darks.allowed_bits[place] & HOT != 0
    is_hot = bits_of_darks.required_bits[place] & HOT != 0
    bits.required_bits[place] |= np.where(may_be_hot, np.int16(0), bits_of_levels.required_bits)
    bits.allowed_bits[place] |= np.where(is_hot, np.int16(0), bits_of_levels.allowed_bits)


def _parts_of(image):
    """Return the places of the amplifiers, whose pixels are compared with each other alone."""
    return [place_of(image.header, tail) for tail in tails_of(image.header)]


def _pixels_and_errors(flats, image):
    """Yield pixels of combined flats and their errors, infinite where they do not count."""
    for flat in flats:
        pixels, errors, mask = (
            rows_of(flat.path, hdu, _ALL, "flat")
            for hdu in (image.hdu, image.extension_name("UNCERT"), image.extension_name("MASK"))
        )
        pixels, errors = pixels.astype(float), errors.astype(float)
        is_good = (mask & _USELESS_BITS == 0) & (errors > 0) & np.isfinite(pixels)
        yield np.where(np.isfinite(pixels), pixels, 1.0), np.where(is_good, errors, np.inf)


def _flag_by_darks(bits, image, tail, place, darks, hot_rate):
    """Require the bits that darks give to an amplifier's pixels.

    Parameters
    ----------
    bits : ccdflow.verify.detector.pixel_bits.OpenBits
        Gets the bad pixels.
    image : NightImage
    tail : str
        End of the amplifier's keywords.
    place : (slice, slice)
        Its rows and columns.
    darks : list of NightMaster
    hot_rate : float
        Electrons a second.
    """
    read_noise, gain = image.noises[tail]
    gain = 1.0 if gain is None else gain
    y, x = place
    darks = sorted(darks, key=lambda dark: dark.first_header["EXPTIME"])
    seconds = [float(dark.first_header["EXPTIME"]) for dark in darks]
    if len({round(each, 3) for each in seconds}) < 2:
        dark = darks[0]
        rate, error = (
            rows_of(dark.path, hdu, y, "dark")[:, x] * (gain / seconds[0])
            for hdu in (image.hdu, image.extension_name("UNCERT"))
        )
        dark_pixels.flag_by_one_dark(bits, place, rate, error, hot_rate)
        return

    def read_rows(rows):
        """Return rows of the amplifier in all darks, electrons."""
        parts = [dark.read(image.hdu, rows + y.start)[:, :, x] for dark in darks]
        return np.concatenate(parts) * gain

    times = np.repeat(seconds, [len(dark.members) for dark in darks])
    dark_pixels.flag_by_lines(
        bits,
        place,
        read_rows=read_rows,
        seconds=times,
        read_noise=read_noise * gain,
        hot_rate=hot_rate,
    )


def _open_bits_by_levels(image, tail, place, flat, includes_ccdmask):
    """Return the `OpenBits` of an amplifier by flats of two levels.

    None if the flats are of one level, the gain is unknown, or the bias level is not subtracted.

    Parameters
    ----------
    image : NightImage
    tail : str
        End of the amplifier's keywords.
    place : (slice, slice)
        Its rows and columns.
    flat : NightMaster
    includes_ccdmask : bool
        Whether the pixels that `ccdproc.ccdmask` flags are added.
    """
    read_noise, gain = image.noises[tail]
    if not gain or not flat.has_level_subtracted(image.hdu, tail):
        return None
    y, x = place
    seconds, rate = flat.seconds()[:, None, None], _dark_rate(flat, image.hdu, place)
    ny = y.stop - y.start

    def read_rows(rows):
        """Return rows of the amplifier in the flats' members without their dark current, adu."""
        values = flat.read(image.hdu, rows + y.start)[:, :, x]
        return values - seconds * rate[rows]

    frames = read_rows(dark_pixels.rows_of_usual_pixel(ny))
    levels = np.array(
        [np.nan if np.isnan(frame).all() else np.nanmedian(frame) for frame in frames]
    )
    groups = flat_pixels.faint_and_bright(levels)
    if groups is None:
        return None
    strips = []
    for strip in dark_pixels.strips_of(ny, x.stop - x.start):
        values = read_rows(np.arange(strip.start, strip.stop))
        noises = gain, read_noise
        strips.append(
            [flat_pixels.average_flats(values[group], levels[group], noises) for group in groups]
        )
    parts = [
        [np.concatenate([strip[level][n] for strip in strips]) for n in range(3)]
        for level in (0, 1)
    ]
    return flat_pixels.open_bits_of_levels(parts, includes_ccdmask=includes_ccdmask)


def _dark_rate(flat, hdu, place):
    """Return the rate of the dark that was subtracted from a flat's members, adu a second."""
    path = flat.master_paths.get("dark")
    y, x = place
    if path is None:
        return np.zeros((y.stop - y.start, x.stop - x.start))
    return np.nan_to_num(_rate_of(path, hdu, path.stat().st_mtime_ns)[place])


# Each amplifier asks for the rate of the whole image. One entry holds the dark of an image; four
# hold the darks of different flats. A rate takes as much memory as an image.
@lru_cache(maxsize=4)
def _rate_of(path, hdu, time):
    """Return the rate of a dark, adu a second; a file with another time is read again."""
    return rows_of(path, hdu, _ALL, "dark") / float(open_product(path).first_header["EXPTIME"])
