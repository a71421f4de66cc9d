"""The verdict on a reduced frame: pixels, overscan, raw cards, sections, coordinates."""

from __future__ import annotations

import re
import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, NoConvergence

from ccdflow.errors import is_own_fault
from ccdflow.verify.comparing.amplifiers import (
    card,
    least_values,
    number_of_card,
    places_without_level,
    tails_of,
)
from ccdflow.verify.comparing.card_order import REDUCED_ORDER, check_order
from ccdflow.verify.comparing.card_pairs import check_required
from ccdflow.verify.comparing.comparing import (
    ABSOLUTE_ROUNDING,
    RELATIVE_ROUNDING,
    Differs,
    check_figure,
    check_text,
    count_other_bits,
    words_on_differing,
)
from ccdflow.verify.comparing.extensions import check_extensions, extension_name
from ccdflow.verify.comparing.sentences import check_plain, sentences_in_header
from ccdflow.verify.comparing.source_cards import REDUCED_ORIGINS, WORLD, check_cards
from ccdflow.verify.reading.accounts import account_of_frame, product_of
from ccdflow.verify.reading.amplifier_places import SECTION, place_of
from ccdflow.verify.reading.restated_numbers import NO_DATA, NOT_FINITE, SATURATED
from ccdflow.verify.reduced import remade_frames

# Units of raw pixels that a product has as adu.
_UNITS_OF_ADU = ("adu", "adus", "dn", "counts", "count")
# Places at which world coordinates are compared, as fractions of an amplifier's width and height.
_COMPARED_PLACES = np.array([(0.1, 0.2), (0.5, 0.9), (0.8, 0.4)])
# Matches a card with a pixel of world coordinates: CRPIX1, CRPIX2A.
_PIXEL_CARD = re.compile(r"CRPIX([12])[A-Z]?")
# Matches a card with a step of world coordinates: CDELT1, CD1_2, PC2_1A.
_STEP_CARD = re.compile(r"(CDELT[12]|(PC|CD)[12]_[12])[A-Z]?")
# Matches the sentence on world coordinates of the source that are wrong for the product.
_NO_WORLD_SENTENCE = re.compile("world coordinates that do not hold for this image left out")
# Relative tolerance of the noise of an overscan: the maker leaves out outliers by another method.
_NOISE_TOLERANCE = 5e-3
# Pixels by which coordinates of amplifiers may differ: the maker allows 0.1, and rounding adds to
# that.
_PIXEL_TOLERANCE = 0.11
# Errors of astropy at coordinates that it cannot compute (WcsError is a ValueError).
_UNFOLLOWED_ERRORS = (NoConvergence, ValueError, TypeError, KeyError, fits.VerifyError)
_NOTE_ON_COORDINATES = "world coordinates by their cards alone"


def verify_frame(headers, path, raw_folder):
    """Return the verdict on a reduced frame, which is made again and compared.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
    path, raw_folder : pathlib.Path

    Returns
    -------
    dict of str to object
        Fields of a `ccdflow.verify.reading.verdict.Verdict`.

    Raises
    ------
    Differs
        If pixels, mask or header differ.
    ccdflow.verify.reading.verdict.CannotRemake
        If ccdproc cannot make a frame of this sort, or the raw file is missing.
    """
    account = account_of_frame(headers)
    source = remade_frames.read_raw(account, raw_folder)
    if source.fingerprint != account.fingerprint:
        raise Differs(f"RAWFP is {account.fingerprint}, and the raw file has {source.fingerprint}")
    reduced_name = product_of(account.raw_file)
    if not path.as_posix().endswith(reduced_name):
        raise Differs(f"RAWFILE is {account.raw_file}, which becomes {reduced_name}")
    check_extensions(headers, account.images, ("MASK",), pixel_types=(-32, -64), mask_type=8)
    n_pixels, notes = 0, ["bit for bit with ccdproc"]
    with fits.open(path, memmap=False) as hdus:
        for hdu, amplifiers in account.images.items():
            n_pixels += _check_pixels(hdus[hdu].data, amplifiers, account, source.images)
            _check_mask(hdus, hdu, account, source.images)
    _check_overscan(account, source.images)
    _check_saturated_lines(headers, account, source.images)
    with fits.open(path, memmap=False) as hdus:
        for hdu in account.images:
            _check_converter(hdus[hdu], account.images[hdu], source)
    _check_raw_cards(headers, account, source)
    for hdu, amplifiers in account.images.items():
        check_required(headers[hdu], headers[0], "frame")
        notes += _check_image(headers[hdu], source.headers, amplifiers)
    return {"compared": ", ".join(dict.fromkeys(notes)), "pixels": n_pixels, "largest": 0.0}


def _check_raw_cards(headers, account, source):
    """Compare the cards of each HDU with those of the raw HDUs that it is made of.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        Headers of the reduced frame.
    account : ccdflow.verify.reading.accounts.FrameAccount
    source : ccdflow.verify.reduced.remade_frames.SourceFile
    """
    for number in sorted({0, *account.images}):
        hdus_used = [amplifier.hdu for amplifier in account.images.get(number, ())]
        # The first HDU has the cards of the raw file's first HDU, other images those of their own.
        own_hdu = hdus_used[0] if number else 0
        sources = [source.headers[hdu] for hdu in dict.fromkeys([own_hdu, *hdus_used])]
        check_cards(headers[number], sources, REDUCED_ORIGINS)
        check_order(headers[number], sources[0], REDUCED_ORDER, REDUCED_ORIGINS.renewed_cards)
        _check_sentences(headers[number], sources[0])
    raw_header = source.first_header
    if "RAWDATE" in headers[0] and "DATE" in raw_header and "RAWDATE" not in raw_header:
        check_text(headers[0], "RAWDATE", raw_header["DATE"])


def _world_cards(header):
    """Return the keywords of a header's world coordinates."""
    return [keyword for keyword in header if keyword and WORLD.fullmatch(keyword)]


def _check_sentences(header, raw_header):
    """Raise unless world coordinates are all there, or HISTORY states that they are left out."""
    check_plain(header, _NO_WORLD_SENTENCE)
    if sentences_in_header(header):
        if remaining_cards := _world_cards(header):
            raise Differs(
                "HISTORY says that world coordinates are left out, and"
                f" {remaining_cards[0]} is there"
            )
    elif lost_cards := [keyword for keyword in _world_cards(raw_header) if keyword not in header]:
        raise Differs(f"the card {lost_cards[0]} of its source is missing, and no HISTORY says why")


def _check_pixels(image, amplifiers, account, raw_images):
    """Return how many pixels of an image were compared; raise unless all have the same bits.

    Parameters
    ----------
    image : numpy.ndarray of shape (ny, nx), float32 or float64
    amplifiers : tuple of ccdflow.verify.reading.accounts.AmplifierAccount
        Amplifiers of the image.
    account : ccdflow.verify.reading.accounts.FrameAccount
    raw_images : dict of int to astropy.nddata.CCDData
        The HDUs of the raw file that are used.
    """
    was_left_whole = any(amplifier.kept_section is None for amplifier in amplifiers)
    shape = tuple(max(amplifier.place[axis].stop for amplifier in amplifiers) for axis in (0, 1))
    if was_left_whole:
        # An image that was left whole has its overscan in it.
        shape = raw_images[amplifiers[0].hdu].shape
    if image.shape != shape:
        raise Differs(f"its shape is {image.shape}, and ccdproc gives {shape}")
    is_outside, n_wrong, largest = np.ones(image.shape, bool), 0, 0.0
    for amplifier in amplifiers:
        for place, raw_pixels in remade_frames.reduce_amplifier(
            raw_images[amplifier.hdu], amplifier, account
        ):
            is_outside[place] = False
            count, difference = count_other_bits(image[place], raw_pixels)
            n_wrong, largest = n_wrong + count, max(largest, difference)
    if was_left_whole:
        raw_pixels = raw_images[amplifiers[0].hdu].data[is_outside]
    else:
        raw_pixels = np.full(np.count_nonzero(is_outside), np.nan)
    count, difference = count_other_bits(image[is_outside], raw_pixels)
    n_wrong, largest = n_wrong + count, max(largest, difference)
    if n_wrong:
        raise Differs(words_on_differing(n_wrong), largest, image.size)
    return image.size


def _check_mask(hdus, hdu, account, raw_images):
    """Compare a mask with AMPSAT, raw values and places of amplifiers.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        HDUs of the product.
    hdu : int
        Index of the image.
    account : ccdflow.verify.reading.accounts.FrameAccount
    raw_images : dict of int to astropy.nddata.CCDData
        The HDUs of the raw file that are used.
    """
    mask_name = extension_name("MASK", hdu)
    if mask_name not in [each.name for each in hdus]:
        return
    header, image = hdus[hdu].header, hdus[hdu].data
    expected_mask = np.full(image.shape, NO_DATA, np.uint8)
    # Saturation is compared where the value of a saturated pixel is known.
    comparable_bits = np.full(image.shape, 255 - SATURATED, np.uint8)
    amplifiers = account.images[hdu]
    for tail, amplifier in zip(tails_of(header), amplifiers, strict=True):
        raw_image = raw_images[amplifier.hdu].data
        has_datsec = amplifier.kept_section is None and "DATSEC" in header
        place = place_of(header, tail) if has_datsec else amplifier.place
        values = raw_image[amplifier.kept_section or place]
        values = remade_frames.turn_image(values, amplifier.flip)
        part = expected_mask[place]
        part[...] = 0
        part[~np.isfinite(values)] |= NOT_FINITE
        saturated_value = _saturated_value(header, tail, raw_image.dtype)
        if saturated_value is not None:
            part[values >= saturated_value] |= SATURATED
            comparable_bits[place] |= SATURATED
        for place_without_level in places_without_level(header, tail):
            expected_mask[place_without_level] |= NO_DATA
    stored_mask = hdus[mask_name].data
    was_left_whole = len(amplifiers) == 1 and amplifiers[0].kept_section is None
    if was_left_whole and "DATSEC" not in header:
        # Older results: no card of a frame that was not trimmed has the amplifier's place.
        expected_mask[stored_mask == NO_DATA] = NO_DATA
    differing_bits = (stored_mask ^ expected_mask) & comparable_bits
    if np.count_nonzero(differing_bits):
        raise Differs(
            f"{np.count_nonzero(differing_bits)} pixels of the mask differ from those by the raw"
            " pixels"
        )


def _saturated_value(header, tail, dtype):
    """Return the raw value of a saturated pixel of an amplifier; None where it is unknown.

    It is AMPSAT, or without this card the highest number of raw pixels of 8 or 16 bits.
    """
    value = card(header, "AMPSAT", tail)
    has_converter_end = dtype.kind in "iu" and dtype.itemsize <= 2
    return np.iinfo(dtype).max if value is None and has_converter_end else value


def _check_converter(product, amplifiers, source):
    """Compare AMPTOP and AMPFULL with the raw pixels at the end of the converter.

    Parameters
    ----------
    product : astropy.io.fits.PrimaryHDU or astropy.io.fits.ImageHDU
        The reduced image.
    amplifiers : tuple of ccdflow.verify.reading.accounts.AmplifierAccount
    source : ccdflow.verify.reduced.remade_frames.SourceFile
    """
    header, image = product.header, product.data
    for tail, amplifier in zip(tails_of(header), amplifiers, strict=True):
        card_value = card(header, "AMPTOP", tail)
        least, parts = least_values(header, tail)
        top = source.tops[amplifier.hdu]
        # Older results: header version 4 had no card AMPTOP.
        if card_value is None and card(header, "AMPFULL", tail) is None:
            continue
        place = place_of(header, tail) if amplifier.kept_section is None else amplifier.place
        values = source.images[amplifier.hdu].data[amplifier.kept_section or place]
        # Older results: AMPTOP was the highest 16-bit number for converters of fewer bits as well.
        if top is None or number_of_card(card_value) not in (top, _top_shown_by(values, top)):
            raise Differs(f"AMPTOP{tail} is {top} by the raw file, and its card has {card_value}")
        top = number_of_card(card_value)
        is_full = np.zeros(image.shape, bool)
        is_full[place] = remade_frames.turn_image(values, amplifier.flip) >= top
        for part, value in parts:
            if not is_full[part].any() or np.float64(image[part][is_full[part]].min()) != value:
                raise Differs(f"AMPFULL{tail} has another value in a part than the raw pixels give")
            is_full[part] = False
        lowest = float(image[is_full].min()) if is_full.any() else np.inf
        if lowest != least:
            raise Differs(f"AMPFULL{tail} is {lowest} by the raw pixels, and its card has {least}")


def _top_shown_by(values, top):
    """Return the highest raw value if it is the end of a converter of 10 to 15 bits, else the top.

    At least two pixels must have it, and its bits must be ones with zeros before or after them.
    """
    if values.dtype.kind not in "iu" or values.dtype.itemsize != 2:
        return top
    highest = int(values.max())
    digits_of_highest = f"{highest:016b}" if highest >= 0 else ""
    is_end = (
        digits_of_highest.strip("0") == "1" * digits_of_highest.count("1")
        and 10 <= digits_of_highest.count("1") <= 15
    )
    is_end &= digits_of_highest.startswith("1") or digits_of_highest.endswith("1")
    return float(highest) if is_end and np.count_nonzero(values == highest) >= 2 else top


def _check_overscan(account, raw_images):
    """Compare BIASLVL and OVERRMS with level and noise of the raw overscan."""
    for amplifier, level, noise in remade_frames.overscan_figures(account, raw_images):
        words_on_amplifier = f" of amplifier {amplifier.name}" if amplifier.name else ""
        if abs(amplifier.level - level) > RELATIVE_ROUNDING * abs(level) + ABSOLUTE_ROUNDING:
            raise Differs(
                f"the level{words_on_amplifier} is {level:.6g}, and its card has {amplifier.level}"
            )
        if (
            noise
            and amplifier.noise is not None
            and abs(amplifier.noise / noise - 1) > _NOISE_TOLERANCE
        ):
            raise Differs(
                f"the noise{words_on_amplifier} is {noise:.6g}, and its card has {amplifier.noise}"
            )


def _check_saturated_lines(headers, account, raw_images):
    """Compare OSCSAT with the rows or columns whose raw overscan has a saturated level."""
    for hdu, amplifiers in account.images.items():
        header = headers[hdu]
        for tail, amplifier in zip(tails_of(header), amplifiers, strict=True):
            # Older results: their headers have no card OSCSAT.
            if not (places_named := places_without_level(header, tail)):
                continue
            saturated_lines, named_lines = np.zeros((2, header["NAXIS2"], header["NAXIS1"]), bool)
            for part in places_named:
                named_lines[part] = True
            place = place_of(header, tail) if amplifier.kept_section is None else amplifier.place
            pixels = raw_images[amplifier.hdu]
            top = _saturated_value(header, tail, pixels.data.dtype)
            saturated_lines[place] = _saturated_lines(pixels, amplifier, account.statistic, top)
            # A level of the whole frame, or of a model, belongs to no line.
            has_no_lines = bool(account.model) or amplifier.axis == "frame"
            if has_no_lines or not np.array_equal(saturated_lines, named_lines):
                raise Differs("OSCSAT has other parts than those whose raw overscan is saturated")


def _saturated_lines(pixels, amplifier, statistic, top):
    """Return the rows (ny, 1) or columns (1, nx) of an image whose overscan is saturated: bool.

    Parameters
    ----------
    pixels : astropy.nddata.CCDData
        The whole raw HDU, adu.
    amplifier : ccdflow.verify.reading.accounts.AmplifierAccount
    statistic : {'median', 'mean'}
        Statistic across the overscan.
    top : float or None
        Value of a saturated pixel, adu.
    """
    values = remade_frames.overscan_of(pixels, amplifier).data
    # Levels of rows are taken along x, and the rows may be reversed in y.
    axis, letter = (1, "y") if amplifier.axis == "rows" else (0, "x")
    levels = (np.median if statistic == "median" else np.mean)(values, axis=axis)
    is_full = levels >= (np.inf if top is None else top)
    return np.expand_dims(is_full[::-1] if letter in amplifier.flip else is_full, axis)


def _check_image(header, raw_headers, amplifiers):
    """Compare unit, sections and coordinates of an image with those of the raw frame.

    Returns
    -------
    set of str
        Notes on impossible comparisons.
    """
    notes = set()
    units = [str(raw_headers[hdu].get("BUNIT", "adu")) for hdu in (amplifiers[0].hdu, 0)]
    unit = next((unit for unit in units if unit.lower() not in _UNITS_OF_ADU), "adu")
    check_text(header, "BUNIT", unit)
    for amplifier in amplifiers:
        if amplifier.strips and amplifier.axis not in ("rows", "columns", "frame"):
            raise Differs(f"OSCAXIS is {amplifier.axis!r}, which no image has levels of")
        if amplifier.kept_section is not None:
            check_text(header, "DATASEC", f"[1:{header['NAXIS1']},1:{header['NAXIS2']}]")
            _check_physical(header, raw_headers[amplifier.hdu], amplifier)
            notes |= _check_world(header, raw_headers, amplifier)
    if all(amplifier.kept_section is not None for amplifier in amplifiers):
        _check_sections(header, raw_headers, amplifiers)
    return notes


def _signs_and_shifts(amplifier):
    """Return (sign, shift) of x and of y: product = sign x raw + shift, in FITS pixels."""
    moves = []
    for axis in (1, 0):
        kept_span, place_span = amplifier.kept_section[axis], amplifier.place[axis]
        if "yx"[axis] in amplifier.flip:
            moves.append((-1, place_span.start + kept_span.stop + 1))
        else:
            moves.append((1, place_span.start - kept_span.start))
    return moves


def _check_physical(header, raw_header, amplifier):
    """Compare IRAF's physical coordinates, which count pixels as in the raw frame."""
    for axis, (sign, shift) in zip((1, 2), _signs_and_shifts(amplifier), strict=True):
        offset_card, scale_card = f"LTV{axis}", f"LTM{axis}_{axis}"
        offset, scale = raw_header.get(offset_card, 0), raw_header.get(scale_card, 1)
        are_numbers = all(isinstance(number, int | float) for number in (offset, scale))
        if offset_card not in header or not are_numbers or not scale:
            continue
        # raw = scale x physical + offset, and product = sign x raw + shift.
        check_figure(header, scale_card, sign * scale)
        # The tolerance is in pixels: a sum near 0 has the rounding of its terms.
        check_figure(header, offset_card, sign * offset + shift, atol=1e-6)


def _check_solutions(header, raw_header, amplifier):
    """Compare the cards of all world coordinates: pixels move, and steps may change their sign."""
    for keyword in header:
        if (match := _PIXEL_CARD.fullmatch(keyword)) is not None:
            sign, shift = _signs_and_shifts(amplifier)[int(match[1]) - 1]
            raw_value = raw_header.get(keyword, 0.0)
            if isinstance(raw_value, int | float):
                check_figure(header, keyword, sign * raw_value + shift, atol=_PIXEL_TOLERANCE)
        elif _STEP_CARD.fullmatch(keyword) and keyword in raw_header:
            card_value, raw_value = header[keyword], raw_header[keyword]
            if isinstance(raw_value, int | float) and abs(card_value) != abs(raw_value):
                raise Differs(
                    f"{keyword} is {raw_value} in the raw frame, and its card has {card_value}"
                )


def _check_world(header, raw_headers, amplifier):
    """Compare the world coordinates of some pixels with those in the raw frame.

    Returns
    -------
    set of str
        A note if astropy cannot compute the camera's coordinates, so that only cards are compared.
    """
    raw_header = raw_headers[amplifier.hdu]
    if not any(key.startswith(("CRPIX", "CRVAL", "CD1_")) for key in raw_header):
        raw_header = raw_headers[0]
    _check_solutions(header, raw_header, amplifier)
    if "CRPIX1" not in header and "CRVAL1" not in header:
        return set()
    rows, columns = amplifier.kept_section
    sizes = [columns.stop - columns.start, rows.stop - rows.start]
    pixels = np.floor(_COMPARED_PLACES * sizes) + (columns.start, rows.start) + 1
    signs, shifts = np.transpose(_signs_and_shifts(amplifier))
    pixels_of_product = signs * pixels + shifts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            raw_world = WCS(raw_header, naxis=2, relax=True)
            world = WCS(header, naxis=2, relax=True)
            expected = raw_world.all_pix2world(pixels, 1)
            coordinates = world.all_pix2world(pixels_of_product, 1)
            difference = world.all_world2pix(expected, 1, quiet=True) - pixels_of_product
        except _UNFOLLOWED_ERRORS as error:
            if is_own_fault(error):
                raise
            return {_NOTE_ON_COORDINATES}
    if not np.isfinite(expected).all():
        return {_NOTE_ON_COORDINATES}
    if not np.isfinite(coordinates).all() or not (np.abs(difference) < _PIXEL_TOLERANCE).all():
        raise Differs("world coordinates are not those that the raw frame gives its pixels")
    return set()


def _check_sections(header, raw_headers, amplifiers):
    """Compare CCDSEC, DETSEC and AMPSEC with those of the raw frame, moved by the trimming."""
    for keyword in ("CCDSEC", "DETSEC", "AMPSEC"):
        sections = {
            _moved_section(keyword, header, raw_headers, amplifier) for amplifier in amplifiers
        }
        expected = sections.pop() if len(sections) == 1 else None
        card_value = header.get(keyword)
        if card_value is not None and str(card_value).strip() != (expected or ""):
            raise Differs(
                f"{keyword} is {expected or 'not known'} by the raw frame,"
                f" and its card has {card_value}"
            )
        if card_value is None and expected is not None:
            raise Differs(f"there is no card {keyword}, which would have {expected}")


def _moved_section(keyword, header, raw_headers, amplifier):
    """Return the section of the detector that an image covers; None where no card has it.

    Parameters
    ----------
    keyword : str
    header : astropy.io.fits.Header
        Header of the product.
    raw_headers : list of astropy.io.fits.Header
        Headers of the raw file's HDUs.
    amplifier : ccdflow.verify.reading.accounts.AmplifierAccount
        An amplifier of the image.
    """
    images = [
        hdu for hdu, header_of_hdu in enumerate(raw_headers) if header_of_hdu.get("NAXIS", 0) > 0
    ]
    raw_header = raw_headers[amplifier.hdu]

    def card_value_of(name):
        """Return a raw card's value, of the first HDU for a file's only image without the card.

        None without the card.
        """
        is_in_first_header = name not in raw_header and len(images) == 1
        return (raw_headers[0] if is_in_first_header else raw_header).get(name)

    section_of_all_pixels = f"[1:{raw_header['NAXIS1']},1:{raw_header['NAXIS2']}]"
    chip = _ends_of_section(card_value_of(keyword))
    data = _ends_of_section(
        card_value_of("DATASEC") or card_value_of("TRIMSEC") or section_of_all_pixels
    )
    if chip is None or data is None:
        return None
    lengths = header["NAXIS1"], header["NAXIS2"]
    spans = [
        _moved_span(chip[axis], data[axis], lengths[axis], sign, shift)
        for axis, (sign, shift) in enumerate(_signs_and_shifts(amplifier))
    ]
    return None if None in spans else "[{},{}]".format(*spans)


def _ends_of_section(text):
    """Return [first, last] of x and of y of a FITS section; None for other text."""
    match = SECTION.fullmatch(str(text).replace(" ", ""))
    if match is None:
        return None
    x1, x2, y1, y2 = map(int, match.groups())
    return [x1, x2], [y1, y2]


def _moved_span(chip, data, length, sign, shift):
    """Return the 'first:last' pixel of the detector along an axis of an image, or None.

    Parameters
    ----------
    chip, data : list of int
        First and last pixel of the detector, and the raw pixels that lie there.
    length : int
        Pixels of the image.
    sign, shift : int
        (pixel of the image - `shift`) x `sign` is the pixel of the raw frame.

    Returns
    -------
    str or None
    """
    first, last = chip
    low, high = sorted(data)
    binning, remainder = divmod(abs(last - first) + 1, high - low + 1)
    if remainder or not binning:
        return None
    upwards = 1 if last >= first else -1
    edges = []
    for pixel in (1, length):
        pixel_of_detector = first + upwards * binning * ((pixel - shift) * sign - low)
        edges += [pixel_of_detector, pixel_of_detector + upwards * (binning - 1)]
    if min(edges) < 1:
        return None
    order = sorted(edges)[:: sign * upwards]
    return f"{order[0]}:{order[-1]}"
