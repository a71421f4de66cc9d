"""Amplifiers from a frame's own cards: sections, families of sections, and numbers of columns.

Tried in this order for each HDU, the first that is there is used:

1. families of sections for several amplifiers in one HDU (``BSEC11``, ``BIASSECA``);
2. ``BIASSEC`` with ``TRIMSEC`` or ``DATASEC``;
3. numbers of prescan and overscan columns and rows (``ESO DET OUT1 OVSCX``, ``POSTPIX``);
4. ``TRIMSEC`` or ``DATASEC`` alone: trimmed, no overscan;
5. nothing: the whole frame, no overscan.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ccdflow.cards import CardSpec, card_value, number, whole
from ccdflow.errors import FrameError
from ccdflow.geometry import (
    Draft,
    array_shape,
    binning,
    card_number,
    detector_mismatch,
    fits_binned,
    image_hdus,
)
from ccdflow.sections import Region, Section, inside, parse_fits

REMEDY = (
    "give `amplifiers:` with `data` and `overscan` in a profile in config/cameras "
    "(docs/cameras.md; `make new-camera FRAME=file` proposes one)"
)

# The names that mean the same section, plain or with an amplifier's suffix.
BIAS, TRIM, DATA = ("BIASSEC", "BSEC"), ("TRIMSEC", "TSEC"), ("DATASEC", "DSEC")
DETECTOR = {"DETSEC": ("DETSEC",), "CCDSEC": ("CCDSEC", "CSEC")}
_FAMILY = re.compile(r"(?:TRIMSEC|TSEC|DATASEC|DSEC)_?([A-Z0-9]{1,2})")

# Cards with the number of columns (rows) before and after the data, in the order of readout.
PRESCAN_X = ("PRESCAN", "PRESCANX", "PRESCNX", "PRSCANX", "PRESCAN1", "PREPIX", "PRECOL")
OVERSCAN_X = ("OVERSCAN", "OVERSCNX", "OVRSCANX", "OVRSCAN1", "OVERSCN1", "POSTPIX", "POSTCOL")
PRESCAN_Y = ("PRESCANY", "PRESCNY", "PRSCANY", "PRESCAN2", "PRELINE", "PREROW")
OVERSCAN_Y = ("OVERSCNY", "OVRSCANY", "OVRSCAN2", "OVERSCN2", "POSTLINE", "POSTROW")
AMPLIFIER_COUNTS = ("NUMAMPS", "NAMPS", "NAMPSYX")


def drafts_from_header(headers, cards, *, overscan=True, file):
    """The drafts of a frame's amplifiers from its own cards.

    Parameters
    ----------
    headers : list of astropy.io.fits.Header
        One for each HDU.
    cards : Cards
        Where gain, read noise and saturation stand.
    overscan : bool
        False where the profile says that the camera's overscan is of no use.
    file : str

    Returns
    -------
    drafts : list of Draft
    notes : list of str
        What was decided beyond the letter of the cards.

    Raises
    ------
    FrameError
        If the file has no image, or sections leave the frame, are empty or contradict each other.
    """
    images = image_hdus(headers)
    if not images:
        raise FrameError("the file holds no image", file=file, keyword="NAXIS")
    drafts, notes = [], []
    for index in images:
        # What stands in the primary is about the image only where there is just one.
        order = (index, 0) if len(images) == 1 else (index,)
        reader = _Hdu(headers, index, order, cards, notes, file, wanted=overscan)
        drafts += reader.drafts()
    if len(images) > 1:
        drafts = [d if len(d.name) > 1 else replace(d, name=f"{d.name}{d.hdu}") for d in drafts]
    return drafts, notes


class _Hdu:
    """The cards of one HDU, read for its amplifiers."""

    def __init__(self, headers, index, order, cards, notes, file, *, wanted):
        self.headers, self.index, self.order = headers, index, order
        self.cards, self.notes, self.file = cards, notes, file
        self.wanted = wanted
        self.shape = array_shape(headers[index], file=file)
        self.frame = Region(0, self.shape[0], 0, self.shape[1])
        self.name = str(card_value(headers[index], "EXTNAME") or "A")

    def drafts(self):
        """The amplifiers of this HDU."""
        suffixes = self._suffixes()
        if len(suffixes) > 1:
            return [self._from_sections(suffix, f"{self.name}{suffix}") for suffix in suffixes]
        suffix = suffixes[0] if suffixes and not self._text(TRIM + DATA) else ""
        if self._text(BIAS, suffix) is None:
            numbered = self._from_eso() or self._from_numbers()
            if numbered:
                return numbered
        return [self._from_sections(suffix, self.name)]

    def _binning(self):
        return binning(self.headers, self.index, specs=self.cards.binning)

    # -- cards ------------------------------------------------------------------------------

    def _value(self, keyword):
        for index in self.order:
            value = card_value(self.headers[index], keyword)
            if value is not None:
                return value
        return None

    def _text(self, keywords, suffix=""):
        """The first of these cards as (keyword, text), or None."""
        for keyword in keywords:
            for name in dict.fromkeys((keyword + suffix, f"{keyword}_{suffix}".rstrip("_"))):
                value = self._value(name)
                if isinstance(value, str):
                    return name, value
        return None

    def _suffixes(self):
        """The suffixes of a family of sections, such as 11 and 21 of DSEC11 and DSEC21."""
        found = (_FAMILY.fullmatch(keyword) for keyword in self.headers[self.index])
        return list(dict.fromkeys(match[1] for match in found if match))

    def _section(self, keywords, suffix=""):
        """The first of these cards as a Section within the frame, or None."""
        found = self._text(keywords, suffix)
        if found is None:
            return None
        keyword, text = found
        section = parse_fits(text, shape=self.shape, file=self.file, keyword=keyword)
        turned = section.region.transposed()
        if not section.region.within(self.shape) and turned.within(self.shape):
            self.notes.append(f"{keyword} {text} is outside the frame as written: read rows first")
            section = Section(turned, section.flip_y, section.flip_x)
        inside(section.region, self.shape, text, file=self.file, keyword=keyword, remedy=REMEDY)
        return section

    def _detector(self, suffix):
        found = []
        for name, keywords in DETECTOR.items():
            text = self._text(keywords, suffix)
            if text is not None:
                found.append((name, parse_fits(text[1], file=self.file, keyword=text[0])))
        return tuple(found)

    def _contradiction(self, problem, keyword, value, allowed=None):
        return FrameError(
            problem, file=self.file, keyword=keyword, value=value, allowed=allowed, remedy=REMEDY
        )

    # -- sections ---------------------------------------------------------------------------

    def _from_sections(self, suffix, name):
        bias = self._section(BIAS, suffix) if self.wanted else None
        trim = self._section(TRIM, suffix)
        data = self._section(DATA, suffix)
        if trim and data and not data.region.contains(trim.region):
            raise self._contradiction(
                "TRIMSEC keeps pixels that are not in DATASEC",
                "TRIMSEC",
                trim.region.to_fits(),
                f"within {data.region.to_fits()}",
            )
        kept = (trim or data).region if trim or data else self._beside(bias)
        if bias is None:
            self._check_size(kept, (trim or data) is not None)
        draft = Draft(
            name=name,
            hdu=self.index,
            data=kept,
            overscan=(bias.region,) if bias else (),
            detector=self._detector(suffix),
            detector_of=data.region if data else None,
            lengthen=True,
            **self._figures(suffix),
        )
        self._check_detector(draft)
        return draft

    def _beside(self, bias):
        """The data where only BIASSEC is given: the rest of the frame, if that is a rectangle."""
        if bias is None:
            return self.frame
        strip, (ny, nx) = bias.region, self.shape
        tall = (strip.y1 - strip.y0) >= (strip.x1 - strip.x0)
        rests = {
            (True, strip.x1 == nx): Region(0, ny, 0, strip.x0),
            (True, strip.x0 == 0): Region(0, ny, strip.x1, nx),
            (False, strip.y1 == ny): Region(0, strip.y0, 0, nx),
            (False, strip.y0 == 0): Region(strip.y1, ny, 0, nx),
        }
        rest = rests.get((tall, True))
        if rest is None or rest.size <= 0:
            raise self._contradiction(
                "neither TRIMSEC nor DATASEC says which pixels are science",
                "BIASSEC",
                strip.to_fits(),
            )
        self.notes.append(f"no TRIMSEC or DATASEC: {rest.to_fits()}, all beside BIASSEC, is kept")
        return rest

    def _check_size(self, kept, cut):
        """Refuse to call pixels science that the detector does not have."""
        by, bx = self._binning()
        for keyword in ("DETSIZE", "CCDSIZE"):
            found = self._text((keyword,))
            if found is None or not self.wanted:
                continue
            detector = parse_fits(found[1], file=self.file, keyword=keyword).region
            ny, nx = (
                length // factor for length, factor in zip(detector.shape, (by, bx), strict=True)
            )
            if kept.shape[0] > max(ny, detector.shape[0]) or kept.shape[1] > max(
                nx, detector.shape[1]
            ):
                raise self._contradiction(
                    "the frame has more pixels than the detector and no BIASSEC says which are "
                    "overscan",
                    keyword,
                    found[1],
                    f"at least {kept.shape[1]} x {kept.shape[0]}",
                )
        if self.wanted and not cut:
            self.notes.append("no card names science pixels or overscan: the frame is left whole")
        elif self.wanted and kept != self.frame:
            self.notes.append(f"no card names an overscan: trimmed to {kept.to_fits()} only")

    def _check_detector(self, draft):
        """Refuse a CCDSEC or DETSEC that is not about the pixels of DATASEC or TRIMSEC."""
        factors = self._binning()
        bases = {draft.data, draft.detector_of or draft.data}
        for keyword, section in draft.detector:
            same = any(section.region.shape == base.shape for base in bases)
            if not same and not any(fits_binned(section.region, base, factors) for base in bases):
                base = draft.detector_of or draft.data
                raise detector_mismatch(draft, section, base, factors, keyword, file=self.file)

    def _figures(self, suffix=""):
        """Gain, read noise and saturation: the family's own cards before the camera's."""
        own = {
            "gain": ("GAIN", "GTGAIN"),
            "read_noise": ("RDNOISE", "GTRON"),
            "saturation": ("SATURATE",),
        }
        figures = {}
        for field, names in own.items():
            cards = tuple(CardSpec(base + suffix) for base in names) if suffix else ()
            specs = cards + getattr(self.cards, field)
            figures[field] = card_number(self.headers, specs, self.index)
        return figures

    # -- numbers ----------------------------------------------------------------------------

    def _from_numbers(self):
        """One amplifier from numbers of prescan and overscan columns and rows, or None."""
        counts = [self._count(names) for names in (PRESCAN_X, OVERSCAN_X, PRESCAN_Y, OVERSCAN_Y)]
        if not any(counts):
            return None
        amplifiers = max((whole(self._value(name)) or 1) for name in AMPLIFIER_COUNTS)
        if amplifiers > 1 and len(image_hdus(self.headers)) == 1:
            raise self._contradiction(
                "several amplifiers in one image, and no card says where each has its overscan",
                "NUMAMPS",
                amplifiers,
            )
        found = self._text(TRIM + DATA)
        given = self._section(TRIM + DATA) if found else None
        by, bx = self._binning()
        scaled = [count // factor for count, factor in zip(counts, (bx, bx, by, by), strict=True)]
        kept = [self._inner(*numbers) for numbers in (counts, scaled)]
        if given is None and kept[0] != kept[1]:
            raise self._contradiction(
                "binned frame: do the numbers of overscan columns count binned pixels?",
                "PRESCAN, OVERSCAN",
                counts,
            )
        for data, numbers in zip(kept, (counts, scaled), strict=True):
            if given is None or given.region == data:
                return [self._numbered(self.name, self.frame, numbers, (False, False))]
        raise self._contradiction(
            "the numbers of prescan and overscan columns contradict the section",
            found[0],
            found[1],
            kept[0].to_fits(),
        )

    def _count(self, names):
        """A number of columns; text such as IRAF's OVERSCAN card is none."""
        values = [self._value(name) for name in names]
        numbers = [value for value in values if isinstance(value, int | float) and value > 0]
        return int(numbers[0]) if numbers and not isinstance(numbers[0], bool) else 0

    def _inner(self, left, right, below, above):
        ny, nx = self.shape
        return Region(below, ny - above, left, nx - right)

    def _from_eso(self):
        """The amplifiers from ESO's cards for each output of the chip, or None."""
        outputs = []
        while self._value(f"ESO DET OUT{len(outputs) + 1} NX") is not None:
            outputs.append(f"ESO DET OUT{len(outputs) + 1} ")
        counts = [[self._output(output, key) for key in _ESO] for output in outputs]
        if not any(any(numbers) for numbers in counts):
            return None
        sides = [self._corner(output, len(outputs)) for output in outputs]
        blocks = self._blocks(outputs, counts, sides)
        return [
            self._numbered(f"OUT{i + 1}", block, numbers, side, output)
            for i, (block, numbers, side, output) in enumerate(
                zip(blocks, counts, sides, outputs, strict=True)
            )
        ]

    def _output(self, output, key):
        return whole(self._value(output + key)) or 0

    def _corner(self, output, count):
        """Whether an output is at the right, at the top, of its chip."""
        if count == 1:
            return False, False
        positions = [self._output(f"ESO DET OUT{i + 1} ", "X") for i in range(count)]
        heights = [self._output(f"ESO DET OUT{i + 1} ", "Y") for i in range(count)]
        right = self._output(output, "X") > min(positions)
        return right, self._output(output, "Y") > min(heights)

    def _blocks(self, outputs, counts, sides):
        """The part of the frame that each output fills: prescan, data and overscan."""
        ny, nx = self.shape
        columns = 1 + (len({right for right, _ in sides}) == 2)
        rows = 1 + (len({top for _, top in sides}) == 2)
        if columns * rows != len(outputs) or nx % columns or ny % rows:
            raise self._contradiction(
                "the outputs do not divide the frame evenly", "ESO DET OUTPUTS", len(outputs)
            )
        width, height = nx // columns, ny // rows
        for output, (left, right, below, above) in zip(outputs, counts, strict=True):
            inner = (width - left - right, height - below - above)
            said = (self._output(output, "NX"), self._output(output, "NY"))
            by, bx = self._binning()
            if said[0] not in (inner[0], inner[0] * bx) or said[1] not in (
                inner[1],
                inner[1] * by,
                0,
            ):
                raise self._contradiction(
                    "prescan, data and overscan do not add up to the frame",
                    output + "NX, NY",
                    said,
                    f"{inner[0]}, {inner[1]}",
                )
        return [
            Region(height * top, height * (top + 1), width * right, width * (right + 1))
            for right, top in sides
        ]

    def _numbered(self, name, block, numbers, side, output=None):
        """The amplifier of a block of the frame, read out from the given side."""
        left, right, below, above = numbers
        if side[0]:
            left, right = right, left
        if side[1]:
            below, above = above, below
        data = Region(block.y0 + below, block.y1 - above, block.x0 + left, block.x1 - right)
        if min(data.shape) <= 0:
            raise self._contradiction(
                "prescan and overscan leave no science pixels", "PRESCAN, OVERSCAN", list(numbers)
            )
        # The strip read after the data tells the level they were read at; columns before rows.
        left_strip = replace(data, x0=block.x0, x1=data.x0)
        right_strip = replace(data, x0=data.x1, x1=block.x1)
        below_strip = replace(data, y0=block.y0, y1=data.y0)
        above_strip = replace(data, y0=data.y1, y1=block.y1)
        in_x = (left_strip, right_strip) if side[0] else (right_strip, left_strip)
        in_y = (below_strip, above_strip) if side[1] else (above_strip, below_strip)
        strips = [strip for strip in in_x + in_y if strip.size] if self.wanted else []
        figures = self._figures()
        if output:
            # ESO's GAIN is adu per electron; CONAD is its inverse.
            figures["gain"] = number(self._value(output + "CONAD")) or figures["gain"]
            figures["read_noise"] = number(self._value(output + "RON")) or figures["read_noise"]
        return Draft(
            name=name,
            hdu=self.index,
            data=data,
            overscan=tuple(strips[:1]),
            detector=() if output else self._detector(""),
            **figures,
        )


_ESO = ("PRSCX", "OVSCX", "PRSCY", "OVSCY")
