"""Masters of the whole chip cut to the window of a frame.

CCDSEC or DETSEC of frame and master give the place of the frame in the master. Where these cards
are missing, the origins of the windows give it: XORGSUBF and YORGSUBF.
"""

from __future__ import annotations

from ccdflow.calibrate.combined_master import is_overscan_subtracted
from ccdflow.camera.binning import binning_of_hdu
from ccdflow.camera.sections import Region, parse_fits
from ccdflow.errors import FrameError
from ccdflow.files.cards import as_integer, card_value
from ccdflow.files.fits_products.multi_image_products import read_stored_hdus
from ccdflow.files.values import as_number

# Cards with the section of an image on its chip or detector.
_SECTION_CARDS = ("CCDSEC", "DETSEC")
ORIGIN_CARDS = ("XORGSUBF", "YORGSUBF")
"""Column and row of a raw frame's first pixel on its chip, from 0, in binned pixels (MaxIm)."""


def _region_by_cards(frame, master, *, file, name):
    """Return the region of a frame's pixels in a larger master, by the cards of the two.

    Parameters
    ----------
    frame, master : ccdflow.files.fits_products.multi_image_products.StoredHdu
        HDUs of the reduced frame and of the master.
    file, name : str
        File of the frame, and name of the master, for errors.

    Returns
    -------
    ccdflow.camera.sections.Region

    Raises
    ------
    FrameError
        If the cards are missing, binning or direction differ, or the frame is not within the
        master.
    """
    for keyword in _SECTION_CARDS:
        texts = [card_value(hdu.header, keyword) for hdu in (frame, master)]
        if None not in texts:
            break
    else:
        keyword = ORIGIN_CARDS[0]
        texts = [section_by_origin(hdu.header, hdu.shape) for hdu in (frame, master)]
        if None in texts:
            raise FrameError(
                "the frame is a window, and no card says where it lies in the master",
                file=file,
                keyword=" or ".join((*_SECTION_CARDS, *ORIGIN_CARDS)),
                value="absent",
                allowed=f"a section, or an origin, in the frame and in {name}",
                remedy="combine frames of this window",
            )
    return region_by_sections(
        texts, [hdu.shape for hdu in (frame, master)], keyword=keyword, file=file, name=name
    )


def section_by_origin(header, shape):
    """Return the section of a product on its chip, from the origin of its raw frame.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Its LTV cards give the number of raw columns and rows before the image.
    shape : (int, int)
        (ny, nx) of the image.

    Returns
    -------
    str or None
        None if a card of the origin is missing or below LTV, or the image is reversed.
    """
    ends = []
    for axis, step in zip((1, 2), reversed(binning_of_hdu([header], 0)), strict=True):
        origin = as_integer(card_value(header, ORIGIN_CARDS[axis - 1]))
        shift, scale = (card_value(header, name) for name in (f"LTV{axis}", f"LTM{axis}_{axis}"))
        shift = as_integer(0 if shift is None else shift)
        scale = as_number(1 if scale is None else scale)
        if origin is None or shift is None or scale != 1 or origin < shift:
            return None
        first, length = origin - shift, shape[2 - axis]
        ends.append(f"{first * step + 1}:{(first + length) * step}")
    return f"[{ends[0]},{ends[1]}]"


def region_by_sections(texts, shapes, *, keyword="CCDSEC", file=None, name="the master"):
    """Return the region of a frame's pixels in a larger master, by their sections on the chip.

    Parameters
    ----------
    texts : (str, str)
        FITS section of the frame, and that of the master.
    shapes : ((int, int), (int, int))
        (ny, nx) of the frame, and of the master.
    keyword, file, name : str, optional
        The card, the frame's file and the name of the master, for errors.

    Returns
    -------
    ccdflow.camera.sections.Region

    Raises
    ------
    FrameError
        If a section cannot be read, binning or direction differ, or the frame is not within the
        master.
    """
    sections = [parse_fits(text, file=file, keyword=keyword) for text in texts]
    window, full_region = (section.region for section in sections)
    (frame, master) = shapes
    steps = [
        _binning_of_image(section.region, shape)
        for section, shape in zip(sections, shapes, strict=True)
    ]
    directions = [(section.is_flipped_x, section.is_flipped_y) for section in sections]
    if None in steps or steps[0] != steps[1] or directions[0] != directions[1]:
        raise FrameError(
            "the master has another binning or direction than the frame",
            file=file,
            keyword=keyword,
            value=f"{texts[0]} for {frame[1]} x {frame[0]} pixels",
            allowed=f"as {texts[1]} for {master[1]} x {master[0]} in {name}",
            remedy="combine frames of this binning",
        )
    (step_y, step_x), (is_flipped_x, is_flipped_y) = steps[0], directions[0]
    rows_before = full_region.y1 - window.y1 if is_flipped_y else window.y0 - full_region.y0
    columns_before = full_region.x1 - window.x1 if is_flipped_x else window.x0 - full_region.x0
    y0, remainder_y = divmod(rows_before, step_y)
    x0, remainder_x = divmod(columns_before, step_x)
    if not full_region.contains(window) or remainder_y or remainder_x:
        raise FrameError(
            "the frame's window is not within the master's",
            file=file,
            keyword=keyword,
            value=texts[0],
            allowed=f"whole pixels of {texts[1]} in {name}",
            remedy="combine frames of this window",
        )
    return Region(y0, y0 + frame[0], x0, x0 + frame[1])


def _binning_of_image(region, shape):
    """Return the binning of an image by its region on the chip, (y, x); None if it is not whole."""
    steps = [divmod(length, count) for length, count in zip(region.shape, shape, strict=True)]
    if any(remainder or not step for step, remainder in steps):
        return None
    return tuple(step for step, _ in steps)


def check_cut(master, header, *, file):
    """Raise `FrameError` if a cut master would be wrong for a window of one amplifier.

    Parameters
    ----------
    master : ccdflow.calibrate.combined_master.Master
        The part of the master for one image.
    header : astropy.io.fits.Header
        Header of the reduced frame.
    file : str
        File of the frame, for the error.

    Raises
    ------
    FrameError
        If the master was read by several amplifiers, or is a bias and the frame keeps its level.
    """
    if len(master.gains) > 1:
        raise FrameError(
            f"the {master.kind} was read by several amplifiers, the window by one",
            file=file,
            keyword="GAIN01, GAIN02",
            value=f"{master.gains} in {master.name}",
            allowed="one gain",
            remedy="combine frames of this window",
        )
    if master.kind == "bias" and not is_overscan_subtracted(header):
        raise FrameError(
            "the bias level is still in the frame, and that of a window may be another",
            file=file,
            keyword="OVERSCAN",
            value="absent",
            allowed=f"a frame whose overscan was subtracted, to take {master.name}",
            remedy="combine biases of this window",
        )


def first_image_hdu(hdus):
    """Return the first of a file's HDUs (`StoredHdu`) that holds an image."""
    return next((hdu for hdu in hdus if hdu.shape is not None), hdus[0])


def master_for(store, kind, path, frame, *, file, name):
    """Return a master of a frame, cut to the frame's pixels if the frame is a window.

    Parameters
    ----------
    store : ccdflow.calibrate.master_store.MasterStore
    kind : {'bias', 'dark', 'flat'}
    path : path-like
        Path of the master.
    frame : ccdflow.files.fits_products.multi_image_products.StoredHdu
        The frame's image.
    file, name : str
        File of the frame, and name of the master, for errors.

    Returns
    -------
    master : ccdflow.calibrate.combined_master.Master
    cut : str
        The FITS section that was cut out; '' if the master has the frame's shape or is smaller.

    Raises
    ------
    FrameError
        If the cards do not place the window in the master, or the master cannot be read.
    """
    master_hdu = first_image_hdu(read_stored_hdus(path, name=name))
    differs = master_hdu.shape is not None and master_hdu.shape != frame.shape
    if not differs or any(a > b for a, b in zip(frame.shape, master_hdu.shape, strict=True)):
        return store.get(path, kind, name=name), ""
    region = _region_by_cards(frame, master_hdu, file=file, name=name)
    master = store.get(path, kind, name=name, region=region)
    return master, region.to_fits()
