"""Amplifiers from cards that count prescan and overscan columns and rows."""

from __future__ import annotations

from dataclasses import replace

from ccdflow.camera.geometry import Draft, Note
from ccdflow.camera.sections import Region
from ccdflow.files.cards import as_integer
from ccdflow.files.values import as_number

PRESCAN_X = ("PRESCAN", "PRESCANX", "PRESCNX", "PRSCANX", "PRESCAN1", "PREPIX", "PRECOL")
"""Cards with the number of columns before the data, in the order of readout."""

OVERSCAN_X = (
    "OVERSCAN", "OVERSCNX", "OVRSCANX", "OVRSCAN1", "OVERSCN1", "POSTPIX", "POSTSCAN", "POSTSCNX",
    "PSTSCANX", "COVER",
)  # fmt: skip
"""Cards with the number of columns after the data."""

PRESCAN_Y = ("PRESCANY", "PRESCNY", "PRSCANY", "PRESCAN2", "PRELINE")
"""Cards with the number of rows before the data."""

OVERSCAN_Y = (
    "OVERSCNY", "OVRSCANY", "OVRSCAN2", "OVERSCN2", "POSTLINE", "POSTSCNY", "PSTSCANY", "ROVER",
)  # fmt: skip
"""Cards with the number of rows after the data."""

# Cards into which many readouts write a setting, such as 'ON' or 'YES', and no number.
_CARDS_WITH_SETTINGS = ("PRESCAN", "OVERSCAN", "POSTSCAN")

AMPLIFIER_COUNT_CARDS = ("NUMAMPS", "NAMPS", "AMPSROW")
"""Cards with the number of amplifiers."""

ESO_SCAN_KEYS = ("PRSCX", "OVSCX", "PRSCY", "OVSCY")
"""Cards of ESO, without the number of the output, with the pixels before and after a line and a
column."""

# Numbers of outputs in ESO's cards: no chip of ESO has more outputs.
_ESO_OUTPUTS = range(1, 33)


def drafts_from_counts(reader, section, section_card, detector):
    """Return the amplifiers of an HDU from the numbers of columns and rows around the data.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    section : Region or None
        TRIMSEC or DATASEC, with which the numbers must agree.
    section_card : (str, str) or None
        The card of the section and its text.
    detector : tuple of (str, ccdflow.camera.sections.DirectedSection)

    Returns
    -------
    list of Draft
        Empty where no card counts columns or rows.

    Raises
    ------
    FrameError
        If the numbers contradict the frame or its sections.
    """
    counts = [
        _scan_count(reader, names) for names in (PRESCAN_X, OVERSCAN_X, PRESCAN_Y, OVERSCAN_Y)
    ]
    if not any(counts):
        return []
    by, bx = reader.binning
    binned_counts = [
        count // factor for count, factor in zip(counts, (bx, bx, by, by), strict=True)
    ]
    n_amplifiers = max(as_integer(reader.value(name)) or 1 for name in AMPLIFIER_COUNT_CARDS)
    if n_amplifiers > 1 and reader.is_alone:
        return _drafts_side_by_side(reader, binned_counts, n_amplifiers, section)
    if section is None:
        margins = _unconfirmed_counts(reader, counts, binned_counts)
    else:
        margins = _confirmed_counts(reader, counts, binned_counts, section, section_card)
    return [_draft_of_block(reader, reader.name, reader.frame, margins, detector=detector)]


def _unconfirmed_counts(reader, counts, binned_counts):
    """Return the numbers of columns and rows around the data, where no section gives the data.

    In a binned frame the cards may count binned or unbinned pixels. The numbers count that leave as
    many pixels of data as a card of the data's size has.

    Raises
    ------
    FrameError
        If the frame is binned, and no card of the data's size agrees with one of the two alone.
    """
    if counts != binned_counts:
        confirmed_margins = [
            margins for margins in (counts, binned_counts) if _has_stated_size(reader, margins)
        ]
        if len(confirmed_margins) == 1:
            _note_data(reader, confirmed_margins[0])
            return confirmed_margins[0]
        raise reader.contradiction(
            "the frame is binned, and no card says whether overscan columns count binned pixels",
            "PRESCAN, OVERSCAN",
            counts,
        )
    _note_data(reader, counts)
    return counts


# Cards with the columns of the data and with their rows, binned or not.
_DATA_SIZE_CARDS = (
    ("CCDXIMSI", "CCDYIMSI"), ("DNAXIS1", "DNAXIS2"), ("CCDNX", "CCDNY"), ("DETNX", "DETNY"),
)  # fmt: skip


def _has_stated_size(reader, margins):
    """Return whether a frame without its outer columns and rows has the size of a card's data.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    margins : list of int
        Columns left and right of the data, rows below and above.
    """
    data = _inner_region(reader.frame, margins)
    for keywords in _DATA_SIZE_CARDS:
        nx, ny = (as_integer(reader.value(keyword)) for keyword in keywords)
        if not nx or not ny:
            continue
        if any(data.shape == (ny // by, nx // bx) for by, bx in ((1, 1), reader.binning)):
            return True
    return False


def _confirmed_counts(reader, counts, binned_counts, section, section_card):
    """Return the numbers of columns and rows around the data that agree with a section.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    counts, binned_counts : list of int
        Columns left and right of the data, rows below and above: as in the cards, and divided by
        the binning.
    section : Region
    section_card : (str, str)
        The card of the section and its text.

    Raises
    ------
    FrameError
        If neither list agrees.
    """
    for margins in (counts, binned_counts):
        if section == _inner_region(reader.frame, margins):
            return margins
    raise reader.contradiction(
        "the numbers of prescan and overscan columns and rows contradict the section",
        *section_card,
        "{} before and {} after the data in x, {} and {} in y".format(*counts),
    )


def _note_data(reader, margins):
    """Add a note with the pixels that count as data by the margins around them alone."""
    data = _inner_region(reader.frame, margins)
    if min(data.shape) > 0:
        left, right, below, above = margins
        text = (
            f"cards count {left} columns before and {right} after the data, {below} rows below and"
            f" {above} above: data taken to be {data.to_fits()}"
        )
        reader.notes.append(Note(text))


def drafts_from_outputs(reader, position, n_images, detector):
    """Return the amplifiers of an HDU from ESO's cards for each output (``ESO DET OUT1 OVSCX``).

    NX and NY count the valid, binned pixels of an output. X and Y are its corner of the chip. The
    prescan lies on the side of this corner, the overscan on the opposite side.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    position, n_images : int
        Position of this image among the images, and their number.
    detector : tuple of (str, ccdflow.camera.sections.DirectedSection)

    Returns
    -------
    list of Draft
        Empty where there are no such cards, or they count nothing.

    Raises
    ------
    FrameError
        If the numbers do not add up to the frame.
    """
    outputs = _output_prefixes(reader, position, n_images)
    counts = [[reader.count(output + key) for key in ESO_SCAN_KEYS] for output in outputs]
    if not any(map(any, counts)):
        return []
    sides = _readout_sides(reader, outputs)
    blocks = _blocks_of_outputs(reader, outputs, sides)
    drafts = []
    for output, margins, block, side in zip(outputs, counts, blocks, sides, strict=True):
        _check_output(reader, output, _inner_region(block, margins))
        name = output.split()[-1] if n_images == 1 else f"{reader.name}{output.split()[-1]}"
        sections = detector if len(outputs) == 1 else ()
        draft = _draft_of_block(reader, name, block, margins, side=side, detector=sections)
        # ESO's GAIN is adu per electron; CONAD is its inverse.
        gain = as_number(reader.value(output + "CONAD"))
        read_noise = as_number(reader.value(output + "RON"))
        drafts.append(
            replace(draft, gain=gain or draft.gain, read_noise=read_noise or draft.read_noise)
        )
    return drafts


def _scan_count(reader, names):
    """Return the first number of columns or rows above 0 in some cards; 0 for none.

    In `_CARDS_WITH_SETTINGS` a text does not count, such as that of IRAF's OVERSCAN.
    """
    for name in names:
        value = (
            as_integer(reader.value(name)) if name in _CARDS_WITH_SETTINGS else reader.count(name)
        )
        if value is not None and value > 0:
            return value
    return 0


def _inner_region(block, margins):
    """Return a block without its outer columns and rows: (left, right, below, above) of them."""
    left, right, below, above = margins
    return Region(block.y0 + below, block.y1 - above, block.x0 + left, block.x1 - right)


def _drafts_side_by_side(reader, margins, n_amplifiers, section):
    """Return amplifiers that share each row (Keck, Lick): all prescans, data, then overscans.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    margins : sequence of int
        Columns at the left and right, rows below and above.
    n_amplifiers : int
        Number of amplifiers that share each row.
    section : ccdflow.camera.sections.Region or None
        TRIMSEC or DATASEC, with which the data must agree.
    """
    left, right, below, above = margins
    ny, nx = reader.shape
    width = nx - n_amplifiers * (left + right)
    first = n_amplifiers * left
    after = first + width
    rows = (below, ny - above)
    edges = _amplifier_edges(reader, n_amplifiers, width)
    has_data = edges is not None and width > 0
    if not has_data or not _is_confirmed(reader, Region(*rows, first, after), section):
        raise reader.contradiction(
            f"{n_amplifiers} amplifiers in one image, and no card says where each has its overscan",
            "NUMAMPS, AMPSROW",
            n_amplifiers,
        )
    return [
        Draft(
            name=f"{reader.name}{i + 1}",
            hdu=reader.index,
            data=Region(*rows, first + edges[i], first + edges[i + 1]),
            overscan=_preferred_strip(
                [
                    Region(*rows, after + i * right, after + (i + 1) * right),
                    Region(*rows, i * left, (i + 1) * left),
                ]
            ),
            **reader.figures(),
        )
        for i in range(n_amplifiers)
        if edges[i] < edges[i + 1]
    ]


# Cards with the unbinned columns of the whole chip: its section or size, and plain numbers.
_CHIP_SIZE_CARDS = ("DETSIZE", "CCDSIZE")
_CHIP_COLUMN_CARDS = ("DNAXIS1", "CCDNX", "CCDXPIX", "DETNX", "NXCHIP", "ESO DET CHIP1 NX")
# Cards with the chip's column of the first pixel, each with the number of the first column.
_FIRST_COLUMN_CARDS = (
    ("CRVAL1U", 0), ("CNPIX1", 0), ("XORGSUBF", 0), ("ESO DET WIN1 STRX", 1), ("STARTX", 1),
    ("XSTART", 1), ("HSTART", 1), ("CCDORGX", 1),
)  # fmt: skip


def _amplifier_edges(reader, n_amplifiers, width):
    """Return where the amplifiers that share a row begin and end, in columns of the data.

    The amplifiers divide the chip evenly. Where cards give the chip's columns and the place of the
    window on the chip, the window is divided at the seams of the chip: an amplifier beside the
    window gets no column. Without these cards the window itself is divided evenly, with a warning
    if the window is known not to begin with the chip. None if its columns cannot be divided.
    """
    n_chip_columns, start = _chip_columns(reader), _first_column(reader)
    step = reader.binning[1]
    if (as_integer(reader.value("CDELT1U")) or 0) < 0:
        step = -step
    if n_chip_columns is not None and start is not None:
        ends = (start, start + step * width)
        seams = [(n_chip_columns * i / n_amplifiers - start) / step for i in range(1, n_amplifiers)]
        if min(ends) >= -abs(step) and max(ends) <= n_chip_columns + abs(step):
            inner = sorted(min(max(round(seam), 0), width) for seam in seams)
            return [0, *inner, width]
    if n_chip_columns is None and start:
        topic = (
            f"the window begins at column {start} of the chip, and no card says how wide the chip"
            " is"
        )
        text = (
            f"{topic}: its {n_amplifiers} amplifiers are taken to divide the window evenly (give"
            " `amplifiers:` in a camera's profile)"
        )
        reader.notes.append(Note(text, topic=topic))
    if width % n_amplifiers:
        return None
    return [width // n_amplifiers * i for i in range(n_amplifiers + 1)]


def _chip_columns(reader):
    """Return the number of columns of the chip by its section or size; None without a card."""
    for keyword in _CHIP_SIZE_CARDS:
        card = reader.section_card((keyword,))
        if card is not None:
            return reader.parse_section(*card).region.shape[1]
    numbers = (as_integer(reader.value(keyword)) for keyword in _CHIP_COLUMN_CARDS)
    return next(filter(None, numbers), None)


def _first_column(reader):
    """Return the chip's column of the first pixel of the data, from 0; None without a card."""
    for keyword in ("CCDSEC", "DETSEC"):
        card = reader.section_card((keyword,))
        if card is not None:
            return reader.parse_section(*card).region.x0
    for keyword, origin in _FIRST_COLUMN_CARDS:
        first = as_integer(reader.value(keyword))
        if first is not None:
            # XORGSUBF of MaxIm counts binned pixels.
            return (first - origin) * (reader.binning[1] if keyword == "XORGSUBF" else 1)
    shift = as_number(reader.value("LTV1"))
    return None if shift is None else round(-shift * reader.binning[1])


def _is_confirmed(reader, data, section):
    """Return whether TRIMSEC or DATASEC is that of the data, or else Keck's WINDOW has their width.

    WINDOW has the chip, x, y, nx and ny.
    """
    if section is not None:
        return section == data
    window = str(reader.value("WINDOW") or "").split(",")
    width = data.shape[1]
    stated_width = as_integer(window[3]) if len(window) == 5 else None
    return stated_width in (width, width * reader.binning[1])


def _output_prefixes(reader, position, n_images):
    """Return the prefixes of the cards of this HDU's outputs."""
    prefixes = [f"ESO DET OUT{i} " for i in _ESO_OUTPUTS]
    own_prefixes = [
        prefix
        for prefix in prefixes
        if reader.value(prefix + "NX", tries_primary=False) is not None
    ]
    if own_prefixes:
        return own_prefixes
    shared_prefixes = [prefix for prefix in prefixes if reader.value(prefix + "NX") is not None]
    if n_images == 1 or not shared_prefixes:
        return shared_prefixes
    if len(shared_prefixes) != n_images:
        raise reader.contradiction(
            f"the primary header names {len(shared_prefixes)} outputs for {n_images} images",
            "ESO DET OUTPUTS",
            len(shared_prefixes),
        )
    return [shared_prefixes[position]]


def _readout_sides(reader, outputs):
    """Return for each output whether it reads out to the right, and to the top, of its chip."""
    by, bx = reader.binning
    sides = []
    for output in outputs:
        nx, ny, x, y = (
            as_integer(reader.value(output + key)) or 0 for key in ("NX", "NY", "X", "Y")
        )
        # An output without X and Y is at the first pixel, 1.
        sides.append((max(x, 1) > nx * bx / 2, max(y, 1) > ny * by / 2))
    return sides


def _blocks_of_outputs(reader, outputs, sides):
    """Return the part of the frame that each output fills: prescan, data and overscan."""
    (ny, nx), n_outputs = reader.shape, len(outputs)
    if n_outputs == 1:
        return [reader.frame]
    n_columns, n_rows = len({x for x, _ in sides}), len({y for _, y in sides})
    is_grid = n_columns * n_rows == n_outputs == len(set(sides))
    if not is_grid or nx % n_columns or ny % n_rows:
        raise reader.contradiction(
            "the outputs do not divide the frame evenly", "ESO DET OUTPUTS", n_outputs
        )
    width, height = nx // n_columns, ny // n_rows
    blocks = []
    for is_right, is_top in sides:
        y_start = height if is_top and n_rows == 2 else 0
        x_start = width if is_right and n_columns == 2 else 0
        blocks.append(Region(y_start, y_start + height, x_start, x_start + width))
    return blocks


def _check_output(reader, output, data):
    """Raise `FrameError` where an output's counts do not add up to its data."""
    by, bx = reader.binning
    ny, nx = data.shape
    output_size = [as_integer(reader.value(output + key)) for key in ("NX", "NY")]
    if output_size[0] not in (nx, nx * bx) or output_size[1] not in (ny, ny * by, None):
        raise reader.contradiction(
            "prescan, valid pixels and overscan do not add up to the frame",
            f"{output}NX, NY",
            output_size,
            f"{nx}, {ny}",
        )


def _draft_of_block(reader, name, block, margins, *, side=(False, False), detector=()):
    """Return the amplifier of a block of the frame that is read out to the given side.

    Parameters
    ----------
    reader : ccdflow.camera.amplifiers.hdu_reader.HduReader
    name : str
    block : Region
    margins : (int, int, int, int)
        Columns left and right of the data, rows below and above, for an output at the lower left.
    side : (bool, bool), optional
        Whether the output is at the right, and at the top.
    detector : tuple of (str, ccdflow.camera.sections.DirectedSection), optional
    """
    left, right, below, above = margins
    if side[0]:
        left, right = right, left
    if side[1]:
        below, above = above, below
    data = _inner_region(block, (left, right, below, above))
    if min(data.shape) <= 0:
        raise reader.contradiction(
            "prescan and overscan leave no science pixels", "PRESCAN, OVERSCAN", list(margins)
        )
    before = [replace(data, x0=block.x0, x1=data.x0), replace(data, y0=block.y0, y1=data.y0)]
    after = [replace(data, x0=data.x1, x1=block.x1), replace(data, y0=data.y1, y1=block.y1)]
    strips_in_x = [before[0], after[0]] if side[0] else [after[0], before[0]]
    strips_in_y = [before[1], after[1]] if side[1] else [after[1], before[1]]
    return Draft(
        name=name,
        hdu=reader.index,
        data=data,
        overscan=_preferred_strip(strips_in_x + strips_in_y),
        detector=detector,
        **reader.figures(),
    )


def _preferred_strip(candidates):
    """Return (the first candidate that has pixels,), () if none has."""
    return tuple(strip for strip in candidates if strip.size > 0)[:1]
